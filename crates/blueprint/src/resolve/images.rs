//! Container templates, and images of virtual machines: where each comes from, and what it is called on a storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Context, made};
use crate::codes;
use crate::model::{Content, GuestKind, Guests, Image, ImageFrom};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{FormatSource, ImageSource, TemplateSource};
use crate::values::{HttpUrl, Sha256, SitePath};

/// What templates' names end in (PVE::Storage, `$VZTMPL_EXT_RE_1`).
const TEMPLATES: [&str; 4] = [".tar.zst", ".tar.gz", ".tar.xz", ".tar.bz2"];

/// What images' names end in, and what they are.
const IMAGES: [(&str, Content); 4] =
    [(".qcow2", Content::Disk), (".raw", Content::Disk), (".vmdk", Content::Disk), (".iso", Content::Iso)];

/// How many digits of a sum a file's name carries: enough that no two differ in the rest alone.
const DIGITS: usize = 12;

pub(super) fn templates(context: &mut Context<'_, '_>) -> BTreeMap<String, Arc<Image>> {
    let namespace = context.namespace;
    let made = namespace.templates.iter().filter_map(|(name, entry)| {
        let source = entry.value.as_ref()?;
        Some((name.clone(), Arc::new(template(name, entry, source, context)?)))
    });
    made.collect()
}

pub(super) fn images(context: &mut Context<'_, '_>) -> BTreeMap<String, Arc<Image>> {
    let namespace = context.namespace;
    let made = namespace.images.iter().filter_map(|(name, entry)| {
        let source = entry.value.as_ref()?;
        Some((name.clone(), Arc::new(image(name, entry, source, context)?)))
    });
    made.collect()
}

fn template(
    name: &str,
    entry: &Entry<'_, TemplateSource>,
    source: &TemplateSource,
    context: &mut Context<'_, '_>,
) -> Option<Image> {
    exclude(entry, &["catalogue", "url", "file", "from", "guest"], context);
    let written =
        made::Written { from: source.from.as_ref(), guest: source.guest, kind: GuestKind::Container };
    if let Some(from) = written.origin(entry, context) {
        let from = from?;
        let declared = entry.location(context.report);
        return Some(Image {
            name: name.to_owned(),
            content: Content::Template,
            from,
            storage: None,
            declared,
        });
    }
    let fetched = fetched(entry, source.url.as_ref(), source.file.as_ref(), context);
    let from = match &fetched {
        None if entry.node().get("url").is_some() || entry.node().get("file").is_some() => return None,
        None => {
            if source.sha256.is_some() {
                let message = "`sha256` has no effect on what comes from the node's catalogue, which has sums of its own";
                let draft = Draft::error(codes::BAD_VALUE, entry.key_spot(&["sha256"]), message);
                context.push(draft.hint("remove it, or say `url` or `file`"));
            }
            ImageFrom::Catalogue(source.catalogue.as_ref().map_or_else(|| name.to_owned(), |c| c.0.clone()))
        }
        Some(fetched) => {
            let Some(ending) = TEMPLATES.into_iter().find(|ending| fetched.ends_in(ending)) else {
                let message = format!("`{}` does not end like a template", fetched.shown());
                let draft = Draft::error(codes::BAD_VALUE, entry.spot(&[fetched.key()]), message);
                context.push(draft.hint(format!("templates end in {}", TEMPLATES.join(", "))));
                return None;
            };
            fetched.from(name, ending, source.sha256.as_ref())
        }
    };
    Some(Image {
        name: name.to_owned(),
        content: Content::Template,
        from,
        storage: source.storage.as_ref().map(|storage| storage.0.clone()),
        declared: entry.location(context.report),
    })
}

fn image(
    name: &str,
    entry: &Entry<'_, ImageSource>,
    source: &ImageSource,
    context: &mut Context<'_, '_>,
) -> Option<Image> {
    exclude(entry, &["url", "file", "from", "guest"], context);
    let written = made::Written { from: source.from.as_ref(), guest: source.guest, kind: GuestKind::Vm };
    if let Some(from) = written.origin(entry, context) {
        let from = from?;
        let declared = entry.location(context.report);
        return Some(Image { name: name.to_owned(), content: Content::Disk, from, storage: None, declared });
    }
    let Some(fetched) = fetched(entry, source.url.as_ref(), source.file.as_ref(), context) else {
        if !entry.damaged && entry.node().get("url").is_none() && entry.node().get("file").is_none() {
            let message = format!("the image `{name}` needs the key `url`, or `file`, `from` or `guest`");
            let draft = Draft::error(codes::MISSING_KEY, entry.key(), message);
            context.push(draft.hint(
                "`url` is where the node fetches it from, `file` a file of the site; `from` is a guest of the blueprint that \
                 becomes a template, `guest` one that is there",
            ));
        }
        return None;
    };
    let said = source.format.map(|format| match format {
        FormatSource::Qcow2 => (".qcow2", Content::Disk),
        FormatSource::Raw => (".raw", Content::Disk),
        FormatSource::Vmdk => (".vmdk", Content::Disk),
        FormatSource::Iso => (".iso", Content::Iso),
    });
    let Some((ending, content)) = said.or_else(|| IMAGES.into_iter().find(|(e, _)| fetched.ends_in(e)))
    else {
        let message = format!("what `{}` is does not follow from its ending", fetched.shown());
        let draft = Draft::error(codes::BAD_VALUE, entry.spot(&[fetched.key()]), message);
        context
            .push(draft.hint(
                "say it, such as \"format\": \"qcow2\" (which Ubuntu's `.img` are); or raw, vmdk, iso",
            ));
        return None;
    };
    Some(Image {
        name: name.to_owned(),
        content,
        from: fetched.from(name, ending, source.sha256.as_ref()),
        storage: source.storage.as_ref().map(|storage| storage.0.clone()),
        declared: entry.location(context.report),
    })
}

