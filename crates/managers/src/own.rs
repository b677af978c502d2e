//! Whose a guest is, looked at right before something is done to it: between a plan and its steps, and between a blueprint
//! and a command in a guest, somebody may have put something else there.

use std::collections::BTreeMap;

use apply::Failure;
use plan::Address;
use plan::mark::{self, Mark};
use plan::trust::{Standing, Trust};
use proxmox::client::GuestRef;

use crate::settle;
use crate::ways::Ways;

const NOT_OURS: &str = "managers::not-ours";

/// What a guest of the site's own says of itself.
#[derive(Debug, Clone)]
pub struct Own {
    /// What its description says beside the mark.
    pub text: String,
    /// Its mark.
    pub mark: Mark,
    /// The nonce of its seal; none in marks of before the site had a key.
    pub nonce: Option<String>,
}

impl Own {
    /// What a guest with this configuration says of itself, where it is the site's own: it has the tag, and a mark that the
    /// site's key made for it. Where it is known what it is to be, it is that.
    ///
    /// # Errors
    /// When it is not.
    pub fn of(
        trust: &Trust,
        id: u32,
        address: Option<&Address>,
        config: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let value = |key: &str| config.get(key).map_or("", String::as_str);
        let (text, read) = mark::parse(value("description"))
            .map_err(|error| Failure::from_error("managers::mark-unreadable", &error))?;
        let refused = |what: String| {
            Failure::new(NOT_OURS, format!("{what}; nothing was done to it"))
                .hint("phoenix-cli plan shows what is there now")
        };
        let (mark, nonce) = match read.map(|read| trust.of_guest(id, value("tags"), read)) {
            Some(Standing::Ours(mark, nonce)) => (mark, Some(nonce)),
            Some(Standing::Old(mark)) => (mark, None),
            Some(Standing::Claimed(claim)) => return Err(refused(format!("{id} is {claim}"))),
            _ => {
                return Err(refused(format!("{id} does not carry the mark of the site `{}`", trust.site())));
            }
        };
        match address.filter(|address| **address != mark.address) {
            Some(address) => Err(refused(format!("{id} is {}, and not {address}", mark.address))),
            None => Ok(Self { text, mark, nonce }),
        }
    }
}

/// Where a guest is, in the whole cluster (T-9).
///
/// # Errors
/// When it is nowhere, or the node does not answer.
pub async fn locate(ways: &Ways, id: u32) -> Result<GuestRef, Failure> {
    let node = match ways.known_node_of(id) {
        Some(node) => Some(node),
        None => ways.ask_for(id).await?,
    };
    let node = node.ok_or_else(|| {
        Failure::new("managers::guest-gone", format!("the guest {id} is not there any more"))
            .hint("phoenix-cli plan shows what is there now")
    })?;
    Ok(GuestRef::new(node, ways.kind_of(id), id))
}

/// Where a container is that is not where it was: `None` where it is nowhere else either (T-9).
///
/// # Errors
/// When the node does not answer.
pub async fn moved(ways: &Ways, guest: &GuestRef) -> Result<Option<GuestRef>, Failure> {
    if ways.alone() {
        return Ok(None);
    }
    let node = ways.ask_for(guest.id).await?.filter(|node| *node != guest.node);
    Ok(node.map(|node| GuestRef::new(node, guest.kind, guest.id)))
}

/// A container's configuration as it is now, wherever it is.
///
/// # Errors
/// When it is not there, or the node does not answer.
pub async fn config(ways: &Ways, id: u32) -> Result<BTreeMap<String, String>, Failure> {
    let look = |guest: GuestRef| async move {
        settle::read("reading whose it is", || ways.reader().config(&guest)).await
    };
    let guest = locate(ways, id).await?;
    match look(guest.clone()).await {
        Err(failure) if failure.code == settle::NOT_FOUND => {
            look(moved(ways, &guest).await?.ok_or(failure)?).await
        }
        config => config,
    }
}
