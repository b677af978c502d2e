//! Collecting everything that is wrong, while going on.

use camino::Utf8PathBuf;

use crate::diagnostic::{Diagnostic, Related, Severity};
use crate::tree::Span;

/// Bytes of one of the files that are being read, by the file's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub file: usize,
    pub span: Span,
}

/// A diagnostic in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    code: &'static str,
    severity: Severity,
    spot: Spot,
    message: String,
    label: String,
    hint: Option<String>,
    related: Vec<(Spot, String)>,
}

impl Draft {
    pub fn error(code: &'static str, spot: Spot, message: impl Into<String>) -> Self {
        let (message, label) = (message.into(), String::new());
        Self { code, severity: Severity::Error, spot, message, label, hint: None, related: Vec::new() }
    }

    pub fn warning(code: &'static str, spot: Spot, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, spot, message) }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub fn related(mut self, spot: Spot, label: impl Into<String>) -> Self {
        self.related.push((spot, label.into()));
        self
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    files: Vec<Utf8PathBuf>,
    drafts: Vec<Draft>,
    secrets: Vec<Spot>,
}

impl Report {
    /// Makes a file known; its number is what spots carry.
    pub fn file(&mut self, path: Utf8PathBuf) -> usize {
        self.files.push(path);
        self.files.len() - 1
    }

    pub fn path(&self, file: usize) -> Utf8PathBuf {
        self.files.get(file).cloned().unwrap_or_default()
    }

    pub fn push(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    /// Bytes that must not be shown to anybody.
    pub fn secret(&mut self, spot: Spot) {
        self.secrets.push(spot);
    }

    /// The bytes of a file that must not be shown.
    pub fn secrets_of(&self, file: usize) -> impl Iterator<Item = Span> {
        self.secrets.iter().filter(move |s| s.file == file).map(|s| s.span)
    }

    /// Where the errors are, sorted.
    pub fn error_spots(&self) -> Vec<Spot> {
        let errors = self.drafts.iter().filter(|d| d.severity == Severity::Error);
        let mut spots: Vec<Spot> = errors.map(|d| d.spot).collect();
        spots.sort_unstable();
        spots
    }

    pub fn has_errors(&self) -> bool {
        self.drafts.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of it, sorted by file and offset.
    pub fn finish(self) -> Vec<Diagnostic> {
        let name = |spot: Spot| self.files.get(spot.file).cloned().unwrap_or_default();
        let mut all: Vec<Diagnostic> = self
            .drafts
            .into_iter()
            .map(|draft| Diagnostic {
                code: draft.code,
                severity: draft.severity,
                message: draft.message,
                file: name(draft.spot),
                span: draft.spot.span.range(),
                label: draft.label,
                hint: draft.hint,
                related: draft
                    .related
                    .into_iter()
                    .map(|(spot, label)| Related { file: name(spot), span: spot.span.range(), label })
                    .collect(),
            })
            .collect();
        all.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.file.clone(), d.span.start, d.span.end, d.code);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        all.dedup();
        all
    }
}