/// What virtual machines are made of or started from is declared, or a volume; and it is of the right kind.
pub(super) fn check_used(
    guests: &Guests,
    images: &BTreeMap<String, Arc<Image>>,
    context: &mut Context<'_, '_>,
) {
    let namespace = context.namespace;
    let names: Vec<&str> = namespace.images.keys().map(String::as_str).collect();
    for (guest, vm) in guests.values().filter_map(|guest| Some((guest, guest.vm()?))) {
        let Some(entry) = namespace.guests.get(&*guest.name) else { continue };
        for (key, wanted, name) in [
            ("image", Content::Disk, &vm.image),
            ("iso", Content::Iso, &vm.iso),
            ("second-iso", Content::Iso, &vm.second_iso),
        ] {
            let Some(name) = name else { continue };
            let spot = entry.spot(&[key]);
            if name.contains(':') {
                check_volume(key, name, spot, context);
                continue;
            }
            if !namespace.images.contains_key(name) {
                context.dangling(spot, "image", name, &names);
            } else if let Some(image) = images.get(name).filter(|image| image.content != wanted) {
                let (is, not) = match image.content {
                    Content::Iso => ("a CD", "a disk image"),
                    _ => ("a disk image", "a CD"),
                };
                let message = format!("`{key}` cannot be `{name}`, which is {is} and not {not}");
                let draft = Draft::error(codes::BAD_VALUE, spot, message);
                context.push(
                    draft.hint("a disk is made of `image`; `iso` and `second-iso` are media in drives"),
                );
            }
        }
    }
}

/// A volume of the node, `STORAGE:import/FILE`, and no address or path.
fn check_volume(key: &str, name: &str, spot: Spot, context: &mut Context<'_, '_>) {
    let (storage, rest) = name.split_once(':').unwrap_or_default();
    let is_volume = !storage.is_empty()
        && storage.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && rest.contains('/')
        && !rest.starts_with('/')
        && !rest.contains(char::is_whitespace);
    if is_volume {
        return;
    }
    let (message, hint) = if rest.starts_with("//") {
        let hint = format!(
            "declare it, \"images\": {{\"NAME\": {{\"url\": \"{name}\"}}}}, and say \"{key}\": \"NAME\" here"
        );
        (format!("`{key}` is the name of an image, and no address"), hint)
    } else {
        let folder = if key == "image" { "import" } else { "iso" };
        let hint = format!("the name of one of `images`, or a volume such as \"local:{folder}/FILE\"");
        (format!("`{name}` is no volume of the node"), hint)
    };
    context.push(Draft::error(codes::BAD_VALUE, spot, message).hint(hint));
}

/// What is not the node's own.
enum Fetched<'s> {
    Url(&'s HttpUrl),
    File(&'s SitePath, u64),
}

impl Fetched<'_> {
    fn key(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::File(..) => "file",
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Url(url) => &url.0,
            Self::File(path, _) => &path.0,
        }
    }

    /// Of an address, its path alone tells.
    fn ends_in(&self, ending: &str) -> bool {
        let path = match self {
            Self::Url(url) => url.0.split(['?', '#']).next().unwrap_or_default(),
            Self::File(path, _) => &path.0,
        };
        path.to_ascii_lowercase().ends_with(ending)
    }

    fn from(&self, name: &str, ending: &str, sha256: Option<&Sha256>) -> ImageFrom {
        let sha256 = sha256.map(|sum| sum.0.to_ascii_lowercase());
        let sum = sha256.as_ref().and_then(|sum| sum.get(..DIGITS)).map(|sum| format!("-{sum}"));
        let stored = format!("{name}{}{ending}", sum.unwrap_or_default());
        match self {
            Self::Url(url) => ImageFrom::Url { url: url.0.clone(), sha256, stored },
            Self::File(path, size) => {
                ImageFrom::File { path: path.0.clone().into(), size: *size, sha256, stored }
            }
        }
    }
}

/// Where it is fetched from; nothing where that is not said, or cannot be.
fn fetched<'s, T>(
    entry: &Entry<'_, T>,
    url: Option<&'s HttpUrl>,
    file: Option<&'s SitePath>,
    context: &mut Context<'_, '_>,
) -> Option<Fetched<'s>> {
    if let Some(url) = url {
        if url.0.starts_with("http://") && entry.node().get("sha256").is_none() {
            let message = "nobody checks what `url` brings: it is plain http, and there is no `sha256`";
            let draft = Draft::warning(codes::UNCHECKED_DOWNLOAD, entry.spot(&["url"]), message);
            context.push(draft.hint("add the file's \"sha256\", or use https"));
        }
        return Some(Fetched::Url(url));
    }
    let path = file?;
    match context.files.size(&path.0) {
        Ok(size) => Some(Fetched::File(path, size)),
        Err(problem) => {
            let draft = Draft::error(problem.code, entry.spot(&["file"]), problem.message);
            context.push(draft.maybe_hint(problem.hint));
            None
        }
    }
}

/// Of these keys one at most.
fn exclude<T>(entry: &Entry<'_, T>, keys: &[&str], context: &mut Context<'_, '_>) {
    let written: Vec<&str> = keys.iter().copied().filter(|key| entry.node().get(key).is_some()).collect();
    let [first, second, ..] = written.as_slice() else { return };
    let message = format!("`{first}` and `{second}` exclude each other");
    let draft = Draft::error(codes::NOT_ONE, entry.key_spot(&[second]), message)
        .related(entry.key_spot(&[first]), "the other")
        .hint("say one place that it comes from");
    context.push(draft);
}
