//! Carrying out features: all of a guest's in one script, one round trip, and then the mark. What runs them is the same for
//! every host: `bring` and `take_away`.

use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::{Address, Mark, Step};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use transport::{Command, Sent};

use super::heard::{Ended, Heard};
use super::{Action, Change, Mode, Outcome, Rendered, Script, removal, script};
use super::{known, room};
use crate::hypervisor::memory;
use crate::settle::Pauses;
use crate::worksite::{HostRunner, SCRIPT_LIMIT, WantedArtifact, Worksite};

/// How long a guest that has just been started may need until commands run in it.
const READY: Duration = Duration::from_secs(60);

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureWork {
    /// A host is to have it.
    Install(Install),
    /// A host is no longer to have it.
    Remove(Removal),
}

/// What features are put on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// A guest, by its id.
    Guest(u32),
    /// The node that commands lead to, by its name.
    Node(String),
}

/// What is installed on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Install {
    /// The host.
    pub on: On,
    /// What the mark will say.
    pub fingerprint: String,
    /// The feature, rendered.
    pub rendered: Value,
}

/// What is taken away from a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The host.
    pub on: On,
    /// The feature's name.
    pub name: String,
    /// The packages that the features it is to have list: they stay.
    pub needed: Vec<String>,
}

/// What a step installs, and on what; `None` for any other step.
pub fn installed(step: &Step) -> Option<(On, Rendered)> {
    if step.address.kind() == kinds::STACK {
        return crate::stacks::crew::installed(step).map(|(id, rendered)| (On::Guest(id), rendered));
    }
    if step.address.kind() != kinds::FEATURE {
        return None;
    }
    let Ok(FeatureWork::Install(install)) = apply::work(step) else { return None };
    Some((install.on, serde_json::from_value(install.rendered).ok()?))
}

/// The crew for features.
#[derive(Debug, Clone)]
pub struct FeatureCrew {
    site: Arc<Worksite>,
}

impl Heard {
    /// How a removal went, in a few words: what stays is named.
    ///
    /// # Errors
    /// As [`Heard::outcome`].
    pub(crate) fn removed(&self, name: &str, host: &HostRunner) -> Result<String, Failure> {
        let changed = match (self.features.get(name), self.outcome(name, host)) {
            (Some(Ended { result: Outcome::Unknown, .. }), Ok(0)) => {
                return Ok(
                    "what it made is not known and stays: it was put there before that was written down"
                        .into(),
                );
            }
            (_, outcome) => outcome.map_err(|failure| {
                failure.while_doing(format!("failed while removing {name} from {host}"))
            })?,
        };
        let kept = |action: &&Action| action.feature == name && action.change == Change::Keep;
        let stays: Vec<String> = self
            .actions
            .iter()
            .filter(kept)
            .map(|action| match action.kind {
                super::ActionKind::Package | super::ActionKind::User => {
                    let kind = serde_json::to_value(action.kind).unwrap_or_default();
                    format!("the {} {}", kind.as_str().unwrap_or_default(), action.target)
                }
                _ => action.target.clone(),
            })
            .collect();
        let mut words = actions(changed);
        if matches!(self.features.get(name), Some(Ended { result: Outcome::Unknown, .. })) {
            words.push_str("; what it made before that was written down stays");
        }
        if !stays.is_empty() {
            words.push_str(&format!("; stays: {}", stays.join(", ")));
        }
        Ok(words)
    }
}

fn actions(changed: u32) -> String {
    format!("{changed} action{}", if changed == 1 { "" } else { "s" })
}

/// An action in words: `update /etc/hosts`, `restart nginx`.
pub fn words(action: &Action) -> String {
    let json = |v: Value| v.as_str().unwrap_or_default().to_owned();
    let change = json(serde_json::to_value(action.change).unwrap_or_default());
    let kind = json(serde_json::to_value(action.kind).unwrap_or_default());
    match action.kind {
        super::ActionKind::File | super::ActionKind::Folder => format!("{change} {}", action.target),
        _ => format!("{change} {kind} {}", action.target),
    }
}

