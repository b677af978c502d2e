//! Who may talk to whom: what follows from services, from the parts, from `needs`, and what is declared (I-6, P-59).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use blueprint::model::{self, Blueprint, FlowEnd, Guests};
use blueprint::names::GuestName;
use cidr::Ipv4Cidr;

use super::certificates::Certificates;
use super::derived::resolvers;
use super::parts::{Parts, address_of};
use super::services::Services;
use super::{Findings, WireError, shares};
use crate::address::Address;
use crate::desired::{End, Firewall, Flow, Issuer, Speaks, Transport, ViaKind};
use crate::host::Host;

/// Where name servers answer.
const DNS: u16 = 53;
/// Where a guest is entered.
const SSH: u16 = 22;
/// Where the workshop's authority answers.
const CA: u16 = super::services::HTTPS;

struct Flows<'g> {
    guests: &'g Guests,
    all: Vec<Flow>,
}

impl Flows<'_> {
    fn guest(&self, name: &GuestName) -> End {
        End::Host(Host::called(self.guests, name))
    }

    fn end(&self, end: &FlowEnd) -> End {
        match end {
            FlowEnd::Guest(name) => self.guest(name),
            FlowEnd::Inside => End::Inside,
            FlowEnd::Outside => End::Outside,
            FlowEnd::Net(net) => End::Net(*net),
        }
    }

    fn tcp(&mut self, id: String, from: End, to: End, ports: &[u16], reason: impl Into<String>) {
        self.add(id, from, to, Transport::Tcp, ports, reason);
    }

    fn add(
        &mut self,
        id: String,
        from: End,
        to: End,
        protocol: Transport,
        ports: &[u16],
        reason: impl Into<String>,
    ) {
        let mut ports = ports.to_vec();
        ports.sort_unstable();
        ports.dedup();
        if !ports.is_empty() && from != to {
            self.all.push(Flow { id, from, to, protocol, ports, reason: reason.into() });
        }
    }

    /// Names are asked for over both.
    fn names(&mut self, id: &str, from: &End, to: &End, reason: &str) {
        self.add(format!("{id}.tcp"), from.clone(), to.clone(), Transport::Tcp, &[DNS], reason);
        self.add(format!("{id}.udp"), from.clone(), to.clone(), Transport::Udp, &[DNS], reason);
    }
}

/// The firewall, where the site has one.
pub(super) fn firewall(blueprint: &Blueprint, findings: &mut Findings) -> Option<Firewall> {
    let firewall = blueprint.firewall.as_ref()?;
    if let Some(guest) = blueprint.guests.get("site") {
        findings.errors.push(WireError {
            address: Address::of_guest(guest).to_string(),
            message: "`site` is what the firewall calls its own part".into(),
            hint: "call the guest something else".into(),
        });
    }
    let mut subnets: Vec<Ipv4Cidr> = blueprint.networks.values().map(|n| n.subnet).collect();
    subnets.sort();
    subnets.dedup();
    let networks = blueprint.networks.values();
    let taken = networks.flat_map(|n| n.gateway.into_iter().chain(n.nameservers.iter().copied()));
    let taken = taken.collect();
    Some(Firewall {
        zero_trust: firewall.zero_trust,
        management: firewall.management.clone(),
        subnets,
        taken,
    })
}

/// All flows, sorted by id.
pub(super) fn flows(
    blueprint: &Blueprint,
    parts: &Parts,
    services: &Services,
    certificates: &Certificates,
) -> Vec<Flow> {
    let mut flows = Flows { guests: &blueprint.guests, all: Vec::new() };
    to_services(&mut flows, services);
    doors(&mut flows, parts);
    entrances(&mut flows, blueprint);
    renewals(&mut flows, certificates);
    public_authority(&mut flows, certificates);
    needs(&mut flows, blueprint);
    agents(&mut flows, parts);
    shared(&mut flows, blueprint);
    outwards(&mut flows, blueprint, parts);
    for (name, flow) in &blueprint.flows {
        let protocol = if flow.udp { Transport::Udp } else { Transport::Tcp };
        flows.add(
            format!("flow.{name}"),
            flows.end(&flow.from),
            flows.end(&flow.to),
            protocol,
            &flow.ports,
            flow.reason.clone(),
        );
    }
    flows.all.sort_by(|a, b| a.id.cmp(&b.id));
    flows.all
}

