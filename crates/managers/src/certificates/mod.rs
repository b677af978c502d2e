//! Certificates: in the plan when there is something to do for them.
//!
//! Who signs decides the rest. Those of Phoenix' own authority are made here and put in place ([`embedded`]); whether one
//! is due stands in its guest's mark. The others are a guest's own business once it has been introduced to who signs
//! (`renewing`): it renews them by itself, without Phoenix, and a plan only looks at names and authority. What a guest
//! really has and shows is in [`look`].

pub mod embedded;
pub mod look;
pub mod removing;
pub(crate) mod renewing;

use std::sync::Arc;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use jiff::Timestamp;
use plan::address::kinds;
use plan::desired::{Certificate, Desired, Issuer};
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::wire::CERTIFICATES;
use plan::{Action, Address, Change, Host, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use removing::Removal;

use crate::features::diff::mark_after;
use crate::status::Line;
use crate::worksite::Worksite;
use crate::{Looked, Manager, Seen, Status, Within};

/// Certificates, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Certificates;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateWork {
    /// A guest is to have it.
    Put(Box<Put>),
    /// A guest is no longer to have it.
    Remove(Removal),
}

/// What is put in a guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The guest it is put in.
    pub id: u32,
    /// What is wanted.
    pub certificate: Certificate,
    /// What the authority in another guest is told, where that one signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduction: Option<Introduction>,
    /// Whether what there is may have been taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew: Option<Anew>,
}

/// What is made anew beside a certificate that may have been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Anew {
    /// Whether the key with which its guest asks for certificates is, where it does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub credential: bool,
    /// Whether what signs it is: only what was made since this moment signs, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<i64>,
}

impl Anew {
    /// What is wanted of a certificate on this host, and why.
    pub(crate) fn of(world: World<'_>, on: &Host) -> Option<(Self, &'static str)> {
        let rotated = &world.inventory.rotated;
        let now = world.options.now.as_second();
        if on.guest().is_some_and(|guest| rotated.guests.contains(&**guest)) {
            let why = "what its guest has may have been taken: another key, and another one to ask with";
            return Some((Self { credential: true, signer: rotated.signer.then_some(now) }, why));
        }
        let why = "what signed it may have been taken: it is signed with another key";
        rotated.intermediate.then_some((Self { credential: false, signer: Some(now) }, why))
    }

    /// Where names, life or authority of a certificate are others than those of the one that is there: whoever has it may find it
    /// good, as while its root is still trusted.
    pub(crate) fn of_other(certificate: &Certificate, there: Option<&CertificateMark>) -> Option<Self> {
        let other = there.is_some_and(|there| there.fingerprint != certificate.fingerprint);
        other.then_some(Self { credential: false, signer: None })
    }
}

/// What the workshop's authority is told of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The authority's guest.
    pub authority: u32,
    /// The guest's name.
    pub guest: String,
    /// All names it may have certificates for (P-70).
    pub names: Vec<String>,
    /// The longest life of one, in seconds.
    pub life: u64,
    /// The name that it had before, under which it is to have none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// Whether the site's root is needed for a certificate that is to be put somewhere.
pub(crate) fn signing(
    certificate: &Certificate,
    anew: Option<Anew>,
    authority: &pki::Authority,
    now: Timestamp,
) -> pki::NeedsRoot {
    if certificate.issuer != Issuer::Embedded {
        return pki::NeedsRoot::No;
    }
    let since = anew.and_then(|anew| Timestamp::from_second(anew.signer?).ok());
    authority.needs_root(certificate.life, since, now)
}

/// What is known of a certificate on paper.
pub(crate) fn facts_of(certificate: &Certificate) -> Value {
    json!({
        "names": certificate.names.join(", "), "on": certificate.on.short(),
        "life": format!("{} days", certificate.life.as_secs() / 86_400), "path": path(&certificate.name),
    })
}

/// What a mark remembers of a certificate, as short as can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateMark {
    /// Fingerprint of the names in it and of the authority.
    #[serde(rename = "f")]
    pub fingerprint: String,
    /// Begin of its life, Unix seconds.
    #[serde(rename = "b")]
    pub begin: i64,
    /// End of its life, Unix seconds.
    #[serde(rename = "e")]
    pub end: i64,
    /// Serial number, hexadecimal; empty where the mark had no room for it.
    #[serde(rename = "s")]
    pub serial: String,
}

