//! The small values of a blueprint that are written as text: sizes, lives, addresses, names. Each is read from text
//! and prints back as the same text, and knows its pattern for the JSON Schema.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

mod gpus;
mod kernel;
mod links;
mod machines;
mod shares;
mod texts;
mod zfs;

pub use gpus::{DriverVersion, PciAddress, slot_of};
pub use kernel::{KernelVersion, KernelWord, ModuleName, ModuleOption, ModuleValue};
pub use links::{Inet4, Inet6, Ipv6};
pub use machines::{
    DiskSerial, Graphics, Hotplug, Keyboard, Machine, MappingName, PciHost, PciId, Processor, Processors,
    Randomness, SerialPort, UsbHost, Watchdog,
};
pub use shares::{ClientName, FolderMode, ShareName, SharePath, UnixName};
pub(crate) use texts::ssh_destination;
pub use texts::{
    Bridge, Description, DeviceName, DevicePath, Domain, EndName, Endpoint, FileMode, FileSystem,
    Fingerprint, GuestPath, HttpUrl, ImageDigest, Label, NodeLabel, PoolName, PortName, ProjectName,
    SecretName, Sha256, SitePath, SshDestination, StorageName, Tag, Text, Timezone, UrlPath, User, Uuid,
    Variable, VolumeId,
};

pub use zfs::{DatasetName, DatasetPath, DiskName, Keep, ZfsPoolName, ZfsSize, bytes};

/// Why a text is not a value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong, naming the text.
    pub message: String,
    /// How to write it.
    pub hint: Option<String>,
}

fn wrong<T>(message: String, hint: &str) -> Result<T, ValueError> {
    Err(ValueError { message, hint: (!hint.is_empty()).then(|| hint.to_owned()) })
}

/// Makes a value a JSON string with a pattern: `x-parse` is how the structural check finds the reading function.
macro_rules! text_values {
    ($($name:ident, $key:literal, $pattern:expr, $expects:literal, $example:literal;)*) => {
        $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "pattern": $pattern, "examples": [$example],
                    "x-parse": $key, "x-expects": $expects,
                })
            }
        }
        )*
        /// Reads a text as the kind of value a schema names; an unknown kind accepts everything.
        pub(crate) fn check(kind: &str, text: &str) -> Result<(), ValueError> {
            match kind {
                $($key => text.parse::<$name>().map(drop),)*
                _ => Ok(()),
            }
        }
    };
}

const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

