//! The node's kernel: what is on its command line, which one starts, and modules; and that what counts only from the next start is
//! known to wait for it. The programs of the boot loader are stood in for.

use managers::reboots;

use super::*;

/// The script that looks at what waits, and the one that restarts.
const LOOK: &str = include_str!("../../../../src/reboots/read.sh");
const RESTART: &str = include_str!("../../../../src/reboots/restart.sh");
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A node that starts from ZFS by systemd-boot, or by GRUB.
fn node(grub: bool) -> Option<Root> {
    let root = Root::new()?;
    root.sh(r#"mkdir -p /etc/kernel /boot /etc/modprobe.d /etc/modules-load.d /etc/default/grub.d /run/told
        : >/boot/vmlinuz-6.14.8-2-pve
        for name in update-initramfs modprobe proxmox-boot-tool; do
            printf '#!/bin/sh\necho "$0 $*" | sed "s,.*/,," >>/run/told/all\n' >/usr/local/sbin/$name
            chmod 755 /usr/local/sbin/$name
        done
        cat >>/usr/local/sbin/proxmox-boot-tool <<'END'
case "$1 $2" in
"kernel pin") echo "$3" >/etc/kernel/proxmox-boot-pin ;;
"kernel unpin") rm -f /etc/kernel/proxmox-boot-pin ;;
esac
END"#);
    match grub {
        true => root.sh(
            r#"printf '#!/bin/sh\n. /etc/default/grub\nfor it in /etc/default/grub.d/*.cfg; do [ ! -e "$it" ] || . "$it"; done\necho "$GRUB_CMDLINE_LINUX" >/run/told/grub\n' >/usr/local/sbin/update-grub
            chmod 755 /usr/local/sbin/update-grub; echo 'GRUB_CMDLINE_LINUX="quiet"' >/etc/default/grub"#,
        ),
        false => root.sh("echo 'root=ZFS=rpool/ROOT/pve-1 boot=zfs quiet' >/etc/kernel/cmdline"),
    };
    // The throw-away root may itself be in a container, whose kernel is another's.
    root.sh("rm -f /run/systemd/container");
    Some(root)
}

fn kernel(values: Value) -> Vec<u8> {
    apply(&[with(&built_in("kernel"), values)])
}

fn taken_away() -> Vec<u8> {
    removal(&["kernel".to_owned()], &[], Mode::Apply).text
}

fn seen(root: &Root) -> reboots::Restarts {
    root.put("/run/look.sh", LOOK.as_bytes());
    reboots::parse(&root.sh("sh /run/look.sh")).unwrap()
}

fn waits(root: &Root) -> Vec<String> {
    seen(root).waiting().map(str::to_owned).collect()
}

/// Another start, as far as the kernel tells.
pub(super) fn restarts(root: &Root, number: u32) {
    root.sh(&format!(
        "echo 00000000-0000-4000-8000-{number:012} >/run/boot-{number} && mount --bind /run/boot-{number} {BOOT_ID}"
    ));
}

fn told(root: &Root, what: &str) -> usize {
    root.sh("cat /run/told/all 2>/dev/null; :").lines().filter(|line| *line == what).count()
}

fn line(root: &Root) -> String {
    root.sh("cat /etc/kernel/cmdline").trim_end_matches('\n').to_owned()
}

