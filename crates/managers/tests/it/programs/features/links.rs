//! Attacks: a service's user, who may do in the folder that is theirs what they like, has root act somewhere else.

use std::time::{Duration, Instant};

use managers::features::{builtin, removal};

use super::*;

/// A user with a folder of their own, and what they must not get at.
fn with_user() -> Option<Root> {
    let root = Root::new()?;
    root.sh(
        "useradd --system --shell /bin/sh svc; mkdir -p /srv/svc; chown svc: /srv/svc; mkdir -m 0700 /etc/victims.d
         umask 077; echo secret >/etc/victim; echo theirs >/etc/victims.d/conf; echo theirs >/etc/victims.d/other",
    );
    Some(root)
}

/// What they do, as themselves.
fn svc(root: &Root, text: &str) -> String {
    root.sh(&as_svc(text))
}

fn as_svc(text: &str) -> String {
    format!("cd /srv/svc; setpriv --reuid=svc --regid=svc --clear-groups sh -c '{text}'")
}

/// That nothing came of it: neither is anything of root's changed, nor is the secret anywhere where they can read it.
#[track_caller]
fn unharmed(root: &Root, case: &str) {
    assert_eq!(
        root.sh(
            "find /etc/victim /etc/victims.d -printf '%p %m %u:%g %y\\n' | sort; cat /etc/victim /etc/victims.d/*"
        ),
        "/etc/victim 600 root:root f\n/etc/victims.d 700 root:root d\n/etc/victims.d/conf 600 root:root f\n\
         /etc/victims.d/other 600 root:root f\nsecret\ntheirs\ntheirs\n",
        "{case}"
    );
    assert_eq!(svc(root, "grep -rs secret /srv/svc /var/lib/phoenix /etc/victim || true"), "", "{case}");
}

fn one(spec: Value) -> Rendered {
    with(&own_feature("x", spec, &[]), json!({}))
}

fn file(content: &str) -> Value {
    json!({ "path": "/srv/svc/conf", "content": content, "owner": "svc", "mode": "0600" })
}

#[test]
fn a_link_of_somebody_elses_leads_root_nowhere() {
    let Some(root) = with_user() else { return };
    let below = json!({ "path": "/srv/svc/sub/conf", "content": "x", "owner": "svc" });
    let link = "and others than root can change where it leads";
    let cases = [
        ("the folder of a file", "ln -s /etc/victims.d sub", json!({ "files": [below.clone()] }), link),
        (
            "a folder above it",
            "ln -s /etc sub",
            json!({ "files": [{ "path": "/srv/svc/sub/victims.d/conf", "content": "x" }] }),
            link,
        ),
        (
            "a folder that is to be theirs",
            "ln -s /etc/victims.d data",
            json!({ "folders": [{ "path": "/srv/svc/data", "owner": "svc", "mode": "0755" }] }),
            link,
        ),
        (
            "a folder that is to be made",
            "ln -s /etc/victims.d data",
            json!({ "folders": [{ "path": "/srv/svc/data/new", "owner": "svc" }] }),
            link,
        ),
        (
            "a folder that is kept tidy",
            "ln -s /etc/victims.d tidy",
            json!({ "folders": [{ "path": "/srv/svc/tidy", "prune": true }] }),
            link,
        ),
        (
            "lines in a file",
            "ln -s /etc/victim list",
            json!({ "files": [{ "path": "/srv/svc/list", "content": "x", "block": "x" }] }),
            "is no file",
        ),
        (
            "lines in a file that is read and never ends",
            "mkfifo list",
            json!({ "files": [{ "path": "/srv/svc/list", "content": "x", "block": "x" }] }),
            "is no file",
        ),
    ];
    for (case, before, spec, error) in cases {
        svc(&root, &format!("rm -rf /srv/svc/*; {before}"));
        let feature = [one(spec)];
        let began = Instant::now();
        root.run(&check(&feature));
        let ran = root.run(&apply(&feature));
        unharmed(&root, case);
        let said = ran.failed().error("x").unwrap();
        assert!(said.contains(error), "{case}: {said}");
        assert!(began.elapsed() < Duration::from_secs(20), "{case}");
        root.sh("rm -rf /var/lib/phoenix /etc/phoenix");
    }
}

#[test]
fn a_key_is_lent_from_a_folder_of_roots_alone() {
    let Some(root) = with_user() else { return };
    let lent = |path: &str| {
        let mut feature = one(json!({}));
        feature.own_keys("root:svc", &[path.to_owned()]);
        [feature]
    };
    svc(&root, "ln -s /etc/victim key.pem");
    root.run(&apply(&lent("/srv/svc/key.pem"))).failed();
    unharmed(&root, "a key");
    root.sh("mkdir -p /etc/pair/one; cd /etc/pair; umask 077; echo key >one/key.pem; ln -s one now; ln -s now/key.pem key.pem");
    root.run(&apply(&lent("/etc/pair/key.pem"))).ok();
    assert_eq!(root.sh("stat -c '%U:%G %a' /etc/pair/one/key.pem"), "root:svc 640\n");
    root.run(&apply(&lent("/etc/pair/key.pem"))).nothing_to_do();
}

