//! The node's kernel.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{KernelVersion, KernelWord, ModuleName, ModuleValue};

/// The schema of a module's name.
fn module_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "x-parse": "module" })
}

/// The schema of the name of a module's option.
fn option_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$", "x-parse": "module-option" })
}

/// The node's kernel: which one starts, with what on its command line, and which modules. What counts only from the node's next
/// start waits for that; nothing restarts the node without consent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelSource {
    /// The kernel that starts, whichever newer ones are installed. It has to be installed. Where absent, the newest.
    pub pin: Option<KernelVersion>,
    /// Words on its command line, beside those that are there: these alone are taken away again when they are no longer wanted.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["iommu=pt"]])))]
    pub command_line: Option<Vec<KernelWord>>,
    /// Modules that are loaded at every start, by name, with their options; at once where they are not loaded yet.
    #[schemars(extend("propertyNames" = module_name(), "examples" = serde_json::json!([{"nct6775": {"force_id": "0xd420"}, "vhci-hcd": {}}])))]
    pub modules: Option<BTreeMap<String, ModuleOptions>>,
    /// Modules that are not loaded by themselves for the devices that they drive.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["nouveau"]])))]
    pub blacklist: Option<Vec<ModuleName>>,
}

/// The options of a module, by name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ModuleOptions(
    #[schemars(extend("propertyNames" = option_name()))] pub BTreeMap<String, ModuleValue>,
);
