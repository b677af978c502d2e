//! What differs inside a guest, or on the node, by looking: the script that brings its features about, run so that it only
//! reports; and what other kinds look at there. The marks are not believed here.

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::limits::LOOKS;
use blueprint::model::SecretRef;
use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, stream};
use plan::desired::{Feature, Guest};
use plan::inventory::Unread;
use plan::{Address, Desired, Host, Inventory, Mark, address};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use transport::Runner;

use super::check::check;
use super::heard::Heard;
use super::{Action, ActionKind, Change, Outcome, Rendered};
use crate::hypervisor;
use crate::ways::Ways;
use crate::worksite::Secrets;

/// Who looks. It has no way to change anything but for the script, which is made so that it does not.
#[derive(Debug)]
pub struct Looker<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// What is there.
    pub inventory: &'a Inventory,
    /// The ways into guests.
    pub ways: Ways,
    /// Who has the secrets that files hold: without them their checksums are not known.
    pub secrets: Arc<dyn Secrets>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// What is not as its mark says, such as features and certificates: each difference as a sentence.
    pub found: BTreeMap<Address, Vec<String>>,
    /// What could not be looked at, and why.
    pub unseen: Vec<Unread>,
    /// How many guests were looked into.
    pub guests: usize,
    /// Whether what is on the node itself was looked at.
    pub node: bool,
}

impl Looked {
    /// What could not be seen, and why.
    pub(crate) fn unseen(what: impl Into<String>, why: impl Into<String>) -> Self {
        let unseen = vec![Unread { what: what.into(), why: why.into() }];
        Self { unseen, ..Self::default() }
    }

    /// Takes in what was seen elsewhere.
    fn add(&mut self, other: Self) {
        let Self { found, unseen, guests, node } = other;
        for (address, sentences) in found {
            self.found.entry(address).or_default().extend(sentences);
        }
        self.unseen.extend(unseen);
        self.guests += guests;
        self.node |= node;
    }
}

/// A guest that can be looked into.
#[derive(Debug, Clone, Copy)]
pub struct Within<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// What it remembers.
    pub mark: Option<&'a Mark>,
    /// Which it is.
    pub container: &'a Guest,
    /// Commands in it.
    pub guest: &'a dyn Runner,
    /// Who has the secrets that files hold.
    pub secrets: &'a dyn Secrets,
}

/// The node itself, where something of the site's is on it.
#[derive(Debug, Clone, Copy)]
pub struct OnNode<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// What it remembers, which is this site's.
    pub mark: &'a Mark,
    /// Commands on it.
    pub node: &'a dyn Runner,
    /// What is not as the features there have it, each difference as a sentence, by feature.
    pub features: &'a BTreeMap<String, Vec<String>>,
}

