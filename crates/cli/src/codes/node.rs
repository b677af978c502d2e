//! The codes of the node: its API, the commands on it, its firewall, and itself, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
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
        "Declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"; or remove `firewall` and look after it \
         yourself.",
    ),
    code(
        "firewall::no-such-file",
        "no file of the firewall",
        "A plan names a file that is none of Proxmox VE's firewall. Nothing was written.",
        "Make the plan again: `phoenix-cli plan --out FILE`.",
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
        "hypervisor::another-site",
        "the node's certificate is another site's",
        "A node shows one certificate, and another site of Phoenix' looks after it (`/etc/phoenix/hypervisor.json` on the \
         node says which).",
        "Remove `hypervisor.certificate` from one of the two blueprints, and apply that one first.",
    ),
    code(
        "hypervisor::authority-elsewhere",
        "the node cannot ask the workshop's authority",
        "A node that shows a certificate of the workshop's Step CA renews it by asking inside that container, and a node runs \
         commands only in its own containers. The authority's is on another node.",
        "Move the container (`pct migrate`), or let `ssh` under `target.proxmox` lead to the node that it is on.",
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
        "network::busy",
        "another site's change of the network is under way",
        "The sites of a node share its network, and each change waits to be confirmed before the next one begins. Another site's keeps waiting.",
        "End the other run, or wait for it; after two minutes the node takes its change back. Then `phoenix-cli apply`.",
    ),
    code(
        "network::elsewhere",
        "a link is configured in another file",
        "`/etc/network/interfaces` sources other files, and this link is in one of them. Phoenix changes only the one file, so that nobody else's is lost.",
        "Move the link's lines to `/etc/network/interfaces`, or do not declare it.",
    ),
    code(
        "network::failed",
        "the network's file cannot be written",
        "The command that writes `/etc/network/interfaces` failed on the node. The old file is in force.",
        "On the node: `ifreload -a -s` says what is wrong with the file, `df /` whether there is room. Then `phoenix-cli apply`.",
    ),
    code(
        "network::in-the-way",
        "something that is not declared cannot be beside what is",
        "The file has a link that the blueprint does not declare, and that has the same address, the same card or a router of its own. Phoenix does not change what is not declared.",
        "Declare that link under `hypervisor.network`, too, or take it out of `/etc/network/interfaces`.",
    ),
    code(
        "network::in-use",
        "a bridge that guests are on",
        "A bridge that was made for the site is not declared any more, and guests that stay are on it: they would be cut off.",
        "Move them to another bridge first, or declare it again.",
    ),
    code(
        "network::modified",
        "somebody else changed the network",
        "The link is not what the plan was made of. Nothing was written, so that nothing of anybody is lost.",
        "`phoenix-cli plan` shows what is there now, and what is to be done.",
    ),
    code(
        "network::no-ifupdown",
        "the node's network is not of ifupdown",
        "Proxmox VE keeps its network in `/etc/network/interfaces`, and ifupdown2 brings that into force. This node has no such file, or neither `ifreload` nor `ifup`.",
        "On the node: `apt-get install ifupdown2`, and move what netplan or systemd-networkd has there.",
    ),
    code(
        "network::no-link",
        "a link that the node does not have",
        "A bridge, bond or VLAN is to be of a link that is neither declared nor there. The hint lists the cards that there are.",
        "Correct the name under `hypervisor.network`. With `mac:BC:24:11:00:00:01` a card is found whatever the kernel calls it.",
    ),
    code(
        "network::no-nft",
        "the node cannot let an inner network out",
        "`nat` is a rule of nftables, and the node has no `nft`.",
        "On the node: `apt-get install nftables`.",
    ),
    code(
        "network::not-in-force",
        "the node's links are not as the file says",
        "The file was brought into force without an error, and 20 seconds later a link is not there, is off, or lacks its address. The old network was put back.",
        "The message says what is missing. Is the cable in, does the other end take part in the bond? On the node: `journalctl -b -u networking`.",
    ),
    code(
        "network::not-pinned",
        "the names of cards could not be kept",
        "The network is in force. A file below `/etc/systemd/network` that has a card keep its name could not be written, or not be put into what the node starts from.",
        "On the node: `df / /boot`; then `phoenix-cli apply`.",
    ),
    code(
        "network::refused",
        "the node cannot bring the network into force",
        "`ifreload -a` (or `ifup -a`) refused the new file, as its words say. The old network was put back at once.",
        "Correct `hypervisor.network`; or what else is wrong in the file, on the node: `ifreload -a -s`.",
    ),
    code(
        "network::staged",
        "changes of the network wait in Proxmox VE's pages",
        "Somebody changed the network in the web interface, and did not apply it: that is kept in `/etc/network/interfaces.new`. Applied later, it would undo what Phoenix does.",
        "Apply or revert it: the node → System → Network.",
    ),
    code(
        "network::unseen",
        "the node's network is not known",
        "What the node's links are could not be read, so nothing is concluded from it. It takes ssh to the node.",
        "Declare `ssh` under `target.proxmox`; `phoenix-cli doctor` tries every hop.",
    ),
    code(
        "network::way-cut",
        "a new connection does not get through the new network",
        "After each change Phoenix makes a new connection to the node's ssh and to its API, as it will have to next time. None got through, or the node was not told in time, so the old network came back: the node sees to that by itself, within 90 seconds, also when it is started anew.",
        "Is the node still reached at the address in `target`, through the same card? Correct `hypervisor.network`, then `phoenix-cli apply`.",
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
        "On the node itself, `pvenode cert info` shows the fingerprint. If it is the one the hint shows, declare it. One that \
         Phoenix put there (`hypervisor.certificate`) need not be declared: Phoenix asks the node over ssh which one that is. \
         Where it is refused all the same, that did not work: `phoenix-cli doctor` tries ssh. Whoever vouches for a \
         certificate, also the workshop's own authority: it is not believed for that.",
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
        "Another task (a backup, a snapshot, another person) holds the guest, and Phoenix has waited for it as \
         long as it may; or a lock stands in its configuration that no task works under any more, and nobody will \
         take it away.",
        "See the node's task list. A lock that a dead task left goes with `pct unlock ID`, one that `pct mount` \
         left with `pct unmount ID`.",
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
        "Give the privilege that the message names, on the path it names, to both. `phoenix-cli doctor` lists what \
         lacks.",
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
        "proxmox::wide-token",
        "the token may do more than the site needs",
        "Nothing fails for it. But whoever gets hold of the token may do with it all that it may do: with a role on `/`, to \
         every guest of the node.",
        "`phoenix-cli doctor --print-role` prints the commands that make one of exactly what this blueprint needs, its \
         containers' pool and storages. Use that one, and remove the other: `pveum user token remove USER TOKEN`.",
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
        "transport::no-node",
        "no way to run commands on another node",
        "Commands run on the node that a guest is on: on the one that ssh leads to, and from there by ssh on the others, as \
         Proxmox VE's own tools do. That node is offline, or is none of the cluster, or the cluster has no address for it, or \
         the node that ssh leads to does not tell its name.",
        "The message says which; the hint is the next command.",
    ),
    code(
        "transport::ssh",
        "ssh cannot be started",
        "Phoenix uses the system's OpenSSH client.",
        "Install it: `apt-get install openssh-client`.",
    ),
];
