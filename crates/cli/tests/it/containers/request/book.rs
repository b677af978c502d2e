//! The book's pages about requests, and the example's own: each command in them is typed, in their order.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::containers::support::Site;
use crate::typed::commands;

const PAGES: [&str; 8] = [
    "docs/src/certificates.md",
    "docs/src/names.md",
    "docs/src/gateway.md",
    "docs/src/mesh.md",
    "docs/src/firewall.md",
    "docs/src/trace.md",
    "docs/src/health.md",
    "examples/workshop/README.md",
];

/// Types them all. What runs until it is stopped, is stopped.
pub fn is_true(site: &Site) {
    let begin = Instant::now();
    let folder = site.path().join("typed");
    std::fs::create_dir_all(&folder).unwrap();
    let passphrase = folder.join("passphrase");
    std::fs::write(&passphrase, "a passphrase that is long enough\n").unwrap();
    std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600)).unwrap();
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_phoenix-cli"), bin.join("phoenix-cli")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut typed = 0;
    for page in PAGES {
        let file = format!("{}/../../{page}", env!("CARGO_MANIFEST_DIR"));
        let all = commands(&std::fs::read_to_string(file).unwrap());
        assert!(!all.is_empty(), "{page} names no command");
        for line in all {
            let endless = line.contains("--follow") || line.contains("--watch");
            // Where a person keeps such things is not where a test may write.
            let here = line
                .replace("/root/passphrase", &passphrase.to_string_lossy())
                .replace("/var/lib/prometheus/node-exporter", &folder.to_string_lossy());
            // It asks, and nobody is here to answer.
            let here = if here.starts_with("phoenix-cli rotate ") { format!("{here} --yes") } else { here };
            println!("{page}: {line}");
            let limit = if endless { "8" } else { "300" };
            let output = Command::new("timeout")
                .args(["--foreground", "-s", "INT", limit, "bash", "-c", &here])
                .env("PATH", &path)
                .env("PHOENIX_SITE", site.path())
                .current_dir(&folder)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if endless {
                assert!(!said.contains("error"), "{line}: {said}");
                assert!(!output.stdout.is_empty(), "{line} showed nothing");
            } else {
                assert!(output.status.success(), "{line}: {said}");
            }
            typed += 1;
        }
    }
    assert!(typed > 30, "only {typed} commands");
    assert!(begin.elapsed() < Duration::from_mins(10));
    println!("{typed} commands of the book were typed in {:.0} s", begin.elapsed().as_secs_f64());
}
