//! The options of a virtual machine: how they are written, and who may set which.

use std::collections::BTreeMap;

use super::drive::{self, Drive};
use super::formats::is_numbered;
use crate::node::Inner;
use crate::node::error::ApiError;
use crate::node::etc::GuestConf;
use crate::node::formats::list;
use crate::node::guest_change::{check_bridge, is_net, is_unused};
use crate::node::router::Call;
use crate::node::schema::Property;

/// What the API shows for a password.
pub(super) const HIDDEN: &str = "**********";

/// Only root itself may set these (PVE::API2::Qemu, `check_vm_modify_config_perm`).
const ROOT: [&str; 11] = [
    "affinity",
    "amd-sev",
    "arch",
    "args",
    "hookscript",
    "hugepages",
    "ivshmem",
    "keephugepages",
    "lock",
    "spice_enhancements",
    "vmgenid",
];
const CPU: [&str; 8] = ["cores", "cpu", "cpulimit", "cpuunits", "numa", "smp", "sockets", "vcpus"];
const MEMORY: [&str; 4] = ["allow-ksm", "balloon", "memory", "shares"];
const HARDWARE: [&str; 14] = [
    "acpi",
    "audio0",
    "hotplug",
    "intel-tdx",
    "keyboard",
    "kvm",
    "machine",
    "rng0",
    "scsihw",
    "smbios1",
    "tablet",
    "tdf",
    "vga",
    "watchdog",
];
const DISK: [&str; 3] = ["boot", "bootdisk", "vmstatestorage"];
/// What cloud-init is told, beside `ipconfigN`.
const CLOUDINIT: [&str; 8] =
    ["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"];

/// Whether a key is what cloud-init is told.
pub(super) fn is_cloudinit(key: &str) -> bool {
    CLOUDINIT.contains(&key) || is_numbered(key, "ipconfig")
}

/// `cdrom` is another name of `ide2`.
pub(super) fn key_of(key: &str) -> &str {
    if key == "cdrom" { "ide2" } else { key }
}

/// The value as it is written into the configuration.
pub(super) fn normal(node: &Inner, key: &str, value: &str) -> Result<String, String> {
    if is_net(key) {
        let mut net = Property::parse("vmnet", key, value)?;
        if net.get("macaddr").is_none() {
            net.set("macaddr", node.mac());
        }
        return Ok(net.print("vmnet"));
    }
    Ok(match key {
        "tags" => {
            let tags: std::collections::BTreeSet<String> = list(value).map(str::to_lowercase).collect();
            tags.into_iter().collect::<Vec<_>>().join(";")
        }
        "description" => value.trim_end().to_owned(),
        "vmgenid" if value == "1" => node.uuid(),
        "cipassword" if !value.starts_with('$') => hashed(node, value)?,
        "sshkeys" => {
            let keys = crate::node::schema::decode(value);
            let key = |line: &str| line.split_whitespace().count() >= 2 && line.contains("AAAA");
            if !keys.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).all(key) {
                return Err("SSH public key validation error".to_owned());
            }
            value.to_owned()
        }
        _ => value.to_owned(),
    })
}

/// A password as it is kept: `$5$` with a salt, as crypt(5).
fn hashed(node: &Inner, password: &str) -> Result<String, String> {
    const ROUNDS: usize = 5000;
    let salt: String = node.uuid().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let params =
        sha_crypt::Sha256Params::new(ROUNDS).map_err(|_| "unable to hash the password".to_owned())?;
    let hash = sha_crypt::sha256_crypt_b64(password.as_bytes(), salt.as_bytes(), &params);
    hash.map(|hash| format!("$5${salt}${hash}")).map_err(|_| "unable to hash the password".to_owned())
}

/// The values of two options that need not fit each other.
pub(super) fn fits(options: &BTreeMap<String, String>) -> Result<(), String> {
    let number =
        |key: &str| options.get(key).and_then(|text| text.trim_start_matches("current=").parse::<u64>().ok());
    let memory = number("memory").unwrap_or(super::read::DEFAULT_MEMORY);
    if number("balloon").is_some_and(|balloon| balloon > memory) {
        return Err("balloon value too large (must be smaller than assigned memory)".to_owned());
    }
    Ok(())
}

/// Every device that `boot` names is there.
pub(super) fn check_boot(boot: &str, options: &BTreeMap<String, String>) -> Result<(), String> {
    let parsed = Property::parse("vmboot", "boot", boot)?;
    let missing =
        parsed.get("order").and_then(|order| list(order).find(|device| !options.contains_key(*device)));
    match missing {
        // The quote at the end is the node's own.
        Some(device) => Err(format!("invalid bootorder: device '{device}' does not exist'")),
        None => Ok(()),
    }
}

/// What a hook script, or a file for cloud-init, has to be.
pub(super) fn check_snippet(node: &Inner, key: &str, volume: &str) -> Result<(), ApiError> {
    let state = node.state();
    let found =
        volume.split_once(':').and_then(|(storage, name)| state.keep.storages.get(storage)?.image(name));
    match found {
        Some(_) => Ok(()),
        None => Err(ApiError::parameter(key, format!("script '{volume}' does not exist\n"))),
    }
}

