//! Changing a running guest's network from the node: addresses, routes, the veth pair.

use super::config::veth;
use super::files::on_link;
use super::guest::Net;
use super::run::{output, run};
use crate::runtime::TaskError;
use std::time::Duration;

/// The MTU of a bridge of this node.
pub(crate) fn bridge_mtu(bridge: &str) -> Option<u32> {
    fs_err::read_to_string(format!("/sys/class/net/{bridge}/mtu")).ok()?.trim().parse().ok()
}

/// Whether there is such a bridge.
///
/// # Errors
/// In the node's words, when there is none.
pub(crate) fn bridge_exists(bridge: &str) -> Result<(), TaskError> {
    if camino::Utf8Path::new("/sys/class/net").join(bridge).exists() && !bridge.contains('/') {
        Ok(())
    } else {
        Err(TaskError(format!("bridge '{bridge}' does not exist")))
    }
}

/// Runs the node's `ip` in the guest's network namespace: nothing in the guest is relied on.
async fn ip(init: u32, arguments: &[&str]) -> Result<(), TaskError> {
    let pid = init.to_string();
    let mut argv = vec!["nsenter", "-t", &pid, "-n", "--", "ip"];
    argv.extend(arguments);
    run(&argv).await.map(drop)
}

/// Brings `netN` of a running guest from `old` to `new`.
pub(crate) async fn change(
    id: u32,
    init: u32,
    slot: u8,
    old: Option<&Net>,
    new: Option<&Net>,
) -> Result<(), TaskError> {
    let pair = veth(id, slot);
    let Some(new) = new else {
        // The guest's end goes with it. It may be gone from an earlier try.
        output(&["ip", "link", "del", &pair], Duration::from_secs(10)).await?;
        return Ok(());
    };
    if let Some(bridge) = &new.bridge {
        bridge_exists(bridge)?;
    }
    // Another name needs another interface; everything else is changed on the one that is there.
    let same = old.is_some_and(|old| old.name == new.name)
        && camino::Utf8Path::new("/sys/class/net").join(&pair).exists();
    if !same {
        plug(&pair, init, new).await?;
    } else if old.is_some_and(|old| old.hwaddr != new.hwaddr)
        && let Some(hwaddr) = &new.hwaddr
    {
        ip(init, &["link", "set", &new.name, "down"]).await?;
        ip(init, &["link", "set", &new.name, "address", hwaddr]).await?;
    }
    match &new.bridge {
        Some(bridge) => run(&["ip", "link", "set", &pair, "master", bridge, "up"]).await?,
        None => run(&["ip", "link", "set", &pair, "nomaster", "up"]).await?,
    };
    ip(init, &["link", "set", &new.name, if new.link_down { "down" } else { "up" }]).await?;
    if new.link_down {
        return Ok(());
    }
    addresses(init, old, new).await
}

/// Makes a new pair and moves one end into the guest.
async fn plug(pair: &str, init: u32, new: &Net) -> Result<(), TaskError> {
    output(&["ip", "link", "del", pair], Duration::from_secs(10)).await?;
    let peer = format!("{pair}p");
    let pid = init.to_string();
    run(&["ip", "link", "add", pair, "type", "veth", "peer", "name", &peer]).await?;
    if let Some(mtu) = new.mtu.filter(|m| *m > 1).or_else(|| new.bridge.as_deref().and_then(bridge_mtu)) {
        let mtu = mtu.to_string();
        run(&["ip", "link", "set", pair, "mtu", &mtu]).await?;
        run(&["ip", "link", "set", &peer, "mtu", &mtu]).await?;
    }
    if let Some(hwaddr) = &new.hwaddr {
        run(&["ip", "link", "set", &peer, "address", hwaddr]).await?;
    }
    run(&["ip", "link", "set", &peer, "netns", &pid, "name", &new.name]).await.map(drop)
}

/// The addresses and default routes; what was there before and is no longer wanted goes last.
async fn addresses(init: u32, old: Option<&Net>, new: &Net) -> Result<(), TaskError> {
    let name = new.name.as_str();
    let families = [
        ("-4", new.static_ip(), new.gw.as_deref(), old.and_then(Net::static_ip)),
        ("-6", new.static_ip6(), new.gw6.as_deref(), old.and_then(Net::static_ip6)),
    ];
    for (family, address, gateway, before) in families {
        if let Some(before) = before.filter(|b| Some(*b) != address) {
            // Not there any more is as good as removed.
            let _ = ip(init, &[family, "addr", "del", before, "dev", name]).await;
        }
        let Some(address) = address else { continue };
        if family == "-4" {
            // `broadcast +` is what ifupdown sets too.
            ip(init, &[family, "addr", "replace", address, "broadcast", "+", "dev", name]).await?;
        } else {
            ip(init, &[family, "addr", "replace", address, "dev", name]).await?;
        }
        match gateway {
            Some(gateway) => {
                if !on_link(address, gateway) {
                    ip(init, &[family, "route", "replace", gateway, "dev", name]).await?;
                }
                ip(init, &[family, "route", "replace", "default", "via", gateway, "dev", name]).await?;
            }
            None => {
                let _ = ip(init, &[family, "route", "del", "default", "dev", name]).await;
            }
        }
    }
    Ok(())
}
