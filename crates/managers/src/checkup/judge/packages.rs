//! Packages, and where they come from.

use super::super::facts::Repository;
use super::super::{Check, Finding, Group, View};
use super::{few, unread};

const IN: Group = Group::Packages;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::enterprise-repository",
        "the enterprise repository is on, and there is no subscription",
        "Proxmox VE comes with its enterprise repository, which gives packages to subscribers alone. Without a subscription every \
         update ends with an error (401), and nothing is updated.",
        enterprise,
    ),
    IN.check(
        "host::no-proxmox-repository",
        "Proxmox VE gets no updates",
        "No repository of Proxmox's own is declared, so that kernel and Proxmox VE stay as they are, with all their holes.",
        no_proxmox,
    ),
    IN.check(
        "host::mixed-releases",
        "repositories of another release are declared",
        "Packages of two releases of Debian on one node break each other, most often in the middle of an update.",
        mixed,
    ),
    IN.check(
        "host::no-security-updates",
        "Debian's security updates are not declared",
        "Debian gives out what closes holes in a suite of its own, NAME-security. Without it they arrive weeks later.",
        no_security,
    ),
    IN.check(
        "host::end-of-life",
        "the release gets no updates any more",
        "Debian and Proxmox VE look after a release for a few years. What is found after that stays open.",
        end_of_life,
    ),
    IN.check(
        "host::old-lists",
        "nobody has asked for updates for long",
        "What could be installed is known from lists that are fetched. Old ones know of no new holes, and name packages that are gone.",
        old_lists,
    ),
    IN.check("host::security-updates", "security updates wait", "They are there, and not installed.", updates),
    IN.check(
        "host::half-installed",
        "packages are not wholly installed",
        "An update was cut off, or a package could not be configured. Until it is mended, nothing else can be installed.",
        half,
    ),
    IN.check(
        "host::packages-busy",
        "a program has had the packages locked for long",
        "Only one program at a time changes packages. One that has been at it for an hour waits for an answer, or hangs. Ending it by force leaves packages half installed.",
        busy,
    ),
    IN.check(
        "host::no-proxmox-ve",
        "the package `proxmox-ve` is gone",
        "It holds Proxmox VE together. It goes when something that is installed does not fit to it, and the next update may then take \
         Proxmox VE away.",
        no_metapackage,
    ),
];

/// When a release of Debian, and the Proxmox VE on it, is no longer looked after: Debian's long term support
/// (wiki.debian.org/LTS), and Proxmox VE's (pve.proxmox.com/wiki/FAQ). Unix seconds, and the day for people.
const ENDS: [(&str, &str, i64); 4] = [
    ("buster", "30 June 2024", 1_719_792_000),
    ("bullseye", "31 August 2026", 1_788_220_800),
    ("bookworm", "30 June 2028", 1_846_022_400),
    ("trixie", "30 June 2030", 1_909_094_400),
];

fn release<'a>(view: &'a View<'_>) -> Option<&'a str> {
    view.facts.system.as_ref()?.codename.as_deref()
}

/// Whether it gives out Proxmox VE.
fn gives_proxmox(it: &Repository) -> bool {
    it.components
        .split(' ')
        .any(|part| matches!(part, "pve-enterprise" | "pve-no-subscription" | "pve-test" | "pvetest"))
}

fn enterprise(view: &View<'_>) -> Finding {
    // `enterprise` alone is that of Ceph.
    let of_it = |part: &str| matches!(part, "pve-enterprise" | "enterprise");
    let enterprise = view.facts.repositories.iter().find(|it| it.components.split(' ').any(of_it));
    let Some(it) = enterprise else { return Finding::ok("it is not declared") };
    match view.facts.subscription.as_ref().map(|it| it.status.as_str()) {
        Some("active") => Finding::ok("it is declared, and the subscription is active"),
        None => Finding::unknown(format!(
            "{} declares it, and whether there is a subscription could not be read",
            it.file
        )),
        Some(status) => Finding::warn(
            format!("{} declares it, and the subscription is: {status}", it.file),
            format!(
                "in {}: put `Enabled: no` into its paragraph (a `#` before the line in a .list file); then under Updates, Repositories \
                 on the web page: Add, No-Subscription",
                it.file
            ),
        ),
    }
}

fn no_proxmox(view: &View<'_>) -> Finding {
    if !view.facts.packages.iter().any(|it| it.name == "pve-manager") {
        return Finding::unknown("Proxmox VE is not installed from packages");
    }
    if view.facts.repositories.iter().any(gives_proxmox) {
        return Finding::ok("declared");
    }
    Finding::warn(
        "no repository of Proxmox VE's is declared",
        "on the web page, under Updates, Repositories: Add, No-Subscription (or the enterprise repository with a subscription)",
    )
}

