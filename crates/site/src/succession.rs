//! Another root takes the place of the site's: both are trusted, then the new one signs, then it alone is trusted. How far that
//! is stands in the authority's folder ([`pki::Stage`]), and each stage is an ordinary plan of the whole site.

use std::sync::Arc;

use jiff::Timestamp;
use pki::Stage;
use plan::Address;

use crate::authority;
use crate::environment::Listener;
use crate::error::Error;
use crate::open::desired;
use crate::site::Site;

impl Site {
    /// How far another root has taken the place of the site's; nothing where there is but one.
    pub fn root_stage(&self) -> Option<Stage> {
        self.authority.as_ref().and_then(|authority| authority.stage())
    }

    /// Has what is wanted be of another root beside the site's own, so that a plan can be shown; nothing is written before
    /// [`Self::keep_new_root`]. Where one takes the place of another already, it goes on with that.
    ///
    /// # Errors
    /// When nothing was applied yet; when the authority cannot be used.
    pub fn propose_root(&mut self) -> Result<(), Error> {
        if self.root_stage().is_none() && self.inventory.of_site(&self.desired.site).next().is_none() {
            let text = "nothing was applied yet, so nobody trusts the site's root";
            return Err(Error::usage("rotate::nothing", text).hint("phoenix-cli up"));
        }
        let proposed = authority::proposed(&self.blueprint)?;
        self.desired = desired(&self.blueprint, Some(&proposed))?;
        self.authority = Some(proposed);
        self.look_at_secrets();
        Ok(())
    }

    /// Writes down the root that was proposed, as it was agreed to. For who holds the site's lock.
    ///
    /// # Errors
    /// When the authority's files cannot be written.
    pub fn keep_new_root(&self) -> Result<(), Error> {
        self.root()?.keep_new_root().map_err(|e| authority::unusable(&e))
    }

    /// Looks once more, at what an earlier stage left. The site's key may have been made by that.
    ///
    /// # Errors
    /// When the site's key cannot be read, or the target does not answer.
    pub async fn look_again(&mut self, listener: &dyn Listener) -> Result<(), Error> {
        self.trust = Arc::new(crate::key::trust(&self.blueprint.root, &self.desired)?);
        self.look_settled(listener).await
    }

    /// What is not yet as this stage wants it, as far as was seen.
    pub fn behind(&self) -> Vec<Address> {
        managers::authority::behind(&self.desired, &self.inventory)
    }

    /// Goes on to the next stage, when nothing is [behind](Self::behind): what is wanted is of that then. For who holds the site's
    /// lock and has looked.
    ///
    /// # Errors
    /// When something is behind; when the authority's files, or the new root's key, cannot be read or written.
    pub fn next_root_stage(&mut self, listener: &dyn Listener) -> Result<(), Error> {
        let behind = self.behind();
        if !behind.is_empty() {
            let names: Vec<&str> = behind.iter().map(Address::as_str).collect();
            let text = format!(
                "the root is not replaced any further: not yet as they are to be: {}",
                names.join(", ")
            );
            return Err(Error::failed("rotate::behind", text).hint(
                "phoenix-cli plan shows why; start what is off, or take it out of the blueprint; then phoenix-cli rotate authority",
            ));
        }
        let root = self.root()?;
        let moved = match root.stage() {
            None => return Ok(()),
            Some(Stage::Trusting) => root.sign_with_new_root(Timestamp::now()),
            Some(Stage::Signing) => root.leave_old_root(),
            Some(Stage::Leaving) => root.forget_old_root(),
        };
        moved.map_err(|e| authority::unusable(&e))?;
        let made = authority::made(&self.blueprint, listener)?;
        self.desired = desired(&self.blueprint, Some(&made))?;
        self.authority = Some(made);
        self.look_at_secrets();
        Ok(())
    }
}
