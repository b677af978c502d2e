//! Simulated restarts of the node: which start it is in, what waits for the next one, and what is written down of one that was
//! begun. It answers the script that looks (`managers::reboots`) with what that prints on a real node, and does what the other one
//! does there. While it is down, neither its API nor its command line answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::guest::{Inside, Waits};

/// Exit status, output, error output.
type Printed = (i32, Vec<u8>, Vec<u8>);

/// A node's restarts.
#[derive(Debug, Default)]
pub struct SimRestarts {
    boots: u64,
    /// In which start, and what the feature was at its begin.
    waits: BTreeMap<String, (u64, Option<String>)>,
    written: Option<String>,
    down: Option<Instant>,
    /// Whether it does not come back.
    lost: bool,
}

impl SimRestarts {
    /// How often it was restarted.
    pub fn count(&self) -> u64 {
        self.boots
    }

    /// The features that changed something that counts from the next start.
    pub fn waiting(&self) -> Vec<&str> {
        self.waits
            .iter()
            .filter(|(_, (boot, _))| *boot == self.boots)
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// What is written down of a restart that was begun.
    pub fn written(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// Has it not come back from its next restart, or come back now.
    pub fn lose(&mut self, lost: bool) {
        self.lost = lost;
    }

    /// It was restarted, by somebody's hand, and what ran runs again.
    pub fn restarted(&mut self) {
        self.boots += 1;
    }

    /// Has a restart be begun for a site, in this start, with this guest running (`container 120`).
    pub fn begin(&mut self, site: &str, guest: &str) {
        self.written = Some(format!("{} {site}\n{guest}\n", Self::boot(self.boots)));
    }

    /// Something of a feature changed that counts from the next start: where it is what it was at this one, it waits no more.
    pub(super) fn changed(&mut self, Waits { feature, was, is }: Waits) {
        let known = self.waits.get(&feature).filter(|(boot, _)| *boot == self.boots);
        let was = known.map_or(was, |(_, was)| was.clone());
        match was == is {
            true => drop(self.waits.remove(&feature)),
            false => drop(self.waits.insert(feature, (self.boots, was))),
        }
    }

    /// It goes down, for this long, and is in another start then.
    pub(super) fn restart(&mut self, time: Duration) {
        self.boots += 1;
        self.down = Some(Instant::now() + time);
    }

    /// Whether it is down.
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some_and(|until| self.lost || until > Instant::now())
    }

    fn boot(number: u64) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    /// What a command prints; nothing for what is not about restarts. `node` is what is known of its inside.
    pub(super) fn run(&mut self, argv: &[String], stdin: &[u8], node: Option<&Inside>) -> Option<Printed> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let done = || (0, Vec::new(), Vec::new());
        match words.as_slice() {
            ["sh", "-c", _, "restarts"] => Some((0, self.print(node).into_bytes(), Vec::new())),
            ["sh", "-c", _, "phoenix-restart", "begin"] => {
                self.written = Some(String::from_utf8_lossy(stdin).into_owned());
                Some(done())
            }
            ["sh", "-c", _, "phoenix-restart", "end"] => {
                self.written = None;
                self.waits.retain(|_, (boot, _)| *boot == self.boots);
                Some(done())
            }
            _ => None,
        }
    }

    fn print(&self, node: Option<&Inside>) -> String {
        let mut out = format!("boot\t{}\n", Self::boot(self.boots));
        for (name, (boot, was)) in &self.waits {
            let was = was.as_deref().unwrap_or("-");
            out.push_str(&format!("waits\t{name}\t{}\t{was}\n", Self::boot(*boot)));
        }
        for name in node.into_iter().flat_map(|inside| &inside.at_restart) {
            out.push_str(&format!("counts\t{name}\n"));
        }
        if let Some((first, ran)) = self.written.as_deref().and_then(|text| text.split_once('\n')) {
            out.push_str(&format!("begun\t{}\n", first.replacen(' ', "\t", 1)));
            ran.lines().for_each(|line| out.push_str(&format!("ran\t{line}\n")));
        }
        out.push_str("end\n");
        out
    }
}
