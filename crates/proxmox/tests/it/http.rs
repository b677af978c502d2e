//! HTTPS as it goes wrong: certificates, refusals, cut answers, time.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Answer, Server, http, token};
use proxmox::client::{GuestRef, Reader, Writer};
use proxmox::config::GuestKind;
use proxmox::exchange::{Exchange, ExchangeError, Method, Request};
use proxmox::http::{Credential, Fingerprint, HttpExchange, HttpOptions, HttpOptionsError, Trust};
use proxmox::{Error, ErrorKind};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use transport::Sent;

const VERSION: &str = r#"{"data":{"version":"9.2.11","release":"9.2"}}"#;

fn fine() -> Answer {
    Arc::new(|_| http(200, "OK", VERSION))
}

/// A node's certificate from an authority of its own, as Proxmox VE makes them: the authority in PEM, the
/// certificate's fingerprint, and the server's configuration.
fn certificate(name: &str) -> (String, Fingerprint, rustls::ServerConfig) {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "a test's own authority");
    let ca_cert = ca.self_signed(&ca_key).expect("a certificate");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let pin = Fingerprint::of(leaf.der());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("a configuration");
    (ca_cert.pem(), pin, config)
}

#[tokio::test]
async fn the_right_pin_and_the_right_authority_are_believed_and_nothing_else() {
    let (authority, pin, config) = certificate("127.0.0.1");
    let server = Server::tls(fine(), config).await;
    for trust in [Trust::Fingerprint(pin), Trust::CaCert(authority)] {
        let version = Reader::new(server.exchange(trust)).version().await.unwrap();
        assert_eq!(version.version, "9.2.11");
    }
    assert_eq!(server.last().header("authorization"), Some("PVEAPIToken=root@pam!test=a-secret"));
    let before = server.arrived.lock().unwrap().len();
    let (other_authority, other_pin, _) = certificate("127.0.0.1");
    for trust in [Trust::Fingerprint(other_pin), Trust::CaCert(other_authority), Trust::Verify] {
        let error = Reader::new(server.exchange(trust.clone())).version().await.unwrap_err();
        match &error {
            Error::Exchange(ExchangeError::Certificate { seen, .. }) => assert_eq!(*seen, pin.to_string()),
            // A machine without authorities cannot even begin to verify.
            other => panic!("{trust:?}: {other:?}"),
        }
        assert_eq!(error.sent(), Sent::Never);
        assert!(error.hint().is_some_and(|hint| hint.contains(&pin.to_string())));
    }
    assert_eq!(server.arrived.lock().unwrap().len(), before, "nothing was sent to a stranger");
}

#[tokio::test]
async fn an_authority_does_not_vouch_for_another_name_but_a_pin_does() {
    let (authority, pin, config) = certificate("pve1.workshop.internal");
    let server = Server::tls(fine(), config).await;
    let error = Reader::new(server.exchange(Trust::CaCert(authority))).version().await.unwrap_err();
    assert!(matches!(error, Error::Exchange(ExchangeError::Certificate { .. })), "{error:?}");
    assert!(Reader::new(server.exchange(Trust::Fingerprint(pin))).version().await.is_ok());
}

// Whoever is vouched for is not who is pinned: also not one whom the system's authorities vouch for, since none is asked.
#[tokio::test]
async fn beside_the_pin_one_more_is_believed_and_no_other() {
    let (_, shown, config) = certificate("pve.workshop.internal");
    let server = Server::tls(fine(), config).await;
    let pin = Trust::Fingerprint(Fingerprint::of(b"the one before"));
    let options = HttpOptions::new(server.endpoint(), pin, token());
    let beside = options.beside.clone();
    let exchange = HttpExchange::new(options).unwrap();
    let get = Request { method: Method::Get, path: "/version".to_owned(), params: Vec::new() };
    for (told, good) in [(None, false), (Some(shown), true), (Some(Fingerprint::of(b"")), false)] {
        beside.set(told);
        let answer = exchange.fresh(&get).await;
        assert_eq!(answer.is_ok(), good, "{told:?}: {answer:?}");
        assert!(good || matches!(answer.unwrap_err(), ExchangeError::Certificate { .. }));
    }
    assert_eq!(server.arrived.lock().unwrap().len(), 1);
}

