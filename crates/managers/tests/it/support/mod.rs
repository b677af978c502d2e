//! Sites for the planner's tests. What a node holds after an apply is that of a simulated node (`scenarios::There`).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses a part of it")]

pub mod scenario;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use blueprint::Catalog;
use blueprint::model::ImageFrom;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use managers::features::renderer::Renderer;
use plan::wire::Roots;
use plan::{Desired, Inventory, Options, Plan};
use proxmox::exchange::{Exchange, ExchangeError, Request, Response};
use scenarios::Folder;

/// The files of a site, by path.
pub type Files = BTreeMap<Utf8PathBuf, Vec<u8>>;

/// The site's root certificate. The planner only passes it on.
pub const ROOT: &str = "-----BEGIN CERTIFICATE-----\nVEVTVA==\n-----END CERTIFICATE-----\n";

/// The site's file where a test gives none.
pub const SITE: &str = r#"{
  "site": { "name": "workshop", "domain": "workshop.internal" },
  "target": { "proxmox": { "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13" } },
  "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } }
}"#;

/// The time of every test that names no other: 23 November 2026, 08:00 UTC.
pub fn now() -> Timestamp {
    "2026-11-23T08:00:00Z".parse().unwrap()
}

/// A node whose API does not answer.
#[derive(Debug)]
pub struct Nobody;

#[async_trait]
impl Exchange for Nobody {
    async fn exchange(&self, _: &Request) -> Result<Response, ExchangeError> {
        Err(ExchangeError::NeverSent { endpoint: self.endpoint(), reason: "nobody is there".into() })
    }

    fn endpoint(&self) -> String {
        "nowhere".to_owned()
    }
}

/// What is wanted, or what is wrong with the blueprint, as text.
pub fn desired(files: &Files, root: &str) -> Result<Desired, String> {
    read(files, root).map(|(_, desired)| desired)
}

/// The same, with the authority that it is to be applied with.
pub fn site_of(files: &Files, authority: Arc<pki::Authority>) -> Result<scenarios::Site, String> {
    let (_, desired) = read_below(files, &managers::authority::roots(&authority))?;
    let desired = Arc::new(desired);
    let uploads = desired.images.values().any(|image| matches!(image.from, ImageFrom::File { .. }));
    let folder = match uploads {
        true => Folder::of(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))),
        false => Folder::default(),
    };
    Ok(scenarios::Site { desired, authority, folder })
}

/// The same, with the blueprint.
pub fn read(files: &Files, root: &str) -> Result<(blueprint::model::Blueprint, Desired), String> {
    read_below(files, &Roots::one(root))
}

fn read_below(files: &Files, roots: &Roots) -> Result<(blueprint::model::Blueprint, Desired), String> {
    static CATALOG: LazyLock<Catalog> =
        LazyLock::new(|| Catalog::from_files(managers::features::builtin()).expect("the catalog is sound"));
    let files = files.iter().map(|(path, bytes)| (path.clone(), bytes.clone()));
    let loaded = blueprint::load_from_memory(files, &CATALOG).map_err(|failure| failure.to_text())?;
    let wired = plan::wire::wire(&loaded.blueprint, roots, &Renderer::new(&loaded.blueprint));
    let desired = wired.map_err(|errors| {
        let words = errors.iter().map(|e| format!("{}: {}\n  hint: {}\n", e.address, e.message, e.hint));
        words.collect::<String>()
    })?;
    Ok((loaded.blueprint, desired))
}

/// The plan.
pub fn plan_of(desired: &Desired, inventory: &Inventory, options: &Options) -> Plan {
    plan::plan(desired, inventory, &managers::kinds(), options)
}

/// Neither targets nor a wish to destroy.
pub fn plain(now: Timestamp) -> Options {
    Options { now, targets: Vec::new(), destroy: false, no_restart: false, restart_node: false }
}

/// Each step comes after what it needs, and what it needs is there.
pub fn check_order(plan: &Plan) {
    let mut seen = std::collections::BTreeSet::new();
    for step in &plan.steps {
        for need in &step.needs {
            assert!(seen.contains(need), "{} comes before {need}, which it needs", step.address);
        }
        assert!(seen.insert(&step.address), "two steps for {}", step.address);
    }
}
