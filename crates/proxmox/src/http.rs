//! The API over HTTPS.

mod multipart;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foreign::limits::API_ANSWER;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use tls::{Beside, Fingerprint, FingerprintError, Trust};

use crate::client::path;
use crate::error::described;
use crate::exchange::{Attached, Exchange, ExchangeError, Method, Request, Response};

/// How old a ticket may get before a new one is asked for. The node takes them for two hours (pve-access-control,
/// `$ticket_lifetime`).
const TICKET_AGE: Duration = Duration::from_secs(3600);

/// What proves who is asking.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API token: the narrow way.
    Token {
        /// Its full name, `user@realm!name`.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// A user's password, from which a ticket is made and renewed: the only way to be root@pam itself.
    Ticket {
        /// `user@realm`.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// How to reach a node.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// As in `https://10.0.0.13:8006`. Without TLS only on loopback.
    pub endpoint: String,
    /// Which certificates are believed.
    pub trust: Trust,
    /// The certificate that is believed beside them.
    pub beside: Beside,
    /// Who is asking.
    pub credential: Credential,
    /// The longest that making a connection may take.
    pub connect_limit: Duration,
    /// The longest that a whole request may take, its answer included.
    pub limit: Duration,
}

impl HttpOptions {
    /// With limits that suit a node in the house: 10 seconds to connect, and 60 in all, since pveproxy gives up on a
    /// call after 30.
    pub fn new(endpoint: impl Into<String>, trust: Trust, credential: Credential) -> Self {
        let (connect_limit, limit) = (Duration::from_secs(10), Duration::from_secs(60));
        Self { endpoint: endpoint.into(), trust, beside: Beside::default(), credential, connect_limit, limit }
    }
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpOptionsError {
    /// The endpoint is no address of a node.
    #[error("`{endpoint}` is no address of a node: {reason}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// The certificate authority cannot be used, or the system has none.
    #[error("cannot check certificates: {0}")]
    Tls(String),
    /// The token or user has characters that no header takes.
    #[error("the credential holds characters that no HTTP header takes")]
    Credential,
}

/// Carries requests over HTTPS. Each is sent once; sending again is the caller's decision.
pub struct HttpExchange {
    client: reqwest::Client,
    base: String,
    endpoint: String,
    options: HttpOptions,
    ticket: Mutex<Option<Ticket>>,
    seen: tls::Seen,
}

impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpExchange").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Ticket {
    cookie: SecretString,
    csrf: SecretString,
    made: Instant,
}

impl HttpExchange {
    /// Prepares the exchange; nothing is sent yet.
    ///
    /// # Errors
    /// When the options cannot be used.
    pub fn new(options: HttpOptions) -> Result<Self, HttpOptionsError> {
        let wrong = |reason: &str| HttpOptionsError::Endpoint {
            endpoint: options.endpoint.clone(),
            reason: reason.to_owned(),
        };
        let url = Url::parse(&options.endpoint).map_err(|error| wrong(&error.to_string()))?;
        let host = url.host_str().ok_or_else(|| wrong("it names no host"))?;
        let bare = host.trim_matches(['[', ']']);
        let loopback = bare == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err(wrong("it does not begin with https://")),
        }
        if url.path() != "/"
            || url.query().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(wrong("scheme, host and port are all it may hold"));
        }
        let port = url.port().unwrap_or(if url.scheme() == "https" { 8006 } else { 80 });
        let seen = tls::Seen::default();
        let config = tls::config(&options.trust, options.beside.clone(), seen.clone())
            .map_err(HttpOptionsError::Tls)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            // HTTP/1.1 has the reason phrase, in which the node says what went wrong.
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // pveproxy closes a connection that was idle for five seconds (pve-http-server): one that may be closing
            // this moment is not used again, so that no request is lost to it.
            .pool_idle_timeout(Duration::from_secs(3))
            .connect_timeout(options.connect_limit)
            .timeout(options.limit)
            .build()
            .map_err(|error| HttpOptionsError::Tls(chain(&error)))?;
        if let Credential::Token { id, secret } = &options.credential {
            let plain =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
            if !plain(id) || !plain(secret.expose_secret()) {
                return Err(HttpOptionsError::Credential);
            }
        }
        Ok(Self {
            client,
            base: format!("{}://{host}:{port}/api2/json", url.scheme()),
            endpoint: format!("{host}:{port}"),
            options,
            ticket: Mutex::default(),
            seen,
        })
    }

    /// Sends one request with the headers given, reads its answer, and tells of both.
    async fn send(
        &self,
        request: &Request,
        file: Option<&Attached>,
        headers: &[(&str, &SecretString)],
    ) -> Result<Response, ExchangeError> {
        let begun = std::time::Instant::now();
        let mut size = 0;
        let result = self.send_untold(request, file, headers, &mut size).await;
        crate::exchange::tell(request, result.as_ref(), begun, size);
        result
    }

    /// `size` becomes that of the answer's body.
    async fn send_untold(
        &self,
        request: &Request,
        file: Option<&Attached>,
        headers: &[(&str, &SecretString)],
        size: &mut usize,
    ) -> Result<Response, ExchangeError> {
        let url = format!("{}{}", self.base, request.path);
        let mut builder = match (request.method, file) {
            (_, Some(file)) => {
                let body = multipart::Body::new(&request.params, file).await;
                let body = body.map_err(|error| self.never(format!("{}: {error}", file.path.display())))?;
                let sent = self.client.post(url).timeout(file.limit);
                sent.header(CONTENT_TYPE, body.kind()).header(CONTENT_LENGTH, body.length()).body(body.sent())
            }
            (method, None) => self.without_file(method, url, request),
        };
        for (name, value) in headers {
            let mut value = reqwest::header::HeaderValue::from_str(value.expose_secret()).map_err(|_| {
                self.never("the credential holds characters that no HTTP header takes".to_owned())
            })?;
            value.set_sensitive(true);
            builder = builder.header(*name, value);
        }
        let mut answer = builder.send().await.map_err(|error| self.failed(request, &error))?;
        let status = answer.status();
        let reason = match answer.extensions().get::<hyper::ext::ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.lost(request, chain(&error)))? {
            bytes.extend_from_slice(&chunk);
            *size = bytes.len();
            if bytes.len() > API_ANSWER {
                return Err(self.lost(request, format!("it is longer than {API_ANSWER} bytes")));
            }
        }
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) if bytes.is_empty() || !status.is_success() => Value::Null,
            Err(error) => return Err(self.lost(request, format!("it is cut, or no JSON ({error})"))),
        };
        Ok(Response { status: status.as_u16(), reason, body })
    }

    fn without_file(&self, method: Method, url: String, request: &Request) -> reqwest::RequestBuilder {
        match method {
            Method::Get => self.client.get(url).query(&request.params),
            Method::Delete => self.client.delete(url).query(&request.params),
            Method::Post => self.client.post(url).form(&request.params),
            Method::Put => self.client.put(url).form(&request.params),
        }
    }

    fn failed(&self, request: &Request, error: &reqwest::Error) -> ExchangeError {
        if !error.is_connect() && !error.is_builder() {
            return self.lost(request, chain(error));
        }
        let reason = chain(error);
        match self.seen.refused().filter(|_| reason.contains("certificate")) {
            Some(seen) => {
                ExchangeError::Certificate { endpoint: self.endpoint.clone(), seen: seen.to_string() }
            }
            None => self.never(reason),
        }
    }

    fn never(&self, reason: String) -> ExchangeError {
        ExchangeError::NeverSent { endpoint: self.endpoint.clone(), reason }
    }

    fn lost(&self, request: &Request, reason: String) -> ExchangeError {
        ExchangeError::MaybeSent { endpoint: self.endpoint.clone(), request: described(request), reason }
    }

    /// A ticket young enough, made when there is none. `Err(Ok(_))` is the node's refusal to give one.
    async fn ticket(
        &self,
        user: &str,
        password: &SecretString,
    ) -> Result<Ticket, Result<Response, ExchangeError>> {
        let mut kept = self.ticket.lock().await;
        if let Some(ticket) = kept.as_ref().filter(|ticket| ticket.made.elapsed() < TICKET_AGE) {
            return Ok(ticket.clone());
        }
        let request = Request {
            method: Method::Post,
            path: path(["access", "ticket"]),
            params: vec![
                ("username".to_owned(), user.to_owned()),
                ("password".to_owned(), password.expose_secret().to_owned()),
            ],
        };
        // A lost login did nothing: what was asked for has not been sent.
        let response = self.send(&request, None, &[]).await.map_err(|error| {
            Err(match error {
                ExchangeError::MaybeSent { reason, .. } => self.never(format!("logging in: {reason}")),
                other => other,
            })
        })?;
        if response.status != 200 {
            return Err(Ok(response));
        }
        let field = |name: &str| response.body["data"][name].as_str();
        let second_factor = !matches!(&response.body["data"]["NeedTFA"], Value::Null | Value::Bool(false));
        match (field("ticket"), field("CSRFPreventionToken")) {
            (Some(ticket), Some(csrf)) if !second_factor => {
                // The cookie is percent-encoded: a ticket holds `:`, `=` and `+` (pve-apiclient does the same).
                let cookie = path([ticket]);
                let ticket = Ticket {
                    cookie: format!("PVEAuthCookie={}", cookie.trim_start_matches('/')).into(),
                    csrf: csrf.to_owned().into(),
                    made: Instant::now(),
                };
                *kept = Some(ticket.clone());
                Ok(ticket)
            }
            _ if second_factor => Err(Err(self.never(format!("logging in {user} needs a second factor")))),
            _ => Err(Err(self.never("the answer to the login holds no ticket".to_owned()))),
        }
    }
}

