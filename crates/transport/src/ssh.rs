//! Another machine, by the system's OpenSSH over one shared connection.
//!
//! The shared connection (ssh calls it the master) runs `cat` on the far side and ends with its standard input. So it
//! lives exactly as long as this process wants it to, even when this process is killed. Commands are clients of it:
//! one TCP connection and one handshake, however many commands. They are kept from falling back to a connection of
//! their own (`ProxyCommand=false`), so that what never left can be told from what broke on the way.

mod connect;
mod failure;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::process::{self, HeldProcess};
use crate::{Command, Error, Held, Output, Runner, Stream};

/// How many commands run at once over one connection. sshd allows ten sessions a connection (`MaxSessions`,
/// sshd_config(5)); the shared connection itself takes one, and one is left for a person.
pub const MAX_SESSIONS: usize = 8;

/// How long making the connection may take in all: ssh's own limit for TCP and the key exchange is
/// `ConnectTimeout=10`, and logging in comes after it.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// How long the shared connection may take to end. It ends at once, except when a command that was given up still runs on
/// the far side, and nobody waits for that.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// What a Unix socket's path may be long, with its closing zero (unix(7): 108; 104 on other systems), less the 17 that
/// ssh appends while it makes the socket.
const LONGEST_SOCKET_PATH: usize = 104 - 1 - 17;

/// Printed on standard error after a command that itself ended with 255, which ssh also uses for its own failures.
const REMOTE_255: &str = "\u{1}remote-255\u{1}";

/// Where an ssh connection goes, and what proves that it got there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshOptions {
    /// `user@host` or `host`, as ssh takes it.
    pub destination: String,
    /// The port.
    pub port: u16,
    /// The private key; ssh's own choice without one.
    pub identity: Option<Utf8PathBuf>,
    /// The host key, as a `known_hosts` file has it: `ssh-ed25519 AAAA…`. When it is declared, nothing else is
    /// believed; when not, the user's own ssh settings and known hosts decide.
    pub host_key: Option<String>,
    /// A folder of this process alone, with a short path (Unix sockets are limited to about 100 bytes). It is made
    /// when missing, with mode 0700.
    pub control_dir: Utf8PathBuf,
}

/// Runs commands on another machine over ssh.
///
/// A command that is given up (its time is up, or the caller stops waiting) ends here at once; on the far side it may
/// run on, since ssh without a terminal passes no signal. [`Error::sent`] says so.
#[derive(Debug)]
pub struct Ssh {
    options: SshOptions,
    socket: Utf8PathBuf,
    master: Mutex<Master>,
    sessions: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Master {
    process: Option<HeldProcess>,
    /// The last attempt that failed, and what was said: those who were waiting for that attempt share its outcome,
    /// so that twenty commands to a dead host fail after one time limit, not after twenty.
    failed: Option<(Instant, Output)>,
}

impl Ssh {
    /// Prepares a connection; it is made when the first command needs it.
    pub fn new(options: SshOptions) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // A name of its own for every connection of every process, so that none closes another's.
        let mut hasher = DefaultHasher::new();
        (&options, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        let socket = options.control_dir.join(format!("{:016x}", hasher.finish()));
        Self { options, socket, master: Mutex::default(), sessions: Arc::new(Semaphore::new(MAX_SESSIONS)) }
    }

    /// Closes the shared connection and waits until its process is gone. The next command opens it again.
    pub async fn close(&self) {
        let process = self.master.lock().await.process.take();
        if let Some(process) = process {
            process.close(CLOSE_GRACE).await;
        }
        for path in [self.socket.clone(), self.known_hosts()] {
            // ssh removes its socket itself; the list is there only when a key is declared.
            let _ = fs_err::tokio::remove_file(path).await;
        }
    }

    fn host(&self) -> &str {
        self.options.destination.rsplit_once('@').map_or(self.options.destination.as_str(), |(_, host)| host)
    }

    fn known_hosts(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{}.hosts", self.socket))
    }

    /// The options every ssh process gets, with the socket of the shared connection.
    fn base(&self) -> Vec<String> {
        self.base_with(&escaped(&self.socket))
    }

