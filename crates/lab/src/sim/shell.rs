//! The node's command line, as far as Phoenix uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::exchange::{Method, Request};
use proxmox::firewall::change::FIREWALL;
use proxmox::inventory::Printed;
use proxmox::network::NETWORK;
use transport::{CarriedLine, Command, Entering, Error, Held, Output, Runner, Stream};

use super::faults::{Fault, Faults};
use super::firewall;
use super::guard::SimGuard;
use super::guest::NODE;
use super::machines::SNIPPETS;
use super::network::{self, SimNetwork};
use super::ssh;
use crate::frontends::{pveum_call, split};
use crate::node::{Auth, Node};

/// The purpose of the command that reads all configuration files (`proxmox::inventory`). Its program is Perl, which is
/// not run here; what it would print is made from the node's files.
const READING: &str = "reading the guests' configuration";

/// What looks at the node's network is called so.
const NETWORK_LOOK: &str = "network";

/// Who holds a lock file of the node, by its path: the words on the command line that took it.
type Locks = Arc<Mutex<BTreeMap<String, String>>>;

/// Runs commands "on" a [`Node`] in this process, through [`Faults`]: reading the configuration files, `lxc-attach`, `pct`
/// and `qm` for what takes root, changing the firewall's files, and holding a lock. To everything else the node answers as its guests
/// do: to scripts of features and certificates and to their programs, and to what it does not know with 127.
///
/// In a cluster `ssh` leads to the other nodes, as their own tools call it (`sim::ssh`).
#[derive(Debug, Clone)]
pub struct SimShell {
    /// All nodes of the cluster.
    machines: Arc<[Machine]>,
    /// Which of them this one is on.
    at: usize,
    faults: Faults,
    latency: Duration,
    client: IpAddr,
}

/// What is on a node beside its API.
#[derive(Debug)]
struct Machine {
    node: Node,
    locks: Locks,
    firewall: SimGuard,
    network: SimNetwork,
    /// What it lacks of what any other node has: folders and devices.
    absent: Arc<Mutex<BTreeSet<String>>>,
}

impl SimShell {
    /// With nothing that goes wrong and no latency.
    pub fn new(node: Node) -> Self {
        Self::cluster(node, Vec::new())
    }

    /// On the first of the nodes of a cluster, likewise; [`SimShell::on`] is on another.
    pub fn cluster(first: Node, others: Vec<Node>) -> Self {
        let machine = |node: Node| Machine {
            network: SimNetwork::new(node.clone()),
            node,
            locks: Locks::default(),
            firewall: SimGuard::default(),
            absent: Arc::default(),
        };
        Self {
            machines: std::iter::once(first).chain(others).map(machine).collect(),
            at: 0,
            faults: Faults::none(),
            latency: Duration::ZERO,
            client: firewall::CLIENT,
        }
    }

    /// On another node of the same cluster, by its place in the list.
    #[must_use]
    pub fn on(&self, at: usize) -> Self {
        Self { at: at.min(self.machines.len().saturating_sub(1)), ..self.clone() }
    }

    /// Has the node lack a `folder:PATH` or a `device:PATH`: it has all others.
    pub fn take_away(&self, item: &str) {
        self.here().absent.lock().unwrap_or_else(PoisonError::into_inner).insert(item.to_owned());
    }

    /// What the file of the node's network says.
    pub fn network(&self) -> Option<String> {
        self.here().network.text()
    }

    /// Writes that file by hand, and brings it into force; `None` takes it away.
    pub fn write_network(&self, text: Option<String>) {
        self.here().network.write(text);
    }

    /// Has the node's network be otherwise: `staged`, `no-ifupdown`; `sourced` with a text; `called` with a card's name and the one
    /// that a new kernel gives it.
    pub fn network_is(&self, word: &str, rest: &str) {
        self.here().network.be(word, rest);
    }

    /// Whether the node lacks what is asked for.
    fn lacks(&self, item: &str) -> bool {
        match item.strip_prefix("link:") {
            Some(bridge) => !self.node().bridges().iter().any(|known| known.name == bridge),
            None => self.here().absent.lock().unwrap_or_else(PoisonError::into_inner).contains(item),
        }
    }

    fn here(&self) -> &Machine {
        &self.machines[self.at]
    }

    pub(super) fn node(&self) -> &Node {
        &self.here().node
    }

