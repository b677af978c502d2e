//! What somebody tries who is root in one guest, or answers for others' names on its network.

use jiff::Timestamp;
use managers::authority::later::Signed;
use plan::told::Acme;
use serde_json::{Value, json};

use super::workshop::{AUTHORITY, Workshop, certificate, rendered};

/// The authority itself by ACME. Every name leads to the guest that asks: as with ARP spoofing, or a forged record.
fn spoofing(w: &Workshop) -> Option<Acme> {
    w.root.put(
        "/etc/nginx/nginx.conf",
        b"user www-data; worker_processes 1; events {} pid /run/nginx.pid; error_log /var/log/nginx/error.log;\n\
          http { access_log off; server { listen 127.0.0.1:80; location /.well-known/acme-challenge/ { alias /var/lib/phoenix/acme-challenge/; } } }\n",
    );
    w.root.sh(
        "nginx; echo '127.0.0.1 wiki.workshop.internal pve.workshop.internal printer.workshop.internal' >>/etc/hosts",
    );
    Some(Acme {
        directory: "https://ca.workshop.internal/acme/acme/directory".into(),
        email: "me@example.org".into(),
        challenge: "http-01".into(),
        hook: String::new(),
        root: w.pki.root_pem().into(),
    })
}

fn by_acme(name: &str) -> Value {
    let mut one = certificate(name, &[name], 3600);
    one["issuer"] = json!("acme");
    one
}

/// What its certificate may be used for.
fn uses(w: &Workshop, name: &str) -> String {
    w.root.sh(&format!(
        "openssl x509 -in /etc/phoenix/certificates/{name}/fullchain.pem -noout -ext extendedKeyUsage"
    ))
}

// Who answers for a name is not who has it.
#[test]
fn answering_for_a_name_brings_no_certificate_for_it() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let acme = spoofing(&w);
    let names = ["wiki", "pve", "printer"];
    w.declare(&names.map(by_acme), acme.clone());
    for name in names {
        let said = w.certificates(&format!("renew {name}"));
        assert_eq!(said.code, Some(1), "{said:?}");
    }
    // What the blueprint lists is to be had, to serve with; nothing else is.
    let listed = json!({
        "acme-names": ["printer.workshop.internal"], "node-names": ["pve.workshop.internal"],
    });
    w.apply(&[rendered("step-ca", listed)]).ok();
    w.certificates("renew printer").ok();
    assert_eq!(w.facts("printer").dns_names, ["printer.workshop.internal"]);
    let said = uses(&w, "printer");
    assert!(said.contains("Server Authentication") && !said.contains("Client"), "{said}");
    for name in ["wiki", "pve"] {
        let said = w.certificates(&format!("renew {name}"));
        assert!(said.code == Some(1), "{said:?}");
    }
    // A guest's own are for both, as before.
    w.declare(&[certificate("notes", &["notes"], 3600)], acme);
    w.certificates("renew notes").ok();
    assert!(uses(&w, "notes").contains("Client"));
}

// The node's names are the node's: no guest has them, whatever somebody registers, or has registered before.
#[test]
fn no_guest_has_a_name_of_the_node() {
    let Some(w) = Workshop::with_authority(&["notes", "pve"], 3600) else { return };
    let told =
        json!({ "acme-names": ["printer.workshop.internal"], "node-names": ["pve.workshop.internal"] });
    w.apply(&[rendered("step-ca", told)]).ok();
    // It was registered with that name when nobody minded.
    w.declare(&[certificate("x", &["notes", "pve"], 3600)], None);
    let said = w.certificates("renew x");
    assert!(
        said.code == Some(1) && said.err.contains("pve.workshop.internal is not a name of guest-notes"),
        "{said:?}"
    );
    for name in ["pve", "*", "printer"] {
        let said = w.register("notes", &["notes", name], 3600).refused();
        assert!(
            said.contains(&format!("{name}.workshop.internal is not a name that a guest can have")),
            "{said}"
        );
    }
    let admit = |name: &str| {
        let told = json!({ "names": [format!("{name}.workshop.internal")], "life": 3600 }).to_string();
        w.authority("admit hypervisor", told.as_bytes())
    };
    assert!(admit("wiki").refused().contains("wiki.workshop.internal is not a name of the node"));
    admit("pve").ok();
    // Its own go on being renewed.
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    assert!(w.say(&format!("{AUTHORITY} probe"), b"").ok().starts_with("signed and verified"));
    assert!(w.facts("notes").not_after > Timestamp::now());
}

