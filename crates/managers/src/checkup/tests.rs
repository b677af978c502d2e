//! Every check, against a node that is well, and against one that is not.

use std::collections::BTreeSet;

use super::*;

/// Our clock: 30 November 2026.
const NOW: i64 = 1_796_020_000;

/// A node that is well, in the form in which `look.sh` tells it: two disks, a mirror of ZFS, a card of NVIDIA's, two guests.
const WELL: &str = include_str!("well.txt");

/// What makes the node unwell: the check, the grade, and lines in place of those that begin with the same word (a word alone:
/// without them; a line with `+`: beside them).
const TROUBLES: &[(&str, Grade, &str)] = &[
    ("unfinished", Grade::Bad, "end"),
    ("unfinished", Grade::Warn, "late|disks"),
    ("virtualisation", Grade::Warn, "cpu|GenuineIntel|8|-|no|50|0|0|12"),
    ("virtualisation", Grade::Warn, "cpu|AuthenticAMD|8|svm|no|50|0|0|12"),
    ("iommu", Grade::Bad, "cpu|GenuineIntel|8|vmx|yes|50|0|0|0\n+guest|104|vm|-|2048|no|yes|0|-"),
    ("ecc", Grade::Warn, "ecc|mc0|3|0"),
    ("ecc", Grade::Bad, "ecc|mc0|3|1"),
    ("heat", Grade::Bad, "sensor|coretemp|101000|100000"),
    ("heat", Grade::Warn, "cpu|GenuineIntel|8|vmx|yes|50|0|17|12"),
    ("hardware-errors", Grade::Bad, "+said|hardware|2|mce: [Hardware Error]: Machine check events logged"),
    ("holes", Grade::Warn, "cpu|GenuineIntel|8|vmx|yes|50|2|0|12"),
    ("holes", Grade::Warn, "cpu|AuthenticAMD|8|svm|yes|50|2|0|12"),
    ("gpu-driver", Grade::Warn, "gpu|0000:01:00.0|10de|2684|nouveau|AD102"),
    ("gpu-driver", Grade::Warn, "gpu|0000:01:00.0|10de|2684||"),
    // P-21: the driver is lost after each new kernel.
    ("nvidia-versions", Grade::Bad, "nvidia|-|-|570.133.07"),
    ("nvidia-versions", Grade::Bad, "nvidia|550.90.07|570.133.07|570.133.07"),
    ("memory-full", Grade::Warn, "memory|32000000|3000000|0|000|000"),
    ("memory-full", Grade::Bad, "memory|32000000|300000|0|000|000"),
    ("memory-pressure", Grade::Warn, "memory|32000000|20000000|0|000|1500"),
    ("memory-pressure", Grade::Bad, "memory|32000000|20000000|0|5000|000"),
    ("memory-killed", Grade::Warn, "memory|32000000|20000000|4|000|000"),
    ("memory-promised", Grade::Warn, "+guest|105|vm|-|65536|yes|no|0|-"),
    ("zfs-cache", Grade::Warn, "arc|31000000"),
    ("swap", Grade::Warn, "swap|/dev/zd0|8000000|0"),
    ("swap", Grade::Warn, "swap|/dev/dm-0|8000000|7900000"),
    ("root-full", Grade::Warn, "mount|/|/dev/mapper/pve-root|ext4|yes|100000000|12000000|6000000|5000000"),
    ("root-full", Grade::Bad, "mount|/|/dev/mapper/pve-root|ext4|yes|100000000|0|6000000|5000000"),
    ("boot-full", Grade::Bad, "+mount|/boot|/dev/sda2|ext4|yes|500000|90000|60000|50000"),
    ("efi", Grade::Warn, "boot|6.14.8-2-pve|yes|no|yes|no"),
    ("efi", Grade::Warn, "+mount|/boot/efi|/dev/sda1|vfat|yes|500000|9000|0|0"),
    ("file-system-full", Grade::Bad, "+mount|/var|/dev/sda3|ext4|yes|100000000|2000000|6000000|5000000"),
    ("files", Grade::Bad, "+mount|/srv|/dev/sda4|ext4|yes|100000000|60000000|1000000|1000"),
    ("read-only", Grade::Bad, "+mount|/srv|/dev/sda4|ext4|no|100000000|60000000|1000000|900000"),
    ("disk-errors", Grade::Bad, "+said|disk|7|I/O error, dev sda, sector 1234 op 0x0:(READ)"),
    ("disk-errors", Grade::Bad, "+said|filesystem|1|EXT4-fs error (device dm-0): ext4_find_entry"),
    ("smart", Grade::Warn, "missing|smartctl"),
    ("smart", Grade::Warn, "smart|sda|passed|12|3"),
    ("smart", Grade::Bad, "smart|sda|failed|0|3"),
    ("worn", Grade::Warn, "smart|sda|passed|0|93"),
    ("thin-pool", Grade::Warn, "thin|pve/data|85|20"),
    ("thin-pool", Grade::Bad, "thin|pve/data|60|97"),
    ("zfs-pool", Grade::Bad, "pool|tank|DEGRADED|40|0|1795000000"),
    ("zfs-pool", Grade::Warn, "pool|tank|ONLINE|40|3|1795000000"),
    ("zfs-full", Grade::Warn, "pool|tank|ONLINE|82|0|1795000000"),
    ("zfs-full", Grade::Bad, "pool|tank|ONLINE|95|0|1795000000"),
    ("zfs-scrub", Grade::Warn, "pool|tank|ONLINE|40|0|-"),
    ("zfs-scrub", Grade::Warn, "pool|tank|ONLINE|40|0|1780000000"),
    ("raid", Grade::Bad, "raid|md0|U_"),
    ("reboot-pending", Grade::Warn, "boot|6.17.2-1-pve|yes|no|yes|yes"),
    ("reboot-pending", Grade::Warn, "boot|6.14.8-2-pve|yes|yes|yes|yes"),
    ("kernel-modules", Grade::Bad, "boot|6.14.8-2-pve|no|no|yes|yes"),
    ("failed-units", Grade::Warn, "+failed|smartmontools.service"),
    ("hung", Grade::Warn, "+said|hung|3|INFO: task kworker blocked for more than 122 seconds."),
    ("load", Grade::Warn, "cpu|GenuineIntel|8|vmx|yes|9900|0|0|12"),
    ("machine-id", Grade::Warn, "node|1796019990|pve1|6.14.8-2-pve|none|900000|"),
    ("machine-id", Grade::Warn, "node|1796019990|pve1|6.14.8-2-pve|none|900000|2222"),
    ("open-files", Grade::Warn, "limits|65536|4194304|95000|100000|256|60000|100|262144"),
    ("entropy", Grade::Warn, "limits|65536|4194304|950|100000|12|60000|100|262144"),
    (
        "enterprise-repository",
        Grade::Warn,
        "+repository|/etc/apt/sources.list.d/pve-enterprise.sources|https://a|trixie|pve-enterprise",
    ),
    (
        "enterprise-repository",
        Grade::Warn,
        "+repository|/etc/apt/sources.list.d/ceph.sources|https://a|trixie|enterprise",
    ),
    (
        "no-proxmox-repository",
        Grade::Warn,
        "repository|/etc/apt/sources.list|http://a|trixie trixie-security|main",
    ),
    ("mixed-releases", Grade::Bad, "+repository|/etc/apt/sources.list|http://a|bookworm-updates|main"),
    (
        "no-security-updates",
        Grade::Warn,
        "repository|/etc/apt/sources.list|http://a|trixie|main pve-no-subscription",
    ),
    ("end-of-life", Grade::Bad, "system|debian|bullseye|Debian GNU/Linux 11 (bullseye)|7.4-3"),
    ("old-lists", Grade::Warn, "lists|-|-"),
    ("old-lists", Grade::Warn, "lists|1790000000|1799000000"),
    ("old-lists", Grade::Warn, "lists|1796000000|1796010000"),
    ("security-updates", Grade::Warn, "upgrades|30|12"),
    ("half-installed", Grade::Bad, "+package|iF|pve-kernel-6.14"),
    // P-23: ending apt and dpkg by force is not what is said.
    ("packages-busy", Grade::Warn, "+busy|apt-get|7200"),
    ("no-proxmox-ve", Grade::Bad, "package|ii|pve-manager"),
    ("clock", Grade::Warn, "node|1796019960|pve1|6.14.8-2-pve|none|900000|1111\nend|1796019962"),
    ("clock", Grade::Bad, "node|1796090000|pve1|6.14.8-2-pve|none|900000|1111\nend|1796090002"),
    ("time-sync", Grade::Warn, "time|Europe/Vienna|Europe/Vienna|no|no"),
    ("time-sync", Grade::Bad, "time|Europe/Vienna|Europe/Vienna|no|no\nservice|chrony|not-found|inactive"),
    ("time-zone", Grade::Warn, "time|-|Europe/Vienna|no|yes"),
    ("time-zone", Grade::Warn, "time|Europe/Vienna|America/New_York|no|yes"),
    ("board-clock", Grade::Warn, "time|Europe/Vienna|Europe/Vienna|yes|yes"),
    // P-20: 127.0.1.1 in /etc/hosts.
    ("own-name", Grade::Bad, "own|127.0.1.1"),
    ("own-name", Grade::Bad, "own|"),
    ("own-name", Grade::Bad, "own|10.9.9.9"),
    ("name-servers", Grade::Bad, "resolver"),
    ("name-servers", Grade::Bad, "lookup|packages.example|no"),
    ("name-servers", Grade::Warn, "+resolver|10.0.0.2\n+resolver|10.0.0.3\n+resolver|10.0.0.4"),
    ("way-out", Grade::Bad, "route"),
    ("link-down", Grade::Warn, "link|enp5s0|card|aa:bb:cc:00:00:01|1500|down|-|vmbr0"),
    ("slow-link", Grade::Warn, "link|enp5s0|card|aa:bb:cc:00:00:01|1500|up|100|vmbr0"),
    (
        "mtu",
        Grade::Bad,
        "link|enp5s0|card|aa:bb:cc:00:00:01|1500|up|1000|vmbr0\n+link|vmbr0|bridge|aa:bb:cc:00:00:01|9000|up|-|",
    ),
    ("network-pending", Grade::Warn, "+pending|/etc/network/interfaces.new"),
    ("connections", Grade::Warn, "limits|65536|4194304|950|100000|256|60000|240000|262144"),
    ("no-proxmox", Grade::Warn, "system|debian|trixie|Debian GNU/Linux 13 (trixie)|"),
    ("versions", Grade::Bad, "system|debian|bookworm|Debian GNU/Linux 12 (bookworm)|9.0.3"),
    (
        "services",
        Grade::Bad,
        "service|pve-cluster|loaded|active\nservice|pvedaemon|loaded|active\nservice|pveproxy|loaded|failed\nservice|pvestatd|loaded|active",
    ),
    ("cluster-files", Grade::Bad, "cluster|no|no"),
    ("renamed", Grade::Bad, "cluster|yes|no"),
    ("quorum", Grade::Bad, "quorum|no"),
    ("quorum", Grade::Bad, "quorum|"),
    // P-17: the whole name counts, not how it begins.
    ("storage-inactive", Grade::Bad, "+storage|tank-sync|inactive|0|0"),
    ("storage-full", Grade::Warn, "+storage|media|active|1000|900"),
    ("storage-full", Grade::Bad, "+storage|media|active|1000|990"),
    ("certificate", Grade::Warn, "certificate|/etc/pve/local/pve-ssl.pem|1796400000"),
    ("certificate", Grade::Bad, "certificate|/etc/pve/local/pveproxy-ssl.pem|1790000000"),
    ("locked-guests", Grade::Warn, "+guest|107|vm|backup|2048|no|no|0|-"),
    ("old-snapshots", Grade::Warn, "+guest|107|ct|-|2048|no|no|1|1770000000"),
    ("no-backups", Grade::Warn, "backups|0|-"),
    ("no-backups", Grade::Warn, "backups|1|-"),
    ("no-backups", Grade::Warn, "backups|1|1790000000"),
    ("id-maps", Grade::Bad, "idmap|subuid|100000|65536"),
    ("inotify", Grade::Warn, "limits|128|4194304|950|100000|256|60000|100|262144"),
    ("namespaces", Grade::Bad, "limits|65536|4194304|950|100000|256|0|100|262144"),
    // P-65: containers became unconfined, and nobody was told.
    ("apparmor", Grade::Warn, "apart|no|yes"),
    ("cgroups", Grade::Warn, "apart|yes|no"),
    ("root-password", Grade::Bad, "root|empty"),
    ("ssh-passwords", Grade::Warn, "ssh|yes|yes"),
    // P-71: no_root_squash, to everybody.
    ("open-exports", Grade::Warn, "export|/tank/media *(rw,no_root_squash)"),
];

