//! One request and its answer: the seam between the typed client and whatever answers it (HTTPS, the simulated
//! node of the lab, a recording).

use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

/// The HTTP methods the Proxmox VE API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Reads; never changes anything.
    Get,
    /// Creates, or starts an action.
    Post,
    /// Changes.
    Put,
    /// Removes.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// A request, without its credentials: those belong to the exchange that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path below `/api2/json`, with its segments percent-encoded, e.g. `/nodes/pve1/lxc`.
    pub path: String,
    /// The parameters: the query of a GET or DELETE, the form of a POST or PUT. A list is a repeated key.
    pub params: Vec<(String, String)>,
}

/// A file of this machine that goes along with a request.
#[derive(Debug, Clone)]
pub struct Attached {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called there.
    pub name: String,
    /// The longest that sending it may take.
    pub limit: Duration,
    /// How many bytes of it have been sent.
    pub sent: Arc<AtomicU64>,
}

/// An answer, as it came: any status, and the body as JSON (`null` when it was empty or no JSON).
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The reason phrase, in which Proxmox VE says what went wrong. HTTP/1.1 only.
    pub reason: String,
    /// The body: `{"data": …}`, with `errors` and `message` on failure.
    pub body: Value,
}

/// Why no answer came. Whether it is safe to send again is in the variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The request never left: safe to send again.
    #[error("no connection to {endpoint}: {reason}")]
    NeverSent {
        /// The node's address.
        endpoint: String,
        /// The cause in words.
        reason: String,
    },
    /// The node showed a certificate that neither verifies nor matches the pin. Nothing was sent.
    #[error("{endpoint} has another certificate than the site declares (sha256 {seen})")]
    Certificate {
        /// The node's address.
        endpoint: String,
        /// The SHA-256 fingerprint of the certificate seen, as `AA:BB:…`.
        seen: String,
    },
    /// The request may have arrived and taken effect: look before doing anything again.
    #[error("lost the answer of {endpoint} to {request}: {reason}")]
    MaybeSent {
        /// The node's address.
        endpoint: String,
        /// Method and path.
        request: String,
        /// The cause in words.
        reason: String,
    },
}

/// Tells of an exchange, and records it where somebody listens: `{"method", "path", "params", "status", "reason",
/// "body"}`, a repeated parameter as a list. What is secret is masked by whoever listens.
pub(crate) fn tell(
    request: &Request,
    result: Result<&Response, &ExchangeError>,
    begun: std::time::Instant,
    size: usize,
) {
    let what = crate::error::described(request);
    let outcome = match result {
        Ok(response) => format!("{} {}", response.status, response.reason),
        Err(error) => error.to_string(),
    };
    transport::log_exchange(&what, begun, size, outcome.trim_end());
    if !tracing::enabled!(target: transport::RECORD, tracing::Level::TRACE) {
        return;
    }
    let line = match result {
        Ok(response) => {
            let mut params = serde_json::Map::new();
            for (key, value) in &request.params {
                let value = Value::String(value.clone());
                match params.get_mut(key) {
                    None => drop(params.insert(key.clone(), value)),
                    Some(Value::Array(list)) => list.push(value),
                    Some(one) => *one = Value::Array(vec![one.take(), value]),
                }
            }
            serde_json::json!({
                "method": request.method.to_string(), "path": request.path, "params": params,
                "status": response.status, "reason": response.reason, "body": response.body,
            })
        }
        Err(error) => serde_json::json!({ "scenario": format!("{what}: {error}") }),
    };
    tracing::trace!(target: transport::RECORD, line = %line);
}

/// Something that carries a request to a Proxmox VE node and brings the answer.
#[async_trait]
pub trait Exchange: Send + Sync + Debug {
    /// Sends `request` and waits, within a bound, for the answer. An error status is an answer, not an error.
    ///
    /// # Errors
    /// When no answer came; see [`ExchangeError`] for what may be done then.
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError>;

    /// The same over a connection that is made for it, whatever connections are kept: after a change of a firewall that
    /// alone tells whether the way in is still open.
    ///
    /// # Errors
    /// As [`Exchange::exchange`].
    async fn fresh(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.exchange(request).await
    }

    /// The same with a file, as `multipart/form-data`: the parameters in their order, and the file last, as the node wants it.
    ///
    /// # Errors
    /// As [`Exchange::exchange`], and when the file cannot be read.
    async fn upload(&self, request: &Request, _file: &Attached) -> Result<Response, ExchangeError> {
        Err(ExchangeError::NeverSent {
            endpoint: self.endpoint(),
            reason: format!("{} {} carries no files on this way", request.method, request.path),
        })
    }

    /// The node's address, for messages.
    fn endpoint(&self) -> String;
}
