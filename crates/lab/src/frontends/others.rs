//! `pvesh`, `pvesm`, `pveum`, `pveversion`, and what starts the guests with the node.

use std::fmt::Write as _;
use std::time::Duration;

use proxmox::exchange::Method;
use serde_json::Value;

use super::Done;
use super::client::{Api, Failure, Parameters, encode};
use super::options::{Format, format, split};
use super::pct::shown;

/// `pvesh`: any call of the API.
pub(crate) async fn pvesh(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    let (words, mut parameters) = split(arguments);
    let format = format(&mut parameters);
    let (command, path) = match words.as_slice() {
        [command, path] => (*command, *path),
        _ => return Ok(Done::failed(255, "ERROR: no command specified\npvesh <COMMAND> [ARGS] [OPTIONS]\n")),
    };
    let method = match command {
        "get" | "ls" => "GET",
        "create" => "POST",
        "set" => "PUT",
        "delete" => "DELETE",
        _ => {
            let text =
                format!("ERROR: unknown command 'pvesh {command}'\npvesh <COMMAND> [ARGS] [OPTIONS]\n");
            return Ok(Done::failed(255, text));
        }
    };
    let path = path.replace("/nodes/localhost", &api.path(""));
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    match api.call_and_wait(method, path.trim_end_matches('/'), &parameters).await {
        Ok(outcome) => Ok(Done::text(print(&outcome.data, format))),
        Err(failure) => {
            let usage = format!("\npvesh {command} <api_path> [OPTIONS] [FORMAT_OPTIONS]");
            Ok(failure.with_usage(&usage))
        }
    }
}

/// JSON in one line or many. Where the real one draws a table for people, this prints readable JSON.
pub(super) fn print(data: &Value, format: Format) -> String {
    match (data, format) {
        (Value::Null, _) => String::new(),
        (Value::String(text), Format::Text) => format!("{text}\n"),
        (data, Format::Json) => format!("{data}\n"),
        (data, _) => serde_json::to_string_pretty(data).map(|text| text + "\n").unwrap_or_default(),
    }
}

/// `pvesm status`, `pvesm list STORAGE`.
pub(crate) async fn pvesm(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    let (words, options) = split(arguments);
    match words.as_slice() {
        ["status"] => {
            let storages = api.call("GET", &api.path("/storage"), &options).await?;
            Ok(Done::text(storage_table(storages.as_array().map(Vec::as_slice).unwrap_or_default())))
        }
        ["list", storage] => {
            let volumes =
                api.call("GET", &api.path(&format!("/storage/{storage}/content")), &options).await?;
            Ok(Done::text(volume_table(volumes.as_array().map(Vec::as_slice).unwrap_or_default())))
        }
        ["path", volume] => {
            let path = crate::containers::path_of(volume).map_err(Failure::Task)?;
            Ok(Done::text(format!("{path}\n")))
        }
        _ => Ok(Done::failed(255, "ERROR: no command specified\npvesm <COMMAND> [ARGS] [OPTIONS]\n")),
    }
}

fn storage_table(storages: &[Value]) -> String {
    let mut storages: Vec<&Value> = storages.iter().collect();
    storages.sort_by_key(|s| shown(&s["storage"]));
    let width = 1 + storages.iter().map(|s| shown(&s["storage"]).len()).max().unwrap_or_default();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<width$} {:>10} {:>10} {:>15} {:>15} {:>15} {:>8}",
        "Name", "Type", "Status", "Total (KiB)", "Used (KiB)", "Available (KiB)", "%"
    );
    for storage in storages {
        let number = |key: &str| storage[key].as_f64().unwrap_or_default();
        let kib = |key: &str| (number(key) / 1024.0).trunc();
        let active = shown(&storage["active"]) == "1";
        let share = if number("total") > 0.0 { number("used") / number("total") * 100.0 } else { 0.0 };
        let _ = writeln!(
            out,
            "{:<width$} {:>10} {:>10} {:>15} {:>15} {:>15} {share:>7.2}%",
            shown(&storage["storage"]),
            shown(&storage["type"]),
            if active { "active" } else { "inactive" },
            kib("total"),
            kib("used"),
            kib("avail"),
        );
    }
    out
}

fn volume_table(volumes: &[Value]) -> String {
    let width = volumes.iter().map(|v| shown(&v["volid"]).len()).max().unwrap_or_default().max(5);
    let mut out = format!("{:<width$} {:<7} {:<9} {:>12} VMID\n", "Volid", "Format", "Type", "Size");
    for volume in volumes {
        let _ = writeln!(
            out,
            "{:<width$} {:<7} {:<9} {:>12} {}",
            shown(&volume["volid"]),
            shown(&volume["format"]),
            shown(&volume["content"]),
            shown(&volume["size"]),
            shown(&volume["vmid"]),
        );
    }
    out
}

