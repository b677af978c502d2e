//! A workshop on which everything is well, to be made worse.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use managers::trace::declared::Need;
use managers::trace::diagnose::{Holder, World, needs_upstream, walk};
use managers::trace::leg::{Http, Leg, Names, Tcp, Tls};
use managers::trace::log::ProxyLog;
use managers::trace::look::{Look, Seen};
use managers::trace::neighbour::Neighbour;
use managers::trace::question::Reply;
use managers::trace::rules::Rules;
use managers::trace::{Declared, Finding, Hop, Path, State, Vantage, Walk, path};
use plan::Desired;

use crate::support::{Files, SITE, now, read};

/// The first workshop.
pub const GUESTS: &str = r#"{
  "types": { "small": { "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G" } },
  "containers": {
    "gateway": { "id": 101, "type": "small", "address": "10.0.0.153", "features": ["nginx-gateway"] },
    "notes": { "id": 120, "type": "small", "address": "10.0.0.120", "features": [{ "static-site": { "root": "pages/" } }],
               "services": { "notes": { "port": 80, "expose": "gateway" } } },
    "status": { "id": 121, "type": "small", "address": "10.0.0.121", "features": [{ "static-site": { "root": "pages/" } }],
                "services": { "status": { "port": 80, "expose": "gateway" } } }
  }
}"#;

/// The site's file with another part in it.
pub fn site_with(part: &str) -> String {
    format!("{}, {part} }}", SITE.trim_end().trim_end_matches('}'))
}

