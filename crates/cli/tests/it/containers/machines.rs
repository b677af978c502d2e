//! `examples/machines`: a real virtual machine beside containers, from nothing to an HTTPS answer.

use super::support::{Site, lacking, write};

/// T-1, T-2, T-5, T-7, T-16: what a blueprint says of a virtual machine is made, installed by ssh, answered over HTTPS, and
/// changed while it runs; and the same machine is entered by its agent.
#[test]
fn a_machine_behind_a_gateway() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::of_example("machines");
    let by_ssh = r#""enter": "ssh", "packages": ["hello"], "#;
    site.edit("guests.json", r#""serial""#, &format!("{by_ssh}\"serial\""));
    // Larger than what a guest agent takes in one call.
    write(site.path().join("pages/large.html"), &"<p>large</p>\n".repeat(20_000));
    site.lab_up();
    println!("real containers: a_machine_behind_a_gateway");
    site.ok(&["up", "--yes"]);
    assert_eq!(site.node("pveam list local | grep -c debian-13").trim(), "1", "the plan fetched no template");
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");
    let (status, body) = site.fetch("notes.machines.internal");
    assert_eq!((status.as_str(), body.trim()), ("200", "<h1>From a virtual machine</h1>"));

    // By ssh, with the host key that it was given: what it was told at its first start is nowhere on the node any more.
    let (_, key) = site.inside("notes", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    let (_, shown) = site.inside("notes", "ls /etc/ssh/*_key | wc -l; hello -t | wc -l");
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["1", "1"], "{shown}");
    assert_eq!(site.node("qm config 301 | grep -c cicustom || true").trim(), "0");
    assert_eq!(site.node("ls -A /var/lib/vz/snippets").trim(), "");
    // On its drive there is a text with nothing in it (`#cloud-config`, `{}`) in the place of the keys.
    let blank = "cat /var/lib/vz/images/301/*cloudinit* | grep -c '^I2Nsb3VkLWNvbmZpZwp7fQo=$' || true";
    assert_eq!(site.node(blank).trim(), "1");

    // It is a machine, with a kernel of its own, and commands with input and text of any kind get in.
    assert_eq!(
        site.inside("notes", "systemd-detect-virt -q --container || echo machine"),
        (true, "machine".into())
    );
    assert_eq!(site.inside("notes", "printf '%s|' 'a  b' 'grün ✔'"), (true, "a  b|grün ✔|".into()));
    assert_eq!(site.run(&["exec", "notes", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));

    // The container, of that template, has the node's device. What the machine puts there is written into a folder of the node,
    // and belongs to whom `owner` says.
    assert!(site.inside("files", "grep -q trixie /etc/os-release && test -c /dev/net/tun").0);
    let put = r"exec 3<>/dev/tcp/10.0.0.120/80; printf 'PUT /hello HTTP/1.0\r\nContent-Length: 3\r\n\r\nhey' >&3; head -n 1 <&3";
    let (_, answer) = site.inside("notes", &format!("bash -c \"{put}\""));
    assert!(answer.contains(" 201 "), "{answer}");
    assert_eq!(
        site.inside("files", "stat -c %u:%g /srv/shared/hello; cat /srv/shared/hello"),
        (true, "33:33\nhey".into())
    );
    assert_eq!(site.node("stat -c %u:%g /srv/shared/hello").trim(), "1000:1000");

    // A larger disk and another one are there at once; more memory is not, and the plan says so.
    let begun = site.inside("notes", "cat /proc/sys/kernel/random/boot_id");
    site.edit("guests.json", r#""disks": { "scsi0": "4G" }"#, r#""disks": { "scsi0": "6G", "scsi1": "1G" }"#);
    site.ok(&["apply", "--no-probe"]);
    assert_eq!(site.steps(), [""; 0], "the plan after a change is not empty");
    assert_eq!(site.inside("notes", "lsblk -dno SIZE /dev/sda /dev/sdb | xargs"), (true, "6G 1G".into()));
    assert_eq!(site.inside("notes", "cat /proc/sys/kernel/random/boot_id"), begun);

    // T-2: told another user, it takes itself for another machine at its next start, and its keys stay.
    site.edit("guests.json", r#""serial""#, r#""user": { "name": "ada" }, "memory": "600M", "serial""#);
    let planned = site.ok(&["plan", "--full"]);
    assert!(planned.contains("memory") && planned.contains("applies at a restart"), "{planned}");
    site.ok(&["apply", "--no-probe"]);
    assert_ne!(site.inside("notes", "cat /proc/sys/kernel/random/boot_id"), begun);
    assert!(site.inside("notes", "id ada").0);
    assert_eq!(site.inside("notes", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").1, key);

    // The other way, into the same machine.
    site.edit("guests.json", by_ssh, "");
    assert_eq!(site.inside("notes", "printf '%s|' 'a  b' 'grün ✔'"), (true, "a  b|grün ✔|".into()));
    assert_eq!(site.steps(), [""; 0]);

    site.ok(&["destroy", "--confirm", "machines"]);
    assert_eq!(site.node("ls /etc/pve/qemu-server /etc/pve/lxc | grep -c conf || true").trim(), "0");
    site.lab_down_leaves_nothing();
}
