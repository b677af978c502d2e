//! The ssh transport against the real sshd, on loopback, with keys and a configuration of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use transport::{Command, Error, KeyPair, MAX_SESSIONS, Runner, Sent, Ssh, SshOptions};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd on a free port of loopback, ended with its group when dropped.
struct Server {
    port: u16,
    host_key: String,
    child: tokio::process::Child,
    dir: tempfile::TempDir,
}

impl Server {
    fn dir(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    fn options(&self) -> SshOptions {
        SshOptions {
            destination: format!("{}@127.0.0.1", user()),
            port: self.port,
            identity: Some(self.dir().join("id")),
            host_key: Some(self.host_key.clone()),
            control_dir: self.dir().join("c"),
            keep: None,
        }
    }

    fn ssh(&self) -> Ssh {
        Ssh::new(self.options())
    }

    /// The ssh processes that name this server's folder.
    fn ssh_pids(&self) -> Vec<Pid> {
        let mine = |entry: std::io::Result<fs_err::DirEntry>| {
            let path = entry.ok()?.path();
            let line = fs_err::read(path.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            // One that was kept calls itself `ssh: SOCKET [mux]`.
            let mine = (line.starts_with("ssh\0") || line.starts_with("ssh: "))
                && line.contains(self.dir().as_str());
            if mine { Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?) } else { None }
        };
        fs_err::read_dir("/proc").unwrap().filter_map(mine).collect()
    }

    fn ssh_processes(&self) -> usize {
        self.ssh_pids().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn user() -> String {
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// A key pair of our own making, which the real programs use.
fn keygen(path: &Utf8Path) -> String {
    let pair = KeyPair::generate().unwrap();
    private::write(path, pair.private.expose_secret().as_bytes()).unwrap();
    pair.public
}

/// Starts a server, or says why this test cannot run.
async fn server(extra: &str) -> Option<Server> {
    for program in [SSHD, "/usr/bin/ssh"] {
        if !std::path::Path::new(program).exists() {
            // The real standard error, which the test harness does not hide.
            use std::io::Write as _;
            let words = format!("skipped: {program} is not installed\n");
            std::io::stderr().write_all(words.as_bytes()).unwrap();
            return None;
        }
    }
    // sshd of Debian wants this folder for its unprivileged half.
    if rustix::process::geteuid().is_root() {
        fs_err::create_dir_all("/run/sshd").unwrap();
    }
    let dir = tempfile::Builder::new().prefix("px").tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap();
    let host_key = keygen(&path.join("host"));
    let client = keygen(&path.join("id"));
    fs_err::write(path.join("authorized"), format!("{client}\n")).unwrap();
    for _ in 0..5 {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {path}/host\nAuthorizedKeysFile {path}/authorized\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n{extra}\n"
        );
        fs_err::write(path.join("config"), config).unwrap();
        let mut child = tokio::process::Command::new(SSHD)
            .args(["-D", "-e", "-f", path.join("config").as_str()])
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        while let Some(line) = said.next_line().await.unwrap() {
            if line.starts_with("Server listening on") {
                tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
                return Some(Server { port, host_key, child, dir });
            }
        }
    }
    panic!("sshd did not come up on any of five ports");
}

macro_rules! server {
    ($extra:expr) => {
        match server($extra).await {
            Some(server) => server,
            None => return,
        }
    };
    () => {
        server!("")
    };
}

mod kept;
mod through;

fn sh(script: &str) -> Command {
    Command::new("testing", ["sh", "-c", script])
}

async fn until(what: &str, mut true_of: impl FnMut() -> bool) {
    let started = Instant::now();
    while !true_of() {
        assert!(started.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn commands_arguments_and_exit_codes_pass_through() {
    let server = server!();
    let ssh = server.ssh();
    let output = ssh.run(&sh("echo out; echo err >&2; exit 42")).await.unwrap();
    assert_eq!((output.status, &*output.text(), &*output.stderr), (42, "out\n", &b"err\n"[..]));
    let argv = ["printf", "%s|", "a b", "it's", "$HOME", "", "new\nline", "\\", "ü;&"];
    assert_eq!(
        ssh.run(&Command::new("quoting", argv)).await.unwrap().text(),
        "a b|it's|$HOME||new\nline|\\|ü;&|"
    );
    assert_eq!(ssh.run(&Command::new("testing", ["/nope"])).await.unwrap().status, 127);
    assert_eq!(ssh.run(&sh("kill -9 $$")).await.unwrap().status, 137);
    ssh.close().await;
    assert_eq!(server.ssh_processes(), 0);
}

/// `pct exec` into a stopped container ends with 255, as does a failing ssh: the two must not be taken for each other.
#[tokio::test]
async fn a_command_that_ends_with_255_is_no_broken_connection() {
    let server = server!();
    let ssh = server.ssh();
    let output = ssh.run(&sh("echo \"container '250' not running!\" >&2; exit 255")).await.unwrap();
    assert_eq!((output.status, &*output.stderr), (255, &b"container '250' not running!\n"[..]));
    ssh.close().await;
}

/// The attack: what a command prints are ssh's own words for a connection that was not there, and the line breaks. It ran, and
/// is not sent again; nor when it says so much that the beginning is cut away.
#[tokio::test]
async fn a_command_that_speaks_like_ssh_ran_all_the_same() {
    let server = server!();
    let ssh = server.ssh();
    let count = server.dir().join("count");
    let words = "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535";
    let breaks = "kill -9 $(ps -o ppid= -p $PPID); sleep 20";
    let flood = "head -c 200000 /dev/zero | tr '\\0' x >&2; sleep 1";
    for before in ["true", flood] {
        fs_err::write(&count, "").unwrap();
        let script = format!("echo ran >>{count}; {before}; printf '{words}\n' >&2; sleep 1; {breaks}");
        let error = ssh.run(&sh(&script)).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }) && error.sent() == Sent::Maybe, "{error:?}");
        assert_eq!(fs_err::read_to_string(&count).unwrap(), "ran\n");
        fs_err::write(&count, "").unwrap();
        let error = ssh.hold(&sh(&script)).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }) && error.sent() == Sent::Maybe, "{error:?}");
        assert_eq!(fs_err::read_to_string(&count).unwrap(), "ran\n");
    }
    // With the status of ssh's failures, and a connection that stays.
    let output = ssh.run(&sh(&format!("printf '{words}\n' >&2; exit 255"))).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status, said), (255, format!("{words}\n")));
    ssh.close().await;
}

