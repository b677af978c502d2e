//! Stacks: each on a guest with Docker, with a compose file that is there, the site's own or one of the catalogue, that says what it
//! needs and publishes what its services are at.

mod offered;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::services;
use super::{Context, merge};
use crate::codes;
use crate::compose::{Compose, NAMES, OVERRIDES};
use crate::model::{Acme, DOCKER, Guests, LONGEST, SecretRef, Site, SiteFile, Stack};
use crate::names::GuestName;
use crate::namespace::{Entry, Namespace};
use crate::report::{Draft, Spot};
use crate::source::{OnFailureSource, StackSource, VariableForm};
use crate::suggest;

/// How long containers may take where nothing is said.
const WITHIN: Duration = Duration::from_mins(3);

/// Variables that are there for every compose file.
pub(super) const GIVEN: [&str; 5] =
    ["PHOENIX_SITE", "PHOENIX_DOMAIN", "PHOENIX_GUEST", "PHOENIX_ADDRESS", "PHOENIX_TIMEZONE"];

/// What Compose reads for variables.
const DOTENV: &str = ".env";

/// The file that has the digests of images; Compose reads it over the others.
const DIGESTS: &str = "phoenix-images.yaml";

/// Which image a name stands for.
pub(super) fn digests(namespace: &Namespace<'_>) -> BTreeMap<String, String> {
    let said = namespace.image_digests.iter();
    said.filter_map(|(name, entry)| Some((name.clone(), entry.value.as_ref()?.0.clone()))).collect()
}

/// All stacks, by name; their services become services of their guests.
pub(super) fn stacks(
    site: Option<&Site>,
    guests: &mut Guests,
    acme: Option<&Acme>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, Arc<Stack>> {
    let namespace = context.namespace;
    let mut stacks = BTreeMap::new();
    let mut memory = offered::Memory::default();
    for (name, entry) in &namespace.stacks {
        let Some(source) = &entry.value else { continue };
        let Some(on) = guest(entry, source, guests, context) else { continue };
        let (source, folder) = said(name, entry, source, site, context);
        let source = &*source;
        memory.add(&on, name, source, context);
        let read = folder.and_then(|folder| Read::new(entry, source, folder, context));
        let own = services::services(entry.written(), Some(name), source.services.as_ref(), acme, context);
        if let Some(read) = &read {
            for service in own.values() {
                published(entry, name, &service.name, service.port, &read.compose, context);
            }
        }
        if let Some(guest) = guests.get_mut(&on) {
            services::put_together(guest, own, entry.written(), context);
        }
        if let Some(read) = read {
            stacks.insert(name.clone(), Arc::new(stack(name, on, entry, source, read, context)));
        }
    }
    together(&stacks, context);
    memory.check(guests, context);
    stacks
}

/// All that is said of a stack, at the site and by the one of the catalogue that it comes from; and the folder with its compose file,
/// where there is one.
fn said<'s>(
    name: &str,
    entry: &Entry<'_, StackSource>,
    source: &'s StackSource,
    site: Option<&Site>,
    context: &mut Context<'_, '_>,
) -> (Cow<'s, StackSource>, Option<Folder>) {
    let just = |folder| (Cow::Borrowed(source), folder);
    match (&source.compose, &source.from) {
        (Some(path), None) => {
            if source.with.is_some() {
                let message = format!("`with` of the stack `{name}` has no effect");
                let draft = Draft::error(codes::BAD_STACK, entry.key_spot(&["with"]), message);
                context.push(draft.hint("it is for one of the catalogue, which `from` names"));
            }
            just(Folder::of_site(entry.spot(&["compose"]), &path.0, context))
        }
        (None, Some(from)) => match offered::offered(name, entry, source, from, site, context) {
            Some((merged, folder)) => (Cow::Owned(merged), Some(folder)),
            None => just(None),
        },
        (Some(_), Some(_)) => {
            let message = format!("the stack `{name}` has both `compose` and `from`");
            let draft = Draft::error(codes::NOT_ONE, entry.key_spot(&["from"]), message);
            let draft = draft.related(entry.key_spot(&["compose"]), "the other");
            context
                .push(draft.hint("a folder of the site with `compose`, or one of the catalogue with `from`"));
            just(None)
        }
        (None, None) => {
            if !entry.damaged {
                let message = format!("the stack `{name}` has neither `compose` nor `from`");
                let hint = "add \"compose\": \"stacks/NAME\", a folder of the site, or \"from\": one of the catalogue";
                context.push(Draft::error(codes::NOT_ONE, entry.key(), message).hint(hint));
            }
            just(None)
        }
    }
}

