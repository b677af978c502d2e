//! Observing: the target's inventory, in a constant number of round trips where commands can be run on the node, with
//! one call a guest where only the API is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apply::Failure;
use cidr::Ipv4Inet;
use futures::future::{join_all, try_join_all};
use futures::{StreamExt as _, stream};
use plan::Trust;
use plan::inventory::{Guest, Inventory, NodeFacts, Storage, Unread, WayIn};
use proxmox::client::{Reader, Resource, TaskEntry, Volume};
use proxmox::config::GuestKind;
use proxmox::inventory::{FilesError, GuestFile, Guests, NodeAddress, read_by_files, read_listed_by_api};
use tokio::time::Instant;
use transport::Runner;

use crate::settle::{self, Pauses, failure};
use crate::ways::Ways;

/// Reads what a plan needs to know. Nothing is changed: there is no way to from a [`Reader`]. What is seen of nodes and
/// guests, `ways` learns. Whose the guests are, [`Inventory::judge`] finds out.
///
/// # Errors
/// When the node cannot be asked at all. What else could not be read is in [`Inventory::unread`].
pub async fn observe(ways: &Ways) -> Result<Inventory, Failure> {
    let (reader, commands) = (ways.reader(), ways.first());
    let mut inventory = Inventory { commands: commands.is_some(), ..Inventory::default() };
    // What does not need another's answer is asked at the same time: the files while the API is asked, and of the API the
    // storages, their templates and (without commands) the guests. Everything of the cluster comes in one answer.
    let by_files = async {
        match commands {
            Some(node) => Some(files(&**node).await),
            None => None,
        }
    };
    let (listed, by_files) = tokio::join!(listed(reader, commands.is_none()), by_files);
    let Listed { resources, nodes, node, guests: read, notes, unread } = listed?;
    inventory.datacenter.notes = notes;
    let read = match (by_files, read) {
        (Some(Ok(read)), _) | (None, Some(read)) => read,
        // Somebody else is in the node's place, or it is another node: then nothing is looked at any more.
        (Some(Err(FilesError::Transport(error @ transport::Error::HostKey { .. }))), _) => {
            return Err(settle::transport_failure("reading the guests' configuration", &error));
        }
        (Some(Err(error)), _) => {
            // The API can tell the same, only slower.
            inventory.unread.push(Unread {
                what: "the configuration files".into(),
                why: format!("{error}; {}", error.hint()),
            });
            inventory.commands = !matches!(error, FilesError::Transport(_));
            by_api(reader, &resources).await?
        }
        (None, None) => by_api(reader, &resources).await?,
    };
    (inventory.nodes, inventory.node) = (nodes, node);
    let read = first_node(&mut inventory, read);
    guests(&mut inventory, &resources, read);
    inventory.unread.extend(unread);
    inventory.pools = resources.iter().filter(|r| r.kind == "pool").filter_map(|r| r.pool.clone()).collect();
    ways.learn(&inventory);
    Ok(inventory)
}

/// What the API tells.
struct Listed {
    resources: Vec<Resource>,
    nodes: BTreeMap<String, NodeFacts>,
    node: String,
    guests: Option<Guests>,
    notes: Option<String>,
    unread: Vec<Unread>,
}

/// Asks the API, for the guests' configuration only where nothing else tells it.
async fn listed(reader: &Reader, guests_too: bool) -> Result<Listed, Failure> {
    let resources = settle::read("asking what there is", || reader.resources(None)).await?;
    let guests = async { if guests_too { by_api(reader, &resources).await.map(Some) } else { Ok(None) } };
    let rest = async {
        let (node, mut nodes) = members(reader, &resources).await?;
        let unread = offered(reader, &mut nodes, &resources).await;
        Ok::<_, Failure>((node, nodes, unread))
    };
    // Where it is written down what the site has of the datacenter.
    let notes = settle::read("reading the notes of the datacenter", || reader.notes());
    let (guests, rest, notes) = tokio::join!(guests, rest, notes);
    let guests = guests?;
    let (node, nodes, mut unread) = rest?;
    let notes = notes.unwrap_or_else(|failure| {
        unread.push(Unread { what: "the notes of the datacenter".into(), why: failure.to_string() });
        None
    });
    Ok(Listed { resources, nodes, node, guests, notes, unread })
}

/// How many nodes are asked at once for what they offer: the node that answers passes each call on.
const NODES: usize = 4;

