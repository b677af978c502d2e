//! A host key that nobody knows yet: what the host shows, and how a person makes sure that it is the host's.

use std::process::Stdio;
use std::time::Duration;

use blueprint::model::{ProxmoxTarget, SshTarget, Trust};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// ssh-keyscan gives up after five seconds for each host; this is for one that does not.
const LIMIT: Duration = Duration::from_secs(15);

/// A key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// As in a `known_hosts` file, without the name: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// The key that the host shows now, ed25519 where it has one. Whoever is between here and there may have shown it.
pub async fn shown(ssh: &SshTarget) -> Option<HostKey> {
    let (_, host) = ssh.destination.rsplit_once('@').unwrap_or(("", &ssh.destination));
    let port = ssh.port.to_string();
    let scanned =
        output("ssh-keyscan", &["-T", "5", "-p", &port, "-t", "ed25519,ecdsa,rsa", "--", host], "").await?;
    let key = keys(&scanned).into_iter().next()?;
    let said = output("ssh-keygen", &["-lf", "-"], &format!("{key}\n")).await?;
    Some(HostKey { fingerprint: fingerprint(&said)?, key })
}

async fn output(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let work = async {
        stdin.write_all(input.as_bytes()).await.ok()?;
        drop(stdin);
        child.wait_with_output().await.ok()
    };
    let output = tokio::time::timeout(LIMIT, work).await.ok()??;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The keys in what ssh-keyscan prints (`HOST TYPE KEY` a line, comments with `#`), the best kind first.
fn keys(scanned: &str) -> Vec<String> {
    let mut keys: Vec<(bool, String)> = scanned
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (kind, key) = (words.next()?, words.next()?);
            key.starts_with("AAAA").then(|| (kind != "ssh-ed25519", format!("{kind} {key}")))
        })
        .collect();
    keys.sort();
    keys.into_iter().map(|(_, key)| key).collect()
}

/// The fingerprint in what `ssh-keygen -l` prints: `256 SHA256:… comment (ED25519)`.
fn fingerprint(said: &str) -> Option<String> {
    said.split_whitespace().find(|word| word.starts_with("SHA256:")).map(str::to_owned)
}

/// What a person does about it: how to make sure, and the line for the blueprint.
pub fn advice(target: &ProxmoxTarget, ssh: &SshTarget, shown: &HostKey) -> String {
    let (user, host) = ssh.destination.rsplit_once('@').unwrap_or(("root", &ssh.destination));
    let kind = shown.key.split('-').nth(1).and_then(|kind| kind.split(' ').next()).unwrap_or("ed25519");
    let kind = if kind == "sha2" { "ecdsa" } else { kind };
    let trusted = match target.trust {
        Trust::Fingerprint(_) => "its certificate is pinned, so what you see there is the node's",
        Trust::CaFile(_) | Trust::System => {
            "its certificate is verified, so what you see there is the node's"
        }
    };
    let port = if ssh.port == 22 { String::new() } else { format!(", \"port\": {}", ssh.port) };
    let identity =
        ssh.identity.as_ref().map(|path| format!(", \"identity\": \"{path}\"")).unwrap_or_default();
    format!(
        "it shows the key {}, read over the network just now, so not verified. Look at it on the node:\n    \
         ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub\n  on its console, or under Shell at {} ({trusted}; \
         the API itself tells no ssh keys). If it is the same:\n    \
         \"ssh\": {{ \"host\": \"{host}\", \"user\": \"{user}\"{port}{identity}, \"host-key\": \"{}\" }}",
        shown.fingerprint, target.endpoint, shown.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCANNED: &str = "# 10.0.0.13:22 SSH-2.0-OpenSSH_9.2p1 Debian-2\n\
        10.0.0.13 ssh-rsa AAAAB3NzaC1yc2E\n10.0.0.13 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\n";

    #[test]
    fn the_best_key_comes_first() {
        assert_eq!(keys(SCANNED)[0], "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5");
        assert_eq!(fingerprint("256 SHA256:abc/+d 10.0.0.13 (ED25519)\n").unwrap(), "SHA256:abc/+d");
        assert_eq!(fingerprint("is not a public key file"), None);
    }

    #[test]
    fn the_line_for_the_blueprint_is_whole() {
        let ssh = SshTarget {
            destination: "root@10.0.0.13".into(),
            port: 2222,
            identity: Some("keys/id".into()),
            host_key: None,
        };
        let target = ProxmoxTarget {
            endpoint: "https://10.0.0.13:8006".into(),
            node: None,
            credential: blueprint::model::Credential::Token(blueprint::model::SecretRef::Env("T".into())),
            trust: Trust::System,
            ssh: Some(ssh.clone()),
        };
        let shown = HostKey { key: keys(SCANNED)[0].clone(), fingerprint: "SHA256:abc".into() };
        let advice = advice(&target, &ssh, &shown);
        for part in [
            "SHA256:abc",
            "not verified",
            "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            "\"ssh\": { \"host\": \"10.0.0.13\", \"user\": \"root\", \"port\": 2222, \"identity\": \"keys/id\", \
             \"host-key\": \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\" }",
        ] {
            assert!(advice.contains(part), "no {part} in {advice}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_scanned_is_read(text in ".{0,200}") {
            for key in keys(&text) {
                prop_assert_eq!(key.split(' ').count(), 2);
            }
            let _ = fingerprint(&text);
        }
    }
}