pub struct Bench {
    pub desired: Desired,
    pub authority: Arc<pki::Authority>,
    pub now: Timestamp,
    pub looks: BTreeMap<String, Look>,
    pub rules: Rules,
    pub declared: Declared,
    pub neighbours: BTreeMap<Ipv4Addr, Neighbour>,
    pub holders: BTreeMap<String, Holder>,
    pub log: ProxyLog,
    pub needs: BTreeMap<String, Vec<(Need, Leg)>>,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::of(SITE, GUESTS)
    }

    /// A site of these two files, and features of its own that play the parts `dns`, `ca` and `mesh`.
    pub fn of(site: &str, guests: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = pki::AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        let root = camino::Utf8Path::from_path(folder.path()).unwrap().join("authority");
        let authority = pki::Authority::open_or_create(&root, &settings, now() - 240.hours()).unwrap();
        let part = |part: &str, unit: &str| {
            format!(
                r#"{{ "description": "For a test.", "provides": ["{part}"], "units": {{ "{unit}": {{}} }} }}"#
            )
        };
        let shows = r#"{ "description": "For a test.", "certificate": { "reloads": ["app"] }, "units": { "app": {} } }"#;
        let files: Files = [
            ("site.json", site.to_owned()),
            ("guests.json", guests.to_owned()),
            ("pages/index.html", "hello".to_owned()),
            ("features/a-dns/feature.json", part("dns", "dnsmasq")),
            ("features/a-ca/feature.json", part("ca", "step-ca")),
            ("features/a-mesh/feature.json", part("mesh", "traefik")),
            ("features/shows/feature.json", shows.to_owned()),
        ]
        .into_iter()
        .map(|(path, text)| (path.into(), text.into()))
        .collect();
        let (blueprint, desired) = read(&files, authority.root_pem()).unwrap_or_else(|text| panic!("{text}"));
        let declared = Declared::of(&blueprint, &desired);
        let mut bench = Self {
            desired,
            authority: Arc::new(authority),
            now: now(),
            looks: BTreeMap::new(),
            rules: Rules::default(),
            declared,
            neighbours: BTreeMap::new(),
            holders: BTreeMap::new(),
            log: ProxyLog::default(),
            needs: BTreeMap::new(),
            _folder: folder,
        };
        let names: Vec<String> = bench.desired.guests.keys().map(ToString::to_string).collect();
        for name in names {
            let guest = bench.guest(&name);
            bench.tell(&name, &guest);
        }
        bench
    }

    /// A guest in which all is well.
    pub fn guest(&self, name: &str) -> Guest {
        let container = &self.desired.guests[name];
        let mut guest =
            Guest { units: managers::trace::diagnose::units_of(&container.features), ..Guest::default() };
        for (slot, nic) in &container.nets {
            guest.device(*slot, &nic.name, "BROADCAST,MULTICAST,UP,LOWER_UP", &nic.mac, Some(&nic.ip));
        }
        let ports = self.desired.services.values().filter(|s| s.on == name).map(|s| s.port);
        let proxy = self.desired.services.values().filter_map(|s| s.via.as_ref()).any(|via| via.on == name);
        let unit = guest.units.first().cloned().unwrap_or_default();
        for port in ports.chain([80, 443].into_iter().filter(|_| proxy)) {
            guest.listens(&format!("0.0.0.0:{port}"), "nginx", 1000, Some(&unit));
        }
        let named: Vec<String> = self.desired.names.iter().map(|(n, a)| format!("{a} {n}\n")).collect();
        guest.hosts =
            format!("127.0.0.1 localhost\n# BEGIN phoenix names\n{}# END phoenix names\n", named.concat());
        for certificate in self.desired.certificates.values().filter(|c| c.on.is_guest(name)) {
            let chain = self.chain_for(&certificate.names);
            guest.certificates.insert(certificate.name.clone(), format!("key fits\n{chain}"));
        }
        guest
    }

    /// What a guest says from now on.
    pub fn tell(&mut self, name: &str, guest: &Guest) {
        let seen = Seen::parse(&guest.print(self.now), self.now, self.now).unwrap();
        self.looks.insert(name.to_owned(), Look::Seen(Box::new(seen)));
    }

    /// Changes what a guest says.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Guest)) {
        let mut guest = self.guest(name);
        change(&mut guest);
        self.tell(name, &guest);
    }

    /// A chain for these names; the same one for the same names and time.
    pub fn chain_for(&self, names: &[String]) -> String {
        self.chain(names, self.now - 24.hours(), Duration::from_hours(24 * 90))
    }

    pub fn chain(&self, names: &[String], from: Timestamp, life: Duration) -> String {
        use std::sync::{LazyLock, Mutex};
        static MADE: LazyLock<Mutex<BTreeMap<String, String>>> = LazyLock::new(Mutex::default);
        let key = format!("{} {names:?} {from} {life:?}", self.authority.root_pem());
        let mut made = MADE.lock().unwrap();
        made.entry(key)
            .or_insert_with(|| {
                let request = pki::LeafRequest {
                    name: "test".into(),
                    dns_names: names.to_vec(),
                    addresses: Vec::new(),
                    life,
                };
                self.authority.issue(&request, from).unwrap().chain_pem
            })
            .clone()
    }

    pub fn path(&self, name: &str) -> Path {
        path(&self.desired, name).unwrap()
    }

    pub fn world(&self) -> World<'_> {
        let mut world = World::new(&self.desired, self.authority.root_pem(), self.now);
        world.looks = self.looks.clone();
        world.rules = self.rules.clone();
        world.neighbours = self.neighbours.clone();
        world.holders = self.holders.clone();
        world.log = self.log.clone();
        world.needs = self.needs.clone();
        world
    }

    /// The way to what a person calls so, also with a port and to what is exposed to nobody.
    pub fn find(&self, text: &str) -> Path {
        path::find(&self.desired, &self.declared, text).unwrap()
    }

    /// What a client meets at a guest when all is well.
    pub fn leg(&self, name: &str) -> Leg {
        let path = self.find(name);
        let entrance = path.entrance.as_ref();
        let shown = entrance.filter(|e| e.tls).map(|e| {
            let names = e.certificate.as_ref().map_or_else(
                || vec![path.name.clone()],
                |certificate| self.desired.certificates[certificate].names.clone(),
            );
            Tls::Shown(self.chain_for(&names))
        });
        Leg {
            names: Some(Names {
                addresses: path.inside.into_iter().collect(),
                took: Duration::from_millis(2),
                server: self
                    .desired
                    .dns
                    .as_ref()
                    .map(|(_, a)| (*a, Reply::Addresses(path.inside.into_iter().collect()))),
                ..Names::default()
            }),
            route: None,
            tcp: Some(Tcp::Open(Duration::from_millis(1))),
            neighbour: None,
            tls: shown,
            http: entrance.and_then(|e| e.url.as_ref()).map(|_| status(200)),
            lost: None,
        }
    }

    /// The walk, and that what comes from behind the proxy is only used where it is needed.
    pub fn walk(&self, from: &str, name: &str, leg: &Leg, upstream: Option<&Leg>) -> Walk {
        let vantage = match from {
            "outside" => Vantage::Outside,
            guest => Vantage::Guest(guest.to_owned()),
        };
        let (world, path) = (self.world(), self.find(name));
        assert_eq!(
            needs_upstream(&world, &vantage, &path, leg),
            upstream.is_some(),
            "whether the proxy is to be asked"
        );
        let walk = walk(&world, &vantage, &path, leg, upstream);
        let broken = walk.findings.iter().position(|f| f.state == State::Broken);
        assert!(
            broken.is_none_or(|at| at + 1 == walk.findings.len()),
            "it goes on after a broken hop: {walk:#?}"
        );
        for finding in &walk.findings {
            assert_eq!(finding.state == State::Good, finding.cause.is_none(), "{finding:#?}");
            let hint = finding.cause.as_ref().map_or("x", |cause| &cause.hint);
            assert!(!hint.is_empty() && !finding.seen.is_empty(), "{finding:#?}");
        }
        walk
    }
}

