//! What the node remembers of what was done on it ([`MARK`]): a mark like a guest's, sealed for the node, in a file of its own.
//! Whatever changes it reads it first, since several kinds of resources are on the node. They hold the node while they work
//! ([`super::hold`]), so there is only one at a time.

use std::time::Duration;

use apply::Failure;
use plan::Address;
use plan::mark::{self, Mark};
use plan::trust::Standing;
use proxmox::inventory::MARK;
use transport::Command;

use crate::settle;
use crate::worksite::{HostRunner, Worksite};

/// Takes away what the engine itself keeps on the node.
const LEFT: &str = include_str!("left.sh");
/// The folder of [`MARK`].
const FOLDER: &str = "/etc/phoenix";
/// How often it is read where what comes lacks its end: something on the way has cut it.
const READS: u32 = 3;
/// A file on the node: seconds.
const LIMIT: Duration = Duration::from_mins(1);

/// Has the node remember something else. A node that remembers nothing any more has no file.
///
/// # Errors
/// When the node cannot be reached, or what it remembers is not of this site.
pub(crate) async fn change(
    site: &Worksite,
    host: &HostRunner,
    node: &str,
    change: impl FnOnce(&mut Mark),
) -> Result<(), Failure> {
    let mut mark = match read(site, host, node).await? {
        Some(mark) => mark,
        None => Mark::new(&site.site, Address::hypervisor_certificate()),
    };
    change(&mut mark);
    if mark.applied().next().is_none() {
        let script = format!("rm -f {MARK} || exit 1\n{LEFT}");
        let command = Command::new("forgetting what was done on the node", ["sh", "-c", &script]);
        return super::checked(host, &command.limit(LIMIT)).await;
    }
    write(site, host, node, &mark).await
}

/// What it remembers of this site; nothing where it remembers nothing.
///
/// # Errors
/// When the node cannot be reached, or what it remembers is of another site, or not to be believed.
async fn read(site: &Worksite, host: &HostRunner, node: &str) -> Result<Option<Mark>, Failure> {
    let command = Command::new("reading what the node remembers", ["cat", MARK]).limit(LIMIT);
    let mut text = String::new();
    for _ in 0..READS {
        let output = settle::command(&*host.runner, &command).await?;
        if !output.success() && String::from_utf8_lossy(&output.stderr).contains("No such file") {
            return Ok(None);
        }
        text = output.text().into_owned();
        if text.ends_with('\n') {
            break;
        }
    }
    let read = mark::read(&text).map_err(|error| Failure::from_error("managers::mark-unreadable", &error))?;
    match site.trust.of_node(node, read) {
        Standing::Ours(mark, _) | Standing::Old(mark) => Ok(Some(mark)),
        _ => Err(Failure::new(
            "managers::not-ours",
            format!("what the node remembers is not of the site `{}` any more", site.site),
        )
        .hint("phoenix-cli plan shows what is there now")),
    }
}

async fn write(site: &Worksite, host: &HostRunner, node: &str, mark: &Mark) -> Result<(), Failure> {
    let text = site.trust.for_node(node, &site.signed(mark)).map_err(|error| {
        Failure::from_error("managers::unsealed", &error)
            .while_doing("what the node is to remember cannot be sealed")
            .hint("phoenix-cli apply makes the site's key")
    })?;
    let script = format!("umask 022\nmkdir -p {FOLDER} && cat >{MARK}.new && mv -f {MARK}.new {MARK}");
    let command = Command::new("remembering what was done on the node", ["sh", "-c", &script])
        .stdin(format!("{text}\n"))
        .limit(LIMIT);
    super::checked(host, &command).await
}
