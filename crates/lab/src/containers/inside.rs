//! What has to happen in a mount namespace of its own, and therefore in a process of its own: the pre-start hook, which
//! mounts a container's volumes, and unpacking a template into a new root volume.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::appliances::codename;
use super::config::folder;
use super::files::Files;
use super::guest::{Guest, Mount};
use super::rootfs::RootFs;
use super::sources::{Source, for_release, parse};
use crate::up::folders::OUTSIDE;

/// Written beside the LXC configuration, for the processes that act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Preparation {
    shift: u32,
    mounts: Vec<Mount>,
    files: Files,
}

impl Preparation {
    pub(crate) fn of(guest: &Guest) -> Self {
        Self { shift: guest.shift(), mounts: guest.mounts.clone(), files: Files::of(guest) }
    }

    pub(crate) fn save(&self, id: u32) -> io::Result<()> {
        fs::create_dir_all(folder(id).join("rootfs"))?;
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let path = folder(id).join("prepare.json");
        let new = path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &path)
    }

    pub(crate) fn load(id: u32) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(folder(id).join("prepare.json"))?).map_err(io::Error::other)
    }
}

/// Runs a program to its end; what it printed is the error's text when it fails.
fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "command '{program} {}' failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Whether something is mounted at `target` in this process's mount namespace.
fn mounted(target: &Utf8Path) -> io::Result<bool> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    Ok(text.lines().any(|line| line.split(' ').nth(1) == Some(target.as_str())))
}

/// Says where a folder has to be that shows other owners, where it is the lab that keeps it from that.
fn elsewhere(source: &Utf8Path, error: io::Error) -> io::Error {
    /// `OVERLAYFS_SUPER_MAGIC`, linux/magic.h.
    const OVERLAY: i64 = 0x794c_7630;
    let overlay = rustix::fs::statfs(source.as_str()).is_ok_and(|facts| facts.f_type == OVERLAY);
    let places = OUTSIDE.map(|name| format!("/{name}")).join(", ");
    if overlay {
        io::Error::other(format!("{error}; on the lab's node, folders below {places} can"))
    } else {
        error
    }
}

/// Mounts one volume below `rootfs`.
fn mount(rootfs: &Utf8Path, mount: &Mount, shift: u32) -> io::Result<()> {
    let inside = mount.target.as_str().trim_matches('/');
    let target = if inside.is_empty() { rootfs.to_owned() } else { rootfs.join(inside) };
    // LXC runs the hook again when a guest reboots itself: the mounts are there already.
    if mounted(&target)? {
        return Ok(());
    }
    if !inside.is_empty() {
        // A symbolic link in the guest must not lead the mount elsewhere.
        let mut path = rootfs.to_owned();
        for part in inside.split('/') {
            path.push(part);
            if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
                return Err(io::Error::other(format!("symlink encountered at: {path}")));
            }
        }
        RootFs::open(rootfs, shift)?.folder(inside)?;
    }
    let mut arguments = vec!["-n"];
    arguments.push(if mount.image { "--options=loop" } else { "--bind" });
    if mount.image && mount.read_only {
        arguments[1] = "--options=loop,ro";
    }
    arguments.extend([mount.source.as_str(), target.as_str()]);
    run("mount", &arguments)?;
    // A new XFS belongs to the node's root, which nothing in an unprivileged guest ever does.
    if mount.image && !mount.read_only && shift > 0 && fs::metadata(&target)?.uid() == 0 {
        let (uid, gid) = (rustix::fs::Uid::from_raw(shift), rustix::fs::Gid::from_raw(shift));
        rustix::fs::chown(target.as_str(), Some(uid), Some(gid))?;
    }
    if let Some(idmap) = &mount.idmap {
        let [users, groups] = super::idmap::maps(idmap, shift)
            .ok_or_else(|| io::Error::other(format!("unable to parse idmap '{idmap}'")))?;
        run("perl", &["-e", super::idmap::SCRIPT, target.as_str(), &users, &groups])
            .map_err(|error| elsewhere(&mount.source, error))?;
    }
    if !mount.image && mount.read_only {
        run("mount", &["-n", "--options=remount,bind,ro", target.as_str()])?;
    }
    Ok(())
}

