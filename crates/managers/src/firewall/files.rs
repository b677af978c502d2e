//! How a firewall file is edited: options and rules put in, and taken out again. Pure.
//!
//! What the options were before is remembered in the file itself, in a rule that is switched off: Proxmox VE keeps rules
//! when somebody edits the file in its pages, where it drops comments. So taking Phoenix away leaves what was there, and
//! there is no state anywhere else.

use std::collections::BTreeMap;

use proxmox::firewall::{Action, Direction, FirewallFile, Rule};

use super::prefix;

/// The word of the rule that remembers.
const BEFORE: &str = "before";

/// What is wanted of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Options and their values.
    pub options: BTreeMap<&'static str, String>,
    /// Sets of addresses by their names.
    pub sets: BTreeMap<String, Vec<String>>,
    /// Rules in their order.
    pub rules: Vec<Rule>,
}

/// What the options were before Phoenix set them; `None` for one that was not there.
pub type Before = BTreeMap<String, Option<String>>;

/// What is remembered in a file.
pub fn before(file: &FirewallFile, site: &str) -> Before {
    let head = format!("{}{BEFORE} ", prefix(site));
    let rule = file.rules().find_map(|rule| rule.comment.as_deref()?.strip_prefix(&head));
    let pair = |word: &str| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), Some(value.to_owned()).filter(|value| value != "-")))
    };
    rule.into_iter().flat_map(str::split_whitespace).filter_map(pair).collect()
}

/// The rule that remembers. It is switched off.
fn remember(site: &str, before: &Before) -> Rule {
    let pairs = before.iter().map(|(key, value)| format!(" {key}={}", value.as_deref().unwrap_or("-")));
    Rule {
        enable: false,
        comment: Some(format!("{}{BEFORE}{}", prefix(site), pairs.collect::<String>())),
        ..Rule::new(Direction::In, Action::Drop)
    }
}

/// What the heads of the site's sets have as their comment.
pub fn set_head(site: &str) -> String {
    format!("{}allowed", prefix(site))
}

/// Whether the site has anything in a file.
pub fn is_in(file: &FirewallFile, site: &str) -> bool {
    file.rules().any(|rule| rule.is_of(&prefix(site)))
}

/// Whether another site has.
fn others_are_in(file: &FirewallFile, site: &str) -> bool {
    file.rules().any(|rule| rule.is_of("phoenix:") && !rule.is_of(&prefix(site)))
}

/// The file with what is wanted in it, and nothing else changed.
pub fn with(file: &FirewallFile, site: &str, wanted: &Wanted) -> FirewallFile {
    let mut file = file.clone();
    let mut before = before(&file, site);
    for key in wanted.options.keys() {
        before.entry((*key).to_owned()).or_insert_with(|| file.option(key).map(str::to_owned));
    }
    // What is not wanted any more is as it was.
    before.retain(|key, value| {
        let kept = wanted.options.contains_key(key.as_str());
        if !kept {
            file.set_option(key, value.as_deref());
        }
        kept
    });
    for (key, value) in &wanted.options {
        file.set_option(key, Some(value));
    }
    file.replace_ip_sets(&set_head(site), &wanted.sets);
    let mut rules = wanted.rules.clone();
    if !before.is_empty() {
        rules.push(remember(site, &before));
    }
    file.replace_rules(&prefix(site), &rules);
    file
}

/// The file as it would be without the site. Options stay where another site relies on them.
pub fn without(file: &FirewallFile, site: &str) -> FirewallFile {
    let mut file = file.clone();
    if !others_are_in(&file, site) {
        for (key, value) in before(&file, site) {
            file.set_option(&key, value.as_deref());
        }
    }
    file.replace_ip_sets(&set_head(site), &BTreeMap::new());
    file.replace_rules(&prefix(site), &[]);
    file
}

/// The text of a file; `None` for one that says nothing, which need not be there.
pub fn text(file: &FirewallFile) -> Option<String> {
    (!file.says_nothing()).then(|| file.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(options: &[(&'static str, &str)], ids: &[&str]) -> Wanted {
        let rule = |id: &&str| Rule {
            comment: Some(format!("phoenix:a:{id}")),
            ..Rule::new(Direction::In, Action::Accept)
        };
        Wanted {
            options: options.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            sets: BTreeMap::new(),
            rules: ids.iter().map(rule).collect(),
        }
    }

    #[test]
    fn a_file_of_our_own_goes_as_it_came() {
        let none = FirewallFile::default();
        let file = with(&none, "a", &wanted(&[("enable", "1"), ("policy_in", "DROP")], &["x"]));
        assert_eq!(
            file.to_string(),
            "[OPTIONS]\n\nenable: 1\npolicy_in: DROP\n\n[RULES]\n\nIN ACCEPT # phoenix:a:x\n\
             |IN DROP # phoenix:a:before enable=- policy_in=-\n"
        );
        assert_eq!(text(&without(&file, "a")), None);
    }

    /// P-73: what others have written, and what they had switched on, is not lost.
    #[test]
    fn what_was_there_before_comes_back() {
        let theirs = "[OPTIONS]\nenable: 0\npolicy_in: REJECT\n\n[RULES]\nIN SSH(ACCEPT) # mine\n";
        let first = with(
            &FirewallFile::parse(theirs),
            "a",
            &wanted(&[("enable", "1"), ("policy_in", "DROP")], &["x"]),
        );
        // Another run with other wishes does not forget what was first; nor does a look of somebody in between.
        let second = with(&first, "a", &wanted(&[("enable", "1"), ("ipfilter", "1")], &["y"]));
        assert_eq!(second.option("policy_in"), Some("REJECT"));
        assert_eq!(without(&second, "a").to_string(), theirs);
        assert_eq!(without(&first, "a").to_string(), theirs);
    }

    #[test]
    fn two_sites_do_not_take_each_others_firewall_away() {
        let on = wanted(&[("enable", "1")], &["x"]);
        let one = with(&FirewallFile::default(), "a", &on);
        let rule = Rule { comment: Some("phoenix:b:x".into()), ..Rule::new(Direction::In, Action::Accept) };
        let both = with(&one, "b", &Wanted { rules: vec![rule], ..on.clone() });
        let left = without(&both, "a");
        assert_eq!(left.option("enable"), Some("1"));
        assert!(is_in(&left, "b") && !is_in(&left, "a"));
    }

    proptest! {
        #[test]
        fn in_and_out_is_where_it_was(
            text in "(\\[OPTIONS\\]\n(enable: (0|1)\n)?(policy_in: (DROP|ACCEPT)\n)?)?(\\[RULES\\]\n(IN (DROP|ACCEPT)( # [a-z]{1,3})?\n){0,3})?",
            first in any::<bool>(), ids in proptest::collection::vec("[a-z]{1,4}", 1..4),
        ) {
            let file = FirewallFile::parse(&text);
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let all = wanted(&[("enable", "1"), ("policy_in", "DROP")], &ids);
            let mut there = file.clone();
            if first {
                there = with(&there, "a", &wanted(&[("enable", "1")], &[]));
            }
            let there = with(&there, "a", &all);
            prop_assert_eq!(&with(&there, "a", &all), &there);
            prop_assert_eq!(&FirewallFile::parse(&there.to_string()), &there);
            let back = without(&there, "a");
            prop_assert_eq!(back.options(), file.options());
            prop_assert_eq!(back.rules().collect::<Vec<_>>(), file.rules().collect::<Vec<_>>());
        }
    }
}
