//! The property strings of a container's keys (pve-container, `PVE/LXC/Config.pm`, and the schema of the API).

use super::{Form, Schema, Sub};

/// `netN`.
pub const NET: Schema = Schema {
    what: "network device of a container",
    default_key: None,
    bare: false,
    subs: &[
        Sub::new("name", Form::Text),
        Sub::new("bridge", Form::Text),
        Sub::off("firewall"),
        Sub::new("gw", Form::Text),
        Sub::new("gw6", Form::Text),
        Sub::off("host-managed"),
        Sub::new("hwaddr", Form::Mac),
        Sub::new("ip", Form::Text),
        Sub::new("ip6", Form::Text),
        Sub::off("link_down"),
        Sub::new("mtu", Form::Number),
        Sub::new("rate", Form::Decimal),
        Sub::new("tag", Form::Number),
        Sub::new("trunks", Form::Set),
        Sub::filled("type", Form::Text),
    ],
};

/// `rootfs`, and `mpN`, which also has `mp` and `backup`.
pub const MOUNT: Schema = Schema {
    what: "mount point of a container",
    default_key: Some("volume"),
    bare: true,
    subs: &[
        Sub::new("volume", Form::Text),
        Sub::new("mp", Form::Text),
        Sub::new("acl", Form::Flag),
        Sub::off("backup"),
        Sub::new("idmap", Form::Set),
        Sub::off("keepattrs"),
        Sub::new("mountoptions", Form::Set),
        Sub::off("quota"),
        Sub { name: "replicate", form: Form::Flag, default: Some("1"), filled: false },
        Sub::off("ro"),
        Sub::off("shared"),
        Sub::filled("size", Form::Size),
    ],
};

/// `devN`. Only root@pam may set it.
pub const DEVICE: Schema = Schema {
    what: "device of a container",
    default_key: Some("path"),
    bare: true,
    subs: &[
        Sub::new("path", Form::Text),
        Sub::off("deny-write"),
        Sub::new("gid", Form::Number),
        Sub::new("mode", Form::Text),
        Sub::new("uid", Form::Number),
    ],
};

/// `features`. All but `nesting` can only be set by root@pam itself.
pub const FEATURES: Schema = Schema {
    what: "list of features",
    default_key: None,
    bare: false,
    subs: &[
        Sub::off("force_rw_sys"),
        Sub::off("fuse"),
        Sub::off("keyctl"),
        Sub::off("mknod"),
        Sub::new("mount", Form::Set),
        Sub::off("nesting"),
    ],
};

/// `startup`: its place in the order, and the seconds to wait after starting and before stopping it
/// (`PVE::JSONSchema`, `pve-startup-order`).
pub const STARTUP: Schema = Schema {
    what: "start order",
    default_key: Some("order"),
    bare: false,
    subs: &[Sub::new("order", Form::Number), Sub::new("up", Form::Number), Sub::new("down", Form::Number)],
};
