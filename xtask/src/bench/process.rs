//! Whole processes: how long one takes from start to end, and how much memory.

use std::error::Error;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;

/// How long several runs took, in milliseconds.
#[derive(Debug)]
pub(crate) struct Times {
    pub median: f64,
    pub least: f64,
}

/// How often the memory of a running process is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// Runs a command `runs` times, and once before that is only watched for its memory, in MB: what Linux calls the high-water
/// mark of resident memory, as last seen before the process ended.
pub(crate) fn time(binary: &Utf8Path, arguments: &[&str], runs: u32) -> Result<(Times, f64), Box<dyn Error>> {
    let start = || {
        Command::new(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let mut child = start()?;
    let mut highest: f64 = 0.0;
    while child.try_wait()?.is_none() {
        highest = highest.max(high_water(child.id()).unwrap_or(0.0));
        std::thread::sleep(LOOK);
    }
    well(&mut child, arguments)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let begin = Instant::now();
        let mut child = start()?;
        child.wait()?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        well(&mut child, arguments)?;
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok((Times { median, least: times.first().copied().unwrap_or_default() }, highest))
}

/// A figure of something that did not work is none.
fn well(child: &mut Child, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    Err(format!("phoenix-cli {} ended with {status}: {said}", arguments.join(" ")).into())
}

/// `VmHWM` of proc(5), in MB.
fn high_water(process: u32) -> Option<f64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
