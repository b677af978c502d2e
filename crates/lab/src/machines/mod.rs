//! Real virtual machines: QEMU's processes on the node, beside its containers.
//!
//! Disks are files on the lab's storages, a machine's network cards are taps on the node's bridges, and what is asked of its
//! guest agent is really asked. Nothing is kept in memory: what runs is told by the processes, so that this one can be ended
//! and started again at any time. They all end with the node, whose processes they are.
//!
//! What a real node does and this one does not: plugging in processors, memory and USB devices, OVMF and TPMs, and the
//! firewall on a machine's cards.

mod image;
mod process;
mod programs;
mod qemu;
mod seed;
mod talk;
mod volumes;

use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::{Value, json};

use crate::containers::{LxcRuntime, run_for};
use crate::runtime::{AgentError, Config, Machines, NewDisk, Power, TaskError, TaskLog};
use process::RUN;
pub(crate) use process::running;
pub(crate) use programs::{PACKAGES as PROGRAMS, name as programs_name};
use qemu::{Drive, Net};
pub(crate) use talk::ask;

/// The longest that a start may take until the process is there.
const START: Duration = Duration::from_secs(60);
/// The longest that a process may take to end when it is told to.
const END: Duration = Duration::from_secs(10);
/// For a program that only sets something.
const SHORT: Duration = Duration::from_secs(20);
/// How long a device may take to be let go by the system that uses it.
const UNPLUG: Duration = Duration::from_secs(10);

/// A machine's socket: `qmp`, `qga`.
fn socket(id: u32, name: &str) -> Utf8PathBuf {
    Utf8Path::new(RUN).join(format!("{id}.{name}"))
}

/// The image that can be had, as its storage calls it, and where it is: its size is [`image::SIZE`].
pub(crate) fn offered() -> Option<(String, Utf8PathBuf, u64)> {
    (std::env::consts::ARCH == "x86_64")
        .then(|| (format!("import/{}", image::NAME), image::own().disk, image::SIZE))
}

/// The machines whose processes listen, in a table of sockets, `/proc/net/unix`.
pub(crate) fn listening(table: &str) -> std::collections::BTreeSet<u32> {
    let words = table.lines().filter_map(|line| line.rsplit(' ').next());
    words
        .filter_map(|path| path.strip_prefix(RUN)?.strip_prefix('/')?.strip_suffix(".qmp")?.parse().ok())
        .collect()
}

/// Whether this computer's processor runs machines itself, by what it says of itself (`/proc/cpuinfo`): Intel's VMX or AMD's SVM.
/// A `/dev/kvm` without either is one that emulates in the kernel what it has to (PVM), in which a usual system starts never.
fn virtualises(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.flat_map(|(_, flags)| flags.split_whitespace()).any(|flag| matches!(flag, "vmx" | "svm"))
}

/// Whether machines can be run by the processor, as far as can be seen before one starts.
pub(crate) fn has_kvm() -> bool {
    Utf8Path::new("/dev/kvm").exists()
        && fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| virtualises(&text))
}

/// Is there when it was found that `/dev/kvm` is of no use.
fn no_kvm() -> Utf8PathBuf {
    Utf8Path::new(RUN).join("no-kvm")
}

/// Puts a card's other end on its bridge.
async fn connect(net: &Net) -> Result<(), TaskError> {
    let Some(bridge) = net.bridge.as_deref().filter(|_| !net.link_down) else { return Ok(()) };
    run_for(&["ip", "link", "set", &net.tap, "master", bridge, "up"], SHORT).await.map(drop)
}

/// Seconds that a process has run, and its memory in bytes.
pub(crate) fn usage(id: u32) -> Option<(u64, u64)> {
    let pid = process::pid(id)?;
    Some((crate::containers::age(pid)?, process::memory(pid)?))
}

/// The process is gone: what it left goes, too.
async fn ended(id: u32) -> Result<(), TaskError> {
    if !process::ends(id, END).await {
        process::kill(id);
        if !process::ends(id, END).await {
            return Err(TaskError(format!("VM {id} did not end")));
        }
    }
    process::tidy(id);
    Ok(())
}

