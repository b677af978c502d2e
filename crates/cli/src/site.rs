//! From a folder to a site one can work with: blueprint, authority, desired state, connection.

use std::sync::Arc;

use blueprint::model::{self, Blueprint, Target};
use blueprint::{Catalog, Loaded};
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use managers::features::renderer::Renderer;
use plan::Desired;
use proxmox::client::{Reader, Writer};
use proxmox::exchange::Exchange;
use proxmox::http::{Credential, HttpOptions, Named, Trust};
use secrecy::{ExposeSecret as _, SecretString};
use transport::{Runner, Ssh, SshOptions, Traced};

use crate::control::Control;
use crate::diagnostics;
use crate::error::{CommandError, Kind};
use crate::printer::Printer;
use crate::secrets::SiteSecrets;

/// The features that come with Phoenix.
pub fn catalog() -> Result<Catalog, CommandError> {
    Catalog::from_files(managers::features::builtin()).map_err(|failure| {
        CommandError::failed(
            "phoenix::catalog",
            "the built-in features cannot be read; this is a defect of Phoenix",
        )
        .hint(failure.to_text())
    })
}

/// A site's folder, absolute.
pub fn folder(site: &Utf8Path) -> Result<Utf8PathBuf, CommandError> {
    let absolute = camino::absolute_utf8(site).map_err(|e| CommandError::from_error("site::folder", &e))?;
    // The lab's names follow from it, so two spellings of one folder must be the same.
    Ok(absolute.canonicalize_utf8().unwrap_or(absolute))
}

/// Where Phoenix keeps what is the site's and no blueprint.
pub fn state(root: &Utf8Path) -> Utf8PathBuf {
    root.join(".phoenix")
}

/// Where the journals are.
pub fn runs(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("runs")
}

/// Where the lab of a site is.
pub fn lab_folder(blueprint: &Blueprint) -> Utf8PathBuf {
    match &blueprint.target {
        Target::Lab(lab) => {
            lab.folder.as_ref().map_or_else(|| default_lab(&blueprint.root), |f| blueprint.root.join(f))
        }
        Target::Proxmox(_) => default_lab(&blueprint.root),
    }
}

/// Where a site's lab is unless the blueprint says otherwise.
pub fn default_lab(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("lab")
}

/// Reads and checks the blueprint; says what is wrong with it, and what is probably not meant.
pub fn load(site: &Utf8Path, printer: Printer) -> Result<Loaded, CommandError> {
    let catalog = catalog()?;
    let root = folder(site)?;
    match blueprint::load(&root, &catalog) {
        Ok(loaded) => {
            if !loaded.warnings.is_empty() && !printer.json {
                printer.raw_error(diagnostics::text(&loaded.warnings, &loaded.sources));
            }
            Ok(loaded)
        }
        Err(failure) => {
            let count = failure.errors();
            if printer.json {
                let list = diagnostics::json(&failure.diagnostics, &failure.sources);
                printer.data_json(&serde_json::json!({
                    "valid": false, "errors": count, "diagnostics": list,
                    "error": { "code": "blueprint::invalid", "message": format!("the blueprint has {count} error(s)"), "exit": 2 },
                }));
            } else {
                printer.raw_error(diagnostics::text(&failure.diagnostics, &failure.sources));
                let s = if count == 1 { "" } else { "s" };
                printer.raw_error(format!("{count} error{s} in {root}\n"));
            }
            Err(CommandError::said(Kind::Usage))
        }
    }
}

/// The workshop's authority; made the first time it is needed.
pub fn authority(blueprint: &Blueprint, printer: Printer) -> Result<Arc<pki::Authority>, CommandError> {
    let folder = state(&blueprint.root).join("secrets/authority");
    let new = !folder.join("root.crt").exists();
    let settings = pki::AuthoritySettings {
        site: blueprint.site.name.clone(),
        domain: blueprint.site.domain.clone(),
        subnets: blueprint.networks.values().map(|n| n.subnet.into()).collect(),
    };
    let authority = pki::Authority::open_or_create(&folder, &settings, Timestamp::now())
        .map_err(|e| CommandError::from_error("pki::authority", &e).hint_if(e.hint()))?;
    if new {
        printer.say(format!(
            "made the workshop's certificate authority in {folder}; keep that folder, and keep it secret"
        ));
    }
    Ok(Arc::new(authority))
}

