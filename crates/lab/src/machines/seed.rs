//! The drive that cloud-init reads: an ISO 9660 with the label `cidata`.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::json;

use super::{programs, volumes};
use crate::base64;
use crate::containers::MACHINE_APT;
use crate::node::seed;
use crate::runtime::{Config, TaskError};

const LIMIT: Duration = Duration::from_secs(60);

/// The cloud-init drive of a configuration: its key, and its volume.
pub(super) fn drive(config: &Config) -> Option<(String, String)> {
    config.iter().find_map(|(key, value)| {
        let volume = value.split(',').next()?;
        let own = volume.contains("-cloudinit") && value.contains("media=cdrom");
        own.then(|| (key.clone(), volume.to_owned()))
    })
}

/// What the lab itself tells a system: the machine's own sources and settings of apt, as its containers have them, so that
/// packages can be installed; and that it keeps its locale, since its image has no others.
fn vendor(apt: &Utf8Path) -> std::io::Result<String> {
    let mut files = Vec::new();
    for (from, to) in [
        ("sources.list.d", "/etc/apt/sources.list.d"),
        ("apt.conf.d", "/etc/apt/apt.conf.d"),
        ("keyrings", "/usr/share/keyrings"),
    ] {
        let Ok(entries) = fs::read_dir(apt.join(from)) else { continue };
        for entry in entries {
            let entry = entry?;
            files.push(json!({
                "path": format!("{to}/{}", entry.file_name().to_string_lossy()), "permissions": "0644",
                "encoding": "b64", "content": base64::encode(&fs::read(entry.path())?),
            }));
        }
    }
    files.sort_by_key(|file| file["path"].to_string());
    // JSON is YAML.
    // What somebody else has it told beside that counts, too, and more.
    let merged = "list(append)+dict(no_replace,recurse_list)+str()";
    let told = json!({ "locale": false, "write_files": files, "merge_how": merged });
    Ok(format!("#cloud-config\n{told}\n"))
}

/// Two texts for cloud-init as one.
fn both(first: &str, second: &str) -> String {
    let edge = "==phoenix-lab==";
    let part = |text: &str| {
        let encoded = base64::encode(text.as_bytes());
        format!("--{edge}\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n{encoded}\n")
    };
    format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{edge}\"\n\n{}{}--{edge}--\n",
        part(first),
        part(second)
    )
}

/// What a file of the node says in the place of what Proxmox VE writes itself (`cicustom`).
fn custom(config: &Config, what: &str) -> Result<Option<String>, TaskError> {
    let Some(volume) = config.get("cicustom").and_then(|files| {
        files
            .split(',')
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| *key == what)
            .map(|(_, volume)| volume)
    }) else {
        return Ok(None);
    };
    let path = volumes::file(volume)?.path;
    let text =
        fs::read_to_string(path).map_err(|_| TaskError(format!("volume '{volume}' does not exist")))?;
    Ok(Some(text))
}

/// Writes it anew. It is readable by root alone: there are keys and hashes of passwords in it.
pub(super) async fn write(id: u32, config: &Config) -> Result<(), TaskError> {
    let Some((_, volume)) = drive(config) else { return Ok(()) };
    let path = volumes::file(&volume)?.path;
    let folder = Utf8PathBuf::from(format!("/run/phoenix-lab-cloudinit/{id}"));
    let io = |error: std::io::Error| {
        TaskError(format!("unable to write the cloud-init drive of VM {id} - {error}"))
    };
    let mut config = config.clone();
    // As a real node does: without name servers of its own it is told those of the node.
    if !config.contains_key("nameserver")
        && let Ok(text) = fs::read_to_string("/etc/resolv.conf")
    {
        let servers: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim).collect();
        config.insert("nameserver".to_owned(), servers.join(" "));
    }
    let mut seed = seed(id, &config);
    for (what, text) in [("user", &mut seed.user), ("network", &mut seed.network), ("meta", &mut seed.meta)] {
        if let Some(own) = custom(&config, what)? {
            *text = own;
        }
    }
    let own = vendor(Utf8Path::new(MACHINE_APT)).map_err(io)?;
    let vendor = custom(&config, "vendor")?.map_or_else(|| own.clone(), |text| both(&text, &own));
    let make = |folder: &Utf8Path| {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        fs::create_dir_all(folder)?;
        for (name, text) in [
            ("user-data", &seed.user),
            ("network-config", &seed.network),
            ("meta-data", &seed.meta),
            ("vendor-data", &vendor),
        ] {
            let file = folder.join(name);
            let _ = fs::remove_file(&file);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            std::io::Write::write_all(&mut file, text.as_bytes())?;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, "")?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
    };
    make(&folder).map_err(io)?;
    let argv = ["genisoimage", "-quiet", "-iso-level", "3", "-J", "-R", "-V", "cidata", "-o", path.as_str()];
    let made = programs::run(&[&argv[..], &[folder.as_str()]].concat(), LIMIT).await;
    // What was written is on the drive.
    let _ = fs::remove_dir_all(&folder);
    made.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_told_where_packages_come_from() {
        let dir = tempfile::tempdir().unwrap();
        let apt = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir(apt.join("apt.conf.d")).unwrap();
        fs::write(apt.join("apt.conf.d/90proxy"), "Acquire::http::Proxy \"http://10.0.0.1:3142\";\n")
            .unwrap();
        let text = vendor(apt).unwrap();
        let told: serde_json::Value =
            serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(told["locale"], false);
        let [file] = told["write_files"].as_array().unwrap().as_slice() else { panic!("{told}") };
        assert_eq!(file["path"], "/etc/apt/apt.conf.d/90proxy");
        // A reader of MIME finds both texts, in order.
        let both = both("#cloud-config\n{}\n", &text);
        let parts: Vec<&str> = both.split("--==phoenix-lab==").collect();
        assert_eq!(parts.len(), 4);
        let last = parts[2].split("\n\n").nth(1).unwrap();
        assert_eq!(base64::decode(last.trim()).unwrap(), text.as_bytes());
        let content = base64::decode(file["content"].as_str().unwrap()).unwrap();
        assert!(String::from_utf8(content).unwrap().contains(":3142"));
    }
}
