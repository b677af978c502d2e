//! The whole path, for real: a blueprint becomes running containers in the lab, and a request gets its answer over
//! HTTPS, verified against the workshop's own root alone. One test, since it is one story.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::support::{Site, lacking, write};
use serde_json::Value;

#[test]
fn a_blueprint_becomes_a_workshop_that_answers() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::up();

    // A plan changes nothing, and says what would be done.
    let plan = site.json(&["plan", "--json"]);
    assert!(plan["summary"]["actions"]["create"].as_u64().unwrap() >= 3, "{plan}");
    assert_eq!(site.run(&["plan", "--detailed-exitcode"]).status.code(), Some(3));

    // Killed in the middle of installing something, and started again: it carries on (I-2, P-24).
    site.killed_while("install package nginx-light");
    site.ok(&["apply"]);
    let history = site.json(&["history", "--json"]);
    let outcomes: Vec<&Value> = history["runs"].as_array().unwrap().iter().map(|r| &r["outcome"]).collect();
    assert_eq!(outcomes, [&Value::from("done"), &Value::Null], "the killed run is known as cut off");
    println!("real containers: a_blueprint_becomes_a_workshop_that_answers");
    let (status, body) = site.fetch("notes.workshop.internal");
    assert_eq!(status, "200", "{body}");
    assert_eq!(site.fetch("status.workshop.internal").0, "200");

    // P-79, I-2: the second apply has nothing to do.
    let plan = site.json(&["plan", "--json"]);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 0, "{plan}");
    assert_eq!(site.run(&["plan", "--detailed-exitcode"]).status.code(), Some(0));
    site.ok(&["doctor"]);
    // Names resolve inside, and HTTPS works from one guest to another through the system's own trust store.
    assert_eq!(site.status_inside("status", "https://notes.workshop.internal/"), (true, "200".to_owned()));

    packets_fit_the_way_out(&site);

    what_is_purged_is_found_and_put_right(&site);

    the_node_shows_what_it_was_given(&site);

    the_root_is_replaced_while_somebody_asks(&site);

    tcp_has_a_port_of_this_machine(&site);

    // One line of one page: that one file is changed, and nothing else.
    let page = site.path().join("pages/notes/index.html");
    let changed = std::fs::read_to_string(&page).unwrap().replace("</body>", "<p>one more line</p>\n</body>");
    write(page, &changed);
    let plan = site.json(&["plan", "--json"]);
    let steps: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap()).collect();
    assert_eq!(steps, ["feature.static-site@container.notes", "service.notes"]);
    let events = site.ok(&["apply", "--json"]);
    let changes: Vec<&str> = events.lines().filter(|l| l.contains("\"changed\"")).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].contains("/srv/site/index.html"));
    assert!(site.fetch("notes.workshop.internal").1.contains("one more line"));

    // A feature of the site's own, with no Rust: a folder with a description, used like any other.
    std::fs::create_dir_all(site.path().join("features/greeting")).unwrap();
    let feature = r#"{
        "description": "Greets whoever logs in.",
        "parameters": { "text": { "type": "string", "description": "What it says." } },
        "files": [{ "path": "/etc/motd", "content": "{{ text }} from {{ guest.name }}\n" }]
    }"#;
    write(site.path().join("features/greeting/feature.json"), feature);
    let guests = site.path().join("guests.json");
    let text = std::fs::read_to_string(&guests).unwrap();
    let with = text.replace(
        r#"[{ "static-site": { "root": "pages/status/" } }]"#,
        r#"[{ "static-site": { "root": "pages/status/" } }, { "greeting": { "text": "hello" } }]"#,
    );
    assert_ne!(text, with);
    write(guests, &with);
    site.ok(&["apply", "--target", "feature.greeting@container.status"]);
    assert_eq!(site.ok(&["exec", "status", "--", "cat", "/etc/motd"]), "hello from status\n");

    // Destroyed by hand: it comes back with the same address and MAC (T-8, T-11).
    let config = |id: &str| site.ok(&["exec", id, "--", "cat", "/sys/class/net/eth0/address"]);
    let mac = config("120");
    let node = |command: &str| site.node(command);
    node("pct stop 120 && pct destroy 120");
    site.ok(&["apply"]);
    assert_eq!(config("120"), mac);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");

    // S-15: with every backend down the gateway boots, and with one back that one answers.
    node("pct stop 120; pct stop 121; pct stop 101; pct start 101");
    // Its services need a moment after the start; no more than half a minute.
    let until = Instant::now() + Duration::from_secs(30);
    while site.fetch("notes.workshop.internal").0 != "502" {
        assert!(Instant::now() < until, "the gateway does not answer without its backends");
        std::thread::sleep(Duration::from_millis(500));
    }
    site.ok(&["apply"]);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");

    // A guest of somebody else's, which nothing here may touch (P-16).
    node(
        "pct create 900 local:vztmpl/$(ls /var/lib/vz/template/cache | head -1) --hostname foreign --rootfs local:1 --memory 128",
    );
    // Without consent nothing is destroyed, and the exit code says so.
    assert_eq!(site.run(&["destroy"]).status.code(), Some(4));
    assert_eq!(site.run(&["destroy", "--confirm", "another"]).status.code(), Some(4));
    site.ok(&["destroy", "--confirm", "workshop"]);
    let left = node("pct list");
    assert!(left.contains("foreign") && !left.contains("notes"), "{left}");

    site.lab_down_leaves_nothing();
}

