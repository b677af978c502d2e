//! The client against servers, scripts and recordings: one binary, which links once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests are tests"
)]

mod http;
mod inventory;
mod replay;
mod schema;
mod support;
mod tasks;
