//! Changing files on a node so that nobody is locked out: all of them in one command, each whole or not at all, and with a guard
//! that puts the old ones back by itself unless it is told in time that all is well (P-20). [`crate::firewall::change`] and
//! [`crate::network::NETWORK`] use it.
//!
//! Start at [`Guard::apply`]. The guard is armed before the first file is written. It is told by a command of its own, over a
//! connection that was made after the change: if that gets through, the way in is open. Files that are not what the plan was made
//! of are not touched.

use std::time::Duration;

use transport::{Command, Output};

/// Files that are changed so.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// What the commands are called: a node that is only simulated knows them by it.
    pub purpose: &'static str,
    /// The folder that the files are below.
    pub root: &'static str,
    /// Where the old files are kept while they are waited for, on the node.
    pub folder: &'static str,
    /// The paths below the root that may be written, as a regular expression of Perl.
    pub pattern: &'static str,
    /// The path of a file below the root, by its name.
    pub path: fn(&str) -> String,
    /// Whether the new files only lie over the old ones until they are confirmed, so that a node that starts anew in between does
    /// so with the old ones. They have to be there for that, on a file system that takes such mounts.
    pub over: bool,
    /// A script for a POSIX shell that has the files come into force. It is run with `before` or `after` (they change), the
    /// folder above, and what the change is about. Nothing where somebody else looks at the files.
    pub reload: &'static str,
    /// How long a command may take.
    pub limit: Duration,
}

/// One file, as it is and as it is to be; `None` for a file that is not there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileChange {
    /// What it is called; [`Guard::path`] says where it is.
    pub name: String,
    /// What it holds.
    pub old: Option<String>,
    /// What it is to hold.
    pub new: Option<String>,
}

/// What came of [`Guard::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The files are written; [`Guard::confirm`] is awaited with this token.
    Armed(String),
    /// Somebody changed this file meanwhile. Nothing was written.
    Modified(String),
    /// A change of the site named waits to be confirmed. Nothing was written.
    Busy(String),
    /// The new files could not be brought into force, as these words say. The old ones are back.
    Refused(String),
}

/// What came of [`Guard::confirm`] or [`Guard::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The new files stay.
    Yes,
    /// The old files are back.
    Restored,
}

impl Guard {
    /// Writes all files in their order, for `site`, with a guard that waits so long; `about` are words for [`Guard::reload`], none
    /// of them with a space. It may be sent again when its answer is lost: what is written already is not written twice, and what
    /// the guard puts back is what was there first.
    pub fn apply(&self, site: &str, changes: &[FileChange], wait: Duration, about: &[String]) -> Command {
        let wait = wait.as_secs().to_string();
        let words = [site, &wait].into_iter().chain(about.iter().map(String::as_str));
        self.command("apply", words).stdin(self.print(changes))
    }

    /// Tells the guard that all is well. It may be sent again.
    pub fn confirm(&self, token: &str) -> Command {
        self.command("confirm", [token].into_iter())
    }

    /// Has the guard put the old files back at once: the new ones are no good.
    pub fn cancel(&self, token: &str) -> Command {
        self.command("cancel", [token].into_iter())
    }

    fn command<'a>(&'a self, verb: &'a str, arguments: impl Iterator<Item = &'a str>) -> Command {
        let over = if self.over { "1" } else { "" };
        let fixed = ["perl", "-e", SCRIPT, verb, self.root, self.folder, self.pattern, over, self.reload];
        Command::new(self.purpose, fixed.into_iter().chain(arguments)).limit(self.limit)
    }

    /// The changes as the script reads them: for each a line `NAME PATH OLD NEW` with lengths in bytes, `-` for no file, and
    /// the bytes.
    fn print(&self, changes: &[FileChange]) -> Vec<u8> {
        let mut out = Vec::new();
        let length =
            |text: &Option<String>| text.as_ref().map_or_else(|| "-".to_owned(), |t| t.len().to_string());
        for change in changes {
            let path = (self.path)(&change.name);
            let head = format!("{} {path} {} {}\n", change.name, length(&change.old), length(&change.new));
            out.extend_from_slice(head.as_bytes());
            for text in [&change.old, &change.new].into_iter().flatten() {
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }
}

/// Reads the answer to [`Guard::apply`].
///
/// # Errors
/// What it said, when it failed.
pub fn applied(output: &Output) -> Result<Applied, String> {
    let text = output.text();
    // Without its end it may be cut off, and half a token is another one.
    let (first, rest) = text.split_once('\n').unwrap_or_default();
    match first.split_once(' ').unwrap_or((first, "")) {
        ("armed", token) if output.success() && !token.is_empty() => Ok(Applied::Armed(token.to_owned())),
        ("modified", name) => Ok(Applied::Modified(name.to_owned())),
        ("busy", site) => Ok(Applied::Busy(site.to_owned())),
        ("refused", "") => Ok(Applied::Refused(rest.trim_end().to_owned())),
        _ => Err(output.tail(3).into()),
    }
}

/// Reads the answer to [`Guard::confirm`] and [`Guard::cancel`].
///
/// # Errors
/// What it said, when it failed.
pub fn confirmed(output: &Output) -> Result<Confirmed, String> {
    match output.text().trim_end() {
        "confirmed" if output.success() => Ok(Confirmed::Yes),
        "restored" => Ok(Confirmed::Restored),
        _ => Err(output.tail(3).into()),
    }
}

/// Reads what [`Guard::apply`] sends: for a node that is only simulated.
///
/// # Errors
/// What is odd in it.
pub fn parse(sent: &[u8]) -> Result<Vec<FileChange>, String> {
    let mut changes = Vec::new();
    let mut rest = sent;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("a heading is cut off")?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| "a heading is no text")?;
        rest = &rest[end + 1..];
        let [name, _, old, new] = head.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("`{head}` is no heading"));
        };
        let mut take = |length: &str| -> Result<Option<String>, String> {
            if length == "-" {
                return Ok(None);
            }
            let length: usize = length.parse().map_err(|_| format!("`{head}` is no heading"))?;
            let (text, after) = rest.split_at_checked(length).ok_or("a file is cut off")?;
            rest = after;
            String::from_utf8(text.to_vec()).map(Some).map_err(|_| "a file is no text".to_owned())
        };
        changes.push(FileChange { name: name.to_owned(), old: take(old)?, new: take(new)? });
    }
    Ok(changes)
}

/// Perl, as for reading: every node has it, and nothing needs quoting.
const SCRIPT: &str = include_str!("guard.pl");
