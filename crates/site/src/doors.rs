//! Into guests by ssh, through the node: with the keys that each was made with, and no settings of the person's.
//!
//! The keys lie among the site's secrets (`.phoenix/secrets/ssh`), two files for each machine: `NAME` opens it, `NAME.host` is
//! what it proves itself by. They are made by who makes the machine, and never by who looks: without them it is said that they
//! are gone, since no others would open it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use apply::Failure;
use blueprint::model::{Blueprint, Enter, NicAddress};
use camino::{Utf8Path, Utf8PathBuf};
use managers::{Doors, SshKeys};
use secrecy::ExposeSecret as _;
use transport::{KeyPair, Runner, Ssh, SshOptions, Traced};

use crate::folders::{made_state, state};

const CODE: &str = "ssh::keys";

/// A machine that is entered by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entrance {
    pub name: String,
    pub address: Ipv4Addr,
}

/// The machines of a blueprint that are entered by ssh, by id.
pub(crate) fn entrances(blueprint: &Blueprint) -> BTreeMap<u32, Entrance> {
    let ids = plan::wire::ids_of(blueprint);
    let by_ssh =
        blueprint.guests.values().filter(|guest| guest.vm().is_some_and(|vm| vm.enter == Enter::Ssh));
    let entrance = |guest: &blueprint::model::Guest| {
        let address = guest.nets.values().find_map(|nic| match nic.address {
            NicAddress::Static(address) => Some(address.address()),
            NicAddress::Dhcp => None,
        })?;
        Some((*ids.get(&guest.name)?, Entrance { name: guest.name.to_string(), address }))
    };
    by_ssh.filter_map(|guest| entrance(guest)).collect()
}

fn folder(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("secrets/ssh")
}

fn files(root: &Utf8Path, guest: &str) -> [Utf8PathBuf; 2] {
    [folder(root).join(guest), folder(root).join(format!("{guest}.host"))]
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::from_error(CODE, error)
}

/// A key in a file of this user's alone; `None` where there is no such file.
fn read(file: &Utf8Path) -> Result<Option<KeyPair>, Failure> {
    if fs_err::symlink_metadata(file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = private::read(file).map_err(|error| failed(&error).hint(format!("chmod 600 {file}")))?.into();
    crate::scrub::remember(&text);
    KeyPair::of(&text).map(Some).ok_or_else(|| {
        Failure::new(CODE, format!("{file} holds no key that Phoenix made"))
            .hint("put back a copy of it, or open a sealed copy: phoenix-cli secrets open")
    })
}

/// The keys of a machine, made where there are none.
pub(crate) fn made(root: &Utf8Path, guest: &str) -> Result<SshKeys, Failure> {
    made_state(root).map_err(|error| Failure::new(CODE, error.errors.join(": ")))?;
    private::closed(&state(root).join("secrets")).map_err(|e| failed(&e))?;
    private::closed(&folder(root)).map_err(|e| failed(&e))?;
    let key = |file: &Utf8Path| {
        if let Some(key) = read(file)? {
            return Ok(key);
        }
        let key = KeyPair::generate()
            .ok_or_else(|| Failure::new("secrets::unavailable", "the system has no random numbers"))?;
        private::write_new(file, key.private.expose_secret().as_bytes()).map_err(|e| failed(&e))?;
        // Another run may have been faster.
        read(file)?.ok_or_else(|| Failure::new(CODE, format!("{file} went away")))
    };
    let [client, host] = files(root, guest);
    Ok(SshKeys { client: key(&client)?, host: key(&host)? })
}

/// Forgets the keys of a machine that is gone.
pub(crate) fn forget(root: &Utf8Path, guest: &str) -> Result<(), Failure> {
    for file in files(root, guest) {
        match fs_err::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
    }
    Ok(())
}

/// What to do where a machine's keys are not there.
fn lost(guest: &str, file: &Utf8Path) -> Failure {
    let what = format!("the key by which vm.{guest} is entered is not here: {file}");
    Failure::new("ssh::key-lost", what).hint(format!(
        "copy it from the folder that the machine was made from, or open a sealed copy: phoenix-cli secrets open; where it was made \
         without \"enter\": \"ssh\", or the key is gone for good, only another machine can be entered: phoenix-cli destroy {guest}, \
         then apply"
    ))
}

/// Connections to a site's guests through its node, each made when it is first used.
#[derive(Debug)]
pub(crate) struct SshDoors {
    root: Utf8PathBuf,
    node: Arc<Ssh>,
    control: Utf8PathBuf,
    guests: BTreeMap<u32, Entrance>,
    made: Mutex<BTreeMap<u32, Arc<Ssh>>>,
}

impl SshDoors {
    pub(crate) fn new(blueprint: &Blueprint, node: Arc<Ssh>, control: Utf8PathBuf) -> Self {
        let (root, guests) = (blueprint.root.clone(), entrances(blueprint));
        Self { root, node, control, guests, made: Mutex::default() }
    }

    /// The connection to a guest.
    pub(crate) fn ssh(&self, id: u32) -> Option<Result<Arc<Ssh>, Failure>> {
        let to = self.guests.get(&id)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ssh) = made.get(&id) {
            return Some(Ok(ssh.clone()));
        }
        let [client, host] = files(&self.root, &to.name);
        let key = match (read(&client), read(&host)) {
            (Err(failure), _) | (_, Err(failure)) => return Some(Err(failure)),
            (Ok(None), _) => return Some(Err(lost(&to.name, &client))),
            (_, Ok(None)) => return Some(Err(lost(&to.name, &host))),
            (Ok(Some(_)), Ok(Some(host))) => host.public,
        };
        let ssh = Arc::new(Ssh::through(
            self.node.clone(),
            SshOptions {
                destination: format!("root@{}", to.address),
                port: 22,
                identity: Some(client),
                host_key: Some(key),
                control_dir: self.control.clone(),
                keep: None,
            },
        ));
        made.insert(id, ssh.clone());
        Some(Ok(ssh))
    }

    /// Ends all of them.
    pub(crate) async fn close(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        futures::future::join_all(made.values().map(|ssh| ssh.close())).await;
    }
}

