//! `secrets`: which secrets a site uses and where they are, and a look at one of them.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{Blueprint, Credential, SecretRef, Target};
use blueprint::secret::GENERATED_FOLDER;
use camino::Utf8Path;
use managers::features::known;
use plan::{Address, Desired};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::args::{Global, SecretsCommand};
use crate::commands::plan::typed;
use crate::commands::{sealing, secret_values};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::{Printer, Stream};
use site::{OnPaper, SiteSecrets};

/// A secret that the site uses.
#[derive(Debug)]
struct Used {
    reference: SecretRef,
    /// What uses it.
    by: BTreeSet<String>,
}

/// Lists secrets, shows one, or gives it another value.
pub async fn run(global: &Global, what: &SecretsCommand, printer: Printer) -> Outcome {
    let paper = || opening::paper(global, printer);
    match what {
        SecretsCommand::List => list(&paper()?, printer),
        SecretsCommand::Show { name, reveal } => show(&paper()?, global, name, *reveal, printer),
        SecretsCommand::Set { name } => secret_values::set(global, name, &paper()?, printer),
        SecretsCommand::Seal(options) => sealing::seal(global, options, printer),
        SecretsCommand::Open(options) => sealing::open(global, options, printer),
        SecretsCommand::Rotate { name, yes } => secret_values::rotate(global, name, *yes, printer).await,
    }
}

/// All secrets by the name that `show` takes.
fn used(blueprint: &Blueprint, desired: &Desired) -> BTreeMap<String, Used> {
    let mut all: BTreeMap<String, Used> = BTreeMap::new();
    let mut add = |reference: &SecretRef, by: String| {
        let used = all
            .entry(reference.name())
            .or_insert_with(|| Used { reference: reference.clone(), by: BTreeSet::new() });
        used.by.insert(by);
    };
    if let Target::Proxmox(target) = &blueprint.target {
        match &target.credential {
            Credential::Token(reference) => add(reference, "target".to_owned()),
            Credential::Ticket { password, .. } => add(password, "target".to_owned()),
        }
    }
    for service in desired.services.values() {
        for (user, reference) in &service.users {
            add(reference, format!("{} (user {user})", Address::service(&service.name)));
        }
    }
    for container in desired.guests.values() {
        let user = container.vm().and_then(|vm| vm.user.as_ref());
        if let Some((user, reference)) = user.and_then(|user| Some((user, user.password.as_ref()?))) {
            add(reference, format!("{} (user {})", container.resource(), user.name));
        }
    }
    for (address, feature) in desired.features() {
        for reference in &known::secrets_of(feature) {
            add(reference, address.to_string());
        }
    }
    all
}

/// The names of all of them.
pub fn names(blueprint: &Blueprint, desired: &Desired) -> BTreeSet<String> {
    used(blueprint, desired).into_keys().collect()
}

/// Where it comes from, and whether it is there. Nothing is run for it.
fn origin(reference: &SecretRef, root: &Utf8Path) -> (String, &'static str) {
    match reference {
        SecretRef::Generate(name) => {
            let file = Utf8Path::new(GENERATED_FOLDER).join(name);
            let there = if root.join(&file).exists() { "made" } else { "not made yet" };
            (format!("generated, in {file}"), there)
        }
        SecretRef::Env(name) => {
            let set = std::env::var_os(name).is_some_and(|value| !value.is_empty());
            ("environment variable".to_owned(), if set { "set" } else { "not set here" })
        }
        SecretRef::File(path) => {
            ("file".to_owned(), if root.join(path).exists() { "there" } else { "missing" })
        }
        SecretRef::Command(_) => ("command".to_owned(), "not asked"),
    }
}

fn list(paper: &OnPaper, printer: Printer) -> Outcome {
    let (all, root) = (used(&paper.loaded.blueprint, &paper.desired), &paper.loaded.blueprint.root);
    if printer.json {
        let rows: Vec<Value> = all
            .iter()
            .map(|(name, used)| {
                let (origin, state) = origin(&used.reference, root);
                json!({ "name": name, "origin": origin, "state": state, "used_by": used.by })
            })
            .collect();
        printer.data_json(&json!({ "secrets": rows }));
        return Ok(0);
    }
    if all.is_empty() {
        printer.say("the site uses no secrets");
    }
    for (name, used) in &all {
        let (origin, state) = origin(&used.reference, root);
        printer.data(format!("{name}  ********  {origin} ({state})"));
        for by in &used.by {
            printer.data(format!("    for {by}"));
        }
    }
    Ok(0)
}

fn show(paper: &OnPaper, global: &Global, name: &str, reveal: bool, printer: Printer) -> Outcome {
    let (all, root) = (used(&paper.loaded.blueprint, &paper.desired), &paper.loaded.blueprint.root);
    let Some(used) = all.get(name) else {
        let near = blueprint::nearest(name, all.keys().map(String::as_str));
        let typed = typed(global);
        return Err(CommandError::usage("secrets::unknown", format!("the site uses no secret `{name}`"))
            .hint(near.map_or_else(
                || format!("{typed} secrets list"),
                |near| format!("did you mean `{near}`? {typed} secrets list"),
            )));
    };
    // A record that somebody keeps is no place for a secret.
    if printer.json || !(reveal || printer.data_is_watched()) {
        let message = "a secret is shown on a terminal only, and never as JSON";
        return Err(CommandError::usage("secrets::not-shown", message)
            .hint(format!("{} secrets show {name} --reveal prints it anywhere", typed(global))));
    }
    if matches!(used.reference, SecretRef::Generate(_)) && origin(&used.reference, root).1 != "made" {
        return Err(CommandError::failed("secrets::not-made", format!("`{name}` has not been made yet"))
            .hint(format!("{} apply makes it when it is first used", typed(global))));
    }
    let secret = SiteSecrets::new(root.to_owned(), opening::environment()).get(&used.reference)?;
    printer.passed_on(secret.expose_secret(), Stream::Data);
    if !secret.expose_secret().ends_with('\n') {
        printer.passed_on("\n", Stream::Data);
    }
    Ok(0)
}

/// The names of the secrets that have been made in a site's folder.
pub fn made(root: &Utf8Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root.join(GENERATED_FOLDER)).into_iter().flatten();
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|n| !n.starts_with('.')).collect()
}

/// What is said at the end of a run that made secrets.
pub fn new_ones(before: &BTreeSet<String>, after: &BTreeSet<String>, typed: &str) -> Vec<String> {
    after
        .difference(before)
        .map(|name| {
            format!(
                "made the secret {name} in {GENERATED_FOLDER}/{name}; to see it: {typed} secrets show {name}"
            )
        })
        .collect()
}
