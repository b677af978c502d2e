//! The mesh: the feature `traefik` with the real Traefik in a throw-away root, certificates of a real authority, and Nginx
//! as the services behind it.

#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

mod forged;
mod whose;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::given::{self, but};
use crate::root::Root;
use managers::features::{Mode, Rendered, render, script};
use serde_json::{Value, json};

const SYSTEMCTL: &str = include_str!("mesh/systemctl");
const BACKEND: &str = include_str!("mesh/backend.pl");

/// Where the workshop's root is in a guest.
const TRUST: &str = "/usr/local/share/ca-certificates/phoenix-workshop.crt";

/// What is behind the mesh: plain HTTP, HTTPS, HTTPS that wants to see a certificate, and HTTPS under a wrong name.
const NGINX: &str = r#"
events {}
http {
  access_log off;
  server { listen 127.0.0.1:8080; location / { return 200 "plain $http_host $http_x_forwarded_proto $http_x_forwarded_for\n"; } }
  server {
    listen 127.0.0.1:8443 ssl;
    ssl_certificate /root/pki/behind.crt; ssl_certificate_key /root/pki/behind.key;
    location / { return 200 "behind $ssl_server_name\n"; }
  }
  server {
    listen 127.0.0.1:8444 ssl;
    ssl_certificate /root/pki/behind.crt; ssl_certificate_key /root/pki/behind.key;
    ssl_client_certificate /root/pki/ca.crt; ssl_verify_client on;
    location / { return 200 "mutual $ssl_client_s_dn\n"; }
  }
}
"#;

fn rendered(parameters: &Value) -> Rendered {
    let parameters = given::parameters(parameters.clone());
    let (feature, facts) = (given::built_in("traefik"), given::facts("mesh", "10.0.0.12"));
    given::as_told(&feature, &parameters);
    render(&feature, &parameters, &BTreeMap::new(), &facts).unwrap()
}

fn apply(rendered: Rendered) -> Vec<u8> {
    script(&[rendered], Mode::Apply, &|_| Ok::<_, Infallible>(String::new())).unwrap().text
}

/// A route as the core derives it, with some of it said differently.
fn route(name: &str, port: u16, differently: Value) -> Value {
    but(given::site(name, port), differently)
}

fn https(port: u16) -> Value {
    let name = "behind.guest.workshop.internal";
    route("x", port, json!({ "upstream_protocol": "https", "upstream_name": name }))
}

fn mesh(routes: &[Value]) -> Value {
    json!({ "routes": routes, "identity": given::identity("mesh", "mesh") })
}

/// A guest with a workshop's authority and everything that stands behind the mesh; `None` where Traefik is not built.
struct Guest(Root);

impl Guest {
    fn new() -> Option<Self> {
        let program = crate::built::program("traefik")?;
        let root = Root::new()?;
        let guest = Self(root);
        guest.write("/usr/local/bin/traefik", &program, "755");
        guest.write("/usr/local/sbin/systemctl", SYSTEMCTL.as_bytes(), "755");
        guest.write("/root/backend.pl", BACKEND.as_bytes(), "644");
        guest.write("/root/nginx.conf", NGINX.as_bytes(), "644");
        guest.sh(&format!(
            "useradd --system --user-group traefik; mkdir -p /root/pki; cd /root/pki
             openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=workshop -days 30 \
               -keyout ca.key -out ca.crt 2>/dev/null
             cp ca.crt {TRUST}; cp ca.crt other.crt; cp ca.key other.key"
        ));
        guest.leaf("/root/pki/behind", "behind.guest.workshop.internal");
        guest.certificate("mesh", "mesh.guest.workshop.internal");
        guest.sh("nginx -c /root/nginx.conf >/dev/null 2>&1; perl /root/backend.pl 8085 >/dev/null 2>&1 </dev/null 3>&- &");
        Some(guest)
    }

    #[track_caller]
    fn sh(&self, text: &str) -> String {
        self.0.sh(text)
    }

    /// A file, whatever its size.
    fn write(&self, path: &str, bytes: &[u8], mode: &str) {
        let place = format!("/proc/{}/root{path}", self.0.inside);
        fs_err::write(place, bytes).unwrap();
        self.sh(&format!("chmod {mode} {path}"));
    }

