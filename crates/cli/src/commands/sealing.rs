//! `secrets seal` and `secrets open`: the sealed copy of what cannot be made again. Where the blueprint declares whom it is
//! for, each command that changed a secret seals it again.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sealed::{Ask, Identities, Key, Takes};
use secrecy::SecretString;
use serde_json::{Value, json};
use site::sealing::{self, CopyState, Kept, With};
use site::{Listener, Notice};

use crate::args::{CertsCommand, Command, Global, SecretsCommand, SecretsOpen, SecretsSeal};
use crate::commands::plan::typed;
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::passphrase;
use crate::printer::Printer;

/// Whether a command may leave other secrets than it found.
pub fn may_change_secrets(command: &Command) -> bool {
    match command {
        Command::Plan(options) => options.out.is_some(),
        Command::Drift(options) => options.out.is_some(),
        Command::Apply(_)
        | Command::Up(_)
        | Command::Destroy(_)
        | Command::Rotate(_)
        | Command::Adopt(_)
        | Command::Restore(_) => true,
        Command::Secrets(options) => {
            matches!(options.what, SecretsCommand::Rotate { .. } | SecretsCommand::Set { .. })
        }
        Command::Certs(options) => {
            !matches!(options.what, None | Some(CertsCommand::List | CertsCommand::Root { .. }))
        }
        _ => false,
    }
}

/// Has nothing to say.
struct Silent;

