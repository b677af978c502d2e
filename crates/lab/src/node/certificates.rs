//! The node's own certificate, and a custom one in its place: what the API tells of them, takes, and refuses, in the words
//! of `PVE::API2::Certificates` and `PVE::CertHelpers`. What is served changes only with a restart of the proxy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use camino::Utf8PathBuf;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;

use super::durable::write_file;
use super::error::{Answer, ApiError, Outcome};
use super::router::Call;
use super::{Inner, lock};

/// What the node made for itself.
const OWN: &str = "pve-ssl.pem";
/// The chain that is served in its place, when there is one.
const CUSTOM: &str = "pveproxy-ssl.pem";
/// The key of that.
const CUSTOM_KEY: &str = "pveproxy-ssl.key";

/// The custom certificate's files, in the node's folder of `/etc/pve`, or in memory where there is none. They are read
/// anew each time: whoever is on the node may change them.
#[derive(Debug, Default)]
pub(crate) struct CustomFiles {
    folder: Option<Utf8PathBuf>,
    memory: BTreeMap<&'static str, SecretString>,
}

impl CustomFiles {
    pub(crate) fn open(folder: Utf8PathBuf) -> Self {
        Self { folder: Some(folder), memory: BTreeMap::new() }
    }

    fn get(&self, name: &str) -> io::Result<Option<String>> {
        let Some(folder) = &self.folder else {
            return Ok(self.memory.get(name).map(|text| text.expose_secret().to_owned()));
        };
        match fs_err::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put(&mut self, name: &'static str, text: &str, mode: u32) -> io::Result<()> {
        match &self.folder {
            Some(folder) => write_file(&folder.join(name), text.as_bytes(), mode),
            None => {
                self.memory.insert(name, text.into());
                Ok(())
            }
        }
    }

    fn remove(&mut self) -> io::Result<()> {
        self.memory.clear();
        for name in [CUSTOM, CUSTOM_KEY] {
            match self.folder.as_ref().map(|folder| fs_err::remove_file(folder.join(name))) {
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The chain as it is, and with its key as it can be served. None when one of them is missing or they do not fit.
    fn pair(&self) -> Option<(String, CertifiedKey)> {
        let chain = self.get(CUSTOM).ok().flatten()?;
        let key = self.get(CUSTOM_KEY).ok().flatten()?;
        let pair = certified(&chain, &key).ok()?;
        Some((chain, pair))
    }
}

impl Inner {
    /// The node's own certificate in PEM. One that nobody serves is made when it is asked for.
    fn own_certificate(&self) -> Option<String> {
        let mut own = lock(&self.certificate);
        if own.is_none() {
            *own = self_signed(&self.name, &[]).ok().map(|(pem, _)| pem);
        }
        own.clone()
    }

    /// The fingerprint that the list of nodes shows: of the custom certificate where there is one.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let custom = self.state().etc.custom.get(CUSTOM).ok().flatten();
        let pem = custom.or_else(|| self.own_certificate())?;
        CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(|der| fingerprint(&der))
    }

    /// Takes what is served from now on from the files, as a restart of `pveproxy` does. A custom pair that cannot be used
    /// is not served.
    pub(super) fn restart_proxy(&self) {
        let (chain, pair) = self.state().etc.custom.pair().unzip();
        *lock(&self.custom) = pair.map(Arc::new);
        if let (Some(folder), Some(chain)) = (&self.folder, chain.or_else(|| self.own_certificate())) {
            // For `lab up` alone: the node serves without it.
            let _ = write_file(&folder.join(SERVED), chain.as_bytes(), 0o644);
        }
    }
}

/// What is served now, in the folder of the node's state: for whoever waits for its API.
pub(crate) const SERVED: &str = "served.pem";

/// `GET certificates/info`.
pub(crate) fn info(call: &Call<'_>) -> Outcome {
    let custom =
        call.node.state().etc.custom.get(CUSTOM).map_err(|error| ApiError::die(error.to_string()))?;
    let files = [(OWN, call.node.own_certificate()), (CUSTOM, custom)];
    let all = files.into_iter().filter_map(|(name, text)| facts(name, &text?));
    Ok(Value::Array(all.collect()).into())
}

/// `POST certificates/custom`. Nothing is written when it is refused.
pub(crate) fn upload(call: &Call<'_>) -> Outcome {
    let failed = |why: String| ApiError::die(format!("Setting certificate files failed - {why}"));
    let path = |file: &str| format!("'/etc/pve/nodes/{}/{file}'", call.node.name);
    let chain = without_leading_text(call.text("certificates"));
    let given = call.get("key").map(without_leading_text);
    let told = {
        let mut state = call.node.state();
        let custom = &mut state.etc.custom;
        let read = |name: &str| custom.get(name).map_err(|error| failed(error.to_string()));
        let (old, old_key) = (read(CUSTOM)?, read(CUSTOM_KEY)?);
        let Some(key) = given.or(old_key.as_deref()) else {
            let text = "Attempted to upload custom certificate without (existing) key.";
            return Err(ApiError::parameter("key", text));
        };
        for (there, what) in [(&old, "certificate"), (&old_key, "certificate key")] {
            if there.is_some() && !call.flag("force") {
                return Err(ApiError::die(format!("Custom {what} file exists but force flag is not set.")));
            }
        }
        let told = facts(CUSTOM, chain)
            .ok_or_else(|| failed(format!("unable to read certificate from {}", path(CUSTOM))))?;
        certified(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                failed("Failed to validate private key and certificate".to_owned())
            }
            _ => failed(format!("Failed to load private key from {} into SSL context", path(CUSTOM_KEY))),
        })?;
        custom
            .put(CUSTOM, chain, 0o640)
            .and_then(|()| custom.put(CUSTOM_KEY, key, 0o600))
            .map_err(|error| failed(error.to_string()))?;
        told
    };
    if call.flag("restart") {
        call.node.restart_proxy();
    }
    Ok(told.into())
}

/// `DELETE certificates/custom`. That there is none is no error.
pub(crate) fn remove(call: &Call<'_>) -> Outcome {
    call.node.state().etc.custom.remove().map_err(|error| ApiError::die(error.to_string()))?;
    if call.flag("restart") {
        call.node.restart_proxy();
    }
    Ok(Answer::null())
}

fn without_leading_text(text: &str) -> &str {
    text.find("-----BEGIN ").map_or(text, |at| &text[at..])
}

/// What the API tells of a file's first certificate; none when it cannot be read.
fn facts(file: &str, text: &str) -> Option<Value> {
    let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let (kind, bits) = match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => ("rsaEncryption", key.key_size()),
        PublicKey::EC(key) => ("id-ecPublicKey", key.key_size()),
        // The only other kind that can be served.
        _ => ("ED25519", 256),
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(alternative);
    Some(json!({
        "filename": file, "fingerprint": fingerprint(&der), "pem": first(text),
        "subject": one_line(certificate.subject()), "issuer": one_line(certificate.issuer()),
        "notbefore": certificate.validity().not_before.timestamp(),
        "notafter": certificate.validity().not_after.timestamp(),
        "public-key-type": kind, "public-key-bits": bits, "san": names.collect::<Vec<_>>(),
    }))
}

/// A name or an address, of which IPv6 is written in full.
fn alternative(name: &GeneralName<'_>) -> Option<String> {
    let address = |bytes: &[u8]| match bytes {
        [a, b, c, d] => Some(format!("{a}.{b}.{c}.{d}")),
        bytes if bytes.len() == 16 => {
            let groups = bytes.chunks(2).map(super::etc::hex);
            Some(groups.collect::<Vec<_>>().join(":"))
        }
        _ => None,
    };
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    }
}

