//! `doctor`: what is wrong between here and the site, hop by hop; then with the nodes themselves, and inside of the site.

use std::time::Duration;

use blueprint::model::Target;
use foreign::{indented, line};
use managers::checkup::{Found, Grade, Seen};
use managers::health::Check;
use managers::privileges;
use managers::privileges::granted::Granted;
use pki::RootKey;
use serde_json::json;
use site::{Connection, OnPaper, Site};
use transport::Command;

use crate::args::{Doctor, Global};
use crate::commands::plan::typed;
use crate::commands::{certs, checkup, health, sealing};
use crate::error::{CommandError, ErrorKind, Outcome, already_reported};
use crate::hostkey;
use crate::opening;
use crate::printer::{Printer, hung};

struct Findings {
    printer: Printer,
    rows: Vec<serde_json::Value>,
    bad: usize,
}

impl Findings {
    fn good(&mut self, what: &str, seen: &str) {
        if !self.printer.json {
            self.printer.data(format!("✔ {:<24} {}", line(what), line(seen)));
        }
        self.rows.push(json!({ "check": what, "ok": true, "seen": seen }));
    }

    fn bad(&mut self, what: &str, error: &CommandError) {
        self.bad += 1;
        if !self.printer.json {
            let said = error.errors.join(": ");
            self.printer.data(format!("✘ {:<24} {}", line(what), indented(&said, "    ")));
            if let Some(hint) = &error.hint {
                self.printer.data(format!("  hint: {}", hung(hint)));
            }
        }
        self.rows.push(json!({ "check": what, "ok": false, "error": error.errors, "hint": error.hint, "code": error.code }));
    }
}

impl Findings {
    /// What somebody should know, though nothing fails for it.
    fn warn(&mut self, what: &str, code: &str, text: &str, hint: &str) {
        if !self.printer.json {
            self.printer.data(format!("! {what:<24} {text}"));
            self.printer.data(format!("  hint: {hint}"));
        }
        self.rows.push(json!({ "check": what, "ok": true, "warning": text, "hint": hint, "code": code }));
    }

    /// How old the programs are that no package brings, and that nothing but a newer Phoenix renews.
    fn programs(&mut self, desired: &plan::Desired) {
        // A list that cannot be read is told by whatever needs it.
        let Ok(list) = managers::artifacts::builtin() else { return };
        let today = jiff::Zoned::now().date();
        for program in managers::artifacts::aged(list, desired, today) {
            let what = format!("program {}", program.name);
            match program.trouble() {
                None => self.good(&what, &format!("{} of {}", program.version, program.released)),
                Some(text) => {
                    let hint = "a newer Phoenix pins a newer one, and its apply puts it in place: phoenix-cli version";
                    self.warn(&what, "artifacts::old", &text, hint);
                }
            }
        }
    }

    /// What the nodes say of themselves.
    fn nodes(&mut self, seen: &[Seen], unseen: &[(String, CommandError)]) {
        for (name, error) in unseen {
            self.bad(&format!("node {name}"), error);
        }
        let found = checkup::found(seen);
        self.bad += found.iter().filter(|it| it.finding.grade == Grade::Bad).count();
        if !self.printer.json {
            checkup::show(&found, self.printer.verbose, self.printer);
        }
        self.rows.extend(found.iter().map(Found::json));
    }

    /// What `health` sees.
    fn inside(&mut self, checks: &[Check]) {
        self.bad += checks.iter().filter(|check| check.trouble.is_some()).count();
        if !self.printer.json {
            health::show(checks, self.printer);
        }
        self.rows.extend(checks.iter().map(|check| {
            let mut row = check.json();
            row["check"] = format!("{} {}", check.group.title(), check.name).into();
            row
        }));
    }
}

/// What makes a token of exactly what the blueprint needs, on paper.
fn print_role(global: &Global, printer: Printer) -> Outcome {
    let paper = opening::paper(global, printer)?;
    let required = privileges::required(&paper.desired, false);
    let commands = privileges::commands::commands(&paper.desired.site, &required);
    let notes = privileges::commands::notes(&required);
    if printer.json {
        let list: Vec<serde_json::Value> = required
            .iter()
            .map(|it| json!({ "path": it.place.path(), "privilege": it.privilege, "propagates": it.place.propagates() }))
            .collect();
        printer.data_json(&json!({ "commands": commands, "needs": list, "notes": notes }));
        return Ok(0);
    }
    printer.data(commands.join("\n"));
    for note in notes {
        printer.say(format!("note: {note}"));
    }
    printer.say(format!(
        "typed as root on the node, they make the token {}; its secret is printed once",
        privileges::commands::token(&paper.desired.site)
    ));
    Ok(0)
}

