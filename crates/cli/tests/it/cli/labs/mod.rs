//! What is applied, to a simulated lab: a process of its own, which takes its time. `make quick` leaves it out.

mod addresses;
mod book;
mod host_key;
mod inside;
mod key;
mod killed;
mod learn;
mod life;
mod lost;
mod off;
mod others_words;
mod root;
mod roots;
mod sealed;
mod secrets;
mod templates;
mod told;

use super::{Lab, Said, TestEnv, free_port, processes};
