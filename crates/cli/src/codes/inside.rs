//! The codes of what probes, `trace` and `health` find inside of a site, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "health::authority",
        "the certificate authority does not answer",
        "The workshop's authority was asked for its health, and did not answer as it should. Certificates that are in use \
         stay good; none is renewed until it is back.",
        "`phoenix-cli trace ca.DOMAIN` follows the way to it.",
    ),
    code(
        "health::certificate-due",
        "a certificate is due",
        "Two thirds of its life have passed, and it has not been renewed. One that Phoenix itself signs is renewed by the \
         next apply; one that its guest renews should have been by now.",
        "`phoenix-cli apply`, at best from a timer. Where the guest renews it: `phoenix-cli logs GUEST`.",
    ),
    code(
        "health::disk",
        "a disk is nearly full",
        "Nine tenths of a guest's disk, or of the number of files it can hold, are used.",
        "Find out by what with `phoenix-cli exec GUEST -- du -xh --max-depth=2 /`, or declare a larger `disk`: it grows in \
         place.",
    ),
    code(
        "health::firewall-off",
        "the firewall is not in force",
        "The blueprint declares a firewall, and the file of the guest, or of the cluster, does not switch it on, or is not \
         there. So nothing is kept out.",
        "`phoenix-cli apply` writes the files; `pve-firewall status` on the node says whether they are in force.",
    ),
    code(
        "health::late",
        "not reached in time",
        "Looking is bounded. So much else was slow that there was no time left for this.",
        "Ask for it alone: `phoenix-cli health NAME`.",
    ),
    code(
        "health::memory",
        "memory is nearly used up",
        "Hardly any of a guest's memory is left, so a program may be killed for want of it.",
        "Find out by what with `phoenix-cli exec GUEST -- ps -eo rss,args --sort=-rss`, or declare more `memory`.",
    ),
    code(
        "health::names",
        "the name server does not answer as it should",
        "The workshop's name server was asked for a name of its own, and did not answer, or with something else.",
        "`phoenix-cli trace NAME` follows the way to it and says who answered what.",
    ),
    code(
        "health::signed-for-later",
        "the authority has signed certificates that begin later",
        "What begins later is not signed any more, but step-ca did so before it was told not to. Nothing of the site asks for \
         one that begins later, so somebody did who had the key of the guest that the names are of: to have some when that \
         guest is its owner's again. They are good until what signed them ends.",
        "`phoenix-cli rotate GUEST` ends the key that asks, `phoenix-cli rotate intermediate` what signed them, and the next \
         `phoenix-cli apply` has proxies refuse them from clients. `phoenix-cli exec ca -- /usr/local/lib/phoenix/authority later` \
         lists them.",
    ),
    code(
        "health::unknown",
        "a guest cannot be looked at",
        "Commands are run in guests from the node, and this one could not be run. The guest may be well all the same.",
        "`phoenix-cli doctor` tries each hop; `phoenix-cli exec GUEST -- true` this one.",
    ),
    code(
        "health::updates",
        "security updates are not installed",
        "The guest installs Debian's security updates by itself, each night, and for a week that has not gone well: it may \
         have been off, have no way out, or have no source of packages that is Debian's security archive.",
        "`phoenix-cli exec GUEST -- /usr/local/lib/phoenix/updates run` does it now and says what is in the way. Where they \
         are not to be installed: `\"updates\": \"off\"` among the parameters of its feature `base`.",
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
        "trace::address-missing",
        "the guest does not have its address",
        "The guest runs, and no network device of it has the address that the blueprint declares.",
        "`phoenix-cli apply --target container.GUEST`; after a change by hand inside of it, restart it: `pct reboot ID` on the node.",
    ),
    code(
        "trace::address-taken",
        "somebody else answers for the address",
        "Whoever asked has another MAC address for the guest's address in its neighbour table than the declared one: two \
         machines have the same address, and packets go to either. The cause says which guest of the node has that MAC, or that \
         none has it.",
        "Give one of both another address, or stop the other one, as the hint says.",
    ),
    code(
        "trace::ca-down",
        "the certificate authority is down",
        "A certificate expired because it could not be renewed, and the guest of the workshop's authority is stopped, or \
         its unit failed.",
        "Mend the authority first; the guests then enrol again by themselves within minutes.",
    ),
    code(
        "trace::cannot-ask",
        "nothing could be asked",
        "A command could not be run where the request was to begin or to be passed on, so this hop is not known.",
        "`phoenix-cli doctor` tries the way to the node; `phoenix-cli exec GUEST -- true` the way into the guest.",
    ),
    code(
        "trace::certificate-expired",
        "a certificate has expired",
        "The certificate that is shown has ended. Phoenix renews those that it signs when it applies; others are renewed by \
         their guest.",
        "`phoenix-cli apply --again --target service.NAME` makes a new one. Put `phoenix-cli apply` into a timer.",
    ),
    code(
        "trace::certificate-key",
        "a key does not belong to its certificate",
        "In the folder of a certificate lies the key of another, or none. Whoever serves it cannot start with these files.",
        "`phoenix-cli apply --again --target service.NAME` puts both in place.",
    ),
    code(
        "trace::certificate-missing",
        "a certificate is missing",
        "The files of a certificate are not there. What was read before is served from memory until the next restart.",
        "`phoenix-cli apply --again --target service.NAME` makes a new one.",
    ),
    code(
        "trace::certificate-names",
        "a certificate is for other names",
        "In the place of a certificate lies one for other names; the cause says whose it is.",
        "`phoenix-cli apply --again --target service.NAME` puts the right one in place.",
    ),
    code(
        "trace::certificate-not-yet-valid",
        "a certificate is not valid yet",
        "Its life begins in the future. The clock of whoever issued it was ahead, or this machine's is behind.",
        "Compare `date -u` here, on the node and in the guest; set the clock, then let the certificate be made anew.",
    ),
    code(
        "trace::certificate-stale",
        "another certificate is served than is on disk",
        "The one on disk is good, and whoever serves it has not read it since it was renewed.",
        "Reload the unit that the hint names.",
    ),
    code(
        "trace::certificate-untrusted",
        "the root does not vouch for a certificate",
        "The chain that is shown does not lead to the workshop's root: it is of another authority, of an earlier root, or \
         lacks the one in between.",
        "`phoenix-cli apply --again --target service.NAME` puts one in place that holds.",
    ),
    code(
        "trace::clock",
        "a clock is off",
        "A guest's clock and this machine's differ by so much that certificates are taken for expired or not yet valid.",
        "Containers have the clock of their node: set that one (`timedectl` on the node), or this machine's.",
    ),
    code(
        "trace::connection",
        "a connection could not be made",
        "The system gave a reason that Phoenix does not know; it is shown as it is.",
        "`phoenix-cli doctor` tries the way to the node.",
    ),
    code(
        "trace::disk-full",
        "a disk is full",
        "Nothing can be written in the guest any more. Programs fail for it in many ways, not always with a clear word.",
        "Make room: `phoenix-cli exec GUEST -- du -xh --max-depth=2 /`, or declare a larger `disk` and apply.",
    ),
    code(
        "trace::dns-down",
        "the name server is down",
        "The workshop's name server does not answer: its guest is stopped, its unit failed, or it hangs; the cause says \
         which.",
        "Follow the hint. Names in `/etc/hosts` go on working meanwhile.",
    ),
    code(
        "trace::dns-missing",
        "a name is not told",
        "The blueprint has the name, and neither `/etc/hosts` of the guest nor the name server it asks knows it.",
        "`phoenix-cli apply --again --target '*@container.GUEST'` writes the names anew.",
    ),
    code(
        "trace::dns-resolver",
        "another name server is asked",
        "The guest asks a name server that is not the workshop's, and so does not know its names.",
        "Somebody changed `/etc/resolv.conf`, or the guest has not been restarted since the name server was declared: \
         `phoenix-cli apply`.",
    ),
    code(
        "trace::dns-wrong",
        "a name means something else",
        "A line of `/etc/hosts` or a name server gives another address than the blueprint; the cause says which.",
        "Remove that line, or have the records written anew, as the hint says.",
    ),
    code(
        "trace::guest-hangs",
        "a guest does not answer",
        "The container runs, and commands in it do not come to an end: it is frozen, out of memory, or its disk hangs.",
        "On the node: `pct status ID`, `dmesg`; if nothing helps, `pct reboot ID`.",
    ),
    code(
        "trace::guest-missing",
        "a guest is not there",
        "The blueprint has the container, and the node does not.",
        "`phoenix-cli apply --target container.NAME` makes it.",
    ),
    code(
        "trace::guest-off",
        "a guest is off",
        "The blueprint has it off (`\"started\": false`), so what is in it cannot answer.",
        "Take `started` out of it, and apply.",
    ),
    code(
        "trace::guest-stopped",
        "a guest is stopped",
        "The container is there and does not run.",
        "`phoenix-cli apply --target container.NAME` starts it.",
    ),
    code(
        "trace::head-too-large",
        "the head of an answer is too large",
        "The service answers with more header fields than the gateway passes, 64 KiB unless the service says otherwise: single \
         sign-on sets large cookies. The gateway refuses such an answer with 502 and says so in its log.",
        "Raise `limits.headers` of the service, and apply.",
    ),
    code(
        "trace::http-broken",
        "an answer breaks off",
        "The connection stands, and what comes over it is no answer, or ends in the middle.",
        "`phoenix-cli logs GUEST` of whom the cause names.",
    ),
    code(
        "trace::http-status",
        "an unexpected status",
        "The service answers, with a status that is not the declared one, or not below 400.",
        "If that is as it should be, declare `path` and `status` of the service.",
    ),
    code(
        "trace::link-down",
        "a guest's network device is down",
        "The guest runs, and the network device that is to have its address is switched off in it, not connected on the node's \
         side, or not there.",
        "Switch it on as the hint says; `pct reboot ID` on the node sets up all of its network anew.",
    ),
    code(
        "trace::listens-elsewhere",
        "the service listens elsewhere",
        "The service runs and listens at another address, most often at 127.0.0.1, where only its own guest reaches it.",
        "Have it listen at 0.0.0.0, or at the guest's address.",
    ),
    code(
        "trace::no-flow",
        "no flow lets it through",
        "The blueprint declares a firewall, and no flow lets this connection through, so it is dropped as declared.",
        "Declare one under `flows`, with its reason, then `phoenix-cli apply`.",
    ),
    code(
        "trace::no-route",
        "there is no way there",
        "The kernel knows no route to the address.",
        "Give the network a `gateway` in the blueprint; if it has one, see whether that is up.",
    ),
    code(
        "trace::no-such-name",
        "nothing has this name",
        "The name lies in the workshop's domain, and no service and no guest of the blueprint has it.",
        "The hint lists the names there are. A service that is not exposed has none.",
    ),
    code(
        "trace::not-outside",
        "not for those outside",
        "What the mesh exposes, and guests' own names, are told to guests alone.",
        "Trace it from a guest with `--from GUEST`; or have the gateway expose the service.",
    ),
    code(
        "trace::not-trusted",
        "a guest does not trust the root",
        "The chain holds against the workshop's root, and the guest's own list of trusted certificates does not have that \
         root.",
        "Give the container the feature `trusted-ca`, and apply.",
    ),
    code(
        "trace::port-taken",
        "a port is taken by another program",
        "The unit that should listen there cannot, because another program already does; the cause names it.",
        "End that program and start the unit, as the hint says.",
    ),
    code(
        "trace::proxy",
        "the proxy itself answers so",
        "The service answers its proxy as it should, and the proxy answers its client otherwise: its configuration is \
         not the declared one, or it has not read it.",
        "`phoenix-cli logs GUEST` of the proxy, then `phoenix-cli apply --again --target service.NAME`.",
    ),
    code(
        "trace::rate",
        "too many requests",
        "The service's `limits` let no more requests of this client through.",
        "Raise `limits.rate` or `limits.burst`, and apply.",
    ),
    code(
        "trace::refused",
        "nothing listens",
        "The guest runs, its units say that all is well, and nothing listens at the port.",
        "Does the service listen at another port than declared? The cause lists what listens.",
    ),
    code(
        "trace::renewal-failed",
        "a certificate could not be renewed",
        "The guest tried to renew its certificate, and failed for the reason that is shown.",
        "Mend that, then have it try at once, as the hint says; otherwise it does so by itself.",
    ),
    code(
        "trace::rule-drops",
        "a firewall rule keeps it out",
        "A rule of Proxmox VE's firewall, or of one inside the guest, drops or rejects the connection. No rule of Phoenix' \
         does that.",
        "Remove the rule by hand, on the node in `/etc/pve/firewall` or in the guest: `phoenix-cli apply` leaves what others wrote.",
    ),
    code(
        "trace::rule-missing",
        "a rule is missing",
        "A flow of the blueprint should let the connection through, and the firewall file of one of its ends has no rule of it.",
        "`phoenix-cli apply` puts it back.",
    ),
    code(
        "trace::service-error",
        "the service has a trouble of its own",
        "The whole way holds, and the service itself answers with a server's error.",
        "`phoenix-cli logs GUEST`.",
    ),
    code(
        "trace::service-silent",
        "the service says nothing",
        "The connection stands, and the service does not answer within seconds.",
        "`phoenix-cli logs GUEST`: it may wait for something else, such as a database.",
    ),
    code(
        "trace::service-wants-certificate",
        "a certificate is asked for",
        "Whoever answers wants a certificate to be shown, and the blueprint does not say so.",
        "Set `mutual` of the service (between it and its proxy), or `access.client-certificate` (for clients), and apply.",
    ),
    code(
        "trace::silent",
        "nobody answers",
        "Packets get no answer, although the guest runs, and no rule that drops them was found.",
        "The hint has the command that shows which rules the node has in force; there may be another firewall between.",
    ),
    code(
        "trace::site-aside",
        "the proxy put a site aside",
        "The proxy refuses the file of this service, for the reason that is shown, and serves all others.",
        "`phoenix-cli apply --again --target service.NAME` writes the file anew.",
    ),
    code(
        "trace::site-missing",
        "the proxy does not know the site",
        "The proxy runs, and serves no site of this name.",
        "`phoenix-cli apply --again --target service.NAME` writes its file anew.",
    ),
    code(
        "trace::stack-down",
        "a stack does not run",
        "A container of a stack has ended, or is not healthy by its own health check. Docker runs.",
        "`phoenix-cli exec GUEST -- docker ps -a` shows all containers; `phoenix-cli apply --again --target stack.NAME` brings the stack up \
         anew and shows the end of the log of what does not run.",
    ),
    code(
        "trace::tls",
        "no TLS can be spoken",
        "What answers at the port does not speak TLS, or breaks the handshake off for the reason that is shown.",
        "`phoenix-cli logs GUEST`: another program may listen there.",
    ),
    code(
        "trace::unit-failed",
        "a unit failed",
        "A unit that a feature keeps running failed. The line of its journal that says most is shown.",
        "`phoenix-cli logs GUEST --unit UNIT`; mend it, then `phoenix-cli apply --again --target '*@container.GUEST'`.",
    ),
    code(
        "trace::unit-missing",
        "a unit is not installed",
        "A unit that a feature keeps running is not in the guest at all: the feature has failed before it came to it, or \
         somebody has taken it away.",
        "`phoenix-cli apply --again --target '*@container.GUEST'`.",
    ),
    code(
        "trace::unit-never-ran",
        "a unit has never come up",
        "A unit that a feature keeps running is installed, and has not run since the guest started: the feature has failed \
         before it started it, or it is not started at boot.",
        "`phoenix-cli apply --again --target '*@container.GUEST'`, then `phoenix-cli logs GUEST --unit UNIT`.",
    ),
    code(
        "trace::unit-stopped",
        "a unit is stopped",
        "A unit that a feature keeps running was stopped.",
        "Start it: `phoenix-cli exec GUEST -- systemctl start UNIT`.",
    ),
    code(
        "trace::unknown",
        "no name of this workshop",
        "What was asked for is no name in the workshop's domain, no service and no container.",
        "`phoenix-cli status` shows what there is.",
    ),
    code(
        "trace::unreachable",
        "nobody has the address",
        "The guest runs, and nobody on the network answers for its address: its network device is down, has another \
         address, or hangs on another bridge.",
        "`phoenix-cli exec GUEST -- ip address`, then `phoenix-cli apply --target container.GUEST`.",
    ),
];
