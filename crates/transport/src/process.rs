//! One child process: fed, read, bounded, and never left behind. Every transport ends here.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foreign::{Lines, Tail, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::{Command, Error, Held, Output};

/// How long the pipes of a process that has ended are still read. What it printed is there already; only a
/// background process that inherited the pipes keeps them open, and nobody waits for that.
const PIPE_GRACE: Duration = Duration::from_secs(1);

/// How long a held command may take to end after its standard input was closed, before it is killed.
const HOLD_GRACE: Duration = Duration::from_secs(5);

/// A child in a process group of its own. Dropping it kills the whole group.
#[derive(Debug)]
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn spawn(argv: &[String], place: &str) -> Result<(Self, Pipes), Error> {
        let failed = |source| Error::Start {
            program: argv.first().cloned().unwrap_or_default(),
            place: place.to_owned(),
            source,
        };
        let Some((program, arguments)) = argv.split_first() else {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty")));
        };
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let missing = || failed(io::Error::other("a pipe to the process is missing"));
        let pipes = Pipes {
            stdin: child.stdin.take().ok_or_else(missing)?,
            stdout: child.stdout.take().ok_or_else(missing)?,
            stderr: child.stderr.take().ok_or_else(missing)?,
        };
        Ok((Self(child), pipes))
    }

    /// Kills the group. Nothing happens when the child was waited for already: its number may belong to another by now.
    fn kill(&self) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended this very moment, which is what was wanted.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }

    /// Kills the group and waits until the child is gone.
    pub(crate) async fn end(&mut self) {
        self.kill();
        // A killed child ends at once; should waiting fail, there is nothing left to wait for.
        let _ = self.0.wait().await;
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The three pipes of a child.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// The exit status as a shell gives it: 128 + n when signal n ended the process.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Writes all of `bytes`. A process that does not read its input to the end is free to do so.
async fn feed(stdin: &mut ChildStdin, bytes: &[u8]) -> io::Result<()> {
    let written = async {
        stdin.write_all(bytes).await?;
        stdin.flush().await
    };
    match written.await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What is read at once.
const CHUNK: usize = 64 << 10;

/// Reads to the end, and calls `line` for every line as it arrives. `all` takes it in where it is kept, up to `most` bytes:
/// whether there was more is returned at once, and nothing is read any more.
async fn read_lines(
    from: &mut (impl AsyncRead + Unpin),
    mut all: Option<&mut Vec<u8>>,
    most: usize,
    line: &mut (dyn for<'a> FnMut(&'a str) + Send),
) -> io::Result<Whole> {
    let mut lines = Lines::new(limits::LINE);
    let mut chunk = Vec::with_capacity(CHUNK);
    while from.read_buf(&mut chunk).await? > 0 {
        if let Some(all) = &mut all {
            if all.len() + chunk.len() > most {
                return Ok(Whole::No { stream: "standard output", most: most as u64 });
            }
            all.extend_from_slice(&chunk);
        }
        lines.push(&chunk, line);
        chunk.clear();
    }
    lines.end(line);
    Ok(Whole::Yes)
}

/// Reads to the end and keeps the last of it. Who says more than `most` in all is not listened to any more.
async fn read_tail(from: &mut (impl AsyncRead + Unpin), tail: &mut Tail, most: u64) -> io::Result<Whole> {
    let mut chunk = Vec::with_capacity(CHUNK);
    while from.read_buf(&mut chunk).await? > 0 {
        tail.push(&chunk);
        if tail.total() > most {
            return Ok(Whole::No { stream: "standard error", most });
        }
        chunk.clear();
    }
    Ok(Whole::Yes)
}

/// Whether all was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    /// More came than is read of it.
    No {
        stream: &'static str,
        most: u64,
    },
}

