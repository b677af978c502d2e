//! What is nearest to the wire: the far end's network device, its address, and who answers for that on the network.

use std::net::Ipv4Addr;

use proxmox::config::GuestKind;
use proxmox::inventory::GuestFile;

use super::super::devices::Device;
use super::super::finding::{Cause, Finding, Hop};
use super::super::neighbour::Neighbour;
use super::World;
use super::tcp::To;

/// All that is wrong there, the nearest first.
pub fn near(world: &World<'_>, to: To<'_>, neighbour: Option<&Neighbour>) -> Vec<Cause> {
    device(world, to).into_iter().chain(taken(world, to, neighbour)).collect()
}

/// The same as a hop of its own, where a connection stands in spite of it.
pub fn link(world: &World<'_>, place: &str, to: To<'_>, neighbour: Option<&Neighbour>) -> Option<Finding> {
    let mut all = near(world, to, neighbour).into_iter();
    let seen = format!("{} is not as it should be on its network", to.address);
    let mut finding = Finding::broken(Hop::Link, place, seen, all.next()?).weak();
    finding.also = all.collect();
    Some(finding)
}

/// What a guest says of the device that is to have the address. Nothing where it could not list them.
fn device(world: &World<'_>, to: To<'_>) -> Option<Cause> {
    let container = world.desired.guests.get(to.guest)?;
    let has = |inet: &str| inet.split('/').next().is_some_and(|found| found.parse() == Ok(to.address));
    let declared = container.nets.values().find(|nic| has(&nic.ip))?;
    let devices = &world.seen(to.guest)?.devices;
    let (name, guest, id) = (&declared.name, to.guest, container.id);
    if devices.is_empty() {
        return None;
    }
    let again = format!(
        "phoenix-cli exec {guest} -- ip link set {name} up; if that is not enough, on the node: pct reboot {id}"
    );
    let down = |what: &str, hint: String| {
        Some(Cause::new(
            "trace::link-down",
            format!("{name} of {it}, its way to the network, {what}", it = world.called(guest)),
            hint,
        ))
    };
    match devices.get(name) {
        None => return down("is not there", format!("on the node: pct reboot {id}")),
        Some(Device { up: false, .. }) => return down("is switched off in it", again),
        Some(Device { carrier: false, .. }) => {
            let hint = format!(
                "on the node: pct config {id} shows whether it says link_down=1; phoenix-cli apply --target {it}",
                it = world.called(guest)
            );
            return down("is not connected on the node's side", hint);
        }
        Some(_) => {}
    }
    let everywhere = || devices.values().flat_map(|device| &device.addresses);
    (!everywhere().any(|inet| has(inet))).then(|| {
        let others: Vec<&str> = everywhere().map(String::as_str).collect();
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        Cause::new(
            "trace::address-missing",
            format!(
                "{it} does not have the address {} that is declared for it; it has {others}",
                to.address,
                it = world.called(guest)
            ),
            format!(
                "phoenix-cli apply --target {it}; if that is not enough, on the node: pct reboot {id}",
                it = world.called(guest)
            ),
        )
    })
}

/// Somebody else answers for the address.
fn taken(world: &World<'_>, to: To<'_>, neighbour: Option<&Neighbour>) -> Option<Cause> {
    let mac = stranger(world, to, neighbour)?;
    let own = own_mac(world, to.guest, to.address)?;
    let said = format!("{mac} answers for {}, which is {}'s ({own})", to.address, world.called(to.guest));
    let (whose, hint) = match world.holders.get(mac) {
        Some(Holder { id, kind, name }) => {
            let (what, tool) = match kind {
                GuestKind::Container => ("container", "pct"),
                GuestKind::Vm => ("virtual machine", "qm"),
            };
            let ours = world.desired.guests.values().find(|c| c.id == *id);
            let hint = match ours {
                Some(ours) => {
                    format!("phoenix-cli apply --target {}; on the node: {tool} config {id}", ours.resource())
                }
                None => format!(
                    "on the node: {tool} config {id}; give one of both another address, or stop that one: {tool} stop {id}"
                ),
            };
            (format!("that is the {what} {id} ({name})"), hint)
        }
        None => (
            "that is a stranger: no guest of the node has it".to_owned(),
            format!(
                "on the node: bridge fdb show | grep -i {mac} shows behind which port it is; give one of both another address"
            ),
        ),
    };
    Some(Cause::new("trace::address-taken", format!("{said}; {whose}"), hint))
}

/// The MAC that answers, where it is not the declared one.
pub fn stranger<'a>(world: &World<'_>, to: To<'_>, neighbour: Option<&'a Neighbour>) -> Option<&'a str> {
    let Some(Neighbour::Answers(mac) | Neighbour::Remembered(mac)) = neighbour else { return None };
    let own = own_mac(world, to.guest, to.address)?;
    (!own.eq_ignore_ascii_case(mac)).then_some(mac.as_str())
}

fn own_mac<'a>(world: &World<'a>, guest: &str, address: Ipv4Addr) -> Option<&'a str> {
    let nets = &world.desired.guests.get(guest)?.nets;
    let has = |ip: &str| ip.split('/').next().is_some_and(|found| found.parse() == Ok(address));
    nets.values().find(|nic| has(&nic.ip)).map(|nic| nic.mac.as_str())
}

/// A guest of the node's, or of its cluster, that has a MAC which should not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub id: u32,
    /// What it is.
    pub kind: GuestKind,
    /// Its name there.
    pub name: String,
}

/// The guest with this MAC in its configuration. The name is `hostname` of a container, `name` of a virtual machine.
pub fn holder<'a>(mac: &str, mut guests: impl Iterator<Item = &'a GuestFile>) -> Option<Holder> {
    let mac = mac.to_uppercase();
    let has = |(key, value): (&String, &String)| {
        key.strip_prefix("net").is_some_and(|slot| slot.parse::<u8>().is_ok())
            && value.to_uppercase().contains(&mac)
    };
    let found = guests.find(|guest| guest.config.current.values.iter().any(has))?;
    let key = if found.kind == GuestKind::Container { "hostname" } else { "name" };
    let name = found.config.current.get(key).unwrap_or("without a name").to_owned();
    Some(Holder { id: found.id, kind: found.kind, name })
}
