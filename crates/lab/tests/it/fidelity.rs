//! The simulated node held against recordings of a real one (Proxmox VE 9.2.11), request by request.
//!
//! Every recorded request about containers, virtual machines, storages, permissions and the node is sent, and status, reason, errors and
//! data are compared, with what must differ masked (times, process numbers, MACs, digests, measurements). What still
//! differs is in `fidelity.txt`, each with its reason; a difference that is not there fails the test, and so does an
//! entry that no longer occurs. Without the recordings (they are not part of the project) there is nothing to replay, and
//! `src/node/tests.rs` holds the same facts.

use std::collections::BTreeSet;

use crate::replay::{Listed, Session};
use camino::Utf8PathBuf;

/// The recordings, beside the workspace.
fn recordings() -> Option<Utf8PathBuf> {
    let folder = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pve");
    folder.join("corpus").is_dir().then_some(folder)
}

/// Scenarios that follow each other on the same node. Of long ones a part: `FILE FIRST-LAST`.
const SESSIONS: [&[&str]; 6] = [
    &["transcripts/lxc0", "transcripts/lxc", "transcripts/misc", "transcripts/acc"],
    &[
        "corpus/container-lifecycle",
        "corpus/container-errors",
        "corpus/container-running-changes",
        "corpus/permissions",
        "corpus/storage-and-rest",
    ],
    &["transcripts/qemu"],
    &["corpus/vm-lifecycle"],
    // Templates and clones.
    &["recordings2/keys-lxc 4071-4157"],
    &["recordings2/keys-qemu 4370-4414"],
];

#[tokio::test(start_paused = true)]
async fn a_real_nodes_answers() {
    let Some(folder) = recordings() else {
        println!("skipped: no recordings beside the workspace");
        return;
    };
    let listed = Listed::parse(include_str!("fidelity.txt"));
    let mut seen = BTreeSet::new();
    let mut unlisted = Vec::new();
    let (mut sent, mut equal, mut skipped) = (0, 0, 0);
    for scenarios in SESSIONS {
        let mut session = Session::new(scenarios[0].starts_with("recordings2"));
        for scenario in scenarios {
            let (scenario, part) = scenario.split_once(' ').unwrap_or((scenario, "0-99999"));
            let (first, last) = part.split_once('-').expect("a part");
            let part = first.parse::<usize>().expect("a number")..=last.parse().expect("a number");
            let text =
                std::fs::read_to_string(folder.join(format!("{scenario}.jsonl"))).expect("a recording");
            let name = scenario.split_once('/').map_or(scenario, |(_, name)| name);
            for (step, line) in text.lines().enumerate() {
                if !part.contains(&step) {
                    continue;
                }
                let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
                if record.get("method").is_none() {
                    continue;
                }
                let place = format!("{name}:{step}");
                if let Some(entry) = listed.skips(&place, &record) {
                    seen.insert(entry);
                    skipped += 1;
                    session.stand_in(&place).await;
                    continue;
                }
                session.stand_in(&place).await;
                if session.is_of_unsent_task(&record) {
                    skipped += 1;
                    continue;
                }
                sent += 1;
                let differences = session.replay(name, step, &record).await;
                if differences.is_empty() {
                    equal += 1;
                }
                for difference in differences {
                    match listed.allows(&place, &difference.field) {
                        Some(entry) => drop(seen.insert(entry)),
                        None => unlisted.push(format!(
                            "{place} {}\n    {} {}\n    recorded: {}\n    ours:     {}",
                            difference.field,
                            record["method"],
                            record["path"],
                            difference.theirs,
                            difference.ours
                        )),
                    }
                }
            }
        }
    }
    println!(
        "{sent} requests compared, {equal} equal, {} differ as listed, {skipped} not sent",
        sent - equal
    );
    let stale: Vec<&str> = listed.entries().filter(|entry| !seen.contains(*entry)).collect();
    assert!(
        unlisted.is_empty(),
        "{} differences that are not listed:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    assert!(stale.is_empty(), "listed and no longer so:\n{}", stale.join("\n"));
    assert!(sent > 300, "only {sent} requests were sent");
}
