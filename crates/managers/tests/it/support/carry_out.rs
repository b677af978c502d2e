//! Carrying out a plan on an inventory, as a node and the crews would, with no node: by the steps' instructions alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use managers::lxc::work::{Create, Update, Work};
use plan::inventory::{Guest, Inventory};
use plan::mark::Mark;
use plan::{Address, Consent, Plan, Step};

use super::world;

/// What a running container takes only at a restart: a fact of the recordings of a real node.
const AT_RESTART: [&str; 3] = ["features", "nameserver", "searchdomain"];

/// The world after the plan was carried out with every consent given, and the steps that were refused all the same or
/// needed one that was.
pub fn carry_out(plan: &Plan, before: &Inventory, now: Timestamp) -> (Inventory, BTreeSet<Address>) {
    let mut there = before.clone();
    let mut skipped = BTreeSet::new();
    for step in &plan.steps {
        let refused = matches!(step.consent, Consent::Refused(_));
        if refused || step.needs.iter().any(|n| skipped.contains(n)) {
            skipped.insert(step.address.clone());
            continue;
        }
        there.found.remove(&step.address);
        match step.address.kind() {
            "container" => container(step, &mut there),
            "feature" => match apply::work(step).unwrap() {
                managers::features::crew::Work::Install(install) => {
                    let mark = ours(&mut there, install.id);
                    mark.remember(&step.address, install.fingerprint);
                }
                managers::features::crew::Work::Remove(gone) => {
                    let mark = ours(&mut there, gone.id);
                    assert!(mark.forget(&step.address).is_some(), "what is removed is there");
                }
            },
            "authority" => {
                let work: managers::authority::Work = apply::work(step).unwrap();
                ours(&mut there, work.id)
                    .remember(&step.address, &world::authority_mark(&work.authority, now));
            }
            "certificate" => match apply::work(step).unwrap() {
                managers::certificates::Work::Put(put) => {
                    let made = world::certificate_mark(&put.certificate, now);
                    ours(&mut there, put.id).remember(&step.address, &made);
                }
                managers::certificates::Work::Remove(gone) => {
                    let mark = ours(&mut there, gone.id);
                    assert!(mark.forget(&step.address).is_some(), "what is removed is there");
                }
            },
            "hypervisor" => hypervisor(step, &mut there, now),
            "service" => {
                let work: managers::services::Work = apply::work(step).unwrap();
                ours(&mut there, work.id).remember(&step.address, work.service.fingerprint);
            }
            "firewall" => firewall(step, &mut there),
            other => panic!("a step of the kind `{other}`"),
        }
    }
    (there, skipped)
}

fn hypervisor(step: &Step, there: &mut Inventory, now: Timestamp) {
    use managers::hypervisor::Work;
    there.hypervisor = match apply::work(step).unwrap() {
        Work::Put(put) => {
            let mut mark = put.mark;
            let made = world::certificate_mark(&put.certificate, now);
            mark.remember(&plan::Address::certificate(&put.certificate.name), &made);
            Some(mark)
        }
        Work::Remove { .. } => {
            assert!(there.hypervisor.is_some(), "what is removed is there");
            None
        }
    };
}

/// Writes the files, which are as the plan took them to be.
pub fn firewall(step: &Step, there: &mut Inventory) {
    let work: managers::firewall::diff::Work = apply::work(step).unwrap();
    for file in work.files {
        assert_eq!(there.firewall.get(&file.name), file.old.as_ref(), "{}", file.name);
        match file.new {
            Some(text) => there.firewall.insert(file.name, text),
            None => there.firewall.remove(&file.name),
        };
    }
    there.unconfirmed = None;
}

fn ours(there: &mut Inventory, id: u32) -> &mut Mark {
    let guest = there.guests.get_mut(&id).unwrap_or_else(|| panic!("a step in {id}, which is not there"));
    assert!(guest.running, "a step in {id}, which does not run");
    guest.mark.as_mut().unwrap_or_else(|| panic!("a step in {id}, which has no mark"))
}

fn container(step: &Step, there: &mut Inventory) {
    match apply::work(step).unwrap() {
        Work::Create(create) => make(&create, there),
        Work::Update(update) => change(&update, there),
        Work::Delete(place) => {
            let gone = there.guests.remove(&place.id).expect("what is destroyed is there");
            there.firewall.remove(&format!("{}.fw", place.id));
            assert_eq!(gone.node, place.node);
        }
    }
}

