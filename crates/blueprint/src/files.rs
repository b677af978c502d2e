//! A site's files: from a folder, or from memory (tests, fuzzing, editors).

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::codes;
use crate::model::SiteFile;

/// The largest blueprint file in bytes: far more than a person writes, far less than would hurt.
pub(crate) const MAX_BLUEPRINT: u64 = 8 * 1024 * 1024;
/// The most that a `folder` or `file` parameter may hold in bytes, because it is copied into guests.
const MAX_CONTENT: u64 = 64 * 1024 * 1024;
/// The most files that a `folder` parameter may hold.
const MAX_FILES: usize = 10_000;
/// How deep folders may be nested; a bound against links and mounts that go in circles.
const MAX_DEPTH: usize = 32;

/// Files that other tools keep beside the blueprints.
const FOREIGN: &[&str] = &[
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "jsconfig.json",
    "composer.json",
    "renovate.json",
    "deno.json",
    "deno.jsonc",
    "biome.json",
    "biome.jsonc",
];

/// Folders that are never looked into.
const FOREIGN_FOLDERS: &[&str] = &["node_modules", "target", "vendor"];

/// Why a file could not be had.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    fn new(code: &'static str, message: String) -> Self {
        Self { code, message, hint: None }
    }

    fn hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }
}

/// A file that was found, with what it holds or why not.
pub(crate) type Found = (Utf8PathBuf, Result<SiteFile, Problem>);

/// Where a site's files come from.
pub(crate) trait SiteFiles {
    /// All blueprint files, sorted by path.
    fn blueprints(&self) -> Result<Vec<Found>, Problem>;
    /// All files below a folder of the site such as `features`, sorted by path; the paths begin with it. None where it is not there.
    fn all(&self, folder: &str) -> Vec<Found>;
    /// All files of a folder of the site, by path below it.
    fn folder(&self, path: &str) -> Result<Vec<SiteFile>, Problem>;
    /// One file of the site.
    fn file(&self, path: &str) -> Result<SiteFile, Problem>;
    /// The size in bytes of a file, however large: it is not read.
    fn size(&self, path: &str) -> Result<u64, Problem>;
}

/// Whether a file in the site's folder or below `blueprints/` is a blueprint.
fn is_blueprint_name(name: &str) -> bool {
    let json = Utf8Path::new(name).extension().is_some_and(|e| e == "json" || e == "jsonc");
    json && !name.starts_with('.') && !FOREIGN.contains(&name)
}

fn is_foreign_folder(name: &str) -> bool {
    name.starts_with('.') || FOREIGN_FOLDERS.contains(&name)
}

/// A path below the site without `.` parts and doubled slashes; `None` where it leads outside.
fn clean(path: &str) -> Option<Utf8PathBuf> {
    let mut out = Utf8PathBuf::new();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => out.push(part),
        }
    }
    Some(out)
}

fn outside(path: &str) -> Problem {
    Problem::new(codes::BAD_PATH, format!("`{path}` leads outside the site's folder"))
        .hint("a site is complete in itself: put the file below its folder")
}

/// The files of a folder on disk.
pub(crate) struct DiskFiles {
    /// The site's folder, with all links resolved.
    pub root: Utf8PathBuf,
}

impl DiskFiles {
    fn read(path: &Utf8Path, most: u64) -> Result<SiteFile, Problem> {
        let unreadable = |error: &std::io::Error| {
            // fs-err's text repeats the path; the cause alone is enough beside the file's name.
            let cause = error.get_ref().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(codes::UNREADABLE, format!("cannot read it: {cause}"))
        };
        let metadata = std::path::Path::new(path.as_str()).metadata();
        let metadata =
            metadata.map_err(|e| Problem::new(codes::UNREADABLE, format!("cannot read it: {e}")))?;
        if metadata.is_dir() {
            return Err(Problem::new(codes::UNREADABLE, "this is a folder, not a file".to_owned())
                .hint("rename it, so that its name does not end like a blueprint's"));
        }
        // A pipe or device could block for ever or never end.
        if !metadata.is_file() {
            return Err(Problem::new(codes::UNREADABLE, "this is no regular file".to_owned()));
        }
        if metadata.len() > most {
            let message = format!("it is too large: {} MiB, at most {}", metadata.len() >> 20, most >> 20);
            return Err(Problem::new(codes::TOO_LARGE, message));
        }
        let mut bytes = Vec::new();
        let file = fs_err::File::open(path).map_err(|e| unreadable(&e))?;
        file.take(most).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok(SiteFile { path: String::new(), bytes: bytes.into(), executable })
    }

