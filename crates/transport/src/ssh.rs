//! Another machine, by the system's OpenSSH over one shared connection.
//!
//! The shared connection (ssh calls it the master) is kept for the next run ([`Keep`]), or is this process' own. Its own
//! runs `cat` on the far side and ends with its standard input: it lives exactly as long as this process wants it to,
//! even when this process is killed. Commands are clients of the connection: one TCP connection and one handshake,
//! however many commands. They are kept from falling back to a connection of their own (`ProxyCommand=false`), so that
//! what never left can be told from what broke on the way. What they run ends with them, whatever becomes of the
//! connection.

pub(crate) mod argv;
mod connect;
pub(crate) mod failure;
mod keep;
mod key;
mod password;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

pub use keep::{Keep, close_kept};
pub use key::KeyPair;
pub use password::asked;

use crate::carried::{Carried, End};
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

/// What helps where the folder is not this user's alone.
const PRIVATE: &str = "make it a folder of yours alone: chmod 700, or remove it";

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
    /// believed; when not, the user's own known hosts decide, and who is not in them is not believed.
    pub host_key: Option<String>,
    /// A folder of this user alone, with a short path (Unix sockets are limited to about 100 bytes). It is made when
    /// missing, with mode 0700; one in which others could have put something is refused.
    pub control_dir: Utf8PathBuf,
    /// Whether the connection is kept for the next run. Without it, it is this process' own and ends with it.
    pub keep: Option<Keep>,
}

/// Runs commands on another machine over ssh.
///
/// A command that is given up (its time is up, or the caller stops waiting) ends here at once; on the far side it may
/// run on, since ssh without a terminal passes no signal. [`Error::sent`] says so.
#[derive(Debug)]
pub struct Ssh {
    options: SshOptions,
    /// The host that the connection goes through.
    jump: Option<Arc<Self>>,
    /// The socket of a connection of this process' own.
    own: Utf8PathBuf,
    /// The socket of the kept connection, once it is this process' to use.
    kept: OnceLock<Utf8PathBuf>,
    master: Mutex<Master>,
    sessions: Arc<Semaphore>,
}

/// The shared connection that there is.
#[derive(Debug)]
enum Link {
    /// It ends with this process.
    Own(HeldProcess),
    /// It stays; that it is gone shows when it is used.
    Kept,
}

