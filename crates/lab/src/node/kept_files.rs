//! Files on a storage that are nobody's disk: templates, ISOs, and disk images to import. Where each kind lies, what its names
//! end in, and its sum.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::runtime::{TaskError, TaskLog};

/// A kind of such files, as a storage's `content` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `vztmpl`, `iso`, `import`.
    pub content: &'static str,
    /// The folder below the storage's (PVE::Storage::Plugin, `$default_subdirs`).
    pub folder: &'static str,
    /// What names end in, and the format that is said of them.
    endings: &'static [(&'static str, &'static str)],
}

/// All kinds.
pub(crate) const KINDS: [Kind; 3] = [
    Kind {
        content: "vztmpl",
        folder: "template/cache",
        endings: &[
            (".tar.zst", "tzst"),
            (".tar.gz", "tgz"),
            (".tar.xz", "txz"),
            (".tar.bz2", "tbz2"),
            (".tar", "tar"),
        ],
    },
    Kind { content: "iso", folder: "template/iso", endings: &[(".iso", "iso"), (".img", "iso")] },
    Kind {
        content: "import",
        folder: "import",
        endings: &[(".qcow2", "qcow2"), (".raw", "raw"), (".vmdk", "vmdk"), (".ova", "ova")],
    },
];

impl Kind {
    /// The one of this name.
    pub(crate) fn of(content: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.content == content)
    }

    /// The format of a file of this name; none where its name is not one of this kind.
    pub(crate) fn format(self, name: &str) -> Option<&'static str> {
        let lower = name.to_ascii_lowercase();
        self.endings.iter().find(|(ending, _)| lower.ends_with(ending)).map(|(_, format)| *format)
    }
}

/// A file that came with a request. What a client sent is removed when nobody holds it any more.
#[derive(Debug)]
pub struct Uploaded {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// Whether it was only put there for this.
    pub passing: bool,
}

impl Drop for Uploaded {
    fn drop(&mut self) {
        if self.passing {
            // It may be taken already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A sum that a file is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// `sha256`, as the API names it.
    pub algorithm: String,
    /// What it is to be, in hexadecimal digits.
    pub sum: String,
}

impl Checksum {
    /// Whether what is read has this sum, in the words of a real node's task.
    ///
    /// # Errors
    /// When it has another, or cannot be read.
    pub fn verify(&self, content: impl Read, log: &TaskLog) -> Result<(), TaskError> {
        let got = sum(&self.algorithm, content)?;
        if got == self.sum.to_ascii_lowercase() {
            log.line("calculating checksum...OK, checksum verified");
            return Ok(());
        }
        log.line("calculating checksum...");
        Err(TaskError(format!("checksum mismatch: got '{got}' != expect '{}'", self.sum)))
    }

    /// The same of a file.
    ///
    /// # Errors
    /// As [`Checksum::verify`].
    pub fn verify_file(&self, path: &Utf8Path, log: &TaskLog) -> Result<(), TaskError> {
        let file = fs::File::open(path).map_err(|error| TaskError(error.to_string()))?;
        self.verify(file, log)
    }
}

fn sum(algorithm: &str, mut content: impl Read) -> Result<String, TaskError> {
    fn of<D: sha2::Digest + std::io::Write>(content: &mut impl Read) -> std::io::Result<String> {
        let mut digest = D::new();
        std::io::copy(content, &mut digest)?;
        Ok(super::etc::hex(&digest.finalize()))
    }
    let sum = match algorithm {
        "sha1" => of::<Sha1>(&mut content),
        "sha224" => of::<Sha224>(&mut content),
        "sha256" => of::<Sha256>(&mut content),
        "sha384" => of::<Sha384>(&mut content),
        "sha512" => of::<Sha512>(&mut content),
        other => return Err(TaskError(format!("this node does not offer the checksum algorithm '{other}'"))),
    };
    sum.map_err(|error| TaskError(error.to_string()))
}

/// What `qemu-img` finds wrong with an image of this name that begins so; `shown` is where it lies.
///
/// # Errors
/// When it is none.
pub fn verify_image(name: &str, begin: &[u8], shown: &Utf8Path) -> Result<(), TaskError> {
    if name.to_ascii_lowercase().ends_with(".qcow2") && !begin.starts_with(b"QFI\xfb") {
        let said = format!("qemu-img: Could not open '{shown}': Image is not in qcow2 format");
        return Err(TaskError(format!("failed to verify file: {said}")));
    }
    Ok(())
}

/// The first bytes of a file.
///
/// # Errors
/// When it cannot be read.
pub fn begin_of(path: &Utf8Path) -> Result<Vec<u8>, TaskError> {
    let mut begin = Vec::new();
    let file = fs::File::open(path).map_err(|error| TaskError(error.to_string()))?;
    file.take(16).read_to_end(&mut begin).map_err(|error| TaskError(error.to_string()))?;
    Ok(begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_held_against_what_is_there() {
        let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let of = |sum: &str| Checksum { algorithm: "sha256".to_owned(), sum: sum.to_owned() };
        let log = TaskLog::default();
        assert_eq!(of(sum).verify(&b"hello"[..], &log), Ok(()));
        assert_eq!(of(&sum.to_uppercase()).verify(&b"hello"[..], &log), Ok(()));
        let other = of("00").verify(&b"hello"[..], &log).unwrap_err();
        assert_eq!(other.0, format!("checksum mismatch: got '{sum}' != expect '00'"));
        assert_eq!(log.lines()[0], "calculating checksum...OK, checksum verified");
    }

    #[test]
    fn names_tell_the_format() {
        let kind = |content| Kind::of(content).unwrap();
        assert_eq!(kind("vztmpl").format("a.tar.zst"), Some("tzst"));
        assert_eq!(kind("iso").format("a.ISO"), Some("iso"));
        assert_eq!(kind("import").format("a.qcow2"), Some("qcow2"));
        assert_eq!(kind("iso").format("a.txt"), None);
        assert_eq!(Kind::of("snippets"), None);
    }
}
