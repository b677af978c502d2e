//! What crews work with: the node, the authority, the clock. One for a run.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apply::{Failure, Progress};
use async_trait::async_trait;
use blueprint::model::SecretRef;
use jiff::Timestamp;
use plan::desired::Service;
use plan::mark::{self, Mark};
use proxmox::client::{GuestRef, Reader, Writer};
use proxmox::config::GuestKind;
use secrecy::SecretString;
use transport::{Command, InGuest, Runner};

use crate::features::RenderedArtifact;
use crate::settle;
use crate::ways::Ways;

/// Where secrets come from at the moment they are needed.
pub trait Secrets: Debug + Send + Sync {
    /// The secret that `reference` means.
    ///
    /// # Errors
    /// When it cannot be had; the failure says how to provide it.
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure>;
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
        inside: &InGuest,
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
}

impl std::fmt::Display for HostRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.guest {
            Some(id) => write!(f, "{id}"),
            None => f.write_str("the node"),
        }
    }
}

/// What crews work with.
#[derive(Debug)]
pub struct Worksite {
    /// The site's name.
    pub site: String,
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
    marks: Mutex<HashMap<u32, Arc<tokio::sync::Mutex<()>>>>,
}

impl Worksite {
    /// A worksite, without any artifacts.
    pub fn new(
        site: String,
        writer: Writer,
        ways: Ways,
        authority: Arc<pki::Authority>,
        secrets: Arc<dyn Secrets>,
        prober: Arc<dyn Prober>,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            site,
            writer,
            ways,
            authority,
            secrets,
            prober,
            artifacts: Arc::new(crate::artifacts::Refusing),
            clock,
            marks: Mutex::default(),
        }
    }

    /// With these artifacts.
    #[must_use]
    pub fn with_artifacts(self, artifacts: Arc<dyn Artifacts>) -> Self {
        Self { artifacts, ..self }
    }

    /// Calls that only read.
    pub fn reader(&self) -> &Reader {
        &self.writer
    }

    /// Commands inside a container, wherever it is.
    ///
    /// # Errors
    /// When there is no way to run commands on a node.
    pub fn inside(&self, id: u32) -> Result<InGuest, Failure> {
        self.ways.guest(id)
    }

    /// The same, with what messages call it.
    ///
    /// # Errors
    /// As [`Worksite::inside`].
    pub fn guest_runner(&self, id: u32) -> Result<HostRunner, Failure> {
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

    /// What a program in a guest says when it succeeds. It may be run twice, and is run again while the way there is
    /// interrupted or the guest is just starting.
    ///
    /// # Errors
    /// When it fails, with the last it said; when the guest cannot be reached for a minute.
    pub async fn output_of(&self, id: u32, command: &Command) -> Result<String, Failure> {
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
        let node = match self.ways.known_node_of(id) {
            Some(node) => Some(node),
            None => self.ways.ask_for(id).await?,
        };
        let node = node.ok_or_else(|| {
            Failure::new("managers::guest-gone", format!("the container {id} is not there any more"))
                .hint("phoenix-cli plan shows what is there now")
        })?;
        Ok(GuestRef::new(node, GuestKind::Container, id))
    }

    /// Looks once more for a container that is not where it was: `None` where it is nowhere else either (T-9).
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn moved(&self, guest: &GuestRef) -> Result<Option<GuestRef>, Failure> {
        if self.ways.alone() {
            return Ok(None);
        }
        let node = self.ways.ask_for(guest.id).await?.filter(|node| *node != guest.node);
        Ok(node.map(|node| GuestRef::new(node, guest.kind, guest.id)))
    }

    /// Text and mark of a guest's description.
    ///
    /// # Errors
    /// When it does not carry the mark of this site.
    pub fn marked(&self, id: u32, description: &str) -> Result<(String, Mark), Failure> {
        let (text, found) = mark::parse(description)
            .map_err(|error| Failure::from_error("managers::mark-unreadable", &error))?;
        let found = found.filter(|mark| mark.site == self.site).ok_or_else(|| {
            Failure::new(
                "managers::not-ours",
                format!("{id} does not carry the mark of the site `{}`", self.site),
            )
            .hint("phoenix-cli plan")
        })?;
        Ok((text, found))
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
            let description = config.get("description").cloned().unwrap_or_default();
            let (mut text, mut found) = self.marked(id, &description)?;
            change(&mut text, &mut found);
            let new = mark::render(&text, &found);
            if new.trim_end() == description.trim_end() {
                return Ok(());
            }
            fits(id, &new)?;
            let digest = config.get("digest").cloned().unwrap_or_default();
            let params = vec![("description".to_owned(), new.clone()), ("digest".to_owned(), digest)];
            let done = settle::set(self, &guest, params, progress).await?;
            if done == settle::Set::Done {
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
