//! Smaller options: features, start order, tags.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{PropertyError, PropertyString};

/// A container's `features`. All but `nesting` can only be set by root@pam itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// Containers, and systemd's sandboxes, inside.
    pub nesting: bool,
    /// The kernel's key ring, which Docker wants.
    pub keyctl: bool,
    /// FUSE file systems.
    pub fuse: bool,
    /// Making device nodes.
    pub mknod: bool,
    /// Types of file systems that may be mounted inside.
    pub mount: BTreeSet<String>,
    /// Everything else.
    pub other: Vec<(String, String)>,
}

impl FromStr for Features {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        const WHAT: &str = "list of features";
        let mut parts: PropertyString = text.parse()?;
        let mount = parts.take("mount").unwrap_or_default();
        Ok(Self {
            nesting: parts.take_flag("nesting", WHAT)?,
            keyctl: parts.take_flag("keyctl", WHAT)?,
            fuse: parts.take_flag("fuse", WHAT)?,
            mknod: parts.take_flag("mknod", WHAT)?,
            mount: mount.split(';').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            other: parts.rest(),
        })
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = PropertyString::default();
        parts.push_flag("fuse", self.fuse);
        parts.push_flag("keyctl", self.keyctl);
        parts.push_flag("mknod", self.mknod);
        let mount: Vec<&str> = self.mount.iter().map(String::as_str).collect();
        parts.push("mount", (!mount.is_empty()).then(|| mount.join(";")));
        parts.push_flag("nesting", self.nesting);
        parts.push_rest(&self.other);
        parts.fmt(f)
    }
}

/// A guest's `startup`: its place in the order, and the seconds to wait after starting and before stopping it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Startup {
    /// The place; lower starts earlier and stops later.
    pub order: Option<u32>,
    /// Seconds to wait after it was started.
    pub up: Option<u32>,
    /// Seconds to wait for it to stop.
    pub down: Option<u32>,
}

impl FromStr for Startup {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        const WHAT: &str = "start order";
        let mut parts: PropertyString = text.parse()?;
        // `order` may stand without its key (PVE::JSONSchema, `pve-startup-order`).
        let order = parts.take_default("order").map(|order| order.parse());
        let startup = Self {
            order: order.transpose().map_err(|_| PropertyError::new(text, WHAT, "`order` is a number"))?,
            up: parts.take_number("up", WHAT)?,
            down: parts.take_number("down", WHAT)?,
        };
        match parts.rest().first() {
            Some((key, _)) => Err(PropertyError::new(text, WHAT, format!("`{key}` is not known"))),
            None => Ok(startup),
        }
    }
}

impl fmt::Display for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = PropertyString::default();
        parts.push("order", self.order);
        parts.push("up", self.up);
        parts.push("down", self.down);
        parts.fmt(f)
    }
}

/// A guest's tags as the node keeps them: small letters, sorted, each once, joined by `;`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(pub BTreeSet<String>);

impl Tags {
    /// Reads tags separated by `;`, `,` or blanks, as the node accepts them.
    pub fn parse(text: &str) -> Self {
        let tags = text.split([';', ',', ' ', '\t', '\n']).filter(|tag| !tag.is_empty());
        Self(tags.map(str::to_lowercase).collect())
    }

    /// Whether a tag is among them.
    pub fn contains(&self, tag: &str) -> bool {
        self.0.contains(&tag.to_lowercase())
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, tag) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            f.write_str(tag)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let sent: Features = "nesting=1,keyctl=1,fuse=0".parse().unwrap();
        assert_eq!(sent, "keyctl=1,nesting=1".parse().unwrap());
        assert_eq!(sent.to_string(), "keyctl=1,nesting=1");
        let odd = "mount=nfs;cifs,nesting=1,force_rw_sys=1".parse::<Features>().unwrap().to_string();
        assert_eq!(odd, "mount=cifs;nfs,nesting=1,force_rw_sys=1");
        assert_eq!("3,up=10".parse::<Startup>().unwrap().to_string(), "order=3,up=10");
        assert!("order=x".parse::<Startup>().is_err() && "later=1".parse::<Startup>().is_err());
        assert_eq!(Tags::parse("phoenix;web;A-tag").to_string(), "a-tag;phoenix;web");
        assert_eq!(Tags::parse("b, a  b").to_string(), "a;b");
    }
}
