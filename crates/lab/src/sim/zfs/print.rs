//! What the programs that look print: `lsblk -P`, `zpool list`, `zpool status -pP`, `zpool get`, `zfs list`, `zfs get`,
//! `zpool import`.

use std::fmt::Write as _;

use super::command::number;
use super::{Holds, Pool, SimZfs, Vdev, path};

impl SimZfs {
    pub(super) fn print(&self) -> String {
        let mut out = String::new();
        if self.disks.is_empty() {
            return out;
        }
        out.push_str("= ids\n");
        for (disk, name) in self.named() {
            let _ = writeln!(out, "{} ../../{name}", disk.id);
            if disk.holds != Holds::Nothing {
                let _ = writeln!(out, "{}-part1 ../../{name}1", disk.id);
            }
        }
        out.push_str("= disks\n");
        for (disk, name) in self.named() {
            let table = if disk.holds == Holds::Nothing { "" } else { "gpt" };
            row(&mut out, [&name, "disk", "", &disk.size.to_string(), &disk.serial, "", table, "", "", ""]);
            let (system, label, uuid, mounted) = match &disk.holds {
                Holds::Nothing => continue,
                Holds::Table => ("", String::new(), String::new(), ""),
                Holds::System(kind, at) => {
                    (kind.as_str(), String::new(), "0a1b".to_owned(), at.as_deref().unwrap_or_default())
                }
                Holds::Label(guid, pool) => ("zfs_member", pool.clone(), guid.to_string(), ""),
            };
            let (part, size) = (format!("{name}1"), disk.size.to_string());
            row(&mut out, [&part, "part", &name, &size, "", system, table, &label, &uuid, mounted]);
        }
        out.push_str("= pools\n");
        for (name, pool) in &self.pools {
            let (size, used) = (self.size(pool), allocated(pool));
            let _ = writeln!(out, "{}\t{name}\t{size}\t{used}\t{}", pool.guid, self.health(pool));
        }
        if !self.pools.is_empty() {
            out.push_str("= status\n");
            for (name, pool) in &self.pools {
                let _ = write!(out, "  pool: {name}\n state: {}\nconfig:\n\n", self.health(pool));
                out.push_str("\tNAME  STATE  READ WRITE CKSUM\n");
                let _ = writeln!(out, "\t{name}  {}  0  0  0", self.health(pool));
                self.tree(&mut out, pool, true);
                out.push_str("\nerrors: No known data errors\n\n");
            }
            out.push_str("= properties\n");
            for (name, pool) in &self.pools {
                for (property, value) in &pool.properties {
                    let _ = writeln!(out, "{name}\t{property}\t{value}");
                }
            }
            out.push_str("= datasets\n");
            for (name, dataset) in self.pools.values().flat_map(|pool| &pool.datasets) {
                let kind = if dataset.volume { "volume" } else { "filesystem" };
                let _ = writeln!(out, "{kind}\t{name}\t98304\t{}", 1_u64 << 40);
            }
            out.push_str("= keys\n");
            for (name, (root, loaded, mounted)) in self.pools.values().flat_map(Pool::keys) {
                let status = if root == "-" {
                    "-"
                } else if loaded {
                    "available"
                } else {
                    "unavailable"
                };
                let mounted = if mounted { "yes" } else { "no" };
                let _ = writeln!(
                    out,
                    "{name}\tencryptionroot\t{root}\n{name}\tkeystatus\t{status}\n{name}\tmounted\t{mounted}"
                );
            }
            out.push_str("= local\n");
            for (name, dataset) in self.pools.values().flat_map(|pool| &pool.datasets) {
                for (property, value) in &dataset.local {
                    let _ = writeln!(out, "{name}\t{property}\t{value}");
                }
            }
        }
        if !self.exported.is_empty() {
            out.push_str("= importable\n");
            for (name, pool) in &self.exported {
                let _ =
                    writeln!(out, "   pool: {name}\n     id: {}\n  state: {}", pool.guid, self.health(pool));
                let action = "The pool can be imported using its name or numeric identifier";
                match pool.elsewhere {
                    true => {
                        out.push_str("status: The pool was last accessed by another system.\n");
                        let _ = writeln!(out, " action: {action} and\n\tthe '-f' flag.");
                    }
                    false => drop(writeln!(out, " action: {action}.")),
                }
                let _ = write!(out, " config:\n\n\t{name}  {}\n", self.health(pool));
                self.tree(&mut out, pool, false);
                out.push('\n');
            }
        }
        out.push_str("= end\n");
        out
    }

