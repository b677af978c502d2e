//! Stacks: what brings each about in its guest.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint::model::{Blueprint, FeatureUse, STACK, SecretRef, Stack as Declared};
use blueprint::names::GuestName;
use serde_json::Value;

use super::derived::Known;
use super::{Derived, Findings, Renderer, WireError, guests, values};
use crate::address::Address;
use crate::desired::{Feature, Stack};
use crate::host::Host;
use crate::told::{self, Named, Told};

/// The feature's parameter for all that is in a stack's folder.
const FILES: &str = "files";

/// All of them, by name.
pub(super) fn stacks(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    ids: &BTreeMap<GuestName, u32>,
    known: &Known<'_>,
    findings: &mut Findings,
) -> BTreeMap<String, Stack> {
    let mut stacks = BTreeMap::new();
    for declared in blueprint.stacks.values() {
        note(declared, findings);
        if let Some(stack) = findings.ok(definite(blueprint, renderer, ids, known, declared)).flatten() {
            stacks.insert(declared.name.clone(), stack);
        }
    }
    stacks
}

/// Who may ask Docker sees what is in the environment of containers.
fn note(declared: &Declared, findings: &mut Findings) {
    let names: Vec<&str> = declared.secret_env.keys().map(String::as_str).collect();
    if !names.is_empty() {
        let address = Address::stack(&declared.name);
        findings.notes.push(format!(
            "{address} has secrets in the environment of containers ({}), where whoever may ask Docker sees them: `secrets` of the \
             stack makes files of them, which many images read where a variable ends in `_FILE`",
            names.join(", ")
        ));
    }
}

fn definite(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    ids: &BTreeMap<GuestName, u32>,
    known: &Known<'_>,
    declared: &Declared,
) -> Result<Option<Stack>, WireError> {
    let (Some(guest), Some(id)) = (blueprint.guests.get(&declared.on), ids.get(&declared.on)) else {
        return Ok(None);
    };
    let (facts, site) = guests::facts(guest, *id, known);
    let used = FeatureUse {
        name: STACK.to_owned(),
        parameters: BTreeMap::from([(FILES.to_owned(), ".".into())]),
        contents: BTreeMap::from([(FILES.to_owned(), declared.files.clone())]),
        declared: declared.declared.clone(),
    };
    let own = values(Address::stack(&declared.name), &told(declared))?;
    let derived = Derived { common: &BTreeMap::new(), own: &own };
    let (fingerprint, payload) = renderer.render(&used, derived, &[], &facts, &site)?;
    let name = Stack::feature_name(&declared.name);
    let mut payload = Value::clone(&payload);
    payload["name"] = Value::from(name.as_str());
    Ok(Some(Stack {
        name: declared.name.clone(),
        on: declared.on.clone(),
        host: Host::of_guest(guest),
        project: declared.project.clone(),
        feature: Feature {
            name,
            fingerprint,
            payload: Arc::new(payload),
            declared: Some(declared.declared.clone()),
            stage: 0,
        },
        declared: declared.declared.clone(),
    }))
}

/// What the feature is told.
fn told(declared: &Declared) -> Told {
    let secret = |(name, reference): (&String, &SecretRef)| {
        let value = told::Secret { secret: reference.clone() };
        Named { name: name.clone(), value }
    };
    let variable = |(name, value): (&String, &String)| Named { name: name.clone(), value: value.clone() };
    Told {
        stack: Some(told::Stack {
            name: declared.name.clone(),
            project: declared.project.clone(),
            adopts: declared.adopts,
            compose: declared.compose.join(":"),
            within: declared.within.as_secs(),
            restores: declared.restores,
            dotenv: declared.dotenv.clone(),
            env: declared.env.iter().map(variable).collect(),
            secret_env: declared.secret_env.iter().map(secret).collect(),
        }),
        stack_secrets: Some(declared.secrets.iter().map(secret).collect()),
        ..Told::default()
    }
}
