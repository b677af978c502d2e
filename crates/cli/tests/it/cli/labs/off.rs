//! A guest that is off, through the real binary: nothing complains of it, and it comes back.

use super::Lab;

#[test]
fn a_guest_that_is_off_is_left_alone() {
    let lab = Lab::up();
    lab.run(&["up", "--yes"]).ended(0);
    let health = lab.run(&["health", "--json"]).code;
    let state = |lab: &Lab| lab.run(&["status", "--json"]).ended(0).json()["containers"][1]["state"].clone();
    assert_eq!(state(&lab), "running");

    lab.env.edit("guests.json", "\"id\": 120,", "\"id\": 120, \"started\": false,");
    let plan = lab.run(&["plan", "--full"]).ended(0);
    assert!(plan.out.contains("it is to be off") && plan.out.contains("running → stopped"), "{plan:#?}");
    assert!(!plan.out.contains("service.notes"), "what is in it waits: {plan:#?}");
    lab.run(&["up", "--yes"]).ended(0);
    assert_eq!(state(&lab), "off");
    let plan = lab.run(&["plan", "--detailed-exitcode", "--json"]).ended(0).json();
    assert_eq!(plan["steps"], serde_json::json!([]), "{plan:#}");
    let said = lab.run(&["health", "--json"]);
    assert_eq!(said.code, health, "{said:#?}");
    // The certificate of its service is the gateway's.
    let checks = said.json()["checks"].clone();
    let its = |check: &&serde_json::Value| check["name"] == "notes" && check["group"] != "certificate";
    assert!(!checks.as_array().unwrap().iter().any(|check| its(&check)), "it is not looked at: {said:#?}");

    // Something new in it waits, and is said once.
    lab.env.edit("pages/notes/index.html", "<", "<!-- new --><");
    let plan = lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    let said = format!("{}{}", plan.out, plan.err);
    assert_eq!(said.matches("container.notes is to be off").count(), 1, "{said}");
    lab.env.edit("guests.json", "\"started\": false,", "");
    lab.run(&["up", "--yes"]).ended(0);
    assert_eq!(state(&lab), "running");
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
}