/// What the nodes offer that are online; the others are said. What could not be read.
async fn offered(
    reader: &Reader,
    nodes: &mut BTreeMap<String, NodeFacts>,
    resources: &[Resource],
) -> Vec<Unread> {
    let offline = nodes.iter().filter(|(_, facts)| !facts.online).map(|(name, _)| Unread {
        what: format!("the node {name}"),
        why: "it is offline; what is on it stays as it is".into(),
    });
    let mut unread: Vec<Unread> = offline.collect();
    let alone = nodes.len() == 1;
    let online: Vec<String> =
        nodes.iter().filter(|(_, facts)| facts.online).map(|(name, _)| name.clone()).collect();
    let asked = online.into_iter().map(|name| async move {
        let storages = storages(reader, &name, resources).await;
        (name, storages)
    });
    // In the order of their names, so that what is said does not depend on who answers first.
    let mut asked = std::pin::pin!(stream::iter(asked).buffered(NODES));
    while let Some((name, found)) = asked.next().await {
        unread.extend(found.unread.into_iter().map(|it| match alone {
            true => it,
            false => Unread { what: format!("{} of {name}", it.what), why: it.why },
        }));
        if let Some(facts) = nodes.get_mut(&name) {
            (facts.storages, facts.templates, facts.sizes) = (found.storages, found.templates, found.sizes);
        }
    }
    unread
}

/// All configuration files, in one command; tried three times, so that one lost answer costs next to nothing.
async fn files(node: &dyn Runner) -> Result<Guests, FilesError> {
    let looks: Vec<_> = crate::managers().iter().filter_map(|manager| manager.looks()).collect();
    let mut pauses = Pauses::up_to(settle::PAUSE);
    for _ in 0..2 {
        match read_by_files(node, &looks).await {
            Err(error @ FilesError::Transport(transport::Error::HostKey { .. })) => return Err(error),
            Err(FilesError::Transport(_) | FilesError::Garbled { .. }) => pauses.pause().await,
            result => return result,
        }
    }
    read_by_files(node, &looks).await
}

/// Observes and judges, and again while a task holds one of the guests `ids` or one of the site's own: what a run that was
/// cut off left working is waited for, since a plan would otherwise be made against something half done. Bounded by
/// [`settle::LOCKED`], and by [`settle::LEFT`] for locks that no task works under; after that the plan is made of what is
/// there. `waiting` is told once, what for and how long at most.
///
/// # Errors
/// As [`observe`].
pub async fn observe_settled(
    ways: &Ways,
    trust: &Trust,
    ids: &BTreeSet<u32>,
    waiting: &(dyn Fn(&str, Duration) + Sync),
) -> Result<Inventory, Failure> {
    let begin = Instant::now();
    let mut told = false;
    let mut left_since: BTreeMap<u32, Instant> = BTreeMap::new();
    let mut pauses = Pauses::up_to(settle::PAUSE * 2);
    loop {
        // Tasks first, and nothing of what is observed at the same time: one that ends after it was looked for is seen in
        // what is observed then.
        let tasks = active(ways.reader()).await?;
        let mut inventory = observe(ways).await?;
        inventory.judge(trust);
        let ours = |guest: &Guest| guest.mark.as_ref().is_some_and(|mark| mark.site == trust.site());
        let locked: BTreeMap<u32, &str> = inventory
            .guests
            .values()
            .filter(|g| ids.contains(&g.id) || ours(g))
            .filter_map(|g| Some((g.id, g.lock.as_deref()?)))
            .collect();
        let (left, held): (BTreeMap<u32, &str>, BTreeMap<u32, &str>) =
            locked.into_iter().partition(|(id, lock)| settle::is_left(lock, *id, &tasks));
        left_since.retain(|id, _| left.contains_key(id));
        for id in left.keys() {
            left_since.entry(*id).or_insert_with(Instant::now);
        }
        let held: BTreeSet<u32> = held.into_keys().chain(busy(&tasks, ids)).collect();
        let abandoned = left_since.values().all(|since| since.elapsed() >= settle::LEFT);
        if (held.is_empty() && abandoned) || begin.elapsed() > settle::LOCKED {
            return Ok(inventory);
        }
        if !told {
            if held.is_empty() {
                let locks: Vec<String> = left.iter().map(|(id, lock)| format!("{id} ({lock})")).collect();
                let words = format!("the lock on {}, which no task holds", locks.join(", "));
                waiting(&words, settle::LEFT);
            } else {
                let ids: Vec<String> = held.iter().map(u32::to_string).collect();
                waiting(&format!("a task that holds {}", ids.join(", ")), settle::LOCKED);
            }
            told = true;
        }
        pauses.pause().await;
    }
}

