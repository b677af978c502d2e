//! A node that is a machine: a process of QEMU with disks and network links of its own, whose power can be cut and whose disks can be
//! pulled. Everything else of the lab is as it is with containers; they are in the machine, as is the node's API.
//!
//! The system disk is kept apart from the image that it began as. The lab's program is on a disk of its own, which is made anew
//! whenever the machine starts; the node's first files are on it, too, and are taken over once.

mod doors;
mod image;
mod parts;
mod qemu;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::{Value, json};

use super::base::{self, Base};
use super::error::{Error, run};
use super::machine::RECORDS;
use super::preflight::Release;
use super::process::Process;
use super::spec::{LabSpec, Names};
use super::{Event, NodeRecord, Report, down, forward, ready, record, start_lock};
use crate::machines::{self, ask};

pub(crate) use doors::Doors;
pub(crate) use image::{LABEL, PROGRAM_LABEL, apt_of};
pub(crate) use parts::{ADDRESS, DISKS, FILE, GATEWAY, NAMES};
pub use parts::{Disk, Hardware, Link, MachineSpec};
use parts::{Part, SYSTEM};
pub(crate) use qemu::PROGRAM;

/// The folder that the disk with the lab's program is made from, in the lab's folder.
pub(crate) const STAGE: &str = "stage";
/// Where the node's first files are on that disk.
const FIRST_FILES: &str = "files";
/// Where the template is on that disk.
pub(crate) const TEMPLATES: &str = "templates";
/// QEMU is there at once; a machine under load gets more.
const START: Duration = Duration::from_secs(60);
/// Runs QEMU in its root.
const ENTER: &str = include_str!("enter.sh");

/// Where the process listens.
pub(crate) fn socket(id: &str) -> Utf8PathBuf {
    Utf8Path::new(RECORDS).join(format!("{id}.qmp"))
}

fn pid_file(id: &str) -> Utf8PathBuf {
    Utf8Path::new(RECORDS).join(format!("{id}.pid"))
}

/// What the machine writes to its serial line, in the lab's folder.
pub(crate) fn console(folder: &Utf8Path) -> Utf8PathBuf {
    folder.join("console.log")
}

/// The machine's process, when it runs.
pub(crate) fn process(id: &str) -> Option<Process> {
    let file = pid_file(id);
    let pid: u32 = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
    // A number alone may be another program's by now.
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let own = line.split(|byte| *byte == 0).any(|word| word == file.as_str().as_bytes());
    Process::find(pid).filter(|_| own)
}

/// Removes what the process left among the records.
pub(crate) fn tidy(id: &str) {
    for file in [socket(id), pid_file(id)] {
        // It may have gone by itself.
        let _ = fs::remove_file(file);
    }
}

/// Runs programs in the root that QEMU lies in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    folder: &'a Utf8Path,
    parts: &'a Hardware,
}

impl Program<'_> {
    fn inside(&self, cgroup: &str, argv: &[&str]) -> Vec<String> {
        let Hardware { programs, image, .. } = self.parts;
        let enter = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", ENTER, "sh"];
        let places = [programs.as_str(), self.folder.as_str(), image.as_str(), cgroup];
        enter.iter().chain(&places).chain(argv).map(|word| (*word).to_owned()).collect()
    }

    async fn run(&self, what: &str, argv: &[&str], limit: Duration) -> Result<(), Error> {
        let argv = self.inside("", argv);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        run(what, &argv, b"", limit).await.map(drop)
    }
}

/// What is made once for all labs, and the machine's parts: those it has, or those of `spec`.
pub(crate) async fn prepare(
    spec: &LabSpec,
    machine: MachineSpec,
    base: &Base,
    names: &Names,
    report: Report<'_>,
) -> Result<Hardware, Error> {
    let release = Release::read()?;
    if release.architecture != "amd64" {
        return Err(Error::NoMachine { architecture: release.architecture });
    }
    let programs = image::programs(&spec.cache, &release, report).await?;
    let folder = &spec.folder;
    let mut parts = match Hardware::read(folder) {
        Some(parts) => parts,
        None => Hardware::new(machine, programs.clone(), names.mac.get(..14).unwrap_or("02:00:00:00:00")),
    };
    parts.programs = programs;
    let disks = folder.join(DISKS);
    fs::create_dir_all(&disks).map_err(Error::io(format!("making `{disks}`")))?;
    let system = disks.join(SYSTEM);
    if !system.exists() || image::made(&parts.image) != Some(parts.image_made) {
        if system.exists() {
            report(Event::Note(
                "what its system began as is not in the cache any more: it is installed anew, and its other disks keep \
                 what they hold"
                    .to_owned(),
            ));
        }
        base::remove(&system).await?;
        parts.image = image::image(&spec.cache, base, &release, report).await?;
        parts.image_made = image::made(&parts.image).unwrap_or_default();
        let path = format!("{}/{DISKS}/{SYSTEM}", qemu::LAB);
        image::new_system(&Program { folder, parts: &parts }, &path).await?;
    }
    for disk in &parts.disks {
        make_disk(folder, disk)?;
    }
    parts.save(folder)?;
    Ok(parts)
}

