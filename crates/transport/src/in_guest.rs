//! Into a container, from the node it runs on.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foreign::{Untrusted, limits};

use crate::nonce::nonce;
use crate::{Command, Error, Held, Output, Runner, Stream};

/// The environment `pct exec` gives a command (seen on a Proxmox VE 9.2.11 node), and nothing else: what runs in a
/// guest must not depend on who looks at it.
const ENVIRONMENT: [&str; 5] =
    ["PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=linux", "HOME=/root", "LANG=C.UTF-8", "container=lxc"];

/// What runs on the node.
const ENTER: &str = include_str!("enter.sh");

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
/// followed (T-9): nothing ran then. That nothing ran is never taken from what came out of the container, where whoever is
/// root says what it likes: `enter.sh` tells it from the node, by a nonce.
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

    fn wrapped(&self, command: &Command, nonce: &str) -> Command {
        let id = self.id.to_string();
        let enter = ["sh", "-c", ENTER, "sh", &id, nonce, "env", "-i"];
        let argv =
            enter.into_iter().chain(ENVIRONMENT).map(str::to_owned).chain(command.argv.iter().cloned());
        let most = command.most.min(limits::GUEST_OUTPUT);
        Command { argv: argv.collect(), most, ..command.clone() }
    }

    /// What `enter.sh` says where the command did not run.
    fn not_entered(&self, output: &Output, nonce: &str) -> Option<Error> {
        if output.success() {
            return None;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let word = not_entered_word(nonce);
        let reason = text.lines().find_map(|line| line.strip_prefix(&*word))?;
        Some(Error::Connect {
            place: self.place(),
            reason: Untrusted::new(reason.trim()).to_string(),
            hint: Some(format!("is it running? on the node: pct status {id}; pct start {id}", id = self.id)),
        })
    }
}

/// What [`InGuest`] has its node run: for a node that is only simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entering<'a> {
    /// The container.
    pub id: &'a str,
    nonce: &'a str,
    /// What runs in it.
    pub argv: &'a [String],
}

impl<'a> Entering<'a> {
    /// Whether a command is that.
    pub fn of(argv: &'a [String]) -> Option<Self> {
        match argv {
            [sh, c, script, name, id, nonce, argv @ ..]
                if sh == "sh" && c == "-c" && script == ENTER && name == "sh" =>
            {
                Some(Self { id, nonce, argv })
            }
            _ => None,
        }
    }

    /// What is said where the container is not there, or in no state to be entered: `STOPPED`.
    pub fn refused(&self, state: &str) -> Output {
        let said = format!("{}{state}\n", not_entered_word(self.nonce));
        Output { status: 1, stdout: Vec::new(), stderr: said.into_bytes() }
    }
}

fn not_entered_word(nonce: &str) -> String {
    format!("phoenix-not-entered-{nonce} ")
}

