//! Over the network, as a client sees it. On loopback and on sockets in a folder of the test.

use std::sync::Arc;

use camino::Utf8Path;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::node::{fingerprint, self_signed};
use crate::sim::{Fault, Times, WorldOptions};

struct Answer {
    status: u16,
    reason: String,
    text: String,
    body: Value,
}

async fn ask<S>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
    for (key, value) in headers {
        request = request.header(*key, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let reason = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map_or_else(String::new, |reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let bytes = response.into_body().collect().await?.to_bytes();
    connection.abort();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Answer { status, reason, body: serde_json::from_str(&text).unwrap_or_default(), text })
}

struct Served {
    folder: tempfile::TempDir,
    world: crate::sim::World,
    server: Server,
}

impl Served {
    async fn new(faults: Faults) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let world = WorldOptions::new(1).times(Times::none()).build().expect("in memory");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let mut options = ServerOptions::new(([127, 0, 0, 1], 0).into(), path);
        options.faults = faults;
        let server = Server::https(world.node.clone(), options).await.expect("it listens");
        Self { folder, world, server }
    }

    /// A connection that trusts the server's own certificate and nothing else.
    async fn connect(&self) -> TlsStream<TcpStream> {
        let pem = std::fs::read(self.folder.path().join("pve-ssl.pem")).expect("the certificate");
        self.trusting(&pem).await.expect("the certificate is good")
    }

    /// A connection that trusts this certificate and nothing else.
    async fn trusting(&self, pem: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream =
            TcpStream::connect(self.server.address().expect("an address")).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.connect().await, method, path, headers, body).await.expect("an answer")
    }
}

const TOKEN: (&str, &str) = ("authorization", "PVEAPIToken=phoenix@pve!cli=narrow-secret");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn the_reason_phrase_carries_the_error() {
    let it = Served::new(Faults::none()).await;
    let version = it.ask("GET", "/api2/json/version", &[TOKEN], "").await;
    assert_eq!(
        (version.status, version.reason.as_str(), &version.body["data"]["release"]),
        (200, "", &"9.2".into())
    );
    let missing = it.ask("GET", "/api2/json/nodes/pve1/lxc/999/config", &[TOKEN], "").await;
    let text = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist";
    assert_eq!((missing.status, missing.reason.as_str()), (500, text));
    assert_eq!(missing.body["message"], format!("{text}\n"));
    it.server.stop().await;
}

#[tokio::test]
async fn who_is_let_in() {
    let it = Served::new(Faults::none()).await;
    let bad =
        it.ask("GET", "/api2/json/version", &[("authorization", "PVEAPIToken=phoenix@pve!cli=x")], "").await;
    assert_eq!((bad.status, bad.reason.as_str(), bad.text.as_str()), (401, "Authentication failed!", ""));
    let none = it.ask("GET", "/api2/json/version", &[], "").await;
    assert_eq!((none.status, none.reason.as_str()), (401, "No ticket"));
    it.world.node.set_password("root@pam", Some("geheim123"));
    let login =
        it.ask("POST", "/api2/json/access/ticket", &[FORM], "username=root%40pam&password=geheim123").await;
    let ticket = login.body["data"]["ticket"].as_str().expect("a ticket").replace(':', "%3A");
    let cookie = format!("PVEAuthCookie={ticket}");
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(it.ask("GET", "/api2/json/version", &[cookie], "").await.status, 200);
    let pool = it.ask("POST", "/api2/json/pools", &[cookie, FORM], "poolid=dev").await;
    assert_eq!((pool.status, pool.reason.as_str()), (401, "Permission denied - invalid csrf token"));
    let csrf = ("csrfpreventiontoken", login.body["data"]["CSRFPreventionToken"].as_str().expect("a token"));
    assert_eq!(it.ask("POST", "/api2/json/pools", &[cookie, csrf, FORM], "poolid=dev").await.status, 200);
}

