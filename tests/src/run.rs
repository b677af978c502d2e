//! One run, as the command line makes it: lock, look, plan, walk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use apply::event::{Recorder, Sinks};
use apply::walk::Run;
use apply::{Done, Event, Failure, Foreman, Progress, Report, Sink};
use async_trait::async_trait;
use blueprint::model::SecretRef;
use blueprint::names::GuestName;
use lab::runtime::Runtime as _;
use lab::sim::World;
use managers::features::look::Looker;
use managers::lock::{self, NotHeld};
use managers::{Prober, Secrets, Ways, Worksite};
use plan::desired::Service;
use plan::{Action, Address, Options, Plan, Step, Trust};
use proxmox::client::Writer;
use proxmox::exchange::Exchange;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::Runner;

use crate::entrances::Entrances;
use crate::known::Known;
use crate::mortal::{Life, Mortal};
use crate::site::{Site, now};

/// How a run is tried.
#[derive(Debug, Clone, Default)]
pub struct Try {
    /// Only these.
    pub targets: Vec<String>,
    /// Consent, by names.
    pub granted: Vec<String>,
    /// Consent to all of the plan, as the site's name gives it to `destroy`.
    pub all_granted: bool,
    /// All is to go.
    pub destroy: bool,
    /// Restarts are put off.
    pub no_restart: bool,
    /// The node may be restarted.
    pub restart_node: bool,
    /// It is killed at this event (from 1).
    pub dies_at: Option<usize>,
    /// A person stops it.
    pub stop: CancellationToken,
    /// There is no way to run commands on the node.
    pub no_commands: bool,
    /// Commands lead to this node of the cluster, by its place in the list; to the first one where absent.
    pub by: Option<usize>,
    /// What is inside guests is looked at before.
    pub deep: bool,
    /// It is asked what secrets are now, as a site always does.
    pub secrets: bool,
    /// What the site believes to be its own, where that is not what its key made.
    pub trust: Option<Arc<Trust>>,
}

/// How a run ended.
pub enum Ended {
    /// It was killed.
    Killed,
    /// It failed before it had a plan.
    Failed(Failure),
    /// There was something in the way of the plan, or it was carried out.
    Walked {
        /// The plan.
        plan: Plan,
        /// What came of it; `None` where the plan has problems.
        report: Option<Report>,
        /// All that happened.
        events: Vec<Event>,
        /// In virtual time.
        took: Duration,
    },
}

impl std::fmt::Debug for Ended {
    // A plan is long; what came of it says more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Killed => f.write_str("Killed"),
            Self::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
            Self::Walked { plan, report, took, .. } => f
                .debug_struct("Walked")
                .field("problems", &plan.problems)
                .field("report", report)
                .field("took", took)
                .finish(),
        }
    }
}

impl Ended {
    /// Whether it did all there was to do.
    pub fn done(&self) -> bool {
        matches!(self, Self::Walked { report: Some(report), .. } if report.outcome == apply::Outcome::Done)
    }

    /// The plan.
    ///
    /// # Panics
    /// When there was none.
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Walked { plan, .. } => plan,
            other => panic!("there is no plan: {other:?}"),
        }
    }

    /// What came of the plan.
    ///
    /// # Panics
    /// When it was not carried out.
    pub fn report(&self) -> &Report {
        match self {
            Self::Walked { report: Some(report), .. } => report,
            other => panic!("nothing was carried out: {other:?}"),
        }
    }

    /// Everything that failed.
    pub fn failures(&self) -> Vec<Failure> {
        match self {
            Self::Killed => Vec::new(),
            Self::Failed(failure) => vec![failure.clone()],
            Self::Walked { report, events, .. } => {
                // As it was told, which is what a person sees.
                let told = events.iter().filter_map(|event| match event {
                    Event::StepFailed { code, errors, hint, .. } => {
                        Some(Failure { code: code.clone(), errors: errors.clone(), hint: hint.clone() })
                    }
                    _ => None,
                });
                let told: Vec<Failure> = told.collect();
                assert_eq!(told.len(), report.as_ref().map_or(0, |r| r.failed.len()));
                told
            }
        }
    }
}

