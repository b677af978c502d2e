//! Sizes of disks.

use std::fmt;
use std::str::FromStr;

use super::PropertyError;

/// A size in bytes, written as Proxmox VE does: `32G` is 32 GiB, and the largest unit that fits is used
/// (`PVE::JSONSchema::parse_size` and `format_size`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

impl Size {
    /// That many GiB.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
}

impl FromStr for Size {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let wrong = |reason: &str| PropertyError::new(text, "size", reason);
        let (digits, shift) =
            match text.chars().last().and_then(|last| UNITS.iter().position(|unit| *unit == last)) {
                Some(at) => (&text[..text.len() - 1], 10 * (at + 1)),
                None => (text, 0),
            };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse::<u64>().ok() } else { None }
        };
        if part.len() > 18 {
            return Err(wrong("it is too exact"));
        }
        let form = "a number with K, M, G or T, such as 8G, is expected";
        let (whole, tenths) =
            (number(whole).ok_or_else(|| wrong(form))?, number(part).ok_or_else(|| wrong(form))?);
        let divisor = (0..part.len()).fold(1_u128, |product, _| product * 10);
        let bytes = (u128::from(whole) << shift) + (u128::from(tenths) << shift) / divisor;
        u64::try_from(bytes).map(Self).map_err(|_| wrong("it is too large"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut unit) = (self.0, None);
        for next in UNITS {
            if number == 0 || !number.is_multiple_of(1024) {
                break;
            }
            number /= 1024;
            unit = Some(next);
        }
        write!(f, "{number}")?;
        unit.map_or(Ok(()), |unit| write!(f, "{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("32G", 32 << 30), ("1500M", 1500 << 20), ("4K", 4096), ("1T", 1 << 40), ("77", 77)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!("1.5G".parse::<Size>().unwrap(), Size(3 << 29));
        assert_eq!("1024M".parse::<Size>().unwrap().to_string(), "1G");
        for text in ["", "G", "1g", "-1", "1,5", "1.G", "99999999999T", "1 G", "é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_it_prints(bytes in any::<u64>(), zeros in 0_u32..50) {
            let size = Size(bytes >> zeros << zeros);
            prop_assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
    }
}
