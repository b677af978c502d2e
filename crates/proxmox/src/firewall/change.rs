//! Changing firewall files on a node so that nobody is locked out: all of them in one command, each whole or not at all,
//! and with a guard that puts the old ones back by itself unless it is told in time that all is well (P-20).
//!
//! Start at [`apply`]. The guard is armed before the first file is written. It is told by a command of its own, over a connection that was
//! made after the change: if that gets through, the way in is open. Files that are not what the plan was made of are
//! not touched.

use std::time::Duration;

use transport::{Command, Output};

use crate::inventory::{ROOT, firewall_path};

/// Where a guard keeps the old files while it waits, on the node.
pub const GUARD: &str = "/run/phoenix-firewall";

/// What commands of this module are called: a node that is only simulated knows them by it.
pub const PURPOSE: &str = "changing the firewall's files";

/// One file, as it is and as it is to be; `None` for a file that is not there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileChange {
    /// Its name, as in [`crate::inventory::Guests::firewall`].
    pub name: String,
    /// What it holds.
    pub old: Option<String>,
    /// What it is to hold.
    pub new: Option<String>,
}

/// What came of [`apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The files are written; [`confirm`] is awaited with this token.
    Armed(String),
    /// Somebody changed this file meanwhile. Nothing was written.
    Modified(String),
    /// A change of the site named waits to be confirmed. Nothing was written.
    Busy(String),
}

/// What came of [`confirm`] or [`cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The new files stay.
    Yes,
    /// The old files are back.
    Restored,
}

/// Writes all files in their order, for `site`, with a guard that waits so long. It may be sent again when its answer is
/// lost: what is written already is not written twice, and what the guard puts back is what was there first.
pub fn apply(site: &str, changes: &[FileChange], wait: Duration) -> Command {
    command("apply", &[site, &wait.as_secs().to_string()]).stdin(print(changes))
}

/// Tells the guard that all is well. It may be sent again.
pub fn confirm(token: &str) -> Command {
    command("confirm", &[token])
}

/// Has the guard put the old files back at once: the new ones are no good.
pub fn cancel(token: &str) -> Command {
    command("cancel", &[token])
}

fn command(verb: &str, arguments: &[&str]) -> Command {
    let words = ["perl", "-e", SCRIPT, verb, ROOT, GUARD].into_iter().chain(arguments.iter().copied());
    Command::new(PURPOSE, words)
}

/// Reads the answer to [`apply`].
///
/// # Errors
/// What it said, when it failed.
pub fn applied(output: &Output) -> Result<Applied, String> {
    let text = output.text();
    match text.trim_end().split_once(' ') {
        Some(("armed", token)) if output.success() => Ok(Applied::Armed(token.to_owned())),
        Some(("modified", name)) => Ok(Applied::Modified(name.to_owned())),
        Some(("busy", site)) => Ok(Applied::Busy(site.to_owned())),
        _ => Err(output.tail(3).into()),
    }
}

/// Reads the answer to [`confirm`] and [`cancel`].
///
/// # Errors
/// What it said, when it failed.
pub fn confirmed(output: &Output) -> Result<Confirmed, String> {
    match output.text().trim_end() {
        "confirmed" if output.success() => Ok(Confirmed::Yes),
        "restored" => Ok(Confirmed::Restored),
        _ => Err(output.tail(3).into()),
    }
}

