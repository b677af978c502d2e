//! What is to be seen of a node's network: its files, and how its links are now.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::FILE;

/// What prints it ([`parse`]), for a POSIX shell; it changes nothing.
pub const SCRIPT: &str = include_str!("look.sh");

/// A file of the network's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenFile {
    /// Where it is.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A link, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its MAC, in lower case; the one that was burnt in, where it has another for now.
    pub mac: String,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// The bridge or bond that it is a part of.
    pub master: Option<String>,
    /// Whether it is switched on.
    pub up: bool,
    /// Its addresses with the lengths of their prefixes; those that are valid on the link alone are left out.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it is a bridge, and then whether that knows VLANs.
    pub bridge: Option<bool>,
    /// Whether it is a bond, and then its mode: `802.3ad`.
    pub bond: Option<String>,
    /// Whether a card is behind it.
    pub card: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenNetwork {
    /// What [`FILE`] says; `None` where there is none.
    pub text: Option<String>,
    /// The files that it sources.
    pub sourced: Vec<SeenFile>,
    /// Whether Proxmox VE keeps changes that somebody made in its pages and that were not applied.
    pub staged: bool,
    /// What applies the file: `ifupdown2` or `ifupdown`.
    pub tool: Option<String>,
    /// The tables of nftables for IPv4; `None` where the node has no `nft`.
    pub tables: Option<Vec<String>>,
    /// The cards whose names are kept by files of Phoenix' own: MAC and name.
    pub pins: BTreeMap<String, String>,
    /// The site whose change of the network waits to be confirmed, and is taken back otherwise.
    pub unconfirmed: Option<String>,
    /// The links, by name.
    pub links: BTreeMap<String, Link>,
    /// The default routes: router and link.
    pub routes: Vec<(IpAddr, String)>,
    /// The node's own address at which the reader came in over ssh.
    pub way: Option<IpAddr>,
}

impl SeenNetwork {
    /// The links that have this address.
    pub fn with_address(&self, address: IpAddr) -> Option<&str> {
        let has = |link: &Link| link.addresses.iter().any(|(it, _)| *it == address);
        self.links.iter().find(|(_, link)| has(link)).map(|(name, _)| name.as_str())
    }
}

/// Reads what [`SCRIPT`] prints.
///
/// # Errors
/// When it is not whole, or not of that form: what is wrong with it.
pub fn parse(text: &str) -> Result<SeenNetwork, String> {
    let mut seen = SeenNetwork::default();
    let (mut rest, mut addresses, mut more) = (text, None, Vec::new());
    let mut whole = false;
    while !rest.is_empty() {
        let (head, after) = rest.split_once('\n').ok_or("it is cut off")?;
        let odd = || format!("`{}` is no heading", head.chars().take(80).collect::<String>());
        let (name, length) = head.rsplit_once(' ').ok_or_else(odd)?;
        let length: usize = length.parse().map_err(|_| odd())?;
        let content = after.get(..length).ok_or("it is cut off")?;
        rest = after[length..].strip_prefix('\n').ok_or("a part is longer than announced")?;
        match name.split_once(':').unwrap_or((name, "")) {
            ("file", FILE) => seen.text = Some(content.to_owned()),
            ("file", path) => {
                seen.sourced.push(SeenFile { path: path.to_owned(), text: content.to_owned() });
            }
            ("staged", _) => seen.staged = true,
            ("tool", _) => seen.tool = Some(content.to_owned()),
            ("nft", _) => {
                let names = content.lines().filter_map(|line| line.strip_prefix("table ip "));
                seen.tables = Some(names.map(str::to_owned).collect());
            }
            ("armed", _) => seen.unconfirmed = content.split(' ').next().map(str::to_owned),
            ("pin", path) => seen.pins.extend(super::pin::of(path, content)),
            ("addresses", _) => addresses = Some(json(content)?),
            ("routes" | "routes6", _) => seen.routes.extend(routes(&json(content)?)),
            ("way", _) => {
                seen.way = content.split_whitespace().nth(2).and_then(|word| word.parse().ok());
                whole = true;
            }
            (kind @ ("bridge" | "bond" | "card"), link) => more.push((kind, link, content)),
            _ => return Err(odd()),
        }
    }
    if !whole {
        return Err("it is cut off".to_owned());
    }
    let addresses = addresses.ok_or("there is nothing of the links")?;
    seen.links = addresses.as_array().into_iter().flatten().filter_map(link).collect();
    for (kind, name, content) in more {
        // One that came between the two readings is seen the next time.
        let Some(link) = seen.links.get_mut(name) else { continue };
        match kind {
            "bridge" => link.bridge = Some(content == "1"),
            "bond" => link.bond = Some(content.to_owned()),
            _ => link.card = true,
        }
    }
    Ok(seen)
}

fn json(text: &str) -> Result<Value, String> {
    // Of nothing iproute2 prints nothing.
    let text = if text.trim().is_empty() { "[]" } else { text };
    serde_json::from_str(text).map_err(|error| format!("what `ip -j` printed is no JSON: {error}"))
}

fn link(value: &Value) -> Option<(String, Link)> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let addresses = value["addr_info"].as_array().into_iter().flatten().filter_map(|it| {
        let own = it["scope"] != "link" && it["scope"] != "host";
        let length = u8::try_from(it["prefixlen"].as_u64()?).ok()?;
        own.then_some((it["local"].as_str()?.parse().ok()?, length))
    });
    let link = Link {
        mac: text("permaddr").or_else(|| text("address")).unwrap_or_default().to_ascii_lowercase(),
        mtu: value["mtu"].as_u64().and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or_default(),
        master: text("master"),
        up: value["flags"].as_array().into_iter().flatten().any(|flag| flag == "UP"),
        addresses: addresses.collect(),
        ..Link::default()
    };
    Some((text("ifname")?, link))
}

