use super::*;
use crate::firewall::{Action, Direction};
use proptest::prelude::*;

const PREFIX: &str = "phoenix:workshop:";

const FILE: &str = "\
# written by hand
[OPTIONS]
enable: 1
policy_in: DROP
some nonsense

[ALIASES]

gw 10.99.0.1 # the router

[IPSET lan] # all of ours

10.99.0.0/24
!10.99.0.7

[RULES]

# who may look
IN SSH(ACCEPT) -source +lan # four
|IN ACCEPT -p icmp -icmp-type echo-request # two
IN WHATEVER what is this

[group web]

IN ACCEPT -p tcp -dport 80,443 # phoenix:workshop:not-ours-here
";

fn ours(id: &str, port: u16) -> Rule {
    let mut rule = Rule::new(Direction::In, Action::Accept);
    (rule.proto, rule.dport) = (Some("tcp".into()), Some(port.to_string()));
    rule.comment = Some(format!("{PREFIX}{id}"));
    rule
}

#[test]
fn a_file_is_understood() {
    let file = FirewallFile::parse(FILE);
    assert_eq!(file.to_string(), FILE);
    assert_eq!(file.options(), [("enable", "1"), ("policy_in", "DROP")].into());
    assert_eq!(file.rules().count(), 2);
    assert_eq!(file.group("WEB").unwrap().len(), 1);
    assert_eq!(file.group("mail"), None);
    assert_eq!(file.alias("GW"), Some("10.99.0.1"));
    assert_eq!(file.ip_set("lan"), Some(vec!["10.99.0.0/24", "!10.99.0.7"]));
}

/// T-14, P-73: an edit by position hit another's rule, and a rewrite lost it.
#[test]
fn our_rules_are_one_set_and_all_else_stays() {
    let mut file = FirewallFile::parse(FILE);
    file.replace_rules(PREFIX, &[ours("a", 80), ours("b", 443)]);
    let expected = FILE.replace(
        "# who may look\n",
        "IN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\nIN ACCEPT -p tcp -dport 443 # phoenix:workshop:b\n# who may look\n",
    );
    assert_eq!(file.to_string(), expected);
    // Somebody moves them apart and writes between: they are brought together where the first is.
    let moved = FILE.replace(
        "IN WHATEVER what is this\n",
        "IN ACCEPT -p tcp -dport 443 # phoenix:workshop:b\nIN DROP # last\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\n",
    );
    let mut file = FirewallFile::parse(&moved);
    file.replace_rules(PREFIX, &[ours("a", 80), ours("c", 8080)]);
    assert!(file.to_string().contains(
        "# two\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\nIN ACCEPT -p tcp -dport 8080 # phoenix:workshop:c\nIN DROP # last\n"
    ));
    file.replace_rules(PREFIX, &[]);
    assert_eq!(file.to_string(), FILE.replace("IN WHATEVER what is this\n", "IN DROP # last\n"));
}

#[test]
fn sections_are_made_where_they_are_missing() {
    let mut file = FirewallFile::default();
    assert!(file.says_nothing());
    file.set_option("enable", Some("1"));
    file.set_option("policy_in", Some("DROP"));
    file.replace_rules(PREFIX, &[ours("a", 80)]);
    let text = "[OPTIONS]\n\nenable: 1\npolicy_in: DROP\n\n[RULES]\n\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\n";
    assert_eq!(file.to_string(), text);
    file.set_option("policy_in", Some("ACCEPT"));
    assert_eq!(file.to_string(), text.replace("DROP", "ACCEPT"));
    file.replace_rules(PREFIX, &[]);
    file.set_option("enable", None);
    assert!(!file.says_nothing());
    file.set_option("policy_in", None);
    assert!(file.says_nothing(), "{file}");

    for (before, after) in [
        ("[RULES]", "[RULES]\n\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\n"),
        ("[RULES]\n", "[RULES]\n\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\n"),
        ("[rules]\n[group x]\n", "[rules]\n\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\n\n[group x]\n"),
        ("[group x]", "[group x]\n\n[RULES]\n\nIN ACCEPT -p tcp -dport 80 # phoenix:workshop:a\n"),
    ] {
        let mut file = FirewallFile::parse(before);
        file.replace_rules(PREFIX, &[ours("a", 80)]);
        assert_eq!(file.to_string(), after, "{before:?}");
    }
    let mut file = FirewallFile::parse("[RULES]\nIN DROP\n");
    file.set_option("enable", Some("1"));
    assert_eq!(file.to_string(), "[OPTIONS]\n\nenable: 1\n\n[RULES]\nIN DROP\n");
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[OPTIONS]".to_owned()),
        Just("[RULES]".to_owned()),
        Just("[group web]".to_owned()),
        Just("[IPSET lan] # x".to_owned()),
        Just("[ALIASES]".to_owned()),
        Just(String::new()),
        "(enable|policy_in|ndp): ?(0|1|DROP)",
        "\\|?(IN|OUT) (ACCEPT|DROP|SSH\\(ACCEPT\\))( -p tcp)?( # (phoenix:(workshop|other):)?[a-z]{1,3})?",
        "[#a-z \\[\\]:|é\r]{0,14}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    (proptest::collection::vec(line(), 0..14), any::<bool>())
        .prop_map(|(lines, end)| lines.join("\n") + if end { "\n" } else { "" })
}

