//! Dependencies that a crate declares and does not use.

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Outcome, root, say};

/// Says which there are: those of a crate that no source of it names, and those of the workspace that no crate takes.
pub fn run() -> Outcome {
    let root = root();
    let mut folders = vec![root.join("tests"), root.join("xtask")];
    for entry in root.join("crates").read_dir_utf8()? {
        folders.push(entry?.path().to_owned());
    }
    let (mut well, mut taken) = (true, Vec::new());
    for folder in folders {
        let manifest = fs_err::read_to_string(folder.join("Cargo.toml"))?;
        let own = text(&folder, &["src", "build.rs"])?;
        let tests = own.clone() + &text(&folder, &["tests", "examples", "benches"])?;
        for (section, source) in [("dependencies", &own), ("dev-dependencies", &tests)] {
            for name in declared(&manifest, section) {
                if !names(source, &name.replace('-', "_")) {
                    let place = folder.strip_prefix(&root).unwrap_or(&folder);
                    say(&format!("{place} declares {name} under {section}, and does not use it"));
                    well = false;
                }
                taken.push(name.to_owned());
            }
        }
    }
    let workspace = fs_err::read_to_string(root.join("Cargo.toml"))?;
    for name in declared(&workspace, "workspace.dependencies") {
        if !taken.iter().any(|taken| taken == name) {
            say(&format!("the workspace declares {name}, and no crate takes it"));
            well = false;
        }
    }
    Ok(well)
}

/// The names in a section of a manifest, as this repository writes them: a line each.
fn declared<'a>(manifest: &'a str, section: &str) -> impl Iterator<Item = &'a str> {
    let heading = format!("[{section}]");
    let lines = manifest.lines().skip_while(move |line| *line != heading).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty()))
}

/// Whether a source names a crate where a path, an import or an attribute does: as a word that is no part of another.
fn names(source: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(name).any(|(at, _)| {
        let before = source[..at].chars().next_back();
        let after = &source[at + name.len()..];
        !before.is_some_and(|c| word(c) || c == '.' || c == '"')
            && (after.starts_with("::")
                || after.starts_with(';')
                || after.starts_with(" as ")
                || after.starts_with('!'))
    })
}

/// All Rust of these files and folders, and of the files elsewhere that theirs take in as modules.
fn text(folder: &Utf8Path, places: &[&str]) -> Result<String, std::io::Error> {
    let mut out = String::new();
    let mut waiting: Vec<Utf8PathBuf> = places.iter().map(|place| folder.join(place)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in path.read_dir_utf8()? {
                let entry = entry?;
                if entry.path().is_dir() || entry.path().extension() == Some("rs") {
                    waiting.push(entry.path().to_owned());
                }
            }
        } else if path.is_file() {
            let source = fs_err::read_to_string(&path)?;
            let beside = path.parent().unwrap_or(folder);
            for elsewhere in modules_elsewhere(&source) {
                out.push_str(&fs_err::read_to_string(beside.join(elsewhere))?);
            }
            out.push_str(&source);
        }
    }
    Ok(out)
}

/// The files outside of its folder that a source takes in as modules.
fn modules_elsewhere(source: &str) -> impl Iterator<Item = &str> {
    let paths =
        source.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    paths.filter(|path| path.starts_with("../"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_hold_a_name_a_line() {
        let manifest = "[dependencies]\na.workspace = true\n# note\nb-c = { path = \"x\" }\n\n[dev-dependencies]\nd = \"1\"\n";
        assert_eq!(declared(manifest, "dependencies").collect::<Vec<_>>(), ["a", "b-c"]);
        assert_eq!(declared(manifest, "dev-dependencies").collect::<Vec<_>>(), ["d"]);
        assert_eq!(declared(manifest, "build-dependencies").count(), 0);
    }

    #[test]
    fn a_module_elsewhere_is_its_crates_own() {
        let source = "#[path = \"../../fuzz/a.rs\"]\nmod a;\n#[path = \"near.rs\"]\nmod near;\n// #[path = \"../b.rs\"]\n";
        assert_eq!(modules_elsewhere(source).collect::<Vec<_>>(), ["../../fuzz/a.rs"]);
    }

    #[test]
    fn a_name_is_used_where_a_path_begins_with_it() {
        for used in ["use plan::Step;", "let x = plan::f();", "(plan::A)", "use plan;", "use plan as p;"] {
            assert!(names(used, "plan"), "{used}");
        }
        for unused in
            ["myplan::f()", "plan_of::f()", "let plan = 1;", "site.plan::<u8>()", "// the plan: ", "plans::x"]
        {
            assert!(!names(unused, "plan"), "{unused}");
        }
    }
}
