//! The notes of the datacenter. What a site has of the datacenter itself, such as its storages, has no description of its own,
//! and those who look after it are several: so the notes hold a block for each site, beside what people write there.

use super::{CLOSE, Mark, Read, opens, text, whole, written};

/// The kind in the address of the mark that they hold.
pub const DATACENTER: &str = "datacenter";

/// The notes of the datacenter as a site sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes {
    /// All of it but the site's own block: what people wrote, and the blocks of others.
    pub rest: String,
    /// The site's own block.
    pub own: Option<Read>,
}

/// Splits the notes of the datacenter. Of several blocks of the site the last one is it. One that cannot be read is nobody's,
/// and stays as it is.
pub fn split(notes: &str, site: &str) -> Notes {
    let lines: Vec<&str> = notes.lines().collect();
    let (mut rest, mut own) = (Vec::new(), None);
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if !opens(line) {
            rest.push(*line);
            at += 1;
            continue;
        }
        let inside = lines.get(at + 1..).unwrap_or_default();
        // Never closed: nobody knows where it ends, so it stays.
        let end = inside.iter().position(|line| line.trim_end() == CLOSE);
        let block = &lines[at..end.map_or(lines.len(), |end| at + end + 2)];
        at += block.len();
        let json = end.map(|end| inside[..end].join("\n"));
        let read = json.and_then(|json| written::read(&json).ok());
        match read.filter(|read| read.mark.site == site || read.mark.is_newer(site)) {
            Some(read) => own = Some(read),
            None => rest.extend(block),
        }
    }
    Notes { rest: text(&rest.join("\n")), own }
}

/// The notes with this block of the site, as it was sealed; without one where that is `None`.
pub fn join(rest: &str, json: Option<&str>) -> String {
    json.map_or_else(|| text(rest), |json| whole(rest, json))
}

/// Whether a site has anything there: a block that remembers nothing is none.
pub fn is_empty(mark: &Mark) -> bool {
    mark.applied().next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::address::Address;
    use crate::mark::Bearer;
    use crate::mark::seal;
    use crate::site_key::SiteKey;

    fn sealed(site: &str) -> (Mark, String) {
        let mut mark = Mark::new(site, Address::new(DATACENTER, "notes"));
        mark.remember(&Address::storage("tank"), serde_json::json!({ "place": "dir /srv" }));
        let key = SiteKey::from_text(&"1".repeat(64)).unwrap();
        let json = seal::json(&key, &Bearer::datacenter(), "n", &mark);
        (mark, json)
    }

    #[test]
    fn each_site_has_a_block_of_its_own() {
        let ((mine, own), (_, other)) = (sealed("mine"), sealed("other"));
        let notes = join("Call Ada.", Some(&other));
        assert_eq!(split(&notes, "mine"), Notes { rest: notes.clone(), own: None });
        let both = join(&notes, Some(&own));
        let read = split(&both, "mine");
        assert_eq!((read.rest.as_str(), read.own.map(Read::into_mark)), (notes.as_str(), Some(mine)));
        // The other's goes as well as it came, wherever it stands.
        let without = split(&both, "other");
        assert_eq!(split(&without.rest, "mine").own, split(&both, "mine").own);
        assert!(without.rest.starts_with("Call Ada.") && !without.rest.contains("other"), "{}", without.rest);
        assert_eq!(join(&split(&without.rest, "mine").rest, None), "Call Ada.");
    }

    #[test]
    fn what_cannot_be_read_stays() {
        for notes in ["```phoenix\nnonsense\n```", "```phoenix\n{\"site\":\"mine\"", "```phoenix"] {
            assert_eq!(split(notes, "mine"), Notes { rest: notes.to_owned(), own: None });
        }
    }

    proptest! {
        #[test]
        fn what_people_wrote_stays(before in "[a-z`\n ]{0,40}") {
            let (_, own) = sealed("mine");
            let rest = split(&before, "mine").rest;
            // A block that somebody cut swallows what follows, which then is nobody's.
            prop_assume!(!rest.contains("```phoenix"));
            let read = split(&join(&before, Some(&own)), "mine");
            prop_assert!(read.own.is_some());
            prop_assert_eq!(read.rest, rest);
        }
    }
}
