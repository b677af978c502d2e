//! The attack: the node, its guests and whoever shares the node say things that act on a terminal, or that look like lines of
//! Phoenix' own. Every command is run against them, and nothing of it comes out.
//!
//! The API is a simulated lab's; its `ssh` is a program of the test's, and so are those of the node behind it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use camino::Utf8PathBuf;
use lab::up::{NodeRecord, NodeSsh, SimNodeRunner};
use proxmox::exchange::{Exchange, Method, Request, Response};
use proxmox::http::{Credential, HttpOptions, Trust};
use serde_json::json;
use transport::{Command, Runner as _};

use super::{Lab, Said};

/// The clipboard (OSC 52), the window's title, a cleared screen (C1), a turned direction, a character without width, and
/// what looks like good news at the beginning of a line: after a line feed, and after a carriage return.
const NASTY: &str = "bad\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}]0;mine\u{7}\u{9b}2J\u{202e}\u{200b}\u{1b}[8m\r✔ forged\n✔ forged: all is well";

/// What a script of features says in a guest: NASTY in every text of it.
fn report() -> String {
    let mut lines = String::new();
    for feature in ["trusted-ca", "static-site", "nginx-gateway", "certificates", "base"] {
        for (kind, key) in [("file", "path"), ("package", "name"), ("command", "name")] {
            let action =
                json!({ "feature": feature, "action": kind, key: NASTY, "change": "update", "done": false });
            let _ = writeln!(lines, "{action}");
        }
        let _ = writeln!(
            lines,
            "{}",
            json!({ "feature": feature, "result": "failed", "changed": 3, "error": NASTY })
        );
    }
    let _ = writeln!(lines, "{}", json!({ "result": "failed", "changed": 3 }));
    lines
}

