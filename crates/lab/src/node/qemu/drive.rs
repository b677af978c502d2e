//! The drives of a virtual machine: `scsi0`, `ide2`, `efidisk0` and their like.

use super::formats::is_numbered;
use crate::node::formats::print_size;
use crate::node::schema::{self, Property};
use proxmox::config::GuestKind;

/// The buses that drives are on, in the order in which they are looked through (PVE::QemuServer::Drive,
/// `valid_drive_names`).
const BUSES: [&str; 4] = ["ide", "scsi", "virtio", "sata"];

/// How large the variables of the firmware are, in bytes (`efitype=4m`, `2m`), and the state of a TPM.
const EFI_4M: u64 = 528 << 10;
const EFI_2M: u64 = 128 << 10;
const TPM: u64 = 4 << 20;
/// A cloud-init drive's size in bytes.
pub(super) const CLOUDINIT: u64 = 4 << 20;

/// Whether the key is a drive's.
pub(crate) fn is_key(key: &str) -> bool {
    matches!(key, "efidisk0" | "tpmstate0")
        || BUSES.iter().any(|bus| is_numbered(key, bus)) && schema::is_guest_option(GuestKind::Vm, key)
}

/// The FORMAT of a drive's key.
fn format_of(key: &str) -> &'static str {
    match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "ide" => "vmide",
        "sata" => "vmsata",
        "virtio" => "vmvirtio",
        "efidisk" => "vmefi",
        "tpmstate" => "vmtpm",
        _ => "vmscsi",
    }
}

/// Sorts keys as drives are looked through.
pub(super) fn rank(key: &str) -> (usize, u32) {
    let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let order = ["ide", "scsi", "virtio", "sata", "efidisk", "tpmstate"];
    let at = order.iter().position(|known| *known == name).unwrap_or(order.len());
    (at, key[name.len()..].parse().unwrap_or_default())
}

