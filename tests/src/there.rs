//! A simulated node in the state that a test of the planner wants it in. What was applied there really was, by the foreman
//! and the crews; what happened since is done to the node; and what a plan is made of is what [`managers::observe()`] sees.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;
use std::net::IpAddr;
use std::sync::Arc;

use blueprint::model::{ImageFrom, Place};
use lab::node::{Auth, Bridge, Mapping, NodeOptions, Storage, Template};
use lab::sim::{SimShell, Times, World, WorldOptions};
use managers::Ways;
use plan::inventory::Rotated;
use plan::{Address, Desired, Host, Inventory, Options, Plan, Trust};
use proxmox::exchange::{Exchange, Method, Request};
use transport::Runner;

use crate::known::Known;
use crate::run;
use crate::site::{Site, now};

/// The node that is asked, and its address.
const NODE: &str = "pve1";
const CIDR: &str = "10.0.0.13/24";

/// What is seen otherwise than the simulated node can show it, from a line of a scenario.
pub(crate) type Told = Box<dyn Fn(&mut Inventory)>;

/// How a node is made.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// The other nodes of its cluster.
    pub others: BTreeSet<String>,
    /// What another node offers, where that is not what the first one does: storages with their content, …
    pub storages: BTreeMap<String, Vec<(String, String)>>,
    /// … and templates as volume ids.
    pub templates: BTreeMap<String, Vec<String>>,
    /// Bridges beside `vmbr0`.
    pub bridges: BTreeSet<String>,
    /// Storages that may hold guests' disks, whatever else they are.
    pub disks: BTreeSet<String>,
    /// Storages that may hold something else, too: their content.
    pub holds: BTreeSet<(String, String)>,
    /// Templates that there must be one of, as blueprints name them.
    pub systems: BTreeSet<String>,
    /// Disk images and media that there must be, as volume ids.
    pub images: BTreeSet<String>,
    /// Resource mappings, which are something on every node: kind and name.
    pub mappings: BTreeSet<(&'static str, String)>,
    /// Resource pools.
    pub pools: BTreeSet<String>,
    /// Where whoever applies comes from.
    pub client: Option<IpAddr>,
    /// What the catalogues of templates have: section and file.
    pub offers: Vec<(String, String)>,
    /// What the web has, by address.
    pub web: BTreeMap<String, String>,
    /// What storages are to be made of.
    pub places: Vec<Place>,
    /// Disks beside the one that the node is installed on: their names and their serial numbers.
    pub plugged: BTreeMap<String, String>,
    /// Graphics cards, by address: kind (`nvidia`, `amd`, `intel`), memory in MiB, and the driver where it is not the usual one.
    pub cards: BTreeMap<String, (String, u64, Option<String>)>,
    /// The version of NVIDIA's driver that is loaded.
    pub nvidia: Option<String>,
}

