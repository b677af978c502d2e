//! The keys of encrypted datasets, on the node: on standard input alone, loaded, changed, and put where the node's start finds them.

use apply::Failure;
use plan::inventory::zfs::Zfs;
use secrecy::{ExposeSecret as _, SecretString};
use transport::Command;

use super::super::commands;
use super::super::encryption::KeyWork;
use super::{Job, LIMIT, refused};
use crate::settle;

/// Puts a key into its file, or takes files away.
const PLACE: &str = include_str!("../key.sh");

/// As long as ZFS lets a passphrase be, in bytes (zfs-load-key(8)).
const LENGTH: std::ops::RangeInclusive<usize> = 8..=512;

impl Job<'_> {
    /// The value of a key. One is only made where nothing is encrypted with it yet.
    pub(super) fn key(&self, name: &str, work: &KeyWork, exists: bool) -> Result<SecretString, Failure> {
        let value = match exists && !work.change {
            true => self.site.secrets.resolve(&work.secret)?,
            false => self.site.secrets.make(&work.secret)?,
        };
        let text = value.expose_secret();
        if LENGTH.contains(&text.len()) && !text.contains(['\n', '\r', '\0']) {
            return Ok(value);
        }
        let what = format!("the secret {} cannot be the key of {name}", work.secret.name());
        Err(Failure::new("zfs::bad-key", what).hint("ZFS takes one line of 8 to 512 bytes"))
    }

    /// Has the key be in its file, or in none.
    pub(super) async fn place_key(
        &self,
        name: &str,
        work: &KeyWork,
        key: &SecretString,
    ) -> Result<(), Failure> {
        let Some(file) = &work.file else { return self.drop_keys([name]).await };
        let file = file.rsplit('/').next().unwrap_or_default();
        let what = format!("putting the key of {name} where the node's start finds it");
        let command = Command::new(&what, ["sh", "-c", PLACE, "phoenix-zfs-key", "put", file]);
        let command = command.stdin(key.expose_secret()).limit(LIMIT);
        let output = settle::command(&*self.host.runner, &command).await?;
        if output.success() { Ok(()) } else { Err(refused(&what, &output)) }
    }

    /// Takes away the files of keys.
    pub(super) async fn drop_keys<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str> + Send,
    ) -> Result<(), Failure> {
        let files = names.into_iter().map(|name| {
            let file = blueprint::model::Encryption::file(name);
            file.rsplit('/').next().unwrap_or_default().to_owned()
        });
        let words = ["sh", "-c", PLACE, "phoenix-zfs-key", "drop"].map(str::to_owned);
        let what = "taking away the files of keys";
        let command = Command::new(what, words.into_iter().chain(files)).limit(LIMIT);
        let output = settle::command(&*self.host.runner, &command).await?;
        if output.success() { Ok(()) } else { Err(refused(what, &output)) }
    }

    /// Has a dataset that is there have this key, and be open. One that is not loaded can only be opened by the key that it has.
    pub(super) async fn open(
        &self,
        name: &str,
        work: &KeyWork,
        key: &SecretString,
        seen: &Zfs,
    ) -> Result<(), Failure> {
        let of = |zfs: &Zfs| zfs.datasets.get(name).and_then(|it| it.key.clone());
        let is_root = |zfs: &Zfs| of(zfs).is_some_and(|it| it.root == name);
        let loaded = |zfs: &Zfs| of(zfs).is_some_and(|it| it.loaded);
        let stdin = || key.expose_secret().as_bytes().to_vec();
        if !loaded(seen) {
            self.progress.doing(format!("loading the key of {name}"));
            let argv = commands::load_key(name);
            self.through_with("loading the key of the dataset", argv, stdin(), loaded).await?;
        } else if work.change {
            self.progress.doing(format!("changing the key of {name}"));
            let argv = commands::change_key(name);
            self.through_with("changing the key of the dataset", argv, stdin(), |_| false).await?;
        }
        let now = self.look().await?;
        if !is_root(&now) {
            let what = format!("{name} has no key of its own after all");
            return Err(Failure::new("zfs::changed", what).hint("phoenix-cli plan shows what is there now"));
        }
        if of(&now).is_some_and(|it| !it.mounted) {
            let mounted = |zfs: &Zfs| of(zfs).is_some_and(|it| it.mounted);
            self.through("mounting what was locked", commands::mount_all(), mounted).await?;
        }
        self.place_key(name, work, key).await
    }
}
