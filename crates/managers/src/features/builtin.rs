//! The features that come with Phoenix: the folder `catalog/`, inside the binary.

static CATALOG: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// Every file of the built-in features: its path below `catalog/` (`static-site/feature.json`) and what it holds,
/// sorted by path.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    CATALOG.iter().copied()
}