/// An empty disk, where there is none.
fn make_disk(folder: &Utf8Path, disk: &Disk) -> Result<(), Error> {
    let path = folder.join(DISKS).join(disk.file());
    if path.exists() {
        return Ok(());
    }
    let made = fs::File::create(&path).and_then(|file| file.set_len(disk.bytes));
    made.map_err(Error::io(format!("making `{path}`")))
}

/// Makes the disk with the lab's program, the template and the node's first files.
pub(crate) async fn program_disk(folder: &Utf8Path, base: &Base) -> Result<(), Error> {
    let stage = folder.join(STAGE);
    base::remove(&stage).await?;
    let templates = stage.join(TEMPLATES);
    fs::create_dir_all(&templates).map_err(Error::io(format!("making `{stage}`")))?;
    let (program, first) = (folder.join("bin/phoenix-cli"), folder.join("upper"));
    let (state, template) = (folder.join("state/lab.json"), base.templates.join(&base.template));
    let files = stage.join(FIRST_FILES);
    let own = files.join(super::NODE_STATE.trim_start_matches('/'));
    // Links where that can be done: nothing in there is written to.
    for (from, to) in [(&program, &stage), (&template, &templates), (&first, &files)] {
        let argv = ["cp", "-a", from.as_str(), to.as_str()];
        run("putting together the machine's files", &argv, b"", base::BUILD).await?;
    }
    fs::create_dir_all(&own)
        .and_then(|()| fs::copy(&state, own.join("lab.json")))
        .map_err(Error::io("putting the lab's settings onto the machine"))?;
    let image = folder.join(PROGRAM);
    let mut size = 0;
    for file in [&program, &template] {
        size += fs::metadata(file).map_err(Error::io(format!("looking at `{file}`")))?.len();
    }
    // File system and small files have a tenth and 64 MiB.
    let size = size + size / 10 + (64 << 20);
    let new = image.with_extension("new");
    // A machine that runs keeps the one that it has.
    let _ = fs::remove_file(&new);
    fs::File::create(&new)
        .and_then(|file| file.set_len(size))
        .map_err(Error::io("making the disk of the lab's program"))?;
    image::file_system(PROGRAM_LABEL, &stage, &new).await?;
    fs::rename(&new, &image).map_err(Error::io("keeping the disk of the lab's program"))?;
    base::remove(&stage).await
}

/// Turns the machine on.
pub(crate) async fn power_on(folder: &Utf8Path, names: &Names, parts: &Hardware) -> Result<(), Error> {
    if process(&names.id).is_some() {
        return Ok(());
    }
    let cgroup = down::cgroup(&names.id);
    // Where the processor does not help, or only seems to, the machine is emulated: that is seen when it starts.
    let mut kvm = machines::has_kvm();
    loop {
        tidy(&names.id);
        let arguments = qemu::arguments(&names.id, parts, kvm);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let argv = Program { folder, parts }.inside(cgroup.as_str(), &arguments);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        match run("turning the machine on", &argv, b"", START).await {
            Ok(_) => break,
            Err(_) if kvm => kvm = false,
            Err(error) => return Err(error),
        }
    }
    for link in parts.links.iter().filter(|link| !link.there) {
        plug_link(&names.id, link, false).await?;
    }
    Ok(())
}

/// Whether this computer's processor helps: without it, the machine is emulated.
pub(crate) async fn helped(id: &str) -> bool {
    let said = ask(&socket(id), "query-kvm", Value::Null).await;
    said.is_ok_and(|said| said["enabled"] == true)
}

async fn qmp(id: &str, command: &str, arguments: Value) -> Result<Value, Error> {
    ask(&socket(id), command, arguments).await.map_err(|said| Error::Node { what: command.to_owned(), said })
}

async fn plug_link(id: &str, link: &Link, there: bool) -> Result<(), Error> {
    qmp(id, "set_link", json!({ "name": link.name, "up": there })).await.map(drop)
}

/// What can be done to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Its power is cut, from one moment to the next.
    Cut,
    /// It is turned on.
    Boot,
    /// Its reset button is pressed.
    Reset,
    /// Its system disk is replaced by a new one; the other disks keep what they hold.
    Reinstall,
    /// A disk, or the cable of a network link, is pulled.
    Pull(String),
    /// It is plugged in again.
    Insert(String),
    /// A new, empty disk takes the place of that one.
    Replace(String),
}

