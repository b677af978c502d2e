//! What differs between the rules wanted and those in the files. Pure; files are compared by what they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apply::Crew;

use plan::address::kinds;
use plan::desired::{End, Firewall, Guest};
use plan::inventory::Unread;
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::step::SITE_GOES;
use plan::{Action, Address, Change, Desired, Inventory, Problem, Step};
use proxmox::firewall::change::FileChange;
use proxmox::firewall::judge::{enabled, policy_of};
use proxmox::firewall::{Action as Verdict, Direction, FirewallFile, Range, Rule};
use proxmox::inventory::{Guests, host_fw};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::files::{Wanted, before, is_in, set_head, text, with, without};
use super::rules::Ends;
use super::way::Way;
use super::{SITE, names, prefix};
use crate::features::diff::mark_after;
use crate::worksite::Worksite;
use crate::{Manager, network};

/// The cluster's file.
const CLUSTER: &str = "cluster.fw";

/// Firewalls, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Firewalls;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallWork {
    /// Files are written.
    Write {
        /// The files in the order in which they are written.
        files: Vec<FileChange>,
    },
}

impl Manager for Firewalls {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(super::FirewallCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let firewall = desired.firewall.as_ref()?;
        let flows = |of: &dyn Fn(&End) -> bool| {
            let ids = desired.flows.iter().filter(|flow| of(&flow.from) || of(&flow.to));
            ids.map(|flow| flow.id.as_str()).collect::<Vec<_>>().join(", ")
        };
        if address.name() == SITE {
            let nets = |nets: &[cidr::Ipv4Cidr]| {
                nets.iter().map(|n| format!("{n:#}")).collect::<Vec<_>>().join(", ")
            };
            return Some(json!({
                "zero trust": firewall.zero_trust, "inside": nets(&firewall.subnets),
                "management": if firewall.management.is_empty() { "anybody".to_owned() } else { nets(&firewall.management) },
                "flows": flows(&|end| matches!(end, End::Host(host) if host.is_node())),
            }));
        }
        let guest = desired.guests.get(address.name())?;
        Some(json!({
            "guest": guest.resource(), "file": format!("{}.fw", guest.id),
            "flows": flows(&|end| end.guest() == Some(&guest.name)),
        }))
    }

    /// The files.
    fn observe(&self, read: &mut Guests, inventory: &mut Inventory) {
        inventory.firewall = std::mem::take(&mut read.firewall);
        let unread = std::mem::take(&mut read.firewall_unread).into_iter();
        inventory.unread.extend(unread.map(|(name, why)| Unread { what: what(&name), why }));
        inventory.unconfirmed = read.unconfirmed.take();
    }
}

impl Kind for Firewalls {
    fn kind(&self) -> &'static str {
        kinds::FIREWALL
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        match &world.desired.firewall {
            Some(firewall) if !world.options.destroy => Declared { world, firewall }.diff(proposal),
            _ => gone(world, proposal),
        }
    }

    fn telling(&self, _: &Step) -> Telling {
        Telling { one_a_guest: true, ..Telling::default() }
    }
}

/// What a file is called among what could not be read.
fn what(name: &str) -> String {
    format!("the firewall's file {name}")
}

/// A file of the inventory.
fn file(world: World<'_>, name: &str) -> FirewallFile {
    FirewallFile::parse(world.inventory.firewall.get(name).map_or("", String::as_str))
}

/// A file's change, where there is one.
fn changed(world: World<'_>, name: &str, old: &FirewallFile, new: &FirewallFile) -> Option<FileChange> {
    let there = world.inventory.firewall.get(name).cloned();
    let change = FileChange { name: name.to_owned(), old: there, new: text(new) };
    (old != new && change.old != change.new).then_some(change)
}

/// What is wrong with carrying on.
fn problem(address: &Address, code: &str, message: String, hint: String) -> Problem {
    Problem { address: address.clone(), code: code.to_owned(), message, hint }
}

/// A firewall that is declared.
struct Declared<'a> {
    world: World<'a>,
    firewall: &'a Firewall,
}