fn others() -> [(String, String); 1] {
    [("pve2".to_owned(), "2222".to_owned())]
}

fn find(name: &str) -> &'static Check {
    let all = CHECKS.into_iter().flatten();
    all.into_iter().find(|check| check.name() == name).unwrap_or_else(|| panic!("there is no check {name}"))
}

fn judged(check: &Check, facts: &Facts) -> Finding {
    check.judge(&View { facts, asked: NOW - 12, answered: NOW, others: &others() })
}

/// The node that is well, with this changed.
fn with(change: &str) -> Facts {
    let word =
        |line: &str| line.split(['|', '\t']).next().unwrap_or_default().trim_start_matches('+').to_owned();
    let gone: BTreeSet<String> = change.lines().filter(|line| !line.starts_with('+')).map(word).collect();
    let kept = WELL.lines().filter(|line| !gone.contains(&word(line)));
    let new = change
        .lines()
        .filter(|line| line.contains('|'))
        .map(|line| line.trim_start_matches('+').replace('|', "\t"));
    let text: Vec<String> = kept.map(str::to_owned).chain(new.clone()).collect();
    let facts = Facts::parse(&text.join("\n"));
    for line in new {
        let line = Facts::parse(&line).to_string();
        assert!(!line.is_empty(), "not a line that is understood: {change}");
    }
    facts
}

