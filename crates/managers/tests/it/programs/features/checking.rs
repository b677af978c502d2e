//! What looking alone must say: every way in which a guest can differ from what its features say, each brought about on its
//! own, told without a change, and mended by the next run.

use super::*;

#[test]
fn looking_tells_every_difference() {
    let Some(root) = Root::new() else { return };
    let spec = json!({
        "packages": ["hello-x"],
        "users": [{ "name": "notes", "groups": ["adm"] }],
        "folders": [{ "path": "/srv/notes", "mode": "0750", "owner": "notes" }],
        "files": [
            { "path": "/etc/notes.conf", "content": "ours\n", "mode": "0640", "owner": "root:notes", "restarts": "notes" },
            { "path": "/etc/shared", "content": "ours", "block": "notes" },
        ],
        "commands": [
            { "name": "make it", "run": "touch /srv/made", "unless": "test -e /srv/made" },
            { "name": "tell", "run": "true", "unless": "test -e /srv/made", "after-units": true },
        ],
        "units": { "notes": {}, "off": { "enabled": false, "running": false } },
    });
    let feature = [with(&own_feature("x", spec, &[]), json!({}))];
    record::packages(&root, &["hello-x"]);
    root.sh("echo theirs >/etc/shared");
    root.run(&apply(&feature)).ok();
    root.run(&check(&feature)).nothing_to_do();
    for (change, told) in [
        ("dpkg -P hello-x >/dev/null", &["package install hello-x"][..]),
        (
            "userdel notes; useradd --system --user-group heir; groupadd notes",
            &[
                "user create notes",
                "folder update /srv/notes",
                "file update /etc/notes.conf",
                "unit restart notes",
            ],
        ),
        ("gpasswd -d notes adm >/dev/null", &["user update notes"]),
        ("rm -r /srv/notes", &["folder create /srv/notes"]),
        ("chmod 700 /srv/notes", &["folder update /srv/notes"]),
        ("chown root /srv/notes", &["folder update /srv/notes"]),
        ("rm /etc/notes.conf", &["file create /etc/notes.conf", "unit restart notes"]),
        ("echo more >>/etc/notes.conf", &["file update /etc/notes.conf", "unit restart notes"]),
        ("chmod 644 /etc/notes.conf", &["file update /etc/notes.conf", "unit restart notes"]),
        ("chown notes /etc/notes.conf", &["file update /etc/notes.conf", "unit restart notes"]),
        ("chgrp root /etc/notes.conf", &["file update /etc/notes.conf", "unit restart notes"]),
        (
            "mv /etc/notes.conf /etc/n; ln -s n /etc/notes.conf",
            &["file update /etc/notes.conf", "unit restart notes"],
        ),
        ("sed -i s/ours/yours/ /etc/shared", &["file update /etc/shared"]),
        ("rm /etc/shared", &["file create /etc/shared"]),
        ("rm /srv/made", &["command run make it", "command run tell"]),
        ("systemctl disable notes", &["unit enable notes"]),
        ("systemctl stop notes", &["unit start notes"]),
        ("systemctl enable off; systemctl start off", &["unit disable off", "unit stop off"]),
    ] {
        root.sh(change);
        let before = root.picture();
        let looked = root.run(&check(&feature));
        assert_eq!(looked.ok().words(), told, "{change}");
        assert!(looked.actions().iter().all(|action| !action.done), "{change}");
        same(&root.picture(), &before);
        let done = root.run(&apply(&feature)).ok().words();
        // One command did what another looked for.
        let expected: Vec<_> = told.iter().filter(|word| **word != "command run tell").collect();
        assert_eq!(done.iter().collect::<Vec<_>>(), expected, "{change}");
        root.run(&check(&feature)).nothing_to_do();
    }
}

// `--diff` does not take for unchanged what it could not look at.
#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let Some(root) = Root::new() else { return };
    let file = |path: &str| json!({ "files": [{ "path": path, "content": "ours\n" }] });
    let all = [
        with(&own_feature("first", file("/etc/first"), &[]), json!({})),
        with(&own_feature("second", json!({ "folders": [{ "path": "/etc/second" }] }), &[]), json!({})),
        with(&own_feature("third", file("/etc/third"), &[]), json!({})),
    ];
    root.sh("echo theirs >/etc/first; touch /etc/second");
    let no_secret = |_: &SecretRef| Ok(String::new());
    let preview = managers::features::preview::preview(&root.guest(), &all, &no_secret).await.unwrap();
    let told: Vec<&str> = preview.actions.iter().map(|action| action.target.as_str()).collect();
    assert_eq!(told, ["/etc/first"]);
    assert_eq!(preview.files["/etc/first"], "@@ -1 +1 @@\n-theirs\n+ours\n");
    let unasked: Vec<_> = preview.unasked.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    let file = "/etc/second is there and is no folder";
    assert_eq!(unasked, [("second", file), ("third", "one before it could not be")]);
}
