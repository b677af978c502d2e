//! Whether an exercise is done: each goal, with the reason.

use std::collections::BTreeMap;

use managers::certificates::CertificateMark;
use plan::desired::{End, Issuer, Service};
use plan::{Address, Desired, Plan};
use sha2::{Digest as _, Sha256};
use site::{Error, Site};

use super::{Goal, Record, Right};

/// A goal, and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The goal in words.
    pub text: String,
    /// Whether it holds.
    pub done: bool,
    /// What was found.
    pub why: String,
}

/// What a goal comes to: what was found, as good or as bad.
type Found = Result<String, String>;

impl Goal {
    /// The goal in words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Validates => "the blueprint is valid".to_owned(),
            Self::PlanEmpty => "nothing is left to apply".to_owned(),
            Self::GuestExists { guest } => format!("the guest {guest} runs on the node"),
            Self::GuestAbsent { guest } => format!("the guest {guest} is gone"),
            Self::ServiceAnswers { service } => format!("the service {service} answers"),
            Self::CertificateRenewed { certificate } => format!("certificate.{certificate} is a new one"),
            Self::NameLeadsTo { name, guest } => format!("{name} leads to {guest}"),
            Self::FlowAllowed { from, to, port } => format!("{from} may connect to {to}, port {port}"),
            Self::Says { address, fact, value } => format!("{address}: {fact} is {value}"),
            Self::Answer { question, .. } => format!("the question is answered: {question}"),
        }
    }

    /// Whether the node has to be asked.
    fn is_on_the_node(&self) -> bool {
        match self {
            Self::PlanEmpty
            | Self::GuestExists { .. }
            | Self::GuestAbsent { .. }
            | Self::ServiceAnswers { .. }
            | Self::CertificateRenewed { .. } => true,
            Self::Validates
            | Self::NameLeadsTo { .. }
            | Self::FlowAllowed { .. }
            | Self::Says { .. }
            | Self::Answer { .. } => false,
        }
    }

    /// Whether any of them asks the node.
    pub(crate) fn need_the_node(goals: &[Self]) -> bool {
        goals.iter().any(Self::is_on_the_node)
    }
}

/// The serial numbers of the certificates that the site's guests have, by name.
pub(crate) fn certificates(site: &Site) -> BTreeMap<String, String> {
    let all = site.desired.certificates.values();
    all.filter_map(|one| Some((one.name.clone(), serial(&site.mark_of(one)?)))).collect()
}

/// What tells a certificate from the one before: a mark that is short of room has no serial number.
fn serial(mark: &CertificateMark) -> String {
    format!("{} from {}", mark.serial, mark.begin)
}

/// The first of a blueprint's errors, or what else keeps it from being used.
fn first(error: &Error) -> String {
    let diagnostics = error.invalid.iter().flat_map(|invalid| &invalid.failure.diagnostics);
    let mut errors = diagnostics.filter(|one| one.severity == blueprint::Severity::Error);
    errors.next().map_or_else(|| error.to_string(), |one| format!("{}: {}", one.code, one.message))
}

/// Judges all goals of an exercise. `wanted` is what its blueprint wants, or what is wrong with it; `site` is there where a goal asks
/// the node and the blueprint is valid. `answer` was given just now.
///
/// # Errors
/// When what is there cannot be planned, or the authority cannot be used.
pub(crate) async fn judge(
    goals: &[Goal],
    record: &Record,
    wanted: Result<&Desired, &Error>,
    site: Option<&Site>,
    answer: Option<&str>,
) -> Result<Vec<Judged>, Error> {
    let plan = site.map(|site| site.plan(&[], false)).transpose()?;
    let mut all = Vec::new();
    for goal in goals {
        let found = match (goal, wanted, site.zip(plan.as_ref())) {
            (Goal::Validates, Ok(_), _) => Ok("it has no errors".to_owned()),
            (Goal::Validates, Err(error), _) => Err(first(error)),
            (Goal::Answer { right, .. }, ..) => answered(right, record, site, answer),
            (_, Err(_), _) => Err("the blueprint has errors: phoenix-cli validate shows them".to_owned()),
            (goal, Ok(_), Some((site, plan))) if goal.is_on_the_node() => {
                on_node(goal, record, site, plan).await?
            }
            (goal, Ok(desired), _) => on_paper(goal, desired),
        };
        let done = found.is_ok();
        all.push(Judged { text: goal.text(), done, why: found.unwrap_or_else(|why| why) });
    }
    Ok(all)
}

