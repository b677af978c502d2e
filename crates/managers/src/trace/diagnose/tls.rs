//! The handshake, the certificate that is shown, and the one on disk.

use std::net::Ipv4Addr;

use plan::Address;
use plan::desired::Issuer;

use super::super::chain::{Chain, Fault, judge};
use super::super::finding::{Cause, Finding, Hop};
use super::super::leg::Tls;
use super::super::look::{Key, OnDisk};
use super::{World, far_end};

/// Where TLS is spoken.
#[derive(Debug, Clone, Copy)]
pub struct Shows<'a> {
    /// The guest.
    pub guest: &'a str,
    /// Its address and port.
    pub at: (Ipv4Addr, u16),
    /// The name that must be in the certificate; any where absent.
    pub name: Option<&'a str>,
    /// The certificate of the site that is shown, where it is known.
    pub certificate: Option<&'a str>,
    /// Whether the workshop's own root must vouch for it.
    pub own_root: bool,
    /// The proxy in that guest, and the service whose site it serves.
    pub proxy: Option<(&'a str, &'a str)>,
    /// The command that does it all once more.
    pub again: &'a str,
}

/// Judges a handshake from `place`.
pub fn tls(world: &World<'_>, place: &str, to: Shows<'_>, tls: &Tls) -> Finding {
    let broken = |seen: String, cause| Finding::broken(Hop::Tls, place, seen, cause);
    let chain = match tls {
        Tls::Shown(chain) => chain,
        Tls::Lacking(program) => {
            return Finding::good(Hop::Tls, place, format!("not looked at: {place} has no {program}"));
        }
        Tls::NoSuchSite => return broken("no site of that name is served".to_owned(), no_site(world, to)),
        Tls::Plain => {
            return broken(
                "what answers there speaks no TLS".to_owned(),
                stranger(world, to, "speaks no TLS"),
            );
        }
        Tls::Silent => {
            return broken("no handshake within 4 s".to_owned(), stranger(world, to, "says nothing"));
        }
        Tls::Failed(said) => return broken(said.clone(), failed(world, to, said)),
    };
    let Some(name) = to.name else {
        return Finding::good(
            Hop::Tls,
            place,
            "a handshake; the certificate is not verified, as the guest has none of its own",
        );
    };
    let Some(shown) = judge(chain, name, to.own_root.then_some(world.root), world.now) else {
        return broken(
            "what is shown is no certificate".to_owned(),
            stranger(world, to, "shows no certificate"),
        );
    };
    // What Traefik shows where it knows no route of that name.
    if shown.leaf.subject == "TRAEFIK DEFAULT CERT" {
        return broken("the proxy's default certificate".to_owned(), no_site(world, to));
    }
    let seen = shown.words(world.now);
    if let Some(fault) = &shown.fault {
        return broken(format!("{seen}{}", fault_words(fault, name)), faulty(world, to, &shown, fault, name));
    }
    match disk(world, to, &shown) {
        None => Finding::good(Hop::Tls, place, format!("{seen}{}", compared(world, to))),
        Some(cause) => broken(seen, cause).weak(),
    }
}

fn fault_words(fault: &Fault, name: &str) -> String {
    match fault {
        Fault::Untrusted(_) => "; the workshop's root does not vouch for it".to_owned(),
        Fault::Names => format!("; it is not for {name}"),
        Fault::Expired => "; it has expired".to_owned(),
        Fault::NotYet => "; it is not valid yet".to_owned(),
    }
}

/// What is on disk, where it was looked at.
fn on_disk<'a>(world: &'a World<'_>, to: Shows<'_>) -> Option<&'a OnDisk> {
    world.seen(to.guest)?.certificates.get(to.certificate?)
}

fn compared(world: &World<'_>, to: Shows<'_>) -> &'static str {
    if on_disk(world, to).is_some() { ", the same as on disk" } else { "" }
}

fn file(to: Shows<'_>, name: &str) -> String {
    format!("{}/{}/{name}", plan::wire::CERTIFICATES, to.certificate.unwrap_or_default())
}

