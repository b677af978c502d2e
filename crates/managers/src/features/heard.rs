//! What a script says, line by line, gathered.

use std::collections::BTreeMap;

use apply::Failure;

use super::{Action, Outcome, Report, parse_report};

/// What a script reported.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What it did, or would do, in its order.
    pub(super) actions: Vec<Action>,
    /// How each feature ended.
    pub(super) features: BTreeMap<String, Ended>,
    /// How all of it ended; `None` while it has not, or where it was cut off.
    pub(super) end: Option<(Outcome, Option<String>)>,
    /// What is wrong with the first line that is no report.
    strange: Option<String>,
}

/// How a feature ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) result: Outcome,
    /// How many actions it took.
    pub(super) changed: u32,
    error: Option<String>,
}

impl Ended {
    /// Why it failed, in its words.
    pub(super) fn error(&self) -> String {
        self.error.clone().unwrap_or_else(|| "it did not say why".to_owned())
    }
}

impl Heard {
    /// Takes in a line; `tell` hears the action it tells of.
    pub(super) fn line(&mut self, line: &str, tell: &dyn Fn(&Action)) {
        match parse_report(line) {
            Ok(Report::Action(action)) => {
                tell(&action);
                self.actions.push(action);
            }
            Ok(Report::FeatureDone { feature, result, changed, error }) => {
                self.features.insert(feature, Ended { result, changed, error });
            }
            Ok(Report::Done { result, error, .. }) => self.end = Some((result, error)),
            Err(error) => {
                self.strange.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// Reads the whole of what a script said that went through.
    ///
    /// # Errors
    /// When it holds something else, was cut off, or says that the script could not be run at all.
    pub(super) fn whole(text: &str) -> Result<Self, String> {
        let mut heard = Self::default();
        for line in text.lines() {
            heard.line(line, &|_| {});
        }
        match (&heard.strange, &heard.end) {
            (Some(error), _) | (None, Some((_, Some(error)))) => Err(error.clone()),
            (None, None) => Err("what the script said was cut off".to_owned()),
            (None, Some((_, None))) => Ok(heard),
        }
    }

    /// How many actions a feature took.
    ///
    /// # Errors
    /// When it failed, or the script did not get to it.
    pub(crate) fn outcome(&self, name: &str, place: &dyn std::fmt::Display) -> Result<u32, Failure> {
        let error = match self.features.get(name) {
            Some(Ended { result: Outcome::Ok | Outcome::Unknown, changed, .. }) => return Ok(*changed),
            Some(ended @ Ended { result: Outcome::Failed, .. }) => ended.error(),
            _ => {
                let error = self.end.as_ref().and_then(|(_, e)| e.clone()).or_else(|| self.strange.clone());
                error.unwrap_or_else(|| format!("the script did not get to {name}"))
            }
        };
        let doing = format!("failed while installing {name} in {place}");
        Err(Failure::new("features::failed", error).while_doing(doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DONE: &str = r#"{"result":"ok","changed":3}"#;

    #[test]
    fn half_a_report_is_none() {
        let feature = r#"{"feature":"base","result":"ok","changed":0}"#;
        assert!(Heard::whole(&[feature, DONE].join("\n")).is_ok());
        assert_eq!(Heard::whole(feature).unwrap_err(), "what the script said was cut off");
        assert!(Heard::whole(&["apt says hello", DONE].join("\n")).unwrap_err().contains("is no report"));
        let locked = r#"{"result":"failed","changed":0,"error":"another script runs"}"#;
        assert_eq!(Heard::whole(locked).unwrap_err(), "another script runs");
    }

    proptest! {
        #[test]
        fn any_report_is_read_or_refused(lines in prop::collection::vec(".*", 0..5), done: bool) {
            let mut text = lines.join("\n");
            if done {
                text = format!("{text}\n{DONE}");
            }
            let _ = Heard::whole(&text);
        }
    }
}
