//! Users, API tokens, roles and access rules, and what they add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::formats;

/// All privileges of Proxmox VE 9, by name, in alphabetical order (from `GET /access/roles`, Administrator).
const NAMES: [&str; 47] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

const VM_ADMIN: &str = "VM.Allocate,VM.Audit,VM.Backup,VM.Clone,VM.Config.CDROM,VM.Config.CPU,VM.Config.Cloudinit,\
    VM.Config.Disk,VM.Config.HWType,VM.Config.Memory,VM.Config.Network,VM.Config.Options,VM.Console,\
    VM.GuestAgent.Audit,VM.GuestAgent.FileRead,VM.GuestAgent.FileSystemMgmt,VM.GuestAgent.FileWrite,\
    VM.GuestAgent.Unrestricted,VM.Migrate,VM.PowerMgmt,VM.Replicate,VM.Snapshot,VM.Snapshot.Rollback";

/// The roles every node has, but for Administrator (all privileges) and those that build on [`VM_ADMIN`].
const BUILT_IN: [(&str, &str); 14] = [
    ("NoAccess", ""),
    (
        "PVEAuditor",
        "Datastore.Audit,Mapping.Audit,Pool.Audit,SDN.Audit,Sys.Audit,VM.Audit,VM.GuestAgent.Audit",
    ),
    (
        "PVEDatastoreAdmin",
        "Datastore.Allocate,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit",
    ),
    ("PVEDatastoreUser", "Datastore.AllocateSpace,Datastore.Audit"),
    ("PVEMappingAdmin", "Mapping.Audit,Mapping.Modify,Mapping.Use"),
    ("PVEMappingUser", "Mapping.Audit,Mapping.Use"),
    ("PVEPoolAdmin", "Pool.Allocate,Pool.Audit"),
    ("PVEPoolUser", "Pool.Audit"),
    ("PVESDNAdmin", "SDN.Allocate,SDN.Audit,SDN.Use"),
    ("PVESDNUser", "SDN.Audit,SDN.Use"),
    ("PVESysAdmin", "Sys.Audit,Sys.Console,Sys.Syslog"),
    ("PVETemplateUser", "VM.Audit,VM.Clone"),
    ("PVEUserAdmin", "Group.Allocate,Realm.AllocateUser,User.Modify"),
    (
        "PVEVMUser",
        "VM.Audit,VM.Backup,VM.Config.CDROM,VM.Config.Cloudinit,VM.Console,VM.GuestAgent.Audit,\
         VM.GuestAgent.FileRead,VM.GuestAgent.FileSystemMgmt,VM.GuestAgent.FileWrite,VM.PowerMgmt",
    ),
];

const ADMIN_MORE: &str = "Datastore.Allocate,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit,\
    Group.Allocate,Mapping.Audit,Mapping.Use,Pool.Allocate,Pool.Audit,Realm.AllocateUser,SDN.Allocate,SDN.Audit,\
    SDN.Use,Sys.Audit,Sys.Console,Sys.Syslog,User.Modify";

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Privileges(u64);

impl Privileges {
    const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set of the one privilege of this name, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.binary_search(&name).ok().map(|at| Self(1 << at))
    }

    fn of(list: &str) -> Self {
        formats::list(list).filter_map(Self::named).fold(Self::default(), Self::or)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(at, _)| self.0 & (1 << at) != 0).map(|(_, name)| name)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Who asks: a user, or one of a user's API tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Auth {
    user: String,
    token: Option<String>,
}

impl Auth {
    /// `root@pam` itself, as with a ticket or on the node's own console. An API token of `root@pam` is *not* this.
    pub fn root() -> Self {
        Self { user: "root@pam".to_owned(), token: None }
    }

    /// From `user@realm` or `user@realm!token`. Whether it exists is looked at with each call.
    pub fn of(id: &str) -> Self {
        match id.split_once('!') {
            Some((user, token)) => Self { user: user.to_owned(), token: Some(token.to_owned()) },
            None => Self { user: id.to_owned(), token: None },
        }
    }

    /// `user@realm`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The token's name, for a token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// `user@realm` or `user@realm!token`.
    pub fn id(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }

