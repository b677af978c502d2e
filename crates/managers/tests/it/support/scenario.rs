//! A scenario: what is wanted, what is there, and the plan that follows, as one text file.
//!
//! ```text
//! A sentence that says what it shows, and the numbers of the failures it makes impossible.
//!
//! === guests.json            a file of the blueprint; `=== FILE` for each. There is a site.json unless one is given
//! === before guests.json     the same file as it was applied last; as now where absent. `(none)`: it was not there
//! === world                  what happened since, a line each (`happened.rs` of the crate `scenarios`)
//! === options                `target PATTERN`, `destroy`, `restart-node`, `now TIME`, `root-changed`, `root-stage N` (of another root, 1 to 3)
//! === plan                   the expected text. Or:
//! === error                  what is wrong with the blueprint
//! === json                   the expected public JSON, where it matters
//! === work                   what crews are told, where it matters: the calls' parameters, to the letter
//! ```
//!
//! `PHOENIX_BLESS=1` writes what is expected.
//!
//! What is there is a simulated node: what was applied last really was, by the foreman and the crews, what happened since
//! was done to it, and the plan is made of what is seen there. Then it is carried out, and nothing may be left to do.

use std::collections::BTreeMap;

use plan::{Inventory, Options, Plan};
use scenarios::there::Ground;
use scenarios::{Site, There, virtually};
use serde_json::Value;

use super::{Files, SITE, check_order, now, plain, plan_of, site_of};

/// A scenario's sections, by the word or file that names them.
type Sections = Vec<(String, String)>;

fn sections(text: &str) -> (String, Sections) {
    let mut head = String::new();
    let mut all = Sections::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            all.push((name.trim().to_owned(), String::new()));
        } else {
            let part = all.last_mut().map_or(&mut head, |(_, body)| body);
            part.push_str(line);
            part.push('\n');
        }
    }
    (head, all)
}

const EXPECTED: [&str; 4] = ["plan", "error", "json", "work"];

/// Runs the scenario in `text`. The text with what is expected put in as it is.
pub fn run(text: &str) -> String {
    let (head, all) = sections(text);
    assert!(head.trim().len() > 20, "a scenario begins with a sentence that says what it shows");
    let (mut files, mut before) = (Files::new(), BTreeMap::new());
    files.insert("site.json".into(), SITE.into());
    let (mut world_lines, mut option_lines) = (Vec::new(), Vec::new());
    for (name, body) in &all {
        match name.as_str() {
            "world" => world_lines = lines(body),
            "options" => option_lines = lines(body),
            name if EXPECTED.contains(&name) => {}
            name => match name.strip_prefix("before ") {
                Some(name) => drop(before.insert(name.to_owned(), body.clone())),
                None => drop(files.insert(name.into(), body.clone().into())),
            },
        }
    }
    let mut files_before = files.clone();
    for (name, body) in before {
        if body.trim() == "(none)" {
            files_before.remove(camino::Utf8Path::new(&name));
        } else {
            files_before.insert(name.into(), body.into());
        }
    }
    let mut options = plain(now());
    let mut folder = None;
    let (mut authority, mut authority_before) = (scenarios::authority(), scenarios::authority());
    for line in option_lines {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("target", pattern) => options.targets.push(pattern.to_owned()),
            ("destroy", "") => options.destroy = true,
            ("restart-node", "") => options.restart_node = true,
            ("now", time) => {
                options.now = time.parse().unwrap();
                let (kept, apart) = scenarios::authority_apart();
                (authority_before, authority) = (apart.clone(), apart);
                folder = Some(kept);
            }
            ("root-stage", number) => {
                let (stages, number) = (scenarios::stages(), number.parse::<usize>().unwrap());
                (authority_before, authority) = (stages[number - 1].clone(), stages[number].clone());
            }
            ("root-changed", "") => authority_before = scenarios::other_authority(),
            _ => panic!("what does `{line}` mean?"),
        }
    }
    let with = |wanted: &str| all.iter().any(|(name, _)| name == wanted);
    let found = match site_of(&files, authority) {
        Err(error) => vec![("error", error)],
        Ok(wanted) => {
            let then = site_of(&files_before, authority_before).expect("what was applied was sound");
            let plan = virtually(planned(&wanted, &then, &world_lines, &options));
            let mut found = vec![("plan", shown(&plan))];
            if with("json") {
                let json = serde_json::to_string_pretty(&plan.public_json()).unwrap();
                found.push(("json", without_fingerprints(&format!("{json}\n"))));
            }
            if with("work") {
                found.push(("work", work(&plan)));
            }
            found
        }
    };
    drop(folder);
    let kept = all.iter().filter(|(name, _)| !EXPECTED.contains(&name.as_str()));
    let kept = kept.map(|(name, body)| (name.as_str(), body.trim_end().to_owned()));
    let new = found.iter().map(|(name, body)| (*name, body.trim_end().to_owned()));
    let mut out = format!("{}\n", head.trim_end());
    for (name, body) in kept.chain(new) {
        out.push_str(&format!("\n=== {name}\n{body}\n"));
    }
    out
}

