//! Stacks of the catalogue: reading them, those that come with Phoenix and a site's own, and filling in what they say.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use camino::Utf8Path;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::{CatalogStack, Parameter, ParameterType, StackSpec, template_language};
use crate::codes;
use crate::declared::{Declared, whole_parameter};
use crate::feature_files::{self, Catalog};
use crate::files::Found;
use crate::model::SiteFile;
use crate::parameters;
use crate::read::{self, Document};
use crate::report::{Draft, Report, Spot};
use crate::schema;
use crate::source::{SecretSource, ServiceSource, VariableForm};
use crate::suggest;
use crate::tree::Span;
use crate::values::{self, Wait};

/// A site's folder for stacks of its own that its `stacks` come `from`.
pub(crate) const STACK_CATALOG: &str = "stack-catalog";

/// What describes one.
const DESCRIPTION: &str = "stack.json";

/// What shows how one is used; nothing of a guest's.
const EXAMPLE: &str = "example.json";

/// Names that templates know beside parameters.
const NAMES: &[&str] = &["stack", "site"];

/// Where a stack is put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Its name at the site.
    pub stack: &'a str,
    pub site: &'a str,
    pub domain: &'a str,
}

/// What a stack of the catalogue says, in the words of a blueprint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Offer {
    pub env: BTreeMap<String, VariableForm>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub services: BTreeMap<String, ServiceSource>,
    pub within: Option<Wait>,
    /// All files of its folder.
    #[serde(skip)]
    pub files: Vec<SiteFile>,
}

/// Why it cannot be filled in.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// The keys of `stack.json` that lead there.
    pub keys: Vec<String>,
    pub message: String,
}

impl CatalogStack {
    /// Filled in with what is given for its parameters, and their defaults.
    pub(crate) fn offer(&self, place: Place<'_>, given: &BTreeMap<String, Value>) -> Result<Offer, Wrong> {
        let texts = Texts::new(&self.spec.parameters, place, given);
        let said = json!({
            "env": &self.spec.env, "secrets": &self.spec.secrets, "services": &self.spec.services,
            "within": &self.spec.within,
        });
        let said = texts.filled(&said, &mut Vec::new())?;
        let mut offer: Offer = serde_path_to_error::deserialize(said).map_err(|error| Wrong {
            keys: error.path().to_string().split('.').map(str::to_owned).collect(),
            message: format!("`{}`: {}", error.path(), error.inner()),
        })?;
        for file in self.files.values().filter(|file| file.path != EXAMPLE) {
            let mut file = file.clone();
            if self.spec.templates.contains(&file.path) {
                file.bytes = texts.file(&file)?.into_bytes().into();
            }
            offer.files.push(file);
        }
        Ok(offer)
    }
}

/// Reads those below `top`. `builtin` is given for a site's own, which must not have the names of those.
pub(crate) fn read_all(
    found: Vec<Found>,
    top: &str,
    builtin: Option<&Catalog>,
    report: &mut Report,
) -> (BTreeMap<String, Arc<CatalogStack>>, Vec<Document>) {
    let mut stacks = BTreeMap::new();
    let mut documents = Vec::new();
    for (name, found) in feature_files::folders(found, top) {
        let folder = Utf8Path::new(top).join(&name);
        let (main, files) = feature_files::in_folder(&folder, DESCRIPTION, found, report);
        let Some(main) = main else {
            let spot = Spot { file: report.file(folder), span: Span::default() };
            let message = format!("the stack `{name}` of the catalogue has no `{DESCRIPTION}`");
            let hint = format!(
                "every folder below `{top}/` is a stack and says in its `{DESCRIPTION}` what it needs"
            );
            report.push(Draft::error(codes::BAD_STACK, spot, message).hint(hint));
            continue;
        };
        let document = read::document(main, report);
        let start = document.spot(Span::default());
        if let Err(error) = values::check_text("label", &name) {
            report.push(Draft::error(codes::BAD_NAME, start, error.message).maybe_hint(error.hint));
        }
        if builtin.is_some_and(|builtin| builtin.stack(&name).is_some()) {
            let message = format!("the site's stack `{name}` has the name of one that comes with Phoenix");
            report.push(Draft::error(codes::BAD_STACK, start, message).hint("rename its folder"));
        }
        let spec: Option<StackSpec> = read::decode(&document, schema::stack_file_schema(), report);
        let sound = spec.is_some();
        let stack = CatalogStack {
            name: name.clone(),
            spec: spec.unwrap_or_default(),
            files,
            built_in: builtin.is_none(),
        };
        if sound {
            check(&stack, &document, report);
        }
        documents.push(document);
        // Where something is wrong with it, it exists all the same: using it is no second error.
        stacks.insert(name, Arc::new(stack));
    }
    (stacks, documents)
}

