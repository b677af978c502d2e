//! What is installed in guests: features, their parameters, and what those hold.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Context;
use super::merge::FeatureDeclaration;
use crate::catalog::{Feature, HostKind, Parameter, ParameterType};
use crate::check;
use crate::codes;
use crate::model::{FeatureUse, STACK, SiteFile};
use crate::namespace::Entry;
use crate::parameters;
use crate::report::{Draft, Spot};
use crate::schema;
use crate::source::GuestSource;
use crate::suggest;
use crate::tree::{Member, Node};

/// What the folders and files that parameters name hold, read once each; nothing where that failed.
#[derive(Debug, Default)]
pub(super) struct Contents {
    read: BTreeMap<(bool, String), Vec<SiteFile>>,
}

/// Checks the features of types and containers where they are written.
pub(super) fn check_declared(context: &mut Context<'_, '_>, contents: &mut Contents) {
    let namespace = context.namespace;
    for entry in namespace.types.values() {
        check_entry(entry, HostKind::Guest, context, contents);
    }
    for entry in namespace.guests.values() {
        check_entry(entry, HostKind::Guest, context, contents);
    }
    if let Some(entry) = &namespace.hypervisor {
        check_entry(entry, HostKind::Node, context, contents);
    }
}

fn check_entry<T>(
    entry: &Entry<'_, T>,
    host: HostKind,
    context: &mut Context<'_, '_>,
    contents: &mut Contents,
) {
    for element in entry.node().get("features").map(Node::elements).unwrap_or_default() {
        let Some((name, parameters)) = FeatureDeclaration::name_and_parameters(element) else { continue };
        let features = context.features;
        let Some(feature) = features.get(name) else {
            let names = features.names();
            // Features are in folders of their own: a broken blueprint file hides none.
            let hint = suggest::hint(name, "there are", names.iter().copied());
            let hint =
                hint.or_else(|| Some("a feature of the site's own is a folder `features/NAME/`".to_owned()));
            let message = format!("there is no feature `{}`", name.escape_debug());
            let spot = entry.document.spot(element.span);
            context.push(Draft::error(codes::DANGLING, spot, message).maybe_hint(hint));
            continue;
        };
        // What a broken description has for parameters is not known.
        if features.broken.contains(name) {
            continue;
        }
        if name == STACK {
            let message = "the feature `stack` comes by itself, one for each of `stacks`";
            let draft = Draft::error(codes::BAD_STACK, entry.document.spot(element.span), message);
            context.push(draft.hint("declare the stack under `stacks`, with this guest in `on`"));
            continue;
        }
        if !feature.spec.is_for(host) {
            wrong_host(entry.document.spot(element.span), feature, host, context);
            continue;
        }
        let what = format!("the feature `{name}`");
        check_given(entry, &what, &feature.spec.parameters, parameters, context, contents);
    }
}

/// Checks what is given for the parameters of a feature, or of a stack of the catalogue: `what` it is.
pub(super) fn check_given<T>(
    entry: &Entry<'_, T>,
    what: &str,
    parameters: &BTreeMap<String, Parameter>,
    given: Option<&Node>,
    context: &mut Context<'_, '_>,
    contents: &mut Contents,
) {
    for (key, member) in given.and_then(Node::members).into_iter().flatten() {
        match parameters.get(key) {
            Some(parameter) => check_parameter(entry, key, member, parameter, context, contents),
            None => unknown_parameter(entry, key, member, what, parameters, context),
        }
    }
}

fn wrong_host(spot: Spot, feature: &Feature, host: HostKind, context: &mut Context<'_, '_>) {
    let features = context.features;
    let fits = |name: &&str| features.get(name).is_some_and(|other| other.spec.is_for(host));
    let others: Vec<String> =
        features.names().into_iter().filter(fits).map(|name| format!("`{name}`")).collect();
    let message = format!("the feature `{}` is not for {}", feature.name, host.plural());
    context.push(Draft::error(codes::WRONG_HOST, spot, message).hint(match host {
        HostKind::Node => format!("for nodes there are {}; else put it in a guest", others.join(", ")),
        HostKind::Guest => "put it under `hypervisor.features`".to_owned(),
    }));
}

