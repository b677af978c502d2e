//! Files that have a card keep its name, whatever a new kernel would call it (systemd.link(5)).

/// Where the file of a card with this MAC is; it is written in lower case.
pub fn path(mac: &str) -> String {
    format!("/etc/systemd/network/10-phoenix-{}.link", mac.replace(':', ""))
}

/// What it says. The MAC that was burnt in is meant: bridges, bonds and VLANs have the MACs of their cards.
pub fn text(mac: &str, name: &str) -> String {
    format!(
        "# Phoenix: this card keeps its name, whatever a new kernel would call it.\n[Match]\nPermanentMACAddress={mac}\n\n\
         [Link]\nName={name}\n"
    )
}

/// The MAC and the name that a file says.
pub(super) fn of(path: &str, text: &str) -> Option<(String, String)> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    let (mac, name) = (value("PermanentMACAddress=")?, value("Name=")?);
    (path == self::path(&mac)).then_some((mac, name))
}
