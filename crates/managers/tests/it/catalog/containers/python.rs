//! A Python program of the site: its libraries, its environment, and what starts it anew.

use std::collections::BTreeMap;

use blueprint::model::SiteFile;
use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::{Guest, NAME};
use crate::catalog::{apply, try_with};

const MAIN: &str = r#"
import json, os, ssl, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
try:
    import greeting
    said = greeting.said
except ImportError:
    said = "nothing"

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        names = ["*"] if "CARELESS" in os.environ else os.environ.get("TLS_CLIENT_NAMES", "*").split()
        if names != ["*"] and dict(part[0] for part in self.connection.getpeercert()["subject"])["commonName"] not in names:
            self.send_error(403)
            return
        body = json.dumps({"said": said, "key": os.environ.get("KEY"), "level": os.environ.get("LEVEL"), "user": os.getuid(),
                           "version": VERSION, "state": os.environ.get("STATE_DIRECTORY"), "arguments": sys.argv[1:]})
        self.send_response(200 if self.path == "/well" else 500)
        self.end_headers()
        self.wfile.write(body.encode())

server = HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Answer)
if "TLS_KEY" in os.environ:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERTIFICATE"], os.environ["TLS_KEY"])
    if "TLS_CLIENT_CA" in os.environ and "CARELESS" not in os.environ:
        context.load_verify_locations(os.environ["TLS_CLIENT_CA"])
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn service(version: u32, requirements: &str, more: Value) -> Rendered {
    let mut files = vec![("main.py", MAIN.replace("VERSION", &version.to_string()))];
    if !requirements.is_empty() {
        files.push(("requirements.txt", requirements.to_owned()));
    }
    let files = files.into_iter().map(|(path, text)| SiteFile {
        path: path.into(),
        bytes: text.into_bytes().into(),
        executable: false,
    });
    let mut all =
        json!({ "source": "program/", "health": "/well", "start": ["main.py", "50%", "a $b \"c\""] });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let contents = BTreeMap::from([("source".to_owned(), files.collect())]);
    let mut rendered = try_with("python-service", all, &contents).unwrap();
    if more.get("tls").is_some() {
        let key = Guest::identity().key;
        rendered.own_keys("root:python-service", &[key]);
    }
    rendered
}

fn ask_service(guest: &Guest) -> Value {
    serde_json::from_str(&guest.sh("curl -sS -m 5 http://10.0.0.53:8000/well")).unwrap()
}

/// Libraries that need no index: built in the guest, a version each.
const WHEELS: &str = r#"
mkdir -p /opt/wheels && cd /opt/wheels && for version in 1.0 2.0; do python3 - $version <<'PYTHON'
import sys, zipfile
version = sys.argv[1]
with zipfile.ZipFile(f"greeting-{version}-py3-none-any.whl", "w") as wheel:
    folder = f"greeting-{version}.dist-info"
    wheel.writestr("greeting.py", f"said = 'hello {version}'\n")
    wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n")
    wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{folder}/RECORD", "greeting.py,,\n")
PYTHON
done; sha256sum greeting-2.0*.whl | cut -c 1-64
"#;

