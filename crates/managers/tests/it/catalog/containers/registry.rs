//! A registry of images, and Docker that is let into it, in one guest: over TLS by the workshop's root alone, which nothing but
//! Docker's own settings has it trust.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use managers::features::Rendered;
use managers::stacks::newest::parse;
use serde_json::{Value, json};

use super::guest::{Guest, NAME};
use crate::catalog::{apply, catalog, try_with, with};

/// A secret that is worth what it is called.
fn secret(worth: &str) -> Value {
    json!({ "env": worth })
}

fn try_registry(more: Value) -> Result<Rendered, managers::features::RenderError> {
    let mut all = json!({ "identity": Guest::identity() });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut rendered = try_with("docker-registry", all, &BTreeMap::new())?;
    rendered.own_keys("root:docker-registry", &[Guest::identity().key]);
    Ok(rendered)
}

fn registry(more: Value) -> Rendered {
    try_registry(more).unwrap()
}

fn docker(guest: &Guest, more: Value) -> Rendered {
    let root = guest.sh("cat /root/ca/ca.pem");
    let mut all = json!({ "data-root": "/srv/volume", "resolvers": [], "root": root });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with("docker", all)
}

/// A guest that has a certificate and finds itself by name.
fn guest(name: &str) -> Option<Guest> {
    let guest = Guest::new(name)?;
    guest.certify();
    guest.sh(&format!("echo '10.0.0.53 {NAME}' >>/etc/hosts"));
    Some(guest)
}

/// Two images, with a layer each.
const IMAGES: &str = "
    apt-get -q -y install busybox-static >/dev/null 2>&1
    mkdir -p /tmp/image/bin && cp /bin/busybox /tmp/image/bin/ && ln -sf busybox /tmp/image/bin/echo
    tar -C /tmp/image -c . | docker import - tiny:1 >/dev/null
    head -c 100000 /dev/urandom >/tmp/image/more; tar -C /tmp/image -c . | docker import - other:1 >/dev/null
";

/// Puts an image somewhere, and forgets it here.
fn push(guest: &Guest, image: &str, to: &str) {
    guest.sh(&format!("docker tag {image} {to} && docker push -q {to} && docker rmi {to}"));
}

