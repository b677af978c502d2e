//! Waiting until a lab answers, as its clients will ask it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::credentials::{certificate, served};
use super::process::Process;
use super::spec::members;
use super::{Error, Event, NodeRecord, Report};
use crate::node::{Member, SERVED, fingerprint};

/// A node boots in three seconds; a machine under load gets more.
const LIMIT: Duration = Duration::from_secs(90);
/// One that is a machine boots in seconds, too; emulated it takes a minute, and several beside other work.
const MACHINE_LIMIT: Duration = Duration::from_secs(900);

/// Believes the one certificate that the lab shows.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if fingerprint(end_entity) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!("another certificate answers: {}", fingerprint(end_entity))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Asks the API for its version, through the published port. An answer, any answer, is an answer.
async fn ask_api(port: u16, pin: &str, token: &str) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint: pin.to_owned(), provider }))
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
    let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
    let request = format!(
        "GET /api2/json/version HTTP/1.1\r\nHost: localhost\r\nAuthorization: PVEAPIToken={token}\r\nConnection: close\r\n\r\n"
    );
    tls.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    let mut part = [0; 64];
    while answer.len() < 12 {
        match tls.read(&mut part).await {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&part[..n]),
            Err(error) => return Err(error.to_string()),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.get(..12) {
        Some("HTTP/1.1 200") => Ok(()),
        Some(other) => Err(format!("it answered {other}")),
        None => Err("it closed the connection".to_owned()),
    }
}

/// Runs a program on the first node, whose words need no quoting, over ssh as a client does.
async fn ask_ssh(ssh: &super::NodeSsh, folder: &Utf8Path, program: &[&str]) -> Result<(), String> {
    said_by_ssh(ssh, folder, program).await.map(drop)
}

