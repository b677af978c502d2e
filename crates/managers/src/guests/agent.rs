//! Waiting for a virtual machine's guest agent after a start: in `apply` alone, bounded, and said (T-5).

use std::time::Duration;

use apply::{Failure, Progress};
use tokio::time::Instant;
use transport::{Command, Error};

use crate::settle::{Pauses, transport_failure};
use crate::worksite::Worksite;

/// Until its agent answers. A virtual machine on a fast node takes seconds; emulated, beside other work, nine minutes have been
/// measured.
const UP: Duration = Duration::from_mins(15);

/// Until cloud-init is through with a first start, in which it may install packages.
const FIRST_START: Duration = Duration::from_mins(20);

/// Waits until the agent answers, and cloud-init is through.
pub(super) async fn is_up(site: &Worksite, id: u32, progress: &Progress) -> Result<(), Failure> {
    let inside = site.inside(id)?;
    let what = "waiting for its guest agent";
    progress.waiting(what, UP);
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(Duration::from_secs(2));
    let ask = Command::new(what, ["true"]);
    loop {
        match inside.run(&ask).await {
            Ok(_) => break,
            Err(Error::Connect { .. } | Error::Broken { .. }) if begin.elapsed() < UP => pauses.pause().await,
            Err(error) => {
                return Err(transport_failure(what, &error).hint(format!(
                    "is qemu-guest-agent in its image? its console, on the node: qm terminal {id}; without an agent: \"agent\": \
                     false, and no features"
                )));
            }
        }
    }
    let what = "waiting for its first start to be through";
    progress.waiting(what, FIRST_START);
    // Its exit status is 1 for what went wrong and 2 for what it went on after; 127 where there is no cloud-init.
    let settled = Command::new(what, ["cloud-init", "status", "--wait"]).limit(FIRST_START);
    let output = inside.run(&settled).await.map_err(|error| transport_failure(what, &error))?;
    // What it could not do is not for Phoenix to judge: what is to be in the guest is looked at there.
    if matches!(output.status, 1 | 2) {
        progress.warning(format!("cloud-init in {id} says: {}", output.tail(3)));
    }
    Ok(())
}
