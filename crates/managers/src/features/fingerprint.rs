//! The fingerprint of a feature on a guest, by which a guest's mark tells whether it has to be applied again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use blueprint::catalog::FeatureSpec;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::rendered::Rendered;
use super::script::hex;

/// The first 16 hexadecimal digits of a SHA-256 over all that was rendered and the parameters.
pub(super) fn fingerprint(
    spec: &FeatureSpec,
    rendered: &Rendered,
    parameters: &BTreeMap<String, Value>,
) -> String {
    // Maps are sorted, so the text is the same for the same things. Such types always become JSON.
    let plain;
    let rendered = if rendered.data.is_empty() {
        rendered
    } else {
        plain = Rendered { data: Vec::new(), ..rendered.clone() };
        &plain
    };
    let text = serde_json::to_vec(&(rendered, &*as_marked(spec, parameters))).unwrap_or_default();
    let mut digits = hex(&Sha256::digest(text));
    digits.truncate(16);
    digits
}

/// Derived parameters that came when guests were marked already. What they do is in what was rendered, so they enter no
/// fingerprint: otherwise every feature that is told them would be applied again, with nothing to do.
const LATER: [&str; 2] = [blueprint::loopback::LOOPBACK, blueprint::model::PACKAGE_CACHE];

/// The parameters as they enter fingerprints. Those of proxies are marked on guests with limits written as Nginx writes
/// them. They enter like that for good: otherwise every proxy would be applied again, with nothing to do on it.
fn as_marked<'p>(
    spec: &FeatureSpec,
    parameters: &'p BTreeMap<String, Value>,
) -> Cow<'p, BTreeMap<String, Value>> {
    let limited = ["sites", "routes", "streams"];
    let derived = |name: &str| spec.parameters.get(name).is_some_and(|parameter| parameter.derived);
    let mut all = Cow::Borrowed(parameters);
    for name in LATER.into_iter().filter(|name| derived(name) && parameters.contains_key(*name)) {
        all.to_mut().remove(name);
    }
    for name in limited.into_iter().filter(|name| derived(name) && parameters.contains_key(*name)) {
        let entries = all.to_mut().get_mut(name).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            limits_as_marked(entry, name == "streams");
        }
    }
    all
}

fn limits_as_marked(entry: &mut Map<String, Value>, stream: bool) {
    let number = |entry: &Map<String, Value>, key: &str| entry.get(key).and_then(Value::as_u64);
    entry.insert("timeout".to_owned(), number(entry, "timeout").unwrap_or(0).into());
    if stream {
        return;
    }
    entry.insert("headers".to_owned(), number(entry, "headers").unwrap_or(0).into());
    let body = match number(entry, "body") {
        None => String::new(),
        Some(0) => "0".to_owned(),
        Some(bytes) => format!("{}m", bytes / (1024 * 1024)),
    };
    entry.insert("body".to_owned(), body.into());
    let rate = entry.get("rate").and_then(Value::as_object).map(|rate| {
        let unit = if number(rate, "per_seconds") == Some(60) { "m" } else { "s" };
        format!("{}r/{unit}", number(rate, "requests").unwrap_or(0))
    });
    entry.insert("rate".to_owned(), rate.unwrap_or_default().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn marked(name: &str, derived: bool, entry: &Value) -> Value {
        let parameter = json!({ "type": "json", "derived": derived });
        let spec: FeatureSpec = serde_json::from_value(json!({ "parameters": { name: parameter } })).unwrap();
        let parameters = BTreeMap::from([(name.to_owned(), json!([entry]))]);
        as_marked(&spec, &parameters)[name][0].clone()
    }

    /// A guest that was marked before features were told this is not applied again for it.
    #[test]
    fn what_features_are_told_since_enters_no_fingerprint() {
        for (derived, left) in
            [(true, json!({ "port": 80 })), (false, json!({ "loopback": [80], "port": 80 }))]
        {
            let spec = json!({ "parameters": {
                "loopback": { "type": "json", "derived": derived }, "port": { "type": "port" },
            } });
            let spec: FeatureSpec = serde_json::from_value(spec).unwrap();
            let parameters = serde_json::from_value(json!({ "loopback": [80], "port": 80 })).unwrap();
            assert_eq!(serde_json::to_value(&*as_marked(&spec, &parameters)).unwrap(), left);
        }
    }

    #[test]
    fn limits_enter_as_guests_are_marked_with_them() {
        let told = json!({
            "body": 2_147_483_648_u64, "headers": 8192, "timeout": 3600, "burst": 3,
            "rate": { "requests": 300, "per_seconds": 60 },
        });
        let known =
            json!({ "body": "2048m", "headers": 8192, "timeout": 3600, "burst": 3, "rate": "300r/m" });
        assert_eq!(marked("sites", true, &told), known);
        assert_eq!(marked("routes", true, &told), known);
        let any = json!({ "body": 0, "burst": 0, "rate": { "requests": 10, "per_seconds": 1 } });
        let known = json!({ "body": "0", "headers": 0, "timeout": 0, "burst": 0, "rate": "10r/s" });
        assert_eq!(marked("sites", true, &any), known);
        let nothing = json!({ "body": "", "headers": 0, "timeout": 0, "burst": 0, "rate": "" });
        assert_eq!(marked("sites", true, &json!({ "burst": 0 })), nothing);
        assert_eq!(marked("streams", true, &json!({ "listen": 1 })), json!({ "listen": 1, "timeout": 0 }));
        // What somebody sets is what they set.
        assert_eq!(marked("sites", false, &told), told);
        assert_eq!(marked("names", true, &told), told);
    }
}
