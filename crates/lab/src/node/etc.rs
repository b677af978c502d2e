//! The guests' configuration files, as `/etc/pve/nodes/NODE/lxc/ID.conf` and `…/qemu-server/ID.conf` hold them: text, whose
//! SHA-1 is the digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use proxmox::config::GuestKind;
use sha1::{Digest, Sha1};

use super::certificates::CustomFiles;
use super::common::Cluster;
use super::durable;
use super::firewall::FirewallFiles;
use crate::runtime::Config;

/// As which the file has the entries of `env` (recorded: "env", the file).
const ENVIRONMENT: &str = "lxc.environment.runtime: ";

/// One section of a configuration file: options by key, raw `lxc.*` lines in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// The options; `description` among them, as text.
    pub options: Config,
    /// `lxc.key = value` lines as they are.
    pub raw: Vec<String>,
}

impl Section {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    fn print(&self, kind: GuestKind, out: &mut String) {
        // Blanks at the ends of lines stay, line breaks at the end of all go; of a VM's all blanks at the end of all
        // (recorded: "description", KEYS of a real node).
        let description = self.get("description").unwrap_or_default();
        let description = match kind {
            GuestKind::Container => description.trim_end_matches('\n'),
            GuestKind::Vm => description.trim_end(),
        };
        for line in description.split('\n').filter(|_| !description.is_empty()) {
            out.push('#');
            encode(line, out);
            out.push('\n');
        }
        for (key, value) in
            self.options.iter().filter(|(key, _)| !matches!(key.as_str(), "description" | "env"))
        {
            out.push_str(key);
            out.push_str(": ");
            out.push_str(value);
            out.push('\n');
        }
        for entry in self.get("env").into_iter().flat_map(|all| all.split('\0')) {
            out.push_str(ENVIRONMENT);
            out.push_str(entry);
            out.push('\n');
        }
        for line in &self.raw {
            out.push_str(line);
            out.push('\n');
        }
    }
}

/// A guest's configuration: what holds now, and what waits for a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuestConf {
    /// What it is of.
    pub kind: GuestKind,
    pub current: Section,
    pub pending: Section,
    /// Keys that will be gone. A VM's may begin with `!`: then what is on the disk goes, too.
    pub pending_delete: BTreeSet<String>,
    /// Of a VM: what its cloud-init drive was written with, where that is no longer so (`[special:cloudinit]`).
    pub cloudinit: Section,
    /// Snapshot sections, which this node keeps and does not touch.
    rest: String,
}

/// The heading of the cloud-init drive's section.
const CLOUDINIT: &str = "special:cloudinit";

/// The heading of the section that waits for a restart.
fn waiting(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Container => "pve:pending",
        GuestKind::Vm => "PENDING",
    }
}

impl GuestConf {
    /// One that says nothing.
    pub(crate) fn empty(kind: GuestKind) -> Self {
        Self {
            kind,
            current: Section::default(),
            pending: Section::default(),
            pending_delete: BTreeSet::new(),
            cloudinit: Section::default(),
            rest: String::new(),
        }
    }

