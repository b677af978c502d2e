//! Pools and datasets of ZFS: what each is, and what cannot be so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Context;
use crate::codes;
use crate::model::{Dataset, Encryption, Layout, Pool, REPLICA, SCRUB, SNAPSHOTS};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{
    DatasetSource, DisksForm, EncryptionSource, HypervisorSource, LayoutSource, PoolSource, ReplicateSource,
    ScrubSource, SecretSource, UnlockSource,
};
use crate::values::{DiskName, Text, bytes};

/// Sectors of 4 KiB, which all disks of these days have, whatever they say.
const ASHIFT: u8 = 12;
/// Has Debian's own scrub leave a pool alone (zfsutils-linux, `/usr/lib/zfs-linux/scrub`): it would be the second one.
const DEBIANS_SCRUB: &str = "org.debian:periodic-scrub";

/// Properties of datasets that have a key of their own.
const OF_KEYS: [(&str, &str); 9] = [
    ("encryption", "encryption"),
    ("keyformat", "encryption"),
    ("keylocation", "encryption"),
    ("pbkdf2iters", "encryption"),
    ("quota", "quota"),
    ("reservation", "reservation"),
    ("compression", "compression"),
    ("recordsize", "record-size"),
    ("mountpoint", "mountpoint"),
];

pub(super) fn pools(
    entry: &Entry<'_, HypervisorSource>,
    source: &HypervisorSource,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, Arc<Pool>> {
    let mut pools = BTreeMap::new();
    let mut seen: BTreeMap<String, Spot> = BTreeMap::new();
    let mut mounted: BTreeMap<String, Spot> = BTreeMap::new();
    for (name, source) in source.zfs.iter().flatten() {
        let one = One { name, entry };
        let Some(pool) = one.pool(source, context) else { continue };
        one.once(&pool, &mut seen, context);
        for dataset in std::iter::once(name).chain(pool.datasets.keys()) {
            let Some(path) = pool.mountpoint(dataset) else { continue };
            let spot = match dataset.split_once('/') {
                Some((_, below)) => one.key(&["datasets", below]),
                None => one.key(&[]),
            };
            if let Some(there) = mounted.insert(path.clone(), spot) {
                let message = format!("two datasets are to be mounted at {path}");
                let draft = Draft::error(codes::ZFS, spot, message).related(there, "the other");
                context.push(draft.hint("give one of them another `mountpoint`, or `none`"));
            }
        }
        pools.insert(name.clone(), Arc::new(pool));
    }
    for (name, source) in source.zfs.iter().flatten() {
        One { name, entry }.replicas(source, &pools, context);
    }
    pools
}

/// A pool that is read.
#[derive(Clone, Copy)]
struct One<'a> {
    name: &'a str,
    entry: &'a Entry<'a, HypervisorSource>,
}

