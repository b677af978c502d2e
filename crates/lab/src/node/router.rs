//! From a request to the function that answers it, by way of identity, privileges and parameters, in the real order.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxmox::exchange::{Method, Request, Response};
use serde_json::{Value, json};

use super::error::{Answer, ApiError, Outcome};
use super::kept_files::Uploaded;
use super::schema::{self, Who};
use super::{
    Auth, Inner, access_api, appliances, certificates, cluster, firewall, guest_change, guest_clone,
    guest_create, guest_move, guest_power, guest_read, mappings, peer, pools, qemu, storage_api, tasks,
};

/// One call with its checked parameters.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub node: &'a Arc<Inner>,
    pub auth: &'a Auth,
    pub params: BTreeMap<String, String>,
    /// Another node of the cluster asks: only this node's own part is answered.
    pub own: bool,
    /// The file that came with it.
    pub file: Option<&'a Arc<Uploaded>>,
}

impl Call<'_> {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.params.get(key).map(String::as_str)
    }

    /// A parameter that is there because the schema says so.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// The guest the call is about.
    pub(crate) fn vmid(&self) -> u32 {
        self.get("vmid").and_then(|id| id.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn may(&self, path: &str, privilege: &str) -> bool {
        self.node.may(self.auth, path, privilege)
    }

    pub(crate) fn need(&self, path: &str, privilege: &str) -> Result<(), ApiError> {
        self.node.need(self.auth, path, privilege)
    }
}

/// `own` is true for what another node of the cluster asks.
pub(crate) async fn handle(
    node: &Arc<Inner>,
    auth: Option<&Auth>,
    request: &Request,
    file: Option<&Arc<Uploaded>>,
    own: bool,
) -> Response {
    answer(node, auth, request, file, own).await.unwrap_or_else(ApiError::into_response)
}

async fn answer(
    node: &Arc<Inner>,
    auth: Option<&Auth>,
    request: &Request,
    file: Option<&Arc<Uploaded>>,
    own: bool,
) -> Result<Response, ApiError> {
    let nobody = Auth::of("");
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let found = schema::find(request.method, path);
    let world = found.as_ref().is_some_and(|(endpoint, _)| matches!(endpoint.who, Who::World));
    let auth = match auth {
        Some(auth) if node.state().keep.access.is_valid(auth, node.clock.now()) => auth,
        Some(_) => return Err(ApiError::unauthorized("Authentication failed!")),
        None if world => &nobody,
        None => return Err(ApiError::unauthorized("No ticket")),
    };
    let Some((endpoint, vars)) = found else {
        if request.method != Method::Get && path.contains("/firewall") {
            return Err(firewall::read_only());
        }
        return Err(ApiError::not_implemented(request.method, path));
    };
    let mut given: Vec<(String, String)> = request.params.clone();
    given.extend(
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (schema::decode(key), schema::decode(&value.replace('+', " ")))),
    );
    if let Who::Any(template, privileges) = &endpoint.who {
        let lookup = |key: &str| match vars.get(key) {
            Some(value) => value.clone(),
            None => {
                given.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap_or_default()
            }
        };
        let path = fill(template, lookup);
        if !privileges.iter().any(|privilege| node.may(auth, &path, privilege)) {
            return Err(ApiError::forbidden(format!("{path}, {}", privileges.join("|"))));
        }
    }
    if let Some(asked) = vars.get("node").filter(|asked| **asked != node.name && *asked != "localhost") {
        if !own && let Some(answer) = peer::forward(node, asked, auth, request, file).await {
            return answer;
        }
        return Err(ApiError::die(format!(
            "hostname lookup '{asked}' failed - failed to get address info for: {asked}: Temporary failure in name \
             resolution"
        )));
    }
    let params = schema::verify(endpoint, &vars, &given)?;
    let call = Call { node, auth, params, own, file };
    let mut answer = dispatch(&call, endpoint.method, endpoint.path).await?;
    if let Value::Array(list) = &mut answer.data
        && !own
        && peer::is_common(endpoint.path)
    {
        peer::complete(&call, endpoint.path, list).await;
    }
    Ok(answer.into_response())
}

fn fill(template: &str, lookup: impl Fn(&str) -> String) -> String {
    let parts = template.split('/').map(|part| {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(key) => lookup(key),
            None => part.to_owned(),
        }
    });
    let path = parts.collect::<Vec<_>>().join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

