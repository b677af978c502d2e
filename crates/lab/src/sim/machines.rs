//! Virtual machines as records: what is asked for takes its time and is remembered, and an agent answers some time after the
//! start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use serde_json::Value;
use tokio::time::Instant;

use super::agent::{Said, Talk};
use super::guest::NODE;
use super::login::OTHER_KEY;
use super::runtime::SimRuntime;
use crate::node::nets;
use crate::runtime::{AgentError, Config, DiskSource, Machines, NewDisk, Power, TaskError, TaskLog};

/// Where a machine has its own key, and those that may enter.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
const AUTHORIZED: &str = "/root/.ssh/authorized_keys";
/// What says that a machine was started before.
const BEGAN: &str = "/var/lib/cloud/instance";
/// Where the node has files that machines are told.
pub(super) const SNIPPETS: &str = "/var/lib/vz/snippets";

/// A machine that runs.
#[derive(Debug)]
pub(super) struct Running {
    paused: bool,
    /// When its agent begins to answer; none where it has none, or nothing that starts.
    agent: Option<Instant>,
    /// Whether there is a system that shuts down when it is asked.
    system: bool,
    /// What it was started with.
    pub config: Config,
    pub talk: Talk,
}

/// What is known of all machines.
#[derive(Debug, Default)]
pub(super) struct All {
    pub running: BTreeMap<u32, Running>,
    /// Volumes with nothing on them.
    blank: BTreeSet<String>,
    /// The machines whose agent never answers.
    silent: BTreeSet<u32>,
}

impl SimRuntime {
    /// A machine's guest agent never answers from now on, or does again: it is not installed, or hangs.
    pub fn silence_agent(&self, id: u32, silent: bool) {
        let silenced = &mut self.guests().machines.silent;
        if silent {
            silenced.insert(id)
        } else {
            silenced.remove(&id)
        };
    }

    /// Lets a virtual machine run from now on, at no cost in time, with its agent answering. `config` is what it runs with.
    pub fn set_running_vm(&self, id: u32, config: Config) {
        self.set_running(id);
        let machine = Running {
            paused: false,
            agent: Some(Instant::now()),
            system: true,
            config,
            talk: Talk::default(),
        };
        let mut guests = self.guests();
        let name = machine.config.get("name").cloned().unwrap_or_default();
        guests.inside.entry(id).or_default().name = name;
        guests.machines.running.insert(id, machine);
    }

    /// The machine that ssh gets into at an address. An error is what ssh says instead.
    pub(super) fn enter(&self, address: &str, host: &str, client: &str) -> Result<u32, String> {
        let guests = self.guests();
        let has = |machine: &Running| {
            nets(&machine.config)
                .iter()
                .any(|net| net.address.as_deref().and_then(|it| it.split('/').next()) == Some(address))
        };
        let found = guests.machines.running.iter().find(|(_, machine)| has(machine));
        let Some((id, machine)) = found.filter(|(_, machine)| !machine.paused) else {
            return Err(format!("ssh: connect to host {address} port 22: No route to host"));
        };
        let listens = machine.agent.is_some_and(|since| since <= Instant::now());
        if !listens || guests.machines.silent.contains(id) {
            return Err(format!("ssh: connect to host {address} port 22: Connection refused"));
        }
        let inside = guests.inside.get(id);
        let file = |path: &str| {
            inside.and_then(|it| it.files.get(path)).map(|it| String::from_utf8_lossy(it).into_owned())
        };
        if file(HOST_KEY).as_deref() != Some(host) {
            return Err(OTHER_KEY.to_owned());
        }
        match file(AUTHORIZED).is_some_and(|keys| keys.lines().any(|key| key.starts_with(client))) {
            true => Ok(*id),
            false => Err(format!("root@{address}: Permission denied (publickey)")),
        }
    }

