//! Who may do what on the lab's node, made before it starts.

use std::io::{Read as _, Write as _};

use camino::Utf8Path;
use fs_err as fs;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::Error;
use super::spec::{LabSpec, Network};
use crate::node::{Member, SERVED, fingerprint};

/// The token that Phoenix works with. Its role holds what containers and virtual machines need and nothing that would
/// make it root; what only root may do (bind mounts, most features) is done on the node.
pub const TOKEN: &str = "phoenix@pve!cli";

/// The role of [`TOKEN`].
pub const ROLE: &str = "Phoenix";

/// The privileges of [`ROLE`], and no others: guests (make, change, start, look, snapshot, back up, ask their agents),
/// storages, with space and templates on them, the node's state, bridges, pools.
pub const PRIVILEGES: &str = "VM.Allocate,VM.Clone,VM.Config.Disk,VM.Config.CPU,VM.Config.Memory,VM.Config.Network,\
    VM.Config.Options,VM.Config.Cloudinit,VM.Config.HWType,VM.Config.CDROM,VM.PowerMgmt,VM.Audit,VM.Snapshot,VM.Backup,\
    VM.GuestAgent.Audit,VM.GuestAgent.Unrestricted,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit,\
    Datastore.Allocate,Sys.Audit,Sys.Modify,SDN.Use,Pool.Allocate,Pool.Audit";

/// What the API on the node is started with: `lab.json` in its folder, mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// Its networks.
    pub networks: Vec<Network>,
    /// Names of storages beside `local`.
    pub storages: Vec<String>,
    /// Root's password.
    pub password: String,
    /// The secret of [`TOKEN`].
    pub secret: String,
    /// The nodes of its cluster; none for a node that is alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<Member>,
}

impl Settings {
    /// Reads what [`super::up`] wrote.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn read(folder: &Utf8Path) -> Result<Self, Error> {
        let what = "reading the lab's settings";
        let text = fs::read(folder.join("lab.json")).map_err(Error::io(what))?;
        serde_json::from_slice(&text).map_err(|e| Error::io(what)(e.into()))
    }
}

fn write_secret(path: &Utf8Path, text: &str) -> Result<(), Error> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    let failed = || Error::io(format!("writing `{path}`"));
    if path.exists() {
        fs::remove_file(path).map_err(failed())?;
    }
    let mut file =
        fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(failed())?;
    file.write_all(text.as_bytes()).map_err(failed())
}

fn random_uuid() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(Error::io("drawing a secret"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// The fingerprint of the certificate that the API has made in its folder; `None` before it has.
pub(crate) fn certificate(folder: &Utf8Path) -> Option<String> {
    of_file(&folder.join("state/pve-ssl.pem"))
}

/// The fingerprint of the certificate that the API shows now: a custom one, where it was given one.
pub(crate) fn served(folder: &Utf8Path) -> Option<String> {
    of_file(&folder.join("state").join(SERVED)).or_else(|| certificate(folder))
}

fn of_file(path: &Utf8Path) -> Option<String> {
    CertificateDer::from_pem_file(path).ok().map(|der| fingerprint(&der))
}

/// Makes password and token, or keeps those that are there, and writes each node's settings.
pub(crate) fn prepare(spec: &LabSpec) -> Result<Settings, Error> {
    let path = spec.folder.join("state/lab.json");
    let old = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Settings>(&text).ok());
    let (password, secret) = match old {
        Some(old) => (old.password, old.secret),
        None => (random_uuid()?.replace('-', ""), random_uuid()?),
    };
    let settings = Settings {
        node: spec.node.clone(),
        networks: spec.networks.clone(),
        storages: spec.storages.clone(),
        password,
        secret,
        cluster: spec.members(),
    };
    for node in spec.nodes() {
        let state = node.folder.join("state");
        fs::create_dir_all(&state).map_err(Error::io(format!("making `{state}`")))?;
        let own = Settings { node: node.name, networks: node.networks, ..settings.clone() };
        let text = serde_json::to_string_pretty(&own)
            .map_err(|e| Error::io("writing the lab's settings")(e.into()))?;
        write_secret(&state.join("lab.json"), &text)?;
    }
    write_secret(&spec.folder.join("token"), &format!("{TOKEN}={}\n", settings.secret))?;
    write_secret(&spec.folder.join("password"), &format!("{}\n", settings.password))?;
    Ok(settings)
}