#[test]
fn words_pin_and_modules_wait_for_the_next_start_and_go_again() {
    let Some(root) = node(false) else { return };
    let before = line(&root);
    assert!(waits(&root).is_empty());
    let first = kernel(json!({
        "pin": "6.14.8-2-pve", "command-line": ["quiet", "iommu=pt", "pcie_aspm=off"],
        "modules": { "nct6775": { "force_id": "0xd420" }, "vhci-hcd": {} }, "blacklist": ["nouveau"],
    }));
    root.run(&first).ok();
    assert_eq!(line(&root), format!("{before} iommu=pt pcie_aspm=off"));
    assert_eq!(
        root.sh("cat /etc/modprobe.d/phoenix-kernel.conf"),
        "# Written by Phoenix.\noptions nct6775 force_id=0xd420\nblacklist nouveau\n"
    );
    assert_eq!(
        root.sh("cat /etc/modules-load.d/phoenix-kernel.conf"),
        "# Written by Phoenix.\nnct6775\nvhci-hcd\n"
    );
    assert_eq!(root.sh("cat /etc/kernel/proxmox-boot-pin"), "6.14.8-2-pve\n");
    for what in [
        "modprobe -a -- nct6775 vhci-hcd",
        "update-initramfs -u -k all",
        "proxmox-boot-tool kernel pin 6.14.8-2-pve",
    ] {
        assert_eq!(told(&root, what), 1, "{what}: {}", root.sh("cat /run/told/all"));
    }
    assert_eq!(waits(&root), ["kernel"]);
    assert!(seen(&root).counts.contains("kernel"));
    root.run(&first).nothing_to_do();

    restarts(&root, 2);
    assert!(waits(&root).is_empty());
    root.run(&first).nothing_to_do();
    assert!(waits(&root).is_empty());

    // Somebody adds a word of their own. One of ours goes, another comes, the pin goes.
    root.sh("sed -i 's/ iommu=pt/ mitigations=auto iommu=pt/' /etc/kernel/cmdline");
    let second = kernel(json!({ "command-line": ["iommu=pt", "nohz=off"] }));
    root.run(&second).ok();
    assert_eq!(line(&root), format!("{before} mitigations=auto iommu=pt nohz=off"));
    root.sh("test ! -e /etc/kernel/proxmox-boot-pin && test ! -e /etc/modprobe.d/phoenix-kernel.conf");
    assert_eq!(waits(&root), ["kernel"]);
    root.run(&second).nothing_to_do();

    restarts(&root, 3);
    root.run(&taken_away()).ok();
    assert_eq!(line(&root), format!("{before} mitigations=auto"));
    assert_eq!(waits(&root), ["kernel"]);
    root.sh("test ! -e /etc/default/grub.d/phoenix.cfg && test ! -e /usr/local/lib/phoenix/kernel-words && test ! -e /var/lib/phoenix/kernel-words");
    root.run(&taken_away()).nothing_to_do();
}

/// An option that is set back before the node was restarted waits for nothing: the words, the pin and the files each have to be
/// what they were at the start, whoever changed them.
#[test]
fn what_is_set_back_before_the_restart_waits_no_more() {
    let Some(root) = node(false) else { return };
    let first =
        kernel(json!({ "pin": "6.14.8-2-pve", "command-line": ["iommu=pt"], "blacklist": ["nouveau"] }));
    root.run(&first).ok();
    // It was not there at this start, so that going it waits for nothing.
    let was = seen(&root).waits["kernel"].was.clone();
    assert_eq!(was, "-");
    root.run(&taken_away()).ok();
    assert!(waits(&root).is_empty(), "{:?}", seen(&root));
    root.run(&first).ok();
    assert_eq!(waits(&root), ["kernel"]);

    restarts(&root, 2);
    let changed = kernel(json!({ "command-line": ["iommu=pt", "nohz=off"] }));
    root.run(&changed).ok();
    assert_eq!(waits(&root), ["kernel"]);
    // A part of it is set back, then all of it.
    root.run(&kernel(json!({ "command-line": ["iommu=pt"], "blacklist": ["nouveau"] }))).ok();
    assert_eq!(waits(&root), ["kernel"]);
    root.run(&first).ok();
    assert!(waits(&root).is_empty(), "{:?}", seen(&root));

    // What somebody changed by hand counted at this start.
    root.sh("echo 'blacklist nova' >>/etc/modprobe.d/phoenix-kernel.conf");
    restarts(&root, 3);
    root.run(&first).ok();
    assert_eq!(waits(&root), ["kernel"], "it is not what counted");
    root.run(&changed).ok();
    root.run(&first).ok();
    assert_eq!(waits(&root), ["kernel"], "nor is it now");

    // What an earlier version wrote down says only when that was.
    restarts(&root, 4);
    root.sh(&format!("cat {BOOT_ID} >/var/lib/phoenix/restart/kernel"));
    assert_eq!(seen(&root).waits["kernel"].was, "?");
    root.run(&changed).ok();
    root.run(&first).ok();
    assert_eq!(waits(&root), ["kernel"]);
}

/// Killed anywhere while it is set back, it waits until that is done, and then no more.
#[test]
fn setting_back_that_was_cut_off_waits_until_it_is_done() {
    let first =
        kernel(json!({ "pin": "6.14.8-2-pve", "command-line": ["iommu=pt"], "blacklist": ["nouveau"] }));
    let changed = kernel(json!({ "command-line": ["nohz=off"] }));
    for tenths in [1, 2, 4, 6] {
        let Some(root) = node(false) else { return };
        root.run(&first).ok();
        restarts(&root, 2);
        root.run(&changed).ok();
        root.run_killed(&first, f64::from(tenths) / 10.0);
        root.run(&first).ok();
        assert!(waits(&root).is_empty(), "after {tenths} tenths: {:?}", seen(&root));
        root.run(&first).nothing_to_do();
    }
}

