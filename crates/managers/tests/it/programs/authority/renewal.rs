//! Certificates that renew themselves: in time, unnoticed, after whatever went wrong.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use pki::renewal::{Asked, interval, patience, renew_at};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::workshop::{CERTIFICATES, Workshop, certificate, rendered};

const STORE: &str = "/etc/phoenix/certificates";

/// Nginx that serves the certificate `notes`, reading it anew when it is told to.
fn serve(w: &Workshop) {
    w.root.put(
        "/etc/nginx/nginx.conf",
        b"worker_processes 1; events {} pid /run/nginx.pid; error_log /var/log/nginx/error.log;\n\
          http { access_log off; keepalive_timeout 60; server { listen 127.0.0.1:8443 ssl; \
          ssl_certificate /etc/phoenix/certificates/notes/fullchain.pem; ssl_certificate_key /etc/phoenix/certificates/notes/key.pem; \
          location / { return 200 hello; } } }\n",
    );
    w.root.put(
        "/etc/systemd/system/nginx.service",
        b"[Service]\nExecStart=/usr/sbin/nginx -g 'daemon off;'\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n",
    );
    w.root.sh("systemctl start nginx");
}

fn served() -> serde_json::Value {
    let mut notes = certificate("notes", &["notes"], 60);
    notes["reloads"] = json!(["nginx"]);
    notes["served"] = json!(["127.0.0.1:8443/notes.workshop.internal"]);
    notes
}

// P-46, and "a leaf of ten minutes renews itself three times while requests run, with not one failed", with one of a minute.
#[test]
fn a_leaf_of_a_minute_renews_itself_three_times_and_no_request_fails() {
    let Some(w) = Workshop::with_authority(&["notes"], 60) else { return };
    w.declare(&[served()], None);
    w.certificates("renew notes").ok();
    serve(&w);
    let serials = |w: &Workshop| {
        w.root.sh("cat /root/serials 2>/dev/null | sort -u | wc -l").trim().parse::<u32>().unwrap()
    };
    let timer = w.root.background(&format!(
        "while [ ! -e /root/enough ]; do {CERTIFICATES} renew; openssl x509 -in {STORE}/notes/fullchain.pem -noout -serial >>/root/serials; sleep 2; done"
    ));
    // A new connection each time, verified against the root alone, and a pair that belongs together each time.
    let requests = w.root.background(
        "n=0; bad=0; while [ ! -e /root/enough ]; do n=$((n + 1)); \
         curl -sSf -o /dev/null --resolve notes.workshop.internal:8443:127.0.0.1 --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt \
         https://notes.workshop.internal:8443/ || bad=$((bad + 1)); done; echo $n $bad",
    );
    w.until(180, "three renewals", || serials(&w) >= 4);
    w.root.sh("touch /root/enough");
    let said = requests.wait_with_output().unwrap();
    timer.wait_with_output().unwrap();
    let counts: Vec<u32> =
        String::from_utf8_lossy(&said.stdout).split_whitespace().map(|n| n.parse().unwrap()).collect();
    println!("{} requests over three renewals, {} failed", counts[0], counts[1]);
    assert!(counts[0] > 500 && counts[1] == 0, "{counts:?} {}", String::from_utf8_lossy(&said.stderr));
    let state = w.state("notes");
    assert_eq!(state["served"][0]["same"], true, "{state}");
    assert_eq!(w.root.sh("grep -c '^start nginx' /var/log/systemctl"), "1\n");
    // No more than the last two pairs are kept.
    assert_eq!(w.root.sh(&format!("find {STORE}/notes -mindepth 1 -maxdepth 1 -type d | wc -l")), "2\n");
}

