//! The codes of graphics cards, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "gpu::driver-version",
        "the node has another version of NVIDIA's driver loaded",
        "NVIDIA's driver on the node and its libraries in the guests have to be of one version, to the last number. `driver` says \
         which, and the node has another one loaded; after an update it is the new one only from the node's next start.",
        "Start the node anew where the new one is installed; have Phoenix install it, with the `sha256` of its installer at `driver`; or say \
         the version that is loaded.",
    ),
    code(
        "gpu::elsewhere",
        "a guest is on another node than its cards",
        "`hypervisor` is about the node that ssh leads to, and so are its cards. A guest on another node cannot have them.",
        "Place the guest on that node with `node`, or move it there.",
    ),
    code(
        "gpu::held",
        "a card that is to be passed through has a driver of the node",
        "A virtual machine gets the card from `vfio-pci`. While the node's own driver has it, taking it away can hang the node, so \
         nothing is begun.",
        "Where a plan says that the node waits for a restart: `phoenix-cli apply --restart-node`. Otherwise the node has been started with the \
         feature `vfio@node`, and its driver was quicker: what loads it so early, `dmesg` on the node says.",
    ),
    code(
        "gpu::iommu-group",
        "other devices are in the card's IOMMU group",
        "What is in one group is passed through together, since its members can reach each other's memory. The node would lose the other \
         devices, a disk controller perhaps.",
        "Plug the card into another slot, or look for ACS in the BIOS.",
    ),
    code(
        "gpu::iommu-off",
        "the node's IOMMU is off",
        "Without an IOMMU a device could read and write all of the node's memory, so none can be passed through.",
        "Switch on VT-d or AMD's IOMMU in the BIOS, and start the node anew. What Intel's takes on the kernel's command line (`intel_iommu=on`) comes by itself, with `vfio@node`.",
    ),
    code(
        "gpu::mapping-in-use",
        "a guest still has the card by its mapping",
        "The mapping is not wanted any more, and a machine that stays names it: it would not start again without.",
        "Take the device away from that machine, or declare the card again.",
    ),
    code(
        "gpu::mapping-taken",
        "a resource mapping of that name is not the site's",
        "The card's mapping has a name of the site's, and there is one already that leads elsewhere and that this site did not make.",
        "Datacenter → Resource Mappings: remove it where nothing uses it, or give the card another name.",
    ),
    code(
        "gpu::memory",
        "a card has less memory than is said or taken",
        "What the guests say that their models take of a card is added up, and held against what the card itself says that it has.",
        "Correct `memory` of the card; take smaller models; or let one of the guests be off.",
    ),
    code(
        "gpu::missing",
        "there is no graphics card at that address",
        "The node has no graphics card there. Addresses on the PCI bus change where cards or fast disks are plugged in or out, and with \
         settings of the BIOS.",
        "On the node: `lspci -D` says what there is; correct `pci`.",
    ),
    code(
        "gpu::no-driver",
        "the node has no driver for a card that is shared",
        "Containers use a card through the node's driver: NVIDIA's own (not `nouveau`), `amdgpu`, `i915` or `xe`. Another one has it, or \
         none.",
        "Of NVIDIA's, `driver` of the card with `version` and `sha256` has Phoenix install it. Others are in the kernel: which of its messages \
         are about the card, `dmesg` on the node says.",
    ),
    code(
        "gpu::no-nodes",
        "a card's device files are not there",
        "The driver has the card, and the files in `/dev` that containers are given are missing. NVIDIA's driver makes them when somebody \
         first asks for them. A container that is given one that is not there does not start.",
        "The feature `gpu-nodes@node` makes them, now and at every start of the node. Where it is there: `systemctl status \
         phoenix-gpu-nodes` on the node.",
    ),
    code(
        "gpu::unseen",
        "nothing is known of the node's graphics cards",
        "The look at the cards, or the list of resource mappings, could not be had, so nothing is concluded from it.",
        "`phoenix-cli doctor` tries every hop; a token needs `Mapping.Modify` on `/mapping/pci` (`doctor --print-role`).",
    ),
];
