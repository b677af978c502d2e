//! Commands, run for real: one binary, which links once. What runs an sshd is in [`programs`], so that it can be left out by
//! that name.

mod local;
/// Real programs beside the shell.
mod programs {
    mod ssh;
}
