//! The journal: what a run did, as JSON lines, written before and after each step. What is there afterwards is decided
//! by looking at the target, never by the journal; it tells people what happened, and the next run that this one was
//! cut off.

use std::fmt::Debug;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use foreign::limits::JOURNAL;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Event, Outcome, Sink};

/// So many runs are kept; older ones are removed when a new one begins.
pub const KEPT_RUNS: usize = 200;

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What can go wrong with journals.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or folder could not be used.
    #[error("cannot use the journal {path}")]
    Io {
        /// The path.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no such run.
    #[error("there is no run `{run}`")]
    NoSuchRun {
        /// The id asked for.
        run: String,
    },
}

/// Writes a run's journal.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<fs_err::File>,
    clock: fn() -> Timestamp,
}

/// A run as `history` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// What was typed.
    pub command: String,
    /// Who ran it, and on which machine; empty where that was not written down.
    pub by: String,
    /// How it ended; `None`: it was cut off.
    pub outcome: Option<Outcome>,
    /// Steps that succeeded.
    pub done: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps of its plan.
    pub steps: usize,
    /// How long it took, where it ended.
    pub milliseconds: Option<u64>,
}

/// An id for a run that begins `now`: sortable, readable, and unlike that of another process in the same instant.
pub fn run_id(now: Timestamp, process: u32) -> String {
    format!("{}-{process}", now.strftime("%Y%m%dT%H%M%S.%3fZ"))
}

impl Journal {
    /// Begins the journal of `run` in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn begin(folder: &Utf8Path, run: &str, clock: fn() -> Timestamp) -> Result<Self, JournalError> {
        let wrap = |path: &Utf8Path, source| JournalError::Io { path: path.to_owned(), source };
        // It tells what is where, and what was typed: nobody else's business.
        private::closed(folder).map_err(|e| wrap(folder, e))?;
        let mut old = run_ids(folder)?;
        while old.len() >= KEPT_RUNS {
            let path = folder.join(format!("{}.jsonl", old.remove(0)));
            fs_err::remove_file(&path).map_err(|e| wrap(&path, e))?;
        }
        let path = folder.join(format!("{run}.jsonl"));
        let mut options = fs_err::OpenOptions::new();
        options.create_new(true).append(true).options_mut().mode(0o600);
        let file = options.open(&path).map_err(|e| wrap(&path, e))?;
        Ok(Self { file: Mutex::new(file), clock })
    }
}

impl Sink for Journal {
    fn take(&self, event: &Event) {
        let entry = Entry { at: (self.clock)(), event: event.clone() };
        let Ok(line) = serde_json::to_string(&entry) else { return };
        // A person may look at it with `cat`.
        let line = format!("{}\n", foreign::json(&line));
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A full disk must not stop a run half-way: the target decides what is there, not the journal.
        let written = file.write_all(line.as_bytes());
        let milestone = !matches!(event, Event::Doing { .. } | Event::Waiting { .. } | Event::Changed { .. });
        if written.is_ok() && milestone {
            let _ = file.file().sync_data();
        }
    }
}

/// The runs in `folder`, oldest first.
fn run_ids(folder: &Utf8Path) -> Result<Vec<String>, JournalError> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(JournalError::Io { path: folder.to_owned(), source }),
    };
    let mut ids: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok()?.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    ids.sort();
    Ok(ids)
}

/// The lines of a run. A last line that was cut off in the middle is left out; that is what a killed run leaves.
///
/// # Errors
/// When there is no such run, or it cannot be read.
pub fn read(folder: &Utf8Path, run: &str) -> Result<Vec<Entry>, JournalError> {
    let path = folder.join(format!("{run}.jsonl"));
    let safe = !run.contains('/') && !run.starts_with('.');
    match read_file(&path) {
        Ok(bytes) if safe => Ok(parse(&bytes)),
        Err(error) if safe && error.kind() != std::io::ErrorKind::NotFound => {
            Err(JournalError::Io { path, source: error })
        }
        _ => Err(JournalError::NoSuchRun { run: run.to_owned() }),
    }
}

