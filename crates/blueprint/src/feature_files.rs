//! Reading features: those that come with Phoenix, and a site's own. Both by the same code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::catalog::{CatalogStack, Feature, FeatureSpec};
use crate::codes;
use crate::cycles;
use crate::diagnostic::Failure;
use crate::feature_checks;
use crate::files::Found;
use crate::model::SiteFile;
use crate::read::{self, Document};
use crate::report::{Draft, Report, Spot};
use crate::schema;
use crate::stack_files;
use crate::suggest;
use crate::tree::Span;
use crate::values;

/// Where the stacks that come with Phoenix are among the files of a catalog.
const STACKS: &str = "catalog/stacks";

/// Features and stacks by name, such as the ones that come with Phoenix.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    features: BTreeMap<String, Arc<Feature>>,
    /// What a site's stacks can come `from`.
    stacks: BTreeMap<String, Arc<CatalogStack>>,
    /// The names of the artifacts that features can ask for.
    artifacts: BTreeSet<String>,
}

impl Catalog {
    /// Reads features from the files of a folder that holds a folder for each: paths are such as
    /// `static-site/feature.json`. Files that begin with `#!` count as executable. `artifacts.json` beside the folders names,
    /// as the keys of its `artifacts`, the programs that features can ask for; the folder of that name is theirs, too. The folder
    /// `stacks` holds a folder for each stack, such as `stacks/notes/stack.json`.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn from_files<P, B>(files: impl IntoIterator<Item = (P, B)>) -> Result<Self, Failure>
    where
        P: Into<Utf8PathBuf>,
        B: Into<Arc<[u8]>>,
    {
        let mut report = Report::default();
        let found = files.into_iter().map(|(path, bytes)| {
            let bytes: Arc<[u8]> = bytes.into();
            let executable = bytes.starts_with(b"#!");
            let path = Utf8Path::new("catalog").join(path.into());
            (path, Ok(SiteFile { path: String::new(), bytes, executable }))
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let artifacts = artifact_names(&found, &mut report);
        let (of_stacks, found) = found.into_iter().partition(|(path, _)| path.starts_with(STACKS));
        let (features, mut documents) = read_all(found, "catalog", None, &artifacts, &mut report);
        let (stacks, of_stacks) = stack_files::read_all(of_stacks, STACKS, None, &mut report);
        documents.extend(of_stacks);
        let failed = report.has_errors();
        let sources = read::sources(documents, &report);
        if failed {
            Err(Failure { diagnostics: report.finish(), sources })
        } else {
            Ok(Self { features, stacks, artifacts })
        }
    }

    /// A feature by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Feature>> {
        self.features.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Feature>)> {
        self.features.iter().map(|(name, feature)| (name.as_str(), feature))
    }

    /// A stack by its name.
    #[must_use]
    pub fn stack(&self, name: &str) -> Option<&Arc<CatalogStack>> {
        self.stacks.get(name)
    }

    /// All stacks, by name.
    pub fn stacks(&self) -> impl Iterator<Item = (&str, &Arc<CatalogStack>)> {
        self.stacks.iter().map(|(name, stack)| (name.as_str(), stack))
    }
}

/// The features and stacks a site can use: its own and the built-in ones.
pub(crate) struct Known<'a> {
    pub own: &'a BTreeMap<String, Arc<Feature>>,
    pub builtin: &'a Catalog,
    /// The site's own features with errors in them.
    pub broken: BTreeSet<String>,
    pub own_stacks: &'a BTreeMap<String, Arc<CatalogStack>>,
    /// The site's own stacks of the catalogue with errors in them.
    pub broken_stacks: BTreeSet<String>,
}

