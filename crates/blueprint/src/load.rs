//! From a site's folder to a checked blueprint.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::codes;
use crate::diagnostic::{Diagnostic, Failure, Sources};
use crate::feature_files::{self, Catalog};
use crate::files::{self, MemoryFiles, Problem, SiteFiles};
use crate::model::Blueprint;
use crate::namespace::Namespace;
use crate::read;
use crate::report::{Draft, Report, Spot};
use crate::resolve;
use crate::schema;
use crate::source::FileSource;
use crate::stack_files::{self, STACK_CATALOG};
use crate::tree::Span;

/// A blueprint that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The site.
    pub blueprint: Blueprint,
    /// What is probably not meant, sorted by file and offset.
    pub warnings: Vec<Diagnostic>,
    /// The texts it was read from.
    pub sources: Sources,
}

/// Reads a site's folder and checks it. `builtin` are the features and stacks that come with Phoenix.
///
/// # Errors
/// Everything that is wrong, in all files at once.
pub fn load(root: &Utf8Path, builtin: &Catalog) -> Result<Loaded, Failure> {
    match files::open(root) {
        Ok(files) => {
            let root = files.root.clone();
            load_from(&files, root, builtin)
        }
        Err(problem) => Err(whole_site(problem)),
    }
}

/// The same with files in memory, by path below the site: no disk is touched.
///
/// # Errors
/// Everything that is wrong, in all files at once.
pub fn load_from_memory(
    files: impl IntoIterator<Item = (Utf8PathBuf, Vec<u8>)>,
    builtin: &Catalog,
) -> Result<Loaded, Failure> {
    let files: BTreeMap<Utf8PathBuf, Arc<[u8]>> =
        files.into_iter().map(|(path, bytes)| (path, bytes.into())).collect();
    load_from(&MemoryFiles { files }, Utf8PathBuf::from("/"), builtin)
}

fn whole_site(problem: Problem) -> Failure {
    let mut report = Report::default();
    let file = report.file(".".into());
    let spot = Spot { file, span: Span::default() };
    report.push(Draft::error(problem.code, spot, problem.message).maybe_hint(problem.hint));
    Failure { diagnostics: report.finish(), sources: Sources::default() }
}

fn load_from(files: &dyn SiteFiles, root: Utf8PathBuf, builtin: &Catalog) -> Result<Loaded, Failure> {
    let found = files.blueprints().map_err(whole_site)?;
    if found.is_empty() {
        return Err(whole_site(Problem {
            code: codes::NO_BLUEPRINT,
            message: "there is no blueprint in the site's folder".to_owned(),
            hint: Some(
                "make a new site with `phoenix-cli init`, or give another folder with `--site DIR`"
                    .to_owned(),
            ),
        }));
    }
    let mut report = Report::default();
    // What is about the site as a whole and stands in no file.
    let site_wide = report.file(".".into());
    let mut documents = Vec::new();
    let mut typed = Vec::new();
    for one in found {
        let document = read::document(one, &mut report);
        typed.push(read::decode::<FileSource>(&document, schema::blueprint_schema(), &mut report));
        documents.push(document);
    }
    let (own, mut feature_documents) = feature_files::read_site(files.all("features"), builtin, &mut report);
    let (own_stacks, stack_documents) =
        stack_files::read_all(files.all(STACK_CATALOG), STACK_CATALOG, Some(builtin), &mut report);
    let blueprint = {
        let namespace = Namespace::merge(&documents, typed, &mut report);
        let broken = |top: &str| {
            let named = report.error_spots().into_iter().filter_map(|spot| {
                let path = report.path(spot.file);
                path.strip_prefix(top).ok().and_then(|p| p.iter().next()).map(str::to_owned)
            });
            named.collect()
        };
        let features = feature_files::Known {
            own: &own,
            builtin,
            broken: broken("features"),
            own_stacks: &own_stacks,
            broken_stacks: broken(STACK_CATALOG),
        };
        resolve::resolve(namespace, &features, files, root, site_wide, &mut report)
    };
    documents.append(&mut feature_documents);
    documents.extend(stack_documents);
    let failed = report.has_errors();
    let sources = read::sources(documents, &report);
    let diagnostics = report.finish();
    match blueprint {
        Some(blueprint) if !failed => Ok(Loaded { blueprint, warnings: diagnostics, sources }),
        _ => Err(Failure { diagnostics, sources }),
    }
}