    /// Reads a file's text. Lines that mean nothing are dropped, as Proxmox VE drops them with a warning.
    pub(crate) fn parse(kind: GuestKind, text: &str) -> Self {
        let mut out = Self::empty(kind);
        let mut section = "";
        let mut notes = [String::new(), String::new()];
        for line in text.split('\n') {
            // A line of the description is text as it is.
            let line = if line.starts_with('#') { line } else { line.trim_end() };
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
                if section != waiting(kind) && (kind, section) != (GuestKind::Vm, CLOUDINIT) {
                    out.rest.push_str(&format!("\n{line}\n"));
                }
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let mut none = String::new();
            let (target, note) = match section {
                "" => (&mut out.current, &mut notes[0]),
                name if name == waiting(kind) => (&mut out.pending, &mut notes[1]),
                CLOUDINIT if kind == GuestKind::Vm => (&mut out.cloudinit, &mut none),
                _ => {
                    out.rest.push_str(line);
                    out.rest.push('\n');
                    continue;
                }
            };
            if let Some(text) = line.strip_prefix('#') {
                note.push_str(&super::schema::decode(text));
                note.push('\n');
            } else if let Some(entry) = line.strip_prefix(ENVIRONMENT) {
                let env = target.options.entry("env".to_owned()).or_default();
                if !env.is_empty() {
                    env.push('\0');
                }
                env.push_str(entry);
            } else if kind == GuestKind::Container && line.starts_with("lxc.") {
                target.raw.push(line.to_owned());
            } else if let Some((key, value)) = line.split_once(':') {
                let value = value.trim_start();
                if key == "delete" && section == waiting(kind) {
                    out.pending_delete = super::formats::list(value).map(str::to_owned).collect();
                } else {
                    target.options.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        let [current, pending] = notes.map(|note| match kind {
            GuestKind::Container => note,
            GuestKind::Vm => note.trim_end().to_owned(),
        });
        if !current.is_empty() {
            out.current.options.insert("description".to_owned(), current);
        }
        if !pending.is_empty() {
            out.pending.options.insert("description".to_owned(), pending);
        }
        out
    }

    /// The file's text, keys sorted, as Proxmox VE writes it.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        self.current.print(self.kind, &mut out);
        if self.has_pending() {
            out.push_str(&format!("\n[{}]\n", waiting(self.kind)));
            let mut pending = self.pending.clone();
            if !self.pending_delete.is_empty() {
                let keys: Vec<&str> = self.pending_delete.iter().map(String::as_str).collect();
                pending.options.insert("delete".to_owned(), keys.join(","));
            }
            pending.print(self.kind, &mut out);
        }
        if self.cloudinit != Section::default() {
            out.push_str(&format!("\n[{CLOUDINIT}]\n"));
            self.cloudinit.print(self.kind, &mut out);
        }
        out.push_str(&self.rest);
        out
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.options.is_empty() || !self.pending_delete.is_empty()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.current.get(key)
    }

    /// Whether a snapshot has this volume.
    pub(crate) fn is_in_snapshot(&self, volume: &str) -> bool {
        let value = |line: &str| {
            line.split_once(": ").is_some_and(|(_, value)| value.split(',').next() == Some(volume))
        };
        self.rest.lines().any(value)
    }

    /// An option that is a whole number.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// An option that is 0 or 1; missing is 0.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }
}

/// Percent-encodes one line of a description: everything outside printable ASCII, `:` and `%`.
fn encode(line: &str, out: &mut String) {
    for byte in line.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b':' && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub text: String,
    /// SHA-1 of the text, in hex.
    pub digest: String,
    pub conf: GuestConf,
    /// What tells that the file is another; none where it is in memory only.
    seen: Option<Seen>,
}

/// Inode, size and time of change of a file.
pub(super) type Seen = (u64, u64, i64, i64);

pub(super) fn seen(path: &Utf8Path) -> std::io::Result<Seen> {
    use std::os::unix::fs::MetadataExt as _;
    fs_err::metadata(path).map(|meta| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

impl Stored {
    fn new(kind: GuestKind, text: String, seen: Option<Seen>) -> Self {
        let digest = hex(&Sha1::digest(text.as_bytes()));
        // Parsed again from the text, so that what is handed out is what a restarted node would hand out.
        let conf = GuestConf::parse(kind, &text);
        Self { text, digest, conf, seen }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What guests there are.
const KINDS: [GuestKind; 2] = [GuestKind::Container, GuestKind::Vm];

/// The store of all guests' files: in memory, and in a directory where one is given.
#[derive(Debug, Default)]
pub(crate) struct EtcPve {
    /// The firewall's.
    pub firewall: FirewallFiles,
    /// The custom certificate's.
    pub custom: CustomFiles,
    /// The node's own, with a folder for each kind of guest.
    folder: Option<Utf8PathBuf>,
    files: BTreeMap<u32, Arc<Stored>>,
    node: String,
    /// Where other nodes have files, too.
    cluster: Option<Cluster>,
}

impl EtcPve {
    /// Opens `etc` (what stands for `/etc/pve`) and reads the files of `node` that are there.
    pub(crate) fn open(
        etc: Option<&Utf8Path>,
        node: &str,
        cluster: Option<Cluster>,
    ) -> std::io::Result<Self> {
        let Some(etc) = etc else {
            let memory = cluster.as_ref().map(Cluster::firewall).unwrap_or_default();
            let firewall = FirewallFiles::in_memory(memory);
            return Ok(Self { firewall, node: node.to_owned(), cluster, ..Self::default() });
        };
        let own = etc.join("nodes").join(node);
        for kind in KINDS {
            fs_err::create_dir_all(own.join(kind.folder()))?;
        }
        let (firewall, custom) = (FirewallFiles::in_folder(etc), CustomFiles::open(own.clone()));
        let mut store = Self {
            firewall,
            custom,
            folder: Some(own),
            files: BTreeMap::new(),
            node: node.to_owned(),
            cluster,
        };
        store.look_again()?;
        Ok(store)
    }

    /// Reads the files that somebody changed, restored or removed by hand, as a real node notices at once.
    pub(crate) fn look_again(&mut self) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut there = BTreeSet::new();
        for (kind, folder) in KINDS.map(|kind| (kind, folder.join(kind.folder()))) {
            for entry in fs_err::read_dir(&folder)? {
                let name = entry?.file_name();
                let id =
                    name.to_str().and_then(|name| name.strip_suffix(".conf")).and_then(|id| id.parse().ok());
                let (Some(id), Some(name)) = (id, name.to_str()) else { continue };
                let path = folder.join(name);
                let now = seen(&path)?;
                there.insert(id);
                if self.files.get(&id).is_none_or(|stored| stored.seen != Some(now)) {
                    let text = fs_err::read_to_string(&path)?;
                    self.files.insert(id, Arc::new(Stored::new(kind, text, Some(now))));
                }
            }
        }
        self.files.retain(|id, _| there.contains(id));
        Ok(())
    }

    pub(crate) fn get(&self, id: u32) -> Option<Arc<Stored>> {
        self.files.get(&id).cloned()
    }

    pub(crate) fn all(&self) -> &BTreeMap<u32, Arc<Stored>> {
        &self.files
    }

    /// The files of all nodes: by id, the node that has it, and the file.
    pub(crate) fn whole(&self) -> BTreeMap<u32, (String, Arc<Stored>)> {
        let own = self.files.iter().map(|(id, stored)| (*id, (self.node.clone(), stored.clone())));
        let mut all = self.cluster.as_ref().map(Cluster::registered).unwrap_or_default();
        if self.cluster.is_some() {
            all.extend(self.elsewhere());
        }
        all.extend(own);
        all
    }

    /// The files of the other nodes' folders. One that goes away, or cannot be read, while it is read is none.
    fn elsewhere(&self) -> BTreeMap<u32, (String, Arc<Stored>)> {
        let mut all = BTreeMap::new();
        let nodes = self.folder.as_ref().and_then(|folder| folder.parent());
        let nodes = nodes.and_then(|nodes| nodes.read_dir_utf8().ok()).into_iter().flatten().flatten();
        for node in nodes.filter(|node| node.file_name() != self.node) {
            for (kind, folder) in KINDS.map(|kind| (kind, node.path().join(kind.folder()))) {
                for file in folder.read_dir_utf8().into_iter().flatten().flatten() {
                    let id = file.file_name().strip_suffix(".conf").and_then(|id| id.parse().ok());
                    let text = id.and_then(|id| Some((id, fs_err::read_to_string(file.path()).ok()?)));
                    if let Some((id, text)) = text {
                        let stored = Arc::new(Stored::new(kind, text, None));
                        all.insert(id, (node.file_name().to_owned(), stored));
                    }
                }
            }
        }
        all
    }

    /// The node that has a guest of this id, whichever it is.
    pub(crate) fn owner(&self, id: u32) -> Option<String> {
        if self.files.contains_key(&id) {
            return Some(self.node.clone());
        }
        self.cluster.as_ref()?;
        self.whole().remove(&id).map(|(node, _)| node)
    }

    /// Writes a guest's file, whole or not at all.
    pub(crate) fn write(&mut self, id: u32, conf: &GuestConf) -> std::io::Result<()> {
        let mut stored = Stored::new(conf.kind, conf.print(), None);
        if let Some(folder) = &self.folder {
            let file = folder.join(conf.kind.folder()).join(format!("{id}.conf"));
            let part = durable::beside(&file, stored.text.as_bytes(), 0o644)?;
            stored.seen = Some(seen(&part)?);
            durable::take_place(&part, &file)?;
        }
        let stored = Arc::new(stored);
        if let Some(cluster) = &self.cluster {
            cluster.register(id, &self.node, Some(stored.clone()));
        }
        self.files.insert(id, stored);
        Ok(())
    }

    /// Removes a guest's file. It need not be there.
    pub(crate) fn remove(&mut self, id: u32) -> std::io::Result<()> {
        self.files.remove(&id);
        if let Some(cluster) = &self.cluster {
            cluster.register(id, &self.node, None);
        }
        // Its rules go with it.
        self.firewall.write(&format!("{id}.fw"), None)?;
        let Some(folder) = &self.folder else { return Ok(()) };
        for kind in KINDS {
            match fs_err::remove_file(folder.join(kind.folder()).join(format!("{id}.conf"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_description_is_encoded_and_gains_a_newline() {
        let mut conf = GuestConf::empty(GuestKind::Container);
        conf.current.options.insert("description".into(), "line: ünïcode 50%\n```phoenix {}```".into());
        conf.current.options.insert("memory".into(), "512".into());
        let text = conf.print();
        assert_eq!(text, "#line%3A %C3%BCn%C3%AFcode 50%25\n#```phoenix {}```\nmemory: 512\n");
        let read = GuestConf::parse(GuestKind::Container, &text);
        assert_eq!(read.get("description"), Some("line: ünïcode 50%\n```phoenix {}```\n"));
    }

    /// What a real node gave back for what it was sent.
    #[test]
    fn a_description_is_read_back_as_a_real_node_does() {
        for (sent, file, read) in [
            ("hello", "#hello\n", Some("hello\n")),
            (
                "line one   \nline two\t \n",
                "#line one   \n#line two%09 \n",
                Some("line one   \nline two\t \n"),
            ),
            ("a\r\nb\r\n", "#a%0D\n#b%0D\n", Some("a\r\nb\r\n")),
            ("   indented\n\n\nafter", "#   indented\n#\n#\n#after\n", Some("   indented\n\n\nafter\n")),
            ("  ", "#  \n", Some("  \n")),
            ("text\n\n\n", "#text\n", Some("text\n")),
            ("a\0b", "#a%00b\n", Some("a\0b\n")),
            ("", "", None),
        ] {
            let mut conf = GuestConf::empty(GuestKind::Container);
            conf.current.options.insert("description".into(), sent.into());
            let text = conf.print();
            assert_eq!(text, file);
            assert_eq!(GuestConf::parse(GuestKind::Container, &text).get("description"), read);
            assert_eq!(GuestConf::parse(GuestKind::Container, &text).print(), text);
        }
    }

    #[test]
    fn pending_and_snapshots_survive() {
        let text =
            "memory: 512\n\n[pve:pending]\ndelete: mp0,net1\nnameserver: 10.0.0.1\n\n[before]\nmemory: 256\n";
        let conf = GuestConf::parse(GuestKind::Container, text);
        assert_eq!(conf.pending_delete.len(), 2);
        assert_eq!(conf.pending.get("nameserver"), Some("10.0.0.1"));
        assert_eq!(conf.print(), text);
    }

    /// What a real node gave back of a VM for what it was sent.
    #[test]
    fn a_vms_description_ends_where_its_text_ends() {
        for (sent, file, read) in [
            ("line one   \nline two\t \n", "#line one   \n#line two\n", Some("line one   \nline two")),
            ("a\r\nb\r\n", "#a%0D\n#b\n", Some("a\r\nb")),
            ("\n\ntext", "#\n#\n#text\n", Some("\n\ntext")),
            ("", "", None),
        ] {
            let mut conf = GuestConf::empty(GuestKind::Vm);
            conf.current.options.insert("description".into(), sent.into());
            assert_eq!(conf.print(), file);
            assert_eq!(GuestConf::parse(GuestKind::Vm, file).get("description"), read);
        }
    }

    #[test]
    fn a_vms_sections_survive() {
        let text = "cores: 1\n\n[PENDING]\ncores: 2\ndelete: !scsi1,boot\n\n[special:cloudinit]\nciuser: u\n\n[before]\ncores: 1\n";
        let conf = GuestConf::parse(GuestKind::Vm, text);
        assert_eq!(conf.pending.get("cores"), Some("2"));
        assert!(conf.pending_delete.contains("!scsi1"));
        assert_eq!(conf.cloudinit.get("ciuser"), Some("u"));
        assert_eq!(conf.print(), text);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            options in proptest::collection::btree_map("[a-z]{2,8}[0-9]?", "[!-~]([ -~]{0,20}[!-~])?", 0..6),
            notes in proptest::option::of("[^\\x00-\\x1f]{1,30}"),
        ) {
            let mut conf = GuestConf::empty(GuestKind::Container);
            conf.current.options = options;
            if let Some(notes) = notes {
                conf.current.options.insert("description".into(), format!("{notes}\n"));
            }
            let again = GuestConf::parse(GuestKind::Container, &conf.print());
            prop_assert_eq!(again.print(), conf.print());
        }

        #[test]
        fn no_file_panics(text in "\\PC*(\n\\PC*){0,5}") {
            for kind in KINDS {
                let _ = GuestConf::parse(kind, &text).print();
            }
        }
    }
}
