//! The codes of the certificate authority, and its backup, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "authority::another",
        "another root certificate is here",
        "What is on the node remembers the root certificate that it was made with, and the one in `.phoenix/secrets/authority` \
         is another. A run from here would put it in the place of the one that all clients trust.",
        "Copy `.phoenix/secrets` from the folder that the site was last applied from, or `phoenix-cli secrets open` a sealed copy. Where \
         another root is meant: `phoenix-cli up --new-authority`.",
    ),
    code(
        "authority::lost",
        "the root certificate is not here",
        "What is on the node was made with this site's root certificate, and there is none in `.phoenix/secrets/authority`: \
         the folder is a fresh clone, or lost it. None is made by itself, because all clients would have to trust it anew.",
        "Copy `.phoenix/secrets` from the folder that the site was last applied from, or `phoenix-cli secrets open` a sealed copy. Where \
         there is none any more: `phoenix-cli up --new-authority`; where the site's key is lost as well, \
         `phoenix-cli adopt NAME --new-authority`.",
    ),
    code(
        "authority::not-lost",
        "the root certificate is here",
        "`--new-authority` makes another root certificate where the one that guests were made with is lost. It is not.",
        "Leave it out. Where the root's key was taken, move `.phoenix/secrets/authority` away first.",
    ),
    code(
        "authority::not-made",
        "there is no root certificate yet",
        "The workshop's certificate authority is made by the first run that changes something, and by nothing that only looks.",
        "`phoenix-cli up` makes it.",
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
        "`phoenix-cli secrets seal` keeps a copy of all that there is of it.",
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
        "pki::authority",
        "the authority cannot be used",
        "The workshop's certificate authority in `.phoenix/secrets/authority` is incomplete, readable for others, or was \
         made for another domain. It is never made anew by itself, because every client would have to trust it anew.",
        "Follow the hint: `chmod` for rights; for missing files, put them back from your backup.",
    ),
    code(
        "pki::issue",
        "a certificate cannot be issued",
        "The authority may only certify names below the site's domain and addresses in its networks, for as long as its \
         intermediate lives; and it takes an intermediate only where it asked for it.",
        "Use a name that ends in the site's domain. Where the root's key is kept elsewhere: `phoenix-cli certs request`, there \
         `phoenix-cli certs sign`, here `phoenix-cli certs install`.",
    ),
    code(
        "pki::root-away",
        "the root's key is not here, and has to sign",
        "The root signs the certificate of what signs certificates. Its key is kept elsewhere, and another such certificate is \
         needed now: the authority's container is new, what signs ends too soon, or it is to be replaced. Nothing was begun.",
        "`phoenix-cli certs request > next.csr`; where the root's key is, `phoenix-cli certs sign next.csr > next.crt`; here \
         `phoenix-cli certs install next.crt`. Or put `root.key` back for this run.",
    ),
    code(
        "pki::root-locked",
        "the root's key has a passphrase",
        "The root has to sign something, its key was given a passphrase (`certs protect`), and nobody gave that. Nothing was begun.",
        "Run it on a terminal, where it is asked for once; unattended, `--root-passphrase file:PATH` or \
         `PHOENIX_ROOT_PASSPHRASE=file:PATH`. `phoenix-cli certs unprotect` takes it off.",
    ),
    code(
        "pki::root-passphrase",
        "the passphrase does not open the root's key",
        "It is another one, or the file was changed or is not whole. Nothing was begun.",
        "Try it again; where the file is damaged, put `root.key` back from your backup.",
    ),
    code(
        "pki::root-unreadable",
        "the root cannot be read",
        "The workshop's root certificate is not a certificate any more.",
        "Put `root.crt` back from your backup of `.phoenix/secrets/authority`.",
    ),
    code(
        "pki::unreadable",
        "the request or certificate cannot be read",
        "The file given to `certs sign` or `certs install` is not there, cannot be read, or holds no text.",
        "Give what `phoenix-cli certs request` printed to `certs sign`, and what that printed to `certs install`.",
    ),
    code(
        "rotate::behind",
        "not everybody is as the stage wants it",
        "Before a root that takes another's place goes on to its next stage, all guests that are there, and the node, must be as the \
         present one wants them: who trusts one root alone would refuse the others, or be refused. Named is what is not: its \
         container is off, its node is offline, or a step failed.",
        "`phoenix-cli plan` shows why. Start it, or take it out of the blueprint; then `phoenix-cli rotate authority` goes on.",
    ),
    code(
        "rotate::nothing",
        "nothing was given out",
        "What was named has no certificates, so there are none to make anew; or nothing of the site was applied yet.",
        "`phoenix-cli certs` shows who has some. `phoenix-cli rotate intermediate` makes another key that signs them all.",
    ),
    code(
        "rotate::unsettled",
        "something else would be destroyed",
        "`rotate authority` carries out the plan of the whole site, and that has steps that destroy something. They take a consent of \
         their own, which it does not ask for.",
        "Have them done first, or left away: `phoenix-cli up`. Then `phoenix-cli rotate authority`.",
    ),
];
