//! A site that one can work with: what is wanted, what is there, and the way to it.

use std::sync::Arc;
use std::time::Duration;

use blueprint::model::Blueprint;
use camino::Utf8Path;
use jiff::Timestamp;
use managers::certificates::CertificateMark;
use managers::features::known;
use managers::services::TlsProber;
use managers::{Prober, Secrets, Worksite};
use pki::RootKey;
use plan::desired::{Certificate, Issuer};
use plan::{Address, Desired, Inventory, Plan, Trust};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, info_span};
use transport::{Local, Runner};

use crate::authority::{self, Lost, NothingYet};
use crate::connect::{Connection, connect};
use crate::environment::{Environment, Listener, Notice};
use crate::error::Error;
use crate::lock::SiteLock;
use crate::open::{OnPaper, desired, load};
use crate::secrets::{SiteSecrets, Unasked};
use crate::simulated::SimulatedProber;

/// What the spans are called that say what a command does.
pub const SPAN: &str = "phoenix.span";

/// What is rotated where it is no guest.
const INTERMEDIATE: &str = "intermediate";

/// What a plan does about what only counts after a restart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Restarts {
    /// Guests are not restarted: what takes that is written, and waits.
    pub put_off: bool,
    /// The node may be restarted. Without that it never is.
    pub node: bool,
}

/// A site, opened. [`Self::close`] it at the end.
#[derive(Debug)]
pub struct Site {
    /// The blueprint.
    pub blueprint: Blueprint,
    /// The workshop's authority; none before the first run made it.
    pub authority: Option<Arc<pki::Authority>>,
    /// What is wanted.
    pub desired: Desired,
    /// What is there; nothing before somebody has looked.
    pub inventory: Inventory,
    /// The way to the target.
    pub connection: Connection,
    environment: Environment,
    pub(crate) trust: Arc<Trust>,
    pub(crate) secrets: Arc<SiteSecrets>,
}

impl Site {
    /// Reads the blueprint and begins to make the way to the target, which is not looked at: for who takes the site's lock
    /// before that.
    ///
    /// # Errors
    /// What is wrong with the blueprint, and what of the way to the target can be known here.
    pub async fn open(
        folder: &Utf8Path,
        environment: Environment,
        listener: &dyn Listener,
    ) -> Result<Self, Error> {
        Self::prepare(folder, environment, listener, Connection::open).await
    }

    /// `begin` begins what takes its time on the way to the target, while what is wanted is worked out here.
    async fn prepare(
        folder: &Utf8Path,
        environment: Environment,
        listener: &dyn Listener,
        begin: impl FnOnce(&Connection),
    ) -> Result<Self, Error> {
        let loaded = info_span!(target: SPAN, "loading").in_scope(|| load(folder, listener))?;
        let authority = authority::found(&loaded.blueprint)?;
        let connection = connect(&loaded.blueprint, &environment);
        if let Ok(connection) = &connection {
            begin(connection);
        }
        let wired =
            info_span!(target: SPAN, "wiring").in_scope(|| desired(&loaded.blueprint, authority.as_deref()));
        let desired = match (wired, &connection) {
            (Err(error), Ok(connection)) => {
                connection.close().await;
                return Err(error);
            }
            (wired, _) => wired?,
        };
        let trusted = crate::key::trust(&loaded.blueprint.root, &desired);
        let trust = match (trusted, &connection) {
            (Err(error), Ok(connection)) => {
                connection.close().await;
                return Err(error);
            }
            (trusted, _) => Arc::new(trusted?),
        };
        let blueprint = loaded.blueprint;
        let (connection, inventory) = (connection?, Inventory::default());
        let secrets = Arc::new(SiteSecrets::new(blueprint.root.clone(), environment.clone()));
        Ok(Self { blueprint, authority, desired, inventory, connection, environment, trust, secrets })
    }

