//! `lab`: a Proxmox VE-compatible node on this machine.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt as _;

use blueprint::model::Blueprint;
use camino::Utf8PathBuf;
use lab::up::{self, Deed, Event, LabSpec, Network, Ports};
use serde_json::json;

use crate::args::{Global, LabCommand, LabDown, LabUp, MachineCommand};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::Printer;

/// Leads to what is to be done with the lab.
pub async fn run(global: &Global, command: LabCommand, printer: Printer) -> Outcome {
    match command {
        LabCommand::Up(options) => start(global, &options, printer).await,
        LabCommand::Down(options) => stop(global, &options, printer).await,
        LabCommand::Status => status(global, printer).await,
        LabCommand::Shell(options) => {
            let argv = up::shell(&folder_of(global, printer)?, options.guest).map_err(|e| wrong(&e))?;
            let error = std::process::Command::new(&argv[0]).args(&argv[1..]).exec();
            Err(CommandError::from_error("lab::shell", &error))
        }
        LabCommand::Machine(options) => machine(global, options.command, printer).await,
        LabCommand::Serve(raw) => raw_entry("serve", raw.args).await,
        LabCommand::Forward(raw) => raw_entry("forward", raw.args).await,
        LabCommand::Node(raw) => raw_entry("node", raw.args).await,
    }
}

async fn raw_entry(command: &str, args: Vec<String>) -> Outcome {
    let mut all = vec![command.to_owned()];
    all.extend(args);
    let code = up::entry(&all).await;
    Ok(u8::try_from(code).unwrap_or(1))
}

fn wrong(error: &up::Error) -> CommandError {
    CommandError::from_error("lab::failed", error).hint_if(error.hint())
}

/// The lab's folder, also when the blueprint cannot be read any more: a lab must always be possible to end.
fn folder_of(global: &Global, printer: Printer) -> Result<Utf8PathBuf, CommandError> {
    let root = site::folder(&global.site)?;
    let catalog = site::catalog()?;
    match blueprint::load(&root, &catalog) {
        Ok(loaded) => Ok(site::lab_folder(&loaded.blueprint)),
        Err(_) => {
            printer.warn("the blueprint cannot be read; taking the default folder of a site's lab");
            Ok(site::default_lab(&root))
        }
    }
}

/// What the lab must have for this site: its networks, its storages, and where its gateway is.
fn spec(blueprint: &Blueprint, options: &LabUp) -> Result<LabSpec, CommandError> {
    // The bridges without cards that the blueprint declares of the node, it makes.
    let links = blueprint.hypervisor.iter().flat_map(|node| node.network.values());
    let inner: Vec<&str> = links.filter(|it| it.parts().is_empty()).map(|it| it.name.as_str()).collect();
    let lans = blueprint.networks.values().filter(|network| !inner.contains(&&*network.bridge));
    let networks: Vec<Network> = lans
        .map(|n| Network {
            bridge: n.bridge.to_string(),
            subnet: n.subnet,
            gateway: n.gateway.unwrap_or_else(|| {
                std::net::Ipv4Addr::from(u32::from(n.subnet.first_address()).saturating_add(1))
            }),
            node: None,
        })
        .collect();
    if let Some(vlan) = blueprint.networks.iter().find(|(_, n)| n.vlan.is_some()) {
        return Err(CommandError::failed(
            "lab::no-vlan",
            format!("the lab has no VLANs, and the network `{}` is one", vlan.0),
        )
        .hint("take `vlan` out for the lab"));
    }
    let declared = blueprint.guests.values().flat_map(|guest| guest.storages());
    // What the blueprint declares, it makes.
    let others = declared.filter(|name| *name != "local" && !blueprint.storages.contains_key(*name));
    let mut storages: Vec<String> = others.map(str::to_owned).collect();
    storages.sort();
    storages.dedup();
    let catalog = &blueprint.features;
    let gateway = blueprint.guests.values().find(|c| {
        c.features
            .iter()
            .any(|f| catalog.get(&f.name).is_some_and(|f| f.spec.provides.iter().any(|p| p == "gateway")))
    });
    let https_target = gateway.and_then(|c| c.nets.values().next()).and_then(|n| match n.address {
        blueprint::model::NicAddress::Static(inet) => Some(SocketAddrV4::new(inet.address(), 443)),
        blueprint::model::NicAddress::Dhcp => None,
    });
    let var = |name: &str| std::env::var(name).ok();
    let mut nodes = up::node_names(nodes(blueprint, options)).into_iter();
    Ok(LabSpec {
        folder: site::lab_folder(blueprint),
        node: nodes.next().unwrap_or_default(),
        others: nodes.collect(),
        networks,
        storages,
        ports: ports(blueprint, options),
        reserved: addresses(blueprint),
        https_target,
        program: None,
        cache: up::cache_folder(var("PHOENIX_CACHE").as_deref(), var("HOME").as_deref()),
        machine: machine_spec(blueprint, options),
    })
}

