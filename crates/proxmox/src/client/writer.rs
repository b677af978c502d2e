//! What changes something.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::Value;

use super::{GuestRef, Params, Reader, answer, call, path};
use crate::config::GuestKind;
use crate::error::{Error, described};
use crate::exchange::{Attached, Exchange, Method, Request};
use crate::upid::Upid;

/// Changes things, and reads as a [`Reader`] does.
///
/// ```no_run
/// # async fn start(exchange: std::sync::Arc<dyn proxmox::exchange::Exchange>, guest: proxmox::client::GuestRef) {
/// let writer = proxmox::client::Writer::new(exchange);
/// let task = writer.start(&guest).await;
/// # }
/// ```
/// It is made apart from a reader: nothing turns one into it, so that
/// code which is given a reader cannot write.
///
/// No call is repeated here. When its answer was lost ([`Error::sent`] says so), look before doing anything again; once
/// a task's number is held, only ever wait for it ([`Reader::wait_task`]).
#[derive(Debug, Clone)]
pub struct Writer {
    reader: Reader,
}

impl Deref for Writer {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// Where a file comes to lie.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The node.
    pub node: &'a str,
    /// The storage.
    pub storage: &'a str,
    /// `vztmpl`, `iso` or `import`.
    pub content: &'a str,
    /// The file's name there.
    pub file: &'a str,
}

fn param(key: &str, value: &dyn std::fmt::Display) -> (String, String) {
    (key.to_owned(), value.to_string())
}

fn upid(request: &Request, data: &Value) -> Result<Upid, Error> {
    let wrong = |reason: String| Error::Answer { request: described(request), reason };
    let text = data.as_str().ok_or_else(|| wrong(format!("expected a task number, found {data}")))?;
    text.parse().map_err(|error: crate::upid::UpidError| wrong(error.to_string()))
}