#[test]
fn a_node_that_is_well_has_no_trouble() {
    let facts = Facts::parse(WELL);
    assert_eq!(Facts::parse(&facts.to_string()), facts);
    for check in CHECKS.into_iter().flatten() {
        let finding = judged(check, &facts);
        assert_eq!(finding.grade, Grade::Ok, "{}: {finding:?}", check.info.code);
        assert!(!finding.seen.is_empty() && finding.hint.is_none(), "{}: {finding:?}", check.info.code);
    }
}

#[test]
fn every_trouble_is_found_with_the_next_command() {
    for (name, grade, change) in TROUBLES {
        let finding = judged(find(name), &with(change));
        assert_eq!(finding.grade, *grade, "{name}, {change}: {finding:?}");
        let hint = finding.hint.unwrap_or_default();
        assert!(!hint.is_empty() && !hint.ends_with('.'), "{name}: {hint}");
        assert!(!finding.seen.is_empty(), "{name}");
    }
}

#[test]
fn every_check_has_a_trouble_and_there_are_more_than_thirty() {
    let checks: Vec<&Check> = CHECKS.into_iter().flatten().collect();
    assert!(checks.len() >= 60, "{}", checks.len());
    let mut names = BTreeSet::new();
    for check in checks {
        assert!(check.info.code.starts_with("host::") && names.insert(check.name()), "{}", check.info.code);
        let tried = TROUBLES.iter().any(|(name, ..)| *name == check.name());
        assert!(tried, "{} has no case in which it finds something", check.info.code);
        assert!(check.info.explanation.ends_with('.'), "{}", check.info.code);
    }
    let titles: Vec<_> = CHECKS.iter().map(|list| list[0].group).collect();
    assert!(titles.is_sorted() && CHECKS.iter().all(|list| list.iter().all(|it| it.group == list[0].group)));
}

