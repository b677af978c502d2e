//! How text from outside is shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character does something else than being seen: control characters (C0, DEL, C1), separators of lines,
/// marks that turn the direction (Unicode Standard Annex 9), and what takes no room at all.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Shows a hidden character by its number, as Rust writes it.
fn escape(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing to a String cannot fail.
        c => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
    }
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// As part of one line: every hidden character, line ends too, is shown by its number. Other text stays as it is, so that
/// doing it twice is doing it once.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// As several lines: line ends (also CR LF, as ssh's words end) and tabs stay, all else as [`line()`].
pub fn block(text: &str) -> Cow<'_, str> {
    let hidden = |c| is_hidden(c) && c != '\n' && c != '\t';
    match text.contains("\r\n") {
        true => Cow::Owned(escaped(&text.replace("\r\n", "\n"), hidden).into_owned()),
        false => escaped(text, hidden),
    }
}

/// A [`block`] whose lines after the first begin with `before`, so that none looks like a line of Phoenix' own.
pub fn indented(text: &str, before: &str) -> String {
    block(text).trim_end_matches('\n').replace('\n', &format!("\n{before}"))
}

/// A document of JSON in which every hidden character that is in a text is written as an escape: it says the same, and
/// a terminal sees nothing of it. (JSON itself asks that of C0 alone; outside of texts it has none but spaces.)
pub fn json(document: &str) -> Cow<'_, str> {
    let hidden = |c| is_hidden(c) && c != '\n';
    if !document.contains(hidden) {
        return Cow::Borrowed(document);
    }
    let mut out = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The last look at text that is laid out already: line ends, tabs and colours stay, all else as [`line()`]. Colours are those
/// that make a text seen: what conceals, inverts, blinks or paints behind is no colour of Phoenix' own.
pub fn screen(text: &str) -> Cow<'_, str> {
    let hidden = |c| is_hidden(c) && c != '\n' && c != '\t';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or(0);
        if length > 0 {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if hidden(c) {
            escape(&mut out, c);
        } else {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}

/// How long the colour is that a text begins with: `ESC [ PARAMETERS m` (ECMA-48, SGR).
fn colour(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("\u{1b}[")?;
    let end = inside.find(|c: char| !c.is_ascii_digit() && c != ';').filter(|end| *end < 20)?;
    let parameters = inside[..end].split(';').map(|word| word.parse::<u16>().ok());
    let parameters: Option<Vec<u16>> = parameters.collect();
    let seen = match parameters?.as_slice() {
        // A colour by its parts, as miette's are: one that is bright enough to be read.
        [38, 2, r, g, b] => {
            [r, g, b].iter().all(|part| **part < 256) && [r, g, b].iter().any(|part| **part >= 128)
        }
        // Bold, dim, italic, underlined, their ends, and the foreground but black.
        simple => simple.iter().all(|n| matches!(n, 0..=4 | 22..=24 | 31..=37 | 39 | 91..=97)),
    };
    (seen && inside[end..].starts_with('m')).then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is shown, back to what it shows: for texts that hold no backslash of their own.
    fn back(shown: &str) -> String {
        let mut out = String::new();
        let mut rest = shown;
        while let Some((before, after)) = rest.split_once('\\') {
            out.push_str(before);
            let (c, length) = match after.as_bytes()[0] {
                b'n' => ('\n', 1),
                b'r' => ('\r', 1),
                b't' => ('\t', 1),
                _ => {
                    let end = after.find('}').unwrap();
                    (char::from_u32(u32::from_str_radix(&after[2..end], 16).unwrap()).unwrap(), end + 1)
                }
            };
            out.push(c);
            rest = &after[length..];
        }
        out + rest
    }

    /// Any text, with more of what is hidden than chance would bring.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "\u{1b}]52;c;eA==\u{7}",
            "\u{1b}[31m",
            "\u{1b}[8m",
            "\u{9b}2J",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\u{feff}",
            "\r",
            "\n",
            "\r\n",
            "\t",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{e0041}",
            "✔ done",
            "a",
            "\\",
            "\u{1b}",
        ]);
        prop::collection::vec(
            prop_oneof![pieces.prop_map(str::to_owned), any::<char>().prop_map(String::from)],
            0..12,
        )
        .prop_map(|all| all.concat())
    }

    proptest! {
        #[test]
        fn a_line_holds_nothing_hidden_and_stays_as_it_is(text in texts()) {
            let shown = line(&text);
            prop_assert!(!shown.contains(is_hidden), "{shown:?}");
            prop_assert_eq!(line(&shown).into_owned(), shown.to_string());
        }

        #[test]
        fn what_is_shown_tells_what_it_was(text in texts()) {
            let text = text.replace('\\', "/");
            prop_assert_eq!(back(&line(&text)), text);
        }

        #[test]
        fn what_hides_nothing_stays_as_it_is(text in "[^\\p{C}\\p{Z}]*") {
            prop_assume!(!text.contains(is_hidden));
            prop_assert_eq!(line(&text).into_owned(), text.clone());
            prop_assert_eq!(block(&text).into_owned(), text.clone());
            prop_assert_eq!(screen(&text).into_owned(), text.clone());
        }

        #[test]
        fn a_block_holds_line_ends_and_tabs_alone(text in texts()) {
            let shown = block(&text);
            prop_assert!(!shown.contains(|c| is_hidden(c) && c != '\n' && c != '\t'), "{shown:?}");
            prop_assert_eq!(block(&shown).into_owned(), shown.to_string());
        }

        #[test]
        fn no_line_of_another_begins_where_ours_do(text in texts()) {
            for later in indented(&text, "    ").split('\n').skip(1) {
                prop_assert!(later.starts_with("    "), "{later:?}");
            }
        }

        #[test]
        fn json_says_the_same(text in texts()) {
            let document = serde_json::json!({ text.clone(): [text] });
            let plain = serde_json::to_string_pretty(&document).unwrap();
            let shown = json(&plain);
            prop_assert!(!shown.contains(|c| is_hidden(c) && c != '\n'), "{shown:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
        }

        #[test]
        fn the_screen_gets_colours_and_nothing_else(text in texts()) {
            let shown = screen(&text);
            let plain = shown.replace("\u{1b}[31m", "");
            prop_assert!(!plain.contains(|c| is_hidden(c) && c != '\n' && c != '\t'), "{shown:?}");
            prop_assert_eq!(screen(&shown).into_owned(), shown.to_string());
        }
    }

    #[test]
    fn colours_are_those_that_can_be_read() {
        for seen in ["\u{1b}[0m", "\u{1b}[1;31m", "\u{1b}[38;2;255;30;30m", "\u{1b}[2m"] {
            assert_eq!(screen(seen), seen);
        }
        for hides in [
            "\u{1b}[8m",
            "\u{1b}[30m",
            "\u{1b}[7m",
            "\u{1b}[38;2;0;0;0m",
            "\u{1b}[41m",
            "\u{1b}[2J",
            "\u{1b}[m",
            "\u{1b}[31",
        ] {
            assert_eq!(screen(hides), hides.replace('\u{1b}', "\\u{1b}"));
        }
    }

    #[test]
    fn what_ssh_says_ends_in_line_ends() {
        assert_eq!(block("one\r\ntwo\r\n"), "one\ntwo\n");
        assert_eq!(indented("one\n✔ two\n", "  "), "one\n  ✔ two");
    }
}
