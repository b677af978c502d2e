//! `doctor --print-role`: the commands that make a token of exactly what a blueprint needs, on paper.

use super::TestEnv;

const EXPECTED: &str = "\
pveum pool add workshop
pveum role add phoenix-workshop-bridges --privs SDN.Use
pveum role add phoenix-workshop-guests --privs Pool.Audit,VM.Allocate,VM.Audit,VM.Config.CPU,VM.Config.Disk,VM.Config.Memory,\
VM.Config.Network,VM.Config.Options,VM.PowerMgmt
pveum role add phoenix-workshop-nodes --privs Sys.Audit
pveum role add phoenix-workshop-storage --privs Datastore.AllocateSpace
pveum role add phoenix-workshop-storage-2 --privs Datastore.Audit
pveum user add phoenix-workshop@pve
pveum acl modify /nodes --users phoenix-workshop@pve --roles phoenix-workshop-nodes
pveum acl modify /pool/workshop --users phoenix-workshop@pve --roles phoenix-workshop-guests
pveum acl modify /storage/tank --users phoenix-workshop@pve --roles phoenix-workshop-storage --propagate 0
pveum acl modify /storage/local --users phoenix-workshop@pve --roles phoenix-workshop-storage-2 --propagate 0
pveum acl modify /sdn/zones/localnetwork/vmbr0/30 --users phoenix-workshop@pve --roles phoenix-workshop-bridges --propagate 0
pveum user token add phoenix-workshop@pve cli --privsep 1
pveum acl modify /nodes --tokens 'phoenix-workshop@pve!cli' --roles phoenix-workshop-nodes
pveum acl modify /pool/workshop --tokens 'phoenix-workshop@pve!cli' --roles phoenix-workshop-guests
pveum acl modify /storage/tank --tokens 'phoenix-workshop@pve!cli' --roles phoenix-workshop-storage --propagate 0
pveum acl modify /storage/local --tokens 'phoenix-workshop@pve!cli' --roles phoenix-workshop-storage-2 --propagate 0
pveum acl modify /sdn/zones/localnetwork/vmbr0/30 --tokens 'phoenix-workshop@pve!cli' --roles phoenix-workshop-bridges --propagate 0
";

fn site(container: &str) -> TestEnv {
    let env = TestEnv::empty();
    // Nothing listens there, and there is no token: nothing is asked for either.
    env.write(
        "site.json",
        format!(
            r#"{{ "site": {{ "name": "workshop", "domain": "workshop.internal" }},
            "target": {{ "proxmox": {{ "endpoint": "https://192.0.2.1:8006", "token": {{ "env": "NONE" }} }} }},
            "networks": {{ "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "vlan": 30 }} }},
            "containers": {{ "notes": {{ "id": 120, "address": "10.0.0.120", {container} }} }} }}"#
        ),
    );
    env
}

#[test]
fn the_commands_are_for_exactly_this_blueprint() {
    let narrow = site(r#""pool": "workshop", "disk": { "storage": "tank", "size": "4G" }"#);
    let said = narrow.run(&["doctor", "--print-role"]).ended(0);
    assert_eq!(said.out, EXPECTED);
    assert!(
        said.err.contains("phoenix-workshop@pve!cli") && said.err.contains("Sys.Audit on /"),
        "{}",
        said.err
    );

    // What is not said is wider, and said to be.
    let wide = site(r#""disk": "4G", "unprivileged": false"#);
    let said = wide.run(&["doctor", "--print-role"]).ended(0);
    assert!(!said.out.contains("/pool/") && said.out.contains("acl modify /vms "), "{}", said.out);
    assert!(said.out.contains("acl modify / ") && said.out.contains("Sys.Modify"), "{}", said.out);
    for (path, more) in [("/vms is every guest", "\"pool\""), ("/storage is every storage", "\"storage\"")] {
        assert!(said.err.contains(path) && said.err.contains(more), "{}", said.err);
    }
    let json = wide.run(&["doctor", "--print-role", "--json"]).ended(0).json();
    let needs = json["needs"].as_array().unwrap();
    assert!(
        needs
            .iter()
            .any(|it| it["privilege"] == "Sys.Modify" && it["path"] == "/" && it["propagates"] == false)
    );
    assert_eq!(json["commands"].as_array().unwrap().len(), said.out.lines().count());
}
