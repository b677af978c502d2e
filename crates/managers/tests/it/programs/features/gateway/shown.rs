//! What browsers are told of how pages may be used, and what a name that does not exist is told.

use serde_json::json;

use super::Front;

/// The fields of an answer that start with these words.
fn fields(front: &Front, url: &str, names: &[&str]) -> Vec<String> {
    let head = front.curl(&format!("-o /dev/null -D - {url}"));
    let of = |line: &&str| names.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    head.lines().map(str::trim).filter(of).map(str::to_ascii_lowercase).collect()
}

const ALL: [&str; 5] = [
    "strict-transport-security",
    "x-content-type-options",
    "referrer-policy",
    "content-security-policy",
    "x-frame-options",
];

#[test]
fn pages_are_safe_to_show_unless_their_service_says_otherwise() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({}));
    front.site("plain", json!({ "security_headers": false }));
    front.site("down", json!({ "upstream_port": 8099 }));
    front.apply().ok();
    let ours = [
        "strict-transport-security: max-age=2592000",
        "x-content-type-options: nosniff",
        "referrer-policy: strict-origin-when-cross-origin",
        "content-security-policy: frame-ancestors 'self' https://*.workshop.internal",
    ];
    assert_eq!(fields(&front, "https://notes.workshop.internal/", &ALL), ours);
    // The gateway's own answers, too.
    assert_eq!(fields(&front, "https://down.workshop.internal/", &ALL), ours);
    assert_eq!(fields(&front, "https://plain.workshop.internal/", &ALL), [""; 0]);
    // A service's own words stand, alone: nothing is said twice, and nobody is let in or kept out beside them.
    let mut own = fields(&front, "https://notes.workshop.internal/own-words", &ALL);
    own.sort();
    assert_eq!(
        own,
        [
            "referrer-policy: no-referrer",
            "strict-transport-security: max-age=1",
            "x-content-type-options: of its own",
            "x-frame-options: deny",
        ]
    );
}

#[test]
fn only_names_that_exist_are_sent_on_to_https() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("notes", json!({ "names": ["notes.workshop.internal", "talk.workshop.internal"] }));
    front.apply().ok();
    let asked = |name: &str| {
        front.curl(&format!(
            "-o /dev/null -w '%{{http_code}} %{{redirect_url}}' -H 'Host: {name}' http://127.0.0.1/x"
        ))
    };
    assert_eq!(asked("notes.workshop.internal"), "308 https://notes.workshop.internal/x");
    assert_eq!(asked("TALK.workshop.internal"), "308 https://talk.workshop.internal/x");
    for name in ["evil.example.org", "other.workshop.internal", "127.0.0.1"] {
        assert_eq!(asked(name).split(' ').next(), Some("404"), "{name}");
    }
    // The line's name counts, as everywhere.
    let forged = "-o /dev/null -w '%{http_code}' --request-target http://evil.example.org/ -H 'Host: notes.workshop.internal' http://127.0.0.1/";
    assert_eq!(front.curl(forged), "404");
}
