//! Resource mappings of the cluster: names for devices and folders of its nodes.

use serde_json::{Value, json};

use super::Inner;
use super::error::Outcome;
use super::router::Call;
use super::schema::Property;

/// One mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// What is mapped: `pci`, `usb` or `dir`.
    pub kind: String,
    /// Its name.
    pub id: String,
    /// What it is on each node: `node=pve1,path=0000:01:00.0,id=8086:7000`.
    pub map: Vec<String>,
}

impl Mapping {
    /// Whether it has something on a node.
    pub(super) fn is_on(&self, node: &str) -> bool {
        self.map.iter().any(|entry| entry.split(',').any(|part| part.strip_prefix("node=") == Some(node)))
    }
}

/// `/cluster/mapping/{kind}`: those that the caller may use, look at or change.
pub(super) fn list(call: &Call<'_>, kind: &str) -> Outcome {
    let may = |mapping: &&Mapping| {
        let path = format!("/mapping/{kind}/{}", mapping.id);
        ["Mapping.Modify", "Mapping.Use", "Mapping.Audit"].iter().any(|privilege| call.may(&path, privilege))
    };
    let all = call.node.mappings.iter().filter(|mapping| mapping.kind == kind).filter(may);
    let shown: Vec<Value> =
        all.map(|mapping| json!({ "id": mapping.id, "type": kind, "map": mapping.map })).collect();
    Ok(Value::Array(shown).into())
}

/// Whether a machine with this device can start, in the node's own words where it cannot.
pub(super) fn can_start(node: &Inner, key: &str, kind: &str, value: &Property) -> Result<(), String> {
    let name = value.get(if kind == "dir" { "dirid" } else { "mapping" });
    let Some(name) = name else { return Ok(()) };
    let there = node.mappings.iter().find(|mapping| mapping.kind == kind && mapping.id == *name);
    match (kind, there) {
        (_, Some(mapping)) if mapping.is_on(&node.name) => Ok(()),
        ("dir", Some(_)) => Err(format!("No mapping for node {} found for '{name}'", node.name)),
        ("dir", None) => Err(format!("Directory ID {name} does not exist.")),
        ("pci", None) => Err(format!("PCI device mapping not found for '{name}'")),
        ("usb", None) => Err(format!("USB device mapping not found for '{name}'")),
        (_, _) => Err(format!("{key}: No mapping for node {} found for '{name}'", node.name)),
    }
}
