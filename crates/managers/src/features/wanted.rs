//! What a feature has in a guest, as its script tells the guest's record; and what of it has to do with packages themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use super::rendered::{Rendered, RenderedFile};
use super::script::{id, notes, undo};

/// The things of a feature, one a line, parents before what is in them: kind, target and notes between tabs, as
/// `record.sh` has them.
pub(super) fn lines(feature: &Rendered) -> String {
    let mut out = String::new();
    let mut line = |kind: &str, target: &str, notes: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{kind}\t{target}\t{notes}");
    };
    for package in &feature.packages {
        // That it is pinned is for `updates` of the feature `base`.
        match package.split_once('=') {
            Some((name, version)) => line("package", name, &format!("={version}")),
            None => line("package", package, "-"),
        }
    }
    for user in &feature.users {
        line("user", &user.name, "-");
    }
    for artifact in &feature.artifacts {
        line("artifact", &artifact.path, &format!("artifact:{}", artifact.name));
    }
    for folder in &feature.folders {
        line("folder", &folder.path, "-");
    }
    // Where its files are looked after, the folder is its own.
    for prune in &feature.prunes {
        line("folder", &prune.folder, "-");
    }
    for file in &feature.files {
        match &file.block {
            Some(word) => line(&format!("block:{word}"), &file.path, &notes(file)),
            None => line("file", &file.path, &notes(file)),
        }
    }
    for path in &feature.data {
        line("data", path, "-");
    }
    for unit in feature.units.keys() {
        line("unit", unit, "-");
    }
    for command in &feature.commands {
        if let Some(notes) = undo(command) {
            line("undo", &format!("{}/{}", feature.name, id(&command.name)), &notes);
        }
    }
    out
}

/// Whether a file comes before all packages: a setting of apt's or dpkg's, or a certificate to be trusted, which the package
/// `ca-certificates` takes in when it is configured, so that it need not be told later.
pub(super) fn is_for_packages(file: &RenderedFile) -> bool {
    let places = [
        "/etc/apt/apt.conf.d/",
        "/etc/apt/preferences.d/",
        "/etc/apt/auth.conf.d/",
        "/etc/dpkg/dpkg.cfg.d/",
        "/usr/local/share/ca-certificates/",
    ];
    let alone = file.block.is_none() && file.check.is_none() && file.owner == "root:root";
    let follows = [&file.reloads, &file.restarts, &file.runs].into_iter().any(|list| !list.is_empty());
    alone && !follows && !file.at_restart && places.iter().any(|place| file.path.starts_with(place))
}

/// Whether packages of features that come later can depend on what this one does: it says so, or it brings sources or
/// keys, or has commands that speak to the package system.
fn before_packages(feature: &Rendered) -> bool {
    let places = ["/etc/apt/", "/etc/dpkg/", "/usr/share/keyrings/", "/usr/sbin/policy-rc.d"];
    let words = ["apt", "apt-get", "apt-key", "dpkg", "debconf-set-selections", "gpg"];
    let speaks = |command: &str| {
        let mut parts = command.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        parts.any(|word| words.contains(&word) || word.starts_with("dpkg-"))
    };
    feature.before_packages
        || feature.commands.iter().any(|command| speaks(&command.run))
        || feature
            .files
            .iter()
            .any(|file| !is_for_packages(file) && places.iter().any(|place| file.path.starts_with(place)))
}

/// Neighbours whose packages can be installed together, by their numbers. What depends on what a feature does to apt
/// begins a new stretch.
pub(super) fn stretches(features: &[Rendered]) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut begin = 0;
    for (number, feature) in features.iter().enumerate() {
        if before_packages(feature) || number + 1 == features.len() {
            all.push(begin..number + 1);
            begin = number + 1;
        }
    }
    all
}

/// The packages that features list, without versions.
pub fn packages<'a>(features: impl IntoIterator<Item = &'a Rendered>) -> Vec<String> {
    let all: BTreeSet<&str> = features
        .into_iter()
        .flat_map(|feature| &feature.packages)
        .map(|package| package.split_once('=').map_or(package.as_str(), |(name, _)| name))
        .collect();
    all.into_iter().map(str::to_owned).collect()
}
