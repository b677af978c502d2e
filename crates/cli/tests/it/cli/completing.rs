//! Completions, as a real bash on a terminal makes them of the script that `completions` prints.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::TestEnv;

/// What each typed line has become, word by word. A tab completes; `\x1b*` is all that could be there.
fn typed(env: &TestEnv, lines: &[&str]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let script = env.run(&["completions", "bash"]).ended(0).out;
    let settings = "PS1='$ '; bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; \
                    bind 'set completion-query-items 0'; show() { printf '\\ngot:'; printf ' %s' \"$@\"; echo; }\n";
    std::fs::write(home.path().join("rc"), format!("{settings}{script}")).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_phoenix-cli")).parent().unwrap().to_owned();
    let path = std::env::join_paths(
        [binaries].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let shell = format!("stty cols 1000; exec bash --noprofile --rcfile {}/rc -i", home.path().display());
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &shell, "/dev/null"])
        .current_dir(env.path())
        .envs([("TERM", "dumb"), ("INPUTRC", "/dev/null")])
        .env("HOME", home.path())
        .env("PATH", path.unwrap())
        .env_remove("PHOENIX_SITE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut keys = child.stdin.take().unwrap();
    for line in lines {
        // What the line has become is shown, and not run.
        writeln!(keys, "{line}\x01show ").unwrap();
    }
    writeln!(keys, "exit").unwrap();
    let (done, limit) =
        (std::thread::spawn(move || child.wait_with_output().unwrap()), Duration::from_secs(60));
    let begun = Instant::now();
    while !done.is_finished() {
        assert!(begun.elapsed() < limit, "the shell has not ended within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let out = String::from_utf8_lossy(&done.join().unwrap().stdout).replace('\r', "");
    let got = out
        .lines()
        .filter_map(|line| line.strip_prefix("got: phoenix-cli "))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert_eq!(got.len(), lines.len(), "{out}");
    got
}

#[test]
fn names_of_the_site_are_completed_in_a_real_bash() {
    let env = TestEnv::site();
    let lines = [
        // The beginning of a name, in each sort of place.
        "phoenix-cli exec no\t",
        "phoenix-cli plan --target container.no\t",
        "phoenix-cli plan --target=container.no\t",
        "phoenix-cli up --exclude service.no\t",
        "phoenix-cli trace notes --from ou\t",
        // Bash takes what is behind an `@` for a word of its own.
        "phoenix-cli explain feature.static-site@container.no\t",
        "phoenix-cli explain feature.post\t",
        // All that there is.
        "phoenix-cli shell \x1b*",
        // What is no name is as before: commands, options, files.
        "phoenix-cli valid\t",
        "phoenix-cli plan --detailed\t",
        "phoenix-cli apply site.js\t",
        // Behind `--`, the command is another's.
        "phoenix-cli exec notes -- no\t",
    ];
    let became = [
        "exec notes",
        "plan --target container.notes",
        "plan --target=container.notes",
        "up --exclude service.notes",
        "trace notes --from outside",
        "explain feature.static-site@container.notes",
        "explain feature.postgres",
        "shell gateway notes status",
        "validate",
        "plan --detailed-exitcode",
        "apply site.json",
        "exec notes -- no",
    ];
    assert_eq!(typed(&env, &lines), became);
}

#[test]
fn another_site_can_be_named_and_one_that_is_broken_has_no_names() {
    let env = TestEnv::site();
    let complete = |words: &[&str]| {
        let all: Vec<&str> = ["__complete", "--"].iter().chain(words).copied().collect();
        let said = env.run(&all).ended(0);
        assert_eq!(said.err, "", "it is silent");
        said.out
    };
    assert_eq!(complete(&["exec", ""]), "gateway\nnotes\nstatus\n");
    assert_eq!(complete(&["--site", "/nowhere", "exec", ""]), "");
    let elsewhere = TestEnv::empty();
    let site = env.path();
    let said = elsewhere.run(&["__complete", "--", "--site", site.to_str().unwrap(), "exec", "n"]).ended(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("notes\n", ""));
    std::fs::write(env.path().join("site.json"), "{ nonsense").unwrap();
    assert_eq!(complete(&["exec", ""]), "");
    assert_eq!(complete(&[]), "");
}
