//! Logging in by a password, once: to bring a key. ssh asks for it through a program (`SSH_ASKPASS`, ssh(1)), which is Phoenix
//! itself, and which reads it from a pipe that has a name and that nobody else can open. So it is in no argument, in no variable
//! and in no file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use secrecy::{ExposeSecret as _, SecretString};

use super::{SshOptions, failure};
use crate::{Command, Error, Output, process};

/// The variable that names the pipe, for the program that ssh calls.
pub const ASKPASS: &str = "PHOENIX_ASKPASS";

/// How long a password may be, as a pipe takes it at once (pipe(7): `PIPE_BUF`).
const LONGEST: usize = 4000;

/// How long logging in may take beside the command itself.
const LOGIN: Duration = Duration::from_secs(30);

/// A password that waits in a pipe to be asked for. The pipe is gone when this is.
#[derive(Debug)]
struct Waiting {
    pipe: Utf8PathBuf,
    /// Open as long as this lives: what was written stays in the pipe, and neither side waits for the other.
    held: File,
}

impl Waiting {
    fn new(folder: &Utf8Path, password: &SecretString) -> std::io::Result<Self> {
        let wrong = |text: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, text.to_owned());
        let text = password.expose_secret();
        if text.len() > LONGEST || text.contains(['\n', '\0']) {
            return Err(wrong("the password is no single line, or too long"));
        }
        private::folder(folder)?;
        let pipe = folder.join(format!("askpass-{}", std::process::id()));
        let _ = fs_err::remove_file(&pipe);
        mknodat(CWD, pipe.as_std_path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let opened = File::options().read(true).write(true).open(&pipe);
        let waiting = opened.map(|held| Self { pipe: pipe.clone(), held });
        let mut waiting = match waiting {
            Ok(waiting) => waiting,
            Err(error) => {
                let _ = fs_err::remove_file(&pipe);
                return Err(error);
            }
        };
        waiting.held.write_all(format!("{text}\n").as_bytes())?;
        Ok(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Nobody can open it any more; what is in it goes with the last who has it open.
        let _ = fs_err::remove_file(&self.pipe);
    }
}

/// What the program does that ssh calls: the password, or why it cannot be had. `None` where this process was not called for
/// that.
pub fn asked() -> Option<std::io::Result<String>> {
    let pipe = std::env::var_os(ASKPASS)?;
    let read = || {
        let mut line = String::new();
        BufReader::new(File::open(pipe)?).read_line(&mut line)?;
        Ok(line)
    };
    Some(read())
}

impl SshOptions {
    /// Runs a command over a connection of its own, logged in by this password. The host's key has to be declared.
    ///
    /// # Errors
    /// When the password is refused, or the connection is not made.
    pub async fn by_password(&self, password: &SecretString, command: &Command) -> Result<Output, Error> {
        let place = failure::place(self);
        let failed = |source: std::io::Error| Error::Connect {
            place: failure::place(self),
            reason: source.to_string(),
            hint: None,
        };
        let waiting = Waiting::new(&self.control_dir, password).map_err(failed)?;
        let own = std::env::current_exe().map_err(failed)?;
        let list = self.control_dir.join(format!("askpass-hosts-{}", std::process::id()));
        private::write(&list, self.known_hosts().unwrap_or_default().as_bytes()).map_err(failed)?;
        let mut argv: Vec<String> = vec![
            "env".to_owned(),
            format!("SSH_ASKPASS={}", own.display()),
            "SSH_ASKPASS_REQUIRE=force".to_owned(),
            // Older ones ask through a program only where there seems to be a screen (OpenSSH before 8.4).
            "DISPLAY=:0".to_owned(),
            format!("{ASKPASS}={}", waiting.pipe),
        ];
        argv.extend(["setsid", "-w", "ssh", "-T", "-x", "-a", "-S", "none"].map(str::to_owned));
        for option in [
            "BatchMode=no",
            "ConnectTimeout=10",
            "NumberOfPasswordPrompts=1",
            "PubkeyAuthentication=no",
            "PreferredAuthentications=password,keyboard-interactive",
            "ControlMaster=no",
            "PermitLocalCommand=no",
        ] {
            argv.extend(["-o".to_owned(), option.to_owned()]);
        }
        let without_key = Self { identity: None, ..self.clone() };
        argv.extend(without_key.target(&list));
        argv.extend(["--".to_owned(), self.destination.clone()]);
        argv.push(shell_words::join(&command.argv));
        let bounded = Command { limit: command.limit + LOGIN, ..command.clone() };
        let output = process::run(&argv, &bounded, &place, &mut |_| {}).await;
        let _ = fs_err::remove_file(&list);
        let output = output?;
        // ssh's own end (ssh(1)).
        if output.status != 255 {
            return Ok(output);
        }
        Err(failure::connecting(self, &output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-68, P-76: passwords were on command lines and in files that others could read.
    #[test]
    fn a_password_waits_where_nobody_else_gets_it_and_is_gone_after_that() {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        let root = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(root.path()).unwrap().join("private");
        let waiting = Waiting::new(&folder, &"p ass'wörd".to_owned().into()).unwrap();
        let found = fs_err::metadata(&waiting.pipe).unwrap();
        assert!(found.file_type().is_fifo());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        let mut line = String::new();
        BufReader::new(File::open(&waiting.pipe).unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "p ass'wörd\n");
        let pipe = waiting.pipe.clone();
        drop(waiting);
        assert!(!pipe.exists());
        for bad in ["two\nlines".to_owned(), "x".repeat(5000)] {
            assert!(Waiting::new(&folder, &bad.into()).is_err());
        }
    }
}
