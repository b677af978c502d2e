//! A throw-away Debian root in namespaces of its own, in which scripts run for real: real packages, files and Nginx, and
//! a stand-in for systemd alone.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say why they are skipped"
)]

mod attach;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use managers::features::{Action, Outcome, Report, parse_report};

const INCLUDE: &str = "nginx-light,libnginx-mod-stream,curl,ca-certificates,iproute2,openssl,python3-minimal,libpython3-stdlib,\
     jq,gpg,gpg-agent,socat,dehydrated,pebble,apt-cacher-ng,\
     procps,chrony,openssh-server,sudo,unattended-upgrades,smartmontools,locales,ifupdown2,nftables,\
     samba,smbclient,nfs-kernel-server";

/// The unpacked base, made once and kept in the cache, or why there is none.
fn base() -> Result<&'static Path, &'static str> {
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BASE.get_or_init(make_base).as_deref().map_err(String::as_str)
}

fn make_base() -> Result<PathBuf, String> {
    if !Path::new("/proc/self/ns/net").exists() || run("id", &["-u"])?.trim() != "0" {
        return Err("needs root and namespaces".into());
    }
    let cache = cache()?;
    // Another list of packages is another root.
    let sum: String = Sha256::digest(INCLUDE).iter().take(4).map(|b| format!("{b:02x}")).collect();
    let root = cache.join(format!("features-root-{sum}"));
    let lock = fs_err::File::create(cache.join("features-root.lock")).map_err(|e| e.to_string())?;
    lock.file().lock().map_err(|e| e.to_string())?;
    if root.exists() {
        return Ok(root);
    }
    run("mmdebstrap", &["--version"])?;
    let unfinished = cache.join(format!("features-root-{sum}.unfinished"));
    let _ = fs_err::remove_dir_all(&unfinished);
    let target = unfinished.to_str().ok_or("a path that is not UTF-8")?;
    // What it mounts goes with it, however it ends.
    run(
        "unshare",
        &[
            "--mount",
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            &format!("--include={INCLUDE}"),
            "bookworm",
            target,
        ],
    )?;
    fs_err::rename(&unfinished, &root).map_err(|e| e.to_string())?;
    Ok(root)
}

/// Where what is made once is kept.
pub fn cache() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .ok_or("no cache folder")?
        .join("phoenix");
    fs_err::create_dir_all(&cache).map_err(|e| e.to_string())?;
    Ok(cache)
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!("{program} failed: {}", text(&output.stderr)));
    }
    Ok(text(&output.stdout))
}

/// A root that is gone when it is dropped.
pub struct Root {
    dir: tempfile::TempDir,
    holder: Child,
    pub inside: u32,
}

/// What a script said.
#[derive(Debug)]
pub struct Ran {
    pub reports: Vec<Report>,
    pub strange: Vec<String>,
    /// For people who look at a failure.
    pub stderr: String,
    pub code: Option<i32>,
}

