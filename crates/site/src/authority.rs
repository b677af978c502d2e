//! The workshop's certificate authority: looked at without a trace, made by who applies, and missed where what is there was
//! made with it.

use std::sync::Arc;

use apply::Failure;
use async_trait::async_trait;
use blueprint::model::Blueprint;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use managers::Prober;
use plan::desired::Service;
use plan::inventory::Guest;
use plan::{Desired, Inventory, wire};

use crate::environment::{Listener, Notice};
use crate::error::Error;
use crate::folders::{made_state, state};

/// What stands on paper for the root's certificate before there is one. It is none, so that nobody can take it for one.
pub(crate) const NOT_MADE: &str = "the workshop's root certificate, which the first run makes\n";

/// What to copy, and from where.
const COPY: &str = "copy .phoenix/secrets from the folder that it was last applied from";

/// Where it is.
fn folder(blueprint: &Blueprint) -> Utf8PathBuf {
    state(&blueprint.root).join("secrets/authority")
}

fn settings(blueprint: &Blueprint) -> pki::AuthoritySettings {
    pki::AuthoritySettings {
        site: blueprint.site.name.to_string(),
        domain: blueprint.site.domain.to_string(),
        subnets: blueprint.networks.values().map(|n| n.subnet.into()).collect(),
    }
}

/// Why it cannot be used.
pub(crate) fn unusable(error: &pki::PkiError) -> Error {
    let code = match error {
        pki::PkiError::Locked { .. } => ROOT_LOCKED,
        pki::PkiError::NotUnlocked { .. } => "pki::root-passphrase",
        _ => "pki::authority",
    };
    Error::from_error(code, error).hint_if(error.hint())
}

/// The code of a root's key whose passphrase was not given.
pub(crate) const ROOT_LOCKED: &str = "pki::root-locked";

/// What is said before the first step of a plan that the root's key is needed for, which is elsewhere.
pub(crate) fn root_away(address: &plan::Address) -> Error {
    Error::failed("pki::root-away", format!("the root's key is not here, and has to sign for {address}")).hint(
        "phoenix-cli certs request > next.csr; where the root's key is: phoenix-cli certs sign next.csr > next.crt; here: \
         phoenix-cli certs install next.crt",
    )
}

/// The authority where there is one. Nothing is written.
pub(crate) fn found(blueprint: &Blueprint) -> Result<Option<Arc<pki::Authority>>, Error> {
    let found = pki::Authority::open(&folder(blueprint), &settings(blueprint), Timestamp::now());
    Ok(found.map_err(|e| unusable(&e))?.map(Arc::new))
}

/// The authority, which is made where there is none.
pub(crate) fn made(blueprint: &Blueprint, listener: &dyn Listener) -> Result<Arc<pki::Authority>, Error> {
    let folder = folder(blueprint);
    let new = !folder.join("root.crt").exists();
    made_state(&blueprint.root)?;
    let made = pki::Authority::open_or_create(&folder, &settings(blueprint), Timestamp::now());
    let authority = made.map_err(|e| unusable(&e))?;
    if new {
        listener.hear(&Notice::AuthorityMade { folder: &folder });
    }
    Ok(Arc::new(authority))
}

/// The authority with another root beside its own, of which nothing is written, or with the one that is there.
pub(crate) fn proposed(blueprint: &Blueprint) -> Result<Arc<pki::Authority>, Error> {
    let proposed = pki::Authority::propose_root(&folder(blueprint), &settings(blueprint), Timestamp::now());
    Ok(Arc::new(proposed.map_err(|e| unusable(&e))?))
}

/// What is known of the root by what it signed: guests that carry this site's marks were made with one that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// One of the guests, in words.
    guest: String,
    /// Whether there is another root here, or none.
    another: bool,
    /// Whether what says that it is the site's has to be adopted as well: the site's key is not here either.
    key: bool,
}

impl Lost {
    /// Whether the root that what is there was made with is lost; `authority` is what there is here.
    pub(crate) fn of(
        authority: Option<&pki::Authority>,
        desired: &Desired,
        inventory: &Inventory,
    ) -> Option<Self> {
        let own = inventory.of_site(&desired.site).filter_map(|guest| Some((guest, guest.mark.as_ref()?)));
        let mut all: Vec<_> = own.map(|(guest, mark)| (words(guest), mark.root.as_deref())).collect();
        let node = inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == desired.site);
        all.extend(node.map(|mark| ("the node's certificate".to_owned(), mark.root.as_deref())));
        let key = all.is_empty();
        if key {
            // What nobody can prove to be the site's counts where the blueprint says that it is, and no plan goes there.
            let claims = claimed(desired, inventory);
            all = claims.map(|guest| (words(guest), root_claimed(guest))).collect();
        }
        let Some(authority) = authority else {
            let (guest, _) = all.into_iter().next()?;
            return Some(Self { guest, another: false, key });
        };
        // What the present one has taken the place of here, or is about to, is of this site as well.
        let before = authority.before().iter().map(String::as_str);
        let here: Vec<String> =
            authority.trusted().into_iter().chain(before).map(|pem| wire::fingerprint(&[pem])).collect();
        // One that remembers this one is enough: it takes the place of the last, guest by guest.
        if all.iter().any(|(_, root)| root.is_some_and(|root| here.iter().any(|here| here == root))) {
            return None;
        }
        let (guest, _) = all.into_iter().find(|(_, root)| root.is_some())?;
        Some(Self { guest, another: true, key })
    }

    /// As an error that says what to do.
    pub(crate) fn error(&self) -> Error {
        let Self { guest, another, key } = self;
        let (code, here) = match another {
            false => ("authority::lost", "that is not here"),
            true => ("authority::another", "and another one is here"),
        };
        let comma = if *another { "," } else { "" };
        let anew = if *key { "adopt NAME --new-authority" } else { "up --new-authority" };
        Error::failed(code, format!("{guest} was made with a root certificate{comma} {here}")).hint(format!(
            "{COPY}, or open a sealed copy: phoenix-cli secrets open; only where there is no copy any more, have another root made, which all clients \
             have to trust anew: phoenix-cli {anew}"
        ))
    }
}

/// The guests that say they are what the blueprint declares there, and do not prove it.
pub(crate) fn claimed<'a>(
    desired: &'a Desired,
    inventory: &'a Inventory,
) -> impl Iterator<Item = &'a Guest> + 'a {
    inventory.guests.values().filter(|guest| {
        guest.claim.as_ref().is_some_and(|claim| desired.id_of(&claim.address) == Some(guest.id))
    })
}

fn root_claimed(guest: &Guest) -> Option<&str> {
    guest.claim.as_ref()?.says.root.as_deref()
}

fn words(guest: &Guest) -> String {
    let says = guest.claim.as_ref().map(|claim| &claim.address);
    match guest.mark.as_ref().map(|mark| &mark.address).or(says) {
        Some(address) => format!("{address} ({})", guest.id),
        None => guest.id.to_string(),
    }
}

/// Who asks services of a site that has no authority yet: nothing of it was ever applied.
#[derive(Debug)]
pub(crate) struct NothingYet;

#[async_trait]
impl Prober for NothingYet {
    async fn probe(&self, service: &Service) -> Result<String, Failure> {
        let what = format!("{} was not made yet: the workshop has no certificate authority", service.name);
        Err(not_made(what))
    }
}

/// What an authority is needed for that was not made yet.
pub(crate) fn not_made(what: String) -> Failure {
    Failure::new("authority::not-made", what).hint("phoenix-cli up makes it with the first guest")
}

#[cfg(test)]
mod tests;