#[test]
fn a_file_is_put_where_a_link_or_a_pipe_is_and_not_where_that_leads() {
    let Some(root) = with_user() else { return };
    for (content, before) in [("1", "ln -sfn /etc/victim conf"), ("2", "rm conf; mkfifo conf"), ("3", "true")]
    {
        svc(&root, before);
        root.run(&apply(&[one(json!({ "files": [file(content)] }))])).ok();
        unharmed(&root, before);
        assert_eq!(
            root.sh("stat -c '%a %U:%G %F' /srv/svc/conf; cat /srv/svc/conf; ls -A /srv/svc"),
            format!("600 svc:svc regular file\n{content}conf\n")
        );
    }
    // Root's own files in their folder are as they are to be, too.
    svc(&root, "mkdir sub; chmod g+s sub");
    let spec = json!({ "files": [
        { "path": "/srv/svc/sub/conf", "content": "x", "mode": "0640" },
        { "path": "/srv/svc/sub/deep/er", "content": "y", "owner": "root:svc", "mode": "0640" },
    ] });
    root.run(&apply(&[one(spec.clone())])).ok();
    assert_eq!(
        root.sh("cd /srv/svc/sub; stat -c '%a %U:%G' conf deep/er; find . -name '.phoenix*'"),
        "640 root:root\n640 root:svc\n"
    );
    root.run(&apply(&[one(spec)])).nothing_to_do();
}

// Where root alone made a link, it means it.
#[test]
fn links_that_only_root_could_make_are_followed() {
    let Some(root) = Root::new() else { return };
    root.sh(
        "mkdir -p /data/www/real; ln -s /data/www /srv/www; ln -s ./real/../real /data/www/alias; echo old >/data/list
         ln -s /data/list /etc/list",
    );
    let feature = [one(json!({
        "folders": [{ "path": "/srv/www/alias/sub", "mode": "0750" }, { "path": "/srv/www", "mode": "0711" }],
        "files": [
            { "path": "/srv/www/alias/sub/conf", "content": "x" },
            { "path": "/etc/list", "content": "new", "block": "x" },
        ],
    }))];
    root.run(&apply(&feature)).ok();
    assert_eq!(
        root.sh("cat /data/www/real/sub/conf; stat -c %a /data/www/real/sub /data/www; cat /etc/list"),
        "x750\n711\nold\n# BEGIN phoenix x\nnew\n# END phoenix x\n"
    );
    root.run(&apply(&feature)).nothing_to_do();
    root.run(&removal(&["x".to_owned()], &[], Mode::Apply).text).ok();
    assert_eq!(
        root.sh("find /data/www /etc/list ! -type d; cat /etc/list"),
        "/data/www/alias\n/etc/list\nold\n"
    );
}

#[test]
fn old_files_are_put_back_in_their_place_alone() {
    let Some(root) = with_user() else { return };
    root.run(&apply(&[one(json!({ "files": [file("old")] }))])).ok();
    // While the check runs they prepare for what follows when it fails.
    let attack = as_svc("ln -sfn /etc/victim /srv/svc/.phoenix-new");
    let mut bad = file("bad");
    bad["check"] = format!("{attack}; false").into();
    root.run(&apply(&[one(json!({ "files": [bad] }))])).failed();
    unharmed(&root, "a link in the temporary file's place");
    assert_eq!(root.sh("cat /srv/svc/conf; stat -c '%a %U' /srv/svc/conf"), "old600 svc\n");
    // The folder goes away meanwhile, and a link is in its place.
    let conf = json!({ "path": "/srv/svc/sub/conf", "content": "old", "owner": "svc", "mode": "0600" });
    svc(&root, "rm -f .phoenix-new; mkdir sub");
    root.run(&apply(&[one(json!({ "files": [conf.clone()] }))])).ok();
    let attack = as_svc("mv sub away; ln -s /etc/victims.d sub");
    let mut bad = conf;
    bad["content"] = "bad".into();
    bad["check"] = format!("{attack}; false").into();
    let ran = root.run(&apply(&[one(json!({ "files": [bad] }))]));
    unharmed(&root, "a link in the folder's place");
    let said = ran.failed().error("x").unwrap();
    assert!(said.contains("not all of the old files could be put back"), "{said}");
}