/// From the client to the proxy's extra ports, from the proxy to the service, from the node for probes.
fn to_services(flows: &mut Flows<'_>, services: &Services) {
    for service in services.values() {
        let (name, at) = (&service.name, flows.guest(&service.on));
        let ports = [service.port];
        match &service.via {
            Some(via) => {
                let reason = format!("the {} passes service.{name} on", via.kind.as_str());
                flows.tcp(format!("service.{name}"), flows.guest(&via.on), at.clone(), &ports, reason);
                if service.speaks == Speaks::Tcp {
                    let reason = format!("service.{name} through the gateway");
                    for (word, from) in [("inside", End::Inside), ("outside", End::Outside)] {
                        let id = format!("listen.{name}.{word}");
                        flows.tcp(id, from, flows.guest(&via.on), &[via.port], reason.clone());
                    }
                    let reason = format!("Phoenix probes service.{name}");
                    flows.tcp(
                        format!("probe.{name}"),
                        End::THE_NODE,
                        flows.guest(&via.on),
                        &[via.port],
                        reason,
                    );
                }
            }
            None => {
                let reason = format!("service.{name} is exposed direct");
                for (word, from) in [("inside", End::Inside), ("outside", End::Outside)] {
                    flows.tcp(format!("service.{name}.{word}"), from, at.clone(), &ports, reason.clone());
                }
            }
        }
        // `trace` asks each hop on its own; on a loopback, from inside.
        if service.loopback {
            continue;
        }
        flows.tcp(
            format!("trace.{name}"),
            End::THE_NODE,
            at,
            &ports,
            "Phoenix probes and traces from the node",
        );
    }
}

/// To the node's shares, from where they may be reached; and from who mounts one, wherever that is.
fn shared(flows: &mut Flows<'_>, blueprint: &Blueprint) {
    let Some(node) = &blueprint.hypervisor else { return };
    for share in node.shares.values() {
        for (way, from, port) in shares::doors(share) {
            for net in from {
                let id = format!("share.{}.{way}.{net:#}", share.name).replace('/', "-");
                flows.tcp(id, End::Net(*net), End::THE_NODE, &[port], format!("the share {}", share.name));
            }
        }
    }
    for guest in blueprint.guests.values() {
        for mount in guest.shares.iter().filter(|mount| mount.source.is_some()) {
            let id = format!("share.{}.nfs.{}", mount.share, guest.name);
            let reason = format!("{} mounts the share {}", Address::of_guest(guest), mount.share);
            flows.tcp(id, flows.guest(&guest.name), End::THE_NODE, &[shares::NFS], reason);
        }
    }
}

/// To the workshop's own doors.
fn doors(flows: &mut Flows<'_>, parts: &Parts) {
    for name in parts.gateways.keys() {
        // The only one needs no name.
        let id = |word: &str| match parts.gateways.len() {
            1 => format!("gateway.{word}"),
            _ => format!("gateway.{name}.{word}"),
        };
        let reason = "the gateway is for everybody";
        flows.tcp(id("inside"), End::Inside, flows.guest(name), &WEB, reason);
        flows.tcp(id("outside"), End::Outside, flows.guest(name), &WEB, reason);
        flows.tcp(
            id("node"),
            End::THE_NODE,
            flows.guest(name),
            &WEB,
            "Phoenix probes and traces from the node",
        );
    }
    if let Some((name, _)) = &parts.mesh {
        let reason = format!("the {} is for the workshop's own guests", ViaKind::Mesh.as_str());
        flows.tcp("mesh.inside".into(), End::Inside, flows.guest(name), &[443], reason);
        flows.tcp(
            "mesh.node".into(),
            End::THE_NODE,
            flows.guest(name),
            &[443],
            "Phoenix probes and traces from the node",
        );
    }
    if let Some((name, _)) = &parts.dns {
        let at = flows.guest(name);
        flows.names("dns.inside", &End::Inside, &at, "guests ask for names");
        flows.names("dns.outside", &End::Outside, &at, "those outside ask for names");
        flows.names("dns.node", &End::THE_NODE, &at, "Phoenix probes and traces from the node");
    }
}

/// Into the machines that Phoenix enters by ssh.
fn entrances(flows: &mut Flows<'_>, blueprint: &Blueprint) {
    let by_ssh = |guest: &model::Guest| guest.vm().is_some_and(|vm| vm.enter == model::Enter::Ssh);
    for guest in blueprint.guests.values().filter(|guest| by_ssh(guest)) {
        let id = format!("enter.{}", guest.name);
        flows.tcp(id, End::THE_NODE, flows.guest(&guest.name), &[SSH], "Phoenix enters it by ssh");
    }
}

/// To the authority in a guest.
fn renewals(flows: &mut Flows<'_>, certificates: &Certificates) {
    let Some(authority) = &certificates.authority else { return };
    let renewing = certificates.by_name.values().filter(|c| c.issuer == Issuer::StepCa);
    let mut guests: Vec<&GuestName> = renewing.filter_map(|c| c.on.guest()).collect();
    guests.dedup();
    guests.sort();
    guests.dedup();
    for name in guests {
        let reason = "certificates renew by themselves";
        flows.tcp(format!("ca.{name}"), flows.guest(name), flows.guest(&authority.on), &[CA], reason);
    }
    flows.tcp(
        "ca.node".into(),
        End::THE_NODE,
        flows.guest(&authority.on),
        &[CA],
        "Phoenix probes and traces from the node",
    );
}

