//! A request gets through, and keeps getting through: the whole workshop of `examples/workshop` in a lab of its own, with
//! a real authority, name server, gateway and mesh; then one trouble after the other, while a client goes on asking. One
//! test, since bringing it up takes minutes and each part needs the others.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a failing test panics, and tells what it did")]

mod book;
mod node;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::support::{Site, lacking, wait_for};
use serde_json::Value;

/// How long certificates live here. Ten minutes do as well, and take twice the time.
fn life() -> String {
    std::env::var("PHOENIX_TEST_LIFE").unwrap_or_else(|_| "5m".to_owned())
}

const CERTIFICATES: &str = "/usr/local/lib/phoenix/certificates";

#[test]
fn a_request_gets_through_and_keeps_getting_through() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::of_example("workshop");
    site.edit("site.json", r#""life": "1d""#, &format!(r#""life": "{}""#, life()));
    site.lab_up();
    let begin = Instant::now();
    site.ok(&["apply"]);
    println!("from nothing to six services: {:.0} s", begin.elapsed().as_secs_f64());
    println!("real containers: a_request_gets_through_and_keeps_getting_through");

    everything_answers(&site);
    let own = node::shows_the_workshops(&site);
    answers_come_as_they_are_made(&site);
    nothing_listens_in_the_clear(&site);
    only_flows_pass(&site);
    // P-79, I-2: the second apply has nothing to do.
    let plan = site.json(&["plan", "--json"]);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 0, "{plan}");

    // From here on a client asks again and again, while certificates renew by themselves. What is asked for by hand below are
    // others than the one it is shown.
    let before = renewals(&site, "gateway", "notes");
    let client = Client::start(&site);
    let yesterday = kept(&site, "vault", 121);
    rules_are_not_as_they_were(&site);
    names_go(&site);
    authority_goes(&site);
    book::is_true(&site);
    authority_has_no_room(&site);
    authority_is_damaged(&site);
    mesh_is_told_nonsense(&site);
    authority_is_rebuilt(&site);
    yesterday_comes_back(&site, &yesterday);
    clock_is_ahead(&site);
    let three = || renewals(&site, "gateway", "notes") >= before + 3;
    wait_for("three renewals", Duration::from_mins(25), three);
    println!("{} renewals of notes by itself", renewals(&site, "gateway", "notes") - before);
    client.end();
    node::renews_by_itself(&site, &own);
    // After all of it, there is nothing to do.
    let plan = site.json(&["plan", "--json"]);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 0, "{plan}");

    node::gets_its_own_back(&site);

    site.lab_down_leaves_nothing();
}

/// Every service, from outside and from inside, verified against the workshop's root alone. P-51: whoever knows the
/// gateway's address asks for the name all the same.
fn everything_answers(site: &Site) {
    assert_eq!(site.status("notes.workshop.internal", "/", &[]), "200");
    assert_eq!(site.status("chat.workshop.internal", "/health", &[]), "200");
    // The vault asks who it is; its guest takes nobody but the gateway, which shows a certificate.
    assert_eq!(site.status("vault.workshop.internal", "/", &[]), "401");
    assert_eq!(vault(site), "200");
    assert_eq!(site.status("vault.workshop.internal", "/", &["-u", "keeper:wrong"]), "401");
    let (_, refused) = site.status_inside("gateway", "https://vault.guest.workshop.internal:8443/");
    assert_eq!(refused, "400", "nobody gets to the vault's guest without a certificate");
    // On the mesh, for those inside alone.
    for (from, url) in [
        ("assistant", "https://figures.workshop.internal/metrics"),
        ("data", "https://embed.workshop.internal/health"),
        ("vault", "https://notes.workshop.internal/"),
    ] {
        assert_eq!(site.status_inside(from, url), (true, "200".to_owned()), "{url} from {from}");
    }
    assert_eq!(site.status("figures.workshop.internal", "/metrics", &[]), "000", "the mesh is not outside");
    // TCP through the gateway, TLS ended there, checked by name.
    let ask = "(printf 'PING\\r\\n'; sleep 1) | timeout 5 openssl s_client -quiet -verify_return_error -verify_hostname \
               cache.workshop.internal -connect cache.workshop.internal:6379 2>/dev/null | head -c 7";
    let (_, said) = site.inside("notes", ask);
    assert_eq!(said, "-NOAUTH", "Redis answers, and asks for its password");
    for service in ["notes", "vault", "chat", "embed", "cache", "figures"] {
        site.ok(&["trace", service]);
    }
}

