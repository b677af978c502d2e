//! What has to be done so that the node's links are as they are wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use blueprint::model::{Link, LinkIs, Port};
use plan::address::kinds;
use plan::mark::Mark;
use plan::planner::{Proposal, World};
use plan::step::{Consent, SITE_GOES};
use plan::{Action, Address, Change, Problem, Step};
use proxmox::network::{FILE, Interfaces, SeenNetwork};
use serde_json::Value;

use super::stanza::{self, Said, Wanted};
use super::{Applied, Edit, NetworkWork, Put, declared, force, text_of, way};
use crate::hypervisor::{another_site, hold};

/// Why a node is touched beyond its API.
const ROOT: &str = "the node's network is a file of the node itself";

/// What steps are carried out as one.
const BATCH: &str = "network";

pub(super) fn diff(world: World<'_>, proposal: &mut Proposal) {
    let links: Vec<Link> = if world.options.destroy { Vec::new() } else { declared(world.desired).collect() };
    let there = world.inventory.reached().hypervisor.as_ref();
    let ours = there.filter(|mark| mark.site == world.desired.site);
    let gone: Vec<(String, Applied)> = ours.map(|mark| gone(mark, &links)).unwrap_or_default();
    if links.is_empty() && gone.is_empty() {
        return;
    }
    if let (Some(first), Some(other)) = (links.first(), there.filter(|it| it.site != world.desired.site)) {
        let address = Address::network(&first.name);
        return proposal.problem(another_site(address, other, &world.desired.site, "network"));
    }
    let seen = match super::seen(world.inventory) {
        Some(Ok(seen)) => seen,
        Some(Err(why)) => return unseen(&links, &why, "phoenix-cli plan tries again", proposal),
        None => {
            let hint = "declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"; phoenix-cli doctor tries every hop";
            return unseen(&links, "no commands can be run on the node", hint, proposal);
        }
    };
    if let Some((code, message, hint)) = unusable(&seen) {
        for link in &links {
            proposal.problem(Problem::new(Address::network(&link.name), code, message.clone(), hint));
        }
        return;
    }
    let now = Interfaces::parse(seen.text.as_deref().unwrap_or_default());
    let names = links.iter().map(|link| link.name.clone()).collect();
    let going = gone.iter().filter(|(_, it)| it.made).map(|(name, _)| name.clone()).collect();
    let mut links = links;
    // What others are of comes first in the file, too.
    links.sort_by_key(|link| {
        (matches!(link.is, LinkIs::Vlan { .. }), !link.parts().is_empty(), link.name.clone())
    });
    let after = now.clone();
    let mut plan = Planned { world, seen: &seen, links: &links, after, now, names, going, steps: Vec::new() };
    for (name, applied) in gone {
        plan.removed(&name, &applied, proposal);
    }
    for link in &links {
        plan.wanted(link, ours.and_then(|mark| Applied::of(mark, &link.name)).as_ref(), proposal);
    }
    for link in &links {
        plan.in_the_way(link, proposal);
    }
    plan.propose(proposal);
}

/// What the node remembers and is not wanted any more.
pub(super) fn gone(mark: &Mark, links: &[Link]) -> Vec<(String, Applied)> {
    let names = mark.names(kinds::NETWORK).filter(|name| links.iter().all(|link| link.name != *name));
    names.filter_map(|name| Some((name.to_owned(), Applied::of(mark, name)?))).collect()
}

fn unseen(links: &[Link], why: &str, hint: &str, proposal: &mut Proposal) {
    for link in links {
        let message = format!("the node's network is not known: {why}");
        proposal.problem(Problem::new(Address::network(&link.name), "network::unseen", message, hint));
    }
    if links.is_empty() {
        proposal.note(format!("the links that were made on the node stay: {why}"));
    }
}

/// Why nothing can be changed on this node.
fn unusable(seen: &SeenNetwork) -> Option<(&'static str, String, &'static str)> {
    if seen.text.is_none() || seen.tool.is_none() {
        let what = if seen.text.is_none() {
            format!("it has no {FILE}")
        } else {
            "it has neither ifreload nor ifup".to_owned()
        };
        return Some((
            "network::no-ifupdown",
            format!("the node's network is not of ifupdown: {what}"),
            "Proxmox VE needs it anyway; on the node: apt-get install ifupdown2",
        ));
    }
    seen.staged.then(|| {
        (
            "network::staged",
            "somebody changed the network in Proxmox VE's pages, and that is not applied yet".to_owned(),
            "apply or revert it: the node → System → Network; it would undo what is done here",
        )
    })
}

