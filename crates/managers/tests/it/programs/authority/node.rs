//! The node asks inside the authority's container, as its root. Here both are one root, and only `pct` is stood in for.

use plan::told::ByNode;
use serde_json::json;

use super::workshop::{AUTHORITY, Workshop, certificate, rendered};

const PCT: &str = "#!/bin/sh\n[ \"$1 $2 $3\" = 'exec 103 --' ] || exit 9\nshift 3\nexec \"$@\"\n";

// P-44: neither a name nor a proxy nor a network has to work for it. P-70: it has its own names alone, and a guest not its.
#[test]
fn the_node_asks_inside_the_authoritys_container() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.apply(&[rendered("step-ca", json!({ "node-names": ["pve.workshop.internal"] }))]).ok();
    w.root.put("/usr/local/sbin/pct", PCT.as_bytes());
    w.root.sh("chmod 755 /usr/local/sbin/pct");
    let declared = |names: &[&str]| {
        let authority = ByNode { through: 103, who: "hypervisor".into() };
        let certificates = [certificate("hypervisor", names, 3600)];
        let parameters = json!({ "certificates": certificates, "authority": authority, "acme": {} });
        w.apply(&[rendered("certificates", parameters)]).ok();
    };
    declared(&["pve"]);
    assert!(w.certificates("renew hypervisor").err.contains("hypervisor is not admitted here"));
    let told = json!({ "names": ["pve.workshop.internal"], "life": 3600 }).to_string();
    w.authority("admit hypervisor", told.as_bytes()).ok();
    w.certificates("renew hypervisor").ok();
    let first = w.facts("hypervisor");
    assert_eq!(first.dns_names, ["pve.workshop.internal"]);
    assert!(w.chain("hypervisor").matches("BEGIN CERTIFICATE").count() > 1, "with what vouches for it");
    let key = w.root.sh(
        "stat -c '%a %U' /etc/step-ca/host-hypervisor.jwk /etc/phoenix/certificates/hypervisor/.20*/key.pem",
    );
    assert_eq!(key, "600 step\n600 root\n");
    // It is no guest, and told again it is who it was.
    assert!(!w.authority("list", b"").ok().contains("hypervisor"));
    w.authority("admit hypervisor", told.as_bytes()).ok();
    w.certificates("renew --force hypervisor").ok();
    assert_ne!(w.facts("hypervisor").serial, first.serial);

    declared(&["pve", "notes"]);
    let said = w.certificates("renew hypervisor").err;
    assert!(said.contains("notes.workshop.internal is not a name of host-hypervisor"), "{said}");
    declared(&["pve"]);

    // A backup brings back who was admitted, but not with which key: it makes itself another one.
    let pass = "a passphrase that is long enough\n";
    w.say(&format!("{AUTHORITY} backup >/root/backup"), pass.as_bytes()).ok();
    w.authority("admit hypervisor", json!({ "names": [] }).to_string().as_bytes()).ok();
    assert!(w.certificates("renew --force hypervisor").err.contains("not admitted"));
    w.say(&format!("{{ cat; cat /root/backup; }} | {AUTHORITY} restore"), pass.as_bytes()).ok();
    w.certificates("renew --force hypervisor").ok();

    // Without the authority it says so, and what there is stays.
    let before = w.facts("hypervisor").serial;
    w.root.sh("systemctl stop step-ca");
    let said = w.certificates("renew --force hypervisor");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("does not sign"), "{said:?}");
    assert_eq!(w.facts("hypervisor").serial, before);
}

/// An API whose old workers show the old certificate for seconds after it was told: two processes take turns at that.
const PVENODE: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>/root/pvenode
cp "$3" /etc/pve/local/pveproxy-ssl.pem
old=$(cat /root/api.pid)
(sleep "${PATIENCE:-7}"; kill "$old"; while ! api new; do sleep 0.1; done) >/dev/null 2>&1 &
"#;

const API: &str = r#"#!/bin/sh
openssl s_server -accept 127.0.0.1:8006 -cert "/root/$1.pem" -key "/root/$1.key" -quiet >/dev/null 2>&1 </dev/zero &
echo $! >/root/api.pid
sleep 0.3
kill -0 $!
"#;

// The node's own: put in place is not shown yet, and whoever waits for it waits for what is shown.
#[test]
fn the_nodes_api_shows_the_old_one_for_a_while() {
    let Some(root) = crate::root::Root::new() else { return };
    let program = include_str!("../../../../../../catalog/certificates/pveproxy");
    for (path, text) in [
        ("/usr/local/sbin/pvenode", PVENODE),
        ("/usr/local/sbin/api", API),
        ("/usr/local/lib/phoenix/pveproxy", program),
    ] {
        root.put(path, text.as_bytes());
        root.sh(&format!("chmod 755 {path}"));
    }
    root.sh(
        "cd /root; for name in old new; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name \
         -keyout $name.key -out $name.pem -days 1 2>/dev/null || exit 1; done; mkdir -p /etc/pve/local /etc/phoenix/certificates/hypervisor; \
         cp old.pem /etc/pve/local/pveproxy-ssl.pem; cp new.pem /etc/phoenix/certificates/hypervisor/fullchain.pem; \
         cp new.key /etc/phoenix/certificates/hypervisor/key.pem; api old",
    );
    let begin = std::time::Instant::now();
    root.sh("/usr/local/lib/phoenix/pveproxy show");
    let took = begin.elapsed();
    let shown =
        root.sh("echo | openssl s_client -connect 127.0.0.1:8006 2>/dev/null | openssl x509 -noout -subject");
    assert!(
        shown.contains("CN = new") && took.as_secs() >= 6 && took.as_secs() < 60,
        "{shown} after {took:?}"
    );
    // Nothing is to be done twice.
    root.sh("/usr/local/lib/phoenix/pveproxy show");
    assert_eq!(root.sh("cat /root/pvenode").lines().count(), 1);
    root.sh("kill $(cat /root/api.pid)");
}
