//! A feature that is already there, applied once more: how often the guest is asked, and how long that takes.

use std::error::Error;
use std::sync::Arc;

use lab::sim::{Times, WorldOptions};
use plan::address::kinds;
use plan::{Address, mark};
use proxmox::config::{GuestConfig, GuestKind};

use super::{Table, node, say, site::Site};

/// Measures and adds its figures.
pub(crate) fn measure(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let site = Site::new(2)?;
    let (commands, actions) = node::own_clock()?.block_on(async {
        let world = WorldOptions::new(1).times(Times::none()).build()?;
        node::apply(&site, &world).await?;
        // Its mark forgets what was applied; the guest itself does not.
        let files = world.node.configuration_files();
        let (id, text) = files.get(1).ok_or("the second guest is not there")?;
        world.node.put_guest(*id, &forget(&site, *id, text)?)?;
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

/// A guest's configuration file, whose mark does not know of features any more.
fn forget(site: &Site, id: u32, file: &str) -> Result<String, Box<dyn Error>> {
    let mut config = GuestConfig::parse(GuestKind::Container, file);
    let (text, read) = mark::parse(config.current.description.as_deref().unwrap_or_default())?;
    let mut mark = read.ok_or("the second guest has no mark")?.into_mark();
    let features: Vec<Address> =
        mark.names(kinds::FEATURE).map(|name| Address::new(kinds::FEATURE, name)).collect();
    for feature in &features {
        mark.forget(feature);
    }
    let trust = plan::Trust::new(&*mark.site, Some(Arc::new(site.key()?)));
    config.current.description = Some(trust.describe(id, None, &text, &mark)?);
    Ok(config.to_string())
}