// Whoever was root in the authority for a minute has its key. It is another one after weeks, or when somebody says so: what
// guests have goes on being good, and nothing is started anew but step-ca.
#[test]
fn the_authority_gets_another_key_and_guests_notice_nothing() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    let (chain, taken) = (w.chain("notes"), w.root.sh("cat /etc/step-ca/intermediate.key"));
    let first = w.root.sh("cat /etc/step-ca/intermediate.crt");
    let facts = |pem: &str| pki::CertificateFacts::parse(pem).unwrap();
    let life = facts(&first).not_after.as_second() - facts(&first).not_before.as_second();
    assert!(life <= 13 * 7 * 86_400 + 300, "it lives weeks: {life} s");
    w.root.sh(": >/var/log/systemctl");

    // Its guest tells what it signs with, which the root signed; so what a taken key signs can be refused by its name.
    let shown = w.authority("certificate", b"").ok();
    assert_eq!(shown, first);
    w.pki.remember(&shown, Timestamp::now()).unwrap();
    let next = w.signed("request another");
    assert_ne!(next.subject, facts(&first).subject);
    let refused = w.pki.refuse_others(true, None, Timestamp::now()).unwrap();
    assert_eq!(refused, [pki::Refused { issuer: facts(&first).subject, names: Vec::new() }]);
    assert_ne!(w.root.sh("cat /etc/step-ca/intermediate.key"), taken);
    assert!(!next.matches_key(&taken.into()), "it is another key");
    assert_eq!(w.root.sh("ls /etc/step-ca | grep next || true"), "");
    let told = w.root.sh("cat /var/log/systemctl");
    let others: Vec<_> = told.lines().filter(|line| !line.ends_with(" step-ca")).collect();
    assert_eq!((others, told.matches("restart step-ca").count()), (Vec::new(), 1));
    // What the guest shows is as good as before, and not replaced; the next one is signed with the other key.
    pki::verify_chain(&chain, w.pki.root_pem(), "notes.workshop.internal", Timestamp::now()).unwrap();
    w.certificates("renew notes").ok();
    assert_eq!(w.chain("notes"), chain);
    w.certificates("renew --force notes").ok();
    assert_eq!(w.facts("notes").issuer, next.subject);
    pki::verify_chain(&w.chain("notes"), w.pki.root_pem(), "notes.workshop.internal", Timestamp::now())
        .unwrap();

    // Killed at each point between the key and its certificate: the next start finishes it.
    let request = w.authority("request another", b"").ok();
    let pem = w.pki.sign_intermediate(&request, super::workshop::HOUR, Timestamp::now()).unwrap();
    w.root.put("/etc/step-ca/next.crt", pem.as_bytes());
    w.root.sh("chown step:step /etc/step-ca/next.crt; cp -a /etc/step-ca /root/cut-off");
    for cut in ["true", "mv /etc/step-ca/next.key /etc/step-ca/intermediate.key"] {
        w.root.sh(&format!("systemctl stop step-ca; rm -rf /etc/step-ca; cp -a /root/cut-off /etc/step-ca; {cut}; systemctl start step-ca"));
        w.until(30, "the authority", || w.authority("probe", b"").code == Some(0));
        w.certificates("renew --force notes").ok();
        assert_eq!(w.facts("notes").issuer, facts(&pem).subject, "after {cut}");
    }
    // A certificate for neither key is not taken.
    assert!(w.authority("install", first.as_bytes()).refused().contains("does not belong to the key"));
}