/// Runs `argv` (what `command` becomes at this place) to its end, within the command's limit.
pub(crate) async fn run(
    argv: &[String],
    command: &Command,
    place: &str,
    line: &mut (dyn for<'a> FnMut(&'a str) + Send),
) -> Result<Output, Error> {
    let (mut group, Pipes { mut stdin, mut stdout, mut stderr }) = Group::spawn(argv, place)?;
    let (mut out, mut err) = (Vec::new(), Tail::new(limits::ERRORS));
    let work = async {
        let pipes = async {
            let feeding = async {
                feed(&mut stdin, &command.stdin).await?;
                drop(stdin);
                Ok(())
            };
            let reading = async {
                let all = (!command.streamed).then_some(&mut out);
                // Whoever says too much is not waited for, whatever else there is to read.
                let (mut lines, mut tail) = (
                    pin!(read_lines(&mut stdout, all, command.most, line)),
                    pin!(read_tail(&mut stderr, &mut err, limits::ERRORS_IN_ALL)),
                );
                tokio::select! {
                    whole = &mut lines => match whole? {
                        Whole::Yes => tail.await,
                        no @ Whole::No { .. } => Ok(no),
                    },
                    whole = &mut tail => match whole? {
                        Whole::Yes => lines.await,
                        no @ Whole::No { .. } => Ok(no),
                    },
                }
            };
            tokio::pin!(feeding, reading);
            // What was fed is waited for, unless nobody listens any more.
            tokio::select! {
                whole = &mut reading => match whole? {
                    Whole::Yes => feeding.await.map(|()| Whole::Yes),
                    no @ Whole::No { .. } => Ok(no),
                },
                fed = &mut feeding => {
                    fed?;
                    reading.await
                }
            }
        };
        tokio::pin!(pipes);
        let status = tokio::select! {
            done = &mut pipes => match done? {
                Whole::Yes => group.wait().await?,
                Whole::No { stream, most } => return Ok(Err((stream, most))),
            },
            status = group.wait() => {
                let status = status?;
                if let Whole::No { stream, most } = timeout(PIPE_GRACE, &mut pipes).await.unwrap_or(Ok(Whole::Yes))? {
                    return Ok(Err((stream, most)));
                }
                status
            }
        };
        Ok::<_, io::Error>(Ok(status))
    };
    match timeout(command.limit, work).await {
        Ok(Ok(Ok(status))) => Ok(Output { status: code(status), stdout: out, stderr: err.into_bytes() }),
        Ok(Ok(Err((stream, most)))) => {
            // The far side has nobody to tell any more, and ends by that.
            group.end().await;
            Err(Error::TooMuch { place: place.to_owned(), purpose: command.purpose.clone(), stream, most })
        }
        Ok(Err(source)) => {
            Err(Error::Io { place: place.to_owned(), purpose: command.purpose.clone(), source })
        }
        Err(_) => {
            group.end().await;
            Err(timed_out(command, place))
        }
    }
}

pub(crate) fn timed_out(command: &Command, place: &str) -> Error {
    Error::TimedOut { place: place.to_owned(), purpose: command.purpose.clone(), limit: command.limit }
}