    /// With a plan of what goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// With this long for every command to go there and back.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// From this address.
    #[must_use]
    pub fn client(mut self, client: IpAddr) -> Self {
        self.client = client;
        self
    }

    fn refused(&self) -> Error {
        Error::Connect { place: self.place(), reason: "Connection refused".to_owned(), hint: None }
    }

    fn broken(&self, command: &Command) -> Error {
        let reason = "Connection reset by peer".to_owned();
        Error::Broken { place: self.place(), purpose: command.purpose.clone(), reason }
    }

    /// What goes wrong before the command: its number, and what goes wrong after it.
    async fn before(&self, command: &Command) -> Result<(u64, Option<Fault>), Error> {
        if self.faults.is_killed() {
            return self.faults.die().await;
        }
        let (n, fault) = self.faults.next(&command.purpose, self.node());
        match &fault {
            Some(Fault::KillBefore) => return self.faults.die().await,
            Some(Fault::NeverSent) => return Err(self.refused()),
            Some(Fault::Slow(time)) => tokio::time::sleep(*time).await,
            _ => {}
        }
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        Ok((n, fault))
    }

    /// What comes of a call to a node that is down.
    async fn away<T>(&self, fault: Option<&Fault>) -> Result<T, Error> {
        match fault {
            Some(Fault::KillAfter) => self.faults.die().await,
            _ => Err(self.refused()),
        }
    }

    /// A connection that is made now gets in only where the firewall lets it.
    fn closed(&self, command: &Command) -> Option<Error> {
        let new = command.purpose == transport::FRESH && !firewall::lets_in(self.node(), self.client, 22);
        let reason = "Connection timed out".to_owned();
        new.then(|| Error::Connect { place: self.place(), reason, hint: None })
    }

    /// The other node and what is to be done there, where a command is ssh that leads to one; what ssh itself says where
    /// it leads nowhere.
    fn across(&self, command: &Command) -> Option<Result<(Self, Command), Output>> {
        let call = ssh::parse(&command.argv)?;
        let found = self.machines.iter().position(|machine| machine.node.address() == call.host());
        let there = match found {
            Some(at) => self.on(at),
            None => return Some(Err(failed(255, &call.unreachable()))),
        };
        Some(match call.command(there.node().name()) {
            Ok(argv) => Ok((there, Command { argv, ..command.clone() })),
            Err(said) => Err(failed(255, &said)),
        })
    }