/// What must hold in a `stack.json` beyond its structure.
fn check(stack: &CatalogStack, document: &Document, report: &mut Report) {
    let Some(root) = &document.root else { return };
    let declared = Declared {
        what: "stack",
        parameters: &stack.spec.parameters,
        names: NAMES,
        code: codes::BAD_STACK,
        document,
    };
    let before = report.error_spots().len();
    declared.check_parameters(root, report);
    declared.check_templates(root, report);
    for (name, parameter) in &stack.spec.parameters {
        let span = root.locate(&["parameters", name, "type"]);
        if matches!(parameter.kind, ParameterType::Folder | ParameterType::File) {
            let kind = parameters::word(parameter.kind);
            let hint = "files of a stack are those of its folder; a site's own go beside its compose file"
                .to_owned();
            declared.bad(span, format!("a parameter of a stack cannot be a {kind}"), Some(hint), report);
        }
        if parameter.derived {
            let message = format!("nothing derives the parameter `{name}` of a stack");
            declared.bad(
                root.locate(&["parameters", name]),
                message,
                Some("remove `derived`".to_owned()),
                report,
            );
        }
    }
    let templates = root.get("templates").map(crate::tree::Node::elements).unwrap_or_default();
    for template in templates {
        if let Some(name) = template.text().filter(|name| !stack.files.contains_key(*name)) {
            let hint = suggest::hint(name, "there are", stack.files.keys().map(String::as_str));
            let message = format!("the template `{name}` is not in the stack's folder");
            declared.bad(template.span, message, hint, report);
        }
    }
    // Filled in with something, so that what can never be is found before a site uses it.
    if report.error_spots().len() == before
        && let Err(wrong) =
            stack.offer(Place { stack: "name", site: "site", domain: "site.internal" }, &samples(&stack.spec))
    {
        let keys: Vec<&str> = wrong.keys.iter().map(String::as_str).collect();
        declared.bad(root.locate(&keys), wrong.message, None, report);
    }
}

/// Something for each parameter that has to be given.
fn samples(spec: &StackSpec) -> BTreeMap<String, Value> {
    let needed = spec.parameters.iter().filter(|(_, parameter)| parameter.default.is_none());
    needed.map(|(name, parameter)| (name.clone(), parameters::sample(parameter.kind))).collect()
}

/// Fills in texts of one stack. The language is that of features' templates.
struct Texts {
    /// The values of parameters, by the name that templates have for them.
    whole: BTreeMap<String, Value>,
    variables: minijinja::Value,
}

/// Strict about what is not defined.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(template_language);

/// A parameter's name as templates say it.
fn said(name: &str) -> String {
    name.replace('-', "_")
}

impl Texts {
    fn new(
        parameters: &BTreeMap<String, Parameter>,
        place: Place<'_>,
        given: &BTreeMap<String, Value>,
    ) -> Self {
        let value = |(name, parameter): (&String, &Parameter)| {
            let value = given.get(name).or(parameter.default.as_ref())?;
            Some((said(name), value.clone()))
        };
        let whole: BTreeMap<String, Value> = parameters.iter().filter_map(value).collect();
        // A secret stands for itself, and is never a part of a text.
        let is_secret = |name: &str| {
            parameters.iter().any(|(own, it)| it.kind == ParameterType::Secret && said(own) == name)
        };
        let mut variables: BTreeMap<String, minijinja::Value> = whole
            .iter()
            .filter(|(name, _)| !is_secret(name))
            .map(|(name, value)| (name.clone(), minijinja::Value::from(Serde(value))))
            .collect();
        variables.insert("stack".to_owned(), minijinja::context! { name => place.stack });
        variables
            .insert("site".to_owned(), minijinja::context! { name => place.site, domain => place.domain });
        Self { whole, variables: variables.into() }
    }

    fn text(&self, name: &str, text: &str) -> Result<String, String> {
        ENVIRONMENT.render_named_str(name, text, &self.variables).map_err(|error| {
            let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            format!("`{name}`, line {}: {why}", error.line().unwrap_or(1))
        })
    }

    fn file(&self, file: &SiteFile) -> Result<String, Wrong> {
        let wrong = |message| Wrong { keys: vec!["templates".to_owned()], message };
        let text =
            std::str::from_utf8(&file.bytes).map_err(|_| wrong(format!("`{}` is not UTF-8", file.path)))?;
        self.text(&file.path, text).map_err(wrong)
    }

    /// A value with all of its texts and keys filled in.
    fn filled(&self, value: &Value, keys: &mut Vec<String>) -> Result<Value, Wrong> {
        let at = |keys: &[String], message| Wrong { keys: keys.to_vec(), message };
        Ok(match value {
            Value::String(text) => {
                if let Some(value) = whole_parameter(text).and_then(|name| self.whole.get(&said(name))) {
                    value.clone()
                } else {
                    let filled = self.text(&keys.join("."), text);
                    Value::String(filled.map_err(|message| at(keys, message))?)
                }
            }
            Value::Array(all) => {
                Value::Array(all.iter().map(|one| self.filled(one, keys)).collect::<Result<_, _>>()?)
            }
            Value::Object(all) => {
                let mut filled = serde_json::Map::new();
                for (key, value) in all {
                    keys.push(key.clone());
                    let name = self.text(&keys.join("."), key).map_err(|message| at(keys, message))?;
                    filled.insert(name, self.filled(value, keys)?);
                    keys.pop();
                }
                Value::Object(filled)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }
}
