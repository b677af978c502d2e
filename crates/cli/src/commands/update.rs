//! `update`: which images of stacks have newer ones in their registries, and which are meant from now on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use blueprint::model::{Blueprint, Stack};
use camino::Utf8Path;
use foreign::line;
use managers::stacks::newest::{Image, parse};
use serde_json::{Value, json};
use transport::{Command, Runner as _};

use crate::args::{self, Global};
use crate::commands::guests::{find, no_way};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::Printer;

/// The file of the site that has the digests.
const FILE: &str = "image-digests.json";

/// The longest time that a registry is asked for one image, as `docker-stack` has it, and some for Docker itself.
const EACH: Duration = Duration::from_secs(70);

/// Asks for all images, and writes down which are the newest.
pub async fn run(global: &Global, options: &args::Update, printer: Printer) -> Outcome {
    let paper = opening::paper(global, printer)?;
    let blueprint = &paper.loaded.blueprint;
    let stacks = named(blueprint, &options.stacks)?;
    let root = site::folder(&global.site)?;
    if options.write {
        of_its_own(&root, blueprint)?;
    }
    let mut rows = Vec::new();
    let guests: BTreeSet<&str> = stacks.iter().map(|stack| stack.on.as_str()).collect();
    for guest in guests {
        let here: Vec<&Stack> = stacks.iter().copied().filter(|stack| stack.on.as_str() == guest).collect();
        let images: BTreeSet<&str> = here.iter().flat_map(|stack| asked(stack)).collect();
        let told = ask(global, guest, &images, printer).await?;
        for stack in here {
            let of_it = told.iter().filter(|image| asked(stack).any(|name| name == image.name));
            rows.extend(of_it.map(|image| Row::new(stack, image, blueprint)));
        }
    }
    let newer = rows.iter().filter(|row| row.state == State::Newer).count();
    let mut written = None;
    if options.write {
        let digests = digests(blueprint, &rows);
        if digests != blueprint.image_digests {
            write(&root, &digests)?;
            written = Some(digests.len());
        }
    }
    if printer.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        printer.data_json(&json!({ "images": rows, "newer": newer, "written": written.map(|_| FILE) }));
        return Ok(0);
    }
    printer.data(text(&rows));
    printer.say(match (rows.len(), newer) {
        (0, _) => "no stack has an image that a registry could be asked for".to_owned(),
        (all, 0) => format!("none of {all} images has a newer one"),
        (all, newer) => {
            format!("{newer} of {all} images {} newer", if newer == 1 { "has a" } else { "have" })
        }
    });
    match (options.write, written) {
        (true, Some(count)) => printer.say(format!(
            "wrote {count} digests into {FILE}; next:\n  {}",
            printer.hint("phoenix-cli plan    which stacks move, and how")
        )),
        (true, None) => printer.say(format!("{FILE} is as it was")),
        (false, _) if rows.iter().any(|row| row.there.is_some() && row.pin != row.there) => {
            printer.say(
                printer.hint(
                    "phoenix-cli update --write has the stacks be of the newest ones, by their digests",
                ),
            );
        }
        (false, _) => {}
    }
    Ok(0)
}

/// The stacks that are meant.
fn named<'b>(blueprint: &'b Blueprint, names: &[String]) -> Result<Vec<&'b Stack>, CommandError> {
    let all = || blueprint.stacks.values().map(AsRef::as_ref);
    if let Some(unknown) =
        names.iter().find(|name| !blueprint.stacks.contains_key(name.trim_start_matches("stack.")))
    {
        let there: Vec<&str> = blueprint.stacks.keys().map(String::as_str).collect();
        let hint = if there.is_empty() {
            "the site has none".to_owned()
        } else {
            format!("there are: {}", there.join(", "))
        };
        return Err(
            CommandError::usage("update::unknown", format!("no stack is called `{unknown}`")).hint(hint)
        );
    }
    let is_meant = |stack: &&Stack| {
        names.is_empty() || names.iter().any(|it| it.trim_start_matches("stack.") == stack.name)
    };
    Ok(all().filter(is_meant).collect())
}

/// The images of a stack that a registry can be asked for: one that a compose file names by its digest is what it is.
fn asked(stack: &Stack) -> impl Iterator<Item = &str> {
    stack.images.values().map(String::as_str).filter(|image| !image.contains('@'))
}

