//! Sites that are valid, and what comes out.

#![expect(clippy::panic, reason = "a failing test panics")]

use std::time::Duration;

use blueprint::model::{Blueprint, Content, Expose, ImageFrom, MountSource, NicAddress, Target};
use blueprint::{Loaded, init, load, load_from_memory};
use camino::{Utf8Path, Utf8PathBuf};

use crate::common;

fn load_files(files: &[(&str, &str)]) -> Blueprint {
    let files = files.iter().map(|(path, text)| (Utf8PathBuf::from(path), text.as_bytes().to_vec()));
    match load_from_memory(files, &common::catalog()) {
        Ok(Loaded { blueprint, .. }) => blueprint,
        Err(failure) => panic!("{}", failure.to_text()),
    }
}

const SITE: &str = r#"{
  "site": {"name": "workshop", "domain": "workshop.internal"}, "target": {"lab": {}},
  "networks": {"lan": {"bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}}
}"#;

fn new_site() -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let files = init::FIRST.files(init::DEFAULT_NAME).into_iter();
    files.map(|(path, text)| (path.into(), text.into_bytes())).collect()
}

#[test]
fn the_site_that_init_writes_is_valid() {
    let loaded =
        load_from_memory(new_site(), &common::catalog()).unwrap_or_else(|f| panic!("{}", f.to_text()));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let blueprint = loaded.blueprint;
    assert_eq!(blueprint.site.domain, "workshop.internal");
    assert!(matches!(blueprint.target, Target::Lab(_)));
    let notes = &blueprint.guests["notes"];
    assert_eq!(notes.id, Some(120));
    assert_eq!(notes.services["notes"].expose, Expose::Gateway);
    assert_eq!(notes.services["notes"].declared.to_string(), "guests.json:21");
    // What a feature requires comes first.
    let features: Vec<&str> = notes.features.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(features, ["base", "trusted-ca", "static-site"]);
    let pages = &notes.features[2].contents["root"];
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].path, "index.html");
    let NicAddress::Static(address) = blueprint.guests["gateway"].nets[&0].address else {
        panic!("no address")
    };
    assert_eq!(address.to_string(), "10.0.0.153/24");
}

#[test]
fn an_address_says_which_of_several_networks() {
    let more = r#"{
      "networks": {"inner": {"bridge": "vmbr1", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}},
      "containers": {"one": {"address": "10.0.0.20"}, "two": {"address": "10.1.0.20"}}
    }"#;
    let blueprint = load_files(&[("site.json", SITE), ("more.json", more)]);
    let is_in = |guest: &str| blueprint.guests[guest].nets[&0].network.clone();
    assert_eq!((is_in("one").as_deref(), is_in("two").as_deref()), (Some("lan"), Some("inner")));
}

#[test]
fn the_first_workshop_is_what_init_writes() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-workshop");
    for (path, text) in init::FIRST.files(init::DEFAULT_NAME) {
        let there = fs_err::read_to_string(root.join(&path)).unwrap();
        assert_eq!(there, text, "{path} differs");
    }
    let loaded = load(&root, &common::catalog()).unwrap_or_else(|f| panic!("{}", f.to_text()));
    assert_eq!(loaded.blueprint.guests.len(), 3);
}

