//! `examples/whole-host` on a node that is a machine: real disks that fail, a real boot loader, and power that is cut.
//!
//! One machine for all of it. Where the processor does not help, each start takes a minute or more, and the whole most of an hour: so
//! this runs when it is asked for, by `PHOENIX_TEST_MACHINE=1` (`make test-machine`).

#![expect(clippy::print_stdout, reason = "how long each part takes, and why it is skipped")]

use std::time::{Duration, Instant};

use super::support::{Site, lacking, wait_for};

const BY_ID: &str = "scsi-0QEMU_QEMU_HARDDISK_PHX-DISK";
/// What is kept on the pool.
const FILM: &str = "/tank/media/film";
/// Emulated, and beside other work.
const PATIENCE: Duration = Duration::from_secs(600);

/// The example, for a lab's machine: its disks are the machine's own; no machine has the graphics card, and a word on the kernel's
/// command line is in its place.
fn site() -> Site {
    let site = Site::of_example("whole-host");
    let disks = ["ata-WDC_WD40EFRX_A", "ata-WDC_WD40EFRX_B", "ata-ST4000VN008_C", "ata-ST8000DM004_D"];
    for (number, disk) in disks.iter().enumerate() {
        site.edit("site.json", disk, &format!("{BY_ID}-{}", number + 1));
    }
    site.edit(
        "site.json",
        "\"gpus\": {\n      \"card0\": { \"pci\": \"0000:01:00.0\", \"memory\": \"24G\", \"driver\": \"570.133.07\" }\n    }",
        "\"kernel\": { \"command-line\": [\"panic=30\"] }",
    );
    site.edit("site.json", "\"gpu\": { \"card\": \"card0\", \"memory\": \"4G\" },", "");
    // What the lab's node has storages of is folders; this one is in the dataset.
    site.edit(
        "site.json",
        "\"fast\": { \"zfspool\": \"tank/vms\", \"sparse\": true }",
        "\"fast\": { \"dir\": \"/tank/vms\" }",
    );
    // A third of what the example's host has.
    site.edit("site.json", "\"max\": 16384", "\"max\": 512");
    site
}

/// How long it took, for who reads the output.
fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = run();
    println!("{what}: {} s", begin.elapsed().as_secs());
    done
}

/// The power is cut while a run reports this; then the machine is turned on again.
fn cut_while(site: &Site, report: &str) {
    timed(&format!("power cut at `{report}`, until the node answers again"), || {
        site.cut_off_while(report, || drop(site.ok(&["lab", "machine", "cut"])));
        site.ok(&["lab", "machine", "boot"]);
    });
}

fn settled(site: &Site) {
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");
}

fn boot_id(site: &Site) -> String {
    site.node("cat /proc/sys/kernel/random/boot_id")
}

#[test]
fn a_whole_host_outlives_what_happens_to_machines() {
    if std::env::var("PHOENIX_TEST_MACHINE").is_err() {
        println!("skipped: a whole host that is a machine: it takes PHOENIX_TEST_MACHINE=1");
        return;
    }
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = site();
    timed("the machine is up", || site.lab_up_with(&["--machine"]));
    println!("real containers: a_whole_host_outlives_what_happens_to_machines");
    // The first picture of the kernel is made anew several times: with the modules of this machine alone it takes a minute each
    // where it is emulated, and with all of them a quarter of an hour.
    site.node("printf 'MODULES=dep\\nCOMPRESSLEVEL=1\\n' >/etc/initramfs-tools/conf.d/quick");

    from_nothing_with_power_cuts(&site);
    a_restart_is_real(&site);
    site.node(&format!("head -c 200M /dev/urandom >{FILM} && sync"));
    let sum = site.node(&format!("sha256sum {FILM}"));
    what_is_copied_is_the_same(&site, &sum);
    a_disk_fails_and_is_replaced(&site);
    assert_eq!(site.node(&format!("sha256sum {FILM}")), sum);
    the_node_is_installed_anew(&site);
    assert_eq!(site.node(&format!("sha256sum {FILM}")), sum);
    site.lab_down_leaves_nothing();
}

