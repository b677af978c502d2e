//! `completions`: a script for a shell; and `__complete`, which such a script asks for the names of the site at hand. Only the
//! blueprint is read, never a node; whatever is wrong, there are no names, and nothing is said.

use std::collections::BTreeSet;

use camino::Utf8Path;
use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use plan::Address;

use super::{artifacts, explain, help, secrets};
use crate::args::{Cli, Complete, Completions, Global};
use crate::error::Outcome;
use crate::printer::Printer;

/// What a shell is given to ask for names, below what `clap_complete` makes of the command line.
const BASH: &str = include_str!("completions/names.bash");
const FISH: &str = include_str!("completions/names.fish");
const ZSH: &str = include_str!("completions/names.zsh");

/// More names than that are no help to anybody.
const MOST: usize = 1_000;

/// Prints the script for a shell.
pub fn script(options: &Completions, printer: Printer) -> Outcome {
    let mut bytes = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "phoenix-cli", &mut bytes);
    let made = String::from_utf8_lossy(&bytes);
    let script = match options.shell {
        // clap_complete 4.6.11 calls a program with a hyphen otherwise where it says what follows a command than where it
        // looks that up, so that options of commands would not be completed.
        Shell::Bash => made.replace("phoenix__subcmd__cli", "phoenix__cli") + BASH,
        Shell::Fish => made.into_owned() + FISH,
        Shell::Zsh => made.into_owned() + ZSH,
        _ => made.into_owned(),
    };
    printer.data(script);
    Ok(0)
}

/// Prints what the last of the words can become, a line each; nothing where that is no name of the site's.
pub fn complete(global: &Global, options: &Complete, printer: Printer) -> Outcome {
    let mut root = Cli::command();
    root.build();
    let Some(position) = position(&root, &options.words) else { return Ok(0) };
    let site = position.site.map_or(global.site.as_path(), Utf8Path::new);
    for name in
        position.names.names_in(site).iter().filter(|name| name.starts_with(position.begun)).take(MOST)
    {
        printer.data(format!("{}{name}", position.before));
    }
    Ok(0)
}

/// Which names can stand somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Containers, by their names.
    Guests,
    /// All resources by their addresses, and containers by their names, too.
    Resources,
    /// Where a request can begin.
    Places,
    /// Services and containers.
    Destinations,
    /// Resources and features.
    Explained,
    /// Containers, and what else `rotate` takes.
    Rotated,
    /// Secrets of the site.
    Secrets,
    /// Stacks of the site.
    Stacks,
    /// Programs that no package brings.
    Artifacts,
    /// Commands and pages of the book.
    Helped,
}

/// The arguments that are names: of which command (of any of the first level where empty), called what, and which names.
const NAMED: [(&str, &str, Names); 18] = [
    ("adopt", "guests", Names::Guests),
    ("exec", "guest", Names::Guests),
    ("shell", "guest", Names::Guests),
    ("logs", "guest", Names::Guests),
    ("health", "targets", Names::Resources),
    ("trace", "name", Names::Destinations),
    ("trace", "from", Names::Places),
    ("explain", "what", Names::Explained),
    ("rotate", "what", Names::Rotated),
    ("secrets show", "name", Names::Secrets),
    ("secrets set", "name", Names::Secrets),
    ("secrets rotate", "name", Names::Secrets),
    ("artifacts fetch", "names", Names::Artifacts),
    ("update", "stacks", Names::Stacks),
    ("help", "words", Names::Helped),
    ("", "target", Names::Resources),
    ("", "exclude", Names::Resources),
    ("", "allow_destroy", Names::Resources),
];

/// What is to be completed.
#[derive(Debug, PartialEq, Eq)]
struct Position<'w> {
    names: Names,
    /// What stands before the name in the same word: `--target=`.
    before: &'w str,
    /// What is there of the name.
    begun: &'w str,
    /// The site that the words name.
    site: Option<&'w str>,
}

/// What the last of the words is: `None` where it is no name.
fn position<'w>(root: &Command, words: &'w [String]) -> Option<Position<'w>> {
    let (last, earlier) = words.split_last()?;
    let mut command = root;
    let mut waiting: Option<&Arg> = None;
    let mut site = None;
    let (mut path, mut place) = (Vec::new(), 0);
    for word in earlier {
        let value = if let Some(option) = waiting.take() {
            Some((option, word.as_str()))
        } else if word == "--" {
            // What follows is run elsewhere.
            return None;
        } else if let Some((option, value)) = option(command, word) {
            waiting = value.is_none().then_some(option).filter(|it| it.get_action().takes_values());
            value.map(|value| (option, value))
        } else if let Some(below) = command.find_subcommand(word).filter(|_| place == 0) {
            command = below;
            path.push(below.get_name());
            None
        } else {
            place += usize::from(!word.starts_with('-'));
            None
        };
        if let Some((_, value)) = value.filter(|(option, _)| option.get_id() == "site") {
            site = Some(value);
        }
    }
    let whole = path.join(" ");
    let names = |arg: &Arg| {
        // `lab shell` is another one than `shell`.
        let of = |name: &str| if name.is_empty() { path.len() == 1 } else { name == whole };
        NAMED.iter().find(|(name, id, _)| of(name) && arg.get_id() == id).map(|(_, _, names)| *names)
    };
    let position = |arg, before, begun| Some(Position { names: names(arg)?, before, begun, site });
    if let Some(option) = waiting {
        return position(option, "", last);
    }
    if let Some((option, Some(begun))) = option(command, last) {
        return position(option, &last[..last.len() - begun.len()], begun);
    }
    if last.starts_with('-') {
        return None;
    }
    let all: Vec<&Arg> = command.get_positionals().collect();
    let many = |arg: &&&Arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1) && !arg.is_last_set();
    let arg = all.get(place).or_else(|| all.last().filter(many))?;
    position(arg, "", last)
}

