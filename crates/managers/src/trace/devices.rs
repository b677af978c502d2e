//! A guest's network devices and their addresses, as `ip -o link` and `ip -o -4 address` (iproute2) print them.

use std::collections::BTreeMap;

/// A network device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Whether it was switched on inside.
    pub up: bool,
    /// Whether its other end is there and on.
    pub carrier: bool,
    /// Its MAC, in capitals.
    pub mac: Option<String>,
    /// Its addresses with their prefixes: `10.0.0.120/24`.
    pub addresses: Vec<String>,
}

/// The devices by name, the loopback device left out.
pub fn devices(links: &str, addresses: &str) -> BTreeMap<String, Device> {
    let mut all: BTreeMap<String, Device> = links.lines().filter_map(link).collect();
    for line in addresses.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (Some(name), Some("inet"), Some(inet)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if let Some(device) = all.get_mut(name) {
            device.addresses.push(inet.to_owned());
        }
    }
    all
}

/// `2: eth0@if12: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 … \    link/ether bc:24:11:3a:71:0f brd …`.
fn link(line: &str) -> Option<(String, Device)> {
    let mut words = line.split_whitespace().skip(1);
    let name = words.next()?.trim_end_matches(':');
    let name = name.split('@').next().unwrap_or(name);
    let flags: Vec<&str> = words.next()?.strip_prefix('<')?.strip_suffix('>')?.split(',').collect();
    let ether = words.by_ref().any(|word| word == "link/ether");
    let mac = words.next().filter(|_| ether).map(str::to_uppercase);
    let up = flags.contains(&"UP");
    let device = Device { up, carrier: up && !flags.contains(&"NO-CARRIER"), mac, addresses: Vec::new() };
    (!flags.contains(&"LOOPBACK")).then(|| (name.to_owned(), device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOOPBACK: &str = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n";
    const LO: &str =
        "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n";

    fn eth0(flags: &str, inet: &str) -> Device {
        let links = format!(
            "{LOOPBACK}2: eth0@if12: <{flags}> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000\\    \
             link/ether bc:24:11:3a:71:0f brd ff:ff:ff:ff:ff:ff link-netnsid 0\n"
        );
        let found = devices(&links, &format!("{LO}{inet}"));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["eth0"]);
        found["eth0"].clone()
    }

    #[test]
    fn how_a_device_is() {
        let inet = "2: eth0    inet 10.0.0.120/24 brd 10.0.0.255 scope global eth0\\       valid_lft forever preferred_lft forever\n";
        let well = eth0("BROADCAST,MULTICAST,UP,LOWER_UP", inet);
        let mac = Some("BC:24:11:3A:71:0F".to_owned());
        assert_eq!(well, Device { up: true, carrier: true, mac, addresses: vec!["10.0.0.120/24".into()] });
        let off = eth0("BROADCAST,MULTICAST", inet);
        assert!(!off.up && !off.carrier);
        let unplugged = eth0("NO-CARRIER,BROADCAST,MULTICAST,UP", "");
        assert!(unplugged.up && !unplugged.carrier && unplugged.addresses.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read(links in "([0-9]: |eth0|@if1|: |<|UP|>|link/ether |\n|.{0,9}){0,20}", addresses in "([0-9]: |eth0 |inet |\n|.{0,9}){0,20}") {
            let _ = devices(&links, &addresses);
        }
    }
}
