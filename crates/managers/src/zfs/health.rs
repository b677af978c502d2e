//! How pools are: their state, errors, how full they are, how long ago all of them was read. Pure.

use blueprint::model::{self, SCRUB, SNAPSHOTS};
use jiff::Timestamp;
use jiff::civil::DateTime;
use plan::Inventory;
use plan::inventory::zfs::{Class, Pool, Zfs};
use serde::Serialize;

use super::roughly;
use crate::health::Trouble;

/// What could not be read, as it is told.
pub(super) const UNREAD: &str = "the node's pools of ZFS";

/// From so many percent on a pool is told of: ZFS looks long for free room above that, and cannot even delete when it is full.
pub const FULL: u64 = 80;

/// When the schedule made the last snapshot of a dataset, in seconds since 1970 (the feature `zfs-schedule` writes it).
const SNAPPED: &str = "phoenix:snapped";
/// When it brought the copy of a dataset up to date last, the same way.
const REPLICATED: &str = "phoenix:replicated";
/// What the schedule remembers of a dataset.
pub(super) const REMEMBERED: [&str; 3] = [SNAPPED, REPLICATED, "phoenix:replicated-guid"];
/// Snapshots are made and copied each day.
const SNAPSHOT_DAYS: i64 = 2;

/// How a pool is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolHealth {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// `ONLINE`, `DEGRADED`, …; `absent` where it is not imported.
    pub state: String,
    /// Percent in use.
    pub percent: u64,
    /// Bytes free.
    pub free: u64,
    /// Days since the last scrub ended, where there was one.
    pub scrubbed: Option<i64>,
    /// What is going on, in ZFS' own words: a scrub, a resilver.
    pub working: Option<String>,
    #[serde(skip)]
    trouble: Option<Trouble>,
}

/// A dataset whose key is not loaded, so that nobody reads what is in it.
fn locked(pool: &model::Pool, zfs: &Zfs) -> Option<Trouble> {
    let closed = |name: &&String| {
        let key = zfs.datasets.get(*name).and_then(|it| it.key.as_ref());
        key.is_some_and(|key| !key.loaded)
    };
    let name = pool.datasets.keys().find(closed)?;
    let hint = format!("phoenix-cli apply --target dataset.{name} loads it");
    Some(Trouble::new("zfs::locked", format!("the key of {name} is not loaded"), hint))
}

/// How a pool that is declared is; nothing where that could not be read.
pub fn health(pool: &model::Pool, inventory: &Inventory, now: Timestamp) -> Option<PoolHealth> {
    let zfs = inventory.reached().zfs.as_ref()?;
    let name = pool.name.clone();
    let Some(there) = zfs.pools.get(&name) else {
        let text = format!("the pool {name} is not imported");
        let trouble = Trouble::new(
            "zfs::gone",
            text,
            "phoenix-cli plan says whether it can be imported, or is still to be made",
        );
        let state = "absent".to_owned();
        return Some(PoolHealth {
            name,
            state,
            percent: 0,
            free: 0,
            scrubbed: None,
            working: None,
            trouble: Some(trouble),
        });
    };
    let scan = there.scan.as_deref().unwrap_or_default();
    let scrubbed = scrub_ended(scan).and_then(|at| days(at, now));
    let trouble = broken(zfs, &name, there)
        .or_else(|| locked(pool, zfs))
        .or_else(|| full(&name, there))
        .or_else(|| unread(pool, scrubbed))
        .or_else(|| unsnapped(pool, zfs, now))
        .or_else(|| not_copied(pool, zfs, now));
    Some(PoolHealth {
        name,
        state: there.health.clone(),
        percent: there.percent(),
        free: there.size.saturating_sub(there.allocated),
        scrubbed,
        working: scan.contains("in progress").then(|| scan.to_owned()),
        trouble,
    })
}

impl PoolHealth {
    /// In words.
    pub fn words(&self) -> String {
        if self.state == "absent" {
            return "not imported".to_owned();
        }
        let scrubbed = self.scrubbed.map(|days| match days {
            0 => ", read and compared today".to_owned(),
            1 => ", read and compared yesterday".to_owned(),
            days => format!(", read and compared {days} days ago"),
        });
        let working = match self.working.as_deref() {
            Some(text) if text.starts_with("resilver") => ", copying to a disk",
            Some(_) => ", being read and compared",
            None => "",
        };
        let (state, percent, free) = (&self.state, self.percent, roughly(self.free));
        format!("{state}, {percent} % full, {free} free{}{working}", scrubbed.unwrap_or_default())
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.clone()
    }
}

