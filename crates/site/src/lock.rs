//! One run for a site at a time, from whichever machine: a lock on the node, held by a process there that ends with
//! this one, so that a killed run leaves no stale lock (P-24). Without a way to run commands, a lock here.
//!
//! In a cluster it is held on a majority of the nodes ([`managers::Ways::locks`]), one after the other in the order of their
//! names, so that of two runs that begin at the same time one gets it: two people who reach different nodes exclude each
//! other, and do so still while a node is down. The cluster's own locks, below `/etc/pve/priv/lock`, would be one call for
//! all nodes; but what a killed run leaves there stands for two minutes.

use std::time::Duration;

use blueprint::model::Blueprint;
use camino::Utf8Path;
use transport::{Command, Held};

use crate::connect::Connection;
use crate::environment::{Environment, Listener, Notice};
use crate::error::Error;
use crate::folders::state;

/// Held while it lives.
#[derive(Debug)]
pub struct SiteLock {
    _nodes: Vec<Box<dyn Held>>,
    _here: Option<fs_err::File>,
}

/// `flock` holds the lock as long as `cat` waits for its input, which ends with the connection. The file tells who has
/// it. `/run` is gone after a reboot, and so are the runs that a reboot ended.
const HOLD: &str = include_str!("lock.sh");

impl SiteLock {
    /// Takes the lock, or says who has it.
    pub(crate) async fn take(
        connection: &Connection,
        blueprint: &Blueprint,
        environment: &Environment,
        listener: &dyn Listener,
    ) -> Result<Self, Error> {
        let site = &blueprint.site.name;
        let owner = owner(environment);
        if connection.ways.first().is_none() {
            return Self::here(&state(&blueprint.root).join("lock"), &owner);
        }
        let nodes = connection.ways.locks().await?;
        let argv = ["sh", "-c", HOLD, "phoenix-lock", site.as_str(), owner.as_str()];
        // Taking a lock takes no time; a node that is slow to answer gets the time of a connection.
        let command = Command::new("taking the site's lock", argv).limit(Duration::from_secs(30));
        let mut all = Vec::new();
        for node in &nodes {
            match node.hold(&command).await {
                Ok(Ok((line, held))) if line.trim() == "locked" => all.push(held),
                Ok(Ok((line, _))) => return Err(taken(site, &line)),
                Ok(Err(output)) if output.text().contains("held by") => {
                    return Err(taken(site, output.text().trim()));
                }
                Ok(Err(output)) if nodes.len() == 1 => {
                    listener.hear(&Notice::LockedHere { why: output.tail(2) });
                    return Self::here(&state(&blueprint.root).join("lock"), &owner);
                }
                // With one of several missing, somebody who comes by another node might not be met.
                Ok(Err(output)) => {
                    let what = format!("the site's lock cannot be taken on {}", node.place());
                    let mut error = Error::failed("lock::unreachable", what);
                    error.errors.push(output.tail(2));
                    return Err(error.hint("phoenix-cli doctor"));
                }
                Err(error) => {
                    return Err(Error::from_error("lock::unreachable", &error).hint(hint(&error)));
                }
            }
        }
        Ok(Self { _nodes: all, _here: None })
    }

    fn here(path: &Utf8Path, owner: &str) -> Result<Self, Error> {
        let wrong = |e: std::io::Error| Error::from_error("lock::file", &e);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent).map_err(wrong)?;
        }
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(wrong)?;
        let owner_file = path.with_extension("owner");
        match file.file().try_lock() {
            Ok(()) => {
                fs_err::write(&owner_file, owner).map_err(wrong)?;
                Ok(Self { _nodes: Vec::new(), _here: Some(file) })
            }
            Err(_) => {
                let who = fs_err::read_to_string(&owner_file).unwrap_or_default();
                Err(taken("this site", &format!("held by {}", who.trim())))
            }
        }
    }
}

/// From one node of a cluster to the next it is said what to do.
fn hint(error: &transport::Error) -> String {
    let known = match error {
        transport::Error::Connect { place, hint, .. } if place.contains(" through ") => hint.clone(),
        _ => None,
    };
    known.unwrap_or_else(|| "phoenix-cli doctor".to_owned())
}

fn taken(site: &str, who: &str) -> Error {
    Error::failed("lock::taken", format!("another run works on {site}: {who}"))
        .hint("wait until it has ended, or stop it there; its lock ends with it")
}

/// Who holds the lock: user, machine, process, time.
fn owner(environment: &Environment) -> String {
    let machine = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = environment.get("USER").unwrap_or_else(|| "somebody".into());
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("{user}@{} (process {}) since {now}", machine.trim(), std::process::id())
}
