//! Putting artifacts into a guest.

use std::time::Duration;

use tokio::time::Instant;
use transport::{Command, Runner};

use super::cache::Found;
use super::error::Error;
use crate::settle::Pauses;
use crate::worksite::WantedArtifact;

const CHECK: &str = concat!(include_str!("stands.sh"), include_str!("check.sh"));
const PUT: &str = include_str!("put.sh");

/// Reading a few large programs on a slow disk.
const CHECKING: Duration = Duration::from_mins(5);

/// Sending a large program over a slow line.
const PUTTING: Duration = Duration::from_mins(20);

/// How long a guest that has just been started may need until commands run in it.
const READY: Duration = Duration::from_secs(60);

/// Which of `all` are not in the guest as they were put, by name. One command, and no program is needed here for it.
pub(super) async fn missing(inside: &dyn Runner, all: &[WantedArtifact<'_>]) -> Result<Vec<String>, Error> {
    let mut argv = ["sh", "-s", "--"].map(str::to_owned).to_vec();
    for WantedArtifact { artifact, .. } in all {
        argv.extend([artifact.name.clone(), artifact.path.clone(), artifact.pin.clone()]);
    }
    let command = Command::new("looking at programs", argv).stdin(CHECK).limit(CHECKING);
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(Duration::from_millis(500));
    loop {
        let result = inside.run(&command).await;
        let time_left = begin.elapsed() < READY;
        match result {
            Ok(output) => {
                let text = output.text();
                if let Some(names) = text.strip_suffix("checked\n") {
                    return Ok(names.lines().map(str::to_owned).collect());
                }
                // A guest that is just starting does not take commands yet. Looking changes nothing, so it may be done again.
                if !time_left {
                    return Err(not_put(all, inside, output.tail(3).joined()));
                }
            }
            Err(transport::Error::Connect { .. } | transport::Error::Broken { .. }) if time_left => {}
            Err(error) => return Err(error.into()),
        }
        pauses.pause().await;
    }
}

fn not_put(all: &[WantedArtifact<'_>], inside: &dyn Runner, said: String) -> Error {
    let names: Vec<&str> = all.iter().map(|wanted| wanted.artifact.name.as_str()).collect();
    Error::NotPut { name: names.join("`, `"), place: inside.place(), said }
}

/// Puts one in place, complete or not at all.
pub(super) async fn put(
    inside: &dyn Runner,
    wanted: &WantedArtifact<'_>,
    found: &Found,
) -> Result<(), Error> {
    let artifact = wanted.artifact;
    let mut argv = ["sh", "-c", PUT, "sh"].map(str::to_owned).to_vec();
    argv.extend([artifact.name.clone(), artifact.path.clone(), artifact.pin.clone()]);
    argv.push(found.sha256.to_string());
    argv.extend(wanted.used_by.iter().map(|(feature, units)| format!("{feature} {}", units.join(" "))));
    let command = Command::new(format!("putting {} in place", artifact.name), argv)
        .stdin(found.bytes.clone())
        .limit(PUTTING);
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(crate::settle::PAUSE);
    loop {
        match inside.run(&command).await {
            Ok(output) if output.success() => return Ok(()),
            Ok(output) => return Err(not_put(std::slice::from_ref(wanted), inside, output.tail(3).joined())),
            // Whole or not at all, so it may be done again.
            Err(transport::Error::Connect { .. } | transport::Error::Broken { .. })
                if begin.elapsed() < crate::settle::UNREACHABLE =>
            {
                pauses.pause().await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
