//! How requests get through: the way to HTTPS, HTTP/2, WebSocket, streams in both directions, sizes, times, rates.

use serde_json::{Value, json};

use super::{Front, timed};

// P-74: nothing is answered without TLS but the way to it, and what a public authority asks for.
#[test]
fn nothing_is_served_without_tls_and_no_name_that_is_not_declared() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.apply().ok();
    let root = &front.root;
    assert_eq!(
        front.curl(
            "-o /dev/null -w '%{http_code} %{redirect_url}' -X POST 'http://notes.workshop.internal/x?y=z'"
        ),
        "308 https://notes.workshop.internal/x?y=z"
    );
    root.put("/var/lib/phoenix/acme-challenge/token", b"token.thumbprint");
    root.sh("chmod 644 /var/lib/phoenix/acme-challenge/token");
    // For every name, also one that is not served yet: the certificate comes first.
    for name in ["notes.workshop.internal", "example.org"] {
        let asked = format!(
            "-w ' %{{http_code}} %{{content_type}}' -H 'Host: {name}' http://127.0.0.1/.well-known/acme-challenge/token"
        );
        assert_eq!(front.curl(&asked), "token.thumbprint 200 text/plain");
    }
    // A name that is not declared leads nowhere.
    assert_eq!(front.curl("-o /dev/null -w '%{http_code}' -H 'Host: example.org' http://127.0.0.1/"), "404");
    // Nobody reads more than that there, nor where Phoenix keeps its own things.
    for path in
        ["acme-challenge/", "acme-challenge/../nginx/served/nginx.conf", "acme-challenge/%2e%2e/pending"]
    {
        let asked =
            format!("-o /dev/null -w '%{{http_code}}' --path-as-is http://127.0.0.1/.well-known/{path}");
        assert!(["403", "404", "308", "400"].contains(&front.curl(&asked).as_str()), "{path}");
    }
    assert_eq!(root.sh("stat -c %a /var/lib/phoenix /var/lib/phoenix/pending"), "711\n700\n");

    // The handshake of an unknown name, or of none, is refused: 35 is curl's word for that.
    assert_eq!(front.curl("-k --resolve other:443:127.0.0.1 https://other/"), " exit 35");
    assert_eq!(front.curl("-k https://127.0.0.1/"), " exit 35");
    let listening = root.sh("ss -Hltnp | grep nginx | awk '{ print $4 }' | sort -u");
    assert_eq!(listening, "0.0.0.0:443\n0.0.0.0:80\n");
    assert_eq!(front.status("notes"), "200");
    // P-57 in another way: a port that speaks TLS answers nothing but a complaint without it.
    let plain = front.curl("-o /dev/null -w '%{http_code}' http://notes.workshop.internal:443/");
    assert_eq!(plain, "400");
    let old = front.curl("--tls-max 1.1 --ciphers DEFAULT:@SECLEVEL=0 https://notes.workshop.internal/");
    assert_eq!(old, " exit 35");
}

#[test]
fn a_service_learns_who_asks_and_not_what_the_client_says_of_that() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.apply().ok();
    let lies = "-H 'X-Forwarded-For: 6.6.6.6' -H 'X-Real-IP: 6.6.6.6' -H 'X-Forwarded-Proto: http' -H 'X-Forwarded-Host: evil' \
                -H 'Forwarded: for=6.6.6.6' -H 'X-Forwarded-User: root' -H 'X-Client-Subject: CN=root' -H 'X_Client_Subject: CN=root' \
                -H 'X-Forwarded-Port: 1' -H 'Authorization: Bearer mine'";
    for version in ["--http2", "--http1.1"] {
        let headers = front.reached("notes", &format!("{version} {lies}"));
        assert_eq!(
            headers,
            json!({
                "host": "notes.workshop.internal", "x-real-ip": "127.0.0.1", "x-forwarded-for": "127.0.0.1",
                "x-forwarded-host": "notes.workshop.internal", "x-forwarded-proto": "https", "x-forwarded-port": "443",
                // What is between the client and the service alone is left as it is.
                "authorization": "Bearer mine", "accept": "*/*", "user-agent": headers["user-agent"],
            })
        );
    }
}

#[test]
fn http_2_and_websocket() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.apply().ok();
    let version =
        front.curl("-o /dev/null -w '%{http_version} %{http_code}' https://notes.workshop.internal/");
    assert_eq!(version, "2 200");
    let said = front.client("websocket", "notes", "--count 3");
    assert_eq!(said, "HTTP/1.1 101 Switching Protocols\nHELLO\nHELLO\nHELLO\n");
    // Many at once on one connection.
    let urls = "-o /dev/null https://notes.workshop.internal/slow?seconds=1 ".repeat(20);
    let (codes, took) = timed(|| front.curl(&format!("-Z --http2 -w '%{{http_code}} ' {urls}")));
    assert_eq!(codes.matches("200").count(), 20, "{codes}");
    assert!(took.as_secs() < 8, "{took:?}: one after the other");
}

// Answers of language models: each word is passed on as it comes, with no word from the service about buffering; so is
// what a client sends.
#[test]
fn streams_pass_in_both_directions_as_they_come() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("chat", json!({}));
    front.apply().ok();
    let told: Value =
        serde_json::from_str(&front.client("events", "chat", "--count 20 --pause 0.2")).unwrap();
    println!("events through the gateway: {told}");
    assert!(told["count"] == 20 && told["late"].as_f64().unwrap() < 0.15, "{told}");
    let told: Value =
        serde_json::from_str(&front.client("upload", "chat", "--count 20 --pause 0.2")).unwrap();
    println!("an upload through the gateway: {told}");
    assert!(told["bytes"].as_u64().unwrap() > 200 && told["late"].as_f64().unwrap() < 0.15, "{told}");
    // A large upload needs no room on the gateway.
    front.root.sh("mount -t tmpfs -o size=64k none /var/lib/nginx; truncate -s 50M /srv/big");
    let told = front.curl("-T /srv/big -X POST https://chat.workshop.internal/");
    assert!(told.contains("\"bytes\": 52428800"), "{told}");
}

