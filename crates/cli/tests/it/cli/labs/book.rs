//! The book's pages about what guests are made of and have: each command in them is typed, in their order, at an example in
//! a simulated lab.

use std::process::Command;

use super::{Lab, Said, TestEnv};
use crate::typed::commands;

/// Pages, each with the example that its commands are about.
const PAGES: [(&str, &str); 12] = [
    ("node.md", "workshop"),
    ("devices.md", "media-server"),
    ("images.md", "media-server"),
    ("installing.md", "workshop"),
    ("models.md", "workshop"),
    ("network.md", "workshop"),
    ("portainer.md", "stacks"),
    ("registries.md", "stacks"),
    ("restarts.md", "workshop"),
    ("stacks.md", "stacks"),
    ("storages.md", "media-server"),
    ("vms.md", "machines"),
];

#[test]
fn pages_about_guests_are_true() {
    for (page, example) in PAGES {
        let file = format!("{}/../../docs/src/{page}", env!("CARGO_MANIFEST_DIR"));
        let all = commands(&std::fs::read_to_string(file).unwrap());
        assert!(!all.is_empty(), "{page} names no command");
        let lab = Lab::of(TestEnv::example(example));
        let bin = lab.env.folder.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_phoenix-cli"), bin.join("phoenix-cli")).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        for line in all {
            // The same environment as of every other command here, but in a shell, as a person types it.
            let plain = lab.env.command(&[]);
            let mut shell = Command::new("bash");
            shell.args(["-c", &line]).env_clear().current_dir(lab.env.path());
            shell.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?)))).env("PATH", &path);
            let said = Said::of(&shell.stdin(std::process::Stdio::null()).output().unwrap());
            assert_eq!(said.code, 0, "{page}: {line}: {said:#?}");
        }
    }
}
