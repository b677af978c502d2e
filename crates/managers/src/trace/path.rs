//! What a name stands for, and the way to it on paper.

use std::net::Ipv4Addr;

use apply::Failure;
use plan::address::kinds;
use plan::desired::{Service, Speaks, ViaKind};
use plan::wire::CERTIFICATES;
use plan::{Address, Desired};

use super::declared::{Declared, Unexposed};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A service.
    Service(String),
    /// A guest itself.
    Guest(String),
    /// A service that is exposed to nobody, by its name.
    Unexposed(String),
    /// The workshop's certificate authority, with its guest.
    Authority(String),
    /// A name of the domain that nothing has.
    Nothing,
}

/// The way to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The name that is asked for.
    pub name: String,
    /// What it stands for.
    pub target: Target,
    /// The guest that runs what is asked for, where there is one.
    pub guest: Option<String>,
    /// What the name means inside.
    pub inside: Option<Ipv4Addr>,
    /// What it means outside; none for what is not for those outside.
    pub outside: Option<Ipv4Addr>,
    /// Where clients come in; none for a guest that is only looked at.
    pub entrance: Option<Entrance>,
    /// The way from the proxy on, where there is one.
    pub upstream: Option<Upstream>,
    /// The status that is an answer as it should be; any below 400 where absent.
    pub status: Option<u16>,
    /// What a person has to know about this way.
    pub note: Option<String>,
}

impl Path {
    /// Whether it leads to a guest for which there is no name to ask for.
    pub fn nameless(&self) -> bool {
        self.guest.is_some() && self.inside.is_none() && self.outside.is_none()
    }
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// The guest.
    pub guest: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// Whether clients speak TLS with it.
    pub tls: bool,
    /// What is fetched, for what speaks HTTP.
    pub url: Option<String>,
    /// The certificate of the site that is shown there.
    pub certificate: Option<String>,
    /// The kind of proxy, where it is one.
    pub proxy: Option<ViaKind>,
    /// Whether the certificate is a public authority's.
    pub public: bool,
}

/// The way from the proxy to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The proxy's guest.
    pub from: String,
    /// The service's guest.
    pub guest: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// What it speaks.
    pub speaks: Speaks,
    /// The name in its certificate, which the proxy verifies.
    pub name: Option<String>,
    /// The folder with the certificate that the proxy shows.
    pub pair: Option<String>,
    /// The name that clients ask for.
    pub host: String,
    /// The path that tells whether it works.
    pub path: String,
}

/// Finds what a person means: what [`path()`] finds, a service that is exposed to nobody, an address of a guest, and any of
/// these with a port: `container.db:5432`.
///
/// # Errors
/// When it is no name of this workshop, or the port is none.
pub fn find(desired: &Desired, declared: &Declared, text: &str) -> Result<Path, Failure> {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let (name, port) = match bare.rsplit_once(':') {
        None => (bare, None),
        Some((name, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => (name, Some(port)),
            _ => {
                let what = format!("`{port}` in `{text}` is no port");
                return Err(Failure::new("trace::unknown", what).hint("a port is a number from 1 to 65535"));
            }
        },
    };
    let found = named(desired, declared, name)?;
    Ok(match port {
        Some(port) => at_port(desired, declared, found, port),
        None => found,
    })
}

/// The same without a port.
fn named(desired: &Desired, declared: &Declared, name: &str) -> Result<Path, Failure> {
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        let has = |ip: &str| ip.split('/').next().is_some_and(|found| found.parse() == Ok(address));
        let guest = desired.guests.values().find(|c| c.nets.values().any(|nic| has(&nic.ip)));
        return match guest {
            Some(guest) => Ok(to_guest(desired, &guest.name, address.to_string())),
            None => Err(Failure::new("trace::unknown", format!("no container has the address {address}"))
                .hint(names_of(desired))),
        };
    }
    let lower = name.to_lowercase();
    let bare = lower.strip_prefix("service.").unwrap_or(&lower);
    let hidden =
        |bare: &str| declared.unexposed.get_key_value(bare).filter(|_| !desired.services.contains_key(bare));
    if let Some((name, service)) = hidden(bare) {
        return Ok(to_unexposed(desired, name, service));
    }
    let found = path(desired, name)?;
    let short =
        lower.trim_end_matches('.').strip_suffix(&*desired.domain).and_then(|rest| rest.strip_suffix('.'));
    match short.and_then(hidden).filter(|_| found.target == Target::Nothing) {
        Some((name, service)) => Ok(to_unexposed(desired, name, service)),
        None => Ok(found),
    }
}

