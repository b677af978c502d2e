//! Templates: strict about what is not defined, and their errors say where.

use std::sync::LazyLock;

use blueprint::catalog::template_language;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::error::RenderError;
use super::{quote, size};

/// What several features have in their files, each once: `{% include "phoenix/NAME" %}`.
const PARTS: [(&str, &str); 3] = [
    ("phoenix/haproxy-globals", include_str!("parts/haproxy-globals")),
    ("phoenix/haproxy-whose", include_str!("parts/haproxy-whose")),
    ("phoenix/haproxy.service", include_str!("parts/haproxy.service")),
];

/// What all features have in common, read once.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// Renders the templates of one feature.
pub(super) struct Templates {
    feature: String,
    environment: Environment<'static>,
}

impl Templates {
    pub(super) fn new(feature: &str) -> Self {
        Self { feature: feature.to_owned(), environment: ENVIRONMENT.clone() }
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

fn environment() -> Environment<'static> {
    let mut environment = template_language();
    quote::add_filters(&mut environment);
    environment.add_filter("bytes", size::bytes);
    // What cannot be is refused where it would be written, before anything is contacted.
    environment.add_function("fail", |message: String| {
        Err::<String, _>(Error::new(ErrorKind::InvalidOperation, message))
    });
    for (name, source) in PARTS {
        // One that cannot be read would be missed by the features that include it, which tests render.
        let _ = environment.add_template(name, source);
    }
    environment
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
    fn errors_say_file_and_line() {
        let error = render("one\ntwo {{ prt }}\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to render `site.conf` of the feature `x`, line 2: `prt` is undefined"
        );
        let error =
            render("one\n{% if port < 1024 %}{{ fail('port ' ~ port ~ ' is low') }}{% endif %}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to render `site.conf` of the feature `x`, line 2: port 80 is low"
        );
        let error = render("one\n{% if %}\n").unwrap_err().to_string();
        assert!(error.starts_with("failed to render `site.conf` of the feature `x`, line 2: "), "{error}");
    }
}
