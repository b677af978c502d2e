//! What a guest really has, and really shows: asked of the guest.

use std::fmt::Write as _;
use std::time::Duration;

use apply::Failure;
use plan::desired::{Certificate, Issuer};
use serde::{Deserialize, Serialize};
use transport::{Command, Output, Runner};

use super::renewing::PROGRAM;
use crate::features::shell_quote;

/// Reading files and asking who serves them; each of those may hang for six seconds.
const LOOK: Duration = Duration::from_secs(60);

/// A certificate as its guest sees it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// The name of who signed it; nothing where there is no certificate.
    #[serde(default)]
    pub by: Option<String>,
    /// Its serial number, hexadecimal.
    #[serde(default)]
    pub serial: Option<String>,
    /// When its life began.
    #[serde(default)]
    pub not_before: Option<i64>,
    /// When it ends.
    #[serde(default)]
    pub not_after: Option<i64>,
    /// When its guest renews it.
    #[serde(default)]
    pub renew_at: Option<i64>,
    /// Where it should be served, and whether it is.
    #[serde(default)]
    pub served: Vec<Shown>,
    /// How often in a row it could not be had.
    #[serde(default)]
    pub failures: u32,
    /// Why it could not be renewed, or was not taken over.
    #[serde(default)]
    pub error: Option<String>,
}

/// What is served in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// `address:port/name`.
    pub at: String,
    /// The serial number of what is served; nothing where nobody answers.
    pub serial: Option<String>,
    /// Whether that is the one on disk.
    pub same: Option<bool>,
}

/// Reads what `certificates list` prints: a JSON object a line. Other lines are passed over.
pub fn parse(printed: &str) -> Vec<Seen> {
    printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// For guests that do not renew by themselves: the same lines, made with the same functions.
const PAIRS: &str = include_str!("../../../../catalog/certificates/pairs");

/// What prints a line for each; it stands behind [`PAIRS`].
const SHOW: &str = include_str!("show.sh");

/// What is the matter with a certificate that its host was asked for, as a sentence: it is gone, or another is served.
pub fn differs(seen: Option<&Seen>) -> Option<String> {
    let Some(seen) = seen.filter(|seen| seen.serial.is_some()) else {
        return Some("its files are not there any more".to_owned());
    };
    let other = seen.served.iter().find(|shown| shown.same == Some(false))?;
    Some(format!("another one is served at {}", other.at))
}

/// Asks a guest, or the node, for these certificates of its.
///
/// # Errors
/// When it cannot be asked.
pub async fn look(inside: &dyn Runner, certificates: &[&Certificate]) -> Result<Vec<Seen>, Failure> {
    let purpose = format!("looking at the certificates of {}", inside.place());
    let mut seen = Vec::new();
    if certificates.iter().any(|c| c.issuer != Issuer::Embedded) {
        let command = Command::new(purpose.clone(), [PROGRAM, "list"]).limit(LOOK);
        let output =
            inside.run(&command).await.map_err(|e| crate::settle::transport_failure(&command.purpose, &e))?;
        seen.extend(read(&output)?);
    }
    let rest: Vec<_> = certificates.iter().filter(|c| c.issuer == Issuer::Embedded).copied().collect();
    if !rest.is_empty() {
        let command = show(inside, &rest);
        let output =
            inside.run(&command).await.map_err(|e| crate::settle::transport_failure(&command.purpose, &e))?;
        seen.extend(read(&output)?);
    }
    Ok(seen)
}

/// What has a place tell what is on disk and what is served, whoever renews it; [`parse`] reads what it prints.
pub(crate) fn show(inside: &dyn Runner, certificates: &[&Certificate]) -> Command {
    let mut script = format!("set -u\n{PAIRS}{SHOW}");
    for certificate in certificates {
        let served: Vec<String> = certificate.served.iter().map(ToString::to_string).collect();
        // Writing to a String does not fail.
        let _ = writeln!(script, "show {} {}", certificate.name, shell_quote(&served.join(" ")));
    }
    Command::script(format!("looking at the certificates of {}", inside.place()), script).limit(LOOK)
}

fn read(output: &Output) -> Result<Vec<Seen>, Failure> {
    let seen = parse(&output.text());
    if seen.is_empty() && !output.success() {
        return Err(Failure::new("certificates::not-seen", "its certificates could not be looked at")
            .with_output(output.tail(3)));
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_guests_print_is_read() {
        let printed = concat!(
            r#"{"name":"notes","names":["notes.workshop.internal"],"issuer":"step-ca","by":"Phoenix workshop Step CA","serial":"1a","not_before":1,"not_after":2,"renew_at":2,"served":[{"at":"10.0.0.153:443/notes.workshop.internal","serial":"1a","same":true}],"failures":0,"error":null}"#,
            "\nnoise\n",
            r#"{"name":"chat","by":null,"serial":null,"not_before":null,"not_after":null,"renew_at":null,"served":[],"failures":2,"error":"the authority does not answer"}"#,
            "\n"
        );
        let seen = parse(printed);
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].serial.as_deref(), seen[0].served[0].same), (Some("1a"), Some(true)));
        assert_eq!(seen[1].error.as_deref(), Some("the authority does not answer"));
    }

    proptest! {
        #[test]
        fn prints_what_it_read(name in "[a-z.-]{1,20}", end in proptest::option::of(any::<i64>()), error in proptest::option::of(".{0,20}"), same in proptest::option::of(any::<bool>())) {
            let seen = Seen {
                name, by: None, serial: None, not_before: None, not_after: end, renew_at: None,
                served: vec![Shown { at: "10.0.0.1:443/x".into(), serial: None, same }], failures: 0, error,
            };
            prop_assert_eq!(parse(&serde_json::to_string(&seen).unwrap()), [seen]);
        }
    }
}
