//! The root as if it were a container of a node, for what Phoenix does in guests beside running scripts.

#![expect(clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use transport::{Command, Entering, Held, InGuest, Local, Output, Runner, Stream};

use super::Root;

/// Commands in a root: as if it were a container, where what Phoenix runs on the node with `lxc-attach` is run in its
/// namespaces; or as if it were the node.
#[derive(Debug, Clone)]
struct Attach {
    inside: u32,
    /// Whether it is taken for a container.
    is_guest: bool,
}

impl Root {
    /// The root as a guest of a node.
    pub fn guest(&self) -> InGuest {
        InGuest::new(Arc::new(Attach { inside: self.inside, is_guest: true }), 103)
    }

    /// The root as a node.
    pub fn node(&self) -> Arc<dyn Runner> {
        Arc::new(Attach { inside: self.inside, is_guest: false })
    }
}

#[async_trait]
impl Runner for Attach {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, transport::Error> {
        let argv = match self.is_guest {
            true => Entering::of(&command.argv).unwrap_or_else(|| panic!("{command:?} enters no guest")).argv,
            false => &command.argv,
        };
        let enter = ["nsenter", "-t", &self.inside.to_string(), "-m", "-p", "-n", "-u", "-i"];
        let enter = enter.map(str::to_owned).into_iter();
        let argv = enter.chain(argv.iter().cloned()).collect();
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
