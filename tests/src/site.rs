//! What is wanted: sites in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use blueprint::Catalog;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use managers::features::renderer::Renderer;
use plan::{Desired, SiteKey, Trust};

/// The files of a site, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The example that everybody starts with.
pub const FIRST: &str = "../examples/first-workshop";

/// The containers of a larger site.
pub const BIG: &str = include_str!("big.json");

/// When simulated worlds begin, in Unix seconds.
const BEGIN: i64 = 1_795_420_800;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(BEGIN) };
}

/// The time of every run: when simulated worlds begin, unless it is [`at`] another.
pub fn now() -> Timestamp {
    Timestamp::from_second(NOW.get()).expect("a time of this age")
}

/// Has what follows in this thread happen at `time`, until what is returned is dropped.
#[must_use]
pub fn at(time: Timestamp) -> At {
    At { before: NOW.replace(time.as_second()) }
}

/// See [`at`].
#[derive(Debug)]
pub struct At {
    before: i64,
}

impl Drop for At {
    fn drop(&mut self) {
        NOW.set(self.before);
    }
}

/// A site, wired.
#[derive(Debug, Clone)]
pub struct Site {
    /// What is wanted.
    pub desired: Arc<Desired>,
    /// The authority of all test sites: making keys takes time, and they all have one name.
    pub authority: Arc<pki::Authority>,
    /// The folder from which files are uploaded.
    pub folder: Folder,
}

/// A site's files on disk, for as long as somebody has it; no folder where the site is in memory alone.
#[derive(Debug, Clone, Default)]
pub struct Folder(Option<Arc<tempfile::TempDir>>);

impl Folder {
    /// One with these files.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn of<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, bytes) in files {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
            fs_err::write(path, bytes).expect("it can be written");
        }
        Self(Some(Arc::new(folder)))
    }

    /// Where it is.
    pub fn path(&self) -> Utf8PathBuf {
        let path = self.0.as_ref().and_then(|folder| Utf8PathBuf::from_path_buf(folder.path().into()).ok());
        path.unwrap_or_default()
    }
}

static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::from_files(managers::features::builtin()).expect("the catalog is sound"));

static AUTHORITIES: [LazyLock<(tempfile::TempDir, Arc<pki::Authority>)>; 2] =
    [LazyLock::new(make_authority), LazyLock::new(make_authority)];

fn settings() -> pki::AuthoritySettings {
    pki::AuthoritySettings {
        site: "workshop".into(),
        domain: "workshop.internal".into(),
        subnets: vec!["10.0.0.0/24".parse().expect("a subnet")],
    }
}

/// Its folder lives as long as the process.
fn make_authority() -> (tempfile::TempDir, Arc<pki::Authority>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = Utf8PathBuf::from_path_buf(folder.path().join("authority")).expect("a plain path");
    let begin = Timestamp::from_second(BEGIN).expect("a time of this age");
    let authority = pki::Authority::open_or_create(&path, &settings(), begin).expect("it can be made");
    (folder, Arc::new(authority))
}

/// An authority at each stage of another root that takes the place of its own, with the folder of each: before, both are trusted,
/// the new one signs, it alone is trusted, and after.
static STAGES: LazyLock<(tempfile::TempDir, [Arc<pki::Authority>; 5])> = LazyLock::new(|| {
    let (folder, first) = make_authority();
    let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("a plain path");
    let begin = Timestamp::from_second(BEGIN).expect("a time of this age");
    let mut all = vec![first];
    for number in 1..5 {
        let (last, own) = match number {
            1 => (root.join("authority"), root.join("1")),
            n => (root.join((n - 1).to_string()), root.join(n.to_string())),
        };
        // The same files, with their modes.
        let copied = std::process::Command::new("cp").args(["-a", last.as_str(), own.as_str()]).status();
        assert!(copied.is_ok_and(|status| status.success()), "they can be copied");
        let open = || pki::Authority::open_or_create(&own, &settings(), begin).expect("it can be opened");
        match number {
            1 => pki::Authority::propose_root(&own, &settings(), begin).and_then(|it| it.keep_new_root()),
            2 => open().sign_with_new_root(begin),
            3 => open().leave_old_root(),
            _ => open().forget_old_root(),
        }
        .expect("it goes on");
        all.push(Arc::new(open()));
    }
    (folder, all.try_into().expect("five"))
});

