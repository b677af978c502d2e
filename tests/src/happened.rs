//! What happened to a node since it was applied, as a line of text each. What somebody does to a node is done to it, through
//! its API, with its tools or in its files. What a simulated node has not got (virtual machines, how full disks are, what
//! is inside guests) or what could not be read is told whoever looks ([`There::look`]).

use std::collections::BTreeMap;
use std::time::Duration;

use lab::node::Node;
use lab::runtime::Runtime as _;
use lab::sim::World;
use managers::certificates::CertificateMark;
use plan::inventory::{Guest, Unread};
use plan::mark::{self, Mark};
use plan::{Address, Inventory};
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::exchange::Method;
use proxmox::firewall::change::{FIREWALL, FileChange};
use proxmox::inventory::MARK;
use transport::Runner as _;

use crate::site::{Files, Site, trust};
use crate::there::{Ground, There};

/// Stands for the node itself where guests have their number.
const ON_THE_NODE: u32 = 0;

/// How long a backup takes.
const BACKUP: Duration = Duration::from_secs(20);

/// What could not be done as a line says it, and why.
type Refused = String;

impl Ground {
    /// What these lines say of how nodes are made, rather than of what happened to them.
    ///
    /// # Panics
    /// When a line says nothing that can be understood.
    #[must_use]
    pub fn with(mut self, lines: &[&str]) -> Self {
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match *words.as_slice() {
                ["node" | "offline" | "reached", node] | ["moved", _, node] => {
                    self.others.insert(node.into());
                }
                ["bridge", name] => {
                    self.bridges.insert(name.into());
                }
                ["no-node", node] => {
                    self.others.remove(node);
                }
                ["disk", disk] => self.plug(disk),
                ["no-disk", disk] => drop(self.plugged.remove(disk)),
                ["no-zfs"] => self.plugged.clear(),
                ["gpu", address, kind] => self.card(address, kind, None),
                ["gpu", address, kind, driver] => self.card(address, kind, Some(driver)),
                ["way-in", client] => self.client = Some(client.parse().expect("an address")),
                ["offers", template] => self.offers.push(("system".into(), template.into())),
                ["offers", template, section] => self.offers.push((section.into(), template.into())),
                ["web", url, content] => drop(self.web.insert(url.into(), content.into())),
                ["no-image", volume] => {
                    self.images.remove(volume);
                }
                ["template", volume] => self.templates.entry("pve1".into()).or_default().push(volume.into()),
                ["storage-of", node, storage, content] => {
                    self.others.insert(node.into());
                    self.storages.entry(node.into()).or_default().push((storage.into(), content.into()));
                }
                ["template-on", node, volume] => {
                    self.others.insert(node.into());
                    self.storages.entry(node.into()).or_default();
                    self.templates.entry(node.into()).or_default().push(volume.into());
                }
                _ => {}
            }
        }
        self
    }
}

impl Ground {
    /// With a graphics card of this kind, of 24 GiB.
    fn card(&mut self, address: &str, kind: &str, driver: Option<&str>) {
        let card = (kind.to_owned(), 24 << 10, driver.map(str::to_owned));
        self.cards.insert(address.to_owned(), card);
    }
}

