//! The guides of CONTRIBUTING ("Add a key", "Add a kind", "Add a feature"), kept true: each shows a real change, as a diff in
//! `docs/src/guides/`. Here they are put on a copy of the sources in the target folder, which is built and tested.
//!
//! The copy is kept, and only what differs is written, so that a second run builds what has changed. It shares the target
//! folder, and so the dependencies; its own crates have another version, or cargo would take theirs for the workspace's.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, Stdio};

use blueprint::Catalog;
use camino::{Utf8Path, Utf8PathBuf};

use crate::r#gen::features;
use crate::{Outcome, root, say};

/// Where the diffs are.
const FOLDER: &str = "docs/src/guides";

/// A diff, and what it claims: what something new of its sort touches.
struct Guide {
    name: &'static str,
    /// New files are below these.
    own: &'static [&'static str],
    /// What it changes of what is there: each file, and how many lines are new in it.
    elsewhere: &'static [(&'static str, usize)],
}

impl Guide {
    /// Whether the diff touches what the guide says, no more and no less.
    fn check(&self, touched: &[Touched]) -> Result<(), String> {
        let name = self.name;
        let (new, changed): (Vec<_>, Vec<_>) = touched.iter().partition(|it| it.new);
        let stray = new.iter().find(|it| !self.own.iter().any(|own| it.path.as_str().starts_with(own)));
        if let Some(file) = stray {
            return Err(format!("{name} makes {}, which is not its own", file.path));
        }
        let changed: Vec<_> = changed.iter().map(|it| (it.path.as_str(), it.lines)).collect();
        if new.is_empty() || changed != self.elsewhere {
            return Err(format!("{name} touches {changed:?}, and says {:?}", self.elsewhere));
        }
        Ok(())
    }
}

const GUIDES: [Guide; 3] = [
    Guide {
        name: "add-a-key",
        own: &["crates/managers/tests/plans/"],
        elsewhere: &[
            ("crates/blueprint/src/resolve/machines.rs", 1),
            ("crates/blueprint/src/resolve/merge.rs", 1),
            ("crates/blueprint/src/settings.rs", 1),
            ("crates/blueprint/src/source/guest.rs", 2),
            ("crates/managers/src/guests/vms.rs", 7),
            ("tests/tests/simulation/keys/vms.rs", 1),
        ],
    },
    Guide {
        name: "add-a-kind",
        own: &["crates/managers/src/lantern/"],
        elsewhere: &[("crates/managers/src/lib.rs", 2)],
    },
    Guide {
        name: "add-a-feature",
        own: &["catalog/motd/", "crates/managers/tests/it/catalog/containers/motd.rs"],
        elsewhere: &[("crates/managers/tests/it/catalog/mod.rs", 1)],
    },
];

/// What is run in the copy: words of `cargo test`, and then what the tests that the guides add have in their names.
const TESTS: [(&[&str], &[&str]); 2] = [
    (
        &["--lib", "--test", "it"],
        &["guests::vms::", "lantern::", "catalog::examples::", "catalog::containers::motd::"],
    ),
    (&["--test", "plans"], &["ksm"]),
];

/// Puts the guides on a copy, builds it and runs the tests that they add. With `write`, the diffs are written anew, so that
/// they are of the sources as they are now.
pub fn run(write: bool) -> Outcome {
    let root = root();
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), Utf8PathBuf::from);
    fs_err::create_dir_all(&target)?;
    for guide in &GUIDES {
        guide.check(&touched(&fs_err::read_to_string(diff_of(&root, guide.name))?))?;
    }
    let (mut patched, diffs) = patched(&root, &target, write)?;
    if write {
        for (name, diff) in diffs {
            fs_err::write(diff_of(&root, name), diff)?;
        }
    }
    patched.extend(of_another_version(&root)?);
    let copy = target.join("guides");
    lay_out(&root, &copy, &patched)?;
    made_pages(&copy)?;
    for (words, names) in TESTS {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--quiet", "--locked", "--package", "managers"])
            .args(words)
            .arg("--")
            .args(names);
        command.current_dir(&copy).stdin(Stdio::null());
        // What the cargo that runs this says of xtask is not to be taken for what holds there: some dependencies would be
        // built anew for it.
        let of_xtask = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(of_xtask) {
            command.env_remove(name);
        }
        command.env("CARGO_TARGET_DIR", &target);
        if !command.status()?.success() {
            say(&format!("the guides in {FOLDER} do not hold; the copy they were put on is {copy}"));
            return Ok(false);
        }
    }
    Ok(true)
}

