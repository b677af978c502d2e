//! From a fresh node to a target: which keys it shows, a key of the site's own on it, a token of what the blueprint needs, and the
//! `target` in the site's files.
//!
//! Each part looks at what is there first, so that who was cut off begins again and goes on. What is made here lies in
//! `.phoenix/node`, readable for its owner alone.

use std::sync::Arc;

use blueprint::retarget::Declared;
use camino::Utf8PathBuf;
use managers::privileges::commands;
use managers::privileges::required;
use plan::Desired;
use proxmox::client::Reader;
use proxmox::error::ErrorKind;
use proxmox::exchange::ExchangeError;
pub use proxmox::http::Fingerprint;
use proxmox::http::{Credential, FingerprintError, HttpOptions, Trust};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use transport::{Command, KeyPair, Runner, Ssh, SshOptions, Traced};

use crate::control::Control;
use crate::environment::Environment;
use crate::error::Error;
use crate::folders::made_state;

/// Where the key lies, below the site's folder.
pub const IDENTITY: &str = ".phoenix/node/id_ed25519";

/// Where the token lies, below the site's folder.
pub const TOKEN: &str = ".phoenix/node/token";

/// The file that the target is written to where no file declares one.
pub const FILE: &str = "target.json";

/// The certificates that the API shows, the first that is there (pvecm(1), `pvenode cert`).
const CERTIFICATE: &str = "cat /etc/pve/local/pveproxy-ssl.pem 2>/dev/null || cat /etc/pve/local/pve-ssl.pem";

/// Puts a public key, which is the one line on standard input, among those that may log in. It follows a link: on a node that is
/// where Proxmox VE keeps those of the cluster.
const INSTALL: &str = include_str!("bootstrap.sh");

/// A node that is to become the site's.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The site's folder.
    pub root: Utf8PathBuf,
    /// Its name or address.
    pub address: String,
    /// Its port for ssh.
    pub port: u16,
    /// Its port for the API.
    pub api_port: u16,
}

/// How one gets in the first time.
#[derive(Debug)]
pub enum WayIn {
    /// By root's password.
    Password(SecretString),
    /// By a key of the person's.
    Identity(Utf8PathBuf),
}

impl Fresh {
    /// The address of its API.
    pub fn endpoint(&self) -> String {
        let host =
            if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        format!("https://{host}:{}", self.api_port)
    }

    /// The fingerprint of the certificate that its API shows now. Whoever is between here and there may have shown it.
    ///
    /// # Errors
    /// When nothing answers there, or what answers is no API.
    pub async fn shown_certificate(&self) -> Result<Fingerprint, Error> {
        // Nothing is believed, so that it is refused and told; nothing is sent.
        let nothing: Fingerprint = "00"
            .repeat(32)
            .parse()
            .map_err(|e| Error::from_error("bootstrap::unreachable", &e as &FingerprintError))?;
        let credential =
            Credential::Token { id: "nobody@pve!none".to_owned(), secret: "none".to_owned().into() };
        let options = HttpOptions::new(self.endpoint(), Trust::Fingerprint(nothing), credential);
        let exchange =
            proxmox::http::connect(options).map_err(|e| Error::from_error("proxmox::options", &e))?;
        let hint = format!("is it a Proxmox VE node, is it up, is port {} open from here?", self.api_port);
        match Reader::new(exchange).version().await {
            Err(proxmox::Error::Exchange(ExchangeError::Certificate { seen, .. })) => {
                seen.parse().map_err(|e| Error::from_error("bootstrap::unreachable", &e as &FingerprintError))
            }
            Err(error) => Err(Error::from_error("bootstrap::unreachable", &error).hint(hint)),
            Ok(_) => Err(Error::failed(
                "bootstrap::unreachable",
                format!("{} shows no certificate", self.endpoint()),
            )
            .hint(hint)),
        }
    }

    /// Root on the node, by this key, where it shows this host key.
    fn options(
        &self,
        identity: Option<Utf8PathBuf>,
        host_key: &str,
        environment: &Environment,
    ) -> SshOptions {
        let control = Control::of(&self.root, environment);
        SshOptions {
            destination: format!("root@{}", self.address),
            port: self.port,
            identity,
            host_key: Some(host_key.to_owned()),
            control_dir: control.folder,
            keep: None,
        }
    }

    /// A connection by the site's own key, where the node takes it already.
    pub async fn known(&self, host_key: &str, environment: &Environment) -> Option<Node> {
        let identity = self.root.join(IDENTITY);
        identity.exists().then_some(())?;
        let node = Node::new(self.options(Some(identity), host_key, environment));
        let tried = node.run("trying the site's key", "true", "").await;
        match tried {
            Ok(_) => Some(node),
            Err(_) => {
                node.close().await;
                None
            }
        }
    }