/// Waits until a line of shell succeeds.
#[track_caller]
fn until(guest: &Guest, text: &str) {
    let begin = Instant::now();
    loop {
        let output = guest.output(text);
        if output.status.success() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{text}: {output:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_registry_gives_to_its_users_what_they_pushed() {
    let Some(guest) = guest("a_registry_gives_to_its_users_what_they_pushed") else { return };
    let host = format!("{NAME}:5000");
    let users = |anna: &str| json!({ "users": [{ "name": "anna", "password": secret(anna) }, { "name": "ben", "password": secret("B") }] });
    let first = registry(users("A \"1\"$:"));
    guest.run(&apply(&first)).ok();
    guest.run(&apply(&first)).nothing_to_do();
    let serial =
        guest.sh("openssl x509 -noout -serial -in /etc/phoenix/certificates/guest-under-test/fullchain.pem");
    assert_eq!(guest.served(5000, ""), serial);
    // Its user reads the key, and the passwords only root.
    assert_eq!(
        guest.sh("stat -c '%a %U:%G' /etc/phoenix/certificates/*/key.pem /etc/docker/registry/htpasswd /etc/phoenix/docker-registry-users/anna"),
        "640 root:docker-registry\n640 root:docker-registry\n600 root:root\n"
    );

    // Root is logged in elsewhere, which stays.
    guest.write(
        "/root/.docker/config.json",
        r#"{ "auths": { "other.example": { "auth": "eDp5" } }, "detachKeys": "ctrl-x" }"#,
    );
    let into = |anna: &str| {
        docker(&guest, json!({ "registries": [{ "host": host, "user": "anna", "password": secret(anna) }] }))
    };
    let let_in = into("A \"1\"$:");
    guest.run(&apply(&let_in)).ok();
    guest.run(&apply(&let_in)).nothing_to_do();
    assert_eq!(
        guest.sh("jq -c '[.auths[\"other.example\"].auth, .detachKeys, (.auths | length)]' /root/.docker/config.json; stat -c %a /root/.docker/config.json"),
        "[\"eDp5\",\"ctrl-x\",2]\n600\n"
    );
    guest.sh(IMAGES);
    push(&guest, "tiny:1", &format!("{host}/tiny:1"));
    assert_eq!(guest.sh(&format!("docker run --rm {host}/tiny:1 /bin/echo here 2>/dev/null")), "here\n");
    compose(&guest, &host);

    // Nobody else: without a password, with another, or by another name than the certificate's.
    let said = guest.fails(&format!("docker --config /tmp/nobody pull {host}/tiny:1"));
    assert!(said.contains("no basic auth credentials"), "{said}");
    let said = guest
        .fails(&format!("echo wrong | docker --config /tmp/nobody login -u anna --password-stdin {host}"));
    assert!(said.to_lowercase().contains("unauthorized"), "{said}");
    let said = guest.fails("docker pull 10.0.0.53:5000/tiny:1");
    assert!(said.contains("x509"), "{said}");
    let curl = format!("curl -s --cacert /root/ca/ca.pem https://{host}");
    assert!(guest.sh(&format!("{curl}/v2/tiny/manifests/1")).contains("UNAUTHORIZED"));
    assert!(guest.sh(&format!("{curl}/v2/_catalog -u ben:B")).contains("tiny"));

    // Another password counts at once, and nothing is started anew for it. One who is gone does not get in.
    let before = guest.invocation("docker-registry");
    let changed = registry(json!({ "users": [{ "name": "anna", "password": secret("A2") }] }));
    guest.run(&apply(&changed)).ok();
    guest.run(&apply(&changed)).nothing_to_do();
    assert_eq!(guest.invocation("docker-registry"), before);
    let said = guest.fails(&format!("docker pull {host}/tiny:1"));
    assert!(said.to_lowercase().contains("unauthorized"), "{said}");
    assert!(guest.sh(&format!("{curl}/v2/_catalog -u ben:B")).contains("UNAUTHORIZED"));
    guest.run(&apply(&into("A2"))).ok();
    guest.sh(&format!("docker pull -q {host}/tiny:1"));

    // A renewed certificate: what is told of it is the unit that the feature names.
    let renewed = guest.certify();
    let told = catalog().get("docker-registry").unwrap().spec.certificate.clone().unwrap();
    assert_eq!(told.restarts, ["docker-registry"]);
    guest.sh("systemctl try-restart docker-registry");
    until(&guest, &format!("{curl}/v2/"));
    assert_eq!(guest.served(5000, ""), renewed);

    // What it does not start with is never in use.
    let before = guest.invocation("docker-registry");
    let mut elsewhere = Guest::identity();
    elsewhere.certificate = "/etc/phoenix/nowhere.pem".into();
    let ran = guest.run(&apply(&registry(
        json!({ "users": [{ "name": "anna", "password": secret("A2") }], "identity": elsewhere }),
    )));
    let error = ran.failed().error("docker-registry").unwrap();
    assert!(error.contains("nowhere.pem") && error.contains("the old files are back"), "{error}");
    guest.run(&apply(&changed)).nothing_to_do();
    assert_eq!(guest.invocation("docker-registry"), before);
    for (wrong, why) in [
        (json!({}), "nobody would get in"),
        (
            json!({ "users": [{ "name": "a", "password": secret("A") }, { "name": "a", "password": secret("B") }] }),
            "the same name",
        ),
        (
            json!({ "cache-of": { "url": "https://example.org", "user": "a" } }),
            "both a `user` and a `password`",
        ),
    ] {
        let error = try_registry(wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    for (wrong, why) in [
        (json!({ "host": "https://images.example.org" }), "without https://"),
        (json!({ "host": "images.example.org", "user": "a" }), "both a `user` and a `password`"),
        (
            json!({ "host": "images.example.org", "user": "a:b", "password": secret("A") }),
            "has a colon in it",
        ),
    ] {
        let error = try_with("docker", json!({ "registries": [wrong] }), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }

    cleaned(&guest, &host, &curl);
    newest(&guest, &host);

    guest.reboot();
    guest.sh("ip address add 10.0.0.53/32 dev lo");
    until(&guest, &format!("docker pull -q {host}/tiny:1"));

    // No longer let in: what was put there is gone, and nothing else.
    guest.run(&apply(&docker(&guest, json!({})))).ok();
    assert_eq!(
        guest.sh("perl -0pe 's/\\s//g' /root/.docker/config.json"),
        r#"{"auths":{"other.example":{"auth":"eDp5"}},"detachKeys":"ctrl-x"}"#
    );
    guest.fails("ls /etc/docker/certs.d/*/ca.crt || ls /etc/phoenix/docker-registries.json");
}

/// Compose pulls by what Docker was given, where it is there.
fn compose(guest: &Guest, host: &str) {
    let Some(program) = crate::built::program("docker-compose") else { return };
    let here = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(here.path(), program).unwrap();
    let to = "/usr/local/lib/docker/cli-plugins/docker-compose";
    guest.sh("mkdir -p /usr/local/lib/docker/cli-plugins");
    guest.copy(here.path(), to);
    guest.write("/tmp/stack/compose.yaml", &format!("services: {{ one: {{ image: '{host}/tiny:1' }} }}\n"));
    guest.sh(&format!("chmod 755 {to}; docker rmi {host}/tiny:1; cd /tmp/stack && docker compose pull -q && docker image inspect {host}/tiny:1"));
}

/// An image that somebody deletes: its layers go by the timer's service, and the rest still pulls.
fn cleaned(guest: &Guest, host: &str, curl: &str) {
    push(guest, "other:1", &format!("{host}/other:1"));
    let layers = || {
        guest
            .sh("find /var/lib/docker-registry/docker/registry/v2/blobs -name data | wc -l")
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    let collect = "systemctl start docker-registry-cleanup";
    let before = guest.invocation("docker-registry");
    guest.sh(collect);
    assert_eq!(layers(), 6, "a layer, settings and a manifest each");
    assert_eq!(guest.invocation("docker-registry"), before, "it was started anew for nothing");

    let digest = guest.sh(&format!(
        "{curl}/v2/other/manifests/1 -I -u anna:A2 -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' | tr -d '\\r' | sed -n 's/^docker-content-digest: //Ip'"
    ));
    assert_eq!(
        guest.sh(&format!(
            "{curl}/v2/other/manifests/{} -X DELETE -u anna:A2 -w '%{{http_code}}'",
            digest.trim()
        )),
        "202"
    );
    guest.sh(collect);
    assert_eq!(layers(), 3);
    assert_ne!(guest.invocation("docker-registry"), before);
    until(guest, &format!("docker rmi -f {host}/tiny:1 >/dev/null; docker pull -q {host}/tiny:1"));
    let said = guest.fails(&format!("docker pull {host}/other:1"));
    assert!(said.contains("manifest unknown"), "{said}");
    push(guest, "other:1", &format!("{host}/other:1"));
    assert_eq!(layers(), 6, "what was removed is taken again");

    // While that lasts nothing is taken; where it was cut off, the next one ends it.
    guest.sh("systemctl stop docker-registry-cleanup.timer
              sed -n 's/.*printf .\\(REGISTRY.*\"\\)\\\\n.*/\\1/p' /usr/local/lib/phoenix/docker-registry >/run/docker-registry.env
              grep -q READONLY /run/docker-registry.env && systemctl restart docker-registry");
    until(guest, &format!("docker pull -q {host}/tiny:1"));
    guest.fails(&format!("docker tag other:1 {host}/third:1 && docker push {host}/third:1"));
    guest.sh(collect);
    until(guest, &format!("docker push -q {host}/third:1"));
    guest.sh("systemctl start docker-registry-cleanup.timer");

    let users = json!([{ "name": "anna", "password": secret("A2") }]);
    let ran = guest.run(&apply(&registry(json!({ "users": users, "cleanup": "at dawn" }))));
    assert!(ran.failed().error("docker-registry").unwrap().contains("systemd-analyze calendar"), "{ran:?}");
    guest.run(&apply(&registry(json!({ "users": users, "cleanup": "" })))).ok();
    guest.fails("systemctl is-active docker-registry-cleanup.timer");
    guest.run(&apply(&registry(json!({ "users": users })))).ok();
    guest.sh("systemctl is-active docker-registry-cleanup.timer");
}

/// Whether a name stands for another image by now is asked by who may fetch it, and nothing is fetched for it.
fn newest(guest: &Guest, host: &str) {
    let name = format!("{host}/moving:1");
    let ask = |image: &str| {
        let text = guest.sh(&format!("/usr/local/lib/phoenix/docker-stack newest {image}"));
        let [image] = parse(&text).unwrap_or_else(|line| panic!("{line}")).try_into().unwrap();
        image
    };
    push(guest, "tiny:1", &name);
    guest.sh(&format!("docker pull -q {name}"));
    let first = ask(&name);
    assert!(first.here.is_some() && first.here == first.there && first.why.is_none(), "{first}");
    push(guest, "other:1", &name);
    let gone = ask(&name);
    assert!(gone.here.is_none() && gone.there.is_some() && gone.there != first.there, "{gone}");
    let by_digest = format!("{host}/moving@{}", first.here.as_deref().unwrap());
    guest.sh(&format!("docker pull -q {by_digest} && docker tag {by_digest} {name}"));
    let newer = ask(&name);
    assert_eq!((&newer.here, &newer.there), (&first.here, &gone.there), "{newer}");
    // As a compose file says it then.
    guest.sh(&format!("docker pull -q {name}@{}", newer.there.as_deref().unwrap()));

    let nothing = ask(&format!("{host}/nothing:1"));
    assert!(nothing.there.is_none() && nothing.why.as_ref().unwrap().contains("unknown"), "{nothing}");
    guest.sh("mv /root/.docker/config.json /root/kept");
    let refused = ask(&name);
    let why = refused.why.clone().unwrap_or_default().to_lowercase();
    assert!(refused.there.is_none() && (why.contains("unauthorized") || why.contains("auth")), "{refused}");
    guest.sh("mv /root/kept /root/.docker/config.json");
}

/// What the cache is of: a registry that whoever trusts the workshop may use.
const SOURCE: &str = r#"
version: 0.1
storage: { filesystem: { rootdirectory: /srv/source } }
http:
  addr: ":5001"
  tls: { certificate: /etc/phoenix/certificates/guest-under-test/fullchain.pem, key: /etc/phoenix/certificates/guest-under-test/key.pem }
"#;

#[test]
fn a_cache_has_what_it_got_once() {
    let Some(guest) = guest("a_cache_has_what_it_got_once") else { return };
    // What the feature `trusted-ca` does.
    guest.sh("update-ca-certificates >/dev/null 2>&1; apt-get -q -y install docker-registry >/dev/null 2>&1; systemctl stop docker-registry");
    guest.write("/etc/source.yml", SOURCE);
    let source = "systemd-run -q --unit source docker-registry serve /etc/source.yml";
    let cache =
        registry(json!({ "cache-of": { "url": format!("https://{NAME}:5001/") }, "data": "/var/lib/cache" }));

    // It would not start without its source, so it is not put in use.
    let ran = guest.run(&apply(&cache));
    let error = ran.failed().error("docker-registry").unwrap();
    assert!(error.contains(&format!("https://{NAME}:5001 does not answer")), "{error}");

    guest.sh(source);
    until(&guest, &format!("curl -fsS https://{NAME}:5001/v2/"));
    guest.run(&apply(&cache)).ok();
    guest.run(&apply(&cache)).nothing_to_do();
    guest.fails("systemctl is-active docker-registry-cleanup.timer");
    let both = docker(
        &guest,
        json!({
            "mirrors": [format!("https://{NAME}:5000")],
            "registries": [{ "host": format!("{NAME}:5001") }],
        }),
    );
    guest.run(&apply(&both)).ok();
    guest.run(&apply(&both)).nothing_to_do();
    guest.sh(IMAGES);
    for name in ["tiny", "other"] {
        push(&guest, &format!("{name}:1"), &format!("{NAME}:5001/library/{name}:1"));
        guest.sh(&format!("docker rmi {name}:1"));
    }

    // Docker asks the mirror for what it would ask Docker Hub for.
    guest.sh("docker pull -q tiny:1");
    assert_eq!(guest.sh("docker run --rm tiny:1 /bin/echo here"), "here\n");
    let said =
        guest.fails(&format!("docker tag tiny:1 {NAME}:5000/tiny:2 && docker push {NAME}:5000/tiny:2"));
    assert!(said.contains("unsupported"), "{said}");

    // It has what it got, and nothing else, while its source does not answer.
    guest.sh(&format!("systemctl stop source; docker rmi tiny:1 {NAME}:5000/tiny:2; docker pull -q tiny:1"));
    guest.fails("docker pull -q other:1");
    guest.run(&apply(&cache)).nothing_to_do();
    // Started anew it waits for the source.
    guest.sh("systemctl restart docker-registry; sleep 1");
    guest.fails(&format!("curl -fsS https://{NAME}:5000/v2/"));
    guest.sh(source);
    until(&guest, &format!("curl -fsS https://{NAME}:5000/v2/"));
    guest.sh("docker pull -q other:1");

    // A source that asks for passwords itself is told before anything is in use.
    let before = guest.invocation("docker-registry");
    guest.write(
        "/etc/source.yml",
        &format!("{SOURCE}auth: {{ htpasswd: {{ realm: source, path: /etc/source.users }} }}\n"),
    );
    guest.sh(&format!("systemctl stop source; {source}"));
    until(&guest, &format!("curl -sS https://{NAME}:5001/v2/"));
    let of = json!({ "url": format!("https://{NAME}:5001"), "user": "anna", "password": secret("A") });
    let ran = guest.run(&apply(&registry(json!({ "cache-of": of, "data": "/var/lib/cache" }))));
    let error = ran.failed().error("docker-registry").unwrap();
    assert!(
        error.contains("asks for passwords itself (Basic)") && error.contains("the old files are back"),
        "{error}"
    );
    assert_eq!(guest.invocation("docker-registry"), before);
}
