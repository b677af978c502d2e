//! The pages of the keys of a guest's configuration, from the rows that plans are made by.

use managers::guests::{containers, vms};
use managers::keys::fields::FIELDS;
use managers::keys::{Others, Row, Shown};
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

## Keys of the blueprint alone

`phoenix-cli explain containers.memory` says the same of one key.

| key | a change takes effect |
|---|---|
";

const VM_HEAD: &str = "\
# Keys of a virtual machine

What Phoenix sets in a virtual machine's configuration on the node (`/etc/pve/qemu-server/ID.conf`), and what a change of it
costs. Keys that are not here are not Phoenix': what somebody set there stays, and a plan says so in a note.

| key | from the blueprint's | a change takes effect | takes root | where it is absent | what others set |
|---|---|---|---|---|---|
";

const VM_FOOT: &str = "
Of keys with parts (`net0`, `scsi0`), parts that the blueprint has no word for stay as they are. Sizes of disks grow in place and
never shrink. The description also holds the mark. What the columns mean is said on the page of a [container's keys](keys.md), with
the keys of the blueprint alone; `phoenix-cli explain vms.memory` says the same of one key.
";

/// The page of containers.
pub fn markdown() -> String {
    let rows: String = containers::ROWS.iter().map(line).collect();
    let fields: String = FIELDS.iter().map(|(field, words)| format!("| `{field}` | {words} |\n")).collect();
    format!("{HEAD}{rows}{FOOT}{fields}")
}

/// The page of virtual machines.
pub fn vm_markdown() -> String {
    let rows: String = vms::ROWS.iter().map(line).collect();
    format!("{VM_HEAD}{rows}{VM_FOOT}")
}

fn line(row: &Row<Guest>) -> String {
    let number = if row.numbered { "*N*" } else { "" };
    let takes = row.takes_words();
    let absent = match (row.default, row.shown) {
        (None, _) => "–".to_owned(),
        (Some(default), Shown::Words(words)) => {
            words.iter().find(|(known, _)| *known == default).map_or(default, |(_, word)| word).to_owned()
        }
        (Some(default), Shown::Mib) => format!("{default} MiB"),
        (Some(default), _) => default.to_owned(),
    };
    let others = match row.others {
        Others::Nothing => "is put back".to_owned(),
        Others::Value => "stays where the blueprint says nothing".to_owned(),
        Others::Kept => "stays: the node cannot do without it".to_owned(),
        Others::Members => "stays beside the blueprint's".to_owned(),
        Others::Parts(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("{} stay where the blueprint says nothing, the rest is put back", names.join(", "))
        }
    };
    let root = if row.root_words.is_empty() { "–" } else { row.root_words };
    format!("| `{}`{number} | {} | {takes} | {root} | {absent} | {others} |\n", row.name, row.from)
}