/// What is in a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// Nothing: `none`.
    Empty,
    /// The node's own drive, or a path.
    Path(&'a str),
    /// The cloud-init drive on this storage, which is to be made.
    NewCloudinit(&'a str),
    /// A new volume on this storage, of this many bytes.
    New(&'a str, u64),
    /// A copy on this storage of an image or a volume.
    Import(&'a str, &'a str),
    /// A volume that there is, on this storage.
    Volume(&'a str),
}

/// One drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drive {
    /// Its key.
    pub key: String,
    /// A volume, what is to become one, a path, `none` or `cdrom`.
    pub file: String,
    pub property: Property,
}

impl Drive {
    /// None when the text is no drive's.
    pub(super) fn parse(key: &str, value: &str) -> Option<Self> {
        let mut property = Property::parse(format_of(key), key, value).ok()?;
        let file = property.get("file")?.to_owned();
        // What holds no disk is a CD drive.
        if matches!(file.as_str(), "none" | "cdrom") {
            property.set("media", "cdrom");
        }
        Some(Self { key: key.to_owned(), file, property })
    }

    pub(super) fn print(&self) -> String {
        self.property.print(format_of(&self.key))
    }

    pub(super) fn is_cdrom(&self) -> bool {
        self.property.get("media") == Some("cdrom")
    }

    /// Whether it is the drive that cloud-init reads, made or to be made.
    pub(super) fn is_cloudinit(&self) -> bool {
        is_cloudinit_volume(&self.file) || matches!(self.source(), Source::NewCloudinit(_))
    }

    pub(super) fn source(&self) -> Source<'_> {
        if self.file == "none" {
            return Source::Empty;
        }
        let split = self.file.split_once(':').filter(|_| !self.file.starts_with('/'));
        let Some((storage, rest)) = split else { return Source::Path(&self.file) };
        if rest == "cloudinit" {
            return Source::NewCloudinit(storage);
        }
        if let Some(from) = self.property.get("import-from") {
            return Source::Import(storage, from);
        }
        let plain = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
        match rest.parse::<f64>().ok().filter(|_| plain) {
            Some(gib) => Source::New(storage, self.bytes_of(gib)),
            None => Source::Volume(storage),
        }
    }

    /// A new disk's size. What holds the firmware's variables and a TPM's state has a size of its own.
    fn bytes_of(&self, gib: f64) -> u64 {
        match (self.key.as_str(), self.property.get("efitype")) {
            ("efidisk0", Some("4m")) => EFI_4M,
            ("efidisk0", _) => EFI_2M,
            ("tpmstate0", _) => TPM,
            _ => (gib * f64::from(1 << 30)) as u64,
        }
    }

    /// The volume, where it is one that there is.
    pub(super) fn volume(&self) -> Option<&str> {
        matches!(self.source(), Source::Volume(_)).then_some(self.file.as_str())
    }

    /// The same with a definite volume, and its size where that is told.
    pub(super) fn with(mut self, volume: &str, size: Option<u64>) -> Self {
        self.property.set("file", volume);
        for key in ["import-from", "format"] {
            self.property.0.remove(key);
        }
        match size {
            Some(size) => {
                self.property.set("size", if size == 0 { "0T".to_owned() } else { print_size(size) });
            }
            None => drop(self.property.0.remove("size")),
        }
        volume.clone_into(&mut self.file);
        self
    }
}

/// Whether a volume is a cloud-init drive's.
pub(super) fn is_cloudinit_volume(volume: &str) -> bool {
    let name = volume.rsplit(['/', ':']).next().unwrap_or(volume);
    let name = name.split('.').next().unwrap_or(name);
    name.strip_prefix("vm-").and_then(|rest| rest.strip_suffix("-cloudinit")).is_some()
}

/// All drives of a configuration, in order.
pub(super) fn all(config: &crate::runtime::Config) -> Vec<Drive> {
    let mut out: Vec<Drive> = config
        .iter()
        .filter(|(key, _)| is_key(key))
        .filter_map(|(key, value)| Drive::parse(key, value))
        .collect();
    out.sort_by_key(|drive| rank(&drive.key));
    out
}

/// The devices that it starts from: what `boot` says, or else the first disk, the first CD, the first network card
/// (PVE::QemuServer, `get_default_bootdevices`).
pub(super) fn boot_order(config: &crate::runtime::Config) -> Vec<String> {
    let said = config.get("boot").and_then(|boot| Property::parse("vmboot", "boot", boot).ok());
    if let Some(order) = said.as_ref().and_then(|boot| boot.get("order")) {
        return crate::node::formats::list(order).map(str::to_owned).collect();
    }
    let drives = all(config);
    let boots = |drive: &&Drive| !matches!(drive.key.as_str(), "efidisk0" | "tpmstate0");
    let disk = drives.iter().filter(boots).find(|drive| !drive.is_cdrom());
    let cdrom = drives.iter().find(|drive| drive.is_cdrom() && !drive.is_cloudinit());
    let net = (0..32).map(|n| format!("net{n}")).find(|key| config.contains_key(key));
    [disk, cdrom].into_iter().flatten().map(|drive| drive.key.clone()).chain(net).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(key: &str, value: &str) -> Drive {
        Drive::parse(key, value).expect("a drive")
    }

    #[test]
    fn sources_are_told_apart() {
        assert_eq!(of("scsi0", "tank:2").source(), Source::New("tank", 2 << 30));
        assert_eq!(of("scsi0", "tank:0.5,format=qcow2").source(), Source::New("tank", 1 << 29));
        assert_eq!(
            of("scsi0", "tank:0,import-from=local:import/x.qcow2").source(),
            Source::Import("tank", "local:import/x.qcow2")
        );
        assert_eq!(of("ide2", "tank:cloudinit").source(), Source::NewCloudinit("tank"));
        assert_eq!(of("ide2", "none").source(), Source::Empty);
        assert_eq!(of("ide2", "none").print(), "none,media=cdrom");
        assert_eq!(of("scsi1", "tank:1/vm-1-disk-0.raw").source(), Source::Volume("tank"));
        assert_eq!(of("scsi1", "/dev/sdb").source(), Source::Path("/dev/sdb"));
        assert_eq!(of("efidisk0", "tank:1,efitype=4m").source(), Source::New("tank", 528 << 10));
    }

    #[test]
    fn keys_end_where_the_buses_do() {
        for (key, is) in [
            ("scsi30", true),
            ("scsi31", false),
            ("ide3", true),
            ("ide4", false),
            ("scsihw", false),
            ("tpmstate0", true),
        ] {
            assert_eq!(is_key(key), is, "{key}");
        }
    }

    #[test]
    fn cloud_init_drives_are_known_by_their_names() {
        assert!(is_cloudinit_volume("tank:301/vm-301-cloudinit.qcow2"));
        assert!(is_cloudinit_volume("local-zfs:vm-301-cloudinit"));
        assert!(!is_cloudinit_volume("tank:301/vm-301-disk-0.qcow2"));
    }

    #[test]
    fn the_default_is_to_start_from_disk_cd_and_network() {
        let config = [
            ("scsi0", "tank:1/vm-1-disk-0.raw"),
            ("net0", "virtio=BC:24:11:00:00:01"),
            ("ide2", "tank:1/vm-1-cloudinit.qcow2,media=cdrom"),
        ];
        let mut config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(boot_order(&config), ["scsi0", "net0"]);
        config.insert("ide0".to_owned(), "none,media=cdrom".to_owned());
        assert_eq!(boot_order(&config), ["scsi0", "ide0", "net0"]);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(n in 0u32..31, size in 1u64..1000, ssd in any::<bool>()) {
            let text = format!("tank:9/vm-9-disk-{n}.raw,size={size}G{}", if ssd { ",ssd=1" } else { "" });
            prop_assert_eq!(of("scsi0", &text).print(), text);
        }

        #[test]
        fn no_text_panics(value in "\\PC*") {
            let _ = Drive::parse("scsi0", &value).map(|drive| drive.print());
        }
    }
}
