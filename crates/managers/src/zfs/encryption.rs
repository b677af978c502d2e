//! Datasets that are encrypted: what cannot be changed of that, when a key is loaded, and when it is another one. Pure, but for
//! [`look`], which has secrets resolved.

use std::collections::BTreeMap;

use blueprint::model::{self, SecretRef};
use plan::inventory::zfs;
use plan::inventory::{Secret, SecretNow};
use plan::planner::World;
use plan::{Address, Desired, Inventory, Problem, SiteKey};
use serde::{Deserialize, Serialize};

use super::{AppliedDataset, applied};
use crate::features::known;
use crate::worksite::Secrets;

/// The one secret of a dataset.
const KEY: &str = "key";

/// What a step does with the key of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWork {
    /// The key, by reference.
    pub secret: SecretRef,
    /// The file on the node in which it lies; none where it is loaded by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether the dataset has another key until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub change: bool,
}

impl KeyWork {
    fn of(dataset: &str, wanted: &model::Encryption, change: bool) -> Self {
        let file = (!wanted.by_hand).then(|| model::Encryption::file(dataset));
        Self { secret: wanted.key.clone(), file, change }
    }
}

/// Finds out what the keys are now of datasets that were made with one. None is made.
pub(crate) fn look(
    desired: &Desired,
    inventory: &Inventory,
    key: &SiteKey,
    secrets: &dyn Secrets,
) -> Vec<(Address, BTreeMap<String, Secret>)> {
    let mark = inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == desired.site);
    let all = desired.pools.values().flat_map(|pool| pool.datasets.values()).filter_map(|dataset| {
        let wanted = dataset.encryption.as_ref()?;
        let address = Address::dataset(&dataset.name);
        applied::<AppliedDataset>(mark, &address)?.key?;
        let now = known::now(key, &address, std::slice::from_ref(&wanted.key), secrets)?;
        Some((address, BTreeMap::from([(KEY.to_owned(), now)])))
    });
    all.collect()
}

/// What is to be done for the key of a dataset, and why; nothing where it is as it is to be.
pub(super) fn differs(
    world: World<'_>,
    dataset: &model::Dataset,
    there: Option<&zfs::Dataset>,
    known: Option<&AppliedDataset>,
) -> Result<Option<(String, KeyWork)>, Box<Problem>> {
    let name = &dataset.name;
    let address = Address::dataset(name);
    let problem = |code, message: String, hint: String| {
        Err(Box::new(Problem::new(address.clone(), code, message, hint)))
    };
    let was = known.and_then(|it| it.key.as_deref());
    let now = world.inventory.secrets.get(&address).and_then(|all| all.get(KEY)).map(|it| &it.now);
    let key = there.and_then(|it| it.key.as_ref());
    let Some(wanted) = &dataset.encryption else {
        return match was.is_some() && key.is_some() {
            true => problem(
                "zfs::encryption",
                format!("{name} is encrypted, which cannot be taken away"),
                "write its `encryption` again; or declare another dataset, copy what is in it, and take this one out"
                    .to_owned(),
            ),
            false => Ok(None),
        };
    };
    if there.is_some() && matches!(now, Some(SecretNow::Missing)) {
        return problem(
            "secrets::lost",
            format!("{name} was encrypted with a generated key, which is not here"),
            "copy .phoenix/secrets from the folder that it was last applied from, or phoenix-cli secrets open"
                .to_owned(),
        );
    }
    let secret = wanted.key.name();
    Ok(match (there, key) {
        (None, _) => Some((String::new(), KeyWork::of(name, wanted, false))),
        (Some(_), None) => {
            return problem(
                "zfs::encryption",
                format!("{name} is there already, and is not encrypted, which cannot be changed"),
                "declare another dataset with `encryption`, copy what is in this one, and take it out"
                    .to_owned(),
            );
        }
        (Some(_), Some(key)) if key.root != *name => {
            let reason =
                format!("it has the key of {}, and gets one of its own, the secret {secret}", key.root);
            Some((reason, KeyWork::of(name, wanted, true)))
        }
        (Some(_), Some(key)) => {
            let changed = match (now, was) {
                (Some(SecretNow::Code(now)), Some(was)) => now != was,
                // Of one that is taken over it is not known which key it has: with the one that is declared it is.
                (_, was) => was.is_none(),
            };
            let reason = match (key.loaded, changed) {
                (false, _) => "its key is not loaded".to_owned(),
                (true, true) if was.is_some() => format!("its key, the secret {secret}, has changed"),
                (true, true) => format!("it gets the key that is declared, the secret {secret}"),
                (true, false) if !key.mounted && is_mounted(world, dataset) => "it is not mounted".to_owned(),
                (true, false) => return Ok(None),
            };
            Some((reason, KeyWork::of(name, wanted, changed)))
        }
    })
}

/// What puts a key into a file, or takes it out of one.
pub(super) fn placing(dataset: &model::Dataset) -> Option<KeyWork> {
    Some(KeyWork::of(&dataset.name, dataset.encryption.as_ref()?, false))
}

/// Whether a dataset is to be mounted by itself.
fn is_mounted(world: World<'_>, dataset: &model::Dataset) -> bool {
    let pool = world.desired.pools.get(dataset.name.split('/').next().unwrap_or_default());
    let can = dataset.properties.get("canmount").is_none_or(|it| it == "on");
    can && pool.is_some_and(|pool| {
        pool.mountpoint(&dataset.name).is_some()
            && dataset.properties.get("mountpoint").is_none_or(|it| it != "legacy")
    })
}
