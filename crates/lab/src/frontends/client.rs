//! The node's API over its Unix socket, as root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Done;

/// The longest one answer may take. Tasks are asked about again and again, so that no single answer takes long.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest a front end waits for a task.
const TASK: Duration = Duration::from_secs(3600);

/// Parameters of a call.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Why a front end failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The API said no.
    Refused {
        status: u16,
        /// Without a closing line feed.
        message: String,
        errors: BTreeMap<String, String>,
    },
    /// A task ended in an error.
    Task(String),
    /// The API did not answer.
    Lost(String),
}

impl Failure {
    /// What the front ends print without knowing more.
    pub(crate) fn into_done(self) -> Done {
        self.with_usage("")
    }

    /// The same, with the command's usage below parameter errors, as the real ones print it.
    pub(crate) fn with_usage(self, usage: &str) -> Done {
        match self {
            Self::Refused { status: 400, message, errors } => {
                let mut text = format!("400 {message}\n");
                for (key, error) in errors {
                    let _ = writeln!(text, "{key}: {}", error.trim_end());
                }
                if !usage.is_empty() {
                    let _ = writeln!(text, "{usage}");
                }
                Done::failed(255, text)
            }
            Self::Refused { message, .. } => {
                // ENOENT, which Perl's `die` makes the exit status.
                let status = if message.starts_with("Configuration file '") { 2 } else { 255 };
                Done::failed(status, format!("{message}\n"))
            }
            Self::Task(message) => {
                let status = if message.starts_with("Configuration file '") { 2 } else { 255 };
                Done::failed(status, format!("{message}\n"))
            }
            Self::Lost(why) => Done::failed(255, format!("{why}\n")),
        }
    }
}

/// The API of this node.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    socket: Utf8PathBuf,
    node: String,
}

impl Api {
    /// The node this process runs on.
    pub(crate) fn on_node() -> Self {
        let local = fs_err::read_link("/etc/pve/local").ok();
        let node = local.and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
        Self {
            socket: camino::Utf8Path::new(crate::up::NODE_STATE).join(crate::up::SOCKET),
            node: node.unwrap_or_else(|| "localhost".to_owned()),
        }
    }

    /// The API behind a socket.
    pub(crate) fn at(socket: &camino::Utf8Path, node: &str) -> Self {
        Self { socket: socket.to_owned(), node: node.to_owned() }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// A path below this node.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/nodes/{}{rest}", self.node)
    }

    /// Sends one request and gives its `data`.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        parameters: &Parameters,
    ) -> Result<Value, Failure> {
        let lost = |why: String| Failure::Lost(format!("the node's API does not answer: {why}"));
        let work = self.exchange(method, path, parameters);
        let (status, reason, body) = match tokio::time::timeout(ANSWER, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Err(lost(why)),
            Err(_) => return Err(lost(format!("nothing came within {ANSWER:?}"))),
        };
        if status < 300 {
            return Ok(body.get("data").cloned().unwrap_or(Value::Null));
        }
        let message = body.get("message").and_then(Value::as_str).unwrap_or(&reason).trim_end().to_owned();
        let errors = body.get("errors").and_then(Value::as_object).into_iter().flatten();
        let errors = errors.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
        Err(Failure::Refused { status, message, errors })
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        parameters: &Parameters,
    ) -> Result<(u16, String, Value), String> {
        let parameters: Vec<(String, String)> =
            parameters.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        send(&self.socket, method, path, &parameters, None).await.map_err(|error| error.to_string())
    }

    /// As [`Api::call`], and when the answer is a task, waits for its end. Gives the task's log, or the data as it was.
    pub(crate) async fn call_and_wait(
        &self,
        method: &str,
        path: &str,
        parameters: &Parameters,
    ) -> Result<CallOutcome, Failure> {
        let data = self.call(method, path, parameters).await?;
        match data.as_str().filter(|text| text.starts_with("UPID:")) {
            Some(upid) => self.wait(upid).await.map(|log| CallOutcome { data: data.clone(), log }),
            None => Ok(CallOutcome { data, log: Vec::new() }),
        }
    }

    async fn wait(&self, upid: &str) -> Result<Vec<String>, Failure> {
        let mut encoded = String::new();
        encode(upid, &mut encoded);
        // `UPID:NODE:…`: it may be another node's of the cluster.
        let node = upid.split(':').nth(1).unwrap_or(&self.node);
        let path = format!("/nodes/{node}/tasks/{encoded}");
        let began = Instant::now();
        let none = Parameters::new();
        let status = loop {
            let now = self.call("GET", &format!("{path}/status"), &none).await?;
            if now.get("status").and_then(Value::as_str) == Some("stopped") {
                break now.get("exitstatus").and_then(Value::as_str).unwrap_or("unknown").to_owned();
            }
            if began.elapsed() > TASK {
                return Err(Failure::Task(format!("the task {upid} still runs after {TASK:?}")));
            }
            // The API has no call that waits for a task.
            tokio::time::sleep(Duration::from_millis(30)).await;
        };
        let limit = Parameters::from([("limit".to_owned(), "0".to_owned())]);
        let log = self.call("GET", &format!("{path}/log"), &limit).await?;
        let lines = log
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|line| line.get("t")?.as_str())
            .filter(|line| !line.starts_with("TASK "))
            .map(str::to_owned)
            .collect();
        if status == "OK" || status.starts_with("WARNINGS") { Ok(lines) } else { Err(Failure::Task(status)) }
    }
}