#[test]
fn what_is_taken_back_is_taken_from_nowhere_else() {
    let Some(root) = with_user() else { return };
    svc(&root, "mkdir sub; echo before >sub/conf");
    let spec = json!({ "files": [
        { "path": "/srv/svc/sub/conf", "content": "x" },
        { "path": "/srv/svc/sub/other", "content": "x" },
        { "path": "/srv/svc/sub/list", "content": "x", "block": "x" },
    ] });
    root.run(&apply(&[one(spec.clone())])).ok();
    svc(&root, "mv sub away; ln -s /etc/victims.d sub");
    let remove = removal(&["x".to_owned()], &[], Mode::Apply).text;
    root.run(&remove).failed();
    unharmed(&root, "taking back");
    // Also where it no longer is among what the feature has.
    root.run(&apply(&[one(json!({}))])).failed();
    unharmed(&root, "no longer wanted");
    svc(&root, "rm sub; mv away sub");
    root.run(&remove).ok();
    assert_eq!(root.sh("cat /srv/svc/sub/conf; ls /srv/svc/sub"), "before\nconf\n");
}

/// What they do all the time, as fast as they can: everything that is theirs becomes a link and comes back.
const SWAPPING: &str = r#"
use strict;
chdir "/srv/svc" or die;
my $end = time + 60;
my $n = 0;
while (time < $end && !-e "/srv/svc/end") {
    symlink "/etc/victim", ".phoenix-new";
    symlink "/etc/victims.d/conf", "sub/.phoenix-new";
    # What root makes there is put out of the way, and a link is where it was.
    for my $new (glob(".phoenix-new?* sub/.phoenix-new?*")) {
        next unless rename $new, "taken" . ++$n;
        symlink "/etc/victims.d", $new;
        unlink $new;
        rename "taken$n", $new;
    }
    for (["sub", "/etc/victims.d"], ["list", "/etc/victim"], ["conf", "/etc/victim"], ["data", "/etc/victims.d"]) {
        my ($name, $target) = @$_;
        next unless rename $name, "$name.mine";
        symlink $target, $name;
        unlink $name;
        rename "$name.mine", $name;
    }
}
print "$n\n";
"#;

#[test]
fn nobody_is_fast_enough() {
    let Some(root) = with_user() else { return };
    root.put("/usr/local/bin/swapping", SWAPPING.as_bytes());
    root.sh("chmod 755 /usr/local/bin/swapping");
    svc(&root, "mkdir -p sub data; echo mine >list; echo mine >sub/conf");
    let attackers = [(); 2].map(|()| root.background(&as_svc("exec perl /usr/local/bin/swapping")));
    let until = Instant::now() + Duration::from_secs(8);
    let (mut good, mut rounds) = (0, 0);
    while rounds < 20 && Instant::now() < until {
        rounds += 1;
        let mut checked = file(&format!("checked {rounds}"));
        checked["path"] = "/srv/svc/sub/checked".into();
        checked["check"] = "false".into();
        let content = format!("round {rounds}");
        let parts = [
            json!({ "files": [file(&content)] }),
            json!({ "files": [{ "path": "/srv/svc/sub/conf", "content": content, "owner": "svc" }] }),
            json!({ "files": [{ "path": "/srv/svc/list", "content": content, "block": "x" }] }),
            json!({ "folders": [{ "path": "/srv/svc/data", "owner": "svc", "mode": format!("07{}0", rounds % 8) }] }),
            json!({ "folders": [{ "path": "/srv/svc/sub", "prune": true }], "files": [checked] }),
        ];
        for (number, spec) in parts.into_iter().enumerate() {
            let feature = with(&own_feature(&format!("part-{number}"), spec, &[]), json!({}));
            good += u32::from(root.run(&apply(&[feature])).code == Some(0));
            unharmed(&root, &format!("part {number} of round {rounds}"));
        }
    }
    root.sh("touch /srv/svc/end");
    for attacker in attackers {
        assert!(attacker.wait_with_output().unwrap().status.success());
    }
    // They may hinder what is done in what is theirs, but not everywhere at once.
    assert!(good > 0 && rounds > 1, "{good} of {rounds}");
}

// ---- the catalog's own scripts --------------------------------------------------------------------------------------

/// A script of the catalog where its feature puts it, and the user that its service has.
fn script_of(root: &Root, path: &str, user: &str, home: &str) -> String {
    let (_, bytes) = builtin().find(|(name, _)| *name == path).unwrap();
    let to = format!("/usr/local/lib/phoenix/{}", path.rsplit('/').next().unwrap());
    root.put(&to, bytes);
    root.sh(&format!(
        "chmod 755 {to} /usr/local/lib/phoenix; useradd --system {user}; install -d -m 0750 -o {user} -g {user} {home}
         umask 077; echo secret >/etc/victim; mkdir /etc/victims.d; touch /etc/victims.d/victim.db"
    ));
    to
}