text_values! {
    MemorySize, "memory", "^(0|[1-9][0-9]{0,11})[MGT]$", "a size such as \"512M\" or \"2G\"", "2G";
    HeadSize, "head", "^[1-9][0-9]{0,6}[KM]$", "a size such as \"64K\" or \"1M\"", "128K";
    DiskSize, "disk", "^[1-9][0-9]{0,8}[MGT]$", "a size such as \"8G\"", "8G";
    Life, "life", "^[1-9][0-9]{0,6}(m|h|d|w|y)$", "a time such as \"90d\"", "90d";
    Wait, "wait", "^[1-9][0-9]{0,6}(s|m|h)$", "a time such as \"30s\" or \"1h\"", "1h";
    Rate, "rate", "^[1-9][0-9]{0,5}/(s|m)$", "a rate such as \"10/s\"", "10/s";
    IdRange, "id-range", "^[1-9][0-9]{2,8}-[1-9][0-9]{2,8}$", "a range of ids such as \"200-299\"", "200-299";
    Mac, "mac", "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$", "a MAC address such as \"BC:24:11:00:00:01\"", "BC:24:11:00:00:01";
    Ipv4, "ipv4", format!(r"^{OCTET}(\.{OCTET}){{3}}$"), "an IPv4 address such as \"10.0.0.1\"", "10.0.0.1";
    Inet4, "inet4", format!(r"^{OCTET}(\.{OCTET}){{3}}/([1-9]|[12][0-9]|3[0-2])$"), "an address with the length of its network, such as \"10.0.0.13/24\"", "10.0.0.13/24";
    Ipv6, "ipv6", "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$", "an IPv6 address such as \"fd00::1\"", "fd00::1";
    Inet6, "inet6", "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/[0-9]{1,3}$", "an IPv6 address with the length of its network, such as \"fd00::13/64\"", "fd00::13/64";
    PortName, "port-name", "^(mac:[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|[A-Za-z][A-Za-z0-9_.-]{0,14})$", "a link of the node such as \"enp5s0\", or \"mac:BC:24:11:00:00:01\"", "enp5s0";
    Subnet, "subnet", format!(r"^{OCTET}(\.{OCTET}){{3}}/([0-9]|[12][0-9]|3[0-2])$"), "a subnet such as \"10.0.0.0/24\"", "10.0.0.0/24";
    AddressRange, "address-range", format!(r"^{OCTET}(\.{OCTET}){{3}}(/([0-9]|[12][0-9]|3[0-2]))?$"), "an address such as \"192.168.1.5\", or a subnet such as \"192.168.1.0/24\"", "192.168.1.0/24";
    Address, "address", format!(r"^(dhcp|{OCTET}(\.{OCTET}){{3}})$"), "an address such as \"10.0.0.5\", or \"dhcp\"", "10.0.0.5";
    Label, "label", LABEL, "a name of lower-case letters, digits and hyphens", "notes";
    NodeLabel, "node", "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", "the name of a node, as Proxmox VE shows it", "pve1";
    DevicePath, "device-path", "^/dev/", "a device of the node such as \"/dev/net/tun\"", "/dev/net/tun";
    FileMode, "file-mode", "^0[0-7]{3}$", "a mode such as \"0660\"", "0660";
    VolumeId, "volume-id", r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]:\S+$", "a volume such as \"local:snippets/hook.sh\"", "local:snippets/hook.sh";
    Domain, "domain", r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", "a domain such as \"workshop.internal\"", "workshop.internal";
    Bridge, "bridge", r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$", "a bridge of the node such as \"vmbr0\"", "vmbr0";
    GuestPath, "guest-path", r"^/", "an absolute path such as \"/srv/data\"", "/srv/data";
    SitePath, "site-path", r"^[^/]", "a path below the site's folder such as \"pages/\"", "pages/";
    UrlPath, "url-path", r"^/", "a path such as \"/health\"", "/health";
    Endpoint, "endpoint", r"^https://[^/@\s]+/?$", "an address such as \"https://10.0.0.13:8006\"", "https://10.0.0.13:8006";
    Fingerprint, "fingerprint", r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}$", "a SHA-256 fingerprint, 32 pairs of hexadecimal digits with colons", "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";
    HttpUrl, "http-url", r"^https?://[^/@\s]+/[^\s]*$", "a web address such as \"https://images.example.org/debian-13.qcow2\"", "https://images.example.org/debian-13.qcow2";
    ImageDigest, "image-digest", "^sha256:[0-9a-f]{64}$", "the digest of an image, sha256: and 64 hexadecimal digits", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    Sha256, "sha256", r"^[0-9A-Fa-f]{64}$", "a SHA-256, 64 hexadecimal digits", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    StorageName, "storage-name", r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$", "the name of a storage such as \"tank-vms\"", "tank-vms";
    ProjectName, "project", "^[a-z0-9][a-z0-9_-]{0,62}$", "the name of a project such as \"notes\"", "notes";
    ShareName, "share-name", "^[a-z0-9]([a-z0-9-]{0,24}[a-z0-9])?$", "the name of a share such as \"media\"", "media";
    SharePath, "share-path", "^/[A-Za-z0-9/_.:@+-]+$", "a folder of the node such as \"/srv/media\"", "/srv/media";
    FolderMode, "folder-mode", "^[0-7]{4}$", "a mode such as \"2770\"", "2770";
    UnixName, "unix-name", "^[a-z_][a-z0-9_-]{0,31}$", "a user or a group of the node such as \"heads\"", "heads";
    ClientName, "client-name", r"^(net\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|[0-9.]+(/[0-9]{1,2})?)$", "a network such as \"net.lan\", or a subnet such as \"192.168.1.0/24\"", "net.lan";
    Uuid, "uuid", r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", "a UUID such as \"7a9c3c1e-5f0b-4c53-9d0a-2f4d6e1b8c77\"", "7a9c3c1e-5f0b-4c53-9d0a-2f4d6e1b8c77";
    Variable, "variable", r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable such as \"PHOENIX_PVE_TOKEN\"", "PHOENIX_PVE_TOKEN";
    SecretName, "secret-name", r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "a name of letters, digits, `.`, `_` and `-`", "database-password";
    User, "user", r"^[^@\s]+@[a-z][a-z0-9._-]*$", "a user with its realm such as \"root@pam\"", "root@pam";
    Tag, "tag", r"^[A-Za-z0-9_][A-Za-z0-9_+.-]*$", "a tag of letters, digits and `_+.-`", "office";
    Timezone, "timezone", r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", "an IANA time zone such as \"Europe/Berlin\"", "Europe/Berlin";
    SshDestination, "ssh", r"^([^@\s:-][^@\s:]*@)?[^@\s:-][^@\s:]*(:[0-9]{1,5})?$", "a destination such as \"root@10.0.0.13\" or \"root@10.0.0.13:22\"", "root@10.0.0.13";
    DeviceName, "device-name", r"^[A-Za-z][A-Za-z0-9_.-]{1,14}$", "the name of a device such as \"eth0\"", "eth0";
    EndName, "end", r"^(inside|outside|container\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|[0-9.]+(/[0-9]{1,2})?)$", "an end of a flow such as \"container.notes\" or \"outside\"", "container.notes";
    Description, "description", r"^(?!(?:[\s\S]*\n)?```phoenix[ \t\r]*(?:\n|$))", "a text for people", "Notes of the whole office.";
    SerialPort, "serial-port", "^(socket|/dev/[^,]+)$", "`socket`, or a device of the node such as \"/dev/ttyS0\"", "socket";
    Processors, "processors", "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$", "processors of the node such as \"0-3,8\"", "0-3,8";
    Processor, "processor", "^[A-Za-z0-9]", "a processor such as \"host\" or \"x86-64-v2-AES\"", "host";
    Machine, "machine", "^(pc|q35|virt|type=)", "a machine such as \"q35\"", "q35";
    Graphics, "graphics", "^[a-z]", "a graphics card such as \"std\", \"virtio\" or \"serial0\"", "std";
    Hotplug, "hotplug", "^[a-z01]", "what can be changed while it runs, such as \"network,disk,usb\"", "network,disk,usb";
    Randomness, "randomness", "^(source=)?/dev/", "a source of randomness such as \"/dev/urandom\"", "/dev/urandom";
    Watchdog, "watchdog", "^(model=|action=)?[a-z0-9]", "a watchdog such as \"i6300esb,action=reset\"", "i6300esb,action=reset";
    Keyboard, "keyboard", "^[a-z]{2}(-[a-z]{2})?$", "the layout of a keyboard such as \"de\"", "de";
    UsbHost, "usb-host", "^([0-9A-Fa-fx]+:[0-9A-Fa-fx]+|[0-9]+-[0-9.]+|[Ss][Pp][Ii][Cc][Ee])$", "a USB device such as \"10c4:ea60\", \"1-2.3\" or \"spice\"", "10c4:ea60";
    PciHost, "pci-host", "^[0-9A-Fa-f:.;]+$", "a PCI device such as \"0000:01:00\"", "0000:01:00";
    PciId, "pci-id", "^0x[0-9A-Fa-f]{4}$", "the number of a PCI device such as \"0x10de\"", "0x10de";
    MappingName, "mapping", "^[A-Za-z][A-Za-z0-9_-]+$", "a mapping of the cluster such as \"gpu\"", "gpu";
    DiskSerial, "disk-serial", "^[-A-Za-z0-9_.!~*'()%]{1,60}$", "the serial number of a disk such as \"ABC-1\"", "ABC-1";
    FileSystem, "file-system", "^[A-Za-z0-9_]{1,64}$", "a kind of file systems such as \"nfs\"", "nfs";
    PoolName, "pool", "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2}$", "a resource pool such as \"office\"", "office";
    DiskName, "disk-name", "^[A-Za-z0-9][^/\\s]*$", "a disk by its name in /dev/disk/by-id such as \"ata-WDC_WD40EFRX_WD-WCC7K0AAAAAA\"", "ata-WDC_WD40EFRX_WD-WCC7K0AAAAAA";
    ZfsSize, "zfs-size", "^[1-9][0-9]{0,14}[KMGTP]?$", "a size such as \"2T\" or \"128K\"", "2T";
    Keep, "keep", "^[1-9][0-9]{0,3}[dw]$", "a time of days or weeks such as \"14d\"", "14d";
    ZfsPoolName, "zfs-pool", "^[A-Za-z][A-Za-z0-9_.-]*$", "the name of a pool such as \"tank\"", "tank";
    DatasetPath, "zfs-path", "^[A-Za-z][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.:-]*)+$", "a pool and the dataset in it such as \"backup/media\"", "backup/media";
    DatasetName, "zfs-dataset", "^[A-Za-z0-9][A-Za-z0-9_.:-]*(/[A-Za-z0-9][A-Za-z0-9_.:-]*)*$", "the name of a dataset below its pool such as \"media/films\"", "media/films";
    PciAddress, "pci-address", "^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]$", "the address of a PCI device such as \"0000:01:00.0\"", "0000:01:00.0";
    DriverVersion, "driver-version", "^[0-9]{1,4}([.][0-9]{1,4}){1,2}$", "the version of a driver such as \"570.133.07\"", "570.133.07";
    KernelVersion, "kernel-version", "^[0-9][A-Za-z0-9.+~_-]*$", "the version of a kernel such as \"6.14.8-2-pve\"", "6.14.8-2-pve";
    KernelWord, "kernel-word", r"^[A-Za-z0-9][A-Za-z0-9_.-]*(=[^\s]*)?$", "a word of the kernel's command line such as \"iommu=pt\"", "iommu=pt";
    ModuleName, "module", "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "the name of a module such as \"nct6775\"", "nct6775";
    ModuleOption, "module-option", "^[A-Za-z_][A-Za-z0-9_]{0,63}$", "the name of a module's option such as \"force_id\"", "force_id";
    ModuleValue, "module-value", r"^[^\s]+$", "the value of a module's option such as \"0xd420\"", "0xd420";
    Text, "text", r"\S", "a text that is not empty", "local-zfs";
}