    /// A certificate of the workshop's: `PATH.crt` and `PATH.key`.
    fn leaf(&self, path: &str, name: &str) {
        self.sh(&format!(
            "cd /root/pki; openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN={name} -keyout {path}.key \
               -out leaf.csr 2>/dev/null
             printf 'subjectAltName=DNS:{name}\\nextendedKeyUsage=serverAuth,clientAuth\\n' >leaf.ext
             openssl x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out {path}.crt 2>/dev/null"
        ));
    }

    /// The same where a guest has it, so that Traefik can read it and nobody else.
    fn certificate(&self, folder: &str, name: &str) {
        self.leaf("/root/pki/new", name);
        self.sh(&format!(
            "mkdir -p /etc/phoenix/certificates/{folder}; chmod 711 /etc/phoenix/certificates; cd /etc/phoenix/certificates/{folder}
             cp /root/pki/new.crt fullchain.pem; cp /root/pki/new.key key.pem; chown root:traefik key.pem; chmod 640 key.pem"
        ));
    }

    fn service(&self, name: &str) {
        self.certificate(name, &format!("{name}.workshop.internal"));
    }

    /// Asks as a client inside the workshop does, who trusts its root alone; what is said, or why not.
    fn ask(&self, name: &str, path: &str, more: &str) -> String {
        self.sh(&format!(
            "curl -s -m 20 --cacert {TRUST} --connect-to ::127.0.0.1: {more} https://{name}.workshop.internal{path} || printf 'exit %s' $?"
        ))
    }

    fn serial(&self, name: &str) -> String {
        self.sh(&format!(
            "echo | openssl s_client -connect 127.0.0.1:443 -servername {name}.workshop.internal 2>/dev/null \
             | openssl x509 -noout -serial"
        ))
    }

    fn refused(&self) -> String {
        self.sh("/usr/local/lib/phoenix/traefik-guard --bad || true")
    }
}

