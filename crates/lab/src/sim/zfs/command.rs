//! The commands that change something.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dataset, Holds, Pool, SimZfs, Vdev, path};

type Done = Result<(), String>;

/// The options `-o name=value` or `-O name=value` that come first, by their letter, and what is left.
fn options<'a, 'b>(mut words: &'b [&'a str]) -> (Vec<(char, String, String)>, &'b [&'a str]) {
    let mut all = Vec::new();
    while let [flag @ ("-o" | "-O"), setting, rest @ ..] = words {
        if let Some((name, value)) = setting.split_once('=') {
            all.push((if *flag == "-o" { 'o' } else { 'O' }, name.to_owned(), value.to_owned()));
        }
        words = rest;
    }
    (all, words)
}

fn bare(disk: &str) -> &str {
    let disk = disk.strip_prefix("/dev/disk/by-id/").unwrap_or(disk);
    disk.strip_suffix("-part1").unwrap_or(disk)
}

/// Bytes where it is a size, as ZFS keeps it.
fn kept(value: &str) -> String {
    let shifts = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let shift = shifts.into_iter().find(|(unit, _)| value.ends_with(*unit));
    let number =
        shift.and_then(|(unit, shift)| Some(value.strip_suffix(unit)?.parse::<u64>().ok()? << shift));
    number.map_or_else(|| value.to_owned(), |number| number.to_string())
}

impl SimZfs {
    /// `mirror A B cache C`: groups, each with what it is for.
    fn vdevs(words: &[&str], from: usize) -> Vec<Vdev> {
        let mut all: Vec<Vdev> = Vec::new();
        let (mut class, mut layout): (Option<String>, Option<String>) = (None, None);
        let mut number = from;
        let mut open = false;
        for word in words {
            match *word {
                "special" | "log" | "cache" | "spare" => {
                    (class, layout, open) = (Some((*word).to_owned()), None, false);
                }
                "mirror" | "raidz1" | "raidz2" | "raidz3" => {
                    (layout, open) = (Some((*word).to_owned()), false);
                }
                disk => {
                    if open && layout.is_some() {
                        if let Some(last) = all.last_mut() {
                            last.disks.push(bare(disk).to_owned());
                        }
                        continue;
                    }
                    let disks = vec![bare(disk).to_owned()];
                    all.push(Vdev { class: class.clone(), layout: layout.clone(), number, disks });
                    number += 1;
                    open = true;
                }
            }
        }
        all
    }

    /// Whether a disk may be taken without a word more.
    fn free(&self, id: &str) -> Done {
        let at = format!("/dev/disk/by-id/{id}");
        let Some(disk) = self.disks.iter().find(|disk| disk.id == id && !disk.away) else {
            return Err(format!("cannot resolve path '{at}'"));
        };
        let forced = "invalid vdev specification\nuse '-f' to override the following errors:";
        for (name, pool) in &self.pools {
            if pool.vdevs.iter().any(|vdev| vdev.disks.iter().any(|it| it == id)) {
                return Err(format!(
                    "invalid vdev specification\nthe following errors must be manually repaired:\n{at}-part1 is part of active pool '{name}'"
                ));
            }
        }
        match &disk.holds {
            Holds::Nothing => Ok(()),
            Holds::Table => Err(format!("{forced}\n{at} contains a corrupt primary EFI label.")),
            Holds::System(kind, None) => {
                Err(format!("{forced}\n{at}-part1 contains a filesystem of type '{kind}'"))
            }
            Holds::System(_, Some(_)) => {
                Err(format!("invalid vdev specification\n{at}-part1 is currently mounted"))
            }
            Holds::Label(_, pool) => {
                Err(format!("{forced}\n{at}-part1 is part of potentially active pool '{pool}'"))
            }
        }
    }

    fn label(&mut self, disks: &[String], guid: u64, pool: &str) {
        for disk in self.disks.iter_mut().filter(|disk| disks.contains(&disk.id)) {
            disk.holds = Holds::Label(guid, pool.to_owned());
        }
    }

