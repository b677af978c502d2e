//! Makes the pages of the book a part of the binary, for `phoenix-cli help`: those that the contents list under "Using it", in
//! their order, with what they include from other files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let book = manifest.join("../../docs/src");
    let mut code = String::from("&[\n");
    for line in read(&book.join("SUMMARY.md"))?.lines().take_while(|line| *line != "# Reference") {
        let link = line.strip_prefix("- [").and_then(|rest| rest.strip_suffix(".md)"));
        let Some((title, name)) = link.and_then(|link| link.split_once("](")) else { continue };
        let text = with_includes(&book, &read(&book.join(format!("{name}.md")))?)?;
        // Writing to a String does not fail.
        let _ = writeln!(code, "Page {{ name: {name:?}, title: {title:?}, text: {text:?} }},");
    }
    code.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("book.rs"), code)
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