/// The changes as the script reads them: for each a line `NAME PATH OLD NEW` with lengths in bytes, `-` for no file, and
/// the bytes.
fn print(changes: &[FileChange]) -> Vec<u8> {
    let mut out = Vec::new();
    let length =
        |text: &Option<String>| text.as_ref().map_or_else(|| "-".to_owned(), |t| t.len().to_string());
    for change in changes {
        let path = firewall_path(&change.name);
        let head = format!("{} {path} {} {}\n", change.name, length(&change.old), length(&change.new));
        out.extend_from_slice(head.as_bytes());
        for text in [&change.old, &change.new].into_iter().flatten() {
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// Reads what [`apply`] sends: for a node that is only simulated.
///
/// # Errors
/// What is odd in it.
pub fn parse(sent: &[u8]) -> Result<Vec<FileChange>, String> {
    let mut changes = Vec::new();
    let mut rest = sent;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("a heading is cut off")?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| "a heading is no text")?;
        rest = &rest[end + 1..];
        let [name, _, old, new] = head.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("`{head}` is no heading"));
        };
        let mut take = |length: &str| -> Result<Option<String>, String> {
            if length == "-" {
                return Ok(None);
            }
            let length: usize = length.parse().map_err(|_| format!("`{head}` is no heading"))?;
            let (text, after) = rest.split_at_checked(length).ok_or("a file is cut off")?;
            rest = after;
            String::from_utf8(text.to_vec()).map(Some).map_err(|_| "a file is no text".to_owned())
        };
        changes.push(FileChange { name: name.to_owned(), old: take(old)?, new: take(new)? });
    }
    Ok(changes)
}

