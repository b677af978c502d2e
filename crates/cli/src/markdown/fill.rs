//! Words put into lines.

use super::{Kind, Line, Piece};

/// Text that can be broken between its words.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Each of one or more pieces with no blank between them: `**this**,` is one.
    words: Vec<Word>,
    /// Whether the next piece begins another word.
    apart: bool,
}

#[derive(Debug, Default)]
struct Word {
    pieces: Vec<Piece>,
    /// Whether a line ends behind it.
    ends_line: bool,
}

impl Word {
    fn columns(&self) -> usize {
        self.pieces.iter().map(|piece| piece.text.chars().count()).sum()
    }
}

impl Words {
    /// Adds text; blanks in it part words.
    pub(super) fn add(&mut self, kind: Kind, text: &str) {
        self.apart |= text.starts_with(char::is_whitespace);
        for (nth, part) in text.split_whitespace().enumerate() {
            let piece = Piece::new(kind, part);
            match self.words.last_mut().filter(|word| nth == 0 && !self.apart && !word.ends_line) {
                Some(word) => word.pieces.push(piece),
                None => self.words.push(Word { pieces: vec![piece], ends_line: false }),
            }
            self.apart = false;
        }
        self.apart |= text.ends_with(char::is_whitespace);
    }

    /// Adds all of another text, as words of its own.
    pub(super) fn append(&mut self, other: &Self) {
        for word in &other.words {
            let pieces = word.pieces.clone();
            self.words.push(Word { pieces, ends_line: word.ends_line });
        }
    }

    /// The same in bold, but for code.
    pub(super) fn strong(mut self) -> Self {
        let pieces = self.words.iter_mut().flat_map(|word| &mut word.pieces);
        for piece in pieces.filter(|piece| piece.kind == Kind::Plain) {
            piece.kind = Kind::Strong;
        }
        self
    }

    /// The line ends here.
    pub(super) fn end_line(&mut self) {
        if let Some(word) = self.words.last_mut() {
            word.ends_line = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The columns of all of it in one line.
    pub(super) fn columns(&self) -> usize {
        let words: usize = self.words.iter().map(Word::columns).sum();
        words + self.words.len().saturating_sub(1)
    }

    /// The columns of its longest word.
    pub(super) fn longest(&self) -> usize {
        self.words.iter().map(Word::columns).max().unwrap_or(0)
    }
}

/// Lines of at most `width` columns, but for words that are longer.
pub(super) fn fill(words: &Words, width: usize) -> Vec<Line> {
    let (mut lines, mut line, mut used) = (Vec::new(), Line::default(), 0);
    for word in &words.words {
        let columns = word.columns();
        if used > 0 && used + 1 + columns > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            // A blank within what looks the same is part of it.
            let before = line.0.last().map(|piece| piece.kind);
            let same = before.filter(|kind| word.pieces.first().is_some_and(|piece| piece.kind == *kind));
            push(&mut line, Piece::new(same.unwrap_or(Kind::Plain), " "));
            used += 1;
        }
        for piece in &word.pieces {
            push(&mut line, piece.clone());
        }
        used += columns;
        if word.ends_line {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
    }
    if !line.0.is_empty() {
        lines.push(line);
    }
    lines
}

fn push(line: &mut Line, piece: Piece) {
    match line.0.last_mut().filter(|last| last.kind == piece.kind) {
        Some(last) => last.text.push_str(&piece.text),
        None => line.0.push(piece),
    }
}
