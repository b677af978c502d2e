//! Recorded exchanges of a real node, sent through the client again: each request as it was made, over HTTP, each
//! answer as it was given. The project's own fixtures always; the large recordings where they are present.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::{Server, http, pairs, say};
use camino::{Utf8Path, Utf8PathBuf};
use proxmox::client::{GuestRef, Reader, Writer};
use proxmox::config::GuestKind;
use proxmox::exchange::Method;
use proxmox::http::Trust;
use proxmox::property::{PropertyString, VolumeSource, container, list};
use proxmox::{Error, ErrorKind, Upid, command};
use serde_json::Value;
use transport::Output;

#[derive(Default, Debug)]
struct Count {
    lines: usize,
    headings: usize,
    exchanges: usize,
    typed: usize,
    refusals: usize,
    commands: usize,
}

struct Replay {
    server: Server,
    answer: Arc<Mutex<Vec<u8>>>,
    writer: Writer,
    count: Count,
}

impl Replay {
    async fn start() -> Self {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let given = answer.clone();
        let server = Server::plain(Arc::new(move |_| given.lock().unwrap().clone())).await;
        let writer = Writer::new(server.exchange(Trust::Verify));
        Self { server, answer, writer, count: Count::default() }
    }

    async fn file(&mut self, path: &Utf8Path) {
        for (number, line) in fs_err::read_to_string(path).unwrap().lines().enumerate() {
            let place = format!("{path}:{}", number + 1);
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{place}: {error}"));
            self.count.lines += 1;
            if record.get("method").is_some() {
                self.exchange(&record, &place).await;
                self.count.exchanges += 1;
            } else if record.get("argv").is_some() {
                judged(&record, &place);
                self.count.commands += 1;
            } else {
                assert!(record.get("scenario").is_some(), "{place}: neither an exchange nor a command");
                self.count.headings += 1;
            }
        }
    }

    async fn exchange(&mut self, record: &Value, place: &str) {
        let status = u16::try_from(record["status"].as_u64().unwrap()).unwrap();
        let body = match &record["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        *self.answer.lock().unwrap() = http(status, record["reason"].as_str().unwrap(), &body);
        let method = match record["method"].as_str().unwrap() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            other => panic!("{place}: {other}"),
        };
        let (path, query) = record["path"]
            .as_str()
            .unwrap()
            .split_once('?')
            .unwrap_or((record["path"].as_str().unwrap(), ""));
        let mut params = pairs(query);
        for (key, value) in record["params"].as_object().into_iter().flatten() {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match value {
                Value::Array(list) => params.extend(list.iter().map(|value| (key.clone(), text(value)))),
                value => params.push((key.clone(), text(value))),
            }
        }

        let outcome = self.writer.send(method, path.to_owned(), params.clone()).await;
        let arrived = self.server.last();
        assert_eq!(
            (arrived.method, arrived.path),
            (method.to_string(), format!("/api2/json{path}")),
            "{place}"
        );
        assert_eq!(arrived.params, params, "{place}");
        self.checked(outcome, record, status, place);

        if let Some(outcome) = self.typed(method, path, &params).await {
            let arrived = self.server.last();
            // The same path; the recording does not encode every character that may be encoded.
            let seen = (arrived.method, decoded(&arrived.path));
            assert_eq!(seen, (method.to_string(), decoded(&format!("/api2/json{path}"))), "{place}: typed");
            self.count.typed += 1;
            match outcome {
                Ok(Some(upid)) => assert_eq!(record["body"]["data"].as_str(), Some(upid.as_str()), "{place}"),
                Ok(None) => assert_eq!(status, 200, "{place}"),
                Err(error) => {
                    assert_ne!(status, 200, "{place}: {error}");
                    assert!(matches!(error, Error::Api(_)), "{place}: {error}");
                }
            }
        }
    }

    fn checked(&mut self, outcome: Result<Value, Error>, record: &Value, status: u16, place: &str) {
        let body = &record["body"];
        match outcome {
            Ok(data) => {
                assert_eq!((status, &data), (200, &body["data"]), "{place}");
                understood(record["path"].as_str().unwrap(), &data, place);
            }
            // One recorded call, a node's journal, answers 200 with nothing at all.
            Err(Error::Answer { .. }) => {
                assert_eq!((status, body), (200, &Value::String(String::new())), "{place}");
            }
            Err(Error::Api(error)) => {
                self.count.refusals += 1;
                assert_eq!(error.status, status, "{place}");
                let said = body["message"].as_str().unwrap_or(record["reason"].as_str().unwrap());
                assert_eq!(error.message, said, "{place}");
                let errors: BTreeMap<String, String> = body
                    .get("errors")
                    .map_or_else(BTreeMap::new, |errors| serde_json::from_value(errors.clone()).unwrap());
                assert_eq!(error.errors, errors, "{place}");
                assert!(
                    !matches!(error.kind, ErrorKind::Other | ErrorKind::ServerError),
                    "{place}: {error:?}"
                );
                if let Some(expected) = record["kind"].as_str() {
                    assert!(format!("{:?}", error.kind).starts_with(expected), "{place}: {:?}", error.kind);
                }
                for word in said.split_whitespace() {
                    assert!(error.to_string().contains(word), "{place}: `{word}` is lost in {error}");
                }
            }
            Err(error) => panic!("{place}: {error:?}"),
        }
    }

