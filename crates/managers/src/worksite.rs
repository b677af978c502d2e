//! What crews work with: the node, the authority, the clock. One for a run.
//!
//! Whatever a crew changes or enters, it looks first whether it is the site's own ([`Worksite::own`]): between the plan and
//! now, somebody may have put something else there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apply::{Failure, Progress};
use async_trait::async_trait;
use blueprint::model::SecretRef;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use plan::Address;
use plan::desired::Service;
use plan::mark::{self, Mark};
use plan::trust::Trust;
use proxmox::client::{GuestRef, Reader, Writer};
use secrecy::SecretString;
use transport::{Command, KeyPair, Runner};

use crate::features::RenderedArtifact;
use crate::own::{self, Own};
use crate::settle;
use crate::ways::Ways;

/// The code of the failure of [`Secrets::resolve`] for a secret that Phoenix makes, and has not.
pub const NOT_MADE: &str = "secrets::not-made";

/// The code of a failure to have a secret that nobody needs to know now: what would print it was not asked.
pub const NOT_ASKED: &str = "secrets::not-asked";

/// Where secrets come from at the moment they are needed.
pub trait Secrets: Debug + Send + Sync {
    /// The secret that `reference` means. None is made for it.
    ///
    /// # Errors
    /// When it cannot be had, [`NOT_MADE`] where it is not made yet; the failure says how to provide it.
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure>;

    /// The same for who puts it in place: one that Phoenix makes is made where there is none yet.
    ///
    /// # Errors
    /// When it cannot be had, or made.
    fn make(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        self.resolve(reference)
    }

    /// The keys by which the virtual machine of a name is entered by ssh. They are made where there are none yet: it is asked
    /// for by who makes the machine.
    ///
    /// # Errors
    /// When they cannot be read or made.
    fn ssh_keys(&self, guest: &str) -> Result<SshKeys, Failure> {
        Err(Failure::new("ssh::no-keys", format!("there is no place for keys of vm.{guest}")))
    }

    /// Forgets them: the machine is gone.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn forget_ssh_keys(&self, guest: &str) -> Result<(), Failure> {
        let _ = guest;
        Ok(())
    }
}

/// The keys by which a virtual machine is entered by ssh.
#[derive(Debug, Clone)]
pub struct SshKeys {
    /// By which it proves that it is this machine.
    pub host: KeyPair,
    /// By which Phoenix proves that it may enter.
    pub client: KeyPair,
}

/// Who proves that a service answers.
#[async_trait]
pub trait Prober: Debug + Send + Sync {
    /// Makes one request to `service` as a client would, trusting only the workshop's root. Returns what it saw.
    ///
    /// # Errors
    /// What hop failed.
    async fn probe(&self, service: &Service) -> Result<String, Failure>;
}

/// A program that a guest is to have.
#[derive(Debug, Clone)]
pub struct WantedArtifact<'a> {
    /// Which.
    pub artifact: &'a RenderedArtifact,
    /// The features that use it, each with its units: they are restarted when it changes.
    pub used_by: Vec<(String, Vec<String>)>,
}

/// Who has the programs that no package brings.
#[async_trait]
pub trait Artifacts: Debug + Send + Sync {
    /// Sees to it that a guest has them, as they are pinned; `tell` hears what takes time.
    ///
    /// # Errors
    /// When one cannot be had, or not be put in place.
    async fn put(
        &self,
        wanted: &[WantedArtifact<'_>],
        inside: &dyn Runner,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), Failure>;
}

/// Where commands run: in a guest, or on the node itself.
#[derive(Debug, Clone)]
pub struct HostRunner {
    /// The way there.
    pub runner: Arc<dyn Runner>,
    /// The guest's id; absent on the node.
    pub guest: Option<u32>,
}

impl HostRunner {
    /// How a person has a command run there.
    pub fn typed(&self, command: &str) -> String {
        match self.guest {
            Some(id) => format!("phoenix-cli exec {id} -- {command}"),
            None => format!("on the node: {command}"),
        }
    }

