//! Stacks: projects of Docker Compose in guests. What brings one about there is a feature of its own, `stack` of the catalog, with a
//! record of its own; what Compose makes of it counts as done when all of its containers run.
//!
//! What is wanted follows in `plan::wire`; [`diff`] says what differs, and [`crew`] carries it out.

pub mod crew;
pub mod diff;
pub mod newest;

use std::sync::Arc;

use apply::Crew;
use async_trait::async_trait;
use plan::address::kinds;
use plan::desired::Stack;
use plan::{Address, Desired, Host};
use serde_json::{Value, json};

use crate::features::known;
use crate::features::look::{asked, rendered};
use crate::worksite::Worksite;
use crate::{Looked, Manager, Seen, Status, Within};

pub use crew::{Put, Removal, StackWork};

/// Stacks, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stacks;

/// The address that the secrets of a stack are remembered under, in the mark of its guest.
pub(crate) fn feature_address(stack: &str, host: &Host) -> Address {
    Address::feature(&Stack::feature_name(stack), host)
}

#[async_trait]
impl Manager for Stacks {
    fn kind(&self) -> &dyn plan::Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::StackCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let stack = desired.stacks.get(address.name()).filter(|_| address.kind() == kinds::STACK)?;
        let services = desired.services.values().filter(|it| it.stack.as_ref() == Some(&stack.name));
        let services: Vec<&str> = services.map(|service| service.name.as_str()).collect();
        Some(json!({
            "on": stack.host.to_string(),
            "project": stack.project,
            "folder": format!("/srv/stacks/{}", stack.name),
            "services": services.join(", "),
            "fingerprint": stack.feature.fingerprint,
            "declared": stack.declared.to_string(),
        }))
    }

    async fn look(&self, within: Within<'_>) -> Looked {
        let there = |stack: &&Stack| {
            let applied = within.mark.and_then(|mark| mark.fingerprint(&stack.resource()));
            stack.on == within.container.name && applied.is_some()
        };
        let stacks: Vec<&Stack> = within.desired.stacks.values().filter(there).collect();
        if stacks.is_empty() {
            return Looked::default();
        }
        let features: Vec<_> = stacks.iter().map(|stack| stack.feature.clone()).collect();
        let guest = within.container.resource();
        let seen = match rendered(&features) {
            Ok(rendered) => {
                asked(within.guest, &rendered, within.secrets, format!("looking at the stacks in {guest}"))
                    .await
            }
            Err(why) => Err(why),
        };
        let mut found = match seen {
            Ok(found) => found,
            Err(why) => return Looked::unseen(format!("the stacks in {guest}"), why),
        };
        let differs = |stack: &&Stack| {
            let sentences = found.remove(&stack.feature.name).filter(|found| !found.is_empty())?;
            Some((stack.resource(), sentences))
        };
        Looked { found: stacks.iter().filter_map(differs).collect(), ..Looked::default() }
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let Some(stack) = seen.desired.stacks.get(address.name()) else {
            return Status::by_plan(address, seen.plan);
        };
        if seen.desired.is_off(&stack.on) {
            return Status::new(address, "its guest is off");
        }
        let mark = seen.mark(&stack.on);
        let applied = mark.and_then(|mark| mark.fingerprint(address));
        let feature = feature_address(&stack.name, &stack.host);
        let secrets = mark.map(|mark| known::compare(seen.inventory, mark, &feature)).unwrap_or_default();
        let state = match applied {
            None => "not there yet",
            Some(applied) if applied == stack.feature.fingerprint && secrets.changed.is_empty() => "applied",
            Some(_) => "to be updated",
        };
        let sign = if state == "applied" { '✔' } else { '·' };
        let more = json!({ "on": stack.on.to_string(), "project": stack.project });
        Status::new(address, state).more(more).line(sign, format!("on {}  ({state})", stack.on))
    }

    fn list(&self) -> Option<&'static str> {
        Some("stacks")
    }
}
