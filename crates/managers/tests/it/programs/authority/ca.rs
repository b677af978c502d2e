//! The authority itself: made, limited, guarded, mended, made anew.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::workshop::{AUTHORITY, CERTIFICATES, HOUR, Workshop, certificate, rendered};

fn log(w: &Workshop) -> String {
    w.root.sh("cat /run/test-units/step-ca.log 2>/dev/null || true")
}

fn times(w: &Workshop, word: &str) -> usize {
    w.root.sh("cat /var/log/systemctl").lines().filter(|l| *l == word).count()
}

// Item 1: initialised without a question, its keys for itself alone (P-69, I-5), and served under the one name that
// clients use (P-43, P-44).
#[test]
fn it_is_made_without_a_question_and_signs_below_the_sites_root() {
    let Some(w) = Workshop::new() else { return };
    w.apply(&[rendered("step-ca", json!({}))]).ok();
    w.apply(&[rendered("step-ca", json!({}))]).nothing_to_do();
    assert!(w.authority("probe", b"").refused().contains("no certificate yet"));
    let request = w.authority("request", b"").ok();
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");

    // What does not belong to its key, or is not by the site's root, is not taken.
    let other = rcgen_request();
    let foreign = w.pki.sign_intermediate(&other, HOUR, Timestamp::now()).unwrap();
    assert!(w.authority("install", foreign.as_bytes()).refused().contains("does not belong to the key"));
    w.root.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /root/k -out /root/c -subj /CN=other");
    w.root.put("/root/request", request.as_bytes());
    w.root.sh("printf 'basicConstraints=critical,CA:TRUE\\n' >/root/ext; openssl x509 -req -in /root/request -CA /root/c -CAkey /root/k -extfile /root/ext -CAcreateserial -out /root/by-other");
    let by_other = w.root.sh("cat /root/by-other");
    assert!(w.authority("install", by_other.as_bytes()).refused().contains("does not vouch"));
    assert!(w.authority("install", b"hello").refused().contains("no certificate"));
    assert!(w.root.sh("ls /etc/step-ca").lines().all(|f| f != "intermediate.crt"));

    let facts = w.sign();
    let said = w.authority("probe", b"").ok();
    assert!(said.starts_with("signed and verified") && said.lines().count() == 1, "{said}");
    assert_eq!(
        w.root.sh("stat -c '%n %a %U' /etc/step-ca /etc/step-ca/intermediate.key /etc/step-ca/phoenix.jwk /var/lib/step-ca /var/lib/step-ca/ca.db"),
        "/etc/step-ca 700 step\n/etc/step-ca/intermediate.key 600 step\n/etc/step-ca/phoenix.jwk 600 step\n\
         /var/lib/step-ca 700 step\n/var/lib/step-ca/ca.db 600 step\n"
    );
    assert_eq!(w.root.sh("stat -c %U /proc/$(cat /run/test-units/step-ca.pid)"), "step\n");
    // Whoever trusts the site's root trusts what it shows, by the name that clients use.
    w.root.sh("curl -sSf --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt https://ca.workshop.internal/health");
    // Everything again changes nothing, and nothing is started anew for it.
    let before = times(&w, "restart step-ca");
    assert_eq!(w.sign().subject, facts.subject);
    w.apply(&[rendered("step-ca", json!({}))]).nothing_to_do();
    assert_eq!(times(&w, "restart step-ca"), before + 1, "another certificate for the same key is taken in");
    // No one-time token and no key is in what it logs.
    let log = log(&w);
    assert!(!log.contains("eyJ") && !log.contains("PRIVATE"), "{log}");
}

