//! The codes of restarts of the node, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "reboot::away",
        "the node was restarted, and does not come back",
        "It was told to restart, which was agreed to, and nothing on it has answered for twenty minutes. What ran is written down on it, so \
         nothing is lost that its disks have.",
        "Look at its console: the boot menu has the kernel before this one, and `proxmox-boot-tool kernel unpin` takes back a pin. Once it is \
         up, `phoenix-cli apply` starts what ran and goes on.",
    ),
    code(
        "reboot::refused",
        "the node refuses a step of its restart",
        "A command of the restart failed on the node; what it said stands below.",
        "Mend that, and apply again. What was stopped for it is started again by any `phoenix-cli apply`.",
    ),
    code(
        "reboot::stays",
        "the node was told to restart, and does not",
        "It answers, and is in the same start still: something on it keeps it from going down.",
        "What it waits for, on the node: `systemctl list-jobs`; and look at its console.",
    ),
    code(
        "reboot::taken",
        "another run began while the node restarted",
        "The site's lock is held by processes on the node, which ended with it. Before this run could take it again, another one did.",
        "Let that one end: it starts the guests that ran. `phoenix-cli apply` does the rest.",
    ),
    code(
        "reboot::unlocked",
        "the site's lock cannot be taken again after the restart",
        "Without it two runs could be at work at once, so this one goes no further.",
        "`phoenix-cli doctor` tries every hop; then `phoenix-cli apply` goes on.",
    ),
    code(
        "reboot::unseen",
        "the node could not say what waits for its restart",
        "The node is asked right before it is restarted, and what it said was not whole.",
        "`phoenix-cli doctor` tries every hop; then apply again.",
    ),
];
