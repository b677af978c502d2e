//! The node's base and the guests' template, built once from the machine's own Debian and kept in a cache.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::error::{Error, run};
use super::machine::lock_file;
use super::preflight::Release;
use super::{Event, Report};

/// Counted up when a base is built in another way: an older one is then not used.
const FORMAT: u32 = 2;

/// The longest a base may take to build: it downloads about 120 MB.
pub(crate) const BUILD: Duration = Duration::from_secs(1800);

/// What every guest begins with, as Proxmox VE's standard template does.
pub(crate) const GUEST: &str = "systemd,systemd-sysv,dbus,ifupdown,iproute2,iputils-ping,procps,ca-certificates,netbase,\
                     openssh-server,tzdata,isc-dhcp-client,libkmod2";

/// What the node has in addition.
///
/// `mmdebstrap` and the archive's keys are for the templates that it makes; they bring Perl, 45 MB.
const NODE: [&str; 11] = [
    "lxc",
    "lxcfs",
    "e2fsprogs",
    "xfsprogs",
    "zstd",
    "uidmap",
    "nftables",
    "bridge-utils",
    "dnsmasq-base",
    "mmdebstrap",
    "debian-archive-keyring",
];

/// Units that have no business in a container of a lab: timers that wake up, and lxc's own network.
const UNITS: [&str; 10] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "systemd-timesyncd.service",
    "lxc-net.service",
    "lxc.service",
    "lxc-monitord.service",
];

/// A finished base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// The node's root: the lower layer of every lab.
    pub node: Utf8PathBuf,
    /// The folder with the template.
    pub templates: Utf8PathBuf,
    /// The template's file name.
    pub template: String,
}

/// What the machine's apt uses: sources that name this release, and settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineApt {
    /// File name and content.
    pub sources: Vec<(String, String)>,
    /// One file of settings.
    pub settings: String,
    /// Key files in `/usr/share/keyrings` or `/etc/apt/keyrings` that the sources name: file name and content.
    pub keyrings: Vec<(String, Vec<u8>)>,
}

impl MachineApt {
    /// Reads it anew: it is never stored with the base, because it is the machine's, and may change.
    pub(crate) async fn read(release: &Release) -> Result<Self, Error> {
        let dump =
            run("reading apt's settings", &["apt-config", "dump"], b"", Duration::from_secs(20)).await?;
        let mut files: Vec<Utf8PathBuf> = vec!["/etc/apt/sources.list".into()];
        if let Ok(entries) = Utf8Path::new("/etc/apt/sources.list.d").read_dir_utf8() {
            files.extend(entries.flatten().map(|e| e.path().to_owned()));
        }
        files.sort();
        let mut sources = Vec::new();
        for file in files.iter().filter(|f| matches!(f.extension(), Some("list" | "sources"))) {
            let text = fs::read_to_string(file).unwrap_or_default();
            let used = |line: &str| {
                !line.trim_start().starts_with('#')
                    && line.split(|c: char| c.is_whitespace()).any(|w| w == release.codename)
            };
            if text.lines().any(used) {
                sources.push((file.file_name().unwrap_or_default().to_owned(), text));
            }
        }
        let keyrings = sources
            .iter()
            .flat_map(|(_, text)| text.split(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '=')))
            .filter(|word| word.starts_with('/') && (word.ends_with(".gpg") || word.ends_with(".asc")))
            // Debian's own are in the package that every Debian has.
            .filter(|word| word.starts_with("/usr/share/keyrings/") && !word.contains("debian-archive"))
            .filter_map(|word| Some((Utf8Path::new(word).file_name()?.to_owned(), fs::read(word).ok()?)))
            .collect();
        Ok(Self { sources, settings: settings(&dump), keyrings })
    }

    /// All of the sources.
    pub(crate) fn text(&self) -> String {
        self.sources.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n\n")
    }
}

