//! What features are told: the values of those parameters that a `feature.json` calls `derived`. The types here are the
//! form of them, for whoever works them out (`wire`), for the fixtures of tests, and for the book, whose page is made from
//! the doc comments. Times are seconds, sizes are bytes: a template writes them as its own program reads them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use blueprint::model::SecretRef;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desired::{Issuer, Rate};

/// A field for each name that a derived parameter can have. What is the same for all guests is worked out once, and a
/// guest's own over it, so a field can be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Told {
    /// What the guest's hosts file has to know: all names of the site where no guest serves names, with a name server only
    /// that of the authority. The authority's own guest has all of them in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<Names>>,
    /// The certificate of the site's root, PEM. While another root takes its place it is both of them, the older one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// While another root takes the place of one: each by itself. Nothing otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<Root>>,
    /// While another root takes the place of one: who has read the root's certificate in this guest, and has to read it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<Readers>,
    /// What proxies do not take from clients any more, since its keys may have been taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Vec<Refused>>,
    /// The domain that the site's names end in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The public authority of the site. The node is told of none: public names are the gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<Maybe<Acme>>,
    /// Complete names for which whoever answers may have a certificate by ACME of the authority in this guest. Nothing
    /// elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme_names: Option<Vec<String>>,
    /// Complete names of nodes, of which no guest may have a certificate of the authority in this guest. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_names: Option<Vec<String>>,
    /// What this gateway serves over HTTPS, for services and, apart, for their public names. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<Site>>,
    /// What this gateway serves over TCP. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<Stream>>,
    /// What the mesh serves. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Site>>,
    /// What the name server answers those inside; the first name of an address is its own, in reverse. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<Names>>,
    /// What the name server answers those outside. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside_records: Option<Vec<Names>>,
    /// The certificates that this guest, or the node, renews by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<Certificate>>,
    /// The guest's own certificate, where a feature of it uses one, or its proxy shows one to services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Maybe<Identity>>,
    /// The names in the certificates of the proxies that show one to services of this guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Vec<String>>,
    /// The ports of this guest where nobody but a proxy in the same guest has to come: what listens there answers 127.0.0.1
    /// alone, and the proxy goes there. A feature that is told this promises it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopback: Option<Vec<u16>>,
    /// The address of the cache that packages are fetched through: `http://10.0.0.5:3142`. Empty where there is none, and in
    /// its own guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_cache: Option<String>,
    /// The authority in a guest, where this guest, or the node, renews by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<Maybe<Authority>>,
    /// Whether this is the node itself and no guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<bool>,
    /// On the node: the folders of shares, and to whom they belong. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_folders: Option<Vec<ShareFolder>>,
    /// On the node: what it exports by NFS. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exports: Option<Vec<Export>>,
    /// On the node: what it shares by SMB. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smb_shares: Option<Vec<SmbShare>>,
    /// On the node: all users of those, each once. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smb_users: Option<Vec<User>>,
    /// The shares that this guest mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_mounts: Option<Vec<ShareMount>>,
    /// To what brings one stack about: that stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
    /// Likewise: its secrets that are files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack_secrets: Option<Vec<Named<Secret>>>,
    /// The graphics cards that this guest uses, in the order in which it names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<Gpu>>,
    /// The Docker hosts that the Portainer of this guest shows: its own guest first. Nothing elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_hosts: Option<Vec<DockerHost>>,
    /// What Portainer and its agents share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portainer: Option<Maybe<Portainer>>,
    /// The name servers that the guest asks; none where they are the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolvers: Option<Vec<Ipv4Addr>>,
}

impl Told {
    /// By name, as features are given them: a `null` nowhere.
    ///
    /// # Errors
    /// None that these types can have.
    pub fn values(&self) -> Result<BTreeMap<String, Value>, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(self)?)
    }
}

/// Something, or an empty object, which a template takes for false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Maybe<T> {
    /// It is there.
    There(T),
    /// It is not.
    Nothing(Nothing),
}

impl<T> From<Option<T>> for Maybe<T> {
    fn from(found: Option<T>) -> Self {
        found.map_or(Self::Nothing(Nothing {}), Self::There)
    }
}

/// An empty object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What somebody signed who is not believed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The common name of who signed it.
    pub issuer: String,
    /// The common names for which it is refused; for all where there are none.
    pub names: Vec<String>,
}

/// An address and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The address.
    pub address: Ipv4Addr,
    /// Complete names.
    pub names: Vec<String>,
}

/// A public authority that speaks ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The address of its directory.
    pub directory: String,
    /// Where it writes to; empty where nothing is said.
    pub email: String,
    /// `http-01` or `dns-01`.
    pub challenge: String,
    /// For `dns-01`, the text of the program that sets the record; empty otherwise.
    pub hook: String,
    /// PEM of the root that its address is verified with; empty where this is a public one.
    pub root: String,
}

/// A guest's own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The guest's own name, its first in the certificate: `notes.guest.workshop.internal`.
    pub name: String,
    /// The path of the certificate, with those between it and the root.
    pub certificate: String,
    /// The path of its key.
    pub key: String,
}