/// What the vault answers to whoever has its password: the gateway asks for that, so without it the guest is not asked.
fn vault(site: &Site) -> String {
    let password =
        std::fs::read_to_string(site.path().join(".phoenix/secrets/generated/vault-keeper")).unwrap();
    let login = format!("keeper:{}", password.trim());
    site.status("vault.workshop.internal", "/", &["-u", &login])
}

/// Long answers are passed on word by word, not when they are complete.
fn answers_come_as_they_are_made(site: &Site) {
    let mut child = site
        .curl("chat.workshop.internal", "/stream?words=10&pause=0.3", &["-N"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let times: Vec<Duration> = lines.filter(|l| l.starts_with("data: ")).map(|_| begin.elapsed()).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(times.len(), 10);
    let spread = times[9] - times[0];
    assert!(spread > Duration::from_millis(1800), "all words came within {spread:?}: they were held back");
}

/// Nothing listens without TLS but what is declared so: pages behind the gateway, TCP behind it, names, the way to HTTPS.
fn nothing_listens_in_the_clear(site: &Site) {
    let declared: BTreeSet<(&str, u16)> =
        [("notes", 80), ("data", 6379), ("dns", 53), ("gateway", 80)].into();
    for guest in ["ca", "dns", "gateway", "mesh", "notes", "vault", "assistant", "data"] {
        let listening =
            "ss -Hltn | awk '{ print $4 }' | grep -v -e '^127\\.' -e '^\\[::1\\]' | sed 's/.*://' | sort -un";
        let (_, ports) = site.inside(guest, listening);
        // ssh, where the template brings it, has an encryption of its own.
        for port in ports.lines().map(|p| p.parse::<u16>().unwrap()).filter(|port| *port != 22) {
            let line = format!(
                "echo | timeout 5 openssl s_client -connect $(hostname -I | cut -d ' ' -f 1):{port} -servername x 2>&1"
            );
            let (_, said) = site.inside(guest, &line);
            // Somebody who refuses the name, or the client, speaks TLS, too.
            let tls =
                said.contains("BEGIN CERTIFICATE") || said.contains("SSL alert") || said.contains("tlsv1");
            assert!(tls || declared.contains(&(guest, port)), "{guest}:{port} listens without TLS: {said}");
        }
    }
}

/// What comes of a connection to another guest's port: `0` it is taken, `1` refused, `124` nobody answers.
fn connecting(site: &Site, from: &str, to: &str, port: u16) -> String {
    let line = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{to}/{port}' 2>/dev/null; echo $?");
    site.inside(from, &line).1
}

fn connects(site: &Site, from: &str, to: &str, port: u16) -> bool {
    connecting(site, from, to, port) == "0"
}

/// I-6, P-59, P-73: a packet that no flow allows is dropped, on whichever way.
fn only_flows_pass(site: &Site) {
    assert!(connects(site, "assistant", "10.0.0.123", 6379), "its `needs` are a flow");
    assert!(connects(site, "gateway", "10.0.0.122", 8000), "so is what the gateway passes on");
    for (from, to, port, what) in [
        ("notes", "10.0.0.123", 6379, "a guest, past the gateway, to a cache"),
        ("vault", "10.0.0.122", 8000, "a guest, past the gateway, to a service"),
        ("notes", "10.0.0.121", 8443, "a guest to one that asks for certificates"),
        ("data", "10.0.0.122", 8001, "a guest, past the mesh, to a service"),
        ("gateway", "10.0.0.120", 22, "the gateway to a port that is not its business"),
        ("notes", "10.0.0.254", 8006, "a guest to the node's own interface"),
    ] {
        assert_eq!(connecting(site, from, to, port), "124", "{what}");
    }
}

/// All codes in what a command printed.
fn codes(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(code)) = map.get("code") {
                found.push(code.clone());
            }
            map.values().for_each(|v| codes(v, found));
        }
        Value::Array(all) => all.iter().for_each(|v| codes(v, found)),
        _ => {}
    }
}

/// The causes that `trace` names for a service.
fn causes(site: &Site, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    codes(&site.json(&["trace", name, "--json"]), &mut found);
    found
}

/// Mends what can be mended, and tells how long it was broken.
fn mended(site: &Site, what: &str, since: Instant, well: impl FnMut() -> bool) {
    site.ok(&["apply"]);
    wait_for(what, Duration::from_secs(60), well);
    println!("outage of {what} lasted {:.1} s", since.elapsed().as_secs_f64());
}