impl Ran {
    /// What a command reports that is given a script on its standard input.
    pub fn of(command: &mut Command, script: &[u8]) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let script = script.to_vec();
        let feed = std::thread::spawn(move || {
            let _ = stdin.write_all(&script);
        });
        let mut errors = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut stdout = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let code = child.wait().unwrap().code();
        feed.join().unwrap();
        let (mut reports, mut strange) = (Vec::new(), Vec::new());
        for line in String::from_utf8_lossy(&stdout).lines() {
            match parse_report(line) {
                Ok(report) => reports.push(report),
                Err(_) => strange.push(line.to_owned()),
            }
        }
        Self { reports, strange, stderr: errors.join().unwrap(), code }
    }

    pub fn actions(&self) -> Vec<&Action> {
        self.reports.iter().filter_map(|r| if let Report::Action(a) = r { Some(a) } else { None }).collect()
    }

    /// Actions as `kind change target`.
    pub fn words(&self) -> Vec<String> {
        self.actions()
            .iter()
            .map(|a| format!("{:?} {:?} {}", a.kind, a.change, a.target).to_lowercase())
            .collect()
    }

    pub fn error(&self, name: &str) -> Option<&str> {
        self.reports.iter().find_map(|report| match report {
            Report::FeatureDone { feature, error, .. } if feature == name => error.as_deref(),
            _ => None,
        })
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert!(matches!(self.reports.last(), Some(Report::Done { result: Outcome::Ok, .. })), "{self:#?}");
        assert!(self.code == Some(0) && self.strange.is_empty(), "{self:#?} {}", self.stderr);
        self
    }

    #[track_caller]
    pub fn failed(&self) -> &Self {
        assert!(
            matches!(self.reports.last(), Some(Report::Done { result: Outcome::Failed, .. })),
            "{self:#?}"
        );
        assert!(self.code == Some(1) && self.strange.is_empty(), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn nothing_to_do(&self) -> &Self {
        assert_eq!(self.ok().words(), Vec::<String>::new());
        self
    }
}

impl Root {
    /// A new root, or `None` (and a line that says why) where there can be none.
    pub fn new() -> Option<Self> {
        let base = match base() {
            Ok(base) => base,
            Err(reason) => {
                println!("skipped: {reason}");
                return None;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        for name in ["layers", "root"] {
            fs_err::create_dir(dir.path().join(name)).unwrap();
        }
        let setup = include_str!("enter.sh");
        let systemctl = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/root/systemctl");
        let mut holder = Command::new("unshare")
            .args(["-m", "-p", "-n", "-u", "-i", "--fork", "--kill-child", "--propagation", "unchanged"])
            .args(["sh", "-c", setup, "sh"])
            .args([base, dir.path(), &systemctl])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the namespaces were not set up");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let inside = fs_err::read_to_string(children).unwrap().trim().parse().unwrap();
        let root = Self { dir, holder, inside };
        // Nothing runs before it is certain where.
        root.sh("test -e /run/throw-away && test ! -e /root/.cargo && test \"$(hostname)\" = fresh");
        Some(root)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.inside.to_string(), "-m", "-p", "-n", "-u", "-i"]);
        command.args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        command
    }

    /// Runs a line of shell inside; its output, which may not fail.
    #[track_caller]
    pub fn sh(&self, text: &str) -> String {
        let output = self.command().args(["sh", "-c", text]).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}: {stdout}{}", String::from_utf8_lossy(&output.stderr));
        stdout
    }

    /// Writes a file, for root alone until `sh` says otherwise.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let line = r#"umask 077; mkdir -p "${1%/*}"; cat >"$1""#;
        let mut child =
            self.command().args(["sh", "-c", line, "sh", path]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(child.wait().unwrap().success(), "{path}");
    }

    /// A line of shell that runs on; what it prints is what `wait_with_output` of it gives.
    pub fn background(&self, text: &str) -> Child {
        self.command()
            .args(["sh", "-c", text])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a script as Phoenix does: on the standard input of `sh`.
    pub fn run(&self, script: &[u8]) -> Ran {
        self.run_with(script, &["sh"])
    }

    /// The same, killed after so many seconds.
    pub fn run_killed(&self, script: &[u8], seconds: f64) -> Ran {
        // In a process group of its own, which is killed at once.
        let line = format!(
            "cat >/tmp/script; setsid sh </tmp/script & p=$!; sleep {seconds}; kill -9 -- -$p 2>/dev/null; wait $p"
        );
        self.run_with(script, &["bash", "-c", &line])
    }

    fn run_with(&self, script: &[u8], command: &[&str]) -> Ran {
        Ran::of(self.command().args(command), script)
    }

    /// Everything on the disk: paths, attributes and content, but for what changes by itself.
    pub fn picture(&self) -> String {
        self.sh(
            "find / -xdev \\( -path /proc -o -path /dev -o -path /run -o -path /tmp -o -path /var/log \\) -prune \
             -o \\( -type f -printf '%p %m %u:%g %s %T@\\n' -o -printf '%p %m %u:%g %y %l\\n' \\) | sort",
        )
    }

    /// The same without times: what a run that was interrupted must come to as well.
    pub fn end_state(&self, folders: &str) -> String {
        self.sh(&format!(
            "find {folders} -printf '%p %m %u:%g %y %l\\n' 2>/dev/null | sort; \
             find {folders} -type f -print0 2>/dev/null | sort -z | xargs -0 sha256sum"
        ))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Its namespaces, processes and mounts go with it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = self.dir.path();
    }
}
