//! The disk that a node's system begins as, and the programs that run machines: made once, from Debian's packages, and kept in the
//! cache for all labs of the computer.
//!
//! The system is the node of a lab of containers, with a kernel, ZFS, the servers of shares, and GRUB as its boot loader.

use std::io::Write as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha2::{Digest, Sha256};

use super::super::base::{self, BUILD, Base, MachineApt, bootstrap, clean, remove};
use super::super::error::{Error, run};
use super::super::machine::lock_file;
use super::super::preflight::Release;
use super::super::{Event, Report};
use super::Program;
use crate::machines;

/// What the system has beside the node of a lab of containers.
const PACKAGES: [&str; 23] = [
    "linux-image-amd64",
    "grub-pc-bin",
    // `update-grub`.
    "grub2-common",
    "initramfs-tools",
    // `cp`, before the system runs.
    "busybox",
    "udev",
    "kmod",
    // As Proxmox VE has it, in place of ifupdown.
    "ifupdown2",
    "zfsutils-linux",
    "zfs-zed",
    "nfs-kernel-server",
    "nfs-common",
    "samba",
    "smbclient",
    "cifs-utils",
    "lvm2",
    "thin-provisioning-tools",
    "btrfs-progs",
    "gdisk",
    "parted",
    "smartmontools",
    "pciutils",
    "sudo",
];

/// Makes it, in its root.
const BUILD_SCRIPT: &str = include_str!("build.sh");
/// Runs before the system does.
const FIRST_FILES: &str = include_str!("first-files.sh");

/// What the file system of the system disk is called, by which the kernel finds it.
pub(crate) const LABEL: &str = "phoenix-node";
/// What that of the disk with the lab's program is called.
pub(crate) const PROGRAM_LABEL: &str = "phoenix-program";

/// How large the system disk is. It takes space as it is filled.
const SIZE: u64 = 20 << 30;
/// Where its one partition begins. The boot loader lies before it.
const START: u64 = 1 << 20;
/// What a disk counts in.
const SECTOR: u64 = 512;
/// Where GRUB's parts lie in the system.
const GRUB: &str = "boot/grub/i386-pc";
/// What GRUB does first of all: it looks for its own folder.
const FIND_GRUB: &str = "search.fs_label phoenix-node root\nset prefix=($root)/boot/grub\n";

/// The system disk's beginning, in the image's folder.
pub(super) const DISK: &str = "disk.raw";

