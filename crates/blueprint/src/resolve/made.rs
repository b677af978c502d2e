//! Templates and images that are guests: golden ones of the blueprint, which become templates, and such as are there already.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::merge::{circle_error, short_need};
use crate::catalog::{Feature, ParameterType};
use crate::codes;
use crate::cycles;
use crate::model::{FeatureUse, Guest, GuestKind, Guests, Image, ImageFrom, Of};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::GuestSource;
use crate::values::Text;

/// What is written of a guest that others are clones of.
pub(super) struct Written<'s> {
    pub from: Option<&'s Text>,
    pub guest: Option<u32>,
    pub kind: GuestKind,
}

impl Written<'_> {
    /// Where it comes from: nothing where it is no guest, and nothing in it where that is wrong.
    pub fn origin<T>(
        &self,
        entry: &Entry<'_, T>,
        context: &mut Context<'_, '_>,
    ) -> Option<Option<ImageFrom>> {
        let key = if self.from.is_some() { "from" } else { "guest" };
        if self.from.is_none() && self.guest.is_none() {
            return None;
        }
        for idle in
            ["sha256", "format", "storage"].into_iter().filter(|idle| entry.node().get(idle).is_some())
        {
            let message = format!("`{idle}` has no effect beside `{key}`: a guest is no file on a storage");
            let draft = Draft::error(codes::BAD_VALUE, entry.key_spot(&[idle]), message);
            context.push(draft.hint("remove it"));
        }
        let Some(from) = self.from else { return Some(self.guest.map(ImageFrom::Guest)) };
        let name = match from.0.split_once('.') {
            Some((kind, name)) if kind == self.kind.as_str() => name,
            _ => {
                let (word, what) = (self.kind.as_str(), self.kind.key());
                let message = format!("`from` is to be `{word}.NAME`, one of `{what}`, and not `{}`", from.0);
                context.push(Draft::error(codes::BAD_VALUE, entry.spot(&["from"]), message));
                return Some(None);
            }
        };
        let of_kind =
            |guest: &Entry<'_, GuestSource>| guest.value.as_ref().is_none_or(|it| it.of == self.kind);
        let all = context.namespace.guests.iter().filter(|(_, guest)| of_kind(guest));
        let names: Vec<&str> = all.map(|(name, _)| name.as_str()).collect();
        if !names.contains(&name) {
            context.dangling(entry.spot(&["from"]), self.kind.as_str(), name, &names);
            return Some(None);
        }
        Some(Some(ImageFrom::Golden(name.into())))
    }
}

/// What a guest is made of, by its name among templates or images.
fn made_of(guest: &Guest) -> Option<(&'static str, &str)> {
    match &guest.of {
        Of::Container(own) => Some(("template", &own.template)),
        Of::Vm(own) => own.image.as_deref().map(|image| ("image", image)),
    }
}

/// Golden guests can be templates, clones have something to be clones of, and none is made of itself.
pub(super) fn check(
    guests: &Guests,
    templates: &BTreeMap<String, Arc<Image>>,
    images: &BTreeMap<String, Arc<Image>>,
    context: &mut Context<'_, '_>,
) {
    let origin = |guest: &Guest| {
        let (_, name) = made_of(guest)?;
        let all = if guest.kind() == GuestKind::Container { templates } else { images };
        all.get(name).filter(|image| image.from.is_cloned())
    };
    let namespace = context.namespace;
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, guest) in guests {
        let Some(entry) = namespace.guests.get(&**name) else { continue };
        let from = origin(guest);
        if guest.linked && from.is_none() && !namespace.blind {
            let what = made_of(guest)
                .map_or_else(|| "nothing".to_owned(), |(key, name)| format!("the {key} `{name}`"));
            let message =
                format!("`{name}` cannot be a linked clone: {what} is no guest that could be cloned");
            let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["clone"]), message);
            context.push(draft.hint(
                "what is cloned is declared under `templates` or `images`, with `from` or `guest`; leave `clone` out otherwise",
            ));
        }
        if let Some(ImageFrom::Golden(golden)) = from.map(|image| &image.from) {
            edges.entry(name).or_default().push(golden);
        }
    }
    for circle in cycles::find(&edges) {
        let spots: Vec<Spot> =
            circle.iter().filter_map(|name| namespace.guests.get(*name)).map(Entry::key).collect();
        circle_error("guests are clones of each other in a circle", &circle, &spots, context);
    }
    let golden = templates.values().chain(images.values()).filter_map(|image| match &image.from {
        ImageFrom::Golden(name) => Some((name, (&image.name, guests.get(name)?))),
        _ => None,
    });
    // Several names may be of one guest.
    for (image, guest) in golden.collect::<BTreeMap<_, _>>().into_values() {
        if let Some(entry) = namespace.guests.get(&*guest.name) {
            check_golden(image, guest, entry, guests, context);
        }
    }
}

