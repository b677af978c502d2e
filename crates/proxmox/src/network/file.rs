//! `/etc/network/interfaces` as text that prints back byte for byte (`interfaces(5)` of ifupdown and of ifupdown2).

use std::fmt;

/// A file, in the order of its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// All of it.
    pub entries: Vec<Entry>,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `auto NAME…`, `allow-hotplug NAME…`: how these are brought up.
    Allow {
        /// The first word.
        class: String,
        /// The links.
        names: Vec<String>,
        /// The line as it stands there.
        raw: String,
    },
    /// `iface NAME FAMILY METHOD`, with its options.
    Iface(Iface),
    /// Comments, empty lines, `source`, `mapping` and whatever else there is: kept as it stands there.
    Other(String),
}

/// How a link is configured, for one family of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iface {
    /// The link.
    pub name: String,
    /// `inet` or `inet6`; nothing where only the name is given, which ifupdown2 allows.
    pub family: String,
    /// `static`, `manual`, `dhcp`, …
    pub method: String,
    /// The first line as it stands there.
    pub head: String,
    /// The lines below it.
    pub lines: Vec<Line>,
}

/// A line of a link's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The option; empty for a comment or an empty line.
    pub key: String,
    /// What it is set to, in one line.
    pub value: String,
    /// As it stands there, with continuations.
    pub raw: String,
}

impl Line {
    /// A new line.
    pub fn new(key: &str, value: &str) -> Self {
        let raw = if value.is_empty() { format!("\t{key}\n") } else { format!("\t{key} {value}\n") };
        Self { key: key.to_owned(), value: value.to_owned(), raw }
    }
}

/// Whether two options are one: ifupdown has `_` where ifupdown2 has `-`.
pub fn same_key(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .all(|(a, b)| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_')))
}

impl Iface {
    /// A new one.
    pub fn new(name: &str, family: &str, method: &str, lines: Vec<Line>) -> Self {
        let head = format!("iface {name} {family} {method}\n");
        Self { name: name.to_owned(), family: family.to_owned(), method: method.to_owned(), head, lines }
    }

    /// All values of an option.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |line| same_key(&line.key, key)).map(|line| line.value.as_str())
    }

    /// The value of an option; the last where it is there more than once.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().rev().find(|line| same_key(&line.key, key)).map(|line| line.value.as_str())
    }
}

impl fmt::Display for Iface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        self.lines.iter().try_for_each(|line| f.write_str(&line.raw))
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| match entry {
            Entry::Allow { raw, .. } | Entry::Other(raw) => f.write_str(raw),
            Entry::Iface(iface) => iface.fmt(f),
        })
    }
}

