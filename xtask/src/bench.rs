//! Measuring what the project holds itself to. Each figure is printed beside its bound, and written as a line of
//! `bench.jsonl` in the target folder: `{"name", "value", "unit"}`. A figure over its bound fails nothing here: a machine
//! that is busy with other things would fail it, too. Whoever reads the table decides.
//!
//! What is about the binary is measured on the binary, as whole processes ([`process`]), against a simulated node that
//! this process serves over HTTPS on loopback ([`node`]). How an apply uses its time is measured on a clock of its own
//! ([`apply_time`]), so it does not depend on the machine. Simulated guests cost nothing, so these figures are Phoenix'
//! own share; what real containers take comes on top.

mod apply_time;
mod converge;
mod gateway;
mod node;
mod process;
mod real;
mod site;

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use crate::Outcome;
use node::Reach;

/// How long a call to the node takes there and back, where that is measured: another house, a phone's network.
const FAR: Duration = Duration::from_millis(20);

/// One figure.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    bound: Option<Bound>,
}

/// What a figure is held to.
#[derive(Clone, Copy)]
enum Bound {
    Most(f64),
    Least(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Most(most) => value <= most,
            Self::Least(least) => value >= least,
        }
    }
}

/// The figures so far, printed as they come.
#[derive(Default)]
struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// A figure that may be `most` at most.
    fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, most: Option<f64>) {
        self.put(name.into(), value, unit, most.map(Bound::Most));
    }

    /// A figure that must be `least` at least.
    fn at_least(&mut self, name: impl Into<String>, value: f64, unit: &'static str, least: f64) {
        self.put(name.into(), value, unit, Some(Bound::Least(least)));
    }

    fn put(&mut self, name: String, value: f64, unit: &'static str, bound: Option<Bound>) {
        let verdict = match bound {
            Some(bound) => {
                let (Bound::Most(limit) | Bound::Least(limit)) = bound;
                format!("{} {limit} {unit}", if bound.holds(value) { "holds" } else { "MISSES" })
            }
            None => String::new(),
        };
        say(&format!("{name:<34} {value:>10.2} {unit:<6} {verdict}"));
        self.figures.push(Figure { name, value, unit, bound });
    }

    /// The median, beside its bound, and the least, which a busy machine disturbs least.
    fn times(&mut self, name: &str, times: &process::Times, bound: Option<f64>) {
        self.add(name, times.median, "ms", bound);
        self.add(format!("{name}_min"), times.least, "ms", None);
    }
}

/// Measures everything, or the gateway, what takes real containers, or virtual machines alone.
pub(crate) fn run(gateway_alone: bool, real: Option<&Utf8Path>, vms_alone: bool) -> Outcome {
    if gateway_alone {
        // What is measured is Nginx, not this program.
        return gateway::measure(&mut Table::default()).map(|()| true);
    }
    if let Some(binary) = real {
        return real::measure(binary, &mut Table::default()).map(|()| true);
    }
    let cargo = |arguments: &[&str]| -> Result<(), Box<dyn Error>> {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(arguments)
            .stdin(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err("what is to be measured could not be built".into()) }
    };
    if cfg!(debug_assertions) {
        // Measured is what people get: this program again, with optimizations.
        let mut arguments =
            vec!["run", "--quiet", "--locked", "--release", "--package", "xtask", "--", "bench"];
        arguments.extend(vms_alone.then_some("--vms"));
        return cargo(&arguments).map(|()| true);
    }
    cargo(&["build", "--quiet", "--locked", "--release", "--package", "phoenix-cli"])?;
    let this = Utf8PathBuf::try_from(std::env::current_exe()?)?;
    let release = this.parent().ok_or("this program is in no folder")?;
    let (mut table, binary) = (Table::default(), release.join("phoenix-cli"));
    if vms_alone {
        return vms(&binary, &mut table).map(|()| true);
    }
    measure(&binary, &mut table)?;
    let target = release.parent().unwrap_or(release);
    let lines: String = table
        .figures
        .iter()
        .map(|f| format!("{}\n", json!({ "name": f.name, "value": f.value, "unit": f.unit })))
        .collect();
    fs_err::write(target.join("bench.jsonl"), lines)?;
    let misses = table.figures.iter().filter(|f| f.bound.is_some_and(|b| !b.holds(f.value))).count();
    let bounds = table.figures.iter().filter(|f| f.bound.is_some()).count();
    say(&format!("{} of {bounds} bounds hold; written to {}/bench.jsonl", bounds - misses, target));
    Ok(true)
}

fn measure(binary: &Utf8Path, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let size = fs_err::metadata(binary)?.len();
    table.add("binary_mb", size as f64 / 1e6, "MB", Some(30.0));
    table.times("version_ms", &process::time(binary, &["--version"], 40)?.0, Some(5.0));
    for count in [10, 100, 1000] {
        let site = site::Site::new(count)?;
        let bound = (count == 1000).then_some(100.0);
        let (times, _) = process::time(binary, &["--site", site.path(), "validate"], 20)?;
        table.times(&format!("validate_{count}_ms"), &times, bound);
        let applied = node::applied(&site)?;
        plans(binary, &site, &applied, count, table)?;
    }
    vms(binary, table)?;
    stacks(binary, table)?;
    large(binary, table)?;
    real::measure(binary, table)?;
    apply_time::measure("apply_100", &site::Site::new(100)?, table)?;
    converge::measure(table)?;
    gateway::measure(table)
}