impl Declared<'_> {
    fn diff(&self, proposal: &mut Proposal) {
        let site = Address::firewall(SITE);
        if !self.world.inventory.commands {
            proposal.problem(problem(
                &site,
                "firewall::no-ssh",
                "there is no way to write the firewall's files: Proxmox VE's API changes one rule at a time"
                    .into(),
                "declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"".into(),
            ));
            return;
        }
        self.site(proposal);
        let ends = Ends::new(self.world.desired, self.firewall, &network::addresses(self.world));
        // One that becomes a template has no rules of its own, which its clones would have, too.
        for container in self.world.desired.guests.values().filter(|guest| !guest.golden) {
            self.guest(container, &ends, proposal);
        }
        self.note_believed(proposal);
    }

    /// Guests that have rules already, and were believed whatever name they spoke in.
    fn note_believed(&self, proposal: &mut Proposal) {
        let site = &self.world.desired.site;
        let believed = |guest: &&Guest| {
            let file = file(self.world, &format!("{}.fw", guest.id));
            is_in(&file, site) && file.option("ipfilter") != Some("1")
        };
        let named = |guest: &Guest| guest.name.to_string();
        let believed: Vec<String> = self.world.desired.guests.values().filter(believed).map(named).collect();
        if !believed.is_empty() {
            proposal.note(format!(
                "from now on nothing gets through that {} send in another's name: addresses, MACs, ARP, IPv6, tags of \
                 VLANs. Nothing restarts. One that routes for others says for whom: `allowed-addresses`",
                believed.join(", ")
            ));
        }
    }

    /// Whether a file is there that could not be read: it must not be written either.
    fn unread(&self, address: &Address, name: &str, proposal: &mut Proposal) -> bool {
        let what = what(name);
        let Some(unread) = self.world.inventory.unread.iter().find(|unread| unread.what == what) else {
            return false;
        };
        proposal.problem(problem(
            address,
            "firewall::unread",
            format!("{what} is there and cannot be read: {}", unread.why),
            format!("on the node: less /etc/pve/{}", proxmox::inventory::firewall_path(name)),
        ));
        true
    }

    fn site(&self, proposal: &mut Proposal) {
        let (world, address) = (self.world, Address::firewall(SITE));
        let (site, inventory) = (&world.desired.site, world.inventory);
        let host_name = host_fw(inventory.command_node());
        if self.unread(&address, CLUSTER, proposal) || self.unread(&address, &host_name, proposal) {
            return;
        }
        let way = Way::new(inventory.reached().way_in);
        let (cluster, host) = (file(world, CLUSTER), file(world, &host_name));
        let mut options: BTreeMap<&'static str, String> = [("enable", "1".to_owned())].into();
        let remembered = before(&cluster, site);
        let own = |key: &str| {
            remembered.get(key).cloned().unwrap_or_else(|| cluster.option(key).map(str::to_owned))
        };
        // What looks at frames that are no IP is on, unless somebody switched it off: MACs and ARP would pass.
        if own("ebtables").as_deref() == Some("0") {
            options.insert("ebtables", "1".to_owned());
        }
        // Where the policy is somebody's own, it stays; where it is Proxmox VE's, which is to drop, nothing on the node is
        // cut that is not asked for.
        let own = own("policy_in");
        if self.firewall.zero_trust {
            options.insert("policy_in", "DROP".to_owned());
        } else if own.is_none() {
            options.insert("policy_in", "ACCEPT".to_owned());
        }
        let rules = way.rules(site, self.firewall, &cluster);
        let new_cluster = with(&cluster, site, &Wanted { options, rules, ..Wanted::default() });
        let ends = Ends::new(world.desired, self.firewall, &network::addresses(world));
        // A node's rules come before the cluster's: what keeps the way open is in both.
        let mut rules = way.rules(site, self.firewall, &host);
        rules.extend(ends.of_node(policy_of(&new_cluster, Direction::Out)));
        let new_host = with(&host, site, &Wanted { rules, ..Wanted::default() });
        let callers = way.callers(self.firewall);
        for (cluster, host) in [(&cluster, &new_host), (&new_cluster, &new_host)] {
            if let Err(shut) = way.is_open(&callers, &[], cluster, host) {
                proposal.problem(problem(
                    &address,
                    "firewall::would-cut",
                    shut.to_string(),
                    "on the node, move that rule below Phoenix' own, or narrow it: its page is Datacenter or Node, Firewall"
                        .into(),
                ));
                return;
            }
        }
        if !enabled(&cluster) {
            self.note_others(proposal);
        }
        let drops = |file: &FirewallFile| enabled(file) && policy_of(file, Direction::In) != Verdict::Accept;
        if inventory.nodes.len() > 1 && drops(&new_cluster) && !drops(&cluster) {
            proposal.note(
                "the policy is the whole cluster's: all nodes drop what no rule lets in, but ssh and the API",
            );
        }
        let files =
            [changed(world, &host_name, &host, &new_host), changed(world, CLUSTER, &cluster, &new_cluster)];
        let files: Vec<FileChange> =
            files.into_iter().flatten().chain(elsewhere(world, &host_name)).collect();
        let there = is_in(&cluster, site) || is_in(&host, site);
        let reason = if there { "its rules change" } else { "nothing filters the node yet" };
        propose(world, proposal, address, None, (there, reason), files);
    }

    /// Rules of others that were asleep, and wake when the whole is switched on.
    fn note_others(&self, proposal: &mut Proposal) {
        let ours: BTreeSet<u32> = self.world.desired.guests.values().map(|c| c.id).collect();
        let on = |id: &u32| file(self.world, &format!("{id}.fw")).option("enable") == Some("1");
        let filtered = |guest: &plan::inventory::Guest| {
            guest.config.iter().flatten().any(|(key, value)| {
                key.starts_with("net") && value.split(',').any(|part| part == "firewall=1")
            })
        };
        let guests = self.world.inventory.guests.values();
        let woken = guests.filter(|it| !ours.contains(&it.id) && on(&it.id) && filtered(it));
        let mut woken: Vec<String> = woken.map(|it| it.id.to_string()).collect();
        let host = host_fw(self.world.inventory.command_node());
        let is_others = |rule: &&Rule| rule.enable && !rule.is_of(&prefix(&self.world.desired.site));
        if [CLUSTER, &host].iter().any(|name| file(self.world, name).rules().any(|rule| is_others(&rule))) {
            woken.push("the node itself".to_owned());
        }
        if !woken.is_empty() {
            proposal.note(format!(
                "the firewall is switched on for the whole cluster: rules that were asleep come into force for {}",
                woken.join(", ")
            ));
        }
    }

    fn guest(&self, container: &Guest, ends: &Ends<'_>, proposal: &mut Proposal) {
        let (world, address) = (self.world, Address::firewall(&container.name));
        let anew = proposal.makes_anew(&container.resource());
        if mark_after(world, container, proposal).is_none() && !anew {
            return;
        }
        let name = format!("{}.fw", container.id);
        if self.unread(&address, &name, proposal) {
            return;
        }
        let old = file(world, &name);
        let out = if self.firewall.zero_trust { "DROP" } else { "ACCEPT" };
        let mut options: BTreeMap<&'static str, String> =
            [("enable", "1"), ("policy_in", "DROP"), ("policy_out", out)]
                .map(|(key, value)| (key, value.to_owned()))
                .into();
        options.extend(names::options(container));
        let site = &world.desired.site;
        let sets = names::sets(container, world.desired, self.firewall, ends.node());
        let new = with(&old, site, &Wanted { options, sets, rules: ends.of_guest(container) });
        let mut change = changed(world, &name, &old, &new);
        if anew && world.inventory.guests.contains_key(&container.id) {
            // Its file goes with it, and comes back with all that was in it, whoever wrote it (T-14).
            change = Some(FileChange { name, old: None, new: text(&new) });
        }
        let there = is_in(&old, site) && !anew;
        let reason = if there { "its flows change" } else { "nothing filters it yet" };
        propose(world, proposal, address, Some(container.id), (there, reason), change.into_iter().collect());
    }
}