impl Interfaces {
    /// Reads a file. Nothing is refused: what is not understood is kept.
    pub fn parse(text: &str) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut open: Option<Iface> = None;
        for raw in logical_lines(text) {
            let joined = raw.replace("\\\n", " ");
            let mut words = joined.split_whitespace();
            let first = words.next().unwrap_or_default();
            let entry = match first {
                "iface" => {
                    let mut word = || words.next().unwrap_or_default().to_owned();
                    let (name, family, method) = (word(), word(), word());
                    close(&mut open, &mut entries);
                    open = Some(Iface { name, family, method, head: raw.to_owned(), lines: Vec::new() });
                    continue;
                }
                "auto" => Entry::Allow {
                    class: first.to_owned(),
                    names: words.map(str::to_owned).collect(),
                    raw: raw.to_owned(),
                },
                _ if first.starts_with("allow-") => Entry::Allow {
                    class: first.to_owned(),
                    names: words.map(str::to_owned).collect(),
                    raw: raw.to_owned(),
                },
                "mapping" | "source" | "source-directory" | "rename" | "template" | "no-auto-down"
                | "no-scripts" | "vlan" | "bridge" => Entry::Other(raw.to_owned()),
                _ => match &mut open {
                    Some(iface) => {
                        let comment = first.is_empty() || first.starts_with('#');
                        let key = if comment { String::new() } else { first.to_owned() };
                        let value = if comment { String::new() } else { words.collect::<Vec<_>>().join(" ") };
                        iface.lines.push(Line { key, value, raw: raw.to_owned() });
                        continue;
                    }
                    None => Entry::Other(raw.to_owned()),
                },
            };
            close(&mut open, &mut entries);
            entries.push(entry);
        }
        close(&mut open, &mut entries);
        Self { entries }
    }

    /// The configurations of a link.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Iface> {
        self.ifaces().filter(move |iface| iface.name == name)
    }

    /// All configurations.
    pub fn ifaces(&self) -> impl Iterator<Item = &Iface> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Iface(iface) => Some(iface),
            _ => None,
        })
    }

    /// Whether a link is brought up by itself.
    pub fn is_auto(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Allow { class, names, .. } => {
                matches!(class.as_str(), "auto" | "allow-auto" | "allow-hotplug")
                    && names.iter().any(|it| it == name)
            }
            _ => false,
        })
    }

    /// Puts configurations of a link in the place of those that it has, or at the end (before what is `source`d there, as Proxmox VE
    /// has it); it is then brought up by itself where `auto` says so.
    pub fn put(&mut self, name: &str, auto: bool, ifaces: Vec<Iface>) {
        let at = self.entries.iter().position(|it| matches!(it, Entry::Iface(iface) if iface.name == name));
        let before = at.map_or(0, |at| {
            let gone = |it: &&Entry| matches!(it, Entry::Iface(iface) if iface.name == name);
            self.entries[..at].iter().filter(gone).count()
        });
        // What follows its last option up to the next entry is nobody's, and stays where it is.
        self.entries.retain(|it| !matches!(it, Entry::Iface(iface) if iface.name == name));
        let new = at.is_none();
        let at = at.map_or_else(|| self.end(), |at| at - before);
        let mut all: Vec<Entry> = ifaces.into_iter().map(Entry::Iface).collect();
        if auto && !self.is_auto(name) {
            all.insert(
                0,
                Entry::Allow {
                    class: "auto".to_owned(),
                    names: vec![name.to_owned()],
                    raw: format!("auto {name}\n"),
                },
            );
        }
        if new && at > 0 && !self.ends_blank(at) {
            all.insert(0, Entry::Other("\n".to_owned()));
        }
        if new && at < self.entries.len() {
            all.push(Entry::Other("\n".to_owned()));
        }
        if at > 0 {
            self.end_line(at - 1);
        }
        self.entries.splice(at..at, all);
    }

    /// Takes a link out of the file.
    pub fn remove(&mut self, name: &str) {
        let blank = |it: &Entry| matches!(it, Entry::Other(raw) if raw.trim().is_empty());
        let mut kept: Vec<Entry> = Vec::new();
        // Of the empty lines around what went one is enough.
        let mut gap = false;
        for mut entry in std::mem::take(&mut self.entries) {
            let goes = match &mut entry {
                Entry::Iface(iface) => iface.name == name,
                Entry::Allow { class, names, raw } if names.iter().any(|it| it == name) => {
                    names.retain(|it| it != name);
                    *raw = format!("{class} {}\n", names.join(" "));
                    names.is_empty()
                }
                it => gap && blank(it) && kept.last().is_none_or(blank),
            };
            gap = goes;
            if !goes {
                kept.push(entry);
            }
        }
        if gap && kept.last().is_some_and(blank) {
            kept.pop();
        }
        self.entries = kept;
    }

    /// Where a new link goes: before the last run of `source` lines with what stands directly above them.
    fn end(&self) -> usize {
        let is_source =
            |it: &Entry| matches!(it, Entry::Other(raw) if raw.trim_start().starts_with("source"));
        let is_comment = |it: &Entry| matches!(it, Entry::Other(raw) if raw.trim_start().starts_with('#'));
        let mut at = self.entries.len();
        if self.entries.last().is_some_and(is_source) {
            while at > 0 && is_source(&self.entries[at - 1]) {
                at -= 1;
            }
            while at > 0 && is_comment(&self.entries[at - 1]) {
                at -= 1;
            }
        }
        at
    }

    fn ends_blank(&self, at: usize) -> bool {
        let text = match &self.entries[at - 1] {
            Entry::Allow { .. } => return false,
            Entry::Other(raw) => raw,
            Entry::Iface(iface) => iface.lines.last().map_or(iface.head.as_str(), |line| line.raw.as_str()),
        };
        text.trim().is_empty()
    }

    /// A last line without its end gets one before something follows.
    fn end_line(&mut self, at: usize) {
        let raw = match &mut self.entries[at] {
            Entry::Allow { raw, .. } | Entry::Other(raw) => raw,
            Entry::Iface(iface) => match iface.lines.last_mut() {
                Some(line) => &mut line.raw,
                None => &mut iface.head,
            },
        };
        if !raw.ends_with('\n') {
            raw.push('\n');
        }
    }
}

/// Ends the link that is open. Empty lines behind its last option, and what follows them, are not its own.
fn close(open: &mut Option<Iface>, entries: &mut Vec<Entry>) {
    let Some(mut iface) = open.take() else { return };
    let last = iface.lines.iter().rposition(|line| !line.key.is_empty()).map_or(0, |at| at + 1);
    let own = iface.lines[last..].iter().position(|line| line.raw.trim().is_empty());
    let rest = own.map(|at| iface.lines.split_off(last + at)).unwrap_or_default();
    entries.push(Entry::Iface(iface));
    entries.extend(rest.into_iter().map(|line| Entry::Other(line.raw)));
}

