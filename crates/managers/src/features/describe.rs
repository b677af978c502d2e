//! What a feature's step is about, in words: on paper, without a look into the guest.

use plan::Step;
use plan::address::kinds;

use super::Rendered;
use super::crew::installed;

/// What the feature of a step consists of: packages, programs, users, files, units; of each at most `most` by name. Empty
/// for steps of other kinds.
pub fn parts(step: &Step, most: usize) -> Vec<String> {
    installed(step).map(|(_, rendered)| describe_contents(&rendered, most)).unwrap_or_default()
}

/// Whether a step is about a feature that was applied before, as something else.
pub fn differs(step: &Step) -> bool {
    step.address.kind() == kinds::FEATURE && step.changes.iter().any(|change| !change.old.is_null())
}

fn describe_contents(rendered: &Rendered, most: usize) -> Vec<String> {
    let list = |word: &str, names: Vec<String>| {
        let s = if names.len() == 1 { "" } else { "s" };
        let rest = names.len().saturating_sub(most);
        let mut shown = names.into_iter().take(most).collect::<Vec<_>>().join(", ");
        if rest > 0 {
            shown.push_str(&format!(" and {rest} more"));
        }
        (!shown.is_empty()).then(|| format!("{word}{s} {shown}"))
    };
    [
        list("package", rendered.packages.clone()),
        list("program", rendered.artifacts.iter().map(|a| format!("{} {}", a.name, a.version)).collect()),
        list("user", rendered.users.iter().map(|u| u.name.clone()).collect()),
        list("file", rendered.files.iter().map(|f| f.path.clone()).collect()),
        list("command", rendered.commands.iter().map(|c| format!("“{}”", c.name)).collect()),
        list("unit", rendered.units.keys().cloned().collect()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_feature_consists_of() {
        let rendered: Rendered = serde_json::from_value(serde_json::json!({
            "name": "x", "fingerprint": "f", "packages": ["nginx", "curl", "jq"],
            "units": { "nginx": {} },
        }))
        .unwrap();
        assert_eq!(describe_contents(&rendered, 9), ["packages nginx, curl, jq", "unit nginx"]);
        assert_eq!(describe_contents(&rendered, 1)[0], "packages nginx and 2 more");
    }
}
