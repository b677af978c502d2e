//! Another node of a cluster, through the first one: as the tools of Proxmox VE go from node to node.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::carried::{Carried, End};
use crate::ssh::failure::words;
use crate::{Command, Error, Held, Output, Runner, Stream};

/// Runs commands on another node of the cluster, by ssh on the first one.
///
/// The nodes of a cluster trust each other's root, and `/etc/pve` holds each one's host key; so nothing has to be set up,
/// and a way to one node is a way to all. What is called is what `PVE::SSHInfo` calls (`ssh_info_to_command`), with limits
/// for a node that does not answer. Each command is a connection of its own from node to node.
#[derive(Debug, Clone)]
pub struct OtherNode {
    first: Arc<dyn Runner>,
    name: String,
    address: IpAddr,
}

/// What ssh says when it did not get to running a command: nothing was sent. It counts only where nothing else has spoken.
const NEVER_CONNECTED: [&str; 9] = [
    "ssh: connect to host",
    "Could not resolve hostname",
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Permission denied (",
    "Too many authentication failures",
    "kex_exchange_identification",
    "banner exchange",
    "Unable to negotiate",
];

impl OtherNode {
    /// The node called `name`, which the cluster knows under `address`, through `first`.
    pub fn new(first: Arc<dyn Runner>, name: impl Into<String>, address: IpAddr) -> Self {
        Self { first, name: name.into(), address }
    }

    /// The options and the destination, as ssh on a node of the cluster takes them that is to lead to the node `name`.
    pub fn destination(name: &str, address: impl std::fmt::Display) -> Vec<String> {
        let known = format!("UserKnownHostsFile=/etc/pve/nodes/{name}/ssh_known_hosts");
        let options = [
            "BatchMode=yes".to_owned(),
            format!("HostKeyAlias={name}"),
            known,
            "GlobalKnownHostsFile=none".to_owned(),
            "ConnectTimeout=10".to_owned(),
            // A dead line is noticed within 15 seconds.
            "ServerAliveInterval=5".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
        ];
        let mut argv = vec!["-e".to_owned(), "none".to_owned()];
        argv.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        argv.push(format!("root@{address}"));
        argv
    }

    /// What is typed on the first node to have `line` run there in a terminal.
    pub fn terminal(name: &str, address: IpAddr, line: &str) -> String {
        let to = Self::destination(name, address);
        shell_words::join(["ssh", "-t"].into_iter().chain(to.iter().map(String::as_str)).chain(["--", line]))
    }

    fn wrapped(&self, carried: &Carried, command: &Command) -> Command {
        let mut argv = vec!["ssh".to_owned()];
        argv.extend(Self::destination(&self.name, self.address));
        argv.extend(["--".to_owned(), carried.line(&command.argv)]);
        Command { argv, ..command.clone() }
    }

    /// The command's own end, or what ssh's failure on the first node means.
    fn judged(&self, end: End, purpose: &str) -> Result<Output, Error> {
        let broken = |output: &Output| Error::Broken {
            place: self.place(),
            purpose: purpose.to_owned(),
            reason: words(output),
        };
        let output = match end {
            End::Itself(output) => return Ok(output),
            End::Begun(output) => return Err(broken(&output)),
            End::Unheard(output) => output,
        };
        let text = String::from_utf8_lossy(&output.stderr);
        let said = |needle: &str| text.contains(needle);
        if !NEVER_CONNECTED.iter().any(|words| said(words)) {
            return Err(broken(&output));
        }
        let (place, reason) = (self.place(), words(&output));
        let (name, first) = (&self.name, self.first.place());
        let keys = said("Host key verification failed") || said("HAS CHANGED") || said("Permission denied");
        let hint = if keys {
            format!("the nodes do not trust each other's keys: on {name} and on {first}: pvecm updatecerts")
        } else {
            format!("is {name} up, and does its sshd listen on {}? on {first}: pvecm status", self.address)
        };
        Err(Error::Connect { place, reason, hint: Some(hint) })
    }
}

#[async_trait]
impl Runner for OtherNode {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let carried = Carried::new(&|| self.place())?;
        let output = self.first.run_lines(&self.wrapped(&carried, command), line).await?;
        self.judged(carried.end(output), &command.purpose)
    }

    /// The command ends with its standard input: when the guard is dropped, and when the way there breaks anywhere.
    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let carried = Carried::new(&|| self.place())?;
        match self.first.hold(&self.wrapped(&carried, command)).await? {
            Ok(held) => Ok(Ok(held)),
            Err(output) => self.judged(carried.end(output), &command.purpose).map(Err),
        }
    }

    /// Goes through the first node: the nodes of a cluster share the networks that guests and nodes are reached in, and a
    /// second tunnel inside the first would add a process for each connection and reach nothing more but this node's own
    /// loopback, which nobody asks for.
    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        let own = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if own {
            return Err(Error::Connect {
                place: self.place(),
                reason: format!("{host} is that node's own loopback, which no other node can reach"),
                hint: Some(format!("use its address, {}", self.address)),
            });
        }
        self.first.connect(host, port, limit).await
    }

    /// A new connection to the first node, and one from there: each command here makes its own.
    async fn fresh(&self) -> Result<(), Error> {
        self.first.fresh().await?;
        let output = self.run(&Command::new(crate::FRESH, ["true"])).await?;
        if output.success() {
            return Ok(());
        }
        let reason = format!("`true` ended with status {}: {}", output.status, output.tail(2).joined());
        Err(Error::Connect { place: self.place(), reason, hint: None })
    }

    fn place(&self) -> String {
        format!("{} ({}) through {}", self.name, self.address, self.first.place())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Local, Sent};

    /// A first node that is made up: it notes what it is asked to run, and gives one answer.
    #[derive(Debug)]
    struct FakeFirst {
        asked: Mutex<Vec<Command>>,
        answer: Output,
    }

    impl FakeFirst {
        fn answering(status: i32, stderr: &str) -> Arc<Self> {
            let answer = Output { status, stdout: b"out\n".to_vec(), stderr: stderr.into() };
            Arc::new(Self { asked: Mutex::default(), answer })
        }
    }

    #[async_trait]
    impl Runner for FakeFirst {
        async fn run_lines(
            &self,
            command: &Command,
            line: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            self.asked.lock().unwrap().push(command.clone());
            line("out");
            Ok(self.answer.clone())
        }

        async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            self.asked.lock().unwrap().push(command.clone());
            Ok(Err(self.answer.clone()))
        }

        async fn connect(&self, host: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
            Err(Error::Connect { place: host.to_owned(), reason: "made up".to_owned(), hint: None })
        }

        fn place(&self) -> String {
            "root@10.0.0.13".to_owned()
        }
    }

    fn other(first: &Arc<FakeFirst>) -> OtherNode {
        OtherNode::new(first.clone(), "pve2", [10, 0, 0, 14].into())
    }

    #[tokio::test]
    async fn it_goes_as_the_nodes_own_tools_go() {
        let first = FakeFirst::answering(0, "");
        let command = Command::new("setting", ["pct", "set", "120", "--description", "it's \"a b\"; $HOME"]);
        let mut lines = Vec::new();
        let mut line = |text: &str| lines.push(text.to_owned());
        let output = other(&first).run_lines(&command.stdin("in"), &mut line).await.unwrap();
        assert_eq!((output.status, lines), (0, vec!["out".to_owned()]));
        let asked = first.asked.lock().unwrap()[0].clone();
        assert_eq!(asked.stdin, b"in");
        let expected = "ssh -e none -o BatchMode=yes -o HostKeyAlias=pve2 -o \
                        UserKnownHostsFile=/etc/pve/nodes/pve2/ssh_known_hosts -o GlobalKnownHostsFile=none -o \
                        ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 root@10.0.0.14 --";
        let (remote, ssh) = asked.argv.split_last().unwrap();
        assert_eq!(ssh.join(" "), expected);
        // A shell takes the line apart into what was asked for.
        let words = shell_words::split(remote).unwrap();
        let carried = crate::CarriedLine::of(&words).unwrap();
        assert_eq!(carried.argv, ["pct", "set", "120", "--description", "it's \"a b\"; $HOME"]);
    }

    #[test]
    fn a_terminal_goes_the_same_way() {
        let attach = "lxc-attach -n 120 --set-var TERM=\"$TERM\" -- /bin/bash -l";
        let line = OtherNode::terminal("pve2", [10, 0, 0, 14].into(), attach);
        let words = shell_words::split(&line).unwrap();
        assert_eq!(words[..8], ["ssh", "-t", "-e", "none", "-o", "BatchMode=yes", "-o", "HostKeyAlias=pve2"]);
        assert_eq!(words[words.len() - 3..], ["root@10.0.0.14", "--", attach]);
    }

    /// A first node whose `ssh` runs the line here, and then loses the connection.
    #[derive(Debug)]
    struct LosesIt(Mutex<usize>);

    #[async_trait]
    impl Runner for LosesIt {
        async fn run_lines(
            &self,
            command: &Command,
            line: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            *self.0.lock().unwrap() += 1;
            let shell = Command::new("trying", ["sh", "-c", command.argv.last().unwrap()]);
            let output = Local.run_lines(&shell, line).await?;
            Ok(Output { status: 255, ..output })
        }

        async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            Ok(Err(self.run(command).await?))
        }

        async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
            panic!("nothing is connected to")
        }

        fn place(&self) -> String {
            "root@10.0.0.13".to_owned()
        }
    }

    /// The attack: a guest on the other node says what ssh says where it could not connect, and the line breaks. Whoever sent
    /// a secret there must not send it again for that.
    #[tokio::test]
    async fn what_a_command_says_is_not_taken_for_a_connection_that_never_was() {
        for forged in NEVER_CONNECTED {
            let other = OtherNode::new(Arc::new(LosesIt(Mutex::default())), "pve2", [10, 0, 0, 14].into());
            let command = Command::new("setting", ["sh", "-c", "echo \"$1\" >&2", "sh", forged]);
            let error = other.run(&command).await.unwrap_err();
            assert!(
                matches!(error, Error::Broken { .. }) && error.sent() == Sent::Maybe,
                "{forged}: {error:?}"
            );
            let error = other.hold(&command).await.unwrap_err();
            assert!(
                matches!(error, Error::Broken { .. }) && error.sent() == Sent::Maybe,
                "{forged}: {error:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_ssh_could_not_do_names_both_nodes_and_whether_something_was_sent() {
        for (said, sent, hint) in [
            ("ssh: connect to host 10.0.0.14 port 22: No route to host\r\n", Sent::Never, "is pve2 up"),
            ("Host key verification failed.\r\n", Sent::Never, "pvecm updatecerts"),
            ("root@10.0.0.14: Permission denied (publickey).\r\n", Sent::Never, "pvecm updatecerts"),
            ("client_loop: send disconnect: Broken pipe\r\n", Sent::Maybe, ""),
            ("Timeout, server 10.0.0.14 not responding.\r\n", Sent::Maybe, ""),
            ("", Sent::Maybe, ""),
        ] {
            let first = FakeFirst::answering(255, said);
            let error = other(&first).run(&Command::new("setting", ["true"])).await.unwrap_err();
            assert_eq!(error.sent(), sent, "{said}");
            let text = format!("{error} {error:?}");
            assert!(
                text.contains("pve2") && text.contains("root@10.0.0.13") && text.contains(hint),
                "{text}"
            );
            let held = other(&first).hold(&Command::new("locking", ["true"])).await.unwrap_err();
            assert_eq!(held.sent(), sent, "{said}");
        }
    }

    #[tokio::test]
    async fn its_loopback_is_its_own_and_all_else_is_reached_from_the_first_node() {
        let first = FakeFirst::answering(0, "");
        let to = |host: &'static str| {
            let other = other(&first);
            async move { other.connect(host, 80, Duration::from_secs(1)).await.unwrap_err().to_string() }
        };
        assert!(to("127.0.0.1").await.contains("loopback"));
        assert_eq!(to("10.0.0.120").await, "no connection to 10.0.0.120: made up");
        assert!(other(&first).fresh().await.is_ok());
    }
}
