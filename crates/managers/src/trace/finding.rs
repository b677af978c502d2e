//! What a walk finds: a line for each hop.

use serde::Serialize;
use serde_json::{Value, json};

/// A hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hop {
    /// What the name means.
    Dns,
    /// The way packets take.
    Route,
    /// What lets them through.
    Firewall,
    /// The connection.
    Tcp,
    /// The handshake and the certificate.
    Tls,
    /// What the proxy serves.
    Proxy,
    /// The guest that runs the service.
    Service,
    /// The answer.
    Http,
}

impl Hop {
    /// As in JSON and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Route => "route",
            Self::Firewall => "firewall",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Service => "service",
            Self::Http => "http",
        }
    }
}

/// How a hop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Good,
    /// It holds, and will not for long.
    Weak,
    /// Nothing gets through.
    Broken,
}

/// Why a hop breaks, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A stable code: `trace::refused`.
    pub code: &'static str,
    /// In words; several lines where there is more to say.
    pub text: String,
    /// The next commands.
    pub hint: String,
}

impl Cause {
    /// A cause.
    pub fn new(code: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, text: text.into(), hint: hint.into() }
    }
}

/// What was found at a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The hop.
    pub hop: Hop,
    /// Who asked: `outside`, `container.gateway`.
    pub place: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// Why it is not good.
    pub cause: Option<Cause>,
}

impl Finding {
    /// A hop that is as it should be.
    pub fn good(hop: Hop, place: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { hop, place: place.into(), state: State::Good, seen: seen.into(), cause: None }
    }

    /// A hop that breaks.
    pub fn broken(hop: Hop, place: impl Into<String>, seen: impl Into<String>, cause: Cause) -> Self {
        Self { hop, place: place.into(), state: State::Broken, seen: seen.into(), cause: Some(cause) }
    }

    /// The same, which holds for now.
    #[must_use]
    pub fn weak(mut self) -> Self {
        self.state = State::Weak;
        self
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let cause = self.cause.as_ref();
        json!({
            "hop": self.hop, "place": self.place, "ok": self.state == State::Good, "state": self.state, "seen": self.seen,
            "code": cause.map(|c| c.code), "cause": cause.map(|c| &c.text), "hint": cause.map(|c| &c.hint),
        })
    }
}

/// A walk from one place, to its end or to the hop that breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Where it began: `outside`, `container.gateway`.
    pub from: String,
    /// The hops in their order. Those after a broken one were not asked.
    pub findings: Vec<Finding>,
}

impl Walk {
    /// How it is as a whole.
    pub fn state(&self) -> State {
        self.findings.iter().map(|f| f.state).max().unwrap_or(State::Good)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "from": self.from, "ok": self.state() == State::Good, "state": self.state(),
            "hops": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        })
    }
}
