//! Keys of encrypted datasets, with what real ones say of them (libzfs, `libzfs_crypto.c`).

use std::collections::BTreeMap;

use super::{Pool, SimZfs};

type Done = Result<(), String>;

/// The key of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    value: String,
    loaded: bool,
    /// Whether what is in it is mounted, which it is not by itself once it was locked.
    mounted: bool,
}

/// How a file is called where keys lie in.
fn file_of(location: &str) -> Option<&str> {
    location.strip_prefix("file:///etc/phoenix/zfs-keys/")
}

/// A line, as a passphrase has to be.
fn passphrase(text: &str) -> Result<String, String> {
    let line = text.lines().next().unwrap_or_default();
    match line.len() {
        0..8 => Err("Passphrase too short (min 8).".to_owned()),
        513.. => Err("Passphrase too long (max 512).".to_owned()),
        _ => Ok(line.to_owned()),
    }
}

impl Pool {
    /// What has no key any more in memory.
    pub(super) fn lock(&mut self) {
        for key in self.datasets.values_mut().filter_map(|it| it.key.as_mut()) {
            (key.loaded, key.mounted) = (false, false);
        }
    }

    /// The dataset whose key one has: itself, or the nearest that it is in.
    fn root_of(&self, name: &str) -> Option<(&str, &Key)> {
        let mut at = name;
        loop {
            let (root, dataset) = self.datasets.get_key_value(at)?;
            if let Some(key) = &dataset.key {
                return Some((root.as_str(), key));
            }
            at = at.rsplit_once('/')?.0;
        }
    }

    /// Of each dataset, whose key it has (`-` for none), whether that is loaded, and whether it is mounted.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, (&str, bool, bool))> {
        self.datasets.keys().map(|name| {
            let key = self.root_of(name).map(|(root, key)| (root, key.loaded, key.mounted));
            (name.as_str(), key.unwrap_or(("-", false, true)))
        })
    }
}

impl SimZfs {
    /// The node starts anew: keys are gone from memory. Those that lie in files are loaded where something does that.
    pub(crate) fn boot(&mut self, loads: bool) {
        let files = self.files.clone();
        for pool in self.pools.values_mut() {
            pool.lock();
            for dataset in pool.datasets.values_mut().filter(|_| loads) {
                let file = dataset.local.get("keylocation").and_then(|it| file_of(it));
                let value = file.and_then(|file| files.get(file));
                if let Some(key) = dataset.key.as_mut().filter(|key| Some(&key.value) == value) {
                    (key.loaded, key.mounted) = (true, true);
                }
            }
        }
    }

    /// Locks a dataset as somebody does by hand.
    pub fn lock(&mut self, pool: &str) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.lock();
        }
    }

    /// `phoenix-zfs-key put FILE`, or `drop FILE …`.
    pub(super) fn key_files(&mut self, verb: &str, names: &[&str], stdin: &[u8]) -> Done {
        let value = String::from_utf8_lossy(stdin).into_owned();
        for name in names {
            if verb == "put" {
                self.files.insert((*name).to_owned(), value.clone());
            } else {
                self.files.remove(*name);
            }
        }
        Ok(())
    }

    /// The key material that a location leads to.
    fn material(&self, location: &str, stdin: &[u8]) -> Result<String, String> {
        match file_of(location) {
            Some(file) => self
                .files
                .get(file)
                .ok_or_else(|| "Failed to open key material file: No such file or directory".to_owned())
                .and_then(|text| passphrase(text)),
            None => passphrase(&String::from_utf8_lossy(stdin)),
        }
    }

    /// The key of a dataset that is made: its own where that is said. What only says how it is made is no property of its own.
    pub(super) fn new_key(
        &self,
        name: &str,
        local: &mut BTreeMap<String, String>,
        stdin: &[u8],
    ) -> Result<Option<Key>, String> {
        let is_encrypted = local.remove("encryption").is_some();
        local.remove("keyformat");
        let pool = self.pools.get(name.split('/').next().unwrap_or_default());
        let above = name.rsplit_once('/').and_then(|(above, _)| pool?.root_of(above));
        if above.is_some_and(|(_, key)| !key.loaded) {
            return Err(format!("cannot create '{name}': encryption root's key is not loaded or provided"));
        }
        if !is_encrypted {
            return Ok(None);
        }
        let location = local.get("keylocation").map_or("prompt", String::as_str);
        let value = self.material(location, stdin).map_err(|why| format!("cannot create '{name}': {why}"))?;
        Ok(Some(Key { value, loaded: true, mounted: true }))
    }

    pub(super) fn load_key(&mut self, name: &str, stdin: &[u8]) -> Done {
        let failed = |why: String| Err(format!("Key load error: {why}"));
        let value = passphrase(&String::from_utf8_lossy(stdin));
        let pool = self.pools.get(name.split('/').next().unwrap_or_default());
        match pool.and_then(|pool| pool.root_of(name)) {
            None => return failed(format!("'{name}' is not encrypted.")),
            Some((root, _)) if root != name => {
                return failed(format!("Keys must be loaded for encryption root of '{name}' ({root})."));
            }
            Some((_, key)) if key.loaded => return failed(format!("Key already loaded for '{name}'.")),
            Some((_, key)) => match value {
                Err(why) => return failed(why),
                Ok(value) if value != key.value => {
                    return failed(format!("Incorrect key provided for '{name}'."));
                }
                Ok(_) => {}
            },
        }
        if let Some(key) = self.dataset(name).and_then(|it| it.key.as_mut()) {
            key.loaded = true;
        }
        Ok(())
    }

    pub(super) fn change_key(&mut self, setting: &str, name: &str, stdin: &[u8]) -> Done {
        let failed = |why: &str| Err(format!("Key change error: {why}"));
        let location = setting.strip_prefix("keylocation=").unwrap_or("prompt").to_owned();
        let pool = self.pools.get(name.split('/').next().unwrap_or_default());
        let mounted = match pool.and_then(|pool| pool.root_of(name)) {
            None => return failed("Dataset not encrypted."),
            Some((_, key)) if !key.loaded => return failed("Key must be loaded."),
            Some((_, key)) => key.mounted,
        };
        let value = match self.material(&location, stdin) {
            Ok(value) => value,
            Err(why) => return failed(&why),
        };
        if let Some(dataset) = self.dataset(name) {
            dataset.local.insert("keylocation".to_owned(), location);
            dataset.key = Some(Key { value, loaded: true, mounted });
        }
        Ok(())
    }

    /// What is locked is left out.
    pub(super) fn mount_all(&mut self) -> Done {
        let all = self.pools.values_mut().flat_map(|pool| pool.datasets.values_mut());
        for key in all.filter_map(|it| it.key.as_mut()).filter(|key| key.loaded) {
            key.mounted = true;
        }
        Ok(())
    }
}