/// Whether somebody elsewhere gets a certificate with the key that was copied from a guest.
fn gets_one(w: &Workshop) -> bool {
    let said = w.say(
        "export HOME=/root STEPPATH=/root/step; ca='--ca-url https://ca.workshop.internal --root /usr/local/share/ca-certificates/phoenix-workshop.crt'; \
         token=$(step ca token notes.workshop.internal --offline --kid \"$(sed -n 's/.*\"kid\": *\"\\([^\"]*\\)\".*/\\1/p' /root/taken)\" \
         --key /root/taken --issuer guest-notes $ca --not-after 5m) && \
         STEP_TOKEN=$token step ca certificate notes.workshop.internal /root/got.crt /root/got.key $ca --force",
        b"",
    );
    said.code == Some(0)
}

// A key that was copied asks for as long as its guest is known by it. Rotated, it is worth nothing more, whoever is killed.
#[test]
fn a_key_that_was_copied_gets_nothing_more_once_its_guest_is_rotated() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    w.root.sh("cp /var/lib/phoenix/certificates/identity.jwk /root/taken");
    assert!(gets_one(&w), "what is taken works at first");
    let serial = w.facts("notes").serial;
    let another = || serde_json::from_str::<Value>(&w.certificates("identity another").ok()).unwrap();
    // Killed before the authority was told: the guest goes on with the key it has.
    let key = another();
    w.certificates("renew --force notes").ok();
    assert_eq!(another(), key, "a next one that waits is the one that is told of");
    // Killed after that, and before the guest asked: it finds out by itself.
    let told = json!({ "key": key, "names": ["notes.workshop.internal"], "life": 3600 });
    w.authority("register notes", told.to_string().as_bytes()).ok();
    assert!(!gets_one(&w), "it is the old one");
    w.certificates("renew --force notes").ok();
    assert_ne!(w.facts("notes").serial, serial);
    assert_eq!(w.root.sh("ls /var/lib/phoenix/certificates | grep next || true"), "");
    let own: Value = serde_json::from_str(&w.certificates("identity").ok()).unwrap();
    assert_eq!(own, key);
    w.certificates("renew --force notes").ok();
    assert!(!gets_one(&w));
}

/// What somebody asks for with the key that was copied from a guest.
fn asks(w: &Workshop, more: &str) -> super::workshop::Said {
    w.root.sh("cp /var/lib/phoenix/certificates/identity.jwk /root/taken; rm -f /root/got.crt");
    w.say(
        &format!(
            "export HOME=/root STEPPATH=/root/step; ca='--ca-url https://ca.workshop.internal --root /usr/local/share/ca-certificates/phoenix-workshop.crt'; \
             token=$(step ca token notes.workshop.internal --offline --kid \"$(sed -n 's/.*\"kid\": *\"\\([^\"]*\\)\".*/\\1/p' /root/taken)\" \
             --key /root/taken --issuer guest-notes $ca --not-after 5m) && \
             STEP_TOKEN=$token step ca certificate notes.workshop.internal /root/got.crt /root/got.key $ca --force {more}"
        ),
        b"",
    )
}