fn diff_of(root: &Utf8Path, name: &str) -> Utf8PathBuf {
    root.join(FOLDER).join(format!("{name}.diff"))
}

/// Files by their paths in the repository.
type Files = BTreeMap<Utf8PathBuf, Vec<u8>>;

/// Diffs by the names of their guides.
type Diffs = Vec<(&'static str, String)>;

/// The files that the guides touch, as they are after all of them; and each guide's diff, made of the sources as they are.
/// With `nearly`, a diff whose surroundings have changed a little is taken, too.
fn patched(root: &Utf8Path, target: &Utf8Path, nearly: bool) -> Result<(Files, Diffs), Box<dyn Error>> {
    let work = tempfile::tempdir_in(target)?;
    let work = Utf8Path::from_path(work.path()).ok_or("the target folder's path is no text")?;
    let mut files = Files::new();
    let mut diffs = Vec::new();
    for guide in &GUIDES {
        let diff = diff_of(root, guide.name);
        let touched = touched(&fs_err::read_to_string(&diff)?);
        let mut before = Files::new();
        for path in touched.iter().filter(|it| !it.new).map(|it| &it.path) {
            let bytes =
                files.get(path).map_or_else(|| fs_err::read(root.join(path)), |bytes| Ok(bytes.clone()))?;
            write(&work.join(path), &bytes)?;
            before.insert(path.clone(), bytes);
        }
        apply(work, target, &diff, nearly)?;
        let mut text = String::new();
        for path in touched.into_iter().map(|it| it.path) {
            let after = fs_err::read(work.join(&path))?;
            text.push_str(&unified(&path, before.get(&path).map(Vec::as_slice), &after)?);
            files.insert(path, after);
        }
        diffs.push((guide.name, text));
    }
    Ok((files, diffs))
}

/// The workspace's manifest and its lock file, with another version for its crates. Where cargo keeps what it built follows from
/// a crate's name, version and place in its workspace, not from where the workspace is.
fn of_another_version(root: &Utf8Path) -> Result<Files, Box<dyn Error>> {
    let manifest = fs_err::read_to_string(root.join("Cargo.toml"))?;
    let lock = fs_err::read_to_string(root.join("Cargo.lock"))?;
    let versions = manifest.lines().find(|line| line.starts_with("version = "));
    let ours = versions.ok_or("the workspace's Cargo.toml gives its crates no version")?;
    let other = format!("{}-guides\"", ours.trim_end_matches('"'));
    // What is from a registry says so.
    let is_ours = |package: &str| !package.contains("\nsource = ");
    let packages: Vec<String> = lock
        .split("[[package]]")
        .map(|package| if is_ours(package) { package.replace(ours, &other) } else { package.to_owned() })
        .collect();
    Ok([
        ("Cargo.toml".into(), manifest.replacen(ours, &other, 1).into_bytes()),
        ("Cargo.lock".into(), packages.join("[[package]]").into_bytes()),
    ]
    .into())
}

/// Puts a diff on what is in `work`.
fn apply(work: &Utf8Path, ceiling: &Utf8Path, diff: &Utf8Path, nearly: bool) -> Result<(), Box<dyn Error>> {
    let mut git = Command::new("git");
    git.arg("apply").args(nearly.then_some("-C1")).arg(diff).current_dir(work);
    // It is a folder like any other, and no part of the repository that it may be in.
    git.env("GIT_CEILING_DIRECTORIES", ceiling);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(variable);
    }
    let said = git.stdin(Stdio::null()).output().map_err(|e| format!("git cannot be run: {e}"))?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    let hint = "mend it by hand; where only what is around it has changed: cargo xtask guides --write";
    Err(format!("{diff} does not fit the sources: {why}\n  hint: {hint}").into())
}

