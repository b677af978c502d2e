//! Features in a real root: what their script does there. What they render to is in `rendering.rs`.

#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

// A file for each feature that has more to it than rendering.
mod checking;
pub mod gateway;
mod kernel;
mod links;
mod nvidia_driver;
mod on_nodes;
mod package_cache;
mod page;
mod proxy;
mod record;
mod shares;
mod static_site;
mod trust;
mod updates;
mod zfs_keys;

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::given;
pub use crate::given::{built_in, parameters};
use crate::root::Root;
use blueprint::catalog::Feature;
use blueprint::model::{SecretRef, SiteFile};
use managers::features::{GuestFacts, Mode, RenderError, Rendered, builtin, removal, render, script};
use serde_json::{Value, json};

pub fn facts() -> GuestFacts {
    GuestFacts { timezone: Some("Europe/Berlin".into()), ..given::facts("notes", "10.0.0.20") }
}

pub fn files(list: &[(&str, &[u8])]) -> Vec<SiteFile> {
    list.iter()
        .map(|(path, bytes)| SiteFile { path: (*path).into(), bytes: (*bytes).into(), executable: false })
        .collect()
}

pub fn own_feature(name: &str, spec: Value, list: &[(&str, &str)]) -> Feature {
    let spec = serde_json::from_value(spec).unwrap();
    let files = list
        .iter()
        .map(|(path, text)| {
            let bytes = text.as_bytes().into();
            ((*path).to_owned(), SiteFile { path: (*path).into(), bytes, executable: false })
        })
        .collect();
    Feature { name: name.into(), spec, files, built_in: false }
}

pub fn try_with(feature: &Feature, values: Value) -> Result<Rendered, RenderError> {
    let values = parameters(values);
    given::as_told(feature, &values);
    render(feature, &values, &BTreeMap::new(), &facts())
}

pub fn with(feature: &Feature, values: Value) -> Rendered {
    try_with(feature, values).unwrap()
}

fn text_of(features: &[Rendered], mode: Mode) -> Vec<u8> {
    script(features, mode, &|secret: &SecretRef| Ok::<_, Infallible>(format!("value of {secret:?}")))
        .unwrap()
        .text
}

pub fn apply(features: &[Rendered]) -> Vec<u8> {
    text_of(features, Mode::Apply)
}

pub fn check(features: &[Rendered]) -> Vec<u8> {
    text_of(features, Mode::Check)
}

/// Says what differs, where much is the same.
#[track_caller]
fn same(now: &str, before: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (now, before) = (lines(now), lines(before));
    let only = |a: &std::collections::BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!((only(&now, &before), only(&before, &now)), (Vec::new(), Vec::new()), "(now, before)");
}

pub const ROOT_PEM: &str = "-----BEGIN CERTIFICATE-----\nline1\n-----END CERTIFICATE-----\n";

pub fn base() -> Rendered {
    let names =
        json!([{ "address": "10.0.0.2", "names": ["notes.workshop.internal", "wiki.workshop.internal"] }]);
    with(&built_in("base"), json!({ "names": names }))
}

pub fn site(page: &str) -> Rendered {
    let contents = BTreeMap::from([(
        "root".to_owned(),
        files(&[("index.html", page.as_bytes()), ("img/a b'\".bin", &[0, 255, 10, 13])]),
    )]);
    render(&built_in("static-site"), &parameters(json!({ "root": "site/" })), &contents, &facts()).unwrap()
}

pub fn gateway(services: &[&str]) -> Rendered {
    let sites: Vec<_> = services.iter().map(|name| given::site(name, 8080)).collect();
    with(&built_in("nginx-gateway"), json!({ "sites": sites }))
}