/// `/O=…/CN=…`, as OpenSSL's `X509_NAME_oneline` prints a name.
fn one_line(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for attribute in name.iter_attributes() {
        let kind = attribute.attr_type();
        let key = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
        // Writing to a String does not fail.
        let _ = write!(out, "/{key}=");
        for byte in attribute.as_slice() {
            if (0x20..0x7f).contains(byte) {
                out.push(char::from(*byte));
            } else {
                let _ = write!(out, "\\x{byte:02X}");
            }
        }
    }
    out
}

/// The first certificate of a PEM text, in lines as long as OpenSSL's.
fn first(text: &str) -> String {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let body = text.split_once(begin).and_then(|(_, rest)| rest.split(end).next()).unwrap_or_default();
    let letters: Vec<char> = body.split_whitespace().flat_map(str::chars).collect();
    let mut out = format!("{begin}\n");
    for line in letters.chunks(64) {
        out.extend(line);
        out.push('\n');
    }
    out + end + "\n"
}

/// The SHA-256 of a certificate, as Proxmox VE shows it.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// A chain and its key in PEM, as TLS serves them.
pub(crate) fn certified(chain: &str, key: &str) -> Result<CertifiedKey, rustls::Error> {
    let bad = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().map_err(bad)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(bad)?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
}

