//! Who is let in, and whom the gateway trusts: passwords, certificates of clients, certificates of services.

use std::convert::Infallible;

use blueprint::model::SecretRef;
use jiff::Timestamp;
use managers::features::{Mode, script};
use serde_json::json;

use super::{Front, IDENTITY};
use crate::root::Ran;

/// Applies with this password for everybody.
fn apply_with(front: &Front, password: &str) -> Ran {
    let made =
        script(&[front.rendered()], Mode::Apply, &|_: &SecretRef| Ok::<_, Infallible>(password.to_owned()));
    let text = made.unwrap().text;
    assert!(!String::from_utf8_lossy(&text).contains(password), "the password itself is in the script");
    front.root.run(&text)
}

#[test]
fn passwords_let_in_and_only_their_hashes_are_kept() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    let users = json!([{ "user": "anna", "password": { "$secret": { "env": "ANNA" } } }, { "user": "ben", "password": { "$secret": { "generate": "ben" } } }]);
    front.site("notes", json!({ "users": users }));
    front.site("wiki", json!({ "users": users }));
    front.site("open", json!({}));
    let rendered = front.rendered();
    let salts = SecretRef::Generate("password-salts".into());
    assert_eq!(rendered.secrets, [SecretRef::Env("ANNA".into()), SecretRef::Generate("ben".into()), salts]);
    assert!(!serde_json::to_string(&rendered).unwrap().contains("ANNA\"}},"), "references stay in one place");
    apply_with(&front, "ope:n sésame").ok();
    apply_with(&front, "ope:n sésame").nothing_to_do();
    let root = &front.root;
    let kept = root.sh("cat /etc/nginx/users.d/notes; stat -c '%a %U:%G' /etc/nginx/users.d /etc/nginx/users.d/notes; ls /etc/nginx/users.d");
    let lines: Vec<&str> = kept.lines().collect();
    assert!(lines[0].starts_with("anna:$6$") && lines[1].starts_with("ben:$6$"), "{kept}");
    assert_eq!(&lines[2..], ["750 root:www-data", "640 root:www-data", "notes", "wiki"]);
    // The same person with the same password at another service has another hash.
    assert_ne!(root.sh("cat /etc/nginx/users.d/notes"), root.sh("cat /etc/nginx/users.d/wiki"));
    assert_eq!(root.sh("grep -rl 'sésame' /etc /var /usr/local || true"), "");

    let status = |name: &str, more: &str| {
        front.curl(&format!("-o /dev/null -w '%{{http_code}}' {more} https://{name}.workshop.internal/"))
    };
    assert_eq!(status("notes", ""), "401");
    assert_eq!(status("notes", "-u anna:wrong"), "401");
    assert_eq!(status("notes", "-u 'nobody:ope:n sésame'"), "401");
    assert_eq!(status("notes", "-u 'anna:ope:n sésame'"), "200");
    // The service learns who it is, and not the password.
    let headers = front.reached("notes", "-u 'ben:ope:n sésame' -H 'X-Forwarded-User: root'");
    assert_eq!((&headers["x-forwarded-user"], &headers["authorization"]), (&json!("ben"), &json!(null)));
    // Nobody is anybody where nobody was asked.
    let headers = front.reached("open", "-u root:x -H 'X-Forwarded-User: root'");
    assert_eq!(headers["x-forwarded-user"], json!(null));

    // Another password is another file; the reload makes Nginx forget that it took the old one, at once.
    assert_eq!(
        apply_with(&front, "a new one").ok().words(),
        ["file update /etc/nginx/users.d/notes", "file update /etc/nginx/users.d/wiki", "unit reload nginx"]
    );
    assert_eq!(status("notes", "-u 'anna:ope:n sésame'"), "401");
    assert_eq!(status("notes", "-u 'anna:a new one'"), "200");
    // Whoever needs no password any more has no file.
    front.sites[0]["users"] = json!([]);
    let ran = apply_with(&front, "a new one");
    assert!(ran.ok().words().contains(&"file remove /etc/nginx/users.d/notes".to_owned()), "{ran:?}");
    assert_eq!(front.status("notes"), "200");
}

