//! Asking a guest what its features would change there: the script that brings them about, run so that it only reports.

use std::time::Duration;

use apply::Failure;
use blueprint::model::SecretRef;
use transport::{Command, Runner};

use super::heard::Heard;
use super::{Mode, Rendered, script};

/// How long a check may take: a second, mostly. A guest that hangs, or in which another script has been running for this
/// long, is said.
const LIMIT: Duration = Duration::from_secs(60);

/// What these features would change; nothing is changed. `purpose` says what is being done, `secrets` gives values for the
/// comparison, which is made in the guest by checksums.
///
/// # Errors
/// When the script cannot be made, the guest does not take commands, or what it says is no whole report.
pub(super) async fn check(
    inside: &dyn Runner,
    rendered: &[Rendered],
    secrets: &(dyn Fn(&SecretRef) -> Result<String, Failure> + Sync),
    purpose: String,
) -> Result<Heard, Failure> {
    let script =
        script(rendered, Mode::Check, secrets).map_err(|e| Failure::from_error("features::script", &e))?;
    let command = Command::script(purpose, script.text).limit(LIMIT);
    let output = inside.run(&command).await.map_err(|e| Failure::from_error("transport::failed", &e))?;
    Heard::whole(&output.text())
        .map_err(|why| Failure::new("features::cut-off", why).with_output(output.tail(3)))
}
