//! Lists the files of `learn/` so that they become a part of the binary, but for the solutions, which are for tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let mut files = Vec::new();
    collect(&manifest.join("../../learn"), "", &mut files)?;
    files.sort();
    let mut code = String::from("[\n");
    for (name, path) in files {
        // Writing to a String does not fail.
        let _ = writeln!(code, "({name:?}, include_bytes!({path:?}).as_slice()),");
    }
    code.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("learn.rs"), code)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    // A folder's own line covers files that come and go in it.
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name =
            entry.file_name().into_string().map_err(|_| io::Error::other("a file name is not UTF-8"))?;
        if name.starts_with('.') || name == "solution" {
            continue;
        }
        let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &relative, files)?;
        } else {
            files.push((relative, entry.path().canonicalize()?));
        }
    }
    Ok(())
}
