//! What is remembered of the secrets that features were applied with: never a value, and nothing to guess one by, but a code
//! that the site's key makes of it. So a value that changes behind the same reference is a step of a plan.
//!
//! A code is bound to the feature and its guest, so that nobody sees which guests have the same password.

use std::collections::{BTreeMap, BTreeSet};

use apply::Failure;
use blueprint::model::SecretRef;
use plan::desired::Feature;
use plan::inventory::{Secret, SecretNow};
use plan::site_key::Purpose;
use plan::{Address, Change, Desired, Host, Inventory, Mark, Problem, SiteKey, wire};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::worksite::{NOT_ASKED, NOT_MADE, Secrets, Worksite};

/// How much of a code is kept, in digits of base 16. It tells values apart, and vouches for nothing; descriptions are short.
const KEPT: usize = 16;

/// So many secrets of a feature are remembered one by one. More of them, such as the users of a gateway, are remembered as one:
/// a description holds 8 KiB.
const MOST: usize = 16;

/// Secrets that are remembered by one code: mostly one.
fn groups(secrets: &[SecretRef]) -> impl Iterator<Item = &[SecretRef]> {
    secrets.chunks(if secrets.len() <= MOST { 1 } else { secrets.len() })
}

/// What stands for secrets where their code is kept: names of files, and commands, are nobody's business there.
fn stands_for(group: &[SecretRef]) -> String {
    // Texts and lists of texts always serialize.
    wire::fingerprint(&[&serde_json::to_string(group).unwrap_or_default()])
}

/// What people call them.
fn name(group: &[SecretRef]) -> String {
    match group {
        [one] => one.name(),
        all => format!("(one of {})", all.len()),
    }
}

/// The code of the values of secrets, for a feature on a guest.
pub(crate) fn code(key: &SiteKey, feature: &Address, group: &[SecretRef], values: &[SecretString]) -> String {
    let references = serde_json::to_string(group).unwrap_or_default();
    let mut parts = vec![feature.as_str().as_bytes(), references.as_bytes()];
    parts.extend(values.iter().map(|value| value.expose_secret().as_bytes()));
    let mut code = key.code(Purpose::Secret, &parts);
    code.truncate(KEPT);
    code
}

/// The codes of the secrets that a feature was just applied with.
pub(crate) fn codes(
    site: &Worksite,
    feature: &Address,
    secrets: &[SecretRef],
) -> Result<BTreeMap<String, String>, Failure> {
    let Some(key) = site.trust.key() else { return Ok(BTreeMap::new()) };
    let of = |group: &[SecretRef]| {
        let values = group.iter().map(|one| site.secrets.resolve(one)).collect::<Result<Vec<_>, _>>()?;
        Ok((stands_for(group), code(key, feature, group, &values)))
    };
    groups(secrets).map(of).collect()
}

/// What secrets are now, for a feature on a guest; nothing where that was not asked. None is made.
pub(crate) fn now(
    key: &SiteKey,
    feature: &Address,
    group: &[SecretRef],
    secrets: &dyn Secrets,
) -> Option<Secret> {
    let (mut values, mut missing, mut unknown, mut asked) = (Vec::new(), Vec::new(), None, true);
    for reference in group {
        match secrets.resolve(reference) {
            Ok(value) => values.push(value),
            Err(failure) if failure.code == NOT_MADE => missing.push(reference.name()),
            Err(failure) if failure.code == NOT_ASKED => asked = false,
            Err(failure) => unknown = unknown.or(Some(failure.errors.join(": "))),
        }
    }
    let (name, now) = match unknown {
        _ if !missing.is_empty() => (missing.join(", "), SecretNow::Missing),
        Some(why) => (name(group), SecretNow::Unknown(why)),
        None if !asked => return None,
        None => (name(group), SecretNow::Code(code(key, feature, group, &values))),
    };
    Some(Secret { name, now })
}

