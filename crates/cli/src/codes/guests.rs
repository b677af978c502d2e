//! The codes of containers, what is in them and what they are made of, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
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
        "Try again when there is a way to the internet, or use the cache of another machine: \
         `PHOENIX_ARTIFACTS=DIR`.",
    ),
    code(
        "artifacts::not-put",
        "a program could not be put into a container",
        "The container did not take it, for example because its disk is full. What it said is shown.",
        "`phoenix-cli exec NAME -- df -h` shows its space; then `phoenix-cli apply`.",
    ),
    code(
        "artifacts::old",
        "a pinned program is old",
        "A program that no Debian package brings is pinned to one version, by its checksums, so it is not repaired by \
         itself. This version was released a year ago or more, or holes in it are known.",
        "A newer Phoenix pins a newer version; its next apply puts it in place and restarts what runs it. Until then, see \
         what the hole that is named takes, and whether anybody can reach that where you are.",
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
        "certificates::bad-name",
        "no name of a certificate",
        "The name would become a path and a word of a command, so only letters, digits, `-`, `_` and `.` are taken.",
        "Run `phoenix-cli plan`: it comes from a mark that somebody has changed, or from such a plan.",
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
        "images::checksum",
        "what was fetched is another file",
        "The sum of what the address or the catalogue brought is not the one that is wanted: it was replaced, or something on the way \
         did that. The node has thrown it away.",
        "If it was replaced on purpose, write its new `sha256` into the blueprint: the error says it. The old file stays for the guests \
         that are made of it.",
    ),
    code(
        "images::file-changed",
        "a file to upload is not what it was",
        "Between the plan and its upload the file in the site's folder went away, or got another size.",
        "`phoenix-cli plan` makes the plan again.",
    ),
    code(
        "images::not-an-image",
        "no disk image",
        "The node looked into what it got, and it is no image of the format that its name ends in.",
        "Say its `format` under `images`, or name another file.",
    ),
    code(
        "images::not-there",
        "a file that was fetched is not there",
        "The node's task ended well, and the file is not in the list of its storage.",
        "On the node: `pvesm list STORAGE`, and its task log; then `phoenix-cli apply`.",
    ),
    code(
        "images::unreachable",
        "the node cannot fetch a file",
        "It is the node that downloads, with its own network and names. The error holds what its downloader said.",
        "On the node: `curl -sSI URL`. Where it cannot get there, put the file in the site's folder and use `file`: it is uploaded.",
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
        "managers::first-start",
        "what a machine is told at its first start could not be put in place, or taken away",
        "The keys of ssh and the packages of a new virtual machine are told to cloud-init by a file on its node, which goes once the \
         first start is through. A command of the node that does this failed; what it said is shown.",
        "Put right what it says, then `phoenix-cli apply`, which goes on from there.",
    ),
    code(
        "managers::ground",
        "a node could not say what it has",
        "Whether the bridges, folders and devices that are new to a guest are there is looked for on its node, over ssh, and \
         that failed. The plan goes on without it, and says so.",
        "`phoenix-cli doctor` tries each hop.",
    ),
    code(
        "managers::guest-gone",
        "a container went away during the run",
        "It was there when the plan was made, and is not any more.",
        "Run `phoenix-cli plan` to see what is there now.",
    ),
    code(
        "managers::half-made",
        "a clone was left half made",
        "Its node did not finish making it, and nothing works on it any more: the configuration has a lock that was left.",
        "The hint has the commands that remove it. Nothing of yours is in it yet.",
    ),
    code(
        "managers::loses-root",
        "a change would take a container its root",
        "A container's `rootfs` that names no volume of its own is stored by Proxmox VE as it is, and the container does not \
         start any more. Phoenix sends no such change.",
        "Look with `phoenix-cli plan` at what the container has now. A new root is had with a new container alone.",
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
        "managers::no-template",
        "a guest did not become a template",
        "The node was asked to convert it and ended without having done so. What its task said follows.",
        "On the node: `pct template ID` or `qm template ID` shows why.",
    ),
    code(
        "managers::not-moved",
        "a volume was not moved",
        "A volume is to be on another storage, and is not: it is gone, a change of it waits for a restart, or the node said that \
         it moved it and it is not there. The old volume is kept.",
        "Look at what the guest has now, as the hint says it, and apply again.",
    ),
    code(
        "managers::not-ours",
        "not made by this site",
        "The container does not carry the tag and a mark that this site's key made for it. Phoenix never changes what it did \
         not make.",
        "Run `phoenix-cli plan`. Give your container another `id`, or remove the other one yourself.",
    ),
    code(
        "managers::unsealed",
        "a mark cannot be sealed",
        "A mark is sealed with the site's key, and there is none, or the system has no random numbers.",
        "Run `phoenix-cli apply`, which makes the key.",
    ),
    code(
        "ssh::key-lost",
        "the key by which a machine is entered is not here",
        "A virtual machine with `\"enter\": \"ssh\"` is entered by a key that was made with it and lies in `.phoenix/secrets/ssh`. This \
         folder does not have it: it is another clone of the site, or the machine was made with another way in.",
        "Copy the file from the folder that the machine was made from, or `phoenix-cli secrets open`. Where the key is gone for good, only \
         a new machine can be entered: `phoenix-cli destroy NAME`, then `apply`.",
    ),
    code(
        "ssh::keys",
        "a key of a machine cannot be used",
        "A file in `.phoenix/secrets/ssh` cannot be read or written, others may read it, or it holds no key that Phoenix made.",
        "`chmod 600` it, or put back a copy; `phoenix-cli secrets open` has one where the secrets were sealed.",
    ),
    code(
        "ssh::no-keys",
        "a defect of Phoenix",
        "Somebody made a machine that is entered by ssh without a place for its keys.",
        "Please report it with the output of `phoenix-cli version`.",
    ),
];
