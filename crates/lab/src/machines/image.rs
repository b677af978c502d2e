//! The lab's own disk image: a small Debian with cloud-init and the guest agent, made from Debian's packages when it is first
//! asked for, and kept for all labs of the computer.
//!
//! It has no boot loader: a machine whose disk is a copy of it is started by its kernel, which is kept beside it. Any other
//! disk is started by the machine's firmware.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::programs;
use crate::containers::{MACHINE_APT, steps};
use crate::runtime::{TaskError, TaskLog};

/// Where all that is made for machines is kept, in the node; `lab up` binds a folder of this computer there.
pub(super) const MACHINES: &str = "/var/cache/phoenix-lab/machines";

/// What the image is called among the storage's images.
pub(crate) const NAME: &str = "debian-12-lab-amd64.qcow2";

/// The release that it is made of.
const RELEASE: &str = "bookworm";

/// The size of its disk in bytes; a machine's own can be made larger.
pub(crate) const SIZE: u64 = 2 << 30;

/// Counted up when it is made in another way: an older one is then not used.
const FORMAT: u32 = 3;

/// What is in it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,iproute2,ifupdown,isc-dhcp-client,resolvconf,iputils-ping,procps,\
                        ca-certificates,netbase,openssh-server,tzdata,cloud-init,qemu-guest-agent,cloud-guest-utils,\
                        e2fsprogs,sudo,initramfs-tools,linux-image-cloud-amd64";

/// What the file system is called, by which the kernel finds it.
pub(super) const LABEL: &str = "phoenix-lab";

/// Making it downloads about 150 MB.
const MAKE: Duration = Duration::from_secs(1800);

/// The image, its kernel and what the kernel starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    pub disk: Utf8PathBuf,
    pub kernel: Utf8PathBuf,
    pub initrd: Utf8PathBuf,
}

fn folder() -> Utf8PathBuf {
    Utf8Path::new(MACHINES).join(format!("image-{FORMAT}"))
}

/// Where it is, made or not.
pub(super) fn own() -> Own {
    let folder = folder();
    Own { disk: folder.join(NAME), kernel: folder.join("vmlinuz"), initrd: folder.join("initrd") }
}

/// Whether a file is the lab's own image.
pub(super) fn is_own(path: &Utf8Path) -> bool {
    path == own().disk
}

/// Two labs that want something at once make it once; the second waits for the first.
pub(super) async fn locked() -> Result<crate::up::Lock, TaskError> {
    let file = Utf8Path::new(MACHINES).join("make.lock");
    steps::lock(&file, MAKE).await
}

/// Makes a root with these packages of Debian and what they need.
pub(super) async fn bootstrap(packages: &str, root: &Utf8Path) -> Result<(), TaskError> {
    let tmp = root.with_extension("tmp");
    fs::create_dir_all(&tmp).map_err(|error| TaskError(format!("unable to make '{tmp}' - {error}")))?;
    let sources = steps::sources(RELEASE)?;
    let tmpdir = format!("TMPDIR={tmp}");
    let (aptopt, include) =
        (format!("--aptopt={MACHINE_APT}/apt.conf.d/99machine"), format!("--include={packages}"));
    let argv = [
        "env",
        &tmpdir,
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        &aptopt,
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        &include,
        RELEASE,
        root.as_str(),
        "-",
    ];
    steps::run("making a Debian for machines", &argv, sources.as_bytes(), MAKE).await?;
    steps::remove(&tmp).await
}

/// Makes it, where it is not there.
pub(super) async fn make(log: &TaskLog) -> Result<(), TaskError> {
    programs::make(log).await?;
    if folder().exists() {
        return Ok(());
    }
    let _lock = locked().await?;
    if folder().exists() {
        return Ok(());
    }
    log.line("making the lab's own image, once, from Debian's packages");
    let io = |error: std::io::Error| TaskError(format!("unable to make the lab's image - {error}"));
    let work = folder().with_extension("making");
    // What one that was cut off left.
    steps::remove(&work).await?;
    let (root, raw) = (work.join("root"), work.join("disk.raw"));
    fs::create_dir_all(&work).map_err(io)?;
    bootstrap(PACKAGES, &root).await?;
    for (name, kept) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd")] {
        let found = root.join("boot").read_dir_utf8().map_err(io)?.flatten();
        let found = found.into_iter().find(|entry| entry.file_name().starts_with(name));
        let found =
            found.ok_or_else(|| TaskError(format!("unable to make the lab's image - no {name} in it")))?;
        fs::copy(found.path(), work.join(kept)).map_err(io)?;
    }
    for gone in ["etc/hostname", "etc/resolv.conf"] {
        // One that is not there need not go.
        let _ = fs::remove_file(root.join(gone));
    }
    // What cloud-init has ifupdown say of name servers goes there.
    std::os::unix::fs::symlink("/run/resolvconf/resolv.conf", root.join("etc/resolv.conf")).map_err(io)?;
    // No datasource but the drive is looked for: each would be waited for.
    let files = [
        ("etc/machine-id", String::new()),
        ("etc/fstab", format!("LABEL={LABEL} / ext4 errors=remount-ro 0 1\n")),
        ("etc/cloud/cloud.cfg.d/90-lab.cfg", "datasource_list: [ NoCloud, None ]\n".to_owned()),
    ];
    for (path, text) in files {
        fs::write(root.join(path), text).map_err(io)?;
    }
    fs::File::create(&raw).and_then(|file| file.set_len(SIZE)).map_err(io)?;
    let argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-d", root.as_str(), raw.as_str()];
    steps::run("making the image's file system", &argv, b"", MAKE).await?;
    let disk = work.join(NAME);
    programs::run(&["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.as_str(), disk.as_str()], MAKE)
        .await?;
    steps::remove(&root).await?;
    steps::remove(&raw).await?;
    fs::rename(&work, folder()).map_err(io)
}
