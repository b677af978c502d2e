//! `--diff`: what would change inside guests, asked there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use apply::Failure;
use blueprint::model::SecretRef;
use blueprint::secret::GENERATED_FOLDER;
use camino::Utf8Path;
use futures::StreamExt as _;
use managers::features::Rendered;
use managers::features::crew::{installed, words};
use managers::features::preview::{Preview, preview};
use plan::render::Style;
use plan::{Action, Plan, Step};
use secrecy::ExposeSecret as _;

use crate::args::Shown;
use crate::commands::show::Asked;
use crate::printer::{Printer, paint};
use foreign::line;
use site::Site;
use site::SiteSecrets;

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
    if planned.connection.ways.first().is_none() {
        say("\n--diff: there is no way to run commands on the node, so no guest was asked".to_owned());
        return asked;
    }
    let mut guests: BTreeMap<u32, Vec<(&Step, Rendered)>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some((id, rendered)) = installed(step) {
            guests.entry(id).or_default().push((step, rendered));
        }
    }
    let anew = |id: u32| {
        let steps = plan.steps.iter().filter(|s| s.id == Some(id) && s.address.guest_kind().is_some());
        steps.clone().any(|s| matches!(s.action, Action::Create | Action::Replace))
            || !planned.inventory.guests.get(&id).is_some_and(|guest| guest.running)
    };
    // What is not there yet, or does not run, has nothing to be compared with.
    guests.retain(|id, _| !anew(*id));
    if guests.is_empty() {
        return asked;
    }
    printer.say(format!("asking {} guests what would change", guests.len()));
    let asking = guests.into_iter().map(|(id, steps)| {
        let inside = planned.connection.ways.guest(id);
        async move {
            let rendered: Vec<Rendered> = steps.iter().map(|(_, rendered)| rendered.clone()).collect();
            let root = &planned.blueprint.root;
            let result = match inside {
                Ok(inside) => preview(&inside, &rendered, &|reference| secret(root, reference)).await,
                Err(failure) => Err(failure),
            };
            (id, steps.into_iter().map(|(step, _)| step).collect::<Vec<_>>(), result)
        }
    });
    let mut answers: Vec<_> = futures::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    answers.sort_by_key(|(id, ..)| *id);
    for (id, steps, result) in answers {
        match result {
            Ok(preview) => tell(&steps, &preview, &mut asked),
            Err(failure) => {
                let why = failure.errors.join(": ");
                let _ = writeln!(
                    asked.text,
                    "\n{}",
                    paint(Style::Remove, &format!("{id} could not be asked: {}", line(&why)))
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
            would.push("changes nothing in the guest".to_owned());
        }
        asked.steps.insert(step.address.clone(), would);
    }
    let guest = steps.first().and_then(|step| step.address.host()).map(ToString::to_string);
    for (path, text) in &preview.files {
        let guest = guest.as_deref().unwrap_or_default();
        let _ = writeln!(asked.text, "\n{}", paint(Style::Strong, &format!("{} in {guest}", line(path))));
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
fn secret(root: &Utf8Path, reference: &SecretRef) -> Result<String, Failure> {
    if let SecretRef::Generate(name) = reference
        && !root.join(GENERATED_FOLDER).join(name).exists()
    {
        return Ok("(not made yet)".to_owned());
    }
    SiteSecrets::new(root.to_owned(), crate::opening::environment())
        .get(reference)
        .map(|value| value.expose_secret().to_owned())
}