impl Looker<'_> {
    /// Looks into the guests that `targets` name (their addresses, names or ids, or those of features on them; all where
    /// empty), and at the node likewise, a few at a time: in one round trip each, and one more where there are certificates.
    pub async fn look(&self, targets: &[String]) -> Looked {
        let wanted = |container: &&Guest| {
            let features = container.features.iter();
            let mut all =
                features.map(|f| Address::feature(&f.name, &container.host())).chain([container.resource()]);
            targets.is_empty()
                || all.any(|a| targets.iter().any(|t| address::matches(t, &a, Some(container.id))))
        };
        let ours = |container: &&Guest| !container.golden && self.applied(container).next().is_some();
        let guests = self.desired.guests.values().filter(|guest| guest.started).filter(wanted).filter(ours);
        let guests = guests.map(|container| (Some(&container.name), self.at_guest(container).boxed()));
        let mut asked: Vec<(_, BoxFuture<'_, Looked>)> = guests.collect();
        if let Some(mark) = self.node_mark().filter(|_| self.is_node_named(targets)) {
            asked.push((None, self.at_node(mark).boxed()));
        }
        let asked = asked.into_iter().map(|(name, looking)| async move { (name, looking.await) });
        let mut all: Vec<_> = stream::iter(asked).buffer_unordered(LOOKS).collect().await;
        all.sort_by_key(|(name, _)| *name);
        let mut looked = Looked::default();
        all.into_iter().for_each(|(_, seen)| looked.add(seen));
        looked
    }

    /// What the node remembers, where something of this site's is on it and is to be.
    fn node_mark(&self) -> Option<&Mark> {
        let wanted = self.desired.hypervisor.is_some() || !self.desired.on_node.is_empty();
        let mark = self.inventory.reached().hypervisor.as_ref().filter(|_| wanted);
        mark.filter(|mark| mark.site == self.desired.site)
    }

    /// Whether the node is among what is looked at.
    fn is_node_named(&self, targets: &[String]) -> bool {
        let certificate = self.desired.hypervisor.iter();
        let mut all = (certificate.flat_map(|node| &node.features).chain(&self.desired.on_node))
            .map(|f| Address::feature(&f.name, &Host::THE_NODE))
            .chain([Address::hypervisor_certificate()]);
        targets.is_empty() || all.any(|a| targets.iter().any(|t| address::matches(t, &a, None)))
    }

    async fn at_node(&self, mark: &Mark) -> Looked {
        let Some(node) = self.ways.first() else {
            return Looked::unseen("what is on the node", "there is no way to run commands on the node");
        };
        let certificate =
            self.desired.hypervisor.iter().filter(|wanted| hypervisor::is_applied(wanted, mark));
        let kept: Vec<Feature> =
            certificate.flat_map(|wanted| &wanted.features).chain(&self.desired.on_node).cloned().collect();
        if kept.is_empty() {
            return Looked::default();
        }
        let seen = match rendered(&kept) {
            Ok(mut rendered) => {
                // The node gets no programs.
                rendered.iter_mut().for_each(|feature| feature.artifacts.clear());
                asked(&**node, &rendered, &*self.secrets, "looking at what is on the node".to_owned()).await
            }
            Err(why) => Err(why),
        };
        let features = match seen {
            Ok(features) => features,
            Err(why) => return Looked::unseen("what is on the node", why),
        };
        let mut looked = Looked { node: true, ..Looked::default() };
        for feature in &self.desired.on_node {
            let address = Address::feature(&feature.name, &Host::THE_NODE);
            let same = mark.fingerprint(&address) == Some(&*feature.fingerprint);
            if let Some(found) = features.get(&feature.name).filter(|found| same && !found.is_empty()) {
                looked.found.insert(address, found.clone());
            }
        }
        let on = OnNode { desired: self.desired, mark, node: &**node, features: &features };
        for manager in crate::managers() {
            looked.add(manager.look_at_node(on).await);
        }
        looked
    }

    async fn at_guest(&self, container: &Guest) -> Looked {
        let mut looked = match self.guest(container).await {
            Ok(looked) => looked,
            Err(why) => return Looked::unseen(format!("what is inside {}", container.resource()), why),
        };
        looked.guests = 1;
        looked
    }

    /// The mark of a container, where what has its id is it.
    fn mark(&self, container: &Guest) -> Option<&Mark> {
        let mark = self.inventory.guests.get(&container.id)?.mark.as_ref()?;
        Some(mark).filter(|mark| mark.site == self.desired.site && mark.address == container.resource())
    }

    /// The features that the mark says are there as they are wanted now: what else there is to do, the plan knows.
    fn applied<'b>(&'b self, container: &'b Guest) -> impl Iterator<Item = &'b str> {
        let mark = self.mark(container);
        container
            .features
            .iter()
            .filter(move |f| {
                let applied = mark.and_then(|m| m.fingerprint(&Address::feature(&f.name, &container.host())));
                applied == Some(f.fingerprint.as_str())
            })
            .map(|f| f.name.as_str())
    }

    async fn guest(&self, container: &Guest) -> Result<Looked, String> {
        if self.inventory.guests.get(&container.id).is_some_and(|guest| !guest.running) {
            return Err("it does not run".to_owned());
        }
        // Secrets are in what is asked, so nobody else is.
        let mark = Some(self.mark(container).ok_or("what has its id is not the site's own")?);
        let guest = self.ways.guest(container.id);
        let guest = guest.map_err(|_| "there is no way to run commands on the node")?;
        // All of them, also those that are applied anyway: what one puts into a folder is nothing strange to another.
        let rendered = rendered(&container.features)?;
        let purpose = format!("looking at what is inside {}", container.id);
        let mut features = asked(&guest, &rendered, &*self.secrets, purpose).await?;
        let mut looked = Looked::default();
        for name in self.applied(container) {
            if let Some(found) = features.remove(name).filter(|found| !found.is_empty()) {
                looked.found.insert(Address::feature(name, &container.host()), found);
            }
        }
        let within =
            Within { desired: self.desired, mark, container, guest: &guest, secrets: &*self.secrets };
        for manager in crate::managers() {
            looked.add(manager.look(within).await);
        }
        Ok(looked)
    }
}

