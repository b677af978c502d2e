//! A feature that failed because there was no room: which disk is full, and how full.

use std::time::Duration;

use apply::Failure;
use transport::Command;

use crate::worksite::HostRunner;

/// `df` asks file systems that may hang.
const ASK: Duration = Duration::from_secs(10);

/// What programs say when there is no room for what they write (`ENOSPC`, `EDQUOT`; `dpkg` and `apt` in words of their own),
/// and what the script says itself of its own files.
const WORDS: [&str; 5] = [
    "No space left on device",
    "not enough space",
    "don't have enough free space",
    "Disk quota exceeded",
    "cannot write ",
];

/// The same failure, naming the disk where it was for want of room.
pub(super) async fn named(failure: Failure, host: &HostRunner) -> Failure {
    if !failure.errors.iter().any(|error| WORDS.iter().any(|words| error.contains(words))) {
        return failure;
    }
    let argv = ["sh", "-c", "df -Pk; echo; df -Pi"];
    let command = Command::new(format!("asking {host} how full its disks are"), argv).limit(ASK);
    let printed = match host.runner.run(&command).await {
        Ok(output) => output.text().into_owned(),
        Err(_) => return failure,
    };
    let full = full(&printed);
    if full.is_empty() {
        return failure;
    }
    let whose = match host.guest {
        Some(id) => format!("container {id}"),
        None => host.to_string(),
    };
    let failure = failure.while_doing(format!("{whose} has no room left: {}", full.join("; ")));
    failure.hint(format!(
        "more `disk` for it in the blueprint, or make room: {}; then phoenix-cli apply",
        host.typed("du -xh --max-depth=2 /")
    ))
}

/// The file systems that are full, in words, from `df -Pk` (KiB), an empty line, and `df -Pi` (files).
fn full(printed: &str) -> Vec<String> {
    let (blocks, inodes) = printed.split_once("\n\n").unwrap_or((printed, ""));
    let blocks = blocks.lines().skip(1).filter_map(FileSystem::parse).filter(FileSystem::full).map(|at| {
        let size = match at.all / 1024 {
            mib @ 0..10240 => format!("{mib} MiB"),
            mib => format!("{} GiB", mib / 1024),
        };
        format!(
            "{} ({}) of {size} is {} % full, {} MiB left",
            at.mounted,
            at.device,
            at.percent(),
            at.left / 1024
        )
    });
    let inodes = inodes.lines().skip(1).filter_map(FileSystem::parse).filter(FileSystem::full).map(|at| {
        format!("{} ({}) has room for {} more of {} files", at.mounted, at.device, at.left, at.all)
    });
    blocks.chain(inodes).collect()
}

/// A line of `df -P`: device, all, used, left, percent, where it is mounted.
struct FileSystem<'a> {
    device: &'a str,
    mounted: &'a str,
    all: u64,
    used: u64,
    left: u64,
}

impl<'a> FileSystem<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let device = words.next()?;
        let [all, used, left] = [words.next()?, words.next()?, words.next()?].map(|word| word.parse().ok());
        Some(Self { device, all: all?, used: used?, left: left?, mounted: words.nth(1)? })
    }

    /// As `df` counts it: of what is there for all but root.
    fn percent(&self) -> u64 {
        let whole = self.used.saturating_add(self.left);
        (self.used.saturating_mul(100)).div_ceil(whole.max(1))
    }

    fn full(&self) -> bool {
        self.all > 0 && self.percent() >= 98
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use transport::Local;

    use super::*;

    // Recorded in a container with Debian 12 whose disk was filled with `dd`.
    const FULL: &str = "Filesystem     1024-blocks    Used Available Capacity Mounted on\n/dev/loop0         4128768 4128576       192     100% /\n\
        none                   492       4       488       1% /dev\ntmpfs              4936820      48   4936772       1% /run\n\n\
        Filesystem      Inodes IUsed   IFree IUse% Mounted on\n/dev/loop0        8640  7947     693   92% /\nnone           3085510    24 3085486    1% /dev\n";

    #[test]
    fn the_disk_is_named() {
        assert_eq!(full(FULL), ["/ (/dev/loop0) of 4032 MiB is 100 % full, 0 MiB left"]);
        let files = FULL
            .replace("7947     693   92%", "8640       0  100%")
            .replace("4128576       192     100%", "28576    4100192       1%");
        assert_eq!(full(&files), ["/ (/dev/loop0) has room for 0 more of 8640 files"]);
    }

    #[tokio::test]
    async fn only_want_of_room_is_looked_into() {
        let host = HostRunner { runner: Arc::new(Local), guest: Some(120) };
        let other = Failure::new("features::failed", "nginx.service does not come up");
        assert_eq!(named(other.clone(), &host).await.errors, other.errors);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([0-9]{1,20} |/dev/x |100% |/\n|\n|.{0,9}){0,30}") {
            let _ = full(&text);
        }
    }
}
