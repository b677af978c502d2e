//! The command line of a machine's process, from its configuration.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::image::{LABEL, Own};
use super::volumes;
use crate::runtime::{Config, TaskError};

/// Splits a property string into its first value and its keys.
pub(super) fn properties(text: &str) -> (&str, BTreeMap<&str, &str>) {
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    (first, parts.filter_map(|part| part.split_once('=')).collect())
}

/// One drive, as the process has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drive {
    key: String,
    file: Option<volumes::File>,
    cdrom: bool,
}

impl Drive {
    /// None where it is nothing that the process is to have: a drive of the firmware or of a TPM.
    pub(super) fn parse(key: &str, value: &str) -> Result<Option<Self>, TaskError> {
        let bus = key.trim_end_matches(|c: char| c.is_ascii_digit());
        if !matches!(bus, "ide" | "sata" | "scsi" | "virtio") || bus == key {
            return Ok(None);
        }
        let (volume, keys) = properties(value);
        let cdrom = keys.get("media") == Some(&"cdrom");
        let file = match volume {
            "none" | "cdrom" => None,
            volume => Some(volumes::file(volume)?),
        };
        Ok(Some(Self { key: key.to_owned(), file, cdrom }))
    }

    fn number(&self) -> u32 {
        self.key.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().unwrap_or_default()
    }

    fn is_on(&self, bus: &str) -> bool {
        self.key.trim_end_matches(|c: char| c.is_ascii_digit()) == bus
    }

    /// What is behind it, in QMP's form.
    pub(super) fn block(&self) -> Option<serde_json::Value> {
        let file = self.file.as_ref()?;
        let mut out = serde_json::json!({
            "driver": file.format, "node-name": format!("drive-{}", self.key), "discard": "unmap",
            "file": {"driver": "file", "filename": file.path},
        });
        if self.cdrom {
            out["read-only"] = true.into();
        }
        Some(out)
    }

    /// The device, likewise.
    pub(super) fn device(&self, boot: Option<usize>) -> serde_json::Value {
        let n = self.number();
        let kind = if self.cdrom { "cd" } else { "hd" };
        let mut out = match self.key.as_str() {
            _ if self.is_on("virtio") => serde_json::json!({"driver": "virtio-blk-pci"}),
            _ if self.is_on("scsi") => {
                serde_json::json!({"driver": format!("scsi-{kind}"), "bus": "scsihw0.0", "scsi-id": n})
            }
            _ if self.is_on("sata") => {
                serde_json::json!({"driver": format!("ide-{kind}"), "bus": format!("ahci0.{n}")})
            }
            _ => serde_json::json!({
                "driver": format!("ide-{kind}"), "bus": format!("ide.{}", n / 2), "unit": n % 2,
            }),
        };
        out["id"] = self.key.as_str().into();
        if self.file.is_some() {
            out["drive"] = format!("drive-{}", self.key).into();
        }
        if let Some(boot) = boot {
            out["bootindex"] = (boot + 100).into();
        }
        out
    }
}

/// One network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Net {
    model: String,
    mac: String,
    /// Its bridge; without one it has nobody to talk to.
    pub bridge: Option<String>,
    pub tap: String,
    key: String,
    pub link_down: bool,
}

impl Net {
    pub(super) fn parse(id: u32, key: &str, value: &str) -> Option<Self> {
        let number = key.strip_prefix("net").filter(|n| n.parse::<u32>().is_ok())?;
        let (first, keys) = properties(value);
        let (model, mac) = first.split_once('=')?;
        Some(Self {
            model: model.to_owned(),
            mac: mac.to_owned(),
            bridge: keys.get("bridge").map(|bridge| (*bridge).to_owned()),
            tap: tap(id, number),
            key: key.to_owned(),
            link_down: keys.get("link_down") == Some(&"1"),
        })
    }

    pub(super) fn backend(&self) -> serde_json::Value {
        let id = format!("{}-backend", self.key);
        serde_json::json!({"type": "tap", "id": id, "ifname": self.tap, "script": "no", "downscript": "no"})
    }

    pub(super) fn device(&self) -> serde_json::Value {
        let driver = match self.model.as_str() {
            "virtio" => "virtio-net-pci",
            model => model,
        };
        // Nothing is started from the network: the card's own firmware is left out.
        serde_json::json!({
            "driver": driver, "id": self.key, "netdev": format!("{}-backend", self.key), "mac": self.mac, "romfile": "",
        })
    }
}

/// What the node calls the other end of a card.
pub(super) fn tap(id: u32, number: &str) -> String {
    format!("tap{id}i{number}")
}

/// The network cards of a configuration.
pub(super) fn nets(id: u32, config: &Config) -> Vec<Net> {
    config.iter().filter_map(|(key, value)| Net::parse(id, key, value)).collect()
}

/// The order in which it starts from its drives.
fn order(config: &Config) -> Vec<&str> {
    let boot = config.get("boot").map(String::as_str).unwrap_or_default();
    boot.trim_start_matches("order=").split(';').filter(|key| !key.is_empty()).collect()
}

/// Whether it may use the processor's help (`kvm`, 1 where nothing is said).
pub(super) fn wants_kvm(config: &Config) -> bool {
    config.get("kvm").is_none_or(|flag| flag != "0")
}