impl CertificateMark {
    /// What the mark of its host remembers of a certificate, or of an authority's. What cannot be read is made anew.
    pub fn of(mark: &Mark, address: &Address) -> Option<Self> {
        Self::deserialize(mark.entry(address)?).ok()
    }

    /// Has a mark remember certificates, by name.
    pub fn remember(mark: &mut Mark, certificates: &[(String, Self)]) {
        for (name, certificate) in certificates {
            mark.remember(&Address::certificate(name), certificate);
        }
    }
}

impl From<&CertificateMark> for Value {
    fn from(mark: &CertificateMark) -> Self {
        let CertificateMark { fingerprint, begin, end, serial } = mark;
        json!({ "f": fingerprint, "b": begin, "e": end, "s": serial })
    }
}

/// How a certificate is, by the mark of its host.
pub(crate) fn status_of(
    address: &Address,
    certificate: &Certificate,
    mark: Option<&Mark>,
    now: Timestamp,
) -> Status {
    let there = mark.and_then(|mark| CertificateMark::of(mark, &Address::certificate(&certificate.name)));
    let renews = certificate.issuer != Issuer::Embedded;
    let due = due(certificate, there.as_ref(), now).filter(|_| !renews);
    let state = match (&there, &due) {
        (None, _) => "not there yet".to_owned(),
        (Some(_), Some((_, why))) => why.clone(),
        (Some(there), None) if there.fingerprint != certificate.fingerprint => "to be made anew".to_owned(),
        (Some(_), None) if renews => "renewed by who has it".to_owned(),
        (Some(there), None) => format!("until {}", date(there.end)),
    };
    let mut status = Status::new(address, state).more(json!({ "due": due.is_some() }));
    status.line = due.map(|_| Line { sign: '!', text: "due".to_owned(), due: true });
    status
}

/// When a certificate is renewed.
pub fn renew_at(mark: &CertificateMark) -> Option<Timestamp> {
    Some(pki::renew_at(Timestamp::from_second(mark.begin).ok()?, Timestamp::from_second(mark.end).ok()?))
}

#[async_trait]
impl Manager for Certificates {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(CertificateCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        Some(facts_of(desired.certificates.get(address.name())?))
    }

    /// Those that the mark says are there as they are wanted now, and are not.
    async fn look(&self, within: Within<'_>) -> Looked {
        let applied = |c: &&Certificate| {
            let there = within.mark.and_then(|m| CertificateMark::of(m, &c.resource()));
            c.on.is_guest(&within.container.name)
                && there.is_some_and(|there| there.fingerprint == c.fingerprint)
        };
        let all: Vec<&Certificate> = within.desired.certificates.values().filter(applied).collect();
        if all.is_empty() {
            return Looked::default();
        }
        match look::look(within.guest, &all).await {
            Ok(seen) => {
                let differs = |c: &&Certificate| {
                    let seen = seen.iter().find(|s| s.name == c.name);
                    Some((c.resource(), vec![look::differs(seen)?]))
                };
                Looked { found: all.iter().filter_map(differs).collect(), ..Looked::default() }
            }
            Err(failure) => {
                let what = format!("the certificates in {}", within.container.resource());
                Looked::unseen(what, failure.to_string())
            }
        }
    }

    fn needs_root(&self, step: &Step, authority: &pki::Authority, now: Timestamp) -> pki::NeedsRoot {
        match apply::work::<CertificateWork>(step) {
            Ok(CertificateWork::Put(put)) => signing(&put.certificate, put.anew, authority, now),
            _ => pki::NeedsRoot::No,
        }
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let Some(certificate) = seen.desired.certificates.get(address.name()) else {
            return Status::by_plan(address, seen.plan);
        };
        if seen.desired.is_on_off(&certificate.on) {
            return Status::new(address, "its guest is off").more(json!({ "due": false }));
        }
        let mark = certificate.on.guest().and_then(|guest| seen.mark(guest));
        status_of(address, certificate, mark, seen.now)
    }
}

