//! The page of the keys of a container's configuration, from the rows that plans are made by.

use managers::guests::containers::ROWS;
use managers::keys::{Others, Row, Shown, Takes};
use plan::desired::Guest;

const HEAD: &str = "\
# Keys of a container

What Phoenix sets in a container's configuration on the node (`/etc/pve/lxc/ID.conf`), and what a change of it costs. Keys that
are not here are not Phoenix': what somebody set there stays, and a plan says so in a note.

| key | from the blueprint's | a change takes effect | takes root | where it is absent | what others set |
|---|---|---|---|---|---|
";

const FOOT: &str = "
Of keys with parts (`net0`, `mp0`, `features`), parts that the blueprint has no word for stay as they are. Sizes of disks grow
in place and never shrink. The description also holds the mark.

- **at once**: nothing stops.
- **at a restart**: the plan says so, and the step restarts the container once.
- **made anew**: the container is destroyed and made again, with consent. Its volumes go with it, and the plan names them.

What others may set, too, Phoenix remembers in the container's mark, so that it takes away only what it put there.
";

/// The page.
pub fn markdown() -> String {
    let rows: String = ROWS.iter().map(line).collect();
    format!("{HEAD}{rows}{FOOT}")
}

fn line(row: &Row<Guest>) -> String {
    let number = if row.numbered { "*N*" } else { "" };
    let takes = match row.takes {
        Takes::Live => "at once",
        Takes::Restart => "at a restart",
        Takes::Plugged => "at once where it is new, else at a restart",
        Takes::Rebuild => "made anew",
    };
    let absent = match (row.default, row.shown) {
        (None, _) => "–".to_owned(),
        (Some(default), Shown::Words(words)) => {
            words.iter().find(|(known, _)| *known == default).map_or(default, |(_, word)| word).to_owned()
        }
        (Some(default), Shown::Mib) => format!("{default} MiB"),
        (Some(default), _) => default.to_owned(),
    };
    let others = match row.others {
        Others::Nothing => "is put back",
        Others::Value => "stays where the blueprint says nothing",
        Others::Members => "stays beside the blueprint's",
    };
    let root = if row.root_words.is_empty() { "–" } else { row.root_words };
    format!("| `{}`{number} | {} | {takes} | {root} | {absent} | {others} |\n", row.name, row.from)
}
