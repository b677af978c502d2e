//! A node in trouble: each ends with a stable code, the node's words, and the next command; what does not need it goes on.

use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use async_trait::async_trait;
use lab::node::{Auth, TaskTwist};
use lab::sim::{Fault, Faults, SimExchange, World, WorldOptions};
use managers::{Ways, observe, settle::failure};
use plan::Address;
use proxmox::exchange::{Exchange, ExchangeError, Request, Response};
use scenarios::{Ended, Site, Try, first, run, virtually};

use super::{LOCK, LONGEST, apply, settle, site, undisturbed, world};

/// It says what is wrong, in whose words, and what to do.
#[track_caller]
fn assert_explained(failure: &Failure, code: &str, words: &str) {
    assert_eq!(failure.code, code, "{failure:#?}");
    let all = failure.errors.join("\n");
    assert!(all.contains(words), "`{words}` is not in {failure:#?}");
    let hint = failure.hint.as_deref().unwrap_or_else(|| panic!("no hint: {failure:#?}"));
    let command = ["phoenix-cli ", "pct ", "pvesm ", "pveam ", "pvenode ", "pveum ", "pvecm "];
    assert!(command.iter().any(|c| hint.contains(c)), "the hint names no command: {failure:#?}");
    for (n, one) in failure.errors.iter().enumerate() {
        for other in &failure.errors[n + 1..] {
            assert!(!one.contains(other.as_str()), "said twice: {failure:#?}");
        }
    }
}