    /// From its parts, of which the inventory is as it was observed.
    ///
    /// # Errors
    /// When the site's key cannot be used.
    pub fn new(
        paper: OnPaper,
        connection: Connection,
        mut inventory: Inventory,
        environment: Environment,
    ) -> Result<Self, Error> {
        let OnPaper { loaded, authority, desired } = paper;
        let trust = Arc::new(crate::key::trust(&loaded.blueprint.root, &desired)?);
        inventory.judge(&trust);
        let secrets = Arc::new(SiteSecrets::new(loaded.blueprint.root.clone(), environment.clone()));
        Ok(Self {
            blueprint: loaded.blueprint,
            authority,
            desired,
            inventory,
            connection,
            environment,
            trust,
            secrets,
        })
    }

    /// The same, and looks at the target.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::is_whole`], or when the target does not answer.
    pub async fn look(
        folder: &Utf8Path,
        environment: Environment,
        listener: &dyn Listener,
    ) -> Result<Self, Error> {
        let mut observing = None;
        let begin = |connection: &Connection| {
            let ways = connection.ways.clone();
            let observe = async move { managers::observe(&ways).await };
            // What is not waited for is given up.
            let span = info_span!(target: SPAN, "observing");
            observing = Some(AbortOnDropHandle::new(tokio::spawn(observe.instrument(span))));
        };
        let mut site = Self::prepare(folder, environment, listener, begin).await?;
        let Some(observing) = observing else { return Ok(site) };
        let observed = observing.await.map_err(|e| Error::from_error("phoenix::runtime", &e));
        match observed.and_then(|observed| Ok(observed?)) {
            Ok(inventory) => {
                site.inventory = inventory;
                site.inventory.judge(&site.trust);
                site.look_for().await;
            }
            Err(error) => {
                site.close().await;
                return Err(error);
            }
        }
        if let Err(error) = site.is_whole() {
            site.close().await;
            return Err(error);
        }
        site.look_at_root();
        site.look_at_secrets();
        Ok(site)
    }

    /// Takes the site's lock: one run at a time. It is held as long as what is returned lives.
    ///
    /// # Errors
    /// When another run has it, or it cannot be held.
    pub async fn lock(&self) -> Result<SiteLock, Error> {
        SiteLock::take(&self.connection, &self.blueprint).await
    }

    /// Looks at the target once nothing of ours is being worked on there: a run that was cut off leaves tasks working.
    ///
    /// # Errors
    /// When the target does not answer, or what works there does not end.
    pub async fn look_settled(&mut self, listener: &dyn Listener) -> Result<(), Error> {
        let ids = self.desired.guests.values().map(|c| c.id).collect();
        let waiting = |what: &str, limit: Duration| listener.hear(&Notice::GuestsHeld { what, limit });
        let ways = &self.connection.ways;
        self.inventory = managers::observe_settled(ways, &self.trust, &ids, &waiting).await?;
        self.look_at_root();
        self.look_for().await;
        self.look_at_secrets();
        Ok(())
    }

    /// Whether the root certificate that what is there was made with is here, as far as that is known.
    ///
    /// # Errors
    /// When it is not: whatever were done from here would put another one in its place.
    pub fn is_whole(&self) -> Result<(), Error> {
        let lost = Lost::of(self.authority.as_deref(), &self.desired, &self.inventory);
        lost.map_or(Ok(()), |lost| Err(lost.error()))
    }

    /// Makes what the site needs before something is done for it, where it is missing: its authority. For who holds its lock
    /// and has looked at the target. `anew`: a person wants another root where the one that guests were made with is lost.
    ///
    /// # Errors
    /// When it is lost and nobody said so, or it is not lost and somebody did; when it cannot be made.
    pub fn establish(&mut self, anew: bool, listener: &dyn Listener) -> Result<(), Error> {
        match Lost::of(self.authority.as_deref(), &self.desired, &self.inventory) {
            Some(lost) if !anew => return Err(lost.error()),
            None if anew => {
                return Err(Error::usage("authority::not-lost", "the site's root certificate is not lost")
                    .hint("without --new-authority; where its key was taken, move .phoenix/secrets/authority away first"));
            }
            _ => {}
        }
        let on_paper = self.authority.is_none();
        let authority = authority::made(&self.blueprint, listener)?;
        if on_paper {
            self.desired = desired(&self.blueprint, Some(&authority))?;
        }
        self.authority = Some(authority);
        self.look_at_secrets();
        if anew {
            self.make_lost_secrets()?;
        }
        Ok(())
    }

