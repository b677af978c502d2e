//! What differs between kernels, in one place.
//!
//! A guest's link is a port of a bridge, and whether a packet belongs to a connection that was let through before is
//! known only to connection tracking. Kernels with `nf_conntrack_bridge` track on the bridge itself. Others hand bridged
//! packets through the tables of IP (`br_netfilter`), where they are tracked, but where the link cannot be seen. So on
//! all of them the rules are looked at on the bridge and leave marks, and only the judgement, a few lines, is made where
//! the connection is known: in a chain of the bridge, or in one of IP. That is before addresses are translated, as a
//! guest's rules mean the addresses that the guest uses.

/// What the kernel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// It tracks connections on bridges (`nf_conntrack_bridge`).
    pub conntrack_on_bridge: bool,
    /// It can answer with a refusal on a bridge (`nft_reject_bridge`). Elsewhere what is to be refused there is dropped.
    pub reject_on_bridge: bool,
}

/// On packets of a guest that is filtered.
pub(super) const FROM: u32 = 0x1000_0000;
/// On those that its rules let out.
pub(super) const MAY: u32 = 0x2000_0000;
/// On those of a connection that was let through before.
pub(super) const KNOWN: u32 = 0x4000_0000;
/// On those that are to be refused rather than dropped.
pub(super) const REFUSE: u32 = 0x0800_0000;

/// Tries whether the kernel takes a statement in a chain of a bridge.
pub(super) fn probe(statement: &str) -> String {
    format!(
        "table bridge pve-firewall-probe {{\n  chain probe {{\n    type filter hook forward priority 0;\n    {statement}\n  }}\n}}\n"
    )
}

impl Abilities {
    /// The chains that judge: for the table of the bridge, and for that of IP.
    pub(super) fn judges(self) -> (Vec<String>, Vec<String>) {
        let known = format!("ct state established,related meta mark set meta mark | {KNOWN:#x}");
        let hook = |hook: &str, lines: Vec<String>| {
            let head = format!("type filter hook {hook} priority -150; policy accept;");
            std::iter::once(head).chain(lines).collect::<Vec<_>>()
        };
        let all = FROM | MAY | REFUSE;
        let judge = |refuse: bool| {
            let mut lines =
                vec![format!("{known} accept"), format!("meta mark & {FROM:#x} != 0 ct state invalid drop")];
            if refuse {
                let refused = FROM | REFUSE;
                lines.push(format!("meta mark & {all:#x} == {refused:#x} goto refused"));
            }
            let left = FROM | MAY;
            lines.push(format!("meta mark & {left:#x} == {FROM:#x} drop"));
            lines
        };
        let mut on_bridge = Vec::new();
        let mut on_ip = Vec::new();
        if self.conntrack_on_bridge {
            on_bridge.extend(chain("judge", hook("prerouting", judge(self.reject_on_bridge))));
            on_ip.extend(chain("known", hook("prerouting", vec![known.clone()])));
        } else {
            on_ip.extend(chain("judge", hook("prerouting", judge(true))));
        }
        on_ip.extend(chain("answers", hook("output", vec![known])));
        (on_bridge, on_ip)
    }

    /// What becomes of packets that are to be refused on the bridge.
    pub(super) fn refused_on_bridge(self) -> Vec<String> {
        chain("refused", if self.reject_on_bridge { reject() } else { vec!["drop".to_owned()] })
    }
}

/// As pve-firewall refuses: TCP by a reset.
pub(super) fn reject() -> Vec<String> {
    vec!["meta l4proto tcp reject with tcp reset".to_owned(), "reject".to_owned()]
}

/// A chain's lines.
pub(super) fn chain(name: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let head = std::iter::once(format!("  chain {name} {{"));
    head.chain(lines.into_iter().map(|line| format!("    {line}"))).chain(["  }".to_owned()]).collect()
}
