//! What is said of a virtual machine in blueprints, as its keys have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blueprint::model::{Bus, Passed, SecretRef, Vm};
use plan::desired::{Guest, Nic};
use proxmox::property::Schema;
use proxmox::property::machine::{MODELS, PCI};

use super::super::containers::parts;
use super::plugs::DISK_PARTS;
use super::{MEDIUM, of};
use crate::keys::{Around, Value as Wanting, Wanted};

/// A device of the node: of what blueprints may say, what is not said is taken away.
pub(super) fn one((slot, device): (&u8, &Passed), schema: &'static Schema) -> (Option<u8>, Wanting) {
    let own = schema.subs.iter().filter(|sub| sub.name != "romfile");
    (Some(*slot), Wanting::Parts(own.map(|sub| (sub.name, device.get(sub.name).cloned())).collect()))
}

/// The settings of a name with numbers.
pub(super) fn settings(guest: &Guest, name: &str) -> Wanted {
    let number = |key: &str| key.strip_prefix(name)?.parse::<u8>().ok();
    let all = guest.settings.iter().filter_map(|(key, value)| Some((number(key)?, value)));
    all.map(|(slot, value)| (Some(slot), Wanting::Text(value.clone()))).collect()
}

/// The password that cloud-init gives its user.
pub(in crate::guests) fn password(vm: &Vm) -> Option<&SecretRef> {
    vm.user.as_ref()?.password.as_ref()
}

/// What blueprints may say of SMBIOS.
pub(super) const SMBIOS_PARTS: [&str; 8] =
    ["base64", "family", "manufacturer", "product", "serial", "sku", "uuid", "version"];

/// What it reads of who made it. Texts are told in base64, since the node takes few letters otherwise.
pub(super) fn smbios(vm: &Vm) -> Wanted {
    let is_text = |name: &str| !matches!(name, "uuid" | "base64");
    let texts = vm.smbios.keys().any(|name| is_text(name));
    parts(SMBIOS_PARTS.map(|name| {
        let said = vm.smbios.get(name);
        let value = match name {
            "base64" => texts.then(|| "1".to_owned()),
            "uuid" => said.cloned(),
            _ => said.map(|text| STANDARD.encode(text)),
        };
        (name, value)
    }))
}

/// Whether a change is about a device of the node that no mapping names. Source: qemu-server, `check_vm_modify_config_perm`.
pub(super) fn raw(old: Option<&str>, new: Option<&str>, counts: fn(&str) -> bool) -> bool {
    let device = |text: Option<&str>| {
        let parts: proxmox::property::PropertyString = text?.parse().ok()?;
        PCI.get(&parts, "host").filter(|host| counts(host)).map(str::to_owned)
    };
    device(old).is_some() || device(new).is_some()
}

/// Public keys as the API takes them: percent-encoded, and then once more as all parameters are.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The disks on a bus.
pub(super) fn slots(guest: &Guest, around: Around<'_>, bus: Bus) -> Wanted {
    of(guest, |vm| {
        let on_it = vm.disks.iter().filter(|(slot, _)| slot.bus == bus);
        let all = on_it.map(|(slot, disk)| {
            let storage = disk.storage.as_deref().unwrap_or(around.storage);
            let mut parts =
                vec![("file", Some(format!("{storage}:{}", blueprint::model::gib(disk.size_mib))))];
            parts.extend(DISK_PARTS.map(|name| (name, disk.options.get(name).cloned())));
            (Some(slot.number), Wanting::Parts(parts))
        });
        all.collect()
    })
}

/// The devices to start from: the first disk, and then the medium.
pub(super) fn boot(vm: &Vm) -> Option<String> {
    let implied = || {
        let disk = vm.first_disk().map(|(slot, _)| slot.to_string());
        let medium = vm.iso.as_ref().map(|_| MEDIUM.to_owned());
        disk.into_iter().chain(medium).collect::<Vec<_>>()
    };
    let order = vm.boot.clone().unwrap_or_else(implied);
    (!order.is_empty()).then(|| order.join(";"))
}

pub(super) fn net(nic: &Nic) -> Wanting {
    let model = nic.model.as_deref().unwrap_or(MODELS[0]);
    // The model is the name of the part that holds the MAC: always with it, or the node would draw a new one (T-8).
    let mut parts: Vec<(&'static str, Option<String>)> =
        MODELS.into_iter().map(|name| (name, (name == model).then(|| nic.mac.clone()))).collect();
    parts.extend([
        ("bridge", Some(nic.bridge.to_string())),
        ("firewall", nic.firewall.then(|| "1".to_owned())),
        ("tag", nic.vlan.map(|it| it.to_string())),
        ("mtu", nic.mtu.map(|it| it.to_string())),
        ("rate", nic.rate.map(|it| it.to_string())),
        ("link_down", nic.link_down.map(|it| u8::from(it).to_string())),
        ("queues", nic.queues.map(|it| it.to_string())),
    ]);
    Wanting::Parts(parts)
}

#[cfg(test)]
mod tests {
    use super::super::ROWS;
    use super::*;
    use crate::keys;

    /// T-6: what a token may not do is known before it is tried.
    #[test]
    fn what_takes_root() {
        let root = |key: &str, old: Option<&str>, new: Option<&str>| {
            let row = keys::row(&ROWS, key).unwrap();
            row.root.and_then(|root| root(&nobody(), old, new)).is_some()
        };
        assert!(root("usb0", None, Some("host=10c4:ea60")) && !root("usb0", None, Some("mapping=stick")));
        assert!(!root("usb0", None, Some("host=spice")) && root("usb0", Some("host=1-2"), None));
        assert!(
            root("hostpci0", None, Some("host=0000:01:00"))
                && !root("hostpci0", None, Some("mapping=gpu,pcie=1"))
        );
        assert!(root("serial0", None, Some("/dev/ttyS0")) && !root("serial0", None, Some("socket")));
        assert!(root("affinity", None, Some("0-3")));
    }

    #[test]
    fn keys_are_percent_encoded() {
        assert_eq!(encoded("ssh-ed25519 AA+/= a@b\n"), "ssh-ed25519%20AA%2B%2F%3D%20a%40b%0A");
    }

    fn nobody() -> Guest {
        let text = r#"{ "site": { "name": "w", "domain": "w.internal" }, "target": { "lab": {} },
            "vms": { "a": { "networks": {} } } }"#;
        let files = [("a.json".into(), text.as_bytes().to_vec())];
        let catalog = blueprint::Catalog::from_files(crate::features::builtin()).unwrap();
        let loaded =
            blueprint::load_from_memory(files, &catalog).unwrap_or_else(|f| panic!("{}", f.to_text()));
        let renderer = crate::features::renderer::Renderer::new(&loaded.blueprint);
        let roots = plan::wire::Roots::default();
        let desired = plan::wire::wire(&loaded.blueprint, &roots, &renderer).unwrap();
        desired.guests["a"].clone()
    }
}
