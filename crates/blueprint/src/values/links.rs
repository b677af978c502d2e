//! Addresses of a node's links.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::{ValueError, wrong};

/// An IPv4 address of a node with the length of its network's prefix: `10.0.0.13/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inet4(pub cidr::Ipv4Inet);

/// An IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6(pub Ipv6Addr);

/// An IPv6 address of a node with the length of its network's prefix: `fd00::13/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inet6(pub cidr::Ipv6Inet);

impl FromStr for Inet4 {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write it with the length of its network, such as \"10.0.0.13/24\"";
        // A length of 32 is said, too.
        let parse = |(address, length): (&str, &str)| {
            cidr::Ipv4Inet::new(address.parse().ok()?, length.parse().ok()?).ok()
        };
        let inet = text.split_once('/').and_then(parse);
        let Some(inet) = inet.filter(|inet| Self(*inet).to_string() == text) else {
            return wrong(format!("`{text}` is not an address of a node"), hint);
        };
        let usable = inet.network_length() >= 31
            || (inet.address() != inet.first_address() && inet.address() != inet.last_address());
        match usable && inet.network_length() > 0 {
            true => Ok(Self(inet)),
            false => wrong(format!("`{text}` is the first or last address of its network, or of none"), hint),
        }
    }
}

impl fmt::Display for Inet4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address(), self.0.network_length())
    }
}

impl FromStr for Ipv6 {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse()
            .map(Self)
            .or_else(|_| wrong(format!("`{text}` is not an IPv6 address"), "write it such as \"fd00::1\""))
    }
}

impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Inet6 {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let inet = text.contains('/').then(|| text.parse::<cidr::Ipv6Inet>().ok()).flatten();
        match inet.filter(|inet| inet.network_length() > 0) {
            Some(inet) => Ok(Self(inet)),
            None => wrong(
                format!("`{text}` is not an IPv6 address of a node"),
                "write it with the length of its network, such as \"fd00::13/64\"",
            ),
        }
    }
}

impl fmt::Display for Inet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address(), self.0.network_length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_address_of_a_node() {
        for wrong in ["10.0.0.13", "10.0.0.0/24", "10.0.0.255/24", "10.0.0.13/0", "10.0.0.1/33", "", "x/24"] {
            assert!(wrong.parse::<Inet4>().is_err(), "{wrong}");
        }
        for wrong in ["fd00::13", "fd00::13/0", "fd00::13/129", "10.0.0.1/24", ""] {
            assert!(wrong.parse::<Inet6>().is_err(), "{wrong}");
        }
        assert!("10.0.0.0/31".parse::<Inet4>().is_ok() && "10.0.0.1/32".parse::<Inet4>().is_ok());
    }

    proptest! {
        #[test]
        fn prints_what_it_read(address: [u8; 4], six: [u16; 8], length in 1..=32_u8, longer in 1..=128_u8) {
            let four = format!("{}/{length}", std::net::Ipv4Addr::from(address));
            if let Ok(inet) = four.parse::<Inet4>() {
                prop_assert_eq!(inet.to_string(), four);
            }
            let six = Ipv6Addr::from(six).to_string();
            prop_assert_eq!(six.parse::<Ipv6>().unwrap().to_string(), six.clone());
            let six = format!("{six}/{longer}");
            prop_assert_eq!(six.parse::<Inet6>().unwrap().to_string(), six);
        }
    }
}
