//! File names of templates: which one is meant, and which one was probably meant. Pure.

use std::collections::BTreeMap;

use plan::inventory::NodeFacts;

/// Whether a file's name begins so, up to the end of a word of it.
fn begins(file: &str, wanted: &str) -> bool {
    file == wanted || file.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
}

/// The volume id of the template that `wanted` means: a volume id as it is, or the beginning of a file name, the newest
/// where several fit.
pub(super) fn there(wanted: &str, node: &NodeFacts) -> Option<String> {
    if node.templates.contains(wanted) {
        return Some(wanted.to_owned());
    }
    let fits = |id: &&String| id.split_once("vztmpl/").is_some_and(|(_, file)| begins(file, wanted));
    node.templates.iter().filter(fits).max_by_key(|id| numbers(id)).cloned()
}

/// The newest template of a catalogue whose file name begins so. What the distributions themselves ship (`system`) comes before
/// what is made of it: `debian-12` means no `debian-12-turnkey-wiki`.
pub(super) fn newest<'c>(wanted: &str, catalogue: &'c BTreeMap<String, String>) -> Option<&'c str> {
    let fits = catalogue.iter().filter(|(file, _)| begins(file, wanted));
    fits.max_by_key(|(file, section)| (*section == "system", numbers(file))).map(|(file, _)| file.as_str())
}

/// What in a catalogue was probably meant.
pub(super) fn near<'c>(wanted: &str, catalogue: &'c BTreeMap<String, String>) -> Option<&'c str> {
    let packages = catalogue.keys().filter_map(|file| file.split('_').next());
    // `debian-13` of `debian-13-standard`, which is how people name it.
    let systems = packages.clone().filter_map(|package| package.rsplit_once('-').map(|(system, _)| system));
    blueprint::nearest(wanted, systems.chain(packages))
}

/// The numbers in a text, for comparing versions: 12.2 comes before 12.12.
fn numbers(text: &str) -> (Vec<u64>, &str) {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    (numbers, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_template_that_fits() {
        let node = NodeFacts {
            templates: [
                "local:vztmpl/debian-12-standard_12.2-1_amd64.tar.zst",
                "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst",
                "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
            ]
            .map(str::to_owned)
            .into(),
            ..NodeFacts::default()
        };
        let find = |w: &str| there(w, &node);
        assert_eq!(find("debian-12").unwrap(), "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst");
        assert_eq!(
            find("debian-13-standard").unwrap(),
            "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
        );
        assert_eq!(find("debian-1"), None);
        assert_eq!(find("alpine"), None);
    }

    #[test]
    fn of_a_catalogue_the_system_itself() {
        let catalogue: BTreeMap<String, String> = [
            ("debian-12-standard_12.7-1_amd64.tar.zst", "system"),
            ("debian-12-standard_12.12-1_amd64.tar.zst", "system"),
            ("debian-12-turnkey-wiki_18.1-1_amd64.tar.gz", "turnkeylinux"),
            ("alpine-3.22-default_20250617_amd64.tar.xz", "system"),
        ]
        .map(|(file, section)| (file.to_owned(), section.to_owned()))
        .into();
        assert_eq!(newest("debian-12", &catalogue), Some("debian-12-standard_12.12-1_amd64.tar.zst"));
        assert_eq!(
            newest("debian-12-turnkey", &catalogue),
            Some("debian-12-turnkey-wiki_18.1-1_amd64.tar.gz")
        );
        assert_eq!(newest("debian", &catalogue), Some("debian-12-standard_12.12-1_amd64.tar.zst"));
        assert_eq!(newest("fedora", &catalogue), None);
        assert_eq!(near("debian-21", &catalogue), Some("debian-12"));
        assert_eq!(near("alpin-3.22", &catalogue), Some("alpine-3.22"));
        assert_eq!(near("fedora", &catalogue), None);
    }
}
