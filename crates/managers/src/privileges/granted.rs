//! What a token has, against what it needs.

use std::collections::{BTreeMap, BTreeSet};

use apply::Failure;
use proxmox::client::{Permissions, Reader};

use super::{Place, Requirement};
use crate::settle;

/// What a token may do, as the node says.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    /// Every path that the access control list names, and the usual ones.
    pub all: Permissions,
    /// What it may do at the places that were asked for, however it came by that.
    pub at: BTreeMap<String, BTreeSet<String>>,
}

impl Granted {
    /// Asks the node what the token may do, at each of the places once.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn ask(reader: &Reader, required: &BTreeSet<Requirement>) -> Result<Self, Failure> {
        let what = "asking what the token may do";
        let all = settle::read(what, || reader.permissions(None)).await?;
        let mut at = BTreeMap::new();
        for path in required.iter().map(|it| it.place.path()).collect::<BTreeSet<_>>() {
            let mut found = settle::read(what, || reader.permissions(Some(&path))).await?;
            let names = found.remove(&path).unwrap_or_default().into_keys().collect();
            at.insert(path, names);
        }
        Ok(Self { all, at })
    }

    fn has(&self, it: &Requirement) -> bool {
        let below = |above: &str, privilege: &str| {
            self.all.iter().any(|(path, all)| path.starts_with(above) && all.contains_key(privilege))
        };
        if self.at.get(&it.place.path()).is_some_and(|all| all.contains(it.privilege)) {
            return true;
        }
        match &it.place {
            // Whoever may do it with all guests may do it with those of the pool.
            Place::Pool(_) if it.privilege.starts_with("VM.") => {
                self.all.get("/vms").is_some_and(|all| all.contains_key(it.privilege))
            }
            // Which one is used follows from what the token sees.
            Place::Storages => below("/storage/", it.privilege),
            Place::Templates => {
                let space =
                    it.privilege == "Datastore.Audit" && below("/storage/", "Datastore.AllocateSpace");
                space || below("/storage/", it.privilege)
            }
            Place::Storage(_) if it.privilege == "Datastore.Audit" => {
                self.at.get(&it.place.path()).is_some_and(|all| all.contains("Datastore.AllocateSpace"))
            }
            // A VNet is in a zone of its own.
            Place::Bridge(name, _) => self.all.iter().any(|(path, all)| {
                let rest = path.strip_prefix("/sdn/zones/").filter(|rest| !rest.starts_with("localnetwork"));
                rest.is_some_and(|rest| rest.split('/').nth(1).is_none_or(|vnet| vnet == name))
                    && all.contains_key(it.privilege)
            }),
            _ => false,
        }
    }

    /// What is required and not had.
    pub fn lacking<'r>(&self, required: &'r BTreeSet<Requirement>) -> Vec<&'r Requirement> {
        required.iter().filter(|it| !self.has(it)).collect()
    }

    /// What is had beyond what is required, by the path it is given on. What a path has from the one above it is told there
    /// alone.
    pub fn beyond(&self, required: &BTreeSet<Requirement>) -> BTreeMap<&str, Vec<&str>> {
        let needed = |path: &str, privilege: &str| {
            required.iter().any(|it| {
                it.privilege == privilege
                    && (it.place.path() == path
                        // A guest has what its pool gives, and what propagates is seen below.
                        || path.starts_with("/vms/") && matches!(it.place, Place::Pool(_) | Place::Guests)
                        || it.place.propagates() && path.starts_with(&format!("{}/", it.place.path())))
            })
        };
        let above = |path: &str, privilege: &str| {
            let mut path = path;
            while let Some((parent, _)) = path.rsplit_once('/') {
                let parent = if parent.is_empty() { "/" } else { parent };
                let from = self.all.get(parent).and_then(|all| all.get(privilege));
                if from.is_some_and(|it| it.propagates) && parent != path {
                    return true;
                }
                if parent == "/" {
                    break;
                }
                path = parent;
            }
            false
        };
        let mut out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (path, all) in &self.all {
            for privilege in all.keys().map(String::as_str) {
                if !needed(path, privilege) && !above(path, privilege) {
                    out.entry(path).or_default().push(privilege);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needs() -> BTreeSet<Requirement> {
        let it = |place, privilege| Requirement { place, privilege };
        BTreeSet::from([
            it(Place::Pool("workshop".into()), "VM.Allocate"),
            it(Place::Pool("workshop".into()), "Pool.Audit"),
            it(Place::Storage("tank".into()), "Datastore.AllocateSpace"),
            it(Place::Bridge("vmbr0".into(), None), "SDN.Use"),
        ])
    }

    fn granted(all: serde_json::Value, at: &[(&str, &str)]) -> Granted {
        let mut by_path: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, privilege) in at {
            by_path.entry((*path).to_owned()).or_default().insert((*privilege).to_owned());
        }
        Granted { all: serde_json::from_value(all).expect("permissions"), at: by_path }
    }

    #[test]
    fn a_token_of_exactly_what_is_needed_lacks_nothing_and_has_nothing_beyond() {
        let exact = granted(
            json!({
                "/pool/workshop": { "VM.Allocate": 1, "Pool.Audit": 1 }, "/vms/120": { "VM.Allocate": 1, "Pool.Audit": 1 },
                "/storage/tank": { "Datastore.AllocateSpace": 0 }, "/sdn/zones/localnetwork/vmbr0": { "SDN.Use": 0 },
            }),
            &[
                ("/pool/workshop", "VM.Allocate"),
                ("/pool/workshop", "Pool.Audit"),
                ("/storage/tank", "Datastore.AllocateSpace"),
                ("/sdn/zones/localnetwork/vmbr0", "SDN.Use"),
            ],
        );
        let needs = needs();
        assert_eq!(exact.lacking(&needs), Vec::<&Requirement>::new());
        assert_eq!(exact.beyond(&needs), BTreeMap::new());
    }

    #[test]
    fn what_lacks_is_named_and_what_is_beyond_it_is_named_where_it_is_given() {
        let needs = needs();
        let none = granted(json!({}), &[]);
        assert_eq!(none.lacking(&needs).len(), needs.len());
        // A role on / is seen on every path below it, and told once.
        let wide = json!({ "VM.Allocate": 1, "Pool.Audit": 1, "Datastore.AllocateSpace": 1, "SDN.Use": 1, "Sys.Modify": 1 });
        let wide = granted(
            json!({ "/": wide, "/vms": wide, "/pool/workshop": wide, "/storage": wide, "/storage/tank": wide }),
            &[
                ("/pool/workshop", "VM.Allocate"),
                ("/pool/workshop", "Pool.Audit"),
                ("/storage/tank", "Datastore.AllocateSpace"),
                ("/sdn/zones/localnetwork/vmbr0", "SDN.Use"),
            ],
        );
        assert_eq!(wide.lacking(&needs), Vec::<&Requirement>::new());
        let beyond = wide.beyond(&needs);
        assert_eq!(beyond.keys().copied().collect::<Vec<_>>(), ["/"]);
        assert_eq!(beyond["/"].len(), 5);
    }

    #[test]
    fn a_vnet_may_be_in_any_zone() {
        let needs = needs();
        let bridge = |path: &str| {
            let has = granted(json!({ path: { "SDN.Use": 1 } }), &[]);
            !has.lacking(&needs).iter().any(|it| it.privilege == "SDN.Use")
        };
        assert!(bridge("/sdn/zones/lab/vmbr0") && bridge("/sdn/zones/lab"));
        assert!(!bridge("/sdn/zones/lab/other") && !bridge("/sdn/zones/localnetwork/vmbr1"));
    }
}
