//! Shares of the node: real folders, the real Samba and its own client; of NFS what goes without the kernel's server, which is
//! the real `exportfs` with its own parser.

use super::*;

/// As `apply` has the secret that is made for a user.
fn password(user: &str) -> String {
    format!("value of {:?}", SecretRef::Generate(format!("smb-{user}")))
}

fn folder(name: &str, mounted: &str, uid: u32, mode: &str) -> Value {
    json!({
        "share": name, "path": format!("/srv/{name}"), "mounted": mounted, "owner": format!("share-{name}"), "uid": uid,
        "group": format!("share-{name}"), "gid": uid, "mode": mode,
    })
}

fn section(name: &str, mounted: &str, users: &[&str], write: bool) -> Value {
    json!({
        "share": name, "path": format!("/srv/{name}"), "mounted": mounted, "owner": format!("share-{name}"),
        "group": format!("share-{name}"), "users": users, "from": ["10.0.0.0/24"], "write": write, "open": false,
    })
}

fn folders(all: &Value) -> Rendered {
    with(&built_in("share-folders"), json!({ "share-folders": all }))
}

fn samba(shares: &Value, users: &[&str]) -> Rendered {
    let users: Vec<Value> = users
        .iter()
        .map(|user| json!({ "user": user, "password": { "$secret": { "generate": format!("smb-{user}") } } }))
        .collect();
    with(&built_in("samba"), json!({ "smb-shares": shares, "smb-users": users }))
}

/// What the client says; it may be refused.
fn smb(root: &Root, share: &str, user: &str, password: &str, commands: &str) -> String {
    root.put("/root/who", format!("username = {user}\npassword = {password}\n").as_bytes());
    root.sh(&format!("cd /root && smbclient -A /root/who //127.0.0.1/{share} -c '{commands}' 2>&1 || true"))
}

#[test]
fn samba_lets_in_who_is_named_and_nobody_else() {
    let Some(root) = Root::new() else { return };
    let all = json!([folder("media", "", 20001, "2770"), folder("photos", "", 20002, "2770")]);
    let sections =
        json!([section("media", "", &["heads"], true), section("photos", "", &["ben", "heads"], false),]);
    let features = [folders(&all), samba(&sections, &["ben", "heads"])];
    root.run(&apply(&features)).ok();
    root.run(&apply(&features)).nothing_to_do();
    assert_eq!(root.sh("stat -c '%a %U:%G' /srv/media").trim(), "2770 share-media:share-media");
    assert!(root.sh("getent passwd heads").trim().ends_with("/usr/sbin/nologin"));
    // Who is named reads and writes, and on the disk it is the owner's, whoever it was.
    root.put("/root/note", b"of heads");
    let heads = password("heads");
    let said =
        smb(&root, "media", "heads", &heads, "put note; get note again; mkdir films; put note films/note");
    assert_eq!(root.sh("cat /root/again"), "of heads", "{said}");
    assert_eq!(root.sh("stat -c '%a %U:%G' /srv/media/note").trim(), "660 share-media:share-media");
    assert_eq!(root.sh("stat -c '%a %U:%G' /srv/media/films").trim(), "2770 share-media:share-media");
    // Another password, another user, nobody, and an older client: none gets in.
    let refused = |said: &str| said.contains("NT_STATUS_") && !said.contains("blocks");
    for (share, user, word) in [
        ("media", "heads", "wrong"),
        ("media", "ben", &password("ben")),
        ("media", "nobody", ""),
        ("homes", "heads", &heads),
    ] {
        let said = smb(&root, share, user, word, "ls");
        assert!(refused(&said), "{share} {user}: {said}");
    }
    for how in ["-N", "-U %", "-U guest%", "-A /root/who -m SMB2_10"] {
        root.put("/root/who", format!("username = heads\npassword = {heads}\n").as_bytes());
        let said = root.sh(&format!("smbclient {how} //127.0.0.1/media -c ls 2>&1 || true"));
        assert!(!said.contains("blocks") && said.to_lowercase().contains("fail"), "{how}: {said}");
    }
    // What is to be read is read, and not written.
    root.sh("echo sun >/srv/photos/sun && chmod 0640 /srv/photos/sun && chown share-photos: /srv/photos/sun");
    let said = smb(&root, "photos", "ben", &password("ben"), "get sun; put note");
    assert!(
        said.contains("NT_STATUS_") && root.sh("cat /root/sun; ls /srv/photos") == "sun\nsun\n",
        "{said}"
    );
    // What somebody changed by hand is as declared again: a password, a mode, the file.
    root.sh("printf 'x\\nx\\n' | pdbedit -a -t -u heads >/dev/null && chmod 0777 /srv/media && echo '#' >>/etc/samba/smb.conf");
    assert!(refused(&smb(&root, "media", "heads", &heads, "ls")));
    let looked = root.run(&check(&features));
    let found = looked.ok().words().join(", ");
    for what in ["run make the folders", "run set the passwords", "update /etc/samba/smb.conf"] {
        assert!(found.contains(what), "{what} is not in {found}");
    }
    root.run(&apply(&features)).ok();
    assert!(smb(&root, "media", "heads", &heads, "ls").contains("blocks"));
    assert_eq!(root.sh("stat -c %a /srv/media").trim(), "2770");
    // Who is no longer named, and what is no longer shared, goes; what is in it stays.
    let left = [folders(&json!([all[0]])), samba(&json!([sections[0]]), &["heads"])];
    root.run(&apply(&left)).ok();
    root.run(&apply(&left)).nothing_to_do();
    assert_eq!(root.sh("pdbedit -L | cut -d: -f1").trim(), "heads");
    assert!(refused(&smb(&root, "photos", "heads", &heads, "ls")));
    assert_eq!(root.sh("cat /srv/photos/sun").trim(), "sun");
    let gone = root.run(&removal(&["samba".to_owned(), "share-folders".to_owned()], &[], Mode::Apply).text);
    assert!(gone.ok().words().iter().any(|word| word == "folder keep /srv/media"), "{gone:?}");
    // What was there before is there again.
    assert!(root.sh("cat /etc/samba/smb.conf").contains("[printers]"));
    root.sh("test -e /srv/media/note && test ! -e /etc/phoenix/samba-users");
}

