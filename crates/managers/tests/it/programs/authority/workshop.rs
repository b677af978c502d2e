//! A root with the features `step-ca` and `certificates`, as Phoenix puts them there, and with what signs for them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use blueprint::model::SecretRef;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use managers::features::{Mode, Rendered, render, script};
use pki::{Authority, AuthoritySettings, CertificateFacts};
use plan::desired::Issuer;
use plan::told::{self, Maybe};
use serde_json::{Value, json};

use crate::given;
use crate::root::{Ran, Root};

pub const AUTHORITY: &str = "/usr/local/lib/phoenix/authority";
pub const CERTIFICATES: &str = "/usr/local/lib/phoenix/certificates";

/// How long certificates live here at most.
pub const HOUR: Duration = Duration::from_hours(1);

/// A guest that is the authority's and has certificates of its own, too.
pub struct Workshop {
    pub root: Root,
    pub pki: Authority,
    _folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// What it said when it failed, with 1.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        self.err
    }
}

pub fn rendered(name: &str, parameters: Value) -> Rendered {
    let (parameters, facts) = (given::parameters(parameters), given::facts("notes", "127.0.0.1"));
    let feature = given::built_in(name);
    given::as_told(&feature, &parameters);
    render(&feature, &parameters, &BTreeMap::new(), &facts).unwrap()
}

/// A certificate of the list that the feature `certificates` is given.
pub fn certificate(name: &str, names: &[&str], life: u64) -> Value {
    let names: Vec<String> = names.iter().map(|n| format!("{n}.workshop.internal")).collect();
    let told = told::Certificate {
        name: name.into(),
        names,
        life,
        issuer: Issuer::StepCa,
        owner: String::new(),
        reloads: Vec::new(),
        restarts: Vec::new(),
        served: Vec::new(),
    };
    serde_json::to_value(told).unwrap()
}

fn settings() -> AuthoritySettings {
    AuthoritySettings { site: "workshop".into(), domain: "workshop.internal".into(), subnets: Vec::new() }
}

