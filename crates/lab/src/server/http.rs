//! One connection: HTTP requests to requests of the node, and its answers back.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, SERVER,
};
use hyper::service::service_fn;
use hyper::{Method as HttpMethod, Request as HttpRequest, Response as HttpResponse, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proxmox::exchange::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Entrance, IDENTITY, Shared, upload};
use crate::node::Auth;
use crate::sim::Fault;

/// The largest body that is read (PVE::APIServer::AnyEvent takes 512 KiB of form).
const BODY: usize = 512 << 10;
/// How long a client may take for its headers.
const HEADERS: Duration = Duration::from_secs(30);

type Body = BoxBody<Bytes, io::Error>;

pub(super) async fn serve<S>(stream: S, shared: Arc<Shared>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { answer(&shared, request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is its client's business.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(shared: &Shared, request: HttpRequest<Incoming>) -> io::Result<HttpResponse<Body>> {
    let lost = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
    if !shared.latency.is_zero() {
        tokio::time::sleep(shared.latency).await;
    }
    let shown = format!("{} {}", request.method(), request.uri().path());
    let (_, fault) = match shared.entrance {
        Entrance::Clients => shared.faults.next(&shown, &shared.node),
        Entrance::Console | Entrance::Peers => (0, None),
    };
    match &fault {
        Some(Fault::NeverSent | Fault::KillBefore) => return lost(),
        Some(Fault::Slow(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let response = respond(shared, request).await;
    match fault {
        Some(Fault::ReplyLost | Fault::KillAfter) => lost(),
        Some(Fault::Cut) => {
            let (mut parts, body) = response.into_parts();
            let bytes = body.collect().await?.to_bytes();
            // As long as all of it, says the header, and then half of it comes.
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            let half = Ok(Frame::data(bytes.slice(..bytes.len() / 2)));
            let end = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            Ok(HttpResponse::from_parts(parts, StreamBody::new(stream::iter([half, end])).boxed()))
        }
        _ => Ok(response),
    }
}

async fn respond(shared: &Shared, request: HttpRequest<Incoming>) -> HttpResponse<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let Some(path) = path.strip_prefix("/api2/json").filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return if path.starts_with("/api2/") {
            let format = path.split('/').nth(2).unwrap_or_default();
            json_answer(501, &format!("format '{format}' is not offered by this node: use /api2/json"))
        } else {
            json_answer(404, "no such file: this node serves its API below /api2/json, and no web interface")
        };
    };
    let method = match parts.method {
        HttpMethod::GET => Method::Get,
        HttpMethod::POST => Method::Post,
        HttpMethod::PUT => Method::Put,
        HttpMethod::DELETE => Method::Delete,
        other => return json_answer(501, &format!("Method '{other} {path}' not implemented")),
    };
    let boundary = upload::boundary(method, path, &parts.headers);
    if let Some(boundary) = boundary {
        return uploaded(shared, method, path, &parts.headers, body, &boundary).await;
    }
    let bytes = match Limited::new(body, BODY).collect().await {
        Ok(bytes) => bytes.to_bytes(),
        Err(_) => return json_answer(501, "for data too large"),
    };
    let mut params = form(parts.uri.query().unwrap_or_default());
    if !bytes.is_empty() {
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.map_or("application/x-www-form-urlencoded", |kind| {
            kind.split(';').next().unwrap_or(kind).trim()
        });
        match kind {
            "application/x-www-form-urlencoded" => params.extend(form(&String::from_utf8_lossy(&bytes))),
            "application/json" => match from_json(&bytes) {
                Ok(more) => params.extend(more),
                Err(reason) => return json_answer(400, &reason),
            },
            other => return text_answer(506, &format!("upload 'Content-Type '{other}' not implemented")),
        }
    }
    let request = Request { method, path: if path.is_empty() { "/" } else { path }.to_owned(), params };
    if shared.entrance == Entrance::Peers {
        let identity = parts.headers.get(IDENTITY).and_then(|value| value.to_str().ok()).map(Auth::of);
        return to_http(&shared.node.handle_own(identity.as_ref(), &request).await);
    }
    let response = match authenticate(shared, &parts.headers, method) {
        Ok(Some(auth)) => shared.node.handle(&auth, &request).await,
        Ok(None) => shared.node.handle_anonymous(&request).await,
        Err(reason) => Response { status: 401, reason: reason.to_owned(), body: Value::Null },
    };
    to_http(&response)
}

/// A request with a file. Who asks is known before any of it is read.
async fn uploaded(
    shared: &Shared,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: Incoming,
    boundary: &str,
) -> HttpResponse<Body> {
    let auth = match authenticate(shared, headers, method) {
        Ok(Some(auth)) => auth,
        Ok(None) => {
            return to_http(&Response { status: 401, reason: "No ticket".to_owned(), body: Value::Null });
        }
        Err(reason) => {
            return to_http(&Response { status: 401, reason: reason.to_owned(), body: Value::Null });
        }
    };
    match upload::receive(body, boundary).await {
        Ok((params, file)) => {
            let request = Request { method, path: path.to_owned(), params };
            to_http(&shared.node.handle_upload(&auth, &request, file).await)
        }
        // Recorded: "upload iso, right checksum, but the field checksum before checksum-algorithm".
        Err(upload::Refused::Fields) => text_answer(400, "Bad Request"),
        Err(upload::Refused::Io(error)) => json_answer(500, &format!("unable to take the file: {error}")),
    }
}

fn authenticate(shared: &Shared, headers: &HeaderMap, method: Method) -> Result<Option<Auth>, &'static str> {
    if shared.entrance == Entrance::Console {
        return Ok(Some(Auth::root()));
    }
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(header) = text(&AUTHORIZATION) {
        // The text a real node gives whatever is wrong with a token.
        return shared.node.auth_of_token(header).map(Some).ok_or("Authentication failed!");
    }
    let cookie = text(&COOKIE)
        .and_then(|cookies| cookies.split(';').find_map(|one| one.trim().strip_prefix("PVEAuthCookie=")));
    let Some(cookie) = cookie else { return Ok(None) };
    let ticket = percent_decode(cookie);
    let csrf = headers.get("csrfpreventiontoken").and_then(|value| value.to_str().ok());
    shared.node.auth_of_ticket(&ticket, csrf, method != Method::Get).map(Some)
}

fn percent_decode(text: &str) -> String {
    crate::node::decode(text)
}

/// `a=1&b=2`, decoded.
fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(&key.replace('+', " ")), percent_decode(&value.replace('+', " ")))
        })
        .collect()
}