/// Looks, plans and carries out, until it has ended or is killed.
pub async fn run(world: &World, site: &Site, options: &Try) -> Ended {
    let life = Life::until(options.dies_at);
    let whole = whole(world, site, options, life.clone());
    // All of the run is dropped at once; what the node was told to do goes on there.
    tokio::select! {
        biased;
        () = life.over() => Ended::Killed,
        () = world.faults.killed() => Ended::Killed,
        ended = whole => ended,
    }
}

async fn whole(world: &World, site: &Site, options: &Try, life: Life) -> Ended {
    let begin = Instant::now();
    let trust = options.trust.clone().unwrap_or_else(|| site.trust());
    let exchange: Arc<dyn Exchange> = Arc::new(Mortal::new(Known(world.exchange.clone()), life.clone()));
    let shell = options.by.map_or_else(|| world.shell.clone(), |at| world.shell.on(at));
    let shell: Arc<dyn Runner> = Arc::new(Mortal::new(shell, life.clone()));
    let node = (!options.no_commands).then(|| shell.clone());
    let ways = Ways::new(node, exchange.clone()).by_ssh(Entrances::new(&site.desired, shell.clone()));
    let _lock = match lock::take(&ways, &site.desired.site, "a test").await {
        Ok(held) => Some(held),
        Err(NotHeld::NoWay) => None,
        Err(NotHeld::Taken(who)) => return Ended::Failed(Failure::new("lock::taken", who)),
        Err(NotHeld::Unable(why)) => return Ended::Failed(Failure::new("lock::unreachable", why)),
        Err(NotHeld::Unreachable(failure)) => return Ended::Failed(failure),
    };
    let ids = site.desired.guests.values().map(|c| c.id).collect();
    let looked = managers::observe_settled(&ways, &trust, &ids, &|_, _| {}).await;
    let mut inventory = match looked {
        Ok(inventory) => inventory,
        Err(failure) => return Ended::Failed(failure),
    };
    managers::look_for(&ways, &site.desired, &mut inventory).await;
    if options.deep {
        let (desired, secrets) = (&*site.desired, Arc::new(NoSecrets));
        let looked = Looker { desired, inventory: &inventory, ways: ways.clone(), secrets }
            .look(&options.targets)
            .await;
        inventory.found = looked.found;
        inventory.unread.extend(looked.unseen);
    }
    if options.secrets {
        managers::features::known::look(&site.desired, &mut inventory, trust.key(), &NoSecrets);
    }
    let wishes = Options {
        now: now(),
        targets: options.targets.clone(),
        destroy: options.destroy,
        no_restart: options.no_restart,
        restart_node: options.restart_node,
    };
    let plan = plan::plan(&site.desired, &inventory, &managers::kinds(), &wishes);
    if !plan.problems.is_empty() {
        return Ended::Walked { plan, report: None, events: Vec::new(), took: begin.elapsed() };
    }
    let worksite = worksite(world, site, trust, exchange, ways);
    let recorder = Arc::new(Recorder::default());
    let sink: Arc<dyn Sink> = Arc::new(Sinks::new(vec![recorder.clone(), Arc::new(life)]));
    let foreman = Foreman::new(managers::crews(&worksite), sink, options.stop.clone());
    let mut granted = options.granted.clone();
    if options.all_granted {
        granted.extend(plan.steps.iter().map(|step| step.address.to_string()));
    }
    let report = foreman.walk(&plan, &granted, Run::default()).await;
    Ended::Walked { plan, report: Some(report), events: recorder.events(), took: begin.elapsed() }
}

