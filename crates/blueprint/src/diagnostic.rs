//! What is wrong with a blueprint, said so that a person can mend it: where, what, and what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::Location;

/// How grave a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The blueprint cannot be used.
    Error,
    /// It can be used, but is probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable code such as `blueprint::unknown-key`; [`crate::codes::CODES`] explains each.
    pub code: &'static str,
    /// Whether it stops the blueprint from being used.
    pub severity: Severity,
    /// What is wrong, naming the thing; lower-case, without a full stop.
    pub message: String,
    /// The file it is in, relative to the site; `.` where it is about the site's folder as a whole.
    pub file: Utf8PathBuf,
    /// The bytes of the file it is about; empty where it is about the file as a whole.
    pub span: Range<usize>,
    /// A word to put at the underlined text; empty where the message says it all.
    pub label: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Other places that have to do with it, such as the first of two definitions.
    pub related: Vec<Related>,
}

/// Another place that has to do with a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The file, relative to the site.
    pub file: Utf8PathBuf,
    /// The bytes of the file.
    pub span: Range<usize>,
    /// What is there.
    pub label: String,
}

/// The texts that diagnostics point into, by file.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: BTreeMap<Utf8PathBuf, Arc<SourceText>>,
}

/// The text of one file, with its lines found.
#[derive(Debug)]
pub struct SourceText {
    text: String,
    starts: Vec<usize>,
}

impl SourceText {
    /// Finds the lines of a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        let starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1));
        Self { starts: starts.collect(), text }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column, both from 1, of a byte. Past the end means the end.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(start..offset).unwrap_or_default();
        // Bytes that continue a UTF-8 character are no columns of their own.
        let column = 1 + before.iter().filter(|b| **b & 0xC0 != 0x80).count();
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// The text of a line, counted from 1, without its end.
    #[must_use]
    pub fn line(&self, line: u32) -> &str {
        let index = (line as usize).saturating_sub(1);
        let Some(start) = self.starts.get(index).copied() else { return "" };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }
}

impl Sources {
    /// The text of a file, where it could be read.
    #[must_use]
    pub fn get(&self, file: &Utf8Path) -> Option<&Arc<SourceText>> {
        self.files.get(file)
    }

    /// All files with their texts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Utf8Path, &str)> {
        self.files.iter().map(|(file, source)| (file.as_path(), source.text()))
    }

    /// Line and column of a byte of a file; 1:1 where the file has no text.
    #[must_use]
    pub fn location(&self, file: &Utf8Path, offset: usize) -> Location {
        let (line, column) = self.get(file).map_or((1, 1), |source| source.line_column(offset));
        Location { file: file.to_owned(), line, column }
    }

    pub(crate) fn insert(&mut self, file: Utf8PathBuf, source: Arc<SourceText>) {
        self.files.insert(file, source);
    }
}

/// Why a blueprint cannot be used: everything that is wrong with it, with the texts.
#[derive(Debug, Clone)]
pub struct Failure {
    /// At least one error, and the warnings; sorted by file and offset.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts they point into.
    pub sources: Sources,
}

impl Failure {
    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// All diagnostics as plain text, with the lines they are about.
    #[must_use]
    pub fn to_text(&self) -> String {
        to_text(&self.diagnostics, &self.sources)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors() {
            1 => f.write_str("the blueprint has an error"),
            n => write!(f, "the blueprint has {n} errors"),
        }
    }
}

impl std::error::Error for Failure {}

/// Diagnostics as plain text, with the lines they are about underlined.
#[must_use]
pub fn to_text(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut out = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&format!("{}[{}]: {}\n", diagnostic.severity, diagnostic.code, diagnostic.message));
        underline(&mut out, sources, &diagnostic.file, &diagnostic.span, &diagnostic.label);
        for related in &diagnostic.related {
            underline(&mut out, sources, &related.file, &related.span, &related.label);
        }
        if let Some(hint) = &diagnostic.hint {
            out.push_str(&format!("  hint: {hint}\n"));
        }
    }
    out
}

fn underline(out: &mut String, sources: &Sources, file: &Utf8Path, span: &Range<usize>, label: &str) {
    let Some(source) = sources.get(file) else {
        out.push_str(&format!("  --> {file}\n"));
        if !label.is_empty() {
            out.push_str(&format!("      {label}\n"));
        }
        return;
    };
    let (line, column) = source.line_column(span.start);
    out.push_str(&format!("  --> {file}:{line}:{column}\n"));
    if span.is_empty() && label.is_empty() {
        return;
    }
    let text = source.line(line);
    let shown: String = text.chars().take(160).collect();
    let number = line.to_string();
    let room = shown.chars().count().saturating_sub(column as usize - 1).max(1);
    let covered = source.text().get(span.clone()).unwrap_or_default();
    let wide = covered.lines().next().unwrap_or_default().chars().count().clamp(1, room);
    let carets = "^".repeat(wide);
    let indent: String =
        shown.chars().take(column as usize - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let space = if label.is_empty() { "" } else { " " };
    out.push_str(&format!("  {number} | {shown}\n"));
    out.push_str(&format!("  {} | {indent}{carets}{space}{label}\n", " ".repeat(number.len())));
}