/// A running command whose standard input is open as long as this lives.
#[derive(Debug)]
pub(crate) struct HeldProcess {
    /// Dropped with the guard, which tells the task that owns the process to end it.
    release: Option<oneshot::Sender<()>>,
    ended: Arc<AtomicBool>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl HeldProcess {
    /// Whether the process has ended by itself.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Lets the process end, kills it when it has not after `grace`, and waits until it is gone.
    pub(crate) async fn close(mut self, grace: Duration) {
        self.release = None;
        if let Some(mut task) = self.task.take()
            && timeout(grace, &mut task).await.is_err()
        {
            // The task owns the group, and dropping that kills it.
            task.abort();
            let _ = task.await;
        }
    }
}

impl Held for HeldProcess {}

/// Starts `argv`, writes the command's input without closing it, and waits for the first line, within the limit.
pub(crate) async fn hold(
    argv: &[String],
    command: &Command,
    place: &str,
) -> Result<Result<(String, HeldProcess), Output>, Error> {
    let (mut group, Pipes { mut stdin, mut stdout, mut stderr }) = Group::spawn(argv, place)?;
    let (mut out, mut err) = (Vec::new(), Tail::new(limits::ERRORS));
    let lost = |source| Error::Io { place: place.to_owned(), purpose: command.purpose.clone(), source };

    let first = async {
        let feeding = feed(&mut stdin, &command.stdin);
        let reading = first_line(&mut stdout, &mut out);
        let noise = drain(&mut stderr, &mut err);
        tokio::pin!(feeding, reading, noise);
        let mut fed = false;
        loop {
            tokio::select! {
                done = &mut feeding, if !fed => { done?; fed = true; }
                line = &mut reading => {
                    let line = line?;
                    // What is left of the input belongs to the command even though it has spoken already.
                    if line.is_some() && !fed { feeding.await?; }
                    return Ok(line);
                }
                never = &mut noise => match never {}
            }
        }
    };
    match timeout(command.limit, first).await {
        Err(_) => {
            group.end().await;
            Err(timed_out(command, place))
        }
        Ok(Err(source)) => Err(lost(source)),
        Ok(Ok(Some(line))) => {
            let (release, released) = oneshot::channel();
            let ended = Arc::new(AtomicBool::new(false));
            let task = tokio::spawn(keep(group, Pipes { stdin, stdout, stderr }, released, ended.clone()));
            Ok(Ok((line, HeldProcess { release: Some(release), ended, task: Some(task) })))
        }
        Ok(Ok(None)) => {
            drop(stdin);
            let rest = async {
                let (status, _) =
                    tokio::try_join!(group.wait(), read_tail(&mut stderr, &mut err, limits::ERRORS_IN_ALL))?;
                Ok((status, err))
            };
            match timeout(HOLD_GRACE, rest).await {
                Ok(Ok((status, tail))) => {
                    Ok(Err(Output { status: code(status), stdout: out, stderr: tail.into_bytes() }))
                }
                Ok(Err(source)) => Err(lost(source)),
                Err(_) => {
                    group.end().await;
                    Err(timed_out(command, place))
                }
            }
        }
    }
}

/// Owns a held process until it ends or is released.
async fn keep(mut group: Group, pipes: Pipes, released: oneshot::Receiver<()>, ended: Arc<AtomicBool>) {
    let Pipes { stdin, mut stdout, mut stderr } = pipes;
    let (mut out, mut err) = (Tail::new(limits::ERRORS), Tail::new(limits::ERRORS));
    let noise = async { tokio::join!(drain(&mut stdout, &mut out), drain(&mut stderr, &mut err)) };
    tokio::pin!(noise);
    let over = tokio::select! {
        _ = group.wait() => true,
        _ = released => false,
        (never, _) = &mut noise => match never {},
    };
    drop(stdin);
    if !over {
        tokio::select! {
            waited = timeout(HOLD_GRACE, group.wait()) => if waited.is_err() { group.end().await },
            (never, _) = &mut noise => match never {},
        }
    }
    ended.store(true, Ordering::Release);
}

/// Reads up to the first newline. `None` when the output ends before one.
async fn first_line(from: &mut ChildStdout, all: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        // A held command prints a line or two: reading byte by byte would cost more, reading on costs nothing.
        if from.read_buf(all).await? == 0 {
            return Ok(None);
        }
        if all.len() > limits::LINE {
            return Err(io::Error::other(format!("its first line is longer than {} bytes", limits::LINE)));
        }
        if let Some(end) = all.iter().position(|byte| *byte == b'\n') {
            return Ok(Some(String::from_utf8_lossy(&all[..end]).into_owned()));
        }
    }
}

/// Reads for ever, so that the process never blocks on a full pipe, and keeps the last of what it said.
async fn drain(from: &mut (impl AsyncRead + Unpin), tail: &mut Tail) -> std::convert::Infallible {
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        match from.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => return std::future::pending().await,
            Ok(_) => tail.push(&chunk),
        }
        chunk.clear();
    }
}