/// The way to another port of what a name leads to. What is declared there is asked as it is declared; anything else, whether
/// a connection stands.
fn at_port(desired: &Desired, declared: &Declared, found: Path, port: u16) -> Path {
    let (guest, address) = match (&found.entrance, &found.guest) {
        (Some(entrance), _) if entrance.port == port => return found,
        (Some(entrance), _) => (entrance.guest.clone(), Some(entrance.address)),
        (None, Some(guest)) => (guest.clone(), desired.guests.get(&**guest).and_then(|c| c.address)),
        (None, None) => return found,
    };
    let hidden = declared.unexposed.iter().find(|(_, s)| s.guest == guest && s.port == port);
    if let (Target::Guest(_), Some((name, service))) = (&found.target, hidden) {
        return Path {
            name: found.name,
            inside: found.inside,
            outside: found.outside,
            ..to_unexposed(desired, name, service)
        };
    }
    let own = desired.services.values().find(|s| s.on == *guest && s.port == port && s.speaks != Speaks::Tcp);
    let own = own.filter(|_| matches!(found.target, Target::Guest(_)));
    let address = found.name.parse().ok().or(found.inside).or(address);
    let entrance = address.map(|address| {
        let (speaks, path) = own.map_or((Speaks::Tcp, ""), |s| (s.speaks, s.probe_path.as_str()));
        straight(desired, &guest, address, port, &found.name, speaks, path)
    });
    Path {
        target: Target::Guest(guest.clone()),
        guest: Some(guest),
        entrance,
        upstream: None,
        status: own.and_then(|service| service.probe_status),
        ..found
    }
}

/// Straight to a port of a guest, with no proxy between.
fn straight(
    desired: &Desired,
    guest: &str,
    address: Ipv4Addr,
    port: u16,
    name: &str,
    speaks: Speaks,
    path: &str,
) -> Entrance {
    let tls = speaks == Speaks::Https;
    let scheme = if tls { "https" } else { "http" };
    let certificate = format!("{guest}.guest");
    Entrance {
        guest: guest.to_owned(),
        address,
        port,
        tls,
        url: (speaks != Speaks::Tcp).then(|| format!("{scheme}://{name}:{port}{path}")),
        certificate: (tls && desired.certificates.contains_key(&certificate)).then_some(certificate),
        proxy: None,
        public: false,
    }
}

fn to_unexposed(desired: &Desired, name: &str, service: &Unexposed) -> Path {
    let guest = &service.guest;
    let mut path = to_guest(desired, guest, own_name(desired, guest));
    let address = desired.guests.get(&**guest).and_then(|c| c.address);
    path.entrance = address.map(|address| {
        straight(desired, guest, address, service.port, &path.name, service.speaks, &service.path)
    });
    path.target = Target::Unexposed(name.to_owned());
    path.status = service.status;
    path.note = Some(format!(
        "{} is exposed to nobody (`expose` is `none`), so its guest is asked directly, at port {}",
        Address::service(name),
        service.port
    ));
    path
}

/// Finds what a person means: a host name, a URL, a service, a guest, or an address such as `service.notes`.
///
/// # Errors
/// When it is no name of this workshop.
pub fn path(desired: &Desired, text: &str) -> Result<Path, Failure> {
    let name = text.split_once("://").map_or(text, |(_, rest)| rest);
    let name = name.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    let unknown = |what: &str, hint: String| Err(Failure::new("trace::unknown", what.to_owned()).hint(hint));
    // A host name may look like one.
    let address: Option<Address> =
        name.parse().ok().filter(|address: &Address| !address.name().contains('.'));
    if let Some(service) = address.as_ref().filter(|a| a.kind() == kinds::SERVICE).map(Address::name) {
        return match desired.services.get(service) {
            Some(found) => Ok(to_service(desired, found, first(found))),
            None => {
                unknown(&format!("no service is called `{service}`, or it is not exposed"), names_of(desired))
            }
        };
    }
    let guest = address.filter(|a| a.guest_kind().is_some() && !desired.names.contains_key(&name));
    if let Some(address) = guest {
        let (kind, guest) = (address.kind(), address.name());
        return match desired.guest(&address).is_some() {
            true => Ok(to_guest(desired, guest, own_name(desired, guest))),
            false => unknown(&format!("no {kind} is called `{guest}`"), names_of(desired)),
        };
    }
    let with_name = |s: &&Service| s.hosts.iter().chain(&s.public).any(|host| *host == name);
    if let Some(service) = desired.services.values().find(with_name) {
        return Ok(to_service(desired, service, name));
    }
    if let Some(authority) = desired.authority.as_ref().filter(|authority| authority.host == name) {
        return Ok(to_authority(desired, &authority.on, &name));
    }
    if let Some(service) = desired.services.get(&name) {
        return Ok(to_service(desired, service, first(service)));
    }
    if desired.guests.contains_key(&*name) {
        let own = own_name(desired, &name);
        return Ok(to_guest(desired, &name, own));
    }
    let domain = &desired.domain;
    let own = |hostname: &str| {
        name == hostname
            || name == format!("{hostname}.{domain}")
            || name == format!("{hostname}.guest.{domain}")
    };
    if let Some(container) = desired.guests.values().find(|c| own(&c.hostname)) {
        let full = if name.contains('.') { name } else { own_name(desired, &container.name) };
        return Ok(to_guest(desired, &container.name, full));
    }
    if name.is_empty() || name.contains('.') && !name.ends_with(&format!(".{domain}")) {
        let what = format!("`{text}` is no name of the workshop: those end in {domain}");
        return unknown(&what, names_of(desired));
    }
    let name = if name.contains('.') { name } else { format!("{name}.{domain}") };
    Ok(Path {
        name,
        target: Target::Nothing,
        guest: None,
        inside: None,
        outside: None,
        entrance: None,
        upstream: None,
        status: None,
        note: None,
    })
}