#[test]
fn what_somebody_else_shares_is_not_written_over() {
    let Some(root) = Root::new() else { return };
    root.sh("printf '[old]\\n path = /srv/old\\n' >>/etc/samba/smb.conf");
    let before = root.sh("cat /etc/samba/smb.conf");
    let all = json!([folder("media", "", 20001, "2770")]);
    let features = [folders(&all), samba(&json!([section("media", "", &["heads"], true)]), &["heads"])];
    let ran = root.run(&apply(&features));
    let error = ran.failed().error("samba").unwrap_or_default();
    assert!(error.contains("somebody else made") && error.ends_with(": old"), "{error}");
    assert_eq!(root.sh("cat /etc/samba/smb.conf"), before);
    root.sh("! id heads && test ! -e /etc/phoenix/samba-users");
}

#[test]
fn a_folder_is_given_to_nobody_else_by_mistake() {
    let Some(root) = Root::new() else { return };
    let one = |mounted: &str| [folders(&json!([folder("media", mounted, 20001, "2770")]))];
    // Its dataset is not mounted: nothing is made below.
    let ran = root.run(&apply(&one("/srv")));
    let error = ran.failed().error("share-folders").unwrap_or_default().to_owned();
    assert!(error.contains("media: nothing is mounted at /srv, where its dataset belongs"), "{error}");
    root.sh("test ! -e /srv/media");
    // It leads elsewhere.
    root.sh("mkdir -m 0755 /srv/other && ln -s other /srv/media");
    let ran = root.run(&apply(&one("")));
    assert!(ran.failed().error("share-folders").unwrap().contains("leads elsewhere by a link"), "{ran:?}");
    assert_eq!(root.sh("stat -c '%a %U' /srv/other").trim(), "755 root");
    // The number is somebody else's, or the name has another one.
    root.sh("rm /srv/media && userdel share-media && useradd --uid 20001 anna");
    let ran = root.run(&apply(&one("")));
    let error = ran.failed().error("share-folders").unwrap();
    assert!(error.contains("the number 20001 is that of the group anna"), "{error}");
    root.sh("userdel anna && groupadd --gid 20009 share-media");
    let ran = root.run(&apply(&one("")));
    assert!(ran.failed().error("share-folders").unwrap().contains("has the number 20009 here"), "{ran:?}");
    root.sh("groupdel share-media");
    // What is in it keeps its owner and its mode.
    root.sh(
        "mkdir /srv/media && echo x >/srv/media/x && chmod 0604 /srv/media/x && mount -t tmpfs none /mnt",
    );
    root.run(&apply(&one(""))).ok();
    assert_eq!(root.sh("stat -c '%a %U %u:%g' /srv/media/x").trim(), "604 root 0:0");
    root.run(&apply(&one(""))).nothing_to_do();
}

