//! What features are told: the same form for all who read it, and fingerprints that stay what they were.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers beside them")]

use std::collections::BTreeMap;

use blueprint::catalog::{Feature, ParameterType};
use managers::features::{Rendered, render};
use plan::told::Told;
use serde_json::{Value, json};

use crate::given;
use crate::support::{Files, ROOT, desired};

/// A site in which there is something of everything that features are told.
fn everything() -> Files {
    let site = r#"{
        "site": { "name": "workshop", "domain": "workshop.internal", "timezone": "Europe/Berlin" },
        "target": { "proxmox": { "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13" } },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "nameservers": ["10.0.0.1"] } },
        "certificates": { "authority": "step-ca", "life": "1d", "acme": { "directory": "https://acme.example.org/directory", "email": "who@example.org" } },
        "hypervisor": { "certificate": true, "address": "10.0.0.13" },
        "firewall": { "zero-trust": true }
    }"#;
    let guests = r#"{
        "types": { "small": { "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G" } },
        "containers": {
            "ca": { "type": "small", "address": "10.0.0.10", "features": ["step-ca"] },
            "dns": { "type": "small", "address": "10.0.0.53", "features": ["dnsmasq"] },
            "gateway": { "type": "small", "address": "10.0.0.2", "features": ["nginx-gateway", "echo"] },
            "mesh": { "type": "small", "address": "10.0.0.12", "features": ["traefik", "echo"] },
            "work": {
                "type": "small", "address": "10.0.0.20", "options": { "nesting": true, "keyctl": true }, "features": ["docker", { "node-exporter": { "tls": true } }],
                "services": {
                    "plain": { "port": 8001, "expose": "gateway" },
                    "limited": {
                        "port": 8002, "expose": "gateway", "aliases": ["less"], "public": ["less.example.org"],
                        "limits": { "body": "2G", "headers": "128K", "timeout": "1h", "rate": "10/s", "burst": 20 },
                        "access": { "basic": { "anna": { "generate": "anna" } }, "client-certificate": true }
                    },
                    "open": { "port": 8003, "expose": "gateway", "limits": { "body": "0M", "rate": "300/m" } },
                    "figures": { "port": 9100, "protocol": "https", "expose": "gateway", "mutual": true, "path": "/metrics" },
                    "small": { "port": 8004, "expose": "mesh", "limits": { "body": "64M", "timeout": "30s" } },
                    "any": { "port": 8005, "expose": "mesh", "limits": { "body": "0M" } },
                    "inner": { "port": 8006, "expose": "mesh" },
                    "lines": { "port": 7000, "protocol": "tcp", "expose": "gateway", "limits": { "timeout": "8h" } },
                    "bare": { "port": 7001, "protocol": "tcp", "expose": "gateway", "tls": false }
                }
            }
        }
    }"#;
    // Of the site's own, so that what it renders to stays the same whatever becomes of the catalog.
    let echo = r#"{
        "description": "Is told what a proxy is told.",
        "parameters": {
            "sites": { "type": "json", "derived": true }, "routes": { "type": "json", "derived": true },
            "streams": { "type": "json", "derived": true }
        }
    }"#;
    [("site.json", site), ("guests.json", guests), ("features/echo/feature.json", echo)]
        .map(|(path, text)| (path.into(), text.as_bytes().to_vec()))
        .into()
}

/// Where limits stand among what a proxy is told is a form, and guests are marked with fingerprints that know another one.
#[test]
fn no_proxy_is_applied_again_for_the_form_in_which_it_is_told() {
    let desired = desired(&everything(), ROOT).unwrap_or_else(|e| panic!("{e}"));
    let print = |guest: &str| {
        let echo = desired.guests[guest].features.iter().find(|feature| feature.name == "echo");
        echo.unwrap().fingerprint.as_str()
    };
    // As guests are marked that were applied when limits were told as Nginx writes them.
    assert_eq!([print("gateway"), print("mesh")], ["d3c934f817c33598", "db9ec141f9ecf2f3"]);
}