    fn base_with(&self, socket: &str) -> Vec<String> {
        let mut argv: Vec<String> = ["ssh", "-T", "-x", "-a", "-p", &self.options.port.to_string(), "-S"]
            .into_iter()
            .chain([socket])
            .map(str::to_owned)
            .collect();
        let mut option = |value: String| argv.extend(["-o".to_owned(), value]);
        // ControlPersist=no: the connection ends with the process that holds it, never by a timer of its own.
        for fixed in ["BatchMode=yes", "ControlPersist=no", "ConnectTimeout=10", "EscapeChar=none"] {
            option(fixed.to_owned());
        }
        // A dead line is noticed within 15 seconds.
        for fixed in ["ServerAliveInterval=5", "ServerAliveCountMax=3", "PermitLocalCommand=no"] {
            option(fixed.to_owned());
        }
        if let Some(identity) = &self.options.identity {
            option(format!("IdentityFile=\"{}\"", escaped(identity)));
            option("IdentitiesOnly=yes".to_owned());
        }
        if self.options.host_key.is_some() {
            option(format!("UserKnownHostsFile=\"{}\"", escaped(&self.known_hosts())));
            option(format!("HostKeyAlias={}", self.host()));
            for fixed in [
                "GlobalKnownHostsFile=/dev/null",
                "StrictHostKeyChecking=yes",
                "UpdateHostKeys=no",
                "CheckHostIP=no",
            ] {
                option(fixed.to_owned());
            }
        }
        argv
    }

