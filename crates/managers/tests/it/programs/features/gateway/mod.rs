//! The gateway, with real Nginx in front of real services, its certificates from the workshop's own authority.
//! [`Front`] is a throw-away root with all of that; `peers.py` are the services behind it and the clients before it.

mod access;
mod broken;
pub mod forged;
mod passing;
mod reloading;
mod shown;
mod streams;

use std::process::Child;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use managers::features::Rendered;
use pki::{Authority, AuthoritySettings, LeafRequest};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::given::{self, but};
use crate::programs::features::{apply, built_in, with};
use crate::root::{Ran, Root};

/// The folder of the certificate that the gateway shows to services.
pub const IDENTITY: &str = "/etc/phoenix/certificates/guest-gateway";

/// A gateway, and what it serves.
pub struct Front {
    pub root: Root,
    pub authority: Authority,
    /// The folder that its keys are in.
    pub keys: camino::Utf8PathBuf,
    _keys: tempfile::TempDir,
    /// What clients cannot come with any more.
    pub refused: Vec<Value>,
    /// The items of the parameter `sites`.
    pub sites: Vec<Value>,
    /// The items of the parameter `streams`.
    pub streams: Vec<Value>,
    services: Vec<Child>,
}

impl Front {
    /// With nothing to serve yet; `None` where there can be no root.
    pub fn new() -> Option<Self> {
        let root = Root::new()?;
        let keys = tempfile::tempdir().unwrap();
        let settings = AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        let folder = camino::Utf8PathBuf::try_from(keys.path().join("authority")).unwrap();
        // Old enough to have signed what has expired since.
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        let authority = Authority::open_or_create(&folder, &settings, yesterday).unwrap();
        root.put("/srv/root.pem", authority.root_pem().as_bytes());
        root.put("/srv/peers.py", include_bytes!("peers.py"));
        root.sh("chmod 755 /srv; chmod 644 /srv/*; mkdir -p /usr/local/share/ca-certificates; echo 127.0.0.1 localhost >/etc/hosts");
        root.put("/usr/local/share/ca-certificates/phoenix-workshop.crt", authority.root_pem().as_bytes());
        Some(Self {
            root,
            authority,
            keys: folder,
            _keys: keys,
            refused: Vec::new(),
            sites: Vec::new(),
            streams: Vec::new(),
            services: Vec::new(),
        })
    }

    /// Puts a certificate for `<name>.workshop.internal` into a folder of the root; its serial number.
    pub fn certificate(&self, folder: &str, name: &str) -> String {
        self.certificate_at(folder, name, Timestamp::now())
    }

    /// The same, issued (for an hour) at another time.
    pub fn certificate_at(&self, folder: &str, name: &str, now: Timestamp) -> String {
        self.certificate_by(&self.authority, folder, name, now)
    }

    /// The same, by whoever has an authority.
    pub fn certificate_by(&self, authority: &Authority, folder: &str, name: &str, now: Timestamp) -> String {
        let request = LeafRequest {
            name: name.into(),
            dns_names: vec![format!("{name}.workshop.internal")],
            addresses: Vec::new(),
            life: Duration::from_secs(3600),
        };
        let leaf = authority.issue(&request, now).unwrap();
        self.root.put(&format!("{folder}/.key.new"), leaf.key_pem.expose_secret().as_bytes());
        self.root.put(&format!("{folder}/.chain.new"), leaf.chain_pem.as_bytes());
        self.root.sh(&format!("cd {folder}; mv .key.new key.pem; mv .chain.new fullchain.pem"));
        leaf.serial
    }

    /// What somebody has who copied the keys of what signs now.
    pub fn stolen(&self) -> (tempfile::TempDir, Authority) {
        let copy = tempfile::tempdir().unwrap();
        let folder = camino::Utf8PathBuf::try_from(copy.path().join("authority")).unwrap();
        let (from, to) = (self.keys.as_str(), folder.as_str());
        assert!(std::process::Command::new("cp").args(["-a", from, to]).status().unwrap().success());
        let settings = AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        // Of the root's key nobody got hold.
        fs_err::remove_file(folder.join("root.key")).unwrap();
        let authority = Authority::open_or_create(&folder, &settings, Timestamp::now()).unwrap();
        (copy, authority)
    }

