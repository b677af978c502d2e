//! What a plan takes on trust: what is inside guests, and that services answer. Looked at when it is asked for, or when a
//! service does not answer.

use std::collections::BTreeSet;

use apply::Failure;
use apply::limits::LOOKS;
use camino::Utf8PathBuf;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use managers::features::look::{Looked, Looker};
use plan::desired::Service;
use plan::{Address, Plan, address};
use serde::{Deserialize, Serialize};

use crate::environment::Listener;
use crate::error::Error;
use crate::folders::{made_state, state};
use crate::site::Site;
use crate::trace::Question;

/// How many of the services that do not answer are followed hop by hop: half a minute each, and what keeps them from
/// answering is mostly the same.
const TRACED: usize = 3;

/// A service that did not answer.
#[derive(Debug, Clone)]
pub struct Silent {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub url: String,
    /// What was seen instead.
    pub failure: Failure,
}

impl Silent {
    /// The service's address.
    pub fn address(&self) -> Address {
        Address::service(&self.name)
    }

    fn sentence(&self) -> String {
        format!("it does not answer: {}", self.failure.errors.join(": "))
    }
}

/// When somebody looked inside last: a cache, that may be deleted.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// When all guests were looked into.
    at: Timestamp,
}

impl Site {
    /// When all guests were looked into last, from this folder.
    pub fn looked_at(&self) -> Option<Timestamp> {
        let text = fs_err::read(self.looked_file()).ok()?;
        serde_json::from_slice::<Remembered>(&text).ok().map(|remembered| remembered.at)
    }

    fn looked_file(&self) -> Utf8PathBuf {
        state(&self.blueprint.root).join("looked.json")
    }

    fn remember(&self, at: Timestamp) {
        // Whoever looks at a site that was never applied from here leaves nothing.
        if self.authority.is_none() {
            return;
        }
        let file = self.looked_file();
        let text = serde_json::to_vec(&Remembered { at }).unwrap_or_default();
        // A cache: where it cannot be written, the next plan says what it said before.
        let _ = made_state(&self.blueprint.root);
        let _ = private::write(&file, &text);
    }

    async fn look_into(&self, targets: &[String]) -> Looked {
        let looker = Looker {
            desired: &self.desired,
            inventory: &self.inventory,
            ways: self.connection.ways.clone(),
            secrets: self.secrets(),
        };
        looker.look(targets).await
    }

    /// Looks inside guests, and asks services, of a site that was looked at; of `targets` alone where some are given.
    /// The next plan puts right what was found. Nothing is changed.
    ///
    /// # Errors
    /// When there is no such target, or the authority cannot be used.
    pub async fn look_inside(&mut self, targets: &[String]) -> Result<Looked, Error> {
        self.known(targets)?;
        let (looked, silent) = futures::join!(self.look_into(targets), self.ask(targets));
        let silent = silent?;
        if targets.is_empty() && looked.unseen.is_empty() {
            self.remember(Timestamp::now());
        }
        self.inventory.unread.extend(looked.unseen.iter().cloned());
        self.inventory.found.extend(looked.found.clone());
        self.inventory.found.extend(silent.iter().map(|s| (s.address(), vec![s.sentence()])));
        Ok(looked)
    }

    /// Asks services once, as a client would, and says which do not answer; those that `targets` name or that are on guests
    /// which they name, all where empty. In a simulated lab nothing answers, so nothing is asked.
    ///
    /// # Errors
    /// When the authority cannot be used.
    pub async fn ask(&self, targets: &[String]) -> Result<Vec<Silent>, Error> {
        if self.connection.simulated() {
            return Ok(Vec::new());
        }
        let prober = self.prober()?;
        let asked = self.asked(targets).map(|service| {
            let prober = prober.clone();
            async move { (service, prober.probe(service).await) }
        });
        let mut silent: Vec<Silent> = stream::iter(asked)
            .buffer_unordered(LOOKS)
            .filter_map(|(service, answer)| async move {
                let failure = answer.err()?;
                Some(Silent { name: service.name.clone(), url: service.url(), failure })
            })
            .collect()
            .await;
        silent.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(silent)
    }

    /// The services that [`Self::ask`] asks.
    pub fn asked<'a>(&'a self, targets: &'a [String]) -> impl Iterator<Item = &'a Service> {
        let named = |address: &Address, id| targets.iter().any(|t| address::matches(t, address, id));
        self.desired.services.values().filter(move |service| {
            let guest = self.desired.guests.get(&service.on);
            targets.is_empty()
                || named(&Address::service(&service.name), None)
                || guest.is_some_and(|guest| named(&guest.resource(), Some(guest.id)))
        })
    }

    /// Looks into the guests on the way to services that do not answer: what would put them right, which is nothing where
    /// nothing was found.
    ///
    /// # Errors
    /// When the target does not answer any more.
    pub async fn mend(&mut self, silent: &[Silent], listener: &dyn Listener) -> Result<Plan, Error> {
        self.look_settled(listener).await?;
        let services: Vec<&Service> =
            silent.iter().filter_map(|s| self.desired.services.get(&s.name)).collect();
        let names = self.desired.dns.iter().map(|(guest, _)| guest);
        let way = services.iter().flat_map(|s| std::iter::once(&s.on).chain(s.via.iter().map(|via| &via.on)));
        let guests: BTreeSet<String> =
            way.chain(names).map(|guest| self.desired.called(guest).to_string()).collect();
        let looked = self.look_into(&guests.into_iter().collect::<Vec<_>>()).await;
        self.inventory.unread.extend(looked.unseen);
        let targets: Vec<String> = looked
            .found
            .keys()
            .cloned()
            .chain(silent.iter().map(Silent::address))
            .map(|address| address.to_string())
            .collect();
        self.inventory.found = looked.found;
        let plan = self.plan(&targets, false)?;
        if plan.steps.is_empty() {
            return Ok(plan);
        }
        self.inventory.found.extend(silent.iter().map(|s| (s.address(), vec![s.sentence()])));
        self.plan(&targets, false)
    }

    /// What keeps services from answering, as an error: what `trace` finds.
    pub async fn unanswered(&self, silent: &[Silent]) -> Error {
        let mut error = Error::failed("apply::unanswered", "");
        let urls: Vec<&str> = silent.iter().map(|s| s.url.as_str()).collect();
        let verb = if urls.len() == 1 { "does" } else { "do" };
        error.errors = vec![format!("{} {verb} not answer", urls.join(", "))];
        let traced = silent.iter().take(TRACED).map(|silent| async move {
            let address = silent.address().to_string();
            let question = Question::new(&self.blueprint, &self.desired, &address, &[]).ok()?;
            let traced = self.trace(&question).await.ok()?;
            traced.worst().cloned()
        });
        let findings = futures::future::join_all(traced).await;
        for (silent, finding) in silent.iter().zip(findings) {
            let seen = match &finding {
                Some(finding) => format!("{} ({})", finding.seen, finding.place),
                None => silent.failure.errors.join(": "),
            };
            let (why, hint) = match finding.and_then(|finding| finding.cause) {
                Some(cause) => (format!("\n{}", cause.text), Some(cause.hint)),
                None => (String::new(), silent.failure.hint.clone()),
            };
            // One place is wrong for many, mostly.
            if why.is_empty() || !error.errors.iter().any(|said| said.ends_with(&why)) {
                error.errors.push(format!("{}: {seen}{why}", silent.address()));
            }
            error.hint = error.hint.or(hint);
        }
        let first = silent.first().map(|s| format!("phoenix-cli trace {}", s.address()));
        Error { hint: error.hint.or(first), ..error }
    }
}
