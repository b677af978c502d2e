//! What the pictures show, a constant for each page.

use super::{Arrow, Box, Picture, Tone};
use Tone::{Around, Bad, Good, Main, Plain};

const fn b(id: &'static str, at: [u32; 4], title: &'static str, caption: &'static str, tone: Tone) -> Box {
    Box { id, at, title, caption, tone }
}

const fn a(from: &'static str, to: &'static str, caption: &'static str) -> Arrow {
    Arrow { from, to, caption }
}

/// All of them.
pub const PICTURES: [Picture; 9] =
    [HYPERVISOR, CODE, CONTAINERS, PROXY, CERTIFICATES, ZFS, NAMES, FIREWALLS, GPUS];

const HYPERVISOR: Picture = Picture {
    file: "hypervisor.svg",
    label: "One machine is a house. The hypervisor is its manager, who lets three flats: the guests",
    height: 340,
    boxes: &[
        b("you", [24, 224, 150, 70], "You", "the owner", Plain),
        b("house", [230, 20, 706, 300], "The machine: the house", "processor, memory, disks", Around),
        b(
            "manager",
            [264, 224, 638, 70],
            "The hypervisor: the house manager",
            "divides what the house has, and keeps the doors",
            Main,
        ),
        b("one", [264, 90, 190, 80], "Guest 101", "a flat with its own key", Plain),
        b("two", [488, 90, 190, 80], "Guest 120", "a flat with its own key", Plain),
        b("three", [712, 90, 190, 80], "Guest 121", "the new flat", Good),
    ],
    arrows: &[
        a("you", "manager", ""),
        a("manager", "one", "a share"),
        a("manager", "two", "a share"),
        a("manager", "three", "a share"),
    ],
};

const CODE: Picture = Picture {
    file: "infrastructure-as-code.svg",
    label: "The list on the door and a look into the fridge become a shopping note; shopping fills the fridge",
    height: 320,
    boxes: &[
        b("list", [24, 40, 200, 80], "Blueprint", "the list on the door", Plain),
        b("fridge", [24, 200, 200, 80], "What is there", "a look into the fridge", Plain),
        b("note", [370, 120, 220, 80], "Plan", "the shopping note", Main),
        b("shop", [730, 120, 206, 80], "Apply", "going shopping", Good),
        b("eater", [370, 236, 220, 60], "By hand", "somebody ate the eggs", Bad),
    ],
    arrows: &[
        a("list", "note", "what is wanted"),
        a("fridge", "note", "compared"),
        a("note", "shop", "only what is missing"),
        a("eater", "fridge", "drift"),
    ],
};

const CONTAINERS: Picture = Picture {
    file: "containers.svg",
    label: "A hotel: rooms share one boiler, the kernel. On a table in a room stand suitcases: Docker containers",
    height: 360,
    boxes: &[
        b("hotel", [24, 20, 660, 320], "The node: a hotel", "all rooms share what is in the cellar", Around),
        b("kernel", [54, 266, 600, 56], "One kernel", "the boiler in the cellar", Main),
        b("room", [54, 82, 170, 130], "LXC container", "a room", Plain),
        b(
            "docker",
            [254, 82, 400, 130],
            "LXC container with Docker",
            "a room with suitcases on the table",
            Around,
        ),
        b("case1", [274, 144, 170, 54], "Docker container", "a packed suitcase", Good),
        b("case2", [464, 144, 170, 54], "Volume", "the drawer: it stays", Plain),
        b("cottage", [720, 82, 216, 130], "Virtual machine", "a cottage: its own boiler", Plain),
    ],
    arrows: &[a("kernel", "room", "heats"), a("kernel", "docker", "heats"), a("case1", "case2", "")],
};

const PROXY: Picture = Picture {
    file: "reverse-proxy.svg",
    label: "Visitors ask at the front desk, which brings each to the right office",
    height: 320,
    boxes: &[
        b("visitor", [24, 120, 180, 80], "Browser", "a visitor", Plain),
        b("desk", [330, 110, 230, 100], "Gateway (Nginx)", "the front desk", Main),
        b("notes", [730, 24, 206, 70], "notes", "an office, port 80", Plain),
        b("blog", [730, 125, 206, 70], "blog", "an office, port 80", Good),
        b("data", [730, 226, 206, 70], "data", "no visitors here", Bad),
    ],
    arrows: &[
        a("visitor", "desk", "HTTPS"),
        a("desk", "notes", "asked for notes"),
        a("desk", "blog", "asked for blog"),
    ],
};

