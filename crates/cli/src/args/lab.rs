//! What can be typed after `lab`.

use clap::{Args, Subcommand};

/// Options of `lab`.
#[derive(Debug, Args)]
pub struct Lab {
    /// What to do with the lab
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What can be done with the lab.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start the site's lab, or mend it
    #[command(
        after_help = "Examples:\n  phoenix-cli lab up\n  phoenix-cli lab up --simulated\n  phoenix-cli lab up --nodes 2\n  phoenix-cli lab up --machine       its node is a machine, with disks and ZFS\n  phoenix-cli lab up --api-port 18006 --ssh-port 18022 --https-port 18443"
    )]
    Up(LabUp),
    /// End the lab and remove all it made
    #[command(
        after_help = "Examples:\n  phoenix-cli lab down\n  phoenix-cli lab down --all        what is left of labs that were killed"
    )]
    Down(LabDown),
    /// Show the lab
    #[command(after_help = "Examples:\n  phoenix-cli lab status\n  phoenix-cli lab status --json")]
    Status,
    /// Open a shell on the lab's node, or in one of its guests
    #[command(
        after_help = "Examples:\n  phoenix-cli lab shell            on the node\n  phoenix-cli lab shell 120        in the guest 120"
    )]
    Shell(LabShell),
    /// Cut the power of a lab's machine, or pull one of its disks
    #[command(
        after_help = "Examples:\n  phoenix-cli lab machine cut\n  phoenix-cli lab machine boot\n  phoenix-cli lab machine pull disk2\n  phoenix-cli lab machine replace disk2\n\nIts parts are shown by: phoenix-cli lab status"
    )]
    Machine(LabMachine),
    /// The node's API (started by `up`)
    #[command(hide = true)]
    Serve(LabRaw),
    /// Publishes the lab's ports on 127.0.0.1 (started by `up`)
    #[command(hide = true)]
    Forward(LabRaw),
    /// Proxmox' own commands, on the lab's node
    #[command(hide = true)]
    Node(LabRaw),
}

/// Options of `lab up`.
#[derive(Debug, Args)]
pub struct LabUp {
    /// Records instead of real containers: nothing runs in them
    #[arg(long)]
    pub simulated: bool,
    /// How many nodes it has, up to 3: pve1, pve2 and pve3, one cluster; where absent as the blueprint says, as it is now, or 1
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=i64::from(lab::up::MOST_NODES)))]
    pub nodes: Option<u8>,
    /// Its node is a machine of its own (QEMU), with empty disks, two network links and ZFS, and no container
    #[arg(long, conflicts_with_all = ["simulated", "nodes"])]
    pub machine: bool,
    /// How many empty disks the machine has when it is made; where absent 4
    #[arg(long, value_name = "NUMBER", requires = "machine", value_parser = clap::value_parser!(u8).range(0..=i64::from(lab::up::MachineSpec::MOST_DISKS)))]
    pub disks: Option<u8>,
    /// Where the node's API is published on 127.0.0.1; where absent as the blueprint says, as it is now, or 8006
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Where the node's ssh is published on 127.0.0.1; where absent as the blueprint says, as it is now, or 8022
    #[arg(long, value_name = "PORT")]
    pub ssh_port: Option<u16>,
    /// Where the gateway's HTTPS is published on 127.0.0.1; where absent as the blueprint says, as it is now, or 8443
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<u16>,
}

/// Options of `lab down`.
#[derive(Debug, Args)]
pub struct LabDown {
    /// What is left of labs of this machine that were killed, or whose folder is gone; labs that run are left alone
    #[arg(long)]
    pub all: bool,
}

/// Options of `lab shell`.
#[derive(Debug, Args)]
pub struct LabShell {
    /// The guest's id; the node where absent
    pub guest: Option<u32>,
}

/// Options of `lab machine`.
#[derive(Debug, Args)]
pub struct LabMachine {
    /// What happens to it
    #[command(subcommand)]
    pub command: MachineCommand,
}

/// What can happen to a lab's machine.
#[derive(Debug, Subcommand)]
pub enum MachineCommand {
    /// Cut its power, from one moment to the next
    #[command(after_help = "Examples:\n  phoenix-cli lab machine cut")]
    Cut,
    /// Turn it on, and wait until its node answers
    #[command(after_help = "Examples:\n  phoenix-cli lab machine boot")]
    Boot,
    /// Press its reset button
    #[command(after_help = "Examples:\n  phoenix-cli lab machine reset")]
    Reset,
    /// Throw its system disk away and install it anew; its other disks keep what they hold
    #[command(after_help = "Examples:\n  phoenix-cli lab machine reinstall")]
    Reinstall,
    /// Pull a disk, or the cable of a network link
    #[command(
        after_help = "Examples:\n  phoenix-cli lab machine pull disk2\n  phoenix-cli lab machine pull link1"
    )]
    Pull(MachinePart),
    /// Plug in again what was pulled
    #[command(
        after_help = "Examples:\n  phoenix-cli lab machine insert disk2\n  phoenix-cli lab machine insert link1"
    )]
    Insert(MachinePart),
    /// Put a new, empty disk in the place of one
    #[command(after_help = "Examples:\n  phoenix-cli lab machine replace disk2")]
    Replace(MachinePart),
}

/// A part of a lab's machine.
#[derive(Debug, Args)]
pub struct MachinePart {
    /// The part: disk1, link1 and so on, as `lab status` shows them
    pub part: String,
}

/// Arguments handed on as they are.
#[derive(Debug, Args)]
pub struct LabRaw {
    /// The arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}