    /// Finds out what is there of what the blueprint names on its nodes.
    async fn look_for(&mut self) {
        managers::look_for(&self.connection.ways, &self.desired, &mut self.inventory).await;
    }

    /// Finds out what the secrets are now that what is there was made with. None is made.
    pub(crate) fn look_at_secrets(&mut self) {
        let unasked = Unasked(&self.secrets);
        let secrets: &dyn Secrets = if self.environment.asks { &*self.secrets } else { &unasked };
        known::look(&self.desired, &mut self.inventory, self.trust.key(), secrets);
    }

    /// Whether each of these words names something.
    ///
    /// # Errors
    /// For the first that does not, with what was probably meant.
    pub(crate) fn known(&self, words: &[String]) -> Result<(), Error> {
        let known = |word: &&String| plan::planner::known(&self.desired, &self.inventory, word);
        let Some(word) = words.iter().find(|word| !known(word)) else { return Ok(()) };
        let all = plan::targets::all(&self.desired, &self.inventory);
        // Whoever types a bare name means a bare name.
        let names = all.iter().map(|a| if word.contains('.') { a.as_str() } else { a.name() });
        let near = blueprint::nearest(word, names);
        let meant = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        Err(Error::usage("plan::no-such-target", format!("nothing is called `{word}`"))
            .hint(format!("{meant}phoenix-cli graph shows all addresses")))
    }