fn rcgen_request() -> String {
    let out = std::process::Command::new("openssl")
        .args([
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "/dev/null",
        ])
        .args(["-subj", "/CN=x"])
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

// P-70: one guest cannot have a certificate for the name of another, whatever it asks for.
#[test]
fn a_guest_has_certificates_for_its_own_names_alone() {
    let Some(w) = Workshop::with_authority(&["notes", "wiki"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes", "wiki"], 3600)], None);
    w.certificates("renew notes").ok();
    assert_eq!(w.facts("notes").dns_names, ["notes.workshop.internal", "wiki.workshop.internal"]);
    // The names of another guest, of the authority, of its probe, and of the world.
    for name in ["other", "ca", "probe"] {
        w.declare(&[certificate("x", &["notes", name], 3600)], None);
        let said = w.certificates("renew x");
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(
            said.err.contains(&format!("{name}.workshop.internal is not a name of guest-notes")),
            "{said:?}"
        );
    }
    // A longer life than the blueprint's is refused, too.
    w.declare(&[certificate("x", &["notes"], 7200)], None);
    assert!(w.certificates("renew x").refused().contains("more than the authorized maximum"));
    // The old certificate does not renew itself past the list: what was taken away is away.
    w.register("notes", &["wiki"], 3600).ok();
    let renewed = w.say(
        "curl -sS --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt --cert /etc/phoenix/certificates/notes/fullchain.pem \
         --key /etc/phoenix/certificates/notes/key.pem -X POST https://ca.workshop.internal/1.0/renew -o /dev/null -w '%{http_code}'",
        b"",
    );
    assert_eq!(renewed.out, "401", "{renewed:?}");
    w.authority("forget notes", b"").ok();
    w.declare(&[certificate("x", &["wiki"], 3600)], None);
    assert_eq!(w.certificates("renew x").code, Some(1));
    assert_eq!(w.authority("list", b"").ok(), "");
}

#[test]
fn registration_takes_nothing_that_is_wrong_and_reloads_only_for_what_is_new() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let key: Value = serde_json::from_str(&w.certificates("identity").ok()).unwrap();
    let private: Value =
        serde_json::from_str(&w.root.sh("cat /var/lib/phoenix/certificates/identity.jwk")).unwrap();
    assert!(private["d"].is_string() && key["d"].is_null());
    let good = json!({ "key": key, "names": ["a.workshop.internal"], "life": 3600 });
    let with = |key: &str, value: Value| {
        let mut given = good.clone();
        given[key] = value;
        w.authority("register other", given.to_string().as_bytes()).refused()
    };
    assert!(with("key", private).contains("private one"));
    assert!(with("key", json!({ "kty": "RSA" })).contains("no public JWK"));
    assert!(with("life", json!(1)).contains("life"));
    assert!(with("life", json!(600.5)).contains("life"));
    assert!(with("more", json!(1)).contains("only key, names and life"));
    for name in [
        json!("a.example.com"),
        json!("ca.workshop.internal"),
        json!("probe.workshop.internal"),
        json!("xworkshop.internal"),
        json!("a\" }}{{ fail \"x.workshop.internal"),
        json!("a b.workshop.internal"),
        json!("A.workshop.internal"),
        json!("a.*.workshop.internal"),
        json!(null),
        json!(7),
    ] {
        assert!(with("names", json!([name])).contains("is not a name that a guest can have"), "{name}");
    }
    assert!(with("names", json!([])).contains("there must be names"));
    assert!(w.authority("register other", b"nonsense").refused().contains("no JSON"));
    assert_eq!(w.authority("register ../x", good.to_string().as_bytes()).code, Some(1));
    assert!(!w.authority("list", b"").ok().contains("other"));

    let reloads = times(&w, "reload step-ca");
    w.register("notes", &["notes"], 3600).ok();
    assert_eq!(times(&w, "reload step-ca"), reloads, "nothing has changed");
    w.register("notes", &["wiki", "notes", "*.notes"], 3600).ok();
    assert_eq!(times(&w, "reload step-ca"), reloads + 1);
    let list: Value = serde_json::from_str(&w.authority("list", b"").ok()).unwrap();
    assert_eq!(list["guest"], "notes");
    assert_eq!(
        list["names"],
        json!(["*.notes.workshop.internal", "notes.workshop.internal", "wiki.workshop.internal"])
    );
    w.declare(&[certificate("star", &["*.notes"], 3600)], None);
    w.certificates("renew star").ok();

    // Killed between the change and the reload: the next one does it, though nothing is new to it.
    w.root.put(
        "/run/given",
        json!({ "key": key, "names": ["b.workshop.internal"], "life": 3600 }).to_string().as_bytes(),
    );
    w.root.sh(&format!(
        "setpriv --reuid=step --regid=step --clear-groups {AUTHORITY} change_register notes </run/given"
    ));
    w.declare(&[certificate("b", &["b"], 3600)], None);
    assert_eq!(w.certificates("renew b").code, Some(1));
    w.register("notes", &["b"], 3600).ok();
    w.certificates("renew b").ok();
    // Two at once do not lose each other.
    w.root.sh(&format!(
        "for n in 1 2 3 4; do {AUTHORITY} register guest$n </run/given & done; wait; {AUTHORITY} list | grep -c guest[1-4]"
    ));
    let served = w.root.sh("curl -sS --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt 'https://ca.workshop.internal/provisioners?limit=100'");
    for n in 1..=4 {
        assert!(served.contains(&format!("guest-guest{n}")), "{served}");
    }
}

// S-13: a full disk is how databases are damaged, so the authority stops before, says why, and comes back.
#[test]
fn it_stops_before_its_disk_is_full_and_starts_again() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.root.sh("systemctl stop step-ca; cp -a /var/lib/step-ca /root/kept; mount -t tmpfs -o size=8M,mode=700 none /var/lib/step-ca; \
               cp -a /root/kept/. /var/lib/step-ca/; chown -R step:step /var/lib/step-ca");
    w.apply(&[rendered("step-ca", json!({ "least-free": "3M" }))]).ok();
    w.authority("guard", b"").ok();
    w.authority("probe", b"").ok();
    // 6 MB are written by somebody else.
    w.root.sh("head -c 6000000 /dev/zero >/var/lib/step-ca/other");
    w.authority("guard", b"").ok();
    assert_eq!(w.say("systemctl is-active step-ca", b"").out, "inactive\n");
    let why = w.authority("probe", b"").refused();
    assert!(
        why.contains("step-ca is stopped, for there are only") && why.contains("/var/lib/step-ca"),
        "{why}"
    );
    // It stays so: by the guard, by hand, and at a boot, for which what is in /run is lost.
    w.authority("guard", b"").ok();
    w.root.sh("rm -f /run/phoenix/step-ca.guarded; systemctl start step-ca");
    assert_eq!(w.say("systemctl is-active step-ca", b"").out, "inactive\n");
    assert!(w.authority("probe", b"").refused().contains("step-ca is stopped"));
    w.root.sh("rm /var/lib/step-ca/other");
    w.authority("guard", b"").ok();
    w.authority("probe", b"").ok();
    // Whoever stops it by hand is obeyed.
    w.root.sh("systemctl stop step-ca");
    w.authority("guard", b"").ok();
    assert_eq!(w.say("systemctl is-active step-ca", b"").out, "inactive\n");
    w.root.sh("head -c 6000000 /dev/zero >/var/lib/step-ca/other");
    w.authority("guard", b"").ok();
    w.root.sh("rm /var/lib/step-ca/other");
    w.authority("guard", b"").ok();
    assert_eq!(w.say("systemctl is-active step-ca", b"").out, "inactive\n", "it had not been the guard");
    // Who answers step-ca ends a moment after it, where no systemd ends them together.
    w.root.sh("for _ in 1 2 3 4 5 6; do umount /var/lib/step-ca && exit 0; sleep 1; done; exit 1");
}

// S-13: whatever is wrong with the database, the authority comes back with an empty one, and says so.
#[test]
fn a_damaged_database_is_set_aside() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    for _ in 0..12 {
        w.authority("probe", b"").ok();
    }
    w.root.sh("cp /var/lib/step-ca/ca.db /root/good.db");

    // One that step-ca refuses at its start.
    w.root.sh("systemctl stop step-ca; truncate -s 5000 /var/lib/step-ca/ca.db; systemctl start step-ca");
    w.until(60, "the authority with a cut database", || w.authority("probe", b"").code == Some(0));
    let said = w.authority("probe", b"").ok();
    assert!(
        said.contains("note: its database was damaged and set aside as /var/lib/step-ca/damaged/"),
        "{said}"
    );
    assert!(log(&w).contains("the database is damaged, so it is set aside"), "{}", log(&w));
    w.certificates("renew --force notes").ok();

    // One that it only stumbles over when it signs: it runs, and does not. Which page is which differs from run to run, and
    // with some it does not even start, so pages are left out until it does.
    let stumbles = |first: u32| {
        w.root.sh(&format!(
            "systemctl stop step-ca; cp /root/good.db /var/lib/step-ca/ca.db; chown step:step /var/lib/step-ca/ca.db; \
             for page in $(seq {first} 16); do \
             head -c 4096 /dev/urandom | dd of=/var/lib/step-ca/ca.db bs=4096 seek=$page conv=notrunc 2>/dev/null; done; \
             rm -f /var/lib/step-ca/damaged/* /run/phoenix/step-ca.probed; systemctl start step-ca",
        ));
        let signs = w.authority("probe", b"").code == Some(0);
        !signs
            && w.say("systemctl is-active step-ca", b"").out == "active\n"
            && w.root.sh("ls /var/lib/step-ca/damaged").is_empty()
    };
    // Where no choice of pages does it, the database is given other ones.
    let grows = || {
        w.root.sh(
            "systemctl stop step-ca; cp /root/good.db /var/lib/step-ca/ca.db; chown step:step /var/lib/step-ca/ca.db; \
             rm -f /var/lib/step-ca/damaged/* /run/phoenix/step-ca.probed; systemctl start step-ca",
        );
        w.until(60, "the authority with its database", || w.authority("probe", b"").code == Some(0));
        for _ in 0..4 {
            w.authority("probe", b"").ok();
        }
        w.root.sh("systemctl stop step-ca; cp /var/lib/step-ca/ca.db /root/good.db; systemctl start step-ca");
    };
    let found = (0..4).any(|round| {
        if round > 0 {
            grows();
        }
        (8..16).any(stumbles)
    });
    assert!(found, "whatever is spoilt, it does not start, or signs");
    assert_eq!(w.authority("guard", b"").code, Some(1));
    w.authority("guard", b"");
    w.until(90, "the authority with a spoilt database", || w.authority("probe", b"").code == Some(0));
    assert!(w.authority("probe", b"").ok().contains("damaged"));
    w.certificates("renew --force notes").ok();
    w.authority("guard", b"").ok();

    // What is not the database's fault does not cost it: a configuration that does not work, for one.
    w.root.sh("rm -f /var/lib/step-ca/damaged/*; cp /etc/step-ca/intermediate.crt /root/crt; echo nonsense >/etc/step-ca/intermediate.crt; systemctl kill --signal=KILL step-ca; sleep 8");
    assert_eq!(w.root.sh("ls /var/lib/step-ca/damaged"), "");
    assert!(log(&w).contains("does not work with an empty database either"), "{}", log(&w));
    w.root.sh("cat /root/crt >/etc/step-ca/intermediate.crt");
    w.until(60, "the authority with its certificate back", || w.authority("probe", b"").code == Some(0));
}