/// Files of other nodes that the site was in when it was there.
fn elsewhere(world: World<'_>, here: &str) -> Vec<FileChange> {
    let names = world.inventory.firewall.keys().filter(|name| name.starts_with("host:") && *name != here);
    let site = &world.desired.site;
    let change = |name: &String| {
        let old = file(world, name);
        changed(world, name, &old, &without(&old, site))
    };
    names.filter_map(change).collect()
}

/// The site's files that stay as they are. A change that waits to be confirmed is made of them, and taken back they are
/// not what the plan was made of.
fn as_they_are(world: World<'_>, changed: &[FileChange]) -> Vec<FileChange> {
    // Whoever may write the rules of a guest of their own may write our comments behind them.
    let own: BTreeSet<u32> = world.inventory.of_site(&world.desired.site).map(|guest| guest.id).collect();
    let strangers = |name: &str| {
        let id = name.strip_suffix(".fw").and_then(|id| id.parse().ok());
        id.is_some_and(|id: u32| !own.contains(&id))
    };
    let same = |(name, text): (&String, &String)| {
        let other = changed.iter().all(|file| file.name != *name) && !strangers(name);
        let ours = is_in(&FirewallFile::parse(text), &world.desired.site);
        let (old, new) = (Some(text.clone()), Some(text.clone()));
        (other && ours).then(|| FileChange { name: name.clone(), old, new })
    };
    world.inventory.firewall.iter().filter_map(same).collect()
}

