//! Values of features' parameters.

use serde_json::{Value, json};

use crate::catalog::ParameterType;
use crate::tree::{Node, NodeKind};

/// A type as it is written.
pub(crate) fn word(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "string",
        ParameterType::Integer => "integer",
        ParameterType::Boolean => "boolean",
        ParameterType::Port => "port",
        ParameterType::Folder => "folder",
        ParameterType::File => "file",
        ParameterType::List => "list",
        ParameterType::Json => "json",
        ParameterType::Secret => "secret",
    }
}

/// A value of the type, to show what one looks like.
pub(crate) fn sample(kind: ParameterType) -> Value {
    match kind {
        ParameterType::Integer => json!(1),
        ParameterType::Port => json!(80),
        ParameterType::Boolean => json!(true),
        ParameterType::List => json!(["…"]),
        ParameterType::Secret => json!({"env": "NAME"}),
        ParameterType::Folder => json!("folder/"),
        ParameterType::String | ParameterType::File | ParameterType::Json => json!("…"),
    }
}

/// Whether a value is of the type; if not, what it must be, in words. Secrets are checked along their schema instead.
pub(crate) fn check_value(kind: ParameterType, node: &Node) -> Result<(), String> {
    let (good, expected) = match kind {
        ParameterType::String => (node.text().is_some(), "a text"),
        ParameterType::Integer => {
            (matches!(&node.kind, NodeKind::Number(n) if n.is_i64() || n.is_u64()), "a whole number")
        }
        ParameterType::Boolean => (matches!(node.kind, NodeKind::Bool(_)), "true or false"),
        ParameterType::Port => {
            let port = |n: &serde_json::Number| n.as_u64().is_some_and(|n| (1..=65535).contains(&n));
            let good = matches!(&node.kind, NodeKind::Number(n) if port(n));
            (good, "a port, from 1 to 65535")
        }
        ParameterType::Folder => (node.text().is_some(), "a folder of the site, as a text"),
        ParameterType::File => (node.text().is_some(), "a file of the site, as a text"),
        ParameterType::List => {
            let good = matches!(&node.kind, NodeKind::Array(all) if all.iter().all(|e| e.text().is_some()));
            (good, "a list of texts")
        }
        ParameterType::Json => (!matches!(node.kind, NodeKind::Null), "a value other than null"),
        ParameterType::Secret => (matches!(node.kind, NodeKind::Object(_)), "a reference to a secret"),
    };
    // Where the JSON type is right already, naming it says nothing.
    match (&node.kind, kind) {
        _ if good => Ok(()),
        (NodeKind::Number(number), ParameterType::Port) => Err(format!("{expected}, not {number}")),
        (NodeKind::Array(_), ParameterType::List) | (NodeKind::Null, ParameterType::Json) => {
            Err(expected.to_owned())
        }
        _ => Err(format!("{expected}, not {}", node.noun())),
    }
}
