//! Client of the Proxmox VE API, typed, for the calls Phoenix makes.
//!
//! Start at [`exchange::Exchange`], the seam, and [`client`], the calls.

pub mod exchange;