// P-40: whoever does not run is not started. And one that goes on serving the old one is told again, and reported.
#[test]
fn whoever_serves_the_old_one_is_reported_and_nobody_is_started() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let mut notes = served();
    notes["life"] = json!(3600);
    w.declare(&[notes], None);
    serve(&w);
    assert_eq!(w.say("systemctl is-active nginx", b"").out, "inactive\n", "it has no certificate yet");
    w.certificates("renew notes").ok();
    assert_eq!(w.say("systemctl is-active nginx", b"").out, "inactive\n");
    assert_eq!(
        w.state("notes")["served"][0],
        json!({ "at": "127.0.0.1:8443/notes.workshop.internal", "serial": null, "same": null })
    );
    w.root.sh("systemctl start nginx");
    assert_eq!(w.state("notes")["served"][0]["same"], true);
    // Its configuration is broken now, so a reload leaves the old one in use.
    w.root.sh("cp /etc/nginx/nginx.conf /root/; echo nonsense >>/etc/nginx/nginx.conf");
    let said = w.certificates("renew --force notes");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.err.contains("127.0.0.1:8443/notes.workshop.internal serves another certificate"),
        "{said:?}"
    );
    let state = w.state("notes");
    assert_eq!((&state["served"][0]["same"], &state["failures"]), (&json!(false), &json!(0)), "{state}");
    assert!(state["error"].as_str().unwrap().contains("serves another certificate"), "{state}");
    // Mended: it is told again by itself, with patience, and the report goes.
    w.root.sh("cp /root/nginx.conf /etc/nginx/nginx.conf");
    w.until(60, "the one that is told again", || w.certificates("renew").code == Some(0));
    let state = w.state("notes");
    assert_eq!((&state["served"][0]["same"], &state["error"]), (&json!(true), &json!(null)), "{state}");
}

// S-14: switched off past the end. With the authority away it neither spins nor gives up; then it enrols by itself.
#[test]
fn an_expired_leaf_enrols_again_by_itself() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    let request = pki::LeafRequest {
        name: "notes".into(),
        dns_names: vec!["notes.workshop.internal".into()],
        addresses: Vec::new(),
        life: Duration::from_secs(3600),
    };
    let long_ago = Timestamp::now() - Duration::from_secs(400 * 86_400);
    let leaf = w.pki.issue(&request, long_ago).unwrap();
    put_old(&w, &leaf);
    assert!(w.state("notes")["not_after"].as_i64().unwrap() < Timestamp::now().as_second());
    w.root.sh("systemctl stop step-ca");
    for _ in 0..4 {
        assert_eq!(w.certificates("renew").code, Some(1));
    }
    let state = w.state("notes");
    assert_eq!(state["failures"], 1, "it waits, however often it is looked at: {state}");
    assert!(state["error"].as_str().unwrap().contains("connection refused"), "{state}");
    w.root.sh("systemctl start step-ca");
    w.until(30, "a certificate", || w.certificates("renew").code == Some(0));
    let facts = w.facts("notes");
    assert!(facts.not_after > Timestamp::now() && facts.issuer.contains("Step CA"), "{facts:?}");
    assert_eq!(w.root.sh(&format!("cat {STORE}/notes/current/issuer")), "step-ca\n");
}

fn put_old(w: &Workshop, leaf: &pki::Leaf) {
    w.root.put(&format!("{STORE}/notes/fullchain.pem"), leaf.chain_pem.as_bytes());
    w.root.put(&format!("{STORE}/notes/key.pem"), leaf.key_pem.expose_secret().as_bytes());
}

// From plain files of the embedded authority to a pair of step-ca: whoever reads in between finds one pair or the other.
#[test]
fn a_pair_is_replaced_at_once_whoever_is_killed() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let request = pki::LeafRequest {
        name: "notes".into(),
        dns_names: vec!["notes.workshop.internal".into()],
        addresses: Vec::new(),
        life: Duration::from_secs(86_400),
    };
    let leaf = w.pki.issue(&request, Timestamp::now()).unwrap();
    put_old(&w, &leaf);
    let pair = |w: &Workshop| {
        w.root.sh(&format!(
            "cd {STORE}/notes && [ \"$(openssl x509 -in fullchain.pem -noout -pubkey)\" = \"$(openssl pkey -in key.pem -pubout)\" ]"
        ))
    };
    w.declare(&[certificate("notes", &["notes"], 3600)], None);
    for n in 0..25 {
        let after = f64::from(n) * 0.03;
        w.root
            .sh(&format!("timeout -s KILL {after} {CERTIFICATES} renew --force notes >/dev/null 2>&1; true"));
        pair(&w);
    }
    // Two at once wait for each other.
    w.root.sh(&format!("{CERTIFICATES} renew --force notes & {CERTIFICATES} renew --force notes; wait"));
    pair(&w);
    w.certificates("renew notes").ok();
    assert_eq!(
        w.root.sh(&format!("cd {STORE} && stat -c '%n %a %U:%G' . notes notes/key.pem notes/current/. && stat -L -c '%a %U:%G' notes/key.pem && readlink notes/key.pem")),
        ". 711 root:root\nnotes 755 root:root\nnotes/key.pem 777 root:root\nnotes/current/. 755 root:root\n600 root:root\ncurrent/key.pem\n"
    );
    assert_eq!(w.root.sh(&format!("find {STORE} -name '*.new' -o -name .unfinished")), "");
}