/// A template never runs, and whatever is in it is in each of its clones.
fn check_golden(
    image: &str,
    guest: &Guest,
    entry: &Entry<'_, GuestSource>,
    guests: &Guests,
    context: &mut Context<'_, '_>,
) {
    let name = &guest.name;
    let mut refuse = |spot: Spot, why: String, hint: &str| {
        let message = format!("`{name}` becomes the template of `{image}`, {why}");
        context.report.push(Draft::error(codes::GOLDEN, spot, message).hint(hint));
    };
    if !guest.services.is_empty() {
        let why = "which never runs, and has services".to_owned();
        refuse(entry.key_spot(&["services"]), why, "give them to the guests that are made of it");
    }
    for stack in context.namespace.stacks.values() {
        let on = stack.value.as_ref().map(|source| short_need(&source.on.0));
        if on == Some(&**name) {
            let why = "which never runs, and a stack is on it".to_owned();
            refuse(stack.spot(&["on"]), why, "put the stack on a guest that is made of it");
        }
    }
    for (other, needs) in guests.iter().filter(|(_, other)| other.needs.contains(name)) {
        let why = format!("which never runs, and `{other}` needs that it is healthy");
        let spot =
            context.namespace.guests.get(&*needs.name).map_or_else(|| entry.key(), |it| it.spot(&["needs"]));
        let message = format!("`{name}` becomes the template of `{image}`, {why}");
        let draft = Draft::error(codes::GOLDEN, spot, message);
        context.report.push(draft.hint("what is made of it comes after it anyway; take it out of `needs`"));
    }
    let features = context.features;
    for (feature, used) in guest.all_features(|name| features.get(name).map(AsRef::as_ref)) {
        let Some(why) = not_for_all(feature, used) else { continue };
        let spot = entry.spot(&["features"]);
        let message =
            format!("`{name}` becomes the template of `{image}`, and its feature `{}` {why}", feature.name);
        let draft = Draft::error(codes::GOLDEN, spot, message);
        context.report.push(draft.hint("give the feature to the guests that are made of it"));
    }
}

/// Why a feature has no place in what others are clones of: what is one guest's alone would be each clone's.
fn not_for_all(feature: &Feature, used: Option<&FeatureUse>) -> Option<String> {
    let spec = &feature.spec;
    let given = |name: &str| {
        let own = used.and_then(|used| used.parameters.get(name));
        own.or_else(|| spec.parameters.get(name)?.default.as_ref())
    };
    if let Some(part) = spec.provides.iter().find(|word| PARTS.contains(&word.as_str())) {
        return Some(format!("makes it the workshop's {part}, which has to run"));
    }
    let uses = spec.certificate.as_ref().is_some_and(|certificate| {
        certificate.when.as_ref().is_none_or(|when| given(when).is_some_and(|on| on.as_bool() == Some(true)))
    });
    if uses {
        return Some("has a certificate, which every clone would have, too".to_owned());
    }
    let secret = spec.parameters.iter().filter(|(name, _)| given(name).is_some()).find(|(_, parameter)| {
        let nested =
            || parameter.schema.as_ref().is_some_and(|schema| schema.to_string().contains("\"secret\""));
        parameter.kind == ParameterType::Secret || nested()
    });
    secret.map(|(name, _)| format!("has the secret `{name}`, which every clone would have, too"))
}

/// The parts of a workshop that somebody waits for.
const PARTS: [&str; 5] = ["gateway", "mesh", "dns", "ca", "package-cache"];
