//! Asking: what is asked on a leg of a path, from inside a guest by `ask.sh`, or from the node with nothing of the
//! node's own but its network.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use plan::desired::Speaks;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use transport::{Command, Runner, Stream};

use super::leg::{Http, Leg, Names, Tcp, Tls, connect_error, handshake_error};
use super::path::{Path, Upstream};
use super::question::{self, Reply};
use crate::features::base64;

/// A connection: more than the three seconds after which a network says that nobody has an address.
const CONNECT: Duration = Duration::from_secs(4);
/// A handshake.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// An answer. What streams has answered when its status is there.
const ANSWER: Duration = Duration::from_secs(5);
/// A name server in the same house.
const NAME_SERVER: Duration = Duration::from_secs(3);
/// All of `ask.sh`, which ends at the first hop that hangs.
const ALL: Duration = Duration::from_secs(11);

/// Whom a client trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whom its place trusts.
    System,
    /// The root in this file.
    File(String),
    /// Whoever answers.
    Anybody,
}

/// What is asked on a leg. A hop without its field is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What to resolve.
    pub name: Option<String>,
    /// The addresses it may mean. With another one it ends there.
    pub wanted: Vec<Ipv4Addr>,
    /// Whom to ask directly, from the node.
    pub server: Option<Ipv4Addr>,
    /// Where to connect to.
    pub to: Option<(Ipv4Addr, u16)>,
    /// The name to ask for in TLS.
    pub sni: Option<String>,
    /// What to fetch.
    pub url: Option<String>,
    /// The Host header, where it is not that of the URL.
    pub host: Option<String>,
    /// The folder of the certificate to show.
    pub pair: Option<String>,
    /// Whom to trust.
    pub trust: Trust,
}

impl Question {
    /// Whether a connection stands, and nothing else.
    pub fn connection(address: Ipv4Addr, port: u16) -> Self {
        Self {
            name: None,
            wanted: vec![address],
            server: None,
            to: Some((address, port)),
            sni: None,
            url: None,
            host: None,
            pair: None,
            trust: Trust::System,
        }
    }

    /// What a client asks.
    pub fn client(path: &Path, server: Option<Ipv4Addr>) -> Self {
        let entrance = path.entrance.as_ref();
        let nameless = path.nameless();
        let mut wanted: Vec<Ipv4Addr> = path.inside.into_iter().chain(path.outside).collect();
        wanted.extend(entrance.filter(|_| nameless).map(|e| e.address));
        wanted.dedup();
        Self {
            name: (!nameless).then(|| path.name.clone()),
            wanted,
            server,
            to: entrance.map(|e| (e.address, e.port)),
            sni: entrance.filter(|e| e.tls).map(|_| path.name.clone()),
            url: entrance.and_then(|e| e.url.clone()),
            host: None,
            pair: None,
            trust: Trust::System,
        }
    }

    /// What a proxy asks the service behind it. `root` is the file of the workshop's root in guests.
    pub fn behind(to: &Upstream, root: &str) -> Self {
        let tls = to.speaks == Speaks::Https;
        let host = to.name.clone().unwrap_or_else(|| to.address.to_string());
        let scheme = if tls { "https" } else { "http" };
        Self {
            name: None,
            wanted: vec![to.address],
            server: None,
            to: Some((to.address, to.port)),
            sni: tls.then(|| host.clone()),
            url: (to.speaks != Speaks::Tcp).then(|| format!("{scheme}://{host}:{}{}", to.port, to.path)),
            host: Some(to.host.clone()),
            pair: to.pair.clone().filter(|_| tls),
            trust: if to.name.is_some() { Trust::File(root.to_owned()) } else { Trust::Anybody },
        }
    }

    fn command(&self) -> Command {
        let argv = ["sh", "-s", "--"].into_iter().map(str::to_owned).chain(self.arguments());
        Command::new("asking hop by hop", argv).stdin(include_str!("ask.sh")).limit(ALL)
    }

    fn arguments(&self) -> Vec<String> {
        let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let query = self.name.as_deref().and_then(question::question).map(|bytes| question::escaped(&bytes));
        let wanted: Vec<String> = self.wanted.iter().map(ToString::to_string).collect();
        vec![
            or(&self.name),
            if wanted.is_empty() { "-".to_owned() } else { wanted.join(",") },
            or(&query),
            self.to.map_or_else(|| "-".to_owned(), |(_, port)| port.to_string()),
            or(&self.sni),
            or(&self.url),
            or(&self.host),
            or(&self.pair),
            match &self.trust {
                Trust::System => "system".to_owned(),
                Trust::Anybody => "none".to_owned(),
                Trust::File(path) => path.clone(),
            },
        ]
    }
}

/// Asks from inside a guest.
pub async fn inside(guest: &dyn Runner, question: &Question) -> Leg {
    match guest.run(&question.command()).await {
        Ok(output) if output.text().contains('\u{1e}') => Leg::parse(&output.text()),
        Ok(output) => Leg::lost(output.tail(2).joined()),
        Err(error) => Leg::lost(error.to_string()),
    }
}