/// Features as they were rendered.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn rendered(features: &[Feature]) -> Result<Vec<Rendered>, String> {
    let all = features.iter().map(|f| serde_json::from_value(Value::clone(&f.payload)));
    all.collect::<Result<_, _>>().map_err(|error| format!("{error}"))
}

/// What of these features is not as it should be in a place, each difference as a sentence, by feature; also those are
/// there of which there is nothing to say.
///
/// # Errors
/// Why it could not be looked at.
pub(crate) async fn asked(
    place: &dyn Runner,
    rendered: &[Rendered],
    secrets: &dyn Secrets,
    purpose: String,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let secret =
        |reference: &SecretRef| secrets.resolve(reference).map(|secret| secret.expose_secret().to_owned());
    let heard = check(place, rendered, &secret, purpose).await.map_err(|f| f.errors.join(": "))?;
    Ok(differences(&heard))
}

/// What a script that only looks reported, by feature: each difference as a sentence.
fn differences(heard: &Heard) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // What stays is no difference.
    for action in heard.actions.iter().filter(|action| action.change != Change::Keep) {
        found.entry(action.feature.clone()).or_default().push(sentence(action));
    }
    for (feature, ended) in &heard.features {
        let all = found.entry(feature.clone()).or_default();
        if ended.result != Outcome::Ok {
            all.push(format!("it could not be looked at to its end: {}", ended.error()));
        } else if all.is_empty() && ended.changed > 0 {
            let s = if ended.changed == 1 { "" } else { "s" };
            all.push(format!("it differs in {} place{s}", ended.changed));
        }
    }
    found
}

/// What would be done, as what is the matter now.
fn sentence(action: &Action) -> String {
    let target = &action.target;
    let what = match action.kind {
        ActionKind::Package => format!("the package {target}"),
        ActionKind::User => format!("the user {target}"),
        ActionKind::Command => format!("the command \"{target}\""),
        ActionKind::Folder | ActionKind::File | ActionKind::Unit => target.clone(),
    };
    let is = match action.change {
        Change::Create => "is missing",
        Change::Update => "differs",
        Change::Remove => "should not be there",
        Change::Install => "is not installed",
        Change::Run => "has to be run",
        Change::Enable => "does not start at boot",
        Change::Disable => "starts at boot, and should not",
        Change::Start => "does not run",
        Change::Stop => "runs, and should not",
        Change::Reload => "has not read its settings as they are to be",
        Change::Restart => "has to be restarted",
        Change::Restore => "is not as it was before a feature changed it",
        Change::Keep => "stays",
    };
    format!("{what} {is}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = r#"{"result":"ok","changed":3}"#;

    #[test]
    fn differences_are_sentences_by_feature() {
        let report = [
            r#"{"feature":"gateway","action":"package","name":"nginx","change":"install","done":false}"#,
            r#"{"feature":"gateway","action":"file","path":"/etc/nginx/nginx.conf","change":"create","done":false}"#,
            r#"{"feature":"gateway","action":"unit","name":"nginx","change":"start","done":false}"#,
            r#"{"feature":"gateway","result":"ok","changed":3}"#,
            r#"{"feature":"base","result":"ok","changed":0}"#,
            DONE,
        ];
        let found = differences(&Heard::whole(&report.join("\n")).unwrap());
        assert_eq!(
            found["gateway"],
            ["the package nginx is not installed", "/etc/nginx/nginx.conf is missing", "nginx does not run"]
        );
        assert!(found["base"].is_empty());
    }

    #[test]
    fn what_could_not_be_looked_at_is_a_difference_too() {
        let failed = r#"{"feature":"x","result":"failed","changed":0,"error":"no such program"}"#;
        let more = r#"{"feature":"y","result":"ok","changed":2}"#;
        let end = r#"{"result":"failed","changed":2}"#;
        let found = differences(&Heard::whole(&[failed, more, end].join("\n")).unwrap());
        assert_eq!(found["x"], ["it could not be looked at to its end: no such program"]);
        assert_eq!(found["y"], ["it differs in 2 places"]);
    }
}
