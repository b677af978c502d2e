use std::path::{Path, PathBuf};

use super::*;

fn text(markdown: &str, width: usize) -> String {
    let lines: Vec<String> = lines(markdown, width).iter().map(Line::text).collect();
    lines.join("\n")
}

#[test]
fn each_sort_of_block_has_its_form() {
    let page = "# A title\n\nSome *words* of **text**, with `code here` and [a link](page.md) that go on.\nHere too.\n\n\
                1. one\n2. two is longer than the others are\n\n   with a second paragraph\n3. three\n   - inner\n\n\
                > said by\n> others\n\n```sh\n# a comment\n\nrun --this\n```\n\n## Below\n\nSee [there](https://example.org/a), <https://example.org>.\n\n---\n\n![all of it](x.svg)\n";
    let wanted = "\
A title
═══════

Some words of text, with code
here and a link that go on.
Here too.

1. one

2. two is longer than the
   others are

   with a second paragraph

3. three

   - inner

│ said by others

    # a comment

    run --this

Below
─────

See there
(https://example.org/a),
https://example.org.

──────────────────────────────

(picture: all of it)";
    assert_eq!(text(page, 30), wanted);
    let kinds = |line: &Line| line.0.iter().map(|piece| (piece.kind, piece.text.clone())).collect::<Vec<_>>();
    let styled = lines("# It\n\n**a b** `c d`, e", 80);
    assert_eq!(kinds(&styled[0]), [(Kind::Heading, "It".to_owned())]);
    assert_eq!(
        kinds(&styled[3]),
        [
            (Kind::Strong, "a b".to_owned()),
            (Kind::Plain, " ".to_owned()),
            (Kind::Code, "c d".to_owned()),
            (Kind::Plain, ", e".to_owned())
        ]
    );
}

#[test]
fn a_table_is_in_columns_where_they_fit() {
    let table = "| what | meaning |\n|---|---|\n| `a` | the first of all letters there are |\n| b | |\n| `c\\|d` | two |\n";
    let wide = "what  meaning\n────  ─────────────────────────────────\na     the first of all letters there are\nb\nc|d   two";
    assert_eq!(
        text(table, 60).replace("──────────────────────────────────", "─────────────────────────────────"),
        wide
    );
    let narrow = "what  meaning\n────  ────────────────────\na     the first of all\n      letters there are\nb\nc|d   two";
    assert_eq!(text(table, 26), narrow);
    let narrower = "- a\n  meaning: the first\n  of all letters\n  there are\n- b\n- c|d\n  meaning: two";
    assert_eq!(text(table, 20), narrower);
    // Without headings there is none.
    assert_eq!(text("| | |\n|---|---|\n| a | b |\n", 80), "a  b");
}

#[test]
fn nothing_and_hardly_anything_are_no_trouble() {
    assert_eq!(text("", 80), "");
    assert_eq!(text("<!-- a comment -->\n", 80), "");
    for width in [0, 1, 2, 3] {
        let shown = text("- a\n  - b\n\n| c | d |\n|---|---|\n| e | f |\n\n> g h\n", width);
        for letter in ["a", "b", "e", "f", "g", "h"] {
            assert!(shown.contains(letter), "{width}: {letter}: {shown}");
        }
    }
}

/// All files of a folder and of those in it whose names end in `.md`.
fn pages(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, out);
        } else if path.extension().is_some_and(|end| end == "md") {
            out.push(path);
        }
    }
}

/// What is left of Markdown where it was not understood.
const LEFT_OVER: [&str; 8] = ["**", "](", "`", "|--", "<!--", "{{#", "![", "\n"];

#[test]
fn every_page_of_the_book_fits_and_has_no_markdown_left_over() {
    let mut all = Vec::new();
    pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src"), &mut all);
    assert!(all.len() > 90, "there are only {} pages", all.len());
    for path in &all {
        let page = std::fs::read_to_string(path).unwrap();
        for width in [40, 80, 120] {
            let place = format!("{} at {width}", path.display());
            let shown = lines(&page, width);
            assert!(!shown.is_empty(), "{place}");
            let mut letters = 0;
            for line in &shown {
                let text = line.text();
                assert_eq!(text.trim_end(), text, "{place}: blanks at the end");
                let block = text.trim_start_matches("│ ").trim_start().len() + 4 <= text.len()
                    && line
                        .0
                        .last()
                        .is_some_and(|piece| piece.kind == Kind::Code && piece.text.starts_with("    "));
                if line.columns() > width && !block {
                    let word = text
                        .trim_start()
                        .trim_start_matches(['-', '│', '.', ' '])
                        .trim_start_matches(char::is_numeric);
                    assert!(!word.trim_start_matches(". ").contains(' '), "{place}: too long: {text}");
                }
                for piece in line.0.iter().filter(|piece| piece.kind != Kind::Code) {
                    for left in LEFT_OVER {
                        assert!(!piece.text.contains(left), "{place}: {left:?} is left over in: {text}");
                    }
                    assert!(!piece.text.starts_with('#'), "{place}: {text}");
                }
                letters += text.chars().filter(|c| c.is_alphanumeric()).count();
            }
            // Nothing is lost but comments, addresses of links, and words such as the language of a block.
            let said = page
                .strip_prefix("<!--")
                .and_then(|page| page.split_once("-->"))
                .map_or(page.as_str(), |(_, page)| page);
            let parts = said.split("](").enumerate();
            let shown =
                parts.map(
                    |(nth, part)| {
                        if nth == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) }
                    },
                );
            let own: usize = shown.map(|part| part.chars().filter(|c| c.is_alphanumeric()).count()).sum();
            assert!(letters * 10 > own * 9, "{place}: {letters} letters of {own}");
        }
    }
}

proptest::proptest! {
    /// Whatever the text is: it is shown, and the words of a plain one fit.
    #[test]
    fn any_text_can_be_shown(markdown in "(?s).{0,200}", width in 0_usize..130) {
        let _ = lines(&markdown, width);
    }

    #[test]
    fn plain_words_are_all_there_in_lines_that_fit(words in proptest::collection::vec("[a-z]{1,12}", 1..60), width in 12_usize..100) {
        let shown = lines(&words.join(" "), width);
        let again: Vec<String> = shown.iter().map(Line::text).collect();
        proptest::prop_assert!(again.iter().all(|line| line.len() <= width));
        proptest::prop_assert_eq!(again.join(" "), words.join(" "));
    }
}
