//! What can go wrong on the way to a command.

use std::time::Duration;

/// Whether something that failed may have taken effect: the one question a retry depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It never left: safe to try again.
    Never,
    /// It may have taken effect: look again before doing anything.
    Maybe,
}

/// A command or connection that could not be carried through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program could not be started here.
    #[error("cannot start `{program}` on {place}")]
    Start {
        /// The program's name.
        program: String,
        /// Where it should have run.
        place: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No connection: nothing was sent.
    #[error("no connection to {place}: {reason}")]
    Connect {
        /// Where to.
        place: String,
        /// What ssh, or the system, said.
        reason: String,
        /// The next thing to try.
        hint: Option<String>,
    },
    /// The host showed another key than the site expects.
    #[error("{place} has another host key than the site declares")]
    HostKey {
        /// Where to.
        place: String,
        /// What ssh said.
        reason: String,
    },
    /// The connection broke while the command ran.
    #[error("the connection to {place} broke while {purpose}")]
    Broken {
        /// Where to.
        place: String,
        /// What was being done.
        purpose: String,
        /// What was said last.
        reason: String,
    },
    /// Its time was up and it was ended.
    #[error("{purpose} on {place} took longer than {limit:?}")]
    TimedOut {
        /// Where.
        place: String,
        /// What was being done.
        purpose: String,
        /// The limit.
        limit: Duration,
    },
    /// It said more than is read of it, and was ended.
    #[error("{purpose} on {place}: more than {most} bytes came on {stream}, and it was ended")]
    TooMuch {
        /// Where.
        place: String,
        /// What was being done.
        purpose: String,
        /// Which of its two streams.
        stream: &'static str,
        /// The limit, in bytes.
        most: u64,
    },
    /// Reading or writing failed.
    #[error("lost the command {purpose} on {place}")]
    Io {
        /// Where.
        place: String,
        /// What was being done.
        purpose: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the command may have taken effect.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Start { .. } | Self::Connect { .. } | Self::HostKey { .. } => Sent::Never,
            Self::Broken { .. } | Self::TimedOut { .. } | Self::TooMuch { .. } | Self::Io { .. } => {
                Sent::Maybe
            }
        }
    }
}
