//! The guest agent of a simulated machine: the part of the QEMU guest agent's protocol that the node uses.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::runtime::SimRuntime;
use crate::base64;
use crate::node::{Net, nets};
use crate::runtime::AgentError;

/// The first number a program gets.
const FIRST_PID: u64 = 400;

/// What an agent remembers between questions. It is gone with a restart.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Programs by their numbers: when each ends, and what is said of it then.
    programs: BTreeMap<u64, (Instant, Value)>,
    /// Open files: path, and where reading is.
    files: BTreeMap<u64, (String, usize)>,
}

impl Talk {
    fn next_pid(&self) -> u64 {
        self.programs.keys().next_back().map_or(FIRST_PID, |last| last + 1)
    }

    fn next_file(&self) -> u64 {
        self.files.keys().next_back().map_or(1000, |last| last + 1)
    }
}

/// What comes of a question.
pub(super) enum Said {
    /// The answer.
    Now(Value),
    /// The system is to go down.
    ShutDown,
}

fn refused(text: impl Into<String>) -> AgentError {
    AgentError::Said(text.into())
}

impl SimRuntime {
    /// Answers one command. The agent is there.
    pub(super) fn talk(&self, id: u32, command: &str, arguments: &Value) -> Result<Said, AgentError> {
        let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        let answer = match command {
            "guest-ping" | "guest-fstrim" => json!({}),
            "guest-info" => json!({"version": "10.0.13", "supported_commands": []}),
            "guest-shutdown" => return Ok(Said::ShutDown),
            "guest-exec" => return self.program(id, arguments),
            "guest-exec-status" => {
                let pid = arguments["pid"].as_u64().unwrap_or_default();
                self.with(id, |talk| match talk.programs.get(&pid) {
                    // The number is not in it: a slip of the real one's (recorded).
                    None => Err(refused("PID ld does not exist")),
                    Some((until, _)) if *until > Instant::now() => Ok(json!({"exited": false})),
                    Some((_, end)) => Ok(end.clone()),
                })?
            }
            "guest-file-open" => {
                let (path, mode) = (text("path"), text("mode"));
                if mode == "r" && !self.has_file(id, &path) {
                    return Err(refused(format!(
                        "failed to open file '{path}' (mode: 'r'): No such file or directory"
                    )));
                }
                if mode != "r" {
                    self.put_file(id, &path, Vec::new());
                }
                self.with(id, |talk| {
                    let handle = talk.next_file();
                    talk.files.insert(handle, (path, 0));
                    Ok(json!(handle))
                })?
            }
            "guest-file-read" => {
                let (path, at) = self.open_file(id, arguments)?;
                let count = arguments["count"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(4096);
                let all = self.file(id, &path);
                let part = all.get(at..(at + count).min(all.len())).unwrap_or_default();
                let end = at + part.len();
                let handle = arguments["handle"].as_u64().unwrap_or_default();
                let answer =
                    json!({"count": part.len(), "buf-b64": base64::encode(part), "eof": end == all.len()});
                self.with(id, |talk| {
                    talk.files.insert(handle, (path, end));
                    Ok(answer)
                })?
            }
            "guest-file-write" => {
                let (path, _) = self.open_file(id, arguments)?;
                let more =
                    base64::decode(&text("buf-b64")).ok_or_else(|| refused("failed to decode the data"))?;
                let mut all = self.file(id, &path);
                all.extend(&more);
                self.put_file(id, &path, all);
                json!({"count": more.len(), "eof": false})
            }
            "guest-file-close" => {
                let handle = arguments["handle"].as_u64().unwrap_or_default();
                self.with(id, |talk| Ok(json!(talk.files.remove(&handle).map(|_| json!({})))))?
            }
            "guest-get-host-name" => json!({"host-name": self.guests().inside.entry(id).or_default().name}),
            "guest-get-osinfo" => json!({
                "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 12 (bookworm)", "version": "12 \
                (bookworm)", "version-id": "12", "kernel-release": "6.1.0-44-cloud-amd64", "machine": "x86_64",
                "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian",
            }),
            "guest-get-time" => json!(self.now() * 1_000_000_000),
            "guest-get-timezone" => json!({"zone": "UTC", "offset": 0}),
            "guest-get-users" | "guest-get-fsinfo" | "guest-get-vcpus" => json!([]),
            "guest-network-get-interfaces" => self.interfaces(id),
            other => return Err(refused(format!("The command {other} has not been found"))),
        };
        Ok(Said::Now(answer))
    }

    fn with<T>(
        &self,
        id: u32,
        ask: impl FnOnce(&mut Talk) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let mut guests = self.guests();
        let machine = guests.machines.running.get_mut(&id).ok_or(AgentError::Down)?;
        ask(&mut machine.talk)
    }

    fn open_file(&self, id: u32, arguments: &Value) -> Result<(String, usize), AgentError> {
        let handle = arguments["handle"].as_u64().unwrap_or_default();
        self.with(id, |talk| {
            let known = talk.files.get(&handle).cloned();
            known.ok_or_else(|| refused(format!("handle '{handle}' has not been found")))
        })
    }

    fn file(&self, id: u32, path: &str) -> Vec<u8> {
        self.guests().inside.entry(id).or_default().files.get(path).cloned().unwrap_or_default()
    }

    fn has_file(&self, id: u32, path: &str) -> bool {
        self.guests().inside.entry(id).or_default().files.contains_key(path)
    }

    /// A program is run to its end at once, and is said to end after the time that it takes.
    fn program(&self, id: u32, arguments: &Value) -> Result<Said, AgentError> {
        let path = arguments["path"].as_str().unwrap_or_default().to_owned();
        let words = arguments["arg"].as_array().into_iter().flatten().filter_map(|word| word.as_str());
        let argv: Vec<String> = std::iter::once(path.clone()).chain(words.map(str::to_owned)).collect();
        let stdin = arguments["input-data"].as_str().and_then(base64::decode).unwrap_or_default();
        let (printed, time) = match argv.as_slice() {
            [sleep, seconds] if sleep == "sleep" => {
                let seconds = Duration::from_secs(seconds.parse().unwrap_or_default());
                ((0, Vec::new(), Vec::new()), seconds)
            }
            argv => {
                let ran = self.run_inside(id, argv, &stdin);
                let actions = u32::try_from(ran.actions).unwrap_or(u32::MAX);
                (ran.printed, self.times().action.saturating_mul(actions))
            }
        };
        let (status, out, err) = printed;
        if status == 127 && !matches!(path.as_str(), "sh" | "/bin/sh") {
            return Err(refused(format!(
                "Guest agent command failed, error was 'Failed to execute child process “{path}” (No such file or \
                 directory)'"
            )));
        }
        let mut end = json!({"exited": true, "exitcode": status});
        for (key, bytes) in [("out-data", out), ("err-data", err)] {
            if !bytes.is_empty() {
                end[key] = base64::encode(&bytes).into();
            }
        }
        self.with(id, |talk| {
            let pid = talk.next_pid();
            talk.programs.insert(pid, (Instant::now() + time, end));
            Ok(Said::Now(json!({ "pid": pid })))
        })
    }

    /// The addresses that cloud-init has given it.
    fn interfaces(&self, id: u32) -> Value {
        let address = |address: &str, prefix: u32| {
            let kind = if address.contains(':') { "ipv6" } else { "ipv4" };
            json!({"ip-address": address, "ip-address-type": kind, "prefix": prefix})
        };
        let still: Vec<(String, Value)> = ["rx", "tx"]
            .iter()
            .flat_map(|way| {
                ["bytes", "packets", "errs", "dropped"].map(|what| (format!("{way}-{what}"), json!(0)))
            })
            .collect();
        let still: Value = Value::Object(still.into_iter().collect());
        let guests = self.guests();
        let config =
            guests.machines.running.get(&id).map(|machine| machine.config.clone()).unwrap_or_default();
        let lo = json!({"name": "lo", "hardware-address": "00:00:00:00:00:00", "statistics": still,
                        "ip-addresses": [address("127.0.0.1", 8), address("::1", 128)]});
        let cards = nets(&config).into_iter().map(|Net { number, mac, address: fixed }| {
            let fixed = fixed.and_then(|text| {
                let (ip, prefix) = text.split_once('/')?;
                Some(address(ip, prefix.parse().ok()?))
            });
            let own = crate::node::link_local(&mac);
            let own = own.as_deref().and_then(|text| text.split_once('/')).map(|(ip, _)| address(ip, 64));
            json!({
                "name": format!("eth{number}"), "hardware-address": mac.to_lowercase(), "statistics": still,
                "ip-addresses": fixed.into_iter().chain(own).collect::<Vec<_>>(),
            })
        });
        Value::Array(std::iter::once(lo).chain(cards).collect())
    }
}
