//! Who answers for an address on the network: a kernel's neighbour table, as `ip -4 neigh show` (iproute2) prints it.

use std::net::Ipv4Addr;

/// What a kernel knows of the neighbour with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Neighbour {
    /// This MAC answers, in capitals as in [`plan::desired::Nic::mac`].
    Answers(String),
    /// This one answered some time ago, and whether it still does is not known.
    Remembered(String),
    /// It asked, and nobody answers.
    Nobody,
}

/// The neighbours in what `ip -4 neigh show` prints: an address, a device, `lladdr MAC` where one is known, and a state in
/// capitals last. What it does not know yet is left out.
pub fn table(text: &str) -> Vec<(Ipv4Addr, Neighbour)> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(Ipv4Addr, Neighbour)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = words.first()?.parse().ok()?;
    let mac = words.iter().position(|word| *word == "lladdr").and_then(|at| words.get(at + 1));
    match (*words.last()?, mac) {
        ("FAILED" | "INCOMPLETE", _) => Some((address, Neighbour::Nobody)),
        ("STALE" | "DELAY" | "PROBE", Some(mac)) => {
            Some((address, Neighbour::Remembered(mac.to_uppercase())))
        }
        (_, Some(mac)) => Some((address, Neighbour::Answers(mac.to_uppercase()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn neighbour(text: &str, address: Ipv4Addr) -> Option<Neighbour> {
        table(text).into_iter().find(|(found, _)| *found == address).map(|(_, neighbour)| neighbour)
    }

    #[test]
    fn neighbours() {
        // As iproute2 6.1 of Debian 12 prints them; the states as in its `nud_state_n2a`.
        let text = "10.0.0.1 dev eth0 lladdr 72:35:a1:46:2c:9b REACHABLE\n10.0.0.120 dev eth0 lladdr bc:24:11:3a:71:0f router DELAY \n\
                    10.0.0.77 dev eth0 FAILED\n10.0.0.78 dev eth0 INCOMPLETE \n10.0.0.79 dev eth0 NONE\nfe80::1 dev eth0 lladdr 72:35:a1:46:2c:9b STALE\n";
        assert_eq!(table(text).len(), 4);
        let mac = |text: &str| text.to_owned();
        let remembered = Neighbour::Remembered(mac("BC:24:11:3A:71:0F"));
        assert_eq!(neighbour(text, Ipv4Addr::new(10, 0, 0, 120)), Some(remembered));
        let answers = Neighbour::Answers(mac("72:35:A1:46:2C:9B"));
        assert_eq!(neighbour(text, Ipv4Addr::new(10, 0, 0, 1)), Some(answers));
        assert_eq!(neighbour(text, Ipv4Addr::new(10, 0, 0, 77)), Some(Neighbour::Nobody));
        assert_eq!(neighbour(text, Ipv4Addr::new(10, 0, 0, 78)), Some(Neighbour::Nobody));
        assert_eq!(neighbour(text, Ipv4Addr::new(10, 0, 0, 79)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([0-9.]{0,9}| dev| lladdr| [0-9a-f:]{0,17}| FAILED| STALE|\n|.{0,9}){0,20}") {
            let _ = table(&text);
        }
    }
}
