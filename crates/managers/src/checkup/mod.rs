//! A check-up of a node: what is wrong with the host itself, before guests are looked at.
//!
//! One script that changes nothing (`look.sh`) says what there is, in one command; [`Facts`] is what it said; each of
//! [`CHECKS`] is a pure function from that to a [`Finding`]: what was seen, and the next command. What could not be seen is told
//! as such and never passes.

#[macro_use]
mod record;
pub mod facts;
mod judge;
#[cfg(test)]
mod tests;

use std::time::Duration;

use apply::Failure;
use blueprint::codes::CodeInfo;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use transport::{Command, Runner};

pub use facts::Facts;
pub use judge::CHECKS;

/// What a node is asked; it changes nothing.
pub const SCRIPT: &str = concat!(include_str!("../gpus/cards.sh"), include_str!("look.sh"));

/// How long all of it may take. The script asks nothing new after 40 s, and no question of it takes longer than 15.
const LIMIT: Duration = Duration::from_secs(70);

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Processor, firmware, sensors, cards.
    Machine,
    /// Memory.
    Memory,
    /// Disks, file systems, pools.
    Disks,
    /// Kernel and services.
    System,
    /// Packages and where they come from.
    Packages,
    /// Clock, names, links.
    Network,
    /// Proxmox VE itself.
    Proxmox,
    /// What guests need of the node, and what keeps them and others out.
    Guests,
}

impl Group {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Memory => "memory",
            Self::Disks => "disks",
            Self::System => "system",
            Self::Packages => "packages",
            Self::Network => "clock, names, network",
            Self::Proxmox => "Proxmox VE",
            Self::Guests => "guests and safety",
        }
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It could not be seen, or is not this node's matter.
    Unknown,
    /// It works, and somebody should look after it.
    Warn,
    /// Something does not work, or soon will not.
    Bad,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub grade: Grade,
    /// What was seen, in words.
    pub seen: String,
    /// The next command, where there is something to do.
    pub hint: Option<String>,
}

impl Finding {
    fn ok(seen: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, seen: seen.into(), hint: None }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self { grade: Grade::Unknown, seen: why.into(), hint: None }
    }

    fn warn(seen: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, seen: seen.into(), hint: Some(hint.into()) }
    }

    fn bad(seen: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, ..Self::warn(seen, hint) }
    }
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it is about.
    pub group: Group,
    /// Its code, `host::…`, and what there is to say about it.
    pub info: CodeInfo,
    /// Whether it is about machine, kernel or clock, which are another's where the node is a container.
    of_the_machine: bool,
    judge: fn(&View<'_>) -> Finding,
}

impl Group {
    /// One of its checks.
    const fn check(
        self,
        code: &'static str,
        title: &'static str,
        explanation: &'static str,
        judge: fn(&View<'_>) -> Finding,
    ) -> Check {
        let remedy = "`phoenix-cli doctor` says what was seen, and the next command.";
        let info = CodeInfo { code, title, explanation, remedy };
        Check { group: self, info, of_the_machine: false, judge }
    }
}

impl Check {
    /// The same, not asked of a node that is a container.
    const fn of_the_machine(self) -> Self {
        Self { of_the_machine: true, ..self }
    }

    fn judge(&self, view: &View<'_>) -> Finding {
        if self.of_the_machine && view.facts.contained() {
            return Finding::unknown(
                "the node is a container itself, so this is a matter of the machine it runs on",
            );
        }
        (self.judge)(view)
    }

    /// What is after the `::`.
    pub fn name(&self) -> &'static str {
        self.info.code.split_once("::").map_or(self.info.code, |(_, name)| name)
    }
}

/// What is judged: a node's facts, and what only others can say of it.
#[derive(Debug)]
pub struct View<'a> {
    /// What it said.
    pub facts: &'a Facts,
    /// Our clock when it was asked, Unix seconds.
    pub asked: i64,
    /// Our clock when the answer was there.
    pub answered: i64,
    /// The other nodes, with their machine ids.
    pub others: &'a [(String, String)],
}

impl View<'_> {
    /// Days since then, by our clock.
    fn days_since(&self, then: i64) -> i64 {
        (self.answered - then).div_euclid(86_400)
    }
}

/// A node that was looked at.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name.
    pub node: String,
    /// What it said.
    pub facts: Facts,
    asked: i64,
    answered: i64,
}

impl Seen {
    /// Has a node looked at, in one command. Where that does not come to its end, what came until then is kept, and the first
    /// of the checks says so.
    ///
    /// # Errors
    /// When nothing of it came back.
    pub async fn look(node: &str, runner: &dyn Runner) -> Result<Self, Failure> {
        let asked = Timestamp::now().as_second();
        let mut text = String::new();
        let command = Command::script(format!("looking at {node} itself"), SCRIPT).limit(LIMIT);
        let mut keep = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        let ended = runner.run_lines(&command, &mut keep).await;
        let facts = Facts::parse(&text);
        if facts.node.is_none() {
            return Err(match ended {
                Err(error) => Failure::new("transport::failed", error.to_string()),
                Ok(output) => Failure::new(
                    "transport::failed",
                    format!("{node} says nothing of itself: {}", output.tail(3)),
                ),
            }
            .hint("try a command by hand: ssh, as declared under target.proxmox.ssh"));
        }
        Ok(Self { node: node.to_owned(), facts, asked, answered: Timestamp::now().as_second() })
    }
}

/// What a check found on a node.
#[derive(Debug, Clone)]
pub struct Found {
    /// The node.
    pub node: String,
    /// The check.
    pub check: &'static Check,
    /// What it found.
    pub finding: Finding,
}

impl Found {
    /// As JSON.
    pub fn json(&self) -> Value {
        let Finding { grade, seen, hint } = &self.finding;
        let trouble = matches!(grade, Grade::Warn | Grade::Bad);
        let mut row = json!({
            "check": format!("{} {}", self.node, self.check.name()), "group": self.check.group, "node": self.node,
            "ok": *grade != Grade::Bad, "grade": grade, "seen": seen, "hint": hint,
        });
        if trouble {
            row["code"] = self.check.info.code.into();
        }
        if *grade == Grade::Warn {
            row["warning"] = seen.as_str().into();
        }
        row
    }
}

/// All checks on all of the nodes, in the order of [`CHECKS`], node by node.
pub fn judge(nodes: &[Seen]) -> Vec<Found> {
    let id = |seen: &Seen| Some((seen.node.clone(), seen.facts.node.as_ref()?.machine_id.clone()?));
    let one = |seen: &Seen| {
        let others: Vec<_> = nodes.iter().filter(|it| it.node != seen.node).filter_map(id).collect();
        let view = View { facts: &seen.facts, asked: seen.asked, answered: seen.answered, others: &others };
        let found =
            |check: &'static Check| Found { node: seen.node.clone(), check, finding: check.judge(&view) };
        CHECKS.iter().flat_map(|list| list.iter()).map(found).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(one).collect()
}