const CERTIFICATES: Picture = Picture {
    file: "certificates.svg",
    label: "A country signs for its passport office, the office signs passports, and a border guard who trusts the country lets their holders in",
    height: 330,
    boxes: &[
        b("root", [24, 24, 220, 80], "Root", "the country, in a safe", Main),
        b("intermediate", [370, 24, 220, 80], "Intermediate", "the passport office", Plain),
        b("leaf", [716, 24, 220, 80], "Certificate of notes", "a passport, 90 days", Good),
        b("guard", [24, 220, 220, 80], "Browser", "the border guard", Plain),
        b("stolen", [716, 220, 220, 80], "The old certificate", "reported as stolen", Bad),
    ],
    arrows: &[
        a("root", "intermediate", "signs"),
        a("intermediate", "leaf", "signs"),
        a("guard", "root", "trusts this alone"),
        a("leaf", "guard", "is shown to"),
        a("leaf", "stolen", "takes the place of"),
    ],
};

const ZFS: Picture = Picture {
    file: "zfs.svg",
    label: "A pool is a pair of notebooks that a clerk writes alike; a dataset is a chapter, a snapshot a photograph of its table of contents",
    height: 350,
    boxes: &[
        b("writer", [24, 77, 180, 80], "A program", "tells what to write", Plain),
        b(
            "pool",
            [290, 20, 420, 310],
            "Pool tank: the clerk's notebooks",
            "a mirror: both say the same",
            Around,
        ),
        b("dataset", [320, 82, 360, 70], "Dataset photos", "a chapter, 1 TiB at most", Main),
        b("disk1", [320, 228, 170, 76], "Disk 1", "a notebook", Plain),
        b("disk2", [510, 228, 170, 76], "Disk 2", "its twin", Plain),
        b("snapshot", [760, 82, 176, 70], "Snapshot", "last night's contents", Good),
    ],
    arrows: &[
        a("writer", "dataset", "photo"),
        a("dataset", "disk1", "page and sum"),
        a("dataset", "disk2", "page and sum"),
        a("dataset", "snapshot", ""),
    ],
};

const NAMES: Picture = Picture {
    file: "names.svg",
    label: "A guest asks the telephone book for a name, is told a number, and calls that",
    height: 320,
    boxes: &[
        b("guest", [24, 120, 190, 80], "A guest", "wants to call wiki", Plain),
        b("book", [370, 24, 230, 90], "Names", "the telephone book", Main),
        b("gateway", [716, 120, 220, 80], "10.0.0.153", "the gateway picks up", Good),
        b("none", [370, 216, 230, 80], "wki.learn.internal", "not in the book: no call", Bad),
    ],
    arrows: &[
        a("guest", "book", "wiki.learn.internal?"),
        a("book", "gateway", "10.0.0.153"),
        a("guest", "none", ""),
    ],
};

const FIREWALLS: Picture = Picture {
    file: "firewalls.svg",
    label: "A school at night: the caretaker has a list, opens the doors on it, and no others",
    height: 330,
    boxes: &[
        b("outside", [24, 35, 180, 70], "Outside", "the street", Plain),
        b("app", [24, 210, 180, 70], "app", "has to get to db", Plain),
        b("list", [370, 20, 220, 100], "Flows", "the caretaker's list", Main),
        b("gateway", [740, 35, 196, 70], "gateway", "the front door", Good),
        b("db", [740, 210, 196, 70], "db, port 5432", "the archive's door", Good),
        b("rest", [370, 210, 220, 70], "needs: db", "one line of the list", Plain),
    ],
    arrows: &[
        a("outside", "list", "may I?"),
        a("list", "gateway", "80 and 443"),
        a("app", "rest", "may I?"),
        a("rest", "db", "5432 alone"),
        a("list", "rest", ""),
    ],
};

const GPUS: Picture = Picture {
    file: "gpus-and-models.svg",
    label: "A card's memory is a table of 24; two puzzles of 12 fit, and one of 16 with one of 12 does not",
    height: 320,
    boxes: &[
        b("fits", [24, 20, 430, 130], "The table: 24 GiB", "both fit", Around),
        b("chat", [44, 76, 190, 60], "chat", "a puzzle of 12", Good),
        b("images", [244, 76, 190, 60], "images", "a puzzle of 12", Good),
        b("full", [24, 176, 430, 130], "The table: 24 GiB", "28 do not fit", Around),
        b("big", [44, 232, 250, 60], "chat", "a puzzle of 16", Plain),
        b("over", [304, 232, 190, 60], "images", "12: off the table", Bad),
        b("plan", [640, 110, 280, 90], "The blueprint", "adds up before anybody builds", Main),
    ],
    arrows: &[a("plan", "fits", "valid"), a("plan", "over", "refused")],
};
