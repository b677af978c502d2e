//! The names of cards that are declared by their MAC: a file of systemd's keeps them, so that what the network's file says stays
//! true when a new kernel would call a card otherwise. It takes effect when the node starts.

use std::time::Duration;

use apply::Failure;
use proxmox::network::pin;
use transport::Command;

use crate::settle;
use crate::worksite::HostRunner;

/// What the command is called: a node that is only simulated knows it by that.
const PURPOSE: &str = "keeping the names of cards";

/// The first pictures of the system that a node starts from have these files, too: a minute on a slow disk.
const LIMIT: Duration = Duration::from_mins(5);

const SCRIPT: &str = include_str!("pins.sh");

/// Keeps the names of these cards, and no longer those of the cards with these MACs.
pub(super) async fn keep(
    host: &HostRunner,
    keep: &[(String, String)],
    gone: &[String],
) -> Result<(), Failure> {
    if keep.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut argv: Vec<String> = ["sh", "-c", SCRIPT, "pins"].map(str::to_owned).into();
    argv.extend(keep.iter().flat_map(|(mac, name)| [pin::path(mac), pin::text(mac, name)]));
    argv.extend(gone.iter().flat_map(|mac| [pin::path(mac), String::new()]));
    let output = settle::command(&*host.runner, &Command::new(PURPOSE, argv).limit(LIMIT)).await?;
    if output.success() {
        return Ok(());
    }
    Err(Failure::new(
        "network::not-pinned",
        "the network is in force, and the names of its cards could not be kept",
    )
    .with_output(output.tail(3))
    .hint("phoenix-cli apply tries again"))
}
