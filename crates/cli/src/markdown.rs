//! Markdown as a terminal shows it: headings, paragraphs that fit the width, lists, code, tables; links as their text.
//!
//! Start at [`lines`]. Of a page's text nothing is lost but where links within the book lead to.

mod fill;
mod table;
#[cfg(test)]
mod tests;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use fill::{Words, fill};
use table::Table;

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Plain,
    /// Something that matters more.
    Strong,
    /// A heading.
    Heading,
    /// What can be typed or stands in a file.
    Code,
    /// What helps the eye alone: rules, signs of quotes.
    Rule,
}

/// A part of a line that looks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// Its text, without an end of a line.
    pub text: String,
}

impl Piece {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A line of the terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Piece>);

impl Line {
    /// How many columns it takes.
    pub fn columns(&self) -> usize {
        self.0.iter().map(|piece| piece.text.chars().count()).sum()
    }

    /// Its text.
    #[cfg(test)]
    pub fn text(&self) -> String {
        self.0.iter().map(|piece| piece.text.as_str()).collect()
    }
}

/// A page in lines of at most `width` columns. Longer are only lines of code blocks, which are kept as they are, and words that
/// cannot be broken.
pub fn lines(markdown: &str, width: usize) -> Vec<Line> {
    let mut page = Page { width, ..Page::default() };
    for event in parser(markdown) {
        page.take(event);
    }
    page.flush();
    page.out
}

/// The text of the first paragraph, in one line.
pub fn first_paragraph(markdown: &str) -> String {
    let mut text = String::new();
    let events = parser(markdown).skip_while(|event| !matches!(event, Event::Start(Tag::Paragraph)));
    for event in events.take_while(|event| !matches!(event, Event::End(TagEnd::Paragraph))) {
        match event {
            Event::Text(words) | Event::Code(words) => text.push_str(&words),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            _ => {}
        }
    }
    text
}

fn parser(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES)
}

/// What blocks stand in: a list's item, a quote.
#[derive(Debug)]
struct Inset {
    /// What stands before its first line, until that is written.
    first: Option<Piece>,
    /// What stands before all others.
    rest: Piece,
}

/// A page as far as it is laid out.
#[derive(Debug, Default)]
struct Page {
    width: usize,
    out: Vec<Line>,
    /// What the block at hand says so far.
    words: Words,
    insets: Vec<Inset>,
    /// The number of the next item of each list that is open; none where it has signs instead.
    lists: Vec<Option<u64>>,
    /// How deep in what is strong.
    strong: usize,
    heading: Option<HeadingLevel>,
    code: bool,
    /// The address of the link at hand, where it leads out of the book.
    link: Option<String>,
    table: Option<Table>,
    /// Whether an empty line comes before the next block.
    gap: bool,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => self.code_lines(&text),
            Event::Text(text) => {
                // An address that is its own text is said once.
                self.link.take_if(|link| **link == *text);
                self.words.add(self.kind(), &text);
            }
            Event::Code(text) => self.words.add(Kind::Code, &text),
            Event::SoftBreak => self.words.add(Kind::Plain, " "),
            Event::HardBreak => self.words.end_line(),
            Event::Rule => {
                let rule = Piece::new(Kind::Rule, "─".repeat(self.room()));
                self.gap = true;
                self.block(vec![Line(vec![rule])]);
                self.gap = true;
            }
            // Comments; the book has no other HTML, as a test of all of its pages sees.
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.flush();
                self.heading = Some(level);
                self.gap = true;
            }
            Tag::CodeBlock(_) => {
                self.flush();
                self.code = true;
                self.gap = true;
            }
            Tag::BlockQuote(_) => {
                self.flush();
                let bar = || Piece::new(Kind::Rule, "│ ");
                self.insets.push(Inset { first: Some(bar()), rest: bar() });
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                let sign = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".to_owned(),
                };
                let rest = Piece::new(Kind::Plain, " ".repeat(sign.len()));
                self.insets.push(Inset { first: Some(Piece::new(Kind::Plain, sign)), rest });
            }
            Tag::Table(_) => {
                self.flush();
                self.table = Some(Table::default());
            }
            Tag::Strong | Tag::Emphasis => self.strong += 1,
            Tag::Link { dest_url, .. } => {
                self.link = dest_url.contains("://").then(|| dest_url.into_string());
            }
            Tag::Image { .. } => self.words.add(Kind::Plain, "(picture: "),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => {
                self.flush();
                self.gap = true;
            }
            TagEnd::Heading(level) => {
                let columns = self.words.columns().min(self.room());
                self.flush();
                self.heading = None;
                // So that a heading is one without colours, too.
                let sign = match level {
                    HeadingLevel::H1 => "═",
                    HeadingLevel::H2 => "─",
                    _ => "",
                };
                if !sign.is_empty() {
                    self.block(vec![Line(vec![Piece::new(Kind::Rule, sign.repeat(columns))])]);
                }
                self.gap = true;
            }
            TagEnd::CodeBlock => {
                self.code = false;
                self.gap = true;
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.flush();
                self.insets.pop();
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.gap |= self.lists.is_empty();
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.words);
                if let Some(table) = &mut self.table {
                    table.cell(cell);
                }
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                if let Some(table) = &mut self.table {
                    table.end_row();
                }
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    let lines = table.lines(self.room());
                    self.block(lines);
                    self.gap = true;
                }
            }
            TagEnd::Strong | TagEnd::Emphasis => self.strong -= 1,
            TagEnd::Link => {
                if let Some(link) = self.link.take() {
                    self.words.add(Kind::Plain, &format!(" ({link})"));
                }
            }
            TagEnd::Image => self.words.add(Kind::Plain, ")"),
            _ => {}
        }
    }

    fn kind(&self) -> Kind {
        match (self.heading.is_some(), self.strong > 0) {
            (true, _) => Kind::Heading,
            (false, true) => Kind::Strong,
            (false, false) => Kind::Plain,
        }
    }

    /// How many columns there are within all that the block at hand is in.
    fn room(&self) -> usize {
        let taken: usize = self.insets.iter().map(|inset| inset.rest.text.chars().count()).sum();
        self.width.saturating_sub(taken).max(1)
    }

    /// Writes what was gathered of a paragraph, a heading or an item.
    fn flush(&mut self) {
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            let lines = fill(&words, self.room());
            self.block(lines);
        }
    }

    fn code_lines(&mut self, text: &str) {
        let lines = text.lines().map(|line| {
            if line.is_empty() {
                Line::default()
            } else {
                Line(vec![Piece::new(Kind::Code, format!("    {line}"))])
            }
        });
        self.block(lines.collect());
    }

    /// Writes lines, each behind the signs of what it is in.
    fn block(&mut self, lines: Vec<Line>) {
        if std::mem::take(&mut self.gap) && !self.out.is_empty() {
            // Within a quote an empty line has its sign, too.
            let begun =
                self.insets.iter().filter(|inset| inset.first.is_none() && inset.rest.kind == Kind::Rule);
            let signs = begun.map(|inset| Piece::new(Kind::Rule, inset.rest.text.trim_end())).collect();
            self.out.push(Line(signs));
        }
        for line in lines {
            let mut pieces: Vec<Piece> = self
                .insets
                .iter_mut()
                .map(|inset| inset.first.take().unwrap_or_else(|| inset.rest.clone()))
                .collect();
            pieces.extend(line.0);
            self.out.push(Line(pieces));
        }
    }
}