async fn dispatch(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    use Method::{Delete, Get, Post, Put};
    let version = json!({"release": "9.2", "version": "9.2.11", "repoid": "14a22df35955d97d"});
    match (method, path) {
        (Get, "/version" | "/nodes/{node}/version") => Ok(version.into()),
        (Post, "/access/ticket") => access_api::ticket(call),
        (Get, "/access/permissions") => access_api::permissions(call),
        (Get, "/access/domains") => Ok(access_api::domains().into()),
        (_, path) if path.starts_with("/access/users") => access_api::users(call, method, path),
        (_, path) if path.starts_with("/access/roles") => access_api::roles(call, method, path),
        (Get, "/access/acl") => access_api::rules(call),
        (Put, "/access/acl") => access_api::change_rules(call),
        (Get, "/cluster/resources") => cluster::resources(call).await,
        (Get, "/cluster/nextid") => cluster::next_id(call),
        (Get, "/cluster/status") => Ok(peer::status(call, cluster::status(call)).await.into()),
        (Get, "/cluster/mapping/pci") => mappings::list(call, "pci"),
        (Post, "/cluster/mapping/pci") => mappings::create(call),
        (Put, "/cluster/mapping/pci/{id}") => mappings::update(call),
        (Delete, "/cluster/mapping/pci/{id}") => mappings::delete(call),
        (Get, "/cluster/mapping/usb") => mappings::list(call, "usb"),
        (Get, "/cluster/mapping/dir") => mappings::list(call, "dir"),
        (Get, "/cluster/tasks") => tasks::cluster(call),
        (Get, "/nodes") => Ok(cluster::nodes(call).into()),
        (Get, "/nodes/{node}/status") => Ok(cluster::node_status(call).into()),
        (Get, "/nodes/{node}/time") => Ok(cluster::time(call).into()),
        (Get, "/nodes/{node}/network") => Ok(cluster::network(call).into()),
        (Get, "/nodes/{node}/aplinfo") => appliances::list(call).await,
        (Post, "/nodes/{node}/aplinfo") => appliances::download(call).await,
        (Get, "/nodes/{node}/certificates") => Ok(json!([{"name": "custom"}, {"name": "info"}]).into()),
        (Get, "/nodes/{node}/certificates/info") => certificates::info(call),
        (Post, "/nodes/{node}/certificates/custom") => certificates::upload(call),
        (Delete, "/nodes/{node}/certificates/custom") => certificates::remove(call),
        (Get, path) if path.contains("/firewall/") => firewall::get(call, path),
        (_, path) if qemu::is_path(path) => qemu::handle(call, method, path).await,
        (Get, "/nodes/{node}/lxc") => guest_read::list(call).await,
        (Post, "/nodes/{node}/lxc") => guest_create::create(call),
        (Delete, "/nodes/{node}/lxc/{vmid}") => guest_power::destroy(call).await,
        (Get, "/nodes/{node}/lxc/{vmid}/config") => guest_read::config(call),
        (Put, "/nodes/{node}/lxc/{vmid}/config") => guest_change::update(call).await,
        (Get, "/nodes/{node}/lxc/{vmid}/pending") => guest_read::pending(call),
        (Get, "/nodes/{node}/lxc/{vmid}/interfaces") => guest_read::interfaces(call).await,
        (Get, "/nodes/{node}/lxc/{vmid}/feature") => {
            guest_read::conf_of(call)?;
            Ok(json!({"hasFeature": 0}).into())
        }
        (Post, "/nodes/{node}/lxc/{vmid}/clone") => guest_clone::clone(call).await,
        (Post, "/nodes/{node}/lxc/{vmid}/template") => guest_clone::template(call).await,
        (Put, "/nodes/{node}/lxc/{vmid}/resize") => guest_change::resize(call).await,
        (Post, "/nodes/{node}/lxc/{vmid}/move_volume") => guest_move::move_volume(call).await,
        (Get, "/nodes/{node}/lxc/{vmid}/status/current") => guest_read::status(call).await,
        (Post, "/nodes/{node}/lxc/{vmid}/status/start") => guest_power::start(call).await,
        (Post, "/nodes/{node}/lxc/{vmid}/status/stop") => guest_power::stop(call).await,
        (Post, "/nodes/{node}/lxc/{vmid}/status/shutdown") => guest_power::shutdown(call).await,
        (Post, "/nodes/{node}/lxc/{vmid}/status/reboot") => guest_power::reboot(call).await,
        (Get, "/nodes/{node}/tasks") => tasks::list(call),
        (Get, "/nodes/{node}/tasks/{upid}/status") => tasks::status(call),
        (Get, "/nodes/{node}/tasks/{upid}/log") => tasks::log(call),
        (Delete, "/nodes/{node}/tasks/{upid}") => tasks::stop(call),
        (Get, "/cluster/options") => Ok(cluster::options(call).into()),
        (Put, "/cluster/options") => cluster::change_options(call),
        (_, path) if path.contains("storage") || path.contains("/scan/") => {
            storage_api::handle(call, method, path)
        }
        (_, path) if path.starts_with("/pools") => pools::handle(call, method, path).await,
        (_, path) => Err(ApiError::not_implemented(method, path)),
    }
}

impl Call<'_> {
    /// Starts a task and answers its UPID.
    pub(crate) fn task<F, W>(&self, kind: &str, id: impl std::fmt::Display, work: F) -> Answer
    where
        F: FnOnce(crate::runtime::TaskLog) -> W,
        W: Future<Output = Result<(), crate::runtime::TaskError>> + Send + 'static,
    {
        Value::String(tasks::start(self.node, self.auth, kind, &format!("{id}"), work)).into()
    }
}
