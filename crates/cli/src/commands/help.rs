//! `help`: how a command is used, or a page of the book in the terminal.

use clap::{Command, CommandFactory as _};
use plan::render::Style;

use crate::args::{Cli, Help};
use crate::book::{self, PAGES, Page};
use crate::error::{CommandError, Outcome};
use crate::markdown::{self, Kind};
use crate::printer::{Printer, paint};

/// The word that lists the pages; with a page's name behind it, it is that page even where a command is called the same.
const TOPICS: &str = "topics";
/// Where no terminal says how wide it is.
const WIDTH: usize = 80;
/// Longer lines are hard to read: as clap has it (`max_term_width`).
const WIDEST: usize = 100;

/// Shows what was asked for.
pub async fn run(options: &Help, printer: Printer) -> Outcome {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let mut root = Cli::command();
    root.build();
    if let [TOPICS, name] | [name] = words.as_slice()
        && let Some(page) = book::find(name)
        && (words.len() == 2 || root.find_subcommand(name).is_none())
    {
        return show(page, options, printer).await;
    }
    if words == [TOPICS] {
        return topics(options, printer).await;
    }
    let mut command = &root;
    for word in &words {
        command = command.find_subcommand(word).ok_or_else(|| unknown(&words, word, command))?;
    }
    usage(command, printer);
    if let [name] = words.as_slice()
        && book::find(name).is_some()
    {
        printer.say(format!("\nthe book's page about it: phoenix-cli help {TOPICS} {name}"));
    }
    Ok(0)
}

/// Prints how a command is used, as `--help` does.
fn usage(command: &Command, printer: Printer) {
    // A command that was built knows its whole name.
    printer.data(command.clone().render_long_help().ansi().to_string());
}

/// Lists the pages, each with what it is about.
async fn topics(options: &Help, printer: Printer) -> Outcome {
    if printer.json {
        let row = |page: &Page| serde_json::json!({ "name": page.name, "title": page.title, "summary": page.summary() });
        printer.data_json(&serde_json::json!({ "topics": PAGES.iter().map(row).collect::<Vec<_>>() }));
        return Ok(0);
    }
    let mut out = String::new();
    for page in PAGES {
        let heading = format!("{}  {}", paint(Style::Hint, page.name), paint(Style::Strong, page.title));
        out.push_str(&heading);
        out.push('\n');
        let summary = plan::render::wrap(&format!("    {}", page.summary()), width(printer));
        // What is carried over stands below what it belongs to.
        out.push_str(&summary.replace("\n        ", "\n    "));
        out.push('\n');
    }
    out.push_str(&format!("\nOne of them: phoenix-cli help {TOPICS} NAME\n"));
    printer.page(&out, !options.no_pager).await;
    Ok(0)
}

async fn show(page: &Page, options: &Help, printer: Printer) -> Outcome {
    if printer.json {
        printer
            .data_json(&serde_json::json!({ "name": page.name, "title": page.title, "markdown": page.text }));
        return Ok(0);
    }
    let mut out = String::new();
    for line in markdown::lines(page.text, width(printer)) {
        for piece in line.0 {
            match piece.kind {
                Kind::Plain => out.push_str(&piece.text),
                Kind::Strong | Kind::Heading => out.push_str(&paint(Style::Strong, &piece.text)),
                Kind::Code => out.push_str(&paint(Style::Hint, &piece.text)),
                Kind::Rule => out.push_str(&paint(Style::Dim, &piece.text)),
            }
        }
        out.push('\n');
    }
    printer.page(&out, !options.no_pager).await;
    Ok(0)
}

fn width(printer: Printer) -> usize {
    printer.columns(true).map_or(WIDTH, |columns| columns.min(WIDEST))
}

/// All words that can stand behind `help`, for completions.
pub fn words() -> impl Iterator<Item = String> {
    let root = Cli::command();
    let commands: Vec<String> = (root.get_subcommands().filter(|it| !it.is_hide_set()))
        .map(|command| command.get_name().to_owned())
        .collect();
    commands.into_iter().chain([TOPICS.to_owned()]).chain(PAGES.iter().map(|page| page.name.to_owned()))
}

fn unknown(words: &[&str], word: &str, within: &Command) -> CommandError {
    let topic = words.first() == Some(&TOPICS);
    let known: Vec<String> = if topic {
        PAGES.iter().map(|page| page.name.to_owned()).collect()
    } else if words.len() == 1 {
        self::words().collect()
    } else {
        within.get_subcommands().map(|command| command.get_name().to_owned()).collect()
    };
    let (what, asked) = match (topic, words.first() == Some(&word)) {
        // Of `topics NAME` it is the name.
        (true, _) => (format!("the book has no page `{}`", words[1..].join(" ")), words.last().copied()),
        (false, true) => (format!("`{word}` is no command and no page of the book"), Some(word)),
        (false, false) => (format!("`{}` has no command `{word}`", within.get_name()), Some(word)),
    };
    let near = blueprint::nearest(asked.unwrap_or_default(), known.iter().map(String::as_str));
    let meant = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    CommandError::usage("help::unknown", what)
        .hint(format!("{meant}phoenix-cli help lists the commands, phoenix-cli help {TOPICS} the pages"))
}
