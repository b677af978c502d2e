//! `certs`: the workshop's root, and what is certified: as the guests have it and as they show it.

use std::sync::Arc;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use jiff::Timestamp;
use managers::certificates::look::{Seen, look};
use managers::certificates::{CertificateMark, renew_at};
use pki::RootKey;
use plan::Host;
use plan::desired::{Certificate, Issuer};
use serde_json::{Value, json};
use site::{OnPaper, Site};

use crate::args::{Certs, CertsCommand, Global};
use crate::commands::plan::typed;
use crate::commands::rotate_authority;
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::passphrase;
use crate::printer::Printer;

mod next;

/// How many guests are asked at once: each is a command on the node, which has other things to do.
const AT_ONCE: usize = 8;

/// Shows certificates.
pub async fn run(global: &Global, options: &Certs, printer: Printer) -> Outcome {
    match &options.what {
        Some(CertsCommand::Request) => next::request(global, printer).await,
        Some(CertsCommand::Sign { request }) => next::sign(global, request, printer),
        Some(CertsCommand::Install { certificate }) => next::install(global, certificate, printer).await,
        Some(CertsCommand::Protect) => protect(global, printer),
        Some(CertsCommand::Unprotect) => unprotect(global, printer),
        Some(CertsCommand::Root { new }) => {
            // Nothing else on standard output, and nothing contacted: it is used inside other commands.
            let authority = made(&opening::paper(global, printer.quiet())?, global)?;
            let pem = if *new { authority.newest_pem() } else { authority.trusted_pem() };
            printer.data(format!("{}\n", pem.trim_end()));
            Ok(0)
        }
        Some(CertsCommand::List) | None => list(global, printer).await,
    }
}

/// The workshop's authority.
fn made(paper: &OnPaper, global: &Global) -> Result<Arc<pki::Authority>, CommandError> {
    paper.authority.clone().ok_or_else(|| {
        CommandError::failed("authority::not-made", "the workshop has no root certificate yet")
            .hint(format!("{} up makes it with the first guest", typed(global)))
    })
}

fn refused(error: &pki::PkiError) -> CommandError {
    let code = match error {
        pki::PkiError::Locked { .. } => "pki::root-locked",
        pki::PkiError::NotUnlocked { .. } => "pki::root-passphrase",
        _ => "pki::issue",
    };
    CommandError::from_error(code, error).hint_if(error.hint())
}

/// Gives the root's key a passphrase.
fn protect(global: &Global, printer: Printer) -> Outcome {
    let authority = made(&opening::paper(global, printer)?, global)?;
    match authority.root_key().map_err(|e| refused(&e))? {
        RootKey::Here => {}
        RootKey::Locked => {
            return Err(CommandError::usage("pki::root-locked", "the root's key has a passphrase already")
                .hint(format!("to give it another one: {} certs unprotect first", typed(global))));
        }
        RootKey::Away => {
            return Err(CommandError::failed("pki::root-away", "the root's key is not here")
                .hint("put root.key back from where you keep it, for as long as this takes"));
        }
    }
    let passphrase = passphrase::of_root(global, true, printer)?;
    authority.protect(&passphrase).map_err(|e| refused(&e))?;
    printer.say("✔ the root's key has a passphrase, which is asked for when it has to sign");
    printer.say("what was copied before has none, and what a disk forgets is for the disk to say; there is no other way in: keep it");
    Ok(0)
}

/// Takes it off.
fn unprotect(global: &Global, printer: Printer) -> Outcome {
    let authority = made(&opening::paper(global, printer)?, global)?;
    if authority.root_key().map_err(|e| refused(&e))? == RootKey::Here {
        printer.say("the root's key has no passphrase");
        return Ok(0);
    }
    let passphrase = passphrase::of_root(global, false, printer)?;
    authority.unprotect(&passphrase).map_err(|e| refused(&e))?;
    printer.say("✔ the root's key has no passphrase any more: whoever has the folder has it");
    Ok(0)
}

/// The state of what is on a guest that is to be off.
const OFF: &str = "its guest is off";

/// What a guest said of all of its certificates, or why it was not asked.
type Asked = BTreeMap<Host, Result<Vec<Seen>, String>>;

