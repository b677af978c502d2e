//! Whatever is typed, and whatever a file holds: a clear error that names the place, no panic, nothing half done.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{Said, TestEnv};

#[test]
fn init_writes_a_site_that_is_valid_and_never_overwrites() {
    let env = TestEnv::empty();
    let said = env.run(&["init"]).ended(0);
    assert!(said.err.contains("phoenix-cli validate"), "it says what comes next: {said:#?}");
    env.run(&["validate"]).ended(0);
    let before = env.read("guests.json");
    env.run(&["init", "--json"]).ended(2).error("init::exists", "init --site");
    assert_eq!(env.read("guests.json"), before);
    env.run(&["init", "--name", "Not A Name", "--json"]).ended(2).error("init::name", "hyphens");
    let json = env.run(&["validate", "--json"]).ended(0).json();
    assert_eq!(
        (&json["valid"], &json["site"], &json["containers"]),
        (&true.into(), &"workshop".into(), &3.into())
    );
}

/// An unknown key is underlined where it stands, with what was probably meant.
#[test]
fn an_unknown_key() {
    let env = TestEnv::site();
    env.edit("guests.json", "\"memory\"", "\"memroy\"");
    let said = env.run(&["validate"]).ended(2);
    for part in ["memroy", "memory", "guests.json:", "─", "1 error"] {
        assert!(said.err.contains(part), "no {part}: {}", said.err);
    }
    assert!(said.out.is_empty());
    let json = env.run(&["validate", "--json"]).ended(2).json();
    let one = &json["diagnostics"][0];
    assert_eq!((&json["valid"], &json["errors"]), (&false.into(), &1.into()));
    assert_eq!((&one["code"], &one["file"]), (&"blueprint::unknown-key".into(), &"guests.json".into()));
    assert!(one["line"].as_u64().unwrap() > 1 && one["hint"].as_str().unwrap().contains("memory"), "{one}");
    assert_eq!((&json["error"]["code"], &json["error"]["exit"]), (&"blueprint::invalid".into(), &2.into()));
    // Everything that needs the blueprint says the same.
    for command in ["plan", "apply", "status", "graph", "doctor"] {
        assert!(env.run(&[command]).ended(2).err.contains("memroy"), "{command}");
    }
}

#[test]
fn a_folder_without_a_site() {
    let env = TestEnv::empty();
    let json = env.run(&["validate", "--json"]).ended(2).json();
    assert_eq!(json["diagnostics"][0]["code"], "blueprint::no-blueprint");
    assert!(json["diagnostics"][0]["hint"].as_str().unwrap().contains("phoenix-cli init"));
    let missing = env.run(&["--site", "/no/such/folder", "plan"]).ended(2);
    assert!(missing.err.contains("/no/such/folder"), "{missing:#?}");
    assert!(!env.path().join(".phoenix").exists(), "nothing was left in a folder that is no site");
}

/// `--site` that is a file, cannot be read, is no text, or is longer than a path can be.
#[test]
fn a_site_that_is_no_folder() {
    let env = TestEnv::site();
    env.write("a-file", "");
    let long = "x/".repeat(5000);
    let said = env.run(&["--site", "a-file", "validate"]).ended(2);
    assert!(said.err.contains("a-file"), "{said:#?}");
    let said = env.run(&["--site", &long, "validate"]);
    assert!([1, 2].contains(&said.code) && !said.err.is_empty(), "{}", said.code);
    let mut command = env.command(&["validate", "--site"]);
    let said = Said::of(&command.arg(OsStr::from_bytes(b"\xff\xfe")).output().unwrap()).ended(2);
    assert!(!said.err.is_empty());
    let mut command = env.command(&["explain"]);
    Said::of(&command.arg(OsStr::from_bytes(b"containers\xff")).output().unwrap()).ended(2);
    env.write("guests.json", b"\xff\xfe{ \x00 }");
    let said = env.run(&["validate"]).ended(2);
    assert!(said.err.contains("guests.json"), "{said:#?}");
}

