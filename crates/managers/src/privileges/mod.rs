//! What the API's token has to be allowed, for exactly what a blueprint wants, and no more: which kind of call takes which
//! privilege ([`CALLS`]), what follows for a site ([`required`]), how that is given to a token ([`commands`]), and what one that
//! is used lacks or has beyond it ([`granted`]).
//!
//! Sources: `permissions` of each call in the API's schema (a test holds [`CALLS`] against it), and what a real node of Proxmox
//! VE 9.2 answered to a token without each privilege. What a key of a guest takes is in its row ([`crate::keys::Row`]).

pub mod commands;
pub mod granted;

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{ImageFrom, MountSource, Passed, Vm};
use plan::desired::{Guest, Image};
use plan::{Address, Desired, GuestKind, Host};
use proxmox::exchange::Method;

use crate::guests::table;
use crate::keys::Around;

/// Where a call takes a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The whole cluster: `/` itself.
    Root,
    /// The nodes.
    Nodes,
    /// The guest that the call is about, or the pool that it is in.
    Guest,
    /// A storage that holds a disk of the guest.
    Disks,
    /// The storage of the template that the guest is made of.
    Template,
    /// The guest's pool itself.
    Pool,
    /// The storage that a template or an image is put on.
    Image,
    /// The guest that it is a clone of.
    Source,
    /// All storages: their definitions.
    Storages,
    /// The resource mappings of PCI devices.
    Mappings,
}

/// When a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For every site.
    Always,
    /// Where there are several nodes.
    Cluster,
    /// Where the blueprint declares a template or an image that comes from there.
    Images(Origin),
    /// For a guest that is a clone of another.
    Clone,
    /// For a guest that becomes a template.
    Golden,
    /// Where the blueprint declares storages.
    Storages,
    /// Where the blueprint passes graphics cards through.
    Gpus,
    /// Only where somebody asks for a change that is made once, and that the role does not cover: whoever may do it may
    /// reach beyond the pool.
    Once,
}

/// Where templates and images come from, as far as calls differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The node's catalogue.
    Catalogue,
    /// The web.
    Web,
    /// The site's folder.
    Folder,
}

/// One kind of call that Phoenix makes.
#[derive(Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path, as the API's schema writes it.
    pub path: &'static str,
    /// When it is made.
    pub when: When,
    /// What it takes, whatever it is told; keys of a guest take more. Where a list is only filtered, what has to be in it.
    pub takes: &'static [(&'static str, On)],
}

impl Call {
    /// Whether it is made for guests of this kind: those that name a kind are for that alone.
    fn is_of(&self, kind: GuestKind) -> bool {
        let names = |word: &str| self.path.split('/').any(|part| part == word);
        match kind {
            GuestKind::Container => !names("qemu"),
            GuestKind::Vm => !names("lxc"),
        }
    }
}

