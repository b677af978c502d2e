//! Making, changing and taking away the mappings of cards. What is the site's is written down before it is made, so that a run that
//! was cut off leaves nothing that nobody knows of.

use std::sync::Arc;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::{Address, Step};

use super::{Applied, GpuDeed, GpuWork, same};
use crate::hypervisor::memory;
use crate::privileges::or_unseen;
use crate::settle;
use crate::worksite::Worksite;

/// The crew for graphics cards.
#[derive(Debug)]
pub(super) struct GpuCrew {
    site: Arc<Worksite>,
}

impl GpuCrew {
    pub(super) fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    /// What a mapping leads to now.
    async fn leads(&self, mapping: &str) -> Result<Option<String>, Failure> {
        let list =
            settle::read("listing the resource mappings", || self.site.reader().mappings("pci")).await?;
        Ok(list.into_iter().find(|it| it.id == mapping).map(|it| it.map.join(";")))
    }

    async fn is(&self, mapping: &str, entry: &str) -> Result<bool, Failure> {
        Ok(self.leads(mapping).await?.is_some_and(|there| same(&there, entry)))
    }

    async fn put(&self, work: &GpuWork, entry: &str, progress: &Progress) -> Result<Done, Failure> {
        let mapping = &work.mapping;
        let (host, address) = (self.site.node_runner()?, Address::gpu(&work.card));
        let there = self.leads(mapping).await?;
        let applied = Applied { mapping: mapping.clone(), entry: entry.to_owned() };
        // One that leads elsewhere is the site's only where that is written down already.
        let other = there.clone().filter(|there| !same(there, entry));
        let mut taken = false;
        memory::change(&self.site, &host, &work.node, |mark| {
            taken = other.is_some()
                && Applied::of(mark, &work.card).is_none_or(|known| known.mapping != *mapping);
            if !taken {
                // Plain texts always serialize.
                mark.remember(&address, serde_json::to_value(&applied).unwrap_or_default());
            }
        })
        .await?;
        if let Some(there) = other.filter(|_| taken) {
            let what = format!(
                "there is a resource mapping {mapping} by now, which leads to {there}; nothing was done to it"
            );
            return Err(
                Failure::new("gpu::mapping-taken", what).hint("phoenix-cli plan shows what is there now")
            );
        }
        let writer = &self.site.writer;
        let done = || self.is(mapping, entry);
        match there {
            Some(there) if same(&there, entry) => {}
            Some(_) => {
                progress.doing(format!("having {mapping} lead to the card"));
                let change = || writer.change_pci_mapping(mapping, entry);
                settle::through("changing the resource mapping", progress, change, done).await?;
            }
            None => {
                progress.doing(format!("making the resource mapping {mapping}"));
                let words = format!(
                    "The graphics card {} of the site {}, kept by Phoenix.",
                    work.card, self.site.site
                );
                let create = || writer.create_pci_mapping(mapping, entry, &words);
                settle::through("making the resource mapping", progress, create, done).await.map_err(
                    |failure| match failure.errors.join(" ").contains("already defined") {
                        true => {
                            let unseen = or_unseen("Mapping.Audit", &format!("/mapping/pci/{mapping}"));
                            failure.hint(format!(
                                "somebody was quicker: phoenix-cli plan shows what is there now; {unseen}"
                            ))
                        }
                        false => failure,
                    },
                )?;
            }
        }
        Ok(Done::new(format!("{mapping} leads to the card")))
    }

    async fn remove(&self, work: &GpuWork, entry: &str, progress: &Progress) -> Result<Done, Failure> {
        let mapping = &work.mapping;
        match self.leads(mapping).await? {
            None => {}
            Some(there) if !same(&there, entry) => {
                let what =
                    format!("the resource mapping {mapping} leads to {there} by now; nothing was done to it");
                return Err(
                    Failure::new("gpu::mapping-taken", what).hint("phoenix-cli plan shows what is there now")
                );
            }
            Some(_) => {
                progress.doing(format!("taking away the resource mapping {mapping}"));
                let remove = || self.site.writer.remove_pci_mapping(mapping);
                let gone = || async { Ok(self.leads(mapping).await?.is_none()) };
                settle::through("removing the resource mapping", progress, remove, gone).await?;
            }
        }
        self.forget(work).await?;
        Ok(Done::new(format!("{mapping} is there no more")))
    }

    async fn forget(&self, work: &GpuWork) -> Result<Done, Failure> {
        let host = self.site.node_runner()?;
        let address = Address::gpu(&work.card);
        memory::change(&self.site, &host, &work.node, |mark| drop(mark.forget(&address))).await?;
        Ok(Done::new("forgotten"))
    }

    async fn carry_out_one(&self, step: &Step, progress: &Progress) -> Result<Done, Failure> {
        let work: GpuWork = apply::work(step)?;
        match &work.deed {
            GpuDeed::Put(entry) => self.put(&work, entry, progress).await,
            GpuDeed::Remove(entry) => self.remove(&work, entry, progress).await,
            GpuDeed::Forget => self.forget(&work).await,
        }
    }
}

#[async_trait]
impl Crew for GpuCrew {
    fn kind(&self) -> &'static str {
        kinds::GPU
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let one = |step, progress: Progress| async move { self.carry_out_one(step, &progress).await };
        apply::crew::in_turn(steps, progress, one).await
    }
}
