//! Where a site's files say what it is built on, for who puts another target there: nothing else of the file changes, neither
//! comments nor order.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::files::{self, SiteFiles as _};
use crate::tree::{Span, parse};

/// A site's `target`, as a file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The file, below the site's folder.
    pub file: Utf8PathBuf,
    /// What it says.
    pub value: Value,
    text: String,
    /// Bytes of the value.
    span: (usize, usize),
}

/// The target that is declared in the site's folder: the first, where there are several. Files that are no JSON are passed over:
/// whoever loads the blueprint is told of them.
pub fn declared(root: &Utf8Path) -> Option<Declared> {
    let found = files::open(root).ok()?.blueprints().ok()?;
    found.into_iter().find_map(|(file, content)| {
        let text = String::from_utf8(content.ok()?.bytes.to_vec()).ok()?;
        Declared::of(file, text)
    })
}

impl Declared {
    /// The target that this text declares.
    pub fn of(file: Utf8PathBuf, text: String) -> Option<Self> {
        let (tree, _) = parse(&text);
        let node = tree?.get("target").map(|node| (node.span, node.to_value()))?;
        let (Span { start, end }, value) = node;
        Some(Self { file, value, text, span: (start, end) })
    }

    /// The file's text with another value in the place of this one.
    pub fn with(&self, value: &Value) -> String {
        let (start, end) = self.span;
        let (before, after) = (&self.text[..start], &self.text[end..]);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
        // A `Value` always serializes.
        let new =
            serde_json::to_string_pretty(value).unwrap_or_default().replace('\n', &format!("\n{indent}"));
        format!("{before}{new}{after}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SITE: &str = "// What this is.\n{\n  \"site\": { \"name\": \"workshop\" },\n\n  // The lab.\n  \"target\": { \"lab\": {} }, // here\n  \
                        \"networks\": {}\n}\n";

    #[test]
    fn only_the_target_changes() {
        let it = Declared::of("site.json".into(), SITE.to_owned()).unwrap();
        assert_eq!(it.value, json!({ "lab": {} }));
        let new = it.with(&json!({ "proxmox": { "endpoint": "https://10.0.0.13:8006" } }));
        let wanted = "// The lab.\n  \"target\": {\n    \"proxmox\": {\n      \"endpoint\": \"https://10.0.0.13:8006\"\n    }\n  }, // here\n";
        assert!(
            new.contains(wanted)
                && new.starts_with("// What this is.\n")
                && new.ends_with("\"networks\": {}\n}\n"),
            "{new}"
        );
        assert_eq!(Declared::of("site.json".into(), "{ \"site\": {} }".to_owned()), None);
        assert_eq!(Declared::of("site.json".into(), "{ target".to_owned()), None);
    }

    proptest! {
        #[test]
        fn what_is_put_there_is_read_there(word in "[a-zA-Z\"\\\\/é {}]{0,12}", before in "[ \n]{0,4}") {
            let it = Declared::of("a.json".into(), format!("{before}{SITE}")).unwrap();
            let value = json!({ "proxmox": { "endpoint": word } });
            let again = Declared::of("a.json".into(), it.with(&value)).unwrap();
            prop_assert_eq!(&again.value, &value);
            // And back again, it is as it was, but for the form.
            let back = Declared::of("a.json".into(), again.with(&it.value)).unwrap();
            prop_assert_eq!(&back.value, &it.value);
        }
    }
}
