//! What features would change in a guest, asked there: the engine's own check, and the differences of small text files.

use std::collections::BTreeMap;
use std::time::Duration;

use apply::Failure;
use blueprint::model::SecretRef;
use transport::{Command, Runner};

use super::check::check;
use super::{Action, ActionKind, Change, Outcome, Rendered, RenderedFile};
use crate::settle;

/// Prints the files whose differences are shown.
const READ: &str = include_str!("read.sh");

/// Runs a script as nobody, where it is root that would.
const AS_NOBODY: &str = "if [ \"$(id -u)\" != 0 ]; then exec sh -c \"$@\"; fi; \
     exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c \"$@\"";

/// Larger files are not shown line by line.
const LARGEST: usize = 64 << 10;

/// So many lines of a file's differences are shown.
const LINES: usize = 60;

/// What would change in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// What would be done, in the order it would be.
    pub actions: Vec<Action>,
    /// The features that could not be asked about to their end, and why.
    pub unasked: BTreeMap<String, String>,
    /// Differences of files, by path, as `diff -u` prints them.
    pub files: BTreeMap<String, String>,
}

/// Asks a guest what these features would change; changes nothing. `secrets` gives values for the comparison, which is made
/// in the guest by checksums; files with secrets in them are never shown.
///
/// # Errors
/// When the script cannot be made, the guest does not take commands, or what it says cannot be read.
pub async fn preview(
    inside: &dyn Runner,
    rendered: &[Rendered],
    secrets: &(dyn Fn(&SecretRef) -> Result<String, Failure> + Sync),
) -> Result<Preview, Failure> {
    let purpose = "asking what would change".to_owned();
    let heard = check(inside, rendered, secrets, purpose)
        .await
        .map_err(|failure| failure.hint("phoenix-cli plan tells without asking"))?;
    let unasked = |name: &String| match heard.features.get(name) {
        Some(ended) if ended.result == Outcome::Ok => None,
        Some(ended) if ended.result == Outcome::Failed => Some((name.clone(), ended.error())),
        _ => Some((name.clone(), "one before it could not be".to_owned())),
    };
    let unasked = rendered.iter().filter_map(|feature| unasked(&feature.name)).collect();
    let mut preview = Preview { actions: heard.actions, unasked, files: BTreeMap::new() };
    let files: Vec<&RenderedFile> = (rendered.iter().flat_map(|feature| &feature.files))
        .filter(|file| can_be_shown(file))
        .filter(|file| preview.actions.iter().any(|action| updates(action, file)))
        .collect();
    if !files.is_empty() {
        let command = reading(files.iter().map(|file| file.path.as_str()));
        let there = read(&settle::command(inside, &command).await?.text());
        for (number, file) in files.iter().enumerate() {
            let (Some(old), Ok(new)) = (there.get(&(number + 1)), std::str::from_utf8(file.content.bytes()))
            else {
                continue;
            };
            preview.files.insert(file.path.clone(), difference(old, new));
        }
    }
    Ok(preview)
}

/// The command that prints these files.
fn reading<'a>(paths: impl Iterator<Item = &'a str>) -> Command {
    let argv = ["sh", "-c", AS_NOBODY, "sh", READ, "phoenix-read"].into_iter().chain(paths);
    Command::new("reading files to compare", argv).limit(Duration::from_secs(60))
}

fn updates(action: &Action, file: &RenderedFile) -> bool {
    action.kind == ActionKind::File && action.change == Change::Update && action.target == file.path
}

/// Small texts without secrets that everybody may read.
fn can_be_shown(file: &RenderedFile) -> bool {
    let bytes = file.content.bytes();
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    file.block.is_none()
        && file.mode & 0o004 != 0
        && bytes.len() <= LARGEST
        && text.is_some_and(|text| !(file.template && text.contains("@@secret:")))
}

/// The files that `read.sh` printed, by number. What is no text is left out.
fn read(printed: &str) -> BTreeMap<usize, String> {
    let mut files: BTreeMap<usize, String> = BTreeMap::new();
    let mut number = 0;
    for line in printed.lines() {
        if let Some(content) = line.strip_prefix('|') {
            if let Some(file) = files.get_mut(&number) {
                file.push_str(content);
                file.push('\n');
            }
        } else if let Some(next) = line.strip_prefix('@').and_then(|n| n.parse().ok()) {
            number = next;
            files.insert(number, String::new());
        }
    }
    files.retain(|_, text| !text.contains(['\u{fffd}', '\0']));
    files
}

/// The lines that differ, with three lines around, as far as they are few.
fn difference(old: &str, new: &str) -> String {
    let diff = similar::TextDiff::from_lines(old, new);
    let text = diff.unified_diff().context_radius(3).to_string();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("\\ No newline")).collect();
    let mut shown = lines.iter().take(LINES).fold(String::new(), |text, line| text + line + "\n");
    if lines.len() > LINES {
        shown.push_str(&format!("… {} more lines\n", lines.len() - LINES));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(content: &str, mode: u32) -> RenderedFile {
        serde_json::from_value(serde_json::json!({
            "path": "/etc/x", "content": { "text": content }, "template": true, "mode": mode, "owner": "root:root",
        }))
        .unwrap()
    }

    #[test]
    fn what_may_hold_secrets_is_never_shown() {
        assert!(can_be_shown(&file("a\n", 0o644)));
        assert!(!can_be_shown(&file("password = @@secret:0@@\n", 0o644)));
        assert!(!can_be_shown(&file("a\n", 0o640)));
        assert!(!can_be_shown(&file(&"a".repeat(LARGEST + 1), 0o644)));
    }

    #[test]
    fn differences_are_lines_and_few() {
        assert_eq!(difference("a\nb\n", "a\nc\n"), "@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        let long: String = (0..500).map(|n| format!("{n}\n")).collect();
        let shown = difference("", &long);
        assert_eq!(shown.lines().count(), LINES + 1);
        assert!(shown.ends_with("more lines\n"), "{shown}");
    }

    #[tokio::test]
    async fn only_what_everybody_may_read_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &str, mode| {
            fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(folder.path().to_str().unwrap(), 0o755);
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs_err::create_dir(path("private")).unwrap();
        for (name, bits) in [("open", 0o644), ("closed", 0o640), ("private/open", 0o644)] {
            fs_err::write(path(name), format!("{name}\nlast line")).unwrap();
            mode(&path(name), bits);
        }
        // What nobody else can get at; not even who runs this test, where that is not root.
        mode(&path("private"), 0o000);
        fs_err::os::unix::fs::symlink(path("open"), path("link")).unwrap();
        let paths = ["missing", "closed", "open", "private/open", "link"].map(path);
        let output = transport::Local.run(&reading(paths.iter().map(String::as_str))).await.unwrap();
        mode(&path("private"), 0o700);
        assert_eq!(read(&output.text()), BTreeMap::from([(3, "open\nlast line\n".to_owned())]));
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(text in "(@[0-9]{0,3}|\\|.{0,8}|.{0,8}|\n){0,20}") {
            let _ = read(&text);
        }
    }
}
