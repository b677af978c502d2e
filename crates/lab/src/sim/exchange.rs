//! The node's API without a network between.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use proxmox::exchange::{Attached, Exchange, ExchangeError, Request, Response};

use super::faults::{self, Fault, Faults};
use crate::node::{Auth, Node, Uploaded};

/// Carries requests to a [`Node`] in this process, as one identity, through [`Faults`].
#[derive(Debug, Clone)]
pub struct SimExchange {
    node: Node,
    auth: Auth,
    faults: Faults,
    latency: Duration,
    client: IpAddr,
}

impl SimExchange {
    /// As `auth`, with nothing that goes wrong and no latency.
    pub fn new(node: Node, auth: Auth) -> Self {
        let (faults, latency) = (Faults::none(), Duration::ZERO);
        Self { node, auth, faults, latency, client: super::firewall::CLIENT }
    }

    /// With a plan of what goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// With this long for every call to go there and back.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// From this address.
    #[must_use]
    pub fn client(mut self, client: IpAddr) -> Self {
        self.client = client;
        self
    }
}

impl SimExchange {
    async fn carry(&self, request: &Request, file: Option<&Attached>) -> Result<Response, ExchangeError> {
        if self.faults.is_killed() {
            return self.faults.die().await;
        }
        let shown = format!("{} {}", request.method, request.path);
        let (n, fault) = self.faults.next(&shown, &self.node);
        match &fault {
            Some(Fault::KillBefore) => return self.faults.die().await,
            Some(Fault::NeverSent) => {
                let reason = "connection refused".to_owned();
                return Err(ExchangeError::NeverSent { endpoint: self.endpoint(), reason });
            }
            Some(Fault::Slow(time)) => tokio::time::sleep(*time).await,
            _ => {}
        }
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        if self.node.runtime().is_down() {
            if fault == Some(Fault::KillAfter) {
                return self.faults.die().await;
            }
            let reason = "connection refused".to_owned();
            return Err(ExchangeError::NeverSent { endpoint: self.endpoint(), reason });
        }
        let response = match file {
            None => self.node.handle(&self.auth, request).await,
            Some(file) => {
                let path = Utf8PathBuf::from_path_buf(file.path.clone());
                let path =
                    path.ok().filter(|path| path.is_file()).ok_or_else(|| ExchangeError::NeverSent {
                        endpoint: self.endpoint(),
                        reason: format!("{} cannot be read", file.path.display()),
                    })?;
                let mut request = request.clone();
                request.params.push(("filename".to_owned(), file.name.clone()));
                self.node.handle_upload(&self.auth, &request, Uploaded { path, passing: false }).await
            }
        };
        if let Some(what) = faults::name(request) {
            self.faults.note(n, what, faults::status(&response));
        }
        let lost = |reason: &str| ExchangeError::MaybeSent {
            endpoint: self.endpoint(),
            request: shown.clone(),
            reason: reason.to_owned(),
        };
        match fault {
            Some(Fault::KillAfter) => self.faults.die().await,
            Some(Fault::ReplyLost) => Err(lost("connection reset by peer")),
            Some(Fault::Cut) => Err(lost("the answer broke off in the middle")),
            _ => Ok(response),
        }
    }
}

#[async_trait]
impl Exchange for SimExchange {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.carry(request, None).await
    }

    async fn upload(&self, request: &Request, file: &Attached) -> Result<Response, ExchangeError> {
        self.carry(request, Some(file)).await
    }

    async fn fresh(&self, request: &Request) -> Result<Response, ExchangeError> {
        if !super::firewall::lets_in(&self.node, self.client, 8006) {
            let reason = "connection timed out".to_owned();
            return Err(ExchangeError::NeverSent { endpoint: self.endpoint(), reason });
        }
        self.exchange(request).await
    }

    fn endpoint(&self) -> String {
        format!("https://{}.simulated:8006", self.node.name())
    }
}
