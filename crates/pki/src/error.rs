//! What can go wrong with keys, certificates and the files they are in.

use std::io;
use std::net::IpAddr;

use camino::Utf8PathBuf;

/// What is said of a life that the intermediate ends before.
pub(crate) const OUTLIVED: &str = "the intermediate certificate expires before";

/// Why a key or a certificate could not be made, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the authority cannot be read or written.
    #[error("failed to {doing} `{path}`")]
    Io {
        /// What was being done, e.g. `read`.
        doing: &'static str,
        /// The file or folder.
        path: Utf8PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read or write a private key or the folder it is in.
    #[error("`{path}` has mode {mode:04o}, so others than its owner can get at the authority's keys")]
    TooOpen {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they must be at most.
        wanted: u32,
    },
    /// Something is where a regular file or a folder belongs (a link is refused too).
    #[error("`{path}` is not a {wanted}")]
    WrongKind {
        /// The path.
        path: Utf8PathBuf,
        /// `regular file` or `folder`.
        wanted: &'static str,
    },
    /// A certificate is there, but the key that belongs to it is not.
    #[error("`{certificate}` is there, but its key `{key}` is not")]
    KeyMissing {
        /// The certificate's file.
        certificate: Utf8PathBuf,
        /// Where its key should be.
        key: Utf8PathBuf,
    },
    /// A key and a certificate beside each other do not belong together.
    #[error("the key `{key}` does not belong to the certificate `{certificate}`")]
    KeyMismatch {
        /// The certificate's file.
        certificate: Utf8PathBuf,
        /// The key's file.
        key: Utf8PathBuf,
    },
    /// The root's key has a passphrase, which nobody has given.
    #[error("the root's key `{key}` has a passphrase, which was not given")]
    Locked {
        /// The key's file.
        key: Utf8PathBuf,
    },
    /// The root's key cannot be opened.
    #[error("the root's key `{key}` cannot be opened")]
    NotUnlocked {
        /// The key's file.
        key: Utf8PathBuf,
        /// Why not.
        #[source]
        source: sealed::SealedError,
    },
    /// The root's key cannot be given a passphrase.
    #[error("the root's key `{key}` cannot be sealed")]
    NotSealed {
        /// The key's file.
        key: Utf8PathBuf,
        /// Why not.
        #[source]
        source: sealed::SealedError,
    },
    /// A file holds no key that can be used.
    #[error("`{path}` holds no usable private key")]
    BadKey {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Text is not a PEM certificate.
    #[error("{what} is not a PEM certificate: {reason}")]
    BadCertificate {
        /// What was read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was signed cannot be read, or not be written down.
    #[error("`{path}` does not hold what was signed")]
    BadRecord {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Text is not a request for a certificate.
    #[error("what was given is no request for a certificate: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The authority in the folder was made for another domain.
    #[error("the authority in `{folder}` was made for the domain `{found}`, not for `{wanted}`")]
    OtherDomain {
        /// The authority's folder.
        folder: Utf8PathBuf,
        /// The domain its root is limited to.
        found: String,
        /// The site's domain.
        wanted: String,
    },
    /// The root's life is over.
    #[error("the root certificate `{path}` expired at {at}")]
    RootExpired {
        /// The file.
        path: Utf8PathBuf,
        /// When.
        at: jiff::Timestamp,
    },
    /// A domain or name that no certificate can carry.
    #[error("`{name}` is not a DNS name")]
    BadName {
        /// The name.
        name: String,
    },
    /// A name outside the site's domain was asked for.
    #[error("the name `{name}` is outside the site's domain `{domain}`")]
    OutsideDomain {
        /// The name.
        name: String,
        /// The domain the authority is limited to.
        domain: String,
    },
    /// An address outside the subnets the authority is limited to was asked for.
    #[error("the address {address} is outside what the authority may certify")]
    OutsideSubnets {
        /// The address.
        address: IpAddr,
    },
    /// A certificate without names was asked for.
    #[error("the certificate `{name}` has neither a DNS name nor an address")]
    NoNames {
        /// What the request is called.
        name: String,
    },
    /// A life of nothing, or one that reaches beyond the authority's own.
    #[error("the certificate `{name}` cannot live {seconds} seconds: {reason}")]
    BadLife {
        /// What the request is called.
        name: String,
        /// The life asked for.
        seconds: u64,
        /// Why not.
        reason: &'static str,
    },
    /// A point in time that certificates cannot hold.
    #[error("{at} is not a time that a certificate can hold")]
    BadTime {
        /// The time.
        at: jiff::Timestamp,
    },
    /// Making a key or a signature failed.
    #[error("failed to {doing}")]
    Crypto {
        /// What was being done.
        doing: &'static str,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// The chain is not one that a client trusting only the root accepts.
    #[error("the chain for `{name}` does not verify")]
    Untrusted {
        /// The name it was checked for.
        name: String,
        /// What the verifier said.
        #[source]
        source: rustls::Error,
    },
}

impl PkiError {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooOpen { path, wanted, .. } => format!("chmod {wanted:04o} {path}"),
            Self::KeyMissing { key, .. } if key.file_name() == Some(crate::succession::NEW_KEY) => {
                format!("put {key} back from where you keep it; then phoenix-cli rotate authority")
            }
            Self::KeyMissing { key, .. } if key.file_name() == Some("root.key") => {
                format!(
                    "put {key} back from where you keep it, or have the next intermediate signed there: phoenix-cli certs request"
                )
            }
            Self::Locked { .. } => "give it on a terminal, or with --root-passphrase env:NAME or file:PATH".to_owned(),
            Self::NotUnlocked { source: sealed::SealedError::WrongPassphrase, .. } => {
                "nothing was signed; try it again".to_owned()
            }
            Self::NotUnlocked { key, .. } => format!("put {key} back from your backup"),
            Self::KeyMissing { key, .. } | Self::KeyMismatch { key, .. }
                if key.file_name() == Some(crate::next::NEXT_KEY) =>
            {
                "phoenix-cli certs request prints what is to be signed".to_owned()
            }
            Self::BadLife { reason, .. } if *reason == OUTLIVED => {
                "apply makes the next intermediate where the root's key is; where that is kept elsewhere: phoenix-cli certs request"
                    .to_owned()
            }
            Self::KeyMissing { certificate, key } => {
                format!("put {key} back, or remove {certificate}: the root then makes a new pair")
            }
            Self::KeyMismatch { key, .. } => format!("put the matching files back from your backup ({key})"),
            Self::OtherDomain { folder, .. } => {
                format!(
                    "give the site its old domain back, or move {folder} away: a new root is made, which clients must trust anew"
                )
            }
            Self::RootExpired { path, .. } => {
                let folder = path.parent().map_or("its folder", camino::Utf8Path::as_str);
                format!("move {folder} away: a new root is made, which clients must trust anew")
            }
            Self::OutsideDomain { domain, .. } => format!("use a name that ends in .{domain}"),
            Self::OutsideSubnets { .. } => "use a DNS name instead of an address".to_owned(),
            _ => return None,
        })
    }
}