#[test]
fn options_that_cannot_be_used() {
    let pin = Trust::Fingerprint(Fingerprint::of(b""));
    for endpoint in
        ["", "pve1:8006", "http://10.0.0.13:8006", "ftp://127.0.0.1", "https://u:p@h:1", "https://h/x"]
    {
        let error = HttpExchange::new(HttpOptions::new(endpoint, pin.clone(), token())).unwrap_err();
        assert!(matches!(error, HttpOptionsError::Endpoint { .. }), "{endpoint}: {error:?}");
    }
    for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let options = HttpOptions::new("https://h", Trust::CaCert(pem.to_owned()), token());
        assert!(matches!(HttpExchange::new(options).unwrap_err(), HttpOptionsError::Tls(_)));
    }
    let credential = Credential::Token { id: "a@b!c".to_owned(), secret: "two\nlines".to_owned().into() };
    let error = HttpExchange::new(HttpOptions::new("https://h", pin, credential)).unwrap_err();
    assert!(matches!(error, HttpOptionsError::Credential));
}

#[tokio::test]
async fn a_secret_is_in_no_text() {
    let server = Server::plain(fine()).await;
    let options = HttpOptions::new(server.endpoint(), Trust::Verify, token());
    let shown = format!("{options:?} {:?}", HttpExchange::new(options.clone()).unwrap());
    assert!(!shown.contains("a-secret"), "{shown}");
}

#[tokio::test]
async fn a_refused_token_keeps_the_reason_phrase() {
    let server = Server::plain(Arc::new(|_| http(401, "no such token 'test' for user 'root@pam'", ""))).await;
    let error = Reader::new(server.exchange(Trust::Verify)).version().await.unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::Unauthorized));
    assert!(error.to_string().contains("no such token 'test'"), "{error}");
    assert_eq!(error.sent(), Sent::Never);
}

#[tokio::test]
async fn a_refused_connection_was_never_sent() {
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("https://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let trust = Trust::Fingerprint(Fingerprint::of(b""));
    let exchange = HttpExchange::new(HttpOptions::new(endpoint, trust, token())).unwrap();
    let error = Reader::new(Arc::new(exchange)).version().await.unwrap_err();
    assert!(matches!(error, Error::Exchange(ExchangeError::NeverSent { .. })), "{error:?}");
}

/// Cut by its length, cut with a right length, nothing at all, and a page of some other server.
#[tokio::test]
async fn a_cut_answer_may_have_had_an_effect() {
    let cut = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\n{VERSION}").into_bytes(),
        http(200, "OK", &VERSION[..20]),
        Vec::new(),
        http(200, "OK", "<html>welcome</html>"),
    ];
    for answer in cut {
        let server = Server::plain(Arc::new(move |_| answer.clone())).await;
        let writer = Writer::new(server.exchange(Trust::Verify));
        let guest = GuestRef::new("pve1", GuestKind::Container, 101);
        let error = writer.start(&guest).await.unwrap_err();
        assert!(matches!(error, Error::Exchange(ExchangeError::MaybeSent { .. })), "{error:?}");
        assert_eq!(error.sent(), Sent::Maybe);
        assert_eq!(server.arrived.lock().unwrap().len(), 1, "it is never sent twice");
    }
    // Whole, and yet no answer to this.
    for body in ["", "{}", r#"{"data":null}"#, r#"{"data":"UPID:x"}"#] {
        let server = Server::plain(Arc::new(move |_| http(200, "OK", body))).await;
        let writer = Writer::new(server.exchange(Trust::Verify));
        let error = writer.start(&GuestRef::new("pve1", GuestKind::Container, 101)).await.unwrap_err();
        assert!(matches!(error, Error::Answer { .. }) && error.sent() == Sent::Maybe, "{body}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut options = HttpOptions::new(endpoint, Trust::Verify, token());
    options.limit = Duration::from_millis(300);
    let reader = Reader::new(Arc::new(HttpExchange::new(options).unwrap()));
    // It is accepted, and never answered.
    let (error, _accepted) = tokio::join!(reader.version(), listener.accept());
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Exchange(ExchangeError::MaybeSent { .. })), "{error:?}");
}

