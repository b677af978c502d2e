//! What a simulated guest answers about certificates: to the scripts that put and remove them, and as the programs of the
//! features `step-ca` and `certificates` would. Nothing is signed and nothing renews; only the authority's request is a
//! real one, because Phoenix signs it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use proxmox::inventory::MARK;

use super::guest::{Inside, Ran};

/// The program of the feature `step-ca`.
pub(super) const AUTHORITY: &str = "/usr/local/lib/phoenix/authority";
/// The program of the feature `certificates`.
pub(super) const CERTIFICATES: &str = "/usr/local/lib/phoenix/certificates";

const STORE: &str = "/etc/phoenix/certificates";

/// Begin and end of what a guest fetches from an authority that is not simulated: 2020 and 2100, Unix seconds.
const LIFE: [i64; 2] = [1_577_836_800, 4_102_444_800];
/// How far before its issue a certificate of step-ca begins (its `backdate`), in seconds.
const BACKDATE: i64 = 60;

/// Begin and end of what `guest` fetches at `now`, from the authority that it was introduced to.
pub(super) fn period<'a>(
    mut all: impl Iterator<Item = &'a Inside>,
    guest: &str,
    now: u64,
) -> Option<[i64; 2]> {
    let told = all.find_map(|inside| inside.files.get(&provisioner(guest)))?;
    let life = serde_json::from_slice::<Value>(told).ok()?["life"].as_i64()?;
    let now = i64::try_from(now).ok()?;
    Some([now - BACKDATE, now + life])
}

fn succeed_with(text: impl Into<Vec<u8>>) -> Ran {
    (0, text.into(), Vec::new()).into()
}

fn refused(text: &str) -> Ran {
    (1, Vec::new(), format!("{text}\n").into_bytes()).into()
}

/// A script that puts certificates in place, or removes them. `None`: it does neither.
pub(super) fn script(inside: &mut Inside, text: &str) -> Option<Ran> {
    if text.ends_with("echo phoenix: forgot certificates\n") {
        return Some(succeed_with("phoenix: forgot certificates\n"));
    }
    if text.contains("echo phoenix: removed certificates\n") {
        let mut actions = 0;
        let gone = format!("rm -rf {STORE}/");
        for name in text.lines().filter_map(|l| l.strip_prefix(&gone)?.split(' ').next()) {
            let prefix = format!("{STORE}/{name}/");
            inside.files.retain(|path, _| !path.starts_with(&prefix));
            actions += 1;
        }
        // What is taken off the node: all of it.
        if text.contains(&format!("rm -rf {STORE} ")) || text.contains(&format!(" {STORE} ")) {
            inside.files.retain(|path, _| !path.starts_with(STORE));
            actions += 1;
        }
        let printed = (0, b"phoenix: removed certificates\n".to_vec(), Vec::new());
        return Some(Ran { printed, actions });
    }
    if !text.contains("echo phoenix: putting certificates\n") {
        return shown(inside, text);
    }
    let (mut name, mut actions) = (String::new(), 0);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(new) = line.strip_prefix("new=$(unfinished ").and_then(|rest| rest.split(')').next()) {
            new.clone_into(&mut name);
        }
        let keep = line.strip_prefix("keep ").and_then(|rest| rest.strip_suffix(" <<'PHOENIX-PEM'"));
        if let Some(file) = keep {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "PHOENIX-PEM").collect();
            inside
                .files
                .insert(format!("{STORE}/{name}/{file}"), format!("{}\n", content.join("\n")).into_bytes());
            actions += 1;
        }
    }
    let printed = (0, b"phoenix: putting certificates\n".to_vec(), Vec::new());
    Some(Ran { printed, actions })
}

/// A script that looks at certificates: what is on disk is served. `None`: it does something else.
fn shown(inside: &Inside, text: &str) -> Option<Ran> {
    let mut out = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("show ")) {
        let (name, served) = line.split_once(' ')?;
        let there = inside.files.contains_key(&format!("{STORE}/{name}/fullchain.pem"));
        let serial = there.then_some("1");
        let served: Vec<Value> = served
            .trim_matches('\'')
            .split_whitespace()
            .map(|at| json!({ "at": at, "serial": serial, "same": there.then_some(true) }))
            .collect();
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}", json!({ "name": name, "serial": serial, "served": served }));
    }
    (!out.is_empty()).then(|| succeed_with(out))
}

/// Whether a script writes down what was done on the node.
pub(super) fn remembers(script: &str) -> bool {
    script.contains(&format!("cat >{MARK}.new"))
}

/// Writes it down.
pub(super) fn remember(inside: &mut Inside, stdin: &[u8]) -> Ran {
    inside.files.insert(MARK.to_owned(), stdin.to_vec());
    Ran { printed: (0, Vec::new(), Vec::new()), actions: 1 }
}

/// Whether a script forgets what was done on the node.
pub(super) fn forgets(script: &str) -> bool {
    script.starts_with(&format!("rm -f {MARK} "))
}

/// Forgets it.
pub(super) fn forget(inside: &mut Inside) -> Ran {
    inside.files.remove(MARK);
    Ran { printed: (0, Vec::new(), Vec::new()), actions: 1 }
}