#[test]
fn redis_has_root_copy_nothing() {
    let Some(root) = Root::new() else { return };
    let script = script_of(&root, "redis/redis", "redis", "/var/lib/redis");
    root.sh("mkdir /etc/redis; echo 'appendonly yes' >/etc/redis/redis.conf");
    let as_redis = "cd /var/lib/redis; setpriv --reuid=redis --regid=redis --clear-groups";
    root.sh(&format!("{as_redis} ln -s /etc/victim dump.rdb"));
    root.sh(&format!("{script} prepare || true"));
    assert_eq!(root.sh(&format!("{as_redis} grep -rsl secret . || true")), "");
    assert_eq!(root.sh("stat -c '%U %a' /etc/victim"), "root 600\n");
    // What is redis' own becomes the beginning of its log.
    root.sh(&format!(
        "{as_redis} sh -c 'rm -rf dump.rdb appendonlydir*; echo saved >dump.rdb'; {script} prepare"
    ));
    assert_eq!(
        root.sh("cd /var/lib/redis; cat appendonlydir/*.rdb; stat -c %U:%G appendonlydir appendonlydir/*"),
        "saved\nredis:redis\nredis:redis\nredis:redis\n"
    );
}

#[test]
fn libraries_that_are_installed_have_root_write_nowhere() {
    let Some(root) = Root::new() else { return };
    let user = "python-service";
    let script = script_of(&root, "python-service/python-venv", user, "/srv/python-service");
    // What a library runs while it is installed, in the place of Python itself.
    root.put(
        "/usr/local/bin/python3",
        b"#!/bin/sh\n[ \"$1\" = -m ] || exit 0\ncd \"$3\" && ln -s /etc/victim complete && ln -s /etc/victims.d lib && mkdir bin\n",
    );
    root.sh(&format!("chmod 755 /usr/local/bin/python3; {script} make plain"));
    assert_eq!(
        root.sh("cat /etc/victim; stat -c '%U %a' /etc/victim /etc/victims.d"),
        "secret\nroot 600\nroot 700\n"
    );
    assert_eq!(
        root.sh("cd /opt/python-service/venv/; stat -c '%U %F' . bin complete lib"),
        "root directory\nroot directory\nroot regular empty file\nroot symbolic link\n"
    );
    root.sh(&format!("{script} made plain"));
}

#[test]
fn the_authoritys_guard_removes_nothing_of_others() {
    let Some(root) = Root::new() else { return };
    let script = script_of(&root, "step-ca/authority", "step", "/var/lib/step-ca");
    root.sh(
        "mkdir /etc/step-ca; touch /etc/step-ca/base.json /etc/root.crt; cd /usr/local/lib/phoenix; chmod 755 .
         printf 'domain=x host=x root=/etc/root.crt least_free=999999999999999 most_database=1\n' >authority.facts
         cd /var/lib/step-ca; setpriv --reuid=step --regid=step --clear-groups ln -s /etc/victims.d damaged",
    );
    root.sh(&format!("{script} guard"));
    assert_eq!(root.sh("ls /etc/victims.d"), "victim.db\n");
    // What is its own gives way.
    root.sh(&format!(
        "cd /var/lib/step-ca; rm damaged
         setpriv --reuid=step --regid=step --clear-groups sh -c 'mkdir damaged; touch damaged/x.db'
         {script} guard; [ ! -e damaged/x.db ]"
    ));
}

// Whoever may only look cannot keep Phoenix from its work either.
#[test]
fn nobody_else_can_hold_the_lock() {
    let Some(root) = with_user() else { return };
    let feature = [one(json!({ "files": [{ "path": "/etc/x", "content": "x" }] }))];
    root.run(&apply(&feature)).ok();
    let line = "for f in /etc/phoenix /var/lib/phoenix /var/lib/phoenix/*; do flock -w 10 \"$f\" sleep 20 & done; wait";
    root.put("/usr/local/bin/holding", line.as_bytes());
    root.sh("chmod 755 /usr/local/bin/holding");
    let mut holder = root.background(&as_svc("exec sh /usr/local/bin/holding"));
    root.sh("for n in $(seq 50); do flock -n /etc/phoenix true || exit 0; sleep 0.2; done; exit 1");
    let began = Instant::now();
    root.run(&check(&feature)).nothing_to_do();
    root.run(&apply(&feature)).nothing_to_do();
    assert!(began.elapsed() < Duration::from_secs(10));
    holder.kill().unwrap();
    holder.wait().unwrap();
}