/// What Phoenix does for a certificate of its embedded authority.
fn embed(w: &Workshop) -> String {
    let certificate = plan::desired::Certificate {
        name: "notes".into(),
        names: vec!["notes.workshop.internal".into()],
        life: Duration::from_secs(86_400),
        on: plan::Host::container("gateway"),
        issuer: plan::desired::Issuer::Embedded,
        owner: None,
        reloads: vec!["nginx".into()],
        restarts: Vec::new(),
        served: vec![plan::desired::Served {
            address: std::net::Ipv4Addr::LOCALHOST,
            port: 8443,
            name: "notes.workshop.internal".into(),
        }],
        fingerprint: "f".into(),
    };
    let (script, marks) =
        managers::certificates::embedded::script(&w.pki, &[&certificate], Timestamp::now()).unwrap();
    w.root.put("/run/script", script.as_bytes());
    let said = w.say("sh </run/script", b"");
    assert_eq!(marks[0].1.serial, w.facts("notes").serial, "{said:?}");
    said.ok()
}

// From the embedded authority to one in a guest and back, with requests all the time: no name stops answering, and who
// looked after a certificate before does not touch it any more.
#[test]
fn moving_there_and_back_keeps_every_name_answering() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    assert_eq!(embed(&w), "phoenix: putting certificates\n");
    serve(&w);
    let requests = w.root.background(
        "n=0; bad=0; while [ ! -e /root/enough ]; do n=$((n + 1)); \
         curl -sSf -o /dev/null --resolve notes.workshop.internal:8443:127.0.0.1 --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt \
         https://notes.workshop.internal:8443/ || bad=$((bad + 1)); done; echo $n $bad",
    );
    let by = |w: &Workshop| (w.facts("notes").issuer, w.state("notes")["served"][0]["same"].clone());
    let mut notes = served();
    notes["life"] = json!(3600);
    for _ in 0..2 {
        w.declare(&[notes.clone()], None);
        w.certificates("renew notes").ok();
        assert!(by(&w).0.contains("Step CA") && by(&w).1 == true, "{:?}", by(&w));
        assert_eq!(embed(&w), "phoenix: putting certificates\n");
        assert!(w.facts("notes").issuer.contains("Intermediate CA"));
        let serial = w.facts("notes").serial;
        // What the guest was told before is gone, so its timer leaves it alone.
        w.certificates("renew").ok();
        assert_eq!(w.facts("notes").serial, serial);
    }
    w.root.sh("touch /root/enough");
    let said = requests.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    println!("there and back: {} requests and failures", text.trim());
    assert!(text.trim().ends_with(" 0"), "{text} {}", String::from_utf8_lossy(&said.stderr));

    // A consumer that does not take it is told of, and does not undo it.
    w.root.sh("echo nonsense >>/etc/nginx/nginx.conf");
    let said = embed(&w);
    assert!(
        said.contains("phoenix:note 127.0.0.1:8443/notes.workshop.internal serves another certificate"),
        "{said}"
    );
}

// The key is for one group where somebody else than root must read it, also where that group comes later.
#[test]
fn the_key_is_for_its_reader() {
    let Some(w) = Workshop::with_authority(&["notes"], 3600) else { return };
    let mut notes = certificate("notes", &["notes"], 3600);
    notes["owner"] = json!("reader:reader");
    w.declare(&[notes], None);
    w.certificates("renew").ok();
    let mode = |w: &Workshop| w.root.sh(&format!("stat -L -c '%a %U:%G' {STORE}/notes/key.pem"));
    assert_eq!(mode(&w), "600 root:root\n");
    w.root.sh("useradd --system --user-group reader");
    w.certificates("renew").ok();
    assert_eq!(mode(&w), "640 root:reader\n");
    w.root.sh(&format!(
        "setpriv --reuid=reader --regid=reader --clear-groups cat {STORE}/notes/key.pem >/dev/null"
    ));
    w.certificates("renew --force notes").ok();
    assert_eq!(mode(&w), "640 root:reader\n");
}