/// The secrets that a feature uses.
pub fn secrets_of(feature: &Feature) -> Vec<SecretRef> {
    let all = feature.payload.get("secrets").and_then(Value::as_array).filter(|all| !all.is_empty());
    // What cannot be read here is an error of `apply`.
    all.into_iter().flatten().filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
}

/// Finds out what the secrets are now that features and storages were applied with. None is made.
pub fn look(desired: &Desired, inventory: &mut Inventory, key: Option<&SiteKey>, secrets: &dyn Secrets) {
    inventory.secrets.clear();
    let Some(key) = key else { return };
    let mut all = BTreeMap::new();
    let mut ask = |feature: &Feature, address: Address, applied: Option<&str>, mark: &Mark| {
        let Some(applied) = applied else { return };
        let same = applied == feature.fingerprint;
        let had = |id: &str| mark.secrets(&feature.name).is_some_and(|codes| codes.contains_key(id));
        let used = secrets_of(feature);
        // Wanted as it was applied, it had all of its secrets; else what was not remembered may be new to it.
        let asked = groups(&used).map(|group| (stands_for(group), group)).filter(|(id, _)| same || had(id));
        let of_it: BTreeMap<_, _> =
            asked.filter_map(|(id, group)| Some((id, now(key, &address, group, secrets)?))).collect();
        if !of_it.is_empty() {
            all.insert(address, of_it);
        }
    };
    for guest in desired.guests.values() {
        let there = inventory.guests.get(&guest.id).and_then(|there| there.mark.as_ref());
        if let Some(mark) = there.filter(|m| m.site == desired.site && m.address == guest.resource()) {
            for feature in &guest.features {
                let address = Address::feature(&feature.name, &guest.host());
                let applied = mark.fingerprint(&address);
                ask(feature, address, applied, mark);
            }
            for stack in desired.stacks.values().filter(|stack| stack.on == guest.name) {
                let address = crate::stacks::feature_address(&stack.name, &stack.host);
                ask(&stack.feature, address, mark.fingerprint(&stack.resource()), mark);
            }
        }
    }
    if let Some(mark) = inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == desired.site) {
        for feature in &desired.on_node {
            let address = Address::feature(&feature.name, &Host::THE_NODE);
            let applied = mark.fingerprint(&address);
            ask(feature, address, applied, mark);
        }
    }
    all.extend(crate::storages::secret::look(desired, inventory, key, secrets));
    all.extend(crate::zfs::encryption::look(desired, inventory, key, secrets));
    inventory.secrets = all;
}

/// How the secrets of a feature are, beside what its mark remembers of them.
#[derive(Debug, Default)]
pub(crate) struct Compared<'a> {
    /// Those whose values are others now, or of which nothing is remembered.
    pub changed: Vec<Differs<'a>>,
    /// Those that it was made with, and that are gone.
    missing: Vec<&'a str>,
    /// Those that whoever plans cannot have, each with why.
    withheld: Vec<(&'a str, &'a str)>,
}

/// A secret that is not as it was.
#[derive(Debug)]
pub(crate) struct Differs<'a> {
    name: &'a str,
    /// Whether it is known what it was.
    known: bool,
}

/// Holds the secrets of a feature against what a mark remembers.
pub(crate) fn compare<'a>(inventory: &'a Inventory, mark: &Mark, feature: &Address) -> Compared<'a> {
    let mut compared = Compared::default();
    let before = mark.secrets(feature.name());
    for (id, Secret { name, now }) in inventory.secrets.get(feature).into_iter().flatten() {
        let was = before.and_then(|codes| codes.get(id));
        match (now, was) {
            (SecretNow::Code(now), Some(was)) if now == was => {}
            (SecretNow::Code(_), was) => compared.changed.push(Differs { name, known: was.is_some() }),
            (SecretNow::Missing, _) => compared.missing.push(name),
            (SecretNow::Unknown(why), _) => compared.withheld.push((name, why)),
        }
    }
    compared
}