/// A step, where there is something to do.
fn propose(
    world: World<'_>,
    proposal: &mut Proposal,
    address: Address,
    id: Option<u32>,
    (there, reason): (bool, &str),
    files: Vec<FileChange>,
) {
    let waits = id.is_none() && world.inventory.unconfirmed.as_ref() == Some(&world.desired.site);
    if files.is_empty() && !waits {
        return;
    }
    let (action, reason) = match (files.is_empty(), there) {
        (true, _) => (Action::Update, "its last change was not confirmed"),
        (false, true) => (Action::Update, reason),
        (false, false) => (Action::Create, reason),
    };
    let mut files = files;
    if waits {
        files.extend(as_they_are(world, &files));
    }
    let changes = files.iter().flat_map(|file| changes(&world.desired.site, file)).collect();
    let (step, work) = step(address, id, action, reason, changes, files);
    proposal.step(step, &work);
}

fn step(
    address: Address,
    id: Option<u32>,
    action: Action,
    reason: &str,
    changes: Vec<Change>,
    files: Vec<FileChange>,
) -> (Step, FirewallWork) {
    let step = Step::new(address, action)
        .reason(reason)
        .changes(changes)
        .root("Proxmox VE's API changes one rule at a time; a set of rules is a file, and root's");
    (Step { id, ..step }, FirewallWork::Write { files })
}

/// What of a file changes: options, and rules by the ids of their flows. Where one file is not the only one, its name is
/// before each.
fn changes(site: &str, change: &FileChange) -> Vec<Change> {
    let parse = |text: &Option<String>| FirewallFile::parse(text.as_deref().unwrap_or_default());
    let (old, new) = (parse(&change.old), parse(&change.new));
    let (old_options, new_options) = (old.options(), new.options());
    let keys: BTreeSet<&str> = old_options.keys().chain(new_options.keys()).copied().collect();
    let host = if change.name.starts_with("host:") { "node." } else { "" };
    let mut out = Vec::new();
    let mut add = |path: String, old: Value, new: Value| {
        if old != new {
            out.push(Change::new(path, old, new));
        }
    };
    let sets = |file: &FirewallFile| file.ip_sets_of(&set_head(site));
    let (old_sets, new_sets) = (sets(&old), sets(&new));
    let names: BTreeSet<&String> = old_sets.keys().chain(new_sets.keys()).collect();
    for name in names {
        let value = |sets: &BTreeMap<String, Vec<String>>| {
            sets.get(name).map_or(Value::Null, |members| members.join(", ").into())
        };
        add(name.clone(), value(&old_sets), value(&new_sets));
    }
    for key in keys {
        let value = |options: &BTreeMap<&str, &str>| options.get(key).map_or(Value::Null, |it| (*it).into());
        add(format!("{host}{key}"), value(&old_options), value(&new_options));
    }
    let (old, new) = (by_flow(&old, site), by_flow(&new, site));
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for id in ids {
        let value =
            |rules: &BTreeMap<String, String>| rules.get(id).map_or(Value::Null, |it| it.as_str().into());
        add(format!("{host}{id}"), value(&old), value(&new));
    }
    out
}

