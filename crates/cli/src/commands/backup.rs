//! `backup` and `restore`: the authority's keys and database, sealed in its guest, so that nothing of them is ever here in
//! the clear.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use apply::Progress;
use apply::event::Recorder;
use camino::Utf8Path;
use managers::authority::PROGRAM;
use managers::certificates::CertificateMark;
use plan::Address;
use plan::desired::Authority;
use secrecy::{ExposeSecret as _, SecretString};
use site::Site;
use transport::{Command, Output, Runner as _};

use crate::args::{BackupCommand, Global, Restore, RestoreCommand};
use crate::commands::consent;
use crate::commands::guests::no_way;
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::passphrase;
use crate::printer::Printer;

/// Sealing takes a second; a database of hundreds of megabytes over a slow line takes minutes.
const LIMIT: Duration = Duration::from_mins(15);

/// What a sealed file begins with: the first byte of an OpenPGP packet has its highest bit set (RFC 9580, 4.2).
const SEALED: u8 = 0x80;

/// Makes a backup.
pub async fn backup(global: &Global, what: &BackupCommand, printer: Printer) -> Outcome {
    let BackupCommand::Ca(options) = what;
    if options.out.exists() {
        return Err(CommandError::usage("backup::exists", format!("{} is there already", options.out))
            .hint("give another --out: a backup is never written over"));
    }
    let planned = opening::open(global, printer).await?;
    let result = async {
        let authority = authority(&planned)?;
        let secret = passphrase::get(options.passphrase.as_deref(), true, printer)?;
        let output = ask(&planned, authority, "backup", line(&secret)).await?;
        let sealed = output.stdout;
        if sealed.first().is_none_or(|byte| byte & SEALED == 0) {
            return Err(CommandError::failed("backup::refused", "what came back is no sealed backup")
                .hint(format!("phoenix-cli exec {} -- {PROGRAM} probe", authority.on)));
        }
        write(&options.out, &sealed)?;
        let out = &options.out;
        if printer.json {
            let json =
                serde_json::json!({ "backup": out, "bytes": sealed.len(), "authority": authority.url });
            printer.data_json(&json);
        } else {
            printer.say(format!(
                "✔ {out}: keys, provisioners and database of {}, {} KiB, sealed with the passphrase",
                authority.url,
                sealed.len().div_ceil(1024)
            ));
        }
        Ok(0)
    }
    .await;
    planned.connection.close().await;
    result
}

/// Takes one back.
pub async fn restore(global: &Global, what: &RestoreCommand, printer: Printer) -> Outcome {
    let RestoreCommand::Ca(options) = what;
    let sealed =
        fs_err::read(&options.file).map_err(|e| CommandError::from_error("backup::unreadable", &e))?;
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock().await?;
        // The mark of the authority's guest changes, and what there is of before the site had a key is written down then.
        planned.look_settled(&printer).await?;
        planned.establish(false, &printer)?;
        take_back(&planned, options, &sealed, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}

async fn take_back(planned: &Site, options: &Restore, sealed: &[u8], printer: Printer) -> Outcome {
    let authority = authority(planned)?;
    if !options.yes {
        let question = format!(
            "put {} in the place of the keys and the database of {}?",
            options.file,
            Address::authority(&authority.on)
        );
        consent::yes(&question, printer).map_err(|e| e.hint("phoenix-cli restore ca FILE --yes"))?;
    }
    let secret = passphrase::get(options.passphrase.as_deref(), false, printer)?;
    let mut input = line(&secret);
    input.extend_from_slice(sealed);
    printer.say("opening the backup, trying it, and putting it in place");
    ask(planned, authority, "restore", input).await?;
    // The mark tells the plan how long this one lasts.
    let id = guest(planned, authority)?;
    let site = planned.worksite()?;
    let read = Command::new("reading the authority's certificate", ["cat", "/etc/step-ca/intermediate.crt"]);
    let facts = pki::CertificateFacts::parse(&site.output_of(id, &read).await?)
        .map_err(|e| CommandError::from_error("pki::authority", &e))?;
    let mark = CertificateMark {
        fingerprint: authority.fingerprint.clone(),
        begin: facts.not_before.as_second(),
        end: facts.not_after.as_second(),
        serial: facts.serial.clone(),
    };
    let sink = std::sync::Arc::new(Recorder::default());
    let address = Address::authority(&authority.on);
    let progress = Progress::new(address.clone(), sink);
    site.change_mark(id, &progress, |_, all| all.remember(&address, &mark)).await?;
    if printer.json {
        printer.data_json(&serde_json::json!({ "restored": options.file, "authority": authority.url }));
    } else {
        printer.say(format!("✔ {} signs as {}, until {}", authority.url, facts.subject, facts.not_after));
    }
    Ok(0)
}

fn line(secret: &SecretString) -> Vec<u8> {
    format!("{}\n", secret.expose_secret()).into_bytes()
}

fn authority(planned: &Site) -> Result<&Authority, CommandError> {
    planned.desired.authority.as_ref().ok_or_else(|| {
        CommandError::usage("backup::no-authority", "no container of the site is its certificate authority")
            .hint("the embedded authority is in .phoenix/secrets: phoenix-cli secrets seal keeps a copy of that")
    })
}

fn guest(planned: &Site, authority: &Authority) -> Result<u32, CommandError> {
    planned
        .desired
        .guests
        .get(&authority.on)
        .map(|container| container.id)
        .ok_or_else(|| CommandError::failed("guest::unknown", format!("there is no {}", authority.on)))
}

/// Has the authority's guest do something with what is on its standard input.
async fn ask(
    planned: &Site,
    authority: &Authority,
    word: &str,
    input: Vec<u8>,
) -> Result<Output, CommandError> {
    let id = guest(planned, authority)?;
    if planned.connection.simulated() {
        return Err(CommandError::failed("lab::simulated", "the lab is simulated: no authority runs in it"));
    }
    let inside = planned.connection.ways.guest(id).map_err(|_| no_way())?;
    let command =
        Command::new(format!("{word} of the authority in {id}"), [PROGRAM, word]).stdin(input).limit(LIMIT);
    let output = inside.run(&command).await.map_err(|e| CommandError::from_error("transport::failed", &e))?;
    if output.success() {
        return Ok(output);
    }
    let mut error =
        CommandError::failed("backup::refused", format!("the {word} of {} failed", authority.url));
    error.errors.push(output.tail(6).into());
    Err(error.hint(format!("phoenix-cli exec {} -- {PROGRAM} probe", authority.on)))
}

/// A file for its owner alone, there at once and complete, and never in the place of another.
fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), CommandError> {
    let unfinished = Utf8Path::new(&format!("{path}.unfinished")).to_owned();
    let done = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs_err::hard_link(&unfinished, path)?;
        fs_err::remove_file(&unfinished)
    };
    done().map_err(|e| {
        let _ = fs_err::remove_file(&unfinished);
        CommandError::from_error("backup::unwritable", &e).hint(format!("can {path} be written?"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_backup_is_for_its_owner_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("ca.backup")).unwrap();
        write(&path, b"one").unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write(&path, b"two").unwrap_err().code, "backup::unwritable");
        assert_eq!(fs_err::read(&path).unwrap(), b"one");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
    }
}
