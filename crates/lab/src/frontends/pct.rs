//! `pct`: containers.

use std::fmt::Write as _;

use serde_json::Value;

use super::client::{Api, Failure, Parameters};
use super::{Done, options, pct_files};
use crate::containers;

/// The text of a value as the node's commands print it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Runs `pct` with its arguments.
pub(crate) async fn run(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    // What is to be run in a guest is no option of pct's.
    let own = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
    let (words, options) = options::split(&arguments[..own]);
    let none = Parameters::new();
    let Some(command) = words.first().copied() else {
        return Ok(Done::failed(255, "ERROR: no command specified\npct <COMMAND> [ARGS] [OPTIONS]\n"));
    };
    if command == "list" {
        return list(api).await;
    }
    let Some(id) = words.get(1).and_then(|id| id.parse::<u32>().ok()) else {
        let given = words.get(1).copied().unwrap_or_default();
        let text = if given.is_empty() {
            format!("400 not enough arguments\npct {command} <vmid> [OPTIONS]\n")
        } else {
            format!(
                "400 Parameter verification failed.\nvmid: type check ('integer') failed - got '{given}'\n\npct {command} <vmid> [OPTIONS]\n"
            )
        };
        return Ok(Done::failed(255, text));
    };
    let guest = api.path(&format!("/lxc/{id}"));
    match command {
        "config" => config(api, &guest, &options).await,
        "pending" => pending(api, &guest).await,
        "status" => {
            let now = api.call("GET", &format!("{guest}/status/current"), &none).await?;
            Ok(Done::text(format!("status: {}\n", shown(&now["status"]))))
        }
        "start" | "stop" | "shutdown" | "reboot" | "suspend" | "resume" => {
            let done = api.call_and_wait("POST", &format!("{guest}/status/{command}"), &options).await?;
            Ok(done.into_done())
        }
        "destroy" => Ok(api.call_and_wait("DELETE", &guest, &options).await?.into_done()),
        "template" => {
            Ok(api.call_and_wait("POST", &format!("{guest}/template"), &options).await?.into_done())
        }
        "clone" => {
            let usage = "pct clone <vmid> <newid> [OPTIONS]";
            let Some(new) = words.get(2) else {
                return Ok(Done::failed(255, format!("400 not enough arguments\n{usage}\n")));
            };
            let mut options = options;
            options.insert("newid".to_owned(), (*new).to_owned());
            let made = api.call_and_wait("POST", &format!("{guest}/clone"), &options).await;
            Ok(made.map_or_else(|e| refused(e, usage), super::client::CallOutcome::into_done))
        }
        "create" | "restore" => {
            let mut options = options;
            options.insert("vmid".to_owned(), id.to_string());
            if let Some(template) = words.get(2) {
                options.insert("ostemplate".to_owned(), (*template).to_owned());
            }
            let made = api.call_and_wait("POST", &api.path("/lxc"), &options).await;
            Ok(made.map_or_else(
                |e| refused(e, "pct create <vmid> <ostemplate> [OPTIONS]"),
                super::client::CallOutcome::into_done,
            ))
        }
        "set" => {
            let set = api.call_and_wait("PUT", &format!("{guest}/config"), &options).await;
            Ok(set.map_or_else(
                |e| refused(e, "pct set <vmid> [OPTIONS]"),
                super::client::CallOutcome::into_done,
            ))
        }
        "resize" => {
            let (Some(disk), Some(size)) = (words.get(2), words.get(3)) else {
                return Ok(Done::failed(
                    255,
                    "400 not enough arguments\npct resize <vmid> <disk> <size> [OPTIONS]\n",
                ));
            };
            let mut options = options;
            options.insert("disk".to_owned(), (*disk).to_owned());
            options.insert("size".to_owned(), (*size).to_owned());
            Ok(api.call_and_wait("PUT", &format!("{guest}/resize"), &options).await?.into_done())
        }
        "exec" => {
            // `pct exec 250 -- program …`, or without the dashes.
            let argv = arguments.get(own + 1..).unwrap_or_default();
            let argv = if argv.is_empty() { words.get(2..).unwrap_or_default() } else { argv };
            Ok(attach(api, id, argv))
        }
        "enter" => Ok(attach(api, id, &["/bin/sh", "-c", "exec $(command -v bash || echo sh) -l"])),
        "push" | "pull" => Ok(pct_files::run(api, command, id, words.get(2..).unwrap_or_default(), &options)),
        _ => Ok(Done::failed(
            255,
            format!("ERROR: unknown command 'pct {command}'\npct <COMMAND> [ARGS] [OPTIONS]\n"),
        )),
    }
}

/// The node's command line knows its options and refuses others itself; here the API refuses them.
pub(super) fn refused(failure: Failure, usage: &str) -> Done {
    if let Failure::Refused { status: 400, errors, .. } = &failure {
        let unknown: Vec<&String> =
            errors.iter().filter(|(_, e)| e.contains("not defined in schema")).map(|(k, _)| k).collect();
        if !unknown.is_empty() {
            let lines: String = unknown.iter().map(|key| format!("Unknown option: {key}\n")).collect();
            return Done::failed(255, format!("{lines}400 unable to parse option\n{usage}\n"));
        }
    }
    failure.with_usage(&format!("\n{usage}"))
}

