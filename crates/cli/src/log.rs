//! What is told of calls and spans of time: lines on standard error (`-v`), in a file (`--log`), and exchanges to replay
//! (`--record`). Everything passes through [`site::scrub`].

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use camino::Utf8Path;
use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::args::Global;
use crate::error::CommandError;
use crate::printer::Printer;
use site::{SPAN, scrub};

/// Begins to listen, where somebody wants to know. Without that, telling costs nothing.
///
/// # Errors
/// When a file cannot be made.
pub fn begin(global: &Global, printer: Printer) -> Result<(), CommandError> {
    let log = Log {
        verbose: (global.verbose > 0).then_some(printer),
        file: global.log.as_deref().map(create).transpose()?,
        record: global.record.as_deref().map(create).transpose()?,
    };
    if log.verbose.is_none() && log.file.is_none() && log.record.is_none() {
        return Ok(());
    }
    // Only once a process: whoever was first stays.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(log));
    Ok(())
}

/// A file for its owner alone, also when it was there: what is in it is nobody else's.
fn create(path: &Utf8Path) -> Result<Mutex<fs_err::File>, CommandError> {
    use std::os::unix::fs::PermissionsExt as _;
    let open = || {
        let mut options = fs_err::OpenOptions::new();
        options.create(true).write(true).truncate(true);
        options.options_mut().mode(0o600);
        let file = options.open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        Ok::<_, std::io::Error>(Mutex::new(file))
    };
    open().map_err(|e| CommandError {
        kind: crate::error::ErrorKind::Usage,
        ..CommandError::from_error("phoenix::log-file", &e)
            .hint("give a file that can be written: --log FILE")
    })
}

#[derive(Debug)]
struct Log {
    verbose: Option<Printer>,
    file: Option<Mutex<fs_err::File>>,
    record: Option<Mutex<fs_err::File>>,
}

impl Log {
    fn line(&self, what: &str, took: f64, more: &str) {
        let line = scrub::text(&format!("{took:>9.1} ms  {what}{more}"));
        let line = foreign::line(&line);
        if let Some(printer) = self.verbose {
            printer.raw_error(format!("{line}\n"));
        }
        if let Some(file) = &self.file {
            append(file, &format!("{:.3} {line}", Timestamp::now()));
        }
    }
}

/// A disk that is full must not end a run.
fn append(file: &Mutex<fs_err::File>, line: &str) {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    // One write a line, so that a run that is killed leaves whole lines.
    let _ = file.write_all(format!("{line}\n").as_bytes());
}

/// The fields of an event or a span.
#[derive(Debug, Default)]
struct Fields {
    what: String,
    outcome: String,
    line: String,
    took: f64,
    bytes: u64,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "what" => &mut self.what,
            "outcome" => &mut self.outcome,
            "line" => &mut self.line,
            _ => return,
        };
        text.clear();
        // Writing to a string never fails.
        let _ = write!(text, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "took" {
            self.took = value;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "bytes" {
            self.bytes = value;
        }
    }
}

/// A span that has begun.
struct Begun(Instant, String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        match metadata.target() {
            transport::CALL | SPAN => self.verbose.is_some() || self.file.is_some(),
            transport::RECORD => self.record.is_some(),
            // Other crates have their own words, and nobody has looked what is secret in them.
            _ => false,
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            let name = format!("{} {}", span.name(), fields.what);
            span.extensions_mut().insert(Begun(Instant::now(), name.trim_end().to_owned()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if event.metadata().target() == transport::RECORD {
            if let (Some(file), Ok(mut line)) = (&self.record, serde_json::from_str(&fields.line)) {
                scrub::value(&mut line);
                append(file, &foreign::json(&line.to_string()));
            }
            return;
        }
        let within = context
            .event_span(event)
            .and_then(|span| span.extensions().get::<Begun>().map(|Begun(_, name)| format!("  ({name})")));
        let more = format!("  {}  {} bytes{}", fields.outcome, fields.bytes, within.unwrap_or_default());
        self.line(&fields.what, fields.took, &more);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let extensions = span.extensions();
        if let Some(Begun(at, name)) = extensions.get::<Begun>() {
            self.line(&format!("{name} ended"), at.elapsed().as_secs_f64() * 1000.0, "");
        }
    }
}