/// An authority at each stage of another root that takes the place of its own: before, three stages ([`pki::Stage`]), and after.
pub fn stages() -> [Arc<pki::Authority>; 5] {
    STAGES.1.clone()
}

/// The same authority in a folder of its own, for as long as that is kept. What happens at another time has another intermediate
/// signed, which those who live before that time cannot believe.
///
/// # Panics
/// When its files cannot be copied.
pub fn authority_apart() -> (tempfile::TempDir, Arc<pki::Authority>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = Utf8PathBuf::from_path_buf(folder.path().join("authority")).expect("a plain path");
    let shared = AUTHORITIES[0].0.path().join("authority");
    let copied =
        std::process::Command::new("cp").arg("-a").args([shared.as_os_str(), path.as_os_str()]).status();
    assert!(copied.is_ok_and(|status| status.success()), "it can be copied");
    let begin = Timestamp::from_second(BEGIN).expect("a time of this age");
    let authority = pki::Authority::open_or_create(&path, &settings(), begin).expect("it can be opened");
    (folder, Arc::new(authority))
}

/// The authority of the test sites.
pub fn authority() -> Arc<pki::Authority> {
    AUTHORITIES[0].1.clone()
}

/// What a test site of this name believes to be its own: its key follows from its name.
pub fn trust(site: &str) -> Arc<Trust> {
    Arc::new(Trust::new(site, Some(Arc::new(key(site)))))
}

fn key(site: &str) -> SiteKey {
    let digits: String = site.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect();
    SiteKey::from_text(&digits).expect("64 digits")
}

/// Another one, with another root certificate.
pub fn other_authority() -> Arc<pki::Authority> {
    AUTHORITIES[1].1.clone()
}

impl Site {
    /// A site of these files.
    ///
    /// # Panics
    /// When they are no sound site.
    pub fn of(files: &Files) -> Self {
        Self::below(files, authority())
    }

    /// The same, with another authority than that of all test sites.
    ///
    /// # Panics
    /// When they are no sound site.
    pub fn below(files: &Files, authority: Arc<pki::Authority>) -> Self {
        let uploads = files.values().any(|text| text.windows(7).any(|word| word == b"\"file\":"));
        let folder = match uploads {
            true => Folder::of(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))),
            false => Folder::default(),
        };
        let files = files.iter().map(|(path, bytes)| (Utf8PathBuf::from(path), bytes.clone()));
        let loaded = match blueprint::load_from_memory(files, &CATALOG) {
            Ok(loaded) => loaded,
            Err(failure) => panic!("{}", failure.to_text()),
        };
        let renderer = Renderer::new(&loaded.blueprint);
        let desired = plan::wire::wire(&loaded.blueprint, &managers::authority::roots(&authority), &renderer)
            .unwrap_or_else(|errors| panic!("{errors:?}"));
        Self { desired: Arc::new(desired), authority, folder }
    }

    /// What it believes to be its own.
    pub fn trust(&self) -> Arc<Trust> {
        let trust = trust(&self.desired.site);
        Arc::new(Trust::clone(&trust).with_renamed(&self.desired))
    }

    /// The id of a container.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn id(&self, name: &str) -> u32 {
        self.desired.guests.get(name).unwrap_or_else(|| panic!("no container {name}")).id
    }
}

/// The files of the first workshop, as they are in the examples.
pub fn first() -> Files {
    let root = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FIRST);
    let mut files = Files::new();
    for path in ["site.json", "guests.json", "pages/notes/index.html", "pages/status/index.html"] {
        files.insert(path.into(), fs_err::read(root.join(path)).expect("the example is there"));
    }
    files
}

/// The first workshop, whose node shows a certificate of the workshop, and has features of its own.
pub fn certified() -> Files {
    let mut files = first();
    let node = r#"{ "hypervisor": { "certificate": true, "features": ["chrony"] } }"#;
    files.insert("node.json".into(), node.into());
    files
}

/// The files of the larger site.
pub fn big() -> Files {
    let mut files = first();
    files.insert("guests.json".into(), BIG.into());
    files
}
