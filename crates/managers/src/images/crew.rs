//! Putting a file on a storage: by the node's catalogue, by a download of the node's, or by an upload. It converges from
//! wherever it was cut off: what is under way is waited for, and what is there is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::Step;
use proxmox::Upid;
use proxmox::client::{Pace, Place, TaskEnd, TaskEntry, TaskError, Tick};
use proxmox::error::{Error, ErrorKind};
use tokio::time::{Instant, sleep};
use transport::Sent;

use super::made::ImageWork;
use super::{Fetch, From};
use crate::guests::golden;
use crate::settle::{self, Pauses, failure};
use crate::worksite::Worksite;

/// The longest that a file may take: the image of an installer on a slow line.
const FETCH: Duration = Duration::from_secs(2 * 60 * 60);

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_secs(3);

/// How often an answer may get lost: who is refused in the middle of an upload may see no more than a connection that ends.
const LOST: u32 = 4;

/// How long a task may need until it is listed, after an answer that got lost.
const LISTED: Duration = Duration::from_secs(5);

/// The crew for templates or for images.
#[derive(Debug, Clone)]
pub(super) struct ImageCrew {
    kind: &'static str,
    site: Arc<Worksite>,
}

impl ImageCrew {
    pub(super) fn new(kind: &'static str, site: Arc<Worksite>) -> Self {
        Self { kind, site }
    }

    async fn fetch(&self, fetch: &Fetch, progress: &Progress) -> Result<Done, Failure> {
        if self.is_there(fetch).await? {
            return Ok(Done::new(format!("{} is there already", fetch.volume())));
        }
        self.bring(fetch, progress).await?;
        // "The task said OK" is no proof: what was fetched is read back.
        if !self.is_there(fetch).await? {
            let what = format!("{} was fetched, and is not there", fetch.volume());
            return Err(Failure::new("images::not-there", what)
                .hint(format!("what is there, on {}: pvesm list {}", fetch.node, fetch.storage)));
        }
        Ok(Done::new(format!("{} is there", fetch.volume())))
    }

    /// Whether it is on the storage, as a whole as far as that can be told.
    async fn is_there(&self, fetch: &Fetch) -> Result<bool, Failure> {
        let list = || self.site.reader().volumes(&fetch.node, &fetch.storage, Some(fetch.content.as_str()));
        let volumes = settle::read("looking at what is on the storage", list).await?;
        let wanted = fetch.volume();
        Ok(volumes.into_iter().filter(|volume| volume.volid == wanted).any(|volume| match fetch.from {
            From::File { size, .. } => volume.size == Some(size),
            From::Catalogue | From::Url { .. } => true,
        }))
    }

    async fn bring(&self, fetch: &Fetch, progress: &Progress) -> Result<(), Failure> {
        let what = format!("fetching {}", fetch.file);
        progress.doing(format!("{what} from {}", fetch.source()));
        let begin = Instant::now();
        let mut pauses = Pauses::up_to(settle::PAUSE);
        let mut lost = 0;
        loop {
            let upid = match self.under_way(fetch, lost > 0).await? {
                Some(upid) => upid,
                None if lost > 0 && self.is_there(fetch).await? => return Ok(()),
                None => match self.dispatch(fetch, progress).await? {
                    Ok(upid) => upid,
                    Err(error) => {
                        match (error.kind(), error.sent()) {
                            (Some(ErrorKind::Locked), _) if begin.elapsed() < settle::LOCKED => {}
                            (None, Sent::Never) if begin.elapsed() < settle::UNREACHABLE => {}
                            // A refusal that is an error of the node's own is no reason to try for minutes.
                            (Some(_), Sent::Maybe) if lost > 0 => return Err(failure(&what, &error)),
                            (_, Sent::Maybe) if lost < LOST => {
                                progress.warning(format!(
                                    "the node's answer got lost while {what}; looking whether it was done"
                                ));
                                lost += 1;
                            }
                            _ => return Err(failure(&what, &error)),
                        }
                        pauses.pause().await;
                        continue;
                    }
                },
            };
            match self.wait(&upid, progress, &what).await {
                Ok(()) => return Ok(()),
                Err(TaskError::Failed { kind, .. })
                    if *kind == ErrorKind::Locked && begin.elapsed() < settle::LOCKED =>
                {
                    pauses.pause().await;
                }
                // Somebody else was quicker.
                Err(TaskError::Failed { exit, .. })
                    if exit.contains("refusing to override") && self.is_there(fetch).await? =>
                {
                    return Ok(());
                }
                Err(error) => return Err(self.explained(fetch, &what, &error).await),
            }
        }
    }