/// `pveum`: users, tokens, roles, access rules, pools.
pub(crate) async fn pveum(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    let (words, mut parameters) = split(arguments);
    let format = format(&mut parameters);
    let Some(PveumCall { method, path, usage }) = pveum_call(&words, &mut parameters) else {
        return Ok(Done::failed(255, "ERROR: no command specified\npveum <COMMAND> [ARGS] [OPTIONS]\n"));
    };
    match api.call(&method.to_string(), &path, &parameters).await {
        Ok(Value::Object(fields)) if format == Format::Text => {
            let rows: Vec<(String, String)> = fields.iter().map(|(k, v)| (k.clone(), shown(v))).collect();
            Ok(Done::text(table(&rows, true)))
        }
        Ok(data) => Ok(Done::text(print(&data, format))),
        Err(failure) => Ok(failure.with_usage(&format!("pveum {usage} [OPTIONS] [FORMAT_OPTIONS]"))),
    }
}

/// The call that a `pveum` command is.
#[derive(Debug)]
pub(crate) struct PveumCall {
    pub method: Method,
    pub path: String,
    /// How it is used, for its error.
    usage: &'static str,
}

/// The call that these words are, with what they add to its parameters.
pub(crate) fn pveum_call(words: &[&str], parameters: &mut Parameters) -> Option<PveumCall> {
    use Method::{Delete, Get, Post, Put};
    let segment = |text: &str| {
        let mut out = String::new();
        encode(text, &mut out);
        out
    };
    let mut with = |key: &str, value: &str| {
        parameters.insert(key.to_owned(), value.to_owned());
    };
    let (method, path, usage) = match words {
        ["user", "token", "add", user, token] => (
            Post,
            format!("/access/users/{}/token/{}", segment(user), segment(token)),
            "user token add <userid> <tokenid>",
        ),
        ["user", "token", "remove" | "delete", user, token] => (
            Delete,
            format!("/access/users/{}/token/{}", segment(user), segment(token)),
            "user token remove <userid> <tokenid>",
        ),
        ["user", "token", "list", user] => {
            (Get, format!("/access/users/{}/token", segment(user)), "user token list <userid>")
        }
        ["user", "add", user] => {
            with("userid", user);
            (Post, "/access/users".to_owned(), "user add <userid>")
        }
        ["user", "modify", user] => (Put, format!("/access/users/{}", segment(user)), "user modify <userid>"),
        ["user", "delete", user] => {
            (Delete, format!("/access/users/{}", segment(user)), "user delete <userid>")
        }
        ["user", "list"] => (Get, "/access/users".to_owned(), "user list"),
        ["role", "add", role] => {
            with("roleid", role);
            (Post, "/access/roles".to_owned(), "role add <roleid>")
        }
        ["role", "modify", role] => (Put, format!("/access/roles/{}", segment(role)), "role modify <roleid>"),
        ["role", "delete", role] => {
            (Delete, format!("/access/roles/{}", segment(role)), "role delete <roleid>")
        }
        ["role", "list"] => (Get, "/access/roles".to_owned(), "role list"),
        ["acl", change @ ("modify" | "delete"), path] => {
            with("path", path);
            if *change == "delete" {
                with("delete", "1");
            }
            (Put, "/access/acl".to_owned(), "acl modify <path> --roles <string>")
        }
        ["acl", "list"] => (Get, "/access/acl".to_owned(), "acl list"),
        ["pool", "add", pool] => {
            with("poolid", pool);
            (Post, "/pools".to_owned(), "pool add <poolid>")
        }
        ["pool", "modify", pool] => {
            with("poolid", pool);
            (Put, "/pools".to_owned(), "pool modify <poolid>")
        }
        ["pool", "delete", pool] => {
            with("poolid", pool);
            (Delete, "/pools".to_owned(), "pool delete <poolid>")
        }
        ["pool", "list"] => (Get, "/pools".to_owned(), "pool list"),
        _ => return None,
    };
    Some(PveumCall { method, path, usage })
}

/// A table of keys and values with drawn borders. Values may have several lines.
pub(super) fn table(rows: &[(String, String)], header: bool) -> String {
    let widest =
        |texts: &mut dyn Iterator<Item = usize>, least: usize| texts.max().unwrap_or_default().max(least);
    let left = widest(&mut rows.iter().map(|(k, _)| k.chars().count()), 3);
    let lines = rows.iter().flat_map(|(_, v)| v.lines());
    let right = widest(&mut lines.map(|line| line.chars().count()), 5);
    let line = |a: &str, fill: &str, b: &str, c: &str| {
        format!("{a}{}{b}{}{c}\n", fill.repeat(left + 2), fill.repeat(right + 2))
    };
    let mut out = line("┌", "─", "┬", "┐");
    if header {
        let _ = writeln!(out, "│ {:<left$} │ {:<right$} │", "key", "value");
        out += &line("╞", "═", "╪", "╡");
    }
    for (at, (key, value)) in rows.iter().enumerate() {
        if at > 0 {
            out += &line("├", "─", "┼", "┤");
        }
        for (n, text) in value.split('\n').enumerate() {
            let key = if n == 0 { key } else { "" };
            let _ = writeln!(out, "│ {key:<left$} │ {text:<right$} │");
        }
    }
    out + &line("└", "─", "┴", "┘")
}

