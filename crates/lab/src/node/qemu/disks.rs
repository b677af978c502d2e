//! The volumes of a virtual machine: whether a call may use them, making them, and keeping those that are detached.

use camino::Utf8PathBuf;

use super::drive::{self, Drive, Source};
use crate::node::Inner;
use crate::node::error::ApiError;
use crate::node::etc::GuestConf;
use crate::node::guest_change::is_unused;
use crate::node::router::Call;
use crate::node::schema::Property;
use crate::node::storage::{Storage, Volume};
use crate::runtime::{DiskSource, NewDisk, TaskError, TaskLog};

/// What is said of a path to whom is not root.
pub(super) const ONLY_ROOT: &str =
    "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.";

impl Storage {
    /// A file of another kind than volumes and templates, `import/x.qcow2`: where it is, and its size.
    pub(crate) fn image(&self, name: &str) -> Option<(Utf8PathBuf, u64)> {
        let shown = self.options.get("path").map_or("/", String::as_str);
        let below = match name.split_once('/') {
            Some(("iso", file)) => format!("template/iso/{file}"),
            _ => name.to_owned(),
        };
        let path = self.files.clone().unwrap_or_else(|| Utf8PathBuf::from(shown)).join(below);
        if self.files.is_none() {
            return self.images.iter().find(|image| image.name == name).map(|image| (path, image.size));
        }
        fs_err::metadata(&path).ok().map(|meta| (path, meta.len()))
    }

    /// What a volume for guest `id` is called: its disk `n`, with this format.
    fn image_name(&self, id: u32, n: usize, format: &str) -> String {
        if self.has_files() { format!("{id}/vm-{id}-disk-{n}.{format}") } else { format!("vm-{id}-disk-{n}") }
    }

    /// What its cloud-init drive is called.
    fn cloudinit_name(&self, id: u32, format: &str) -> String {
        if self.has_files() {
            format!("{id}/vm-{id}-cloudinit.{format}")
        } else {
            format!("vm-{id}-cloudinit")
        }
    }
}

