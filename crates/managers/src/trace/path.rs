//! What a name stands for, and the way to it on paper.

use std::net::Ipv4Addr;

use apply::Failure;
use plan::Desired;
use plan::desired::{Service, Speaks, ViaKind};
use plan::wire::CERTIFICATES;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A service.
    Service(String),
    /// A guest itself.
    Guest(String),
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

/// Finds what a person means: a host name, a URL, a service, a guest, or an address such as `service.notes`.
///
/// # Errors
/// When it is no name of this workshop.
pub fn path(desired: &Desired, text: &str) -> Result<Path, Failure> {
    let name = text.split_once("://").map_or(text, |(_, rest)| rest);
    let name = name.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    let unknown = |what: &str, hint: String| Err(Failure::new("trace::unknown", what.to_owned()).hint(hint));
    if let Some(service) = name.strip_prefix("service.").filter(|s| !s.contains('.')) {
        return match desired.services.get(service) {
            Some(found) => Ok(to_service(desired, found, first(found))),
            None => {
                unknown(&format!("no service is called `{service}`, or it is not exposed"), names_of(desired))
            }
        };
    }
    if let Some(guest) = name.strip_prefix("container.").filter(|g| !g.contains('.')) {
        return match desired.guests.contains_key(guest) {
            true => Ok(to_guest(desired, guest, own_name(desired, guest))),
            false => unknown(&format!("no container is called `{guest}`"), names_of(desired)),
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
        address: service.address,
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
        name,
    }
}
