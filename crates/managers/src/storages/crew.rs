//! Defining storages, changing them, and taking definitions away. What is the site's is written down before it is made, so that a
//! run that was cut off leaves nothing that nobody knows of.

use std::collections::BTreeSet;
use std::sync::Arc;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use blueprint::model::Place;
use plan::address::kinds;
use plan::inventory::Definition;
use plan::{Address, Step};
use secrecy::ExposeSecret as _;

use super::compare::place_of;
use super::look::is_disk;
use super::{Applied, StorageWork, Wanted, notes, secret};
use crate::privileges::or_unseen;
use crate::settle;
use crate::worksite::Worksite;

/// The crew for storages.
#[derive(Debug)]
pub(super) struct StorageCrew {
    site: Arc<Worksite>,
    /// The notes are one text, so one step writes them at a time.
    notes: tokio::sync::Mutex<()>,
}

impl StorageCrew {
    pub(super) fn new(site: Arc<Worksite>) -> Self {
        Self { site, notes: tokio::sync::Mutex::default() }
    }

    /// The definition as it is now.
    async fn definition(&self, name: &str) -> Result<Option<Definition>, Failure> {
        let list = settle::read("listing the storages", || self.site.reader().definitions()).await?;
        let found = list.into_iter().find(|it| it.storage == name);
        Ok(found.map(|it| Definition { kind: it.kind, options: it.options }))
    }

    async fn is(&self, name: &str, place: &Place) -> Result<bool, Failure> {
        Ok(self.definition(name).await?.is_some_and(|there| place_of(&there) == *place))
    }

    /// Writes down that a storage is the site's, and the code of its password once it was given.
    async fn remember(&self, wanted: &Wanted, progress: &Progress) -> Result<(), Failure> {
        let code = wanted
            .password
            .as_ref()
            .map(|it| secret::code(&self.site, &wanted.name, it))
            .transpose()?
            .flatten();
        let applied =
            Applied { place: wanted.place.shown(), secret: code, settings: wanted.settings.clone() };
        // Plain texts always serialize.
        let entry = serde_json::to_value(applied).unwrap_or_default();
        let _one = self.notes.lock().await;
        let address = Address::storage(&wanted.name);
        notes::change(&self.site, progress, |mark| mark.remember(&address, entry.clone())).await
    }

    async fn forget(&self, name: &str, progress: &Progress) -> Result<Done, Failure> {
        let _one = self.notes.lock().await;
        let address = Address::storage(name);
        notes::change(&self.site, progress, |mark| drop(mark.forget(&address))).await?;
        Ok(Done::new(format!("{name} is forgotten")))
    }

    /// The password as a parameter, for the call alone.
    fn password(&self, wanted: &Wanted) -> Result<Option<(String, String)>, Failure> {
        let Some(reference) = &wanted.password else { return Ok(None) };
        let value = self.site.secrets.make(reference)?;
        Ok(Some(("password".to_owned(), value.expose_secret().to_owned())))
    }

    async fn create(&self, wanted: &Wanted, progress: &Progress) -> Result<Done, Failure> {
        let name = &wanted.name;
        if let Some(there) = self.definition(name).await? {
            let place = place_of(&there);
            if place != wanted.place {
                let what = format!(
                    "there is a storage {name} by now, which is {}; nothing was done to it",
                    place.shown()
                );
                return Err(
                    Failure::new("storage::another", what).hint("phoenix-cli plan shows what is there now")
                );
            }
            // Somebody, or a run before this one, was quicker: what is to be said of it is said.
            let set = wanted.options.clone();
            return self.update(wanted, set, &BTreeSet::new(), true, progress).await;
        }
        self.remember(wanted, progress).await?;
        let mut params =
            vec![("storage".to_owned(), name.clone()), ("type".to_owned(), wanted.place.kind.clone())];
        params.extend(wanted.place.options.clone());
        params.extend(wanted.options.clone());
        params.extend(self.password(wanted)?);
        progress.doing(format!("defining {name}, {}", wanted.place.shown()));
        let create = || self.site.writer.create_storage(params.clone());
        let made = || self.is(name, &wanted.place);
        settle::through("defining the storage", progress, create, made)
            .await
            .map_err(|failure| explained(failure, wanted))?;
        self.proven(wanted, progress).await
    }

    async fn update(
        &self,
        wanted: &Wanted,
        set: std::collections::BTreeMap<String, String>,
        delete: &BTreeSet<String>,
        password: bool,
        progress: &Progress,
    ) -> Result<Done, Failure> {
        let name = &wanted.name;
        if !self.is(name, &wanted.place).await? {
            let what = format!(
                "the storage {name} is not {} any more; nothing was done to it",
                wanted.place.shown()
            );
            return Err(
                Failure::new("storage::another", what).hint("phoenix-cli plan shows what is there now")
            );
        }
        // Whoever may not write down that it is the site's changes nothing.
        notes::read(&self.site).await?;
        let mut params: Vec<(String, String)> = set.into_iter().collect();
        if !delete.is_empty() {
            params.push(("delete".to_owned(), delete.iter().cloned().collect::<Vec<_>>().join(",")));
        }
        if password {
            params.extend(self.password(wanted)?);
        }
        if !params.is_empty() {
            progress.doing(format!("changing the definition of {name}"));
            let change = || self.site.writer.change_storage(name, params.clone());
            settle::through("changing the storage", progress, change, || async { Ok(false) })
                .await
                .map_err(|failure| explained(failure, wanted))?;
        }
        self.remember(wanted, progress).await?;
        self.proven(wanted, progress).await
    }

