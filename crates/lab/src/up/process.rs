//! Processes of a lab on this machine, known by their number and the moment they started: a number alone may belong to
//! somebody else by now.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use camino::Utf8Path;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::error::Error;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: u32,
    /// In clock ticks after boot: field 22 of `/proc/PID/stat`.
    start: u64,
}

impl Process {
    /// The process with this number, when there is one that has not ended.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        Some(Self { pid, start: fields.nth(18)?.parse().ok()? })
    }

    pub(crate) fn this() -> Option<Self> {
        Self::find(std::process::id())
    }

    pub(crate) fn alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    /// Seconds since it started.
    pub(crate) fn seconds(self) -> Option<u64> {
        let text = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = text.split(' ').next()?.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since boot")]
        Some((uptime as u64).saturating_sub(self.start / 100))
    }

    /// Sends it a SIGHUP, if it is still there.
    pub(crate) fn hang_up(self) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let handle =
            pid.and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()).ok());
        if let Some(handle) = handle.filter(|_| self.alive()) {
            let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::HUP);
        }
    }

    /// Kills it and waits until it is gone, at most two seconds. Says whether there was anything to kill.
    pub(crate) async fn kill(self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) else {
            return false;
        };
        // The handle is taken first and the start compared after: from then on it cannot mean another process.
        let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
            return false;
        };
        if !self.alive() {
            return false;
        }
        let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
        ended(handle, Some(Duration::from_secs(2))).await;
        true
    }
}

/// Waits until the process behind a handle has ended, without a limit when none is given. Whether it has.
pub(crate) async fn ended(handle: std::os::fd::OwnedFd, limit: Option<Duration>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (give, take) = tokio::sync::oneshot::channel();
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    // A thread of its own: it may wait for as long as a lab runs, and must not keep this process from ending.
    let waiting = std::thread::Builder::new().name("waiting for a process".to_owned()).spawn(move || {
        let seen = loop {
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], limit.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.is_ok_and(|n| n > 0),
            }
        };
        // Nobody may be waiting any more.
        let _ = give.send(seen);
    });
    waiting.is_ok() && take.await.unwrap_or(false)
}

/// Waits until one of these has ended, at most for `limit`.
pub(crate) async fn one_ends(all: &[Process], limit: Duration) {
    let began = tokio::time::Instant::now();
    while all.iter().all(|one| one.alive()) && began.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts this lab's program as a process of its own session (it makes that itself) and waits for its first line,
/// `ready`. What it says after that goes to `log`.
pub(crate) async fn start_detached(
    program: &Utf8Path,
    arguments: &[&str],
    log: &Utf8Path,
) -> Result<(), Error> {
    let what = format!("starting `{}`", arguments.join(" "));
    let (program, arguments) =
        (program.to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let path = log.to_owned();
    let work = tokio::task::spawn_blocking(move || -> std::io::Result<Option<String>> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let mut child = std::process::Command::new(&program)
            .args(&arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.into_parts().0)
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line.trim() == "ready" {
            return Ok(None);
        }
        let status = child.wait()?;
        let said = fs::read_to_string(&path).unwrap_or_default();
        Ok(Some(format!("{status}: {}", said.lines().next_back().unwrap_or_default())))
    });
    let limit = Duration::from_secs(20);
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(Ok(None))) => Ok(()),
        Ok(Ok(Ok(Some(said)))) => Err(Error::Program { what, program: "phoenix-cli".to_owned(), said }),
        Ok(Ok(Err(source))) => Err(Error::Io { what, source }),
        Ok(Err(join)) => Err(Error::Io { what, source: join.into() }),
        Err(_) => Err(Error::TimedOut { what, limit, last: format!("nothing was said; see {log}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_that_belongs_to_another_now_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let real = Process::find(child.id()).unwrap();
        let reused = Process { start: real.start + 1, ..real };
        assert!(real.alive() && !reused.alive());
        assert!(!reused.kill().await);
        assert!(child.try_wait().unwrap().is_none(), "it was killed");
        assert!(real.kill().await);
        child.wait().unwrap();
        assert!(!real.alive() && !real.kill().await);
    }
}
