//! Sending a recorded request to the simulated node, and comparing what comes back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "part of a test: what is missing fails it")]

mod compare;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lab::node::{Auth, Clock, Hardware, Node, NodeOptions, Storage, TaskTwist, Template};
use lab::sim::{Faults, SimRuntime, Times};
use proxmox::exchange::{Method, Request};
use serde_json::Value;

pub use compare::Difference;

/// `fidelity.txt`: what is not sent, and what differs.
///
/// `skip WHERE | reason`: not sent. WHERE is `scenario:step`, or a method and a path with `*` for a segment.
/// `differs scenario:step field | reason`
#[derive(Debug)]
pub struct Listed {
    lines: Vec<&'static str>,
}

impl Listed {
    pub fn parse(text: &'static str) -> Self {
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        for line in &lines {
            assert!(
                line.split_once(" | ").is_some_and(|(_, reason)| !reason.is_empty()),
                "no reason: {line}"
            );
        }
        Self { lines }
    }

    pub fn entries(&self) -> impl Iterator<Item = &'static str> {
        self.lines.iter().copied()
    }

    fn find(&self, fits: impl Fn(&str) -> bool) -> Option<&'static str> {
        self.lines.iter().copied().find(|line| line.split_once(" | ").is_some_and(|(what, _)| fits(what)))
    }

    pub fn skips(&self, place: &str, record: &Value) -> Option<&'static str> {
        let call = format!("{} {}", record["method"].as_str().unwrap(), record["path"].as_str().unwrap());
        self.find(|what| {
            what.strip_prefix("skip ").is_some_and(|at| at == place || at.contains(' ') && fits(at, &call))
        })
    }

    pub fn allows(&self, place: &str, field: &str) -> Option<&'static str> {
        self.find(|what| what == format!("differs {place} {field}"))
    }
}

/// `*` in a pattern stands for one segment, `**` at its end for any.
fn fits(pattern: &str, call: &str) -> bool {
    let call: Vec<&str> = call.split('?').next().unwrap().split('/').collect();
    let (pattern, open) = pattern.strip_suffix("/**").map_or((pattern, false), |pattern| (pattern, true));
    let parts: Vec<&str> = pattern.split('/').collect();
    let same = |(at, part): (usize, &&str)| call.get(at).is_some_and(|have| *part == "*" || have == part);
    parts.iter().enumerate().all(same) && (open || parts.len() == call.len())
}

/// A node like the recorded one, and what is known about its tasks.
pub struct Session {
    node: Node,
    runtime: SimRuntime,
    tasks: Faults,
    /// Recorded UPIDs and ours.
    upids: BTreeMap<String, String>,
    /// Recorded digests of configurations, and ours.
    digests: BTreeMap<String, String>,
}

impl Session {
    /// A node as it was for the first recordings, or for the `later` ones.
    pub fn new(later: bool) -> Self {
        let content = "rootdir,backup,snippets,images,iso,vztmpl";
        let mut local = Storage::new("local", "dir", "/var/lib/vz", &format!("{content},import"));
        local.options.insert("prune-backups".into(), "keep-all=1".into());
        local.templates = vec![Template {
            name: "debian-13-standard_13.1-2_amd64.tar.zst".into(),
            size: 63_669_015,
            ctime: 1_795_420_868,
        }];
        local.images =
            vec![Template { name: "import/vmguest.qcow2".into(), size: 1500 << 20, ctime: 1_795_420_868 }];
        let tank = Storage::new("tank", "dir", "/tank", content);
        let btr = Storage::new("btr", "btrfs", "/mnt/btr", "images,rootdir");
        let mut options = NodeOptions::new("pve1");
        options.seed = Some(1);
        // Of later recordings.
        let mut dir = Storage::new("rec-dir", "dir", "/srv/rec-dir", content);
        dir.templates =
            vec![Template { name: "rec-tiny_1.0_amd64.tar.gz".into(), size: 1 << 20, ctime: 1_795_420_868 }];
        let btrfs = Storage::new("rec-btrfs", "btrfs", "/var/lib/pve/rec-btrfs", "images,rootdir");
        let other = Storage::new("rec-tt", "dir", "/srv/rec-tt", content);
        options.storages = match later {
            true => vec![dir, btrfs, other],
            false => vec![local, tank, btr],
        };
        options.clock = Clock::at(1_795_420_900);
        options.hardware = Hardware { cpus: 2, memory: 25_276_514_304, address: "10.10.10.1".into() };
        let runtime = SimRuntime::new(1, Times::default());
        let node = Node::open(options, Arc::new(runtime.clone())).expect("in memory");
        node.set_token("root@pam!conf", "secret", false);
        if later {
            node.set_token("phoenix@pve!judge", "secret", false);
            node.grant("phoenix@pve", "/", "PVEAdmin");
        }
        let tasks = Faults::none();
        node.set_task_plan(Some(Arc::new(tasks.clone())));
        Self { node, runtime, tasks, upids: BTreeMap::new(), digests: BTreeMap::new() }
    }

