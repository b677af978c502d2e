//! The command line's reference, from what the binary really takes.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

/// The page.
pub fn markdown() -> String {
    let mut root = phoenix_cli::args::Cli::command();
    root.build();
    let mut out = String::from(
        "# Command line reference\n\nWhat `phoenix-cli --help` and `phoenix-cli COMMAND --help` show.\n\nData goes to standard \
         output, talk to standard error.\n",
    );
    out.push_str("\n## Options of every command\n\n");
    arguments(root.get_arguments().filter(|a| a.is_global_set()), &mut out);
    out.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in [
        ("0", "done"),
        ("1", "failed"),
        ("2", "bad usage or blueprint"),
        ("3", "`plan` or `drift` with `--detailed-exitcode`: changes wait"),
        ("4", "refused for want of consent"),
        ("130", "interrupted"),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {code} | {meaning} |");
    }
    out.push_str("\n`exec` ends with the exit code of the command it ran.\n");
    for command in shown(&root) {
        section(command, "phoenix-cli", 2, &mut out);
    }
    out
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set())
}

fn section(command: &Command, before: &str, level: usize, out: &mut String) {
    let name = format!("{before} {}", command.get_name());
    let usage = command.clone().render_usage().to_string();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(
        out,
        "\n{} {name}\n\n{about}.\n\n```text\n{}\n```\n",
        "#".repeat(level),
        usage.trim_start_matches("Usage: ")
    );
    let own: Vec<&Arg> = command.get_arguments().filter(|a| listed(a)).collect();
    if !own.is_empty() {
        out.push('\n');
        arguments(own.into_iter(), out);
    }
    if let Some(examples) = command.get_after_help() {
        let text = examples.to_string();
        let text = text.strip_prefix("Examples:\n").unwrap_or(&text);
        // What stands after an empty line is no example.
        let (examples, rest) = text.split_once("\n\n").unwrap_or((text, ""));
        let lines: Vec<&str> = examples.lines().map(str::trim_start).collect();
        let _ = write!(out, "\nExamples:\n\n```text\n{}\n```\n", lines.join("\n"));
        if !rest.is_empty() {
            let _ = write!(out, "\n{rest}\n");
        }
    }
    for inner in shown(command) {
        section(inner, &name, level + 1, out);
    }
}

fn listed(arg: &Arg) -> bool {
    !arg.is_hide_set() && !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn arguments<'a>(list: impl Iterator<Item = &'a Arg>, out: &mut String) {
    out.push_str("| argument | meaning |\n|---|---|\n");
    for arg in list {
        let takes = arg.get_action().takes_values();
        let value = arg
            .get_value_names()
            .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .unwrap_or_default();
        let mut written = match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            (Some(short), None) => format!("-{short}"),
            (None, None) if arg.is_last_set() => format!("-- {value}…"),
            (None, None) => value.clone(),
        };
        if takes && arg.get_long().is_some() {
            let _ = write!(written, " {value}");
        }
        let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let possible: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|v| !v.is_hide_set())
            .map(|v| format!("`{}`", v.get_name()))
            .collect();
        if takes && !possible.is_empty() {
            let _ = write!(meaning, ": {}", possible.join(", "));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|d| format!("`{}`", d.to_string_lossy())).collect();
        if takes && !defaults.is_empty() {
            let _ = write!(meaning, " (default {})", defaults.join(", "));
        }
        if let Some(variable) = arg.get_env() {
            let _ = write!(meaning, "; also from the environment: `{}`", variable.to_string_lossy());
        }
        let _ = writeln!(out, "| `{written}` | {} |", meaning.replace('|', "\\|"));
    }
}
