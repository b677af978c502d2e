//! Values of the node's kernel.

use std::fmt;
use std::str::FromStr;

use super::texts::checked_texts;
use super::{ValueError, wrong};

/// Words of the command line that say where the system itself is: the boot loader's own.
const OF_THE_LOADER: [&str; 8] =
    ["root", "rootfstype", "rootflags", "boot", "init", "initrd", "rdinit", "BOOT_IMAGE"];

/// Whether a text is of these alone, and begins with a letter or a digit.
fn plain(text: &str, others: &[u8]) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}

checked_texts! {
    /// The version of a kernel, as `uname -r` prints it.
    KernelVersion => |text| {
        let is = text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.') && plain(text, b".+~_-");
        match is && text.len() <= 64 {
            true => Ok(()),
            false => wrong(
                format!("`{}` is not the version of a kernel", text.escape_debug()),
                "as this prints it, on the node: proxmox-boot-tool kernel list; such as \"6.14.8-2-pve\"",
            ),
        }
    };
    /// A word of the kernel's command line.
    KernelWord => |text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let odd = |c: char| c.is_whitespace() || !c.is_ascii() || "\"'`$\\".contains(c);
        if !plain(name, b"_.-") || value.contains(odd) || text.len() > 255 {
            return wrong(
                format!("`{}` is no word of the kernel's command line", text.escape_debug()),
                "one word each, without quotes, such as \"iommu=pt\"",
            );
        }
        match OF_THE_LOADER.contains(&name) {
            true => wrong(
                format!("`{name}` says where the system itself is, and is the boot loader's own"),
                "with another one the node may not start: leave it out",
            ),
            false => Ok(()),
        }
    };
    /// The name of a module of the kernel.
    ModuleName => |text| {
        match plain(text, b"_-") && text.len() <= 64 {
            true => Ok(()),
            false => wrong(
                format!("`{}` is not the name of a module", text.escape_debug()),
                "as lsmod prints it on the node, such as \"nct6775\"",
            ),
        }
    };
    /// The name of a module's option.
    ModuleOption => |text| {
        let is = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        match is && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            true => Ok(()),
            false => wrong(
                format!("`{}` cannot be the name of a module's option", text.escape_debug()),
                "as this prints it, on the node: modinfo -p MODULE; such as \"force_id\"",
            ),
        }
    };
    /// What an option of a module is set to.
    ModuleValue => |text| {
        let odd = |c: char| c.is_whitespace() || !c.is_ascii() || "\"'#\\".contains(c);
        match text.is_empty() || text.contains(odd) || text.len() > 255 {
            true => wrong(
                format!("`{}` cannot be the value of a module's option", text.escape_debug()),
                "one word, without quotes, such as \"0xd420\"",
            ),
            false => Ok(()),
        }
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_words_and_leave_the_system_where_it_is() {
        for good in
            ["iommu=pt", "quiet", "pcie_aspm=off", "zfs.zfs_arc_max=1", "hugepages=1024", "isolcpus=2-5,7"]
        {
            assert!(good.parse::<KernelWord>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "=x",
            "a=\"b\"",
            "a=$(id)",
            "a='",
            "-x",
            "a=b\n",
            "root=/dev/sda1",
            "initrd=x",
            "init=/bin/sh",
        ] {
            assert!(bad.parse::<KernelWord>().is_err(), "{bad}");
        }
        assert!(["6.14.8-2-pve", "6.8.12-13-pve"].iter().all(|it| it.parse::<KernelVersion>().is_ok()));
        assert!(["", "pve", "6", "6.8 pve", "6.8;x"].iter().all(|it| it.parse::<KernelVersion>().is_err()));
        assert!(["nct6775", "vhci-hcd", "snd_hda_intel"].iter().all(|it| it.parse::<ModuleName>().is_ok()));
        assert!(["", "-r", "a b", "a/b", "a=b"].iter().all(|it| it.parse::<ModuleName>().is_err()));
        assert!(["0xd420", "1,2", "Y"].iter().all(|it| it.parse::<ModuleValue>().is_ok()));
        assert!(["", "a b", "#", "\""].iter().all(|it| it.parse::<ModuleValue>().is_err()));
    }

    proptest! {
        #[test]
        fn what_is_a_value_prints_back(text in "[0-9a-z=.,_ -]{0,14}") {
            if let Ok(value) = text.parse::<KernelVersion>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<ModuleName>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<ModuleOption>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<ModuleValue>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<KernelWord>() {
                prop_assert!(!text.contains(' '));
                prop_assert_eq!(value.to_string(), &*text);
            }
        }
    }
}
