//! What can be known without a site: help, version, completions, schema.

use serde_json::Value;

use super::{Said, TestEnv};

const COMMANDS: [&[&str]; 70] = [
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
    &["help"],
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
        (&["init", "--template", "familly"], "first, family, models, docker"),
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

#[test]
fn help_shows_commands_as_their_option_does() {
    let env = TestEnv::empty();
    for command in COMMANDS {
        let as_option = env.run(&[command, &["--help"]].concat()).ended(0);
        let said = env.run(&[&["help"], command].concat()).ended(0);
        assert_eq!(said.out, as_option.out, "{command:?}");
    }
    // Where a page is called the same, it is named.
    assert!(env.run(&["help", "trace"]).err.contains("help topics trace"));
    assert_eq!(env.run(&["help", "plan"]).err, "");
}

#[test]
fn help_shows_the_pages_of_the_book() {
    let env = TestEnv::empty();
    let topics = env.run(&["help", "topics"]).ended(0).out;
    assert!(
        topics.contains("getting-started  Getting started") && topics.contains("stacks  Stacks"),
        "{topics}"
    );
    let list = env.run(&["help", "topics", "--json"]).ended(0).json();
    for page in list["topics"].as_array().unwrap() {
        let name = page["name"].as_str().unwrap();
        let said = env.run(&["help", "topics", name]).ended(0);
        assert!(
            !said.out.contains('\u{1b}') && said.out.lines().nth(1).unwrap().starts_with('═'),
            "{said:#?}"
        );
        assert!(topics.contains(name), "{name}");
    }
    let stacks = env.run(&["help", "stacks", "--no-pager"]).ended(0).out;
    assert!(stacks.starts_with("Stacks\n══════\n\nA stack is a group of Docker containers"), "{stacks}");
    assert!(stacks.contains("\n    \"stacks\": {\n"), "code is as it is: {stacks}");
    let json = env.run(&["help", "stacks", "--json"]).ended(0).json();
    assert!(json["markdown"].as_str().unwrap().starts_with("# Stacks"), "{json}");
}

#[test]
fn what_help_does_not_know_is_an_error_with_what_may_be_meant() {
    let env = TestEnv::empty();
    for (words, message, hint) in [
        (&["aply"][..], "`aply` is no command", "did you mean `apply`?"),
        (&["stakcs"], "`stakcs` is no command", "did you mean `stacks`?"),
        (&["topics", "gatway"], "no page `gatway`", "did you mean `gateway`?"),
        (&["lab", "upp"], "`lab` has no command `upp`", "did you mean `up`?"),
        (&["something-else"], "`something-else` is no command", "phoenix-cli help topics"),
    ] {
        let said = env.run(&[&["help", "--json"], words].concat()).ended(2);
        let json = said.error("help::unknown", hint);
        assert!(json["error"]["message"].as_str().unwrap().contains(message), "{json}");
    }
}

#[test]
fn a_page_goes_through_the_pager_where_a_person_sees_it() {
    // `script` gives it a terminal; each pager says that it was there.
    let shown = |pager: Option<&str>, words: &str| {
        let line = format!("{} help {words}", env!("CARGO_BIN_EXE_phoenix-cli"));
        let mut command = std::process::Command::new("script");
        command
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env_remove("LESS");
        match pager {
            Some(pager) => command.env("PAGER", pager),
            None => command.env_remove("PAGER"),
        };
        Said::of(&command.stdin(std::process::Stdio::null()).output().unwrap()).ended(0).out.replace('\r', "")
    };
    let paged = shown(Some("sed 's/^/paged: /'"), "names");
    assert!(paged.lines().all(|line| line.starts_with("paged: ")), "{paged}");
    assert!(paged.contains("\u{1b}["), "colours get through: {paged}");
    assert!(shown(Some("echo $LESS; cat >/dev/null"), "names").starts_with("FRX"), "{paged}");
    // None is wanted, or it is not there: the page is shown all the same.
    for (pager, words) in [
        (Some("echo paged"), "names --no-pager"),
        (Some(""), "names"),
        (Some("no-such-pager 2>/dev/null"), "names"),
    ] {
        let plain = shown(pager, words);
        assert!(plain.contains("Names") && !plain.contains("paged"), "{pager:?}: {plain}");
    }
    // Who reads only the beginning is no error.
    assert!(shown(Some("head -n 1"), "topics certificates").contains("Certificates"));
}

#[test]
fn each_command_has_a_manual_page() {
    let env = TestEnv::empty();
    env.run(&["man", "--to", "man1"]).ended(0);
    for command in COMMANDS {
        let name = [&["phoenix-cli"], command].concat().join("-");
        let page = env.read(&format!("man1/{name}.1"));
        assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES"), "{name}: {page}");
        assert_eq!(page.contains(".SH \"SEE ALSO\""), !command.is_empty(), "{name}: {page}");
    }
    let main = env.read("man1/phoenix-cli.1");
    assert!(main.contains("phoenix\\-cli\\-plan(1)"), "{main}");
    assert!(!std::fs::exists(env.path().join("man1/phoenix-cli-__complete.1")).unwrap());
}