fn routes(value: &Value) -> Vec<(IpAddr, String)> {
    let route = |it: &Value| Some((it["gateway"].as_str()?.parse().ok()?, it["dev"].as_str()?.to_owned()));
    value.as_array().into_iter().flatten().filter_map(route).collect()
}

/// What [`SCRIPT`] would print: for a node that is only simulated. The way in is printed as sshd says it.
pub fn printed(seen: &SeenNetwork) -> String {
    let mut out = String::new();
    let mut give = |name: &str, text: &str| {
        out.push_str(&format!("{name} {}\n{text}\n", text.len()));
    };
    let main = seen.text.as_ref().map(|text| SeenFile { path: FILE.to_owned(), text: text.clone() });
    for file in main.iter().chain(&seen.sourced) {
        give(&format!("file:{}", file.path), &file.text);
    }
    if seen.staged {
        give("staged", "/etc/network/interfaces.new");
    }
    if let Some(tool) = &seen.tool {
        give("tool", tool);
    }
    let links = seen.links.iter().map(|(name, link)| {
        let addresses = link.addresses.iter().map(|(address, length)| {
            serde_json::json!({ "local": address.to_string(), "prefixlen": length, "scope": "global" })
        });
        let mut value = serde_json::json!({
            "ifname": name, "address": link.mac, "mtu": link.mtu, "flags": if link.up { vec!["UP"] } else { vec![] },
            "addr_info": addresses.collect::<Vec<_>>(),
        });
        if let Some(master) = &link.master {
            value["master"] = master.as_str().into();
        }
        value
    });
    give("addresses", &Value::from(links.collect::<Vec<_>>()).to_string());
    let routes = seen.routes.iter().map(
        |(router, link)| serde_json::json!({ "dst": "default", "gateway": router.to_string(), "dev": link }),
    );
    give("routes", &Value::from(routes.collect::<Vec<_>>()).to_string());
    for (name, link) in &seen.links {
        if let Some(aware) = link.bridge {
            give(&format!("bridge:{name}"), if aware { "1" } else { "0" });
        }
        if let Some(mode) = &link.bond {
            give(&format!("bond:{name}"), mode);
        }
        if link.card {
            give(&format!("card:{name}"), "");
        }
    }
    for (mac, name) in &seen.pins {
        give(&format!("pin:{}", super::pin::path(mac)), super::pin::text(mac, name).trim_end());
    }
    if let Some(tables) = &seen.tables {
        give("nft", &tables.iter().map(|it| format!("table ip {it}\n")).collect::<String>());
    }
    if let Some(site) = &seen.unconfirmed {
        give("armed", &format!("{site} 1"));
    }
    give("way", &seen.way.map(|way| format!("192.0.2.1 50000 {way} 22")).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use transport::{Command, Local, Runner as _};

    fn links() -> impl Strategy<Value = BTreeMap<String, Link>> {
        let address =
            ([1..255_u8, 0..255, 0..255, 1..255], 8..32_u8).prop_map(|(it, n)| (IpAddr::from(it), n));
        let link = (
            "[0-9a-f]{2}(:[0-9a-f]{2}){5}",
            68..9000_u32,
            proptest::option::of("vmbr[0-9]"),
            any::<bool>(),
            proptest::collection::vec(address, 0..3),
            proptest::option::of(any::<bool>()),
        );
        let link = link.prop_map(|(mac, mtu, master, up, addresses, bridge)| Link {
            mac,
            mtu,
            master,
            up,
            addresses,
            bridge,
            ..Link::default()
        });
        proptest::collection::btree_map("[a-z]{3}[0-9]", link, 0..4)
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            text in proptest::option::of("\\PC{0,20}\n?"),
            sourced in "\\PC{0,20}",
            staged: bool,
            links in links(),
        ) {
            let seen = SeenNetwork {
                text,
                sourced: vec![SeenFile { path: "/etc/network/interfaces.d/a".into(), text: sourced }],
                staged,
                tool: Some("ifupdown2".into()),
                tables: Some(vec!["phoenix-nat-vmbr1".into()]),
                pins: [("bc:24:11:00:00:01".to_owned(), "enp5s0".to_owned())].into(),
                unconfirmed: Some("workshop".into()),
                links,
                routes: vec![("10.0.0.1".parse().unwrap(), "vmbr0".into())],
                way: Some("10.0.0.13".parse().unwrap()),
            };
            let text = printed(&seen);
            prop_assert_eq!(parse(&text).unwrap(), seen);
            let cut = text.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
            for at in cut {
                prop_assert!(parse(&text[..at]).is_err(), "{}", &text[..at]);
            }
        }

        #[test]
        fn whatever_is_printed_there_is_no_panic(text in "((file|way|routes|addresses|bridge)(:[a-z]{0,3})? [0-9]{0,2}\n)?\\PC{0,30}\n?") {
            let _ = parse(&text);
        }
    }

    /// The script itself, on this machine: whatever that has, its links are read.
    #[tokio::test]
    async fn the_script_prints_what_is_read() {
        let output = Local.run(&Command::new("looking", ["sh", "-c", SCRIPT, "network"])).await.unwrap();
        let programs = Local.run(&Command::new("looking", ["sh", "-c", "command -v ip"])).await.unwrap();
        if !programs.success() {
            println!("skipped: there is no `ip` here");
            return;
        }
        let seen = parse(&output.text()).unwrap();
        assert!(seen.links.contains_key("lo"), "{seen:?}");
    }
}
