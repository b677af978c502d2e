//! Storages, the volumes on them, and the mount points that use them.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::kept_files::Kind;
use super::schema::Property;
use super::{Keep, formats};
use crate::runtime::TaskLog;

/// A container template.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Template {
    /// Its file's name, e.g. `debian-13-standard_13.1-2_amd64.tar.zst`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in seconds since 1970.
    pub ctime: u64,
}

/// A storage of the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Storage {
    /// Its name.
    pub id: String,
    /// `dir`, `btrfs`, `zfspool` or `lvmthin`.
    pub kind: String,
    /// The options as `storage.cfg` holds them: `path`, `pool`, `content`, …
    pub options: BTreeMap<String, String>,
    /// Its size in bytes.
    pub total: u64,
    /// What other things than volumes take of it, in bytes.
    pub used: u64,
    /// The folder on this machine whose `template/cache` holds the templates. None: `templates` says which there are.
    pub files: Option<Utf8PathBuf>,
    /// The templates it has when there is no folder.
    pub templates: Vec<Template>,
    /// The other files it has when there is no folder, with their kind in the name: `import/debian-12.qcow2`,
    /// `iso/x.iso`, `snippets/x.sh`.
    #[serde(default)]
    pub images: Vec<Template>,
}

impl Storage {
    /// A storage of 256 GiB with nothing on it. `place` is its `path` or, for `zfspool`, its `pool`.
    pub fn new(id: impl Into<String>, kind: impl Into<String>, place: &str, content: &str) -> Self {
        let kind = kind.into();
        let key = match kind.as_str() {
            "zfspool" => "pool",
            "lvmthin" => "vgname",
            _ => "path",
        };
        let options =
            BTreeMap::from([(key.to_owned(), place.to_owned()), ("content".to_owned(), content.to_owned())]);
        let (templates, images) = (Vec::new(), Vec::new());
        Self { id: id.into(), kind, options, total: 256 << 30, used: 0, files: None, templates, images }
    }

    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content().split(',').any(|one| one == content)
    }

    pub(crate) fn content(&self) -> &str {
        let default = match self.kind.as_str() {
            "pbs" => "backup",
            // Recorded: "read rec-lvm"; and PVE::Storage, `plugindata` of the plugins.
            "lvm" | "nfs" | "cifs" => "images",
            _ => "images,rootdir",
        };
        self.options.get("content").map_or(default, String::as_str)
    }

    pub(crate) fn is_enabled(&self, node: &str) -> bool {
        let here = self.options.get("nodes").is_none_or(|nodes| formats::list(nodes).any(|one| one == node));
        here && self.options.get("disable").is_none_or(|flag| flag != "1")
    }

    /// Whether what lies on it is the same on each node of the cluster, and not a disk of each of them.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.kind.as_str(), "nfs" | "cifs" | "pbs")
            || self.options.get("shared").is_some_and(|flag| flag == "1")
    }

    /// Whether its volumes are files in a folder.
    pub(crate) fn has_files(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "btrfs" | "nfs" | "cifs")
    }

    /// Whether a task says it when a file is made (`qemu-img create`); on btrfs it does not.
    pub(crate) fn tells_of_files(&self) -> bool {
        self.kind == "dir"
    }

    /// The volume's name below the storage, for guest `id`'s disk `n`.
    fn volume_name(&self, id: u32, n: usize) -> String {
        match self.kind.as_str() {
            "zfspool" => format!("subvol-{id}-disk-{n}"),
            "lvmthin" => format!("vm-{id}-disk-{n}"),
            _ => format!("{id}/vm-{id}-disk-{n}.raw"),
        }
    }

    /// `raw` or `subvol`.
    pub(crate) fn format(&self) -> &'static str {
        if self.kind == "zfspool" { "subvol" } else { "raw" }
    }

    /// What the storage layer says when there is no room for a volume. The texts are those of `zfs create`, `lvcreate`
    /// and `mkfs` on a full disk.
    fn no_space(&self, volume: &str) -> String {
        let place =
            self.options.get("pool").or_else(|| self.options.get("vgname")).map_or("", String::as_str);
        match self.kind.as_str() {
            "zfspool" => format!("zfs error: cannot create '{place}/{volume}': out of space"),
            "lvmthin" => {
                format!(
                    "lvcreate '{place}/{volume}' error:   Volume group \"{place}\" has insufficient free space"
                )
            }
            _ => {
                let path = self.options.get("path").map_or("", String::as_str);
                format!("command 'mkfs.ext4 -O mmp {path}/images/{volume}' failed: No space left on device")
            }
        }
    }

    /// The templates on it.
    pub(crate) fn templates(&self) -> Vec<Template> {
        self.kept(TEMPLATES)
    }

    /// The files of this kind that are on it.
    pub(crate) fn kept(&self, kind: Kind) -> Vec<Template> {
        let Some(folder) = &self.files else {
            if kind == TEMPLATES {
                return self.templates.clone();
            }
            let own = |file: &Template| {
                let name = file.name.strip_prefix(kind.content)?.strip_prefix('/')?;
                Some(Template { name: name.to_owned(), ..file.clone() })
            };
            return self.images.iter().filter_map(own).collect();
        };
        let entries = fs_err::read_dir(folder.join(kind.folder)).into_iter().flatten().flatten();
        let mut out: Vec<Template> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let facts = entry.metadata().ok()?;
                let written = facts.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                kind.format(&name)?;
                Some(Template { name, size: facts.len(), ctime: written.as_secs() })
            })
            .collect();
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    /// The list of files of this kind, where it has no folder, and what this one is called in it.
    fn remembered(&mut self, kind: Kind, name: &str) -> (&mut Vec<Template>, String) {
        match kind == TEMPLATES {
            true => (&mut self.templates, name.to_owned()),
            false => (&mut self.images, format!("{}/{name}", kind.content)),
        }
    }

    /// Has it remember a file, where it has no folder; one of that name is replaced.
    pub(crate) fn remember(&mut self, kind: Kind, file: &Template) {
        let (list, name) = self.remembered(kind, &file.name);
        list.retain(|one| one.name != name);
        list.push(Template { name, ..file.clone() });
    }

    /// Removes a file. It need not be there.
    pub(crate) fn remove_kept(&mut self, kind: Kind, name: &str) -> std::io::Result<()> {
        let (list, own) = self.remembered(kind, name);
        list.retain(|one| one.name != own);
        let known = self.files.is_some() && self.kept(kind).iter().any(|one| one.name == name);
        if known { fs_err::remove_file(self.file_path(kind, name)) } else { Ok(()) }
    }

    /// Where the template `name` is: on this machine when the storage has a folder here, else as the node names it.
    pub(crate) fn template_path(&self, name: &str) -> Utf8PathBuf {
        self.file_path(TEMPLATES, name)
    }

    /// The same of any such file.
    pub(crate) fn file_path(&self, kind: Kind, name: &str) -> Utf8PathBuf {
        match &self.files {
            Some(folder) => folder.join(kind.folder).join(name),
            None => self.shown_path(kind, name),
        }
    }

    /// Where it is as the node names it.
    pub(crate) fn shown_path(&self, kind: Kind, name: &str) -> Utf8PathBuf {
        let shown = self.options.get("path").map_or("/", String::as_str);
        Utf8PathBuf::from(shown).join(kind.folder).join(name)
    }
}

