//! `trace`: one request, hop by hop, from several places; which hop breaks, why, and what to do.
//!
//! Three parts. *On paper*: [`path()`] is the way to a name, worked out from the desired state, and [`paper::check`] says
//! which ways cannot work before anything is built. *Observed*: [`ask`] makes the request from the node and from inside
//! guests, [`look`] is what guests say about themselves, through the node, so that it is known when no network works.
//! *Judged*: [`diagnose`] is pure, from what was seen to a [`Finding`] for each hop. [`trace()`] does it all.

pub mod ask;
pub mod chain;
pub mod declared;
pub mod devices;
pub mod diagnose;
mod finding;
pub mod flows;
pub mod leg;
pub mod log;
pub mod look;
pub mod neighbour;
mod observe;
pub mod paper;
mod parts;
pub mod path;
pub mod question;
pub mod rules;
pub mod updates;
pub mod verdict;

pub use declared::Declared;
pub use diagnose::Vantage;
pub use finding::{Cause, Finding, Hop, State, Walk};
pub use observe::{Observer, look_at, trace};
pub use path::{Path, Target, path};
pub use verdict::{Verdict, verdict};