#[test]
fn a_file_that_cannot_be_read() {
    let env = TestEnv::site();
    let file = env.path().join("guests.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o0)).unwrap();
    if std::fs::read(&file).is_ok() {
        // Root reads everything; a folder in the file's place cannot be read by root either.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    }
    let said = env.run(&["validate"]);
    assert!([0, 2].contains(&said.code), "{said:#?}");
    assert!(!said.err.is_empty(), "{said:#?}");
}

#[test]
fn without_its_lab_the_site_says_how_to_start_it() {
    let env = TestEnv::site();
    for command in ["plan", "apply", "status", "up", "destroy", "certs"] {
        env.run(&[command, "--json"]).ended(1).error("lab::not-running", "phoenix-cli lab up");
        let said = env.run(&[command]).ended(1);
        for part in ["error: ", "lab is not running", "hint: phoenix-cli lab up"] {
            assert!(said.err.contains(part), "{command}: {said:#?}");
        }
        assert!(said.out.is_empty(), "{said:#?}");
    }
    // A hint can be copied as it is, also from elsewhere.
    let mut command = env.command(&["plan", "--site", "site"]);
    let said = Said::of(&command.current_dir(env.folder.path()).output().unwrap()).ended(1);
    assert!(said.err.contains("phoenix-cli --site site lab up"), "{said:#?}");
}

/// Before anything was applied there is no root certificate, and none is made to be printed.
#[test]
fn no_root_certificate_is_made_by_looking() {
    let env = TestEnv::site();
    env.run(&["certs", "root", "--json"]).ended(1).error("authority::not-made", "phoenix-cli up");
    env.run(&["validate"]).ended(0);
    assert!(!env.path().join(".phoenix/secrets").exists());
}

#[test]
fn plan_files_that_are_none() {
    let env = TestEnv::site();
    for (text, code, word) in [
        ("garbage", "plan::file", "bad.plan"),
        ("", "plan::file", "bad.plan"),
        ("[]", "plan::file", "bad.plan"),
        ("{\"version\": 99}", "plan::version", "99"),
        ("{\"version\": 1}", "plan::version", "of version 1"),
        ("{\"version\": 3}", "plan::version", "of version 3"),
        ("{\"version\": 4}", "plan::version", "of version 4"),
        ("{\"version\": 5}", "plan::version", "of version 5"),
        ("{\"version\": 6}", "plan::version", "of version 6"),
        // What this one reads, and nothing else in it.
        ("{\"version\": 7}", "plan::file", "bad.plan"),
    ] {
        env.write("bad.plan", text);
        let said = env.run(&["apply", "bad.plan", "--json"]).ended(2);
        said.error(code, "plan --out");
        assert!(said.out.contains(word), "{said:#?}");
    }
    env.run(&["apply", "no-such.plan", "--json"]).ended(2).error("plan::file", "plan --out");
    env.write("bad.plan", b"\xff\x00");
    env.run(&["apply", "bad.plan", "--json"]).ended(2).error("plan::file", "plan --out");
    env.run(&["apply", ".", "--json"]).ended(2).error("plan::file", "plan --out");
}

#[test]
fn nonsense_for_every_command_is_an_error_and_no_panic() {
    let env = TestEnv::site();
    let long = "x".repeat(100_000);
    let strange = [
        "",
        " ",
        "-",
        "\u{0}x",
        "ü@§\u{202e}",
        "../../etc/passwd",
        "*",
        "[",
        "container.",
        ".x",
        "a@b@c",
        &long,
    ];
    for word in strange {
        if word.contains('\u{0}') {
            continue;
        }
        for args in [
            &["explain", word][..],
            &["explain", word, "--script"],
            &["history", word],
            &["plan", "--target", word],
            &["apply", word],
            &["apply", "--allow-destroy", word],
            &["destroy", "--confirm", word],
            &["exec", word, "--", "true"],
            &["shell", word],
            &["graph", "--format", word],
            &["lab", "shell", word],
            &["completions", word],
            &["init", "--name", word],
            &["--site", word, "validate"],
            &[word],
        ] {
            let said = env.run(args);
            // What is empty or a pattern may mean everything, and be explained.
            let fine = [1, 2, 4].contains(&said.code) || ["--site", "explain"].contains(&args[0]);
            let shown: String = args.join(" ").chars().take(80).collect();
            assert!(
                fine,
                "`{shown}` ended with {}: {}",
                said.code,
                said.err.chars().take(500).collect::<String>()
            );
            assert!(
                said.code == 0 || !said.err.trim().is_empty() || !said.out.is_empty(),
                "`{shown}` said nothing"
            );
        }
    }
}

#[test]
fn explain_answers_and_suggests() {
    let env = TestEnv::site();
    for (what, part) in [
        ("containers.memory", "MiB"),
        ("vms.memory", "changes   at a restart"),
        ("vms.balloon", "changes   at once while there is a balloon"),
        ("types.memory", "of a virtual machine: at a restart"),
        ("vms.settings.args", "takes root on the node: always"),
        ("containers", "address"),
        ("feature.static-site", "root"),
        ("container.notes", "10.0.0.120"),
        ("lab::not-running", "lab up"),
        ("blueprint::unknown-key", "key"),
    ] {
        let said = env.run(&["explain", what]).ended(0);
        assert!(said.out.contains(part), "{what}: {said:#?}");
        env.run(&["explain", what, "--json"]).ended(0).json();
    }
    let script = env.run(&["explain", "feature.static-site@container.notes", "--script"]).ended(0);
    assert!(
        script.out.starts_with("# phoenix-script: ") || script.out.starts_with("#!"),
        "{}",
        &script.out[..200]
    );
    let bad = env.run(&["explain", "container.memroy", "--json"]).ended(2);
    bad.error("explain::unknown", "phoenix-cli");
    env.run(&["explain", "container.notes", "--script", "--json"])
        .ended(2)
        .error("explain::no-script", "--script");
}

// A key that looks like an address is the key where the site has no such resource.
#[test]
fn a_key_that_is_no_resource_here_is_a_key() {
    let env = TestEnv::site();
    let said = env.run(&["explain", "hypervisor.certificate", "--json"]).ended(0).json();
    assert_eq!(said["key"], "hypervisor.certificate", "{said}");
}

#[test]
fn graphs() {
    let env = TestEnv::site();
    assert!(env.run(&["graph"]).ended(0).out.starts_with("flowchart"));
    let dot = env.run(&["graph", "--format", "dot"]).ended(0).out;
    assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}'));
    let json = env.run(&["graph", "--json"]).ended(0).json();
    assert!(json.to_string().contains("container.gateway"), "{json}");
}

#[test]
fn history_of_nothing_is_nothing() {
    let env = TestEnv::site();
    assert_eq!(env.run(&["history", "--json"]).ended(0).json()["runs"], serde_json::json!([]));
    env.run(&["history", "nope", "--json"]).ended(1).error("history::journal", "phoenix-cli history");
}
