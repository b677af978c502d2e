//! A site of two containers, for tests: `notes`, 120, and `vault`, 121.

use camino::Utf8PathBuf;
use plan::Desired;

const SITE: &str = r#"{
  "site": { "name": "workshop", "domain": "workshop.internal" },
  "target": { "lab": {} },
  "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
  "containers": { "notes": { "id": 120, "address": "10.0.0.5" }, "vault": { "id": 121, "address": "10.0.0.6" } }
}"#;

/// What it wants, on paper.
pub(crate) fn desired() -> Desired {
    let files = [(Utf8PathBuf::from("site.json"), SITE.as_bytes().to_vec())];
    let loaded = blueprint::load_from_memory(files, &crate::open::catalog().unwrap()).unwrap();
    crate::open::desired(&loaded.blueprint, None).unwrap()
}