/// Container templates.
pub(crate) const TEMPLATES: Kind = super::kept_files::KINDS[0];

/// A volume on a storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// In bytes.
    pub size: u64,
    /// Whose it is.
    pub guest: u32,
    /// When it was made, in seconds since 1970.
    pub ctime: u64,
    /// Whether it is a disk of a virtual machine.
    #[serde(default)]
    pub image: bool,
}

/// Whether the key of a configuration names a volume that is mounted.
pub(crate) fn is_volume_key(key: &str) -> bool {
    key == "rootfs" || key.strip_prefix("mp").is_some_and(|n| n.parse::<u32>().is_ok())
}

/// What `rootfs` or `mpN` holds.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// A volume (`tank:201/vm-201-disk-0.raw`, or `tank:2` for a new one of 2 GiB), a folder or a device.
    pub volume: String,
    pub property: Property,
    root: bool,
}

/// What is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// A new volume on this storage, of this many bytes.
    New(&'a str, u64),
    /// A volume on this storage.
    Volume(&'a str),
    /// A folder of the node.
    Bind,
    /// A block device of the node.
    Device,
}

impl Mount {
    /// None when it is no mount point's string.
    pub(crate) fn parse(key: &str, value: &str) -> Option<Self> {
        let root = key == "rootfs";
        let property = Property::parse(if root { "rootfs" } else { "mp" }, key, value).ok()?;
        let volume = property.get("volume")?.to_owned();
        Some(Self { volume, property, root })
    }

    pub(crate) fn source(&self) -> Source<'_> {
        if self.volume.starts_with("/dev/") {
            return Source::Device;
        }
        let Some((storage, rest)) = self.volume.split_once(':').filter(|_| !self.volume.starts_with('/'))
        else {
            return Source::Bind;
        };
        let plain = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
        match rest.parse::<f64>().ok().filter(|_| plain) {
            Some(gib) => Source::New(storage, (gib * f64::from(1 << 30)) as u64),
            None => Source::Volume(storage),
        }
    }

    /// The same with a definite volume and its size.
    pub(crate) fn with(mut self, volume: String, size: u64) -> Self {
        self.property.set("volume", volume.clone());
        self.property.set("size", formats::print_size(size));
        self.volume = volume;
        self
    }

    pub(crate) fn print(&self) -> String {
        self.property.print(if self.root { "rootfs" } else { "mp" })
    }
}