/// One rule too few, which the next apply puts back; and one too many, which is somebody's own, and which `trace` names.
fn rules_are_not_as_they_were(site: &Site) {
    let file = "/etc/pve/firewall/122.fw";
    // The files are read again every few seconds.
    let passes = |wanted: bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while connects(site, "gateway", "10.0.0.122", 8000) != wanted {
            assert!(Instant::now() < end, "still {}", if wanted { "dropped" } else { "let through" });
        }
    };
    let begin = Instant::now();
    site.node(&format!("sed -i '/:service.chat/d' {file}"));
    passes(false);
    let found = causes(site, "chat");
    assert!(found.contains(&"trace::rule-missing".to_owned()), "{found:?}");
    mended(site, "chat, for want of a rule", begin, || connects(site, "gateway", "10.0.0.122", 8000));

    let begin = Instant::now();
    site.node(&format!("sed -i 's/^\\[RULES\\]$/&\\nIN DROP -p tcp -dport 8000/' {file}"));
    passes(false);
    let found = causes(site, "chat");
    assert!(found.contains(&"trace::rule-drops".to_owned()), "{found:?}");
    assert_eq!(site.status("vault.workshop.internal", "/", &[]), "401", "the rest keeps answering");
    site.node(&format!("sed -i '/^IN DROP -p tcp -dport 8000$/d' {file}"));
    passes(true);
    println!("outage of chat, for a rule too many, lasted {:.1} s", begin.elapsed().as_secs_f64());
    assert_eq!(causes(site, "chat"), Vec::<String>::new());
}

/// The name server is switched off: what has an address goes on, and `trace` says who does not answer.
fn names_go(site: &Site) {
    let begin = Instant::now();
    site.node("pct stop 104");
    assert_eq!(site.status("notes.workshop.internal", "/", &[]), "200", "the gateway needs no names");
    let found = causes(site, "notes");
    assert!(found.iter().any(|code| code.starts_with("trace::dns")), "{found:?}");
    // Certificates renew without it: the authority's address is known to each guest.
    let (fine, said) = site.inside("gateway", &format!("{CERTIFICATES} renew --force chat"));
    assert!(fine, "{said}");
    let asks = || site.inside("vault", "getent hosts notes.workshop.internal").0;
    mended(site, "the name server", begin, asks);
    assert_eq!(causes(site, "notes"), Vec::<String>::new());
}

/// The authority is stopped: everything goes on, what is due waits, and is had when it is back (S-13, S-14).
fn authority_goes(site: &Site) {
    let begin = Instant::now();
    let before = serial(site, "gateway", "chat");
    site.node("pct stop 103");
    let (fine, said) = site.inside("gateway", &format!("{CERTIFICATES} renew --force chat"));
    assert!(!fine, "there was nobody to sign: {said}");
    assert_eq!(site.status("chat.workshop.internal", "/health", &[]), "200");
    assert_eq!(serial(site, "gateway", "chat"), before, "the old one stays");
    let renewed = || site.inside("gateway", &format!("{CERTIFICATES} renew --force chat")).0;
    mended(site, "the authority", begin, renewed);
    assert_ne!(serial(site, "gateway", "chat"), before);
}

/// Its disk runs full: it stops before anything is lost, says so, and starts again by itself when there is room (S-16).
fn authority_has_no_room(site: &Site) {
    let begin = Instant::now();
    let fill = "avail=$(df -Pk /var/lib/step-ca | sed -n '2p' | awk '{ print $4 }'); fallocate -l $((avail - 4096))k /var/lib/full || \
                dd if=/dev/zero of=/var/lib/full bs=1M count=$((avail / 1024 - 4)) 2>/dev/null; df -P /var/lib/step-ca";
    let (fine, said) = site.inside("ca", fill);
    assert!(fine, "{said}");
    let stopped = || site.inside("ca", "systemctl is-active step-ca").1 == "inactive";
    wait_for("the guard of the authority's disk", Duration::from_secs(150), stopped);
    let found = causes(site, "ca.workshop.internal");
    assert!(found.contains(&"trace::disk-full".to_owned()), "{found:?}");
    assert_eq!(site.status("chat.workshop.internal", "/health", &[]), "200");
    site.inside("ca", "rm /var/lib/full");
    let signs = || site.inside("gateway", &format!("{CERTIFICATES} renew --force chat")).0;
    wait_for("the authority, with room again", Duration::from_secs(150), signs);
    println!("outage of the authority without room lasted {:.1} s", begin.elapsed().as_secs_f64());
}

