//! What a node that is a machine is made of, and what of it is plugged in: `hardware.json` in the lab's folder.

use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::super::error::Error;
use super::super::forward::replace;

/// Where the parts are written down.
pub(crate) const FILE: &str = "hardware.json";
/// The folder of the disks' files, in the lab's.
pub(crate) const DISKS: &str = "disks";
/// The file of the system disk, in [`DISKS`].
pub(crate) const SYSTEM: &str = "system.qcow2";

/// The network behind the machine's links, as QEMU plays it (`-netdev user`): half of the block that RFC 2544 keeps for
/// benchmarks, in no home network. The lab's other links take theirs from the other half.
pub(crate) const OUTSIDE: &str = "198.18.0.0/24";
/// The way out.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The machine itself.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Who answers for names.
pub(crate) const NAMES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);

/// What a machine is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineSpec {
    /// How many empty disks, at most [`MachineSpec::MOST_DISKS`].
    pub disks: u8,
    /// How large each is, in bytes. They take space as they are filled.
    pub disk_bytes: u64,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cores: u32,
}

impl MachineSpec {
    /// As many disks as a machine can have.
    pub const MOST_DISKS: u8 = 16;
    /// How many network links it has.
    pub(crate) const LINKS: u8 = 2;
}

impl Default for MachineSpec {
    fn default() -> Self {
        Self { disks: 4, disk_bytes: 2 << 30, memory: 3072, cores: 2 }
    }
}

/// A disk, which can be pulled and replaced while the machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The slot it is in: `disk1`.
    pub name: String,
    /// Its serial number: `PHX-DISK-1`; the second one in that slot has `PHX-DISK-1-2`.
    pub serial: String,
    /// Its size.
    pub bytes: u64,
    /// How many disks this slot has had.
    pub generation: u32,
    /// Whether it is plugged in.
    pub there: bool,
}

impl Disk {
    fn new(number: u8, bytes: u64) -> Self {
        let mut disk =
            Self { name: format!("disk{number}"), serial: String::new(), bytes, generation: 1, there: true };
        disk.serial = disk.serial_of(1);
        disk
    }

    fn serial_of(&self, generation: u32) -> String {
        let slot = self.name.trim_start_matches("disk");
        match generation {
            1 => format!("PHX-DISK-{slot}"),
            more => format!("PHX-DISK-{slot}-{more}"),
        }
    }

    /// A new, empty one of that size takes its place.
    pub(crate) fn replace(&mut self) {
        self.generation += 1;
        self.serial = self.serial_of(self.generation);
    }

    /// Its name below `/dev/disk/by-id` on the node, as udev gives it to a SCSI disk of QEMU (`scsi_id`, page 0x80).
    pub fn by_id(&self) -> String {
        format!("scsi-0QEMU_QEMU_HARDDISK_{}", self.serial)
    }

    /// What it holds, in the folder of disks.
    pub(crate) fn file(&self) -> String {
        format!("{}.raw", self.serial)
    }
}

/// A network link. All of them lead to one switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `link1`: on the node this is `eth0`, and so on.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Whether its cable is plugged in.
    pub there: bool,
}

/// All of a machine's parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The folder of the image that the system disk began as.
    pub image: Utf8PathBuf,
    /// When that image was made, in seconds since 1970: a system disk goes with no other one.
    pub image_made: u64,
    /// The root that QEMU lies in.
    pub programs: Utf8PathBuf,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cores: u32,
    /// The disks beside the system's.
    pub disks: Vec<Disk>,
    /// The network links.
    pub links: Vec<Link>,
}

/// A part that can be pulled.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    Disk(&'a mut Disk),
    Link(&'a mut Link),
}

impl Hardware {
    /// What `spec` says, with `mac` as the beginning of the links' addresses: five bytes, `02:1a:2b:3c:4d`.
    pub(crate) fn new(spec: MachineSpec, programs: Utf8PathBuf, mac: &str) -> Self {
        let link = |number| Link {
            name: format!("link{number}"),
            mac: format!("{mac}:{:02x}", 0xa0 + number),
            there: true,
        };
        Self {
            image: Utf8PathBuf::new(),
            image_made: 0,
            programs,
            memory: spec.memory,
            cores: spec.cores,
            disks: (1..=spec.disks.min(MachineSpec::MOST_DISKS))
                .map(|number| Disk::new(number, spec.disk_bytes))
                .collect(),
            links: (1..=MachineSpec::LINKS).map(link).collect(),
        }
    }

    /// Reads that of the lab in `folder`; `None` where its node is no machine.
    pub fn read(folder: &Utf8Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }

    pub(crate) fn save(&self, folder: &Utf8Path) -> Result<(), Error> {
        replace(&folder.join(FILE), self)
    }

    /// The part of that name.
    pub(crate) fn part(&mut self, name: &str) -> Result<Part<'_>, Error> {
        let names = self.disks.iter().map(|disk| &disk.name).chain(self.links.iter().map(|link| &link.name));
        let known = names.cloned().collect::<Vec<_>>().join(", ");
        let disk = self.disks.iter_mut().find(|disk| disk.name == name || disk.serial == name);
        let link = self.links.iter_mut().find(|link| link.name == name);
        let part = disk.map(Part::Disk).or(link.map(Part::Link));
        part.ok_or_else(|| Error::Part {
            name: name.to_owned(),
            why: "is none of the machine's parts".into(),
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware() -> Hardware {
        Hardware::new(MachineSpec::default(), "/c/programs".into(), "02:00:00:00:01")
    }

    #[test]
    fn a_replaced_disk_is_another_one() {
        let mut all = hardware();
        assert_eq!(all.disks.len(), 4);
        assert_eq!(all.disks[1].by_id(), "scsi-0QEMU_QEMU_HARDDISK_PHX-DISK-2");
        let Ok(Part::Disk(disk)) = all.part("disk2") else { panic!("no disk2") };
        let before = disk.clone();
        disk.replace();
        assert_eq!(disk.serial, "PHX-DISK-2-2");
        assert!(disk.file() != before.file() && disk.by_id() != before.by_id());
        assert!(all.disks.iter().all(|disk| disk.serial.len() <= 20), "a serial number has 20 characters");
    }

    #[test]
    fn what_is_written_down_is_read_again_and_names_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let mut all = hardware();
        all.save(folder).unwrap();
        assert_eq!(Hardware::read(folder).as_ref(), Some(&all));
        assert!(
            matches!(all.part("link2"), Ok(Part::Link(_)))
                && matches!(all.part("PHX-DISK-3"), Ok(Part::Disk(_)))
        );
        let error = all.part("disk9").unwrap_err();
        assert!(error.hint().unwrap().contains("disk1, disk2, disk3, disk4, link1, link2"), "{error:?}");
    }
}