#[test]
fn nobody_gets_into_a_share_whose_dataset_is_away() {
    let Some(root) = Root::new() else { return };
    root.sh("mkdir /srv/media && mount -t tmpfs none /srv/media");
    let all = json!([folder("media", "/srv/media", 20001, "2770")]);
    let features =
        [folders(&all), samba(&json!([section("media", "/srv/media", &["heads"], true)]), &["heads"])];
    root.run(&apply(&features)).ok();
    assert!(smb(&root, "media", "heads", &password("heads"), "ls").contains("blocks"));
    root.sh("umount -l /srv/media");
    let said = smb(&root, "media", "heads", &password("heads"), "ls");
    assert!(said.contains("NT_STATUS_") && !said.contains("blocks"), "{said}");
    assert!(
        root.run(&apply(&features)).failed().error("share-folders").unwrap().contains("nothing is mounted")
    );
}

fn export(name: &str, mounted: &str, to: &[&str], write: bool) -> Value {
    json!({
        "share": name, "path": format!("/srv/{name}"), "mounted": mounted, "to": to, "write": write,
        "no_root_squash": false, "uid": 20001, "gid": 20001,
    })
}

#[test]
fn exports_are_published_as_they_are_declared() {
    let Some(root) = Root::new() else { return };
    let nfs = |exports: &Value, others: bool| {
        let all = json!([folder("media", "", 20001, "2770"), folder("images", "", 20002, "2755")]);
        [folders(&all), with(&built_in("nfs-server"), json!({ "exports": exports, "others": others }))]
    };
    let both = json!([
        export("media", "", &["10.0.0.0/24", "192.168.7.20"], true),
        export("images", "/srv", &["10.0.0.0/24"], false),
    ]);
    // Without the kernel's server, nothing is changed.
    if !root.sh("cat /proc/filesystems").contains("nfsd") {
        let ran = root.run(&apply(&nfs(&both, false)));
        assert!(
            ran.failed().error("nfs-server").unwrap().contains("the kernel has no NFS server"),
            "{ran:?}"
        );
        root.sh("test ! -e /etc/exports.d/phoenix.exports");
        root.sh("{ cat /proc/filesystems; echo 'nodev nfsd'; } >/root/fs && mount --bind /root/fs /proc/filesystems");
    }
    // In the place of that server, something that takes connections.
    let mut listener = root.background("exec socat TCP-LISTEN:2049,fork,reuseaddr,bind=127.0.0.1 /dev/null");
    root.run(&apply(&nfs(&both, false))).ok();
    root.run(&apply(&nfs(&both, false))).nothing_to_do();
    let there = root.sh("exportfs -s");
    let line = |folder: &str, client: &str| {
        there
            .lines()
            .find(|line| line.starts_with(&format!("{folder}  {client}(")))
            .unwrap_or_default()
            .to_owned()
    };
    let media = line("/srv/media", "10.0.0.0/24");
    let has = |line: &str, options: &[&str]| {
        let all: Vec<&str> = line.split(['(', ')', ',']).collect();
        options.iter().all(|option| all.contains(option))
    };
    assert!(
        has(&media, &["rw", "sync", "root_squash", "no_subtree_check", "anonuid=20001", "anongid=20001"]),
        "{there}"
    );
    assert!(has(&line("/srv/media", "192.168.7.20"), &["rw"]), "{there}");
    assert!(has(&line("/srv/images", "10.0.0.0/24"), &["ro", "root_squash", "mountpoint=/srv"]), "{there}");
    let conf = root
        .sh("cat /etc/nfs.conf.d/phoenix.conf; nfsconf --get nfsd vers3; nfsconf --get mountd manage-gids");
    assert!(conf.ends_with("n\nn\n"), "{conf}");
    // Taken out by hand, it comes back.
    root.sh("exportfs -u 192.168.7.20:/srv/media");
    assert!(
        root.run(&check(&nfs(&both, false))).ok().words().iter().any(|it| it.contains("publish the exports"))
    );
    root.run(&apply(&nfs(&both, false))).ok();
    assert_eq!(root.sh("exportfs -s").lines().count(), 3);
    // A share less is an export less.
    root.run(&apply(&nfs(&json!([both[1]]), false))).ok();
    assert_eq!(root.sh("exportfs -s | cut -d' ' -f1").trim(), "/srv/images");
    // Somebody else's stay, and are said.
    root.sh("mkdir /srv/old && echo '/srv/old 10.0.0.9(ro,no_subtree_check)' >/etc/exports");
    let ran = root.run(&apply(&nfs(&both, false)));
    let error = ran.failed().error("nfs-server").unwrap().to_owned();
    assert!(error.contains("somebody else's exports") && error.contains("/srv/old 10.0.0.9"), "{error}");
    root.run(&apply(&nfs(&both, true))).ok();
    assert_eq!(root.sh("exportfs -s").lines().count(), 4);
    root.run(&removal(&["nfs-server".to_owned()], &[], Mode::Apply).text).ok();
    root.sh("test ! -e /etc/exports.d/phoenix.exports && test ! -e /etc/nfs.conf.d/phoenix.conf && test -d /srv/media");
    listener.kill().unwrap();
    listener.wait().unwrap();
}

