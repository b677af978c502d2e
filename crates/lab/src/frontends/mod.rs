//! `pct`, `qm`, `pvesh`, `pvesm`, `pveam`, `pveum`, `pvenode`, `pveversion` inside the lab's node: thin clients of the node's API,
//! with the texts and exit statuses of the real ones; and `pve-firewall`.
//!
//! On the node these are scripts that call this program as `lab node NAME …`. The same entry serves LXC's hook and the
//! steps of the runtime that need a process of their own.

mod client;
mod firewall;
mod options;
mod others;
mod pct;
mod pct_files;
mod pveam;
mod pvenode;
mod qm;

use std::io::Write;

use crate::containers;
pub(crate) use client::send;
use client::{Api, Failure};
pub(crate) use options::split;
pub(crate) use others::pveum_call;
pub(crate) use pct_files::reason;

/// Where a front end writes.
#[derive(Debug)]
pub struct Streams<'a, O: Write, E: Write> {
    /// Standard output.
    pub out: &'a mut O,
    /// Standard error.
    pub err: &'a mut E,
}

/// What a front end did: text for both outputs, and its exit status.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub out: String,
    pub err: String,
    pub status: i32,
}

impl Done {
    pub(crate) fn text(out: impl Into<String>) -> Self {
        Self { out: out.into(), ..Self::default() }
    }

    pub(crate) fn failed(status: i32, err: impl Into<String>) -> Self {
        Self { err: err.into(), status, ..Self::default() }
    }
}

/// Runs one front end, `argv[0]` being its name, and returns its exit status. `pct exec` and `pct enter` replace this
/// process.
pub async fn run<O: Write, E: Write>(argv: &[String], streams: Streams<'_, O, E>) -> i32 {
    let done = dispatch(argv).await;
    // A reader that has gone away does not change what was done.
    let _ = streams.out.write_all(done.out.as_bytes());
    let _ = streams.out.flush();
    let _ = streams.err.write_all(done.err.as_bytes());
    done.status
}

async fn dispatch(argv: &[String]) -> Done {
    let Some((name, arguments)) = argv.split_first() else {
        return Done::failed(255, "no front end named\n");
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match name.as_str() {
        "prestart" => inside(std::env::var("LXC_NAME").ok().and_then(|id| id.parse().ok()), |id| {
            containers::prestart(id).map(|()| Vec::new())
        }),
        "fill" => inside(words.first().and_then(|id| id.parse().ok()), |id| {
            containers::fill(id, words.get(1).copied().unwrap_or_default().into())
        }),
        "mount-live" => inside(words.first().and_then(|id| id.parse().ok()), |id| {
            let init = words.get(2).and_then(|pid| pid.parse().ok()).unwrap_or_default();
            containers::mount_live(id, words.get(1).copied().unwrap_or_default(), init).map(|()| Vec::new())
        }),
        "grow-xfs" => inside(Some(0), |_| {
            containers::grow_xfs(words.first().copied().unwrap_or_default().into()).map(|()| Vec::new())
        }),
        "pve-firewall" => firewall::run(&words).await,
        name => {
            let api = Api::on_node();
            let result = match name {
                "pct" => pct::run(&api, &words).await,
                "qm" => qm::run(&api, &words).await,
                "pvesh" => others::pvesh(&api, &words).await,
                "pveam" => pveam::run(&api, &words).await,
                "pvesm" => others::pvesm(&api, &words).await,
                "pveum" => others::pveum(&api, &words).await,
                "pvenode" => pvenode::run(&api, &words).await,
                "pveversion" => others::pveversion(&api).await,
                "start-guests" => others::start_guests(&api).await,
                _ => Ok(Done::failed(255, format!("{name}: no such front end\n"))),
            };
            result.unwrap_or_else(Failure::into_done)
        }
    }
}

/// The guests that run on the node whose API listens on `socket`.
pub(crate) async fn running_guests(socket: &camino::Utf8Path, node: &str) -> std::collections::BTreeSet<u32> {
    let api = Api::at(socket, node);
    let mut out = std::collections::BTreeSet::new();
    for kind in ["/lxc", "/qemu"] {
        let guests = api.call("GET", &api.path(kind), &client::Parameters::new()).await.unwrap_or_default();
        let running = guests.as_array().into_iter().flatten().filter(|g| g["status"] == "running");
        out.extend(running.filter_map(|g| pct::shown(&g["vmid"]).parse::<u32>().ok()));
    }
    out
}

/// Runs a step of the runtime in this process.
fn inside(id: Option<u32>, step: impl FnOnce(u32) -> std::io::Result<Vec<String>>) -> Done {
    let Some(id) = id else { return Done::failed(255, "no container named\n") };
    match step(id) {
        Ok(lines) => Done::text(lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
        Err(error) => Done::failed(1, format!("{error}\n")),
    }
}
