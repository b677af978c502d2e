//! The foreman: carries out a plan, and makes no choices of its own.
//!
//! Start at [`walk::Foreman`], which walks the steps, each when what it needs has succeeded, and hands them to their
//! [`crew::Crew`]. All that happens is an [`event::Event`]: the terminal, JSON lines and the [`journal`] are readers of
//! the same stream.

pub mod crew;
pub mod event;
pub mod journal;
pub mod limits;
pub mod walk;

pub use crew::{Crew, Done, Failure, Progress, work};
pub use event::{Event, Outcome, Sink};
pub use walk::{Foreman, Report};
