//! Simulated graphics cards: records of what a node would show of them. It answers the script that looks (`managers::gpus`) with
//! what that prints on a real node.

use std::collections::{BTreeMap, BTreeSet};

/// Exit status, output, error output.
type Printed = (i32, Vec<u8>, Vec<u8>);

/// A node's graphics cards.
#[derive(Debug)]
pub struct SimGpus {
    cards: BTreeMap<String, Card>,
    /// Whether devices can be passed through.
    iommu: bool,
    /// Whether the processor is Intel's.
    intel: bool,
    /// The version of NVIDIA's driver that is loaded.
    nvidia: String,
    /// Device files that are not there.
    lost: BTreeSet<String>,
    /// The drivers that have cards from the node's next start.
    next: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Card {
    vendor: &'static str,
    device: &'static str,
    subsystem: &'static str,
    driver: Option<String>,
    group: u32,
    memory_mib: u64,
    /// Devices beside it: those of its slot, and those of its group.
    beside: BTreeMap<String, (String, Option<String>)>,
}

impl Default for SimGpus {
    fn default() -> Self {
        let (cards, lost, next) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { cards, iommu: true, intel: false, nvidia: "570.133.07".to_owned(), lost, next }
    }
}

impl SimGpus {
    /// Plugs in a card of a kind (`nvidia`, `amd`, `intel`), driven as such a card is.
    pub fn plug(&mut self, address: &str, kind: &str, memory_mib: u64) {
        let (vendor, device, subsystem, driver) = match kind {
            "amd" => ("1002", "73df", "1462:3980", "amdgpu"),
            "intel" => ("8086", "a780", "1043:8882", "i915"),
            _ => ("10de", "2684", "1043:88bf", "nvidia"),
        };
        let group = 10 + u32::try_from(self.cards.len()).unwrap_or(0);
        let mut beside = BTreeMap::new();
        if kind != "intel" {
            let sound = ("040300".to_owned(), Some("snd_hda_intel".to_owned()));
            beside.insert(format!("{}.1", address.trim_end_matches(".0")), sound);
        }
        let driver = Some(driver.to_owned());
        let card = Card { vendor, device, subsystem, driver, group, memory_mib, beside };
        self.cards.insert(address.to_owned(), card);
    }

    /// Pulls a card out.
    pub fn pull(&mut self, address: &str) {
        self.cards.remove(address);
    }

    /// Has another driver have a card; none with `-`.
    pub fn driver(&mut self, address: &str, driver: &str) {
        if let Some(card) = self.cards.get_mut(address) {
            card.driver = Some(driver.to_owned()).filter(|it| it != "-");
        }
    }

    /// Has another driver have a card from the node's next start.
    pub fn driver_from_restart(&mut self, address: &str, driver: &str) {
        self.next.insert(address.to_owned(), driver.to_owned());
    }

    /// The node starts anew.
    pub(super) fn restart(&mut self) {
        for (address, driver) in std::mem::take(&mut self.next) {
            self.driver(&address, &driver);
        }
    }

    /// Has another device be in a card's group, of a class such as `010601`.
    pub fn beside(&mut self, address: &str, other: &str, class: &str) {
        if let Some(card) = self.cards.get_mut(address) {
            card.beside.insert(other.to_owned(), (class.to_owned(), Some("ahci".to_owned())));
        }
    }

    /// Has a card be in another group, as after another BIOS.
    pub fn group(&mut self, address: &str, group: u32) {
        if let Some(card) = self.cards.get_mut(address) {
            card.group = group;
        }
    }

    /// Has devices not be passed through.
    pub fn no_iommu(&mut self) {
        self.iommu = false;
    }

    /// Has the processor be Intel's.
    pub fn intel(&mut self) {
        self.intel = true;
    }

    /// Has another version of NVIDIA's driver be loaded.
    pub fn nvidia(&mut self, version: &str) {
        version.clone_into(&mut self.nvidia);
    }

    /// Has a device file not be there.
    pub fn lose(&mut self, path: &str) {
        self.lost.insert(path.to_owned());
    }

    /// What a command prints; nothing for what is not about cards.
    pub(super) fn run(&self, argv: &[String]) -> Option<Printed> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["sh", "-c", _, "gpus"] => Some((0, self.print().into_bytes(), Vec::new())),
            _ => None,
        }
    }

    fn print(&self) -> String {
        let mut out = format!("iommu\t{}\n", u8::from(self.iommu));
        if self.intel {
            out.push_str("cpu\tintel\n");
        }
        let mut nodes: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        let is_nvidia = |card: &Card| card.driver.as_deref() == Some("nvidia");
        if self.cards.values().any(is_nvidia) {
            out.push_str(&format!("nvidia\t{}\n", self.nvidia));
            nodes.insert("/dev/nvidiactl".to_owned(), (195, 255));
            nodes.insert("/dev/nvidia-uvm".to_owned(), (509, 0));
            nodes.insert("/dev/nvidia-uvm-tools".to_owned(), (509, 1));
        }
        let (mut minor, mut render) = (0, 128);
        for (address, card) in &self.cards {
            let own_minor = is_nvidia(card).then(|| {
                nodes.insert(format!("/dev/nvidia{minor}"), (195, minor));
                minor += 1;
                minor - 1
            });
            let group = if self.iommu { card.group.to_string() } else { "-".to_owned() };
            let Card { vendor, device, subsystem, .. } = card;
            let driver = card.driver.as_deref().unwrap_or("-");
            let minor = own_minor.map_or_else(|| "-".to_owned(), |minor| minor.to_string());
            // NVIDIA's driver has its own program to tell it.
            let memory = match driver {
                "amdgpu" => (card.memory_mib << 20).to_string(),
                _ => "-".to_owned(),
            };
            out.push_str(&format!(
                "card\t{address}\t{vendor}\t{device}\t{subsystem}\t{driver}\t{group}\t0\t{memory}\t{minor}\n"
            ));
            if matches!(driver, "amdgpu" | "i915" | "nouveau") {
                out.push_str(&format!("dri\t{address}\trenderD{render}\n"));
                nodes.insert(format!("/dev/dri/renderD{render}"), (226, render));
                render += 1;
            }
            if driver == "amdgpu" {
                nodes.insert("/dev/kfd".to_owned(), (511, 0));
            }
            for (other, (class, driver)) in &card.beside {
                let driver = driver.as_deref().unwrap_or("-");
                out.push_str(&format!("beside\t{address}\t{other}\t{class}\t{driver}\n"));
            }
            if driver == "nvidia" {
                out.push_str(&format!("smi\t0000{address}\t{}\n", card.memory_mib));
            }
        }
        for (path, (major, minor)) in nodes.iter().filter(|(path, _)| !self.lost.contains(*path)) {
            out.push_str(&format!("node\t{path}\t{major}\t{minor}\n"));
        }
        out.push_str("end\n");
        out
    }
}