/// Whether its node is a machine: as was typed, else as the blueprint says, else as it is already.
fn machine_spec(blueprint: &Blueprint, options: &LabUp) -> Option<up::MachineSpec> {
    let said = match &blueprint.target {
        blueprint::model::Target::Lab(lab) => lab.machine,
        blueprint::model::Target::Proxmox(_) => None,
    };
    let now = || up::NodeRecord::read(&site::lab_folder(blueprint)).is_some_and(|record| record.machine);
    let usual = up::MachineSpec::default();
    let spec = up::MachineSpec { disks: options.disks.unwrap_or(usual.disks), ..usual };
    (options.machine || said.unwrap_or_else(now)).then_some(spec)
}

/// How many nodes the lab has: as was typed, else as the blueprint says, else as it has already.
fn nodes(blueprint: &Blueprint, options: &LabUp) -> u8 {
    let said = match &blueprint.target {
        blueprint::model::Target::Lab(lab) => lab.nodes,
        blueprint::model::Target::Proxmox(_) => None,
    };
    let now = up::NodeRecord::read(&site::lab_folder(blueprint))
        .and_then(|record| u8::try_from(1 + record.others.len()).ok());
    options.nodes.or(said).or(now).unwrap_or(1)
}

/// The addresses that are somebody's.
fn addresses(blueprint: &Blueprint) -> BTreeSet<Ipv4Addr> {
    let nics = blueprint.guests.values().flat_map(|c| c.nets.values());
    let fixed = nics.filter_map(|nic| match nic.address {
        blueprint::model::NicAddress::Static(inet) => Some(inet.address()),
        blueprint::model::NicAddress::Dhcp => None,
    });
    fixed.chain(blueprint.hypervisor.iter().filter_map(|node| node.address)).collect()
}

/// Where the lab is published: as was typed, else as the blueprint says, else as it is already.
fn ports(blueprint: &Blueprint, options: &LabUp) -> Ports {
    let said = match &blueprint.target {
        blueprint::model::Target::Lab(lab) => lab.ports.clone(),
        blueprint::model::Target::Proxmox(_) => blueprint::model::LabPorts::default(),
    };
    // A simulated lab has no ssh and no HTTPS, so its record has no ports for them.
    let now = up::NodeRecord::read(&site::lab_folder(blueprint)).map(|record| record.ports);
    let now = |port: fn(Ports) -> u16| now.map(port).filter(|port| *port != 0);
    let usual = Ports::default();
    Ports {
        api: options.api_port.or(said.api).or_else(|| now(|p| p.api)).unwrap_or(usual.api),
        ssh: options.ssh_port.or(said.ssh).or_else(|| now(|p| p.ssh)).unwrap_or(usual.ssh),
        https: options.https_port.or(said.https).or_else(|| now(|p| p.https)).unwrap_or(usual.https),
    }
}

fn tell(event: Event, printer: Printer) {
    match event {
        Event::Doing { what, usually } => {
            printer.say(format!("… {what} (usually {} s)", usually.as_secs().max(1)));
        }
        Event::Note(note) => printer.say(format!("  {note}")),
    }
}

/// Does something to the machine that the node is.
async fn machine(global: &Global, command: MachineCommand, printer: Printer) -> Outcome {
    let deed = match command {
        MachineCommand::Cut => Deed::Cut,
        MachineCommand::Boot => Deed::Boot,
        MachineCommand::Reset => Deed::Reset,
        MachineCommand::Reinstall => Deed::Reinstall,
        MachineCommand::Pull(one) => Deed::Pull(one.part),
        MachineCommand::Insert(one) => Deed::Insert(one.part),
        MachineCommand::Replace(one) => Deed::Replace(one.part),
    };
    let report = |event: Event| tell(event, printer);
    let said = up::machine(&folder_of(global, printer)?, deed, &report).await.map_err(|e| wrong(&e))?;
    if printer.json {
        printer.data_json(&json!({ "said": said }));
    } else {
        printer.say(format!("✔ {said}"));
    }
    Ok(0)
}

