use super::*;

const CLUSTER: &str = "\
[OPTIONS]
enable: 1

[ALIASES]
lan 10.0.0.0/24

[IPSET management]
192.0.2.0/24

[RULES]
IN ACCEPT -p tcp -dport 22,8006 # phoenix:workshop:way-in
OUT DROP -dest 10.66.0.0/16

[group web]
IN ACCEPT -p tcp -dport 80,443
";

fn link(id: u32, slot: u8, firewall: bool) -> Link {
    Link {
        id,
        slot,
        mac: Some(format!("BC:24:11:00:{:02X}:{slot:02X}", id % 256)),
        addresses: vec![Range::parse(&format!("10.0.{slot}.{}", id % 256)).unwrap()],
        firewall,
    }
}

fn input(abilities: Abilities) -> Input {
    let guest = |text: &str| FirewallFile::parse(text);
    Input {
        cluster: guest(CLUSTER),
        host: guest("[RULES]\nIN ACCEPT -i vmbr0 -source lan -p udp -dport 53 # dns\nIN Nope(DROP)\n"),
        guests: [
            (
                120,
                guest(
                    "[OPTIONS]\nenable: 1\nipfilter: 1\npolicy_out: DROP\n[RULES]\n\
                     IN ACCEPT -source 10.0.0.153 -p tcp -dport 80 # phoenix:workshop:gateway-notes\n\
                     OUT ACCEPT -dest 10.0.0.153 -p tcp -dport 443 # phoenix:workshop:notes-gateway\n\
                     OUT REJECT -dest 10.0.0.99\nGROUP web -i net1\n",
                ),
            ),
            (121, guest("[OPTIONS]\nenable: 1\npolicy_in: REJECT\nmacfilter: 0\nndp: 0\ndhcp: 0\nradv: 1\n")),
            // P-73: rules, and never switched on.
            (122, guest("[RULES]\nIN DROP\n")),
        ]
        .into(),
        links: vec![
            link(120, 0, true),
            link(120, 1, true),
            link(121, 0, true),
            link(121, 1, false),
            link(122, 0, true),
        ],
        local: vec![Range::parse("10.0.0.0/24").unwrap()],
        abilities,
    }
}

const OLD: Abilities = Abilities { conntrack_on_bridge: false, reject_on_bridge: false };
const NEW: Abilities = Abilities { conntrack_on_bridge: true, reject_on_bridge: true };

#[test]
fn the_whole_script() {
    let compiled = compile(&input(OLD));
    insta::assert_snapshot!("by_way_of_ip", compiled.script);
    insta::assert_snapshot!("on_the_bridge", compile(&input(NEW)).script);
    assert_eq!(compiled.warnings, ["host.fw: `IN Nope(DROP)`: unknown macro 'Nope'"]);
}

#[test]
fn nothing_happens_unless_the_cluster_says_so() {
    for text in ["", "[OPTIONS]\nenable: 0\n", "[OPTIONS]\npolicy_in: DROP\n"] {
        let off = compile(&Input { cluster: FirewallFile::parse(text), ..input(OLD) });
        assert_eq!((off.script, off.enabled), (nothing(), false));
    }
    // The node alone may be left out.
    let host = FirewallFile::parse("[OPTIONS]\nenable: 0\n");
    let compiled = compile(&Input { host, ..input(OLD) });
    assert!(!compiled.script.contains("hook input") && compiled.script.contains("veth120i0-IN"));
}

/// P-73: each guest's rules are on its own link, never on the node's.
#[test]
fn rules_stay_in_their_zone() {
    let script = compile(&input(OLD)).script;
    let (bridge, inet) = script.split_once("table inet pve-firewall {").unwrap();
    assert!(bridge.contains("gateway-notes") && !inet.contains("gateway-notes"));
    assert!(!bridge.contains("way-in") && inet.contains("way-in"));
    for absent in ["veth121i1", "veth122i0"] {
        assert!(!script.contains(absent), "{absent}");
    }
}

/// The real nft reads what is made, in a network namespace of its own.
#[test]
fn nft_takes_it() {
    let script = compile(&input(OLD)).script;
    let child = std::process::Command::new("unshare")
        .args(["-n", "nft", "-c", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let root = rustix::process::geteuid().is_root();
    let nft = std::path::Path::new("/usr/sbin/nft").exists();
    let mut child = match child {
        Ok(child) if root && nft => child,
        _ => {
            println!("skipped: nft is not installed, or this is not root");
            return;
        }
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
}
