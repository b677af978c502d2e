//! The node's kernel: what is said of it fits together.

use std::collections::BTreeMap;

use super::Context;
use crate::codes;
use crate::model::Kernel;
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::HypervisorSource;

/// A module's name as the kernel has it: to it, `-` and `_` are one.
fn same_as(name: &str) -> String {
    name.replace('-', "_")
}

pub(super) fn kernel(
    entry: &Entry<'_, HypervisorSource>,
    source: &HypervisorSource,
    context: &mut Context<'_, '_>,
) -> Kernel {
    let Some(source) = &source.kernel else { return Kernel::default() };
    let kernel = Kernel {
        pin: source.pin.as_ref().map(|it| it.0.clone()),
        command_line: source.command_line.iter().flatten().map(|it| it.0.clone()).collect(),
        modules: (source.modules.iter().flatten())
            .map(|(name, options)| {
                let options = options.0.iter().map(|(key, value)| (key.clone(), value.0.clone()));
                (name.clone(), options.collect())
            })
            .collect(),
        blacklist: source.blacklist.iter().flatten().map(|it| it.0.clone()).collect(),
    };
    let mut seen: BTreeMap<String, Spot> = BTreeMap::new();
    for name in kernel.modules.keys() {
        let spot = entry.key_spot(&["kernel", "modules", name]);
        if let Some(there) = seen.insert(same_as(name), spot) {
            let message = format!("the module `{name}` is there twice: `-` and `_` are one to the kernel");
            context.push(Draft::error(codes::BAD_VALUE, spot, message).related(there, "the other"));
        }
    }
    for (number, name) in kernel.blacklist.iter().enumerate() {
        if let Some(there) = seen.get(&same_as(name)) {
            let spot = entry.spot(&["kernel", "blacklist", &number.to_string()]);
            let message = format!("`{name}` is to be loaded at every start, and not to be loaded");
            context.push(Draft::error(codes::BAD_VALUE, spot, message).related(*there, "it is to be loaded"));
        }
    }
    kernel
}
