//! A command and what it printed.

use std::time::Duration;

use foreign::{Untrusted, limits};

/// What to run: an argument vector, what goes to its standard input, and how long it may take.
#[derive(Clone)]
pub struct Command {
    /// The program and its arguments. Never holds a secret: those go through `stdin`.
    pub argv: Vec<String>,
    /// What is written to standard input, which is then closed.
    pub stdin: Vec<u8>,
    /// The longest it may take before it is ended.
    pub limit: Duration,
    /// What is being done, as in "reading the guests' configuration": for errors and for the screen.
    pub purpose: String,
    /// Whether its standard output is only handed on line by line: what runs for long would fill the memory otherwise.
    pub streamed: bool,
    /// The most that it may say on standard output where that is kept, in bytes: with more it is ended, and fails.
    pub most: usize,
}

impl std::fmt::Debug for Command {
    // Standard input may hold secrets: only its length is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("stdin", &format_args!("{} bytes", self.stdin.len()))
            .field("limit", &self.limit)
            .field("purpose", &self.purpose)
            .finish()
    }
}

impl Command {
    /// A command with no input and a limit of 30 seconds, which is ample for what answers at once.
    pub fn new<S: Into<String>>(purpose: impl Into<String>, argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            limit: Duration::from_secs(30),
            purpose: purpose.into(),
            streamed: false,
            most: limits::OUTPUT,
        }
    }

    /// A POSIX shell script, fed on standard input: `sh -s -- ARGS`.
    pub fn script(purpose: impl Into<String>, script: impl Into<Vec<u8>>) -> Self {
        Self::new(purpose, ["sh", "-s"]).stdin(script)
    }

    /// Sets the standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Has its standard output handed on line by line and not kept.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }

    /// Sets the longest it may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// How a command ended and what it printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 128 + n when signal n ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the exit status is zero.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Standard output as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// The last `lines` lines of standard error (of standard output when that is empty): what an error message shows.
    pub fn tail(&self, lines: usize) -> Untrusted {
        let bytes = if self.stderr.iter().all(u8::is_ascii_whitespace) { &self.stdout } else { &self.stderr };
        let cut = bytes.len().saturating_sub(limits::SHOWN);
        let text = String::from_utf8_lossy(&bytes[cut..]);
        let all: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        let last = all[all.len().saturating_sub(lines)..].join("\n");
        if cut > 0 && all.len() <= lines {
            return Untrusted::new(format!("({cut} bytes before this are left out)\n{last}"));
        }
        Untrusted::new(last)
    }
}
