//! Into a virtual machine, by its guest agent: the node's API carries commands, so it takes no network of the guest's and no
//! ssh.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreign::limits;
use proxmox::client::GuestRef;
use proxmox::client::agent::{Agent, Ended, FILE, INPUT};
use proxmox::config::GuestKind;
use proxmox::error::{Error as ApiError, ErrorKind};
use tokio::time::Instant;
use transport::{Command, Error, Held, Output, Room, Runner, Sent, Stream};

use crate::settle::Pauses;
use crate::ways::Ways;

/// The environment of a command, and nothing else: what runs in a guest must not depend on who looks at it.
pub(crate) const ENVIRONMENT: [&str; 4] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM=linux",
    "HOME=/root",
    "LANG=C.UTF-8",
];

/// The longest pause between two looks whether a command has ended.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest that a call of a few steps may take, whatever the command that it is for may.
const STEP: Duration = Duration::from_secs(30);

/// Runs commands inside a virtual machine. What a command says arrives when it has ended.
#[derive(Debug, Clone)]
pub struct InVm {
    ways: Ways,
    agent: Agent,
    id: u32,
}

impl InVm {
    /// The virtual machine `id`, wherever `ways` finds it.
    pub fn new(ways: Ways, agent: Agent, id: u32) -> Self {
        Self { ways, agent, id }
    }

    async fn guest(&self) -> Result<GuestRef, Error> {
        let node = match self.ways.known_node_of(self.id) {
            Some(node) => Some(node),
            None => self.ways.ask_for(self.id).await.map_err(|failure| Error::Connect {
                place: self.place(),
                reason: failure.errors.join(": "),
                hint: failure.hint,
            })?,
        };
        let node = node.ok_or_else(|| Error::Connect {
            place: self.place(),
            reason: "there is no such guest".to_owned(),
            hint: Some("phoenix-cli plan shows what is there now".to_owned()),
        })?;
        Ok(GuestRef::new(node, GuestKind::Vm, self.id))
    }

    /// What became of a call. That nothing ran is the node's own word, never the guest's.
    fn failed(&self, purpose: &str, error: &ApiError) -> Error {
        let hint = match error.kind() {
            Some(ErrorKind::NotRunning) => Some(format!("on the node: qm start {}", self.id)),
            Some(ErrorKind::AgentNotRunning) => Some(
                "is qemu-guest-agent installed and running in it? systemctl status qemu-guest-agent"
                    .to_owned(),
            ),
            _ => error.hint(),
        };
        if error.kind().is_some() || error.sent() == Sent::Never {
            return Error::Connect { place: self.place(), reason: error.to_string(), hint };
        }
        Error::Broken { place: self.place(), purpose: purpose.to_owned(), reason: error.to_string() }
    }

    /// One command, with input that one call carries.
    async fn one(&self, guest: &GuestRef, command: &Command, input: &str) -> Result<Output, Error> {
        let argv: Vec<String> = ["env", "-i"]
            .into_iter()
            .chain(ENVIRONMENT)
            .map(str::to_owned)
            .chain(command.argv.iter().cloned())
            .collect();
        let begin = Instant::now();
        let pid = self
            .agent
            .exec(guest, &argv, input)
            .await
            .map_err(|error| self.failed(&command.purpose, &error))?;
        let mut pauses = Pauses::up_to(PAUSE);
        loop {
            match self.agent.ended(guest, pid).await {
                Ok(ended) if ended.exited => return self.output(command, &ended),
                Ok(_) => {}
                // It runs on; whoever asks again is told.
                Err(error) if error.kind().is_none() && begin.elapsed() < command.limit => {}
                Err(error) => {
                    let (place, purpose) = (self.place(), command.purpose.clone());
                    return Err(Error::Broken { place, purpose, reason: error.to_string() });
                }
            }
            if begin.elapsed() > command.limit {
                // Nobody waits for it any more. Should this be lost, too, it ends when it likes.
                let kill = ["kill".to_owned(), "-TERM".to_owned(), pid.to_string()];
                let _ = self.agent.exec(guest, &kill, "").await;
                let (place, purpose, limit) = (self.place(), command.purpose.clone(), command.limit);
                return Err(Error::TimedOut { place, purpose, limit });
            }
            pauses.pause().await;
        }
    }

