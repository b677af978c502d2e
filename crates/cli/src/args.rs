//! What can be typed.

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "Examples:
  phoenix-cli init --site my-workshop          write a first site
  phoenix-cli lab up --site my-workshop        a Proxmox node to try it on, on this machine
  phoenix-cli plan --site my-workshop          what would be done
  phoenix-cli up --site my-workshop            plan, confirm, apply
  phoenix-cli explain containers.memory        what a key of a blueprint means

Exit codes: 0 done, 1 failed, 2 bad usage or blueprint, 3 changes wait (plan or drift --detailed-exitcode),
4 refused for want of consent, 130 interrupted.";

/// An IT department in a box: JSON blueprints become a running private cloud on Proxmox VE.
#[derive(Debug, Parser)]
#[command(name = "phoenix-cli", version, about, after_help = EXAMPLES, max_term_width = 100, propagate_version = false)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes.
#[derive(Debug, Args, Clone)]
pub struct Global {
    /// Folder of the site's blueprints
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".",
        env = "PHOENIX_SITE",
        hide_env_values = true
    )]
    pub site: Utf8PathBuf,
    /// Print data as JSON, and events as JSON lines
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Tell on standard error what takes time: every call to the node, every command on it, every step
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write the same to FILE, with the time; secrets are masked
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<Utf8PathBuf>,
    /// Write the exchanges with the node to FILE for a bug report, as JSON lines; secrets are masked
    #[arg(long, global = true, value_name = "FILE")]
    pub record: Option<Utf8PathBuf>,
    /// Close the ssh connection at the end; otherwise it is kept for the next command, for five minutes at most
    #[arg(long, global = true, env = "PHOENIX_NO_KEEP", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub no_keep: bool,
    /// Where the passphrase of the root's key is, where it has one: `env:NAME` or `file:PATH`; asked for when it is needed
    #[arg(long, global = true, env = "PHOENIX_ROOT_PASSPHRASE", value_name = "REF", hide_env_values = true)]
    pub root_passphrase: Option<String>,
    /// How many seconds a service may need until it answers at the end of a run
    #[arg(long, global = true, env = "PHOENIX_ANSWERS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub answers: Option<u64>,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a small, commented site that works in the lab
    #[command(
        after_help = "Examples:\n  phoenix-cli init --site my-workshop\n  phoenix-cli init --site my-workshop --name garage"
    )]
    Init(Init),
    /// Check the blueprints; nothing is contacted
    #[command(after_help = "Examples:\n  phoenix-cli validate\n  phoenix-cli validate --json")]
    Validate,
    /// Show what would be done, and why; nothing is changed
    #[command(
        after_help = "Examples:\n  phoenix-cli plan\n  phoenix-cli plan --target container.notes\n  phoenix-cli plan --out change.plan && phoenix-cli apply change.plan\n  phoenix-cli plan --full                   every step with all its changes\n  phoenix-cli plan --json --detailed-exitcode\n\nSigns: + create or run   ~ change in place   ^ change and restart   ± replace   - destroy   ✗ refused"
    )]
    Plan(Plan),
    /// Look inside all guests and at the node, and show as a plan what differs there
    #[command(
        after_help = "Examples:\n  phoenix-cli drift\n  phoenix-cli drift --target notes\n  phoenix-cli drift --json --detailed-exitcode\n  phoenix-cli drift --out mend.plan && phoenix-cli apply mend.plan\n\nThe same as `phoenix-cli plan --deep`: a plan alone believes what the last apply remembered."
    )]
    Drift(Drift),
    /// Carry out a plan: the one in FILE, or the one that would be made now
    #[command(
        after_help = "Examples:\n  phoenix-cli apply\n  phoenix-cli apply change.plan\n  phoenix-cli apply --target notes\n  phoenix-cli apply --allow-destroy container.old\n  phoenix-cli apply --exclude container.old        all but that\n  phoenix-cli apply --again --target notes      after somebody changed something inside\n\nCtrl-C once: nothing new is started and what runs is waited for. Twice: stop at once. `phoenix-cli apply` then carries on."
    )]
    Apply(Apply),
    /// Plan, ask, apply
    #[command(
        after_help = "Examples:\n  phoenix-cli up\n  phoenix-cli up --yes\n  phoenix-cli up --yes --exclude container.old\n  phoenix-cli up --new-authority            where `.phoenix/secrets` is lost and there is no copy"
    )]
    Up(Up),
    /// Destroy all that Phoenix made for the site, and nothing else
    #[command(
        after_help = "Examples:\n  phoenix-cli destroy                       asks for the site's name\n  phoenix-cli destroy --confirm workshop    the site's name is the consent\n  phoenix-cli destroy --allow-destroy container.notes --target container.notes\n  phoenix-cli destroy --confirm workshop --exclude container.data"
    )]
    Destroy(Destroy),
    /// After an incident: end what a guest had, make another signer or another root
    #[command(
        after_help = "Examples:\n  phoenix-cli rotate notes           its certificates, and the key that it asks for them with\n  phoenix-cli rotate intermediate    what signs certificates, and all that it signed\n  phoenix-cli rotate authority       the root itself, and all below it\n\nWhat was given out before is not renewed any more. It is believed until it ends by itself, but by proxies: after the next apply they refuse it from clients.\n\nA root takes the place of another in three stages: both are trusted, then the new one signs, then it alone is trusted, and nothing signed below the old one is believed any more. In between you are asked whether people have the new one: `phoenix-cli certs root --new` prints it. Cut off, the same command goes on; `phoenix-cli status` says how far it is."
    )]
    Rotate(Rotate),
    /// Take guests over that do not prove to be the site's own
    #[command(
        after_help = "Examples:\n  phoenix-cli adopt notes          shows what would be taken over, and asks for its name\n  phoenix-cli adopt notes gateway --yes\n  phoenix-cli adopt notes --new-authority    where all of `.phoenix/secrets` is lost and there is no copy\n\nOnly what the blueprint declares, with its id. It gets the tag and a mark of this site; all that is in it is then applied again."
    )]
    Adopt(Adopt),
    /// Show what is there and how it is
    #[command(
        after_help = "Examples:\n  phoenix-cli status\n  phoenix-cli status --watch\n  phoenix-cli status --watch 30\n  phoenix-cli status --json"
    )]
    Status(Status),
    /// Look at guests, services, certificates, names and firewall, and say what is wrong
    #[command(
        after_help = "Examples:\n  phoenix-cli health\n  phoenix-cli health notes\n  phoenix-cli health --json\n  phoenix-cli health --prometheus > /var/lib/prometheus/node-exporter/phoenix.prom\n\nExit code 1 where something is wrong."
    )]
    Health(Health),
    /// Follow a request to a name hop by hop, and say which hop breaks, why, and what to do
    #[command(
        after_help = "Examples:\n  phoenix-cli trace notes.workshop.internal\n  phoenix-cli trace notes --from outside --from status\n  phoenix-cli trace container.notes\n  phoenix-cli trace notes --json\n\nSigns: ✔ holds   ! holds, and not for long   ✘ breaks; what comes after it is not asked. Exit code 1 where one is not ✔."
    )]
    Trace(Trace),
    /// Show the journal of a guest, what acts on a terminal made visible
    #[command(
        after_help = "Examples:\n  phoenix-cli logs notes\n  phoenix-cli logs notes --unit nginx --lines 20\n  phoenix-cli logs gateway --unit nginx --follow\n  phoenix-cli logs notes --since '1 hour ago'"
    )]
    Logs(Logs),
    /// Run a command in a guest; what it says comes as it is where no terminal shows it
    #[command(
        after_help = "Examples:\n  phoenix-cli exec notes -- systemctl status nginx\n  phoenix-cli exec 120 -- cat /etc/hosts"
    )]
    Exec(Exec),
    /// Open a shell in a guest, or on the node: your terminal obeys what runs there
    #[command(
        after_help = "Examples:\n  phoenix-cli shell notes\n  phoenix-cli shell            on the node"
    )]
    Shell(Shell),
    /// Draw what depends on what
    #[command(
        after_help = "Examples:\n  phoenix-cli graph > site.mmd\n  phoenix-cli graph --format dot | dot -Tsvg > site.svg\n  phoenix-cli graph --flows"
    )]
    Graph(Graph),
    /// Explain a key of a blueprint, a resource of the site, a feature, or an error's code
    #[command(
        after_help = "Examples:\n  phoenix-cli explain containers.memory\n  phoenix-cli explain container.notes\n  phoenix-cli explain features\n  phoenix-cli explain feature.static-site\n  phoenix-cli explain lock::taken\n  phoenix-cli explain feature.static-site@container.notes --script"
    )]
    Explain(Explain),
    /// Print the JSON Schema of blueprints, so that an editor completes and explains
    #[command(
        after_help = "Examples:\n  phoenix-cli schema > blueprint.schema.json\n  phoenix-cli schema --feature > feature.schema.json"
    )]
    Schema(Schema),
    /// Show earlier runs, or one of them
    #[command(
        after_help = "Examples:\n  phoenix-cli history\n  phoenix-cli history 20261123T101500.000Z-4711"
    )]
    History(History),
    /// Look for what is wrong between here and the site, hop by hop
    #[command(after_help = "Examples:\n  phoenix-cli doctor\n  phoenix-cli doctor --print-role")]
    Doctor(Doctor),
    /// Show certificates, or print the workshop's root
    #[command(
        after_help = "Examples:\n  phoenix-cli certs\n  phoenix-cli certs root > workshop-root.pem\n  curl --cacert <(phoenix-cli certs root) https://notes.workshop.internal/"
    )]
    Certs(Certs),
    /// List the site's secrets, show one, change it; seal a copy of them
    #[command(
        after_help = "Examples:\n  phoenix-cli secrets list\n  phoenix-cli secrets show database-password\n  phoenix-cli secrets rotate database-password\n  phoenix-cli secrets seal"
    )]
    Secrets(Secrets),
    /// Keep, sealed, what cannot be made again: the authority's keys and database
    #[command(
        after_help = "Examples:\n  phoenix-cli backup ca --out ca.backup\n  phoenix-cli backup ca --out ca.backup --passphrase file:/root/passphrase"
    )]
    Backup(Backup),
    /// Take back what `backup` kept
    #[command(
        after_help = "Examples:\n  phoenix-cli restore ca ca.backup\n  phoenix-cli restore ca ca.backup --passphrase env:CA_PASSPHRASE --yes"
    )]
    Restore(RestoreWhat),
    /// Show or get the programs that no package brings, such as step-ca and Traefik
    #[command(
        after_help = "Examples:\n  phoenix-cli artifacts\n  phoenix-cli artifacts fetch\n  phoenix-cli artifacts fetch step-ca step\n\nThe cache is `phoenix/artifacts` below `$XDG_CACHE_HOME`. A copy of it is a mirror: `PHOENIX_ARTIFACTS=DIR` names one that is looked at first."
    )]
    Artifacts(Artifacts),
    /// A Proxmox VE-compatible node on this machine, for trying and testing
    #[command(
        after_help = "Examples:\n  phoenix-cli lab up\n  phoenix-cli lab status\n  phoenix-cli lab shell\n  phoenix-cli lab down"
    )]
    Lab(Lab),
    /// Print the version
    #[command(after_help = "Examples:\n  phoenix-cli version\n  phoenix-cli version --json")]
    Version,
    /// Print completions for a shell, names of the site among them
    #[command(
        after_help = "Examples:\n  phoenix-cli completions bash > /etc/bash_completion.d/phoenix-cli\n  source <(phoenix-cli completions bash)\n\nNames (in bash, zsh and fish) are those of the blueprint; the node is not asked."
    )]
    Completions(Completions),
    /// What the last of the words can become, a line each (asked by the scripts of `completions`)
    #[command(name = "__complete", hide = true)]
    Complete(Complete),
}