/// The pre-start hook: mounts the volumes of container `id` and writes the files that follow from its configuration.
///
/// # Errors
/// With the name of what could not be mounted or written.
pub(crate) fn prestart(id: u32) -> io::Result<()> {
    let preparation = Preparation::load(id)?;
    let rootfs = folder(id).join("rootfs");
    for volume in &preparation.mounts {
        mount(&rootfs, volume, preparation.shift)?;
    }
    preparation.files.write(&RootFs::open(&rootfs, preparation.shift)?)
}

/// Mounts the volume `key` of the running container `id`, whose first process is `init`. Runs in the mount namespace of
/// the container's monitor, where the volume is mounted as the hook would have done; a copy of that mount is then moved
/// into the guest, as pve-container does it.
///
/// # Errors
/// With what could not be mounted.
pub(crate) fn mount_live(id: u32, key: &str, init: u32) -> io::Result<()> {
    use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
    let preparation = Preparation::load(id)?;
    let missing = || io::Error::other(format!("the container has no volume `{key}`"));
    let volume = preparation.mounts.iter().find(|m| m.key == key).ok_or_else(missing)?.clone();
    let rootfs = folder(id).join("rootfs");
    mount(&rootfs, &volume, preparation.shift)?;
    let here = rootfs.join(volume.target.as_str().trim_matches('/'));
    let tree = open_tree(
        rustix::fs::CWD,
        here.as_str(),
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    let guest = fs::File::open(format!("/proc/{init}/ns/mnt"))?;
    // A thread of its own, since it stays in the guest; the kernel asks that it shares its root with nobody.
    let moved = std::thread::spawn(move || -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "only sharing file descriptors makes it unsafe, and FS does not concern those"
        )]
        rustix::thread::unshare(rustix::thread::UnshareFlags::FS)?;
        let kind = Some(rustix::thread::LinkNameSpaceType::Mount);
        rustix::thread::move_into_link_name_space(guest.as_fd(), kind)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(move_mount(&tree, "", rustix::fs::CWD, volume.target.as_str(), flags)?)
    });
    moved.join().map_err(|_| io::Error::other("the thread that mounts broke"))?
}

/// Unpacks `template` into the root volume of container `id`, in a mount namespace that ends with this process.
/// Returns the lines for the task's log.
///
/// # Errors
/// With what failed and what the program said.
pub(crate) fn fill(id: u32, template: &Utf8Path) -> io::Result<Vec<String>> {
    let preparation = Preparation::load(id)?;
    let shift = preparation.shift;
    let rootfs = folder(id).join("rootfs");
    let root = preparation
        .mounts
        .iter()
        .find(|m| m.target == "/")
        .ok_or_else(|| io::Error::other("the container has no root volume"))?;
    mount(&rootfs, root, shift)?;
    let mut log = vec![format!("extracting archive '{template}'")];
    log.push(unpack(template, &rootfs, shift)?);
    log.push(format!("Detected container architecture: {}", architecture()));
    let fs = RootFs::open(&rootfs, shift)?;
    fs.folder("/dev")?;
    preparation.files.write(&fs)?;
    if fs.exists("/usr/sbin/sshd") {
        for kind in ["ecdsa", "ed25519", "rsa"] {
            log.extend(host_key(id, &fs, kind, &preparation)?);
        }
    }
    machine_apt(&fs)?;
    Ok(log)
}

/// Grows the XFS in an image that nothing uses: it is mounted here, where nobody else sees it.
///
/// # Errors
/// With what failed and what the program said.
pub(crate) fn grow_xfs(image: &Utf8Path) -> io::Result<()> {
    let place = Utf8Path::new("/run/phoenix-lab-grow");
    fs::create_dir_all(place)?;
    run("mount", &["-n", "--options=loop", image.as_str(), place.as_str()])?;
    let grown = run("xfs_growfs", &[place.as_str()]);
    run("umount", &["-n", place.as_str()])?;
    grown
}