/// Nginx purged inside the gateway: a plan takes it on trust and says so, looking names it, and `up` asks the services, sees
/// that they do not answer, and puts it right.
fn what_is_purged_is_found_and_put_right(site: &Site) {
    let nothing = site.json(&["drift", "--json"]);
    assert_eq!(nothing["steps"].as_array().unwrap().len(), 0, "{nothing:#}");
    assert_eq!(nothing["inside"]["looked"], 3, "{nothing:#}");
    let purge = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge 'nginx*' && rm -rf /etc/nginx";
    assert!(site.inside("gateway", purge).0);
    assert_ne!(site.fetch("notes.workshop.internal").0, "200");

    let plan = site.run(&["plan", "--detailed-exitcode"]);
    let said = String::from_utf8_lossy(&plan.stderr);
    assert!(
        plan.status.code() == Some(0) && said.contains("what is inside guests was not looked at"),
        "{said}"
    );
    let drift = site.json(&["drift", "--json"]);
    let steps = drift["steps"].as_array().unwrap();
    let gateway = steps.iter().find(|s| s["address"] == "feature.nginx-gateway@container.gateway").unwrap();
    for reason in ["the package nginx-light is not installed", "/etc/nginx/nginx.conf is missing"] {
        assert!(gateway["reasons"].as_array().unwrap().contains(&reason.into()), "{gateway:#}");
    }
    let silent = steps.iter().find(|s| s["address"] == "service.notes").unwrap();
    assert!(silent["reasons"][0].as_str().unwrap().starts_with("it does not answer"), "{silent:#}");
    assert!(
        steps.iter().all(|s| s["address"].as_str().unwrap().contains("gateway") || s["id"].is_null()),
        "{steps:#?}"
    );
    assert_eq!(site.run(&["drift", "--detailed-exitcode"]).status.code(), Some(3));

    let up = site.run(&["up", "--yes"]);
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(up.status.success() && said.contains("does not answer"), "{said}");
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");
    let drift = site.run(&["drift", "--detailed-exitcode"]);
    assert_eq!(drift.status.code(), Some(0));
    // What applying cannot put right is said, with where the way breaks.
    assert!(site.inside("notes", "echo 'nonsense;' > /etc/nginx/conf.d/x.conf; ! systemctl restart nginx").0);
    let apply = site.run(&["apply"]);
    let said = String::from_utf8_lossy(&apply.stderr);
    assert_eq!(apply.status.code(), Some(1), "{said}");
    assert!(said.contains("feature.static-site@container.notes: run"), "{said}");
    assert!(said.contains("error: https://notes.workshop.internal/ does not answer"), "{said}");
    assert!(said.contains("service.notes: "), "{said}");
    assert_eq!(site.run(&["apply", "--no-probe"]).status.code(), Some(0));
    assert!(site.inside("notes", "rm /etc/nginx/conf.d/x.conf").0);
    site.ok(&["apply"]);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");
}