impl Known<'_> {
    pub fn get(&self, name: &str) -> Option<&Arc<Feature>> {
        self.own.get(name).or_else(|| self.builtin.get(name))
    }

    pub fn names(&self) -> Vec<&str> {
        self.own.keys().map(String::as_str).chain(self.builtin.features.keys().map(String::as_str)).collect()
    }

    /// A stack that the site's stacks can come `from`.
    pub fn stack(&self, name: &str) -> Option<&Arc<CatalogStack>> {
        self.own_stacks.get(name).or_else(|| self.builtin.stack(name))
    }

    pub fn stack_names(&self) -> Vec<&str> {
        self.own_stacks.keys().chain(self.builtin.stacks.keys()).map(String::as_str).collect()
    }

    /// A feature's requirements, each before the one that requires it, and the feature itself last; without those that
    /// are not known, and each once even where they go in a circle.
    pub fn closure(&self, name: &str) -> Vec<String> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        let mut stack = vec![(name.to_owned(), false)];
        while let Some((name, finished)) = stack.pop() {
            if finished {
                order.push(name);
                continue;
            }
            let Some(feature) = self.get(&name) else { continue };
            if !seen.insert(name.clone()) {
                continue;
            }
            stack.push((name, true));
            stack.extend(feature.spec.requires.iter().rev().map(|r| (r.clone(), false)));
        }
        order
    }
}

/// Reads a site's own features.
pub(crate) fn read_site(
    found: Vec<Found>,
    builtin: &Catalog,
    report: &mut Report,
) -> (BTreeMap<String, Arc<Feature>>, Vec<Document>) {
    read_all(found, "features", Some(builtin), &builtin.artifacts, report)
}

/// What `artifacts.json` names; nothing where it is not there.
fn artifact_names(found: &[Found], report: &mut Report) -> BTreeSet<String> {
    let list = found.iter().find(|(path, _)| path == "catalog/artifacts.json");
    let Some((path, Ok(file))) = list else { return BTreeSet::new() };
    let read = serde_json::from_slice::<serde_json::Value>(&file.bytes);
    match read.as_ref().map(|list| list.get("artifacts").and_then(serde_json::Value::as_object)) {
        Ok(Some(artifacts)) => artifacts.keys().cloned().collect(),
        Ok(None) | Err(_) => {
            let spot = Spot { file: report.file(path.clone()), span: Span::default() };
            report.push(Draft::error(
                codes::BAD_FEATURE,
                spot,
                "the list of artifacts cannot be read".to_owned(),
            ));
            BTreeSet::new()
        }
    }
}

/// `builtin` is given for a site's own features, which may require those but must not have their names.
fn read_all(
    found: Vec<Found>,
    top: &str,
    builtin: Option<&Catalog>,
    artifacts: &BTreeSet<String>,
    report: &mut Report,
) -> (BTreeMap<String, Arc<Feature>>, Vec<Document>) {
    let mut folders = folders(found, top);
    if builtin.is_none() {
        folders.remove("artifacts");
    }
    let names: Vec<String> = folders.keys().cloned().collect();
    let known =
        |name: &str| names.iter().any(|n| n == name) || builtin.is_some_and(|b| b.get(name).is_some());
    let all: Vec<&str> = {
        let built_in = builtin.into_iter().flat_map(|b| b.features.keys());
        names.iter().chain(built_in).map(String::as_str).collect()
    };
    let mut features = BTreeMap::new();
    let mut documents = Vec::new();
    let mut requirements = Vec::new();
    for (name, found) in folders {
        let Some((feature, document)) = read_one(&name, top, found, builtin, artifacts, report) else {
            continue;
        };
        for (index, required) in feature.spec.requires.iter().enumerate() {
            let element =
                document.root.as_ref().and_then(|r| r.get("requires")).and_then(|r| r.elements().get(index));
            let spot = document.spot(element.map(|e| e.span).unwrap_or_default());
            if !known(required) {
                let message = format!("the feature `{name}` requires `{required}`, which does not exist");
                let hint = suggest::hint(required, "there are", all.iter().copied());
                report.push(Draft::error(codes::DANGLING, spot, message).maybe_hint(hint));
            }
            requirements.push((name.clone(), required.clone(), spot));
        }
        documents.push(document);
        features.insert(name, Arc::new(feature));
    }
    // Built-in features cannot require a site's, so a circle is within one of the two.
    let mut edges: BTreeMap<&str, Vec<&str>> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    for (from, to, _) in &requirements {
        edges.entry(from).or_default().push(to);
    }
    for circle in cycles::find(&edges) {
        let spot = requirements.iter().find(|(from, to, _)| {
            circle.first() == Some(&from.as_str()) && circle.get(1).or(circle.first()) == Some(&to.as_str())
        });
        if let Some((_, _, spot)) = spot {
            let message = format!("features require each other in a circle: {}", cycles::words(&circle));
            report.push(Draft::error(codes::CYCLE, *spot, message).hint("remove one of the `requires`"));
        }
    }
    (features, documents)
}