/// A new certificate for a node, and its key, in PEM.
pub(crate) fn self_signed(node: &str, names: &[String]) -> Result<(String, String), rcgen::Error> {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), node.to_owned()];
    all.extend(names.iter().cloned());
    all.sort_unstable();
    all.dedup();
    let mut params = rcgen::CertificateParams::new(all)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, node);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Phoenix lab");
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;
    use proxmox::exchange::{Method, Request, Response};

    use super::*;
    use crate::node::{Auth, NodeOptions};
    use crate::sim::{NARROW_TOKEN, World, WorldOptions};

    const CERTIFICATES: &str = "/nodes/pve1/certificates";
    const CUSTOM_PATH: &str = "/nodes/pve1/certificates/custom";

    async fn call(
        world: &World,
        auth: &Auth,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
    ) -> Response {
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        world.node.handle(auth, &Request { method, path: path.to_owned(), params }).await
    }

    async fn info(world: &World) -> Vec<Value> {
        let path = format!("{CERTIFICATES}/info");
        let response = call(world, &Auth::of(NARROW_TOKEN), Method::Get, &path, &[]).await;
        response.body["data"].as_array().expect("a list").clone()
    }

    async fn put(world: &World, params: &[(&str, &str)]) -> Response {
        call(world, &Auth::of(NARROW_TOKEN), Method::Post, CUSTOM_PATH, params).await
    }

    /// A leaf and a key in PEM, and the leaf's authority behind it.
    fn custom() -> (String, String) {
        let authority_key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Küche");
        params.distinguished_name.push(rcgen::DnType::CommonName, "a root");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority_key).expect("a root");
        let issuer = rcgen::Issuer::new(params, authority_key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = ["10.10.10.1", "::1", "pve1.home.arpa"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2026, 11, 1);
        params.not_after = rcgen::date_time_ymd(2026, 12, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "pve1");
        let leaf = params.signed_by(&key, &issuer).expect("a leaf");
        (format!("{}{}", leaf.pem(), root.pem()), key.serialize_pem())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_has_the_recorded_shape() {
        let world = World::new(1).expect("in memory");
        let index = call(&world, &Auth::of(NARROW_TOKEN), Method::Get, CERTIFICATES, &[]).await;
        assert_eq!(index.body["data"], json!([{"name": "custom"}, {"name": "info"}]));
        let [own] = <[Value; 1]>::try_from(info(&world).await).expect("one");
        // transcripts/misc, `GET /nodes/pve1/certificates/info`.
        let keys = [
            "filename",
            "fingerprint",
            "issuer",
            "notafter",
            "notbefore",
            "pem",
            "public-key-bits",
            "public-key-type",
            "san",
            "subject",
        ];
        assert_eq!(own.as_object().expect("an object").keys().collect::<Vec<_>>(), keys);
        assert_eq!(own["filename"], "pve-ssl.pem");
        assert_eq!(own["subject"], "/CN=pve1/O=Phoenix lab");
        assert_eq!(own["issuer"], own["subject"]);
        assert_eq!(own["san"], json!(["127.0.0.1", "localhost", "pve1"]));
        let nodes = call(&world, &Auth::root(), Method::Get, "/nodes", &[]).await;
        assert_eq!(nodes.body["data"][0]["ssl_fingerprint"], own["fingerprint"]);

        let (chain, key) = custom();
        let text = format!("a leaf:\n{}", chain.replace('\n', "\r\n"));
        let told = put(&world, &[("certificates", &text), ("key", &key)]).await;
        assert_eq!(told.status, 200, "{}", told.reason);
        let [again, told_again] = <[Value; 2]>::try_from(info(&world).await).expect("two");
        assert_eq!((&again, &told_again), (&own, &told.body["data"]));
        let mut told = told_again;
        let fingerprint = told["fingerprint"].take();
        let bytes: Vec<&str> = fingerprint.as_str().expect("text").split(':').collect();
        assert_eq!((bytes.len(), fingerprint.as_str().expect("text").len()), (32, 95));
        let leaf = chain.split_inclusive("-----END CERTIFICATE-----\n").next();
        assert_eq!(told["pem"].take().as_str(), leaf);
        let wanted = json!({
            "filename": "pveproxy-ssl.pem", "fingerprint": null, "pem": null, "subject": "/CN=pve1",
            "issuer": "/O=K\\xC3\\xBCche/CN=a root", "notbefore": 1_793_491_200, "notafter": 1_796_083_200,
            "public-key-type": "id-ecPublicKey", "public-key-bits": 256,
            "san": ["10.10.10.1", "0000:0000:0000:0000:0000:0000:0000:0001", "pve1.home.arpa"],
        });
        assert_eq!(told, wanted);
        let nodes = call(&world, &Auth::root(), Method::Get, "/nodes", &[]).await;
        assert_eq!(nodes.body["data"][0]["ssl_fingerprint"], fingerprint);
        let removed = call(&world, &Auth::of(NARROW_TOKEN), Method::Delete, CUSTOM_PATH, &[]).await;
        assert_eq!((removed.status, &removed.body["data"]), (200, &Value::Null));
        assert_eq!(info(&world).await, [own]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused() {
        let world = World::new(1).expect("in memory");
        let (chain, key) = custom();
        let (other, other_key) = custom();
        let refused = async |params: &[(&str, &str)], status: u16, text: &str| {
            let response = put(&world, params).await;
            let why = response.body["errors"].as_object().and_then(|errors| errors.values().next());
            let why = why.map_or_else(|| response.reason.clone().into(), Value::clone);
            assert_eq!((response.status, why.as_str()), (status, Some(text)));
        };
        let no_pem = "invalid format - not a valid PEM-formatted string.\n";
        refused(&[("certificates", "nonsense"), ("key", &key)], 400, no_pem).await;
        refused(&[("certificates", &key), ("key", &key)], 400, no_pem).await;
        refused(&[("certificates", &chain), ("key", "nonsense")], 400, no_pem).await;
        refused(&[("certificates", &chain), ("key", &format!("{key}{key}"))], 400, no_pem).await;
        let no_key = "Attempted to upload custom certificate without (existing) key.";
        refused(&[("certificates", &chain)], 400, no_key).await;
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let unreadable = "Setting certificate files failed - unable to read certificate from \
                          '/etc/pve/nodes/pve1/pveproxy-ssl.pem'";
        refused(&[("certificates", none), ("key", &key)], 500, unreadable).await;
        let mismatch = "Setting certificate files failed - Failed to validate private key and certificate";
        refused(&[("certificates", &chain), ("key", &other_key)], 500, mismatch).await;
        let no_load = "Setting certificate files failed - Failed to load private key from \
                       '/etc/pve/nodes/pve1/pveproxy-ssl.key' into SSL context";
        refused(&[("certificates", &chain), ("key", none)], 500, no_load).await;
        assert_eq!(info(&world).await.len(), 1, "nothing was written");

        assert_eq!(put(&world, &[("certificates", &chain), ("key", &key)]).await.status, 200);
        let exists = "Custom certificate file exists but force flag is not set.";
        refused(&[("certificates", &chain), ("key", &key)], 500, exists).await;
        refused(&[("certificates", &chain)], 500, exists).await;
        assert_eq!(put(&world, &[("certificates", &chain), ("force", "1")]).await.status, 200);
        refused(&[("certificates", &other), ("force", "1")], 500, mismatch).await;
        let both = [("certificates", other.as_str()), ("key", &other_key), ("force", "1")];
        assert_eq!(put(&world, &both).await.status, 200);

        world.node.set_token("guest@pve!x", "secret", false);
        let guest = Auth::of("guest@pve!x");
        for method in [Method::Post, Method::Delete] {
            let response = call(&world, &guest, method, CUSTOM_PATH, &[]).await;
            let text = "Permission check failed (/nodes/pve1, Sys.Modify)";
            assert_eq!((response.status, response.reason.as_str()), (403, text));
        }
        let path = format!("{CERTIFICATES}/info");
        assert_eq!(call(&world, &guest, Method::Get, &path, &[]).await.status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_where_a_real_node_has_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let etc = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let mut options = WorldOptions::new(1);
        options.node = NodeOptions { etc: Some(etc.to_owned()), ..options.node };
        let world = options.build().expect("a folder");
        let (chain, key) = custom();
        assert_eq!(put(&world, &[("certificates", &chain), ("key", &key)]).await.status, 200);
        for (name, text, mode) in [(CUSTOM, &chain, 0o640), (CUSTOM_KEY, &key, 0o600)] {
            let file = etc.join("nodes/pve1").join(name);
            assert_eq!(&fs_err::read_to_string(&file).expect("it is there"), text);
            assert_eq!(fs_err::metadata(&file).expect("it is there").permissions().mode() & 0o777, mode);
        }
        for _ in 0..2 {
            let removed = call(&world, &Auth::root(), Method::Delete, CUSTOM_PATH, &[]).await;
            assert_eq!(removed.status, 200);
            assert!(!etc.join("nodes/pve1").join(CUSTOM_KEY).exists());
        }
    }
}
