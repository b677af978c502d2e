//! The structural check: walks a file's tree along the JSON Schema and finds everything that is wrong, not only the
//! first thing. What is right comes out as plain JSON, without what is wrong, so that later checks can go on with it.

use std::collections::BTreeMap;
use std::fmt;

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::codes;
use crate::kin;
use crate::report::{Draft, Report, Spot};
use crate::schema::{self, resolve};
use crate::suggest;
use crate::tree::{Member, Node, NodeKind, Span};
use crate::values;

/// The schema of what may be anything.
const ANYTHING: &Value = &Value::Bool(true);

/// A walk through one file.
struct Check<'a> {
    root: &'a Value,
    report: &'a mut Report,
    file: usize,
    path: Vec<Step<'a>>,
}

/// A step on the way to a value.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// Into an object.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Checks a value against a schema; `path` is how messages name it.
pub(crate) fn check<'a>(
    node: &'a Node,
    schema: &'a Value,
    file: usize,
    path: Vec<Step<'a>>,
    report: &'a mut Report,
) -> Option<Value> {
    Check { root: schema, report, file, path }.value(node, schema)
}

impl<'a> Check<'a> {
    fn spot(&self, span: Span) -> Spot {
        Spot { file: self.file, span }
    }

    /// The value's name for messages: its last key, with the positions in lists.
    fn name(&self) -> String {
        let key = self.path.iter().rposition(|step| matches!(step, Step::Key(_))).unwrap_or(0);
        match self.path.get(key..) {
            Some(steps) if !steps.is_empty() => {
                format!("`{}`", steps.iter().map(ToString::to_string).collect::<String>())
            }
            _ => "the file".to_owned(),
        }
    }

