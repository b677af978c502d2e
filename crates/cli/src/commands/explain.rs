//! `explain`: a key of a blueprint, a resource, a feature, a stack of the catalogue, an error's code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use blueprint::catalog::{CatalogStack, Parameter};
use blueprint::model::{Blueprint, SecretRef};
use camino::Utf8Path;
use managers::features::{Mode, Rendered, script};
use plan::{Address, Desired};
use serde_json::{Value, json};

use crate::args::{Explain, Global};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::{Printer, Stream};

/// Explains whatever was named.
pub fn run(global: &Global, options: &Explain, printer: Printer) -> Outcome {
    let what = options.what.as_str();
    if what == "features" {
        return features(printer);
    }
    if what == "stack-catalog" {
        return stack_catalog(printer);
    }
    if let Some(name) = what.strip_prefix("stack-catalog.") {
        return catalog_stack(name, printer);
    }
    if let Some(code) = crate::codes::find(what) {
        if printer.json {
            printer.data_json(&json!({ "code": code.code, "title": code.title, "explanation": code.explanation, "remedy": code.remedy }));
        } else {
            printer.data(format!("{}\n  {}\n\n  {}", code.code, code.explanation, code.remedy));
        }
        return Ok(0);
    }
    if let Some(name) = what.strip_prefix("feature.").filter(|n| !n.contains('@')) {
        return feature(global, name, printer);
    }
    if let Ok(address) = what.parse::<Address>()
        && managers::manager_of(address.kind()).is_some()
        // `hypervisor.certificate` is a key, too: that is meant where the site has no such resource.
        && (blueprint::explain(what).is_none() || has(global, &address))
    {
        return resource(global, &address, options.script, printer);
    }
    let Some(found) = blueprint::explain(what) else {
        return Err(CommandError::usage("explain::unknown", format!("`{what}` is no key of a blueprint, no resource and no feature"))
            .hint("phoenix-cli explain containers, phoenix-cli explain features, or an address from phoenix-cli graph"));
    };
    let costs = managers::keys::fields::costs(&with_setting(&found.path, what));
    if printer.json {
        printer.data_json(&json!({
            "key": found.path, "type": found.kind, "required": found.required, "default": found.default,
            "description": found.description, "example": found.example, "values": found.values,
            "keys": found.children, "takes-effect": costs,
        }));
    } else {
        printer.data(key(&found, &costs));
    }
    Ok(0)
}

/// Whether the site, where there is one, has this resource. Its addresses do not depend on who signs.
fn has(global: &Global, address: &Address) -> bool {
    wired(&global.site).is_some_and(|(_, desired)| desired.graph.addresses().any(|a| a == address))
}

/// The site in a folder on paper, where there is one and nothing is wrong with it.
pub(super) fn wired(folder: &Utf8Path) -> Option<(Blueprint, Desired)> {
    let loaded = blueprint::load(&site::folder(folder).ok()?, &site::catalog().ok()?).ok()?;
    let renderer = managers::features::renderer::Renderer::new(&loaded.blueprint);
    let desired = plan::wire::wire(&loaded.blueprint, &plan::wire::Roots::one(""), &renderer).ok()?;
    Some((loaded.blueprint, desired))
}

/// A key's place with the name of Proxmox VE's setting that was asked for: `vms.NAME.settings.audio0`.
fn with_setting(path: &str, what: &str) -> String {
    match (path.strip_suffix(".settings.NAME"), what.rsplit('.').next()) {
        (Some(guest), Some(name)) => format!("{guest}.settings.{name}"),
        _ => path.to_owned(),
    }
}

fn key(found: &blueprint::Explanation, costs: &[String]) -> String {
    let mut out = format!("{}\n  {}\n\n  type      {}\n", found.path, found.description, found.kind);
    if found.required {
        out.push_str("  required\n");
    }
    if let Some(default) = &found.default {
        let _ = writeln!(out, "  default   {default}");
    }
    if let Some(example) = &found.example {
        let _ = writeln!(out, "  example   {example}");
    }
    for cost in costs {
        let _ = writeln!(out, "  changes   {cost}");
    }
    for (heading, list) in [("values", &found.values), ("keys", &found.children)] {
        if list.is_empty() {
            continue;
        }
        let width = list.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let _ = writeln!(out, "\n  {heading}");
        for (name, meaning) in list {
            let _ = writeln!(out, "    {name:width$}  {meaning}");
        }
    }
    out
}

fn features(printer: Printer) -> Outcome {
    let catalog = site::catalog()?;
    if printer.json {
        let all: Vec<Value> =
            catalog.iter().map(|(n, f)| json!({ "name": n, "description": f.spec.description })).collect();
        printer.data_json(&json!({ "features": all }));
        return Ok(0);
    }
    for (name, feature) in catalog.iter() {
        printer.data(format!("{name:<18} {}", feature.spec.description));
    }
    printer.say(
        "more of one: phoenix-cli explain feature.static-site; your own go into the site's features/ folder",
    );
    Ok(0)
}

fn feature(global: &Global, name: &str, printer: Printer) -> Outcome {
    let catalog = site::catalog()?;
    let own = || {
        let root = site::folder(&global.site).ok()?;
        let loaded = blueprint::load(&root, &catalog).ok()?;
        loaded.blueprint.features.get(name).cloned()
    };
    let Some(feature) = catalog.get(name).cloned().or_else(own) else {
        return Err(CommandError::usage("explain::unknown", format!("there is no feature `{name}`"))
            .hint("phoenix-cli explain features lists them"));
    };
    if printer.json {
        printer.data_json(&serde_json::to_value(&feature.spec).unwrap_or_default());
        return Ok(0);
    }
    let spec = &feature.spec;
    let mut out = format!("feature.{name}\n  {}\n", spec.description);
    parameters(&spec.parameters, &mut out);
    for (label, list) in
        [("requires", &spec.requires), ("provides", &spec.provides), ("packages", &spec.packages)]
    {
        if !list.is_empty() {
            let _ = writeln!(out, "  {label}  {}", list.join(", "));
        }
    }
    printer.data(out);
    Ok(0)
}

