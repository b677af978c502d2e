//! Reads what `read.sh` prints of the node's graphics cards. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The script that is run on the node, in the one command that reads everything there.
pub(super) const SCRIPT: &str = concat!(include_str!("cards.sh"), include_str!("read.sh"));

/// The graphics cards of a node, and what there is of drivers for them. Printed, it is what was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus {
    /// How many IOMMUs are on: without one, no device can be passed through.
    pub iommus: u32,
    /// Whether the processor is Intel's, whose IOMMU can be off by the kernel's command line.
    pub intel: bool,
    /// The version of NVIDIA's driver that is loaded.
    pub nvidia: Option<String>,
    /// The cards, by address.
    pub cards: BTreeMap<String, Card>,
    /// The device files that there are for cards, with their major and minor numbers.
    pub nodes: BTreeMap<String, (u32, u32)>,
}

/// A graphics card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// Whose it is: `10de`.
    pub vendor: String,
    /// Which: `2684`.
    pub device: String,
    /// Who built it, and which: `1043:88bf`.
    pub subsystem: Option<String>,
    /// The driver that has it.
    pub driver: Option<String>,
    /// The group of devices that can only be passed through together.
    pub group: Option<u32>,
    /// Whether it shows the node's own console.
    pub boot: bool,
    /// Its memory in bytes, where it is known.
    pub memory: Option<u64>,
    /// The number of its device file `/dev/nvidiaN`.
    pub minor: Option<u32>,
    /// Its names in `/dev/dri`: `card0`, `renderD128`.
    pub dri: BTreeSet<String>,
    /// The devices beside it, by address: those of its slot, and those of its group.
    pub beside: BTreeMap<String, Beside>,
}

/// A device beside a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its class: `040300` is sound, `060400` a bridge.
    pub class: String,
    /// The driver that has it.
    pub driver: Option<String>,
}

/// Who makes graphics cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Somebody else.
    Other,
}

impl Card {
    /// Who made its processor.
    pub fn maker(&self) -> Maker {
        match self.vendor.as_str() {
            "10de" => Maker::Nvidia,
            "1002" => Maker::Amd,
            "8086" => Maker::Intel,
            _ => Maker::Other,
        }
    }

    /// Its render node, where it has one.
    pub fn render(&self) -> Option<&str> {
        self.dri.iter().map(String::as_str).find(|name| name.starts_with("renderD"))
    }
}

/// What is wrong with a line.
fn odd(line: &str) -> String {
    format!("`{}` is not understood", line.chars().take(80).collect::<String>().escape_debug())
}

fn said(word: &str) -> Option<&str> {
    Some(word).filter(|word| *word != "-")
}

/// A number, where there is one.
fn number<T: std::str::FromStr>(word: &str) -> Result<Option<T>, ()> {
    said(word).map(|word| word.parse().map_err(drop)).transpose()
}

/// What the node has.
///
/// # Errors
/// What is wrong with the text, where it is not whole or not what the script prints.
pub fn parse(text: &str) -> Result<Gpus, String> {
    let mut gpus = Gpus::default();
    let mut whole = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        whole = words == ["end"];
        fact(&mut gpus, &words).map_err(|()| odd(line))?;
    }
    if whole { Ok(gpus) } else { Err("it is cut off".to_owned()) }
}

fn fact(gpus: &mut Gpus, words: &[&str]) -> Result<(), ()> {
    match words {
        ["end"] => {}
        ["iommu", count] => gpus.iommus = count.parse().map_err(drop)?,
        ["cpu", "intel"] => gpus.intel = true,
        ["nvidia", version] => gpus.nvidia = Some((*version).to_owned()),
        ["card", address, vendor, device, subsystem, driver, group, boot, memory, minor] => {
            let card = Card {
                vendor: (*vendor).to_owned(),
                device: (*device).to_owned(),
                subsystem: said(subsystem).map(str::to_owned),
                driver: said(driver).map(str::to_owned),
                group: number(group)?,
                boot: *boot == "1",
                memory: number(memory)?,
                minor: number(minor)?,
                ..Card::default()
            };
            gpus.cards.insert((*address).to_owned(), card);
        }
        ["dri", address, name] => {
            gpus.cards.get_mut(*address).ok_or(())?.dri.insert((*name).to_owned());
        }
        ["beside", address, other, class, driver] => {
            let beside = Beside { class: (*class).to_owned(), driver: said(driver).map(str::to_owned) };
            gpus.cards.get_mut(*address).ok_or(())?.beside.insert((*other).to_owned(), beside);
        }
        // `00000000:01:00.0`, where the kernel says `0000:01:00.0`.
        ["smi", bus, mib] => {
            let mib: u64 = mib.parse().map_err(drop)?;
            let bus = bus.to_ascii_lowercase();
            let own = gpus.cards.iter_mut().find(|(address, _)| bus.ends_with(address.as_str()));
            if let Some((_, card)) = own {
                card.memory = Some(mib.checked_mul(1 << 20).ok_or(())?);
            }
        }
        ["node", path, major, minor] => {
            let numbers = (major.parse().map_err(drop)?, minor.parse().map_err(drop)?);
            gpus.nodes.insert((*path).to_owned(), numbers);
        }
        _ => return Err(()),
    }
    Ok(())
}

impl fmt::Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn shown<T: ToString>(value: Option<&T>) -> String {
            value.map_or_else(|| "-".to_owned(), ToString::to_string)
        }
        writeln!(f, "iommu\t{}", self.iommus)?;
        if self.intel {
            writeln!(f, "cpu\tintel")?;
        }
        if let Some(version) = &self.nvidia {
            writeln!(f, "nvidia\t{version}")?;
        }
        for (address, card) in &self.cards {
            let words = [
                card.vendor.clone(),
                card.device.clone(),
                shown(card.subsystem.as_ref()),
                shown(card.driver.as_ref()),
                shown(card.group.as_ref()),
                u8::from(card.boot).to_string(),
                shown(card.memory.as_ref()),
                shown(card.minor.as_ref()),
            ];
            writeln!(f, "card\t{address}\t{}", words.join("\t"))?;
            for name in &card.dri {
                writeln!(f, "dri\t{address}\t{name}")?;
            }
            for (other, beside) in &card.beside {
                let driver = shown(beside.driver.as_ref());
                writeln!(f, "beside\t{address}\t{other}\t{}\t{driver}", beside.class)?;
            }
        }
        for (path, (major, minor)) in &self.nodes {
            writeln!(f, "node\t{path}\t{major}\t{minor}")?;
        }
        writeln!(f, "end")
    }
}

#[cfg(test)]
mod tests;
