//! A feature that is already there, applied once more: how often the guest is asked, and how long that takes.

use std::error::Error;

use super::{Table, node, say, site::Site};
use lab::sim::{Times, WorldOptions};

/// Measures and adds its figures.
pub(crate) fn measure(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let site = Site::new(2)?;
    let (commands, actions) = node::own_clock()?.block_on(async {
        let world = WorldOptions::new(1).times(Times::none()).build()?;
        node::apply(&site, &world).await?;
        // Its mark forgets what was applied; the guest itself does not.
        let files = world.node.configuration_files();
        let (id, text) = files.get(1).ok_or("the second guest is not there")?;
        let forgotten: Vec<String> = text.lines().map(forget).collect();
        world.node.put_guest(*id, &format!("{}\n", forgotten.join("\n")))?;
        let before = world.faults.made().len();
        let ran = node::apply(&site, &world).await?;
        let made = world.faults.made();
        let commands = made[before..].iter().filter(|m| m.what == format!("exec {id}")).count();
        let actions =
            ran.events.events().iter().filter(|e| matches!(e, apply::Event::Changed { .. })).count();
        Ok::<_, Box<dyn Error>>((commands, actions))
    })?;
    table.add("converge_noop_round_trips", commands as f64, "calls", Some(1.0));
    table.add("converge_noop_actions", actions as f64, "count", Some(0.0));
    say(
        "converge_noop_ms                    skipped: it takes a real container; the tests of features measure there",
    );
    Ok(())
}

/// A description's line without the fingerprints of features.
fn forget(line: &str) -> String {
    match (line.find("\"features\""), line.starts_with('#')) {
        (Some(at), true) => {
            let end = line[at..].find('}').map_or(line.len(), |n| at + n + 1);
            format!("{}{}", &line[..at], line[end..].trim_start_matches(','))
        }
        _ => line.to_owned(),
    }
}
