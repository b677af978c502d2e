//! What a feature made is remembered, and taken back when it is no longer to be: a thing of it, or the whole.

use managers::features::{Outcome, Report, removal};

use super::*;

fn remove(names: &[&str], needed: &[&str], mode: Mode) -> Vec<u8> {
    let all = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    removal(&all(names), &all(needed), mode).text
}

fn result(ran: &crate::root::Ran, name: &str) -> Option<Outcome> {
    ran.reports.iter().find_map(|report| match report {
        Report::FeatureDone { feature, result, .. } if feature == name => Some(*result),
        _ => None,
    })
}

/// A source of packages in the root itself, and a list of how apt-get was called.
pub(super) fn packages(root: &Root, names: &[&str]) {
    root.sh(
        "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; mkdir -p /repo
         echo 'deb [trusted=yes] copy:/repo ./' >/etc/apt/sources.list; rm -rf /var/lib/apt/lists/*
         printf '#!/bin/sh\\ncase $* in *-s*) ;; *) echo \"$@\" >>/repo/calls ;; esac\\nexec /usr/bin/apt-get \"$@\"\\n' >/usr/local/sbin/apt-get
         chmod 755 /usr/local/sbin/apt-get",
    );
    for name in names {
        root.sh(&format!(
            "cd /repo; mkdir -p {name}/DEBIAN {name}/var/lib/{name} {name}/etc/{name}; echo packaged >{name}/etc/{name}/conf
             printf 'Package: {name}\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' >{name}/DEBIAN/control
             echo /etc/{name}/conf >{name}/DEBIAN/conffiles; dpkg-deb -b {name} {name}.deb >/dev/null
             {{ cat {name}/DEBIAN/control; printf 'Filename: ./{name}.deb\\nSize: %s\\nSHA256: %s\\n\\n' \
                $(stat -c %s {name}.deb) $(sha256sum {name}.deb | cut -c1-64); }} >>Packages"
        ));
    }
}

/// How often apt-get installed or removed something.
fn transactions(root: &Root) -> usize {
    root.sh("grep -cE ' (install|remove) ' /repo/calls || true").trim().parse().unwrap()
}

fn whole() -> Feature {
    let spec = json!({
        "parameters": { "extra": { "type": "boolean", "default": true }, "word": { "type": "string", "default": "ours" } },
        "packages": ["hello-x"],
        "users": [{ "name": "notes" }],
        "folders": [{ "path": "/srv/notes/deep", "owner": "notes" }, { "path": "/srv/made" }],
        "files": [
            { "path": "/etc/hello-x/conf", "content": "{{ word }}\n", "restarts": "x" },
            { "path": "/etc/notes/new/conf", "content": "ours\n", "reloads": "other" },
            { "path": "{% if extra %}/etc/notes/extra{% endif %}", "content": "ours\n" },
            { "path": "{% if extra %}/etc/before{% endif %}", "content": "ours\n", "check": "grep -q ours /etc/before" },
            { "path": "/etc/shared", "content": "ours", "block": "notes" },
            { "path": "/etc/alone", "content": "ours", "block": "notes" },
        ],
        "units": { "x": {}, "{% if extra %}extra{% endif %}": {}, "off": { "enabled": false, "running": false } },
    });
    own_feature("notes", spec, &[])
}

const WHERE: &str = "/etc/hello-x /etc/notes /etc/before /etc/shared /etc/alone /srv /var/lib/test-units";

fn before(root: &Root) {
    packages(root, &["hello-x", "hello-y"]);
    root.sh(
        "echo theirs >/etc/before; chmod 640 /etc/before; echo theirs >/etc/shared; systemctl start off; systemctl enable off
         systemctl start other",
    );
}

fn state(root: &Root) -> String {
    let users = root.sh("getent passwd notes || true; dpkg-query -W -f '${Package} ${db:Status-Status}\\n' hello-x 2>&1 || true");
    format!(
        "{}{users}{}",
        root.end_state(WHERE),
        root.sh(
            "ls -A /var/lib/phoenix/made /var/lib/phoenix/kept /var/lib/phoenix/pending 2>/dev/null || true"
        )
    )
}

#[test]
fn what_a_feature_made_goes_with_it() {
    let Some(root) = Root::new() else { return };
    before(&root);
    let was = root.end_state("/etc/before /etc/shared /srv /var/lib/test-units");
    root.run(&apply(&[with(&whole(), json!({}))])).ok();
    root.run(&apply(&[with(&whole(), json!({}))])).nothing_to_do();
    // Only looking changes nothing.
    let picture = root.picture();
    let looked = root.run(&remove(&["notes"], &[], Mode::Check)).ok().words();
    same(&root.picture(), &picture);
    root.sh("rm -f /var/log/systemctl");
    let ran = root.run(&remove(&["notes"], &[], Mode::Apply));
    let words = ran.ok().words();
    for word in [
        "unit stop x",
        "unit disable x",
        "unit enable off",
        "unit start off",
        "file restore /etc/before",
        "file restore /etc/hello-x/conf",
        "file remove /etc/notes/new/conf",
        "file update /etc/shared",
        "folder remove /srv/notes",
        "folder remove /etc/notes",
        "user remove notes",
        "package remove hello-x",
        "unit reload other",
    ] {
        assert!(words.contains(&word.to_owned()), "{word}: {words:#?}");
    }
    assert!(looked.contains(&"file remove /etc/notes/extra".to_owned()), "{looked:#?}");
    assert_eq!(root.end_state("/etc/before /etc/shared /srv /var/lib/test-units"), was);
    assert_eq!(
        root.sh("ls -d /etc/notes /etc/alone /srv/* 2>/dev/null || true; getent passwd notes || true"),
        ""
    );
    // Not purged: what a package's settings were comes back with it.
    assert_eq!(
        root.sh("cat /etc/hello-x/conf; dpkg-query -W -f '${db:Status-Status}' hello-x"),
        "packaged\nconfig-files"
    );
    assert_eq!(
        root.sh("cat /etc/phoenix/applied.json; ls -A /var/lib/phoenix/made /var/lib/phoenix/kept"),
        "{\n}\n/var/lib/phoenix/kept:\n\n/var/lib/phoenix/made:\n"
    );
    root.run(&remove(&["notes"], &[], Mode::Apply)).nothing_to_do();
    // And it comes back as new.
    root.run(&apply(&[with(&whole(), json!({}))])).ok();
    root.run(&apply(&[with(&whole(), json!({}))])).nothing_to_do();
}

// Design, promise 5: killed at any moment and started again, it ends in the same state.
#[test]
fn a_removal_that_is_killed_ends_in_the_same_state() {
    let Some(reference) = Root::new() else { return };
    before(&reference);
    reference.run(&apply(&[with(&whole(), json!({}))])).ok();
    reference.run(&remove(&["notes"], &[], Mode::Apply)).ok();
    let wanted = state(&reference);
    let (mut interrupted, root) = (0, Root::new().unwrap());
    before(&root);
    for step in 0..14 {
        root.run(&apply(&[with(&whole(), json!({}))])).ok();
        let ran = root.run_killed(&remove(&["notes"], &[], Mode::Apply), 0.09 * f64::from(step) + 0.01);
        interrupted += u32::from(!matches!(ran.reports.last(), Some(Report::Done { .. })));
        let again = root.run(&remove(&["notes"], &[], Mode::Apply));
        again.ok();
        assert_eq!(state(&root), wanted, "killed at step {step}: {ran:?} {again:?}");
    }
    assert!(interrupted > 3, "only {interrupted} runs were killed before their end");
}

#[test]
fn what_a_feature_no_longer_says_goes() {
    let Some(root) = Root::new() else { return };
    before(&root);
    root.run(&apply(&[with(&whole(), json!({}))])).ok();
    let less = with(&whole(), json!({ "extra": false }));
    let expected =
        ["unit disable extra", "unit stop extra", "file restore /etc/before", "file remove /etc/notes/extra"];
    assert_eq!(root.run(&check(std::slice::from_ref(&less))).ok().words(), expected);
    assert_eq!(root.run(&apply(std::slice::from_ref(&less))).ok().words(), expected);
    assert_eq!(root.sh("cat /etc/before; stat -c %a /etc/before; ls /etc/notes"), "theirs\n640\nnew\n");
    root.run(&apply(std::slice::from_ref(&less))).nothing_to_do();
    // What was there before the feature is still known when it is there again and goes at last.
    root.run(&apply(&[with(&whole(), json!({}))])).ok();
    root.run(&remove(&["notes"], &[], Mode::Apply)).ok();
    assert_eq!(root.sh("cat /etc/before"), "theirs\n");
    // A thing that moves to another feature stays where it is.
    let one = |name: &str, file: bool| {
        let files = if file { json!([{ "path": "/etc/moved/x", "content": "x" }]) } else { json!([]) };
        with(&own_feature(name, json!({ "files": files, "packages": ["hello-y"] }), &[]), json!({}))
    };
    root.run(&apply(&[one("a", true), one("b", false)])).ok();
    root.run(&apply(&[one("b", true), one("a", false)])).nothing_to_do();
    assert_eq!(result(&root.run(&remove(&["a"], &[], Mode::Apply)), "a"), Some(Outcome::Ok));
    assert_eq!(root.sh("cat /etc/moved/x; dpkg-query -W -f '${db:Status-Status}' hello-y"), "xinstalled");
    let words = root.run(&remove(&["b"], &[], Mode::Apply)).ok().words();
    assert_eq!(words, ["file remove /etc/moved/x", "folder remove /etc/moved", "package remove hello-y"]);
}

// A folder that one feature keeps tidy may hold another's file, also when only the one is applied anew.
#[test]
fn what_another_feature_put_into_a_folder_is_not_tidied_away() {
    let Some(root) = Root::new() else { return };
    let tidy = |word: &str| {
        let spec = json!({
            "folders": [{ "path": "/etc/tidy.d", "prune": true }],
            "files": [{ "path": "/etc/tidy.d/own.conf", "content": word }],
        });
        with(&own_feature("tidy", spec, &[]), json!({}))
    };
    let spec = json!({ "files": [{ "path": "/etc/tidy.d/other.conf", "content": "x" }] });
    let other = with(&own_feature("other", spec, &[]), json!({}));
    root.run(&apply(&[tidy("a"), other])).ok();
    root.sh("touch /etc/tidy.d/strange.conf");
    let changed = [tidy("b")];
    let expected = ["file update /etc/tidy.d/own.conf", "file remove /etc/tidy.d/strange.conf"];
    assert_eq!(root.run(&check(&changed)).ok().words(), expected);
    assert_eq!(root.run(&apply(&changed)).ok().words(), expected);
    assert_eq!(root.sh("ls /etc/tidy.d"), "other.conf\nown.conf\n");
    root.run(&remove(&["other"], &[], Mode::Apply)).ok();
    assert_eq!(root.sh("ls /etc/tidy.d"), "own.conf\n");
}

#[test]
fn what_people_keep_and_what_others_need_stays_and_is_named() {
    let Some(root) = Root::new() else { return };
    before(&root);
    let spec = json!({
        "packages": ["hello-x", "hello-y", "bash"],
        "users": [{ "name": "notes" }, { "name": "nobodys" }],
        "folders": [{ "path": "/srv/notes" }],
        "data": ["/srv/elsewhere", "/srv/nowhere"],
    });
    root.run(&apply(&[with(&own_feature("x", spec, &[]), json!({}))])).ok();
    root.sh("echo data >/srv/notes/db; chown notes /srv/notes/db; mkdir /srv/elsewhere; echo data >/var/lib/hello-x/db");
    let ran = root.run(&remove(&["x"], &["hello-y"], Mode::Apply));
    assert_eq!(
        ran.ok().words(),
        [
            "folder keep /srv/notes",
            "user remove nobodys",
            "user keep notes",
            "folder keep /srv/elsewhere",
            "package remove hello-x",
            "folder keep /var/lib/hello-x",
        ]
    );
    assert!(matches!(ran.reports[ran.reports.len() - 2], Report::FeatureDone { changed: 2, .. }), "{ran:?}");
    root.sh(
        "test -e /srv/notes/db && test -e /var/lib/hello-x/db && id notes && dpkg -s hello-y bash >/dev/null",
    );
}

// A guest of before there was a record: nothing is guessed.
#[test]
fn what_is_not_known_stays() {
    let Some(root) = Root::new() else { return };
    before(&root);
    root.run(&apply(&[with(&whole(), json!({}))])).ok();
    root.sh("rm -rf /var/lib/phoenix/made /var/lib/phoenix/kept");
    let picture = root.end_state(WHERE);
    let ran = root.run(&remove(&["notes"], &[], Mode::Apply));
    assert_eq!((result(&ran, "notes"), ran.ok().words()), (Some(Outcome::Unknown), vec![]));
    assert_eq!(root.end_state(WHERE), picture);
    // What it makes from then on is known.
    root.run(&apply(&[with(&whole(), json!({ "extra": false }))])).ok();
    root.sh("rm -rf /var/lib/phoenix/made /var/lib/phoenix/kept");
    root.run(&apply(&[with(&whole(), json!({ "word": "more" }))])).ok();
    root.sh("rm -f /etc/notes/new/conf");
    root.run(&apply(&[with(&whole(), json!({ "word": "more" }))])).ok();
    let ran = root.run(&remove(&["notes"], &[], Mode::Apply));
    assert_eq!(
        (result(&ran, "notes"), ran.ok().words()),
        (
            Some(Outcome::Unknown),
            // Blocks say themselves whose they are.
            [
                "file remove /etc/notes/new/conf",
                "file update /etc/alone",
                "file update /etc/shared",
                "unit reload other"
            ]
            .map(str::to_owned)
            .to_vec()
        )
    );
    assert_eq!(root.sh("cat /etc/hello-x/conf"), "more\n");
}

#[test]
fn what_was_applied_last_goes_first() {
    let Some(root) = Root::new() else { return };
    let one = |name: &str| {
        with(
            &own_feature(
                name,
                json!({ "files": [{ "path": format!("/etc/{name}/x"), "content": "x" }] }),
                &[],
            ),
            json!({}),
        )
    };
    root.run(&apply(&[one("a"), one("c"), one("b")])).ok();
    let words = root.run(&remove(&["a", "b", "c", "d"], &[], Mode::Apply)).ok().words();
    let files: Vec<_> = words.iter().filter_map(|word| word.strip_prefix("file remove ")).collect();
    assert_eq!(files, ["/etc/b/x", "/etc/c/x", "/etc/a/x"]);
}

// ---- packages ------------------------------------------------------------------------------------------------------

fn wants(name: &str, package: &str) -> Rendered {
    with(&own_feature(name, json!({ "packages": [package] }), &[]), json!({}))
}

#[test]
fn all_packages_come_in_one_transaction() {
    let Some(root) = Root::new() else { return };
    packages(&root, &["hello-x", "hello-y", "hello-z"]);
    let settings = json!({
        "packages": ["hello-x"],
        "files": [{ "path": "/etc/apt/apt.conf.d/99x", "content": "DPkg::Pre-Invoke { \"echo in force >>/repo/settings\"; };\n" }],
    });
    let three =
        [with(&own_feature("x", settings, &[]), json!({})), wants("y", "hello-y"), wants("z", "hello-z")];
    let ran = root.run(&apply(&three));
    assert_eq!(
        ran.ok().words(),
        [
            "file create /etc/apt/apt.conf.d/99x",
            "package install hello-x",
            "package install hello-y",
            "package install hello-z"
        ]
    );
    let of: Vec<_> = ran.actions().iter().map(|a| a.feature.clone()).collect();
    assert_eq!(of, ["x", "x", "y", "z"]);
    assert!(matches!(ran.reports[2], Report::FeatureDone { changed: 2, .. }), "{ran:?}");
    assert_eq!(
        (transactions(&root), root.sh("grep -c update /repo/calls; cat /repo/settings | uniq")),
        (1, "1\nin force\n".into())
    );
    root.run(&apply(&three)).nothing_to_do();
    assert_eq!(transactions(&root), 1);
}

#[test]
fn a_package_that_cannot_be_had_is_its_own_features_fault() {
    let Some(root) = Root::new() else { return };
    packages(&root, &["hello-x", "hello-y"]);
    let ran = root.run(&apply(&[wants("x", "hello-x"), wants("z", "hello-z"), wants("y", "hello-y")]));
    assert_eq!(ran.failed().words(), ["package install hello-x"]);
    let error = ran.error("z").unwrap();
    assert!(
        error.starts_with("failed to install hello-z: ") && error.contains("Unable to locate package"),
        "{error}"
    );
    assert_eq!(ran.error("y").unwrap(), "z failed before it");
    assert_eq!(root.sh("ls /usr/sbin/policy-rc.d 2>/dev/null || true"), "");
    // One that would have come in the same transaction, and whose guest is not fit for it, holds back nobody.
    let unfit = json!({ "packages": ["hello-z"], "preflight": [{ "command": "false", "message": "no" }] });
    let ran = root.run(&apply(&[wants("y", "hello-y"), with(&own_feature("z", unfit, &[]), json!({}))]));
    assert_eq!((ran.failed().words(), ran.error("z")), (vec!["package install hello-y".into()], Some("no")));
}

// A source, a key, an answer that a feature brings count for the packages of those after it.
#[test]
fn what_sets_up_apt_comes_before_the_packages_of_others() {
    let Some(root) = Root::new() else { return };
    packages(&root, &["hello-x"]);
    root.sh("mkdir /more; cd /repo; mkdir -p kept; mv Packages hello-x.deb /more/; : >Packages; touch /var/lib/phoenix/lists 2>/dev/null || true");
    let source = json!({ "files": [{ "path": "/etc/apt/sources.list.d/more.list", "content": "deb [trusted=yes] copy:/more ./\n" }] });
    let ran = root.run(&apply(&[
        with(&own_feature("source", source, &[]), json!({})),
        wants("x", "hello-x"),
        wants("y", "bash"),
    ]));
    assert_eq!(
        ran.ok().words(),
        ["file create /etc/apt/sources.list.d/more.list", "package install hello-x"]
    );
    assert!(!ran.stderr.contains("tries for itself"), "{}", ran.stderr);
    let answers = json!({ "commands": [{ "name": "answer", "run": "dpkg -s hello-x >/dev/null 2>&1 && echo late >>/repo/order; true" }],
        "files": [{ "path": "/etc/answers", "content": "{{ word }}", "runs": "answer" }], "parameters": { "word": { "type": "string" } } });
    root.sh("dpkg -P hello-x");
    root.run(&apply(&[
        with(&own_feature("answers", answers, &[]), json!({ "word": "a" })),
        wants("x", "hello-x"),
        wants("y", "hello-x"),
    ]))
    .ok();
    assert_eq!(root.sh("cat /repo/order 2>/dev/null || echo in time"), "in time\n");
}
