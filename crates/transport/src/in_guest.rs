//! Into a container, from the node it runs on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Command, Error, Held, Output, Runner, Stream};

/// The environment `pct exec` gives a command (seen on a Proxmox VE 9.2.11 node), and nothing else: what runs in a
/// guest must not depend on who looks at it.
const ENVIRONMENT: [&str; 5] =
    ["PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=linux", "HOME=/root", "LANG=C.UTF-8", "container=lxc"];

/// Runs commands inside a container, from its node.
///
/// By `lxc-attach`, which takes milliseconds where `pct exec` takes half a second to load Perl. Exit codes and standard
/// input pass through; argument lists arrive as they are.
#[derive(Debug, Clone)]
pub struct InGuest {
    /// The node the container runs on.
    pub node: Arc<dyn Runner>,
    /// The container's number.
    pub id: u32,
}

impl InGuest {
    /// The container `id` on `node`.
    pub fn new(node: Arc<dyn Runner>, id: u32) -> Self {
        Self { node, id }
    }

    fn wrapped(&self, command: &Command) -> Command {
        let id = self.id.to_string();
        let attach = ["lxc-attach", "-n", &id, "--clear-env", "--", "env", "-i"];
        let argv =
            attach.into_iter().chain(ENVIRONMENT).map(str::to_owned).chain(command.argv.iter().cloned());
        Command { argv: argv.collect(), ..command.clone() }
    }

    /// A failure of `lxc-attach` itself, before the command ran: lxc 6's own words, on its standard error.
    fn not_attached(&self, output: &Output) -> Option<Error> {
        if output.success() {
            return None;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let undefined = format!("Error: container {} is not defined", self.id);
        let prefix = format!("lxc-attach: {}: ", self.id);
        let stopped = |line: &str| line.starts_with(&prefix) && line.contains("init pid");
        let reason = text.lines().find(|line| line.starts_with(&undefined) || stopped(line))?;
        Some(Error::Connect {
            place: self.place(),
            reason: reason.to_owned(),
            hint: Some(format!("is it running? on the node: pct status {id}; pct start {id}", id = self.id)),
        })
    }
}

#[async_trait]
impl Runner for InGuest {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let output = self.node.run_lines(&self.wrapped(command), line).await?;
        match self.not_attached(&output) {
            Some(error) => Err(error),
            None => Ok(output),
        }
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let held = self.node.hold(&self.wrapped(command)).await?;
        match held.as_ref().err().and_then(|output| self.not_attached(output)) {
            Some(error) => Err(error),
            None => Ok(held),
        }
    }

    /// Goes through the node: `host` is what the node reaches, and never the container's own loopback.
    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        let own = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if own {
            return Err(Error::Connect {
                place: self.place(),
                reason: format!("{host} is the container's own loopback, which its node cannot reach"),
                hint: Some("use the container's address".to_owned()),
            });
        }
        self.node.connect(host, port, limit).await
    }

    async fn fresh(&self) -> Result<(), Error> {
        self.node.fresh().await
    }

    fn place(&self) -> String {
        format!("container {} on {}", self.id, self.node.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Local;

    fn guest() -> InGuest {
        InGuest::new(Arc::new(Local), 250)
    }

    #[test]
    fn the_argument_vector_stays_as_it_is() {
        let command = guest().wrapped(&Command::new("asking", ["printf", "%s|", "a b", "it's", "$HOME"]));
        assert_eq!(command.argv[..7], ["lxc-attach", "-n", "250", "--clear-env", "--", "env", "-i"]);
        assert_eq!(command.argv[12..], ["printf", "%s|", "a b", "it's", "$HOME"]);
    }

    #[test]
    fn a_missing_program_is_the_commands_failure_not_the_transports() {
        // Recorded from a real node: status 127.
        let stderr = "lxc-attach: 250: ../src/lxc/attach.c: lxc_attach_run_command: 1841 No such file or directory \
                      - Failed to exec \"/nope\"\n";
        let output = Output { status: 127, stdout: Vec::new(), stderr: stderr.into() };
        assert!(guest().not_attached(&output).is_none());
    }

    #[test]
    fn a_stopped_or_missing_container_is_no_connection() {
        for stderr in [
            "lxc-attach: 250: ../src/lxc/attach.c: get_attach_context: 405 Connection refused - Failed to get init pid\n",
            "Error: container 250 is not defined\n",
        ] {
            let output = Output { status: 1, stdout: Vec::new(), stderr: stderr.into() };
            let error = guest().not_attached(&output).expect("an error of the transport");
            assert_eq!(error.sent(), crate::Sent::Never);
        }
    }

    #[tokio::test]
    async fn the_loopback_of_a_container_is_not_the_nodes() {
        let error = guest().connect("127.0.0.1", 80, Duration::from_secs(1)).await.expect_err("no way there");
        assert!(matches!(error, Error::Connect { .. }));
    }
}
