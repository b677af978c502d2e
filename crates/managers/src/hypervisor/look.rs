//! What differs on the node from what was put there, by looking: the script of what keeps its certificate, run so that it only
//! reports, and the certificate itself.

use plan::desired::{Feature, Hypervisor};
use plan::{Address, Mark};

use crate::certificates::{CertificateMark, look as certificates};
use crate::{Looked, OnNode};

/// Looks at what the mark says is on the node as it is wanted now: what else there is to do, the plan knows. All of it is one
/// resource, so all that is found is of its address.
pub(super) async fn look(on: OnNode<'_>) -> Looked {
    let Some(wanted) = &on.desired.hypervisor else { return Looked::default() };
    if !is_applied(wanted, on.mark) {
        return Looked::default();
    }
    let mut looked = Looked { node: true, ..Looked::default() };
    let of_it = wanted.features.iter().filter_map(|feature| on.features.get(&feature.name));
    let mut found: Vec<String> = of_it.flatten().cloned().collect();
    match certificates::look(on.node, &[&wanted.certificate]).await {
        Ok(seen) => {
            let seen = seen.iter().find(|seen| seen.name == wanted.certificate.name);
            found.extend(certificates::differs(seen));
        }
        Err(failure) => looked = Looked::unseen("the node's certificate", failure.to_string()),
    }
    if !found.is_empty() {
        looked.found.insert(Address::hypervisor_certificate(), found);
    }
    looked
}

/// Whether all of it was put there as it is wanted.
pub(crate) fn is_applied(wanted: &Hypervisor, mark: &Mark) -> bool {
    let Hypervisor { certificate, features, .. } = wanted;
    let there = CertificateMark::of(mark, &Address::certificate(&certificate.name));
    let same = |feature: &Feature| {
        mark.fingerprint(&Address::feature(&feature.name, &certificate.on)) == Some(&*feature.fingerprint)
    };
    there.is_some_and(|there| there.fingerprint == certificate.fingerprint) && features.iter().all(same)
}
