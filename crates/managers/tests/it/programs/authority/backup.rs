//! What is kept of the authority, sealed, and taken back.

use jiff::Timestamp;
use serde_json::json;

use super::workshop::{AUTHORITY, Workshop, certificate, rendered};

const PASSPHRASE: &str = "a horse, a battery and a staple";

fn backup(w: &Workshop) {
    w.root.put("/run/passphrase", format!("{PASSPHRASE}\n").as_bytes());
    w.root.sh(&format!("{AUTHORITY} backup </run/passphrase >/root/backup"));
}

fn restore(w: &Workshop, passphrase: &str, file: &str) -> super::workshop::Said {
    w.root.put("/run/passphrase", format!("{passphrase}\n").as_bytes());
    w.say(&format!("cat /run/passphrase {file} | {AUTHORITY} restore"), b"")
}

// S-16, S-17: everything in one sealed file, looked at before it takes the place of anything.
#[test]
fn backed_up_destroyed_and_restored_it_is_the_same_authority() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    let by = w.facts("notes").issuer;
    backup(&w);
    // Nothing of it can be read without the passphrase.
    assert_eq!(
        w.say("strings /root/backup 2>/dev/null || cat /root/backup", b"").out.matches("PRIVATE").count(),
        0
    );
    assert_eq!(w.say("grep -c -a -e intermediate -e guest-notes /root/backup", b"").out, "0\n");
    assert!(w.root.sh("gpg --list-packets --batch /root/backup 2>&1 || true").contains("AES256"));
    assert!(w.say(&format!("echo short | {AUTHORITY} backup"), b"").refused().contains("too short"));
    assert!(w.say(&format!("{AUTHORITY} backup </dev/null"), b"").refused().contains("no passphrase"));

    // Destroyed: made anew, it is another one; restored, it is the old one, and knows its guests without being told.
    w.root.sh("systemctl stop step-ca; rm -rf /etc/step-ca /var/lib/step-ca");
    w.apply(&[rendered("step-ca", json!({}))]).ok();
    assert_ne!(w.sign().subject, by);
    assert!(restore(&w, "another passphrase", "/root/backup").refused().contains("cannot be opened"));
    restore(&w, PASSPHRASE, "/root/backup").ok();
    w.certificates("renew --force notes").ok();
    assert_eq!(w.facts("notes").issuer, by);
    assert_eq!(w.root.sh("stat -c '%a %U' /etc/step-ca/intermediate.key"), "600 step\n");
    assert_eq!(w.root.sh("ls -A /etc/step-ca | grep -e old -e new -e restore || true; ls -d /var/lib/step-ca/.restore 2>/dev/null || true; ls /dev/shm"), "");
    // Once more is the same.
    restore(&w, PASSPHRASE, "/root/backup").ok();
    w.certificates("renew --force notes").ok();
}

#[test]
fn a_backup_that_is_not_good_changes_nothing() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    backup(&w);
    let picture = || w.root.sh("cd /etc/step-ca && find . -type f | sort | xargs sha256sum");
    let before = picture();
    let mut bad: Vec<(&str, String, &str)> = vec![
        ("cut", "head -c 2000 /root/backup >/root/bad".into(), "cannot be"),
        (
            "spoilt",
            "cp /root/backup /root/bad; printf x | dd of=/root/bad bs=1 seek=3000 conv=notrunc 2>/dev/null"
                .into(),
            "cannot be opened",
        ),
        ("nothing", ": >/root/bad".into(), "cannot be"),
    ];
    // Sealed with the right passphrase, and wrong inside.
    for (name, change, why) in [
        (
            "a key of another",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out intermediate.key",
            "do not belong together",
        ),
        (
            "another domain",
            "sed -i 's/workshop.internal/other.internal/' backup.json",
            "not one of workshop.internal",
        ),
        ("something more", "touch passwd", "does not belong there"),
        ("a link", "rm ca.db; ln -s /etc/shadow ca.db", "does not belong there"),
        ("a way out", "mkdir x; touch 'x/y'", "does not belong there"),
        ("no probe's key", "echo '{}' >phoenix.jwk", "does not work"),
        ("a broken provisioner", "echo nonsense >provisioners.d/guest-x.json", "cannot be read"),
        (
            "another root",
            "openssl req -x509 -key intermediate.key -subj /CN=x -days 9 -addext basicConstraints=critical,CA:TRUE -out intermediate.crt",
            "does not vouch",
        ),
    ] {
        let gpg = "gpg --homedir /root/gpg --batch --quiet --pinentry-mode loopback --passphrase-file /run/passphrase";
        let line = format!(
            "rm -rf /root/x /root/gpg; mkdir -m 700 /root/x /root/gpg; cd /root/x; {gpg} -d /root/backup | tar x; {change}; \
             tar c . | {gpg} -c -o - >/root/bad; gpgconf --homedir /root/gpg --kill gpg-agent"
        );
        bad.push((name, line, why));
    }
    for (name, make, why) in bad {
        w.root.put("/run/passphrase", format!("{PASSPHRASE}\n").as_bytes());
        w.root.sh(&make);
        let said = restore(&w, PASSPHRASE, "/root/bad");
        assert!(said.code == Some(1) && said.err.contains(why), "{name}: {said:?}");
        assert_eq!(picture(), before, "{name}");
        w.authority("probe", b"").ok();
    }
}

// While it signs: a copy of the database is of one moment, and the authority does not stop for it.
#[test]
fn a_backup_under_load_is_a_good_one() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let load = w.root.background(&format!(
        "n=0; while [ ! -e /root/enough ]; do {AUTHORITY} probe >/dev/null || n=$((n + 1)); done; echo $n"
    ));
    for n in 0..3 {
        backup(&w);
        w.root.sh(&format!("mv /root/backup /root/backup.{n}"));
    }
    w.root.sh("touch /root/enough");
    assert_eq!(load.wait_with_output().unwrap().stdout, b"0\n");
    for n in 0..3 {
        restore(&w, PASSPHRASE, &format!("/root/backup.{n}")).ok();
    }
    let now = Timestamp::now();
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    w.certificates("renew notes").ok();
    pki::verify_chain(&w.chain("notes"), w.pki.root_pem(), "notes.workshop.internal", now).unwrap();
}