fn stack(
    name: &str,
    on: GuestName,
    entry: &Entry<'_, StackSource>,
    source: &StackSource,
    read: Read,
    context: &mut Context<'_, '_>,
) -> Stack {
    let within = source.within.map_or(WITHIN, |wait| wait.0);
    if within > LONGEST {
        let message = format!("`within` of the stack `{name}` is too long");
        let draft = Draft::error(codes::BAD_STACK, entry.spot(&["within"]), message);
        context.push(draft.hint(format!("at most \"{}m\"", LONGEST.as_secs() / 60)));
    }
    let (mut env, mut secret_env) = (BTreeMap::new(), BTreeMap::new());
    for (variable, form) in source.env.iter().flatten() {
        let text = match form {
            VariableForm::Text(text) => text.clone(),
            VariableForm::Number(number) => number.to_string(),
            VariableForm::Flag(flag) => flag.to_string(),
            VariableForm::Secret(secret) => {
                secret_env.extend(secret.reference().map(|it| (variable.clone(), it)));
                continue;
            }
        };
        if text.contains(['\n', '\r', '\0']) {
            let message = format!("the variable `{variable}` of the stack `{name}` has more than one line");
            let draft = Draft::error(codes::BAD_STACK, entry.spot(&["env", variable]), message);
            context.push(draft.hint("put it into a file beside the compose file, which containers mount"));
        }
        env.insert(variable.clone(), text);
    }
    let secrets: BTreeMap<String, SecretRef> = source
        .secrets
        .iter()
        .flatten()
        .filter_map(|(file, secret)| Some((file.clone(), secret.reference()?)))
        .collect();
    Stack {
        name: name.to_owned(),
        on,
        project: source.project.as_ref().map_or_else(|| name.to_owned(), |project| project.0.clone()),
        adopts: source.project.is_some(),
        files: read.files,
        compose: read.reads,
        images: read.compose.images,
        dotenv: read.dotenv,
        env,
        secret_env,
        secrets,
        within,
        restores: source.on_failure != Some(OnFailureSource::Keep),
        declared: entry.location(context.report),
    }
}

/// The guest of a stack, which has Docker.
fn guest(
    entry: &Entry<'_, StackSource>,
    source: &StackSource,
    guests: &Guests,
    context: &mut Context<'_, '_>,
) -> Option<GuestName> {
    let namespace = context.namespace;
    let name = merge::short_need(&source.on.0);
    let Some(declared) = namespace.guests.get(name) else {
        let all: Vec<&str> = namespace.guests.keys().map(String::as_str).collect();
        context.dangling(entry.spot(&["on"]), "guest", name, &all);
        return None;
    };
    // What is wrong with it is said at its own place.
    let guest = guests.get(name)?;
    let features = context.features;
    let runs =
        |used: &str| features.get(used).is_some_and(|it| it.spec.provides.iter().any(|what| what == DOCKER));
    if !guest.features.iter().any(|used| runs(&used.name)) && features.broken.is_empty() && !declared.damaged
    {
        let message = format!("`{name}` has no Docker, which a stack runs in");
        let draft =
            Draft::error(codes::BAD_STACK, entry.spot(&["on"]), message).related(declared.key(), "the guest");
        context.push(draft.hint("give the guest the feature `docker`"));
    }
    Some(guest.name.clone())
}

/// The folder of a stack, or its compose file alone.
struct Folder {
    /// Where that is said.
    spot: Spot,
    /// What it is called, for messages.
    path: String,
    files: Vec<SiteFile>,
    /// Whether `path` is the compose file.
    alone: bool,
}

impl Folder {
    fn of_site(spot: Spot, path: &str, context: &mut Context<'_, '_>) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let alone = [".yaml", ".yml"].iter().any(|end| path.ends_with(end));
        let found =
            if alone { context.files.file(path).map(|file| vec![file]) } else { context.files.folder(path) };
        let mut files = match found {
            Ok(files) => files,
            Err(problem) => {
                context.push(Draft::error(problem.code, spot, problem.message).maybe_hint(problem.hint));
                return None;
            }
        };
        if let [file] = files.as_mut_slice()
            && alone
        {
            NAMES[0].clone_into(&mut file.path);
        }
        Some(Self { spot, path: path.to_owned(), files, alone })
    }
}

