//! Somebody in the node's place who has another host key than the one that is declared: nothing is run there, by whichever
//! command, whatever a person's own settings of ssh believe.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Lab, Said, free_port};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd that lets everybody in who has the site's key, and notes that somebody came.
struct Server {
    port: u16,
    host_key: String,
    entered: PathBuf,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A new pair; the public half as a `known_hosts` file has it.
fn keygen(path: &Path) -> String {
    said("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path.to_str().unwrap()]);
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

impl Server {
    /// `authorized`: the public half of the site's key.
    fn start(folder: &Path, authorized: &str) -> Self {
        if rustix::process::geteuid().is_root() {
            // sshd of Debian wants this folder for its unprivileged half.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let host_key = keygen(&folder.join("host"));
        std::fs::write(folder.join("authorized"), format!("{authorized}\n")).unwrap();
        let (path, entered) = (folder.display(), folder.join("entered"));
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {path}/host\nAuthorizedKeysFile {path}/authorized\nPidFile none\n\
                 UsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n\
                 ForceCommand echo \"$SSH_ORIGINAL_COMMAND\" >>{path}/entered\n"
            );
            std::fs::write(folder.join("config"), config).unwrap();
            let mut child = Command::new(SSHD)
                .args(["-D", "-e", "-f", folder.join("config").to_str().unwrap()])
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let mut lines = lines.map_while(Result::ok);
            if lines.any(|line| line.starts_with("Server listening on")) {
                // What it says later must not fill the pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Self { port, host_key, entered, child };
            }
            child.wait().unwrap();
        }
        panic!("sshd did not come up on any of five ports");
    }
}

/// The site of a simulated lab, whose API is reached as any other's, and ssh leads to `server`.
struct Site {
    lab: Lab,
    path: String,
}

/// A person whose own settings believe whoever is there.
const BELIEVES: &str = "StrictHostKeyChecking no\nLogLevel ERROR\n";

impl Site {
    /// With the host key that is declared, if any, and the person's own settings of ssh.
    fn new(lab: Lab, folder: &Path, server: &Server, host_key: Option<&str>, settings: &str) -> Self {
        let record: serde_json::Value =
            serde_json::from_str(&lab.env.read(".phoenix/lab/node.json")).unwrap();
        let text = |key: &str| record[key].as_str().unwrap().to_owned();
        let host_key = host_key.map(|key| format!(r#", "host-key": "{key}""#)).unwrap_or_default();
        let target = format!(
            r#""proxmox": {{ "endpoint": "{}", "fingerprint": "{}", "token": {{ "file": ".phoenix/lab/token" }},
               "ssh": {{ "host": "127.0.0.1", "user": "{}", "port": {}, "identity": "id"{host_key} }} }}"#,
            text("endpoint"),
            text("fingerprint"),
            said("id", &["-un"]),
            server.port,
        );
        lab.env.edit("site.json", r#""lab": {}"#, &target);
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(folder.join("settings"), settings).unwrap();
        let ssh = said("sh", &["-c", "command -v ssh"]);
        let wrapper = format!("#!/bin/sh\nexec {ssh} -F {} \"$@\"\n", folder.join("settings").display());
        std::fs::write(bin.join("ssh"), wrapper).unwrap();
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Self { lab, path }
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.lab.env.command(args).env("PATH", &self.path).output().unwrap())
    }
}

/// All that goes to the node, or to a guest by way of it.
const COMMANDS: [&[&str]; 7] = [
    &["shell"],
    &["shell", "notes"],
    &["exec", "notes", "--", "true"],
    &["logs", "notes"],
    &["plan"],
    &["plan", "--no-keep"],
    &["status"],
];

/// None of them runs anything there, and each says one of these.
fn all_refused(site: &Site, server: &Server, why: &[&str]) {
    for args in COMMANDS {
        let said = site.run(args);
        assert_ne!(said.code, 0, "{args:?}: {said:#?}");
        assert!(why.iter().any(|why| said.err.contains(why)), "{args:?}: {said:#?}");
        let came = std::fs::read_to_string(&server.entered).unwrap_or_default();
        assert_eq!(came, "", "{args:?} ran something there");
    }
}

fn is_let_in(site: &Site, server: &Server) {
    let said = site.run(&["shell", "notes"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let came = std::fs::read_to_string(&server.entered).unwrap();
    assert!(came.contains("lxc-attach"), "{came}");
}

fn sshd_is_there() -> bool {
    let there = Path::new(SSHD).exists();
    if !there {
        use std::io::Write as _;
        let words = format!("skipped: {SSHD} is not installed\n");
        std::io::stderr().write_all(words.as_bytes()).unwrap();
    }
    there
}

/// A site that was applied, and a real server of ssh that lets it in.
struct Scene {
    folder: tempfile::TempDir,
    lab: Lab,
    server: Server,
    /// A key that the server has not got.
    other: String,
}

impl Scene {
    /// `None`, and a line that says why, where there is no such server.
    fn set() -> Option<Self> {
        if !sshd_is_there() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("px").tempdir().unwrap();
        let lab = Lab::up();
        lab.run(&["apply"]).ended(0);
        let authorized = keygen(&lab.env.path().join("id"));
        let server = Server::start(folder.path(), &authorized);
        let other = keygen(&folder.path().join("other"));
        Some(Self { folder, lab, server, other })
    }
}

#[test]
fn no_command_gives_itself_to_another_host_key() {
    let Some(Scene { folder, lab, server, other: declared }) = Scene::set() else { return };
    let settings = format!("{BELIEVES}UserKnownHostsFile /dev/null\n");
    let site = Site::new(lab, folder.path(), &server, Some(&declared), &settings);
    let why = ["REMOTE HOST IDENTIFICATION HAS CHANGED", "has another host key than the site declares"];
    all_refused(&site, &server, &why);
    // The same way, and the right key: it is let in.
    site.lab.env.edit("site.json", &declared, &server.host_key);
    is_let_in(&site, &server);
}

/// Nothing is declared, and the person's own settings believe whoever is there: a key that changed is believed by none, nor is
/// one that nobody knows.
#[test]
fn no_command_gives_itself_to_a_host_key_that_changed_whatever_a_persons_settings_say() {
    let Some(Scene { folder, lab, server, other: before }) = Scene::set() else { return };
    let known = folder.path().join("known");
    let knows = |key: &str| std::fs::write(&known, format!("[127.0.0.1]:{} {key}\n", server.port)).unwrap();
    let settings = format!(
        "{BELIEVES}NoHostAuthenticationForLocalhost yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\n",
        known.display()
    );
    let site = Site::new(lab, folder.path(), &server, None, &settings);
    knows(&before);
    all_refused(&site, &server, &["REMOTE HOST IDENTIFICATION HAS CHANGED", "has another host key"]);
    std::fs::write(&known, "").unwrap();
    for args in COMMANDS {
        let said = site.run(args);
        // What the API alone can tell is told.
        let with_api = ["plan", "status"].contains(&args[0]);
        assert!(said.code != 0 || with_api, "{args:?}: {said:#?}");
        let came = std::fs::read_to_string(&server.entered).unwrap_or_default();
        assert_eq!(came, "", "{args:?} ran something there");
    }
    assert_eq!(std::fs::read_to_string(&known).unwrap(), "", "nothing is learnt by the way");
    // The key that is known: it is let in.
    knows(&server.host_key);
    is_let_in(&site, &server);
}
