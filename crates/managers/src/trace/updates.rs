//! Security updates of a guest: what `updates state` of the feature `base` says, read.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::diagnose::ago;
use super::parts::value;

/// When the last that went well is so long ago, somebody should look: they are tried each night, and a guest may have been
/// off for some.
pub const OVERDUE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How a guest's security updates stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updates {
    /// Since when they are installed by themselves.
    pub since: Timestamp,
    /// When they were tried last.
    pub tried: Option<Timestamp>,
    /// When that went well last.
    pub done: Option<Timestamp>,
    /// How many were still to be installed then.
    pub waiting: u32,
    /// Why it did not go well, the last time.
    pub failed: Option<String>,
    /// Units that run what an update has replaced.
    pub stale: Vec<String>,
}

impl Updates {
    /// Reads what the guest says; `None` where it does not install them by itself.
    pub fn parse(text: &str) -> Option<Self> {
        let time = |key| Timestamp::from_second(value(text, key)?.parse().ok()?).ok();
        Some(Self {
            since: time("since")?,
            tried: time("tried"),
            done: time("done"),
            waiting: value(text, "waiting").and_then(|n| n.parse().ok()).unwrap_or_default(),
            failed: value(text, "failed").filter(|why| !why.is_empty()).map(str::to_owned),
            stale: value(text, "stale").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// Whether it is too long ago that all went well.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now.duration_since(self.done.unwrap_or(self.since)) > OVERDUE
    }

    /// In a few words: `security updates 5 h ago, 2 wait, to be restarted: nginx.service`.
    pub fn words(&self, now: Timestamp) -> String {
        let mut words = match self.done {
            Some(done) => format!("security updates {} ago", ago(done, now)),
            None => "no security updates yet".to_owned(),
        };
        if self.waiting > 0 {
            words.push_str(&format!(", {} wait", self.waiting));
        }
        if !self.stale.is_empty() {
            words.push_str(&format!(", to be restarted: {}", self.stale.join(", ")));
        }
        words
    }
}

impl fmt::Display for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |t: Option<Timestamp>| t.map(|t| t.as_second().to_string()).unwrap_or_default();
        writeln!(f, "since {}", self.since.as_second())?;
        writeln!(f, "tried {}", time(self.tried))?;
        writeln!(f, "done {}", time(self.done))?;
        writeln!(f, "waiting {}", self.waiting)?;
        writeln!(f, "failed {}", self.failed.as_deref().unwrap_or_default())?;
        writeln!(f, "stale {}", self.stale.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_a_guest_says_is_read_and_told() {
        let text = "since 1000\ntried 9000\ndone 5000\nwaiting 2\nfailed no route\nstale nginx.service ssh.service \n";
        let updates = Updates::parse(text).unwrap();
        assert_eq!((updates.done, updates.failed.as_deref()), (Some(at(5000)), Some("no route")));
        assert_eq!(
            updates.words(at(5000 + 5 * 3600)),
            "security updates 5 h ago, 2 wait, to be restarted: nginx.service, ssh.service"
        );
        // As it is before the first time, and before any line was written.
        let new = Updates::parse("since 1000\ntried \ndone \nwaiting \nfailed \nstale \n").unwrap();
        assert_eq!(Updates::parse("since 1000\nstale \n"), Some(new.clone()));
        assert_eq!(new.words(at(1000)), "no security updates yet");
        assert_eq!(Updates::parse(""), None);
        let week = OVERDUE.as_secs();
        assert!(!new.is_overdue(at(1000 + week)) && new.is_overdue(at(1001 + week)));
        assert!(!updates.is_overdue(at(5000 + week)) && updates.is_overdue(at(5001 + week)));
    }

    proptest! {
        #[test]
        fn prints_what_it_parsed(
            since in 0..4_000_000_000i64, tried in proptest::option::of(0..4_000_000_000i64),
            done in proptest::option::of(0..4_000_000_000i64), waiting in any::<u32>(),
            failed in proptest::option::of("[a-z:!]([ -~]{0,20}[a-z:!])?"),
            stale in proptest::collection::vec("[a-z@-]{1,10}[.]service", 0..4),
        ) {
            let updates = Updates {
                since: at(since), tried: tried.map(at), done: done.map(at), waiting, failed, stale,
            };
            prop_assert_eq!(Updates::parse(&updates.to_string()), Some(updates));
        }
    }
}