    /// Has the node begin. The outer error is one of this machine's.
    async fn dispatch(&self, fetch: &Fetch, progress: &Progress) -> Result<Result<Upid, Error>, Failure> {
        let Fetch { node, storage, file, .. } = fetch;
        let place = Place { node, storage, content: fetch.content.as_str(), file };
        let writer = &self.site.writer;
        Ok(match &fetch.from {
            From::Catalogue => writer.fetch_template(node, storage, file).await,
            From::Url { url, sha256 } => writer.download(place, url, sha256.as_deref()).await,
            From::File { path, size, sha256 } => {
                let from = self.site.folder.join(path);
                let there = fs_err::metadata(&from).ok().map(|facts| facts.len());
                if there != Some(*size) {
                    let what = match there {
                        None => format!("{path} is not in the site's folder any more"),
                        Some(_) => format!("{path} is not the file any more that the plan was made for"),
                    };
                    return Err(Failure::new("images::file-changed", what).hint("phoenix-cli plan"));
                }
                let sent = Arc::new(AtomicU64::new(0));
                let upload = writer.upload(place, from.as_std_path(), sha256.as_deref(), FETCH, sent.clone());
                tokio::select! {
                    answer = upload => answer,
                    never = tell(&sent, *size, file, progress) => match never {},
                }
            }
        })
    }

    /// The task that brings it, if one runs: that of a run before this one, or one whose number got lost. `lost`: it may take a
    /// moment until it is listed.
    async fn under_way(&self, fetch: &Fetch, lost: bool) -> Result<Option<Upid>, Failure> {
        let begin = Instant::now();
        let mut pauses = Pauses::up_to(settle::PAUSE);
        loop {
            for task in settle::active(self.site.reader(), &fetch.node).await? {
                let Ok(upid) = task.upid.parse() else { continue };
                if self.brings(fetch, &task, &upid).await {
                    return Ok(Some(upid));
                }
            }
            if !lost || begin.elapsed() > LISTED {
                return Ok(None);
            }
            pauses.pause().await;
        }
    }

    async fn brings(&self, fetch: &Fetch, task: &TaskEntry, upid: &Upid) -> bool {
        match fetch.from {
            From::Catalogue | From::Url { .. } => {
                task.kind == "download" && task.id.as_deref() == Some(fetch.file.as_str())
            }
            // Such a task is about nothing: its log says where the file goes.
            From::File { .. } if task.kind == "imgcopy" => {
                let log = self.site.reader().task_log(upid, 0, 20).await.unwrap_or_default();
                let end = format!("/{}", fetch.file);
                log.iter().any(|line| line.t.starts_with("target file:") && line.t.ends_with(&end))
            }
            From::File { .. } => false,
        }
    }

    /// Waits for a task, and tells how far it is.
    async fn wait(&self, upid: &Upid, progress: &Progress, what: &str) -> Result<(), TaskError> {
        let mut quiet = |_: Tick<'_>| {};
        let end = tokio::select! {
            end = self.site.reader().wait_task(upid, FETCH, Pace::default(), &mut quiet) => end?,
            never = self.follow(upid, progress, what) => match never {},
        };
        if let TaskEnd::Warnings(warnings) = end {
            warnings.into_iter().for_each(|warning| progress.warning(warning));
        }
        Ok(())
    }

    /// Tells the last that a task's log says, for as long as somebody listens.
    async fn follow(&self, upid: &Upid, progress: &Progress, what: &str) -> std::convert::Infallible {
        let mut seen = 0;
        loop {
            sleep(TOLD).await;
            let Ok(lines) = self.site.reader().task_log(upid, seen, 500).await else { continue };
            seen += lines.len();
            if let Some(said) = lines.iter().rev().find_map(|line| far(&line.t)) {
                progress.doing(format!("{what}: {said}"));
            }
        }
    }