impl Compared<'_> {
    /// What keeps the feature from being applied.
    pub fn problem(&self, feature: &Address) -> Option<Problem> {
        let first = self.missing.first()?;
        Some(Problem::new(
            feature.clone(),
            "secrets::lost",
            format!("it was made with the generated secret {}, which is not here", self.missing.join(", ")),
            format!(
                "copy .phoenix/secrets from the folder that it was last applied from, or phoenix-cli secrets open; only where there \
                 is no copy any more, make another: phoenix-cli secrets rotate {first}"
            ),
        ))
    }

    /// Why it is applied again, a sentence each.
    pub fn reasons(&self) -> Vec<String> {
        let (known, new): (Vec<_>, Vec<_>) = self.changed.iter().partition(|one| one.known);
        let mut reasons: Vec<String> =
            known.iter().map(|one| format!("its secret {} has changed", one.name)).collect();
        if !new.is_empty() {
            let names: Vec<&str> = new.iter().map(|one| one.name).collect();
            reasons.push(format!(
                "it is not remembered which {} it has: nothing changes in the guest where that is the one it is to have",
                names.join(", ")
            ));
        }
        reasons
    }

    /// What is known of its step before it is tried: without its secrets it fails.
    pub fn doubts(&self, feature: &Address) -> Vec<String> {
        let doubt = |(name, why): &(&str, &str)| {
            format!(
                "{feature} needs the secret {name}, which cannot be had here; its step fails, and the others are done: {why}"
            )
        };
        self.withheld.iter().map(doubt).collect()
    }

    /// The same as values that change; what they are is not said.
    pub fn changes(&self) -> Vec<Change> {
        let change = |one: &Differs<'_>| {
            let was = if one.known { "as it was applied" } else { "not remembered" };
            Change::new(format!("secret {}", one.name), was, "as it is now")
        };
        self.changed.iter().map(change).collect()
    }
}

