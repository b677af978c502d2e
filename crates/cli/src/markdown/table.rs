//! Tables: in columns where they fit; else row by row, each cell behind its column's heading.

use super::fill::{Words, fill};
use super::{Kind, Line, Piece};

/// Between two columns.
const BETWEEN: usize = 2;
/// A column whose cells take several lines is no narrower.
const NARROWEST: usize = 16;

/// The cells of a table, row by row; the first row has the headings.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Words>>,
    row: Vec<Words>,
}

impl Table {
    pub(super) fn cell(&mut self, cell: Words) {
        self.row.push(cell);
    }

    pub(super) fn end_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        let heading = self.rows.is_empty();
        self.rows.push(if heading { row.into_iter().map(Words::strong).collect() } else { row });
    }

    /// The table in lines of at most `width` columns.
    pub(super) fn lines(&self, width: usize) -> Vec<Line> {
        match self.widths(width) {
            Some(widths) => self.in_columns(&widths),
            None => self.by_row(width),
        }
    }

    /// How wide each column is; none where they do not fit beside each other.
    fn widths(&self, width: usize) -> Option<Vec<usize>> {
        let count = self.rows.first().map_or(0, Vec::len);
        let most = |of: fn(&Words) -> usize| {
            let column = |at| self.rows.iter().filter_map(|row| row.get(at)).map(of).max().unwrap_or(0);
            (0..count).map(column).collect::<Vec<usize>>()
        };
        let (whole, longest) = (most(Words::columns), most(Words::longest));
        let room = width.checked_sub(BETWEEN * count.saturating_sub(1))?;
        let least: Vec<usize> =
            whole.iter().zip(&longest).map(|(whole, longest)| *whole.min(longest.max(&NARROWEST))).collect();
        let mut left = room.checked_sub(least.iter().sum())?;
        // What is left goes, column by column from the one that wants least, to whom it is of use.
        let mut widths = least;
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|at| whole[*at] - widths[*at]);
        for (nth, at) in order.iter().enumerate() {
            let share = left / (count - nth);
            let more = share.min(whole[*at] - widths[*at]);
            widths[*at] += more;
            left -= more;
        }
        Some(widths)
    }

    fn in_columns(&self, widths: &[usize]) -> Vec<Line> {
        let mut out = Vec::new();
        for (nth, row) in self.rows.iter().enumerate() {
            if nth == 0 && row.iter().all(Words::is_empty) {
                continue;
            }
            let mut cells: Vec<_> =
                row.iter().zip(widths).map(|(cell, width)| fill(cell, *width).into_iter()).collect();
            let height = cells.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
            for _ in 0..height {
                out.push(beside(cells.iter_mut().map(|cell| cell.next().unwrap_or_default()), widths));
            }
            if nth == 0 {
                let rules = widths.iter().map(|width| Line(vec![Piece::new(Kind::Rule, "─".repeat(*width))]));
                out.push(beside(rules, widths));
            }
        }
        out
    }

    fn by_row(&self, width: usize) -> Vec<Line> {
        let Some((headings, rows)) = self.rows.split_first() else { return Vec::new() };
        let mut out = Vec::new();
        for row in rows {
            for (nth, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
                let mut words = Words::default();
                if let Some(heading) = headings.get(nth).filter(|heading| nth > 0 && !heading.is_empty()) {
                    words.append(heading);
                    words.add(Kind::Strong, ":");
                }
                words.append(cell);
                // The first cell says what the row is about.
                for (at, line) in fill(&words, width.saturating_sub(2)).into_iter().enumerate() {
                    let before = if nth == 0 && at == 0 { "- " } else { "  " };
                    let pieces = [Piece::new(Kind::Plain, before)].into_iter().chain(line.0);
                    out.push(Line(pieces.collect()));
                }
            }
        }
        out
    }
}

/// Cells beside each other, without blanks at the end.
fn beside(cells: impl Iterator<Item = Line>, widths: &[usize]) -> Line {
    let (mut line, mut missing) = (Line::default(), 0);
    for (cell, width) in cells.zip(widths) {
        let columns = cell.columns();
        if columns > 0 {
            if missing > 0 {
                line.0.push(Piece::new(Kind::Plain, " ".repeat(missing)));
            }
            line.0.extend(cell.0);
            missing = 0;
        }
        missing += width.saturating_sub(columns) + BETWEEN;
    }
    line
}