impl Kind for Certificates {
    fn kind(&self) -> &'static str {
        kinds::CERTIFICATE
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        let authority = new_authority(world, proposal);
        let introductions = introductions(world.desired);
        for certificate in world.desired.certificates.values() {
            let guest = certificate.on.guest().and_then(|name| world.desired.guests.get(name));
            let Some(guest) = guest else { continue };
            let mark = mark_after(world, guest, proposal);
            if mark.is_none() && !proposal.makes_anew(&guest.resource()) {
                continue;
            }
            let there = mark.and_then(|m| CertificateMark::of(m, &certificate.resource()));
            let there = there.as_ref();
            let introduction = introductions.get(&*guest.name).cloned();
            let anew = Anew::of(world, &certificate.on).filter(|(anew, _)| {
                // A public authority has nothing to do with the site's.
                certificate.issuer != Issuer::Acme || anew.credential
            });
            let put = Put {
                anew: anew.map(|(anew, _)| anew).or_else(|| Anew::of_other(certificate, there)),
                id: guest.id,
                certificate: certificate.clone(),
                introduction: introduction.filter(|_| certificate.issuer == Issuer::StepCa),
            };
            let found = there.and_then(|_| world.inventory.found.get(&certificate.resource()));
            let found = found.map(|found| (Action::Update, found.join("; ")));
            let step = |action, reason| step(&put, there, action, reason);
            let work = || CertificateWork::Put(Box::new(put.clone()));
            let anew = there.and(anew).map(|(_, why)| (Action::Update, why.to_owned()));
            match anew.or_else(|| due(certificate, there, world.options.now)).or(found) {
                Some((action, reason)) => proposal.step(step(action, reason), &work()),
                // A new authority knows nobody.
                None => {
                    if let (Issuer::StepCa, Some(authority)) = (certificate.issuer, &authority) {
                        let reason = "its authority is made anew and has to know the guest".to_owned();
                        proposal.step_if_any([authority.clone()], step(Action::Update, reason), &work());
                    }
                }
            }
        }
        gone(world, &introductions, proposal);
    }
}

/// The authority in a guest, where it has never signed anything yet: one that only gets another certificate knows everybody.
pub(crate) fn new_authority(world: World<'_>, proposal: &Proposal) -> Option<Address> {
    let authority = world.desired.authority.as_ref()?;
    let address = Address::authority(&authority.on);
    let guest = world.desired.guests.get(&authority.on)?;
    let there = mark_after(world, guest, proposal).and_then(|mark| CertificateMark::of(mark, &address));
    there.is_none().then_some(address)
}

/// I-4: what is not wanted any more does not lie about, least of all its key.
fn gone(
    world: World<'_>,
    introductions: &std::collections::BTreeMap<&str, Introduction>,
    proposal: &mut Proposal,
) {
    let signs = world.desired.authority.as_ref().and_then(|a| world.desired.guests.get(&a.on));
    for container in world.desired.guests.values() {
        let Some(mark) = mark_after(world, container, proposal) else { continue };
        let wanted = |name: &str| {
            world.desired.certificates.get(name).is_some_and(|certificate| certificate.on == container.host())
        };
        let had: Vec<String> =
            mark.names(kinds::CERTIFICATE).filter(|name| !wanted(name)).map(str::to_owned).collect();
        let nothing = signs.map(|authority| Introduction {
            authority: authority.id,
            guest: container.name.to_string(),
            names: Vec::new(),
            life: 0,
            was: None,
        });
        let told = introductions.get(&*container.name).cloned().or(nothing);
        removing::propose(world, container, had.into_iter(), told.as_ref(), proposal);
    }
}

/// What each guest with certificates of the workshop's own authority is introduced with.
pub(crate) fn introductions(desired: &Desired) -> std::collections::BTreeMap<&str, Introduction> {
    let mut all = std::collections::BTreeMap::new();
    let guest = desired.authority.as_ref().and_then(|a| desired.guests.get(&a.on));
    let (Some(authority), Some(guest)) = (&desired.authority, guest) else { return all };
    for certificate in desired.certificates.values().filter(|c| c.issuer == Issuer::StepCa) {
        let Some(name) = certificate.on.guest() else { continue };
        let entry = all.entry(&**name).or_insert_with(|| Introduction {
            authority: guest.id,
            guest: name.to_string(),
            names: Vec::new(),
            life: authority.life.as_secs(),
            was: desired.guests.get(name).and_then(|guest| guest.was.as_ref()).map(ToString::to_string),
        });
        entry.names.extend(certificate.names.iter().cloned());
    }
    all
}

