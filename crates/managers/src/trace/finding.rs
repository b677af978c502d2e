//! What a walk finds: a line for each hop.

use serde::Serialize;
use serde_json::{Value, json};

/// A hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hop {
    /// What the name means.
    Dns,
    /// The far end's network device, its address, and who answers for it on the network.
    Link,
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
            Self::Link => "link",
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

/// What a cause is about, from the wire upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The guest is not there, or nothing in it goes on.
    Guest,
    /// Its network device.
    Link,
    /// Its address.
    Address,
    /// Who answers for the address.
    Neighbour,
    /// The way there.
    Route,
    /// What lets packets through.
    Firewall,
    /// What names mean.
    Names,
    /// Who listens, and the unit behind it.
    Port,
    /// Certificates, and the site that is served.
    Tls,
    /// What is answered.
    Http,
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

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({ "code": self.code, "cause": self.text, "hint": self.hint })
    }

    /// How near to the wire it is: what is nearer has to be mended first, since nothing beyond it can work.
    pub fn layer(&self) -> Layer {
        let about = self.code.strip_prefix("trace::").unwrap_or_default();
        match self.code {
            "trace::guest-missing" | "trace::guest-stopped" | "trace::guest-hangs" | "trace::cannot-ask" => {
                Layer::Guest
            }
            "trace::link-down" => Layer::Link,
            "trace::address-missing" => Layer::Address,
            "trace::address-taken" | "trace::unreachable" => Layer::Neighbour,
            "trace::no-route" => Layer::Route,
            "trace::no-flow" | "trace::rule-missing" | "trace::rule-drops" | "trace::silent" => {
                Layer::Firewall
            }
            _ if about.starts_with("dns-") => Layer::Names,
            "trace::no-such-name" | "trace::not-outside" => Layer::Names,
            "trace::unit-missing"
            | "trace::unit-never-ran"
            | "trace::unit-stopped"
            | "trace::unit-failed"
            | "trace::stack-down"
            | "trace::port-taken"
            | "trace::disk-full"
            | "trace::listens-elsewhere"
            | "trace::refused"
            | "trace::connection" => Layer::Port,
            _ if about.starts_with("certificate-") => Layer::Tls,
            "trace::clock"
            | "trace::renewal-failed"
            | "trace::ca-down"
            | "trace::not-trusted"
            | "trace::tls"
            | "trace::site-aside"
            | "trace::site-missing" => Layer::Tls,
            _ => Layer::Http,
        }
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
    /// Why it is not good: of all that was seen, what is nearest to the wire.
    pub cause: Option<Cause>,
    /// What else is wrong there, in the same order.
    pub also: Vec<Cause>,
}

impl Finding {
    /// A hop that is as it should be.
    pub fn good(hop: Hop, place: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            hop,
            place: place.into(),
            state: State::Good,
            seen: seen.into(),
            cause: None,
            also: Vec::new(),
        }
    }

    /// A hop that breaks.
    pub fn broken(hop: Hop, place: impl Into<String>, seen: impl Into<String>, cause: Cause) -> Self {
        Self {
            hop,
            place: place.into(),
            state: State::Broken,
            seen: seen.into(),
            cause: Some(cause),
            also: Vec::new(),
        }
    }

    /// The same, which holds for now.
    #[must_use]
    pub fn weak(mut self) -> Self {
        self.state = State::Weak;
        self
    }

    /// All that is wrong there.
    pub fn causes(&self) -> impl Iterator<Item = &Cause> {
        self.cause.iter().chain(&self.also)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let cause = self.cause.as_ref();
        json!({
            "hop": self.hop, "place": self.place, "ok": self.state == State::Good, "state": self.state, "seen": self.seen,
            "code": cause.map(|c| c.code), "cause": cause.map(|c| &c.text), "hint": cause.map(|c| &c.hint),
            "also": self.also.iter().map(Cause::json).collect::<Vec<_>>(),
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
