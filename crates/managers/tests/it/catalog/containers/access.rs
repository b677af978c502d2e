//! Ways in for people and for what watches: SSH, and the node exporter.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::{Guest, NAME};
use crate::catalog::{apply, with};

fn ssh(guest: &Guest, who: &str, port: u16) -> Result<String, String> {
    let output = guest.output(&format!(
        "ssh -i /root/key -p {port} -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=5 {who}@10.0.0.53 id -un 2>&1"
    ));
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

// P-77: who logs in is declared, with keys and without anything interactive.
#[test]
fn people_come_in_by_their_keys_alone() {
    let Some(guest) = Guest::new("people_come_in_by_their_keys_alone") else { return };
    guest.run(&apply(&with("ssh-access", json!({})))).ok();
    guest.sh("apt-get -q -y install openssh-client >/dev/null 2>&1; ssh-keygen -q -t ed25519 -N '' -f /root/key; ssh-keygen -q -t ed25519 -N '' -f /root/other");
    let key = guest.sh("cat /root/key.pub");
    let other = guest.sh("cat /root/other.pub");
    let access = |more: Value| -> Rendered {
        let mut all = json!({ "users": [{ "name": "ada", "keys": [other, key], "sudo": true }, { "name": "bob", "keys": [other] }] });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with("ssh-access", all)
    };
    // Nobody is let in where nobody is named.
    guest.sh("useradd -m carl; mkdir -m 700 /home/carl/.ssh; cp /root/key.pub /home/carl/.ssh/authorized_keys; chown -R carl: /home/carl");
    assert!(ssh(&guest, "carl", 22).unwrap_err().contains("Permission denied (publickey)"));
    let host = guest.sh("cat /etc/ssh/ssh_host_ed25519_key.pub");

    guest.run(&apply(&access(json!({})))).ok();
    guest.run(&apply(&access(json!({})))).nothing_to_do();
    assert_eq!(ssh(&guest, "ada", 22).unwrap(), "ada");
    assert!(ssh(&guest, "bob", 22).unwrap_err().contains("Permission denied (publickey)"), "another key");
    assert!(
        ssh(&guest, "carl", 22).unwrap_err().contains("Permission denied (publickey)"),
        "not in the list"
    );
    assert!(ssh(&guest, "root", 22).unwrap_err().contains("Permission denied (publickey)"));
    guest.sh("echo ada:secret | chpasswd");
    let words = guest.fails("ssh -v -o BatchMode=no -o PreferredAuthentications=password,keyboard-interactive -o NumberOfPasswordPrompts=1 ada@10.0.0.53 true </dev/null");
    assert!(
        words.contains("Authentications that can continue: publickey\r\n")
            || words.contains("Permission denied (publickey)"),
        "{words}"
    );
    assert_eq!(guest.sh("runuser -u ada -- sudo -n id -un"), "root\n");

    // A new port is a reload: who is in stays in, and the host keys are the same.
    let before = guest.invocation("ssh");
    guest.sh("systemd-run -q --unit=session ssh -i /root/key -o BatchMode=yes -o StrictHostKeyChecking=accept-new ada@10.0.0.53 sleep 300; sleep 1");
    let moved = access(json!({ "port": 2222 }));
    assert_eq!(
        guest.run(&apply(&moved)).ok().words(),
        ["file update /etc/ssh/sshd_config.d/00-phoenix.conf", "unit reload ssh"]
    );
    assert_eq!(ssh(&guest, "ada", 2222).unwrap(), "ada");
    assert!(ssh(&guest, "ada", 22).unwrap_err().contains("refused"));
    guest.sh("systemctl is-active session");
    assert_eq!(guest.invocation("ssh"), before);

    // What sshd refuses is not put in use, and one bad key holds back nobody else.
    let ran = guest.run(&apply(&access(json!({ "port": 2222, "listen": ["10.0.0.999"] }))));
    assert!(ran.failed().error("ssh-access").unwrap().contains("the old files are back"), "{ran:?}");
    let users =
        json!([{ "name": "ada", "keys": [key] }, { "name": "bob", "keys": ["ssh-ed25519 nonsense"] }]);
    let ran = guest.run(&apply(&with("ssh-access", json!({ "users": users, "port": 2222 }))));
    let error = ran.failed().error("ssh-access").unwrap();
    assert!(
        error.contains("/etc/ssh/authorized_keys.d/bob: ") && error.contains("no key: ssh-ed25519 nonsense"),
        "{error}"
    );
    assert_eq!(ssh(&guest, "ada", 2222).unwrap(), "ada");
    guest.fails("runuser -u ada -- sudo -n id -un");

    // Who is no longer in the list does not come in.
    let users = json!([{ "name": "bob", "keys": [key] }]);
    guest.run(&apply(&with("ssh-access", json!({ "users": users, "port": 2222 })))).ok();
    assert!(ssh(&guest, "ada", 2222).is_err());
    assert_eq!(ssh(&guest, "bob", 2222).unwrap(), "bob");
    assert_eq!(guest.sh("ls /etc/ssh/authorized_keys.d"), "bob\n");
    guest.reboot();
    guest.sh("systemctl is-active ssh");
    assert_eq!(guest.sh("cat /etc/ssh/ssh_host_ed25519_key.pub"), host);
}

fn exporter(more: Value) -> Rendered {
    let mut rendered = with("node-exporter", more.clone());
    if more.get("tls").is_some() {
        let key = Guest::identity().key;
        rendered.own_keys("root:prometheus", &[key]);
    }
    rendered
}

#[test]
fn the_node_exporter_tells_whom_it_may() {
    let Some(guest) = Guest::new("the_node_exporter_tells_whom_it_may") else { return };
    let open = exporter(json!({}));
    guest.run(&apply(&open)).ok();
    guest.run(&apply(&open)).nothing_to_do();
    assert!(guest.sh("curl -sS http://10.0.0.53:9100/metrics").contains("node_memory_MemTotal_bytes"));
    let before = guest.invocation("prometheus-node-exporter");

    // A password is hashed in the guest, and is no reason for a restart.
    let guarded = exporter(json!({ "users": { "prometheus": { "env": "pass word" } } }));
    assert_eq!(
        guest.run(&apply(&guarded)).ok().words(),
        ["file update /etc/phoenix/node-exporter.users", "command run write how it is asked"]
    );
    guest.run(&apply(&guarded)).nothing_to_do();
    assert_eq!(guest.invocation("prometheus-node-exporter"), before);
    let code = |more: &str| guest.sh(&format!("curl -sS -o /dev/null -w '%{{http_code}}' {more}/metrics"));
    assert_eq!(code("http://10.0.0.53:9100"), "401");
    assert_eq!(code("-u prometheus:wrong http://10.0.0.53:9100"), "401");
    assert_eq!(code("-u 'prometheus:pass word' http://10.0.0.53:9100"), "200");
    assert!(!guest.sh("cat /etc/prometheus/node-exporter.yml").contains("pass word"));
    assert_eq!(
        guest.sh("stat -c '%a %U:%G' /etc/prometheus/node-exporter.yml /etc/phoenix/node-exporter.users"),
        "640 root:prometheus\n600 root:root\n"
    );

    guest.certify();
    let tls = exporter(json!({
        "users": { "prometheus": { "env": "pass word" } }, "tls": true, "identity": Guest::identity(), "collectors": ["systemd"],
        "without": ["wifi"],
    }));
    guest.run(&apply(&tls)).ok();
    guest.run(&apply(&tls)).nothing_to_do();
    let root = "--cacert /usr/local/share/ca-certificates/phoenix-workshop.crt";
    let there = format!("--resolve {NAME}:9100:10.0.0.53 https://{NAME}:9100");
    assert_eq!(code(&format!("-u 'prometheus:pass word' {root} {there}")), "200");
    // A renewed certificate is served at once: it is read anew for every connection.
    let before = guest.invocation("prometheus-node-exporter");
    let renewed = guest.certify();
    assert_eq!(guest.served(9100, ""), renewed);
    assert_eq!(guest.invocation("prometheus-node-exporter"), before);
    guest.reboot();
    guest.sh("systemctl is-active prometheus-node-exporter");
}

// The attack: somebody is root in another guest, which has a certificate of the workshop.
#[test]
fn the_node_exporter_takes_the_certificates_that_are_named_and_no_others() {
    let Some(guest) = Guest::new("the_node_exporter_takes_the_certificates_that_are_named_and_no_others")
    else {
        return;
    };
    guest.certify();
    let root = "--cacert /usr/local/share/ca-certificates/phoenix-workshop.crt";
    let there = format!("--resolve {NAME}:9100:10.0.0.53 https://{NAME}:9100");
    let code = |more: &str| {
        let ask = format!("curl -sS -o /dev/null -m 5 -w '%{{http_code}}' {more} {root} {there}/metrics");
        String::from_utf8_lossy(&guest.output(&ask).stdout).into_owned()
    };
    let tls = |more: Value| {
        exporter(crate::given::but(json!({ "tls": true, "identity": Guest::identity() }), more))
    };
    // It was open to whoever is there, and had the port to itself.
    guest.run(&apply(&tls(json!({})))).ok();
    assert_eq!(code(""), "200");

    let [mesh, prometheus, wiki, evil] = [
        "mesh.guest.workshop.internal",
        "prometheus.guest.workshop.internal",
        "wiki.guest.workshop.internal",
        "mesh.guest.workshop.internal.evil",
    ];
    let names = [mesh, prometheus, wiki, evil];
    for name in names {
        guest.leaf(&format!("/root/{name}"), name);
    }
    let shown = |name: &str| format!("--cert /root/{name}.crt --key /root/{name}.key");
    let who = |more: &str| names.map(|name| code(&format!("{more} {}", shown(name))));
    let named = |more: Value| {
        let all = json!({ "client-certificates": true, "proxies": [mesh], "client-names": [prometheus] });
        tls(crate::given::but(all, more))
    };
    let ran = guest.run(&apply(&named(json!({}))));
    let restarted = |words: &[String]| {
        words.iter().filter(|word| word.starts_with("unit restart")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(restarted(&ran.ok().words()), ["unit restart prometheus-node-exporter"]);
    guest.run(&apply(&named(json!({})))).nothing_to_do();
    assert_eq!(who(""), ["200", "200", "000", "000"]);
    assert_eq!(code(""), "000", "without any");
    guest.fails("curl -sS -m 5 http://10.0.0.53:9100/metrics");
    // More of a chain than there is to it says nothing of whose it is.
    guest.sh(&format!("cd /root; cat {wiki}.crt {mesh}.crt >both.crt; cp {wiki}.key both.key"));
    assert_eq!(code(&shown("both")), "000");
    // Nothing listens beside it, and root has no part in it; nor has another user of the guest.
    assert_eq!(guest.sh("ss -Hltnp | awk '/exporter|haproxy/ { print $4 }'"), "0.0.0.0:9100\n");
    assert_eq!(guest.sh("ps -o user= -C haproxy,prometheus-node-exporter | sort -u").trim(), "prometheus");
    guest.fails("setpriv --reuid=65534 --regid=65534 --clear-groups curl -sS -m 5 --unix-socket /run/prometheus-node-exporter.sock http://localhost/metrics");

    // A password is asked for after that, and one that changes restarts nothing.
    let with = |password: &str| named(json!({ "users": { "prometheus": { "env": password } } }));
    guest.run(&apply(&with("first"))).ok();
    let [before, front] =
        ["prometheus-node-exporter", "prometheus-node-exporter-tls"].map(|unit| guest.invocation(unit));
    guest.run(&apply(&with("pass word"))).ok();
    assert_eq!(who(""), ["401", "401", "000", "000"], "a certificate is no password");
    assert_eq!(who("-u 'prometheus:first'"), ["401", "401", "000", "000"]);
    assert_eq!(who("-u 'prometheus:pass word'"), ["200", "200", "000", "000"]);
    assert_eq!(guest.invocation("prometheus-node-exporter"), before);
    assert_eq!(guest.invocation("prometheus-node-exporter-tls"), front);

    // What was given out and may have been taken: of one guest, then of whoever signed it.
    let issuer = guest.sh(&format!(
        "openssl x509 -in /root/{mesh}.crt -noout -issuer -nameopt multiline | sed -n 's/^ *commonName *= //p'"
    ));
    let refused = |names: Value| {
        let one = json!({ "issuer": issuer.trim(), "names": names });
        let ran = guest.run(&apply(&named(json!({ "client-names": ["*"], "refused": [one] }))));
        assert!(!restarted(&ran.ok().words()).contains(&"unit restart prometheus-node-exporter".to_owned()));
        who("")
    };
    assert_eq!(refused(json!([wiki])), ["200", "200", "000", "200"]);
    assert_eq!(refused(json!([])), ["000"; 4]);

    // Who is taken off the list is cut off; a renewed certificate is served after a reload, with nobody cut off.
    guest.run(&apply(&named(json!({ "client-names": [wiki] })))).ok();
    assert_eq!(who(""), ["200", "000", "200", "000"]);
    let front = guest.invocation("prometheus-node-exporter-tls");
    let renewed = guest.certify();
    guest.sh("systemctl reload prometheus-node-exporter-tls");
    guest.comes_to_serve(9100, &format!("-cert /root/{wiki}.crt -key /root/{wiki}.key"), &renewed);
    assert_eq!(guest.invocation("prometheus-node-exporter-tls"), front);
    // What HAProxy does not understand is not put in use.
    let ran = guest.run(&apply(&named(json!({ "listen": "10.0.0.999" }))));
    let error = ran.failed().error("node-exporter").unwrap();
    assert!(error.contains("the old files are back") && error.contains("10.0.0.999"), "{error}");
    assert_eq!(who(""), ["200", "000", "200", "000"]);

    // It comes up with the guest, and what is not asked for any more is gone, with the exporter at its port.
    guest.reboot();
    guest.sh(
        "ip link add eth0 type veth peer name far0; ip link set eth0 up; ip link set far0 up; ip address add 10.0.0.53/24 dev eth0
         systemctl is-active prometheus-node-exporter prometheus-node-exporter-tls",
    );
    assert_eq!(who(""), ["200", "000", "200", "000"]);
    guest.run(&apply(&tls(json!({})))).ok();
    guest.run(&apply(&tls(json!({})))).nothing_to_do();
    assert_eq!(code(""), "200");
    guest.fails("systemctl -q is-active prometheus-node-exporter.socket");
    guest.fails("test -e /etc/systemd/system/prometheus-node-exporter-tls.service || pgrep haproxy");
    // For the proxy in the same guest it listens for that alone.
    guest.run(&apply(&named(json!({ "loopback": [9100] })))).ok();
    assert_eq!(guest.sh("ss -Hltnp | awk '/exporter|haproxy/ { print $4 }'"), "127.0.0.1:9100\n");
}
