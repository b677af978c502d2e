//! The server's self-signed certificate, and what is served: it, or the custom one that the node has.

use std::sync::Arc;

use camino::Utf8Path;
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::ServerError;
use crate::node::{Node, certified, fingerprint, self_signed, write_file};

/// The node's own certificate.
pub(super) struct Certificate {
    pub pem: String,
    pub fingerprint: String,
    key: Arc<CertifiedKey>,
}

/// Reads the certificate in `folder`, or makes one for `node` and puts it there, the key readable by its owner alone.
pub(super) fn load_or_make(
    folder: &Utf8Path,
    node: &str,
    names: &[String],
) -> Result<Certificate, ServerError> {
    let bad = |reason: String| ServerError::Certificate { folder: folder.to_owned(), reason };
    let (certificate, key) = (folder.join("pve-ssl.pem"), folder.join("pve-ssl.key"));
    if !certificate.exists() || !key.exists() {
        let (pem, secret) = self_signed(node, names).map_err(|error| bad(error.to_string()))?;
        fs_err::create_dir_all(folder)
            .and_then(|()| write_file(&key, secret.as_bytes(), 0o600))
            .and_then(|()| write_file(&certificate, pem.as_bytes(), 0o644))
            .map_err(|error| bad(error.to_string()))?;
    }
    let read = |file: &Utf8Path| fs_err::read_to_string(file).map_err(|error| bad(error.to_string()));
    let pem = read(&certificate)?;
    let key = certified(&pem, &read(&key)?).map_err(|error| bad(error.to_string()))?;
    let first = key.end_entity_cert().map_err(|error| bad(error.to_string()))?;
    Ok(Certificate { fingerprint: fingerprint(first), pem, key: Arc::new(key) })
}

/// Chooses for each handshake.
#[derive(Debug)]
struct Served {
    node: Node,
    own: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.node.custom_certificate().unwrap_or_else(|| self.own.clone()))
    }
}

impl Certificate {
    /// TLS that shows the node's custom certificate where it has one, and this one otherwise.
    pub(super) fn config(&self, node: Node) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let served = Served { node, own: self.key.clone() };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(served));
        // HTTP/1.1 alone, as pveproxy: the reason phrase carries the errors.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session that is taken up again shows no certificate: clients would not see that it has changed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}
