//! Stacks that come from the catalogue: its parameters checked, what it says under what the site says, and the memory that it takes.

use std::collections::BTreeMap;

use super::super::features;
use super::Folder;
use crate::codes;
use crate::model::{Guests, Site};
use crate::names::GuestName;
use crate::namespace::Entry;
use crate::report::Draft;
use crate::resolve::Context;
use crate::source::{ServiceSource, StackSource};
use crate::stack_files::{Offer, Place, STACK_CATALOG};
use crate::suggest;
use crate::values::MemorySize;

/// What the stack of the catalogue makes of `source`, and its folder; `None` where that cannot be told, which the report then says.
pub(super) fn offered(
    name: &str,
    entry: &Entry<'_, StackSource>,
    source: &StackSource,
    from: &str,
    site: Option<&Site>,
    context: &mut Context<'_, '_>,
) -> Option<(StackSource, Folder)> {
    let spot = entry.spot(&["from"]);
    let known = context.features;
    let Some(stack) = known.stack(from) else {
        let names = known.stack_names();
        let hint = suggest::hint(from, "there are", names.iter().copied());
        let own = format!("one of the site's own is a folder `{STACK_CATALOG}/NAME/`");
        let message = format!("there is no stack `{}` in the catalogue", from.escape_debug());
        context.push(Draft::error(codes::DANGLING, spot, message).hint(hint.unwrap_or(own)));
        return None;
    };
    // What a broken description has for parameters is not known.
    if known.broken_stacks.contains(from) {
        return None;
    }
    let parameters = &stack.spec.parameters;
    let errors = context.report.error_spots().len();
    let what = format!("the stack `{from}` of the catalogue");
    let contents = &mut features::Contents::default();
    features::check_given(entry, &what, parameters, entry.node().get("with"), context, contents);
    let given = source.with.clone().unwrap_or_default();
    let lacks = |(key, parameter): &(&String, &crate::catalog::Parameter)| {
        parameter.default.is_none() && !given.contains_key(*key)
    };
    for (key, parameter) in parameters.iter().filter(lacks) {
        let message = format!("the stack `{name}` needs the parameter `{key}` of `{from}`");
        let (example, about) = (features::example(key, parameter), features::about(parameter));
        let hint = format!("such as \"with\": {{{example}}}{about}");
        context.push(Draft::error(codes::MISSING_PARAMETER, spot, message).hint(hint));
    }
    if context.report.error_spots().len() > errors {
        return None;
    }
    let (site, domain) = site.map_or(("", ""), |site| (&*site.name, &*site.domain));
    match stack.offer(Place { stack: name, site, domain }, &given) {
        Ok(mut offer) => {
            let files = std::mem::take(&mut offer.files);
            let top = if stack.built_in { "stacks" } else { STACK_CATALOG };
            let folder = Folder { spot, path: format!("{top}/{from}"), files, alone: false };
            Some((over(source.clone(), offer), folder))
        }
        Err(wrong) => {
            let message = format!("{what} cannot be filled in: {}", wrong.message);
            context.push(Draft::error(codes::BAD_STACK, spot, message));
            None
        }
    }
}

/// What the site says, and what the catalogue does where it says nothing.
fn over(mut site: StackSource, offer: Offer) -> StackSource {
    let env = site.env.get_or_insert_default();
    for (name, form) in offer.env {
        env.entry(name).or_insert(form);
    }
    let secrets = site.secrets.get_or_insert_default();
    for (name, secret) in offer.secrets {
        secrets.entry(name).or_insert(secret);
    }
    let services = site.services.get_or_insert_default();
    for (name, service) in offer.services {
        // A service is known by its port, so that the site can give it another name.
        let same = services.iter().find(|(own, it)| own.as_str() == name || it.port == service.port);
        let (name, service) = match same.map(|(own, it)| (own.clone(), it.clone())) {
            Some((own, it)) => (own, ServiceSource::over(it, &service)),
            None => (name, service),
        };
        services.insert(name, service);
    }
    site.within = site.within.or(offer.within);
    site
}

/// The memory that stacks of the catalogue usually take, by guest: each stack with its MiB.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<GuestName, Vec<(String, u64)>>);

impl Memory {
    pub fn add(&mut self, on: &GuestName, name: &str, source: &StackSource, context: &Context<'_, '_>) {
        let known = source.from.as_ref().and_then(|from| context.features.stack(from));
        if let Some(memory) = known.and_then(|stack| stack.spec.memory) {
            self.0.entry(on.clone()).or_default().push((name.to_owned(), memory));
        }
    }

    /// Each guest has what its stacks usually take.
    pub fn check(self, guests: &Guests, context: &mut Context<'_, '_>) {
        let namespace = context.namespace;
        let shown = |mib: u64| MemorySize { mib }.to_string();
        for (name, stacks) in self.0 {
            let (Some(guest), Some(entry)) = (guests.get(&name), namespace.guests.get(&*name)) else {
                continue;
            };
            let takes: u64 = stacks.iter().map(|(_, mib)| mib).sum();
            if takes <= guest.memory_mib {
                continue;
            }
            let each: Vec<String> =
                stacks.iter().map(|(stack, mib)| format!("`{stack}` {}", shown(*mib))).collect();
            let message = format!(
                "`{name}` has {} of memory, and its stacks usually take {}: {}",
                shown(guest.memory_mib),
                shown(takes),
                each.join(", ")
            );
            let draft = Draft::warning(codes::STACK_MEMORY, entry.key_spot(&["memory"]), message);
            context.push(draft.hint("give it more `memory`, or put one of them on another guest"));
        }
    }
}
