//! What holds for every plan, whatever the site and whatever happened on the node.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::collections::BTreeSet;

use managers::guests::work::GuestWork;
use plan::{Action, Address, Consent, Grade, Inventory, Options, Plan};
use proptest::prelude::*;
use scenarios::there::Ground;
use scenarios::{Site, There, virtually};
use serde_json::{Map, Value, json};

use crate::support::{Files, SITE, check_order, now, plain, plan_of, scenario, site_of};

/// Each case is three runs on a simulated node.
const CASES: u32 = 96;

/// A site of a few containers out of one small set of names and ids, so that two of them have much in common.
fn site() -> impl Strategy<Value = Value> {
    let one = (any::<u16>(), 1u32..4, 0usize..4, proptest::collection::vec(0usize..6, 0..2));
    (proptest::collection::btree_map(0usize..6, one, 1..6), any::<bool>(), any::<bool>()).prop_map(|(chosen, gateway, swapped)| {
        let mut containers = Map::new();
        if gateway {
            let features = json!(["nginx-gateway"]);
            containers.insert("front".into(), json!({ "id": 199, "address": "10.0.0.9", "features": features }));
        }
        for (n, (bits, size, feature, needs)) in &chosen {
            let bit = |at: u32| bits & (1 << at) != 0;
            // The last two may have each other's ids; below, a container may go and another have its id.
            let id = 100 + if swapped && *n > 3 { 9 - *n } else { *n };
            let mut one = json!({
                "id": id, "address": format!("10.0.0.{}", 100 + n), "cores": size, "memory": format!("{size}G"),
                "disk": format!("{size}G"), "unprivileged": !bit(1), "protected": bit(2) && bit(3), "onboot": bit(4),
                "options": { "nesting": bit(5), "keyctl": bit(6) && bit(7) },
                "needs": needs.iter().filter(|m| *m < n && chosen.contains_key(m)).map(|m| format!("c{m}")).collect::<Vec<_>>(),
                "tags": if bit(8) { json!(["a"]) } else { json!([]) },
                "description": if bit(9) { "Ask Ada." } else { "" },
            });
            one["features"] = [json!([]), json!(["base"]), json!(["trusted-ca"]), json!([{ "static-site": { "root": "pages/" } }])]
                [*feature]
                .clone();
            if bit(10) {
                let expose = if gateway { "gateway" } else { "direct" };
                one["services"] = json!({ format!("s{n}"): { "port": 80 + size, "expose": expose } });
            }
            if bit(11) {
                one["mounts"] = json!({ "mp0": { "path": "/data", "size": format!("{size}G"), "read-only": bit(12) } });
            }
            containers.insert(format!("c{n}"), one);
        }
        json!({ "containers": containers })
    })
}

/// A line of what happened since, as in a scenario.
fn happened() -> impl Strategy<Value = String> {
    let id = (100u32..106).prop_map(|id| id.to_string());
    let what = prop_oneof![
        Just("gone ID"),
        Just("stop ID"),
        Just("set ID memory 3072"),
        Just("set ID net3 name=eth3,bridge=vmbr0,hwaddr=02:00:00:00:00:03,ip=dhcp,type=veth"),
        Just("pending ID features fuse=1"),
        Just("pending ID nameserver 9.9.9.9"),
        Just("unmark ID"),
        Just("copy ID 777"),
        Just("moved ID pve2"),
        Just("mark ID feature base"),
        Just("mark ID feature gone 0000"),
        Just("mark ID service s1 0000"),
        Just("text ID by hand"),
        Just("template-of ID"),
        Just("lock ID backup"),
        Just("unreadable ID"),
        Just("foreign ID stranger"),
        Just("other-site ID garage container.c1"),
        Just("no-commands"),
        Just("no-templates"),
        Just("empty"),
    ];
    (what, id).prop_map(|(what, id)| what.replace("ID", &id))
}