impl Ground {
    /// Where all that a blueprint names is there, as far as Phoenix does not make it; storages and templates too.
    pub fn for_all_of(desired: &Desired) -> Self {
        let mut ground = Self::of(desired);
        for guest in desired.guests.values() {
            // What the blueprint declares, Phoenix makes.
            let storages = guest.storages().into_iter().filter(|name| !desired.storages.contains_key(*name));
            ground.disks.extend(storages.map(str::to_owned));
            let template = guest.container().map(|own| own.template.clone());
            let on = Host::Node(desired.node_of(guest));
            let declared = |name: &String| desired.images.contains_key(&Address::template(name, &on));
            ground.systems.extend(template.filter(|name| !declared(name)));
            let Some(own) = guest.vm() else { continue };
            for (kind, part, devices) in
                [("pci", "mapping", &own.pci), ("usb", "mapping", &own.usb), ("dir", "dirid", &own.folders)]
            {
                // What the blueprint declares, Phoenix makes.
                let made =
                    |name: &&String| desired.gpus.values().any(|gpu| gpu.mapping.as_ref() == Some(*name));
                let named = devices.values().filter_map(|device| device.get(part)).filter(|name| !made(name));
                ground.mappings.extend(named.map(|name| (kind, name.clone())));
            }
        }
        for storage in desired.storages.values() {
            ground.places.push(storage.place.clone());
            ground.others.extend(storage.nodes.iter().cloned());
        }
        for image in desired.images.values() {
            match &image.from {
                ImageFrom::Catalogue(begin) => drop(ground.systems.insert(begin.clone())),
                // Where tests say a sum, it is that of this.
                ImageFrom::Url { url, .. } => {
                    let content = if url.ends_with(".qcow2") { "QFI\u{fb}" } else { "hello" };
                    ground.web.insert(url.clone(), content.to_owned());
                }
                ImageFrom::File { .. } | ImageFrom::Golden(_) | ImageFrom::Guest(_) => {}
            }
            let storage = image.storage.iter().filter(|name| !desired.storages.contains_key(*name));
            let storage = storage.map(|name| (name.clone(), image.content.as_str().to_owned()));
            ground.holds.extend(storage);
        }
        ground
    }

    /// Where the nodes, bridges, pools and disks are that a blueprint names.
    pub fn of(desired: &Desired) -> Self {
        let mut ground = Self::default();
        for disk in desired.pools.values().flat_map(|pool| pool.disks()) {
            ground.plug(disk);
        }
        for gpu in desired.gpus.values() {
            let driver = gpu.pass.then(|| "vfio-pci".to_owned());
            ground
                .cards
                .insert(gpu.pci.clone(), ("nvidia".to_owned(), gpu.memory_mib.unwrap_or(48 << 10), driver));
            ground.nvidia = gpu.driver.clone().or(ground.nvidia.take());
        }
        for guest in desired.guests.values() {
            ground.others.extend(guest.node.as_ref().or(desired.node.as_ref()).map(ToString::to_string));
            ground.pools.extend(guest.pool.clone());
            let images = guest.vm().into_iter().flat_map(|own| own.image.iter().chain(&own.iso));
            ground.images.extend(images.cloned());
            // What the blueprint declares, Phoenix makes.
            let made = |bridge: &String| desired.resources.contains_key(&Address::network(bridge));
            let bridges = guest.nets.values().map(|nic| nic.bridge.to_string());
            ground.bridges.extend(bridges.filter(|bridge| !made(bridge)));
        }
        ground
            .others
            .extend(desired.images.values().filter_map(|image| image.node.as_ref()).map(ToString::to_string));
        ground
    }

    /// With an empty disk, whose serial number is the end of its name.
    pub(crate) fn plug(&mut self, disk: &str) {
        let serial = disk.rsplit('_').next().unwrap_or(disk);
        self.plugged.insert(disk.to_owned(), serial.to_owned());
    }