pub fn status(code: u16) -> Http {
    Http::Status(code, Duration::from_millis(4))
}

/// What the proxy meets at a service over HTTP.
pub fn behind(tcp: Tcp, http: Option<Http>) -> Leg {
    Leg { tcp: Some(tcp), http, ..Leg::default() }
}

pub fn open() -> Tcp {
    Tcp::Open(Duration::from_millis(1))
}

/// What breaks: the hop, the place, the code and the words.
#[track_caller]
pub fn broken(walk: &Walk) -> (Hop, &str, &str, &str) {
    worst(walk, State::Broken)
}

/// What does not hold for long.
#[track_caller]
pub fn weak(walk: &Walk) -> (Hop, &str, &str, &str) {
    worst(walk, State::Weak)
}

#[track_caller]
fn worst(walk: &Walk, state: State) -> (Hop, &str, &str, &str) {
    assert_eq!(walk.state(), state, "{walk:#?}");
    let finding: &Finding = walk.findings.iter().find(|f| f.state == state).unwrap();
    let cause = finding.cause.as_ref().unwrap();
    (finding.hop, &finding.place, cause.code, &cause.text)
}

/// What a guest says, to be printed as `look.sh` does.
#[derive(Clone)]
pub struct Guest {
    pub ahead: f64,
    pub disk_left: u64,
    pub memory_left: u64,
    pub hosts: String,
    pub resolvers: String,
    links: String,
    addresses: String,
    pub units: Vec<String>,
    /// Of a unit: its state, and the end of its journal.
    pub troubles: BTreeMap<String, (&'static str, &'static str)>,
    listeners: String,
    owners: String,
    pub certificates: BTreeMap<String, String>,
    pub aside: String,
    pub renewals: String,
    pub rules: String,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            ahead: 0.0,
            disk_left: 3_818_948,
            memory_left: 400_000,
            hosts: String::new(),
            resolvers: "10.255.255.53".into(),
            links: String::new(),
            addresses: String::new(),
            units: Vec::new(),
            troubles: BTreeMap::new(),
            listeners: String::new(),
            owners: String::new(),
            certificates: BTreeMap::new(),
            aside: String::new(),
            renewals: String::new(),
            rules: String::new(),
        }
    }
}