    async fn answer(&self, n: u64, command: &Command) -> Output {
        match self.across(command) {
            Some(Ok((there, command))) => {
                let Some(line) = CarriedLine::of(&command.argv) else {
                    return Box::pin(there.answer(n, &command)).await;
                };
                let inside = Command { argv: line.argv.to_vec(), ..command.clone() };
                return line.said(Box::pin(there.answer(n, &inside)).await);
            }
            Some(Err(output)) => return output,
            None => {}
        }
        if command.purpose == READING {
            let files = self.node().all_configuration_files();
            let guests =
                files.iter().map(|file| (file.node.as_str(), file.kind, file.id, file.text.as_bytes()));
            let firewall = match self.node().firewall_files() {
                Ok(files) => files,
                Err(error) => return failed(2, &format!("cannot read the firewall's files: {error}\n")),
            };
            let unconfirmed = self.here().firewall.unconfirmed();
            let remembered = ["cat".to_owned(), proxmox::inventory::MARK.to_owned()];
            let remembered = self.node().runtime().exec(NODE, &remembered, &[]).await;
            let mark = remembered.ok().filter(|(status, ..)| *status == 0).map(|(_, text, _)| text);
            let mark = mark.as_deref().map(String::from_utf8_lossy);
            let mut seen = BTreeMap::new();
            for look in command.argv.get(6..).unwrap_or_default().chunks_exact(2) {
                if look[0] == NETWORK_LOOK {
                    seen.insert(look[0].as_str(), Ok(self.here().network.printed()));
                    continue;
                }
                let argv = ["sh", "-c", &look[1], &look[0]].map(str::to_owned);
                // What the node does not know it does not have.
                if let Ok((status, text, _)) = self.node().runtime().exec(NODE, &argv, &[]).await {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    seen.insert(look[0].as_str(), if status == 0 { Ok(text) } else { Err(text) });
                }
            }
            let seen = seen
                .iter()
                .map(|(name, seen)| (*name, seen.as_ref().map(String::as_str).map_err(String::as_str)));
            let stdout = proxmox::inventory::printed(&Printed {
                guests: guests.collect(),
                firewall: firewall.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
                addresses: &firewall::addresses(self.node()),
                connection: &firewall::connection(self.node(), self.client),
                node: Some(self.node().name()),
                unconfirmed: unconfirmed.as_deref(),
                mark: mark.as_deref(),
                seen: seen.collect(),
            });
            return Output { stdout, ..Output::default() };
        }
        if let Some(entering) = Entering::of(&command.argv) {
            let output = self.enter(entering, &command.stdin).await;
            self.faults.note(n, format!("exec {}", entering.id), output.status);
            return output;
        }
        let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["sh", "-c", _, NETWORK_LOOK] => {
                Output { stdout: self.here().network.printed().into_bytes(), ..Output::default() }
            }
            ["sh", "-c", _, "pins", pairs @ ..] => {
                let output = self.here().network.keep(pairs);
                self.faults.note(n, "pins".to_owned(), 200);
                output
            }
            ["perl", "-e", _, words @ ..] if command.purpose == NETWORK.purpose => {
                let output = network::change(&self.here().network, words, &command.stdin);
                let what = format!("network {}", words.first().copied().unwrap_or_default());
                self.faults.note(n, what, if output.status == 0 { 200 } else { 500 });
                output
            }
            ["perl", "-e", _, words @ ..] if command.purpose == FIREWALL.purpose => {
                let output = self.here().firewall.run(self.node(), words, &command.stdin);
                let what = format!("firewall {}", words.first().copied().unwrap_or_default());
                self.faults.note(n, what, if output.status == 0 { 200 } else { 500 });
                output
            }
            ["pve-firewall", "status"] => firewall::status(self.node()),
            ["lxc-attach", "-n", id, rest @ ..] => {
                let argv = rest.iter().position(|word| *word == "--").and_then(|at| rest.get(at + 1..));
                let output = self.attach(id, argv.unwrap_or_default(), &command.stdin).await;
                self.faults.note(n, format!("exec {id}"), output.status);
                output
            }
            ["pct", "exec", id, "--", rest @ ..] => {
                let output = self.exec(id, rest, &command.stdin).await;
                self.faults.note(n, format!("exec {id}"), output.status);
                output
            }
            [program @ ("pct" | "qm"), verb, id, rest @ ..] => {
                let output = self.guest_command(program, verb, id, rest).await;
                self.faults.note(n, format!("{verb} {id}"), if output.status == 0 { 200 } else { 500 });
                output
            }
            ["pveum", rest @ ..] => self.pveum(n, rest).await,
            ["readlink", "/etc/pve/local"] => {
                let stdout = format!("nodes/{}\n", self.node().name()).into_bytes();
                Output { stdout, ..Output::default() }
            }
            ["true"] => Output::default(),
            ["sh", "-c", _, "phoenix-restart", "reboot"] => {
                let output = self.restart(&command.argv).await;
                self.faults.note(n, "restart node".to_owned(), output.status);
                output
            }
            ["sh", "-c", _, "phoenix-first-start", verb, volume, id] => {
                let output = self.first_start(verb, volume, id, &command.stdin).await;
                self.faults.note(n, format!("first start {verb} {id}"), output.status);
                output
            }
            ["sh", "-c", _, "ground", items @ ..] => {
                let stdout: String =
                    items.iter().filter(|it| self.lacks(it)).map(|it| format!("{it}\n")).collect();
                Output { stdout: stdout.into_bytes(), ..Output::default() }
            }
            words => {
                let output = match self.node().runtime().exec(NODE, &command.argv, &command.stdin).await {
                    Ok((status, stdout, stderr)) => Output { status, stdout, stderr },
                    Err(error) => failed(1, &format!("{error}\n")),
                };
                // Neither reading nor what is not there changes anything.
                if output.status != 127 && !matches!(words, ["cat", ..]) {
                    self.faults.note(n, "exec node".to_owned(), output.status);
                }
                output
            }
        }
    }

    /// What a machine is told at its first start, put where the node reads it, and taken away.
    async fn first_start(&self, verb: &str, volume: &str, id: &str, text: &[u8]) -> Output {
        let Some(path) = volume.split_once(":snippets/").map(|(_, name)| format!("{SNIPPETS}/{name}")) else {
            return failed(2, &format!("unable to parse volume ID '{volume}'\n"));
        };
        if verb == "end" {
            let done = self.guest_command("qm", "set", id, &["--delete", "cicustom"]).await;
            if done.status != 0 {
                return done;
            }
        }
        self.node().set_snippet(volume, verb == "begin");
        let argv = [if verb == "begin" { "tee" } else { "rm" }, path.as_str()].map(str::to_owned);
        match self.node().runtime().exec(NODE, &argv, text).await {
            Ok((status, _, stderr)) => Output { status, stdout: Vec::new(), stderr },
            Err(error) => failed(2, &format!("{error}\n")),
        }
    }

    /// Restarts the node: whatever held a lock on it has ended, and what starts with it starts once it is up again.
    async fn restart(&self, argv: &[String]) -> Output {
        if let Err(error) = self.node().runtime().exec(NODE, argv, &[]).await {
            return failed(1, &format!("{error}\n"));
        }
        self.here().locks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let node = self.node().clone();
        tokio::spawn(async move {
            while node.runtime().is_down() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let mut starts: Vec<(u32, u32, &str)> = Vec::new();
            for file in node.all_configuration_files() {
                let config = GuestConfig::parse(file.kind, &file.text).current.values;
                let order = config
                    .get("startup")
                    .and_then(|it| it.strip_prefix("order=")?.split(',').next()?.parse().ok());
                let kind = if file.kind == GuestKind::Vm { "qemu" } else { "lxc" };
                if file.node == node.name() && config.get("onboot").is_some_and(|it| it == "1") {
                    starts.push((order.unwrap_or(u32::MAX), file.id, kind));
                }
            }
            starts.sort_unstable();
            for (_, id, kind) in starts {
                let path = format!("/nodes/{}/{kind}/{id}/status/start", node.name());
                let request = Request { method: Method::Post, path, params: Vec::new() };
                node.handle(&Auth::root(), &request).await;
            }
        });
        Output::default()
    }

    /// `pveum …`, which is the API as root on the node.
    async fn pveum(&self, n: u64, arguments: &[&str]) -> Output {
        let (words, mut parameters) = split(arguments);
        let Some(call) = pveum_call(&words, &mut parameters) else {
            return failed(255, "ERROR: no command specified\npveum <COMMAND> [ARGS] [OPTIONS]\n");
        };
        let request =
            Request { method: call.method, path: call.path, params: parameters.into_iter().collect() };
        let response = self.node().handle(&Auth::root(), &request).await;
        self.faults.note(n, format!("pveum {}", words.join(" ")), i32::from(response.status));
        match response.status {
            200 => Output { stdout: response.body["data"].to_string().into_bytes(), ..Output::default() },
            _ => failed(255, &format!("{}\n{}\n", response.reason, response.body["errors"])),
        }
    }

    /// The number of a container of this node.
    fn container(&self, id: &str) -> Option<u32> {
        let number = id.parse().ok()?;
        (self.node().guest_kind(number) == Some(GuestKind::Container)).then_some(number)
    }

    /// `pct exec ID -- program …`.
    async fn exec(&self, id: &str, argv: &[&str], stdin: &[u8]) -> Output {
        if self.container(id).is_none() {
            let node = self.node().name();
            return failed(2, &format!("Configuration file 'nodes/{node}/lxc/{id}.conf' does not exist\n"));
        }
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        match self.node().runtime().exec(id.parse().unwrap_or_default(), &argv, stdin).await {
            Ok((status, stdout, stderr)) => Output { status, stdout, stderr },
            Err(error) => failed(255, &format!("{error}\n")),
        }
    }

    /// As [`SimShell::attach`], through Phoenix' own script, which looks first.
    async fn enter(&self, entering: Entering<'_>, stdin: &[u8]) -> Output {
        let Some(id) = self.container(entering.id) else {
            return entering.refused("it is not defined on this node");
        };
        match self.node().runtime().exec(id, entering.argv, stdin).await {
            Ok((status, stdout, stderr)) => Output { status, stdout, stderr },
            // The runtime refuses only a guest that does not run.
            Err(_) => entering.refused("STOPPED"),
        }
    }

    async fn attach(&self, id: &str, argv: &[&str], stdin: &[u8]) -> Output {
        let Some(number) = self.container(id) else {
            return failed(1, &format!("Error: container {id} is not defined\n"));
        };
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        match self.node().runtime().exec(number, &argv, stdin).await {
            Ok((status, stdout, stderr)) => Output { status, stdout, stderr },
            // The runtime refuses only a guest that does not run; these are lxc's words for that.
            Err(_) => failed(
                1,
                &format!(
                    "lxc-attach: {id}: ../src/lxc/attach.c: get_attach_context: 405 Connection refused - Failed to get \
                     init pid\n"
                ),
            ),
        }
    }
}

