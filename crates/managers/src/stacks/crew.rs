//! Carrying out stacks: one after the other in a guest, each with a script of its own, so that one that fails holds back no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::desired::Stack;
use plan::{Address, Host, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::feature_address;
use crate::features::crew::{bring, take_away, words};
use crate::features::{Action, Rendered, known};
use crate::worksite::Worksite;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackWork {
    /// A guest is to have it.
    Put(Put),
    /// A guest is no longer to have it.
    Remove(Removal),
}

/// A stack as a guest is to have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The id of its guest.
    pub id: u32,
    /// The guest.
    pub on: Host,
    /// What the mark will say.
    pub fingerprint: String,
    /// What brings it about, rendered.
    pub rendered: Value,
}

/// A stack that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The id of its guest.
    pub id: u32,
    /// The guest.
    pub on: Host,
    /// Its name.
    pub name: String,
}

/// What a step brings about, and the id of the guest; `None` for any other step.
pub(crate) fn installed(step: &Step) -> Option<(u32, Rendered)> {
    let Ok(StackWork::Put(put)) = apply::work(step) else { return None };
    Some((put.id, serde_json::from_value(put.rendered).ok()?))
}

/// The crew for stacks.
#[derive(Debug, Clone)]
pub struct StackCrew {
    site: Arc<Worksite>,
}

impl StackCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    async fn put(&self, put: &Put, step: &Step, progress: &Progress) -> Result<Done, Failure> {
        let rendered: Rendered =
            serde_json::from_value(put.rendered.clone()).map_err(|error| apply::crew::unreadable(&error))?;
        let name = step.address.name();
        let host = self.site.guest_runner(put.id, put.on.address().as_ref()).await?;
        let tell = |action: &Action| progress.changed(words(action));
        let doing =
            |_: String| progress.doing(format!("bringing up {name}, with what has to be fetched for it"));
        let features = [rendered];
        let heard = bring(&self.site, &host, &features, progress, &doing, &tell).await?;
        let [rendered] = &features;
        let changed = heard.outcome(&rendered.name, &host).map_err(|failure| {
            failure
                .while_doing(format!("the stack {name} does not run in {host}"))
                .hint(host.typed(&format!("sh -c 'cd /srv/stacks/{name} && docker compose logs --tail 50'")))
        })?;
        let feature = feature_address(name, &put.on);
        let codes = known::codes(&self.site, &feature, &rendered.secrets)?;
        self.site
            .change_mark(put.id, progress, |_, mark| {
                mark.remember(&Address::stack(name), put.fingerprint.as_str());
                mark.remember_secrets(&rendered.name, codes.clone());
            })
            .await?;
        let s = if changed == 1 { "" } else { "s" };
        Ok(Done::new(format!("all of its containers run; {changed} action{s}")))
    }

    async fn remove(&self, removal: &Removal, progress: &Progress) -> Result<Done, Failure> {
        let name = Stack::feature_name(&removal.name);
        let host = self.site.guest_runner(removal.id, removal.on.address().as_ref()).await?;
        progress.doing(format!("ending the containers of {}", removal.name));
        let tell = |action: &Action| progress.changed(words(action));
        let heard = take_away(&host, std::slice::from_ref(&name), &[], progress, &tell).await?;
        let said = heard.removed(&name, &host)?;
        self.site
            .change_mark(removal.id, progress, |_, mark| {
                mark.forget(&Address::stack(&removal.name));
                mark.remember_secrets(&name, BTreeMap::new());
            })
            .await?;
        Ok(Done::new(format!("{said}; its volumes stay")))
    }
}

#[async_trait]
impl Crew for StackCrew {
    fn kind(&self) -> &'static str {
        kinds::STACK
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            let progress = progress.for_step(&step.address);
            results.push(match apply::work::<StackWork>(step) {
                Ok(StackWork::Put(put)) => self.put(&put, step, &progress).await,
                Ok(StackWork::Remove(removal)) => self.remove(&removal, &progress).await,
                Err(failure) => Err(failure),
            });
        }
        results
    }
}