    /// What cloud-init does with what it is told at a first start beside what the node writes itself.
    fn first_start(&self, id: u32, config: &Config) {
        let name = config
            .get("cicustom")
            .and_then(|custom| custom.split_once(":snippets/"))
            .map(|(_, name)| name.to_owned());
        let mut guests = self.guests();
        // A machine that was there before remembers that.
        let done = guests.inside.entry(id).or_default().files.contains_key(BEGAN);
        guests.inside.entry(id).or_default().files.insert(BEGAN.to_owned(), Vec::new());
        let path = name.map(|name| format!("{SNIPPETS}/{name}"));
        let text = path.and_then(|path| guests.inside.get(&NODE)?.files.get(&path).cloned());
        let told = text.and_then(|text| {
            serde_json::from_str::<Value>(String::from_utf8_lossy(&text).strip_prefix("#cloud-config\n")?)
                .ok()
        });
        let Some(told) = told.filter(|_| !done) else { return };
        let files = &mut guests.inside.entry(id).or_default().files;
        if let Some(key) = told["ssh_keys"]["ed25519_public"].as_str() {
            files.insert(HOST_KEY.to_owned(), key.as_bytes().to_vec());
        }
        for file in told["write_files"].as_array().into_iter().flatten() {
            if let (Some(path), Some(content)) = (file["path"].as_str(), file["content"].as_str()) {
                files.insert(path.to_owned(), content.as_bytes().to_vec());
            }
        }
    }

    /// The files of the node that machines are told at their first start.
    pub fn snippets(&self) -> Vec<String> {
        let guests = self.guests();
        let files = guests.inside.get(&NODE).into_iter().flat_map(|node| node.files.keys());
        files.filter(|path| path.starts_with(SNIPPETS)).cloned().collect()
    }

    /// Gives a machine another host key, as if somebody else had its address.
    pub fn other_host_key(&self, id: u32) {
        self.guests()
            .inside
            .entry(id)
            .or_default()
            .files
            .insert(HOST_KEY.to_owned(), b"ssh-ed25519 other".to_vec());
    }

    /// What a running machine has of its own disk to start from.
    fn starts(&self, config: &Config) -> bool {
        let text = config.get("boot").map_or("", String::as_str);
        let order = text.trim_start_matches("order=").split(';');
        let volume = |key: &str| Some(config.get(key)?.split(',').next()?.to_owned());
        let blank = &self.guests().machines.blank;
        order.filter(|key| !key.starts_with("net")).filter_map(volume).any(|volume| !blank.contains(&volume))
    }
}

/// Whose a volume is, by its name: `vm-301-disk-0`, `base-301-disk-0`.
fn guest_of(volume: &str) -> Option<u32> {
    let name = volume.rsplit(['/', ':']).next()?;
    name.split('-').nth(1)?.parse().ok()
}

#[async_trait]
impl Machines for SimRuntime {
    async fn image_size(&self, _image: &Utf8Path, listed: u64) -> Result<u64, TaskError> {
        Ok(listed)
    }

    async fn make_disks(&self, id: u32, disks: &[NewDisk], _log: &TaskLog) -> Result<(), TaskError> {
        for disk in disks {
            let copies = matches!(disk.source, DiskSource::Copy(_) | DiskSource::Image(_));
            let time = if copies { self.times().create } else { self.times().change };
            self.take(id, 10, time).await;
            if let DiskSource::Copy(from) | DiskSource::Linked(from) = &disk.source
                && let Some(other) = guest_of(from).filter(|other| *other != id)
            {
                self.copy_inside(other, id, "");
            }
            let blank = &mut self.guests().machines.blank;
            let is_blank = match &disk.source {
                DiskSource::Blank => true,
                DiskSource::Image(_) => false,
                DiskSource::Copy(from) | DiskSource::Linked(from) => blank.contains(from),
            };
            if is_blank {
                blank.insert(disk.volume.clone())
            } else {
                blank.remove(&disk.volume)
            };
        }
        Ok(())
    }

    async fn free_disks(&self, id: u32, volumes: &[String]) -> Result<(), TaskError> {
        self.take(id, 11, self.times().change).await;
        let blank = &mut self.guests().machines.blank;
        blank.retain(|volume| !volumes.contains(volume));
        Ok(())
    }

    async fn rename_disk(&self, from: &str, to: &str) -> Result<(), TaskError> {
        let blank = &mut self.guests().machines.blank;
        if blank.remove(from) {
            blank.insert(to.to_owned());
        }
        Ok(())
    }

    async fn grow_disk(&self, id: u32, _key: &str, _volume: &str, _bytes: u64) -> Result<(), TaskError> {
        self.take(id, 7, self.times().resize).await;
        Ok(())
    }