/// An amount of memory. `512M` and `2G` mean MiB and GiB, as everywhere in Proxmox VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    /// In MiB.
    pub mib: u64,
}

/// The size of the head of a request or an answer. `64K` and `1M` mean KiB and MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadSize {
    /// In KiB.
    pub kib: u64,
}

/// The size of a disk. `8G` means GiB, as everywhere in Proxmox VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskSize {
    /// In MiB.
    pub mib: u64,
}

fn number_and_unit(text: &str, what: &str, hint: &str, units: &[(&str, u64)]) -> Result<u64, ValueError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return wrong(format!("`{text}` is not {what}"), hint);
    };
    if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
        return wrong(format!("`{text}` is not {what}"), hint);
    }
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)) {
        Some(n) if n < 1 << 40 => Ok(n),
        _ => wrong(format!("`{text}` is too large"), ""),
    }
}

impl FromStr for MemorySize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `M` (MiB), `G` (GiB) or `T` (TiB), such as \"512M\" or \"2G\"";
        let units = [("M", 1), ("G", 1024), ("T", 1024 * 1024)];
        number_and_unit(text, "a size", hint, &units).map(|mib| Self { mib })
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mib {
            n if n != 0 && n % (1024 * 1024) == 0 => write!(f, "{}T", n / (1024 * 1024)),
            n if n != 0 && n % 1024 == 0 => write!(f, "{}G", n / 1024),
            n => write!(f, "{n}M"),
        }
    }
}