#[tokio::test]
async fn parameters_are_a_query_or_a_form_and_survive() {
    let server = Server::plain(Arc::new(|_| http(200, "OK", r#"{"data":null}"#))).await;
    let exchange = server.exchange(Trust::Verify);
    let odd = [("description", "a=b&c+d %\n```ü"), ("list", "1"), ("list", "2")];
    let params: Vec<_> = odd.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    for method in [Method::Get, Method::Post, Method::Put, Method::Delete] {
        let request = Request { method, path: "/nodes/a%20b/x".to_owned(), params: params.clone() };
        exchange.exchange(&request).await.unwrap();
        let arrived = server.last();
        assert_eq!(
            (arrived.method.as_str(), arrived.path.as_str()),
            (&*method.to_string(), "/api2/json/nodes/a%20b/x")
        );
        assert_eq!(arrived.params, params);
    }
}

fn by_ticket(server: &Server) -> HttpExchange {
    let credential =
        Credential::Ticket { user: "root@pam".to_owned(), password: "pass word".to_owned().into() };
    HttpExchange::new(HttpOptions::new(server.endpoint(), Trust::Verify, credential)).unwrap()
}

#[tokio::test]
async fn a_ticket_is_made_once_kept_and_made_anew_when_it_is_refused() {
    let logins = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = logins.clone();
    let server = Server::plain(Arc::new(move |arrived| {
        if arrived.path == "/api2/json/access/ticket" {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return http(
                200,
                "OK",
                &format!(r#"{{"data":{{"ticket":"PVE:root@pam:{n}::a+b=","CSRFPreventionToken":"C:{n}"}}}}"#),
            );
        }
        // The first ticket is refused once a write comes.
        if arrived.header("csrfpreventiontoken") == Some("C:0") {
            return http(401, "permission denied - invalid PVE ticket", "");
        }
        http(200, "OK", VERSION)
    }))
    .await;
    let exchange = by_ticket(&server);
    let get = Request { method: Method::Get, path: "/version".to_owned(), params: Vec::new() };
    for _ in 0..3 {
        assert_eq!(exchange.exchange(&get).await.unwrap().status, 200);
    }
    assert_eq!(logins.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(server.last().header("cookie"), Some("PVEAuthCookie=PVE%3Aroot%40pam%3A0%3A%3Aa%2Bb%3D"));
    assert_eq!(server.last().header("csrfpreventiontoken"), None);
    let post = Request { method: Method::Post, ..get };
    assert_eq!(exchange.exchange(&post).await.unwrap().status, 200);
    assert_eq!(server.last().header("csrfpreventiontoken"), Some("C:1"));
    assert_eq!(logins.load(std::sync::atomic::Ordering::SeqCst), 2);
    let login = server.arrived.lock().unwrap()[0].clone();
    assert_eq!(
        login.params,
        [("username", "root@pam"), ("password", "pass word")].map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
}

#[tokio::test]
async fn a_refused_login_is_the_answer_and_a_second_factor_is_said() {
    let server = Server::plain(Arc::new(|_| http(401, "authentication failure", r#"{"data":null}"#))).await;
    let error = Reader::new(Arc::new(by_ticket(&server))).version().await.unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::Unauthorized));
    assert_eq!(server.arrived.lock().unwrap().len(), 1);
    let second = r#"{"data":{"ticket":"PVE:!tfa!x","CSRFPreventionToken":"C","NeedTFA":1}}"#;
    let server = Server::plain(Arc::new(move |_| http(200, "OK", second))).await;
    let error = Reader::new(Arc::new(by_ticket(&server))).version().await.unwrap_err();
    assert!(error.to_string().contains("second factor") && error.sent() == Sent::Never, "{error}");
}
