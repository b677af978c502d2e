//! Whom guests trust: the roots of the workshop, in the list that all programs of the system read.

use super::*;

fn certificate(root: &Root, name: &str) {
    root.sh(&format!(
        "mkdir -p /etc/phoenix/certificates/{name}; cd /etc/phoenix/certificates/{name}; openssl req -x509 -nodes -newkey ec \
         -pkeyopt ec_paramgen_curve:P-256 -subj /CN={name}.workshop.internal -addext subjectAltName=DNS:{name}.workshop.internal \
         -keyout key.pem -out fullchain.pem 2>/dev/null"
    ));
}

#[test]
fn the_root_certificate_becomes_trusted() {
    let Some(root) = Root::new() else { return };
    certificate(&root, "ca");
    let pem = root.sh("cat /etc/phoenix/certificates/ca/fullchain.pem");
    let feature = [with(&built_in("trusted-ca"), json!({ "root": pem }))];
    root.run(&apply(&feature)).ok();
    root.sh("openssl verify -CApath /etc/ssl/certs -no-CAfile /etc/phoenix/certificates/ca/fullchain.pem");
    root.sh("openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath /etc/phoenix/certificates/ca/fullchain.pem");
    root.run(&apply(&feature)).nothing_to_do();
    // It is as if the system had done it: that finds nothing to add.
    let known = "cd /etc/ssl/certs; readlink phoenix-workshop.pem; sort ca-certificates.crt | sha256sum; ls";
    let before = root.sh(known);
    assert!(root.sh("update-ca-certificates").contains("0 added, 0 removed"));
    assert_eq!(root.sh(known), before);
    // Killed in the middle: the next run does it all.
    root.sh("grep -vxF -f /usr/local/share/ca-certificates/phoenix-workshop.crt /etc/ssl/certs/ca-certificates.crt >/root/all
             mv /root/all /etc/ssl/certs/ca-certificates.crt");
    assert_eq!(
        root.run(&apply(&feature)).ok().words(),
        ["command run rebuild the list of trusted certificates"]
    );
    root.sh("openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath /etc/phoenix/certificates/ca/fullchain.pem");
    certificate(&root, "ca");
    let pem = root.sh("cat /etc/phoenix/certificates/ca/fullchain.pem");
    let feature = [with(&built_in("trusted-ca"), json!({ "root": pem }))];
    assert_eq!(
        root.run(&apply(&feature)).ok().words(),
        [
            "file update /usr/local/share/ca-certificates/phoenix-workshop.crt",
            "command run rebuild the list of trusted certificates",
        ]
    );
    root.sh("openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt /etc/phoenix/certificates/ca/fullchain.pem");
    root.run(&apply(&feature)).nothing_to_do();
    // Gone, it is trusted no more, and nothing is left of it.
    root.run(&removal(&["trusted-ca".to_owned()], &[], Mode::Apply).text).ok();
    root.sh("if openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt /etc/phoenix/certificates/ca/fullchain.pem; then exit 1; fi");
    assert_eq!(root.sh("find /etc/ssl/certs -xtype l; find /etc/ssl /usr/local -name '*phoenix*'"), "");
}

// While a root takes another's place, both are trusted by whoever looks at files and by whoever looks by subject; then the new one
// alone, whatever was cut off.
#[test]
fn two_roots_are_trusted_and_then_the_new_one_alone() {
    let Some(root) = Root::new() else { return };
    let made = |name: &str| {
        certificate(&root, name);
        root.sh(&format!("cat /etc/phoenix/certificates/{name}/fullchain.pem"))
    };
    let (old, new) = (made("old"), made("new"));
    let alone = |pem: &str| [with(&built_in("trusted-ca"), json!({ "root": pem }))];
    let both = [with(
        &built_in("trusted-ca"),
        json!({
            "root": format!("{old}{new}"), "roots": [{ "id": "a1", "pem": old }, { "id": "b2", "pem": new }],
            "readers": { "reloads": ["x"], "restarts": [] },
        }),
    )];
    let trusted = |name: &str| -> Vec<bool> {
        let hows = [
            "-CApath /etc/ssl/certs -no-CAfile",
            "-CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath",
            "-CAfile /usr/local/share/ca-certificates/phoenix-workshop.crt -no-CApath",
        ];
        let yes = |how: &&str| {
            let chain = format!("/etc/phoenix/certificates/{name}/fullchain.pem");
            root.sh(&format!(
                "openssl verify -no-CAstore {how} {chain} >/dev/null 2>&1 && echo yes || echo no"
            )) == "yes\n"
        };
        hows.iter().map(yes).collect()
    };
    root.sh("printf '[Service]\nExecStart=/bin/true\n' >/etc/systemd/system/x.service; systemctl start x; rm -f /var/log/systemctl");
    root.run(&apply(&alone(&old))).ok();
    assert_eq!((trusted("old"), trusted("new")), (vec![true; 3], vec![false; 3]));

    let ran = root.run(&apply(&both));
    assert_eq!(
        ran.ok().words(),
        [
            "file update /usr/local/share/ca-certificates/phoenix-workshop.crt",
            "file create /usr/local/share/ca-certificates/phoenix-workshop-a1.crt",
            "file create /usr/local/share/ca-certificates/phoenix-workshop-b2.crt",
            "command run rebuild the list of trusted certificates",
            "unit reload x",
        ]
    );
    assert_eq!((trusted("old"), trusted("new")), (vec![true; 3], vec![true; 3]));
    root.run(&apply(&both)).nothing_to_do();

    let ran = root.run(&apply(&alone(&new)));
    let words = ran.ok().words();
    assert!(words.iter().any(|word| word == "unit reload x"), "{words:?}");
    assert_eq!((trusted("old"), trusted("new")), (vec![false; 3], vec![true; 3]));
    root.run(&apply(&alone(&new))).nothing_to_do();
    assert_eq!(root.sh("find /etc/ssl/certs -xtype l; find /etc/ssl /usr/local -name '*phoenix*-*-*'"), "");
    // It is as the system does it, and stays so.
    root.sh("update-ca-certificates --fresh >/dev/null 2>&1");
    assert_eq!((trusted("old"), trusted("new")), (vec![false; 3], vec![true; 3]));

    // One that is made while there are two.
    let Some(root) = Root::new() else { return };
    for (name, pem) in [("old", &old), ("new", &new)] {
        root.sh(&format!("mkdir -p /etc/phoenix/certificates/{name}"));
        root.put(&format!("/etc/phoenix/certificates/{name}/fullchain.pem"), pem.as_bytes());
    }
    root.run(&apply(&both)).ok();
    for name in ["old", "new"] {
        root.sh(&format!(
            "openssl verify -CApath /etc/ssl/certs -no-CAfile /etc/phoenix/certificates/{name}/fullchain.pem"
        ));
    }
    root.run(&apply(&both)).nothing_to_do();
}