impl There {
    /// Has happen what a line says. `life` is how long certificates live, in seconds.
    ///
    /// # Errors
    /// When the node refuses, or does not have what the line is about.
    ///
    /// # Panics
    /// When the line says nothing that can be understood.
    #[expect(clippy::too_many_lines, reason = "a table of words")]
    pub async fn change(&mut self, line: &str, life: i64) -> Result<(), Refused> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = |n: usize| words.get(n..).unwrap_or_default().join(" ");
        let id = || -> u32 { words[1].parse().unwrap_or_else(|_| panic!("no id in `{line}`")) };
        match words.first().copied().unwrap_or_default() {
            // How nodes are made is said in `Ground`.
            "node" | "no-node" | "no-image" | "bridge" | "way-in" | "template" | "storage-of"
            | "template-on" | "offers" | "web" | "disk" | "no-disk" | "no-zfs" | "gpu" => {}
            "empty" => self.clear().await,
            "disk-holds" => {
                self.world.runtime.zfs(|zfs| zfs.format(words[1], words[2], words.get(3).copied()));
            }
            "disk-half" => self.world.runtime.zfs(|zfs| zfs.half_label(words[1])),
            "disk-pulled" => self.world.runtime.zfs(|zfs| zfs.pull(words[1])),
            "disk-fails" => self.world.runtime.zfs(|zfs| zfs.fail(words[1], words[2])),
            "pool-gone" => self.world.runtime.zfs(|zfs| zfs.lose(words[1])),
            "dataset" => self.world.runtime.zfs(|zfs| zfs.foreign(words[1])),
            "property" => self.world.runtime.zfs(|zfs| zfs.set(words[1], words[2], words[3])),
            "gpu-plugged" => self.world.runtime.gpus(|gpus| gpus.plug(words[1], words[2], 24 << 10)),
            "gpu-gone" => self.world.runtime.gpus(|gpus| gpus.pull(words[1])),
            "gpu-driver" => self.world.runtime.gpus(|gpus| gpus.driver(words[1], words[2])),
            "gpu-driver-from-restart" => {
                self.world.runtime.gpus(|gpus| gpus.driver_from_restart(words[1], words[2]));
            }
            "gpu-beside" => self.world.runtime.gpus(|gpus| gpus.beside(words[1], words[2], words[3])),
            "gpu-group" => {
                let group = words[2].parse().unwrap_or_else(|_| panic!("no group in `{line}`"));
                self.world.runtime.gpus(|gpus| gpus.group(words[1], group));
            }
            "gpu-node-lost" => self.world.runtime.gpus(|gpus| gpus.lose(words[1])),
            // By hand: nothing is left that waits.
            "node-restarted" => self.world.runtime.restarts(lab::sim::SimRestarts::restarted),
            // A run that was killed after it stopped the guest of this id, or after that and the restart.
            "restart-cut-off" => {
                let guest = format!("container {}", words[1]);
                self.world.runtime.restarts(|it| it.begin("workshop", &guest));
                self.at_guest(Method::Post, words[1].parse().expect("an id"), "/status/stop", &[]).await?;
                if words.get(2) == Some(&"restarted") {
                    self.world.runtime.restarts(lab::sim::SimRestarts::restarted);
                }
            }
            "intel" => self.world.runtime.gpus(lab::sim::SimGpus::intel),
            "iommu-off" => self.world.runtime.gpus(lab::sim::SimGpus::no_iommu),
            "nvidia" => self.world.runtime.gpus(|gpus| gpus.nvidia(words[1])),
            "mapping" => {
                let params = [("id", words[1]), ("map", words[2])];
                self.by_hand(Method::Post, "/cluster/mapping/pci", &params).await?;
            }
            // Its system disk is another one.
            "reinstalled" => {
                self.world.runtime.zfs(lab::sim::SimZfs::reinstall);
                self.world.runtime.lose_file(ON_THE_NODE, MARK);
            }
            "node-forgets" => self.world.runtime.lose_file(ON_THE_NODE, MARK),
            // A folder of the node, or a device: it has all others.
            "lacks" => self.world.shell.take_away(words[1]),
            "gone" => {
                self.at_guest(Method::Delete, id(), "", &[("force", "1")]).await?;
                self.told.retain(|(about, _)| *about != Some(id()));
            }
            "start" => self.at_guest(Method::Post, id(), "/status/start", &[]).await?,
            "stop" => self.at_guest(Method::Post, id(), "/status/stop", &[]).await?,
            // Written into its file, with an editor.
            "set" => self.edit(id(), |file| drop(file.current.values.insert(words[2].into(), rest(3))))?,
            "unset" => self.edit(id(), |file| drop(file.current.values.remove(words[2])))?,
            // Asked for, and to come at the next start.
            "pending" => {
                let (key, value) = (words[2], rest(3));
                let param = if value.is_empty() { ("delete", key) } else { (key, value.as_str()) };
                self.at_guest(Method::Put, id(), "/config", &[param]).await?;
                let pending = self.file(id())?.pending;
                if !pending.delete.contains(key) && pending.section.get(key).is_none() {
                    return Err(format!("`{line}` waits for nothing"));
                }
            }
            // A backup ends by itself.
            "lock" => {
                let (node, _) = self.place(id())?;
                match words[2] {
                    "backup" => drop(node.back_up(id(), BACKUP)),
                    other => drop(node.set_guest_lock(id(), Some(other))),
                }
            }
            "text" => self.describe(id(), |text, _| *text = rest(2)).await?,
            "unmark" => self.at_guest(Method::Put, id(), "/config", &[("delete", "description")]).await?,
            "template-of" => {
                self.at_guest(Method::Post, id(), "/status/stop", &[]).await?;
                self.at_guest(Method::Post, id(), "/template", &[]).await?;
            }
            "moved" => self.migrate(id(), words[2]).await?,
            // As a clone is: with another name and another MAC, and the description.
            "copy" => {
                let (mut file, copy) = (self.file(id())?, words[2].parse().expect("an id"));
                for (key, value) in &mut file.current.values {
                    match key.as_str() {
                        "hostname" => value.push_str("-copy"),
                        "net0" => *value = with_another_mac(value),
                        _ => *value = value.replace(&format!("-{}-", words[1]), &format!("-{copy}-")),
                    }
                }
                self.put(copy, &file.to_string())?;
            }
            "foreign" => {
                let mut file = GuestConfig::parse(GuestKind::Container, &World::guest_file(id()));
                file.current.values.insert("hostname".into(), words[2].into());
                self.put(id(), &file.to_string())?;
            }
            "other-site" => self.another_site(id(), words[2], &words[3].parse().expect("an address")).await?,
            "mark" => {
                let address = Address::new(words[2], words[3]);
                assert!(managers::manager_of(address.kind()).is_some(), "what is `{address}` in a mark?");
                let change = |_: &mut String, mark: &mut Mark| match words.get(4) {
                    Some(fingerprint) => mark.remember(&address, *fingerprint),
                    None => drop(mark.forget(&address)),
                };
                self.describe(id(), change).await?;
            }
            "certificate" => {
                let end: jiff::civil::Date = words[3].parse().expect("a date");
                let end = end.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second();
                self.age(&Address::certificate(words[1]), end - life, end).await?;
            }
            "hypervisor" => {
                let mut mark = self.own_mark().await?;
                words[2].clone_into(&mut mark.site);
                self.put_own_mark(&mark);
            }
            "no-templates" => {
                for template in self.look().await.facts("pve1").templates.clone() {
                    let path = format!("/nodes/pve1/storage/local/content/{}", template.replace('/', "%2F"));
                    self.by_hand(Method::Delete, &path, &[]).await?;
                }
            }
            "storage" => {
                let disabled = if words.get(3) == Some(&"inactive") { "1" } else { "0" };
                let path = format!("/{}", words[1]);
                let params = [
                    ("storage", words[1]),
                    ("type", "dir"),
                    ("path", &path),
                    ("content", words[2]),
                    ("disable", disabled),
                ];
                self.by_hand(Method::Post, "/storage", &params).await?;
            }
            "no-storage" => self.by_hand(Method::Delete, &format!("/storage/{}", words[1]), &[]).await?,
            "storage-set" => {
                let params: Vec<(&str, &str)> =
                    words[2..].iter().filter_map(|it| it.split_once('=')).collect();
                self.by_hand(Method::Put, &format!("/storage/{}", words[1]), &params).await?;
            }
            "notes-written" => {
                self.by_hand(Method::Put, "/cluster/options", &[("description", &rest(1))]).await?;
            }
            // A line of the network's file, or one in the place of another; `\\t` is a tab.
            "interfaces" => {
                let text = self.world.shell.network().unwrap_or_default();
                let line = rest(1).replace("\\n", "\n").replace("\\t", "\t");
                let text = match line.split_once(" => ") {
                    Some((old, new)) if text.contains(old) => text.replace(old, new),
                    Some((old, _)) => return Err(format!("the file does not say `{old}`:\n{text}")),
                    None => format!("{text}{line}\n"),
                };
                self.world.shell.write_network(Some(text));
            }
            "network" => self.world.shell.network_is(words[1], &rest(2).replace("\\n", "\n")),
            "pools" => {
                for pool in &words[1..] {
                    self.by_hand(Method::Post, "/pools", &[("poolid", pool)]).await?;
                }
            }
            "no-pools" => {
                for pool in self.look().await.pools {
                    self.by_hand(Method::Delete, &format!("/pools/{pool}"), &[]).await?;
                }
            }
            "no-commands" => self.commands = false,
            "reached" => {
                self.reached = self.world.others.iter().position(|other| other.node.name() == words[1]);
            }
            // A run was cut off between the change and the word that all is well.
            "unconfirmed" => {
                let name = "cluster.fw".to_owned();
                let text = self.firewall().get(&name).cloned();
                let same = FileChange { name, old: text.clone(), new: text };
                let command = FIREWALL.apply(words[1], &[same], managers::firewall::crew::GUARD, &[]);
                let output = self.world.shell.run(&command).await.map_err(|error| error.to_string())?;
                assert!(output.success(), "{}", output.text());
            }
            // A file of the firewall, with `¶` for the ends of its lines; the other two put a line before the others, or after.
            "firewall" => self.put_firewall(words[1], Some(&rest(2).replace('¶', "\n"))),
            "no-firewall" => self.put_firewall(words[1], None),
            "firewall-option" | "firewall-without" => {
                let text =
                    self.firewall().remove(words[1]).ok_or_else(|| format!("no such file: `{line}`"))?;
                let key = rest(2).split_once(": ").map(|(key, _)| format!("{key}: "));
                let lines = text.lines().filter_map(|old| match &key {
                    Some(key) if old.starts_with(key.as_str()) => Some(rest(2)),
                    None if old.contains(&rest(2)) => None,
                    _ => Some(old.to_owned()),
                });
                self.put_firewall(words[1], Some(&lines.map(|line| line + "\n").collect::<String>()));
            }
            "firewall-first" | "firewall-last" => {
                let mut text =
                    self.firewall().remove(words[1]).ok_or_else(|| format!("no such file: `{line}`"))?;
                let first = words[0] == "firewall-first";
                let at = if first { text.find("[RULES]\n\n").expect("rules") + 9 } else { text.len() };
                text.insert_str(at, &format!("{}\n", rest(2)));
                self.put_firewall(words[1], Some(&text));
            }
            // Somebody says what may have been taken.
            "rotate" => match words[1] {
                "intermediate" => (self.rotated.intermediate, self.rotated.signer) = (true, true),
                guest => {
                    self.rotated.signer = true;
                    self.rotated.guests.insert(guest.to_owned());
                }
            },
            "root-away" => self.told.push((None, Box::new(|inventory| inventory.root_away = true))),
            // Somebody looked inside, and this is what differs.
            "found" => {
                let text = rest(1);
                let (address, what) = text.split_once(": ").expect("an address and a sentence");
                self.found.entry(address.parse().expect("an address")).or_default().push(what.to_owned());
            }
            "unreadable" | "vm-of" | "used" => {
                self.place(id())?;
                self.told.push((Some(id()), change_to_inventory(line, &words, rest)));
            }
            _ => self.told.push((None, change_to_inventory(line, &words, rest))),
        }
        Ok(())
    }

    /// A call about a guest, wherever it is.
    async fn at_guest(
        &self,
        method: Method,
        id: u32,
        path: &str,
        params: &[(&str, &str)],
    ) -> Result<(), Refused> {
        let (node, _) = self.place(id)?;
        self.by_hand(method, &format!("/nodes/{}/lxc/{id}{path}", node.name()), params).await?;
        node.idle().await;
        Ok(())
    }

    /// The node that a guest is on, and which of the others that is.
    fn place(&self, id: u32) -> Result<(&Node, Option<usize>), Refused> {
        let has = |node: &Node| node.configuration_files().iter().any(|(there, _)| *there == id);
        if has(&self.world.node) {
            return Ok((&self.world.node, None));
        }
        let at = self.world.others.iter().position(|other| has(&other.node));
        at.map(|at| (&self.world.others[at].node, Some(at))).ok_or_else(|| format!("there is no guest {id}"))
    }

    fn file(&self, id: u32) -> Result<GuestConfig, Refused> {
        let (node, _) = self.place(id)?;
        let text = node.configuration_files().into_iter().find(|(there, _)| *there == id);
        text.map(|(_, text)| GuestConfig::parse(GuestKind::Container, &text))
            .ok_or_else(|| format!("{id} is gone"))
    }

    fn edit(&self, id: u32, change: impl FnOnce(&mut GuestConfig)) -> Result<(), Refused> {
        let (node, _) = self.place(id)?;
        let mut file = self.file(id)?;
        change(&mut file);
        let put = match node.guest_kind(id) {
            Some(GuestKind::Vm) => node.put_vm(id, &file.to_string()),
            _ => node.put_guest(id, &file.to_string()),
        };
        put.map_err(|error| error.to_string())
    }

    /// A guest that is there and runs. It is in nobody's way.
    fn put(&self, id: u32, text: &str) -> Result<(), Refused> {
        if self.place(id).is_ok() {
            return Err(format!("there is a guest {id} already"));
        }
        self.world.node.put_guest(id, text).map_err(|error| error.to_string())?;
        self.world.runtime.set_running(id);
        Ok(())
    }

    /// Changes a guest's description by the API: what people wrote, and the mark, which is sealed as before.
    async fn describe(&self, id: u32, change: impl FnOnce(&mut String, &mut Mark)) -> Result<(), Refused> {
        let description = self.file(id)?.current.description.unwrap_or_default();
        let (mut text, found) = mark::parse(&description).map_err(|error| error.to_string())?;
        let mut found = found.ok_or_else(|| format!("{id} has no mark"))?.into_mark();
        change(&mut text, &mut found);
        let sealed = trust(&found.site).describe(id, Some("of-a-test".into()), &text, &found);
        let description = sealed.map_err(|error| error.to_string())?;
        self.at_guest(Method::Put, id, "/config", &[("description", &description)]).await
    }

    /// Its file goes to another node, and it runs there. What is inside and on its volumes stays out of this.
    async fn migrate(&self, id: u32, to: &str) -> Result<(), Refused> {
        let (file, rules) = (self.file(id)?.to_string(), self.firewall().remove(&format!("{id}.fw")));
        let (_, at) = self.place(id)?;
        let other = self.world.others.iter().find(|other| other.node.name() == to);
        let other = other.filter(|_| at.is_none()).ok_or_else(|| format!("{id} cannot go to {to}"))?;
        self.at_guest(Method::Delete, id, "", &[("force", "1")]).await?;
        other.node.put_guest(id, &file).map_err(|error| error.to_string())?;
        other.runtime.set_running(id);
        self.put_firewall(&format!("{id}.fw"), rules.as_deref());
        Ok(())
    }

    /// Another site has a guest here: it was applied, as ours is.
    async fn another_site(&mut self, id: u32, site: &str, address: &Address) -> Result<(), Refused> {
        if self.place(id).is_ok() {
            return Err(format!("there is a guest {id} already"));
        }
        let own = format!(
            r#"{{ "site": {{ "name": "{site}", "domain": "{site}.internal" }},
  "target": {{ "proxmox": {{ "endpoint": "https://10.0.0.13:8006", "token": {{ "env": "TOKEN" }}, "ssh": "root@10.0.0.13" }} }},
  "networks": {{ "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }} }},
  "containers": {{ "{}": {{ "id": {id}, "template": "debian-12", "address": "10.0.0.250" }} }} }}"#,
            address.name()
        );
        self.try_apply(&Site::of(&Files::from([("site.json".to_owned(), own.into_bytes())]))).await
    }

    /// Has the last apply remember a certificate as of another time, whoever has it.
    async fn age(&self, certificate: &Address, begin: i64, end: i64) -> Result<(), Refused> {
        let aged = |mark: &mut Mark| {
            let was = CertificateMark::of(mark, certificate);
            was.map(|was| mark.remember(certificate, &CertificateMark { begin, end, ..was })).is_some()
        };
        for (id, guest) in self.look().await.guests {
            if guest.mark.as_ref().is_some_and(|mark| mark.entry(certificate).is_some()) {
                return self.describe(id, |_, mark| assert!(aged(mark), "{certificate}")).await;
            }
        }
        let mut own = self.own_mark().await?;
        if !aged(&mut own) {
            return Err(format!("nobody has {certificate}"));
        }
        self.put_own_mark(&own);
        Ok(())
    }

    /// What was done on the node itself, as it remembers it.
    async fn own_mark(&self) -> Result<Mark, Refused> {
        let cat = ["cat".to_owned(), MARK.to_owned()];
        let (_, text, _) =
            self.world.runtime.exec(ON_THE_NODE, &cat, b"").await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&text).map_err(|error| format!("nothing was done on the node: {error}"))
    }

    fn put_own_mark(&self, mark: &Mark) {
        let node = self.reached.map_or(&self.world.node, |at| &self.world.others[at].node);
        let text = trust(&mark.site).for_node(node.name(), mark).expect("a mark can be written");
        self.world.runtime.put_file(ON_THE_NODE, MARK, text.into_bytes());
    }

    fn firewall(&self) -> BTreeMap<String, String> {
        self.world.node.firewall_files().expect("it is all in memory")
    }

    fn put_firewall(&self, name: &str, text: Option<&str>) {
        self.world.node.put_firewall_file(name, text).expect("it is all in memory");
    }
}

