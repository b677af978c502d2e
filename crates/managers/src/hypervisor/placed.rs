//! Which certificate was put on the node for its API, as the node tells it.

use std::time::Duration;

use plan::desired::HYPERVISOR;
use plan::wire::CERTIFICATES;
use proxmox::http::Fingerprint;
use transport::{Command, Output};

/// Reading a file takes no time; a node that is slow to answer gets the time of a connection.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks the node for it: a file that root alone can write, and that is there before the API shows what it holds.
pub fn placed() -> Command {
    let file = format!("{CERTIFICATES}/{HYPERVISOR}/fullchain.pem");
    Command::new("asking the node which certificate was put there for it", ["cat", &file]).limit(LIMIT)
}

/// What it answered. `None`: there is none.
pub fn read_placed(output: &Output) -> Option<Fingerprint> {
    if output.success() { Fingerprint::of_pem(&output.text()) } else { None }
}
