//! What is remembered of exercises: of each in its own folder, and where they are below the user's state folder.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is remembered of an exercise, in the `.phoenix` of its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Record {
    /// Which exercise it is.
    pub exercise: String,
    /// When it was begun.
    pub started: Timestamp,
    /// Whether all that comes before the task has been done.
    #[serde(default)]
    pub ready: bool,
    /// Whether its lab is simulated.
    #[serde(default)]
    pub simulated: bool,
    /// How many hints were given.
    #[serde(default)]
    pub hints: usize,
    /// Whether the question was answered.
    #[serde(default)]
    pub answered: bool,
    /// The serial numbers of the certificates that were there when it began, by name.
    #[serde(default)]
    pub certificates: BTreeMap<String, String>,
    /// Whether it was found to be done.
    #[serde(default)]
    pub done: bool,
}

impl Record {
    /// One of an exercise that begins now.
    pub(crate) fn new(exercise: &str) -> Self {
        Self {
            exercise: exercise.to_owned(),
            started: Timestamp::now(),
            ready: false,
            simulated: false,
            hints: 0,
            answered: false,
            certificates: BTreeMap::new(),
            done: false,
        }
    }

    fn file(folder: &Utf8Path) -> Utf8PathBuf {
        site::state(folder).join("learn.json")
    }

    /// That of the exercise in a folder; none where there is none that can be read.
    pub(crate) fn read(folder: &Utf8Path) -> Option<Self> {
        serde_json::from_str(&private::read(&Self::file(folder)).ok()?).ok()
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, folder: &Utf8Path) -> Result<(), site::Error> {
        site::made_state(folder)?;
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        private::write(&Self::file(folder), &text).map_err(|e| site::Error::from_error("learn::record", &e))
    }
}

/// Where a person's exercises are. It may be deleted: then only the folders know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Notebook {
    /// The exercise that was begun or looked at last.
    pub current: Option<String>,
    /// The folders of those that were begun and not ended, by name.
    pub folders: BTreeMap<String, Utf8PathBuf>,
    /// Those that were done, and when first.
    pub done: BTreeMap<String, Timestamp>,
}

impl Notebook {
    /// `phoenix/learn.json` below the user's state folder (XDG Base Directory Specification).
    fn file() -> Option<Utf8PathBuf> {
        let var =
            |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Utf8PathBuf::from);
        let state = var("XDG_STATE_HOME").or_else(|| Some(var("HOME")?.join(".local/state")))?;
        Some(state.join("phoenix/learn.json"))
    }

    /// What is remembered; nothing where it cannot be read.
    pub(crate) fn read() -> Self {
        let text = Self::file().and_then(|file| private::read(&file).ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Keeps it, where this user has a place for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self) -> Result<(), site::Error> {
        let Some(file) = Self::file() else { return Ok(()) };
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let written =
            file.parent().map_or(Ok(()), private::folder).and_then(|()| private::write(&file, &text));
        written.map_err(|e| site::Error::from_error("learn::record", &e))
    }
}
