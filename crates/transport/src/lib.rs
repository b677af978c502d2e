//! Running commands and moving bytes: on this machine, over ssh, from there on other nodes, and into containers from
//! their node.
//!
//! Start at [`Runner`], the one trait the rest of Phoenix uses. [`Local`], [`Ssh`], [`OtherNode`] and [`InGuest`]
//! implement it; the lab has a simulated one. A [`Command`] is an argument vector with an optional standard input, never a shell
//! string, so nothing secret is ever in an argument list and nothing needs quoting by hand.

mod carried;
mod command;
mod error;
mod fed;
mod in_guest;
mod local;
mod nonce;
mod other_node;
mod process;
mod ssh;
mod traced;

pub use carried::CarriedLine;
pub use command::{Command, Output};
pub use error::{Error, Sent};
pub use fed::{Feeding, Room};
pub use in_guest::{Entering, InGuest, Whereabouts};
pub use local::Local;
pub use other_node::OtherNode;
pub use ssh::{Keep, KeyPair, MAX_SESSIONS, Ssh, SshOptions, asked, close_kept};
pub use traced::{CALL, RECORD, Traced, log_exchange};

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// What the command of [`Runner::fresh`] is called.
pub const FRESH: &str = "making a new connection";

/// A two-way stream of bytes, such as a TCP connection or a tunnel through ssh.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + Debug> Stream for T {}

/// A command that keeps running until this guard is dropped (a lock, for example).
///
/// Dropping it closes the command's standard input, which is how the command is told to end.
pub trait Held: Send + Sync + Debug {}

/// A place where commands can be run.
#[async_trait]
pub trait Runner: Send + Sync + Debug {
    /// Runs `command` to its end and returns what it printed. An exit status other than zero is *not* an error here:
    /// what it means is the caller's to say.
    ///
    /// # Errors
    /// When the command could not be started, when the connection broke, or when its time was up. [`Error::sent`] says
    /// whether it may have taken effect.
    async fn run(&self, command: &Command) -> Result<Output, Error> {
        self.run_lines(command, &mut |_| {}).await
    }

    /// Like [`Runner::run`], and calls `line` for every line of standard output as it arrives.
    ///
    /// # Errors
    /// As [`Runner::run`].
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error>;

    /// Starts `command`, waits until it prints a first line (returned), and keeps it running while the guard lives.
    /// When it ends before its first line, its output is returned instead of a guard.
    ///
    /// # Errors
    /// As [`Runner::run`].
    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error>;

    /// Opens a TCP connection to `host:port` as seen from this place.
    ///
    /// # Errors
    /// When the connection is refused, or not there within `limit`.
    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error>;

    /// Proves that a new connection gets through, whatever connection is kept: after a change of a firewall that alone
    /// tells whether the way in is still open.
    ///
    /// # Errors
    /// When none does.
    async fn fresh(&self) -> Result<(), Error> {
        self.run(&Command::new(FRESH, ["true"])).await.map(drop)
    }

    /// Where this is, for messages: `root@10.0.0.13`, `container 120 on root@10.0.0.13`, `this machine`.
    fn place(&self) -> String;
}

#[async_trait]
impl<R: Runner + ?Sized> Runner for Arc<R> {
    async fn run(&self, command: &Command) -> Result<Output, Error> {
        (**self).run(command).await
    }

    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        (**self).run_lines(command, line).await
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        (**self).hold(command).await
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        (**self).connect(host, port, limit).await
    }

    async fn fresh(&self) -> Result<(), Error> {
        (**self).fresh().await
    }

    fn place(&self) -> String {
        (**self).place()
    }
}