fn answered(right: &Right, record: &Record, site: Option<&Site>, answer: Option<&str>) -> Found {
    if record.answered {
        return Ok("the answer was right".to_owned());
    }
    let Some(answer) = answer.map(|word| word.trim().to_lowercase()) else {
        return Err("no answer yet: phoenix-cli learn check --answer WORD".to_owned());
    };
    let is_right = match right {
        Right::Sha256(hash) => hex(&answer) == *hash,
        Right::RootFingerprint => {
            let authority = site.and_then(|site| site.authority.as_ref());
            let facts = authority.and_then(|it| pki::CertificateFacts::parse(it.root_pem()).ok());
            let bare = |text: &str| text.replace(':', "").to_lowercase();
            facts.is_some_and(|facts| bare(&facts.fingerprint) == bare(&answer))
        }
    };
    if is_right { Ok("the answer is right".to_owned()) } else { Err(format!("`{answer}` is not the answer")) }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn on_paper(goal: &Goal, desired: &Desired) -> Found {
    match goal {
        Goal::NameLeadsTo { name, guest } => {
            let wanted = desired.guests.get(guest.as_str()).and_then(|guest| guest.address);
            match desired.names.get(name) {
                None => Err("nothing is called that yet".to_owned()),
                Some(address) if Some(*address) == wanted => Ok(format!("it is {address}")),
                Some(address) => Err(format!("it leads to {address}")),
            }
        }
        Goal::FlowAllowed { from, to, port } => {
            let is = |end: &End, name: &str| {
                end.guest().is_some_and(|guest| guest.as_str() == name)
                    || (*end == End::Inside && desired.guests.contains_key(name))
            };
            let allowed = |flow: &&plan::desired::Flow| {
                is(&flow.from, from) && is(&flow.to, to) && flow.ports.contains(port)
            };
            let flow = desired.flows.iter().find(allowed);
            flow.map(|flow| format!("the flow {}: {}", flow.id, flow.reason))
                .ok_or("no flow allows it".to_owned())
        }
        Goal::Says { address, fact, value } => {
            let facts = address
                .parse::<Address>()
                .ok()
                .and_then(|address| managers::manager_of(address.kind())?.facts(&address, desired));
            let Some(facts) = facts else { return Err("the site has no such resource".to_owned()) };
            match facts.get(fact) {
                None => Err(format!("nothing is said of its {fact}")),
                Some(there) => {
                    let there = there.as_str().map_or_else(|| there.to_string(), str::to_owned);
                    if there == *value { Ok(format!("it is {there}")) } else { Err(format!("it is {there}")) }
                }
            }
        }
        _ => Err("the node was not asked".to_owned()),
    }
}

async fn on_node(goal: &Goal, record: &Record, site: &Site, plan: &Plan) -> Result<Found, Error> {
    let on_node = |name: &str| {
        let mut own = site.inventory.of_site(&site.desired.site);
        own.find(|guest| guest.mark.as_ref().is_some_and(|mark| mark.address.name() == name))
    };
    Ok(match goal {
        Goal::PlanEmpty => left(plan),
        Goal::GuestExists { guest } => match (site.desired.guests.get(guest.as_str()), on_node(guest)) {
            (None, _) => Err("the blueprint does not declare it".to_owned()),
            (_, None) => Err("it is not there yet: phoenix-cli up".to_owned()),
            (_, Some(there)) if !there.running => {
                Err(format!("it is there as {}, and does not run", there.id))
            }
            (_, Some(there)) => Ok(format!("it runs as {}", there.id)),
        },
        Goal::GuestAbsent { guest } => match (site.desired.guests.get(guest.as_str()), on_node(guest)) {
            (Some(_), _) => Err("the blueprint declares it".to_owned()),
            (_, Some(there)) => Err(format!("it is still there as {}", there.id)),
            (None, None) => Ok("neither the blueprint nor the node has it".to_owned()),
        },
        Goal::ServiceAnswers { service } => match site.desired.services.get(service) {
            None => Err("the blueprint does not declare it".to_owned()),
            Some(service) => answers(service, site, plan).await?,
        },
        Goal::CertificateRenewed { certificate } => match site.desired.certificates.get(certificate) {
            None => Err("the site has no such certificate".to_owned()),
            Some(one) if one.issuer == Issuer::Acme => Err("a public authority signs it".to_owned()),
            Some(one) => match (site.mark_of(one), record.certificates.get(certificate)) {
                (None, _) => Err("it is not there yet: phoenix-cli up".to_owned()),
                (Some(mark), Some(before)) if serial(&mark) == *before => {
                    Err(format!("it is still the one with the serial number {}", mark.serial))
                }
                (Some(mark), _) => Ok(format!("its serial number is {}", mark.serial)),
            },
        },
        other => on_paper(other, &site.desired),
    })
}

/// What an apply would still do.
fn left(plan: &Plan) -> Found {
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.address.as_str()).collect();
    match (plan.problems.first(), steps.as_slice()) {
        (Some(problem), _) => Err(format!("{}: {}", problem.address, problem.message)),
        (None, []) => Ok("the plan is empty".to_owned()),
        (None, [one]) => Err(format!("1 step waits: {one}")),
        (None, [one, two, ..]) => Err(format!("{} steps wait: {one}, {two}{}", steps.len(), more(&steps))),
    }
}