#[test]
fn each_service_has_its_own_patience() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("quick", json!({ "timeout": 1 }));
    front.site("usual", json!({}));
    front.apply().ok();
    let ask = |name: &str, path: &str| {
        front.curl(&format!("-o /dev/null -w '%{{http_code}}' 'https://{name}.workshop.internal{path}'"))
    };
    let (status, took) = timed(|| ask("quick", "/slow?seconds=4"));
    assert_eq!(status, "504");
    assert!(took.as_millis() >= 1000 && took.as_secs() < 3, "{took:?}");
    assert_eq!(ask("usual", "/slow?seconds=3"), "200");
    // It is the silence that is measured, not the whole: three seconds of events pass in spite of one of patience.
    let told: Value =
        serde_json::from_str(&front.client("events", "quick", "--count 10 --pause 0.3")).unwrap();
    assert_eq!(told["count"], 10);
    // Without a word in the blueprint, ten minutes.
    assert!(front.root.sh("cat /etc/nginx/phoenix.d/usual.conf").contains("proxy_read_timeout 600s;"));
}

/// Bytes.
const MIB: u64 = 1024 * 1024;

#[test]
fn each_service_has_its_own_size_and_rate() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("small", json!({ "body": 100 * 1024 }));
    front.site("medium", json!({ "body": 20 * MIB }));
    front.site("large", json!({ "body": 40 * MIB }));
    front.site("usual", json!({}));
    front.site("limited", json!({ "rate": { "requests": 1, "per_seconds": 1 }, "burst": 3 }));
    front.apply().ok();
    front.root.sh("truncate -s 200K /srv/200k; truncate -s 1100M /srv/1100m; truncate -s 30M /srv/30m");
    let post = |name: &str, file: &str| {
        front.curl(&format!(
            "-o /dev/null -w '%{{http_code}}' -T /srv/{file} -X POST https://{name}.workshop.internal/"
        ))
    };
    assert_eq!(post("small", "200k"), "413");
    assert_eq!(post("usual", "200k"), "200");
    assert!(post("usual", "1100m").starts_with("413"));
    assert!(post("medium", "30m").starts_with("413"));
    assert_eq!(post("large", "30m"), "200");
    // The first and three more at once; then it is too fast.
    let urls = "-o /dev/null https://limited.workshop.internal/ ".repeat(10);
    let codes = front.curl(&format!("-w '%{{http_code}} ' {urls}"));
    assert_eq!((codes.matches("200").count(), codes.matches("429").count()), (4, 6), "{codes}");
    let usual = "-o /dev/null https://usual.workshop.internal/ ".repeat(10);
    assert_eq!(front.curl(&format!("-w '%{{http_code}} ' {usual}")).matches("200").count(), 10);
}

// Single sign-on sets large cookies, and browsers send them back. What is refused is called by its name.
#[test]
fn heads_are_passed_up_to_their_limit() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("usual", json!({}));
    front.site("small", json!({ "headers": 8192 }));
    // More than that curl itself does not take over HTTP/2 (128 KiB).
    front.site("large", json!({ "headers": 122_880 }));
    front.apply().ok();
    let answered = |name: &str, version: &str, bytes: usize| {
        front.curl(&format!(
            "{version} -o /dev/null -w '%{{http_code}}' 'https://{name}.workshop.internal/head?bytes={bytes}'"
        ))
    };
    for version in ["--http1.1", "--http2"] {
        for (name, limit) in [("usual", 64 * 1024), ("small", 8 * 1024), ("large", 120 * 1024)] {
            assert_eq!(answered(name, version, limit), "200", "{name} {version}");
            assert_eq!(answered(name, version, limit + 1), "502", "{name} {version}");
        }
    }
    // The gateway's log names what it refused, and `trace` reads that.
    let log =
        front.root.sh(&format!("set -- {}\n{}", managers::trace::log::NGINX, managers::trace::log::SCRIPT));
    let log = managers::trace::log::ProxyLog::parse(&log);
    let said = log.last_about("usual.workshop.internal");
    assert_eq!(said, Some("upstream sent too big header while reading response header from upstream"));
    assert_eq!(log.last_about("notes.workshop.internal"), None);

    // One field of a question, and all of them.
    let asked = |name: &str, version: &str, cookies: usize, bytes: usize| {
        let fields: String =
            (0..cookies).map(|n| format!("-H 'X-{n}: '$(head -c {bytes} /dev/zero | tr '\\0' x) ")).collect();
        front.curl(&format!(
            "{version} -o /dev/null -w '%{{http_code}}' {fields} 'https://{name}.workshop.internal/'"
        ))
    };
    for version in ["--http1.1", "--http2"] {
        assert_eq!(asked("usual", version, 1, 63_000), "200", "{version}");
        assert_eq!(asked("small", version, 1, 7000), "200", "{version}");
        assert_ne!(asked("small", version, 1, 12_000), "200", "{version}");
    }
    // More than 64 KiB in all curl itself does not send over HTTP/2.
    assert_eq!(asked("usual", "--http1.1", 3, 40_000), "200");
    assert_eq!(asked("usual", "--http1.1", 1, 66_000), "400");
}
