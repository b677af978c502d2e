//! What must hold of parameters and of the names in templates, whoever declares them: a feature, or a stack of the catalogue.

use std::collections::BTreeMap;

use crate::catalog::{Parameter, ParameterType};
use crate::check;
use crate::parameters;
use crate::read::Document;
use crate::report::{Draft, Report};
use crate::suggest;
use crate::tree::{Node, NodeKind, Span};

/// Words of the template language and of Phoenix in it, which are no names.
const TEMPLATE_WORDS: &[&str] =
    &["true", "false", "none", "not", "range", "dict", "namespace", "loop", "fail"];

/// Words of JSON Schema that values of parameters are held against, those with schemas in them aside.
const SCHEMA_WORDS: &[&str] = &[
    "additionalProperties",
    "anyOf",
    "const",
    "description",
    "enum",
    "examples",
    "format",
    "items",
    "maximum",
    "maxProperties",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "propertyNames",
    "required",
    "type",
    "x-expects",
];

/// Who declares parameters.
#[derive(Clone, Copy)]
pub(crate) struct Declared<'a> {
    /// What it is, for messages: `feature`, `stack`.
    pub what: &'static str,
    pub parameters: &'a BTreeMap<String, Parameter>,
    /// Names that its templates know beside parameters.
    pub names: &'static [&'static str],
    /// The code of what is wrong.
    pub code: &'static str,
    /// Where it is declared.
    pub document: &'a Document,
}

impl Declared<'_> {
    /// Reports something at its place.
    pub fn bad(self, span: Span, message: String, hint: Option<String>, report: &mut Report) {
        report.push(Draft::error(self.code, self.document.spot(span), message).maybe_hint(hint));
    }

    /// Names, defaults and schemas of the parameters fit.
    pub fn check_parameters(self, root: &Node, report: &mut Report) {
        let Some(members) = root.get("parameters").and_then(Node::members) else { return };
        for (name, member) in members {
            let good = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
            if !good || self.names.contains(&name.as_str()) || TEMPLATE_WORDS.contains(&name.as_str()) {
                let message = format!("`{}` cannot be the name of a parameter", name.escape_debug());
                let hint =
                    "lower-case letters, digits, `_` and `-`, and not a name that templates have already";
                self.bad(member.key, message, Some(hint.to_owned()), report);
            }
            let Some(parameter) = self.parameters.get(name) else { continue };
            if let Some(default) = member.value.get("default")
                && !matches!(
                    parameter.kind,
                    ParameterType::Folder | ParameterType::File | ParameterType::Secret
                )
                && !(parameter.derived && matches!(default.kind, NodeKind::Null))
                && let Err(wrong) = parameters::check_value(parameter.kind, default)
            {
                let message = format!("the default of `{name}` must be {wrong}");
                self.bad(default.span, message, None, report);
            }
            if let Some(schema) = &parameter.schema
                && let Some(default) = member.value.get("default")
            {
                let path = vec![check::Step::Key(name)];
                check::check(default, schema, self.document.file, path, report);
            }
            if let Some(schema) = member.value.get("schema") {
                self.check_schema(schema, report);
            }
            // A default is part of what is declared; these three are parts of a site.
            if matches!(parameter.kind, ParameterType::Secret | ParameterType::Folder | ParameterType::File)
                && let Some(default) = member.value.get("default")
            {
                let kind = parameters::word(parameter.kind);
                let message = format!("the {kind} `{name}` cannot have a default");
                self.bad(default.span, message, None, report);
            }
        }
    }

    /// A word of a schema that nobody looks at would be a rule that does not hold.
    fn check_schema(self, node: &Node, report: &mut Report) {
        for (word, member) in node.members().into_iter().flatten() {
            match word.as_str() {
                "properties" => {
                    let all = member.value.members().into_iter().flatten();
                    all.for_each(|(_, property)| self.check_schema(&property.value, report));
                }
                "anyOf" | "oneOf" => {
                    member.value.elements().iter().for_each(|it| self.check_schema(it, report));
                }
                "items" | "additionalProperties" | "propertyNames" | "not" => {
                    self.check_schema(&member.value, report);
                }
                "pattern" => {
                    let text = member.value.text().unwrap_or_default();
                    if let Err(wrong) = regex_lite::Regex::new(text) {
                        let message =
                            format!("the pattern `{}` cannot be read: {wrong}", text.escape_debug());
                        self.bad(member.value.span, message, None, report);
                    }
                }
                word if SCHEMA_WORDS.contains(&word) => {}
                word => {
                    let message = format!("`{}` is no word of a parameter's schema", word.escape_debug());
                    let hint = suggest::hint(word, "there are", SCHEMA_WORDS.iter().copied());
                    self.bad(member.key, message, hint, report);
                }
            }
        }
    }

    /// Every name in `{{ … }}` of every text and key is a parameter's, or one that all templates have.
    pub fn check_templates(self, node: &Node, report: &mut Report) {
        self.check_below(node, None, report);
    }

    fn check_below(self, node: &Node, key: Option<&str>, report: &mut Report) {
        match &node.kind {
            NodeKind::String(text) if key != Some("description") => self.check_text(text, node.span, report),
            NodeKind::Array(elements) => elements.iter().for_each(|e| self.check_below(e, key, report)),
            NodeKind::Object(members) => {
                for (key, member) in members {
                    self.check_text(key, member.key, report);
                    self.check_below(&member.value, Some(key), report);
                }
            }
            _ => {}
        }
    }

    fn check_text(self, text: &str, span: Span, report: &mut Report) {
        let local = local_names(text);
        for name in names_in_templates(text).filter(|name| !local.contains(name)) {
            let known = self.parameters.keys();
            let same = |p: &String| p == name || p.replace('-', "_") == name;
            if known.clone().any(same) || self.names.contains(&name) || TEMPLATE_WORDS.contains(&name) {
                continue;
            }
            let candidates: Vec<&str> = known.map(String::as_str).chain(self.names.iter().copied()).collect();
            let hint = suggest::hint(name, "there are", candidates.iter().copied());
            let message = format!("`{{{{ {name} }}}}` names no parameter of the {}", self.what);
            self.bad(span, message, hint, report);
        }
    }
}

