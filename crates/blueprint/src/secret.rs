//! Getting at secrets. Blueprints hold references only; this is where one becomes a value, just before it is used.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret as _, SecretString};

use crate::model::SecretRef;

/// How long a command may take to print a secret: long enough for a person to touch a security key.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// The most bytes of a secret.
pub const MAX_BYTES: u64 = 64 * 1024;

/// How many characters a generated secret has; with 62 to choose from, 190 bits.
const GENERATED_LENGTH: usize = 32;

/// Where generated secrets are kept, below the site's folder.
pub const GENERATED_FOLDER: &str = ".phoenix/secrets/generated";

/// Why a secret could not be had. No variant holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or empty.
    #[error("the environment variable `{name}` is not set")]
    NotSet {
        /// Its name.
        name: String,
    },
    /// The file could not be read.
    #[error("cannot read the secret file `{path}`")]
    Unreadable {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error("the secret file `{path}` has the mode {mode:04o}: others than its owner can use it")]
    Exposed {
        /// The file.
        path: Utf8PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is outside the site's folder.
    #[error("the secret file `{path}` is outside the site's folder")]
    Outside {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The command could not be started.
    #[error("cannot run `{program}` for a secret")]
    NotRun {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The command failed.
    #[error("`{program}` failed with {status} instead of printing a secret")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// The command took too long.
    #[error("`{program}` printed no secret within {seconds} seconds")]
    TooSlow {
        /// The program.
        program: String,
        /// How long was waited.
        seconds: u64,
    },
    /// There is nothing in it, or far too much, or no text.
    #[error("{origin} holds no usable secret: it must be a text of 1 byte to 64 KiB")]
    Unusable {
        /// What it came from.
        origin: String,
    },
    /// It is one that Phoenix makes, and has not.
    #[error("the secret `{name}` is not made yet")]
    NotMade {
        /// Its name.
        name: String,
    },
    /// It is not in the site's folder.
    #[error("the secret `{name}` is kept elsewhere than in the site's folder")]
    Elsewhere {
        /// What it is called.
        name: String,
    },
    /// A secret could not be kept.
    #[error("cannot keep the secret `{path}`")]
    NotKept {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotSet { name } => Some(format!("export {name}=…, in the shell that runs phoenix-cli")),
            Self::Exposed { path, .. } => Some(format!("chmod 600 {path}")),
            Self::Outside { .. } => Some("put the file below the site's folder".to_owned()),
            Self::Failed { program, .. } => {
                Some(format!("run the same command of `{program}` yourself to see why"))
            }
            Self::TooSlow { program, .. } => Some(format!(
                "`{program}` has no terminal to ask on: unlock the key before, for example with an agent"
            )),
            Self::Elsewhere { .. } => Some("change it there; the next run applies it".to_owned()),
            Self::NotMade { .. } => Some("phoenix-cli apply makes it when it is first used".to_owned()),
            Self::Unreadable { .. } | Self::NotRun { .. } | Self::Unusable { .. } | Self::NotKept { .. } => {
                None
            }
        }
    }
}

/// Gets the value of a secret; none is made. `root` is the site's folder, `env` looks an environment variable up.
///
/// A line end at the end is not part of the secret. Blocks for up to 30 seconds where a command is run.
///
/// # Errors
/// Where there is no such secret, or where others could read it.
pub fn resolve(
    secret: &SecretRef,
    root: &Utf8Path,
    env: impl Fn(&str) -> Option<String>,
) -> Result<SecretString, SecretError> {
    match secret {
        SecretRef::Env(name) => match env(name).filter(|value| !value.is_empty()) {
            Some(value) => usable(value.into_bytes(), || format!("the environment variable `{name}`")),
            None => Err(SecretError::NotSet { name: name.clone() }),
        },
        SecretRef::File(path) => file(root, path),
        SecretRef::Command(argv) => command(root, argv, COMMAND_TIME),
        SecretRef::Generate(name) => {
            let path = generated_file(name)?;
            let folder = root.join(GENERATED_FOLDER);
            if folder.exists() {
                // Where others could see which there are, or put some, they no longer can.
                private::closed(&folder)
                    .map_err(|source| SecretError::NotKept { path: path.clone(), source })?;
            }
            match file(root, &path) {
                Err(SecretError::Unreadable { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    Err(SecretError::NotMade { name: name.clone() })
                }
                other => other,
            }
        }
    }
}

/// Where a generated secret is kept, below the site's folder.
///
/// # Errors
/// Where it would be outside of it: the blueprint's check allows no such name; a caller's own might be one.
pub fn generated_file(name: &str) -> Result<Utf8PathBuf, SecretError> {
    let path = Utf8Path::new(GENERATED_FOLDER).join(name);
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(SecretError::Outside { path });
    }
    Ok(path)
}

fn usable(bytes: Vec<u8>, origin: impl FnOnce() -> String) -> Result<SecretString, SecretError> {
    match String::from_utf8(bytes) {
        Ok(mut text) if text.len() as u64 <= MAX_BYTES => {
            let end = text.trim_end_matches(['\n', '\r']).len();
            text.truncate(end);
            if text.is_empty() { Err(SecretError::Unusable { origin: origin() }) } else { Ok(text.into()) }
        }
        _ => Err(SecretError::Unusable { origin: origin() }),
    }
}

fn file(root: &Utf8Path, path: &Utf8Path) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let real_root = root.canonicalize_utf8().map_err(unreadable)?;
    let full = real_root.join(path).canonicalize_utf8().map_err(unreadable)?;
    if !full.starts_with(&real_root) {
        return Err(SecretError::Outside { path: path.to_owned() });
    }
    // A pipe would block when opened.
    if !fs_err::metadata(&full).map_err(unreadable)?.is_file() {
        return Err(SecretError::Unusable { origin: format!("`{path}`") });
    }
    let file = fs_err::File::open(&full).map_err(unreadable)?;
    // Of the opened file, so that it cannot be another one by now.
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    usable(bytes, || format!("the file `{path}`"))
}

