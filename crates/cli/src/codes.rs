//! Every code an error of Phoenix can have beside those of a blueprint's diagnostics ([`blueprint::codes`]), explained:
//! for `phoenix-cli explain CODE` and for the book's troubleshooting page. A file for each field, in which what comes
//! before the `::` of its codes is at home; those of `doctor`'s checks of a node stand with the checks
//! ([`managers::checkup`]). That no code is missing here, and none too many, is checked when the book's generated pages are.

mod authority;
mod command;
mod gpu;
mod guests;
mod inside;
mod lab;
mod learn;
mod node;
mod reboot;
mod run;
mod storage;
mod zfs;

use blueprint::codes::CodeInfo;

/// The lists, one a file.
const LISTS: [&[CodeInfo]; 12] = [
    authority::CODES,
    command::CODES,
    gpu::CODES,
    guests::CODES,
    inside::CODES,
    lab::CODES,
    learn::CODES,
    node::CODES,
    reboot::CODES,
    run::CODES,
    storage::CODES,
    zfs::CODES,
];

/// The explanation of a code, of a blueprint's diagnostic or of anything else.
pub fn find(code: &str) -> Option<&'static CodeInfo> {
    blueprint::codes::find(code).or_else(|| all().find(|info| info.code == code))
}

/// All codes but the diagnostics', in no order that means anything.
pub fn all() -> impl Iterator<Item = &'static CodeInfo> {
    let host = managers::checkup::CHECKS.into_iter().flatten().map(|check| &check.info);
    LISTS.into_iter().flatten().chain(host)
}

const fn code(
    code: &'static str,
    title: &'static str,
    explanation: &'static str,
    remedy: &'static str,
) -> CodeInfo {
    CodeInfo { code, title, explanation, remedy }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_explained() {
        for list in LISTS {
            assert!(list.windows(2).all(|pair| pair[0].code < pair[1].code), "not in order: {list:?}");
        }
        let mut seen = BTreeSet::new();
        for info in all() {
            assert!(seen.insert(info.code), "{} is explained twice", info.code);
            assert!(blueprint::codes::find(info.code).is_none(), "{} is a diagnostic's", info.code);
            assert!(info.explanation.ends_with('.') && info.remedy.ends_with('.'), "{}", info.code);
        }
        let known = find("lock::unreachable").expect("a code of a command");
        assert_eq!(known.code, "lock::unreachable");
        assert!(find(blueprint::codes::SYNTAX).is_some(), "a code of a blueprint");
        assert!(find("lock::").is_none() && find("").is_none());
    }

    #[test]
    fn a_subject_is_at_home_in_one_list() {
        let mut homes = BTreeMap::new();
        for (home, list) in LISTS.into_iter().enumerate() {
            for info in list {
                let (subject, _) = info.code.split_once("::").expect("subject::what");
                assert_eq!(*homes.entry(subject).or_insert(home), home, "{} is in the wrong file", info.code);
            }
        }
    }
}