/// PVE::API2::Qemu's checks of who may change what. `old` is what is there, `pool` the one that the machine is to be in.
pub(super) fn check_privileges(
    call: &Call<'_>,
    id: u32,
    pool: Option<&str>,
    old: Option<&GuestConf>,
    new: &BTreeMap<String, String>,
    delete: &[String],
) -> Result<(), ApiError> {
    if call.auth.is_root() {
        return Ok(());
    }
    let may = |privilege: &str| {
        pool.is_some_and(|pool| call.may(&format!("/pool/{pool}"), privilege))
            || call.may(&format!("/vms/{id}"), privilege)
    };
    let need = |privilege: &str| match may(privilege) {
        true => Ok(()),
        false => Err(ApiError::forbidden(format!("/vms/{id}, {privilege}"))),
    };
    let changes = new.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())));
    let changes = changes.chain(delete.iter().map(|key| (key.as_str(), None)));
    for (key, value) in changes {
        let before = old.and_then(|old| old.get(key_of(key)));
        let real = |text: &str| !text.contains("mapping=");
        match key {
            key if ROOT.contains(&key) || is_numbered(key, "parallel") => {
                return Err(ApiError::die(format!("only root can set '{key}' config")));
            }
            key if drive::is_key(key) || key == "cdrom" => {
                let drive = value.or(before).and_then(|value| Drive::parse(key_of(key), value));
                // What a new machine is made with takes no more than the storage.
                let Some(drive) = drive.filter(|_| old.is_some()) else { continue };
                if drive.is_cloudinit() {
                    need("VM.Config.Cloudinit")?;
                }
                need(if drive.is_cdrom() || drive.is_cloudinit() {
                    "VM.Config.CDROM"
                } else {
                    "VM.Config.Disk"
                })?;
            }
            key if is_unused(key) => need("VM.Config.Disk")?,
            key if is_net(key) => {
                need("VM.Config.Network")?;
                let net = value.or(before).and_then(|value| Property::parse("vmnet", key, value).ok());
                if let Some(net) = net {
                    check_bridge(call, &net)?;
                }
            }
            key if is_cloudinit(key) => {
                if !may("VM.Config.Cloudinit") && !may("VM.Config.Network") {
                    return Err(ApiError::forbidden(format!(
                        "/vms/{id}, VM.Config.Cloudinit|VM.Config.Network"
                    )));
                }
            }
            key if is_numbered(key, "serial") => {
                if value.is_some_and(|value| value != "socket") {
                    let verb = if before.is_some() { "modify" } else { "set" };
                    return Err(ApiError::die(format!(
                        "only root can {verb} '{key}' config for real devices"
                    )));
                }
                need("VM.Config.HWType")?;
            }
            key if is_numbered(key, "usb") => {
                let shown = value.or(before).unwrap_or_default();
                if shown != "spice" && shown != "host=spice" && real(shown) {
                    return Err(ApiError::die(format!("only root can set '{key}' config for real devices")));
                }
                need("VM.Config.HWType")?;
                mapped(call, "usb", "vmusb", key, shown)?;
            }
            key if is_numbered(key, "hostpci") => {
                let shown = value.or(before).unwrap_or_default();
                if real(shown) {
                    return Err(ApiError::die(format!(
                        "only root can set '{key}' config for non-mapped devices"
                    )));
                }
                need("VM.Config.HWType")?;
                mapped(call, "pci", "vmhostpci", key, shown)?;
            }
            key if is_numbered(key, "virtiofs") => {
                let shown = value.or(before).unwrap_or_default();
                let shared = Property::parse("vmvirtiofs", key, shown).unwrap_or_default();
                call.need(
                    &format!("/mapping/dir/{}", shared.get("dirid").unwrap_or_default()),
                    "Mapping.Use",
                )?;
            }
            key if CPU.contains(&key) || is_numbered(key, "numa") => need("VM.Config.CPU")?,
            key if MEMORY.contains(&key) => need("VM.Config.Memory")?,
            key if HARDWARE.contains(&key) => need("VM.Config.HWType")?,
            key if DISK.contains(&key) => {
                need("VM.Config.Disk")?;
                if let Some(storage) = value.filter(|_| key == "vmstatestorage") {
                    call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
                }
            }
            "template" => {
                need("VM.Config.Disk")?;
                need("VM.Config.Options")?;
            }
            "startup" => {
                need("VM.Config.Options")?;
                call.need("/", "Sys.Modify")?;
            }
            _ => need("VM.Config.Options")?,
        }
    }
    Ok(())
}

/// Whether the caller may use the mapping that a device names.
fn mapped(call: &Call<'_>, kind: &str, format: &str, key: &str, value: &str) -> Result<(), ApiError> {
    let device = Property::parse(format, key, value).unwrap_or_default();
    match device.get("mapping") {
        Some(mapping) => call.need(&format!("/mapping/{kind}/{mapping}"), "Mapping.Use"),
        None => Ok(()),
    }
}
