//! The lock of a site on its nodes: one run at a time, from whichever machine. It is held by a process there that ends with
//! the run's connection, so that a killed run leaves no stale lock (P-24).
//!
//! In a cluster it is held on a majority of the nodes ([`Ways::locks`]), taken one after the other in the order of their
//! names, so that of two runs that begin at the same time one gets it. Two people who reach different nodes exclude each
//! other, and do so still when a node goes away meanwhile. The cluster's own locks, below `/etc/pve/priv/lock`, would be
//! one call for all nodes; but what a killed run leaves there stands for two minutes, and whoever holds one has to come
//! back for it every two minutes.

use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use transport::{Command, Error, Held, Runner};

use crate::ways::Ways;
use crate::worksite::HostRunner;

/// `flock` holds the lock as long as `cat` waits for its input, which ends with the connection. The file tells who has
/// it. `/run` is gone after a reboot, and so are the runs that a reboot ended.
const HOLD: &str = include_str!("lock.sh");

/// Taking a lock takes no time; a node that is slow to answer gets the time of a connection.
const LIMIT: Duration = Duration::from_secs(30);

/// Held while it lives.
#[derive(Debug)]
pub struct NodeLock {
    _held: Vec<Box<dyn Held>>,
}

/// Why it is not held.
#[derive(Debug)]
pub enum NotHeld {
    /// Another run has it: who, as `held by anna@desk (process 7) since …`.
    Taken(String),
    /// There is no way to run commands on a node.
    NoWay,
    /// The only node cannot hold it; what it said. Without it nothing is to be changed: whoever may keep the node from
    /// holding locks could have two runs at work at once.
    Unable(String),
    /// A node could not be reached. With one of several missing, somebody who comes by it might not be met.
    Unreachable(Failure),
}

/// Takes the lock of `site`, which is told to others as `owner`'s.
///
/// # Errors
/// Why it is not held; nothing is, then.
pub async fn take(ways: &Ways, site: &str, owner: &str) -> Result<NodeLock, NotHeld> {
    if ways.first().is_none() {
        return Err(NotHeld::NoWay);
    }
    let nodes = ways.locks().await.map_err(NotHeld::Unreachable)?;
    take_on(&nodes, site, owner).await
}

/// Takes the lock again on the one node of those it is held on that was restarted, with which what held it ended; `None` where it
/// was not held on that one.
///
/// # Errors
/// Why it is not held there.
pub(crate) async fn again(
    ways: &Ways,
    restarted: &HostRunner,
    site: &str,
) -> Result<Option<NodeLock>, NotHeld> {
    let mut nodes = ways.locks().await.map_err(NotHeld::Unreachable)?;
    nodes.retain(|node| node.place() == restarted.runner.place());
    if nodes.is_empty() {
        return Ok(None);
    }
    take_on(&nodes, site, "the run that restarted the node").await.map(Some)
}

async fn take_on(nodes: &[Arc<dyn Runner>], site: &str, owner: &str) -> Result<NodeLock, NotHeld> {
    let command = Command::new("taking the site's lock", ["sh", "-c", HOLD, "phoenix-lock", site, owner]);
    let command = command.limit(LIMIT);
    let mut held = Vec::new();
    for node in nodes {
        match node.hold(&command).await {
            Ok(Ok((line, guard))) if line.trim() == "locked" => held.push(guard),
            Ok(Ok((line, _))) => return Err(NotHeld::Taken(line)),
            Ok(Err(output)) if output.text().contains("held by") => {
                return Err(NotHeld::Taken(output.text().trim().to_owned()));
            }
            Ok(Err(output)) if nodes.len() == 1 => return Err(NotHeld::Unable(output.tail(2).joined())),
            Ok(Err(output)) => {
                let what = format!("the site's lock cannot be taken on {}", node.place());
                let failure = Failure::new("lock::unreachable", what).with_output(output.tail(2));
                return Err(NotHeld::Unreachable(failure.hint("phoenix-cli doctor")));
            }
            Err(error) => return Err(NotHeld::Unreachable(unreachable(&error, nodes.len() > 1))),
        }
    }
    Ok(NodeLock { _held: held })
}

/// From one node of a cluster to the next it is known what to do.
fn unreachable(error: &Error, several: bool) -> Failure {
    let hint = match error {
        Error::Connect { hint: Some(hint), .. } if several => format!("{hint}; phoenix-cli doctor"),
        _ => "phoenix-cli doctor".to_owned(),
    };
    Failure::from_error("lock::unreachable", error).hint(hint)
}
