//! Starting, stopping, rebooting, destroying.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::error::{ApiError, Outcome};
use super::guest_change::{apply, check_lock, check_protection, missing_bridge};
use super::guest_create::warn_of_nesting;
use super::router::Call;
use super::storage::{Mount, Source};
use crate::runtime::{TaskError, TaskLog};

/// How long a shutdown waits where it is not told (API: `timeout`, default 60).
const SHUTDOWN_WAIT: u64 = 60;

async fn runs(node: &Inner, id: u32) -> bool {
    node.runtime.running().await.contains(&id)
}

pub(crate) async fn start(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    if call.get("skiplock") == Some("1") && !call.auth.is_root() {
        return Err(ApiError::parameter("skiplock", "Only root may use this option."));
    }
    let skip = call.flag("skiplock");
    if runs(&node, id).await {
        return Err(ApiError::die(format!("CT {id} already running")));
    }
    Ok(call.task("vzstart", id, move |log| async move {
        let checked = || {
            let stored = node.guest(id)?;
            if stored.conf.flag("template") {
                return Err("you can't start a CT if it's a template".to_owned());
            }
            if skip { Ok(()) } else { check_lock(&stored.conf) }
        };
        checked().map_err(TaskError)?;
        bring_up(&node, id, &log).await.map_err(TaskError)
    }))
}

/// Applies what waits for a start, checks the network, and starts. The guest is not locked by anything else.
pub(crate) async fn bring_up(node: &Arc<Inner>, id: u32, log: &TaskLog) -> Result<(), String> {
    let _held = node.flock(id).await?;
    let stored = node.guest(id)?;
    if runs(node, id).await {
        return Err(format!("CT {id} already running"));
    }
    if stored.conf.has_pending() {
        apply(node, id, &stored.conf, stored.conf.clone(), false, log).await.map_err(|failed| failed.text)?;
    }
    let conf = &node.guest(id)?.conf;
    if let Some(text) = missing_bridge(node, conf.current.options.iter()) {
        return Err(text);
    }
    // What was written down as the root, and is no volume.
    let root = conf.get("rootfs").and_then(|value| Mount::parse("rootfs", value));
    if let Some(root) = root.filter(|root| matches!(root.source(), Source::New(..))) {
        let name = root.volume.split_once(':').map_or("", |(_, name)| name);
        return Err(format!("unable to parse directory volume name '{name}'"));
    }
    warn_of_nesting(node, id, conf, log);
    node.runtime.start(id, &conf.current.options, log).await.map_err(|error| error.0)
}

pub(crate) async fn stop(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    if !runs(&node, id).await {
        return Err(ApiError::die(format!("CT {id} not running")));
    }
    Ok(call.task("vzstop", id, move |log| async move {
        let _held = node.flock(id).await.map_err(TaskError)?;
        check_lock(&node.guest(id).map_err(TaskError)?.conf).map_err(TaskError)?;
        node.runtime.stop(id, &log).await
    }))
}

pub(crate) async fn shutdown(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    if !runs(&node, id).await {
        return Err(ApiError::die(format!("CT {id} not running")));
    }
    let limit = Duration::from_secs(call.number("timeout").unwrap_or(SHUTDOWN_WAIT));
    let force = call.flag("forceStop");
    Ok(call.task("vzshutdown", id, move |log| async move {
        let _held = node.flock(id).await.map_err(TaskError)?;
        check_lock(&node.guest(id).map_err(TaskError)?.conf).map_err(TaskError)?;
        match node.runtime.shutdown(id, limit, &log).await {
            Err(_) if force => node.runtime.stop(id, &log).await,
            other => other,
        }
    }))
}

pub(crate) async fn reboot(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    if !runs(&node, id).await {
        // "VM" it says, of a container too.
        return Err(ApiError::die(format!("VM {id} not running")));
    }
    let limit = Duration::from_secs(call.number("timeout").unwrap_or(SHUTDOWN_WAIT));
    Ok(call.task("vzreboot", id, move |log| async move {
        {
            let _held = node.flock(id).await.map_err(TaskError)?;
            check_lock(&node.guest(id).map_err(TaskError)?.conf).map_err(TaskError)?;
            node.runtime.shutdown(id, limit, &log).await?;
        }
        bring_up(&node, id, &log).await.map_err(TaskError)
    }))
}

pub(crate) async fn destroy(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let (force, purge) = (call.flag("force"), call.flag("purge"));
    let early = move |node: &Inner| {
        let stored = node.guest(id)?;
        check_protection(&stored.conf, &format!("can't remove CT {id}"))?;
        match stored.conf.get("lock") {
            // A removal that was cut off is taken up again.
            Some("destroyed") => Ok(stored),
            _ => check_lock(&stored.conf).map(|()| stored),
        }
    };
    early(&node).map_err(ApiError::die)?;
    let running = format!("unable to destroy CT {id} - container is running");
    if !force && runs(&node, id).await {
        return Err(ApiError::die(running));
    }
    Ok(call.task("vzdestroy", id, move |log| async move {
        let _held = node.flock(id).await.map_err(TaskError)?;
        let stored = early(&node).map_err(TaskError)?;
        if runs(&node, id).await {
            if !force {
                return Err(TaskError(running));
            }
            log.line(format!("forced to stop CT {id} before destroying!"));
            node.runtime.stop(id, &log).await?;
        }
        let mut conf = stored.conf.clone();
        conf.current.options.insert("lock".to_owned(), "destroyed".to_owned());
        node.write_guest(id, &conf).map_err(TaskError)?;
        node.runtime.destroy(id, &stored.conf.current.options, &log).await?;
        node.change(|keep| {
            keep.volumes.retain(|_, volume| volume.guest != id);
            keep.leave_pools(id);
            keep.access.rules.remove(&format!("/vms/{id}"));
            keep.made_from.remove(&id);
        });
        if purge {
            log.line(format!("purging CT {id} from related configurations.."));
        }
        node.state().etc.remove(id).map_err(|error| TaskError(error.to_string()))
    }))
}
