//! What must hold in a `feature.json` beyond its structure.

use std::collections::BTreeSet;

use crate::catalog::{Feature, HostKind, ParameterType};
use crate::codes;
use crate::declared::{Declared, whole_parameter};
use crate::parameters;
use crate::read::Document;
use crate::report::{Draft, Report, Spot};
use crate::suggest;
use crate::tree::{Node, NodeKind, Span};

/// Names that templates can use beside the feature's parameters: the guest and the site it is put in, the wiring, and the
/// element of an `each`.
pub const TEMPLATE_NAMES: &[&str] = &["guest", "site", "wiring", "item"];

/// Options of a container that a feature can need.
const OPTIONS: &[&str] = &["nesting", "keyctl", "fuse", "mknod"];

/// Checks one feature; `document` is its `feature.json`, `artifacts` are the names of those there are.
pub(crate) fn check(
    feature: &Feature,
    document: &Document,
    artifacts: &BTreeSet<String>,
    report: &mut Report,
) {
    let Some(root) = &document.root else { return };
    let declared = Declared {
        what: "feature",
        parameters: &feature.spec.parameters,
        names: TEMPLATE_NAMES,
        code: codes::BAD_FEATURE,
        document,
    };
    declared.check_parameters(root, report);
    let mut checker = Checker { feature, document, report };
    checker.artifacts(root, artifacts);
    checker.options(root);
    checker.listens(root);
    checker.users(root);
    checker.folders(root);
    checker.files(root);
    checker.commands(root);
    checker.health(root);
    declared.check_templates(root, report);
}

struct Checker<'a> {
    feature: &'a Feature,
    document: &'a Document,
    report: &'a mut Report,
}

/// The elements of a list.
fn list<'n>(root: &'n Node, key: &str) -> &'n [Node] {
    root.get(key).map(Node::elements).unwrap_or_default()
}