    /// Where it is, for labels: all keys that lead to it.
    fn whole_path(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            if !out.is_empty() && matches!(step, Step::Key(_)) {
                out.push('.');
            }
            out.push_str(&step.to_string());
        }
        out
    }

    fn error(&mut self, code: &'static str, span: Span, message: String, hint: Option<String>) {
        let draft = Draft::error(code, self.spot(span), message).maybe_hint(hint);
        self.report.push(draft);
    }

    fn value(&mut self, node: &'a Node, schema: &'a Value) -> Option<Value> {
        let schema = resolve(self.root, schema);
        if matches!(node.kind, NodeKind::Broken) {
            return None;
        }
        if schema.is_boolean() {
            return Some(node.to_value());
        }
        // In the schema of a feature's parameter.
        if schema.get("format").is_some_and(|format| format == "secret") {
            let whole = schema::secret_schema();
            let path = self.path.clone();
            return Check { root: whole, report: self.report, file: self.file, path }.value(node, whole);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = schema.get(key) {
                return self.branches(node, schema, branches);
            }
        }
        if let Some(Value::Array(allowed)) = schema.get("enum") {
            return self.one_of(node, &allowed.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        }
        if !accepts(schema, node) {
            self.wrong_type(node, schema);
            return None;
        }
        match &node.kind {
            NodeKind::Object(members) => self.object(node, members, schema),
            NodeKind::Array(elements) => self.array(node, elements, schema),
            NodeKind::String(text) => self.text(node, text, schema),
            NodeKind::Number(number) => self.number(node, number, schema),
            NodeKind::Bool(_) | NodeKind::Null => Some(node.to_value()),
            NodeKind::Broken => None,
        }
    }

    fn branches(&mut self, node: &'a Node, schema: &'a Value, branches: &'a [Value]) -> Option<Value> {
        let mut constants = Vec::new();
        for branch in branches {
            if let Some(constant) = branch.get("const").and_then(Value::as_str) {
                constants.push(constant);
            } else if let Some(Value::Array(some)) = branch.get("enum") {
                constants.extend(some.iter().filter_map(Value::as_str));
            }
        }
        let only_words = branches.iter().all(|it| it.get("const").is_some() || it.get("enum").is_some());
        if only_words && !constants.is_empty() {
            return self.one_of(node, &constants);
        }
        // Alternatives differ in their JSON type, so the value itself tells which one was meant.
        match branches.iter().find(|branch| accepts(resolve(self.root, branch), node)) {
            // A word that is none of them may stand where something else than a word was meant.
            Some(branch)
                if words(resolve(self.root, branch))
                    .is_some_and(|words| !words.contains(&node.text().unwrap_or_default())) =>
            {
                let message =
                    format!("{} cannot be `{}`", self.name(), node.text().unwrap_or_default().escape_debug());
                let hint = format!("it can be {}", expectation(self.root, schema));
                self.error(codes::BAD_VALUE, node.span, message, Some(hint));
                None
            }
            Some(branch) => self.value(node, branch),
            None => {
                self.wrong_type(node, schema);
                None
            }
        }
    }

    fn one_of(&mut self, node: &Node, allowed: &[&str]) -> Option<Value> {
        match node.text() {
            Some(text) if allowed.contains(&text) => return Some(node.to_value()),
            Some(text) => {
                let message = format!("{} cannot be `{}`", self.name(), text.escape_debug());
                let hint = suggest::hint(text, "it can be", allowed.iter().copied());
                self.error(codes::BAD_VALUE, node.span, message, hint);
            }
            None => {
                let list: Vec<String> = allowed.iter().map(|a| format!("\"{a}\"")).collect();
                let message =
                    format!("{} must be one of {}, not {}", self.name(), list.join(", "), node.noun());
                self.error(codes::WRONG_TYPE, node.span, message, None);
            }
        }
        None
    }

    fn wrong_type(&mut self, node: &Node, schema: &Value) {
        if schema.get("x-secret").is_some() && !matches!(node.kind, NodeKind::Object(_)) {
            let name = self.path.last().map(ToString::to_string).unwrap_or_default();
            literal_secret(self.report, self.spot(node.span), &name);
            return;
        }
        let expected = expectation(self.root, schema);
        let message = format!("{} must be {expected}, not {}", self.name(), node.noun());
        let hint = match node.kind {
            NodeKind::Null => Some("leave the key out where nothing is to be said".to_owned()),
            _ => None,
        };
        self.error(codes::WRONG_TYPE, node.span, message, hint);
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Value) -> Option<Value> {
        if text.is_empty() && schema.get("minLength").is_some() {
            let message = format!("{} is empty", self.name());
            self.error(codes::BAD_VALUE, node.span, message, None);
            return None;
        }
        if let Some(kind) = form(schema)
            && let Err(error) = values::check_text(kind, text)
        {
            if kind == "endpoint" && text.contains('@') {
                self.report.secret(self.spot(node.span));
            }
            let code = match kind {
                "label" | "domain" => codes::BAD_NAME,
                "site-path" => codes::BAD_PATH,
                _ => codes::BAD_VALUE,
            };
            let label = self.whole_path();
            let draft =
                Draft::error(code, self.spot(node.span), error.message).label(label).maybe_hint(error.hint);
            self.report.push(draft);
            return None;
        }
        if let Some(hint) = unlike(schema, text) {
            let message = format!("{} cannot be `{}`", self.name(), text.escape_debug());
            self.error(codes::BAD_VALUE, node.span, message, hint);
            return None;
        }
        Some(node.to_value())
    }

    fn number(&mut self, node: &Node, number: &serde_json::Number, schema: &Value) -> Option<Value> {
        let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
        // The checks on the type let only whole numbers through where one is wanted; those too large have no i64.
        let value = number.as_i64();
        let whole = schema.get("type").is_some_and(|t| t == "integer");
        let low = bound("minimum");
        let high = bound("maximum").or(whole.then_some(i64::from(u32::MAX)));
        let inside = match (value, number.as_f64()) {
            (Some(v), _) => low.is_none_or(|l| v >= l) && high.is_none_or(|h| v <= h),
            // The bounds of numbers that need not be whole are small.
            #[expect(clippy::cast_precision_loss, reason = "the bounds of our own schema")]
            (None, Some(v)) if !whole => {
                low.is_none_or(|l| v >= l as f64) && high.is_none_or(|h| v <= h as f64)
            }
            _ => false,
        };
        if inside || (low.is_none() && high.is_none()) {
            return Some(node.to_value());
        }
        let message = format!("{} cannot be {number}", self.name());
        let hint = match (low, high) {
            (Some(low), Some(high)) => format!("from {low} to {high}"),
            (Some(low), None) => format!("at least {low}"),
            (_, Some(high)) => format!("at most {high}"),
            (None, None) => return None,
        };
        self.error(codes::BAD_VALUE, node.span, message, Some(hint));
        None
    }

    fn array(&mut self, node: &'a Node, elements: &'a [Node], schema: &'a Value) -> Option<Value> {
        if elements.is_empty() && schema.get("minItems").is_some() {
            let message = format!("{} is an empty list", self.name());
            self.error(codes::BAD_VALUE, node.span, message, None);
            return None;
        }
        let Some(items) = schema.get("items") else { return Some(node.to_value()) };
        let mut out = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            self.path.push(Step::Index(index));
            out.extend(self.value(element, items));
            self.path.pop();
        }
        Some(Value::Array(out))
    }

    fn object(
        &mut self,
        node: &'a Node,
        members: &'a BTreeMap<String, Member>,
        schema: &'a Value,
    ) -> Option<Value> {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        let mut out = Map::new();
        let mut unknown = false;
        for (key, member) in members {
            let inner = match (known.and_then(|k| k.get(key)), others) {
                (Some(inner), _) => inner,
                (None, Some(Value::Bool(false))) => {
                    unknown = true;
                    self.unknown_key(key, member, known);
                    continue;
                }
                (None, Some(inner)) => {
                    if !self.key_is_good(key, member, schema) {
                        continue;
                    }
                    inner
                }
                (None, None) => ANYTHING,
            };
            self.path.push(Step::Key(key));
            if let Some(value) = self.value(&member.value, inner) {
                out.insert(key.clone(), value);
            }
            self.path.pop();
        }
        let mut complete = true;
        for key in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            complete &= out.contains_key(key);
            if !members.contains_key(key) {
                self.missing_key(node, key, known);
            }
        }
        if schema.get("maxProperties").and_then(Value::as_u64) == Some(1) && members.len() != 1 {
            // Where all keys are unknown, the one that is missing was probably misspelt: those errors are enough.
            let one_known = known.is_some_and(|known| members.keys().any(|key| known.contains_key(key)));
            if !unknown || one_known {
                self.not_one(node, members, known);
            }
            return None;
        }
        // What must hold something is nothing without what was wrong in it.
        let hollow = out.is_empty() && schema.get("minProperties").is_some();
        (complete && !hollow).then_some(Value::Object(out))
    }

    fn unknown_key(&mut self, key: &str, member: &Member, known: Option<&Map<String, Value>>) {
        let candidates =
            known.into_iter().flat_map(Map::keys).map(String::as_str).filter(|k| !k.starts_with('$'));
        let place = self.whole_path();
        let kin = || kin::of(place.split('.').next()?, key);
        let near = suggest::nearest(key, candidates.clone()).is_some();
        let deeper = || self.deeper(key, known).filter(|_| !near);
        let listed = || suggest::hint(key, "known keys here", candidates);
        let hint = kin().or_else(deeper).or_else(listed).or_else(|| {
            // Where there are too many to list them.
            (!place.is_empty()).then(|| format!("phoenix-cli explain {place} lists the keys"))
        });
        let label = if place.is_empty() { String::new() } else { format!("in `{place}`") };
        let message = format!("unknown key `{}`", key.escape_debug());
        let draft =
            Draft::error(codes::UNKNOWN_KEY, self.spot(member.key), message).label(label).maybe_hint(hint);
        self.report.push(draft);
    }

    /// Where one of the known keys has an object with this key, and no other has: what to write instead.
    fn deeper(&self, key: &str, known: Option<&Map<String, Value>>) -> Option<String> {
        let has = |schema: &Value| {
            resolve(self.root, schema).get("properties").is_some_and(|inner| inner.get(key).is_some())
        };
        let mut outer = known.into_iter().flatten().filter(|(_, schema)| has(schema)).map(|(outer, _)| outer);
        let one = outer.next().filter(|_| outer.next().is_none())?;
        Some(format!("it is a key of `{one}`: \"{one}\": {{ \"{key}\": … }}"))
    }

    fn key_is_good(&mut self, key: &str, member: &Member, schema: &Value) -> bool {
        let Some(names) = schema.get("propertyNames") else { return true };
        if let Some(hint) = unlike(names, key) {
            let message = format!("{} cannot have the key `{}`", self.name(), key.escape_debug());
            self.error(codes::UNKNOWN_KEY, member.key, message, hint);
            return false;
        }
        let Some(kind) = form(names) else { return true };
        let Err(error) = values::check_text(kind, key) else { return true };
        let code =
            if matches!(kind, "label" | "storage-name") { codes::BAD_NAME } else { codes::UNKNOWN_KEY };
        self.error(code, member.key, error.message, error.hint);
        false
    }

    fn missing_key(&mut self, node: &Node, key: &str, known: Option<&Map<String, Value>>) {
        let place = self.whole_path();
        let (message, span) = if place.is_empty() {
            (format!("the key `{key}` is missing"), node.span)
        } else {
            (
                format!("`{place}` needs the key `{key}`"),
                Span { start: node.span.start, end: node.span.start + 1 },
            )
        };
        let property = known.and_then(|k| k.get(key)).map(|p| resolve(self.root, p));
        let example = property.and_then(|p| p.get("examples")).and_then(|e| e.get(0));
        let hint = example.map(|example| format!("such as \"{key}\": {example}"));
        self.error(codes::MISSING_KEY, span, message, hint);
    }

    fn not_one(
        &mut self,
        node: &Node,
        members: &BTreeMap<String, Member>,
        known: Option<&Map<String, Value>>,
    ) {
        let keys: Vec<String> = known.into_iter().flat_map(Map::keys).map(|k| format!("`{k}`")).collect();
        let message = if keys.is_empty() {
            format!("{} must have exactly one key, not {}", self.name(), members.len())
        } else {
            format!("{} must have exactly one of {}", self.name(), keys.join(", "))
        };
        // The second key is the one too many; in an empty object there is only the object to show.
        let mut spans: Vec<Span> = members.values().map(|m| m.key).collect();
        spans.sort_unstable();
        let span = spans.get(1).copied().unwrap_or(node.span);
        self.error(codes::NOT_ONE, span, message, None);
    }
}

