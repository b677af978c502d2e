//! Folders of the node that others use: what each is, and what cannot be so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cidr::Ipv4Cidr;

use super::Context;
use crate::codes;
use crate::model::{Export, Named, Network, Pool, SecretRef, Share, Smb, Storage};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{DatasetShareSource, ExportSource, HypervisorSource, ShareSource, SmbSource};
use crate::values::{AddressRange, ClientName, FolderMode, ShareName, SharePath, UnixName};

/// Folders that are the system's: shared, their owner and mode would be another's.
const WHOLE: [&str; 8] = ["/home", "/media", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/log"];
/// Folders that are the system's with all that is in them.
const BELOW: [&str; 13] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/vz",
];
/// The numbers of owners that have none of their own.
const NUMBERS: std::ops::Range<u32> = 20_000..30_000;

/// All of them, by name.
pub(super) fn shares(
    entry: &Entry<'_, HypervisorSource>,
    source: &HypervisorSource,
    pools: &BTreeMap<String, Arc<Pool>>,
    networks: &BTreeMap<String, Network>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, Arc<Share>> {
    let mut all = All { entry, pools, networks, shares: BTreeMap::new(), passwords: BTreeMap::new() };
    for (name, source) in source.shares.iter().flatten() {
        let said = Said::from(source);
        all.add(name, source.folder.0.clone(), &["shares", name], &said, context);
    }
    for (pool, source) in source.zfs.iter().flatten() {
        for (below, dataset) in source.datasets.iter().flatten() {
            let Some(share) = &dataset.share else { continue };
            let path = ["zfs", pool, "datasets", below, "share"];
            all.dataset(&format!("{pool}/{below}"), share, &path, context);
        }
    }
    all.check_numbers(context);
    all.shares.into_iter().map(|(name, (share, _))| (name, Arc::new(share))).collect()
}

/// What both forms say.
struct Said<'a> {
    owner: Option<&'a UnixName>,
    uid: Option<u32>,
    group: Option<&'a UnixName>,
    gid: Option<u32>,
    mode: Option<&'a FolderMode>,
    open: bool,
    nfs: Option<&'a ExportSource>,
    smb: Option<&'a SmbSource>,
}

macro_rules! said {
    ($($form:ident)*) => {$(
        impl<'a> From<&'a $form> for Said<'a> {
            fn from(source: &'a $form) -> Self {
                Self {
                    owner: source.owner.as_ref(),
                    uid: source.uid,
                    group: source.group.as_ref(),
                    gid: source.gid,
                    mode: source.mode.as_ref(),
                    open: source.open.unwrap_or(false),
                    nfs: source.nfs.as_ref(),
                    smb: source.smb.as_ref(),
                }
            }
        }
    )*};
}
said! { ShareSource DatasetShareSource }

struct All<'a> {
    entry: &'a Entry<'a, HypervisorSource>,
    pools: &'a BTreeMap<String, Arc<Pool>>,
    networks: &'a BTreeMap<String, Network>,
    shares: BTreeMap<String, (Share, Spot)>,
    passwords: BTreeMap<String, (SecretRef, Spot)>,
}