/// Options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The site's name
    #[arg(long, default_value = "workshop")]
    pub name: String,
}

/// Options of `plan`.
#[derive(Debug, Args, Default)]
pub struct Plan {
    /// What it is about
    #[command(flatten)]
    pub chosen: Chosen,
    /// Keep the plan in a file, for `apply FILE`
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Exit with 3 when there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// As if nothing were known of what was done inside: features, certificates and probes once more
    #[arg(long, conflicts_with = "destroy")]
    pub again: bool,
    /// Look inside guests, too: packages, files and units there, and whether services answer
    #[arg(long, conflicts_with_all = ["destroy", "again"])]
    pub deep: bool,
    /// Plan the destruction of all that Phoenix made for the site
    #[arg(long)]
    pub destroy: bool,
    /// How much is shown
    #[command(flatten)]
    pub shown: Shown,
}

/// How much of a plan is shown.
#[derive(Debug, Args, Clone, Copy, Default)]
pub struct Shown {
    /// Show every step with all its changes
    #[arg(long)]
    pub full: bool,
    /// Ask the guests what would change in them: files, units, packages
    #[arg(long)]
    pub diff: bool,
}

/// Options of `drift`.
#[derive(Debug, Args)]
pub struct Drift {
    /// Only this resource and what it needs: an address, a name, an id or a glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub target: Vec<String>,
    /// Keep the plan in a file, for `apply FILE`
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Exit with 3 when something differs
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// What a plan is about: all of the site, where nothing is named.
#[derive(Debug, Args, Default)]
pub struct Chosen {
    /// Only this resource, what is on it and what it needs: an address, a name, an id or a glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub target: Vec<String>,
    /// Leave this out, what is on it and what needs it: an address, a name, an id or a glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub exclude: Vec<String>,
}

/// How a plan is made and carried out by `apply` and `up`.
#[derive(Debug, Args)]
pub struct Carrying {
    /// What it is about
    #[command(flatten)]
    pub chosen: Chosen,
    /// Consent to destroying this resource or its data: its address, name or id, no glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub allow_destroy: Vec<String>,
    /// How much is shown
    #[command(flatten)]
    pub shown: Shown,
    /// Look inside guests first, as `drift` does, and put right what differs there
    #[arg(long)]
    pub deep: bool,
    /// Do not ask services at the end whether they answer
    #[arg(long)]
    pub no_probe: bool,
}

/// Options of `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// A plan that `plan --out` made
    #[arg(value_name = "FILE", conflicts_with_all = ["target", "deep"])]
    pub file: Option<Utf8PathBuf>,
    /// As if nothing were known of what was done inside: features, certificates and probes once more
    #[arg(long, conflicts_with_all = ["file", "deep"])]
    pub again: bool,
    /// What it shares with `up`
    #[command(flatten)]
    pub carrying: Carrying,
}