/// A text as people write it, with whatever at its ends.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{0,12}",
        "[äßé ✓\\t]{0,6}",
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("  \n".to_owned()),
        Just("```sh\nls\n```".to_owned()),
        Just("\u{0}\u{1b}".to_owned()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// A site of one container with whatever a blueprint can say of it.
fn anything() -> impl Strategy<Value = Value> {
    let tag = "[a-z0-9_][a-z0-9_+.-]{0,6}";
    let lists = (proptest::collection::vec(tag, 0..4), proptest::collection::vec(tag, 0..3));
    let sizes = (1u32..64, 16u64..9000, 0u64..9000, 1u64..2100);
    let startup = proptest::array::uniform3(proptest::option::of(0u32..600));
    let mount = ("/[a-zA-Z0-9 =;._-]{1,9}", proptest::option::of(1u64..2100), any::<bool>(), any::<bool>());
    let mounts = proptest::collection::btree_map(0u8..4, mount, 0..3);
    let mac = "(0[26ae]|BC|bc)(:[0-9A-Fa-f]{2}){5}";
    let nics = proptest::collection::btree_map(
        1u8..4,
        (mac, any::<bool>(), proptest::option::of(576u32..1500), "[a-z][a-z0-9]{1,5}"),
        0..3,
    );
    (text(), lists, sizes, startup, mounts, nics, any::<[bool; 8]>()).prop_map(
        |(text, (tags, kinds), (cores, memory, swap, disk), startup, mounts, nics, bits)| {
            let mut one = json!({
                "id": 120, "address": "10.0.0.120", "description": text, "tags": tags, "cores": cores,
                "memory": format!("{memory}M"), "swap": format!("{swap}M"), "disk": format!("{disk}G"),
                "onboot": bits[0], "unprivileged": bits[1], "protected": bits[2],
                "options": { "nesting": bits[3], "fuse": bits[4], "mknod": bits[5], "mount": kinds },
            });
            let numbers = ["order", "up", "down"].into_iter().zip(startup);
            let numbers: Map<String, Value> =
                numbers.filter_map(|(key, n)| Some((key.to_owned(), n?.into()))).collect();
            one["startup"] = numbers.into();
            for (slot, (path, size, read_only, backup)) in mounts {
                let from = match size {
                    Some(gib) => json!({ "size": format!("{gib}G"), "backup": backup }),
                    None => json!({ "host": format!("/tank{path}") }),
                };
                let mut mount = json!({ "path": format!("{path}/{slot}"), "read-only": read_only });
                mount.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
                one["mounts"][format!("mp{slot}")] = mount;
            }
            if !nics.is_empty() {
                one.as_object_mut().unwrap().remove("address");
                one["networks"]["net0"] = json!({ "network": "lan", "address": "10.0.0.120" });
                for (slot, (mac, firewall, mtu, name)) in nics {
                    let mut nic = json!({ "network": "lan", "mac": mac, "firewall": firewall, "name": format!("{name}{slot}") });
                    if let Some(mtu) = mtu {
                        nic["mtu"] = mtu.into();
                    }
                    one["networks"][format!("net{slot}")] = nic;
                }
            }
            json!({ "containers": { "c0": one } })
        },
    )
}

fn files(site: &Value) -> Files {
    [
        ("site.json", SITE.to_owned()),
        ("guests.json", site.to_string()),
        ("pages/index.html", "<h1>page</h1>".to_owned()),
    ]
    .into_iter()
    .map(|(path, text)| (path.into(), text.into_bytes()))
    .collect()
}

fn wanted(site: &Value) -> Result<Site, String> {
    site_of(&files(site), scenarios::authority())
}

/// A node on which a site was applied, and then this happened, as far as it can.
async fn there(before: &Site, happened: &[String]) -> There {
    let lines: Vec<&str> = happened.iter().map(String::as_str).collect();
    let mut there = There::new(Ground::of(&before.desired).with(&lines)).await;
    there.apply(before).await;
    for line in lines {
        // What the node refuses does not happen.
        let _ = there.change(line, 0).await;
    }
    there
}

fn ids_touched(plan: &Plan) -> BTreeSet<(u32, bool)> {
    let mut ids = BTreeSet::new();
    for step in plan.steps.iter().filter(|s| s.address.kind() == "container") {
        match apply::work(step).unwrap() {
            GuestWork::Create(create) => {
                ids.insert((create.placement.id, false));
                ids.extend(create.replaces.map(|old| (old.id, true)));
            }
            GuestWork::Update(update) => drop(ids.insert((update.id, true))),
            GuestWork::Delete(placement) => drop(ids.insert((placement.id, true))),
        }
    }
    ids
}

fn holds(wanted: &Site, there: &Inventory, options: &Options) -> Result<Plan, TestCaseError> {
    let plan = plan_of(&wanted.desired, there, options);
    prop_assert_eq!(&plan, &plan_of(&wanted.desired, there, options));
    check_order(&plan);
    let ours: BTreeSet<u32> = there.of_site(&wanted.desired.site).map(|g| g.id).collect();
    // P-16: what exists and does not carry the site's mark is not touched.
    let gone: BTreeSet<u32> =
        ids_touched(&plan).into_iter().filter(|(_, exists)| *exists).map(|(id, _)| id).collect();
    for (id, exists) in ids_touched(&plan) {
        prop_assert!(!exists || ours.contains(&id), "{id} is not ours");
        prop_assert!(exists || !there.guests.contains_key(&id) || gone.contains(&id), "{id} is taken");
    }
    for step in &plan.steps {
        // What can be made again at any time, such as a certificate, goes without a question; a guest never.
        let guest = plan::GuestKind::of_word(step.address.kind()).is_some();
        if step.grade >= Grade::Rebuild || guest && matches!(step.action, Action::Delete | Action::Replace) {
            prop_assert!(step.consent != Consent::NotNeeded, "{} needs no consent", step.address);
            prop_assert!(step.grade >= Grade::Rebuild, "{} says it is harmless", step.address);
        }
        prop_assert!(!step.reasons.is_empty(), "{} has no reason", step.address);
        let restarts = step.action == Action::Restart;
        prop_assert!(restarts || !step.changes.is_empty(), "{} changes nothing", step.address);
        prop_assert_eq!(step.action == Action::Restart, step.grade == Grade::Restart);
    }
    Ok(plan)
}

/// What holds for the plans of a part of the site, of all of it, and of its end.
async fn every_plan_holds(
    before: &Site,
    after: &Site,
    happened: &[String],
    target: &str,
) -> Result<(), TestCaseError> {
    let mut there = there(before, happened).await;
    let seen = there.look().await;
    let whole = holds(after, &seen, &plain(now()))?;

    let options = Options { targets: vec![target.to_owned()], ..plain(now()) };
    let part = holds(after, &seen, &options)?;
    for step in &part.steps {
        prop_assert!(whole.steps.contains(step), "{} is not in the whole plan", step.address);
    }
    for problem in &part.problems {
        prop_assert!(whole.problems.contains(problem));
    }
    let named = |a: &Address, id| plan::address::matches(target, a, id);
    for step in whole.steps.iter().filter(|s| s.address.kind() == "container" && named(&s.address, s.id)) {
        prop_assert!(part.steps.contains(step), "{} was asked for", step.address);
    }

    let options = Options { destroy: true, ..plain(now()) };
    let all = holds(after, &seen, &options)?;
    prop_assert!(all.steps.iter().all(|s| s.action == Action::Delete));

    // T-7, T-13: applied, there is nothing left to do.
    scenario::settles(after).await;
    scenario::arrives(after, &mut there, &plain(now()), &whole).await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan(
        before in site(), after in site(), happened in proptest::collection::vec(happened(), 0..4),
        target in proptest::sample::select(vec!["c1", "102", "container.*", "service.*", "feature.base@container.c2", "nobody"]),
    ) {
        let sound = |site: &Value| wanted(site).unwrap_or_else(|error| panic!("{site:#}\n{error}"));
        virtually(every_plan_holds(&sound(&before), &sound(&after), &happened, target))?;
    }

    /// T-7: whatever texts, lists, sizes, names and mounts a blueprint holds, the plan after its apply is empty; from an
    /// empty node, and from what another blueprint left.
    #[test]
    fn whatever_is_written_settles(before in anything(), after in anything()) {
        // Some of it is refused on paper, such as a device that has another's name.
        let (Ok(before), Ok(after)) = (wanted(&before), wanted(&after)) else {
            return Err(TestCaseError::reject("refused"))
        };
        virtually(async {
            scenario::settles(&after).await;
            let mut there = there(&before, &[]).await;
            let plan = holds(&after, &there.look().await, &plain(now()))?;
            scenario::arrives(&after, &mut there, &plain(now()), &plan).await;
            Ok::<_, TestCaseError>(())
        })?;
    }
}
