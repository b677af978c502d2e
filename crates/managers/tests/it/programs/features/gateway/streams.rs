//! TCP through the gateway, with TLS and without.

use serde_json::json;

use super::Front;

#[test]
fn tcp_passes_with_tls_and_without() {
    let Some(mut front) = Front::new() else { return };
    front.serve("lines", 7000, "");
    front.stream("plain", 7001, json!({}));
    front.stream("sealed", 7002, json!({ "tls": true }));
    front.stream("down", 7003, json!({ "upstream_port": 7999 }));
    front.stream("short", 7004, json!({ "timeout": 1 }));
    front.site("notes", json!({}));
    front.apply().ok();
    front.apply().nothing_to_do();
    let root = &front.root;
    let talk = |client: &str| {
        root.sh(&format!("{{ echo one; sleep 0.3; echo two; sleep 0.3; }} | timeout 20 {client}"))
    };
    let plain = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/7001 4<&0; cat <&4 >&3 & head -n 3 <&3'";
    assert_eq!(talk(plain), "hello\nONE\nTWO\n");
    let sealed = "openssl s_client -quiet -verify_quiet -verify_return_error -no_ign_eof -CAfile /srv/root.pem \
                  -verify_hostname sealed.workshop.internal -servername sealed.workshop.internal -connect 127.0.0.1:7002 2>/dev/null";
    assert_eq!(talk(sealed), "hello\nONE\nTWO\n");
    // Without TLS, nothing passes to a service that is declared with it.
    assert!(
        !root
            .sh("bash -c 'exec 3<>/dev/tcp/127.0.0.1/7002; echo one >&3; timeout 2 head -n 1 <&3' || true")
            .contains("hello")
    );
    // A service that is down is its own affair.
    assert_eq!(root.sh("bash -c 'exec 3<>/dev/tcp/127.0.0.1/7003; timeout 5 cat <&3'"), "");
    assert_eq!(front.status("notes"), "502");
    // Idle for longer than it may.
    let begin = std::time::Instant::now();
    assert_eq!(root.sh("bash -c 'exec 3<>/dev/tcp/127.0.0.1/7004; timeout 10 cat <&3'"), "hello\n");
    assert!((1..6).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());

    // One less: its port is free again, the others stay.
    front.streams.retain(|s| s["service"] != "plain");
    front.apply().ok();
    assert_eq!(root.sh("ss -Hltn 'sport = :7001'"), "");
    assert_eq!(talk(sealed), "hello\nONE\nTWO\n");
    // None at all: Nginx has no part for TCP any more.
    front.streams.clear();
    front.apply().ok();
    assert_eq!(root.sh("ss -Hltnp | grep nginx | awk '{ print $4 }' | sort"), "0.0.0.0:443\n0.0.0.0:80\n");
}
