//! The commands that make a token of exactly what is required, to be typed by root on the node.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Requirement};
use crate::features::quote::shell_quote;

/// The token that the commands make, as Phoenix is given it before the `=`.
pub fn token(site: &str) -> String {
    format!("{}!cli", user(site))
}

fn user(site: &str) -> String {
    format!("phoenix-{site}@pve")
}

/// The commands, in the order in which they are typed. Names of sites, pools, storages and bridges need no quoting.
pub fn commands(site: &str, required: &BTreeSet<Requirement>) -> Vec<String> {
    let mut by_place: BTreeMap<&Place, BTreeSet<&str>> = BTreeMap::new();
    for it in required {
        by_place.entry(&it.place).or_default().insert(it.privilege);
    }
    // One role for each set of privileges, whatever the number of places that have it.
    let mut roles: BTreeMap<BTreeSet<&str>, String> = BTreeMap::new();
    for (place, privileges) in &by_place {
        let wanted = format!("phoenix-{site}-{}", word(place));
        let taken = roles.values().filter(|name| name.starts_with(&wanted)).count();
        let name = if taken == 0 { wanted } else { format!("{wanted}-{}", taken + 1) };
        roles.entry(privileges.clone()).or_insert(name);
    }
    let pools = by_place.keys().filter_map(|place| match place {
        Place::Pool(name) => Some(format!("pveum pool add {}", shell_quote(name))),
        _ => None,
    });
    let mut all: Vec<String> = pools.collect();
    let mut named: Vec<(&String, &BTreeSet<&str>)> = roles.iter().map(|(set, name)| (name, set)).collect();
    named.sort();
    for (name, privileges) in named {
        let list = privileges.iter().copied().collect::<Vec<_>>().join(",");
        all.push(format!("pveum role add {name} --privs {list}"));
    }
    let user = user(site);
    all.push(format!("pveum user add {user}"));
    for (place, privileges) in &by_place {
        let only = if place.propagates() { "" } else { " --propagate 0" };
        all.push(format!(
            "pveum acl modify {} --users {user} --roles {}{only}",
            shell_quote(&place.path()),
            roles.get(privileges).map_or("", String::as_str)
        ));
    }
    // Its own rules bound it: what the user is given later is not the token's.
    all.push(format!("pveum user token add {user} cli --privsep 1"));
    for (place, privileges) in &by_place {
        let only = if place.propagates() { "" } else { " --propagate 0" };
        all.push(format!(
            "pveum acl modify {} --tokens {} --roles {}{only}",
            shell_quote(&place.path()),
            shell_quote(&token(site)),
            roles.get(privileges).map_or("", String::as_str)
        ));
    }
    all
}

/// Whether the token is made as well, whatever it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// It is made, in the place of one of that name: what it was is known to nobody who asks.
    Anew,
    /// It is there, and known.
    Kept,
}

/// The same commands as one script for a POSIX shell, to be run as root on the node: it finds what is there already, and can be run
/// again. It prints what Proxmox VE says of a token that is made, as JSON, and nothing else.
pub fn script(site: &str, required: &BTreeSet<Requirement>, token: Token) -> String {
    let mut script = SCRIPT.to_owned();
    for command in commands(site, required) {
        let line = if let Some(role) = command.strip_prefix("pveum role add ") {
            format!("role {}", role.replace(" --privs ", " "))
        } else if let Some(new) = command.strip_prefix("pveum user token add ") {
            if token == Token::Kept {
                continue;
            }
            format!("token {}", new.replace(" --privsep 1", ""))
        } else if command.starts_with("pveum acl ") {
            format!("must {command}")
        } else {
            format!("made {command}")
        };
        script.push_str(&line);
        script.push('\n');
    }
    script
}

/// What the script is made of.
const SCRIPT: &str = include_str!("commands.sh");

