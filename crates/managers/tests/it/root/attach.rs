//! The root as if it were a container of a node, for what Phoenix does in guests beside running scripts.

#![expect(clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use transport::{Command, Held, InGuest, Local, Output, Runner, Stream};

use super::Root;

/// Commands in a root: as if it were a container, where what Phoenix runs on the node with `lxc-attach` is run in its
/// namespaces; or as if it were the node.
#[derive(Debug, Clone)]
struct Attach {
    inside: u32,
    /// How many words come before the command.
    before: usize,
}

impl Root {
    /// The root as a guest of a node.
    pub fn guest(&self) -> InGuest {
        InGuest::new(Arc::new(Attach { inside: self.inside, before: 5 }), 103)
    }

    /// The root as a node.
    pub fn node(&self) -> Arc<dyn Runner> {
        Arc::new(Attach { inside: self.inside, before: 0 })
    }
}

#[async_trait]
impl Runner for Attach {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, transport::Error> {
        // lxc-attach -n ID --clear-env -- COMMAND …
        if self.before > 0 {
            assert_eq!((&*command.argv[0], &*command.argv[4]), ("lxc-attach", "--"));
        }
        let enter = ["nsenter", "-t", &self.inside.to_string(), "-m", "-p", "-n", "-u", "-i"];
        let enter = enter.map(str::to_owned).into_iter();
        let argv = enter.chain(command.argv.iter().skip(self.before).cloned()).collect();
        Local.run_lines(&Command { argv, ..command.clone() }, line).await
    }

    async fn hold(&self, _: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, transport::Error> {
        panic!("nothing is held in a test")
    }

    async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, transport::Error> {
        panic!("no test connects this way")
    }

    fn place(&self) -> String {
        "a throw-away root".to_owned()
    }
}
