//! Sites of any size, as a person with that many guests might have them.

use std::error::Error;

use blueprint::{Catalog, Loaded};
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use plan::{Desired, SiteKey};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

/// A site in a folder of its own, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Site {
    folder: tempfile::TempDir,
    path: Utf8PathBuf,
}

/// The types of both kinds of guest. The image is the simulated node's.
const TYPES: &str = r#"{
    "small": { "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G" },
    "machine": { "image": "local:import/debian-12.qcow2", "cores": 1, "memory": "512M", "disks": { "scsi0": "4G" } }
}"#;

/// One guest in so many serves pages through the gateway. The gateway's description holds a word on each certificate,
/// and takes some sixty; a site larger than a thousand serves no more pages than one of a thousand.
const SERVES: u32 = 20;

impl Site {
    /// With so many containers: a gateway; each twentieth serves a page through it; every one has the basic feature.
    pub(crate) fn new(containers: u32) -> Result<Self, Box<dyn Error>> {
        Self::of("containers", "small", containers)
    }

    /// The same with virtual machines.
    pub(crate) fn of_vms(vms: u32) -> Result<Self, Box<dyn Error>> {
        Self::of("vms", "machine", vms)
    }

    /// With so many Docker hosts, and so many stacks on each.
    pub(crate) fn of_stacks(hosts: u32, each: u32) -> Result<Self, Box<dyn Error>> {
        let (folder, path) = Self::empty()?;
        let (mut guests, mut stacks) = (Map::new(), Map::new());
        for host in 0..hosts {
            let name = format!("docker-{host}");
            for n in 0..each {
                let stack = json!({ "on": name, "compose": "stack", "env": { "GREETING": format!("{n}") } });
                stacks.insert(format!("stack-{host}-{n}"), stack);
            }
            let address = format!("10.0.1.{}", host + 10);
            let options = json!({ "nesting": true, "keyctl": true });
            guests.insert(name, json!({ "id": 1000 + host, "type": "small", "address": address, "features": ["docker"], "options": options }));
        }
        let types: Value = serde_json::from_str(TYPES)?;
        let all = json!({ "types": types, "containers": guests, "stacks": stacks });
        fs_err::write(path.join("guests.json"), serde_json::to_string_pretty(&all)?)?;
        fs_err::create_dir(path.join("stack"))?;
        let compose =
            "services:\n  web:\n    image: notes:1\n    environment: { GREETING: \"${GREETING}\" }\n";
        fs_err::write(path.join("stack/compose.yaml"), compose)?;
        let site = Self { folder, path };
        site.target(&json!({ "lab": {} }))?;
        Ok(site)
    }

    fn empty() -> Result<(tempfile::TempDir, Utf8PathBuf), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let path = Utf8PathBuf::try_from(folder.path().canonicalize()?)?;
        Ok((folder, path))
    }

    fn of(kind: &str, guest_type: &str, guests: u32) -> Result<Self, Box<dyn Error>> {
        let (folder, path) = Self::empty()?;
        let mut all = Map::new();
        all.insert(
            "gateway".into(),
            json!({ "id": 1000, "type": guest_type, "address": "10.0.0.2", "features": ["nginx-gateway"] }),
        );
        let serves = SERVES.max(guests / 50);
        for n in 1..guests {
            let (high, low) = (n / 250, n % 250 + 3);
            let mut one = json!({ "id": 1000 + n, "type": guest_type, "address": format!("10.0.{high}.{low}"), "features": ["base"] });
            if n % serves == 1 {
                one["features"] = json!([{ "static-site": { "root": "pages/" } }]);
                one["services"] = json!({ format!("page-{n}"): { "port": 80, "expose": "gateway" } });
            }
            all.insert(format!("guest-{n}"), one);
        }
        let types: Value = serde_json::from_str(TYPES)?;
        let guests = json!({ "types": types, kind: all });
        fs_err::write(path.join("guests.json"), serde_json::to_string_pretty(&guests)?)?;
        fs_err::create_dir(path.join("pages"))?;
        fs_err::write(path.join("pages/index.html"), "<h1>page</h1>\n")?;
        let site = Self { folder, path };
        site.target(&json!({ "lab": {} }))?;
        Ok(site)
    }

    /// Says what it is built on.
    pub(crate) fn target(&self, target: &Value) -> Result<(), Box<dyn Error>> {
        let network = json!({ "bridge": "vmbr0", "subnet": "10.0.0.0/16", "gateway": "10.0.0.1" });
        let site = json!({
            "site": { "name": "bench", "domain": "bench.internal" },
            "target": target, "networks": { "lan": network },
        });
        Ok(fs_err::write(self.path.join("site.json"), site.to_string())?)
    }

    pub(crate) fn path(&self) -> &str {
        debug_assert!(self.folder.path().is_dir());
        self.path.as_str()
    }

    pub(crate) fn folder(&self) -> &Utf8Path {
        &self.path
    }

    /// The site's key, which the binary believes marks by; made where there is none.
    pub(crate) fn key(&self) -> Result<SiteKey, Box<dyn Error>> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.path.join(".phoenix/secrets/site.key");
        if file.exists() {
            return Ok(SiteKey::from_text(&fs_err::read_to_string(file)?)?);
        }
        let key = SiteKey::generate()?;
        if let Some(folder) = file.parent() {
            fs_err::create_dir_all(folder)?;
        }
        fs_err::write(&file, key.to_text().expose_secret())?;
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        Ok(key)
    }

    /// What is wanted, and the authority, as the binary itself sees and makes them.
    pub(crate) fn desired(&self) -> Result<(Desired, pki::Authority), Box<dyn Error>> {
        let catalog = Catalog::from_files(managers::features::builtin()).map_err(|f| f.to_text())?;
        let Loaded { blueprint, .. } = blueprint::load(&self.path, &catalog).map_err(|f| f.to_text())?;
        let settings = pki::AuthoritySettings {
            site: blueprint.site.name.to_string(),
            domain: blueprint.site.domain.to_string(),
            subnets: blueprint.networks.values().map(|n| n.subnet.into()).collect(),
        };
        let folder = self.path.join(".phoenix/secrets/authority");
        let authority = pki::Authority::open_or_create(&folder, &settings, Timestamp::now())?;
        let renderer = managers::features::renderer::Renderer::new(&blueprint);
        let desired = plan::wire::wire(&blueprint, &plan::wire::Roots::one(authority.root_pem()), &renderer)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        Ok((desired, authority))
    }
}
