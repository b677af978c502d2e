//! A server on loopback that answers with the bytes it is given: also with ones that no decent server would send.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proxmox::exchange::{Attached, Exchange, ExchangeError, Request, Response};
use proxmox::http::{Credential, HttpExchange, HttpOptions, Trust};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Says something on the real standard error, which the test harness does not hide.
pub fn say(text: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Arrived {
    pub method: String,
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub params: Vec<(String, String)>,
}

impl Arrived {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub type Answer = Arc<dyn Fn(&Arrived) -> Vec<u8> + Send + Sync>;

/// A server; its task ends with the test's runtime.
pub struct Server {
    pub port: u16,
    pub tls: bool,
    pub arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Server {
    pub async fn plain(answer: Answer) -> Self {
        Self::start(answer, None).await
    }

    pub async fn tls(answer: Answer, config: rustls::ServerConfig) -> Self {
        Self::start(answer, Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(answer: Answer, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let server = Self { port, tls: tls.is_some(), arrived: arrived.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, arrived, tls) = (answer.clone(), arrived.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, arrived).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer, arrived).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    pub fn exchange(&self, trust: Trust) -> Arc<HttpExchange> {
        Arc::new(HttpExchange::new(HttpOptions::new(self.endpoint(), trust, token())).unwrap())
    }

    pub fn last(&self) -> Arrived {
        self.arrived.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

pub fn token() -> Credential {
    Credential::Token { id: "root@pam!test".to_owned(), secret: "a-secret".to_owned().into() }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    log: Arc<Mutex<Vec<Arrived>>>,
) {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(read) if read > 0) {
                return;
            }
        };
        let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
        let mut lines = text.lines();
        let mut first = lines.next().unwrap().split(' ');
        let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        while bytes.len() < head + length {
            if !matches!(stream.read_buf(&mut bytes).await, Ok(read) if read > 0) {
                return;
            }
        }
        let form = String::from_utf8(bytes[head..head + length].to_vec()).unwrap();
        bytes.drain(..head + length);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let params = [query, &form].into_iter().flat_map(pairs).collect();
        let arrived = Arrived { method, path: path.to_owned(), headers, params };
        let answer = answer(&arrived);
        log.lock().unwrap().push(arrived);
        // An empty answer: the line is cut.
        if stream.write_all(&answer).await.is_err() || answer.is_empty() {
            return;
        }
        let _ = stream.flush().await;
        if String::from_utf8_lossy(&answer).contains("Connection: close") {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

pub fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            if *first == b'%' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                rest = &after[2..];
            } else {
                bytes.push(*first);
                rest = after;
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

/// A whole answer in bytes.
pub fn http(status: u16, reason: &str, body: &str) -> Vec<u8> {
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

type Script = Box<dyn FnMut(&Request) -> Result<Response, ExchangeError> + Send>;

/// An exchange that needs no network.
pub struct Scripted(Mutex<Script>);

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    pub fn new(
        script: impl FnMut(&Request) -> Result<Response, ExchangeError> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Box::new(script))))
    }

    /// Answers in order, and fails when asked once too often.
    pub fn in_order(answers: impl IntoIterator<Item = Result<Response, ExchangeError>>) -> Arc<Self> {
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        Self::new(move |request| answers.pop_front().unwrap_or_else(|| Err(lost(&request.path))))
    }
}

#[async_trait]
impl Exchange for Scripted {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.0.lock().unwrap()(request)
    }

    /// The file is one more parameter.
    async fn upload(&self, request: &Request, file: &Attached) -> Result<Response, ExchangeError> {
        let mut request = request.clone();
        request.params.push(("filename".to_owned(), file.name.clone()));
        self.exchange(&request).await
    }

    fn endpoint(&self) -> String {
        "scripted".to_owned()
    }
}

pub fn lost(request: &str) -> ExchangeError {
    ExchangeError::MaybeSent {
        endpoint: "scripted".to_owned(),
        request: request.to_owned(),
        reason: "lost".to_owned(),
    }
}

pub fn data(data: Value) -> Result<Response, ExchangeError> {
    Ok(Response { status: 200, reason: "OK".to_owned(), body: serde_json::json!({ "data": data }) })
}

pub fn refusal(status: u16, reason: &str, body: Value) -> Result<Response, ExchangeError> {
    Ok(Response { status, reason: reason.to_owned(), body })
}
