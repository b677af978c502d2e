//! Sites in labs of real containers. Each that ran prints `real containers: NAME`, each that could not `skipped: REASON`.

mod bootstrap;
mod cluster;
mod firewall;
mod hardware;
mod machines;
mod network;
mod request;
mod support;
mod trace;
mod workshop;
