use std::sync::Mutex as Plain;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::Utf8Path;
use proptest::prelude::*;
use proxmox::client::Reader;
use proxmox::http::{Credential, HttpOptions, Trust};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transport::{Command, Error, Held, Output, Stream};

use super::*;
use crate::environment::Environment;

/// What a client sent after the handshake, by connection.
type Heard = Arc<Plain<Vec<String>>>;

/// Somebody with a certificate for the node's name that the workshop's authority signed, as a guest of that name gets one.
struct Impostor {
    endpoint: String,
    chain: String,
    heard: Heard,
}

impl Impostor {
    async fn new(site: &Utf8Path) -> Self {
        let settings = pki::AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        let now = jiff::Timestamp::now();
        let folder = crate::folders::state(site).join("secrets/authority");
        let authority = pki::Authority::open_or_create(&folder, &settings, now).unwrap();
        let request = pki::LeafRequest {
            name: "pve".into(),
            dns_names: vec!["pve.workshop.internal".into()],
            addresses: Vec::new(),
            life: Duration::from_secs(86_400),
        };
        let leaf = authority.issue(&request, now).unwrap();
        let chain = leaf.chain_pem.clone();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose_secret().as_bytes()).unwrap();
        let shown = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(shown, key)
                .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let heard = Heard::default();
        let told = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), told.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut bytes = vec![0; 4096];
                    let Ok(length @ 1..) = stream.read(&mut bytes).await else { return };
                    let text = String::from_utf8_lossy(bytes.get(..length).unwrap()).into_owned();
                    told.lock().unwrap().push(text);
                    let body = r#"{"data":{"version":"9.2.11","release":"9.2"}}"#;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        Self { endpoint, chain, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn options(&self) -> HttpOptions {
        let credential = Credential::Token { id: "phoenix@pve!up".into(), secret: "a-secret".into() };
        let pin = Trust::Fingerprint(Fingerprint::of(b"the node's own, which is another"));
        HttpOptions::new(&self.endpoint, pin, credential)
    }
}

/// A node that tells which certificate was put there for it, if any; how often it was asked.
#[derive(Debug)]
struct Node(Option<String>, AtomicUsize);

#[async_trait]
impl Runner for Node {
    async fn run_lines(
        &self,
        _: &Command,
        _: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(match &self.0 {
            Some(text) => Output { stdout: text.clone().into_bytes(), ..Output::default() },
            None => Output { status: 1, ..Output::default() },
        })
    }

    async fn hold(&self, _: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        Ok(Err(Output::default()))
    }

    async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
        Err(Error::Connect { place: self.place(), reason: "nothing listens".into(), hint: None })
    }

    fn place(&self) -> String {
        "root@10.0.0.13".into()
    }
}

fn site() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, root)
}

fn node(told: Option<&str>) -> Arc<Node> {
    Arc::new(Node(told.map(str::to_owned), AtomicUsize::new(0)))
}

/// The way to the API, as a site has it.
fn way(impostor: &Impostor, node: &Arc<Node>, root: &Utf8Path) -> Reader {
    let beside = Beside::default();
    let options = HttpOptions { beside: beside.clone(), ..impostor.options() };
    let exchange = proxmox::http::connect(options).unwrap();
    let file = crate::folders::state(root).join("node-certificate");
    Reader::new(Arc::new(Placed::new(exchange, beside, node.clone(), file)))
}

fn refused(error: &proxmox::Error) -> bool {
    matches!(error, proxmox::Error::Exchange(ExchangeError::Certificate { .. }))
}

/// A guest's certificate for the node's name makes it no node: a token that was sent to it would be its to use.
#[tokio::test]
async fn who_has_a_certificate_of_the_workshop_for_the_nodes_name_gets_no_token() {
    let (_dir, root) = site();
    let impostor = Impostor::new(&root).await;
    let text = format!(
        r#"{{ "site": {{ "name": "workshop", "domain": "workshop.internal" }},
             "target": {{ "proxmox": {{ "endpoint": "{}", "fingerprint": "{}", "token": {{ "env": "TOKEN" }} }} }} }}"#,
        impostor.endpoint,
        Fingerprint::of(b"the node's own, which is another")
    );
    fs_err::write(root.join("site.json"), text).unwrap();
    let loaded = crate::open::load(&root, &Nobody).unwrap();
    let environment =
        Environment::new(|name| (name == "TOKEN").then(|| "phoenix@pve!up=a-secret".to_owned()));
    let connection = crate::connect::connect(&loaded.blueprint, &environment).unwrap();
    let error = connection.reader().version().await.unwrap_err();
    assert!(refused(&error), "{error:?}");
    let hint = error.hint().unwrap();
    assert!(hint.contains(&Fingerprint::of_pem(&impostor.chain).unwrap().to_string()), "{hint}");
    assert_eq!(impostor.heard(), [""; 0], "nothing was sent");
}

struct Nobody;

impl crate::environment::Listener for Nobody {
    fn hear(&self, _: &crate::environment::Notice<'_>) {}
}

#[tokio::test]
async fn what_the_node_itself_does_not_have_is_not_believed_and_not_asked_about_twice() {
    let (_dir, root) = site();
    let impostor = Impostor::new(&root).await;
    let other = Impostor::new(&root).await;
    for told in [None, Some(other.chain.as_str()), Some("no certificate")] {
        let node = node(told);
        let reader = way(&impostor, &node, &root);
        for _ in 0..2 {
            assert!(refused(&reader.version().await.unwrap_err()));
        }
        assert_eq!(node.1.load(Ordering::SeqCst), 1);
    }
    assert_eq!(impostor.heard(), [""; 0]);
}

/// The node, that is to say: what it shows is what lies there. It is asked once, and again where another way led there.
#[tokio::test]
async fn what_was_put_on_the_node_is_believed_and_kept() {
    let (_dir, root) = site();
    let real = Impostor::new(&root).await;
    let asked = node(Some(&real.chain));
    assert_eq!(way(&real, &asked, &root).version().await.unwrap().version, "9.2.11");
    assert!(real.heard().last().unwrap().contains("a-secret"));
    let again = node(None);
    assert!(way(&real, &again, &root).version().await.is_ok());
    assert_eq!((asked.1.load(Ordering::SeqCst), again.1.load(Ordering::SeqCst)), (1, 0));
    // Kept for one way, it is none for another: what was told of the one node is not what the other has.
    let file = crate::folders::state(&root).join("node-certificate");
    let text = fs_err::read_to_string(&file).unwrap().replace("root@10.0.0.13", "root@10.0.0.14");
    fs_err::write(&file, text).unwrap();
    assert!(refused(&way(&real, &again, &root).version().await.unwrap_err()));
}

proptest! {
    #[test]
    fn what_is_kept_is_read_as_it_was_written(text in ".{0,40}", way in "[!-~]{1,20} [!-~]{1,20}") {
        let told = Told { fingerprint: Fingerprint::of(text.as_bytes()), way };
        prop_assert_eq!(told.to_string().parse(), Ok(told));
        prop_assert!(text.parse::<Told>().is_err());
    }
}
