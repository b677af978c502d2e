//! What is installed inside a guest: features, which are data, become one shell script that is run in one round trip.
//!
//! [`render`] works out one feature for one guest, purely: packages, files to the last byte, commands, units, health
//! checks, and a fingerprint of it all. [`script`] makes the POSIX shell script of all features of a guest; what it
//! does is in `engine.sh`, which a person can read; what a guest remembers of it, and how that is taken back ([`removal`]),
//! in `record.sh`. [`parse_report`] reads what it says while it runs.

mod builtin;
mod check;
mod content;
pub mod crew;
mod crypt;
pub mod describe;
pub mod diff;
mod error;
mod fingerprint;
mod heard;
pub mod known;
pub mod look;
mod moves;
mod order;
pub mod preview;
pub(crate) mod quote;
mod render;
mod rendered;
pub mod renderer;
mod report;
mod room;
mod script;
mod secrets;
mod size;
mod template;
mod wanted;

pub use builtin::builtin;
pub(crate) use builtin::catalog_file;
pub use content::Content;
pub(crate) use content::base64;
pub use error::{OrderError, RenderError, ScriptError};
pub use order::order;
pub(crate) use quote::shell_quote;
pub use render::{GuestFacts, render};
pub use rendered::{Rendered, RenderedArtifact, RenderedFile, RenderedFolder, RenderedKey, RenderedPrune};
pub use report::{Action, ActionKind, Change, Outcome, Report, ReportError, parse_report};
pub(crate) use script::hex;
pub use script::{Mode, Script, removal, script};
pub use wanted::packages;
