//! What a virtual machine is told at its first start alone, beside what Proxmox VE itself tells cloud-init: the keys of ssh,
//! by which it is entered, and packages.
//!
//! It is vendor data of cloud-init in a file on the node (`cicustom`, a volume with `snippets`), which the node puts into the
//! machine's cloud-init drive when it starts. There is a private key in it, so it is there only until the first start is
//! through: the machine names the file from when it is made until then, so that whoever comes after a run that was cut off
//! knows of it. Its name cannot be guessed, since any user of the node may have a machine of theirs read a file by its name.
//! Facts: qemu-server, `PVE/QemuServer/Cloudinit.pm`; a missing file is accepted, and a start fails for it (recorded:
//! KEYS-QEMU, "cicustom").

use std::time::Duration;

use apply::{Failure, Progress};
use blueprint::model::{Enter, Vm};
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::World;
use plan::{Address, Problem};
use proxmox::client::GuestRef;
use proxmox::property::PropertyString;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use transport::Command;

use crate::privileges::or_unseen;
use crate::settle;
use crate::worksite::Worksite;

/// What runs on the node.
const SCRIPT: &str = include_str!("first_start.sh");
/// The setting that names the file.
pub(super) const CUSTOM: &str = "cicustom";
/// What the node's storages call such files.
const CONTENT: &str = "snippets";
/// The agent's package, whose service starts with the machine, and so has to be started where it is installed later.
const AGENT: &str = "qemu-guest-agent";
/// Writing a file, or the drive.
const LIMIT: Duration = Duration::from_mins(2);

/// Why making a machine that is told something takes root.
pub(super) const BY_ROOT: &str = "what cloud-init is told at the first start is a file of the node's root";

/// What is done at a first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FirstStart {
    /// The storage that the file is on.
    pub storage: String,
    /// Whether it is told keys of ssh.
    #[serde(default)]
    pub ssh: bool,
    /// The packages that it installs.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// Whether there is something to be told at the first start.
pub(super) fn is_told(vm: &Vm) -> bool {
    vm.enter == Enter::Ssh || !vm.packages.is_empty()
}

/// What a new machine is told on this node; nothing where all is said by Proxmox VE itself.
pub(super) fn of(world: World<'_>, wanted: &Wanted, node: &str) -> Result<Option<FirstStart>, Box<Problem>> {
    let Some(vm) = wanted.vm().filter(|vm| is_told(vm)) else { return Ok(None) };
    let problem = |code: &str, message: String, hint: String| {
        Box::new(Problem { address: wanted.resource(), code: code.into(), message, hint })
    };
    let what = if vm.enter == Enter::Ssh { "keys of ssh" } else { "packages" };
    if !world.inventory.commands {
        let message = format!(
            "it is to be told {what} at its first start, and there are no commands on the node to do that"
        );
        let hint = "declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"".to_owned();
        return Err(problem("transport::no-commands", message, hint));
    }
    let storages = &world.inventory.facts(node).storages;
    let mut fits =
        storages.iter().filter(|(_, it)| it.active && it.content.contains(CONTENT)).map(|(name, _)| name);
    // The node's own disk is read by nobody else.
    let own = storages.get("local").filter(|it| it.active && it.content.contains(CONTENT)).map(|_| "local");
    let Some(storage) = own.or_else(|| fits.next().map(String::as_str)) else {
        let message = format!(
            "it is to be told {what} at its first start, and no storage of {node} may hold `{CONTENT}`"
        );
        let content = storages
            .get("local")
            .map(|it| it.content.iter().map(String::as_str).collect::<Vec<_>>().join(","));
        let content =
            content.filter(|it| !it.is_empty()).unwrap_or_else(|| "iso,vztmpl,backup,import".to_owned());
        let hint = format!(
            "on the node: pvesm set local --content {content},{CONTENT}; {}",
            or_unseen("Datastore.Audit", "/storage/local")
        );
        return Err(problem("plan::no-snippets", message, hint));
    };
    Ok(Some(FirstStart {
        storage: storage.to_owned(),
        ssh: vm.enter == Enter::Ssh,
        packages: vm.packages.clone(),
    }))
}

/// The first start that a machine is in, as far as it is told: a run was cut off in it.
pub(super) fn unfinished(wanted: &Wanted, guest: &Guest) -> Option<FirstStart> {
    let (vm, config) = (wanted.vm()?, guest.config.as_ref()?);
    let volume = volume(config.get(CUSTOM)?, guest.id)?;
    let storage = volume.split(':').next().unwrap_or_default().to_owned();
    Some(FirstStart { storage, ssh: vm.enter == Enter::Ssh, packages: vm.packages.clone() })
}

/// The volume that `cicustom` names, where it is one of these.
pub(super) fn volume(custom: &str, id: u32) -> Option<String> {
    let parts: PropertyString = custom.parse().ok()?;
    let volume = parts.get("vendor")?;
    let (_, name) = volume.split_once(&format!(":{CONTENT}/{}", begin(id)))?;
    let random = name.strip_suffix(".yaml")?;
    random.bytes().all(|b| b.is_ascii_hexdigit()).then(|| volume.to_owned())
}

fn begin(id: u32) -> String {
    format!("phoenix-first-start-{id}-")
}

