//! Arguments as the node's commands take them: words, and options that may be written in several ways.

use super::client::Parameters;

/// The words and options of a command line. `--key value`, `--key=value` and `-key value` are the same; an option with
/// no value is `1`.
pub(crate) fn split<'a>(arguments: &[&'a str]) -> (Vec<&'a str>, Parameters) {
    let (mut words, mut options) = (Vec::new(), Parameters::new());
    let mut rest = arguments.iter().copied().peekable();
    while let Some(argument) = rest.next() {
        let name = argument.strip_prefix("--").or_else(|| {
            // A single dash, but not a negative number and not a lone dash.
            argument.strip_prefix('-').filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic()))
        });
        match name {
            None | Some("") => words.push(argument),
            Some(name) => {
                let (key, value) = match name.split_once('=') {
                    Some((key, value)) => (key, value.to_owned()),
                    None => {
                        let value = rest.next_if(|next| !next.starts_with("--"));
                        (name, value.map_or_else(|| "1".to_owned(), str::to_owned))
                    }
                };
                options.insert(key.to_owned(), value);
            }
        }
    }
    (words, options)
}

/// How the output is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    JsonPretty,
}

/// Takes the output options out of `options`.
pub(crate) fn format(options: &mut Parameters) -> Format {
    for unused in ["noborder", "noheader", "quiet", "human-readable"] {
        options.remove(unused);
    }
    match options.remove("output-format").as_deref() {
        Some("json") => Format::Json,
        Some("json-pretty") => Format::JsonPretty,
        _ => Format::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_every_way_they_are_written() {
        let (words, options) = split(&[
            "set",
            "250",
            "--memory",
            "512",
            "--net0=name=eth0,bridge=vmbr0",
            "-swap",
            "0",
            "--purge",
        ]);
        assert_eq!(words, ["set", "250"]);
        assert_eq!(options["memory"], "512");
        assert_eq!(options["net0"], "name=eth0,bridge=vmbr0");
        assert_eq!(options["swap"], "0");
        assert_eq!(options["purge"], "1");
    }
}
