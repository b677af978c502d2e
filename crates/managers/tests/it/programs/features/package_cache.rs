//! The cache of packages, with the real apt-cacher-ng and the real apt, in front of mirrors of the test's own.

use std::process::Child;

use super::*;

/// A mirror that may be fetched from, and a server that may not, with something in it to be had.
const SERVERS: &str = "
mkdir -p /srv/mirror/debian/dists/x/main/binary-all /srv/mirror/other /srv/evil/debian
echo 'a package' >/srv/mirror/debian/a_1_all.deb
echo 'not to be had' | tee /srv/mirror/other/b_1_all.deb /srv/evil/debian/c_1_all.deb >/srv/evil/d_1_all.deb
cd /srv/mirror/debian/dists/x && : >main/binary-all/Packages
printf 'Origin: Debian\\nSuite: x\\nCodename: x\\nArchitectures: all amd64\\nComponents: main\\nDate: %s\\nSHA256:\\n %s 0 main/binary-all/Packages\\n' \
    \"$(date -Ru)\" \"$(sha256sum main/binary-all/Packages | cut -c 1-64)\" >Release
";

/// The cache's guest. What listens in it ends with it.
struct Cache {
    root: Root,
    parts: Vec<Child>,
}

fn cache(values: Value) -> Rendered {
    with(&built_in("package-cache"), values)
}

impl Cache {
    fn new() -> Option<Self> {
        let mut cache = Self { root: Root::new()?, parts: Vec::new() };
        cache.root.sh(SERVERS);
        for (folder, port) in [("mirror", 8001), ("evil", 8002)] {
            let line =
                format!("cd /srv/{folder} && exec python3 -m http.server {port} >/srv/{folder}.log 2>&1");
            cache.start(&line, port);
        }
        // What its package leaves to systemd.
        cache.root.sh("mkdir -p /run/apt-cacher-ng && chown apt-cacher-ng: /run/apt-cacher-ng");
        Some(cache)
    }

    /// Starts it as its unit does, and waits until it listens.
    fn start(&mut self, line: &str, port: u16) {
        self.parts.push(self.root.background(line));
        self.root.sh(&format!(
            "n=0; until ss -Hltn 'sport = :{port}' | grep -q .; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done"
        ));
    }

    fn serve(&mut self, port: u16) {
        let line = "exec setpriv --reuid=apt-cacher-ng --regid=apt-cacher-ng --clear-groups \
                    apt-cacher-ng -c /etc/apt-cacher-ng ForeGround=1";
        self.start(line, port);
    }

    /// The status of an answer through it, and what is in it.
    fn through(&self, url: &str) -> (String, String) {
        let said = self.root.sh(&format!(
            "curl -s -m 20 --noproxy '' --path-as-is -x http://127.0.0.1:3142 -o /tmp/got -w '%{{http_code}}%{{http_connect}}' '{url}' || true; \
             echo; cat /tmp/got 2>/dev/null; rm -f /tmp/got"
        ));
        let (status, text) = said.split_once('\n').unwrap();
        (status.to_owned(), text.to_owned())
    }
}

