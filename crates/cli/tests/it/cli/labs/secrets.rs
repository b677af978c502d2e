//! Secrets that change behind the same reference, and those that are lost.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use super::{Lab, Said, TestEnv};

const FILE: &str = ".phoenix/secrets/generated/anna-password";
const GATEWAY: &str = "feature.nginx-gateway@container.gateway";

/// A workshop in which somebody has a password.
fn workshop(reference: &str) -> Lab {
    let env = TestEnv::site();
    let users =
        format!(r#""expose": "gateway", "bypass": true, "access": {{ "basic": {{ "anna": {reference} }} }}"#);
    env.edit("guests.json", "\"expose\": \"gateway\"", &users);
    Lab::of(env)
}

impl Lab {
    /// Writes a file that only its owner can read.
    fn keep(&self, path: &str, text: &str) {
        self.env.write(path, text);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.env.path().join(path), mode).unwrap();
    }

    /// The reasons for the step of the gateway, where there is one.
    #[track_caller]
    fn reasons(&self, run: impl Fn(&[&str]) -> Said) -> Option<Value> {
        let plan = run(&["plan", "--json"]).ended(0).json();
        let steps = plan["steps"].as_array().unwrap();
        assert!(steps.iter().all(|step| step["grade"] == "live"), "{plan:#}");
        Some(steps.iter().find(|step| step["address"] == GATEWAY)?["reasons"].clone())
    }
}