impl FromStr for HeadSize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `K` (KiB) or `M` (MiB), such as \"64K\"";
        let kib = number_and_unit(text, "the size of a head", hint, &[("K", 1), ("M", 1024)])?;
        // Less than any head needs, or more than browsers take.
        if !(4..=1024).contains(&kib) {
            return wrong(format!("`{text}` is out of range"), "between \"4K\" and \"1M\"");
        }
        Ok(Self { kib })
    }
}

impl fmt::Display for HeadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kib {
            n if n % 1024 == 0 => write!(f, "{}M", n / 1024),
            n => write!(f, "{n}K"),
        }
    }
}

impl FromStr for DiskSize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `M` (MiB), `G` (GiB) or `T` (TiB), such as \"8G\"";
        let units = [("M", 1), ("G", 1024), ("T", 1024 * 1024)];
        match number_and_unit(text, "the size of a disk", hint, &units)? {
            0 => wrong(format!("`{text}` is not the size of a disk"), hint),
            mib => Ok(Self { mib }),
        }
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mib {
            n if n % (1024 * 1024) == 0 => write!(f, "{}T", n / (1024 * 1024)),
            n if n % 1024 == 0 => write!(f, "{}G", n / 1024),
            n => write!(f, "{n}M"),
        }
    }
}

/// How long a certificate lives: `90d`. A year has 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub Duration);