#[test]
fn grub_has_the_words_in_a_file_of_its_own() {
    let Some(root) = node(true) else { return };
    let words = kernel(json!({ "command-line": ["iommu=pt", "vfio.x=a,b"] }));
    root.run(&words).ok();
    assert_eq!(root.sh("cat /run/told/grub"), "quiet iommu=pt vfio.x=a,b\n");
    root.run(&words).nothing_to_do();
    assert_eq!(waits(&root), ["kernel"]);
    restarts(&root, 2);
    root.run(&taken_away()).ok();
    assert_eq!(root.sh("cat /run/told/grub"), "quiet\n");
    assert_eq!(waits(&root), ["kernel"]);
}

/// The node went down between a file and the command that brings it into force: what is only done after that start counts from the one
/// behind it, and a later start by hand is as good as any.
#[test]
fn what_is_brought_to_its_end_in_a_later_start_waits_for_the_next_one() {
    let Some(root) = node(true) else { return };
    root.sh(
        "mv /usr/local/sbin/update-grub /run/ && printf '#!/bin/sh\\nexit 1\\n' >/usr/local/sbin/update-grub && chmod 755 /usr/local/sbin/update-grub",
    );
    let words = kernel(json!({ "command-line": ["iommu=pt"] }));
    root.run(&words).failed();
    assert_eq!(waits(&root), ["kernel"]);
    restarts(&root, 2);
    root.sh("mv /run/update-grub /usr/local/sbin/");
    root.run(&words).ok();
    assert_eq!(root.sh("cat /run/told/grub"), "quiet iommu=pt\n");
    assert_eq!(waits(&root), ["kernel"], "GRUB knew nothing of it when this start began");
    restarts(&root, 3);
    root.run(&words).nothing_to_do();
    assert!(waits(&root).is_empty());
}

#[test]
fn what_cannot_be_is_said_and_nothing_is_changed() {
    let Some(root) = node(false) else { return };
    let ran = root.run(&kernel(json!({ "pin": "6.99.0-1-pve", "command-line": ["iommu=pt"] })));
    assert!(
        ran.failed().error("kernel").unwrap().contains("the kernel 6.99.0-1-pve is not installed"),
        "{ran:?}"
    );
    root.sh("rm /etc/kernel/cmdline");
    let ran = root.run(&kernel(json!({ "command-line": ["iommu=pt"] })));
    assert!(
        ran.failed().error("kernel").unwrap().contains("neither /etc/kernel/cmdline nor GRUB"),
        "{ran:?}"
    );
    assert!(waits(&root).is_empty());
    root.sh("test ! -e /etc/default/grub.d/phoenix.cfg");
}

/// A processor of this maker, and an IOMMU that is off, or on. The throw-away root has nothing in `/sys` of its own.
fn processor(root: &Root, maker: &str, iommu: bool) {
    let on = if iommu { "mkdir -p /sys/class/iommu/dmar0" } else { "rm -rf /sys/class/iommu" };
    root.sh(&format!(
        "printf 'processor\\t: 0\\nvendor_id\\t: {maker}\\n' >/run/cpuinfo && mount --bind /run/cpuinfo /proc/cpuinfo
        ! mountpoint -q /sys && {on}"
    ));
}

fn passes(iommu: bool) -> Vec<u8> {
    apply(&[with(&built_in("vfio"), json!({ "cards": ["0000:04:00"], "iommu": iommu }))])
}

fn nothing_passed() -> Vec<u8> {
    removal(&["vfio".to_owned()], &[], Mode::Apply).text
}

/// The IOMMU of an Intel processor is switched on where it is off, by the one word, which goes with the last card.
#[test]
fn the_iommu_of_intel_is_switched_on_where_it_is_off() {
    let Some(root) = node(false) else { return };
    let before = line(&root);
    processor(&root, "GenuineIntel", false);
    root.run(&passes(true)).ok();
    assert_eq!(line(&root), format!("{before} intel_iommu=on"));
    assert_eq!(waits(&root), ["vfio"]);
    root.run(&passes(true)).nothing_to_do();
    // It is on by that very word, so the word stays.
    restarts(&root, 2);
    processor(&root, "GenuineIntel", true);
    root.run(&passes(true)).nothing_to_do();
    root.sh("sed -i 's/$/ mitigations=auto/' /etc/kernel/cmdline");
    root.run(&nothing_passed()).ok();
    assert_eq!(line(&root), format!("{before} mitigations=auto"));
    root.sh("test ! -e /var/lib/phoenix/iommu-word && test ! -e /usr/local/lib/phoenix/iommu");
    root.run(&nothing_passed()).nothing_to_do();
}