/// Carries out a plan with every consent given, over this way to run commands on the node. Without one, the credential is
/// root@pam's own: that is what a plan asks for then, where something takes root.
pub(crate) async fn walk(world: &World, site: &Site, plan: &Plan, node: Option<Arc<dyn Runner>>) -> Report {
    let exchange = if node.is_some() { &world.exchange } else { &world.as_root };
    let exchange: Arc<dyn Exchange> = Arc::new(Known(exchange.clone()));
    let ways = Ways::new(node, exchange.clone())
        .by_ssh(Entrances::new(&site.desired, Arc::new(world.shell.clone())));
    let worksite = worksite(world, site, site.trust(), exchange, ways);
    let sink = Arc::new(Recorder::default());
    let foreman = Foreman::new(managers::crews(&worksite), sink, CancellationToken::new());
    let granted: Vec<String> = plan.steps.iter().map(|step| step.address.to_string()).collect();
    foreman.walk(plan, &granted, Run::default()).await
}

fn worksite(
    world: &World,
    site: &Site,
    trust: Arc<Trust>,
    exchange: Arc<dyn Exchange>,
    ways: Ways,
) -> Arc<Worksite> {
    let folder = site.folder.path();
    let site = Worksite::new(
        trust,
        Writer::new(exchange),
        ways,
        site.authority.clone(),
        Arc::new(NoSecrets),
        Arc::new(RunningProber::new(world.clone(), site)),
        now,
    );
    Arc::new(site.with_artifacts(Arc::new(managers::artifacts::Simulated)).in_folder(folder))
}

/// Carries out one step of a test's own making.
///
/// # Errors
/// Why it failed.
///
/// # Panics
/// When nobody is there for its kind.
pub async fn carry_out(
    world: &World,
    site: &Site,
    address: Address,
    work: serde_json::Value,
) -> Result<Done, Failure> {
    let exchange: Arc<dyn Exchange> = Arc::new(Known(world.exchange.clone()));
    let ways = Ways::new(Some(Arc::new(world.shell.clone())), exchange.clone());
    let worksite = worksite(world, site, site.trust(), exchange, ways);
    let crews = managers::crews(&worksite);
    let crew = crews.iter().find(|crew| crew.kind() == address.kind()).expect("a crew of its kind");
    let progress = Progress::new(address.clone(), Arc::new(Recorder::default()));
    let step = Step { work, ..Step::new(address, Action::Update) };
    let mut results = crew.carry_out(&[&step], &progress).await;
    results.pop().expect("an answer for each step")
}

/// The sites of these tests have no secrets but those that Phoenix generates: [`SECRET`] and their name.
#[derive(Debug)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        match reference {
            SecretRef::Generate(name) => Ok(format!("{SECRET}{name}").into()),
            _ => Err(Failure::new("test::no-secrets", format!("a secret was asked for: {reference:?}"))),
        }
    }

    fn make(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        self.resolve(reference)
    }

    fn ssh_keys(&self, guest: &str) -> Result<managers::SshKeys, Failure> {
        crate::entrances::made(guest)
    }
}

/// What generated secrets begin with.
pub const SECRET: &str = "hunter2-";

/// Nothing runs in a simulated guest, so there is no answer to ask for: a service is proven when every guest on its way
/// runs.
#[derive(Debug)]
struct RunningProber {
    world: World,
    ids: BTreeMap<GuestName, u32>,
}

impl RunningProber {
    fn new(world: World, site: &Site) -> Self {
        Self { world, ids: site.desired.guests.values().map(|c| (c.name.clone(), c.id)).collect() }
    }
}

#[async_trait]
impl Prober for RunningProber {
    async fn probe(&self, service: &Service) -> Result<String, Failure> {
        let running = running(&self.world).await;
        let way = std::iter::once(&service.on).chain(service.via.iter().map(|via| &via.on));
        for name in way {
            if !self.ids.get(name).is_some_and(|id| running.contains(id)) {
                return Err(
                    Failure::new("probe::tcp", format!("{name} does not run")).hint("phoenix-cli status")
                );
            }
        }
        Ok("answers".to_owned())
    }
}

/// What runs, on whichever node.
async fn running(world: &World) -> BTreeSet<u32> {
    let mut running: BTreeSet<u32> = world.runtime.running().await.into_iter().collect();
    for other in &world.others {
        running.extend(other.runtime.running().await);
    }
    running
}
