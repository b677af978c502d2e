//! `status`: what is there, and how it is.

use plan::{Address, Plan};
use serde_json::json;

use crate::args::Global;
use crate::commands::plan::{Planned, typed};
use crate::error::Outcome;
use crate::printer::Printer;

/// Shows every container and service of the site.
pub async fn run(global: &Global, printer: Printer) -> Outcome {
    let planned = Planned::new(global, printer).await?;
    planned.connection.close().await;
    let plan = planned.plan(&[], false)?;
    let containers: Vec<_> =
        planned.desired.containers.values().map(|c| container(&planned, &plan, c)).collect();
    let services: Vec<_> = planned.desired.services.values().map(|s| {
        let mark = planned.desired.containers.get(&s.on).and_then(|c| planned.inventory.guests.get(&c.id)).and_then(|g| g.mark.as_ref());
        let proven = mark.and_then(|m| m.services.get(&s.name)) == Some(&s.fingerprint);
        json!({ "address": Address::service(&s.name), "url": s.url(), "browser": browser(s), "through": s.via.as_ref().map(|via| via.kind.as_str()), "on": s.on,
                "proven": proven, "state": if proven { "proven at the last apply" } else { "not proven yet" } })
    }).collect();
    let extra: Vec<_> = planned
        .inventory
        .of_site(&planned.desired.site)
        .filter(|g| g.mark.as_ref().is_some_and(|m| !planned.desired.graph.addresses().any(|a| *a == m.address)))
        .map(|g| json!({ "id": g.id, "name": g.name, "address": g.mark.as_ref().map(|m| &m.address), "state": "no longer in the blueprint" }))
        .collect();
    if printer.json {
        printer.data_json(&json!({
            "site": planned.desired.site, "node": planned.inventory.node, "simulated": planned.connection.simulated(),
            "lab": planned.connection.lab.is_some(),
            "containers": containers, "services": services, "extra": extra, "waiting_steps": plan.steps.len(),
        }));
        return Ok(0);
    }
    printer.data(format!("{} on {}", planned.desired.site, planned.place()));
    for c in &containers {
        let sign = if c["state"] == "running" { "●" } else { "○" };
        printer.data(format!(
            "{sign} {:<28} {:>9}  {:<16} {}",
            text(&c["address"]),
            c["id"],
            text(&c["ip"]),
            text(&c["state"])
        ));
    }
    for s in &services {
        let sign = if s["proven"] == true { "✔" } else { "·" };
        printer.data(format!(
            "{sign} {:<28} {}  ({})",
            text(&s["address"]),
            text(&s["url"]),
            text(&s["state"])
        ));
    }
    for e in &extra {
        printer.data(format!("✗ {:<28} {:>9}  {}", text(&e["address"]), e["id"], text(&e["state"])));
    }
    match plan.steps.len() {
        0 if plan.problems.is_empty() => printer.say("as the blueprint wants it"),
        0 => printer.say(format!("there are problems: {} plan", typed(global))),
        n => printer.say(format!("{n} step(s) wait: {} plan", typed(global))),
    }
    Ok(0)
}

/// The page behind the gateway that tells whether a service is well; none where a browser has nothing to show.
fn browser(service: &plan::desired::Service) -> Option<String> {
    let host = service.hosts.first().filter(|_| service.speaks != plan::desired::Speaks::Tcp)?;
    service.gateway().map(|_| format!("https://{host}{}", service.probe_path))
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("")
}

fn container(planned: &Planned, plan: &Plan, container: &plan::desired::Container) -> serde_json::Value {
    let guest = planned.inventory.guests.get(&container.id);
    let ours = guest.is_some_and(|g| g.mark.as_ref().is_some_and(|m| m.site == planned.desired.site));
    let state = match guest {
        None => "not there",
        Some(_) if !ours => "the id is somebody else's",
        Some(g) if g.running => "running",
        Some(_) => "stopped",
    };
    let waits: Vec<&str> =
        plan.steps.iter().filter(|s| s.id == Some(container.id)).map(|s| s.address.as_str()).collect();
    json!({
        "address": container.resource(), "id": container.id, "hostname": container.hostname,
        "ip": container.address.map(|a| a.to_string()), "state": state,
        "node": guest.map(|g| g.node.clone()), "waiting_steps": waits,
        "features": container.features.iter().map(|f| &f.name).collect::<Vec<_>>(),
    })
}
