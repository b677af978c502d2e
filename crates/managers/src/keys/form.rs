//! How a key's values are compared, written and shown. Pure.

use std::collections::BTreeMap;

use proxmox::property::{PropertyString, Schema, decimal, flag, list};

use super::{Form, Shown, Value};

/// The members of a list by their small letters, as they are spelled.
pub fn members(text: &str) -> BTreeMap<String, &str> {
    list(text).map(|member| (member.to_lowercase(), member)).collect()
}

fn parts(text: &str) -> PropertyString {
    // What the node could not read either has no parts, and is set anew.
    text.parse().unwrap_or_default()
}

impl Form {
    /// The sub-keys, where it has some.
    pub fn schema(self) -> Option<&'static Schema> {
        match self {
            Self::Property(schema) | Self::Volume(schema) => Some(schema),
            _ => None,
        }
    }

    /// The form in which a whole value is compared.
    pub fn normal(self, text: &str) -> String {
        match self {
            Self::Text | Self::Property(_) | Self::Volume(_) => text.to_owned(),
            Self::Number => text.parse::<u64>().map_or_else(|_| text.to_owned(), |n| n.to_string()),
            Self::Decimal => decimal(text),
            Self::Flag => flag(text).map_or_else(|| text.to_owned(), |on| u8::from(on).to_string()),
            Self::List => list(text).collect::<Vec<_>>().join(" "),
            Self::Members => members(text).into_keys().collect::<Vec<_>>().join(";"),
            Self::Prose => plan::mark::text(text),
            // One is as good as another: nobody can tell.
            Self::Secret => super::HIDDEN.to_owned(),
        }
    }

    /// Whether two whole values mean the same. Of volumes, what is mounted and its size are not compared.
    pub fn same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Property(schema) => schema.same(one, other),
            Self::Volume(schema) => {
                let options = |text: &str| {
                    let parts = parts(text);
                    let all = schema.named(&parts).unwrap_or_default();
                    let all = all.into_iter().filter(|(name, _)| Some(*name) != schema.default_key);
                    all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
                };
                schema.same(&options(one), &options(other))
            }
            _ => self.normal(one) == self.normal(other),
        }
    }

    /// Whether what is `there` has all that is wanted: what others may have added does not count.
    pub fn satisfied(self, there: Option<&str>, wanted: &Value) -> bool {
        match wanted {
            Value::Text(text) => there.is_some_and(|there| self.normal(there) == self.normal(text)),
            Value::Parts(ours) => self.differing(there, ours).is_empty(),
        }
    }

    /// The sub-keys that are not as they are wanted. Of a volume, what is mounted has rules of its own.
    pub fn differing(
        self,
        there: Option<&str>,
        ours: &[(&'static str, Option<String>)],
    ) -> Vec<&'static str> {
        let Some(schema) = self.schema() else { return Vec::new() };
        let there = parts(there.unwrap_or_default());
        let source = if matches!(self, Self::Volume(_)) { schema.default_key } else { None };
        let differs = |(name, wanted): &&(&'static str, Option<String>)| {
            Some(*name) != source
                && schema.normal(name, schema.get(&there, name)) != schema.normal(name, wanted.as_deref())
        };
        ours.iter().filter(differs).map(|(name, _)| *name).collect()
    }

    /// A wanted value as the node is told it. Of what is `there`, sub-keys that are not Phoenix' stay, and so does the volume.
    pub fn write(self, wanted: &Value, there: Option<&str>) -> String {
        match (wanted, self.schema()) {
            (Value::Text(text), _) => text.clone(),
            (Value::Parts(_), None) => String::new(),
            (Value::Parts(ours), Some(schema)) => {
                let there = there.map(parts);
                let mut ours: Vec<(&str, Option<String>)> = ours.clone();
                if let (Self::Volume(_), Some(there)) = (self, &there) {
                    for (name, value) in ours.iter_mut().filter(|(name, _)| Some(*name) == schema.default_key)
                    {
                        if let Some(volume) = schema.get(there, name) {
                            *value = Some(volume.to_owned());
                        }
                    }
                }
                schema.merged(&ours, there.as_ref()).to_string()
            }
        }
    }
}

/// MiB as people read them.
pub fn mib(mib: u64) -> String {
    if mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

impl Shown {
    /// A value as it is shown; nothing where it is not set.
    pub fn value(self, value: Option<&str>) -> serde_json::Value {
        let Some(value) = value else { return serde_json::Value::Null };
        match (self, value.parse::<u64>()) {
            (Self::Mib, Ok(number)) => mib(number).into(),
            (Self::Words(words), _) => self.word(words, value).into(),
            (_, Ok(number)) => number.into(),
            // Members of a list that the node joins by NUL.
            _ => value.replace('\0', " ").into(),
        }
    }

    fn word<'t>(self, words: &[(&str, &'t str)], value: &'t str) -> &'t str {
        words.iter().find(|(known, _)| *known == value).map_or(value, |(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxmox::property::container::MOUNT;

    use super::*;

    #[test]
    fn members_and_lists() {
        assert!(Form::Members.same("Web,PHOENIX backup", "backup;phoenix;web"));
        assert!(!Form::Members.same("web", "web;x"));
        assert!(Form::List.same("10.0.0.2,9.9.9.9", "10.0.0.2 9.9.9.9"));
        assert!(!Form::List.same("9.9.9.9 10.0.0.2", "10.0.0.2 9.9.9.9"));
        assert!(Form::Flag.same("yes", "1") && Form::Number.same("0512", "512"));
        assert!(Form::Prose.same("a  \r\nb \n\n", "a  \nb"));
    }

    #[test]
    fn a_volume_stays_and_so_does_what_others_set() {
        let form = Form::Volume(&MOUNT);
        let wanted =
            Value::Parts(vec![("volume", Some("tank:8".into())), ("mp", Some("/x".into())), ("ro", None)]);
        assert_eq!(form.write(&wanted, None), "tank:8,mp=/x");
        let there = "tank:subvol-1,mp=/y,ro=1,acl=1,size=4G";
        assert_eq!(form.write(&wanted, Some(there)), "tank:subvol-1,mp=/x,acl=1,size=4G");
        assert!(form.same("tank:a,mp=/x,size=1G", "tank:b,mp=/x,backup=0,size=2G"));
    }

    proptest! {
        /// Every form's normal form is one: bringing it to that twice is as once.
        #[test]
        fn normal_is_normal(text in "([a-zA-Z0-9 ,;=\r\n/.-]){0,30}") {
            for form in [Form::Text, Form::Number, Form::Decimal, Form::Flag, Form::List, Form::Members, Form::Prose] {
                let once = form.normal(&text);
                prop_assert_eq!(form.normal(&once), once.clone());
                prop_assert!(form.same(&text, &once));
            }
        }
    }
}
