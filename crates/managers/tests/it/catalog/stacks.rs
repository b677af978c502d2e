//! The stacks that come with Phoenix, on paper: each says what a person needs to know of it, and its example, which the book
//! shows, is a blueprint that can be planned as it stands.

use blueprint::model::{Blueprint, Expose};
use blueprint::{Loaded, load_from_memory};
use camino::Utf8PathBuf;
use managers::features::renderer::Renderer;
use serde_json::Value;

use super::catalog;
use super::examples::SITE;

/// The example of one of them as a site, with more that is said of its stack.
pub(super) fn example(name: &str, more: &Value) -> Blueprint {
    let text = &catalog().stack(name).unwrap().files["example.json"].bytes;
    let text = std::str::from_utf8(text).unwrap();
    let plain: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut example: Value = serde_json::from_str(&plain.join("\n")).unwrap();
    let stacks = example["stacks"].as_object_mut().unwrap();
    let stack = stacks.values_mut().find(|stack| stack["from"] == name).unwrap();
    for (key, value) in more.as_object().into_iter().flatten() {
        stack[key] = value.clone();
    }
    let files = [("site.json", SITE.to_owned()), ("example.json", example.to_string())];
    let files = files.map(|(path, text)| (Utf8PathBuf::from(path), text.into_bytes()));
    match load_from_memory(files, catalog()) {
        Ok(Loaded { blueprint, warnings, .. }) => {
            assert!(warnings.is_empty(), "{name}: {warnings:?}");
            blueprint
        }
        Err(failure) => panic!("{name}: {}", failure.to_text()),
    }
}

#[test]
fn all_that_are_promised_are_there() {
    let names: Vec<&str> = catalog().stacks().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "gitea",
            "home-assistant",
            "immich",
            "minio",
            "monitoring",
            "n8n",
            "nextcloud",
            "open-webui",
            "paperless",
            "qdrant",
            "uptime-kuma",
            "vaultwarden"
        ]
    );
}

#[test]
fn each_says_what_a_person_needs_to_know() {
    for (name, stack) in catalog().stacks() {
        let spec = &stack.spec;
        for (key, text) in
            [("description", &spec.description), ("homepage", &spec.homepage), ("backup", &spec.backup)]
        {
            assert!(!text.is_empty(), "{name} says no `{key}`");
        }
        assert!(spec.homepage.starts_with("https://"), "{name}: {}", spec.homepage);
        assert!(spec.memory.is_some_and(|mib| mib >= 128), "{name}: {:?}", spec.memory);
        for (parameter, said) in &spec.parameters {
            assert!(!said.description.is_empty(), "{name} does not say what `{parameter}` is");
            // It can be tried with nothing said.
            assert!(said.default.is_some(), "{name} has no default for `{parameter}`");
        }
    }
}

#[test]
fn each_example_can_be_planned() {
    for (name, _) in catalog().stacks() {
        let blueprint = example(name, &Value::Null);
        let desired =
            plan::wire::wire(&blueprint, &plan::wire::Roots::one("root"), &Renderer::new(&blueprint));
        let desired = desired.unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        assert_eq!(desired.stacks.len(), 1, "{name}");
        // A page, behind the gateway, under the stack's own name.
        let stack = blueprint.stacks.values().next().unwrap();
        let service = &blueprint.guests["docker"].services[stack.name.as_str()];
        assert_eq!(service.expose, Expose::Gateway, "{name}");
    }
}

#[test]
fn two_of_one_are_on_one_guest() {
    // What is named after the stack is its own: services, secrets, names of hosts. Ports are parameters.
    for (name, stack) in catalog().stacks() {
        let ports =
            stack.spec.parameters.iter().filter(|(_, it)| it.kind == blueprint::catalog::ParameterType::Port);
        let others: serde_json::Map<String, Value> =
            ports.enumerate().map(|(at, (port, _))| (port.clone(), Value::from(18_000 + at))).collect();
        let first = example(name, &Value::Null);
        let second = example(name, &serde_json::json!({ "with": others }));
        let ports = |site: &Blueprint| -> Vec<u16> {
            site.guests["docker"].services.values().map(|service| service.port).collect()
        };
        assert!(ports(&second).iter().all(|port| *port >= 18_000), "{name}: {:?}", ports(&second));
        assert!(ports(&first).iter().all(|port| *port < 18_000), "{name}");
        let stack = first.stacks.values().next().unwrap();
        for secret in stack.secrets.values().chain(stack.secret_env.values()) {
            let named = format!("{secret:?}");
            assert!(named.contains(&stack.name), "{name}: {named} is not named after the stack");
        }
    }
}

#[test]
fn the_one_that_the_book_shows_is_one() {
    let page = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/stacks.md");
    let page = fs_err::read_to_string(page).unwrap();
    let (_, shown) = page.split_once("```jsonc\n// stack-catalog/memos/stack.json\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let compose = "services: { web: { image: 'memos:${VERSION}', ports: ['${PORT}:5230'] } }";
    let stacks = r#"{
        "containers": {
            "gateway": { "address": "10.0.0.153", "features": ["nginx-gateway"] },
            "docker": { "address": "10.0.0.23", "features": ["docker"], "options": { "nesting": true, "keyctl": true } }
        },
        "stacks": { "memos": { "on": "docker", "from": "memos", "with": { "port": 5231 } } }
    }"#;
    let files = [
        ("site.json", SITE),
        ("stacks.json", stacks),
        ("stack-catalog/memos/stack.json", shown),
        ("stack-catalog/memos/compose.yaml", compose),
    ];
    let files = files.map(|(path, text)| (Utf8PathBuf::from(path), text.as_bytes().to_vec()));
    let loaded = load_from_memory(files, catalog()).unwrap_or_else(|failure| panic!("{}", failure.to_text()));
    assert_eq!(loaded.blueprint.guests["docker"].services["memos"].port, 5231);
}