impl FeatureCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    /// The way to a host, after a look whether it is the site's own.
    async fn runner(&self, on: &On, steps: &[&Step]) -> Result<HostRunner, Failure> {
        match on {
            On::Guest(id) => self.site.guest_runner(*id, guest_of(steps).as_ref()).await,
            On::Node(_) => self.site.node_runner(),
        }
    }

    /// Has the host remember something else.
    async fn remember(
        &self,
        on: &On,
        host: &HostRunner,
        progress: &Progress,
        change: impl Fn(&mut Mark) + Send + Sync,
    ) -> Result<(), Failure> {
        match on {
            On::Guest(id) => self.site.change_mark(*id, progress, |_, mark| change(mark)).await,
            On::Node(node) => memory::change(&self.site, host, node, change).await,
        }
    }

    /// Tells each action to the step of its feature.
    fn tell(progress: &Progress, steps: &[&Step], action: &Action) {
        if let Some(step) = steps.iter().find(|s| s.address.name() == action.feature) {
            progress.for_step(&step.address).changed(words(action));
        }
    }

    async fn install(
        &self,
        works: &[Install],
        steps: &[&Step],
        progress: &Progress,
    ) -> Result<Vec<Result<Done, Failure>>, Failure> {
        let rendered: Vec<Rendered> = works
            .iter()
            .map(|work| serde_json::from_value(work.rendered.clone()))
            .collect::<Result<_, _>>()
            .map_err(|error| apply::crew::unreadable(&error))?;
        let Some(on) = works.first().map(|work| &work.on) else { return Ok(Vec::new()) };
        let doing = |what: String| {
            for step in steps {
                progress.for_step(&step.address).doing(what.clone());
            }
        };
        let tell = |action: &Action| Self::tell(progress, steps, action);
        let host = self.runner(on, steps).await?;
        let heard = bring(&self.site, &host, &rendered, progress, &doing, &tell).await?;
        let fine = |name: &str| heard.features.get(name).is_some_and(|ended| ended.result == Outcome::Ok);
        let mut applied = Vec::new();
        for ((feature, work), step) in
            rendered.iter().zip(works).zip(steps).filter(|((r, _), _)| fine(&r.name))
        {
            let codes = known::codes(&self.site, &step.address, &feature.secrets)?;
            applied.push((feature.name.as_str(), work.fingerprint.as_str(), codes));
        }
        let remember = |mark: &mut Mark| {
            for (name, fingerprint, codes) in &applied {
                mark.remember(&Address::new(kinds::FEATURE, name), *fingerprint);
                mark.remember_secrets(name, codes.clone());
            }
        };
        self.remember(on, &host, progress, remember).await?;
        let mut results = Vec::new();
        for feature in &rendered {
            match heard.outcome(&feature.name, &host) {
                Ok(changed) => results.push(Ok(Done::new(actions(changed)))),
                Err(failure) => {
                    let hint =
                        format!("phoenix-cli explain {} --script shows what was run", steps[0].address);
                    results.push(Err(room::named(failure.hint(hint), &host).await));
                    break;
                }
            }
        }
        Ok(results)
    }

    async fn remove(
        &self,
        removals: &[Removal],
        steps: &[&Step],
        progress: &Progress,
    ) -> Result<Vec<Result<Done, Failure>>, Failure> {
        let Some(first) = removals.first() else { return Ok(Vec::new()) };
        let names: Vec<String> = removals.iter().map(|removal| removal.name.clone()).collect();
        for step in steps {
            progress.for_step(&step.address).doing(format!("removing {}", names.join(", ")));
        }
        let tell = |action: &Action| Self::tell(progress, steps, action);
        let host = self.runner(&first.on, steps).await?;
        let heard = take_away(&host, &names, &first.needed, progress, &tell).await?;
        let removed: Vec<Result<String, Failure>> =
            names.iter().map(|name| heard.removed(name, &host)).collect();
        let forget = |mark: &mut Mark| {
            for (name, _) in names.iter().zip(&removed).filter(|(_, result)| result.is_ok()) {
                mark.forget(&Address::new(kinds::FEATURE, name));
            }
        };
        self.remember(&first.on, &host, progress, forget).await?;
        let mut results = Vec::new();
        for result in removed {
            let failed = result.is_err();
            let hint = match &first.on {
                On::Guest(id) => format!("phoenix-cli shell {id}"),
                On::Node(_) => host.typed("journalctl -b -p warning"),
            };
            results.push(result.map(Done::new).map_err(|failure| failure.hint(hint)));
            if failed {
                break;
            }
        }
        Ok(results)
    }
}

/// The guest that these steps are about.
fn guest_of(steps: &[&Step]) -> Option<Address> {
    steps.first()?.address.host()?.address()
}