    /// Puts the site's own key on the node, made where there is none, and gets in by it.
    ///
    /// # Errors
    /// When the first way in does not lead in, or the key is not taken.
    pub async fn install(
        &self,
        host_key: &str,
        way: &WayIn,
        environment: &Environment,
    ) -> Result<Node, Error> {
        let key = self.own_key()?;
        let line = format!(
            "{} phoenix-{}\n",
            key.public,
            self.root.file_name().unwrap_or("site").replace(char::is_whitespace, "-")
        );
        let command = Command::new("bringing the site's key", ["sh", "-c", INSTALL]).stdin(line);
        let said = match way {
            WayIn::Password(password) => {
                self.options(None, host_key, environment).by_password(password, &command).await
            }
            WayIn::Identity(identity) => {
                let ssh = Ssh::new(self.options(Some(identity.clone()), host_key, environment));
                let said = ssh.run(&command).await;
                ssh.close().await;
                said
            }
        };
        let hint = match way {
            WayIn::Password(_) => {
                "is the password right, and may root log in with one? else put a key there, and name it: --identity FILE"
            }
            WayIn::Identity(_) => {
                "does `ssh -i FILE root@ADDRESS` get in? a key with a passphrase has to be in your agent"
            }
        };
        let said = said.map_err(|e| Error::from_error("bootstrap::login", &e).hint(hint))?;
        if !said.success() {
            let text = format!("the site's key could not be put on {}: {}", self.address, said.tail(3));
            return Err(Error::failed("bootstrap::login", text)
                .hint(format!("what does it say? ssh root@{}", self.address)));
        }
        self.known(host_key, environment).await.ok_or_else(|| {
            Error::failed("bootstrap::login", format!("{} does not take the site's key, though it was put there", self.address))
                .hint("does its sshd allow keys for root? on the node: sshd -T | grep -e permitroot -e pubkey -e authorizedkeys")
        })
    }

    /// The site's key, made where there is none.
    fn own_key(&self) -> Result<KeyPair, Error> {
        let state = made_state(&self.root)?;
        let place = self.root.join(IDENTITY);
        let unusable = |e: std::io::Error| Error::from_error("site::exposed", &e);
        private::folder(&state.join("node")).map_err(unusable)?;
        if !place.exists() {
            let key = KeyPair::generate().ok_or_else(|| {
                Error::failed("bootstrap::login", "the system gave no randomness for a key")
            })?;
            private::write_new(&place, key.private.expose_secret().as_bytes()).map_err(unusable)?;
        }
        let text = SecretString::from(private::read(&place).map_err(unusable)?);
        KeyPair::of(&text).ok_or_else(|| {
            Error::failed("bootstrap::login", format!("{place} holds no key that Phoenix made"))
                .hint("put it elsewhere, and type the same once more")
        })
    }

    /// The token of before, where it is kept.
    pub fn kept_token(&self) -> Option<SecretString> {
        private::read(&self.root.join(TOKEN)).ok().map(SecretString::from)
    }

    /// Keeps a token, in the place of the one before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_token(&self, token: &SecretString) -> Result<(), Error> {
        let state = made_state(&self.root)?;
        crate::scrub::remember(token);
        private::folder(&state.join("node"))
            .and_then(|()| {
                private::write(&self.root.join(TOKEN), format!("{}\n", token.expose_secret()).as_bytes())
            })
            .map_err(|e| Error::from_error("site::exposed", &e))
    }

    /// Whether the API takes this token.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn takes(&self, token: &SecretString, fingerprint: Fingerprint) -> Result<bool, Error> {
        let Some((id, secret)) = token.expose_secret().trim().split_once('=') else { return Ok(false) };
        let credential = Credential::Token { id: id.to_owned(), secret: secret.to_owned().into() };
        let options = HttpOptions::new(self.endpoint(), Trust::Fingerprint(fingerprint), credential);
        let exchange =
            proxmox::http::connect(options).map_err(|e| Error::from_error("proxmox::options", &e))?;
        match Reader::new(exchange).version().await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Some(&ErrorKind::Unauthorized) => Ok(false),
            Err(error) => Err(Error::from_error("bootstrap::unreachable", &error)),
        }
    }

    /// The target as a blueprint declares it.
    pub fn target(&self, host_key: &str, fingerprint: Fingerprint) -> Value {
        let mut ssh =
            json!({ "host": self.address, "user": "root", "identity": IDENTITY, "host-key": host_key });
        if self.port != 22 {
            ssh["port"] = self.port.into();
        }
        json!({ "proxmox": {
            "endpoint": self.endpoint(), "token": { "file": TOKEN }, "fingerprint": fingerprint.to_string(), "ssh": ssh,
        } })
    }

    /// Writes the target: in the place of the one that is declared, or into a file of its own, with `sketch` as comments. What is
    /// there already is left. Which file it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_target(
        &self,
        declared: Option<&Declared>,
        target: &Value,
        sketch: &str,
    ) -> Result<Utf8PathBuf, Error> {
        let unwritable = |e: std::io::Error| Error::from_error("site::folder", &e);
        let Some(declared) = declared else {
            let path = self.root.join(FILE);
            if path.exists() {
                return Err(Error::failed(
                    "bootstrap::target-declared",
                    format!("{path} is there, and declares no target"),
                )
                .hint("move it away, and type the same once more"));
            }
            fs_err::write(&path, file_text(target, sketch)).map_err(unwritable)?;
            return Ok(FILE.into());
        };
        if declared.value != *target {
            let path = self.root.join(&declared.file);
            fs_err::write(&path, declared.with(target)).map_err(unwritable)?;
        }
        Ok(declared.file.clone())
    }
}