    pub(super) fn create(&mut self, words: &[&str]) -> Done {
        let (options, rest) = options(words);
        let [name, rest @ ..] = rest else { return Err("missing pool name argument".to_owned()) };
        if self.pools.contains_key(*name) {
            return Err(format!("cannot create '{name}': pool already exists"));
        }
        let vdevs = Self::vdevs(rest, 0);
        let disks: Vec<String> = vdevs.iter().flat_map(|vdev| vdev.disks.clone()).collect();
        disks.iter().try_for_each(|disk| self.free(disk))?;
        self.made += 1;
        let of = |flag| {
            options
                .iter()
                .filter(move |(it, ..)| *it == flag)
                .map(|(_, name, value)| (name.clone(), kept(value)))
        };
        let root = Dataset { local: of('O').collect(), ..Dataset::default() };
        let pool = Pool {
            guid: 15_000_000_000 + self.made,
            properties: of('o').collect(),
            vdevs,
            datasets: BTreeMap::from([((*name).to_owned(), root)]),
            ..Pool::default()
        };
        self.label(&disks, pool.guid, name);
        self.pools.insert((*name).to_owned(), pool);
        Ok(())
    }

    pub(super) fn import(&mut self, words: &[&str]) -> Done {
        let (forced, guid) = match words {
            ["-f", guid] => (true, guid),
            [guid] => (false, guid),
            _ => return Err("too many arguments".to_owned()),
        };
        let Some(at) = self.exported.iter().position(|(_, pool)| pool.guid.to_string() == **guid) else {
            return Err(format!("cannot import '{guid}': no such pool available"));
        };
        if self.exported[at].1.elsewhere && !forced {
            let name = &self.exported[at].0;
            return Err(format!(
                "cannot import '{name}': pool was previously in use from another system.\nThe pool can be imported, use 'zpool import -f' to import the pool."
            ));
        }
        let (name, mut pool) = self.exported.remove(at);
        pool.elsewhere = false;
        self.pools.insert(name, pool);
        Ok(())
    }

    fn pool(&mut self, name: &str) -> Result<&mut Pool, String> {
        self.pools.get_mut(name).ok_or_else(|| format!("cannot open '{name}': no such pool"))
    }

    pub(super) fn set_pool(&mut self, setting: &str, pool: &str) -> Done {
        let (name, value) = setting.split_once('=').ok_or("missing '=' in property=value argument")?;
        if name == "nonsense" {
            return Err(format!("cannot set property for '{pool}': invalid property '{name}'"));
        }
        self.pool(pool)?.properties.insert(name.to_owned(), kept(value));
        Ok(())
    }

    pub(super) fn replace(&mut self, pool: &str, old: &str, new: &str) -> Done {
        let (old, new) = (bare(old).to_owned(), bare(new).to_owned());
        self.free(&new)?;
        let there = self.pool(pool)?;
        // A number stands for a disk that is not there.
        let all = there.vdevs.iter().flat_map(|vdev| &vdev.disks);
        let gone = all.into_iter().find(|id| number(id) == old).cloned().unwrap_or(old);
        let Some(place) = there.vdevs.iter_mut().flat_map(|vdev| &mut vdev.disks).find(|disk| **disk == gone)
        else {
            return Err(format!("cannot replace {gone} with {new}: no such device in pool"));
        };
        place.clone_from(&new);
        there.failed.remove(&gone);
        let guid = there.guid;
        self.label(&[new], guid, pool);
        if let Some(disk) = self.disks.iter_mut().find(|disk| disk.id == gone) {
            disk.holds = Holds::Table;
        }
        Ok(())
    }

    pub(super) fn attach(&mut self, pool: &str, to: &str, new: &str) -> Done {
        let (to, new) = (bare(to).to_owned(), bare(new).to_owned());
        self.free(&new)?;
        let there = self.pool(pool)?;
        let Some(vdev) = there.vdevs.iter_mut().find(|vdev| vdev.disks.contains(&to) || vdev.name() == to)
        else {
            return Err(format!("cannot attach {new} to {to}: no such device in pool"));
        };
        vdev.layout.get_or_insert_with(|| "mirror".to_owned());
        vdev.disks.push(new.clone());
        let guid = there.guid;
        self.label(&[new], guid, pool);
        Ok(())
    }

    pub(super) fn add(&mut self, pool: &str, words: &[&str]) -> Done {
        let from = self.pool(pool)?.vdevs.iter().map(|vdev| vdev.number + 1).max().unwrap_or(0);
        let vdevs = Self::vdevs(words, from);
        let disks: Vec<String> = vdevs.iter().flat_map(|vdev| vdev.disks.clone()).collect();
        disks.iter().try_for_each(|disk| self.free(disk))?;
        let there = self.pool(pool)?;
        let data = |vdevs: &[Vdev]| {
            vdevs.iter().find(|vdev| vdev.class.is_none()).map(|vdev| (vdev.layout.clone(), vdev.disks.len()))
        };
        if let Some(new) = data(&vdevs)
            && data(&there.vdevs) != Some(new)
        {
            return Err("invalid vdev specification\nuse '-f' to override the following errors:\nmismatched replication level: pool and new vdev with different redundancy".to_owned());
        }
        there.vdevs.extend(vdevs);
        let guid = there.guid;
        self.label(&disks, guid, pool);
        Ok(())
    }