/// The files of each folder below `top`, by the folder's name.
pub(crate) fn folders(found: Vec<Found>, top: &str) -> BTreeMap<String, Vec<Found>> {
    let mut folders: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for (path, content) in found {
        let mut parts = path.strip_prefix(top).unwrap_or(&path).iter();
        // A file beside the folders, such as a README, is in none.
        if let (Some(name), Some(_)) = (parts.next(), parts.next())
            && !name.starts_with('.')
        {
            folders.entry(name.to_owned()).or_default().push((path.clone(), content));
        }
    }
    folders
}

/// What is in such a folder: the file that describes it, where it is there, and the others by path below it.
pub(crate) fn in_folder(
    folder: &Utf8Path,
    description: &str,
    found: Vec<Found>,
    report: &mut Report,
) -> (Option<Found>, BTreeMap<String, SiteFile>) {
    let description = folder.join(description);
    let mut files = BTreeMap::new();
    let mut main = None;
    for (path, content) in found {
        if path == description {
            main = Some((path, content));
            continue;
        }
        let inner = path.strip_prefix(folder).unwrap_or(&path).to_string();
        match content {
            Ok(file) => {
                files.insert(inner.clone(), SiteFile { path: inner, ..file });
            }
            Err(problem) => {
                let file = report.file(path);
                let spot = Spot { file, span: Span::default() };
                report.push(Draft::error(problem.code, spot, problem.message).maybe_hint(problem.hint));
            }
        }
    }
    (main, files)
}

fn read_one(
    name: &str,
    top: &str,
    found: Vec<Found>,
    builtin: Option<&Catalog>,
    artifacts: &BTreeSet<String>,
    report: &mut Report,
) -> Option<(Feature, Document)> {
    let folder = Utf8Path::new(top).join(name);
    let (main, files) = in_folder(&folder, "feature.json", found, report);
    let Some(main) = main else {
        let file = report.file(folder);
        let message = format!("the feature `{name}` has no `feature.json`");
        let hint = "every folder below `features/` is a feature and says in its `feature.json` what it does";
        report
            .push(Draft::error(codes::BAD_FEATURE, Spot { file, span: Span::default() }, message).hint(hint));
        return None;
    };
    let document = read::document(main, report);
    let start = document.spot(Span::default());
    if let Err(error) = values::check_text("label", name) {
        report.push(Draft::error(codes::BAD_NAME, start, error.message).maybe_hint(error.hint));
    }
    if builtin.is_some_and(|b| b.get(name).is_some()) {
        let message = format!("the site's feature `{name}` has the name of one that comes with Phoenix");
        report.push(Draft::error(codes::FEATURE_SHADOWS, start, message).hint("rename its folder"));
    }
    let spec: Option<FeatureSpec> = read::decode(&document, schema::feature_file_schema(), report);
    let Some(spec) = spec else {
        // It exists, so using it is no second error.
        let feature = Feature {
            name: name.to_owned(),
            spec: FeatureSpec::default(),
            files,
            built_in: builtin.is_none(),
        };
        return Some((feature, document));
    };
    let feature = Feature { name: name.to_owned(), spec, files, built_in: builtin.is_none() };
    feature_checks::check(&feature, &document, artifacts, report);
    Some((feature, document))
}
