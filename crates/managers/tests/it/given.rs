//! What features are given in tests: the facts of a guest, parameters, and the built-in ones as they are in the binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use blueprint::catalog::{Feature, FeatureSpec};
use blueprint::model::SiteFile;
use managers::features::{GuestFacts, builtin};
use plan::told::{self, Told};
use serde_json::Value;

/// The facts of the guest with this name and address in the site `workshop`.
pub fn facts(name: &str, address: &str) -> GuestFacts {
    GuestFacts {
        kind: "container".into(),
        name: name.into(),
        hostname: name.into(),
        fqdn: format!("{name}.workshop.internal"),
        address: Some(address.into()),
        site: "workshop".into(),
        domain: "workshop.internal".into(),
        timezone: None,
    }
}

/// What a feature is told, in a test: has the form in which features are told, or the test shows nothing.
#[track_caller]
pub fn as_told(feature: &Feature, values: &BTreeMap<String, Value>) {
    let derived = |name: &String| feature.spec.parameters.get(name).is_some_and(|p| p.derived);
    let told = values.iter().filter(|(name, _)| feature.built_in && derived(name));
    let told = Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect());
    let read = serde_json::from_value::<Told>(told.clone());
    assert!(read.is_ok(), "{} is never told this ({}): {told:#}", feature.name, read.unwrap_err());
}

/// The paths of a certificate and its key, in the guest that has it.
fn pair(name: &str) -> [String; 2] {
    ["fullchain.pem", "key.pem"].map(|file| format!("/etc/phoenix/certificates/{name}/{file}"))
}

/// A service at a proxy, of which nothing is said but its port on 127.0.0.1.
pub fn site(name: &str, port: u16) -> told::Site {
    let [certificate, key] = pair(name);
    told::Site {
        service: name.into(),
        names: vec![format!("{name}.workshop.internal")],
        public: false,
        certificate,
        key,
        upstream_address: Ipv4Addr::LOCALHOST,
        upstream_port: port,
        upstream_protocol: told::Protocol::Http,
        upstream_name: String::new(),
        websocket: true,
        security_headers: true,
        mutual: false,
        client_certificate: false,
        client_names: Vec::new(),
        users: Vec::new(),
        body: None,
        headers: None,
        timeout: None,
        rate: None,
        burst: 0,
    }
}

/// The same over TCP, at a port of the gateway.
pub fn stream(name: &str, listen: u16, port: u16) -> told::Stream {
    let [certificate, key] = pair(name);
    told::Stream {
        service: name.into(),
        listen,
        tls: false,
        names: vec![format!("{name}.workshop.internal")],
        certificate,
        key,
        upstream_address: Ipv4Addr::LOCALHOST,
        upstream_port: port,
        timeout: None,
    }
}

/// A guest's own certificate, in the folder `folder`.
pub fn identity(guest: &str, folder: &str) -> told::Identity {
    let [certificate, key] = pair(folder);
    told::Identity { name: format!("{guest}.guest.workshop.internal"), certificate, key }
}

/// Something that a feature is told, with some of it said differently.
pub fn but(told: impl serde::Serialize, differently: Value) -> Value {
    let mut all = serde_json::to_value(told).unwrap();
    let Value::Object(differently) = differently else { return all };
    all.as_object_mut().unwrap().extend(differently);
    all
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
