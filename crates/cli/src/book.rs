//! The pages of the book that are in the binary, for `phoenix-cli help`.

use crate::markdown;

/// A page.
#[derive(Debug)]
pub struct Page {
    /// What it is called on the command line: its file's name without `.md`.
    pub name: &'static str,
    /// Its line in the book's contents.
    pub title: &'static str,
    /// Its Markdown.
    pub text: &'static str,
}

/// All of them, in the book's order.
pub const PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/book.rs"));

/// The page of that name.
pub fn find(name: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.name == name)
}

impl Page {
    /// What it is about: its first sentence.
    pub fn summary(&self) -> String {
        let text = markdown::first_paragraph(self.text);
        let end = [". ", ": "].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
        text[..end].trim_end_matches(['.', ':']).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pages_are_those_of_the_book_and_say_what_they_are_about() {
        let names: BTreeSet<&str> = PAGES.iter().map(|page| page.name).collect();
        assert_eq!(names.len(), PAGES.len(), "a page is there twice");
        for name in ["getting-started", "stacks", "troubleshooting"] {
            assert!(names.contains(name), "{name} is not there");
        }
        for page in PAGES {
            let summary = page.summary();
            assert!(summary.chars().count() > 15, "{}: {summary}", page.name);
            assert!(!page.text.contains("{{#include"), "{}", page.name);
            assert!(!page.title.is_empty() && page.text.starts_with("# "), "{}", page.name);
        }
    }
}