impl One<'_> {
    fn path<'b>(&'b self, path: &[&'b str]) -> Vec<&'b str> {
        [&["zfs", self.name], path].concat()
    }

    fn spot(&self, path: &[&str]) -> Spot {
        self.entry.spot(&self.path(path))
    }

    fn key(&self, path: &[&str]) -> Spot {
        self.entry.key_spot(&self.path(path))
    }

    fn pool(&self, source: &PoolSource, context: &mut Context<'_, '_>) -> Option<Pool> {
        let layout = match source.layout {
            None | Some(LayoutSource::Stripe) => Layout::Stripe,
            Some(LayoutSource::Mirror) => Layout::Mirror,
            Some(LayoutSource::Raidz1) => Layout::Raidz1,
            Some(LayoutSource::Raidz2) => Layout::Raidz2,
            Some(LayoutSource::Raidz3) => Layout::Raidz3,
        };
        let plain = |disks: &[DiskName]| disks.iter().map(|disk| disk.0.clone()).collect::<Vec<_>>();
        let groups = self.groups(source, layout, context)?;
        if let Some(few) = groups.iter().map(Vec::len).min().filter(|few| *few < layout.least()) {
            let message = format!(
                "`{}` takes {} disks or more in a group, and here are {few}",
                layout.as_str(),
                layout.least()
            );
            context.push(
                Draft::error(codes::ZFS, self.spot(&["disks"]), message)
                    .hint("name more disks, or another `layout`"),
            );
            return None;
        }
        if groups.iter().any(|group| Some(group.len()) != groups.first().map(Vec::len)) {
            let message = "the groups of a pool's disks have to be of the same number";
            let hint = "data is spread over all groups, so the weakest one decides what may fail";
            context.push(Draft::error(codes::ZFS, self.spot(&["disks"]), message).hint(hint));
            return None;
        }
        let survives = match layout {
            Layout::Stripe => 0,
            Layout::Mirror => groups.first().map_or(0, |group| group.len() - 1),
            Layout::Raidz1 => 1,
            Layout::Raidz2 => 2,
            Layout::Raidz3 => 3,
        };
        if let Some(special) = source.special.as_ref().filter(|special| special.len() != survives + 1) {
            let message = format!(
                "{} `special` disks survive {} failures, and the others {survives}",
                special.len(),
                special.len() - 1
            );
            let draft = Draft::error(codes::ZFS, self.spot(&["special"]), message);
            context.push(draft.hint(format!("the pool is lost with them: name {}", survives + 1)));
        }
        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in source.properties.iter().flatten() {
            let key = match name.as_str() {
                "ashift" | "autotrim" => Some(name.as_str()),
                _ => None,
            };
            self.is_property(name, key, &["properties", name], context);
            properties.insert(name.clone(), value.0.clone());
        }
        properties.entry("autoexpand".to_owned()).or_insert_with(|| "on".to_owned());
        let autotrim = if source.autotrim == Some(true) { "on" } else { "off" };
        properties.insert("autotrim".to_owned(), autotrim.to_owned());
        let mut root = BTreeMap::new();
        root.extend(source.compression.as_ref().map(|value| ("compression".to_owned(), value.0.clone())));
        let scrub = match source.scrub {
            None | Some(ScrubSource::Monthly) => Some("monthly"),
            Some(ScrubSource::Weekly) => Some("weekly"),
            Some(ScrubSource::Never) => None,
        };
        if let Some(scrub) = scrub {
            root.insert(SCRUB.to_owned(), scrub.to_owned());
            root.insert(DEBIANS_SCRUB.to_owned(), "disable".to_owned());
        }
        let list = |disks: &Option<Vec<DiskName>>| disks.as_deref().map(plain).unwrap_or_default();
        Some(Pool {
            name: self.name.to_owned(),
            layout,
            groups,
            special: list(&source.special),
            log: list(&source.log),
            cache: list(&source.cache),
            spare: list(&source.spare),
            ashift: source.ashift.unwrap_or(ASHIFT),
            wipe: source.wipe.iter().flatten().map(|serial| serial.0.clone()).collect(),
            properties,
            root,
            datasets: self.datasets(source, context),
            declared: self.entry.location_of(&self.path(&[]), context.report),
        })
    }

    /// The groups of disks that hold its data: all that is named is one, or each list is.
    fn groups(
        &self,
        source: &PoolSource,
        layout: Layout,
        context: &mut Context<'_, '_>,
    ) -> Option<Vec<Vec<String>>> {
        let mut alone: Vec<String> = Vec::new();
        let mut groups: Vec<Vec<String>> = Vec::new();
        for form in &source.disks {
            match form {
                DisksForm::Disk(disk) => alone.push(disk.0.clone()),
                DisksForm::Group(disks) => groups.push(disks.iter().map(|disk| disk.0.clone()).collect()),
            }
        }
        if !alone.is_empty() && !groups.is_empty() {
            let message = "some of the disks are in a group, and some are not";
            let draft = Draft::error(codes::ZFS, self.spot(&["disks"]), message);
            context.push(draft.hint("a list of disks is one group; for several, write a list of lists"));
            return None;
        }
        if !alone.is_empty() {
            groups.push(alone);
        }
        // Each stands for itself.
        Some(match layout {
            Layout::Stripe => groups.into_iter().flatten().map(|disk| vec![disk]).collect(),
            _ => groups,
        })
    }

    fn datasets(&self, source: &PoolSource, context: &mut Context<'_, '_>) -> BTreeMap<String, Dataset> {
        let empty = BTreeMap::new();
        let all = source.datasets.as_ref().unwrap_or(&empty);
        let mut out = BTreeMap::new();
        for (below, source) in all {
            if let Some((above, _)) = below.rsplit_once('/').filter(|(above, _)| !all.contains_key(*above)) {
                let message = format!("`{below}` is in a dataset that is not declared");
                let draft = Draft::error(codes::ZFS, self.key(&["datasets", below]), message);
                context.push(draft.hint(format!("add \"{above}\": {{}}")));
            }
            let name = format!("{}/{below}", self.name);
            let mut properties = self.properties(below, source, context);
            let encryption = source.encryption.as_ref().and_then(encryption);
            let location = encryption.as_ref().map(|it| it.location(&name));
            properties.extend(location.map(|location| ("keylocation".to_owned(), location)));
            let declared = self.entry.location_of(&self.path(&["datasets", below]), context.report);
            out.insert(name.clone(), Dataset { name, properties, encryption, declared });
        }
        out
    }

    /// A copy is of snapshots, in another pool, and of nothing else.
    fn replicas(
        &self,
        source: &PoolSource,
        pools: &BTreeMap<String, Arc<Pool>>,
        context: &mut Context<'_, '_>,
    ) {
        let Some(own) = pools.get(self.name) else { return };
        for (below, dataset) in source.datasets.iter().flatten() {
            let Some(to) = dataset.replicate.as_ref().map(|it| it.to.0.as_str()) else { continue };
            let (pool, inside) = to.split_once('/').unwrap_or((to, ""));
            let above = inside.rsplit_once('/').map(|(above, _)| format!("{pool}/{above}"));
            let there = pools.get(pool);
            let name = format!("{}/{below}", self.name);
            // Of two copies in one place, the later one is told.
            let mut others =
                pools.values().flat_map(|pool| pool.datasets.values()).filter(|other| other.name < name);
            let (message, hint) = if pool == self.name {
                (
                    "its copy would be in the same pool, and lost with it".to_owned(),
                    "name another pool of the node".to_owned(),
                )
            } else if there.is_none() {
                let all: Vec<&str> =
                    pools.keys().map(String::as_str).filter(|name| *name != self.name).collect();
                let hint = match all.as_slice() {
                    [] => "declare a second pool under `zfs`".to_owned(),
                    all => format!("there are: {}", all.join(", ")),
                };
                (format!("there is no pool `{pool}`"), hint)
            } else if there.is_some_and(|there| there.datasets.contains_key(to)) {
                (
                    format!("`{to}` is a dataset of its own"),
                    "name one that is not declared: it is made by the first copy".to_owned(),
                )
            } else if let Some(above) = above.filter(|above| {
                let copy = own.datasets.values().any(|it| it.replica().is_some_and(|(to, _)| to == above));
                there.is_some_and(|there| !there.datasets.contains_key(above)) && !copy
            }) {
                (
                    format!("`{above}`, which the copy is to be in, is not declared"),
                    format!("declare it, or name one right below `{pool}`"),
                )
            } else if let Some(other) =
                others.find(|other| other.replica().is_some_and(|(copy, _)| copy == to))
            {
                (format!("the copy of `{}` is there", other.name), "name another one".to_owned())
            } else if !own.has_snapshots(&name) {
                (
                    format!("`{below}` has no snapshots, which are what is copied"),
                    "say `snapshots`, such as \"14d\"".to_owned(),
                )
            } else {
                continue;
            };
            let spot = self.spot(&["datasets", below, "replicate", "to"]);
            context.push(Draft::error(codes::ZFS, spot, message).hint(hint));
        }
    }

    fn properties(
        &self,
        below: &str,
        source: &DatasetSource,
        context: &mut Context<'_, '_>,
    ) -> BTreeMap<String, String> {
        let spot = |key: &str| self.spot(&["datasets", below, key]);
        let mut out = BTreeMap::new();
        for (name, value) in source.properties.iter().flatten() {
            let key = OF_KEYS.iter().find(|(own, _)| own == name).map(|(_, key)| *key);
            self.is_property(name, key, &["datasets", below, "properties", name], context);
            out.insert(name.clone(), value.0.clone());
        }
        if let Some(size) = &source.record_size {
            let good = bytes(&size.0)
                .is_some_and(|bytes| bytes.is_power_of_two() && (512..=16 << 20).contains(&bytes));
            if !good {
                let message = format!("`{size}` cannot be a record size");
                let draft = Draft::error(codes::BAD_VALUE, spot("record-size"), message);
                context.push(draft.hint("a power of two from 512 to 16M, such as \"1M\""));
            }
        }
        if let Some(path) = source.mountpoint.as_ref().filter(|path| !is_mountpoint(path)) {
            let message = format!("`{}` cannot be a mountpoint", path.0.escape_debug());
            let draft = Draft::error(codes::BAD_VALUE, spot("mountpoint"), message);
            context.push(draft.hint("an absolute path such as \"/srv/media\", or \"none\""));
        }
        if let (Some(quota), Some(reservation)) = (&source.quota, &source.reservation)
            && bytes(&reservation.0) > bytes(&quota.0)
        {
            let message =
                format!("`{reservation}` cannot be kept free where `{quota}` is all that there may be");
            context.push(
                Draft::error(codes::ZFS, spot("reservation"), message)
                    .hint("make `quota` larger, or `reservation` smaller"),
            );
        }
        let size = |size: &Option<crate::values::ZfsSize>| size.as_ref().map(|it| it.0.clone());
        let text = |text: &Option<Text>| text.as_ref().map(|it| it.0.clone());
        let said = [
            ("quota", size(&source.quota)),
            ("reservation", size(&source.reservation)),
            ("compression", text(&source.compression)),
            ("recordsize", size(&source.record_size)),
            ("mountpoint", text(&source.mountpoint)),
            (SNAPSHOTS, source.snapshots.as_ref().map(|it| it.0.clone())),
            (REPLICA, source.replicate.as_ref().map(replica)),
        ];
        out.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        out
    }

    /// Whether something can be said under `properties`.
    fn is_property(&self, name: &str, key: Option<&str>, path: &[&str], context: &mut Context<'_, '_>) {
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.:@-".contains(c));
        let (message, hint) = match key {
            Some(key) => {
                (format!("the property `{name}` has a key of its own"), format!("write it as `{key}`"))
            }
            None if name.starts_with("phoenix:") => {
                (format!("`{name}` is how Phoenix remembers something"), "remove it".to_owned())
            }
            None if !plain => (
                format!("`{}` is no property", name.escape_debug()),
                "properties are called as zfsprops(7) and zpoolprops(7) say".to_owned(),
            ),
            None => return,
        };
        context.push(Draft::error(codes::BAD_VALUE, self.key(path), message).hint(hint));
    }

    /// A disk is in one place.
    fn once(&self, pool: &Pool, seen: &mut BTreeMap<String, Spot>, context: &mut Context<'_, '_>) {
        let of =
            [("special", &pool.special), ("log", &pool.log), ("cache", &pool.cache), ("spare", &pool.spare)];
        let data = pool.groups.iter().flatten().map(|disk| ("disks", disk));
        let mut told = BTreeSet::new();
        for (key, disk) in
            data.chain(of.iter().flat_map(|(key, disks)| disks.iter().map(move |disk| (*key, disk))))
        {
            let spot = self.spot(&[key]);
            if let Some(there) = seen.insert(disk.clone(), spot).filter(|_| told.insert(disk.clone())) {
                let message = format!("the disk `{disk}` is named twice");
                context.push(
                    Draft::error(codes::ZFS, spot, message)
                        .related(there, "the other")
                        .hint("a disk is in one place of one pool"),
                );
            }
        }
    }
}

/// Where a copy is, and how long it keeps snapshots where that is said.
fn replica(source: &ReplicateSource) -> String {
    match &source.keep {
        Some(keep) => format!("{} {}", source.to, keep),
        None => source.to.to_string(),
    }
}

/// What is wrong with a reference is said where it stands.
fn encryption(source: &EncryptionSource) -> Option<Encryption> {
    let by_hand = source.unlock == Some(UnlockSource::ByHand);
    Some(Encryption { key: SecretSource::reference(&source.key)?, by_hand })
}

fn is_mountpoint(path: &Text) -> bool {
    let text = path.0.as_str();
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    let below = text.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..") && text.chars().all(plain)
    });
    below || ["none", "legacy"].contains(&text)
}