/// A file's part of a diff; the file is new where there is none before.
fn unified(path: &Utf8Path, before: Option<&[u8]>, after: &[u8]) -> Result<String, std::str::Utf8Error> {
    let (old, new) = (std::str::from_utf8(before.unwrap_or_default())?, std::str::from_utf8(after)?);
    let lines = similar::TextDiff::from_lines(old, new);
    let mut diff = lines.unified_diff();
    let from = before.map_or_else(|| "/dev/null".to_owned(), |_| format!("a/{path}"));
    Ok(diff.context_radius(3).header(&from, &format!("b/{path}")).to_string())
}

/// A file that a diff touches.
#[derive(Debug, PartialEq, Eq)]
struct Touched {
    path: Utf8PathBuf,
    /// It was not there.
    new: bool,
    /// How many lines are new in it.
    lines: usize,
}

/// The files that a diff touches, in its order.
fn touched(diff: &str) -> Vec<Touched> {
    let mut all: Vec<Touched> = Vec::new();
    let mut new = false;
    for line in diff.lines() {
        if let Some(from) = line.strip_prefix("--- ") {
            new = from == "/dev/null";
        } else if let Some(path) = line.strip_prefix("+++ b/") {
            all.push(Touched { path: path.into(), new, lines: 0 });
        } else if let Some(file) = all.last_mut().filter(|_| line.starts_with('+')) {
            file.lines += 1;
        }
    }
    all
}

/// Makes `copy` hold the sources with `patched` over them, and nothing else. What is so already is not written.
fn lay_out(root: &Utf8Path, copy: &Utf8Path, patched: &Files) -> Result<(), Box<dyn Error>> {
    let mut wanted = Vec::new();
    files_below(root, Utf8Path::new(""), &["target", ".git", ".phoenix"], &mut wanted)?;
    for path in wanted.iter().filter(|path| !patched.contains_key(*path)) {
        let (from, to) = (root.join(path), copy.join(path));
        if fs_err::read(&to).ok() != Some(fs_err::read(&from)?) {
            write(&to, &[])?;
            // With its rights.
            fs_err::copy(from, to)?;
        }
    }
    for (path, bytes) in patched {
        if fs_err::read(copy.join(path)).ok().as_ref() != Some(bytes) {
            write(&copy.join(path), bytes)?;
        }
    }
    let mut there = Vec::new();
    files_below(copy, Utf8Path::new(""), &[".phoenix"], &mut there)?;
    wanted.sort();
    for path in there {
        if wanted.binary_search(&path).is_err() && !patched.contains_key(&path) {
            fs_err::remove_file(copy.join(path))?;
        }
    }
    Ok(())
}

fn write(file: &Utf8Path, bytes: &[u8]) -> Result<(), std::io::Error> {
    if let Some(folder) = file.parent() {
        fs_err::create_dir_all(folder)?;
    }
    fs_err::write(file, bytes)
}

/// The files below `root`, but for those in folders of these names.
fn files_below(
    root: &Utf8Path,
    inside: &Utf8Path,
    without: &[&str],
    files: &mut Vec<Utf8PathBuf>,
) -> Result<(), std::io::Error> {
    for entry in root.join(inside).read_dir_utf8()? {
        let entry = entry?;
        let path = inside.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && !without.contains(&entry.file_name()) {
            files_below(root, &path, without, files)?;
        }
    }
    Ok(())
}

/// The features of the sources in `root`, as they are built in.
fn catalog(root: &Utf8Path, more: &Files) -> Result<Catalog, Box<dyn Error>> {
    let mut paths = Vec::new();
    files_below(&root.join("catalog"), Utf8Path::new(""), &["artifacts"], &mut paths)?;
    let mut files: Files = BTreeMap::new();
    for path in paths {
        files.insert(path.clone(), fs_err::read(root.join("catalog").join(path))?);
    }
    let more = more
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix("catalog").ok()?.to_owned(), bytes.clone())));
    files.extend(more);
    Ok(Catalog::from_files(files).map_err(|failure| failure.to_text())?)
}

/// Whether `cargo xtask gen` makes the page of each feature in `root`.
fn made_pages(root: &Utf8Path) -> Result<(), Box<dyn Error>> {
    check_pages(&catalog(root, &Files::new())?)
}

