//! The codes of storages, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "storage::another",
        "a storage of that name is something else",
        "What a storage is and where cannot be changed, and this one is not what Phoenix made, so it is somebody's: nothing is done \
         to it.",
        "Give the declared one another name, or declare it as it is: then it is taken over.",
    ),
    code(
        "storage::claimed",
        "the datacenter's notes have a block that this site's key did not make",
        "Which storages are a site's stands in the notes of the datacenter, vouched for by the site's key. The block there says the \
         same site's name and was made with another key: by another copy of the site's folder, or by somebody else.",
        "Apply from the folder that it was made from, or copy its `.phoenix/secrets`; where nobody has that any more, remove the \
         block under Datacenter → Notes: what is declared is taken over again.",
    ),
    code(
        "storage::full",
        "a storage is nearly full",
        "More than 85 % of it is in use. A guest whose disk cannot grow any more stops, or its file systems become read-only; ZFS and \
         thin pools get slow before that.",
        "Remove what is not needed (`pvesm list STORAGE` on the node), make it larger, or move guests.",
    ),
    code(
        "storage::in-use",
        "guests have disks on the storage",
        "Without its definition, elsewhere, or no longer allowed to hold disks, the storage would be of no use to the guests on it: \
         they would not start any more.",
        "Move their disks first (`pct move-volume`, `qm disk move`), or leave the storage as it is.",
    ),
    code(
        "storage::inactive",
        "a node cannot use a storage",
        "The storage is defined for this node, and what it is made of is missing there or cannot be reached.",
        "On the node: `pvesm status --storage STORAGE` says why; or say under `nodes` which nodes have it.",
    ),
    code(
        "storage::newer",
        "a newer Phoenix was here",
        "Which storages are the site's was written down by a newer Phoenix, in a form that is not known here.",
        "Use that Phoenix.",
    ),
    code(
        "storage::no-node",
        "a storage is to be on a node that is not there",
        "The `nodes` of a storage name one that the cluster does not have. Proxmox VE takes that, and the storage would be nowhere.",
        "Correct the name, as Proxmox VE shows it.",
    ),
    code(
        "storage::no-place",
        "what a storage is to be made of is not there",
        "The pool, the dataset, the volume group, the thin pool, the export or the datastore is not there, or the name is misspelt.",
        "Make it, or correct where the storage is; the message says what there is.",
    ),
    code(
        "storage::notes-too-long",
        "the datacenter's notes are too long",
        "The notes of a datacenter hold 64 KiB, and what people wrote there leaves no room for what the site has to remember.",
        "Shorten them under Datacenter → Notes.",
    ),
    code(
        "storage::unreachable",
        "a storage's server cannot be reached",
        "The node got no answer from the server, or none that it could use: it is off, its name is wrong, a firewall is between them, \
         or it does not let the node in.",
        "On the node: `ping SERVER`; for NFS `showmount --exports SERVER`, and where the server speaks NFSv4 alone \
         \"options\": \"vers=4.2\".",
    ),
    code(
        "storage::unseen",
        "the token is not shown what storages need",
        "The definitions of the storages, or the notes of the datacenter, where it is remembered which of them are the site's, are not \
         shown to the token.",
        "`phoenix-cli doctor --print-role` prints what it needs: Datastore.Audit and Datastore.Allocate on /storage, Sys.Audit and \
         Sys.Modify on /.",
    ),
];