#[async_trait]
impl Runner for InGuest {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let nonce = nonce("lxc-attach", &|| self.place())?;
        let (node, command) = (self.ways.node_of(self.id).await?, self.wrapped(command, &nonce));
        let output = node.run_lines(&command, line).await?;
        let Some(error) = self.not_entered(&output, &nonce) else { return Ok(output) };
        let Some(node) = self.moved(&*node).await else { return Err(error) };
        let output = node.run_lines(&command, line).await?;
        self.not_entered(&output, &nonce).map_or(Ok(output), Err)
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let nonce = nonce("lxc-attach", &|| self.place())?;
        let (node, command) = (self.ways.node_of(self.id).await?, self.wrapped(command, &nonce));
        let failed = |held: &Result<_, Output>| {
            held.as_ref().err().and_then(|output| self.not_entered(output, &nonce))
        };
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
        let command = Command::new("asking", ["printf", "%s|", "a b", "it's", "$HOME"]);
        let command = guest().wrapped(&command, "77");
        assert_eq!(command.argv[3..8], ["sh", "250", "77", "env", "-i"]);
        assert_eq!(command.argv[13..], ["printf", "%s|", "a b", "it's", "$HOME"]);
        assert_eq!(Entering::of(&command.argv).unwrap().argv, &command.argv[6..]);
    }

    /// Programs of a node in a folder of the test's: `lxc-info` that says this, `lxc-attach` that runs what is behind `--`.
    fn node(state: &str) -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("lxc-info", format!("#!/bin/sh\n{state}\n")),
            ("lxc-attach", "#!/bin/sh\nshift 4\nexec \"$@\"\n".to_owned()),
        ] {
            let path = dir.path().join(name);
            fs_err::write(&path, text).unwrap();
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    /// The node, with these programs first.
    #[derive(Debug)]
    struct FakeHere(tempfile::TempDir, Mutex<usize>);

    #[async_trait]
    impl Runner for FakeHere {
        async fn run_lines(
            &self,
            command: &Command,
            line: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            *self.1.lock().unwrap() += 1;
            let path = format!("PATH={}:/usr/bin:/bin", self.0.path().display());
            let argv = ["env".to_owned(), path].into_iter().chain(command.argv.iter().cloned()).collect();
            Local.run_lines(&Command { argv, ..command.clone() }, line).await
        }

        async fn hold(&self, _: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            panic!("nothing is held")
        }

        async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
            panic!("nothing is connected to")
        }

        fn place(&self) -> String {
            "pve1".to_owned()
        }
    }

    async fn said(state: &str, argv: &[&str]) -> (Result<Output, Error>, usize) {
        let here = Arc::new(FakeHere(node(state), Mutex::default()));
        let guest = InGuest::new(here.clone(), 250);
        let result = guest.run(&Command::new("asking", argv.iter().copied()).stdin("a secret")).await;
        let ran = *here.1.lock().unwrap();
        (result, ran)
    }

    /// The attack: what lxc itself says where it could not enter, and what Phoenix says, come from the guest. Whoever sent a
    /// secret there must not send it again for that.
    #[tokio::test]
    async fn what_a_guest_says_never_means_that_nothing_ran() {
        for forged in [
            "Error: container 250 is not defined",
            "lxc-attach: 250: ../src/lxc/attach.c: get_attach_context: 405 Connection refused - Failed to get init pid",
            "phoenix-not-entered-00000000000000000000000000000000 STOPPED",
            "phoenix-not-entered- STOPPED",
        ] {
            let script = format!(
                "cat >/dev/null; echo '{forged}' >&2; tr '\\0' '\\n' </proc/$PPID/cmdline >&2; exit 1"
            );
            let (result, ran) = said("echo RUNNING", &["sh", "-c", &script]).await;
            let output = result.expect("the command's own end");
            assert_eq!((output.status, ran), (1, 1), "{forged}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(forged));
        }
    }

    #[tokio::test]
    async fn a_stopped_or_missing_container_is_no_connection() {
        for (state, words) in [
            ("echo STOPPED", "STOPPED"),
            ("echo \"250 doesn't exist\" >&2; exit 1", "it is not defined on this node (250 doesn't exist)"),
            ("exit 127", "it is not defined on this node (lxc-info says nothing)"),
            ("printf 'x\\033[2J'", "x\\u{1b}[2J"),
        ] {
            let (result, _) = said(state, &["sh", "-c", "echo never"]).await;
            let error = result.expect_err("an error of the transport");
            assert_eq!(error.sent(), crate::Sent::Never);
            assert_eq!(error.to_string(), format!("no connection to container 250 on pve1: {words}"));
        }
        let (result, _) = said("echo RUNNING", &["sh", "-c", "exit 7"]).await;
        assert_eq!(result.unwrap().status, 7);
    }

    #[tokio::test]
    async fn what_a_guest_says_without_end_is_cut_off() {
        let (result, _) = said("echo RUNNING", &["sh", "-c", "cat /dev/zero"]).await;
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::TooMuch { most, stream: "standard output", .. } if *most == limits::GUEST_OUTPUT as u64),
            "{error}"
        );
        assert_eq!(error.sent(), crate::Sent::Maybe);
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
            command: &Command,
            line: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            if self.has_it {
                line("here");
                return Ok(Output { stdout: b"here\n".to_vec(), ..Output::default() });
            }
            Ok(Entering::of(&command.argv).unwrap().refused("it is not defined on this node"))
        }

        async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            Ok(Err(self.run(command).await?))
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
            "no connection to container 250 on pve1: it is not defined on this node"
        );
        assert_eq!(*cluster.0.lock().unwrap(), ["known", "looked"]);
    }
}
