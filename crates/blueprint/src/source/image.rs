//! Container templates, and images for virtual machines.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{HttpUrl, Sha256, SitePath, StorageName, Text};

/// A container template, which Phoenix puts on the nodes that need it. Without `url` and `file` it comes from the node's own
/// catalogue. What is there and fits is never fetched again, and a newer one is for new containers alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TemplateSource {
    /// The beginning of a file name in the node's catalogue (`pveam available` shows it): the newest that begins so. Where
    /// absent, the name under which it is declared.
    #[schemars(extend("examples" = ["alpine-3.22"]))]
    pub catalogue: Option<Text>,
    /// From where the node fetches it: a file that ends in `.tar.zst`, `.tar.gz`, `.tar.xz` or `.tar.bz2`.
    #[schemars(extend("examples" = ["https://images.example.org/mine.tar.zst"]))]
    pub url: Option<HttpUrl>,
    /// A file of the site, which Phoenix uploads.
    #[schemars(extend("examples" = ["templates/mine.tar.zst"]))]
    pub file: Option<SitePath>,
    /// A container of the blueprint, `container.base`: it is made, what is to be in it installed, and then it becomes a template,
    /// which others are clones of.
    #[schemars(extend("examples" = ["container.base"]))]
    pub from: Option<Text>,
    /// The id of a container that is there already, mostly a template, which others are clones of. Phoenix never changes it.
    #[schemars(range(min = 100, max = 999_999_999), extend("examples" = [9000]))]
    pub guest: Option<u32>,
    /// The SHA-256 of what `url` or `file` brings; nothing else is taken. Another sum is another file on the storage.
    pub sha256: Option<Sha256>,
    /// The storage it is put on. Where absent: `local` where that may hold templates, else the first that may.
    #[schemars(extend("examples" = ["local"]))]
    pub storage: Option<StorageName>,
}

/// An image that virtual machines are made of or started from: a disk image (`.qcow2`, `.raw`, `.vmdk`), an ISO (`.iso`), or a
/// machine that others are clones of. It needs `url`, `file`, `from` or `guest`. What is there and fits is never fetched again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSource {
    /// From where the node fetches it.
    #[schemars(extend("examples" = ["https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-amd64.qcow2"]))]
    pub url: Option<HttpUrl>,
    /// A file of the site, which Phoenix uploads.
    #[schemars(extend("examples" = ["iso/installer.iso"]))]
    pub file: Option<SitePath>,
    /// A virtual machine of the blueprint, `vm.golden`: it is made, what is to be in it installed, and then it becomes a template,
    /// which others are clones of.
    #[schemars(extend("examples" = ["vm.golden"]))]
    pub from: Option<Text>,
    /// The id of a virtual machine that is there already, mostly a template, which others are clones of. Phoenix never changes
    /// it.
    #[schemars(range(min = 100, max = 999_999_999), extend("examples" = [9000]))]
    pub guest: Option<u32>,
    /// The SHA-256 of what `url` or `file` brings; nothing else is taken. Another sum is another file on the storage.
    pub sha256: Option<Sha256>,
    /// What the file is. Where absent, its ending says it.
    pub format: Option<FormatSource>,
    /// The storage it is put on. Where absent: `local` where that may hold it, else the first that may.
    #[schemars(extend("examples" = ["local"]))]
    pub storage: Option<StorageName>,
}

/// What an image's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FormatSource {
    /// A disk image of QEMU's own.
    Qcow2,
    /// A disk image, byte for byte.
    Raw,
    /// A disk image of VMware's.
    Vmdk,
    /// A CD.
    Iso,
}

/// How much a clone has of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CloneSource {
    /// All of it: a copy.
    #[default]
    Full,
    /// What is written after it was made; the rest stays on the template's disks. It is made in an instant, where the storage can
    /// do that, and its template cannot go while it is there.
    Linked,
}
