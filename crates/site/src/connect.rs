//! The way to a site's target: the API, and commands on the node.

use std::sync::Arc;

use blueprint::model::{self, Blueprint, Target};
use managers::Ways;
use proxmox::client::{Reader, Writer};
use proxmox::exchange::Exchange;
use proxmox::http::{Credential, HttpOptions, Named, Trust};
use secrecy::{ExposeSecret as _, SecretString};
use transport::{Runner, Ssh, SshOptions, Traced};

use crate::control::Control;
use crate::environment::Environment;
use crate::error::Error;
use crate::folders::{lab_folder, state};
use crate::secrets::SiteSecrets;

/// A way to the target.
#[derive(Debug)]
pub struct Connection {
    /// The API.
    pub exchange: Arc<dyn Exchange>,
    /// The ways to nodes, and into guests.
    pub ways: Ways,
    /// The connection behind it, to be closed at the end.
    ssh: Option<Arc<Ssh>>,
    /// How to log in by hand: the arguments of ssh.
    pub login: Option<Vec<String>>,
    /// The lab, where the target is one.
    pub lab: Option<lab::up::NodeRecord>,
    control: Control,
}

impl Connection {
    /// Calls that only read.
    pub fn reader(&self) -> Reader {
        Reader::new(self.exchange.clone())
    }

    /// Calls that change something.
    pub fn writer(&self) -> Writer {
        Writer::new(self.exchange.clone())
    }

    /// Whether guests are records only.
    pub fn simulated(&self) -> bool {
        self.lab.as_ref().is_some_and(|l| l.runtime == lab::runtime::RuntimeKind::Simulated)
    }

    /// What the target is called on the screen.
    pub fn place(&self, node: &str) -> String {
        match &self.lab {
            Some(_) if self.simulated() => format!("{node} (simulated lab: nothing really runs)"),
            Some(_) => format!("{node} (lab)"),
            None => node.to_owned(),
        }
    }

    /// Begins to make the ssh connection, while something else is done. Within the runtime.
    pub fn open(&self) {
        if let Some(ssh) = self.ssh.clone() {
            tokio::spawn(async move { ssh.open().await });
        }
    }

    /// Ends what was begun. The ssh connection stays for the next command, where that is wanted.
    pub async fn close(&self) {
        if let Some(ssh) = &self.ssh {
            ssh.close().await;
        }
        self.control.close().await;
    }
}

/// Prepares the way to the target. Nothing is sent yet.
///
/// # Errors
/// When a credential cannot be had, what is to be believed is no certificate, or the lab does not run.
pub fn connect(blueprint: &Blueprint, environment: &Environment) -> Result<Connection, Error> {
    let control = Control::of(&blueprint.root, environment);
    match &blueprint.target {
        Target::Proxmox(target) => proxmox_node(blueprint, target, control, environment),
        Target::Lab(_) => lab_node(blueprint, control),
    }
}

/// The node may show a certificate of the workshop's instead of the one that is pinned.
fn named(blueprint: &Blueprint) -> Option<Named> {
    let authority = fs_err::read_to_string(state(&blueprint.root).join("secrets/authority/root.crt")).ok()?;
    Some(Named { authority, name: blueprint.node_name()? })
}

fn open(options: HttpOptions) -> Result<Arc<dyn Exchange>, Error> {
    proxmox::http::connect(options).map_err(|e| Error::from_error("proxmox::options", &e))
}

fn token(secret: &SecretString, whence: &str) -> Result<Credential, Error> {
    let Some((id, secret)) = secret.expose_secret().trim().split_once('=') else {
        return Err(Error::usage(
            "proxmox::token",
            format!("the token from {whence} is not of the form user@realm!name=secret"),
        )
        .hint(
            "Proxmox shows both parts once, when the token is made: Datacenter → Permissions → API Tokens",
        ));
    };
    Ok(Credential::Token { id: id.to_owned(), secret: secret.to_owned().into() })
}

