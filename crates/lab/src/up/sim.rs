//! The simulated lab that a person starts: one process on this machine that serves the same API, with nothing behind it.
//!
//! It has no ssh. Commands "on the node" go over a Unix socket in the lab's folder to [`SimShell`]; [`SimNodeRunner`] is
//! the client's end of that. One connection carries one command: a line of JSON, then its input.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use transport::{Command, Held, Output, Runner, Stream};

use super::forward::replace;
use super::process::{Process, start_detached};
use super::spec::LabSpec;
use super::{Error, Event, Found, NodeRecord, Report, credentials, folder_lock, now, preflight, ready};
use crate::runtime::RuntimeKind;
use crate::sim::SimShell;

/// The templates that a simulated node says it has.
pub(crate) const TEMPLATES: [&str; 2] =
    ["debian-12-standard_12.12-1_amd64.tar.zst", "debian-13-standard_13.1-2_amd64.tar.zst"];

/// The templates that a simulated node's catalogue has beside them.
pub(crate) const CATALOGUE: [&str; 4] = [
    "alpine-3.22-default_20250617_amd64.tar.xz",
    "debian-12-standard_12.12-1_amd64.tar.zst",
    "debian-13-standard_13.1-2_amd64.tar.zst",
    "ubuntu-24.04-standard_24.04-2_amd64.tar.zst",
];

/// Where commands come in.
const SHELL: &str = "shell.sock";

/// The largest input of a command, and the largest output.
const LARGEST: usize = 64 << 20;

/// The process of the simulated lab in `folder`, when it runs.
pub(crate) fn running(folder: &Utf8Path) -> Option<Process> {
    let text = fs::read(folder.join("state/serve.json")).ok()?;
    serde_json::from_slice::<Process>(&text).ok().filter(|p| p.alive())
}

/// Starts a simulated lab, or says that it runs. Needs neither root nor LXC.
///
/// # Errors
/// With what kept it from starting.
pub async fn up_simulated(spec: &LabSpec, report: Report<'_>) -> Result<(NodeRecord, Found), Error> {
    let folder = &spec.folder;
    super::spec::check_folder(folder)?;
    let state = folder.join("state");
    fs::create_dir_all(&state).map_err(Error::io(format!("making `{state}`")))?;
    let _lock = folder_lock(folder).await?;
    super::check_nodes(spec)?;
    if super::record(folder).is_some() {
        return Err(Error::Folder { folder: folder.clone(), why: "holds a lab with real containers" });
    }
    if let (Some(process), Some(mut record)) = (running(folder), NodeRecord::read(folder)) {
        ready::wait(&mut record, folder, &[process], report).await?;
        return Ok((record, Found::Running));
    }
    // The API alone is published: there is no ssh, and no guest answers.
    let only_api = super::Ports { ssh: 0, https: 0, ..spec.ports };
    preflight::check_ports(only_api, &[])?;
    report(Event::Note("the lab is simulated: guests are records, nothing runs in them".to_owned()));
    credentials::prepare(spec)?;
    super::install_program(spec).await?;
    report(Event::doing("starting the simulated node", 1));
    let port = spec.ports.api.to_string();
    let arguments = ["lab", "serve", "--simulated", "--folder", state.as_str(), "--api-port", &port];
    start_detached(&folder.join("bin/phoenix-cli"), &arguments, &folder.join("serve.log")).await?;
    let mut record = NodeRecord {
        runtime: RuntimeKind::Simulated,
        endpoint: format!("https://127.0.0.1:{}", spec.ports.api),
        fingerprint: String::new(),
        token_file: folder.join("token"),
        password_file: folder.join("password"),
        ssh: None,
        node: spec.node.clone(),
        others: spec.others.clone(),
        machine: false,
        template: TEMPLATES.last().map(|name| format!("local:vztmpl/{name}")),
        networks: spec.networks.clone(),
        ports: only_api,
        started: now(),
    };
    let gone = || Error::NotRunning { folder: folder.clone() };
    ready::wait(&mut record, folder, &[running(folder).ok_or_else(gone)?], report).await?;
    replace(&folder.join("node.json"), &record)?;
    Ok((record, Found::Nothing))
}

/// What is asked of the node's command line.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    hold: bool,
    argv: Vec<String>,
    purpose: String,
    /// Bytes that follow.
    stdin: usize,
    limit: Duration,
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// It ended; so many bytes of output and error output follow.
    Ended { status: i32, stdout: usize, stderr: usize },
    /// It printed this line and goes on until the connection is closed.
    Holds(String),
    /// It could not be run.
    Failed(String),
}