/// Of which secrets it is not known whether they have changed, a sentence each.
pub(super) fn unknown(inventory: &Inventory) -> BTreeSet<String> {
    let all = inventory.secrets.values().flat_map(BTreeMap::values);
    let unknown = all.filter_map(|Secret { name, now }| match now {
        SecretNow::Unknown(why) => Some(format!("whether the secret {name} has changed is not known: {why}")),
        SecretNow::Code(_) | SecretNow::Missing => None,
    });
    unknown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(feature: &Address, reference: &SecretRef, now: SecretNow) -> Inventory {
        let secret = Secret { name: reference.name(), now };
        let of_it = BTreeMap::from([(stands_for(std::slice::from_ref(reference)), secret)]);
        Inventory { secrets: [(feature.clone(), of_it)].into(), ..Inventory::default() }
    }

    /// Each has its name as its value; what begins with a dash is not made, with a slash not to be had, with a plus not asked.
    #[derive(Debug)]
    struct Named;

    impl Secrets for Named {
        fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
            match reference.name() {
                name if name.starts_with('-') => Err(Failure::new(NOT_MADE, "not made")),
                name if name.starts_with('+') => Err(Failure::new(NOT_ASKED, "not asked")),
                name if name.starts_with('/') => Err(Failure::new("secrets::unavailable", "no such file")),
                name => Ok(name.into()),
            }
        }
    }

    #[test]
    fn a_code_is_of_one_value_on_one_guest_under_one_key() {
        let key = |digit: &str| SiteKey::from_text(&digit.repeat(64)).unwrap();
        let on = |guest: &str| -> Address { format!("feature.postgres@container.{guest}").parse().unwrap() };
        let reference = [SecretRef::Generate("db".into())];
        let value = |text: &str| [SecretString::from(text.to_owned())];
        let first = code(&key("1"), &on("a"), &reference, &value("hunter2"));
        assert_eq!(first, code(&key("1"), &on("a"), &reference, &value("hunter2")));
        for other in [
            code(&key("2"), &on("a"), &reference, &value("hunter2")),
            code(&key("1"), &on("b"), &reference, &value("hunter2")),
            code(&key("1"), &on("a"), &[SecretRef::Env("db".into())], &value("hunter2")),
            code(&key("1"), &on("a"), &reference, &value("hunter3")),
        ] {
            assert_ne!(first, other);
        }
        // What is written where others read it says neither a value nor where it comes from.
        let command = [SecretRef::Command(vec!["pass".into(), "clients/acme".into()])];
        assert!(stands_for(&command).bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn many_are_remembered_as_one() {
        let key = SiteKey::from_text(&"1".repeat(64)).unwrap();
        let feature: Address = "feature.nginx-gateway@container.gateway".parse().unwrap();
        let users = |count: usize| -> Vec<SecretRef> {
            (0..count).map(|number| SecretRef::Generate(format!("user-{number}"))).collect()
        };
        assert_eq!(groups(&users(MOST)).count(), MOST);
        assert_eq!((groups(&users(MOST + 1)).count(), groups(&[]).count()), (1, 0));
        let mut many = users(40);
        let now = |many: &[SecretRef]| now(&key, &feature, many, &Named);
        let before = now(&many).unwrap();
        assert!(matches!(before.now, SecretNow::Code(_)) && before.name == "(one of 40)", "{before:?}");
        many[7] = SecretRef::Generate("/gone".into());
        assert!(matches!(now(&many).unwrap().now, SecretNow::Unknown(_)));
        // What is lost is said by its name, whatever else cannot be had.
        many[8] = SecretRef::Generate("-lost".into());
        let lost = now(&many).unwrap();
        assert_eq!((lost.name.as_str(), lost.now), ("-lost", SecretNow::Missing));
        // What was not asked is not told of: neither as changed nor as unknown.
        assert_eq!(now(&[SecretRef::Generate("+pass".into())]), None);
        assert_eq!(now(&[SecretRef::Generate("+pass".into()), SecretRef::Generate("db".into())]), None);
    }

    #[test]
    fn a_mark_of_before_says_that_nothing_is_known() {
        let feature: Address = "feature.postgres@container.db".parse().unwrap();
        let reference = SecretRef::Generate("db".into());
        let mut mark = Mark::new("workshop", Address::container("db"));
        let code = |text: &str| SecretNow::Code(text.to_owned());
        let inventory = |now| inventory(&feature, &reference, now);

        let old = inventory(code("aa"));
        let reasons = compare(&old, &mark, &feature).reasons();
        assert!(reasons.len() == 1 && reasons[0].contains("nothing changes in the guest"), "{reasons:?}");
        mark.remember_secrets(
            "postgres",
            [(stands_for(std::slice::from_ref(&reference)), "aa".to_owned())].into(),
        );
        assert!(compare(&old, &mark, &feature).changed.is_empty());
        let changed = inventory(code("bb"));
        assert_eq!(compare(&changed, &mark, &feature).reasons(), ["its secret db has changed"]);
        let unset = inventory(SecretNow::Unknown("the variable is not set".to_owned()));
        let withheld = compare(&unset, &mark, &feature);
        assert!(withheld.changed.is_empty() && withheld.problem(&feature).is_none());
        assert_eq!(unknown(&unset).len(), 1);
        // Where its step is planned for another reason, it is said before it is tried.
        assert_eq!(
            withheld.doubts(&feature),
            [
                "feature.postgres@container.db needs the secret db, which cannot be had here; its step fails, and the others are done: the \
              variable is not set"
            ]
        );
    }

    #[test]
    fn what_it_was_made_with_and_is_gone_is_a_problem() {
        let feature: Address = "feature.postgres@container.db".parse().unwrap();
        let gone = inventory(&feature, &SecretRef::Generate("db".into()), SecretNow::Missing);
        // Whatever the mark says by now: `--again` forgets.
        let mark = Mark::new("workshop", Address::container("db"));
        assert_eq!(compare(&gone, &mark, &feature).problem(&feature).unwrap().code, "secrets::lost");
        assert!(compare(&Inventory::default(), &mark, &feature).problem(&feature).is_none());
    }
}