    /// Before this step the world is made as it was when the step was recorded: what the recorded machine's kernel did, and
    /// what calls did that are not offered here.
    pub async fn stand_in(&self, place: &str) {
        let next_task = |twist| drop(self.tasks.clone().task(self.tasks.tasks() + 1, twist));
        match place {
            // Its kernel could not make a network device with a VLAN tag.
            "container-lifecycle:17" => {
                next_task(TaskTwist::FailBefore("startup for container '201' failed".into()));
            }
            // Its template task lost a race with the start that followed.
            "container-lifecycle:48" => next_task(TaskTwist::FailBefore("lost the race".into())),
            // Its kernel could not mount what is copied a second time.
            "lxc:105" | "container-running-changes:32" => {
                let (options, new) = if place == "lxc:105" { ("ro", 102) } else { ("ro,noload", 222) };
                self.runtime.fail_next_copy(&format!(
                    "command 'mount -o {options} /dev/loop1 /var/lib/lxc/{new}/.copy-volume-2//' failed: exit code 32"
                ));
            }
            // By then it was a template.
            "container-running-changes:31" | "keys-lxc:4078" | "keys-lxc:4129" => self.node.idle().await,
            // What was made before this part of the recording.
            "keys-qemu:4370" => {
                let text = "balloon: 0\nboot: order=scsi0\ncores: 1\ncpu: qemu64\ndescription: second\n\
                            ide2: rec-dir:672/vm-672-cloudinit.qcow2,media=cdrom,size=4M\nkvm: 0\nmemory: 128\nname: rec672\n\
                            net0: virtio=BC:24:11:06:C1:CF,bridge=vmbr0\nscsi0: rec-dir:672/vm-672-disk-0.qcow2,size=64M\n\
                            scsi1: rec-dir:672/vm-672-disk-1.raw,size=64M\nscsihw: virtio-scsi-single\nserial0: socket\n\
                            smbios1: uuid=5cf2b2a1-4a11-4b72-a283-da3bc1c45a02\nunused1: rec-btrfs:672/vm-672-disk-0.raw\n\
                            vmgenid: dbcedf22-ff9d-4e8a-97e3-c1ae828b1bc8\n";
                self.node.put_vm(672, text).expect("in memory");
            }
            // The guest was up by then, and did not listen to what shuts it down.
            "vm-lifecycle:28" => tokio::time::sleep(Duration::from_secs(60)).await,
            "vm-lifecycle:41" => next_task(TaskTwist::FailBefore("VM quit/powerdown failed".into())),
            _ => {}
        }
    }

    /// Whether it asks for a task that a call started which was not sent.
    pub fn is_of_unsent_task(&self, record: &Value) -> bool {
        let path = record["path"].as_str().unwrap();
        let upid = path.split('/').map(decoded).find(|part| part.starts_with("UPID:"));
        record["status"] == 200 && upid.is_some_and(|upid| !self.upids.contains_key(&upid))
    }

    pub async fn replay(&mut self, scenario: &str, step: usize, record: &Value) -> Vec<Difference> {
        let auth = identity(scenario, step, record);
        let request = self.request(record);
        // A task is recorded at its end only: here it is waited for, there it was polled.
        if record["body"]["data"]["status"] == "stopped" || request.path.ends_with("/log") {
            let upid = request.path.split('/').find(|part| part.starts_with("UPID%3A")).map(decoded);
            if let Some(upid) = upid {
                self.node.task_end(&upid).await;
            }
        }
        let response = self.node.handle(&auth, &request).await;
        let ours_upid = response.body["data"].as_str().filter(|text| text.starts_with("UPID:"));
        if let (Some(theirs), Some(ours)) = (record["body"]["data"].as_str(), ours_upid) {
            self.upids.insert(theirs.to_owned(), ours.to_owned());
        }
        if let (Some(theirs), Some(ours)) =
            (record["body"]["data"]["digest"].as_str(), response.body["data"]["digest"].as_str())
        {
            self.digests.insert(theirs.to_owned(), ours.to_owned());
        }
        compare::compare(record, &response)
    }

    fn request(&self, record: &Value) -> Request {
        let method = match record["method"].as_str().unwrap() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            _ => Method::Delete,
        };
        let segment = |part: &str| {
            let plain = decoded(part);
            self.upids
                .get(&plain)
                .map_or_else(|| part.to_owned(), |ours| ours.replace(':', "%3A").replace('!', "%21"))
        };
        let path = record["path"].as_str().unwrap().split('/').map(segment).collect::<Vec<_>>().join("/");
        let params = record["params"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let ours = |text: String| self.digests.get(&text).cloned().unwrap_or(text);
        // A list is sent as a name that repeats.
        let each = |(key, value): (&String, &Value)| -> Vec<(String, String)> {
            let all = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            all.iter().map(|value| (key.clone(), ours(text(value)))).collect()
        };
        let params = params.flat_map(each).collect();
        Request { method, path, params }
    }
}

fn decoded(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":").replace("%40", "@").replace("%21", "!").replace("%2F", "/")
}

/// As whom a request was sent. Where the recording does not say, by what it shows.
fn identity(scenario: &str, step: usize, record: &Value) -> Auth {
    match (scenario, step, record["as"].as_str()) {
        ("container-errors", 69 | 70, _) | ("acc", 11 | 12, _) => Auth::of("nobody@pve!no"),
        ("acc", 5..=10, _) => Auth::of("alice@pve!t2"),
        (_, _, Some("root@pam ticket")) => Auth::root(),
        (_, _, Some("token")) => Auth::of("phoenix@pve!judge"),
        (_, _, Some("limited token")) => Auth::of("phoenix@pve!cli"),
        _ => Auth::of("root@pam!conf"),
    }
}
