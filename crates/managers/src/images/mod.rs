//! Container templates and images of virtual machines: what guests are made of is put on their nodes before they are made.
//!
//! What is there and fits is never fetched again, nothing is ever removed, and no guest that is there changes: a newer one is
//! for new guests alone (T-15). A guest's kind asks [`template`] or [`image`] what the guest is made of, and has making it need
//! the step that is named there.

mod crew;
mod find;
mod look;
mod made;
mod names;

use std::sync::Arc;

use apply::Crew;
use blueprint::model::{Content, ImageFrom};
use camino::Utf8PathBuf;
use plan::address::kinds;
use plan::desired::Image;
use plan::host::Host;
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::{Action, Address, Change, Desired, Problem, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use find::{Lack, Source, image, template};
pub use look::look;

use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};
use find::{Found, declared, undeclared};

/// Templates, or images: the kind of their addresses.
#[derive(Debug, Clone, Copy)]
pub struct Images(&'static str);

/// Container templates, for planning.
pub const TEMPLATES: Images = Images(kinds::TEMPLATE);

/// Images of virtual machines, for planning.
pub const IMAGES: Images = Images(kinds::IMAGE);

/// The instruction of a step: a file that is to come to lie on a storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fetch {
    /// The node.
    pub node: String,
    /// The storage.
    pub storage: String,
    /// What it is.
    pub content: Content,
    /// Its name there.
    pub file: String,
    /// Where it comes from.
    pub from: From,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The node's own catalogue.
    Catalogue,
    /// The web: the node fetches it.
    Url {
        /// From where.
        url: String,
        /// Its SHA-256.
        sha256: Option<String>,
    },
    /// The site's folder: it is uploaded.
    File {
        /// Below the site's folder.
        path: Utf8PathBuf,
        /// In bytes.
        size: u64,
        /// Its SHA-256.
        sha256: Option<String>,
    },
}

impl Fetch {
    /// The volume that it becomes.
    pub fn volume(&self) -> String {
        format!("{}:{}/{}", self.storage, self.content.as_str(), self.file)
    }

    /// Where it comes from, for people.
    pub fn source(&self) -> &str {
        match &self.from {
            From::Catalogue => "the node's catalogue",
            From::Url { url, .. } => url,
            From::File { path, .. } => path.as_str(),
        }
    }

    fn step(&self, address: Address, reason: String) -> Step {
        Step::new(address, Action::Create)
            .reason(reason)
            .change(Change::new("file", Value::Null, self.file.clone()))
            .change(Change::new("node", Value::Null, self.node.clone()))
            .change(Change::new("storage", Value::Null, self.storage.clone()))
            .change(Change::new("from", Value::Null, self.source()))
            .hold("node", &self.node)
            .hold("volume", self.volume())
    }
}

impl Manager for Images {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::ImageCrew::new(self.0, site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let image = desired.images.get(address)?;
        let node = image.node.as_ref().map_or("the one that answers", |name| name);
        let (from, stored) = match &image.from {
            ImageFrom::Catalogue(begin) => (format!("the node's catalogue: {begin}"), None),
            ImageFrom::Url { url, stored, .. } => (url.clone(), Some(stored)),
            ImageFrom::File { path, stored, .. } => (path.to_string(), Some(stored)),
            ImageFrom::Golden(name) => (desired.called(name).to_string(), None),
            ImageFrom::Guest(id) => (format!("the guest {id}"), None),
        };
        let mut facts = json!({
            "declared": image.declared.to_string(), "node": node, "from": from, "content": image.content.as_str(),
        });
        let more = stored
            .map(|file| ("file", file))
            .into_iter()
            .chain(image.storage.as_ref().map(|it| ("storage", it)));
        more.for_each(|(key, value)| facts[key] = value.as_str().into());
        Some(facts)
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        Status::by_plan(address, seen.plan)
    }
}

impl Kind for Images {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        for (address, image) in world.desired.images.iter().filter(|(address, _)| address.kind() == self.0) {
            self.diff_declared(world, address, image, proposal);
        }
        if self.0 == kinds::TEMPLATE {
            implied(world, proposal);
        }
    }

    fn telling(&self, step: &Step) -> Telling {
        let verb = if made::is_one(step) { "make a template of" } else { "fetch" };
        Telling { verb: Some(verb), ..Telling::default() }
    }
}

impl Images {
    fn diff_declared(&self, world: World<'_>, address: &Address, image: &Image, proposal: &mut Proposal) {
        if image.from.is_cloned() {
            return made::diff(world, address, image, proposal);
        }
        let inventory = world.inventory;
        let node = image.node.as_ref().map_or(inventory.node.as_str(), |name| name);
        if inventory.is_offline(node) {
            proposal.note(format!(
                "{address} is to be on {node}, which is offline: it is fetched once {node} is back"
            ));
            return;
        }
        let problem = match declared(world, image, node) {
            Ok(Found::There(_)) => return,
            Ok(Found::Missing(fetch)) => {
                let reason = format!("declared in {}", image.declared);
                return proposal.step(fetch.step(address.clone(), reason), &*fetch);
            }
            Err(lack) => lack,
        };
        // Where a guest is to be made of it, the guest has said it.
        let mut users = world
            .desired
            .guests
            .values()
            .filter(|guest| guest.is_made_of(image) && world.desired.node_of(guest) == image.node);
        if !users.any(|guest| proposal.has_problem(&guest.resource())) {
            proposal.problem(problem.problem(address.clone()));
        }
    }
}

/// What guests that are about to be made name, and the blueprint does not declare.
fn implied(world: World<'_>, proposal: &mut Proposal) {
    for guest in world.desired.guests.values() {
        let Some(own) = guest.container() else { continue };
        let on = world.desired.node_of(guest);
        let address = Address::template(&own.template, &Host::Node(on.clone()));
        let known = world.desired.images.contains_key(&address)
            || proposal.has(&address)
            || world.desired.cloned_from(guest).is_some();
        if known || !proposal.makes_anew(&guest.resource()) {
            continue;
        }
        let node = on.as_ref().map_or(world.inventory.node.as_str(), |name| name);
        // What is wrong, the guest has said.
        if let Ok(Found::Missing(fetch)) = undeclared(world, &own.template, node) {
            let reason = format!("{} is made of it", guest.resource());
            proposal.step(fetch.step(address, reason), &*fetch);
        }
    }
}

impl Lack {
    /// As a problem of what lacks it.
    pub fn problem(self, address: Address) -> Problem {
        Problem::new(address, self.code, self.message, self.hint)
    }
}
