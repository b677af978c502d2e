//! A question to a name server, and its answer, as bytes (RFC 1035).

use std::net::Ipv4Addr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

/// The number by which an answer is known. One question a connection is asked, so that it need not be random.
const ID: u16 = 0x5048;

/// What a name server said to a question for the addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These.
    Addresses(Vec<Ipv4Addr>),
    /// The name exists, and has no address.
    Empty,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// It does not answer this: its reason, such as `refused` or `server failure`.
    Refused(String),
    /// It said nothing within its time.
    Silent,
    /// What came is no answer to the question.
    Garbled,
}

impl Reply {
    /// In words, as what a name server says.
    pub fn words(&self) -> String {
        match self {
            Self::Addresses(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Self::Empty => "the name has no address".into(),
            Self::NoSuchName => "there is no such name".into(),
            Self::Refused(why) => why.clone(),
            Self::Silent => "no answer".into(),
            Self::Garbled => "what it sent is no answer".into(),
        }
    }
}

/// The question for the IPv4 addresses of `name`; `None` where it is no name.
pub fn question(name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(ID);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

/// Reads the answer.
pub fn reply(bytes: &[u8]) -> Reply {
    if bytes.is_empty() {
        return Reply::Silent;
    }
    let Ok(packet) = Packet::parse(bytes) else { return Reply::Garbled };
    if packet.id() != ID || !packet.has_flags(PacketFlag::RESPONSE) {
        return Reply::Garbled;
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Reply::NoSuchName,
        RCODE::Refused => return Reply::Refused("refused".into()),
        RCODE::ServerFailure => return Reply::Refused("server failure".into()),
        other => return Reply::Refused(format!("{other:?}").to_lowercase()),
    }
    let addresses: Vec<Ipv4Addr> = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(Ipv4Addr::from(a.address)),
            _ => None,
        })
        .collect();
    if addresses.is_empty() { Reply::Empty } else { Reply::Addresses(addresses) }
}

/// Bytes as `printf` takes them.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// What `od -An -v -tx1` prints, as bytes; `None` where something else is in it.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    text.split_whitespace()
        .map(|pair| u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(id: u16, code: RCODE, addresses: &[&str]) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        *packet.rcode_mut() = code;
        for address in addresses {
            let address: Ipv4Addr = address.parse().unwrap();
            let data = RData::A(address.into());
            let name = Name::new_unchecked("notes.workshop.internal");
            packet.answers.push(simple_dns::ResourceRecord::new(name, CLASS::IN, 60, data));
        }
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn a_question_and_its_answers() {
        let asked = question("notes.workshop.internal").unwrap();
        assert_eq!(&asked[..6], [0x50, 0x48, 1, 0, 0, 1]);
        assert!(asked.ends_with(b"\x05notes\x08workshop\x08internal\0\0\x01\0\x01"));
        // A question is no answer.
        assert_eq!(reply(&asked), Reply::Garbled);
        let found = reply(&answer(ID, RCODE::NoError, &["10.0.0.153", "10.0.0.154"]));
        assert_eq!(found.words(), "10.0.0.153, 10.0.0.154");
        assert_eq!(reply(&answer(ID, RCODE::NameError, &[])), Reply::NoSuchName);
        assert_eq!(reply(&answer(ID, RCODE::NoError, &[])), Reply::Empty);
        assert_eq!(reply(&answer(ID, RCODE::Refused, &[])), Reply::Refused("refused".into()));
        assert_eq!(reply(&answer(ID + 1, RCODE::NoError, &["10.0.0.1"])), Reply::Garbled);
        assert_eq!((reply(b""), reply(b"hello")), (Reply::Silent, Reply::Garbled));
        assert_eq!(question(&"x".repeat(64)), None);
    }

    proptest! {
        #[test]
        fn bytes_go_through_the_shell(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let printed: String = bytes.iter().map(|b| format!(" {b:02x}")).collect();
            prop_assert_eq!(unhex(&printed), Some(bytes.clone()));
            prop_assert_eq!(escaped(&bytes).len(), bytes.len() * 4);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = reply(&bytes);
        }
    }
}
