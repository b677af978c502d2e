//! Macros: names for protocols and ports, as far as they are used on a small site.
//!
//! From the table `$pve_fw_macros` of pve-firewall, version 9. One that is not here is said to be unknown, and whoever
//! evaluates a rule with it treats it as one that may or may not match.

/// Protocol and destination ports that a macro stands for; no ports means any. `icmp` is a ping.
pub type Expansion = [(&'static str, &'static str)];

/// What a macro stands for.
pub fn expand(name: &str) -> Option<&'static Expansion> {
    MACROS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, rules)| *rules)
}

const MACROS: &[(&str, &Expansion)] = &[
    ("DNS", &[("udp", "53"), ("tcp", "53")]),
    ("FTP", &[("tcp", "21")]),
    ("Git", &[("tcp", "9418")]),
    ("HTTP", &[("tcp", "80")]),
    ("HTTPS", &[("tcp", "443")]),
    ("IMAP", &[("tcp", "143")]),
    ("IMAPS", &[("tcp", "993")]),
    ("LDAP", &[("tcp", "389")]),
    ("LDAPS", &[("tcp", "636")]),
    ("MySQL", &[("tcp", "3306")]),
    ("NFS", &[("tcp", "2049"), ("udp", "2049")]),
    ("NTP", &[("udp", "123")]),
    ("POP3", &[("tcp", "110")]),
    ("POP3S", &[("tcp", "995")]),
    ("Ping", &[("icmp", "")]),
    ("PostgreSQL", &[("tcp", "5432")]),
    ("RDP", &[("tcp", "3389")]),
    ("SMB", &[("udp", "135,445"), ("udp", "137:139"), ("tcp", "135,139,445")]),
    ("SMTP", &[("tcp", "25")]),
    ("SMTPS", &[("tcp", "465")]),
    ("SNMP", &[("udp", "161:162"), ("tcp", "161")]),
    ("SSH", &[("tcp", "22")]),
    ("Submission", &[("tcp", "587")]),
    ("Syslog", &[("udp", "514"), ("tcp", "514")]),
    ("Telnet", &[("tcp", "23")]),
    ("TFTP", &[("udp", "69")]),
    ("VNC", &[("tcp", "5900:5999")]),
    ("Web", &[("tcp", "80"), ("tcp", "443")]),
    ("Webcache", &[("tcp", "8080")]),
    ("Whois", &[("tcp", "43")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_have_ports_that_can_be_read() {
        for (name, rules) in MACROS {
            for (proto, ports) in *rules {
                assert!(["tcp", "udp", "icmp"].contains(proto), "{name}");
                assert!(ports.is_empty() || super::super::ports(ports).is_ok(), "{name}: {ports}");
            }
        }
        assert_eq!(expand("https"), Some(&[("tcp", "443")][..]));
        assert_eq!(expand("Nope"), None);
    }
}