    async fn boot(&self, id: u32, config: &Config, _log: &TaskLog) -> Result<(), TaskError> {
        self.take(id, 2, self.times().start).await;
        let system = self.starts(config);
        // It is drawn as all times are, so that it is awaited here, in a moment that nobody sees.
        let agent = system.then(|| Instant::now() + self.drawn(id, 12, self.times().agent));
        let config = config.clone();
        let name = config.get("name").cloned().unwrap_or_default();
        if system {
            self.first_start(id, &config);
        }
        let mut guests = self.guests();
        guests.running.insert(id, Instant::now());
        guests.inside.entry(id).or_default().name = name;
        let machine = Running { paused: false, agent, system, config, talk: Talk::default() };
        guests.machines.running.insert(id, machine);
        Ok(())
    }

    async fn power(&self, id: u32, what: Power) -> Result<(), TaskError> {
        self.take(id, 3, self.times().stop).await;
        let mut guests = self.guests();
        match what {
            Power::Stop => {
                guests.running.remove(&id);
                guests.machines.running.remove(&id);
            }
            Power::Reset => {
                let wait = self.times().agent;
                if let Some(machine) = guests.machines.running.get_mut(&id) {
                    machine.talk = Talk::default();
                    machine.agent = machine.system.then(|| Instant::now() + wait);
                }
            }
            Power::Suspend | Power::Resume => {
                if let Some(machine) = guests.machines.running.get_mut(&id) {
                    machine.paused = what == Power::Suspend;
                }
            }
        }
        Ok(())
    }

    async fn power_down(&self, id: u32, limit: Duration) -> Result<(), TaskError> {
        let listens =
            self.guests().machines.running.get(&id).is_some_and(|machine| machine.system && !machine.paused);
        let down = async {
            if !listens {
                std::future::pending::<()>().await;
            }
            self.take(id, 4, self.times().shutdown).await;
        };
        tokio::time::timeout(limit, down).await.map_err(|_| TaskError("got timeout".to_owned()))?;
        let mut guests = self.guests();
        guests.running.remove(&id);
        guests.machines.running.remove(&id);
        Ok(())
    }

    async fn is_paused(&self, id: u32) -> bool {
        self.guests().machines.running.get(&id).is_some_and(|machine| machine.paused)
    }

    async fn plug(&self, id: u32, key: &str, _old: Option<&str>, new: Option<&str>) -> Result<(), TaskError> {
        self.take(id, 6, self.times().change).await;
        if let Some(machine) = self.guests().machines.running.get_mut(&id) {
            match new {
                Some(new) => drop(machine.config.insert(key.to_owned(), new.to_owned())),
                None => drop(machine.config.remove(key)),
            }
        }
        Ok(())
    }

    async fn seed(&self, id: u32, _config: &Config) -> Result<(), TaskError> {
        self.take(id, 6, self.times().change).await;
        Ok(())
    }

    async fn forget(&self, id: u32) -> Result<(), TaskError> {
        self.take(id, 5, self.times().destroy).await;
        let mut guests = self.guests();
        guests.running.remove(&id);
        guests.machines.running.remove(&id);
        guests.inside.remove(&id);
        Ok(())
    }

    async fn ask_agent(&self, id: u32, command: &str, arguments: Value) -> Result<Value, AgentError> {
        let answers = {
            let guests = self.guests();
            let silent = guests.machines.silent.contains(&id);
            let machine = guests.machines.running.get(&id);
            machine.is_some_and(|machine| {
                !silent && !machine.paused && machine.agent.is_some_and(|since| since <= Instant::now())
            })
        };
        if !answers {
            // The node waits three seconds for an answer before it says so (PVE::QMPClient).
            self.take(id, 13, self.times().exec.saturating_mul(100)).await;
            return Err(AgentError::Down);
        }
        self.take(id, 8, self.times().exec).await;
        match self.talk(id, command, &arguments)? {
            Said::Now(value) => Ok(value),
            Said::ShutDown => {
                self.power_down(id, Duration::from_secs(60))
                    .await
                    .map_err(|error| AgentError::Said(error.0))?;
                Ok(Value::Object(serde_json::Map::new()))
            }
        }
    }
}
