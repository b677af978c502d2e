//! `trace`, `health`, `logs`, `status --watch` and `--again`, as far as they go where nothing really runs.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use super::{Lab, TestEnv};

#[test]
fn a_simulated_lab_says_what_it_cannot_show() {
    let lab = Lab::up();
    // Nothing is there yet.
    let health = lab.run(&["health", "--json"]).ended(1).json();
    let codes: Vec<&str> =
        health["checks"].as_array().unwrap().iter().filter_map(|c| c["code"].as_str()).collect();
    assert!(codes.iter().all(|code| *code == "trace::guest-missing") && codes.len() == 5, "{health:#}");

    lab.run(&["apply"]).ended(0);
    let health = lab.run(&["health", "--json"]).ended(0).json();
    assert_eq!((&health["ok"], &health["simulated"]), (&true.into(), &true.into()));
    let checks = health["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 7);
    assert!(checks.iter().all(|c| c["ok"] == true && !c["seen"].as_str().unwrap().is_empty()), "{health:#}");
    assert!(checks[3]["seen"].as_str().unwrap().contains("was not asked"), "{health:#}");
    let shown = lab.run(&["health", "notes"]).ended(0);
    assert!(shown.out.contains("guests\n✔ notes") && !shown.out.contains("status"), "{shown:#?}");
    let page = lab.run(&["health", "--prometheus"]).ended(0).out;
    assert!(
        page.contains("# TYPE phoenix_guest_up gauge\nphoenix_guest_up{guest=\"gateway\"} 1\n"),
        "{page}"
    );
    lab.run(&["health", "nope", "--json"]).ended(2).error("plan::no-such-target", "phoenix-cli graph");

    // Where nothing runs there is no request to follow and no journal to read; and what is asked for is checked first.
    lab.run(&["trace", "notes", "--json"]).ended(1).error("lab::simulated", "explain");
    lab.run(&["trace", "example.com", "--json"]).ended(2).error("trace::unknown", "notes.workshop.internal");
    lab.run(&["trace", "notes", "--from", "nope", "--json"])
        .ended(2)
        .error("guest::unknown", "outside, gateway");
    lab.run(&["logs", "notes", "--json"]).ended(1).error("lab::simulated", "history");
    lab.run(&["logs", "nope", "--json"]).ended(2).error("guest::unknown", "gateway");

    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert_eq!((&status["certificates"], &status["certificates_due"]), (&2.into(), &serde_json::json!([])));
    assert!(status["flows"].as_u64().unwrap() > 5, "{status:#}");

    // As if nothing were known of what was done inside.
    let addresses = |args: &[&str]| -> Vec<String> {
        let plan = lab.run(args).ended(0).json();
        let steps = plan["steps"].as_array().unwrap();
        steps.iter().map(|s| s["address"].as_str().unwrap().to_owned()).collect()
    };
    assert!(addresses(&["plan", "--json"]).is_empty());
    let again = addresses(&["plan", "--again", "--json"]);
    for address in ["feature.static-site@container.notes", "certificate.notes", "service.status"] {
        assert!(again.iter().any(|a| a == address), "no {address} in {again:?}");
    }
    assert!(!again.iter().any(|a| a.starts_with("container.")), "a guest is not made anew: {again:?}");
    lab.run(&["apply", "--again", "--target", "certificate.notes"]).ended(0);
    // A guest takes along all that is on it, also a service of another name, and its certificate at the gateway.
    lab.env.edit("guests.json", "\"services\": { \"notes\":", "\"services\": { \"wiki\":");
    lab.run(&["apply"]).ended(0);
    let again = addresses(&["plan", "--again", "--json", "--target", "container.notes"]);
    for address in ["feature.static-site@container.notes", "service.wiki"] {
        assert!(again.iter().any(|a| a == address), "no {address} in {again:?}");
    }
    assert!(!again.iter().any(|a| a.ends_with("@container.status") || a == "service.status"), "{again:?}");
    let applied = lab.run(&["apply", "--again", "--target", "notes"]).ended(0);
    assert!(applied.err.contains("✔ service.wiki"), "{applied:#?}");
    assert!(addresses(&["plan", "--json"]).is_empty());
}

/// A password that a run makes: it is said where it is, and shown to who asks for it, on a terminal or on purpose.
#[test]
fn secrets_are_listed_and_shown_on_purpose() {
    let lab = Lab::up();
    lab.run(&["secrets", "list", "--json"]).ended(0).json();
    let users = r#""expose": "gateway", "bypass": true, "access": { "basic": { "anna": { "generate": "anna-password" } } }"#;
    lab.env.edit("guests.json", "\"expose\": \"gateway\"", users);
    let listed = lab.run(&["secrets", "list", "--json"]).ended(0).json();
    let one = &listed["secrets"][0];
    assert_eq!((&one["name"], &one["state"]), (&"anna-password".into(), &"not made yet".into()));
    assert!(one["used_by"].to_string().contains("service.notes (user anna)"), "{listed:#}");
    let file = lab.env.path().join(".phoenix/secrets/generated/anna-password");
    lab.run(&["secrets", "show", "anna-password", "--reveal"]).ended(1);
    assert!(!file.exists(), "looking made it");

    let applied = lab.run(&["apply"]).ended(0);
    assert!(applied.err.contains("secrets show anna-password"), "{applied:#?}");
    let value = std::fs::read_to_string(&file).unwrap();
    // Never where somebody may keep it by chance.
    for args in [&["secrets", "show", "anna-password"][..], &["secrets", "list"]] {
        let said = lab.run(args);
        assert!(!said.out.contains(&value) && !said.err.contains(&value), "{said:#?}");
    }
    let json = lab.run(&["secrets", "show", "anna-password", "--reveal", "--json"]).ended(2);
    json.error("secrets::not-shown", "--reveal");
    assert!(!json.out.contains(&value));
    assert_eq!(lab.run(&["secrets", "show", "anna-password", "--reveal"]).ended(0).out, format!("{value}\n"));
    lab.run(&["secrets", "show", "ana-password", "--json"])
        .ended(2)
        .error("secrets::unknown", "`anna-password`");
    // Made once: a later run says nothing of it.
    lab.env.edit("guests.json", "\"id\": 120,", "\"id\": 120, \"cores\": 2,");
    let again = lab.run(&["apply"]).ended(0);
    assert!(!again.err.contains("made the secret"), "{again:#?}");
}

#[test]
fn status_is_shown_again_until_ctrl_c() {
    let lab = Lab::up();
    let mut child = lab.env.command(&["status", "--watch", "1"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let pictures = lines.by_ref().filter(|line| line.contains("container.gateway")).take(2).count();
    assert_eq!(pictures, 2);
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().all(|line| !line.contains('\u{1b}')), "no escapes where nobody sees them");
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(130));
    lab.run(&["status", "--watch", "0"]).ended(2);
}

#[test]
fn a_path_that_cannot_work_is_an_error_of_the_blueprint() {
    let env = TestEnv::site();
    let lan = r#""lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }"#;
    env.edit(
        "site.json",
        lan,
        &format!(r#"{lan}, "back": {{ "bridge": "vmbr1", "subnet": "10.1.0.0/24" }}"#),
    );
    let text = env
        .read("guests.json")
        .replace(r#""address": "10.0.0.1"#, r#""network": "lan", "address": "10.0.0.1"#);
    let text = text.replace(
        r#""network": "lan", "address": "10.0.0.120""#,
        r#""network": "back", "address": "10.1.0.120""#,
    );
    env.write("guests.json", text);
    for command in ["validate", "plan", "apply"] {
        let said = env.run(&[command, "--json"]).ended(2);
        let json = said.error("wire::path", "gateway");
        let message = json["error"]["message"].as_str().unwrap();
        assert_eq!(
            message,
            "service.notes: route: there is no way between container.gateway and container.notes"
        );
    }
    let said = env.run(&["explain", "wire::path"]).ended(0);
    assert!(said.out.contains("phoenix-cli trace"), "{said:#?}");
}