    fn output(&self, command: &Command, ended: &Ended) -> Result<Output, Error> {
        let most = if command.streamed { usize::MAX } else { command.most.min(limits::GUEST_OUTPUT) };
        let (stdout, stderr) = (as_it_was(&ended.out_data), as_it_was(&ended.err_data));
        if ended.out_truncated || stdout.len() > most {
            return Err(Error::TooMuch {
                place: self.place(),
                purpose: command.purpose.clone(),
                stream: "standard output",
                most: most as u64,
            });
        }
        let status = ended.exitcode.or(ended.signal.map(|signal| 128 + signal)).unwrap_or(-1);
        Ok(Output { status, stdout, stderr })
    }

    /// Puts what one call does not carry into a folder of the guest, in pieces.
    async fn put(&self, guest: &GuestRef, command: &Command) -> Result<Room, Error> {
        let purpose = &command.purpose;
        let make = Command::new(purpose, Room::made_by()).limit(STEP);
        let made = self.one(guest, &make, "").await?;
        let room = Room::of(&made.text()).filter(|_| made.success()).ok_or_else(|| Error::Broken {
            place: self.place(),
            purpose: purpose.clone(),
            reason: format!("there is no room for it: {}", made.tail(2)),
        })?;
        for (number, piece) in command.stdin.chunks(FILE / 4 * 3).enumerate() {
            // The same twice is the same as once.
            let mut tries = 3;
            while let Err(error) = self.agent.write(guest, &room.piece(number), &STANDARD.encode(piece)).await
            {
                tries -= 1;
                if tries == 0 || error.kind().is_some() {
                    return Err(self.failed(purpose, &error));
                }
            }
        }
        Ok(room)
    }
}

/// What a command said, from what the API made of it: Proxmox VE hands on its bytes as characters of their own (recorded: "agent
/// exec"), so that text in UTF-8 has been encoded twice.
fn as_it_was(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    match bytes {
        Some(bytes) if std::str::from_utf8(&bytes).is_ok() => bytes,
        _ => text.as_bytes().to_vec(),
    }
}

#[async_trait]
impl Runner for InVm {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let guest = self.guest().await?;
        let output = match std::str::from_utf8(&command.stdin) {
            Ok(input) if input.len() <= INPUT => self.one(&guest, command, input).await,
            _ => {
                let room = self.put(&guest, command).await?;
                let argv = room.feeds(&command.argv);
                self.one(&guest, &Command { argv, stdin: Vec::new(), ..command.clone() }, "").await
            }
        };
        let mut output = match output {
            // It was moved since it was last looked for; nothing ran.
            Err(Error::Connect { .. }) if !self.ways.alone() => {
                let before = guest.node.clone();
                self.ways.ask_for(self.id).await.ok();
                let now = self.guest().await?;
                if now.node == before {
                    return output;
                }
                return self.run_lines(command, line).await;
            }
            output => output?,
        };
        String::from_utf8_lossy(&output.stdout).lines().for_each(&mut *line);
        if command.streamed {
            output.stdout.clear();
        }
        Ok(output)
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        Err(Error::Connect {
            place: self.place(),
            reason: format!(
                "a guest agent runs commands to their end, so nothing is kept running for {}",
                command.purpose
            ),
            hint: None,
        })
    }

    async fn connect(&self, host: &str, port: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
        Err(Error::Connect {
            place: self.place(),
            reason: format!("a guest agent carries no connections, so none to {host}:{port}"),
            hint: None,
        })
    }

    fn place(&self) -> String {
        match self.ways.known_node_of(self.id) {
            Some(node) if !self.ways.alone() => format!("virtual machine {} on {node}", self.id),
            _ => format!("virtual machine {}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_that_was_encoded_twice() {
        let twice = |text: &str| text.bytes().map(char::from).collect::<String>();
        assert_eq!(as_it_was(&twice("grün ✔\n")), "grün ✔\n".as_bytes());
        assert_eq!(as_it_was("grün ✔\n"), "grün ✔\n".as_bytes(), "from a node that knows better");
        assert_eq!(as_it_was("é"), "é".as_bytes());
    }

    proptest! {
        #[test]
        fn whatever_was_said_arrives(text in ".{0,40}") {
            let twice: String = text.bytes().map(char::from).collect();
            prop_assert_eq!(as_it_was(&twice), text.as_bytes());
        }
    }
}