impl Workshop {
    /// A root with nothing but the programs and the names, or `None` where that cannot be.
    pub fn new() -> Option<Self> {
        let (step_ca, step) = (crate::built::program("step-ca")?, crate::built::program("step")?);
        let root = Root::new()?;
        root.put("/usr/local/bin/step-ca", &step_ca);
        root.put("/usr/local/bin/step", &step);
        root.put("/usr/local/sbin/systemctl", include_bytes!("systemctl"));
        root.sh("chmod 755 /usr/local/bin/* /usr/local/sbin/systemctl");
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("authority")).unwrap();
        // It is some time old, so that there can be certificates that have expired.
        let then = Timestamp::now() - Duration::from_secs(500 * 86_400);
        let pki = Authority::open_or_create(&path, &settings(), then).unwrap();
        let workshop = Self { root, pki, _folder: folder };
        let names =
            json!([{ "address": "127.0.0.1", "names": ["ca.workshop.internal", "notes.workshop.internal"] }]);
        let trust = json!({ "root": workshop.pki.root_pem() });
        workshop.apply(&[rendered("base", json!({ "names": names })), rendered("trusted-ca", trust)]).ok();
        Some(workshop)
    }

    /// The same with the authority up and signing, and this guest registered for some names.
    pub fn with_authority(names: &[&str], life: u64) -> Option<Self> {
        let workshop = Self::new()?;
        workshop.apply(&[rendered("step-ca", json!({}))]).ok();
        workshop.sign();
        workshop.declare(&[], None);
        workshop.register("notes", names, life).ok();
        Some(workshop)
    }

    pub fn apply(&self, features: &[Rendered]) -> Ran {
        let none = |secret: &SecretRef| Ok::<_, Infallible>(format!("{secret:?}"));
        self.root.run(&script(features, Mode::Apply, &none).unwrap().text)
    }

    /// What the roots are now, in this guest: whom to trust, and who signs where.
    pub fn trust(&self) -> Ran {
        let roots = managers::authority::roots(&self.pki);
        let apart = roots.trusted.iter().filter(|_| roots.trusted.len() > 1);
        let apart: Vec<Value> =
            apart.map(|pem| json!({ "id": plan::wire::fingerprint(&[pem]), "pem": pem })).collect();
        let trust = json!({ "root": self.pki.trusted_pem(), "roots": apart });
        self.apply(&[rendered("trusted-ca", trust), rendered("step-ca", json!({ "roots": apart }))])
    }

    /// The next stage of another root.
    pub fn next_root_stage(&mut self) {
        let path = Utf8PathBuf::from_path_buf(self._folder.path().join("authority")).unwrap();
        let settings = settings();
        let now = Timestamp::now();
        match self.pki.stage() {
            None => Authority::propose_root(&path, &settings, now).unwrap().keep_new_root(),
            Some(pki::Stage::Trusting) => self.pki.sign_with_new_root(now),
            Some(pki::Stage::Signing) => self.pki.leave_old_root(),
            Some(pki::Stage::Leaving) => self.pki.forget_old_root(),
        }
        .unwrap();
        self.pki = Authority::open_or_create(&path, &settings, now).unwrap();
    }

    /// The feature `certificates` with this list.
    pub fn declare(&self, certificates: &[Value], acme: Option<told::Acme>) {
        let authority = told::ByNetwork {
            url: "https://ca.workshop.internal".into(),
            host: "ca.workshop.internal".into(),
            provisioner: "guest-notes".into(),
        };
        let acme = Maybe::from(acme);
        let parameters = json!({ "certificates": certificates, "authority": authority, "acme": acme });
        self.apply(&[rendered("certificates", parameters)]).ok();
    }

    /// A command with something on its standard input.
    pub fn say(&self, command: &str, input: &[u8]) -> Said {
        self.root.put("/run/input", input);
        let line = format!("{{ {command}; }} </run/input >/run/out 2>/run/err; echo $?; rm -f /run/input");
        let code = self.root.sh(&line).trim().parse().ok();
        let read = |path: &str| self.root.sh(&format!("cat {path}"));
        Said { code, out: read("/run/out"), err: read("/run/err") }
    }

    pub fn authority(&self, arguments: &str, input: &[u8]) -> Said {
        self.say(&format!("{AUTHORITY} {arguments}"), input)
    }

    pub fn certificates(&self, arguments: &str) -> Said {
        self.say(&format!("{CERTIFICATES} {arguments}"), b"")
    }

    /// As Phoenix does it: request, signature, installation.
    #[track_caller]
    pub fn sign(&self) -> CertificateFacts {
        self.signed("request")
    }

    /// The same, with what asks for the request.
    #[track_caller]
    pub fn signed(&self, request: &str) -> CertificateFacts {
        let request = self.authority(request, b"").ok();
        let pem = self.pki.sign_intermediate(&request, HOUR, Timestamp::now()).unwrap();
        self.authority("install", pem.as_bytes()).ok();
        CertificateFacts::parse(&pem).unwrap()
    }

    /// This guest's key, for these names.
    pub fn register(&self, guest: &str, names: &[&str], life: u64) -> Said {
        let key: Value = serde_json::from_str(&self.certificates("identity").ok()).unwrap();
        let names: Vec<String> = names.iter().map(|n| format!("{n}.workshop.internal")).collect();
        let given = json!({ "key": key, "names": names, "life": life });
        self.authority(&format!("register {guest}"), given.to_string().as_bytes())
    }

    /// What the guest says of a certificate.
    #[track_caller]
    pub fn state(&self, name: &str) -> Value {
        serde_json::from_str(&self.certificates(&format!("list {name}")).ok()).unwrap()
    }

    /// The chain on disk.
    pub fn chain(&self, name: &str) -> String {
        self.root.sh(&format!("cat /etc/phoenix/certificates/{name}/fullchain.pem"))
    }

    pub fn facts(&self, name: &str) -> CertificateFacts {
        CertificateFacts::parse(&self.chain(name)).unwrap()
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn until(&self, seconds: u64, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
