//! The one place that prints: data to standard output, talk to standard error.
//!
//! Whatever comes here passes [`foreign::screen`] (JSON: [`foreign::json`]) on its way out, so that nothing that another
//! side said acts on a terminal. What it cannot tell is whose a line is: who puts words of others into a line of Phoenix' own
//! has them pass [`foreign::line`] first.

use std::io::IsTerminal as _;

use anstream::adapter::strip_str;
use anstream::{eprint, eprintln, print, println};
use foreign::{indented, json, screen};
use owo_colors::OwoColorize as _;
use plan::render::Style;
use site::Invalid;

use crate::args::{Color, Global};
use crate::diagnostics;
use crate::error::{CommandError, exit_code};

/// Prints as the person wants it.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// Data as JSON, events as JSON lines.
    pub json: bool,
    /// No talk.
    pub quiet: bool,
    /// Every call is told, in lines.
    pub verbose: bool,
    /// The site's folder where it is not the current one: hints name it, so that they can be copied.
    pub site: Option<&'static str>,
}

impl Printer {
    /// As the options say.
    pub fn new(global: &Global) -> Self {
        match global.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        // Once a process, and needed to its end.
        let site = (global.site != ".").then(|| &*global.site.to_string().leak());
        Self { json: global.json, quiet: global.quiet, verbose: global.verbose > 0, site }
    }

