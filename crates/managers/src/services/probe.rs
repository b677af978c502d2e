//! One request as a client would make it: TCP to the address the name resolves to, TLS that trusts only the workshop's
//! root, HTTP. It goes through the node, so that it works wherever Phoenix runs.

use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use plan::desired::{Service, Speaks};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use transport::{Runner, Stream};

use crate::features::base64;
use crate::worksite::{Prober, Secrets};

/// One try: a service in the same house answers in milliseconds; a guest that has just started may need seconds.
const TRY: Duration = Duration::from_secs(10);

/// How long the certificate lives that the prober shows to services that ask for one: longer than any run.
const OWN_LIFE: Duration = Duration::from_hours(12);

/// Probes over TCP and TLS.
#[derive(Debug, Clone)]
pub struct TlsProber {
    from: Arc<dyn Runner>,
    tls: Arc<rustls::ClientConfig>,
    secrets: Arc<dyn Secrets>,
}

impl TlsProber {
    /// A prober that connects from `from` and trusts what clients of `authority` are to trust, and nothing else, which also gives it a certificate to
    /// show. Passwords of services that ask for one come from `secrets`.
    ///
    /// # Errors
    /// When the root certificate cannot be read, or no certificate can be made.
    pub fn new(
        from: Arc<dyn Runner>,
        authority: &pki::Authority,
        secrets: Arc<dyn Secrets>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let bad = |e: &dyn std::error::Error| Failure::from_error("pki::root-unreadable", e);
        let request = pki::LeafRequest {
            name: "phoenix".to_owned(),
            dns_names: vec![format!("phoenix.guest.{}", authority.domain())],
            addresses: Vec::new(),
            life: OWN_LIFE,
        };
        let own = authority.issue(&request, now).map_err(|e| Failure::from_error("pki::issue", &e))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(own.chain_pem.as_bytes()).collect();
        let key =
            PrivateKeyDer::from_pem_slice(own.key_pem.expose_secret().as_bytes()).map_err(|e| bad(&e))?;
        let mut roots = rustls::RootCertStore::empty();
        for pem in authority.trusted() {
            let root = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| bad(&e))?;
            roots.add(root).map_err(|e| bad(&e))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map_err(|e| bad(&e))?, key)
            .map_err(|e| bad(&e))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { from, tls: Arc::new(tls), secrets })
    }

    /// Behind a proxy a connection alone says little: the proxy takes it before it has one to the service.
    async fn behind(
        &self,
        service: &Service,
        mut stream: Box<dyn Stream>,
        tls: bool,
    ) -> Result<String, Failure> {
        let connected = if tls { "takes connections over TLS" } else { "takes connections" };
        if service.via.is_none() {
            return Ok(connected.to_owned());
        }
        let mut first = [0; 1];
        match timeout(STAYS, stream.read(&mut first)).await {
            // It waits for the client to speak first, or has spoken.
            Err(_) | Ok(Ok(1..)) => Ok(connected.to_owned()),
            Ok(Ok(0) | Err(_)) => Err(Failure::new(
                "probe::closed",
                format!("{}:{} behind the gateway takes no connection", service.upstream(), service.port),
            )
            .hint(format!("phoenix-cli exec {} -- ss -ltn", service.on))),
        }
    }

    /// What logs the first of a service's users in.
    fn login(&self, service: &Service) -> Result<Option<SecretString>, Failure> {
        let Some((user, reference)) = service.users.iter().next() else { return Ok(None) };
        let password = self.secrets.resolve(reference)?;
        let both = format!("{user}:{}", password.expose_secret());
        Ok(Some(format!("Basic {}", base64(both.as_bytes())).into()))
    }

    async fn once(&self, service: &Service) -> Result<String, Failure> {
        let host = service.hosts.first().map_or("", String::as_str);
        let (address, port) = service.entrance();
        let tls = service.via.as_ref().map_or(service.speaks == Speaks::Https, |via| via.tls);
        let stream = self.from.connect(&address.to_string(), port, TRY).await.map_err(|e| {
            Failure::from_error("probe::tcp", &e)
                .while_doing(format!("no TCP connection to {address}:{port}"))
                .hint("is it up, and does a firewall stand in between? phoenix-cli status")
        })?;
        let stream: Box<dyn Stream> = if tls {
            let name = ServerName::try_from(host.to_owned()).map_err(|e| {
                Failure::from_error("probe::name", &e).while_doing(format!("`{host}` is no host name"))
            })?;
            let mut config = self.tls.clone();
            if service.speaks == Speaks::Tcp {
                // What a service speaks inside is its own business.
                Arc::make_mut(&mut config).alpn_protocols = Vec::new();
            }
            let connector = tokio_rustls::TlsConnector::from(config);
            let stream = connector.connect(name, stream).await.map_err(|e| {
                Failure::from_error("probe::tls", &e)
                    .while_doing(format!("no TLS with {host} at {address}:{port}"))
                    .hint(format!("phoenix-cli trace {host}"))
            })?;
            Box::new(stream)
        } else {
            stream
        };
        if service.speaks == Speaks::Tcp {
            return self.behind(service, stream, tls).await;
        }
        let status = request(stream, host, &service.probe_path, self.login(service)?).await?;
        let fine = service.probe_status.map_or(status < 400, |wanted| status == wanted);
        if fine {
            return Ok(format!("answers {status}"));
        }
        let hint = if matches!(status, 502 | 504) {
            format!(
                "the gateway is fine, but {}:{} behind it is not: phoenix-cli exec {} -- ss -ltn",
                service.upstream(),
                service.port,
                service.on
            )
        } else {
            "set `path` and `status` of the service if that is as it should be".to_owned()
        };
        Err(Failure::new("probe::status", format!("{host}{} answers {status}", service.probe_path))
            .hint(hint))
    }
}

/// How long a connection must stay open to count: a proxy whose service refuses closes it at once.
const STAYS: Duration = Duration::from_millis(300);

async fn request(
    stream: Box<dyn Stream>,
    host: &str,
    path: &str,
    login: Option<SecretString>,
) -> Result<u16, Failure> {
    let http = |e: &dyn std::error::Error| {
        Failure::from_error("probe::http", e).while_doing(format!("no HTTP with {host}"))
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| http(&e))?;
    let driver = tokio::spawn(connection);
    let mut request = hyper::Request::get(path)
        .header("host", host)
        .header("user-agent", concat!("phoenix-cli/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close");
    if let Some(login) = login {
        request = request.header("authorization", login.expose_secret());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| http(&e))?;
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
