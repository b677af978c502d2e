//! The drive that cloud-init reads: an ISO 9660 with the label `cidata`.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::{programs, volumes};
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

/// Writes it anew. It is readable by root alone: there are keys and hashes of passwords in it.
pub(super) async fn write(id: u32, config: &Config) -> Result<(), TaskError> {
    let Some((_, volume)) = drive(config) else { return Ok(()) };
    let path = volumes::file(&volume)?.path;
    let folder = Utf8PathBuf::from(format!("/run/phoenix-lab-cloudinit/{id}"));
    let io = |error: std::io::Error| {
        TaskError(format!("unable to write the cloud-init drive of VM {id} - {error}"))
    };
    let seed = seed(id, config);
    let make = |folder: &Utf8Path| {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        fs::create_dir_all(folder)?;
        for (name, text) in
            [("user-data", &seed.user), ("network-config", &seed.network), ("meta-data", &seed.meta)]
        {
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
