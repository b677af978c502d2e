//! Names that are kept as what they are after parsing: a guest's and a node's are texts, and still never each other.

use std::fmt;
use std::sync::Arc;

use crate::reads_as_text::reads_as_text;

/// Makes a name: cheap to copy, readable as text wherever a text is wanted, looked up in maps by a text.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    )*};
}

names! {
    /// What a guest, a container or a virtual machine, is called in the blueprint. No two guests have the same.
    GuestName;
    /// What Proxmox VE calls a node: its own host name, as it is (also with capitals).
    NodeName;
}

reads_as_text! { GuestName NodeName }
