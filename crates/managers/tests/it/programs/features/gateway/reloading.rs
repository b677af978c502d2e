//! Reloads: what is served after one, what those notice who ask meanwhile, and what a reload is that Nginx does not take.

use serde_json::{Value, json};

use super::{Front, timed};

// P-42, P-46: a renewed certificate is served when its reload is done, and nobody who asks meanwhile notices.
#[test]
fn twenty_renewals_and_not_one_failed_request() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.site("chat", json!({}));
    front.apply().ok();
    let root = &front.root;
    let hammer =
        root.background("exec python3 /srv/peers.py hammer notes.workshop.internal --until /srv/enough");
    // An answer that begins before all of it and ends after.
    let long =
        root.background("exec python3 /srv/peers.py events chat.workshop.internal --count 100 --pause 0.2");
    let socket =
        root.background("exec python3 /srv/peers.py websocket chat.workshop.internal --count 40 --pause 0.5");
    let mut slowest = std::time::Duration::ZERO;
    for _ in 0..20 {
        let serial = front.certificate("/etc/phoenix/certificates/notes", "notes");
        let (_, took) = timed(|| root.sh("systemctl reload nginx"));
        slowest = slowest.max(took);
        // The moment the reload is done, the new one is what everybody sees.
        let served = root.sh(
            "for n in 1 2 3; do openssl s_client -connect 127.0.0.1:443 -servername notes.workshop.internal </dev/null 2>/dev/null \
             | openssl x509 -noout -serial; done | sort -u",
        );
        assert_eq!(served.to_lowercase(), format!("serial={serial}\n"));
    }
    root.sh("touch /srv/enough");
    let told = hammer.wait_with_output().unwrap();
    assert!(told.status.success(), "{told:?}");
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    println!(
        "20 reloads, the slowest in {slowest:?}: {} requests on connections that stayed ({} sent once more), {} on new ones, {} certificates seen, failed: {}",
        told["kept"],
        told["again"],
        told["fresh"],
        told["certificates"].as_array().unwrap().len(),
        told["failed"]
    );
    assert_eq!(told["failed"], json!([]));
    assert!(told["kept"].as_u64().unwrap() > 200 && told["fresh"].as_u64().unwrap() > 200, "{told}");
    assert!(told["certificates"].as_array().unwrap().len() > 15, "{told}");
    let long: Value = serde_json::from_slice(&long.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(long["count"], 100, "the long answer was cut");
    let socket = String::from_utf8(socket.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(socket.matches("HELLO").count(), 40, "the WebSocket was cut");
}

// That a signal was sent says nothing: a reload that Nginx does not take has failed, with Nginx' reason.
#[test]
fn a_reload_that_is_not_taken_is_said() {
    let Some(mut front) = Front::new() else { return };
    front.site("notes", json!({}));
    front.apply().ok();
    let root = &front.root;
    // A port that the main file wants, which nothing can be served without: this Nginx alone finds out.
    root.sh("sed -i 's/listen 80 /listen 8081 /' /etc/nginx/gateway.conf");
    front.serve("lines", 8081, "");
    let root = &front.root;
    let said = root.sh("systemctl reload nginx 2>&1 && echo done || true");
    assert!(
        said.contains("Nginx still serves what it did, 15 s after it was told: ")
            && said.contains("0.0.0.0:8081"),
        "{said}"
    );
    assert!(!said.contains("done"), "{said}");
    assert_eq!(front.status("notes"), "502");
    front.end(8081);
    front.apply().ok();
    // Without Nginx there is nobody to tell.
    let root = &front.root;
    root.sh("systemctl stop nginx");
    assert!(
        root.sh("/usr/local/lib/phoenix/nginx-guard --reload 2>&1 || true").contains("Nginx does not run")
    );
}
