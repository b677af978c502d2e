//! Waiting for tasks, on a clock that only runs when nothing else does.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Scripted, data, lost, refusal};
use proxmox::client::{Pace, Reader, TaskEnd, TaskError};
use proxmox::exchange::{ExchangeError, Response};
use proxmox::{ErrorKind, Upid};
use serde_json::{Value, json};

fn upid() -> Upid {
    "UPID:pve1:000010E2:000E4E7C:6B03FB81:vzstart:210:root@pam!conf:".parse().unwrap()
}

fn running() -> Result<Response, ExchangeError> {
    data(json!({ "upid": upid().as_str(), "status": "running" }))
}

fn stopped(exit: &str) -> Result<Response, ExchangeError> {
    data(json!({ "upid": upid().as_str(), "status": "stopped", "exitstatus": exit }))
}

fn log(lines: &[&str]) -> Result<Response, ExchangeError> {
    data(lines.iter().enumerate().map(|(n, t)| json!({ "n": n + 1, "t": t })).collect())
}

async fn wait(exchange: Arc<Scripted>) -> (Result<TaskEnd, TaskError>, usize) {
    let mut ticks = 0;
    let end = Reader::new(exchange)
        .wait_task(&upid(), Duration::from_secs(60), Pace::default(), &mut |_| ticks += 1)
        .await;
    (end, ticks)
}

#[tokio::test(start_paused = true)]
async fn it_ends_well() {
    let (end, ticks) = wait(Scripted::in_order([running(), running(), stopped("OK")])).await;
    assert_eq!((end.unwrap(), ticks), (TaskEnd::Ok, 2));
}

/// A Debian 13 container without nesting starts like this: a success.
#[tokio::test(start_paused = true)]
async fn warnings_are_a_success_that_is_told() {
    let lines =
        ["starting", "WARN: Systemd 257 detected. You may need to enable nesting.", "TASK WARNINGS: 1"];
    let (end, _) = wait(Scripted::in_order([stopped("WARNINGS: 1"), log(&lines)])).await;
    let warning = "Systemd 257 detected. You may need to enable nesting.".to_owned();
    assert_eq!(end.unwrap(), TaskEnd::Warnings(vec![warning]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_its_kind_and_the_end_of_its_whole_log() {
    // Two pages of the log: the error is on the second, which the API's default of 50 lines would not show.
    let many: Vec<Value> = (1..=501).map(|n| json!({ "n": n, "t": format!("line {n}") })).collect();
    let exchange = Scripted::new(move |request| {
        let param = |name: &str| {
            let found = request.params.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.parse::<usize>().unwrap()).unwrap()
        };
        if request.path.ends_with("/status") {
            return stopped("CT is locked (disk)");
        }
        data(many.iter().skip(param("start")).take(param("limit")).cloned().collect())
    });
    match wait(exchange).await.0.unwrap_err() {
        TaskError::Failed { exit, kind, log, .. } => {
            assert_eq!((exit.as_str(), *kind), ("CT is locked (disk)", ErrorKind::Locked));
            assert_eq!((log.len(), log.last().map(String::as_str)), (15, Some("line 501")));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_not_registered_yet_and_a_node_away_for_a_while_are_asked_again() {
    let unknown = || {
        let body = json!({ "data": null, "message": "Parameter verification failed.\n", "errors": { "upid": "no such task" } });
        refusal(400, "Parameter verification failed.", body)
    };
    let answers =
        [unknown(), Err(lost("status")), refusal(596, "Broken pipe", Value::Null), running(), stopped("OK")];
    let (end, ticks) = wait(Scripted::in_order(answers)).await;
    assert_eq!((end.unwrap(), ticks), (TaskEnd::Ok, 4));
    // A task that stays unknown is lost, long before the limit.
    let started = tokio::time::Instant::now();
    let (end, _) = wait(Scripted::new(move |_| unknown())).await;
    assert!(matches!(end.unwrap_err(), TaskError::Lost { .. }));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_asked_again() {
    let (end, ticks) = wait(Scripted::in_order([refusal(401, "permission denied", Value::Null)])).await;
    assert!(matches!(end.unwrap_err(), TaskError::Lost { .. }) && ticks == 0);
}

/// P-35, T-17: waits without an end, and time limits that nobody kept.
#[tokio::test(start_paused = true)]
async fn the_wait_is_bounded_and_asks_less_and_less_often() {
    let started = tokio::time::Instant::now();
    let exchange =
        Scripted::new(
            |request| if request.path.ends_with("/log") { log(&["still here"]) } else { running() },
        );
    let (end, ticks) = wait(exchange).await;
    match end.unwrap_err() {
        TaskError::TimedOut { limit, log, .. } => {
            assert_eq!((limit, log), (Duration::from_secs(60), vec!["still here".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&started.elapsed()));
    // A second between two, once the first short ones are over.
    assert!((60..75).contains(&ticks), "{ticks}");
    let (end, _) = wait(Scripted::new(|_| Err(lost("status")))).await;
    assert!(matches!(end.unwrap_err(), TaskError::Lost { .. }), "nothing was seen in the end");
}
