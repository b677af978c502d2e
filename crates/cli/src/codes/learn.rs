//! The codes of the learning centre, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "learn::elsewhere",
        "the exercise is begun in another folder",
        "An exercise is done in one folder at a time, since it has one lab.",
        "Go on there, or end it: `phoenix-cli learn stop NAME --remove`.",
    ),
    code(
        "learn::folder",
        "the folder has other things in it",
        "An exercise is made in a folder of its own, so that nothing of yours is written over, and nothing of yours is removed with it.",
        "Choose another folder: `phoenix-cli learn start NAME --dir DIR`.",
    ),
    code(
        "learn::needs-containers",
        "the exercise needs real containers",
        "What it is about happens inside guests, and in a simulated lab nothing runs in them. Nothing was made.",
        "Be root on Debian, with LXC: the message says what is missing. `phoenix-cli learn` shows which exercises do without.",
    ),
    code(
        "learn::no-question",
        "the exercise asks nothing",
        "An answer was given to an exercise that has no question.",
        "`phoenix-cli learn check` without `--answer`.",
    ),
    code(
        "learn::not-begun",
        "no exercise is begun",
        "`check`, `hint` and `stop` are about an exercise that was begun: the one that is named, that of the current folder, or the \
         last one.",
        "`phoenix-cli learn` lists the exercises; `phoenix-cli learn start NAME` begins one.",
    ),
    code(
        "learn::not-ready",
        "the exercise was not begun to the end",
        "What comes before the task was cut off: its folder or lab is not yet what the task tells of.",
        "The same command goes on: `phoenix-cli learn start NAME`.",
    ),
    code(
        "learn::record",
        "what is remembered of exercises cannot be written",
        "Where you are is kept in `.phoenix/learn.json` of the exercise's folder, and in `phoenix/learn.json` below `$XDG_STATE_HOME`, or \
         `~/.local/state`.",
        "The cause names the file and what is wrong with it.",
    ),
    code(
        "learn::step",
        "what comes before the task failed",
        "A command that sets the scene failed on the lab's node.",
        "Begin again: `phoenix-cli learn stop NAME --remove`, then `phoenix-cli learn start NAME`.",
    ),
    code(
        "learn::unknown",
        "there is no such exercise",
        "The name is none of those that `phoenix-cli learn` lists.",
        "Take a name from `phoenix-cli learn`.",
    ),
    code(
        "learn::unreadable",
        "the exercises cannot be read",
        "The exercises are a part of Phoenix; this is a defect of it.",
        "Report it, with the message.",
    ),
];
