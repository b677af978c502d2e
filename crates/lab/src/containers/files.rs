//! The files that Proxmox VE writes into a Debian guest: at creation and again before each start.

use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};

use super::guest::Guest;
use super::rootfs::RootFs;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    hostname: String,
    /// The line of `/etc/hosts` between the marks.
    host_line: String,
    interfaces: String,
    /// The lines of `/etc/resolv.conf` between the marks; none: as the node has it.
    resolver: Option<String>,
    timezone: Option<String>,
}

const BEGIN: &str = "# --- BEGIN PVE ---\n";
const END: &str = "# --- END PVE ---\n";

impl Files {
    pub(crate) fn of(guest: &Guest) -> Self {
        let short = guest.hostname.split('.').next().unwrap_or_default();
        let full = match &guest.searchdomain {
            Some(domain) if !guest.hostname.contains('.') => {
                format!("{}.{}", guest.hostname, domain.split([' ', ',', ';']).next().unwrap_or_default())
            }
            _ => guest.hostname.clone(),
        };
        let names = if full == short { full } else { format!("{full} {short}") };
        let address = guest
            .networks
            .values()
            .find_map(|net| net.static_ip().or(net.static_ip6()))
            .and_then(|ip| ip.split('/').next())
            .unwrap_or("127.0.1.1");
        let mut resolver = String::new();
        if let Some(domain) = &guest.searchdomain {
            let _ = writeln!(resolver, "search {}", domain.replace([',', ';'], " "));
        }
        for server in &guest.nameservers {
            let _ = writeln!(resolver, "nameserver {server}");
        }
        Self {
            hostname: format!("{short}\n"),
            host_line: format!("{address} {names}\n"),
            interfaces: interfaces(guest),
            resolver: (!guest.nameservers.is_empty()).then_some(resolver),
            timezone: guest.timezone.clone(),
        }
    }

    /// The host name, for comments.
    pub(crate) fn name(&self) -> &str {
        self.hostname.trim()
    }

