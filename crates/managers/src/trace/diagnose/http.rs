//! The answer, the way from the proxy to the service, and the guest that runs it.

use plan::Address;
use plan::desired::{Service, Speaks};

use super::super::finding::{Cause, Finding, Hop};
use super::super::flows::Asker;
use super::super::leg::{Http, Leg, Tcp};
use super::super::path::{Path, Upstream};
use super::tcp::{Met, To, millis, tcp};
use super::tls::{Shows, tls};
use super::{World, far_end, near, needs, span};

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// As declared: this proves the whole way.
    Fine(String),
    /// The proxy asks who it is, as declared. What is behind it was not reached.
    Guarded(String),
    /// Not as declared.
    Bad(String),
    /// Nobody could ask.
    NotAsked(String),
}

/// Judges what a client is answered.
pub fn answer(service: Option<&Service>, wanted: Option<u16>, place: &str, http: &Http) -> Answer {
    let (status, took) = match http {
        Http::Status(status, took) => (*status, millis(*took)),
        Http::WantsCertificate(_) if service.is_some_and(|s| s.client_certificate) => {
            return Answer::Guarded("wants a certificate to be shown, as declared".into());
        }
        Http::WantsCertificate(said) | Http::Broken(said) => return Answer::Bad(said.clone()),
        Http::Untrusted => return Answer::Bad(format!("{place} does not trust who signed the certificate")),
        Http::Silent => return Answer::Bad("no answer within 5 s".into()),
        Http::Lacking(program) => return Answer::NotAsked(format!("not asked: {place} has no {program}")),
    };
    let fine = wanted.map_or(status < 400, |wanted| status == wanted);
    let declared = |s: &Service| match status {
        401 => (!s.users.is_empty()).then_some("asks who it is"),
        400 | 403 | 496 => s.client_certificate.then_some("wants a certificate to be shown"),
        _ => None,
    };
    match service.and_then(declared) {
        _ if fine => Answer::Fine(format!("answers {status} in {took} ms")),
        Some(words) => Answer::Guarded(format!("answers {status}: {words}, as declared")),
        None => Answer::Bad(format!("answers {status}")),
    }
}

/// The hops from the proxy to the service, as far as they hold.
pub fn upstream(world: &World<'_>, path: &Path, to: &Upstream, leg: &Leg, again: &str) -> Vec<Finding> {
    let place = world.called(&to.from).to_string();
    let at = To { guest: &to.guest, address: to.address, port: to.port };
    let Some(connection) = &leg.tcp else {
        let why = leg.lost.clone().unwrap_or_else(|| "it was not reached within its time".into());
        return vec![super::walk::not_asked(world, Hop::Tcp, &place, &to.from, &why)];
    };
    let met = Met { tcp: connection, route: leg.route.as_deref(), neighbour: leg.answering(None) };
    let mut found = Vec::new();
    if matches!(connection, Tcp::Open(_)) {
        found.extend(near::link(world, &place, at, leg.answering(None)));
    }
    found.push(tcp(world, &place, Asker::Guest(&to.from), at, met));
    if let Some(handshake) = leg.tls.as_ref().filter(|_| to.speaks == Speaks::Https) {
        let certificate = format!("{}.guest", to.guest);
        let shows = Shows {
            guest: &to.guest,
            at: (to.address, to.port),
            name: to.name.as_deref(),
            certificate: to.name.is_some().then_some(certificate.as_str()),
            own_root: true,
            proxy: None,
            again,
        };
        found.push(tls(world, &place, shows, handshake));
    }
    if let Some(http) = &leg.http {
        found.push(behind(world, path, to, &place, http));
    }
    found
}

/// What the service answers its proxy.
fn behind(world: &World<'_>, path: &Path, to: &Upstream, place: &str, http: &Http) -> Finding {
    let service = service_of(world, path);
    let between = format!("{} → {}:{}", to.from, to.address, to.port);
    let (said, cause) = match answer(service, path.status, place, http) {
        Answer::Fine(said) | Answer::NotAsked(said) => {
            return Finding::good(Hop::Http, place, format!("{between} {said}"));
        }
        // Whoever asks for a password here is the service itself.
        Answer::Guarded(said) | Answer::Bad(said) => (said, itself(world, to, http)),
    };
    let finding = Finding::broken(Hop::Http, place, format!("{between} {said}"), cause);
    following_needs(world, &to.guest, http, finding)
}

