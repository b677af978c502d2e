//! `examples/machines`: a real virtual machine beside containers, from nothing to an HTTPS answer.

use super::support::{Site, lacking};

/// T-1, T-5, T-7, T-16: what a blueprint says of a virtual machine is made, installed by its agent, answered over HTTPS, and
/// changed while it runs.
#[test]
fn a_machine_behind_a_gateway() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::of_example("machines");
    site.lab_up();
    println!("real containers: a_machine_behind_a_gateway");
    site.ok(&["up", "--yes"]);
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");
    let (status, body) = site.fetch("notes.machines.internal");
    assert_eq!((status.as_str(), body.trim()), ("200", "<h1>From a virtual machine</h1>"));

    // It is a machine, with a kernel of its own, and commands with input and text of any kind get in.
    assert_eq!(
        site.inside("notes", "systemd-detect-virt -q --container || echo machine"),
        (true, "machine".into())
    );
    assert_eq!(site.inside("notes", "printf '%s|' 'a  b' 'grün ✔'"), (true, "a  b|grün ✔|".into()));
    assert_eq!(site.run(&["exec", "notes", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));

    // The container has the node's folder and device.
    assert!(site.inside("files", "test -d /srv/node && test -c /dev/net/tun").0);

    // A larger disk and another one are there at once.
    let begun = site.inside("notes", "cat /proc/sys/kernel/random/boot_id");
    site.edit("guests.json", r#""disks": { "scsi0": "4G" }"#, r#""disks": { "scsi0": "6G", "scsi1": "1G" }"#);
    site.ok(&["apply", "--no-probe"]);
    assert_eq!(site.steps(), [""; 0], "the plan after a change is not empty");
    assert_eq!(site.inside("notes", "lsblk -dno SIZE /dev/sda /dev/sdb | xargs"), (true, "6G 1G".into()));
    assert_eq!(site.inside("notes", "cat /proc/sys/kernel/random/boot_id"), begun);

    site.ok(&["destroy", "--confirm", "machines"]);
    assert_eq!(site.node("ls /etc/pve/qemu-server /etc/pve/lxc | grep -c conf || true").trim(), "0");
    site.lab_down_leaves_nothing();
}