fn more(steps: &[&str]) -> &'static str {
    if steps.len() > 2 { ", …" } else { "" }
}

async fn answers(service: &Service, site: &Site, plan: &Plan) -> Result<Found, Error> {
    let address = service.resource();
    if plan.steps.iter().any(|step| step.address == address) {
        return Ok(Err("it is not applied yet: phoenix-cli up".to_owned()));
    }
    Ok(match site.prober()?.probe(service).await {
        Ok(said) => Ok(format!("{} {said}", service.url())),
        Err(failure) => Err(failure.errors.join(": ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new("one")
    }

    #[tokio::test]
    async fn an_answer_is_right_however_it_is_written_and_stays_so() {
        let right = Right::Sha256(hex("notes"));
        let goal = [Goal::Answer { question: "which?".into(), right }];
        let desired = Desired::default();
        let ask = async |record: &Record, answer| {
            judge(&goal, record, Ok(&desired), None, answer).await.unwrap().remove(0)
        };
        assert!(ask(&record(), Some(" Notes ")).await.done);
        let wrong = ask(&record(), Some("gateway")).await;
        assert!(!wrong.done && wrong.why.contains("`gateway`"), "{wrong:?}");
        assert!(ask(&record(), None).await.why.contains("--answer"));
        assert!(ask(&Record { answered: true, ..record() }, None).await.done);
    }

    #[tokio::test]
    async fn of_a_blueprint_with_errors_the_first_is_told() {
        let error = Error::usage("blueprint::wiring", "container.a: no");
        let goals = [Goal::Validates, Goal::PlanEmpty];
        let judged = judge(&goals, &record(), Err(&error), None, None).await.unwrap();
        assert!(judged.iter().all(|it| !it.done));
        assert_eq!(judged[0].why, "container.a: no");
        assert!(judged[1].why.contains("phoenix-cli validate"));
    }
}