/// Reports a secret that stands in the file itself. It is never shown again, not even in the error.
pub(crate) fn literal_secret(report: &mut Report, spot: Spot, name: &str) {
    report.secret(spot);
    let message = format!("`{name}` is a secret, and secrets are only given by reference");
    let hint = "use {\"env\": \"NAME\"}, {\"file\": \"secrets/name\"}, {\"command\": [\"pass\", \"show\", \"name\"]} or \
                {\"generate\": \"name\"}; and change the secret if the file was shared";
    report.push(Draft::error(codes::LITERAL_SECRET, spot, message).hint(hint));
}

/// What reads a text; in the schema of a feature's parameter, `format` names it. An unknown one accepts everything.
fn form(schema: &Value) -> Option<&str> {
    schema.get("x-parse").or_else(|| schema.get("format")).and_then(Value::as_str)
}

/// In the schema of a feature's parameter: whether a text is not as its `pattern` wants it, or is what it must `not` be; with what
/// to say about it. Texts of the site's own schema are read instead (`x-parse`), which says more.
fn unlike(schema: &Value, text: &str) -> Option<Option<String>> {
    if form(schema).is_some() {
        return None;
    }
    if schema.get("not").and_then(|not| not.get("const")).is_some_and(|not| not == text) {
        return Some(None);
    }
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    // One that cannot be read was told where it stands.
    let matches = Regex::new(pattern).map_or(true, |it| it.is_match(text));
    let expects = schema.get("x-expects").and_then(Value::as_str);
    let shown = pattern.replace('\n', "\\n").replace('\r', "\\r");
    (!matches)
        .then(|| Some(expects.map_or_else(|| format!("it has the form {shown}"), |it| format!("it is {it}"))))
}