#[test]
fn scripts_are_clean_for_shellcheck() {
    use std::io::Write as _;
    let text = apply(&[
        base(),
        with(&built_in("trusted-ca"), json!({ "root": ROOT_PEM })),
        site("x"),
        gateway(&["notes"]),
    ]);
    let guard = builtin().filter(|(path, _)| *path == "nginx-gateway/nginx-guard");
    for text in guard.map(|(_, bytes)| bytes.to_vec()).chain([text]) {
        let started = std::process::Command::new("shellcheck")
            .args(["-s", "dash", "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            println!("skipped: no shellcheck");
            return;
        };
        child.stdin.take().unwrap().write_all(&text).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

// ---- in a real root ------------------------------------------------------------------------------------------------

#[test]
fn a_second_run_does_nothing_and_a_changed_line_changes_one_file() {
    let Some(root) = Root::new() else { return };
    let first = [base(), site("<h1>One</h1>\n")];
    // Only looking: everything is due, nothing is touched.
    let before = root.picture();
    let looked = root.run(&check(&first));
    assert!(looked.ok().actions().iter().all(|a| !a.done));
    same(&root.picture(), &before);

    let ran = root.run(&apply(&first));
    assert!(ran.ok().actions().iter().all(|a| a.done));
    // What was said to be due is what was done.
    assert_eq!(ran.words(), looked.words());
    assert_eq!(root.sh("curl -s http://127.0.0.1/"), "<h1>One</h1>\n");
    assert_eq!(root.sh("readlink /etc/localtime"), "/usr/share/zoneinfo/Europe/Berlin\n");
    assert_eq!(root.sh("od -An -tx1 '/srv/site/img/a b'\\''\".bin'"), " 00 ff 0a 0d\n");
    let record: Value = serde_json::from_str(&root.sh("cat /etc/phoenix/applied.json")).unwrap();
    assert_eq!(record["static-site"]["fingerprint"], first[1].fingerprint);
    assert_eq!(record["base"]["version"], env!("CARGO_PKG_VERSION"));

    // P-40, T-13: nothing to do is nothing done.
    root.run(&apply(&first)).nothing_to_do();
    let before = root.picture();
    root.run(&check(&first)).nothing_to_do();
    same(&root.picture(), &before);

    let second = [site("<h1>Two</h1>\n")];
    assert_eq!(root.run(&check(&second)).ok().words(), ["file update /srv/site/index.html"]);
    assert_eq!(root.run(&apply(&second)).ok().words(), ["file update /srv/site/index.html"]);
    assert_eq!(root.sh("curl -s http://127.0.0.1/"), "<h1>Two</h1>\n");
    let record: Value = serde_json::from_str(&root.sh("cat /etc/phoenix/applied.json")).unwrap();
    assert_eq!(record["static-site"]["fingerprint"], second[0].fingerprint);
    assert_eq!(record["base"]["fingerprint"], first[0].fingerprint, "the other's record stays");

    // Drift is seen and repaired: content, mode, a file too many, a stopped service.
    root.sh("chmod 600 /srv/site/index.html; touch /srv/site/extra; echo x >>/etc/timezone; kill $(cat /run/nginx.pid)");
    root.sh("while kill -0 $(cat /run/nginx.pid 2>/dev/null) 2>/dev/null; do :; done");
    let repaired = [
        "file update /etc/timezone",
        "file update /srv/site/index.html",
        "file remove /srv/site/extra",
        "unit start nginx",
    ];
    let both = [first[0].clone(), second[0].clone()];
    assert_eq!(root.run(&check(&both)).ok().words(), repaired);
    assert_eq!(root.run(&apply(&both)).ok().words(), repaired);
    root.run(&apply(&both)).nothing_to_do();
}

#[test]
fn others_lines_in_a_shared_file_stay() {
    let Some(root) = Root::new() else { return };
    root.sh("printf '127.0.0.1 localhost\\n# mine\\n10.9.9.9 printer' >/etc/hosts; chmod 640 /etc/hosts");
    root.run(&apply(&[base()])).ok();
    let expected = "127.0.0.1 localhost\n# mine\n10.9.9.9 printer\n# BEGIN phoenix names\n\
                    10.0.0.2 notes.workshop.internal wiki.workshop.internal\n# END phoenix names\n";
    assert_eq!(root.sh("cat /etc/hosts"), expected);
    assert_eq!(root.sh("stat -c %a /etc/hosts"), "640\n");
    root.sh("echo '10.9.9.8 later' >>/etc/hosts");
    root.run(&apply(&[base()])).nothing_to_do();
    let fewer = with(&built_in("base"), json!({}));
    assert_eq!(root.run(&apply(&[fewer])).ok().words(), ["file update /etc/hosts"]);
    // Without names there is no block, and everybody else's lines stand.
    let expected = "127.0.0.1 localhost\n# mine\n10.9.9.9 printer\n10.9.9.8 later\n";
    assert_eq!(root.sh("cat /etc/hosts"), expected);
    root.run(&apply(&[base()])).ok();
    // Somebody deleted the end mark: nothing of theirs is lost.
    root.sh("sed -i '/^# END/d' /etc/hosts");
    root.run(&apply(&[base()])).ok();
    let hosts = root.sh("cat /etc/hosts");
    assert!(hosts.contains("10.9.9.8 later") && hosts.contains("10.9.9.9 printer"), "{hosts}");
    root.run(&apply(&[base()])).nothing_to_do();
}

fn checked(good: bool) -> Rendered {
    let spec = json!({
        "parameters": { "list": { "type": "list", "default": [] } },
        "files": [
            { "path": "/etc/x/plain", "content": "plain\n" },
            { "path": "/etc/x/one", "content": format!("one {good}\n"), "check": "! grep -q false /etc/x/one", "restarts": "x" },
            { "path": "/etc/x/new", "content": "new\n", "check": "! grep -q false /etc/x/one", "mode": "0600" },
        ],
        "units": { "x": {} },
    });
    with(&own_feature("x", spec, &[]), json!({}))
}

#[test]
fn a_failing_check_puts_the_old_files_back() {
    let Some(root) = Root::new() else { return };
    root.sh("mkdir -p /etc/x; echo old >/etc/x/one; chmod 640 /etc/x/one");
    let before = root.end_state("/etc/x/one /etc/x/new");
    let ran = root.run(&apply(&[checked(false), base()]));
    assert_eq!(
        ran.failed().error("x").unwrap(),
        "the check `! grep -q false /etc/x/one` failed, so the old files are back: "
    );
    // The ones after it are not tried, and there is no record of it.
    assert_eq!(ran.error("base").unwrap(), "x failed before it");
    assert_eq!(ran.words(), ["file create /etc/x/plain"]);
    assert_eq!(root.end_state("/etc/x/one /etc/x/new"), before);
    assert_eq!(root.sh("cat /etc/phoenix/applied.json 2>/dev/null; ls -A /etc/x"), "one\nplain\n");
    let ran = root.run(&apply(&[checked(true)]));
    assert_eq!(
        ran.ok().words(),
        ["file update /etc/x/one", "file create /etc/x/new", "unit enable x", "unit start x"]
    );
    root.run(&apply(&[checked(true)])).nothing_to_do();
}

#[test]
fn one_bad_file_of_many_does_not_hold_back_the_others() {
    let Some(root) = Root::new() else { return };
    let many = |names: &[&str]| {
        let spec = json!({
            "parameters": { "list": { "type": "list", "default": [] } },
            "files": [{ "path": "/etc/x/{{ item }}", "each": "list", "prune": "*", "content": "{{ item }}\n",
                        "check": "! grep bad /etc/x/*", "reloads": "x" }],
            "units": { "x": {} },
        });
        with(&own_feature("x", spec, &[]), json!({ "list": names }))
    };
    let ran = root.run(&apply(&[many(&["a", "bad", "c"])]));
    let error = ran.failed().error("x").unwrap();
    assert!(error.starts_with("/etc/x/bad: the check `! grep bad /etc/x/*` failed"), "{error}");
    assert_eq!(root.sh("ls /etc/x"), "a\nc\n");
    assert!(ran.words().contains(&"unit start x".to_owned()), "what is good is used: {ran:?}");
    root.run(&apply(&[many(&["a", "c"])])).ok();
    assert_eq!(root.run(&apply(&[many(&["a"])])).ok().words(), ["file remove /etc/x/c", "unit reload x"]);
    root.run(&apply(&[many(&[])])).ok();
    assert_eq!(root.sh("ls -A /etc/x"), "");
}

#[test]
fn users_folders_commands_and_health() {
    let Some(root) = Root::new() else { return };
    let spec = |word: &str| {
        json!({
            "users": [{ "name": "notes", "home": "/srv/notes", "groups": ["adm"] }],
            "folders": [{ "path": "/srv/notes", "mode": "2750", "owner": "notes" }],
            "files": [{ "path": "/srv/notes/conf", "content": word, "owner": "notes:adm", "mode": "0640", "runs": "count" }],
            "commands": [
                { "name": "count", "run": "echo x >>/srv/notes/runs" },
                { "name": "make it", "run": "touch /srv/made", "unless": "test -e /srv/made" },
            ],
            "units": { "off": { "enabled": false, "running": false } },
            "health": [{ "command": "test -e /srv/made" }],
        })
    };
    let one = with(&own_feature("x", spec("1"), &[]), json!({}));
    root.sh("systemctl enable off; systemctl start off");
    assert_eq!(
        root.run(&apply(std::slice::from_ref(&one))).ok().words(),
        [
            "user create notes",
            "folder create /srv/notes",
            "file create /srv/notes/conf",
            "command run count",
            "command run make it",
            "unit disable off",
            "unit stop off",
        ]
    );
    assert_eq!(root.sh("stat -c '%a %U:%G' /srv/notes /srv/notes/conf"), "2750 notes:notes\n640 notes:adm\n");
    assert!(root.sh("id notes").contains("adm"));
    root.run(&apply(&[one])).nothing_to_do();
    let two = with(&own_feature("x", spec("2"), &[]), json!({}));
    assert_eq!(root.run(&apply(&[two])).ok().words(), ["file update /srv/notes/conf", "command run count"]);
    assert_eq!(root.sh("cat /srv/notes/runs"), "x\nx\n");

    let fails = |spec: Value| {
        let ran = root.run(&apply(&[with(&own_feature("y", spec, &[]), json!({}))]));
        ran.failed().error("y").unwrap().to_owned()
    };
    let never = json!({ "commands": [{ "name": "try", "run": "echo trying", "unless": "echo \"no\t\\\"way\\\"\"; false" }] });
    assert_eq!(
        fails(never),
        "\"try\" was run, but `echo \"no\t\\\"way\\\"\"; false` still fails: no\t\"way\""
    );
    let bad = json!({ "commands": [{ "name": "try", "run": "seq 100; exit 3", "unless": "false" }] });
    let error = fails(bad);
    assert!(error.starts_with("\"try\" failed: 86\n") && error.ends_with("\n100"), "{error}");
    let sick = json!({ "health": [{ "tcp": "127.0.0.1:9", "within": 1 }] });
    let error = fails(sick);
    assert!(error.starts_with("port 9 of 127.0.0.1 is not healthy after 1 s: "), "{error}");
    let broken = json!({ "units": { "broken": {} } });
    assert_eq!(fails(broken), "failed to start broken: it will not start");
    assert_eq!(
        fails(json!({ "files": [{ "path": "/srv", "content": "" }] })),
        "/srv is a folder, and a file belongs there"
    );
}

#[test]
fn packages_come_from_the_guests_own_sources() {
    let Some(root) = Root::new() else { return };
    // A source of its own, so that nothing outside is asked.
    root.sh(
        "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; mkdir -p /repo/hello-x/DEBIAN; cd /repo
         printf 'Package: hello-x\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' >hello-x/DEBIAN/control
         printf '#!/bin/sh\\n/usr/sbin/policy-rc.d; echo $? >/repo/policy\\n' >hello-x/DEBIAN/postinst
         chmod 755 hello-x/DEBIAN/postinst; dpkg-deb -b hello-x hello-x.deb >/dev/null
         { cat hello-x/DEBIAN/control; printf 'Filename: ./hello-x.deb\\nSize: %s\\nSHA256: %s\\n' $(stat -c %s hello-x.deb) $(sha256sum hello-x.deb | cut -c1-64); } >Packages
         echo 'deb [trusted=yes] copy:/repo ./' >/etc/apt/sources.list; rm -rf /var/lib/apt/lists/*",
    );
    let wanted = |name: &str| with(&own_feature("x", json!({ "packages": [name, "bash"] }), &[]), json!({}));
    assert_eq!(root.run(&check(&[wanted("hello-x")])).ok().words(), ["package install hello-x"]);
    assert_eq!(root.run(&apply(&[wanted("hello-x")])).ok().words(), ["package install hello-x"]);
    // P-37: services are held back while packages are installed, and only then.
    assert_eq!(root.sh("cat /repo/policy; ls /usr/sbin/policy-rc.d 2>/dev/null || true"), "101\n");
    root.run(&apply(&[wanted("hello-x=1.0")])).nothing_to_do();
    // What the lists name is no longer there: they are fetched anew, and it is tried again.
    root.sh("dpkg -P hello-x; apt-get clean; cd /repo; mv hello-x.deb moved.deb; sed -i s/hello-x.deb/moved.deb/ Packages");
    let ran = root.run(&apply(&[wanted("hello-x")]));
    assert!(ran.stderr.contains("Failed to fetch") && ran.stderr.contains("trying again"), "{ran:?}");
    assert_eq!(ran.ok().words(), ["package install hello-x"]);
    let ran = root.run(&apply(&[wanted("hello-y")]));
    let error = ran.failed().error("x").unwrap();
    assert!(
        error.contains("failed to install hello-y") && error.contains("Unable to locate package"),
        "{error}"
    );
    assert_eq!(root.sh("ls /usr/sbin/policy-rc.d 2>/dev/null || true"), "");
}

#[test]
fn a_big_folder_is_carried_whole() {
    let Some(root) = Root::new() else { return };
    let big: Vec<u8> = (0..4_000_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes().into_iter().take(1))
        .collect();
    let mut list = files(&[("big.bin", &big)]);
    list.extend((0..400).map(|n| SiteFile {
        path: format!("{}/page {n}.html", n % 7),
        bytes: format!("page {n}\n").into_bytes().into(),
        executable: n % 2 == 0,
    }));
    let contents = BTreeMap::from([("root".to_owned(), list.clone())]);
    let spec = json!({ "parameters": { "root": { "type": "folder" } }, "folders": [{ "path": "/srv/x", "from": "{{ root }}" }] });
    let feature = own_feature("x", spec, &[]);
    let rendered = render(&feature, &parameters(json!({ "root": "x/" })), &contents, &facts()).unwrap();
    assert_eq!(root.run(&apply(std::slice::from_ref(&rendered))).ok().actions().len(), 402);
    assert_eq!(
        root.sh(
            "stat -c %s /srv/x/big.bin; find /srv/x -type f | wc -l; find /srv/x -type f -perm 755 | wc -l"
        ),
        "4000000\n401\n200\n"
    );
    let started = std::time::Instant::now();
    root.run(&apply(&[rendered])).nothing_to_do();
    println!("nothing to do in {:?}", started.elapsed());
    let fewer = BTreeMap::from([(
        "root".to_owned(),
        list.into_iter().filter(|f| !f.path.starts_with("3/")).collect(),
    )]);
    let rendered = render(&feature, &parameters(json!({ "root": "x/" })), &fewer, &facts()).unwrap();
    let ran = root.run(&apply(&[rendered]));
    let words = ran.ok().words();
    let (folder, pages) = words.split_last().unwrap();
    assert!(
        pages.iter().all(|w| w.starts_with("file remove /srv/x/3/page ")) && pages.len() == 57,
        "{ran:?}"
    );
    assert_eq!(folder, "folder remove /srv/x/3");
    assert_eq!(root.sh("ls /srv/x"), "0\n1\n2\n4\n5\n6\nbig.bin\n");
}

#[test]
fn a_script_that_is_cut_does_nothing() {
    let Some(root) = Root::new() else { return };
    let text = apply(&[checked(true)]);
    let before = root.picture();
    for end in (0..text.len() - "main </dev/null\nexit\n".len()).step_by(text.len() / 25) {
        let ran = root.run(&text[..end]);
        assert!(ran.reports.is_empty() && ran.strange.is_empty(), "{ran:?}");
    }
    same(&root.picture(), &before);
}

// Design, promise 5: killed at any moment and started again, it converges.
#[test]
fn a_script_that_is_killed_converges_when_it_runs_again() {
    const WHERE: &str = "/etc/x /srv/x /etc/phoenix /var/lib/phoenix /var/lib/test-units";
    let spec = json!({
        "parameters": { "list": { "type": "list", "default": ["a", "b", "c"] } },
        "folders": [{ "path": "/srv/x", "mode": "0750" }],
        "files": [
            { "path": "/etc/x/plain", "content": "new\n", "runs": "count" },
            { "path": "/etc/x/one", "content": "new\n", "check": "sleep 0.05; grep -q new /etc/x/one", "restarts": "x" },
            { "path": "/etc/x/new", "content": "new\n", "check": "sleep 0.05; grep -q new /etc/x/one" },
            { "path": "/etc/x/{{ item }}.conf", "each": "list", "prune": "*.conf", "content": "{{ item }}\n", "reloads": "x" },
            { "path": "/etc/x/shared", "content": "ours", "block": "x" },
        ],
        "commands": [{ "name": "count", "run": "date >/srv/x/ran; echo ran >/srv/x/ran" }],
        "units": { "x": {} },
    });
    let feature = [with(&own_feature("x", spec, &[]), json!({}))];
    // With what is left where a kill comes between the list of what can be taken back and the copies it names.
    let prepare = "mkdir -p /etc/x; for f in plain one old.conf; do echo old >/etc/x/$f; done; echo theirs >/etc/x/shared; \
                   mkdir -p /var/lib/phoenix/undo/x; echo old >/var/lib/phoenix/undo/x/10; \
                   systemctl start x; systemctl enable x; rm -f /var/log/systemctl";
    let Some(reference) = Root::new() else { return };
    reference.sh(prepare);
    reference.run(&apply(&feature)).ok();
    let wanted = reference.end_state(WHERE);
    assert!(!wanted.contains("undo/x"), "{wanted}");
    assert!(reference.sh("cat /var/log/systemctl").contains("restart x"));
    let mut interrupted = 0;
    for step in 0..24 {
        let root = Root::new().unwrap();
        root.sh(prepare);
        let ran = root.run_killed(&apply(&feature), 0.01 * f64::from(step) + 0.002);
        if !matches!(ran.reports.last(), Some(managers::features::Report::Done { .. })) {
            interrupted += 1;
        }
        root.run(&apply(&feature)).ok();
        assert_eq!(root.end_state(WHERE), wanted, "killed at step {step}: {ran:?}");
        // What the first run still owed is not forgotten: the service has read its new files.
        assert!(root.sh("cat /var/log/systemctl").contains("restart x"), "killed at step {step}: {ran:?}");
        root.run(&apply(&feature)).nothing_to_do();
    }
    assert!(interrupted > 3, "only {interrupted} runs were killed before their end");
}

#[test]
fn two_scripts_never_run_at_once() {
    let Some(root) = Root::new() else { return };
    let slow = json!({ "commands": [{ "name": "slow", "run": "test ! -e /srv/busy; touch /srv/busy; sleep 1; rm /srv/busy", "unless": "false" }] });
    let text = apply(&[with(&own_feature("x", slow, &[]), json!({}))]);
    std::thread::scope(|scope| {
        let runs = [scope.spawn(|| root.run(&text)), scope.spawn(|| root.run(&text))];
        for run in runs {
            let ran = run.join().unwrap();
            // The command's `unless` never holds, which is all that may be wrong.
            assert!(ran.failed().error("x").unwrap().contains("still fails"), "{ran:?}");
        }
    });
}

/// Two of a kind beside each other, apt's above all, leave what neither would.
#[test]
fn what_a_killed_script_began_is_waited_for() {
    let Some(root) = Root::new() else { return };
    let run = "mkdir /srv/busy && sleep 5 && rmdir /srv/busy && touch /srv/done";
    let slow = json!({ "commands": [{ "name": "slow", "run": run, "unless": "test -e /srv/done" }] });
    let text = apply(&[with(&own_feature("x", slow, &[]), json!({}))]);
    let begun = [1.0, 4.0].into_iter().any(|seconds| {
        root.run_killed(&text, seconds);
        root.sh("ls /srv").contains("busy")
    });
    assert!(begun, "it was killed before it began with the command");
    root.run(&text).ok();
    assert_eq!(root.sh("ls /srv"), "done\n");
}
