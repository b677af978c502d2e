//! What can be known without a site: help, version, completions, schema.

use serde_json::Value;

use super::{Said, TestEnv};

const COMMANDS: [&[&str]; 69] = [
    &[],
    &["init"],
    &["validate"],
    &["plan"],
    &["apply"],
    &["up"],
    &["destroy"],
    &["adopt"],
    &["status"],
    &["health"],
    &["trace"],
    &["logs"],
    &["update"],
    &["exec"],
    &["shell"],
    &["graph"],
    &["explain"],
    &["schema"],
    &["history"],
    &["doctor"],
    &["bootstrap"],
    &["certs"],
    &["trace"],
    &["health"],
    &["logs"],
    &["secrets"],
    &["secrets", "list"],
    &["secrets", "show"],
    &["secrets", "rotate"],
    &["secrets", "set"],
    &["secrets", "seal"],
    &["secrets", "open"],
    &["backup"],
    &["backup", "ca"],
    &["restore"],
    &["restore", "ca"],
    &["artifacts"],
    &["artifacts", "list"],
    &["artifacts", "fetch"],
    &["lab"],
    &["lab", "up"],
    &["lab", "down"],
    &["drift"],
    &["rotate"],
    &["lab", "status"],
    &["lab", "shell"],
    &["lab", "machine"],
    &["lab", "machine", "cut"],
    &["lab", "machine", "boot"],
    &["lab", "machine", "reset"],
    &["lab", "machine", "reinstall"],
    &["lab", "machine", "pull"],
    &["lab", "machine", "insert"],
    &["lab", "machine", "replace"],
    &["learn"],
    &["learn", "list"],
    &["learn", "start"],
    &["learn", "check"],
    &["learn", "hint"],
    &["learn", "stop"],
    &["version"],
    &["completions"],
    &["certs", "root"],
    &["certs", "list"],
    &["certs", "request"],
    &["certs", "sign"],
    &["certs", "install"],
    &["certs", "protect"],
    &["certs", "unprotect"],
];

#[test]
fn every_command_has_help_with_examples() {
    let env = TestEnv::empty();
    for command in COMMANDS {
        let mut args = command.to_vec();
        args.push("--help");
        let said = env.run(&args).ended(0);
        assert!(said.err.is_empty(), "{said:#?}");
        assert!(said.out.contains("Examples:"), "`{}` has no examples:\n{}", args.join(" "), said.out);
        // The examples are of this command.
        let line = said.out.lines().skip_while(|l| !l.contains("Examples:")).nth(1).unwrap_or_default();
        let own = command.first().copied().unwrap_or("init");
        assert!(line.contains(&format!("phoenix-cli {own}")) || line.contains(&format!(" {own}")), "{line}");
        for line in said.out.lines() {
            assert!(line.chars().count() <= 140, "a line of {} characters: {line}", line.chars().count());
        }
    }
    // No command without a test above.
    let all = env.run(&["--help"]).out;
    let listed =
        all.lines().skip_while(|l| !l.starts_with("Commands:")).skip(1).take_while(|l| !l.trim().is_empty());
    for line in listed {
        let name = line.split_whitespace().next().unwrap();
        assert!(COMMANDS.contains(&[name].as_slice()), "`{name}` is not tested");
    }
}

#[test]
fn without_anything_there_is_help_and_a_usage_error() {
    let said = TestEnv::empty().run(&[]).ended(2);
    assert!(said.err.contains("Usage:") && said.out.is_empty(), "{said:#?}");
}

#[test]
fn versions() {
    let env = TestEnv::empty();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(env.run(&["--version"]).ended(0).out, format!("phoenix-cli {version}\n"));
    assert_eq!(env.run(&["version"]).ended(0).out, format!("phoenix-cli {version}\n"));
    let json = env.run(&["version", "--json"]).ended(0).json();
    assert_eq!((&json["version"], &json["plan"], &json["events"]), (&version.into(), &1.into(), &1.into()));
}

#[test]
fn bad_usage_ends_with_2_and_says_what_is_right() {
    let env = TestEnv::site();
    for (args, word) in [
        (&["aply"][..], "apply"),
        (&["plan", "--targt", "x"], "--target"),
        (&["validate", "."], "--site ."),
        (&["graph", "--format", "png"], "mermaid"),
        (&["completions", "tcsh"], "bash"),
        (&["exec", "notes"], "COMMAND"),
        (&["apply", "file", "--target", "x"], "cannot be used"),
        (&["lab"], "up"),
        (&["plan", "--color", "pink"], "never"),
        (&["lab", "up", "--api-port", "70000"], "65535"),
        (&["lab", "up", "--nodes", "4"], "1..=3"),
    ] {
        let said = env.run(args).ended(2);
        assert!(said.err.contains(word), "{args:?}: {said:#?}");
        assert!(said.out.is_empty(), "talk is on standard error: {said:#?}");
    }
}

#[test]
fn completions_for_every_shell() {
    let env = TestEnv::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = env.run(&["completions", shell]).ended(0);
        assert!(said.out.contains("phoenix-cli") && said.out.contains("validate"), "{shell}");
        assert!(said.out.len() > 2000, "{shell}");
    }
}

#[test]
fn schemas_are_schemas_and_the_first_site_fits() {
    let env = TestEnv::site();
    for args in [&["schema"][..], &["schema", "--feature"], &["schema", "--stack"], &["schema", "--exercise"]]
    {
        let schema = env.run(args).ended(0).json();
        assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{args:?}");
        assert_eq!(schema["type"], "object", "{args:?}");
    }
    let schema = env.run(&["schema"]).json();
    // What an editor is given is the same.
    let kept: Value = serde_json::from_str(&env.read(".phoenix/blueprint.schema.json")).unwrap();
    assert_eq!(schema, kept);
}

#[test]
fn colour_only_where_it_is_wanted() {
    let env = TestEnv::empty();
    let never = env.run(&["plan"]);
    assert!(!never.err.contains('\u{1b}'), "{never:#?}");
    let mut command = env.command(&["plan", "--color", "always"]);
    let always = Said::of(&command.env_remove("NO_COLOR").output().unwrap());
    assert!(always.err.contains('\u{1b}'), "{always:#?}");
}