fn proxmox_node(
    blueprint: &Blueprint,
    target: &model::ProxmoxTarget,
    control: Control,
    environment: &Environment,
) -> Result<Connection, Error> {
    let secrets = SiteSecrets::new(blueprint.root.clone(), environment.clone());
    let credential = match &target.credential {
        model::Credential::Token(reference) => token(&secrets.get(reference)?, "`target.proxmox.token`")?,
        model::Credential::Ticket { user, password } => {
            Credential::Ticket { user: user.clone(), password: secrets.get(password)? }
        }
    };
    let trust = match &target.trust {
        model::Trust::System => Trust::Verify,
        model::Trust::Fingerprint(text) => {
            Trust::Fingerprint(text.parse().map_err(|e: proxmox::http::FingerprintError| {
                Error::from_error("proxmox::fingerprint", &e)
            })?)
        }
        model::Trust::CaFile(path) => Trust::CaCert(
            fs_err::read_to_string(blueprint.root.join(path))
                .map_err(|e| Error::from_error("proxmox::ca-file", &e))?,
        ),
    };
    let options = HttpOptions::new(&target.endpoint, trust, credential);
    let exchange = open(HttpOptions { named: named(blueprint), ..options })?;
    let ssh = target.ssh.as_ref().map(|s| SshOptions {
        destination: s.destination.clone(),
        port: s.port,
        identity: s.identity.as_ref().map(|i| blueprint.root.join(i)),
        host_key: s.host_key.clone(),
        control_dir: control.folder.clone(),
        keep: control.keep.clone(),
    });
    Ok(with_ssh(exchange, ssh, None, control))
}

fn with_ssh(
    exchange: Arc<dyn Exchange>,
    options: Option<SshOptions>,
    lab: Option<lab::up::NodeRecord>,
    control: Control,
) -> Connection {
    let login = options.as_ref().map(|o| {
        let mut argv = vec!["ssh".to_owned(), "-p".into(), o.port.to_string()];
        if let Some(identity) = &o.identity {
            argv.extend(["-i".into(), identity.to_string(), "-o".into(), "IdentitiesOnly=yes".into()]);
        }
        argv.push(o.destination.clone());
        argv
    });
    let ssh = options.map(|o| Arc::new(Ssh::new(o)));
    let node = ssh.clone().map(|s| Arc::new(Traced::new(s)) as Arc<dyn Runner>);
    let ways = Ways::new(node, Reader::new(exchange.clone()));
    Connection { exchange, ways, ssh, login, lab, control }
}

fn lab_node(blueprint: &Blueprint, control: Control) -> Result<Connection, Error> {
    let folder = lab_folder(blueprint);
    let record = lab::up::NodeRecord::read(&folder).ok_or_else(|| {
        Error::failed("lab::not-running", "the site's target is its lab, and the lab is not running")
            .hint("phoenix-cli lab up")
    })?;
    let secret =
        fs_err::read_to_string(&record.token_file).map_err(|e| Error::from_error("lab::token", &e))?;
    let secret = secret.into();
    crate::scrub::remember(&secret);
    let credential = token(&secret, record.token_file.as_str())?;
    let fingerprint = record
        .fingerprint
        .parse()
        .map_err(|e: proxmox::http::FingerprintError| Error::from_error("lab::fingerprint", &e))?;
    let options = HttpOptions::new(&record.endpoint, Trust::Fingerprint(fingerprint), credential);
    let exchange = open(HttpOptions { named: named(blueprint), ..options })?;
    let ssh = record.ssh.as_ref().map(|s| SshOptions {
        destination: s.destination.clone(),
        port: s.port,
        identity: Some(s.identity.clone()),
        host_key: Some(s.host_key.clone()),
        control_dir: control.folder.clone(),
        keep: control.keep.clone(),
    });
    let node = record.node.clone();
    let mut connection = with_ssh(exchange, ssh, Some(record), control);
    if connection.simulated() {
        let runner = Traced::new(Arc::new(lab::up::SimNodeRunner::new(&folder, node)));
        connection.ways = Ways::new(Some(Arc::new(runner)), connection.reader());
    }
    Ok(connection)
}