fn check_pages(catalog: &Catalog) -> Result<(), Box<dyn Error>> {
    let pages = features::pages(catalog);
    let page =
        pages.iter().find(|(path, _)| path.ends_with("/motd.md")).ok_or("the new feature has no page")?;
    if !page.1.contains("\n## Example\n") {
        return Err(format!("{} shows no example", page.0).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_a_version_of_its_own() {
        let files = of_another_version(&root()).unwrap();
        let text = |name: &str| String::from_utf8(files[Utf8Path::new(name)].clone()).unwrap();
        assert_eq!(text("Cargo.toml").matches("-guides\"").count(), 1);
        let lock = text("Cargo.lock");
        for package in lock.split("[[package]]").skip(1) {
            assert_eq!(package.contains("-guides\""), !package.contains("\nsource = "), "{package}");
        }
    }

    #[test]
    fn every_guide_fits_the_sources_and_touches_what_it_says() {
        let target = tempfile::tempdir().unwrap();
        let (patched, _) = patched(&root(), Utf8Path::from_path(target.path()).unwrap(), false).unwrap();
        check_pages(&catalog(&root(), &patched).unwrap()).unwrap();
        for guide in &GUIDES {
            let touched = touched(&fs_err::read_to_string(diff_of(&root(), guide.name)).unwrap());
            guide.check(&touched).unwrap();
            for it in &touched {
                let stray = Touched { path: it.path.clone(), new: !it.new, lines: it.lines };
                assert!(guide.check(&[stray]).is_err(), "{}", it.path);
            }
        }
        assert!(
            diff_names().iter().all(|name| GUIDES.iter().any(|guide| guide.name == name)),
            "{:?}",
            diff_names()
        );
    }

    fn diff_names() -> Vec<String> {
        let folder = root().join(FOLDER).read_dir_utf8().unwrap();
        folder.map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_guide_that_does_not_fit_is_named() {
        let work = tempfile::tempdir().unwrap();
        let work = Utf8Path::from_path(work.path()).unwrap();
        fs_err::write(work.join("a"), "one\ntwo\n").unwrap();
        let diff = work.join("x.diff");
        fs_err::write(&diff, unified("a".into(), Some(b"one\nthree\n"), b"one\nfour\n").unwrap()).unwrap();
        let error = apply(work, work, &diff, false).unwrap_err().to_string();
        assert!(error.contains("x.diff does not fit the sources") && error.contains("--write"), "{error}");
        fs_err::write(&diff, unified("a".into(), Some(b"one\ntwo\n"), b"one\nfour\n").unwrap()).unwrap();
        apply(work, work, &diff, false).unwrap();
        assert_eq!(fs_err::read_to_string(work.join("a")).unwrap(), "one\nfour\n");
    }

    #[test]
    fn what_a_diff_touches() {
        let text = format!(
            "{}{}",
            unified("b/c".into(), None, b"1\n2\n").unwrap(),
            unified("a".into(), Some(b"1\n"), b"2\n1\n").unwrap()
        );
        let file = |path: &str, new, lines| Touched { path: path.into(), new, lines };
        assert_eq!(touched(&text), [file("b/c", true, 2), file("a", false, 1)]);
    }

    #[test]
    fn a_copy_holds_the_sources_and_nothing_else() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Utf8Path::from_path(from.path()).unwrap(), Utf8Path::from_path(to.path()).unwrap());
        for path in ["a", "b/c", "target/x", ".git/x"] {
            write(&from.join(path), b"1").unwrap();
        }
        write(&to.join("gone"), b"1").unwrap();
        write(&to.join("a"), b"1").unwrap();
        let before = fs_err::metadata(to.join("a")).unwrap().modified().unwrap();
        lay_out(from, to, &Files::from([("b/c".into(), b"2".to_vec()), ("b/d".into(), b"3".to_vec())]))
            .unwrap();
        let mut there = Vec::new();
        files_below(to, "".into(), &[], &mut there).unwrap();
        there.sort();
        assert_eq!(there, ["a", "b/c", "b/d"]);
        assert_eq!(fs_err::read_to_string(to.join("b/c")).unwrap(), "2");
        assert_eq!(fs_err::metadata(to.join("a")).unwrap().modified().unwrap(), before, "it was so already");
    }
}