#[test]
fn what_is_not_known_does_not_pass_for_well() {
    let nothing = Facts::default();
    // What is well where there is nothing to be seen: a node without ZFS has no pool that is full.
    let fine = CHECKS.into_iter().flatten().filter(|check| judged(check, &nothing).grade == Grade::Ok);
    let fine: Vec<_> = fine.map(Check::name).collect();
    for name in ["memory-full", "root-full", "clock", "virtualisation", "half-installed"] {
        let about = judged(find(name), &nothing);
        assert!(name == "half-installed" || about.grade == Grade::Unknown, "{name}: {about:?} {fine:?}");
    }
    // A tool that is missing is named, and how one gets it.
    let lacks = judged(find("smart"), &with("missing|smartctl"));
    assert_eq!(lacks.hint.as_deref(), Some("apt install smartmontools"));
    assert_eq!(judged(find("worn"), &with("missing|smartctl")).grade, Grade::Unknown);
}

#[test]
fn a_node_in_a_container_does_not_answer_for_its_machine() {
    let facts = with(
        "node|1796019990|pve1|6.14.8-2-pve|lxc|900000|1111\ncpu|GenuineIntel|8|-|no|50|9|9|0\nboot|-|no|no|no|no",
    );
    for name in [
        "virtualisation",
        "iommu",
        "heat",
        "holes",
        "reboot-pending",
        "kernel-modules",
        "smart",
        "time-sync",
        "apparmor",
    ] {
        assert_eq!(judged(find(name), &facts).grade, Grade::Unknown, "{name}");
    }
}