impl Writer {
    /// A writer over `exchange`.
    pub fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self { reader: Reader::new(exchange) }
    }

    /// Sends any request: what the calls below do not cover.
    ///
    /// # Errors
    /// When there is no answer, a refusal, or an answer without data; so do all the calls below.
    pub async fn send(&self, method: Method, path: String, params: Params) -> Result<Value, Error> {
        call(&*self.reader.exchange, &Request { method, path, params }).await
    }

    async fn task(&self, method: Method, path: String, params: Params) -> Result<Upid, Error> {
        let request = Request { method, path, params };
        let data = call(&*self.reader.exchange, &request).await?;
        upid(&request, &data)
    }

    /// As [`Writer::task`] where the node answers with a task only when there is one.
    async fn maybe_task(&self, method: Method, path: String, params: Params) -> Result<Option<Upid>, Error> {
        let request = Request { method, path, params };
        match call(&*self.reader.exchange, &request).await? {
            Value::Null => Ok(None),
            data => upid(&request, &data).map(Some),
        }
    }

    /// Creates a guest: `vmid` is added to the parameters. The answer is a task; a create that fails leaves no
    /// configuration behind.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn create(&self, guest: &GuestRef, mut params: Params) -> Result<Upid, Error> {
        params.insert(0, param("vmid", &guest.id));
        self.task(Method::Post, path(["nodes", &guest.node, guest.kind.api_name()]), params).await
    }

    /// Changes a guest's configuration. Give `digest` as it was read, so that nobody's change is lost; it changes with
    /// every change. For a virtual machine the change is a task, because it may allocate disks.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn update(&self, guest: &GuestRef, params: Params) -> Result<Option<Upid>, Error> {
        let method = match guest.kind {
            GuestKind::Container => Method::Put,
            GuestKind::Vm => Method::Post,
        };
        self.maybe_task(method, guest.path(&["config"]), params).await
    }

    /// Destroys a guest with its volumes, and takes it out of pools, backup jobs and access control lists. It must be
    /// stopped.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn destroy(&self, guest: &GuestRef) -> Result<Upid, Error> {
        self.task(Method::Delete, guest.path(&[]), vec![param("purge", &1)]).await
    }

    /// Starts a guest. A guest that is not there gives a task that fails.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn start(&self, guest: &GuestRef) -> Result<Upid, Error> {
        self.task(Method::Post, guest.path(&["status", "start"]), Vec::new()).await
    }

    /// Stops a guest at once, as pulling its plug does.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn stop(&self, guest: &GuestRef) -> Result<Upid, Error> {
        self.task(Method::Post, guest.path(&["status", "stop"]), Vec::new()).await
    }

    /// Asks a guest to shut down, and waits that many seconds for it. With `force`, stops it after that.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn shutdown(&self, guest: &GuestRef, seconds: u64, force: bool) -> Result<Upid, Error> {
        let params = vec![param("timeout", &seconds), param("forceStop", &u8::from(force))];
        self.task(Method::Post, guest.path(&["status", "shutdown"]), params).await
    }

    /// Restarts a guest, which also applies what is pending. Waits that many seconds for it to go down.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn reboot(&self, guest: &GuestRef, seconds: u64) -> Result<Upid, Error> {
        self.task(Method::Post, guest.path(&["status", "reboot"]), vec![param("timeout", &seconds)]).await
    }

    /// Grows a disk to `size` (`3G`) or by it (`+1G`). A container's disk that would shrink is refused at once; a
    /// virtual machine's gives a task that fails.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn resize(&self, guest: &GuestRef, disk: &str, size: &str) -> Result<Upid, Error> {
        self.task(Method::Put, guest.path(&["resize"]), vec![param("disk", &disk), param("size", &size)])
            .await
    }

    /// Clones a guest to the number `new`, with further parameters (`hostname` or `name`, `full`, `target`, …).
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn clone_guest(&self, guest: &GuestRef, new: u32, mut params: Params) -> Result<Upid, Error> {
        params.insert(0, param("newid", &new));
        self.task(Method::Post, guest.path(&["clone"]), params).await
    }

    /// Makes a template of a stopped guest. A container's answer is no task.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn make_template(&self, guest: &GuestRef) -> Result<Option<Upid>, Error> {
        self.maybe_task(Method::Post, guest.path(&["template"]), Vec::new()).await
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn create_snapshot(&self, guest: &GuestRef, name: &str) -> Result<Upid, Error> {
        self.task(Method::Post, guest.path(&["snapshot"]), vec![param("snapname", &name)]).await
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn delete_snapshot(&self, guest: &GuestRef, name: &str) -> Result<Upid, Error> {
        self.task(Method::Delete, guest.path(&["snapshot", name]), Vec::new()).await
    }

    /// Returns to a snapshot.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn rollback(&self, guest: &GuestRef, name: &str) -> Result<Upid, Error> {
        self.task(Method::Post, guest.path(&["snapshot", name, "rollback"]), Vec::new()).await
    }

    /// Moves a volume (`rootfs`, `mp0`, `scsi0`) to another storage. The old volume is kept as unused.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn move_volume(&self, guest: &GuestRef, volume: &str, storage: &str) -> Result<Upid, Error> {
        let (last, key) = match guest.kind {
            GuestKind::Container => ("move_volume", "volume"),
            GuestKind::Vm => ("move_disk", "disk"),
        };
        let params = vec![param(key, &volume), param("storage", &storage)];
        self.task(Method::Post, guest.path(&[last]), params).await
    }

    /// Defines a storage.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn create_storage(&self, params: Params) -> Result<(), Error> {
        self.send(Method::Post, path(["storage"]), params).await.map(drop)
    }

    /// Changes the definition of a storage.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn change_storage(&self, storage: &str, params: Params) -> Result<(), Error> {
        self.send(Method::Put, path(["storage", storage]), params).await.map(drop)
    }

    /// Removes the definition of a storage. What lies on it stays; nothing is looked at.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn remove_storage(&self, storage: &str) -> Result<(), Error> {
        self.send(Method::Delete, path(["storage", storage]), Vec::new()).await.map(drop)
    }

    /// Makes a resource mapping of PCI devices.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn create_pci_mapping(&self, id: &str, map: &str, description: &str) -> Result<(), Error> {
        let params = vec![param("id", &id), param("map", &map), param("description", &description)];
        self.send(Method::Post, path(["cluster", "mapping", "pci"]), params).await.map(drop)
    }

    /// Changes what a resource mapping of PCI devices leads to.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn change_pci_mapping(&self, id: &str, map: &str) -> Result<(), Error> {
        let params = vec![param("map", &map)];
        self.send(Method::Put, path(["cluster", "mapping", "pci", id]), params).await.map(drop)
    }

    /// Removes a resource mapping of PCI devices.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn remove_pci_mapping(&self, id: &str) -> Result<(), Error> {
        self.send(Method::Delete, path(["cluster", "mapping", "pci", id]), Vec::new()).await.map(drop)
    }

    /// Writes the notes of the datacenter; without a text there are none any more.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn write_notes(&self, notes: &str) -> Result<(), Error> {
        let params = match notes.is_empty() {
            true => vec![param("delete", &"description")],
            false => vec![param("description", &notes)],
        };
        self.send(Method::Put, path(["cluster", "options"]), params).await.map(drop)
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn create_pool(&self, pool: &str, comment: &str) -> Result<(), Error> {
        let params = vec![param("poolid", &pool), param("comment", &comment)];
        self.send(Method::Post, path(["pools"]), params).await.map(drop)
    }

    /// Puts a guest into a pool, out of the one it was in when `from_another` says so.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn join_pool(&self, pool: &str, guest: u32, from_another: bool) -> Result<(), Error> {
        let params =
            vec![param("poolid", &pool), param("vms", &guest), param("allow-move", &u8::from(from_another))];
        self.send(Method::Put, path(["pools"]), params).await.map(drop)
    }

    /// Takes a guest out of a pool.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn leave_pool(&self, pool: &str, guest: u32) -> Result<(), Error> {
        let params = vec![param("poolid", &pool), param("vms", &guest), param("delete", &1)];
        self.send(Method::Put, path(["pools"]), params).await.map(drop)
    }

    /// Removes an empty pool.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn delete_pool(&self, pool: &str) -> Result<(), Error> {
        self.send(Method::Delete, path(["pools", pool]), Vec::new()).await.map(drop)
    }

    /// Lets the node fetch a template of its catalogue into a storage.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn fetch_template(&self, node: &str, storage: &str, template: &str) -> Result<Upid, Error> {
        let params = vec![param("storage", &storage), param("template", &template)];
        self.task(Method::Post, path(["nodes", node, "aplinfo"]), params).await
    }

    /// Lets the node fetch a file into a storage, checked against a SHA-256 where there is one. `place` is node, storage,
    /// content type and the file's name there. It refuses a name that is taken, unless the sum fits what is there.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn download(&self, place: Place<'_>, url: &str, sha256: Option<&str>) -> Result<Upid, Error> {
        let mut params =
            vec![param("content", &place.content), param("filename", &place.file), param("url", &url)];
        params.extend(checksum(sha256));
        let Place { node, storage, .. } = place;
        self.task(Method::Post, path(["nodes", node, "storage", storage, "download-url"]), params).await
    }

    /// Uploads a file into a storage, checked against a SHA-256 where there is one. One of that name is replaced. `sent` counts
    /// the bytes that went out, which may take as long as `limit`.
    ///
    /// # Errors
    /// As [`Writer::send`], and when the file cannot be read.
    pub async fn upload(
        &self,
        place: Place<'_>,
        from: &std::path::Path,
        sha256: Option<&str>,
        limit: Duration,
        sent: Arc<AtomicU64>,
    ) -> Result<Upid, Error> {
        let mut params = vec![param("content", &place.content)];
        // The node wants the fields in this order.
        params.extend(checksum(sha256).into_iter().rev());
        let Place { node, storage, .. } = place;
        let path = path(["nodes", node, "storage", storage, "upload"]);
        let request = Request { method: Method::Post, path, params };
        let file = Attached { path: from.to_owned(), name: place.file.to_owned(), limit, sent };
        let response = self.reader.exchange.upload(&request, &file).await?;
        upid(&request, &answer(&request, response)?)
    }
}

fn checksum(sha256: Option<&str>) -> Vec<(String, String)> {
    let Some(sum) = sha256 else { return Vec::new() };
    vec![param("checksum", &sum), param("checksum-algorithm", &"sha256")]
}
