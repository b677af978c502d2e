//! What `docker-stack newest` tells of images: which is here, and which its registry has by now. Pure.

use std::fmt;

/// An image, by its name with a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name, as compose files have it: `postgres:17-alpine`.
    pub name: String,
    /// The digest that the guest has it by: `sha256:…`.
    pub here: Option<String>,
    /// The digest that its registry has it by.
    pub there: Option<String>,
    /// Why that is not known.
    pub why: Option<String>,
}

/// Reads what is told, a line for each image.
///
/// # Errors
/// The line that is not understood.
pub fn parse(text: &str) -> Result<Vec<Image>, String> {
    text.lines().map(|line| image(line).ok_or_else(|| line.chars().take(80).collect())).collect()
}

fn image(line: &str) -> Option<Image> {
    let words: Vec<&str> = line.split('\t').collect();
    let [name, here, there, why] = words.as_slice() else { return None };
    let said = |word: &str| Some(word.to_owned()).filter(|word| word != "-");
    let digest = |word: &str| match said(word) {
        Some(digest) => is_digest(&digest).then_some(Some(digest)),
        None => Some(None),
    };
    (!name.is_empty()).then_some(())?;
    Some(Image { name: (*name).to_owned(), here: digest(here)?, there: digest(there)?, why: said(why) })
}

fn is_digest(text: &str) -> bool {
    let sum = text.strip_prefix("sha256:").unwrap_or_default();
    sum.len() == 64 && sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
        write!(f, "{}\t{}\t{}\t{}", self.name, or(&self.here), or(&self.there), or(&self.why))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[a-z][ -~]{0,30}")
    }

    fn digest() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("sha256:[0-9a-f]{64}")
    }

    proptest! {
        #[test]
        fn what_is_printed_is_what_was_read(
            all in proptest::collection::vec(("[a-z][a-z0-9./:-]{0,30}", digest(), digest(), text()), 0..4),
        ) {
            let all: Vec<Image> =
                all.into_iter().map(|(name, here, there, why)| Image { name, here, there, why }).collect();
            let printed: String = all.iter().map(|image| format!("{image}\n")).collect();
            prop_assert_eq!(parse(&printed), Ok(all));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([a-z:]{1,5}\t|-\t|[^\t]{0,9}|\n){0,20}") {
            let _ = parse(&text);
        }
    }
}