    /// The names in a folder, sorted, with whether each is a folder; links count as what they are links to, except that
    /// links to folders are not followed.
    fn names(folder: &Utf8Path) -> std::io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            names.push((name, entry.file_type()?.is_dir()));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn walk_blueprints(&self, below: &Utf8Path, depth: usize, found: &mut Vec<Found>) {
        let folder = self.root.join(below);
        let names = match Self::names(&folder) {
            Ok(names) => names,
            Err(error) if depth == 0 || error.kind() != std::io::ErrorKind::NotFound => {
                let problem =
                    Problem::new(codes::UNREADABLE, format!("cannot list the folder: {}", error.kind()));
                found.push((below.to_owned(), Err(problem)));
                return;
            }
            Err(_) => return,
        };
        for (name, is_folder) in names {
            let path = below.join(&name);
            if is_folder && !is_blueprint_name(&name) {
                let deeper = if depth == 0 { name == "blueprints" } else { !is_foreign_folder(&name) };
                if deeper && depth < MAX_DEPTH {
                    self.walk_blueprints(&path, depth + 1, found);
                }
            } else if is_blueprint_name(&name) {
                let content = Self::read(&self.root.join(&path), MAX_BLUEPRINT);
                found.push((path, content));
            }
        }
    }

    fn walk_all(&self, below: &Utf8Path, depth: usize, found: &mut Vec<Found>) {
        let Ok(names) = Self::names(&self.root.join(below)) else { return };
        for (name, is_folder) in names {
            let path = below.join(&name);
            if is_folder {
                if depth < MAX_DEPTH && found.len() < MAX_FILES {
                    self.walk_all(&path, depth + 1, found);
                }
            } else {
                let content = self.inside(&path).and_then(|full| Self::read(&full, MAX_CONTENT));
                found.push((path, content));
            }
        }
    }

    /// The full path of something below the site, links resolved; an error where it does not exist or is outside.
    fn inside(&self, path: &Utf8Path) -> Result<Utf8PathBuf, Problem> {
        let full = self.root.join(path);
        let real = full.canonicalize_utf8().map_err(|error| {
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => format!("`{path}` does not exist in the site's folder"),
                kind => format!("`{path}` cannot be read: {kind}"),
            };
            Problem::new(codes::BAD_PATH, message)
        })?;
        if real.starts_with(&self.root) {
            Ok(real)
        } else {
            Err(Problem::new(
                codes::BAD_PATH,
                format!("`{path}` is a link that leads outside the site's folder"),
            )
            .hint("a site is complete in itself: copy what is needed into its folder"))
        }
    }
}

