//! A node that is a machine: real ZFS on disks that are pulled, and power that is cut.
//!
//! Its image takes a quarter of an hour to make, and where the processor does not help, it boots in a minute or more: so this runs
//! when it is asked for, by `PHOENIX_TEST_MACHINE=1`.

use std::time::{Duration, Instant};

use lab::up::{self, Deed, MachineSpec};

use super::{Lab, real, say};

const BY_ID: &str = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_PHX-DISK";

impl Lab {
    async fn deed(&self, deed: Deed) -> String {
        let done = up::machine(self.folder(), deed.clone(), &|_| {}).await;
        done.unwrap_or_else(|error| panic!("{deed:?}: {error}: {}", self.serial()))
    }

    /// The end of what the machine wrote to its serial line.
    fn serial(&self) -> String {
        let text = fs_err::read(self.folder().join("console.log")).unwrap_or_default();
        let text = super::text(&text);
        text.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }

    /// Waits until a command line on the node says this.
    async fn until_says(&self, line: &str, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let output = self.ssh(line);
            let said = super::text(&output.stdout);
            if said.contains(wanted) {
                return;
            }
            assert!(
                Instant::now() < end,
                "`{line}` never said `{wanted}`: {said} {}",
                super::text(&output.stderr)
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// A node that is a machine: reboots, power cuts and pulled disks are real.
#[tokio::test]
async fn a_pool_outlives_a_power_cut_a_pulled_disk_and_the_system() {
    let name = "a node that is a machine";
    if std::env::var("PHOENIX_TEST_MACHINE").is_err() {
        say(&format!("skipped: {name}: it takes PHOENIX_TEST_MACHINE=1"));
        return;
    }
    if !real(name) {
        return;
    }
    let mut lab = Lab::new();
    lab.spec.machine = Some(MachineSpec::default());
    let (record, _) = lab.up().await;
    assert!(record.machine);
    // The node's API, and Proxmox VE's own commands, are in it.
    assert!(lab.on_node("pvesh get /version --output-format json").contains("version"));
    assert_eq!(lab.on_node("systemctl is-active nfs-server smbd").trim(), "active\nactive");
    assert!(lab.on_node("ip -br link").contains("eth1"));

    lab.on_node(&format!("zpool create -f tank mirror {BY_ID}-1 {BY_ID}-2 && zfs create tank/media"));
    lab.on_node("head -c 64M /dev/urandom >/tank/media/film && sync");
    let sum = lab.on_node("sha256sum /tank/media/film");
    let boot = lab.on_node("cat /proc/sys/kernel/random/boot_id");
    lab.on_node("echo here >/root/kept && sync");

    lab.deed(Deed::Cut).await;
    assert!(!up::status(lab.folder()).await.unwrap().running);
    lab.deed(Deed::Boot).await;
    assert_ne!(lab.on_node("cat /proc/sys/kernel/random/boot_id"), boot);
    assert_eq!(lab.on_node("sha256sum /tank/media/film; cat /root/kept"), format!("{sum}here\n"));

    lab.deed(Deed::Pull("disk2".to_owned())).await;
    lab.until_says("touch /tank/media/more && sync; zpool status tank", "DEGRADED").await;
    assert!(!lab.ssh(&format!("test -e {BY_ID}-2")).status.success());
    lab.deed(Deed::Replace("disk2".to_owned())).await;
    lab.until_says(&format!("ls {BY_ID}-2-2"), "PHX").await;
    lab.on_node(&format!("zpool replace -f tank {BY_ID}-2 {BY_ID}-2-2"));
    lab.until_says("zpool status tank", "resilvered").await;
    lab.until_says("zpool list -H -o health tank", "ONLINE").await;

    // A link that is pulled has no carrier, and the way in is by the other one.
    lab.deed(Deed::Pull("link2".to_owned())).await;
    lab.until_says("ip link set eth1 up; cat /sys/class/net/eth1/carrier", "0").await;
    lab.deed(Deed::Insert("link2".to_owned())).await;
    lab.until_says("cat /sys/class/net/eth1/carrier", "1").await;

    // The system is thrown away; the data is not.
    lab.deed(Deed::Reinstall).await;
    assert!(!lab.ssh("test -e /root/kept").status.success());
    lab.on_node("zpool import -f tank");
    assert_eq!(lab.on_node("sha256sum /tank/media/film"), sum);
    lab.down().await;
}