/// What decides how the image is made: another one has another name.
fn key(base: &str) -> String {
    let mut hash = Sha256::new();
    for part in [base, BUILD_SCRIPT, FIRST_FILES, FIND_GRUB].into_iter().chain(PACKAGES) {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of the image in `cache`, made or not.
pub(super) fn place(cache: &Utf8Path, base: &Base) -> Utf8PathBuf {
    let name = base.node.parent().and_then(Utf8Path::file_name).unwrap_or_default();
    cache.join(format!("node-{}", key(name)))
}

/// Sources of apt with the component that ZFS is in: `contrib` beside each `main`.
fn with_contrib(sources: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let lists = words.first().is_some_and(|word| matches!(*word, "deb" | "deb-src" | "Components:"));
        if !lists || words.contains(&"contrib") || !words.contains(&"main") {
            return line.to_owned();
        }
        let more = |word: &&str| if *word == "main" { "main contrib".to_owned() } else { (*word).to_owned() };
        words.iter().map(more).collect::<Vec<_>>().join(" ")
    };
    sources.lines().map(|text| line(text) + "\n").collect()
}

/// What apt has on a node that is a machine.
pub(crate) fn apt_of(machine: &MachineApt) -> MachineApt {
    let sources = machine.sources.iter().map(|(name, text)| (name.clone(), with_contrib(text))).collect();
    MachineApt { sources, ..machine.clone() }
}

/// The root with QEMU in it, made when it is not there. The lab's virtual machines use the same one.
pub(super) async fn programs(
    cache: &Utf8Path,
    release: &Release,
    report: Report<'_>,
) -> Result<Utf8PathBuf, Error> {
    let folder = base::made_folder(cache).join("machines");
    let root = folder.join(machines::programs_name());
    if root.exists() {
        return Ok(root);
    }
    fs::create_dir_all(&folder).map_err(Error::io(format!("making `{folder}`")))?;
    let _lock = lock_file(&folder.join("make.lock"), BUILD).await?;
    if root.exists() {
        return Ok(root);
    }
    report(Event::doing("making the programs that run machines, once", 90));
    let apt = MachineApt::read(release).await?;
    let work = root.with_extension("making");
    let extra = root.with_extension("apt");
    for left in [&work, &extra] {
        remove(left).await?;
    }
    fs::create_dir_all(&extra).map_err(Error::io(format!("making `{extra}`")))?;
    let conf = extra.join("apt.conf");
    fs::write(&conf, &apt.settings).map_err(Error::io("writing apt's settings"))?;
    bootstrap(&release.codename, &apt.text(), &conf, &extra, &work, machines::PROGRAMS).await?;
    remove(&extra).await?;
    fs::rename(&work, &root).map_err(Error::io("keeping QEMU"))?;
    Ok(root)
}

/// The image in `cache`, made when it is not there: its folder.
pub(super) async fn image(
    cache: &Utf8Path,
    base: &Base,
    release: &Release,
    report: Report<'_>,
) -> Result<Utf8PathBuf, Error> {
    let folder = place(cache, base);
    if folder.exists() {
        return Ok(folder);
    }
    let _lock = lock_file(&cache.join("node.lock"), BUILD * 2).await?;
    if folder.exists() {
        return Ok(folder);
    }
    let work = folder.with_extension("making");
    // What one that was cut off left.
    remove(&work).await?;
    fs::create_dir_all(&work).map_err(Error::io(format!("making `{work}`")))?;
    let root = work.join("root");
    report(Event::doing("making the machine's system, once, with a kernel and ZFS built for it", 720));
    run("copying the node", &["cp", "-a", base.node.as_str(), root.as_str()], b"", BUILD).await?;
    install(&root, release).await?;
    clean(&root).await?;
    report(Event::doing("making the system's disk", 30));
    let disk = work.join(DISK);
    fs::File::create(&disk)
        .and_then(|file| file.set_len(SIZE))
        .map_err(Error::io("making the system's disk"))?;
    let blocks = format!("{}k", (SIZE - START) >> 10);
    let offset = format!("offset={START}");
    make_file_system(LABEL, &root, &["-E", &offset, disk.as_str(), &blocks]).await?;
    boot_loader(&root, &disk)?;
    remove(&root).await?;
    fs::rename(&work, &folder).map_err(Error::io("keeping the machine's system"))?;
    Ok(folder)
}

/// When the image in that folder was made, in seconds since 1970; none where there is none.
pub(super) fn made(folder: &Utf8Path) -> Option<u64> {
    let changed = fs::metadata(folder.join(DISK)).ok()?.modified().ok()?;
    Some(changed.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

/// Makes a file system that holds what is in `root`, in a file that is as large as it is to be.
pub(super) async fn file_system(label: &str, root: &Utf8Path, file: &Utf8Path) -> Result<(), Error> {
    make_file_system(label, root, &[file.as_str()]).await
}

async fn make_file_system(label: &str, root: &Utf8Path, place: &[&str]) -> Result<(), Error> {
    let argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", root.as_str()];
    run("making a file system", &[&argv, place].concat(), b"", BUILD).await.map(drop)
}

/// Puts the boot loader in front of the file system, as `grub-install` does.
fn boot_loader(root: &Utf8Path, disk: &Utf8Path) -> Result<(), Error> {
    let failed = |error| Error::io(format!("putting the boot loader onto `{disk}`"))(error);
    let folder = root.join(GRUB);
    let (boot, core) = (fs::read(folder.join("boot.img")), fs::read(folder.join("core.img")));
    let front = front(&boot.map_err(failed)?, &core.map_err(failed)?).map_err(failed)?;
    let mut file = fs::OpenOptions::new().write(true).open(disk).map_err(failed)?;
    file.write_all(&front).and_then(|()| file.sync_all()).map_err(failed)
}

/// What lies in front of the partition: the sector that the BIOS starts, with the table of partitions, and behind it the part of
/// GRUB that it reads. `boot.img` looks for it in sector 1, and `grub-mkimage` says in its own first sector how long it is.
fn front(boot: &[u8], core: &[u8]) -> std::io::Result<Vec<u8>> {
    /// Where code ends, and the table begins (the MBR, as BIOSes know it).
    const CODE: usize = 440;
    const TABLE: usize = 446;
    let sector = SECTOR as usize;
    if boot.len() != sector || (core.len() + sector) as u64 > START {
        return Err(std::io::Error::other("GRUB's parts have another size than they should"));
    }
    let mut out = vec![0; sector];
    out[..CODE].copy_from_slice(&boot[..CODE]);
    // Active, of kind Linux; cylinders and heads are what nobody counts in any more.
    let entry = [0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff];
    let place = [START / SECTOR, (SIZE - START) / SECTOR].map(|number| number as u32);
    let entry = entry.into_iter().chain(place.into_iter().flat_map(u32::to_le_bytes));
    out.splice(TABLE..TABLE + 16, entry);
    out[sector - 2..].copy_from_slice(&[0x55, 0xaa]);
    out.extend_from_slice(core);
    Ok(out)
}

/// Installs what a machine needs, and builds ZFS.
async fn install(root: &Utf8Path, release: &Release) -> Result<(), Error> {
    let apt = apt_of(&MachineApt::read(release).await?);
    base::prepare_install(root, &apt)?;
    let list = root.join("etc/apt/sources.list.d");
    for (name, text) in &apt.sources {
        fs::write(list.join(name), text).map_err(Error::io("writing apt's sources"))?;
    }
    for (name, key) in &apt.keyrings {
        fs::write(root.join("usr/share/keyrings").join(name), key)
            .map_err(Error::io("writing apt's keys"))?;
    }
    let hook = root.join("etc/initramfs-tools/scripts/local-bottom/phoenix-lab");
    if let Some(folder) = hook.parent() {
        fs::create_dir_all(folder).map_err(Error::io(format!("making `{folder}`")))?;
    }
    fs::write(&hook, FIRST_FILES).map_err(Error::io(format!("writing `{hook}`")))?;
    run("making a script of it", &["chmod", "755", hook.as_str()], b"", BUILD).await?;
    let find = root.join("etc/phoenix-lab/grub-first.cfg");
    fs::create_dir_all(root.join("etc/phoenix-lab"))
        .and_then(|()| fs::write(&find, FIND_GRUB))
        .map_err(Error::io(format!("writing `{find}`")))?;
    // The kernel's own folders are mounted for the build alone, and gone with it.
    let argv = [
        &[
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            "root=$1; shift; mount -t proc proc $root/proc && exec chroot $root \"$@\"",
            "sh",
            root.as_str(),
            "sh",
            "-s",
            "--",
        ][..],
        &PACKAGES,
    ]
    .concat();
    run("building the machine's system", &argv, BUILD_SCRIPT.as_bytes(), BUILD * 2).await?;
    base::finish_install(root)
}

/// A system disk as new: what is written to it is kept apart from the image.
pub(super) async fn new_system(program: &Program<'_>, path: &str) -> Result<(), Error> {
    let base = format!("{}/{DISK}", super::qemu::IMAGE);
    let argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base, path];
    program.run("making the system disk", &argv, Duration::from_secs(60)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zfs_comes_from_the_component_beside_main() {
        let old =
            "deb http://archive.test/debian bookworm main\n# deb x main\ndeb [a=b] x bookworm main contrib\n";
        assert_eq!(
            with_contrib(old),
            "deb http://archive.test/debian bookworm main contrib\n# deb x main\ndeb [a=b] x bookworm main contrib\n"
        );
        let new = "Types: deb\nSuites: bookworm\nComponents: main non-free-firmware\n";
        assert!(with_contrib(new).contains("\nComponents: main contrib non-free-firmware\n"));
        assert_eq!(with_contrib(&with_contrib(new)), with_contrib(new));
    }

    #[test]
    fn a_system_disk_begins_with_a_boot_loader_and_a_table_of_one_partition() {
        let boot = [0xeb; 512];
        let front = front(&boot, b"core").unwrap();
        assert_eq!(&front[..440], &boot[..440]);
        assert_eq!(&front[510..], b"\x55\xaacore");
        let number = |at: usize| u64::from(u32::from_le_bytes(front[at..at + 4].try_into().unwrap()));
        assert_eq!((front[446], front[450]), (0x80, 0x83));
        assert_eq!(number(454) * SECTOR, START);
        assert_eq!((number(454) + number(458)) * SECTOR, SIZE);
        assert!(super::front(&boot, &vec![0; START as usize]).is_err(), "it would lie in the partition");
        assert!(FIND_GRUB.contains(LABEL));
    }

    #[test]
    fn another_base_is_another_image() {
        let base = |name: &str| Base {
            node: format!("/c/{name}/node").into(),
            templates: "/c".into(),
            template: String::new(),
        };
        let place = |name| place("/c".into(), &base(name));
        assert_eq!(place("bookworm-amd64-2"), place("bookworm-amd64-2"));
        assert_ne!(place("bookworm-amd64-2"), place("bookworm-amd64-3"));
    }
}
