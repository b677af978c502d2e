//! Into simulated machines by ssh: the keys that they were made with, and connections.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use apply::Failure;
use blueprint::model::Enter;
use lab::sim::SimLogin;
use managers::{Doors, SshKeys};
use plan::desired::Desired;
use transport::{KeyPair, Runner};

/// The keys of all sites of a test program, by the machine's name: a run that was killed leaves them to the next one.
static KEYS: Mutex<BTreeMap<String, SshKeys>> = Mutex::new(BTreeMap::new());

fn keys<T>(with: impl FnOnce(&mut BTreeMap<String, SshKeys>) -> T) -> T {
    with(&mut KEYS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The keys of a machine, made where there are none.
pub(crate) fn made(guest: &str) -> Result<SshKeys, Failure> {
    let new = || KeyPair::generate().ok_or_else(|| Failure::new("test::no-keys", "no randomness"));
    keys(|all| {
        if let Some(known) = all.get(guest) {
            return Ok(known.clone());
        }
        let made = SshKeys { host: new()?, client: new()? };
        all.insert(guest.to_owned(), made.clone());
        Ok(made)
    })
}

/// The machines of a site that are entered by ssh.
#[derive(Debug)]
pub(crate) struct Entrances {
    node: Arc<dyn Runner>,
    guests: BTreeMap<u32, (String, Ipv4Addr)>,
}

impl Entrances {
    pub(crate) fn new(desired: &Desired, node: Arc<dyn Runner>) -> Arc<Self> {
        let by_ssh =
            desired.guests.values().filter(|guest| guest.vm().is_some_and(|vm| vm.enter == Enter::Ssh));
        let guests =
            by_ssh.filter_map(|guest| Some((guest.id, (guest.name.to_string(), guest.address?)))).collect();
        Arc::new(Self { node, guests })
    }
}

impl Doors for Entrances {
    fn door(&self, id: u32) -> Option<Result<Arc<dyn Runner>, Failure>> {
        let (name, address) = self.guests.get(&id)?;
        let known = keys(|all| all.get(name).cloned());
        let known = known.ok_or_else(|| Failure::new("ssh::key-lost", format!("no key of {name}")));
        let login = |keys: SshKeys| {
            let login = SimLogin::new(self.node.clone(), *address, &keys.host.public, &keys.client.public);
            Arc::new(login) as Arc<dyn Runner>
        };
        Some(known.map(login))
    }
}
