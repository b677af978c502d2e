//! Virtual machines: the node's API about them. What is the same of guests of either kind is in [`super::guests`] and the
//! files about containers, which are used here.

mod agent;
mod apply;
mod change;
mod clone;
mod cloudinit;
mod create;
mod disks;
mod drive;
pub(super) mod formats;
mod options;
mod power;
mod read;
mod storage;
mod volumes;

pub(super) use disks::volume;
pub(crate) use read::{Net, nets};
pub(super) use storage::{contents, remove};

use proxmox::exchange::Method;

use super::error::{ApiError, Outcome};
use super::router::Call;

/// Whether a path is about virtual machines.
pub(super) fn is_path(path: &str) -> bool {
    path.strip_prefix("/nodes/{node}/qemu").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) async fn handle(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    use Method::{Delete, Get, Post, Put};
    let rest = path.strip_prefix("/nodes/{node}/qemu").unwrap_or_default();
    match (method, rest.strip_prefix("/{vmid}").unwrap_or(rest)) {
        (Get, "") => read::list(call).await,
        (Post, "") => create::create(call).await,
        (Delete, "") => power::destroy(call).await,
        (Get, "/config") => read::config(call),
        (Put, "/config") => change::update(call, false).await,
        (Post, "/config") => change::update(call, true).await,
        (Get, "/pending") => read::pending(call),
        (Get, "/feature") => read::feature(call),
        (Get, "/cloudinit") => read::cloudinit(call),
        (Put, "/cloudinit") => cloudinit::regenerate(call).await,
        (Get, "/cloudinit/dump") => cloudinit::dump(call),
        (Post, "/clone") => clone::clone(call).await,
        (Post, "/template") => clone::template(call).await,
        (Put, "/resize") => volumes::resize(call).await,
        (Post, "/move_disk") => volumes::move_disk(call).await,
        (Put, "/unlink") => change::unlink(call).await,
        (Get, "/status/current") => read::status(call).await,
        (Post, "/status/start") => power::start(call).await,
        (Post, "/status/stop") => power::stop(call).await,
        (Post, "/status/shutdown") => power::shutdown(call).await,
        (Post, "/status/reboot") => power::reboot(call).await,
        (Post, "/status/reset") => power::switch(call, crate::runtime::Power::Reset).await,
        (Post, "/status/suspend") => power::switch(call, crate::runtime::Power::Suspend).await,
        (Post, "/status/resume") => power::switch(call, crate::runtime::Power::Resume).await,
        (_, rest) => match rest.strip_prefix("/agent/") {
            Some(command) => agent::handle(call, command).await,
            None => Err(ApiError::not_implemented(method, path)),
        },
    }
}

#[cfg(test)]
mod tests;
