//! A site as a library: open it, look at what is there, plan, apply, and ask how it is.
//!
//! Start at [`Site`]. Nothing here prints, asks a person, or reads the environment: variables come in as an
//! [`Environment`], what a person may want to know goes to a [`Listener`], what happens during a run to an
//! [`apply::Sink`], and what cannot be done comes back as an [`Error`].

mod adopt;
mod artifacts;
mod authority;
pub mod bootstrap;
mod carry_out;
mod connect;
mod control;
mod doors;
mod environment;
mod error;
mod folders;
mod health;
mod inside;
mod key;
mod lock;
mod open;
mod operator;
mod passphrase;
mod placed;
mod root_key;
#[cfg(test)]
mod sample;
mod saved;
pub mod scrub;
pub mod sealing;
mod secrets;
mod simulated;
mod site;
mod status;
mod succession;
mod trace;
mod urls;

pub use adopt::Foundling;
pub use artifacts::store as artifacts;
pub use carry_out::Order;
pub use connect::{Connection, connect};
pub use control::Control;
pub use environment::{Environment, Listener, Notice};
pub use error::{Error, ErrorKind, Invalid};
pub use folders::{default_lab, folder, lab_folder, made_state, runs, state};
pub use inside::Silent;
pub use key::{file as key_file, key};
pub use lock::SiteLock;
pub use open::{OnPaper, catalog, load};
pub use passphrase::Passphrase;
pub use pki::Stage;
pub use saved::{Saved, read};
pub use secrets::{Another, SiteSecrets};
pub use site::{Restarts, SPAN, Site};
pub use status::{ExtraGuest, Status};
pub use trace::{Question, Traced};
pub use urls::{at_the_port, tcp_services, url};
