//! Texts as other programs read them. A secret's value is not known while templates are filled in, so its placeholder
//! says how it is to be written, and it is escaped when the script is made.

use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value;

use super::crypt;
use super::render::SECRET;

/// Who reads the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// A POSIX shell: one word.
    Shell,
    /// SQL: a literal, with `standard_conforming_strings` on, as it is since PostgreSQL 9.1.
    Sql,
    /// A systemd `EnvironmentFile`: a value, in which nothing is expanded.
    Environment,
    /// JSON: a string. The configuration of Redis reads those as well.
    Json,
    /// Between double quotation marks in the file `.env` of Docker Compose.
    Dotenv,
}

impl Quote {
    const ALL: [Self; 5] = [Self::Shell, Self::Sql, Self::Environment, Self::Json, Self::Dotenv];

    /// The filter's name, which is also what a placeholder says.
    fn name(self) -> &'static str {
        match self {
            Self::Shell => "sh",
            Self::Sql => "sql",
            Self::Environment => "env",
            Self::Json => "json",
            Self::Dotenv => "dotenv",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quote| quote.name() == name)
    }

    /// What stands between the quotation marks for `text`.
    pub(super) fn escape(self, text: &str) -> String {
        match self {
            Self::Shell => text.replace('\'', r"'\''"),
            Self::Sql => text.replace('\'', "''"),
            Self::Environment => text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
                if matches!(c, '"' | '\\' | '`' | '$') {
                    out.push('\\');
                }
                out.push(c);
                out
            }),
            Self::Dotenv => text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
                match c {
                    '\n' => out.push_str(r"\n"),
                    '\r' => out.push_str(r"\r"),
                    '"' | '\\' | '$' => out.extend(['\\', c]),
                    c => out.push(c),
                }
                out
            }),
            Self::Json => {
                let quoted = Value::from(text).to_string();
                quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap_or_default().to_owned()
            }
        }
    }

    /// The whole, with its quotation marks; placeholders in it are escaped when they are filled.
    fn quote(self, text: &str) -> String {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(&self.escape(text)),
                // A hash is made of signs that mean the same to everybody.
                Piece::Secret { number, form: Form::Hashed(place) } => out.push_str(&hashed(number, place)),
                Piece::Secret { number, .. } => out.push_str(&placeholder(number, Some(self))),
            }
        }
        match self {
            Self::Shell | Self::Sql => format!("'{out}'"),
            Self::Environment | Self::Json | Self::Dotenv => format!("\"{out}\""),
        }
    }
}

/// What stands for the secret of that number.
pub(super) fn placeholder(number: usize, quote: Option<Quote>) -> String {
    match quote {
        None => format!("{SECRET}{number}@@"),
        Some(quote) => format!("{SECRET}{number}:{}@@", quote.name()),
    }
}

/// What stands for a hash of the secret of that number.
fn hashed(number: usize, place: &str) -> String {
    format!("{SECRET}{number}:{CRYPT}:{place}@@")
}

/// Whether a text asks for a hash of a secret.
pub(super) fn asks_for_hash(text: &str) -> bool {
    pieces(text).iter().any(|piece| matches!(piece, Piece::Secret { form: Form::Hashed(_), .. }))
}

/// The filter's name for hashes of passwords, which is also what a placeholder says.
const CRYPT: &str = "crypt";

/// A part of a text that may hold placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Secret { number: usize, form: Form<'a> },
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// As it is.
    Plain,
    /// For a reader.
    Quoted(Quote),
    /// Only its hash, with the salt of this place.
    Hashed(&'a str),
}

impl Form<'_> {
    /// A secret in this form; `salts` is that of [`crypt::salts`].
    pub(super) fn write(self, secret: &str, salts: &str) -> String {
        match self {
            Self::Plain => secret.to_owned(),
            Self::Quoted(quote) => quote.escape(secret),
            Self::Hashed(place) => crypt::hash(secret, &crypt::salt(place, salts)),
        }
    }
}

/// What stands behind a placeholder's number: a reader's name, or `crypt:PLACE`.
fn form(name: &str) -> Option<Form<'_>> {
    match name.split_once(':') {
        Some((CRYPT, place)) => Some(Form::Hashed(place)),
        Some(_) => None,
        None => Quote::by_name(name).map(Form::Quoted),
    }
}

/// Cuts a text at its placeholders; what only looks like one is text.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let (mut start, mut from) = (0, 0);
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(SECRET)).map(|at| at + from) {
        from = at + SECRET.len();
        let Some((inside, _)) = text.get(from..).and_then(|rest| rest.split_once("@@")) else { break };
        let (number, form) = match inside.split_once(':') {
            None => (inside.parse().ok(), Some(Form::Plain)),
            Some((number, name)) => (number.parse().ok(), form(name)),
        };
        if let (Some(number), Some(form)) = (number, form) {
            out.extend(text.get(start..at).filter(|t| !t.is_empty()).map(Piece::Text));
            out.push(Piece::Secret { number, form });
            from += inside.len() + 2;
            start = from;
        }
    }
    out.extend(text.get(start..).filter(|t| !t.is_empty()).map(Piece::Text));
    out
}

/// A text as one word of a POSIX shell.
pub(crate) fn shell_quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._:=+@,-".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) && !text.contains(SECRET) {
        return text.to_owned();
    }
    Quote::Shell.quote(text)
}

