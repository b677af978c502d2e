//! What a guest is made of: whether its node has it, and where it is put otherwise. Pure.

use blueprint::model::{Content, ImageFrom};
use blueprint::names::NodeName;
use plan::Address;
use plan::desired::Image;
use plan::host::Host;
use plan::planner::World;

use super::{Fetch, From, names};
use crate::guests::offer;
use crate::privileges::or_unseen;

/// What a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its volume id, `local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst`.
    pub volume: String,
    /// The step that puts it there, where it is not there yet.
    pub step: Option<Address>,
}

/// Why it cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Where a template or an image is.
pub(super) enum Found {
    /// On the node, as this volume.
    There(String),
    /// Nowhere yet.
    Missing(Box<Fetch>),
}

impl Found {
    fn source(self, address: Address) -> Source {
        match self {
            Self::There(volume) => Source { volume, step: None },
            Self::Missing(fetch) => Source { volume: fetch.volume(), step: Some(address) },
        }
    }
}

/// The template that a guest's `template` means on its node: the one that is declared under this name, else a volume id or the
/// beginning of a file name. `on` is the node as the blueprint has it, and `node` that node's name.
///
/// # Errors
/// When it is not there and cannot be had.
pub fn template(world: World<'_>, wanted: &str, on: Option<&NodeName>, node: &str) -> Result<Source, Lack> {
    let address = Address::template(wanted, &Host::Node(on.cloned()));
    let found = match world.desired.images.get(&address) {
        Some(image) => declared(world, image, node),
        None => undeclared(world, wanted, node),
    };
    Ok(found?.source(address))
}

/// The image that is declared under this name, on a guest's node, or a volume that is there. `on` and `node` as of [`template`].
///
/// # Errors
/// When it is not there and cannot be had.
pub fn image(world: World<'_>, name: &str, on: Option<&NodeName>, node: &str) -> Result<Source, Lack> {
    let address = Address::image(name, &Host::Node(on.cloned()));
    match world.desired.images.get(&address) {
        Some(image) => declared(world, image, node).map(|found| found.source(address)),
        None => volume(world, name, node),
    }
}

/// The storage of a volume, and what it is there, `local:import/debian-13.qcow2`; `None` where it is of another form.
pub(super) fn volume_of(volume: &str) -> Option<(&str, Content)> {
    let (storage, rest) = volume.split_once(':')?;
    let content =
        [Content::Disk, Content::Iso].into_iter().find(|it| rest.split('/').next() == Some(it.as_str()))?;
    Some((storage, content))
}

/// A volume that no blueprint declares. Where its storage could not be looked into the node itself will say it.
fn volume(world: World<'_>, volume: &str, node: &str) -> Result<Source, Lack> {
    let facts = world.inventory.facts(node);
    let there = Ok(Source { volume: volume.to_owned(), step: None });
    let Some((storage, content)) = volume_of(volume) else { return there };
    put_on(world, content, Some(storage), node)?;
    let listed = facts.listed.contains(&(storage.to_owned(), content.as_str().to_owned()));
    if !listed || facts.images.contains(volume) {
        return there;
    }
    let begin = format!("{storage}:{}/", content.as_str());
    let have: Vec<&str> = facts.images.iter().filter_map(|it| it.strip_prefix(&begin)).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let unseen = or_unseen("Datastore.Audit or Datastore.AllocateSpace", &format!("/storage/{storage}"));
    Err(Lack {
        code: "plan::no-image",
        message: format!("{node} has no {volume}; {storage} has {have}"),
        hint: format!(
            "declare it under `images`, with a `url` or a `file`, and Phoenix puts it there; {unseen}"
        ),
    })
}

/// Where a template or an image of the blueprint is.
pub(super) fn declared(world: World<'_>, image: &Image, node: &str) -> Result<Found, Lack> {
    let facts = world.inventory.facts(node);
    let storage = image.storage.as_deref();
    let (stored, size, from) = match &image.from {
        ImageFrom::Catalogue(begin) => return of_catalogue(world, begin, storage, node),
        ImageFrom::Golden(_) | ImageFrom::Guest(_) => {
            return Err(Lack {
                code: "plan::no-template",
                message: format!("`{}` is a guest, and no file of {node}", image.name),
                hint: "it can be `image` or `template` of a guest, which is a clone of it then".into(),
            });
        }
        ImageFrom::Url { url, sha256, stored } => {
            (stored, None, From::Url { url: url.clone(), sha256: sha256.clone() })
        }
        ImageFrom::File { path, size, sha256, stored } => {
            let from = From::File { path: path.clone(), size: *size, sha256: sha256.clone() };
            (stored, Some(*size), from)
        }
    };
    let content = image.content;
    let ending = format!(":{}/{stored}", content.as_str());
    // An upload that was cut off is shorter than it is to be.
    let whole = |volume: &&String| size.is_none() || facts.sizes.get(*volume).copied() == size;
    let mut fits = facts.templates.iter().chain(&facts.images).filter(|v| v.ends_with(&ending)).filter(whole);
    let named =
        |volume: &String| storage.is_some_and(|storage| volume.strip_prefix(storage) == Some(&ending));
    let first = fits.clone().find(|volume| named(volume));
    if let Some(volume) = first.or_else(|| fits.next()) {
        return Ok(Found::There(volume.clone()));
    }
    let storage = put_on(world, content, storage, node)?;
    Ok(Found::Missing(Box::new(Fetch { node: node.into(), storage, content, file: stored.clone(), from })))
}

