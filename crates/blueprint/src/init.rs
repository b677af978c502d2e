//! The small site that `phoenix-cli init` writes. `examples/first-workshop` is the same.

/// The site's name where nobody gives another.
pub const DEFAULT_NAME: &str = "workshop";

const FILES: &[(&str, &str)] = &[
    ("site.json", include_str!("init/site.json")),
    ("guests.json", include_str!("init/guests.json")),
    ("pages/notes/index.html", include_str!("init/notes.html")),
    ("pages/status/index.html", include_str!("init/status.html")),
    ("README.md", include_str!("init/README.md")),
    (".gitignore", include_str!("init/gitignore")),
];

/// The files of a new site, by path below its folder. `name` becomes the site's name and the first part of its domain;
/// it has to be a [`crate::values::Label`].
#[must_use]
pub fn site_files(name: &str) -> Vec<(String, String)> {
    FILES.iter().map(|(path, text)| ((*path).to_owned(), text.replace("@NAME@", name))).collect()
}
