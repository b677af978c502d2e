//! Artifacts for a run: had from wherever they are, and put into guests.

use apply::Failure;
use async_trait::async_trait;
use transport::Runner;

use super::cache::{Cache, Found, Key};
use super::error::Error;
use super::list::{Artifact, List, Source, builtin, files};
use super::{fetch, go, guest};
use crate::worksite::{Artifacts, WantedArtifact};

/// Artifacts of a list, through a cache.
#[derive(Debug, Clone)]
pub struct Store {
    list: List,
    cache: Cache,
    arch: String,
}

/// How an artifact stands on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// What it is.
    pub artifact: Artifact,
    /// Its pin.
    pub pin: String,
    /// Where it is and how large, in bytes, where it is there.
    pub there: Option<(camino::Utf8PathBuf, u64)>,
}

/// What is told while something takes its time.
pub type Tell<'a> = &'a (dyn Fn(String) + Send + Sync);

impl Store {
    /// The list that comes with Phoenix, for guests with these processors (`amd64`, `arm64`).
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn new(cache: Cache, arch: &str) -> Result<Self, Error> {
        let list = builtin().map_err(|e| Error::List(Failure::from_error("", e).to_string()))?;
        Ok(Self::with(list.clone(), cache, arch))
    }

    /// Another list.
    pub fn with(list: List, cache: Cache, arch: &str) -> Self {
        Self { list, cache, arch: arch.to_owned() }
    }

    /// The list.
    pub fn list(&self) -> &List {
        &self.list
    }

    fn key(&self, name: &str, artifact: &Artifact) -> Key {
        let pin = artifact.pin(&files(name));
        Key { name: name.to_owned(), version: artifact.version.clone(), pin, arch: self.arch.clone() }
    }

    /// How all of them stand, by name.
    pub fn standing(&self) -> Vec<Standing> {
        let all = self.list.artifacts.iter().map(|(name, artifact)| {
            let key = self.key(name, artifact);
            let there = self.cache.look(&key);
            Standing { name: name.clone(), artifact: artifact.clone(), pin: key.pin, there }
        });
        all.collect()
    }

    /// The program, from the mirror, the cache, or the first of its sources that works.
    ///
    /// # Errors
    /// When none of them has it, or there is no such artifact.
    pub async fn obtain(&self, name: &str, tell: Tell<'_>) -> Result<Found, Error> {
        let artifact = self.list.artifacts.get(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
        let key = self.key(name, artifact);
        if let Some(found) = self.cache.find(&key, tell)? {
            return Ok(found);
        }
        let _one_at_a_time = self.cache.lock(&key, tell).await?;
        if let Some(found) = self.cache.find(&key, tell)? {
            return Ok(found);
        }
        let mut last = Error::Unknown(name.to_owned());
        for (n, source) in artifact.sources.iter().enumerate() {
            match self.from(source, &key, tell).await {
                Ok(bytes) => return self.cache.keep(&key, bytes),
                Err(error) => {
                    if n + 1 < artifact.sources.len() {
                        tell(format!("{}; trying the next source", Failure::from_error("", &error)));
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn from(&self, source: &Source, key: &Key, tell: Tell<'_>) -> Result<Vec<u8>, Error> {
        match source {
            Source::File { path, sha256 } => fetch::file(path, sha256),
            Source::Url { url, sha256, member } => {
                fetch::url(url, sha256, member.as_deref(), key, tell).await
            }
            Source::Go { package, module, version, sum, variables } => {
                let module = go::Module { package, module, version, sum, variables };
                let folder = self.cache.workplace(key)?;
                let built = go::build(module, &files(&key.name), &folder, key, tell).await;
                // It only takes space; the next build begins with an empty one anyway.
                let _ = fs_err::remove_dir_all(&folder);
                built
            }
        }
    }
}

#[async_trait]
impl Artifacts for Store {
    async fn put(
        &self,
        wanted: &[WantedArtifact<'_>],
        inside: &dyn Runner,
        tell: Tell<'_>,
    ) -> Result<(), Failure> {
        put(self, wanted, inside, tell).await.map_err(Failure::from)
    }
}

/// Sees to it that all of `wanted` are in the guest.
async fn put(
    store: &Store,
    wanted: &[WantedArtifact<'_>],
    inside: &dyn Runner,
    tell: Tell<'_>,
) -> Result<(), Error> {
    for WantedArtifact { artifact, .. } in wanted {
        let ours = store.list.artifacts.get(&artifact.name);
        let ours = ours.ok_or_else(|| Error::Unknown(artifact.name.clone()))?;
        if store.key(&artifact.name, ours).pin != artifact.pin {
            return Err(Error::OtherPin { name: artifact.name.clone(), version: artifact.version.clone() });
        }
    }
    let missing = guest::missing(inside, wanted).await?;
    for one in wanted.iter().filter(|one| missing.contains(&one.artifact.name)) {
        let found = store.obtain(&one.artifact.name, tell).await?;
        tell(format!("putting {} {} into {}", one.artifact.name, one.artifact.version, inside.place()));
        guest::put(inside, one, &found).await?;
    }
    Ok(())
}

/// Where guests are records: there is nothing to put anything into.
#[derive(Debug, Clone, Copy, Default)]
pub struct Simulated;

#[async_trait]
impl Artifacts for Simulated {
    async fn put(&self, _: &[WantedArtifact<'_>], _: &dyn Runner, _: Tell<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Has none, and says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusing;

#[async_trait]
impl Artifacts for Refusing {
    async fn put(&self, wanted: &[WantedArtifact<'_>], _: &dyn Runner, _: Tell<'_>) -> Result<(), Failure> {
        match wanted.first() {
            None => Ok(()),
            Some(first) => Err(Error::Unknown(first.artifact.name.clone()).into()),
        }
    }
}