/// What is in the folder of a stack.
struct Read {
    /// Where the folder is said.
    spot: Spot,
    files: Vec<SiteFile>,
    /// The files that Compose reads.
    reads: Vec<String>,
    dotenv: String,
    compose: Compose,
}

impl Read {
    fn new(
        entry: &Entry<'_, StackSource>,
        source: &StackSource,
        folder: Folder,
        context: &mut Context<'_, '_>,
    ) -> Option<Self> {
        let Folder { spot, path, mut files, alone } = folder;
        let has = |name: &&&str| files.iter().any(|file| file.path == **name);
        let Some(first) = NAMES.iter().find(has) else {
            let message = format!("there is no compose file in `{path}`");
            context
                .push(Draft::error(codes::BAD_STACK, spot, message).hint(format!("call it `{}`", NAMES[0])));
            return None;
        };
        let mut reads: Vec<String> =
            std::iter::once(first).chain(OVERRIDES.iter().find(has)).map(|name| (*name).to_owned()).collect();
        let text = |form: &VariableForm| match form {
            VariableForm::Text(text) => Some(text.clone()),
            VariableForm::Number(number) => Some(number.to_string()),
            VariableForm::Flag(_) | VariableForm::Secret(_) => None,
        };
        let said = source.env.iter().flatten();
        let env = said.filter_map(|(name, form)| Some((name.clone(), text(form)?))).collect();
        let mut compose = Compose::default();
        for name in &reads {
            let place = if alone { path.clone() } else { format!("{path}/{name}") };
            compose.over(one(&files, name, &place, spot, &env, context)?);
        }
        if let Some(pinned) = pinned(&compose.images, context.namespace) {
            if files.iter().any(|file| file.path == DIGESTS) {
                let message = format!("`{path}/{DIGESTS}` is where Phoenix writes the digests of images");
                context.push(Draft::error(codes::BAD_STACK, spot, message).hint("rename the file"));
                return None;
            }
            files.push(SiteFile {
                path: DIGESTS.to_owned(),
                bytes: pinned.into_bytes().into(),
                executable: false,
            });
            reads.push(DIGESTS.to_owned());
        }
        let mut dotenv = String::new();
        if let Some(at) = files.iter().position(|file| file.path == DOTENV) {
            let file = files.remove(at);
            dotenv = match std::str::from_utf8(&file.bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => {
                    let message = format!("`{path}/{DOTENV}` is not UTF-8");
                    context.push(Draft::error(codes::BAD_STACK, spot, message));
                    return None;
                }
            };
        }
        let read = Self { spot, files, reads, dotenv, compose };
        read.variables(entry, source, context);
        read.secrets(entry, source, context);
        Some(read)
    }

    /// What it wants is said, and what is said has an effect (P-31).
    fn variables(&self, entry: &Entry<'_, StackSource>, source: &StackSource, context: &mut Context<'_, '_>) {
        let said: Vec<&str> = source.env.iter().flatten().map(|(name, _)| name.as_str()).collect();
        let of_file: Vec<&str> = self.dotenv.lines().filter_map(variable_of).collect();
        let known = |name: &str| said.contains(&name) || of_file.contains(&name) || GIVEN.contains(&name);
        for name in self.compose.wants.iter().filter(|name| !known(name)) {
            let message = format!("the compose file reads the variable `{name}`, which nobody says");
            let near = suggest::hint(name, "there are", said.iter().copied());
            let hint =
                near.unwrap_or_else(|| format!("add \"env\": {{\"{name}\": \"…\"}}; it would be empty"));
            context.push(Draft::error(codes::BAD_STACK, self.spot, message).hint(hint));
        }
        for name in said.iter().filter(|name| !self.compose.open && !self.compose.reads.contains(**name)) {
            let message = format!("nothing in the compose file reads the variable `{name}`");
            let near = suggest::hint(name, "it reads", self.compose.reads.iter().map(String::as_str));
            let hint = near.unwrap_or_else(|| {
                format!("containers get what `environment` says, such as \"{name}: ${{{name}}}\"")
            });
            context.push(Draft::error(codes::BAD_STACK, entry.key_spot(&["env", name]), message).hint(hint));
        }
    }

