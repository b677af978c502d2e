//! The keys of encrypted datasets: where they lie on the node, and what loads them at its start. ZFS is stood in for.

use super::*;

const SCRIPT: &str = include_str!("../../../../../../catalog/zfs-keys/zfs-keys");
const PLACE: &str = include_str!("../../../../src/zfs/key.sh");

#[test]
fn a_key_lies_in_a_file_of_roots_alone_and_goes_again() {
    let Some(root) = Root::new() else { return };
    root.put("/run/key.sh", PLACE.as_bytes());
    for _ in 0..2 {
        root.sh("printf 'hunter2 hunter2' | sh /run/key.sh put tank+private");
    }
    assert_eq!(root.sh("cat /etc/phoenix/zfs-keys/tank+private"), "hunter2 hunter2");
    assert_eq!(
        root.sh("stat -c '%a %U' /etc/phoenix/zfs-keys /etc/phoenix/zfs-keys/tank+private"),
        "700 root\n600 root\n"
    );
    for _ in 0..2 {
        root.sh("sh /run/key.sh drop tank+private tank+papers");
    }
    assert_eq!(root.sh("ls -A /etc/phoenix/zfs-keys"), "");
}

/// Only what is locked and lies in a file of Phoenix' own is loaded; one that fails keeps none of the others from its key.
#[test]
fn what_is_locked_is_opened_at_the_start() {
    let Some(root) = Root::new() else { return };
    root.put("/run/zfs-keys", SCRIPT.as_bytes());
    root.sh(r#"cat >/usr/local/sbin/zfs <<'END'
#!/bin/sh
# A stand-in for zfs(8).
case "$1" in
list) printf '%s\t%s\t%s\n' tank - none tank/bad unavailable file:///etc/phoenix/zfs-keys/tank+bad \
    tank/open available file:///etc/phoenix/zfs-keys/tank+open tank/hand unavailable prompt \
    tank/private unavailable file:///etc/phoenix/zfs-keys/tank+private tank/theirs unavailable file:///root/key ;;
load-key) echo "$2" >>/run/loaded; [ "$2" != tank/bad ] ;;
esac
END
chmod 755 /usr/local/sbin/zfs"#);
    assert_eq!(root.sh("sh /run/zfs-keys && echo well || echo badly"), "badly\n");
    assert_eq!(root.sh("cat /run/loaded"), "tank/bad\ntank/private\n");
}