/// Its database is damaged: it is set aside, and what was signed before renews (S-17).
fn authority_is_damaged(site: &Site) {
    let begin = Instant::now();
    let damage = "systemctl stop step-ca; find /var/lib/step-ca -type f -size +0 | while read -r file; do \
                  head -c \"$(stat -c %s \"$file\")\" /dev/urandom >/tmp/x && cat /tmp/x >\"$file\"; done; systemctl start step-ca; true";
    site.inside("ca", damage);
    let signs = || site.inside("gateway", &format!("{CERTIFICATES} renew --force chat")).0;
    mended(site, "the authority with a damaged database", begin, signs);
    assert_eq!(causes(site, "ca.workshop.internal"), Vec::<String>::new());
}

/// Traefik is given a route it refuses: the others serve on, and the next apply takes it away.
fn mesh_is_told_nonsense(site: &Site) {
    let begin = Instant::now();
    let nonsense = "printf 'http:\\n  routers:\\n    x: { rool: nonsense }\\n' >/etc/traefik/dynamic/nonsense.yml; systemctl reload traefik; true";
    site.inside("mesh", nonsense);
    let answers = || site.status_inside("assistant", "https://figures.workshop.internal/metrics").1 == "200";
    assert!(answers(), "the other routes serve on");
    mended(site, "one route of the mesh", begin, answers);
}

/// The authority is destroyed and rebuilt: another key under the same root. What was signed before still verifies, and
/// everybody renews.
fn authority_is_rebuilt(site: &Site) {
    let begin = Instant::now();
    let root = site.ok(&["certs", "root"]);
    let issuer = |guest: &str| {
        let line = "openssl x509 -noout -issuer -in /etc/phoenix/certificates/chat/fullchain.pem";
        site.inside(guest, line).1
    };
    let before = issuer("gateway");
    site.node("pct stop 103 && pct destroy 103");
    assert_eq!(site.status("notes.workshop.internal", "/", &[]), "200");
    let renewed = || site.inside("gateway", &format!("{CERTIFICATES} renew --force chat")).0;
    mended(site, "the authority, destroyed", begin, renewed);
    assert_eq!(site.ok(&["certs", "root"]), root, "no client has to trust anew");
    assert_ne!(issuer("gateway"), before, "another key signs");
    assert_eq!(site.status("notes.workshop.internal", "/", &[]), "200");
}

/// A guest as it was: its disk, and its configuration, as a backup of Proxmox VE holds both.
struct Kept {
    id: u32,
    image: std::path::PathBuf,
    config: String,
}

fn image(site: &Site, id: u32) -> std::path::PathBuf {
    site.path().join(format!(".phoenix/lab/images/{id}/vm-{id}-disk-0.raw"))
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = std::process::Command::new("cp").arg("--sparse=always").args([from, to]).status();
    assert!(status.unwrap().success());
}

/// Backs a guest up, while it is stopped.
fn kept(site: &Site, name: &str, id: u32) -> Kept {
    site.node(&format!("pct stop {id}"));
    let kept = Kept {
        id,
        image: site.path().join("yesterday.raw"),
        config: site.node(&format!("cat /etc/pve/lxc/{id}.conf")),
    };
    copy(&image(site, id), &kept.image);
    site.node(&format!("pct start {id}"));
    wait_for(name, Duration::from_secs(60), || vault(site) == "200");
    kept
}

/// A guest is restored from a backup: its certificates are over, and signed by a key that is no more. It enrols again by
/// itself; what was changed since, the next apply changes again.
fn yesterday_comes_back(site: &Site, kept: &Kept) {
    site.edit("pages/vault/index.html", "<body>", "<body><!-- of today -->");
    site.ok(&["apply"]);
    let id = kept.id;
    let over = "openssl x509 -checkend 0 -noout -in /etc/phoenix/certificates/vault.guest/fullchain.pem";
    let begin = Instant::now();
    site.node(&format!("pct stop {id}"));
    copy(&kept.image, &image(site, id));
    let config = &kept.config;
    site.node(&format!("cat >/etc/pve/lxc/{id}.conf <<'END'\n{config}END\npct start {id}"));
    println!("what it shows has run out: {}", !site.inside("vault", over).0);
    wait_for("the guest of yesterday, by itself", Duration::from_secs(180), || vault(site) == "200");
    println!("outage of a guest restored from yesterday lasted {:.1} s", begin.elapsed().as_secs_f64());
    let page = |site: &Site| site.inside("vault", "cat /srv/site/index.html").1;
    assert!(!page(site).contains("of today"), "it is of yesterday");
    let plan = site.json(&["plan", "--json"]);
    let steps: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap()).collect();
    assert!(steps.contains(&"feature.static-site@container.vault"), "{steps:?}");
    site.ok(&["apply"]);
    assert!(page(site).contains("of today"));
    assert_eq!(causes(site, "vault"), Vec::<String>::new());
}