fn from_json(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("unable to decode JSON: {error}"))?;
    let Value::Object(object) = value else {
        return Err("the JSON of a request must be an object".to_owned());
    };
    let mut out = Vec::new();
    for (key, value) in object {
        let mut push = |value: &Value| match value {
            Value::Null => {}
            Value::Bool(flag) => out.push((key.clone(), u8::from(*flag).to_string())),
            Value::String(text) => out.push((key.clone(), text.clone())),
            other => out.push((key.clone(), other.to_string())),
        };
        match &value {
            Value::Array(all) => all.iter().for_each(&mut push),
            one => push(one),
        }
    }
    Ok(out)
}

fn to_http(response: &Response) -> HttpResponse<Body> {
    let body = match &response.body {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    build(response.status, &response.reason, "application/json;charset=UTF-8", body)
}

fn json_answer(status: u16, message: &str) -> HttpResponse<Body> {
    let body = json!({"data": null, "message": message}).to_string();
    build(status, message, "application/json;charset=UTF-8", Bytes::from(body))
}

fn text_answer(status: u16, message: &str) -> HttpResponse<Body> {
    build(status, message, "text/plain", Bytes::from(message.to_owned()))
}

fn build(status: u16, reason: &str, kind: &'static str, body: Bytes) -> HttpResponse<Body> {
    let whole = Full::new(body).map_err(|never: Infallible| match never {}).boxed();
    let mut out = HttpResponse::new(whole);
    *out.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    out.headers_mut().insert(SERVER, HeaderValue::from_static("pve-api-daemon/3.0"));
    // A reason that HTTP cannot carry is left out: the body has it too.
    if let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes().to_vec()) {
        out.extensions_mut().insert(reason);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_and_json_give_the_same_parameters() {
        let wanted = vec![
            ("memory".to_owned(), "400".to_owned()),
            ("net0".to_owned(), "name=eth0,ip=dhcp".to_owned()),
        ];
        assert_eq!(form("memory=400&net0=name%3Deth0%2Cip%3Ddhcp"), wanted);
        assert_eq!(from_json(br#"{"memory":400,"net0":"name=eth0,ip=dhcp"}"#), Ok(wanted));
        assert_eq!(from_json(br#"{"force":true}"#), Ok(vec![("force".to_owned(), "1".to_owned())]));
        assert!(from_json(b"[1]").is_err() && from_json(b"{").is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = from_json(&bytes);
            let _ = form(&String::from_utf8_lossy(&bytes));
        }
    }
}
