//! The node's certificate, where Phoenix has put one there (`hypervisor.certificate`).
//!
//! The workshop's authority signs for guests, too, and its guest signs by itself: so that it vouches for a certificate does
//! not make who shows it the node. Believed is that very certificate which lies on the node, as the node itself tells over
//! ssh, whose host key is checked. What it told is kept beside the site, so that it is asked only when it shows another
//! one: after a renewal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use managers::hypervisor::{placed, read_placed};
use proxmox::exchange::{Attached, Exchange, ExchangeError, Request, Response};
use proxmox::http::{Beside, Fingerprint};
use tokio::sync::Mutex;
use transport::Runner;

/// What is kept of it: which certificate the node had that this way led to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// Its SHA-256.
    fingerprint: Fingerprint,
    /// What was asked: the API's address and who was asked over ssh.
    way: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.fingerprint, self.way)
    }
}

impl FromStr for Told {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (fingerprint, way) = text.strip_suffix('\n').and_then(|line| line.split_once(' ')).ok_or(())?;
        if way.is_empty() || way.contains('\n') {
            return Err(());
        }
        Ok(Self { fingerprint: fingerprint.parse().map_err(|_| ())?, way: way.to_owned() })
    }
}

/// An exchange that asks the node itself when it shows a certificate that is not believed.
#[derive(Debug)]
pub(crate) struct Placed {
    inner: Arc<dyn Exchange>,
    beside: Beside,
    node: Arc<dyn Runner>,
    file: Utf8PathBuf,
    way: String,
    /// The one that was shown last and that the node says it is not; it is not asked about that one again.
    not_its: Mutex<Option<String>>,
}

impl Placed {
    /// Believes what was told before, and has `inner` believe what will be told, by `beside`.
    pub(crate) fn new(
        inner: Arc<dyn Exchange>,
        beside: Beside,
        node: Arc<dyn Runner>,
        file: Utf8PathBuf,
    ) -> Self {
        let way = format!("{} {}", inner.endpoint(), node.place());
        let told = fs_err::read_to_string(&file).ok().and_then(|text| Told::from_str(&text).ok());
        beside.set(told.filter(|told| told.way == way).map(|told| told.fingerprint));
        Self { inner, beside, node, file, way, not_its: Mutex::default() }
    }

    /// Whether what was shown is what lies on the node.
    async fn is_its(&self, seen: &str) -> bool {
        let mut not_its = self.not_its.lock().await;
        if self.beside.get().is_some_and(|told| told.to_string() == seen) {
            return true;
        }
        if not_its.as_deref() == Some(seen) {
            return false;
        }
        // Where it cannot be asked, the certificate is not believed, and why is told by the command that needs ssh.
        let Ok(output) = self.node.run(&placed()).await else { return false };
        let told = read_placed(&output).filter(|told| told.to_string() == seen);
        match told {
            Some(fingerprint) => {
                self.beside.set(Some(fingerprint));
                // Not kept, it is asked for again.
                let _ = self.keep(&Told { fingerprint, way: self.way.clone() });
            }
            None => *not_its = Some(seen.to_owned()),
        }
        told.is_some()
    }

    fn keep(&self, told: &Told) -> std::io::Result<()> {
        if let Some(folder) = self.file.parent() {
            private::kept(folder)?;
        }
        private::write(&self.file, told.to_string().as_bytes())
    }
}

#[async_trait]
impl Exchange for Placed {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        match self.inner.exchange(request).await {
            // Nothing was sent.
            Err(ExchangeError::Certificate { seen, .. }) if self.is_its(&seen).await => {
                self.inner.exchange(request).await
            }
            other => other,
        }
    }

    async fn fresh(&self, request: &Request) -> Result<Response, ExchangeError> {
        match self.inner.fresh(request).await {
            Err(ExchangeError::Certificate { seen, .. }) if self.is_its(&seen).await => {
                self.inner.fresh(request).await
            }
            other => other,
        }
    }

    async fn upload(&self, request: &Request, file: &Attached) -> Result<Response, ExchangeError> {
        match self.inner.upload(request, file).await {
            Err(ExchangeError::Certificate { seen, .. }) if self.is_its(&seen).await => {
                self.inner.upload(request, file).await
            }
            other => other,
        }
    }

    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }
}

#[cfg(test)]
mod tests;