/// Another root takes the place of the site's while a client, who trusts what is to be trusted, asks all the time: it gets an
/// answer each time. In the end nothing that the old one signed is believed, by a client or inside guests.
fn the_root_is_replaced_while_somebody_asks(site: &Site) {
    let (old, client) = (site.path().join("old.pem"), site.path().join("client.pem"));
    std::fs::copy(site.root(), &old).unwrap();
    let chain = site.ok(&["exec", "gateway", "--", "cat", "/etc/phoenix/certificates/notes/fullchain.pem"]);
    let ask = |roots: &std::path::Path| {
        let more = ["-o", "/dev/null", "-w", "%{http_code}", "--cacert", roots.to_str().unwrap()];
        site.curl("notes.workshop.internal", "/", &more).output().unwrap()
    };
    let over = std::sync::atomic::AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                write(client.clone(), &site.ok(&["certs", "root"]));
                let answer = ask(&client);
                let said = String::from_utf8_lossy(&answer.stderr).into_owned();
                assert_eq!(String::from_utf8_lossy(&answer.stdout), "200", "try {asked}: {said}");
                asked += 1;
            }
            asked
        });
        let rotated = site.run(&["rotate", "authority", "--yes"]);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
        client.join().unwrap()
    });
    assert!(asked > 5, "{asked}");
    assert_eq!(String::from_utf8_lossy(&ask(&old).stdout), "000", "the old root vouches for nothing");
    std::fs::remove_file(site.root()).unwrap();
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");
    assert_eq!(site.status_inside("status", "https://notes.workshop.internal/"), (true, "200".to_owned()));
    // What was taken before is shown to whoever looks inside a guest, and what there is now.
    let verified = |chain: &str| {
        let line = format!(
            "cat >/root/chain <<'END'\n{}\nEND\nopenssl verify -CApath /etc/ssl/certs -no-CAfile -untrusted /root/chain /root/chain; \
             openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath -untrusted /root/chain /root/chain; true",
            chain.trim_end()
        );
        site.inside("status", &line).1.matches(": OK").count()
    };
    let now = site.ok(&["exec", "gateway", "--", "cat", "/etc/phoenix/certificates/notes/fullchain.pem"]);
    assert_eq!((verified(&chain), verified(&now)), (0, 2));
    assert_eq!(site.run(&["plan", "--detailed-exitcode"]).status.code(), Some(0));
    assert_eq!(site.run(&["drift", "--detailed-exitcode"]).status.code(), Some(0));
}

