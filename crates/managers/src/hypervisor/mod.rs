//! The node itself: the certificate that its API shows.
//!
//! It is made as those of guests are. Phoenix' own authority signs it here, when it applies; where the workshop's authority
//! is in a container, the node renews it by itself, and asks inside that container, since it is root there: so neither a
//! name nor a network has to work for it. What is done on the node is remembered on the node ([`proxmox::inventory::MARK`]).

mod crew;
mod look;
pub(crate) mod memory;
mod placed;

pub use crew::HypervisorCrew;
pub(crate) use look::is_applied;
pub use placed::{placed, read_placed};

use std::sync::Arc;

use apply::{Crew, Failure};
use async_trait::async_trait;
use blueprint::model::{RENEWS, TRUSTS};
use plan::address::kinds;
use plan::desired::{Certificate, Feature, HYPERVISOR, Issuer};
use plan::inventory::Unread;
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::{Action, Address, Change, Desired, Inventory, Problem, Step};
use proxmox::inventory::{Guests, MARK};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transport::Command;

use crate::certificates::{
    Anew, CertificateMark, date, due, facts_of, new_authority, promised, signing, status_of,
};
use crate::settle;
use crate::worksite::{HostRunner, Worksite};
use crate::{Looked, Manager, OnNode, Seen, Status};

/// The node's own resources, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hypervisors;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HypervisorWork {
    /// It is to have a certificate.
    Put(Box<Put>),
    /// What it remembers was written before the site had a key, and is to be sealed.
    Seal {
        /// The node's name.
        node: String,
    },
    /// It is to have none of the workshop's.
    Remove {
        /// The node's name.
        node: String,
        /// The container whose authority admitted it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authority: Option<u32>,
        /// The features that keep it.
        features: Vec<String>,
    },
}

/// What is put on the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The node's name.
    pub node: String,
    /// The certificate.
    pub certificate: Certificate,
    /// What keeps it, rendered, in order.
    pub features: Vec<Value>,
    /// The container whose authority signs it; Phoenix' own does where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<u32>,
    /// Whether what there is may have been taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew: Option<Anew>,
    /// What the node will remember, but for the certificate itself.
    pub mark: Mark,
}

/// Why a node is touched beyond its API.
const ROOT: &str = "the certificate and what renews it are put on the node itself";

#[async_trait]
impl Manager for Hypervisors {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(HypervisorCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let node = desired.hypervisor.as_ref().filter(|_| *address == Address::hypervisor_certificate())?;
        let mut facts = facts_of(&node.certificate);
        facts["declared"] = node.declared.to_string().into();
        Some(facts)
    }

    /// What was done on the node, as it remembers it.
    fn observe(&self, read: &mut Guests, inventory: &mut Inventory) {
        match read.mark.take().map(|text| plan::mark::read(&text)).transpose() {
            Ok(read) => inventory.reached_mut().read = read,
            Err(error) => inventory.unread.push(Unread {
                what: format!("what was done on the node ({MARK})"),
                why: format!("{error}"),
            }),
        }
    }

    async fn look_at_node(&self, on: OnNode<'_>) -> Looked {
        look::look(on).await
    }

    fn needs_root(&self, step: &Step, authority: &pki::Authority, now: jiff::Timestamp) -> pki::NeedsRoot {
        match apply::work::<HypervisorWork>(step) {
            Ok(HypervisorWork::Put(put)) => signing(&put.certificate, put.anew, authority, now),
            _ => pki::NeedsRoot::No,
        }
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        match &seen.desired.hypervisor {
            Some(node) => status_of(address, &node.certificate, seen.node_mark(), seen.now),
            None => Status::by_plan(address, seen.plan),
        }
    }
}

