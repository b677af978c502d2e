//! The process of a machine: whether there is one, and how it is ended.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

/// Where the numbers of processes and their sockets are, as on a real node.
pub(super) const RUN: &str = "/run/qemu-server";

pub(super) fn pid_file(id: u32) -> Utf8PathBuf {
    Utf8Path::new(RUN).join(format!("{id}.pid"))
}

/// The process of a machine that runs. A number that is another program's by now is none.
pub(super) fn pid(id: u32) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file(id)).ok()?.trim().parse().ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let file = pid_file(id);
    let own = line.split(|byte| *byte == 0).any(|word| word == file.as_str().as_bytes());
    own.then_some(pid)
}

/// The machines that run.
pub(crate) fn running() -> BTreeSet<u32> {
    let files = fs::read_dir(RUN).into_iter().flatten().flatten();
    let ids = files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".pid")?.parse().ok());
    ids.filter(|id| pid(*id).is_some()).collect()
}

/// Waits for its end: whether it came in time.
pub(super) async fn ends(id: u32, limit: Duration) -> bool {
    let end = tokio::time::Instant::now() + limit;
    while pid(id).is_some() {
        if tokio::time::Instant::now() >= end {
            return false;
        }
        // It is no child of this process: nothing tells of its end.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Ends it at once.
pub(super) fn kill(id: u32) {
    let pid = pid(id).and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in between.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Removes what it left: its number and its sockets.
pub(super) fn tidy(id: u32) {
    let prefix = format!("{id}.");
    for entry in fs::read_dir(RUN).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Bytes of memory that it has.
pub(super) fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