pub(super) fn failed(status: i32, stderr: &str) -> Output {
    Output { status, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() }
}

/// A lock that is let go when it is dropped.
#[derive(Debug)]
struct SimHeld {
    locks: Locks,
    path: String,
    owner: String,
}

impl Held for SimHeld {}

impl Drop for SimHeld {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Since a restart of the node it may be somebody else's.
        if locks.get(&self.path) == Some(&self.owner) {
            locks.remove(&self.path);
        }
    }
}

#[async_trait]
impl Runner for SimShell {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let (n, fault) = self.before(command).await?;
        if self.node().runtime().is_down() {
            return self.away(fault.as_ref()).await;
        }
        if let Some(error) = self.closed(command) {
            return Err(error);
        }
        let Ok(mut output) = tokio::time::timeout(command.limit, self.answer(n, command)).await else {
            let (place, purpose) = (self.place(), command.purpose.clone());
            return Err(Error::TimedOut { place, purpose, limit: command.limit });
        };
        match fault {
            Some(Fault::KillAfter) => return self.faults.die().await,
            Some(Fault::ReplyLost) => return Err(self.broken(command)),
            Some(Fault::Cut) => output.stdout.truncate(output.stdout.len() / 2),
            _ => {}
        }
        output.text().lines().for_each(line);
        Ok(output)
    }

    /// Takes a lock and prints `locked`. When it is taken, the status is 1 and standard output says `held by` whom.
    /// Understood are the site's lock (`… phoenix-lock SITE OWNER`), and any command line with the path of a file below
    /// `/run` in it, the rest of which names the owner.
    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let (_, fault) = self.before(command).await?;
        if self.node().runtime().is_down() {
            return self.away(fault.as_ref()).await;
        }
        let (there, command) = match self.across(command) {
            Some(Ok((there, command))) => {
                let line = CarriedLine::of(&command.argv);
                let argv = line.map_or_else(|| command.argv.clone(), |line| line.argv.to_vec());
                (there, Command { argv, ..command })
            }
            Some(Err(output)) => return Ok(Err(output)),
            None => (self.clone(), command.clone()),
        };
        let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let site = words.iter().position(|word| *word == "phoenix-lock").and_then(|at| words.get(at + 1..));
        let file = words.iter().position(|word| word.starts_with("/run/")).and_then(|at| words.get(at..));
        let (path, owner) = match (site, file) {
            (Some([site, owner, ..]), _) => (format!("/run/phoenix/{site}.lock"), (*owner).to_owned()),
            (_, Some([path, rest @ ..])) => ((*path).to_owned(), rest.join(" ")),
            _ => return Ok(Err(there.answer(0, &command).await)),
        };
        {
            let mut locks = there.here().locks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(owner) = locks.get(&path) {
                let stdout = format!("held by {owner}\n").into_bytes();
                return Ok(Err(Output { status: 1, stdout, stderr: Vec::new() }));
            }
            locks.insert(path.clone(), owner.clone());
        }
        let held = SimHeld { locks: there.here().locks.clone(), path, owner };
        match fault {
            Some(Fault::KillAfter) => self.faults.die().await,
            // The connection broke, and with it the command ended: the lock is let go.
            Some(Fault::ReplyLost | Fault::Cut) => Err(self.broken(&command)),
            _ => Ok(Ok(("locked".to_owned(), Box::new(held)))),
        }
    }

    async fn connect(&self, _host: &str, _port: u16, _limit: Duration) -> Result<Box<dyn Stream>, Error> {
        let reason = "there is nothing to connect to on a simulated node".to_owned();
        Err(Error::Connect { place: self.place(), reason, hint: None })
    }

    fn place(&self) -> String {
        format!("root@{} (simulated)", self.node().name())
    }
}