#[test]
fn a_look_that_was_cut_says_where() {
    let cut = Facts::parse("node\t1796019990\tpve1\t6\tnone\t9\t1\nat\tmemory\nat\tdisks\nmou");
    let finding = judged(find("unfinished"), &cut);
    assert!(finding.seen.contains("beyond: disks"), "{finding:?}");
}

#[tokio::test]
async fn this_machine_is_looked_at_within_the_limits() {
    let seen = Seen::look("here", &transport::Local).await.unwrap();
    assert!(
        seen.facts.end.is_some() && seen.facts.memory.is_some() && seen.facts.mount("/").is_some(),
        "{}",
        seen.facts
    );
    let cpu = seen.facts.cpu.as_ref().unwrap();
    assert!(cpu.count > 0, "{cpu:?}");
    let found = judge(std::slice::from_ref(&seen));
    assert_eq!(found.len(), CHECKS.into_iter().flatten().count());
    for it in &found {
        let json = it.json();
        assert_eq!(json["code"].is_null(), !matches!(it.finding.grade, Grade::Warn | Grade::Bad), "{json}");
    }
    // Two nodes that are copies of each other.
    let twin = Seen { node: "twin".into(), ..seen };
    let both = judge(&[twin.clone(), Seen { node: "here".into(), ..twin.clone() }]);
    let ids: Vec<_> = both.iter().filter(|it| it.check.name() == "machine-id").collect();
    let same = twin.facts.node.as_ref().unwrap().machine_id.is_some();
    assert!(ids.len() == 2 && ids.iter().all(|it| !same || it.finding.grade == Grade::Warn), "{ids:?}");
}

/// The script on a tree that is not this machine's.
mod tree {
    use super::*;
    use std::os::unix::fs::symlink;

