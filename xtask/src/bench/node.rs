//! Simulated nodes: one on which a site is applied, and one that serves what came of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use apply::event::Recorder;
use apply::walk::Run;
use apply::{Failure, Foreman, Report};
use async_trait::async_trait;
use blueprint::model::SecretRef;
use jiff::Timestamp;
use lab::node::GuestText;
use lab::server::{Server, ServerOptions};
use lab::sim::{Faults, NARROW_TOKEN, Times, World, WorldOptions};
use lab::up::{NodeRecord, Ports};
use managers::{Prober, Secrets, Worksite};
use plan::Plan;
use plan::desired::Service;
use proxmox::client::Writer;
use proxmox::config::GuestKind;
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::site::Site;

/// The seed of every world: the same figures every time.
const SEED: u64 = 1;

/// The secret of the narrow token of every simulated world.
const SECRET: &str = "narrow-secret";

/// The configuration files of all guests after a site was applied.
pub(crate) type Applied = Vec<GuestText>;

/// No feature here has secrets.
#[derive(Debug)]
struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        Err(Failure::new("bench::secret", format!("there is no secret {reference:?} here")))
    }
}

/// Nothing runs in a simulated guest, so there is nothing to ask.
#[derive(Debug)]
struct NotAsked;

#[async_trait]
impl Prober for NotAsked {
    async fn probe(&self, _: &Service) -> Result<String, Failure> {
        Ok("was not asked: it is simulated".to_owned())
    }
}

/// A run on a simulated node.
#[derive(Debug)]
pub(crate) struct Ran {
    pub plan: Plan,
    pub report: Report,
    pub events: Arc<Recorder>,
}

/// Plans and applies a site on a world.
pub(crate) async fn apply(site: &Site, world: &World) -> Result<Ran, Box<dyn Error>> {
    let (desired, authority) = site.desired()?;
    let exchange = Arc::new(world.exchange.clone());
    let shell = Arc::new(world.shell.clone());
    let ways = managers::Ways::new(Some(shell), exchange.clone());
    let mut inventory = managers::observe(&ways).await?;
    let trust = Arc::new(plan::Trust::new(&*desired.site, Some(Arc::new(site.key()?))));
    inventory.judge(&trust);
    let options = plan::Options {
        now: Timestamp::now(),
        targets: Vec::new(),
        destroy: false,
        no_restart: false,
        restart_node: false,
    };
    let plan = plan::plan(&desired, &inventory, &managers::kinds(), &options);
    if let Some(problem) = plan.problems.first() {
        return Err(format!("{}: {}", problem.address, problem.message).into());
    }
    let worksite = Arc::new(
        Worksite::new(
            trust,
            Writer::new(exchange),
            ways,
            Arc::new(authority),
            Arc::new(NoSecrets),
            Arc::new(NotAsked),
            Timestamp::now,
        )
        .with_artifacts(Arc::new(managers::artifacts::Simulated)),
    );
    let events = Arc::new(Recorder::default());
    let foreman = Foreman::new(managers::crews(&worksite), events.clone(), CancellationToken::new());
    let report = foreman.walk(&plan, &[], Run::default()).await;
    if let Some((address, failure)) = report.failed.first() {
        return Err(format!("{address}: {failure}").into());
    }
    Ok(Ran { plan, report, events })
}

/// A runtime whose clock goes only where nothing is left to do.
pub(crate) fn own_clock() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()
}

/// What the node holds after everything was applied: applied by the crews themselves, in no time.
pub(crate) fn applied(site: &Site) -> Result<Applied, Box<dyn Error>> {
    own_clock()?.block_on(async {
        let world = WorldOptions::new(SEED).times(Times::none()).build()?;
        let ran = apply(site, &world).await?;
        if ran.report.done.len() != ran.plan.steps.len() {
            return Err("not everything was applied".into());
        }
        Ok(world.node.all_configuration_files())
    })
}

/// How the node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By its API and by commands on it.
    Commands,
    /// By its API alone.
    ApiAlone,
}

/// A simulated node that this process serves, until it is dropped.
pub(crate) struct Served {
    faults: Faults,
    _server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl Served {
    /// Serves a node with these guests, all running, and makes it the target of the site.
    pub(crate) fn start(
        site: &Site,
        applied: &Applied,
        reach: Reach,
        latency: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let faults = Faults::none();
        let folder = site.folder().join(".phoenix/lab");
        fs_err::create_dir_all(&folder)?;
        let server = runtime.block_on(async {
            let world = WorldOptions::new(SEED)
                .times(Times::none())
                .faults(faults.clone())
                .latency(latency)
                .build()?;
            for GuestText { kind, id, text, .. } in applied {
                match kind {
                    GuestKind::Container => world.add_guests(*id, 1, |_| text.to_string())?,
                    GuestKind::Vm => world.add_vms(*id, 1, |_| text.to_string())?,
                }
            }
            let mut options = ServerOptions::new(([127, 0, 0, 1], 0).into(), folder.clone());
            options.latency = latency;
            options.faults = faults.clone();
            if reach == Reach::Commands {
                let (folder, shell) = (folder.clone(), world.shell.clone());
                tokio::spawn(async move { lab::up::answer_commands(&folder, shell).await });
            }
            Ok::<_, Box<dyn Error>>(Server::https(world.node.clone(), options).await?)
        })?;
        let port = server.address().map_or(0, |a| a.port());
        let endpoint = format!("https://127.0.0.1:{port}");
        let fingerprint = server.fingerprint().unwrap_or_default().to_owned();
        let token = format!("{NARROW_TOKEN}={SECRET}");
        let token_file = folder.join("token");
        fs_err::write(&token_file, &token)?;
        owner_only(&token_file)?;
        match reach {
            Reach::Commands => {
                let record = NodeRecord {
                    runtime: lab::runtime::RuntimeKind::Simulated,
                    endpoint,
                    fingerprint,
                    token_file,
                    password_file: folder.join("password"),
                    ssh: None,
                    node: "pve1".to_owned(),
                    others: Vec::new(),
                    template: None,
                    networks: Vec::new(),
                    ports: Ports { api: port, ssh: 0, https: 0 },
                    machine: false,
                    started: 0,
                };
                fs_err::write(folder.join("node.json"), serde_json::to_vec(&record)?)?;
                site.target(&json!({ "lab": {} }))?;
            }
            Reach::ApiAlone => {
                let token = json!({ "file": ".phoenix/lab/token" });
                let target = json!({ "endpoint": endpoint, "fingerprint": fingerprint, "token": token });
                site.target(&json!({ "proxmox": target }))?;
            }
        }
        Ok(Self { faults, _server: server, _runtime: runtime })
    }

    /// How many calls and commands there were.
    pub(crate) fn calls(&self) -> u64 {
        self.faults.calls()
    }
}

fn owner_only(file: &camino::Utf8Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(file, std::fs::Permissions::from_mode(0o600))
}
