//! The JSON Schema that editors use says the same as the check.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::collections::BTreeSet;

use blueprint::{Catalog, feature_schema, init, schema, stack_schema};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use crate::common;

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft202012::new(schema).unwrap()
}

/// Takes the comments out, which stand on lines of their own in what `init` writes.
fn without_comments(text: &str) -> Value {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    serde_json::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap()
}

#[test]
fn the_schemas_are_schemas() {
    for schema in [schema(), feature_schema(), stack_schema()] {
        assert!(jsonschema::meta::is_valid(&schema));
        assert!(!schema.to_string().contains("\"x-"), "the check's own keys are not published");
    }
}

#[test]
fn everything_in_the_schemas_is_described() {
    fn walk(value: &Value, path: &str, bare: &mut Vec<String>, root: &Value) {
        if let Some(Value::Object(properties)) = value.get("properties") {
            for (key, inner) in properties {
                let path = format!("{path}.{key}");
                let target = inner.get("$ref").and_then(|r| root.pointer(r.as_str()?.strip_prefix('#')?));
                if inner.get("description").or_else(|| target?.get("description")).is_none() {
                    bare.push(path.clone());
                }
                walk(inner, &path, bare, root);
            }
        }
        for key in ["$defs", "additionalProperties", "items"] {
            let Some(inner) = value.get(key) else { continue };
            match key {
                "$defs" => inner.as_object().unwrap().iter().for_each(|(k, v)| walk(v, k, bare, root)),
                _ => walk(inner, path, bare, root),
            }
        }
    }
    for schema in [schema(), feature_schema(), stack_schema()] {
        let mut bare = Vec::new();
        walk(&schema, "", &mut bare, &schema);
        assert_eq!(bare, Vec::<String>::new());
    }
}

#[test]
fn what_init_writes_matches() {
    let validator = validator(&schema());
    for (path, text) in init::FIRST.files("workshop") {
        if path.ends_with(".json") {
            let value = without_comments(&text);
            let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{path}");
        }
    }
}

#[test]
fn structural_errors_do_not_match() {
    let validator = validator(&schema());
    for bad in [
        json!([]),
        json!({"continers": {}}),
        json!({"networks": null}),
        json!({"site": {"name": "a"}}),
        json!({"site": {"name": "A", "domain": "a"}}),
        json!({"containers": {"Notes_1": {}}}),
        json!({"containers": {"a": {"memmory": "1G"}}}),
        json!({"containers": {"a": {"memory": 512}}}),
        json!({"containers": {"a": {"memory": "512MB"}}}),
        json!({"containers": {"a": {"memory": null}}}),
        json!({"containers": {"a": {"id": 99}}}),
        json!({"containers": {"a": {"disk": {"sise": "8G"}}}}),
        json!({"containers": {"a": {"address": "10.0.0.300"}}}),
        json!({"containers": {"a": {"networks": {"net32": {}}}}}),
        json!({"containers": {"a": {"mounts": {"mp0": {"size": "1G"}}}}}),
        json!({"containers": {"a": {"mac": "BC-24-11-00-00-01"}}}),
        json!({"containers": {"a": {"features": [{"a": {}, "b": {}}]}}}),
        json!({"containers": {"a": {"services": {"s": {}}}}}),
        json!({"containers": {"a": {"services": {"s": {"port": 0}}}}}),
        json!({"containers": {"a": {"services": {"s": {"port": 1, "expose": "gatway"}}}}}),
        json!({"types": {"t": {"id": 101}}}),
        json!({"target": {}}),
        json!({"target": {"lab": {}, "proxmox": {"endpoint": "https://a:8006"}}}),
        json!({"target": {"proxmox": {"endpoint": "http://a:8006"}}}),
        json!({"target": {"proxmox": {"endpoint": "https://a:8006", "token": "literal"}}}),
        json!({"target": {"proxmox": {"endpoint": "https://a:8006", "token": {}}}}),
        json!({"certificates": {"life": "90"}}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad} matches");
    }
    let feature = self::validator(&feature_schema());
    let stack = self::validator(&stack_schema());
    assert!(stack.is_valid(&json!({"$schema": "x", "memory": 512, "env": {"A": 1}})));
    assert!(!stack.is_valid(&json!({"memory": "much"})) && !stack.is_valid(&json!({"compose": "x"})));
    assert!(feature.is_valid(&json!({"$schema": "x", "files": [{"path": "/a", "reloads": "nginx"}]})));
    for bad in
        [json!({"packges": []}), json!({"files": [{}]}), json!({"parameters": {"a": {"type": "strin"}}})]
    {
        assert!(!feature.is_valid(&bad), "{bad} matches");
    }
}

