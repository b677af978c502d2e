//! Waiting until a virtual machine can be entered after a start: in `apply` alone, bounded, and said (T-5, T-17).

use std::time::Duration;

use apply::{Failure, Progress};
use tokio::time::Instant;
use transport::{Command, Error};

use super::work::WaitsFor;
use crate::settle::{self, Pauses, transport_failure};
use crate::ssh;
use crate::worksite::Worksite;

/// Minutes until it answers, where the blueprint does not say it (`answers-within`). A virtual machine on a fast node takes
/// seconds; emulated, beside other work, nine minutes have been measured.
pub(super) const MINUTES: u32 = 15;

/// How long a key may be refused: what is told at the first start is there before the server is, so it stays so.
const DENIED: Duration = Duration::from_secs(60);

/// Until cloud-init is through with a first start, in which it may install packages.
const FIRST_START: Duration = Duration::from_mins(20);

/// Waits until it answers the way in that is meant, and cloud-init is through; not when a person stops the run.
pub(super) async fn is_up(
    site: &Worksite,
    id: u32,
    way: WaitsFor,
    progress: &Progress,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = progress.stopped() => {
            let what = format!("the run was stopped while it waited until {id} can be entered");
            Err(Failure::new("apply::stopped", what).hint("phoenix-cli apply waits for it again, and goes on"))
        }
        answered = answers(site, id, way, progress) => answered,
    }
}

async fn answers(site: &Worksite, id: u32, way: WaitsFor, progress: &Progress) -> Result<(), Failure> {
    let inside = site.inside(id)?;
    let (who, minutes, hint) = match way {
        WaitsFor::Nothing => return Ok(()),
        WaitsFor::Agent(minutes) => (
            "its guest agent",
            minutes,
            "is qemu-guest-agent in its image? else \"packages\": [\"qemu-guest-agent\"] or \"enter\": \"ssh\"; without \
             features it needs neither",
        ),
        WaitsFor::Ssh(minutes) => (
            "its ssh server",
            minutes,
            "are cloud-init and an ssh server in its image, and is its address right?",
        ),
    };
    let limit = Duration::from_mins(minutes.into());
    let what = format!("waiting for {who}");
    progress.waiting(who, limit);
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(Duration::from_secs(2));
    let mut denied: Option<Instant> = None;
    let ask = Command::new(&what, ["true"]);
    loop {
        let Err(error) = inside.run(&ask).await else { break };
        let again = match &error {
            error if ssh::is_denied(error) => denied.get_or_insert_with(Instant::now).elapsed() < DENIED,
            Error::Connect { .. } | Error::Broken { .. } | Error::TimedOut { .. } => true,
            _ => false,
        };
        if !again || begin.elapsed() > limit {
            let failure = transport_failure(&what, &error);
            let known = match &error {
                // Where it is known what keeps us out, that is all there is to say.
                Error::HostKey { .. } => return Err(failure),
                error if ssh::is_denied(error) => return Err(failure),
                _ => format!(
                    "{hint}; its console, on the node: qm terminal {id}; where it only takes longer than {minutes} minutes, say \
                     so with `answers-within`, or apply again"
                ),
            };
            return Err(failure.hint(known));
        }
        pauses.pause().await;
    }
    let what = "waiting for its first start to be through";
    progress.waiting("its first start to be through", FIRST_START);
    // Its exit status is 1 for what went wrong and 2 for what it went on after; 127 where there is no cloud-init.
    let settled = Command::new(what, ["cloud-init", "status", "--wait"]).limit(FIRST_START);
    // Asked twice, it answers the same.
    let output = settle::command(&*inside, &settled).await?;
    // What it could not do is not for Phoenix to judge: what is to be in the guest is looked at there.
    if matches!(output.status, 1 | 2) {
        progress.warning(format!("cloud-init in {id} says: {}", output.tail(3)));
    }
    Ok(())
}