/// A service that answers with a server's error may only lack what it needs: that is the cause then.
fn following_needs(world: &World<'_>, guest: &str, http: &Http, finding: Finding) -> Finding {
    let Http::Status(500.., _) = http else { return finding };
    let mut all = needs::failing(world, guest).into_iter();
    let Some(first) = all.next() else {
        let met = needs::met(world, guest);
        let cause = finding.cause.map(|cause| Cause { text: format!("{}{met}", cause.text), ..cause });
        return Finding { cause, ..finding };
    };
    Finding { also: all.chain(finding.cause).collect(), cause: Some(first), ..finding }
}

/// Why a service does not answer as it should, though it can be connected to.
fn itself(world: &World<'_>, to: &Upstream, http: &Http) -> Cause {
    if let Some(cause) = far_end::trouble(world, &to.guest, Some((to.address, to.port)))
        .or_else(|| world.seen(&to.guest).and_then(|seen| far_end::full(world, &to.guest, seen)))
    {
        return cause;
    }
    let holder = world.seen(&to.guest).and_then(|seen| seen.listener(to.address, to.port));
    let who = holder.map_or_else(
        || "what listens there".to_owned(),
        |l| l.unit.clone().unwrap_or_else(|| l.program.clone()),
    );
    let logs = format!("phoenix-cli logs {}", to.guest);
    match http {
        Http::Status(status, _) => {
            status_cause(&format!("{who} of {} itself", world.called(&to.guest)), *status, logs)
        }
        Http::Silent => Cause::new(
            "trace::service-silent",
            format!("{who} of {} takes the connection and says nothing", world.called(&to.guest)),
            logs,
        ),
        Http::WantsCertificate(_) => Cause::new(
            "trace::service-wants-certificate",
            format!("{who} of {} wants its proxy to show a certificate", world.called(&to.guest)),
            "set `mutual` of the service, then phoenix-cli apply",
        ),
        Http::Untrusted | Http::Broken(_) | Http::Lacking(_) => Cause::new(
            "trace::http-broken",
            format!("{who} of {} breaks the answer off", world.called(&to.guest)),
            logs,
        ),
    }
}

fn status_cause(who: &str, status: u16, logs: String) -> Cause {
    if status >= 500 {
        return Cause::new(
            "trace::service-error",
            format!("{who} answers {status}: it has a trouble of its own"),
            logs,
        );
    }
    Cause::new(
        "trace::http-status",
        format!("{who} answers {status}"),
        "set `path` and `status` of the service if that is as it should be",
    )
}

fn service_of<'a>(world: &'a World<'_>, path: &Path) -> Option<&'a Service> {
    match &path.target {
        super::super::path::Target::Service(name) => world.desired.services.get(name),
        _ => None,
    }
}

/// The last hop: what the client is answered, when everything before it holds.
pub fn http(world: &World<'_>, place: &str, path: &Path, http: &Http, again: &str) -> Finding {
    let service = service_of(world, path);
    let (said, cause) = match answer(service, path.status, place, http) {
        Answer::Fine(said) | Answer::Guarded(said) | Answer::NotAsked(said) => {
            return Finding::good(Hop::Http, place, said);
        }
        Answer::Bad(said) => (said, bad(world, place, path, http, again)),
    };
    let finding = Finding::broken(Hop::Http, place, said, cause);
    match (&path.guest, &path.upstream) {
        (Some(guest), None) => following_needs(world, guest, http, finding),
        // What is behind a proxy was asked by itself.
        _ => finding,
    }
}

