//! Guests that are off: nobody who runs may need one.

use super::Context;
use super::parts::{self, Proxies};
use crate::codes;
use crate::model::{Guests, Hypervisor};
use crate::names::GuestName;
use crate::report::Draft;

const HINT: &str = "let it run, or take away what needs it";

/// Checks that what runs does without what is off.
pub(super) fn check(guests: &Guests, hypervisor: Option<&Hypervisor>, context: &mut Context<'_, '_>) {
    let off = |name: &GuestName| guests.get(name).is_some_and(|guest| !guest.started);
    if !guests.keys().any(off) {
        return;
    }
    let runs = || guests.values().filter(|guest| guest.started);
    for guest in runs() {
        for need in guest.needs.iter().filter(|need| off(need)) {
            refuse(&guest.name, "needs", format!("`{}` needs `{need}`, which is off", guest.name), context);
        }
    }
    // Without one that runs nobody asks for names, packages, or certificates.
    let one_that_runs = runs().next().map(|guest| guest.name.clone());
    let node = hypervisor.is_some_and(|node| node.certificate).then_some("the node's certificate");
    for (what, player) in parts::for_all(guests, context) {
        let user = match (&one_that_runs, node) {
            _ if player.started => continue,
            (Some(name), _) => format!("`{name}`"),
            (None, Some(node)) if what == parts::AUTHORITY => node.to_owned(),
            (None, _) => continue,
        };
        let message = format!("`{}` is off, and {user} needs the {what}", player.name);
        refuse(&player.name, "started", message, context);
    }
    let proxies = Proxies::of(guests, context);
    let mut shut = Vec::new();
    for guest in runs() {
        let services = guest.services.values();
        let through = services.filter_map(|service| Some((&service.name, proxies.of_service(service)?)));
        shut.extend(through.filter(|(_, proxy)| off(proxy)));
    }
    for (service, proxy) in shut {
        let message = format!("`{proxy}` is off, and the service `{service}` goes through it");
        refuse(proxy, "started", message, context);
    }
}

fn refuse(guest: &GuestName, key: &str, message: String, context: &mut Context<'_, '_>) {
    let Some(entry) = context.namespace.guests.get(&**guest) else { return };
    let spot = entry.key_spot(&[key]);
    context.push(Draft::error(codes::IS_OFF, spot, message).hint(HINT));
}
