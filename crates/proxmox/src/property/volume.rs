//! A container's root file system and mount points.

use std::fmt;
use std::str::FromStr;

use super::{PropertyError, PropertyString, Size};

/// Where the content of a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// Only written: `tank:8` allocates 8 GiB on `tank`.
    New {
        /// The storage.
        storage: String,
        /// The size.
        size: Size,
    },
    /// A volume that is there: `tank:201/vm-201-disk-0.raw`, `local-zfs:subvol-201-disk-0`.
    Volume(String),
    /// A folder or device of the node: `/srv/data`. Only root@pam may set it.
    Bind(String),
}

impl VolumeSource {
    fn parse(text: String, what: &'static str) -> Result<Self, PropertyError> {
        if text.starts_with('/') {
            return Ok(Self::Bind(text));
        }
        let Some((storage, name)) = text.split_once(':') else {
            return Err(PropertyError::new(
                &text,
                what,
                "a volume is STORAGE:NAME, STORAGE:GIBIBYTES or a path",
            ));
        };
        // As in PVE::LXC: a name of digits, with at most one point, is a size in GiB.
        let as_size =
            name.bytes().next().filter(u8::is_ascii_digit).and_then(|_| format!("{name}G").parse().ok());
        Ok(match as_size {
            Some(size) => Self::New { storage: storage.to_owned(), size },
            None => Self::Volume(text),
        })
    }

    /// The storage it is on; a bind mount is on none.
    pub fn storage(&self) -> Option<&str> {
        match self {
            Self::New { storage, .. } => Some(storage),
            Self::Volume(volume) => volume.split_once(':').map(|(storage, _)| storage),
            Self::Bind(_) => None,
        }
    }
}

impl fmt::Display for VolumeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { storage, size } => {
                let (whole, rest) = (size.0 >> 30, size.0 & ((1 << 30) - 1));
                write!(f, "{storage}:{whole}")?;
                if rest == 0 {
                    return Ok(());
                }
                // Thousandths, rounded up: never smaller than what was asked for.
                match (u128::from(rest) * 1000).div_ceil(1 << 30) {
                    1000 => Ok(()),
                    thousandths => write!(f, ".{thousandths:03}"),
                }
            }
            Self::Volume(text) | Self::Bind(text) => f.write_str(text),
        }
    }
}

/// What root file systems and mount points share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFs {
    /// What is mounted.
    pub source: VolumeSource,
    /// Its size; filled in by the node, and the truth about a volume that is there.
    pub size: Option<Size>,
    /// Whether quotas are on.
    pub quota: bool,
    /// Whether access control lists are on; the file system's default when absent.
    pub acl: Option<bool>,
    /// Whether it is read-only.
    pub ro: bool,
    /// Mount options, joined by `;`.
    pub mountoptions: Option<String>,
    /// Everything else.
    pub other: Vec<(String, String)>,
}

const ROOTFS: &str = "root file system";
const MOUNT_POINT: &str = "mount point";

impl RootFs {
    /// A source with nothing else said.
    pub fn new(source: VolumeSource) -> Self {
        Self { source, size: None, quota: false, acl: None, ro: false, mountoptions: None, other: Vec::new() }
    }

    fn take(text: &str, parts: &mut PropertyString, what: &'static str) -> Result<Self, PropertyError> {
        let volume = parts
            .take_default("volume")
            .ok_or_else(|| PropertyError::new(text, what, "the volume is missing"))?;
        let acl = if parts.get("acl").is_some() { Some(parts.take_flag("acl", what)?) } else { None };
        Ok(Self {
            source: VolumeSource::parse(volume, what)?,
            size: parts.take("size").map(|size| size.parse()).transpose()?,
            quota: parts.take_flag("quota", what)?,
            acl,
            ro: parts.take_flag("ro", what)?,
            mountoptions: parts.take("mountoptions"),
            other: Vec::new(),
        })
    }

    fn put(&self, parts: &mut PropertyString) {
        parts.push("acl", self.acl.map(u8::from));
        parts.push("mountoptions", self.mountoptions.as_ref());
        parts.push_flag("quota", self.quota);
        parts.push_flag("ro", self.ro);
    }

    /// The size, wherever it is said.
    pub fn bytes(&self) -> Option<Size> {
        match (&self.source, self.size) {
            (_, Some(size)) => Some(size),
            (VolumeSource::New { size, .. }, None) => Some(*size),
            _ => None,
        }
    }

