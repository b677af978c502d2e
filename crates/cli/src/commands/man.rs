//! `man`: writes the manual pages, a page for each command.

use camino::Utf8Path;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::{Cli, ManPages};
use crate::error::{CommandError, Outcome};
use crate::printer::Printer;

/// Writes them into the folder.
pub fn run(options: &ManPages, printer: Printer) -> Outcome {
    let wrong = |error: std::io::Error| CommandError::from_error("man::write", &error);
    fs_err::create_dir_all(&options.to).map_err(wrong)?;
    let mut root = Cli::command();
    root.build();
    write(&root, None, &options.to).map_err(wrong)?;
    printer
        .say(format!("wrote the manual pages into {0}; to read one: man -l {0}/phoenix-cli.1", options.to));
    Ok(0)
}

/// Writes the page of a command, and of all below it.
fn write(command: &Command, above: Option<&str>, folder: &Utf8Path) -> std::io::Result<()> {
    let page = Man::new(command.clone())
        .source(concat!("phoenix-cli ", env!("CARGO_PKG_VERSION")))
        .manual("Phoenix");
    let name = page.get_filename();
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let below = || command.get_subcommands().filter(|it| !it.is_hide_set());
    if below().next().is_some() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    examples(command, &mut roff);
    if let Some(above) = above {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(above.trim_end_matches(".1")), roman("(1)")]);
    }
    roff.to_writer(&mut text)?;
    fs_err::write(folder.join(&name), text)?;
    below().try_for_each(|command| write(command, Some(&name), folder))
}

/// What help shows at its end: examples, whose lines stay as they are, and after an empty line text.
fn examples(command: &Command, roff: &mut Roff) {
    let Some(text) = command.get_after_help().map(ToString::to_string) else { return };
    let (examples, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in examples.lines().filter(|line| *line != "Examples:") {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    if !rest.is_empty() {
        roff.control("SH", ["NOTES"]);
        for line in rest.lines() {
            match line {
                "" => roff.control("PP", []),
                line => roff.text([roman(line)]),
            };
        }
    }
}
