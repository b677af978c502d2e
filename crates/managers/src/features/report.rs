//! What the script says while it runs: one JSON object a line.

use serde::{Deserialize, Serialize};

/// One line of a script's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Something was changed, or, with `--check`, is not as it should be.
    Action(Action),
    /// A feature is finished.
    FeatureDone {
        /// Its name.
        feature: String,
        /// How it went.
        result: Outcome,
        /// How many actions there were.
        changed: u32,
        /// What went wrong.
        error: Option<String>,
    },
    /// The script is finished.
    Done {
        /// How it went.
        result: Outcome,
        /// How many actions there were in all.
        changed: u32,
        /// What went wrong, where it is not a feature's error.
        error: Option<String>,
    },
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The feature it belongs to.
    pub feature: String,
    /// What was changed.
    pub kind: ActionKind,
    /// The path of a file or folder, the name of anything else.
    pub target: String,
    /// How.
    pub change: Change,
    /// Whether it was done; false with `--check`.
    pub done: bool,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// A package of the distribution.
    Package,
    /// A user.
    User,
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A command.
    Command,
    /// A systemd unit.
    Unit,
}

/// How something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Create,
    /// It was different.
    Update,
    /// It was there and should not be.
    Remove,
    /// It is as it was before the feature.
    Restore,
    /// It is not removed with its feature: somebody keeps something in it, or needs it.
    Keep,
    /// A package is installed.
    Install,
    /// A command is run.
    Run,
    /// A unit starts at boot from now on.
    Enable,
    /// A unit no longer starts at boot.
    Disable,
    /// A unit is started.
    Start,
    /// A unit is stopped.
    Stop,
    /// A unit reads its settings anew.
    Reload,
    /// A unit is stopped and started.
    Restart,
}

/// How a feature or a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All is as it should be.
    Ok,
    /// Something failed.
    Failed,
    /// A feature was not tried, because one before it failed.
    Skipped,
    /// A feature is gone as far as that is known: it was put there before there was a record of what it made.
    Unknown,
}

/// Why a line is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not JSON, or has other keys.
    #[error("the line `{line}` is no report")]
    Malformed {
        /// The beginning of the line.
        line: String,
        /// What the reader says.
        #[source]
        source: serde_json::Error,
    },
    /// The keys of a report are not all there.
    #[error("the report `{line}` has no `{key}`")]
    Incomplete {
        /// The beginning of the line.
        line: String,
        /// The key.
        key: &'static str,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    feature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ActionKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Reads one line of a script's standard output.
///
/// # Errors
/// A line that is no report, for which the whole run counts as failed: something else wrote to the script's output.
pub fn parse_report(line: &str) -> Result<Report, ReportError> {
    let beginning = || line.chars().take(200).collect::<String>();
    let read: Line =
        serde_json::from_str(line).map_err(|source| ReportError::Malformed { line: beginning(), source })?;
    let missing = |key| ReportError::Incomplete { line: beginning(), key };
    if let Some(kind) = read.action {
        let (target, key) = match kind {
            ActionKind::File | ActionKind::Folder => (read.path, "path"),
            _ => (read.name, "name"),
        };
        return Ok(Report::Action(Action {
            feature: read.feature.ok_or_else(|| missing("feature"))?,
            kind,
            target: target.ok_or_else(|| missing(key))?,
            change: read.change.ok_or_else(|| missing("change"))?,
            done: read.done.ok_or_else(|| missing("done"))?,
        }));
    }
    let result = read.result.ok_or_else(|| missing("result"))?;
    let changed = read.changed.ok_or_else(|| missing("changed"))?;
    Ok(match read.feature {
        Some(feature) => Report::FeatureDone { feature, result, changed, error: read.error },
        None => Report::Done { result, changed, error: read.error },
    })
}

/// The line a script prints for it.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = match self.clone() {
            Self::Action(action) => {
                let mut line = Line {
                    feature: Some(action.feature),
                    action: Some(action.kind),
                    change: Some(action.change),
                    done: Some(action.done),
                    ..Line::default()
                };
                match action.kind {
                    ActionKind::File | ActionKind::Folder => line.path = Some(action.target),
                    _ => line.name = Some(action.target),
                }
                line
            }
            Self::FeatureDone { feature, result, changed, error } => Line {
                feature: Some(feature),
                result: Some(result),
                changed: Some(changed),
                error,
                ..Line::default()
            },
            Self::Done { result, changed, error } => {
                Line { result: Some(result), changed: Some(changed), error, ..Line::default() }
            }
        };
        f.write_str(&serde_json::to_string(&line).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reports() -> impl Strategy<Value = Report> {
        use ActionKind as K;
        use Change as C;
        let kind = prop::sample::select(vec![K::Package, K::User, K::Folder, K::File, K::Command, K::Unit]);
        let change = prop::sample::select(vec![
            C::Create,
            C::Update,
            C::Remove,
            C::Restore,
            C::Keep,
            C::Install,
            C::Run,
            C::Enable,
            C::Disable,
            C::Start,
            C::Stop,
            C::Reload,
            C::Restart,
        ]);
        let outcome =
            prop::sample::select(vec![Outcome::Ok, Outcome::Failed, Outcome::Skipped, Outcome::Unknown]);
        let error = prop::option::of(".*");
        prop_oneof![
            ("[a-z-]+", kind, ".*", change, any::<bool>()).prop_map(
                |(feature, kind, target, change, done)| {
                    Report::Action(Action { feature, kind, target, change, done })
                }
            ),
            (".*", outcome.clone(), any::<u32>(), error.clone()).prop_map(
                |(feature, result, changed, error)| Report::FeatureDone { feature, result, changed, error }
            ),
            (outcome, any::<u32>(), error).prop_map(|(result, changed, error)| Report::Done {
                result,
                changed,
                error
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(report in reports()) {
            let line = report.to_string();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(parse_report(&line).unwrap(), report);
        }

        #[test]
        fn any_line_is_read_or_refused(line in ".*") {
            let _ = parse_report(&line);
        }
    }

    #[test]
    fn a_line_that_lacks_something_says_what() {
        let error =
            parse_report(r#"{"feature":"x","action":"file","change":"create","done":true}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"the report `{"feature":"x","action":"file","change":"create","done":true}` has no `path`"#
        );
        assert!(matches!(parse_report("apt says hello"), Err(ReportError::Malformed { .. })));
    }
}