/// A certificate that is renewed where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// What it is called, which is also the name of its folder.
    pub name: String,
    /// The names in it, the first one leading.
    pub names: Vec<String>,
    /// How long it lives, in seconds.
    pub life: u64,
    /// Who signs it.
    pub issuer: Issuer,
    /// `user:group` of which the group may read the key; empty for root alone.
    pub owner: String,
    /// Units that are reloaded when it is new.
    pub reloads: Vec<String>,
    /// Units that are restarted when it is new.
    pub restarts: Vec<String>,
    /// Where it is shown, to be read back: `ADDRESS:PORT/NAME`.
    pub served: Vec<String>,
}

/// The certificate of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// What tells it from the others, for the name of a file.
    pub id: String,
    /// The certificate, PEM.
    pub pem: String,
}

/// Units that have read the certificate of the root: those that show a certificate themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Readers {
    /// Those that are reloaded.
    pub reloads: Vec<String>,
    /// Those that are restarted.
    pub restarts: Vec<String>,
}

/// How the authority in a guest is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Authority {
    /// By a guest, over the network.
    Network(ByNetwork),
    /// By the node, which is root of every guest.
    Node(ByNode),
}

/// For a guest: over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByNetwork {
    /// Its address: `https://ca.workshop.internal`.
    pub url: String,
    /// Its name.
    pub host: String,
    /// What it calls this guest.
    pub provisioner: String,
}

/// For the node: in the authority's own guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByNode {
    /// The id of the authority's guest.
    pub through: u32,
    /// What it calls the node.
    pub who: String,
}

/// A service over HTTPS, at a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its name, which no other here has; `NAME.public` for its public names.
    pub service: String,
    /// The names that clients ask for, the first one leading.
    pub names: Vec<String>,
    /// Whether these are public names: their certificate may still have to be signed.
    pub public: bool,
    /// The path of the certificate, with those between it and the root.
    pub certificate: String,
    /// The path of its key.
    pub key: String,
    /// The address of the service.
    pub upstream_address: Ipv4Addr,
    /// Its port.
    pub upstream_port: u16,
    /// What it speaks there.
    pub upstream_protocol: Protocol,
    /// The name in the service's certificate, which is to be verified; empty where there is no certificate, and where the
    /// service says `"verify": false`.
    pub upstream_name: String,
    /// Whether a connection may become a WebSocket; it may where absent.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub websocket: bool,
    /// Whether browsers are told how its pages may be shown, where the service says nothing itself; they are where absent.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub security_headers: bool,
    /// Whether the proxy shows the service its own certificate, `identity`.
    pub mutual: bool,
    /// Whether clients must show a certificate of the site.
    pub client_certificate: bool,
    /// Whose, by the name in them; everybody's where absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_names: Vec<String>,
    /// Who may use it, with passwords; everybody where nobody is named.
    pub users: Vec<User>,
    /// The largest request in bytes, 0 for any; the program's own default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
    /// The largest head of a request or an answer in bytes; the program's own default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<u64>,
    /// For how many seconds the service may be silent; the program's own default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How many requests a client may make; any number where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// With `rate`: how many more are let through at once.
    pub burst: u32,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Protocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Somebody who may use a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name.
    pub user: String,
    /// The password. In a file's template it is the password itself, and `crypt` makes its hash.
    #[schemars(with = "String")]
    pub password: Secret,
}

/// A graphics card that a guest uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Its name under `hypervisor.gpus`.
    pub card: String,
    /// What the guest is to have of its memory, in bytes; 0 where that is not said.
    pub memory: u64,
    /// The memory that it has, in bytes; 0 where that is not said.
    pub total: u64,
    /// The version of NVIDIA's driver that the node has to have loaded; empty where that is not said.
    pub driver: String,
    /// Where the installer of that driver is fetched from; empty where Phoenix does not install it.
    pub url: String,
    /// The SHA-256 of that installer; empty where Phoenix does not install it.
    pub sha256: String,
    /// The number of the group in the guest that alone may use it; 0 where everybody there may.
    pub gid: u32,
    /// Whether the guest, a machine, has it to itself.
    pub alone: bool,
}

/// What Portainer and its agents share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Portainer {
    /// What they know each other by: a secret that the site makes.
    #[schemars(with = "String")]
    pub secret: Secret,
}

/// A Docker host that Portainer shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerHost {
    /// The guest's name, which is what Portainer calls it.
    pub name: String,
    /// Its address, which is where what its containers publish is.
    pub address: Ipv4Addr,
    /// The port of its agent; 0 for the guest that Portainer is in, whose socket it has.
    pub port: u16,
    /// The guest's tags.
    pub tags: Vec<String>,
}