// A change that step-ca cannot work with does not reach it.
#[test]
fn what_does_not_work_is_not_used() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let before = w.root.sh("cat /etc/step-ca/ca.json /etc/step-ca/base.json");
    let ran = w.apply(&[rendered("step-ca", json!({ "acme-life": "a while" }))]);
    assert!(
        ran.failed().error("step-ca").unwrap().contains("does not work with what is in /etc/step-ca"),
        "{ran:?}"
    );
    assert_eq!(w.root.sh("cat /etc/step-ca/ca.json /etc/step-ca/base.json"), before);
    w.authority("probe", b"").ok();
    // A file that somebody broke: the next start goes on with what worked.
    w.root.sh("echo nonsense >/etc/step-ca/provisioners.d/guest-odd.json; systemctl restart step-ca");
    w.until(30, "the authority beside a broken file", || w.authority("probe", b"").code == Some(0));
    assert!(log(&w).contains("cannot be put together"), "{}", log(&w));
}

// Item 1: rebuilt with the same root. Nobody trusts anew, old certificates verify, and renew.
#[test]
fn rebuilt_it_is_another_intermediate_below_the_same_root() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    let (old, by) = (w.chain("notes"), w.facts("notes").issuer);
    w.root.sh("systemctl stop step-ca; rm -rf /etc/step-ca /var/lib/step-ca");
    w.apply(&[rendered("step-ca", json!({}))]).ok();
    let facts = w.sign();
    assert_ne!(facts.subject, by);
    pki::verify_chain(&old, w.pki.root_pem(), "notes.workshop.internal", Timestamp::now()).unwrap();
    // It does not know the guest until that is registered again, with the key it has had all along.
    assert_eq!(w.certificates("renew --force notes").code, Some(1));
    w.register("notes", &["notes"], 3600).ok();
    w.certificates("renew notes").ok();
    assert_eq!(w.chain("notes"), old, "what is good is not issued anew");
    w.certificates("renew --force notes").ok();
    assert_eq!(w.facts("notes").issuer, facts.subject);
    pki::verify_chain(&w.chain("notes"), w.pki.root_pem(), "notes.workshop.internal", Timestamp::now())
        .unwrap();
    assert!(w.root.sh(&format!("{CERTIFICATES} list")).contains("\"failures\":0"));
}