/// Who needs another may use its services, exposed or not, and what its features listen with.
fn needs(flows: &mut Flows<'_>, blueprint: &Blueprint) {
    for container in blueprint.guests.values() {
        for need in &container.needs {
            let Some(other) = blueprint.guests.get(need) else { continue };
            let ports: Vec<u16> =
                other.ports(|name| blueprint.features.get(name).map(AsRef::as_ref)).into_iter().collect();
            let reason = format!("{} needs {}", Address::of_guest(container), Address::of_guest(other));
            flows.tcp(
                format!("needs.{}.{need}", container.name),
                flows.guest(&container.name),
                flows.guest(need),
                &ports,
                reason,
            );
        }
    }
}

/// From Portainer to the agents of Docker hosts.
fn agents(flows: &mut Flows<'_>, parts: &Parts) {
    for portainer in &parts.portainers {
        for (agent, &(_, port)) in &parts.agents {
            let id = format!("portainer.{portainer}.{agent}");
            let reason = "Portainer shows its containers";
            flows.tcp(id, flows.guest(portainer), flows.guest(agent), &[port], reason);
        }
    }
}

/// Where web servers listen, and where proxies for packages do (apt-cacher-ng).
const WEB: [u16; 2] = [80, 443];
const PACKAGES: [u16; 3] = [80, 443, 3142];

/// To where packages come from.
fn packages(flows: &mut Flows<'_>, blueprint: &Blueprint, parts: &Parts) {
    let outside = [FlowEnd::Outside];
    let from = blueprint.firewall.as_ref().map_or(&outside[..], |firewall| &firewall.packages);
    for from in from {
        match from {
            FlowEnd::Guest(name) => {
                let Some(cache) = blueprint.guests.get(name) else { continue };
                let ports: Vec<u16> = match &parts.packages {
                    // What else is there is nobody's business who only wants packages.
                    Some((on, _, port)) if on == name => vec![*port],
                    _ => {
                        let feature = |name: &str| blueprint.features.get(name).map(AsRef::as_ref);
                        cache.ports(feature).into_iter().collect()
                    }
                };
                let at = flows.guest(name);
                let reason = format!("packages come through {}", Address::of_guest(cache));
                flows.tcp(format!("packages.{name}"), End::Inside, at.clone(), &ports, reason);
                let reason = "it fetches packages for all others";
                flows.tcp(format!("packages.{name}.outside"), at, End::Outside, &WEB, reason);
            }
            FlowEnd::Net(net) => {
                let id = format!("packages.{net}").replace('/', "-");
                flows.tcp(id, End::Inside, End::Net(*net), &PACKAGES, "packages are installed from there");
            }
            FlowEnd::Outside | FlowEnd::Inside => {
                let reason = "packages are installed from outside";
                flows.tcp("packages".into(), End::Inside, End::Outside, &WEB, reason);
            }
        }
    }
}

/// To the public authority, from whom it signs for.
fn public_authority(flows: &mut Flows<'_>, certificates: &Certificates) {
    let public = certificates.by_name.values().filter(|c| c.issuer == Issuer::Acme);
    let guests: BTreeSet<&GuestName> = public.filter_map(|c| c.on.guest()).collect();
    for name in guests {
        let reason = "the public authority signs its certificates";
        flows.tcp(format!("acme.{name}"), flows.guest(name), End::Outside, &WEB, reason);
    }
}

/// Packages, and names that the workshop does not answer itself.
fn outwards(flows: &mut Flows<'_>, blueprint: &Blueprint, parts: &Parts) {
    packages(flows, blueprint, parts);
    if let Some((name, _)) = &parts.dns {
        flows.names("upstream", &flows.guest(name), &End::Outside, "the name server asks others");
    }
    let alone: Vec<&model::Guest> =
        blueprint.guests.values().map(AsRef::as_ref).filter(|c| parts.resolves_alone(&c.name)).collect();
    // Without a name server of the workshop's own, all guests ask whoever their networks name.
    let mut servers: Vec<Ipv4Addr> = alone.iter().flat_map(|c| resolvers(blueprint, c, parts)).collect();
    servers.sort();
    servers.dedup();
    let from = |guest: &model::Guest| End::Host(Host::of_guest(guest));
    if parts.dns.is_none() {
        flows.names("names", &End::Inside, &End::Outside, "guests ask for names");
    } else {
        for container in alone.iter().filter(|c| !Parts::is(&parts.dns, &c.name)) {
            flows.names(
                &format!("names.{}", container.name),
                &from(container),
                &End::Outside,
                "asks for names",
            );
        }
    }
    for server in servers {
        let holder = blueprint.guests.values().find(|c| address_of(c) == Some(server));
        let to = holder.map_or_else(|| End::Net(Ipv4Cidr::new_host(server)), |holder| from(holder));
        flows.names(&format!("resolver.{server}"), &End::Inside, &to, "guests ask for names");
    }
}