/// What a machine is told, and where.
#[derive(Debug)]
pub(super) struct Told {
    /// The volume.
    pub volume: String,
    text: SecretString,
}

impl FirstStart {
    /// What the guest `address` is told, by a file of this name, or one that nobody can guess.
    ///
    /// # Errors
    /// When its keys cannot be had or made.
    pub(super) fn told(
        &self,
        site: &Worksite,
        address: &Address,
        id: u32,
        volume: Option<String>,
    ) -> Result<Told, Failure> {
        let mut data = serde_json::Map::new();
        if self.ssh {
            let keys = site.secrets.ssh_keys(address.name())?;
            let host = json!({ "ed25519_private": keys.host.private.expose_secret(), "ed25519_public": keys.host.public });
            data.insert("ssh_keys".into(), host);
            let files = json!([
                {
                    "path": "/root/.ssh/authorized_keys", "permissions": "0600", "append": true,
                    "content": format!("{} phoenix\n", keys.client.public),
                },
                // Should cloud-init take it for another machine later, since what it is told has changed, its keys stay.
                {
                    "path": "/etc/cloud/cloud.cfg.d/90_phoenix.cfg", "permissions": "0644",
                    "content": "ssh_deletekeys: false\nssh_genkeytypes: [ed25519]\n",
                },
            ]);
            data.insert("write_files".into(), files);
        }
        if !self.packages.is_empty() {
            data.insert("package_update".into(), true.into());
            data.insert("packages".into(), json!(self.packages));
            if self.packages.iter().any(|name| name == AGENT) {
                data.insert("runcmd".into(), json!([["systemctl", "start", AGENT]]));
            }
        }
        let volume = match volume {
            Some(volume) => volume,
            None => {
                let mut random = [0_u8; 16];
                ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
                    .map_err(|_| Failure::new("secrets::unavailable", "the system has no random numbers"))?;
                let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{}:{CONTENT}/{}{random}.yaml", self.storage, begin(id))
            }
        };
        // JSON is YAML.
        let text = format!("#cloud-config\n{}\n", serde_json::Value::Object(data));
        Ok(Told { volume, text: text.into() })
    }
}

impl Told {
    /// The setting that names the file.
    pub(super) fn custom(&self) -> (String, String) {
        (CUSTOM.to_owned(), format!("vendor={}", self.volume))
    }

    /// Puts it where the node reads it at the start.
    pub(super) async fn begin(&self, site: &Worksite, guest: &GuestRef) -> Result<(), Failure> {
        let text = self.text.expose_secret().as_bytes().to_vec();
        run(site, guest, "begin", &self.volume, text).await.map(drop)
    }
}

/// Has it read nowhere any more.
pub(super) async fn end(
    site: &Worksite,
    guest: &GuestRef,
    volume: &str,
    progress: &Progress,
) -> Result<(), Failure> {
    progress.doing("taking away what it was told at its first start");
    if let Some(said) = run(site, guest, "end", volume, Vec::new()).await? {
        progress.warning(format!(
            "its cloud-init drive holds what it was told until {} starts anew: {said}",
            guest.id
        ));
    }
    Ok(())
}

/// Removes the file of a machine that goes.
pub(super) async fn forget(site: &Worksite, guest: &GuestRef, volume: &str) -> Result<(), Failure> {
    run(site, guest, "forget", volume, Vec::new()).await.map(drop)
}

/// Runs the script where the guest is. What it says where it did all but writing the drive anew.
async fn run(
    site: &Worksite,
    guest: &GuestRef,
    verb: &str,
    volume: &str,
    input: Vec<u8>,
) -> Result<Option<String>, Failure> {
    let what = match verb {
        "begin" => "telling it what it does at its first start",
        _ => "taking away what it was told at its first start",
    };
    let node = site.ways.node(&guest.node).await?;
    let id = guest.id.to_string();
    let argv = ["sh", "-c", SCRIPT, "phoenix-first-start", verb, volume, &id];
    let command = Command::new(what, argv).stdin(input).limit(LIMIT);
    // The same twice is the same as once.
    let output = settle::command(&*node, &command).await?;
    match output.status {
        0 => Ok(None),
        3 => Ok(Some(output.tail(2).joined())),
        _ => Err(Failure::new(
            "managers::first-start",
            format!("{volume} could not be handled on {}", guest.node),
        )
        .while_doing(format!("failed while {what}"))
        .with_output(output.tail(3))
        .hint(format!("on the node: pvesm path {volume}; qm config {id}; then phoenix-cli apply goes on"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_its_own_are_known_again() {
        let own = "vendor=local:snippets/phoenix-first-start-1001-00ff.yaml";
        assert_eq!(volume(own, 1001).as_deref(), Some("local:snippets/phoenix-first-start-1001-00ff.yaml"));
        for other in [
            "vendor=local:snippets/phoenix-first-start-1002-00ff.yaml",
            "user=local:snippets/phoenix-first-start-1001-00ff.yaml",
            "vendor=local:snippets/mine.yaml",
            "vendor=local:snippets/phoenix-first-start-1001-/../../../etc/00ff.yaml",
            "",
        ] {
            assert_eq!(volume(other, 1001), None, "{other}");
        }
    }
}
