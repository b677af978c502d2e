//! Frames as somebody makes them who may send what he likes.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub type Mac = [u8; 6];

/// Nobody's, so that a bridge sends it to all.
const SOMEBODY: Mac = [2, 0, 0, 0, 0, 0x42];

/// From text.
pub fn mac(text: &str) -> Mac {
    let bytes: Vec<u8> = text.split(':').map(|it| u8::from_str_radix(it, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// The address that a device gives itself (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// A frame, with its name in it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its name.
    pub name: String,
    source: Mac,
    kind: u16,
    body: Vec<u8>,
}

impl Frame {
    fn new(name: &str, source: Mac, kind: u16, body: Vec<u8>) -> Self {
        Self { name: name.to_owned(), source, kind, body }
    }

    /// `sender`, that is `address`, asks for somebody.
    pub fn arp(name: &str, source: Mac, sender: Mac, address: &str) -> Self {
        let address: Ipv4Addr = address.parse().unwrap();
        let text = format!("<{name}>");
        let body = [
            &[0, 1, 8, 0, 6, 4, 0, 1][..],
            &sender,
            &address.octets(),
            &[0; 6],
            &[10, 0, 0, 99],
            text.as_bytes(),
        ];
        Self::new(name, source, 0x0806, body.concat())
    }

    /// A datagram of UDP over IPv4.
    pub fn udp(name: &str, source: Mac, from: (&str, u16), to: (&str, u16)) -> Self {
        let text = format!("<{name}>");
        let length = u16::try_from(8 + text.len()).unwrap().to_be_bytes();
        let datagram =
            [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &length, &[0, 0], text.as_bytes()].concat();
        let total = u16::try_from(20 + datagram.len()).unwrap().to_be_bytes();
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
        let mut head =
            [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, 17, 0, 0], &address(from.0), &address(to.0)].concat();
        let sum = checksum(&head);
        head[10..12].copy_from_slice(&sum.to_be_bytes());
        Self::new(name, source, 0x0800, [head, datagram].concat())
    }

    /// A message of ICMPv6 to all nodes.
    pub fn icmp6(name: &str, source: Mac, from: Ipv6Addr, kind: u8) -> Self {
        let all = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let text = format!("<{name}>");
        let mut message = [&[kind, 0, 0, 0, 0x20, 0, 0, 0][..], &from.octets(), text.as_bytes()].concat();
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        let pseudo = [&from.octets()[..], &all.octets(), &[0, 0], &length, &[0, 0, 0, 58], &message].concat();
        let sum = checksum(&pseudo);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let head = [&[0x60, 0, 0, 0][..], &length, &[58, 255], &from.octets(), &all.octets()].concat();
        Self::new(name, source, 0x86dd, [head, message].concat())
    }

    /// A frame of another protocol.
    pub fn other(name: &str, source: Mac, kind: u16) -> Self {
        Self::new(name, source, kind, format!("<{name}>").into_bytes())
    }

    /// The same within another protocol, with what that has before it.
    pub fn wrapped(self, name: &str, kind: u16, head: &[u8]) -> Self {
        Self::new(name, self.source, kind, [head, &self.body, format!("<{name}>").as_bytes()].concat())
    }

    /// Its name, and all of it as hexadecimal digits.
    pub fn line(&self) -> String {
        let mut bytes = [&SOMEBODY[..], &self.source, &self.kind.to_be_bytes(), &self.body].concat();
        bytes.resize(bytes.len().max(60), 0);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hex}", self.name)
    }
}

/// The sum of the Internet's protocols (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