/// The same: what it printed.
pub(super) async fn said_by_ssh(
    ssh: &super::NodeSsh,
    folder: &Utf8Path,
    program: &[&str],
) -> Result<String, String> {
    use transport::Runner;
    let mut argv = vec!["ssh".to_owned(), "-F".into(), "none".into()];
    argv.extend(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"].map(str::to_owned));
    argv.extend(ssh.options(folder).target(&ssh.known_hosts(folder).map_err(|e| e.to_string())?));
    argv.extend(["--".to_owned(), ssh.destination.clone()]);
    argv.extend(program.iter().map(|&word| word.to_owned()));
    let command = transport::Command::new("logging in on the node", argv).limit(Duration::from_secs(15));
    let output = transport::Local.run(&command).await.map_err(|e| e.to_string())?;
    if output.success() { Ok(output.text().into_owned()) } else { Err(output.tail(1).joined()) }
}

/// Puts the certificates of a machine's API where those of a container's are: below the lab's folder.
async fn fetch_certificates(ssh: &super::NodeSsh, folder: &Utf8Path) -> Result<(), String> {
    let (own, served) =
        (super::NODE_STATE.to_owned() + "/pve-ssl.pem", format!("{}/{SERVED}", super::NODE_STATE));
    let state = folder.join("state");
    for (path, needed) in [(own, true), (served, false)] {
        let name = Utf8Path::new(&path).file_name().unwrap_or_default();
        match said_by_ssh(ssh, folder, &["cat", &path]).await {
            Ok(text) => fs_err::write(state.join(name), text).map_err(|error| error.to_string())?,
            Err(said) if needed => return Err(said),
            // There was one, and it is not shown any more.
            Err(_) => drop(fs_err::remove_file(state.join(name))),
        }
    }
    Ok(())
}

/// Asks until it is answered, one of the parts has ended, or the time is up.
async fn until<F>(
    what: &str,
    limit: Duration,
    parts: &[Process],
    mut ask: impl FnMut() -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), String>>,
{
    let began = Instant::now();
    loop {
        let last = match tokio::time::timeout(Duration::from_secs(20), ask()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(said)) => said,
            Err(_) => "no answer".to_owned(),
        };
        if parts.iter().any(|part| !part.alive()) {
            return Err(Error::Ended { what: what.to_owned(), last });
        }
        if began.elapsed() > limit {
            return Err(Error::TimedOut { what: what.to_owned(), limit, last });
        }
        // Nothing tells from outside when a service begins to listen.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits, within bounds, until the API and ssh answer on their published ports.
/// `parts` are the processes without which nothing will ever answer.
pub(crate) async fn wait(
    node: &mut NodeRecord,
    folder: &Utf8Path,
    parts: &[Process],
    report: Report<'_>,
) -> Result<(), Error> {
    let limit = if node.machine { MACHINE_LIMIT } else { LIMIT };
    if let Some(ssh) = node.ssh.as_ref().filter(|_| node.machine) {
        report(Event::doing("waiting for the machine to start", 20));
        until("a log-in over the node's ssh", limit, parts, || ask_ssh(ssh, folder, &["true"])).await?;
        until("the certificate of the node's API", limit, parts, || fetch_certificates(ssh, folder)).await?;
    }
    report(Event::doing("waiting for the node's API", 3));
    let token = fs_err::read_to_string(&node.token_file).map_err(Error::io("reading the lab's token"))?;
    let token = token.trim();
    let port = node.ports.api;
    until("an answer of the node's API", limit, parts, || async move {
        // Written by the API, in a folder that only the lab writes to.
        let pin = served(folder).ok_or("the API has not started yet")?;
        ask_api(port, &pin, token).await
    })
    .await?;
    node.fingerprint = certificate(folder).unwrap_or_default();
    if let Some(ssh) = &node.ssh {
        report(Event::doing("waiting for the node's ssh", 1));
        until("a log-in over the node's ssh", limit, parts, || ask_ssh(ssh, folder, &["true"])).await?;
        let members = members(&node.node, &node.others, &node.networks);
        if !members.is_empty() {
            report(Event::doing("waiting for the other nodes", 2));
        }
        for other in members.get(1..).unwrap_or_default() {
            let what = format!("an answer of {} to {}", other.name, node.node);
            until(&what, limit, parts, || ask_other(ssh, folder, other)).await?;
        }
    }
    Ok(())
}

/// Asks another node, from the first one: its API by the cluster's, and its ssh as Proxmox VE's own tools do.
async fn ask_other(ssh: &super::NodeSsh, folder: &Utf8Path, other: &Member) -> Result<(), String> {
    let version = format!("/nodes/{}/version", other.name);
    ask_ssh(ssh, folder, &["pvesh", "get", &version, "--output-format", "json"]).await?;
    let mut argv = super::status::between(&other.name, &other.address);
    argv.push("true".to_owned());
    ask_ssh(ssh, folder, &argv.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[cfg(test)]
mod tests {
    use proxmox::exchange::{Method, Request};

    use super::*;
    use crate::node::{Auth, self_signed};
    use crate::runtime::RuntimeKind;
    use crate::server::{Server, ServerOptions};
    use crate::sim::{Times, WorldOptions};
    use crate::up::Ports;

    /// A lab that runs is found ready whatever certificate its API shows; the record keeps the lab's own.
    #[tokio::test]
    async fn a_node_with_a_custom_certificate_answers() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let mut options = WorldOptions::new(1).times(Times::none());
        options.node.state = Some(folder.join("state"));
        let world = options.build().unwrap();
        let options = ServerOptions::new(([127, 0, 0, 1], 0).into(), folder.join("state"));
        let server = Server::https(world.node.clone(), options).await.unwrap();
        let own = server.fingerprint().unwrap();
        fs_err::write(folder.join("token"), "phoenix@pve!cli=narrow-secret\n").unwrap();
        let mut record = NodeRecord {
            runtime: RuntimeKind::Simulated,
            endpoint: String::new(),
            fingerprint: String::new(),
            token_file: folder.join("token"),
            password_file: folder.join("password"),
            ssh: None,
            node: "pve1".to_owned(),
            others: Vec::new(),
            machine: false,
            template: None,
            networks: Vec::new(),
            ports: Ports { api: server.address().unwrap().port(), ssh: 0, https: 0 },
            started: 0,
        };
        let me = Process::this().unwrap();
        wait(&mut record, folder, &[me], &|_| {}).await.unwrap();
        assert_eq!(record.fingerprint, own);

        let (pem, key) = self_signed("pve1", &[]).unwrap();
        let params = [("certificates", pem), ("key", key), ("restart", "1".to_owned())];
        let params = params.map(|(key, value)| (key.to_owned(), value)).to_vec();
        let path = "/nodes/pve1/certificates/custom".to_owned();
        let upload = Request { method: Method::Post, path: path.clone(), params };
        assert_eq!(world.node.handle(&Auth::root(), &upload).await.status, 200);
        assert_ne!(served(folder).as_deref(), Some(own));
        wait(&mut record, folder, &[me], &|_| {}).await.unwrap();
        assert_eq!(record.fingerprint, own);
        // Removed, and shown until the next restart.
        let remove = Request { method: Method::Delete, path, params: Vec::new() };
        assert_eq!(world.node.handle(&Auth::root(), &remove).await.status, 200);
        wait(&mut record, folder, &[me], &|_| {}).await.unwrap();
    }
}
