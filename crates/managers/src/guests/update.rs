//! Changing a guest where it is, as it was planned: what is written, what takes root, disks, pool, mark, and its start.

use std::collections::BTreeMap;

use apply::{Done, Failure, Progress};
use plan::Address;
use proxmox::client::GuestRef;
use proxmox::error::ErrorKind;
use proxmox::property::{PropertyString, Size};
use tokio::time::Instant;

use super::crew::{GuestCrew, VOLUME};
use super::first_start;
use super::refused::{self, State};
use super::work::{Params, Update};
use crate::settle::{self, Seen, Task, failure};

impl GuestCrew {
    /// Where it is. One that was moved since the plan was made is changed where it is now: all of it may be done twice.
    pub(super) async fn update(
        &self,
        address: &Address,
        update: &Update,
        progress: &Progress,
    ) -> Result<Done, Failure> {
        let guest = GuestRef::new(&update.node, self.kind(), update.id);
        self.at(&guest);
        match self.update_at(address, &guest, update, progress).await {
            Err(failure) if failure.code == settle::NOT_FOUND => match self.site.moved(&guest).await? {
                Some(there) => self.update_at(address, &there, update, progress).await,
                None => Err(failure),
            },
            result => result,
        }
    }

    async fn update_at(
        &self,
        address: &Address,
        guest: &GuestRef,
        update: &Update,
        progress: &Progress,
    ) -> Result<Done, Failure> {
        let before = State::read(&self.site, guest, "reading whose it is").await?;
        self.site.own(guest.id, Some(address), &before.now)?;
        if let Err(failure) = self.write(guest, update, progress).await {
            return Err(self.take_back(guest, &before, update, failure, progress).await);
        }
        if update.stop {
            self.stop(guest, progress).await?;
        }
        let moved = self.move_and_free(guest, update, progress).await;
        if moved.is_err() && update.start {
            // What could not move is no reason to leave it off.
            self.start(guest, progress).await?;
        }
        moved?;
        self.grow(guest, &update.grow, progress).await?;
        if let Some(pool) = &update.pool {
            self.join(guest, pool).await?;
        }
        if update.text.is_some() || update.keep.is_some() || update.seal {
            let change = |there: &mut String, mark: &mut plan::Mark| {
                if let Some(text) = &update.text {
                    there.clone_from(text);
                }
                if let Some(keep) = &update.keep {
                    keep.apply_to(mark);
                }
            };
            self.site.change_mark(guest.id, progress, change).await?;
        }
        let volume = before.now.get(first_start::CUSTOM).and_then(|it| first_start::volume(it, guest.id));
        let first = update.first_start.as_ref().zip(volume);
        if update.start {
            if let Some((first, volume)) = &first {
                let told = first.told(&self.site, address, guest.id, Some(volume.clone()))?;
                told.begin(&self.site, guest).await?;
            }
            self.start(guest, progress).await?;
        }
        if update.start || first.is_some() {
            self.wait(guest, update.waits_for, progress).await?;
        }
        if let Some((_, volume)) = &first {
            first_start::end(&self.site, guest, volume, progress).await?;
        }
        self.forget(guest, &update.forget, progress).await?;
        Ok(Done::default())
    }

    /// Writes its configuration: by the API, and what takes root by the node's command.
    async fn write(&self, guest: &GuestRef, update: &Update, progress: &Progress) -> Result<(), Failure> {
        let (mut last, mut params): (Params, Params) = (Params::new(), update.set.clone());
        let mut digest = update.digest.clone();
        let changed = update.set.iter().chain(&update.root).map(|(key, _)| key);
        let changed = changed.chain(&update.delete).chain(&update.revert);
        if changed.into_iter().any(|key| (self.table().is_drive)(key)) {
            // The node adds a new medium's drive to the order to start from.
            let is_late = |key: &str| key == "protection" || key == "boot";
            (last, params) = params.into_iter().partition(|(key, _)| is_late(key));
            if let Some(now) = self.unprotect(guest, &digest, progress).await? {
                digest = now;
                if !last.iter().any(|(key, _)| key == "protection") {
                    last.push(("protection".into(), "1".into()));
                }
            }
        }
        if !update.revert.is_empty() {
            progress.doing("taking back what waits for a restart");
            let revert = ("revert".to_owned(), update.revert.join(","));
            match self.ahead(guest, &digest, revert, progress).await? {
                Some(now) => digest = now,
                None => self.already(guest, update).await?,
            }
        }
        params.extend(self.secrets(&update.secrets)?);
        if !update.delete.is_empty() {
            params.push(("delete".into(), update.delete.join(",")));
        }
        if !params.is_empty() || update.remember.is_some() {
            progress.doing("changing its configuration");
            if let Some(set) = &update.remember {
                params.push(("description".into(), self.remembering(guest, set).await?));
            }
            let once_more = refused::without_new_volumes(self.table(), &params);
            params.push(("digest".into(), digest));
            if settle::set(&self.site, guest, params, progress).await? == settle::Set::Modified {
                self.already(guest, update).await?;
                // What was written may have been refused, and that answer lost. The same once more changes nothing, and is
                // refused again.
                if !once_more.is_empty() {
                    settle::set(&self.site, guest, once_more, progress).await?;
                }
            }
            if update.remember.is_some() {
                self.site.is_sealed(guest.id);
            }
        }
        self.root(guest, &update.root, progress).await?;
        if !last.is_empty() {
            settle::set(&self.site, guest, last, progress).await?;
        }
        Ok(())
    }

