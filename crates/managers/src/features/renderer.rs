//! Rendering for wiring: every feature of the blueprint, for every guest. What does not depend on the guest is rendered
//! once for all, so that a thousand guests cost little more than one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint::catalog::{CertificateUse, Feature};
use blueprint::model::{Blueprint, FeatureUse};
use plan::wire::{self, SiteFacts, WireError};
use plan::{Address, Host};
use serde_json::Value;

use super::{GuestFacts, order, render};

type Made = (String, Arc<Value>);

/// Renders the features of one blueprint.
#[derive(Debug)]
pub struct Renderer<'a> {
    features: &'a BTreeMap<String, Arc<Feature>>,
    by_guest: BTreeMap<&'a str, bool>,
    made: RefCell<BTreeMap<String, Made>>,
}

impl<'a> Renderer<'a> {
    /// For the features of `blueprint`.
    pub fn new(blueprint: &'a Blueprint) -> Self {
        let by_guest =
            blueprint.features.iter().map(|(name, f)| (name.as_str(), mentions_guest(f))).collect();
        Self { features: &blueprint.features, by_guest, made: RefCell::default() }
    }
}

/// Whether anything in a feature may depend on the guest it is on: the word is in one of its templates. Which kind of guest
/// it is, many have in common.
fn mentions_guest(feature: &Feature) -> bool {
    let spec = serde_json::to_string(&feature.spec).unwrap_or_else(|_| "guest.".into());
    spec.replace("guest.kind", "").contains("guest.")
        || feature.files.values().any(|f| f.bytes.windows(6).any(|w| w == b"guest."))
}

impl wire::Renderer for Renderer<'_> {
    fn order(&self, uses: &[FeatureUse]) -> Result<Vec<FeatureUse>, WireError> {
        let wanted: Vec<&str> = uses.iter().map(|u| u.name.as_str()).collect();
        let names = order(&wanted, |name| self.features.get(name).map(|f| f.spec.requires.as_slice()))
            .map_err(|e| WireError {
                address: "features".into(),
                message: e.to_string(),
                hint: "phoenix-cli explain features".into(),
            })?;
        Ok(names
            .into_iter()
            .map(|name| {
                uses.iter().find(|u| u.name == name).cloned().unwrap_or_else(|| FeatureUse {
                    name: name.to_owned(),
                    parameters: BTreeMap::new(),
                    contents: BTreeMap::new(),
                    declared: blueprint::model::Location::default(),
                })
            })
            .collect())
    }

    fn render(
        &self,
        used: &FeatureUse,
        derived: wire::Derived<'_>,
        keys: &[String],
        guest: &wire::GuestFacts,
        site: &SiteFacts,
    ) -> Result<(String, Arc<Value>), WireError> {
        let address = Address::feature(&used.name, &guest.host).to_string();
        let wrong = |message: String, hint: Option<String>| WireError {
            address: address.clone(),
            message,
            hint: hint.unwrap_or_else(|| format!("phoenix-cli explain feature.{}", used.name)),
        };
        let Some(feature) = self.features.get(&used.name) else {
            return Err(wrong("there is no such feature".into(), None));
        };
        // Before anything is copied: the list of names is long, and there is a guest for each of its lines.
        let shared =
            !self.by_guest.get(used.name.as_str()).copied().unwrap_or(true) && used.contents.is_empty();
        // What is derived for this guest alone, as far as the feature asks for it.
        let own: BTreeMap<&str, &Value> = derived
            .own
            .iter()
            .filter(|(name, _)| feature.spec.parameters.get(*name).is_some_and(|p| p.derived))
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        let kind = match &guest.host {
            Host::Guest(kind, _) => kind.as_str(),
            Host::Node(_) => "node",
        };
        let key = format!(
            "{} {kind} {}",
            used.name,
            serde_json::to_string(&(&own, &used.parameters, keys)).unwrap_or_default()
        );
        if shared && let Some(made) = self.made.borrow().get(&key) {
            return Ok(made.clone());
        }
        let mut parameters = used.parameters.clone();
        for (name, parameter) in feature.spec.parameters.iter().filter(|(_, p)| p.derived) {
            if let Some(value) = derived.get(name) {
                parameters.insert(name.clone(), value.clone());
            } else if parameter.default.is_none() {
                return Err(wrong(format!("nothing derives its parameter `{name}`"), None));
            }
        }
        let facts = GuestFacts {
            kind: kind.to_owned(),
            name: guest.name.clone(),
            hostname: guest.hostname.clone(),
            fqdn: guest.fqdn.clone(),
            address: Some(guest.address.clone()).filter(|a| !a.is_empty()),
            site: site.name.clone(),
            domain: site.domain.clone(),
            timezone: Some(site.timezone.clone()).filter(|t| !t.is_empty()),
        };
        let mut rendered =
            render(feature, &parameters, &used.contents, &facts).map_err(|e| wrong(chain(&e), e.hint()))?;
        let owner = feature.spec.certificate.as_ref().and_then(|c| c.owner.as_ref());
        if let Some(owner) = owner {
            rendered.own_keys(owner, keys);
        }
        let fingerprint = rendered.fingerprint.clone();
        let value = serde_json::to_value(rendered).map_err(|e| wrong(e.to_string(), None))?;
        let made = (fingerprint, Arc::new(value));
        if shared {
            self.made.borrow_mut().insert(key, made.clone());
        }
        Ok(made)
    }

    fn provides(&self, feature: &str, what: &str) -> bool {
        self.features.get(feature).is_some_and(|f| f.spec.provides.iter().any(|p| p == what))
    }

    fn certificate(&self, used: &FeatureUse) -> Option<CertificateUse> {
        let spec = &self.features.get(&used.name)?.spec;
        let certificate = spec.certificate.as_ref()?;
        let Some(when) = &certificate.when else { return Some(certificate.clone()) };
        let default = || spec.parameters.get(when)?.default.as_ref();
        let value = used.parameters.get(when).or_else(default);
        value.and_then(Value::as_bool).unwrap_or(false).then(|| certificate.clone())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    apply::Failure::from_error("", error).errors.join(": ")
}
