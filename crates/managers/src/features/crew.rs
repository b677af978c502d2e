//! Carrying out features: all of a guest's in one script, one round trip, and then the mark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::Step;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use transport::{Command, Sent};

use super::room;
use super::{Action, Mode, Outcome, Rendered, Report, Script, parse_report, script};
use crate::settle::Pauses;
use crate::worksite::{Place, SCRIPT_LIMIT, WantedArtifact, Worksite};

/// How long a guest that has just been started may need until commands run in it.
const READY: Duration = Duration::from_secs(60);

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The guest.
    pub id: u32,
    /// What the mark will say.
    pub fingerprint: String,
    /// The feature, rendered.
    pub rendered: Value,
    /// The names of all features the guest is to have; others are forgotten in its mark.
    pub keep: Vec<String>,
}

/// The crew for features.
#[derive(Debug, Clone)]
pub struct FeatureCrew {
    site: Arc<Worksite>,
}

/// What a script reported.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    actions: Vec<Action>,
    features: BTreeMap<String, (Outcome, u32, Option<String>)>,
    end: Option<(Outcome, Option<String>)>,
    strange: Option<String>,
}

impl Heard {
    fn line(&mut self, line: &str, tell: &dyn Fn(&Action)) {
        match parse_report(line) {
            Ok(Report::Action(action)) => {
                tell(&action);
                self.actions.push(action);
            }
            Ok(Report::FeatureDone { feature, result, changed, error }) => {
                self.features.insert(feature, (result, changed, error));
            }
            Ok(Report::Done { result, error, .. }) => self.end = Some((result, error)),
            Err(error) => {
                self.strange.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// How many actions a feature took.
    ///
    /// # Errors
    /// When it failed, or the script did not get to it.
    pub(crate) fn outcome(&self, name: &str, place: &dyn std::fmt::Display) -> Result<u32, Failure> {
        let doing = format!("failed while installing {name} in {place}");
        match self.features.get(name) {
            Some((Outcome::Ok, changed, _)) => Ok(*changed),
            Some((Outcome::Failed, _, error)) => {
                let error = error.clone().unwrap_or_else(|| "it did not say why".to_owned());
                Err(Failure::new("features::failed", error).while_doing(doing))
            }
            _ => {
                let error = self.end.as_ref().and_then(|(_, e)| e.clone()).or_else(|| self.strange.clone());
                let error = error.unwrap_or_else(|| format!("the script did not get to {name}"));
                Err(Failure::new("features::failed", error).while_doing(doing))
            }
        }
    }
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

    /// Programs first: the script starts what runs them.
    async fn put_artifacts(
        &self,
        id: u32,
        rendered: &[Rendered],
        progress: &Progress,
        steps: &[&Step],
    ) -> Result<(), Failure> {
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
        let tell = |what: String| {
            for step in steps {
                progress.of(&step.address).doing(what.clone());
            }
        };
        self.site.artifacts.put(&wanted, &self.site.inside(id)?, &tell).await
    }

    async fn install(
        &self,
        id: u32,
        rendered: &[Rendered],
        progress: &Progress,
        steps: &[&Step],
    ) -> Result<Heard, Failure> {
        let names: Vec<&str> = rendered.iter().map(|r| r.name.as_str()).collect();
        for step in steps {
            progress.of(&step.address).doing(format!("installing {}", names.join(", ")));
        }
        let tell = |action: &Action| {
            if let Some(step) = steps.iter().find(|s| s.address.name() == action.feature) {
                progress.of(&step.address).changed(words(action));
            }
        };
        let place = self.site.guest_place(id)?;
        run(&self.site, &place, rendered, progress, &tell).await
    }
}

/// Runs the script of these features in a guest or on the node. Its secrets are asked for now; `tell` hears each action.
///
/// # Errors
/// When it cannot be made, the place cannot be reached, or it was cut off. A feature that failed is told in [`Heard`].
pub(crate) async fn run(
    site: &Worksite,
    place: &Place,
    rendered: &[Rendered],
    progress: &Progress,
    tell: &(dyn Fn(&Action) + Send + Sync),
) -> Result<Heard, Failure> {
    let resolve = |reference: &blueprint::model::SecretRef| {
        site.secrets.resolve(reference).map(|secret| secret.expose_secret().to_owned())
    };
    let script: Script =
        script(rendered, Mode::Apply, &resolve).map_err(|e| Failure::from_error("features::script", &e))?;
    let names: Vec<&str> = rendered.iter().map(|r| r.name.as_str()).collect();
    let command = Command::script(format!("installing {} in {place}", names.join(", ")), script.text)
        .limit(SCRIPT_LIMIT);
    let begin = Instant::now();
    let mut told = false;
    let mut starting = Pauses::up_to(Duration::from_millis(500));
    let mut pauses = Pauses::up_to(crate::settle::PAUSE);
    loop {
        let mut heard = Heard::default();
        let result = {
            let mut line = |text: &str| heard.line(text, tell);
            place.runner.run_lines(&command, &mut line).await
        };
        match result {
            // A guest that is just starting does not take commands yet: nothing was reported, so nothing was done.
            Ok(output) if heard.end.is_none() && heard.features.is_empty() && heard.actions.is_empty() => {
                if begin.elapsed() > READY {
                    return Err(Failure::new(
                        "features::no-answer",
                        format!("the script in {place} ended with {} and said nothing", output.status),
                    )
                    .while_doing("failed while installing")
                    .said(output.tail(5))
                    .hint(format!("does it come up? {}", place.typed("systemctl is-system-running"))));
                }
                if !told {
                    progress.waiting(format!("{place} to take commands"), READY);
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
                progress.warning(format!("what the script in {place} said was cut off; running it again"));
                pauses.pause().await;
            }
            Ok(output) => {
                if heard.end.is_none() {
                    let cut = format!("the script in {place} was cut off");
                    return Err(Failure::new("features::cut-off", cut)
                        .while_doing("failed while installing")
                        .said(output.tail(15))
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
        "feature"
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut works = Vec::new();
        for step in steps {
            let read = apply::work::<Work>(step).and_then(|work| {
                let rendered = serde_json::from_value::<Rendered>(work.rendered.clone());
                Ok((rendered.map_err(|error| apply::crew::unreadable(&error))?, work))
            });
            match read {
                Ok(work) => works.push(work),
                Err(failure) => return vec![Err(failure)],
            }
        }
        let Some(id) = works.first().map(|(_, w)| w.id) else { return Vec::new() };
        let rendered: Vec<Rendered> = works.iter().map(|(r, _)| r.clone()).collect();
        let heard = match self.put_artifacts(id, &rendered, progress, steps).await {
            Ok(()) => self.install(id, &rendered, progress, steps).await,
            Err(failure) => Err(failure),
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(failure) => return vec![Err(failure)],
        };
        let fine = |name: &str| heard.features.get(name).is_some_and(|(result, ..)| *result == Outcome::Ok);
        let applied: Vec<(String, String)> = works
            .iter()
            .filter(|(r, _)| fine(&r.name))
            .map(|(r, w)| (r.name.clone(), w.fingerprint.clone()))
            .collect();
        let keep = works[0].1.keep.clone();
        let marked = self
            .site
            .change_mark(id, progress, |_, mark| {
                mark.features.retain(|name, _| keep.contains(name));
                mark.features.extend(applied.iter().cloned());
            })
            .await;
        if let Err(failure) = marked {
            return vec![Err(failure)];
        }
        let mut results = Vec::new();
        for (rendered, _) in &works {
            match heard.outcome(&rendered.name, &id) {
                Ok(changed) => {
                    let s = if changed == 1 { "" } else { "s" };
                    results.push(Ok(Done::new(format!("{changed} action{s}"))));
                }
                Err(failure) => {
                    let hint =
                        format!("phoenix-cli explain {} --script shows what was run", steps[0].address);
                    let failure = match self.site.guest_place(id) {
                        Ok(place) => room::named(failure.hint(hint), &place).await,
                        Err(_) => failure.hint(hint),
                    };
                    results.push(Err(failure));
                    break;
                }
            }
        }
        results
    }
}
