//! What the book shows is what Phoenix takes.

use blueprint::Catalog;

const SITE: &str = r#"{
    "site": { "name": "workshop", "domain": "workshop.internal" },
    "target": { "lab": {} },
    "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    "containers": { "gateway": { "address": "10.0.0.153", "template": "debian-13", "features": ["nginx-gateway"] } }
}"#;

#[test]
fn every_blueprint_of_the_page_about_virtual_machines() {
    let book = include_str!("../../../../docs/src/vms.md");
    let shown: Vec<&str> =
        book.split("```jsonc\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(shown.len() >= 3, "{shown:#?}");
    let catalog = Catalog::from_files(managers::features::builtin()).unwrap();
    for text in shown {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Zw3vAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA heads\n";
        let files = [("site.json", SITE), ("vms.json", text), ("keys/heads.pub", key)];
        let files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec()));
        let loaded = blueprint::load_from_memory(files, &catalog);
        assert!(
            loaded.is_ok(),
            "{text}\n{}",
            loaded.err().map(|failed| failed.to_text()).unwrap_or_default()
        );
    }
}

#[test]
fn the_blueprint_of_the_page_about_shares() {
    let site = r#"{
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "proxmox": { "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13" } }
    }"#;
    let book = include_str!("../../../../docs/src/shares.md");
    let shown = book.split("```jsonc\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let text = format!("{{\n{shown}}}\n");
    let catalog = Catalog::from_files(managers::features::builtin()).unwrap();
    let files = [("site.json", site), ("shares.json", &text)];
    let files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec()));
    let loaded = blueprint::load_from_memory(files, &catalog);
    assert!(loaded.is_ok(), "{text}\n{}", loaded.err().map(|failed| failed.to_text()).unwrap_or_default());
}

#[test]
fn every_blueprint_of_the_page_about_the_network() {
    let book = include_str!("../../../../docs/src/network.md");
    let shown: Vec<&str> =
        book.split("```jsonc\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(shown.len(), 3, "{shown:#?}");
    let catalog = Catalog::from_files(managers::features::builtin()).unwrap();
    for text in shown {
        let text = format!("{{\n{text}}}\n");
        let files = [("site.json", SITE), ("node.json", &text)];
        let files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec()));
        let loaded = blueprint::load_from_memory(files, &catalog);
        assert!(
            loaded.is_ok(),
            "{text}\n{}",
            loaded.err().map(|failed| failed.to_text()).unwrap_or_default()
        );
    }
}