/// What was found so far.
struct Planned<'a> {
    world: World<'a>,
    seen: &'a SeenNetwork,
    now: Interfaces,
    after: Interfaces,
    /// The links that are declared, and their names.
    links: &'a [Link],
    names: BTreeSet<String>,
    /// The links that were made and go.
    going: BTreeSet<String>,
    steps: Vec<(Step, NetworkWork)>,
}

impl Planned<'_> {
    /// Whether the last change of this site waits to be confirmed: what is seen now may be taken back.
    fn unconfirmed(&self) -> bool {
        self.seen.unconfirmed.as_ref() == Some(&self.world.desired.site)
    }

    fn node(&self) -> String {
        self.world.inventory.command_node().to_owned()
    }

    fn problem(&self, link: &Link, code: &str, message: String, hint: impl Into<String>) -> Problem {
        Problem::new(Address::network(&link.name), code, message, hint)
    }

    /// A link that the site made, and does not want any more.
    fn removed(&mut self, name: &str, applied: &Applied, proposal: &mut Proposal) {
        let address = Address::network(name);
        let step = Step::new(address.clone(), Action::Delete);
        let was = text_of(&self.now, name);
        let unpin = applied.pins.clone();
        let forget = NetworkWork::Forget { node: self.node(), name: name.to_owned(), unpin: unpin.clone() };
        let gone = was.is_empty() && !self.unconfirmed();
        if gone || !applied.made {
            let reason = match gone {
                true => "it is gone, and what is remembered of it goes, too",
                false => "it was there before the site declared it: it stays, and is the site's no more",
            };
            return self.steps.push((step.reason(reason), forget));
        }
        let (stay, go) = self.users(name, proposal);
        if !stay.is_empty() {
            let who = stay.into_iter().collect::<Vec<_>>().join(", ");
            if self.world.options.destroy {
                proposal.note(format!("{address} stays: {who} would lose it"));
                return self.steps.push((step.reason("it stays, and is the site's no more"), forget));
            }
            return proposal.problem(Problem::new(
                address,
                "network::in-use",
                format!("{name} cannot go: {who} would lose it"),
                "move them to another bridge first, or declare it again",
            ));
        }
        let mut after = self.after.clone();
        after.remove(name);
        if self.world.options.destroy && self.cut(&after).is_some() {
            proposal.note(format!("{address} stays: the node is reached through it"));
            return self.steps.push((step.reason("it stays, since the node is reached through it"), forget));
        }
        self.after = after;
        let reason = match self.world.options.destroy {
            true => SITE_GOES,
            false => "the blueprint does not declare it any more",
        };
        let changes = stanza::said(&self.now, name).unwrap_or_default();
        let changes = changes.into_iter().map(|(key, value)| Change::new(key, value, Value::Null));
        let work = NetworkWork::Remove { node: self.node(), name: name.to_owned(), was, unpin };
        self.steps.push((step.reason(reason).changes(changes).needs(go), work));
    }

    /// Who is on a bridge and stays, of this node, and links that are of it; and the guests that leave it with this plan.
    fn users(&self, name: &str, proposal: &Proposal) -> (BTreeSet<String>, Vec<Address>) {
        let on = |value: &str| value.split(',').any(|part| part.strip_prefix("bridge=") == Some(name));
        let nets = |config: &BTreeMap<String, String>| {
            config.iter().any(|(key, value)| key.starts_with("net") && on(value))
        };
        let node = self.node();
        let (mut stay, mut go) = (BTreeSet::new(), Vec::new());
        for guest in self.world.inventory.guests.values() {
            if guest.node != node || !guest.config.as_ref().is_some_and(nets) {
                continue;
            }
            let own = guest.mark.as_ref().filter(|mark| mark.site == self.world.desired.site);
            let goes = own.filter(|mark| proposal.removes(&mark.address));
            let wanted = self.world.desired.guests.values().find(|it| it.id == guest.id);
            let leaves = wanted.filter(|it| it.nets.values().all(|nic| nic.bridge != name));
            match (goes, leaves.filter(|_| own.is_some())) {
                (Some(mark), _) => go.push(mark.address.clone()),
                (_, Some(wanted)) => go.push(wanted.resource()),
                _ if guest.name.is_empty() => drop(stay.insert(guest.id.to_string())),
                _ => drop(stay.insert(format!("{} ({})", guest.id, guest.name))),
            }
        }
        let links: BTreeSet<&str> = self.now.ifaces().map(|it| it.name.as_str()).collect();
        let of_it = |link: &&str| *link != name && !self.going.contains(*link) && self.is_of(link, name);
        stay.extend(links.into_iter().filter(of_it).map(str::to_owned));
        (stay, go)
    }

    /// Whether a link is of another, as it is declared or, where it is not, as the file says it.
    fn is_of(&self, link: &str, other: &str) -> bool {
        match self.links.iter().find(|it| it.name == link) {
            Some(declared) => {
                let on = matches!(&declared.is, LinkIs::Vlan { on, .. } if on == other);
                on || declared.parts().contains(&Port::Name(other.to_owned()))
            }
            None => stanza::said(&self.now, link).is_some_and(|said| {
                let mut lists = ["ports", "bond"].into_iter().filter_map(|key| said.get(key));
                let vlan = said.get("vlan").is_some_and(|it| it.ends_with(&format!(" on {other}")));
                vlan || lists.any(|it| it.split(' ').any(|it| it == other))
            }),
        }
    }

    /// A link that is declared.
    fn wanted(&mut self, link: &Link, applied: Option<&Applied>, proposal: &mut Proposal) {
        let name = &link.name;
        let has =
            |file: &&proxmox::network::SeenFile| Interfaces::parse(&file.text).of(name).next().is_some();
        if let Some(file) = self.seen.sourced.iter().find(has) {
            return proposal.problem(self.problem(
                link,
                "network::elsewhere",
                format!("{name} is configured in {}, which Phoenix does not change", file.path),
                format!("move it to {FILE}, or do not declare it"),
            ));
        }
        if link.nat && self.seen.tables.is_none() {
            return proposal.problem(self.problem(
                link,
                "network::no-nft",
                format!("who is on {name} cannot be let out: the node has no nft"),
                "on the node: apt-get install nftables",
            ));
        }
        let parts = match self.parts(link) {
            Ok(parts) => parts,
            Err(problem) => return proposal.problem(*problem),
        };
        let wanted = Wanted { link, parts };
        let (said, to_say) = (stanza::said(&self.after, name), stanza::to_say(&wanted));
        let mut edits = Vec::new();
        if said.as_ref() != Some(&to_say) {
            edits.push(self.edit(name, true, |file| stanza::edited(file, &wanted)));
        }
        let mut changes = differences(said.as_ref(), &to_say);
        for part in wanted.parts.iter().filter(|it| !self.names.contains(*it)).cloned().collect::<Vec<_>>() {
            let Some(change) = self.part(link, &part) else { continue };
            changes.push(change);
            edits.push(self.edit(&part, false, |file| stanza::as_part(file, &part, link.mtu)));
        }
        let pins = pins(link, &wanted.parts);
        let new_pins: Vec<_> =
            pins.iter().filter(|(mac, name)| self.seen.pins.get(mac) != Some(name)).cloned().collect();
        let kept = |mac: &String| pins.iter().any(|(it, _)| it == mac);
        let unpin: Vec<String> =
            applied.iter().flat_map(|it| &it.pins).filter(|mac| !kept(mac)).cloned().collect();
        let lacks = force::lacks(self.seen, link, &wanted.parts);
        let new = said.is_none() && !self.seen.links.contains_key(name);
        let mut step = Step::new(Address::network(name), if new { Action::Create } else { Action::Update });
        let unconfirmed = self.unconfirmed();
        if edits.is_empty() && new_pins.is_empty() && unpin.is_empty() && lacks.is_empty() && !unconfirmed {
            return;
        }
        if unconfirmed {
            step = step.reason("the last change of the network was not confirmed");
        }
        step = match (&edits[..], applied) {
            _ if new => {
                let declared = self.world.desired.resources.get(&step.address);
                let at = declared.and_then(|it| it.declared.as_ref());
                step.reason(at.map_or("new".to_owned(), |at| format!("new in {at}")))
            }
            ([], _) => step,
            _ => step.reason("the node's network is declared otherwise"),
        };
        if edits.is_empty() {
            step = step.reasons(
                lacks.into_iter().map(|it| format!("its file says so, and it is not in force: {it}")),
            );
        }
        for (mac, name) in &new_pins {
            changes.push(Change::new(
                format!("name of {mac}"),
                self.seen.pins.get(mac).cloned(),
                name.as_str(),
            ));
        }
        changes.extend(unpin.iter().map(|mac| Change::new(format!("name of {mac}"), "kept", Value::Null)));
        if edits.is_empty() && changes.iter().any(|it| it.path.starts_with("name of ")) {
            step = step.reason("its cards are to keep their names, whatever a new kernel calls them");
        }
        let work = NetworkWork::Put(Box::new(Put {
            node: self.node(),
            link: link.clone(),
            parts: wanted.parts.clone(),
            edits,
            made: (said.is_none() && new && !matches!(link.is, LinkIs::Card))
                || applied.is_some_and(|it| it.made),
            pins,
            unpin,
        }));
        let parts = wanted.parts.iter().map(|it| Address::network(it));
        self.steps.push((step.changes(changes).needs(parts.collect::<Vec<_>>()), work));
    }

    /// Changes the file as it is to be, and says how.
    fn edit(
        &mut self,
        name: &str,
        auto: bool,
        edited: impl FnOnce(&Interfaces) -> Vec<proxmox::network::Iface>,
    ) -> Edit {
        let ifaces = edited(&self.after);
        self.after.put(name, auto, ifaces);
        let now = text_of(&self.after, name);
        Edit { name: name.to_owned(), auto, was: text_of(&self.now, name), now }
    }

    /// How a part that is not declared itself has to change.
    fn part(&self, link: &Link, part: &str) -> Option<Change> {
        let said = stanza::said(&self.after, part).unwrap_or_default();
        let own: Vec<&str> =
            ["address", "address6"].into_iter().filter_map(|key| said.get(key)).map(String::as_str).collect();
        if !own.is_empty() {
            let note = format!("it is a part of {}, which answers for it", link.name);
            return Some(Change::new(format!("{part}.address"), own.join(", "), Value::Null).note(note));
        }
        let mtu = link.mtu.map(|it| it.to_string())?;
        let has = said.get("mtu").cloned();
        (has.as_ref() != Some(&mtu)).then(|| Change::new(format!("{part}.mtu"), has, mtu))
    }

    /// Its parts, by the names that they have today.
    fn parts(&self, link: &Link) -> Result<Vec<String>, Box<Problem>> {
        let cards = || {
            let cards = self.seen.links.iter().filter(|(_, it)| it.card);
            let cards: Vec<String> = cards.map(|(name, it)| format!("{name} ({})", it.mac)).collect();
            match cards.is_empty() {
                true => "what there is, on the node: ip -br link".to_owned(),
                false => format!("its cards: {}", cards.join(", ")),
            }
        };
        let there = |name: &str| {
            let below = name.split_once('.').map_or(name, |(on, _)| on);
            [name, below].into_iter().any(|it| {
                self.names.contains(it)
                    || self.seen.links.contains_key(it)
                    || self.now.of(it).next().is_some()
            })
        };
        let no = |what: String| Box::new(self.problem(link, "network::no-link", what, cards()));
        let on = self.node();
        let must = match &link.is {
            LinkIs::Vlan { on, .. } => Some(on),
            LinkIs::Card => Some(&link.name),
            _ => None,
        };
        let known = |name: &String| match link.is {
            LinkIs::Card => self.seen.links.contains_key(name),
            _ => there(name),
        };
        if let Some(name) = must.filter(|name| !known(name)) {
            return Err(no(format!("{on} has no link {name}")));
        }
        link.parts()
            .iter()
            .map(|port| match port {
                Port::Name(name) if there(name) => Ok(name.clone()),
                Port::Name(name) => {
                    Err(no(format!("{} is to have {name}, and {on} has no such link", link.name)))
                }
                Port::Mac(mac) => {
                    let own = |(_, it): &(&String, &proxmox::network::Link)| {
                        it.mac == *mac && it.bridge.is_none() && it.bond.is_none()
                    };
                    let mut all: Vec<_> = self.seen.links.iter().filter(own).collect();
                    // A VLAN has the MAC of its card.
                    all.sort_by_key(|(name, it)| (!it.card, name.contains('.'), name.len()));
                    let first = all.first().map(|(name, _)| (*name).clone());
                    first.ok_or_else(|| {
                        no(format!("{} is to have the card {mac}, and {on} has none of that MAC", link.name))
                    })
                }
            })
            .collect()
    }

    /// What is not declared and cannot be beside it.
    fn in_the_way(&self, link: &Link, proposal: &mut Proposal) {
        let others: BTreeSet<&str> = self.after.ifaces().map(|it| it.name.as_str()).collect();
        let others = others.into_iter().filter(|name| !self.names.contains(*name));
        let parts: Vec<String> = self.parts(link).unwrap_or_default();
        let mut found: Vec<String> = Vec::new();
        for other in others {
            let Some(said) = stanza::said(&self.after, other) else { continue };
            let list =
                ["ports", "bond"].into_iter().filter_map(|key| said.get(key)).flat_map(|it| it.split(' '));
            let taken: Vec<&str> = list.filter(|it| parts.iter().any(|part| part == it)).collect();
            if let Some(part) = taken.first() {
                found.push(format!("{part} is in {other}, too, which the blueprint does not declare"));
            }
            for (key, address) in own_addresses(link) {
                let same = said.get(key).and_then(|it| it.split('/').next()?.parse::<IpAddr>().ok())
                    == Some(address);
                if same {
                    found.push(format!(
                        "{other}, which the blueprint does not declare, has the address {address}"
                    ));
                }
            }
            for (key, wanted) in [("gateway", link.gateway.is_some()), ("gateway6", link.gateway6.is_some())]
            {
                if let Some(router) = said.get(key).filter(|_| wanted) {
                    found.push(format!("{other}, which the blueprint does not declare, has the router {router}, and there can be one"));
                }
            }
        }
        // What no file says: another program's, or what somebody did by hand.
        for (key, address) in own_addresses(link) {
            let on = self.seen.with_address(address).filter(|on| {
                *on != link.name
                    && !self.names.contains(*on)
                    && self.after.of(on).next().is_none()
                    && !parts.iter().any(|part| part == on)
            });
            if let Some(on) = on {
                found.push(format!("{on} has the {key} {address}, and no file says so"));
            }
        }
        for what in found {
            let hint = format!("declare that under `hypervisor.network`, too, or take it out of {FILE}");
            proposal.problem(self.problem(link, "network::in-the-way", what, hint));
        }
    }

    fn cut(&self, after: &Interfaces) -> Option<String> {
        let client = self.world.inventory.reached().way_in.map(|way| way.client);
        way::cut(self.seen, &self.now, after, client)
    }

    /// The steps; where the way in would be cut, only with consent: together they are one change.
    fn propose(self, proposal: &mut Proposal) {
        let cut = self.cut(&self.after);
        for (step, work) in self.steps {
            let changes = match &work {
                NetworkWork::Put(put) => !put.edits.is_empty(),
                NetworkWork::Remove { .. } => true,
                NetworkWork::Forget { .. } => false,
            };
            let mut step = hold(step.root(ROOT)).batch(BATCH);
            if let Some(why) = cut.as_ref().filter(|_| changes) {
                step = step.reason(format!("this cuts the way to the node: {why}")).consent(Consent::Needed);
            }
            proposal.step(step, &work);
        }
    }
}

fn own_addresses(link: &Link) -> impl Iterator<Item = (&'static str, IpAddr)> {
    let four = link.address.map(|it| ("address", IpAddr::from(it.address())));
    four.into_iter().chain(link.address6.map(|it| ("address6", IpAddr::from(it.address()))))
}

/// The cards that are declared by their MAC, with their names of today.
fn pins(link: &Link, parts: &[String]) -> Vec<(String, String)> {
    let pairs = link.parts().iter().zip(parts);
    pairs
        .filter_map(|(port, name)| match port {
            Port::Mac(mac) => Some((mac.clone(), name.clone())),
            Port::Name(_) => None,
        })
        .collect()
}

/// What is said and what is to be, value by value.
fn differences(said: Option<&Said>, to_say: &Said) -> Vec<Change> {
    let none = Said::new();
    let said = said.unwrap_or(&none);
    let keys: BTreeSet<&&str> = said.keys().chain(to_say.keys()).collect();
    keys.into_iter()
        .filter(|key| said.get(**key) != to_say.get(**key))
        .map(|key| Change::new(*key, said.get(*key).cloned(), to_say.get(*key).cloned()))
        .collect()
}