/// It is left alone where it is on, where it is AMD's, where somebody says a word on it, and in a container.
#[test]
fn an_iommu_that_needs_nothing_is_left_alone() {
    let Some(root) = node(false) else { return };
    let before = line(&root);
    let untouched = |root: &Root, why: &str| {
        root.run(&passes(true)).ok();
        assert_eq!(line(root), before, "{why}");
        root.sh("test ! -e /var/lib/phoenix/iommu-word");
        root.run(&nothing_passed()).ok();
    };
    processor(&root, "GenuineIntel", true);
    untouched(&root, "it is on");
    processor(&root, "AuthenticAMD", false);
    untouched(&root, "it is AMD's");
    processor(&root, "GenuineIntel", false);
    root.run(&passes(false)).ok();
    assert_eq!(line(&root), before, "the blueprint says the word");
    root.sh("sed -i 's/$/ intel_iommu=off/' /etc/kernel/cmdline");
    root.run(&passes(true)).ok();
    assert_eq!(line(&root), format!("{before} intel_iommu=off"), "somebody says that it is off");
    root.sh("sed -i 's/ intel_iommu=off//' /etc/kernel/cmdline; mkdir -p /run/systemd; echo lxc >/run/systemd/container");
    root.run(&passes(true)).ok();
    assert_eq!(line(&root), before, "the kernel is another's");
}

#[test]
fn grub_has_the_word_of_the_iommu_in_a_file_of_its_own() {
    let Some(root) = node(true) else { return };
    processor(&root, "GenuineIntel", false);
    root.run(&passes(true)).ok();
    assert_eq!(root.sh("cat /run/told/grub"), "quiet intel_iommu=on\n");
    root.run(&passes(true)).nothing_to_do();
    root.run(&nothing_passed()).ok();
    assert_eq!(root.sh("cat /run/told/grub"), "quiet\n");
    // All is as it was at this start.
    assert!(waits(&root).is_empty(), "{:?}", seen(&root));
}

/// Killed anywhere: what has changed is known to wait, and the next run comes to the same end.
#[test]
fn a_change_that_was_cut_off_waits_as_well() {
    let values = json!({ "pin": "6.14.8-2-pve", "command-line": ["iommu=pt"], "blacklist": ["nouveau"] });
    let end = |root: &Root| {
        let all = "cat /etc/kernel/cmdline /etc/kernel/proxmox-boot-pin /etc/modprobe.d/phoenix-kernel.conf /var/lib/phoenix/kernel-words";
        root.sh(all)
    };
    let Some(whole) = node(false) else { return };
    whole.run(&kernel(values.clone())).ok();
    let expected = end(&whole);
    for tenths in [1, 2, 3, 4, 6, 8] {
        let Some(root) = node(false) else { return };
        root.run_killed(&kernel(values.clone()), f64::from(tenths) / 10.0);
        let changed = root
            .sh("grep -q iommu /etc/kernel/cmdline || test -e /etc/modprobe.d/phoenix-kernel.conf || \
             test -e /etc/kernel/proxmox-boot-pin && echo yes; :");
        assert!(changed.is_empty() || waits(&root) == ["kernel"], "after {tenths} tenths");
        root.run(&kernel(values.clone())).ok();
        assert_eq!(end(&root), expected, "after {tenths} tenths");
        assert_eq!(waits(&root), ["kernel"], "after {tenths} tenths");
        root.run(&kernel(values.clone())).nothing_to_do();
    }
}

/// The kernel of a container is another's, so nothing can be waited for.
#[test]
fn in_a_container_nothing_waits() {
    let Some(root) = node(false) else { return };
    root.sh("mkdir -p /run/systemd && echo lxc >/run/systemd/container");
    root.run(&kernel(json!({ "blacklist": ["nouveau"] }))).ok();
    assert!(waits(&root).is_empty());
}

/// What is written down of a restart is there until it is over, and what waited for it goes with it.
#[test]
fn a_restart_is_written_down_until_it_is_over() {
    let Some(root) = node(false) else { return };
    root.put("/run/restart.sh", RESTART.as_bytes());
    root.run(&kernel(json!({ "blacklist": ["nouveau"] }))).ok();
    let boot = seen(&root).boot;
    let begun = reboots::Begun {
        boot,
        site: "workshop".into(),
        ran: vec![(plan::GuestKind::Container, 120), (plan::GuestKind::Vm, 130)],
    };
    root.put("/run/begun", begun.to_string().as_bytes());
    root.sh("sh /run/restart.sh begin </run/begun");
    assert_eq!(seen(&root).begun, Some(begun.clone()));
    restarts(&root, 2);
    let now = seen(&root);
    assert!(now.begun == Some(begun) && now.waiting().next().is_none() && !now.waits.is_empty());
    root.sh("sh /run/restart.sh end");
    let now = seen(&root);
    assert!(now.begun.is_none() && now.waits.is_empty(), "{now:?}");
}
