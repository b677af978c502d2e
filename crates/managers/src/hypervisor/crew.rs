//! Putting the node's certificate in place, and taking it away.

use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::desired::{Certificate, HYPERVISOR, Issuer, Served};
use plan::{Address, Host, Step};
use serde_json::json;
use tokio::time::Instant;
use transport::Command;

use super::{HypervisorWork, Put, memory};
use crate::certificates::look::{parse, show};
use crate::certificates::{CertificateMark, date, embedded, renewing};
use crate::features::crew::{bring, take_away, words};
use crate::features::{Action, Rendered};
use crate::worksite::{HostRunner, Worksite};
use crate::{authority, settle};

/// Files and units on the node, and its API that starts anew: seconds.
const LIMIT: Duration = Duration::from_mins(3);

/// What puts it in place on the node, from the feature `certificates`.
const PROGRAM: &str = "/usr/local/lib/phoenix/pveproxy";

/// How long the node's API may show its old certificate: measured were six seconds and more.
const SHOWN: Duration = Duration::from_mins(1);

/// The crew for the node.
#[derive(Debug, Clone)]
pub struct HypervisorCrew {
    site: Arc<Worksite>,
}

/// The certificate that the node's API shows goes, only if it is still ours: Proxmox VE goes back to its own by itself.
/// Whoever has put another one there since keeps it.
const FORGET: &str = include_str!("forget.sh");
/// What the features on the node leave, last of all what the node remembers.
const REMOVE: &str = include_str!("remove.sh");

impl HypervisorCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    async fn put(&self, put: &Put, progress: &Progress) -> Result<Done, Failure> {
        let host = self.site.node_runner()?;
        let rendered: Vec<Rendered> = put
            .features
            .iter()
            .map(|feature| serde_json::from_value(feature.clone()))
            .collect::<Result<_, _>>()
            .map_err(|error| apply::crew::unreadable(&error))?;
        let tell = |action: &crate::features::Action| progress.changed(words(action));
        let doing = |_: String| progress.doing("installing what keeps the certificate");
        let heard = bring(&self.site, &host, &rendered, progress, &doing, &tell).await?;
        for feature in &rendered {
            heard.outcome(&feature.name, &host).map_err(|failure| {
                failure.hint("on the node, `journalctl -b -p warning` may tell more; then phoenix-cli apply")
            })?;
        }
        if let Some(id) = put.authority {
            progress.doing("introducing the node to the workshop's authority");
            self.admit(id, &put.certificate.names, put.certificate.life.as_secs()).await?;
        }
        let certificates = [&put.certificate];
        let marks = match put.certificate.issuer {
            Issuer::Embedded => {
                if let Some(since) = put.anew.and_then(|anew| anew.signer) {
                    embedded::succeed(&self.site.authority, &certificates, since, (self.site.clock)())?;
                }
                embedded::put(&self.site, &host, &certificates, progress).await?
            }
            Issuer::StepCa | Issuer::Acme => {
                renewing::fetch(&host, &certificates, put.anew.is_some(), progress).await?
            }
        };
        is_shown(&host, &put.certificate, progress).await?;
        memory::change(&self.site, &host, &put.node, |mark| {
            for (name, fingerprint) in put.mark.of_kind(kinds::FEATURE) {
                mark.remember(&Address::feature(name, &put.certificate.on), fingerprint.clone());
            }
            CertificateMark::remember(mark, &marks);
        })
        .await?;
        let until = marks.first().map(|(_, mark)| date(mark.end)).unwrap_or_default();
        Ok(Done::new(format!("until {until}")))
    }

    /// Seals what the node remembers, and nothing else. It may be done twice.
    async fn seal(&self, node: &str) -> Result<Done, Failure> {
        memory::change(&self.site, &self.site.node_runner()?, node, |_| ()).await?;
        Ok(Done::new("sealed"))
    }

    /// Without names, it is to have none any more.
    async fn admit(&self, authority: u32, names: &[String], life: u64) -> Result<(), Failure> {
        let told = json!({ "names": names, "life": life }).to_string();
        let argv = [authority::PROGRAM, "admit", HYPERVISOR];
        let command = Command::new("introducing the node to the authority", argv).stdin(told).limit(LIMIT);
        self.site.output_of(authority, &command).await.map(drop)
    }

    async fn remove(
        &self,
        node: &str,
        authority: Option<u32>,
        features: &[String],
        progress: &Progress,
    ) -> Result<Done, Failure> {
        let host = self.site.node_runner()?;
        if let Some(id) = authority {
            progress.doing("telling the workshop's authority that the node has no certificate any more");
            self.admit(id, &[], 0).await?;
        }
        progress.doing("giving the node its own certificate back");
        let forget = Command::script("taking the certificate from the node's API", FORGET.to_owned());
        super::checked(&host, &forget.limit(LIMIT)).await?;
        let tell = |action: &Action| progress.changed(words(action));
        let heard = take_away(&host, features, &[], progress, &tell).await?;
        for name in features {
            heard.removed(name, &host)?;
        }
        let command = Command::script("removing the node's certificate", REMOVE.to_owned());
        super::checked(&host, &command.limit(LIMIT)).await?;
        // Last of all, so that whatever was cut off is done again.
        memory::change(&self.site, &host, node, |mark| {
            for name in features {
                mark.forget(&Address::feature(name, &Host::THE_NODE));
            }
            mark.forget(&Address::certificate(HYPERVISOR));
        })
        .await?;
        Ok(Done::new("removed"))
    }
}

/// No step after this one could mend what is shown instead, so it is no warning as it is in a guest. The API's old workers
/// finish what they have begun, and show the old certificate until then.
async fn is_shown(host: &HostRunner, certificate: &Certificate, progress: &Progress) -> Result<(), Failure> {
    let command = show(&*host.runner, &[certificate]);
    let begin = Instant::now();
    let mut told = false;
    let mut pauses = settle::Pauses::up_to(settle::PAUSE);
    loop {
        let seen = parse(&settle::command(&*host.runner, &command).await?.text());
        let shown = |at: &Served| {
            let mut served = seen.iter().flat_map(|seen| &seen.served);
            served.any(|found| found.at == at.to_string() && found.same == Some(true))
        };
        if certificate.served.iter().all(shown) {
            return Ok(());
        }
        if begin.elapsed() > SHOWN {
            break;
        }
        if !told {
            // What was not even put in place is waited for in vain.
            let placed = Command::new("asking whether it was put in place", [PROGRAM, "placed"]).limit(LIMIT);
            if settle::command(&*host.runner, &placed).await?.status == 1 {
                break;
            }
            progress.waiting("the node's API to show its new certificate", SHOWN);
            told = true;
        }
        pauses.pause().await;
    }
    let what = "the node's API does not show the certificate that was put in place for it";
    Err(Failure::new("hypervisor::not-shown", what)
        .hint(host.typed("journalctl -u phoenix-pveproxy -u pveproxy -n 30")))
}

#[async_trait]
impl Crew for HypervisorCrew {
    fn kind(&self) -> &'static str {
        kinds::HYPERVISOR
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            results.push(match apply::work(step) {
                Ok(HypervisorWork::Put(put)) => self.put(&put, progress).await,
                Ok(HypervisorWork::Seal { node }) => self.seal(&node).await,
                Ok(HypervisorWork::Remove { node, authority, features }) => {
                    self.remove(&node, authority, &features, progress).await
                }
                Err(failure) => Err(failure),
            });
        }
        results
    }
}
