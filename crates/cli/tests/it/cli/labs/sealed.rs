//! The sealed copy of what cannot be made again: written again by each run that changes something of it, and opened on a new
//! machine, where the plan has nothing to do then.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Lab, Said, TestEnv};

const COPY: &str = "secrets.age";
const PASS: &str = "a horse and a staple";

/// A workshop in which somebody has a password, with a lab outside of its `.phoenix`, that declares a sealed copy to the public
/// key of `key` where there is one.
fn workshop(key: Option<&str>) -> (Lab, PathBuf) {
    let env = TestEnv::site();
    let users = r#""expose": "gateway", "bypass": true, "access": { "basic": { "anna": { "generate": "anna-password" } } }"#;
    env.edit("guests.json", "\"expose\": \"gateway\"", users);
    let lab = env.folder.path().join("lab");
    env.edit("site.json", "\"lab\": {}", &format!("\"lab\": {{ \"folder\": \"{}\" }}", lab.display()));
    let identity = made_key(&env, "ada");
    if let Some(to) = key {
        let sealed = format!("\"site\": {{ \"sealed\": {{ \"to\": [{to}] }},");
        env.edit("site.json", "\"site\": {", &sealed);
        std::fs::copy(identity.with_extension("pub"), env.path().join("ada.pub")).unwrap();
    }
    (Lab::of(env), identity)
}

/// A key of ssh's own, outside of the site.
fn made_key(env: &TestEnv, name: &str) -> PathBuf {
    let file = env.folder.path().join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file).status();
    assert!(made.unwrap().success());
    file
}

impl Lab {
    fn with_pass(&self, args: &[&str], pass: &str) -> Said {
        let said = Said::of(&self.env.command(args).env("SEAL", pass).output().unwrap());
        assert!(!said.out.contains(pass) && !said.err.contains(pass), "{said:#?}");
        said
    }

    fn lost(&self) -> PathBuf {
        let kept = self.env.folder.path().join("lost");
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::rename(self.env.path().join(".phoenix"), &kept).unwrap();
        kept
    }

    fn copy_state(&self) -> serde_json::Value {
        self.run(&["status", "--json"]).ended(0).json()["sealed"]["state"].clone()
    }

    fn sealed_now(&self) -> Vec<u8> {
        std::fs::read(self.env.path().join(COPY)).unwrap()
    }
}

