//! What a client writes so that a service takes it for the gateway's word: upgrades, hosts, and what names who asks.

use serde_json::{Value, json};

use super::Front;

/// What comes back for these lines, and for those that follow inside once the gateway has answered.
fn said(front: &Front, lines: &[&str], inner: &[&str]) -> String {
    let word = |option: &str, line: &&str| format!(" {option} '{line}'");
    let all: String =
        lines.iter().map(|l| word("--line", l)).chain(inner.iter().map(|l| word("--inner", l))).collect();
    front.client("raw", "notes", &all)
}

const NAMED: &str = "Host: notes.workshop.internal";

// A connection that was upgraded is a tunnel in which nothing is checked any more: only WebSocket gets one.
#[test]
fn nothing_but_websocket_opens_a_tunnel() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.site("still", json!({ "websocket": false }));
    front.apply().ok();
    let inner = ["GET /admin HTTP/1.1", "X-Forwarded-User: root", ""];
    for upgrade in [
        &["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", "Connection: Upgrade, HTTP2-Settings"]
            [..],
        &["Upgrade: H2C", "Connection: upgrade"],
        &["Upgrade: h2c, websocket", "Connection: Upgrade"],
        &["Upgrade: websocket, h2c", "Connection: Upgrade"],
        &["Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade"],
        &["Upgrade: websocket/h2c", "Connection: Upgrade"],
        &["Upgrade: TLS/1.2", "Connection: Upgrade"],
        &["Upgrade: connect-udp", "Connection: Upgrade"],
        &["Upgrade: anything", "Connection: Upgrade"],
    ] {
        let lines = [&["GET /tunnel HTTP/1.1", NAMED], upgrade].concat();
        let told = said(&front, &lines, &inner);
        assert!(told.starts_with("HTTP/1.1 200") || told.starts_with("HTTP/1.1 400"), "{upgrade:?}: {told}");
        assert!(!told.contains("inside: GET /admin"), "{upgrade:?}: {told}");
    }
    // WebSocket does, however it is spelled, unless the service wants none; and not as anybody's word.
    for spelled in ["websocket", "WebSocket"] {
        let upgrade = format!("Upgrade: {spelled}");
        let lines =
            ["GET /tunnel HTTP/1.1", NAMED, &upgrade, "Connection: Upgrade", "X-Forwarded-User: root"];
        let told = said(&front, &lines, &["hello"]);
        assert!(told.starts_with("HTTP/1.1 101") && told.contains("inside: hello"), "{told}");
        assert!(!told.contains("root") && told.contains("\"upgrade\": \"websocket\""), "{told}");
    }
    let lines = "--line 'GET /tunnel HTTP/1.1' --line 'Host: still.workshop.internal' --line 'Upgrade: websocket' \
         --line 'Connection: Upgrade' --inner hello";
    let told = front.client("raw", "still", lines);
    assert!(told.starts_with("HTTP/1.1 200") && !told.contains("inside"), "{told}");
}

/// What proxies tell services, gateway and mesh alike.
pub const SET: [&str; 7] = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-User",
    "X-Real-IP",
    "X-Client-Subject",
];

// Everything that services are known to believe about who asks. Each alone, in an ordinary question and in an upgrade, with
// `-` and with `_`, since many a service takes the two for the same (RFC 3875, 4.1.18).
#[test]
fn no_header_of_a_client_passes_for_the_gateways() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.apply().ok();
    let cleared = front
        .root
        .sh("sed -n 's/^ *proxy_set_header \\([A-Za-z0-9-]*\\) \"\";$/\\1/p' /etc/nginx/forwarded.conf");
    let known = ["Forwarded", "X-Forwarded-Email", "X-Original-URL", "Remote-User", "X-Forwarded-Prefix"];
    for name in known {
        assert!(cleared.lines().any(|line| line.eq_ignore_ascii_case(name)), "{name} is not cleared");
    }
    let all: Vec<&str> = cleared.lines().chain(SET).collect();
    assert!(all.len() > 60, "{all:?}");
    let mut lines = String::new();
    for name in &all {
        for spelled in [(*name).to_owned(), name.replace('-', "_"), name.to_uppercase().replacen('-', "_", 1)]
        {
            lines.push_str(&format!(" -H '{spelled}: 6.6.6.6-evil'"));
        }
    }
    for more in ["--http2", "--http1.1"] {
        let headers = front.reached("notes", &format!("{more} {lines}"));
        assert!(!headers.to_string().contains("evil"), "{headers}");
    }
    let lines = lines.replace(" -H ", " --line ");
    let told = front.client(
        "raw",
        "notes",
        &format!(
            "--line 'GET /tunnel HTTP/1.1' --line '{NAMED}' --line 'Upgrade: websocket' --line 'Connection: Upgrade' {lines} \
             --inner hello"
        ),
    );
    assert!(told.starts_with("HTTP/1.1 101") && told.contains("inside: hello"), "{told}");
    assert!(!told.contains("evil"), "{told}");
}

#[test]
fn a_service_sees_the_name_that_was_checked() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.apply().ok();
    let seen = |lines: &[&str]| -> (String, Value) {
        let told = said(&front, &[lines, &["Connection: close"]].concat(), &[]);
        let body =
            told.split("\r\n\r\n").nth(1).and_then(|body| serde_json::from_str::<Value>(body.trim()).ok());
        (told, body.unwrap_or_default()["headers"].clone())
    };
    // What is on the line is what was checked; what the field says beside it is nobody's word.
    for lines in [
        ["GET https://notes.workshop.internal/ HTTP/1.1", "Host: evil.example.org"],
        ["GET http://notes.workshop.internal/ HTTP/1.1", "Host: evil.example.org:443"],
        ["GET http://notes.workshop.internal:6666/ HTTP/1.1", "Host: evil.example.org"],
        ["GET / HTTP/1.1", "Host: NOTES.workshop.internal"],
        ["GET / HTTP/1.1", "Host: notes.workshop.internal."],
        ["GET / HTTP/1.1", "Host: notes.workshop.internal:evil"],
    ] {
        let (told, headers) = seen(&lines);
        for name in ["host", "x-forwarded-host"] {
            assert_eq!(headers[name], "notes.workshop.internal", "{lines:?}: {told}");
        }
        assert_eq!(headers["x-forwarded-port"], "443", "{told}");
    }
    // Where the way to the gateway leads through another port, as in a lab, links must lead there, too.
    let (told, headers) = seen(&["GET / HTTP/1.1", "Host: notes.workshop.internal:8443"]);
    assert_eq!(headers["host"], "notes.workshop.internal:8443", "{told}");
    // A name that nobody declared is answered by nobody, whichever name the connection was made for.
    for lines in [
        ["GET http://other.workshop.internal/ HTTP/1.1", NAMED],
        ["GET / HTTP/1.1", "Host: other.workshop.internal"],
        ["GET / HTTP/1.1", "Host: evil@notes.workshop.internal"],
    ] {
        let (told, headers) = seen(&lines);
        assert!(told.starts_with("HTTP/1.1 421") || told.starts_with("HTTP/1.1 400"), "{lines:?}: {told}");
        assert_eq!(headers, Value::Null);
    }
}