impl SiteFiles for DiskFiles {
    fn blueprints(&self) -> Result<Vec<Found>, Problem> {
        let mut found = Vec::new();
        self.walk_blueprints(Utf8Path::new(""), 0, &mut found);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn all(&self, folder: &str) -> Vec<Found> {
        let mut found = Vec::new();
        self.walk_all(Utf8Path::new(folder), 0, &mut found);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn folder(&self, path: &str) -> Result<Vec<SiteFile>, Problem> {
        let below = clean(path).ok_or_else(|| outside(path))?;
        let real = self.inside(&below)?;
        if !real.is_dir() {
            return Err(Problem::new(codes::BAD_PATH, format!("`{path}` is a file, but must be a folder")));
        }
        let mut found = Vec::new();
        self.walk_all(&below, 0, &mut found);
        collect_folder(path, &below, found)
    }

    fn file(&self, path: &str) -> Result<SiteFile, Problem> {
        let below = clean(path).ok_or_else(|| outside(path))?;
        let real = self.inside(&below)?;
        if real.is_dir() {
            return Err(Problem::new(codes::BAD_PATH, format!("`{path}` is a folder, but must be a file")));
        }
        let file = Self::read(&real, MAX_CONTENT)?;
        Ok(SiteFile { path: below.file_name().unwrap_or_default().to_owned(), ..file })
    }

    fn size(&self, path: &str) -> Result<u64, Problem> {
        let below = clean(path).ok_or_else(|| outside(path))?;
        match self.inside(&below)?.as_std_path().metadata() {
            Ok(facts) if facts.is_file() => Ok(facts.len()),
            Ok(_) => Err(Problem::new(codes::BAD_PATH, format!("`{path}` is no regular file"))),
            Err(error) => Err(Problem::new(codes::UNREADABLE, format!("cannot read `{path}`: {error}"))),
        }
    }
}

/// Makes the paths relative to the folder, and holds the bounds.
fn collect_folder(path: &str, below: &Utf8Path, found: Vec<Found>) -> Result<Vec<SiteFile>, Problem> {
    let mut files = Vec::new();
    let mut total = 0;
    for (file, content) in found {
        let inner = file.strip_prefix(below).unwrap_or(&file).to_string();
        let content =
            content.map_err(|p| Problem { message: format!("`{file}` in `{path}`: {}", p.message), ..p })?;
        total += content.bytes.len() as u64;
        files.push(SiteFile { path: inner, ..content });
        if total > MAX_CONTENT || files.len() >= MAX_FILES {
            let message = format!("`{path}` holds more than {} MiB or {MAX_FILES} files", MAX_CONTENT >> 20);
            return Err(Problem::new(codes::TOO_LARGE, message));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Files in memory, by path below the site.
pub(crate) struct MemoryFiles {
    pub files: BTreeMap<Utf8PathBuf, Arc<[u8]>>,
}

impl MemoryFiles {
    fn site_file(bytes: &Arc<[u8]>) -> SiteFile {
        SiteFile { path: String::new(), bytes: Arc::clone(bytes), executable: bytes.starts_with(b"#!") }
    }

    fn below(&self, folder: &Utf8Path) -> Vec<Found> {
        let inside =
            self.files.iter().filter(|(path, _)| path.starts_with(folder) && path.as_path() != folder);
        inside.map(|(path, bytes)| (path.clone(), Ok(Self::site_file(bytes)))).collect()
    }
}

impl SiteFiles for MemoryFiles {
    fn blueprints(&self) -> Result<Vec<Found>, Problem> {
        let mut found = Vec::new();
        for (path, bytes) in &self.files {
            let folders: Vec<&str> = path.parent().into_iter().flat_map(|p| p.iter()).collect();
            let place = match folders.as_slice() {
                [] => true,
                ["blueprints", rest @ ..] => !rest.iter().any(|f| is_foreign_folder(f)),
                _ => false,
            };
            if !place || !path.file_name().is_some_and(is_blueprint_name) {
                continue;
            }
            let large = bytes.len() as u64 > MAX_BLUEPRINT;
            let problem = || {
                let message =
                    format!("it is too large: {} MiB, at most {}", bytes.len() >> 20, MAX_BLUEPRINT >> 20);
                Problem::new(codes::TOO_LARGE, message)
            };
            found.push((path.clone(), if large { Err(problem()) } else { Ok(Self::site_file(bytes)) }));
        }
        Ok(found)
    }

    fn all(&self, folder: &str) -> Vec<Found> {
        self.below(Utf8Path::new(folder))
    }

    fn folder(&self, path: &str) -> Result<Vec<SiteFile>, Problem> {
        let below = clean(path).ok_or_else(|| outside(path))?;
        if self.files.contains_key(&below) {
            return Err(Problem::new(codes::BAD_PATH, format!("`{path}` is a file, but must be a folder")));
        }
        let found = self.below(&below);
        if found.is_empty() {
            return Err(Problem::new(
                codes::BAD_PATH,
                format!("`{path}` does not exist in the site's folder"),
            ));
        }
        collect_folder(path, &below, found)
    }

    fn file(&self, path: &str) -> Result<SiteFile, Problem> {
        let below = clean(path).ok_or_else(|| outside(path))?;
        match self.files.get(&below) {
            Some(bytes) => {
                let name = below.file_name().unwrap_or_default().to_owned();
                Ok(SiteFile { path: name, ..Self::site_file(bytes) })
            }
            None if !self.below(&below).is_empty() => {
                Err(Problem::new(codes::BAD_PATH, format!("`{path}` is a folder, but must be a file")))
            }
            None => {
                Err(Problem::new(codes::BAD_PATH, format!("`{path}` does not exist in the site's folder")))
            }
        }
    }

    fn size(&self, path: &str) -> Result<u64, Problem> {
        self.file(path).map(|file| file.bytes.len() as u64)
    }
}

/// Opens a site's folder.
pub(crate) fn open(root: &Utf8Path) -> Result<DiskFiles, Problem> {
    let hint = "give the site's folder with `--site DIR`, or make a new site with `phoenix-cli init`";
    match root.canonicalize_utf8() {
        Ok(real) if real.is_dir() => Ok(DiskFiles { root: real }),
        Ok(_) => Err(Problem::new(codes::NO_BLUEPRINT, format!("`{root}` is not a folder")).hint(hint)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Problem::new(codes::NO_BLUEPRINT, format!("the folder `{root}` does not exist")).hint(hint))
        }
        Err(error) => {
            Err(Problem::new(codes::UNREADABLE, format!("cannot open the folder `{root}`: {}", error.kind())))
        }
    }
}
