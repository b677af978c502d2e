//! The node's kernel, as a blueprint declares it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The feature of the node that has its kernel be as it is declared.
pub const KERNEL: &str = "kernel";

/// The node's kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// The version that starts; the newest where absent.
    pub pin: Option<String>,
    /// Words of its command line, beside those that are there.
    pub command_line: Vec<String>,
    /// Modules that are loaded at every start, with their options.
    pub modules: BTreeMap<String, BTreeMap<String, String>>,
    /// Modules that are not loaded by themselves.
    pub blacklist: Vec<String>,
}

impl Kernel {
    /// Whether nothing is said of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The parameters of [`KERNEL`] that say the same.
    pub fn parameters(&self) -> BTreeMap<String, Value> {
        let pin = self.pin.clone().unwrap_or_default();
        let all = [
            ("pin", pin.into()),
            ("command-line", self.command_line.clone().into()),
            ("modules", json!(self.modules)),
            ("blacklist", self.blacklist.clone().into()),
        ];
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
