//! What somebody changed on the node by hand, seen by looking there: the real engine on a real root, as if it were the node.

#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

use std::sync::Arc;

use managers::certificates::CertificateMark;
use managers::features::look::Looker;
use managers::features::{Mode, Rendered, script};
use managers::{Looked, Ways};
use plan::desired::Hypervisor;
use plan::{Address, Desired, Inventory, Mark};

use crate::root::Root;
use crate::support::{self, Files, Nobody, SITE};

/// A site that looks after its node's certificate, and has no guest.
fn site() -> Desired {
    let files = [("site.json", SITE), ("node.json", r#"{ "hypervisor": { "certificate": true } }"#)];
    let files: Files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec())).into();
    support::desired(&files, scenarios::authority().root_pem()).unwrap()
}

/// What the node remembers once all of it is there.
fn mark(site: &str, node: &Hypervisor) -> Mark {
    let mut mark = Mark::new(site, Address::hypervisor_certificate());
    for feature in &node.features {
        mark.remember(&Address::feature(&feature.name, &node.certificate.on), &*feature.fingerprint);
    }
    let fingerprint = node.certificate.fingerprint.clone();
    let there = CertificateMark { fingerprint, begin: 1, end: 2, serial: String::new() };
    CertificateMark::remember(&mut mark, &[(node.certificate.name.clone(), there)]);
    mark
}

fn look(root: &Root, desired: &Desired, inventory: &Inventory) -> Looked {
    let ways = Ways::new(Some(root.node()), Arc::new(Nobody));
    let looker = Looker { desired, inventory, ways, secrets: Arc::new(scenarios::NoSecrets) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(looker.look(&[]))
}

#[test]
fn what_was_changed_on_the_node_is_found_by_looking() {
    let Some(root) = Root::new() else { return };
    let desired = site();
    let node = desired.hypervisor.as_ref().unwrap();
    let mut inventory = Inventory::default();
    inventory.reached_mut().hypervisor = Some(mark(&desired.site, node));
    let found = |root: &Root| {
        let looked = look(root, &desired, &inventory);
        assert!(looked.unseen.is_empty() && looked.node && looked.guests == 0, "{looked:?}");
        let Looked { mut found, .. } = looked;
        let of_node = found.remove(&Address::hypervisor_certificate()).unwrap_or_default();
        assert!(found.is_empty(), "{found:?}");
        of_node
    };

    // As it is put there; the certificate by hand, since nobody applies here.
    let rendered: Vec<Rendered> =
        node.features.iter().map(|f| serde_json::from_value((*f.payload).clone()).unwrap()).collect();
    let install = script(&rendered, Mode::Apply, &|_| Err::<String, _>("no secrets here")).unwrap().text;
    root.run(&install).ok();
    root.sh(
        "mkdir -p /etc/phoenix/certificates/hypervisor; cd /etc/phoenix/certificates/hypervisor; openssl req -x509 -newkey ec \
         -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pve -keyout key.pem -out fullchain.pem -days 1 2>/dev/null",
    );
    let before = root.picture();
    assert_eq!(found(&root), Vec::<String>::new());
    assert_eq!(root.picture(), before, "looking changed something");

    root.sh("rm /usr/local/lib/phoenix/pveproxy; echo '# by hand' >>/etc/phoenix/certificates.conf; \
         systemctl disable phoenix-pveproxy; systemctl stop phoenix-pveproxy");
    let mended = [
        "/etc/phoenix/certificates.conf differs",
        "/usr/local/lib/phoenix/pveproxy is missing",
        "phoenix-pveproxy does not start at boot",
        "phoenix-pveproxy does not run",
    ];
    let mut said = found(&root);
    said.sort();
    let mut expected = mended.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(said, expected);
    root.run(&install).ok();
    assert_eq!(found(&root), Vec::<String>::new());

    root.sh("rm -r /etc/phoenix/certificates/hypervisor");
    assert_eq!(found(&root), ["its files are not there any more"]);
}
