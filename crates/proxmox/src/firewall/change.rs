//! Changing the firewall's files on a node, with a guard ([`crate::guard`]).

use std::time::Duration;

use crate::guard::Guard;
pub use crate::guard::{Applied, Confirmed, FileChange, applied, confirmed, parse};
use crate::inventory::{ROOT, firewall_path};

/// The firewall's files. Somebody looks at them every few seconds, so nothing has to be done to bring them in force.
pub const FIREWALL: Guard = Guard {
    purpose: "changing the firewall's files",
    root: ROOT,
    folder: "/run/phoenix-firewall",
    pattern: r"firewall/(?:cluster|[0-9]{1,9})\.fw|nodes/[A-Za-z0-9][A-Za-z0-9-]*/host\.fw",
    path: firewall_path,
    over: false,
    reload: "",
    limit: Duration::from_secs(60),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::is_firewall_name;
    use camino::{Utf8Path, Utf8PathBuf};
    use proptest::prelude::*;
    use transport::{Command, Local, Output, Runner as _};

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
            let output = self.run(FIREWALL.apply(site, changes, Duration::from_secs(seconds), &[])).await;
            applied(&output).unwrap()
        }

        async fn confirm(&self, token: &str) -> Confirmed {
            confirmed(&self.run(FIREWALL.confirm(token)).await).unwrap()
        }

        async fn cancel(&self, token: &str) -> Confirmed {
            confirmed(&self.run(FIREWALL.cancel(token)).await).unwrap()
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
            let output = node
                .run(FIREWALL.apply("a", &[change(name, None, Some("evil"))], Duration::from_secs(60), &[]))
                .await;
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
            let sent = FIREWALL.apply("a", &changes, Duration::ZERO, &[]).stdin;
            prop_assert_eq!(parse(&sent).unwrap(), changes);
            for end in 0..sent.len() {
                // Cut off it is refused, or is fewer files; never other ones.
                let _ = parse(&sent[..end]);
            }
        }
    }
}