    /// Why it failed, in words that say what to do; and whether something was left.
    async fn explained(&self, fetch: &Fetch, what: &str, error: &TaskError) -> Failure {
        let Fetch { node, storage, .. } = fetch;
        let exit = match error {
            TaskError::Failed { exit, .. } => exit.as_str(),
            _ => "",
        };
        let from = fetch.source();
        let mut failure = if let Some((got, wanted)) = mismatch(exit) {
            Failure::new(
                "images::checksum",
                format!("{from} is not what the blueprint says: its sum is {got}, not {wanted}"),
            )
            .hint(match &fetch.from {
                From::Catalogue => format!("on {node}: pveam update, then phoenix-cli apply"),
                _ => format!("if it was replaced on purpose: \"sha256\": \"{got}\""),
            })
        } else if exit.contains("download failed") {
            Failure::new("images::unreachable", format!("{node} could not fetch {from}"))
                .with_output(exit)
                .hint(match &fetch.from {
                    From::Url { url, .. } => format!("what {node} gets there, on it: curl -sSI '{url}'"),
                    _ => format!("on {node}: pveam update, then phoenix-cli apply"),
                })
        } else if exit.contains("qemu-img") {
            Failure::new("images::not-an-image", format!("{from} is not what its ending says"))
                .with_output(exit)
                .hint("say its `format`, or another file")
        } else {
            settle::task_failure(what, error)
        };
        // Whoever reads it wants to know what is there now.
        if self.is_there(fetch).await.unwrap_or(false) {
            failure.errors.push(format!("{} is there all the same, on {storage}", fetch.volume()));
            failure.hint = Some(format!("remove it, on {node}: pvesm free {}", fetch.volume()));
        }
        failure
    }
}

/// The sum that was found, and the one that was wanted (PVE::Tools, `download_file_from_url`).
fn mismatch(exit: &str) -> Option<(&str, &str)> {
    let rest = exit.split_once("checksum mismatch: got '")?.1;
    let (got, rest) = rest.split_once("' != expect '")?;
    Some((got, rest.split('\'').next()?))
}

/// How far a line of a log says that something is: wget's `45%`, or else the line.
fn far(line: &str) -> Option<String> {
    let line = line.trim();
    let part = line.split_whitespace().find(|word| {
        word.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    let word = part.map_or(line, |part| part);
    (!word.is_empty()).then(|| word.to_owned())
}

/// Tells how much of an upload is sent, for as long as somebody listens.
async fn tell(sent: &AtomicU64, size: u64, file: &str, progress: &Progress) -> std::convert::Infallible {
    loop {
        sleep(TOLD).await;
        let part = sent.load(Ordering::Relaxed).saturating_mul(100) / size.max(1);
        progress.doing(format!("sending {file}: {part}%"));
    }
}

#[async_trait]
impl Crew for ImageCrew {
    fn kind(&self) -> &'static str {
        self.kind
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            let progress = progress.for_step(&step.address);
            let result = match apply::work::<ImageWork>(step) {
                Ok(ImageWork::Golden { template }) => {
                    golden::crew(&self.site, template.kind).become_template(&template, &progress).await
                }
                Ok(ImageWork::Fetch(fetch)) => self.fetch(&fetch, &progress).await,
                Err(failure) => Err(failure),
            };
            results.push(result);
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_says_is_understood() {
        // Recorded: "download wrong checksum", "download again, same name, wrong checksum".
        assert_eq!(mismatch("checksum mismatch: got 'de2f' != expect '00'"), Some(("de2f", "00")));
        assert_eq!(mismatch("checksum mismatch: got 'de2f' != expect '00', aborting"), Some(("de2f", "00")));
        assert_eq!(mismatch("download failed: exit code 8"), None);
        assert_eq!(far("     0K ........ ........  45% 5.5M 3s").as_deref(), Some("45%"));
        assert_eq!(far("downloading it"), Some("downloading it".to_owned()));
        assert_eq!(far("  "), None);
    }
}