fn built_in() -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Utf8Path, below: &Utf8Path, out: &mut Vec<(String, Vec<u8>)>) {
        for entry in root.join(below).read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(root, &path, out);
            } else {
                out.push((path.to_string(), fs_err::read(entry.path()).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    walk(&root.join("catalog"), Utf8Path::new(""), &mut files);
    walk(&root, Utf8Path::new("stacks"), &mut files);
    files
}

#[test]
fn what_is_built_in_is_good_and_matches() {
    let files = built_in();
    for (description, schema) in [("/feature.json", feature_schema()), ("/stack.json", stack_schema())] {
        let validator = validator(&schema);
        let mut seen = 0;
        for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(description)) {
            let value = without_comments(std::str::from_utf8(bytes).unwrap());
            let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{path}");
            seen += 1;
        }
        assert!(seen >= 12, "{description}: {seen}");
    }
    let text = Catalog::from_files(files).err().map(|failure| failure.to_text());
    assert_eq!(text, None);
}

#[test]
fn the_first_workshop_can_be_built_with_the_built_in_features() {
    let files = init::FIRST
        .files("workshop")
        .into_iter()
        .map(|(path, text)| (Utf8PathBuf::from(path), text.into_bytes()));
    let catalog = Catalog::from_files(built_in()).unwrap();
    let text = blueprint::load_from_memory(files, &catalog).err().map(|failure| failure.to_text());
    assert_eq!(text, None);
}

/// The defaults that the schema, the reference and `explain` show are those that hold.
#[test]
fn the_defaults_shown_are_the_defaults_used() {
    let site = r#"{"site": {"name": "w", "domain": "w.internal"}, "target": {"lab": {}},
        "networks": {"lan": {"bridge": "b", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}}"#;
    let schema = schema();
    let shown =
        |definition: &str, key: &str| schema["$defs"][definition]["properties"][key]["default"].clone();
    let load = |containers: &str| {
        let text = format!("{site}, {containers}}}");
        let loaded = blueprint::load_from_memory([("a.json".into(), text.into_bytes())], &common::catalog());
        loaded.unwrap_or_else(|f| panic!("{}", f.to_text())).blueprint.guests["a"].clone()
    };
    let plain = load(
        r#""containers": {"a": {"services": {"s": {"port": 1}}, "mounts": {"mp0": {"path": "/x", "size": "1G"}}}}"#,
    );
    let keys: BTreeSet<&str> =
        ["template", "cores", "memory", "swap", "disk", "onboot", "unprivileged", "protected"].into();
    let written: Vec<String> =
        keys.iter().map(|key| format!("\"{key}\": {}", shown("ContainerSource", key))).collect();
    let explicit = load(&format!(
        r#""containers": {{"a": {{{}, "networks": {{"net0": {{"address": {}, "firewall": {}}}}},
            "options": {{"keyctl": {}, "fuse": {}, "mknod": {}}},
            "services": {{"s": {{"port": 1, "protocol": {}, "expose": {}, "path": {}}}}},
            "mounts": {{"mp0": {{"path": "/x", "size": "1G"}}}}}}}}"#,
        written.join(", "),
        shown("NicSource", "address"),
        shown("NicSource", "firewall"),
        shown("OptionsSource", "keyctl"),
        shown("OptionsSource", "fuse"),
        shown("OptionsSource", "mknod"),
        shown("ServiceSource", "protocol"),
        shown("ServiceSource", "expose"),
        shown("ServiceSource", "path"),
    ));
    let strip = |guest: std::sync::Arc<blueprint::model::Guest>| {
        let mut guest = std::sync::Arc::unwrap_or_clone(guest);
        guest.declared = blueprint::model::Location::default();
        guest.services.values_mut().for_each(|s| s.declared = blueprint::model::Location::default());
        guest
    };
    assert_eq!(strip(plain), strip(explicit));
}

/// Every code that exists has a case that shows it.
#[test]
fn every_code_has_a_case() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut texts = fs_err::read_to_string(root.join("it/disk.rs")).unwrap();
    for entry in root.join("invalid").read_dir_utf8().unwrap() {
        texts.push_str(&fs_err::read_to_string(entry.unwrap().path()).unwrap());
    }
    let constant = |code: &str| code.trim_start_matches("blueprint::").replace('-', "_").to_uppercase();
    let missing: Vec<&str> = blueprint::codes::CODES
        .iter()
        .map(|info| info.code)
        .filter(|code| {
            !texts.contains(&format!("[{code}]")) && !texts.contains(&format!("codes::{}", constant(code)))
        })
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