/// The argument vector. `run` is the folder of its number and sockets, `own` is the lab's own image. Without `kvm` all is
/// emulated.
pub(super) fn arguments(
    id: u32,
    config: &Config,
    run: &Utf8Path,
    kvm: bool,
    own: &Own,
    is_own: impl Fn(&Utf8Path) -> bool,
) -> Result<Vec<String>, TaskError> {
    let get = |key: &str| config.get(key).map(String::as_str);
    if get("bios") == Some("ovmf") {
        return Err(TaskError("this node's machines start by SeaBIOS alone, not by OVMF".to_owned()));
    }
    let number = |key: &str| get(key).and_then(|text| text.parse::<u32>().ok());
    let memory = get("memory").map_or("512", |text| text.trim_start_matches("current="));
    let mut out: Vec<String> = Vec::new();
    let mut put = |words: &[&str]| out.extend(words.iter().map(|word| (*word).to_owned()));
    let file = |name: &str| run.join(format!("{id}.{name}")).into_string();
    put(&["qemu-system-x86_64", "-daemonize", "-pidfile", &file("pid")]);
    put(&["-name", &format!("{},debug-threads=on", get("name").unwrap_or("vm"))]);
    put(&["-machine", "pc,usb=off", "-accel", if kvm { "kvm" } else { "tcg" }, "-cpu", "max"]);
    let smp = format!("cores={},sockets={}", number("cores").unwrap_or(1), number("sockets").unwrap_or(1));
    put(&["-smp", &smp, "-m", memory, "-nodefaults", "-display", "none", "-vga", "none"]);
    put(&["-serial", &format!("file:{}", file("console"))]);
    put(&["-qmp", &format!("unix:{},server=on,wait=off", file("qmp"))]);
    put(&["-chardev", &format!("socket,path={},server=on,wait=off,id=qga0", file("qga"))]);
    put(&["-device", "virtio-serial", "-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"]);
    put(&["-device", "virtio-rng-pci", "-device", "virtio-scsi-pci,id=scsihw0"]);
    put(&["-device", "virtio-balloon-pci,id=balloon0"]);
    let drives: Vec<Drive> = config
        .iter()
        .filter_map(|(key, value)| Drive::parse(key, value).transpose())
        .collect::<Result<_, _>>()?;
    if drives.iter().any(|drive| drive.is_on("sata")) {
        put(&["-device", "ahci,id=ahci0"]);
    }
    let order = order(config);
    for drive in &drives {
        if let Some(block) = drive.block() {
            put(&["-blockdev", &block.to_string()]);
        }
        let boot = order.iter().position(|key| *key == drive.key);
        put(&["-device", &drive.device(boot).to_string()]);
    }
    for net in nets(id, config) {
        put(&["-netdev", &net.backend().to_string(), "-device", &net.device().to_string()]);
    }
    let first = order.iter().find_map(|key| drives.iter().find(|drive| drive.key == **key && !drive.cdrom));
    let first = first.and_then(|drive| drive.file.as_ref());
    if first.is_some_and(|file| is_own(&file.path)) {
        // Without a boot loader on the disk, the image's own kernel is started.
        let append = format!("root=LABEL={LABEL} ro console=ttyS0 net.ifnames=0");
        put(&["-kernel", own.kernel.as_str(), "-initrd", own.initrd.as_str(), "-append", &append]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pairs: &[(&str, &str)], own: bool) -> String {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let image = Own { disk: "/i/disk".into(), kernel: "/i/vmlinuz".into(), initrd: "/i/initrd".into() };
        arguments(301, &config, "/run/qemu-server".into(), wants_kvm(&config), &image, |_| own)
            .expect("a command line")
            .join(" ")
    }

    #[test]
    fn a_machine_is_started_as_its_configuration_says() {
        let all = line(
            &[
                ("name", "web"),
                ("cores", "2"),
                ("memory", "768"),
                ("boot", "order=scsi0;net0"),
                ("scsi0", "tank:301/vm-301-disk-0.qcow2,size=2G"),
                ("ide2", "tank:301/vm-301-cloudinit.qcow2,media=cdrom"),
                ("ide0", "none,media=cdrom"),
                ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0"),
                ("kvm", "0"),
            ],
            true,
        );
        for part in [
            "-smp cores=2,sockets=1 -m 768",
            "\"filename\":\"/mnt/pve/tank/images/301/vm-301-disk-0.qcow2\"",
            "\"driver\":\"scsi-hd\",\"id\":\"scsi0\",\"scsi-id\":0",
            "\"bus\":\"ide.1\",\"drive\":\"drive-ide2\",\"driver\":\"ide-cd\"",
            "{\"bus\":\"ide.0\",\"driver\":\"ide-cd\",\"id\":\"ide0\",\"unit\":0}",
            "\"ifname\":\"tap301i0\"",
            "\"mac\":\"BC:24:11:00:00:01\"",
            "-kernel /i/vmlinuz",
        ] {
            assert!(all.contains(part), "no {part} in {all}");
        }
        assert!(all.contains("-accel tcg"));
    }

    #[test]
    fn what_is_not_the_labs_own_starts_by_its_firmware() {
        let all = line(&[("boot", "order=scsi0"), ("scsi0", "tank:301/vm-301-disk-0.raw")], false);
        assert!(
            !all.contains("-kernel") && all.contains("-accel kvm") && all.contains("\"bootindex\":100"),
            "{all}"
        );
    }
}
