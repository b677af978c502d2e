//! Troubles of real containers, one after the other: `trace` names the true cause of each, what it hints at mends it, and
//! then all is well again. How long each outage lasted is printed. One test, since it is one workshop.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failing test panics, and tells what it did"
)]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::{Site, lacking};
use serde_json::Value;

/// As the documentation promises, also when something hangs.
const LONGEST: Duration = Duration::from_secs(30);

const NOTES: &str = "notes.workshop.internal";

/// Asks a service all the time, as a browser would, and knows since when it does not answer.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Duration>>,
}

impl Watch {
    fn begin(site: &Site) -> Self {
        let root = site.path().join("root.pem");
        std::fs::write(&root, site.ok(&["certs", "root"])).unwrap();
        let port = site.ports[2];
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut out = Duration::ZERO;
            let mut last = Instant::now();
            loop {
                let answers = Command::new("curl")
                    .args(["-sf", "-o", "/dev/null", "--max-time", "2", "--cacert"])
                    .arg(&root)
                    .args([
                        "--resolve",
                        &format!("{NOTES}:{port}:127.0.0.1"),
                        &format!("https://{NOTES}:{port}/"),
                    ])
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success());
                if !answers {
                    out += last.elapsed();
                } else if told.load(Ordering::Relaxed) {
                    return out;
                }
                last = Instant::now();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Waits until it answers again.
    fn end(mut self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        let thread = self.thread.take().unwrap();
        while !thread.is_finished() {
            assert!(begin.elapsed() < Duration::from_secs(60), "after {what} it does not answer again");
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("outage of {what} lasted {:.1} s", thread.join().unwrap().as_secs_f64());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What `trace` says, and how long it took.
fn trace(site: &Site, args: &[&str]) -> (Option<i32>, Value) {
    let begin = Instant::now();
    let output = site.run(&[&["trace", NOTES, "--json"], args].concat());
    assert!(begin.elapsed() < LONGEST, "trace took {:?}", begin.elapsed());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// All is well from everywhere.
fn well(site: &Site) {
    // Units need a moment after a start.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, said) = trace(site, &[]);
        if code == Some(0) {
            assert_eq!(said["ok"], true, "{said:#}");
            let from: Vec<&str> =
                said["walks"].as_array().unwrap().iter().map(|w| w["from"].as_str().unwrap()).collect();
            assert_eq!(from, ["outside", "container.gateway", "container.status"]);
            return;
        }
        assert!(Instant::now() < until, "{said:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The hop that is not well.
fn finding(walk: &Value) -> &Value {
    let hops = walk["hops"].as_array().unwrap();
    hops.iter().find(|hop| hop["ok"] == false).unwrap_or_else(|| panic!("all is well: {walk:#}"))
}

/// The trouble is seen from `from`, at this hop, with this code.
#[track_caller]
fn seen(site: &Site, from: &str, hop: &str, code: &str) -> Value {
    let (exit, said) = trace(site, &["--from", from]);
    let found = finding(&said["walks"][0]).clone();
    assert_eq!(
        (exit, found["code"].as_str(), found["hop"].as_str()),
        (Some(1), Some(code), Some(hop)),
        "{said:#}"
    );
    for key in ["cause", "hint", "seen"] {
        assert!(!found[key].as_str().unwrap().is_empty(), "{found:#}");
    }
    found
}

/// Does what a hint says, word for word.
fn follow(site: &Site, found: &Value) {
    let hint = found["hint"].as_str().unwrap();
    let typed = hint.replace(
        "phoenix-cli",
        &format!("{} --site {}", env!("CARGO_BIN_EXE_phoenix-cli"), site.path().display()),
    );
    println!("$ {hint}");
    let output = Command::new("sh").args(["-c", &typed]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{hint}: {}{said}", String::from_utf8_lossy(&output.stdout));
}

fn inside(site: &Site, guest: &str, script: &str) {
    site.ok(&["exec", guest, "--", "sh", "-c", script]);
}

/// A certificate for notes by the site's own intermediate, over since a day ago, as shell commands that put it in place.
fn expired(site: &Site) -> String {
    let authority = site.path().join(".phoenix/secrets/authority");
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let file = |name: &str| authority.join(name).to_str().unwrap().to_owned();
    let settings = "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n\
                    unique_subject=no\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:notes.workshop.internal\nextendedKeyUsage=serverAuth\n";
    std::fs::write(folder.path().join("ca.cnf"), settings).unwrap();
    std::fs::write(folder.path().join("index"), "").unwrap();
    std::fs::write(folder.path().join("serial"), "4242\n").unwrap();
    run(&[
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key.pem",
        "-subj",
        "/CN=notes.workshop.internal",
        "-out",
        "request",
    ]);
    let day = |days: i64| {
        let output = Command::new("date")
            .args(["-u", "-d", &format!("{days} days"), "+%y%m%d%H%M%SZ"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    // Begun before the authority itself did: that is over, too, and no matter.
    run(&[
        "ca",
        "-batch",
        "-config",
        "ca.cnf",
        "-in",
        "request",
        "-out",
        "leaf.pem",
        "-notext",
        "-cert",
        &file("intermediate.crt"),
        "-keyfile",
        &file("intermediate.key"),
        "-startdate",
        &day(-2),
        "-enddate",
        &day(-1),
    ]);
    let chain = format!("{}{}", read("leaf.pem"), std::fs::read_to_string(file("intermediate.crt")).unwrap());
    format!(
        "cd /etc/phoenix/certificates/notes && printf '%s' '{}' > key.pem && printf '%s' '{chain}' > fullchain.pem && systemctl reload nginx",
        read("key.pem")
    )
}

#[test]
fn troubles_are_called_by_their_names() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::up();
    site.ok(&["apply"]);
    println!("real containers: troubles_are_called_by_their_names");
    well(&site);
    let health = site.json(&["health", "--json"]);
    assert_eq!(health["ok"], true, "{health:#}");
    let groups: Vec<&str> =
        health["checks"].as_array().unwrap().iter().map(|c| c["group"].as_str().unwrap()).collect();
    assert_eq!(groups, ["guest", "guest", "guest", "service", "service", "certificate", "certificate"]);
    site.ok(&["doctor"]);
    let journal = site.ok(&["logs", "notes", "--unit", "nginx", "--lines", "3"]);
    assert!(journal.contains("nginx") && journal.lines().count() <= 3, "{journal}");

    // A name that nothing has ends where it is asked for.
    let unknown = site.run(&["trace", "nots.workshop.internal", "--json"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("trace::no-such-name"));

    let watch = Watch::begin(&site);
    inside(&site, "notes", "systemctl stop nginx");
    let found = seen(&site, "outside", "tcp", "trace::unit-stopped");
    assert_eq!(found["place"], "container.gateway");
    assert!(found["seen"].as_str().unwrap().contains("10.0.0.120:80 connection refused"), "{found}");
    seen(&site, "status", "tcp", "trace::unit-stopped");
    let health = site.run(&["health", "--prometheus"]);
    assert_eq!(health.status.code(), Some(1));
    let page = String::from_utf8(health.stdout).unwrap();
    assert!(
        page.contains("phoenix_guest_up{guest=\"notes\"} 1\n")
            && page.contains("phoenix_service_up{service=\"notes\"} 0\n"),
        "{page}"
    );
    follow(&site, &found);
    watch.end("a backend's stopped Nginx");
    well(&site);

    let watch = Watch::begin(&site);
    inside(&site, "notes", "echo 'nonsense;' > /etc/nginx/conf.d/x.conf; ! systemctl restart nginx");
    let found = seen(&site, "outside", "tcp", "trace::unit-failed");
    assert!(
        found["cause"]
            .as_str()
            .unwrap()
            .contains("unknown directive \"nonsense\" in /etc/nginx/conf.d/x.conf:1"),
        "{found}"
    );
    inside(&site, "notes", "rm /etc/nginx/conf.d/x.conf; systemctl restart nginx");
    watch.end("a backend's broken configuration");
    well(&site);

    let watch = Watch::begin(&site);
    site.node("pct stop 120");
    let found = seen(&site, "gateway", "tcp", "trace::guest-stopped");
    follow(&site, &found);
    watch.end("a stopped backend");
    well(&site);

    // Two things at once: the wire comes first, and the other is listed. No firewall is blamed.
    let watch = Watch::begin(&site);
    inside(&site, "notes", "systemctl stop nginx; ip link set eth0 down");
    let found = seen(&site, "outside", "link", "trace::link-down");
    assert_eq!(found["also"][0]["code"], "trace::unit-stopped", "{found:#}");
    let (_, said) = trace(&site, &[]);
    let causes: Vec<&str> =
        said["verdict"]["causes"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap()).collect();
    assert_eq!(
        (said["verdict"]["state"].as_str(), causes),
        (Some("broken"), vec!["trace::link-down", "trace::unit-stopped"])
    );
    site.node("pct reboot 120");
    watch.end("a backend whose network device is off and whose Nginx is stopped");
    well(&site);

    // A guest that somebody made with the address of another: whoever answers is named.
    site.node(
        "pct create 900 local:vztmpl/$(ls /var/lib/vz/template/cache | head -1) --hostname stray --rootfs local:1 --memory 128 \
         --net0 name=eth0,bridge=vmbr0,ip=10.0.0.120/24,gw=10.0.0.1 && pct start 900",
    );
    // Both answer, and the gateway takes either.
    let mut tries = 0;
    let found = loop {
        inside(&site, "gateway", "ip neigh flush all");
        let (_, said) = trace(&site, &["--from", "outside"]);
        let cause = said["verdict"]["causes"][0].clone();
        tries += 1;
        if cause["code"] == "trace::address-taken" || tries == 30 {
            break cause;
        }
    };
    assert_eq!(found["code"], "trace::address-taken");
    assert!(found["cause"].as_str().unwrap().ends_with("that is the container 900 (stray)"), "{found}");
    site.node("pct stop 900; pct destroy 900");
    inside(&site, "gateway", "ip neigh flush all");
    well(&site);

    // Nothing in it goes on, and nothing that is asked comes to an end: not even then it takes longer.
    let watch = Watch::begin(&site);
    site.node("lxc-freeze -n 120");
    seen(&site, "outside", "http", "trace::guest-hangs");
    site.node("lxc-unfreeze -n 120");
    watch.end("a frozen backend");
    well(&site);

    let watch = Watch::begin(&site);
    inside(&site, "gateway", "systemctl stop nginx");
    let found = seen(&site, "outside", "tcp", "trace::unit-stopped");
    assert_eq!(found["place"], "outside");
    seen(&site, "status", "tcp", "trace::unit-stopped");
    site.ok(&["apply", "--again", "--target", "service.notes"]);
    watch.end("the gateway's stopped Nginx");
    well(&site);

    // P-42, P-46: certificates.
    let watch = Watch::begin(&site);
    inside(&site, "gateway", "rm /etc/phoenix/certificates/notes/*");
    let found = seen(&site, "outside", "tls", "trace::certificate-missing");
    assert_eq!(found["state"], "weak", "it is served from memory: {found}");
    inside(&site, "gateway", "systemctl reload nginx");
    let found = seen(&site, "status", "tls", "trace::certificate-missing");
    assert_eq!(found["state"], "broken", "{found}");
    follow(&site, &found);
    watch.end("a deleted certificate");
    well(&site);

    let watch = Watch::begin(&site);
    inside(
        &site,
        "gateway",
        "cd /etc/phoenix/certificates && for f in fullchain.pem key.pem; do cat status/$f >notes/$f; done && systemctl reload nginx",
    );
    let found = seen(&site, "outside", "tls", "trace::certificate-names");
    assert!(found["cause"].as_str().unwrap().contains("certificate.status in its place"), "{found}");
    follow(&site, &found);
    watch.end("a swapped certificate");
    well(&site);

    let watch = Watch::begin(&site);
    inside(&site, "gateway", &expired(&site));
    let found = seen(&site, "outside", "tls", "trace::certificate-expired");
    follow(&site, &found);
    watch.end("an expired certificate");
    well(&site);

    // S-15: one bad site is put aside, and the others serve.
    let watch = Watch::begin(&site);
    inside(&site, "gateway", "echo 'garbage {' > /etc/nginx/phoenix.d/notes.conf; systemctl reload nginx");
    let found = seen(&site, "outside", "tls", "trace::site-aside");
    assert!(found["cause"].as_str().unwrap().contains("unknown directive \"garbage\""), "{found}");
    assert_eq!(site.fetch("status.workshop.internal").0, "200");
    follow(&site, &found);
    watch.end("a broken site file");
    well(&site);

    // Only one guest is told otherwise.
    inside(&site, "status", "sed -i '1i 10.0.0.121 notes.workshop.internal' /etc/hosts");
    let (_, said) = trace(&site, &["--from", "outside"]);
    assert_eq!(said["ok"], true, "{said:#}");
    let found = seen(&site, "status", "dns", "trace::dns-wrong");
    assert!(found["cause"].as_str().unwrap().contains("line 1 of /etc/hosts"), "{found}");
    follow(&site, &found);
    well(&site);

    // Somebody else has the port, and even answers.
    let watch = Watch::begin(&site);
    inside(
        &site,
        "notes",
        "systemctl stop nginx; (perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die; \
         while ($c = $s->accept) { sysread $c, $x, 4096; print $c \"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nme\"; close $c }' >/dev/null 2>&1 &); \
         sleep 1; ! systemctl start nginx",
    );
    let found = seen(&site, "outside", "service", "trace::port-taken");
    assert!(found["cause"].as_str().unwrap().contains("port 80 is taken by perl"), "{found}");
    follow(&site, &found);
    watch.end("a taken port, which another program answered at,");
    well(&site);

    inside(
        &site,
        "notes",
        "fallocate -l $(($(df -Pk / | sed -n '2s/ *[^ ]* *[^ ]* *[^ ]* *\\([0-9]*\\).*/\\1/p') * 1024)) /full || dd if=/dev/zero of=/full bs=1M; df -P /",
    );
    let found = seen(&site, "outside", "service", "trace::disk-full");
    assert_eq!(found["state"], "weak", "{found}");
    inside(&site, "notes", "rm /full");
    well(&site);
}
