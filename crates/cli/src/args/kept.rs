//! What can be typed of what cannot be made again: certificates, secrets, and what is backed up.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

/// Options of `certs`.
#[derive(Debug, Args)]
pub struct Certs {
    /// What to show; the list of certificates where absent
    #[command(subcommand)]
    pub what: Option<CertsCommand>,
}

/// What `certs` can show and do.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// List the certificates: who signed them, what is left of their life, where they are served and whether as on disk
    #[command(
        after_help = "Examples:\n  phoenix-cli certs list\n  phoenix-cli certs list --json\n\nThe containers are asked; where one cannot be, what is known of the last apply is shown, and said to be."
    )]
    List,
    /// Print the workshop's root certificate as PEM, nothing else
    #[command(
        after_help = "Examples:\n  phoenix-cli certs root > workshop-root.pem\n  curl --cacert <(phoenix-cli certs root) https://notes.workshop.internal/\n\nWhile another root takes its place (`phoenix-cli rotate authority`), it is both of them: whoever trusts both is let in at any time."
    )]
    Root {
        /// The one that takes the place of the other, alone: for people to import
        #[arg(long)]
        new: bool,
    },
    /// Print a request for the next intermediate, where the root's key is kept elsewhere
    #[command(
        after_help = "Examples:\n  phoenix-cli certs request > next.csr\n\nIts key stays here. Where the root's key is, `phoenix-cli certs sign next.csr > next.crt` signs it; `phoenix-cli certs install next.crt` puts it in place here. With `step-ca`, its key is made in the authority's container, and `install` puts the certificate there."
    )]
    Request,
    /// Sign the request for the next intermediate: where the root's key is
    #[command(
        after_help = "Examples:\n  phoenix-cli certs sign next.csr > next.crt\n\nNothing is contacted, so it can be a machine without a network, with the site's blueprints and `.phoenix/secrets/authority`."
    )]
    Sign {
        /// What `certs request` printed
        #[arg(value_name = "FILE")]
        request: camino::Utf8PathBuf,
    },
    /// Give the root's key a passphrase, which is asked for when it has to sign something
    #[command(
        after_help = "Examples:\n  phoenix-cli certs protect\n  phoenix-cli certs protect --root-passphrase file:/root/passphrase\n\nIt signs intermediates alone, which sign certificates: with `embedded`, `apply` needs it every few weeks, with `step-ca` when the authority is made or due, and `rotate` each time. Then it is asked for once, before the first step. What only looks never asks. Copies of before have none."
    )]
    Protect,
    /// Take the passphrase of the root's key off again
    #[command(after_help = "Examples:\n  phoenix-cli certs unprotect")]
    Unprotect,
    /// Sign with the intermediate that was asked for from now on
    #[command(
        after_help = "Examples:\n  phoenix-cli certs install next.crt\n\nIt is tried first as a client that trusts the root. What the last one signed stays good until its end; the next apply goes on with the new one."
    )]
    Install {
        /// What `certs sign` printed
        #[arg(value_name = "FILE")]
        certificate: camino::Utf8PathBuf,
    },
}

/// Options of `secrets`.
#[derive(Debug, Args)]
pub struct Secrets {
    /// What to do
    #[command(subcommand)]
    pub what: SecretsCommand,
}

