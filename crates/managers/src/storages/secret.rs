//! The passwords with which nodes log in to servers: what is remembered of them, as of the secrets of features
//! ([`crate::features::known`]).

use std::collections::BTreeMap;

use apply::Failure;
use blueprint::model::SecretRef;
use plan::inventory::{Secret, SecretNow};
use plan::{Address, Desired, Inventory, SiteKey};

use super::{Applied, mark_of};
use crate::features::known;
use crate::worksite::{Secrets, Worksite};

/// The one secret of a storage.
const PASSWORD: &str = "password";

/// Finds out what the passwords are now of storages that were made with one. None is made.
pub(crate) fn look(
    desired: &Desired,
    inventory: &mut Inventory,
    key: &SiteKey,
    secrets: &dyn Secrets,
) -> Vec<(Address, BTreeMap<String, Secret>)> {
    let Some(mark) = mark_of(desired, inventory) else { return Vec::new() };
    let all = desired.storages.values().filter_map(|storage| {
        let reference = storage.password.as_ref()?;
        Applied::of(mark, &storage.name)?;
        let address = Address::storage(&storage.name);
        let now = known::now(key, &address, std::slice::from_ref(reference), secrets)?;
        Some((address, BTreeMap::from([(PASSWORD.to_owned(), now)])))
    });
    all.collect()
}

/// The password of a storage now, as far as somebody looked.
pub(super) fn now<'a>(inventory: &'a Inventory, name: &str) -> Option<&'a SecretNow> {
    inventory.secrets.get(&Address::storage(name))?.get(PASSWORD).map(|secret| &secret.now)
}

/// The code of the password that a storage was just given.
pub(super) fn code(site: &Worksite, name: &str, reference: &SecretRef) -> Result<Option<String>, Failure> {
    let Some(key) = site.trust.key() else { return Ok(None) };
    let value = site.secrets.make(reference)?;
    Ok(Some(known::code(key, &Address::storage(name), std::slice::from_ref(reference), &[value])))
}
