//! Processor, firmware, sensors, cards.

use super::super::{Check, Finding, Group, View};
use super::{few, unread};

const IN: Group = Group::Machine;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::unfinished",
        "the node could not be looked at to the end",
        "All of a node is looked at by one command, each question of it with a limit of its own. What hangs in spite of that \
         waits for a disk or a network storage that does not answer.",
        finished,
    ),
    IN.check(
        "host::virtualisation",
        "the firmware does not let virtual machines be run by the processor",
        "Virtual machines use a part of the processor (Intel VT-x, AMD-V) that many boards have switched off. Without it they \
         do not start, or are a hundred times slower. Containers do not need it.",
        virtualisation,
    ).of_the_machine(),
    IN.check(
        "host::iommu",
        "devices cannot be handed to virtual machines",
        "A device, such as a graphics card, is handed to a virtual machine by way of the IOMMU (Intel VT-d, AMD-Vi), which the \
         firmware has to switch on.",
        iommu,
    ).of_the_machine(),
    IN.check(
        "host::ecc",
        "memory makes errors",
        "Memory with ECC mends single errors and counts them. A count that grows is a module that dies; what was not mended has \
         changed data already.",
        ecc,
    ).of_the_machine(),
    IN.check(
        "host::heat",
        "the machine is too hot",
        "A processor that is too hot slows itself down: everything becomes slow without a visible cause. Most often it is dust, \
         or a fan that stands still.",
        heat,
    ).of_the_machine(),
    IN.check(
        "host::hardware-errors",
        "the hardware reports errors",
        "Processor and board tell the kernel of errors that they notice (machine checks). They should not occur at all.",
        hardware,
    ).of_the_machine(),
    IN.check(
        "host::holes",
        "the processor has known holes that are open",
        "Most holes of processors, through which a guest reads what is another's, are closed by newer microcode and the kernel. The \
         microcode is a package of Debian's `non-free-firmware`.",
        holes,
    ).of_the_machine(),
    IN.check(
        "host::gpu-driver",
        "a graphics card has no driver",
        "A card that no driver has taken can neither be shared by containers nor work for the node. `nouveau` drives NVIDIA's cards \
         as screens, and cannot calculate with them.",
        gpu_driver,
    ),
    IN.check(
        "host::nvidia-versions",
        "NVIDIA's driver and library are not of one version",
        "The module in the kernel and the library have to be of exactly one version, on the node and in each guest. After an update \
         the old module runs until the node is restarted, and after a new kernel there may be none.",
        nvidia,
    ),
];

fn finished(view: &View<'_>) -> Finding {
    let hint = "on the node, which programs wait for a disk (D): ps -eo state,pid,cmd | grep ^D";
    if let Some(last) = view.facts.at.last().filter(|_| view.facts.end.is_none()) {
        return Finding::bad(
            format!("it did not get beyond: {}. What comes after it is not known", last.what),
            hint,
        );
    }
    if !view.facts.late.is_empty() {
        let late = few(view.facts.late.iter().map(|it| it.what.as_str()));
        return Finding::warn(format!("the node is slow: no time was left for {late}"), hint);
    }
    Finding::ok(format!("all of it was looked at, in {} s", view.answered - view.asked))
}

fn virtualisation(view: &View<'_>) -> Finding {
    let Some(cpu) = &view.facts.cpu else { return unread("the processor") };
    match (cpu.virtualises.as_deref(), cpu.kvm) {
        (Some(by), true) => Finding::ok(format!("virtual machines are run by the processor ({by})")),
        (Some(_), false) => Finding::warn(
            "the processor could run virtual machines, but /dev/kvm is not there",
            if cpu.vendor.contains("AMD") { "modprobe kvm_amd" } else { "modprobe kvm_intel" },
        ),
        (None, _) => {
            let name =
                if cpu.vendor.contains("AMD") { "SVM Mode" } else { "Intel Virtualization Technology" };
            Finding::warn(
                "virtual machines cannot be run by the processor: it is switched off in the firmware",
                format!(
                    "restart into the firmware's settings (systemctl reboot --firmware-setup), and switch on \"{name}\""
                ),
            )
        }
    }
}

fn iommu(view: &View<'_>) -> Finding {
    let Some(cpu) = &view.facts.cpu else { return unread("the processor") };
    if cpu.iommu > 0 {
        return Finding::ok(format!("on: {} groups of devices", cpu.iommu));
    }
    let need = view.facts.guests.iter().find(|guest| guest.kind == "vm" && guest.devices);
    match need {
        None => Finding::ok("off, and no virtual machine is handed a device"),
        Some(guest) => Finding::bad(
            format!("off, though virtual machine {} is handed a device of the node", guest.id),
            "switch on VT-d (AMD: IOMMU) in the firmware's settings; on Intel also intel_iommu=on on the kernel's command line",
        ),
    }
}

