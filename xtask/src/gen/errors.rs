//! The book's list of error codes, and whether it is complete.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use blueprint::codes::CodeInfo;
use camino::Utf8Path;

/// What comes before the `::` of a code, with what these codes are about; in the order of the page.
const SUBJECTS: [(&str, &str); 26] = [
    ("blueprint", "The blueprint"),
    ("site", "The site's folder"),
    ("init", "Making a site"),
    ("bootstrap", "Making a node the site's"),
    ("explain", "Explaining"),
    ("wire", "The walk on paper"),
    ("secrets", "Secrets"),
    ("proxmox", "The node"),
    ("transport", "Commands on the node and in containers"),
    ("lock", "The lock of a run"),
    ("inventory", "Reading what is there"),
    ("plan", "Planning"),
    ("consent", "Consent"),
    ("apply", "Applying"),
    ("managers", "Containers"),
    ("features", "Features"),
    ("artifacts", "Artifacts"),
    ("certificates", "Certificates in containers"),
    ("pki", "The authority"),
    ("probe", "Services"),
    ("trace", "Following a request"),
    ("health", "Looking at everything"),
    ("logs", "Journals"),
    ("host", "The node itself, as `doctor` sees it"),
    ("lab", "The lab"),
    ("learn", "The learning centre"),
];

/// What is left, at the end of the page.
const REST: &str = "Other";

fn all() -> impl Iterator<Item = &'static CodeInfo> {
    blueprint::codes::CODES.iter().chain(phoenix_cli::codes::all())
}

fn subject(code: &str) -> &str {
    code.split("::").next().unwrap_or_default()
}

/// The page.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Error codes\n\nEvery error has a stable code. A failed step shows it behind its message, a blueprint's error above \
         it, and `--json` as `code`. `phoenix-cli explain CODE` shows the same in a terminal.\n",
    );
    for (prefix, title) in SUBJECTS {
        section(title, all().filter(|c| subject(c.code) == prefix), &mut out);
    }
    let mut rest: Vec<_> = all().filter(|c| !SUBJECTS.iter().any(|(p, _)| *p == subject(c.code))).collect();
    rest.sort_by_key(|c| c.code);
    section(REST, rest.into_iter(), &mut out);
    out
}

fn section(title: &str, codes: impl Iterator<Item = &'static CodeInfo>, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## {title}\n");
    for info in codes {
        let mut title = info.title.to_owned();
        title.push('.');
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let _ = write!(
            out,
            "\n### `{}`\n\n**{title}** {}\n\n*What to do:* {}\n",
            info.code, info.explanation, info.remedy
        );
    }
}

/// Codes that the sources use and nothing explains, and the other way round; one line each.
///
/// # Errors
/// When the sources cannot be read.
pub fn unexplained(root: &Utf8Path) -> Result<Vec<String>, std::io::Error> {
    let mut used = BTreeSet::new();
    let crates = fs_err::read_dir(root.join("crates"))?;
    for entry in crates {
        let path = entry?.path().join("src");
        if let Some(source) = Utf8Path::from_path(&path).filter(|p| p.is_dir()) {
            read(source, &mut used)?;
        }
    }
    let explained: BTreeSet<String> = all().map(|c| c.code.to_owned()).collect();
    let missing = used.difference(&explained).map(|c| format!("{c} is an error code without an explanation"));
    // A diagnostic's code is made by the table itself, and so is always used.
    let idle = phoenix_cli::codes::all()
        .filter(|c| !used.contains(c.code))
        .map(|c| format!("{} is explained, and no error has it", c.code));
    Ok(missing.chain(idle).collect())
}

fn read(folder: &Utf8Path, used: &mut BTreeSet<String>) -> Result<(), std::io::Error> {
    for entry in folder.read_dir_utf8()? {
        let path = entry?.path().to_owned();
        if path.is_dir() {
            // Where they are explained is no use of them.
            if path.file_name() != Some("codes") {
                read(&path, used)?;
            }
        } else if path.extension() == Some("rs") && !matches!(path.file_name(), Some("tests.rs" | "codes.rs"))
        {
            used.extend(codes_in(&fs_err::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The codes in a source text: string literals of the form `word::word`, but for tests and for paths of serde's.
fn codes_in(text: &str) -> impl Iterator<Item = String> + '_ {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.contains("serde(") && !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"'))
        .filter(|piece| is_code(piece))
        .map(str::to_owned)
}

fn is_code(text: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    text.split_once("::").is_some_and(|(subject, rest)| word(subject) && word(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_sources_and_nothing_else_is() {
        let text = "let a = f(\"plan::stale\", \"x\"); // ok\n#[serde(with = \"lenient::flag\")]\n/// \"doc::word\"\n\
                    use a::b; let c = \"A::b\";\n#[cfg(test)]\nmod tests {\n \"test::no\" }";
        assert_eq!(codes_in(text).collect::<Vec<_>>(), ["plan::stale"]);
    }

    #[test]
    fn the_page_has_every_code_once() {
        let page = markdown();
        for info in all() {
            assert_eq!(page.matches(&format!("\n### `{}`\n", info.code)).count(), 1, "{}", info.code);
        }
    }
}
