//! What the script says, read and printed back.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_read_prints_back(lines in prop::collection::vec(any_line(), 0..40)) {
        let facts = Facts::parse(&lines.join("\n"));
        let printed = facts.to_string();
        prop_assert_eq!(&Facts::parse(&printed), &facts);
        // Of what there is many, nothing is lost.
        prop_assert!(lines.is_empty() || !printed.is_empty());
        for line in &lines {
            let word = line.split('\t').next().unwrap();
            prop_assert!(printed.lines().any(|it| it.split('\t').next() == Some(word)), "{} is lost", line);
        }
    }

    #[test]
    fn whatever_is_said_is_read(text in "([a-z]{2,8}(\t[^\t]{0,6}){0,4}\n){0,6}") {
        let facts = Facts::parse(&text);
        prop_assert_eq!(Facts::parse(&facts.to_string()), facts);
    }
}