#[track_caller]
fn only(ended: &Ended) -> Failure {
    let mut all = ended.failures();
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// The step that failed, while everything that does not need it was done.
#[track_caller]
fn failed_alone(ended: &Ended, address: &Address, untouched: &[&str]) -> Failure {
    let report = ended.report();
    assert_eq!(report.failed.iter().map(|(a, _)| a).collect::<Vec<_>>(), [address], "{report:#?}");
    for name in untouched {
        assert!(report.done.contains(&name.parse().unwrap()), "{name} did not go on: {report:#?}");
    }
    only(ended)
}

/// Runs the first workshop in a world that is prepared so.
fn in_world(prepare: impl FnOnce(&mut WorldOptions), test: impl AsyncFnOnce(&World, &Site, Ended)) {
    let site = site(&first());
    virtually(async {
        let mut options = WorldOptions::new(11).latency(Duration::from_millis(2));
        prepare(&mut options);
        let world = options.build().unwrap();
        let begin = tokio::time::Instant::now();
        let ended = apply(&world, &site).await;
        assert!(begin.elapsed() < LONGEST, "{:?}", begin.elapsed());
        test(&world, &site, ended).await;
    });
}

#[test]
fn a_node_that_cannot_be_reached() {
    // The lock is taken by ssh; the API is what is away.
    in_world(
        |o| o.faults = Faults::none().away(LOCK + 1..u64::MAX),
        async |_, _, ended| assert_explained(&only(&ended), "proxmox::unreachable", "connection refused"),
    );
}

#[test]
fn a_node_that_goes_away_in_the_middle_and_comes_back() {
    let site = site(&first());
    let (expected, calls, _) = undisturbed(&site);
    virtually(async {
        let world = world(1, Faults::none().away(calls / 2..calls / 2 + 4000));
        let ended = apply(&world, &site).await;
        for failure in ended.failures() {
            assert_explained(&failure, &failure.code, "");
            assert!(
                ["proxmox::unreachable", "proxmox::task-lost", "transport::failed"].contains(&&*failure.code),
                "{failure:#?}"
            );
        }
        // A person comes back later.
        while world.faults.calls() < calls / 2 + 4000 {
            let _ = world.shell_try().await;
        }
        assert_eq!(settle(&world, &site, 1).await, expected);
        assert_eq!(world.faults.doubled(), Vec::<String>::new());
    });
}

trait TryShell {
    async fn shell_try(&self) -> bool;
}

impl TryShell for World {
    /// One call, whatever comes of it.
    async fn shell_try(&self) -> bool {
        use transport::Runner as _;
        self.shell.run(&transport::Command::new("trying", ["true"])).await.is_ok()
    }
}

/// Answers nothing but the same error.
#[derive(Debug)]
struct Refusing(fn() -> Result<Response, ExchangeError>);

#[async_trait]
impl Exchange for Refusing {
    async fn exchange(&self, _: &Request) -> Result<Response, ExchangeError> {
        (self.0)()
    }
    fn endpoint(&self) -> String {
        "https://pve1:8006".into()
    }
}

fn observed(answer: fn() -> Result<Response, ExchangeError>) -> (Failure, Duration) {
    virtually(async {
        let begin = tokio::time::Instant::now();
        let failure = observe(&Ways::new(None, Arc::new(Refusing(answer)))).await.unwrap_err();
        (failure, begin.elapsed())
    })
}

/// Another certificate is no network that may get better: it is said at once.
#[test]
fn a_node_with_another_certificate() {
    let (failure, took) = observed(|| {
        Err(ExchangeError::Certificate { endpoint: "https://pve1:8006".into(), seen: "AA:BB".into() })
    });
    assert_explained(&failure, "proxmox::certificate", "AA:BB");
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn a_token_that_is_refused() {
    let (failure, took) = observed(|| {
        let reason = "invalid token value!".to_owned();
        Ok(Response { status: 401, reason, body: serde_json::Value::Null })
    });
    assert_explained(&failure, "proxmox::unauthorized", "invalid token value!");
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn an_answer_that_is_no_proxmox() {
    let (failure, _) =
        observed(|| Ok(Response { status: 200, reason: "OK".into(), body: serde_json::json!("<html>") }));
    assert_explained(&failure, "proxmox::answer-unreadable", "");
}

#[test]
fn an_answer_that_is_always_cut_off() {
    let (failure, took) = observed(|| {
        Err(ExchangeError::MaybeSent {
            endpoint: "https://pve1:8006".into(),
            request: "GET /cluster/resources".into(),
            reason: "the answer broke off in the middle".into(),
        })
    });
    assert_explained(&failure, "proxmox::answer-lost", "broke off");
    assert!(took <= Duration::from_secs(90), "{took:?}");
}

/// A token that may look, and not make.
#[test]
fn a_privilege_that_is_missing() {
    let site = site(&first());
    virtually(async {
        let mut world = world(11, Faults::none());
        world.node.set_token("look@pve!cli", "secret", true);
        for who in ["look@pve", "look@pve!cli"] {
            world.node.grant(who, "/", "PVEAuditor");
        }
        world.exchange = SimExchange::new(world.node.clone(), Auth::of("look@pve!cli"));
        let ended = apply(&world, &site).await;
        let failures = ended.failures();
        assert!(!failures.is_empty(), "{ended:#?}");
        for failure in failures {
            assert_explained(&failure, "proxmox::permission-denied", "Permission check failed");
        }
        assert!(world.node.configuration_files().is_empty());
    });
}

#[test]
fn no_such_template_is_found_when_planning() {
    in_world(
        |o| o.node.storages[0].templates.clear(),
        async |world, _, ended| {
            let problems = &ended.plan().problems;
            assert!(!problems.is_empty());
            for problem in problems {
                assert_eq!(problem.code, "plan::no-template", "{problem:?}");
                assert!(problem.hint.contains("pveam"), "{problem:?}");
            }
            assert!(world.faults.made().is_empty(), "nothing was touched");
        },
    );
}

#[test]
fn no_space() {
    in_world(
        // Room for two disks of 4 GiB.
        |o| o.node.storages.iter_mut().for_each(|s| s.total = s.total.min(9 << 30)),
        async |world, site, ended| {
            let report = ended.report();
            let (address, _) = report.failed.first().expect("one failed").clone();
            let failure = failed_alone(&ended, &address, &[]);
            assert_explained(&failure, "proxmox::no-space", "out of space");
            // Everything that does not need it was made; of what failed nothing is left.
            assert_eq!(world.node.configuration_files().len(), site.desired.guests.len() - 1);
            let again = apply(world, site).await;
            assert_explained(&only(&again), "proxmox::no-space", "out of space");
        },
    );
}

/// The first workshop, and the same with more memory.
fn grown() -> (Site, Site) {
    let mut files = first();
    let text = String::from_utf8(files["guests.json"].clone()).unwrap();
    files.insert("guests.json".into(), text.replace("\"512M\"", "\"1G\"").into());
    (site(&first()), site(&files))
}

/// T-3: a lock that no task works under was left by something that died: nobody will take it away, so it is not waited for
/// as if somebody did.
#[test]
fn a_guest_that_is_locked_and_nobody_works_on_it() {
    let (wanted, changed) = grown();
    for (lock, command) in [("snapshot-delete", "pct unlock 120"), ("mounted", "pct unmount 120")] {
        virtually(async {
            let world = world(11, Faults::none());
            assert!(apply(&world, &wanted).await.done());
            world.node.set_guest_lock(120, Some(lock));
            let begin = tokio::time::Instant::now();
            let ended = apply(&world, &changed).await;
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
            let others = ["container.gateway", "container.status"];
            let failure = failed_alone(&ended, &Address::container("notes"), &others);
            assert_explained(
                &failure,
                "proxmox::locked",
                &format!("120 is locked ({lock}), and no task works on it"),
            );
            let hint = failure.hint.unwrap_or_default();
            assert!(hint.starts_with(&format!("on the node: {command}; ")), "{hint}");
            assert!(hint.contains("Sys.Audit on /nodes/pve1"), "{hint}");
            world.node.set_guest_lock(120, None);
            assert!(apply(&world, &changed).await.done());
        });
    }
}

/// T-3: somebody else's task is waited for, and the screen says which lock it holds; but not for ever.
#[test]
fn a_guest_that_a_task_holds_for_ever() {
    let (wanted, changed) = grown();
    virtually(async {
        let world = world(11, Faults::none());
        assert!(apply(&world, &wanted).await.done());
        world.node.back_up(120, Duration::from_secs(300_000));
        let begin = tokio::time::Instant::now();
        let ended = apply(&world, &changed).await;
        let took = begin.elapsed();
        assert!(took > Duration::from_secs(1100) && took < LONGEST, "{took:?}");
        let failure =
            failed_alone(&ended, &Address::container("notes"), &["container.gateway", "container.status"]);
        assert_explained(&failure, "proxmox::locked", "CT is locked (backup)");
        let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
        let waits = |e: &apply::Event| matches!(e, apply::Event::Waiting { what, .. } if what.contains("the lock on 120 (backup)"));
        assert!(events.iter().any(waits), "{events:#?}");
    });
}

/// T-3: "can't lock file" is no failure while there is time.
#[test]
fn a_lock_that_passes_is_waited_for() {
    let site = site(&first());
    let (expected, calls, _) = undisturbed(&site);
    for n in [calls / 3, calls / 2, calls * 2 / 3] {
        for id in [101, 120, 121] {
            virtually(async {
                let world = world(1, Faults::none().at(n, Fault::Locked(id, Duration::from_secs(200))));
                let ended = apply(&world, &site).await;
                assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
                assert_eq!(scenarios::state::describe(&world, &site).await, expected, "{}", world.story());
            });
        }
    }
}

#[test]
fn a_task_that_ends_in_an_error() {
    in_world(
        |o| {
            o.faults =
                Faults::none().task(4, TaskTwist::FailBefore("startup for container '101' failed".into()));
        },
        async |world, site, ended| {
            let failure = only(&ended);
            assert_explained(&failure, "proxmox::task-failed", "startup for container");
            // The end of its log is there.
            assert!(failure.errors.iter().any(|e| e.contains("TASK ERROR")), "{failure:#?}");
            assert!(apply(world, site).await.done());
        },
    );
}

#[test]
fn a_task_that_ends_in_warnings_has_succeeded_and_they_are_told() {
    in_world(
        |o| o.faults = Faults::none().task(2, TaskTwist::Warn("Systemd 257 detected.".into())),
        async |_, _, ended| {
            assert!(ended.done(), "{:#?}", ended.failures());
            let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
            let told = |e: &&apply::Event| matches!(e, apply::Event::Warning { what, .. } if what.contains("Systemd 257"));
            assert_eq!(events.iter().filter(told).count(), 1);
        },
    );
}

/// A bridge that is not there is missed by the plan, by the API where no command can be run, and nothing is sent.
#[test]
fn an_unknown_bridge() {
    let mut files = first();
    let text = String::from_utf8(files["site.json"].clone()).unwrap();
    files.insert("site.json".into(), text.replace("\"bridge\": \"vmbr0\"", "\"bridge\": \"vmbr7\"").into());
    let site = site(&files);
    virtually(async {
        let world = world(11, Faults::none());
        let ended = apply(&world, &site).await;
        let codes: Vec<&str> = ended.plan().problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, ["plan::no-bridge"; 3]);
        assert!(world.node.configuration_files().is_empty(), "nothing is made");
        let ended = run(&world, &site, &Try { no_commands: true, ..Try::default() }).await;
        let problems = &ended.plan().problems;
        assert_eq!(problems.len(), 3, "{problems:#?}");
        for problem in problems {
            assert!(problem.code == "plan::no-bridge" && problem.hint.contains("SDN.Use"), "{problem:?}");
        }
        assert!(world.node.configuration_files().is_empty(), "nothing is made");
    });
}

/// What a client's error becomes always has a code and a hint.
#[test]
fn every_refusal_has_a_code_and_a_hint() {
    for (status, words) in [
        (500, "got lock request timeout"),
        (500, "can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout"),
        (500, "storage 'nvme' does not exist"),
        (500, "detected modified configuration - file changed by other user? Try again."),
        (403, "Permission check failed (/vms/101, VM.Allocate)"),
        (595, "No route to host"),
        (501, "Method 'POST /nodes/pve1/nope' not implemented"),
        (400, "Parameter verification failed."),
    ] {
        let request = Request {
            method: proxmox::exchange::Method::Post,
            path: "/nodes/pve1/lxc".into(),
            params: vec![],
        };
        let response = Response { status, reason: words.into(), body: serde_json::Value::Null };
        let error = proxmox::Error::from(proxmox::ApiError::new(&request, &response));
        let failure = failure("trying", &error);
        assert_explained(&failure, &failure.code, words);
    }
}