impl Kind for Hypervisors {
    fn kind(&self) -> &'static str {
        kinds::HYPERVISOR
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        let there = world.inventory.reached().hypervisor.as_ref();
        let ours = there.filter(|mark| mark.site == world.desired.site);
        let wanted = world.desired.hypervisor.as_ref().filter(|_| !world.options.destroy);
        let address = Address::hypervisor_certificate();
        let signs = world.desired.authority.as_ref().and_then(|a| world.desired.guests.get(&a.on));
        if let Some(claim) = &world.inventory.reached().claim {
            proposal.note(format!(
                "what the node remembers says that it is of {}, and this site's key did not make it: it counts for nothing",
                claim.address
            ));
        }
        let Some(wanted) = wanted else {
            // Others may have something there as well.
            let keeps = |mark: &&Mark| mark.names(kinds::FEATURE).any(is_of_certificate);
            if let Some(ours) = ours.filter(keeps) {
                let node = world.inventory.command_node().to_owned();
                let features = ours.names(kinds::FEATURE).filter(|name| is_of_certificate(name));
                let features = features.map(str::to_owned).collect();
                let signs = signs.filter(|_| !world.options.destroy);
                let step = step(Action::Delete, "the node is to show its own certificate again")
                    .needs(signs.map(|c| Address::authority(&c.name)));
                proposal
                    .step(step, &HypervisorWork::Remove { node, authority: signs.map(|c| c.id), features });
            }
            return;
        };
        if let Some(other) = there.filter(|mark| mark.site != world.desired.site) {
            proposal.problem(another_site(address, other, &world.desired.site, "certificate"));
            return;
        }
        let certificate = &wanted.certificate;
        let known = ours.and_then(|mark| CertificateMark::of(mark, &Address::certificate(HYPERVISOR)));
        let known = known.as_ref();
        let feature = |f: &Feature| Address::feature(&f.name, &certificate.on);
        let renews = wanted
            .features
            .iter()
            .all(|f| ours.and_then(|m| m.fingerprint(&feature(f))) == Some(f.fingerprint.as_str()));
        let mut mark = Mark::new(&world.desired.site, address.clone());
        for wanted in &wanted.features {
            mark.remember(&feature(wanted), wanted.fingerprint.as_str());
        }
        let anew = Anew::of(world, &certificate.on).filter(|_| known.is_some());
        let node = world.inventory.command_node().to_owned();
        let put = Put {
            anew: anew.map(|(anew, _)| anew).or_else(|| Anew::of_other(certificate, known)),
            node: node.clone(),
            certificate: certificate.clone(),
            features: wanted.features.iter().map(|f| Value::clone(&f.payload)).collect(),
            authority: signs.filter(|_| certificate.issuer == Issuer::StepCa).map(|c| c.id),
            mark,
        };
        if let Some(problem) = elsewhere(world, put.authority) {
            proposal.problem(problem);
            return;
        }
        let found = ours.and_then(|_| world.inventory.found.get(&address));
        let step = |action, reason: String| placing(&put, known.map(|m| date(m.end)), action, reason);
        let work = || HypervisorWork::Put(Box::new(put.clone()));
        let anew = anew.map(|(_, why)| (Action::Update, why.to_owned()));
        match anew.or_else(|| due(certificate, known, world.options.now)) {
            Some((action, reason)) => proposal.step(step(action, reason), &work()),
            None if !renews => {
                proposal
                    .step(step(Action::Update, "what keeps it on the node has changed".to_owned()), &work());
            }
            None if found.is_some() => {
                let reason = found.map(|found| found.join("; ")).unwrap_or_default();
                proposal.step(step(Action::Update, reason), &work());
            }
            None if world.inventory.reached().old => {
                let reason =
                    "what the node remembers was written before the site had a key, and is taken over";
                let sealed = Change::new("mark", "not sealed", "sealed").note("by the site's key, once");
                let step = self::step(Action::Update, reason).change(sealed);
                proposal.step(step, &HypervisorWork::Seal { node });
            }
            // A new authority knows nobody.
            None => {
                if let (Some(_), Some(authority)) = (put.authority, new_authority(world, proposal)) {
                    let reason = "its authority is made anew and has to know the node".to_owned();
                    proposal.step_if_any([authority], step(Action::Update, reason), &work());
                }
            }
        }
    }
}

/// Why the node cannot ask the authority, where that is so: it asks inside the container, as root on the node, and a node runs
/// commands only in containers of its own.
fn elsewhere(world: World<'_>, authority: Option<u32>) -> Option<Problem> {
    let (id, inventory) = (authority?, world.inventory);
    let guest = world.desired.guests.values().find(|guest| guest.id == id)?;
    let declared = guest.node.as_ref().or(world.desired.node.as_ref()).map(ToString::to_string);
    let there = inventory.guests.get(&id).map(|guest| guest.node.clone());
    let on = there.or(declared).unwrap_or_else(|| inventory.node.clone());
    let node = inventory.command_node();
    (on != node).then(|| Problem {
        code: "hypervisor::authority-elsewhere".into(),
        address: Address::hypervisor_certificate(),
        message: format!(
            "{node} asks the workshop's authority inside {}, which is on {on}: it can only ask one of its own",
            guest.resource()
        ),
        hint: format!("move it: pct migrate {id} {node}; or let ssh lead to {on}"),
    })
}

fn placing(put: &Put, ends: Option<String>, action: Action, reason: String) -> Step {
    step(action, reason)
        .change(Change::new("names", Value::Null, put.certificate.names.join(", ")))
        .change(promised(&put.certificate, ends))
}

/// What is wrong where the node is another site's to look after; `key` of `hypervisor` is what would change it.
pub(crate) fn another_site(address: Address, other: &Mark, site: &str, key: &str) -> Problem {
    let hint = match other.is_newer(site) {
        true => "use the newer Phoenix that was here last".to_owned(),
        false => format!("one site looks after a node: remove `hypervisor.{key}` from one of them"),
    };
    let message = format!("the node is looked after by the site `{}`", other.site);
    Problem::new(address, "hypervisor::another-site", message, hint)
}

/// Whether a feature on the node is one of those that keep its certificate.
pub(crate) fn is_of_certificate(feature: &str) -> bool {
    [TRUSTS, RENEWS].contains(&feature)
}

/// With the node to itself: one at a time, and what it remembers is changed by nobody else meanwhile.
pub(crate) fn hold(step: Step) -> Step {
    Step { holds: vec![HYPERVISOR.to_owned()], ..step }
}

/// A command on the node that has to succeed.
///
/// # Errors
/// When it does not, or the node cannot be reached.
async fn checked(host: &HostRunner, command: &Command) -> Result<(), Failure> {
    let output = settle::command(&*host.runner, command).await?;
    if output.success() {
        return Ok(());
    }
    Err(Failure::new("hypervisor::refused", format!("failed while {}", command.purpose))
        .with_output(output.tail(8))
        .hint("phoenix-cli apply tries again"))
}

/// The node's API starts anew, which a browser and Phoenix itself survive; no guest is touched.
fn step(action: Action, reason: impl Into<String>) -> Step {
    hold(Step::new(Address::hypervisor_certificate(), action).reason(reason).root(ROOT))
}
