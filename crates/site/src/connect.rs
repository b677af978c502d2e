//! The way to a site's target: the API, and commands on the node.

use std::sync::Arc;

use apply::Failure;
use blueprint::model::{self, Blueprint, Target};
use managers::Ways;
use proxmox::client::{Reader, Writer};
use proxmox::exchange::Exchange;
use proxmox::http::{Beside, Credential, HttpOptions, Trust};
use secrecy::{ExposeSecret as _, SecretString};
use transport::{Runner, Ssh, SshOptions, Traced};

use crate::control::Control;
use crate::doors::{self, SimulatedDoors, SshDoors};
use crate::environment::Environment;
use crate::error::Error;
use crate::folders::{lab_folder, state};
use crate::placed::Placed;
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
    /// Those into guests.
    doors: Option<Arc<SshDoors>>,
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

    /// How a person logs in on the node by hand: the arguments of ssh, which believes the same host key. `None` without ssh.
    ///
    /// # Errors
    /// When the list of host keys cannot be written.
    pub fn login(&self, line: Option<&str>) -> Option<Result<Vec<String>, transport::Error>> {
        self.ssh.as_ref().map(|ssh| ssh.login(line))
    }

    /// How a person logs in by hand in a guest that is entered by ssh, likewise. `None` where it is not.
    ///
    /// # Errors
    /// When there is no key for it, or the lists of host keys cannot be written.
    pub fn login_in(&self, id: u32) -> Option<Result<Vec<String>, Failure>> {
        let ssh = self.doors.as_ref()?.ssh(id)?;
        Some(ssh.and_then(|ssh| {
            ssh.login(None).map_err(|error| Failure::from_error("transport::failed", &error))
        }))
    }

    /// Begins to make the ssh connection, while something else is done. Within the runtime.
    pub fn open(&self) {
        if let Some(ssh) = self.ssh.clone() {
            tokio::spawn(async move { ssh.open().await });
        }
    }

    /// Ends what was begun, but for the folder that [`Connection::login`] names files of: who logs in takes this process'
    /// place.
    pub async fn hand_over(&self) {
        if let Some(doors) = &self.doors {
            doors.close().await;
        }
        if let Some(ssh) = &self.ssh {
            ssh.close().await;
        }
    }

    /// Ends what was begun. The ssh connection stays for the next command, where that is wanted.
    pub async fn close(&self) {
        self.hand_over().await;
        self.control.close().await;
    }
}

/// Prepares the way to the target. Nothing is sent yet.
///
/// # Errors
/// When a credential cannot be had, what is to be believed is no certificate, or the lab does not run.
pub fn connect(blueprint: &Blueprint, environment: &Environment) -> Result<Connection, Error> {
    let folder = state(&blueprint.root);
    if folder.exists() {
        // Whoever may write there can have another certificate believed, or put another authority in the place of ours.
        private::kept(&folder).map_err(|e| {
            Error::from_error("site::exposed", &e)
                .hint(format!("make it yours alone to write: chmod go-w {folder}"))
        })?;
    }
    let control = Control::of(&blueprint.root, environment);
    match &blueprint.target {
        Target::Proxmox(target) => proxmox_node(blueprint, target, control, environment),
        Target::Lab(_) => lab_node(blueprint, control),
    }
}

/// The API. Where commands can be run on the node, it tells itself which certificate was put there for it.
fn open(
    blueprint: &Blueprint,
    options: HttpOptions,
    node: Option<Arc<dyn Runner>>,
) -> Result<Arc<dyn Exchange>, Error> {
    let beside = Beside::default();
    let options = HttpOptions { beside: beside.clone(), ..options };
    let exchange = proxmox::http::connect(options).map_err(|e| Error::from_error("proxmox::options", &e))?;
    let file = state(&blueprint.root).join("node-certificate");
    Ok(match node {
        Some(node) => Arc::new(Placed::new(exchange, beside, node, file)),
        None => exchange,
    })
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
    let ssh = target.ssh.as_ref().map(|s| SshOptions {
        destination: s.destination.clone(),
        port: s.port,
        identity: s.identity.as_ref().map(|i| blueprint.root.join(i)),
        host_key: s.host_key.clone(),
        control_dir: control.folder.clone(),
        keep: control.keep.clone(),
    });
    let ssh = ssh.map(|options| Arc::new(Ssh::new(options)));
    let node = ssh.clone().map(|ssh| Arc::new(Traced::new(ssh)) as Arc<dyn Runner>);
    let exchange = open(blueprint, options, node.clone())?;
    let ways = Ways::new(node, exchange.clone());
    let (ways, doors) = with_doors(blueprint, ways, ssh.as_ref(), &control);
    Ok(Connection { exchange, ways, ssh, doors, lab: None, control })
}

/// The ways with those into guests by ssh, which go through the node's connection.
fn with_doors(
    blueprint: &Blueprint,
    ways: Ways,
    node: Option<&Arc<Ssh>>,
    control: &Control,
) -> (Ways, Option<Arc<SshDoors>>) {
    let Some(node) = node else { return (ways, None) };
    let doors = Arc::new(SshDoors::new(blueprint, node.clone(), control.folder.clone()));
    (ways.by_ssh(doors.clone()), Some(doors))
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
    let ssh = record.ssh.as_ref().map(|s| {
        let (control_dir, keep) = (control.folder.clone(), control.keep.clone());
        Arc::new(Ssh::new(SshOptions { control_dir, keep, ..s.options(&folder) }))
    });
    let simulated = record.runtime == lab::runtime::RuntimeKind::Simulated;
    let node: Option<Arc<dyn Runner>> = match &ssh {
        _ if simulated => {
            let runner = lab::up::SimNodeRunner::new(&folder, record.node.clone());
            Some(Arc::new(Traced::new(Arc::new(runner))))
        }
        ssh => ssh.clone().map(|ssh| Arc::new(Traced::new(ssh)) as Arc<dyn Runner>),
    };
    let exchange = open(blueprint, options, node.clone())?;
    let ways = Ways::new(node.clone(), exchange.clone());
    let (ways, doors) = match node.filter(|_| simulated) {
        Some(node) => {
            let (root, guests) = (blueprint.root.clone(), doors::entrances(blueprint));
            (ways.by_ssh(Arc::new(SimulatedDoors { root, node, guests })), None)
        }
        None => with_doors(blueprint, ways, ssh.as_ref(), &control),
    };
    Ok(Connection { exchange, ways, ssh, doors, lab: Some(record), control })
}
