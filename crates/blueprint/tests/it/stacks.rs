//! Stacks that come from the catalogue: what it says, and what the site says over it.

#![expect(clippy::panic, reason = "a failing test panics")]

use std::sync::Arc;
use std::time::Duration;

use blueprint::model::{Blueprint, Expose, SecretRef, Stack};
use blueprint::{Loaded, load_from_memory};
use camino::Utf8PathBuf;

use crate::common;

const SPEC: &str = r#"{
  "description": "Papers.",
  "parameters": {
    "port": { "type": "port", "default": 8010 },
    "level": { "type": "string", "default": "low" },
    "languages": { "type": "list", "default": ["eng"] },
    "own-key": { "type": "secret" },
    "quiet": { "type": "boolean", "default": true }
  },
  "templates": ["settings.conf"],
  "env": {
    "PORT": "{{ port }}", "LEVEL": "{{ level }}", "HOST": "{{ stack.name }}.{{ site.domain }}", "QUIET": "{{ quiet }}",
    "KEY": "{{ own-key }}"
  },
  "secrets": { "database": { "generate": "{{ stack.name }}-database" } },
  "services": { "{{ stack.name }}": { "port": "{{ port }}", "expose": "gateway", "path": "/up" } },
  "within": "5m"
}"#;

const COMPOSE: &str = "
services:
  web:
    image: papers
    ports: ['${PORT}:80']
    environment: { A: '${LEVEL} ${HOST} ${QUIET} ${KEY}' }
    secrets: [database]
secrets:
  database: { file: ./secrets/database }
";

const SETTINGS: &str = "host {{ stack.name }}
{% for language in languages %}
language {{ language }}
{% endfor %}
";

/// The site with these stacks.
fn site(stacks: &str) -> Blueprint {
    let site = format!(
        r#"{{
          "site": {{"name": "workshop", "domain": "workshop.internal"}}, "target": {{"lab": {{}}}},
          "networks": {{"lan": {{"bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}}}},
          "containers": {{
            "gateway": {{"address": "10.0.0.4", "features": ["nginx-gateway"]}},
            "docker": {{"address": "10.0.0.5", "features": ["docker"]}}
          }},
          "stacks": {stacks}
        }}"#
    );
    let files = [
        ("site.json", site.as_str()),
        ("features/docker/feature.json", r#"{"description": "Containers.", "provides": ["docker"]}"#),
        ("features/stack/feature.json", r#"{"description": "Stacks.", "requires": ["docker"]}"#),
        ("stack-catalog/papers/stack.json", SPEC),
        ("stack-catalog/papers/compose.yaml", COMPOSE),
        ("stack-catalog/papers/settings.conf", SETTINGS),
        ("stack-catalog/papers/as-it-is.conf", SETTINGS),
        ("stack-catalog/papers/example.json", "{}"),
    ];
    let files = files.map(|(path, text)| (Utf8PathBuf::from(path), text.as_bytes().to_vec()));
    match load_from_memory(files, &common::catalog()) {
        Ok(Loaded { blueprint, .. }) => blueprint,
        Err(failure) => panic!("{}", failure.to_text()),
    }
}

fn file<'s>(stack: &'s Stack, path: &str) -> &'s str {
    let found = stack.files.iter().find(|file| file.path == path);
    found.and_then(|file| std::str::from_utf8(&file.bytes).ok()).unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn one_of_the_catalogue_is_a_stack_like_any_other() {
    let site = site(r#"{"mine": {"on": "docker", "from": "papers", "with": {"own-key": {"env": "KEY"}}}}"#);
    let stack: &Arc<Stack> = &site.stacks["mine"];
    let env: Vec<(&str, &str)> =
        stack.env.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        env,
        [("HOST", "mine.workshop.internal"), ("LEVEL", "low"), ("PORT", "8010"), ("QUIET", "true")]
    );
    assert_eq!(stack.secret_env, [("KEY".to_owned(), SecretRef::Env("KEY".to_owned()))].into());
    let database = SecretRef::Generate("mine-database".to_owned());
    assert_eq!(stack.secrets, [("database".to_owned(), database)].into());
    assert_eq!(stack.within, Duration::from_mins(5));
    assert_eq!((stack.project.as_str(), stack.adopts, stack.restores), ("mine", false, true));
    // Its files, the templates filled in, and no example among them.
    let paths: Vec<&str> = stack.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["as-it-is.conf", "compose.yaml", "settings.conf"]);
    assert_eq!(file(stack, "settings.conf"), "host mine\nlanguage eng\n");
    assert_eq!(file(stack, "as-it-is.conf"), SETTINGS);
    let service = &site.guests["docker"].services["mine"];
    assert_eq!((service.port, service.expose, service.probe_path.as_str()), (8010, Expose::Gateway, "/up"));
    assert_eq!(service.stack.as_deref(), Some("mine"));
}

#[test]
fn what_the_site_says_wins() {
    let site = site(
        r#"{"mine": {
          "on": "docker", "from": "papers",
          "with": { "port": 8020, "languages": ["deu", "fra"], "quiet": false, "own-key": { "generate": "k" } },
          "env": { "LEVEL": "high", "KEY": "none" },
          "secrets": { "database": { "env": "PASSWORD" } },
          "services": { "documents": { "port": 8020, "expose": "direct" } },
          "within": "1m", "on-failure": "keep", "project": "old"
        }}"#,
    );
    let stack = &site.stacks["mine"];
    assert_eq!((stack.env["LEVEL"].as_str(), stack.env["PORT"].as_str()), ("high", "8020"));
    assert_eq!((stack.env["QUIET"].as_str(), stack.env["KEY"].as_str()), ("false", "none"));
    assert!(stack.secret_env.is_empty(), "{:?}", stack.secret_env);
    assert_eq!(stack.secrets["database"], SecretRef::Env("PASSWORD".to_owned()));
    assert_eq!(stack.within, Duration::from_mins(1));
    assert_eq!((stack.project.as_str(), stack.adopts, stack.restores), ("old", true, false));
    assert_eq!(file(stack, "settings.conf"), "host mine\nlanguage deu\nlanguage fra\n");
    // The service on that port is the catalogue's under another name, with what is not said of it.
    let services: Vec<&str> = site.guests["docker"].services.keys().map(String::as_str).collect();
    assert_eq!(services, ["documents"]);
    let service = &site.guests["docker"].services["documents"];
    assert_eq!((service.expose, service.probe_path.as_str()), (Expose::Direct, "/up"));
}

#[test]
fn the_same_one_runs_twice() {
    let site = site(
        r#"{
          "one": { "on": "docker", "from": "papers", "with": { "own-key": { "env": "A" } } },
          "two": { "on": "docker", "from": "papers", "with": { "own-key": { "env": "B" }, "port": 8011 } }
        }"#,
    );
    let names: Vec<&str> = site.guests["docker"].services.keys().map(String::as_str).collect();
    assert_eq!(names, ["one", "two"]);
    let database = |name: &str| site.stacks[name].secrets["database"].clone();
    assert_ne!(database("one"), database("two"));
}
