//! "Did you mean …?"

/// The candidate that was probably meant, where one is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    // Long words may have more mistakes. Comparing far longer ones would only cost time.
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 8 && word.len() <= 64)
        .map(|candidate| {
            let other = candidate.to_lowercase();
            let plain = |s: &str| s.replace(['-', '_'], "");
            if plain(&other) == plain(&lower) {
                return (0, candidate);
            }
            (strsim::osa_distance(&lower, &other), candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// A hint with the nearest candidate, else with all of them where they are few.
pub(crate) fn hint<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<String> = candidates.into_iter().take(25).map(|c| format!("`{c}`")).collect();
    if all.is_empty() || all.len() == 25 { None } else { Some(format!("{what}: {}", all.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("memmory", ["cores", "memory"]), Some("memory"));
        assert_eq!(nearest("readonly", ["read-only", "path"]), Some("read-only"));
        assert_eq!(nearest("caFile", ["ca-file"]), Some("ca-file"));
        assert_eq!(nearest("x", ["id"]), None);
        assert_eq!(nearest("colour", ["cores"]), None);
    }
}
