//! The calls: [`Reader`] for what only reads, [`Writer`] for what changes something.

pub mod agent;
mod task;
mod types;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use task::{Pace, TaskEnd, TaskError, Tick};
use types::Options;
pub use types::{
    Appliance, Definition, GuestInterface, GuestStatus, LogLine, Mapping, Member, Node, NodeInterface, Offer,
    PendingEntry, Permissions, Pool, Privilege, Resource, Snapshot, Storage, TaskEntry, TaskStatus, Version,
    Volume, members,
};
pub use writer::{Place, Writer};

use crate::config::GuestKind;
use crate::error::{ApiError, Error, described};
use crate::exchange::{Exchange, Method, Request, Response};
use crate::lenient;

/// Parameters of a call, in order; a list is a repeated key.
pub type Params = Vec<(String, String)>;

/// Joins path segments, each percent-encoded.
pub fn path<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for byte in segment.as_ref().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(byte.into());
            } else {
                // Writing to a string never fails.
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

/// A guest in the API's terms: its kind, its node, its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestRef {
    /// The node it is on.
    pub node: String,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Its number.
    pub id: u32,
}

impl GuestRef {
    /// Names a guest.
    pub fn new(node: impl Into<String>, kind: GuestKind, id: u32) -> Self {
        Self { node: node.into(), kind, id }
    }

    /// The path of something of the guest: `/nodes/pve1/lxc/101/` and the rest.
    pub fn path(&self, rest: &[&str]) -> String {
        let id = self.id.to_string();
        path(["nodes", &self.node, self.kind.api_name(), &id].into_iter().chain(rest.iter().copied()))
    }
}

/// Reads. There is no method here, and no way from here, that changes anything: a dry run that is given a reader cannot
/// change a thing (P-14).
///
/// ```compile_fail,E0599
/// # async fn dry_run(reader: proxmox::client::Reader, guest: proxmox::client::GuestRef) {
/// reader.start(&guest).await; // no such method
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reader {
    exchange: Arc<dyn Exchange>,
}

pub(crate) async fn call(exchange: &dyn Exchange, request: &Request) -> Result<Value, Error> {
    answer(request, exchange.exchange(request).await?)
}