/// Lines with those that a backslash continues.
fn logical_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = 0;
        loop {
            let line = rest[end..].find('\n').map_or(rest.len(), |at| end + at + 1);
            let comment = rest.trim_start_matches([' ', '\t']).starts_with('#');
            let continued = !comment && rest[end..line].ends_with("\\\n");
            end = line;
            if !continued || end == rest.len() {
                break;
            }
        }
        let (line, after) = rest.split_at(end);
        rest = after;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the installer of Proxmox VE writes it.
    const INSTALLED: &str = "# network interface settings; autogenerated\n# Please do NOT modify\n\nauto lo\niface lo inet loopback\n\n\
        iface enp5s0 inet manual\n\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.0.0.13/24\n\tgateway 10.0.0.1\n\
        \tbridge-ports enp5s0\n\tbridge-stp off\n\tbridge-fd 0\n#the office\n\nsource /etc/network/interfaces.d/*\n";

    #[test]
    fn what_there_is() {
        let file = Interfaces::parse(INSTALLED);
        let bridge = file.of("vmbr0").next().unwrap();
        assert_eq!((bridge.family.as_str(), bridge.method.as_str()), ("inet", "static"));
        assert_eq!(bridge.value("bridge_ports"), Some("enp5s0"));
        assert_eq!(bridge.value("mtu"), None);
        assert_eq!(bridge.lines.last().unwrap().raw, "#the office\n");
        assert!(file.is_auto("vmbr0") && !file.is_auto("enp5s0"));
        assert_eq!(file.ifaces().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["lo", "enp5s0", "vmbr0"]);
    }

    #[test]
    fn what_is_put_goes_before_what_is_sourced_and_goes_again() {
        let mut file = Interfaces::parse(INSTALLED);
        let lines = vec![Line::new("address", "10.1.0.1/24"), Line::new("bridge-ports", "none")];
        file.put("vmbr1", true, vec![Iface::new("vmbr1", "inet", "static", lines)]);
        let text = file.to_string();
        let expected = "#the office\n\nauto vmbr1\niface vmbr1 inet static\n\taddress 10.1.0.1/24\n\tbridge-ports none\n\nsource /etc";
        assert!(text.contains(expected), "{text}");
        assert_eq!(Interfaces::parse(&text), file);
        file.remove("vmbr1");
        assert_eq!(file.to_string(), INSTALLED);
        // In its place, where it has one.
        file.put("enp5s0", false, vec![Iface::new("enp5s0", "inet", "dhcp", Vec::new())]);
        assert_eq!(file.to_string(), INSTALLED.replace("enp5s0 inet manual", "enp5s0 inet dhcp"));
    }

    #[test]
    fn a_last_line_without_its_end_is_ended() {
        let mut file = Interfaces::parse("auto lo\niface lo inet loopback");
        file.put("vmbr1", true, vec![Iface::new("vmbr1", "inet", "manual", Vec::new())]);
        assert_eq!(
            file.to_string(),
            "auto lo\niface lo inet loopback\n\nauto vmbr1\niface vmbr1 inet manual\n"
        );
        file.remove("vmbr1");
        assert_eq!(file.to_string(), "auto lo\niface lo inet loopback\n");
    }

    proptest! {
        /// P-20, P-25: what others wrote stays byte for byte.
        #[test]
        fn prints_what_it_read(
            lines in proptest::collection::vec(
                "(auto|allow-hotplug|iface|\taddress|\t#|#|source|mapping|up|\tbridge_ports|)( [a-z0-9./\\\\]{0,8}){0,4}[ \t]{0,2}\\\\?\n?|\\PC{0,20}\n",
                0..20,
            )
        ) {
            let text = lines.concat();
            prop_assert_eq!(Interfaces::parse(&text).to_string(), text);
        }

        #[test]
        fn what_was_put_is_read_back(
            blocks in proptest::collection::vec(
                "auto [a-c]( [a-c])?\n|iface [a-c] inet static\n(\taddress [0-9]\n|# x\n|\n){0,4}|source x\n|# x\n|\n", 0..12,
            ),
            name in "[a-c]",
        ) {
            let mut file = Interfaces::parse(&blocks.concat());
            let others = |file: &Interfaces| -> Vec<(String, Vec<String>)> {
                let others = file.ifaces().filter(|it| it.name != name);
                let options = |it: &Iface| it.lines.iter().filter(|line| !line.key.is_empty()).map(|l| l.raw.clone()).collect();
                others.map(|it| (it.head.clone(), options(it))).collect()
            };
            let before = others(&file);
            let wanted = Iface::new(&name, "inet", "static", vec![Line::new("address", "10.0.0.1/24")]);
            file.put(&name, true, vec![wanted.clone()]);
            let read = Interfaces::parse(&file.to_string());
            let options = |it: &Iface| it.lines.iter().filter(|line| !line.key.is_empty()).cloned().collect::<Vec<_>>();
            prop_assert_eq!(read.of(&name).map(options).collect::<Vec<_>>(), vec![options(&wanted)]);
            prop_assert!(read.is_auto(&name));
            prop_assert_eq!(others(&read), before.clone());
            file.remove(&name);
            let read = Interfaces::parse(&file.to_string());
            prop_assert!(read.of(&name).next().is_none() && !read.is_auto(&name));
            prop_assert_eq!(others(&read), before);
        }
    }
}
