//! What is there after a run, as text that is the same whenever it is the same that is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lab::runtime::Runtime as _;
use lab::sim::World;
use managers::certificates::CertificateMark;
use managers::features::{Mode, Rendered, script};
use plan::address::kinds;
use plan::mark;
use plan::trust::Standing;
use proxmox::config::{GuestConfig, GuestKind};

use crate::site::Site;

/// Everything that is there: configurations, what runs, marks, and what is inside, without serial numbers. What
/// contradicts itself (a mark that says other than what is inside) is in the text as a line that begins with `WRONG`.
///
/// # Panics
/// When a guest has a mark that cannot be read.
pub async fn describe(world: &World, site: &Site) -> String {
    world.node.idle().await;
    let running = world.runtime.running().await;
    let mut out = String::new();
    for (id, text) in world.node.configuration_files() {
        let config = GuestConfig::parse(GuestKind::Container, &text);
        let _ = writeln!(out, "{id} {}", if running.contains(&id) { "running" } else { "stopped" });
        for (key, value) in &config.current.values {
            let _ = writeln!(out, "  {key}: {value}");
        }
        if !config.pending.is_empty() {
            let _ = writeln!(out, "  pending: {:?}", config.pending);
        }
        let description = config.current.description.as_deref().unwrap_or_default();
        let (words, found) = mark::parse(description).expect("a mark that can be read");
        let _ = writeln!(out, "  text: {words:?}");
        let Some(read) = found else { continue };
        let tags = config.current.get("tags").unwrap_or_default();
        if matches!(site.trust().of_guest(id, tags, read.clone()), Standing::Claimed(_)) {
            let _ = writeln!(out, "  WRONG: its mark is not sealed for it");
        }
        let mark = read.into_mark();
        let _ = writeln!(out, "  site: {}, address: {}", mark.site, mark.address);
        let _ = writeln!(out, "  features: {:?}", texts(&mark, kinds::FEATURE));
        let certificates: BTreeMap<_, _> = certificates(&mark)
            .into_iter()
            .map(|(name, c)| (name, (c.fingerprint, c.end - c.begin)))
            .collect();
        let _ = writeln!(out, "  certificates: {certificates:?}");
        let _ = writeln!(out, "  stacks: {:?}", texts(&mark, kinds::STACK));
        let _ = writeln!(out, "  services: {:?}", texts(&mark, kinds::SERVICE));
        if mark.site == site.desired.site && running.contains(&id) {
            inside(world, site, id, &mark, &mut out).await;
        }
    }
    datacenter(world, site, &mut out);
    node(world, &mut out).await;
    out.push_str(&world.runtime.zfs(|zfs| zfs.described()));
    for (volume, size) in world.node.kept_files() {
        let _ = writeln!(out, "{volume} of {size} bytes");
    }
    for line in world.shell.network().unwrap_or_default().lines() {
        let _ = writeln!(out, "network {line}");
    }
    for (name, text) in world.node.firewall_files().expect("in memory") {
        let _ = writeln!(out, "firewall {name}");
        for line in text.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

/// The definitions of storages, and which of them are remembered as the site's.
fn datacenter(world: &World, site: &Site, out: &mut String) {
    for (name, (kind, options)) in world.node.definitions() {
        let _ = writeln!(out, "storage {name}: {kind} {options:?}");
    }
    for mapping in world.node.mappings() {
        let _ = writeln!(out, "mapping {}/{}: {:?}", mapping.kind, mapping.id, mapping.map);
    }
    let notes = mark::notes::split(&world.node.notes(), &site.desired.site);
    let _ = writeln!(out, "notes: {:?}", notes.rest);
    let Some(read) = notes.own else { return };
    match site.trust().of_datacenter(read) {
        Standing::Ours(mark, _) => {
            let all: BTreeMap<_, _> = mark.of_kind(kinds::STORAGE).collect();
            let _ = writeln!(out, "  remembered: {all:?}");
            for name in all.keys().filter(|name| !world.node.definitions().contains_key(**name)) {
                let _ = writeln!(out, "  WRONG: {name} is remembered and not there");
            }
        }
        other => drop(writeln!(out, "  WRONG: the notes are not sealed: {other:?}")),
    }
}

/// What was done on the node itself, which stands where guests have their number with none.
async fn node(world: &World, out: &mut String) {
    let cat = |path: &str| ["cat".to_owned(), path.to_owned()];
    let (status, text, _) =
        world.runtime.exec(0, &cat(proxmox::inventory::MARK), b"").await.expect("it runs");
    if status != 0 {
        return;
    }
    let mark: plan::Mark = serde_json::from_slice(&text).expect("a mark that can be read");
    let _ = writeln!(out, "the node: {} {:?}", mark.address, texts(&mark, kinds::FEATURE));
    for (kind, name) in mark.applied().filter(|(kind, _)| [kinds::POOL, kinds::DATASET].contains(kind)) {
        let entry = mark.entry(&plan::Address::new(kind, name));
        let _ = writeln!(out, "  {kind}.{name}: {}", entry.map(ToString::to_string).unwrap_or_default());
    }
    for (name, wanted) in &certificates(&mark) {
        let _ = writeln!(out, "  {name}: {} {}", wanted.fingerprint, wanted.end - wanted.begin);
        let path = managers::certificates::path(name);
        let (_, pem, _) = world.runtime.exec(0, &cat(&path), b"").await.expect("it runs");
        if serial_of(&pem).as_ref() != Some(&wanted.serial) {
            let _ = writeln!(out, "  WRONG: {path} is another than the mark says");
        }
    }
}

/// Whether what is inside is what the mark says.
async fn inside(world: &World, site: &Site, id: u32, mark: &plan::Mark, out: &mut String) {
    let Some(container) = site.desired.guests.values().find(|c| c.id == id) else { return };
    let rendered: Vec<Rendered> = container
        .features
        .iter()
        .map(|f| serde_json::from_value((*f.payload).clone()).expect("a rendered feature"))
        .collect();
    if !rendered.is_empty() {
        let none = |_: &_| Err::<String, _>("no secrets here");
        let check = script(&rendered, Mode::Check, &none).expect("a script");
        let argv = ["sh", "-s"].map(str::to_owned);
        let (_, printed, _) = world.runtime.exec(id, &argv, &check.text).await.expect("it runs");
        for line in String::from_utf8_lossy(&printed).lines().filter(|l| l.contains("feature")) {
            let said: serde_json::Value = serde_json::from_str(line).expect("a report");
            let (name, same) = (said["feature"].as_str().unwrap_or_default(), said["changed"] == 0);
            let marked = container.features.iter().any(|f| {
                f.name == name && texts(mark, kinds::FEATURE).get(name) == Some(&f.fingerprint.as_str())
            });
            if same != marked {
                let _ = writeln!(out, "  WRONG: {name} is inside: {same}, the mark says: {marked}");
            }
        }
    }
    for (name, wanted) in &certificates(mark) {
        let path = managers::certificates::path(name);
        let argv = ["cat".to_owned(), path.clone()];
        let (status, pem, _) = world.runtime.exec(id, &argv, b"").await.expect("it runs");
        let serial = (status == 0).then(|| serial_of(&pem)).flatten();
        if serial.as_ref() != Some(&wanted.serial) {
            let _ = writeln!(out, "  WRONG: {path} has {serial:?}, the mark says {}", wanted.serial);
        }
    }
}

fn texts<'a>(mark: &'a plan::Mark, kind: &str) -> BTreeMap<&'a str, &'a str> {
    mark.of_kind(kind).filter_map(|(name, entry)| Some((name, entry.as_str()?))).collect()
}

fn certificates(mark: &plan::Mark) -> BTreeMap<&str, CertificateMark> {
    let of =
        |name| CertificateMark::of(mark, &plan::Address::certificate(name)).expect("a certificate's mark");
    mark.names(kinds::CERTIFICATE).map(|name| (name, of(name))).collect()
}

fn serial_of(pem: &[u8]) -> Option<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let digits: String = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(digits)
}

/// The identity of every guest of the site: id, name, MAC addresses and addresses.
pub fn identities(world: &World) -> BTreeMap<u32, String> {
    world
        .node
        .configuration_files()
        .into_iter()
        .map(|(id, text)| {
            let config = GuestConfig::parse(GuestKind::Container, &text).current.values;
            let get = |key: &str| config.get(key).cloned().unwrap_or_default();
            (id, format!("{} {}", get("hostname"), get("net0")))
        })
        .collect()
}
