//! How the node of one container reaches those of the others: by sockets in a folder that all of them see.

use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use proxmox::exchange::{Request, Response};

use crate::node::{Auth, Peer};

/// The folder of the whole cluster, in each node's own.
pub(crate) const CLUSTER: &str = "cluster";
/// The longest one answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Where a node listens for the others, in the cluster's folder.
pub(crate) fn socket(cluster: &Utf8Path, node: &str) -> Utf8PathBuf {
    cluster.join(format!("{node}.sock"))
}

/// Another node of the cluster.
#[derive(Debug)]
pub(crate) struct Neighbour {
    name: String,
    socket: Utf8PathBuf,
}

impl Neighbour {
    pub(crate) fn new(cluster: &Utf8Path, name: &str) -> Self {
        Self { name: name.to_owned(), socket: socket(cluster, name) }
    }
}

#[async_trait]
impl Peer for Neighbour {
    fn name(&self) -> &str {
        &self.name
    }

    async fn ask(&self, auth: &Auth, request: &Request) -> Result<Response, String> {
        let (method, identity) = (request.method.to_string(), auth.id());
        let sent =
            crate::frontends::send(&self.socket, &method, &request.path, &request.params, Some(&identity));
        match tokio::time::timeout(ANSWER, sent).await {
            Ok(Ok((status, reason, body))) => Ok(Response { status, reason, body }),
            // Its socket is gone with it, or was left by one that was killed.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Err("Connection refused".to_owned())
            }
            Ok(Err(error)) => Err(crate::frontends::reason(&error)),
            Err(_) => Err("Connection timed out".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proxmox::exchange::Method;

    use super::*;
    use crate::server::Server;
    use crate::sim::{NARROW_TOKEN, Times, WorldOptions};

    #[tokio::test]
    async fn a_node_answers_another_for_whom_it_asks() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let world = WorldOptions::new(1).nodes(2).times(Times::none()).build().unwrap();
        let other = world.others[0].node.clone();
        let ask = async |auth: &Auth, method, path: &str, params: &[(&str, &str)]| {
            let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Neighbour::new(folder, "pve2").ask(auth, &Request { method, path: path.to_owned(), params }).await
        };
        let narrow = Auth::of(NARROW_TOKEN);
        let gone = ask(&narrow, Method::Get, "/version", &[]).await;
        assert_eq!(gone.unwrap_err(), "Connection refused");
        let server = Server::peers(other, &socket(folder, "pve2")).await.unwrap();
        // For itself alone, and with the rights of the one who asked the first node.
        let nodes = ask(&narrow, Method::Get, "/nodes", &[]).await.unwrap();
        assert_eq!(nodes.body["data"].as_array().map(Vec::len), Some(1));
        let pool = [("poolid", "a b&c")];
        let refused = ask(&narrow, Method::Post, "/pools", &pool).await.unwrap();
        assert_eq!((refused.status, &refused.body["errors"]["poolid"].is_string()), (400, &true));
        let storage = [("storage", "more"), ("type", "dir"), ("path", "/more")];
        world.node.set_role("Phoenix", "Datastore.Audit");
        let refused = ask(&narrow, Method::Post, "/storage", &storage).await.unwrap();
        assert_eq!(refused.reason, "Permission check failed (/storage, Datastore.Allocate)");
        assert_eq!(ask(&Auth::root(), Method::Post, "/storage", &storage).await.unwrap().status, 200);
        let nobody = ask(&Auth::of("nobody@pve"), Method::Get, "/nodes", &[]).await.unwrap();
        assert_eq!(nobody.status, 401);
        server.stop().await;
    }
}