/// Where a template is that no blueprint declares.
pub(super) fn undeclared(world: World<'_>, wanted: &str, node: &str) -> Result<Found, Lack> {
    match wanted.split_once(":vztmpl/") {
        // A whole volume id says the storage, too.
        Some((storage, file)) if !world.inventory.facts(node).templates.contains(wanted) => {
            of_catalogue_only(world, file, Some(storage), node, wanted)
        }
        _ => of_catalogue(world, wanted, None, node),
    }
}

fn of_catalogue(world: World<'_>, begin: &str, storage: Option<&str>, node: &str) -> Result<Found, Lack> {
    match names::there(begin, world.inventory.facts(node)) {
        Some(volume) => Ok(Found::There(volume)),
        None => of_catalogue_only(world, begin, storage, node, begin),
    }
}

fn of_catalogue_only(
    world: World<'_>,
    begin: &str,
    storage: Option<&str>,
    node: &str,
    wanted: &str,
) -> Result<Found, Lack> {
    let facts = world.inventory.facts(node);
    let newest = facts.catalogue.as_ref().and_then(|catalogue| names::newest(begin, catalogue));
    let Some(file) = newest else { return Err(unknown(world, begin, node, wanted)) };
    let content = Content::Template;
    let storage = put_on(world, content, storage, node)?;
    let (node, file) = (node.to_owned(), file.to_owned());
    Ok(Found::Missing(Box::new(Fetch { node, storage, content, file, from: From::Catalogue })))
}

/// Neither the node nor its catalogue has it.
fn unknown(world: World<'_>, begin: &str, node: &str, wanted: &str) -> Lack {
    let facts = world.inventory.facts(node);
    let have: Vec<&str> =
        facts.templates.iter().filter_map(|t| t.split_once("vztmpl/").map(|(_, f)| f)).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let on = offer::on(world.inventory, node);
    let unseen = or_unseen("Datastore.Audit or Datastore.AllocateSpace", "/storage/local");
    let code = "plan::no-template";
    let Some(catalogue) = &facts.catalogue else {
        return Lack {
            code,
            message: format!("{node} has no template `{wanted}`; it has {have}"),
            hint: format!(
                "{on}: pveam update && pveam available --section system | grep {begin}, then pveam download local FILE; {unseen}"
            ),
        };
    };
    let message = match catalogue.is_empty() {
        true => format!("{node} has no template `{wanted}`, and its catalogue is empty; it has {have}"),
        false => format!(
            "{node} has no template `{wanted}`, and its catalogue has none whose name begins so; it has {have}"
        ),
    };
    let near = names::near(begin, catalogue).map(|near| format!("did you mean `{near}`? "));
    Lack {
        code,
        message,
        hint: format!(
            "{}what its catalogue has, {on}: pveam update && pveam available --section system; or declare it under `templates`, \
             with a `url` or a `file`; {unseen}",
            near.unwrap_or_default()
        ),
    }
}

/// What may be on a storage, as people say it.
fn shown(content: Content) -> &'static str {
    match content {
        Content::Template => "templates (vztmpl)",
        Content::Disk => "disk images to import (import)",
        Content::Iso => "ISO images (iso)",
    }
}

/// The storage that a file is put on: the one that is wanted, else `local`, which a node has from the start, else the first.
fn put_on(world: World<'_>, content: Content, wanted: Option<&str>, node: &str) -> Result<String, Lack> {
    // What the blueprint declares will be as it says: its step comes before.
    if let Some(declared) = wanted.and_then(|name| world.desired.storages.get(name))
        && declared.is_on(node)
        && declared.holds(content.as_str())
    {
        return Ok(declared.name.clone());
    }
    let facts = world.inventory.facts(node);
    let holds = |name: &str| {
        facts.storages.get(name).is_some_and(|it| it.active && it.content.contains(content.as_str()))
    };
    let can: Vec<&str> = facts.storages.keys().map(String::as_str).filter(|name| holds(name)).collect();
    let message = match wanted {
        // Where they could not be read the node itself will say it.
        Some(name) if facts.storages.is_empty() || can.contains(&name) => return Ok(name.to_owned()),
        None if can.contains(&"local") => return Ok("local".to_owned()),
        None => match can.first() {
            Some(first) => return Ok((*first).to_owned()),
            None => format!("{node} has no active storage that may hold {}", shown(content)),
        },
        Some(name) => match facts.storages.get(name) {
            None => format!("{node} has no storage `{name}`"),
            Some(storage) if !storage.active => format!("the storage {name} of {node} is not active"),
            Some(_) => format!("the storage {name} of {node} may not hold {}", shown(content)),
        },
    };
    let unseen = match wanted.is_some_and(|name| facts.storages.contains_key(name)) {
        true => String::new(),
        false => {
            let path = wanted.map_or_else(|| "/storage".to_owned(), |name| format!("/storage/{name}"));
            format!("; {}", or_unseen("Datastore.Audit", &path))
        }
    };
    let hint = match can.as_slice() {
        [] => format!("let a storage of the node hold `{}`: Datacenter → Storage{unseen}", content.as_str()),
        can => format!("these can be used: {}{unseen}", can.join(", ")),
    };
    Err(Lack { code: "plan::no-storage", message, hint })
}
