//! `certs`: the workshop's root, and what it certifies.

use jiff::Timestamp;
use managers::certificates::renew_at;
use plan::Address;
use serde_json::json;

use crate::args::{Certs, CertsCommand, Global};
use crate::commands::plan::Planned;
use crate::error::Outcome;
use crate::printer::Printer;
use crate::site;

/// Shows certificates.
pub async fn run(global: &Global, options: &Certs, printer: Printer) -> Outcome {
    match options.what {
        Some(CertsCommand::Root) => {
            // Nothing else on standard output, and nothing contacted: it is used inside other commands.
            let loaded = site::load(&global.site, printer.quiet())?;
            let authority = site::authority(&loaded.blueprint, printer.quiet())?;
            printer.data(format!("{}\n", authority.root_pem().trim_end()));
            Ok(0)
        }
        Some(CertsCommand::List) | None => list(global, printer).await,
    }
}

async fn list(global: &Global, printer: Printer) -> Outcome {
    let planned = Planned::new(global, printer).await?;
    planned.connection.close().await;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for certificate in planned.desired.certificates.values() {
        let on = planned.desired.containers.get(&certificate.on);
        let guest = on.and_then(|c| planned.inventory.guests.get(&c.id));
        let mark = guest.and_then(|g| g.mark.as_ref()).and_then(|m| m.certificates.get(&certificate.name));
        let day = |seconds: i64| {
            Timestamp::from_second(seconds).ok().map(|t| t.strftime("%Y-%m-%d %H:%M").to_string())
        };
        rows.push(json!({
            "address": Address::certificate(&certificate.name), "names": certificate.names, "on": certificate.on,
            "path": managers::certificates::path(&certificate.name),
            "issuer": format!("{} intermediate", planned.desired.site),
            "serial": mark.map(|m| &m.serial), "ends": mark.and_then(|m| day(m.end)),
            "days_left": mark.map(|m| (m.end - now.as_second()) / 86_400),
            "renewed_from": mark.and_then(renew_at).and_then(|t| day(t.as_second())),
            "state": match mark {
                None => "not there yet",
                Some(m) if m.fingerprint != certificate.fingerprint => "to be made anew",
                Some(m) if m.end <= now.as_second() => "expired",
                Some(m) if renew_at(m).is_none_or(|at| at <= now) => "to be renewed",
                Some(_) => "good",
            },
        }));
    }
    if printer.json {
        printer.data_json(&json!({ "certificates": rows }));
        return Ok(0);
    }
    for row in &rows {
        let names: Vec<&str> =
            row["names"].as_array().into_iter().flatten().filter_map(|n| n.as_str()).collect();
        let sign = if row["state"] == "good" { "✔" } else { "✗" };
        printer.data(format!(
            "{sign} {:<28} {:<14} {:>5} days left, renewed from {}  {}",
            row["address"].as_str().unwrap_or_default(),
            row["state"].as_str().unwrap_or_default(),
            row["days_left"].as_i64().map_or("–".to_owned(), |d| d.to_string()),
            row["renewed_from"].as_str().unwrap_or("–"),
            names.join(", "),
        ));
    }
    if rows.is_empty() {
        printer.say("no service is exposed by the gateway, so there are no certificates");
    }
    Ok(0)
}
