//! The targets of `fuzz/` for a moment on the stable compiler: their seeds, and those with pieces changed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failing test panics")]

#[path = "../../../../fuzz/exercise.rs"]
mod exercise;

use proptest::prelude::*;

/// What is put into a text: what parsers divide by, and what acts on terminals.
const PIECES: [&[u8]; 14] = [
    b"",
    b"\n",
    b"\"",
    b"{",
    b"}",
    b",",
    b"=",
    b"\x1b]0;x\x07",
    b"\x00",
    b"\xff",
    b"\xe2\x80\xae",
    b"99999999999999999999",
    b"```phoenix\n",
    b"\x1e",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/{}"), target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<_> = files.into_iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

#[test]
fn seeds_are_read() {
    for (target, exercise) in exercise::TARGETS {
        seeds(target).iter().for_each(|seed| exercise(seed));
    }
}

proptest! {
    #[test]
    fn changed_seeds_are_read_or_refused(
        seed in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, 0..PIECES.len()), 1..8),
    ) {
        for (target, exercise) in exercise::TARGETS {
            let seeds = seeds(target);
            let mut text = seed.get(&seeds).clone();
            for (at, length, piece) in &edits {
                let at = at.index(text.len() + 1);
                let end = (at + length).min(text.len());
                text.splice(at..end, PIECES[*piece].iter().copied());
            }
            exercise(&text);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, exercise) in exercise::TARGETS {
            exercise(&bytes);
        }
    }
}
