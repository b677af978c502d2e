//! Whatever a graph names can be explained and has a status: no list of kinds is kept anywhere but where they are registered.

use serde_json::Value;

use super::{Lab, TestEnv};

/// The addresses that `graph` prints, all of which the pictures show.
fn graph(lab: &Lab) -> Vec<String> {
    let graph = lab.run(&["graph", "--json"]).ended(0).json();
    let nodes = graph["nodes"].as_array().unwrap();
    assert!(nodes.len() > 1, "{graph}");
    let addresses: Vec<String> = nodes.iter().map(|node| node.as_str().unwrap().to_owned()).collect();
    for format in ["mermaid", "dot"] {
        let picture = lab.run(&["graph", "--format", format]).ended(0).out;
        for address in &addresses {
            assert!(picture.contains(&format!("\"{address}\"")), "no {address} in {picture}");
        }
    }
    addresses
}

/// The states that `status --json` tells, by address.
fn states(lab: &Lab) -> Vec<(String, String)> {
    let status = lab.run(&["status", "--json"]).ended(0).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let resources = status["resources"].as_array().unwrap().iter();
    let mut states: Vec<_> = resources.map(|one| (text(&one["address"]), text(&one["state"]))).collect();
    states.sort();
    // What is listed apart is the same.
    for (list, kind) in [("containers", "container."), ("services", "service.")] {
        let resources = status["resources"].as_array().unwrap().iter();
        let own: Vec<&Value> =
            resources.filter(|one| one["address"].as_str().unwrap().starts_with(kind)).collect();
        // Not every site has services.
        assert!(list == "services" || !own.is_empty(), "{status:#}");
        assert!(status[list].as_array().unwrap().iter().eq(own), "{status:#}");
    }
    states
}

/// It takes disks and a card, which this lab has not; `managers` applies it where they are.
const HARDWARE: &str = "whole-host";

#[test]
fn every_address_of_every_example_is_explained_and_has_a_status() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut seen = 0;
    for example in std::fs::read_dir(examples).unwrap() {
        let name = example.unwrap().file_name();
        let lab = Lab::of(TestEnv::example(name.to_str().unwrap()));
        let addresses = graph(&lab);
        for address in &addresses {
            let said = lab.run(&["explain", address, "--json"]).ended(0).json();
            assert_eq!(said["address"], **address, "{said}");
            assert!(said["facts"].as_object().is_some_and(|facts| !facts.is_empty()), "{said}");
        }
        if name == HARDWARE {
            continue;
        }
        let before = states(&lab);
        assert!(before.iter().map(|(address, _)| address).eq(&addresses), "{before:#?}\n{addresses:#?}");
        lab.run(&["apply"]).ended(0);
        let after = states(&lab);
        assert!(after.iter().map(|(address, _)| address).eq(&addresses), "{after:#?}\n{addresses:#?}");
        // A status that says the same before and after says nothing.
        for ((address, before), (_, after)) in before.iter().zip(&after) {
            assert_ne!(before, after, "{address}");
        }
        seen += 1;
    }
    assert!(seen >= 2);
}