#[test]
fn a_service_is_served_over_tls_and_only_so() {
    let Some(guest) = Guest::new() else { return };
    for name in ["plain", "safe", "mutual", "wrong", "api", "default"] {
        guest.service(name);
    }
    let named = |name: &str, route: Value, more: Value| {
        let mut all = route.as_object().unwrap().clone();
        let folder = format!("/etc/phoenix/certificates/{name}");
        all.insert("service".into(), name.into());
        all.insert("names".into(), json!([format!("{name}.workshop.internal")]));
        all.insert("certificate".into(), format!("{folder}/fullchain.pem").into());
        all.insert("key".into(), format!("{folder}/key.pem").into());
        all.append(&mut more.as_object().unwrap().clone());
        Value::Object(all)
    };
    let routes = [
        route("plain", 8080, json!({})),
        named("safe", https(8443), json!({})),
        named("mutual", https(8444), json!({ "mutual": true })),
        // Its certificate is for another name than the one it is to have.
        named("wrong", https(8443), json!({ "upstream_name": "other.guest.workshop.internal" })),
        // Words that Traefik has a meaning for.
        route("api", 8080, json!({ "client_certificate": true })),
        route("default", 8080, json!({ "client_certificate": true })),
    ];
    guest.0.run(&apply(rendered(&mesh(&routes)))).ok();
    guest.0.run(&apply(rendered(&mesh(&routes)))).nothing_to_do();
    // What the service is told about who asks is not what the client says.
    let told = guest.ask("plain", "/", "-H 'X-Forwarded-For: 1.2.3.4'");
    assert_eq!(told, "plain plain.workshop.internal https 127.0.0.1\n");
    // P-74: between proxy and service there is TLS, verified against the workshop's root and for the right name.
    assert_eq!(guest.ask("safe", "/", ""), "behind behind.guest.workshop.internal\n");
    assert_eq!(guest.ask("mutual", "/", ""), "mutual CN=mesh.guest.workshop.internal\n");
    assert_eq!(guest.ask("wrong", "/", "-o /dev/null -w '%{http_code}'"), "500");
    guest.sh("openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=x \
              -addext subjectAltName=DNS:behind.guest.workshop.internal -keyout /root/pki/behind.key -out /root/pki/behind.crt 2>/dev/null; \
              nginx -c /root/nginx.conf -s reload >/dev/null 2>&1; sleep 1");
    assert_eq!(guest.ask("safe", "/", "-o /dev/null -w '%{http_code}'"), "500", "another authority");

    // Clients that must show a certificate: none, the workshop's, somebody else's; and through another service's name.
    let with = |crt: &str| format!("--cert /root/pki/{crt}.crt --key /root/pki/{crt}.key");
    guest.leaf("/root/pki/client", "laptop.guest.workshop.internal");
    guest.sh("cd /root/pki; openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=x -keyout foreign.key -out foreign.crt 2>/dev/null");
    // What curl calls a connection that is ended, whether it was just sending or receiving.
    let refusals = ["exit 55", "exit 56"];
    for name in ["api", "default"] {
        let told = guest.ask(name, "/", &with("client"));
        assert_eq!(told, format!("plain {name}.workshop.internal https 127.0.0.1\n"));
        assert!(refusals.contains(&&*guest.ask(name, "/", "")), "{name}");
        assert!(refusals.contains(&&*guest.ask(name, "/", &with("foreign"))), "{name}");
        let around = format!("-H 'Host: {name}.workshop.internal' -o /dev/null -w '%{{http_code}}'");
        assert_eq!(guest.ask("plain", "/", &around), "421", "{name}");
    }

    // P-74: no API from outside, nothing over plain HTTP, nothing before TLS 1.2, no certificate for a name that is not served.
    assert_eq!(
        guest.ask("plain", "/api/http/routers", ""),
        "plain plain.workshop.internal https 127.0.0.1\n"
    );
    let listens = guest.sh("ss -Hltn | awk '{print $4}' | sort");
    assert_eq!(
        listens,
        "*:443\n127.0.0.1:8080\n127.0.0.1:8085\n127.0.0.1:8090\n127.0.0.1:8443\n127.0.0.1:8444\n"
    );
    let plain = "curl -s -m 5 -o /dev/null -w '%{http_code}' -H 'Host: plain.workshop.internal' http://127.0.0.1:443/";
    assert_eq!(guest.sh(plain), "404");
    assert_eq!(guest.ask("plain", "/", "--tls-max 1.1"), "exit 35");
    assert_eq!(guest.ask("nobody", "/", ""), "exit 35");
    // It runs as a user of its own, who can listen on low ports and nothing else.
    let status = guest
        .sh("grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' /proc/$(cat /run/traefik.pid)/status; id -u traefik");
    let uid = status.lines().last().unwrap().to_owned();
    let wanted = format!(
        "Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\n"
    );
    assert_eq!(status, format!("{wanted}{uid}\n"));
    // P-74: and nobody but it and root reads what it is told.
    assert_eq!(
        guest.sh("setpriv --reuid=nobody --clear-groups -- ls /etc/traefik 2>&1 || true"),
        "ls: cannot open directory '/etc/traefik': Permission denied\n"
    );
    // S-12: no ACME of its own; S-11: no Docker.
    assert_eq!(guest.sh("grep -ciE 'acme|docker' /etc/traefik/traefik.yml || true"), "0\n");
}