    fn build(&self) -> World {
        let mut options = WorldOptions::new(1).times(Times::none());
        if let Some(client) = self.client {
            options.client = client;
        }
        let node = &mut options.node;
        let bridge = |name: &String| Bridge { name: name.clone(), cidr: None };
        node.bridges = vec![Bridge { name: "vmbr0".into(), cidr: Some(CIDR.into()) }];
        node.bridges.extend(self.bridges.iter().filter(|name| *name != "vmbr0").map(bridge));
        let nodes = || std::iter::once("pve1").chain(self.others.iter().map(String::as_str));
        node.mappings = (self.mappings.iter())
            .map(|(kind, id)| Mapping {
                kind: (*kind).to_owned(),
                id: id.clone(),
                map: nodes().map(|node| format!("node={node}")).collect(),
            })
            .collect();
        node.hardware.address = CIDR.split('/').next().unwrap_or_default().to_owned();
        self.offer(node);
        let first = options.node.clone();
        for (name, last) in self.others.iter().filter(|name| *name != NODE).zip(14u8..) {
            let mut other = NodeOptions { name: name.clone(), seed: Some(u64::from(last)), ..first.clone() };
            other.hardware.address = format!("10.0.0.{last}");
            other.bridges[0].cidr = Some(format!("10.0.0.{last}/24"));
            self.offer(&mut other);
            options.others.push(other);
        }
        define_storages(&mut options);
        let world = options.build().expect("it is all in memory");
        for (disk, serial) in &self.plugged {
            world.runtime.zfs(|zfs| zfs.plug(disk, serial, 4 << 40));
        }
        world.runtime.gpus(|gpus| {
            for (address, (kind, memory, driver)) in &self.cards {
                gpus.plug(address, kind, *memory);
                driver.iter().for_each(|driver| gpus.driver(address, driver));
            }
            self.nvidia.iter().for_each(|version| gpus.nvidia(version));
        });
        for runtime in once(&world.runtime).chain(world.others.iter().map(|other| &other.runtime)) {
            self.offers.iter().for_each(|(section, template)| runtime.offer(section, template));
            for (url, content) in &self.web {
                // A text of one character each byte, since an image is no text.
                let bytes: Vec<u8> = content.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
                runtime.publish(url, bytes);
            }
        }
        world
    }

    /// Gives a node what is said of it.
    fn offer(&self, node: &mut NodeOptions) {
        let grounds = node.grounds.get_or_insert_default();
        for place in &self.places {
            let value = |key: &str| place.options.get(key).cloned().unwrap_or_default();
            let (thin, server) = (format!("{}/{}", value("vgname"), value("thinpool")), value("server"));
            let _ = match place.kind.as_str() {
                "zfspool" => grounds.zfs.insert(value("pool")),
                "lvm" => grounds.groups.insert(value("vgname")),
                "lvmthin" => grounds.thin.insert(thin),
                "nfs" => grounds.nfs.entry(server).or_default().insert(value("export")),
                "cifs" => grounds.cifs.entry(server).or_default().insert(value("share")),
                "pbs" => grounds.pbs.entry(server).or_default().insert(value("datastore")),
                _ => false,
            };
        }
        for name in &self.disks {
            match node.storages.iter_mut().find(|there| there.id == *name) {
                Some(there) => drop(there.options.insert("content".into(), "vztmpl,images,rootdir".into())),
                None => node.storages.push(Storage::new(name, "dir", &format!("/{name}"), "images,rootdir")),
            }
        }
        for (name, content) in &self.holds {
            match node.storages.iter_mut().find(|there| there.id == *name) {
                Some(there) => {
                    let all = there.options.entry("content".into()).or_default();
                    *all = format!("{all},{content}");
                }
                None => node.storages.push(Storage::new(name, "dir", &format!("/{name}"), content)),
            }
        }
        for name in &self.systems {
            let there = node
                .storages
                .iter()
                .flat_map(|on| &on.templates)
                .any(|it| it.name.starts_with(name.as_str()));
            if !there && let Some(local) = node.storages.iter_mut().find(|on| on.id == "local") {
                local.templates.push(template(&format!("{name}-standard_1-1_amd64.tar.zst")));
            }
        }
        let scripts = ["local:snippets/hook.sh", "local:snippets/other.sh"];
        let images = self.images.iter().map(String::as_str).chain(scripts);
        for (storage, name) in images.filter_map(|id| id.split_once(':')) {
            if let Some(on) = node.storages.iter_mut().find(|on| on.id == storage) {
                on.images.push(template(name));
                let content = on.options.entry("content".into()).or_default();
                content.push_str(",import,iso");
            }
        }
        if let Some(storages) = self.storages.get(&node.name) {
            let storage =
                |(id, content): &(String, String)| Storage::new(id, "dir", &format!("/{id}"), content);
            node.storages = storages.iter().map(storage).collect();
        }
        for (storage, name) in
            self.templates.get(&node.name).into_iter().flatten().filter_map(|id| id.split_once(":vztmpl/"))
        {
            let template = template(name);
            match node.storages.iter_mut().find(|there| there.id == storage) {
                Some(there) => there.templates.push(template),
                None => {
                    let mut new = Storage::new(storage, "dir", "/var/lib/vz", "vztmpl");
                    new.templates.push(template);
                    node.storages.push(new);
                }
            }
        }
    }
}