fn mixed(view: &View<'_>) -> Finding {
    let Some(codename) = release(view) else { return unread("its release") };
    let known = |suite: &str| {
        ENDS.iter().any(|(name, ..)| {
            suite == *name || suite.starts_with(&format!("{name}-")) || suite.starts_with(&format!("{name}/"))
        })
    };
    let other = view.facts.repositories.iter().find_map(|it| {
        let suite = it.suites.split(' ').find(|suite| known(suite) && !suite.starts_with(codename))?;
        Some((it, suite))
    });
    match other {
        None if view.facts.repositories.is_empty() => unread("its repositories"),
        None => Finding::ok(format!("all are of {codename}")),
        Some((it, suite)) => Finding::bad(
            format!("the node is {codename}, and {} declares {suite}", it.file),
            format!(
                "sed -i 's/{}/{codename}/g' {} && apt update",
                suite.split(['-', '/']).next().unwrap_or(suite),
                it.file
            ),
        ),
    }
}

fn no_security(view: &View<'_>) -> Finding {
    let Some(codename) = release(view) else { return unread("its release") };
    let wanted = format!("{codename}-security");
    if view.facts.repositories.iter().any(|it| {
        it.suites.split(' ').any(|suite| suite.starts_with(&wanted) || suite == format!("{codename}/updates"))
    }) {
        return Finding::ok("declared");
    }
    Finding::warn(
        format!("no repository of {wanted} is declared"),
        "on the web page, under Updates, Repositories: Add, Debian Security",
    )
}

fn end_of_life(view: &View<'_>) -> Finding {
    let Some(codename) = release(view) else { return unread("its release") };
    match ENDS.iter().find(|(name, ..)| *name == codename) {
        None => Finding::unknown(format!("when {codename} ends is not known")),
        Some((_, day, ends)) if *ends < view.answered => Finding::bad(
            format!("{codename} has had no updates since {day}"),
            "Proxmox VE's own pages say how to go on: look for \"upgrade from\" and the number of your version (pveversion)",
        ),
        Some((_, day, _)) => Finding::ok(format!("{codename} is looked after until {day}")),
    }
}

fn old_lists(view: &View<'_>) -> Finding {
    let Some(lists) = &view.facts.lists else { return unread("the lists of packages") };
    let Some(fetched) = lists.fetched else { return Finding::warn("they were never fetched", "apt update") };
    let days = view.days_since(fetched);
    if lists.ends.is_some_and(|ends| ends < view.answered) {
        return Finding::warn(format!("the lists are {days} days old, and have expired"), "apt update");
    }
    match days {
        15.. => Finding::warn(
            format!("the lists are {days} days old"),
            "apt update; if that fails, its words say which repository it is",
        ),
        days => Finding::ok(format!("the lists are {} days old", days.max(0))),
    }
}

fn updates(view: &View<'_>) -> Finding {
    match &view.facts.upgrades {
        None => unread("what could be updated"),
        Some(it) if it.security > 0 => Finding::warn(
            format!("{} wait, {} of them for security", it.all, it.security),
            "apt update && apt dist-upgrade",
        ),
        Some(it) => Finding::ok(format!("none wait for security, {} others", it.all)),
    }
}

fn half(view: &View<'_>) -> Finding {
    let half: Vec<&str> = view
        .facts
        .packages
        .iter()
        .filter(|it| !matches!(it.state.as_str(), "ii" | "hi"))
        .map(|it| it.name.as_str())
        .collect();
    if half.is_empty() {
        return Finding::ok("none");
    }
    Finding::bad(format!("half installed: {}", few(half)), "dpkg --configure -a && apt --fix-broken install")
}

fn busy(view: &View<'_>) -> Finding {
    match view.facts.busy.iter().max_by_key(|it| it.runs) {
        None => Finding::ok("nobody has them locked"),
        Some(it) if it.runs >= 3600 => Finding::warn(
            format!("{} has been running for {} minutes", it.program, it.runs / 60),
            "does it ask something? ps -ef | grep -e apt -e dpkg. If it hangs: end it by its number, then: dpkg --configure -a",
        ),
        Some(it) => Finding::ok(format!("{} runs just now", it.program)),
    }
}

fn no_metapackage(view: &View<'_>) -> Finding {
    let has = |name: &str| view.facts.packages.iter().any(|it| it.name == name);
    if !has("pve-manager") {
        return Finding::unknown("Proxmox VE is not installed from packages");
    }
    if has("proxmox-ve") {
        return Finding::ok("it is there");
    }
    Finding::bad(
        "Proxmox VE is installed without it",
        "apt install proxmox-ve; what it would remove is what stands in its way",
    )
}
