//! Taking guests over that do not prove to be the site's own: after the key was lost, after a guest came back under another
//! id, or to put one under Phoenix' care that somebody made by hand.

use std::sync::Arc;

use apply::Progress;
use apply::event::Recorder;
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::{Address, address};

use crate::error::Error;
use crate::site::Site;

/// A guest that can be taken over.
#[derive(Debug)]
pub struct Foundling {
    /// What it will be.
    pub address: Address,
    /// Its id.
    pub id: u32,
    /// What it is called, and the node it is on.
    pub name: String,
    /// See `name`.
    pub node: String,
    /// Whether it runs.
    pub running: bool,
    /// What its description says it is, and why that is not believed; `None` where it says nothing.
    pub claim: Option<String>,
    digest: String,
}

fn refused(code: &str, what: String, hint: impl Into<String>) -> Error {
    Error::usage(code, what).hint(hint)
}

impl Site {
    /// What is there under the ids of the guests that `words` name, each by its address, name or id. Those that are the site's
    /// own already are left out.
    ///
    /// # Errors
    /// When the blueprint declares none of a name, or what is there cannot become it.
    pub fn foundlings(&self, words: &[String]) -> Result<Vec<Foundling>, Error> {
        let mut all = Vec::new();
        for word in words {
            let named = |guest: &&Wanted| address::names(word, &guest.resource(), Some(guest.id));
            let Some(wanted) = self.desired.guests.values().find(named) else {
                return Err(refused(
                    "adopt::not-declared",
                    format!("the blueprint declares no guest `{word}`"),
                    "declare it first, with the id of the guest that is there: only that can be taken over",
                ));
            };
            all.extend(self.foundling(wanted)?);
        }
        Ok(all)
    }

    fn foundling(&self, wanted: &Wanted) -> Result<Option<Foundling>, Error> {
        let (address, id) = (wanted.resource(), wanted.id);
        let Some(there) = self.inventory.guests.get(&id) else {
            return Err(refused(
                "adopt::not-there",
                format!("there is no guest {id}, which the blueprint declares as {address}"),
                "give it the id of the guest that is to be taken over; phoenix-cli up makes a new one",
            ));
        };
        if let Some(mark) = &there.mark {
            if mark.site == self.desired.site && mark.address == address {
                return Ok(None);
            }
            return Err(refused(
                "adopt::anothers",
                format!("{id} is {} of the site `{}`", mark.address, mark.site),
                "nobody's guest is taken away: remove the block ```phoenix from its description first",
            ));
        }
        let is = |guest: &&Guest| {
            guest.mark.as_ref().is_some_and(|m| m.site == self.desired.site && m.address == address)
        };
        if let Some(other) = self.inventory.guests.values().find(is) {
            return Err(refused(
                "adopt::there-already",
                format!("{} is {address} already, and it can only be one", other.id),
                format!("give {address} the id {} in the blueprint, or destroy that one first", other.id),
            ));
        }
        let odd = match there {
            Guest { vm: true, .. } => Some("is a virtual machine"),
            Guest { template: true, .. } => Some("is a template"),
            Guest { config: None, .. } => Some("could not be read"),
            _ if self.inventory.is_offline(&there.node) => Some("is on a node that is offline"),
            _ => None,
        };
        if let Some(odd) = odd {
            return Err(refused(
                "adopt::cannot-be",
                format!("{id} {odd}, and cannot become {address}"),
                "phoenix-cli status",
            ));
        }
        Ok(Some(Foundling {
            address,
            id,
            name: there.name.clone(),
            node: there.node.clone(),
            running: there.running,
            claim: there.claim.as_ref().map(ToString::to_string),
            digest: there.digest.clone(),
        }))
    }

    /// Takes one over: it gets the tag and a mark that the site's key made, and nothing else of it changes. The next plan
    /// shows what differs, and applies again all that is in it.
    ///
    /// # Errors
    /// When it was changed since it was found, or the node refuses.
    pub async fn adopt(&self, foundling: &Foundling) -> Result<(), Error> {
        let Foundling { address, id, digest, .. } = foundling;
        let progress = Progress::new(address.clone(), Arc::new(Recorder::default()));
        let worksite = self.worksite_to_adopt()?;
        worksite.adopt(*id, address, digest, &progress).await?;
        self.cross_out(&worksite, false)
    }
}