/// What speaks TCP is published by `apply` on the port that the blueprint says, shown with it, and not published any more when
/// it is gone. The port is no step: one that changes needs none.
fn tcp_has_a_port_of_this_machine(site: &Site) {
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, then) = (port(), port());
    let own = r#""status": { "port": 80, "expose": "gateway" }"#;
    let with = format!(r#"{own}, "login": {{ "port": 22, "protocol": "tcp", "expose": "direct" }}"#);
    site.edit("guests.json", own, &with);
    site.edit(
        "site.json",
        r#""lab": {}"#,
        &format!(r#""lab": {{"ports":{{"services":{{"login":{first}}}}}}}"#),
    );
    let said = site.run(&["apply"]);
    let url = |port: u16| format!("tcp://127.0.0.1:{port}");
    assert!(String::from_utf8_lossy(&said.stderr).contains(&format!("login: {}", url(first))));
    let answers = |port: u16| {
        let mut start = [0; 4];
        let read = TcpStream::connect(("127.0.0.1", port)).and_then(|mut s| s.read_exact(&mut start));
        read.is_ok() && &start == b"SSH-"
    };
    assert!(answers(first));
    let services = site.json(&["status", "--json"])["services"].clone();
    let login = services.as_array().unwrap().iter().find(|s| s["address"] == "service.login").unwrap();
    assert_eq!(login["url"], url(first), "{services:#}");
    assert!(site.ok(&["lab", "status"]).contains(&format!("login: {}", url(first))));

    // Somebody has the new port: that is said, and ends nothing. Once it is free, it is taken.
    let somebody = TcpListener::bind(("127.0.0.1", then)).unwrap();
    site.edit("site.json", &first.to_string(), &then.to_string());
    let said = site.run(&["apply"]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.status.success() && text.contains(&format!("port {then} on 127.0.0.1 is taken by")),
        "{text}"
    );
    drop(somebody);
    site.ok(&["apply"]);
    assert!(answers(then) && !answers(first));

    site.edit("guests.json", &with, own);
    site.edit("site.json", &format!(r#"{{"ports":{{"services":{{"login":{then}}}}}}}"#), "{}");
    site.ok(&["apply"]);
    assert!(!answers(then));
}

/// Where the way out takes smaller packets than a guest's own link, the other end is told when the guest connects: what it
/// sends would not arrive otherwise, and installing a package would hang.
fn packets_fit_the_way_out(site: &Site) {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let before = site.node("cat /sys/class/net/eth0/mtu");
    let here = site.node("ip route show default | cut -d ' ' -f 3");
    site.node("ip link set eth0 mtu 1300");
    let connect = format!("bash -c 'exec 3<>/dev/tcp/{}/{port}; read -t 30 <&3'", here.trim());
    std::thread::scope(|scope| {
        let guest = scope.spawn(|| site.inside("notes", &connect));
        let (stream, _) = listener.accept().unwrap();
        let told =
            std::process::Command::new("ss").args(["-Htin", "sport", "=", &format!(":{port}")]).output();
        let told = String::from_utf8(told.unwrap().stdout).unwrap();
        let largest = told.split_whitespace().find_map(|word| word.strip_prefix("mss:")).unwrap();
        assert!(largest.parse::<u32>().unwrap() <= 1260, "{told}");
        drop(stream);
        guest.join().unwrap();
    });
    site.node(&format!("ip link set eth0 mtu {}", before.trim()));
}

/// The node's own certificate, signed by Phoenix itself. It is not said to be done before it is shown.
fn the_node_shows_what_it_was_given(site: &Site) {
    write(site.path().join("node.json"), r#"{ "hypervisor": { "certificate": true } }"#);
    site.node("mv /usr/sbin/pvenode /usr/sbin/pvenode.away");
    let target = ["apply", "--target", "hypervisor.certificate"];
    let failed = site.run(&target);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("hypervisor::not-shown"), "{said}");
    site.node("mv /usr/sbin/pvenode.away /usr/sbin/pvenode");
    site.ok(&target);
    let shown = "openssl s_client -connect 127.0.0.1:8006 </dev/null 2>/dev/null \
                 | openssl x509 -noout -ext subjectAltName";
    assert!(site.node(shown).contains("DNS:pve.workshop.internal"));
    let again = site.json(&["plan", "--json", "--target", "hypervisor.certificate"]);
    assert_eq!(again["steps"].as_array().unwrap().len(), 0, "{again}");
    std::fs::remove_file(site.path().join("node.json")).unwrap();
    site.ok(&["apply"]);
    assert!(!site.node(shown).contains("pve.workshop.internal"));
}
