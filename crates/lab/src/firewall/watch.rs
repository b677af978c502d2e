//! Keeps the kernel in line with the files: looks each second whether they changed, as pve-firewall does each ten.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::firewall::{FirewallFile, Range};
use proxmox::inventory::{NodeAddress, firewall_path, host_fw, node_addresses};
use proxmox::property::{PropertyString, container::NET, flag};
use transport::{Command, Local, Output, Runner as _};

use super::compile::{Compiled, Input, Link, TABLE, compile, nothing};
use super::kernel::{self, Abilities};
use super::state::{State, forget, record};

/// How often the files are looked at.
const EACH: Duration = Duration::from_secs(1);
/// After how many looks the kernel is asked whether our tables are still there.
const ASK: u32 = 10;

/// A node's files, as they lie in its file system.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    etc: Utf8PathBuf,
    name: String,
}

/// Everything that a script is made of, as text: two that are equal give the same script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Texts {
    firewall: BTreeMap<String, String>,
    guests: BTreeMap<u32, String>,
    addresses: Vec<NodeAddress>,
}

async fn run(purpose: &str, argv: &[&str], stdin: &str) -> io::Result<Output> {
    let command = Command::new(purpose, argv.iter().copied()).stdin(stdin).limit(Duration::from_secs(20));
    Local.run(&command).await.map_err(|error| io::Error::other(crate::containers::explain(&error)))
}

impl Node {
    /// The node that this process runs on.
    pub(crate) fn this() -> io::Result<Self> {
        let name = fs_err::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
        Ok(Self { etc: "/etc/pve".into(), name })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    async fn texts(&self) -> io::Result<Texts> {
        let mut texts = Texts::default();
        for name in ["cluster.fw".to_owned(), host_fw(&self.name)] {
            if let Some(text) = read(&self.etc.join(firewall_path(&name)))? {
                texts.firewall.insert(name, text);
            }
        }
        for entry in self.etc.join("nodes").join(&self.name).join("lxc").read_dir_utf8()? {
            let entry = entry?;
            let id = entry.file_name().strip_suffix(".conf").and_then(|id| id.parse::<u32>().ok());
            let Some(id) = id else { continue };
            if let Some(text) = read(entry.path())? {
                texts.guests.insert(id, text);
            }
            let name = format!("{id}.fw");
            if let Some(text) = read(&self.etc.join(firewall_path(&name)))? {
                texts.firewall.insert(name, text);
            }
        }
        let said = run("reading the node's addresses", &["ip", "-o", "-4", "address"], "").await?;
        texts.addresses = node_addresses(&said.text());
        Ok(texts)
    }

    /// The networks that the node's own address is in: the one its name stands for.
    pub(crate) fn local(&self, addresses: &[NodeAddress]) -> (Option<IpAddr>, Vec<Range>) {
        let own = (self.name.as_str(), 0_u16).to_socket_addrs().ok();
        let own: Vec<IpAddr> =
            own.into_iter().flatten().map(|it| it.ip()).filter(|it| !it.is_loopback()).collect();
        let networks = addresses.iter().filter(|it| own.contains(&it.address.into()));
        let ranges = networks.filter_map(|it| Range::parse(&format!("{}/{}", it.address, it.length)));
        (own.first().copied(), ranges.collect())
    }

    fn input(&self, texts: &Texts, abilities: Abilities) -> Input {
        let file = |name: &str| FirewallFile::parse(texts.firewall.get(name).map_or("", String::as_str));
        Input {
            cluster: file("cluster.fw"),
            host: file(&host_fw(&self.name)),
            guests: texts
                .guests
                .keys()
                .filter_map(|id| Some((*id, FirewallFile::parse(texts.firewall.get(&format!("{id}.fw"))?))))
                .collect(),
            links: texts.guests.iter().flat_map(|(id, text)| links(*id, text)).collect(),
            local: self.local(&texts.addresses).1,
            abilities,
        }
    }

    /// What the files come to now.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) async fn compiled(&self) -> io::Result<Compiled> {
        let texts = self.texts().await?;
        Ok(compile(&self.input(&texts, Abilities::of_this_kernel().await?)))
    }
}