#[test]
fn a_new_machine_opens_the_copy_and_has_nothing_to_do() {
    let (lab, identity) = workshop(Some(r#"{ "file": "ada.pub" }"#));
    let identity = identity.to_str().unwrap();
    lab.run(&["secrets", "seal", "--json"]).ended(1).error("sealed::nothing", "up makes them");
    let said = lab.run(&["apply"]).ended(0);
    assert!(said.err.contains("sealed the secrets again, in secrets.age"), "{said:#?}");
    assert_eq!(lab.copy_state(), "current");
    let mode = std::fs::metadata(lab.env.path().join(COPY)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let root = lab.run(&["certs", "root"]).ended(0).out;
    let password = lab.env.read(".phoenix/secrets/generated/anna-password");

    // As after `git clone` on another machine.
    let lost = lab.lost();
    lab.run(&["plan", "--json"]).ended(1).error("authority::lost", "copy .phoenix/secrets");
    let said = lab.run(&["secrets", "open", "--identity", identity]).ended(0);
    assert!(said.err.contains("authority/root.key") && !said.err.contains(&password), "{said:#?}");
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    assert_eq!(lab.run(&["certs", "root"]).ended(0).out, root);
    assert_eq!(lab.env.read(".phoenix/secrets/generated/anna-password"), password);
    assert_eq!(lab.copy_state(), "current");
    for entry in std::fs::read_dir(lab.env.path().join(".phoenix/secrets/authority")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    lab.run(&["up", "--yes"]).ended(0);
    assert!(lost.exists());

    // Once more: all is there, and nothing of it is written.
    let again = lab.run(&["secrets", "open", "--identity", identity, "--json"]).ended(0).json();
    assert_eq!((again["back"].as_array().unwrap().len(), again["same"].as_u64()), (0, Some(7)), "{again:#}");
}

#[test]
fn each_run_that_changes_a_secret_seals_it_again_and_no_other() {
    let (lab, identity) = workshop(Some(r#"{ "file": "ada.pub" }"#));
    lab.run(&["apply"]).ended(0);
    let first = lab.sealed_now();
    for quiet in [&["apply"][..], &["up", "--yes"], &["plan"], &["status"], &["secrets", "list"], &["certs"]]
    {
        lab.run(quiet).ended(0);
        assert!(lab.sealed_now() == first, "{quiet:?}");
    }
    let changed = |args: &[&str]| {
        let before = lab.sealed_now();
        let said = lab.run(args).ended(0);
        assert!(lab.sealed_now() != before, "{args:?}: {said:#?}");
        assert_eq!(lab.copy_state(), "current", "{args:?}");
    };
    changed(&["secrets", "rotate", "anna-password", "--yes"]);
    changed(&["rotate", "intermediate", "--yes"]);
    changed(&["certs", "request"]);
    let mut child = (lab.env.command(&["secrets", "set", "anna-password", "--json"]))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"one of my own").unwrap();
    Said::of(&child.wait_with_output().unwrap()).ended(0);
    assert_eq!(lab.copy_state(), "current");
    lab.run(&["apply"]).ended(0);

    // What changes without a run is said, and seen to by the next one.
    let password = lab.env.path().join(".phoenix/secrets/generated/anna-password");
    std::fs::write(&password, "another one").unwrap();
    assert_eq!(lab.copy_state(), "old");
    let doctor = lab.run(&["doctor", "--json"]).ended(0).json();
    let checks = doctor["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["code"] == "sealed::not-current"), "{doctor:#}");
    assert!(lab.run(&["status"]).ended(0).out.contains("secrets seal"));
    changed(&["apply"]);

    // Another key in the blueprint is for the next copy, too.
    let other = made_key(&lab.env, "bob");
    let public = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    lab.env.edit("site.json", "\"to\": [", &format!("\"to\": [\"{}\", ", public.trim()));
    changed(&["apply"]);
    for key in [&identity, &other] {
        lab.run(&["secrets", "open", "--identity", key.to_str().unwrap()]).ended(0);
    }

    // A copy that cannot be written is no success.
    std::fs::remove_file(lab.env.path().join(COPY)).unwrap();
    std::fs::create_dir(lab.env.path().join(COPY)).unwrap();
    let said = lab.run(&["secrets", "rotate", "anna-password", "--yes"]).ended(1);
    assert!(said.err.contains("anna-password has another value"), "{said:#?}");
}

#[test]
fn what_is_here_is_never_written_over() {
    let (lab, identity) = workshop(Some(r#"{ "file": "ada.pub" }"#));
    let identity = identity.to_str().unwrap();
    lab.run(&["apply"]).ended(0);
    // Somebody else's, of whom nobody knows what is in it.
    let first = lab.sealed_now();
    lab.run(&["secrets", "rotate", "anna-password", "--yes"]).ended(0);
    lab.env.write(COPY, &first);
    assert_eq!(lab.copy_state(), "old", "an earlier one of ours is known");
    std::fs::remove_file(lab.env.path().join(".phoenix/secrets/sealed.json")).unwrap();
    assert_eq!(lab.copy_state(), "another");
    lab.run(&["apply"]).ended(0);
    assert!(lab.sealed_now() == first);
    lab.run(&["secrets", "seal", "--json"]).ended(2).error("sealed::another", "--replace");
    let said = lab.run(&["secrets", "open", "--identity", identity, "--json"]).ended(1);
    let json = said.error("sealed::differs", "move .phoenix/secrets away");
    let message = json["error"]["message"].as_str().unwrap();
    assert!(message.contains(": generated/anna-password in"), "{json:#}");
    lab.run(&["secrets", "seal", "--replace"]).ended(0);
    assert_eq!(lab.copy_state(), "current");
    lab.run(&["secrets", "open", "--identity", identity]).ended(0);
}

#[test]
fn with_a_passphrase_it_is_sealed_when_one_says_so() {
    let (lab, identity) = workshop(None);
    assert!(!lab.run(&["doctor"]).err.contains("no sealed copy"), "there is nothing to lose yet");
    lab.run(&["apply"]).ended(0);
    assert!(lab.run(&["doctor"]).ended(0).err.contains("no sealed copy of .phoenix/secrets"));
    lab.run(&["secrets", "seal", "--json"]).ended(2).error("consent::nobody-to-ask", "--passphrase env:NAME");
    let seal = ["secrets", "seal", "--passphrase", "env:SEAL"];
    lab.with_pass(&[&seal[..], &["--json"]].concat(), "short").ended(2).error("secrets::weak", "");
    lab.with_pass(&seal, PASS).ended(0);
    assert_eq!(lab.copy_state(), "current");
    lab.run(&["secrets", "rotate", "anna-password", "--yes"]).ended(0);
    assert_eq!(lab.copy_state(), "old");
    let doctor = lab.run(&["doctor"]).ended(0);
    assert!(doctor.out.contains("phoenix-cli secrets seal --out secrets.age"), "{doctor:#?}");
    lab.with_pass(&seal, PASS).ended(0);

    lab.lost();
    let open = ["secrets", "open", "--passphrase", "env:SEAL"];
    let refused = |args: &[&str], pass: &str, code: &str, hint: &str| {
        lab.with_pass(&[args, &["--json"]].concat(), pass).error(code, hint);
        assert!(!lab.env.path().join(".phoenix/secrets/authority").exists());
    };
    refused(&open, "a horse and a stable", "sealed::wrong-key", "try it again");
    refused(
        &["secrets", "open", "--identity", identity.to_str().unwrap()],
        "nothing of the sort",
        "sealed::wrong-key",
        "leave --identity out",
    );
    refused(&["secrets", "open", "none.age"], "nothing of the sort", "sealed::unreadable", "name the copy");
    let whole = lab.sealed_now();
    let middle = whole.len() / 2;
    lab.env.write("cut.age", &whole[..middle]);
    let mut changed = whole.clone();
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    lab.env.write("changed.age", changed);
    for damaged in ["cut.age", "changed.age", "site.json"] {
        let args = ["secrets", "open", damaged, "--passphrase", "env:SEAL"];
        refused(&args, PASS, "sealed::damaged", "earlier copy");
    }
    lab.with_pass(&open, PASS).ended(0);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);

    // One that belongs to nobody here, and one of another site.
    let other = made_key(&lab.env, "eve");
    let public = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    let sealed =
        format!("\"site\": {{ \"sealed\": {{ \"file\": \"eve.age\", \"to\": [\"{}\"] }},", public.trim());
    lab.env.edit("site.json", "\"site\": {", &sealed);
    lab.run(&["secrets", "seal"]).ended(0);
    let wrong = ["secrets", "open", "--identity", identity.to_str().unwrap(), "--json"];
    lab.run(&wrong).ended(1).error("sealed::wrong-key", "one that it was sealed to");
    lab.run(&["secrets", "open", "--json"]).ended(1).error("sealed::wrong-key", "--identity FILE");
    lab.run(&["secrets", "open", "secrets.age", "--identity", other.to_str().unwrap(), "--json"])
        .ended(1)
        .error("sealed::wrong-key", "leave --identity out");
    lab.env.edit("site.json", "\"name\": \"workshop\"", "\"name\": \"garage\"");
    let right = ["secrets", "open", "--identity", other.to_str().unwrap(), "--json"];
    lab.run(&right).ended(2).error("sealed::other-site", "--site");
}