const LIFE_UNITS: [(&str, u64); 5] =
    [("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60)];

impl FromStr for Life {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `m`, `h`, `d`, `w` or `y`, such as \"90d\"";
        let seconds = number_and_unit(text, "a time", hint, &LIFE_UNITS)?;
        // Shorter than a renewal takes, or longer than any authority lives.
        if !(300..=20 * 31_536_000).contains(&seconds) {
            return wrong(
                format!("`{text}` is out of range"),
                "between 5 minutes (\"5m\") and 20 years (\"20y\")",
            );
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, length) =
            LIFE_UNITS.into_iter().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(("m", 60));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// How long something may take: `30s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(pub Duration);

const WAIT_UNITS: [(&str, u64); 3] = [("h", 3600), ("m", 60), ("s", 1)];

impl FromStr for Wait {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `s`, `m` or `h`, such as \"30s\"";
        match number_and_unit(text, "a time", hint, &WAIT_UNITS)? {
            0 => wrong(format!("`{text}` is no time at all"), hint),
            seconds if seconds > 7 * 86_400 => {
                wrong(format!("`{text}` is out of range"), "at most a week (\"168h\")")
            }
            seconds => Ok(Self(Duration::from_secs(seconds))),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, length) =
            WAIT_UNITS.into_iter().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(("s", 1));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// How many requests a client may make: `10/s` each second, `300/m` each minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// How many.
    pub requests: u32,
    /// In which time: a second or a minute.
    pub per_minute: bool,
}

impl FromStr for Rate {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `/s` or `/m`, such as \"10/s\"";
        let split =
            text.strip_suffix("/s").map(|n| (n, false)).or(text.strip_suffix("/m").map(|n| (n, true)));
        let parsed = split.and_then(|(n, per_minute)| {
            let plain = !n.starts_with(['0', '+']) && n.len() <= 6;
            Some(Self { requests: n.parse().ok().filter(|_| plain)?, per_minute })
        });
        parsed.map_or_else(|| wrong(format!("`{text}` is not a rate"), hint), Ok)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, if self.per_minute { "m" } else { "s" })
    }
}

/// The ids of guests from one to another, both among them: `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first.
    pub first: u32,
    /// The last, never before the first.
    pub last: u32,
}

impl FromStr for IdRange {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write the first and the last id, from 100 to 999999999, such as \"200-299\"";
        let number = |text: &str| {
            let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') && text.len() <= 9;
            text.parse::<u32>().ok().filter(|id| plain && *id >= 100)
        };
        let ends = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            Some(_) => wrong(format!("`{text}` ends before it begins"), hint),
            None => wrong(format!("`{text}` is not a range of ids"), hint),
        }
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The MAC address of a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "six pairs of hexadecimal digits with colons, such as \"BC:24:11:00:00:01\"";
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            match part.and_then(|p| u8::from_str_radix(p, 16).ok()) {
                Some(value) => *byte = value,
                None => return wrong(format!("`{text}` is not a MAC address"), hint),
            }
        }
        if parts.next().is_some() {
            return wrong(format!("`{text}` is not a MAC address"), hint);
        }
        // IEEE 802: the lowest bit of the first byte marks a group of devices, which no single device can be.
        if bytes[0] & 1 == 1 {
            return wrong(
                format!("`{text}` is a multicast address, not a device's"),
                "the second digit must be even, such as in \"BC:24:11:00:00:01\"",
            );
        }
        if bytes == [0; 6] {
            return wrong(format!("`{text}` is no device's address"), hint);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

/// An IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ipv4(pub Ipv4Addr);

impl FromStr for Ipv4 {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let hint = match text.split_once('/') {
            Some((address, _)) if address.parse::<Ipv4Addr>().is_ok() => {
                format!("write \"{address}\": the prefix length is the network's")
            }
            _ => "four numbers from 0 to 255 with dots, such as \"10.0.0.5\"".to_owned(),
        };
        wrong(format!("`{text}` is not an IPv4 address"), &hint)
    }
}

