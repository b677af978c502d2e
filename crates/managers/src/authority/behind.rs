//! Who has not yet got what follows from the site's roots, as the marks remember it: before the next stage of a root that takes
//! another's place, that is nobody.

use plan::desired::{Certificate, Feature};
use plan::mark::Mark;
use plan::{Address, Desired, Inventory};

use crate::certificates::CertificateMark;

/// What of the site is there and not as it is wanted: features that tell whom to trust, certificates, what signs them, and what
/// remembers a root of before. What a node that is offline has is among it; what is not there at all gets it when it is made.
#[must_use]
pub fn behind(desired: &Desired, inventory: &Inventory) -> Vec<Address> {
    let mut behind = Vec::new();
    for guest in desired.guests.values() {
        // A template stays as it is; what is wanted in its clones is put there.
        let there = inventory.guests.get(&guest.id).filter(|there| !(there.template && guest.golden));
        let there = there.and_then(|there| there.mark.as_ref());
        let ours = |mark: &&Mark| mark.site == desired.site && mark.address == guest.resource();
        let Some(mark) = there.filter(ours) else { continue };
        if mark.root.as_ref().is_some_and(|root| desired.roots_before.contains(root)) {
            behind.push(guest.resource());
        }
        let address = |feature: &Feature| Address::feature(&feature.name, &guest.host());
        let other = guest.features.iter().filter(|one| is_other(&address(one), &one.fingerprint, mark));
        behind.extend(other.map(address));
        let own = desired.certificates.values().filter(|one| one.on.is_guest(&guest.name));
        behind.extend(own.filter(|one| is_another(one, mark)).map(Certificate::resource));
        if let Some(authority) = desired.authority.as_ref().filter(|authority| authority.on == guest.name) {
            let address = Address::authority(&authority.on);
            let there = CertificateMark::of(mark, &address);
            if there.is_none_or(|there| there.fingerprint != authority.fingerprint) {
                behind.push(address);
            }
        }
    }
    let node = inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == desired.site);
    if let (Some(wanted), Some(mark)) = (&desired.hypervisor, node) {
        let certificate = &wanted.certificate;
        let address = |feature: &Feature| Address::feature(&feature.name, &certificate.on);
        let other = |one: &Feature| is_other(&address(one), &one.fingerprint, mark);
        let there = CertificateMark::of(mark, &Address::certificate(&certificate.name));
        let another = there.is_none_or(|there| there.fingerprint != certificate.fingerprint);
        if another || wanted.features.iter().any(other) {
            behind.push(Address::hypervisor_certificate());
        }
    }
    behind
}

fn is_other(address: &Address, fingerprint: &str, mark: &Mark) -> bool {
    mark.fingerprint(address) != Some(fingerprint)
}

fn is_another(certificate: &Certificate, mark: &Mark) -> bool {
    let there = CertificateMark::of(mark, &certificate.resource());
    there.is_none_or(|there| there.fingerprint != certificate.fingerprint)
}
