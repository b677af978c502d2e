//! Reads what `read.sh` prints: what the node's own programs say, part by part. Pure.

use std::collections::BTreeMap;

use plan::inventory::zfs::{Dataset, Disk, Importable, Key, Pool, Zfs};

use super::vdevs;

/// The script that is run on the node, in the one command that reads everything there.
pub(super) const SCRIPT: &str = include_str!("read.sh");

/// The file systems that are ZFS' own.
const MEMBER: &str = "zfs_member";

/// What the node has; `None` where it has no ZFS.
///
/// # Errors
/// What is wrong with the text, where it is not whole or not what those programs print.
pub fn parse(text: &str) -> Result<Option<Zfs>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut part = "";
    for line in text.lines() {
        match line.strip_prefix("= ") {
            Some(name) => {
                part = name;
                parts.entry(name).or_default();
            }
            None if part.is_empty() => return Err(format!("`{}` belongs to no part", cut(line))),
            None => parts.entry(part).or_default().push(line),
        }
    }
    if part != "end" {
        return Err("it is cut off".to_owned());
    }
    let lines = |name: &str| parts.get(name).map(Vec::as_slice).unwrap_or_default().iter().copied();
    let mut zfs = Zfs::default();
    for line in lines("ids") {
        // `ata-X ../../sda`
        let (id, to) = line.split_once(' ').ok_or_else(|| odd("ids", line))?;
        zfs.ids.insert(id.to_owned(), to.rsplit('/').next().unwrap_or(to).to_owned());
    }
    disks(lines("disks"), &mut zfs)?;
    for line in lines("pools").filter(|line| !line.is_empty()) {
        let [guid, name, size, allocated, health] = fields(line).ok_or_else(|| odd("pools", line))?;
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let pool = Pool {
            guid: guid.to_owned(),
            size: number(size),
            allocated: number(allocated),
            health: health.to_owned(),
            ..Pool::default()
        };
        zfs.pools.insert(name.to_owned(), pool);
    }
    for block in vdevs::blocks(lines("status")) {
        // One that came between the two commands is seen the next time.
        let Some(pool) = zfs.pools.get_mut(block.text("pool")) else { continue };
        pool.groups = vdevs::groups(block.text("pool"), &block.config);
        pool.scan = Some(block.text("scan").to_owned()).filter(|text| !text.is_empty());
        pool.errors = Some(block.text("errors").to_owned())
            .filter(|text| !text.is_empty() && text != "No known data errors");
    }
    if let Some((name, _)) = zfs.pools.iter().find(|(_, pool)| pool.groups.is_empty()) {
        return Err(format!("nothing is said of the disks of {name}"));
    }
    for line in lines("properties") {
        let [pool, property, value] = fields(line).ok_or_else(|| odd("properties", line))?;
        if let Some(pool) = zfs.pools.get_mut(pool) {
            pool.properties.insert(property.to_owned(), value.to_owned());
        }
    }
    for line in lines("datasets") {
        let [kind, name, used, available] = fields(line).ok_or_else(|| odd("datasets", line))?;
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let dataset = Dataset {
            volume: kind == "volume",
            used: number(used),
            available: number(available),
            ..Dataset::default()
        };
        zfs.datasets.insert(name.to_owned(), dataset);
    }
    // Of each dataset, whose key it has is said first; `-` where it has none.
    for line in lines("keys") {
        let [name, property, value] = fields(line).ok_or_else(|| odd("keys", line))?;
        let Some(dataset) = zfs.datasets.get_mut(name) else { continue };
        match (property, &mut dataset.key) {
            ("encryptionroot", key) if value != "-" => {
                *key = Some(Key { root: value.to_owned(), ..Key::default() });
            }
            ("keystatus", Some(key)) => key.loaded = value == "available",
            ("mounted", Some(key)) => key.mounted = value == "yes",
            _ => {}
        }
    }
    for line in lines("local") {
        // A value of somebody's own may have several lines, of which the first is enough.
        let Some([name, property, value]) = fields(line) else { continue };
        if let Some(dataset) = zfs.datasets.get_mut(name) {
            dataset.local.insert(property.to_owned(), value.to_owned());
        }
    }
    zfs.importable = vdevs::blocks(lines("importable"))
        .into_iter()
        .map(|block| Importable {
            name: block.text("pool").to_owned(),
            guid: block.text("id").to_owned(),
            state: block.text("state").to_owned(),
            elsewhere: block.text("action").contains("'-f'"),
            groups: vdevs::groups(block.text("pool"), &block.config),
        })
        .collect();
    Ok(Some(zfs))
}

fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let all: Vec<&str> = line.splitn(N, '\t').collect();
    all.try_into().ok()
}

fn odd(part: &str, line: &str) -> String {
    format!("`{}` is nothing that {part} say", cut(line))
}

fn cut(line: &str) -> String {
    line.chars().take(80).collect()
}

/// A line of `lsblk -P`: a disk, a partition, or what is made of one.
#[derive(Debug, Default, Clone)]
struct Row {
    of: BTreeMap<String, String>,
}

impl Row {
    fn get(&self, key: &str) -> &str {
        self.of.get(key).map_or("", String::as_str)
    }
}

fn disks<'a>(lines: impl Iterator<Item = &'a str>, zfs: &mut Zfs) -> Result<(), String> {
    let mut rows: Vec<Row> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        rows.push(Row { of: pairs(line).ok_or_else(|| odd("disks", line))? });
    }
    for row in rows.iter().filter(|row| row.get("TYPE") == "disk") {
        let name = row.get("NAME");
        let disk = Disk {
            size: row.get("SIZE").parse().unwrap_or(0),
            serial: Some(row.get("SERIAL").trim().to_owned()).filter(|it| !it.is_empty()),
            ..Disk::default()
        };
        zfs.disks.insert(name.to_owned(), disk);
        // Whatever is on it, at any depth.
        let mut open = vec![name];
        while let Some(above) = open.pop() {
            for below in rows.iter().filter(|row| row.get("PKNAME") == above).map(|row| row.get("NAME")) {
                // What is made of several disks is told of under each.
                if !zfs.parts.contains_key(below) {
                    zfs.parts.insert(below.to_owned(), name.to_owned());
                    open.push(below);
                }
            }
        }
    }
    let Zfs { disks, parts, .. } = zfs;
    for row in &rows {
        let name = row.get("NAME");
        let Some(disk) = disks.get_mut(parts.get(name).map_or(name, String::as_str)) else { continue };
        take(row, disk);
    }
    for disk in disks.values_mut() {
        disk.labels_only &= !disk.holds.is_empty() && disk.busy.is_none();
    }
    Ok(())
}

/// What a row says of the disk that it is on.
fn take(row: &Row, disk: &mut Disk) {
    let (name, kind, system) = (row.get("NAME"), row.get("TYPE"), row.get("FSTYPE"));
    if kind == "disk" {
        disk.labels_only = true;
        if !row.get("PTTYPE").is_empty() {
            disk.holds.push(format!("a partition table ({})", row.get("PTTYPE")));
            disk.labels_only &= row.get("PTTYPE") == "gpt";
        }
    }
    if !system.is_empty() {
        let label = row.get("LABEL");
        let label = if label.is_empty() { String::new() } else { format!(" `{label}`") };
        disk.holds.push(format!("{system}{label} on {name}"));
        if system == MEMBER {
            disk.labels.insert(row.get("UUID").to_owned(), row.get("LABEL").to_owned());
        } else {
            disk.labels_only = false;
        }
    } else if kind == "part" && disk.holds.len() < 12 {
        disk.holds.push(format!("the partition {name}"));
    }
    let mounted = row.get("MOUNTPOINT");
    if !mounted.is_empty() {
        disk.busy = Some(format!("{name} is mounted at {mounted}"));
    } else if !["disk", "part"].contains(&kind) {
        disk.busy.get_or_insert_with(|| format!("{name} ({kind}) is made of it"));
    }
}

/// `NAME="sda" TYPE="disk" …`; what lsblk writes as `\x20` stands for that byte.
fn pairs(line: &str) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        all.insert(key.to_owned(), unescaped(value));
        rest = after.trim_start();
    }
    Some(all)
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex =
            rest.strip_prefix(b"\\x").and_then(|it| it.get(..2)).and_then(|it| std::str::from_utf8(it).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
