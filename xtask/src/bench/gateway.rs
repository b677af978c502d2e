//! The gateway as it is rendered, beside a hand-written Nginx that does the same: real Nginx both, asked by wrk in turns,
//! in a throw-away Debian root without a network. What else the machine does falls on both alike.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use blueprint::Catalog;
use camino::{Utf8Path, Utf8PathBuf};
use managers::features::{GuestFacts, Rendered, builtin, render};
use plan::told::{Protocol, Site};
use serde_json::json;

use super::{Table, say};

/// What the root needs beside Debian's minimal base.
const PACKAGES: &str = "nginx-light,wrk,openssl,iproute2";
/// Many short ones: what else the machine does comes and goes.
const ROUNDS: usize = 15;
const SECONDS: usize = 2;
const SCRIPT: &str = include_str!("gateway.sh");

/// Measures and adds its figures.
pub(crate) fn measure(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let root = match root() {
        Ok(root) => root,
        Err(reason) => {
            say(&format!("gateway_over_handwritten            skipped: {reason}"));
            return Ok(());
        }
    };
    let folder = tempfile::tempdir()?;
    let files = Utf8Path::from_path(folder.path()).ok_or("a temporary folder that is not UTF-8")?;
    put(&gateway()?, files)?;
    let output = Command::new("unshare")
        .args(["-m", "-p", "-n", "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh"])
        .args([root.as_str(), files.as_str(), &ROUNDS.to_string(), &SECONDS.to_string()])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(
            format!("the gateway was not measured: {}", String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    let rates = rates(&String::from_utf8(output.stdout)?)?;
    for page in ["1k", "64k"] {
        let of = |proxy: &str| rates.get(&(proxy.to_owned(), page.to_owned())).cloned().unwrap_or_default();
        let (gateway, hand) = (of("gateway"), of("handwritten"));
        if gateway.len() != ROUNDS || hand.len() != ROUNDS {
            return Err("wrk did not tell what it measured".into());
        }
        // Two that were measured right after each other are compared.
        let ratio = median(gateway.iter().zip(&hand).map(|(g, h)| g / h).collect());
        table.add(format!("gateway_{page}_requests"), median(gateway), "1/s", None);
        table.add(format!("handwritten_{page}_requests"), median(hand), "1/s", None);
        if page == "1k" {
            table.at_least("gateway_over_handwritten", ratio, "ratio", 0.9);
        } else {
            table.add(format!("gateway_{page}_over_handwritten"), ratio, "ratio", None);
        }
    }
    Ok(())
}

/// Requests per second in each round, by proxy and page.
type Rates = BTreeMap<(String, String), Vec<f64>>;

/// Reads the script's lines.
fn rates(text: &str) -> Result<Rates, Box<dyn Error>> {
    let mut all = Rates::new();
    for line in text.lines() {
        let [proxy, page, rate] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("not a rate: {line}").into());
        };
        all.entry((proxy.to_owned(), page.to_owned())).or_default().push(rate.parse()?);
    }
    Ok(all)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The feature for a gateway with one service.
fn gateway() -> Result<Rendered, Box<dyn Error>> {
    let catalog = Catalog::from_files(builtin()).map_err(|failure| failure.to_text())?;
    let (_, feature) =
        catalog.iter().find(|(name, _)| *name == "nginx-gateway").ok_or("there is no nginx-gateway")?;
    let site = Site {
        service: "notes".into(),
        names: vec!["notes.workshop.internal".into()],
        public: false,
        certificate: "/etc/phoenix/certificates/notes/fullchain.pem".into(),
        key: "/etc/phoenix/certificates/notes/key.pem".into(),
        upstream_address: Ipv4Addr::LOCALHOST,
        upstream_port: 8080,
        upstream_protocol: Protocol::Http,
        upstream_name: String::new(),
        websocket: true,
        security_headers: true,
        mutual: false,
        client_certificate: false,
        client_names: Vec::new(),
        users: Vec::new(),
        body: None,
        headers: None,
        timeout: None,
        rate: None,
        burst: 0,
    };
    let parameters = BTreeMap::from([("sites".to_owned(), json!([site]))]);
    let facts = GuestFacts {
        kind: "container".into(),
        name: "gateway".into(),
        hostname: "gateway".into(),
        fqdn: "gateway.workshop.internal".into(),
        address: None,
        site: "workshop".into(),
        domain: "workshop.internal".into(),
        timezone: None,
    };
    Ok(render(feature, &parameters, &BTreeMap::new(), &facts)?)
}

/// A feature's folders and files, below `root`.
fn put(rendered: &Rendered, root: &Utf8Path) -> Result<(), Box<dyn Error>> {
    for folder in &rendered.folders {
        fs_err::create_dir_all(root.join(folder.path.trim_start_matches('/')))?;
    }
    for file in &rendered.files {
        let path = root.join(file.path.trim_start_matches('/'));
        fs_err::create_dir_all(path.parent().ok_or("a file in no folder")?)?;
        fs_err::write(&path, file.content.bytes())?;
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(file.mode))?;
    }
    // As the script in a guest does: workers pass through it.
    let state = root.join("var/lib/phoenix");
    fs_err::set_permissions(state, std::fs::Permissions::from_mode(0o711))?;
    Ok(())
}

/// An unpacked Debian with what is needed, made once and kept in the cache; or why there is none.
fn root() -> Result<Utf8PathBuf, String> {
    if run("id", &["-u"])?.trim() != "0" {
        return Err("needs root".into());
    }
    let cache = std::env::var("XDG_CACHE_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cache")))
        .map_err(|_| "no cache folder")?;
    let root = Utf8PathBuf::from(cache).join("phoenix/bench-root-1");
    if root.exists() {
        return Ok(root);
    }
    let unfinished = Utf8PathBuf::from(format!("{root}.unfinished"));
    let text = |e: std::io::Error| e.to_string();
    if unfinished.exists() {
        fs_err::remove_dir_all(&unfinished).map_err(text)?;
    }
    fs_err::create_dir_all(&unfinished).map_err(text)?;
    let include = format!("--include={PACKAGES}");
    run("mmdebstrap", &["--quiet", "--variant=minbase", &include, "bookworm", unfinished.as_str()])?;
    fs_err::rename(&unfinished, &root).map_err(text)?;
    Ok(root)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
