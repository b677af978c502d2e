//! The compose files of the stacks that come with Phoenix, read by the real Compose. No image is fetched and nothing is started:
//! whether the programs run is not what this shows.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use blueprint::model::{Blueprint, Stack};
use serde_json::Value;

use super::super::catalog;
use super::super::stacks::example;
use crate::built;

/// Services whose image has a health check of its own, and those that nobody asks anything; by stack.
const WITHOUT: [(&str, &[&str]); 5] = [
    ("home-assistant", &["files"]),
    ("immich", &["web", "immich-machine-learning"]),
    ("nextcloud", &["cron"]),
    ("uptime-kuma", &["web"]),
    ("vaultwarden", &["web"]),
];

/// What Compose makes of a stack.
fn config(program: &camino::Utf8Path, site: &Blueprint, stack: &Stack) -> Value {
    let folder = tempfile::tempdir().unwrap();
    for file in &stack.files {
        let path = folder.path().join(&file.path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, &*file.bytes).unwrap();
    }
    for name in stack.secrets.keys() {
        fs_err::create_dir_all(folder.path().join("secrets")).unwrap();
        fs_err::write(folder.path().join("secrets").join(name), "a-secret").unwrap();
    }
    let secrets = stack.secret_env.keys().map(|name| (name.as_str(), "a-secret"));
    let env = stack.env.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let given = [
        ("PHOENIX_SITE", site.site.name.as_str()),
        ("PHOENIX_DOMAIN", &site.site.domain),
        ("PHOENIX_GUEST", "docker"),
        ("PHOENIX_ADDRESS", "10.0.0.23"),
        ("PHOENIX_TIMEZONE", "Europe/Berlin"),
    ];
    let done = Command::new(program)
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", "/usr/bin:/bin")
        .envs(given.into_iter().chain(env).chain(secrets))
        .args(["--ansi", "never", "-p", &stack.project, "config", "--format", "json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {said}", stack.name);
    // A variable that is not set, a key that is obsolete.
    assert_eq!(said, "", "{}", stack.name);
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn the_real_compose_takes_each_of_them() {
    let Some(bytes) = built::program("docker-compose") else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = camino::Utf8PathBuf::from_path_buf(folder.path().join("docker-compose")).unwrap();
    fs_err::write(&program, bytes).unwrap();
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (name, _) in catalog().stacks() {
        let site = example(name, &Value::Null);
        let stack = site.stacks.values().next().unwrap();
        let config = config(&program, &site, stack);
        looked_at(name, &site, stack, &config);
    }
}

fn looked_at(name: &str, site: &Blueprint, stack: &Stack, config: &Value) {
    let services = config["services"].as_object().unwrap();
    let each = |key: &'static str| {
        services.values().flat_map(move |service| service[key].as_array().into_iter().flatten())
    };
    // What is published is what its services are at, on all addresses.
    let published: BTreeSet<u16> =
        each("ports").map(|port| port["published"].as_str().unwrap().parse().unwrap()).collect();
    let own = site.guests["docker"].services.values().filter(|it| it.stack.as_deref() == Some(&*stack.name));
    assert_eq!(published, own.map(|service| service.port).collect(), "{name}");
    assert!(each("ports").all(|port| port.get("host_ip").is_none()), "{name}");
    // Each secret is a file that some container gets.
    let used: BTreeSet<&str> = each("secrets").filter_map(|secret| secret["source"].as_str()).collect();
    assert_eq!(used, stack.secrets.keys().map(String::as_str).collect(), "{name}");
    for (secret, said) in config["secrets"].as_object().into_iter().flatten() {
        let file = said["file"].as_str().unwrap_or_default();
        assert!(file.ends_with(&format!("/secrets/{secret}")), "{name}: {file}");
    }
    // Nothing that is kept is in a container alone, and every volume is one that somebody has.
    let mounted: BTreeSet<&str> = each("volumes")
        .filter(|volume| volume["type"] == "volume")
        .map(|volume| volume["source"].as_str().unwrap())
        .collect();
    let declared = config["volumes"].as_object().unwrap();
    assert_eq!(mounted, declared.keys().map(String::as_str).collect(), "{name}");
    for (service, said) in services {
        let image = said["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no version"));
        assert!(tag.contains(|c: char| c.is_ascii_digit()), "{name}: {image}");
        let job = said["restart"] == "no";
        assert!(job || said["restart"] == "unless-stopped", "{name}: {service} is not started again");
        let without = WITHOUT.iter().any(|(stack, all)| *stack == name && all.contains(&service.as_str()));
        assert_eq!(said.get("healthcheck").is_none(), without, "{name}: {service}");
        // Docker of Debian 12 refuses it.
        assert!(said["healthcheck"].get("start_interval").is_none(), "{name}: {service}");
        // What another one waits for is healthy by a check, or a job that ends.
        for (other, how) in said["depends_on"].as_object().into_iter().flatten() {
            let ends = services[other]["restart"] == "no";
            let wanted = if ends { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"], wanted, "{name}: {service} waits for {other}");
        }
    }
}
