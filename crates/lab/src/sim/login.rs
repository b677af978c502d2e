//! Into a simulated machine by ssh. Nothing is encrypted, and what decides is the same: whether the machine runs and listens,
//! which host key it was given, and which keys may enter.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use transport::{Command, Error, Held, Output, Runner, Stream};

/// What is run on the simulated node in the place of a connection that goes through it.
pub(super) const PROGRAM: &str = "simulated-ssh";
/// How it ends where there is no connection.
pub(super) const NO_CONNECTION: i32 = 254;
/// What it says where another key is there than was said.
pub(super) const OTHER_KEY: &str = "Host key verification failed.";

/// A connection to a simulated machine.
#[derive(Debug)]
pub struct SimLogin {
    node: Arc<dyn Runner>,
    address: Ipv4Addr,
    host: String,
    client: String,
}

impl SimLogin {
    /// To the machine with this address, through its node: it has to have the host key, and to know the client's; both public.
    pub fn new(node: Arc<dyn Runner>, address: Ipv4Addr, host: &str, client: &str) -> Self {
        Self { node, address, host: host.to_owned(), client: client.to_owned() }
    }
}

#[async_trait]
impl Runner for SimLogin {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let own = [PROGRAM.to_owned(), self.address.to_string(), self.host.clone(), self.client.clone()];
        let argv = own.into_iter().chain(command.argv.iter().cloned()).collect();
        let output = self.node.run_lines(&Command { argv, ..command.clone() }, line).await?;
        if output.status != NO_CONNECTION {
            return Ok(output);
        }
        let (place, reason) = (self.place(), String::from_utf8_lossy(&output.stderr).trim().to_owned());
        Err(match reason.as_str() {
            OTHER_KEY => Error::HostKey { place, reason },
            _ => Error::Connect { place, reason, hint: None },
        })
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        self.run(command).await.map(Err)
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        self.node.connect(host, port, limit).await
    }

    fn place(&self) -> String {
        format!("root@{}", self.address)
    }
}
