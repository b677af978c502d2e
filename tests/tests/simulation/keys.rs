//! Every key of a container: applied, planned again, and changed in turn. What a change costs is what the key's row says, and
//! after it there is nothing to do. A row of the table without a case here fails.

use std::collections::BTreeSet;

use lab::sim::Faults;
use managers::guests::containers::ROWS;
use managers::keys::{self, Row, Takes};
use plan::desired::Guest;
use plan::{Action, Grade};
use scenarios::{Files, Site, Try, run, state, virtually};
use serde_json::{Map, Value, json};

use super::{apply, world};

/// A key: of which row, under which name of the blueprint, what it is first, and what then.
type Case = (&'static str, &'static str, Value, Value);

fn cases() -> Vec<Case> {
    let mp = |options: Value, owner: Value| {
        json!({
            "mp0": { "path": "/data", "size": "1G", "read-only": false, "options": options, "acl": true,
                     "replicate": false, "shared": true },
            "mp1": { "path": "/media", "host": "/srv/media", "owner": owner },
        })
    };
    let net = |rate: Value| json!({ "net0": { "address": "10.0.0.50", "mac": "02:00:00:00:00:50", "rate": rate, "mtu": 1400, "link-down": false } });
    vec![
        ("arch", "settings.arch", json!("amd64"), json!("arm64")),
        ("cmode", "console.mode", json!("tty"), json!("shell")),
        ("console", "console.device", json!(true), json!(false)),
        ("cores", "cores", json!(2), json!("all")),
        ("cpulimit", "cpulimit", json!(1.5), json!(0.25)),
        ("cpuunits", "cpuunits", json!(50), json!(200)),
        ("debug", "settings.debug", json!("1"), json!("0")),
        ("description", "description", json!("One.\n\n  two  "), json!("Another.")),
        (
            "dev",
            "devices",
            json!({ "dev0": { "path": "/dev/net/tun", "mode": "0660" } }),
            json!({ "dev0": { "path": "/dev/net/tun", "gid": 5 } }),
        ),
        ("entrypoint", "settings.entrypoint", json!("/sbin/init"), json!("/bin/sh -c x")),
        ("env", "settings.env", json!("A=1\nB=two words"), json!("A=2")),
        (
            "features",
            "options",
            json!({ "nesting": true, "keyctl": true }),
            json!({ "nesting": true, "fuse": true, "mount": ["nfs"] }),
        ),
        ("hookscript", "hookscript", json!("local:snippets/a.sh"), json!("local:snippets/b.sh")),
        ("hostname", "hostname", json!("one"), json!("other")),
        ("memory", "memory", json!("512M"), json!("1G")),
        (
            "mp",
            "mounts",
            mp(json!(["noatime"]), json!("same")),
            mp(json!(["noatime", "nosuid"]), json!({ "uid": 1000 })),
        ),
        ("nameserver", "nameservers", json!(["9.9.9.9"]), json!(["9.9.9.9", "1.1.1.1"])),
        ("net", "networks", net(json!(10)), net(json!(12.5))),
        ("onboot", "onboot", json!(false), json!(true)),
        ("ostype", "settings.ostype", json!("debian"), json!("unmanaged")),
        ("protection", "protected", json!(false), json!(true)),
        ("rootfs", "disk", json!("1536M"), json!("2G")),
        ("searchdomain", "search-domains", json!(["example.org"]), json!(["example.org", "internal.lan"])),
        ("startup", "startup", json!({ "order": 3, "up": 10 }), json!({ "order": 4, "down": 20 })),
        ("swap", "swap", json!("0M"), json!("256M")),
        ("tags", "tags", json!(["web"]), json!(["web", "db"])),
        ("timezone", "timezone", json!("Europe/Berlin"), json!("host")),
        ("tty", "console.terminals", json!(1), json!(4)),
        ("unprivileged", "unprivileged", json!(true), json!(false)),
    ]
}