/// A clock that is an hour ahead takes every certificate for expired. All containers have the kernel's clock, so only what
/// one guest's programs are told is moved, by this machine's libfaketime; `trace` says that it is the clock, and not the
/// certificate.
fn clock_is_ahead(site: &Site) {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let Some(library) =
        libraries.map(|p| p.join("faketime/libfaketime.so.1")).find_map(|p| std::fs::File::open(p).ok())
    else {
        println!("skipped: libfaketime is not installed");
        return;
    };
    let begin = Instant::now();
    let ahead = "cat >/usr/local/lib/faketime.so && printf '+1h\n' >/etc/faketimerc && \
                 echo /usr/local/lib/faketime.so >/etc/ld.so.preload";
    let given = site.on_node_reading(&format!("pct exec 122 -- sh -c \"{ahead}\""), library);
    assert!(given.status.success(), "{}", String::from_utf8_lossy(&given.stderr));
    let (_, clock) = site.inside("assistant", "date +%s");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((3500..3700).contains(&(clock.parse::<u64>().unwrap() - now)), "{clock} there, {now} here");
    let said = site.json(&["trace", "figures", "--from", "assistant", "--json"]);
    let mut found = Vec::new();
    codes(&said, &mut found);
    assert!(found.contains(&"trace::clock".to_owned()), "{said:#}");
    assert_eq!(site.status("notes.workshop.internal", "/", &[]), "200");
    site.inside("assistant", "rm /etc/ld.so.preload /etc/faketimerc /usr/local/lib/faketime.so");
    println!("outage of a clock an hour ahead lasted {:.1} s", begin.elapsed().as_secs_f64());
    // What was renewed meanwhile could not be seen to be served; the next look at it, a minute later at most, mends that.
    let calm = || causes(site, "figures").is_empty();
    wait_for("the way to figures to be as it was", Duration::from_secs(90), calm);
}

/// The serial number of a guest's certificate on disk.
fn serial(site: &Site, guest: &str, name: &str) -> String {
    let line = format!("openssl x509 -noout -serial -in /etc/phoenix/certificates/{name}/fullchain.pem");
    let (fine, said) = site.inside(guest, &line);
    assert!(fine, "{said}");
    said
}

/// How often a guest's timer has got a certificate, as its journal says: what somebody asked for by hand is not in there.
fn renewals(site: &Site, guest: &str, name: &str) -> usize {
    let line = format!("journalctl -u phoenix-certificates -o cat --no-pager | grep -c '^{name}: serial '");
    site.inside(guest, &line).1.parse().unwrap()
}

/// Asks again and again; not one answer may be missing, whatever happens to others. A connection that Nginx closes at a
/// reload before it took the request is opened again, once, as clients of HTTP/2 do by themselves and curl does not
/// (RFC 9113, 6.8); how often is told.
struct Client {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    again: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<Vec<String>>,
}

/// curl's exit status for an error in the framing of HTTP/2.
const FRAMING: i32 = 16;

impl Client {
    fn start(site: &Site) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (port, root) = (site.ports[2], site.root());
        let again = Arc::new(AtomicUsize::new(0));
        let (stopped, count, repeated) = (stop.clone(), asked.clone(), again.clone());
        let thread = std::thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let name = "notes.workshop.internal";
                let ask = || {
                    std::process::Command::new("curl")
                        .args([
                            "-sS",
                            "--noproxy",
                            "*",
                            "--max-time",
                            "10",
                            "-o",
                            "/dev/null",
                            "-w",
                            "%{http_code}",
                        ])
                        .arg("--cacert")
                        .arg(&root)
                        .args([
                            "--resolve",
                            &format!("{name}:{port}:127.0.0.1"),
                            &format!("https://{name}:{port}/"),
                        ])
                        .output()
                        .unwrap()
                };
                let mut output = ask();
                if output.status.code() == Some(FRAMING) {
                    repeated.fetch_add(1, Ordering::Relaxed);
                    output = ask();
                }
                count.fetch_add(1, Ordering::Relaxed);
                if output.stdout != b"200" {
                    let errors = String::from_utf8_lossy(&output.stderr);
                    failed.push(format!("{} {errors}", String::from_utf8_lossy(&output.stdout)));
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            failed
        });
        Self { stop, asked, again, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.join().unwrap();
        println!(
            "{} requests meanwhile, {} sent again, {} failed",
            self.asked.load(Ordering::Relaxed),
            self.again.load(Ordering::Relaxed),
            failed.len()
        );
        assert_eq!(failed, Vec::<String>::new());
    }
}