/// Walks the hops: blueprint, authority, API, privileges, ssh, templates, guests.
pub async fn run(global: &Global, options: &Doctor, printer: Printer) -> Outcome {
    if options.print_role {
        return print_role(global, printer);
    }
    let mut findings = Findings { printer, rows: Vec::new(), bad: 0 };
    let paper = opening::paper(global, printer)?;
    findings.good("blueprint", &format!("{} guests", paper.loaded.blueprint.guests.len()));
    let old = paper.authority.as_deref().and_then(certs::old_root);
    let key = paper.authority.as_deref().and_then(|authority| authority.root_key().ok());
    let authority = match key {
        Some(RootKey::Here) => "root and intermediate are readable and belong together",
        Some(RootKey::Locked) => "root and intermediate are readable; the root's key has a passphrase",
        Some(RootKey::Away) => "root and intermediate are readable; the root's key is kept elsewhere",
        None => "not made yet: the first run makes it",
    };
    findings.good("certificate authority", authority);
    match sealing::told(&paper.loaded.blueprint, &typed(global), jiff::Timestamp::now()) {
        Err(error) => findings.bad("sealed copy", &error),
        Ok(Some(told)) => match &told.hint {
            None => findings.good("sealed copy", &told.text),
            Some(hint) if told.never => printer.say(format!("note: {}: {hint}", told.text)),
            Some(hint) => findings.warn("sealed copy", "sealed::not-current", &told.text, hint),
        },
        Ok(None) => {}
    }
    findings.programs(&paper.desired);
    if let Some(old) = old {
        printer.say(format!("note: {old}"));
    }
    let trust = match paper.trust() {
        Ok(trust) => trust,
        Err(error) => {
            findings.bad("site key", &error);
            plan::Trust::new(&*paper.desired.site, None)
        }
    };
    // A connection that was kept would not tell whether one can log in now.
    match site::connect(&paper.loaded.blueprint, &opening::environment()) {
        Err(error) => findings.bad("target", &error),
        Ok(connection) => {
            let inventory =
                hops(&connection, &paper.loaded.blueprint.target, (&paper, &trust), global, &mut findings)
                    .await;
            let holds = findings.bad == 0;
            if let Some((_, inventory)) = &inventory
                && inventory.commands
                && !connection.simulated()
            {
                let (seen, unseen) = checkup::look(&connection, inventory).await;
                findings.nodes(&seen, &unseen);
            }
            // The way there holds, so what is there can be looked at: as `health` does.
            if let Some((Waits::Nothing, inventory)) = inventory.filter(|_| holds) {
                let planned = Site::new(paper, connection, inventory, opening::environment())?;
                let health = planned.health(&[]).await;
                planned.close().await;
                findings.inside(&health?.checks());
            } else {
                connection.close().await;
            }
        }
    }
    if printer.json {
        printer.data_json(&json!({ "ok": findings.bad == 0, "checks": findings.rows }));
    }
    if findings.bad == 0 { Ok(0) } else { Err(already_reported(ErrorKind::Failed)) }
}

/// What to do about a host key that is not known, or not the declared one.
async fn unknown_key(target: &Target, error: &transport::Error) -> Option<String> {
    let about_key = match error {
        transport::Error::HostKey { .. } => true,
        transport::Error::Connect { reason, .. } => reason.contains("Host key verification failed"),
        _ => false,
    };
    let Target::Proxmox(target) = target else { return None };
    let ssh = target.ssh.as_ref().filter(|_| about_key)?;
    let shown = hostkey::shown(ssh).await?;
    Some(hostkey::advice(target, ssh, &shown))
}

/// Whether commands can be run on another node of the cluster.
async fn onward(connection: &Connection, name: &str, findings: &mut Findings) {
    let what = format!("commands on {name}");
    let node = match connection.ways.node(name).await {
        Ok(node) => node,
        Err(failure) => return findings.bad(&what, &failure.into()),
    };
    let command = Command::new("trying a command", ["true"]).limit(Duration::from_secs(20));
    match node.run(&command).await {
        Ok(output) if output.success() => findings.good(&what, &node.place()),
        Ok(output) => {
            findings.bad(&what, &CommandError::failed("transport::failed", output.tail(3)));
        }
        Err(error) => {
            let hint = match &error {
                transport::Error::Connect { hint: Some(hint), .. } => hint.clone(),
                _ => format!("try it by hand, on the first node: ssh {name}"),
            };
            findings.bad(&what, &CommandError::from_error("transport::failed", &error).hint(hint));
        }
    }
}