async fn list(global: &Global, printer: Printer) -> Outcome {
    let planned = opening::glance(global, printer).await?;
    let asked = ask(&planned).await;
    planned.connection.close().await;
    let now = Timestamp::now();
    let off = |host: &Host| planned.desired.is_on_off(host);
    let rows: Vec<(&Host, Value)> = certificates(&planned)
        .map(|certificate| {
            let mark = planned.mark_of(certificate);
            let seen = match asked.get(&certificate.on) {
                Some(Ok(all)) => Ok(all.iter().find(|s| s.name == certificate.name)),
                Some(Err(why)) => Err(why.as_str()),
                None => Err("it is not there"),
            };
            let mut row = row(certificate, mark.as_ref(), seen, now);
            if off(&certificate.on) {
                row["state"] = OFF.into();
            }
            (&certificate.on, row)
        })
        .collect();
    let old = planned.authority.as_deref().and_then(old_root);
    let stage = rotate_authority::words(&planned, &typed(global));
    let signer = planned.desired.authority.as_ref().map(|a| json!({ "on": a.on, "url": a.url }));
    if printer.json {
        let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
        printer.data_json(&json!({ "authority": signer, "certificates": rows, "root": old, "root_stage": stage_of(&planned) }));
        return Ok(0);
    }
    for (place, row) in &rows {
        printer.data(text(place, row));
    }
    for (place, why) in asked.iter().filter_map(|(place, said)| Some((place, said.as_ref().err()?))) {
        if off(place) {
            continue;
        }
        let why = foreign::line(why);
        printer.say(format!("{place}: {why}, so what is shown of it is what was known at the last apply"));
    }
    if let Some(old) = old {
        printer.say(old);
    }
    if let Some(stage) = stage {
        printer.say(stage);
    }
    if rows.is_empty() {
        printer.say("nothing of the site shows a certificate, so there are none");
    }
    Ok(0)
}

/// How far another root has taken the place of the site's, as a number of three; none where there is but one.
pub fn stage_of(planned: &Site) -> Option<u32> {
    planned.root_stage().map(site::Stage::number)
}

/// What is to be known of a root that was made before Phoenix limited it further. It is kept: all clients trust it.
pub fn old_root(authority: &pki::Authority) -> Option<&'static str> {
    let facts = pki::CertificateFacts::parse(authority.root_pem()).ok()?;
    (!facts.for_hosts_alone).then_some(
        "the root may certify mail addresses and URIs, too, as it was made before it was limited to names and addresses: \
         what is signed from now on is limited below it; a new site's root is itself",
    )
}

/// All of the site's, the node's own last.
fn certificates(planned: &Site) -> impl Iterator<Item = &Certificate> {
    let own = planned.desired.hypervisor.iter().map(|node| &node.certificate);
    planned.desired.certificates.values().chain(own)
}

/// Asks the guests, several at once; each within its own time.
async fn ask(planned: &Site) -> Asked {
    let mut by_host: BTreeMap<&Host, Vec<&Certificate>> = BTreeMap::new();
    for certificate in certificates(planned) {
        by_host.entry(&certificate.on).or_default().push(certificate);
    }
    let ways = &planned.connection.ways;
    let questions = by_host.into_iter().map(|(host, certificates)| async move {
        let container = host.guest().and_then(|name| planned.desired.guests.get(name));
        let guest = container.and_then(|c| planned.inventory.guests.get(&c.id));
        let said = match (guest, ways.first()) {
            (None, Some(node)) if host.is_node() && !planned.connection.simulated() => {
                look(&**node, &certificates)
                    .await
                    .map_err(|failure| format!("it could not be asked ({failure})"))
            }
            (None, _) => Err("it is not there yet".to_owned()),
            (Some(guest), _) if !guest.running => Err("it does not run".to_owned()),
            (_, None) => Err("there is no way to run commands on the node".to_owned()),
            _ if planned.connection.simulated() => Err("it is simulated".to_owned()),
            (Some(guest), Some(_)) => match ways.guest(guest.id) {
                Ok(inside) => look(&inside, &certificates).await,
                Err(failure) => Err(failure),
            }
            .map_err(|failure| format!("it could not be asked ({failure})")),
        };
        (host.clone(), said)
    });
    futures::stream::iter(questions).buffer_unordered(AT_ONCE).collect().await
}

