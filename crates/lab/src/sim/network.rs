//! The network of a simulated node, on paper: its file is changed by the same commands as a real one's, its links are as the file
//! says at once, and a new connection from outside gets in only where the node's own address is behind its first card.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxmox::network::{Iface, Interfaces, Link, SeenNetwork, pin, printed_seen};
use transport::Output;

use super::guard::{SimGuard, Store, exit_with};
use crate::node::{Bridge, Node};

/// The cards of the node, with their MACs. The first is the one that leads outside.
const CARDS: [(&str, &str); 2] = [("enp5s0", "bc:24:11:00:05:00"), ("enp6s0", "bc:24:11:00:06:00")];

#[derive(Debug, Default)]
struct State {
    text: Option<String>,
    sourced: Option<String>,
    pins: BTreeMap<String, String>,
    staged: bool,
    tool: Option<String>,
    /// What the kernel calls the cards instead.
    called: BTreeMap<String, String>,
}

/// The network of a node.
#[derive(Debug, Clone)]
pub(crate) struct SimNetwork {
    node: Node,
    /// Where whoever comes from outside comes to.
    way: Option<IpAddr>,
    state: Arc<Mutex<State>>,
    pub(super) guard: SimGuard,
}

impl SimNetwork {
    pub(crate) fn new(node: Node) -> Self {
        let state =
            State { text: Some(installed(&node)), tool: Some("ifupdown2".to_owned()), ..State::default() };
        let own = node.bridges().iter().find_map(|it| it.cidr.as_deref()?.split('/').next()?.parse().ok());
        Self { node, way: own, state: Arc::new(Mutex::new(state)), guard: SimGuard::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file says.
    pub(crate) fn text(&self) -> Option<String> {
        self.lock().text.clone()
    }

    /// Writes the file by hand, and brings it into force.
    pub(crate) fn write(&self, text: Option<String>) {
        self.lock().text = text;
        self.come_into_force();
    }

    /// Has it be otherwise: `staged`, `no-ifupdown`, `sourced` with a text, `called` with a card and a name.
    pub(crate) fn be(&self, word: &str, rest: &str) {
        let mut state = self.lock();
        match word {
            "staged" => state.staged = true,
            "no-ifupdown" => state.tool = None,
            "sourced" => state.sourced = Some(rest.to_owned()),
            "called" => {
                let (card, name) = rest.split_once(' ').unwrap_or((rest, rest));
                state.called.insert(card.to_owned(), name.to_owned());
            }
            _ => {}
        }
    }

    /// Carries out what keeps the names of cards: pairs of paths and texts.
    pub(crate) fn keep(&self, pairs: &[&str]) -> Output {
        let mut state = self.lock();
        for pair in pairs.chunks_exact(2) {
            let mac = pair[0].rsplit_once('-').map_or("", |(_, mac)| mac).trim_end_matches(".link");
            let name = pair[1].lines().find_map(|line| line.strip_prefix("Name="));
            let mac: Vec<&str> =
                mac.as_bytes().chunks(2).filter_map(|it| std::str::from_utf8(it).ok()).collect();
            let mac = mac.join(":");
            debug_assert_eq!(pin::path(&mac), pair[0]);
            match name {
                Some(name) => drop(state.pins.insert(mac, name.to_owned())),
                None => drop(state.pins.remove(&mac)),
            }
        }
        Output::default()
    }

    /// What is to be seen of it, as the script that looks prints it.
    pub(crate) fn printed(&self) -> String {
        printed_seen(&self.seen())
    }

    fn seen(&self) -> SeenNetwork {
        let state = self.lock();
        let file = Interfaces::parse(state.text.as_deref().unwrap_or_default());
        let mut links: BTreeMap<String, Link> = CARDS
            .iter()
            .map(|(name, mac)| {
                let name = state.called.get(*name).map_or(*name, String::as_str);
                let link =
                    Link { mac: (*mac).to_owned(), mtu: 1500, card: true, up: true, ..Link::default() };
                (name.to_owned(), link)
            })
            .collect();
        let mut tables = Vec::new();
        let mut routes = Vec::new();
        for iface in file.ifaces().filter(|iface| iface.name != "lo") {
            let name = &iface.name;
            if !links.contains_key(name) && !file.is_auto(name) {
                continue;
            }
            let link = links.entry(name.clone()).or_insert_with(|| Link { mtu: 1500, ..Link::default() });
            link.up = true;
            take(link, iface);
            let gateway = iface.value("gateway").and_then(|it| it.parse().ok());
            routes.extend(gateway.map(|router| (router, name.clone())));
            tables.extend(
                iface
                    .values("post-up")
                    .filter_map(|it| Some(it.split_once("add table ip ")?.1.split(';').next()?.to_owned())),
            );
            for part in parts(iface) {
                if let Some(part) = links.get_mut(&part) {
                    part.master = Some(name.clone());
                }
            }
        }
        // A part that comes later in the file.
        for iface in file.ifaces() {
            for part in parts(iface) {
                if let Some(part) = links.get_mut(&part) {
                    part.master = Some(iface.name.clone());
                }
            }
        }
        let sourced = state.sourced.iter().map(|text| proxmox::network::SeenFile {
            path: "/etc/network/interfaces.d/other".to_owned(),
            text: text.clone(),
        });
        SeenNetwork {
            text: state.text.clone(),
            sourced: sourced.collect(),
            staged: state.staged,
            tool: state.tool.clone(),
            tables: Some(tables),
            pins: state.pins.clone(),
            unconfirmed: self.guard.unconfirmed(),
            links,
            routes,
            way: self.way,
        }
    }

    /// The node has the bridges that the file says, and is reached where its address is behind its first card.
    fn come_into_force(&self) {
        let seen = self.seen();
        let cidr = |link: &Link| link.addresses.first().map(|(it, length)| format!("{it}/{length}"));
        let bridges = seen.links.iter().filter(|(_, link)| link.bridge.is_some());
        let bridges = bridges.map(|(name, link)| Bridge { name: name.clone(), cidr: cidr(link) }).collect();
        let first = seen.links.iter().find(|(_, link)| link.mac == CARDS[0].1).map(|(name, _)| name.clone());
        let on = seen.way.and_then(|way| seen.with_address(way)).map(str::to_owned);
        let reached = match (on, first) {
            (Some(on), Some(first)) => leads_to(&seen, &first, &on),
            _ => false,
        };
        self.node.set_network(bridges, reached);
    }
}

impl Store for SimNetwork {
    fn content(&self, _: &str) -> Result<Option<String>, String> {
        Ok(self.text())
    }

    fn put(&self, _: &str, text: Option<&str>) -> Result<(), String> {
        let old = self.text();
        self.lock().text = text.map(str::to_owned);
        let seen = self.seen();
        // What ifupdown2 says of a port that is not there.
        let file = Interfaces::parse(text.unwrap_or_default());
        let missing =
            file.ifaces().flat_map(parts).find(|part| !seen.links.contains_key(part) && !part.contains('.'));
        if let Some(part) = missing {
            self.lock().text = old;
            return Err(format!("error: {part}: interface does not exist"));
        }
        self.come_into_force();
        Ok(())
    }
}

/// Whether a card is behind a link.
fn leads_to(seen: &SeenNetwork, card: &str, link: &str) -> bool {
    let (mut at, mut passed) = (Some(card), BTreeSet::new());
    while let Some(name) = at.filter(|name| passed.insert(*name)) {
        if name == link || link.split_once('.').is_some_and(|(on, _)| on == name) {
            return true;
        }
        at = seen.links.get(name).and_then(|it| it.master.as_deref());
    }
    false
}

fn parts(iface: &Iface) -> Vec<String> {
    let lists = ["bridge-ports", "bond-slaves"].into_iter().filter_map(|key| iface.value(key));
    lists.flat_map(str::split_whitespace).filter(|it| *it != "none").map(str::to_owned).collect()
}

fn take(link: &mut Link, iface: &Iface) {
    let inet = iface.value("address").and_then(|it| it.split_once('/'));
    let inet = inet.and_then(|(it, length)| Some((it.parse::<IpAddr>().ok()?, length.parse().ok()?)));
    link.addresses.extend(inet.filter(|_| iface.method == "static"));
    if let Some(mtu) = iface.value("mtu").and_then(|it| it.parse().ok()) {
        link.mtu = mtu;
    }
    if iface.value("bridge-ports").is_some() {
        link.bridge = Some(iface.value("bridge-vlan-aware") == Some("yes"));
    }
    if let Some(mode) = iface.value("bond-mode") {
        link.bond = Some(mode.to_owned());
    }
}

/// The file as the installer writes it, for the bridges that the node was made with.
fn installed(node: &Node) -> String {
    let mut text = "auto lo\niface lo inet loopback\n\niface enp5s0 inet manual\n".to_owned();
    for (at, bridge) in node.bridges().iter().enumerate() {
        let name = &bridge.name;
        let ports = if at == 0 { CARDS[0].0 } else { "none" };
        let (method, address) = match &bridge.cidr {
            Some(cidr) => ("static", format!("\taddress {cidr}\n")),
            None => ("manual", String::new()),
        };
        let router = bridge.cidr.as_deref().filter(|_| at == 0).and_then(|cidr| {
            let (net, last) = cidr.split_once('/')?.0.rsplit_once('.')?;
            Some(format!("\tgateway {net}.{}\n", if last == "1" { "254" } else { "1" }))
        });
        text.push_str(&format!(
            "\nauto {name}\niface {name} inet {method}\n{address}{}\tbridge-ports {ports}\n\tbridge-stp off\n\tbridge-fd 0\n",
            router.unwrap_or_default(),
        ));
    }
    text.push_str("\nsource /etc/network/interfaces.d/*\n");
    text
}

/// Carries out a command that changes the network.
pub(super) fn change(network: &SimNetwork, words: &[&str], stdin: &[u8]) -> Output {
    if network.lock().tool.is_none() {
        return exit_with(255, "ifreload: not found");
    }
    network.guard.run(network, words, stdin)
}
