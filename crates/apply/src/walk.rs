//! The walk: a step runs when what it needs has succeeded; what fails skips only what needs it; the rest goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use plan::{Address, Consent, Plan, Step};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::crew::{Crew, Done, Failure, Progress};
use crate::event::{Event, Outcome, Shown, Sink};
use crate::limits;

/// Walks plans with the crews it was given.
#[derive(Debug, Clone)]
pub struct Foreman {
    crews: Vec<Arc<dyn Crew>>,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
}

/// What a run is called in its events.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// What was typed.
    pub command: String,
    /// Who runs it, and on which machine.
    pub by: String,
    /// The run it carries on.
    pub resumes: Option<String>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a run may have failed"]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Steps that succeeded.
    pub done: Vec<Address>,
    /// Steps that failed, with why.
    pub failed: Vec<(Address, Failure)>,
    /// Steps that were not tried.
    pub skipped: Vec<Address>,
}

/// Steps that are carried out by one call of their crew.
struct Unit<'a> {
    steps: Vec<&'a Step>,
    needs: BTreeSet<usize>,
    dependents: Vec<usize>,
}

/// A unit's index, what came of its steps (nothing when it never began), and milliseconds.
type Ended = (usize, Vec<Result<Done, Failure>>, u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
    Failed,
    Skipped,
}

impl Foreman {
    /// A foreman that reports to `sink` and starts nothing new once `stop` is cancelled.
    pub fn new(crews: Vec<Arc<dyn Crew>>, sink: Arc<dyn Sink>, stop: CancellationToken) -> Self {
        Self { crews, sink: Arc::new(Shown(sink)), stop }
    }