/// What is wrong with the files, whatever is served.
fn files(world: &World<'_>, to: Shows<'_>) -> Option<Cause> {
    let disk = on_disk(world, to)?;
    let inside = world.called(to.guest);
    if disk.chain.is_empty() {
        let text = format!("{} is not there in {inside}, or is no certificate", file(to, "fullchain.pem"));
        return Some(Cause::new("trace::certificate-missing", text, to.again));
    }
    let key = match disk.key? {
        Key::Fits => return None,
        Key::Other => "belongs to another certificate",
        Key::Missing => "is not there",
    };
    let text = format!("{} {key} in {inside}", file(to, "key.pem"));
    Some(Cause::new("trace::certificate-key", text, to.again))
}

/// What is wrong with the certificate on disk, although what is served is good.
fn disk(world: &World<'_>, to: Shows<'_>, shown: &Chain) -> Option<Cause> {
    if let Some(mut cause) = files(world, to) {
        cause.text.push_str("; it is served from memory until the next restart");
        return Some(cause);
    }
    let disk = on_disk(world, to)?;
    let name = to.name?;
    let there = judge(&disk.chain, name, to.own_root.then_some(world.root), world.now)?;
    if there.leaf.fingerprint == shown.leaf.fingerprint {
        return None;
    }
    Some(match &there.fault {
        None => stale(world, to, "the one on disk is another"),
        Some(fault) => {
            let mut cause = faulty(world, to, &there, fault, name);
            cause.text =
                format!("what is served is good until the next restart; on disk is another: {}", cause.text);
            cause
        }
    })
}

/// What is on disk is good, and not what is served.
fn stale(world: &World<'_>, to: Shows<'_>, what: &str) -> Cause {
    let declared = to.certificate.and_then(|name| world.desired.certificates.get(name));
    let unit = declared.and_then(|c| {
        c.reloads.first().map(|u| ("reload", u)).or(c.restarts.first().map(|u| ("restart", u)))
    });
    let unit = unit.map_or_else(|| "reload nginx".to_owned(), |(verb, unit)| format!("{verb} {unit}"));
    Cause::new(
        "trace::certificate-stale",
        format!("{what}, and good: whoever serves it has not read it"),
        format!("phoenix-cli exec {} -- systemctl {unit}", to.guest),
    )
}

/// Why a bad certificate is shown.
fn faulty(world: &World<'_>, to: Shows<'_>, shown: &Chain, fault: &Fault, name: &str) -> Cause {
    if let Some(there) = on_disk(world, to)
        && let Some(there) = judge(&there.chain, name, to.own_root.then_some(world.root), world.now)
        && there.fault.is_none()
        && there.leaf.fingerprint != shown.leaf.fingerprint
    {
        return stale(world, to, "what is served is not what is on disk: the one on disk is newer");
    }
    let at = world.called(to.guest);
    match fault {
        Fault::Untrusted(why) => Cause::new(
            "trace::certificate-untrusted",
            format!(
                "{at} has a certificate by {}, and the workshop's root does not vouch for it: {why}",
                shown.leaf.issuer
            ),
            to.again,
        ),
        Fault::Names => Cause::new(
            "trace::certificate-names",
            format!(
                "{at} has {} in its place, which is for {}",
                whose(world, shown),
                shown.leaf.dns_names.join(", ")
            ),
            to.again,
        ),
        Fault::Expired => expired(world, to, shown),
        Fault::NotYet => not_yet(world, to, shown),
    }
}

/// Which certificate of the site this is, by its names.
fn whose(world: &World<'_>, shown: &Chain) -> String {
    let own = world.desired.certificates.values().find(|c| shown.leaf.is_for(&c.names, &[]));
    own.map_or_else(|| "another certificate".to_owned(), |c| c.resource().to_string())
}

/// The clock that makes a certificate look expired or not yet valid, if one does.
fn clock(world: &World<'_>, to: Shows<'_>) -> Option<Cause> {
    let authority = world.desired.authority.as_ref().map(|a| a.on.as_str());
    [Some(to.guest), authority]
        .into_iter()
        .flatten()
        .find_map(|guest| far_end::wrong_clock(world, guest, world.seen(guest)?))
}