/// Options of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Make another root certificate, where the one that guests were made with is lost for good: all clients have to
    /// trust it anew, and generated secrets that are lost with it are made anew
    #[arg(long)]
    pub new_authority: bool,
    /// What it shares with `apply`
    #[command(flatten)]
    pub carrying: Carrying,
}

/// Options of `rotate`.
#[derive(Debug, Args)]
pub struct Rotate {
    /// A guest, `intermediate`: the key that signs certificates, or `authority`: the root
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Options of `destroy`.
#[derive(Debug, Args)]
pub struct Destroy {
    /// The site's name, typed as consent to destroying all of it
    #[arg(long, value_name = "SITE")]
    pub confirm: Option<String>,
    /// Only this resource: an address, a name, an id or a glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub target: Vec<String>,
    /// Consent to destroying this resource: its address, name or id, no glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub allow_destroy: Vec<String>,
    /// Leave this alone, and what needs it to go first: an address, a name, an id or a glob; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub exclude: Vec<String>,
}

/// Options of `adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
    /// Which: the address, name or id that the blueprint gives it, no glob
    #[arg(value_name = "NAME", required = true)]
    pub guests: Vec<String>,
    /// Take them over without asking: their names are the consent
    #[arg(long)]
    pub yes: bool,
    /// Make another root certificate as well, where the one they were made with is lost for good: all clients have to trust
    /// it anew
    #[arg(long)]
    pub new_authority: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Show it again and again, with so many seconds in between, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub watch: Option<u64>,
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Only these: an address, a name, an id or a glob each; all where absent
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Print what a Prometheus server reads
    #[arg(long, conflicts_with = "json")]
    pub prometheus: bool,
}

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// A host name or URL, a service (notes, service.notes), a container (container.notes) or its address; each with a port
    /// where another one is meant (container.notes:5432)
    pub name: String,
    /// Where to begin: outside, gateway, or a container; may be repeated. Where absent: outside, the gateway, and one other
    /// container
    #[arg(long, value_name = "PLACE")]
    pub from: Vec<String>,
}