/// What is not so at once is not waited for.
fn mounts(all: &Value) -> Rendered {
    let mut rendered = with(&built_in("share-mounts"), json!({ "share-mounts": all }));
    rendered.health.iter_mut().for_each(|check| check.within = Some(0));
    rendered
}

#[test]
fn a_guest_says_whether_it_can_use_its_shares() {
    let Some(root) = Root::new() else { return };
    let mount = |source: &str, write: bool, uid: u32| json!([{ "share": "media", "path": "/media", "source": source, "write": write, "uid": uid, "gid": uid }]);
    let shown = |write: bool, uid: u32| root.run(&apply(&[mounts(&mount("", write, uid))]));
    let error = |ran: &crate::root::Ran| ran.failed().error("share-mounts").unwrap().to_owned();
    assert!(error(&shown(true, 0)).contains("no share is mounted at /media"));
    root.sh("mount -t tmpfs -o mode=0700,uid=107,gid=107 none /media");
    shown(true, 107).ok();
    shown(true, 107).nothing_to_do();
    assert_eq!(root.sh("ls -A /media"), "");
    assert!(error(&shown(true, 108)).contains("the share at /media cannot be written"));
    root.sh("mount -o remount,ro /media");
    assert!(error(&shown(true, 107)).contains("the share at /media cannot be written"));
    shown(false, 107).ok();
    // By NFS: what is mounted there is something else.
    root.sh("test ! -e /etc/systemd/system/phoenix-share-mounts.service");
    let ran = root.run(&apply(&[mounts(&mount("10.0.0.13:/srv/media", true, 0))]));
    assert!(error(&ran).contains("no share is mounted at /media"), "{ran:?}");
    let line = root.sh("findmnt --fstab -n -o SOURCE,FSTYPE,OPTIONS --target /media");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..2], ["10.0.0.13:/srv/media", "nfs4"], "{line}");
    for option in ["rw", "nfsvers=4.2", "nofail", "_netdev", "x-systemd.automount"] {
        assert!(words[2].split(',').any(|it| it == option), "{option} is not in {line}");
    }
    root.run(&removal(&["share-mounts".to_owned()], &[], Mode::Apply).text).ok();
    assert!(!root.sh("cat /etc/fstab 2>/dev/null || true").contains("nfs4"));
}