fn with_another_mac(net: &str) -> String {
    let part = |part| if str::starts_with(part, "hwaddr=") { "hwaddr=BC:24:11:00:00:01" } else { part };
    net.split(',').map(part).collect::<Vec<_>>().join(",")
}

/// What is told whoever looks.
fn change_to_inventory(line: &str, words: &[&str], rest: impl Fn(usize) -> String) -> crate::there::Told {
    let line = line.to_owned();
    let id = || -> u32 { words[1].parse().unwrap_or_else(|_| panic!("no id in `{line}`")) };
    let of_guest = |id: u32, change: fn(&mut Guest, &str), word: String| -> crate::there::Told {
        Box::new(move |seen| {
            if let Some(guest) = seen.guests.get_mut(&id) {
                change(guest, &word);
            }
        })
    };
    let pair = || -> (String, String) {
        let text = rest(1);
        let (a, b) = text.split_once(": ").unwrap_or_else(|| panic!("what does `{line}` mean?"));
        (a.to_owned(), b.to_owned())
    };
    match words[0] {
        // Neither is the mark in it, then.
        "unreadable" => of_guest(
            id(),
            |guest, _| {
                let Guest { id, vm, node, name, running, .. } = std::mem::take(guest);
                *guest = Guest { id, vm, node, name, running, ..Guest::default() };
            },
            String::new(),
        ),
        "vm-of" => of_guest(id(), |guest, _| guest.vm = true, String::new()),
        "used" => of_guest(
            id(),
            |guest, gib| guest.disk_used = gib.parse().ok().map(|gib: u64| gib << 30),
            words[2].into(),
        ),
        "vm" => {
            let (id, name) = (id(), words[2].to_owned());
            // With a key of its configuration, where that is said.
            let key = words.get(3).map(|key| ((*key).to_owned(), words[4].to_owned()));
            Box::new(move |seen: &mut Inventory| {
                let mut config = BTreeMap::from([("name".to_owned(), name.clone())]);
                config.extend(key.clone());
                let config = Some(config);
                let (node, name) = (seen.node.clone(), name.clone());
                let guest = Guest {
                    id,
                    vm: true,
                    node,
                    name,
                    running: true,
                    config,
                    digest: "f0".into(),
                    ..Guest::default()
                };
                seen.guests.insert(id, guest);
            })
        }
        "no-storages" => Box::new(|seen: &mut Inventory| seen.reached_mut().storages.clear()),
        // The others say so of it.
        "offline" => {
            let node = words[1].to_owned();
            Box::new(move |seen: &mut Inventory| seen.nodes.entry(node.clone()).or_default().online = false)
        }
        "unread" => {
            let (what, why) = pair();
            Box::new(move |seen: &mut Inventory| {
                seen.unread.push(Unread { what: what.clone(), why: why.clone() });
            })
        }
        _ => panic!("what does `{line}` mean?"),
    }
}