/// The node's guests of a kind, in the order of their ids.
pub(super) async fn by_id(api: &Api, kind: &str) -> Result<Vec<(u64, Value)>, Failure> {
    let guests = api.call("GET", &api.path(kind), &Parameters::new()).await?;
    let id = |guest: &Value| shown(guest.get("vmid")?).parse().ok();
    let mut rows: Vec<(u64, Value)> = guests
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|guest| Some((id(guest)?, guest.clone())))
        .collect();
    rows.sort_by_key(|(id, _)| *id);
    Ok(rows)
}

async fn list(api: &Api) -> Result<Done, Failure> {
    let rows = by_id(api, "/lxc").await?;
    let mut out = String::new();
    if !rows.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<10} {:<10} {:<12} {:<20}", "VMID", "Status", "Lock", "Name");
    }
    for (id, guest) in rows {
        let _ = writeln!(
            out,
            "{id:<10} {:<10} {:<12} {:<20}",
            shown(&guest["status"]),
            shown(&guest["lock"]),
            shown(&guest["name"])
        );
    }
    Ok(Done::text(out))
}

pub(super) async fn config(api: &Api, guest: &str, options: &Parameters) -> Result<Done, Failure> {
    let config = api.call("GET", &format!("{guest}/config"), options).await?;
    let mut out = String::new();
    for (key, value) in
        config.as_object().into_iter().flatten().filter(|(k, _)| !matches!(k.as_str(), "digest" | "lxc"))
    {
        let value = if key == "description" { encode_text(&shown(value)) } else { shown(value) };
        let _ = writeln!(out, "{key}: {value}");
    }
    for entry in config.get("lxc").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(out, "{}: {}", shown(&entry[0]), shown(&entry[1]));
    }
    Ok(Done::text(out))
}

/// `PVE::Tools::encode_text`: everything outside printable ASCII, and `:` and `%`.
fn encode_text(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b':' && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

pub(super) async fn pending(api: &Api, guest: &str) -> Result<Done, Failure> {
    let all = api.call("GET", &format!("{guest}/pending"), &Parameters::new()).await?;
    let mut items: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    items.sort_by_key(|item| shown(&item["key"]));
    let mut out = String::new();
    for item in items {
        let key = shown(&item["key"]);
        if key == "digest" {
            continue;
        }
        let text =
            |value: &Value| if key == "description" { encode_text(&shown(value)) } else { shown(value) };
        if item.get("delete").is_some() {
            let _ = writeln!(out, "del {key}: {}", text(&item["value"]));
            continue;
        }
        if let Some(value) = item.get("value") {
            let _ = writeln!(out, "cur {key}: {}", text(value));
        }
        if let Some(value) = item.get("pending") {
            let _ = writeln!(out, "new {key}: {}", text(value));
        }
    }
    Ok(Done::text(out))
}

/// What keeps a program from being run in a guest, or files from being moved, before it is tried.
pub(crate) fn absent(api: &Api, id: u32) -> Option<Done> {
    let (node, conf) = (api.node(), format!("lxc/{id}.conf"));
    let exists = camino::Utf8Path::new("/etc/pve/nodes").join(node).join(&conf).exists();
    (!exists).then(|| Done::failed(2, format!("Configuration file 'nodes/{node}/{conf}' does not exist\n")))
}

/// Becomes `lxc-attach`: its standard streams, signals and exit status are the program's own.
fn attach(api: &Api, id: u32, argv: &[&str]) -> Done {
    use std::os::unix::process::CommandExt;
    if let Some(done) = absent(api, id) {
        return done;
    }
    if !containers::running_now().contains(&id) {
        return Done::failed(255, format!("container '{id}' not running!\n"));
    }
    let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
    let full = containers::attach(id, &argv);
    let error = std::process::Command::new(&full[0]).args(&full[1..]).exec();
    Done::failed(255, format!("unable to run lxc-attach - {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_printed_encoded() {
        assert_eq!(encode_text("a: ü\n"), "a%3A %C3%BC%0A");
    }

    #[test]
    fn an_unknown_option_is_refused_in_the_commands_words() {
        // node-commands: `set bad`. P-60: what is no option of a real node is none here, as `--firewall` is none of `pct set`.
        let failure = Failure::Refused {
            status: 400,
            message: "Parameter verification failed.".into(),
            errors: [(
                "nosuch".to_owned(),
                "property is not defined in schema and the schema does not allow additional properties"
                    .to_owned(),
            )]
            .into(),
        };
        assert_eq!(
            refused(failure, "pct set <vmid> [OPTIONS]"),
            Done::failed(
                255,
                "Unknown option: nosuch\n400 unable to parse option\npct set <vmid> [OPTIONS]\n"
            )
        );
    }
}
