//! Reading and writing files of a guest from outside, without ever being led out of it by a symbolic link.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use camino::Utf8Path;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, fchown, openat2};

/// The root folder of a guest, and what is added to its user and group numbers.
#[derive(Debug)]
pub(crate) struct RootFs {
    root: OwnedFd,
    shift: u32,
}

impl RootFs {
    pub(crate) fn open(path: &Utf8Path, shift: u32) -> io::Result<Self> {
        let root = rustix::fs::open(
            path.as_str(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { root, shift })
    }

    fn at(&self, path: &str, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        // Every symbolic link on the way, an absolute one too, is followed as the guest would.
        let flags = flags | OFlags::CLOEXEC;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(mode) } else { Mode::empty() };
        Ok(openat2(&self.root, path, flags, mode, ResolveFlags::IN_ROOT)?)
    }

    /// The file's text; `None` when there is none.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<String>> {
        match self.at(path, OFlags::RDONLY | OFlags::NONBLOCK, 0) {
            Ok(fd) => {
                let mut text = Vec::new();
                File::from(fd).take(1 << 20).read_to_end(&mut text)?;
                Ok(Some(String::from_utf8_lossy(&text).into_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is something under `path`.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.at(path, OFlags::PATH, 0).is_ok()
    }

    /// Writes a file of the guest's root, unless it holds this already.
    pub(crate) fn write(&self, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
        if self.read(path)?.is_some_and(|now| now.as_bytes() == content) {
            return Ok(());
        }
        let (folder, name) = split(path)?;
        let open = || self.at(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK, mode);
        let fd = match open() {
            // A symbolic link to nowhere, such as /etc/resolv.conf before its service runs: the file takes its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = self.folder(folder)?;
                let _ = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
                open()?
            }
            other => other?,
        };
        fchown(&fd, Some(Uid::from_raw(self.shift)), Some(Gid::from_raw(self.shift)))?;
        File::from(fd).write_all(content)
    }

    /// Writes a file with an owner of the guest's own and, when given, a mode.
    pub(crate) fn put(
        &self,
        path: &str,
        content: &[u8],
        mode: Option<u32>,
        user: u32,
        group: u32,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
        let fd = self.at(path, flags, mode.unwrap_or(0o644))?;
        fchown(&fd, Some(Uid::from_raw(self.shift + user)), Some(Gid::from_raw(self.shift + group)))?;
        if let Some(mode) = mode {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        }
        File::from(fd).write_all(content)
    }

    /// All of a file.
    pub(crate) fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::from(self.at(path, OFlags::RDONLY | OFlags::NONBLOCK, 0)?).read_to_end(&mut content)?;
        Ok(content)
    }

    /// The number of a name in the guest's `/etc/passwd` or `/etc/group`.
    pub(crate) fn number_of(&self, file: &str, name: &str) -> Option<u32> {
        let text = self.read(file).ok()??;
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
        })
    }

    /// Makes `path` a symbolic link to `target`.
    pub(crate) fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let (folder, name) = split(path)?;
        let parent = self.folder(folder)?;
        let _ = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
        rustix::fs::symlinkat(target, &parent, name)?;
        let (uid, gid) = (Some(Uid::from_raw(self.shift)), Some(Gid::from_raw(self.shift)));
        Ok(rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The folder `path`, made with its parents where it is missing.
    pub(crate) fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let mut so_far = String::new();
        let mut last = self.at(".", OFlags::PATH | OFlags::DIRECTORY, 0)?;
        for part in path.split('/').filter(|p| !p.is_empty()) {
            so_far.push('/');
            so_far.push_str(part);
            last = match self.at(&so_far, OFlags::PATH | OFlags::DIRECTORY, 0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    rustix::fs::mkdirat(&last, part, Mode::from_raw_mode(0o755))?;
                    let (uid, gid) = (Some(Uid::from_raw(self.shift)), Some(Gid::from_raw(self.shift)));
                    rustix::fs::chownat(&last, part, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
                    self.at(&so_far, OFlags::PATH | OFlags::DIRECTORY, 0)?
                }
                other => other?,
            };
        }
        Ok(last)
    }
}

fn split(path: &str) -> io::Result<(&str, &str)> {
    path.rsplit_once('/')
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` is not absolute")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out_of_the_guest() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(root.path()).unwrap();
        fs_err::create_dir(path.join("etc")).unwrap();
        std::os::unix::fs::symlink(outside.path(), path.join("trap")).unwrap();
        std::os::unix::fs::symlink("../../../../../../tmp/nowhere/resolv.conf", path.join("etc/resolv.conf"))
            .unwrap();
        let fs = RootFs::open(path, rustix::process::getuid().as_raw()).unwrap();
        // The link's target is looked for inside the root, where it is not; a file of the guest takes its place.
        fs.write("/etc/resolv.conf", b"nameserver 10.0.0.1\n", 0o644).unwrap();
        assert_eq!(fs.read("/etc/resolv.conf").unwrap().unwrap(), "nameserver 10.0.0.1\n");
        assert!(fs.write("/trap/x", b"x", 0o644).is_err());
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
        fs.folder("/a/b/c").unwrap();
        assert!(path.join("a/b/c").is_dir());
        assert_eq!(fs.read("/etc/none").unwrap(), None);
    }
}