// The attack: somebody is root in a guest that reaches nothing but the cache, and wants out through it.
#[test]
fn nobody_gets_anywhere_through_it_but_to_the_mirrors() {
    let Some(mut cache_guest) = Cache::new() else { return };
    let settings = json!({ "mirrors": ["127.0.0.1:8001/debian"] });
    let root = &cache_guest.root;
    // Its health is asked before anything listens here: that is what fails, and all else is in place.
    let ran = root.run(&apply(&[Rendered { health: Vec::new(), ..cache(settings.clone()) }]));
    ran.ok();
    let again = root.run(&apply(&[Rendered { health: Vec::new(), ..cache(settings.clone()) }]));
    again.nothing_to_do();
    assert_eq!(root.sh("stat -c '%U:%G %a' /etc/apt-cacher-ng/phoenix.conf"), "root:apt-cacher-ng 640\n");
    cache_guest.serve(3142);
    let got = |url: &str| cache_guest.through(url);
    assert_eq!(got("http://127.0.0.1:8001/debian/a_1_all.deb"), ("200000".into(), "a package\n".into()));
    for url in [
        "http://127.0.0.1:8002/d_1_all.deb",
        "http://127.0.0.1:8002/debian/c_1_all.deb",
        "http://127.0.0.1:8001/other/b_1_all.deb",
        "http://127.0.0.1:8001/debian/../other/b_1_all.deb",
        "http://127.0.0.1:8001/debian/%2e%2e/other/b_1_all.deb",
        "http://127.0.0.1:8001/debianx/a_1_all.deb",
        "http://localhost:8002/d_1_all.deb",
        "http://127.0.0.1:3142/127.0.0.1:8002/d_1_all.deb",
        "http://127.0.0.1:3142/HTTPS///127.0.0.1:8002/d_1_all.deb",
        "http://127.0.0.1:3142/acng-doc/html/index.html",
        "https://127.0.0.1:8002/d_1_all.deb",
        "https://bugs.debian.org/",
    ] {
        let (status, text) = got(url);
        assert!(matches!(&*status, "403000" | "000403"), "{url}: {status} {text}");
        assert!(!text.contains("not to be had"), "{url}");
    }
    let root = &cache_guest.root;
    assert_eq!(root.sh("grep -c GET /srv/evil.log || true"), "0\n", "nobody came there");
    assert_eq!(root.sh("grep GET /srv/mirror.log | grep -vc ' /debian/a_1_all.deb ' || true"), "0\n");
    // Nor does it take orders from them; its own upkeep goes on.
    for order in ["doExpire=Start", "truncNow=1", "doDelete=1", "doMirror=Start", "doImport=Start"] {
        let status = root
            .sh(&format!("curl -s -m 20 --noproxy '*' -o /dev/null -w '%{{http_code}}' 'http://127.0.0.1:3142/acng-report.html?{order}'"));
        assert_eq!(status, "401", "{order}");
    }
    let unit = std::str::from_utf8(
        builtin().find(|(path, _)| *path == "package-cache/phoenix-package-cache.service").unwrap().1,
    )
    .unwrap();
    let upkeep = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    root.sh(&format!("setpriv --reuid=apt-cacher-ng --regid=apt-cacher-ng --init-groups {upkeep}"));
    assert_eq!(root.sh("ls /var/log/apt-cacher-ng | grep -c '^maint_'"), "1\n");
    // As it is found well.
    let ran = root.run(&apply(&[cache(settings)]));
    ran.nothing_to_do();
}

// A guest that has nothing but the cache installs from it; where it is down, that is said at once.
#[test]
fn a_guest_fetches_through_it_and_says_when_it_is_down() {
    let Some(mut cache_guest) = Cache::new() else { return };
    let settings = json!({ "mirrors": ["127.0.0.1:8001/debian"] });
    let root = &cache_guest.root;
    root.run(&apply(&[Rendered { health: Vec::new(), ..cache(settings) }])).ok();
    root.sh("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*; \
             echo 'deb [trusted=yes] http://127.0.0.1:8001/debian x main' >/etc/apt/sources.list");
    let told = [with(&built_in("base"), json!({ "package-cache": "http://127.0.0.1:3142" }))];
    root.run(&apply(&told)).ok();
    root.run(&apply(&told)).nothing_to_do();
    let update = "apt-get -o Acquire::Retries=0 -o APT::Update::Error-Mode=any update 2>&1";
    let began = std::time::Instant::now();
    let said = root.sh(&format!("{update} && exit 1; true"));
    assert!(said.contains("127.0.0.1:3142") && said.contains("onnect"), "{said}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(root.sh("grep -c GET /srv/mirror.log || true"), "0\n", "there is no way beside it");
    cache_guest.serve(3142);
    let root = &cache_guest.root;
    root.sh(update);
    assert_eq!(root.sh("grep -c 'GET /debian/dists/x/' /srv/mirror.log | grep -vx 0 | wc -l"), "1\n");
    // A source that it does not fetch from is refused with words, and at once.
    root.sh("echo 'deb [trusted=yes] http://127.0.0.1:8002/debian x main' >/etc/apt/sources.list");
    let said = root.sh(&format!("{update} && exit 1; true"));
    assert!(said.contains("403"), "{said}");
    // Without a cache the setting goes.
    root.run(&apply(&[with(&built_in("base"), json!({}))])).ok();
    assert_eq!(root.sh("ls /etc/apt/apt.conf.d | grep -c phoenix-cache || true"), "0\n");
}

#[test]
fn mirrors_are_beginnings_of_addresses() {
    for wrong in
        ["", "https://", "/debian", "http://deb.debian.org", "a b", "a;b", "a\nAllowUserPorts: 0", "ftp://x"]
    {
        let feature = built_in("package-cache");
        let refused = try_with(&feature, json!({ "mirrors": [wrong] }));
        assert!(
            refused.is_err_and(|e| e.to_string().contains("beginning of an address")),
            "{wrong:?} is taken"
        );
    }
    let made =
        cache(json!({ "mirrors": ["deb.debian.org/debian", "https://download.docker.com/linux/debian"] }));
    let file = made.files.iter().find(|file| file.path == "/etc/apt-cacher-ng/acng.conf").unwrap();
    let text = std::str::from_utf8(file.content.bytes()).unwrap();
    for line in [
        "Remap-phoenix1: deb.debian.org/debian ; http://deb.debian.org/debian\n",
        "Remap-phoenix2: download.docker.com/linux/debian ; https://download.docker.com/linux/debian\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