fn ecc(view: &View<'_>) -> Finding {
    let sum = |of: fn(&super::super::facts::Ecc) -> u64| view.facts.ecc.iter().map(of).sum::<u64>();
    let (mended, lost) = (sum(|it| it.mended), sum(|it| it.lost));
    let hint = "which module it is: apt install rasdaemon, and later: ras-mc-ctl --errors";
    if view.facts.ecc.is_empty() {
        Finding::ok("the memory counts no errors: it has no ECC, or the board does not tell")
    } else if lost > 0 {
        Finding::bad(
            format!("memory lost data {lost} times since the start ({mended} errors were mended)"),
            hint,
        )
    } else if mended > 0 {
        Finding::warn(format!("memory made {mended} errors since the start, which ECC mended"), hint)
    } else {
        Finding::ok("ECC is on, and has seen no error")
    }
}

fn heat(view: &View<'_>) -> Finding {
    let hint = "is a fan blocked, is there dust? then: apt install lm-sensors && sensors";
    let hot = view.facts.sensors.iter().find(|it| it.most.is_some_and(|most| most > 0 && it.now >= most));
    if let Some(hot) = hot {
        return Finding::bad(format!("{} is at {} °C, which is too hot", hot.chip, hot.now / 1000), hint);
    }
    let slowed = view.facts.cpu.as_ref().and_then(|cpu| cpu.throttled).unwrap_or_default();
    if slowed > 0 {
        return Finding::warn(
            format!("the processor was slowed down {slowed} times since the start because it was hot"),
            hint,
        );
    }
    match view.facts.sensors.iter().map(|it| it.now).max() {
        Some(most) => Finding::ok(format!("{} °C at most", most / 1000)),
        None => Finding::unknown("the node tells no temperature"),
    }
}

fn hardware(view: &View<'_>) -> Finding {
    match view.facts.said.iter().find(|it| it.about == "hardware") {
        None => Finding::ok("the kernel was told of no error"),
        Some(said) => Finding::bad(
            format!("{} messages of errors in the hardware, the last: {}", said.times, said.last),
            "all of them: journalctl -k --grep 'Hardware Error|EDAC'",
        ),
    }
}

fn holes(view: &View<'_>) -> Finding {
    let Some(cpu) = &view.facts.cpu else { return unread("the processor") };
    if cpu.holes == 0 {
        return Finding::ok("all that the kernel knows of are closed");
    }
    let package = if cpu.vendor.contains("AMD") { "amd64-microcode" } else { "intel-microcode" };
    let seen = format!("{} known holes of the processor are open", cpu.holes);
    if view.facts.packages.iter().any(|it| it.name == package && it.state == "ii") {
        Finding::warn(seen, "a newer firmware of the board may close them; which: lscpu | grep Vulnerable")
    } else {
        Finding::warn(seen, format!("apt install {package} (of non-free-firmware), then restart the node"))
    }
}

fn gpu_driver(view: &View<'_>) -> Finding {
    let idle = |gpu: &&super::super::facts::Gpu| {
        matches!(gpu.vendor.as_str(), "10de" | "1002" | "8086")
            && matches!(gpu.driver.as_deref(), None | Some("nouveau"))
    };
    if view.facts.gpus.is_empty() {
        return Finding::ok("the node has no graphics card");
    }
    match view.facts.gpus.iter().find(idle) {
        None => {
            Finding::ok(few(view.facts.gpus.iter().map(|gpu| gpu.driver.as_deref().unwrap_or(&gpu.slot))))
        }
        Some(gpu) => {
            let title = gpu.title.as_deref().unwrap_or(&gpu.device);
            let by = gpu.driver.as_deref().unwrap_or("no driver");
            let hint = if gpu.vendor == "10de" {
                "NVIDIA's driver has to be installed before guests can calculate with it: apt search nvidia-driver"
            } else {
                "its driver may lack firmware: journalctl -k --grep firmware"
            };
            Finding::warn(format!("the card {title} at {} is driven by {by}", gpu.slot), hint)
        }
    }
}

fn nvidia(view: &View<'_>) -> Finding {
    let cards = view.facts.gpus.iter().any(|gpu| gpu.vendor == "10de");
    let Some(it) = view.facts.nvidia.as_ref().filter(|_| cards) else {
        return Finding::ok("there is no card of NVIDIA's");
    };
    match (&it.loaded, &it.module, &it.library) {
        (Some(loaded), _, Some(library)) if loaded != library => Finding::bad(
            format!("the driver that runs is {loaded}, and the library is {library}: nothing calculates"),
            if it.module.as_ref() == Some(library) {
                "the node has to be restarted, so that the new driver runs: stop the guests, then: reboot"
            } else {
                "install driver and library of one version; which are there: dpkg -l '*nvidia*'"
            },
        ),
        (None, None, Some(library)) => Finding::bad(
            format!("the library is {library}, and there is no driver for the kernel that runs"),
            "was it built for this kernel? dkms status, and: apt install proxmox-default-headers && dkms autoinstall",
        ),
        (Some(loaded), ..) => Finding::ok(format!("driver and library are {loaded}")),
        (None, ..) => Finding::ok("NVIDIA's driver is not in use"),
    }
}
