//! A kind of resource that exists here alone: all that a new one takes is its own file and a place in the list. It is planned,
//! put in order, carried out, explained and drawn like those that are there.

use std::sync::Arc;

use apply::{Crew, Done, Failure, Foreman, Progress, event::Recorder, walk::Run};
use async_trait::async_trait;
use managers::{Manager, Seen, Worksite};
use plan::desired::Resource;
use plan::planner::{Kind, Proposal, World};
use plan::{Action, Address, Change, Desired, Inventory, Mark, Step};
use proxmox::exchange::Method;
use proxmox::inventory::Guests;
use scenarios::{Site, There};
use serde_json::{Value, json};

use crate::support::{self, SITE};

const LANTERN: &str = "lantern";

/// Lamps on the site: each is a colour.
#[derive(Debug)]
struct Lanterns;

impl Kind for Lanterns {
    fn kind(&self) -> &'static str {
        LANTERN
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        for (address, lantern) in world.desired.resources.iter().filter(|(a, _)| a.kind() == LANTERN) {
            proposal.relies_on(address.clone(), self.state(world.desired, world.inventory, address));
            if hung(world.desired, world.inventory).and_then(|mark| mark.fingerprint(address))
                == lantern.wanted["colour"].as_str()
            {
                continue;
            }
            let step = Step::new(address.clone(), Action::Create).reason("it is dark").change(Change::new(
                "colour",
                Value::Null,
                lantern.wanted["colour"].clone(),
            ));
            proposal.step(step, &*lantern.wanted);
        }
    }

    fn state(&self, _: &Desired, inventory: &Inventory, address: &Address) -> String {
        format!("{:?}", inventory.found.get(address))
    }
}

#[async_trait]
impl Crew for Lanterns {
    fn kind(&self) -> &'static str {
        LANTERN
    }

    async fn carry_out(&self, steps: &[&Step], _: &Progress) -> Vec<Result<Done, Failure>> {
        let lit = |step: &&Step| {
            let wanted: Value = apply::work(step)?;
            Ok(Done::new(format!("{} light", wanted["colour"].as_str().unwrap_or_default())))
        };
        steps.iter().map(lit).collect()
    }
}

impl Manager for Lanterns {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, _: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(Self)
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        Some(Value::clone(&desired.resources.get(address)?.wanted))
    }

    fn observe(&self, read: &mut Guests, inventory: &mut Inventory) {
        let seen = read.firewall_unread.remove(LANTERN).into_iter();
        inventory.found.extend(seen.map(|seen| (Address::new(LANTERN, "red"), vec![seen])));
    }
}

/// The mark of the guest that lamps hang on, which remembers their colours.
fn hung<'a>(desired: &Desired, inventory: &'a Inventory) -> Option<&'a Mark> {
    inventory.guests.get(&desired.guests.get("notes")?.id)?.mark.as_ref()
}

#[tokio::test]
async fn a_new_kind_is_a_file_and_a_place_in_the_list() {
    let guests =
        r#"{ "containers": { "notes": { "template": "debian-12", "id": 120, "address": "10.0.0.20" } } }"#;
    let files = [("site.json", SITE), ("guests.json", guests)];
    let files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec())).into();
    let mut desired = support::desired(&files, scenarios::authority().root_pem()).unwrap();
    let without = desired.clone();
    let (red, notes) = (Address::new(LANTERN, "red"), Address::container("notes"));
    let wanted = Arc::new(json!({ "colour": "red" }));
    desired.add(red.clone(), Resource { wanted, needs: vec![notes.clone()], declared: None });

    // Planned, after what it needs, beside all other kinds.
    let empty = There::new(Default::default()).await.look().await;
    let (mut kinds, now) = (managers::kinds(), jiff::Timestamp::UNIX_EPOCH);
    kinds.push(&Lanterns);
    let plan = plan::plan(&desired, &empty, &kinds, &support::plain(now));
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    let place = |address: &Address| plan.steps.iter().position(|step| step.address == *address).unwrap();
    assert!(place(&notes) < place(&red));
    assert_eq!(plan.steps[place(&red)].needs, std::slice::from_ref(&notes));
    assert_eq!(plan.basis[&red], "None");

    // Named on the command line, drawn and explained.
    assert!(plan::planner::known(&desired, &empty, "lantern.*"));
    assert!(desired.graph.mermaid().contains("lantern.red"));
    assert_eq!(Lanterns.facts(&red, &desired).unwrap()["colour"], "red");

    // What it writes into a mark comes back from the node, and nothing is left to do.
    let site = Site {
        desired: Arc::new(desired.clone()),
        authority: scenarios::authority(),
        folder: Default::default(),
    };
    let there = There::applied(&site).await;
    let mut mark = there.look().await.guests[&120].mark.clone().unwrap();
    mark.remember(&red, "red");
    let text = site.trust().describe(120, None, "", &mark).unwrap();
    there.by_hand(Method::Put, "/nodes/pve1/lxc/120/config", &[("description", &text)]).await.unwrap();
    let mut there = there.look().await;
    let guest = there.guests.get_mut(&120).unwrap();
    assert_eq!(guest.mark, Some(mark));
    let seen = |there: &Inventory| plan::plan(&desired, there, &kinds, &support::plain(now));
    assert_eq!(seen(&there).steps, []);
    // What is not wanted any more is still known by what the mark remembers.
    assert!(plan::planner::known(&without, &there, "lantern.red"));
    assert!(!plan::planner::known(&without, &empty, "lantern.red"));
    // A form that is not known is another site's mark to whoever meets it, and said to be that.
    let guest = there.guests.get_mut(&120).unwrap();
    let newer = plan::mark::render("", guest.mark.as_ref().unwrap()).replace("\"form\":2", "\"form\":3");
    guest.mark = plan::mark::parse(&newer).unwrap().1.map(plan::mark::Read::into_mark);
    let refused = seen(&there);
    assert!(refused.steps.iter().all(|step| step.address != notes), "{:?}", refused.addresses());
    let problem = refused.problems.iter().find(|problem| problem.address == notes).unwrap();
    assert!(problem.message.contains("(marked by a newer Phoenix)"), "{problem:?}");
    assert!(problem.hint.contains("newer"), "{problem:?}");

    // It takes its own out of what was read, and what is of it is shown.
    let mut read = Guests {
        firewall_unread: [(LANTERN.to_owned(), "it flickers".to_owned())].into(),
        ..Guests::default()
    };
    let mut inventory = empty.clone();
    Lanterns.observe(&mut read, &mut inventory);
    assert_eq!(inventory.found[&red], ["it flickers"]);
    let url = |_: &plan::desired::Service| String::new();
    let seen = Seen { desired: &desired, inventory: &inventory, plan: &plan, now, url: &url };
    assert_eq!(Lanterns.status(&red, seen).state, "waits for an apply: it is dark");

    // Carried out by its own crew.
    let alone = plan::plan(&desired, &empty, &[&Lanterns], &support::plain(now));
    let recorder = Arc::new(Recorder::default());
    let foreman = Foreman::new(vec![Arc::new(Lanterns)], recorder, Default::default());
    let report = foreman.walk(&alone, &[], Run::default()).await;
    assert_eq!(report.done, [red]);
}
