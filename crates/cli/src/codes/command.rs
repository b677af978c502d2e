//! The codes of what is asked of a command, of the site's folder and of its blueprint, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "adopt::anothers",
        "it is somebody else's",
        "The guest carries the mark of another site, or of another guest of this one. `adopt` takes nobody's guest \
         away.",
        "Remove the block that begins with ```` ```phoenix ```` from its description if nobody looks after it any \
         more, and adopt it then.",
    ),
    code(
        "adopt::cannot-be",
        "it cannot become that",
        "What has the declared id is a virtual machine, a template, on a node that is offline, or cannot be read.",
        "Give the container another `id`, or see with `phoenix-cli doctor` why it cannot be read.",
    ),
    code(
        "adopt::not-declared",
        "the blueprint declares no such guest",
        "Only what a blueprint declares, with the id that is there, can be taken over: otherwise the next plan \
         would destroy it.",
        "Declare it first, with its `id`. A pattern names nothing here.",
    ),
    code(
        "adopt::not-there",
        "there is no guest with that id",
        "What is to be taken over has another id than the blueprint declares, or does not exist.",
        "Give it the id of the guest that is there; or let `phoenix-cli up` make a new one.",
    ),
    code(
        "adopt::there-already",
        "the site has that guest already",
        "Another guest with this site's mark is what the blueprint declares by that name, and it can only be one.",
        "Give the blueprint the id of the one that is there, or destroy that one first.",
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
        "bootstrap::login",
        "root does not get in",
        "The password or key that was given does not lead in, or the site's own key is not taken though it was put there.",
        "Try it by hand: `ssh root@ADDRESS`. Where root may not log in with a password, put a key there from the node's console, \
         and name it: `--identity FILE`.",
    ),
    code(
        "bootstrap::no-proxmox",
        "there is no Proxmox VE",
        "The machine answers over ssh, and has no `pveum`, or its cluster file system is not mounted.",
        "On the node: `pveversion`, and `systemctl status pve-cluster`.",
    ),
    code(
        "bootstrap::not-compared",
        "nobody said that the node is the node",
        "What a machine shows over a network may be shown by somebody in between. So a person compares it with what the console \
         shows, once; without a person, it has to be named.",
        "Compare both on the node's console, then give them: `--host-key SHA256:… --fingerprint AA:BB:…`.",
    ),
    code(
        "bootstrap::other-certificate",
        "the API shows another certificate",
        "The certificate that the API shows is not the one that was named, or not the one that the node itself has. Nothing was made.",
        "Compare it on the node: `pvenode cert info`. If `--port` or `--api-port` lead through a router, they may lead to two machines.",
    ),
    code(
        "bootstrap::other-key",
        "the node shows another ssh key",
        "The key that was named is not the one that is shown. Nothing was sent.",
        "Look at it on the node's console: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`.",
    ),
    code(
        "bootstrap::target-declared",
        "the site has another target",
        "A file declares what the site is built on, and that is not this node.",
        "If this node is to take its place: `--replace-target`. Nothing else of the file changes. Else use another folder: \
         `--site DIR`.",
    ),
    code(
        "bootstrap::token",
        "no token could be made",
        "One of the commands that make roles, a user and a token failed on the node. What was made before stays.",
        "Mend what the message says; then the same command goes on.",
    ),
    code(
        "bootstrap::unreachable",
        "nobody answers there",
        "No ssh key, or no certificate, is shown at the address and port.",
        "Is the address right, is the node up, are ports 22 and 8006 open from here? Others: `--port`, `--api-port`.",
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
        "help::unknown",
        "no command and no page of that name",
        "`help` shows commands, and pages of the book.",
        "`phoenix-cli help` lists the commands, `phoenix-cli help topics` the pages.",
    ),
    code(
        "history::journal",
        "no such run, or its journal cannot be read",
        "The run named has no journal below `.phoenix/runs` of this site, or the file cannot be read.",
        "`phoenix-cli history` lists the runs.",
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
        "man::write",
        "a manual page cannot be written",
        "The folder is not writable for you, or the disk is full.",
        "Choose another folder: `phoenix-cli man --to DIR`.",
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
        "sealed::another",
        "a sealed copy that is not from here",
        "The file is there, and was not sealed or opened from this folder: somebody else has sealed it, or put it there. It may \
         have what this folder does not, so it is not written over by itself.",
        "`phoenix-cli secrets open` compares it with what is here, and from then on it is a known one. To write over it all the \
         same: `phoenix-cli secrets seal --replace`.",
    ),
    code(
        "sealed::damaged",
        "a sealed copy that cannot be opened",
        "The file was changed after it was sealed, a part of it is missing, or it is no sealed copy at all. Nothing was put back.",
        "Take an earlier copy, for example from version control.",
    ),
    code(
        "sealed::declared",
        "a passphrase for what is sealed to keys",
        "The blueprint declares this file to be sealed to public keys (`site.sealed`). Sealed with a passphrase, it would be \
         replaced by the next run that changes a secret.",
        "Leave `--passphrase` out, or give another file with `--out`.",
    ),
    code(
        "sealed::differs",
        "what is here differs from the sealed copy",
        "`secrets open` puts back what is missing and writes over nothing. The files that are named are here with another \
         content; nothing was put back.",
        "Find out which is the right one. To have the copy's, move `.phoenix/secrets` away and open it again.",
    ),
    code(
        "sealed::not-back",
        "a secret cannot be put back",
        "A file below `.phoenix/secrets` could not be written: the disk is full, or rights forbid it. What was put back already stays.",
        "Put that right, and type the same command again: it goes on.",
    ),
    code(
        "sealed::not-collected",
        "something cannot be sealed",
        "A sealed copy has all files below `.phoenix/secrets`. One of them cannot be read, is no text, or is a link.",
        "Move it elsewhere where it is none of Phoenix'; put the file itself in the place of a link.",
    ),
    code(
        "sealed::not-current",
        "no sealed copy of what is there now",
        "A secret has changed since the copy was sealed, the copy is gone, or it is one that was not sealed from this folder. What \
         is not in it is lost with this folder.",
        "`phoenix-cli secrets seal`. With `site.sealed` in the blueprint, each run that changes a secret does that.",
    ),
    code(
        "sealed::not-written",
        "the sealed copy cannot be written",
        "A secret has changed, and the copy could not be sealed again: its folder is missing or not writable, the disk is full, or \
         another process is at it. What the run did otherwise is done. The copy of before is as it was.",
        "Put that right, then `phoenix-cli secrets seal`.",
    ),
    code(
        "sealed::nothing",
        "nothing to seal",
        "There is nothing below `.phoenix/secrets` yet. The first run makes it.",
        "`phoenix-cli up`, then seal.",
    ),
    code(
        "sealed::other-site",
        "a sealed copy of another site",
        "The copy was sealed for a site of another name.",
        "Give the right folder with `--site`, or the right copy.",
    ),
    code(
        "sealed::unreadable",
        "the sealed copy cannot be read",
        "There is no such file, or its rights forbid it; or what is remembered of it beside the secrets cannot be read.",
        "Name the copy that `phoenix-cli secrets seal` or a run has written; see with `ls -l` who may read it.",
    ),
    code(
        "sealed::wrong-key",
        "this does not open the sealed copy",
        "The passphrase is another one, the private key belongs to none of the public keys that it was sealed to, or one was \
         given where the other opens it. Nothing was put back.",
        "Give the right one: `--identity FILE` for a private key, `--passphrase env:NAME` or `--passphrase file:PATH` for a \
         passphrase, which is asked for on a terminal.",
    ),
    code(
        "secrets::lost",
        "a generated secret is not here",
        "A guest was made with a generated secret that is not in `.phoenix/secrets/generated` any more. None is made in its \
         place by itself: what is kept with the last one may need it.",
        "Copy `.phoenix/secrets` from the folder that the site was last applied from, or `phoenix-cli secrets open` a sealed copy. Where \
         there is none any more: `phoenix-cli secrets rotate NAME`.",
    ),
    code(
        "secrets::not-asked",
        "a program that prints a secret was not run",
        "The command only looks, and a program may ask a person, or a device that has to be touched. Whether that secret has \
         changed is found out by who plans.",
        "`phoenix-cli plan` runs it.",
    ),
    code(
        "secrets::not-generated",
        "no generated secret",
        "`secrets rotate` makes another value of a secret that Phoenix generates; no feature uses one of that name.",
        "`phoenix-cli secrets list` has them all. Change others where they come from; the next run applies that.",
    ),
    code(
        "secrets::not-made",
        "a secret that is not made yet",
        "A generated secret is made when it is first used, by `apply`. `secrets show` makes none.",
        "Run `phoenix-cli apply`, then look again.",
    ),
    code(
        "secrets::not-set",
        "a secret cannot be given a value",
        "It is kept elsewhere than in the site's folder, what was given is no text of 1 byte to 64 KiB, or it cannot be written.",
        "Change it where `phoenix-cli secrets list` says it is.",
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
        "site::exposed",
        "others may write to the site's own folder",
        "`.phoenix` holds the authority's keys and which certificate of the node is believed. It belongs to another user, \
         and others may write there.",
        "`chmod go-w .phoenix`, by whoever it belongs to; or look after the site from a folder of your own.",
    ),
    code(
        "site::folder",
        "the site's folder cannot be used",
        "The path given with `--site` cannot be made absolute, most often because the current folder was removed.",
        "Change into a folder that exists, or give an absolute path.",
    ),
    code(
        "site::key",
        "the site's key cannot be used",
        "The file `.phoenix/secrets/site.key` makes the marks by which Phoenix knows what is its own, and the \
         codes in saved plans. It cannot be read or made, others can read it, or something else is in it.",
        "Put back a copy of it, with the mode 0600. Without one, remove it: the next `apply` makes a new one, and \
         `phoenix-cli adopt NAME` takes the guests over again.",
    ),
    code(
        "site::key-lost",
        "the site's key is not here",
        "Guests that the blueprint declares carry marks that a key of this site made, and there is none in \
         `.phoenix/secrets/site.key`. With another one, nothing there would be the site's any more.",
        "Copy `.phoenix/secrets` from the folder that the site was last applied from, or `phoenix-cli secrets open` a sealed copy. Where \
         there is none any more, `phoenix-cli adopt NAME` takes the guests over again.",
    ),
    code(
        "update::elsewhere",
        "digests of images are declared in another file",
        "`update --write` writes `image-digests.json` as a whole, and what is declared twice is an error of the blueprint.",
        "Move what is below `image-digests` into that file of the site's folder.",
    ),
    code(
        "update::failed",
        "a guest does not tell which images there are",
        "Docker in the guest is asked, which asks the registries. The error holds what it said.",
        "`phoenix-cli health` says whether Docker runs there; `phoenix-cli apply` brings what asks to where it is missing.",
    ),
    code(
        "update::unknown",
        "no stack is called so",
        "What is named is none of the site's stacks.",
        "The hint lists them.",
    ),
    code(
        "update::write",
        "the digests could not be written",
        "`image-digests.json` of the site's folder could not be written.",
        "See to it that the folder is yours, and that there is room.",
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
