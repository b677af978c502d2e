//! Values of pools and datasets.

use std::fmt;
use std::str::FromStr;

use super::texts::checked_texts;
use super::{ValueError, wrong};

/// Names that the kernel gives disks in the order in which it finds them: another one at the next start.
const KERNEL: [&str; 8] = ["sd", "hd", "vd", "xvd", "nvme", "mmcblk", "dm-", "zd"];
/// Where the lasting ones are.
const BY_ID: &str = "its lasting name is the one that leads to it here, on the node: ls -l /dev/disk/by-id";

checked_texts! {
    /// A disk of the node, by its name in `/dev/disk/by-id`, which stays with it wherever it is plugged in.
    DiskName => |text| {
        let own = text.strip_prefix("/dev/").unwrap_or(text);
        let is_kernel = KERNEL.iter().any(|begin| {
            own.strip_prefix(begin).is_some_and(|rest| rest.len() < 8 && !rest.contains(['-', '_', '.']) && !rest.is_empty())
        });
        if is_kernel {
            return wrong(format!("`{text}` is what the kernel calls a disk today, and another one tomorrow"), BY_ID);
        }
        if text.contains('/') {
            return wrong(format!("`{text}` is a path"), "write its name in /dev/disk/by-id alone");
        }
        if text.rsplit_once("-part").is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            return wrong(format!("`{text}` is a partition"), "a pool has whole disks: leave out `-partN`");
        }
        let plain = |c: char| c.is_ascii_graphic() && !"'\"\\`$".contains(c);
        if text.is_empty() || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(plain) {
            return wrong(format!("`{}` cannot be the name of a disk", text.escape_debug()), BY_ID);
        }
        Ok(())
    };
    /// A pool's name (zpool-create(8)).
    ZfsPoolName => |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let taken = ["mirror", "raidz", "draid", "spare"].iter().any(|begin| text.starts_with(begin)) || text == "log";
        if taken {
            return wrong(format!("a pool cannot be called `{text}`"), "ZFS keeps names that begin with mirror, raidz, draid and spare for itself");
        }
        if text.len() > 40 || !text.starts_with(|c: char| c.is_ascii_alphabetic()) || !text.chars().all(plain) {
            return wrong(format!("a pool cannot be called `{}`", text.escape_debug()), "a letter, then letters, digits and `_.-`, such as \"tank\"");
        }
        Ok(())
    };
    /// A dataset's name below its pool.
    DatasetName => |text| {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
        };
        if text.len() <= 200 && text.split('/').all(part) { Ok(()) } else {
            wrong(format!("a dataset cannot be called `{}`", text.escape_debug()), "letters, digits and `_.:-`, with `/` between it and the one it is in, such as \"media/films\"")
        }
    };
    /// A dataset's whole name: its pool's, and its own below it.
    DatasetPath => |text| match text.split_once('/') {
        Some((pool, below)) => {
            pool.parse::<ZfsPoolName>()?;
            below.parse::<DatasetName>().map(drop)
        }
        None => wrong(format!("`{}` is no dataset", text.escape_debug()), "the pool and the dataset in it, such as \"backup/media\""),
    };
    /// An amount of storage as ZFS takes it: bytes, or with `K`, `M`, `G`, `T`, `P`, each 1024 times the one before.
    ZfsSize => |text| match bytes(text) {
        Some(1..) if !text.contains('.') => Ok(()),
        _ => wrong(format!("`{}` is not a size", text.escape_debug()), "a whole number with `K`, `M`, `G`, `T` or `P`, such as \"2T\""),
    };
    /// How long something is kept: days or weeks.
    Keep => |text| {
        let number = text.strip_suffix(['d', 'w']).filter(|number| !number.starts_with('0'));
        match number.and_then(|number| number.parse::<u16>().ok()) {
            Some(1..=9999) => Ok(()),
            _ => wrong(format!("`{}` is not a time that snapshots are kept for", text.escape_debug()), "days or weeks, such as \"14d\" or \"8w\""),
        }
    };
}

/// The bytes of a size as ZFS writes and takes them: `2199023255552`, `2T`, `1.5G`; nothing where it is no size.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix('B').unwrap_or(text);
    let shift = match text.chars().last()? {
        'K' | 'k' => 10,
        'M' | 'm' => 20,
        'G' | 'g' => 30,
        'T' | 't' => 40,
        'P' | 'p' => 50,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 20 || part.len() > 6 || !digits(whole) || !digits(part) {
        return None;
    }
    let bytes = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let rest = part.parse::<u64>().unwrap_or(0).checked_mul(1 << shift)? / scale;
    bytes.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn disks_have_lasting_names() {
        for good in [
            "ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0AAAAAA",
            "nvme-Samsung_SSD_970_EVO_1TB_S4EVNX0M",
            "wwn-0x50014ee2b8a1c3d4",
            "virtio-tank1",
            "scsi-0QEMU_QEMU_HARDDISK_d1",
        ] {
            assert!(good.parse::<DiskName>().is_ok(), "{good}");
        }
        for bad in [
            "sda",
            "/dev/sda",
            "sdab",
            "vdb",
            "nvme0n1",
            "/dev/nvme0n1",
            "ata-X-part1",
            "/dev/disk/by-id/ata-X",
            "",
            "a b",
            "ata-$(x)",
        ] {
            assert!(bad.parse::<DiskName>().is_err(), "{bad}");
        }
        let error = "/dev/sda".parse::<DiskName>().unwrap_err();
        assert!(error.hint.unwrap().contains("ls -l /dev/disk/by-id"));
    }

    #[test]
    fn names_and_sizes() {
        assert!(["tank", "rpool", "fast-1"].iter().all(|name| name.parse::<ZfsPoolName>().is_ok()));
        assert!(["mirror1", "1tank", "log", "a/b"].iter().all(|name| name.parse::<ZfsPoolName>().is_err()));
        assert!(["media", "media/films"].iter().all(|name| name.parse::<DatasetName>().is_ok()));
        assert!(["/media", "media/", "a@b", "-a"].iter().all(|name| name.parse::<DatasetName>().is_err()));
        assert_eq!(
            (bytes("2T"), bytes("1.5K"), bytes("512"), bytes("none")),
            (Some(2 << 40), Some(1536), Some(512), None)
        );
        assert!("0".parse::<ZfsSize>().is_err() && "1.5T".parse::<ZfsSize>().is_err());
        assert!(
            "14d".parse::<Keep>().is_ok() && "0d".parse::<Keep>().is_err() && "3y".parse::<Keep>().is_err()
        );
    }

    proptest! {
        #[test]
        fn what_is_a_value_prints_back(text in "[A-Za-z0-9./_:-]{0,12}") {
            if let Ok(value) = text.parse::<DiskName>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<ZfsSize>() {
                prop_assert_eq!(value.to_string(), &*text);
                prop_assert_eq!(bytes(&bytes(&text).unwrap().to_string()), bytes(&text));
            }
            if let Ok(value) = text.parse::<Keep>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<DatasetName>() { prop_assert_eq!(value.to_string(), &*text); }
        }
    }
}
