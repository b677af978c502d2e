//! A throw-away guest: a real unprivileged container with Debian and systemd, as features find it, without a network but
//! with the packages the features name in apt's cache.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::root::{Ran, cache, run};

/// What every guest of the lab has, and what the tests look with.
const INCLUDE: &str = "systemd-sysv,iproute2,openssl,curl,ca-certificates,procps,netbase";

/// What the features under test install, kept as packages in the guest so that no test asks the network.
const PACKAGES: &str = "dnsmasq-base ldnsutils docker.io docker-registry jq fuse-overlayfs iptables apparmor ca-certificates \
                        postgresql-15 redis-server haproxy prometheus-node-exporter openssh-server openssh-client sudo python3-venv busybox-static";

/// What user numbers are shifted by, as Proxmox VE does.
const SHIFT: u32 = 100_000;

/// The name in the guest's own certificate.
pub const NAME: &str = "under-test.guest.workshop.internal";

/// One after the other: each brings a whole Debian up.
static TURN: Mutex<()> = Mutex::new(());

fn base() -> Result<&'static Path, &'static str> {
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BASE.get_or_init(make_base).as_deref().map_err(String::as_str)
}

fn make_base() -> Result<PathBuf, String> {
    if run("id", &["-u"])?.trim() != "0" {
        return Err("needs root".into());
    }
    run("lxc-start", &["--version"])?;
    let cache = cache()?;
    // By what is in it, so that a longer list makes a new one.
    let sum =
        format!("{INCLUDE} {PACKAGES}").bytes().fold(0_u32, |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
    let root = cache.join(format!("catalog-root-{sum:08x}"));
    let lock = fs_err::File::create(cache.join("catalog-root.lock")).map_err(|e| e.to_string())?;
    lock.file().lock().map_err(|e| e.to_string())?;
    if root.exists() {
        return Ok(root);
    }
    run("mmdebstrap", &["--version"])?;
    let work = tempfile::tempdir_in(&cache).map_err(|e| e.to_string())?;
    let path = |name: &str| work.path().join(name).to_string_lossy().into_owned();
    let download =
        format!("chroot \"$1\" apt-get -q -y --no-install-recommends --download-only install {PACKAGES}");
    run(
        "unshare",
        &[
            // What it mounts goes with it, however it ends.
            "--mount",
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--skip=cleanup/apt,cleanup/apt/lists",
            "--dpkgopt=force-unsafe-io",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            &format!("--include={INCLUDE}"),
            &format!("--customize-hook={download}"),
            "bookworm",
            &path("plain"),
        ],
    )?;
    let map: String = (0..=1000).chain([65534]).map(|n| format!("+{n} :{}\n", n + SHIFT)).collect();
    fs_err::write(path("map"), map).map_err(|e| e.to_string())?;
    fs_err::create_dir(path("shifted")).map_err(|e| e.to_string())?;
    let shift = include_str!("shift.sh");
    run("sh", &["-c", shift, "sh", &path("plain"), &path("shifted"), &path("map")])?;
    fs_err::rename(path("shifted"), &root).map_err(|e| e.to_string())?;
    Ok(root)
}

/// A container that is gone when it is dropped.
pub struct Guest {
    dir: tempfile::TempDir,
    name: String,
    monitor: Child,
    _keys: Keys,
    _turn: MutexGuard<'static, ()>,
}

impl Guest {
    /// A new guest with the addresses 10.0.0.53, 192.168.7.53 and 10.0.0.20, or `None` (and a line that says why) where
    /// there can be none. `name` is the test's.
    pub fn new(name: &str) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let base = match base() {
            Ok(base) => base,
            Err(reason) => {
                println!("skipped: {reason}");
                return None;
            }
        };
        println!("real containers: catalog::{name}");
        let keys = Keys::enough();
        let dir = tempfile::tempdir().unwrap();
        let container = format!("phoenix-{}-{name}", std::process::id());
        let setup = include_str!("guest.sh");
        let console = fs_err::File::create(dir.path().join("console")).unwrap().into_parts().0;
        let monitor = Command::new("unshare")
            .args(["-m", "sh", "-c", setup, "sh"])
            .args([dir.path(), base, Path::new(&container)])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let guest = Self { dir, name: container, monitor, _keys: keys, _turn: turn };
        guest.wait_until_up();
        guest.sh("mkdir -p /var/lib/phoenix && touch /var/lib/phoenix/lists
             ip link add eth0 type veth peer name far0
             ip link set eth0 up; ip link set far0 up
             ip address add 10.0.0.53/24 dev eth0; ip address add 10.0.0.20/24 dev eth0
             ip address add 192.168.7.53/24 dev eth0");
        Some(guest)
    }

    fn wait_until_up(&self) {
        let begin = Instant::now();
        loop {
            let state = self.glimpse("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            if ["running", "degraded"].contains(&state.as_str()) {
                return;
            }
            let console = || fs_err::read_to_string(self.dir.path().join("console")).unwrap_or_default();
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "{} is not up: {state} {}",
                self.name,
                console()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts it anew, as the node does at its own start.
    pub fn reboot(&self) {
        self.sh("touch /run/before-the-reboot");
        let _ = self.glimpse("systemctl reboot");
        let begin = Instant::now();
        while !self.glimpse("test ! -e /run/before-the-reboot").status.success() {
            assert!(begin.elapsed() < Duration::from_secs(60), "{} does not come back", self.name);
            std::thread::sleep(Duration::from_millis(100));
        }
        self.wait_until_up();
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.monitor.id().to_string(), "-m", "--", "lxc-attach", "--clear-env", "-P"]);
        command.arg(self.dir.path().join("lxc")).args(["-n", &self.name, "--", "env", "-i", "HOME=/root"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a line of shell inside.
    pub fn output(&self, text: &str) -> Output {
        self.command().args(["sh", "-c", text]).stdin(Stdio::null()).output().unwrap()
    }

    /// The same, for a moment at most: who asks a guest that is on its way down may never hear of it.
    fn glimpse(&self, text: &str) -> Output {
        let inside = self.command();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=2", "10"]).arg(inside.get_program()).args(inside.get_args());
        command.args(["sh", "-c", text]).stdin(Stdio::null()).output().unwrap()
    }

    /// The same, where it may not fail: what it prints.
    #[track_caller]
    pub fn sh(&self, text: &str) -> String {
        let output = self.output(text);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}: {stdout}{}", String::from_utf8_lossy(&output.stderr));
        stdout
    }

    /// Whether a line of shell fails, with all it prints.
    #[track_caller]
    pub fn fails(&self, text: &str) -> String {
        let output = self.output(text);
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(!output.status.success(), "{text}: {all}");
        all
    }

    /// Which run of a unit this is: another after every restart, the same after a reload.
    pub fn invocation(&self, unit: &str) -> String {
        self.sh(&format!("systemctl show -P InvocationID {unit}"))
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &str) {
        let mut child = self
            .command()
            .args(["sh", "-c", "mkdir -p \"${0%/*}\" && cat >\"$0\"", path])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{path}");
    }

    /// Copies a file of this machine into it.
    pub fn copy(&self, from: &Path, to: &str) {
        let from = fs_err::File::open(from).unwrap().into_parts().0;
        let status = self.command().args(["sh", "-c", "cat >\"$0\"", to]).stdin(from).status();
        assert!(status.unwrap().success(), "{to}");
    }

    /// Runs a script as Phoenix does: on the standard input of `sh`.
    pub fn run(&self, script: &[u8]) -> Ran {
        Ran::of(self.command().arg("sh"), script)
    }
}

/// The workshop's authority and the guest's own certificate, as they lie in a guest.
impl Guest {
    /// What a feature is told of the certificate.
    pub fn identity() -> plan::told::Identity {
        crate::given::identity("under-test", "guest-under-test")
    }

    /// Makes the authority, once, and a new certificate, which is put in place as a renewed one is. Its serial number.
    pub fn certify(&self) -> String {
        self.sh(&format!(
            "set -e
             mkdir -p /root/ca; cd /root/ca
             [ -e ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
                 -days 2 -subj /CN=workshop -addext basicConstraints=critical,CA:true 2>/dev/null
             cp ca.pem /usr/local/share/ca-certificates/phoenix-workshop.crt
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out leaf.csr -subj /CN={NAME} 2>/dev/null
             printf 'subjectAltName=DNS:{NAME}\\nextendedKeyUsage=serverAuth,clientAuth\\n' >leaf.ext
             openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile leaf.ext -out fullchain.pem 2>/dev/null
             to=/etc/phoenix/certificates/guest-under-test
             mkdir -p -m 0711 /etc/phoenix/certificates; mkdir -p $to
             # The owner and the mode of the key stay.
             for file in fullchain.pem key.pem; do
                 mode=0644; [ $file = fullchain.pem ] || mode=0600
                 [ -e $to/$file ] || install -m $mode /dev/null $to/$file
                 cp -p --attributes-only $to/$file $file && mv $file $to/$file
             done
             openssl x509 -noout -serial -in $to/fullchain.pem"
        ))
    }

    /// A certificate of another guest's, of the authority that [`Self::certify`] made: `PATH.crt` and `PATH.key`.
    pub fn leaf(&self, path: &str, name: &str) {
        self.sh(&format!(
            "set -e
             cd /root/ca
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {path}.key -out leaf.csr -subj /CN={name} 2>/dev/null
             printf 'subjectAltName=DNS:{name}\\nextendedKeyUsage=serverAuth,clientAuth\\n' >leaf.ext
             openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile leaf.ext -out {path}.crt 2>/dev/null"
        ));
    }

    /// The serial number of what is served, proven against the workshop's root and the guest's own name.
    pub fn served(&self, port: u16, more: &str) -> String {
        self.sh(&format!(
            "openssl s_client -connect 10.0.0.53:{port} -servername {NAME} -verify_hostname {NAME} -verify_return_error {more} \
             -CAfile /usr/local/share/ca-certificates/phoenix-workshop.crt </dev/null 2>/root/tls | openssl x509 -noout -serial \
             || {{ cat /root/tls >&2; exit 1; }}"
        ))
    }

    /// Waits until this serial number is served: after a reload of HAProxy the next worker takes a moment to be there.
    #[track_caller]
    pub fn comes_to_serve(&self, port: u16, more: &str, serial: &str) {
        let begin = Instant::now();
        while self.served(port, more) != serial {
            assert!(begin.elapsed() < Duration::from_secs(5), "the renewed certificate is not served");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Room for the session keys of many guests: each unit of each guest that was up in the last five minutes has one, all of the
/// same user of this machine, who may have 200, and runc does nothing without one (keyrings(7), `maxkeys` and `gc_delay`).
#[derive(Debug)]
struct Keys(Option<String>);

const MOST_KEYS: &str = "/proc/sys/kernel/keys/maxkeys";

impl Keys {
    fn enough() -> Self {
        let before = fs_err::read_to_string(MOST_KEYS).ok();
        let few = before.filter(|text| text.trim().parse::<u32>().is_ok_and(|most| most < 2000));
        // Where the machine does not let it be raised, what needs it says so.
        Self(few.filter(|_| fs_err::write(MOST_KEYS, "2000").is_ok()))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = fs_err::write(MOST_KEYS, before);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let monitor = self.monitor.id().to_string();
        let lxc = self.dir.path().join("lxc");
        let _ = Command::new("nsenter")
            .args(["-t", &monitor, "-m", "--", "lxc-stop", "-k", "-P"])
            .arg(lxc)
            .args(["-n", &self.name])
            .stderr(Stdio::null())
            .status();
        // Its mounts are in a namespace that ends with it.
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}