/// Options of `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The container: its name, address or id
    pub guest: String,
    /// Only this unit of systemd's
    #[arg(long, short)]
    pub unit: Option<String>,
    /// How many lines of what is there already
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
    pub lines: u32,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Only what is newer, as journalctl reads times: 2026-11-24, yesterday, '1 hour ago'
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// Options of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The container: its name, address or id
    pub guest: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// Options of `shell`.
#[derive(Debug, Args)]
pub struct Shell {
    /// The container: its name, address or id; the node where absent
    pub guest: Option<String>,
}

/// Options of `graph`.
#[derive(Debug, Args)]
pub struct Graph {
    /// Draw who may talk to whom instead of who needs whom
    #[arg(long)]
    pub flows: bool,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub format: GraphFormat,
}

/// How to draw a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A Mermaid flowchart
    Mermaid,
    /// DOT, for Graphviz
    Dot,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A key of a blueprint (containers.memory), a resource (container.notes), a feature (feature.base), or the code of an
    /// error (lock::taken)
    pub what: String,
    /// For a feature on a container: print the script that is run in it, with secrets left out
    #[arg(long)]
    pub script: bool,
}

/// Options of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// The schema of a feature.json instead
    #[arg(long)]
    pub feature: bool,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Only print the commands that make, on the node, a token of exactly what this blueprint needs; nothing is asked
    #[arg(long)]
    pub print_role: bool,
}

