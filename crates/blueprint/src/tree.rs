//! JSON with comments as a tree whose every key and value knows its bytes in the file.

use std::collections::BTreeMap;
use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Value;

/// Bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// A value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub span: Span,
    pub kind: NodeKind,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum NodeKind {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Node>),
    Object(BTreeMap<String, Member>),
    /// Nothing that can be used; it has been reported.
    Broken,
}

/// A key of an object with its value.
#[derive(Debug)]
pub(crate) struct Member {
    pub key: Span,
    pub value: Node,
}

/// What is wrong with the text itself.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is not JSON.
    Syntax { message: String, hint: Option<&'static str>, span: Span },
    /// A key stands twice.
    DuplicateKey { key: String, first: Span, second: Span },
}

impl Node {
    /// What it is, for messages.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null | NodeKind::Broken => "null",
            NodeKind::Bool(_) => "true or false",
            NodeKind::Number(n) if n.is_f64() => "a number with a fraction",
            NodeKind::Number(_) => "a number",
            NodeKind::String(_) => "a text",
            NodeKind::Array(_) => "a list",
            NodeKind::Object(_) => "an object",
        }
    }

    pub fn members(&self) -> Option<&BTreeMap<String, Member>> {
        match &self.kind {
            NodeKind::Object(members) => Some(members),
            _ => None,
        }
    }

    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members()?.get(key)
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).map(|m| &m.value)
    }

    pub fn elements(&self) -> &[Self] {
        match &self.kind {
            NodeKind::Array(elements) => elements,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The place of the value a path of keys leads to, or of the innermost one that exists.
    pub fn locate(&self, path: &[&str]) -> Span {
        let mut node = self;
        for key in path {
            let Some(next) = node.get(key) else { break };
            node = next;
        }
        node.span
    }

    /// As plain JSON.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            NodeKind::Null | NodeKind::Broken => Value::Null,
            NodeKind::Bool(b) => Value::Bool(*b),
            NodeKind::Number(n) => Value::Number(n.clone()),
            NodeKind::String(s) => Value::String(s.clone()),
            NodeKind::Array(all) => Value::Array(all.iter().map(Self::to_value).collect()),
            NodeKind::Object(all) => Value::Object(
                all.iter().map(|(key, member)| (key.clone(), member.value.to_value())).collect(),
            ),
        }
    }
}

/// Reads a text. With trouble there may still be a tree, of what could be read.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<Trouble>) {
    // Comments and nothing else beyond strict JSON: that is what editors call "JSON with comments".
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = match parse_to_ast(text, &CollectOptions::default(), &options) {
        Ok(parsed) => parsed,
        Err(error) => {
            let range = error.range();
            return (None, vec![syntax(text, error.kind(), Span { start: range.start, end: range.end })]);
        }
    };
    let Some(value) = parsed.value else {
        let trouble = Trouble::Syntax {
            message: "the file is empty".to_owned(),
            hint: Some(EMPTY),
            span: Span::default(),
        };
        return (None, vec![trouble]);
    };
    let mut troubles = Vec::new();
    (Some(convert(&value, &mut troubles)), troubles)
}

const EMPTY: &str = "an empty blueprint is `{}`; remove the file if it is not needed";

fn syntax(text: &str, kind: &jsonc_parser::errors::ParseErrorKind, span: Span) -> Trouble {
    use jsonc_parser::errors::ParseErrorKind as K;
    let message = kind.to_string();
    let mut chars = message.chars();
    let message =
        chars.next().map(|c| c.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default();
    let hint = match kind {
        K::TrailingCommasNotAllowed => Some("remove the comma after the last element"),
        K::ExpectedComma => Some("put a comma here"),
        K::ExpectedStringObjectProperty => Some("keys stand in double quotes"),
        K::SingleQuotedStringsNotAllowed => Some("texts stand in double quotes"),
        K::UnterminatedObject => Some("a `}` is missing for the `{` here"),
        K::UnterminatedArray => Some("a `]` is missing for the `[` here"),
        _ => None,
    };
    // Objects without end are reported with all that follows: their first byte says more.
    let span = match kind {
        K::UnterminatedObject | K::UnterminatedArray => Span { start: span.start, end: span.start + 1 },
        _ => span,
    };
    let end = text.len();
    Trouble::Syntax { message, hint, span: Span { start: span.start.min(end), end: span.end.min(end) } }
}

fn convert(value: &ast::Value<'_>, troubles: &mut Vec<Trouble>) -> Node {
    let range = value.range();
    let span = Span { start: range.start, end: range.end };
    let kind = match value {
        ast::Value::NullKeyword(_) => NodeKind::Null,
        ast::Value::BooleanLit(lit) => NodeKind::Bool(lit.value),
        ast::Value::StringLit(lit) => NodeKind::String(lit.value.to_string()),
        ast::Value::NumberLit(lit) => match lit.value.parse::<serde_json::Number>() {
            Ok(number) => NodeKind::Number(number),
            Err(_) => {
                let message = format!("`{}` is not a number", lit.value);
                troubles.push(Trouble::Syntax { message, hint: None, span });
                NodeKind::Broken
            }
        },
        ast::Value::Array(array) => {
            NodeKind::Array(array.elements.iter().map(|v| convert(v, troubles)).collect())
        }
        ast::Value::Object(object) => {
            let mut members: BTreeMap<String, Member> = BTreeMap::new();
            for property in &object.properties {
                let range = property.name.range();
                let key = Span { start: range.start, end: range.end };
                let name = property.name.as_str();
                let value = convert(&property.value, troubles);
                if let Some(first) = members.get(name) {
                    let first = first.key;
                    troubles.push(Trouble::DuplicateKey { key: name.to_owned(), first, second: key });
                } else {
                    members.insert(name.to_owned(), Member { key, value });
                }
            }
            NodeKind::Object(members)
        }
    };
    Node { span, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_know_their_bytes() {
        let text = "{ // one\n \"a\": { \"b\": [1, true] } }";
        let (node, troubles) = parse(text);
        assert!(troubles.is_empty());
        let node = node.unwrap();
        assert_eq!(&text[node.locate(&["a", "b"]).range()], "[1, true]");
        assert_eq!(&text[node.locate(&["a", "none"]).range()], "{ \"b\": [1, true] }");
        assert_eq!(&text[node.member("a").unwrap().key.range()], "\"a\"");
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        for open in ["[", "{\"a\":"] {
            let (node, troubles) = parse(&open.repeat(100_000));
            assert!(node.is_none());
            assert_eq!(troubles.len(), 1);
        }
    }
}
