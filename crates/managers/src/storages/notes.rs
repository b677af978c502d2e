//! The site's part of the notes of the datacenter: what it has there.

use apply::{Failure, Progress};
use plan::mark::notes::{DATACENTER, is_empty, join, split};
use plan::trust::Standing;
use plan::{Address, Mark};

use crate::settle;
use crate::worksite::Worksite;

/// How often somebody else may be quicker.
const TRIES: u32 = 8;

/// The longest that notes may be (API schema, `description`, `maxLength`).
const LIMIT: usize = 65_536;

/// What the mark of a datacenter is called.
fn address() -> Address {
    Address::new(DATACENTER, "notes")
}

/// The notes without the site's block, and what that says.
///
/// # Errors
/// When they are not shown, or the block is one that the site's key did not make.
pub(super) async fn read(site: &Worksite) -> Result<(String, Mark), Failure> {
    let notes = settle::read("reading the notes of the datacenter", || site.reader().notes()).await?;
    let notes = notes.ok_or_else(|| {
        Failure::new("storage::unseen", "the notes of the datacenter are not shown")
            .hint("phoenix-cli doctor --print-role")
    })?;
    let found = split(&notes, &site.site);
    let mark = match found.own.map(|read| site.trust.of_datacenter(read)) {
        None => Mark::new(&site.site, address()),
        Some(Standing::Ours(mark, _) | Standing::Old(mark)) => mark,
        Some(Standing::Others(_) | Standing::Claimed(_)) => {
            let what = format!(
                "the notes of the datacenter have a block of a site `{}` that this site's key did not make",
                site.site
            );
            return Err(Failure::new("storage::claimed", what).hint(
                "copy .phoenix/secrets from the folder that it was applied from; or remove the block: Datacenter → Notes",
            ));
        }
    };
    Ok((found.rest, mark))
}

/// Changes what the notes remember of the site. They carry no digest: what was written is read back, and written again where
/// somebody else was quicker.
pub(super) async fn change(
    site: &Worksite,
    progress: &Progress,
    change: impl Fn(&mut Mark) + Send + Sync,
) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let (rest, mut mark) = read(site).await?;
        let before = mark.clone();
        change(&mut mark);
        if mark == before {
            return Ok(());
        }
        let json = match is_empty(&mark) {
            true => None,
            false => Some(site.trust.for_datacenter(&site.signed(&mark)).map_err(|error| {
                Failure::from_error("managers::unsealed", &error)
                    .hint("phoenix-cli apply makes the site's key")
            })?),
        };
        let text = join(&rest, json.as_deref());
        if text.len() > LIMIT {
            let what = format!(
                "the notes of the datacenter would have {} bytes, and {LIMIT} is the most",
                text.len()
            );
            return Err(
                Failure::new("storage::notes-too-long", what).hint("shorten them: Datacenter → Notes")
            );
        }
        let write = || site.writer.write_notes(&text);
        settle::through("writing down which storages are the site's", progress, write, || async {
            Ok(false)
        })
        .await?;
        let now = settle::read("reading the notes of the datacenter", || site.reader().notes())
            .await?
            .unwrap_or_default();
        let kept = split(&now, &site.site).own.map(|read| site.trust.of_datacenter(read));
        let stands = match kept {
            Some(Standing::Ours(kept, _)) => kept == site.signed(&mark),
            _ => is_empty(&mark),
        };
        if stands {
            return Ok(());
        }
    }
    Err(Failure::new(
        "proxmox::modified",
        "somebody else writes the notes of the datacenter at the same time",
    )
    .hint("phoenix-cli apply tries again"))
}