fn answer(request: &Request, mut response: Response) -> Result<Value, Error> {
    if !(200..300).contains(&response.status) {
        return Err(ApiError::new(request, &response).into());
    }
    match response.body.as_object_mut().and_then(|body| body.remove("data")) {
        Some(data) => Ok(data),
        None => Err(Error::Answer { request: described(request), reason: "it holds no `data`".to_owned() }),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(request: &Request, data: Value) -> Result<T, Error> {
    serde_json::from_value(data)
        .map_err(|error| Error::Answer { request: described(request), reason: error.to_string() })
}

fn get(path: String, params: &[(&str, &str)]) -> Request {
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Request { method: Method::Get, path, params }
}

impl Reader {
    /// A reader over `exchange`.
    pub fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self { exchange }
    }

    /// The node's address, for messages.
    pub fn endpoint(&self) -> String {
        self.exchange.endpoint()
    }

    /// Reads any path: what the calls below do not cover.
    ///
    /// # Errors
    /// When there is no answer, a refusal, or an answer without data.
    pub async fn get(&self, path: &str, params: &[(&str, &str)]) -> Result<Value, Error> {
        call(&*self.exchange, &get(path.to_owned(), params)).await
    }

    async fn read<T: DeserializeOwned>(&self, path: String, params: &[(&str, &str)]) -> Result<T, Error> {
        let request = get(path, params);
        decode(&request, call(&*self.exchange, &request).await?)
    }

    /// The node's version. Any user may ask, so it also proves that the credential is right.
    ///
    /// # Errors
    /// As [`Reader::get`], or when the answer is not of the form expected; so do all the calls below.
    pub async fn version(&self) -> Result<Version, Error> {
        self.read(path(["version"]), &[]).await
    }

    /// Proves that a new connection gets through: asks for the version over one that is made for it.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn fresh(&self) -> Result<(), Error> {
        let request = get(path(["version"]), &[]);
        let response = self.exchange.fresh(&request).await?;
        if (200..300).contains(&response.status) {
            Ok(())
        } else {
            Err(ApiError::new(&request, &response).into())
        }
    }

    /// The nodes of the cluster.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.read(path(["nodes"]), &[]).await
    }

    /// The nodes of the cluster, with their addresses, by name. It takes `Sys.Audit` on `/`.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        Ok(members(&self.get("/cluster/status", &[]).await?))
    }

    /// Everything in the cluster, or only one type of it: `vm` (all guests), `storage`, `node`, `sdn`.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn resources(&self, kind: Option<&str>) -> Result<Vec<Resource>, Error> {
        let params: Vec<_> = kind.map(|kind| ("type", kind)).into_iter().collect();
        self.read(path(["cluster", "resources"]), &params).await
    }

    /// A number that no guest has.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn next_id(&self) -> Result<u32, Error> {
        let request = get(path(["cluster", "nextid"]), &[]);
        let data = call(&*self.exchange, &request).await?;
        lenient::id(data).map_err(|error: serde_json::Error| Error::Answer {
            request: described(&request),
            reason: error.to_string(),
        })
    }

    /// A guest's configuration in force (not what waits for a restart), as the texts its file holds, `digest` among
    /// them. What is no scalar is left out.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn config(&self, guest: &GuestRef) -> Result<BTreeMap<String, String>, Error> {
        let request = get(guest.path(&["config"]), &[("current", "1")]);
        let data: BTreeMap<String, Value> = decode(&request, call(&*self.exchange, &request).await?)?;
        Ok(data
            .into_iter()
            .filter(|(_, value)| !value.is_array() && !value.is_object())
            .filter_map(|(key, value)| Some((key, lenient::as_text(&value)?)))
            .collect())
    }

    /// A guest's configuration, in force and waiting for a restart, `digest` among it.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn pending(&self, guest: &GuestRef) -> Result<Vec<PendingEntry>, Error> {
        self.read(guest.path(&["pending"]), &[]).await
    }

    /// Whether a guest runs.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn status(&self, guest: &GuestRef) -> Result<GuestStatus, Error> {
        self.read(guest.path(&["status", "current"]), &[]).await
    }

    /// A guest's snapshots; the last line, `current`, is none.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>, Error> {
        self.read(guest.path(&["snapshot"]), &[]).await
    }

    /// The addresses a running container really has. Of a stopped one the node says null: it has none.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn interfaces(&self, node: &str, id: u32) -> Result<Vec<GuestInterface>, Error> {
        let guest = GuestRef::new(node, GuestKind::Container, id);
        let known: Option<Vec<GuestInterface>> = self.read(guest.path(&["interfaces"]), &[]).await?;
        Ok(known.unwrap_or_default())
    }

    /// The storages of a node.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn storages(&self, node: &str) -> Result<Vec<Storage>, Error> {
        self.read(path(["nodes", node, "storage"]), &[]).await
    }

    /// The definitions of the cluster's storages, as far as the caller may see them.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn definitions(&self) -> Result<Vec<Definition>, Error> {
        self.read(path(["storage"]), &[]).await
    }

    /// What a node offers for storages of this kind (`zfs`, `lvm`, `lvmthin`, `nfs`): pools, groups, exports, by what Proxmox VE
    /// calls them. It looks for it then, so it may take as long as the commands it runs.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn scan(&self, node: &str, kind: &str, params: &[(&str, &str)]) -> Result<Vec<Offer>, Error> {
        self.read(path(["nodes", node, "scan", kind]), params).await
    }

    /// The notes of the datacenter. `None` where the caller is not shown them, which takes Sys.Audit on `/`.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn notes(&self) -> Result<Option<String>, Error> {
        let options: Options = self.read(path(["cluster", "options"]), &[]).await?;
        Ok(options.description)
    }

    /// What is on a storage, or only one content type of it.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn volumes(
        &self,
        node: &str,
        storage: &str,
        content: Option<&str>,
    ) -> Result<Vec<Volume>, Error> {
        let params: Vec<_> = content.map(|content| ("content", content)).into_iter().collect();
        self.read(path(["nodes", node, "storage", storage, "content"]), &params).await
    }

    /// The templates that a node's catalogue has (`pveam available`).
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn appliances(&self, node: &str) -> Result<Vec<Appliance>, Error> {
        self.read(path(["nodes", node, "aplinfo"]), &[]).await
    }

    /// The resource mappings of one kind (`pci`, `usb`, `dir`), as far as the caller may use, see or change them.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn mappings(&self, kind: &str) -> Result<Vec<Mapping>, Error> {
        self.read(path(["cluster", "mapping", kind]), &[]).await
    }

    /// The network interfaces of a node.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn node_network(&self, node: &str) -> Result<Vec<NodeInterface>, Error> {
        self.read(path(["nodes", node, "network"]), &[]).await
    }

    /// What the caller may do, by path: on all paths that the access control list names and the usual ones, or on this one
    /// alone, however it came by that.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn permissions(&self, on: Option<&str>) -> Result<Permissions, Error> {
        let params: Vec<_> = on.map(|on| ("path", on)).into_iter().collect();
        self.read(path(["access", "permissions"]), &params).await
    }

    /// The pools.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn pools(&self) -> Result<Vec<Pool>, Error> {
        self.read(path(["pools"]), &[]).await
    }

    /// One pool with its members.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn pool(&self, pool: &str) -> Result<Pool, Error> {
        self.read(path(["pools", pool]), &[]).await
    }

    /// The latest tasks of a node, of one guest when it is given: how one learns whether a start whose answer was lost
    /// is under way.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn tasks(&self, node: &str, guest: Option<u32>) -> Result<Vec<TaskEntry>, Error> {
        let id = guest.map(|id| id.to_string());
        // `source=all`: those that still run, too (schema of /nodes/{node}/tasks).
        let params: Vec<_> =
            [("source", "all")].into_iter().chain(id.as_deref().map(|id| ("vmid", id))).collect();
        self.read(path(["nodes", node, "tasks"]), &params).await
    }
}
