//! Lines that fit a terminal: broken between words, never in one.

/// Breaks the lines of `text` so that each fits into `width` columns where its words allow it. What is carried over is
/// indented by four columns more than its line. Escape sequences of colours (ECMA-48 SGR) take no room.
pub fn wrap(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for line in text.split_inclusive('\n') {
        let body = line.strip_suffix('\n');
        fold(body.unwrap_or(line), width, &mut out);
        if body.is_some() {
            out.push('\n');
        }
    }
    out
}

fn fold(line: &str, width: usize, out: &mut String) {
    if columns(line) <= width {
        out.push_str(line);
        return;
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    let hang = indent + 4;
    out.push_str(&line[..indent]);
    let (mut at, mut gap, mut first) = (indent, 0, true);
    for word in line[indent..].split(' ') {
        // Several blanks in a row are empty words: they stay as they are within a line.
        if word.is_empty() {
            gap += 1;
            continue;
        }
        let wide = columns(word);
        if first {
            first = false;
        } else if at + gap + wide > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', hang));
            at = hang;
        } else {
            out.extend(std::iter::repeat_n(' ', gap));
            at += gap;
        }
        out.push_str(word);
        at += wide;
        gap = 1;
    }
}

/// How many columns a text takes, one for each character: blueprints are read in scripts where that is so.
fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            for c in rest.by_ref() {
                if c == 'm' {
                    break;
                }
            }
        } else {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("+ one two three\n  four\n", 9), "+ one two\n    three\n  four\n");
        assert_eq!(wrap("a  b", 80), "a  b");
        // A word that is too long is left whole, and colours take no room.
        assert_eq!(wrap("x averylongword y", 8), "x\n    averylongword\n    y");
        assert_eq!(wrap("\u{1b}[31mab\u{1b}[0m cd", 5), "\u{1b}[31mab\u{1b}[0m cd");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_word_is_broken(text in "([a-z·→]{1,12}| {1,3}|\n){0,40}", width in 1usize..100) {
            let wrapped = wrap(&text, width);
            let before: Vec<&str> = text.split_whitespace().collect();
            let after: Vec<&str> = wrapped.split_whitespace().collect();
            prop_assert_eq!(before, after);
            for line in wrapped.lines() {
                prop_assert!(columns(line.trim_end()) <= width || line.trim().split(' ').filter(|w| !w.is_empty()).count() == 1, "{line:?}");
            }
        }

        #[test]
        fn whatever_it_is_it_is_wrapped(text in ".{0,60}", width in 0usize..40) {
            let _ = wrap(&text, width);
        }
    }
}