/// Applies with a password, and with what salts are made from.
fn apply_salted(front: &Front, password: &str, salts: &str) {
    let value = |reference: &SecretRef| {
        let salt = *reference == SecretRef::Generate("password-salts".into());
        Ok::<_, Infallible>(if salt { salts } else { password }.to_owned())
    };
    front.root.run(&script(&[front.rendered()], Mode::Apply, &value).unwrap().text).ok();
}

// Names of sites, services and people are no secrets: a table made for them beforehand must be of no use.
#[test]
fn nobody_can_prepare_for_a_hash() {
    let Some(mut front) = Front::new() else { return };
    let users = json!([{ "user": "anna", "password": { "$secret": { "env": "ANNA" } } }]);
    front.site("notes", json!({ "users": users }));
    let salt = |salts: &str| {
        apply_salted(&front, "the same", salts);
        let line = front.root.sh("cat /etc/nginx/users.d/notes");
        line.trim().rsplit('$').nth(1).unwrap().to_owned()
    };
    let [one, other, again] = ["one site's", "another's", "one site's"].map(salt);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(one.len(), 16);
}

// Of who tries passwords, only some get an answer; of who knows one, no request is slow or refused.
#[test]
fn passwords_are_not_tried_without_end_and_are_remembered() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    let users = json!([{ "user": "anna", "password": { "$secret": { "env": "ANNA" } } }]);
    front.site("notes", json!({ "users": users }));
    apply_with(&front, "r1ght-w0rd");
    let ask = |more: &str, times: usize| {
        let urls = "-o /dev/null https://notes.workshop.internal/ ".repeat(times);
        front.curl(&format!("-w '%{{http_code}} ' {more} {urls}"))
    };
    let of = |codes: &str, code: &str| codes.matches(code).count();
    // Without a password nobody tries one.
    assert_eq!(of(&ask("", 80), "401"), 80);
    // As many as the pictures of a page, on one connection and on many.
    for how in ["", "-Z"] {
        let codes = ask(&format!("{how} -u anna:r1ght-w0rd"), 200);
        assert_eq!(of(&codes, "200"), 200, "{codes}");
    }
    // A wrong one, again and again, as somebody who says to be somebody else each time.
    let mut codes = String::new();
    for number in 0..80 {
        codes += &ask(
            &format!(
                "-u anna:wrong{number} -H 'X-Real-IP: 10.9.9.{number}' -H 'X-Forwarded-For: 10.9.9.{number}'"
            ),
            1,
        );
    }
    let (wrong, refused) = (of(&codes, "401"), of(&codes, "429"));
    assert!((20..60).contains(&wrong) && wrong + refused == 80, "{codes}");
    // Then the right one is not told from a wrong one, either; nor does it help to ask for what is not there.
    assert_eq!(ask("-u anna:wrong", 1), "429 ");
    assert_eq!(front.curl("-o /dev/null -w '%{http_code}' -u anna:r1ght-w0rd2 https://notes.workshop.internal/.phoenix-password"), "404");
    // Who is known stays in, and other addresses are others.
    assert_eq!(of(&ask("-u anna:r1ght-w0rd", 50), "200"), 50);
    assert_eq!(ask("--interface 127.0.0.3 -u anna:wrong", 1), "401 ");
    assert_eq!(ask("--interface 127.0.0.3 -u anna:r1ght-w0rd", 1), "200 ");
    // What is remembered is in memory, for Nginx alone.
    let kept = front
        .root
        .sh("stat -c '%a %U' /run/nginx-passwords; grep -rl 'notes Basic' /etc /var/lib /var/log || true");
    assert_eq!(kept, "700 www-data\n");

    // A password that is not right any more is not remembered, either.
    apply_with(&front, "an0ther-w0rd");
    assert_eq!(ask("--interface 127.0.0.4 -u anna:r1ght-w0rd", 1), "401 ");
    assert_eq!(ask("--interface 127.0.0.4 -u anna:an0ther-w0rd", 1), "200 ");
}