// Another root takes the place of the site's: at each stage the guest gets certificates by itself, from an authority that is a
// stage behind or ahead of it, and at the end nothing of the old one is believed, nor told by the authority.
#[test]
fn another_root_takes_the_place_of_the_first_while_it_signs() {
    let Some(mut w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    let (old, old_root) = (w.chain("notes"), w.pki.root_pem().to_owned());
    let verified = |w: &Workshop, root: &str| {
        pki::verify_chain(&w.chain("notes"), root, "notes.workshop.internal", Timestamp::now()).is_ok()
    };

    w.next_root_stage();
    w.trust().ok();
    w.trust().nothing_to_do();
    let new_root = w.pki.newest_pem().to_owned();
    w.authority("probe", b"").ok();
    w.certificates("renew --force notes").ok();
    assert!(verified(&w, &old_root) && !verified(&w, &new_root));

    w.next_root_stage();
    let before = w.facts("notes").serial;
    // The guest may ask between the two: by whatever signs then.
    w.certificates("renew --force notes").ok();
    let facts = w.signed("request another");
    w.trust().nothing_to_do();
    assert!(facts.issuer.starts_with("Phoenix workshop Root CA "), "{facts:?}");
    w.authority("probe", b"").ok();
    w.certificates("renew notes").ok();
    assert_ne!(w.facts("notes").serial, before);
    assert!(verified(&w, &old_root), "it is still believed, so only whoever says so gets another");
    w.certificates("renew --force notes").ok();
    assert!(verified(&w, &new_root) && !verified(&w, &old_root));
    assert!(w.root.sh(&format!("{CERTIFICATES} list")).contains("\"failures\":0"));

    w.next_root_stage();
    let ran = w.trust();
    assert!(ran.ok().words().iter().any(|word| word == "unit restart step-ca"), "it forgets the old one");
    w.trust().nothing_to_do();
    w.authority("probe", b"").ok();
    w.certificates("renew --force notes").ok();
    assert!(verified(&w, &new_root));
    let served = w.root.sh(
        "curl -sSf --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt https://ca.workshop.internal/roots",
    );
    let served: Value = serde_json::from_str(&served).unwrap();
    assert_eq!(served["crts"].as_array().map(Vec::len), Some(1), "{served}");
    // What was given out below the old one is believed in no place where this guest looks.
    w.root.put("/root/old", old.as_bytes());
    for how in ["-CApath /etc/ssl/certs -no-CAfile", "-CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath"]
    {
        w.root.sh(&format!(
            "if openssl verify -no-CAstore {how} -untrusted /root/old /root/old; then exit 1; fi"
        ));
        w.root.sh(&format!(
            "openssl verify -no-CAstore {how} -untrusted /etc/phoenix/certificates/notes/fullchain.pem /etc/phoenix/certificates/notes/fullchain.pem"
        ));
    }
    w.next_root_stage();
    w.trust().nothing_to_do();
}