/// From the bare machine to the answer over HTTPS, although the power fails three times on the way.
fn from_nothing_with_power_cuts(site: &Site) {
    for address in ["pool.tank", "feature.samba@node", "container.names"] {
        // The list of all steps, with which a run begins, names each, too.
        cut_while(site, &format!("\"step-started\",\"address\":\"{address}\""));
    }
    timed("the rest of the way, to the answer over HTTPS", || site.ok(&["up", "--yes"]));
    let (status, page) = site.fetch("films.workshop.internal");
    assert_eq!(status, "200", "{page}");
    settled(site);

    // What the host's own parts are, its own programs say.
    assert_eq!(site.node("zpool list -H -o health tank").trim(), "ONLINE");
    assert_eq!(site.node("zfs get -H -o value recordsize,compression tank/media"), "1M\nzstd\n");
    let storages = site.node("pvesm status");
    assert!(storages.contains("fast") && storages.contains("backups"), "{storages}");
    assert!(site.node("exportfs -s").contains("/tank/media"), "the share is not exported");
    assert!(site.node("testparm -s 2>/dev/null").contains("[media]"));
    assert_eq!(site.node("cat /proc/sys/vm/swappiness").trim(), "10");
    assert!(site.node("id ada").contains("ada"));
    assert_eq!(site.node("systemctl is-active chrony smbd nfs-server").trim(), "active\nactive\nactive");
    assert!(site.node("ip -br address show vmbr1").contains("10.1.0.1/24"));
    // A guest reads what the node has, by the name that the name server knows.
    site.node("echo hello >/tank/media/greeting");
    assert_eq!(site.inside("films", "cat /media/greeting"), (true, "hello".to_owned()));
}

/// A word on the command line waits for a restart, which is one.
fn a_restart_is_real(site: &Site) {
    let said = site.run(&["plan"]);
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("the node waits for a restart"), "{said}");
    assert!(!site.node("cat /proc/cmdline").contains("panic=30"));
    let before = boot_id(site);
    timed("a restart of the node, with its guests", || site.ok(&["apply", "--restart-node"]));
    assert_ne!(boot_id(site), before);
    assert!(site.node("cat /proc/cmdline").contains("panic=30"));
    settled(site);
    assert_eq!(site.fetch("films.workshop.internal").0, "200");
}

/// The schedule copies what changed to the other pool, and a file comes back from there.
fn what_is_copied_is_the_same(site: &Site, sum: &str) {
    for name in ["first", "second"] {
        site.node(&format!("echo {name} >/tank/media/{name}"));
        // As if a night had passed.
        site.node(
            "zfs inherit phoenix:snapped tank/media; systemctl start phoenix-zfs-schedule.service; sleep 1",
        );
    }
    let names = site.node("zfs list -Ho name -t snapshot -d 1 backup/media");
    assert_eq!(names.lines().count(), 2, "{names}");
    site.node("zfs mount backup/media");
    let copy = FILM.replace("/tank", "/backup");
    assert_eq!(
        site.node(&format!("sha256sum {copy}")).split_once(' ').map(|it| it.0),
        sum.split_once(' ').map(|it| it.0)
    );
    assert_eq!(site.node("cat /backup/media/second"), "second\n");
    assert!(!site.on_node("touch /backup/media/new").status.success(), "the copy can be written to");
    site.node("zfs unmount backup/media");
    settled(site);
    // What is not its copy is left alone, and said.
    site.node("zfs inherit phoenix:replica-of backup/media");
    assert!(!site.on_node("systemctl start phoenix-zfs-schedule.service").status.success());
    site.node("zfs set phoenix:replica-of=tank/media backup/media; systemctl reset-failed");
    settled(site);
}

/// It is seen, and another one takes its place by one name in the blueprint.
fn a_disk_fails_and_is_replaced(site: &Site) {
    site.ok(&["lab", "machine", "pull", "disk2"]);
    // ZFS notices when it is written to.
    wait_for("the pool to notice", PATIENCE, || {
        site.node("touch /tank/media/more && sync; zpool list -H -o health tank").trim() == "DEGRADED"
    });
    let disk = format!("the disk {BY_ID}-2 is");
    for (command, word) in [("status", "DEGRADED"), ("health", disk.as_str())] {
        let said = site.run(&[command]);
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.contains("tank") && said.contains(word), "{command}: {said}");
    }
    site.ok(&["lab", "machine", "replace", "disk2"]);
    site.edit("site.json", &format!("{BY_ID}-2"), &format!("{BY_ID}-2-2"));
    wait_for("the new disk's name", PATIENCE, || {
        site.on_node(&format!("test -e /dev/disk/by-id/{BY_ID}-2-2")).status.success()
    });
    timed("a disk is replaced, until the pool is whole", || {
        site.ok(&["apply"]);
        wait_for("the pool to be whole", PATIENCE, || {
            site.node("zpool list -H -o health tank").trim() == "ONLINE"
        });
    });
    settled(site);
}

/// The system is thrown away; the pool comes back with what is on it.
fn the_node_is_installed_anew(site: &Site) {
    timed("the machine is installed anew", || site.ok(&["lab", "machine", "reinstall"]));
    timed("all of it again, with the pool that is there", || {
        site.ok(&["up", "--yes", "--allow-destroy", "pool.tank", "--allow-destroy", "pool.backup"]);
    });
    assert_eq!(site.fetch("films.workshop.internal").0, "200");
    settled(site);
}