// I-4: what is not declared goes, what was damaged is made anew, and what cannot be read is said.
#[test]
fn what_is_not_as_declared_is_made_so() {
    let Some(w) = Workshop::with_authority(&["notes", "wiki"], 3600) else { return };
    w.declare(&[certificate("notes", &["notes"], 3600), certificate("wiki", &["wiki"], 3600)], None);
    w.certificates("renew").ok();
    let first = w.facts("notes").serial;
    w.certificates("renew").ok();
    assert_eq!(w.facts("notes").serial, first, "nothing is due");
    // Swapped, spoilt, deleted.
    for spoil in [
        "cp -L wiki/key.pem notes/current/key.pem",
        "echo nonsense >notes/current/fullchain.pem",
        "rm -r notes",
        "cp -L wiki/fullchain.pem notes/current/fullchain.pem; cp -L wiki/key.pem notes/current/key.pem",
    ] {
        w.root.sh(&format!("cd {STORE}; {spoil}"));
        w.certificates("renew").ok();
        let facts = w.facts("notes");
        assert_eq!(facts.dns_names, ["notes.workshop.internal"], "{spoil}");
        pki::verify_chain(&w.chain("notes"), w.pki.root_pem(), "notes.workshop.internal", Timestamp::now())
            .unwrap();
    }
    // Another list of names, a shorter life.
    w.declare(&[certificate("notes", &["notes", "wiki"], 600)], None);
    w.certificates("renew").ok();
    assert_eq!(w.facts("notes").dns_names.len(), 2);
    // `wiki` is not declared any more: a day later, or when it is asked for, it goes.
    assert!(w.root.sh(&format!("ls {STORE}")).contains("wiki"));
    w.root.sh("touch -d '2 days ago' /var/lib/phoenix/certificates/wiki.orphan");
    w.certificates("renew").ok();
    assert_eq!(w.root.sh(&format!("ls {STORE}")), "notes\n");
    assert_eq!(w.certificates("forget notes").code, Some(2), "it is declared");
    w.declare(&[], None);
    w.certificates("forget notes").ok();
    assert_eq!(w.root.sh(&format!("ls {STORE}")), "");
    assert_eq!(w.certificates("renew ../x").code, Some(2));
    w.root.put(
        "/etc/phoenix/certificates.d/odd.conf",
        b"names odd.workshop.internal\nlife soon\nissuer step-ca\n",
    );
    assert!(w.certificates("check").refused().contains("odd.conf has no life in seconds"));
    assert!(w.certificates("renew").refused().contains("no life"));
    // No key and no token among the arguments of anything that ran.
    assert_eq!(
        w.root.sh("stat -c %a /var/lib/phoenix/certificates /var/lib/phoenix/certificates/identity.jwk"),
        "700\n600\n"
    );
}

fn script() -> String {
    format!("{}/../../catalog/certificates/certificates", env!("CARGO_MANIFEST_DIR"))
}

// The decision in shell and the one in Rust are one.
#[test]
fn guests_decide_as_plans_do() {
    // Any numbers do, as long as they are the same each time (Knuth's MMIX generator).
    let mut seed = 4_u64;
    let mut below = move |limit: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 33).unwrap() % limit
    };
    let mut input = String::new();
    let mut expected = String::new();
    for n in 0..400 {
        let name = format!("n{}.{}", n, "x".repeat(n % 7));
        let begin = below(2_000_000_000);
        let life = below([700, 90_000, 8_000_000, 700_000_000][n % 4]);
        let failures = u32::try_from(below(30)).unwrap();
        let (issuer, asked) = [("step-ca", Asked::Own), ("acme", Asked::Public)][n % 2];
        input.push_str(&format!("{name} {begin} {} {issuer} {failures} {life}\n", begin + life));
        let at = |second| Timestamp::from_second(second).unwrap();
        let wait = patience(asked, failures, Duration::from_secs(life.unsigned_abs())).as_secs();
        expected.push_str(&format!("{} {wait}\n", renew_at(&name, at(begin), at(begin + life)).as_second()));
    }
    let mut child = Command::new("sh")
        .args([&script(), "decide"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let out = child.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), expected);
}

#[test]
fn the_timer_follows_the_shortest_life() {
    for lives in [&[][..], &[600], &[7_776_000], &[7_776_000, 3600], &[86_400, 60]] {
        let list: Vec<_> = lives.iter().map(|life| certificate("x", &["x"], *life)).collect();
        let list: Vec<_> = list
            .into_iter()
            .enumerate()
            .map(|(n, mut c)| {
                c["name"] = json!(format!("x{n}"));
                c
            })
            .collect();
        let rendered = rendered("certificates", json!({ "certificates": list }));
        let file = rendered.files.iter().find(|f| f.path.ends_with(".timer")).unwrap();
        let text = serde_json::to_string(file).unwrap();
        let shortest = lives.iter().min().copied().unwrap_or(900 * 30);
        let wanted = interval(Duration::from_secs(shortest)).as_secs();
        assert!(text.contains(&format!("OnUnitInactiveSec={wanted}s")), "{lives:?}: {text}");
    }
}
