//! `status`: what is there, and how it is.

use std::time::Duration;

use jiff::{Timestamp, Zoned};
use managers::certificates::renew_at;
use plan::{Address, Plan};
use serde_json::json;

use crate::args::{self, Global};
use crate::commands::plan::{Planned, typed};
use crate::error::{CommandError, Kind, Outcome};
use crate::printer::Printer;

/// Shows every container and service of the site, once or again and again.
pub async fn run(global: &Global, options: &args::Status, printer: Printer) -> Outcome {
    let Some(seconds) = options.watch else { return once(global, printer).await };
    let watching = async {
        loop {
            printer.redraw(&format!("{}", Zoned::now().strftime("%H:%M:%S")));
            // A node that does not answer now may answer next time.
            if let Err(error) = once(global, printer).await {
                if error.kind == Kind::Usage {
                    return error;
                }
                printer.error(&error);
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    };
    tokio::select! {
        error = watching => Err(error),
        _ = tokio::signal::ctrl_c() => Err(CommandError::said(Kind::Interrupted)),
    }
}

/// The certificates that are missing or to be renewed by the next apply, by the marks.
fn due(planned: &Planned, now: Timestamp) -> Vec<Address> {
    let due = |certificate: &&plan::desired::Certificate| {
        planned.mark_of(certificate).is_none_or(|m| {
            m.fingerprint != certificate.fingerprint || renew_at(m).is_none_or(|at| at <= now)
        })
    };
    let embedded =
        |certificate: &&plan::desired::Certificate| certificate.issuer == plan::desired::Issuer::Embedded;
    let own = planned.desired.hypervisor.iter().map(|node| &node.certificate);
    let all = planned.desired.certificates.values().chain(own);
    all.filter(embedded).filter(due).map(plan::desired::Certificate::resource).collect()
}

async fn once(global: &Global, printer: Printer) -> Outcome {
    let planned = Planned::new(global, printer).await?;
    planned.connection.close().await;
    let plan = planned.plan(&[], false)?;
    let containers: Vec<_> = planned.desired.guests.values().map(|c| container(&planned, &plan, c)).collect();
    let services: Vec<_> = planned.desired.services.values().map(|s| {
        let mark = planned.desired.guests.get(&s.on).and_then(|c| planned.inventory.guests.get(&c.id)).and_then(|g| g.mark.as_ref());
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
    let due = due(&planned, Timestamp::now());
    if printer.json {
        printer.data_json(&json!({
            "certificates": planned.desired.certificates.len(), "certificates_due": due, "flows": planned.desired.flows.len(),
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
    for address in &due {
        printer.data(format!("! {:<28} due: {} apply", address.as_str(), typed(global)));
    }
    let (certificates, flows) = (planned.desired.certificates.len(), planned.desired.flows.len());
    printer.data(format!("  {certificates} certificates, {} due; {flows} flows", due.len()));
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

fn container(planned: &Planned, plan: &Plan, container: &plan::desired::Guest) -> serde_json::Value {
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
