//! Values of graphics cards.

use std::fmt;
use std::str::FromStr;

use super::texts::checked_texts;
use super::{ValueError, wrong};

checked_texts! {
    /// The address of a device on the node's PCI bus, as the kernel writes it: domain, bus, slot and function.
    PciAddress => |text| {
        let hint = "as this prints it at the beginning of a line, on the node: lspci -D; such as \"0000:01:00.0\"";
        let odd = || wrong(format!("`{}` is not the address of a PCI device", text.escape_debug()), hint);
        let hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let mut parts = text.splitn(3, ':');
        let (Some(domain), Some(bus), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return odd() };
        let Some((slot, function)) = rest.split_once('.') else { return odd() };
        let is_function = function.len() == 1 && function.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if hex(domain, 4) && hex(bus, 2) && hex(slot, 2) && is_function { Ok(()) } else { odd() }
    };
    /// The version of a driver of NVIDIA's.
    DriverVersion => |text| {
        let number = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = text.split('.').collect();
        match (2..=3).contains(&parts.len()) && parts.iter().all(|part| number(part)) {
            true => Ok(()),
            false => wrong(
                format!("`{}` is not the version of a driver", text.escape_debug()),
                "as this prints it, on the node: cat /sys/module/nvidia/version; such as \"570.133.07\"",
            ),
        }
    };
}

impl PciAddress {
    /// Without the function: what all functions of a card have in common.
    #[must_use]
    pub fn slot(&self) -> &str {
        slot_of(&self.0)
    }
}

/// The slot of a device: its address without the function.
#[must_use]
pub fn slot_of(address: &str) -> &str {
    address.rsplit_once('.').map_or(address, |(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_whole_and_versions_are_numbers() {
        for good in ["0000:01:00.0", "0000:0a:1f.7", "10de:c1:00.1"] {
            assert!(good.parse::<PciAddress>().is_ok(), "{good}");
        }
        for bad in ["01:00.0", "0000:01:00", "0000:01:00.8", "0000:0A:00.0", "0000:01:00.0 ", "", "card0"] {
            assert!(bad.parse::<PciAddress>().unwrap_err().hint.unwrap().contains("lspci -D"), "{bad}");
        }
        assert_eq!("0000:01:00.1".parse::<PciAddress>().unwrap().slot(), "0000:01:00");
        assert!(["570.133.07", "580.65"].iter().all(|it| it.parse::<DriverVersion>().is_ok()));
        assert!(
            ["570", "v570.1", "570.", "570.133.07-1"].iter().all(|it| it.parse::<DriverVersion>().is_err())
        );
    }

    proptest! {
        #[test]
        fn what_is_a_value_prints_back(text in "[0-9a-f:.]{0,14}") {
            if let Ok(value) = text.parse::<PciAddress>() { prop_assert_eq!(value.to_string(), &*text); }
            if let Ok(value) = text.parse::<DriverVersion>() { prop_assert_eq!(value.to_string(), &*text); }
        }
    }
}