/// One request to an API behind a socket, and its status, reason and body. `identity` is for whom another node asks.
pub(crate) async fn send(
    socket: &camino::Utf8Path,
    method: &str,
    path: &str,
    parameters: &[(String, String)],
    identity: Option<&str>,
) -> std::io::Result<(u16, String, Value)> {
    let broken = |e: hyper::Error| std::io::Error::other(e);
    let stream = UnixStream::connect(socket).await?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
    let driver = tokio::spawn(connection);
    let form: String = parameters.iter().fold(String::new(), |mut all, (key, value)| {
        if !all.is_empty() {
            all.push('&');
        }
        encode(key, &mut all);
        all.push('=');
        encode(value, &mut all);
        all
    });
    let in_body = matches!(method, "POST" | "PUT");
    let (query, body) = if in_body { (String::new(), form) } else { (form, String::new()) };
    let mark = match (query.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(format!("/api2/json{path}{mark}{query}"))
        .header("host", "localhost")
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(identity) = identity {
        request = request.header(crate::server::IDENTITY, identity);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(std::io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let reason = answer.extensions().get::<hyper::ext::ReasonPhrase>();
    let reason = reason.map_or_else(
        || status.canonical_reason().unwrap_or_default().to_owned(),
        |r| String::from_utf8_lossy(r.as_bytes()).into_owned(),
    );
    let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
    driver.abort();
    Ok((status.as_u16(), reason, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// What a call led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallOutcome {
    pub data: Value,
    pub log: Vec<String>,
}

impl CallOutcome {
    pub(crate) fn into_done(self) -> Done {
        Done::text(self.log.iter().map(|line| format!("{line}\n")).collect::<String>())
    }
}

/// Percent-encodes what is not unreserved (RFC 3986).
pub(crate) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_the_real_ones() {
        // node-commands: `status missing`, `start twice`, `token again`.
        let missing = Failure::Refused {
            status: 500,
            message: "Configuration file 'nodes/pve1/lxc/999.conf' does not exist".into(),
            errors: BTreeMap::new(),
        };
        assert_eq!(
            missing.into_done(),
            Done::failed(2, "Configuration file 'nodes/pve1/lxc/999.conf' does not exist\n")
        );
        assert_eq!(
            Failure::Task("CT 250 already running".into()).into_done(),
            Done::failed(255, "CT 250 already running\n")
        );
        let again = Failure::Refused {
            status: 400,
            message: "Parameter verification failed.".into(),
            errors: [("tokenid".to_owned(), "Token already exists.\n".to_owned())].into(),
        };
        assert_eq!(
            again.with_usage("pveum user token add <userid> <tokenid> [OPTIONS] [FORMAT_OPTIONS]").err,
            "400 Parameter verification failed.\ntokenid: Token already exists.\n\
             pveum user token add <userid> <tokenid> [OPTIONS] [FORMAT_OPTIONS]\n"
        );
    }
}
