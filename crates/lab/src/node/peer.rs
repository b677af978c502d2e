//! The other nodes of a cluster: what is theirs is answered by them, and lists of the whole cluster are made of all nodes'.

use std::fmt::Debug;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use proxmox::exchange::{Method, Request, Response};
use serde_json::{Value, json};

use super::error::ApiError;
use super::kept_files::Uploaded;
use super::router::{self, Call};
use super::{Auth, Inner, Node};

/// How long a list waits for what another node adds to it.
const LIST: Duration = Duration::from_secs(5);

/// Another node of the cluster, as this one reaches it.
#[async_trait]
pub(crate) trait Peer: Send + Sync + Debug {
    /// Its name.
    fn name(&self) -> &str;

    /// Has it answer for itself alone, within bounds. An error is why no answer came, as pveproxy words it.
    async fn ask(&self, auth: &Auth, request: &Request) -> Result<Response, String>;

    /// The same with a file that came with the request.
    async fn hand(&self, _: &Auth, _: &Request, _: &Arc<Uploaded>) -> Result<Response, String> {
        Err("this lab hands no files on to another node: upload it at that node's own API".to_owned())
    }
}

/// One in this process.
#[derive(Debug)]
struct Neighbour {
    name: String,
    node: Weak<Inner>,
}

#[async_trait]
impl Peer for Neighbour {
    fn name(&self) -> &str {
        &self.name
    }

    async fn ask(&self, auth: &Auth, request: &Request) -> Result<Response, String> {
        let node = self.node.upgrade().ok_or_else(|| "Connection refused".to_owned())?;
        Ok(Node { inner: node }.handle_own(Some(auth), request).await)
    }

    async fn hand(&self, auth: &Auth, request: &Request, file: &Arc<Uploaded>) -> Result<Response, String> {
        let node = self.node.upgrade().ok_or_else(|| "Connection refused".to_owned())?;
        Ok(router::handle(&node, Some(auth), request, Some(file), true).await)
    }
}

/// Makes nodes of this process known to each other.
pub fn introduce(nodes: &[Node]) {
    for node in nodes {
        let others = nodes.iter().filter(|other| other.name() != node.name());
        let neighbour = |other: &Node| -> Arc<dyn Peer> {
            Arc::new(Neighbour { name: other.name().to_owned(), node: Arc::downgrade(&other.inner) })
        };
        node.meet(others.map(neighbour).collect());
    }
}

/// What pveproxy answers when the other node does not (AnyEvent::HTTP, 595).
pub(crate) fn unreachable(reason: String) -> ApiError {
    ApiError::refused(595, reason)
}

impl Inner {
    pub(crate) fn peers(&self) -> &[Arc<dyn Peer>] {
        self.peers.get().map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn peer(&self, name: &str) -> Option<&Arc<dyn Peer>> {
        self.peers().iter().find(|peer| peer.name() == name)
    }
}

/// The data that each of the other nodes answers with; none of one that does not answer in time, or refuses.
pub(crate) async fn others<'a>(call: &'a Call<'_>, request: &Request) -> Vec<(&'a str, Option<Value>)> {
    let asked = call.node.peers().iter().map(|peer| async move {
        let answer = tokio::time::timeout(LIST, peer.ask(call.auth, request)).await;
        let data = answer.ok().and_then(Result::ok).filter(|answer| answer.status == 200);
        (peer.name(), data.map(|answer| answer.body["data"].clone()))
    });
    join_all(asked).await
}

/// Puts the other nodes' part of a list behind this one's.
pub(crate) async fn complete(call: &Call<'_>, path: &str, list: &mut Vec<Value>) {
    let params = call.params.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let request = Request { method: Method::Get, path: path.to_owned(), params };
    for (name, data) in others(call, &request).await {
        match data {
            Some(Value::Array(more)) => list.extend(more),
            _ => list.extend(offline(call, path, name)),
        }
    }
    if path == "/cluster/tasks" {
        list.sort_by_key(|task| std::cmp::Reverse(task["starttime"].as_u64()));
        list.truncate(super::tasks::RECENT);
    }
}

/// What is known of a node that does not answer (PVE::API2Tools, `extract_node_stats`, `extract_vm_stats`).
fn offline(call: &Call<'_>, path: &str, name: &str) -> Vec<Value> {
    let node = json!({"id": format!("node/{name}"), "node": name, "type": "node", "status": "offline"});
    if path == "/nodes" {
        return vec![node];
    }
    let mut out = Vec::new();
    if path == "/cluster/resources" {
        let wants = |kind: &str| call.get("type").is_none_or(|wanted| wanted == kind);
        if wants("vm") {
            let state = call.node.state();
            let ids = state.etc.whole().into_iter().filter(|(_, (owner, _))| owner == name);
            let seen = ids.map(|(id, (_, stored))| (id, stored.conf.kind.api_name())).filter(|(id, _)| {
                call.node.may_in(&state.keep, call.auth, &format!("/vms/{id}"), "VM.Audit")
            });
            out.extend(seen.map(|(id, kind)| {
                json!({"id": format!("{kind}/{id}"), "vmid": id, "node": name, "type": kind, "status": "unknown"})
            }));
        }
        out.extend(wants("node").then_some(node));
    }
    out
}

/// The whole cluster's `GET /cluster/status`; of a node that is alone, its own entry.
pub(crate) async fn status(call: &Call<'_>, own: Value) -> Value {
    let Some(cluster) = call.node.cluster.as_ref().filter(|_| !call.own) else { return own };
    let request = Request { method: Method::Get, path: "/version".to_owned(), params: Vec::new() };
    let there = others(call, &request).await;
    let count = cluster.members().count();
    let mut out = vec![json!({
        "id": "cluster", "type": "cluster", "name": "lab", "nodes": count, "version": count,
        "quorate": u8::from((1 + there.iter().filter(|(_, data)| data.is_some()).count()) * 2 > count),
    })];
    out.extend(cluster.members().map(|(number, member)| {
        let name = &member.name;
        let local = *name == call.node.name;
        let online = local || there.iter().any(|(other, data)| other == name && data.is_some());
        json!({
            "id": format!("node/{name}"), "name": name, "type": "node", "ip": member.address, "level": "",
            "online": u8::from(online), "local": u8::from(local), "nodeid": number,
        })
    }));
    Value::Array(out)
}

/// Lists that the nodes of a cluster make together.
pub(crate) fn is_common(path: &str) -> bool {
    matches!(path, "/nodes" | "/cluster/resources" | "/cluster/tasks")
}

/// Has the node that a call is about answer it, where that is another one. None when there is no such node.
pub(crate) async fn forward(
    node: &Arc<Inner>,
    name: &str,
    auth: &Auth,
    request: &Request,
    file: Option<&Arc<Uploaded>>,
) -> Option<Result<Response, ApiError>> {
    let peer = node.peer(name)?;
    let answer = match file {
        Some(file) => peer.hand(auth, request, file).await,
        None => peer.ask(auth, request).await,
    };
    Some(answer.map_err(unreachable))
}

impl Node {
    /// Answers another node of the cluster: for this one alone.
    pub(crate) async fn handle_own(&self, auth: Option<&Auth>, request: &Request) -> Response {
        self.inner.look_again();
        router::handle(&self.inner, auth, request, None, true).await
    }

    /// Makes the other nodes of its cluster known to it, once.
    pub(crate) fn meet(&self, peers: Vec<Arc<dyn Peer>>) {
        // Who knows them already is not told anything else.
        let _ = self.inner.peers.set(peers);
    }
}