    /// The one identity that may do everything.
    pub(crate) fn is_root(&self) -> bool {
        self.token.is_none() && self.user == "root@pam"
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub privsep: bool,
    pub expire: u64,
    pub comment: Option<String>,
    pub secret: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub(crate) struct User {
    pub enable: bool,
    pub expire: u64,
    /// `comment`, `email`, `firstname`, `lastname`.
    pub texts: BTreeMap<String, String>,
    /// SHA-256 of the user's name and password; none: no log-in with a password.
    pub password: Option<String>,
    pub tokens: BTreeMap<String, Token>,
}

/// One rule: on its path, this user or token has this role.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `user@realm` or `user@realm!token`.
    pub who: String,
    pub role: String,
    pub propagate: bool,
}

/// Users, roles, rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Access {
    pub users: BTreeMap<String, User>,
    /// The roles people made, with their privileges' names.
    pub roles: BTreeMap<String, String>,
    /// By path.
    pub rules: BTreeMap<String, Vec<Rule>>,
    /// Signs tickets. Made when the node is.
    pub key: String,
}

impl Access {
    pub(crate) fn new(key: String) -> Self {
        let root = User { enable: true, ..User::default() };
        Self {
            users: BTreeMap::from([("root@pam".to_owned(), root)]),
            roles: BTreeMap::new(),
            rules: BTreeMap::new(),
            key,
        }
    }

    /// The privileges of a role, whoever made it.
    pub(crate) fn role(&self, name: &str) -> Option<Privileges> {
        match name {
            "Administrator" => return Some(Privileges::ALL),
            "PVEAdmin" => return Some(Privileges::of(VM_ADMIN).or(Privileges::of(ADMIN_MORE))),
            "PVEVMAdmin" => return Some(Privileges::of(VM_ADMIN)),
            _ => {}
        }
        let built_in = BUILT_IN.iter().find(|(role, _)| *role == name).map(|(_, list)| *list);
        built_in.or_else(|| self.roles.get(name).map(String::as_str)).map(Privileges::of)
    }

    /// Whether the node has it from the start, so that it can be neither changed nor deleted.
    pub(crate) fn is_built_in(name: &str) -> bool {
        matches!(name, "Administrator" | "PVEAdmin" | "PVEVMAdmin")
            || BUILT_IN.iter().any(|(role, _)| *role == name)
    }

    /// Every role's name.
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &str> {
        let three = ["Administrator", "PVEAdmin", "PVEVMAdmin"].into_iter();
        three.chain(BUILT_IN.iter().map(|(name, _)| *name)).chain(self.roles.keys().map(String::as_str))
    }

    /// Whether the identity exists, is enabled, and has not expired at `now`.
    pub(crate) fn is_valid(&self, auth: &Auth, now: u64) -> bool {
        let alive = |expire: u64| expire == 0 || expire > now;
        let Some(user) = self.users.get(auth.user()).filter(|user| user.enable && alive(user.expire)) else {
            return false;
        };
        auth.token().is_none_or(|token| user.tokens.get(token).is_some_and(|token| alive(token.expire)))
    }

    /// What `auth` may do on `path`. The nearest rule for it counts, as PVE::AccessControl does it; the user of a
    /// privilege-separated token bounds what the token may.
    pub(crate) fn privileges(&self, auth: &Auth, path: &str, pool: Option<&str>) -> Privileges {
        if auth.user() == "root@pam" && auth.token().is_none() {
            return Privileges::ALL;
        }
        let on = |who: &str| {
            let own = self.on_path(who, path);
            match pool {
                Some(pool) if !own.1 => own.0.or(self.on_path(who, &format!("/pool/{pool}")).0),
                _ => own.0,
            }
        };
        let Some(token) = auth.token() else { return on(auth.user()) };
        let user = Auth { user: auth.user.clone(), token: None };
        let of_user = self.privileges(&user, path, pool);
        let separated =
            self.users.get(auth.user()).and_then(|user| user.tokens.get(token)).map(|t| t.privsep);
        match separated {
            None => Privileges::default(),
            Some(false) => of_user,
            Some(true) => of_user.and(on(&auth.id())),
        }
    }

    /// The privileges by rules, and whether a NoAccess rule decided.
    fn on_path(&self, who: &str, path: &str) -> (Privileges, bool) {
        let mut found = Privileges::default();
        let mut none = false;
        let path = path.trim_end_matches('/');
        let ends = path.char_indices().filter(|(at, c)| *c == '/' && *at > 0).map(|(at, _)| at);
        let prefixes =
            std::iter::once("/").chain(ends.map(|at| &path[..at])).chain((!path.is_empty()).then_some(path));
        for prefix in prefixes {
            let last = prefix == path || path.is_empty();
            let Some(rules) = self.rules.get(prefix) else { continue };
            let mut here = rules.iter().filter(|rule| rule.who == who && (rule.propagate || last)).peekable();
            if here.peek().is_none() {
                continue;
            }
            (found, none) = (Privileges::default(), false);
            for rule in here {
                none |= rule.role == "NoAccess";
                found = found.or(self.role(&rule.role).unwrap_or_default());
            }
        }
        if none { (Privileges::default(), true) } else { (found, false) }
    }