/// The desired state, of which every path works on paper.
pub fn desired(
    blueprint: &Blueprint,
    authority: &pki::Authority,
    printer: Printer,
) -> Result<Desired, CommandError> {
    let wired = plan::wire::wire(blueprint, authority.root_pem(), &Renderer::new(blueprint));
    let desired = wired.map_err(|errors| {
        let errors = errors.into_iter().map(|e| {
            CommandError::usage("blueprint::wiring", format!("{}: {}", e.address, e.message)).hint(e.hint)
        });
        let none = CommandError::failed("blueprint::wiring", "the site cannot be wired");
        all_but_the_last(errors, printer).unwrap_or(none)
    })?;
    let problems = managers::trace::paper::check(&desired).into_iter().map(|problem| {
        CommandError::usage("wire::path", format!("{}: {}", problem.address, problem.message))
            .hint(problem.hint)
    });
    all_but_the_last(problems, printer).map_or(Ok(desired), Err)
}

/// Says them all but the last one, which the caller ends with.
fn all_but_the_last(errors: impl Iterator<Item = CommandError>, printer: Printer) -> Option<CommandError> {
    let mut last = None;
    for error in errors {
        if let Some(error) = last.replace(error) {
            printer.error(&error);
        }
    }
    last
}

/// A way to the target.
#[derive(Debug)]
pub struct Connection {
    /// The API.
    pub exchange: Arc<dyn Exchange>,
    /// Commands on the node, where there is a way.
    pub node: Option<Arc<dyn Runner>>,
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
        self.lab.as_ref().is_some_and(|l| l.runtime == lab::runtime::Kind::Simulated)
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
pub fn connect(blueprint: &Blueprint, control: Control) -> Result<Connection, CommandError> {
    match &blueprint.target {
        Target::Proxmox(target) => proxmox_node(blueprint, target, control),
        Target::Lab(_) => lab_node(blueprint, control),
    }
}

/// The node may show a certificate of the workshop's instead of the one that is pinned.
fn named(blueprint: &Blueprint) -> Option<Named> {
    let authority = fs_err::read_to_string(state(&blueprint.root).join("secrets/authority/root.crt")).ok()?;
    Some(Named { authority, name: blueprint.node_name()? })
}

fn open(options: HttpOptions) -> Result<Arc<dyn Exchange>, CommandError> {
    proxmox::http::connect(options).map_err(|e| CommandError::from_error("proxmox::options", &e))
}

fn token(secret: &SecretString, whence: &str) -> Result<Credential, CommandError> {
    let Some((id, secret)) = secret.expose_secret().trim().split_once('=') else {
        return Err(CommandError::usage(
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
) -> Result<Connection, CommandError> {
    let secrets = SiteSecrets::new(blueprint.root.clone());
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
                CommandError::from_error("proxmox::fingerprint", &e)
            })?)
        }
        model::Trust::CaFile(path) => Trust::CaCert(
            fs_err::read_to_string(blueprint.root.join(path))
                .map_err(|e| CommandError::from_error("proxmox::ca-file", &e))?,
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
    Connection { exchange, node, ssh, login, lab, control }
}

fn lab_node(blueprint: &Blueprint, control: Control) -> Result<Connection, CommandError> {
    let folder = lab_folder(blueprint);
    let record = lab::up::NodeRecord::read(&folder).ok_or_else(|| {
        CommandError::failed("lab::not-running", "the site's target is its lab, and the lab is not running")
            .hint("phoenix-cli lab up")
    })?;
    let secret =
        fs_err::read_to_string(&record.token_file).map_err(|e| CommandError::from_error("lab::token", &e))?;
    let secret = secret.into();
    crate::scrub::remember(&secret);
    let credential = token(&secret, record.token_file.as_str())?;
    let fingerprint = record
        .fingerprint
        .parse()
        .map_err(|e: proxmox::http::FingerprintError| CommandError::from_error("lab::fingerprint", &e))?;
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
        connection.node = Some(Arc::new(Traced::new(Arc::new(lab::up::SimNodeRunner::new(&folder, node)))));
    }
    Ok(connection)
}