/// What the token lacks, and what it has beyond what the blueprint needs.
async fn privileges_of(
    connection: &Connection,
    target: &Target,
    desired: &plan::Desired,
    findings: &mut Findings,
) {
    let reader = connection.reader();
    let granted = async {
        let nodes = managers::settle::read("listing the nodes", || reader.nodes()).await?;
        let required = privileges::required(desired, nodes.len() > 1);
        Granted::ask(&reader, &required).await.map(|granted| (required, granted))
    };
    let (required, granted) = match granted.await {
        Ok(asked) => asked,
        Err(failure) => return findings.bad("privileges", &failure.into()),
    };
    let lacking = granted.lacking(&required);
    if lacking.is_empty() {
        findings.good("privileges", &format!("all {} that this blueprint needs", required.len()));
    } else {
        let words: Vec<String> =
            lacking.iter().map(|it| format!("{} on {}", it.privilege, it.place.path())).collect();
        let error = CommandError::failed("proxmox::permission-denied", format!("lacks {}", words.join(", ")))
            .hint("give them to the token and to its user: phoenix-cli doctor --print-role");
        findings.bad("privileges", &error);
    }
    let beyond = granted.beyond(&required);
    // The token of a lab reaches that lab, which is there for trying.
    if !beyond.is_empty() && matches!(target, Target::Proxmox(_)) {
        let words = beyond.iter().map(|(path, all)| format!("on {path}: {}", few(all)));
        findings.warn(
            "privileges",
            "proxmox::wide-token",
            &format!(
                "the token may do more than this blueprint needs: {}",
                line(&words.collect::<Vec<_>>().join("; "))
            ),
            "a token of exactly what it needs: phoenix-cli doctor --print-role",
        );
    }
}

/// The first of many, and how many more there are.
fn few(all: &[&str]) -> String {
    const SHOWN: usize = 6;
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", all[..SHOWN].join(", ")),
        _ => all.join(", "),
    }
}

/// Whether the site is as the blueprint wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nothing,
    Something,
}

async fn hops(
    connection: &Connection,
    target: &Target,
    (paper, trust): (&OnPaper, &plan::Trust),
    global: &Global,
    findings: &mut Findings,
) -> Option<(Waits, plan::Inventory)> {
    let reader = connection.reader();
    match reader.version().await {
        Ok(version) => {
            findings.good("API", &format!("Proxmox VE {} at {}", version.version, reader.endpoint()));
        }
        Err(error) => {
            findings.bad("API", &managers::settle::failure("asking the node's version", &error).into());
            return None;
        }
    }
    privileges_of(connection, target, &paper.desired, findings).await;
    match connection.ways.first() {
        None => {
            findings.good("commands on the node", "no ssh declared: only what the API can do is possible");
        }
        Some(node) => {
            let command = Command::new("trying a command", ["true"]).limit(Duration::from_secs(20));
            match node.run(&command).await {
                Ok(output) if output.success() => findings.good("commands on the node", &node.place()),
                Ok(output) => findings
                    .bad("commands on the node", &CommandError::failed("transport::failed", output.tail(3))),
                Err(error) => {
                    let hint = match unknown_key(target, &error).await {
                        Some(advice) => advice,
                        None => "try it by hand: ssh, as declared under target.proxmox.ssh".to_owned(),
                    };
                    let error = CommandError::from_error("transport::failed", &error).hint(hint);
                    findings.bad("commands on the node", &error);
                }
            }
        }
    }
    match managers::observe(&connection.ways).await {
        Err(failure) => {
            findings.bad("inventory", &failure.into());
            None
        }
        Ok(mut inventory) => {
            paper.judge(&mut inventory, trust, opening::environment());
            if let Err(error) = paper.is_whole(&inventory) {
                findings.bad("root certificate", &error);
            }
            for unread in &inventory.unread {
                findings.bad(
                    "inventory",
                    &CommandError::failed("inventory::unread", format!("{}: {}", unread.what, unread.why)),
                );
            }
            for name in inventory.nodes.keys().filter(|name| *name != inventory.command_node()) {
                if inventory.commands && !inventory.is_offline(name) {
                    onward(connection, name, findings).await;
                }
            }
            managers::look_for(&connection.ways, &paper.desired, &mut inventory).await;
            let templates = &inventory.facts(&inventory.node).templates;
            let have = templates.iter().cloned().collect::<Vec<_>>().join(", ");
            let none = "none on the node yet; one that a guest is made of is fetched first";
            findings.good("templates", if templates.is_empty() { none } else { &have });
            let options = plan::Options {
                now: jiff::Timestamp::now(),
                targets: vec![],
                destroy: false,
                no_restart: false,
                restart_node: false,
            };
            let plan = plan::plan(&paper.desired, &inventory, &managers::kinds(), &options);
            for problem in &plan.problems {
                let error = CommandError::failed(&problem.code, &problem.message).hint(&problem.hint);
                findings.bad(problem.address.as_str(), &error);
            }
            match plan.steps.len() {
                0 => findings.good("site", "as the blueprint wants it"),
                n => findings.good("site", &format!("{n} step(s) wait: {} plan", typed(global))),
            }
            // What is not there yet is no trouble: the plan says so.
            let waits = !plan.steps.is_empty() || !plan.problems.is_empty();
            Some((if waits { Waits::Something } else { Waits::Nothing }, inventory))
        }
    }
}
