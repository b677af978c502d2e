//! What can keep a lab from coming up, each with the next thing to do.

use std::io;

use camino::Utf8PathBuf;

/// Why a lab cannot be started, looked at, or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Real containers need root.
    #[error("the lab's containers need root")]
    NotRoot,
    /// Not a Debian machine: the lab builds its guests from the machine's own release.
    #[error("the lab's containers need a Debian machine, and this is {found}")]
    NotDebian {
        /// What `/etc/os-release` says.
        found: String,
    },
    /// Programs that are not installed.
    #[error("the lab's containers need programs that are missing: {}", missing.join(", "))]
    Missing {
        /// Their names.
        missing: Vec<String>,
    },
    /// Something the kernel does not offer.
    #[error("this machine's kernel has no {what}")]
    Kernel {
        /// What it is.
        what: &'static str,
    },
    /// The folder's name.
    #[error("the lab's folder `{folder}` {why}")]
    Folder {
        /// The folder.
        folder: Utf8PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The lab in the folder has another number of nodes than is asked for.
    #[error("`{folder}` holds a lab whose number of nodes is {has}, not {asked}")]
    Nodes {
        /// The folder.
        folder: Utf8PathBuf,
        /// How many it has.
        has: usize,
        /// How many are asked for.
        asked: usize,
    },
    /// Another lab command is at work in this folder.
    #[error("another `lab` command is at work on `{folder}`")]
    Busy {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// A port that is to be published is taken.
    #[error("port {port} on 127.0.0.1 (for the lab's {what}) is taken{}", by.as_deref().map(|b| format!(" by {b}")).unwrap_or_default())]
    PortTaken {
        /// The port.
        port: u16,
        /// What it was meant for: `api`, `ssh`, `https`.
        what: &'static str,
        /// The process that listens there, where it can be known.
        by: Option<String>,
    },
    /// A program failed.
    #[error("{what}: `{program}` failed: {said}")]
    Program {
        /// What was being done.
        what: String,
        /// The program.
        program: String,
        /// What it said last.
        said: String,
    },
    /// A program could not be run to its end.
    #[error("{what}")]
    Run {
        /// What was being done.
        what: String,
        /// Why.
        #[source]
        source: transport::Error,
    },
    /// A file could not be read or written.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        limit: std::time::Duration,
        /// What was seen last.
        last: String,
    },
    /// What was waited for cannot come any more.
    #[error("a part of the lab ended while {what} was waited for: {last}")]
    Ended {
        /// What was waited for.
        what: String,
        /// What was seen last.
        last: String,
    },
    /// There is no lab in this folder.
    #[error("no lab runs in `{folder}`")]
    NotRunning {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The lab in the folder has a node of the other kind than is asked for.
    #[error("`{folder}` holds a lab whose node is {has}")]
    NodeKind {
        /// The folder.
        folder: Utf8PathBuf,
        /// What it is.
        has: &'static str,
    },
    /// What only a machine has was asked of a container.
    #[error("the node of the lab in `{folder}` is no machine")]
    NotMachine {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// Machines are made for one kind of processor.
    #[error("the lab's machine needs a computer of amd64, and this is {architecture}")]
    NoMachine {
        /// What it is.
        architecture: &'static str,
    },
    /// What a machine's system disk began as is gone.
    #[error("`{image}`, which the machine's system is kept apart from, is not there any more")]
    NoImage {
        /// The image's folder.
        image: Utf8PathBuf,
    },
    /// A part of a machine.
    #[error("`{name}` {why}")]
    Part {
        /// What was named.
        name: String,
        /// What is wrong with it.
        why: String,
        /// What there is.
        known: String,
    },
    /// The node's API answered with an error.
    #[error("the lab's node refused {what}: {said}")]
    Node {
        /// What was asked of it.
        what: String,
        /// What it said.
        said: String,
    },
}

impl Error {
    /// The next thing to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot => {
                "run it as root, or use the simulated lab: `phoenix-cli lab up --simulated`".to_owned()
            }
            Self::NotDebian { .. } | Self::Kernel { .. } => {
                "use the simulated lab: `phoenix-cli lab up --simulated`".to_owned()
            }
            Self::Missing { .. } => format!("install them: {}", super::preflight::apt_command()),
            Self::Folder { .. } => "put the site into a folder with a plain path, or name another one: \"target\": { \"lab\": { \"folder\": \"/srv/lab\" } }".to_owned(),
            Self::Nodes { has, .. } => format!(
                "keep them: `phoenix-cli lab up --nodes {has}`; or remove it with all its guests first: `phoenix-cli lab down`"
            ),
            Self::NodeKind { .. } => "remove it with all its guests first: `phoenix-cli lab down`".to_owned(),
            Self::NotMachine { .. } => {
                "make one: `phoenix-cli lab down`, then `phoenix-cli lab up --machine`".to_owned()
            }
            Self::NoMachine { .. } => "take a lab of containers: `phoenix-cli lab up`".to_owned(),
            Self::NoImage { .. } => {
                "install it anew, with its other disks as they are: `phoenix-cli lab up`".to_owned()
            }
            Self::Part { known, .. } => format!("it has {known}"),
            Self::Busy { .. } => "wait for it to end, then try again".to_owned(),
            Self::PortTaken { what, .. } => {
                format!(
                    "publish on another port: `phoenix-cli lab up --{what}-port PORT`, or end the other process"
                )
            }
            Self::TimedOut { .. } | Self::Ended { .. } => {
                "look at `phoenix-cli lab status`; `lab down` and `lab up` start afresh".to_owned()
            }
            Self::NotRunning { .. } => "start one: `phoenix-cli lab up`".to_owned(),
            Self::Program { .. } | Self::Run { .. } | Self::Io { .. } | Self::Node { .. } => return None,
        })
    }

    /// Whether the simulated runtime would work where this kept the real one from working.
    pub fn simulated_helps(&self) -> bool {
        matches!(self, Self::NotRoot | Self::NotDebian { .. } | Self::Missing { .. } | Self::Kernel { .. })
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs a program to its end and returns its standard output.
pub(crate) async fn run(
    what: &str,
    argv: &[&str],
    stdin: &[u8],
    limit: std::time::Duration,
) -> Result<String, Error> {
    use transport::Runner;
    let command = transport::Command::new(what, argv.iter().copied()).stdin(stdin).limit(limit);
    let output = transport::Local
        .run(&command)
        .await
        .map_err(|source| Error::Run { what: what.to_owned(), source })?;
    if output.success() {
        return Ok(output.text().into_owned());
    }
    Err(Error::Program {
        what: what.to_owned(),
        program: argv.first().copied().unwrap_or_default().to_owned(),
        said: output.tail(5).into(),
    })
}