    /// Writes what differs.
    pub(crate) fn write(&self, root: &RootFs) -> io::Result<()> {
        root.folder("/etc/network")?;
        root.write("/etc/hostname", self.hostname.as_bytes(), 0o644)?;
        let hosts = root
            .read("/etc/hosts")?
            .unwrap_or_else(|| "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned());
        root.write("/etc/hosts", section(&hosts, &self.host_line).as_bytes(), 0o644)?;
        root.write("/etc/network/interfaces", self.interfaces.as_bytes(), 0o644)?;
        let resolver = match &self.resolver {
            Some(lines) => section("", lines),
            None => fs_err::read_to_string("/etc/resolv.conf")?,
        };
        root.write("/etc/resolv.conf", resolver.as_bytes(), 0o644)?;
        if let Some(zone) = &self.timezone {
            let target = if zone == "host" {
                fs_err::read_link("/etc/localtime").map(|p| p.to_string_lossy().into_owned()).ok()
            } else {
                Some(format!("/usr/share/zoneinfo/{zone}"))
            };
            if let Some(target) = target.filter(|t| root.exists(t)) {
                root.link("/etc/localtime", &target)?;
            }
        }
        Ok(())
    }
}

/// `text` with the section between the marks replaced by `lines`, or added at its end.
fn section(text: &str, lines: &str) -> String {
    let marked = format!("{BEGIN}{lines}{END}");
    if let (Some(from), Some(to)) = (text.find(BEGIN), text.find(END))
        && from < to
    {
        return format!("{}{marked}{}", &text[..from], &text[to + END.len()..]);
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{gap}{marked}")
}

/// `/etc/network/interfaces`, as ifupdown reads it.
fn interfaces(guest: &Guest) -> String {
    let mut out = "auto lo\niface lo inet loopback\niface lo inet6 loopback\n".to_owned();
    for net in guest.networks.values() {
        let name = &net.name;
        // Writing to a String cannot fail.
        let _ = write!(out, "\nauto {name}\n");
        let families = [
            ("inet", net.ip.as_deref(), net.gw.as_deref()),
            ("inet6", net.ip6.as_deref(), net.gw6.as_deref()),
        ];
        for (family, address, gateway) in families {
            match address {
                None if family == "inet6" => {}
                None | Some("manual") => {
                    let _ = writeln!(out, "iface {name} {family} manual");
                }
                Some(method @ ("dhcp" | "auto")) => {
                    let _ = writeln!(out, "iface {name} {family} {method}");
                }
                Some(address) => {
                    let _ = writeln!(out, "iface {name} {family} static\n\taddress {address}");
                    if let Some(gateway) = gateway {
                        // A gateway outside the subnet is reached directly.
                        let _ = if on_link(address, gateway) {
                            writeln!(out, "\tgateway {gateway}")
                        } else {
                            writeln!(
                                out,
                                "\tpost-up ip route add {gateway} dev {name}\n\tpost-up ip route add default via {gateway} dev {name}"
                            )
                        };
                    }
                }
            }
        }
    }
    out
}

/// Whether `gateway` lies in the subnet of `address` (`10.0.0.2/24`). What cannot be read counts as yes.
pub(crate) fn on_link(address: &str, gateway: &str) -> bool {
    use std::net::IpAddr;
    let Some((ip, prefix)) = address.split_once('/') else { return true };
    let Ok(prefix) = prefix.parse::<u32>() else { return true };
    match (ip.parse(), gateway.parse()) {
        (Ok(IpAddr::V4(a)), Ok(IpAddr::V4(b))) => {
            let shift = 32_u32.saturating_sub(prefix);
            u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
        }
        (Ok(IpAddr::V6(a)), Ok(IpAddr::V6(b))) => {
            let shift = 128_u32.saturating_sub(prefix);
            u128::from(a).checked_shr(shift) == u128::from(b).checked_shr(shift)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Config;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let config: Config = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Files::of(&Guest::parse(101, &config).unwrap())
    }

    #[test]
    fn a_static_address_becomes_a_static_interface() {
        let files = files(&[
            ("hostname", "notes"),
            ("searchdomain", "workshop.internal"),
            ("nameserver", "10.0.0.1"),
            ("net0", "name=eth0,bridge=vmbr0,ip=10.0.0.11/24,gw=10.0.0.1,ip6=auto"),
        ]);
        assert_eq!(files.hostname, "notes\n");
        assert_eq!(files.host_line, "10.0.0.11 notes.workshop.internal notes\n");
        assert_eq!(files.resolver.as_deref(), Some("search workshop.internal\nnameserver 10.0.0.1\n"));
        assert_eq!(
            files.interfaces,
            "auto lo\niface lo inet loopback\niface lo inet6 loopback\n\nauto eth0\niface eth0 inet static\n\
             \taddress 10.0.0.11/24\n\tgateway 10.0.0.1\niface eth0 inet6 auto\n"
        );
    }

    #[test]
    fn a_gateway_outside_the_subnet_gets_a_route_of_its_own() {
        let files = files(&[("net0", "name=eth0,bridge=vmbr0,ip=10.0.0.11/32,gw=10.0.0.1")]);
        assert!(files.interfaces.contains("post-up ip route add 10.0.0.1 dev eth0"));
        assert!(!files.interfaces.contains("\tgateway"));
        assert_eq!(files.host_line, "10.0.0.11 CT101\n");
    }

    #[test]
    fn a_section_is_replaced_and_what_people_wrote_stays() {
        let first = section("127.0.0.1 localhost\n", "10.0.0.11 a\n");
        let mine = format!("{first}10.0.0.99 mine\n");
        let second = section(&mine, "10.0.0.12 b\n");
        assert_eq!(
            second,
            "127.0.0.1 localhost\n# --- BEGIN PVE ---\n10.0.0.12 b\n# --- END PVE ---\n10.0.0.99 mine\n"
        );
        assert_eq!(section(&second, "10.0.0.12 b\n"), second);
    }
}