pub const FAILED: &str = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code";
/// As `systemctl show` prints a unit that has not been active since the start.
pub const NEVER: &str = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nStateChangeTimestamp=\nActiveEnterTimestamp=";
pub const STOPPED: &str = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success";

impl Guest {
    pub fn listens(&mut self, at: &str, program: &str, pid: u32, unit: Option<&str>) {
        let _ =
            writeln!(self.listeners, "LISTEN 0 511 {at} 0.0.0.0:* users:((\"{program}\",pid={pid},fd=5))");
        let _ = writeln!(self.owners, "{pid} {}", unit.unwrap_or_default());
    }

    /// A network device with these flags, as `ip -o link` prints it, and its address.
    pub fn device(&mut self, slot: u8, name: &str, flags: &str, mac: &str, inet: Option<&str>) {
        let (n, mac) = (slot + 2, mac.to_lowercase());
        let _ = writeln!(
            self.links,
            "{n}: {name}@if5: <{flags}> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000\\    link/ether {mac} brd ff:ff:ff:ff:ff:ff link-netnsid 0"
        );
        if let Some(inet) = inet {
            let _ = writeln!(
                self.addresses,
                "{n}: {name}    inet {inet} brd 10.0.0.255 scope global {name}\\       valid_lft forever preferred_lft forever"
            );
        }
    }

    /// It has no network device but this one.
    pub fn only_device(&mut self, name: &str, flags: &str, inet: Option<&str>) {
        self.links.clear();
        self.addresses.clear();
        self.device(0, name, flags, "bc:24:11:3a:71:0f", inet);
    }

    pub fn nobody_listens(&mut self) {
        self.listeners.clear();
        self.owners.clear();
    }

    pub fn trouble(&mut self, unit: &str, state: &'static str, journal: &'static str) {
        self.troubles.insert(unit.to_owned(), (state, journal));
    }

    fn print(&self, now: Timestamp) -> String {
        let begin = now.as_duration().as_secs_f64() + self.ahead;
        let mut out = format!(
            "\u{1e}clock\n{begin}\n\u{1e}uptime\n7300.5 1\n\u{1e}system\nrunning\n\u{1e}disk\nFilesystem 1024-blocks Used Available\n\
             /dev/loop0 4128768 1 {} 1% /\n\u{1e}memory\nMemTotal 524288\nMemAvailable {}\n\u{1e}hosts\n{}\u{1e}resolvers\n{}\n\
             \u{1e}links\n{}\u{1e}addresses\n{}\u{1e}listeners\n{}\u{1e}owners\n{}\u{1e}aside nginx-guard\n{}\u{1e}renewals\n{}\u{1e}rules\n{}",
            self.disk_left,
            self.memory_left,
            self.hosts,
            self.resolvers,
            self.links,
            self.addresses,
            self.listeners,
            self.owners,
            self.aside,
            self.renewals,
            self.rules,
        );
        for (name, text) in &self.certificates {
            let _ = write!(out, "\u{1e}certificate {name}\n{text}");
        }
        let since = now.as_second() - 180;
        out.push_str("\u{1e}units\n");
        let mut all = self.units.clone();
        all.extend(self.troubles.keys().cloned());
        for unit in &all {
            let active = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success";
            let (state, _) = self.troubles.get(unit).copied().unwrap_or((active, ""));
            let since = match state.contains("Timestamp=") || state.contains("not-found") {
                true => String::new(),
                false => format!("StateChangeTimestamp=@{since}\nActiveEnterTimestamp=@{since}\n"),
            };
            let _ = write!(out, "Id={unit}\n{state}\n{since}\n");
        }
        for (unit, (_, journal)) in &self.troubles {
            let _ = write!(out, "\u{1e}journal {unit}\n{journal}\n");
        }
        let _ = write!(out, "\u{1e}end\n{begin}\n");
        out
    }
}

/// `10.0.0.N`.
pub fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}
