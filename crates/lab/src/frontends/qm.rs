//! `qm`: virtual machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::client::{Api, CallOutcome, Failure, Parameters};
use super::pct::{by_id, config, pending, refused, shown};
use super::{Done, options};

/// How long `qm guest exec` waits where it is not told (its `--timeout`, in seconds).
const EXEC: u64 = 30;

/// Runs `qm` with its arguments.
pub(crate) async fn run(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    // What is to be run in a machine is no option of qm's.
    let own = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
    let (mut words, mut options) = options::split(&arguments[..own]);
    let behind = arguments.get(own + 1..).unwrap_or_default();
    // `qm disk resize` is `qm resize` by its newer name; so are move and unlink.
    if matches!(words.as_slice(), ["disk", ..] | ["guest" | "cloudinit", _, _, ..]) {
        words.remove(0);
    }
    let none = Parameters::new();
    let (command, id) = match words.as_slice() {
        [] => return Ok(Done::failed(255, "ERROR: no command specified\nqm <COMMAND> [ARGS] [OPTIONS]\n")),
        ["list", ..] => return list(api).await,
        [command, id, ..] => (*command, *id),
        [command] => {
            return Ok(Done::failed(
                255,
                format!("400 not enough arguments\nqm {command} <vmid> [OPTIONS]\n"),
            ));
        }
    };
    let Ok(id) = id.parse::<u32>() else {
        let text = format!(
            "400 Parameter verification failed.\nvmid: type check ('integer') failed - got '{id}'\n\nqm {command} <vmid> \
             [OPTIONS]\n"
        );
        return Ok(Done::failed(255, text));
    };
    let machine = api.path(&format!("/qemu/{id}"));
    let usage = format!("qm {command} <vmid> [OPTIONS]");
    let rest = words.get(2..).unwrap_or_default();
    let mut put = |key: &str, at: usize| match rest.get(at) {
        Some(value) => {
            options.insert(key.to_owned(), (*value).to_owned());
            true
        }
        None => false,
    };
    let (method, path) = match command {
        "config" => return config(api, &machine, &options).await,
        "pending" => return pending(api, &machine).await,
        "status" => {
            let now = api.call("GET", &format!("{machine}/status/current"), &none).await?;
            return Ok(Done::text(format!("status: {}\n", shown(&now["status"]))));
        }
        "exec" => return exec(api, &machine, if behind.is_empty() { rest } else { behind }, &options).await,
        "agent" | "cmd" => {
            let what = rest.first().copied().unwrap_or_default();
            let changes = matches!(what, "ping" | "fstrim" | "shutdown");
            let method = if changes { "POST" } else { "GET" };
            let said = api.call(method, &format!("{machine}/agent/{what}"), &none).await?;
            let result = &said["result"];
            let silent = result.as_object().is_some_and(serde_json::Map::is_empty);
            return Ok(Done::text(if silent { String::new() } else { pretty(result) }));
        }
        "dump" => {
            put("type", 0);
            let text = api.call("GET", &format!("{machine}/cloudinit/dump"), &options).await?;
            return Ok(Done::text(shown(&text)));
        }
        "unlock" => {
            let parameters =
                [("delete", "lock"), ("skiplock", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            ("PUT", {
                options.extend(parameters);
                format!("{machine}/config")
            })
        }
        "update" => ("PUT", format!("{machine}/cloudinit")),
        "start" | "stop" | "shutdown" | "reboot" | "reset" | "suspend" | "resume" => {
            ("POST", format!("{machine}/status/{command}"))
        }
        "destroy" => ("DELETE", machine),
        "template" => ("POST", format!("{machine}/template")),
        "set" => ("PUT", format!("{machine}/config")),
        "create" => {
            options.insert("vmid".to_owned(), id.to_string());
            ("POST", api.path("/qemu"))
        }
        "clone" if put("newid", 0) => ("POST", format!("{machine}/clone")),
        "move" | "move-disk" | "move_disk" if put("disk", 0) => {
            put("storage", 1);
            ("POST", format!("{machine}/move_disk"))
        }
        "unlink" => ("PUT", format!("{machine}/unlink")),
        "resize" if put("disk", 0) && put("size", 1) => ("PUT", format!("{machine}/resize")),
        "clone" | "move" | "move-disk" | "move_disk" | "resize" => {
            return Ok(Done::failed(255, format!("400 not enough arguments\n{usage}\n")));
        }
        _ => {
            let text = format!("ERROR: unknown command 'qm {command}'\nqm <COMMAND> [ARGS] [OPTIONS]\n");
            return Ok(Done::failed(255, text));
        }
    };
    let done = api.call_and_wait(method, &path, &options).await;
    // A disk that cannot be made smaller is said so, and that is all (recorded: "qm resize running: shrink").
    if let (Err(Failure::Task(text)), "resize") = (&done, command) {
        return Ok(Done { err: format!("{text}\n"), ..Done::default() });
    }
    Ok(done.map_or_else(|failure| refused(failure, &usage), CallOutcome::into_done))
}

async fn list(api: &Api) -> Result<Done, Failure> {
    let rows = by_id(api, "/qemu").await?;
    let mut out = String::new();
    if !rows.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:>10} {:<20} {:<10} {:<10} {:>12} {:<10}",
            "VMID", "NAME", "STATUS", "MEM(MB)", "BOOTDISK(GB)", "PID"
        );
    }
    for (id, guest) in rows {
        let number = |key: &str| guest[key].as_f64().unwrap_or_default();
        let _ = writeln!(
            out,
            "{id:>10} {:<20} {:<10} {:<10} {:>12.2} {:<10}",
            shown(&guest["name"]),
            shown(&guest["status"]),
            number("maxmem") / f64::from(1 << 20),
            number("maxdisk") / f64::from(1 << 30),
            number("pid"),
        );
    }
    Ok(Done::text(out))
}

