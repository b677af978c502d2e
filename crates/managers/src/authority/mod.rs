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
use plan::{Action, Address, Change, Desired, Problem, Step};
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

    /// Whatever it is given is signed by the root.
    fn needs_root(&self, step: &Step, _: &pki::Authority, _: Timestamp) -> pki::NeedsRoot {
        match apply::work::<AuthorityWork>(step) {
            Ok(AuthorityWork::Sign(_)) => pki::NeedsRoot::Must,
            Err(_) => pki::NeedsRoot::No,
        }
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
        if world.inventory.root_away {
            // The one that it has does for as long as a certificate made today fits in what is left of it.
            let fits = there.as_ref().is_some_and(|mark| {
                let life = i64::try_from(authority.life.as_secs()).unwrap_or(i64::MAX);
                reason == DUE && mark.end.saturating_sub(world.options.now.as_second()) > life
            });
            if fits {
                proposal.note(format!("{address}: {WAITS}: {SIGN_ELSEWHERE}"));
                return;
            }
            // The step stays, so that leaving it out leaves out what needs it.
            proposal.problem(root_away(address.clone(), reason, there.is_some()));
        }
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

/// What is said where the next certificate can wait until somebody has it signed.
const WAITS: &str =
    "another certificate to sign with is due, and the root's key is not here; the one it has still does";

/// How to have it signed where the root's key is.
const SIGN_ELSEWHERE: &str = "phoenix-cli certs request > next.csr; where the root's key is: phoenix-cli certs sign next.csr > \
                              next.crt; here: phoenix-cli certs install next.crt";

/// What keeps a plan from being carried out where the root would have to sign.
fn root_away(address: Address, reason: &str, there: bool) -> Problem {
    let message = format!("the root's key is not here, and has to sign: {reason}");
    let hint = match there {
        true => SIGN_ELSEWHERE.to_owned(),
        // Who has no guest yet cannot ask it for anything.
        false => format!(
            "put root.key back for this run; or, without it: phoenix-cli up --exclude {address}, then {SIGN_ELSEWHERE}"
        ),
    };
    Problem::new(address, "pki::root-away", message, hint)
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

    async fn sign(&self, wanted: &Sign, progress: &Progress) -> Result<Done, Failure> {
        let id = wanted.id;
        if wanted.taken {
            note(&self.site, id, progress).await;
        }
        for (guest, asker) in &wanted.askers {
            introduce(&self.site, *guest, asker, Identity::Another, progress).await?;
        }
        progress.doing("asking for the request of its certificate");
        let request = request(&self.site, id, wanted.another_key).await?;
        let now = (self.site.clock)();
        let life = wanted.authority.life;
        let certificate = self.site.authority.sign_intermediate(&request, life, now).map_err(|e| {
            let mut failure = Failure::from_error("pki::issue", &e);
            failure.hint = e.hint();
            failure
        })?;
        let facts = install(&self.site, &wanted.authority, id, &certificate, progress).await?;
        Ok(Done::new(format!("{} signs, until {}", wanted.authority.url, until(facts.not_after))))
    }
}

/// A command of the program in its guest.
fn ask(id: u32, words: &str, purpose: &str, stdin: Vec<u8>) -> Command {
    let argv = [PROGRAM].into_iter().chain(words.split(' '));
    Command::new(format!("{purpose} in {id}"), argv).stdin(stdin).limit(LIMIT)
}

/// Has the certificate that it signs with noted: those of before Phoenix wrote down what it signed are known to their guest
/// alone. What the root did not sign is no certificate of an authority's, whatever the guest says.
pub async fn note(site: &Worksite, id: u32, progress: &Progress) {
    let asked = ask(id, "certificate", "asking for the authority's certificate", Vec::new());
    let noted = match site.output_of(id, &asked).await {
        Ok(pem) => site.authority.remember(&pem, (site.clock)()).map_err(|error| error.to_string()),
        Err(failure) => Err(failure.to_string()),
    };
    if let Err(why) = noted {
        progress.warning(format!(
            "what it signed with until now could not be noted, so it is refused nowhere unless Phoenix knew it before: {why}"
        ));
    }
}

/// The request for a certificate of the key that an authority in a guest has, or of another one that it makes.
///
/// # Errors
/// When the guest cannot be reached, or it does not do it.
pub async fn request(site: &Worksite, id: u32, another: bool) -> Result<String, Failure> {
    let words = if another { "request another" } else { "request" };
    site.output_of(id, &ask(id, words, "making the authority's key", Vec::new())).await
}

/// Has an authority in a guest sign with this certificate from now on, looks on while it does, and has its guest's mark
/// remember that. What the certificate says.
///
/// # Errors
/// When it is none, the guest cannot be reached, or it does not sign with it.
pub async fn install(
    site: &Worksite,
    authority: &Authority,
    id: u32,
    certificate: &str,
    progress: &Progress,
) -> Result<pki::CertificateFacts, Failure> {
    let facts =
        pki::CertificateFacts::parse(certificate).map_err(|e| Failure::from_error("pki::issue", &e))?;
    progress.doing("starting it with its certificate");
    let given = certificate.as_bytes().to_vec();
    site.output_of(id, &ask(id, "install", "installing the authority's certificate", given)).await?;
    progress.doing("having it sign a certificate of five minutes");
    let probed = site.output_of(id, &ask(id, "probe", "probing the authority", Vec::new())).await?;
    for note in probed.lines().filter(|line| line.starts_with("note: ")) {
        progress.warning(note.trim_start_matches("note: ").to_owned());
    }
    let mark = CertificateMark {
        fingerprint: authority.fingerprint.clone(),
        begin: facts.not_before.as_second(),
        end: facts.not_after.as_second(),
        serial: facts.serial.clone(),
    };
    let address = Address::authority(&authority.on);
    site.change_mark(id, progress, |_, all| all.remember(&address, &mark)).await?;
    Ok(facts)
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
