//! The mark: how Phoenix knows what is its own. A fenced block in a guest's description names the site and the
//! resource, and holds the fingerprints of what was applied inside, so that a plan needs no look into the guest.
//!
//! There is no state file to lose (T-11, T-20): the mark travels with the guest, through backups and migrations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// The tag every guest of Phoenix' carries.
pub const TAG: &str = "phoenix";

/// Proxmox VE's limit for a description, in bytes (API schema, `description`, `maxLength`).
pub const DESCRIPTION_LIMIT: usize = 8192;

const OPEN: &str = "```phoenix";
const CLOSE: &str = "```";

/// What the fenced block says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mark {
    /// The site it belongs to.
    pub site: String,
    /// What it is.
    pub address: Address,
    /// Feature name to fingerprint of what was applied inside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, String>,
    /// Certificates that were put in it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, CertificateMark>,
    /// The certificate that the authority in this guest signs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<CertificateMark>,
    /// Services of this guest that were seen to answer, with the fingerprint of the path that was proven.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// What Phoenix set of the keys that others set, too (tags, name servers): only that is taken away again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

/// What is remembered of a certificate, as short as can be: serial's beginning, fingerprint of names and issuer,
/// begin and end in Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateMark {
    /// Fingerprint of the names in it and of the authority.
    #[serde(rename = "f")]
    pub fingerprint: String,
    /// Begin of its life, Unix seconds.
    #[serde(rename = "b")]
    pub begin: i64,
    /// End of its life, Unix seconds.
    #[serde(rename = "e")]
    pub end: i64,
    /// Serial number, hexadecimal.
    #[serde(rename = "s")]
    pub serial: String,
}

/// Why a fenced block could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the phoenix block in the description cannot be read")]
pub struct MarkError(#[source] serde_json::Error);

impl Mark {
    /// A mark with nothing applied yet.
    pub fn new(site: &str, address: Address) -> Self {
        Self {
            site: site.to_owned(),
            address,
            features: BTreeMap::new(),
            certificates: BTreeMap::new(),
            authority: None,
            services: BTreeMap::new(),
            set: BTreeMap::new(),
        }
    }
}

/// A text for people in the form in which it comes back from a node: line breaks are `\n`, and the end has no blanks, since
/// Phoenix' block follows.
pub fn text(written: &str) -> String {
    let lines: Vec<&str> = written.trim_end().lines().map(|line| line.trim_end_matches('\r')).collect();
    lines.join("\n")
}

/// Splits a description into the text for people and the mark, if there is one.
///
/// # Errors
/// When there is a fenced block that cannot be read.
pub fn parse(description: &str) -> Result<(String, Option<Mark>), MarkError> {
    let mut text = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    let mut found = None;
    for line in description.lines() {
        match &mut block {
            None if line.trim_end() == OPEN && found.is_none() => block = Some(Vec::new()),
            None => text.push(line),
            Some(lines) if line.trim_end() == CLOSE => {
                found = Some(lines.join("\n"));
                block = None;
            }
            Some(lines) => lines.push(line),
        }
    }
    if let Some(rest) = block {
        // Never closed: somebody cut it. It still counts, or a guest of ours would look like a stranger's.
        found = Some(rest.join("\n"));
    }
    let mark = found.map(|json| serde_json::from_str(&json).map_err(MarkError)).transpose()?;
    Ok((self::text(&text.join("\n")), mark))
}

/// The description that holds `text` for people and the mark.
pub fn render(text: &str, mark: &Mark) -> String {
    // A struct of strings and maps with string keys always serializes.
    let json = serde_json::to_string(mark).unwrap_or_default();
    let text = self::text(text);
    let gap = if text.is_empty() { "" } else { "\n\n" };
    format!("{text}{gap}{OPEN}\n{json}\n{CLOSE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark() -> Mark {
        let mut mark = Mark::new("workshop", Address::container("notes"));
        mark.features.insert("base".into(), "0011223344556677".into());
        mark.certificates.insert(
            "notes".into(),
            CertificateMark { fingerprint: "ab".into(), begin: 1, end: 2, serial: "0a".into() },
        );
        mark
    }

    #[test]
    fn foreign_descriptions_have_no_mark() {
        assert_eq!(parse("made by hand\n").unwrap(), ("made by hand".into(), None));
        assert_eq!(parse("").unwrap(), (String::new(), None));
        assert_eq!(parse("```sh\nls\n```").unwrap().1, None);
    }

    #[test]
    fn a_cut_block_still_marks_and_a_broken_one_is_an_error() {
        let whole = render("x", &mark());
        let cut = whole.trim_end_matches("\n```");
        assert_eq!(parse(cut).unwrap().1, Some(mark()));
        assert!(parse("```phoenix\n{\"site\":\n```").is_err());
    }

    #[test]
    fn a_hundred_certificates_fit_into_a_description() {
        let mut mark = mark();
        for n in 0..60 {
            mark.certificates.insert(
                format!("service-{n}"),
                CertificateMark {
                    fingerprint: "0123456789ab".into(),
                    begin: 1_790_000_000,
                    end: 1_790_000_000,
                    serial: "0123456789abcdef".into(),
                },
            );
        }
        assert!(render("", &mark).len() < DESCRIPTION_LIMIT);
    }

    /// A mark of before tags and name servers were remembered.
    #[test]
    fn older_marks_are_read() {
        let old = r#"{"site":"workshop","address":"container.notes","features":{"base":"0011223344556677"}}"#;
        let (_, mark) = parse(&format!("```phoenix\n{old}\n```")).unwrap();
        assert_eq!(serde_json::to_string(&mark.unwrap()).unwrap(), old);
    }

    proptest! {
        /// Whatever people write comes back as what it is compared as.
        #[test]
        fn text_and_mark_survive(text in "([a-zA-Z0-9 äö<>&%:#\r\t\\x00\\x1b\n-]|\r\n| \n){0,60}") {
            let whole = render(&text, &mark());
            let (back, found) = parse(&whole).unwrap();
            prop_assert_eq!(found.clone(), Some(mark()));
            prop_assert_eq!(&back, &self::text(&text));
            prop_assert_eq!(&self::text(&back), &back);
            // The node adds a newline to a container's description (a fact of the recordings).
            prop_assert_eq!(parse(&format!("{whole}\n")).unwrap(), (back, found));
        }
    }
}