fn unknown_parameter<T>(
    entry: &Entry<'_, T>,
    key: &str,
    member: &Member,
    what: &str,
    parameters: &BTreeMap<String, Parameter>,
    context: &mut Context<'_, '_>,
) {
    let settable = parameters.iter().filter(|(_, p)| !p.derived).map(|(name, _)| name.as_str());
    let hint = suggest::hint(key, "its parameters", settable);
    let message = format!("{what} has no parameter `{}`", key.escape_debug());
    let spot = entry.document.spot(member.key);
    context.push(Draft::error(codes::UNKNOWN_PARAMETER, spot, message).maybe_hint(hint));
}

fn check_parameter<T>(
    entry: &Entry<'_, T>,
    key: &str,
    member: &Member,
    parameter: &Parameter,
    context: &mut Context<'_, '_>,
    contents: &mut Contents,
) {
    let spot = entry.document.spot(member.value.span);
    if parameter.derived {
        let message = format!("the parameter `{key}` cannot be set: Phoenix fills it in");
        context.push(
            Draft::error(codes::BAD_PARAMETER, entry.document.spot(member.key), message).hint("remove it"),
        );
        return;
    }
    if parameter.kind == ParameterType::Secret {
        let path = vec![check::Step::Key(key)];
        check::check(&member.value, schema::secret_schema(), entry.document.file, path, context.report);
        return;
    }
    if let Err(wanted) = parameters::check_value(parameter.kind, &member.value) {
        let message = format!("the parameter `{key}` must be {wanted}");
        context.push(Draft::error(codes::BAD_PARAMETER, spot, message));
        return;
    }
    // P-31: a key of it that nothing reads is an error as well.
    if let Some(schema) = &parameter.schema {
        let path = vec![check::Step::Key(key)];
        check::check(&member.value, schema, entry.document.file, path, context.report);
    }
    let folder = match parameter.kind {
        ParameterType::Folder => true,
        ParameterType::File => false,
        _ => return,
    };
    // P-08: what is named exists, and is read now, not when half of the site is made.
    let Some(path) = member.value.text() else { return };
    let read =
        if folder { context.files.folder(path) } else { context.files.file(path).map(|file| vec![file]) };
    match read {
        Ok(files) => {
            contents.read.insert((folder, path.to_owned()), files);
        }
        Err(problem) => {
            context.push(Draft::error(problem.code, spot, problem.message).maybe_hint(problem.hint));
        }
    }
}

/// What the options of a container must be for its features: without them the feature would fail in the guest.
pub(super) fn check_options(
    entry: &Entry<'_, GuestSource>,
    uses: &[FeatureUse],
    options: &BTreeMap<String, String>,
    unprivileged: bool,
    context: &mut Context<'_, '_>,
) {
    for used in uses {
        let features = context.features;
        let Some(feature) = features.get(&used.name).filter(|_| !features.broken.contains(&used.name)) else {
            continue;
        };
        // A privileged container may use the kernel's keyrings anyway, and Proxmox VE refuses the option there.
        let needed = feature.spec.options.iter().filter(|o| unprivileged || *o != "keyctl");
        let missing: Vec<&str> =
            needed.map(String::as_str).filter(|option| !options.contains_key(*option)).collect();
        if missing.is_empty() {
            continue;
        }
        let list: Vec<String> = missing.iter().map(|option| format!("`{option}`")).collect();
        let keys: Vec<String> = missing.iter().map(|option| format!("\"{option}\": true")).collect();
        let s = if missing.len() == 1 { "" } else { "s" };
        let message =
            format!("the feature `{}` needs the container's option{s} {}", used.name, list.join(" and "));
        let hint = format!("\"options\": {{ {} }}", keys.join(", "));
        context.push(Draft::error(codes::MISSING_OPTION, entry.key(), message).hint(hint));
    }
}

