//! The calls about users, tokens, roles, rules and tickets.

use proxmox::exchange::Method;
use serde_json::{Map, Value, json};

use super::access::{Access, Privileges, Rule, Token, User};
use super::error::{Answer, ApiError, Outcome};
use super::router::Call;
use super::{Auth, Inner, formats};

/// How long a ticket is good for, in seconds (PVE::Ticket: two hours).
const TICKET_LIFE: u64 = 7200;

pub(crate) fn domains() -> Value {
    json!([
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
        {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server"},
    ])
}

fn signed(access: &Access, user: &str, time: u64) -> (String, String) {
    let ticket = format!("PVE:{user}:{time:08X}");
    let signature = access.sign(&ticket);
    let csrf = format!("{time:08X}");
    let csrf_signature = access.sign(&format!("csrf:{csrf}:{user}"));
    (format!("{ticket}::{signature}"), format!("{csrf}:{csrf_signature}"))
}

pub(crate) fn ticket(call: &Call<'_>) -> Outcome {
    let name = call.text("username");
    let user = match call.get("realm") {
        Some(realm) if !name.contains('@') => format!("{name}@{realm}"),
        _ => name.to_owned(),
    };
    let state = call.node.state();
    let access = &state.keep.access;
    let now = call.node.clock.now();
    let password = access.users.get(&user).and_then(|user| user.password.as_deref());
    let good = password.is_some_and(|hash| hash == Access::hash(&user, call.text("password")));
    if !good || !access.is_valid(&Auth::of(&user), now) {
        return Err(ApiError::unauthorized("authentication failure"));
    }
    let (ticket, csrf) = signed(access, &user, now);
    Ok(json!({"username": user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": {}}).into())
}

impl Inner {
    pub(super) fn auth_of_ticket(
        &self,
        ticket: &str,
        csrf: Option<&str>,
        changes: bool,
    ) -> Result<Auth, &'static str> {
        const BAD: &str = "permission denied - invalid PVE ticket";
        let (text, _) = ticket.split_once("::").ok_or(BAD)?;
        let (user, time) = text.strip_prefix("PVE:").and_then(|rest| rest.rsplit_once(':')).ok_or(BAD)?;
        let time = u64::from_str_radix(time, 16).map_err(|_| BAD)?;
        let state = self.state();
        let (ours, our_csrf) = signed(&state.keep.access, user, time);
        if ours != ticket || self.clock.now() > time + TICKET_LIFE {
            return Err(BAD);
        }
        if changes && csrf != Some(our_csrf.as_str()) {
            return Err("Permission denied - invalid csrf token");
        }
        Ok(Auth::of(user))
    }
}

/// The paths that `GET /access/permissions` always looks at.
const PATHS: [&str; 8] = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];

pub(crate) fn permissions(call: &Call<'_>) -> Outcome {
    let asked = match call.get("userid") {
        Some(id) => Auth::of(id),
        None => call.auth.clone(),
    };
    let own = asked.user() == call.auth.user() && call.auth.token().is_none() || asked == *call.auth;
    if !own {
        call.need("/access", "Sys.Audit")?;
    }
    let state = call.node.state();
    let keep = &state.keep;
    let paths: Vec<String> = match call.get("path") {
        Some(path) => vec![path.to_owned()],
        None => {
            PATHS.iter().map(|path| (*path).to_owned()).chain(keep.access.rules.keys().cloned()).collect()
        }
    };
    let mut out = Map::new();
    for path in paths {
        let pool = path.strip_prefix("/vms/").and_then(|id| id.parse().ok()).and_then(|id| keep.pool_of(id));
        let privileges = keep.access.privileges(&asked, &path, pool);
        if !privileges.is_empty() {
            let names: Map<String, Value> =
                privileges.names().map(|name| (name.to_owned(), 1.into())).collect();
            out.insert(path, names.into());
        }
    }
    Ok(Value::Object(out).into())
}

pub(crate) fn users(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    let id = call.text("userid");
    let is_self = id == call.auth.user();
    let needs_modify = || call.need("/access/groups", "User.Modify");
    if path.contains("/token") && !is_self {
        needs_modify()?;
    }
    match (method, path) {
        (Method::Get, "/access/users") => Ok(list(call).into()),
        (Method::Post, "/access/users") => create(call),
        (Method::Get, "/access/users/{userid}") => {
            if !call.may("/access/groups", "Sys.Audit") {
                call.need("/access/groups", "User.Modify")
                    .map_err(|_| ApiError::forbidden("/access/groups, User.Modify|Sys.Audit"))?;
            }
            let state = call.node.state();
            let mut out = state.keep.access.show_user(id)?;
            out.insert("groups".to_owned(), json!([]));
            let tokens = state.keep.access.users.get(id).map(|user| &user.tokens).into_iter().flatten();
            let tokens: Map<String, Value> =
                tokens.map(|(name, token)| (name.clone(), show(token).into())).collect();
            if !tokens.is_empty() {
                out.insert("tokens".to_owned(), tokens.into());
            }
            Ok(Value::Object(out).into())
        }
        (Method::Put, "/access/users/{userid}") => {
            needs_modify()?;
            call.node.change(|keep| {
                let user = keep.access.users.get_mut(id);
                let user =
                    user.ok_or_else(|| ApiError::die(format!("update user failed: no such user ('{id}')")))?;
                fill(call, user);
                Ok(Answer::null())
            })
        }
        (Method::Delete, "/access/users/{userid}") => {
            needs_realm(call, id)?;
            needs_modify()?;
            call.node.change(|keep| {
                if id == "root@pam" || keep.access.users.remove(id).is_none() {
                    return Err(ApiError::die(format!("delete user failed: user '{id}' does not exist")));
                }
                keep.access.drop_rules_of(id);
                Ok(Answer::null())
            })
        }
        _ => tokens(call, method, path),
    }
}

fn needs_realm(call: &Call<'_>, id: &str) -> Result<(), ApiError> {
    let realm = id.rsplit_once('@').map_or("", |(_, realm)| realm);
    call.need(&format!("/access/realm/{realm}"), "Realm.AllocateUser")
}

fn list(call: &Call<'_>) -> Value {
    let all = call.may("/access/groups", "User.Modify") || call.may("/access/groups", "Sys.Audit");
    let state = call.node.state();
    let access = &state.keep.access;
    let seen = access.users.keys().filter(|id| all || call.auth.token().is_none() && *id == call.auth.user());
    let seen = seen.filter(|id| {
        call.get("enabled")
            .is_none_or(|wanted| access.users.get(*id).is_some_and(|user| user.enable == (wanted == "1")))
    });
    seen.filter_map(|id| {
        let mut out = access.show_user(id).ok()?;
        out.insert("userid".to_owned(), id.as_str().into());
        out.insert("realm-type".to_owned(), id.rsplit_once('@').map_or("", |(_, realm)| realm).into());
        Some(Value::Object(out))
    })
    .collect()
}

fn fill(call: &Call<'_>, user: &mut User) {
    if let Some(enable) = call.get("enable") {
        user.enable = enable == "1";
    }
    if let Some(expire) = call.number("expire") {
        user.expire = expire;
    }
    for key in ["comment", "email", "firstname", "lastname"] {
        if let Some(text) = call.get(key) {
            user.texts.insert(key.to_owned(), text.to_owned());
        }
    }
}

fn create(call: &Call<'_>) -> Outcome {
    let id = call.text("userid");
    needs_realm(call, id)?;
    call.need("/access/groups", "User.Modify")?;
    call.node.change(|keep| {
        if keep.access.users.contains_key(id) {
            return Err(ApiError::die(format!("create user failed: user '{id}' already exists")));
        }
        let mut user = User { enable: true, ..User::default() };
        user.password = call.get("password").map(|password| Access::hash(id, password));
        fill(call, &mut user);
        keep.access.users.insert(id.to_owned(), user);
        Ok(Answer::null())
    })
}

fn show(token: &Token) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("expire".to_owned(), token.expire.into());
    out.insert("privsep".to_owned(), u8::from(token.privsep).into());
    if let Some(comment) = &token.comment {
        out.insert("comment".to_owned(), comment.as_str().into());
    }
    out
}

fn tokens(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    let (id, name) = (call.text("userid"), call.text("tokenid"));
    let secret = if method == Method::Post { call.node.uuid() } else { String::new() };
    call.node.visit(method != Method::Get, |keep| {
        let user =
            keep.access.users.get_mut(id).ok_or_else(|| ApiError::die(format!("no such user ('{id}')")))?;
        let missing = || ApiError::die(format!("no such token '{name}' for user '{id}'"));
        match (method, path.ends_with("/token")) {
            (Method::Get, true) => {
                let all = user.tokens.iter().map(|(name, token)| {
                    let mut out = show(token);
                    out.insert("tokenid".to_owned(), name.as_str().into());
                    Value::Object(out)
                });
                Ok(Value::Array(all.collect()).into())
            }
            (Method::Get, false) => {
                Ok(Value::Object(show(user.tokens.get(name).ok_or_else(missing)?)).into())
            }
            (Method::Post, _) => {
                if user.tokens.contains_key(name) {
                    return Err(ApiError::parameter("tokenid", "Token already exists."));
                }
                let token = Token {
                    privsep: call.get("privsep") != Some("0"),
                    expire: call.number("expire").unwrap_or(user.expire),
                    comment: call.get("comment").map(str::to_owned),
                    secret: secret.clone(),
                };
                // What was sent comes back as text, what was not is left out.
                let mut info = Map::new();
                info.insert("privsep".to_owned(), u8::from(token.privsep).to_string().into());
                for key in ["expire", "comment"] {
                    if let Some(text) = call.get(key) {
                        info.insert(key.to_owned(), text.into());
                    }
                }
                user.tokens.insert(name.to_owned(), token);
                Ok(json!({"full-tokenid": format!("{id}!{name}"), "value": secret, "info": info}).into())
            }
            (Method::Put, _) => {
                let token = user.tokens.get_mut(name).ok_or_else(missing)?;
                if let Some(privsep) = call.get("privsep") {
                    token.privsep = privsep == "1";
                }
                token.expire = call.number("expire").unwrap_or(token.expire);
                if let Some(comment) = call.get("comment") {
                    token.comment = Some(comment.to_owned());
                }
                Ok(Value::Object(show(token)).into())
            }
            (Method::Delete, _) => {
                user.tokens.remove(name).ok_or_else(missing)?;
                keep.access.drop_rules_of(&format!("{id}!{name}"));
                Ok(Answer::null())
            }
        }
    })
}

pub(crate) fn roles(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    let id = call.text("roleid");
    let names = |privileges: Privileges| privileges.names().collect::<Vec<_>>().join(",");
    let privileges = formats::list(call.get("privs").unwrap_or_default()).collect::<Vec<_>>().join(",");
    call.node.visit(method != Method::Get, |keep| {
        let access = &mut keep.access;
        let built_in = Access::is_built_in(id);
        match (method, path) {
            (Method::Get, "/access/roles") => {
                let all = access.role_names().map(|name| {
                    let mut out =
                        json!({"roleid": name, "privs": names(access.role(name).unwrap_or_default())});
                    if Access::is_built_in(name) {
                        out["special"] = 1.into();
                    }
                    out
                });
                Ok(Value::Array(all.collect()).into())
            }
            (Method::Get, _) => {
                let role =
                    access.role(id).ok_or_else(|| ApiError::die(format!("role '{id}' does not exist")))?;
                let all: Map<String, Value> = role.names().map(|name| (name.to_owned(), 1.into())).collect();
                Ok(Value::Object(all).into())
            }
            (Method::Post, _) => {
                if built_in || access.roles.contains_key(id) {
                    return Err(ApiError::die(format!("create role failed: role '{id}' already exists")));
                }
                access.roles.insert(id.to_owned(), privileges);
                Ok(Answer::null())
            }
            (Method::Put, _) if built_in => Err(ApiError::die(format!(
                "update role failed: auto-generated role '{id}' cannot be modified"
            ))),
            (Method::Put, _) => {
                let role = access.roles.get_mut(id);
                let role = role.ok_or_else(|| {
                    ApiError::die(format!("update role failed: role '{id}' does not exist"))
                })?;
                *role = if call.flag("append") { format!("{role},{privileges}") } else { privileges };
                Ok(Answer::null())
            }
            (Method::Delete, _) if built_in => Err(ApiError::die(format!(
                "delete role failed: auto-generated role '{id}' cannot be deleted"
            ))),
            (Method::Delete, _) => {
                if access.roles.remove(id).is_none() {
                    return Err(ApiError::die(format!("delete role failed: role '{id}' does not exist")));
                }
                access.rules.values_mut().for_each(|rules| rules.retain(|rule| rule.role != id));
                access.rules.retain(|_, rules| !rules.is_empty());
                Ok(Answer::null())
            }
        }
    })
}

pub(crate) fn rules(call: &Call<'_>) -> Outcome {
    let state = call.node.state();
    let mut out = Vec::new();
    for (path, rules) in &state.keep.access.rules {
        if !call.node.may_in(&state.keep, call.auth, path, "Permissions.Modify") {
            continue;
        }
        for rule in rules {
            let kind = if rule.who.contains('!') { "token" } else { "user" };
            out.push(json!({
                "path": path, "ugid": rule.who, "type": kind, "roleid": rule.role,
                "propagate": u8::from(rule.propagate),
            }));
        }
    }
    Ok(Value::Array(out).into())
}

pub(crate) fn change_rules(call: &Call<'_>) -> Outcome {
    let path = match call.text("path").trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    if !path.starts_with('/') {
        return Err(ApiError::parameter("path", format!("invalid ACL path '{path}'")));
    }
    call.need(path, "Permissions.Modify")?;
    let who: Vec<&str> =
        ["users", "tokens"].iter().flat_map(|key| formats::list(call.get(key).unwrap_or_default())).collect();
    if call.get("groups").is_some() {
        return Err(ApiError::parameter("groups", "this node does not offer groups"));
    }
    if who.is_empty() {
        return Err(ApiError::parameter("roles", "either 'users', 'groups', 'tokens' is required."));
    }
    let propagate = call.get("propagate") != Some("0");
    call.node.change(|keep| {
        let access = &mut keep.access;
        for role in formats::list(call.text("roles")) {
            if access.role(role).is_none() {
                return Err(ApiError::die(format!("role '{role}' does not exist")));
            }
            for who in &who {
                let auth = Auth::of(who);
                let user = access
                    .users
                    .get(auth.user())
                    .ok_or_else(|| ApiError::die(format!("user '{}' does not exist", auth.user())))?;
                if let Some(token) = auth.token().filter(|token| !user.tokens.contains_key(*token)) {
                    return Err(ApiError::die(format!("no such token '{token}' for user '{}'", auth.user())));
                }
                let rules = access.rules.entry(path.to_owned()).or_default();
                rules.retain(|rule| rule.who != **who || rule.role != role);
                if !call.flag("delete") {
                    rules.push(Rule { who: (*who).to_owned(), role: role.to_owned(), propagate });
                }
            }
        }
        access.rules.retain(|_, rules| !rules.is_empty());
        Ok(Answer::null())
    })
}
