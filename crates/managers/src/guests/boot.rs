//! The order of starts, as far as it can be mirrored into Proxmox VE.

use plan::GuestKind;
use plan::desired::Guest as Wanted;
use plan::planner::{Proposal, World};

use crate::keys::Row;

/// Whether a key is left as the node has it: the place of a virtual machine that nobody has declared, where there is no way to
/// root's commands. A token would need Sys.Modify on / for it, and the site works without.
pub(super) fn is_left(world: World<'_>, wanted: &Wanted, row: &Row<Wanted>) -> bool {
    row.name == "startup" && leaves(world, wanted)
}

fn leaves(world: World<'_>, wanted: &Wanted) -> bool {
    wanted.kind == GuestKind::Vm && wanted.spec.startup.is_none() && !world.inventory.commands
}

/// Says once that there are such.
pub(super) fn note(world: World<'_>, proposal: &mut Proposal) {
    if world.desired.guests.values().any(|wanted| leaves(world, wanted)) {
        proposal.note(
            "the order in which virtual machines start with the node is left as it is: setting it takes root on the node, by ssh",
        );
    }
}
