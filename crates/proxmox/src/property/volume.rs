//! What a volume's key names: the volume itself, apart from its options.

use std::fmt;
use std::str::FromStr;

use super::{PropertyError, Size};

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

impl FromStr for VolumeSource {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        if text.starts_with('/') {
            return Ok(Self::Bind(text.to_owned()));
        }
        let Some((storage, name)) = text.split_once(':') else {
            let form = "a volume is STORAGE:NAME, STORAGE:GIBIBYTES or a path";
            return Err(PropertyError::new(text, "volume", form));
        };
        // As in PVE::LXC: a name of digits, with at most one point, is a size in GiB.
        let as_size =
            name.bytes().next().filter(u8::is_ascii_digit).and_then(|_| format!("{name}G").parse().ok());
        Ok(match as_size {
            Some(size) => Self::New { storage: storage.to_owned(), size },
            None => Self::Volume(text.to_owned()),
        })
    }
}

impl VolumeSource {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_named() {
        let new = |gib: u64| VolumeSource::New { storage: "tank".to_owned(), size: Size::gib(gib) };
        assert_eq!("tank:2".parse(), Ok(new(2)));
        assert_eq!("tank:2".parse::<VolumeSource>().unwrap().storage(), Some("tank"));
        let there: VolumeSource = "tank:201/vm-201-disk-0.raw".parse().unwrap();
        assert_eq!(
            (there.storage(), &there),
            (Some("tank"), &VolumeSource::Volume("tank:201/vm-201-disk-0.raw".into()))
        );
        assert_eq!("/srv".parse(), Ok(VolumeSource::Bind("/srv".into())));
        assert!("tank".parse::<VolumeSource>().is_err());
    }

    proptest! {
        #[test]
        fn they_print_what_they_parsed(text in "(/[a-z/]{0,8}|[a-z-]{1,6}:[1-9][0-9]{0,4}(\\.[1-9]00)?|[a-z-]{1,6}:[a-z][a-z0-9./-]{0,9})") {
            prop_assert_eq!(text.parse::<VolumeSource>().unwrap().to_string(), text);
        }
    }
}
