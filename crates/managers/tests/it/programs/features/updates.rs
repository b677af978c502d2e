//! Security updates, with the real apt and archives in the root itself.

use managers::trace::updates::Updates;

use super::*;

/// What makes an archive: `pkg REPOSITORY NAME VERSION FIELDS`, then `release REPOSITORY LABEL`.
const ARCHIVES: &str = r#"
pkg() {
    mkdir -p "/$1/w/DEBIAN"
    printf "Package: $2\nVersion: $3\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n$4" >"/$1/w/DEBIAN/control"
    dpkg-deb -b "/$1/w" "/$1/$2_$3.deb" >/dev/null
    { cat "/$1/w/DEBIAN/control"; printf "Filename: ./$2_$3.deb\nSize: %s\nSHA256: %s\n\n" \
        "$(stat -c %s "/$1/$2_$3.deb")" "$(sha256sum "/$1/$2_$3.deb" | cut -c 1-64)"; } >>"/$1/Packages"
    rm -rf "/$1/w"
}
release() {
    cd "/$1"
    printf 'Origin: Debian\nLabel: %s\nSuite: %s\nCodename: %s\nDate: %s\nSHA256:\n %s %s Packages\n' "$2" "$1" "$1" "$(date -Ru)" \
        "$(sha256sum Packages | cut -c 1-64)" "$(stat -c %s Packages)" >Release
}
source() { echo "deb [trusted=yes] copy:/$1 ./" >>/etc/apt/sources.list; }
"#;

const UPDATES: &str = "/usr/local/lib/phoenix/updates";

fn state(root: &Root) -> Updates {
    Updates::parse(&root.sh(&format!("{UPDATES} state"))).unwrap()
}

#[test]
fn only_security_updates_are_installed() {
    let Some(root) = Root::new() else { return };
    let archives = |text: &str| root.sh(&format!("set -e; {ARCHIVES} {text}"));
    archives(
        "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*
         for name in holey plain pinned wide needed; do pkg main $name 1.0; done; release main Debian; source main",
    );
    let own = own_feature("own", json!({ "packages": ["holey", "plain", "pinned=1.0", "wide"] }), &[]);
    let features = [with(&built_in("base"), json!({})), with(&own, json!({}))];
    // Nothing is updated by an apply.
    let ran = root.run(&apply(&features));
    assert!(ran.ok().words().contains(&"unit start phoenix-updates.timer".to_owned()), "{ran:?}");
    root.run(&apply(&features)).nothing_to_do();
    let installed =
        || root.sh("dpkg-query -W holey plain pinned wide needed 2>/dev/null | tr '\\t\\n' '  ' || true");
    let before = "holey 1.0 pinned 1.0 plain 1.0 wide 1.0 ";
    assert_eq!(installed(), before);
    let new = state(&root);
    assert_eq!((new.tried, new.done, new.failed), (None, None, None));

    // Without an archive of security updates there are none, and that is said.
    archives("pkg main plain 1.1; release main Debian");
    root.sh(&format!("! {UPDATES} run"));
    let failed = state(&root);
    assert!(
        failed.tried.is_some()
            && failed.done.is_none()
            && failed.failed.unwrap().contains("security archive")
    );
    assert_eq!(installed(), before);

    // What is new there comes, with what it needs; what is pinned stays, and what would remove something waits.
    archives(
        "pkg security holey 1.1 'Depends: needed\\n'; pkg security pinned 1.1; pkg security wide 1.1 'Conflicts: plain\\n'
         release security Debian-Security; source security",
    );
    // Somebody else's archive that does not answer, and services that are held back by a run that was killed.
    root.sh("echo 'deb [trusted=yes] copy:/nowhere ./' >>/etc/apt/sources.list");
    root.sh("printf '#!/bin/sh\n# put here by Phoenix\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d");
    root.sh(&format!("{UPDATES} run"));
    assert_eq!(installed(), "holey 1.1 needed 1.0 pinned 1.0 plain 1.0 wide 1.0 ");
    let done = state(&root);
    assert_eq!((done.waiting, done.failed, done.done), (1, None, done.tried));
    assert_eq!(root.sh("ls /usr/sbin/policy-rc.d 2>/dev/null || true"), "");
    root.run(&apply(&features)).nothing_to_do();

    // What cannot be fetched leaves what was, and is told.
    root.sh("rm /security/Release /security/Packages");
    root.sh(&format!("! {UPDATES} run"));
    let failed = state(&root);
    assert!(failed.failed.unwrap().contains("/security") && failed.done == done.done, "{:?}", state(&root));

    // Turned off, nothing of it stays.
    let off = [with(&built_in("base"), json!({ "updates": "off" }))];
    assert!(root.run(&apply(&off)).ok().words().contains(&"unit stop phoenix-updates.timer".to_owned()));
    assert_eq!(root.sh("find /etc/systemd /usr/local/lib/phoenix -name '*updates*' 2>/dev/null || true"), "");
}

// Who runs what was replaced is found by what its memory is mapped from. (Whose unit it is, only systemd could tell.)
#[test]
fn what_runs_and_was_replaced_is_found() {
    let Some(root) = Root::new() else { return };
    root.run(&apply(&[with(&built_in("base"), json!({}))])).ok();
    let mut child = root.background("cp /bin/sleep /usr/bin/served; exec /usr/bin/served 60");
    root.sh("for n in 1 2 3 4 5 6 7 8 9 10; do grep -qs served /proc/[0-9]*/maps && exit 0; sleep 0.2; done; exit 1");
    let pattern = root.sh(&format!("sed -n \"s/.*grep -lsE '\\([^']*\\)' .*/\\1/p\" {UPDATES}"));
    let found = || root.sh(&format!("grep -lsE '{}' /proc/[0-9]*/maps | wc -l", pattern.trim()));
    assert_eq!(found(), "0\n");
    root.sh("cp /bin/sleep /usr/bin/new; mv -f /usr/bin/new /usr/bin/served");
    assert_eq!(found(), "1\n");
    child.kill().unwrap();
    child.wait().unwrap();
}