/// What can be asked for, for a hint.
pub fn names_of(desired: &Desired) -> String {
    let mut hosts: Vec<&str> =
        desired.services.values().filter_map(|s| s.hosts.first()).map(String::as_str).collect();
    let more = hosts.len().saturating_sub(8);
    hosts.truncate(8);
    match (hosts.is_empty(), more) {
        (true, _) => "no service is exposed; phoenix-cli status shows what there is".to_owned(),
        (_, 0) => format!("there are: {}", hosts.join(", ")),
        (_, more) => {
            format!("there are: {} and {more} more; phoenix-cli status shows them", hosts.join(", "))
        }
    }
}

fn first(service: &Service) -> String {
    service.hosts.first().cloned().unwrap_or_default()
}

/// A name that leads to the guest itself, or what it would be.
fn own_name(desired: &Desired, guest: &str) -> String {
    let Some(container) = desired.guests.get(guest) else { return guest.to_owned() };
    let short = format!("{}.{}", container.hostname, desired.domain);
    let own = format!("{}.guest.{}", container.hostname, desired.domain);
    let leads =
        |name: &String| container.address.is_some() && desired.names.get(name) == container.address.as_ref();
    if leads(&own) || !leads(&short) { own } else { short }
}

fn to_guest(desired: &Desired, guest: &str, name: String) -> Path {
    Path {
        inside: desired.names.get(&name).copied(),
        outside: desired.outside_names.get(&name).copied(),
        target: Target::Guest(guest.to_owned()),
        guest: Some(guest.to_owned()),
        entrance: None,
        upstream: None,
        status: None,
        note: None,
        name,
    }
}

fn to_authority(desired: &Desired, guest: &str, name: &str) -> Path {
    let mut path = to_guest(desired, guest, name.to_owned());
    path.target = Target::Authority(guest.to_owned());
    path.entrance = path.inside.map(|address| Entrance {
        guest: guest.to_owned(),
        address,
        port: 443,
        tls: true,
        url: Some(format!("https://{name}/health")),
        certificate: None,
        proxy: None,
        public: false,
    });
    path
}

fn to_service(desired: &Desired, service: &Service, name: String) -> Path {
    let (address, port) = service.entrance();
    let public = service.public.contains(&name);
    let tls = service.via.as_ref().map_or(service.speaks == Speaks::Https, |via| via.tls);
    let (guest, proxy) = service.via.as_ref().map_or((&service.on, None), |via| (&via.on, Some(via.kind)));
    let certificate = match (proxy, public) {
        (Some(_), true) => format!("{}.public", service.name),
        (Some(_), false) => service.name.clone(),
        (None, _) => format!("{}.guest", service.on),
    };
    let scheme = if tls { "https" } else { "http" };
    let usual = if tls { 443 } else { 80 };
    let at = if port == usual { name.clone() } else { format!("{name}:{port}") };
    let entrance = Entrance {
        guest: guest.to_string(),
        address,
        port,
        tls,
        url: (service.speaks != Speaks::Tcp).then(|| format!("{scheme}://{at}{}", service.probe_path)),
        certificate: (tls && desired.certificates.contains_key(&certificate)).then_some(certificate),
        proxy,
        public,
    };
    let upstream = service.via.as_ref().map(|via| Upstream {
        from: via.on.to_string(),
        guest: service.on.to_string(),
        address: service.upstream(),
        port: service.port,
        speaks: service.speaks,
        name: service.upstream_name.clone(),
        pair: service.mutual.then(|| format!("{CERTIFICATES}/{}.guest", via.on)),
        host: name.clone(),
        path: service.probe_path.clone(),
    });
    Path {
        inside: desired.names.get(&name).copied(),
        outside: desired.outside_names.get(&name).copied(),
        target: Target::Service(service.name.clone()),
        guest: Some(service.on.to_string()),
        entrance: Some(entrance),
        upstream,
        status: service.probe_status,
        note: None,
        name,
    }
}