fn expired(world: &World<'_>, to: Shows<'_>, shown: &Chain) -> Cause {
    if let Some(cause) = clock(world, to) {
        return cause;
    }
    let ended = super::ago(shown.leaf.not_after, world.now);
    let declared = to.certificate.and_then(|name| world.desired.certificates.get(name));
    let renews = declared.filter(|c| c.issuer != Issuer::Embedded);
    let Some(renews) = renews else {
        let text = format!("it expired {ended} ago; Phoenix renews it when it applies");
        return Cause::new("trace::certificate-expired", text, to.again);
    };
    if let Some(authority) = world.desired.authority.as_ref().filter(|_| renews.issuer == Issuer::StepCa)
        && let Some(mut cause) = far_end::trouble(world, &authority.on, None)
    {
        cause.code = "trace::ca-down";
        cause.text = format!(
            "it expired {ended} ago and could not be renewed, because the authority does not answer: {}",
            cause.text
        );
        return cause;
    }
    let error = world.seen(to.guest).and_then(|s| s.renewals.get(&renews.name)).and_then(|r| r.error.clone());
    match error {
        Some(error) => Cause::new(
            "trace::renewal-failed",
            format!("it expired {ended} ago; renewing it fails: {error}"),
            format!(
                "phoenix-cli exec {} -- /usr/local/lib/phoenix/certificates renew {}",
                to.guest, renews.name
            ),
        ),
        None => Cause::new(
            "trace::certificate-expired",
            format!("it expired {ended} ago, and the guest has not renewed it"),
            format!(
                "phoenix-cli exec {} -- /usr/local/lib/phoenix/certificates renew {}",
                to.guest, renews.name
            ),
        ),
    }
}

fn not_yet(world: &World<'_>, to: Shows<'_>, shown: &Chain) -> Cause {
    let seconds = shown.leaf.not_before.as_second() - world.now.as_second();
    let begins = super::span(seconds);
    if let Some(mut cause) = clock(world, to) {
        cause.text = format!("it is valid in {begins}; {}", cause.text);
        return cause;
    }
    Cause::new(
        "trace::certificate-not-yet-valid",
        format!("it is valid in {begins}: whoever issued it had a clock ahead, or this machine's is behind"),
        format!("date -u; phoenix-cli exec {} -- date -u; then {}", to.guest, to.again),
    )
}

/// Why a proxy serves no site of a name.
fn no_site(world: &World<'_>, to: Shows<'_>) -> Cause {
    if let Some(cause) = far_end::trouble(world, to.guest, Some(to.at)).or_else(|| files(world, to)) {
        return cause;
    }
    let Some((kind, service)) = to.proxy else {
        return stranger(world, to, "has no site of that name");
    };
    aside(world, to.guest, kind, service, to.again).unwrap_or_else(|| {
        Cause::new(
            "trace::site-missing",
            format!(
                "the {kind} knows nothing of {}: it does not have its file, or has not read it",
                Address::service(service)
            ),
            to.again,
        )
    })
}

/// What the proxy put aside of a service, and why.
pub fn aside(world: &World<'_>, guest: &str, kind: &str, service: &str, again: &str) -> Option<Cause> {
    let names = [service.to_owned(), format!("{service}.public")];
    let why = names.iter().find_map(|name| world.seen(guest)?.aside.get(name))?;
    Some(Cause::new(
        "trace::site-aside",
        format!("the {kind} put the file of {} aside: {}", Address::service(service), why.trim()),
        again,
    ))
}

/// Something answers there that should not, or not so.
fn stranger(world: &World<'_>, to: Shows<'_>, what: &str) -> Cause {
    far_end::trouble(world, to.guest, Some(to.at)).unwrap_or_else(|| {
        let holder = world.seen(to.guest).and_then(|seen| seen.listener(to.at.0, to.at.1));
        let who = holder.map_or_else(|| "what answers".to_owned(), |holder| holder.program.clone());
        Cause::new(
            "trace::tls",
            format!("{who} at port {} of {} {what}", to.at.1, world.called(to.guest)),
            format!("phoenix-cli logs {}", to.guest),
        )
    })
}

fn failed(world: &World<'_>, to: Shows<'_>, said: &str) -> Cause {
    far_end::trouble(world, to.guest, Some(to.at)).or_else(|| files(world, to)).unwrap_or_else(|| {
        Cause::new(
            "trace::tls",
            format!("{} breaks the handshake off: {said}", world.called(to.guest)),
            format!("phoenix-cli logs {}", to.guest),
        )
    })
}
