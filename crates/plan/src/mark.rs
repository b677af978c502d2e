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
    let mark = found.map(|json| unpack(&json).map_err(MarkError)).transpose()?;
    Ok((self::text(&text.join("\n")), mark))
}

/// The description that holds `text` for people and the mark. Where it would be longer than Proxmox VE takes, the
/// certificates, of which a gateway may have many, are written in short, and without their serial numbers.
pub fn render(text: &str, mark: &Mark) -> String {
    let text = self::text(text);
    let gap = if text.is_empty() { "" } else { "\n\n" };
    let whole = |json: String| format!("{text}{gap}{OPEN}\n{json}\n{CLOSE}");
    // A struct of strings and maps with string keys always serializes.
    let plain = whole(serde_json::to_string(mark).unwrap_or_default());
    if plain.len() <= DESCRIPTION_LIMIT {
        return plain;
    }
    pack(mark).map_or(plain, whole)
}

/// The key of certificates in short.
const PACKED: &str = "packed";

/// The mark with its certificates in short, a text each: name, fingerprint, begin and end (hexadecimal). Where one cannot
/// be written so, `None`.
fn pack(mark: &Mark) -> Option<String> {
    let mut rest = mark.clone();
    let mut packed = Vec::new();
    for (name, certificate) in std::mem::take(&mut rest.certificates) {
        let CertificateMark { fingerprint, begin, end, .. } = certificate;
        let blank = |text: &str| text.is_empty() || text.contains(char::is_whitespace);
        if blank(&name) || blank(&fingerprint) || begin < 0 || end < 0 {
            return None;
        }
        packed.push(format!("{name} {fingerprint} {begin:x} {end:x}"));
    }
    let mut value = serde_json::to_value(rest).ok()?;
    value[PACKED] = packed.into();
    serde_json::to_string(&value).ok()
}

/// Reads a mark, however its certificates are written.
fn unpack(json: &str) -> Result<Mark, serde_json::Error> {
    let mut value: serde_json::Value = serde_json::from_str(json)?;
    let packed = value.as_object_mut().and_then(|all| all.remove(PACKED));
    let mut mark: Mark = serde_json::from_value(value)?;
    let Some(packed) = packed else { return Ok(mark) };
    for line in serde_json::from_value::<Vec<String>>(packed)? {
        let wrong = || serde::de::Error::custom(format!("`{line}` is no certificate in short"));
        let [name, fingerprint, begin, end] = *line.split(' ').collect::<Vec<_>>() else {
            return Err(wrong());
        };
        let seconds = |text: &str| i64::from_str_radix(text, 16).map_err(|_| wrong());
        let certificate = CertificateMark {
            fingerprint: fingerprint.to_owned(),
            begin: seconds(begin)?,
            end: seconds(end)?,
            serial: String::new(),
        };
        mark.certificates.insert(name.to_owned(), certificate);
    }
    Ok(mark)
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

    fn with_certificates(count: usize) -> Mark {
        let mut mark = mark();
        for n in 0..count {
            let certificate = CertificateMark {
                fingerprint: format!("{n:012x}"),
                begin: 1_790_000_000,
                end: 1_797_776_000,
                serial: "0123456789abcdef".into(),
            };
            mark.certificates.insert(format!("service-{n}"), certificate);
        }
        mark
    }

    // F-7: a gateway with 120 services.
    #[test]
    fn a_hundred_and_fifty_certificates_fit_into_a_description() {
        let few = with_certificates(60);
        assert_eq!(parse(&render("", &few)).unwrap().1, Some(few.clone()));
        let many = with_certificates(150);
        let description = render("The front door.", &many);
        assert!(description.len() < DESCRIPTION_LIMIT, "{}", description.len());
        let (text, found) = parse(&description).unwrap();
        let found = found.unwrap();
        assert_eq!((text.as_str(), found.certificates.len()), ("The front door.", 151));
        for (name, certificate) in &many.certificates {
            let short = CertificateMark { serial: String::new(), ..certificate.clone() };
            assert_eq!(found.certificates[name], short);
        }
        // What was read is written the same.
        assert_eq!(render(&text, &found), description);
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