/// The authority of a guest that has the feature `step-ca`.
pub(super) fn authority(inside: &mut Inside, words: &[&str], stdin: &[u8]) -> Ran {
    if !inside.has("step-ca") {
        return (127, Vec::new(), format!("{AUTHORITY}: not found\n").into_bytes()).into();
    }
    let certificate = "/etc/step-ca/intermediate.crt";
    match words {
        ["request"] | ["request", "another"] => match request() {
            Ok(request) => succeed_with(request),
            Err(error) => refused(&error),
        },
        ["certificate"] => succeed_with(inside.files.get(certificate).cloned().unwrap_or_default()),
        ["install"] if stdin.starts_with(b"-----BEGIN CERTIFICATE-----") => {
            inside.files.insert(certificate.to_owned(), stdin.to_vec());
            succeed_with("")
        }
        ["install"] => refused("what was given is no certificate"),
        _ if !inside.files.contains_key(certificate) => refused("the authority has no certificate yet"),
        ["probe"] => succeed_with("signed and verified; the intermediate is good until 2100\n"),
        ["register" | "admit", guest] => match serde_json::from_slice::<Value>(stdin) {
            // Without names, the node is to have none any more.
            Ok(told) if words[0] == "admit" && told["names"] == json!([]) => {
                inside.files.remove(&provisioner(guest));
                succeed_with("")
            }
            Ok(told) if told["names"].as_array().is_some_and(|names| !names.is_empty()) => {
                inside.files.insert(provisioner(guest), stdin.to_vec());
                succeed_with("")
            }
            _ => refused("what was given cannot be read"),
        },
        ["forget", guest] => {
            inside.files.remove(&provisioner(guest));
            succeed_with("")
        }
        _ => refused("a simulated authority does not do that"),
    }
}

fn provisioner(guest: &str) -> String {
    format!("/etc/step-ca/provisioners.d/guest-{guest}.json")
}

fn request() -> Result<String, String> {
    let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    let params = rcgen::CertificateParams::default();
    params.serialize_request(&key).and_then(|request| request.pem()).map_err(|error| error.to_string())
}

/// What renews in a guest that has the feature `certificates`.
pub(super) fn certificates(inside: &mut Inside, words: &[&str]) -> Ran {
    if !inside.has("certificates") {
        return (127, Vec::new(), format!("{CERTIFICATES}: not found\n").into_bytes()).into();
    }
    match words {
        ["identity"] | ["identity", "another"] => {
            let key = json!({ "kty": "EC", "crv": "P-256", "kid": "simulated", "x": "x", "y": "y" });
            succeed_with(format!("{key}\n"))
        }
        ["renew", names @ ..] => {
            let mut out = String::new();
            for name in names.iter().filter(|name| **name != "--force") {
                let chain = format!("{STORE}/{name}/fullchain.pem");
                inside.files.entry(chain).or_insert_with(|| b"simulated\n".to_vec());
                // Writing to a String does not fail.
                let _ = writeln!(out, "{}", fetched(inside, name));
            }
            let actions = names.len() as u64;
            Ran { printed: (0, out.into_bytes(), Vec::new()), actions }
        }
        ["list"] => {
            let name = |path: &String| {
                let inner = path.strip_prefix(STORE)?.strip_prefix('/')?.strip_suffix("/fullchain.pem")?;
                Some(fetched(inside, inner).to_string() + "\n")
            };
            succeed_with(inside.files.keys().filter_map(name).collect::<String>())
        }
        _ => refused("a simulated guest does not do that"),
    }
}

/// What a guest tells of a certificate that it fetched.
fn fetched(inside: &Inside, name: &str) -> Value {
    let [begin, end] = inside.period.unwrap_or(LIFE);
    json!({
        "name": name, "by": "a simulated authority", "serial": "1", "not_before": begin, "not_after": end,
        "renew_at": end, "served": [], "failures": 0, "error": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there_and_what_is_removed_is_not() {
        let mut inside = Inside::default();
        let put = "echo phoenix: putting certificates\nnew=$(unfinished notes) || exit 3\nkeep key.pem <<'PHOENIX-PEM'\nkey\n\
                   PHOENIX-PEM\nkeep fullchain.pem <<'PHOENIX-PEM'\nchain\nPHOENIX-PEM\ndone_with notes\n";
        assert_eq!(script(&mut inside, put).unwrap().actions, 2);
        assert_eq!(inside.files["/etc/phoenix/certificates/notes/fullchain.pem"], b"chain\n");
        let remove = "set -u\nrm -rf /etc/phoenix/certificates/notes /x || exit 1\necho phoenix: removed certificates\n";
        assert_eq!(script(&mut inside, remove).unwrap().actions, 1);
        assert!(inside.files.is_empty());
        assert!(script(&mut inside, "rm -rf /").is_none());
    }

    #[test]
    fn without_their_features_the_programs_are_not_there() {
        let mut inside = Inside::default();
        assert_eq!(authority(&mut inside, &["request"], b"").printed.0, 127);
        assert_eq!(certificates(&mut inside, &["identity"]).printed.0, 127);
    }

    #[test]
    fn an_authority_registers_and_admits() {
        let script = "# phoenix-script: {\"features\":[{\"name\":\"step-ca\",\"fingerprint\":\"a\"}]}\n";
        let mut inside = Inside::default();
        inside.run(101, &["sh".to_owned(), "-s".to_owned()], script.as_bytes());
        authority(&mut inside, &["install"], b"-----BEGIN CERTIFICATE-----");
        let told = json!({ "names": ["pve1.home.arpa"], "life": 86_400 }).to_string();
        for word in ["register", "admit"] {
            assert_eq!(authority(&mut inside, &[word, "pve1"], told.as_bytes()).printed.0, 0);
            assert!(inside.files.contains_key(&provisioner("pve1")));
            assert_eq!(authority(&mut inside, &[word, "pve1"], b"{}").printed.0, 1);
            assert_eq!(authority(&mut inside, &["forget", "pve1"], b"").printed.0, 0);
            assert!(!inside.files.contains_key(&provisioner("pve1")));
        }
    }
}