/// Disks that do not work, and data that is lost.
fn broken(zfs: &Zfs, name: &str, pool: &Pool) -> Option<Trouble> {
    let members =
        || pool.groups.iter().filter(|group| group.class != Class::Spare).flat_map(|group| &group.members);
    if let Some(errors) = &pool.errors {
        return Some(Trouble::new(
            "zfs::data-lost",
            format!("the pool {name} has lost data: {errors}"),
            format!(
                "which files, on the node: zpool status -v {name}; bring them back from a backup, then zpool clear {name}"
            ),
        ));
    }
    let bad = members().find(|member| member.state != "ONLINE" && member.replaces.is_none());
    if let Some(bad) = bad {
        let disk = zfs.id_of(zfs.disk_of(bad));
        let disk = disk.rsplit('/').next().unwrap_or(disk);
        return Some(Trouble::new(
            "zfs::degraded",
            format!("the pool {name} is {}: the disk {disk} is {}", pool.health, bad.state),
            format!(
                "name a new disk in its place under hypervisor.zfs.{name}, and phoenix-cli apply; where it was only unplugged, on the node: zpool online {name} {}",
                bad.name
            ),
        ));
    }
    if pool.health != "ONLINE" && !members().any(|member| member.replaces.is_some()) {
        return Some(Trouble::new(
            "zfs::degraded",
            format!("the pool {name} is {}", pool.health),
            format!("why, on the node: zpool status {name}"),
        ));
    }
    let failing = members().find(|member| member.errors > 0)?;
    let disk = zfs.id_of(zfs.disk_of(failing));
    Some(Trouble::new(
        "zfs::disk-errors",
        format!(
            "the disk {disk} of the pool {name} had {} errors, which the others made good",
            failing.errors
        ),
        format!(
            "look at it, on the node: smartctl -a /dev/disk/by-id/{disk}; name another in its place, or zpool clear {name}"
        ),
    ))
}

fn full(name: &str, pool: &Pool) -> Option<Trouble> {
    let percent = pool.percent();
    (percent > FULL).then(|| {
        Trouble::new(
            "zfs::full",
            format!("the pool {name} is {percent} % full: it gets slow, and stops when it is full"),
            format!("what is on it, on the node: zfs list -r -o space {name}; remove what is not needed, or give it more disks"),
        )
    })
}

fn unread(pool: &model::Pool, scrubbed: Option<i64>) -> Option<Trouble> {
    let most = match pool.root.get(SCRUB).map(String::as_str) {
        Some("weekly") => 15,
        Some(_) => 62,
        None => return None,
    };
    let days = scrubbed.filter(|days| *days > most)?;
    Some(Trouble::new(
        "zfs::not-scrubbed",
        format!(
            "the pool {} was last read and compared {days} days ago: a disk that forgets is not noticed",
            pool.name
        ),
        format!("on the node: zpool scrub {}; and systemctl status phoenix-zfs-schedule.timer", pool.name),
    ))
}

/// Days since something that is to be done each day was done with a dataset, by what the schedule remembers; where it is overdue.
fn overdue(dataset: &model::Dataset, remembered: &str, zfs: &Zfs, now: Timestamp) -> Option<i64> {
    let at = zfs.datasets.get(&dataset.name)?.local.get(remembered)?.parse::<i64>().ok()?;
    let days = (now.as_second() - at) / 86_400;
    (days > SNAPSHOT_DAYS).then_some(days)
}

fn unsnapped(pool: &model::Pool, zfs: &Zfs, now: Timestamp) -> Option<Trouble> {
    let old = pool.datasets.values().find_map(|dataset| {
        dataset.properties.get(SNAPSHOTS)?;
        Some((&dataset.name, overdue(dataset, SNAPPED, zfs, now)?))
    });
    let (name, days) = old?;
    Some(Trouble::new(
        "zfs::no-snapshots",
        format!("the last snapshot of {name} is {days} days old, and there should be one each day"),
        "on the node: systemctl status phoenix-zfs-schedule.timer phoenix-zfs-schedule.service",
    ))
}

/// A copy that is not brought up to date any more; or never was, although there have been snapshots for as long.
fn not_copied(pool: &model::Pool, zfs: &Zfs, now: Timestamp) -> Option<Trouble> {
    let (name, to, words) = pool.datasets.values().find_map(|dataset| {
        let (to, _) = dataset.replica()?;
        let local = &zfs.datasets.get(&dataset.name)?.local;
        let words = match (local.get(REPLICATED), local.get(SNAPPED)) {
            (Some(_), _) => format!("is {} days old", overdue(dataset, REPLICATED, zfs, now)?),
            (None, Some(_)) => "was never made".to_owned(),
            (None, None) => return None,
        };
        Some((&dataset.name, to, words))
    })?;
    Some(Trouble::new(
        "zfs::not-replicated",
        format!("the copy {to} of {name} {words}, and should be made each day"),
        "why, on the node: journalctl -u phoenix-zfs-schedule.service; once more: systemctl start phoenix-zfs-schedule.service",
    ))
}

/// When the last scrub ended: `scrub repaired 0B in 00:00:01 with 0 errors on Sun Nov  8 00:24:02 2026`, by the node's own clock.
fn scrub_ended(scan: &str) -> Option<DateTime> {
    let date = scan.strip_prefix("scrub repaired")?.split_once(" errors on ")?.1;
    let words: Vec<&str> = date.split_whitespace().collect();
    let [_, month, day, time, year, ..] = words.as_slice() else { return None };
    let text = format!("{month} {day} {time} {year}");
    DateTime::strptime("%b %d %H:%M:%S %Y", &text).ok()
}

/// Days since then. The node's time zone is not known, which makes no difference where days are counted.
fn days(at: DateTime, now: Timestamp) -> Option<i64> {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(((now.as_second() - at.as_second()) / 86_400).max(0))
}

#[cfg(test)]
mod tests;
