//! Against the lab's node with real containers and its real sshd: a plan beside one plain ssh command, and an apply from
//! nothing beside a script by hand that does the least a person could want. What else the machine does falls on both
//! alike, so only ratios are held to a bound. Where there is no root or no LXC, it says so.

use std::error::Error;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Table, say};

/// How often a plan is measured; each time beside the plain command.
const PLANS: usize = 15;
/// How often both ways to build are measured, one after the other. Packages are fetched each time.
const APPLIES: usize = 2;
const BY_HAND: &str = include_str!("by_hand.sh");
/// The script's containers: numbers and addresses that the site does not use.
const HAND: [(u32, &str); 3] = [(201, "10.0.0.201"), (202, "10.0.0.202"), (203, "10.0.0.203")];
/// Where Nginx answers in the site that `init` writes: the gateway answers for TLS alone.
const SITE: [(&str, u16); 3] = [("10.0.0.153", 443), ("10.0.0.120", 80), ("10.0.0.121", 80)];

/// Measures and adds its figures.
pub(crate) fn measure(binary: &Utf8Path, table: &mut Table) -> Result<(), Box<dyn Error>> {
    if let Some(reason) = lacking() {
        for name in ["plan_3_over_ssh", "plan_3_kept_over_ssh", "apply_3_over_hand"] {
            say(&format!("{name:<34} skipped: {reason}"));
        }
        return Ok(());
    }
    let lab = Lab::up(binary)?;
    apply(&lab, table)?;
    plan(&lab, table)
}

/// What keeps this machine from running real containers, if anything.
fn lacking() -> Option<String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
    if !root {
        return Some("not root".to_owned());
    }
    let there = |program: &str| {
        let look = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        look.is_ok_and(|o| o.status.success())
    };
    let needed = ["lxc-start", "mmdebstrap", "ip", "nft", "ssh"];
    needed.into_iter().find(|p| !there(p)).map(|p| format!("{p} is not installed"))
}

/// The site that `init` writes, and its lab, which ends with it.
struct Lab {
    binary: Utf8PathBuf,
    folder: tempfile::TempDir,
    ssh: Vec<String>,
    template: String,
}

impl Lab {
    fn up(binary: &Utf8Path) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("phx-bench").tempdir()?;
        let mut lab = Self { binary: binary.to_owned(), folder, ssh: Vec::new(), template: String::new() };
        lab.run(&["init"])?;
        let listeners = (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let ports = listeners.iter().map(|l| Ok(l.local_addr()?.port().to_string()));
        let ports = ports.collect::<Result<Vec<_>, std::io::Error>>()?;
        drop(listeners);
        lab.run(&["lab", "up", "--api-port", &ports[0], "--ssh-port", &ports[1], "--https-port", &ports[2]])?;
        let folder = Utf8PathBuf::try_from(lab.folder.path().join(".phoenix/lab"))?;
        let record = lab::up::NodeRecord::read(&folder).ok_or("the lab has no record")?;
        let ssh = record.ssh.ok_or("the lab's record lacks its ssh")?;
        lab.ssh = ["-F", "none", "-o", "BatchMode=yes", "-S", "none"].map(str::to_owned).into();
        lab.ssh.extend(ssh.options(&folder).target(&ssh.known_hosts(&folder)?));
        lab.ssh.extend(["--".to_owned(), ssh.destination]);
        lab.template = record.template.ok_or("the lab's record lacks its template")?;
        Ok(lab)
    }

    /// The program on the site; with the time it took, in seconds.
    fn run(&self, arguments: &[&str]) -> Result<f64, Box<dyn Error>> {
        let begin = Instant::now();
        let mut command = Command::new(&self.binary);
        command.arg("--site").arg(self.folder.path()).args(arguments).stdin(Stdio::null());
        let output = command.output()?;
        let took = begin.elapsed().as_secs_f64();
        checked(&format!("phoenix-cli {}", arguments.join(" ")), &output)?;
        Ok(took)
    }

    /// A command on the node over a connection of its own; with the time it took, in seconds.
    fn on_node(&self, command: &str) -> Result<f64, Box<dyn Error>> {
        let begin = Instant::now();
        let output = Command::new("ssh").args(&self.ssh).arg(command).stdin(Stdio::null()).output()?;
        let took = begin.elapsed().as_secs_f64();
        checked(&format!("ssh {command}"), &output)?;
        Ok(took)
    }

    /// A figure of something that does not serve is none: Nginx answers at all of them.
    fn nginx_answers(&self, at: &[(&str, u16)]) -> Result<(), Box<dyn Error>> {
        for (address, port) in at {
            let line = format!(
                "exec 3<>/dev/tcp/{address}/{port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && head -c 4096 <&3 | grep -qi nginx"
            );
            // To a port of TLS Nginx says in plain words that it wants TLS, and with them its name.
            self.on_node(&format!("timeout 10 bash -c {}", quoted(&line)))?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Should it fail, `lab down --all` sweeps.
        let _ = self.run(&["lab", "down"]);
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn checked(what: &str, output: &Output) -> Result<(), Box<dyn Error>> {
    if output.status.success() {
        return Ok(());
    }
    let said =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    Err(format!("{what} ended with {}: {said}", output.status).into())
}

/// From nothing to Nginx in three containers: by hand, and by the site.
fn apply(lab: &Lab, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let pairs: Vec<String> = HAND.iter().map(|(id, address)| format!("{id}={address}/24")).collect();
    let script =
        format!("sh -c {} by_hand {} local 10.0.0.1 {}", quoted(BY_HAND), lab.template, pairs.join(" "));
    let (mut hand, mut phoenix, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..APPLIES {
        let by_hand = lab.on_node(&script)?;
        lab.nginx_answers(&HAND.map(|(_, address)| (address, 80)))?;
        for (id, _) in HAND {
            lab.on_node(&format!("pct stop {id} && pct destroy {id}"))?;
        }
        let applied = lab.run(&["apply"])?;
        lab.nginx_answers(&SITE)?;
        if round + 1 < APPLIES {
            lab.run(&["destroy", "--confirm", "workshop"])?;
        }
        hand.push(by_hand);
        phoenix.push(applied);
        ratios.push(applied / by_hand);
    }
    table.add("hand_3_s", median(hand), "s", None);
    table.add("apply_3_s", median(phoenix), "s", None);
    table.add("apply_3_over_hand", median(ratios), "ratio", Some(1.15));
    Ok(())
}

/// A plan with nothing to do, beside one plain ssh command.
fn plan(lab: &Lab, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let (mut plain, mut new, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let (mut new_ratio, mut kept_ratio) = (Vec::new(), Vec::new());
    for _ in 0..PLANS {
        // Nothing is kept after this one; the next one makes the connection that the one after it finds.
        lab.run(&["plan", "--no-keep"])?;
        let one = lab.on_node("true")?;
        let first = lab.run(&["plan"])?;
        let second = lab.run(&["plan"])?;
        new_ratio.push(first / one);
        kept_ratio.push(second / one);
        plain.push(one * 1000.0);
        new.push(first * 1000.0);
        kept.push(second * 1000.0);
    }
    table.add("ssh_true_ms", median(plain), "ms", None);
    table.add("plan_3_ms", median(new), "ms", None);
    table.add("plan_3_kept_ms", median(kept), "ms", None);
    table.add("plan_3_over_ssh", median(new_ratio), "ratio", Some(1.3));
    table.add("plan_3_kept_over_ssh", median(kept_ratio), "ratio", Some(0.5));
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