fn lines(body: &str) -> Vec<&str> {
    body.lines().map(str::trim).filter(|l| !l.is_empty()).collect()
}

/// The plan for what is there after `then` was applied and these lines happened.
async fn planned(wanted: &Site, then: &Site, lines: &[&str], options: &Options) -> Plan {
    let own = then.desired.hypervisor.iter().map(|node| &node.certificate);
    let life = then.desired.certificates.values().chain(own).next().map_or(0, |c| c.life.as_secs());
    let mut there = There::new(Ground::of(&then.desired).with(lines)).await;
    // Nothing has to be applied on what is emptied before anything else happens.
    if lines.first() != Some(&"empty") {
        there.apply(then).await;
    }
    for line in lines {
        let happened = there.change(line, i64::try_from(life).unwrap()).await;
        happened.unwrap_or_else(|why| panic!("`{line}` cannot happen: {why}"));
    }
    let seen = there.look_for(&wanted.desired).await;
    let plan = checked(wanted, &seen, options);
    let _at = scenarios::at(options.now);
    settles(wanted).await;
    arrives(wanted, &mut there, options, &plan).await;
    plan
}

/// The plan, and what holds for every plan.
fn checked(wanted: &Site, seen: &Inventory, options: &Options) -> Plan {
    let plan = plan_of(&wanted.desired, seen, options);
    // The same twice, to the last byte (I-2).
    let again = serde_json::to_string(&plan_of(&wanted.desired, seen, options)).unwrap();
    assert_eq!(serde_json::to_string(&plan).unwrap(), again, "planning twice gave two plans");
    check_order(&plan);
    // A plan in a file is the same plan.
    let read: Plan = serde_json::from_str(&again).unwrap();
    assert_eq!(read, plan);
    plan
}

/// Where everything was applied there is nothing to do (T-7, T-13).
pub async fn settles(wanted: &Site) {
    // One that was another is not made from nothing.
    if wanted.desired.guests.values().any(|guest| guest.was.is_some()) {
        return;
    }
    let there = There::applied(wanted).await;
    let plan = plan_of(&wanted.desired, &there.look_for(&wanted.desired).await, &plain(scenarios::now()));
    assert!(
        plan.steps.is_empty() && plan.problems.is_empty(),
        "there is still something to do:\n{}",
        shown(&plan)
    );
}

/// After the plan was carried out there is nothing to do but what was refused (T-7, T-13).
pub async fn arrives(wanted: &Site, there: &mut There, options: &Options, plan: &Plan) {
    // With a problem nothing is carried out at all.
    if !plan.problems.is_empty() {
        return;
    }
    // Whoever waited for somebody else's task plans again, as every run does.
    let again = plan_of(&wanted.desired, &there.look_settled(&wanted.desired).await, options);
    assert_eq!(shown(&again), shown(plan), "it is another plan once nothing works on the guests");
    let refused = there.carry_out(wanted, &again).await;
    let rest = plan_of(&wanted.desired, &there.look_for(&wanted.desired).await, options);
    assert_eq!(rest.problems, [], "problems after, and none before");
    let left = rest.steps.iter().find(|s| !refused.contains(&s.address));
    assert!(left.is_none(), "it does not arrive; what is left:\n{}", shown(&rest));
}

/// As a person sees it.
pub fn shown(plan: &Plan) -> String {
    without_fingerprints(&plan::render::text(plan, "pve1", "phoenix-cli", &|_, text| text.to_owned()))
}

/// What the crews are told, step by step. What a feature renders to is in tests of its own.
fn work(plan: &Plan) -> String {
    let steps = plan.steps.iter().map(|step| {
        let mut work = step.work.clone();
        leave_out(&mut work);
        format!("{} {}\n", step.address, serde_json::to_string_pretty(&work).unwrap())
    });
    without_fingerprints(&steps.collect::<String>())
}

/// Puts a word in place of everything that was rendered, and of certificates.
fn leave_out(value: &mut Value) {
    match value {
        Value::Object(all) => {
            for (key, value) in all.iter_mut() {
                match (key.as_str(), &value) {
                    ("payload", Value::Object(_)) => *value = "(rendered)".into(),
                    _ => leave_out(value),
                }
            }
        }
        Value::Array(all) => match all.as_slice() {
            // A parameter of a call, in one line.
            [Value::String(key), Value::String(text)] => *value = format!("{key} = {text}").into(),
            _ => all.iter_mut().for_each(leave_out),
        },
        Value::String(text) if text.starts_with("-----BEGIN") => *text = "(PEM)".into(),
        _ => {}
    }
}

/// Fingerprints change with every word of a feature; that they are there is what matters.
fn without_fingerprints(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    let flush = |run: &mut String, out: &mut String| {
        let is_one = matches!(run.len(), 12 | 16 | 40) && run.bytes().all(|b| b.is_ascii_hexdigit());
        out.push_str(if is_one { "#fingerprint#" } else { run });
        run.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}