impl All<'_> {
    fn dataset(
        &mut self,
        dataset: &str,
        source: &DatasetShareSource,
        path: &[&str],
        context: &mut Context<'_, '_>,
    ) {
        let Some(pool) = dataset.split('/').next().and_then(|pool| self.pools.get(pool)) else { return };
        let spot = self.entry.key_spot(path);
        let Some(folder) = pool.mountpoint(dataset) else {
            let message = format!("the dataset `{dataset}` cannot be shared: it is mounted nowhere");
            let hint = "give it a `mountpoint`, or leave out `share`";
            context.push(Draft::error(codes::BAD_SHARE, spot, message).hint(hint));
            return;
        };
        if let Err(error) = folder.parse::<SharePath>() {
            let draft = Draft::error(codes::BAD_SHARE, spot, error.message);
            context.push(draft.hint("give the dataset a `mountpoint` of letters, digits and `_.:@+-`"));
            return;
        }
        let last = dataset.rsplit('/').next().unwrap_or(dataset);
        let name = match source.name.as_ref() {
            Some(name) => name.0.clone(),
            None if last.parse::<ShareName>().is_ok() => last.to_owned(),
            None => {
                let message = format!("the dataset `{dataset}` cannot be shared as `{last}`");
                let hint = "give the share a `name` of lower-case letters, digits and hyphens";
                context.push(Draft::error(codes::BAD_SHARE, spot, message).hint(hint));
                return;
            }
        };
        self.add(&name, folder, path, &Said::from(source), context);
    }

    fn add(
        &mut self,
        name: &str,
        folder: String,
        path: &[&str],
        said: &Said<'_>,
        context: &mut Context<'_, '_>,
    ) {
        let at = |key: &'static str| [path, &[key]].concat();
        let key = self.entry.key_spot(path);
        let place = if path.first() == Some(&"shares") { self.entry.spot(&at("folder")) } else { key };
        if let Some((_, there)) = self.shares.get(name) {
            let message = format!("two shares are called `{name}`");
            let draft = Draft::error(codes::BAD_SHARE, key, message).related(*there, "the other");
            context.push(draft.hint("give one of them another name"));
            return;
        }
        if let Some((other, (_, there))) = self.shares.iter().find(|(_, (share, _))| share.path == folder) {
            let message = format!("`{other}` and `{name}` share the same folder, {folder}");
            let draft = Draft::error(codes::BAD_SHARE, place, message).related(*there, "the other");
            context.push(draft.hint("a folder is shared once: one share may have `nfs` and `smb`"));
        }
        if let Some(system) = of_the_system(&folder) {
            let message = format!("{folder} cannot be shared: {system} is the system's");
            let hint = "share a folder of its own, such as /srv/media";
            context.push(Draft::error(codes::BAD_SHARE, place, message).hint(hint));
        }
        for (named, number, key) in
            [(said.owner, said.uid, ("owner", "uid")), (said.group, said.gid, ("group", "gid"))]
        {
            if let (Some(named), None) = (named, number) {
                let message = format!("the number of `{named}` is not known");
                let draft = Draft::error(codes::BAD_SHARE, self.entry.spot(&at(key.0)), message);
                let flag = if key.1 == "uid" { "-u" } else { "-g" };
                context.push(draft.hint(format!(
                    "add `{}`; where there is such a user on the node, it is what `id {flag} {named}` says there",
                    key.1
                )));
            }
        }
        let mode = match said.mode {
            Some(mode) => mode.0.clone(),
            None if said.open => "2777".to_owned(),
            None => "2770".to_owned(),
        };
        if !said.open && mode.ends_with(['2', '3', '6', '7']) {
            let message = format!("with the mode {mode}, everybody could write in {folder}");
            let draft = Draft::error(codes::BAD_SHARE, self.entry.spot(&at("mode")), message);
            context.push(draft.hint("end it with 0 or 5, or say \"open\": true where that is meant"));
        }
        let uid = said.uid.unwrap_or_else(|| number(name));
        let owner =
            Named { name: said.owner.map_or_else(|| format!("share-{name}"), |it| it.0.clone()), id: uid };
        let group = Named {
            name: said.group.map_or_else(|| owner.name.clone(), |it| it.0.clone()),
            id: said.gid.unwrap_or(uid),
        };
        let nfs = said.nfs.map(|nfs| Export {
            to: self.nets(&nfs.to, &[path, &["nfs", "to"]].concat(), context),
            write: nfs.write.unwrap_or(false),
            no_root_squash: nfs.no_root_squash.unwrap_or(false),
        });
        let smb = said.smb.map(|smb| self.smb(smb, path, context));
        let mounted = mounted(self.pools, &folder);
        let declared = self.entry.location_of(path, context.report);
        let share = Share {
            name: name.to_owned(),
            path: folder,
            mounted,
            owner,
            group,
            mode,
            open: said.open,
            nfs,
            smb,
            declared,
        };
        self.shares.insert(name.to_owned(), (share, key));
    }

    fn smb(&mut self, smb: &SmbSource, path: &[&str], context: &mut Context<'_, '_>) -> Smb {
        let at = |key: &'static str| [path, &["smb", key]].concat();
        let names: BTreeSet<&str> = smb.users.iter().map(|user| user.0.as_str()).collect();
        for (user, secret) in smb.passwords.iter().flatten() {
            let spot = self.entry.key_spot(&[&at("passwords"), [user.as_str()].as_slice()].concat());
            if !names.contains(user.as_str()) {
                let message = format!("`{user}` has a password, and is none of the share's `users`");
                context
                    .push(Draft::error(codes::BAD_SHARE, spot, message).hint("add the user, or remove it"));
            }
            let Some(secret) = secret.reference() else { continue };
            match self.passwords.get(user) {
                Some((known, there)) if *known != secret => {
                    let message = format!("`{user}` would have two passwords");
                    let draft = Draft::error(codes::BAD_SHARE, spot, message).related(*there, "the other");
                    context.push(draft.hint("a user has one for all shares: say it once"));
                }
                _ => {
                    self.passwords.insert(user.clone(), (secret, spot));
                }
            }
        }
        let from = match &smb.from {
            Some(from) => self.nets(from, &at("from"), context),
            None => {
                let mut all: Vec<Ipv4Cidr> = self.networks.values().map(|network| network.subnet).collect();
                all.sort();
                all.dedup();
                if all.is_empty() && !context.namespace.blind {
                    let message = "nobody could reach the share: the blueprint has no network";
                    let draft = Draft::error(
                        codes::BAD_SHARE,
                        self.entry.key_spot(&[path, &["smb"]].concat()),
                        message,
                    );
                    context.push(draft.hint("say `from`, such as [\"192.168.1.0/24\"]"));
                }
                all
            }
        };
        let made = |user: &str| SecretRef::Generate(format!("smb-{user}"));
        let users = names.into_iter().map(|user| (user.to_owned(), made(user))).collect();
        Smb { users, from, write: smb.write.unwrap_or(false) }
    }

    fn nets(&self, names: &[ClientName], path: &[&str], context: &mut Context<'_, '_>) -> Vec<Ipv4Cidr> {
        let mut all = Vec::new();
        for name in names {
            match (name.0.strip_prefix("net."), name.0.parse::<AddressRange>()) {
                (Some(net), _) => match self.networks.get(net) {
                    Some(network) => all.push(network.subnet),
                    None => {
                        let names: Vec<&str> = self.networks.keys().map(String::as_str).collect();
                        context.dangling(self.entry.spot(path), "network", net, &names);
                    }
                },
                (None, Ok(net)) => all.push(net.0),
                // The structural check lets nothing else through.
                (None, Err(_)) => {}
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// A number is one user's; and whose password is said in another share has that one everywhere.
    fn check_numbers(&mut self, context: &mut Context<'_, '_>) {
        let mut users: BTreeMap<u32, (String, Spot)> = BTreeMap::new();
        let mut groups: BTreeMap<u32, (String, Spot)> = BTreeMap::new();
        for (share, spot) in self.shares.values_mut() {
            for (known, named, key) in [(&mut users, &share.owner, "uid"), (&mut groups, &share.group, "gid")]
            {
                let entry = known.entry(named.id).or_insert_with(|| (named.name.clone(), *spot));
                if entry.0 != named.name && (key == "uid" || share.owner != share.group) {
                    let message =
                        format!("`{}` and `{}` have the same number, {}", entry.0, named.name, named.id);
                    let draft = Draft::error(codes::BAD_SHARE, *spot, message).related(entry.1, "the other");
                    context.push(
                        draft.hint(format!(
                            "give one of the shares another `{key}`, such as {}",
                            named.id + 1
                        )),
                    );
                }
            }
            for (user, secret) in share.smb.iter_mut().flat_map(|smb| &mut smb.users) {
                if let Some((said, _)) = self.passwords.get(user) {
                    secret.clone_from(said);
                }
            }
        }
    }
}

/// What of the system a folder is, or is in.
fn of_the_system(folder: &str) -> Option<&str> {
    let below = BELOW
        .into_iter()
        .find(|it| folder.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    below.or_else(|| WHOLE.into_iter().find(|it| *it == folder))
}

/// Where the dataset is mounted that a folder is on.
fn mounted(pools: &BTreeMap<String, Arc<Pool>>, folder: &str) -> Option<String> {
    let names = |pool: &Arc<Pool>| -> Vec<String> {
        std::iter::once(&pool.name).chain(pool.datasets.keys()).filter_map(|it| pool.mountpoint(it)).collect()
    };
    let inside = |point: &String| {
        folder.strip_prefix(point.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    pools.values().flat_map(names).filter(inside).max_by_key(String::len)
}

/// The number of a share's own user: always the same for a name (FNV-1a).
fn number(name: &str) -> u32 {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    NUMBERS.start + hash % (NUMBERS.end - NUMBERS.start)
}

/// Checks that no storage keeps what is guests' in a share: a share would show their disks.
pub(super) fn check_storages(
    shares: &BTreeMap<String, Arc<Share>>,
    pools: &BTreeMap<String, Arc<Pool>>,
    storages: &BTreeMap<String, Arc<Storage>>,
    context: &mut Context<'_, '_>,
) {
    let Some(entry) = &context.namespace.hypervisor else { return };
    for storage in storages.values() {
        let option = |key: &str| storage.place.options.get(key).cloned();
        let place = match storage.place.kind.as_str() {
            "zfspool" => {
                option("pool").and_then(|name| pools.get(name.split('/').next()?)?.mountpoint(&name))
            }
            "dir" | "btrfs" => option("path"),
            _ => None,
        };
        let Some(place) = place else { continue };
        let Some(there) = context.namespace.storages.get(&storage.name).map(Entry::key) else { continue };
        let holds = |folder: &str| {
            place.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for share in shares.values().filter(|share| holds(&share.path)) {
            let spot = spot_of(entry, share);
            let message = format!(
                "the share `{}` would show what the storage `{}` keeps in {place}: disks of guests",
                share.name, storage.name
            );
            let draft = Draft::error(codes::BAD_SHARE, spot, message).related(there, "the storage");
            context.push(draft.hint("share a folder or a dataset of its own"));
        }
    }
}

/// Where a share is written.
fn spot_of(entry: &Entry<'_, HypervisorSource>, share: &Share) -> Spot {
    let source = entry.value.as_ref();
    if source.is_some_and(|it| it.shares.as_ref().is_some_and(|all| all.contains_key(&share.name))) {
        return entry.key_spot(&["shares", &share.name]);
    }
    let pools = source.and_then(|it| it.zfs.as_ref()).into_iter().flatten();
    for (pool, below) in pools.flat_map(|(pool, it)| it.datasets.iter().flatten().map(move |it| (pool, it))) {
        let (below, dataset) = below;
        let Some(said) = &dataset.share else { continue };
        let last = below.rsplit('/').next();
        if said.name.as_ref().map_or(last, |it| Some(it.0.as_str())) == Some(&*share.name) {
            return entry.key_spot(&["zfs", pool, "datasets", below, "share"]);
        }
    }
    entry.key()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_always_has_the_same_number() {
        assert_eq!((number("media"), number("photos")), (number("media"), number("photos")));
        assert!(NUMBERS.contains(&number("media")) && number("media") != number("photos"));
    }

    #[test]
    fn what_is_the_systems_is_not_shared() {
        assert_eq!(of_the_system("/etc/x"), Some("/etc"));
        assert_eq!((of_the_system("/srv"), of_the_system("/srv/media")), (Some("/srv"), None));
        assert_eq!(of_the_system("/etcetera"), None);
    }
}
