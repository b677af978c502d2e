//! Certificates: made by the workshop's own authority, put where they are used, renewed at two thirds of their life.
//!
//! What a guest has is in its mark (names, begin, end, serial), so a plan sees what is due without a look inside. Keys
//! are made for one certificate, travel on a script's standard input, and stay in their guest.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use jiff::Timestamp;
use plan::desired::Certificate;
use plan::mark::CertificateMark;
use plan::planner::{Kind, Proposal, World};
use plan::wire::CERTIFICATES;
use plan::{Action, Address, Change, Consent, Grade, Step};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transport::{Command, Runner as _};

use crate::features::diff::mark_after;
use crate::worksite::Worksite;

/// Putting files in place and reloading: seconds; more means that the guest hangs.
const INSTALL: Duration = Duration::from_mins(2);

/// Certificates, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Certificates;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The guest it is put in.
    pub id: u32,
    /// What is wanted.
    pub certificate: Certificate,
}

/// When a certificate is renewed.
pub fn renew_at(mark: &CertificateMark) -> Option<Timestamp> {
    Some(pki::renew_at(Timestamp::from_second(mark.begin).ok()?, Timestamp::from_second(mark.end).ok()?))
}

impl Kind for Certificates {
    fn kind(&self) -> &'static str {
        "certificate"
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        for certificate in world.desired.certificates.values() {
            let Some(container) = world.desired.containers.get(&certificate.on) else { continue };
            let mark = mark_after(world, container, proposal);
            if mark.is_none() && !proposal.makes_anew(&container.resource()) {
                continue;
            }
            let there = mark.and_then(|m| m.certificates.get(&certificate.name));
            let now = world.options.now;
            let (action, reason) = match there {
                None => (Action::Create, "nothing has it yet".to_owned()),
                Some(m) if m.fingerprint != certificate.fingerprint => {
                    (Action::Update, "its names, life or authority change".to_owned())
                }
                // I-4, P-46: at two thirds of its life, not when it has expired.
                Some(m) if renew_at(m).is_none_or(|at| at <= now) => {
                    (Action::Update, format!("two thirds of its life have passed (it ends {})", date(m.end)))
                }
                Some(_) => continue,
            };
            let work = Work { id: container.id, certificate: certificate.clone() };
            proposal.step(Step {
                address: Address::certificate(&certificate.name),
                id: Some(container.id),
                action,
                grade: Grade::Live,
                reasons: vec![reason],
                changes: vec![
                    Change::new("names", Value::Null, certificate.names.join(", ")),
                    Change::new(
                        "ends",
                        there.map(|m| date(m.end)),
                        format!("{} days from now", certificate.life.as_secs() / 86_400),
                    ),
                ],
                needs: Vec::new(),
                consent: Consent::NotNeeded,
                root: None,
                holds: vec![format!("guest:{}", container.id)],
                batch: Some(format!("certificates@{}", container.resource())),
                work: serde_json::to_value(work).unwrap_or_default(),
            });
        }
    }
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| "never".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// The crew for certificates.
#[derive(Debug, Clone)]
pub struct CertificateCrew {
    site: Arc<Worksite>,
}

impl CertificateCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    async fn put(&self, works: &[Work], progress: &Progress) -> Result<Vec<String>, Failure> {
        let Some(id) = works.first().map(|w| w.id) else { return Ok(Vec::new()) };
        let now = (self.site.clock)();
        let mut script = String::from(PROLOGUE);
        let mut marks = Vec::new();
        for Work { certificate, .. } in works {
            let request = pki::LeafRequest {
                name: certificate.name.clone(),
                dns_names: certificate.names.clone(),
                addresses: Vec::new(),
                life: certificate.life,
            };
            let leaf = self.site.authority.issue(&request, now).map_err(|e| {
                let mut failure = Failure::from_error("pki::issue", &e);
                failure.hint = e.hint();
                failure
            })?;
            let _ = write!(
                script,
                "put {name} key.pem <<'PHOENIX-PEM'\n{key}PHOENIX-PEM\nput {name} fullchain.pem <<'PHOENIX-PEM'\n{chain}PHOENIX-PEM\n",
                name = certificate.name,
                key = with_newline(leaf.key_pem.expose_secret()),
                chain = with_newline(&leaf.chain_pem),
            );
            marks.push((
                certificate.name.clone(),
                CertificateMark {
                    fingerprint: certificate.fingerprint.clone(),
                    begin: leaf.not_before.as_second(),
                    end: leaf.not_after.as_second(),
                    serial: leaf.serial.clone(),
                },
            ));
        }
        script.push_str(EPILOGUE);
        progress.doing(format!("putting {} certificate(s) in place", works.len()));
        let inside = self.site.inside(id)?;
        let purpose = format!("putting certificates in {id}");
        let command = Command::script(purpose, script).limit(INSTALL);
        let begin = tokio::time::Instant::now();
        let output = loop {
            match inside.run(&command).await {
                // Exit 3 is the script's own; anything else with no word from it is a guest that just starts.
                Ok(output) if output.success() || output.text().contains("phoenix:") => break output,
                Ok(output) if begin.elapsed() > Duration::from_secs(60) => break output,
                // The same files twice are the same as once.
                Err(error) if begin.elapsed() > crate::settle::UNREACHABLE => {
                    return Err(crate::settle::transport_failure(&command.purpose, &error));
                }
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        if !output.success() {
            return Err(Failure::new(
                "certificates::not-put",
                format!("the certificates could not be put in {id}"),
            )
            .said(output.tail(5))
            .hint(format!("phoenix-cli shell {id}")));
        }
        self.site
            .change_mark(id, progress, |_, mark| mark.certificates.extend(marks.iter().cloned()))
            .await?;
        Ok(marks.into_iter().map(|(_, m)| format!("until {}", date(m.end))).collect())
    }
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}

/// Each file is made beside its place, readable by root alone, and renamed: a reader never sees half of one. Whoever
/// serves them is only reloaded, never started (P-40).
const PROLOGUE: &str = r#"set -eu
umask 077
echo phoenix: putting certificates
put() {
  folder=/etc/phoenix/certificates/$1
  mkdir -p "$folder"
  cat > "$folder/.$2.new"
  chmod 0600 "$folder/.$2.new"
  mv -f "$folder/.$2.new" "$folder/$2"
}
"#;

const EPILOGUE: &str = r"sync
for unit in nginx; do
  if command -v systemctl >/dev/null 2>&1 && systemctl is-active --quiet $unit 2>/dev/null; then
    systemctl reload $unit
  fi
done
exit 0
";

#[async_trait]
impl Crew for CertificateCrew {
    fn kind(&self) -> &'static str {
        "certificate"
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let works: Result<Vec<Work>, _> =
            steps.iter().map(|s| serde_json::from_value(s.work.clone())).collect();
        let works = match works {
            Ok(works) => works,
            Err(error) => {
                return vec![Err(Failure::from_error("apply::plan-unreadable", &error)
                    .hint("make the plan again with this phoenix-cli"))];
            }
        };
        match self.put(&works, progress).await {
            Ok(ends) => ends.into_iter().map(|e| Ok(Done::new(e))).collect(),
            Err(failure) => steps.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

/// The path of a certificate in its guest.
pub fn path(name: &str) -> String {
    format!("{CERTIFICATES}/{name}/fullchain.pem")
}
