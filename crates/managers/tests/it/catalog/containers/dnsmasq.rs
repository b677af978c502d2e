//! Names: two views, what is ours and what is not, and that nobody asks himself.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::Guest;
use crate::catalog::{apply, try_with, with};

fn records(wiki: &str) -> Value {
    json!([
        { "address": "10.0.0.20", "names": ["notes.workshop.internal", "n.workshop.internal"] },
        { "address": wiki, "names": ["wiki.workshop.internal"] },
    ])
}

fn values(more: Value) -> Value {
    let mut all = json!({
        "records": records("10.0.0.21"),
        "outside-records": [{ "address": "192.168.7.10", "names": ["notes.workshop.internal"] }],
        "domain": "workshop.internal",
        "upstream": ["10.0.0.20#5300"],
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

fn dns(more: Value) -> Rendered {
    with("dnsmasq", values(more))
}

fn refused(more: Value) -> String {
    try_with("dnsmasq", values(more), &std::collections::BTreeMap::new()).unwrap_err().to_string()
}

/// The answer's code and what is in it.
fn ask(guest: &Guest, question: &str) -> String {
    let text = guest.sh(&format!("drill {question}"));
    let code = text.split("rcode: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let answers: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("ANSWER SECTION"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.rsplit('\t').next().unwrap())
        .collect();
    format!("{code} {}", answers.join(" ")).trim().to_owned()
}

// P-53, P-54: what cannot work is refused before anything is contacted.
#[test]
fn what_cannot_work_is_refused_on_paper() {
    let error = refused(json!({ "upstream": ["9.9.9.9", "10.0.0.53"] }));
    assert!(
        error.ends_with("the upstream 10.0.0.53 is this guest itself, which would ask itself for ever"),
        "{error}"
    );
    let error = refused(json!({ "upstream": ["127.0.0.1"] }));
    assert!(error.contains("the upstream 127.0.0.1 is this guest itself"), "{error}");
    let error = refused(json!({ "outside-address": "10.0.0.53" }));
    assert!(error.contains("both views would listen on 10.0.0.53:53"), "{error}");
    let error = refused(json!({ "outside-port": 53 }));
    assert!(error.contains("both views would listen on 10.0.0.53:53"), "{error}");
    // Another program on this guest may well be asked.
    dns(json!({ "upstream": ["127.0.0.1#5300"], "outside-port": 5353 }));
}

#[test]
fn two_views_answer_each_for_itself() {
    let Some(guest) = Guest::new("two_views_answer_each_for_itself") else { return };
    let both = json!({ "outside-address": "192.168.7.53" });
    guest.run(&apply(&dns(both.clone()))).ok();
    guest.run(&apply(&dns(both.clone()))).nothing_to_do();

    // P-53: one name, one answer in each view.
    assert_eq!(ask(&guest, "@10.0.0.53 notes.workshop.internal"), "NOERROR 10.0.0.20");
    assert_eq!(ask(&guest, "@192.168.7.53 notes.workshop.internal"), "NOERROR 192.168.7.10");
    assert_eq!(ask(&guest, "-t @10.0.0.53 notes.workshop.internal"), "NOERROR 10.0.0.20", "TCP");
    assert_eq!(ask(&guest, "@127.0.0.1 n.workshop.internal"), "NOERROR 10.0.0.20");
    assert_eq!(ask(&guest, "@10.0.0.53 notes.workshop.internal AAAA"), "NOERROR");
    // In reverse, the first name of an address.
    assert_eq!(ask(&guest, "-x @10.0.0.53 10.0.0.20"), "NOERROR notes.workshop.internal.");
    assert_eq!(ask(&guest, "-x @192.168.7.53 192.168.7.10"), "NOERROR notes.workshop.internal.");
    // What the workshop does not know does not exist, and nobody is asked: no upstream is there to answer.
    assert_eq!(ask(&guest, "@10.0.0.53 nothing.workshop.internal"), "NXDOMAIN");
    assert_eq!(ask(&guest, "-x @10.0.0.53 10.0.0.99"), "NXDOMAIN");
    assert_eq!(ask(&guest, "@192.168.7.53 wiki.workshop.internal"), "NXDOMAIN", "inside only");
    // Who asks from outside gets the workshop's names alone.
    assert_eq!(ask(&guest, "@192.168.7.53 debian.org"), "REFUSED");

    // A new record is a reload; answers never stop.
    let before = [guest.invocation("dnsmasq"), guest.invocation("dnsmasq-outside")];
    let mut moved = both.clone();
    moved.as_object_mut().unwrap().insert("records".into(), records("10.0.0.22"));
    assert_eq!(
        guest.run(&apply(&dns(moved.clone()))).ok().words(),
        ["file update /etc/dnsmasq/dnsmasq.hosts", "unit reload dnsmasq"]
    );
    assert_eq!(ask(&guest, "@10.0.0.53 wiki.workshop.internal"), "NOERROR 10.0.0.22");
    assert_eq!([guest.invocation("dnsmasq"), guest.invocation("dnsmasq-outside")], before);

    // A configuration that dnsmasq refuses is not put in use.
    let mut bad = moved.clone();
    bad.as_object_mut().unwrap().insert("forward".into(), json!({ "corp.example": "not an address" }));
    let ran = guest.run(&apply(&dns(bad)));
    let error = ran.failed().error("dnsmasq").unwrap();
    assert!(
        error.contains("the old files are back: ") && error.contains("Name or service not known at line"),
        "{error}"
    );
    assert_eq!(ask(&guest, "@10.0.0.53 wiki.workshop.internal"), "NOERROR 10.0.0.22");
    assert_eq!(guest.invocation("dnsmasq"), before[0]);
    guest.run(&apply(&dns(moved.clone()))).ok();

    // It comes up with the guest, also when its addresses come later than it.
    guest.reboot();
    guest.sh("systemctl is-active dnsmasq dnsmasq-outside; ip link add eth0 type dummy || ip link add eth0 type veth peer name far0; \
              ip link set eth0 up; ip address add 10.0.0.53/24 dev eth0; ip address add 192.168.7.53/24 dev eth0; sleep 1");
    assert_eq!(ask(&guest, "@10.0.0.53 notes.workshop.internal"), "NOERROR 10.0.0.20");
    assert_eq!(ask(&guest, "@192.168.7.53 notes.workshop.internal"), "NOERROR 192.168.7.10");

    // Without an outside view there is no listener for it.
    let mut inside = moved;
    inside.as_object_mut().unwrap().remove("outside-address");
    let ran = guest.run(&apply(&dns(inside.clone())));
    assert!(ran.ok().words().contains(&"unit stop dnsmasq-outside".to_owned()), "{ran:?}");
    guest.fails("drill @192.168.7.53 notes.workshop.internal");
    guest.run(&apply(&dns(inside))).nothing_to_do();
}

#[test]
fn others_are_asked_for_the_rest() {
    let Some(guest) = Guest::new("others_are_asked_for_the_rest") else { return };
    // systemd-resolved's listener on port 53 is no conflict: the addresses differ. One on all of them is.
    guest.run(&apply(&dns(json!({})))).ok();
    guest.sh(
        "systemctl stop dnsmasq; dnsmasq -p 53 -C /dev/null --no-hosts --no-resolv --pid-file=/run/other.pid",
    );
    let ran = guest.run(&apply(&dns(json!({ "cache": 5 }))));
    let error = ran.failed().error("dnsmasq").unwrap();
    assert!(
        error.starts_with("another program in this guest listens on port 53 of every address"),
        "{error}"
    );
    assert!(ran.words().is_empty(), "nothing was changed: {ran:?}");
    guest.sh("kill $(cat /run/other.pid); timeout 10 tail --pid=$(cat /run/other.pid) -f /dev/null; dnsmasq -p 53 -C /dev/null --no-hosts --no-resolv --pid-file= --listen-address=127.0.0.53 --bind-interfaces");

    // Somebody else's name server, on this guest for the test.
    guest.sh(
        "dnsmasq -p 5300 -C /dev/null --no-hosts --no-resolv --pid-file= --bind-interfaces --listen-address=10.0.0.20 \
         --address=/example.org/93.184.216.34 --address=/evil.org/10.0.0.20 --address=/nas.example/10.9.9.9 \
         --address=/corp.example/10.8.8.8",
    );
    guest
        .run(&apply(&dns(
            json!({ "drop-private": true, "private-domains": ["nas.example"], "forward": { "corp.example": "10.0.0.20#5300" } }),
        )))
        .ok();
    assert_eq!(ask(&guest, "@10.0.0.53 example.org"), "NOERROR 93.184.216.34");
    // A foreign name that means one of our addresses gets no answer.
    assert_eq!(ask(&guest, "@10.0.0.53 evil.org"), "NOERROR");
    assert_eq!(ask(&guest, "@10.0.0.53 nas.example"), "NOERROR 10.9.9.9");
    assert_eq!(ask(&guest, "@10.0.0.53 corp.example"), "NOERROR 10.8.8.8");
    // The workshop's own names are not asked of others, whatever they would say.
    assert_eq!(ask(&guest, "@10.0.0.53 evil.workshop.internal"), "NXDOMAIN");

    // P-54: an upstream that is another address of this guest.
    let ran = guest.run(&apply(&dns(json!({ "upstream": ["192.168.7.53"] }))));
    let error = ran.failed().error("dnsmasq").unwrap();
    assert_eq!(error, "`upstream` leads back to this guest, which would ask itself for ever: 192.168.7.53");
}

// P-54: with no upstream given, the guest's own name servers are kept, and never itself.
#[test]
fn the_name_servers_it_was_given_are_kept() {
    let Some(guest) = Guest::new("the_name_servers_it_was_given_are_kept") else { return };
    let own = || dns(json!({ "upstream": [] }));
    guest.write("/etc/resolv.conf", "search x\nnameserver 10.0.0.53\nnameserver 127.0.0.1\n");
    let ran = guest.run(&apply(&own()));
    let error = ran.failed().error("dnsmasq").unwrap();
    assert!(error.contains("/etc/resolv.conf names no server but this guest itself"), "{error}");
    guest.write("/etc/resolv.conf", "nameserver 10.0.0.53\nnameserver 10.0.0.1\nnameserver 9.9.9.9\n");
    guest.run(&apply(&own())).ok();
    // Later the guest is told to ask itself; what it asks others stays.
    guest.write("/etc/resolv.conf", "nameserver 10.0.0.53\n");
    guest.run(&apply(&own())).nothing_to_do();
    assert_eq!(guest.sh("grep ^server= /var/lib/misc/dnsmasq.upstream"), "server=10.0.0.1\nserver=9.9.9.9\n");
    let log = guest.sh("journalctl -u dnsmasq -o cat");
    assert!(
        log.contains("using nameserver 9.9.9.9#53") && !log.contains("using nameserver 10.0.0.53"),
        "{log}"
    );
}
