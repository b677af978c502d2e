//! `rotate authority`: another root takes the place of the site's, in three stages, none of which refuses anybody who is to be
//! let in.

use pki::RootKey;
use plan::Consent;
use plan::desired::Guest;
use site::{Site, Stage};

use crate::args::{self, Global, Shown};
use crate::commands::apply::carry_out;
use crate::commands::consent;
use crate::commands::plan::typed;
use crate::commands::{diff, show};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::Printer;

/// Has all stages that are left carried out.
pub async fn run(global: &Global, options: &args::Rotate, printer: Printer) -> Outcome {
    let mut planned = opening::open(global, printer).await?;
    let result = stages(global, options, &mut planned, printer).await;
    planned.connection.close().await;
    result
}

async fn stages(global: &Global, options: &args::Rotate, planned: &mut Site, printer: Printer) -> Outcome {
    let _lock = planned.lock().await?;
    planned.look_settled(&printer).await?;
    planned.establish(false, &printer)?;
    let before = planned.authority.as_ref().and_then(|authority| authority.root_key().ok());
    planned.propose_root()?;
    let typed = typed(global);
    if !printer.json {
        about(planned, &typed).into_iter().for_each(|line| printer.say(line));
    }
    let mut agreed = options.yes;
    while let Some(stage) = planned.root_stage() {
        let plan = planned.plan(&[], false)?;
        if plan.problems.is_empty() {
            settled(&plan, &typed)?;
        }
        if !printer.json {
            printer.say(format!("{} of 3: {}", stage.number(), doing(stage)));
        }
        if !options.yes && plan.problems.is_empty() {
            if !printer.json && !plan.steps.is_empty() {
                let shown = Shown::default();
                let asked = diff::ask(planned, &plan, shown, printer).await;
                show::before(&plan, planned, global, shown, &asked, printer);
            }
            if !agreed {
                consent::yes("have another root take the place of the site's?", printer)?;
                agreed = true;
            }
        }
        if plan.problems.is_empty() {
            planned.keep_new_root()?;
        }
        if !plan.steps.is_empty() || !plan.problems.is_empty() {
            carry_out(global, planned, &plan, &[], printer).await?;
            planned.look_again(&printer).await?;
        }
        if stage == Stage::Trusting && planned.behind().is_empty() && !go_on(options, &typed, printer)? {
            return Ok(0);
        }
        planned.next_root_stage(&printer)?;
    }
    if !printer.json {
        printer.say("✔ nothing that was signed below the last root is believed anywhere any more");
        printer.say(format!(
            "whoever has imported the last root is to remove it, and to trust the new one: {typed} certs root > workshop-root.pem"
        ));
        match before {
            Some(RootKey::Away) => printer
                .say("the new root's key is .phoenix/secrets/authority/root.key: take it where you kept the last one"),
            Some(RootKey::Locked) => {
                printer.say(format!("the new root's key has no passphrase yet: {typed} certs protect"));
            }
            _ => {}
        }
    }
    Ok(0)
}

/// What it is about, for who has to agree.
fn about(planned: &Site, typed: &str) -> Vec<String> {
    let trusts =
        |guest: &&Guest| guest.features.iter().any(|feature| feature.name == blueprint::model::TRUSTS);
    let guests = planned.desired.guests.values().filter(trusts).count();
    let certificates = planned.desired.certificates.len() + usize::from(planned.desired.hypervisor.is_some());
    let node = if planned.desired.hypervisor.is_some() { " and the node" } else { "" };
    vec![
        format!(
            "the root of {} is replaced: {guests} guest(s){node} trust another one beside it, {certificates} certificate(s) are \
             signed anew below that, with other keys, and then it alone is trusted",
            planned.desired.site
        ),
        "people's browsers know the new one only when they have imported it; you are asked in between"
            .to_owned(),
        format!(
            "cut off, it goes on where it was: {typed} rotate authority; {typed} status says how far it is"
        ),
    ]
}

/// What a stage does.
fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Trusting => "both roots are trusted, and the old one signs",
        Stage::Signing => "the new root signs all certificates anew, and both are trusted",
        Stage::Leaving => "the new root alone is trusted",
    }
}

/// How far it is, where it is not done: for whoever looks.
pub fn words(planned: &Site, typed: &str) -> Option<String> {
    let stage = planned.root_stage()?;
    Some(format!(
        "the root is being replaced, {} of 3: {}; to go on: {typed} rotate authority",
        stage.number(),
        doing(stage)
    ))
}

/// Whether the plan takes no consent of its own: that is for `apply`, before.
fn settled(plan: &plan::Plan, typed: &str) -> Result<(), CommandError> {
    consent::nothing_protected(plan)?;
    let names: Vec<&str> = (plan.steps.iter())
        .filter(|step| step.consent != Consent::NotNeeded)
        .map(|step| step.address.as_str())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let text =
        format!("nothing was done: {} would be destroyed, which is not what this is about", names.join(", "));
    Err(CommandError::failed("rotate::unsettled", text)
        .hint(format!("first {typed} up, then {typed} rotate authority")))
}

/// Whether people have the new root, or need not have it before it signs.
fn go_on(options: &args::Rotate, typed: &str, printer: Printer) -> Result<bool, CommandError> {
    if options.yes || printer.json {
        return Ok(true);
    }
    printer.say("both roots are trusted by all guests, and nothing of the new one is shown yet");
    printer.say(format!(
        "people's browsers are to trust it before it is: {typed} certs root --new > new-root.pem"
    ));
    match consent::yes("have the new root sign now?", printer) {
        Ok(()) => Ok(true),
        Err(error) if error.code == "consent::declined" => {
            printer.say(format!("it stays so; to go on: {typed} rotate authority"));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