    /// The disks that are plugged in, as the kernel calls them.
    fn named(&self) -> impl Iterator<Item = (&super::Disk, String)> {
        let letters = 'b'..='z';
        let named = self.disks.iter().zip(letters).map(|(disk, letter)| (disk, format!("sd{letter}")));
        named.filter(|(disk, _)| !disk.away)
    }

    fn works(&self, pool: &Pool, id: &str) -> bool {
        !pool.failed.contains(id) && self.disks.iter().any(|disk| disk.id == id && !disk.away)
    }

    fn health(&self, pool: &Pool) -> &'static str {
        let all = pool.vdevs.iter().filter(|vdev| vdev.class.as_deref() != Some("spare"));
        let whole = all.flat_map(|vdev| &vdev.disks).all(|id| self.works(pool, id));
        if whole { "ONLINE" } else { "DEGRADED" }
    }

    fn size(&self, pool: &Pool) -> u64 {
        let data = pool.vdevs.iter().filter(|vdev| vdev.class.is_none()).flat_map(|vdev| &vdev.disks);
        data.filter_map(|id| self.disks.iter().find(|disk| disk.id == *id)).map(|disk| disk.size).sum()
    }

    fn tree(&self, out: &mut String, pool: &Pool, counted: bool) {
        let heads = [
            (None, ""),
            (Some("special"), "special"),
            (Some("log"), "logs"),
            (Some("cache"), "cache"),
            (Some("spare"), "spares"),
        ];
        for (class, head) in heads {
            let mut all = pool.vdevs.iter().filter(|vdev| vdev.class.as_deref() == class).peekable();
            if !head.is_empty() && all.peek().is_some() {
                let _ = writeln!(out, "\t{head}");
            }
            all.for_each(|vdev| self.vdev(out, pool, vdev, counted));
        }
    }

    fn vdev(&self, out: &mut String, pool: &Pool, vdev: &Vdev, counted: bool) {
        let counts = if counted { "  0  0  0" } else { "" };
        let deep = match &vdev.layout {
            Some(_) => {
                let whole = vdev.disks.iter().all(|id| self.works(pool, id));
                let state = if whole { "ONLINE" } else { "DEGRADED" };
                let _ = writeln!(out, "\t  {}  {state}{counts}", vdev.name());
                "    "
            }
            None => "  ",
        };
        for id in &vdev.disks {
            let state = if vdev.class.as_deref() == Some("spare") { "AVAIL" } else { "ONLINE" };
            let counts = if state == "AVAIL" { "" } else { counts };
            match self.works(pool, id) {
                // As `zpool import` says it.
                true if !counted => drop(writeln!(out, "\t{deep}{id}  {state}")),
                true => drop(writeln!(out, "\t{deep}{}  {state}{counts}", path(id))),
                false => drop(writeln!(out, "\t{deep}{}  UNAVAIL{counts}  was {}", number(id), path(id))),
            }
        }
    }
}

fn allocated(pool: &Pool) -> u64 {
    98_304 * pool.datasets.len() as u64
}

fn row(out: &mut String, values: [&str; 10]) {
    let keys =
        ["NAME", "TYPE", "PKNAME", "SIZE", "SERIAL", "FSTYPE", "PTTYPE", "LABEL", "UUID", "MOUNTPOINT"];
    let pairs: Vec<String> =
        keys.iter().zip(values).map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let _ = writeln!(out, "{}", pairs.join(" "));
}
