//! From bytes to checked trees: one file after the other, all errors of all files.

use std::sync::Arc;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::check;
use crate::codes;
use crate::diagnostic::{SourceText, Sources};
use crate::files::Found;
use crate::report::{Draft, Report, Spot};
use crate::tree::{Node, Span, Trouble, parse};

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Document {
    pub file: usize,
    pub text: Arc<SourceText>,
    /// Its tree, where it is JSON.
    pub root: Option<Node>,
}

impl Document {
    pub fn spot(&self, span: Span) -> Spot {
        Spot { file: self.file, span }
    }
}

/// Reads a file's bytes into a tree.
pub(crate) fn document((path, content): Found, report: &mut Report) -> Document {
    let file = report.file(path);
    let nowhere = Spot { file, span: Span::default() };
    let empty = || Arc::new(SourceText::new(String::new()));
    let bytes = match content {
        Ok(content) => content.bytes,
        Err(problem) => {
            report.push(Draft::error(problem.code, nowhere, problem.message).maybe_hint(problem.hint));
            return Document { file, text: empty(), root: None };
        }
    };
    let Some(text) = text(&bytes, nowhere, report) else {
        return Document { file, text: empty(), root: None };
    };
    let (root, troubles) = parse(text);
    for trouble in troubles {
        let draft = match trouble {
            Trouble::Syntax { message, hint, span } => {
                Draft::error(codes::SYNTAX, Spot { file, span }, message).maybe_hint(hint.map(str::to_owned))
            }
            Trouble::DuplicateKey { key, first, second } => {
                let message = format!("the key `{}` stands twice", key.escape_debug());
                Draft::error(codes::DUPLICATE_KEY, Spot { file, span: second }, message)
                    .label("again here")
                    .related(Spot { file, span: first }, "first here")
            }
        };
        report.push(draft);
    }
    Document { file, text: Arc::new(SourceText::new(text.to_owned())), root }
}

fn text<'a>(bytes: &'a [u8], spot: Spot, report: &mut Report) -> Option<&'a str> {
    let hint = "save it as UTF-8 without a byte order mark";
    let message = match bytes {
        [0xEF, 0xBB, 0xBF, ..] => "the file begins with a byte order mark".to_owned(),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "the file is UTF-16, not UTF-8".to_owned(),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(error) => {
                let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = 1 + good.iter().filter(|b| **b == b'\n').count();
                format!("the file is not UTF-8: line {line} has bytes that are no text")
            }
        },
    };
    report.push(Draft::error(codes::NOT_TEXT, spot, message).hint(hint));
    None
}

/// Checks a document against a schema and makes it a typed value of what is right in it.
pub(crate) fn decode<T: DeserializeOwned>(
    document: &Document,
    schema: &Value,
    report: &mut Report,
) -> Option<T> {
    let root = document.root.as_ref()?;
    let mut value = check::check(root, schema, document.file, Vec::new(), report)?;
    // For editors only; types need not have it.
    if let Some(map) = value.as_object_mut() {
        map.remove("$schema");
    }
    match serde_path_to_error::deserialize(value) {
        Ok(typed) => Some(typed),
        // The structural check finds everything serde would; should it not, the error must still be shown.
        Err(error) => {
            debug_assert!(false, "the structural check let through: {error}");
            let path = error.path().to_string();
            let keys: Vec<&str> = path.split('.').collect();
            let spot = document.spot(root.locate(&keys));
            report.push(Draft::error(codes::BAD_VALUE, spot, format!("`{path}`: {}", error.inner())));
            None
        }
    }
}

/// The texts of the documents for showing, with secrets blotted out.
pub(crate) fn sources(documents: Vec<Document>, report: &Report) -> Sources {
    let mut sources = Sources::default();
    for document in documents {
        // A file that could not be read has no text to show.
        if document.text.text().is_empty() {
            continue;
        }
        let path: Utf8PathBuf = report.path(document.file);
        let secrets: Vec<Span> = report.secrets_of(document.file).collect();
        if secrets.is_empty() {
            sources.insert(path, document.text);
            continue;
        }
        let mut bytes = document.text.text().as_bytes().to_vec();
        for secret in secrets {
            for byte in bytes.iter_mut().take(secret.end).skip(secret.start) {
                if *byte != b'\n' {
                    *byte = b'*';
                }
            }
        }
        let text = String::from_utf8(bytes).unwrap_or_default();
        sources.insert(path, Arc::new(SourceText::new(text)));
    }
    sources
}