/// The attack: a password that was found out is changed where it comes from, and the one of before keeps working.
#[test]
fn a_value_that_changes_behind_its_reference_is_a_step() {
    type Change = fn(&Lab);
    let generated: Change = |lab| lab.keep(FILE, "another-password");
    let file: Change = |lab| lab.keep("anna.secret", "another-password\n");
    let command: Change = |lab| lab.env.write("printed", "another-password");
    for (reference, change) in [
        (r#"{ "generate": "anna-password" }"#, generated),
        (r#"{ "file": "anna.secret" }"#, file),
        (r#"{ "command": ["cat", "printed"] }"#, command),
    ] {
        let lab = workshop(reference);
        lab.keep("anna.secret", "a-password\n");
        lab.env.write("printed", "a-password");
        lab.run(&["apply"]).ended(0);
        assert_eq!(lab.reasons(|args| lab.run(args)), None, "{reference}");
        change(&lab);
        let reasons = lab.reasons(|args| lab.run(args)).unwrap_or_else(|| panic!("no step: {reference}"));
        assert!(reasons.to_string().contains("its secret ") && reasons.to_string().contains("has changed"));
        let shown = lab.run(&["plan", "--full"]).ended(0);
        assert!(!shown.out.contains("another-password"), "{shown:#?}");
        // A program is run for who plans.
        let doctor = lab.run(&["doctor"]).ended(0);
        assert_eq!(doctor.out.contains("step(s) wait"), !reference.contains("command"), "{doctor:#?}");
        lab.run(&["apply"]).ended(0);
        assert_eq!(lab.reasons(|args| lab.run(args)), None, "{reference}");
    }
}

/// It may ask a person, or a key that has to be touched.
#[test]
fn a_program_that_prints_a_secret_is_run_once_and_not_for_who_only_looks() {
    let lab = workshop(r#"{ "command": ["sh", "print"] }"#);
    lab.env.write("print", "echo asked >>asked; cat printed");
    lab.env.write("printed", "a-password");
    let asked = |args: &[&str]| {
        lab.env.write("asked", "");
        let said = lab.run(args);
        (lab.env.read("asked").lines().count(), said)
    };
    assert_eq!(asked(&["apply"]).0, 1);
    lab.env.write("printed", "another-password");
    for args in [&["status"][..], &["doctor"], &["certs"], &["secrets", "list"]] {
        let (times, said) = asked(args);
        said.ended(0);
        assert_eq!(times, 0, "{args:?}");
    }
    for args in [&["plan"][..], &["apply"]] {
        let (times, said) = asked(args);
        let said = said.ended(0);
        assert!(format!("{}{}", said.out, said.err).contains("nginx-gateway"), "{args:?}: {said:#?}");
        assert_eq!(times, 1, "{args:?}");
    }
    // One that fails is not asked again, either.
    lab.env.write("print", "echo asked >>asked; exit 1");
    for args in [&["plan"][..], &["apply"]] {
        let (times, said) = asked(args);
        let said = said.ended(0);
        assert_eq!(times, 1, "{args:?}: what it does not need is applied");
        assert!(args == ["apply"] || said.out.contains("is not known"), "{said:#?}");
    }
}

#[test]
fn a_variable_that_changes_is_a_step_and_one_that_is_not_set_is_not() {
    let lab = workshop(r#"{ "env": "ANNA" }"#);
    let with = |value: &'static str| {
        let lab = &lab;
        move |args: &[&str]| Said::of(&lab.env.command(args).env("ANNA", value).output().unwrap())
    };
    with("a-password")(&["apply"]).ended(0);
    assert_eq!(lab.reasons(with("a-password")), None);
    assert!(
        lab.reasons(with("another-password")).unwrap().to_string().contains("its secret ANNA has changed")
    );
    // Where it cannot be had it is said that nobody knows.
    let plan = lab.run(&["plan", "--json"]).ended(0).json();
    assert_eq!(plan["summary"]["steps"], 0, "{plan:#}");
    assert!(
        plan["notes"].to_string().contains("whether the secret ANNA has changed is not known"),
        "{plan:#}"
    );
    with("another-password")(&["apply"]).ended(0);
    assert_eq!(lab.reasons(with("another-password")), None);
}

/// Two people work on a site, and one of them cannot have a secret.
#[test]
fn who_cannot_have_a_secret_is_told_what_fails_and_applies_the_rest() {
    let lab = workshop(r#"{ "env": "ANNA" }"#);
    let anna = |args: &[&str]| Said::of(&lab.env.command(args).env("ANNA", "a-password").output().unwrap());
    anna(&["apply"]).ended(0);
    // The other one changes what needs it, and what does not.
    lab.env.edit("guests.json", "\"bypass\": true", "\"bypass\": true, \"websocket\": false");
    let new = r#""containers": { "extra": { "id": 130, "type": "small", "address": "10.0.0.30" },"#;
    lab.env.edit("guests.json", "\"containers\": {", new);
    let plan = lab.run(&["plan", "--json"]).ended(0).json();
    let told = format!(
        "{GATEWAY} needs the secret ANNA, which cannot be had here; its step fails, and the others are done"
    );
    assert!(plan["notes"].to_string().contains(&told), "{plan:#}");
    let said = lab.run(&["apply", "--no-probe"]).ended(1);
    assert!(format!("{}{}", said.out, said.err).contains("ANNA"), "{said:#?}");
    let rest = lab.run(&["plan", "--json"]).ended(0).json();
    let waiting: Vec<&str> =
        rest["steps"].as_array().unwrap().iter().filter_map(|step| step["address"].as_str()).collect();
    assert!(
        waiting.contains(&GATEWAY) && waiting.iter().all(|address| !address.contains("extra")),
        "{waiting:?}"
    );
    anna(&["apply"]).ended(0);
    assert_eq!(lab.reasons(anna), None);
}

#[test]
fn a_generated_secret_that_is_lost_is_not_made_by_itself() {
    let lab = workshop(r#"{ "generate": "anna-password" }"#);
    lab.run(&["apply"]).ended(0);
    std::fs::remove_file(lab.env.path().join(FILE)).unwrap();
    for doing in [&["plan"][..], &["apply"], &["up", "--yes"], &["apply", "--again"], &["drift"]] {
        let said = lab.run(&[doing, &["--json"]].concat()).ended(1).json();
        let problem = &said["problems"][0];
        assert_eq!(
            (&problem["code"], &problem["address"]),
            (&"secrets::lost".into(), &GATEWAY.into()),
            "{said:#}"
        );
        assert!(problem["hint"].as_str().unwrap().contains("secrets rotate anna-password"), "{problem}");
        assert!(!lab.env.path().join(FILE).exists(), "{doing:?} made another");
    }
    lab.run(&["doctor"]).ended(1);
    // What does not need it goes on.
    let new = r#""containers": { "extra": { "id": 130, "type": "small", "address": "10.0.0.30" },"#;
    lab.env.edit("guests.json", "\"containers\": {", new);
    lab.run(&["apply", "--target", "extra", "--no-probe"]).ended(0);
    lab.run(&["secrets", "rotate", "anna-password", "--yes"]).ended(0);
    assert_eq!(lab.reasons(|args| lab.run(args)), None);
}

#[test]
fn another_value_is_made_and_applied() {
    let lab = workshop(r#"{ "generate": "anna-password" }"#);
    lab.run(&["secrets", "rotate", "ana", "--yes", "--json"])
        .ended(2)
        .error("secrets::not-generated", "list");
    // Before anything has it, there is nothing to apply.
    lab.run(&["secrets", "rotate", "anna-password", "--json"]).ended(4).error("consent::nobody-to-ask", "");
    lab.run(&["secrets", "rotate", "anna-password", "--yes"]).ended(0);
    let first = lab.env.read(FILE);
    lab.run(&["apply"]).ended(0);
    assert_eq!(lab.env.read(FILE), first);

    let refused = lab.run(&["secrets", "rotate", "anna-password", "--json"]).ended(4);
    refused.error("consent::nobody-to-ask", "secrets rotate anna-password --yes");
    assert_eq!(lab.env.read(FILE), first);
    let rotated = lab.run(&["secrets", "rotate", "anna-password", "--yes"]).ended(0);
    assert!(rotated.err.contains(GATEWAY) && !rotated.err.contains("static-site"), "{rotated:#?}");
    let second = lab.env.read(FILE);
    assert!(second != first && !rotated.err.contains(&second) && !rotated.out.contains(&second));
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);

    // One of a person's own.
    let set = |name: &str, value: &str| {
        let mut command = lab.env.command(&["secrets", "set", name, "--json"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        Said::of(&child.wait_with_output().unwrap())
    };
    set("nope", "x").ended(2).error("secrets::unknown", "secrets list");
    set("anna-password", "").ended(1).error("secrets::not-set", "");
    set("anna-password", "one of my own\n").ended(0);
    assert_eq!(lab.env.read(FILE), "one of my own");
    assert!(lab.reasons(|args| lab.run(args)).is_some());
    lab.run(&["apply"]).ended(0);
    assert_eq!(lab.reasons(|args| lab.run(args)), None);
}
