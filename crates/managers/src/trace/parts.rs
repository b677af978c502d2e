//! What the scripts print: parts, each begun by a line with a record separator (U+001E) and the part's name. No other
//! text has one: the scripts drop it from what they pass on.

use std::fmt;

/// Begins the line with a part's name.
const MARK: char = '\u{1e}';

/// The parts of a script's output, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(Vec<(String, String)>);

impl Parts {
    /// Reads a script's output. What stands before the first part is dropped.
    pub fn parse(text: &str) -> Self {
        let mut parts: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            match (line.strip_prefix(MARK), parts.last_mut()) {
                (Some(name), _) => parts.push((name.trim_end_matches('\n').to_owned(), String::new())),
                (None, Some((_, text))) => text.push_str(line),
                (None, None) => {}
            }
        }
        Self(parts)
    }

    /// The text of the part with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str())
    }

    /// All of them, with their names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The parts whose names begin with this word, by what follows it: `certificate` finds `certificate notes`.
    pub fn each<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, text)| {
            Some((name.strip_prefix(word)?.strip_prefix(' ')?, text.as_str()))
        })
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, text)| write!(f, "{MARK}{name}\n{text}"))
    }
}

/// The value behind `key` at the beginning of a line: `took` in `took 1200`.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_found_by_their_names() {
        let parts =
            Parts::parse("noise\n\u{1e}tcp\nstatus 0\ntook 12\n\u{1e}certificate notes\nx\n\u{1e}end\n");
        assert_eq!(parts.get("tcp").and_then(|t| value(t, "took")), Some("12"));
        assert_eq!(parts.each("certificate").collect::<Vec<_>>(), [("notes", "x\n")]);
        assert_eq!((parts.get("end"), parts.get("http")), (Some(""), None));
    }

    proptest! {
        #[test]
        fn prints_what_it_parsed(parts in proptest::collection::vec(("[a-z ]{1,12}", "([^\u{1e}\n]{0,20}\n){0,3}"), 0..6)) {
            let parts = Parts(parts);
            prop_assert_eq!(Parts::parse(&parts.to_string()), parts);
        }

        #[test]
        fn any_text_is_read(text in ".{0,200}") {
            let once = Parts::parse(&text).to_string();
            prop_assert_eq!(Parts::parse(&once).to_string(), once);
        }
    }
}
