//! The codes of a run: looking, planning, consent, the lock, applying, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "apply::aborted",
        "the run was aborted",
        "Ctrl-C was pressed twice, so the run stopped without waiting. A task that the node had begun goes on there.",
        "Run `phoenix-cli apply` again: it looks at what is there, waits for what still runs, and does the rest.",
    ),
    code(
        "apply::crew-panicked",
        "a defect of Phoenix",
        "The part of Phoenix that carried out a step ended without an answer. The other steps went on.",
        "Please report it with the output of `phoenix-cli history RUN`. `phoenix-cli apply` again carries on.",
    ),
    code(
        "apply::journal",
        "the journal cannot be written",
        "Every run writes a journal below `.phoenix/runs` before it does anything. That folder cannot be written, or the \
         disk is full.",
        "Make `.phoenix/runs` in the site's folder writable for you, and see with `df` whether there is space.",
    ),
    code(
        "apply::no-crew",
        "a plan of another version",
        "A saved plan names a kind of resource that this `phoenix-cli` does not know.",
        "Make the plan again with this binary: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "apply::plan-unreadable",
        "a plan of another version",
        "A step of a saved plan does not hold what this `phoenix-cli` needs to carry it out.",
        "Make the plan again with this binary: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "apply::stopped",
        "a run was stopped while it waited",
        "Ctrl-C came while a run waited for a guest to answer. What was done until then is done.",
        "Run `phoenix-cli apply` again: it waits for the guest, and goes on.",
    ),
    code(
        "apply::unanswered",
        "services do not answer",
        "When all was done, every service was asked once. These do not answer, and looking inside the guests on their way \
         found nothing that applying puts right. What `trace` found is shown; `--no-probe` leaves asking out.",
        "Follow the hint; `phoenix-cli trace service.NAME` walks the whole way.",
    ),
    code(
        "consent::declined",
        "not confirmed",
        "The question was not answered with what it asked for, so nothing was done.",
        "Run the command again and type the word, or use `--yes` where nobody is to be asked.",
    ),
    code(
        "consent::missing",
        "not done without consent",
        "The plan destroys something, or data in it. That takes consent that names the thing. Nothing was done, the rest of \
         the plan neither.",
        "If it is meant: `phoenix-cli apply --allow-destroy ADDRESS`. To do the rest and leave it as it is: `--exclude \
         ADDRESS`. To destroy the whole site: `phoenix-cli destroy --confirm SITE`.",
    ),
    code(
        "consent::nobody-to-ask",
        "nobody can be asked",
        "The command wants to ask, and its input is not a terminal.",
        "Use `phoenix-cli up --yes`, or `phoenix-cli apply`, which does not ask.",
    ),
    code(
        "consent::other-site",
        "consent for another site",
        "The name given with `--confirm` is not the name of this site.",
        "Check which folder you are in, or give the right one with `--site`.",
    ),
    code(
        "consent::pattern",
        "consent by a pattern",
        "`--allow-destroy` was given a pattern such as `container.*`. It may mean more than was thought of, so consent is \
         given by addresses, names or ids. Nothing was done.",
        "The hint lists what it would have meant: give those that are meant, each by name.",
    ),
    code(
        "consent::protected",
        "something protected would be destroyed",
        "The plan destroys a container with `\"protected\": true`, which is refused whatever the consent. Nothing was done, \
         the rest of the plan neither.",
        "Set `\"protected\": false` and apply that first. To do the rest and leave it as it is: `--exclude ADDRESS`.",
    ),
    code(
        "consent::restart-node",
        "a plan out of a file restarts the node",
        "The plan was made with `--restart-node`. Its guests stop for that time, so whoever carries the plan out says it again.",
        "Add `--restart-node`, or make the plan again without it.",
    ),
    code(
        "consent::unreadable",
        "the answer cannot be read",
        "The terminal closed while a question was open. Nothing was done.",
        "Run the command again.",
    ),
    code(
        "inventory::unread",
        "something could not be read",
        "A part of the inventory could not be read. Phoenix plans with the rest and says so.",
        "The message says which part and why, most often a privilege the token lacks or ssh that does not work.",
    ),
    code(
        "lock::file",
        "the lock cannot be taken here",
        "Without ssh to the node, the lock of a run is a file in `.phoenix`, and it cannot be written.",
        "Make `.phoenix` in the site's folder writable for you.",
    ),
    code(
        "lock::taken",
        "another run is at work",
        "Only one run changes a site at a time. The message tells who has the lock, where and since when. It ends with that \
         run, also when it is killed.",
        "Wait until it has ended, or stop it there.",
    ),
    code(
        "lock::unable",
        "the node cannot hold the lock",
        "The lock is a file in `/run/phoenix` on the node, a folder that has to be root's alone, held by `flock`. What is \
         there instead could be another user's, who would keep a run from beginning, or have two at work at once.",
        "On the node, look at what is there: `ls -ld /run/phoenix`. Once it is removed, it is made anew.",
    ),
    code(
        "lock::unreachable",
        "the node cannot be reached for the lock",
        "The lock is taken on the node over ssh, and that connection failed. In a cluster it is taken on a majority of the \
         nodes, from the one that ssh leads to; one that is online and cannot be reached from there keeps a run from \
         beginning, since somebody who comes by that node would not be met.",
        "`phoenix-cli doctor` tries each hop. Where the nodes do not trust each other's keys: `pvecm updatecerts` \
         on them.",
    ),
    code(
        "plan::address-taken",
        "an address is somebody else's",
        "A guest is to have an address or a MAC that a node has, or a guest of somebody else on the same bridge: both would \
         answer, now the one, now the other. Nothing is made. Where it is so already, or the other one is off, a note says so.",
        "Give your guest another `address` (or `mac`), or the other one.",
    ),
    code(
        "plan::circle",
        "steps wait for each other",
        "What has to be done for one thing needs what has to be done for another, and that needs the first: nothing of it can \
         begin. The message names all of them.",
        "Apply a part of it first, with `--target`, or remove one of the `needs` among them.",
    ),
    code(
        "plan::clone-brings",
        "a clone would have disks that nobody named",
        "What it is a clone of has disks or mount points beside those of the blueprint. Whether the clone is to have them, nobody can tell, and \
         taking them away could leave it unable to start.",
        "Say them as they are there, under `disks`, `uefi`, `tpm` or `mounts`.",
    ),
    code(
        "plan::clone-differs",
        "a clone cannot be what is wanted",
        "A clone begins as what it is a clone of: a disk cannot shrink, a container cannot become unprivileged, and a folder of the node \
         that is mounted is cloned by no node.",
        "Say of the clone what its template is, as the message says.",
    ),
    code(
        "plan::copies",
        "two containers with one mark",
        "Two guests carry a mark that the site's key made for each of them, and both are the same container. Which of the two is \
         meant cannot be known, so neither is touched.",
        "Remove the block that begins with ```` ```phoenix ```` from the copy's description.",
    ),
    code(
        "plan::disk-gone",
        "a guest's first disk is gone",
        "The configuration of a guest that is there has no first disk any more: somebody detached it, or took its line out. An \
         empty one in its place would be no guest any more, so Phoenix makes none.",
        "Attach its volume again, as the hint says it, or destroy the guest, so that it is made anew.",
    ),
    code(
        "plan::disk-shrinks",
        "a disk cannot shrink",
        "The blueprint declares a smaller disk than there is. Disks of containers only grow.",
        "Declare at least the size that is there.",
    ),
    code(
        "plan::file",
        "no plan in the file",
        "The file does not exist or is not a plan.",
        "Make one: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "plan::half-made",
        "a clone was left half made",
        "Its node did not finish making it, and nothing works on it any more: the configuration has a lock that was left.",
        "The hint has the commands that remove it. Nothing of yours is in it yet.",
    ),
    code(
        "plan::id-taken",
        "an id is somebody else's",
        "A guest with this id exists that this site did not make, perhaps another site's. It is not touched.",
        "Give your container another `id`, or remove that guest yourself.",
    ),
    code(
        "plan::is-template",
        "the container was made a template",
        "A template cannot run, and cannot be turned back into a container.",
        "Remove the block that begins with ```` ```phoenix ```` from its description, and give your container \
         another `id`.",
    ),
    code(
        "plan::mount-source",
        "a mount point would show something else",
        "Volumes hold data, so Phoenix does not swap them in place.",
        "Take the mount point out of the blueprint, apply, then put it in again: the old volume is kept as unused.",
    ),
    code(
        "plan::no-bridge",
        "there is no such bridge",
        "A network device is to be on a bridge that its node does not have. Proxmox VE refuses such a change and makes it all \
         the same, and then the guest no longer starts; so nothing is done.",
        "Declare the bridge under `hypervisor.network`, make it on the node (System → Network), or name another one in `networks`.",
    ),
    code(
        "plan::no-device",
        "there is no such device",
        "A container is to have a device that its node does not have.",
        "Look below `/dev` on the node. What a driver makes is there once that is loaded.",
    ),
    code(
        "plan::no-folder",
        "there is no such folder",
        "A mount is to show a folder of the node that is not there. The container would be made, and could not start.",
        "Make the folder on the node, as the hint says it, or correct `host`.",
    ),
    code(
        "plan::no-image",
        "no such image",
        "The virtual machine is to be made of a volume, or started from one, that is not on its node's storage.",
        "Declare the image under `images`, with a `url` or a `file`: then it is fetched before the guest is made. \
         `pvesm list STORAGE` on the node shows what there is.",
    ),
    code(
        "plan::no-link",
        "there can be no linked clone",
        "Only a template has linked clones, they are where it is, and not each type of storage can have them.",
        "Say `\"clone\": \"full\"`, or keep the template where the message says.",
    ),
    code(
        "plan::no-mapping",
        "there is no such mapping",
        "A device or a folder of a virtual machine is named by a resource mapping that the cluster does not have, or that has \
         nothing on the machine's node. The machine would be made, and could not start.",
        "Make the mapping, below Datacenter, with an entry for the node, or correct its name. A token sees those that it may use \
         (`Mapping.Use`).",
    ),
    code(
        "plan::no-node",
        "no such node",
        "The blueprint places the container on a node that the cluster does not have.",
        "Correct `node`; the hint lists the nodes.",
    ),
    code(
        "plan::no-pool",
        "no such pool",
        "The blueprint puts the container into a resource pool that does not exist, or that the token may not see.",
        "On the node: `pvesh create /pools --poolid NAME`, or leave `pool` out.",
    ),
    code(
        "plan::no-script",
        "there is no such hook script",
        "A guest is to run a hook script that its node does not have, or that is not executable. The node would refuse to set it.",
        "Put the script on the storage as a snippet, and make it executable, or correct `hookscript`.",
    ),
    code(
        "plan::no-snippets",
        "no storage for what cloud-init is told",
        "A virtual machine that is entered by ssh, or that gets packages at its first start, is told that by a file of the node \
         (content `snippets`), which is there until its first start is through. No active storage of the node may hold such files, or \
         the token may not see it.",
        "On the node: `pvesm set local --content …,snippets`, with the content that it has now; the hint has the whole line.",
    ),
    code(
        "plan::no-storage",
        "no storage that may hold it",
        "No active storage of the node may hold root disks (content `rootdir`), templates (`vztmpl`), disk images to import \
         (`import`) or ISOs (`iso`), whichever is wanted; or the one that the blueprint names may not.",
        "Name another storage, or allow it on one: Datacenter → Storage → Content.",
    ),
    code(
        "plan::no-such-target",
        "nothing of that name",
        "`--target` names nothing of the site.",
        "`phoenix-cli graph` shows all addresses.",
    ),
    code(
        "plan::no-template",
        "no such template",
        "The container's template is not on its node, the blueprint does not declare it, and the node's catalogue has none whose name \
         begins so.",
        "On the node: `pveam update` and `pveam available --section system` show what there is. Or declare it under `templates`, with \
         a `url` or a `file`.",
    ),
    code(
        "plan::node-offline",
        "a node is offline",
        "The container is to be made on a node that is offline. What is on such a node already is left as it is, \
         and no problem.",
        "Start the node, or leave the container out: `phoenix-cli apply --exclude CONTAINER`.",
    ),
    code(
        "plan::not-believed",
        "a guest does not prove to be the site's",
        "The guest with this id says in its description that it is this site's, but the mark there is not one that \
         the site's key made for it: somebody wrote it, it is a copy of another guest, its tag was removed, or the \
         key is another one than it was.",
        "If you know that it is the one that is meant: `phoenix-cli adopt NAME`. Otherwise give your container \
         another `id`, or remove that guest yourself.",
    ),
    code(
        "plan::not-made-here",
        "a saved plan was not made here",
        "A saved plan carries a code under the site's key. This one does not fit: somebody has changed the file, \
         or it was made in another folder.",
        "Make it again: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "plan::other-kind",
        "a virtual machine stands in the way",
        "A guest of this site with that name is a virtual machine, and the blueprint wants a container.",
        "Give the container another name or id.",
    ),
    code(
        "plan::other-site",
        "the plan of another site",
        "A saved plan can only be applied to the site it was made for.",
        "Give the right folder with `--site`.",
    ),
    code(
        "plan::save",
        "the plan cannot be kept",
        "The file given with `--out` cannot be written.",
        "Choose a file in a folder that you can write.",
    ),
    code(
        "plan::slot-taken",
        "the slot of a disk is taken",
        "Where the blueprint wants a disk, there is a drive with a medium or with nothing in it, which somebody put there.",
        "Give the disk another slot, or free this one, as the hint says it.",
    ),
    code(
        "plan::stale",
        "the world has changed since the plan",
        "A saved plan is only carried out when every guest it relies on is still as it was. The message names those that \
         changed.",
        "Make it again: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "plan::template-elsewhere",
        "what is to be cloned is on another node",
        "A clone can be made on another node only where both share the storage of its disks.",
        "Place the guest on that node, or keep the template on a shared storage.",
    ),
    code(
        "plan::template-runs",
        "what is to be cloned runs",
        "It is no template, and a copy of disks in use would be that of a guest whose power failed.",
        "Make a template of it, with the command in the hint.",
    ),
    code(
        "plan::two-steps",
        "two steps for one thing",
        "Two kinds of resource want to change the same thing in one plan, so one of them would be lost.",
        "This is a defect of Phoenix: please report it with the blueprint.",
    ),
    code(
        "plan::unreadable",
        "a container's configuration cannot be read",
        "The container is there, but the token may not read its configuration.",
        "`phoenix-cli doctor` shows which privilege is missing.",
    ),
    code(
        "plan::version",
        "a plan of another version",
        "The file was made by a `phoenix-cli` whose plans have another form.",
        "Make it again with this binary: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "plan::was-another-id",
        "a new name would bring a new id",
        "A guest that `was` another has its id still. Only one that is made anew gets another one.",
        "Say the `id` that it has, or take `was` out.",
    ),
    code(
        "plan::was-nobody",
        "nobody was called so",
        "`was` says which name a guest had until now, and neither that one nor its new one is the name of a guest with this \
         site's mark.",
        "Correct `was`; or take it out, and the guest is made as a new one.",
    ),
    code(
        "plan::was-twice",
        "two guests, of which one is said to have been the other",
        "The guest of the new name is there, and so is one of the name that it is said to have had.",
        "Take `was` out: the other guest is then one that is no longer in the blueprint.",
    ),
    code(
        "plan::work-unwritable",
        "a step that cannot be written down",
        "What is to be done for a resource could not be put into the plan.",
        "This is a defect of Phoenix: please report it with the blueprint.",
    ),
];