    /// What a command that changes nothing says, read; an answer that lacks its end is asked for again, twice. The last reason
    /// where it cannot be read.
    ///
    /// # Errors
    /// When the host cannot be reached.
    pub(crate) async fn read<T>(
        &self,
        command: &Command,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync,
    ) -> Result<Result<T, String>, Failure> {
        let mut read = Err("it does not answer".to_owned());
        for _ in 0..3 {
            let output = settle::command(&*self.runner, command).await?;
            if output.success() {
                read = parse(&output.text());
            }
            if read.is_ok() {
                break;
            }
        }
        Ok(read)
    }
}

impl std::fmt::Display for HostRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.guest {
            Some(id) => write!(f, "{id}"),
            None => f.write_str("the node"),
        }
    }
}

/// How long a service may need until it answers after all it needs is done.
const ANSWERS: Duration = Duration::from_secs(60);

/// What crews work with.
#[derive(Debug)]
pub struct Worksite {
    /// The site's name.
    pub site: String,
    /// The site's folder, from which files are uploaded.
    pub folder: Utf8PathBuf,
    /// What the site believes to be its own, and its key.
    pub trust: Arc<Trust>,
    /// Calls that change something.
    pub writer: Writer,
    /// The ways to nodes, and into guests.
    pub ways: Ways,
    /// The workshop's certificate authority.
    pub authority: Arc<pki::Authority>,
    /// Secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Probes.
    pub prober: Arc<dyn Prober>,
    /// Programs.
    pub artifacts: Arc<dyn Artifacts>,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// How long a service may need until it answers after all it needs is done.
    pub answers: Duration,
    marks: Mutex<HashMap<u32, Arc<tokio::sync::Mutex<()>>>>,
    /// The guests whose marks were sealed, or that are gone: what is not sealed there is no mark any more.
    sealed: Mutex<BTreeSet<u32>>,
}