    /// The plan, now.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn plan(&self, targets: &[String], destroy: bool) -> Result<Plan, Error> {
        self.plan_so(targets, destroy, Restarts::default())
    }

    /// The same, with wishes for what restarts.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn plan_so(&self, targets: &[String], destroy: bool, restarts: Restarts) -> Result<Plan, Error> {
        self.known(targets)?;
        let Restarts { put_off: no_restart, node: restart_node } = restarts;
        let targets = targets.to_vec();
        let options = plan::Options { now: Timestamp::now(), targets, destroy, no_restart, restart_node };
        Ok(info_span!(target: SPAN, "planning")
            .in_scope(|| plan::plan(&self.desired, &self.inventory, &managers::kinds(), &options)))
    }

    /// The workshop's authority.
    ///
    /// # Errors
    /// When none was made yet.
    pub(crate) fn root(&self) -> Result<&Arc<pki::Authority>, Error> {
        let what = "the workshop has no certificate authority yet";
        self.authority.as_ref().ok_or_else(|| authority::not_made(what.to_owned()).into())
    }

    /// Has the next plan end what was given out, since it may have been taken: a guest's certificates and the key that it asks
    /// with, or with `intermediate` what signs them all. What the plan is about, as targets.
    ///
    /// # Errors
    /// When `what` is neither, or has no certificates.
    pub fn rotate(&mut self, what: &str) -> Result<Vec<String>, Error> {
        let guest = what.strip_prefix("container.").unwrap_or(what);
        let key = self.root()?.root_key().map_err(|e| authority::unusable(&e))? != RootKey::Away;
        let rotated = &mut self.inventory.rotated;
        rotated.signer = key || what == INTERMEDIATE;
        let of: Box<dyn Fn(&Certificate) -> bool> = if what == INTERMEDIATE {
            rotated.intermediate = true;
            Box::new(|_| true)
        } else {
            rotated.guests.insert(guest.to_owned());
            Box::new(|certificate| certificate.on.is_guest(guest))
        };
        let all = self.desired.certificates.values();
        let node = self.desired.hypervisor.iter().map(|node| &node.certificate);
        let certificates = all.chain(node).filter(|certificate| of(certificate));
        let mut targets: Vec<String> = certificates.map(|c| c.resource().to_string()).collect();
        // Another key signs, too, so that what is new can be told from what was there before.
        if rotated.signer && !targets.is_empty() {
            targets.extend(self.desired.authority.iter().map(|a| Address::authority(&a.on).to_string()));
        }
        if targets.is_empty() {
            self.known(&[what.to_owned()])?;
            let text = format!("`{what}` has no certificates, so nothing of it can have been taken");
            return Err(Error::usage("rotate::nothing", text).hint("phoenix-cli certs shows who has some"));
        }
        Ok(targets)
    }

    /// When a plan that [`Self::rotate`] made of `what` has been carried out as a whole: has what was signed before refused by
    /// those who are told whom to believe, from the next plan on. Nothing is refused where something that shows such a
    /// certificate was left out, as a guest of a node that is offline is: what that is.
    ///
    /// # Errors
    /// When the authority's files cannot be read or written.
    pub fn refuse_before(&self, what: &str, plan: &Plan) -> Result<Vec<Address>, Error> {
        let all = self.desired.certificates.values();
        let node = self.desired.hypervisor.iter().map(|node| &node.certificate);
        let guest = (what != INTERMEDIATE).then(|| what.strip_prefix("container.").unwrap_or(what));
        let of = |certificate: &&Certificate| guest.is_none_or(|guest| certificate.on.is_guest(guest));
        let own = |certificate: &&Certificate| certificate.issuer != Issuer::Acme && of(certificate);
        let shown: Vec<&Certificate> = all.chain(node).filter(own).collect();
        let signs = self.desired.authority.iter().map(|authority| Address::authority(&authority.on));
        let made = |address: &Address| plan.steps.iter().any(|step| step.address == *address);
        let left: Vec<Address> =
            shown.iter().map(|one| one.resource()).chain(signs).filter(|address| !made(address)).collect();
        if left.is_empty() {
            let names: Vec<String> = shown.iter().flat_map(|one| one.names.iter().cloned()).collect();
            let names = guest.map(|_| names.as_slice());
            self.root()?
                .refuse_others(self.desired.authority.is_some(), names, Timestamp::now())
                .map_err(|e| Error::from_error("pki::authority", &e).hint_if(e.hint()))?;
        }
        Ok(left)
    }

    /// Leaves out of a plan what `words` name and what needs it; what that is.
    ///
    /// # Errors
    /// When one of them names nothing.
    pub fn leave_out(&self, plan: &mut Plan, words: &[String]) -> Result<Vec<plan::Address>, Error> {
        self.known(words)?;
        Ok(plan::targets::exclude(&self.desired, &self.inventory, plan, words))
    }

    /// Whether a saved plan is this site's.
    pub(crate) fn is_for_this(&self, plan: &Plan) -> Result<(), Error> {
        if plan.site == self.desired.site {
            return Ok(());
        }
        Err(Error::usage(
            "plan::other-site",
            format!("the plan is for the site `{}`, and this is `{}`", plan.site, self.desired.site),
        )
        .hint("give the right folder with --site"))
    }

    /// A saved plan is only carried out when the world is still the one it was made against.
    ///
    /// # Errors
    /// When something has changed since.
    pub(crate) fn still_true(&self, plan: &Plan) -> Result<(), Error> {
        let state = |address: &plan::Address| {
            let manager = managers::manager_of(address.kind())?;
            Some(manager.kind().state(&self.desired, &self.inventory, address))
        };
        let changed: Vec<&str> = (plan.basis.iter())
            .filter(|(address, was)| state(address).as_ref() != Some(*was))
            .map(|(address, _)| address.as_str())
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        Err(Error::failed(
            "plan::stale",
            format!("the plan no longer fits: {} changed since it was made", changed.join(", ")),
        )
        .hint("make it again with: phoenix-cli plan --out FILE"))
    }

    /// Forgets what was done inside the site's guests, so that the plan does it once more: a plan believes the marks, and
    /// somebody may have changed something since. What is no longer wanted is still to go. An authority in
    /// a guest cannot be given its certificate once more where the root's key is kept elsewhere.
    pub fn forget(&mut self) {
        let graph = &self.desired.graph;
        let root_away = self.inventory.root_away;
        for guest in self.inventory.guests.values_mut() {
            let Some(mark) = guest.mark.as_mut().filter(|mark| mark.site == self.desired.site) else {
                continue;
            };
            let host = plan::Host::of(&mark.address);
            let there = mark.applied().map(|(kind, name)| plan::Address::on(kind, name, &host));
            let wanted = |a: &plan::Address| {
                graph.contains(a) || graph.contains(&plan::Address::new(a.kind(), a.name()))
            };
            let can = |a: &plan::Address| !(root_away && a.kind() == plan::address::kinds::AUTHORITY);
            for address in there.filter(wanted).filter(can).collect::<Vec<_>>() {
                mark.forget(&address);
            }
        }
        let site = &self.desired.site;
        if let Some(mark) = self.inventory.reached_mut().hypervisor.as_mut().filter(|mark| mark.site == *site)
        {
            mark.forget_all();
        }
    }

    /// What is remembered of a certificate where it is.
    pub fn mark_of(&self, certificate: &Certificate) -> Option<CertificateMark> {
        let mark = match certificate.on.guest() {
            None => {
                self.inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == self.desired.site)
            }
            Some(name) => self.inventory.guests.get(&self.desired.guests.get(name)?.id)?.mark.as_ref(),
        };
        CertificateMark::of(mark?, &Address::certificate(&certificate.name))
    }

    /// What the target is called on the screen.
    pub fn place(&self) -> String {
        self.connection.place(&self.inventory.node)
    }

    /// Who asks services whether they answer.
    ///
    /// # Errors
    /// When the authority's root cannot be used.
    pub fn prober(&self) -> Result<Arc<dyn Prober>, Error> {
        if self.connection.simulated() {
            return Ok(Arc::new(SimulatedProber::new(self.connection.reader(), &self.desired)));
        }
        let Some(authority) = &self.authority else { return Ok(Arc::new(NothingYet)) };
        let from: Arc<dyn Runner> = self.connection.ways.first().cloned().unwrap_or_else(|| Arc::new(Local));
        Ok(Arc::new(TlsProber::new(from, authority, self.secrets(), Timestamp::now())?))
    }

    /// What the site believed to be its own when it was opened.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What the site believes to be its own, with its key, which is made where there is none yet.
    ///
    /// # Errors
    /// When it is lost, or cannot be made or read.
    pub(crate) fn with_key(&self) -> Result<Arc<Trust>, Error> {
        self.has_its_key()?;
        self.with_a_key()
    }

    /// Whether the site's key is here, where there is something that it made.
    ///
    /// # Errors
    /// When it is lost.
    pub fn has_its_key(&self) -> Result<(), Error> {
        crate::key::is_not_lost(&self.trust, &self.desired, &self.inventory)
    }

    /// The same for who takes over what the last key was lost of.
    fn with_a_key(&self) -> Result<Arc<Trust>, Error> {
        crate::key::with_key(&self.blueprint.root, &self.desired, &self.inventory).map(Arc::new)
    }

    /// What crews work with. The site's key is made where there is none yet: they seal with it.
    ///
    /// # Errors
    /// When the key, the authority's root, or the list of artifacts, cannot be used, or the site was not
    /// [established](Self::establish).
    pub fn worksite(&self) -> Result<Arc<Worksite>, Error> {
        self.worksite_of(self.with_key()?)
    }

    /// The same for who takes over what the last key was lost of.
    pub(crate) fn worksite_to_adopt(&self) -> Result<Arc<Worksite>, Error> {
        self.worksite_of(self.with_a_key()?)
    }

    fn worksite_of(&self, trust: Arc<Trust>) -> Result<Arc<Worksite>, Error> {
        let authority = self.root()?.clone();
        let simulated = self.connection.simulated();
        let artifacts = crate::artifacts::provider(&self.blueprint.target, simulated, &self.environment)?;
        let worksite = Worksite::new(
            trust,
            self.connection.writer(),
            self.connection.ways.clone(),
            authority,
            self.secrets(),
            self.prober()?,
            Timestamp::now,
        )
        .with_artifacts(artifacts)
        .in_folder(self.blueprint.root.clone());
        Ok(Arc::new(match self.environment.answers {
            Some(answers) => worksite.with_answers(answers),
            None => worksite,
        }))
    }

    /// Its secrets, each of which is asked for once.
    #[must_use]
    pub fn secrets(&self) -> Arc<dyn Secrets> {
        self.secrets.clone()
    }

    /// Closes the connection; nothing of it stays behind.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}