    fn look(files: &[(&str, &str)], links: &[(&str, &str)]) -> Facts {
        let root = tempfile::tempdir().unwrap();
        let place = |path: &str| {
            let path = root.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for (path, text) in files {
            fs_err::write(place(path), text).unwrap();
        }
        for (path, to) in links {
            symlink(to, place(path)).unwrap();
        }
        let script = root.path().join("look.sh");
        fs_err::write(&script, SCRIPT).unwrap();
        let output = std::process::Command::new("sh").arg(&script).arg(root.path()).output().unwrap();
        Facts::parse(&String::from_utf8_lossy(&output.stdout))
    }

    #[test]
    fn repositories_of_both_forms_are_read() {
        let facts = look(
            &[
                (
                    "etc/apt/sources.list",
                    "# deb http://no main\ndeb [arch=amd64 signed-by=/k] http://a/debian trixie main contrib # and more\ndeb-src http://a trixie main\n",
                ),
                (
                    "etc/apt/sources.list.d/pve.sources",
                    "Types: deb\nURIs: http://b/pve\nSuites: trixie\nComponents: pve-no-subscription\n\nTypes: deb\nURIs: https://c\n\
                     Suites: trixie\nComponents: pve-enterprise\nEnabled: no\n\nTypes: deb-src\nURIs: http://d\nSuites: trixie\n",
                ),
                (
                    "var/lib/apt/lists/a_InRelease",
                    "Origin: Debian\nValid-Until: Mon, 30 Nov 2026 08:00:00 UTC\n",
                ),
            ],
            &[],
        );
        let lines: Vec<String> = facts
            .repositories
            .iter()
            .map(|it| format!("{} {} {} {}", it.file, it.uris, it.suites, it.components))
            .collect();
        assert_eq!(
            lines,
            [
                "/etc/apt/sources.list http://a/debian trixie main contrib",
                "/etc/apt/sources.list.d/pve.sources http://b/pve trixie pve-no-subscription"
            ]
        );
        assert_eq!(facts.lists.unwrap().ends, Some(1_796_025_600));
    }

    #[test]
    fn cards_links_and_sensors_are_read_from_sys() {
        let facts = look(
            &[
                ("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n"),
                ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
                ("sys/bus/pci/devices/0000:01:00.0/device", "0x2684\n"),
                ("sys/bus/pci/devices/0000:02:00.0/class", "0x020000\n"),
                ("sys/module/nvidia/version", "550.90.07\n"),
                ("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.133.07", ""),
                ("sys/class/net/enp5s0/address", "aa:bb:cc:00:00:01\n"),
                ("sys/class/net/enp5s0/mtu", "1500\n"),
                ("sys/class/net/enp5s0/operstate", "up\n"),
                ("sys/class/net/enp5s0/speed", "100\n"),
                ("sys/class/net/enp5s0/device/vendor", "0x8086\n"),
                ("sys/class/net/vmbr0/mtu", "9000\n"),
                ("sys/class/net/vmbr0/operstate", "up\n"),
                ("sys/class/net/vmbr0/bridge/id", "x\n"),
                ("sys/class/hwmon/hwmon0/temp1_input", "101000\n"),
                ("sys/class/hwmon/hwmon0/temp1_crit", "100000\n"),
                ("sys/class/hwmon/hwmon0/name", "coretemp\n"),
                (
                    "proc/self/mountinfo",
                    "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n26 25 8:1 /srv /mnt/once-more ro - ext4 /dev/sda1 rw\n\
                     27 25 8:2 / /da\\040ta rw shared:1 - ext4 /dev/sdb1 ro,errors=remount-ro\n",
                ),
                ("da ta/x", ""),
                ("proc/mdstat", "md0 : active raid1 sdb1[1]\n      1000 blocks super 1.2 [2/1] [U_]\n"),
            ],
            &[
                ("sys/bus/pci/devices/0000:01:00.0/driver", "../../bus/pci/drivers/nvidia"),
                ("sys/class/net/enp5s0/master", "../vmbr0"),
            ],
        );
        let gpu = &facts.gpus[0];
        assert_eq!(
            (gpu.slot.as_str(), gpu.vendor.as_str(), gpu.driver.as_deref()),
            ("0000:01:00.0", "10de", Some("nvidia"))
        );
        assert_eq!(facts.gpus.len(), 1);
        let mounts: Vec<_> = facts.mounts.iter().map(|it| (it.place.as_str(), it.writable)).collect();
        assert_eq!(mounts, [("/", true), ("/da ta", false)]);
        for (name, grade) in [
            ("nvidia-versions", Grade::Bad),
            ("slow-link", Grade::Warn),
            ("mtu", Grade::Bad),
            ("heat", Grade::Bad),
            ("raid", Grade::Bad),
        ] {
            let mut facts = facts.clone();
            // What the tests run in is no matter here.
            if let Some(node) = &mut facts.node {
                node.within = "none".to_owned();
            }
            assert_eq!(judged(find(name), &facts).grade, grade, "{name}: {facts}");
        }
    }

    #[test]
    fn guests_are_read_from_their_files() {
        let name = String::from_utf8(std::process::Command::new("uname").arg("-n").output().unwrap().stdout)
            .unwrap();
        let name = name.trim().split('.').next().unwrap().to_owned();
        let vm = format!("etc/pve/nodes/{name}/qemu-server/200.conf");
        let ct = format!("etc/pve/nodes/{name}/lxc/120.conf");
        let facts = look(
            &[
                (
                    &vm,
                    "hostpci0: 0000:01:00\nlock: backup\nmemory: 4096\nonboot: 1\n\n[before]\nmemory: 1\nsnaptime: 1770000000\n[later]\nsnaptime: 1780000000\n",
                ),
                (&ct, "memory: 512\n"),
                ("etc/shadow", "daemon:*:1\nroot::19000:0:\n"),
                ("etc/exports", "# none\n/tank/media *(rw)\n"),
                ("etc/subuid", "root:100000:65536\nme:1:2\n"),
            ],
            &[],
        );
        let vm = facts.guests.iter().find(|it| it.id == 200).unwrap();
        assert_eq!(
            (vm.lock.as_deref(), vm.memory, vm.starts, vm.devices),
            (Some("backup"), 4096, true, true)
        );
        assert_eq!((vm.snapshots, vm.oldest), (2, Some(1_770_000_000)));
        assert_eq!(facts.guests.len(), 2);
        assert_eq!(judged(find("root-password"), &facts).grade, Grade::Bad);
        assert_eq!(judged(find("open-exports"), &facts).grade, Grade::Warn);
        assert_eq!(facts.idmaps.len(), 1);
    }
}
