//! The root's key where it has a passphrase, or is kept elsewhere: found out before anything is begun.

use jiff::Timestamp;
use pki::{NeedsRoot, RootKey};
use plan::Plan;
use secrecy::SecretString;

use crate::authority;
use crate::error::Error;
use crate::site::Site;

impl Site {
    /// Finds out whether the root's key is here. One that cannot be read is told by whoever needs it.
    pub(crate) fn look_at_root(&mut self) {
        let key = self.authority.as_ref().and_then(|authority| authority.root_key().ok());
        self.inventory.root_away = key == Some(RootKey::Away);
    }

    /// Whether the root's key has a passphrase, which has to be given ([`Self::unlock`]) before `plan` is carried out.
    ///
    /// # Errors
    /// When the root has to sign something for it, and its key is kept elsewhere; when it cannot be read.
    pub fn takes_passphrase(&self, plan: &Plan) -> Result<bool, Error> {
        let Some(authority) = &self.authority else { return Ok(false) };
        let Some((step, needs)) = managers::needs_root(plan, authority, Timestamp::now()) else {
            return Ok(false);
        };
        match authority.root_key().map_err(|e| authority::unusable(&e))? {
            RootKey::Here => Ok(false),
            RootKey::Locked => Ok(true),
            RootKey::Away if needs == NeedsRoot::Must => Err(authority::root_away(&step.address)),
            RootKey::Away => Ok(false),
        }
    }

    /// Opens the root's key for what is signed until this is closed.
    ///
    /// # Errors
    /// When the passphrase is another one, or the key cannot be read.
    pub fn unlock(&self, passphrase: &SecretString) -> Result<(), Error> {
        self.root()?.unlock(passphrase).map_err(|e| authority::unusable(&e))
    }
}
