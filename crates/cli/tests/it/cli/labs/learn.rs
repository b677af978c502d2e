//! The exercises of the learning centre, each as a person does it in a simulated lab; the commands that its page names among them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Said, TestEnv, processes};
use crate::typed::commands;

/// An exercise, and how a person does it.
struct Case {
    name: &'static str,
    page: &'static str,
    /// Which of its goals hold at the beginning.
    begins: &'static [bool],
    /// What is typed when the files of the solution are in place.
    typed: &'static [&'static [&'static str]],
}

const CASES: [Case; 9] = [
    Case {
        name: "second-guest",
        page: "hypervisor.md",
        begins: &[true, false, true, false, true],
        typed: &[&["plan"], &["up", "--yes"]],
    },
    Case {
        name: "by-hand",
        page: "infrastructure-as-code.md",
        begins: &[false, true, true, false],
        typed: &[&["learn", "check", "--answer", "768"], &["up", "--yes"]],
    },
    Case {
        name: "moving",
        page: "containers.md",
        begins: &[false, true, false, true],
        typed: &[&["plan"], &["apply", "--allow-destroy", "container.attic"]],
    },
    Case {
        name: "front-door",
        page: "reverse-proxy.md",
        begins: &[false, false, true, false, true],
        typed: &[&["plan"], &["up", "--yes"]],
    },
    Case {
        name: "stolen-key",
        page: "certificates.md",
        begins: &[false, false, true, true],
        typed: &[&["rotate", "gateway", "--yes"], &["apply"]],
    },
    Case {
        name: "second-name",
        page: "names.md",
        begins: &[false, true, false, true, true],
        typed: &[&["plan"], &["up", "--yes"]],
    },
    Case {
        name: "missing-flow",
        page: "firewalls.md",
        begins: &[false, true, true, true],
        typed: &[&["graph", "--flows"], &["up", "--yes"]],
    },
    Case {
        name: "first-pool",
        page: "zfs.md",
        begins: &[true, false, false, false, false],
        typed: &[&["validate"], &["explain", "dataset.tank/photos"]],
    },
    Case {
        name: "one-card",
        page: "gpus-and-models.md",
        begins: &[false, false, false],
        typed: &[&["validate"]],
    },
];

/// A person who learns, in a folder of their own. What they leave running ends with them.
struct Learner {
    env: TestEnv,
    folder: PathBuf,
}

impl Learner {
    fn new(exercise: &str) -> Self {
        let env = TestEnv::empty();
        let folder = env.path().join("phoenix-learn").join(exercise);
        Self { env, folder }
    }

    /// In the folder from which exercises are begun.
    fn run(&self, args: &[&str]) -> Said {
        self.env.run(args)
    }

    /// In the exercise's folder.
    fn there(&self, args: &[&str]) -> Said {
        let said = Said::of(&self.env.command(args).current_dir(&self.folder).output().unwrap());
        crate::secret::is_in_none(&self.folder, args, &[&said.out, &said.err]);
        said
    }