fn set() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(("[a-z]{1,4}", 1..9999_u16), 0..4)
        .prop_map(|list| list.iter().map(|(id, port)| ours(id, *port)).collect())
}

/// The lines that are not ours, but for blank ones and heads of sections, which an edit may add.
fn foreign(file: &FirewallFile) -> Vec<String> {
    let owned = file.owned(PREFIX);
    let lines = file.lines.iter().enumerate().filter(|(at, _)| !owned.contains(at));
    let text = lines.map(|(_, line)| line.text.clone());
    text.filter(|text| !text.is_empty() && text != "[RULES]" && text != "[OPTIONS]").collect()
}

proptest! {
    #[test]
    fn it_prints_what_it_was_read_from(text in "\\PC{0,40}(\n\\PC{0,20}){0,6}") {
        prop_assert_eq!(FirewallFile::parse(&text).to_string(), text);
    }

    #[test]
    fn an_edit_is_read_back_as_it_was_made(text in text(), rules in set(), policy in "ACCEPT|DROP") {
        let before = FirewallFile::parse(&text);
        prop_assert_eq!(before.to_string(), &text[..]);
        let mut file = before.clone();
        file.replace_rules(PREFIX, &rules);
        // Read anew, it means what the edited one means.
        prop_assert_eq!(&FirewallFile::parse(&file.to_string()), &file);
        let found: Vec<Rule> = file.rules().filter(|rule| rule.is_of(PREFIX)).cloned().collect();
        prop_assert_eq!(&found, &rules);
        prop_assert_eq!(foreign(&file), foreign(&before));
        prop_assert_eq!(file.options(), before.options());
        // Twice is once, and taking ours away leaves the others.
        let once = file.clone();
        file.replace_rules(PREFIX, &rules);
        prop_assert_eq!(&file, &once);
        file.set_option("policy_in", Some(&policy));
        let again = FirewallFile::parse(&file.to_string());
        prop_assert_eq!(&again, &file);
        prop_assert_eq!(again.option("policy_in"), Some(&policy[..]));
        prop_assert_eq!(again.rules().collect::<Vec<_>>(), once.rules().collect::<Vec<_>>());
        file.replace_rules(PREFIX, &[]);
        prop_assert_eq!(file.rules().filter(|rule| rule.is_of(PREFIX)).count(), 0);
        prop_assert_eq!(
            file.rules().collect::<Vec<_>>(),
            before.rules().filter(|rule| !rule.is_of(PREFIX)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn our_sets_are_known_by_their_heads() {
    let sets = |list: &[(&str, &[&str])]| -> std::collections::BTreeMap<String, Vec<String>> {
        let owned = |members: &[&str]| members.iter().map(|it| (*it).to_owned()).collect();
        list.iter().map(|(name, members)| ((*name).to_owned(), owned(members))).collect()
    };
    let own = sets(&[("ipfilter-net0", &["10.0.0.0/25", "10.0.0.130"])]);
    for text in [FILE, "", "[RULES]\nIN DROP\n", "[OPTIONS]\nenable: 1\n", "[OPTIONS]\nenable: 1"] {
        let mut file = FirewallFile::parse(text);
        file.replace_ip_sets(PREFIX, &own);
        assert_eq!(FirewallFile::parse(&file.to_string()), file, "{file}");
        assert_eq!(file.ip_sets_of(PREFIX), own);
        assert_eq!(file.ip_set("ipfilter-net0"), Some(vec!["10.0.0.0/25", "10.0.0.130"]));
        // Proxmox VE sorts members when it writes the file: that is no difference.
        let turned = sets(&[("ipfilter-net0", &["10.0.0.130", "10.0.0.0/25"])]);
        let before = file.to_string();
        file.replace_ip_sets(PREFIX, &turned);
        assert_eq!(file.to_string(), before);
        // Others' rules and options are where they were, and so is all once ours is gone.
        let there = FirewallFile::parse(text);
        assert_eq!(file.rules().collect::<Vec<_>>(), there.rules().collect::<Vec<_>>());
        file.replace_ip_sets(PREFIX, &sets(&[]));
        assert_eq!(file.to_string().trim_end(), text.trim_end());
        assert_eq!(file.ip_sets_of(PREFIX), sets(&[]));
    }
    // A set of that name that is somebody else's stays alone.
    let theirs = "[IPSET ipfilter-net0] # by hand\n\n10.0.0.7\n";
    let mut file = FirewallFile::parse(theirs);
    file.replace_ip_sets(PREFIX, &own);
    assert_eq!(file.to_string(), theirs);
}
