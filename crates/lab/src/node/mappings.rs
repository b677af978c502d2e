//! Resource mappings of the cluster: names for devices and folders of its nodes. Those of PCI devices can be made, changed and taken
//! away (PVE::API2::Cluster::Mapping::PCI).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Inner;
use super::error::{ApiError, Outcome};
use super::router::Call;
use super::schema::Property;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    fn is(&self, kind: &str, id: &str) -> bool {
        self.kind == kind && self.id == id
    }
}

/// `/cluster/mapping/{kind}`: those that the caller may use, look at or change.
pub(super) fn list(call: &Call<'_>, kind: &str) -> Outcome {
    let may = |mapping: &&Mapping| {
        let path = format!("/mapping/{kind}/{}", mapping.id);
        ["Mapping.Modify", "Mapping.Use", "Mapping.Audit"].iter().any(|privilege| call.may(&path, privilege))
    };
    let all = call.node.current().keep.mappings.clone();
    let all = all.iter().filter(|mapping| mapping.kind == kind).filter(may);
    let shown: Vec<Value> =
        all.map(|mapping| json!({ "id": mapping.id, "type": kind, "map": mapping.map })).collect();
    Ok(Value::Array(shown).into())
}

/// `POST /cluster/mapping/pci`.
pub(super) fn create(call: &Call<'_>) -> Outcome {
    let id = call.text("id");
    let map = vec![call.text("map").to_owned()];
    check(&map)?;
    call.node.change(|keep| {
        if keep.mappings.iter().any(|it| it.is("pci", id)) {
            return Err(ApiError::die(format!("pci ID '{id}' already defined")));
        }
        keep.mappings.push(Mapping { kind: "pci".to_owned(), id: id.to_owned(), map });
        Ok(Value::Null.into())
    })
}

/// `PUT /cluster/mapping/pci/{id}`.
pub(super) fn update(call: &Call<'_>) -> Outcome {
    let id = call.text("id");
    let map = vec![call.text("map").to_owned()];
    check(&map)?;
    call.node.change(|keep| match keep.mappings.iter_mut().find(|it| it.is("pci", id)) {
        Some(there) => {
            there.map = map;
            Ok(Value::Null.into())
        }
        None => Err(ApiError::die(format!("pci ID '{id}' does not exist"))),
    })
}

/// `DELETE /cluster/mapping/pci/{id}`: one that is not there is gone already.
pub(super) fn delete(call: &Call<'_>) -> Outcome {
    let id = call.text("id");
    call.node.change(|keep| keep.mappings.retain(|it| !it.is("pci", id)));
    Ok(Value::Null.into())
}

/// What a mapping has to say of its device (PVE::Mapping::PCI, `$map_fmt`).
fn check(map: &[String]) -> Result<(), ApiError> {
    let known = ["node", "path", "id", "subsystem-id", "iommugroup", "description"];
    for entry in map {
        let keys: Vec<&str> =
            entry.split(',').map(|part| part.split('=').next().unwrap_or_default()).collect();
        let odd = keys.iter().find(|key| !known.contains(*key));
        let lacks = ["node", "path", "id"].into_iter().find(|key| !keys.contains(key));
        let why = match (odd, lacks) {
            (Some(odd), _) => format!(
                "{odd}: property is not defined in schema and the schema does not allow additional properties"
            ),
            (None, Some(lacks)) => format!("{lacks}: property is missing and it is not optional"),
            (None, None) => continue,
        };
        return Err(ApiError::die(format!("invalid format - {why}")));
    }
    Ok(())
}

/// Whether a machine with this device can start, in the node's own words where it cannot.
pub(super) fn can_start(node: &Inner, key: &str, kind: &str, value: &Property) -> Result<(), String> {
    let name = value.get(if kind == "dir" { "dirid" } else { "mapping" });
    let Some(name) = name else { return Ok(()) };
    let state = node.current();
    let there = state.keep.mappings.iter().find(|mapping| mapping.is(kind, name));
    match (kind, there) {
        (_, Some(mapping)) if mapping.is_on(&node.name) => Ok(()),
        ("dir", Some(_)) => Err(format!("No mapping for node {} found for '{name}'", node.name)),
        ("dir", None) => Err(format!("Directory ID {name} does not exist.")),
        ("pci", None) => Err(format!("PCI device mapping not found for '{name}'")),
        ("usb", None) => Err(format!("USB device mapping not found for '{name}'")),
        (_, _) => Err(format!("{key}: No mapping for node {} found for '{name}'", node.name)),
    }
}