/// What `secrets` can do.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// List the secrets: name, where each comes from, what uses it; no values
    #[command(after_help = "Examples:\n  phoenix-cli secrets list\n  phoenix-cli secrets list --json")]
    List,
    /// Show a secret on the terminal; none is made for it
    #[command(
        after_help = "Examples:\n  phoenix-cli secrets show database-password\n  phoenix-cli secrets show database-password --reveal | wl-copy"
    )]
    Show {
        /// Its name, as `secrets list` has it
        #[arg(value_name = "NAME")]
        name: String,
        /// Print it also where no terminal is
        #[arg(long)]
        reveal: bool,
    },
    /// Make another value of a generated secret, and apply what uses it
    #[command(
        after_help = "Examples:\n  phoenix-cli secrets rotate database-password\n  phoenix-cli secrets rotate database-password --yes\n\nThe value of before is gone with it: what used it elsewhere is to be told the new one."
    )]
    Rotate {
        /// Its name, as `secrets list` has it
        #[arg(value_name = "NAME")]
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Seal a copy of all that cannot be made again: the root's key and certificate, the site's key, generated secrets
    #[command(
        after_help = "Examples:\n  phoenix-cli secrets seal\n  phoenix-cli secrets seal --passphrase file:/root/passphrase --out /media/stick/secrets.age\n\nTo the public keys that the blueprint declares (`site.sealed`), and then again by each run that changes a secret; otherwise with a passphrase, whenever you say so. Its format is that of age: `age --decrypt secrets.age` opens it, too. It may be committed. What is in a container of its own (`step-ca`) is in none: phoenix-cli backup ca."
    )]
    Seal(SecretsSeal),
    /// Put back what is in a sealed copy, where it is missing; what is there and differs is named, and nothing done
    #[command(
        after_help = "Examples:\n  phoenix-cli secrets open --identity ~/.ssh/id_ed25519\n  phoenix-cli secrets open /media/stick/secrets.age\n  phoenix-cli secrets open --passphrase file:/root/passphrase\n\nFor a new machine: clone the blueprints, open the copy, `phoenix-cli plan` has nothing to do."
    )]
    Open(SecretsOpen),
    /// Keep a value of your own for a secret that is generated or in a file: from standard input, or typed unseen
    #[command(
        after_help = "Examples:\n  phoenix-cli secrets set database-password\n  pass show database | phoenix-cli secrets set database-password && phoenix-cli up"
    )]
    Set {
        /// Its name, as `secrets list` has it
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Options of `secrets seal`.
#[derive(Debug, Args)]
pub struct SecretsSeal {
    /// The file to write; where absent as the blueprint says, or `secrets.age`
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Seal with a passphrase, which is in `env:NAME` or `file:PATH`; asked for where no keys are declared
    #[arg(long, value_name = "REF")]
    pub passphrase: Option<String>,
    /// Write over a copy that was not sealed from this folder
    #[arg(long)]
    pub replace: bool,
}

/// Options of `secrets open`.
#[derive(Debug, Args)]
pub struct SecretsOpen {
    /// The sealed copy; where absent the one of the blueprint, or `secrets.age`
    #[arg(value_name = "FILE")]
    pub file: Option<Utf8PathBuf>,
    /// A file with a private key, of ssh or age, that it was sealed to; may be repeated
    #[arg(long, short, value_name = "FILE", conflicts_with = "passphrase")]
    pub identity: Vec<Utf8PathBuf>,
    /// Where the passphrase is: `env:NAME` or `file:PATH`; asked for where absent
    #[arg(long, value_name = "REF")]
    pub passphrase: Option<String>,
}

/// Options of `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// What is kept
    #[command(subcommand)]
    pub what: BackupCommand,
}

/// What can be kept.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// The authority in a container (`step-ca`): keys, who may have what, database
    #[command(
        after_help = "Examples:\n  phoenix-cli backup ca --out ca.backup\n  phoenix-cli backup ca --out ca.backup --passphrase env:CA_PASSPHRASE\n\nIt is sealed in its container (OpenPGP, AES-256). Keep the passphrase apart from it."
    )]
    Ca(BackupCa),
}

/// Options of `backup ca`.
#[derive(Debug, Args)]
pub struct BackupCa {
    /// The file to write; never one that is there
    #[arg(long, value_name = "FILE")]
    pub out: Utf8PathBuf,
    /// Where the passphrase is: `env:NAME` or `file:PATH`; asked for where absent
    #[arg(long, value_name = "REF")]
    pub passphrase: Option<String>,
}

/// Options of `restore`.
#[derive(Debug, Args)]
pub struct RestoreWhat {
    /// What is taken back
    #[command(subcommand)]
    pub what: RestoreCommand,
}

/// What can be taken back.
#[derive(Debug, Subcommand)]
pub enum RestoreCommand {
    /// The authority in a container (`step-ca`), as `backup ca` kept it
    #[command(
        after_help = "Examples:\n  phoenix-cli restore ca ca.backup\n  phoenix-cli restore ca ca.backup --passphrase file:/root/passphrase --yes\n\nThe backup is opened, compared with the site's root, and tried, before anything is replaced."
    )]
    Ca(Restore),
}

/// Options of `restore ca`.
#[derive(Debug, Args)]
pub struct Restore {
    /// What `backup ca` wrote
    #[arg(value_name = "FILE")]
    pub file: Utf8PathBuf,
    /// Where the passphrase is: `env:NAME` or `file:PATH`; asked for where absent
    #[arg(long, value_name = "REF")]
    pub passphrase: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