/// What can be set, with what it is where nothing is said.
fn parameters(all: &BTreeMap<String, Parameter>, out: &mut String) {
    if !all.is_empty() {
        out.push_str("\n  parameters\n");
    }
    for (name, parameter) in all {
        let kind = serde_json::to_value(parameter.kind).unwrap_or_default();
        let default = match (&parameter.default, parameter.derived) {
            (_, true) => "derived".to_owned(),
            (Some(default), _) => format!("default {default}"),
            (None, _) => "must be given".to_owned(),
        };
        let _ = writeln!(
            out,
            "    {name}  ({}, {default})  {}",
            kind.as_str().unwrap_or_default(),
            parameter.description
        );
    }
}

fn stack_catalog(printer: Printer) -> Outcome {
    let catalog = site::catalog()?;
    if printer.json {
        let one = |(name, stack): (&str, &Arc<CatalogStack>)| json!({ "name": name, "description": stack.spec.description, "memory": stack.spec.memory });
        printer.data_json(&json!({ "stacks": catalog.stacks().map(one).collect::<Vec<_>>() }));
        return Ok(0);
    }
    for (name, stack) in catalog.stacks() {
        printer.data(format!("{name:<18} {}", stack.spec.description));
    }
    printer.say(
        "more of one: phoenix-cli explain stack-catalog.paperless; your own go into the site's stack-catalog/ folder",
    );
    Ok(0)
}

fn catalog_stack(name: &str, printer: Printer) -> Outcome {
    let catalog = site::catalog()?;
    let Some(stack) = catalog.stack(name) else {
        return Err(CommandError::usage(
            "explain::unknown",
            format!("there is no stack `{name}` in the catalogue"),
        )
        .hint("phoenix-cli explain stack-catalog lists them"));
    };
    let spec = &stack.spec;
    if printer.json {
        printer.data_json(&serde_json::to_value(spec).unwrap_or_default());
        return Ok(0);
    }
    let mut out = format!("stack-catalog.{name}\n  {}\n", spec.description);
    parameters(&spec.parameters, &mut out);
    // What is named after the stack is told as it is written of keys.
    let names = |all: &BTreeMap<String, Value>| {
        let own = |name: &String| name.replace("{{ stack.name }}", "NAME");
        all.keys().map(own).collect::<Vec<_>>().join(", ")
    };
    let memory = spec.memory.map_or_else(String::new, |mib| format!("{mib} MiB, usually"));
    for (label, text) in [
        ("services", names(&spec.services)),
        ("secrets", names(&spec.secrets)),
        ("memory", memory),
        ("backup", spec.backup.clone()),
        ("homepage", spec.homepage.clone()),
    ] {
        if !text.is_empty() {
            let _ = writeln!(out, "  {label:<8}  {text}");
        }
    }
    printer.data(out);
    Ok(0)
}

fn resource(global: &Global, address: &Address, with_script: bool, printer: Printer) -> Outcome {
    let desired = opening::paper(global, printer)?.desired;
    let unknown = || {
        CommandError::usage("explain::unknown", format!("the site has no {address}"))
            .hint("phoenix-cli graph shows all addresses")
    };
    if !desired.graph.addresses().any(|a| a == address) {
        return Err(unknown());
    }
    if with_script {
        let Some(feature) = managers::features::diff::feature_of(&desired, address) else {
            return Err(CommandError::usage(
                "explain::no-script",
                format!("{address} has no script: only features on a container have"),
            )
            .hint(format!("phoenix-cli explain feature.base@{address} --script")));
        };
        let rendered: Rendered = serde_json::from_value(Value::clone(&feature.payload))
            .map_err(|e| CommandError::from_error("features::unreadable", &e))?;
        // A person sees where a secret goes, never the secret.
        let secrets = |reference: &SecretRef| {
            Ok::<_, std::io::Error>(format!(
                "<secret: {}>",
                serde_json::to_string(reference).unwrap_or_default()
            ))
        };
        let script = script(&[rendered], Mode::Apply, &secrets)
            .map_err(|e| CommandError::from_error("features::script", &e))?;
        printer.passed_on(&String::from_utf8_lossy(&script.text), Stream::Data);
        return Ok(0);
    }
    let needs: Vec<String> = desired
        .graph
        .edges(address)
        .map(|(to, kind)| {
            format!("{} {to}", if *kind == plan::graph::EdgeKind::Needs { "needs" } else { "boots after" })
        })
        .collect();
    let facts = managers::manager_of(address.kind()).and_then(|manager| manager.facts(address, &desired));
    let facts = facts.ok_or_else(unknown)?;
    if printer.json {
        printer.data_json(&json!({ "address": address, "facts": facts, "edges": desired.graph.edges(address).map(|(to, kind)| json!({"to": to, "kind": kind})).collect::<Vec<_>>() }));
        return Ok(0);
    }
    let mut out = format!("{address}\n");
    for (key, value) in facts.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(out, "  {key:<12} {value}");
    }
    for need in needs {
        let _ = writeln!(out, "  {need}");
    }
    printer.data(out);
    Ok(0)
}
