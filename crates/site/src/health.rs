//! How everything at a site is.

use jiff::Timestamp;
use managers::health::{Examiner, Health, examine};
use managers::trace::Observer;

use crate::authority::NOT_MADE;
use crate::error::Error;
use crate::site::Site;

impl Site {
    /// Who looks at requests, and into guests.
    pub(crate) fn observer(&self) -> Observer<'_> {
        Observer {
            desired: &self.desired,
            root: self.authority.as_ref().map_or(NOT_MADE, |authority| authority.trusted_pem()),
            ways: self.connection.ways.clone(),
            clock: Timestamp::now,
        }
    }

    /// What there is to see at a site that was looked at; of `targets` alone where some are given.
    ///
    /// # Errors
    /// When there is no such target, or the authority cannot be used.
    pub async fn health(&self, targets: &[String]) -> Result<Health, Error> {
        self.known(targets)?;
        let (prober, simulated) = (self.prober()?, self.connection.simulated());
        let observer = self.observer();
        Ok(examine(&Examiner { observer, inventory: &self.inventory, prober, simulated, targets }).await)
    }
}
