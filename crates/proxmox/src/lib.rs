//! Client of the Proxmox VE API, typed, for the calls Phoenix makes, and reader of its files.
//!
//! Start at [`client::Reader`] (it can only read) and [`client::Writer`] (it can change things): both speak through an
//! [`exchange::Exchange`], which is [`http::HttpExchange`] for a real node. Failures are sorted by [`error::ErrorKind`],
//! in one place. [`inventory`] reads the configuration of all guests, by their files or by the API, into [`config`].
//!
//! What is known about Proxmox VE's behaviour was seen on a real node of version 9.2.11 unless another source is named.

pub mod client;
pub mod command;
pub mod config;
pub mod error;
pub mod exchange;
pub mod firewall;
pub mod guard;
pub mod http;
pub mod inventory;
mod lenient;
pub mod network;
mod node_name;
pub mod property;
pub mod upid;

pub use error::{ApiError, Error, ErrorKind};
pub use node_name::is_node_name;
pub use upid::Upid;
