//! Refusals of the node, sorted by what a caller does about them, in this one place.

use std::collections::BTreeMap;

use serde_json::Value;
use transport::Sent;

use crate::exchange::{ExchangeError, Method, Request, Response};

/// What a refusal means. Proxmox VE says most of it in words under status 500; the words were all seen on a real node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The guest, volume, rule, task or file named is not there.
    NotFound,
    /// The id or name is taken.
    AlreadyExists,
    /// The guest runs already.
    AlreadyRunning,
    /// The guest does not run.
    NotRunning,
    /// The guest runs, and must not for this.
    MustBeStopped,
    /// The guest agent does not answer.
    AgentNotRunning,
    /// Another task holds the guest: wait and try again.
    Locked,
    /// The digest given is not the one of the configuration any more: read again.
    Modified,
    /// A privilege is missing, such as `Sys.Modify` on `/`, where the node says which.
    PermissionDenied {
        /// The path of the access control list.
        path: Option<String>,
        /// The privilege.
        privilege: Option<String>,
    },
    /// Only the user root@pam itself may do this; a token of root@pam is not that.
    RootOnly,
    /// The token, the user or the password is not right.
    Unauthorized,
    /// Parameters that do not fit, each with what is wrong with it.
    InvalidParameters(BTreeMap<String, String>),
    /// The guest's protection is on.
    Protected,
    /// The option cannot be changed after creation.
    ReadOnly,
    /// No node of that name.
    NoSuchNode,
    /// No storage of that name.
    NoSuchStorage,
    /// The storage is full.
    NoSpace,
    /// It still holds something.
    NotEmpty,
    /// A disk can only grow.
    CannotShrink,
    /// What is there cannot do this (snapshots or linked clones on that storage, a template with snapshots).
    Unsupported,
    /// A program the node needs for this is not installed.
    NotInstalled,
    /// A program the node ran for this failed.
    CommandFailed,
    /// The path or method is unknown to this version, or the content type is.
    Unimplemented,
    /// One node could not reach the other, or lost it on the way: it may have taken effect.
    Unreachable,
    /// Any other failure of the node.
    ServerError,
    /// An answer of no kind known here.
    Other,
}

impl ErrorKind {
    /// Sorts a refusal by its status and words. `errors` are those of single parameters.
    pub fn of(status: u16, message: &str, errors: &BTreeMap<String, String>) -> Self {
        match status {
            401 => return Self::Unauthorized,
            501 | 506 => return Self::Unimplemented,
            // pveproxy's own: 595 no connection to the other node, 596 broken on the way, 599 too large or too slow.
            502..=504 | 595..=599 => return Self::Unreachable,
            _ => {}
        }
        let known = Self::of_words(message).or_else(|| errors.values().find_map(|text| Self::of_words(text)));
        match (status, known) {
            (_, Some(kind)) => kind,
            (403, None) => Self::permission(message),
            (400, None) => Self::InvalidParameters(errors.clone()),
            (500..=599, None) => Self::ServerError,
            _ => Self::Other,
        }
    }

