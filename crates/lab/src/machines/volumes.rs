//! The files of machines' disks, on the lab's storages: made, copied, grown and removed by `qemu-img`.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::json;

use super::{image, programs, talk};
use crate::runtime::{DiskSource, NewDisk, TaskError, TaskLog};

/// Copying a disk takes its time.
const COPY: Duration = Duration::from_secs(1800);

/// A disk's file, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub path: Utf8PathBuf,
    /// `raw`, `qcow2`, `vmdk`.
    pub format: String,
}

fn refused(volume: &str) -> TaskError {
    TaskError(format!("unable to parse volume ID '{volume}'"))
}

/// Where a volume lies: `local` is `/var/lib/vz`, any other storage `/mnt/pve/NAME`. One on a storage that is no folder is a
/// qcow2 file, whatever kind of storage its name speaks of.
pub(super) fn file(volume: &str) -> Result<File, TaskError> {
    let (storage, name) = volume.split_once(':').ok_or_else(|| refused(volume))?;
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if !plain(storage) || !name.split('/').all(plain) {
        return Err(refused(volume));
    }
    let base = match storage {
        "local" => Utf8PathBuf::from("/var/lib/vz"),
        storage => Utf8Path::new("/mnt/pve").join(storage),
    };
    if let Some(iso) = name.strip_prefix("iso/") {
        return Ok(File { path: base.join("template/iso").join(iso), format: "raw".to_owned() });
    }
    if name.starts_with("snippets/") {
        return Ok(File { path: base.join(name), format: "raw".to_owned() });
    }
    // Of one that is based on another, the last part is its own.
    let own = name.rsplit('/').next().unwrap_or(name);
    let id = own.split('-').find_map(|part| part.parse::<u32>().ok()).ok_or_else(|| refused(volume))?;
    let folder = base.join("images").join(id.to_string());
    let cloudinit = own.split('.').next().is_some_and(|own| own.ends_with("-cloudinit"));
    Ok(match own.rsplit_once('.') {
        _ if cloudinit => File { path: folder.join(own), format: "raw".to_owned() },
        Some((_, format)) => File { path: folder.join(own), format: format.to_owned() },
        None => File { path: folder.join(format!("{own}.qcow2")), format: "qcow2".to_owned() },
    })
}

fn io(what: &str, path: &Utf8Path) -> impl Fn(std::io::Error) -> TaskError {
    move |error| TaskError(format!("unable to {what} '{path}' - {error}"))
}

/// That what is on a disk came from the lab's own image is kept beside it: it starts by that image's kernel.
fn mark(path: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.lab"))
}

/// Whether a disk is a copy of the lab's own image.
pub(super) fn is_own(path: &Utf8Path) -> bool {
    mark(path).exists()
}

/// Makes one disk.
pub(super) async fn make(disk: &NewDisk, log: &TaskLog) -> Result<(), TaskError> {
    let File { path, format } = file(&disk.volume)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("make the folder of", &path))?;
    }
    let bytes = disk.bytes.to_string();
    let own = match &disk.source {
        // A cloud-init drive is written at each start.
        DiskSource::Blank if path.as_str().contains("-cloudinit") => {
            fs::write(&path, "").map_err(io("make", &path))?;
            false
        }
        DiskSource::Blank => {
            programs::run(&["qemu-img", "create", "-q", "-f", &format, path.as_str(), &bytes], COPY).await?;
            false
        }
        DiskSource::Image(from) => {
            let own = image::is_own(from);
            if own {
                image::make(log).await?;
            }
            let argv = ["qemu-img", "convert", "-O", &format, from.as_str(), path.as_str()];
            programs::run(&argv, COPY).await?;
            own
        }
        DiskSource::Copy(volume) => {
            let from = file(volume)?;
            let argv = [
                "qemu-img",
                "convert",
                "-U",
                "-f",
                &from.format,
                "-O",
                &format,
                from.path.as_str(),
                path.as_str(),
            ];
            programs::run(&argv, COPY).await?;
            is_own(&from.path)
        }
        DiskSource::Linked(volume) => {
            let from = file(volume)?;
            let argv = [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                &from.format,
                "-b",
                from.path.as_str(),
                path.as_str(),
                &bytes,
            ];
            programs::run(&argv, COPY).await?;
            is_own(&from.path)
        }
    };
    if own {
        fs::write(mark(&path), "").map_err(io("mark", &path))?;
    }
    Ok(())
}

/// Removes a volume; one that is gone already is what was wanted.
pub(super) fn free(volume: &str) -> Result<(), TaskError> {
    let File { path, .. } = file(volume)?;
    for gone in [&path, &mark(&path)] {
        match fs::remove_file(gone) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("free", gone)(error));
            }
            _ => {}
        }
    }
    if let Some(folder) = path.parent() {
        // One that holds more volumes stays.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Gives a volume another name. Called again after a cut, it is done already.
pub(super) fn rename(from: &str, to: &str) -> Result<(), TaskError> {
    let (from, to) = (file(from)?.path, file(to)?.path);
    if is_own(&from) {
        fs::rename(mark(&from), mark(&to)).map_err(io("rename", &from))?;
    }
    if !from.exists() && to.exists() {
        return Ok(());
    }
    fs::rename(&from, &to).map_err(io("rename", &from))
}

/// Makes a disk larger; while the machine runs, by its process, which tells the system in it.
pub(super) async fn grow(
    id: u32,
    key: &str,
    volume: &str,
    bytes: u64,
    running: bool,
) -> Result<(), TaskError> {
    if running {
        let node = format!("drive-{key}");
        return talk::qmp(id, "block_resize", json!({"node-name": node, "size": bytes})).await.map(drop);
    }
    let File { path, format } = file(volume)?;
    let bytes = bytes.to_string();
    programs::run(&["qemu-img", "resize", "-q", "-f", &format, path.as_str(), &bytes], COPY).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_lie_where_their_storage_is_and_never_outside() {
        let path = |volume: &str| file(volume).map(|file| (file.path.into_string(), file.format));
        for (volume, at, format) in [
            ("tank:301/vm-301-disk-0.qcow2", "/mnt/pve/tank/images/301/vm-301-disk-0.qcow2", "qcow2"),
            ("local:301/vm-301-disk-0.raw", "/var/lib/vz/images/301/vm-301-disk-0.raw", "raw"),
            ("local-zfs:vm-301-disk-0", "/mnt/pve/local-zfs/images/301/vm-301-disk-0.qcow2", "qcow2"),
            (
                "tank:301/base-301-disk-0.qcow2/303/vm-303-disk-0.qcow2",
                "/mnt/pve/tank/images/303/vm-303-disk-0.qcow2",
                "qcow2",
            ),
            ("tank:301/vm-301-cloudinit.qcow2", "/mnt/pve/tank/images/301/vm-301-cloudinit.qcow2", "raw"),
            ("local:iso/x.iso", "/var/lib/vz/template/iso/x.iso", "raw"),
        ] {
            assert_eq!(path(volume).expect(volume), (at.to_owned(), format.to_owned()));
        }
        for bad in ["", "x", "tank:", "tank:../../etc/shadow", "../x:301/vm-301-disk-0.raw", "tank:nothing"] {
            assert!(file(bad).is_err(), "{bad} was accepted");
        }
    }
}
