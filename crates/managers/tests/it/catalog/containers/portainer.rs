//! Portainer as a consumer of the guest's certificate. Its image cannot be had without its registry, so a stand-in of a few
//! lines takes its place: it refuses options that Portainer does not have, and reads the certificate when it starts, as
//! Portainer does.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::Guest;
use crate::catalog::{apply, with};

fn features(more: Value) -> [Rendered; 2] {
    let mut all = json!({ "password": { "generate": "portainer-admin" }, "identity": Guest::identity() });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    [with("docker", json!({ "data-root": "/srv/volume", "resolvers": [] })), with("portainer", all)]
}

const STAND_IN: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	-H) shift ;;
	--http-disabled) ;;
	--admin-password-file) password=$(cat "$2") && shift || exit 1 ;;
	--sslcert) cert=$2 && shift ;;
	--sslkey) key=$2 && shift ;;
	*) echo "portainer: error: unknown long flag '$1'" && exit 1 ;;
	esac
	shift
done
[ ${#password} -ge 12 ] && [ -S /var/run/docker.sock ] && touch /data/portainer.db || exit 1
trap 'kill $!' TERM
openssl s_server -quiet -accept 9443 -cert "$cert" -key "$key" -WWW &
wait
"#;

const IMAGE: &str = "
    set -e
    apt-get -q -y install busybox-static openssl >/dev/null 2>&1
    cd /tmp/stand-in && mkdir -p bin data tmp api/system && cp /bin/busybox bin/ && chmod 755 portainer
    for name in sh cat touch kill; do ln -sf busybox bin/$name; done
    cp --parents -L /usr/bin/openssl $(ldd /usr/bin/openssl | grep -o '/[^ ]*') /usr/lib/ssl/openssl.cnf .
    echo '{\"Version\":\"of the stand-in\"}' >api/system/status
    tar -c . | docker import --change 'ENTRYPOINT [\"/portainer\"]' --change 'ENV PATH=/bin:/usr/bin' - stand-in/portainer:1 >/dev/null
";

#[test]
fn a_stand_in_for_portainer_shows_the_guests_own_certificate() {
    let Some(guest) = Guest::new("a_stand_in_for_portainer_shows_the_guests_own_certificate") else { return };
    let first = guest.certify();
    let [docker, portainer] = features(json!({ "image": "stand-in/portainer:1" }));
    guest.run(&apply(&docker)).ok();
    guest.write("/tmp/stand-in/portainer", STAND_IN);
    guest.sh(IMAGE);
    guest.run(&apply(&portainer)).ok();
    guest.run(&apply(&portainer)).nothing_to_do();
    assert_eq!(guest.served(9443, ""), first);
    assert_eq!(guest.sh("stat -c '%a %U' /etc/phoenix/portainer/password"), "600 root\n");
    guest.sh("test -e /var/lib/portainer/portainer.db");
    guest.fails("curl -s -m 2 http://10.0.0.53:9000/");

    // What is told of a renewed certificate is the unit that features name.
    let renewed = guest.certify();
    assert_ne!(renewed, first);
    assert_eq!(portainer_restarts(), ["portainer"]);
    guest.sh("systemctl try-restart portainer; for n in $(seq 100); do curl -ks -o /dev/null https://10.0.0.53:9443/ && exit 0; sleep 0.2; done; exit 1");
    assert_eq!(guest.served(9443, ""), renewed);

    // Another port is one restart, and its database stays.
    let [_, moved] = features(json!({ "image": "stand-in/portainer:1", "port": 443 }));
    let words = guest.run(&apply(&moved)).ok().words();
    assert!(words.contains(&"unit restart portainer".to_owned()), "{words:?}");
    assert_eq!(guest.served(443, ""), renewed);
    // An image that is not there and cannot be had is said to be, and what runs goes on.
    let [_, missing] = features(json!({ "image": "stand-in/portainer:2", "port": 443 }));
    let ran = guest.run(&apply(&missing));
    assert!(ran.failed().error("portainer").unwrap().contains("the old files are back"), "{ran:?}");
    guest.reboot();
    guest.sh("for n in $(seq 100); do docker inspect -f '{{.State.Running}}' portainer 2>/dev/null | grep -q true && exit 0; sleep 0.2; done; exit 1");
}

fn portainer_restarts() -> Vec<String> {
    let portainer = crate::catalog::catalog().get("portainer").unwrap();
    portainer.spec.certificate.as_ref().unwrap().restarts.clone()
}
