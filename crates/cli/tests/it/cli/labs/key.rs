//! The site's key: what it vouches for is carried out and is the site's own, and nothing else.

use std::os::unix::fs::PermissionsExt as _;

use plan::SiteKey;
use plan::site_key::Purpose;
use serde_json::{Value, json};

use super::Lab;

const KEY: &str = ".phoenix/secrets/site.key";

fn mode(lab: &Lab, path: &str) -> u32 {
    std::fs::metadata(lab.env.path().join(path)).unwrap().permissions().mode() & 0o7777
}

/// Writes a plan with the code that the site's key makes for it, as nobody else can.
fn seal(lab: &Lab, mut plan: Value, file: &str) {
    plan.as_object_mut().unwrap().remove("code");
    let key = SiteKey::from_text(&lab.env.read(KEY)).unwrap();
    plan["code"] = key.code(Purpose::Plan, &[plan.to_string().as_bytes()]).into();
    lab.env.write(file, plan.to_string());
}

fn guests(lab: &Lab) -> usize {
    let status = lab.run(&["status", "--json"]).json();
    let states = status["containers"].as_array().unwrap().iter();
    states.filter(|one| one["state"] == "running").count()
}

#[test]
fn a_plan_that_somebody_changed_is_not_carried_out() {
    let lab = Lab::up();
    let key = lab.env.path().join(KEY);
    for looking in [&["validate"][..], &["plan"], &["status"]] {
        lab.run(looking);
        assert!(!key.exists(), "{looking:?} made a key");
    }
    lab.run(&["plan", "--out", "first.plan"]).ended(0);
    assert_eq!((mode(&lab, "first.plan"), mode(&lab, KEY)), (0o600, 0o600));
    assert_eq!(mode(&lab, ".phoenix/secrets") & 0o022, 0);
    lab.run(&["apply", "first.plan"]).ended(0);
    assert_eq!(guests(&lab), 3);

    // A harmless change, which becomes the end of a guest.
    lab.env.edit("guests.json", "\"id\": 120,", "\"id\": 120, \"memory\": \"1G\",");
    lab.run(&["plan", "--out", "change.plan"]).ended(0);
    let plan: Value = serde_json::from_str(&lab.env.read("change.plan")).unwrap();
    let at =
        plan["steps"].as_array().unwrap().iter().position(|s| s["address"] == "container.notes").unwrap();
    let node = plan["steps"][at]["work"]["node"].clone();
    let mut evil = plan.clone();
    evil["steps"][at]["work"] = json!({ "do": "delete", "id": 120, "node": node });
    lab.env.write("evil.plan", evil.to_string());
    lab.run(&["apply", "evil.plan", "--json"]).ended(2).error("plan::not-made-here", "plan --out");
    for code in ["", "0", &"0".repeat(32)] {
        let mut other = plan.clone();
        other["code"] = code.into();
        lab.env.write("other.plan", other.to_string());
        lab.run(&["apply", "other.plan", "--json"]).ended(2).error("plan::not-made-here", "plan --out");
    }
    // Even with the key, it takes the consent that its work takes, and is about what it says.
    seal(&lab, evil.clone(), "evil.plan");
    lab.run(&["apply", "evil.plan", "--json"])
        .ended(4)
        .error("consent::missing", "--allow-destroy container.notes");
    evil["steps"][at]["work"]["id"] = 121.into();
    seal(&lab, evil, "evil.plan");
    lab.run(&["apply", "evil.plan", "--json"]).ended(2).error("plan::file", "plan --out");
    let mut alien = plan.clone();
    alien["steps"][at]["address"] = "spaceship.notes".into();
    seal(&lab, alien, "evil.plan");
    lab.run(&["apply", "evil.plan", "--json"]).ended(2).error("plan::file", "plan --out");
    assert_eq!(guests(&lab), 3);
    // As it was made it is carried out, however it is laid out.
    lab.env.write("change.plan", plan.to_string());
    lab.run(&["apply", "change.plan"]).ended(0);

    // With another key it is another folder's plan.
    lab.run(&["plan", "--out", "again.plan"]).ended(0);
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    lab.run(&["apply", "again.plan", "--json"]).ended(2).error("plan::not-made-here", "plan --out");
}

#[test]
fn a_lost_key_is_survived() {
    let lab = Lab::up();
    lab.run(&["apply"]).ended(0);
    let key = lab.env.path().join(KEY);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    lab.run(&["plan", "--json"]).ended(1).error("site::key", "chmod 600");
    std::fs::remove_file(&key).unwrap();

    let plan = lab.run(&["plan", "--json"]).ended(1).json();
    let problems = plan["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3, "{plan:#}");
    for problem in problems {
        assert_eq!(problem["code"], "plan::not-believed", "{problem}");
        assert!(problem["message"].as_str().unwrap().contains("this site's key did not make"), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("phoenix-cli adopt "), "{problem}");
    }
    // Nobody's command runs in what is not the site's.
    for inside in [&["exec", "notes", "--json", "--", "true"][..], &["logs", "notes", "--json"]] {
        lab.run(inside).ended(1).error("managers::not-ours", "phoenix-cli plan");
    }
    // Without it nothing of the site is there to be destroyed, which is no success.
    lab.run(&["destroy", "--confirm", "workshop", "--json"]).ended(1).error("site::key-lost", "adopt ");

    let refused = |names: &[&str], exit, code, hint| {
        let args = [&["adopt", "--json"], names].concat();
        lab.run(&args).ended(exit).error(code, hint);
    };
    refused(&["nope", "--yes"], 2, "adopt::not-declared", "declare it");
    refused(&["container.*", "--yes"], 2, "adopt::not-declared", "declare it");
    refused(&["notes"], 4, "consent::missing", "adopt notes --yes");
    assert!(!key.exists(), "nothing was sealed yet");
    let shown = lab.run(&["adopt", "notes"]).ended(4);
    assert!(shown.out.contains("container.notes would be 120, `notes` on"), "{shown:#?}");
    let adopted = lab.run(&["adopt", "notes", "container.gateway", "121", "--yes", "--json"]).ended(0).json();
    assert_eq!(adopted["adopted"].as_array().unwrap().len(), 3, "{adopted:#}");
    let again = lab.run(&["adopt", "notes", "--yes"]).ended(0);
    assert!(again.err.contains("the site's own already"), "{again:#?}");

    // What is in them is applied again; none is made anew.
    let plan = lab.run(&["plan", "--json"]).ended(0).json();
    for step in plan["steps"].as_array().unwrap() {
        let guest = step["address"].as_str().unwrap().starts_with("container.");
        assert!(!guest || step["action"] == "update", "{step}");
    }
    assert_eq!(plan["summary"]["grades"]["restart"], 0, "{}", plan["summary"]);
    lab.run(&["apply"]).ended(0);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    assert_eq!(guests(&lab), 3);
    lab.run(&["destroy", "--confirm", "workshop"]).ended(0);
}
