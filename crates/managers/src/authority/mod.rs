//! The workshop's certificate authority in a guest. It makes its key itself, and keeps it; the site's root signs the
//! certificate for that key, here. So a rebuilt authority has another key under the same root, and no client has to
//! trust anew (P-69, I-5).

mod behind;
pub mod later;

pub use behind::behind;

use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use jiff::Timestamp;
use plan::address::kinds;
use plan::desired::Authority;
use plan::planner::{Kind, Proposal, World};
use plan::told::Refused;
use plan::wire::{Roots, fingerprint};
use plan::{Action, Address, Change, Desired, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use transport::Command;

use crate::certificates::renewing::{Identity, introduce};
use crate::certificates::{CertificateMark, Introduction, introductions};
use crate::features::diff::mark_after;
use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// What looks after the authority in its guest, from the feature `step-ca`.
pub const PROGRAM: &str = "/usr/local/lib/phoenix/authority";

/// Making a key, starting and signing once: seconds; a slow disk may need a minute.
const LIMIT: Duration = Duration::from_mins(3);

/// What a site is wired with, of its authority.
#[must_use]
pub fn roots(authority: &pki::Authority) -> Roots {
    let trusted = authority.trusted();
    // One that is trusted still is no root of before yet.
    let before = authority.before().iter().filter(|pem| !trusted.contains(&pem.as_str()));
    let refused = |one: &pki::Refused| Refused { issuer: one.issuer.clone(), names: one.names.clone() };
    Roots {
        signs: authority.root_pem().to_owned(),
        before: before.map(|pem| fingerprint(&[pem])).collect(),
        refused: authority.refused().iter().map(refused).collect(),
        trusted: trusted.into_iter().map(str::to_owned).collect(),
    }
}

/// The authority, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authorities;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityWork {
    /// The site's root signs the certificate for the key that its guest makes, and it is started with that.
    Sign(Sign),
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sign {
    /// Its guest.
    pub id: u32,
    /// What is wanted.
    pub authority: Authority,
    /// Whether it makes another key for it, so that whoever took the one it has is rid of it with its certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub another_key: bool,
    /// Whether the key that it has may have been taken: what signs with it is noted, so that it can be refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken: bool,
    /// Guests that are to ask it with another key, by their ids. Before the other key signs: whoever has a guest's last one would
    /// go on asking, and get what is told from what it had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub askers: Vec<(u32, Introduction)>,
}

impl Manager for Authorities {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(AuthorityCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let authority = desired.authority.as_ref().filter(|it| *it.on == *address.name())?;
        Some(json!({
            "on": authority.on, "url": authority.url, "signs below": authority.domain,
            "longest life": format!("{} days", authority.life.as_secs() / 86_400),
        }))
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let there = seen.mark(address.name()).and_then(|mark| CertificateMark::of(mark, address));
        let state = there.and_then(|mark| Timestamp::from_second(mark.end).ok());
        Status::new(
            address,
            state.map_or("not there yet".to_owned(), |end| format!("signs, until {}", until(end))),
        )
    }
}

impl Kind for Authorities {
    fn kind(&self) -> &'static str {
        kinds::AUTHORITY
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        let Some(authority) = world.desired.authority.as_ref().filter(|_| !world.options.destroy) else {
            return;
        };
        let Some(container) = world.desired.guests.get(&authority.on) else { return };
        let mark = mark_after(world, container, proposal);
        if mark.is_none() && !proposal.makes_anew(&container.resource()) {
            return;
        }
        let address = Address::authority(&authority.on);
        let there = mark.and_then(|m| CertificateMark::of(m, &address));
        let (action, reason, another_key) = match &there {
            None => (Action::Create, "its guest has no certificate to sign with yet", false),
            // Below another root with another key, too: one name is one key's, whoever signed it.
            Some(m) if m.fingerprint != authority.fingerprint => (Action::Update, CHANGES, true),
            Some(_) if world.inventory.rotated.intermediate => (Action::Update, TAKEN, true),
            Some(_) if world.inventory.rotated.signer => (Action::Update, TOLD_APART, true),
            Some(m) if due(m, authority, world.options.now) => (Action::Update, DUE, true),
            Some(_) => return,
        };
        let rotated = &world.inventory.rotated;
        let taken = another_key && rotated.signer;
        let askers: Vec<(u32, Introduction)> = introductions(world.desired)
            .into_iter()
            .filter(|(guest, _)| taken && rotated.guests.contains(*guest))
            .filter_map(|(guest, introduction)| Some((world.desired.guests.get(guest)?.id, introduction)))
            .collect();
        let names: Vec<&str> = askers.iter().map(|(_, asker)| asker.guest.as_str()).collect();
        let asks =
            (!names.is_empty()).then(|| Change::new("asks with another key", Value::Null, names.join(", ")));
        let mut step = Step::new(address, action).on_guest(container.id).reason(reason).change(Change::new(
            "url",
            Value::Null,
            authority.url.clone(),
        ));
        if let Some(asks) = asks {
            step = step.change(asks);
        }
        let work = AuthorityWork::Sign(Sign {
            id: container.id,
            authority: authority.clone(),
            another_key,
            taken,
            askers,
        });
        proposal.step(step, &work);
    }
}

