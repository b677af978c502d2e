//! A run of the real binary is killed with SIGKILL, and started again (P-24, T-11); two runs at once (P-25).

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use serde_json::Value;

use super::{Lab, Said};

/// What is there: containers, services, certificates, without what differs from run to run.
fn state(lab: &Lab) -> Value {
    let mut status = lab.run(&["status", "--json"]).ended(0).json();
    assert_eq!(status["waiting_steps"], 0, "{status:#}");
    // A certificate's end is another whenever it is made.
    for resource in status["resources"].as_array_mut().unwrap() {
        if resource["state"].as_str().is_some_and(|state| state.starts_with("until ")) {
            resource["state"] = "until its end".into();
        }
    }
    let mut certs = lab.run(&["certs", "--json"]).ended(0).json();
    for one in certs["certificates"].as_array_mut().unwrap() {
        for key in ["serial", "ends", "renewed_from", "seconds_left", "days_left"] {
            one[key] = Value::Null;
        }
    }
    serde_json::json!({ "status": status, "certs": certs })
}

fn begin(lab: &Lab) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = lab.env.command(&["apply", "--json"]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

fn destroy(lab: &Lab) {
    lab.run(&["destroy", "--confirm", "workshop"]).ended(0);
}

/// The simulated lab takes real time, so three of them share the events.
#[test]
fn killed_at_every_twelfth_event_from_the_first() {
    killed_and_started_again(1);
}

#[test]
fn killed_at_every_twelfth_event_from_the_fifth() {
    killed_and_started_again(5);
}

#[test]
fn killed_at_every_twelfth_event_from_the_ninth() {
    killed_and_started_again(9);
}

fn killed_and_started_again(first: usize) {
    let lab = Lab::up();
    let events = {
        let (mut child, lines) = begin(&lab);
        let events = lines.count();
        assert!(child.wait().unwrap().success());
        events
    };
    assert!(events > 30, "{events} events");
    let expected = state(&lab);
    // Every event in turn is killed at in the simulation; here it is the real process.
    for n in (first..events).step_by(12) {
        destroy(&lab);
        let (mut child, lines) = begin(&lab);
        let seen = lines.take(n).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, n);
        let said = lab.run(&["apply"]).ended(0);
        assert_eq!(state(&lab), expected, "killed after event {n}: {said:#?}");
        let listed = lab.run(&["lab", "status", "--json"]).ended(0).json();
        assert_eq!(listed["guests"].as_array().unwrap().len(), 3, "{listed:#}");
        let history = lab.run(&["history", "--json"]).ended(0).json();
        let runs = history["runs"].as_array().unwrap();
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        for by in runs.iter().map(|run| run["by"].as_str().unwrap()) {
            assert!(by.ends_with(&format!("@{}", machine.trim())) && !by.contains("tester"), "{history:#}");
        }
        if said.err.contains("carrying on after run") {
            assert!(runs[1]["outcome"].is_null(), "a run that was killed has no outcome: {history:#}");
        }
    }
}

#[test]
fn a_second_run_at_the_same_time_is_told_who_is_at_work() {
    let lab = Lab::up();
    let (mut child, mut lines) = begin(&lab);
    assert!(lines.next().unwrap().contains("run-started"));
    let said: Said = lab.run(&["apply", "--json"]).ended(1);
    let json = said.error("lock::taken", "wait");
    let message = json["error"]["message"].as_str().unwrap();
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let who = format!("@{} (process {})", machine.trim(), child.id());
    assert!(message.contains(&who), "{message}");
    // `USER` is a lie that anybody can tell.
    assert!(!message.contains("tester"), "{message}");
    // Looking is allowed meanwhile, and tells of it.
    let status = lab.run(&["status"]).ended(0);
    assert!(
        status.out.contains("a run is going on: ") && !status.out.contains("the last run"),
        "{status:#?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);
    // The lock went with its owner.
    lab.run(&["apply"]).ended(0);
}

/// Ctrl-C once: what runs is waited for, the exit code says so, and the next run does the rest.
#[test]
fn stopped_by_a_person_and_carried_on() {
    let lab = Lab::up();
    let (mut child, mut lines) = begin(&lab);
    assert!(lines.any(|line| line.contains("step-started")));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("\"stopping\"")), "{rest:#?}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let history = lab.run(&["history", "--json"]).ended(0).json();
    assert_eq!(history["runs"][0]["outcome"], "interrupted");
    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert_eq!(status["runs"]["failed"]["cut_off"], true, "{status:#}");
    let status = lab.run(&["status"]).ended(0).out;
    assert!(status.contains("was cut off") && status.contains("phoenix-cli apply carries on"), "{status}");
    lab.run(&["apply"]).ended(0);
    state(&lab);
}