/// The option that a word is, with its value where that is in the same word.
fn option<'c, 'w>(command: &'c Command, word: &'w str) -> Option<(&'c Arg, Option<&'w str>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return Some((command.get_arguments().find(|arg| arg.get_long() == Some(name))?, value));
    }
    // Of several letters in one word the last one may have a value, in the next.
    let letter = word.strip_prefix('-')?.chars().last()?;
    Some((command.get_arguments().find(|arg| arg.get_short() == Some(letter))?, None))
}

impl Names {
    /// The names of the site in a folder, sorted; none where there is no site that can be read.
    fn names_in(self, site: &Utf8Path) -> BTreeSet<String> {
        match self {
            Self::Helped => return help::words().collect(),
            Self::Artifacts => return artifacts::names(),
            _ => {}
        }
        let Some((blueprint, desired)) = explain::wired(site) else { return BTreeSet::new() };
        let guests = || blueprint.guests.keys().map(ToString::to_string);
        let addresses = || desired.graph.addresses().map(Address::to_string);
        match self {
            Self::Helped | Self::Artifacts => BTreeSet::new(),
            Self::Guests => guests().collect(),
            Self::Rotated => guests().chain(["intermediate", "authority"].map(str::to_owned)).collect(),
            Self::Secrets => secrets::names(&blueprint, &desired),
            Self::Stacks => blueprint.stacks.keys().cloned().collect(),
            Self::Resources => guests().chain(addresses()).collect(),
            Self::Places => guests().chain(["gateway".to_owned(), "outside".to_owned()]).collect(),
            Self::Destinations => {
                let guests = desired.guests.values().map(plan::desired::Guest::resource);
                let services = desired.services.values().map(plan::desired::Service::resource);
                let addresses = guests.chain(services).map(|address| address.to_string());
                addresses.chain(desired.services.keys().cloned()).collect()
            }
            Self::Explained => {
                let catalog = site::catalog().ok();
                let built_in = catalog.iter().flat_map(|all| all.iter().map(|(name, _)| name.to_owned()));
                let own = blueprint.features.keys().map(ToString::to_string);
                let features = built_in.chain(own).map(|name| format!("feature.{name}"));
                let stacks = catalog.iter().flat_map(blueprint::Catalog::stacks);
                let stacks = stacks.map(|(name, _)| format!("stack-catalog.{name}"));
                let lists = ["features", "stack-catalog"].map(str::to_owned);
                addresses().chain(features).chain(stacks).chain(lists).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(words: &str) -> Option<(Names, String, String, Option<String>)> {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let found = position(&root, &words)?;
        Some((found.names, found.before.into(), found.begun.into(), found.site.map(Into::into)))
    }

    fn plain(names: Names, begun: &str) -> Option<(Names, String, String, Option<String>)> {
        Some((names, String::new(), begun.into(), None))
    }

    #[test]
    fn a_name_is_known_by_where_it_stands() {
        assert_eq!(at("exec no"), plain(Names::Guests, "no"));
        assert_eq!(at("-q exec "), plain(Names::Guests, ""));
        assert_eq!(at("logs --unit nginx no"), plain(Names::Guests, "no"));
        assert_eq!(at("logs -n 3 no"), plain(Names::Guests, "no"));
        assert_eq!(at("plan --target cont"), plain(Names::Resources, "cont"));
        assert_eq!(at("plan --target a --exclude b"), plain(Names::Resources, "b"));
        assert_eq!(at("up --yes --allow-destroy "), plain(Names::Resources, ""));
        assert_eq!(at("health notes wi"), plain(Names::Resources, "wi"));
        assert_eq!(at("trace notes --from st"), plain(Names::Places, "st"));
        assert_eq!(at("explain feature."), plain(Names::Explained, "feature."));
        assert_eq!(at("secrets show n"), plain(Names::Secrets, "n"));
        assert_eq!(at("artifacts fetch a b"), plain(Names::Artifacts, "b"));
        assert_eq!(at("update notes ne"), plain(Names::Stacks, "ne"));
        assert_eq!(at("help topics st"), plain(Names::Helped, "st"));
        let joined = at("apply --target=container.n");
        assert_eq!(joined, Some((Names::Resources, "--target=".into(), "container.n".into(), None)));
        for words in ["--site there exec no", "exec --site=there no"] {
            assert_eq!(at(words), Some((Names::Guests, String::new(), "no".into(), Some("there".into()))));
        }
    }

    #[test]
    fn what_is_no_name_is_left_to_the_shell() {
        for words in [
            "",
            "pl",
            "exec --",
            "exec notes -- no",
            "exec notes no",
            "logs notes --unit n",
            "apply fi",
            "plan --out n",
            "lab shell 1",
            "lab up n",
            "explain a b",
            "--nonsense exec",
            "trace a b",
            "plan --target",
            "secrets n",
            "secrets show a b",
        ] {
            assert_eq!(at(words), None, "{words}");
        }
    }

    /// A renamed argument would go without names, unseen.
    #[test]
    fn every_argument_that_is_a_name_is_one() {
        let root = Cli::command();
        for (command, id, _) in NAMED {
            let has = |it: &Command| it.get_arguments().any(|arg| arg.get_id() == id);
            let below = |it: &'_ Command, name: &str| it.find_subcommand(name).cloned();
            let found =
                command.split_whitespace().try_fold(root.clone(), |it, name| below(&it, name)).unwrap();
            let all =
                if command.is_empty() { found.get_subcommands().cloned().collect() } else { vec![found] };
            assert!(all.iter().any(has), "{command} {id}");
        }
    }
}
