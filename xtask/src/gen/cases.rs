//! The cases that tests and comments cite by number (`P-24`, `T-7`): each has its line in the book.

use std::collections::BTreeMap;

use camino::Utf8Path;

/// Where they are explained.
const PAGE: &str = "docs/src/cases.md";

/// Cases that are cited and have no line, or have two; one line each.
///
/// # Errors
/// When the sources or the page cannot be read.
pub fn unknown(root: &Utf8Path) -> Result<Vec<String>, std::io::Error> {
    let page = fs_err::read_to_string(root.join(PAGE))?;
    let mut used = BTreeMap::new();
    for folder in ["crates", "tests", "catalog", "tools"] {
        read(root, &root.join(folder), &mut used)?;
    }
    let missing = used
        .iter()
        .filter(|(case, _)| explained(&page, case) == 0)
        .map(|(case, file)| format!("{case}, cited in {file}, has no line in {PAGE}"));
    let twice = cases_in(&page)
        .filter(|case| explained(&page, case) > 1)
        .map(|case| format!("{case} has two lines in {PAGE}"));
    Ok(missing.chain(twice).collect())
}

fn explained(page: &str, case: &str) -> usize {
    page.matches(&format!("\n- **{case}**: ")).count()
}

/// What the files of a folder cite, and one of the files that does.
fn read(
    root: &Utf8Path,
    folder: &Utf8Path,
    used: &mut BTreeMap<String, String>,
) -> Result<(), std::io::Error> {
    for entry in folder.read_dir_utf8()? {
        let path = entry?.path().to_owned();
        if path.is_dir() {
            read(root, &path, used)?;
        } else if let Ok(text) = fs_err::read_to_string(&path) {
            let name = path.strip_prefix(root).unwrap_or(&path);
            used.extend(cases_in(&text).map(|case| (case, name.to_string())));
        }
    }
    Ok(())
}

/// The cases in a text: one of the letters that has a section, and one or two digits; `P-256` and `UTF-8` are none.
fn cases_in(text: &str) -> impl Iterator<Item = String> + '_ {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.split(move |c| !word(c)).filter(|text| is_case(text)).map(str::to_owned)
}

fn is_case(text: &str) -> bool {
    let parts = text.split_once('-');
    parts.is_some_and(|(letter, digits)| {
        matches!(letter, "T" | "S" | "P" | "I" | "F")
            && matches!(digits.len(), 1 | 2)
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_and_nothing_else_is() {
        let text = "/// P-24, T-7 (S-13): UTF-8, P-256, F-x, A-1, X-F-1\n// I-2.";
        assert_eq!(cases_in(text).collect::<Vec<_>>(), ["P-24", "T-7", "S-13", "I-2"]);
    }

    #[test]
    fn a_case_is_explained_by_a_line_of_its_own() {
        let page = "\n- **P-24**: it is.\n- **T-7**: P-9.\n- **T-7**: again.\n";
        assert_eq!(["P-24", "P-2", "P-9", "T-7"].map(|case| explained(page, case)), [1, 0, 0, 2]);
    }
}