fn read(path: &Utf8Path) -> io::Result<Option<String>> {
    match fs_err::read(path) {
        // What is no UTF-8 in it is in comments.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The links of a guest, by its configuration.
fn links(id: u32, text: &str) -> Vec<Link> {
    let config = GuestConfig::parse(GuestKind::Container, text);
    let link = |(key, value): (&String, &String)| {
        let slot = key.strip_prefix("net")?.parse().ok()?;
        let net: PropertyString = value.parse().ok()?;
        let fixed = ["ip", "ip6"].into_iter().filter_map(|key| net.get(key));
        let addresses = fixed.filter_map(|it| Range::parse(it.split('/').next()?)).collect();
        let mac = NET.normal("hwaddr", net.get("hwaddr"));
        let firewall = net.get("firewall").and_then(flag).unwrap_or(false);
        Some(Link { id, slot, mac, addresses, firewall })
    };
    config.current.values.iter().filter_map(link).collect()
}

impl Abilities {
    /// What this kernel can do, by trying: nothing of it stays.
    ///
    /// # Errors
    /// When nft cannot be run.
    pub async fn of_this_kernel() -> io::Result<Self> {
        let takes = async |statement: &str| {
            let probe = kernel::probe(statement);
            run("asking the kernel what it can do", &["nft", "-c", "-f", "-"], &probe)
                .await
                .map(|it| it.success())
        };
        Ok(Self {
            conntrack_on_bridge: takes("ct state established accept").await?,
            reject_on_bridge: takes("ip protocol tcp reject").await?,
        })
    }
}

/// Has bridged packets go through the tables of IP, where the kernel tracks them.
fn hand_over() -> io::Result<()> {
    for key in ["iptables", "ip6tables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{key}");
        let now = fs_err::read_to_string(&path).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("this kernel has neither nf_conntrack_bridge nor br_netfilter: {error}"),
            )
        })?;
        if now.trim() != "1" {
            fs_err::write(&path, "1")?;
        }
    }
    Ok(())
}

/// Puts a script in force, whole or not at all.
async fn put(compiled: &Compiled, abilities: Abilities) -> io::Result<()> {
    if compiled.enabled && !abilities.conntrack_on_bridge {
        hand_over()?;
    }
    let output = run("putting the firewall in force", &["nft", "-f", "-"], &compiled.script).await?;
    if output.success() { Ok(()) } else { Err(io::Error::other(output.tail(3).joined())) }
}

/// Whether our tables are there. A service that flushes all rules takes them, too.
async fn there() -> bool {
    let all = run("asking what tables there are", &["nft", "list", "tables"], "").await;
    all.is_ok_and(|output| {
        output.text().lines().filter(|line| line.ends_with(&format!(" {TABLE}"))).count() == 2
    })
}

/// What the watcher remembers.
struct Watcher<'a, T: FnMut(&str)> {
    node: &'a Node,
    abilities: Abilities,
    last: Option<Texts>,
    state: State,
    told: T,
}

impl<T: FnMut(&str)> Watcher<'_, T> {
    /// One look: whatever goes wrong, what is in force stays, and the next look tries again.
    async fn look(&mut self, ask: bool) {
        let lost = ask && self.state.script.contains(" {\n") && !there().await;
        let result = self.follow(lost).await;
        let before = (self.state.error.clone(), self.state.script.clone());
        self.state.error = match result {
            Ok(compiled) => {
                if let Some(compiled) = compiled {
                    for warning in compiled.warnings.iter().filter(|it| !self.state.warnings.contains(it)) {
                        (self.told)(warning);
                    }
                    (self.state.script, self.state.warnings) = (compiled.script, compiled.warnings);
                }
                None
            }
            Err(error) => {
                // It is tried again, whether or not the files change.
                self.last = None;
                Some(error.to_string())
            }
        };
        if let Some(error) = self.state.error.as_ref().filter(|_| self.state.error != before.0) {
            (self.told)(error);
        }
        if (&self.state.error, &self.state.script) != (&before.0, &before.1)
            && let Err(error) = record(&self.state)
        {
            (self.told)(&error.to_string());
        }
    }

    /// Puts in force what the files say, when that is something else than what is.
    async fn follow(&mut self, lost: bool) -> io::Result<Option<Compiled>> {
        let texts = self.node.texts().await?;
        if self.last.as_ref() == Some(&texts) && !lost {
            return Ok(None);
        }
        let compiled = compile(&self.node.input(&texts, self.abilities));
        if compiled.script != self.state.script || lost || self.state.error.is_some() {
            put(&compiled, self.abilities).await?;
        }
        self.last = Some(texts);
        Ok(Some(compiled))
    }
}

/// Watches until the process is ended. `told` gets each thing that a person should know, once.
///
/// # Errors
/// When the kernel cannot be asked what it can do.
pub(crate) async fn watch(node: &Node, told: impl FnMut(&str)) -> io::Result<()> {
    let abilities = Abilities::of_this_kernel().await?;
    let mut watcher = Watcher { node, abilities, last: None, state: State::default(), told };
    for look in 1_u32.. {
        watcher.look(look % ASK == 0).await;
        tokio::time::sleep(EACH).await;
    }
    Ok(())
}

/// Takes all rules away.
///
/// # Errors
/// When the kernel refuses.
pub(crate) async fn remove() -> io::Result<()> {
    let output = run("taking the firewall away", &["nft", "-f", "-"], &nothing()).await?;
    forget();
    if output.success() { Ok(()) } else { Err(io::Error::other(output.tail(3).joined())) }
}