/// Programs that come first in the search path: `ssh` here, the rest "on the node".
fn programs(folder: &Path, files: &[u8]) {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(folder.join("files"), files).unwrap();
    std::fs::write(folder.join("nasty"), format!("{NASTY}\n")).unwrap();
    std::fs::write(folder.join("report"), report()).unwrap();
    // What `ask.sh` and `look.sh` say begins with a separator; here all of it is made up.
    std::fs::write(
        folder.join("records"),
        format!("phoenix: {NASTY}\n\u{1e}{NASTY}\n\u{1e}names {NASTY}\n\u{1e}tcp {NASTY}\n"),
    )
    .unwrap();
    let at = folder.display();
    let ssh = format!(
        r#"#!/bin/sh
for last; do :; done
case "$*" in
*' -N '*|*' -O '*) exit 0 ;;
*' -W '*) cat '{at}/nasty' >&2; exit 255 ;;
esac
case $last in
*'echo ready'*) exec sh -c "$last" ;;
*phoenix-lock*) echo locked; exec cat >/dev/null ;;
*phoenix-not-entered*) PATH='{at}/bin:/usr/bin:/bin' exec sh -c "$last" ;;
*perl*PVE*|*perl*/etc/pve*) exec cat '{at}/files' ;;
*"'true'"|*" true"|true) exit 0 ;;
*readlink*) echo nodes/pve1 ;;
*) cat '{at}/nasty'; cat '{at}/nasty' >&2; exit 3 ;;
esac
"#
    );
    let attach = format!(
        r#"#!/bin/sh
case "$*" in *journalctl*) cat '{at}/nasty'; exit 0 ;; esac
input=$(head -c 4000000 | tr -d '\000')
case $input in
*phoenix-script*|*'# phoenix'*) cat '{at}/report' ;;
*) cat '{at}/records' ;;
esac
cat '{at}/nasty' '{at}/nasty' >&2
exit 1
"#
    );
    for (name, text) in
        [("ssh", ssh), ("lxc-attach", attach), ("lxc-info", "#!/bin/sh\necho RUNNING\n".into())]
    {
        let path = bin.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What acts on a terminal or is not seen. Line ends and tabs are layout.
fn acts(text: &str) -> Option<char> {
    text.chars().find(|c| *c != '\n' && *c != '\t' && foreign::is_hidden(*c))
}

#[track_caller]
fn harmless(what: &str, text: &str, lines_are_theirs: bool) {
    assert_eq!(acts(text), None, "{what}: {}", text.escape_debug());
    let forged = text.lines().find(|line| line.starts_with("✔ forged"));
    assert!(lines_are_theirs || forged.is_none(), "{what} has a forged line:\n{text}");
}

async fn call(api: &dyn Exchange, method: Method, path: &str, params: &[(&str, &str)]) -> Response {
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    api.exchange(&Request { method, path: path.to_owned(), params }).await.unwrap()
}

/// As others on the node may do: a description of one of our guests, and a guest of their own.
async fn plant(record: &NodeRecord) {
    let token = std::fs::read_to_string(&record.token_file).unwrap();
    let (id, secret) = token.trim().split_once('=').unwrap();
    let credential = Credential::Token { id: id.to_owned(), secret: secret.to_owned().into() };
    let trust = Trust::Fingerprint(record.fingerprint.parse().unwrap());
    let api = proxmox::http::connect(HttpOptions::new(&record.endpoint, trust, credential)).unwrap();
    let config = call(&*api, Method::Get, "/nodes/pve1/lxc/120/config", &[]).await.body;
    let description = config["data"]["description"].as_str().unwrap();
    let description = format!("{NASTY}\n{description}");
    let set = call(&*api, Method::Put, "/nodes/pve1/lxc/120/config", &[("description", &description)]).await;
    assert_eq!(set.status, 200, "{set:?}");
    let template = record.template.as_deref().unwrap();
    let made = call(
        &*api,
        Method::Post,
        "/nodes/pve1/lxc",
        &[
            ("vmid", "900"),
            ("ostemplate", template),
            ("description", NASTY),
            ("rootfs", "local-lvm:1"),
            ("hostname", "x"),
        ],
    )
    .await;
    assert!(made.status < 600, "{made:?}");
}

#[test]
fn nothing_that_others_say_acts_on_a_terminal_or_looks_like_ours() {
    let lab = Lab::up();
    lab.run(&["apply"]).ended(0);
    let folder = Utf8PathBuf::from_path_buf(lab.env.path().join(".phoenix/lab")).unwrap();
    let mut record = NodeRecord::read(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let files = runtime.block_on(async {
        plant(&record).await;
        let reading = Command::new("reading the guests' configuration", ["perl", "-e", "", "/etc/pve"]);
        SimNodeRunner::new(&folder, "pve1").run(&reading).await.unwrap().stdout
    });
    programs(lab.env.folder.path(), &files);
    let original = std::fs::read(folder.join("node.json")).unwrap();
    let key = lab.env.folder.path().join("key");
    std::fs::write(&key, "").unwrap();
    record.ssh = Some(NodeSsh {
        destination: "root@pve1.test".to_owned(),
        port: 22,
        host_key: "ssh-ed25519 AAAA".to_owned(),
        identity: Utf8PathBuf::from_path_buf(key).unwrap(),
    });
    let mut json = serde_json::to_value(&record).unwrap();
    json["runtime"] = "containers".into();
    std::fs::write(folder.join("node.json"), json.to_string()).unwrap();

    let path = format!("{}/bin:/usr/bin:/bin", lab.env.folder.path().display());
    // What answers is made up, so that no service ever does: it is not waited for as long as one that starts.
    let run = |args: &[&str]| {
        Said::of(&lab.env.command(args).env("PATH", &path).env("PHOENIX_ANSWERS", "2").output().unwrap())
    };
    let mut met = 0;
    for args in [
        "plan",
        "plan --full",
        "plan --diff",
        "plan --again --full --diff",
        "drift",
        "status",
        "health",
        "health --prometheus",
        "doctor",
        "trace notes",
        "certs",
        "graph",
        "graph --flows",
        "explain container.notes",
        "secrets list",
        "logs notes",
        "apply",
        "apply --again",
        "history",
        "status",
        "exec notes -- true",
    ] {
        let theirs = args.starts_with("logs") || args.starts_with("exec");
        for more in ["", " --json", " -v --color always --log log --record record"] {
            // A run waits for what does not come, so each is one.
            if args.starts_with("apply") && more.starts_with(if args == "apply" { " --json" } else { " -v" })
            {
                continue;
            }
            let line = args.split_once(" -- ").map_or_else(
                || format!("{args}{more}"),
                |(before, after)| format!("{before}{more} -- {after}"),
            );
            let words: Vec<&str> = line.split(' ').collect();
            let said = run(&words);
            // A program that reads what `exec` prints gets it as it came.
            let raw = args.starts_with("exec") && more != " --json";
            for (stream, text) in [("stdout", &said.out), ("stderr", &said.err)] {
                met += text.matches("forged").count();
                if raw {
                    continue;
                }
                // Colours are ours; `harmless` knows no colour.
                let plain = more.contains("always").then(|| without_colours(text));
                harmless(&format!("{line}, {stream}"), plain.as_ref().unwrap_or(text), theirs);
            }
            if !more.is_empty() && more != " --json" {
                for file in ["log", "record"] {
                    harmless(&format!("{line}, {file}"), &lab.env.read(file), true);
                }
            }
        }
    }
    // What was said did come through, made visible: there was something to be harmless.
    assert!(met > 100, "the attack was met {met} times only");
    let runs = std::fs::read_dir(lab.env.path().join(".phoenix/runs")).unwrap();
    let mut kept = 0;
    for entry in runs {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        kept += text.matches("forged").count();
        harmless("a journal", &text, false);
    }
    assert!(kept > 0, "no run kept a word of it");
    std::fs::write(folder.join("node.json"), original).unwrap();
}

/// Without what Phoenix colours its own words with.
fn without_colours(text: &str) -> String {
    let mut out = text.to_owned();
    for colour in [0, 1, 2, 22, 31, 32, 33, 36, 39] {
        out = out.replace(&format!("\u{1b}[{colour}m"), "");
    }
    out
}