    /// Has the mark forget what was set of keys that are gone.
    pub(super) async fn forget(
        &self,
        guest: &GuestRef,
        keys: &[String],
        progress: &Progress,
    ) -> Result<(), Failure> {
        if keys.is_empty() {
            return Ok(());
        }
        let forget = |_: &mut String, mark: &mut plan::Mark| mark.set.retain(|key, _| !keys.contains(key));
        self.site.change_mark(guest.id, progress, forget).await
    }

    /// The description with a mark that remembers what is set. The digest it is written with says that it is still so.
    async fn remembering(&self, guest: &GuestRef, set: &BTreeMap<String, String>) -> Result<String, Failure> {
        let config = settle::read("reading the description", || self.site.reader().config(guest)).await?;
        let mut own = self.site.own(guest.id, None, &config)?;
        own.mark.set.clone_from(set);
        self.site.describe(guest.id, &own)
    }

    /// Takes the protection off for as long as mounts are changed: Proxmox VE refuses that otherwise. Should the run be cut
    /// off, the next one finds it off and puts it on again. The new digest; `None` where it was not on, or where the
    /// container is no longer as it was planned against.
    async fn unprotect(
        &self,
        guest: &GuestRef,
        digest: &str,
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        let config = settle::read("reading the protection", || self.site.reader().config(guest)).await?;
        if config.get("protection").is_none_or(|on| on != "1") {
            return Ok(None);
        }
        progress.doing("taking its protection off while its mounts are changed");
        self.ahead(guest, digest, ("protection".into(), "0".into()), progress).await
    }

    /// Sets something before all else. The new digest; `None` where the container is no longer as it was planned against.
    async fn ahead(
        &self,
        guest: &GuestRef,
        digest: &str,
        param: (String, String),
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        let look = || settle::read("reading the digest", || self.site.reader().config(guest));
        if look().await?.get("digest").is_none_or(|now| now != digest) {
            return Ok(None);
        }
        let params = vec![param, ("digest".into(), digest.to_owned())];
        // An answer that was lost shows as a digest that no longer fits; what is there then is looked at all the same.
        settle::set(&self.site, guest, params, progress).await?;
        Ok(look().await?.remove("digest"))
    }

    /// Puts it into a pool. After an answer that got lost it is looked whether it is there.
    async fn join(&self, guest: &GuestRef, pool: &str) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut pauses = settle::Pauses::up_to(settle::PAUSE);
        loop {
            let Err(error) = self.site.writer.join_pool(pool, guest.id, true).await else { return Ok(()) };
            if error.kind().is_some() || begin.elapsed() > settle::UNREACHABLE {
                // The role of a token ends at its pool, so a guest that is outside is brought in by root.
                let hint = format!("on the node: pveum pool modify {pool} --vms {} --allow-move 1", guest.id);
                let refused =
                    matches!(error.kind(), Some(ErrorKind::PermissionDenied { .. } | ErrorKind::ServerError));
                let failed = failure("joining the pool", &error);
                return Err(if refused { failed.hint(hint) } else { failed });
            }
            pauses.pause().await;
            let all =
                settle::read("looking at the pools", || self.site.reader().resources(Some("vm"))).await?;
            if all.iter().any(|r| r.vmid == Some(guest.id) && r.pool.as_deref() == Some(pool)) {
                return Ok(());
            }
        }
    }

    pub(super) async fn grow(
        &self,
        guest: &GuestRef,
        disks: &Params,
        progress: &Progress,
    ) -> Result<(), Failure> {
        for (disk, size) in disks {
            let task = Task {
                site: &self.site,
                guest,
                what: "growing a disk",
                kind: "resize",
                limit: VOLUME,
                fine: &[],
                progress,
            };
            task.run(|| self.site.writer.resize(guest, disk, size), || self.has_size(guest, disk, size))
                .await?;
        }
        Ok(())
    }

    async fn has_size(&self, guest: &GuestRef, disk: &str, size: &str) -> Result<Seen, Failure> {
        let config = settle::read("reading the disk's size", || self.site.reader().config(guest)).await?;
        let bytes = |text: &str| text.parse::<Size>().ok();
        let parts = config.get(disk).and_then(|value| value.parse::<PropertyString>().ok());
        let now = parts.as_ref().and_then(|parts| bytes(parts.get("size")?));
        Ok(if now >= bytes(size) { Seen::Done } else { Seen::NotDone })
    }

    /// The digest no longer fits: either our own change arrived and its answer was lost, or somebody else was there.
    async fn already(&self, guest: &GuestRef, update: &Update) -> Result<(), Failure> {
        let entries =
            settle::read("reading the configuration back", || self.site.reader().pending(guest)).await?;
        let value = |key: &str| {
            entries
                .iter()
                .find(|e| e.key == key)
                .and_then(|e| if e.delete { None } else { e.pending.clone().or_else(|| e.value.clone()) })
        };
        let set = update.set.iter().all(|(key, wanted)| {
            value(key).is_some_and(|now| crate::keys::same(self.table().rows, key, &now, wanted))
        });
        let gone = update.delete.iter().chain(&update.revert).all(|key| value(key).is_none());
        if set && gone {
            return Ok(());
        }
        Err(Failure::new(
            "proxmox::modified",
            format!("{} was changed by somebody else since the plan was made", guest.id),
        )
        .hint("phoenix-cli plan shows what differs now"))
    }
}