    /// Carries out `plan`, except for steps that lack consent: those, and what needs them, are skipped.
    pub async fn walk(&self, plan: &Plan, granted: &[String], run: Run) -> Report {
        let started = Instant::now();
        self.sink.take(&Event::RunStarted {
            version: crate::event::VERSION,
            run: run.id,
            site: plan.site.clone(),
            command: run.command,
            by: run.by,
            steps: plan.steps.iter().map(|s| s.address.clone()).collect(),
            resumes: run.resumes,
        });
        let units = units(plan);
        let mut walk = Walk {
            foreman: self,
            state: vec![State::Waiting; units.len()],
            open: units.iter().map(|u| u.needs.len()).collect(),
            units,
            report: Report { outcome: Outcome::Done, done: vec![], failed: vec![], skipped: vec![] },
            semaphores: HashMap::new(),
            total: Arc::new(Semaphore::new(limits::TOTAL)),
            tasks: JoinSet::new(),
            unit_of_task: HashMap::new(),
        };
        walk.run(granted).await;
        let mut report = walk.report;
        report.outcome = if !report.failed.is_empty() {
            Outcome::Failed
        } else if self.stop.is_cancelled() && !report.skipped.is_empty() {
            Outcome::Interrupted
        } else if report.skipped.is_empty() {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        self.sink.take(&Event::RunFinished {
            outcome: report.outcome,
            done: report.done.len(),
            failed: report.failed.len(),
            skipped: report.skipped.len(),
            milliseconds: millis(started),
        });
        report
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Groups steps into units by their batch, with the edges between units.
fn units(plan: &Plan) -> Vec<Unit<'_>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut by_batch: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unit_of: BTreeMap<&Address, usize> = BTreeMap::new();
    for step in &plan.steps {
        let index = match &step.batch {
            Some(batch) => *by_batch.entry(batch).or_insert(units.len()),
            None => units.len(),
        };
        if index == units.len() {
            units.push(Unit { steps: Vec::new(), needs: BTreeSet::new(), dependents: Vec::new() });
        }
        units[index].steps.push(step);
        unit_of.insert(&step.address, index);
    }
    for index in 0..units.len() {
        let needs: BTreeSet<usize> = units[index]
            .steps
            .iter()
            .flat_map(|s| &s.needs)
            .filter_map(|n| unit_of.get(n).copied())
            .filter(|n| *n != index)
            .collect();
        for need in &needs {
            units[*need].dependents.push(index);
        }
        units[index].needs = needs;
    }
    units
}

struct Walk<'a> {
    foreman: &'a Foreman,
    units: Vec<Unit<'a>>,
    state: Vec<State>,
    open: Vec<usize>,
    report: Report,
    semaphores: HashMap<String, Arc<Semaphore>>,
    total: Arc<Semaphore>,
    tasks: JoinSet<Ended>,
    unit_of_task: HashMap<tokio::task::Id, usize>,
}

impl Walk<'_> {
    async fn run(&mut self, granted: &[String]) {
        for index in 0..self.units.len() {
            let lacking = self.units[index].steps.iter().find_map(|s| match &s.consent {
                Consent::Refused(why) => Some(format!("refused: {why}")),
                _ if !plan::planner::consented(s, granted) => Some("consent was not given".to_owned()),
                _ => None,
            });
            if let Some(why) = lacking {
                self.skip(index, &why);
            }
        }
        let ready: Vec<usize> = (0..self.units.len())
            .filter(|i| self.open[*i] == 0 && self.state[*i] == State::Waiting)
            .collect();
        for index in ready {
            self.start(index);
        }
        let mut announced = false;
        loop {
            let stop = self.foreman.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !announced => {
                    announced = true;
                    let running = self.running();
                    self.foreman.sink.take(&Event::Stopping { running });
                }
                next = self.tasks.join_next() => match next {
                    None => break,
                    Some(Ok((index, results, milliseconds))) => self.finish(index, results, milliseconds),
                    // A crew that panicked is a defect of ours; the run reports it like any failure.
                    Some(Err(error)) => self.lost(&error),
                },
            }
        }
        for index in 0..self.units.len() {
            if self.state[index] == State::Waiting {
                let why = match self.foreman.stop.is_cancelled() {
                    true => "the run was stopped",
                    // A planner says so as a problem; a plan file may have been edited.
                    false => "it waits for steps that wait for it",
                };
                self.skip_one(index, why);
            }
        }
    }

    fn running(&self) -> Vec<Address> {
        (0..self.units.len())
            .filter(|i| self.state[*i] == State::Running)
            .flat_map(|i| self.units[i].steps.iter().map(|s| s.address.clone()))
            .collect()
    }

    fn start(&mut self, index: usize) {
        let steps: Vec<Step> = self.units[index].steps.iter().map(|s| (*s).clone()).collect();
        let Some(first) = steps.first() else { return };
        let Some(crew) = self.foreman.crews.iter().find(|c| c.kind() == first.address.kind()).cloned() else {
            let failure = Failure::new(
                "apply::no-crew",
                format!(
                    "there is nobody to carry out `{}`: this plan is of another version",
                    first.address.kind()
                ),
            )
            .hint("make the plan again with this phoenix-cli");
            let results = steps.iter().map(|_| Err(failure.clone())).collect();
            self.state[index] = State::Running;
            self.finish(index, results, 0);
            return;
        };
        self.state[index] = State::Running;
        let holds: BTreeSet<&String> = steps.iter().flat_map(|s| &s.holds).collect();
        // Always taken in the same order, so that two units never wait for each other; the scarcest class (storage)
        // first, so that nobody holds a place on the node while waiting for a disk.
        let wanted: Vec<(String, Arc<Semaphore>)> = holds
            .into_iter()
            .rev()
            .map(|hold| {
                let class = hold.split(':').next().unwrap_or_default();
                let semaphore = self
                    .semaphores
                    .entry(hold.clone())
                    .or_insert_with(|| Arc::new(Semaphore::new(limits::limit_for(class))));
                (hold.clone(), semaphore.clone())
            })
            .chain([(String::new(), self.total.clone())])
            .collect();
        let (sink, stop) = (self.foreman.sink.clone(), self.foreman.stop.clone());
        let task = self.tasks.spawn(async move {
            let Some(permits) = acquire(wanted, &stop).await else {
                return (index, Vec::new(), 0);
            };
            let started = Instant::now();
            for step in &steps {
                sink.take(&Event::StepStarted { address: step.address.clone(), action: step.action });
            }
            let held = Arc::new(Mutex::new(permits));
            let progress =
                Progress::new(steps[0].address.clone(), sink).holding(held.clone()).stopped_by(stop);
            let refs: Vec<&Step> = steps.iter().collect();
            let span = tracing::info_span!(target: "phoenix.span", "step", what = %steps[0].address);
            let results = crew.carry_out(&refs, &progress).instrument(span).await;
            drop(held);
            (index, results, millis(started))
        });
        self.unit_of_task.insert(task.id(), index);
    }

    /// `results` is empty when the unit never began because the run was stopped.
    fn finish(&mut self, index: usize, results: Vec<Result<Done, Failure>>, milliseconds: u64) {
        if results.is_empty() {
            self.state[index] = State::Waiting;
            return;
        }
        let addresses: Vec<Address> = self.units[index].steps.iter().map(|s| s.address.clone()).collect();
        let mut results = results.into_iter();
        let mut all_done = true;
        for address in addresses {
            match results.next() {
                Some(Ok(done)) => {
                    self.foreman.sink.take(&Event::StepDone {
                        address: address.clone(),
                        what: done.what,
                        milliseconds,
                    });
                    self.report.done.push(address);
                }
                Some(Err(mut failure)) => {
                    all_done = false;
                    // Every failure says what to do next.
                    failure.hint.get_or_insert_with(|| "phoenix-cli apply tries it again".to_owned());
                    self.foreman.sink.take(&Event::StepFailed {
                        address: address.clone(),
                        code: failure.code.clone(),
                        errors: failure.errors.clone(),
                        hint: failure.hint.clone(),
                        milliseconds,
                    });
                    self.report.failed.push((address, failure));
                }
                None => {
                    all_done = false;
                    let why = "one before it on the same guest failed".to_owned();
                    self.foreman.sink.take(&Event::StepSkipped { address: address.clone(), why });
                    self.report.skipped.push(address);
                }
            }
        }
        self.state[index] = if all_done { State::Done } else { State::Failed };
        if !all_done {
            let name = self.units[index].steps.first().map_or_else(String::new, |s| s.address.to_string());
            for dependent in self.units[index].dependents.clone() {
                self.skip(dependent, &format!("{name} did not succeed"));
            }
            return;
        }
        for dependent in self.units[index].dependents.clone() {
            self.open[dependent] -= 1;
            let ready = self.open[dependent] == 0 && self.state[dependent] == State::Waiting;
            if ready && !self.foreman.stop.is_cancelled() {
                self.start(dependent);
            }
        }
    }

    fn lost(&mut self, error: &tokio::task::JoinError) {
        let Some(index) = self.unit_of_task.get(&error.id()).copied() else { return };
        let failure =
            Failure::new("apply::crew-panicked", format!("the crew ended without an answer: {error}"))
                .hint("please report this; `phoenix-cli apply` again carries on");
        let results = self.units[index].steps.iter().map(|_| Err(failure.clone())).collect();
        self.finish(index, results, 0);
    }

    /// Skips a unit and all that needs it, at any distance.
    fn skip(&mut self, index: usize, why: &str) {
        if self.state[index] != State::Waiting {
            return;
        }
        self.skip_one(index, why);
        let name = self.units[index].steps.first().map_or_else(String::new, |s| s.address.to_string());
        for dependent in self.units[index].dependents.clone() {
            self.skip(dependent, &format!("{name} was not done"));
        }
    }

    fn skip_one(&mut self, index: usize, why: &str) {
        self.state[index] = State::Skipped;
        for step in &self.units[index].steps {
            self.foreman
                .sink
                .take(&Event::StepSkipped { address: step.address.clone(), why: why.to_owned() });
            self.report.skipped.push(step.address.clone());
        }
    }
}