impl Keep {
    pub(crate) fn used(&self, storage: &Storage) -> u64 {
        let prefix = format!("{}:", storage.id);
        let volumes =
            self.volumes.range(prefix.clone()..).take_while(|(volume, _)| volume.starts_with(&prefix));
        storage.used + volumes.map(|(_, volume)| volume.size).sum::<u64>()
    }

    /// The storage, when it is there and may hold containers' volumes.
    pub(crate) fn storage_for_volumes(&self, id: &str, node: &str) -> Result<&Storage, String> {
        let storage = self.storages.get(id).ok_or_else(|| format!("storage '{id}' does not exist"))?;
        if !storage.is_enabled(node) {
            return Err(format!("storage '{id}' is not available on node '{node}'"));
        }
        Ok(storage)
    }

    /// Makes a volume for `guest` and returns its id.
    pub(crate) fn allocate(
        &mut self,
        storage: &str,
        guest: u32,
        size: u64,
        now: u64,
        log: &TaskLog,
    ) -> Result<String, String> {
        let found =
            self.storages.get(storage).ok_or_else(|| format!("storage '{storage}' does not exist"))?;
        let free = (0..).map(|n| found.volume_name(guest, n));
        let name = free.into_iter().find(|name| !self.volumes.contains_key(&format!("{storage}:{name}")));
        let name = name.unwrap_or_default();
        if found.tells_of_files() {
            let path = found.options.get("path").map_or("", String::as_str);
            log.line(format!("Formatting '{path}/images/{name}', fmt=raw size={size} preallocation=off"));
        }
        if self.used(found).saturating_add(size) > found.total {
            return Err(found.no_space(&name));
        }
        let volume = format!("{storage}:{name}");
        self.volumes.insert(volume.clone(), Volume { size, guest, ctime: now, image: false });
        Ok(volume)
    }

    /// Whether a storage can have volumes of containers that are based on a template's (PVE::Storage, `volume_has_feature` with
    /// the formats `raw` and `subvol`; recorded: "linked clone on dir").
    pub(crate) fn has_clones(&self, storage: &str) -> bool {
        self.storages
            .get(storage)
            .is_some_and(|it| ["btrfs", "zfspool", "lvmthin"].contains(&it.kind.as_str()))
    }

    /// What a volume of `guest` is called that is based on a template's: on ZFS it says on which.
    pub(crate) fn linked(&self, base: &str, guest: u32) -> String {
        let (storage, name) = base.split_once(':').unwrap_or((base, ""));
        let found = self.storages.get(storage);
        let before = match found.map(|it| it.kind.as_str()) {
            Some("zfspool") => format!("{name}/"),
            _ => String::new(),
        };
        let named = |n: usize| found.map_or_else(String::new, |it| it.volume_name(guest, n));
        let taken = |name: &String| self.volumes.keys().any(|known| known.ends_with(name.as_str()));
        let own = (0..).map(named).find(|name| !taken(name)).unwrap_or_default();
        format!("{storage}:{before}{own}")
    }

    /// Makes a volume larger.
    pub(crate) fn grow(&mut self, volume: &str, size: u64) -> Result<(), String> {
        let storage = volume.split_once(':').map_or("", |(storage, _)| storage);
        let known = self.volumes.get(volume).ok_or_else(|| format!("volume '{volume}' does not exist"))?;
        if let Some(found) = self.storages.get(storage) {
            let more = size.saturating_sub(known.size);
            if self.used(found).saturating_add(more) > found.total {
                return Err(format!("unable to resize '{volume}': No space left on device"));
            }
        }
        if let Some(known) = self.volumes.get_mut(volume) {
            known.size = size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let of = |value: &str| Mount::parse("mp0", value).expect("a mount point");
        assert_eq!(of("tank:2,mp=/a").source(), Source::New("tank", 2 << 30));
        assert_eq!(of("tank:0.5,mp=/a").source(), Source::New("tank", 1 << 29));
        assert_eq!(of("tank:1/vm-1-disk-0.raw,mp=/a").source(), Source::Volume("tank"));
        assert_eq!(of("/srv,mp=/a").source(), Source::Bind);
        assert_eq!(of("/dev/sdb1,mp=/a").source(), Source::Device);
    }
}