#[tokio::test]
async fn bodies_of_every_kind() {
    let it = Served::new(Faults::none()).await;
    it.world.add_guests(101, 1, crate::sim::World::guest_file).expect("in memory");
    let path = "/api2/json/nodes/pve1/lxc/101/config";
    let json = it.ask("PUT", path, &[TOKEN, JSON], r#"{"memory":400,"onboot":true}"#).await;
    assert_eq!((json.status, &json.body["data"]), (200, &Value::Null));
    assert_eq!(it.ask("GET", path, &[TOKEN], "").await.body["data"]["memory"], 400);
    let text = it.ask("PUT", path, &[TOKEN, ("content-type", "text/plain")], "memory=500").await;
    assert_eq!((text.status, text.text.as_str()), (506, "upload 'Content-Type 'text/plain' not implemented"));
    assert_eq!(it.ask("PUT", path, &[TOKEN, JSON], "{").await.status, 400);
    assert_eq!(it.ask("GET", "/api2/extjs/version", &[TOKEN], "").await.status, 501);
    assert_eq!(it.ask("GET", "/", &[], "").await.status, 404);
    let query = it.ask("GET", "/api2/json/cluster/resources?type=node", &[TOKEN], "").await;
    assert_eq!(query.body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_certificate_is_kept() {
    let it = Served::new(Faults::none()).await;
    let first = it.server.fingerprint().expect("https").to_owned();
    assert_eq!(first.len(), 95);
    it.server.stop().await;
    let path = Utf8Path::from_path(it.folder.path()).expect("UTF-8");
    let options = ServerOptions::new(([127, 0, 0, 1], 0).into(), path);
    let again = Server::https(it.world.node.clone(), options.clone()).await.expect("it listens");
    assert_eq!(again.fingerprint(), Some(first.as_str()));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path.join("pve-ssl.key")).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A taken port is a clear error, and a certificate that is none too.
    let taken = ServerOptions { address: again.address().expect("an address"), ..options.clone() };
    let error = Server::https(it.world.node.clone(), taken).await.expect_err("taken");
    assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error}");
    assert!(error.hint().is_some());
    std::fs::write(path.join("pve-ssl.pem"), "nonsense").expect("written");
    let error = Server::https(it.world.node.clone(), options).await.expect_err("no certificate");
    assert!(matches!(error, ServerError::Certificate { .. }));
}

/// What is shown changes with a restart of the proxy, and what is there is shown by a new process too.
#[tokio::test]
async fn a_custom_certificate_is_served() {
    let mut it = Served::new(Faults::none()).await;
    let own = it.server.fingerprint().expect("https").to_owned();
    let own_pem = std::fs::read(it.folder.path().join("pve-ssl.pem")).expect("the certificate");
    let (pem, key) = self_signed("pve1", &[]).expect("made");
    let shown = async |it: &Served, pem: &[u8]| {
        let stream = it.trusting(pem).await.ok()?;
        let chain = stream.get_ref().1.peer_certificates()?;
        Some(fingerprint(chain.first()?))
    };
    let custom = fingerprint(&CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"));
    let path = "/api2/json/nodes/pve1/certificates/custom";
    let encode = |text: &str| text.replace('+', "%2B").replace('\n', "%0A");
    let form = format!("certificates={}&key={}", encode(&pem), encode(&key));

    // One that is connected already, and stays so.
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(it.connect().await)).await.expect("connected");
    let connection = tokio::spawn(connection);
    assert_eq!(it.ask("POST", path, &[TOKEN, FORM], &form).await.status, 200);
    assert_eq!(shown(&it, &own_pem).await, Some(own.clone()), "not without a restart");
    let restart = format!("{form}&force=1&restart=1");
    let answer = it.ask("POST", path, &[TOKEN, FORM], &restart).await;
    assert_eq!(answer.body["data"]["fingerprint"], custom);
    assert_eq!(shown(&it, pem.as_bytes()).await, Some(custom.clone()));
    assert_eq!(shown(&it, &own_pem).await, None);
    let request =
        hyper::Request::get("/api2/json/version").header("host", "localhost").header(TOKEN.0, TOKEN.1);
    let request = request.body(Full::new(Bytes::new())).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("still connected").status(), 200);
    connection.abort();
    assert_eq!(it.server.fingerprint(), Some(own.as_str()), "its own is what it was");

    // A process that is started anew shows what is there.
    let folder = Utf8Path::from_path(it.folder.path()).expect("UTF-8").to_owned();
    let again = ServerOptions::new(([127, 0, 0, 1], 0).into(), folder);
    it.server = Server::https(it.world.node.clone(), again).await.expect("it listens");
    assert_eq!(shown(&it, pem.as_bytes()).await, Some(custom.clone()));

    let delete = async |it: &Served, query: &str, pem: &[u8]| {
        let stream = it.trusting(pem).await.expect("the certificate is good");
        let path = format!("{path}{query}");
        assert_eq!(ask(stream, "DELETE", &path, &[TOKEN], "").await.expect("an answer").status, 200);
    };
    delete(&it, "", pem.as_bytes()).await;
    assert_eq!(shown(&it, pem.as_bytes()).await, Some(custom), "not without a restart");
    delete(&it, "?restart=1", pem.as_bytes()).await;
    assert_eq!(shown(&it, &own_pem).await, Some(own));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_of_the_connection() {
    let it = Served::new(Faults::none().at(1, Fault::Cut).at(2, Fault::ReplyLost)).await;
    for _ in 0..2 {
        let stream = it.connect().await;
        assert!(ask(stream, "GET", "/api2/json/version", &[TOKEN], "").await.is_err());
    }
    assert_eq!(it.ask("GET", "/api2/json/version", &[TOKEN], "").await.status, 200);
}

#[tokio::test]
async fn whoever_opens_the_socket_is_root() {
    let it = Served::new(Faults::none()).await;
    let socket = Utf8Path::from_path(it.folder.path()).expect("UTF-8").join("node.sock");
    let server = Server::unix(it.world.node.clone(), &socket).await.expect("it listens");
    let stream = UnixStream::connect(&socket).await.expect("it listens");
    let answer = ask(stream, "POST", "/api2/json/pools", &[FORM], "poolid=dev").await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.reason);
    assert!(Server::unix(it.world.node.clone(), &socket).await.is_err(), "it is in use");
    server.stop().await;
    assert!(!socket.exists());
    // What a killed process left is replaced.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert!(Server::unix(it.world.node.clone(), &socket).await.is_ok());
}

