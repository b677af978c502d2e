//! The site's lock on a node, with the real `flock`, in a `/run` that only the test sees.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests are tests, and say what they skip"
)]

use std::process::{Command, Output};

const HOLD: &str = include_str!("../../../src/lock.sh");

const TAKE: &str = include_str!("lock.sh");

/// What taking the lock says after `before`, and a second time while the first is held.
fn take(before: &str) -> Output {
    Command::new("unshare").args(["-m", "sh", "-c", TAKE, "sh", HOLD, before]).output().unwrap()
}

fn root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let root = id.stdout == b"0\n";
    if !root {
        println!("skipped: only root has a /run of its own");
    }
    root
}

#[test]
fn it_is_held_in_a_folder_of_roots_alone() {
    if !root() {
        return;
    }
    for before in ["", "mkdir -m 0755 /run/phoenix"] {
        let output = take(before);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, "locked\nheld by anna@desk\ndirectory 0 700\n", "{output:?}");
    }
}

/// Another user of the node makes what the lock needs, so that it cannot be taken, or is theirs to give: then it is not
/// taken, and why is said.
#[test]
fn in_a_place_of_another_user_it_is_not_taken() {
    if !root() {
        return;
    }
    let theirs = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    for before in [
        "mkdir -m 0777 /run/phoenix",
        "mkdir -m 0700 /run/phoenix; chown 65534 /run/phoenix",
        "mkdir /run/lock/x; ln -s /run/lock/x /run/phoenix",
        "echo > /run/phoenix",
    ] {
        let output = take(before);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{before}: {output:?}");
        assert!(said.contains("is no folder of this user's alone"), "{before}: {said}");
    }
    // Where everybody may write, they make whatever they like: it changes nothing.
    let output = take(&format!("{theirs} mkdir /run/lock/phoenix-workshop.lock /run/lock/phoenix"));
    assert!(output.stdout.starts_with(b"locked\n"), "{output:?}");
}