    /// The typed call of a path, where there is one: whether it could read the answer, and the task it gave.
    async fn typed(
        &self,
        method: Method,
        path: &str,
        params: &[(String, String)],
    ) -> Option<Result<Option<Upid>, Error>> {
        let decoded = decoded(path);
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let param = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let (reader, writer): (&Reader, &Writer) = (&self.writer, &self.writer);
        let read = |outcome: Result<(), Error>| Some(outcome.map(|()| None));
        let guest = |node: &str, kind: &str, id: &str| {
            let kind = if kind == "lxc" { GuestKind::Container } else { GuestKind::Vm };
            id.parse().ok().map(|id| GuestRef::new(node, kind, id))
        };
        match (method, &parts[..]) {
            (Method::Get, ["version"]) => read(reader.version().await.map(drop)),
            (Method::Get, ["nodes"]) => read(reader.nodes().await.map(drop)),
            (Method::Get, ["cluster", "resources"]) => read(reader.resources(param("type")).await.map(drop)),
            (Method::Get, ["cluster", "nextid"]) => read(reader.next_id().await.map(drop)),
            (Method::Get, ["access", "permissions"]) => read(reader.permissions(None).await.map(drop)),
            (Method::Get, ["pools"]) => read(reader.pools().await.map(drop)),
            (Method::Get, ["pools", pool]) => read(reader.pool(pool).await.map(drop)),
            (Method::Get, ["nodes", node, "network"]) => read(reader.node_network(node).await.map(drop)),
            (Method::Get, ["nodes", node, "storage"]) => read(reader.storages(node).await.map(drop)),
            (Method::Get, ["nodes", node, "storage", storage, "content"]) => {
                read(reader.volumes(node, storage, param("content")).await.map(drop))
            }
            (Method::Get, ["nodes", node, "tasks"]) => read(reader.tasks(node, None).await.map(drop)),
            (Method::Get, ["nodes", _, "tasks", upid, "status"]) => match upid.parse() {
                Ok(upid) => read(reader.task_status(&upid).await.map(drop)),
                Err(_) => None,
            },
            (Method::Get, ["nodes", _, "tasks", upid, "log"]) => match upid.parse() {
                Ok(upid) => read(reader.task_log(&upid, 0, 500).await.map(drop)),
                Err(_) => None,
            },
            (Method::Post, ["nodes", node, kind @ ("lxc" | "qemu")]) => {
                let guest = guest(node, kind, param("vmid")?)?;
                let rest = params.iter().filter(|(key, _)| key != "vmid").cloned().collect();
                Some(writer.create(&guest, rest).await.map(Some))
            }
            (_, ["nodes", node, kind @ ("lxc" | "qemu"), id, rest @ ..]) => {
                let guest = guest(node, kind, id)?;
                self.typed_guest(method, &guest, rest, params).await
            }
            _ => None,
        }
    }

    async fn typed_guest(
        &self,
        method: Method,
        guest: &GuestRef,
        rest: &[&str],
        params: &[(String, String)],
    ) -> Option<Result<Option<Upid>, Error>> {
        let param = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let (reader, writer): (&Reader, &Writer) = (&self.writer, &self.writer);
        let read = |outcome: Result<(), Error>| Some(outcome.map(|()| None));
        let container = guest.kind == GuestKind::Container;
        match (method, rest) {
            (Method::Get, ["config"]) => read(reader.config(guest).await.map(drop)),
            (Method::Get, ["pending"]) => read(reader.pending(guest).await.map(drop)),
            (Method::Get, ["status", "current"]) => read(reader.status(guest).await.map(drop)),
            (Method::Get, ["snapshot"]) => read(reader.snapshots(guest).await.map(drop)),
            (Method::Get, ["interfaces"]) => read(reader.interfaces(&guest.node, guest.id).await.map(drop)),
            (Method::Put, ["config"]) if container => Some(writer.update(guest, params.to_vec()).await),
            (Method::Post, ["config"]) if !container => Some(writer.update(guest, params.to_vec()).await),
            (Method::Delete, []) => Some(writer.destroy(guest).await.map(Some)),
            (Method::Post, ["status", "start"]) => Some(writer.start(guest).await.map(Some)),
            (Method::Post, ["status", "stop"]) => Some(writer.stop(guest).await.map(Some)),
            (Method::Post, ["status", "shutdown"]) => Some(writer.shutdown(guest, 1, false).await.map(Some)),
            (Method::Post, ["status", "reboot"]) => Some(writer.reboot(guest, 1).await.map(Some)),
            (Method::Put, ["resize"]) => {
                Some(writer.resize(guest, param("disk")?, param("size")?).await.map(Some))
            }
            (Method::Post, ["clone"]) => {
                Some(writer.clone_guest(guest, param("newid")?.parse().ok()?, Vec::new()).await.map(Some))
            }
            (Method::Post, ["template"]) => Some(writer.make_template(guest).await),
            (Method::Post, ["snapshot"]) => {
                Some(writer.create_snapshot(guest, param("snapname")?).await.map(Some))
            }
            (Method::Delete, ["snapshot", name]) => Some(writer.delete_snapshot(guest, name).await.map(Some)),
            (Method::Post, ["snapshot", name, "rollback"]) => {
                Some(writer.rollback(guest, name).await.map(Some))
            }
            _ => None,
        }
    }
}