/// A thousand virtual machines beside a thousand containers, by turns, so that a busy machine disturbs both: a machine may
/// take no call more, and a fifth more time.
fn vms(binary: &Utf8Path, table: &mut Table) -> Result<(), Box<dyn Error>> {
    const RUNS: u32 = 12;
    let kinds = [site::Site::new(1000)?, site::Site::of_vms(1000)?];
    let applied = [node::applied(&kinds[0])?, node::applied(&kinds[1])?];
    for (reach, name) in [(Reach::Commands, ""), (Reach::ApiAlone, "_no_ssh")] {
        let mut served = Vec::new();
        for (site, applied) in kinds.iter().zip(&applied) {
            served.push(node::Served::start(site, applied, reach, Duration::ZERO)?);
        }
        let plan = |site: &site::Site| {
            process::time(binary, &["--site", site.path(), "plan", "--detailed-exitcode"], 1)
        };
        let mut least = [f64::MAX; 2];
        for _ in 0..RUNS {
            for (site, least) in kinds.iter().zip(&mut least) {
                *least = least.min(plan(site)?.0.least);
            }
        }
        // Each run is one to warm up and one that counts.
        let calls = served.iter().map(|node| node.calls() as f64 / f64::from(2 * RUNS)).collect::<Vec<_>>();
        table.add(format!("plan_1000_vms{name}_ms_min"), least[1], "ms", None);
        table.add(format!("plan_1000_vms{name}_over_containers"), least[1] / least[0], "ratio", Some(1.2));
        table.add(format!("plan_1000_vms{name}_calls"), calls[1], "calls", Some(calls[0]));
    }
    apply_time::measure("apply_100_vms", &site::Site::of_vms(100)?, table)
}

/// A hundred stacks on ten Docker hosts, beside the same hosts without any: no call more.
fn stacks(binary: &Utf8Path, table: &mut Table) -> Result<(), Box<dyn Error>> {
    const RUNS: u32 = 12;
    let mut all = Vec::new();
    for each in [0, 10] {
        let site = site::Site::of_stacks(10, each)?;
        let applied = node::applied(&site)?;
        let served = node::Served::start(&site, &applied, Reach::Commands, Duration::ZERO)?;
        let (times, _) =
            process::time(binary, &["--site", site.path(), "plan", "--detailed-exitcode"], RUNS)?;
        all.push((times, served.calls() as f64 / f64::from(RUNS + 1)));
    }
    let [(bare, bare_calls), (stacks, calls)] = all.as_slice() else {
        return Err("two were measured".into());
    };
    table.times("plan_100_stacks_ms", stacks, None);
    table.add("plan_100_stacks_more", stacks.least - bare.least, "ms", Some(50.0));
    table.add("plan_100_stacks_calls", *calls, "calls", Some(*bare_calls));
    Ok(())
}

/// Ten times what anybody has: nothing may grow faster than the number of guests.
fn large(binary: &Utf8Path, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let site = site::Site::new(10_000)?;
    let applied = node::applied(&site)?;
    let _served = node::Served::start(&site, &applied, Reach::Commands, Duration::ZERO)?;
    let (times, _) = process::time(binary, &["--site", site.path(), "plan", "--detailed-exitcode"], 5)?;
    table.times("plan_10000_ms", &times, Some(1000.0));
    Ok(())
}

/// The four ways to plan a site with nothing to do: with commands on the node and without, near and far.
fn plans(
    binary: &Utf8Path,
    site: &site::Site,
    applied: &node::Applied,
    count: u32,
    table: &mut Table,
) -> Result<(), Box<dyn Error>> {
    let most = f64::from(count);
    for (reach, name) in [(Reach::Commands, ""), (Reach::ApiAlone, "_no_ssh")] {
        for (latency, far) in [(Duration::ZERO, ""), (FAR, "_20ms")] {
            let runs = if latency.is_zero() { 12 } else { 5 };
            let served = node::Served::start(site, applied, reach, latency)?;
            let (times, memory) =
                process::time(binary, &["--site", site.path(), "plan", "--detailed-exitcode"], runs)?;
            let calls = served.calls() as f64 / f64::from(runs + 1);
            let (time_bound, calls_bound) = match (count, reach) {
                (1000, Reach::Commands) => (Some(150.0), Some(10.0)),
                (1000, Reach::ApiAlone) => (Some(1000.0), Some(most + 10.0)),
                _ => (None, None),
            };
            // The bounds are for the node alone: what the way there takes is not Phoenix'.
            let time_bound = time_bound.filter(|_| latency.is_zero() || reach == Reach::ApiAlone);
            table.times(&format!("plan_{count}{name}{far}_ms"), &times, time_bound);
            let calls_name = if reach == Reach::Commands { "round_trips" } else { "calls" };
            table.add(format!("plan_{count}{name}{far}_{calls_name}"), calls, "calls", calls_bound);
            let bound = (count == 1000).then_some(60.0);
            table.add(format!("plan_{count}{name}{far}_rss_mb"), memory, "MB", bound);
        }
    }
    Ok(())
}

/// The table is what this program is for.
#[expect(clippy::print_stdout, reason = "the table goes to standard output")]
fn say(line: &str) {
    println!("{line}");
}