/// The settings about fetching that were really set, without apt's own long defaults.
fn settings(dump: &str) -> String {
    let defaults = ["IndexTargets", "Changelogs", "CompressionTypes", "cdrom"];
    let mut out = String::new();
    for line in dump.lines() {
        let Some(rest) = line.strip_prefix("Acquire::") else { continue };
        let empty = line.ends_with(" \"\";");
        if !empty && !defaults.iter().any(|d| rest.starts_with(d)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.push_str("APT::Install-Recommends \"false\";\n");
    out
}

/// The base in `cache`, built when it is not there.
pub(crate) async fn base(cache: &Utf8Path, release: &Release, report: Report<'_>) -> Result<Base, Error> {
    super::spec::check_folder(cache)?;
    let folder = cache.join(format!("{}-{}-{FORMAT}", release.codename, release.architecture));
    let template = release.template();
    let base =
        Base { node: folder.join("node"), templates: folder.join("templates"), template: template.clone() };
    let finished = |base: &Base| base.node.exists() && base.templates.join(&base.template).exists();
    if finished(&base) {
        return Ok(base);
    }
    fs::create_dir_all(cache).map_err(Error::io(format!("making `{cache}`")))?;
    // Two labs that start at once build once; the second waits for the first.
    let _lock = lock_file(&cache.join("build.lock"), BUILD).await?;
    if finished(&base) {
        return Ok(base);
    }
    if let (true, Some(older)) = (base.node.exists(), any_template(&base.templates)) {
        // The machine got a point release since: the base is as good as it was. Its name is what it was built from.
        return Ok(Base { template: older, ..base });
    }
    build(&folder, &base, release, report).await?;
    Ok(base)
}

fn any_template(folder: &Utf8Path) -> Option<String> {
    let mut entries = folder.read_dir_utf8().ok()?;
    entries.find_map(|e| Some(e.ok()?.file_name().to_owned()).filter(|name| name.ends_with(".tar.zst")))
}

async fn build(folder: &Utf8Path, base: &Base, release: &Release, report: Report<'_>) -> Result<(), Error> {
    let io = |what: &str| Error::io(what.to_owned());
    let work = folder.with_extension("building");
    // What a build that was cut off left. Held by the lock, so nobody works in it.
    remove(&work).await?;
    fs::create_dir_all(work.join("tmp")).map_err(io("making the build folder"))?;
    let apt = MachineApt::read(release).await?;
    if apt.sources.is_empty() {
        return Err(Error::NotDebian {
            found: format!("one whose apt has no source for {}", release.codename),
        });
    }
    let conf = work.join("apt.conf");
    fs::write(&conf, &apt.settings).map_err(io("writing apt's settings"))?;

    report(Event::doing("building a small Debian for the guests", 65));
    let guest = work.join("guest");
    bootstrap(&release.codename, &apt.text(), &conf, &work.join("tmp"), &guest, GUEST).await?;

    report(Event::doing("adding the node's programs to it", 15));
    let node = work.join("node");
    // The package lists are still in it: they need not be fetched again.
    run("copying the guests' Debian", &["cp", "-a", guest.as_str(), node.as_str()], b"", BUILD).await?;
    install_node(&node, &apt).await?;

    report(Event::doing("packing the template", 3));
    clean(&node).await?;
    let templates = work.join("templates");
    fs::create_dir_all(&templates).map_err(io("making the template folder"))?;
    pack(&guest, &templates.join(&base.template)).await?;
    remove(folder).await?;
    fs::rename(&work, folder).map_err(io("putting the base in place"))
}

/// Makes a Debian of that release in `root`, with these packages, from `sources` of apt and a file of apt's settings. `tmp` is a
/// folder that is there.
pub(crate) async fn bootstrap(
    codename: &str,
    sources: &str,
    conf: &Utf8Path,
    tmp: &Utf8Path,
    root: &Utf8Path,
    packages: &str,
) -> Result<(), Error> {
    let tmp = format!("TMPDIR={tmp}");
    let aptopt = format!("--aptopt={conf}");
    let include = format!("--include={packages}");
    let argv = [
        // What it mounts goes with it, however it ends: a build that was cut off can be removed.
        "unshare",
        "--mount",
        "env",
        &tmp,
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        &aptopt,
        // Nothing is lost when power fails during a build that would be started anew.
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--skip=cleanup/apt/lists",
        &include,
        codename,
        root.as_str(),
        "-",
    ];
    run("building a Debian", &argv, sources.as_bytes(), BUILD).await.map(drop)
}

/// Cleans what was made in `root`, packs it into a template, and removes it.
pub(crate) async fn pack(root: &Utf8Path, file: &Utf8Path) -> Result<(), Error> {
    clean(root).await?;
    let argv = [
        "tar",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--use-compress-program=zstd -q -T0 -3",
        "-C",
        root.as_str(),
        "-cf",
        file.as_str(),
        ".",
    ];
    run("packing the template", &argv, b"", BUILD).await?;
    remove(root).await
}

/// Makes the folder of made templates, and takes away what stood in for the template of an earlier start of this lab.
pub(crate) fn prepare_templates(lab: &Utf8Path, cache: &Utf8Path) -> Result<(), Error> {
    let made = made_folder(cache);
    fs::create_dir_all(&made).map_err(Error::io(format!("making `{made}`")))?;
    let own = lab.join("upper/var/lib/vz/template/cache");
    for entry in own.read_dir_utf8().into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|facts| facts.len() == 0) {
            fs::remove_file(entry.path()).map_err(Error::io(format!("removing `{}`", entry.path())))?;
        }
    }
    Ok(())
}

