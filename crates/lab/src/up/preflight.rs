//! What this machine needs before anything is made.

use std::net::{Ipv4Addr, TcpListener};

use camino::Utf8Path;
use fs_err as fs;

use super::{Error, Ports};

/// The Debian packages that real containers need, beside what every Debian has. To be installed without recommended
/// packages: with them, `lxc` brings a bridge and a DNS server of its own onto the machine.
pub const PACKAGES: [&str; 7] =
    ["lxc", "mmdebstrap", "uidmap", "nftables", "zstd", "openssh-client", "iproute2"];

const PROGRAMS: [&str; 9] =
    ["lxc-start", "lxc-attach", "mmdebstrap", "newuidmap", "nft", "zstd", "ssh", "ssh-keygen", "ip"];

/// How [`PACKAGES`] are installed.
pub fn apt_command() -> String {
    format!("apt-get install --no-install-recommends {}", PACKAGES.join(" "))
}

/// This machine's Debian: what its guests are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// `bookworm`.
    pub codename: String,
    /// `12`.
    pub major: String,
    /// `12.11`, from `/etc/debian_version`; the major version alone before a release.
    pub version: String,
    /// `amd64`.
    pub architecture: &'static str,
}

impl Release {
    /// The template's file name, as Proxmox VE's own templates are called.
    pub(crate) fn template(&self) -> String {
        format!("debian-{}-standard_{}-1_{}.tar.zst", self.major, self.version, self.architecture)
    }

    /// Reads the machine's release files.
    pub(crate) fn read() -> Result<Self, Error> {
        let text =
            fs::read_to_string("/etc/os-release").map_err(Error::io("reading the machine's release"))?;
        let version = fs::read_to_string("/etc/debian_version").unwrap_or_default();
        Self::parse(&text, version.trim())
    }

    fn parse(os_release: &str, version: &str) -> Result<Self, Error> {
        let get = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
        };
        let found = || get("PRETTY_NAME").unwrap_or_else(|| "another system".to_owned());
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        match (get("ID").as_deref(), get("VERSION_CODENAME"), get("VERSION_ID")) {
            (Some("debian"), Some(codename), Some(major)) => {
                let version = if version.starts_with(&major) { version.to_owned() } else { major.clone() };
                Ok(Self { codename, major, version, architecture })
            }
            _ => Err(Error::NotDebian { found: found() }),
        }
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Utf8Path::new(dir).join(program).exists())
}

/// Whether real containers can run here.
///
/// # Errors
/// With the first thing that is missing; [`Error::simulated_helps`] is true for all of them.
pub fn check() -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    Release::read()?;
    let missing: Vec<String> = PROGRAMS.iter().filter(|p| !in_path(p)).map(|p| (*p).to_owned()).collect();
    if !missing.is_empty() {
        return Err(Error::Missing { missing });
    }
    if !Utf8Path::new("/dev/loop-control").exists() {
        return Err(Error::Kernel { what: "loop devices" });
    }
    Ok(())
}

/// Checks that every port can be published, but for those that the lab itself holds.
pub(crate) fn check_ports(ports: Ports, held: &[u16]) -> Result<(), Error> {
    for (what, port) in ports.named().into_iter().filter(|(_, port)| !held.contains(port)) {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            if error.kind() != std::io::ErrorKind::AddrInUse {
                return Err(Error::io(format!("publishing the lab's {what} on port {port}"))(error));
            }
            return Err(Error::PortTaken { port, what, by: listener(port) });
        }
    }
    Ok(())
}

/// Who listens on a TCP port of this machine: `nginx (process 812)`.
pub(super) fn listener(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // local address, remote address, state (0A: listening) … inode
            let listens = fields.get(3) == Some(&"0A") && fields.get(1)?.ends_with(&format!(":{port:04X}"));
            listens.then(|| fields.get(9).map(|s| (*s).to_owned()))?
        })
    })?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse::<u32>().ok()?;
        let holds = fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()));
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        holds.then(|| format!("{} (process {pid})", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_decides_the_template() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        let release = Release::parse(text, "12.11").unwrap();
        assert!(release.template().starts_with("debian-12-standard_12.11-1_"));
        assert_eq!(release.codename, "bookworm");
        // Before a release, /etc/debian_version says `trixie/sid`.
        assert_eq!(Release::parse(text, "trixie/sid").unwrap().version, "12");
        let error = Release::parse("ID=fedora\nPRETTY_NAME=\"Fedora 42\"\n", "").unwrap_err();
        assert!(error.to_string().contains("Fedora 42") && error.simulated_helps());
    }

    #[test]
    fn a_taken_port_names_its_owner_and_the_way_out() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_ports(Ports { api: port, ssh: 0, https: 0 }, &[]).unwrap_err();
        let Error::PortTaken { by, .. } = &error else { panic!("{error}") };
        assert!(by.as_ref().unwrap().contains(&std::process::id().to_string()), "{by:?}");
        assert!(error.hint().unwrap().contains("--api-port"));
    }
}
