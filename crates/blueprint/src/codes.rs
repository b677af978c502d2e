//! Every code a diagnostic of this crate can have, explained. The book's troubleshooting page is made from this.

/// A code with what there is to say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeInfo {
    /// The code, `blueprint::…`.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Why it is an error (or a warning), in a few sentences.
    pub explanation: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $explanation:literal, $remedy:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = concat!("blueprint::", $code);)*
        /// All codes, sorted by subject.
        pub const CODES: &[CodeInfo] = &[$(CodeInfo {
            code: $name, title: $title, explanation: $explanation, remedy: $remedy,
        }),*];
    };
}

/// The explanation of a code.
#[must_use]
pub fn find(code: &str) -> Option<&'static CodeInfo> {
    CODES.iter().find(|info| info.code == code)
}

codes! {
    NO_BLUEPRINT = "no-blueprint", "no blueprint in the folder",
        "A site is a folder with JSON files in it. This folder does not exist, or holds no `*.json` or `*.jsonc` file.",
        "Give the site's folder with `--site DIR`, or make a new site with `phoenix-cli init`.";
    UNREADABLE = "unreadable", "a file cannot be read",
        "A file of the site could not be read: it is no regular file, its rights forbid it, or a link leads nowhere.",
        "Look at the file with `ls -l`. Rename folders whose names end in `.json`.";
    TOO_LARGE = "too-large", "a file is too large",
        "Blueprints are written by people: a file of more than 8 MiB is surely something else. What a `folder` parameter \
         names may hold 64 MiB in 10,000 files, because it is copied into guests.",
        "Move the file out of the site's folder, or split it.";
    NOT_TEXT = "not-text", "a file is not UTF-8",
        "Blueprints are UTF-8 without a byte order mark.",
        "Save the file as UTF-8 (without BOM) in your editor.";
    SYNTAX = "syntax", "not JSON",
        "The file is not JSON with comments. Comments (`//` and `/* */`) are allowed; trailing commas, single quotes, \
         keys without quotes and missing commas are not, because other tools refuse them.",
        "Mend the place that is underlined.";
    DUPLICATE_KEY = "duplicate-key", "a key stands twice in one object",
        "In JSON the second of two equal keys silently wins, so one of the two would have no effect.",
        "Remove one of them.";
    UNKNOWN_KEY = "unknown-key", "an unknown key",
        "Every key is known and has an effect. One that is not known would be ignored, while its author believes it works.",
        "Correct the spelling; `phoenix-cli explain` lists the keys of each place.";
    WRONG_TYPE = "wrong-type", "a value of the wrong type",
        "The value is not of the type that belongs here, such as a text where a number belongs. `null` belongs nowhere: \
         leave the key out.",
        "Write the value as the message says.";
    MISSING_KEY = "missing-key", "a key is missing",
        "The object needs this key, and there is no sensible default for it.",
        "Add the key; `phoenix-cli explain` tells what it means.";
    BAD_VALUE = "bad-value", "a value that cannot be",
        "The value has the right type, but not the right form, or it is out of its range.",
        "Write the value as the message says.";
    NOT_ONE = "not-one", "not exactly one of several keys",
        "Exactly one of several keys must be given here.",
        "Keep one of them.";
    STORAGE = "storage", "a storage that cannot serve what is wanted of it",
        "A storage that the blueprint declares says what may lie on it, on which nodes it is and whether it is enabled. What names it \
         needs something else: a container's disks are `rootdir`, a machine's `images`, templates `vztmpl`, media `iso`, disk \
         images to import `import`, hook scripts `snippets`.",
        "Add it to the storage's `content` or `nodes`, or name another storage.";
    ZFS = "zfs", "a pool or dataset of ZFS that cannot be as it is declared",
        "A group of disks has a number that its layout takes, all groups of a pool have the same, each disk is in one place, a dataset \
         is in one that is declared, and no two are mounted in one place.",
        "Correct what is underlined; `phoenix-cli explain hypervisor.zfs` says what each key means.";
    GPU = "gpu", "a graphics card that cannot be used as it is declared",
        "A card is shared by containers, which takes the node's driver, or passed through to a virtual machine, which takes that no \
         driver of the node has it: one card is never both. Each is declared once, and of the machines that have one only one is on.",
        "Say `use` of the card as those who use it need it, or give them another card; `phoenix-cli explain hypervisor.gpus` says what \
         each key means.";
    GPU_MEMORY = "gpu-memory", "a graphics card has less memory than its guests take",
        "What the guests that share a card say that their models take is added up, of those that are not off. Where it is more than \
         the card has, the last of them to start fails, or all of them do at the worst moment.",
        "Take smaller models, or let one of the guests be off with `\"started\": false`, or move it to another card.";
    BAD_SHARE = "bad-share", "a share that cannot be as it is declared",
        "A share is a folder of the node with a name of its own, which is not the system's, on which no storage keeps disks of guests, \
         and in which nobody writes who is not meant to. A dataset that is shared is mounted somewhere, and a virtual machine mounts \
         a share by NFS, from a network that its `nfs` names.",
        "Correct what is underlined; `phoenix-cli explain hypervisor.shares` says what each key means.";
    BAD_STACK = "bad-stack", "a stack that cannot be as it is declared",
        "A stack is a project of Docker Compose on a guest that has Docker. Its compose file is there and can be read, somebody says each \
         variable that it wants, what is said of variables and secrets is read by it, and the port of a service is one that a \
         container publishes on the guest. One of the catalogue says in its `stack.json` what it needs, without contradicting itself.",
        "Correct what is underlined, or the compose file; `phoenix-cli explain stacks` says what each key means.";
    GOLDEN = "golden", "a guest that cannot be a template",
        "A guest that templates or images come `from` is made, and then becomes a template: it never runs again, and what is in it \
         is in each of its clones. So it has no services, nobody can need that it is healthy, and nothing is put in it that is one \
         guest's alone: no certificate, no secret, no part of the workshop.",
        "Give that to the guests that are made of it.";
    LITERAL_SECRET = "literal-secret", "a secret in clear",
        "Blueprints are shared and kept in version control, so secrets are only given by reference and never end up in a \
         plan, a journal or a log.",
        "Use {\"env\": \"NAME\"}, {\"file\": \"secrets/name\"}, {\"command\": [\"pass\", \"show\", \"name\"]} or \
         {\"generate\": \"name\"}.";
    DEFINED_TWICE = "defined-twice", "the same thing is defined twice",
        "All files of a site are one namespace: a name stands for one thing, and settings of the whole site are made once.",
        "Remove or rename one of the two.";
    MISSING_SITE = "missing-site", "the site has no name",
        "`site` tells the name, which marks everything Phoenix makes, and the domain all names end in.",
        "Add \"site\": {\"name\": \"workshop\", \"domain\": \"workshop.internal\"} to one file.";
    MISSING_TARGET = "missing-target", "nothing to build on",
        "`target` says where the site is built: on a Proxmox VE node or in the lab.",
        "Add \"target\": {\"lab\": {}} to one file, or a `proxmox` target.";
    BAD_NAME = "bad-name", "a name that cannot be",
        "Names become DNS names: lower-case letters, digits and hyphens, at most 63 characters, and not a hyphen at either \
         end. A whole name has at most 253 characters.",
        "Choose another name.";
    DANGLING = "dangling-reference", "a reference to nothing",
        "The blueprint names something that it does not define.",
        "Correct the name, or define the thing.";
    CYCLE = "cycle", "things that need each other in a circle",
        "Each waits for the next, and the last waits for the first, so none could ever be made.",
        "Remove one of the references; the message names them in order.";
    DUPLICATE_ID = "duplicate-id", "two guests with one id",
        "An id is a guest's identity on Proxmox VE.",
        "Give one of them another id.";
    DUPLICATE_ADDRESS = "duplicate-address", "an address is taken",
        "Two devices, or a device and the network itself, would have the same address.",
        "Give one of them another address.";
    DUPLICATE_MAC = "duplicate-mac", "two devices with one MAC",
        "Two devices with the same MAC address disturb each other's traffic.",
        "Change one, or leave it out: Phoenix derives one that stays the same.";
    DUPLICATE_NAME = "duplicate-name", "a name with two meanings",
        "A name has exactly one kind and one place: a guest's own, a service's on its guest, or a service's at the gateway. \
         A service may have its own guest's name: clients then get to the service. The names of nodes are kept for them.",
        "Rename one of them.";
    DUPLICATE_PORT = "duplicate-port", "two services on one port",
        "Only one program of a guest can listen on a port.",
        "Give one of them another port.";
    OUTSIDE_SUBNET = "outside-subnet", "an address outside its network",
        "The address is not part of the network's subnet, or is the subnet's first or last address, which no device can have.",
        "Choose an address of the subnet.";
    OVERLAPPING_SUBNETS = "overlapping-subnets", "overlapping subnets on one bridge",
        "Two networks on the same bridge and VLAN share addresses, so it is open which of them a device is in.",
        "Use separate subnets, or another bridge or VLAN for one of them.";
    NO_GATEWAY = "no-gateway", "no gateway, or it is open which",
        "A service is exposed through the gateway, so a container must have a feature that provides `gateway`. Where several \
         have, the service says which one it goes through: one of them serves it, and its names lead there.",
        "Add the feature `nginx-gateway` to a container, say `gateway` in the service, or expose the service directly.";
    NO_PART = "no-part", "a part of the workshop is missing or there twice",
        "What a service or the certificates need is played by exactly one container: the mesh, the name server, the \
         certificate authority.",
        "Add the feature that the message names to one container, and to no other.";
    BAD_SERVICE = "bad-service", "a service that does not fit together",
        "A key of the service has no effect with the others, or contradicts them. What is declared has an effect; else its \
         author believes in something that is not there.",
        "Change the key that the message names, or the one it depends on.";
    WAY_AROUND = "way-around", "what a proxy asks can be walked around",
        "A service says what its proxy asks of clients (`access`, `limits`), and others reach its own port without that proxy. \
         There nobody asks them anything: without a firewall everybody who has a route to the container, and without zero \
         trust every other guest; in zero trust, those who say that they need the container.",
        "Add \"firewall\": {\"zero-trust\": true}; or let the service take connections from its proxy alone, with `mutual` and a \
         feature's `client-certificates`; or put it into its proxy's own container, with a feature that listens for that \
         alone, such as `static-site`; or say \"bypass\": true at the service, and it stays as it is.";
    BAD_FLOW = "bad-flow", "a flow that cannot be",
        "The flow leads from something to itself, or there is no firewall that could let it through.",
        "Correct its ends, or add `firewall`.";
    CLOSED_NEED = "closed-need", "a container that needs what is closed to it",
        "In zero trust nothing passes that no flow allows. `needs` opens the ports of the other's services and of its features \
         that listen; here there are none, and no flow leads there, so the one would never reach the other.",
        "Declare the service in the needed container, such as \"services\": {\"db\": {\"port\": 5432, \"protocol\": \"tcp\"}}; \
         or a flow from the one to the other.";
    NO_FIXED_ADDRESS = "no-fixed-address", "a fixed address is needed",
        "What others must find needs an address that is known before anything is made: the gateway, and every guest with an \
         exposed service.",
        "Give the container an `address`.";
    BAD_NETWORK = "bad-network", "a network device that is not definite",
        "It is not clear which network a device is in, or it is described in two ways.",
        "Say `network`, and use either the short form or `networks`.";
    IS_OFF = "is-off", "a guest that is off, and that others need",
        "A guest with `\"started\": false` does not run, so what others need of it is not there: guests that name it in their \
         `needs`, and all of them where it is the name server, the certificate authority, a gateway with services of running \
         guests, the mesh, or the cache of packages.",
        "Let it run, or take away what needs it.";
    BAD_RENAME = "bad-rename", "a new name that cannot be",
        "`was` says which name a guest had until now. Nothing else may have that name, and only one guest can have had it.",
        "Correct `was`, or take it out: without it the guest is a new one.";
    BAD_MOUNT = "bad-mount", "a mount point that cannot be",
        "A mount point shows either a volume of its own (`size`, perhaps `storage`) or a folder of the node (`host`), and no \
         two mount points of a guest have the same path.",
        "Correct the mount point.";
    BAD_LINK = "bad-link", "a link of the node that cannot be",
        "A link is a bridge (`ports`), a bond (`bond`), a VLAN (`vlan`) or a card, and each has keys of its own. A card is part of \
         one bridge or bond at most, and has no address of its own then; the node has one router to everywhere else.",
        "Correct the link under `hypervisor.network`.";
    UNKNOWN_PARAMETER = "unknown-parameter", "an unknown parameter",
        "The feature does not have this parameter.",
        "Correct the spelling; the feature's `feature.json` lists its parameters.";
    BAD_PARAMETER = "bad-parameter", "a parameter that cannot be",
        "The parameter's value has the wrong type, or Phoenix fills the parameter in itself.",
        "Write the value as the message says, or leave the parameter out.";
    MISSING_PARAMETER = "missing-parameter", "a parameter is missing",
        "The feature needs this parameter, and there is no default for it.",
        "Add the parameter: \"features\": [{\"name\": {\"parameter\": …}}].";
    WRONG_HOST = "wrong-host", "a feature that cannot be put there",
        "A feature says what it is for: guests, nodes, or both (`hosts` in its `feature.json`). What is made for guests alone would \
         change files of Proxmox VE's own on a node.",
        "Put it where it is for, or take another one.";
    MISSING_OPTION = "missing-option", "a container without an option that a feature needs",
        "The feature works only where the container may do more than most, such as `nesting` for containers inside of it. \
         Proxmox VE gives that with the container's options, and without it the feature would fail once half is made.",
        "Add the option to the container: \"options\": {\"nesting\": true, \"keyctl\": true}.";
    BAD_PATH = "bad-path", "a path that leads nowhere or outside",
        "The blueprint names a file or folder of the site that does not exist, is of another kind, or is outside the site's \
         folder. A site is complete in itself, so that it can be moved and rebuilt anywhere.",
        "Put the file below the site's folder and name it relative to it.";
    FEATURE_SHADOWS = "feature-shadows", "a feature with a built-in's name",
        "A site's own feature has the name of one that comes with Phoenix, so it would be unclear which is meant.",
        "Rename the folder below `features/`.";
    BAD_FEATURE = "bad-feature", "a feature that cannot be",
        "The description of a feature contradicts itself: it names a file that is not in its folder, a parameter it does not \
         have, or gives one thing in several ways.",
        "Correct the `feature.json`.";
    UNUSED_TYPE = "unused-type", "a type that nothing uses",
        "No container has this type, and no other type extends it. That is no error, but is often a misspelt name.",
        "Use it or remove it.";
    NETWORK_WITHOUT_GATEWAY = "network-without-gateway", "a network without gateway",
        "Guests with fixed addresses in this network reach nothing outside it, so packages cannot be installed in them.",
        "Add the `gateway`, unless that is meant.";
    STACK_MEMORY = "stack-memory", "a guest with less memory than its stacks usually take",
        "Stacks of the catalogue say how much memory all of their containers usually take, at home and with few people. A guest with \
         less than that has its programs ended by the kernel when it is needed.",
        "Give the guest more `memory`, or put one of the stacks on another guest. Where you know that it is enough, it is a warning.";
    UNCHECKED_DOWNLOAD = "unchecked-download", "a download that nobody checks",
        "The file comes over plain http, so anybody on the way can put another one in its place, and guests are made of it.",
        "Add the file's `sha256`, or use an https address.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        for (index, info) in CODES.iter().enumerate() {
            assert!(!CODES[..index].iter().any(|other| other.code == info.code), "{} twice", info.code);
            assert!(info.explanation.ends_with('.') && info.remedy.ends_with('.'), "{}", info.code);
        }
        assert_eq!(find("blueprint::syntax").map(|info| info.code), Some(SYNTAX));
        assert!(find("syntax").is_none() && find("").is_none());
    }
}
