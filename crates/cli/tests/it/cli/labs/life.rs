//! The life of a site through the real binary, in the simulated lab.

use serde_json::Value;

use super::{Lab, Said, TestEnv, processes};

fn addresses(plan: &Value) -> Vec<&str> {
    plan["steps"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap()).collect()
}

#[test]
fn a_whole_life() {
    let lab = Lab::up();
    // The lab says what it is.
    let status = lab.run(&["lab", "status"]).ended(0);
    assert!(status.out.contains("simulated"), "{status:#?}");
    lab.run(&["lab", "status", "--json"]).ended(0).json();

    // Changes wait.
    let plan = lab.run(&["plan", "--detailed-exitcode", "--json"]).ended(3).json();
    assert_eq!((&plan["version"], &plan["site"]), (&1.into(), &"workshop".into()));
    assert_eq!(plan["summary"]["actions"]["create"], 5, "{}", plan["summary"]);
    for step in plan["steps"].as_array().unwrap() {
        for key in ["address", "action", "grade", "reasons", "changes", "needs"] {
            assert!(!step[key].is_null(), "{key} of {step}");
        }
    }
    let shown = lab.run(&["plan"]).ended(0);
    assert!(shown.out.contains("+ container.gateway") && shown.out.contains("simulated"), "{shown:#?}");
    a_plan_is_short_and_says_at_the_end_what_it_comes_to(&lab, &shown.out);
    assert!(shown.err.contains("phoenix-cli up"), "{shown:#?}");

    // Kept, carried out, and carried out again, which no longer fits.
    let kept = lab.run(&["plan", "--out", "first.plan"]).ended(0);
    assert!(kept.err.contains("apply first.plan"), "{kept:#?}");
    assert_eq!(addresses(&plan), addresses(&serde_json::from_str(&lab.env.read("first.plan")).unwrap()));
    let applied = lab.run(&["apply", "first.plan"]).ended(0);
    assert!(applied.err.contains("done: "), "{applied:#?}");
    assert!(applied.out.is_empty(), "talk is on standard error: {applied:#?}");
    let stale = lab.run(&["apply", "first.plan", "--json"]).ended(1);
    stale.error("plan::stale", "plan --out");

    // P-79: nothing is left to do.
    let nothing = lab.run(&["plan", "--detailed-exitcode", "--json"]).ended(0).json();
    assert!(addresses(&nothing).is_empty(), "{nothing}");
    let again = lab.run(&["apply"]).ended(0);
    assert!(again.err.contains("nothing to do"), "{again:#?}");
    let again = lab.run(&["apply", "--json"]).ended(0).json();
    assert!(addresses(&again).is_empty());

    a_plan_says_what_it_trusts(&lab);

    // What is there.
    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert_eq!((&status["simulated"], &status["waiting_steps"]), (&true.into(), &0.into()));
    let states: Vec<&Value> = status["containers"].as_array().unwrap().iter().map(|c| &c["state"]).collect();
    assert_eq!(states, ["running", "running", "running"]);
    let certs = lab.run(&["certs", "--json"]).ended(0).json();
    for certificate in certs["certificates"].as_array().unwrap() {
        assert_eq!(certificate["state"], "good", "{certificate}");
        assert!(certificate["days_left"].as_i64().unwrap() > 30, "{certificate}");
    }
    assert_eq!(certs["certificates"].as_array().unwrap().len(), 2);
    let doctor = lab.run(&["doctor", "--json"]).ended(0).json();
    assert_eq!(doctor["ok"], true, "{doctor:#}");
    let said = lab.run(&["exec", "notes", "--", "echo", "a b"]).ended(0);
    assert_eq!(said.out, "a b\n");
    lab.run(&["exec", "notes", "--", "false"]).ended(1);
    let no_shell = lab.run(&["shell", "notes", "--json"]).ended(1);
    no_shell.error("lab::simulated", "lab");

    // Earlier runs.
    let history = lab.run(&["history", "--json"]).ended(0).json();
    let runs = history["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "a run that has nothing to do is none: {history:#}");
    assert_eq!((&runs[0]["outcome"], &runs[0]["command"]), (&"done".into(), &"apply first.plan".into()));
    let one = lab.run(&["history", runs[0]["run"].as_str().unwrap()]).ended(0);
    assert!(one.out.contains("run finished"), "{one:#?}");

    // A change of one container alone.
    lab.env.edit("guests.json", "\"id\": 120,", "\"id\": 120, \"memory\": \"1G\",");
    lab.env.edit("guests.json", "\"id\": 121,", "\"id\": 121, \"memory\": \"1G\",");
    let plan = lab.run(&["plan", "--json", "--target", "notes"]).ended(0).json();
    assert!(addresses(&plan).contains(&"container.notes") && !addresses(&plan).contains(&"container.status"));
    lab.run(&["apply", "--target", "container.notes"]).ended(0);
    let plan = lab.run(&["plan", "--json"]).ended(0).json();
    assert!(!addresses(&plan).contains(&"container.notes"), "{:?}", addresses(&plan));
    assert!(addresses(&plan).contains(&"container.status"));
    lab.run(&["plan", "--target", "nope", "--json"])
        .ended(2)
        .error("plan::no-such-target", "phoenix-cli graph");
    lab.run(&["plan", "--target", "ntes", "--json"]).ended(2).error("plan::no-such-target", "`notes`");
    lab.run(&["plan", "--exclude", "nope", "--json"])
        .ended(2)
        .error("plan::no-such-target", "phoenix-cli graph");
    let rest = lab.run(&["plan", "--exclude", "status"]).ended(0);
    assert!(rest.err.contains("left out: container.status") && !rest.out.contains("status"), "{rest:#?}");
    lab.run(&["up", "--json"]).ended(4).error("consent::nobody-to-ask", "--yes");
    lab.run(&["up", "--yes"]).ended(0);

    a_restart_is_put_off(&lab);
    a_feature_goes(&lab);
    a_container_goes(&lab);
    all_of_it_goes(&lab);
}

/// T-16: what takes a restart is written and waits; the run says for whom, `status` shows it, and the command that was told does
/// it.
fn a_restart_is_put_off(lab: &Lab) {
    lab.env.edit("guests.json", "\"id\": 121,", "\"id\": 121, \"search-domains\": [\"example.org\"],");
    let put_off = lab.run(&["apply", "--no-restart"]).ended(0);
    let waits = "status waits for a restart (searchdomain applies at a restart): phoenix-cli";
    assert!(put_off.err.contains(waits) && put_off.err.contains("apply --target status"), "{put_off:#?}");
    let again = lab.run(&["up", "--yes", "--no-restart"]).ended(0);
    assert!(again.err.contains("nothing to do") && again.err.contains(waits), "{again:#?}");
    let plan = lab.run(&["plan", "--no-restart", "--detailed-exitcode", "--json"]).ended(0).json();
    assert!(addresses(&plan).is_empty() && plan["postponed"][0]["address"] == "restart.status", "{plan}");
    let status = lab.run(&["status", "--json"]).ended(0).json();
    let pending: Vec<&Value> =
        status["containers"].as_array().unwrap().iter().map(|it| &it["pending"]).collect();
    assert!(pending.contains(&&serde_json::json!(["searchdomain"])), "{status:#}");
    let shown = lab.run(&["status"]).ended(0);
    assert!(shown.out.contains("running, waits for a restart: searchdomain"), "{shown:#?}");
    let shown = lab.run(&["plan"]).ended(0);
    let lines: Vec<&str> = shown.out.lines().filter(|line| line.starts_with("^ container.status")).collect();
    assert!(
        matches!(*lines, [line] if line.ends_with("restart: searchdomain applies at a restart")),
        "{shown:#?}"
    );
    assert!(shown.out.contains("restarts status"), "{shown:#?}");
    lab.run(&["plan", "--target", "restart.status"]).ended(0);
    lab.run(&["apply", "--target", "status"]).ended(0);
    let plan = lab.run(&["plan", "--json"]).ended(0).json();
    assert!(addresses(&plan).is_empty(), "{plan}");
}

/// By guest, each in a few lines; the counts last; every step with `--full`.
fn a_plan_is_short_and_says_at_the_end_what_it_comes_to(lab: &Lab, short: &str) {
    let lines: Vec<&str> = short.lines().collect();
    let guests: Vec<&&str> = lines.iter().filter(|line| line.starts_with("+ container.")).collect();
    assert_eq!(guests.len(), 3, "{short}");
    assert!(guests[0].contains("create 101 · 10.0.0.153/24 · 1 core"), "{short}");
    let last = lines.last().unwrap();
    assert!(last.starts_with("16 steps: 5 to create, 11 to run"), "{short}");
    assert!(lines.len() < 25, "{short}");
    let full = lab.run(&["plan", "--full"]).ended(0).out;
    assert!(full.lines().last().unwrap().starts_with("16 steps: "), "{full}");
    for part in ["+ feature.static-site@container.notes", "package", "/etc/nginx/", "unit"] {
        assert!(full.contains(part), "no {part}: {full}");
    }
    assert!(!full.contains("fingerprint") && !short.contains("fingerprint"), "{full}");
    let asked = lab.run(&["plan", "--diff"]).ended(0).out;
    assert!(asked.contains("nothing in its guests to compare with"), "{asked}");
}

/// What is inside guests is taken on trust until somebody looks, and a plan says so.
fn a_plan_says_what_it_trusts(lab: &Lab) {
    let plan = lab.run(&["plan"]).ended(0);
    let trust = "what is inside guests was not looked at (never from this folder); to look: phoenix-cli";
    assert!(plan.err.contains(trust), "{plan:#?}");
    let drift = lab.run(&["drift", "--detailed-exitcode"]).ended(0);
    assert!(drift.out.contains("nothing to do") && drift.err.contains("looked into 3 guests"), "{drift:#?}");
    let plan = lab.run(&["plan"]).ended(0);
    assert!(plan.err.contains("was not looked at (last at 20"), "{plan:#?}");
    let deep = lab.run(&["plan", "--deep", "--json"]).ended(0).json();
    assert!(addresses(&deep).is_empty() && deep["inside"]["looked"] == 3, "{deep:#}");
    let plan = lab.run(&["plan", "--json"]).ended(0).json();
    assert!(plan["inside"]["looked"].is_null() && plan["inside"]["last"].is_string(), "{plan:#}");
    // Nothing answers in a simulated lab, and that is said rather than taken for an answer.
    let apply = lab.run(&["apply"]).ended(0);
    assert!(apply.err.contains("services were not asked: the lab is simulated"), "{apply:#?}");
    assert!(!lab.run(&["apply", "--no-probe"]).ended(0).err.contains("services were not asked"));
    lab.run(&["drift", "--target", "nope", "--json"])
        .ended(2)
        .error("plan::no-such-target", "phoenix-cli graph");
}

/// What went from the blueprint is still there, and can be named.
fn a_feature_goes(lab: &Lab) {
    const GONE: &str = "feature.redis@container.notes";
    let unknown = || {
        let plan = lab.run(&["plan", "--target", GONE, "--json"]);
        plan.ended(2).error("plan::no-such-target", "phoenix-cli graph");
    };
    unknown();
    let with = r#""pages/notes/" } }, { "redis": { "password": { "generate": "redis" } } }]"#;
    let without = r#""pages/notes/" } }]"#;
    lab.env.edit("guests.json", without, with);
    lab.run(&["up", "--yes"]).ended(0);
    lab.env.edit("guests.json", with, without);
    let all = lab.run(&["plan", "--json"]).ended(0).json();
    assert!(addresses(&all).contains(&GONE), "{:?}", addresses(&all));
    let plan = lab.run(&["plan", "--target", GONE, "--json"]).ended(0).json();
    // After the proof of what is to go on without it.
    assert_eq!(addresses(&plan), ["service.notes", GONE]);
    let again = lab.run(&["plan", "--again", "--json"]).ended(0).json();
    assert!(addresses(&again).contains(&GONE) && addresses(&again).len() > 5, "{:?}", addresses(&again));
    let rest = lab.run(&["plan", "--exclude", GONE]).ended(0);
    assert!(rest.err.contains(&format!("left out: {GONE}")), "{rest:#?}");
    let wrong = "feature.rediss@container.notes";
    lab.run(&["plan", "--target", wrong, "--json"]).ended(2).error("plan::no-such-target", GONE);
    lab.run(&["up", "--yes", "--target", GONE]).ended(0);
    unknown();
    assert!(addresses(&lab.run(&["plan", "--json"]).ended(0).json()).is_empty());
}

fn a_container_goes(lab: &Lab) {
    let text = lab.env.read("guests.json");
    let begin = text.find("\"status\": {").unwrap();
    let less = format!("{}\n  }}\n}}\n", text[..begin].trim_end().trim_end_matches(','));
    lab.env.write("guests.json", less);
    let plan = lab.run(&["plan"]).ended(0);
    assert!(
        plan.out.contains("container.status") && plan.out.contains("--allow-destroy container.status"),
        "{plan:#?}"
    );
    let refused = lab.run(&["apply"]).ended(4);
    assert!(
        refused.err.contains("hint: ") && refused.err.contains("--allow-destroy container.status"),
        "{refused:#?}"
    );
    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert_eq!(status["extra"][0]["id"], 121, "{status:#}");
    lab.run(&["apply", "--allow-destroy", "container.other"]).ended(4);
    // A pattern is no consent: it is said what it would have meant.
    for pattern in ["*", "container.s*", "12?"] {
        lab.run(&["apply", "--allow-destroy", pattern, "--json"])
            .ended(2)
            .error("consent::pattern", "it would have meant: --allow-destroy container.status");
    }
    // With a change beside it: nothing at all is done without consent, and what is left out is said.
    lab.env.edit("guests.json", "\"id\": 120,", "\"id\": 120, \"cores\": 2,");
    let runs = || lab.run(&["history", "--json"]).ended(0).json()["runs"].as_array().unwrap().len();
    let before = runs();
    lab.run(&["apply", "--json"]).ended(4).error("consent::missing", "--exclude container.status");
    lab.run(&["up", "--yes", "--json"])
        .ended(4)
        .error("consent::missing", "--allow-destroy container.status");
    assert_eq!(runs(), before, "a run began");
    let rest = lab.run(&["apply", "--exclude", "container.status"]).ended(0);
    assert!(rest.err.contains("left out: container.status"), "{rest:#?}");
    let left = lab.run(&["plan", "--json"]).ended(0).json();
    assert_eq!(addresses(&left), ["container.status"]);
    lab.run(&["apply", "--allow-destroy", "container.status"]).ended(0);
    assert!(addresses(&lab.run(&["plan", "--json"]).ended(0).json()).is_empty());
}

fn all_of_it_goes(lab: &Lab) {
    let before = lab.run(&["destroy"]).ended(4);
    assert!(before.err.contains("destroy --confirm workshop"), "{before:#?}");
    lab.run(&["destroy", "--json"]).ended(4).error("consent::missing", "--confirm workshop");
    lab.run(&["destroy", "--confirm", "garage", "--json"])
        .ended(4)
        .error("consent::other-site", "--confirm workshop");
    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert_eq!(status["containers"][0]["state"], "running", "nothing was done without consent");
    lab.run(&["destroy", "--allow-destroy", "*", "--json"])
        .ended(2)
        .error("consent::pattern", "--allow-destroy container.gateway --allow-destroy container.notes");
    // One of them is protected: none goes, unless that one is left out by its name.
    lab.env.edit("guests.json", "\"id\": 120,", "\"id\": 120, \"protected\": true,");
    lab.run(&["up", "--yes"]).ended(0);
    lab.run(&["destroy", "--confirm", "workshop", "--json"])
        .ended(4)
        .error("consent::protected", "--exclude container.notes");
    let states = |lab: &Lab| -> Vec<String> {
        let status = lab.run(&["status", "--json"]).ended(0).json();
        let all = status["containers"].as_array().unwrap().iter();
        all.map(|c| c["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(lab), ["running", "running"], "something was touched");
    let rest = lab.run(&["destroy", "--confirm", "workshop", "--exclude", "notes"]).ended(0);
    assert!(rest.err.contains("left out: container.notes"), "{rest:#?}");
    assert_eq!(states(lab), ["not there", "running"]);
    lab.env.edit("guests.json", "\"protected\": true,", "\"protected\": false,");
    lab.run(&["up", "--yes"]).ended(0);
    lab.run(&["destroy", "--confirm", "workshop"]).ended(0);
    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert!(status["containers"].as_array().unwrap().iter().all(|c| c["state"] == "not there"), "{status:#}");
    lab.run(&["destroy", "--confirm", "workshop"]).ended(0);

    lab.run(&["lab", "down"]).ended(0);
    assert_eq!(processes(&lab.env.path()), Vec::<String>::new(), "a process was left");
    let again = lab.run(&["lab", "down"]).ended(0);
    assert!(again.err.contains("no lab"), "{again:#?}");
}

#[test]
fn a_plan_that_somebody_changed_or_another_sites_is_refused() {
    let lab = Lab::up();
    lab.run(&["plan"]).ended(0);
    let key = lab.env.path().join(".phoenix/secrets/site.key");
    assert!(!key.exists(), "who only looks makes no key");
    lab.run(&["plan", "--out", "mine.plan"]).ended(0);
    let mine = lab.env.read("mine.plan");
    // An update becomes a program of somebody else's; a consent that is needed is none; a code is taken away or made up.
    let mut changed: Value = serde_json::from_str(&mine).unwrap();
    changed["steps"][0]["action"] = "delete".into();
    let mut without: Value = serde_json::from_str(&mine).unwrap();
    without.as_object_mut().unwrap().remove("code");
    let mut made_up: Value = serde_json::from_str(&mine).unwrap();
    made_up["code"] = "0".repeat(32).into();
    for wrong in [changed, without, made_up] {
        lab.env.write("wrong.plan", wrong.to_string());
        let refused = lab.run(&["apply", "wrong.plan", "--json"]).ended(2);
        refused.error("plan::not-made-here", "plan --out");
    }
    let status = lab.run(&["status", "--json"]).ended(0).json();
    assert!(
        status["containers"].as_array().unwrap().iter().all(|c| c["state"] == "not there"),
        "nothing of it was done: {status:#}"
    );
    // However it is laid out, it is the same plan; under another key it is none.
    let laid_out = serde_json::from_str::<Value>(&mine).unwrap().to_string();
    lab.env.write("laid-out.plan", laid_out);
    lab.run(&["apply", "laid-out.plan"]).ended(0);
    lab.run(&["plan", "--destroy", "--out", "mine.plan"]).ended(0);
    let own = lab.env.read(".phoenix/secrets/site.key");
    std::fs::remove_file(&key).unwrap();
    lab.run(&["apply", "mine.plan", "--json"]).ended(2).error("plan::not-made-here", "plan --out");
    lab.run(&["plan", "--out", "mine.plan", "--json"]).ended(1).error("site::key-lost", "site.key");
    private(&key, &own);
    lab.run(&["plan", "--out", "mine.plan"]).ended(0);
    let text = lab.env.read("mine.plan").replacen("\"site\": \"workshop\"", "\"site\": \"garage\"", 1);
    lab.env.write("other.plan", text);
    lab.run(&["apply", "other.plan", "--json"]).ended(2).error("plan::other-site", "--site");
}

/// Writes a file that only its owner can read.
fn private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The blueprint says where the lab is published, and a lab that runs keeps its ports.
#[test]
fn the_labs_ports_are_the_blueprints() {
    let lab = Lab { env: TestEnv::site() };
    let port = super::free_port();
    lab.env.edit("site.json", "\"lab\": {}", &format!("\"lab\": {{ \"ports\": {{ \"api\": {port} }} }}"));
    let record = lab.run(&["lab", "up", "--simulated", "--json"]).ended(0).json();
    assert_eq!(record["endpoint"], format!("https://127.0.0.1:{port}"), "{record:#}");
    lab.env.edit("site.json", &format!("{{ \"ports\": {{ \"api\": {port} }} }}"), "{}");
    let record = lab.run(&["lab", "up", "--simulated", "--json"]).ended(0).json();
    assert_eq!(record["ports"]["api"], port, "{record:#}");
}

#[test]
fn the_lab_is_started_once_and_a_taken_port_is_said() {
    let lab = Lab::up();
    let record: Value = lab.run(&["lab", "up", "--simulated", "--json"]).ended(0).json();
    let endpoint = record["endpoint"].as_str().unwrap().to_owned();
    let port = endpoint.rsplit(':').next().unwrap();
    let other = TestEnv::site();
    let said: Said = other.run(&["lab", "up", "--simulated", "--api-port", port]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(
        said.err.contains(port) && said.err.contains("hint: ") && said.err.contains("--api-port"),
        "{said:#?}"
    );
}

/// How many nodes a lab has is the blueprint's, or was typed, and stays what it is: its guests are on them.
#[test]
fn a_lab_has_as_many_nodes_as_are_asked_for() {
    let lab = Lab { env: TestEnv::site() };
    let port = super::free_port().to_string();
    let up = ["lab", "up", "--simulated", "--json", "--api-port", port.as_str()];
    lab.env.edit("site.json", "\"lab\": {}", "\"lab\": { \"nodes\": 4 }");
    assert!(lab.run(&up).ended(2).out.contains("`nodes` cannot be 4"), "four are too many");
    lab.env.edit("site.json", "\"nodes\": 4", "\"nodes\": 2");
    let record = lab.run(&up).ended(0).json();
    assert_eq!((&record["node"], &record["others"]), (&"pve1".into(), &serde_json::json!(["pve2"])));
    assert!(lab.run(&["lab", "status"]).ended(0).out.contains("in one cluster with it: pve2"));
    lab.env.edit("site.json", "{ \"nodes\": 2 }", "{}");
    assert_eq!(lab.run(&up).ended(0).json()["others"], record["others"]);
    let refused = lab.run(&["lab", "up", "--simulated", "--nodes", "1"]).ended(1);
    assert!(refused.err.contains("lab up --nodes 2") && refused.err.contains("lab down"), "{refused:#?}");
}

// After an incident: what a guest has is made anew, or what signs it all, and nothing else is touched.
#[test]
fn what_was_given_out_is_made_anew() {
    let lab = Lab::up();
    lab.run(&["apply"]).ended(0);
    let serials = || -> Vec<Value> {
        let certs = lab.run(&["certs", "--json"]).ended(0).json();
        certs["certificates"].as_array().unwrap().iter().map(|row| row["serial"].clone()).collect()
    };
    let signs = || lab.env.read(".phoenix/secrets/authority/intermediate.key");
    let (first, key) = (serials(), signs());
    let rotated = lab.run(&["rotate", "gateway", "--yes"]).ended(0);
    assert!(rotated.err.contains("what gateway had is believed until it ends"), "{rotated:#?}");
    let second = serials();
    assert!(first.len() == 2 && first.iter().zip(&second).all(|(a, b)| a != b), "{first:?} {second:?}");
    assert_ne!(
        signs(),
        key,
        "what signs is another, so that what the gateway had can be told from what it has"
    );
    assert!(rotated.err.contains("proxies take none of it from clients after: phoenix-cli"), "{rotated:#?}");
    let key = signs();
    let rotated = lab.run(&["rotate", "intermediate", "--yes"]).ended(0);
    assert!(rotated.err.contains("whoever has that key can go on signing"), "{rotated:#?}");
    let third = serials();
    assert!(second.iter().zip(&third).all(|(a, b)| a != b), "{second:?} {third:?}");
    assert_ne!(signs(), key);
    // It is as it was wanted, and without consent nothing is done.
    lab.run(&["apply"]).ended(0);
    assert_eq!(serials(), third);
    lab.run(&["rotate", "notes", "--yes", "--json"]).ended(2).error("rotate::nothing", "phoenix-cli certs");
    lab.run(&["rotate", "nobody", "--yes", "--json"]).ended(2).error("plan::no-such-target", "graph");
    assert_ne!(lab.run(&["rotate", "gateway"]).code, 0);
    assert_eq!(serials(), third);
}