/// What the nodes have, as one cluster defines it: a storage is on all nodes or says on which, and what lies on it is of each
/// node.
fn define_storages(options: &mut WorldOptions) {
    let mut nodes: Vec<&mut NodeOptions> = once(&mut options.node).chain(&mut options.others).collect();
    let mut defined: BTreeMap<String, (Storage, Vec<String>)> = BTreeMap::new();
    for node in &nodes {
        for storage in &node.storages {
            let bare = Storage { templates: Vec::new(), ..storage.clone() };
            defined.entry(bare.id.clone()).or_insert((bare, Vec::new())).1.push(node.name.clone());
        }
    }
    let everywhere = nodes.len();
    for (storage, on) in defined.values_mut().filter(|(_, on)| on.len() < everywhere) {
        storage.options.insert("nodes".into(), on.join(","));
    }
    for node in &mut nodes {
        let mut templates: BTreeMap<String, Vec<Template>> =
            node.storages.drain(..).map(|storage| (storage.id, storage.templates)).collect();
        node.storages.extend(defined.values().map(|(storage, _)| Storage {
            templates: templates.remove(&storage.id).unwrap_or_default(),
            ..storage.clone()
        }));
    }
}

fn template(name: &str) -> Template {
    Template { name: name.to_owned(), size: 126_000_000, ctime: 1_795_000_000 }
}

/// A node, and what of it is seen.
pub struct There {
    /// The node.
    pub world: World,
    /// Whether commands can be run on it.
    pub commands: bool,
    /// Which node commands lead to: the first, or one of the others by its place among them.
    pub(crate) reached: Option<usize>,
    pub(crate) ground: Ground,
    /// What whoever looks is told, and which guest it is about.
    pub(crate) told: Vec<(Option<u32>, Told)>,
    /// What a look inside found.
    pub(crate) found: BTreeMap<Address, Vec<String>>,
    /// What may have been taken, until it is made anew.
    pub(crate) rotated: Rotated,
}

impl std::fmt::Debug for There {
    // What was told cannot be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("There")
            .field("commands", &self.commands)
            .field("ground", &self.ground)
            .finish_non_exhaustive()
    }
}

impl There {
    /// A node with no guests.
    pub async fn new(ground: Ground) -> Self {
        let there = Self {
            world: ground.build(),
            commands: true,
            reached: None,
            ground,
            told: Vec::new(),
            found: BTreeMap::new(),
            rotated: Rotated::default(),
        };
        for pool in there.ground.pools.clone() {
            there.by_hand(Method::Post, "/pools", &[("poolid", &pool)]).await.expect("a pool can be made");
        }
        there
    }

    /// It is new again: nothing is on it.
    pub(crate) async fn clear(&mut self) {
        *self = Self::new(self.ground.clone()).await;
    }

    /// One on which a site was applied, and all that the site names is there.
    ///
    /// # Panics
    /// As [`There::apply`].
    pub async fn applied(site: &Site) -> Self {
        let mut there = Self::new(Ground::for_all_of(&site.desired)).await;
        there.apply(site).await;
        there
    }