async fn acquire(
    wanted: Vec<(String, Arc<Semaphore>)>,
    stop: &CancellationToken,
) -> Option<Vec<(String, OwnedSemaphorePermit)>> {
    let all = async {
        let mut permits = Vec::with_capacity(wanted.len());
        for (hold, semaphore) in wanted {
            permits.push((hold, semaphore.acquire_owned().await.ok()?));
        }
        Some(permits)
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        permits = all => permits,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use plan::Action;

    use super::*;
    use crate::event::Recorder;

    #[derive(Debug, Default)]
    struct TestCrew {
        fail: Vec<&'static str>,
        panic: Vec<&'static str>,
        calls: AtomicUsize,
        busy: AtomicUsize,
        busiest: AtomicUsize,
    }

    #[async_trait]
    impl Crew for TestCrew {
        fn kind(&self) -> &'static str {
            "container"
        }
        async fn carry_out(&self, steps: &[&Step], _: &Progress) -> Vec<Result<Done, Failure>> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.busiest.fetch_max(busy, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.busy.fetch_sub(1, Ordering::SeqCst);
            let mut results = Vec::new();
            for step in steps {
                assert!(!self.panic.contains(&step.address.name()), "as asked");
                if self.fail.contains(&step.address.name()) {
                    results.push(Err(Failure::new("test::no", "no").hint("try")));
                    break;
                }
                results.push(Ok(Done::default()));
            }
            results
        }
    }

    fn step(name: &str, needs: &[&str], holds: &[&str], batch: Option<&str>) -> Step {
        Step {
            holds: holds.iter().map(|h| (*h).to_owned()).collect(),
            batch: batch.map(str::to_owned),
            ..Step::new(Address::container(name), Action::Create)
                .needs(needs.iter().map(|n| Address::container(n)))
        }
    }

    fn plan_of(steps: Vec<Step>) -> Plan {
        Plan {
            version: 1,
            site: "test".into(),
            steps,
            problems: vec![],
            notes: vec![],
            postponed: vec![],
            basis: std::collections::BTreeMap::new(),
        }
    }

    async fn walk(crew: Arc<TestCrew>, plan: Plan) -> (Report, Vec<Event>) {
        let recorder = Arc::new(Recorder::default());
        let foreman = Foreman::new(vec![crew], recorder.clone(), CancellationToken::new());
        let report = foreman.walk(&plan, &[], Run::default()).await;
        (report, recorder.events())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_skips_only_what_needs_it() {
        let crew = Arc::new(TestCrew { fail: vec!["a"], ..TestCrew::default() });
        let plan = plan_of(vec![
            step("a", &[], &[], None),
            step("b", &["a"], &[], None),
            step("c", &["b"], &[], None),
            step("d", &[], &[], None),
        ]);
        let (report, events) = walk(crew, plan).await;
        assert_eq!(report.outcome, Outcome::Failed);
        assert_eq!(report.done, vec![Address::container("d")]);
        assert_eq!(report.skipped, vec![Address::container("b"), Address::container("c")]);
        assert!(events.iter().any(|e| matches!(e, Event::StepFailed { hint: Some(h), .. } if h == "try")));
    }

    #[tokio::test(start_paused = true)]
    async fn independent_steps_run_together_within_their_limits() {
        let crew = Arc::new(TestCrew::default());
        let steps = (0..12).map(|n| step(&format!("c{n}"), &[], &["storage:tank"], None)).collect();
        let begin = Instant::now();
        let (report, _) = walk(crew.clone(), plan_of(steps)).await;
        assert_eq!(report.done.len(), 12);
        assert_eq!(crew.busiest.load(Ordering::SeqCst), limits::STORAGE);
        // Twelve steps of ten seconds, four at a time.
        assert_eq!(begin.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_one_call_and_waits_for_all_it_needs() {
        let crew = Arc::new(TestCrew { fail: vec!["y"], ..TestCrew::default() });
        let plan = plan_of(vec![
            step("a", &[], &[], None),
            step("x", &[], &[], Some("g")),
            step("y", &["x", "a"], &[], Some("g")),
            step("z", &["y"], &[], Some("g")),
            step("after", &["x"], &[], None),
        ]);
        let (report, _) = walk(crew.clone(), plan).await;
        assert_eq!(crew.calls.load(Ordering::SeqCst), 2);
        assert_eq!(report.done, vec![Address::container("a"), Address::container("x")]);
        assert_eq!(report.skipped, vec![Address::container("z"), Address::container("after")]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_consent_nothing_is_touched() {
        let crew = Arc::new(TestCrew::default());
        let mut old = step("old", &[], &[], None);
        old.consent = Consent::Needed;
        let mut kept = step("kept", &[], &[], None);
        kept.consent = Consent::Refused("it is protected".into());
        let plan = plan_of(vec![old, kept, step("new", &["old"], &[], None)]);
        let (report, _) = walk(crew.clone(), plan.clone()).await;
        assert_eq!((crew.calls.load(Ordering::SeqCst), report.skipped.len()), (0, 3));
        let foreman =
            Foreman::new(vec![crew.clone()], Arc::new(Recorder::default()), CancellationToken::new());
        let report = foreman.walk(&plan, &["container.old".into()], Run::default()).await;
        assert_eq!(report.done, vec![Address::container("old"), Address::container("new")]);
        assert_eq!(report.skipped, vec![Address::container("kept")]);
    }

    #[tokio::test(start_paused = true)]
    async fn ctrl_c_starts_nothing_new_and_waits_for_what_runs() {
        let crew = Arc::new(TestCrew::default());
        let stop = CancellationToken::new();
        let recorder = Arc::new(Recorder::default());
        let foreman = Foreman::new(vec![crew.clone()], recorder.clone(), stop.clone());
        let plan = plan_of(vec![step("a", &[], &[], None), step("b", &["a"], &[], None)]);
        let stopper = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            stop.cancel();
        };
        let (report, ()) = tokio::join!(foreman.walk(&plan, &[], Run::default()), stopper);
        assert_eq!(report.outcome, Outcome::Interrupted);
        assert_eq!((report.done.len(), report.skipped.len()), (1, 1));
        assert!(
            recorder.events().iter().any(|e| matches!(e, Event::Stopping { running } if running.len() == 1))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn steps_that_wait_for_each_other_are_not_called_stopped() {
        let plan = plan_of(vec![step("a", &["b"], &[], None), step("b", &["a"], &[], None)]);
        let (report, events) = walk(Arc::new(TestCrew::default()), plan).await;
        assert_eq!((report.outcome, report.skipped.len()), (Outcome::Failed, 2));
        let waits = |e: &&Event| matches!(e, Event::StepSkipped { why, .. } if why.contains("wait for it"));
        assert_eq!(events.iter().filter(waits).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crew_that_panics_is_a_failure_like_any_other() {
        let crew = Arc::new(TestCrew { panic: vec!["a"], ..TestCrew::default() });
        let plan =
            plan_of(vec![step("a", &[], &[], None), step("b", &["a"], &[], None), step("c", &[], &[], None)]);
        let (report, _) = walk(crew, plan).await;
        assert_eq!((report.done.len(), report.failed.len(), report.skipped.len()), (1, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_nobody_knows_fails_and_says_so() {
        let crew = Arc::new(TestCrew::default());
        let mut odd = step("a", &[], &[], None);
        odd.address = "planet.mars".parse().unwrap();
        let (report, _) = walk(crew, plan_of(vec![odd])).await;
        assert_eq!(report.failed[0].1.code, "apply::no-crew");
    }
}