#[test]
fn defaults_are_filled_in() {
    let blueprint = load_files(&[("site.json", SITE), ("guests.json", r#"{"containers": {"one": {}}}"#)]);
    let one = &blueprint.guests["one"];
    let own = one.container().unwrap();
    assert_eq!((one.cores, one.memory_mib, own.swap_mib, own.disk.size_mib), (Some(1), 512, 512, 8 << 10));
    assert_eq!((own.template.as_str(), one.hostname.as_str()), ("debian-12", "one"));
    assert!(own.unprivileged && one.onboot && !one.protected);
    assert_eq!(own.options.get("nesting").map(String::as_str), Some("1"));
    assert_eq!(one.nets[&0].address, NicAddress::Dhcp);
    assert_eq!(
        (one.nets[&0].network.as_deref().unwrap_or_default(), one.nets[&0].name.as_str()),
        ("lan", "eth0")
    );
    assert_eq!(blueprint.certificates.life, Duration::from_secs(90 * 86_400));
}

#[test]
fn guest_types_are_merged() {
    let guests = r#"{
      "types": {
        "small": {"cores": 2, "memory": "1G", "tags": ["a"], "network": "lan", "options": {"fuse": true},
                  "mounts": {"mp0": {"path": "/data", "size": "10G"}, "mp1": {"path": "/more", "size": "1G"}},
                  "features": ["base", {"static-site": {"root": "pages", "port": 81}}]},
        "large": {"extends": "small", "memory": "8G", "tags": ["b"]}
      },
      "containers": {
        "one": {"type": "large", "cores": 4, "address": "10.0.0.9", "tags": ["c"], "options": {"keyctl": true},
                "mounts": {"mp1": {"path": "/host", "host": "/tank", "read-only": true}},
                "features": [{"static-site": {"port": 82}}]}
      }
    }"#;
    let blueprint = load_files(&[("site.json", SITE), ("g.json", guests), ("pages/index.html", "hello")]);
    let one = &blueprint.guests["one"];
    let own = one.container().unwrap();
    assert_eq!((one.cores, one.memory_mib), (Some(4), 8192));
    assert_eq!(one.tags.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(own.options.keys().map(String::as_str).collect::<Vec<_>>(), ["fuse", "keyctl", "nesting"]);
    assert_eq!(own.mounts[&0].path, "/data");
    assert_eq!(own.mounts[&1].source, MountSource::Host("/tank".to_owned()));
    assert!(matches!(one.nets[&0].address, NicAddress::Static(_)));
    assert_eq!(one.features.len(), 2);
    assert_eq!(one.features[1].parameters["port"], 82);
    assert_eq!(one.features[1].contents["root"][0].bytes.as_ref(), b"hello");
}

// F-4, F-5: a single machine is the commonest end of a flow, and a node's name is whatever it was given.
#[test]
fn a_machine_alone_and_a_node_with_capitals_are_taken_as_they_are() {
    let more = r#"{
        "firewall": { "management": ["192.168.1.5", "192.168.2.0/24", "192.168.1.6/32"] },
        "flows": { "backup": { "from": "container.notes", "to": "192.168.1.20", "ports": [873], "reason": "rsync" } },
        "containers": { "notes": { "template": "debian-12", "address": "10.0.0.5", "node": "PVE-01" } }
    }"#;
    let loaded = load_files(&[("site.json", SITE), ("more.json", more)]);
    let management: Vec<String> =
        loaded.firewall.iter().flat_map(|it| &it.management).map(ToString::to_string).collect();
    assert_eq!(management, ["192.168.1.5", "192.168.2.0/24", "192.168.1.6"]);
    let to = &loaded.flows["backup"].to;
    assert_eq!(*to, blueprint::model::FlowEnd::Net("192.168.1.20/32".parse().unwrap()));
    assert_eq!(loaded.guests["notes"].node.as_deref(), Some("PVE-01"));
}

// F-14: what `explain` says of the hook is what the book says and the guest's program calls.
#[test]
fn the_hook_of_acme_is_called_as_it_is_explained() {
    let said = blueprint::explain("certificates.acme.hook").unwrap().description;
    let book = include_str!("../../../../docs/src/certificates.md");
    for word in ["deploy_challenge NAME UNUSED VALUE", "clean_challenge NAME UNUSED VALUE"] {
        assert!(said.contains(word) && book.contains(word), "{word}: {said}");
    }
}

/// What a template or an image is called on a storage follows from its name, its ending and the beginning of its sum.
#[test]
fn templates_and_images_have_names_of_their_own() {
    let sum = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";
    let declared = format!(
        r#"{{
          "templates": {{
            "debian-13": {{}}, "small": {{"catalogue": "alpine-3.22", "storage": "tank"}},
            "mine": {{"url": "https://images.example.org/x.tar.zst?a=b.iso", "sha256": "{sum}"}}
          }},
          "images": {{
            "ubuntu": {{"url": "https://images.example.org/noble.img", "format": "qcow2"}}, "win": {{"file": "iso/x.ISO"}}
          }},
          "containers": {{"one": {{"template": "mine"}}, "two": {{"template": "debian-13"}}}}
        }}"#
    );
    let blueprint = load_files(&[("site.json", SITE), ("guests.json", &declared), ("iso/x.ISO", "a CD")]);
    let from = |name: &str| blueprint.templates[name].from.clone();
    assert_eq!(from("debian-13"), ImageFrom::Catalogue("debian-13".into()));
    assert_eq!(from("small"), ImageFrom::Catalogue("alpine-3.22".into()));
    assert_eq!(blueprint.templates["small"].storage.as_deref(), Some("tank"));
    let ImageFrom::Url { stored, sha256, .. } = from("mine") else { panic!("{:?}", from("mine")) };
    assert_eq!((stored.as_str(), sha256), ("mine-2cf24dba5fb0.tar.zst", Some(sum.to_lowercase())));
    let image = |name: &str| (blueprint.images[name].content, blueprint.images[name].from.clone());
    let (content, from) = image("ubuntu");
    assert!(matches!(from, ImageFrom::Url { stored, sha256: None, .. } if stored == "ubuntu.qcow2"));
    assert_eq!(content, Content::Disk);
    let (content, from) = image("win");
    assert!(matches!(from, ImageFrom::File { stored, size: 4, .. } if stored == "win.iso"));
    assert_eq!(content, Content::Iso);
    // Whether systemd is in a template is told by all that is said of it.
    let nesting = |name: &str| blueprint.guests[name].container().unwrap().options.contains_key("nesting");
    assert!(!nesting("one") && nesting("two"));
}