/// Tasks that a run of ours begins. A console that somebody has open is a task too, and is not waited for.
const OURS: [&str; 18] = [
    "vzcreate",
    "vzclone",
    "vztemplate",
    "vzstart",
    "vzstop",
    "vzshutdown",
    "vzdestroy",
    "resize",
    "move_volume",
    "qmcreate",
    "qmclone",
    "qmtemplate",
    "qmconfig",
    "qmstart",
    "qmstop",
    "qmshutdown",
    "qmdestroy",
    "qmmove",
];

/// The guests of `ids` that a task works on. A start or a stop leaves no lock in the configuration.
fn busy(tasks: &[TaskEntry], ids: &BTreeSet<u32>) -> BTreeSet<u32> {
    let ours = tasks.iter().filter(|task| OURS.contains(&task.kind.as_str()));
    ours.filter_map(|task| task.id.as_deref()?.parse().ok()).filter(|id| ids.contains(id)).collect()
}

/// The tasks that run on all nodes.
async fn active(reader: &Reader) -> Result<Vec<TaskEntry>, Failure> {
    let nodes = settle::read("listing the nodes", || reader.nodes()).await?;
    let online = nodes.iter().filter(|n| n.status == "online");
    let lists = try_join_all(online.map(|node| settle::active(reader, &node.node))).await?;
    Ok(lists.into_iter().flatten().collect())
}

async fn by_api(reader: &Reader, resources: &[Resource]) -> Result<Guests, Failure> {
    let guests: Vec<Resource> = resources.iter().filter(|r| r.guest_kind().is_some()).cloned().collect();
    read_listed_by_api(reader, &guests).await.map_err(|e| failure("reading the guests' configuration", &e))
}

/// The node that answers, and all nodes: the only one, or what the cluster's list says.
async fn members(
    reader: &Reader,
    resources: &[Resource],
) -> Result<(String, BTreeMap<String, NodeFacts>), Failure> {
    let listed = resources.iter().filter(|r| r.kind == "node");
    let online =
        |r: &Resource| NodeFacts { online: r.status.as_deref() == Some("online"), ..NodeFacts::default() };
    let mut nodes: BTreeMap<String, NodeFacts> =
        listed.filter_map(|r| Some((r.node.clone()?, online(r)))).collect();
    if nodes.len() == 1
        && let Some((only, facts)) = nodes.iter_mut().next()
    {
        // It answers, whatever it thinks of itself.
        facts.online = true;
        return Ok((only.clone(), nodes));
    }
    let members = settle::read("asking which node this is", || reader.members()).await?;
    let local = members.iter().find(|member| member.local).map(|member| member.name.clone());
    for member in members {
        let facts = nodes.entry(member.name).or_default();
        (facts.online, facts.address) = (member.online, member.address);
    }
    let node = local.or_else(|| nodes.keys().next().cloned()).ok_or_else(|| {
        Failure::new("proxmox::no-node", "the answer names no node")
            .hint("may the token see nodes? give it the role PVEAuditor on /")
    })?;
    Ok((node, nodes))
}

/// What only the reader of files knows: the node that was read on, and what each kind takes for itself.
fn first_node(inventory: &mut Inventory, mut read: Guests) -> Guests {
    // A name that the cluster does not know is none: it may be about to join, or to leave.
    inventory.reached = read.node.take().filter(|name| inventory.nodes.contains_key(name));
    let inet = |it: &NodeAddress| Ipv4Inet::new(it.address, it.length).ok();
    let facts = inventory.reached_mut();
    facts.addresses = read.addresses.iter().filter_map(inet).collect();
    facts.way_in = read.way_in.map(|it| WayIn { client: it.client, port: it.port });
    for manager in crate::managers() {
        manager.observe(&mut read, inventory);
    }
    read
}