/// Why it gets another certificate, and what that takes.
const DUE: &str = "two thirds of its intermediate's life have passed, or it lives too long: another key is certified, and \
                   step-ca alone is started anew with it";

/// The same, for what else it is made anew for.
const CHANGES: &str = "its name or the site's root changes: another key is certified, and step-ca alone is started anew with it";

/// The same, for a key that may have been taken.
const TAKEN: &str = "the key that it signs with may have been taken: another one is certified, and step-ca alone is started anew with it";

/// The same, for what a guest had.
const TOLD_APART: &str = "what a guest had is to be told from what it gets: another key is certified, and step-ca alone is started anew with it";

/// Whether the certificate that it signs with needs a successor. A mark that cannot be read says so, too.
fn due(mark: &CertificateMark, authority: &Authority, now: Timestamp) -> bool {
    let time = |second| Timestamp::from_second(second).ok();
    let validity = time(mark.begin).zip(time(mark.end));
    validity.is_none_or(|(begin, end)| pki::intermediate_due(begin, end, authority.life, now))
}

/// The crew for the authority.
#[derive(Debug, Clone)]
pub struct AuthorityCrew {
    site: Arc<Worksite>,
}

impl AuthorityCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    /// Has the certificate that it signs with noted: those of before Phoenix wrote down what it signed are known to their
    /// guest alone. What the root did not sign is no certificate of an authority's, whatever the guest says.
    async fn note(&self, id: u32, asked: &Command, progress: &Progress) {
        let now = (self.site.clock)();
        let noted = match self.site.output_of(id, asked).await {
            Ok(pem) => self.site.authority.remember(&pem, now).map_err(|error| error.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        if let Err(why) = noted {
            progress.warning(format!(
                "what it signed with until now could not be noted, so it is refused nowhere unless Phoenix knew it before: {why}"
            ));
        }
    }

    async fn sign(&self, wanted: &Sign, progress: &Progress) -> Result<Done, Failure> {
        let id = wanted.id;
        let ask = |words: &str, purpose: &str, stdin: Vec<u8>| {
            let argv = [PROGRAM].into_iter().chain(words.split(' '));
            Command::new(format!("{purpose} in {id}"), argv).stdin(stdin).limit(LIMIT)
        };
        if wanted.taken {
            let asked = ask("certificate", "asking for the authority's certificate", Vec::new());
            self.note(id, &asked, progress).await;
        }
        for (guest, asker) in &wanted.askers {
            introduce(&self.site, *guest, asker, Identity::Another, progress).await?;
        }
        progress.doing("asking for the request of its certificate");
        let words = if wanted.another_key { "request another" } else { "request" };
        let request = self.site.output_of(id, &ask(words, "making the authority's key", Vec::new())).await?;
        let now = (self.site.clock)();
        let life = wanted.authority.life;
        let certificate = self.site.authority.sign_intermediate(&request, life, now).map_err(|e| {
            let mut failure = Failure::from_error("pki::issue", &e);
            failure.hint = match &e {
                // The request comes from the guest, in the middle of a run.
                pki::PkiError::KeyMissing { key, .. } => {
                    Some(format!("put {key} back from where you keep it, for as long as this takes"))
                }
                e => e.hint(),
            };
            failure
        })?;
        progress.doing("starting it with its certificate");
        let install =
            ask("install", "installing the authority's certificate", certificate.clone().into_bytes());
        self.site.output_of(id, &install).await?;
        progress.doing("having it sign a certificate of five minutes");
        let probed = self.site.output_of(id, &ask("probe", "probing the authority", Vec::new())).await?;
        for note in probed.lines().filter(|line| line.starts_with("note: ")) {
            progress.warning(note.trim_start_matches("note: ").to_owned());
        }
        let facts =
            pki::CertificateFacts::parse(&certificate).map_err(|e| Failure::from_error("pki::issue", &e))?;
        let mark = CertificateMark {
            fingerprint: wanted.authority.fingerprint.clone(),
            begin: facts.not_before.as_second(),
            end: facts.not_after.as_second(),
            serial: facts.serial.clone(),
        };
        let address = Address::authority(&wanted.authority.on);
        self.site.change_mark(id, progress, |_, all| all.remember(&address, &mark)).await?;
        Ok(Done::new(format!("{} signs, until {}", wanted.authority.url, until(facts.not_after))))
    }
}

fn until(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[async_trait]
impl Crew for AuthorityCrew {
    fn kind(&self) -> &'static str {
        kinds::AUTHORITY
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            results.push(match apply::work::<AuthorityWork>(step) {
                Ok(AuthorityWork::Sign(wanted)) => self.sign(&wanted, progress).await,
                Err(failure) => Err(failure),
            });
        }
        results
    }
}
