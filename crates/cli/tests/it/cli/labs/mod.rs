//! What is applied, to a simulated lab: a process of its own, which takes its time. `make quick` leaves it out.

mod addresses;
mod inside;
mod key;
mod killed;
mod life;
mod told;

use super::{Lab, Said, TestEnv, free_port, processes};