#[test]
fn clients_show_a_certificate_of_the_workshop() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("vault", json!({ "client_certificate": true }));
    front.site("open", json!({}));
    front.apply().ok();
    front.certificate("/srv/client", "laptop");
    front.root.sh(
        "mkdir /srv/stranger; cd /srv/stranger; openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
         -subj /CN=laptop.workshop.internal -keyout key.pem -out fullchain.pem 2>/dev/null",
    );
    let with = |folder: &str| format!("--cert {folder}/fullchain.pem --key {folder}/key.pem");
    assert_eq!(front.status("vault"), "400");
    let stranger = with("/srv/stranger");
    assert_eq!(
        front.curl(&format!("-o /dev/null -w '%{{http_code}}' {stranger} https://vault.workshop.internal/")),
        "400"
    );
    let headers = front.reached("vault", &format!("{} -H 'X-Client-Subject: CN=root'", with("/srv/client")));
    assert_eq!(headers["x-client-subject"], "CN=laptop.workshop.internal");
    // One that shows a certificate where none is asked for is nobody, whatever it says.
    let headers = front.reached("open", &format!("{} -H 'X-Client-Subject: CN=root'", with("/srv/client")));
    assert_eq!(headers["x-client-subject"], json!(null));
    // Nobody gets to it over a connection that was made for another name.
    let smuggled =
        "-o /dev/null -w '%{http_code}' -H 'Host: vault.workshop.internal' https://open.workshop.internal/";
    assert_eq!(front.curl(smuggled), "421");
}

// A certificate of the workshop is what every guest has: where somebody is named, another's opens nothing.
#[test]
fn whose_certificate_it_is_counts() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    let named = json!({ "client_certificate": true, "client_names": ["laptop.workshop.internal", "notes.guest.workshop.internal",
        "a-guest-with-a-name-that-is-long.guest.workshop.internal"] });
    front.site("top-vault", named);
    front.apply().ok();
    let asked = |name: &str| {
        let folder = format!("/srv/{name}");
        front.certificate(&folder, name);
        front.curl(&format!(
            "-o /dev/null -w '%{{http_code}}' --cert {folder}/fullchain.pem --key {folder}/key.pem https://top-vault.workshop.internal/"
        ))
    };
    let clients =
        ["laptop", "notes.guest", "wiki.guest", "laptop.guest", "laptop.workshop.internal.evil", "xlaptop"];
    assert_eq!(clients.map(asked), ["200", "200", "403", "403", "403", "403"]);
    assert_eq!(asked("a-guest-with-a-name-that-is-long.guest"), "200");
    assert_eq!(asked("a-guest-with-a-name-that-is-long-guest"), "403");
    assert_eq!(front.status("top-vault"), "400");
}

// Whoever has the key that signed has every name, until what it signs is refused: what it signed before and goes on signing.
// Connections that are taken up again are no way around that.
#[test]
fn what_a_taken_key_signs_opens_nothing_any_more() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("vault", json!({ "client_certificate": true }));
    let named = json!({ "client_certificate": true, "client_names": ["laptop.workshop.internal"] });
    front.site("top-vault", named);
    front.site("open", json!({}));
    front.apply().ok();
    let (_copy, thief) = front.stolen();
    front.certificate("/srv/laptop", "laptop");
    front.certificate_by(&thief, "/srv/thief", "laptop", Timestamp::now());
    let asked = |front: &Front, folder: &str, service: &str| {
        let pair = format!("--cert /srv/{folder}/fullchain.pem --key /srv/{folder}/key.pem");
        front.curl(&format!("-o /dev/null -w '%{{http_code}}' {pair} https://{service}.workshop.internal/"))
    };
    let session = |front: &Front, how: &str| {
        front.root.sh(&format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: vault.workshop.internal\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -quiet -tls1_2 \
             -connect vault.workshop.internal:443 -servername vault.workshop.internal -CAfile /srv/root.pem {how} 2>/dev/null \
             | head -n 1 | tr -d '\\r\\n'"
        ))
    };
    for service in ["vault", "top-vault"] {
        assert_eq!(["laptop", "thief"].map(|who| asked(&front, who, service)), ["200", "200"]);
    }
    let pair = "-cert /srv/thief/fullchain.pem -cert_chain /srv/thief/fullchain.pem -key /srv/thief/key.pem";
    assert_eq!(session(&front, &format!("{pair} -sess_out /srv/session")), "HTTP/1.1 200 OK");
    assert_eq!(session(&front, "-sess_in /srv/session"), "HTTP/1.1 200 OK", "it is taken up again");

    front.succeed(None);
    front.certificate("/srv/new", "laptop");
    for name in ["vault", "top-vault", "open"] {
        front.certificate(&format!("/etc/phoenix/certificates/{name}"), name);
    }
    let ran = front.apply();
    let changed = ran.ok().words();
    assert!(changed.contains(&"unit reload nginx".to_owned()), "{changed:?}");
    assert!(!changed.iter().any(|word| word.contains("restart")), "{changed:?}");
    front.apply().nothing_to_do();
    front.certificate_by(&thief, "/srv/later", "laptop", Timestamp::now());
    for service in ["vault", "top-vault"] {
        let all = ["laptop", "thief", "later", "new"].map(|who| asked(&front, who, service));
        assert_eq!(all, ["403", "403", "403", "200"], "{service}");
    }
    assert_eq!(session(&front, "-sess_in /srv/session"), "HTTP/1.1 403 Forbidden");
    // Where nobody asks for certificates, none is looked at.
    assert_eq!(asked(&front, "thief", "open"), "200");
}