// S-17, P-57: one that Traefik refuses is set aside and told, whatever is wrong with it; the others are served.
#[test]
fn one_bad_service_does_not_stop_the_mesh() {
    let Some(guest) = Guest::new() else { return };
    for name in ["one", "two", "three", "four"] {
        guest.service(name);
    }
    let all = ["one", "two", "three", "four"].map(|name| route(name, 8080, json!({})));
    let ok = |name: &str| guest.ask(name, "/", "-o /dev/null -w '%{http_code}'");
    // The certificate is not there yet, or its key is another's.
    guest.sh("cd /etc/phoenix/certificates; mv two /root/; cp four/key.pem three/key.pem");
    let ran = guest.0.run(&apply(rendered(&mesh(&all))));
    let error = ran.failed().error("traefik").unwrap();
    assert!(
        error.contains("two: Traefik cannot read /etc/phoenix/certificates/two/fullchain.pem"),
        "{error}"
    );
    assert!(error.contains("three: ") && error.contains("private key does not match public key"), "{error}");
    assert!(!error.contains("one: ") && !error.contains("four: "), "{error}");
    assert_eq!(["one", "two", "three", "four"].map(ok), ["200", "000exit 35", "000exit 35", "200"]);
    // It is good again: the next reload brings it back, without Phoenix.
    guest.sh("mv /root/two /etc/phoenix/certificates/");
    guest.service("three");
    guest.sh("systemctl reload traefik");
    assert_eq!(
        (guest.refused(), ["one", "two", "three", "four"].map(ok)),
        (String::new(), ["200"; 4].map(str::to_owned))
    );
    guest.0.run(&apply(rendered(&mesh(&all)))).ok();
    guest.0.run(&apply(rendered(&mesh(&all)))).nothing_to_do();

    // Somebody's hand: nonsense, a key that does not exist, a key Traefik may not read.
    guest.sh("cd /etc/traefik/wanted; echo '{{{' >one.yml; sed -i 's/passHostHeader/passTheHeader/' two.yml
         chmod 600 /etc/phoenix/certificates/three/key.pem; systemctl reload traefik");
    let refused = guest.refused();
    assert!(refused.contains("one: ") && refused.contains("passTheHeader"), "{refused}");
    assert!(
        refused.contains("three: Traefik cannot read /etc/phoenix/certificates/three/key.pem"),
        "{refused}"
    );
    assert_eq!(["one", "two", "three", "four"].map(ok)[3], "200");
    // P-57: and so it starts.
    guest.sh("systemctl restart traefik");
    assert_eq!(["one", "two", "three", "four"].map(ok), ["000exit 35", "000exit 35", "000exit 35", "200"]);
    guest.sh("chown root:traefik /etc/phoenix/certificates/three/key.pem; chmod 640 /etc/phoenix/certificates/three/key.pem");
    let ran = guest.0.run(&apply(rendered(&mesh(&all))));
    let repaired = [
        "file update /etc/traefik/wanted/one.yml",
        "file update /etc/traefik/wanted/two.yml",
        "unit reload traefik",
    ];
    assert_eq!(ran.ok().words(), repaired);
    assert_eq!(["one", "two", "three", "four"].map(ok), ["200"; 4]);

    // One that is not wanted any more is gone, and so is what was said about it.
    guest.sh("rm -r /etc/phoenix/certificates/four; systemctl reload traefik");
    assert!(guest.refused().starts_with("four: "));
    let ran = guest.0.run(&apply(rendered(&mesh(&all[..3]))));
    assert_eq!(ran.ok().words(), ["file remove /etc/traefik/wanted/four.yml", "unit reload traefik"]);
    assert_eq!((guest.refused(), ok("four"), ok("one")), (String::new(), "000exit 35".into(), "200".into()));
    // A main file that is bad is put back, and the mesh goes on.
    let mut bad = mesh(&all[..3]);
    bad["upload-timeout"] = "as long as it takes".into();
    let ran = guest.0.run(&apply(rendered(&bad)));
    assert!(ran.failed().error("traefik").unwrap().contains("the old files are back"), "{ran:?}");
    guest.sh("systemctl restart traefik");
    assert_eq!(ok("one"), "200");
    // Only what is read is kept.
    guest.sh("systemctl reload traefik");
    assert_eq!(guest.sh("ls -A /etc/traefik/dynamic.d | wc -l; ls /etc/traefik/refused"), "1\n");
    assert_eq!(
        guest.sh("grep -l \"^Name:.traefik$\" /proc/[0-9]*/status | xargs grep -L \"^State:.Z\" | wc -l"),
        "1\n",
        "no trial is left"
    );
}

// P-46, P-48: a new certificate is served as soon as the unit is reloaded, without a restart and with nothing dropped.
#[test]
fn a_new_certificate_is_served_and_no_request_is_lost() {
    let Some(guest) = Guest::new() else { return };
    for name in ["notes", "slow"] {
        guest.service(name);
    }
    let all = [route("notes", 8080, json!({})), route("slow", 8085, json!({}))];
    guest.0.run(&apply(rendered(&mesh(&all)))).ok();
    let pid = guest.sh("cat /run/traefik.pid");
    // A long answer that began under the old certificate, and many short ones all the while.
    guest.sh(&format!(
        "curl -s -N -m 20 --cacert {TRUST} --connect-to ::127.0.0.1: https://slow.workshop.internal/slow >/root/slow.txt & \
         while [ ! -e /root/enough ]; do curl -s -m 5 -o /dev/null -w '%{{http_code}} ' --cacert {TRUST} --connect-to ::127.0.0.1: \
           https://notes.workshop.internal/ >>/root/codes || echo failed >>/root/codes; done >/dev/null 2>&1 </dev/null &"
    ));
    let mut serials = vec![guest.serial("notes")];
    for _ in 0..3 {
        guest.service("notes");
        let begin = Instant::now();
        guest.sh("systemctl reload traefik");
        println!("reloaded in {:?}", begin.elapsed());
        // It is served when the reload is done, not some time later.
        let wanted =
            guest.sh("openssl x509 -noout -serial -in /etc/phoenix/certificates/notes/fullchain.pem");
        assert_eq!(guest.serial("notes"), wanted);
        serials.push(wanted);
    }
    serials.dedup();
    assert_eq!(serials.len(), 4);
    let deadline = Instant::now() + Duration::from_secs(20);
    while guest.sh("cat /root/slow.txt") != "1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n" {
        assert!(Instant::now() < deadline, "the long answer was cut: {}", guest.sh("cat /root/slow.txt"));
        std::thread::sleep(Duration::from_millis(100));
    }
    guest.sh("touch /root/enough; sleep 0.3");
    let codes = guest.sh("cat /root/codes");
    println!("{} requests", codes.split_whitespace().count());
    assert!(codes.split_whitespace().count() > 10 && codes.split_whitespace().all(|c| c == "200"), "{codes}");
    assert_eq!(guest.sh("cat /run/traefik.pid"), pid, "it was not restarted");
    // A reload with nothing new does nothing.
    let revision = guest.sh("readlink /etc/traefik/dynamic");
    guest.sh("systemctl reload traefik");
    assert_eq!(guest.sh("readlink /etc/traefik/dynamic"), revision);
    // The identity that is shown to services is read anew, too, and so is the root that clients are held against.
    guest.certificate("mesh", "mesh.guest.workshop.internal");
    let mutual = route(
        "notes",
        8444,
        json!({
            "upstream_protocol": "https", "upstream_name": "behind.guest.workshop.internal", "mutual": true,
        }),
    );
    guest.0.run(&apply(rendered(&mesh(&[mutual])))).ok();
    let before = guest.sh("readlink /etc/traefik/dynamic");
    assert!(guest.ask("notes", "/", "").starts_with("mutual CN=mesh"));
    guest.certificate("mesh", "mesh2.guest.workshop.internal");
    guest.sh("systemctl reload traefik");
    assert_ne!(guest.sh("readlink /etc/traefik/dynamic"), before);
    assert_eq!(guest.ask("notes", "/", ""), "mutual CN=mesh2.guest.workshop.internal\n");
}

#[test]
fn answers_come_as_they_are_made_and_limits_hold() {
    let Some(guest) = Guest::new() else { return };
    for name in ["slow", "small"] {
        guest.service(name);
    }
    let all = [
        route("slow", 8085, json!({ "body": 0, "timeout": 1 })),
        route("small", 8085, json!({ "body": 1024 * 1024 })),
    ];
    guest.0.run(&apply(rendered(&mesh(&all)))).ok();
    // The first line is there long before the last one, and a long answer is not cut by the time-out for its beginning.
    let times = guest.sh(&format!(
        "curl -s -N --cacert {TRUST} --connect-to ::127.0.0.1: -w '%{{time_starttransfer}} %{{time_total}}' https://slow.workshop.internal/slow"
    ));
    let last = times.lines().last().unwrap();
    let (first, total) = last.split_once(' ').unwrap();
    let (first, total): (f64, f64) = (first.parse().unwrap(), total.parse().unwrap());
    assert!(times.starts_with("1\n2\n3\n") && first + 2.0 < total, "{times}");
    guest.sh("head -c 1000000 /dev/zero >/root/small; head -c 1100000 /dev/zero >/root/large");
    assert_eq!(guest.ask("small", "/", "--data-binary @/root/small"), "1000000\n");
    // It may be refused before all of it was sent, which curl takes for an error as well.
    let told = guest.ask("small", "/", "--data-binary @/root/large -o /dev/null -w '%{http_code}'");
    assert!(told.starts_with("413"), "{told}");
    assert_eq!(guest.ask("slow", "/", "--data-binary @/root/large"), "1100000\n");
    // Heads: what the gateway passes unless a service says otherwise, and more. Over HTTP/2 curl itself takes no more than
    // 128 KiB.
    for bytes in [65_536, 250_000] {
        assert_eq!(guest.ask("slow", &format!("/head/{bytes}"), "--http1.1"), "ok\n", "{bytes}");
    }
    let cookie = "-H \"Cookie: c=$(head -c 64000 /dev/zero | tr '\\0' x)\"";
    assert_eq!(guest.ask("slow", "/", cookie), "0\n");
}