    /// Whether `read`, as the node gives it back, is what this asks for. A volume to be allocated is the same as one
    /// on that storage of that size, and a size that is not asked for is not compared.
    pub fn same_as(&self, read: &Self) -> bool {
        let source = match (&self.source, &read.source) {
            (VolumeSource::New { storage, .. }, read) => read.storage() == Some(storage),
            (asked, read) => asked == read,
        };
        let size = self.bytes().is_none_or(|asked| read.bytes() == Some(asked));
        let bare = |it: &Self| Self { source: VolumeSource::Bind(String::new()), size: None, ..it.clone() };
        source && size && bare(self) == bare(read)
    }
}

impl FromStr for RootFs {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let mut parts: PropertyString = text.parse()?;
        let rootfs = Self::take(text, &mut parts, ROOTFS)?;
        Ok(Self { other: parts.rest(), ..rootfs })
    }
}

impl fmt::Display for RootFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = PropertyString::default();
        parts.push_default(&self.source);
        self.put(&mut parts);
        parts.push_rest(&self.other);
        parts.push("size", self.size);
        parts.fmt(f)
    }
}

/// A container's `mpN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// What is mounted, and how.
    pub volume: RootFs,
    /// Where.
    pub mp: String,
    /// Whether it is in backups.
    pub backup: bool,
    /// Whether it is the same on all nodes.
    pub shared: bool,
}

impl MountPoint {
    /// Whether `read`, as the node gives it back, is what this asks for.
    pub fn same_as(&self, read: &Self) -> bool {
        self.volume.same_as(&read.volume)
            && (&self.mp, self.backup, self.shared) == (&read.mp, read.backup, read.shared)
    }
}

impl FromStr for MountPoint {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let mut parts: PropertyString = text.parse()?;
        let volume = RootFs::take(text, &mut parts, MOUNT_POINT)?;
        let mp = parts.take("mp").ok_or_else(|| PropertyError::new(text, MOUNT_POINT, "`mp` is missing"))?;
        let backup = parts.take_flag("backup", MOUNT_POINT)?;
        let shared = parts.take_flag("shared", MOUNT_POINT)?;
        Ok(Self { volume: RootFs { other: parts.rest(), ..volume }, mp, backup, shared })
    }
}

impl fmt::Display for MountPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = PropertyString::default();
        parts.push_default(&self.volume.source);
        parts.push("mp", Some(&self.mp));
        parts.push_flag("backup", self.backup);
        self.volume.put(&mut parts);
        parts.push_flag("shared", self.shared);
        parts.push_rest(&self.volume.other);
        parts.push("size", self.volume.size);
        parts.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-7: disks that show as changed for ever.
    #[test]
    fn what_is_read_back_is_what_was_sent() {
        let sent: RootFs = "tank:2".parse().unwrap();
        let read: RootFs = "tank:201/vm-201-disk-0.raw,size=2G".parse().unwrap();
        assert_eq!(sent.source, VolumeSource::New { storage: "tank".to_owned(), size: Size::gib(2) });
        assert!(sent.same_as(&read) && read.same_as(&read));
        for other in ["tank:3", "other:2", "tank:2,ro=1"] {
            assert!(!other.parse::<RootFs>().unwrap().same_as(&read), "{other}");
        }
        let sent: MountPoint = "tank:1,mp=/srv/data,backup=1".parse().unwrap();
        let read: MountPoint = "tank:201/vm-201-disk-1.raw,mp=/srv/data,backup=1,size=1G".parse().unwrap();
        assert!(sent.same_as(&read));
        let bind: MountPoint = "/srv,mp=/mnt/srv,ro=1".parse().unwrap();
        assert!(bind.same_as(&"/srv,mp=/mnt/srv,ro=on".parse().unwrap()));
        assert!(!bind.same_as(&read));
    }

    #[test]
    fn they_print_what_they_parsed() {
        for text in [
            "tank:2",
            "tank:1.500",
            "local-zfs:subvol-201-disk-0,size=8G",
            "tank:8,acl=0,quota=1,ro=1,replicate=0",
        ] {
            assert_eq!(text.parse::<RootFs>().unwrap().to_string(), text);
        }
        for text in ["tank:1,mp=/srv,backup=1,ro=1,shared=1,size=1G", "/srv,mp=/mnt/srv"] {
            assert_eq!(text.parse::<MountPoint>().unwrap().to_string(), text);
        }
        let all = "volume=tank:2".parse::<RootFs>().unwrap();
        assert_eq!(all.to_string(), "tank:2");
        assert!("mp=/srv".parse::<MountPoint>().is_err() && "tank:1".parse::<MountPoint>().is_err());
        assert!("tank".parse::<RootFs>().is_err() && "size=1G".parse::<RootFs>().is_err());
    }
}
