//! What features are given in tests: the facts of a guest, parameters, and the built-in ones as they are in the binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use blueprint::catalog::{Feature, FeatureSpec};
use blueprint::model::SiteFile;
use managers::features::{GuestFacts, builtin};
use serde_json::Value;

/// The facts of the guest with this name and address in the site `workshop`.
pub fn facts(name: &str, address: &str) -> GuestFacts {
    GuestFacts {
        name: name.into(),
        hostname: name.into(),
        fqdn: format!("{name}.workshop.internal"),
        address: Some(address.into()),
        site: "workshop".into(),
        domain: "workshop.internal".into(),
        timezone: None,
    }
}

pub fn parameters(values: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(values).unwrap()
}

pub fn built_in(name: &str) -> Feature {
    let prefix = format!("{name}/");
    let mut files = BTreeMap::new();
    let mut spec = None;
    for (path, bytes) in builtin() {
        match path.strip_prefix(&prefix) {
            Some("feature.json") => spec = Some(serde_json::from_slice::<FeatureSpec>(bytes).unwrap()),
            Some(path) => {
                let file = SiteFile { path: path.into(), bytes: bytes.into(), executable: false };
                files.insert(path.to_owned(), file);
            }
            None => {}
        }
    }
    Feature { name: name.into(), spec: spec.unwrap(), files, built_in: true }
}
