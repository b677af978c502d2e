//! `pct push` and `pct pull`.

// Not `fs_err`: the real one's words name the file.
use std::fs;

use camino::Utf8Path;

use super::Done;
use super::client::{Api, Parameters};
use super::pct::absent;
use crate::containers::{self, GuestFiles};

/// Moves one file. The quirks are the real ones': `pull` of a missing file exits 0.
pub(crate) fn run(api: &Api, command: &str, id: u32, words: &[&str], options: &Parameters) -> Done {
    let &[from, to] = words else {
        let usage = if command == "push" { "<file> <destination>" } else { "<path> <destination>" };
        return Done::failed(
            255,
            format!("400 not enough arguments\npct {command} <vmid> {usage} [OPTIONS]\n"),
        );
    };
    if let Some(done) = absent(api, id) {
        return done;
    }
    let Some(files) = containers::running_now().contains(&id).then(|| GuestFiles::of(id)).flatten() else {
        let verb = if command == "push" { "push files to" } else { "pull files from" };
        return Done::failed(255, format!("can only {verb} a running CT\n"));
    };
    if command == "push" { push(&files, from, to, options) } else { pull(&files, from, to, options) }
}

/// The system's words for an error.
pub(crate) fn reason(error: &std::io::Error) -> String {
    // Perl prints the system's words alone, without the number.
    let text = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |n| std::io::Error::from_raw_os_error(n).to_string());
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn push(files: &GuestFiles, from: &str, to: &str, options: &Parameters) -> Done {
    let content = match fs::read(from) {
        Ok(content) => content,
        Err(error) => {
            return Done::failed(255, format!("failed to open {from} for reading: {}\n", reason(&error)));
        }
    };
    let owner = |key: &str, file: &str| match options.get(key) {
        None => Ok(0),
        Some(name) => name
            .parse()
            .ok()
            .or_else(|| files.number_of(file, name))
            .ok_or_else(|| Done::failed(255, format!("no such {key}: '{name}'\n"))),
    };
    let (user, group) = match (owner("user", "/etc/passwd"), owner("group", "/etc/group")) {
        (Ok(user), Ok(group)) => (user, group),
        (Err(done), _) | (_, Err(done)) => return done,
    };
    let mode = options.get("perms").and_then(|text| u32::from_str_radix(text, 8).ok());
    match files.put(to, &content, mode, user, group) {
        Ok(()) => Done::default(),
        Err(error) => Done::failed(255, format!("failed to create file {to}: {}\n", reason(&error))),
    }
}

fn pull(files: &GuestFiles, from: &str, to: &str, options: &Parameters) -> Done {
    let content = match files.get(from) {
        Ok(content) => content,
        Err(error) => return Done::failed(0, format!("failed to open {from}: {}\n", reason(&error))),
    };
    let written = fs::write(Utf8Path::new(to), content).and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        match options.get("perms").and_then(|text| u32::from_str_radix(text, 8).ok()) {
            Some(mode) => fs::set_permissions(to, std::fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    });
    match written {
        Ok(()) => Done::default(),
        Err(error) => Done::failed(255, format!("failed to create file {to}: {}\n", reason(&error))),
    }
}
