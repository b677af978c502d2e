//! One request as a client would make it: TCP to the address the name resolves to, TLS that trusts only the workshop's
//! root, HTTP. It goes through the node, so that it works wherever Phoenix runs.

use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use plan::desired::Service;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::time::timeout;
use transport::{Runner, Stream};

use crate::worksite::Prober;

/// One try: a service in the same house answers in milliseconds; a guest that has just started may need seconds.
const TRY: Duration = Duration::from_secs(10);

/// Probes over TCP and TLS.
#[derive(Debug, Clone)]
pub struct TlsProber {
    from: Arc<dyn Runner>,
    tls: Arc<rustls::ClientConfig>,
}

impl TlsProber {
    /// A prober that connects from `from` and trusts `root_pem` alone.
    ///
    /// # Errors
    /// When the root certificate cannot be read.
    pub fn new(from: Arc<dyn Runner>, root_pem: &str) -> Result<Self, Failure> {
        let bad = |e: &dyn std::error::Error| Failure::from_error("pki::root-unreadable", e);
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).map_err(|e| bad(&e))?;
        roots.add(root).map_err(|e| bad(&e))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { from, tls: Arc::new(tls) })
    }

    async fn once(&self, service: &Service) -> Result<String, Failure> {
        let host = service.hosts.first().map_or("", String::as_str);
        let (address, port, tls) = match &service.gateway {
            Some((_, address)) => (*address, 443, true),
            None => (service.address, service.port, service.tls),
        };
        let stream = self.from.connect(&address.to_string(), port, TRY).await.map_err(|e| {
            Failure::from_error("probe::tcp", &e)
                .while_doing(format!("no TCP connection to {address}:{port}"))
                .hint("is it up, and does a firewall stand in between? phoenix-cli status")
        })?;
        let status = if tls {
            let name = ServerName::try_from(host.to_owned()).map_err(|e| {
                Failure::from_error("probe::name", &e).while_doing(format!("`{host}` is no host name"))
            })?;
            let connector = tokio_rustls::TlsConnector::from(self.tls.clone());
            let stream = connector.connect(name, stream).await.map_err(|e| {
                Failure::from_error("probe::tls", &e)
                    .while_doing(format!("no TLS with {host} at {address}:{port}"))
                    .hint("phoenix-cli certs")
            })?;
            request(Box::new(stream), host, &service.probe_path).await?
        } else {
            request(stream, host, &service.probe_path).await?
        };
        let fine = service.probe_status.map_or(status < 400, |wanted| status == wanted);
        if fine {
            return Ok(format!("answers {status}"));
        }
        let hint = if matches!(status, 502 | 504) {
            format!(
                "the gateway is fine, but {}:{} behind it is not: phoenix-cli exec {} -- ss -ltn",
                service.address, service.port, service.on
            )
        } else {
            "set `path` and `status` of the service if that is as it should be".to_owned()
        };
        Err(Failure::new("probe::status", format!("{host}{} answers {status}", service.probe_path))
            .hint(hint))
    }
}

async fn request(stream: Box<dyn Stream>, host: &str, path: &str) -> Result<u16, Failure> {
    let http = |e: &dyn std::error::Error| {
        Failure::from_error("probe::http", e).while_doing(format!("no HTTP with {host}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| http(&e))?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header("host", host)
        .header("user-agent", concat!("phoenix-cli/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| http(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| http(&e));
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            // The whole body: a service that breaks off in the middle does not answer.
            answer.into_body().collect().await.map_err(|e| http(&e)).map(|_| status)
        }
        Err(failure) => Err(failure),
    };
    driver.abort();
    status
}

#[async_trait]
impl Prober for TlsProber {
    async fn probe(&self, service: &Service) -> Result<String, Failure> {
        match timeout(TRY, self.once(service)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Failure::new("probe::slow", format!("no answer within {TRY:?}"))
                    .hint("phoenix-cli status"))
            }
        }
    }
}
