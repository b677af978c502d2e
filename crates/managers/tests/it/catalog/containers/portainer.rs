//! Portainer and its agent. Their images cannot be had without their registry, so a simulation takes their place that answers as
//! recordings of a real one say. With `PHOENIX_PORTAINER`, a folder with `portainer`, `agent` and what they have beside them, it is
//! those.

use std::path::PathBuf;

use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::Guest;
use crate::catalog::{apply, with};

const SECRET: &str = "portainer-agent";

fn portainer(more: Value) -> Rendered {
    let mut all = json!({
        "password": { "env": "correct horse battery" },
        "image": "under-test/portainer:1",
        "identity": Guest::identity(),
        "portainer": { "secret": { "$secret": { "env": SECRET } } },
        "docker-hosts": [{ "name": "under-test", "address": "10.0.0.53", "port": 0, "tags": [] }],
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with("portainer", all)
}

fn docker() -> Rendered {
    with("docker", json!({ "data-root": "/srv/volume", "resolvers": [] }))
}

fn agent(port: u16) -> Rendered {
    let secret = json!({ "$secret": { "env": SECRET } });
    with(
        "portainer-agent",
        json!({ "image": "under-test/agent:1", "port": port, "portainer": { "secret": secret } }),
    )
}

/// Images of the simulation: Python with what it needs, and keys that are the image's own.
const SIMULATION: &str = r#"
    set -e
    apt-get -q -y install python3 openssl >/dev/null 2>&1
    cd /tmp/image && mkdir -p own data tmp usr/bin usr/lib var/lib/docker/volumes
    cp --parents -L /usr/bin/python3 $(ldd /usr/bin/python3 /usr/lib/python3.*/lib-dynload/_ssl*.so /usr/lib/python3.*/lib-dynload/_hashlib*.so | grep -o '/[^ ]*\.so[^ ]*' | grep -v : | sort -u) .
    cp -a --parents /usr/lib/python3.*[0-9] .
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own/key.pem -out own/cert.pem -days 2 -subj /CN=agent 2>/dev/null
    for image in portainer:1 portainer:2; do
        echo $image >which; tar -c . | docker import --change 'ENTRYPOINT ["/usr/bin/python3", "/simulated-portainer.py"]' - under-test/$image >/dev/null
    done
    tar -c . | docker import --change 'ENTRYPOINT ["/usr/bin/python3", "/simulated-portainer.py", "agent"]' - under-test/agent:1 >/dev/null
"#;

/// The same of the real programs.
const REAL: &str = r#"
    set -e
    cd /tmp/image && chmod 755 * && mkdir -p data tmp etc/ssl/certs
    cp --parents -L $(ldd portainer agent | grep -o '/[^ ]*\.so[^ ]*' | sort -u) .
    for image in portainer:1 portainer:2; do
        echo $image >which; tar -c . | docker import --change 'ENTRYPOINT ["/portainer"]' - under-test/$image >/dev/null
    done
    tar -c . | docker import --change 'ENTRYPOINT ["/agent"]' - under-test/agent:1 >/dev/null
"#;

/// Whether it is the simulation.
fn images(guest: &Guest) -> bool {
    let Some(real) = std::env::var_os("PHOENIX_PORTAINER").map(PathBuf::from) else {
        guest.write("/tmp/image/simulated-portainer.py", include_str!("simulated-portainer.py"));
        guest.sh(SIMULATION);
        return true;
    };
    guest.sh("mkdir -p /tmp/image");
    for program in fs_err::read_dir(real).unwrap().map(|entry| entry.unwrap()) {
        guest.copy(&program.path(), &format!("/tmp/image/{}", program.file_name().to_string_lossy()));
    }
    guest.sh(REAL);
    false
}

/// What Portainer answers to its key.
fn get(guest: &Guest, path: &str, what: &str) -> String {
    guest.sh(&format!(
        "curl -sS -m 10 -k -H @/var/lib/phoenix/portainer/header https://10.0.0.53:9443/api{path} | jq -c '{what}'"
    ))
}

/// The Docker hosts that it shows.
fn shown(guest: &Guest) -> Value {
    let what = "[.[] | { Name, URL, PublicURL, Type }] | sort_by(.Name)";
    serde_json::from_str(&get(guest, "/endpoints?excludeSnapshots=true", what)).unwrap()
}

// S-9: every Docker host is shown, and is looked up by what it is.
#[test]
fn portainer_shows_docker_hosts_and_keeps_what_it_knows() {
    let Some(guest) = Guest::new("portainer_shows_docker_hosts_and_keeps_what_it_knows") else { return };
    let first = guest.certify();
    guest.run(&apply(&docker())).ok();
    let simulated = images(&guest);
    let one = portainer(json!({}));
    guest.run(&apply(&one)).ok();
    guest.run(&apply(&one)).nothing_to_do();
    assert_eq!(guest.served(9443, ""), first);
    assert_eq!(guest.sh("stat -c '%a %U' /etc/phoenix/portainer/password"), "600 root\n");
    guest.fails("curl -s -m 2 http://10.0.0.53:9000/");
    let own = json!({ "Name": "under-test", "URL": "unix:///var/run/docker.sock", "PublicURL": "10.0.0.53", "Type": 1 });
    assert_eq!(shown(&guest), json!([own]));

    // What is told of a renewed certificate is the unit that features name.
    let renewed = guest.certify();
    assert_ne!(renewed, first);
    assert_eq!(portainer_restarts(), ["portainer"]);
    guest.sh("systemctl try-restart portainer; for n in $(seq 100); do curl -ks -o /dev/null https://10.0.0.53:9443/ && exit 0; sleep 0.2; done; exit 1");
    assert_eq!(guest.served(9443, ""), renewed);

    // S-8: nobody else can become its administrator, from its first answer on.
    let check = "curl -sk -o /dev/null -w '%{http_code}' https://10.0.0.53:9443/api/users/admin/check";
    assert_eq!(guest.sh(check), "204");

    // Another Docker host, whose agent does not answer yet, and then does.
    let hosts = json!([
        { "name": "under-test", "address": "10.0.0.53", "port": 0, "tags": [] },
        { "name": "docker-2", "address": "10.0.0.20", "port": 9001, "tags": ["media"] },
    ]);
    let two = portainer(json!({ "docker-hosts": hosts }));
    let ran = guest.run(&apply(&two));
    let error = ran.failed().error("portainer").unwrap();
    assert!(error.contains("the agent of docker-2 does not answer at 10.0.0.20:9001"), "{error}");
    guest.run(&apply(&agent(9001))).ok();
    guest.run(&apply(&agent(9001))).nothing_to_do();
    guest.run(&apply(&two)).ok();
    guest.run(&apply(&two)).nothing_to_do();
    let other =
        json!({ "Name": "docker-2", "URL": "tcp://10.0.0.20:9001", "PublicURL": "10.0.0.20", "Type": 2 });
    assert_eq!(shown(&guest), json!([other, own]));
    assert_eq!(get(&guest, "/tags", "[.[].Name] | sort"), "[\"media\",\"phoenix\"]\n");

    // What somebody does to it by hand is put right, and what is theirs stays.
    let ids =
        get(&guest, "/endpoints?excludeSnapshots=true", "[.[] | select(.Name == \"docker-2\") | .Id][0]");
    let curl =
        "curl -sSf -m 10 -k -o /dev/null -H @/var/lib/phoenix/portainer/header https://10.0.0.53:9443/api";
    guest.sh(&format!("{curl}/endpoints -F Name=theirs -F EndpointCreationType=1"));
    guest.run(&apply(&two)).nothing_to_do();
    for harm in [
        format!("{curl}/endpoints/{} -X DELETE", ids.trim()),
        format!("{curl}/endpoints/1 -X PUT -H 'Content-Type: application/json' -d '{{\"Name\": \"mine\"}}'"),
        "echo 'X-API-Key: ptr_wrong' >/var/lib/phoenix/portainer/header".to_owned(),
        "rm -r /var/lib/phoenix/portainer".to_owned(),
    ] {
        guest.sh(&harm);
        guest.run(&apply(&two)).ok();
        guest.run(&apply(&two)).nothing_to_do();
        let now = shown(&guest);
        let names: Vec<_> = now.as_array().unwrap().iter().map(|one| one["Name"].clone()).collect();
        assert_eq!(names, ["docker-2", "theirs", "under-test"], "{harm}: {now:#}");
    }

    // Another password of the blueprint's is the one that opens it; a key of before does not.
    let before = guest.sh("cat /var/lib/phoenix/portainer/header");
    let secret = json!({ "env": "another password" });
    let two = portainer(json!({ "docker-hosts": hosts, "password": secret }));
    guest.run(&apply(&two)).ok();
    guest.run(&apply(&two)).nothing_to_do();
    guest.write("/root/before", &before);
    guest.fails("curl -sSf -m 10 -k -o /dev/null -H @/root/before https://10.0.0.53:9443/api/users/me");

    // S-2: its database is lost: it comes back with all it knew, and nothing that runs is touched.
    let since = guest.sh("docker inspect -f '{{.State.StartedAt}}' portainer-agent");
    for lost in ["rm /var/lib/portainer/portainer.db", "systemctl stop portainer; rm -r /var/lib/portainer"] {
        guest.sh(lost);
        guest.run(&apply(&two)).ok();
        guest.run(&apply(&two)).nothing_to_do();
        let names = get(&guest, "/endpoints?excludeSnapshots=true", "[.[].Name] | sort");
        assert_eq!(names, "[\"docker-2\",\"theirs\",\"under-test\"]\n", "{lost}");
    }
    assert_eq!(guest.sh("docker inspect -f '{{.State.StartedAt}}' portainer-agent"), since);

    // Stuck as it can be, it is started anew for its backup.
    if simulated {
        guest.sh("touch /var/lib/portainer/stuck");
    }
    guest.sh("/usr/local/lib/phoenix/portainer-server backup");

    // S-5: before another image opens its database, that is kept; and it goes back to any of them.
    let newer =
        portainer(json!({ "docker-hosts": hosts, "password": secret, "image": "under-test/portainer:2" }));
    guest.run(&apply(&newer)).ok();
    guest.run(&apply(&newer)).nothing_to_do();
    let kept = guest.sh("ls /var/lib/portainer-backups/*-before-another-image.tar.gz | tail -n 1");
    guest.fails("/usr/local/lib/phoenix/portainer-server back /no/such/file");
    guest.sh(&format!("/usr/local/lib/phoenix/portainer-server back {}", kept.trim()));
    guest.run(&apply(&newer)).nothing_to_do();
    guest.sh("ls /var/lib/portainer-backups/*-before-going-back.tar.gz");

    // An image that is not there and cannot be had is said to be, and what runs goes on.
    let missing =
        portainer(json!({ "docker-hosts": hosts, "password": secret, "image": "under-test/portainer:3" }));
    let ran = guest.run(&apply(&missing));
    assert!(ran.failed().error("portainer").unwrap().contains("the old files are back"), "{ran:?}");
    // Another port is one restart; a host that is not declared any more is not shown.
    let moved = portainer(json!({ "password": secret, "image": "under-test/portainer:2", "port": 443 }));
    let words = guest.run(&apply(&moved)).ok().words();
    assert!(words.contains(&"unit restart portainer".to_owned()), "{words:?}");
    assert_eq!(guest.served(443, ""), renewed);
    guest.run(&apply(&moved)).nothing_to_do();
    // Whoever set another password by hand is told so, and is not locked out.
    guest.sh(
        "cd /root
         jq -n --rawfile old /etc/phoenix/portainer/password '{password: $old, newPassword: \"set by hand: 12345\"}' >body
         jq -n --rawfile p /etc/phoenix/portainer/password '{Username: \"admin\", Password: $p}' >login
         jwt=$(curl -sSfk -d @login https://10.0.0.53/api/auth | jq -r .jwt)
         curl -sSfk -X PUT -H \"Authorization: Bearer $jwt\" -d @body https://10.0.0.53/api/users/1/passwd
         rm -r /var/lib/phoenix/portainer",
    );
    let ran = guest.run(&apply(&moved));
    let error = ran.failed().error("portainer").unwrap();
    assert!(error.contains("another password than the blueprint says"), "{error}");
    guest.reboot();
    guest.sh("for n in $(seq 100); do docker inspect -f '{{.State.Running}}' portainer 2>/dev/null | grep -q true && exit 0; sleep 0.2; done; exit 1");
}

fn portainer_restarts() -> Vec<String> {
    let portainer = crate::catalog::catalog().get("portainer").unwrap();
    portainer.spec.certificate.as_ref().unwrap().restarts.clone()
}