/// Starts the lab, or mends it.
pub(super) async fn start(global: &Global, options: &LabUp, printer: Printer) -> Outcome {
    let loaded = opening::load(global, printer)?;
    let spec = spec(&loaded.blueprint, options)?;
    if spec.folder.starts_with(site::state(&loaded.blueprint.root)) {
        site::made_state(&loaded.blueprint.root)?;
    }
    let report = |event: Event| tell(event, printer);
    let result = if options.simulated {
        up::up_simulated(&spec, &report).await
    } else {
        match up::up(&spec, &report).await {
            Err(error) if error.simulated_helps() && spec.machine.is_none() => {
                printer.warn(format!("no real containers here: {error}"));
                if let Some(hint) = error.hint() {
                    printer.say(format!("  hint: {hint}"));
                }
                printer.say("taking the simulated runtime instead: guests are records, and nothing really runs in them");
                up::up_simulated(&spec, &report).await
            }
            other => other,
        }
    };
    let (record, found) = result.map_err(|e| wrong(&e))?;
    if printer.json {
        printer.data_json(&serde_json::to_value(&record).unwrap_or_default());
        return Ok(0);
    }
    let word = match found {
        up::Found::Nothing => "runs",
        up::Found::Repaired => "ran, and was mended",
        up::Found::Running => "runs already",
    };
    let kind =
        if record.runtime == lab::runtime::RuntimeKind::Simulated { "the simulated lab" } else { "the lab" };
    printer.say(format!("✔ {kind} {word}: {} is at {}", record.node, record.endpoint));
    if !record.others.is_empty() {
        printer.say(format!("  in one cluster with it: {}", record.others.join(", ")));
    }
    if let Some(ssh) = &record.ssh {
        printer.say(format!("  ssh: ssh -p {} -i {} {}", ssh.port, ssh.identity, ssh.destination));
    }
    if let Some(ports) = only_typed(&loaded.blueprint, options) {
        printer.say(format!(
            "  these ports are its own until `lab down`; for good, in the blueprint: \"target\": {{ \"lab\": {{ \"ports\": {{ {ports} }} }} }}"
        ));
    }
    Ok(0)
}

/// The ports that were typed and that the blueprint does not say, as it would say them.
fn only_typed(blueprint: &Blueprint, options: &LabUp) -> Option<String> {
    let blueprint::model::Target::Lab(lab) = &blueprint.target else { return None };
    let all = [
        ("api", options.api_port, lab.ports.api),
        ("ssh", options.ssh_port, lab.ports.ssh),
        ("https", options.https_port, lab.ports.https),
    ];
    let typed = all.into_iter().filter_map(|(name, typed, said)| {
        let port = typed.filter(|port| said != Some(*port))?;
        Some(format!("\"{name}\": {port}"))
    });
    let typed: Vec<String> = typed.collect();
    (!typed.is_empty()).then(|| typed.join(", "))
}

/// Ends the lab, and removes all that it made.
pub(super) async fn stop(global: &Global, options: &LabDown, printer: Printer) -> Outcome {
    if !options.all {
        site::Control::close_kept(&site::folder(&global.site)?, &crate::opening::environment()).await;
    }
    let removed = if options.all {
        up::sweep().await.map_err(|e| wrong(&e))?
    } else {
        up::down(&folder_of(global, printer)?).await.map_err(|e| wrong(&e))?
    };
    if printer.json {
        printer.data_json(&json!({ "removed": removed.things }));
        return Ok(0);
    }
    if removed.things.is_empty() {
        printer.say("there was no lab");
    } else {
        for thing in &removed.things {
            printer.say(format!("- {thing}"));
        }
        printer.say("✔ the lab is gone");
    }
    Ok(0)
}

/// The parts of a machine that can be pulled, a line each.
fn parts(hardware: &up::Hardware) -> Vec<String> {
    let line = |name: &str, there: bool, what: String| {
        let pulled = if there { "" } else { "  (pulled)" };
        format!("  {name:<7} {what}{pulled}")
    };
    let disk = |disk: &up::Disk| {
        line(&disk.name, disk.there, format!("{} GiB  /dev/disk/by-id/{}", disk.bytes >> 30, disk.by_id()))
    };
    let links = hardware.links.iter().map(|link| line(&link.name, link.there, link.mac.clone()));
    hardware.disks.iter().map(disk).chain(links).collect()
}

async fn status(global: &Global, printer: Printer) -> Outcome {
    let status = up::status(&folder_of(global, printer)?).await.map_err(|e| wrong(&e))?;
    if printer.json {
        printer.data_json(&serde_json::to_value(&status).unwrap_or_default());
        return Ok(0);
    }
    let simulated = status.record.runtime == lab::runtime::RuntimeKind::Simulated;
    printer.data(format!(
        "{} {} · {} · {}",
        if status.running { "●" } else { "○" },
        status.record.node,
        match simulated {
            true => "simulated: guests are records, nothing runs in them",
            false if status.record.machine => "a machine of its own, with real LXC containers",
            false => "real LXC containers",
        },
        status.record.endpoint,
    ));
    let ports = status.record.ports;
    printer.data(format!(
        "  published on 127.0.0.1: API {}, ssh {}, HTTPS {}",
        ports.api, ports.ssh, ports.https
    ));
    if !status.record.others.is_empty() {
        printer.data(format!("  in one cluster with it: {}", status.record.others.join(", ")));
    }
    for (name, service) in &status.services {
        let trouble = service.trouble.iter().map(|why| format!("  ({why})")).collect::<String>();
        printer.data(format!("  {name}: {}{trouble}", service.url()));
    }
    for part in status.hardware.iter().flat_map(parts) {
        printer.data(part);
    }
    for guest in &status.guests {
        let line = format!(
            "{} {:>9}  {:<24} {}",
            if guest.running { "●" } else { "○" },
            guest.id,
            guest.name,
            guest.address.as_deref().unwrap_or("–")
        );
        printer.data(match &guest.node {
            Some(node) => format!("{line:<54} on {node}"),
            None => line,
        });
    }
    Ok(0)
}