/// One certificate as JSON: what its guest has, or what the mark says where that could not be asked.
fn row(
    certificate: &Certificate,
    mark: Option<&CertificateMark>,
    seen: Result<Option<&Seen>, &str>,
    now: Timestamp,
) -> Value {
    let time = |second: i64| Timestamp::from_second(second).ok();
    // A guest that renews by itself has another one by now than the mark knows of.
    let found = seen.ok().flatten();
    let known = seen.is_err().then_some(mark).flatten();
    let begin = found.and_then(|s| s.not_before).or(known.map(|m| m.begin));
    let end = found.and_then(|s| s.not_after).or(known.map(|m| m.end));
    let renewed_from = match (found.and_then(|s| s.renew_at), begin.and_then(time), end.and_then(time)) {
        (Some(second), ..) => time(second),
        (None, Some(begin), Some(end)) if certificate.issuer == Issuer::Embedded => {
            Some(pki::renew_at(begin, end))
        }
        (None, Some(begin), Some(end)) => Some(pki::renewal::renew_at(&certificate.name, begin, end)),
        _ => None,
    };
    let served = found.map(|s| s.served.as_slice()).unwrap_or_default();
    let error = found.and_then(|s| s.error.as_deref());
    let to_be_made_anew = mark.is_some_and(|m| m.fingerprint != certificate.fingerprint);
    let embedded = certificate.issuer == Issuer::Embedded;
    let state = match end {
        None => "not there yet",
        _ if to_be_made_anew => "to be made anew",
        Some(end) if end <= now.as_second() && (embedded || seen.is_ok()) => "expired",
        _ if served.iter().any(|s| s.same == Some(false)) => "another is served",
        _ if error.is_some() => "not renewed",
        _ if embedded && known.and_then(renew_at).or(renewed_from).is_some_and(|at| at <= now) => {
            "to be renewed"
        }
        _ => "good",
    };
    let text = |at: Option<Timestamp>| at.map(|t| t.strftime("%Y-%m-%d %H:%M").to_string());
    json!({
        "address": certificate.resource(), "names": certificate.names, "on": certificate.on.short(),
        "path": managers::certificates::path(&certificate.name), "issued_by": certificate.issuer.as_str(),
        "issuer": found.and_then(|s| s.by.as_deref()),
        "serial": found.and_then(|s| s.serial.as_deref()).or(known.map(|m| m.serial.as_str()).filter(|serial| !serial.is_empty())),
        "ends": text(end.and_then(time)), "seconds_left": end.map(|end| end - now.as_second()),
        "days_left": end.map(|end| (end - now.as_second()).div_euclid(86_400)), "renewed_from": text(renewed_from),
        "served": served, "error": error, "asked": seen.is_ok(), "not_asked": seen.err(), "state": state,
    })
}

