//! The property strings of a virtual machine's keys (qemu-server, `PVE/QemuServer/{Drive,Network,Cloudinit}.pm`, and the schema
//! of the API).

use super::{Form, Schema, Sub};

/// The models of network devices. The model is the name of the sub-key that holds the MAC address.
pub const MODELS: [&str; 5] = ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"];

/// `netN`.
pub const NET: Schema = Schema {
    what: "network device of a virtual machine",
    default_key: None,
    bare: false,
    subs: &[
        Sub::new("virtio", Form::Mac),
        Sub::new("e1000", Form::Mac),
        Sub::new("e1000e", Form::Mac),
        Sub::new("rtl8139", Form::Mac),
        Sub::new("vmxnet3", Form::Mac),
        Sub::new("bridge", Form::Text),
        Sub::off("firewall"),
        Sub::off("link_down"),
        Sub::new("mtu", Form::Number),
        Sub::new("queues", Form::Number),
        Sub::new("rate", Form::Decimal),
        Sub::new("tag", Form::Number),
        Sub::new("trunks", Form::Set),
    ],
};

/// `scsiN`, `virtioN`, `sataN`, `ideN`, and `efidisk0` and `tpmstate0`, which have some sub-keys of their own.
pub const DISK: Schema = Schema {
    what: "disk of a virtual machine",
    default_key: Some("file"),
    bare: true,
    subs: &[
        Sub::new("file", Form::Text),
        Sub::new("aio", Form::Text),
        Sub { name: "backup", form: Form::Flag, default: Some("1"), filled: false },
        Sub::new("cache", Form::Text),
        Sub::new("discard", Form::Text),
        Sub::new("efitype", Form::Text),
        Sub::filled("format", Form::Text),
        Sub::filled("import-from", Form::Text),
        Sub::new("iops_rd", Form::Number),
        Sub::new("iops_rd_max", Form::Number),
        Sub::new("iops_wr", Form::Number),
        Sub::new("iops_wr_max", Form::Number),
        Sub::off("iothread"),
        Sub::new("mbps_rd", Form::Decimal),
        Sub::new("mbps_rd_max", Form::Decimal),
        Sub::new("mbps_wr", Form::Decimal),
        Sub::new("mbps_wr_max", Form::Decimal),
        Sub::filled("media", Form::Text),
        Sub::filled("ms-cert", Form::Text),
        Sub::off("pre-enrolled-keys"),
        Sub { name: "replicate", form: Form::Flag, default: Some("1"), filled: false },
        Sub::off("ro"),
        Sub::new("serial", Form::Text),
        Sub::off("shared"),
        Sub::filled("size", Form::Size),
        Sub::off("ssd"),
        Sub::new("version", Form::Text),
    ],
};

/// `ipconfigN`: what cloud-init gives a network device.
pub const IP_CONFIG: Schema = Schema {
    what: "address for cloud-init",
    default_key: None,
    bare: false,
    subs: &[
        Sub::new("gw", Form::Text),
        Sub::new("gw6", Form::Text),
        Sub::new("ip", Form::Text),
        Sub::new("ip6", Form::Text),
    ],
};

/// `boot`: the devices to start from, in order.
pub const BOOT: Schema = Schema {
    what: "boot order",
    default_key: Some("legacy"),
    bare: false,
    subs: &[Sub::new("legacy", Form::Text), Sub::new("order", Form::Text)],
};

/// `agent`.
pub const AGENT: Schema = Schema {
    what: "guest agent",
    default_key: Some("enabled"),
    bare: false,
    subs: &[
        Sub::off("enabled"),
        Sub { name: "freeze-fs", form: Form::Flag, default: Some("1"), filled: false },
        Sub { name: "freeze-fs-on-backup", form: Form::Flag, default: Some("1"), filled: false },
        Sub::off("fstrim_cloned_disks"),
        Sub::new("type", Form::Text),
    ],
};

/// `smbios1`: what the guest reads of who made it. With `base64` all texts but the UUID are so.
pub const SMBIOS: Schema = Schema {
    what: "SMBIOS of a virtual machine",
    default_key: None,
    bare: false,
    subs: &[
        Sub::new("uuid", Form::Text),
        Sub::off("base64"),
        Sub::new("family", Form::Text),
        Sub::new("manufacturer", Form::Text),
        Sub::new("product", Form::Text),
        Sub::new("serial", Form::Text),
        Sub::new("sku", Form::Text),
        Sub::new("version", Form::Text),
    ],
};

/// `usbN`: a device of the node by number or port (`host`), or by a mapping of the cluster.
pub const USB: Schema = Schema {
    what: "USB device of a virtual machine",
    default_key: Some("host"),
    bare: false,
    subs: &[Sub::new("host", Form::Text), Sub::new("mapping", Form::Text), Sub::off("usb3")],
};

/// `hostpciN`: a device of the node by address (`host`), or by a mapping of the cluster.
pub const PCI: Schema = Schema {
    what: "PCI device of a virtual machine",
    default_key: Some("host"),
    bare: false,
    subs: &[
        Sub::new("host", Form::Text),
        Sub::new("device-id", Form::Text),
        Sub::new("mapping", Form::Text),
        Sub::new("mdev", Form::Text),
        Sub::off("pcie"),
        Sub { name: "rombar", form: Form::Flag, default: Some("1"), filled: false },
        Sub::new("romfile", Form::Text),
        Sub::new("sub-device-id", Form::Text),
        Sub::new("sub-vendor-id", Form::Text),
        Sub::new("vendor-id", Form::Text),
        Sub::off("x-vga"),
    ],
};

/// `virtiofsN`: a folder of the node by a mapping of the cluster.
pub const VIRTIOFS: Schema = Schema {
    what: "folder of the node in a virtual machine",
    default_key: Some("dirid"),
    bare: false,
    subs: &[
        Sub::new("dirid", Form::Text),
        Sub::new("cache", Form::Text),
        Sub::off("direct-io"),
        Sub::off("expose-acl"),
        Sub::off("expose-xattr"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    /// T-7: what a real node of Proxmox VE 9.2 gives back is what it was sent.
    #[test]
    fn what_is_read_back_is_what_was_sent() {
        assert!(NET.same(
            "virtio=bc:24:11:00:00:01,bridge=vmbr0",
            "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=0"
        ));
        assert!(!NET.same("virtio=BC:24:11:00:00:01,bridge=vmbr0", "e1000=BC:24:11:00:00:01,bridge=vmbr0"));
        assert!(DISK.same(
            "tank:101/vm-101-disk-0.qcow2,iothread=1",
            "tank:101/vm-101-disk-0.qcow2,iothread=1,size=32G"
        ));
        assert!(AGENT.same("1", "enabled=1"));
        assert!(BOOT.same("order=scsi0;net0", "order=scsi0;net0") && !BOOT.same("order=scsi0", "order=net0"));
        assert!(USB.same("host=1d6b:0002", "1d6b:0002"));
        assert!(PCI.same("mapping=gpu,pcie=0", "mapping=gpu,rombar=1"));
    }
}
