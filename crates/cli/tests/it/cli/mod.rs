//! The real binary, as a person and as a script meet it: texts, exit codes, JSON. Where something has to be applied,
//! the simulated lab stands in for a node: records, and nothing that runs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test panics")]

mod bad_input;
mod completing;
mod help;
mod labs;
mod offline;
mod role;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a command ended with.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let said = Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        for text in [&said.out, &said.err] {
            assert!(!text.contains("panicked at"), "{text}");
        }
        said
    }

    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("no JSON on standard output: {e}\n{self:#?}"))
    }

    /// The error says this, has this code, and hints at this; with and without `--json`.
    #[track_caller]
    fn error(&self, code: &str, hint: &str) -> Value {
        let json = self.json();
        let error = &json["error"];
        assert_eq!(error["code"], code, "{self:#?}");
        assert_eq!(error["exit"], self.code, "{self:#?}");
        assert!(error["hint"].as_str().unwrap_or_default().contains(hint), "{self:#?}");
        json
    }
}

/// A folder for a site, and an environment that is the same everywhere.
struct TestEnv {
    folder: tempfile::TempDir,
}

impl TestEnv {
    /// An empty folder.
    fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// What `init` writes.
    fn site() -> Self {
        let env = Self::empty();
        env.run(&["init"]).ended(0);
        env
    }

    /// A copy of an example.
    fn example(name: &str) -> Self {
        let env = Self::empty();
        std::fs::create_dir_all(env.path()).unwrap();
        let from = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/{}/."), name);
        let copied = Command::new("cp").args(["-R", &from, env.path().to_str().unwrap()]).status();
        assert!(copied.unwrap().success());
        env
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenix-cli"));
        std::fs::create_dir_all(self.path()).unwrap();
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("USER", "tester")
            .env("COLUMNS", "100")
            .env("TZ", "UTC")
            .env("NO_COLOR", "1")
            .env("PHOENIX_CACHE", self.folder.path().join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        let said = Said::of(&self.command(args).output().unwrap());
        crate::secret::is_in_none(&self.path(), args, &[&said.out, &said.err]);
        said
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// Replaces `old` in a file by `new`.
    #[track_caller]
    fn edit(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert!(text.contains(old), "{path} has no {old}:\n{text}");
        self.write(path, text.replacen(old, new, 1));
    }
}

/// A site with its simulated lab, which ends with it.
struct Lab {
    env: TestEnv,
}

impl Lab {
    fn up() -> Self {
        Self::of(TestEnv::site())
    }

    fn of(env: TestEnv) -> Self {
        let lab = Self { env };
        // A port that is free now may be taken a moment later by another test.
        for _ in 0..5 {
            let port = free_port();
            let said = lab.env.run(&["lab", "up", "--simulated", "--api-port", &port.to_string()]);
            if said.code == 0 {
                assert!(said.err.contains("simulated"), "a simulated lab says so: {said:#?}");
                let kept = format!("\"ports\": {{ \"api\": {port} }}");
                assert!(said.err.contains(&kept), "how the port is kept is said: {said:#?}");
                return lab;
            }
            assert!(said.err.contains("port"), "{said:#?}");
        }
        panic!("no free port");
    }

    fn run(&self, args: &[&str]) -> Said {
        self.env.run(args)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.env.command(&["lab", "down"]).output();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The processes whose command line names `folder`.
fn processes(folder: &Path) -> Vec<String> {
    let name = folder.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = all.filter_map(|entry| {
        let pid = entry.file_name().into_string().ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(name).then(|| format!("{pid}: {line}"))
    });
    lines.collect()
}
