//! Makes files a part of the binary: the exercises of `learn/`, without their solutions, which are for tests; and the pages of the
//! book, for `phoenix-cli help`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("learn.rs"), exercises(&manifest.join("../../learn"))?)?;
    fs::write(out.join("book.rs"), pages(&manifest.join("../../docs/src"))?)
}

/// All files of the exercises, by path.
fn exercises(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    collect(folder, "", &mut files)?;
    files.sort();
    let mut code = String::from("[\n");
    for (name, path) in files {
        // Writing to a String does not fail.
        let _ = writeln!(code, "({name:?}, include_bytes!({path:?}).as_slice()),");
    }
    code.push(']');
    Ok(code)
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

/// The pages that the book's contents list before the reference, in their order, with what they include from other files.
fn pages(book: &Path) -> io::Result<String> {
    let mut code = String::from("&[\n");
    for line in read(&book.join("SUMMARY.md"))?.lines().take_while(|line| *line != "# Reference") {
        let link = line.strip_prefix("- [").and_then(|rest| rest.strip_suffix(".md)"));
        let Some((title, name)) = link.and_then(|link| link.split_once("](")) else { continue };
        let text = with_includes(book, &read(&book.join(format!("{name}.md")))?)?;
        let _ = writeln!(code, "Page {{ name: {name:?}, title: {title:?}, text: {text:?} }},");
    }
    code.push(']');
    Ok(code)
}

fn read(file: &Path) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", file.display());
    fs::read_to_string(file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

/// `{{#include FILE}}`, a line of its own, is that file, as in mdBook.
fn with_includes(book: &Path, page: &str) -> io::Result<String> {
    let mut out = String::new();
    for line in page.lines() {
        match line.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
            Some(file) => out.push_str(&read(&book.join(file))?),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    Ok(out)
}