/// An error with all its causes. `reqwest` alone only says that something went wrong; its address is left out.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // `reqwest` names the address in its own words.
        let text = text.split(" for url (").next().unwrap_or_default().to_owned();
        if words.last().is_none_or(|last| !last.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

impl HttpExchange {
    async fn carry(&self, request: &Request, file: Option<&Attached>) -> Result<Response, ExchangeError> {
        match &self.options.credential {
            Credential::Token { id, secret } => {
                let token: SecretString = format!("PVEAPIToken={id}={}", secret.expose_secret()).into();
                self.send(request, file, &[(AUTHORIZATION.as_str(), &token)]).await
            }
            Credential::Ticket { user, password } => {
                for last in [false, true] {
                    let ticket = match self.ticket(user, password).await {
                        Ok(ticket) => ticket,
                        Err(outcome) => return outcome,
                    };
                    let mut headers = vec![(COOKIE.as_str(), &ticket.cookie)];
                    if request.method != Method::Get {
                        headers.push(("CSRFPreventionToken", &ticket.csrf));
                    }
                    let response = self.send(request, file, &headers).await?;
                    // A refused ticket did nothing, and may only be too old for a node whose keys were renewed.
                    if response.status != 401 || last {
                        return Ok(response);
                    }
                    self.ticket.lock().await.take_if(|kept| kept.made == ticket.made);
                }
                Err(self.never("the login was refused twice".to_owned()))
            }
        }
    }
}

#[async_trait]
impl Exchange for HttpExchange {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.carry(request, None).await
    }

    async fn upload(&self, request: &Request, file: &Attached) -> Result<Response, ExchangeError> {
        self.carry(request, Some(file)).await
    }

    async fn fresh(&self, request: &Request) -> Result<Response, ExchangeError> {
        // A client of its own keeps connections of its own: none yet.
        let other = Self::new(self.options.clone()).map_err(|error| self.never(error.to_string()))?;
        other.exchange(request).await
    }

    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }
}

/// Makes an exchange ready to be shared.
///
/// # Errors
/// As [`HttpExchange::new`].
pub fn connect(options: HttpOptions) -> Result<Arc<dyn Exchange>, HttpOptionsError> {
    Ok(Arc::new(HttpExchange::new(options)?))
}
