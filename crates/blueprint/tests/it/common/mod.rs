//! What the tests share: a small catalog of features, and sites in memory.

use blueprint::Catalog;

const FEATURES: &[(&str, &str)] = &[
    ("artifacts.json", r#"{"artifacts": {"step": {}, "step-ca": {}, "traefik": {}}}"#),
    ("artifacts/step/go.mod", "module x"),
    ("base/feature.json", r#"{"description": "What every guest has.", "packages": ["ca-certificates"]}"#),
    (
        "static-site/feature.json",
        r#"{
            "description": "Serves a folder over HTTP.",
            "parameters": {
                "root": {"type": "folder", "description": "the pages"},
                "port": {"type": "port", "default": 80},
                "banner": {"type": "string", "default": ""},
                "tags": {"type": "list", "default": []}
            },
            "requires": ["base"], "provides": ["http"], "listens": ["port"],
            "folders": [{"path": "/srv/site", "from": "{{ root }}"}],
            "files": [{"path": "/etc/site.conf", "template": "site.conf", "reloads": "nginx"}],
            "health": [{"http": "http://127.0.0.1:{{ port }}/", "status": 200}]
        }"#,
    ),
    ("static-site/site.conf", "listen {{ port }};"),
    (
        "trusted-ca/feature.json",
        r#"{
            "description": "Trusts the workshop's authority.",
            "parameters": {"root": {"type": "string", "derived": true}},
            "requires": ["base"]
        }"#,
    ),
    (
        "nginx-gateway/feature.json",
        r#"{
            "description": "The front door.",
            "parameters": {"servers": {"type": "json", "derived": true}},
            "requires": ["base"], "provides": ["gateway"]
        }"#,
    ),
    ("stacks/taken/stack.json", r#"{"description": "Has a name."}"#),
    ("stacks/taken/compose.yaml", "services: { web: { image: taken } }"),
];

/// The features and stacks that the tests' sites can use.
#[expect(clippy::panic, reason = "a failing test panics")]
pub fn catalog() -> Catalog {
    let files = FEATURES.iter().map(|(path, text)| (*path, text.as_bytes()));
    Catalog::from_files(files).unwrap_or_else(|failure| panic!("{}", failure.to_text()))
}