    fn master_argv(&self) -> Vec<String> {
        let mut argv = self.base();
        argv.extend(["-o", "ControlMaster=yes", "-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.push(self.options.destination.clone());
        argv.push("echo ready && exec cat >/dev/null".to_owned());
        argv
    }

    /// A connection of its own, for one command.
    fn own_argv(&self) -> Vec<String> {
        let mut argv = self.base_with("none");
        argv.extend(["-o", "ControlMaster=no", "-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.extend([self.options.destination.clone(), "true".to_owned()]);
        argv
    }

    /// The options of a client of the shared connection, which never makes a connection of its own.
    fn client(&self) -> Vec<String> {
        let mut argv = self.base();
        argv.extend(["-o", "ControlMaster=no", "-o", "ProxyCommand=false"].map(str::to_owned));
        argv
    }

    fn client_argv(&self, command: &Command) -> Vec<String> {
        // `sh -c` with the arguments after it needs nothing of the login shell but single quotes.
        let script = format!(
            r#""$@"; s=$?; if [ "$s" -eq 255 ]; then printf '%s\n' '{REMOTE_255}' >&2; fi; exit "$s""#
        );
        let remote = shell_words::join(
            ["sh", "-c", &script, "sh"].into_iter().chain(command.argv.iter().map(String::as_str)),
        );
        let mut argv = self.client();
        argv.extend(["-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.push(self.options.destination.clone());
        argv.push(remote);
        argv
    }

    /// Makes the shared connection unless it is there.
    async fn ready(&self) -> Result<(), Error> {
        let asked = Instant::now();
        let mut master = self.master.lock().await;
        match &master.process {
            Some(process) if !process.ended() => return Ok(()),
            _ => master.process = None,
        }
        if let Some((_, output)) = master.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(failure::connecting(&self.options, output));
        }
        self.prepare().await?;
        let command = Command::new("connecting", Vec::<String>::new()).limit(CONNECT_LIMIT);
        match process::hold(&self.master_argv(), &command, &self.place()).await {
            Ok(Ok((_, process))) => {
                master.process = Some(process);
                master.failed = None;
                Ok(())
            }
            Ok(Err(output)) => {
                let error = failure::connecting(&self.options, &output);
                master.failed = Some((Instant::now(), output));
                Err(error)
            }
            // Nothing but `echo` was sent: as far as commands go, nothing was.
            Err(Error::TimedOut { .. }) => {
                let said = format!("no answer within {} seconds", CONNECT_LIMIT.as_secs());
                let output = Output { status: 255, stdout: Vec::new(), stderr: said.into() };
                let error = failure::connecting(&self.options, &output);
                master.failed = Some((Instant::now(), output));
                Err(error)
            }
            Err(Error::Io { source, .. }) => {
                Err(Error::Connect { place: self.place(), reason: source.to_string(), hint: None })
            }
            Err(other) => Err(other),
        }
    }

    /// The folder of the socket, and the list of the one host key that is believed.
    async fn prepare(&self) -> Result<(), Error> {
        let failed = |reason: String, hint: &str| Error::Connect {
            place: self.place(),
            reason,
            hint: Some(hint.to_owned()),
        };
        if self.socket.as_str().len() > LONGEST_SOCKET_PATH {
            return Err(failed(
                format!("the path {} is too long for a socket", self.socket),
                "use a control folder with a shorter path",
            ));
        }
        let made = async {
            fs_err::tokio::create_dir_all(&self.options.control_dir).await?;
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs_err::tokio::set_permissions(&self.options.control_dir, private).await?;
            // A master that was killed leaves its socket, and the next one would not share what it finds taken.
            match fs_err::tokio::remove_file(&self.socket).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if let Some(key) = &self.options.host_key {
                fs_err::tokio::write(self.known_hosts(), format!("{} {}\n", self.host(), key.trim())).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        made.await.map_err(|error| failed(error.to_string(), "make the control folder writable"))
    }

    /// A place among the sessions of the connection, within the command's own limit.
    async fn session(&self, limit: Duration) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(limit, self.sessions.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::Connect {
                place: self.place(),
                reason: format!("all {MAX_SESSIONS} sessions of the connection were busy for {limit:?}"),
                hint: None,
            }),
        }
    }

    /// What a finished client's output means: the command's own end, or ssh's.
    fn judge(&self, mut output: Output, command: &Command) -> Result<Ended, Error> {
        if output.status != 255 {
            return Ok(Ended::Itself(output));
        }
        let marker = format!("{REMOTE_255}\n");
        let at = output.stderr.windows(marker.len()).rposition(|window| window == marker.as_bytes());
        match at {
            Some(at) => {
                output.stderr.drain(at..at + marker.len());
                Ok(Ended::Itself(output))
            }
            None => failure::running(&self.options, &output, &command.purpose).map(|()| Ended::NeverLeft),
        }
    }

    /// One attempt at a command over the connection as it is, made first when it is not there.
    async fn attempt(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Ended, Error> {
        self.ready().await?;
        let output = process::run(&self.client_argv(command), command, &self.place(), line).await?;
        self.judge(output, command)
    }

    async fn attempt_hold(&self, command: &Command) -> Result<Result<(String, HeldProcess), Ended>, Error> {
        self.ready().await?;
        match process::hold(&self.client_argv(command), command, &self.place()).await? {
            Ok(held) => Ok(Ok(held)),
            Err(output) => self.judge(output, command).map(Err),
        }
    }

    /// The shared connection was gone when a client asked for it: let go of it, so that the next one makes it anew.
    async fn forget(&self) {
        let process = self.master.lock().await.process.take();
        if let Some(process) = process {
            process.close(CLOSE_GRACE).await;
        }
    }

    fn gone(&self) -> Error {
        Error::Connect {
            place: failure::place(&self.options),
            reason: "the shared connection was lost twice before the command left".to_owned(),
            hint: None,
        }
    }
}

/// How a client of the shared connection ended.
enum Ended {
    /// The command came to its end.
    Itself(Output),
    /// The shared connection was not there: nothing left this machine.
    NeverLeft,
}

/// A held command and its place among the sessions.
#[derive(Debug)]
struct HeldSession {
    _process: HeldProcess,
    _session: OwnedSemaphorePermit,
}

impl Held for HeldSession {}

/// ssh expands `%` in paths.
fn escaped(path: &Utf8Path) -> String {
    path.as_str().replace('%', "%%")
}

#[async_trait]
impl Runner for Ssh {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let _session = self.session(command.limit).await?;
        if let Ended::Itself(output) = self.attempt(command, line).await? {
            return Ok(output);
        }
        self.forget().await;
        match self.attempt(command, line).await? {
            Ended::Itself(output) => Ok(output),
            Ended::NeverLeft => Err(self.gone()),
        }
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let session = self.session(command.limit).await?;
        let mut held = self.attempt_hold(command).await?;
        if let Err(Ended::NeverLeft) = held {
            self.forget().await;
            held = self.attempt_hold(command).await?;
        }
        match held {
            Ok((first, process)) => {
                Ok(Ok((first, Box::new(HeldSession { _process: process, _session: session }))))
            }
            Err(Ended::Itself(output)) => Ok(Err(output)),
            Err(Ended::NeverLeft) => Err(self.gone()),
        }
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        let making = async {
            self.ready().await?;
            connect::tunnel(self, host, port).await
        };
        match tokio::time::timeout(limit, making).await {
            Ok(made) => made,
            Err(_) => Err(Error::Connect {
                place: format!("{host}:{port} through {}", self.place()),
                reason: format!("no answer within {limit:?}"),
                hint: None,
            }),
        }
    }

    async fn fresh(&self) -> Result<(), Error> {
        // The shared connection is there first, and with it the folder and the list of the one key that is believed.
        self.ready().await?;
        let command = Command::new(crate::FRESH, Vec::<String>::new()).limit(CONNECT_LIMIT);
        let output = process::run(&self.own_argv(), &command, &self.place(), &mut |_| {}).await?;
        if output.success() { Ok(()) } else { Err(failure::connecting(&self.options, &output)) }
    }

    fn place(&self) -> String {
        failure::place(&self.options)
    }
}