fn bad(world: &World<'_>, place: &str, path: &Path, http: &Http, again: &str) -> Cause {
    let Some(entrance) = &path.entrance else {
        return Cause::new("trace::http-broken", "nothing is asked for there", "phoenix-cli status");
    };
    let guest = &entrance.guest;
    if *http == Http::Untrusted {
        let asking =
            place.parse::<Address>().map_or_else(|_| place.to_owned(), |guest| guest.name().to_owned());
        let asking = asking.as_str();
        // Whose clock is off takes good certificates for bad ones.
        if let Some(cause) = world.seen(asking).and_then(|seen| far_end::wrong_clock(world, asking, seen)) {
            return cause;
        }
        return Cause::new(
            "trace::not-trusted",
            format!("the chain holds against the workshop's root, and {place} does not trust that root"),
            format!("give {place} the feature `trusted-ca`, or {}", super::again_in(world, asking)),
        );
    }
    if let Some(cause) = far_end::trouble(world, guest, Some((entrance.address, entrance.port))) {
        return cause;
    }
    let logs = format!("phoenix-cli logs {guest}");
    let who = match entrance.proxy {
        Some(kind) => format!("the {} on {it}", kind.as_str(), it = world.called(guest)),
        None => world.called(guest).to_string(),
    };
    match (http, entrance.proxy) {
        (Http::Status(429 | 503, _), Some(_))
            if service_of(world, path).is_some_and(|s| s.limits.rate.is_some()) =>
        {
            Cause::new(
                "trace::rate",
                format!("{who} lets no more requests through: the `limits` of the service are reached"),
                "raise `limits.rate` or `limits.burst`, then phoenix-cli apply",
            )
        }
        (Http::Status(status, _), Some(kind)) if world.log.last_about(&path.name).is_some() => {
            let said = world.log.last_about(&path.name).unwrap_or_default();
            logged(path, service_of(world, path), (&who, kind.as_str()), *status, said, &logs)
        }
        (Http::Status(status, _), Some(_)) => Cause::new(
            "trace::proxy",
            format!("what is behind it answers as it should, so the {status} is of {who} itself"),
            format!("{logs}, then {again}"),
        ),
        (Http::Status(status, _), None) => status_cause(&who, *status, logs),
        (Http::Silent, _) => {
            Cause::new("trace::service-silent", format!("{who} takes the request and does not answer"), logs)
        }
        (Http::WantsCertificate(_), _) => Cause::new(
            "trace::service-wants-certificate",
            format!("{who} wants a certificate to be shown, which the blueprint does not say"),
            "set `access.client-certificate` of the service, then phoenix-cli apply",
        ),
        _ => Cause::new("trace::http-broken", format!("{who} breaks the answer off"), logs),
    }
}

/// What the proxy's own log says of a request that it answered otherwise than the service did.
fn logged(
    path: &Path,
    service: Option<&Service>,
    (who, kind): (&str, &str),
    status: u16,
    said: &str,
    logs: &str,
) -> Cause {
    // Nginx' words (`ngx_http_upstream_process_header`).
    if said.starts_with("upstream sent too big header") {
        let limit = service.and_then(|s| s.limits.headers).unwrap_or(HEAD) / 1024;
        let name = service.map_or(path.name.as_str(), |s| s.name.as_str());
        return Cause::new(
            "trace::head-too-large",
            format!(
                "{} answers with a head (its header fields, such as cookies) of more than the {limit} KiB that {who} \
                 passes; its log: {said}",
                Address::service(name)
            ),
            format!(
                "raise `limits.headers` of the service ({limit}K now, 1M at most), then phoenix-cli apply"
            ),
        );
    }
    Cause::new(
        "trace::proxy",
        format!(
            "what is behind it answers as it should, so the {status} is of {who} itself; the log of the {kind} says: {said}"
        ),
        logs,
    )
}

/// The largest head that the gateway passes where a service says nothing, bytes: `catalog/nginx-gateway/gateway.conf`.
const HEAD: u64 = 64 * 1024;

/// The guest that runs it: whether it is what it should be, beside that it answers.
pub fn guest(world: &World<'_>, guest: &str, port: Option<(std::net::Ipv4Addr, u16)>) -> Option<Finding> {
    let place = world.called(guest).to_string();
    if let Some(cause) = far_end::down(world, guest) {
        return Some(Finding::broken(Hop::Service, &place, cause.text.clone(), cause));
    }
    let seen = world.seen(guest)?;
    let up = span(i64::try_from(seen.up.as_secs()).unwrap_or(i64::MAX));
    if let Some(cause) = far_end::trouble(world, guest, port) {
        // Another program answers in its stead, or what failed is not on the way.
        let finding = Finding::broken(Hop::Service, &place, format!("{place} is up for {up}"), cause);
        let taken = finding.cause.as_ref().is_some_and(|cause| cause.code == "trace::port-taken");
        return Some(if taken { finding } else { finding.weak() });
    }
    if let Some(cause) = far_end::full(world, guest, seen) {
        return Some(Finding::broken(Hop::Service, &place, format!("{place} is up for {up}"), cause).weak());
    }
    let units: Vec<String> = world
        .units(guest)
        .iter()
        // What runs at its times is on nobody's way.
        .filter(|name| !name.ends_with(".timer"))
        .filter_map(|name| seen.units.iter().find(|u| u.name == *name))
        .map(|unit| {
            let since = unit.since.map(|since| format!(" for {}", super::ago(since, world.now)));
            format!("{} {}{}", unit.name, unit.active, since.unwrap_or_default())
        })
        .collect();
    let units = if units.is_empty() { String::new() } else { format!("; {}", units.join(", ")) };
    Some(Finding::good(Hop::Service, &place, format!("{place} is up for {up}{units}")))
}