// A guest that is taken for a minute asks for certificates for the time after. None is signed, whoever asks and how; and what
// begins now is.
#[test]
fn certificates_for_later_are_refused() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    for more in ["--not-before 24h --not-after 1h", "--not-before 2m --not-after 30m"] {
        let said = asks(&w, more);
        assert!(said.code != Some(0) && said.err.contains("forbidden"), "{more}: {said:?}");
        assert_eq!(w.root.sh("ls /root/got.crt 2>/dev/null || true"), "", "{more}");
    }
    let why = w
        .root
        .sh("grep -c 'a certificate is not signed: it begins later than now' /run/test-units/step-ca.log");
    assert_eq!(why, "2\n");
    asks(&w, "--not-after 30m").ok();
    asks(&w, "--not-before 10s --not-after 30m").ok();
    // By ACME, too.
    let _ = spoofing(&w);
    w.apply(&[rendered("step-ca", json!({ "acme-names": ["printer.workshop.internal"] }))]).ok();
    w.root.sh("mkdir -p /srv/root/.well-known /var/lib/phoenix/acme-challenge; ln -s /var/lib/phoenix/acme-challenge /srv/root/.well-known/");
    let by_acme = |more: &str| {
        w.say(
            &format!(
                "export HOME=/root STEPPATH=/root/step; step ca certificate printer.workshop.internal /root/got.crt /root/got.key --force \
                 --acme https://ca.workshop.internal/acme/acme/directory --root /usr/local/share/ca-certificates/phoenix-workshop.crt \
                 --webroot /srv/root {more}"
            ),
            b"",
        )
    };
    by_acme("").ok();
    assert_ne!(by_acme("--not-before 24h --not-after 25h").code, Some(0));
    assert_eq!(Signed::parse(&w.authority("later", b"").ok()).unwrap(), Signed::default());

    // Where nobody says that it begins now, nothing is signed, and that does not last.
    w.root.sh("kill $(ss -Hltnp 'sport = :4430' | grep -o 'pid=[0-9]*' | cut -d = -f 2 | sort -u)");
    assert!(w.authority("probe", b"").refused().contains("does not sign"));
    assert_eq!(w.certificates("renew --force notes").code, Some(1));
    for _ in 0..2 {
        w.authority("guard", b"");
    }
    w.until(60, "the authority", || w.authority("probe", b"").code == Some(0));
    w.certificates("renew --force notes").ok();
}

// What was signed for later before that was refused is told of until it begins, or what signed it is succeeded; what is asked
// for in the ordinary way is not.
#[test]
fn certificates_for_later_are_seen() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    let later = || Signed::parse(&w.authority("later", b"").ok()).unwrap();
    assert_eq!(later(), Signed::default(), "nothing has been asked for yet");
    w.certificates("renew notes").ok();
    assert_eq!(later(), Signed::default());
    // As it was.
    w.root.sh(
        "sed -i 's/time + 60/time + 1e9/' /usr/local/lib/phoenix/authority-begins; systemctl restart step-ca",
    );
    w.until(30, "the authority", || w.authority("probe", b"").code == Some(0));
    let taken = |from: &str| {
        asks(&w, &format!("--not-before {from} --not-after 1h")).ok();
        let got = pki::CertificateFacts::parse(&w.root.sh("cat /root/got.crt")).unwrap();
        assert!(got.not_before > Timestamp::now(), "it is for later: {got:?}");
        got
    };
    // One is in a bucket within a page, many are on pages of their own.
    let mut all = Vec::new();
    for hours in [24, 2000, 48] {
        all.push(taken(&format!("{hours}h")));
        let mut wanted: Vec<_> = all.iter().map(|f| (f.not_before.as_second(), f.serial.clone())).collect();
        wanted.sort();
        let seen = later();
        let first: Vec<_> = seen.first.iter().map(|one| (one.begin, one.serial.clone())).collect();
        assert_eq!((first, seen.all), (wanted, all.len() as u64));
        assert!(seen.first.iter().all(|one| one.names == ["notes.workshop.internal"]), "{seen:?}");
        assert_eq!(seen.first[0].end - seen.first[0].begin, 3600);
        for _ in 0..4 {
            w.certificates("renew --force notes").ok();
        }
    }
    assert!(later().words().unwrap().starts_with("it has signed 3 certificates that begin later"));
    // What signs from now on signed none of them.
    w.signed("request another");
    assert_eq!(later(), Signed::default());
    // A database that is none is an error, and no reason to say that all is well.
    w.root.sh("echo nothing >/var/lib/step-ca/none; chown step: /var/lib/step-ca/none");
    let said = w.say(
        "cd /; openssl x509 -in /etc/step-ca/intermediate.crt -outform DER -out /root/signs; \
         perl /usr/local/lib/phoenix/authority-later /var/lib/step-ca/none /root/signs 0",
        b"",
    );
    assert!(said.code != Some(0) && said.err.contains("no database of bbolt"), "{said:?}");
}