    fn secrets(&self, entry: &Entry<'_, StackSource>, source: &StackSource, context: &mut Context<'_, '_>) {
        for (name, _) in source.secrets.iter().flatten() {
            let path = format!("secrets/{name}");
            let spot = entry.key_spot(&["secrets", name]);
            if self.files.iter().any(|file| file.path == path) {
                let message =
                    format!("the secret `{name}` would be put in the place of `{path}`, which is there");
                context.push(
                    Draft::error(codes::BAD_STACK, spot, message)
                        .hint("remove the file, or rename one of the two"),
                );
                continue;
            }
            let named =
                |file: &SiteFile| std::str::from_utf8(&file.bytes).is_ok_and(|text| text.contains(&path));
            if !self.compose.open && !self.files.iter().any(named) {
                let message = format!("nothing reads the secret `{name}`");
                let hint =
                    format!("the compose file takes it with \"secrets: {{ {name}: {{ file: ./{path} }} }}\"");
                context.push(Draft::error(codes::BAD_STACK, spot, message).hint(hint));
            }
        }
    }
}

/// What has services be of the images that their names stand for; nothing where none has a digest.
fn pinned(images: &BTreeMap<String, String>, namespace: &Namespace<'_>) -> Option<String> {
    let mut services = serde_json::Map::new();
    for (service, image) in images {
        let entry = namespace.image_digests.get(image).and_then(|entry| entry.value.as_ref());
        if let Some(digest) = entry {
            services.insert(service.clone(), serde_json::json!({ "image": format!("{image}@{}", digest.0) }));
        }
    }
    // JSON is YAML.
    (!services.is_empty()).then(|| format!("{:#}\n", serde_json::json!({ "services": services })))
}

/// The variable that a line of such a file sets.
fn variable_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, _) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    Some(name.trim_end())
}

fn one(
    files: &[SiteFile],
    name: &str,
    place: &str,
    spot: Spot,
    env: &BTreeMap<String, String>,
    context: &mut Context<'_, '_>,
) -> Option<Compose> {
    let bytes = files.iter().find(|file| file.path == name).map(|file| &*file.bytes)?;
    let Ok(text) = std::str::from_utf8(bytes) else {
        context.push(Draft::error(codes::BAD_STACK, spot, format!("`{place}` is not UTF-8")));
        return None;
    };
    match Compose::read(text, env) {
        Ok(compose) => Some(compose),
        Err(wrong) => {
            let message = format!("`{place}:{}:{}`: {}", wrong.line, wrong.column, wrong.message);
            let draft = Draft::error(codes::BAD_STACK, spot, message);
            context.push(draft.hint("its form is that of the Compose Specification: compose-spec.io"));
            None
        }
    }
}

/// The port of a service is one that containers publish.
fn published(
    entry: &Entry<'_, StackSource>,
    stack: &str,
    service: &str,
    port: u16,
    compose: &Compose,
    context: &mut Context<'_, '_>,
) {
    let ports = &compose.ports;
    if ports.everywhere.contains(&port) || ports.unknown || compose.open {
        return;
    }
    let spot = entry.spot(&["services", service, "port"]);
    let (message, hint) = if ports.loopback.contains(&port) {
        let message =
            format!("port {port} of the stack `{stack}` is published on the guest's loopback address alone");
        (message, format!("leave out the address: \"{port}:…\""))
    } else {
        let all: Vec<String> = ports.everywhere.iter().map(u16::to_string).collect();
        let there = if all.is_empty() {
            "nothing is".to_owned()
        } else {
            format!("published are {}", all.join(", "))
        };
        let message = format!(
            "no container of the stack `{stack}` publishes port {port}, where the service `{service}` is"
        );
        (message, format!("add \"{port}:…\" to `ports` of one of its services; {there}"))
    };
    context.push(Draft::error(codes::BAD_STACK, spot, message).hint(hint));
}

/// Two stacks of one guest are two projects.
fn together(stacks: &BTreeMap<String, Arc<Stack>>, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let mut projects: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for stack in stacks.values() {
        let Some(other) = projects.insert((&stack.on, &stack.project), &stack.name) else { continue };
        let (Some(entry), Some(there)) = (namespace.stacks.get(&stack.name), namespace.stacks.get(other))
        else {
            continue;
        };
        let message = format!(
            "the stacks `{other}` and `{}` are both the project `{}` of `{}`",
            stack.name, stack.project, stack.on
        );
        let draft =
            Draft::error(codes::DUPLICATE_NAME, entry.key(), message).related(there.key(), "the other");
        context.push(draft.hint("give one of them another `project`"));
    }
}