/// A site with one container that has all of these.
fn site<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Site {
    let mut guest = Map::new();
    for (path, value) in values {
        match path.split_once('.') {
            None => drop(guest.insert(path.to_owned(), value.clone())),
            Some((outer, inner)) => {
                guest.entry(outer).or_insert_with(|| json!({}))[inner] = value.clone();
            }
        }
    }
    guest.insert("id".into(), json!(150));
    // A privileged container has the node's numbers.
    if guest.get("unprivileged") == Some(&json!(false)) {
        let media = guest.get_mut("mounts").and_then(|all| all["mp1"].as_object_mut());
        media.map(|media| media.remove("owner"));
    }
    let file = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "proxmox": {
            "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13",
        } },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "containers": { "one": guest },
    });
    Site::of(&Files::from([("site.json".to_owned(), file.to_string().into_bytes())]))
}

fn row(name: &str) -> &'static Row<Guest> {
    keys::row(&ROWS, name).or_else(|| ROWS.iter().find(|row| row.name == name)).expect("a row of the table")
}

/// What a change of it costs in a container that runs, by the table.
fn grade(row: &Row<Guest>) -> (Action, Grade) {
    match row.takes {
        Takes::Live => (Action::Update, Grade::Live),
        Takes::Restart | Takes::Plugged => (Action::Restart, Grade::Restart),
        // It has a volume.
        Takes::Rebuild => (Action::Replace, Grade::DataLoss),
    }
}

#[test]
fn every_row_has_a_case() {
    let covered: BTreeSet<&str> = cases().iter().map(|case| case.0).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(covered, rows);
}

#[test]
fn every_key_of_a_container_is_applied_and_changed_in_turn() {
    let cases = cases();
    let first = site(cases.iter().map(|(_, path, one, _)| (*path, one)));
    for (name, changed, _, other) in &cases {
        let wanted =
            site(cases.iter().map(|(_, path, one, _)| (*path, if path == changed { other } else { one })));
        virtually(async {
            let world = world(7, Faults::none());
            let made = apply(&world, &first).await;
            assert!(made.done(), "{:#?}\n{}", made.failures(), world.story());
            let again = apply(&world, &first).await;
            assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
            let granted = vec!["container.one".to_owned()];
            let ended = run(&world, &wanted, &Try { granted, ..Try::default() }).await;
            assert!(ended.done(), "{name}: {:#?}\n{}", ended.failures(), world.story());
            let steps: Vec<_> =
                ended.plan().steps.iter().map(|s| (s.address.to_string(), s.action, s.grade)).collect();
            let (action, grade) = grade(row(name));
            assert_eq!(steps, [("container.one".to_owned(), action, grade)], "{name}");
            let rest = apply(&world, &wanted).await;
            assert!(rest.plan().steps.is_empty(), "{name}: {:#?}", rest.plan().steps);
            let found = state::describe(&world, &wanted).await;
            assert!(!found.contains("WRONG") && !found.contains("stopped"), "{name}: {found}");
        });
    }
}

/// What the blueprint no longer says goes, and no key of it is left behind but what the node cannot do without.
#[test]
fn all_of_it_goes_again() {
    let cases = cases();
    let first = site(cases.iter().map(|(_, path, one, _)| (*path, one)));
    let bare = site([("networks", &json!({ "net0": { "address": "10.0.0.50" } }))].into_iter());
    virtually(async {
        let world = world(8, Faults::none());
        assert!(apply(&world, &first).await.done());
        let ended = apply(&world, &bare).await;
        assert_eq!(ended.plan().problems, [], "{ended:#?}");
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        let rest = apply(&world, &bare).await;
        assert!(rest.plan().steps.is_empty(), "{:#?}", rest.plan().steps);
        let notes = rest.plan().notes.join("\n");
        assert!(!notes.contains("left as others set it"), "{notes}");
    });
}