impl Listener for Silent {
    fn hear(&self, _: &Notice<'_>) {}
}

/// After a command that may have changed a secret, and ended with `outcome`: seals the declared copy again where one did. It
/// is said where that cannot be done, and the command has failed then.
pub fn again(global: &Global, outcome: Outcome, printer: Printer) -> Outcome {
    // What is wrong with the blueprint, the command has said.
    let Ok(loaded) = site::load(&global.site, &Silent) else { return outcome };
    match sealing::again(&loaded.blueprint) {
        Ok(None) => outcome,
        Ok(Some(file)) => {
            printer.say(format!("✔ sealed the secrets again, in {file}"));
            outcome
        }
        Err(error) if outcome.is_ok() && !printer.json => Err(error),
        Err(error) => {
            printer.warn(format!("{error} ({})", error.code));
            outcome
        }
    }
}

/// Seals a copy.
pub fn seal(global: &Global, options: &SecretsSeal, printer: Printer) -> Outcome {
    let blueprint = opening::load(global, printer)?.blueprint;
    let usual = sealing::usual_file(&blueprint);
    let file = options.out.clone().map_or_else(|| Ok(usual.clone()), |out| here(&out, &blueprint.root))?;
    let declared = blueprint.site.sealed.as_ref();
    let with_keys = declared.is_some() && options.passphrase.is_none();
    if !with_keys && declared.is_some_and(|declared| declared.file == file) {
        let what = format!("{file} is declared to be sealed to keys, and would be again by the next run");
        return Err(CommandError::usage("sealed::declared", what)
            .hint("leave --passphrase out, or give another file: --out FILE"));
    }
    let secret: Option<SecretString> = match with_keys {
        true => None,
        false => Some(passphrase::get(options.passphrase.as_deref(), true, printer)?),
    };
    let with = secret.as_ref().map_or(With::Declared, With::Passphrase);
    let files = sealing::seal(&blueprint, &file, &with, options.replace)?;
    let keys = declared.filter(|_| with_keys).map_or(0, |declared| declared.to.len());
    if printer.json {
        printer.data_json(&json!({ "sealed": file, "files": files, "keys": keys }));
        return Ok(0);
    }
    let whom = match keys {
        0 => "with the passphrase; keep that apart from it".to_owned(),
        1 => "to 1 key".to_owned(),
        keys => format!("to {keys} keys, each of which opens it"),
    };
    printer.say(format!("✔ {file}: {files} secrets, sealed {whom}"));
    if keys == 0 {
        printer.say(
            "it is not sealed again by itself: `site.sealed` in the blueprint does that, to public keys",
        );
    }
    Ok(0)
}

/// Opens one.
pub fn open(global: &Global, options: &SecretsOpen, printer: Printer) -> Outcome {
    let blueprint = opening::load(global, printer)?.blueprint;
    let usual = || Ok(sealing::usual_file(&blueprint));
    let file = options.file.as_ref().map_or_else(usual, |file| here(file, &blueprint.root))?;
    let key = match (sealing::takes(&blueprint, &file)?, options.identity.as_slice()) {
        (Takes::Passphrase, []) => {
            Key::Passphrase(passphrase::given(options.passphrase.as_deref(), printer)?)
        }
        (Takes::Identity, []) if options.passphrase.is_some() => Key::Passphrase(String::new().into()),
        (_, files) => Key::Identities(identities(files, printer)?),
    };
    let opened = sealing::open(&blueprint, &file, &key)?;
    if printer.json {
        printer.data_json(&json!({ "opened": file, "back": opened.back, "same": opened.same }));
        return Ok(0);
    }
    for path in &opened.back {
        printer.say(format!("  {path}"));
    }
    let same = match opened.same {
        0 => String::new(),
        same => format!("; {same} were there already, and are the same"),
    };
    printer.say(format!("✔ {file}: {} secrets put back{same}", opened.back.len()));
    printer.say(format!("to see whether it is the same site: {} plan", typed(global)));
    Ok(0)
}

/// A file that was typed, as the blueprint would name it where it is below the site's folder.
fn here(file: &Utf8Path, root: &Utf8Path) -> Result<Utf8PathBuf, CommandError> {
    let failed = |e: std::io::Error| CommandError::from_error("sealed::unreadable", &e);
    let absolute = camino::absolute_utf8(file).map_err(failed)?;
    let folder = absolute.parent().and_then(|folder| folder.canonicalize_utf8().ok());
    let full = folder.zip(absolute.file_name()).map_or(absolute.clone(), |(folder, name)| folder.join(name));
    Ok(full.strip_prefix(root).map_or(full.clone(), Utf8Path::to_owned))
}

/// The private keys in these files. One that has a passphrase is asked for it when it is tried.
fn identities(files: &[Utf8PathBuf], printer: Printer) -> Result<Identities, CommandError> {
    let ask: Ask = Arc::new(move |of| {
        let question = format!("passphrase of {}: ", foreign::line(of));
        printer.can_ask().then(|| passphrase::hidden(&question, printer).ok()).flatten()
    });
    let mut all = Identities::none();
    for file in files {
        let text = fs_err::read_to_string(file).map_err(|e| {
            CommandError::from_error("sealed::wrong-key", &e)
                .hint("name a file with a private key: --identity FILE")
        })?;
        let keys = Identities::parse(&text.into(), file.as_str(), ask.clone()).map_err(|e| {
            let mut error = CommandError::from_error("sealed::wrong-key", &e);
            error.errors.insert(0, format!("{file} cannot be used"));
            error.hint("a private key of ssh (ed25519, RSA), or what age-keygen prints")
        })?;
        all.extend(keys);
    }
    Ok(all)
}

/// How the sealed copy is, as a line of status and doctor, with what to do where it is not as it should be.
#[derive(Debug)]
pub struct Told {
    /// In words.
    pub text: String,
    /// What to type, where something is to be done.
    pub hint: Option<String>,
    /// Whether nothing was ever sealed, which is no fault.
    pub never: bool,
    json: Value,
}

impl Told {
    /// The same for programs.
    pub fn json(&self) -> Value {
        self.json.clone()
    }
}

/// What is to be said of a site's sealed copy; nothing where there is nothing to lose.
///
/// # Errors
/// When the secrets or the copy cannot be read.
pub fn told(
    blueprint: &blueprint::model::Blueprint,
    typed: &str,
    now: Timestamp,
) -> Result<Option<Told>, CommandError> {
    let (file, at, state) = match sealing::kept(blueprint)? {
        Kept::NoSecrets => return Ok(None),
        Kept::Never => {
            return Ok(Some(Told {
                text: "no sealed copy of .phoenix/secrets: what is in it cannot be made again".to_owned(),
                hint: Some(format!(
                    "{typed} secrets seal; or `site.sealed` in the blueprint, for each change"
                )),
                never: true,
                json: json!({ "state": "never" }),
            }));
        }
        Kept::Copy { file, at, state } => (file, at, state),
    };
    let age = at.map(|at| (now.as_second() - at.as_second()).max(0));
    let old = age.map_or_else(String::new, |age| format!(", {} old", span(age)));
    let again = format!("{typed} secrets seal");
    let (word, text, hint) = match state {
        CopyState::Current => ("current", format!("{file}{old}: all of .phoenix/secrets"), None),
        CopyState::Old => (
            "old",
            format!("{file}{old}: a secret has changed since, and is not in it"),
            Some(match blueprint.site.sealed {
                Some(_) => again,
                None => format!("{again} --out {file}"),
            }),
        ),
        CopyState::Gone => ("gone", format!("{file} is not there"), Some(again)),
        CopyState::Another => (
            "another",
            format!("{file} was not sealed from this folder, so it is not known what is in it"),
            Some(format!("{typed} secrets open {file} tells whether it holds the same")),
        ),
    };
    let json = json!({ "file": file, "state": word, "seconds_old": age });
    Ok(Some(Told { text, hint, never: false, json }))
}

/// A time in the unit that fits.
fn span(seconds: i64) -> String {
    match seconds {
        s if s >= 2 * 86_400 => format!("{} days", s / 86_400),
        s if s >= 2 * 3600 => format!("{} h", s / 3600),
        s if s >= 120 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