const fn call(method: Method, path: &'static str, takes: &'static [(&'static str, On)]) -> Call {
    Call { method, path, when: When::Always, takes }
}

/// Every kind of call that Phoenix makes of the API.
pub static CALLS: [Call; 59] = [
    call(Method::Get, "/version", &[]),
    call(Method::Get, "/access/permissions", &[]),
    call(Method::Get, "/nodes", &[]),
    Call { when: When::Cluster, ..call(Method::Get, "/cluster/status", &[("Sys.Audit", On::Root)]) },
    call(Method::Get, "/cluster/resources", &[("VM.Audit", On::Guest), ("Pool.Audit", On::Pool)]),
    // What everybody is shown of them tells no site anything: its notes take Sys.Audit, which a site with storages has.
    call(Method::Get, "/cluster/options", &[]),
    Call {
        when: When::Storages,
        ..call(Method::Put, "/cluster/options", &[("Sys.Audit", On::Root), ("Sys.Modify", On::Root)])
    },
    Call { when: When::Storages, ..call(Method::Get, "/storage", &[("Datastore.Audit", On::Storages)]) },
    Call { when: When::Storages, ..call(Method::Post, "/storage", DEFINES) },
    Call { when: When::Storages, ..call(Method::Put, "/storage/{storage}", DEFINES) },
    Call { when: When::Storages, ..call(Method::Delete, "/storage/{storage}", DEFINES) },
    Call { when: When::Storages, ..call(Method::Get, "/nodes/{node}/scan/zfs", DEFINES) },
    Call { when: When::Storages, ..call(Method::Get, "/nodes/{node}/scan/lvm", DEFINES) },
    Call { when: When::Storages, ..call(Method::Get, "/nodes/{node}/scan/lvmthin", DEFINES) },
    Call { when: When::Storages, ..call(Method::Get, "/nodes/{node}/scan/nfs", DEFINES) },
    // Shown are those that the token may use, which it has to for its guests (`mappings`).
    call(Method::Get, "/cluster/mapping/pci", &[]),
    Call { when: When::Gpus, ..call(Method::Post, "/cluster/mapping/pci", MAPS) },
    Call { when: When::Gpus, ..call(Method::Put, "/cluster/mapping/pci/{id}", MAPS) },
    Call { when: When::Gpus, ..call(Method::Delete, "/cluster/mapping/pci/{id}", MAPS) },
    call(Method::Get, "/cluster/mapping/usb", &[]),
    call(Method::Get, "/cluster/mapping/dir", &[]),
    call(
        Method::Get,
        "/nodes/{node}/storage",
        &[("Datastore.AllocateSpace", On::Disks), ("Datastore.Audit", On::Template)],
    ),
    call(
        Method::Get,
        "/nodes/{node}/storage/{storage}/content",
        &[("Datastore.Audit", On::Template), ("Datastore.Audit", On::Image)],
    ),
    // Of bridges, those that the token may use; asked where no commands can be run.
    call(Method::Get, "/nodes/{node}/network", &[]),
    // Asked where a template that is wanted is not there, declared or not.
    Call { when: When::Images(Origin::Catalogue), ..call(Method::Get, "/nodes/{node}/aplinfo", &[]) },
    Call {
        when: When::Images(Origin::Catalogue),
        ..call(Method::Post, "/nodes/{node}/aplinfo", &[("Datastore.AllocateTemplate", On::Image)])
    },
    // In the place of `Sys.AccessNetwork`, which is the narrower one, Sys.Audit and Sys.Modify on / would do.
    Call {
        when: When::Images(Origin::Web),
        ..call(
            Method::Post,
            "/nodes/{node}/storage/{storage}/download-url",
            &[("Datastore.AllocateTemplate", On::Image), ("Sys.AccessNetwork", On::Nodes)],
        )
    },
    Call {
        when: When::Images(Origin::Folder),
        ..call(
            Method::Post,
            "/nodes/{node}/storage/{storage}/upload",
            &[("Datastore.AllocateTemplate", On::Image)],
        )
    },
    // A backup that holds a guest is somebody else's task.
    call(Method::Get, "/nodes/{node}/tasks", &[("Sys.Audit", On::Nodes)]),
    // Its own tasks a token sees anyway.
    call(Method::Get, "/nodes/{node}/tasks/{upid}/status", &[]),
    call(Method::Get, "/nodes/{node}/tasks/{upid}/log", &[]),
    call(Method::Get, "/nodes/{node}/lxc/{vmid}/config", &[("VM.Audit", On::Guest)]),
    call(Method::Get, "/nodes/{node}/lxc/{vmid}/pending", &[("VM.Audit", On::Guest)]),
    call(Method::Get, "/nodes/{node}/lxc/{vmid}/status/current", &[("VM.Audit", On::Guest)]),
    call(Method::Get, "/nodes/{node}/qemu/{vmid}/config", &[("VM.Audit", On::Guest)]),
    // Of virtual machines that are not the site's, only those that the token is shown.
    call(Method::Get, "/nodes/{node}/qemu/{vmid}/pending", &[("VM.Audit", On::Guest)]),
    call(Method::Get, "/nodes/{node}/qemu/{vmid}/status/current", &[("VM.Audit", On::Guest)]),
    call(
        Method::Post,
        "/nodes/{node}/lxc",
        &[
            ("VM.Allocate", On::Guest),
            ("Datastore.AllocateSpace", On::Disks),
            ("Datastore.Audit", On::Template),
        ],
    ),
    // The bridges of what is cloned count, too, and only then are there those of the clone (PVE::API2::LXC, `clone_vm`).
    Call { when: When::Clone, ..call(Method::Post, "/nodes/{node}/lxc/{vmid}/clone", CLONE) },
    Call { when: When::Clone, ..call(Method::Post, "/nodes/{node}/qemu/{vmid}/clone", CLONE) },
    Call {
        when: When::Golden,
        ..call(Method::Post, "/nodes/{node}/lxc/{vmid}/template", &[("VM.Allocate", On::Guest)])
    },
    Call {
        when: When::Golden,
        ..call(Method::Post, "/nodes/{node}/qemu/{vmid}/template", &[("VM.Allocate", On::Guest)])
    },
    call(Method::Put, "/nodes/{node}/lxc/{vmid}/config", &[("VM.Config.Options", On::Guest)]),
    // `disk` and `size` are looked at as if they were keys, and what is no other's is `VM.Config.Options` (recorded: "ct
    // resize").
    call(
        Method::Put,
        "/nodes/{node}/lxc/{vmid}/resize",
        &[
            ("VM.Config.Disk", On::Guest),
            ("VM.Config.Options", On::Guest),
            ("Datastore.AllocateSpace", On::Disks),
        ],
    ),
    call(
        Method::Post,
        "/nodes/{node}/lxc/{vmid}/move_volume",
        &[("VM.Config.Disk", On::Guest), ("Datastore.AllocateSpace", On::Disks)],
    ),
    call(
        Method::Post,
        "/nodes/{node}/qemu/{vmid}/move_disk",
        &[("VM.Config.Disk", On::Guest), ("Datastore.AllocateSpace", On::Disks)],
    ),
    call(Method::Post, "/nodes/{node}/lxc/{vmid}/status/start", &[("VM.PowerMgmt", On::Guest)]),
    call(Method::Post, "/nodes/{node}/lxc/{vmid}/status/shutdown", &[("VM.PowerMgmt", On::Guest)]),
    call(Method::Delete, "/nodes/{node}/lxc/{vmid}", &[("VM.Allocate", On::Guest)]),
    // An image that is copied is read (recorded: "import-from").
    call(
        Method::Post,
        "/nodes/{node}/qemu",
        &[
            ("VM.Allocate", On::Guest),
            ("Datastore.AllocateSpace", On::Disks),
            ("Datastore.Audit", On::Template),
        ],
    ),
    call(
        Method::Post,
        "/nodes/{node}/qemu/{vmid}/config",
        &[("VM.Config.Options", On::Guest), ("Datastore.AllocateSpace", On::Disks)],
    ),
    call(
        Method::Put,
        "/nodes/{node}/qemu/{vmid}/resize",
        &[("VM.Config.Disk", On::Guest), ("Datastore.AllocateSpace", On::Disks)],
    ),
    call(Method::Post, "/nodes/{node}/qemu/{vmid}/status/start", &[("VM.PowerMgmt", On::Guest)]),
    call(Method::Post, "/nodes/{node}/qemu/{vmid}/status/shutdown", &[("VM.PowerMgmt", On::Guest)]),
    call(Method::Delete, "/nodes/{node}/qemu/{vmid}", &[("VM.Allocate", On::Guest)]),
    call(Method::Post, "/nodes/{node}/qemu/{vmid}/agent/exec", &[("VM.GuestAgent.Unrestricted", On::Guest)]),
    call(
        Method::Get,
        "/nodes/{node}/qemu/{vmid}/agent/exec-status",
        &[("VM.GuestAgent.Unrestricted", On::Guest)],
    ),
    call(
        Method::Post,
        "/nodes/{node}/qemu/{vmid}/agent/file-write",
        &[("VM.GuestAgent.Unrestricted", On::Guest)],
    ),
    Call {
        when: When::Once,
        ..call(Method::Put, "/pools", &[("Pool.Allocate", On::Pool), ("VM.Allocate", On::Guest)])
    },
];

/// What defining storages takes.
const DEFINES: &[(&str, On)] = &[("Datastore.Allocate", On::Storages)];

/// What making mappings takes.
const MAPS: &[(&str, On)] = &[("Mapping.Modify", On::Mappings)];

/// What cloning takes.
const CLONE: &[(&str, On)] =
    &[("VM.Clone", On::Source), ("VM.Allocate", On::Guest), ("Datastore.AllocateSpace", On::Disks)];

/// The kind of a call, by its method and path.
pub fn kind_of(method: Method, path: &str) -> Option<&'static Call> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |pattern: &str| {
        let (mut known, mut parts) = (pattern.split('/'), path.split('/'));
        loop {
            match (known.next(), parts.next()) {
                (None, None) => return true,
                (Some(known), Some(part)) if known == part || known.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    CALLS.iter().find(|call| call.method == method && fits(call.path))
}

/// What a call takes that the node refused without naming a privilege; `request` as errors name it (`POST /nodes/pve1/lxc`).
pub(crate) fn taken_by(request: &str) -> Option<String> {
    let (method, path) = request.split_once(' ')?;
    let call = CALLS.iter().map(|call| call.method).find(|known| known.to_string() == method)?;
    let takes = kind_of(call, path)?.takes;
    let on = |on: On| match on {
        On::Root => "/",
        On::Nodes => "/nodes",
        On::Guest => "the guest or its pool",
        On::Disks => "the storages of its disks",
        On::Template => "the storage of its template",
        On::Pool => "its pool",
        On::Image => "the storage that it is put on",
        On::Source => "what it is a clone of",
        On::Storages => "/storage",
        On::Mappings => "/mapping/pci",
    };
    let words: Vec<String> =
        takes.iter().map(|(privilege, where_)| format!("{privilege} on {}", on(*where_))).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What to say where something is not seen: it may be there, and be hidden from the token.
pub(crate) fn or_unseen(privilege: &str, path: &str) -> String {
    format!("or the token may not see it, which takes {privilege} on {path}")
}

/// Where a privilege is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `/` itself, and nothing below it.
    Root,
    /// All nodes.
    Nodes,
    /// All guests: those of the blueprint are in no pool.
    Guests,
    /// One guest.
    Guest(u32),
    /// A pool.
    Pool(String),
    /// A storage.
    Storage(String),
    /// All storages, since which one is used is not said.
    Storages,
    /// Whichever storage has the templates; `local` where nothing else is known.
    Templates,
    /// A bridge, or a VLAN of it.
    Bridge(String, Option<u16>),
    /// All resource mappings of PCI devices.
    Mappings,
    /// A resource mapping: its kind (`pci`, `usb`, `dir`) and name.
    Mapping(&'static str, String),
}

impl Place {
    /// Its path in the access control list. A bridge that is a VNet is in a zone of its own, which no blueprint names.
    pub fn path(&self) -> String {
        match self {
            Self::Root => "/".to_owned(),
            Self::Nodes => "/nodes".to_owned(),
            Self::Guests => "/vms".to_owned(),
            Self::Guest(id) => format!("/vms/{id}"),
            Self::Pool(name) => format!("/pool/{name}"),
            Self::Storage(name) => format!("/storage/{name}"),
            Self::Storages => "/storage".to_owned(),
            Self::Templates => "/storage/local".to_owned(),
            Self::Bridge(name, None) => format!("/sdn/zones/localnetwork/{name}"),
            Self::Mappings => "/mapping/pci".to_owned(),
            Self::Mapping(kind, name) => format!("/mapping/{kind}/{name}"),
            Self::Bridge(name, Some(vlan)) => format!("/sdn/zones/localnetwork/{name}/{vlan}"),
        }
    }

    /// Whether what is below it is meant, too.
    pub fn propagates(&self) -> bool {
        matches!(self, Self::Nodes | Self::Guests | Self::Pool(_) | Self::Storages | Self::Mappings)
    }
}

/// One privilege at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// Where.
    pub place: Place,
    /// The privilege's name.
    pub privilege: &'static str,
}

/// All that a token needs for a site, `cluster` where there are several nodes. A blueprint that places guests on nodes is one
/// of a cluster, too.
pub fn required(desired: &Desired, cluster: bool) -> BTreeSet<Requirement> {
    let cluster = cluster || desired.guests.values().any(|guest| guest.node.is_some());
    let made = CALLS.iter().filter(|call| match call.when {
        When::Always => true,
        When::Cluster => cluster,
        When::Images(_) | When::Once | When::Clone | When::Golden | When::Storages | When::Gpus => false,
    });
    let made: Vec<&Call> = made.collect();
    let calls_when = |when: When| CALLS.iter().filter(move |call| call.when == when);
    let mut all = BTreeSet::new();
    for guest in desired.guests.values() {
        let own = guest.pool.clone().map_or(Place::Guests, Place::Pool);
        let source = desired.cloned_from(guest).map(|image| source(image, desired));
        let more = source.iter().flat_map(|_| calls_when(When::Clone));
        let golden = guest.golden.then(|| calls_when(When::Golden)).into_iter().flatten();
        let made = made.iter().copied().chain(more).chain(golden);
        let takes = made.filter(|call| call.is_of(guest.kind)).flat_map(|call| call.takes);
        for (privilege, on) in takes {
            let places = match on {
                On::Root => vec![Place::Root],
                On::Nodes => vec![Place::Nodes],
                On::Guest => vec![own.clone()],
                On::Disks => disks(guest),
                On::Template if source.is_some() => Vec::new(),
                On::Template => vec![template(guest, desired)],
                // What is cloned is seen, too.
                On::Source => source.clone().into_iter().collect(),
                On::Pool => guest.pool.clone().map(Place::Pool).into_iter().collect(),
                On::Image | On::Storages | On::Mappings => Vec::new(),
            };
            all.extend(places.into_iter().map(|place| Requirement { place, privilege }));
        }
        // Which storage it is, is in `disks`.
        let around = Around { storage: "", medium: None, second: None, cards: &[] };
        for (row, _, _) in crate::keys::written(table::of_kind(guest.kind).rows, guest, around) {
            all.insert(Requirement { place: own.clone(), privilege: row.privilege });
        }
        for nic in guest.nets.values() {
            let place = Place::Bridge(nic.bridge.to_string(), nic.vlan);
            all.insert(Requirement { place, privilege: "SDN.Use" });
        }
        if let Some(storage) = guest.settings.get("vmstatestorage") {
            let place = Place::Storage(storage.clone());
            all.insert(Requirement { place, privilege: "Datastore.AllocateSpace" });
        }
        for (kind, name) in guest.vm().map(mappings).unwrap_or_default() {
            all.insert(Requirement { place: Place::Mapping(kind, name), privilege: "Mapping.Use" });
        }
        if guest.container().is_some_and(|own| !own.unprivileged) {
            all.insert(Requirement { place: Place::Root, privilege: "Sys.Modify" });
        }
    }
    if !desired.storages.is_empty() {
        for (privilege, on) in calls_when(When::Storages).flat_map(|call| call.takes) {
            let place = if *on == On::Root { Place::Root } else { Place::Storages };
            all.insert(Requirement { place, privilege });
        }
    }
    if desired.gpus.values().any(|gpu| gpu.pass) {
        let takes = calls_when(When::Gpus).flat_map(|call| call.takes);
        all.extend(takes.map(|(privilege, _)| Requirement { place: Place::Mappings, privilege }));
    }
    for image in desired.images.values() {
        match image.from {
            // It is read, and nothing else is done to it.
            ImageFrom::Guest(id) => {
                all.insert(Requirement { place: Place::Guest(id), privilege: "VM.Audit" });
            }
            ImageFrom::Golden(_) => {}
            _ => all.extend(of_image(image)),
        }
    }
    without_the_covered(all)
}

/// What putting a template or an image in its place takes, and seeing that it is there.
fn of_image(image: &Image) -> impl Iterator<Item = Requirement> {
    let origin = match &image.from {
        ImageFrom::Catalogue(_) => Origin::Catalogue,
        ImageFrom::Url { .. } => Origin::Web,
        _ => Origin::Folder,
    };
    let storage = image.storage.clone().map_or(Place::Templates, Place::Storage);
    let made = CALLS.iter().filter(move |call| matches!(call.when, When::Images(of) if of == origin));
    let always = CALLS.iter().filter(|call| call.when == When::Always);
    let on_it = always.flat_map(|call| call.takes.iter()).filter(|(_, on)| *on == On::Image);
    let takes = made.flat_map(|call| call.takes.iter()).chain(on_it);
    takes.map(move |(privilege, on)| {
        let place = if *on == On::Nodes { Place::Nodes } else { storage.clone() };
        Requirement { place, privilege }
    })
}

/// Where a guest is that others are clones of.
fn source(image: &Image, desired: &Desired) -> Place {
    match &image.from {
        ImageFrom::Guest(id) => Place::Guest(*id),
        ImageFrom::Golden(name) => {
            let pool = desired.guests.get(name).and_then(|golden| golden.pool.clone());
            pool.map_or(Place::Guests, Place::Pool)
        }
        _ => Place::Guests,
    }
}

/// The storages of a guest's disks.
fn disks(guest: &Guest) -> Vec<Place> {
    let place = |name: Option<&str>| name.map_or(Place::Storages, |name| Place::Storage(name.to_owned()));
    let root = (table::of_kind(guest.kind).disk)(guest).and_then(|disk| disk.storage);
    let mounts = guest.container().into_iter().flat_map(|own| own.mounts.values());
    let volumes = mounts.filter_map(|mount| match &mount.source {
        MountSource::Volume(disk) => Some(place(disk.storage.as_deref().or(root))),
        MountSource::Host(_) => None,
    });
    let vm = guest.vm().into_iter().flat_map(|own| own.disks.values());
    let more = vm.map(|disk| place(disk.storage.as_deref().or(root)));
    std::iter::once(place(root)).chain(volumes).chain(more).collect()
}

/// The resource mappings that a virtual machine uses.
fn mappings(vm: &Vm) -> Vec<(&'static str, String)> {
    let of = |kind, devices: &BTreeMap<u8, Passed>, key: &str| {
        let names = devices.values().filter_map(|device| device.get(key).cloned());
        names.map(|name| (kind, name)).collect::<Vec<_>>()
    };
    [of("pci", &vm.pci, "mapping"), of("usb", &vm.usb, "mapping"), of("dir", &vm.folders, "dirid")].concat()
}

/// The storage of a guest's template, or image.
fn template(guest: &Guest, desired: &Desired) -> Place {
    let template = guest.container().map(|own| &own.template);
    let Some(volume) = template.or_else(|| guest.vm()?.image.as_ref()) else { return Place::Templates };
    let node = Host::Node(desired.node_of(guest));
    let address = match template {
        Some(name) => Address::template(name, &node),
        None => Address::image(volume, &node),
    };
    if let Some(storage) = desired.images.get(&address).and_then(|image| image.storage.clone()) {
        return Place::Storage(storage);
    }
    match volume.split_once(':') {
        Some((storage, _)) => Place::Storage(storage.to_owned()),
        None => Place::Templates,
    }
}

/// Without what another requirement brings: space on all storages is space on each, and whoever may use a storage's space may
/// look into it.
fn without_the_covered(mut all: BTreeSet<Requirement>) -> BTreeSet<Requirement> {
    let space = "Datastore.AllocateSpace";
    let on = |place: &Place| all.contains(&Requirement { place: place.clone(), privilege: space });
    let everywhere = on(&Place::Storages);
    let seen = all.contains(&Requirement { place: Place::Storages, privilege: "Datastore.Audit" });
    let covered = |it: &Requirement| match (&it.place, it.privilege) {
        (Place::Storage(_), "Datastore.AllocateSpace" | "Datastore.Audit") if everywhere => true,
        (Place::Templates, "Datastore.Audit") => {
            everywhere || seen || on(&Place::Storage("local".to_owned()))
        }
        (place @ Place::Storage(_), "Datastore.Audit") => on(place),
        (Place::Guest(_), privilege) => all.contains(&Requirement { place: Place::Guests, privilege }),
        _ => false,
    };
    let covered: Vec<Requirement> = all.iter().filter(|it| covered(it)).cloned().collect();
    all.retain(|it| !covered.contains(it));
    // What is given on one storage takes the place of what is given on all.
    if everywhere {
        let one = |it: &Requirement| matches!(it.place, Place::Storage(_) | Place::Templates);
        let own: Vec<Place> = all.iter().filter(|it| one(it)).map(|it| it.place.clone()).collect();
        all.extend(own.into_iter().map(|place| Requirement { place, privilege: space }));
    }
    all
}