/// Programs first: the script starts what runs them. The node gets none: whatever needs one there runs it in a guest.
async fn put_artifacts(
    site: &Worksite,
    host: &HostRunner,
    rendered: &[Rendered],
    doing: &(dyn Fn(String) + Send + Sync),
) -> Result<(), Failure> {
    let Some(id) = host.guest else { return Ok(()) };
    let mut wanted: Vec<WantedArtifact<'_>> = Vec::new();
    for feature in rendered {
        let running = feature.units.iter().filter(|(_, unit)| unit.running);
        let user = (feature.name.clone(), running.map(|(name, _)| name.clone()).collect());
        for artifact in &feature.artifacts {
            match wanted.iter_mut().find(|w| w.artifact.name == artifact.name) {
                Some(one) => one.used_by.push(user.clone()),
                None => wanted.push(WantedArtifact { artifact, used_by: vec![user.clone()] }),
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    site.artifacts.put(&wanted, &site.inside(id)?, doing).await
}

/// Brings features about in a guest or on the node: the programs they need, then the script of them all. Its secrets are
/// asked for now; `doing` hears what takes time, `tell` each action.
///
/// # Errors
/// When the script cannot be made, the place cannot be reached, or it was cut off. A feature that failed is told in
/// [`Heard`].
pub(crate) async fn bring(
    site: &Worksite,
    host: &HostRunner,
    rendered: &[Rendered],
    progress: &Progress,
    doing: &(dyn Fn(String) + Send + Sync),
    tell: &(dyn Fn(&Action) + Send + Sync),
) -> Result<Heard, Failure> {
    put_artifacts(site, host, rendered, doing).await?;
    let names: Vec<&str> = rendered.iter().map(|r| r.name.as_str()).collect();
    doing(format!("installing {}", names.join(", ")));
    let resolve = |reference: &blueprint::model::SecretRef| {
        site.secrets.make(reference).map(|secret| secret.expose_secret().to_owned())
    };
    let script: Script =
        script(rendered, Mode::Apply, &resolve).map_err(|e| Failure::from_error("features::script", &e))?;
    let purpose = format!("installing {} in {host}", names.join(", "));
    run(host, script, purpose, progress, tell).await
}

/// Takes back what features made in a guest or on the node, in this order. `needed` are packages that stay.
///
/// # Errors
/// As [`bring`].
pub(crate) async fn take_away(
    host: &HostRunner,
    names: &[String],
    needed: &[String],
    progress: &Progress,
    tell: &(dyn Fn(&Action) + Send + Sync),
) -> Result<Heard, Failure> {
    let purpose = format!("removing {} from {host}", names.join(", "));
    run(host, removal(names, needed, Mode::Apply), purpose, progress, tell).await
}

/// Runs a script and hears what it reports; again where it is certain that it converges.
async fn run(
    host: &HostRunner,
    script: Script,
    purpose: String,
    progress: &Progress,
    tell: &(dyn Fn(&Action) + Send + Sync),
) -> Result<Heard, Failure> {
    let doing = format!("failed while {purpose}");
    let command = Command::script(purpose, script.text).limit(SCRIPT_LIMIT);
    let begin = Instant::now();
    let mut told = false;
    let mut starting = Pauses::up_to(Duration::from_millis(500));
    let mut pauses = Pauses::up_to(crate::settle::PAUSE);
    loop {
        let mut heard = Heard::default();
        let result = {
            let mut line = |text: &str| heard.line(text, tell);
            host.runner.run_lines(&command, &mut line).await
        };
        match result {
            // A guest that is just starting does not take commands yet: nothing was reported, so nothing was done.
            Ok(output) if heard.end.is_none() && heard.features.is_empty() && heard.actions.is_empty() => {
                if begin.elapsed() > READY {
                    return Err(Failure::new(
                        "features::no-answer",
                        format!("the script in {host} ended with {} and said nothing", output.status),
                    )
                    .while_doing(doing)
                    .with_output(output.tail(5))
                    .hint(format!("does it come up? {}", host.typed("systemctl is-system-running"))));
                }
                if !told {
                    progress.waiting(format!("{host} to take commands"), READY);
                    told = true;
                }
                starting.pause().await;
            }
            // It ended well, so what is missing was lost on the way here; it converges, so it can be run again.
            Ok(output)
                if heard.end.is_none()
                    && output.success()
                    && begin.elapsed() < crate::settle::UNREACHABLE =>
            {
                progress.warning(format!("what the script in {host} said was cut off; running it again"));
                pauses.pause().await;
            }
            Ok(output) => {
                if heard.end.is_none() {
                    let cut = format!("the script in {host} was cut off");
                    return Err(Failure::new("features::cut-off", cut)
                        .while_doing(doing)
                        .with_output(output.tail(15))
                        .hint("phoenix-cli apply carries on"));
                }
                return Ok(heard);
            }
            // The script converges from wherever it was cut off, and holds a lock in the guest: running it again is safe.
            Err(error) if error.sent() == Sent::Never && begin.elapsed() < crate::settle::UNREACHABLE => {
                pauses.pause().await;
            }
            Err(error @ transport::Error::Broken { .. }) if begin.elapsed() < crate::settle::UNREACHABLE => {
                progress.warning(format!("{error}; running it again"));
                pauses.pause().await;
            }
            Err(error) => return Err(crate::settle::transport_failure(&command.purpose, &error)),
        }
    }
}

#[async_trait]
impl Crew for FeatureCrew {
    fn kind(&self) -> &'static str {
        kinds::FEATURE
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        // A batch is all of one or all of the other.
        let (mut installs, mut removals) = (Vec::new(), Vec::new());
        for step in steps {
            match apply::work::<FeatureWork>(step) {
                Ok(FeatureWork::Install(install)) => installs.push(install),
                Ok(FeatureWork::Remove(removal)) => removals.push(removal),
                Err(failure) => return vec![Err(failure)],
            }
        }
        let done = match removals.is_empty() {
            true => self.install(&installs, steps, progress).await,
            false => self.remove(&removals, steps, progress).await,
        };
        done.unwrap_or_else(|failure| vec![Err(failure)])
    }
}