/// Debian's name of this machine's architecture.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `zstd -dc TEMPLATE | lxc-usernsexec … -- tar -x`: with the container's own user numbers.
fn unpack(template: &Utf8Path, rootfs: &Utf8Path, shift: u32) -> io::Result<String> {
    let decompress = match template.extension() {
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        Some("xz") => "xz",
        _ => return Err(io::Error::other(format!("unrecognized template file '{template}'"))),
    };
    let mut source = Command::new(decompress)
        .args(["-dc", "--", template.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let map = |kind: &str| format!("{kind}:0:{shift}:65536");
    let (users, groups) = (map("u"), map("g"));
    let mut argv: Vec<&str> = Vec::new();
    if shift > 0 {
        argv.extend(["lxc-usernsexec", "-m", &users, "-m", &groups, "--"]);
    }
    argv.extend([
        "tar",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--totals",
        "--exclude=./dev/*",
    ]);
    argv.extend(["-C", rootfs.as_str(), "-xpf", "-"]);
    let input = source.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    let output = Command::new(argv[0]).args(&argv[1..]).stdin(input).output()?;
    let source = source.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !source.status.success() || !output.status.success() {
        let why = String::from_utf8_lossy(&source.stderr);
        return Err(io::Error::other(format!(
            "unable to extract archive '{template}': {} {}",
            why.trim(),
            said.trim()
        )));
    }
    Ok(said.lines().find(|l| l.starts_with("Total bytes")).unwrap_or_default().to_owned())
}

/// A new host key, made here: a guest without one has an ssh service that fails.
fn host_key(id: u32, root: &RootFs, kind: &str, preparation: &Preparation) -> io::Result<Vec<String>> {
    let name = format!("ssh_host_{kind}_key");
    let path: Utf8PathBuf = folder(id).join(&name);
    let public = folder(id).join(format!("{name}.pub"));
    for old in [&path, &public] {
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    let comment = format!("root@{}", preparation.files.name());
    // 2048 bits are what a classroom needs; 3072 take a second on a slow machine.
    let bits: &[&str] = if kind == "rsa" { &["-b", "2048"] } else { &[] };
    let mut arguments = vec!["-q", "-t", kind, "-N", "", "-C", &comment, "-f", path.as_str()];
    arguments.extend(bits);
    run("ssh-keygen", &arguments)?;
    let shown = Command::new("ssh-keygen").args(["-lf", public.as_str()]).stdin(Stdio::null()).output()?;
    let fingerprint =
        String::from_utf8_lossy(&shown.stdout).split(' ').nth(1).map(str::to_owned).unwrap_or_default();
    root.write(&format!("/etc/ssh/{name}"), &fs::read(&path)?, 0o600)?;
    root.write(&format!("/etc/ssh/{name}.pub"), &fs::read(&public)?, 0o644)?;
    fs::remove_file(&path)?;
    fs::remove_file(&public)?;
    Ok(vec![
        format!("Creating SSH host key '{name}' - this may take some time ..."),
        format!("done: {fingerprint} {comment}"),
    ])
}

/// Where `lab up` leaves the machine's apt sources and settings, so that packages can be installed in guests.
pub(crate) const MACHINE_APT: &str = "/etc/phoenix-lab/apt";

/// The machine's apt for a guest: its archives, of the guest's release where that is another.
fn machine_apt(root: &RootFs) -> io::Result<()> {
    let folder = Utf8Path::new(MACHINE_APT);
    let own = codename(&fs::read_to_string("/etc/os-release")?);
    let guests = root.read("/etc/os-release")?.and_then(|text| codename(&text));
    if let (Some(own), Some(guests)) = (&own, &guests)
        && own != guests
    {
        let entries = fs::read_dir(folder.join("sources.list.d")).into_iter().flatten().flatten();
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let mut sources = for_release(&texts.flat_map(|text| parse(&text)).collect::<Vec<_>>(), own, guests);
        sources.sort();
        let lines: String = sources.iter().map(Source::line).collect();
        root.folder("/etc/apt/sources.list.d")?;
        root.write("/etc/apt/sources.list.d/machine.list", lines.as_bytes(), 0o644)?;
    }
    for (from, to) in [
        ("sources.list.d", "/etc/apt/sources.list.d"),
        ("apt.conf.d", "/etc/apt/apt.conf.d"),
        ("keyrings", "/usr/share/keyrings"),
    ] {
        let Ok(entries) = fs::read_dir(folder.join(from)) else { continue };
        if from == "sources.list.d" && own != guests {
            continue;
        }
        root.folder(to)?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            root.write(&format!("{to}/{name}"), &fs::read(entry.path())?, 0o644)?;
        }
    }
    Ok(())
}
