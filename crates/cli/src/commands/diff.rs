//! `--diff`: what would change inside guests, asked there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use apply::Failure;
use blueprint::model::SecretRef;
use blueprint::secret::GENERATED_FOLDER;
use futures::StreamExt as _;
use managers::features::Rendered;
use managers::features::crew::{On, installed, words};
use managers::features::preview::{Preview, preview};
use plan::render::Style;
use plan::{Action, Host, Plan, Step};
use secrecy::ExposeSecret as _;

use crate::args::Shown;
use crate::commands::show::Asked;
use crate::printer::{Printer, paint};
use foreign::line;
use site::Site;
use transport::Runner;

/// So many guests are asked at once: each runs a shell script, and they share the node's processor.
const AT_ONCE: usize = 4;

/// Asks the guests of a plan, where it is wished. What cannot be asked is said, and told from paper.
pub async fn ask(planned: &Site, plan: &Plan, shown: Shown, printer: Printer) -> Asked {
    if !shown.diff {
        return Asked::default();
    }
    let mut asked = Asked::default();
    let mut say = |text: String| {
        let _ = writeln!(asked.text, "{}", paint(Style::Dim, &text));
    };
    if planned.connection.simulated() {
        say("\n--diff: the lab is simulated, there is nothing in its guests to compare with".to_owned());
        return asked;
    }
    let Some(first) = planned.connection.ways.first() else {
        say("\n--diff: there is no way to run commands on the node, so no guest was asked".to_owned());
        return asked;
    };
    let mut hosts: BTreeMap<On, Vec<(&Step, Rendered)>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some((on, rendered)) = installed(step) {
            hosts.entry(on).or_default().push((step, rendered));
        }
    }
    let anew = |id: u32| {
        let steps = plan.steps.iter().filter(|s| s.id == Some(id) && s.address.guest_kind().is_some());
        steps.clone().any(|s| matches!(s.action, Action::Create | Action::Replace))
            || !planned.inventory.guests.get(&id).is_some_and(|guest| guest.running)
    };
    // What is not there yet, or does not run, has nothing to be compared with.
    hosts.retain(|on, _| !matches!(on, On::Guest(id) if anew(*id)));
    if hosts.is_empty() {
        return asked;
    }
    let guests = hosts.keys().filter(|on| matches!(on, On::Guest(_))).count();
    printer.say(match (guests, hosts.len() - guests) {
        (guests, 0) => format!("asking {guests} guests what would change"),
        (0, _) => "asking the node what would change".to_owned(),
        (guests, _) => format!("asking the node and {guests} guests what would change"),
    });
    let asking = hosts.into_iter().map(|(on, steps)| {
        let ways = &planned.connection.ways;
        let inside: Result<Arc<dyn Runner>, Failure> = match &on {
            On::Guest(id) => ways.guest(*id),
            // There is one, or nothing would be asked.
            On::Node(_) => Ok(first.clone()),
        };
        async move {
            let rendered: Vec<Rendered> = steps.iter().map(|(_, rendered)| rendered.clone()).collect();
            let result = match inside {
                Ok(inside) => preview(&inside, &rendered, &|reference| secret(planned, reference)).await,
                Err(failure) => Err(failure),
            };
            (on, steps.into_iter().map(|(step, _)| step).collect::<Vec<_>>(), result)
        }
    });
    let mut answers: Vec<_> = futures::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    answers.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (on, steps, result) in answers {
        match result {
            Ok(preview) => tell(&steps, &preview, &mut asked),
            Err(failure) => {
                let why = failure.errors.join(": ");
                let name = match &on {
                    On::Guest(id) => id.to_string(),
                    On::Node(name) => name.clone(),
                };
                let _ = writeln!(
                    asked.text,
                    "\n{}",
                    paint(Style::Remove, &format!("{name} could not be asked: {}", line(&why)))
                );
            }
        }
    }
    asked
}

fn tell(steps: &[&Step], preview: &Preview, asked: &mut Asked) {
    for step in steps {
        let feature = step.address.name();
        let mut would: Vec<String> =
            preview.actions.iter().filter(|action| action.feature == feature).map(words).collect();
        if let Some(why) = preview.unasked.get(feature) {
            would.push(format!("could not be asked to its end: {why}"));
        } else if would.is_empty() {
            would.push("changes nothing there".to_owned());
        }
        asked.steps.insert(step.address.clone(), would);
    }
    let host = steps.first().and_then(|step| step.address.host()).unwrap_or(&Host::THE_NODE).to_string();
    for (path, text) in &preview.files {
        let _ = writeln!(asked.text, "\n{}", paint(Style::Strong, &format!("{} in {host}", line(path))));
        for changed in text.lines() {
            let style = match changed.as_bytes().first() {
                Some(b'+') => Style::Add,
                Some(b'-') => Style::Remove,
                _ => Style::Dim,
            };
            let _ = writeln!(asked.text, "{}", paint(style, &foreign::block(changed)));
        }
    }
}

/// A secret's value for the comparison. None is made for it: one that is not there yet differs from whatever is.
fn secret(planned: &Site, reference: &SecretRef) -> Result<String, Failure> {
    if let SecretRef::Generate(name) = reference
        && !planned.blueprint.root.join(GENERATED_FOLDER).join(name).exists()
    {
        return Ok("(not made yet)".to_owned());
    }
    planned.secrets().resolve(reference).map(|value| value.expose_secret().to_owned())
}