/// A file goes up in pieces, with its length said first, and is on the storage as it was.
#[tokio::test]
async fn a_file_is_uploaded() {
    use proxmox::client::{Place, Writer};
    use proxmox::http::{Credential, HttpOptions, Trust, connect};
    let it = Served::new(Faults::none()).await;
    let endpoint = format!("https://{}", it.server.address().expect("an address"));
    let pin = it.server.fingerprint().expect("https").parse().expect("a fingerprint");
    let credential = |secret: &str| Credential::Token { id: "phoenix@pve!cli".into(), secret: secret.into() };
    let writer = |secret: &str| {
        let options = HttpOptions::new(&endpoint, Trust::Fingerprint(pin), credential(secret));
        Writer::new(connect(options).expect("options"))
    };
    let good = writer("narrow-secret");
    // Larger than what is read at once, and with what looks like the end of a part in it.
    let mut content = b"\r\n------phoenix-\r\n".repeat(40_000);
    content.push(b'.');
    let file = it.folder.path().join("x.iso");
    std::fs::write(&file, &content).expect("written");
    let place = |file| Place { node: "pve1", storage: "local", content: "iso", file };
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let limit = Duration::from_secs(60);
    let upid = good.upload(place("a.iso"), &file, None, limit, sent.clone()).await.expect("it is taken");
    assert_eq!(it.world.node.task_end(upid.as_str()).await.as_deref(), Some("OK"));
    let size = content.len() as u64;
    assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), size);
    assert_eq!(it.world.node.kept_files()["local:iso/a.iso"], size);

    use sha2::Digest as _;
    let right: String = sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let upid = good.upload(place("b.iso"), &file, Some(&right), limit, Arc::default()).await.expect("taken");
    assert_eq!(it.world.node.task_end(upid.as_str()).await.as_deref(), Some("OK"));
    let wrong = "0".repeat(64);
    let upid = good.upload(place("c.iso"), &file, Some(&wrong), limit, Arc::default()).await.expect("taken");
    let end = it.world.node.task_end(upid.as_str()).await.expect("it ended");
    assert!(end.starts_with("checksum mismatch: got '"), "{end}");

    // It is refused before it is read: a short one, so that the answer comes before the connection is closed.
    let short = it.folder.path().join("short.iso");
    std::fs::write(&short, "short").expect("written");
    let stranger = writer("another").upload(place("d.iso"), &short, None, limit, Arc::default()).await;
    assert!(stranger.is_err_and(|error| error.kind() == Some(&proxmox::error::ErrorKind::Unauthorized)));
    let gone = it.folder.path().join("gone.iso");
    let gone = good.upload(place("e.iso"), &gone, None, limit, Arc::default()).await;
    assert!(gone.is_err_and(|error| error.sent() == transport::Sent::Never));

    // In another order its fields are refused without a word (recorded).
    let body = "--x\r\nContent-Disposition: form-data; name=\"checksum\"\r\n\r\n00\r\n--x\r\n\
                Content-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--x--\r\n";
    let kind = ("content-type", "multipart/form-data; boundary=x");
    let path = "/api2/json/nodes/pve1/storage/local/upload";
    assert_eq!(it.ask("POST", path, &[TOKEN, kind], body).await.status, 400);
}
