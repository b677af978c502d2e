//! The server's self-signed certificate.

use std::sync::Arc;

use camino::Utf8Path;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::ServerError;

pub(super) struct Certificate {
    pub config: ServerConfig,
    pub fingerprint: String,
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
        make(folder, node, names).map_err(bad)?;
    }
    let read = |file: &Utf8Path| fs_err::read(file).map_err(|error| bad(error.to_string()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    let first = chain.first().ok_or_else(|| bad("it is empty".to_owned()))?;
    let fingerprint =
        Sha256::digest(first).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let key = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|error| bad(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| bad(error.to_string()))?;
    // HTTP/1.1 alone, as pveproxy: the reason phrase carries the errors.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Certificate { config, fingerprint })
}

fn make(folder: &Utf8Path, node: &str, names: &[String]) -> Result<(), String> {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), node.to_owned()];
    all.extend(names.iter().cloned());
    all.sort_unstable();
    all.dedup();
    let mut params = rcgen::CertificateParams::new(all).map_err(|error| error.to_string())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, node);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Phoenix lab");
    let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    fs_err::create_dir_all(folder).map_err(|error| error.to_string())?;
    write(&folder.join("pve-ssl.key"), &key.serialize_pem(), 0o600).map_err(|error| error.to_string())?;
    write(&folder.join("pve-ssl.pem"), &certificate.pem(), 0o644).map_err(|error| error.to_string())
}

fn write(file: &Utf8Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let part = Utf8Path::new(file.as_str()).with_extension("tmp");
    let _ = std::fs::remove_file(&part);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&part)?
        .write_all(text.as_bytes())?;
    fs_err::rename(part, file)
}