    /// Applies a site.
    ///
    /// # Panics
    /// When something is in the way, or fails.
    pub async fn apply(&mut self, site: &Site) {
        self.try_apply(site).await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// The same, where something may be in the way: then nothing is done, and it is said what.
    pub(crate) async fn try_apply(&mut self, site: &Site) -> Result<(), String> {
        let options = Options {
            now: now(),
            targets: Vec::new(),
            destroy: false,
            no_restart: false,
            restart_node: false,
        };
        let plan = plan::plan(&site.desired, &self.seen_by(site).await, &managers::kinds(), &options);
        if !plan.problems.is_empty() {
            return Err(format!("this cannot be applied: {:?}", plan.problems));
        }
        let left = self.carry_out(site, &plan).await;
        if left.is_empty() { Ok(()) } else { Err(format!("these are refused: {left:?}")) }
    }

    /// Carries out a plan with every consent given; nobody looks inside afterwards. What was refused all the same, or takes
    /// a way to run commands that is not there, and what needed such a step.
    ///
    /// # Panics
    /// When another step fails.
    pub async fn carry_out(&mut self, site: &Site, plan: &Plan) -> BTreeSet<Address> {
        self.found.clear();
        self.rotated = Rotated::default();
        let report = run::walk(&self.world, site, plan, self.shell()).await;
        let (no_way, failed): (Vec<_>, Vec<_>) = report
            .failed
            .into_iter()
            .partition(|(_, failure)| !self.commands && failure.code == "transport::no-commands");
        assert!(failed.is_empty(), "{failed:#?}\n{}", self.world.story());
        self.world.node.idle().await;
        report.skipped.into_iter().chain(no_way.into_iter().map(|(address, _)| address)).collect()
    }

    /// What is there, as the site called `workshop` sees it, which all but a few tests are about.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn look(&self) -> Inventory {
        self.judged(&crate::site::trust("workshop")).await
    }

    /// The same, with what the site needs of its nodes.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn look_for(&self, desired: &Desired) -> Inventory {
        let trust = Trust::clone(&crate::site::trust("workshop")).with_renamed(desired);
        let mut seen = self.judged(&trust).await;
        managers::look_for(&self.ways(), desired, &mut seen).await;
        seen
    }

    async fn seen_by(&self, site: &Site) -> Inventory {
        let mut seen = self.judged(&site.trust()).await;
        managers::look_for(&self.ways(), &site.desired, &mut seen).await;
        seen
    }

    async fn judged(&self, trust: &Trust) -> Inventory {
        let mut seen = managers::observe(&self.ways()).await.expect("the node answers");
        seen.judge(trust);
        self.tell(seen)
    }

    /// What is there once no task works on guests of the site, which is what a run makes its plan of.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn look_settled(&self, desired: &Desired) -> Inventory {
        let ids = desired.guests.values().map(|guest| guest.id).collect();
        let trust = Trust::clone(&crate::site::trust(&desired.site)).with_renamed(desired);
        let seen = managers::observe_settled(&self.ways(), &trust, &ids, &|_, _| {}).await;
        let mut seen = self.tell(seen.expect("the node answers"));
        managers::look_for(&self.ways(), desired, &mut seen).await;
        seen
    }

    fn tell(&self, mut seen: Inventory) -> Inventory {
        seen.found.clone_from(&self.found);
        seen.rotated.clone_from(&self.rotated);
        self.told.iter().for_each(|(_, told)| told(&mut seen));
        seen
    }

    fn ways(&self) -> Ways {
        let exchange: Arc<dyn Exchange> = Arc::new(Known(self.world.exchange.clone()));
        Ways::new(self.shell(), exchange)
    }

    fn shell(&self) -> Option<Arc<dyn Runner>> {
        let shell: &SimShell = match self.reached {
            Some(at) => &self.world.others[at].shell,
            None => &self.world.shell,
        };
        self.commands.then(|| Arc::new(shell.clone()) as Arc<dyn Runner>)
    }

    /// What somebody does at the node as root.
    ///
    /// # Errors
    /// What the node says when it refuses.
    pub async fn by_hand(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Result<(), String> {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request = Request { method, path: path.into(), params };
        let response = self.world.node.handle(&Auth::root(), &request).await;
        self.world.node.idle().await;
        if response.status == 200 { Ok(()) } else { Err(format!("{method} {path}: {response:?}")) }
    }
}