impl Checker<'_> {
    fn spot(&self, span: Span) -> Spot {
        self.document.spot(span)
    }

    fn bad(&mut self, span: Span, message: String, hint: Option<String>) {
        let draft = Draft::error(codes::BAD_FEATURE, self.spot(span), message).maybe_hint(hint);
        self.report.push(draft);
    }

    fn artifacts(&mut self, root: &Node, known: &BTreeSet<String>) {
        if let Some(artifacts) = root.get("artifacts").filter(|_| self.feature.spec.is_for(HostKind::Node)) {
            let hint = "run what needs it in a guest, or leave out `node` among its `hosts`".to_owned();
            self.bad(artifacts.span, "a node gets no artifacts".to_owned(), Some(hint));
        }
        for element in list(root, "artifacts") {
            // One with a template in it is checked when it is rendered.
            if let Some(name) = element.text().filter(|name| !name.contains('{') && !known.contains(*name)) {
                let hint = suggest::hint(name, "there are", known.iter().map(String::as_str));
                self.bad(element.span, format!("there is no artifact `{name}`"), hint);
            }
        }
    }

    fn options(&mut self, root: &Node) {
        for option in list(root, "options") {
            if let Some(text) = option.text()
                && !OPTIONS.contains(&text)
            {
                let hint = suggest::hint(text, "there are", OPTIONS.iter().copied());
                self.bad(option.span, format!("there is no option `{text}` of containers"), hint);
            }
        }
    }

    fn listens(&mut self, root: &Node) {
        let all = &self.feature.spec.parameters;
        let is_port =
            |(_, parameter): &(&String, &crate::catalog::Parameter)| parameter.kind == ParameterType::Port;
        let ports: Vec<&str> = all.iter().filter(is_port).map(|(name, _)| name.as_str()).collect();
        for element in list(root, "listens") {
            if let Some(name) = element.text().filter(|name| !ports.contains(name)) {
                let hint = suggest::hint(name, "there are", ports.iter().copied());
                self.bad(element.span, format!("there is no parameter `{name}` of the type `port`"), hint);
            }
        }
    }

    fn users(&mut self, root: &Node) {
        for user in list(root, "users") {
            self.each(user);
        }
    }

    fn guest_path(&mut self, node: &Node) {
        let Some(path) = node.get("path") else { return };
        let Some(text) = path.text() else { return };
        // One that begins with a template is checked when it is rendered.
        if !(text.starts_with('/') || text.starts_with('{')) || text.split('/').any(|part| part == "..") {
            self.bad(
                path.span,
                format!("`{text}` is not an absolute path"),
                Some("begin it with `/`".to_owned()),
            );
        }
    }

    fn mode(&mut self, node: &Node) {
        let Some(mode) = node.get("mode") else { return };
        let Some(text) = mode.text() else { return };
        if !(3..=4).contains(&text.len()) || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            self.bad(mode.span, format!("`{text}` is not a mode"), Some("such as \"0644\"".to_owned()));
        }
    }

    /// A reference that is either a whole parameter of one type, or something in the feature's folder.
    fn from(&mut self, node: &Node, wanted: ParameterType, exists: impl Fn(&Feature, &str) -> bool) {
        let Some(from) = node.get("from") else { return };
        let Some(text) = from.text() else { return };
        if let Some(name) = whole_parameter(text) {
            match self.feature.spec.parameters.get(name) {
                Some(parameter) if parameter.kind == wanted => {}
                Some(_) => {
                    let kind = parameters::word(wanted);
                    self.bad(from.span, format!("the parameter `{name}` is not of the type `{kind}`"), None);
                }
                // The check of all templates reports a parameter that does not exist.
                None => {}
            }
        } else if !text.contains("{{") && !exists(self.feature, text) {
            let hint = suggest::nearest(text, self.feature.files.keys().map(String::as_str));
            let hint = hint.map(|near| format!("did you mean `{near}`?"));
            self.bad(from.span, format!("`{text}` is not in the feature's folder"), hint);
        }
    }

    fn folders(&mut self, root: &Node) {
        for folder in list(root, "folders") {
            self.guest_path(folder);
            self.mode(folder);
            self.from(folder, ParameterType::Folder, |feature, path| {
                let prefix = format!("{}/", path.trim_end_matches('/'));
                feature.files.keys().any(|file| file.starts_with(&prefix))
            });
            self.runs(folder);
            for key in ["check", "runs"] {
                if let Some(member) = folder.member(key).filter(|_| folder.get("from").is_none()) {
                    self.bad(member.key, format!("`{key}` is only for folders with `from`"), None);
                }
            }
        }
    }

    /// What is run when something changes is one of the feature's commands.
    fn runs(&mut self, part: &Node) {
        let commands: BTreeSet<String> = self.feature.spec.commands.iter().map(|c| c.name.clone()).collect();
        for run in part.get("runs").into_iter().flat_map(one_or_many) {
            if let Some(name) = run.text()
                && !commands.contains(name)
            {
                let hint = suggest::hint(name, "there are", commands.iter().map(String::as_str));
                self.bad(run.span, format!("there is no command `{name}`"), hint);
            }
        }
    }

    fn files(&mut self, root: &Node) {
        for file in list(root, "files") {
            self.guest_path(file);
            self.mode(file);
            self.counts(file);
            let sources: Vec<&str> =
                ["template", "from", "content"].into_iter().filter(|k| file.get(k).is_some()).collect();
            if sources.len() != 1 && file.members().is_some() {
                let name = file.get("path").and_then(Node::text).unwrap_or("a file");
                let message = format!("`{name}` must have exactly one of `template`, `from`, `content`");
                let span = sources.get(1).and_then(|key| file.member(key)).map_or(file.span, |m| m.key);
                let draft = Draft::error(codes::NOT_ONE, self.spot(span), message);
                self.report.push(draft);
            }
            if let Some(template) = file.get("template")
                && let Some(name) = template.text()
                && !self.feature.files.contains_key(name)
            {
                let hint = suggest::hint(name, "there are", self.feature.files.keys().map(String::as_str));
                self.bad(
                    template.span,
                    format!("the template `{name}` is not in the feature's folder"),
                    hint,
                );
            }
            self.from(file, ParameterType::File, |feature, path| feature.files.contains_key(path));
            self.each(file);
            self.runs(file);
        }
    }

    fn each(&mut self, file: &Node) {
        if let Some(each) = file.get("each")
            && let Some(text) = each.text()
        {
            let name = whole_parameter(text).unwrap_or(text);
            match self.feature.spec.parameters.get(name) {
                Some(p) if matches!(p.kind, ParameterType::List | ParameterType::Json) => {}
                Some(_) => self.bad(each.span, format!("the parameter `{name}` is not a list"), None),
                None => {
                    let hint = suggest::hint(
                        name,
                        "there are",
                        self.feature.spec.parameters.keys().map(String::as_str),
                    );
                    self.bad(each.span, format!("there is no parameter `{name}`"), hint);
                }
            }
        }
        if let Some(prune) = file.member("prune")
            && file.get("each").is_none()
        {
            self.bad(prune.key, "`prune` is only for files with `each`".to_owned(), None);
        }
    }

    /// What counts from a start of the node is of nodes alone: where a guest's own start is enough, what follows a change says so.
    fn counts(&mut self, part: &Node) {
        let waits = part.member("counts").filter(|it| it.value.text() == Some("at-restart"));
        if let Some(member) = waits.filter(|_| self.feature.spec.is_for(HostKind::Guest)) {
            let message = "only what is for nodes alone can count from the node's next start".to_owned();
            self.bad(member.key, message, Some("\"hosts\": [\"node\"]".to_owned()));
        }
    }

    /// What a command writes is asked for where that counts from a start of the node, and each file is a word.
    fn writes(&mut self, command: &Node) {
        let Some(member) = command.member("writes") else { return };
        if command.get("counts").and_then(Node::text) != Some("at-restart") {
            let message = "`writes` is only for what counts from the node's next start".to_owned();
            self.bad(member.key, message, Some("\"counts\": \"at-restart\"".to_owned()));
        }
        for file in list(command, "writes") {
            let text = file.text().unwrap_or_default();
            if !text.starts_with('/') || text.contains(|c: char| c == ',' || c.is_whitespace()) {
                let message = format!("`{text}` is not the whole path of a file, without blanks and commas");
                self.bad(file.span, message, None);
            }
        }
    }

    fn commands(&mut self, root: &Node) {
        let mut seen = BTreeSet::new();
        for command in list(root, "commands") {
            if let Some(name) = command.get("name")
                && let Some(text) = name.text()
                && !seen.insert(text.to_owned())
            {
                self.bad(name.span, format!("two commands have the name `{text}`"), None);
            }
        }
        let spec = &self.feature.spec;
        let files = spec.files.iter().flat_map(|f| &f.runs);
        let run: BTreeSet<&str> =
            files.chain(spec.folders.iter().flat_map(|f| &f.runs)).map(String::as_str).collect();
        let idle: Vec<String> = self
            .feature
            .spec
            .commands
            .iter()
            .filter(|c| c.unless.is_none() && !run.contains(c.name.as_str()))
            .map(|c| c.name.clone())
            .collect();
        // P-31: what is declared has an effect.
        for command in list(root, "commands") {
            self.counts(command);
            self.writes(command);
            if let Some(name) = command.get("name")
                && idle.iter().any(|i| name.text() == Some(i))
            {
                let message = format!("the command `{}` would never run", name.text().unwrap_or_default());
                let hint = "give it `unless`, or name it in the `runs` of a file";
                self.bad(name.span, message, Some(hint.to_owned()));
            }
            if command.get("after-units").is_some_and(|after| matches!(after.kind, NodeKind::Bool(true))) {
                for key in ["reloads", "restarts"] {
                    if let Some(member) = command.member(key) {
                        let message = format!("`{key}` has no effect with `after-units`");
                        let hint = "the units are up by then: let the command do it";
                        self.bad(member.key, message, Some(hint.to_owned()));
                    }
                }
            }
        }
    }

    fn health(&mut self, root: &Node) {
        for health in list(root, "health") {
            let kinds: Vec<&str> =
                ["http", "tcp", "command"].into_iter().filter(|k| health.get(k).is_some()).collect();
            if kinds.len() != 1 && health.members().is_some() {
                let message = "a health check must have exactly one of `http`, `tcp`, `command`".to_owned();
                let span = kinds.get(1).and_then(|key| health.member(key)).map_or(health.span, |m| m.key);
                let draft = Draft::error(codes::NOT_ONE, self.spot(span), message);
                self.report.push(draft);
            }
            if let Some(status) = health.member("status")
                && health.get("http").is_none()
            {
                self.bad(status.key, "`status` is only for `http`".to_owned(), None);
            }
        }
    }
}

/// A text alone, or the texts of a list.
fn one_or_many(node: &Node) -> impl Iterator<Item = &Node> {
    let single = node.text().map(|_| node);
    single.into_iter().chain(node.elements())
}
