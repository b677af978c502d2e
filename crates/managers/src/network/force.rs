//! Whether a link is as it is wanted on the node, not in its file. Pure.

use std::net::IpAddr;

use blueprint::model::{Link, LinkIs};
use proxmox::network::SeenNetwork;

use super::stanza::table;

/// What is not so, a sentence each. What only others can give, such as an address by DHCP, is not looked at.
pub(super) fn lacks(seen: &SeenNetwork, link: &Link, parts: &[String]) -> Vec<String> {
    let name = &link.name;
    let Some(there) = seen.links.get(name) else { return vec![format!("there is no {name} on the node")] };
    let mut all = Vec::new();
    if !there.up {
        all.push(format!("{name} is off"));
    }
    let own = [
        link.address.map(|it| (IpAddr::from(it.address()), it.network_length())),
        link.address6.map(|it| (IpAddr::from(it.address()), it.network_length())),
    ];
    for (address, length) in own.into_iter().flatten() {
        if !there.addresses.contains(&(address, length)) {
            all.push(format!("{name} has no address {address}/{length}"));
        }
    }
    if let Some(mtu) = link.mtu.map(u32::from)
        && mtu != there.mtu
    {
        all.push(format!("{name} takes packets of {} bytes, not of {mtu}", there.mtu));
    }
    for part in parts {
        if seen.links.get(part).is_some_and(|it| it.master.as_deref() != Some(name)) {
            all.push(format!("{part} is not on {name}"));
        }
    }
    match (&link.is, there.bridge, &there.bond) {
        (LinkIs::Bridge { .. }, None, _) => all.push(format!("{name} is no bridge")),
        (LinkIs::Bridge { vlan_aware, .. }, Some(aware), _) if *vlan_aware != aware => {
            let word = if aware { "keeps" } else { "does not keep" };
            all.push(format!("{name} {word} VLANs apart"));
        }
        (LinkIs::Bond { mode, .. }, _, is) if is.as_ref() != Some(mode) => {
            let is = is.as_deref().unwrap_or("no bond");
            all.push(format!("{name} is {is}, not {mode}"));
        }
        _ => {}
    }
    if link.nat && !seen.tables.iter().flatten().any(|it| *it == table(name)) {
        all.push(format!("who is on {name} is not let out"));
    }
    all
}