    /// The same as a line in a shell.
    fn typed(&self, line: &str) -> Said {
        let bin = self.env.folder.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_phoenix-cli"), bin.join("phoenix-cli"));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let plain = self.env.command(&[]);
        let mut shell = Command::new("bash");
        shell.args(["-c", line]).env_clear().current_dir(&self.folder);
        shell.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?)))).env("PATH", path);
        Said::of(&shell.stdin(std::process::Stdio::null()).output().unwrap())
    }

    /// Which goals hold, as `check` says, whose exit code says whether all do.
    fn goals(&self) -> Vec<bool> {
        let said = self.there(&["learn", "check", "--json"]);
        let json = said.json();
        let goals = json["goals"].as_array().unwrap();
        let held: Vec<bool> = goals.iter().map(|goal| goal["done"].as_bool().unwrap()).collect();
        assert!(goals.iter().all(|goal| !goal["why"].as_str().unwrap().is_empty()), "{json:#}");
        assert_eq!(json["done"], held.iter().all(|held| *held));
        assert_eq!(said.code, i32::from(json["done"] == false), "{json:#}");
        held
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        for case in &CASES {
            let _ = self.env.command(&["learn", "stop", case.name]).output();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let from = format!("{}/.", from.display());
    assert!(Command::new("cp").args(["-R", &from, to.to_str().unwrap()]).status().unwrap().success());
}

fn is_done(case: &Case) {
    let Case { name, page, begins, typed } = case;
    let learner = Learner::new(name);
    let begun = learner.run(&["learn", "start", name, "--simulated", "--json"]).ended(0).json();
    assert_eq!((&begun["simulated"], &begun["continued"]), (&true.into(), &false.into()));
    assert_eq!(begun["folder"], learner.folder.to_str().unwrap());
    assert_eq!(learner.goals(), *begins, "{name}, at the beginning");
    let shown = learner.there(&["learn", "check"]).ended(1);
    assert!(shown.out.contains("✘ ") && shown.err.contains("learn hint"), "{shown:#?}");

    let text = std::fs::read_to_string(format!("{}/../../docs/src/learn/{page}", env!("CARGO_MANIFEST_DIR")));
    let text = text.unwrap();
    // What comes after it is for the person to do.
    let (before, _) = text.split_once("\n## Exercise\n").unwrap();
    let all = commands(before);
    let lines: Vec<&String> = all.iter().filter(|line| !line.starts_with("phoenix-cli learn")).collect();
    assert!(lines.len() > 1, "{page} names no commands");
    for line in lines {
        let said = learner.typed(line);
        assert_eq!(said.code, 0, "{page}: {line}: {said:#?}");
    }
    assert_eq!(learner.goals(), *begins, "{page} does the exercise by itself");

    let hints: Vec<Said> = (0..4).map(|_| learner.there(&["learn", "hint"]).ended(0)).collect();
    assert!(hints[0].out.starts_with("hint 1 of ") && hints[1].out.starts_with("hint 2 of "), "{hints:#?}");
    assert!(
        hints[3].err.contains("these are all hints") && hints[3].out.starts_with("hint 1 of "),
        "{hints:#?}"
    );

    let solution = PathBuf::from(format!("{}/../../learn/{name}/solution", env!("CARGO_MANIFEST_DIR")));
    if solution.exists() {
        copy(&solution, &learner.folder);
    }
    for args in *typed {
        let said = learner.there(args);
        // An answer alone does not do an exercise.
        let code = i32::from(args[0] == "learn");
        assert_eq!(said.code, code, "{name}: {args:?}: {said:#?}");
    }
    if *name == "stolen-key" {
        let pem = learner.there(&["certs", "root"]).ended(0).out;
        let answer = pki::CertificateFacts::parse(&pem).unwrap().fingerprint;
        learner.there(&["learn", "check", "--answer", &answer]).ended(0);
    }
    let goals = learner.goals();
    assert!(
        goals.iter().all(|held| *held),
        "{name}, at the end: {:#}",
        learner.there(&["learn", "check"]).out
    );
    // It is known from everywhere.
    let listed = learner.run(&["learn", "--json"]).ended(0).json();
    let own = listed["exercises"].as_array().unwrap().iter().find(|one| one["name"] == *name).unwrap();
    assert!(own["done"].is_string() && own["current"] == true && own["hints"] == 3, "{own:#}");

    learner.run(&["learn", "stop", "--remove"]).ended(0);
    assert!(!learner.folder.exists() && !learner.env.path().join("phoenix-learn").exists());
    assert_eq!(processes(&learner.folder), Vec::<String>::new());
    let listed = learner.run(&["learn"]).ended(0).out;
    assert!(listed.contains(&format!("✔ {name} ")), "{listed}");
}

/// Their labs take real time, so they are done side by side.
#[test]
fn each_exercise_can_be_done() {
    std::thread::scope(|scope| {
        let all: Vec<_> = CASES.iter().map(|case| (case.name, scope.spawn(|| is_done(case)))).collect();
        let failed: Vec<&str> =
            all.into_iter().filter_map(|(name, it)| it.join().is_err().then_some(name)).collect();
        assert!(failed.is_empty(), "{failed:?} cannot be done");
    });
    let listed = TestEnv::empty().run(&["learn", "--json"]).ended(0).json();
    assert_eq!(listed["exercises"].as_array().unwrap().len(), CASES.len());
}

#[test]
fn what_cannot_be_begun_says_what_to_do() {
    let learner = Learner::new("first-pool");
    let start = |args: &[&str]| {
        learner.run(&[&["learn", "start", "first-pool", "--simulated", "--json"], args].concat())
    };
    learner
        .run(&["learn", "start", "frist-pool", "--json"])
        .ended(2)
        .error("learn::unknown", "did you mean `first-pool`?");
    for command in ["check", "hint", "stop"] {
        let said = learner.run(&["learn", command, "--json"]).ended(2);
        said.error("learn::not-begun", "phoenix-cli learn");
        learner
            .run(&["learn", command, "first-pool", "--json"])
            .ended(2)
            .error("learn::not-begun", "start first-pool");
    }
    // A folder with other things is left as it is.
    learner.env.write("mine/diary.txt", "private");
    start(&["--dir", "mine"]).ended(2).error("learn::folder", "--dir");
    assert_eq!(std::fs::read_dir(learner.env.path().join("mine")).unwrap().count(), 1);
    assert!(!learner.folder.exists(), "something was made");

    start(&[]).ended(0);
    learner.env.write("phoenix-learn/first-pool/mine.json", "{}");
    // Once more: it goes on with what is there, from wherever it is typed.
    let again = learner.there(&["learn", "start", "first-pool", "--json"]).ended(0).json();
    assert_eq!(
        (&again["continued"], &again["folder"]),
        (&true.into(), &learner.folder.to_str().unwrap().into())
    );
    assert!(learner.folder.join("mine.json").exists());
    start(&["--dir", "elsewhere"]).ended(2).error("learn::elsewhere", "learn stop first-pool");
    // Another exercise has a lab of its own beside it.
    learner.run(&["learn", "start", "one-card", "--simulated"]).ended(0);
    learner
        .run(&["learn", "check", "--answer", "x", "--json"])
        .ended(2)
        .error("learn::no-question", "learn check");
    // Which is meant follows from the folder, and else from what was done last.
    let of = |said: Said| said.json()["exercise"].clone();
    assert_eq!(of(learner.run(&["learn", "check", "--json"])), "one-card");
    assert_eq!(of(learner.there(&["learn", "check", "--json"])), "first-pool");
    assert_eq!(of(learner.run(&["learn", "check", "one-card", "--json"])), "one-card");
    learner.run(&["learn", "stop", "one-card", "--remove"]).ended(0);
    // Without consent the folder stays, and the exercise goes on from it, as it was begun.
    let kept = learner.there(&["learn", "stop"]).ended(0);
    assert!(kept.err.contains("is still there") && learner.folder.join("mine.json").exists(), "{kept:#?}");
    assert_eq!(processes(&learner.folder), Vec::<String>::new());
    let again = learner.there(&["learn", "start", "first-pool", "--json"]).ended(0).json();
    assert_eq!((&again["continued"], &again["simulated"]), (&true.into(), &true.into()));
}

/// Killed while the scene was set, and its lab killed afterwards: the same command goes on each time.
#[test]
fn killed_and_begun_again() {
    let learner = Learner::new("second-guest");
    let start = ["learn", "start", "second-guest", "--simulated"];
    let mut child = learner.env.command(&start).spawn().unwrap();
    let (record, begun) = (learner.folder.join(".phoenix/runs"), Instant::now());
    while !record.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was applied");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    learner
        .there(&["learn", "check", "--json"])
        .ended(2)
        .error("learn::not-ready", "learn start second-guest");
    let again = learner.run(&[&start[..], &["--json"]].concat()).ended(0).json();
    assert_eq!(again["continued"], false);
    assert_eq!(learner.goals(), [true, false, true, false, true]);

    let pids: Vec<String> =
        processes(&learner.folder).iter().map(|it| it.split(':').next().unwrap().to_owned()).collect();
    assert!(!pids.is_empty());
    assert!(Command::new("kill").arg("-9").args(&pids).status().unwrap().success());
    let begun = Instant::now();
    while !processes(&learner.folder).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the lab runs on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = learner.there(&["learn", "check", "--json"]).ended(1);
    let json: Value = said.json();
    assert_eq!(json["error"]["code"], "lab::not-running", "{json:#}");
    assert!(json["error"]["hint"].as_str().unwrap().contains("learn start second-guest"), "{json:#}");
    learner.run(&start).ended(0);
    // As after a power cut: what is there does not run.
    assert_eq!(learner.goals(), [true, false, false, false, false]);
    learner.there(&["apply"]).ended(0);
    assert_eq!(learner.goals(), [true, false, true, false, true]);
    learner.run(&["learn", "stop", "--remove"]).ended(0);
    assert_eq!(processes(&learner.folder), Vec::<String>::new());
}
