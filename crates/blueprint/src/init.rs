//! What `phoenix-cli init` writes: small sites to begin with. `examples/first-workshop` is the first of them.

/// The site's name where nobody gives another.
pub const DEFAULT_NAME: &str = "workshop";

/// A site to begin with.
#[derive(Debug)]
pub struct Template {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is in it, in a line.
    pub about: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const IGNORED: (&str, &str) = (".gitignore", include_str!("init/gitignore"));

/// The one that is written where nobody names another.
pub const FIRST: Template = Template {
    name: "first",
    about: "A gateway and two guests with a page each",
    files: &[
        ("site.json", include_str!("init/first/site.json")),
        ("guests.json", include_str!("init/first/guests.json")),
        ("pages/notes/index.html", include_str!("init/first/notes.html")),
        ("pages/status/index.html", include_str!("init/first/status.html")),
        ("README.md", include_str!("init/first/README.md")),
        IGNORED,
    ],
};

/// All of them, the first one first.
pub const TEMPLATES: [Template; 4] = [
    FIRST,
    Template {
        name: "family",
        about: "Passwords (Vaultwarden) and documents (Paperless) for a home, and a name server",
        files: &[
            ("site.json", include_str!("init/family/site.json")),
            ("guests.json", include_str!("init/family/guests.json")),
            ("stacks.json", include_str!("init/family/stacks.json")),
            ("README.md", include_str!("init/family/README.md")),
            IGNORED,
        ],
    },
    Template {
        name: "models",
        about: "A language model on the processor (llama.cpp), and pages to talk to it (Open WebUI)",
        files: &[
            ("site.json", include_str!("init/first/site.json")),
            ("guests.json", include_str!("init/models/guests.json")),
            ("README.md", include_str!("init/models/README.md")),
            IGNORED,
        ],
    },
    Template {
        name: "docker",
        about: "A Docker host with two stacks (Uptime Kuma, Gitea) and Portainer",
        files: &[
            ("site.json", include_str!("init/family/site.json")),
            ("guests.json", include_str!("init/docker/guests.json")),
            ("stacks.json", include_str!("init/docker/stacks.json")),
            ("README.md", include_str!("init/docker/README.md")),
            IGNORED,
        ],
    },
];

impl Template {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        const { &TEMPLATES }.iter().find(|template| template.name == name)
    }

    /// The files of a new site, by path below its folder. `name` becomes the site's name and the first part of its domain;
    /// it has to be a [`crate::values::Label`].
    #[must_use]
    pub fn files(&self, name: &str) -> Vec<(String, String)> {
        self.files.iter().map(|(path, text)| ((*path).to_owned(), text.replace("@NAME@", name))).collect()
    }
}