/// Adds the filters `sh`, `sql`, `env`, `dotenv`, `json` and `crypt` to the templates.
pub(super) fn add_filters(environment: &mut Environment<'static>) {
    environment.add_filter("sh", |text: String| shell_quote(&text));
    environment.add_filter("sql", |text: String| Quote::Sql.quote(&text));
    environment.add_filter("env", |text: String| Quote::Environment.quote(&text));
    environment.add_filter("dotenv", |text: String| Quote::Dotenv.quote(&text));
    environment.add_filter(CRYPT, crypt_placeholder);
    environment.add_filter("json", |value: minijinja::Value| {
        let value = serde_json::to_value(&value)
            .map_err(|e| Error::new(ErrorKind::BadSerialization, "it cannot be JSON").with_source(e))?;
        json(&value)
    });
}

/// A secret's placeholder as one for a hash of it, with the salt of `place`.
#[expect(clippy::needless_pass_by_value, reason = "what filters take")]
fn crypt_placeholder(secret: String, place: String) -> Result<String, Error> {
    match pieces(&secret)[..] {
        // What would end the placeholder cannot be in a place.
        [Piece::Secret { number, form: Form::Plain }] if !place.contains("@@") => Ok(hashed(number, &place)),
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            "only a secret can be hashed with the filter `crypt`",
        )),
    }
}

/// Any value as JSON; a placeholder can be in a text of it, and nowhere else.
fn json(value: &Value) -> Result<String, Error> {
    Ok(match value {
        Value::String(text) => Quote::Json.quote(text),
        Value::Array(all) => {
            let all = all.iter().map(json).collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", all.join(", "))
        }
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| {
                if key.contains(SECRET) {
                    return Err(Error::new(ErrorKind::InvalidOperation, "a key of an object holds a secret"));
                }
                Ok(format!("{}: {}", Value::from(key.as_str()), json(value)?))
            });
            format!("{{{}}}", members.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn placeholders_are_found_and_nothing_else_is() {
        let secret = |number, form| Piece::Secret { number, form };
        assert_eq!(
            pieces("a@@secret:0@@b@@secret:12:sql@@@@secret:3:crypt:s/.@@"),
            [
                Piece::Text("a"),
                secret(0, Form::Plain),
                Piece::Text("b"),
                secret(12, Form::Quoted(Quote::Sql)),
                secret(3, Form::Hashed("s/.")),
            ]
        );
        for text in ["@@secret:", "@@secret:x@@", "@@secret:1:no@@", "@@secret:1:no:x@@", "@@secret:1"] {
            assert_eq!(pieces(text), [Piece::Text(text)]);
        }
        assert_eq!(pieces("@@secret:@@secret:1@@"), [Piece::Text("@@secret:"), secret(1, Form::Plain)]);
        assert_eq!(pieces(""), []);
    }

    #[test]
    fn a_secret_can_be_asked_for_as_a_hash() {
        let made = crypt_placeholder("@@secret:12@@".into(), "notes/anna".into()).unwrap();
        assert_eq!(made, "@@secret:12:crypt:notes/anna@@");
        assert!(asks_for_hash(&made) && !asks_for_hash("@@secret:12:sql@@"));
        assert_eq!(Quote::Environment.quote(&made), format!("\"{made}\""));
        for text in ["anna", "@@secret:1:sql@@", "x@@secret:1@@"] {
            let error = crypt_placeholder(text.into(), "x".into()).unwrap_err().to_string();
            assert!(error.contains("only a secret can be hashed"), "{error}");
        }
    }

    #[test]
    fn each_reader_gets_what_it_understands() {
        assert_eq!(shell_quote("a b"), "'a b'");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
        assert_eq!(shell_quote("a/b"), "a/b");
        assert_eq!(shell_quote("@@secret:0@@"), "'@@secret:0:sh@@'", "its value is not known yet");
        assert_eq!(Quote::Sql.quote(r"o'b\"), r"'o''b\'");
        assert_eq!(Quote::Environment.quote(r#"a"$\"#), r#""a\"\$\\""#);
        assert_eq!(Quote::Dotenv.quote("a\"$\\`\n'"), r#""a\"\$\\`\n'""#);
        assert_eq!(Quote::Json.quote("a\"\n\\@@secret:3@@"), r#""a\"\n\\@@secret:3:json@@""#);
        let value = serde_json::json!({ "a": ["x", 1, true, null], "b": {} });
        assert_eq!(json(&value).unwrap(), r#"{"a": ["x", 1, true, null], "b": {}}"#);
    }

    proptest! {
        #[test]
        fn pieces_put_together_are_the_text(text in "(a|@@|secret:|@@secret:|1|:sql|:|@@secret:2:sh@@){0,12}") {
            let back: String = pieces(&text).iter().map(|piece| match piece {
                Piece::Text(text) => (*text).to_owned(),
                Piece::Secret { number, form: Form::Plain } => placeholder(*number, None),
                Piece::Secret { number, form: Form::Quoted(quote) } => placeholder(*number, Some(*quote)),
                Piece::Secret { number, form: Form::Hashed(place) } => hashed(*number, place),
            }).collect();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn json_reads_back(text in any::<String>()) {
            let quoted = Quote::Json.quote(&text.replace(SECRET, ""));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text.replace(SECRET, ""));
        }
    }
}