/// What of it is wider than it would have to be, and how it becomes narrow.
pub fn notes(required: &BTreeSet<Requirement>) -> Vec<String> {
    let has = |place: &Place| required.iter().any(|it| it.place == *place);
    let mut notes = Vec::new();
    if has(&Place::Guests) {
        notes.push(
            "/vms is every guest of the node: with \"pool\": \"NAME\" for the site's containers, in their type, it is that \
             pool alone. Guests that are there already join it by: pveum pool modify NAME --vms ID,ID --allow-move 1"
                .to_owned(),
        );
    }
    if has(&Place::Storages) {
        notes.push(
            "/storage is every storage: with \"storage\" in each container's \"disk\" it is that one alone"
                .to_owned(),
        );
    }
    if has(&Place::Templates) {
        notes.push(
            "templates are expected on `local`; where they are elsewhere, give the role on that one"
                .to_owned(),
        );
    }
    let cluster = required.iter().any(|it| it.place == Place::Root && it.privilege == "Sys.Audit");
    if !cluster {
        notes.push(
            "in a cluster the token needs Sys.Audit on /, too: name each container's \"node\", and it is printed"
                .to_owned(),
        );
    }
    notes
}

fn word(place: &Place) -> &'static str {
    match place {
        Place::Root => "cluster",
        Place::Nodes => "nodes",
        Place::Guests | Place::Pool(_) => "guests",
        Place::Storage(_) | Place::Storages | Place::Templates => "storage",
        Place::Bridge(..) => "bridges",
        Place::Mappings | Place::Mapping(..) => "mappings",
        Place::Guest(_) => "template",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_every_command_once_and_can_be_run_again() {
        let needs = |place, privilege| Requirement { place, privilege };
        let required = BTreeSet::from([
            needs(Place::Nodes, "Sys.Audit"),
            needs(Place::Pool("workshop".into()), "VM.Allocate"),
            needs(Place::Storage("tank".into()), "Datastore.AllocateSpace"),
        ]);
        // Stands in for Proxmox VE's own: what was made once is there already, and the last token counts.
        let pveum = r#"pveum() {
  echo "$*" >>"$LOG"
  case "$1 $2" in
    'role add' | 'user add' | 'pool add')
      grep -qx "$1 $3" "$STATE" && { echo "create $1 failed: $1 '$3' already exists" >&2; return 255; }
      echo "$1 $3" >>"$STATE" ;;
    'user token')
      if [ "$3" = remove ]; then sed -i '/^token$/d' "$STATE"; return 0; fi
      grep -qx token "$STATE" && { echo 'Token already exists.' >&2; return 255; }
      echo token >>"$STATE"
      echo '{"value":"secret"}' ;;
  esac
}
"#;
        let folder = tempfile::tempdir().unwrap();
        let run = |token| {
            let text = format!("{pveum}{}", script("workshop", &required, token));
            let mut command = std::process::Command::new("sh");
            command
                .arg("-c")
                .arg(text)
                .env("LOG", folder.path().join("log"))
                .env("STATE", folder.path().join("state"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        fs_err::write(folder.path().join("state"), "").unwrap();
        assert_eq!(run(Token::Anew), "{\"value\":\"secret\"}\n");
        let first = fs_err::read_to_string(folder.path().join("log")).unwrap();
        for command in commands("workshop", &required) {
            let words = command.trim_start_matches("pveum ").replace('\'', "");
            assert!(first.lines().any(|line| line.starts_with(&words)), "{words} is not in {first}");
        }
        // Once more, after a cut: another secret, and nothing fails.
        assert_eq!(run(Token::Anew), "{\"value\":\"secret\"}\n");
        assert_eq!(run(Token::Kept), "");
        let all = fs_err::read_to_string(folder.path().join("log")).unwrap();
        assert!(all.contains("role modify phoenix-workshop-guests --privs VM.Allocate"), "{all}");
    }

    #[test]
    fn what_fails_says_so() {
        let text = format!(
            "pveum() {{ echo 'no such realm' >&2; return 2; }}\n{}",
            script("a", &BTreeSet::new(), Token::Anew)
        );
        let output = std::process::Command::new("sh").arg("-c").arg(text).output().unwrap();
        assert!(!output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("pveum user add phoenix-a@pve: no such realm")
        );
    }
}