/// Asks from the node, or from this machine, as somebody who is no guest.
pub async fn outside(from: &dyn Runner, question: &Question) -> Leg {
    let mut leg = Leg::default();
    if let (Some(name), Some(server)) = (&question.name, question.server) {
        let names = names(from, server, name).await;
        let right = names.addresses.first().is_some_and(|found| question.wanted.contains(found));
        leg.names = Some(names);
        if !right {
            return leg;
        }
    }
    let Some((address, port)) = question.to else { return leg };
    let begin = Instant::now();
    let stream = match from.connect(&address.to_string(), port, CONNECT).await {
        Ok(stream) => stream,
        Err(error) => {
            leg.tcp = Some(connect_error(&error.to_string(), begin.elapsed()));
            if matches!(leg.tcp, Some(Tcp::Failed(_))) {
                why(from, question, &mut leg).await;
            }
            return leg;
        }
    };
    leg.tcp = Some(Tcp::Open(begin.elapsed()));
    let stream: Box<dyn Stream> = match &question.sni {
        None => stream,
        Some(name) => {
            let (tls, stream) = handshake(stream, name, question.url.is_some()).await;
            leg.tls = Some(tls);
            match stream {
                Some(stream) => stream,
                None => return leg,
            }
        }
    };
    if let Some(url) = &question.url {
        leg.http = Some(fetch(stream, url).await);
    }
    leg
}

/// A tunnel through ssh does not say why its far end could not connect: the node is asked to connect itself.
async fn why(from: &dyn Runner, question: &Question, leg: &mut Leg) {
    let bare = Question {
        name: None,
        wanted: question.to.iter().map(|to| to.0).collect(),
        sni: None,
        url: None,
        ..question.clone()
    };
    if let Ok(output) = from.run(&bare.command()).await {
        let asked = Leg::parse(&output.text());
        leg.route = asked.route;
        leg.neighbour = asked.neighbour;
        // Its time may be up where ours was not: then it is the better answer all the same.
        leg.tcp = asked.tcp.or(leg.tcp.take());
    }
}

/// Asks a name server over TCP (RFC 7766), which goes through a tunnel.
async fn names(from: &dyn Runner, server: Ipv4Addr, name: &str) -> Names {
    let begin = Instant::now();
    let asked = async {
        let Some(question) = question::question(name) else { return Reply::Garbled };
        let mut stream = match from.connect(&server.to_string(), 53, NAME_SERVER).await {
            Ok(stream) => stream,
            Err(error) => {
                return match connect_error(&error.to_string(), begin.elapsed()) {
                    Tcp::Refused => Reply::Refused("connection refused".to_owned()),
                    _ => Reply::Silent,
                };
            }
        };
        let length = u16::try_from(question.len()).unwrap_or_default().to_be_bytes();
        let exchanged = async {
            stream.write_all(&[&length[..], &question].concat()).await?;
            let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut bytes).await?;
            Ok::<_, std::io::Error>(question::reply(&bytes))
        };
        exchanged.await.unwrap_or(Reply::Silent)
    };
    let reply = timeout(NAME_SERVER, asked).await.unwrap_or(Reply::Silent);
    let addresses = match &reply {
        Reply::Addresses(list) => list.clone(),
        _ => Vec::new(),
    };
    Names {
        addresses,
        timed_out: reply == Reply::Silent,
        took: begin.elapsed(),
        server: Some((server, reply)),
    }
}

/// Takes whatever chain is shown and keeps it: it is judged later, and all that is wrong with it is to be told.
#[derive(Debug)]
struct Keep {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Keep {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(leaf).chain(rest).map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A handshake with whoever answers, and the chain that was shown.
async fn handshake(stream: Box<dyn Stream>, name: &str, http: bool) -> (Tls, Option<Box<dyn Stream>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let keep =
        Arc::new(Keep { chain: Mutex::default(), algorithms: provider.signature_verification_algorithms });
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = match config {
        Ok(config) => config.dangerous().with_custom_certificate_verifier(keep.clone()).with_no_client_auth(),
        Err(error) => return (Tls::Failed(error.to_string()), None),
    };
    if http {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    let server = match ServerName::try_from(name.to_owned()) {
        Ok(server) => server,
        Err(error) => return (Tls::Failed(error.to_string()), None),
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let made = timeout(HANDSHAKE, connector.connect(server, stream)).await;
    let chain = keep
        .chain
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .map(|der| pem(der))
        .collect::<String>();
    match made {
        Err(_) => (Tls::Silent, None),
        Ok(Ok(stream)) => (Tls::Shown(chain), Some(Box::new(stream))),
        // It showed its chain, and wants one, too: the answer tells.
        Ok(Err(_)) if !chain.is_empty() => (Tls::Shown(chain), None),
        Ok(Err(error)) => (handshake_error(&error.to_string()), None),
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// Reads a body to its end, or as much of it as tells that the service answers; nothing of it is kept.
async fn drain(mut body: hyper::body::Incoming) -> Result<(), hyper::Error> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame?.data_ref().map_or(0, Bytes::len);
        if read > foreign::limits::BODY {
            break;
        }
    }
    Ok(())
}

/// One request.
async fn fetch(stream: Box<dyn Stream>, url: &str) -> Http {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let begin = Instant::now();
    let asked = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header("host", host)
            .header("user-agent", concat!("phoenix-cli/", env!("CARGO_PKG_VERSION")))
            .header("connection", "close")
            .body(Empty::<Bytes>::new());
        let Ok(request) = request else { return Ok(Http::Broken(format!("`{path}` is no path"))) };
        let answer = sender.send_request(request).await?;
        let seen = Http::Status(answer.status().as_u16(), begin.elapsed());
        let left = ANSWER.saturating_sub(begin.elapsed());
        // To its end, for a service that breaks off in the middle; what streams has answered all the same.
        let body = timeout(left, drain(answer.into_body())).await;
        driver.abort();
        match body {
            Ok(Err(error)) => Err(error),
            _ => Ok(seen),
        }
    };
    match timeout(ANSWER, asked).await {
        Err(_) => Http::Silent,
        Ok(Ok(http)) => http,
        Ok(Err(error)) => {
            let said = apply::Failure::from_error("", &error).errors.join(": ");
            if said.contains("CertificateRequired") {
                Http::WantsCertificate(said)
            } else {
                Http::Broken(said)
            }
        }
    }
}
