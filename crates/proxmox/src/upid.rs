//! Task numbers.

use std::fmt;
use std::str::FromStr;

use crate::is_node_name;

/// The number of a task, as `UPID:pve1:000010E2:000E4E7C:6B03FB81:vzcreate:210:root@pam!conf:`.
///
/// The form is that of `PVE::Tools::upid_decode`: hexadecimal process number, its start in clock ticks (nine digits once
/// the node has been up for 497 days), and the time of start. It prints back what it parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upid {
    text: String,
    /// The node that runs the task, which is the node to ask.
    pub node: String,
    /// The process number there.
    pub pid: u32,
    /// The start of that process, in clock ticks since the node's boot.
    pub pstart: u64,
    /// The start of the task, in seconds since 1970.
    pub starttime: u64,
    /// What it does, such as `vzcreate` or `qmstart`.
    pub kind: String,
    /// What it is about, as it is written: a guest's number mostly, or escaped text; see [`Upid::about`].
    pub id: String,
    /// Who started it, `user@realm` or `user@realm!token`.
    pub user: String,
}

/// A text that is no task number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no task number (UPID)")]
pub struct UpidError(String);

impl FromStr for Upid {
    type Err = UpidError;

    fn from_str(text: &str) -> Result<Self, UpidError> {
        let error = || UpidError(text.chars().take(200).collect());
        let parts: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, starttime, kind, id, user, ""] = parts[..] else {
            return Err(error());
        };
        let hex = |digits: &str, lengths: std::ops::RangeInclusive<usize>| {
            let fits = lengths.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            if fits { u64::from_str_radix(digits, 16).ok() } else { None }
        };
        let blank = |part: &str| part.contains(|c: char| c.is_whitespace() || c.is_control());
        if !is_node_name(node)
            || kind.is_empty()
            || user.is_empty()
            || [kind, id, user].into_iter().any(blank)
        {
            return Err(error());
        }
        Ok(Self {
            text: text.to_owned(),
            node: node.to_owned(),
            pid: hex(pid, 8..=8).and_then(|pid| u32::try_from(pid).ok()).ok_or_else(error)?,
            pstart: hex(pstart, 8..=9).ok_or_else(error)?,
            starttime: hex(starttime, 8..=8).ok_or_else(error)?,
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
        })
    }
}

impl Upid {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the task is about, unescaped: systemd's rule, where `-` is `/` and `\x2d` a byte in hexadecimal
    /// (systemd-escape(1); proxmox-schema's `upid.rs` reads it the same way).
    pub fn about(&self) -> String {
        let mut bytes = Vec::with_capacity(self.id.len());
        let mut rest = self.id.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let escaped = after
                .strip_prefix(b"x")
                .and_then(|hex| hex.get(..2))
                .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            match (first, escaped) {
                (b'\\', Some(byte)) => {
                    bytes.push(byte);
                    rest = &after[3..];
                }
                (byte, _) => {
                    bytes.push(if *byte == b'-' { b'/' } else { *byte });
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_recorded_number() {
        let upid: Upid = "UPID:pve1:000010E2:000E4E7C:6B03FB81:vzcreate:210:root@pam!conf:".parse().unwrap();
        assert_eq!((upid.pid, upid.pstart, upid.starttime), (4322, 937_596, 1_795_423_105));
        assert_eq!(
            (&*upid.node, &*upid.kind, &*upid.id, &*upid.user),
            ("pve1", "vzcreate", "210", "root@pam!conf")
        );
    }

    #[test]
    fn ids_are_escaped_as_systemd_does() {
        let upid: Upid =
            r"UPID:n:00000001:000000001:00000001:imgdel:a\x2db-c\x3ad\x:root@pam:".parse().unwrap();
        assert_eq!(upid.about(), r"a-b/c:d\x");
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "",
            "UPID:",
            "UPID:pve1:10E2:000E4E7C:6B03FB81:vzcreate:210:root@pam:",
            "UPID:pve1:000010E2:0000E4E7C6:6B03FB81:vzcreate:210:root@pam:",
            "UPID:pve1:+00010E2:000E4E7C:6B03FB81:vzcreate:210:root@pam:",
            "UPID:pve1:000010E2:000E4E7C:6B03FB81:vzcreate:210:root@pam",
            "UPID:pve1:000010E2:000E4E7C:6B03FB81::210:root@pam:",
            "UPID:../x:000010E2:000E4E7C:6B03FB81:vzcreate:210:root@pam:",
        ] {
            assert!(text.parse::<Upid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_prints_what_it_parsed(
            text in "UPID:[a-z]([a-z0-9-]{0,8}[a-z0-9])?:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[a-z]{1,9}:[a-z0-9\\\\-]{0,9}:[a-z]{1,5}@pam(![a-z]{1,4})?:"
        ) {
            prop_assert_eq!(text.parse::<Upid>().unwrap().to_string(), text);
        }

        #[test]
        fn nothing_makes_it_panic(text in "(UPID)?[:A-F0-9a-z\\\\é-]{0,60}") {
            if let Ok(upid) = text.parse::<Upid>() {
                upid.about();
            }
        }
    }
}