/// The features of a guest, or of the node, in the order they are put in: what one requires comes before it.
pub(super) fn of_host<T>(
    host: &str,
    entry: &Entry<'_, T>,
    declared: &[FeatureDeclaration],
    contents: &Contents,
    context: &mut Context<'_, '_>,
) -> Vec<FeatureUse> {
    let by_name: BTreeMap<&str, &FeatureDeclaration> =
        declared.iter().map(|d| (d.name.as_str(), d)).collect();
    let mut uses: Vec<FeatureUse> = Vec::new();
    let mut placed = BTreeSet::new();
    for declaration in declared {
        for name in context.features.closure(&declaration.name) {
            if !placed.insert(name.clone()) {
                continue;
            }
            let features = context.features;
            let Some(feature) = features.get(&name) else { continue };
            let own = by_name.get(name.as_str()).copied();
            let parameters: BTreeMap<String, Value> =
                own.map(|d| d.parameters.clone().into_iter().collect()).unwrap_or_default();
            if !features.broken.contains(&name) {
                missing(
                    host,
                    entry,
                    feature,
                    &parameters,
                    own.unwrap_or(declaration),
                    own.is_some(),
                    context,
                );
            }
            let contents = held(feature, &parameters, contents);
            let location = own.unwrap_or(declaration).location.clone();
            uses.push(FeatureUse { name, parameters, contents, declared: location });
        }
    }
    uses
}

fn held(
    feature: &Feature,
    parameters: &BTreeMap<String, Value>,
    contents: &Contents,
) -> BTreeMap<String, Vec<SiteFile>> {
    let mut held = BTreeMap::new();
    for (key, value) in parameters {
        let folder = match feature.spec.parameters.get(key).map(|p| p.kind) {
            Some(ParameterType::Folder) => true,
            Some(ParameterType::File) => false,
            _ => continue,
        };
        if let Some(files) = value.as_str().and_then(|path| contents.read.get(&(folder, path.to_owned()))) {
            held.insert(key.clone(), files.clone());
        }
    }
    held
}

fn missing<T>(
    host: &str,
    entry: &Entry<'_, T>,
    feature: &Feature,
    given: &BTreeMap<String, Value>,
    declaration: &FeatureDeclaration,
    direct: bool,
    context: &mut Context<'_, '_>,
) {
    let name = &feature.name;
    let needed = feature.spec.parameters.iter().filter(|(_, p)| p.default.is_none() && !p.derived);
    for (key, parameter) in needed {
        if given.contains_key(key) {
            continue;
        }
        let mut message = format!("the feature `{name}` of `{host}` needs the parameter `{key}`");
        if !direct {
            message = format!("{message}; it is there because `{}` requires it", declaration.name);
        }
        let hint = format!("such as {{\"{name}\": {{{}}}}}{}", example(key, parameter), about(parameter));
        let mut draft = Draft::error(codes::MISSING_PARAMETER, declaration.spot, message).hint(hint);
        let own: Spot = entry.key();
        if !entry.node().span.contains(declaration.spot.span) || declaration.spot.file != own.file {
            draft = draft.related(own, "the guest");
        }
        context.push(draft);
    }
}

/// A parameter with a value, as it is written.
pub(super) fn example(key: &str, parameter: &Parameter) -> String {
    let sample = match parameters::sample(parameter.kind) {
        // With blanks, as a person would write it.
        Value::Object(_) => "{\"env\": \"NAME\"}".to_owned(),
        plain => plain.to_string(),
    };
    format!("\"{key}\": {sample}")
}

/// What a parameter means, behind an example of it.
pub(super) fn about(parameter: &Parameter) -> String {
    if parameter.description.is_empty() { String::new() } else { format!(": {}", parameter.description) }
}
