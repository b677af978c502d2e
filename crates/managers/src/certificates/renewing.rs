//! Certificates that their guest renews by itself: the first one is fetched now, so that what needs it can go on.

use std::time::Duration;

use apply::{Failure, Progress};
use plan::desired::{Certificate, Issuer};
use serde_json::json;
use transport::{Command, Output};

use super::look::{Seen, parse};
use super::{CertificateMark, Introduction, Put};
use crate::authority;
use crate::settle;
use crate::worksite::{HostRunner, Worksite};

/// What renews in a guest, from the feature `certificates`.
pub const PROGRAM: &str = "/usr/local/lib/phoenix/certificates";

/// A key or a word with the authority: seconds.
const WORD: Duration = Duration::from_mins(2);

/// Fetching: seconds from the workshop's own authority, minutes from a public one that looks at each name.
const FETCH: Duration = Duration::from_mins(15);

/// Introduces the guest where its authority does not know it, and has it fetch what it has not got. The names with what
/// the mark will say.
pub(super) async fn obtain(
    site: &Worksite,
    works: &[Put],
    progress: &Progress,
) -> Result<Vec<(String, CertificateMark)>, Failure> {
    let Some(first) = works.first() else { return Ok(Vec::new()) };
    let id = first.id;
    let host = site.guest_runner(id, first.certificate.on.address().as_ref()).await?;
    let anew = works.iter().find_map(|put| put.anew);
    if let Some(introduction) = &first.introduction {
        let which = if anew.is_some_and(|anew| anew.credential) { Identity::Another } else { Identity::Its };
        introduce(site, id, introduction, which, progress).await?;
    }
    let certificates: Vec<&Certificate> = works.iter().map(|w| &w.certificate).collect();
    fetch(&host, &certificates, anew.is_some(), progress).await
}

/// With which key a guest is introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The one it has.
    Its,
    /// A new one, which takes the place of the one it has when it got a certificate by it.
    Another,
}

/// Has whoever renews them there fetch what it has not got; `anew`: what it has got, too. The names with what the mark will
/// say.
pub(crate) async fn fetch(
    host: &HostRunner,
    certificates: &[&Certificate],
    anew: bool,
    progress: &Progress,
) -> Result<Vec<(String, CertificateMark)>, Failure> {
    let names: Vec<&str> = certificates.iter().map(|c| c.name.as_str()).collect();
    let from = match certificates.first().map(|c| c.issuer) {
        Some(Issuer::Acme) => "a public authority",
        _ => "the workshop's authority",
    };
    progress.doing(format!("fetching {} from {from}", names.join(", ")));
    let force = anew.then_some("--force");
    let argv = [PROGRAM, "renew"].into_iter().chain(force).chain(names.iter().copied());
    let command = Command::new(format!("fetching certificates in {host}"), argv).limit(FETCH);
    let output = settle::command(&*host.runner, &command).await?;
    let seen = parse(&output.text());
    let mut marks = Vec::new();
    for certificate in certificates {
        let found = seen.iter().find(|s| s.name == certificate.name);
        let mark = mark_of(certificate, found, &output, host)?;
        // It is there; whoever does not take it may be mended by a later step, and its guest tells it again by itself.
        for at in found.iter().flat_map(|f| &f.served).filter(|at| at.same == Some(false)) {
            progress.warning(format!("{} serves another certificate than {}", at.at, certificate.name));
        }
        marks.push((certificate.name.clone(), mark));
    }
    Ok(marks)
}

/// Has the authority know the guest, by the key that it has or by another one.
pub(crate) async fn introduce(
    site: &Worksite,
    id: u32,
    introduction: &Introduction,
    which: Identity,
    progress: &Progress,
) -> Result<(), Failure> {
    progress.doing("introducing the guest to the workshop's authority");
    let another = (which == Identity::Another).then_some("another");
    let argv = [PROGRAM, "identity"].into_iter().chain(another);
    let ask = Command::new(format!("asking for the public key of {id}"), argv).limit(WORD);
    let key = site.output_of(id, &ask).await?;
    let key: serde_json::Value = serde_json::from_str(&key).map_err(|e| {
        Failure::from_error("certificates::not-obtained", &e)
            .while_doing(format!("the public key of {id} cannot be read"))
    })?;
    let told = json!({ "key": key, "names": introduction.names, "life": introduction.life });
    let argv = [authority::PROGRAM, "register", &introduction.guest];
    let register = Command::new(format!("introducing {} to the authority", introduction.guest), argv)
        .stdin(told.to_string())
        .limit(WORD);
    site.output_of(introduction.authority, &register).await?;
    let Some(was) = &introduction.was else { return Ok(()) };
    let forget =
        Command::new(format!("having the authority forget {was}"), [authority::PROGRAM, "forget", was]);
    site.output_of(introduction.authority, &forget.limit(WORD)).await.map(drop)
}

/// What was fetched, read from disk by the guest itself.
fn mark_of(
    certificate: &Certificate,
    found: Option<&Seen>,
    output: &Output,
    host: &HostRunner,
) -> Result<CertificateMark, Failure> {
    let failed = |what: String| {
        Failure::new("certificates::not-obtained", what)
            .with_output(output.tail(6))
            .hint(host.typed(&format!("{PROGRAM} list")))
    };
    let found = found
        .ok_or_else(|| failed(format!("{host} says nothing of the certificate {}", certificate.name)))?;
    if let Some(error) = found.error.as_ref().filter(|_| found.failures > 0 || found.serial.is_none()) {
        return Err(failed(format!("the certificate {} was not obtained: {error}", certificate.name)));
    }
    match (found.not_before, found.not_after, &found.serial) {
        (Some(begin), Some(end), Some(serial)) => Ok(CertificateMark {
            fingerprint: certificate.fingerprint.clone(),
            begin,
            end,
            serial: serial.clone(),
        }),
        _ => Err(failed(format!("the certificate {} was not obtained", certificate.name))),
    }
}
