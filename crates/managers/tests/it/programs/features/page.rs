//! The book's page on writing a feature: every example in it renders, and every filter that it names is there.

use super::*;

const PAGE: &str = include_str!("../../../../../../docs/src/features.md");

/// The blocks of a language, with the text of the line before each.
fn blocks<'p>(language: &str) -> Vec<(&'p str, String)> {
    let (mut all, mut before) = (Vec::new(), "");
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            all.push((before, text.join("\n") + "\n"));
        } else if !line.is_empty() {
            before = line;
        }
    }
    all
}

#[test]
fn every_example_of_the_page_renders() {
    let files: Vec<(String, String)> = ["python", "ini"]
        .into_iter()
        .flat_map(blocks)
        .map(|(before, text)| {
            let path = before.split('`').nth(1).unwrap();
            (path.rsplit('/').next().unwrap().to_owned(), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut used = std::collections::BTreeSet::new();
    let mut rendered = 0;
    for (_, text) in blocks("jsonc") {
        let (values, text) = match text.strip_prefix("// ").and_then(|rest| rest.split_once('\n')) {
            Some((values, text)) => (serde_json::from_str(values).unwrap(), text.to_owned()),
            None => (json!({}), text),
        };
        let spec: Value = serde_json::from_str(&text).unwrap();
        if spec.get("containers").is_some() {
            continue;
        }
        used.extend(
            [
                "each", "prune", "runs", "commands", "unless", "block", "check", "folders", "schema", "data",
                "health", "units",
            ]
            .into_iter()
            .filter(|key| text.contains(&format!("\"{key}\":"))),
        );
        let feature = own_feature("example", spec, &files);
        let contents = feature
            .spec
            .parameters
            .iter()
            .filter(|(_, p)| p.kind == blueprint::catalog::ParameterType::Folder)
            .map(|(name, _)| (name.clone(), super::files(&[("index.html", b"<h1>")])))
            .collect();
        let made = render(&feature, &parameters(values), &contents, &facts()).unwrap();
        assert!(!made.files.is_empty(), "{made:?}");
        assert!(!apply(std::slice::from_ref(&made)).is_empty());
        rendered += 1;
    }
    assert_eq!((rendered, used.len()), (4, 12), "{used:?}");
}

#[test]
fn every_filter_that_the_page_names_is_there() {
    let (_, section) = PAGE.split_once("## The template language").unwrap();
    let (own_ones, rest) = section.split_once("The rest are Jinja's own:").unwrap();
    let (rest, _) = rest.split_once("## ").unwrap();
    let table = own_ones.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let names: Vec<&str> = table.chain(rest.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        let content = format!("{{% if '{name}' is filter %}}yes{{% endif %}}");
        let spec = json!({ "files": [{ "path": "/a", "content": content }] });
        assert_eq!(with(&own_feature("x", spec, &[]), json!({})).files[0].content.bytes(), b"yes", "{name}");
    }
}

#[test]
fn a_list_of_packages_is_one_parameter() {
    let spec = json!({
        "parameters": { "more-packages": { "type": "list", "default": [] } },
        "packages": ["curl", "{{ more_packages }}"],
    });
    let of = |list: Value| try_with(&own_feature("x", spec.clone(), &[]), json!({ "more-packages": list }));
    assert_eq!(of(json!([])).unwrap().packages, ["curl"]);
    assert_eq!(of(json!(["jq", "curl", "git=1:2.39"])).unwrap().packages, ["curl", "jq", "git=1:2.39"]);
    let error = of(json!(["{{ x }}"])).unwrap_err().to_string();
    assert_eq!(error, "`packages[1]` in the feature `x` is no package name: `{{ x }}`");
    let contents = BTreeMap::from([("source".to_owned(), files(&[("main.py", b"")]))]);
    let values = json!({ "source": "app/", "system-packages": ["ffmpeg"] });
    let python = render(&built_in("python-service"), &parameters(values), &contents, &facts()).unwrap();
    assert_eq!(python.packages, ["python3", "python3-venv", "ffmpeg"]);
}
