//! Where packages come from: apt's sources in both of their forms (sources.list(5)), and the same for another release.

use std::collections::BTreeMap;

/// A release in an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    /// The archive, without a slash at its end.
    pub uri: String,
    /// `bookworm`, `bookworm-updates`.
    pub suite: String,
    /// `main`.
    pub components: Vec<String>,
    /// The file with the keys that vouch for it.
    pub signed_by: Option<String>,
}

impl Source {
    /// As a line of `sources.list`.
    pub(crate) fn line(&self) -> String {
        let options = self.signed_by.iter().map(|key| format!("[signed-by={key}] ")).collect::<String>();
        format!("deb {options}{} {} {}\n", self.uri, self.suite, self.components.join(" "))
    }
}

/// All that a file of sources names for binary packages, in either form.
pub(crate) fn parse(text: &str) -> Vec<Source> {
    let lines = text.lines().filter_map(line);
    lines.chain(text.split("\n\n").flat_map(stanza)).collect()
}

fn line(text: &str) -> Option<Source> {
    let rest = text.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = rest.split('#').next().unwrap_or_default();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let signed = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri: words.next()?.trim_end_matches('/').to_owned(),
        suite: words.next()?.to_owned(),
        components: words.map(str::to_owned).collect(),
        signed_by: signed.filter(|key| key.starts_with('/')).map(str::to_owned),
    })
}

/// A paragraph of fields; each pair of an archive and a suite is one.
fn stanza(text: &str) -> Vec<Source> {
    let fields = text.lines().filter(|line| !line.starts_with(['#', ' ', '\t']));
    let fields: BTreeMap<String, &str> = fields
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim()))
        .collect();
    let list = |key: &str| {
        let text = fields.get(key).copied().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let off = fields.get("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if off || !list("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let signed_by = list("signed-by").first().filter(|key| key.starts_with('/')).cloned();
    let pairs = list("uris").into_iter().flat_map(|uri| {
        let uri = uri.trim_end_matches('/').to_owned();
        list("suites").into_iter().map(move |suite| (uri.clone(), suite))
    });
    pairs
        .map(|(uri, suite)| Source {
            uri,
            suite,
            components: list("components"),
            signed_by: signed_by.clone(),
        })
        .collect()
}

/// What of `sources` is Debian's own for the release `from`, turned into the same of `to`. Other archives may not have it.
pub(crate) fn for_release(sources: &[Source], from: &str, to: &str) -> Vec<Source> {
    let own = sources.iter().filter(|source| source.components.iter().any(|c| c == "main"));
    let mut out: Vec<Source> = own
        .filter_map(|source| {
            let rest = source.suite.strip_prefix(from)?;
            let parts = ["", "-updates", "-security"];
            parts.contains(&rest).then(|| Source { suite: format!("{to}{rest}"), ..source.clone() })
        })
        .collect();
    out.dedup();
    // An archive that has no security updates or the like of a release is not Debian's.
    let debian = |source: &Source| source.uri.contains("debian");
    out.retain(|source| source.suite != to || debian(source));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEW: &str = "Types: deb deb-src\n# a comment\nURIs: http://deb.debian.org/debian/\nSuites: bookworm bookworm-updates\n\
                       Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
                       Types: deb\nEnabled: no\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\n\
                       Components: main\n\nTypes: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: nodistro\nComponents: main\n";

    #[test]
    fn both_forms_are_read() {
        let keyring = Some("/usr/share/keyrings/debian-archive-keyring.gpg".to_owned());
        let all = parse(NEW);
        assert_eq!(all.len(), 3, "{all:#?}");
        assert_eq!((all[1].suite.as_str(), &all[1].signed_by), ("bookworm-updates", &keyring));
        assert_eq!(all[0].uri, "http://deb.debian.org/debian");
        let old = "# deb http://a/debian x main\ndeb-src http://a/debian bookworm main\n\
                   deb [arch=amd64 signed-by=/k.gpg] http://a/debian/ bookworm main # here\n";
        assert_eq!(
            parse(old),
            [Source {
                uri: "http://a/debian".to_owned(),
                suite: "bookworm".to_owned(),
                components: vec!["main".to_owned()],
                signed_by: Some("/k.gpg".to_owned()),
            }]
        );
    }

    #[test]
    fn another_release_comes_from_the_same_archives() {
        let text = format!(
            "{NEW}\n\ndeb https://download.example/linux bookworm main\ndeb http://a/debian-security bookworm-security main\n"
        );
        let lines: String =
            for_release(&parse(&text), "bookworm", "trixie").iter().map(Source::line).collect();
        assert_eq!(
            lines,
            "deb http://a/debian-security trixie-security main\n\
             deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main contrib\n\
             deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie-updates main contrib\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            uri in "https?://[a-z.]{1,12}(/[a-z]{1,8}){0,2}", suite in "[a-z][a-z-]{0,12}",
            components in proptest::collection::vec("[a-z]{1,8}", 0..3), key in proptest::option::of("/[a-z/.]{1,12}"),
        ) {
            let source = Source { uri, suite, components, signed_by: key };
            prop_assert_eq!(parse(&source.line()), [source]);
        }

        #[test]
        fn any_text_is_read_without_harm(text in "(deb |Types: deb\n|URIs: |Suites: |\\[|\\]|[a-z:/ \n#]){0,40}") {
            for source in parse(&text) {
                prop_assert!(!source.uri.contains(char::is_whitespace) && !source.suite.is_empty());
            }
        }
    }
}
