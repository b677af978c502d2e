//! Into a virtual machine by ssh, through the node: for images without a guest agent.
//!
//! Whom ssh believes and with which key it comes is not decided here, but by who knows the site's folder ([`Doors`]); here
//! is what is run there, and what to do where there is no way in.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use async_trait::async_trait;
use transport::{Command, Error, Held, Output, Runner, Stream};

use crate::agent::ENVIRONMENT;

/// What ssh says where a key does not open.
const DENIED: &str = "Permission denied";

/// Who opens connections to guests that are entered by ssh.
pub trait Doors: Debug + Send + Sync {
    /// The connection to a guest; `None` where it is not entered by ssh. Nothing is sent before the first command.
    ///
    /// # Errors
    /// When there are no keys for it.
    fn door(&self, id: u32) -> Option<Result<Arc<dyn Runner>, Failure>>;
}

/// Runs commands inside a virtual machine, as its root.
#[derive(Debug, Clone)]
pub(crate) struct BySsh {
    door: Arc<dyn Runner>,
    id: u32,
}

impl BySsh {
    pub(crate) fn new(door: Arc<dyn Runner>, id: u32) -> Self {
        Self { door, id }
    }

    /// With an environment that does not depend on how the guest sets it for who logs in.
    fn inside(command: &Command) -> Command {
        let argv = ["env", "-i"].into_iter().chain(ENVIRONMENT).map(str::to_owned);
        Command { argv: argv.chain(command.argv.iter().cloned()).collect(), ..command.clone() }
    }

    /// What to do where it is the guest that does not let us in, and not the node before it.
    fn told(&self, error: Error) -> Error {
        let (place, id) = (self.place(), self.id);
        match error {
            Error::Connect { place: at, reason, .. } if at == self.door.place() => {
                let console = format!("its console, on the node: qm terminal {id}");
                let hint = if reason.contains(DENIED) {
                    format!(
                        "the key that it was made with is not among those of its root any more, or its root may not log in \
                         with one (sshd -T | grep permitrootlogin); {console}"
                    )
                } else if reason.contains("refused") {
                    format!("its ssh server does not run, or not yet: systemctl status ssh; {console}")
                } else {
                    format!("is it up, and has it that address inside? {console}")
                };
                Error::Connect { place, reason, hint: Some(hint) }
            }
            Error::HostKey { reason, .. } => Error::HostKey { place, reason },
            other => other,
        }
    }
}

/// Whether a guest is there, and does not take the key.
pub(crate) fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Connect { reason, .. } if reason.contains(DENIED))
}

#[async_trait]
impl Runner for BySsh {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        self.door.run_lines(&Self::inside(command), line).await.map_err(|error| self.told(error))
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        self.door.hold(&Self::inside(command)).await.map_err(|error| self.told(error))
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        self.door.connect(host, port, limit).await.map_err(|error| self.told(error))
    }

    async fn fresh(&self) -> Result<(), Error> {
        self.door.fresh().await.map_err(|error| self.told(error))
    }

    fn place(&self) -> String {
        format!("virtual machine {} ({})", self.id, self.door.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that lets nobody in, or runs what it is told.
    #[derive(Debug)]
    struct Guest(Option<&'static str>);

    #[async_trait]
    impl Runner for Guest {
        async fn run_lines(
            &self,
            command: &Command,
            _: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            match self.0 {
                Some("key") => Err(Error::HostKey { place: self.place(), reason: "changed".to_owned() }),
                Some("node") => Err(Error::Connect {
                    place: "root@pve1".to_owned(),
                    reason: "Connection refused".to_owned(),
                    hint: Some("the node's".to_owned()),
                }),
                Some(reason) => {
                    Err(Error::Connect { place: self.place(), reason: reason.to_owned(), hint: None })
                }
                None => Ok(Output { stdout: command.argv.join(" ").into_bytes(), ..Output::default() }),
            }
        }

        async fn hold(&self, _: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            Ok(Err(Output::default()))
        }

        async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
            Err(Error::Connect { place: self.place(), reason: "no route".to_owned(), hint: None })
        }

        fn place(&self) -> String {
            "root@10.0.0.111".to_owned()
        }
    }

    async fn ran(guest: Guest) -> Result<Output, Error> {
        BySsh::new(Arc::new(guest), 1001).run(&Command::new("looking", ["id", "-u"])).await
    }

    #[tokio::test]
    async fn what_keeps_it_out_is_told_apart_and_says_what_to_do() {
        for (said, hint) in [
            ("root@10.0.0.111: Permission denied (publickey)", "permitrootlogin"),
            ("ssh: connect to host 10.0.0.111 port 22: Connection refused", "systemctl status ssh"),
            ("Connection timed out during banner exchange", "is it up"),
        ] {
            let error = ran(Guest(Some(said))).await.unwrap_err();
            let Error::Connect { place, hint: Some(told), .. } = &error else { panic!("{error:?}") };
            assert!(
                place.contains("1001") && told.contains(hint) && told.contains("qm terminal 1001"),
                "{told}"
            );
            assert_eq!(is_denied(&error), said.contains("denied"));
        }
        let error = ran(Guest(Some("node"))).await.unwrap_err();
        assert!(
            matches!(&error, Error::Connect { hint, .. } if hint.as_deref() == Some("the node's")),
            "{error:?}"
        );
        let error = ran(Guest(Some("key"))).await.unwrap_err();
        assert!(matches!(&error, Error::HostKey { place, .. } if place.contains("1001")), "{error:?}");
    }

    #[tokio::test]
    async fn what_runs_there_has_an_environment_of_its_own() {
        let said = ran(Guest(None)).await.unwrap().text().into_owned();
        assert!(said.starts_with("env -i PATH=/usr/local/sbin:") && said.ends_with(" id -u"), "{said}");
    }
}