    /// For tests: text, with nothing left out.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { json: false, quiet: false, verbose: false, site: None }
    }

    /// The same without talk.
    pub fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// A hint as it can be typed here: with the site's folder where that is not the current one.
    pub fn hint(self, hint: &str) -> String {
        match self.site {
            Some(site) if !hint.contains("--site") => {
                hint.replace("phoenix-cli ", &format!("phoenix-cli --site {site} "))
            }
            _ => hint.to_owned(),
        }
    }

    /// To the program that asked, as it is.
    pub fn answer(line: &str) {
        use std::io::Write as _;
        // Who does not listen any more does not want to know.
        let _ = std::io::stdout().write_all(line.as_bytes());
    }

    /// Data, as text.
    pub fn data(self, text: impl AsRef<str>) {
        let text = screen(text.as_ref());
        if text.ends_with('\n') { print!("{text}") } else { println!("{text}") }
    }

    /// What a program in a guest printed, for the program that reads it here: as it came, unless a person sees it.
    pub fn passed_on(self, text: &str, stream: Stream) {
        use std::io::Write as _;
        // Nobody is told that nobody listens any more.
        let _ = match stream {
            Stream::Data if self.data_is_watched() => return print!("{}", foreign::block(text)),
            Stream::Errors if self.watched() => return eprint!("{}", foreign::block(text)),
            Stream::Data => std::io::stdout().write_all(text.as_bytes()),
            Stream::Errors => std::io::stderr().write_all(text.as_bytes()),
        };
    }

    /// Text of several screens: through the pager where a person sees it and wants one, else as data.
    pub async fn page(self, text: &str, wanted: bool) {
        let pager = crate::pager::named().filter(|_| wanted && self.data_is_watched());
        if let Some(pager) = pager {
            let colours = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
            let shown =
                if colours { screen(text).into_owned() } else { strip_str(&screen(text)).to_string() };
            if crate::pager::show(&pager, &shown).await {
                return;
            }
        }
        self.data(text);
    }

    /// Data, as JSON.
    pub fn data_json(self, value: &serde_json::Value) {
        // A `Value` always serializes.
        println!("{}", json(&serde_json::to_string_pretty(value).unwrap_or_default()));
    }

    /// One line of JSON among many.
    pub fn data_line(self, line: &str) {
        println!("{}", json(line));
    }

    /// One line that somebody else wrote.
    pub fn others_line(self, line: &str) {
        println!("{}", foreign::line(line));
    }

    /// Before a picture of the same thing is shown once more: over the last one on a terminal, below it elsewhere.
    pub fn redraw(self, heading: &str) {
        if self.json {
            return;
        }
        if std::io::stdout().is_terminal() {
            // Home, and clear to the end (ECMA-48: CUP, ED).
            print!("\x1b[H\x1b[J");
        }
        println!("{}", heading.dimmed());
    }

    /// Talk: what is going on, what to do next.
    pub fn say(self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", screen(text.as_ref()));
        }
    }

    /// A question, without a line's end.
    pub fn ask(self, text: &str) {
        eprint!("{}", screen(text));
    }

    /// A warning.
    pub fn warn(self, text: impl AsRef<str>) {
        eprintln!("{} {}", "warning:".yellow().bold(), indented(text.as_ref(), "  "));
    }

    /// Text that is already laid out, to standard error.
    pub fn raw_error(self, text: impl AsRef<str>) {
        eprint!("{}", screen(text.as_ref()));
    }

    /// An error, with its causes and the next thing to do.
    pub fn error(self, error: &CommandError) {
        if error.errors.is_empty() {
            return;
        }
        for before in &error.before {
            self.error(before);
        }
        if let Some(invalid) = &error.invalid {
            return self.invalid(error, invalid);
        }
        if self.json {
            println!("{}", json(&crate::error::json(error).to_string()));
            return;
        }
        let first = error.errors.first().map_or("", String::as_str);
        eprintln!("{} {}", "error:".red().bold(), indented(first, "       "));
        for cause in error.errors.iter().skip(1) {
            eprintln!("  cause: {}", indented(cause, "         "));
        }
        if let Some(hint) = &error.hint {
            eprintln!("  {} {}", "hint:".cyan(), hung(&self.hint(hint)));
        }
    }

    /// A blueprint's errors, each underlined in its file.
    fn invalid(self, error: &CommandError, invalid: &Invalid) {
        let Invalid { root, failure } = invalid;
        let count = failure.errors();
        if self.json {
            let list = diagnostics::json(&failure.diagnostics, &failure.sources);
            self.data_json(&serde_json::json!({
                "valid": false, "errors": count, "diagnostics": list,
                "error": { "code": error.code, "message": error.errors.first(), "exit": exit_code(error.kind) },
            }));
        } else {
            self.raw_error(diagnostics::text(&failure.diagnostics, &failure.sources));
            let s = if count == 1 { "" } else { "s" };
            self.raw_error(format!("{count} error{s} in {root}\n"));
        }
    }

    /// Whether a person watches standard error.
    pub fn watched(self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// The columns of the terminal that standard error (or output, for data) goes to; none where it is no terminal.
    pub fn columns(self, data: bool) -> Option<usize> {
        let size = if data {
            let out = std::io::stdout();
            out.is_terminal().then(|| rustix::termios::tcgetwinsize(out))
        } else {
            let err = std::io::stderr();
            err.is_terminal().then(|| rustix::termios::tcgetwinsize(err))
        };
        // Some terminals, such as serial lines, do not know.
        size.map(|size| size.map_or(0, |size| usize::from(size.ws_col)))
            .map(|n| if n == 0 { 80 } else { n.max(20) })
    }

    /// Whether a person sees standard output.
    pub fn data_is_watched(self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Whether a person can be asked.
    pub fn can_ask(self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }
}

/// One of a program's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Data,
    /// Standard error.
    Errors,
}

/// A hint, which Phoenix lays out itself: what is not indented yet, becomes so.
pub fn hung(hint: &str) -> String {
    let lines = foreign::block(hint);
    let mut lines = lines.lines();
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        out.push_str(if line.starts_with("  ") { "\n" } else { "\n  " });
        out.push_str(line);
    }
    out
}

/// A piece of a plan's text in colour; signs say the same without.
pub fn paint(style: Style, text: &str) -> String {
    match style {
        Style::Add => text.green().to_string(),
        Style::Change => text.yellow().to_string(),
        Style::Remove => text.red().to_string(),
        Style::Dim => text.dimmed().to_string(),
        Style::Hint => text.cyan().to_string(),
        Style::Strong => text.bold().to_string(),
    }
}
