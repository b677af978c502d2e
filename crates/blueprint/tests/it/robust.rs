//! Whatever a file holds: no panic, and values print back as they were read.

use std::sync::OnceLock;

use blueprint::values::{
    Address, AddressRange, DiskSize, HeadSize, HttpUrl, IdRange, Life, Mac, MemorySize, Rate, Sha256, Subnet,
    Wait,
};
use blueprint::{Catalog, init, load_from_memory, to_text};
use camino::Utf8PathBuf;
use proptest::prelude::*;

use crate::common;

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(common::catalog)
}

/// Loads, and shows what came of it: that must not panic either.
fn exercise(files: Vec<(Utf8PathBuf, Vec<u8>)>) {
    let shown = match load_from_memory(files, catalog()) {
        Ok(loaded) => to_text(&loaded.warnings, &loaded.sources),
        Err(failure) => {
            assert!(failure.errors() > 0, "a failure without an error");
            failure.to_text()
        }
    };
    assert!(!shown.contains("\0\0\0\0\0\0\0\0"));
}

/// A site that has something of everything.
const RICH: &str = include_str!("rich.json");

/// What is put in place of, or into, a piece of a valid file.
const PIECES: &[&str] = &[
    "null",
    "true",
    "-1",
    "1e400",
    "0",
    "99999999999999999999",
    "\"\"",
    "\"\\u0000\"",
    "\"dhcp\"",
    "\"10.0.0.0\"",
    "[]",
    "{}",
    "{\"a\": {}}",
    "[{}]",
    ",",
    "}",
    "]",
    "\"",
    "/*",
    "//",
    "\"extends\": \"a\"",
    "\"type\": \"small\"",
    "é",
    "\u{feff}",
    "\"net0\": {}",
    "\"needs\": [\"notes\"]",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        exercise(vec![("a.json".into(), bytes.clone()), ("features/x/feature.json".into(), bytes)]);
    }

    #[test]
    fn any_json(text in "[\\[\\]{}:,\"a-z0-9 \\n/*\\\\.-]{0,200}") {
        exercise(vec![("a.json".into(), text.into_bytes())]);
    }

    #[test]
    fn changed_blueprints(
        edits in proptest::collection::vec((0.0..1.0f64, 0usize..24, 0usize..PIECES.len()), 1..6),
    ) {
        let mut text = RICH.as_bytes().to_vec();
        for (at, length, piece) in edits {
            // A position in a file of this length; precision does not matter.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a random position")]
            #[expect(clippy::cast_precision_loss, reason = "a random position")]
            let start = (at * text.len() as f64) as usize;
            let end = (start + length).min(text.len());
            text.splice(start..end, PIECES[piece].bytes());
        }
        exercise(vec![("a.json".into(), text), ("pages/index.html".into(), b"x".to_vec())]);
    }

    #[test]
    fn memory_prints_back(mib in 0u64..1 << 40) {
        let size = MemorySize { mib };
        prop_assert_eq!(size.to_string().parse::<MemorySize>().unwrap(), size);
    }

    #[test]
    fn disks_print_back(mib in 1u64..1 << 40) {
        let size = DiskSize { mib };
        prop_assert_eq!(size.to_string().parse::<DiskSize>().unwrap(), size);
    }

    /// What a new volume is asked for with has the size that is wanted, to the byte.
    #[test]
    fn sizes_in_gib_are_exact(mib in 1u64..1 << 30) {
        let text = blueprint::model::Disk { storage: None, size_mib: mib }.gib();
        let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
        let scale = 10_u64.pow(u32::try_from(part.len()).unwrap());
        let of_part = u128::from(part.parse::<u64>().unwrap()) * 1024;
        prop_assert_eq!(of_part % u128::from(scale), 0);
        let sum = u128::from(whole.parse::<u64>().unwrap()) * 1024 + of_part / u128::from(scale);
        prop_assert_eq!(sum, u128::from(mib));
    }

    #[test]
    fn lives_print_back(minutes in 5u64..20 * 365 * 24 * 60) {
        let life = Life(std::time::Duration::from_secs(minutes * 60));
        prop_assert_eq!(life.to_string().parse::<Life>().unwrap(), life);
    }

    #[test]
    fn ranges_of_ids(first in 100u32..=999_999_999, more in 0u32..1000) {
        let range = IdRange { first, last: first.saturating_add(more).min(999_999_999) };
        prop_assert_eq!(range.to_string().parse::<IdRange>().unwrap(), range);
    }

    #[test]
    fn whatever_a_range_is_its_ids_are_some(text in "[0-9-]{0,12}|.{0,8}") {
        if let Ok(range) = text.parse::<IdRange>() {
            prop_assert!(range.first >= 100 && range.first <= range.last && range.last <= 999_999_999);
        }
    }

    #[test]
    fn machines_and_subnets(address in any::<u32>(), length in 0u8..=32) {
        let inet = cidr::Ipv4Inet::new(address.into(), length).unwrap();
        let range = AddressRange(inet.network());
        prop_assert_eq!(range.to_string().parse::<AddressRange>().unwrap(), range);
    }

    #[test]
    fn addresses_of_files_print_back(https: bool, host in "[a-z0-9.-]{1,20}(:[0-9]{1,4})?", path in "[!-~]{1,30}") {
        let text = format!("http{}://{host}/{path}", if https { "s" } else { "" });
        prop_assert_eq!(&text.parse::<HttpUrl>().unwrap().0, &text);
        let with_user = text.replacen("://", "://me:pass@", 1);
        prop_assert!(with_user.parse::<HttpUrl>().is_err());
    }

    #[test]
    fn sums_print_back(sum in "[0-9a-fA-F]{64}", other in "[0-9a-g]{0,70}") {
        prop_assert_eq!(&sum.parse::<Sha256>().unwrap().0, &sum);
        prop_assert_eq!(other.parse::<Sha256>().is_ok(), other.len() == 64 && !other.contains('g'));
    }

    #[test]
    fn sizes_of_heads(kib in 4u64..=1024) {
        let size = HeadSize { kib };
        prop_assert_eq!(size.to_string().parse::<HeadSize>().unwrap(), size);
    }

    #[test]
    fn waits_and_rates_print_back(seconds in 1u64..=7 * 86_400, requests in 1u32..1_000_000, per_minute: bool) {
        let wait = Wait(std::time::Duration::from_secs(seconds));
        prop_assert_eq!(wait.to_string().parse::<Wait>().unwrap(), wait);
        let rate = Rate { requests, per_minute };
        prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
    }

    #[test]
    fn macs_print_back(mut bytes in any::<[u8; 6]>()) {
        bytes[0] &= 0xFE;
        bytes[5] |= 1;
        prop_assert_eq!(Mac(bytes).to_string().parse::<Mac>().unwrap(), Mac(bytes));
    }

    #[test]
    fn addresses_print_back(bytes in any::<[u8; 4]>(), prefix in 0u8..=30) {
        let address = Address::Static(bytes.into());
        prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        let bits = u32::from_be_bytes(bytes);
        let network = if prefix == 0 { 0 } else { bits >> (32 - prefix) << (32 - prefix) };
        let text = format!("{}/{prefix}", std::net::Ipv4Addr::from(network));
        prop_assert_eq!(text.parse::<Subnet>().unwrap().to_string(), text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = (text.parse::<MemorySize>(), text.parse::<DiskSize>(), text.parse::<Life>(), text.parse::<Mac>());
        let _ = (text.parse::<Subnet>(), text.parse::<Address>(), text.parse::<blueprint::values::SshDestination>());
        let _ = (text.parse::<blueprint::values::Domain>(), text.parse::<blueprint::values::Endpoint>());
    }
}

#[test]
fn the_rich_site_is_valid() {
    let files = [("a.json".into(), RICH.into()), ("pages/index.html".into(), b"x".to_vec())];
    let text = load_from_memory(files, catalog()).err().map(|failure| failure.to_text());
    assert_eq!(text, None);
}

#[test]
fn every_prefix_of_what_init_writes() {
    let files: Vec<(Utf8PathBuf, Vec<u8>)> = init::FIRST
        .files("workshop")
        .into_iter()
        .map(|(path, text)| (path.into(), text.into_bytes()))
        .collect();
    let index = files.iter().position(|(path, _)| path == "guests.json").unwrap();
    for end in 0..files[index].1.len() {
        let mut cut = files.clone();
        cut[index].1.truncate(end);
        exercise(cut);
    }
}