/// What the guest tells of these images.
async fn ask(
    global: &Global,
    guest: &str,
    images: &BTreeSet<&str>,
    printer: Printer,
) -> Result<Vec<Image>, CommandError> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let (connection, id) = find(global, guest, printer).await?;
    if connection.simulated() {
        connection.close().await;
        let why = "the lab is simulated, and no Docker runs in it that could ask";
        let unknown = |name: &&str| Image {
            name: (*name).to_owned(),
            here: None,
            there: None,
            why: Some(why.to_owned()),
        };
        return Ok(images.iter().map(unknown).collect());
    }
    let inside = connection.ways.guest(id).map_err(|_| no_way())?;
    let mut argv = vec!["/usr/local/lib/phoenix/docker-stack".to_owned(), "newest".into()];
    argv.extend(images.iter().map(|&image| image.to_owned()));
    let limit = EACH * u32::try_from(images.len()).unwrap_or(u32::MAX);
    let what = format!("asking for {} images from {guest}", images.len());
    let command = Command::new(what, argv).limit(limit);
    let result = inside.run(&command).await;
    connection.close().await;
    let output = result.map_err(|e| CommandError::from_error("transport::failed", &e))?;
    let failed = |message: String| {
        CommandError::failed("update::failed", message).hint(format!("phoenix-cli health {guest}"))
    };
    if !output.success() {
        return Err(failed(format!(
            "{guest} does not tell which images there are: {}",
            output.tail(3).joined()
        )));
    }
    parse(&output.text())
        .map_err(|said| failed(format!("{guest} says of its images what is not understood: {}", line(&said))))
}

/// How an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is the newest.
    Newest,
    /// There is a newer one.
    Newer,
    /// It is not there yet.
    New,
    /// Nobody could say.
    Unknown,
}

/// An image of a stack.
#[derive(Debug)]
struct Row {
    stack: String,
    guest: String,
    image: String,
    /// The digest that the blueprint says.
    pin: Option<String>,
    /// The one that the stack has.
    here: Option<String>,
    there: Option<String>,
    why: Option<String>,
    state: State,
}

impl Row {
    fn new(stack: &Stack, image: &Image, blueprint: &Blueprint) -> Self {
        let pin = blueprint.image_digests.get(&image.name).cloned();
        let here = pin.clone().or_else(|| image.here.clone());
        let state = match (&here, &image.there) {
            (_, None) => State::Unknown,
            (None, Some(_)) => State::New,
            (Some(here), Some(there)) if here == there => State::Newest,
            (Some(_), Some(_)) => State::Newer,
        };
        Self {
            stack: stack.name.clone(),
            guest: stack.on.to_string(),
            image: image.name.clone(),
            pin,
            here,
            there: image.there.clone(),
            why: image.why.clone(),
            state,
        }
    }

    fn json(&self) -> Value {
        json!({
            "stack": self.stack, "guest": self.guest, "image": self.image, "declared": self.pin, "here": self.here,
            "newest": self.there, "why": self.why,
            "state": match self.state {
                State::Newest => "newest",
                State::Newer => "newer",
                State::New => "new",
                State::Unknown => "unknown",
            },
        })
    }

    fn line(&self) -> String {
        let pinned = if self.pin.is_some() { "" } else { ", and nothing says that it stays so" };
        let image = line(&self.image);
        match self.state {
            State::Newest => format!("✔ {image}  the newest{pinned}"),
            State::Newer => {
                let (here, there) = (short(self.here.as_deref()), short(self.there.as_deref()));
                format!("^ {image}  there is a newer one: {there} instead of {here}")
            }
            State::New => format!("+ {image}  not there yet: {}", short(self.there.as_deref())),
            State::Unknown => {
                format!(
                    "✗ {image}  not known: {}",
                    line(self.why.as_deref().unwrap_or("the registry says no digest"))
                )
            }
        }
    }
}

/// As much of a digest as Docker shows.
fn short(digest: Option<&str>) -> String {
    digest.unwrap_or("–").trim_start_matches("sha256:").chars().take(12).collect()
}

fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut last = "";
    for row in rows {
        if row.stack != last {
            let _ = writeln!(text, "stack.{} on {}", row.stack, row.guest);
            last = &row.stack;
        }
        let _ = writeln!(text, "  {}", row.line());
    }
    text.trim_end().to_owned()
}

/// What is to be in the file: the newest, and what was said before of images that were not asked for or that nobody knows. What no
/// stack has any more goes.
fn digests(blueprint: &Blueprint, rows: &[Row]) -> BTreeMap<String, String> {
    let used: BTreeSet<&str> = blueprint.stacks.values().flat_map(|stack| asked(stack)).collect();
    let mut digests = blueprint.image_digests.clone();
    digests.retain(|image, _| used.contains(image.as_str()));
    digests.extend(rows.iter().filter_map(|row| Some((row.image.clone(), row.there.clone()?))));
    digests
}

/// All digests are in the one file that is written.
fn of_its_own(root: &Utf8Path, blueprint: &Blueprint) -> Result<(), CommandError> {
    let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    // With its quotes: `x:1` is not said where `x:10` is.
    let is_elsewhere = |name: &&String| !text.contains(&json!(name).to_string());
    match blueprint.image_digests.keys().find(is_elsewhere) {
        None => Ok(()),
        Some(name) => Err(CommandError::usage(
            "update::elsewhere",
            format!("the digest of `{name}` is declared in another file than {FILE}"),
        )
        .hint(format!("move what is below `image-digests` into {FILE}"))),
    }
}

