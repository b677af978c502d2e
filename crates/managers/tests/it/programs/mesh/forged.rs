//! What a client writes so that a service takes it for the mesh's word: upgrades, hosts, and what names who asks.

use serde_json::{Value, json};

use super::{Guest, apply, mesh, rendered, route};
use crate::programs::features::gateway::forged::SET;

const PEERS: &[u8] = include_bytes!("../features/gateway/peers.py");

/// A mesh with a service that tells what reached it, and two names.
fn telling() -> Option<Guest> {
    let guest = Guest::new()?;
    guest.write("/srv/peers.py", PEERS, "644");
    guest.sh("cp /root/pki/ca.crt /srv/root.pem; chmod 644 /srv/root.pem
         echo 127.0.0.1 localhost tell.workshop.internal still.workshop.internal >/etc/hosts
         python3 /srv/peers.py serve --port 8089 >/dev/null 2>&1 </dev/null 3>&- &
         for n in $(seq 100); do ss -Hltn 'sport = :8089' | grep -q . && exit 0; sleep 0.1; done; exit 1");
    guest.service("tell");
    guest.service("still");
    let routes = [
        route("tell", 8089, json!({ "names": ["other.workshop.internal", "tell.workshop.internal"] })),
        route("still", 8089, json!({ "websocket": false })),
    ];
    guest.0.run(&apply(rendered(&mesh(&routes)))).ok();
    Some(guest)
}

fn said(guest: &Guest, name: &str, lines: &[&str], inner: &[&str]) -> String {
    let word = |option: &str, line: &&str| format!(" {option} '{line}'");
    let all: String =
        lines.iter().map(|l| word("--line", l)).chain(inner.iter().map(|l| word("--inner", l))).collect();
    guest.sh(&format!("python3 /srv/peers.py raw {name}.workshop.internal {all}"))
}

#[test]
fn nothing_but_websocket_opens_a_tunnel() {
    let Some(guest) = telling() else { return };
    let named = "Host: tell.workshop.internal";
    let inner = ["GET /admin HTTP/1.1", "X-Forwarded-User: root", ""];
    for upgrade in [
        &["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", "Connection: Upgrade, HTTP2-Settings"]
            [..],
        &["Upgrade: h2c, websocket", "Connection: Upgrade"],
        &["Upgrade: websocket/h2c", "Connection: Upgrade"],
        &["Upgrade: TLS/1.2", "Connection: Upgrade"],
        &["Upgrade: anything", "Connection: Upgrade"],
    ] {
        let told = said(&guest, "tell", &[&["GET /tunnel HTTP/1.1", named], upgrade].concat(), &inner);
        assert!(told.starts_with("HTTP/1.1 200"), "{upgrade:?}: {told}");
        assert!(!told.contains("inside: GET /admin"), "{upgrade:?}: {told}");
    }
    // Two of them: none that passes is another than WebSocket.
    for both in [["Upgrade: h2c", "Upgrade: websocket"], ["Upgrade: websocket", "Upgrade: h2c"]] {
        let lines = ["GET /tunnel HTTP/1.1", named, both[0], both[1], "Connection: Upgrade"];
        let told = said(&guest, "tell", &lines, &["hello"]);
        assert!(told.starts_with("HTTP/1.1 ") && !told.contains("h2c"), "{told}");
    }

    let web = [
        "GET /tunnel HTTP/1.1",
        named,
        "Upgrade: WebSocket",
        "Connection: Upgrade",
        "X_Forwarded_User: evil",
    ];
    let told = said(&guest, "tell", &web, &["hello"]);
    assert!(told.starts_with("HTTP/1.1 101") && told.contains("inside: hello"), "{told}");
    assert!(!told.contains("evil"), "{told}");
    let web = [
        "GET /tunnel HTTP/1.1",
        "Host: still.workshop.internal",
        "Upgrade: websocket",
        "Connection: Upgrade",
    ];
    let told = said(&guest, "still", &web, &["hello"]);
    assert!(told.starts_with("HTTP/1.1 200") && !told.contains("inside"), "{told}");
}

/// A field as a client may write it, with a lie in it.
fn spellings(name: &str) -> String {
    let half = name.replacen('-', "_", 1);
    let last = name.rsplit_once('-').map_or_else(|| name.to_owned(), |(begin, end)| format!("{begin}_{end}"));
    let all = [name.to_owned(), name.replace('-', "_"), half.to_uppercase(), last.to_lowercase()];
    all.iter().map(|spelled| format!(" -H '{spelled}: 6.6.6.6-evil'")).collect()
}

#[test]
fn no_header_of_a_client_passes_for_the_meshs() {
    let Some(guest) = telling() else { return };
    // What the gateway drops, and what the two set.
    let gateway = crate::given::built_in("nginx-gateway").files["forwarded.conf"].bytes.clone();
    let gateway = String::from_utf8_lossy(&gateway).into_owned();
    let dropped =
        gateway.lines().filter_map(|line| line.strip_prefix("proxy_set_header ")?.strip_suffix(" \"\";"));
    let all: Vec<&str> = dropped.chain(SET).collect();
    assert!(all.len() > 60, "{all:?}");
    // A few at a time: the service behind takes no more.
    for names in all.chunks(10) {
        let lines: String = names.iter().map(|name| spellings(name)).collect();
        for version in ["--http2", "--http1.1"] {
            let told = guest.ask("tell", "/", &format!("{version} {lines}"));
            let read = serde_json::from_str::<Value>(&told);
            let headers = read.unwrap_or_else(|e| panic!("{e}: {told}"))["headers"].clone();
            assert!(!headers.to_string().contains("evil"), "{headers}");
            assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        }
    }
}

#[test]
fn a_service_sees_the_name_that_was_checked() {
    let Some(guest) = telling() else { return };
    for lines in [
        ["GET https://tell.workshop.internal/ HTTP/1.1", "Host: evil.example.org"],
        ["GET https://tell.workshop.internal:6666/ HTTP/1.1", "Host: evil.example.org"],
        ["GET / HTTP/1.1", "Host: TELL.workshop.internal"],
        ["GET / HTTP/1.1", "Host: tell.workshop.internal:6666"],
    ] {
        let told = said(&guest, "tell", &[&lines[..], &["Connection: close"]].concat(), &[]);
        let body = told.split("\r\n\r\n").nth(1).and_then(|b| serde_json::from_str::<Value>(b.trim()).ok());
        let headers = body.unwrap_or_else(|| panic!("{lines:?}: {told}"))["headers"].clone();
        for name in ["host", "x-forwarded-host"] {
            assert_eq!(headers[name], "tell.workshop.internal", "{lines:?}: {told}");
        }
        assert_eq!(headers["x-forwarded-port"], "443", "{told}");
    }
    // The service's other name is itself, too.
    let told =
        said(&guest, "tell", &["GET / HTTP/1.1", "Host: other.workshop.internal", "Connection: close"], &[]);
    assert!(
        told.contains("\"host\": \"other.workshop.internal\"") || told.starts_with("HTTP/1.1 421"),
        "{told}"
    );
    for lines in [
        ["GET https://nobody.workshop.internal/ HTTP/1.1", "Host: tell.workshop.internal"],
        ["GET / HTTP/1.1", "Host: nobody.workshop.internal"],
    ] {
        let told = said(&guest, "tell", &[&lines[..], &["Connection: close"]].concat(), &[]);
        assert!(told.starts_with("HTTP/1.1 4"), "{lines:?}: {told}");
    }
}