#[tokio::test]
async fn a_megabyte_of_input_and_lines_of_output() {
    let server = server!();
    let ssh = server.ssh();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let output = ssh.run(&Command::new("copying", ["cat"]).stdin(bytes.clone())).await.unwrap();
    assert!(output.stdout == bytes);
    let mut lines = Vec::new();
    ssh.run_lines(&sh("echo a; echo b"), &mut |line| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(lines, ["a", "b"]);
    ssh.close().await;
}

#[tokio::test]
async fn many_commands_share_one_connection_within_its_sessions() {
    let server = server!();
    let ssh = Arc::new(server.ssh());
    let mut all = tokio::task::JoinSet::new();
    for n in 0..3 * MAX_SESSIONS {
        let ssh = ssh.clone();
        all.spawn(async move {
            ssh.run(&Command::new("counting", ["echo", &n.to_string()])).await.unwrap().text().trim()
                == n.to_string()
        });
    }
    assert!(all.join_all().await.into_iter().all(|right| right));
    assert_eq!(server.ssh_processes(), 1, "one shared connection and no more");
    ssh.close().await;
    assert_eq!(server.ssh_processes(), 0);
    // And it can be used again.
    assert!(ssh.run(&Command::new("testing", ["true"])).await.unwrap().success());
    ssh.close().await;
}

#[tokio::test]
async fn dropping_it_without_closing_leaves_no_process() {
    let server = server!();
    let ssh = server.ssh();
    assert!(ssh.run(&Command::new("testing", ["true"])).await.unwrap().success());
    drop(ssh);
    until("the shared connection ends", || server.ssh_processes() == 0).await;
}

#[tokio::test]
async fn another_host_key_is_refused_before_anything_is_sent() {
    let server = server!();
    let other = keygen(&server.dir().join("other"));
    let ssh = Ssh::new(SshOptions { host_key: Some(other), ..server.options() });
    let error = ssh.run(&Command::new("testing", ["true"])).await.unwrap_err();
    assert!(matches!(error, Error::HostKey { .. }) && error.sent() == Sent::Never, "{error:?}");
    assert_eq!(server.ssh_processes(), 0);
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_no_connection_with_a_hint() {
    let server = server!();
    keygen(&server.dir().join("stranger"));
    let identity = Some(server.dir().join("stranger"));
    let error = Ssh::new(SshOptions { identity, ..server.options() })
        .run(&Command::new("testing", ["true"]))
        .await
        .unwrap_err();
    match &error {
        Error::Connect { reason, hint: Some(hint), .. } => {
            assert!(reason.contains("Permission denied") && hint.contains("ssh-copy-id"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_port_was_never_sent() {
    let server = server!();
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = silent.local_addr().unwrap().port();
    let ssh = Ssh::new(SshOptions { port, ..server.options() });
    // Those who wait for the same attempt share its outcome.
    let command = Command::new("testing", ["true"]);
    let (one, two) = tokio::join!(ssh.run(&command), ssh.run(&command));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(matches!(&error, Error::Connect { reason, .. } if reason.contains("refused")), "{error:?}");
        assert_eq!(error.sent(), Sent::Never);
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_said() {
    let options = SshOptions {
        destination: "root@127.0.0.1".to_owned(),
        port: 22,
        identity: None,
        host_key: None,
        control_dir: Utf8PathBuf::from(format!("/tmp/{}", "x".repeat(80))),
        keep: None,
    };
    let error = Ssh::new(options).run(&Command::new("testing", ["true"])).await.unwrap_err();
    assert!(format!("{error}").contains("too long for a socket"), "{error}");
}

#[tokio::test]
async fn a_time_limit_ends_the_client_and_the_connection_stays() {
    let server = server!();
    let ssh = server.ssh();
    let error = ssh.run(&sh("exec sleep 20").limit(Duration::from_millis(500))).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }) && error.sent() == Sent::Maybe, "{error:?}");
    assert_eq!(server.ssh_processes(), 1);
    assert!(ssh.run(&Command::new("testing", ["true"])).await.unwrap().success());
    ssh.close().await;
}

#[tokio::test]
async fn a_client_ends_when_the_caller_stops_waiting() {
    let server = server!();
    let ssh = Arc::new(server.ssh());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn({
        let ssh = ssh.clone();
        async move { ssh.run_lines(&sh("echo here; exec sleep 20"), &mut |_| told.send(()).unwrap()).await }
    });
    heard.recv().await.unwrap();
    assert_eq!(server.ssh_processes(), 2);
    running.abort();
    until("the client ends", || server.ssh_processes() == 1).await;
    ssh.close().await;
}

#[tokio::test]
async fn a_held_command_is_released_by_dropping_its_guard() {
    let server = server!();
    let ssh = server.ssh();
    let (pid, guard) = ssh.hold(&sh("echo $$; cat >/dev/null")).await.unwrap().unwrap();
    let there = std::path::Path::new("/proc").join(&pid);
    assert!(there.exists());
    drop(guard);
    until("the held command ends", || !there.exists()).await;
    let output = ssh.hold(&sh("echo taken >&2; exit 3")).await.unwrap().unwrap_err();
    assert_eq!((output.status, output.tail(1).raw()), (3, "taken"));
    ssh.close().await;
    assert_eq!(server.ssh_processes(), 0);
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_a_refused_one_says_so() {
    let server = server!();
    let ssh = server.ssh();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut far, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        far.write_all(&all).await.unwrap();
    });
    let mut near = ssh.connect("127.0.0.1", port, Duration::from_secs(10)).await.unwrap();
    let bytes = vec![7; 300_000];
    near.write_all(&bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let mut back = Vec::new();
    near.read_to_end(&mut back).await.unwrap();
    assert!(back == bytes);
    echo.await.unwrap();
    drop(near);
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = ssh.connect("127.0.0.1", port, Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(&error, Error::Connect { reason, .. } if reason.contains("refused")), "{error:?}");
    ssh.close().await;
    until("the tunnels end", || server.ssh_processes() == 0).await;
}

#[tokio::test]
async fn a_connection_that_was_lost_is_made_anew_and_a_break_is_not_taken_for_success() {
    let server = server!();
    let ssh = Arc::new(server.ssh());
    // The process that serves this connection is the parent of the command's shell: ending it breaks the line.
    let error = ssh.run(&sh("kill -9 $(ps -o ppid= -p $PPID); sleep 20")).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }) && error.sent() == Sent::Maybe, "{error:?}");
    assert!(ssh.run(&Command::new("testing", ["true"])).await.unwrap().success(), "a new connection");
    // The shared connection's process dies here, between two commands.
    let [master] = server.ssh_pids()[..] else { panic!("one shared connection and no more") };
    kill_process(master, Signal::KILL).unwrap();
    assert!(ssh.run(&Command::new("testing", ["true"])).await.unwrap().success(), "and another");
    ssh.close().await;
    assert_eq!(server.ssh_processes(), 0);
}

/// A kept connection proves nothing about the way in: a new one does.
#[tokio::test]
async fn a_fresh_connection_is_one_of_its_own() {
    let Some(mut server) = server("").await else { return };
    let ssh = server.ssh();
    ssh.fresh().await.unwrap();
    let mut asked =
        ssh.hold(&Command::new("holding", ["sh", "-c", "echo here; cat"])).await.unwrap().unwrap();
    assert_eq!(asked.0, "here");
    // The listener goes; the sessions it made stay, as behind a firewall that lets nobody new in.
    let listener = Pid::from_raw(server.child.id().unwrap() as i32).unwrap();
    kill_process(listener, Signal::KILL).unwrap();
    server.child.wait().await.unwrap();
    assert!(matches!(ssh.fresh().await, Err(Error::Connect { .. })));
    let output = ssh.run(&Command::new("asking", ["echo", "still"])).await.unwrap();
    assert_eq!(output.text(), "still\n");
    asked.0.clear();
    ssh.close().await;
}
