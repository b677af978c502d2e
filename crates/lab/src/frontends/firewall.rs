//! `pve-firewall`: what its service does, and what people ask it. Words and exit statuses are those of the real one
//! (`PVE/Service/pve_firewall.pm`); what `compile` shows is nftables here, where the real one shows iptables.

use std::fmt::Write as _;

use super::Done;
use crate::firewall::{self, Node, applied};

const USAGE: &str = "ERROR: no command specified\npve-firewall <COMMAND> [ARGS] [OPTIONS]\n";

pub(crate) async fn run(words: &[&str]) -> Done {
    let node = match Node::this() {
        Ok(node) => node,
        Err(error) => return Done::failed(255, format!("{error}\n")),
    };
    let done = match words {
        ["status"] => status(&node).await,
        ["compile"] => compile(&node).await,
        ["localnet"] => localnet(&node).await,
        [verb @ ("start" | "stop" | "restart")] => service(verb).await,
        // What the service runs.
        ["watch"] => watch(&node).await,
        [] => return Done::failed(255, USAGE),
        [verb, ..] => {
            let text = format!(
                "ERROR: unknown command 'pve-firewall {verb}'\npve-firewall <COMMAND> [ARGS] [OPTIONS]\n"
            );
            return Done::failed(255, text);
        }
    };
    done.unwrap_or_else(|error| Done::failed(255, format!("{error}\n")))
}

/// A program of the node.
async fn program(purpose: &str, argv: &[&str]) -> std::io::Result<transport::Output> {
    use transport::Runner as _;
    let command = transport::Command::new(purpose, argv.iter().copied());
    let ran = transport::Local.run(&command).await;
    ran.map_err(|error| std::io::Error::other(crate::containers::explain(&error)))
}

async fn running() -> std::io::Result<bool> {
    let asked =
        program("asking for the service", &["systemctl", "is-active", "--quiet", "pve-firewall"]).await;
    asked.map(|output| output.success())
}

async fn status(node: &Node) -> std::io::Result<Done> {
    let compiled = node.compiled().await?;
    let state = applied();
    let word = if compiled.enabled { "enabled" } else { "disabled" };
    let running = running().await?;
    let mut out = format!("Status: {word}/{}", if running { "running" } else { "stopped" });
    if running && state.as_ref().is_none_or(|state| state.script != compiled.script) {
        out += " (pending changes)";
    }
    let mut err: String = compiled.warnings.iter().map(|warning| format!("{warning}\n")).collect();
    if let Some(error) = state.and_then(|state| state.error) {
        err += &format!("{error}\n");
    }
    Ok(Done { out: out + "\n", err, status: 0 })
}

async fn compile(node: &Node) -> std::io::Result<Done> {
    let compiled = node.compiled().await?;
    let same = applied().is_some_and(|state| state.script == compiled.script);
    let mut out = format!("nft script:\n{}", compiled.script);
    out += if same { "no changes\n" } else { "detected changes\n" };
    if !compiled.enabled {
        out += "firewall disabled\n";
    }
    let err = compiled.warnings.iter().map(|warning| format!("{warning}\n")).collect();
    Ok(Done { out, err, status: 0 })
}

async fn localnet(node: &Node) -> std::io::Result<Done> {
    let said = program("reading the node's addresses", &["ip", "-o", "-4", "address"]).await?;
    let (own, ranges) = node.local(&proxmox::inventory::node_addresses(&said.text()));
    let mut out = format!("local hostname: {}\n", node.name());
    // Writing to a String cannot fail.
    if let Some(own) = own {
        let _ = writeln!(out, "local IP address: {own}");
    }
    for range in ranges {
        let _ = writeln!(out, "network auto detect: {}-{}", range.first, range.last);
    }
    Ok(Done::text(out))
}

/// `restart` is a hang-up: the watcher ends without taking its rules away, and its service starts it anew.
async fn service(verb: &str) -> std::io::Result<Done> {
    let argv = match verb {
        "restart" if running().await? => ["systemctl", "kill", "--signal=HUP", "pve-firewall"].to_vec(),
        "restart" => ["systemctl", "start", "pve-firewall"].to_vec(),
        verb => ["systemctl", verb, "pve-firewall"].to_vec(),
    };
    let output = program("turning the service", &argv).await?;
    Ok(Done { out: String::new(), err: output.tail(3).into(), status: output.status })
}

/// Until it is told to end, which takes the rules away, or to start anew, which does not.
async fn watch(node: &Node) -> std::io::Result<Done> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut end, mut anew) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    // The journal takes what goes to standard error.
    let told = |line: &str| {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    tokio::select! {
        watched = firewall::watch(node, told) => watched?,
        _ = end.recv() => firewall::remove().await?,
        _ = anew.recv() => {}
    }
    Ok(Done::default())
}
