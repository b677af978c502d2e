//! Why an artifact cannot be had or put in place.

use std::time::Duration;

use apply::Failure;

/// Why an artifact cannot be had or put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list does not have it.
    #[error("there is no artifact `{0}`")]
    Unknown(String),
    /// The plan wants other bytes than this list pins.
    #[error("the plan wants `{name}` {version} as another list pins it")]
    OtherPin {
        /// The artifact.
        name: String,
        /// Its version in the plan.
        version: String,
    },
    /// The list that comes with Phoenix cannot be read.
    #[error("the list of artifacts that comes with this phoenix-cli cannot be read: {0}")]
    List(String),
    /// The cache cannot be used.
    #[error("the cache of artifacts cannot be used")]
    Cache(#[from] std::io::Error),
    /// Somebody else obtains it, for very long.
    #[error("another run has been obtaining `{name}` for {limit:?}")]
    Busy {
        /// The artifact.
        name: String,
        /// How long that was waited for.
        limit: Duration,
    },
    /// There is no Go toolchain.
    #[error("`{0}` is built with Go, and there is no Go toolchain on this machine")]
    NoGo(String),
    /// There is one, and it is too old.
    #[error("`{name}` is built with Go {wanted} or later, and {found}")]
    GoTooOld {
        /// The artifact.
        name: String,
        /// The least version.
        wanted: String,
        /// What there is, in words.
        found: String,
    },
    /// What pins the module does not agree with itself.
    #[error("the go.sum of `{0}` does not hold the checksum that the list pins")]
    OtherSum(String),
    /// The build failed.
    #[error("failed to build `{name}` from {module}: {said}")]
    Build {
        /// The artifact.
        name: String,
        /// Module and version.
        module: String,
        /// What the compiler said last.
        said: String,
    },
    /// A command could not be carried through.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// It could not be fetched.
    #[error("failed to fetch {url}: {reason}")]
    Fetch {
        /// From where.
        url: String,
        /// Why.
        reason: String,
    },
    /// What was obtained is not what is pinned.
    #[error("{what} has the SHA-256 {found}, and {wanted} is pinned")]
    OtherBytes {
        /// A file or an address.
        what: String,
        /// What was found.
        found: String,
        /// What is pinned.
        wanted: String,
    },
    /// It could not be put into a guest.
    #[error("failed to put `{name}` into {place}: {said}")]
    NotPut {
        /// The artifact.
        name: String,
        /// Where.
        place: String,
        /// What the guest said.
        said: String,
    },
}

impl Error {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "artifacts::unknown",
            Self::OtherPin { .. } => "artifacts::other-pin",
            Self::List(_) => "artifacts::list",
            Self::Cache(_) => "artifacts::cache",
            Self::Busy { .. } => "artifacts::busy",
            Self::NoGo(_) => "artifacts::no-go",
            Self::GoTooOld { .. } => "artifacts::go-too-old",
            Self::OtherSum(_) | Self::OtherBytes { .. } => "artifacts::other-bytes",
            Self::Build { .. } => "artifacts::not-built",
            Self::Transport(_) => "transport::failed",
            Self::Fetch { .. } => "artifacts::not-fetched",
            Self::NotPut { .. } => "artifacts::not-put",
        }
    }

    /// The next thing to do.
    pub fn hint(&self) -> String {
        let mirror = "or point PHOENIX_ARTIFACTS at a copy of another machine's cache that has it";
        match self {
            Self::Unknown(_) => "phoenix-cli artifacts list".into(),
            Self::OtherPin { .. } => "make the plan again with this phoenix-cli".into(),
            Self::List(_) => "this is a defect of Phoenix; please report it".into(),
            Self::Cache(_) => {
                "is there space, and may you write there? df ~/.cache; ls -ld ~/.cache/phoenix".into()
            }
            Self::Busy { .. } => {
                "phoenix-cli artifacts list shows what is there; end the other run if it hangs".into()
            }
            Self::NoGo(_) => format!("tools/setup installs one; {mirror}"),
            Self::GoTooOld { .. } => {
                format!("install a newer one below /usr/local/go, as its makers describe; {mirror}")
            }
            Self::OtherSum(_) | Self::OtherBytes { .. } => {
                "do not use it: find out who changed it, or pin what is meant".into()
            }
            Self::Build { .. } | Self::Fetch { .. } => format!("is there a way to the internet? {mirror}"),
            Self::Transport(_) => "phoenix-cli doctor tries every hop".into(),
            Self::NotPut { .. } => {
                "is its disk full? phoenix-cli exec NAME -- df -h, then phoenix-cli apply".into()
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_error(error.code(), &error).hint(error.hint())
    }
}