/// Opens the socket for commands. Only its owner may use it.
pub(crate) fn listen(state: &Utf8Path) -> Result<UnixListener, Error> {
    use std::os::unix::fs::PermissionsExt;
    let path = state.join(SHELL);
    let failed = || Error::io(format!("listening on `{path}`"));
    if path.symlink_metadata().is_ok() {
        fs::remove_file(&path).map_err(failed())?;
    }
    let listener = UnixListener::bind(&path).map_err(failed())?;
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
    Ok(listener)
}

/// Answers the commands that a [`SimNodeRunner`] of the lab in `folder` sends, by `shell`, until it is dropped. For
/// whoever serves a simulated node by itself.
///
/// # Errors
/// When the socket cannot be made.
pub async fn answer_commands(folder: &Utf8Path, shell: SimShell) -> Result<(), Error> {
    let state = folder.join("state");
    fs::create_dir_all(&state).map_err(Error::io(format!("making `{state}`")))?;
    serve_shell(listen(&state)?, shell).await;
    Ok(())
}

/// Answers commands until the process ends.
pub(crate) async fn serve_shell(listener: UnixListener, shell: SimShell) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some connections have to end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shell = shell.clone();
        tokio::spawn(async move {
            // A client that goes away in the middle is its own business.
            let _ = answer(stream, &shell).await;
        });
    }
}

async fn answer(stream: UnixStream, shell: &SimShell) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let asked: Asked = read_line(&mut stream).await?;
    let stdin = read_bytes(&mut stream, asked.stdin).await?;
    let mut command = Command::new(asked.purpose, asked.argv).stdin(stdin).limit(asked.limit);
    command.limit = command.limit.min(Duration::from_secs(24 * 3600));
    let result = if asked.hold {
        match shell.hold(&command).await {
            Ok(Ok((first, held))) => {
                write_line(&mut stream, &Said::Holds(first)).await?;
                // Until the client closes its end, or is killed.
                let _ = stream.read(&mut [0; 1]).await;
                drop(held);
                return Ok(());
            }
            Ok(Err(output)) => Ok(output),
            Err(error) => Err(error),
        }
    } else {
        shell.run(&command).await
    };
    match result {
        Ok(Output { status, stdout, stderr }) => {
            let said = Said::Ended { status, stdout: stdout.len(), stderr: stderr.len() };
            write_line(&mut stream, &said).await?;
            stream.write_all(&stdout).await?;
            stream.write_all(&stderr).await?;
            stream.flush().await
        }
        Err(error) => write_line(&mut stream, &Said::Failed(error.to_string())).await,
    }
}

async fn read_line<T: serde::de::DeserializeOwned>(stream: &mut BufReader<UnixStream>) -> std::io::Result<T> {
    let mut line = String::new();
    stream.take(1 << 20).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(std::io::Error::other)
}