fn make(create: &Create, there: &mut Inventory) {
    if let Some(old) = &create.replaces {
        there.guests.remove(&old.id).expect("what is replaced is there");
        there.firewall.remove(&format!("{}.fw", old.id));
    }
    let id = create.place.id;
    let (mut values, mut description, mut pool) = (BTreeMap::new(), String::new(), None);
    for (key, value) in create.params.iter().chain(&create.root) {
        match key.as_str() {
            "ostemplate" => assert!(there.templates.contains(value), "there is no template {value}"),
            "description" => description.clone_from(value),
            "pool" => pool = Some(value.clone()),
            _ => drop(values.insert(key.clone(), value_of(id, key, value))),
        }
    }
    let (text, mark) = plan::mark::parse(&description).unwrap();
    let mut guest = world::read(id, &values, &(text, mark.expect("what is made is marked")));
    guest.node.clone_from(&create.place.node);
    guest.name = values["hostname"].clone();
    guest.running = true;
    guest.pool = pool;
    assert!(there.guests.insert(id, guest).is_none(), "{id} was there already");
}

/// A value as the node keeps it: volumes that are to be made are made.
fn value_of(id: u32, key: &str, value: &str) -> String {
    if key != "rootfs" && !key.starts_with("mp") {
        return value.to_owned();
    }
    let (volume, rest) = value.split_once(',').unwrap_or((value, ""));
    let Some((storage, gib)) = volume.split_once(':').and_then(|(s, n)| Some((s, n.parse::<u64>().ok()?)))
    else {
        return value.to_owned();
    };
    let number = key.strip_prefix("mp").map_or(0, |slot| slot.parse::<u32>().unwrap() + 1);
    let made = world::volume(storage, id, number, gib);
    if rest.is_empty() { made } else { made.replacen(',', &format!(",{rest},"), 1) }
}

fn change(update: &Update, there: &mut Inventory) {
    let guest = there.guests.get_mut(&update.id).expect("what is changed is there");
    assert_eq!((&guest.node, &guest.digest), (&update.node, &update.digest));
    for (key, value) in update.set.iter().chain(&update.root) {
        match key.as_str() {
            "delete" => put(guest, value, None),
            "revert" => drop(guest.pending.remove(value)),
            _ => {}
        }
        if ["delete", "revert"].contains(&key.as_str()) {
            continue;
        }
        let value = value_of(update.id, key, value);
        put(guest, key, Some(value));
    }
    for key in &update.delete {
        put(guest, key, None);
    }
    for key in &update.revert {
        guest.pending.remove(key);
    }
    for (key, size) in &update.grow {
        let old = guest.config.as_ref().unwrap()[key].clone();
        let new: Vec<String> = old
            .split(',')
            .map(|p| if p.starts_with("size=") { format!("size={size}") } else { p.to_owned() })
            .collect();
        guest.config.as_mut().unwrap().insert(key.clone(), new.join(","));
    }
    if let Some(pool) = &update.pool {
        guest.pool = Some(pool.clone());
    }
    if let Some(text) = &update.text {
        guest.text.clone_from(text);
    }
    if let Some(keep) = &update.keep {
        keep.apply_to(guest.mark.as_mut().unwrap());
    }
    if let Some(set) = &update.remember {
        guest.mark.as_mut().unwrap().set.clone_from(set);
    }
    for key in &update.forget {
        assert!(guest.mark.as_mut().unwrap().set.remove(key).is_some(), "what is forgotten was remembered");
    }
    assert!(!(update.restart && update.start), "started or restarted, not both");
    assert!(!update.restart || guest.running, "what does not run is not restarted");
    if update.restart || update.start {
        for (key, value) in std::mem::take(&mut guest.pending) {
            let config = guest.config.as_mut().unwrap();
            match value {
                Some(value) => {
                    // The node looks at the volume for its size (pve-container, `apply_pending_mountpoint`).
                    let size = |v: &str| v.split(',').find(|p| p.starts_with("size=")).map(str::to_owned);
                    let value = match (size(&value), config.get(&key).and_then(|v| size(v))) {
                        (Some(old), Some(now)) => value.replace(&old, &now),
                        _ => value,
                    };
                    config.insert(key, value)
                }
                None => config.remove(&key),
            };
        }
        guest.running = true;
    }
}

/// Sets or removes a key: at once, or at the next restart.
fn put(guest: &mut Guest, key: &str, value: Option<String>) {
    let config = guest.config.as_mut().unwrap();
    // Deleting what is only waiting leaves it waiting (recorded); it has to be reverted.
    if value.is_none() && !config.contains_key(key) {
        return;
    }
    guest.pending.remove(key);
    // What waits and is then what is there already, waits no more (pve-container, `cleanup_pending`).
    if config.get(key) == value.as_ref() {
        return;
    }
    let mount_there = key.starts_with("mp") && config.contains_key(key);
    if guest.running && (AT_RESTART.contains(&key) || mount_there) {
        guest.pending.insert(key.to_owned(), value);
        return;
    }
    match value {
        Some(value) => config.insert(key.to_owned(), value),
        None => config.remove(key),
    };
}
