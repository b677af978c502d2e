//! Templates: strict about what is not defined, and their errors say where.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::crypt;
use super::error::RenderError;
use super::render::SECRET;

/// Renders the templates of one feature.
pub(super) struct Templates {
    feature: String,
    environment: Environment<'static>,
}

impl Templates {
    pub(super) fn new(feature: &str) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
        // Only delimiters of one's own can be wrong, and there are none.
        if let Ok(syntax) = syntax.build() {
            environment.set_syntax(syntax);
        }
        // For errors that name what is not defined.
        environment.set_debug(true);
        environment.add_filter("sh", |text: String| shell_quote(&text));
        environment.add_filter("crypt", crypt_placeholder);
        Self { feature: feature.to_owned(), environment }
    }

    /// Renders `source`, which stands in `file`.
    pub(super) fn render(&self, file: &str, source: &str, variables: &Value) -> Result<String, RenderError> {
        self.environment.render_named_str(file, source, variables).map_err(|e| {
            let detail = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
            RenderError::Template {
                feature: self.feature.clone(),
                file: e.name().unwrap_or(file).to_owned(),
                line: e.line().unwrap_or(1),
                reason: detail,
            }
        })
    }
}

/// A secret's placeholder as one for a hash of it, with the salt of `place`.
#[expect(clippy::needless_pass_by_value, reason = "what filters take")]
fn crypt_placeholder(secret: String, place: String) -> Result<String, Error> {
    let number = secret.strip_prefix(SECRET).and_then(|rest| rest.strip_suffix("@@"));
    let number = number.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    number.map(|number| format!("{SECRET}{number}:crypt:{}@@", crypt::salt(&place))).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, "only a secret can be hashed with the filter `crypt`")
    })
}

/// A text as one word of a POSIX shell.
pub(super) fn shell_quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._:=+@,-".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, RenderError> {
        let variables = minijinja::context! { port => 80, names => ["a", "b"], odd => "it's" };
        Templates::new("x").render("site.conf", source, &variables)
    }

    #[test]
    fn text_comes_out_as_it_is_written() {
        assert_eq!(render("listen {{ port }};\n").unwrap(), "listen 80;\n");
        assert_eq!(render("{% for n in names %}\n  {{ n }}\n{% endfor %}\nend").unwrap(), "  a\n  b\nend");
        assert_eq!(render("<&> {{ odd }} {{ odd | sh }}").unwrap(), r"<&> it's 'it'\''s'");
    }

    #[test]
    fn a_secret_can_be_asked_for_as_a_hash() {
        let render = |text: &str| {
            let variables = minijinja::context! { password => "@@secret:12@@", name => "anna" };
            Templates::new("x").render("users", text, &variables)
        };
        let made = render("{{ password | crypt(\"notes/\" ~ name) }}").unwrap();
        assert_eq!(made, format!("@@secret:12:crypt:{}@@", crypt::salt("notes/anna")));
        let error = render("{{ name | crypt(\"x\") }}").unwrap_err().to_string();
        assert!(error.ends_with("only a secret can be hashed with the filter `crypt`"), "{error}");
    }

    #[test]
    fn errors_say_file_and_line() {
        let error = render("one\ntwo {{ prt }}\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to render `site.conf` of the feature `x`, line 2: `prt` is undefined"
        );
        let error = render("one\n{% if %}\n").unwrap_err().to_string();
        assert!(error.starts_with("failed to render `site.conf` of the feature `x`, line 2: "), "{error}");
    }
}