/// The site's rules by their ids, in words; the one that remembers is left out.
fn by_flow(file: &FirewallFile, site: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for rule in file.rules().filter(|rule| rule.enable) {
        let id = rule.comment.as_deref().and_then(|comment| comment.strip_prefix(&prefix(site)));
        let Some(id) = id else { continue };
        let words = Rule { comment: None, ..rule.clone() }.to_string();
        all.entry(id.to_owned())
            .and_modify(|all| {
                all.push_str("; ");
                all.push_str(&words);
            })
            .or_insert(words);
    }
    all
}

/// No firewall is declared, or all is to go: what there is of ours goes.
fn gone(world: World<'_>, proposal: &mut Proposal) {
    let (site, inventory) = (&world.desired.site, world.inventory);
    let reason = if world.options.destroy { SITE_GOES } else { "no firewall is declared any more" };
    let mut changed_files = Vec::new();
    let host_name = host_fw(inventory.command_node());
    let (cluster, host) = (file(world, CLUSTER), file(world, &host_name));
    if is_in(&cluster, site) || is_in(&host, site) {
        let (new_cluster, new_host, kept) = taken_out(world, &cluster, &host);
        if let Some(why) = kept {
            proposal.note(format!(
                "the rules that let Phoenix in stay on the node, whose firewall somebody else has switched on: without \
                 them, {why}"
            ));
        }
        // The other way round than when they came.
        changed_files.extend(changed(world, CLUSTER, &cluster, &new_cluster));
        changed_files.extend(changed(world, &host_name, &host, &new_host));
    }
    changed_files.extend(elsewhere(world, &host_name));
    let waits = inventory.unconfirmed.as_ref() == Some(site);
    if !changed_files.is_empty() || waits {
        let (action, reason) = match changed_files.is_empty() {
            true => (Action::Update, "its last change was not confirmed"),
            false => (Action::Delete, reason),
        };
        if waits {
            changed_files.extend(as_they_are(world, &changed_files));
        }
        let changes = changed_files.iter().flat_map(|file| changes(site, file)).collect();
        let (step, work) = step(Address::firewall(SITE), None, action, reason, changes, changed_files);
        proposal.step(step, &work);
    }
    if world.options.destroy {
        // A guest's file goes with the guest.
        return;
    }
    for container in world.desired.guests.values() {
        let name = format!("{}.fw", container.id);
        let old = file(world, &name);
        if mark_after(world, container, proposal).is_none() || !is_in(&old, site) {
            continue;
        }
        let files: Vec<FileChange> = changed(world, &name, &old, &without(&old, site)).into_iter().collect();
        let changes = files.iter().flat_map(|file| changes(site, file)).collect();
        let address = Address::firewall(&container.name);
        let (step, work) = step(address, Some(container.id), Action::Delete, reason, changes, files);
        proposal.step(step, &work);
    }
}

/// The node's files without the site, and, where that would shut this run out, with the rules that let it in: why.
fn taken_out(
    world: World<'_>,
    cluster: &FirewallFile,
    host: &FirewallFile,
) -> (FirewallFile, FirewallFile, Option<String>) {
    let site = &world.desired.site;
    let way = Way::new(world.inventory.reached().way_in);
    let (new_cluster, new_host) = (without(cluster, site), without(host, site));
    let local = world.inventory.reached().addresses.iter();
    let local: Vec<Range> = local.filter_map(|it| Range::parse(&format!("{it:#}"))).collect();
    let open = |cluster, host| way.is_open(&way.own_addresses(), &local, cluster, host);
    match open(&new_cluster, host).and_then(|()| open(&new_cluster, &new_host)) {
        Ok(()) => (new_cluster, new_host, None),
        Err(shut) => {
            let keep = |old: &FirewallFile, mut new: FirewallFile| {
                let kept = old.rules().filter(|rule| Way::keeps_open(site, rule)).cloned();
                new.replace_rules(&prefix(site), &kept.collect::<Vec<_>>());
                new
            };
            (keep(cluster, new_cluster), keep(host, new_host), Some(shut.to_string()))
        }
    }
}