/// Perl, as for reading: every node has it, and nothing needs quoting.
const SCRIPT: &str = include_str!("change.pl");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::is_firewall_name;
    use camino::{Utf8Path, Utf8PathBuf};
    use proptest::prelude::*;
    use transport::{Local, Runner as _};

    /// A folder in the place of `/etc/pve`, and one for the guard.
    struct Node {
        _dir: tempfile::TempDir,
        root: Utf8PathBuf,
    }

    impl Node {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Utf8Path::from_path(dir.path()).unwrap().to_owned();
            fs_err::create_dir_all(root.join("pve/nodes/pve1")).unwrap();
            Self { _dir: dir, root }
        }

        async fn run(&self, mut command: Command) -> Output {
            command.argv[4] = self.root.join("pve").into_string();
            command.argv[5] = self.root.join("guard").into_string();
            Local.run(&command).await.unwrap()
        }

        async fn apply(&self, site: &str, changes: &[FileChange], seconds: u64) -> Applied {
            let output = self.run(apply(site, changes, Duration::from_secs(seconds))).await;
            applied(&output).unwrap()
        }

        async fn confirm(&self, token: &str) -> Confirmed {
            confirmed(&self.run(confirm(token)).await).unwrap()
        }

        async fn cancel(&self, token: &str) -> Confirmed {
            confirmed(&self.run(cancel(token)).await).unwrap()
        }

        fn file(&self, name: &str) -> Option<String> {
            fs_err::read_to_string(self.root.join("pve").join(firewall_path(name))).ok()
        }

        async fn until(&self, what: impl Fn(&Self) -> bool) {
            let end = std::time::Instant::now() + Duration::from_secs(20);
            while !what(self) {
                assert!(std::time::Instant::now() < end, "it never happened");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn change(name: &str, old: Option<&str>, new: Option<&str>) -> FileChange {
        let own = |text: Option<&str>| text.map(str::to_owned);
        FileChange { name: name.to_owned(), old: own(old), new: own(new) }
    }

    fn token(applied: Applied) -> String {
        let Applied::Armed(token) = applied else { panic!("{applied:?}") };
        token
    }

    #[tokio::test]
    async fn what_is_confirmed_stays() {
        let node = Node::new();
        let changes =
            [change("host:pve1", None, Some("[RULES]\n")), change("cluster.fw", None, Some("é\nno newline"))];
        let first = token(node.apply("a", &changes, 60).await);
        // The answer got lost, and it is sent again.
        let second = token(node.apply("a", &changes, 1).await);
        assert_ne!(first, second);
        assert_eq!(node.confirm(&second).await, Confirmed::Yes);
        assert_eq!(node.confirm(&second).await, Confirmed::Yes);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(node.file("cluster.fw").as_deref(), Some("é\nno newline"));
        assert_eq!(node.file("host:pve1").as_deref(), Some("[RULES]\n"));
        // Files go, too, and empty ones are files.
        let changes = [
            change("cluster.fw", Some("é\nno newline"), Some("")),
            change("host:pve1", Some("[RULES]\n"), None),
        ];
        let third = token(node.apply("a", &changes, 60).await);
        assert_eq!(node.confirm(&third).await, Confirmed::Yes);
        assert_eq!((node.file("cluster.fw").as_deref(), node.file("host:pve1")), (Some(""), None));
    }

    /// P-20: a change that cut the way in stayed until somebody came to the console.
    #[tokio::test]
    async fn what_is_not_confirmed_goes_back() {
        let node = Node::new();
        fs_err::create_dir_all(node.root.join("pve/firewall")).unwrap();
        fs_err::write(node.root.join("pve/firewall/cluster.fw"), "before\n").unwrap();
        let changes = [change("101.fw", None, Some("x")), change("cluster.fw", Some("before\n"), Some("y"))];
        let first = token(node.apply("a", &changes, 60).await);
        assert_eq!(node.file("cluster.fw").as_deref(), Some("y"));
        // Another run of the same site goes on from there; what comes back is what was confirmed last.
        let more = [change("cluster.fw", Some("y"), Some("z")), change("102.fw", None, Some("w"))];
        let second = token(node.apply("a", &more, 1).await);
        assert_eq!(node.apply("b", &more, 1).await, Applied::Busy("a".into()));
        node.until(|node| node.file("cluster.fw").as_deref() == Some("before\n")).await;
        node.until(|node| !node.root.join("guard/armed").exists()).await;
        assert_eq!((node.file("101.fw"), node.file("102.fw")), (None, None));
        for token in [first, second] {
            assert_eq!(node.confirm(&token).await, Confirmed::Restored);
        }
    }

    /// A file name in a saved plan led out of the firewall's folder.
    #[tokio::test]
    async fn nothing_but_the_firewalls_files_is_written() {
        let node = Node::new();
        for name in
            ["../../outside.fw", "host:../../../outside", "x.fw", "host:pve1/x", "101.fw/../y", "1\n.fw"]
        {
            assert!(!is_firewall_name(name), "{name}");
            let output =
                node.run(apply("a", &[change(name, None, Some("evil"))], Duration::from_secs(60))).await;
            assert!(!output.success() && applied(&output).is_err(), "{name}: {}", output.text());
            assert!(!node.root.join("guard/armed").exists(), "{name}");
        }
        assert!(!node.root.join("outside.fw").exists() && !node.root.join("outside").exists());
        for name in ["cluster.fw", "101.fw", "host:pve1", "host:a-b2"] {
            assert!(is_firewall_name(name), "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_given_up_goes_back_at_once() {
        let node = Node::new();
        let token = token(node.apply("a", &[change("101.fw", None, Some("x"))], 60).await);
        assert_eq!(node.cancel(&token).await, Confirmed::Restored);
        assert_eq!((node.file("101.fw"), node.root.join("guard/armed").exists()), (None, false));
        assert_eq!(node.cancel(&token).await, Confirmed::Restored);
    }

    #[tokio::test]
    async fn what_somebody_else_changed_is_not_touched() {
        let node = Node::new();
        fs_err::create_dir_all(node.root.join("pve/firewall")).unwrap();
        fs_err::write(node.root.join("pve/firewall/101.fw"), "theirs\n").unwrap();
        let changes = [change("cluster.fw", None, Some("x")), change("101.fw", None, Some("y"))];
        assert_eq!(node.apply("a", &changes, 60).await, Applied::Modified("101.fw".into()));
        assert_eq!((node.file("cluster.fw"), node.file("101.fw").as_deref()), (None, Some("theirs\n")));
        assert!(!node.root.join("guard/armed").exists());
    }

    proptest! {
        #[test]
        fn a_simulated_node_reads_what_is_sent(
            changes in proptest::collection::vec(
                ("[0-9]{3}\\.fw|cluster\\.fw|host:[a-z]{1,4}", proptest::option::of("\\PC{0,9}\n?"), proptest::option::of("\\PC{0,9}\n?")),
                0..4,
            )
        ) {
            let changes: Vec<FileChange> =
                changes.into_iter().map(|(name, old, new)| FileChange { name, old, new }).collect();
            let sent = print(&changes);
            prop_assert_eq!(parse(&sent).unwrap(), changes);
            for end in 0..sent.len() {
                // Cut off it is refused, or is fewer files; never other ones.
                let _ = parse(&sent[..end]);
            }
        }
    }
}