fn command(root: &Utf8Path, argv: &[String], time: Duration) -> Result<SecretString, SecretError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(SecretError::Unusable { origin: "an empty command".to_owned() });
    };
    let not_run = |source| SecretError::NotRun { program: program.clone(), source };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let end = Instant::now() + time;
    let mut child = command.spawn().map_err(not_run)?;
    let (sender, receiver) = mpsc::channel();
    let output = child.stdout.take();
    // Not joined: something that the command left behind could hold the pipe open for ever.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.map(|output| output.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        // Where nobody waits any more, nobody needs it.
        let _ = sender.send(read.transpose().map(|_| bytes));
    });
    let too_slow = || SecretError::TooSlow { program: program.clone(), seconds: time.as_secs() };
    let bytes = match receiver.recv_timeout(time) {
        Ok(bytes) => bytes.map_err(not_run)?,
        Err(_) => {
            stop(&mut child);
            return Err(too_slow());
        }
    };
    // It has closed its output, or printed too much: now it has to end.
    if bytes.len() as u64 > MAX_BYTES {
        stop(&mut child);
        return Err(SecretError::Unusable { origin: format!("the output of `{program}`") });
    }
    let status = loop {
        match child.try_wait().map_err(not_run)? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                stop(&mut child);
                return Err(too_slow());
            }
            // There is no wait with a time limit in std; a process that closed its output ends at once.
            None => std::thread::park_timeout(Duration::from_millis(2)),
        }
    };
    if !status.success() {
        return Err(SecretError::Failed { program: program.clone(), status });
    }
    usable(bytes, || format!("the output of `{program}`"))
}