#[test]
fn a_python_program_is_a_service() {
    let Some(guest) = Guest::new("a_python_program_is_a_service") else { return };
    const ODD: &str = r#"o'd"d $HOME \ `x` %s #"#;
    let with_key =
        |level: &str| json!({ "environment": { "LEVEL": level }, "secrets": { "KEY": { "env": ODD } } });
    guest.run(&apply(&service(1, "", with_key("a b\"c")))).ok();
    guest.run(&apply(&service(1, "", with_key("a b\"c")))).nothing_to_do();
    let answer = ask_service(&guest);
    assert_eq!((&answer["said"], &answer["version"]), (&json!("nothing"), &json!(1)));
    assert_eq!((&answer["key"], &answer["level"]), (&json!(ODD), &json!("a b\"c")));
    assert_eq!(answer["arguments"], json!(["50%", "a $b \"c\""]));
    assert_ne!(answer["user"], 0);
    assert_eq!(guest.sh("stat -c %a /etc/phoenix/python-service.env"), "600\n");
    assert!(!guest.sh("systemctl show python-service; journalctl -o cat").contains("o'd"));

    // P-32: it is started anew when its code, its libraries or its environment change, and only then.
    let run = |feature: &Rendered| {
        let before = guest.invocation("python-service");
        let words = guest.run(&apply(feature)).ok().words();
        assert_ne!(guest.invocation("python-service"), before);
        words
    };
    let restart = "unit restart python-service";
    assert_eq!(
        run(&service(2, "", with_key("a b\"c"))),
        ["file update /srv/python-service/main.py", restart]
    );
    assert_eq!(run(&service(2, "", with_key("b"))), ["file update /etc/phoenix/python-service.env", restart]);
    assert_eq!(ask_service(&guest)["level"], "b");
    let sum = guest.sh(WHEELS);
    let local = "--no-index\n--find-links /opt/wheels\n";
    assert_eq!(
        run(&service(2, &format!("{local}greeting==1.0\n"), with_key("b"))),
        [
            "file create /srv/python-service/requirements.txt",
            "command run install the libraries it asks for",
            restart
        ]
    );
    assert_eq!(ask_service(&guest)["said"], "hello 1.0");
    guest.run(&apply(&service(2, &format!("{local}greeting==1.0\n"), with_key("b")))).nothing_to_do();

    // What cannot be installed leaves what runs as it is.
    let before = guest.invocation("python-service");
    let ran = guest.run(&apply(&service(2, &format!("{local}greeting==3.0\n"), with_key("b"))));
    let error = ran.failed().error("python-service").unwrap();
    assert!(error.contains("No matching distribution found for greeting==3.0"), "{error}");
    assert_eq!(
        (guest.invocation("python-service"), ask_service(&guest)["said"].clone()),
        (before, json!("hello 1.0"))
    );

    // P-75: with hashes, what has another is refused.
    let mut hashes = with_key("b");
    hashes["require-hashes"] = json!(true);
    let pinned =
        |sum: &str| service(2, &format!("{local}greeting==2.0 --hash=sha256:{sum}\n"), hashes.clone());
    let ran = guest.run(&apply(&service(2, &format!("{local}greeting==2.0\n"), hashes.clone())));
    assert!(ran.failed().error("python-service").unwrap().contains("Hashes are required"), "{ran:?}");
    let ran = guest.run(&apply(&pinned(&"0".repeat(64))));
    assert!(ran.failed().error("python-service").unwrap().contains("DO NOT MATCH"), "{ran:?}");
    guest.run(&apply(&pinned(sum.trim()))).ok();
    assert_eq!(ask_service(&guest)["said"], "hello 2.0");
    assert_eq!(
        guest.sh("find /opt/python-service ! -user root -o -perm /022 ! -type l | head -3"),
        "",
        "nothing of it is the program's to change"
    );

    // A program that is not well is said to be so, with its last words.
    let sick = service(3, "", json!({ "health": "/sick", "state": true }));
    let ran = guest.run(&apply(&sick));
    let error = ran.failed().error("python-service").unwrap();
    assert!(
        error.contains("http://127.0.0.1:8000/sick is not healthy") && error.ends_with("it answers 500"),
        "{error}"
    );
    assert_eq!(ask_service(&guest)["state"], "/var/lib/python-service");
    guest.reboot();
    guest.sh("systemctl is-active python-service");
}

#[test]
fn a_python_program_has_the_guests_own_certificate() {
    let Some(guest) = Guest::new("a_python_program_has_the_guests_own_certificate") else { return };
    guest.certify();
    let tls = service(1, "", json!({ "tls": true, "identity": Guest::identity(), "port": 443 }));
    guest.run(&apply(&tls)).ok();
    guest.run(&apply(&tls)).nothing_to_do();
    assert_eq!(
        guest.sh("stat -c '%a %U:%G' /etc/phoenix/certificates/*/key.pem"),
        "640 root:python-service\n"
    );
    let renewed = guest.certify();
    guest.sh("systemctl restart python-service; sleep 1");
    assert_eq!(guest.served(443, ""), renewed);
    let body = guest.sh(&format!(
        "curl -sS --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt --resolve {NAME}:443:10.0.0.53 https://{NAME}/well"
    ));
    assert!(body.contains("\"version\": 1"), "{body}");

    // It is told whose certificates it is to take, and looked at whether it asks for any.
    let mutual = |more: Value| {
        let all = json!({
            "tls": true, "identity": Guest::identity(), "port": 443, "client-certificates": true,
            "proxies": ["mesh.guest.workshop.internal"],
        });
        service(1, "", crate::given::but(all, more))
    };
    let ran = guest.run(&apply(&mutual(json!({ "environment": { "CARELESS": "1" } }))));
    let error = ran.failed().error("python-service").unwrap();
    assert!(error.contains("the program answers who shows no certificate"), "{error}");
    guest.run(&apply(&mutual(json!({})))).ok();
    let asked = |name: &str| {
        guest.leaf("/root/shown", name);
        guest.sh(&format!(
            "curl -sS -o /dev/null -w '%{{http_code}}' --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt \
             --cert /root/shown.crt --key /root/shown.key --resolve {NAME}:443:10.0.0.53 https://{NAME}/well"
        ))
    };
    assert_eq!(asked("mesh.guest.workshop.internal"), "200");
    assert_eq!(asked("wiki.guest.workshop.internal"), "403");
}
