//! What `doctor` says of the nodes themselves: a line for each field, and what is wrong below it.

use std::sync::Arc;

use foreign::{indented, line};
use futures::future::join_all;
use managers::checkup::{Found, Grade, Seen, judge};
use plan::Inventory;
use plan::render::Style;
use site::Connection;
use transport::Runner;

use crate::error::CommandError;
use crate::printer::{Printer, hung, paint};

/// Every node that is online, looked at at the same time. Those that could not be are told beside.
pub async fn look(
    connection: &Connection,
    inventory: &Inventory,
) -> (Vec<Seen>, Vec<(String, CommandError)>) {
    let names = inventory.nodes.keys().filter(|name| !inventory.is_offline(name));
    let asked =
        join_all(names.map(async |name| (name.clone(), one(connection, inventory, name).await))).await;
    let (mut seen, mut unseen) = (Vec::new(), Vec::new());
    for (name, look) in asked {
        match look {
            Ok(look) => seen.push(look),
            Err(error) => unseen.push((name, error)),
        }
    }
    (seen, unseen)
}

async fn one(connection: &Connection, inventory: &Inventory, name: &str) -> Result<Seen, CommandError> {
    let runner: Arc<dyn Runner> = match connection.ways.first() {
        Some(first) if name == inventory.command_node() => first.clone(),
        _ => connection.ways.node(name).await?,
    };
    Ok(Seen::look(name, &*runner).await?)
}

/// All checks.
pub fn found(seen: &[Seen]) -> Vec<Found> {
    judge(seen)
}

/// The fields with their counts, and below them what is wrong; with `all`, everything.
pub fn show(found: &[Found], all: bool, printer: Printer) {
    for of_node in found.chunk_by(|a, b| a.node == b.node) {
        printer.data(paint(Style::Strong, &format!("node {}", line(&of_node[0].node))));
        for field in of_node.chunk_by(|a, b| a.check.group == b.check.group) {
            group(field, all, printer);
        }
    }
}

fn group(field: &[Found], all: bool, printer: Printer) {
    let count = |grade| field.iter().filter(|it| it.finding.grade == grade).count();
    let worst = match field.iter().map(|it| it.finding.grade).max() {
        Some(Grade::Unknown) | None => Grade::Ok,
        Some(grade) => grade,
    };
    let mut words = format!("{} checks", field.len());
    for (grade, what) in
        [(Grade::Bad, "bad"), (Grade::Warn, "to look after"), (Grade::Unknown, "not to be told here")]
    {
        match count(grade) {
            0 => {}
            n => words.push_str(&format!(", {n} {what}")),
        }
    }
    printer.data(format!("{} {:<24} {words}", sign(worst), field[0].check.group.title()));
    for it in field.iter().filter(|it| all || it.finding.grade >= Grade::Warn) {
        let (name, seen) = (it.check.name(), indented(&it.finding.seen, "      "));
        printer.data(format!("    {} {name:<22} {seen}", sign(it.finding.grade)));
        if let Some(hint) = &it.finding.hint {
            printer.data(format!("      {} {}", paint(Style::Hint, "hint:"), hung(&printer.hint(hint))));
        }
    }
}

fn sign(grade: Grade) -> String {
    match grade {
        Grade::Ok => paint(Style::Add, "✔"),
        Grade::Unknown => paint(Style::Dim, "·"),
        Grade::Warn => paint(Style::Change, "!"),
        Grade::Bad => paint(Style::Remove, "✘"),
    }
}
