//! The root's key with a passphrase, and the root's key somewhere else.

use std::path::PathBuf;

use super::{Lab, Said, TestEnv};

const PASS: &str = "a horse and a staple";
const KEY: &str = ".phoenix/secrets/authority/root.key";

impl Lab {
    /// With a passphrase in the environment, of which nothing is seen.
    fn with_root(&self, args: &[&str], pass: &str) -> Said {
        let mut command = self.env.command(args);
        command.env("ROOT", pass).env("PHOENIX_ROOT_PASSPHRASE", "env:ROOT");
        let said = Said::of(&command.output().unwrap());
        assert!(!said.out.contains(pass) && !said.err.contains(pass), "{said:#?}");
        said
    }

    /// The root's key is taken elsewhere: where to.
    fn root_goes(&self) -> PathBuf {
        let elsewhere = self.env.folder.path().join("root.key");
        std::fs::rename(self.env.path().join(KEY), &elsewhere).unwrap();
        elsewhere
    }

    fn runs(&self) -> usize {
        std::fs::read_dir(self.env.path().join(".phoenix/runs")).unwrap().count()
    }
}

fn with_an_authority() -> Lab {
    let env = TestEnv::site();
    let ca = r#""containers": { "ca": { "id": 103, "type": "small", "address": "10.0.0.10", "features": ["step-ca"] },"#;
    env.edit("guests.json", "\"containers\": {", ca);
    env.write("certificates.json", r#"{ "certificates": { "authority": "step-ca", "life": "1d" } }"#);
    Lab::of(env)
}

#[test]
fn a_passphrase_is_needed_when_the_root_signs_and_never_to_look() {
    let lab = Lab::up();
    lab.run(&["certs", "protect", "--json"]).ended(1).error("authority::not-made", "up makes it");
    lab.run(&["apply"]).ended(0);
    let plain = lab.env.read(KEY);
    lab.run(&["certs", "protect", "--json"]).ended(2).error("pki::root-locked", "--root-passphrase");
    assert_eq!(lab.env.read(KEY), plain);
    lab.with_root(&["certs", "protect"], PASS).ended(0);
    assert!(lab.env.read(KEY).starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    lab.with_root(&["certs", "protect", "--json"], PASS)
        .ended(2)
        .error("pki::root-locked", "certs unprotect");

    for looking in [
        &["plan"][..],
        &["plan", "--deep"],
        &["status"],
        &["health"],
        &["doctor"],
        &["certs"],
        &["certs", "root"],
    ] {
        lab.run(looking).ended(0);
    }
    assert!(lab.run(&["doctor"]).ended(0).out.contains("the root's key has a passphrase"));
    // Certificates are signed by the intermediate: the root has nothing to do with it.
    let new = r#""containers": { "extra": { "id": 130, "type": "small", "address": "10.0.0.30",
      "features": [{ "static-site": { "root": "pages/notes/" } }], "services": { "extra": { "port": 80, "expose": "gateway" } } },"#;
    lab.env.edit("guests.json", "\"containers\": {", new);
    lab.run(&["apply"]).ended(0);

    // Another key that signs takes it: before the first step.
    let runs = lab.runs();
    let rotate = ["rotate", "intermediate", "--yes"];
    lab.run(&[&rotate[..], &["--json"]].concat())
        .ended(2)
        .error("pki::root-locked", "--root-passphrase env:NAME");
    let wrong = lab.with_root(&[&rotate[..], &["--json"]].concat(), "a horse and a stable").ended(1);
    wrong.error("pki::root-passphrase", "try it again");
    assert_eq!(lab.runs(), runs, "nothing was begun");
    lab.with_root(&rotate, PASS).ended(0);
    lab.run(&["apply"]).ended(0);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);

    lab.with_root(&["certs", "unprotect", "--json"], "a horse and a stable")
        .ended(1)
        .error("pki::root-passphrase", "try");
    lab.with_root(&["certs", "unprotect"], PASS).ended(0);
    assert_eq!(lab.env.read(KEY), plain);
    lab.run(&rotate).ended(0);
}

#[test]
fn a_root_that_is_elsewhere_is_missed_before_the_first_step() {
    let lab = Lab::up();
    lab.run(&["apply"]).ended(0);
    let elsewhere = lab.root_goes();
    assert!(lab.run(&["doctor"]).ended(0).out.contains("the root's key is kept elsewhere"));
    lab.run(&["apply", "--again"]).ended(0);
    let runs = lab.runs();
    let said = lab.run(&["rotate", "intermediate", "--yes", "--json"]).ended(1);
    said.error("pki::root-away", "certs request > next.csr");
    assert_eq!(lab.runs(), runs, "nothing was begun");
    lab.run(&["certs", "protect", "--json"]).ended(1).error("pki::root-away", "put root.key back");
    std::fs::rename(elsewhere, lab.env.path().join(KEY)).unwrap();
    lab.run(&["rotate", "intermediate", "--yes"]).ended(0);
}

/// The authority in a container, from nothing to its next certificate, while the root's key is never where it is applied from.
#[test]
fn an_authority_in_a_container_lives_without_the_roots_key() {
    let lab = with_an_authority();
    // The root is made, and taken elsewhere before anything is.
    lab.run(&["plan", "--out", "first.plan"]).ended(0);
    let key = lab.root_goes();
    for doing in [&["plan"][..], &["apply"], &["up", "--yes"]] {
        let plan = lab.run(&[doing, &["--json"]].concat()).ended(1).json();
        let problem = &plan["problems"][0];
        assert_eq!(
            (&problem["code"], &problem["address"]),
            (&"pki::root-away".into(), &"authority.ca".into())
        );
        assert!(problem["hint"].as_str().unwrap().contains("up --exclude authority.ca"), "{problem}");
    }
    lab.run(&["up", "--yes", "--no-probe", "--exclude", "authority.ca"]).ended(0);

    let next = |number: u32| {
        let request = lab.run(&["certs", "request"]).ended(0).out;
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");
        lab.env.write("next.csr", request);
        // On a machine without a network, that has the same root.
        let there = lab.env.folder.path().join(format!("there-{number}"));
        let copied = std::process::Command::new("cp").arg("-R").arg(lab.env.path()).arg(&there).status();
        assert!(copied.unwrap().success());
        std::fs::copy(&key, there.join(KEY)).unwrap();
        let site = there.to_str().unwrap();
        let signed = lab.run(&["certs", "sign", "next.csr", "--site", site]).ended(0).out;
        lab.env.write("next.crt", &signed);
        lab.run(&["certs", "install", "next.crt"]).ended(0);
        signed
    };
    let first = next(1);
    lab.run(&["up", "--yes"]).ended(0);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    // Whatever takes no new certificate for it goes on.
    lab.run(&["apply", "--again"]).ended(0);
    lab.run(&["rotate", "notes", "--yes", "--json"]).ended(2).error("rotate::nothing", "certs shows");
    lab.run(&["rotate", "gateway", "--yes"]).ended(0);
    assert_ne!(next(2), first);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    let wrong = lab.run(&["certs", "install", "next.csr", "--json"]).ended(1);
    wrong.error("pki::issue", "");
    // With its key here it is as it ever was.
    std::fs::copy(&key, lab.env.path().join(KEY)).unwrap();
    lab.run(&["rotate", "intermediate", "--yes"]).ended(0);
}