/// The same for people: a line, and one for each place where it is served.
fn text(place: &Host, row: &Value) -> String {
    let of = |key: &str| foreign::line(row[key].as_str().unwrap_or("–")).into_owned();
    let sign = match row["state"].as_str() {
        Some("good") if row["asked"] == true => "✔",
        Some("good" | OFF) => "·",
        _ => "✗",
    };
    let names: Vec<&str> = row["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let serial: String = of("serial").chars().take(12).collect();
    let mut out = format!(
        "{sign} {:<32} {:<17} {:>13}, renewed from {}  {}\n    {}, serial {serial}, in {place}",
        of("address"),
        of("state"),
        left(row["seconds_left"].as_i64()),
        of("renewed_from"),
        names.join(", "),
        row["issuer"].as_str().map_or_else(|| of("issued_by"), |by| format!("by {}", foreign::line(by))),
    );
    for served in row["served"].as_array().into_iter().flatten() {
        let how = match (&served["same"], served["serial"].as_str()) {
            (Value::Bool(true), _) => "as on disk".to_owned(),
            (_, Some(serial)) => {
                let serial: String = serial.chars().take(12).collect();
                format!("another: serial {}", foreign::line(&serial))
            }
            _ => "nobody answers".to_owned(),
        };
        let at = foreign::line(served["at"].as_str().unwrap_or_default());
        out.push_str(&format!("\n    served at {at}: {how}"));
    }
    if let Some(error) = row["error"].as_str() {
        out.push_str(&format!("\n    {}", foreign::line(error)));
    }
    out
}

/// What is left of a life, in the unit that fits.
fn left(seconds: Option<i64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(s) if s <= 0 => "none left".to_owned(),
        Some(s) if s >= 2 * 86_400 => format!("{} days left", s / 86_400),
        Some(s) if s >= 2 * 3600 => format!("{} h left", s / 3600),
        Some(s) => format!("{} min left", s / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use managers::certificates::look::Shown;
    use std::time::Duration;

    fn certificate(issuer: Issuer) -> Certificate {
        Certificate {
            name: "notes".into(),
            names: vec!["notes.workshop.internal".into()],
            life: Duration::from_secs(86_400),
            on: Host::container("gateway"),
            issuer,
            owner: None,
            reloads: Vec::new(),
            restarts: Vec::new(),
            served: Vec::new(),
            fingerprint: "f".into(),
        }
    }

    fn seen(end: i64, served: Option<bool>) -> Seen {
        let shown = |same| Shown { at: "10.0.0.1:443/x".into(), serial: Some("2b".into()), same: Some(same) };
        Seen {
            name: "notes".into(),
            by: Some("Phoenix workshop Step CA 3fa2c1".into()),
            serial: Some("1a".into()),
            not_before: Some(0),
            not_after: Some(end),
            renew_at: Some(end / 2),
            served: served.map(shown).into_iter().collect(),
            failures: 0,
            error: None,
        }
    }

    fn mark(end: i64) -> CertificateMark {
        CertificateMark { fingerprint: "f".into(), begin: 0, end, serial: "0a".into() }
    }

    #[test]
    fn what_the_guest_says_counts_and_the_mark_only_without_it() {
        let now = Timestamp::from_second(100_000).unwrap();
        let renewing = certificate(Issuer::StepCa);
        // The mark's has long ended; the guest has another.
        let one = row(&renewing, Some(&mark(10)), Ok(Some(&seen(180_000, Some(true)))), now);
        assert_eq!(
            (&one["state"], &one["serial"], &one["seconds_left"]),
            (&json!("good"), &json!("1a"), &json!(80_000))
        );
        assert!(
            text(&renewing.on, &one).starts_with("✔ ")
                && text(&renewing.on, &one).contains("22 h left")
                && text(&renewing.on, &one).contains("as on disk"),
            "{}",
            text(&renewing.on, &one)
        );
        // Nobody could ask: what guests renew by themselves is not called expired for an old mark.
        let unknown = row(&renewing, Some(&mark(10)), Err("it does not run"), now);
        assert_eq!(
            (&unknown["state"], &unknown["asked"], &unknown["serial"]),
            (&json!("good"), &json!(false), &json!("0a"))
        );
        assert!(text(&renewing.on, &unknown).starts_with("· "));
        let embedded = certificate(Issuer::Embedded);
        assert_eq!(row(&embedded, Some(&mark(10)), Err("it does not run"), now)["state"], "expired");
        assert_eq!(
            row(&embedded, Some(&mark(120_000)), Err("it does not run"), now)["state"],
            "to be renewed"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let now = Timestamp::from_second(100_000).unwrap();
        let renewing = certificate(Issuer::StepCa);
        let state = |seen: &Seen| row(&renewing, Some(&mark(10)), Ok(Some(seen)), now)["state"].clone();
        assert_eq!(state(&seen(90_000, None)), "expired");
        assert_eq!(state(&seen(180_000, Some(false))), "another is served");
        let failing = Seen { error: Some("connection refused".into()), failures: 3, ..seen(180_000, None) };
        assert_eq!(state(&failing), "not renewed");
        assert!(
            text(&renewing.on, &row(&renewing, None, Ok(Some(&failing)), now))
                .ends_with("\n    connection refused")
        );
        assert_eq!(row(&renewing, None, Ok(None), now)["state"], "not there yet");
        let old = CertificateMark { fingerprint: "other".into(), ..mark(10) };
        assert_eq!(
            row(&renewing, Some(&old), Ok(Some(&seen(180_000, None))), now)["state"],
            "to be made anew"
        );
    }
}