// What a guest had that was taken opens nothing, and what others had of the same signature goes on opening what it did.
#[test]
fn what_a_taken_guest_had_opens_nothing_any_more() {
    let Some(mut front) = Front::new() else { return };
    front.serve("serve", 8080, "");
    front.site("vault", json!({ "client_certificate": true }));
    front.apply().ok();
    let all = ["notes.guest", "notes", "xnotes.guest", "wiki.guest"];
    for name in all {
        front.certificate(&format!("/srv/{name}"), name);
    }
    let asked = |front: &Front, folder: &str| {
        let pair = format!("--cert /srv/{folder}/fullchain.pem --key /srv/{folder}/key.pem");
        front.curl(&format!("-o /dev/null -w '%{{http_code}}' {pair} https://vault.workshop.internal/"))
    };
    assert_eq!(all.map(|who| asked(&front, who)), ["200"; 4]);
    // Twice, as whoever was taken may be taken again.
    let names = ["notes.guest.workshop.internal", "notes.workshop.internal"].map(str::to_owned);
    for _ in 0..2 {
        front.succeed(Some(&names));
        front.apply().ok();
        front.certificate("/srv/new", "notes.guest");
        assert_eq!(all.map(|who| asked(&front, who)), ["403", "403", "200", "200"]);
        assert_eq!(asked(&front, "new"), "200");
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    assert_eq!(front.refused.len(), 2);
    assert_eq!(asked(&front, "new"), "200");
}

// P-10: what a service shows is verified, by its own name and the workshop's root; and the gateway shows its own.
#[test]
fn services_are_verified_and_see_who_asks() {
    let Some(mut front) = Front::new() else { return };
    front.certificate("/srv/right", "wiki.guest");
    front.certificate("/srv/other", "other.guest");
    front.root.sh(
        "mkdir /srv/stranger; cd /srv/stranger; openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
         -subj /CN=wiki.guest.workshop.internal -addext subjectAltName=DNS:wiki.guest.workshop.internal \
         -keyout key.pem -out fullchain.pem 2>/dev/null",
    );
    front.certificate(IDENTITY, "gateway.guest");
    for (port, folder) in (8440..).zip(["right", "other", "stranger"]) {
        front.serve("serve", port, &format!("--cert /srv/{folder}"));
        let upstream = json!({ "upstream_port": port, "upstream_protocol": "https", "upstream_name": "wiki.guest.workshop.internal" });
        front.site(folder, upstream);
    }
    front.site("trusting", json!({ "upstream_port": 8442, "upstream_protocol": "https" }));
    front.serve("serve", 8449, "--cert /srv/right --mutual");
    let mutual = json!({ "upstream_port": 8449, "upstream_protocol": "https", "upstream_name": "wiki.guest.workshop.internal" });
    front.site("anonymous", mutual.clone());
    front.site("mutual", crate::given::but(mutual, json!({ "mutual": true })));
    front.apply().ok();
    assert_eq!(front.status("right"), "200");
    assert_eq!(front.status("other"), "502", "a certificate for another name");
    assert_eq!(front.status("stranger"), "502", "a certificate that the workshop did not sign");
    assert_eq!(front.status("trusting"), "200", "no name to verify");
    assert_ne!(front.status("anonymous"), "200", "the service wants to see a certificate");
    assert_eq!(front.status("mutual"), "200");
    let log = front.root.sh("cat /var/log/nginx/error.log");
    assert!(
        log.contains("upstream SSL certificate does not match \"wiki.guest.workshop.internal\""),
        "{log}"
    );
}