/// Each proxy writes limits as its own program reads them.
#[test]
fn limits_are_written_as_each_program_reads_them() {
    let rendered = |name: &str, parameter: &str, told: &[(&str, Value)]| {
        let entries: Vec<Value> =
            told.iter().map(|(name, said)| given::but(given::site(name, 80), said.clone())).collect();
        let values = given::parameters(json!({ parameter: entries }));
        let (feature, facts) = (given::built_in(name), given::facts("proxy", "10.0.0.2"));
        given::as_told(&feature, &values);
        render(&feature, &values, &BTreeMap::new(), &facts).unwrap()
    };
    let told = [
        (
            "all",
            json!({ "body": 2_147_483_648_u64, "timeout": 30, "rate": { "requests": 300, "per_seconds": 60 }, "burst": 20 }),
        ),
        ("odd", json!({ "body": 102_400, "headers": 8192, "rate": { "requests": 10, "per_seconds": 1 } })),
        ("any", json!({ "body": 0 })),
        ("none", json!({})),
    ];
    let file = |rendered: &Rendered, path: &str| {
        let file = rendered.files.iter().find(|file| file.path == path).unwrap();
        String::from_utf8(file.content.bytes().to_vec()).unwrap()
    };
    let nginx = rendered("nginx-gateway", "sites", &told);
    let nginx = |name: &str| file(&nginx, &format!("/etc/nginx/phoenix.d/{name}.conf"));
    for (name, lines) in [
        (
            "all",
            &[
                "client_max_body_size 2048m;",
                "zone=all:1m rate=300r/m;",
                "limit_req zone=all burst=20 nodelay;",
                "proxy_read_timeout 30s;",
            ][..],
        ),
        (
            "odd",
            &[
                "client_max_body_size 102400;",
                "zone=odd:1m rate=10r/s;",
                "limit_req zone=odd;",
                "proxy_buffer_size 8192;",
            ],
        ),
        ("any", &["client_max_body_size 0;", "proxy_read_timeout 600s;"]),
    ] {
        for line in lines {
            assert!(nginx(name).contains(line), "{line} is not in\n{}", nginx(name));
        }
    }
    for word in ["client_max_body_size", "limit_req", "large_client_header_buffers"] {
        assert!(!nginx("none").contains(word), "{word}");
    }
    let traefik = rendered("traefik", "routes", &told);
    let traefik = |name: &str| file(&traefik, &format!("/etc/traefik/wanted/{name}.yml"));
    assert!(traefik("all").contains("maxRequestBodyBytes: 2147483648\n"), "{}", traefik("all"));
    assert!(traefik("all").contains("responseHeaderTimeout: 30s\n"));
    for name in ["any", "none"] {
        assert!(
            !traefik(name).contains("buffering") && traefik(name).contains("responseHeaderTimeout: 600s\n"),
            "{name}"
        );
    }
}

/// What a feature asks for and is never told, or told otherwise; a line for each.
fn wrong(feature: &Feature) -> Vec<String> {
    let schema = plan::told::schema();
    let mut scope = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, parameter) in feature.spec.parameters.iter().filter(|(_, p)| p.derived) {
        let Some(field) = schema["properties"].get(name) else {
            wrong.push(format!("nothing is told as `{name}`"));
            continue;
        };
        let plain = |word: &str| {
            field["type"] == word || field["type"].as_array().is_some_and(|all| all.contains(&word.into()))
        };
        let kind = match parameter.kind {
            ParameterType::String => plain("string"),
            ParameterType::Boolean => plain("boolean"),
            kind => kind == ParameterType::Json && !plain("string") && !plain("boolean"),
        };
        let default =
            parameter.default.iter().all(|d| serde_json::from_value::<Told>(json!({ name: d })).is_ok());
        if !kind || !default {
            wrong.push(format!("`{name}` is told otherwise"));
        }
        scope.insert(name.replace('-', "_"), field);
    }
    let spec = serde_json::to_value(&feature.spec).unwrap();
    let mut texts = Vec::new();
    strings(&spec, &mut texts);
    for text in texts {
        read(text, &scope, &mut wrong);
    }
    for file in &feature.spec.files {
        let mut scope = scope.clone();
        if let Some(items) = file.each.as_ref().and_then(|each| items(scope.get(&each.replace('-', "_"))?)) {
            scope.insert("item".to_owned(), items);
        }
        let template =
            file.template.as_ref().map(|name| std::str::from_utf8(&feature.files[name].bytes).unwrap());
        for text in [Some(file.path.as_str()), file.content.as_deref(), template].into_iter().flatten() {
            read(text, &scope, &mut wrong);
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn strings<'v>(value: &'v Value, all: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => all.push(text),
        Value::Array(list) => list.iter().for_each(|value| strings(value, all)),
        Value::Object(map) => map.values().for_each(|value| strings(value, all)),
        _ => {}
    }
}