/// A file that declares this target, with comments below it.
pub fn file_text(target: &Value, sketch: &str) -> String {
    // A `Value` always serializes.
    let text = serde_json::to_string_pretty(&json!({ "target": target })).unwrap_or_default();
    let comments: String =
        sketch.lines().map(|line| format!("// {line}").trim_end().to_owned() + "\n").collect();
    format!("// What this site is built on; written by `phoenix-cli bootstrap`.\n{text}\n{comments}")
}

/// A node, as root.
#[derive(Debug)]
pub struct Node {
    ssh: Arc<Ssh>,
    /// The same, with what is done told to who listens.
    pub runner: Arc<dyn Runner>,
}

impl Node {
    fn new(options: SshOptions) -> Self {
        let ssh = Arc::new(Ssh::new(options));
        Self { runner: Arc::new(Traced::new(ssh.clone())), ssh }
    }

    /// Ends the connection.
    pub async fn close(&self) {
        self.ssh.close().await;
    }

    async fn run(&self, purpose: &str, script: &str, input: &str) -> Result<String, Error> {
        let command = Command::new(purpose, ["sh", "-c", script]).stdin(input);
        let output =
            self.runner.run(&command).await.map_err(|e| Error::from_error("transport::failed", &e))?;
        if output.success() {
            return Ok(output.text().into_owned());
        }
        Err(Error::failed("transport::failed", format!("{purpose} failed on the node: {}", output.tail(3))))
    }

    /// Whether the node itself says that this is the certificate of its API. `None` where it shows none.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn vouches(&self, fingerprint: Fingerprint) -> Result<Option<bool>, Error> {
        let pem = self.run("reading the node's certificate", CERTIFICATE, "").await;
        Ok(pem.ok().and_then(|pem| Fingerprint::of_pem(&pem)).map(|own| own == fingerprint))
    }

    /// How many nodes its cluster has, by Proxmox VE's own files.
    ///
    /// # Errors
    /// When it has no Proxmox VE, or that does not run.
    pub async fn nodes(&self) -> Result<usize, Error> {
        let text = self
            .run("listing the nodes", "command -v pveum >/dev/null && ls /etc/pve/nodes", "")
            .await
            .map_err(|_| {
                Error::failed(
                    "bootstrap::no-proxmox",
                    "there is no Proxmox VE on the node, or it does not run",
                )
                .hint("on the node: pveversion, and: systemctl status pve-cluster")
            })?;
        Ok(text.lines().count())
    }

    /// Makes pools, roles, user and, where `anew`, the token that the blueprint needs: the token, as Phoenix takes it.
    ///
    /// # Errors
    /// When one of the commands fails; run again it goes on.
    pub async fn grant(
        &self,
        desired: &Desired,
        nodes: usize,
        anew: bool,
    ) -> Result<Option<SecretString>, Error> {
        let token = if anew { commands::Token::Anew } else { commands::Token::Kept };
        let script = commands::script(&desired.site, &required(desired, nodes > 1), token);
        let command =
            Command::script("making role, user and token", script).limit(std::time::Duration::from_secs(180));
        let output =
            self.runner.run(&command).await.map_err(|e| Error::from_error("transport::failed", &e))?;
        if !output.success() {
            return Err(Error::failed(
                "bootstrap::token",
                format!("the token could not be made: {}", output.tail(3)),
            )
            .hint("the same command goes on where it was; by hand: phoenix-cli doctor --print-role"));
        }
        if !anew {
            return Ok(None);
        }
        let secret = serde_json::from_slice::<Value>(&output.stdout).ok();
        let secret = secret.as_ref().and_then(|it| it["value"].as_str());
        let secret = secret.ok_or_else(|| {
            Error::failed("bootstrap::token", "Proxmox VE made a token and did not tell its secret")
        })?;
        Ok(Some(format!("{}={secret}", commands::token(&desired.site)).into()))
    }
}