impl fmt::Display for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subnet: its first address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet(pub cidr::Ipv4Cidr);

impl FromStr for Subnet {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write it with the prefix length, such as \"10.0.0.0/24\"";
        if !text.contains('/') {
            return wrong(format!("`{text}` is not a subnet"), hint);
        }
        let Ok(inet) = text.parse::<cidr::Ipv4Inet>() else {
            return wrong(format!("`{text}` is not a subnet"), hint);
        };
        if inet.address() != inet.network().first_address() {
            let hint =
                format!("the subnet it is in is \"{}/{}\"", inet.first_address(), inet.network_length());
            return wrong(format!("`{text}` is an address in a subnet, not a subnet"), &hint);
        }
        if inet.network_length() > 30 {
            return wrong(format!("`{text}` has no room for guests"), "at most /30");
        }
        Ok(Self(inet.network()))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.first_address(), self.0.network_length())
    }
}

/// One machine, or all of a subnet: an IPv4 address, or one with a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange(pub cidr::Ipv4Cidr);

impl FromStr for AddressRange {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "an address such as \"192.168.1.5\", or a subnet such as \"192.168.1.0/24\"";
        let Ok(inet) = text.parse::<cidr::Ipv4Inet>() else {
            return wrong(format!("`{text}` is neither an IPv4 address nor a subnet"), hint);
        };
        if inet.address() != inet.network().first_address() {
            let hint = format!(
                "the machine alone is \"{}\"; the subnet it is in is \"{}/{}\"",
                inet.address(),
                inet.first_address(),
                inet.network_length()
            );
            return wrong(format!("`{text}` is an address in a subnet, not a subnet"), &hint);
        }
        Ok(Self(inet.network()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.network_length() {
            32 => self.0.first_address().fmt(f),
            length => write!(f, "{}/{length}", self.0.first_address()),
        }
    }
}

/// Where a device has its address from: a fixed one, or `dhcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// This address.
    Static(Ipv4Addr),
    /// Whatever the network's DHCP server gives.
    Dhcp,
}

impl FromStr for Address {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "dhcp" => Ok(Self::Dhcp),
            _ => text.parse::<Ipv4>().map(|a| Self::Static(a.0)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(address) => address.fmt(f),
            Self::Dhcp => f.write_str("dhcp"),
        }
    }
}

/// Reads a text as the kind of value that a schema names with `x-parse`; an unknown kind accepts everything.
pub(crate) fn check_text(kind: &str, text: &str) -> Result<(), ValueError> {
    match kind {
        "net-slot" => slot("net", 31, text).map(drop),
        "device-slot" => slot("dev", 255, text).map(drop),
        "mount-slot" => slot("mp", 255, text).map(drop),
        "serial-slot" => slot("serial", 3, text).map(drop),
        "usb-slot" => slot("usb", 13, text).map(drop),
        "pci-slot" => slot("pci", 15, text).map(drop),
        "folder-slot" => slot("folder", 9, text).map(drop),
        "disk-slot" => match text.parse::<crate::model::Slot>() {
            Ok(_) => Ok(()),
            Err(message) => {
                wrong(message, "`scsi0` to `scsi30`, `virtio0` to `virtio15`, `sata0` to `sata5`, `ide1`")
            }
        },
        _ => check(kind, text),
    }
}

/// Reads a slot such as `net0`.
pub(crate) fn slot(prefix: &str, highest: u8, text: &str) -> Result<u8, ValueError> {
    let number = text.strip_prefix(prefix).filter(|n| *n == "0" || !n.starts_with(['0', '+']));
    match number.and_then(|n| n.parse::<u8>().ok()) {
        Some(number) if number <= highest => Ok(number),
        _ => wrong(
            format!("`{}` is not a slot", text.escape_debug()),
            &format!("from `{prefix}0` to `{prefix}{highest}`"),
        ),
    }
}
