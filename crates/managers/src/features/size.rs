//! Sizes in templates: `{{ least_free | bytes }}` is a number that a program need not parse any more.

use minijinja::{Error, ErrorKind};

/// The powers of 1024 by their letters, as `numfmt --from=iec` has them.
const LETTERS: [(char, u32); 4] = [('K', 1), ('M', 2), ('G', 3), ('T', 4)];

/// `64M` as bytes; a number without a letter is bytes already. The error says what a size looks like.
#[expect(clippy::needless_pass_by_value, reason = "what filters take")]
pub(super) fn bytes(text: String) -> Result<u64, Error> {
    let wrong = || Error::new(ErrorKind::InvalidOperation, format!("`{text}` is no size such as 64M or 1G"));
    let letter = LETTERS.iter().find(|(letter, _)| text.ends_with(*letter));
    let (digits, power) = letter.map_or((text.as_str(), 0), |(_, power)| (&text[..text.len() - 1], *power));
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1024_u64.pow(power)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [("0", 0), ("512", 512), ("64K", 65_536), ("64M", 67_108_864), ("1G", 1 << 30)] {
            assert_eq!(bytes(text.to_owned()).unwrap(), size, "{text}");
        }
        for text in ["", "M", "64m", "64MB", "-1M", "+1M", "1.5G", " 1M", "99999999999T", "64 M", "é"] {
            let error = bytes(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains("is no size such as 64M or 1G"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_there_is_no_panic_and_only_sizes_are_sizes(text in "\\PC{0,8}") {
            let is_size = text.trim_end_matches(['K', 'M', 'G', 'T']).bytes().all(|b| b.is_ascii_digit());
            prop_assert!(bytes(text).is_err() || is_size);
        }

        #[test]
        fn a_size_is_its_number_times_its_letter(number in 0_u64..1 << 20, (letter, power) in proptest::sample::select(&LETTERS[..])) {
            prop_assert_eq!(bytes(format!("{number}{letter}")).unwrap(), number << (10 * power));
        }
    }
}