/// The schemas that something may have.
fn branches(schema: &Value) -> Vec<&Value> {
    let inner = schema["anyOf"].as_array().into_iter().flatten();
    std::iter::once(schema).chain(inner.flat_map(branches)).collect()
}

fn items(schema: &Value) -> Option<&Value> {
    branches(schema).into_iter().find_map(|schema| schema.get("items"))
}

fn field<'s>(schema: &'s Value, name: &str) -> Option<&'s Value> {
    branches(schema).into_iter().find_map(|schema| schema.get("properties")?.get(name))
}

/// Holds every `name.field` in a template against what `name` is.
fn read(text: &str, scope: &BTreeMap<String, &Value>, wrong: &mut Vec<String>) {
    let mut scope = scope.clone();
    let blocks = text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap());
    let blocks = blocks.chain(text.split("{%").skip(1).map(|rest| rest.split("%}").next().unwrap()));
    // What loops call the elements comes first: it is read elsewhere.
    let blocks: Vec<&str> = blocks.collect();
    for block in &blocks {
        let loops = block.trim().strip_prefix("for ").and_then(|rest| rest.split_once(" in "));
        let Some((name, list)) = loops else { continue };
        let path = list.split_whitespace().next().unwrap_or_default();
        if let Some(items) = walk(path, &scope, wrong).and_then(items) {
            scope.insert(name.trim().to_owned(), items);
        }
    }
    for block in blocks {
        // What stands in quotes is text.
        let code: String = block
            .split('"')
            .step_by(2)
            .flat_map(|part| part.split('\'').step_by(2))
            .collect::<Vec<_>>()
            .join(" ");
        for path in code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.') {
            walk(path, &scope, wrong);
        }
    }
}

fn walk<'s>(path: &str, scope: &BTreeMap<String, &'s Value>, wrong: &mut Vec<String>) -> Option<&'s Value> {
    let mut names = path.split('.');
    let mut schema = *scope.get(names.next()?)?;
    for name in names {
        let Some(inner) = field(schema, name) else {
            wrong.push(format!("`{path}` is never told"));
            return None;
        };
        schema = inner;
    }
    Some(schema)
}

#[test]
fn every_feature_asks_for_what_it_is_told() {
    let catalog = blueprint::Catalog::from_files(managers::features::builtin())
        .unwrap_or_else(|e| panic!("{}", e.to_text()));
    let mut asked = std::collections::BTreeSet::new();
    for (name, feature) in catalog.iter() {
        assert_eq!(wrong(feature), [""; 0], "{name}");
        asked.extend(feature.spec.parameters.iter().filter(|(_, p)| p.derived).map(|(name, _)| name.clone()));
    }
    // And nothing is worked out for nobody.
    let told: std::collections::BTreeSet<String> =
        plan::told::schema()["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(asked, told);
}

#[test]
fn a_feature_that_asks_for_what_is_never_told_is_found() {
    let spec = json!({
        "parameters": {
            "sites": { "type": "json", "derived": true, "default": {} },
            "root": { "type": "json", "derived": true },
            "routes": { "type": "json", "derived": true, "default": [] },
            "authority": { "type": "json", "derived": true, "default": {} },
            "servers": { "type": "json", "derived": true },
        },
        "files": [
            { "path": "/a/{{ item.service }}", "each": "routes", "template": "a" },
            { "path": "/b/{{ item.nme }}", "each": "routes", "content": "{{ authority.through }} {{ authority.id }} {{ 'item.x' }}" },
        ],
    });
    let template = "{% for user in item.users %}{{ user.user }}{{ user.name }}{% endfor %}{{ item.rate.burst }} {{ item.rate.requests }}";
    let feature = crate::programs::features::own_feature("x", spec, &[("a", template)]);
    assert_eq!(
        wrong(&feature),
        [
            "`authority.id` is never told",
            "`item.nme` is never told",
            "`item.rate.burst` is never told",
            "`root` is told otherwise",
            "`sites` is told otherwise",
            "`user.name` is never told",
            "nothing is told as `servers`",
        ]
    );
}

// What a site has that no package brings, with its age; nothing that it does not have.
#[test]
fn the_pinned_programs_of_a_site_are_known_with_their_age() {
    use managers::artifacts::{OLD, aged, builtin};
    let list = builtin().unwrap();
    let desired = desired(&everything(), ROOT).unwrap();
    let released = list.artifacts["step"].released;
    let all = aged(list, &desired, released);
    let names: Vec<&str> = all.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["docker-compose", "step", "step-ca", "traefik"]);
    let step =
        |today| aged(list, &desired, today).into_iter().find(|program| program.name == "step").unwrap();
    assert_eq!(step(released).months, 0);
    let year = released.saturating_add(jiff::Span::new().months(OLD));
    assert!(step(year).trouble().unwrap().contains("12 months ago"));
    assert!(aged(list, &plan::Desired::default(), released).is_empty());
}

