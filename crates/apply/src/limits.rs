//! How much may go on at once. Each limit has its reason.

/// One thing at a time per guest: Proxmox VE locks a guest while a task runs on it, and a second task fails with
/// "can't lock file … got timeout" (T-3).
pub const GUEST: usize = 1;

/// Volumes made at once on one storage: unpacking templates is bound by the disk, and a home server's slows down to
/// less than the sum when more than a few write at once; the cluster lock of a storage is waited for at most 10 s
/// (T-3).
pub const STORAGE: usize = 4;

/// Clones made at once of one container: Proxmox VE sets the lock `disk` in its configuration for as long as its volumes are copied,
/// and refuses the next with "CT is locked (disk)" (T-3). A virtual machine that is off is only locked for readers, so its clones
/// hold nothing of this class. It is let go when the clone is made, before that starts.
pub const TEMPLATE: usize = 1;

/// Tasks at once on one node: each is a worker process there; `pvedaemon` runs three workers by default, each of
/// which forks tasks freely, so eight keeps a small node responsive.
pub const NODE: usize = 8;

/// Steps at once in all: connections and memory here; what is beyond it would wait on nodes and storages anyway.
pub const TOTAL: usize = 32;

/// Guests looked into, and services asked, at once: each look is a script that reads files, packages and units on the node's
/// processors, and a command over the one connection there, which carries eight (`transport::MAX_SESSIONS`). Two are
/// left, so that none waits with its clock running.
pub const LOOKS: usize = 6;

/// The limit for a class of `class:name`.
pub fn limit_for(class: &str) -> usize {
    match class {
        "storage" => STORAGE,
        "template" => TEMPLATE,
        "node" => NODE,
        // Whatever names a guest, and whatever is unknown, is taken one at a time: slow is better than wrong.
        _ => GUEST,
    }
}