/// As the real one prints what the agent says: three blanks, and one around the colon.
fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let depth = line.len() - line.trim_start().len();
        let line = line.trim_start().replacen("\": ", "\" : ", 1);
        format!("{}{line}\n", " ".repeat(depth / 2 * 3))
    });
    lines.collect()
}

/// `qm guest exec ID -- program …`: it exits with 0 whatever the program does (recorded).
async fn exec(api: &Api, machine: &str, argv: &[&str], options: &Parameters) -> Result<Done, Failure> {
    let mut asked = Parameters::from([("command".to_owned(), argv.join("\0"))]);
    if options.get("pass-stdin").is_some_and(|flag| flag == "1") {
        let mut text = String::new();
        // What cannot be read is not passed on.
        let _ = std::io::Read::read_to_string(&mut std::io::stdin(), &mut text);
        asked.insert("input-data".to_owned(), text);
    }
    let started = api.call("POST", &format!("{machine}/agent/exec"), &asked).await?;
    let pid = shown(&started["pid"]);
    if options.get("synchronous").is_some_and(|flag| flag == "0") {
        return Ok(Done::text(pretty(&started)));
    }
    let seconds = options.get("timeout").and_then(|text| text.parse().ok()).unwrap_or(EXEC);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let question = Parameters::from([("pid".to_owned(), pid)]);
    loop {
        let now = api.call("GET", &format!("{machine}/agent/exec-status"), &question).await?;
        if shown(&now["exited"]) == "1" || tokio::time::Instant::now() >= end {
            return Ok(Done::text(pretty(&now)));
        }
        // The agent has no call that waits for a program.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_did_is_printed_as_recorded() {
        let said = serde_json::json!({"exitcode": 5, "exited": 1, "out-data": "hi\n", "out-truncated": 0});
        assert_eq!(
            pretty(&said),
            "{\n   \"exitcode\" : 5,\n   \"exited\" : 1,\n   \"out-data\" : \"hi\\n\",\n   \"out-truncated\" : 0\n}\n"
        );
    }
}