    /// Another key signs from now on, and proxies are told to refuse what others signed: for these names, or all of it.
    pub fn succeed(&mut self, names: Option<&[String]>) {
        // Nothing signs that was made before a moment that is still to come.
        let since = Timestamp::now() + SignedDuration::from_secs(1);
        self.authority.succeed(Duration::from_secs(3600), since, since).unwrap();
        let refused = self.authority.refuse_others(false, names, Timestamp::now()).unwrap();
        self.refused =
            refused.iter().map(|one| json!({ "issuer": one.issuer, "names": one.names })).collect();
    }

    fn named(&self, name: &str) {
        self.root.sh(&format!("echo 127.0.0.1 {name}.workshop.internal >>/etc/hosts"));
    }

    /// A service `name`, by default at the port 8080 over HTTP, with its certificate in place.
    pub fn site(&mut self, name: &str, extra: Value) {
        let folder = format!("/etc/phoenix/certificates/{name}");
        self.certificate(&folder, name);
        self.named(name);
        self.sites.push(but(given::site(name, 8080), extra));
    }

    /// A service over TCP at the gateway's port `listen`, by default from the port 7000.
    pub fn stream(&mut self, name: &str, listen: u16, extra: Value) {
        let folder = format!("/etc/phoenix/certificates/{name}");
        self.certificate(&folder, name);
        self.named(name);
        self.streams.push(but(given::stream(name, listen, 7000), extra));
    }

    pub fn rendered(&self) -> Rendered {
        let identity = given::identity("gateway", "guest-gateway");
        let parameters = json!({
            "sites": self.sites, "streams": self.streams, "identity": identity, "root": self.authority.root_pem(),
            "refused": self.refused,
        });
        with(&built_in("nginx-gateway"), parameters)
    }

    pub fn apply(&self) -> Ran {
        self.root.run(&apply(&[self.rendered()]))
    }

    /// Starts one of `peers.py`, and waits until it listens.
    pub fn serve(&mut self, what: &str, port: u16, arguments: &str) {
        let line = format!("exec python3 /srv/peers.py {what} --port {port} {arguments}");
        self.services.push(self.root.background(&line));
        self.root.sh(&format!(
            "for n in $(seq 100); do ss -Hltn 'sport = :{port}' | grep -q . && exit 0; sleep 0.1; done; exit 1"
        ));
    }

    /// Ends whoever listens on a port.
    pub fn end(&self, port: u16) {
        self.root.sh(&format!(
            "kill $(ss -Hltnp 'sport = :{port}' | sed 's/.*pid=\\([0-9]*\\).*/\\1/'); \
             for n in $(seq 100); do ss -Hltn 'sport = :{port}' | grep -q . || exit 0; sleep 0.1; done; exit 1"
        ));
    }

    /// What a client of `peers.py` prints.
    #[track_caller]
    pub fn client(&self, what: &str, name: &str, arguments: &str) -> String {
        self.root.sh(&format!("python3 /srv/peers.py {what} {name}.workshop.internal {arguments}"))
    }

    /// Output of curl, which trusts the workshop's root alone, and its exit code where that is not 0.
    pub fn curl(&self, arguments: &str) -> String {
        self.root.sh(&format!(
            "curl -s -m 20 --noproxy '*' --cacert /srv/root.pem {arguments} || printf ' exit %s' $?"
        ))
    }

    /// The status that a service answers with.
    pub fn status(&self, name: &str) -> String {
        self.curl(&format!("-o /dev/null -w '%{{http_code}}' https://{name}.workshop.internal/"))
    }

    /// What reached the service: the headers of a request with these arguments of curl.
    pub fn reached(&self, name: &str, arguments: &str) -> Value {
        let text = self.curl(&format!("{arguments} https://{name}.workshop.internal/"));
        let told: Result<Value, _> = serde_json::from_str(&text);
        assert!(told.is_ok(), "{text}");
        told.unwrap()["headers"].clone()
    }

    /// What the guard has put aside: `service: reason`.
    pub fn aside(&self) -> Vec<String> {
        let text = self.root.sh("/usr/local/lib/phoenix/nginx-guard --bad || true");
        text.lines().map(str::to_owned).collect()
    }

    /// The services that are served, by their files.
    pub fn served(&self) -> Vec<String> {
        let text =
            self.root.sh("cd /var/lib/phoenix/nginx/served; ls phoenix.d streams.d | grep conf | sort");
        text.lines().map(|line| line.trim_end_matches(".conf").to_owned()).collect()
    }
}

/// How long something takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (work(), begin.elapsed())
}