/// `pveversion`.
pub(crate) async fn pveversion(api: &Api) -> Result<Done, Failure> {
    let version = api.call("GET", "/version", &Parameters::new()).await?;
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(Done::text(format!(
        "pve-manager/{}/{} (running kernel: {})\n",
        shown(&version["version"]),
        shown(&version["repoid"]),
        kernel.trim()
    )))
}

/// Starts the guests with `onboot`, in the order of `startup`, as `pve-guests.service` does when a node has booted.
pub(crate) async fn start_guests(api: &Api) -> Result<Done, Failure> {
    let none = Parameters::new();
    let containers = wait_for_api(api).await?;
    let machines = api.call("GET", &api.path("/qemu"), &none).await?;
    let each = |guests: &Value, kind| {
        guests.as_array().into_iter().flatten().map(|guest| (kind, guest.clone())).collect::<Vec<_>>()
    };
    let mut order = Vec::new();
    for (kind, guest) in each(&containers, "lxc").into_iter().chain(each(&machines, "qemu")) {
        let id = shown(&guest["vmid"]);
        let config = api.call("GET", &api.path(&format!("/{kind}/{id}/config")), &none).await?;
        if shown(&config["onboot"]) == "1"
            && shown(&guest["status"]) != "running"
            && shown(&config["template"]) != "1"
        {
            let startup = Startup::parse(&shown(&config["startup"]));
            order.push((startup.order, id.parse::<u32>().unwrap_or_default(), startup.up, kind));
        }
    }
    order.sort_unstable();
    let mut done = Done::default();
    for (_, id, up, kind) in order {
        let name = if kind == "lxc" { "CT" } else { "VM" };
        match api.call_and_wait("POST", &api.path(&format!("/{kind}/{id}/status/start")), &none).await {
            Ok(_) => {
                let _ = writeln!(done.out, "started {name} {id}");
                // What `startup` asks for: the next one begins that much later.
                tokio::time::sleep(Duration::from_secs(up)).await;
            }
            // One that does not start must not keep the others from starting.
            Err(failure) => {
                let _ = writeln!(done.err, "{name} {id}: {}", failure.into_done().err.trim_end());
                done.status = 1;
            }
        }
    }
    Ok(done)
}

/// The list of guests, as soon as the API answers: it is started at the same moment as this.
async fn wait_for_api(api: &Api) -> Result<Value, Failure> {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match api.call("GET", &api.path("/lxc"), &Parameters::new()).await {
            Err(Failure::Lost(_)) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// A guest's `startup`: `order=3,up=10,down=5`. One without an order comes last.
#[derive(Debug, PartialEq, Eq)]
struct Startup {
    order: u32,
    up: u64,
}

impl Startup {
    fn parse(text: &str) -> Self {
        let get = |key: &str| {
            text.split(',').find_map(|part| match part.split_once('=') {
                Some((k, v)) => (k == key).then(|| v.parse::<u32>().ok())?,
                // `startup: 3` means its order.
                None => (key == "order").then(|| part.parse().ok())?,
            })
        };
        // A day is beyond what anybody means.
        Self {
            order: get("order").unwrap_or(u32::MAX),
            up: u64::from(get("up").unwrap_or_default()).min(86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn storages_are_listed_as_recorded() {
        // node-commands: `pvesm status`.
        let storages = [
            json!({"storage": "local", "type": "dir", "active": 1, "total": 264212084_u64 * 1024, "used": 24214060_u64 * 1024, "avail": 71071828_u64 * 1024}),
            json!({"storage": "btr", "type": "btrfs", "active": 1, "total": 6291456_u64 * 1024, "used": 5920_u64 * 1024, "avail": 5749760_u64 * 1024}),
        ];
        assert_eq!(
            storage_table(&storages),
            "Name         Type     Status     Total (KiB)      Used (KiB) Available (KiB)        %\n\
             btr         btrfs     active         6291456            5920         5749760    0.09%\n\
             local         dir     active       264212084        24214060        71071828    9.16%\n"
        );
    }

    #[test]
    fn the_order_of_starting_is_the_startups() {
        assert_eq!(Startup::parse("order=3,up=10"), Startup { order: 3, up: 10 });
        assert_eq!(Startup::parse("2"), Startup { order: 2, up: 0 });
        assert_eq!(Startup::parse("").order, u32::MAX);
    }
}