fn guests(inventory: &mut Inventory, resources: &[Resource], read: Guests) {
    for unread in read.unread {
        inventory
            .unread
            .push(Unread { what: format!("the configuration of {}", unread.id), why: unread.reason });
    }
    let mut files: BTreeMap<u32, GuestFile> = read.guests;
    for resource in resources {
        let (Some(kind), Some(id)) = (resource.guest_kind(), resource.vmid) else { continue };
        let mut guest = Guest {
            id,
            vm: kind == GuestKind::Vm,
            node: resource.node.clone().unwrap_or_default(),
            name: resource.name.clone().unwrap_or_default(),
            running: resource.status.as_deref() == Some("running"),
            template: resource.template,
            lock: resource.lock.clone(),
            pool: resource.pool.clone(),
            disk_used: resource.disk,
            ..Guest::default()
        };
        if let Some(file) = files.remove(&id) {
            fill(&mut guest, file, &mut inventory.unread);
        }
        inventory.guests.insert(id, guest);
    }
    // Made between the two readings: it is there all the same.
    for (id, file) in files {
        let vm = file.kind == GuestKind::Vm;
        let mut guest = Guest { id, vm, node: file.node.clone(), ..Guest::default() };
        fill(&mut guest, file, &mut inventory.unread);
        guest.name = guest.config.as_ref().and_then(|c| c.get("hostname").cloned()).unwrap_or_default();
        inventory.guests.insert(id, guest);
    }
}

fn fill(guest: &mut Guest, file: GuestFile, unread: &mut Vec<Unread>) {
    let current = file.config.current;
    guest.digest = file.digest;
    guest.lock = current.values.get("lock").cloned().or(guest.lock.take());
    match plan::mark::parse(current.description.as_deref().unwrap_or_default()) {
        Ok((text, read)) => {
            guest.text = text;
            guest.read = read;
        }
        Err(error) => unread.push(Unread {
            what: format!("Phoenix' block in the description of {}", guest.id),
            why: Failure::from_error("", &error).errors.join(": "),
        }),
    }
    guest.config = Some(current.values);
    let pending = file.config.pending;
    // Where a key is to go and to have a value, it has the value in the end: removals are carried out first.
    guest.pending =
        pending.delete.into_iter().map(|k| (k.trim_start_matches('!').to_owned(), None)).collect();
    guest.pending.extend(pending.section.values.into_iter().map(|(k, v)| (k, Some(v))));
}

/// The storages of a node, and the templates on them.
#[derive(Default)]
struct Storages {
    storages: BTreeMap<String, Storage>,
    templates: BTreeSet<String>,
    sizes: BTreeMap<String, u64>,
    unread: Vec<Unread>,
}

/// Which storages are likely to have templates, the cluster's list tells already, so that they are asked without waiting
/// for the node's own list. That one decides.
async fn storages(reader: &Reader, node: &str, resources: &[Resource]) -> Storages {
    let templates = |storage: String| async move {
        let list = || reader.volumes(node, &storage, Some("vztmpl"));
        let list = settle::read("listing the templates", list).await;
        (storage, list)
    };
    let likely = resources.iter().filter(|r| {
        r.kind == "storage" && r.node.as_deref() == Some(node) && r.status.as_deref() == Some("available")
    });
    let likely = likely.filter(|r| r.holds("vztmpl")).filter_map(|r| r.storage.clone());
    let (list, asked) = tokio::join!(
        settle::read("listing the storages", || reader.storages(node)),
        join_all(likely.map(templates))
    );
    let mut found = Storages::default();
    let list = match list {
        Ok(list) => list,
        Err(failure) => {
            found.unread.push(Unread { what: "the storages".into(), why: failure.to_string() });
            return found;
        }
    };
    let holds = |storage: &proxmox::client::Storage| storage.active && storage.holds("vztmpl");
    let mut asked: BTreeMap<String, Result<Vec<Volume>, Failure>> = asked.into_iter().collect();
    let missing = list.iter().filter(|it| holds(it) && !asked.contains_key(&it.storage));
    let more = join_all(missing.map(|it| templates(it.storage.clone()))).await;
    asked.extend(more);
    for storage in list {
        match asked.remove(&storage.storage).filter(|_| holds(&storage)) {
            Some(Ok(volumes)) => {
                found.sizes.extend(volumes.iter().filter_map(|v| Some((v.volid.clone(), v.size?))));
                found.templates.extend(volumes.into_iter().map(|v| v.volid));
            }
            Some(Err(error)) => found.unread.push(Unread {
                what: format!("the templates on {}", storage.storage),
                why: error.to_string(),
            }),
            None => {}
        }
        found.storages.insert(
            storage.storage.clone(),
            Storage {
                content: storage.content.split(',').map(|c| c.trim().to_owned()).collect(),
                active: storage.active && storage.enabled,
                available: storage.avail,
                total: storage.total,
                kind: storage.kind,
                shared: storage.shared,
            },
        );
    }
    found
}
