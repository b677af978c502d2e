//! Into a container, from the node it runs on.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Command, Error, Held, Output, Runner, Stream};

/// The environment `pct exec` gives a command (seen on a Proxmox VE 9.2.11 node), and nothing else: what runs in a
/// guest must not depend on who looks at it.
const ENVIRONMENT: [&str; 5] =
    ["PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=linux", "HOME=/root", "LANG=C.UTF-8", "container=lxc"];

/// Who knows on which node of a cluster a container is.
#[async_trait]
pub trait Whereabouts: Debug + Send + Sync {
    /// The node that a container is on, as far as that is known already.
    ///
    /// # Errors
    /// When there is no way to that node.
    async fn node_of(&self, id: u32) -> Result<Arc<dyn Runner>, Error>;

    /// Looks where a container is now. `None` where there is nothing to look for, or nobody could tell.
    async fn look_for(&self, id: u32) -> Option<Arc<dyn Runner>>;

    /// What the node is called that a container was last known on, for messages.
    fn place_of(&self, id: u32) -> String;
}

/// Always on the same node.
#[derive(Debug)]
struct Fixed(Arc<dyn Runner>);

#[async_trait]
impl Whereabouts for Fixed {
    async fn node_of(&self, _: u32) -> Result<Arc<dyn Runner>, Error> {
        Ok(self.0.clone())
    }

    async fn look_for(&self, _: u32) -> Option<Arc<dyn Runner>> {
        None
    }

    fn place_of(&self, _: u32) -> String {
        self.0.place()
    }
}

/// Runs commands inside a container, from its node.
///
/// By `lxc-attach`, which takes milliseconds where `pct exec` takes half a second to load Perl. Exit codes and standard
/// input pass through; argument lists arrive as they are. A container that is not where it was is looked for once, and
/// followed (T-9): nothing ran then.
#[derive(Debug, Clone)]
pub struct InGuest {
    ways: Arc<dyn Whereabouts>,
    id: u32,
}

impl InGuest {
    /// The container `id` on `node`, and nowhere else.
    pub fn new(node: Arc<dyn Runner>, id: u32) -> Self {
        Self::found(Arc::new(Fixed(node)), id)
    }

    /// The container `id`, wherever `ways` finds it.
    pub fn found(ways: Arc<dyn Whereabouts>, id: u32) -> Self {
        Self { ways, id }
    }

    /// The node that the container is on now, where that is another than `was`.
    async fn moved(&self, was: &dyn Runner) -> Option<Arc<dyn Runner>> {
        self.ways.look_for(self.id).await.filter(|now| now.place() != was.place())
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
        let (node, command) = (self.ways.node_of(self.id).await?, self.wrapped(command));
        let output = node.run_lines(&command, line).await?;
        let Some(error) = self.not_attached(&output) else { return Ok(output) };
        let Some(node) = self.moved(&*node).await else { return Err(error) };
        let output = node.run_lines(&command, line).await?;
        self.not_attached(&output).map_or(Ok(output), Err)
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let (node, command) = (self.ways.node_of(self.id).await?, self.wrapped(command));
        let failed =
            |held: &Result<_, Output>| held.as_ref().err().and_then(|output| self.not_attached(output));
        let held = node.hold(&command).await?;
        let Some(error) = failed(&held) else { return Ok(held) };
        let Some(node) = self.moved(&*node).await else { return Err(error) };
        let held = node.hold(&command).await?;
        failed(&held).map_or(Ok(held), Err)
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
        self.ways.node_of(self.id).await?.connect(host, port, limit).await
    }

    async fn fresh(&self) -> Result<(), Error> {
        self.ways.node_of(self.id).await?.fresh().await
    }

    fn place(&self) -> String {
        format!("container {} on {}", self.id, self.ways.place_of(self.id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

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

    /// A cluster that is made up: the container was on `pve1`, and is on `pve2`.
    #[derive(Debug)]
    struct FakeCluster(Mutex<Vec<&'static str>>, &'static str);

    #[derive(Debug, Clone)]
    struct FakeNode {
        name: &'static str,
        has_it: bool,
    }

    #[async_trait]
    impl Runner for FakeNode {
        async fn run_lines(
            &self,
            _: &Command,
            line: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            if self.has_it {
                line("here");
                return Ok(Output { stdout: b"here\n".to_vec(), ..Output::default() });
            }
            Ok(Output {
                status: 1,
                stderr: b"Error: container 250 is not defined\n".to_vec(),
                ..Output::default()
            })
        }

        async fn hold(&self, _: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            Ok(Err(self.run(&Command::new("", ["true"])).await?))
        }

        async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
            Err(Error::Connect { place: self.place(), reason: "made up".to_owned(), hint: None })
        }

        fn place(&self) -> String {
            self.name.to_owned()
        }
    }

    #[async_trait]
    impl Whereabouts for FakeCluster {
        async fn node_of(&self, _: u32) -> Result<Arc<dyn Runner>, Error> {
            self.0.lock().unwrap().push("known");
            Ok(Arc::new(FakeNode { name: "pve1", has_it: false }))
        }

        async fn look_for(&self, _: u32) -> Option<Arc<dyn Runner>> {
            self.0.lock().unwrap().push("looked");
            Some(Arc::new(FakeNode { name: self.1, has_it: self.1 == "pve2" }))
        }

        fn place_of(&self, _: u32) -> String {
            self.1.to_owned()
        }
    }

    #[tokio::test]
    async fn a_container_that_was_moved_is_looked_for_once_and_followed() {
        let cluster = Arc::new(FakeCluster(Mutex::default(), "pve2"));
        let guest = InGuest::found(cluster.clone(), 250);
        let mut lines = Vec::new();
        let mut line = |text: &str| lines.push(text.to_owned());
        guest.run_lines(&Command::new("asking", ["true"]), &mut line).await.unwrap();
        assert_eq!(lines, ["here"]);
        assert!(guest.hold(&Command::new("locking", ["true"])).await.unwrap().is_err());
        assert_eq!(*cluster.0.lock().unwrap(), ["known", "looked", "known", "looked"]);
    }

    #[tokio::test]
    async fn a_container_that_is_where_it_was_fails_as_it_did() {
        let cluster = Arc::new(FakeCluster(Mutex::default(), "pve1"));
        let error =
            InGuest::found(cluster.clone(), 250).run(&Command::new("asking", ["true"])).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no connection to container 250 on pve1: Error: container 250 is not defined"
        );
        assert_eq!(*cluster.0.lock().unwrap(), ["known", "looked"]);
    }
}