    /// Whether its nodes can use it: "the API said 200" is no proof, and some types are taken without any look.
    async fn proven(&self, wanted: &Wanted, progress: &Progress) -> Result<Done, Failure> {
        let name = &wanted.name;
        let done = Ok(Done::new(format!("{name} is {}", wanted.place.shown())));
        if wanted.options.get("disable").is_some_and(|flag| flag == "1") {
            return done;
        }
        let nodes = settle::read("listing the nodes", || self.site.reader().nodes()).await?;
        for node in nodes.into_iter().filter(|node| node.status == "online") {
            let has = |all: &String| all.split(',').any(|one| one == node.node);
            if wanted.options.get("nodes").is_some_and(|all| !has(all)) {
                continue;
            }
            let list =
                settle::read("looking whether it can be used", || self.site.reader().storages(&node.node))
                    .await?;
            // What is not listed, the token may not see.
            if list.iter().any(|it| it.storage == *name && !it.active) {
                progress.warning(format!(
                    "{name} is defined, and {} cannot use it yet; why, there: pvesm status --storage {name}",
                    node.node
                ));
            }
        }
        done
    }

    async fn remove(&self, name: &str, place: &Place, progress: &Progress) -> Result<Done, Failure> {
        self.undefine(name, place, progress).await?;
        self.forget(name, progress).await?;
        Ok(Done::new(format!("{name} is not defined any more; what lies there stays")))
    }

    async fn undefine(&self, name: &str, place: &Place, progress: &Progress) -> Result<(), Failure> {
        let Some(there) = self.definition(name).await? else { return Ok(()) };
        if place_of(&there) != *place {
            let what =
                format!("the storage {name} is not {} any more; nothing was done to it", place.shown());
            return Err(
                Failure::new("storage::another", what).hint("phoenix-cli plan shows what is there now")
            );
        }
        self.is_empty(name).await?;
        progress.doing(format!("taking away the definition of {name}"));
        let remove = || self.site.writer.remove_storage(name);
        let gone = || async { Ok(self.definition(name).await?.is_none()) };
        settle::through("removing the storage", progress, remove, gone).await
    }

    /// Looks once more that no guest has a disk there.
    async fn is_empty(&self, name: &str) -> Result<(), Failure> {
        let nodes = settle::read("listing the nodes", || self.site.reader().nodes()).await?;
        for node in nodes.into_iter().filter(|node| node.status == "online") {
            let list =
                settle::read("looking whether it can be used", || self.site.reader().storages(&node.node))
                    .await?;
            if !list.iter().any(|it| it.storage == name && it.active) {
                continue;
            }
            let volumes = settle::read("listing what is on the storage", || {
                self.site.reader().volumes(&node.node, name, None)
            })
            .await?;
            if let Some(disk) = volumes.iter().find(|it| is_disk(&it.content) && it.vmid.is_some()) {
                let what = format!("the storage {name} cannot be removed: {} is on it", disk.volid);
                return Err(Failure::new("storage::in-use", what)
                    .hint(format!("what is on it, on {}: pvesm list {name}", node.node)));
            }
        }
        Ok(())
    }

    async fn carry_out_one(&self, step: &Step, progress: &Progress) -> Result<Done, Failure> {
        match apply::work::<StorageWork>(step)? {
            StorageWork::Create(wanted) => self.create(&wanted, progress).await,
            StorageWork::Update { wanted, set, delete, password } => {
                self.update(&wanted, set, &delete, password, progress).await
            }
            StorageWork::Replace { from, wanted } => {
                // A run that was cut off in between has defined it already.
                if !self.is(&wanted.name, &wanted.place).await? {
                    self.undefine(&wanted.name, &from, progress).await?;
                }
                self.create(&wanted, progress).await
            }
            StorageWork::Remove { name, place } => self.remove(&name, &place, progress).await,
            StorageWork::Forget { name } => self.forget(&name, progress).await,
        }
    }
}

/// What to do where the node cannot use what a storage is made of.
fn explained(failure: Failure, wanted: &Wanted) -> Failure {
    let said = failure.errors.join(" ");
    let server = wanted.place.options.get("server");
    if said.contains("already defined") {
        let name = &wanted.name;
        let unseen = or_unseen("Datastore.Audit", &format!("/storage/{name}"));
        return Failure { code: "storage::another".to_owned(), ..failure }
            .hint(format!("somebody was quicker: phoenix-cli plan shows what is there now; {unseen}"));
    }
    let known = [
        ("is not online", "storage::unreachable"),
        ("mount error", "storage::unreachable"),
        ("Can't connect", "storage::unreachable"),
        ("no such logical volume", "storage::no-place"),
        ("no such pool", "storage::no-place"),
        ("does not exist or is unreachable", "storage::no-place"),
        ("is not a btrfs file system", "storage::no-place"),
        ("Cannot find datastore", "storage::no-place"),
    ];
    let Some((_, code)) = known.into_iter().find(|(words, _)| said.contains(words)) else { return failure };
    let hint = match (code, server) {
        ("storage::unreachable", Some(server)) => {
            format!(
                "does {server} answer, and let the node in? on the node: ping {server}; then phoenix-cli apply"
            )
        }
        _ => format!(
            "make it, or correct where the storage is: {}; then phoenix-cli apply",
            wanted.place.shown()
        ),
    };
    Failure { code: code.to_owned(), ..failure }.hint(hint)
}

#[async_trait]
impl Crew for StorageCrew {
    fn kind(&self) -> &'static str {
        kinds::STORAGE
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let one = |step, progress: Progress| async move { self.carry_out_one(step, &progress).await };
        apply::crew::in_turn(steps, progress, one).await
    }
}
