//! `certs request`, `certs sign` and `certs install`: the next intermediate, where the root's key is kept elsewhere. With an
//! authority in a container, its key is made and kept there.

use std::sync::Arc;

use apply::Progress;
use apply::event::Recorder;
use camino::Utf8Path;
use jiff::Timestamp;
use managers::authority;
use pki::RootKey;
use plan::Address;
use plan::desired::Authority;
use site::Site;

use super::{made, refused};
use crate::args::Global;
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::passphrase;
use crate::printer::Printer;

/// Prints a request for it.
pub async fn request(global: &Global, printer: Printer) -> Outcome {
    let printer = printer.quiet();
    let paper = opening::paper(global, printer)?;
    let embedded = made(&paper, global)?;
    if paper.desired.authority.is_none() {
        printer.data(embedded.request().map_err(|e| refused(&e))?);
        return Ok(0);
    }
    in_guest(global, printer, async |site, _, id| {
        let worksite = site.worksite()?;
        printer.data(authority::request(&worksite, id, true).await?);
        Ok(0)
    })
    .await
}

/// Signs it: where the root's key is. Nothing is contacted.
pub fn sign(global: &Global, request: &Utf8Path, printer: Printer) -> Outcome {
    let paper = opening::paper(global, printer.quiet())?;
    let (authority, request) = (made(&paper, global)?, text_of(request)?);
    if authority.root_key().map_err(|e| refused(&e))? == RootKey::Locked {
        authority.unlock(&passphrase::of_root(global, false, printer)?).map_err(|e| refused(&e))?;
    }
    let now = Timestamp::now();
    let signed = match &paper.desired.authority {
        Some(in_guest) => authority.sign_intermediate(&request, in_guest.life, now),
        None => {
            let lives = paper.desired.certificates.values().map(|certificate| certificate.life);
            authority.sign_next(&request, lives.max().unwrap_or_default(), now)
        }
    };
    printer.data(signed.map_err(|e| refused(&e))?);
    Ok(0)
}

/// Puts its certificate in place.
pub async fn install(global: &Global, certificate: &Utf8Path, printer: Printer) -> Outcome {
    let paper = opening::paper(global, printer)?;
    let (embedded, certificate) = (made(&paper, global)?, text_of(certificate)?);
    let facts = if paper.desired.authority.is_none() {
        embedded.install(&certificate, Timestamp::now()).map_err(|e| refused(&e))?;
        pki::CertificateFacts::parse(&embedded.intermediate_pem()).map_err(|e| refused(&e))?
    } else {
        let mut signs = None;
        in_guest(global, printer, async |site, declared, id| {
            let worksite = site.worksite()?;
            let progress = Progress::new(Address::authority(&declared.on), Arc::new(Recorder::default()));
            // What signed until now is known before another one does, whoever is killed.
            authority::note(&worksite, id, &progress).await;
            worksite.authority.signed_elsewhere(&certificate, Timestamp::now()).map_err(|e| refused(&e))?;
            signs = Some(authority::install(&worksite, declared, id, &certificate, &progress).await?);
            Ok(0)
        })
        .await?;
        signs.ok_or_else(|| CommandError::failed("pki::issue", "nothing was put in place"))?
    };
    let end = facts.not_after.strftime("%Y-%m-%d");
    printer.say(format!("✔ what is signed from now on is signed by the new intermediate, until {end}"));
    Ok(0)
}

/// Does something with the authority's guest, whose id is given, while nobody else changes the site.
async fn in_guest(
    global: &Global,
    printer: Printer,
    work: impl AsyncFnOnce(&Site, &Authority, u32) -> Outcome,
) -> Outcome {
    let mut site = opening::open(global, printer).await?;
    let result = async {
        let _lock = site.lock().await?;
        site.look_settled(&printer).await?;
        site.is_whole()?;
        let none =
            || CommandError::failed("backup::no-authority", "no container of the site is its authority");
        let authority = site.desired.authority.as_ref().ok_or_else(none)?;
        let id = site.desired.guests.get(&authority.on).map(|guest| guest.id).ok_or_else(none)?;
        work(&site, authority, id).await
    }
    .await;
    site.close().await;
    result
}

/// The text of a request or a certificate: some kilobytes.
fn text_of(path: &Utf8Path) -> Result<String, CommandError> {
    use std::io::Read as _;
    const MOST: u64 = 64 << 10;
    let mut text = String::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|e| {
        CommandError::from_error("pki::unreadable", &e)
            .hint("sign takes what `phoenix-cli certs request` printed, and install what `phoenix-cli certs sign` printed")
    })?;
    Ok(text)
}
