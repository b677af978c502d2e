//! What features can say that the built-in ones of old do not.

use std::collections::BTreeMap;
use std::convert::Infallible;

use blueprint::catalog::Feature;
use blueprint::model::SecretRef;
use managers::features::{Mode, Rendered, render, script};
use serde_json::{Value, json};

use crate::catalog::{apply, facts, parameters};
use crate::root::{Ran, Root};

fn render_feature(spec: Value, values: Value) -> Rendered {
    let spec = serde_json::from_value(spec).unwrap();
    let feature = Feature { name: "x".into(), spec, files: BTreeMap::new(), built_in: false };
    render(&feature, &parameters(values), &BTreeMap::new(), &facts()).unwrap()
}

fn run(root: &Root, spec: Value, values: Value) -> Ran {
    root.run(&apply(&render_feature(spec, values)))
}

// P-56: what cannot work is said before anything is installed or changed.
#[test]
fn what_must_hold_first_is_asked_first() {
    let Some(root) = Root::new() else { return };
    let spec = json!({
        "preflight": [
            { "command": "true", "message": "never said" },
            { "command": "echo \"it is off\"; false", "message": "this guest's \"switch\" is wrong" },
        ],
        "packages": ["no-such-package"],
        "files": [{ "path": "/etc/x", "content": "x" }],
    });
    let ran = run(&root, spec.clone(), json!({}));
    assert_eq!(ran.failed().error("x").unwrap(), "this guest's \"switch\" is wrong: it is off");
    assert_eq!(ran.words(), Vec::<String>::new());
    assert_eq!(root.sh("ls /etc/x 2>/dev/null || echo none"), "none\n");
    let check = script(&[render_feature(spec, json!({}))], Mode::Check, &|_: &SecretRef| {
        Ok::<_, Infallible>(String::new())
    });
    assert!(root.run(&check.unwrap().text).failed().error("x").is_some());
}

#[test]
fn commands_restart_units_and_some_come_after_them() {
    let Some(root) = Root::new() else { return };
    let spec = |word: &str| {
        json!({
            "files": [{ "path": "/etc/x", "content": word, "runs": "tell" }],
            "commands": [
                { "name": "tell", "run": "cp /etc/x /run/told; systemctl is-active x >>/run/told; true", "after-units": true },
                { "name": "make", "run": "cp /etc/x /etc/y", "unless": "cmp -s /etc/x /etc/y", "restarts": "x", "reloads": "z" },
            ],
            "units": { "x": {} },
        })
    };
    root.sh("systemctl start z");
    assert_eq!(
        run(&root, spec("1"), json!({})).ok().words(),
        [
            "file create /etc/x",
            "command run make",
            "unit enable x",
            "unit start x",
            "unit reload z",
            "command run tell"
        ]
    );
    assert_eq!(root.sh("cat /run/told"), "1active\n", "it was up by then");
    run(&root, spec("1"), json!({})).nothing_to_do();
    assert_eq!(
        run(&root, spec("2"), json!({})).ok().words(),
        ["file update /etc/x", "command run make", "unit restart x", "unit reload z", "command run tell"]
    );
}

#[test]
fn users_of_a_list_and_secrets_in_their_quotes() {
    let Some(root) = Root::new() else { return };
    let spec = json!({
        "parameters": {
            "users": { "type": "json", "default": [] },
            "keys": { "type": "json", "schema": { "additionalProperties": { "format": "secret" } } },
        },
        "users": [{ "name": "{{ item.name }}", "each": "users", "groups": ["{{ item.group }}"] }],
        "files": [
            { "path": "/etc/x.json", "content": "{{ keys | json }}", "mode": "0600" },
            { "path": "/etc/x.sh", "content": "{% for n, k in keys|items %}{{ n }}={{ k | sh }}\n{% endfor %}", "mode": "0600" },
            { "path": "/etc/x.sql", "content": "{% for n, k in keys|items %}{{ k | sql }}\n{% endfor %}", "mode": "0600" },
        ],
    });
    let odd = r#"o'd"d\"#;
    let values = json!({
        "users": [{ "name": "ada", "group": "adm" }, { "name": "bob", "group": "" }],
        "keys": { "one": { "env": odd } },
    });
    assert_eq!(
        run(&root, spec.clone(), values.clone()).ok().words()[..2],
        ["user create ada", "user create bob"]
    );
    run(&root, spec, values).nothing_to_do();
    assert_eq!(root.sh("id -nG ada; id -nG bob"), "ada adm\nbob\n");
    assert_eq!(serde_json::from_str::<Value>(&root.sh("cat /etc/x.json")).unwrap(), json!({ "one": odd }));
    assert_eq!(root.sh(". /etc/x.sh; printf %s \"$one\""), odd);
    assert_eq!(root.sh("cat /etc/x.sql"), "'o''d\"d\\'\n");
}
