//! Certificates that nothing shows any more: their files go, and the authority no longer signs their names for that guest.

use std::time::Duration;

use apply::{Failure, Progress};
use plan::address::kinds;
use plan::desired::Guest;
use plan::planner::{Proposal, World};
use plan::wire::CERTIFICATES;
use plan::{Action, Address, Change, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transport::Command;

use super::renewing::{Identity, introduce};
use super::{CertificateWork, Introduction};
use crate::authority;
use crate::worksite::Worksite;

/// Removing files and telling the authority: seconds.
const LIMIT: Duration = Duration::from_mins(2);

/// The instruction of a step that removes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The guest that has it.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What the authority is told of the guest from now on; without names, that it is to have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduction: Option<Introduction>,
}

/// The certificates that a guest has and is not to have.
pub(super) fn propose(
    world: World<'_>,
    container: &Guest,
    had: impl Iterator<Item = String>,
    introduction: Option<&Introduction>,
    proposal: &mut Proposal,
) {
    let guest = container.resource();
    for name in had {
        let removal = Removal { id: container.id, name, introduction: introduction.cloned() };
        // Whoever shows it is told of another first, or goes first.
        let mark = world.inventory.guests.get(&container.id).and_then(|guest| guest.mark.as_ref());
        let had = mark.into_iter().flat_map(|mark| mark.names(kinds::FEATURE));
        let features = container.features.iter().map(|f| f.name.as_str()).chain(had);
        let features = features.map(|name| Address::feature(name, &container.host()));
        // A certificate is made again at any time: nothing is lost, so nobody is asked.
        let step = Step::new(Address::certificate_on(&removal.name, &container.host()), Action::Delete)
            .on_guest(container.id)
            .reason("nothing there shows it any more, so its files go")
            .change(Change::new("path", format!("{CERTIFICATES}/{}", removal.name), Value::Null))
            .needs(features)
            .needs([guest.clone()])
            .needs(world.desired.authority.iter().map(|a| Address::authority(&a.on)))
            .batch(format!("certificates@{guest}/gone"));
        proposal.step(step, &CertificateWork::Remove(removal));
    }
}

/// Whether a certificate can be called so: the name of a service, or of a guest with a word behind it.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

/// Removes them, and has the marks forget them.
pub(super) async fn remove(
    site: &Worksite,
    removals: &[Removal],
    progress: &Progress,
) -> Result<Vec<String>, Failure> {
    let Some(first) = removals.first() else { return Ok(Vec::new()) };
    let id = first.id;
    match &first.introduction {
        Some(told) if told.names.is_empty() => {
            progress.doing("telling the workshop's authority that the guest has no certificates any more");
            let argv = [authority::PROGRAM, "forget", &told.guest];
            let forget =
                Command::new(format!("having the authority forget {}", told.guest), argv).limit(LIMIT);
            site.output_of(told.authority, &forget).await?;
        }
        Some(told) => introduce(site, id, told, Identity::Its, progress).await?,
        None => {}
    }
    progress.doing(format!("removing {} certificate(s)", removals.len()));
    let mut script = String::from("set -u\n");
    for Removal { name, .. } in removals {
        // It becomes a path that is removed, and a word of the script.
        if !is_name(name) {
            return Err(Failure::new(
                "certificates::bad-name",
                format!("`{name}` is no name of a certificate"),
            )
            .hint("phoenix-cli plan"));
        }
        script.push_str(&format!(
            "rm -rf {CERTIFICATES}/{name} /etc/phoenix/certificates.d/{name}.conf \
             /var/lib/phoenix/certificates/{name}.state /var/lib/phoenix/certificates/{name}.orphan || exit 1\n"
        ));
    }
    // The folder is a feature's, and may have stayed for what was in it when that feature went.
    script.push_str(&format!(
        "if [ -d /var/lib/phoenix/made ] && ! grep -qs '^folder\t{CERTIFICATES}\t' /var/lib/phoenix/made/*; then \
         rmdir {CERTIFICATES} /var/lib/phoenix/certificates 2>/dev/null; fi\n"
    ));
    script.push_str("echo phoenix: removed certificates\n");
    let command = Command::script(format!("removing certificates in {id}"), script).limit(LIMIT);
    site.output_of(id, &command).await?;
    site.change_mark(id, progress, |_, mark| {
        for Removal { name, .. } in removals {
            mark.forget(&Address::certificate(name));
        }
    })
    .await?;
    Ok(removals.iter().map(|_| "removed".to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_no_path_and_no_command() {
        assert!(["notes", "notes.guest", "a-b_c.d", "hypervisor"].into_iter().all(is_name));
        for bad in ["", ".", "..", "../x", "a/b", "a b", "a;b", "$(id)", "a\nb", "*", ".x"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
