//! How much is read and kept of what others say, each with its reason. Whoever says more is cut off and named, never
//! silently shortened: half of an answer is not an answer.

/// The most of a command's standard output that is kept for who reads it as a whole, in bytes. The largest that is read is
/// all configuration files of a cluster: 10,000 guests, with the descriptions that their marks are in, are 30 MB.
pub const OUTPUT: usize = 64 << 20;

/// The same for a command in a guest: whoever is root there says what it likes, and several are asked at once. The largest
/// that is read is a sealed backup of an authority, whose database grows with the certificates it signed.
pub const GUEST_OUTPUT: usize = 16 << 20;

/// The most of a command's standard error that is kept, in bytes: its end, which says why it failed.
pub const ERRORS: usize = 64 << 10;

/// The most that a command may say on standard error in all, in bytes. Packages that are installed say some megabytes at
/// the very most; who says more wants to fill the line.
pub const ERRORS_IN_ALL: u64 = 64 << 20;

/// The longest line that is handed on as it comes, in bytes. A report names one file or one command.
pub const LINE: usize = 64 << 10;

/// The longest answer of the API that is read, in bytes. The largest seen is a node's report, well below a megabyte.
pub const API_ANSWER: usize = 64 << 20;

/// The most that is read of a service's answer, in bytes: whether it breaks off in the middle is to be seen, and pages are
/// smaller.
pub const BODY: usize = 1 << 20;

/// The longest text that an error shows of what another said, in bytes: a screen full.
pub const SHOWN: usize = 8 << 10;

/// The longest journal of a run that is read, in bytes: 10,000 steps with 20 events each are 40 MB.
pub const JOURNAL: u64 = 64 << 20;