/// All of a journal's bytes.
fn read_file(path: &Utf8Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(JOURNAL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > JOURNAL {
        return Err(std::io::Error::other(format!("it is longer than {JOURNAL} bytes")));
    }
    Ok(bytes)
}

/// The entries of a journal's bytes; lines that cannot be read are left out.
pub fn parse(bytes: &[u8]) -> Vec<Entry> {
    bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// All runs, newest first.
///
/// # Errors
/// When the folder or a journal cannot be read.
pub fn history(folder: &Utf8Path) -> Result<Vec<RunSummary>, JournalError> {
    let mut runs = Vec::new();
    for run in run_ids(folder)?.into_iter().rev() {
        if let Some(summary) = summarize(&run, &read(folder, &run)?) {
            runs.push(summary);
        }
    }
    Ok(runs)
}

/// The newest run.
///
/// # Errors
/// When the folder or the journal cannot be read.
pub fn last(folder: &Utf8Path) -> Result<Option<RunSummary>, JournalError> {
    let Some(run) = run_ids(folder)?.pop() else { return Ok(None) };
    Ok(summarize(&run, &read(folder, &run)?))
}

/// The newest run, when it was cut off: it has begun and not finished.
///
/// # Errors
/// When the folder or the journal cannot be read.
pub fn cut_off(folder: &Utf8Path) -> Result<Option<RunSummary>, JournalError> {
    Ok(last(folder)?.filter(|s| !matches!(s.outcome, Some(Outcome::Done | Outcome::Failed))))
}

fn summarize(run: &str, entries: &[Entry]) -> Option<RunSummary> {
    let first = entries.first()?;
    let Event::RunStarted { command, by, steps, .. } = &first.event else { return None };
    let mut summary = RunSummary {
        run: run.to_owned(),
        started: first.at,
        command: command.clone(),
        by: by.clone(),
        outcome: None,
        done: 0,
        failed: 0,
        steps: steps.len(),
        milliseconds: None,
    };
    for entry in entries {
        match &entry.event {
            Event::StepDone { .. } => summary.done += 1,
            Event::StepFailed { .. } => summary.failed += 1,
            Event::RunFinished { outcome, milliseconds, .. } => {
                summary.outcome = Some(*outcome);
                summary.milliseconds = Some(*milliseconds);
            }
            _ => {}
        }
    }
    Some(summary)
}

#[cfg(test)]
mod tests {
    use plan::{Action, Address};
    use proptest::prelude::*;

    use super::*;

    fn clock() -> Timestamp {
        Timestamp::from_second(1_795_000_000).unwrap()
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("runs")).unwrap();
        (dir, path)
    }

    fn started() -> Event {
        Event::RunStarted {
            version: 1,
            run: "r1".into(),
            site: "s".into(),
            command: "apply".into(),
            by: "ada@laptop".into(),
            steps: vec![Address::container("a"), Address::container("b")],
            resumes: None,
        }
    }

    /// A journal tells what is where: other users of the machine do not read it, also where they could before.
    #[test]
    fn nobody_else_reads_a_journal() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, path) = folder();
        let mode = |path: &Utf8Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
        Journal::begin(&path, "r1", clock).unwrap();
        assert_eq!((mode(&path), mode(&path.join("r1.jsonl"))), (0o700, 0o600));
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        Journal::begin(&path, "r2", clock).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_run_without_an_end_was_cut_off() {
        let (_dir, path) = folder();
        assert_eq!(cut_off(&path).unwrap(), None);
        let journal = Journal::begin(&path, "r1", clock).unwrap();
        journal.take(&started());
        journal.take(&Event::StepStarted { address: Address::container("a"), action: Action::Create });
        let found = cut_off(&path).unwrap().unwrap();
        assert_eq!((found.run.as_str(), found.steps, found.done), ("r1", 2, 0));
        journal.take(&Event::RunFinished {
            outcome: Outcome::Done,
            done: 2,
            failed: 0,
            skipped: 0,
            milliseconds: 7,
        });
        assert_eq!(cut_off(&path).unwrap(), None);
        let run = history(&path).unwrap().remove(0);
        assert_eq!((run.milliseconds, run.by.as_str()), (Some(7), "ada@laptop"));
    }

    #[test]
    fn a_line_cut_in_the_middle_loses_only_itself() {
        let (_dir, path) = folder();
        let journal = Journal::begin(&path, "r1", clock).unwrap();
        journal.take(&started());
        let file = path.join("r1.jsonl");
        let mut bytes = fs_err::read(&file).unwrap();
        bytes.extend_from_slice(b"{\"at\":\"2026-11-23T");
        fs_err::write(&file, bytes).unwrap();
        assert_eq!(read(&path, "r1").unwrap().len(), 1);
    }

    /// A journal of before it said who ran it.
    #[test]
    fn a_run_of_nobody_known_is_still_a_run() {
        let line = br#"{"at":"2026-11-23T08:00:00Z","event":"run-started","version":1,"run":"r","site":"s","command":"up","steps":[]}"#;
        let entries = parse(line);
        assert_eq!(summarize("r", &entries).map(|run| run.by), Some(String::new()), "{entries:?}");
    }

    #[test]
    fn runs_are_found_by_id_alone() {
        let (_dir, path) = folder();
        assert!(matches!(read(&path, "../x"), Err(JournalError::NoSuchRun { .. })));
        assert!(matches!(read(&path, "nope"), Err(JournalError::NoSuchRun { .. })));
    }

    #[test]
    fn old_runs_go() {
        let (_dir, path) = folder();
        for n in 0..KEPT_RUNS + 3 {
            Journal::begin(&path, &format!("r{n:05}"), clock).unwrap();
        }
        let ids = run_ids(&path).unwrap();
        assert_eq!((ids.len(), ids[0].as_str()), (KEPT_RUNS, "r00003"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn entries_print_what_they_parsed(what in ".{0,40}", seconds in 0u64..1_000_000) {
            let entry = Entry {
                at: clock(),
                event: Event::Waiting { address: Address::container("a"), what, limit_seconds: seconds },
            };
            let line = serde_json::to_vec(&entry).unwrap();
            prop_assert_eq!(parse(&line), vec![entry]);
        }
    }
}