/// A guest that is gateway and pages at once, with what its service says, and flows.
fn both_at_once(service: &str, feature: &str, flows: &str) -> plan::Desired {
    let site = format!(
        r#"{{
        "site": {{ "name": "workshop", "domain": "workshop.internal" }},
        "target": {{ "proxmox": {{ "endpoint": "https://10.0.0.13:8006", "token": {{ "env": "TOKEN" }}, "ssh": "root@10.0.0.13" }} }},
        "networks": {{ "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }} }},
        "firewall": {{ "zero-trust": true }}, "flows": {{ {flows} }},
        "containers": {{
            "front": {{
                "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G", "address": "10.0.0.9",
                "features": ["nginx-gateway", {feature}], "services": {{ "notes": {{ "port": 9100, {service} }} }}
            }}
        }}
    }}"#
    );
    let files: Files = [("site.json".into(), site.into_bytes())].into();
    desired(&files, ROOT).unwrap_or_else(|e| panic!("{e}"))
}

/// What listens for the proxy of its own guest alone is told so, and the proxy goes there; nothing is shut that was meant to
/// be open.
#[test]
fn a_port_is_for_the_proxy_alone_where_it_asks_something_and_nobody_else_is_meant() {
    let exporter = r#""node-exporter""#;
    let asks = r#""expose": "gateway", "limits": { "rate": "10/s" }"#;
    let flow = r#""metrics": { "from": "outside", "to": "container.front", "ports": [9100], "reason": "a monitor" }"#;
    for (service, feature, flows, alone) in [
        (asks, exporter, "", true),
        (r#""expose": "gateway""#, exporter, "", false),
        (r#""expose": "gateway", "limits": { "rate": "10/s" }, "bypass": true"#, exporter, "", false),
        (asks, r#"{ "node-exporter": { "listen": "10.0.0.9" } }"#, "", false),
        (asks, exporter, flow, false),
        // Somebody else listens there, who may not know.
        (asks, r#"{ "node-exporter": { "port": 9101 } }"#, "", false),
    ] {
        let desired = both_at_once(service, feature, flows);
        let rendered = |name: &str, path: &str| {
            let feature =
                desired.guests["front"].features.iter().find(|feature| feature.name == name).unwrap();
            let rendered: Rendered = serde_json::from_value((*feature.payload).clone()).unwrap();
            let file = rendered.files.into_iter().find(|file| file.path == path).unwrap();
            String::from_utf8(file.content.bytes().to_vec()).unwrap()
        };
        let upstream = if alone { "127.0.0.1" } else { "10.0.0.9" };
        let gateway = rendered("nginx-gateway", "/etc/nginx/phoenix.d/notes.conf");
        assert!(gateway.contains(&format!("server {upstream}:9100;")), "{service} {feature}: {gateway}");
        let listens = rendered("node-exporter", "/etc/default/prometheus-node-exporter");
        assert_eq!(
            listens.contains("--web.listen-address=127.0.0.1:9100"),
            alone,
            "{service} {feature}: {listens}"
        );
        let reached = desired.flows.iter().any(|flow| flow.id == "trace.notes");
        assert_eq!(reached, !alone, "{service} {feature}");
    }
}