/// What has to be done for a certificate, by what is known of the one that is there.
pub(crate) fn due(
    certificate: &Certificate,
    there: Option<&CertificateMark>,
    now: Timestamp,
) -> Option<(Action, String)> {
    match there {
        None => Some((Action::Create, "nothing has it yet".to_owned())),
        Some(m) if m.fingerprint == plan::mark::RENAMED => {
            Some((Action::Update, "its guest has a new name".to_owned()))
        }
        Some(m) if m.fingerprint != certificate.fingerprint => {
            Some((Action::Update, "its names, life or authority change".to_owned()))
        }
        // What a guest renews by itself has another end by now than the mark says.
        Some(_) if certificate.issuer != Issuer::Embedded => None,
        // I-4, P-46: at two thirds of its life, not when it has expired.
        Some(m) if renew_at(m).is_none_or(|at| at <= now) => {
            Some((Action::Update, format!("two thirds of its life have passed (it ends {})", date(m.end))))
        }
        Some(_) => None,
    }
}

fn step(put: &Put, there: Option<&CertificateMark>, action: Action, reason: String) -> Step {
    let certificate = &put.certificate;
    // One call for all of a guest's that are made in the same way.
    let batch = match certificate.issuer {
        Issuer::Acme => format!("certificates@{}/public", certificate.on),
        Issuer::StepCa | Issuer::Embedded => format!("certificates@{}", certificate.on),
    };
    Step::new(Address::certificate(&certificate.name), action)
        .on_guest(put.id)
        .reason(reason)
        .change(Change::new("names", Value::Null, certificate.names.join(", ")))
        .change(promised(certificate, there.map(|m| date(m.end))))
        .batch(batch)
}

/// Until when there is one, or who sees to that. `ends` is when the one that is there ends.
pub(crate) fn promised(certificate: &Certificate, ends: Option<String>) -> Change {
    let life = life(certificate.life.as_secs());
    match certificate.issuer {
        Issuer::Embedded => Change::new("ends", ends, format!("{life} from now")),
        Issuer::StepCa => Change::new("renews", Value::Null, format!("by itself, each lives {life}")),
        Issuer::Acme => Change::new("renews", Value::Null, "by itself, from a public authority"),
    }
}

/// A life in words: days where they are whole, else hours or minutes.
fn life(seconds: u64) -> String {
    let (many, unit) = match seconds {
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3600 == 0 => (s / 3600, "hour"),
        s => (s / 60, "minute"),
    };
    format!("{many} {unit}{}", if many == 1 { "" } else { "s" })
}

pub(crate) fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| "never".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// The crew for certificates.
#[derive(Debug, Clone)]
pub struct CertificateCrew {
    site: Arc<Worksite>,
}

impl CertificateCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    /// Brings certificates of one guest about, all of one issuer, and remembers them in its mark.
    async fn bring(&self, works: &[Put], progress: &Progress) -> Result<Vec<String>, Failure> {
        let Some(first) = works.first() else { return Ok(Vec::new()) };
        let marks = match first.certificate.issuer {
            Issuer::Embedded => {
                let certificates: Vec<&Certificate> = works.iter().map(|w| &w.certificate).collect();
                if let Some(since) = works.iter().find_map(|put| put.anew?.signer) {
                    embedded::succeed(&self.site.authority, &certificates, since, (self.site.clock)())?;
                }
                let guest = first.certificate.on.address();
                let host = self.site.guest_runner(first.id, guest.as_ref()).await?;
                embedded::put(&self.site, &host, &certificates, progress).await?
            }
            Issuer::StepCa | Issuer::Acme => renewing::obtain(&self.site, works, progress).await?,
        };
        self.site.change_mark(first.id, progress, |_, mark| CertificateMark::remember(mark, &marks)).await?;
        Ok(marks.into_iter().map(|(_, m)| format!("until {}", date(m.end))).collect())
    }
}

#[async_trait]
impl Crew for CertificateCrew {
    fn kind(&self) -> &'static str {
        kinds::CERTIFICATE
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        // A batch is all of one or all of the other.
        let (mut puts, mut removals) = (Vec::new(), Vec::new());
        for step in steps {
            match apply::work::<CertificateWork>(step) {
                Ok(CertificateWork::Put(put)) => puts.push(*put),
                Ok(CertificateWork::Remove(removal)) => removals.push(removal),
                Err(failure) => return steps.iter().map(|_| Err(failure.clone())).collect(),
            }
        }
        let done = match removals.is_empty() {
            true => self.bring(&puts, progress).await,
            false => removing::remove(&self.site, &removals, progress).await,
        };
        match done {
            Ok(words) => words.into_iter().map(|word| Ok(Done::new(word))).collect(),
            Err(failure) => steps.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

/// The path of a certificate in its guest.
pub fn path(name: &str) -> String {
    format!("{CERTIFICATES}/{name}/fullchain.pem")
}