fn stop(child: &mut Child) {
    // Errors mean that it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads a generated secret, or makes it.
///
/// # Errors
/// Where others could read it, or it cannot be kept.
pub fn make(root: &Utf8Path, name: &str) -> Result<SecretString, SecretError> {
    let relative = generated_file(name)?;
    let not_kept = |source| SecretError::NotKept { path: relative.clone(), source };
    let folder = root.join(GENERATED_FOLDER);
    private::closed(&folder).map_err(not_kept)?;
    match file(root, &relative) {
        Err(SecretError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        other => return other,
    }
    let value = random(GENERATED_LENGTH).map_err(not_kept)?;
    match private::write_new(&folder.join(name), value.as_bytes()) {
        Ok(true) => Ok(value.into()),
        // Another run was faster, and both use that one's.
        Ok(false) => file(root, &relative),
        Err(error) => Err(not_kept(error)),
    }
}

/// Puts another value in the place of a secret that the site's folder keeps, as a whole: of a generated one, or of a file,
/// which nobody else can read then.
///
/// # Errors
/// When it is kept elsewhere, it is no usable value, or it cannot be written.
pub fn set(root: &Utf8Path, secret: &SecretRef, value: &SecretString) -> Result<(), SecretError> {
    let path = match secret {
        SecretRef::Generate(name) => generated_file(name)?,
        SecretRef::File(path) => {
            // Where it is going to be, and not where a link leads to.
            let folder = root.join(path).parent().unwrap_or(root).canonicalize_utf8();
            let real_root = root.canonicalize_utf8();
            if !matches!((folder, real_root), (Ok(folder), Ok(root)) if folder.starts_with(&root)) {
                return Err(SecretError::Outside { path: path.clone() });
            }
            path.clone()
        }
        SecretRef::Env(_) | SecretRef::Command(_) => {
            return Err(SecretError::Elsewhere { name: secret.name() });
        }
    };
    let text = value.expose_secret();
    if text.is_empty() || text.len() as u64 > MAX_BYTES {
        return Err(SecretError::Unusable { origin: "what was given".to_owned() });
    }
    let kept = match secret {
        SecretRef::Generate(_) => private::closed(&root.join(GENERATED_FOLDER)),
        _ => Ok(()),
    };
    kept.and_then(|()| private::write(&root.join(&path), text.as_bytes()))
        .map_err(|source| SecretError::NotKept { path, source })
}

/// A value for a secret that nobody has had before.
///
/// # Errors
/// When the system gives no random numbers.
pub fn new_value() -> std::io::Result<SecretString> {
    random(GENERATED_LENGTH).map(SecretString::from)
}

/// Random letters and digits, from the kernel.
fn random(length: usize) -> std::io::Result<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = fs_err::File::open("/dev/urandom")?;
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        source.read_exact(&mut bytes)?;
        // 248 is the largest multiple of 62 in a byte: beyond it, some characters would be more likely than others.
        let good = bytes.iter().filter(|b| **b < 248);
        let characters = good.filter_map(|b| ALPHABET.get(usize::from(*b) % ALPHABET.len()));
        text.extend(characters.take(length - text.len()).map(|b| char::from(*b)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    fn get(secret: &SecretRef, root: &Utf8Path) -> Result<String, SecretError> {
        resolve(secret, root, |name| (name == "GIVEN").then(|| "from-env".to_owned()))
            .map(|s| s.expose_secret().to_owned())
    }

    #[test]
    fn environment() {
        let (_guard, root) = folder();
        assert_eq!(get(&SecretRef::Env("GIVEN".into()), &root).unwrap(), "from-env");
        let error = get(&SecretRef::Env("OTHER".into()), &root).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable `OTHER` is not set");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_guard, root) = folder();
        fs_err::write(root.join("s"), "value\n").unwrap();
        let secret = SecretRef::File("s".into());
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs_err::set_permissions(root.join("s"), PermissionsExt::from_mode(mode)).unwrap();
            match get(&secret, &root) {
                Ok(value) => assert!(good && value == "value", "{mode:o}"),
                Err(SecretError::Exposed { mode: said, .. }) => assert!(!good && said == mode),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_file_outside_the_site_is_refused() {
        let (_guard, root) = folder();
        let (_other, outside) = folder();
        fs_err::write(outside.join("s"), "value").unwrap();
        fs_err::set_permissions(outside.join("s"), PermissionsExt::from_mode(0o600)).unwrap();
        fs_err::os::unix::fs::symlink(outside.join("s"), root.join("link")).unwrap();
        for path in [Utf8PathBuf::from("link"), outside.join("s")] {
            assert!(matches!(get(&SecretRef::File(path), &root), Err(SecretError::Outside { .. })));
        }
    }

    #[test]
    fn what_the_folder_keeps_can_be_set() {
        let (_guard, root) = folder();
        let (_other, outside) = folder();
        let value: SecretString = "a value".to_owned().into();
        let file = SecretRef::File("secret".into());
        set(&root, &file, &value).unwrap();
        assert_eq!(get(&file, &root).unwrap(), "a value");
        assert_eq!(fs_err::metadata(root.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);
        fs_err::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        for path in ["link/secret", "../secret"] {
            let error = set(&root, &SecretRef::File(path.into()), &value).unwrap_err();
            assert!(matches!(error, SecretError::Outside { .. }), "{error}");
        }
        for elsewhere in [SecretRef::Env("GIVEN".into()), SecretRef::Command(vec!["pass".into()])] {
            assert!(matches!(set(&root, &elsewhere, &value), Err(SecretError::Elsewhere { .. })));
        }
        for bad in [String::new(), "x".repeat(65_537)] {
            assert!(matches!(set(&root, &file, &bad.into()), Err(SecretError::Unusable { .. })));
        }
        assert_eq!(get(&file, &root).unwrap(), "a value");
    }

    #[test]
    fn commands() {
        let (_guard, root) = folder();
        let run =
            |argv: &[&str]| get(&SecretRef::Command(argv.iter().map(|a| (*a).to_owned()).collect()), &root);
        assert_eq!(run(&["printf", "a b\\n"]).unwrap(), "a b");
        assert_eq!(run(&["echo", "$HOME"]).unwrap(), "$HOME", "no shell is involved");
        assert!(matches!(run(&["false"]), Err(SecretError::Failed { .. })));
        assert!(matches!(run(&["true"]), Err(SecretError::Unusable { .. })));
        assert!(matches!(run(&["/no/such/program"]), Err(SecretError::NotRun { .. })));
        assert!(matches!(run(&["cat", "/dev/zero"]), Err(SecretError::Unusable { .. })));
    }

    #[test]
    fn a_command_that_hangs_is_stopped() {
        let (_guard, root) = folder();
        for argv in [["sleep", "60"], ["sh", "-c exec >&-; sleep 60"]] {
            let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
            let start = Instant::now();
            let result = command(&root, &argv, Duration::from_millis(100));
            assert!(result.is_err());
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn a_generated_secret_is_made_once_and_only_its_owner_can_read_it() {
        let (_guard, root) = folder();
        let secret = SecretRef::Generate("database".into());
        assert!(matches!(get(&secret, &root), Err(SecretError::NotMade { name }) if name == "database"));
        assert!(!root.join(".phoenix").exists(), "looking left something");
        let make = |name| make(&root, name).unwrap().expose_secret().to_owned();
        let made: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| make("database"))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(made.iter().all(|one| one == &made[0] && one.len() == GENERATED_LENGTH), "{made:?}");
        let folder = root.join(GENERATED_FOLDER);
        let files: Vec<_> = fs_err::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(files, ["database"]);
        assert_eq!(fs_err::metadata(folder.join("database")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs_err::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(get(&secret, &root).unwrap(), made[0]);
        assert_ne!(make("other"), made[0]);
        let other = SecretRef::Generate("other".into());
        set(&root, &other, &"another value".to_owned().into()).unwrap();
        assert_eq!(get(&other, &root).unwrap(), "another value");
        // Where others could see which there are, or put some, they no longer can.
        fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(get(&secret, &root).unwrap(), made[0]);
        assert_eq!(fs_err::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn no_error_shows_a_secret() {
        let (_guard, root) = folder();
        fs_err::write(root.join("s"), b"hidden\xff").unwrap();
        fs_err::set_permissions(root.join("s"), PermissionsExt::from_mode(0o600)).unwrap();
        let error = get(&SecretRef::File("s".into()), &root).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("hidden"));
    }
}
