//! The lab's commands as functions with plain arguments, for a command line to call.

use std::io::Write;
use std::net::SocketAddrV4;

use camino::Utf8PathBuf;
use fs_err as fs;

use super::{Event, ForwardArgs, LabSpec, Network, Ports};
use crate::frontends::{self, Streams};

/// `--key value` from arguments.
fn value<'a>(arguments: &'a [String], key: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|a| a == key)?;
    arguments.get(at + 1).map(String::as_str)
}

fn ports(arguments: &[String]) -> Ports {
    let port = |key: &str, default| value(arguments, key).and_then(|p| p.parse().ok()).unwrap_or(default);
    let default = Ports::default();
    Ports {
        api: port("--api-port", default.api),
        ssh: port("--ssh-port", default.ssh),
        https: port("--https-port", default.https),
    }
}

/// The hidden commands that the lab calls of its own program (`serve`, `forward`, `node`), and plain forms of `up`,
/// `down`, `status` and `sweep` for tests. `arguments` begin with the command. Returns the exit status; writes to the
/// standard streams, since it stands at the end of a program.
pub async fn entry(arguments: &[String]) -> i32 {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let Some((command, rest)) = arguments.split_first() else {
        let _ = writeln!(err, "lab: no command");
        return 2;
    };
    if command == "node" {
        return frontends::run(rest, Streams { out: &mut out, err: &mut err }).await;
    }
    let folder = Utf8PathBuf::from(value(rest, "--folder").unwrap_or_default());
    let done: Result<(), super::Error> = match command.as_str() {
        "forward" => {
            let args = ForwardArgs { folder, ports: ports(rest) };
            super::forward(args, say_ready).await
        }
        "serve" => {
            let simulated = rest.iter().any(|a| a == "--simulated").then(|| ports(rest).api);
            super::serve(super::ServeArgs { folder, simulated }, say_ready).await
        }
        "up" => up(&folder, rest).await,
        "down" => super::down(&folder).await.map(|removed| print_lines(&removed.things)),
        "sweep" => super::sweep().await.map(|removed| print_lines(&removed.things)),
        "status" => super::status(&folder)
            .await
            .map(|status| print_lines(&[serde_json::to_string_pretty(&status).unwrap_or_default()])),
        other => {
            let _ = writeln!(err, "lab: no such command: {other}");
            return 2;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            let mut text = error.to_string();
            let mut next = std::error::Error::source(&error);
            while let Some(source) = next {
                text += &format!(": {source}");
                next = source.source();
            }
            let _ = writeln!(err, "lab {command}: {text}");
            if let Some(hint) = error.hint() {
                let _ = writeln!(err, "hint: {hint}");
            }
            1
        }
    }
}

/// What the one who started this process waits for.
fn say_ready() {
    let mut out = std::io::stdout();
    // Nobody may be waiting: the node's own service manager does not.
    let _ = writeln!(out, "ready");
    let _ = out.flush();
}

fn print_lines(lines: &[String]) {
    let mut out = std::io::stdout();
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
}

async fn up(folder: &Utf8PathBuf, rest: &[String]) -> Result<(), super::Error> {
    let network = value(rest, "--network").unwrap_or("vmbr0,10.0.0.0/24,10.0.0.1");
    let mut parts = network.split(',');
    let mut part = || parts.next().unwrap_or_default();
    let bad =
        |_| super::Error::Folder { folder: folder.clone(), why: "came with a network that cannot be read" };
    let network = Network {
        bridge: part().to_owned(),
        subnet: part().parse().map_err(|_| bad(()))?,
        gateway: part().parse().map_err(|_| bad(()))?,
        node: None,
    };
    let names = super::node_names(value(rest, "--nodes").and_then(|n| n.parse().ok()).unwrap_or(1));
    let spec = LabSpec {
        folder: folder.clone(),
        node: names[0].clone(),
        others: names[1..].to_vec(),
        networks: vec![network],
        storages: vec!["local-zfs".to_owned(), "tank".to_owned()],
        ports: ports(rest),
        reserved: std::collections::BTreeSet::new(),
        https_target: value(rest, "--https").and_then(|a| a.parse::<SocketAddrV4>().ok()),
        program: None,
        cache: super::cache_folder(
            std::env::var("PHOENIX_CACHE").ok().as_deref(),
            std::env::var("HOME").ok().as_deref(),
        ),
        machine: rest.iter().any(|a| a == "--machine").then(super::MachineSpec::default),
    };
    let report = |event: Event| {
        let mut err = std::io::stderr();
        let _ = match event {
            Event::Doing { what, usually } => writeln!(err, "{what} (about {} s)", usually.as_secs()),
            Event::Note(text) => writeln!(err, "{text}"),
        };
    };
    let (record, found) = if rest.iter().any(|a| a == "--simulated") {
        super::up_simulated(&spec, &report).await?
    } else {
        super::up(&spec, &report).await?
    };
    let text = fs::read_to_string(folder.join("node.json")).unwrap_or_default();
    print_lines(&[format!("{found:?} {}", record.endpoint), text]);
    Ok(())
}
