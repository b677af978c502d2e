//! All configuration files in one command.

use std::collections::BTreeMap;
use std::time::Duration;

use transport::{Command, Runner};

use super::{GuestFile, Guests, Unread};
use crate::config::{GuestConfig, GuestKind, digest};

/// Where Proxmox VE's cluster file system is mounted. It holds the files of all nodes.
pub const ROOT: &str = "/etc/pve";

/// One process, whatever the number of guests: Perl, which every node has, since Proxmox VE is written in it. Each file
/// is read once and its length taken from what was read, so that a change meanwhile cannot tear the two apart. A file
/// that is gone since the folder was listed is left out; any other failure is told. The last line proves that nothing
/// was cut off.
const SCRIPT: &str = r#"
use strict; use Errno; binmode STDOUT;
my $root = shift; my $count = 0;
opendir(my $nodes, "$root/nodes") or die "cannot read $root/nodes: $!\n";
for my $node (sort grep { !/^\./ } readdir $nodes) {
  for my $kind ("lxc", "qemu-server") {
    my $folder = "nodes/$node/$kind";
    opendir(my $files, "$root/$folder") or do { next if $!{ENOENT}; die "cannot read $root/$folder: $!\n" };
    for my $file (sort grep { /^[0-9]+\.conf$/ } readdir $files) {
      my ($in, $bytes);
      if (open($in, "<:raw", "$root/$folder/$file")) {
        local $/; $! = 0; $bytes = <$in>; $bytes = "" if !defined $bytes && !$!;
      }
      next if !defined $bytes && $!{ENOENT};
      my $state = defined $bytes ? "file" : "error";
      $bytes = "$!" if !defined $bytes;
      print "$state ", length $bytes, " $folder/$file\n", $bytes, "\n"; $count++;
    }
  }
}
print "end $count\n";
"#;

/// Why the files could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The command did not come back.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// It failed.
    #[error("cannot read the guests' configuration on {place}: {reason}")]
    Failed {
        /// Where.
        place: String,
        /// What it said.
        reason: String,
    },
    /// What it printed is not what it prints.
    #[error("the guests' configuration from {place} is garbled: {reason}")]
    Garbled {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl FilesError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Transport(_) => "can it be reached by hand with ssh?".to_owned(),
            Self::Failed { .. } => {
                "is this a Proxmox VE node, and is its cluster file system up? on it: systemctl \
                                    status pve-cluster"
                    .to_owned()
            }
            Self::Garbled { .. } => {
                "does its shell print something of its own at login? that must stop".to_owned()
            }
        }
    }
}

/// How one file is printed: for a node that is only simulated.
pub fn frame(node: &str, kind: GuestKind, id: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = format!("file {} nodes/{node}/{}/{id}.conf\n", content.len(), kind.folder()).into_bytes();
    bytes.extend_from_slice(content);
    bytes.push(b'\n');
    bytes
}

/// Reads all guests of the cluster with one command on any of its nodes.
///
/// A guest that migrates at this very moment may be missed or be seen on either node; where it matters,
/// `/cluster/resources` tells.
///
/// # Errors
/// When the command fails or its output is not whole. Nothing is ever concluded from half of it.
pub async fn read_by_files(runner: &dyn Runner) -> Result<Guests, FilesError> {
    read_by_files_below(runner, ROOT).await
}

/// As [`read_by_files`], with the cluster file system somewhere else.
///
/// # Errors
/// As [`read_by_files`].
pub async fn read_by_files_below(runner: &dyn Runner, root: &str) -> Result<Guests, FilesError> {
    let command = Command::new("reading the guests' configuration", ["perl", "-e", SCRIPT, root])
        .limit(Duration::from_secs(60));
    let output = runner.run(&command).await?;
    if !output.success() {
        return Err(FilesError::Failed { place: runner.place(), reason: output.tail(3) });
    }
    parse(&output.stdout).map_err(|reason| FilesError::Garbled { place: runner.place(), reason })
}

fn parse(printed: &[u8]) -> Result<Guests, String> {
    let mut guests = Guests::default();
    let mut rest = printed;
    let mut count = 0_usize;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("it is cut off")?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| "a heading is no text")?;
        rest = &rest[end + 1..];
        let odd = || format!("`{}` is no heading", line.chars().take(80).collect::<String>());
        let mut words = line.splitn(3, ' ');
        let (state, length) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let length: usize = length.parse().map_err(|_| odd())?;
        match (state, words.next()) {
            ("end", None) if !rest.is_empty() => return Err("something follows its end".to_owned()),
            ("end", None) if length != count => return Err(format!("{count} of {length} files arrived")),
            ("end", None) => return Ok(guests),
            ("file" | "error", Some(path)) => {
                let content = rest.get(..length).ok_or("it is cut off")?;
                rest = rest[length..].strip_prefix(b"\n").ok_or("a file is longer than announced")?;
                count += 1;
                let (node, kind, id) = place(path).ok_or_else(odd)?;
                if state == "error" {
                    let reason = String::from_utf8_lossy(content).into_owned();
                    guests.unread.push(Unread { node, id, kind, reason });
                    continue;
                }
                let config = GuestConfig::parse(kind, &String::from_utf8_lossy(content));
                guests.guests.insert(id, GuestFile { node, id, kind, config, digest: digest(content) });
            }
            _ => return Err(odd()),
        }
    }
}

/// `nodes/pve1/lxc/101.conf`.
fn place(path: &str) -> Option<(String, GuestKind, u32)> {
    let parts: Vec<&str> = path.split('/').collect();
    let ["nodes", node, folder, file] = parts[..] else { return None };
    let kind = [GuestKind::Container, GuestKind::Vm].into_iter().find(|kind| kind.folder() == folder)?;
    Some((node.to_owned(), kind, file.strip_suffix(".conf")?.parse().ok()?))
}

/// The whole output for these files: for a node that is only simulated.
pub fn printed<'a>(files: impl IntoIterator<Item = (&'a str, GuestKind, u32, &'a [u8])>) -> Vec<u8> {
    let files: BTreeMap<_, _> = files
        .into_iter()
        .map(|(node, kind, id, content)| ((node, kind.folder(), id), (kind, content)))
        .collect();
    let mut bytes = Vec::new();
    for ((node, _, id), (kind, content)) in &files {
        bytes.extend(frame(node, *kind, *id, content));
    }
    bytes.extend(format!("end {}\n", files.len()).into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_a_file_holds_it_is_one_file(
            files in proptest::collection::btree_map(100_u32..999, "((file|end|error) [0-9]{1,2}( nodes/a/lxc/1.conf)?\n|[a-z]: [a-zé ]{0,9}\n|\n){0,6}", 0..5)
        ) {
            let list = || files.iter().map(|(id, text)| ("pve1", GuestKind::Container, *id, text.as_bytes()));
            let whole = printed(list());
            let guests = parse(&whole).unwrap();
            prop_assert_eq!(guests.guests.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
            for (id, text) in &files {
                prop_assert_eq!(&guests.guests[id].digest, &digest(text.as_bytes()));
            }
            // Cut anywhere, it is refused.
            for end in 0..whole.len() {
                prop_assert!(parse(&whole[..end]).is_err());
            }
        }
    }
}