#[derive(Debug, Default)]
struct Master {
    link: Option<Link>,
    /// Counts the connections, so that nobody gives up the one that was made after the one that failed.
    count: u64,
    /// The right to use the kept connection; looked for once.
    lease: Option<keep::Lease>,
    asked: bool,
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
        let own = options.control_dir.join(format!("{:016x}", hasher.finish()));
        let sessions = Arc::new(Semaphore::new(MAX_SESSIONS));
        Self { options, jump: None, own, kept: OnceLock::new(), master: Mutex::default(), sessions }
    }

    /// Prepares a connection that goes through another host: a channel of its shared connection carries it, so that nothing
    /// of it but the address is known there. The key and the host key have to be declared, and no settings of ssh count,
    /// neither the person's nor the system's.
    pub fn through(jump: Arc<Self>, options: SshOptions) -> Self {
        Self { jump: Some(jump), ..Self::new(options) }
    }

    /// Makes the connection now, so that the first command finds it. That it cannot be made is told to the command.
    pub async fn open(&self) {
        let _ = self.ready().await;
    }

    /// Ends what this process has of the shared connection: its own is closed, and waited for until its process is gone; a
    /// kept one is left to the next run. The next command opens it again.
    pub async fn close(&self) {
        let (link, lease) = {
            let mut master = self.master.lock().await;
            master.asked = false;
            (master.link.take(), master.lease.take())
        };
        if let Some(Link::Own(process)) = link {
            process.close(CLOSE_GRACE).await;
            // ssh removes its socket itself, unless it was killed.
            let _ = fs_err::tokio::remove_file(&self.own).await;
        }
        if let Some(lease) = lease {
            lease.give_back();
        }
    }

    /// The socket in use: that of the kept connection, where it is this process' to use.
    fn socket(&self) -> &Utf8Path {
        self.kept.get().unwrap_or(&self.own)
    }

    /// The list of the one host key that is believed. Its name follows from what it holds, so it is right whoever wrote it,
    /// and stays for those that come later.
    fn known_hosts(&self) -> Utf8PathBuf {
        let mut hasher = DefaultHasher::new();
        self.options.known_hosts().hash(&mut hasher);
        self.options.control_dir.join(format!("{:016x}.hosts", hasher.finish()))
    }

    /// Makes the folder, and writes the list there.
    fn write_known_hosts(&self) -> std::io::Result<()> {
        private::folder(&self.options.control_dir)?;
        let (Some(text), list) = (self.options.known_hosts(), self.known_hosts()) else { return Ok(()) };
        // Somebody may be reading it: there is always a whole one.
        private::write(&list, text.as_bytes())
    }

    /// The arguments of ssh for a person, with the program: a terminal on the node that runs `line`, or a login shell. It
    /// believes what this connection believes.
    ///
    /// # Errors
    /// When the list of the host key that is believed cannot be written.
    pub fn login(&self, line: Option<&str>) -> Result<Vec<String>, Error> {
        self.write_known_hosts().map_err(|error| self.unusable(error.to_string(), PRIVATE))?;
        let Some(jump) = &self.jump else { return Ok(self.options.terminal(&self.known_hosts(), line)) };
        jump.write_known_hosts().map_err(|error| jump.unusable(error.to_string(), PRIVATE))?;
        let mut argv = self.options.terminal(&self.known_hosts(), line);
        argv.splice(1..1, self.by_jump(jump.alone()));
        Ok(argv)
    }

    fn unusable(&self, reason: String, hint: &str) -> Error {
        Error::Connect { place: self.place(), reason, hint: Some(hint.to_owned()) }
    }

    /// Makes the shared connection unless it is there. Which one it is.
    async fn ready(&self) -> Result<u64, Error> {
        let asked = Instant::now();
        let mut master = self.master.lock().await;
        match &master.link {
            Some(Link::Own(process)) if process.ended() => master.link = None,
            Some(_) => return Ok(master.count),
            None => {}
        }
        if let Some((_, output)) = master.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(failure::connecting(&self.options, output));
        }
        if let Some(jump) = &self.jump {
            // A command makes the connection to it, or anew where it was lost.
            let there = Command::new("going through it", ["true"]).limit(CONNECT_LIMIT);
            Box::pin(jump.run(&there)).await?;
        }
        self.prepare(&mut master).await?;
        let link = match self.options.keep.as_ref().and_then(|keep| keep.time) {
            Some(time) if master.lease.is_some() => self.kept(time).await,
            _ => self.open_own().await,
        };
        match link {
            Ok(link) => {
                master.link = Some(link);
                master.count += 1;
                master.failed = None;
                Ok(master.count)
            }
            Err(Failed::Said(output)) => {
                let error = failure::connecting(&self.options, &output);
                master.failed = Some((Instant::now(), output));
                Err(error)
            }
            Err(Failed::Error(error)) => Err(error),
        }
    }

    /// A connection of this process' own.
    async fn open_own(&self) -> Result<Link, Failed> {
        let command = Command::new("connecting", Vec::<String>::new()).limit(CONNECT_LIMIT);
        match process::hold(&self.master_argv(), &command, &self.place()).await {
            Ok(Ok((_, process))) => Ok(Link::Own(process)),
            Ok(Err(output)) => Err(Failed::Said(output)),
            Err(error) => Err(self.not_connected(error)),
        }
    }

    /// The kept connection when it still leads there, and a new one to keep when not.
    async fn kept(&self, time: Duration) -> Result<Link, Failed> {
        if fs_err::symlink_metadata(self.socket()).is_ok() {
            // That its master answers proves nothing: the line may be dead, or the far side frozen. A command proves it.
            let proof = Command::new("trying the kept connection", ["true"]).limit(keep::PROOF_LIMIT);
            let carried = Carried::new(&|| self.place()).map_err(Failed::Error)?;
            let argv = self.client_argv(&carried, &proof);
            let output = process::run(&argv, &proof, &self.place(), &mut |_| {}).await;
            if output.is_ok_and(|output| output.success()) {
                return Ok(Link::Kept);
            }
            keep::end(self.socket()).await;
            // ssh would make a connection all the same, which nobody could use or end.
            if fs_err::symlink_metadata(self.socket()).is_ok() {
                let said = format!("the socket {} cannot be removed", self.socket());
                return Err(Failed::Said(Output { status: 255, stdout: Vec::new(), stderr: said.into() }));
            }
        }
        let command = Command::new("connecting", Vec::<String>::new()).limit(CONNECT_LIMIT);
        match process::run(&self.kept_argv(time), &command, &self.place(), &mut |_| {}).await {
            Ok(output) if output.success() => Ok(Link::Kept),
            Ok(output) => Err(Failed::Said(output)),
            Err(error) => Err(self.not_connected(error)),
        }
    }

    /// Nothing but a login was tried: as far as commands go, nothing was sent.
    fn not_connected(&self, error: Error) -> Failed {
        match error {
            Error::TimedOut { .. } => {
                let said = format!("no answer within {} seconds", CONNECT_LIMIT.as_secs());
                Failed::Said(Output { status: 255, stdout: Vec::new(), stderr: said.into() })
            }
            Error::Io { source, .. } => {
                Failed::Error(Error::Connect { place: self.place(), reason: source.to_string(), hint: None })
            }
            other => Failed::Error(other),
        }
    }

    /// The folder of the socket, which socket it is, and the list of the one host key that is believed.
    async fn prepare(&self, master: &mut Master) -> Result<(), Error> {
        let longest =
            self.options.keep.as_ref().map_or_else(|| self.own.clone(), |keep| self.kept_socket(keep));
        if longest.as_str().len() > LONGEST_SOCKET_PATH {
            return Err(self.unusable(
                format!("the path {longest} is too long for a socket"),
                "use a control folder with a shorter path",
            ));
        }
        let made = async {
            self.write_known_hosts()?;
            if let Some(keep) = self.options.keep.as_ref().filter(|_| !master.asked) {
                self.lease(keep, master).await?;
            }
            if master.lease.is_none() {
                // A master that was killed leaves its socket, and the next one would not share what it finds taken.
                match fs_err::tokio::remove_file(&self.own).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok::<(), std::io::Error>(())
        };
        made.await.map_err(|error| self.unusable(error.to_string(), PRIVATE))
    }

    fn kept_socket(&self, keep: &Keep) -> Utf8PathBuf {
        let it = &self.options;
        let files: Vec<&Utf8Path> =
            keep.watched.iter().chain(&it.identity).map(Utf8PathBuf::as_path).collect();
        let target = (&it.destination, it.port, &it.identity, &it.host_key);
        it.control_dir.join(keep::name(keep, &target, &files))
    }

    /// Takes the right to the kept connection, unless another run has it, and closes those to other targets.
    async fn lease(&self, keep: &Keep, master: &mut Master) -> std::io::Result<()> {
        master.asked = true;
        let folder = &self.options.control_dir;
        if keep.time.is_none() {
            keep::end_all(folder, &keep.owner, None).await;
            return Ok(());
        }
        let socket = self.kept.get().cloned().unwrap_or_else(|| self.kept_socket(keep));
        keep::end_all(folder, &keep.owner, socket.file_name()).await;
        if let Some((lease, clean)) = keep::Lease::take(&socket)? {
            if !clean {
                keep::end(&socket).await;
            }
            // Set once: a second time it is the same.
            let _ = self.kept.set(socket);
            master.lease = Some(lease);
        }
        Ok(())
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
    fn judge(&self, end: End, command: &Command, count: u64) -> Result<Ended, Error> {
        match end {
            End::Itself(output) => Ok(Ended::Itself(output)),
            End::Unheard(output) => {
                failure::unheard(&self.options, &output, &command.purpose).map(|()| Ended::NeverLeft(count))
            }
            End::Begun(output) => Err(failure::broken(&self.options, &output, &command.purpose)),
        }
    }

    /// One attempt at a command over the connection as it is, made first when it is not there.
    async fn attempt(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Ended, Error> {
        let count = self.ready().await?;
        let carried = Carried::new(&|| self.place())?;
        let argv = self.client_argv(&carried, command);
        let output = process::run(&argv, command, &self.place(), line).await?;
        self.judge(carried.end(output), command, count)
    }

    async fn attempt_hold(&self, command: &Command) -> Result<Result<(String, HeldProcess), Ended>, Error> {
        let count = self.ready().await?;
        let carried = Carried::new(&|| self.place())?;
        match process::hold(&self.client_argv(&carried, command), command, &self.place()).await? {
            Ok(held) => Ok(Ok(held)),
            Err(output) => self.judge(carried.end(output), command, count).map(Err),
        }
    }

    /// The shared connection `count` was gone when a client asked for it: let go of it, so that the next one makes it
    /// anew. Another command may have done so already.
    async fn forget(&self, count: u64) {
        let mut master = self.master.lock().await;
        if master.count != count {
            return;
        }
        match master.link.take() {
            Some(Link::Own(process)) => process.close(CLOSE_GRACE).await,
            Some(Link::Kept) => keep::end(self.socket()).await,
            None => {}
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
    /// The shared connection of this number was not there: nothing left this machine.
    NeverLeft(u64),
}

/// Why there is no shared connection.
enum Failed {
    /// What ssh said.
    Said(Output),
    /// It did not come to that.
    Error(Error),
}

/// A held command and its place among the sessions.
#[derive(Debug)]
struct HeldSession {
    _process: HeldProcess,
    _session: OwnedSemaphorePermit,
}

impl Held for HeldSession {}

#[async_trait]
impl Runner for Ssh {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let _session = self.session(command.limit).await?;
        let count = match self.attempt(command, line).await? {
            Ended::Itself(output) => return Ok(output),
            Ended::NeverLeft(count) => count,
        };
        self.forget(count).await;
        match self.attempt(command, line).await? {
            Ended::Itself(output) => Ok(output),
            Ended::NeverLeft(_) => Err(self.gone()),
        }
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let session = self.session(command.limit).await?;
        let mut held = self.attempt_hold(command).await?;
        if let Err(Ended::NeverLeft(count)) = held {
            self.forget(count).await;
            held = self.attempt_hold(command).await?;
        }
        match held {
            Ok((first, process)) => {
                Ok(Ok((first, Box::new(HeldSession { _process: process, _session: session }))))
            }
            Err(Ended::Itself(output)) => Ok(Err(output)),
            Err(Ended::NeverLeft(_)) => Err(self.gone()),
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