/// Takes a device out of a running machine, which has to let it go, and then what was behind it: a command of QMP that is
/// refused as long as something has it.
async fn unplug(id: u32, device: &str, behind: Option<(&str, Value)>) -> Result<(), TaskError> {
    talk::qmp(id, "device_del", json!({ "id": device })).await?;
    let end = tokio::time::Instant::now() + UNPLUG;
    loop {
        // It is gone when nobody knows it any more.
        let path = format!("/machine/peripheral/{device}");
        let there = talk::qmp(id, "qom-list", json!({ "path": path })).await.is_ok();
        let refused = match &behind {
            _ if there => TaskError("the system in it did not let it go".to_owned()),
            None => return Ok(()),
            Some((command, arguments)) => match talk::qmp(id, command, arguments.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
        };
        if tokio::time::Instant::now() >= end {
            return Err(TaskError(format!("error unplugging '{device}': {refused}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[async_trait]
impl Machines for LxcRuntime {
    fn offered(&self) -> Option<(String, Utf8PathBuf, u64)> {
        offered()
    }

    async fn image_size(&self, image: &Utf8Path, listed: u64) -> Result<u64, TaskError> {
        if image::is_own(image) {
            return Ok(listed);
        }
        let argv = ["qemu-img", "info", "-U", "--output=json", image.as_str()];
        let said = programs::run(&argv, SHORT * 90).await?;
        let said: Value = serde_json::from_str(&said.text()).unwrap_or_default();
        said["virtual-size"]
            .as_u64()
            .ok_or_else(|| TaskError(format!("unable to read the size of '{image}'")))
    }

    async fn make_disks(&self, _id: u32, disks: &[NewDisk], log: &TaskLog) -> Result<(), TaskError> {
        programs::make(log).await?;
        for disk in disks {
            volumes::make(disk, log).await?;
        }
        Ok(())
    }

    async fn free_disks(&self, _id: u32, volumes: &[String]) -> Result<(), TaskError> {
        volumes.iter().try_for_each(|volume| volumes::free(volume))
    }

    async fn rename_disk(&self, from: &str, to: &str) -> Result<(), TaskError> {
        volumes::rename(from, to)
    }

    async fn grow_disk(&self, id: u32, key: &str, volume: &str, bytes: u64) -> Result<(), TaskError> {
        volumes::grow(id, key, volume, bytes, process::pid(id).is_some()).await
    }

    async fn boot(&self, id: u32, config: &Config, log: &TaskLog) -> Result<(), TaskError> {
        if process::pid(id).is_some() {
            return Ok(());
        }
        programs::make(log).await?;
        process::tidy(id);
        fs::create_dir_all(RUN).map_err(|error| TaskError(format!("unable to make '{RUN}' - {error}")))?;
        seed::write(id, config).await?;
        // Where the processor does not help, or only seems to, the machine is emulated: that is seen when one starts.
        let mut helps = qemu::wants_kvm(config) && has_kvm() && !no_kvm().exists();
        loop {
            let argv =
                qemu::arguments(id, config, Utf8Path::new(RUN), helps, &image::own(), volumes::is_own)?;
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let Err(TaskError(said)) = programs::run_in_scope(id, &argv, START).await else { break };
            process::kill(id);
            process::tidy(id);
            if !helps {
                log.line(said);
                return Err(TaskError("start failed: QEMU exited with code 1".to_owned()));
            }
            log.line("this computer's processor does not help machines: they are emulated");
            helps = false;
            // It is looked for again after the next start of the node.
            let _ = fs::write(no_kvm(), "");
        }
        for net in qemu::nets(id, config) {
            if let Err(error) = connect(&net).await {
                process::kill(id);
                ended(id).await?;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn power(&self, id: u32, what: Power) -> Result<(), TaskError> {
        let command = match what {
            Power::Stop => "quit",
            Power::Reset => "system_reset",
            Power::Suspend => "stop",
            Power::Resume => "cont",
        };
        let done = talk::qmp(id, command, Value::Null).await;
        if what != Power::Stop {
            return done.map(drop);
        }
        // One that does not listen is ended all the same.
        ended(id).await
    }

    async fn power_down(&self, id: u32, limit: Duration) -> Result<(), TaskError> {
        // The agent where there is one, and the power button.
        let asked = talk::agent(id, "guest-shutdown", json!({"mode": "powerdown"})).await;
        if asked.is_err() {
            talk::qmp(id, "system_powerdown", Value::Null).await?;
        }
        if !process::ends(id, limit).await {
            return Err(TaskError("got timeout".to_owned()));
        }
        process::tidy(id);
        Ok(())
    }

    async fn is_paused(&self, id: u32) -> bool {
        let status = talk::qmp(id, "query-status", Value::Null).await;
        status.is_ok_and(|status| status["status"] == "paused")
    }

    async fn plug(&self, id: u32, key: &str, old: Option<&str>, new: Option<&str>) -> Result<(), TaskError> {
        if key == "tablet" {
            // There is none: nobody looks at a screen of these machines.
            return Ok(());
        }
        if key == "balloon" {
            let Some(mebibytes) = new.and_then(|new| new.parse::<u64>().ok()) else { return Ok(()) };
            return talk::qmp(id, "balloon", json!({"value": mebibytes << 20})).await.map(drop);
        }
        if key.starts_with("net") {
            if old.is_some() {
                let behind = ("netdev_del", json!({"id": format!("{key}-backend")}));
                unplug(id, key, Some(behind)).await?;
            }
            let Some(net) = new.and_then(|new| Net::parse(id, key, new)) else { return Ok(()) };
            talk::qmp(id, "netdev_add", net.backend()).await?;
            connect(&net).await?;
            return talk::qmp(id, "device_add", net.device()).await.map(drop);
        }
        let drive = |text: Option<&str>| match text {
            Some(text) => Drive::parse(key, text),
            None => Ok(None),
        };
        let (before, after) = (drive(old)?, drive(new)?);
        if before.is_none() && after.is_none() {
            return Err(TaskError(format!("this node's machines take no '{key}' while they run")));
        }
        if before.as_ref().and_then(Drive::block) == after.as_ref().and_then(Drive::block) {
            // What else is said of it is of no concern to the process.
            return Ok(());
        }
        if let Some(before) = before {
            if key.starts_with("ide") || key.starts_with("sata") {
                return Err(TaskError(format!(
                    "this node's machines keep what is in '{key}' while they run"
                )));
            }
            let behind =
                before.block().map(|_| ("blockdev-del", json!({"node-name": format!("drive-{key}")})));
            unplug(id, key, behind).await?;
        }
        let Some(after) = after else { return Ok(()) };
        if let Some(block) = after.block() {
            talk::qmp(id, "blockdev-add", block).await?;
        }
        talk::qmp(id, "device_add", after.device(None)).await.map(drop)
    }

    async fn seed(&self, id: u32, config: &Config) -> Result<(), TaskError> {
        seed::write(id, config).await
    }

    async fn forget(&self, id: u32) -> Result<(), TaskError> {
        process::tidy(id);
        Ok(())
    }

    async fn ask_agent(&self, id: u32, command: &str, arguments: Value) -> Result<Value, AgentError> {
        talk::agent(id, command, arguments).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_says_whether_it_virtualises() {
        assert!(virtualises("processor\t: 0\nflags\t\t: fpu vme svm lm\n"));
        assert!(virtualises("flags\t\t: fpu vmx\nvmx flags\t: vnmi\n"));
        assert!(!virtualises("flags\t\t: fpu vme lm hypervisor\nvmx flags\t: vnmi vmx\nbugs\t\t: svm\n"));
    }

    #[test]
    fn what_listens_is_told_by_its_socket() {
        let table = "Num RefCount Protocol Flags Type St Inode Path\n0000: 2 0 10000 1 1 77 /run/qemu-server/301.qmp\n\
                     0000: 2 0 10000 1 1 78 /run/qemu-server/302.qga\n0000: 2 0 10000 1 1 79 /run/x/303.qmp\n";
        assert_eq!(listening(table).into_iter().collect::<Vec<_>>(), [301]);
    }
}