async fn write_line(stream: &mut BufReader<UnixStream>, value: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

async fn read_bytes(stream: &mut BufReader<UnixStream>, length: usize) -> std::io::Result<Vec<u8>> {
    if length > LARGEST {
        return Err(std::io::Error::other(format!("{length} bytes are too many")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Runs commands "on" the node of a simulated lab that another process serves.
#[derive(Debug, Clone)]
pub struct SimNodeRunner {
    socket: Utf8PathBuf,
    node: String,
}

#[derive(Debug)]
struct SimHeld(
    #[expect(dead_code, reason = "closing the connection ends the command")] BufReader<UnixStream>,
);

impl Held for SimHeld {}

impl SimNodeRunner {
    /// For the simulated lab in `folder`, whose node is called `node`.
    pub fn new(folder: &Utf8Path, node: impl Into<String>) -> Self {
        Self { socket: folder.join("state").join(SHELL), node: node.into() }
    }

    async fn ask(
        &self,
        command: &Command,
        hold: bool,
    ) -> Result<(Said, BufReader<UnixStream>), transport::Error> {
        let place = self.place();
        let stream =
            UnixStream::connect(self.socket.as_str()).await.map_err(|e| transport::Error::Connect {
                place: place.clone(),
                reason: e.to_string(),
                hint: Some("is the lab up? `phoenix-cli lab status`".to_owned()),
            })?;
        let mut stream = BufReader::new(stream);
        let asked = Asked {
            hold,
            argv: command.argv.clone(),
            purpose: command.purpose.clone(),
            stdin: command.stdin.len(),
            limit: command.limit,
        };
        let work = async {
            write_line(&mut stream, &asked).await?;
            stream.write_all(&command.stdin).await?;
            stream.flush().await?;
            read_line::<Said>(&mut stream).await
        };
        // The other side keeps the limit too; this one is for a side that does not answer any more.
        let said = tokio::time::timeout(command.limit + Duration::from_secs(5), work)
            .await
            .map_err(|_| self.timed_out(command))?
            .map_err(|source| self.lost(command, source))?;
        Ok((said, stream))
    }

    fn lost(&self, command: &Command, source: std::io::Error) -> transport::Error {
        transport::Error::Io { place: self.place(), purpose: command.purpose.clone(), source }
    }

    fn timed_out(&self, command: &Command) -> transport::Error {
        transport::Error::TimedOut {
            place: self.place(),
            purpose: command.purpose.clone(),
            limit: command.limit,
        }
    }

    async fn output(
        &self,
        command: &Command,
        said: Said,
        stream: &mut BufReader<UnixStream>,
    ) -> Result<Output, transport::Error> {
        match said {
            Said::Ended { status, stdout, stderr } => {
                let stdout = read_bytes(stream, stdout).await.map_err(|e| self.lost(command, e))?;
                let stderr = read_bytes(stream, stderr).await.map_err(|e| self.lost(command, e))?;
                Ok(Output { status, stdout, stderr })
            }
            Said::Failed(why) => Err(transport::Error::Broken {
                place: self.place(),
                purpose: command.purpose.clone(),
                reason: why,
            }),
            Said::Holds(_) => Err(self.lost(command, std::io::Error::other("an answer to another question"))),
        }
    }
}

#[async_trait]
impl Runner for SimNodeRunner {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, transport::Error> {
        let (said, mut stream) = self.ask(command, false).await?;
        let output = self.output(command, said, &mut stream).await?;
        output.text().lines().for_each(line);
        Ok(output)
    }

    async fn hold(
        &self,
        command: &Command,
    ) -> Result<Result<(String, Box<dyn Held>), Output>, transport::Error> {
        let (said, mut stream) = self.ask(command, true).await?;
        match said {
            Said::Holds(first) => Ok(Ok((first, Box::new(SimHeld(stream))))),
            said => self.output(command, said, &mut stream).await.map(Err),
        }
    }

    async fn connect(
        &self,
        _host: &str,
        _port: u16,
        _limit: Duration,
    ) -> Result<Box<dyn Stream>, transport::Error> {
        let reason = "there is nothing to connect to on a simulated node".to_owned();
        Err(transport::Error::Connect { place: self.place(), reason, hint: None })
    }

    fn place(&self) -> String {
        format!("root@{} (simulated)", self.node)
    }
}

/// The guests that "run" on a node of a simulated lab.
pub(crate) async fn guests(folder: &Utf8Path, node: &str) -> BTreeSet<u32> {
    crate::frontends::running_guests(&folder.join("state").join(super::SOCKET), node).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::World;

    #[tokio::test]
    async fn commands_reach_the_simulated_node_and_locks_end_with_their_holder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let state = folder.join("state");
        fs::create_dir(&state).unwrap();
        let world = World::new(7).unwrap();
        world.add_guests(120, 1, World::guest_file).unwrap();
        tokio::spawn(serve_shell(listen(&state).unwrap(), world.shell.clone()));

        let runner = SimNodeRunner::new(folder, "pve1");
        let status = runner.run(&Command::new("asking", ["pct", "status", "120"])).await.unwrap();
        assert_eq!((status.status, status.text().as_ref()), (0, "status: running\n"));
        let missing = runner.run(&Command::new("asking", ["/nope"])).await.unwrap();
        assert_eq!(missing.status, 127);

        let lock = Command::new("locking", ["flock", "/run/phoenix.lock", "sh"]);
        let (first, held) = runner.hold(&lock).await.unwrap().unwrap();
        assert_eq!(first, "locked");
        assert_eq!(runner.hold(&lock).await.unwrap().unwrap_err().status, 1);
        drop(held);
        // The other side learns of it a moment later.
        let again = async {
            while runner.hold(&lock).await.unwrap().is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
    }
}
