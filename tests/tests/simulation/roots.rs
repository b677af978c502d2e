//! A root takes the place of another: each stage is killed at every call, converges, and nobody is refused in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blueprint::model::TRUSTS;
use lab::sim::{Fault, Faults, World};
use managers::certificates::CertificateMark;
use plan::{Address, Inventory};
use scenarios::{Ended, Files, Known, Site, Try, certified, first, run, stages, state, trust, virtually};

use super::{apply, each, same, settle, world};

/// The site before, at each stage, and after.
fn sites(files: &Files) -> Vec<Site> {
    stages().into_iter().map(|authority| Site::below(files, authority)).collect()
}

/// One whose authority is in a container.
fn with_an_authority() -> Files {
    let mut files = first();
    let more = r#"{
      "certificates": { "authority": "step-ca", "life": "1d" },
      "hypervisor": { "certificate": true },
      "containers": { "ca": { "type": "small", "address": "10.0.0.10", "features": ["step-ca"] } }
    }"#;
    files.insert("ca.json".into(), more.into());
    files
}

async fn seen(world: &World) -> Inventory {
    let ways =
        managers::Ways::new(Some(Arc::new(world.shell.clone())), Arc::new(Known(world.exchange.clone())));
    let mut seen = managers::observe(&ways).await.unwrap();
    seen.judge(&trust("workshop"));
    seen
}

/// Whom everybody trusts and what everybody shows, by the marks: nobody trusts one root and meets the other.
fn nobody_is_refused(seen: &Inventory, sites: &[Site], story: &str) {
    let (mut trusts, mut signed) = (BTreeMap::new(), BTreeMap::new());
    for site in sites {
        let roots: BTreeSet<&str> = site.authority.trusted().into_iter().collect();
        let own = site.desired.hypervisor.iter();
        let told = own.clone().flat_map(|node| &node.features);
        for feature in site.desired.guests.values().flat_map(|guest| &guest.features).chain(told) {
            if feature.name == TRUSTS {
                trusts.insert(feature.fingerprint.clone(), roots.clone());
            }
        }
        let shown = site.desired.certificates.values().chain(own.map(|node| &node.certificate));
        for certificate in shown {
            signed.insert(certificate.fingerprint.clone(), site.authority.root_pem());
        }
        if let Some(authority) = &site.desired.authority {
            signed.insert(authority.fingerprint.clone(), site.authority.root_pem());
        }
    }
    let node = seen.reached().hypervisor.iter();
    let marks: Vec<_> = seen.guests.values().filter_map(|guest| guest.mark.as_ref()).chain(node).collect();
    let mut shown = BTreeSet::new();
    for mark in &marks {
        for (kind, name) in mark.applied() {
            if let Some(there) = CertificateMark::of(mark, &Address::new(kind, name)) {
                shown.insert(signed[&there.fingerprint]);
            }
        }
    }
    assert!(!shown.is_empty(), "{story}");
    for mark in marks {
        let Some(fingerprint) = mark.fingerprint(&Address::new("feature", TRUSTS)) else { continue };
        assert!(shown.is_subset(&trusts[fingerprint]), "{} refuses what is shown\n{story}", mark.address);
    }
}

/// What is there; without the files of certificates where whoever has them renews them, which nobody does in a simulated guest.
fn comparable(found: &str, site: &Site) -> String {
    let renewed = |line: &&str| site.desired.authority.is_some() && line.contains("/fullchain.pem ");
    found.lines().filter(|line| !renewed(line)).map(|line| format!("{line}\n")).collect()
}

/// A world in which the stage before this one is done.
async fn before(sites: &[Site], stage: usize) -> World {
    let world = world(1, Faults::none());
    for site in &sites[..stage] {
        let ended = apply(&world, site).await;
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
    }
    world
}

#[test]
fn each_stage_is_a_plan_that_is_done_when_nobody_is_behind() {
    for files in [certified(), with_an_authority()] {
        let sites = sites(&files);
        virtually(async {
            let world = before(&sites, 1).await;
            for (stage, site) in sites.iter().enumerate().skip(1) {
                let behind = managers::authority::behind(&site.desired, &seen(&world).await);
                assert_eq!(behind.is_empty(), stage == 4, "{stage}: {behind:?}");
                let story = comparable(&settle(&world, site, 1).await, site);
                assert!(!story.contains("WRONG"), "{story}");
                let seen = seen(&world).await;
                assert_eq!(managers::authority::behind(&site.desired, &seen), []);
                nobody_is_refused(&seen, &sites, &story);
            }
            // Nothing remembers the old root any more, so whoever has a copy of the folder of before is refused.
            let root = plan::wire::fingerprint(&[sites[4].authority.root_pem()]);
            let seen = seen(&world).await;
            assert!(
                seen.guests.values().all(|guest| guest.mark.as_ref().unwrap().root.as_deref() == Some(&root))
            );
            assert_eq!(seen.reached().hypervisor.as_ref().unwrap().root.as_deref(), Some(&*root));
        });
    }
}

fn killed(files: &Files, fault: &Fault) {
    let sites = sites(files);
    for stage in 1..=3 {
        let (expected, calls) = virtually(async {
            let world = before(&sites, stage).await;
            let begin = world.faults.calls();
            assert!(apply(&world, &sites[stage]).await.done());
            let calls = world.faults.calls() - begin;
            (state::describe(&world, &sites[stage]).await, calls)
        });
        assert!(calls > 5, "{calls} calls: too few for a stage");
        each(1..=calls, |n| {
            virtually(async {
                let world = before(&sites, stage).await;
                let _ = world.faults.clone().at(world.faults.calls() + n, fault.clone());
                let ended = run(&world, &sites[stage], &Try::default()).await;
                assert!(matches!(ended, Ended::Killed), "stage {stage}, call {n}: {ended:?}");
                world.faults.revive();
                world.node.idle().await;
                let story = format!("stage {stage}, {fault:?} at call {n}\n{}", world.story());
                nobody_is_refused(&seen(&world).await, &sites, &story);
                let found = settle(&world, &sites[stage], 1).await;
                let of = |text: &str| comparable(text, &sites[stage]);
                same(&of(&found), &of(&expected), &story);
                assert_eq!(managers::authority::behind(&sites[stage].desired, &seen(&world).await), []);
            });
        });
    }
}

#[test]
fn killed_before_every_call_and_started_again() {
    killed(&certified(), &Fault::KillBefore);
}

#[test]
fn killed_after_every_call_with_an_authority_in_a_guest() {
    killed(&with_an_authority(), &Fault::KillAfter);
}
