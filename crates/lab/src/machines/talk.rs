//! Talking to a machine's process (QMP), and to the guest agent in it: JSON, a line each, over Unix sockets.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::runtime::{AgentError, TaskError};

/// How long a machine's process may take for an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// How long the agent may take to say that it is there (PVE::QMPClient, of `guest-ping`: 3 s).
const THERE: Duration = Duration::from_secs(3);
/// How long it may take for an answer.
const AGENT: Duration = Duration::from_secs(60);
/// A byte that is in no JSON: before it, the agent forgets what it has heard half.
const DELIMITER: u8 = 0xff;

/// A connection, line by line.
struct Lines(BufReader<UnixStream>);

impl Lines {
    async fn open(socket: &Utf8Path) -> std::io::Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket).await?)))
    }

    async fn send(&mut self, before: &[u8], command: &str, arguments: Value) -> std::io::Result<()> {
        let mut message = json!({ "execute": command });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        self.0.get_mut().write_all(&[before, format!("{message}\n").as_bytes()].concat()).await
    }

    /// The next answer; what is no answer, as an event, is passed over.
    async fn answer(&mut self) -> std::io::Result<Result<Value, String>> {
        loop {
            let mut line = Vec::new();
            if self.0.read_until(b'\n', &mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line: Vec<u8> = line.into_iter().filter(|byte| *byte != DELIMITER).collect();
            let Ok(mut said) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(text) = said["error"]["desc"].as_str() {
                return Ok(Err(text.to_owned()));
            }
            if said.get("return").is_some() {
                return Ok(Ok(said["return"].take()));
            }
        }
    }
}

/// Has a machine's process do something. A refusal is in its words.
pub(super) async fn qmp(id: u32, command: &str, arguments: Value) -> Result<Value, TaskError> {
    let asked = ask(&super::socket(id, "qmp"), command, arguments).await;
    asked.map_err(|why| TaskError(format!("VM {id} qmp command '{command}' failed - {why}")))
}

/// Has the process of QEMU that listens there do something: its answer, or why there is none.
pub(crate) async fn ask(socket: &Utf8Path, command: &str, arguments: Value) -> Result<Value, String> {
    let asked = async {
        let mut lines = Lines::open(socket).await?;
        // It says hello first, and listens to nothing before it was told what is understood.
        lines.send(b"", "qmp_capabilities", Value::Null).await?;
        let _ready = lines.answer().await?;
        lines.send(b"", command, arguments).await?;
        lines.answer().await
    };
    match timeout(ANSWER, asked).await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("got timeout".to_owned()),
    }
}

/// Asks the guest agent.
pub(super) async fn agent(id: u32, command: &str, arguments: Value) -> Result<Value, AgentError> {
    let socket = super::socket(id, "qga");
    let greeting = async {
        let mut lines = Lines::open(&socket).await?;
        // Whatever somebody did not wait for comes before this number, which is nobody else's.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let number = u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff;
        lines.send(&[DELIMITER], "guest-sync-delimited", json!({ "id": number })).await?;
        while lines.answer().await?.ok().and_then(|said| said.as_u64()) != Some(number) {}
        std::io::Result::Ok(lines)
    };
    let Ok(Ok(mut lines)) = timeout(THERE, greeting).await else { return Err(AgentError::Down) };
    // It goes down with the system, and says nothing any more.
    let silent = command == "guest-shutdown";
    let asked = async {
        lines.send(b"", command, arguments).await?;
        if silent { Ok(Ok(json!({}))) } else { lines.answer().await }
    };
    match timeout(AGENT, asked).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(text))) => Err(AgentError::Said(text)),
        Ok(Err(_)) => Err(AgentError::Down),
        Err(_) => Err(AgentError::Said(format!("got timeout of '{command}'"))),
    }
}
