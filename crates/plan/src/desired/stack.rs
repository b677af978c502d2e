//! Stacks of Docker containers, definite.

use blueprint::model::Location;
use blueprint::names::GuestName;

use super::Feature;
use crate::address::Address;
use crate::host::Host;

/// A stack on a guest.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// The guest that it is on.
    pub on: GuestName,
    /// The same as a host.
    pub host: Host,
    /// What Docker Compose calls it.
    pub project: String,
    /// What brings it about there: a feature of the guest that goes by [`Stack::feature_name`].
    pub feature: Feature,
    /// Where it is declared.
    pub declared: Location,
}

impl Stack {
    /// Its resource address.
    pub fn resource(&self) -> Address {
        Address::stack(&self.name)
    }

    /// What the feature is called that brings a stack of this name about: the guest's own record of it goes by that.
    pub fn feature_name(stack: &str) -> String {
        format!("stack-{stack}")
    }
}