/// Options of `history`.
#[derive(Debug, Args)]
pub struct History {
    /// The run to show
    pub run: Option<String>,
}

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

/// Options of `artifacts`.
#[derive(Debug, Args)]
pub struct Artifacts {
    /// What to do; the list where absent
    #[command(subcommand)]
    pub what: Option<ArtifactsCommand>,
}

/// What `artifacts` can do.
#[derive(Debug, Subcommand)]
pub enum ArtifactsCommand {
    /// List the artifacts: name, version, size in the cache, source
    #[command(after_help = "Examples:\n  phoenix-cli artifacts list\n  phoenix-cli artifacts list --json")]
    List,
    /// Get all artifacts, or some, into the cache
    #[command(after_help = "Examples:\n  phoenix-cli artifacts fetch\n  phoenix-cli artifacts fetch traefik")]
    Fetch {
        /// Which; all where absent
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

/// Options of `lab`.
#[derive(Debug, Args)]
pub struct Lab {
    /// What to do with the lab
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What can be done with the lab.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start the site's lab, or mend it
    #[command(
        after_help = "Examples:\n  phoenix-cli lab up\n  phoenix-cli lab up --simulated\n  phoenix-cli lab up --nodes 2\n  phoenix-cli lab up --api-port 18006 --ssh-port 18022 --https-port 18443"
    )]
    Up(LabUp),
    /// End the lab and remove all it made
    #[command(
        after_help = "Examples:\n  phoenix-cli lab down\n  phoenix-cli lab down --all        what is left of labs that were killed"
    )]
    Down(LabDown),
    /// Show the lab
    #[command(after_help = "Examples:\n  phoenix-cli lab status\n  phoenix-cli lab status --json")]
    Status,
    /// Open a shell on the lab's node, or in one of its guests
    #[command(
        after_help = "Examples:\n  phoenix-cli lab shell            on the node\n  phoenix-cli lab shell 120        in the guest 120"
    )]
    Shell(LabShell),
    /// The node's API (started by `up`)
    #[command(hide = true)]
    Serve(LabRaw),
    /// Publishes the lab's ports on 127.0.0.1 (started by `up`)
    #[command(hide = true)]
    Forward(LabRaw),
    /// Proxmox' own commands, on the lab's node
    #[command(hide = true)]
    Node(LabRaw),
}

/// Options of `lab up`.
#[derive(Debug, Args)]
pub struct LabUp {
    /// Records instead of real containers: nothing runs in them
    #[arg(long)]
    pub simulated: bool,
    /// How many nodes it has, up to 3: pve1, pve2 and pve3, one cluster; where absent as the blueprint says, as it is now, or 1
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=i64::from(lab::up::MOST_NODES)))]
    pub nodes: Option<u8>,
    /// Where the node's API is published on 127.0.0.1; where absent as the blueprint says, as it is now, or 8006
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Where the node's ssh is published on 127.0.0.1; where absent as the blueprint says, as it is now, or 8022
    #[arg(long, value_name = "PORT")]
    pub ssh_port: Option<u16>,
    /// Where the gateway's HTTPS is published on 127.0.0.1; where absent as the blueprint says, as it is now, or 8443
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<u16>,
}

/// Options of `lab down`.
#[derive(Debug, Args)]
pub struct LabDown {
    /// What is left of labs of this machine that were killed, or whose folder is gone; labs that run are left alone
    #[arg(long)]
    pub all: bool,
}

/// Options of `lab shell`.
#[derive(Debug, Args)]
pub struct LabShell {
    /// The guest's id; the node where absent
    pub guest: Option<u32>,
}

/// Arguments handed on as they are.
#[derive(Debug, Args)]
pub struct LabRaw {
    /// The arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// The words of a command line that is being typed.
#[derive(Debug, Args)]
pub struct Complete {
    /// The words after `phoenix-cli`; the last one is completed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}
