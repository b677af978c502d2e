//! The command line of the process that is a node's machine.

use serde_json::{Value, json};

use super::parts::{ADDRESS, DISKS, Disk, GATEWAY, Hardware, NAMES, OUTSIDE, SYSTEM};
use super::{console, pid_file, socket};

/// Where the lab's folder is for QEMU, in its own root.
pub(super) const LAB: &str = "/lab";
/// Where the image's folder is, likewise.
pub(super) const IMAGE: &str = "/image";
/// The disk with the lab's program and the node's first files, in the lab's folder.
pub(crate) const PROGRAM: &str = "program.img";

/// A disk as the block layer has it (`blockdev-add`).
pub(super) fn block(disk: &Disk) -> Value {
    json!({
        "driver": "raw", "node-name": format!("{}-file", disk.name), "discard": "unmap",
        "file": {"driver": "file", "filename": format!("{LAB}/{DISKS}/{}", disk.file())},
    })
}

/// The same as the machine has it (`device_add`): one that is pulled is gone at once, whatever the system says to it.
pub(super) fn device(disk: &Disk) -> Value {
    let slot: u32 = disk.name.trim_start_matches("disk").parse().unwrap_or_default();
    json!({
        "driver": "scsi-hd", "id": disk.name, "bus": "disks.0", "scsi-id": slot, "drive": format!("{}-file", disk.name),
        "serial": disk.serial,
    })
}

/// The argument vector. Without the processor's help (`kvm`), all is emulated.
pub(super) fn arguments(id: &str, parts: &Hardware, kvm: bool) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut put = |words: &[&str]| out.extend(words.iter().map(|word| (*word).to_owned()));
    put(&["qemu-system-x86_64", "-daemonize", "-pidfile", pid_file(id).as_str(), "-name", id]);
    let helper = if kvm { "kvm" } else { "tcg,thread=multi" };
    put(&["-machine", "q35,usb=off", "-accel", helper, "-cpu", "max"]);
    put(&["-smp", &parts.cores.to_string(), "-m", &parts.memory.to_string()]);
    put(&["-nodefaults", "-display", "none", "-vga", "none"]);
    put(&["-chardev", &format!("file,id=console,path={},append=on", console(LAB.into()))]);
    put(&["-serial", "chardev:console"]);
    put(&["-qmp", &format!("unix:{},server=on,wait=off", socket(id))]);
    put(&["-device", "virtio-rng-pci", "-device", "virtio-scsi-pci,id=disks"]);
    let own = [
        ("system", "qcow2", format!("{LAB}/{DISKS}/{SYSTEM}"), false, "PHX-SYSTEM"),
        ("program", "raw", format!("{LAB}/{PROGRAM}"), true, "PHX-PROGRAM"),
    ];
    for (name, format, path, read_only, serial) in own {
        let block = json!({
            "driver": format, "node-name": format!("{name}-file"), "read-only": read_only,
            "file": {"driver": "file", "filename": path},
        });
        let mut device = json!({
            "driver": "virtio-blk-pci", "id": name, "drive": format!("{name}-file"), "serial": serial,
        });
        // The boot loader is on the system disk.
        if name == "system" {
            device["bootindex"] = 1.into();
        }
        put(&["-blockdev", &block.to_string(), "-device", &device.to_string()]);
    }
    for disk in parts.disks.iter().filter(|disk| disk.there) {
        put(&["-blockdev", &block(disk).to_string(), "-device", &device(disk).to_string()]);
    }
    // One switch, with the way out and all of the machine's links on it.
    put(&[
        "-netdev",
        &format!("user,id=out,net={OUTSIDE},host={GATEWAY},dns={NAMES},dhcpstart={ADDRESS},ipv6=off"),
    ]);
    put(&["-netdev", "hubport,id=out-port,hubid=0,netdev=out"]);
    for link in &parts.links {
        let name = &link.name;
        put(&["-netdev", &format!("hubport,id={name}-port,hubid=0")]);
        let device = json!({
            "driver": "virtio-net-pci", "id": name, "netdev": format!("{name}-port"), "mac": link.mac, "romfile": "",
        });
        put(&["-device", &device.to_string()]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::parts::MachineSpec;
    use super::*;

    #[test]
    fn a_machine_has_its_disks_by_serial_number_and_its_links_on_one_switch() {
        let mut parts = Hardware::new(MachineSpec::default(), "/c/programs".into(), "02:00:00:00:01");
        parts.disks[2].there = false;
        let all = arguments("phx-1a2b3c", &parts, false).join(" ");
        for part in [
            "-pidfile /run/phoenix-lab/phx-1a2b3c.pid",
            "-accel tcg,thread=multi -cpu max",
            "\"filename\":\"/lab/disks/PHX-DISK-1.raw\"",
            "\"serial\":\"PHX-DISK-4\"",
            "\"filename\":\"/lab/program.img\"},\"node-name\":\"program-file\",\"read-only\":true",
            "\"bootindex\":1,\"drive\":\"system-file\"",
            "-netdev user,id=out,net=198.18.0.0/24,host=198.18.0.1,dns=198.18.0.3",
            "\"id\":\"link2\",\"mac\":\"02:00:00:00:01:a2\",\"netdev\":\"link2-port\"",
        ] {
            assert!(all.contains(part), "no {part} in {all}");
        }
        assert_eq!(all.matches("hubid=0").count(), 3);
        assert!(!all.contains("PHX-DISK-3"), "a disk that was pulled is not there");
    }
}
