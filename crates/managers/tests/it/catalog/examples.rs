//! The example of every feature, which the book shows: a blueprint that is valid and can be planned as it stands.

use blueprint::catalog::ParameterType;
use blueprint::model::{
    GPU_NODES, KERNEL, KEYS, NFS_SERVER, NVIDIA_DRIVER, SCHEDULE, SHARE_FOLDERS, SHARE_MOUNTS, STACK, VFIO,
};
use blueprint::{Loaded, load_from_memory};
use camino::Utf8PathBuf;
use managers::features::renderer::Renderer;
use serde_json::Value;

use super::catalog;

/// What the book says an example stands in.
pub(super) const SITE: &str = r#"{
    "site": { "name": "workshop", "domain": "workshop.internal" },
    "target": { "lab": {} },
    "networks": { "workshop": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "nameservers": ["10.0.0.1"] } }
}"#;

/// Every object of a blueprint, however deep.
fn objects<'v>(value: &'v Value, all: &mut Vec<&'v serde_json::Map<String, Value>>) {
    match value {
        Value::Object(map) => {
            all.push(map);
            map.values().for_each(|v| objects(v, all));
        }
        Value::Array(list) => list.iter().for_each(|v| objects(v, all)),
        _ => {}
    }
}

/// The files and folders of the site that an example names.
fn named(example: &Value) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut all = Vec::new();
    objects(example, &mut all);
    for (name, feature) in catalog().iter() {
        let uses = all.iter().filter_map(|map| map.get(name)?.as_object());
        for (key, value) in uses.flatten() {
            let kind = feature.spec.parameters.get(key).map(|p| p.kind);
            let Some(path) = value.as_str() else { continue };
            match kind {
                Some(ParameterType::Folder) => {
                    files.push((Utf8PathBuf::from(path).join("index.html"), b"<h1>".to_vec()));
                }
                Some(ParameterType::File) => files.push((path.into(), b"x".to_vec())),
                _ => {}
            }
        }
    }
    for folder in all.iter().filter_map(|map| map.get("compose")?.as_str()) {
        let compose = "services: { web: { image: x, ports: ['8080:80'], environment: { TZ: $TZ }, secrets: [password] } }\n\
                       secrets: { password: { file: ./secrets/password } }\n";
        files.push((Utf8PathBuf::from(folder).join("compose.yaml"), compose.into()));
    }
    files
}

#[test]
fn every_feature_has_an_example_that_can_be_planned() {
    let without: Vec<&str> = catalog()
        .iter()
        .filter(|(_, f)| !f.files.contains_key("example.json"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        without,
        Vec::<&str>::new(),
        "every feature has an example.json, which its page in the book shows"
    );
    for (name, feature) in catalog().iter() {
        let text = std::str::from_utf8(&feature.files["example.json"].bytes).unwrap();
        let plain: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let example: Value = serde_json::from_str(&plain).unwrap();
        let mut uses = Vec::new();
        objects(&example, &mut uses);
        let used = uses.iter().any(|map| {
            let list = map.get("features").and_then(Value::as_array);
            list.into_iter().flatten().any(|f| f == name || f.get(name).is_some())
        });
        // These come by themselves with what asks for them.
        let by_itself = [
            GPU_NODES,
            KERNEL,
            KEYS,
            NFS_SERVER,
            NVIDIA_DRIVER,
            SCHEDULE,
            SHARE_FOLDERS,
            SHARE_MOUNTS,
            STACK,
            VFIO,
        ]
        .contains(&name);
        assert!(used || by_itself, "the example of {name} does not use it");
        let mut files = named(&example);
        files.push(("site.json".into(), SITE.as_bytes().to_vec()));
        files.push(("example.json".into(), text.as_bytes().to_vec()));
        let Loaded { blueprint, .. } =
            load_from_memory(files, catalog()).unwrap_or_else(|e| panic!("{name}: {}", e.to_text()));
        let desired =
            plan::wire::wire(&blueprint, &plan::wire::Roots::one("root"), &Renderer::new(&blueprint));
        let desired = desired.unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let on_guests = desired.guests.values().flat_map(|guest| &guest.features);
        let of_stacks = name == STACK && !desired.stacks.is_empty();
        let there = of_stacks || on_guests.chain(&desired.on_node).any(|feature| feature.name == name);
        assert!(there, "{name} is on nothing");
    }
}