/// What a new volume is, and its format: `qcow2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form<'a> {
    Disk(&'a str),
    Cloudinit(&'a str),
}

/// `qcow2` of `tank:301/vm-301-disk-0.qcow2`; `raw` where the name has none.
pub(super) fn format_of(volume: &str) -> &str {
    volume.rsplit_once('.').map_or("raw", |(_, format)| format)
}

/// Whether what a drive names is there, and may be used by who calls.
pub(super) fn check(call: &Call<'_>, drive: &Drive, creating: bool) -> Result<(), ApiError> {
    let state = call.node.state();
    let keep = &state.keep;
    let here = |storage: &str| keep.storage_for_volumes(storage, &call.node.name).map_err(ApiError::die);
    let may = |storage: &str, privilege: &str| {
        call.node.may_in(keep, call.auth, &format!("/storage/{storage}"), privilege)
    };
    let allocates = |storage: &str| {
        if !here(storage)?.holds("images") {
            return Err(ApiError::parameter(
                "storage",
                format!("storage '{storage}' does not support vm images"),
            ));
        }
        match may(storage, "Datastore.AllocateSpace") {
            true => Ok(()),
            false => Err(ApiError::forbidden(format!("/storage/{storage}, Datastore.AllocateSpace"))),
        }
    };
    match drive.source() {
        Source::Empty => Ok(()),
        Source::Path(_) if call.auth.is_root() => Ok(()),
        Source::Path("cdrom") if !creating => Ok(()),
        Source::Path(path) if !creating && !path.starts_with("/dev/") => {
            Err(ApiError::parameter(&drive.key, format!("unable to associate path '{path}' to any storage")))
        }
        Source::Path(_) => Err(ApiError::die(ONLY_ROOT)),
        Source::NewCloudinit(storage) => here(storage).map(|_| ()),
        Source::New(storage, _) => allocates(storage),
        Source::Import(storage, from) => {
            if drive.file != format!("{storage}:0") {
                let text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
                return Err(ApiError::parameter(&drive.key, text));
            }
            if from.starts_with('/') {
                return if call.auth.is_root() { Ok(()) } else { Err(ApiError::die(ONLY_ROOT)) };
            }
            let Some((source, name)) = from.split_once(':') else {
                return Err(ApiError::die(format!("unable to parse volume ID '{from}'")));
            };
            here(source)?;
            if name.starts_with("iso/") || name.starts_with("vztmpl/") || name.starts_with("snippets/") {
                let kind = name.split('/').next().unwrap_or_default();
                let text = format!("{from} has wrong type '{kind}' - needs to be 'images' or 'import'");
                return Err(ApiError::parameter(&drive.key, text));
            }
            if !may(source, "Datastore.AllocateSpace") && !may(source, "Datastore.Audit") {
                return Err(ApiError::forbidden(format!(
                    "/storage/{source}, Datastore.Audit|Datastore.AllocateSpace"
                )));
            }
            allocates(storage)
        }
        Source::Volume(storage) => {
            let found = here(storage)?;
            let name = drive.file.split_once(':').map_or("", |(_, name)| name);
            if name.starts_with("iso/") {
                if !drive.is_cdrom() {
                    let text = "explicit 'media=cdrom' is required for iso images";
                    return Err(ApiError::parameter(&drive.key, text));
                }
            } else if found.has_files() && !name.contains('/') {
                return Err(ApiError::die(format!("unable to parse directory volume name '{name}'")));
            }
            match may(storage, "Datastore.AllocateSpace")
                || may(storage, "Datastore.Audit") && drive.is_cdrom()
            {
                true => Ok(()),
                false => Err(ApiError::forbidden(format!("/storage/{storage}, Datastore.AllocateSpace"))),
            }
        }
    }
}

/// Takes a name for a volume of guest `id`. The second of the pair is whether it is a cloud-init drive's.
pub(super) fn reserve(
    node: &Inner,
    storage: &str,
    id: u32,
    bytes: u64,
    form: Form<'_>,
) -> Result<String, String> {
    let now = node.clock.now();
    node.change(|keep| {
        let found =
            keep.storages.get(storage).ok_or_else(|| format!("storage '{storage}' does not exist"))?;
        let name = match form {
            Form::Cloudinit(format) => found.cloudinit_name(id, format),
            Form::Disk(format) => {
                let taken = |n: usize| {
                    ["raw", "qcow2", "vmdk"].iter().any(|format| {
                        keep.volumes.contains_key(&format!("{storage}:{}", found.image_name(id, n, format)))
                    })
                };
                let n = (0..).find(|n| !taken(*n)).unwrap_or_default();
                found.image_name(id, n, format)
            }
        };
        if keep.used(found).saturating_add(bytes) > found.total {
            return Err(format!("unable to create image: not enough space on storage '{storage}'"));
        }
        let volume = format!("{storage}:{name}");
        keep.volumes.insert(volume.clone(), Volume { size: bytes, guest: id, ctime: now, image: true });
        Ok(volume)
    })
}

/// What a task says when an image's file is made (`qemu-img create`).
pub(super) fn formatting(node: &Inner, volume: &str, bytes: u64, log: &TaskLog) {
    let Some((storage, name)) = volume.split_once(':') else { return };
    let state = node.state();
    let Some(found) = state.keep.storages.get(storage).filter(|found| found.tells_of_files()) else { return };
    let path = found.options.get("path").map_or("", String::as_str);
    let how = match format_of(volume) {
        "qcow2" => format!(
            "fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size={bytes} \
             lazy_refcounts=off refcount_bits=16"
        ),
        format => format!("fmt={format} size={bytes} preallocation=off"),
    };
    log.line(format!("Formatting '{path}/images/{name}', {how}"));
}

/// What a task says of what it copies.
pub(super) fn transferred(bytes: u64, log: &TaskLog) {
    let size = people(bytes);
    log.line(format!("transferred 0.0 B of {size} (0.00%)"));
    log.line(format!("transferred {size} of {size} (100.00%)"));
}

fn people(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut at = 0;
    while size >= 1024.0 && at + 1 < units.len() {
        size /= 1024.0;
        at += 1;
    }
    format!("{size:.1} {}", units.get(at).copied().unwrap_or_default())
}

/// A drive that is to be made, with its volume named; none where nothing is to be made. What is to be done for it is put to
/// `new`.
async fn plan(
    node: &Inner,
    id: u32,
    drive: &Drive,
    new: &mut Vec<NewDisk>,
    log: &TaskLog,
) -> Result<Option<Drive>, String> {
    let asked = drive.property.get("format");
    let (storage, bytes, format, source) = match drive.source() {
        Source::NewCloudinit(storage) => (storage, drive::CLOUDINIT, None, DiskSource::Blank),
        Source::New(storage, bytes) => (storage, bytes, Some(asked.unwrap_or("raw")), DiskSource::Blank),
        Source::Import(storage, from) => {
            let (path, listed) = found_image(node, from)?;
            let own = node.state().keep.volumes.get(from).map(|volume| volume.size);
            let source = match own {
                Some(_) => DiskSource::Copy(from.to_owned()),
                None => DiskSource::Image(path.clone()),
            };
            let bytes = match own {
                Some(size) => size,
                None => node.runtime.image_size(&path, listed).await.map_err(|error| error.0)?,
            };
            let format = asked.unwrap_or(match format_of(from) {
                "qcow2" => "qcow2",
                _ => "raw",
            });
            log.line(format!("create full clone of drive ({from})"));
            (storage, bytes, Some(format), source)
        }
        Source::Empty | Source::Path(_) | Source::Volume(_) => return Ok(None),
    };
    let files = node.state().keep.storages.get(storage).is_some_and(Storage::has_files);
    let format = format.map(|format| if files { format } else { "raw" });
    let form = format.map_or(Form::Cloudinit("qcow2"), Form::Disk);
    let volume = reserve(node, storage, id, bytes, form)?;
    formatting(node, &volume, bytes, log);
    if matches!(source, DiskSource::Image(_) | DiskSource::Copy(_)) {
        log.line(format!("allocated target volume '{volume}'"));
        transferred(bytes, log);
    }
    new.push(NewDisk { volume: volume.clone(), bytes, source });
    let mut made = drive.clone().with(&volume, format.map(|_| bytes));
    if format.is_none() {
        made.property.set("media", "cdrom");
    }
    Ok(Some(made))
}

/// Where an image or a volume that is to be copied is.
fn found_image(node: &Inner, from: &str) -> Result<(Utf8PathBuf, u64), String> {
    let Some((storage, name)) = from.split_once(':').filter(|_| !from.starts_with('/')) else {
        let size = fs_err::metadata(from).map(|meta| meta.len());
        return size.map(|size| (from.into(), size)).map_err(|_| format!("can't find file '{from}'"));
    };
    if let Some((offered, path, size)) = node.runtime.offered()
        && storage == "local"
        && offered == name
    {
        return Ok((path, size));
    }
    let state = node.state();
    if let Some(volume) = state.keep.volumes.get(from) {
        return Ok((Utf8PathBuf::new(), volume.size));
    }
    let on = state.keep.storages.get(storage).ok_or_else(|| format!("storage '{storage}' does not exist"))?;
    let path = on.options.get("path").map_or("", String::as_str);
    on.image(name).ok_or_else(|| format!("failed to stat '{path}/{name}'"))
}

/// Makes what drives ask for, and writes each as it then is into `into`. When one cannot be made, none is left.
pub(super) async fn create(
    node: &Inner,
    id: u32,
    drives: &[Drive],
    into: &mut crate::runtime::Config,
    log: &TaskLog,
) -> Result<Vec<String>, String> {
    let mut made = Vec::new();
    for drive in drives {
        let mut new = Vec::new();
        let done = match plan(node, id, drive, &mut new, log).await {
            Ok(done) => {
                made.extend(new.iter().map(|disk| disk.volume.clone()));
                let result = node.runtime.make_disks(id, &new, log).await;
                result.map(|()| done).map_err(|error| error.0)
            }
            Err(error) => Err(error),
        };
        match done.and_then(|done| done.map_or_else(|| existing(node, drive), Ok)) {
            Ok(done) => {
                let text = done.print();
                if done.file != drive.file {
                    log.line(format!("{}: successfully created disk '{text}'", drive.key));
                }
                into.insert(drive.key.clone(), text);
            }
            Err(error) => {
                // What cannot be freed is found by whoever looks at the storage; the error is what counts.
                let _ = free(node, id, &made).await;
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// A drive with a volume that there is, and its size as it is.
fn existing(node: &Inner, drive: &Drive) -> Result<Drive, String> {
    let Some(volume) = drive.volume() else { return Ok(drive.clone()) };
    let state = node.state();
    let (storage, name) = volume.split_once(':').unwrap_or((volume, ""));
    let missing = || format!("volume '{volume}' does not exist");
    if let Some(known) = state.keep.volumes.get(volume) {
        let size = (!drive::is_cloudinit_volume(volume)).then_some(known.size);
        return Ok(drive.clone().with(volume, size));
    }
    let image = state.keep.storages.get(storage).and_then(|on| on.image(name)).ok_or_else(missing)?;
    Ok(drive.clone().with(volume, Some(image.1)))
}

/// Removes volumes.
pub(super) async fn free(node: &Inner, id: u32, volumes: &[String]) -> Result<(), TaskError> {
    if volumes.is_empty() {
        return Ok(());
    }
    node.runtime.free_disks(id, volumes).await?;
    node.change(|keep| keep.volumes.retain(|volume, _| !volumes.contains(volume)));
    Ok(())
}

/// Whether any option names the volume.
pub(super) fn names(conf: &GuestConf, volume: &str) -> bool {
    let all = conf.current.options.iter().chain(conf.pending.options.iter());
    all.filter(|(key, _)| drive::is_key(key) || is_unused(key))
        .any(|(_, value)| value.split(',').next() == Some(volume))
}

/// A volume that no drive has any more is kept as `unusedN`; a cloud-init drive's goes (PVE::QemuServer,
/// `vmconfig_register_unused_drive`). What goes is added to `freed`.
pub(super) fn retire(node: &Inner, id: u32, conf: &mut GuestConf, drive: &Drive, freed: &mut Vec<String>) {
    let Some(volume) = drive.volume().filter(|volume| !names(conf, volume)) else { return };
    if drive.is_cloudinit() {
        freed.push(volume.to_owned());
        return;
    }
    let owned = node.state().keep.volumes.get(volume).is_none_or(|known| known.guest == id);
    if drive.is_cdrom() || !owned {
        return;
    }
    let free = (0..).map(|n| format!("unused{n}")).find(|key| !conf.current.options.contains_key(key));
    conf.current.options.insert(free.unwrap_or_default(), volume.to_owned());
}

/// The volume that a key of a configuration names, with what is said of it.
pub(crate) fn volume(key: &str, value: &str) -> Option<(String, Property)> {
    if is_unused(key) {
        return Some((value.split(',').next()?.to_owned(), Property::default()));
    }
    let drive = drive::is_key(key).then(|| Drive::parse(key, value)).flatten()?;
    // An image is no volume of anybody's.
    let own = drive.volume()?.split_once(':').is_some_and(|(_, name)| !name.starts_with("iso/"));
    own.then(|| (drive.file.clone(), drive.property.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_as_a_real_node_tells_them() {
        assert_eq!(people(0), "0.0 B");
        assert_eq!(people(1_572_864_000), "1.5 GiB");
        assert_eq!(people(112 << 20), "112.0 MiB");
    }
}
