//! Certificates: the embedded authority of a site, the leaves it issues, what a certificate says, and whether a chain
//! holds for a client that trusts only the root.
//!
//! Start at [`Authority`]. Time is always a parameter, so that nothing here looks at a clock, and private keys are
//! held as [`secrecy::SecretString`], which no `Debug` shows.

mod authority;
mod constraints;
mod error;
mod facts;
mod leaf;
mod locked;
mod next;
pub mod renewal;
mod root;
mod signed;
mod store;
mod succession;
mod verify;

pub use authority::{
    Authority, AuthoritySettings, INTERMEDIATE_LIFE, ROOT_LIFE, intermediate_due, intermediate_life,
};
pub use error::PkiError;
pub use facts::{CertificateFacts, renew_at};
pub use leaf::{BACKDATE, Leaf, LeafRequest};
pub use locked::{NeedsRoot, RootKey};
pub use signed::Refused;
pub use succession::Stage;
pub use verify::verify_chain;
