//! The features and stacks that come with Phoenix: the folders `catalog/` and `stacks/`, inside the binary.

static CATALOG: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// Every file of the built-in features: its path below `catalog/` (`static-site/feature.json`) and what it holds,
/// sorted by path; of the stacks likewise, with `stacks/` before it (`stacks/paperless/stack.json`). And `artifacts.json`, which
/// names the programs that features can ask for.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    // What artifacts are built with is no feature's.
    CATALOG.iter().copied().filter(|(path, _)| !path.starts_with("artifacts/"))
}

/// One file of `catalog/`, or of `stacks/`.
pub(crate) fn catalog_file(path: &str) -> Option<&'static [u8]> {
    let index = CATALOG.binary_search_by_key(&path, |(path, _)| path).ok()?;
    CATALOG.get(index).map(|(_, bytes)| *bytes)
}
