//! Services of guests: what they speak, how clients get to them, and who may.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSource;
use crate::values::{Domain, HeadSize, Label, MemorySize, Rate, UrlPath, Wait};

/// A service that the container runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceSource {
    /// The TCP port it listens on in its container.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What it speaks there.
    #[schemars(extend("default" = "http"))]
    pub protocol: Option<ProtocolSource>,
    /// How clients get to it.
    #[schemars(extend("default" = "none"))]
    pub expose: Option<ExposeSource>,
    /// The container that is its gateway, where the workshop has several.
    pub gateway: Option<Label>,
    /// Further names: one word below the site's domain, or a complete name of the site's domain.
    #[schemars(extend("default" = serde_json::json!([])))]
    pub aliases: Option<Vec<Domain>>,
    /// Names of a public domain under which the gateway serves it too, with certificates of the public authority that
    /// `certificates.acme` names.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["notes.example.org"]])))]
    pub public: Option<Vec<Domain>>,
    /// For `tcp` through the gateway: the port the gateway listens on. Where absent, the service's own.
    #[schemars(range(min = 1, max = 65535))]
    pub listen: Option<u16>,
    /// For `tcp` through the gateway: whether the gateway speaks TLS with clients there.
    #[schemars(extend("default" = true))]
    pub tls: Option<bool>,
    /// Whether the proxy in front of it shows a certificate of its own, so that the service can refuse everybody else.
    #[schemars(extend("default" = false))]
    pub mutual: Option<bool>,
    /// For `https`: whether its proxy verifies who it is, by the guest's own certificate of the workshop. Without that,
    /// whoever stands between the two can read and change everything; `health` says so each time.
    #[schemars(extend("default" = true))]
    pub verify: Option<bool>,
    /// Whether a connection to it may become a WebSocket. Nothing else is ever upgraded.
    #[schemars(extend("default" = true))]
    pub websocket: Option<bool>,
    /// Whether the gateway tells browsers to be careful with its pages, where it says nothing itself: HTTPS from now on, no
    /// guessing of types, little in `Referer`, and no frames but in pages of the site's own domain.
    #[schemars(extend("default" = true))]
    pub security_headers: Option<bool>,
    /// Who may use it through its proxy.
    pub access: Option<AccessSource>,
    /// Whether others may go around its proxy, straight to its port, where neither `access` nor `limits` hold. Needed
    /// where they can: without a firewall in zero trust.
    #[schemars(extend("default" = false))]
    pub bypass: Option<bool>,
    /// How much of it a client gets through its proxy.
    pub limits: Option<LimitsSource>,
    /// The path that tells whether it works; for `tcp`, a connection is enough.
    #[schemars(extend("default" = "/"))]
    pub path: Option<UrlPath>,
    /// The status that path answers with. Where absent, any below 400.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
}

impl ServiceSource {
    /// With what another one says where this one says nothing.
    #[must_use]
    pub fn over(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            port: self.port,
            protocol: self.protocol.or(other.protocol),
            expose: self.expose.or(other.expose),
            gateway: self.gateway.or(other.gateway),
            aliases: self.aliases.or(other.aliases),
            public: self.public.or(other.public),
            listen: self.listen.or(other.listen),
            tls: self.tls.or(other.tls),
            mutual: self.mutual.or(other.mutual),
            verify: self.verify.or(other.verify),
            websocket: self.websocket.or(other.websocket),
            security_headers: self.security_headers.or(other.security_headers),
            access: self.access.or(other.access),
            bypass: self.bypass.or(other.bypass),
            limits: self.limits.or(other.limits),
            path: self.path.or(other.path),
            status: self.status.or(other.status),
        }
    }
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolSource {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS, with the guest's own certificate of the workshop.
    Https,
    /// Anything else over TCP.
    Tcp,
}

/// Who may use a service through its proxy: where several are said, all of them must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccessSource {
    /// Users with their passwords (HTTP basic authentication). Only at the gateway.
    #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^[^:\\s]+$"})))]
    pub basic: Option<BTreeMap<String, SecretSource>>,
    /// Whether a client must show a certificate of the workshop. Every guest has one: `client-names` says whose.
    #[schemars(extend("default" = false))]
    pub client_certificate: Option<bool>,
    /// With `client-certificate`: whose certificates are taken, by container, or by the complete name in them; those of
    /// everybody where absent.
    #[schemars(extend("examples" = serde_json::json!([["notes", "laptop.workshop.internal"]])))]
    pub client_names: Option<Vec<Domain>>,
}

/// How much of a service a client gets through its proxy.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsSource {
    /// The largest request: `512M` is MiB, `0M` is any. Where absent, what the proxy's feature says.
    pub body: Option<MemorySize>,
    /// The largest head, of a request and of an answer: all of its header fields, such as cookies. `128K` is KiB. Larger
    /// requests are refused with 400, larger answers with 502. Only at the gateway; the mesh passes more.
    #[schemars(extend("default" = "64K"))]
    pub headers: Option<HeadSize>,
    /// How long the service may be silent before the proxy gives up: `30s`, `1h`. A `tcp` service may be for a day.
    #[schemars(extend("default" = "10m"))]
    pub timeout: Option<Wait>,
    /// How many requests one client may make; more are refused with 429. Only at the gateway.
    pub rate: Option<Rate>,
    /// How many requests more than `rate` are let through at once.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 20))]
    pub burst: Option<u32>,
}

/// How clients get to a service.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExposeSource {
    /// By the container's own address and port.
    Direct,
    /// Through the gateway, over HTTPS: for people.
    Gateway,
    /// Through the mesh, over TLS, from inside the workshop only: for other services.
    Mesh,
    /// Not at all: only the container itself knows it.
    None,
}
