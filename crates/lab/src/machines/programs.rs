//! QEMU and what belongs to it: programs in a root of their own, which is made when a machine is first made, and kept for all
//! labs of the computer. So a lab without machines is none the larger.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use transport::Output;

use super::image::{MACHINES, bootstrap, locked};
use crate::containers::steps;
use crate::runtime::{TaskError, TaskLog};

/// What is in that root.
pub(crate) const PACKAGES: &str = "qemu-system-x86,qemu-utils,genisoimage";

/// Counted up when it is made in another way: an older one is then not used.
const FORMAT: u32 = 1;

/// Runs a program in that root, with the folders of the node that it needs.
const ENTER: &str = include_str!("enter.sh");

/// What that root is called, in the folder of all that is made for machines.
pub(crate) fn name() -> String {
    format!("programs-{FORMAT}")
}

fn root() -> Utf8PathBuf {
    Utf8Path::new(MACHINES).join(name())
}

/// Makes them, where they are not there.
pub(super) async fn make(log: &TaskLog) -> Result<(), TaskError> {
    if root().exists() {
        return Ok(());
    }
    let _lock = locked().await?;
    if root().exists() {
        return Ok(());
    }
    log.line("making the programs that run machines, once, from Debian's packages");
    let work = root().with_extension("making");
    steps::remove(&work).await?;
    bootstrap(PACKAGES, &work).await?;
    fs_err::rename(&work, root()).map_err(|error| TaskError(format!("unable to keep QEMU - {error}")))
}

/// The argument vector that runs a program there.
pub(super) fn inside(argv: &[&str]) -> Vec<String> {
    let root = root();
    let enter =
        ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", ENTER, "sh", root.as_str()];
    enter.iter().chain(argv).map(|word| (*word).to_owned()).collect()
}

/// Runs it to its end; a failure reads as Proxmox VE words it.
pub(super) async fn run(argv: &[&str], limit: Duration) -> Result<Output, TaskError> {
    make(&TaskLog::default()).await?;
    finish(argv, inside(argv), limit).await
}

/// Runs what stays in the background, in a unit of its own as on a real node (`qemu.slice`), so that it is no part of the
/// API's service.
pub(super) async fn run_in_scope(id: u32, argv: &[&str], limit: Duration) -> Result<Output, TaskError> {
    let unit = format!("{id}.scope");
    // One whose machine has ended may not have been noticed yet. That there is none is as well.
    let _ = crate::containers::output(&["systemctl", "stop", "--quiet", &unit], limit).await;
    let unit = format!("--unit={unit}");
    let scope = ["systemd-run", "--quiet", "--scope", "--collect", "--slice=qemu", &unit, "--"];
    let whole = scope.iter().map(|word| (*word).to_owned()).chain(inside(argv)).collect();
    finish(argv, whole, limit).await
}

async fn finish(argv: &[&str], whole: Vec<String>, limit: Duration) -> Result<Output, TaskError> {
    let words: Vec<&str> = whole.iter().map(String::as_str).collect();
    let output = crate::containers::output(&words, limit).await?;
    if output.success() {
        return Ok(output);
    }
    let said = output.tail(5);
    let colon = if said.is_blank() { "" } else { ": " };
    Err(TaskError(format!("command '{}' failed: exit code {}{colon}{said}", argv.join(" "), output.status)))
}
