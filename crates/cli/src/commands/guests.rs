//! `exec` and `shell`: into a container.

use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use blueprint::names::GuestName;
use plan::{GuestKind, address};
use site::Connection;
use transport::{Command, Runner as _};

use crate::args::{self, Global};
use crate::commands::plan::typed;
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::{Printer, Stream};

/// A command of a person's may take long; a day is longer than anybody waits.
const PATIENCE: Duration = Duration::from_hours(24);

/// The site's way to its target, and the id of the container a person means. What has its id is the site's own.
pub async fn find(global: &Global, name: &str, printer: Printer) -> Result<(Connection, u32), CommandError> {
    let paper = opening::paper(global, printer)?;
    let desired = &paper.desired;
    let found: Vec<_> =
        desired.guests.values().filter(|c| address::matches(name, &c.resource(), Some(c.id))).collect();
    let [one] = found.as_slice() else {
        let names: Vec<&str> = desired.guests.keys().map(GuestName::as_str).collect();
        return Err(CommandError::usage("guest::unknown", format!("no container is called `{name}`"))
            .hint(format!("there are: {}", names.join(", "))));
    };
    let id = one.id;
    let connection = opening::connect(&paper.loaded.blueprint, global)?;
    if one.kind == GuestKind::Vm {
        connection.ways.is_vm(id);
    }
    match paper.check(&connection, id, &one.resource()).await {
        Ok(None) => {}
        Ok(Some(unknown)) => {
            printer.warn(format!("nobody could say whether {id} is {}: {unknown}", one.resource()));
        }
        Err(error) => {
            connection.close().await;
            return Err(error);
        }
    }
    Ok((connection, id))
}

/// Nothing can be run on the node.
pub fn no_way() -> CommandError {
    CommandError::failed("transport::no-commands", "there is no way to run commands on the node")
        .hint("declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"")
}

/// Runs a command in a container; its exit code becomes ours.
pub async fn exec(global: &Global, options: &args::Exec, printer: Printer) -> Outcome {
    let (connection, id) = find(global, &options.guest, printer).await?;
    if connection.simulated() {
        printer.warn(
            "the lab is simulated: no program runs in it, only a few commands are answered as a guest would",
        );
    }
    let inside = connection.ways.guest(id).map_err(|_| no_way())?;
    let command = Command::new(format!("running a command in {id}"), options.argv.clone()).limit(PATIENCE);
    let json = printer.json;
    let command = if json { command } else { command.streamed() };
    let mut line = |text: &str| {
        if !json {
            printer.passed_on(&format!("{text}\n"), Stream::Data);
        }
    };
    let result = inside.run_lines(&command, &mut line).await;
    connection.close().await;
    let output = result.map_err(|e| CommandError::from_error("transport::failed", &e))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if json {
        printer.data_json(&serde_json::json!({
            "id": id, "exit": output.status, "stdout": output.text(), "stderr": errors,
        }));
    } else {
        printer.passed_on(&errors, Stream::Errors);
    }
    Ok(u8::try_from(output.status).unwrap_or(1))
}

/// Opens a shell: this process becomes it.
pub async fn shell(global: &Global, options: &args::Shell, printer: Printer) -> Outcome {
    let (connection, inside) = match &options.guest {
        Some(name) => {
            let (connection, id) = find(global, name, printer).await?;
            (connection, Some(id))
        }
        None => (opening::connect(&opening::load(global, printer)?.blueprint, global)?, None),
    };
    if connection.simulated() {
        return Err(CommandError::failed(
            "lab::simulated",
            "the lab is simulated: nothing runs in it, so there is no shell",
        )
        .hint(format!("{} lab down, then lab up as root on Debian for real containers", typed(global))));
    }
    let mut line = None;
    if let Some(id) = inside {
        let attach = if connection.ways.knows_vm(id) {
            format!("qm terminal {id}")
        } else {
            format!(
                "lxc-attach -n {id} --clear-env --set-var TERM=\"$TERM\" --set-var HOME=/root -- /bin/bash -l"
            )
        };
        // Where nobody can be asked on which node the guest is, it may be on this one.
        line = Some(connection.ways.terminal(id, &attach).await.unwrap_or(attach));
    }
    let login = match inside.filter(|id| connection.ways.knows_vm(*id)).and_then(|id| connection.login_in(id))
    {
        Some(login) => Some(login.map_err(CommandError::from)),
        None => connection
            .login(line.as_deref())
            .map(|login| login.map_err(|e| CommandError::from_error("transport::failed", &e))),
    };
    connection.hand_over().await;
    let argv = login.ok_or_else(no_way)??;
    let error = std::process::Command::new(&argv[0]).args(&argv[1..]).exec();
    Err(CommandError::from_error("transport::ssh", &error).hint("is OpenSSH's client installed?"))
}