    fn permission(message: &str) -> Self {
        let inside =
            message.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(inside, _)| inside);
        match inside.and_then(|inside| inside.split_once(", ")) {
            Some((path, privilege)) if path.starts_with('/') => {
                Self::PermissionDenied { path: Some(path.to_owned()), privilege: Some(privilege.to_owned()) }
            }
            _ => Self::PermissionDenied { path: None, privilege: None },
        }
    }

    /// The words of an answer, of a failed task or of a command's standard error.
    pub fn of_words(text: &str) -> Option<Self> {
        let has = |needle: &str| text.contains(needle);
        // The order matters where one text holds the words of two.
        Some(if has("only allowed for root@pam") || has("only root can set") || has("user != root@pam") {
            Self::RootOnly
        } else if has("can't lock file") || has(" is locked") {
            Self::Locked
        } else if has("detected modified configuration")
            || has("checksum mismatch (file change by other user")
        {
            Self::Modified
        } else if has("protection mode enabled") {
            Self::Protected
        } else if has("hostname lookup '") || has("no such cluster node") {
            Self::NoSuchNode
        } else if has("No space left on device")
            || has("not enough space")
            || has("out of space")
            || has("insufficient free space")
        {
            Self::NoSpace
        } else if has("already running") {
            Self::AlreadyRunning
        } else if has("guest agent is not running") {
            Self::AgentNotRunning
        } else if has("not running") || has("to a running CT") {
            Self::NotRunning
        } else if has("container is running")
            || has("if the CT is running")
            || has("VM is running")
            || has("of a running container")
        {
            Self::MustBeStopped
        } else if has("already exists") || has("already defined") {
            Self::AlreadyExists
        } else if has("read-only option") {
            Self::ReadOnly
        } else if has("unable to shrink") || has("shrinking disks is not supported") {
            Self::CannotShrink
        } else if has("is not empty") {
            Self::NotEmpty
        } else if has("is not available") || has("contains snapshots") {
            Self::Unsupported
        } else if has("storage '") && has("' does not exist") && !has("volume '") {
            Self::NoSuchStorage
        } else if has("not installed") || has("open3: exec of") {
            Self::NotInstalled
        } else if has("does not exist")
            || has("no rule at position")
            || has("no such task")
            || has("No such file or directory")
        {
            Self::NotFound
        } else if has("startup for container") || has("failed: exit code") || has("quit/powerdown failed") {
            Self::CommandFailed
        } else {
            return None;
        })
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::PermissionDenied { path: Some(path), privilege: Some(privilege) } => format!(
                "give {privilege} on {path} to the token and to its user: a token never has more than its user"
            ),
            Self::PermissionDenied { .. } => {
                "the token or its user lacks a privilege: compare them in Datacenter, Permissions".to_owned()
            }
            Self::RootOnly => {
                "a token of root@pam is not root@pam: do this over ssh on the node, or with root's \
                               ticket"
                    .to_owned()
            }
            Self::Unauthorized => {
                "check the token's full name (user@realm!name), its secret and its expiry".to_owned()
            }
            Self::Locked => "another task holds it: see the node's task list, or wait".to_owned(),
            Self::Modified => "someone changed it meanwhile: plan again".to_owned(),
            Self::Protected => "its protection is on: take `protected` off first".to_owned(),
            Self::NoSuchStorage => "see which storages the node has: pvesm status".to_owned(),
            Self::NoSuchNode => "see the nodes' names: pvecm nodes, or hostname on a single node".to_owned(),
            Self::NoSpace => "see what is free: pvesm status".to_owned(),
            Self::AgentNotRunning => "install qemu-guest-agent in the guest and set agent=1".to_owned(),
            Self::Unimplemented => "this needs another version of Proxmox VE: see pveversion".to_owned(),
            Self::Unreachable => "one node could not reach another: see pvecm status".to_owned(),
            _ => return None,
        })
    }
}

/// A request that the node refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{request} was refused with {status}: {}", self.words())]
pub struct ApiError {
    /// Method and path.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The node's message, else the reason phrase, as it came.
    pub message: String,
    /// What is wrong with single parameters.
    pub errors: BTreeMap<String, String>,
    /// What it means.
    pub kind: ErrorKind,
}

impl ApiError {
    /// Reads a refusal.
    pub fn new(request: &Request, response: &Response) -> Self {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let said = response.body.get("message").map(text).filter(|said| !said.trim().is_empty());
        let message = said.unwrap_or_else(|| response.reason.clone());
        let errors: BTreeMap<String, String> = match response.body.get("errors") {
            Some(Value::Object(map)) => map.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
            _ => BTreeMap::new(),
        };
        let kind = ErrorKind::of(response.status, &message, &errors);
        Self { request: described(request), status: response.status, message, errors, kind }
    }

    fn words(&self) -> String {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut words = vec![one_line(&self.message)];
        words.extend(self.errors.iter().map(|(key, text)| format!("{key}: {}", one_line(text))));
        words.join("; ")
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        self.kind.hint()
    }
}

/// `GET /nodes/pve1/lxc`: how a request is named in messages. Never its parameters, which may be secret.
pub(crate) fn described(request: &Request) -> String {
    format!("{} {}", request.method, request.path)
}

/// A call that did not bring what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A refusal.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// An answer that is not what this call answers: cut in the middle, or of another version.
    #[error("cannot read the answer to {request}: {reason}")]
    Answer {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}

impl Error {
    /// The kind of a refusal.
    pub fn kind(&self) -> Option<&ErrorKind> {
        match self {
            Self::Api(error) => Some(&error.kind),
            _ => None,
        }
    }

    /// Whether the thing named is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(&ErrorKind::NotFound)
    }

    /// Whether the request may have taken effect. A refusal did not, except where it got lost between two nodes.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Exchange(ExchangeError::NeverSent { .. } | ExchangeError::Certificate { .. }) => {
                Sent::Never
            }
            Self::Api(error) if !matches!(error.kind, ErrorKind::Unreachable | ErrorKind::ServerError) => {
                Sent::Never
            }
            Self::Answer { request, .. } if request.starts_with(&Method::Get.to_string()) => Sent::Never,
            _ => Sent::Maybe,
        }
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exchange(error) => match error {
                ExchangeError::Certificate { seen, .. } => Some(format!(
                    "see on the node itself, on its console or over ssh, which one it has: pvenode cert info; only if it is \
                     that one: \"fingerprint\": \"{seen}\" under `target.proxmox`"
                )),
                ExchangeError::NeverSent { .. } => {
                    Some("is the node up, and is the address right? the API listens on port 8006".to_owned())
                }
                ExchangeError::MaybeSent { .. } => None,
            },
            Self::Api(error) => error.hint(),
            Self::Answer { .. } => {
                Some("is this the address of a Proxmox VE API (https://NODE:8006)?".to_owned())
            }
        }
    }
}