/// The name in `{{ name }}`, where that is the whole text.
pub(crate) fn whole_parameter(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-').then_some(name)
}

/// The names that stand first in the `{{ … }}` of a text; expressions that begin otherwise are left to the engine.
fn names_in_templates(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|rest| {
        let (inner, _) = rest.split_once("}}")?;
        let inner = inner.trim_matches(['-', '+']).trim();
        let end =
            inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(inner.len());
        let name = inner.get(..end)?;
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some(name)
    })
}

/// The names that a template gives itself with `{% for … in %}` and `{% set … %}`.
fn local_names(text: &str) -> Vec<&str> {
    let blocks = text.split("{%").skip(1).map(|rest| rest.trim_start_matches(['-', '+']).trim_start());
    let named = blocks.filter_map(|block| {
        let loops = block.strip_prefix("for ").and_then(|rest| rest.split_once(" in "));
        loops
            .or_else(|| block.strip_prefix("set ").and_then(|rest| rest.split_once('=')))
            .map(|(names, _)| names)
    });
    named.flat_map(|names| names.split(',').map(str::trim)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_templates_are_found() {
        let names: Vec<&str> =
            names_in_templates("http://{{ host }}:{{port|int}}/{{ 'x' }}{{- a.b -}} {{ open").collect();
        assert_eq!(names, ["host", "port", "a"]);
        assert_eq!(whole_parameter(" {{ root }} "), Some("root"));
        assert_eq!(whole_parameter("{{ a }}/{{ b }}"), None);
        assert_eq!(local_names("{% for a, b in all %}{{ a }}{% endfor %}{%- set c = 1 %}"), ["a", "b", "c"]);
    }
}