/// Where templates that labs made themselves are kept, for all labs of this machine.
pub(crate) fn made_folder(cache: &Utf8Path) -> Utf8PathBuf {
    cache.join(format!("templates-{FORMAT}"))
}

async fn install_node(node: &Utf8Path, apt: &MachineApt) -> Result<(), Error> {
    prepare_install(node, apt)?;
    let mut argv = vec!["env", "DEBIAN_FRONTEND=noninteractive", "chroot", node.as_str(), "apt-get", "-qq"];
    argv.extend(["-o", "Dpkg::Options::=--force-unsafe-io", "install", "-y"]);
    argv.extend(NODE);
    run("installing the node's programs", &argv, b"", BUILD).await?;
    run("emptying apt's cache", &["chroot", node.as_str(), "apt-get", "clean"], b"", BUILD).await?;
    finish_install(node)
}

/// Keeps services from starting while packages are installed in `root`.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Lets apt install something in `root` that no system runs in.
pub(crate) fn prepare_install(root: &Utf8Path, apt: &MachineApt) -> Result<(), Error> {
    let io = |what: &str| Error::io(what.to_owned());
    let policy = root.join(POLICY);
    fs::write(&policy, "#!/bin/sh\nexit 101\n")
        .and_then(|()| fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o755)))
        .map_err(io("keeping services from starting during the build"))?;
    let resolver: String = super::machine::resolvers().iter().map(|a| format!("nameserver {a}\n")).collect();
    fs::write(root.join("etc/resolv.conf"), resolver).map_err(io("writing the build's resolver"))?;
    fs::write(root.join("etc/apt/apt.conf.d/99machine"), &apt.settings).map_err(io("writing apt's settings"))
}

/// Lets services start again.
pub(crate) fn finish_install(root: &Utf8Path) -> Result<(), Error> {
    fs::remove_file(root.join(POLICY)).map_err(Error::io("letting services start again"))
}

/// Removes what belongs to the machine or to one installation alone.
pub(crate) async fn clean(root: &Utf8Path) -> Result<(), Error> {
    let failed = |what: &Utf8Path| Error::io(format!("cleaning `{what}`"));
    for gone in [
        // mmdebstrap copies the machine's.
        "etc/hostname",
        "etc/resolv.conf",
        "etc/apt/sources.list",
        "etc/apt/apt.conf.d/99machine",
        "var/lib/dbus/machine-id",
    ] {
        let path = root.join(gone);
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    for (folder, wanted) in [
        ("etc/ssh", "ssh_host_"),
        ("etc/apt/sources.list.d", ""),
        ("var/lib/apt/lists", ""),
        ("var/cache/apt", "pkgcache.bin"),
        ("var/cache/apt", "srcpkgcache.bin"),
    ] {
        let Ok(entries) = root.join(folder).read_dir_utf8() else { continue };
        for entry in entries.flatten().filter(|e| e.file_name().starts_with(wanted)) {
            remove(entry.path()).await?;
        }
    }
    let id = root.join("etc/machine-id");
    fs::write(&id, "").map_err(failed(&id))?;
    let system = root.join("etc/systemd/system");
    let wants = system.read_dir_utf8().map_err(failed(&system))?;
    for folder in wants.flatten().filter(|e| e.file_name().ends_with(".wants")) {
        for unit in UNITS {
            let link = folder.path().join(unit);
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link).map_err(failed(&link))?;
            }
        }
    }
    let default = system.join("default.target");
    if default.symlink_metadata().is_ok() {
        fs::remove_file(&default).map_err(failed(&default))?;
    }
    fs::os::unix::fs::symlink("/lib/systemd/system/multi-user.target", &default).map_err(failed(&default))
}

/// Removes a file or a folder, on this file system alone: whatever is mounted below stays whole.
pub(crate) async fn remove(path: &Utf8Path) -> Result<(), Error> {
    run("removing a folder", &["rm", "-rf", "--one-file-system", "--", path.as_str()], b"", BUILD)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_set_about_fetching_goes_into_the_lab() {
        let dump = "APT \"\";\nAcquire \"\";\nAcquire::Check-Date \"false\";\nAcquire::IndexTargets::deb::X \"y\";\n\
                    Acquire::http::Proxy \"http://10.0.0.5:3142\";\nAcquire::Languages \"\";\nDir \"/\";\n";
        assert_eq!(
            settings(dump),
            "Acquire::Check-Date \"false\";\nAcquire::http::Proxy \"http://10.0.0.5:3142\";\nAPT::Install-Recommends \"false\";\n"
        );
    }
}