impl Doors for SshDoors {
    fn door(&self, id: u32) -> Option<Result<Arc<dyn Runner>, Failure>> {
        Some(self.ssh(id)?.map(|ssh| Arc::new(Traced::new(ssh)) as Arc<dyn Runner>))
    }
}

/// The same into the machines of a simulated node.
#[derive(Debug)]
pub(crate) struct SimulatedDoors {
    pub root: Utf8PathBuf,
    pub node: Arc<dyn Runner>,
    pub guests: BTreeMap<u32, Entrance>,
}

impl Doors for SimulatedDoors {
    fn door(&self, id: u32) -> Option<Result<Arc<dyn Runner>, Failure>> {
        let to = self.guests.get(&id)?;
        let [client, host] = files(&self.root, &to.name);
        Some(match (read(&client), read(&host)) {
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
            (Ok(Some(client)), Ok(Some(host))) => Ok(Arc::new(lab::sim::SimLogin::new(
                self.node.clone(),
                to.address,
                &host.public,
                &client.public,
            ))),
            _ => Err(lost(&to.name, &client)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_stay_and_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let first = made(root, "docker-1").unwrap();
        let again = made(root, "docker-1").unwrap();
        assert_eq!((&first.host.public, &first.client.public), (&again.host.public, &again.client.public));
        assert_ne!(first.host.public, first.client.public);
        assert_ne!(
            made(root, "docker-2").unwrap().client.public,
            first.client.public,
            "each opens one machine"
        );
        for file in files(root, "docker-1") {
            assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        let mode = fs_err::metadata(folder(root)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        // One that is no key is not written over.
        fs_err::write(&files(root, "docker-1")[1], "gone").unwrap();
        assert_eq!(made(root, "docker-1").unwrap_err().code, CODE);
        forget(root, "docker-1").unwrap();
        forget(root, "docker-1").unwrap();
        assert_ne!(made(root, "docker-1").unwrap().host.public, first.host.public);
    }
}
