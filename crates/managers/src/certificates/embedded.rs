//! Certificates of Phoenix' own authority: made here, put in their guest on a script's standard input, so that their keys
//! are never in an argument.

use std::fmt::Write as _;
use std::time::Duration;

use apply::{Failure, Progress};
use jiff::Timestamp;
use plan::desired::Certificate;
use secrecy::ExposeSecret as _;
use transport::Command;

use super::CertificateMark;
use crate::features::shell_quote;
use crate::worksite::{HostRunner, Worksite};

/// Putting files in place and reloading: seconds; more means that the guest hangs.
const INSTALL: Duration = Duration::from_mins(2);

/// How pairs lie in a guest; the same text that the guest's own renewal uses, so that either finds what the other left.
const PAIRS: &str = include_str!("../../../../catalog/certificates/pairs");

/// What it needs to be told first.
const PROLOGUE: &str = include_str!("prologue.sh");

/// Whoever renews by itself in the guest waits, and does not renew what Phoenix looks after from now on. A guest that has
/// nothing yet has no openssl either: then plain files are enough, and nobody serves them yet.
const FUNCTIONS: &str = include_str!("functions.sh");

/// A consumer that does not take the new one does not undo it: whatever keeps it from that may be mended by a later step.
const EPILOGUE: &str = include_str!("epilogue.sh");

/// Makes them and puts them in place. The names with what the mark will say.
pub(crate) async fn put(
    site: &Worksite,
    host: &HostRunner,
    certificates: &[&Certificate],
    progress: &Progress,
) -> Result<Vec<(String, CertificateMark)>, Failure> {
    let (script, marks) = script(&site.authority, certificates, (site.clock)())?;
    progress.doing(format!("putting {} certificate(s) in place", certificates.len()));
    let command = Command::script(format!("putting certificates in {host}"), script).limit(INSTALL);
    let begin = tokio::time::Instant::now();
    let mut pauses = crate::settle::Pauses::up_to(Duration::from_millis(500));
    let output = loop {
        match host.runner.run(&command).await {
            // The script's first word says that it ran; anything else is a guest that just starts.
            Ok(output) if output.success() || output.text().contains("phoenix:") => break output,
            Ok(output) if begin.elapsed() > Duration::from_secs(60) => break output,
            // The same files twice are the same as once.
            Err(error) if begin.elapsed() > crate::settle::UNREACHABLE => {
                return Err(crate::settle::transport_failure(&command.purpose, &error));
            }
            Ok(_) | Err(_) => pauses.pause().await,
        }
    };
    if output.success() {
        for note in output.text().lines().filter_map(|line| line.strip_prefix("phoenix:note ")) {
            progress.warning(note.to_owned());
        }
        return Ok(marks);
    }
    Err(Failure::new("certificates::not-put", format!("the certificates could not be put in {host}"))
        .with_output(output.tail(5))
        .hint(host.typed("df -h /etc")))
}

/// Has these signed by what was made since this moment (Unix seconds).
pub(crate) fn succeed(
    authority: &pki::Authority,
    certificates: &[&Certificate],
    since: i64,
    now: Timestamp,
) -> Result<(), Failure> {
    let life = certificates.iter().map(|certificate| certificate.life).max().unwrap_or_default();
    let since = Timestamp::from_second(since).unwrap_or(now);
    authority.succeed(life, since, now).map_err(|e| refused(&e))
}

fn refused(error: &pki::PkiError) -> Failure {
    let mut failure = Failure::from_error("pki::issue", error);
    failure.hint = error.hint();
    failure
}

/// A script, and what the marks say when it has run, by name.
pub type Made = (String, Vec<(String, CertificateMark)>);

/// Issues them, and makes the script that puts them in place in their guest. It holds their keys: it is for standard input
/// alone.
///
/// # Errors
/// When the authority refuses, with what it says.
pub fn script(
    authority: &pki::Authority,
    certificates: &[&Certificate],
    now: Timestamp,
) -> Result<Made, Failure> {
    if let Some(life) = certificates.iter().map(|certificate| certificate.life).max() {
        authority.keep(life, now).map_err(|e| refused(&e))?;
    }
    let mut script = format!("{PROLOGUE}{PAIRS}{FUNCTIONS}");
    let mut back = String::new();
    let mut marks = Vec::new();
    for certificate in certificates {
        let request = pki::LeafRequest {
            name: certificate.name.clone(),
            dns_names: certificate.names.clone(),
            addresses: Vec::new(),
            life: certificate.life,
        };
        let leaf = authority.issue(&request, now).map_err(|e| refused(&e))?;
        let served: Vec<String> = certificate.served.iter().map(ToString::to_string).collect();
        let name = &certificate.name;
        let settings = format!(
            "owner={} reloads={} restarts={} served={}",
            shell_quote(certificate.owner.as_deref().unwrap_or_default()),
            shell_quote(&certificate.reloads.join(" ")),
            shell_quote(&certificate.restarts.join(" ")),
            shell_quote(&served.join(" ")),
        );
        // Writing to a String does not fail.
        let _ = write!(
            script,
            "{settings}\nnew=$(unfinished {name}) || exit 3\nkeep key.pem <<'PHOENIX-PEM'\n{key}PHOENIX-PEM\n\
             keep fullchain.pem <<'PHOENIX-PEM'\n{chain}PHOENIX-PEM\ndone_with {name}\n",
            key = with_newline(leaf.key_pem.expose_secret()),
            chain = with_newline(&leaf.chain_pem),
        );
        let _ = writeln!(back, "{settings}\nback {name}");
        marks.push((
            name.clone(),
            CertificateMark {
                fingerprint: certificate.fingerprint.clone(),
                begin: leaf.not_before.as_second(),
                end: leaf.not_after.as_second(),
                serial: leaf.serial.clone(),
            },
        ));
    }
    script.push_str(EPILOGUE);
    script.push_str(&back);
    script.push_str("exit 0\n");
    Ok((script, marks))
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}