/// What a failed task ended with has a kind; a container's property strings are read and mean what they say.
fn understood(path: &str, data: &Value, place: &str) {
    match data["exitstatus"].as_str() {
        None | Some("OK") => {}
        Some(exit) if exit.starts_with("WARNINGS:") => {}
        Some(exit) => assert!(ErrorKind::of_words(exit).is_some(), "{place}: {exit}"),
    }
    if !path.contains("/lxc/") || !path.ends_with("/config") {
        return;
    }
    for (key, value) in data.as_object().into_iter().flatten() {
        let Some(text) = value.as_str() else { continue };
        let slot = key.trim_end_matches(|digit: char| digit.is_ascii_digit());
        let schema = match slot {
            "net" => container::NET,
            "rootfs" | "mp" => container::MOUNT,
            "features" => container::FEATURES,
            "startup" => container::STARTUP,
            "tags" => {
                let mut tags: Vec<&str> = list(text).collect();
                tags.sort_unstable();
                assert_eq!(tags.join(";"), text, "{place}");
                continue;
            }
            _ => continue,
        };
        let parts: PropertyString = text.parse().unwrap();
        assert_eq!(parts.to_string(), text, "{place}");
        // In an order of our own, it is still the same.
        let again = schema.merged(&[], Some(&parts)).to_string();
        assert!(schema.same(text, &again), "{place}: {text}, {again}");
        if let Some(volume) = schema.get(&parts, "volume") {
            assert_eq!(volume.parse::<VolumeSource>().unwrap().to_string(), volume, "{place}");
        }
    }
}

/// The segments of a path, decoded.
fn decoded(path: &str) -> Vec<String> {
    let decode = |part| pairs(part).first().map_or_else(String::new, |(key, _)| key.clone());
    path.split('/').skip(1).map(decode).collect()
}

/// P-34: the exit status of a program in a guest was ignored, and missing fields were read as success.
///
/// A recorded command goes through the judgement of commands.
fn judged(record: &Value, place: &str) {
    let argv: Vec<String> = serde_json::from_value(record["argv"].clone()).unwrap();
    let text = |name: &str| record[name].as_str().unwrap().to_owned();
    let status = i32::try_from(record["exit"].as_i64().unwrap()).unwrap();
    let output = Output { status, stdout: text("stdout").into(), stderr: text("stderr").into() };
    let outcome = command::judge(&argv, &output);
    let liar = status == 0
        && (argv.get(1).is_some_and(|verb| verb == "pull") && !output.stderr.is_empty()
            || text("stdout").contains("\"exitcode\" : 5"));
    assert_eq!(outcome.is_err(), status != 0 || liar, "{place}: {outcome:?}");
    if let Err(error) = outcome {
        assert!(status == 0 || error.status == status, "{place}: {error:?}");
        assert!(error.message.contains(text("stderr").trim()), "{place}: {error:?}");
        assert!(!matches!(error.kind, Some(ErrorKind::Other | ErrorKind::ServerError)), "{place}: {error:?}");
        if let Some(expected) = record["kind"].as_str() {
            assert!(
                error.kind.as_ref().is_some_and(|kind| format!("{kind:?}").starts_with(expected)),
                "{place}: {error:?}"
            );
        }
    }
}

async fn replay(files: &[Utf8PathBuf]) -> Count {
    let mut replay = Replay::start().await;
    for file in files {
        replay.file(file).await;
    }
    let count = replay.count;
    assert_eq!(count.exchanges + count.commands + count.headings, count.lines, "a line was skipped");
    count
}

#[tokio::test]
async fn the_projects_own_fixtures() {
    let file = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/exchanges.jsonl");
    let count = replay(&[file]).await;
    assert!(count.refusals > 30 && count.typed > 30 && count.commands > 10, "{count:?}");
}

#[tokio::test]
async fn the_recordings_of_a_real_node() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pve");
    if !root.exists() {
        say(&format!("skipped: no recordings at {root}"));
        return;
    }
    let mut files = Vec::new();
    for folder in ["corpus", "transcripts"] {
        for entry in root.join(folder).read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.extension() == Some("jsonl") {
                files.push(path);
            }
        }
    }
    files.sort();
    let count = replay(&files).await;
    assert!(count.exchanges > 0 && count.commands > 0, "{count:?}");
    say(&format!(
        "replayed {} exchanges ({} of them typed, {} refusals) and {} commands; {} headings; {} lines in {} files",
        count.exchanges,
        count.typed,
        count.refusals,
        count.commands,
        count.headings,
        count.lines,
        files.len()
    ));
}
