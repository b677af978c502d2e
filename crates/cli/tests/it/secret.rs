//! No secret of a site is in what a command says or leaves to be read, whatever the command and however it ends: every test
//! that runs one looks.

use std::path::{Path, PathBuf};

/// What a line of a secret is at least long: shorter words are in other texts by chance.
const SHORTEST: usize = 16;

/// Looks for all that is secret in the site's folder in what a command has said, and in journals, plans and records there.
#[track_caller]
pub fn is_in_none(site: &Path, args: &[&str], said: &[&str]) {
    // What is asked for is shown.
    if args.windows(2).any(|words| words == ["secrets", "show"]) {
        return;
    }
    let written = written(site);
    for (file, line) in all(site) {
        for text in said {
            assert!(!text.contains(&line), "a line of {file} is in what {args:?} says");
        }
        for (name, text) in &written {
            assert!(!text.contains(&line), "a line of {file} is in {name}, after {args:?}");
        }
    }
}

/// What commands write for people and programs to read.
fn written(site: &Path) -> Vec<(String, String)> {
    let here = std::fs::read_dir(site).into_iter().flatten().flatten().map(|entry| entry.path());
    let told = |path: &PathBuf| {
        path.extension().is_some_and(|end| ["plan", "log", "jsonl"].iter().any(|it| end == *it))
    };
    let files = below(&site.join(".phoenix/runs")).into_iter().chain(here.filter(told));
    files
        .map(|file| (file.display().to_string(), std::fs::read_to_string(&file).unwrap_or_default()))
        .collect()
}

/// The lines of all secrets of a site, each with its file: its own, the keys of its authority, what its lab lets in.
fn all(site: &Path) -> Vec<(String, String)> {
    let mut files = below(&site.join(".phoenix/secrets"));
    // A lab holds whole machines, too, so what is secret there is named.
    files.extend(["token", "id_ed25519", "password"].map(|name| site.join(".phoenix/lab").join(name)));
    files.extend(["token", "id_ed25519"].map(|name| site.join(".phoenix/node").join(name)));
    let mut lines = Vec::new();
    for file in files {
        // What is no text is no secret that could be printed.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        // What follows the first lines of a key in PEM may be its public half, which certificates have, too.
        let first = if text.starts_with("-----") { 3 } else { usize::MAX };
        let secret = text.lines().take(first).map(|line| line.rsplit('=').next().unwrap_or(line).trim());
        let long = secret.filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"));
        lines.extend(long.map(|line| (file.display().to_string(), line.to_owned())));
    }
    lines
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let public = [".crt", ".pub", ".json", ".gitignore"];
        if path.is_dir() {
            files.extend(below(&path));
        } else if !public.iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
    files
}

#[test]
fn a_secret_that_is_said_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join(".phoenix/secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("redis"), "mahXoo1ahd0aek5eiQu0\n").unwrap();
    std::fs::create_dir_all(folder.path().join(".phoenix/lab")).unwrap();
    std::fs::write(folder.path().join(".phoenix/lab/token"), "root@pam!lab=11111111-2222-3333").unwrap();
    let look = |args: &[&str], said: &str| {
        std::panic::catch_unwind(|| is_in_none(folder.path(), args, &["", said])).is_err()
    };
    assert!(look(&["plan"], "password mahXoo1ahd0aek5eiQu0 is wrong"));
    assert!(look(&["plan"], "11111111-2222-3333"));
    assert!(!look(&["plan"], "root@pam!lab and mahXoo1"));
    assert!(!look(&["secrets", "show", "redis"], "mahXoo1ahd0aek5eiQu0"));
    for place in [".phoenix/runs/20261129.jsonl", "first.plan", "run.log"] {
        let file = folder.path().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "with mahXoo1ahd0aek5eiQu0 in it").unwrap();
        assert!(look(&["plan"], "nothing"), "{place}");
        std::fs::remove_file(&file).unwrap();
    }
    assert!(!look(&["plan"], "nothing"));
}