/// Does it to the machine of the lab in `folder`: what came of it, for a person. What starts the machine waits until its node
/// answers.
///
/// # Errors
/// When there is no such lab, its node is no machine, or it refuses.
pub async fn machine(folder: &Utf8Path, deed: Deed, report: Report<'_>) -> Result<String, Error> {
    let _lock = start_lock(folder).await?;
    let gone = || Error::NotRunning { folder: folder.to_owned() };
    let (known, node) = (record(folder).ok_or_else(gone)?, NodeRecord::read(folder).ok_or_else(gone)?);
    let mut parts = Hardware::read(folder).ok_or_else(|| Error::NotMachine { folder: folder.to_owned() })?;
    let names = &known.names;
    let running = process(&names.id);
    let starts = matches!(deed, Deed::Boot | Deed::Reinstall);
    if starts && running.is_none() && image::made(&parts.image) != Some(parts.image_made) {
        return Err(Error::NoImage { image: parts.image });
    }
    match deed {
        Deed::Cut => {
            let Some(running) = running else { return Ok("it was off already".to_owned()) };
            running.kill().await;
            tidy(&names.id);
            Ok("the power is off: turn it on again with: phoenix-cli lab machine boot".to_owned())
        }
        Deed::Boot => {
            if running.is_some() {
                return Ok("it was on already".to_owned());
            }
            boot(folder, names, &parts, node, report).await
        }
        Deed::Reset => {
            if running.is_none() {
                return Err(gone());
            }
            qmp(&names.id, "system_reset", Value::Null).await?;
            Ok("it starts anew".to_owned())
        }
        Deed::Reinstall => {
            if let Some(running) = running {
                running.kill().await;
            }
            let system = folder.join(DISKS).join(SYSTEM);
            base::remove(&system).await?;
            let path = format!("{}/{DISKS}/{SYSTEM}", qemu::LAB);
            image::new_system(&Program { folder, parts: &parts }, &path).await?;
            boot(folder, names, &parts, node, report).await
        }
        Deed::Pull(name) => {
            match parts.part(&name)? {
                Part::Disk(disk) if !disk.there => return Ok(format!("{} was pulled already", disk.name)),
                Part::Disk(disk) => {
                    if running.is_some() {
                        pull(&names.id, disk).await?;
                    }
                    disk.there = false;
                }
                Part::Link(link) => {
                    if running.is_some() {
                        plug_link(&names.id, link, false).await?;
                    }
                    link.there = false;
                }
            }
            parts.save(folder)?;
            Ok(format!("{name} is pulled: plug it in again with: phoenix-cli lab machine insert {name}"))
        }
        Deed::Insert(name) | Deed::Replace(name) if matches!(parts.part(&name)?, Part::Link(_)) => {
            if let Part::Link(link) = parts.part(&name)? {
                if running.is_some() {
                    plug_link(&names.id, link, true).await?;
                }
                link.there = true;
            }
            parts.save(folder)?;
            Ok(format!("{name} is plugged in"))
        }
        Deed::Insert(name) => {
            let Part::Disk(disk) = parts.part(&name)? else { return Err(gone()) };
            if disk.there {
                return Ok(format!("{} is plugged in already", disk.name));
            }
            insert(folder, &names.id, disk, running.is_some()).await?;
            let said = format!("{} is plugged in: /dev/disk/by-id/{}", disk.name, disk.by_id());
            parts.save(folder)?;
            Ok(said)
        }
        Deed::Replace(name) => {
            let Part::Disk(disk) = parts.part(&name)? else { return Err(gone()) };
            if disk.there && running.is_some() {
                pull(&names.id, disk).await?;
            }
            base::remove(&folder.join(DISKS).join(disk.file())).await?;
            disk.replace();
            make_disk(folder, disk)?;
            insert(folder, &names.id, disk, running.is_some()).await?;
            let said = format!("{} is a new, empty disk: /dev/disk/by-id/{}", disk.name, disk.by_id());
            parts.save(folder)?;
            Ok(said)
        }
    }
}

/// Takes a disk out of a running machine, whatever uses it.
async fn pull(id: &str, disk: &Disk) -> Result<(), Error> {
    qmp(id, "device_del", json!({ "id": disk.name })).await?;
    let file = json!({ "node-name": format!("{}-file", disk.name) });
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        // What is on its way to the disk has to fail first.
        match qmp(id, "blockdev-del", file.clone()).await {
            Err(_) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => return done.map(drop),
        }
    }
}

async fn insert(folder: &Utf8Path, id: &str, disk: &mut Disk, running: bool) -> Result<(), Error> {
    make_disk(folder, disk)?;
    if running {
        qmp(id, "blockdev-add", qemu::block(disk)).await?;
        qmp(id, "device_add", qemu::device(disk)).await?;
    }
    disk.there = true;
    Ok(())
}

/// Turns it on, and waits until its node answers.
async fn boot(
    folder: &Utf8Path,
    names: &Names,
    parts: &Hardware,
    mut node: NodeRecord,
    report: Report<'_>,
) -> Result<String, Error> {
    let began = std::time::Instant::now();
    power_on(folder, names, parts).await?;
    let gone = || Error::NotRunning { folder: folder.to_owned() };
    let running = process(&names.id).ok_or_else(gone)?;
    // One that waits for the machine to come back may be about to give up.
    if let Some(old) = forward::running(folder) {
        old.process.kill().await;
    }
    forward::start(folder, node.ports).await?;
    ready::wait(&mut node, folder, &[running], report).await?;
    forward::replace(&folder.join("node.json"), &node)?;
    Ok(format!("it is on, and its node answers after {:.0} s", began.elapsed().as_secs_f64()))
}
