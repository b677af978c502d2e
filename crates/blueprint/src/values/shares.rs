//! Values of shares.

use std::fmt;
use std::str::FromStr;

use super::texts::checked_texts;
use super::{AddressRange, Label, ValueError, wrong};

/// What Samba calls its own.
const OF_SAMBA: [&str; 5] = ["global", "homes", "printers", "print", "ipc"];

/// The longest name of a user in Linux, without what stands in front of a share's own.
const LONGEST: usize = 26;

/// What tools that read paths from lists of words, quotes and variables read as it is.
fn is_plain(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || "/_.:@+-".contains(c))
    })
}

checked_texts! {
    /// A share's name: what clients call it in Samba, and its own user on the node is `share-NAME`.
    ShareName => |text| {
        if OF_SAMBA.contains(&text) {
            return wrong(format!("a share cannot be called `{text}`"), "Samba keeps that name for itself");
        }
        if text.len() > LONGEST || text.parse::<Label>().is_err() {
            let hint = "at most 26 lower-case letters, digits and hyphens, such as \"media\"";
            return wrong(format!("a share cannot be called `{}`", text.escape_debug()), hint);
        }
        Ok(())
    };
    /// A folder of the node that is shared.
    SharePath => |text| if is_plain(text) { Ok(()) } else {
        wrong(format!("`{}` cannot be shared", text.escape_debug()), "an absolute path of letters, digits and `_.:@+-`, such as \"/srv/media\"")
    };
    /// The mode of a folder, with its first digit: `2770`.
    FolderMode => |text| if text.len() == 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) { Ok(()) } else {
        wrong(format!("`{}` is not the mode of a folder", text.escape_debug()), "four octal digits, such as \"2770\"")
    };
    /// A user or a group of the node.
    UnixName => |text| {
        let good = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        if text == "root" {
            return wrong("root cannot be named here".to_owned(), "somebody who may do less: a name of its own is made where it is not there");
        }
        if good { Ok(()) } else {
            wrong(format!("`{}` is not a name of Linux", text.escape_debug()), "at most 32 lower-case letters, digits, `_` and `-`, such as \"heads\"")
        }
    };
    /// From where a share is reached: a network of the blueprint, a subnet, or an address.
    ClientName => |text| {
        let net = text.strip_prefix("net.").is_some_and(|name| name.parse::<Label>().is_ok());
        if net || text.parse::<AddressRange>().is_ok() { Ok(()) } else {
            let hint = "`net.NAME` of `networks`, a subnet such as \"192.168.1.0/24\", or an address such as \"192.168.1.20\"";
            wrong(format!("`{}` is nowhere from where a share can be reached", text.escape_debug()), hint)
        }
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_share_can_be() {
        assert!(["media", "a", "my-films-2"].iter().all(|name| name.parse::<ShareName>().is_ok()));
        for bad in ["Media", "global", "homes", "ipc", "a b", "", "print", "a.b", &"a".repeat(27)] {
            assert!(bad.parse::<ShareName>().is_err(), "{bad}");
        }
        assert!(["/srv/media", "/tank/a.b/c-d"].iter().all(|path| path.parse::<SharePath>().is_ok()));
        for bad in ["/", "srv", "/srv/", "/a/../b", "/a b", "/a%u", "/a\"", "/a$(x)", "/a,b", "//a"] {
            assert!(bad.parse::<SharePath>().is_err(), "{bad}");
        }
        assert!(["net.lan", "10.0.0.0/24", "10.0.0.5"].iter().all(|it| it.parse::<ClientName>().is_ok()));
        assert!(
            ["lan", "net.", "outside", "*", "net.a b"].iter().all(|it| it.parse::<ClientName>().is_err())
        );
        assert!("heads".parse::<UnixName>().is_ok());
        assert!(["root", "1a", "A", "a b", "a:b", ""].iter().all(|it| it.parse::<UnixName>().is_err()));
        assert!("2770".parse::<FolderMode>().is_ok());
        assert!(["770", "2780", "02770", "u=rwx"].iter().all(|it| it.parse::<FolderMode>().is_err()));
    }

    proptest! {
        #[test]
        fn what_is_a_value_prints_back(text in "[A-Za-z0-9./_:@-]{0,12}") {
            if let Ok(value) = text.parse::<ShareName>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<SharePath>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<UnixName>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<ClientName>() { prop_assert_eq!(value.to_string(), &*text); }
        }
    }
}
