//! What differs inside a guest, by looking: the script that brings its features about, run so that it only reports; and what
//! other kinds look at in it. The marks are not believed here.

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::limits::LOOKS;
use blueprint::model::SecretRef;
use futures::{StreamExt as _, stream};
use plan::desired::Guest;
use plan::inventory::Unread;
use plan::{Address, Desired, Inventory, Mark, address};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use transport::InGuest;

use super::check::check;
use super::heard::Heard;
use super::{Action, ActionKind, Change, Outcome, Rendered};
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
    /// The features and certificates that are not as their mark says: each difference as a sentence.
    pub found: BTreeMap<Address, Vec<String>>,
    /// The guests that could not be looked into, and why.
    pub unseen: Vec<Unread>,
    /// How many were looked into.
    pub guests: usize,
}

/// What was seen in one guest.
#[derive(Debug)]
struct Inside {
    /// Sentences by feature, also of those where there is nothing to say.
    features: BTreeMap<String, Vec<String>>,
    /// What other kinds found.
    others: Vec<Looked>,
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
    pub guest: &'a InGuest,
}

impl Looker<'_> {
    /// Looks into the guests that `targets` name (their addresses, names or ids, or those of features on them; all where
    /// empty), a few at a time: in one round trip each, and one more where there are certificates.
    pub async fn look(&self, targets: &[String]) -> Looked {
        let wanted = |container: &&Guest| {
            let features = container.features.iter();
            let mut all =
                features.map(|f| Address::feature(&f.name, &container.host())).chain([container.resource()]);
            targets.is_empty()
                || all.any(|a| targets.iter().any(|t| address::matches(t, &a, Some(container.id))))
        };
        let ours = |container: &&Guest| self.applied(container).next().is_some();
        let guests = self.desired.guests.values().filter(wanted).filter(ours);
        let asked = guests.map(|container| async move { (container, self.guest(container).await) });
        let mut all: Vec<_> = stream::iter(asked).buffer_unordered(LOOKS).collect().await;
        all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let mut looked = Looked::default();
        for (container, seen) in all {
            match seen {
                Ok(seen) => {
                    looked.guests += 1;
                    for other in seen.others {
                        looked.found.extend(other.found);
                        looked.unseen.extend(other.unseen);
                    }
                    let mut differences = seen.features;
                    for name in self.applied(container) {
                        if let Some(found) = differences.remove(name).filter(|found| !found.is_empty()) {
                            looked.found.insert(Address::feature(name, &container.host()), found);
                        }
                    }
                }
                Err(why) => {
                    looked
                        .unseen
                        .push(Unread { what: format!("what is inside {}", container.resource()), why });
                }
            }
        }
        looked
    }

    /// The features that the mark says are there as they are wanted now: what else there is to do, the plan knows.
    fn applied<'b>(&'b self, container: &'b Guest) -> impl Iterator<Item = &'b str> {
        let guest = self.inventory.guests.get(&container.id);
        let mark = guest
            .and_then(|g| g.mark.as_ref())
            .filter(|mark| mark.site == self.desired.site && mark.address == container.resource());
        container
            .features
            .iter()
            .filter(move |f| {
                let applied = mark.and_then(|m| m.fingerprint(&Address::feature(&f.name, &container.host())));
                applied == Some(f.fingerprint.as_str())
            })
            .map(|f| f.name.as_str())
    }

    async fn guest(&self, container: &Guest) -> Result<Inside, String> {
        if self.inventory.guests.get(&container.id).is_some_and(|guest| !guest.running) {
            return Err("it does not run".to_owned());
        }
        let guest = self.ways.guest(container.id);
        let guest = guest.map_err(|_| "there is no way to run commands on the node")?;
        // All of them, also those that are applied anyway: what one puts into a folder is nothing strange to another.
        let rendered: Vec<Rendered> = container
            .features
            .iter()
            .map(|f| serde_json::from_value(Value::clone(&f.payload)))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{error}"))?;
        let secret = |reference: &SecretRef| {
            self.secrets.resolve(reference).map(|secret| secret.expose_secret().to_owned())
        };
        let purpose = format!("looking at what is inside {}", container.id);
        let heard = check(&guest, &rendered, &secret, purpose).await.map_err(|f| f.errors.join(": "))?;
        let features = differences(&heard);
        let mark = self.inventory.guests.get(&container.id).and_then(|g| g.mark.as_ref());
        let within = Within { desired: self.desired, mark, container, guest: &guest };
        let mut others = Vec::new();
        for manager in crate::managers() {
            others.push(manager.look(within).await);
        }
        Ok(Inside { features, others })
    }
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
