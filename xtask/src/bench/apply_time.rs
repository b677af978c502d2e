//! How well an apply uses its time: the time it took over the least it could have taken under its limits.
//!
//! The clock is the runtime's own, so the machine does not matter: it goes on only where everything waits. The least
//! possible is the greatest of two: the longest chain of steps that need each other, by the time each took; and, for each
//! thing that steps hold (a storage, a node, a guest), the time of all that hold it, over how many may at once
//! (`apply::limits`). No order of the steps could be faster than that, so 1.00 cannot be reached in general.

use std::collections::BTreeMap;
use std::error::Error;

use apply::{Event, limits};
use lab::sim::WorldOptions;
use plan::Plan;

use super::{Table, node, site::Site};

/// Measures a site and adds its figures, whose names begin with this.
pub(crate) fn measure(name: &str, site: &Site, table: &mut Table) -> Result<(), Box<dyn Error>> {
    let ran = node::own_clock()?.block_on(async {
        let world = WorldOptions::new(1).build()?;
        node::apply(site, &world).await
    })?;
    let events = ran.events.events();
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wall = 0;
    for event in &events {
        match event {
            Event::StepDone { address, milliseconds, .. } => {
                times.insert(address.as_str(), *milliseconds);
            }
            Event::RunFinished { milliseconds, .. } => wall = *milliseconds,
            _ => {}
        }
    }
    if ran.report.done.len() != ran.plan.steps.len() {
        return Err("not every step of the apply was done".into());
    }
    let least = least(&ran.plan, &times);
    table.add(format!("{name}_over_critical_path"), wall as f64 / least, "ratio", Some(1.05));
    table.add(format!("{name}_simulated_s"), wall as f64 / 1000.0, "s", None);
    Ok(())
}

/// The least time the plan could take, in milliseconds.
fn least(plan: &Plan, times: &BTreeMap<&str, u64>) -> f64 {
    // Steps of one batch are one piece of work, and each has the time of all.
    let unit = |step: &plan::Step| step.batch.clone().unwrap_or_else(|| step.address.to_string());
    let unit_of: BTreeMap<&str, String> = plan.steps.iter().map(|s| (s.address.as_str(), unit(s))).collect();
    let mut work: BTreeMap<String, f64> = BTreeMap::new();
    let mut held: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for step in &plan.steps {
        let time = times.get(step.address.as_str()).copied().unwrap_or_default() as f64;
        work.insert(unit(step), time);
        for hold in &step.holds {
            held.entry(hold).or_default().insert(unit(step), time);
        }
    }
    let shared = held.iter().map(|(hold, units)| {
        let limit = limits::limit_for(hold.split(':').next().unwrap_or_default());
        units.values().sum::<f64>() / limit as f64
    });
    let all = work.values().sum::<f64>() / limits::TOTAL as f64;
    // The plan's order puts what is needed first, but a batch may begin before the last thing it needs: until nothing
    // changes.
    let mut ends: BTreeMap<&str, f64> = BTreeMap::new();
    loop {
        let mut changed = false;
        for step in &plan.steps {
            let own = unit_of[step.address.as_str()].as_str();
            let others = step.needs.iter().map(|n| unit_of[n.as_str()].as_str()).filter(|u| *u != own);
            let begin = others.filter_map(|u| ends.get(u)).copied().fold(0.0, f64::max);
            let end = begin + work[own];
            if ends.get(own).is_none_or(|e| end > *e) {
                ends.insert(own, end);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let chain = ends.values().copied().fold(0.0, f64::max);
    shared.fold(chain.max(all), f64::max)
}
