//! One run for a site at a time, from whichever machine: a lock on the node ([`managers::lock`]), and without a way to run
//! commands a lock here.

use blueprint::model::Blueprint;
use camino::Utf8Path;
use managers::lock::{self, NodeLock, NotHeld};

use crate::connect::Connection;
use crate::error::Error;
use crate::folders::made_state;
use crate::operator::operator;

/// Held while it lives.
#[derive(Debug)]
pub struct SiteLock {
    _nodes: Option<NodeLock>,
    _here: Option<std::fs::File>,
}

impl SiteLock {
    /// Takes the lock, or says who has it.
    pub(crate) async fn take(connection: &Connection, blueprint: &Blueprint) -> Result<Self, Error> {
        let site = &blueprint.site.name;
        let owner = owner();
        let here = || Self::here(&made_state(&blueprint.root)?.join("lock"), &owner);
        match lock::take(&connection.ways, site, &owner).await {
            Ok(held) => Ok(Self { _nodes: Some(held), _here: None }),
            Err(NotHeld::Taken(who)) => Err(taken(site, &who)),
            Err(NotHeld::NoWay) => here(),
            Err(NotHeld::Unable(why)) => {
                let what = format!("the site's lock cannot be taken on the node: {why}");
                Err(Error::failed("lock::unable", what).hint(
                    "on the node, see what is there: ls -ld /run/phoenix; it has to be root's alone, \
                     and is made anew once it is removed",
                ))
            }
            Err(NotHeld::Unreachable(failure)) => Err(failure.into()),
        }
    }

    fn here(path: &Utf8Path, owner: &str) -> Result<Self, Error> {
        let wrong = |e: std::io::Error| Error::from_error("lock::file", &e);
        let file = private::lock_file(path).map_err(wrong)?;
        let owner_file = path.with_extension("owner");
        match file.try_lock() {
            Ok(()) => {
                private::write(&owner_file, owner.as_bytes()).map_err(wrong)?;
                Ok(Self { _nodes: None, _here: Some(file) })
            }
            Err(_) => {
                let who = fs_err::read_to_string(&owner_file).unwrap_or_default();
                Err(taken("this site", &format!("held by {}", who.trim())))
            }
        }
    }
}

fn taken(site: &str, who: &str) -> Error {
    Error::failed("lock::taken", format!("another run works on {site}: {who}"))
        .hint("wait until it has ended, or stop it there; its lock ends with it")
}

/// Who holds the lock: user, machine, process, time.
fn owner() -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("{} (process {}) since {now}", operator(), std::process::id())
}