fn write(root: &Utf8Path, digests: &BTreeMap<String, String>) -> Result<(), CommandError> {
    let text = format!(
        "// Written by phoenix-cli update --write. It belongs to the blueprints: keep it with them.\n{:#}\n",
        json!({ "image-digests": digests })
    );
    let (file, part) = (root.join(FILE), root.join(format!("{FILE}.part")));
    fs_err::write(&part, text)
        .and_then(|()| fs_err::rename(&part, &file))
        .map_err(|error| CommandError::from_error("update::write", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, pin: Option<&str>, here: Option<&str>, there: Option<&str>) -> Row {
        let digest = |it: Option<&str>| it.map(|it| format!("sha256:{}", it.repeat(64)));
        let told = Image { name: image.to_owned(), here: digest(here), there: digest(there), why: None };
        let mut blueprint = site(image);
        blueprint.image_digests =
            pin.into_iter().filter_map(|it| Some((image.to_owned(), digest(Some(it))?))).collect();
        Row::new(&blueprint.stacks["notes"], &told, &blueprint)
    }

    /// A site with a stack of this image.
    fn site(image: &str) -> Blueprint {
        let site = r#"{
            "site": { "name": "workshop", "domain": "workshop.internal" }, "target": { "lab": {} },
            "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
            "containers": { "docker": { "address": "10.0.0.9", "features": ["docker"],
                "options": { "nesting": true, "keyctl": true } } },
            "stacks": { "notes": { "on": "docker", "compose": "compose.yaml" } }
        }"#;
        let compose =
            format!("services:\n  web: {{ image: '{image}' }}\n  own: {{ image: built, build: . }}\n");
        let files = vec![
            ("site.json".into(), site.as_bytes().to_vec()),
            ("compose.yaml".into(), compose.into_bytes()),
        ];
        let catalog = blueprint::Catalog::from_files(managers::features::builtin()).unwrap();
        let loaded = blueprint::load_from_memory(files, &catalog);
        loaded.unwrap_or_else(|error| panic!("{}", error.to_text())).blueprint
    }

    #[test]
    fn what_is_newer_is_what_the_registry_has_and_the_stack_has_not() {
        let all = [
            (
                row("x:1", None, Some("a"), Some("a")),
                State::Newest,
                "✔ x:1  the newest, and nothing says that it stays so",
            ),
            (row("x:1", Some("a"), None, Some("a")), State::Newest, "✔ x:1  the newest"),
            (
                row("x:1", Some("a"), Some("b"), Some("b")),
                State::Newer,
                "^ x:1  there is a newer one: bbbbbbbbbbbb instead of aaaaaaaaaaaa",
            ),
            (row("x:1", None, None, Some("a")), State::New, "+ x:1  not there yet: aaaaaaaaaaaa"),
            (
                row("x:1", None, Some("a"), None),
                State::Unknown,
                "✗ x:1  not known: the registry says no digest",
            ),
        ];
        for (row, state, line) in all {
            assert_eq!((row.state, row.line().as_str()), (state, line));
        }
    }

    #[test]
    fn what_another_file_declares_is_not_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let mut blueprint = site("x:1");
        of_its_own(root, &blueprint).unwrap();
        write(root, &BTreeMap::from([("x:10".to_owned(), "sha256:ten".to_owned())])).unwrap();
        blueprint.image_digests = BTreeMap::from([("x:1".into(), "sha256:one".into())]);
        let error = of_its_own(root, &blueprint).unwrap_err();
        assert!(error.to_string().contains("`x:1` is declared in another file"), "{error}");
        write(root, &blueprint.image_digests).unwrap();
        of_its_own(root, &blueprint).unwrap();
    }

    #[test]
    fn the_file_has_the_newest_and_what_was_not_asked_for() {
        let mut blueprint = site("x:1");
        assert_eq!(asked(&blueprint.stacks["notes"]).collect::<Vec<_>>(), ["x:1"]);
        blueprint.image_digests =
            BTreeMap::from([("x:1".into(), "sha256:old".into()), ("gone:1".into(), "sha256:g".into())]);
        assert_eq!(digests(&blueprint, &[]), BTreeMap::from([("x:1".into(), "sha256:old".into())]));
        let unknown = row("x:1", Some("a"), None, None);
        assert_eq!(digests(&blueprint, &[unknown])["x:1"], "sha256:old");
        let newer = row("x:1", Some("a"), None, Some("b"));
        assert_eq!(digests(&blueprint, &[newer])["x:1"], format!("sha256:{}", "b".repeat(64)));
    }
}