/// Whether a schema is for values of this JSON type at all.
fn accepts(schema: &Value, node: &Node) -> bool {
    let is = |wanted: &str| match (&node.kind, wanted) {
        (NodeKind::Number(number), "integer") => number.is_i64() || number.is_u64(),
        (NodeKind::Null, "null")
        | (NodeKind::Bool(_), "boolean")
        | (NodeKind::Number(_), "number")
        | (NodeKind::String(_), "string")
        | (NodeKind::Array(_), "array")
        | (NodeKind::Object(_), "object") => true,
        _ => false,
    };
    match schema.get("type") {
        Some(Value::String(wanted)) => is(wanted),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(is),
        _ => match schema.get("oneOf") {
            Some(Value::Array(words)) => words.iter().any(|word| accepts(word, node)),
            _ => true,
        },
    }
}

/// The words that a schema lists, where it is for words alone.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(Value::Array(all)) = schema.get("enum") {
        return all.iter().map(Value::as_str).collect();
    }
    let Some(Value::Array(all)) = schema.get("oneOf") else { return None };
    all.iter().map(|word| word.get("const").and_then(Value::as_str)).collect()
}

/// What a schema wants, in words.
fn expectation(root: &Value, schema: &Value) -> String {
    if let Some(text) = schema.get("x-expects").and_then(Value::as_str) {
        return text.to_owned();
    }
    if let Some(Value::Array(branches)) = schema.get("anyOf") {
        let all: Vec<String> = branches.iter().map(|b| expectation(root, resolve(root, b))).collect();
        return all.join(" or ");
    }
    if let Some(Value::Array(words)) = schema.get("oneOf") {
        let all: Vec<String> = words.iter().filter_map(|word| Some(word.get("const")?.to_string())).collect();
        if !all.is_empty() {
            return all.join(" or ");
        }
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("string") => "a text",
        Some("array") => "a list",
        Some("object") => "an object",
        _ => "another kind of value",
    }
    .to_owned()
}
