//! Every code an error of Phoenix can have beside those of a blueprint's diagnostics ([`blueprint::codes`]), explained:
//! for `phoenix-cli explain CODE` and for the book's troubleshooting page. That no code is missing here, and none too
//! many, is checked when the book's generated pages are.

mod inside;

use blueprint::codes::CodeInfo;

/// The explanation of a code, of a blueprint's diagnostic or of anything else.
pub fn find(code: &str) -> Option<&'static CodeInfo> {
    blueprint::codes::find(code).or_else(|| all().find(|info| info.code == code))
}

/// All codes but the diagnostics'.
pub fn all() -> impl Iterator<Item = &'static CodeInfo> {
    CODES.iter().chain(inside::CODES)
}

const fn code(
    code: &'static str,
    title: &'static str,
    explanation: &'static str,
    remedy: &'static str,
) -> CodeInfo {
    CodeInfo { code, title, explanation, remedy }
}

/// All but the diagnostics' and those of what is found inside of a site, sorted.
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
        "apply::unanswered",
        "services do not answer",
        "When all was done, every service was asked once. These do not answer, and looking inside the guests on their way \
         found nothing that applying puts right. What `trace` found is shown; `--no-probe` leaves asking out.",
        "Follow the hint; `phoenix-cli trace service.NAME` walks the whole way.",
    ),
    code(
        "artifacts::busy",
        "another run obtains the same program",
        "Two runs on one machine do not build the same thing twice: the second waits for the first. The first has \
         been at it for longer than any build takes.",
        "See with `ps` whether it hangs, end it, and run the command again.",
    ),
    code(
        "artifacts::cache",
        "the cache of programs cannot be used",
        "Programs that no package brings are kept below `$XDG_CACHE_HOME/phoenix/artifacts`, and that folder cannot \
         be read or written, or its disk is full.",
        "See with `df` whether there is space and with `ls -ld` whether it is yours. The folder may be deleted: what \
         is needed is obtained again.",
    ),
    code(
        "artifacts::go-too-old",
        "the Go toolchain is too old",
        "A program is built from its sources with Go. The toolchain that was found is older than 1.21, the first that \
         fetches the one a program asks for by itself.",
        "Install a newer one: `tools/setup` knows where your Debian has one; below `/usr/local/go` it is found, too. \
         Or let another machine build, and point `PHOENIX_ARTIFACTS` at a copy of its cache.",
    ),
    code(
        "artifacts::list",
        "a defect of Phoenix",
        "The list of programs that is inside of this `phoenix-cli` cannot be read.",
        "Please report it with the output of `phoenix-cli version`.",
    ),
    code(
        "artifacts::no-go",
        "there is no Go toolchain",
        "A program that a feature needs is built from its sources with Go, and there is no Go on this machine.",
        "`tools/setup` installs it. Or run `phoenix-cli artifacts fetch` on another machine and point \
         `PHOENIX_ARTIFACTS` at a copy of its cache.",
    ),
    code(
        "artifacts::not-built",
        "a program could not be built",
        "`go build` failed. Mostly there was no way to the modules it needs; what it said last is shown.",
        "Run `phoenix-cli artifacts fetch NAME` again when there is a way to the internet, or use the cache of \
         another machine: `PHOENIX_ARTIFACTS=DIR`.",
    ),
    code(
        "artifacts::not-fetched",
        "a program could not be fetched",
        "The address it is pinned to did not answer with it.",
        "Try again when there is a way to the internet, or use the cache of another machine: `PHOENIX_ARTIFACTS=DIR`.",
    ),
    code(
        "artifacts::not-put",
        "a program could not be put into a container",
        "The container did not take it, for example because its disk is full. What it said is shown.",
        "`phoenix-cli exec NAME -- df -h` shows its space; then `phoenix-cli apply`.",
    ),
    code(
        "artifacts::other-bytes",
        "not what is pinned",
        "What was obtained has another checksum than the one that is pinned. It was not used.",
        "Do not use it: find out who changed it, or pin what is meant.",
    ),
    code(
        "artifacts::other-pin",
        "a plan of another version",
        "A saved plan wants a program as another `phoenix-cli` pins it.",
        "Make the plan again with this binary: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "artifacts::unknown",
        "no such program",
        "The list of programs that no package brings does not have that name.",
        "`phoenix-cli artifacts list` shows all there are.",
    ),
    code(
        "backup::exists",
        "the file is there already",
        "A backup is never written over an older one, which may be the only good one.",
        "Give another name with `--out`, or move the old one away.",
    ),
    code(
        "backup::no-authority",
        "the site has no authority in a container",
        "`backup ca` and `restore ca` are for the feature `step-ca`. The embedded authority of a site is a folder.",
        "Keep a copy of `.phoenix/secrets/authority`, which is all there is of it.",
    ),
    code(
        "backup::refused",
        "the authority did not do it",
        "The program that looks after the authority in its container refused: a wrong passphrase, a file that was changed or cut, a backup of another site. What it said is shown. Nothing was replaced.",
        "What was said names the reason. `phoenix-cli exec ca -- /usr/local/lib/phoenix/authority probe` tells whether the authority signs.",
    ),
    code(
        "backup::unreadable",
        "the backup cannot be read",
        "The file named cannot be read here.",
        "See with `ls -l` whether it is there and readable.",
    ),
    code(
        "backup::unwritable",
        "the backup cannot be written",
        "The file named by `--out` could not be written: its folder is missing or not writable, the disk is full, or it came to be meanwhile.",
        "Give another `--out`. Nothing of the backup is left behind.",
    ),
    code(
        "blueprint::invalid",
        "the blueprint has errors",
        "With `--json`, the error that stands for all diagnostics of a blueprint; they are in `diagnostics`, each with its \
         own code.",
        "Mend what the diagnostics show; `phoenix-cli validate` checks without contacting anything.",
    ),
    code(
        "blueprint::wiring",
        "the site cannot be wired",
        "Each file is fine, but what follows from them together is not: a feature that cannot be rendered with its \
         parameters, or a service that cannot be led to.",
        "The message names the resource and the hint says what to change; `phoenix-cli explain ADDRESS` shows what was \
         derived.",
    ),
    code(
        "certificates::not-obtained",
        "a certificate could not be obtained",
        "The container asked its authority for a certificate and did not get it, or whoever serves it still shows another one. \
         What the container said is shown; it goes on trying by itself.",
        "`phoenix-cli exec NAME -- /usr/local/lib/phoenix/certificates list` shows the last error of each, `phoenix-cli trace \
         NAME` where the way breaks; then `phoenix-cli apply`.",
    ),
    code(
        "certificates::not-put",
        "certificates could not be put in place",
        "The script that puts key and certificate into the container failed there, for example because its disk is full. \
         What it printed last is shown.",
        "Look inside with `phoenix-cli shell NAME`, then `phoenix-cli apply`.",
    ),
    code(
        "certificates::not-seen",
        "the certificates of a container could not be looked at",
        "What lists certificates in the container failed there.",
        "Look inside with `phoenix-cli shell NAME`.",
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
        "consent::unreadable",
        "the answer cannot be read",
        "The terminal closed while a question was open. Nothing was done.",
        "Run the command again.",
    ),
    code(
        "explain::no-script",
        "no script",
        "Only a feature on a container is carried out by a script.",
        "Name one: `phoenix-cli explain feature.base@container.NAME --script`.",
    ),
    code(
        "explain::unknown",
        "nothing of that name",
        "What was asked for is no key of a blueprint, no resource of the site, no feature and no error code.",
        "`phoenix-cli graph` shows all addresses, `phoenix-cli explain features` all features, `phoenix-cli explain \
         containers` the keys of a container.",
    ),
    code(
        "features::cut-off",
        "the installation was cut off",
        "The script in the container ended in the middle: the container was stopped, or ran out of memory.",
        "Run `phoenix-cli apply`: the script finds what is done already and goes on. If it happens again, give the \
         container more `memory`.",
    ),
    code(
        "features::failed",
        "a feature could not be installed",
        "A package, file, unit, command or health check of the feature failed in the container. What it said is shown; what \
         comes after it in the same container was not tried.",
        "Look inside with `phoenix-cli shell NAME`. `phoenix-cli explain feature.X@container.NAME --script` shows what was \
         run. Then `phoenix-cli apply`.",
    ),
    code(
        "features::no-answer",
        "the container takes no commands",
        "The container runs, but no command could be run in it for some time after its start.",
        "See how it starts: `phoenix-cli shell` on the node, then `lxc-attach -n ID -- systemctl --failed`.",
    ),
    code(
        "features::script",
        "a script cannot be made",
        "The feature's content cannot be put into a script, for example because a secret it refers to cannot be had.",
        "The cause is in the message; for a secret, see `secrets::unavailable`.",
    ),
    code(
        "features::unreadable",
        "a feature's content cannot be read",
        "What was rendered for the feature cannot be read back. This is a defect of Phoenix.",
        "Please report it with the feature.",
    ),
    code(
        "firewall::busy",
        "another site's change of the firewall is under way",
        "The sites of a node share its firewall, and each change waits to be confirmed before the next one begins. \
         Another site's keeps waiting.",
        "End the other run, or wait for it; after a minute the node takes its change back. Then `phoenix-cli apply`.",
    ),
    code(
        "firewall::failed",
        "the firewall's files cannot be written",
        "The command that writes the files below `/etc/pve` failed on the node. Without a quorum the cluster's files are \
         read-only.",
        "On the node: `systemctl status pve-cluster` and `pvecm status`; then `phoenix-cli apply`.",
    ),
    code(
        "firewall::modified",
        "somebody else changed the firewall",
        "A file is not what the plan was made of. Nothing was written, so that no rule of anybody is lost.",
        "`phoenix-cli plan` shows what is there now, and what is to be done.",
    ),
    code(
        "firewall::no-ssh",
        "the firewall needs ssh to the node",
        "The rules of a guest are replaced as one set, in one write of its file. Proxmox VE's API changes one rule at a \
         time, with everything in between in force.",
        "Declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"; or remove `firewall` and look after it yourself.",
    ),
    code(
        "firewall::not-in-force",
        "the node does not put the rules in force",
        "The files are written, but 20 seconds later `pve-firewall status` still says that something is pending, or that \
         the service does not run. The old files were put back.",
        "On the node: `systemctl status pve-firewall` and `pve-firewall compile`.",
    ),
    code(
        "firewall::unread",
        "a firewall file cannot be read",
        "A file of the firewall is there and could not be read as text, so it cannot be changed without loss.",
        "Look at it on the node, and save it as UTF-8.",
    ),
    code(
        "firewall::way-cut",
        "a new connection does not get through the new rules",
        "After each change Phoenix makes a new connection to the node's ssh and to its API, as it will have to next time. \
         None got through, or the node was not told in time, so the old rules came back: the node sees to that by itself, \
         a minute after the change.",
        "Name the networks that manage the node in `firewall.management`, and see with `phoenix-cli doctor` whether the \
         node can be reached at all.",
    ),
    code(
        "firewall::would-cut",
        "a rule of somebody else would keep Phoenix out",
        "A rule that Phoenix did not make stands before those that let it in. It is not moved, since it is not Phoenix' \
         own; and nothing is done that would cut the way to the node.",
        "Move that rule below Phoenix' rules, narrow it, or switch it off: in Proxmox VE's pages, Firewall of the node or of \
         the datacenter.",
    ),
    code(
        "guest::refused",
        "a program in a container failed",
        "What looks after a part of the workshop in its container (the authority, the certificates) did not do what it was \
         asked for. What it said last is shown.",
        "Look inside with `phoenix-cli shell NAME`, mend what it names, then `phoenix-cli apply`.",
    ),
    code(
        "guest::unknown",
        "no such container",
        "No container of the site, or more than one, is meant by that name.",
        "Give a container's name, its address (`container.notes`) or its id.",
    ),
    code(
        "history::journal",
        "no such run, or its journal cannot be read",
        "The run named has no journal below `.phoenix/runs` of this site, or the file cannot be read.",
        "`phoenix-cli history` lists the runs.",
    ),
    code(
        "hypervisor::another-site",
        "the node's certificate is another site's",
        "A node shows one certificate, and another site of Phoenix' looks after it (`/etc/phoenix/hypervisor.json` on the \
         node says which).",
        "Remove `hypervisor.certificate` from one of the two blueprints, and apply that one first.",
    ),
    code(
        "hypervisor::not-shown",
        "the node's API shows another certificate",
        "The certificate lies on the node, and who asks its API is shown another one: `pvenode cert set` failed, or pveproxy did \
         not start anew.",
        "On the node, `journalctl -u phoenix-pveproxy` says why. Mend that, then `phoenix-cli apply`.",
    ),
    code(
        "hypervisor::refused",
        "something could not be done on the node",
        "A command on the node itself (not in a guest) failed. What it said last is shown.",
        "Look there with `ssh`, mend what it names, then `phoenix-cli apply`. `pvenode cert info` shows what the node's API \
         shows.",
    ),
    code(
        "init::exists",
        "something is there already",
        "`init` never writes over files.",
        "Choose an empty folder: `phoenix-cli init --site my-workshop`.",
    ),
    code(
        "init::name",
        "a name that cannot be",
        "The site's name becomes part of names on the node and in DNS: at most 40 small letters, digits and hyphens, and no \
         hyphen at either end.",
        "Choose such a name, e.g. `--name my-workshop`.",
    ),
    code(
        "init::write",
        "a file cannot be written",
        "The site's folder is not writable for you, or the disk is full.",
        "Choose another folder with `--site DIR`.",
    ),
    code(
        "inventory::unread",
        "something could not be read",
        "A part of the inventory could not be read. Phoenix plans with the rest and says so.",
        "The message says which part and why, most often a privilege the token lacks or ssh that does not work.",
    ),
    code(
        "lab::failed",
        "the lab cannot be started, shown or removed",
        "A program, port or permission the lab needs is not there. A port that is taken is named, with the process that has \
         it.",
        "Follow the hint. For ports: `phoenix-cli lab up --api-port 18006 --ssh-port 18022 --https-port 18443`. To start \
         afresh: `phoenix-cli lab down`, then `phoenix-cli lab up`.",
    ),
    code(
        "lab::fingerprint",
        "the lab's record is damaged",
        "`node.json` in the lab's folder does not hold a fingerprint.",
        "Start afresh: `phoenix-cli lab down`, then `phoenix-cli lab up`.",
    ),
    code(
        "lab::known-hosts",
        "the lab's host key cannot be noted",
        "The file `known_hosts` in the lab's folder cannot be written.",
        "Use the same user that started the lab.",
    ),
    code(
        "lab::no-vlan",
        "no VLANs in the lab",
        "A network of the site has a `vlan`; the lab's bridge has none.",
        "Take `vlan` out for the lab.",
    ),
    code(
        "lab::not-running",
        "the lab does not run",
        "The site's target is its lab, and none was started for this folder, or it was removed.",
        "Start it: `phoenix-cli lab up`.",
    ),
    code(
        "lab::shell",
        "the lab's shell cannot be opened",
        "The program that enters the lab's node could not be started.",
        "`phoenix-cli lab status` shows whether the lab runs. Real labs need root.",
    ),
    code(
        "lab::simulated",
        "nothing runs in a simulated lab",
        "In the simulated runtime, guests are records. There is no shell, and no command to run.",
        "As root on Debian: `phoenix-cli lab down`, then `phoenix-cli lab up`, for real containers.",
    ),
    code(
        "lab::token",
        "the lab's token cannot be read",
        "The file with the lab's API token is only readable for the user that started the lab.",
        "Use the same user, or start the lab again.",
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
        "lock::unreachable",
        "the node cannot be reached for the lock",
        "The lock is taken on the node over ssh, and that connection failed.",
        "`phoenix-cli doctor` tries each hop.",
    ),
    code(
        "logs::failed",
        "the journal cannot be read",
        "`journalctl` in the container ended with an error, which is shown.",
        "Is the unit's name right? `phoenix-cli exec GUEST -- systemctl list-units --type service`.",
    ),
    code(
        "managers::contended",
        "somebody else keeps changing a container",
        "Phoenix writes with the digest of what it read, so it never overwrites a change it has not seen. Somebody was \
         quicker each time.",
        "Find out who changes it (the node's task list tells), then `phoenix-cli apply`.",
    ),
    code(
        "managers::description-full",
        "the description is full",
        "Phoenix keeps its mark in the container's description, which Proxmox VE limits to 8 KiB.",
        "Shorten the container's `description`, or spread its services over more containers.",
    ),
    code(
        "managers::does-not-run",
        "the container does not run",
        "It was started, and is not running.",
        "On the node: `pct start ID --debug` shows why. `phoenix-cli shell` gets there.",
    ),
    code(
        "managers::guest-gone",
        "a container went away during the run",
        "It was there when the plan was made, and is not any more.",
        "Run `phoenix-cli plan` to see what is there now.",
    ),
    code(
        "managers::mark-unreadable",
        "the mark cannot be read",
        "The fenced block in the container's description that makes it Phoenix' own was edited by hand, or comes from a \
         newer version.",
        "Restore the block as it was (the node keeps no history of it; another container of the site shows the form), or \
         remove the container yourself.",
    ),
    code(
        "managers::not-ours",
        "not made by this site",
        "The container does not carry the mark of this site. Phoenix never changes what it did not make.",
        "Run `phoenix-cli plan`. Give your container another `id`, or remove the other one yourself.",
    ),
    code(
        "phoenix::catalog",
        "a defect of Phoenix",
        "The features that come with the binary cannot be read.",
        "Please report it; a freshly built binary helps if this one is damaged.",
    ),
    code(
        "phoenix::log-file",
        "a file to tell in cannot be made",
        "The file that `--log` or `--record` names cannot be written.",
        "Name one in a folder that is there and yours.",
    ),
    code(
        "phoenix::runtime",
        "no threads",
        "The system does not let the process start its threads.",
        "See the limits with `ulimit -a`.",
    ),
    code(
        "pki::authority",
        "the authority cannot be used",
        "The workshop's certificate authority in `.phoenix/secrets/authority` is incomplete, readable for others, or was \
         made for another domain. It is never made anew by itself, because every client would have to trust it anew.",
        "Follow the hint: `chmod` for rights; for missing files, put them back from your backup.",
    ),
    code(
        "pki::issue",
        "a certificate cannot be issued",
        "The authority may only certify names below the site's domain and addresses in its networks.",
        "Use a name that ends in the site's domain.",
    ),
    code(
        "pki::root-unreadable",
        "the root cannot be read",
        "The workshop's root certificate is not a certificate any more.",
        "Put `root.crt` back from your backup of `.phoenix/secrets/authority`.",
    ),
    code(
        "plan::circle",
        "steps wait for each other",
        "What has to be done for one thing needs what has to be done for another, and that needs the first: nothing of it can \
         begin. The message names all of them.",
        "Apply a part of it first, with `--target`, or remove one of the `needs` among them.",
    ),
    code(
        "plan::copies",
        "two containers with one mark",
        "Somebody cloned a container that Phoenix made, and the clone carries its mark. Which of the two is meant cannot be \
         known, so neither is touched.",
        "Remove the block that begins with ```` ```phoenix ```` from the copy's description.",
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
        "plan::id-taken",
        "an id is somebody else's",
        "A guest with this id exists that this site did not make, perhaps another site's. It is not touched.",
        "Give your container another `id`, or remove that guest yourself.",
    ),
    code(
        "plan::is-template",
        "the container was made a template",
        "A template cannot run, and cannot be turned back into a container.",
        "Remove the block that begins with ```` ```phoenix ```` from its description, and give your container another `id`.",
    ),
    code(
        "plan::mount-source",
        "a mount point would show something else",
        "Volumes hold data, so Phoenix does not swap them in place.",
        "Take the mount point out of the blueprint, apply, then put it in again: the old volume is kept as unused.",
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
        "plan::no-storage",
        "no storage for root disks",
        "No active storage of the node holds root disks (content `rootdir`), and the blueprint names none.",
        "Name a storage in `disk`, or allow `rootdir` on one: Datacenter → Storage → Content.",
    ),
    code(
        "plan::no-such-target",
        "nothing of that name",
        "`--target` names nothing of the site.",
        "`phoenix-cli graph` shows all addresses.",
    ),
    code(
        "plan::no-template",
        "no such template on the node",
        "Containers are made from templates that are on the node, and the declared one is not there.",
        "On the node: `pveam update`, `pveam available --section system`, `pveam download local FILE`.",
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
        "plan::stale",
        "the world has changed since the plan",
        "A saved plan is only carried out when every guest it relies on is still as it was. The message names those that \
         changed.",
        "Make it again: `phoenix-cli plan --out FILE`.",
    ),
    code(
        "plan::storage-moves",
        "a disk would move to another storage",
        "Moving a root disk to another storage is not done by Phoenix yet.",
        "Stop the container and move it on the node: `pct move-volume ID rootfs STORAGE`. Then plan again.",
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
        "plan::work-unwritable",
        "a step that cannot be written down",
        "What is to be done for a resource could not be put into the plan.",
        "This is a defect of Phoenix: please report it with the blueprint.",
    ),
    code(
        "probe::closed",
        "a connection through the gateway is closed at once",
        "The gateway takes the connection and has nobody to pass it on to: the service behind it does not listen.",
        "Look at the service behind: `phoenix-cli exec NAME -- ss -ltn`.",
    ),
    code(
        "probe::http",
        "no HTTP answer",
        "The connection stands, but what comes over it is no complete HTTP answer.",
        "See whether the service really speaks HTTP (or HTTPS: `protocol`) on its `port`: `phoenix-cli exec NAME -- ss -ltnp`.",
    ),
    code("probe::name", "no host name", "The service's name cannot be a host name.", "Rename the service."),
    code(
        "probe::simulated",
        "a simulated guest does not run",
        "In the simulated lab, the probe only looks whether the guests on the service's way are recorded as running.",
        "`phoenix-cli apply` starts it.",
    ),
    code(
        "probe::slow",
        "no answer in time",
        "The service, or the gateway before it, accepted the connection and did not answer.",
        "`phoenix-cli status`, then look at the service: `phoenix-cli exec NAME -- journalctl -n 50`.",
    ),
    code(
        "probe::status",
        "another HTTP status than expected",
        "The service answers, with a status that means failure or is not the declared one. 502 and 504 come from the gateway: \
         what is behind it does not answer.",
        "Look at the service behind: `phoenix-cli exec NAME -- ss -ltn`. If the answer is as it should be, set `path` or \
         `status` under the service.",
    ),
    code(
        "probe::tcp",
        "no TCP connection",
        "Nothing listens there, or something on the way drops the packets.",
        "See whether the container is up (`phoenix-cli status`), whether the service listens on its `port` on all addresses, and \
         whether a firewall stands in between.",
    ),
    code(
        "probe::tls",
        "no TLS connection",
        "The certificate is not one of the workshop's authority, is not for this name, or has ended.",
        "`phoenix-cli certs` shows what is in place and until when; `phoenix-cli apply` renews what is due.",
    ),
    code(
        "proxmox::already-exists",
        "it exists already",
        "The node has something of this name or id that was not there when the plan was made.",
        "Plan again: `phoenix-cli plan`.",
    ),
    code(
        "proxmox::answer-lost",
        "the answer got lost",
        "The request was sent, and the connection broke before its answer. It may have taken effect, so it is not sent \
         again blindly.",
        "Run `phoenix-cli apply` again: it looks first at what is there.",
    ),
    code(
        "proxmox::answer-unreadable",
        "not an answer of Proxmox VE",
        "What answered does not speak the API: often a proxy, a login page, or another program on that port.",
        "Check `endpoint`: `https://NODE:8006`.",
    ),
    code(
        "proxmox::ca-file",
        "the authority's file cannot be read",
        "The file under `target.proxmox.ca-file` is missing or not readable.",
        "Put it into the site's folder; on the node it is `/etc/pve/pve-root-ca.pem`.",
    ),
    code(
        "proxmox::certificate",
        "the node has another certificate",
        "The node's certificate is not vouched for, or does not have the declared fingerprint. It may have been renewed, or \
         you are not talking to your node.",
        "On the node itself, `pvenode cert info` shows the fingerprint. If it is the one the hint shows, declare it. A \
         certificate of the workshop is taken, too, if it is for the node's name in the blueprint (`hypervisor.hostname`, \
         `pve` by default): to rename the node, give it its own certificate back first (`pvenode cert delete --restart 1`).",
    ),
    code(
        "proxmox::fingerprint",
        "no fingerprint",
        "The fingerprint declared is not 32 pairs of hexadecimal digits.",
        "Copy the SHA-256 one that `pvenode cert info` shows.",
    ),
    code(
        "proxmox::invalid-parameters",
        "the node refuses a value",
        "The node does not accept a parameter; its own words are shown.",
        "Correct the key of the blueprint that the words are about.",
    ),
    code(
        "proxmox::locked",
        "the guest is locked",
        "Another task (a backup, a snapshot, another person) holds the guest, and Phoenix has waited for it as long as it may; or a lock stands in its configuration that no task works under any more, and nobody will take it away.",
        "See the node's task list. A lock that a dead task left goes with `pct unlock ID`, one that `pct mount` left with `pct unmount ID`.",
    ),
    code(
        "proxmox::modified",
        "somebody changed it meanwhile",
        "The configuration is no longer the one the plan was made against.",
        "Plan again: `phoenix-cli plan`.",
    ),
    code(
        "proxmox::no-node",
        "it is not clear which node answers",
        "The cluster's list names no node the API could be on.",
        "Set `target.proxmox.node`.",
    ),
    code(
        "proxmox::no-space",
        "no space",
        "The storage, or the node's own disk, is full.",
        "`pvesm status` on the node shows what is free.",
    ),
    code(
        "proxmox::no-such-node",
        "no such node",
        "The node named does not exist or has another name.",
        "`pvecm nodes` (or `hostname` on a single node) shows the names.",
    ),
    code(
        "proxmox::no-such-storage",
        "no such storage",
        "The storage named in `disk` or a mount point does not exist on that node.",
        "`pvesm status` on the node lists them.",
    ),
    code(
        "proxmox::node-unreachable",
        "one node cannot reach another",
        "The node that answers could not hand the request to the node it is for.",
        "`pvecm status` on the node shows the cluster.",
    ),
    code(
        "proxmox::not-found",
        "it does not exist",
        "The node knows nothing of that name. Something was removed while the run was going on.",
        "Plan again: `phoenix-cli plan`.",
    ),
    code(
        "proxmox::options",
        "the connection cannot be set up",
        "The endpoint or the trust declared for the node cannot be used.",
        "Check `endpoint`, `fingerprint` and `ca-file` under `target.proxmox`.",
    ),
    code(
        "proxmox::pct-set",
        "`pct set` failed on the node",
        "Some settings only root may make, so they are made with Proxmox VE's own command on the node. It refused; its words \
         are shown.",
        "Correct the key of the blueprint that the words are about, then `phoenix-cli apply`.",
    ),
    code(
        "proxmox::permission-denied",
        "the token lacks a privilege",
        "The token, or the user it belongs to, may not do this. A token never has more than its user.",
        "Give the privilege that the message names, on the path it names, to both. `phoenix-cli doctor` lists what lacks.",
    ),
    code(
        "proxmox::protected",
        "the node's protection is on",
        "The container's `protection` is set on the node.",
        "Set `\"protected\": false`, apply, then destroy it.",
    ),
    code(
        "proxmox::refused",
        "the node refused",
        "The node answered with an error that fits no other code; its own words are shown.",
        "Read the node's words; its task list and `journalctl -u pvedaemon` there say more.",
    ),
    code(
        "proxmox::root-only",
        "only for root@pam",
        "Proxmox VE reserves this for `root@pam` itself; no token may do it, not even root's.",
        "Declare `ssh` under `target.proxmox`, so that it can be done on the node.",
    ),
    code(
        "proxmox::task-failed",
        "a task failed on the node",
        "The node began the task, and it ended with an error. The end of its log is shown.",
        "The whole log, on the node: `pvenode task log UPID`.",
    ),
    code(
        "proxmox::task-lost",
        "a task's end is not known",
        "The task was begun, and the node could not be asked any more how it ended.",
        "Run `phoenix-cli apply` again: it looks at what is there.",
    ),
    code(
        "proxmox::task-slow",
        "a task takes too long",
        "The task has not ended within its limit. It was not cut off, and may still run.",
        "On the node: `pvenode task status UPID`. When it has ended: `phoenix-cli apply`.",
    ),
    code(
        "proxmox::token",
        "the token is incomplete",
        "A token is one text of two parts, `user@realm!name=secret`.",
        "Join both parts that Proxmox VE showed when the token was made. The secret is shown only once; if it is lost, make \
         a new token.",
    ),
    code(
        "proxmox::unauthorized",
        "the token is not accepted",
        "The node does not know the token, its secret is wrong, or it has expired.",
        "Check the full name (`user@realm!name`), the secret and the expiry.",
    ),
    code(
        "proxmox::unimplemented",
        "the node does not know the call",
        "This version of Proxmox VE does not have the call.",
        "`pveversion` on the node shows the version; Phoenix is made for 8 and 9.",
    ),
    code(
        "proxmox::unreachable",
        "the node cannot be reached",
        "No connection to the API could be made, and it was tried again for a minute. Nothing was sent.",
        "Is the node up, is the address right, is port 8006 open from here? `phoenix-cli doctor` tries each hop.",
    ),
    code(
        "secrets::not-made",
        "a secret that is not made yet",
        "A generated secret is made when it is first used, by `apply`. `secrets show` makes none.",
        "Run `phoenix-cli apply`, then look again.",
    ),
    code(
        "secrets::not-shown",
        "a secret is not shown there",
        "Output that is no terminal may be kept somewhere, and JSON is; a secret does not go there by chance.",
        "Run it on a terminal, or say that it is meant: `phoenix-cli secrets show NAME --reveal`.",
    ),
    code(
        "secrets::unavailable",
        "a secret cannot be had",
        "A secret reference of the blueprint leads nowhere: the environment variable is not set, the file is missing or \
         readable for others, or the command failed.",
        "Follow the hint, e.g. `export NAME=…` or `chmod 600 FILE`.",
    ),
    code(
        "secrets::unknown",
        "no such secret",
        "No part of the blueprint refers to a secret of that name.",
        "`phoenix-cli secrets list` has them all.",
    ),
    code(
        "secrets::weak",
        "not a passphrase",
        "A passphrase that seals keys is one line of twelve characters or more.",
        "Take a longer one, for example six words by chance.",
    ),
    code(
        "site::folder",
        "the site's folder cannot be used",
        "The path given with `--site` cannot be made absolute, most often because the current folder was removed.",
        "Change into a folder that exists, or give an absolute path.",
    ),
    code(
        "transport::failed",
        "a command could not be run",
        "The connection over which commands are run on the node or in a container failed, or the command took longer than \
         its limit.",
        "`phoenix-cli doctor` tries each hop; try the same `ssh` by hand.",
    ),
    code(
        "transport::no-commands",
        "no way to run commands on the node",
        "What happens inside containers is done from the node over ssh, and the site declares none.",
        "Declare `\"ssh\": \"root@10.0.0.13\"` under `target.proxmox`.",
    ),
    code(
        "transport::ssh",
        "ssh cannot be started",
        "Phoenix uses the system's OpenSSH client.",
        "Install it: `apt-get install openssh-client`.",
    ),
    code(
        "wire::path",
        "a path that cannot work",
        "Each file is fine, and what follows from them is wired, but a request could not get through: the message names \
         the service and the hop, as `phoenix-cli trace` would find it once it were built, or the programs whose versions \
         are known not to work together.",
        "Follow the hint; `phoenix-cli explain service.NAME` shows the way as it was worked out.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_explained() {
        for list in [CODES, inside::CODES] {
            assert!(list.windows(2).all(|pair| pair[0].code < pair[1].code), "not in order");
        }
        for info in all() {
            assert!(blueprint::codes::find(info.code).is_none(), "{} is a diagnostic's", info.code);
            assert!(info.explanation.ends_with('.') && info.remedy.ends_with('.'), "{}", info.code);
        }
        let known = find("lock::unreachable").expect("a code of a command");
        assert_eq!(known.code, "lock::unreachable");
        assert!(find(blueprint::codes::SYNTAX).is_some(), "a code of a blueprint");
        assert!(find("lock::").is_none() && find("").is_none());
    }
}