/// The folder of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareFolder {
    /// The share's name.
    pub share: String,
    /// The folder.
    pub path: String,
    /// Where the dataset is mounted that it is on; empty where that is not declared.
    pub mounted: String,
    /// The user to whom it belongs.
    pub owner: String,
    /// The user's number.
    pub uid: u32,
    /// Its group.
    pub group: String,
    /// The group's number.
    pub gid: u32,
    /// Its mode, `2770`.
    pub mode: String,
}

/// A folder that is exported by NFS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The share's name.
    pub share: String,
    /// The folder.
    pub path: String,
    /// Where the dataset is mounted that it is on; empty where that is not declared.
    pub mounted: String,
    /// Who may mount it: addresses and subnets.
    pub to: Vec<String>,
    /// Whether it may be written.
    pub write: bool,
    /// Whether root of a client is root.
    pub no_root_squash: bool,
    /// The number of the owner, who root of a client is otherwise.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
}

/// A folder that is shared by SMB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmbShare {
    /// The share's name.
    pub share: String,
    /// The folder.
    pub path: String,
    /// Where the dataset is mounted that it is on; empty where that is not declared.
    pub mounted: String,
    /// The user to whom what is in it belongs.
    pub owner: String,
    /// The group.
    pub group: String,
    /// Who opens it.
    pub users: Vec<String>,
    /// From where: addresses and subnets.
    pub from: Vec<String>,
    /// Whether it may be written.
    pub write: bool,
    /// Whether everybody on the node may write what is new in it.
    pub open: bool,
}

/// A share that a guest mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareMount {
    /// The share's name.
    pub share: String,
    /// Where it appears.
    pub path: String,
    /// What is mounted by NFS, `10.0.0.13:/srv/media`; empty where the node shows a container the folder itself.
    pub source: String,
    /// Whether it can be written.
    pub write: bool,
    /// The number of the user in the guest who is its owner there.
    pub uid: u32,
    /// The number of that user's group.
    pub gid: u32,
}

/// A stack of Docker containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// What Docker Compose calls it.
    pub project: String,
    /// Whether a project of that name which somebody else made becomes its own.
    pub adopts: bool,
    /// The files that Compose reads, the later ones over the earlier, with a colon between two.
    pub compose: String,
    /// How long its containers may take until they run, in seconds.
    pub within: u64,
    /// Whether what ran before runs again where it fails.
    pub restores: bool,
    /// The file `.env` of its folder, as it is written; empty where there is none.
    pub dotenv: String,
    /// Variables that are no secrets.
    pub env: Vec<Named<String>>,
    /// Variables that are secrets.
    pub secret_env: Vec<Named<Secret>>,
}

/// Something by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Named<T> {
    /// The name.
    pub name: String,
    /// What it stands for; a secret's template has the secret itself.
    #[schemars(with = "String")]
    pub value: T,
}

/// A secret by reference; what takes its place in templates is put in where scripts are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The reference.
    #[serde(rename = "$secret")]
    pub secret: SecretRef,
}

/// A service over TCP, at its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Its name.
    pub service: String,
    /// The gateway's port.
    pub listen: u16,
    /// Whether clients speak TLS there.
    pub tls: bool,
    /// The names that clients use.
    pub names: Vec<String>,
    /// With `tls`: the path of the certificate, with those between it and the root.
    pub certificate: String,
    /// With `tls`: the path of its key.
    pub key: String,
    /// The address of the service.
    pub upstream_address: Ipv4Addr,
    /// Its port.
    pub upstream_port: u16,
    /// For how many seconds a connection may be idle; the program's own default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// The JSON Schema of [`Told`] (draft 2020-12), with everything in its place: no `$ref`.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Told>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_there_is_an_empty_object_and_nothing_else_is_taken_for_it() {
        let told = Told { acme: Some(None.into()), hypervisor: Some(true), ..Told::default() };
        let value = serde_json::to_value(&told).unwrap();
        assert_eq!(value, json!({ "acme": {}, "hypervisor": true }));
        assert_eq!(serde_json::from_value::<Told>(value).unwrap(), told);
        for wrong in [
            json!({ "acme": { "directory": "https://acme.example.org" } }),
            json!({ "authority": { "url": "u", "host": "h", "provisioner": "p", "through": 100 } }),
            json!({ "names": [{ "address": "10.0.0.1" }] }),
            json!({ "certificate": [] }),
        ] {
            assert!(serde_json::from_value::<Told>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_schema_has_a_description_for_every_field() {
        fn walk(schema: &Value, path: &str, all: &mut Vec<String>) {
            for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                all.push(format!("{path}{name}"));
                assert!(inner.get("description").is_some(), "{path}{name} has no description: {inner}");
                walk(inner, &format!("{path}{name}."), all);
            }
            let branches = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
            branches.chain(schema.get("items")).for_each(|inner| walk(inner, path, all));
        }
        let (schema, mut all) = (schema(), Vec::new());
        walk(&schema, "", &mut all);
        assert!(!schema.to_string().contains("$ref"), "{schema}");
        for name in ["outside-records.names", "sites.rate.per_seconds", "authority.through", "identity.key"] {
            assert!(all.iter().any(|field| field == name), "{name} is not in {all:?}");
        }
    }
}
