//! A blueprint's errors on the screen: each underlined in its file, with a hint.

use blueprint::{Diagnostic, Severity, Sources};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};
use serde_json::{Value, json};

/// As text for a person, in colours that the printer takes out where they are not wanted.
pub fn text(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
        .with_links(false)
        .with_width(100)
        .with_context_lines(1);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let severity = match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let source = sources.get(&diagnostic.file);
        // A file that cannot be shown is at least named.
        let message = match source {
            None if diagnostic.file != "." => format!("{}: {}", diagnostic.file, diagnostic.message),
            _ => diagnostic.message.clone(),
        };
        let mut shown = MietteDiagnostic::new(message).with_code(diagnostic.code).with_severity(severity);
        if let Some(hint) = &diagnostic.hint {
            shown = shown.with_help(hint);
        }
        if source.is_some() {
            let label = Some(diagnostic.label.clone()).filter(|l| !l.is_empty());
            shown =
                shown.and_label(LabeledSpan::new(label, diagnostic.span.start, diagnostic.span.len().max(1)));
        }
        // A report has one source; places in other files are told in words.
        for related in &diagnostic.related {
            if related.file == diagnostic.file {
                let label = LabeledSpan::new(
                    Some(related.label.clone()),
                    related.span.start,
                    related.span.len().max(1),
                );
                shown = shown.and_label(label);
            } else {
                let place = sources.location(&related.file, related.span.start);
                let help = shown.help.take().map(|h| format!("{h}\n")).unwrap_or_default();
                shown = shown.with_help(format!("{help}{}: {place}", related.label));
            }
        }
        let report = match source {
            Some(source) => miette::Report::new(shown)
                .with_source_code(NamedSource::new(&diagnostic.file, source.text().to_owned())),
            None => miette::Report::new(shown),
        };
        // Writing to a string does not fail; if it ever did, the message alone is still said.
        if handler.render_report(&mut out, report.as_ref()).is_err() {
            out.push_str(&diagnostic.message);
            out.push('\n');
        }
    }
    out
}

/// As JSON.
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<Value> {
    diagnostics
        .iter()
        .map(|d| {
            let place = sources.location(&d.file, d.span.start);
            json!({
                "code": d.code, "severity": d.severity.to_string(), "message": d.message, "hint": d.hint,
                "file": d.file, "line": place.line, "column": place.column,
                "start": d.span.start, "end": d.span.end,
            })
        })
        .collect()
}
