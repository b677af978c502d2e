//! Volumes as raw images: making them, growing them, freeing them.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::guest::{Guest, Mount, volume_path};
use super::run::{output, run, run_for};
use crate::runtime::{TaskError, TaskLog};

/// Making or checking a file system in a sparse image takes seconds; a machine under load gets more.
const SLOW: Duration = Duration::from_secs(300);

/// Below this, `mkfs.xfs` refuses.
const XFS_LEAST: u64 = 300 << 20;

/// When a volume's size is not known from its configuration.
const DEFAULT: u64 = 4 << 30;

fn failed(what: &str, path: &Utf8Path, error: &io::Error) -> TaskError {
    TaskError(format!("unable to {what} '{path}' - {error}"))
}

/// Whether this system may grow a mounted ext4. It takes `CAP_SYS_RESOURCE` (bit 24 of the capabilities), which a
/// machine that is a container itself may lack. XFS asks only for `CAP_SYS_ADMIN`.
fn may_grow_ext4() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .is_some_and(|bits| bits & (1 << 24) != 0)
    })
}

/// Makes an image with an empty file system that belongs to the guest's root.
pub(crate) async fn allocate(guest: &Guest, mount: &Mount, log: &TaskLog) -> Result<(), TaskError> {
    let path = &mount.source;
    let size = mount.bytes.unwrap_or(DEFAULT);
    log.line(format!("Formatting '{path}', fmt=raw size={size} preallocation=off"));
    let make = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // What a creation that was cut off left is started anew.
        fs::File::create(path)?.set_len(size)
    };
    make().map_err(|error| failed("create image", path, &error))?;
    let made = if size >= XFS_LEAST && !may_grow_ext4() {
        run_for(&["mkfs.xfs", "-q", "-f", path.as_str()], SLOW).await.map(drop)
    } else {
        let owner =
            format!("root_owner={0}:{0},nodiscard,lazy_itable_init=1,lazy_journal_init=1", guest.shift());
        run_for(&["mkfs.ext4", "-F", "-E", &owner, path.as_str()], SLOW).await.map(|output| {
            for line in output
                .text()
                .lines()
                .filter(|l| l.starts_with("Creating file") || l.starts_with("Filesystem"))
            {
                log.line(line);
            }
        })
    };
    if made.is_err() {
        // The error that is told is the one that came first.
        let _ = fs::remove_file(path);
    }
    made
}

/// Removes an image; one that is gone already is what was wanted.
pub(crate) fn free(path: &Utf8Path) -> Result<(), TaskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("free volume", path, &error)),
        _ => {
            // Proxmox VE leaves no empty folder behind either; one that holds more volumes stays.
            if let Some(folder) = path.parent() {
                let _ = fs::remove_dir(folder);
            }
            Ok(())
        }
    }
}

/// The image that a freed volume id names; `None` for a bind mount, which is never deleted.
pub(crate) fn freed_path(volume: &str, id: u32) -> Result<Option<Utf8PathBuf>, TaskError> {
    if volume.starts_with('/') { Ok(None) } else { volume_path(volume, id).map(Some) }
}

/// Grows an image and its file system. `init` is the guest's first process when it runs.
pub(crate) async fn grow(
    id: u32,
    mount: &Mount,
    bytes: u64,
    init: Option<u32>,
    log: &TaskLog,
) -> Result<(), TaskError> {
    let path = &mount.source;
    let resize = || -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        // Called again after a cut, it is long enough already, and never made shorter.
        if file.metadata()?.len() < bytes { file.set_len(bytes) } else { Ok(()) }
    };
    resize().map_err(|error| failed("resize image", path, &error))?;
    log.line("Image resized.");
    match init {
        Some(init) => grow_mounted(id, mount, init).await,
        None => grow_at_rest(path, log).await,
    }
}

/// Grows the file system while the guest uses it, from the monitor's mount namespace, where the image is mounted.
async fn grow_mounted(id: u32, mount: &Mount, init: u32) -> Result<(), TaskError> {
    let lost = || TaskError(format!("unable to find the mount of '{}'", mount.source));
    let monitor = parent(init).ok_or_else(lost)?;
    let target = super::config::folder(id).join("rootfs");
    let inside = mount.target.as_str().trim_matches('/');
    let target = if inside.is_empty() { target } else { target.join(inside) };
    let mounts = fs::read_to_string(format!("/proc/{monitor}/mounts")).map_err(|_| lost())?;
    let (device, kind) = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (place == target.as_str()).then(|| (device.to_owned(), kind.to_owned()))
        })
        .next_back()
        .ok_or_else(lost)?;
    let monitor = monitor.to_string();
    let inside = |argv: &[&str]| -> Vec<String> {
        ["nsenter", "-t", &monitor, "-m", "--"].iter().chain(argv).map(|s| (*s).to_owned()).collect()
    };
    let grow: &[&str] =
        if kind == "xfs" { &["xfs_growfs", target.as_str()] } else { &["resize2fs", device.as_str()] };
    for argv in [inside(&["losetup", "-c", &device]), inside(grow)] {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        run_for(&argv, SLOW).await?;
    }
    Ok(())
}

/// Grows the file system of an image that nothing uses.
async fn grow_at_rest(path: &Utf8Path, log: &TaskLog) -> Result<(), TaskError> {
    let kind = run(&["blkid", "-p", "-o", "value", "-s", "TYPE", path.as_str()]).await?;
    if kind.text().trim() == "xfs" {
        // XFS grows only while it is mounted: this process mounts it where nobody else sees it.
        let program = super::program()?;
        let argv = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            &program,
            "lab",
            "node",
            "grow-xfs",
            path.as_str(),
        ];
        return run_for(&argv, SLOW).await.map(drop);
    }
    let check = output(&["e2fsck", "-f", "-y", path.as_str()], SLOW).await?;
    for line in check.text().lines() {
        log.line(line);
    }
    // 1 and 2 say that something was repaired.
    if check.status > 2 {
        return Err(TaskError(format!("command 'e2fsck -f -y {path}' failed: exit code {}", check.status)));
    }
    run_for(&["resize2fs", path.as_str()], SLOW).await.map(drop)
}

/// The parent of a process: of a guest's first one, its monitor.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
