//! The codes of the lab, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "lab::failed",
        "the lab cannot be started, shown or removed",
        "A program, port or permission the lab needs is not there. A port that is taken is named, with the process that has \
         it.",
        "Follow the hint. For ports: `phoenix-cli lab up --api-port 18006 --ssh-port 18022 --https-port 18443`. To start \
         afresh: `phoenix-cli lab down`, then `phoenix-cli lab up`.",
    ),
    code(
        "lab::fingerprint",
        "the lab's record is damaged",
        "`node.json` in the lab's folder does not hold a fingerprint.",
        "Start afresh: `phoenix-cli lab down`, then `phoenix-cli lab up`.",
    ),
    code(
        "lab::no-vlan",
        "no VLANs in the lab",
        "A network of the site has a `vlan`; the lab's bridge has none.",
        "Take `vlan` out for the lab.",
    ),
    code(
        "lab::not-running",
        "the lab does not run",
        "The site's target is its lab, and none was started for this folder, or it was removed.",
        "Start it: `phoenix-cli lab up`.",
    ),
    code(
        "lab::shell",
        "the lab's shell cannot be opened",
        "The program that enters the lab's node could not be started.",
        "`phoenix-cli lab status` shows whether the lab runs. Real labs need root.",
    ),
    code(
        "lab::simulated",
        "nothing runs in a simulated lab",
        "In the simulated runtime, guests are records. There is no shell, and no command to run.",
        "As root on Debian: `phoenix-cli lab down`, then `phoenix-cli lab up`, for real containers.",
    ),
    code(
        "lab::token",
        "the lab's token cannot be read",
        "The file with the lab's API token is only readable for the user that started the lab.",
        "Use the same user, or start the lab again.",
    ),
];
