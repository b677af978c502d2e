//! What `health` says of a workshop.

use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use async_trait::async_trait;
use managers::health::{Examiner, Group, Health, examine};
use managers::trace::Observer;
use managers::{Prober, Ways};
use plan::desired::Service;
use scenarios::{Site, There};

use super::bench::Bench;

/// Answers for all but `notes`; and `slow` never.
#[derive(Debug)]
struct Some404;

#[async_trait]
impl Prober for Some404 {
    async fn probe(&self, service: &Service) -> Result<String, Failure> {
        match service.name.as_str() {
            "notes" => Err(Failure::new("probe::status", "notes answers 404").hint("look")),
            _ => Ok("answers 200".into()),
        }
    }
}

async fn health(bench: &Bench, inventory: &plan::Inventory, targets: &[String]) -> Health {
    let observer = Observer {
        desired: &bench.desired,
        root: bench.authority.root_pem(),
        ways: Ways::new(None, Arc::new(crate::support::Nobody)),
        clock: crate::support::now,
    };
    examine(&Examiner { observer, inventory, prober: Arc::new(Some404), simulated: true, targets }).await
}

#[tokio::test]
async fn what_runs_and_what_does_not() {
    let bench = Bench::new();
    let site = Site {
        desired: Arc::new(bench.desired.clone()),
        authority: bench.authority.clone(),
        folder: Default::default(),
    };
    let mut there = There::applied(&site).await;
    let inventory = there.look().await;
    let all = health(&bench, &inventory, &[]).await;
    let checks = all.checks();
    let of = |group| checks.iter().filter(|c| c.group == group).map(|c| c.name.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Group::Guest), ["gateway", "notes", "status"]);
    assert_eq!(of(Group::Service), ["notes", "status"]);
    assert_eq!(of(Group::Certificate), ["notes", "status"]);
    let bad: Vec<_> =
        checks.iter().filter_map(|c| Some((c.name.as_str(), c.trouble.as_ref()?.code.as_str()))).collect();
    assert_eq!(bad, [("notes", "probe::status")], "and a simulated guest is no trouble");
    assert!(!all.ok() && all.took < Duration::from_secs(10));

    // A guest that stopped takes its service with it; a request would only wait for it.
    there.change("stop 121", 0).await.unwrap();
    let inventory = there.look().await;
    let all = health(&bench, &inventory, &[]).await;
    let bad: Vec<_> =
        all.checks().into_iter().filter_map(|c| Some((c.group, c.name, c.trouble?.code))).collect();
    assert_eq!(
        bad,
        [
            (Group::Guest, "status".to_owned(), "trace::guest-stopped".to_owned()),
            (Group::Service, "notes".to_owned(), "probe::status".to_owned()),
            (Group::Service, "status".to_owned(), "trace::guest-stopped".to_owned()),
        ]
    );
    assert!(all.prometheus().contains("phoenix_guest_up{guest=\"status\"} 0\n"));

    // Only what is asked for.
    let one = health(&bench, &inventory, &["service.status".to_owned()]).await;
    let names: Vec<_> = one.checks().into_iter().map(|c| (c.group, c.name)).collect();
    assert_eq!(names, [(Group::Service, "status".to_owned())]);
}