impl Worksite {
    /// A worksite, without any artifacts.
    pub fn new(
        trust: Arc<Trust>,
        writer: Writer,
        ways: Ways,
        authority: Arc<pki::Authority>,
        secrets: Arc<dyn Secrets>,
        prober: Arc<dyn Prober>,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            site: trust.site().to_owned(),
            folder: Utf8PathBuf::new(),
            trust,
            writer,
            ways,
            authority,
            secrets,
            prober,
            artifacts: Arc::new(crate::artifacts::Refusing),
            clock,
            answers: ANSWERS,
            marks: Mutex::default(),
            sealed: Mutex::default(),
        }
    }

    /// With these artifacts.
    #[must_use]
    pub fn with_artifacts(self, artifacts: Arc<dyn Artifacts>) -> Self {
        Self { artifacts, ..self }
    }

    /// Of a site in this folder.
    #[must_use]
    pub fn in_folder(self, folder: Utf8PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// With another time for services until they answer.
    #[must_use]
    pub fn with_answers(self, answers: Duration) -> Self {
        Self { answers, ..self }
    }

    /// Calls that only read.
    pub fn reader(&self) -> &Reader {
        &self.writer
    }

    /// Commands inside a container, wherever it is.
    ///
    /// # Errors
    /// When there is no way to run commands on a node.
    pub fn inside(&self, id: u32) -> Result<Arc<dyn Runner>, Failure> {
        self.ways.guest(id)
    }

    /// The same, with what messages call it, after a look whether it is the site's own: `guest`, where that is known.
    ///
    /// # Errors
    /// As [`Worksite::inside`], and when it is not.
    pub async fn guest_runner(&self, id: u32, guest: Option<&Address>) -> Result<HostRunner, Failure> {
        self.check(id, guest).await?;
        Ok(HostRunner { runner: Arc::new(self.inside(id)?), guest: Some(id) })
    }

    /// The node that commands lead to.
    ///
    /// # Errors
    /// When there is no way to run commands on it.
    pub fn node_runner(&self) -> Result<HostRunner, Failure> {
        match self.ways.first() {
            Some(node) => Ok(HostRunner { runner: node.clone(), guest: None }),
            None => Err(Failure::new(
                "transport::no-commands",
                "nothing can be done on the node: there is no way to run commands on it",
            )
            .hint("declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"")),
        }
    }

    /// What a program in a guest of the site's own says when it succeeds. It may be run twice, and is run again while the way
    /// there is interrupted or the guest is just starting.
    ///
    /// # Errors
    /// When it fails, with the last it said; when the guest cannot be reached for a minute, or is not the site's own.
    pub async fn output_of(&self, id: u32, command: &Command) -> Result<String, Failure> {
        self.check(id, None).await?;
        let output = settle::command(&self.inside(id)?, command).await?;
        if output.success() {
            return Ok(output.text().into_owned());
        }
        Err(Failure::new("guest::refused", format!("failed while {}", command.purpose))
            .with_output(output.tail(8))
            .hint(format!("phoenix-cli shell {id}")))
    }

    /// A container, wherever in the cluster it is (T-9).
    ///
    /// # Errors
    /// When it is nowhere, or the node does not answer.
    pub async fn guest(&self, id: u32) -> Result<GuestRef, Failure> {
        own::locate(&self.ways, id).await
    }

    /// Looks once more for a container that is not where it was: `None` where it is nowhere else either (T-9).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn moved(&self, guest: &GuestRef) -> Result<Option<GuestRef>, Failure> {
        own::moved(&self.ways, guest).await
    }

    /// What a guest with this configuration says of itself: [`Own::of`]. A mark of before the site had a key counts until
    /// the guest's own was sealed.
    ///
    /// # Errors
    /// When it is not the site's own, or not what it is to be.
    pub fn own(
        &self,
        id: u32,
        address: Option<&Address>,
        config: &BTreeMap<String, String>,
    ) -> Result<Own, Failure> {
        let own = Own::of(&self.trust, id, address, config)?;
        if own.nonce.is_none() && self.sealed().contains(&id) {
            let what = format!("the seal of {id} was taken away meanwhile; nothing was done to it");
            return Err(
                Failure::new("managers::not-ours", what).hint("phoenix-cli plan shows what is there now")
            );
        }
        Ok(own)
    }

    /// Looks now whether a guest is the site's own, wherever it is.
    ///
    /// # Errors
    /// When it is not, or is not there.
    pub async fn check(&self, id: u32, address: Option<&Address>) -> Result<(), Failure> {
        let config = own::config(&self.ways, id).await?;
        self.own(id, address, &config).map(drop)
    }

    /// The description of a guest of the site's own, sealed.
    ///
    /// # Errors
    /// When it would be too long, or cannot be sealed.
    pub fn describe(&self, id: u32, own: &Own) -> Result<String, Failure> {
        let Own { text, mark, nonce } = own;
        let mark = &self.signed(mark);
        let description = self.trust.describe(id, nonce.clone(), text, mark).map_err(|error| {
            Failure::from_error("managers::unsealed", &error)
                .while_doing(format!("the mark of {id} cannot be sealed"))
                .hint("phoenix-cli apply makes the site's key")
        })?;
        fits(id, &description)?;
        Ok(description)
    }

    /// A mark that remembers the root certificate of the site that writes it.
    pub(crate) fn signed(&self, mark: &Mark) -> Mark {
        let mut mark = mark.clone();
        mark.root = Some(plan::wire::fingerprint(&[self.authority.root_pem()]));
        mark
    }

    /// The description of a guest that is about to be made, sealed, from what a plan says of it.
    ///
    /// # Errors
    /// As [`Worksite::describe`], or when the plan says nothing of its mark.
    pub fn describe_new(&self, id: u32, planned: &str) -> Result<String, Failure> {
        let (text, read) =
            mark::parse(planned).map_err(|error| Failure::from_error("managers::mark-unreadable", &error))?;
        let mark =
            read.map(mark::Read::into_mark).filter(|mark| mark.site == self.site).ok_or_else(|| {
                Failure::new("managers::not-ours", format!("the plan gives {id} no mark of this site"))
                    .hint("make the plan again with this phoenix-cli")
            })?;
        self.describe(id, &Own { text, mark, nonce: None })
    }

    /// Makes a guest the site's own, as `address`: it gets the tag, and a mark that remembers nothing, in the place of
    /// whatever block there is. Nothing else of it changes; `digest` is of the configuration that a person has agreed to.
    ///
    /// # Errors
    /// When it is not as it was then any more, or the node refuses.
    pub async fn adopt(
        &self,
        id: u32,
        address: &Address,
        digest: &str,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let guest = self.guest(id).await?;
        let config = settle::read("reading what is taken over", || self.reader().config(&guest)).await?;
        let value = |key: &str| config.get(key).map_or("", String::as_str);
        let (text, _) = mark::split(value("description"));
        let own = Own { text, mark: Mark::new(&self.site, address.clone()), nonce: None };
        let mut params = vec![("description".to_owned(), self.describe(id, &own)?)];
        if !mark::is_tagged(value("tags")) {
            let tags = [value("tags"), mark::TAG].into_iter().filter(|tags| !tags.is_empty());
            params.push(("tags".to_owned(), tags.collect::<Vec<_>>().join(";")));
        }
        params.push(("digest".to_owned(), digest.to_owned()));
        if settle::set(self, &guest, params, progress).await? == settle::Set::Modified {
            // Or it was our own change, whose answer was lost.
            let now = settle::read("reading it back", || self.reader().config(&guest)).await?;
            if self.own(id, Some(address), &now).is_err() {
                return Err(Failure::new(
                    "proxmox::modified",
                    format!("{id} was changed by somebody else meanwhile, and was not taken over"),
                )
                .hint("phoenix-cli adopt once more, after a look at what it is now"));
            }
        }
        self.is_sealed(id);
        Ok(())
    }

    /// What has no seal in this guest is no mark any more: its own was sealed, or it is gone.
    pub fn is_sealed(&self, id: u32) {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// The guests of which [`Worksite::is_sealed`] was said.
    pub fn sealed(&self) -> BTreeSet<u32> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the mark of a guest: reads its description, lets `change` work on text and mark, writes it back with the
    /// digest that was read, and again when somebody else was quicker.
    ///
    /// # Errors
    /// When the node refuses, or the guest is not ours.
    pub async fn change_mark(
        &self,
        id: u32,
        progress: &Progress,
        change: impl Fn(&mut String, &mut Mark) + Send + Sync,
    ) -> Result<(), Failure> {
        let lock = self.marks.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().clone();
        let _one_at_a_time = lock.lock().await;
        let mut guest = self.guest(id).await?;
        // Somebody else can only be quicker so often; after that the person should know that something fights us.
        for _ in 0..5 {
            let read = settle::read("reading the description", || self.reader().config(&guest)).await;
            let config = match read {
                Err(failure) if failure.code == settle::NOT_FOUND => match self.moved(&guest).await? {
                    Some(there) => {
                        guest = there;
                        continue;
                    }
                    None => return Err(failure),
                },
                read => read?,
            };
            let mut own = self.own(id, None, &config)?;
            change(&mut own.text, &mut own.mark);
            let new = self.describe(id, &own)?;
            if config.get("description").is_some_and(|there| there.trim_end() == new.trim_end()) {
                return Ok(());
            }
            let digest = config.get("digest").cloned().unwrap_or_default();
            let params = vec![("description".to_owned(), new.clone()), ("digest".to_owned(), digest)];
            let done = settle::set(self, &guest, params, progress).await?;
            if done == settle::Set::Done {
                self.is_sealed(id);
                return Ok(());
            }
        }
        Err(Failure::new(
            "managers::contended",
            format!("the configuration of {id} keeps being changed by somebody else"),
        )
        .hint("find out who, then phoenix-cli apply"))
    }
}

/// Whether Proxmox VE takes a description of this length.
///
/// # Errors
/// When it does not.
pub fn fits(id: u32, description: &str) -> Result<(), Failure> {
    if description.len() <= mark::DESCRIPTION_LIMIT {
        return Ok(());
    }
    Err(Failure::new(
        "managers::description-full",
        format!("the description of {id} would be longer than Proxmox VE takes ({})", description.len()),
    )
    .hint("shorten its `description`, or spread its services over more guests"))
}

/// The longest a script in a guest may take: a slow mirror and a large package on a slow line; what is longer hangs.
pub const SCRIPT_LIMIT: Duration = Duration::from_mins(30);