    pub(super) fn remove(&mut self, pool: &str, name: &str) -> Done {
        let there = self.pool(pool)?;
        let Some(at) = there.vdevs.iter().position(|vdev| vdev.name() == name) else {
            return Err(format!("cannot remove {name}: no such device in pool"));
        };
        if !matches!(there.vdevs[at].class.as_deref(), Some("log" | "cache" | "spare")) {
            return Err(format!(
                "cannot remove {name}: invalid config; all top-level vdevs must have the same sector size and not be raidz."
            ));
        }
        let gone = there.vdevs.remove(at).disks;
        for disk in self.disks.iter_mut().filter(|disk| gone.contains(&disk.id)) {
            disk.holds = Holds::Table;
        }
        Ok(())
    }

    pub(super) fn destroy(&mut self, pool: &str) -> Done {
        // Their labels stay on the disks.
        self.pools.remove(pool).map(drop).ok_or_else(|| format!("cannot open '{pool}': no such pool"))
    }

    pub(super) fn create_dataset(&mut self, words: &[&str], stdin: &[u8]) -> Done {
        let (options, rest) = options(words);
        let [name] = rest else { return Err("missing dataset argument".to_owned()) };
        let above = name.rsplit_once('/').map_or("", |(above, _)| above);
        if self.dataset(above).is_none() {
            return Err(format!("cannot create '{name}': parent does not exist"));
        }
        if self.dataset(name).is_some() {
            return Err(format!("cannot create '{name}': dataset already exists"));
        }
        let mut local: BTreeMap<String, String> =
            options.into_iter().map(|(_, name, value)| (name, kept(&value))).collect();
        let key = self.new_key(name, &mut local, stdin)?;
        let pool = self.pool(name.split('/').next().unwrap_or_default())?;
        pool.datasets.insert((*name).to_owned(), Dataset { volume: false, local, key });
        Ok(())
    }

    pub(super) fn set_dataset(&mut self, settings: &[&str], name: &str) -> Done {
        let dataset =
            self.dataset(name).ok_or_else(|| format!("cannot open '{name}': dataset does not exist"))?;
        for setting in settings {
            let (name, value) = setting.split_once('=').ok_or("missing '=' in property=value argument")?;
            dataset.local.insert(name.to_owned(), kept(value));
        }
        Ok(())
    }

    pub(super) fn inherit(&mut self, property: &str, name: &str) -> Done {
        let dataset =
            self.dataset(name).ok_or_else(|| format!("cannot open '{name}': dataset does not exist"))?;
        dataset.local.remove(property);
        Ok(())
    }

    pub(super) fn destroy_dataset(&mut self, name: &str) -> Done {
        if self.dataset(name).is_none() {
            return Err(format!("cannot open '{name}': dataset does not exist"));
        }
        let pool = self.pool(name.split('/').next().unwrap_or_default())?;
        let below = format!("{name}/");
        pool.datasets.retain(|it, _| it != name && !it.starts_with(&below));
        Ok(())
    }

    /// `phoenix-zfs-empty ID SERIAL …`.
    pub(super) fn empty(&mut self, words: &[&str]) -> Done {
        for pair in words.chunks_exact(2) {
            let (id, serial) = (pair[0], pair[1]);
            let used: BTreeSet<String> = self
                .pools
                .values()
                .flat_map(|pool| &pool.vdevs)
                .flat_map(|vdev| vdev.disks.clone())
                .collect();
            let Some(disk) = self.disks.iter_mut().find(|disk| disk.id == id && !disk.away) else {
                return Err(format!("the node has no disk {id}"));
            };
            if let Holds::System(_, Some(at)) = &disk.holds {
                return Err(format!("{id} is in use: something on it is mounted at {at}"));
            }
            if used.contains(id) {
                return Err(format!("{id} is in use: {} cannot be emptied", path(id)));
            }
            if serial != "-" {
                if disk.serial != serial {
                    return Err(format!("{id} has the serial number {}, not {serial}", disk.serial));
                }
                disk.holds = Holds::Nothing;
            }
            if disk.holds != Holds::Nothing {
                return Err(format!("{id} is not empty: it has partitions"));
            }
        }
        Ok(())
    }
}

/// What a pool calls a disk that is not there.
pub(super) fn number(id: &str) -> String {
    let sum = id.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("9{sum:018}")
}