    /// Forgets every rule for a user, its tokens, or a token.
    pub(crate) fn drop_rules_of(&mut self, who: &str) {
        let token = format!("{who}!");
        for rules in self.rules.values_mut() {
            rules.retain(|rule| rule.who != who && !rule.who.starts_with(&token));
        }
        self.rules.retain(|_, rules| !rules.is_empty());
    }

    pub(crate) fn hash(user: &str, password: &str) -> String {
        super::etc::hex(&Sha256::digest(format!("{user}\n{password}").as_bytes()))
    }

    /// A signature of `text` that only this node can make.
    pub(crate) fn sign(&self, text: &str) -> String {
        super::etc::hex(&Sha256::digest(format!("{}\n{text}\n{}", self.key, self.key).as_bytes()))
    }

    /// The user as the API shows it.
    pub(crate) fn show_user(&self, id: &str) -> Result<serde_json::Map<String, Value>, ApiError> {
        let user = self.users.get(id).ok_or_else(|| ApiError::die(format!("no such user ('{id}')")))?;
        let mut out = serde_json::Map::new();
        out.insert("enable".to_owned(), u8::from(user.enable).into());
        out.insert("expire".to_owned(), user.expire.into());
        for (key, text) in &user.texts {
            out.insert(key.clone(), text.as_str().into());
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let mut access = Access::new("k".into());
        let mut user = User { enable: true, ..User::default() };
        let token = |privsep| Token { privsep, expire: 0, comment: None, secret: String::new() };
        user.tokens = BTreeMap::from([("sep".into(), token(true)), ("full".into(), token(false))]);
        access.users.insert("a@pve".into(), user);
        access
    }

    fn rule(who: &str, role: &str) -> Rule {
        Rule { who: who.into(), role: role.into(), propagate: true }
    }

    #[test]
    fn names_are_sorted_for_the_search() {
        assert!(NAMES.is_sorted());
        assert_eq!(Privileges::ALL.names().count(), 47);
    }

    #[test]
    fn a_separated_token_never_has_more_than_its_user() {
        let mut access = access();
        access.rules.insert("/".into(), vec![rule("a@pve!sep", "Administrator")]);
        assert!(access.privileges(&Auth::of("a@pve!sep"), "/vms/100", None).is_empty());
        access.rules.insert("/vms".into(), vec![rule("a@pve", "PVEVMUser")]);
        let audit = Privileges::named("VM.Audit").expect("known");
        let allocate = Privileges::named("VM.Allocate").expect("known");
        for token in ["a@pve!sep", "a@pve!full"] {
            let has = access.privileges(&Auth::of(token), "/vms/100", None);
            assert!(has.holds(audit) && !has.holds(allocate), "{token}");
        }
    }

    #[test]
    fn the_nearest_rule_decides_and_no_access_ends_it() {
        let mut access = access();
        access.rules.insert("/".into(), vec![rule("a@pve", "Administrator")]);
        access.rules.insert("/vms/101".into(), vec![rule("a@pve", "NoAccess")]);
        assert_eq!(access.privileges(&Auth::of("a@pve"), "/vms/100", None), Privileges::ALL);
        assert!(access.privileges(&Auth::of("a@pve"), "/vms/101", Some("p")).is_empty());
        access
            .rules
            .insert("/storage".into(), vec![Rule { propagate: false, ..rule("a@pve", "PVEAuditor") }]);
        assert_eq!(access.privileges(&Auth::of("a@pve"), "/storage/tank", None), Privileges::ALL);
    }

    #[test]
    fn a_pool_adds_its_privileges() {
        let mut access = access();
        access.rules.insert("/pool/p".into(), vec![rule("a@pve", "PVEVMAdmin")]);
        assert!(access.privileges(&Auth::of("a@pve"), "/vms/100", None).is_empty());
        assert!(!access.privileges(&Auth::of("a@pve"), "/vms/100", Some("p")).is_empty());
    }

    #[test]
    fn only_root_itself_is_root() {
        assert!(Auth::root().is_root() && Auth::of("root@pam").is_root());
        assert!(!Auth::of("root@pam!conf").is_root());
    }
}
