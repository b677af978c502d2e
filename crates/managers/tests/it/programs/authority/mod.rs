//! The workshop's authority and the certificates of its guests, with the real programs (step-ca, step, Nginx, openssl,
//! dehydrated, pebble) in a throw-away root with a network of its own. Only systemd is stood in for.
//!
//! step-ca and step are those that `phoenix-cli artifacts fetch` built; where they are not, these tests are skipped.

#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

mod acme;
mod attacks;
mod backup;
mod ca;
mod node;
mod renewal;
mod workshop;
