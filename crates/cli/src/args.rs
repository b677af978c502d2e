//! What can be typed.

use blueprint::init::{TEMPLATES, Template};
use camino::Utf8PathBuf;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod help;
mod inside;
mod kept;
mod lab;
mod learn;

pub use help::{Complete, Completions, Explain, Help, ManPages, Schema};
pub use inside::{Exec, Logs, Shell, Update};
pub use kept::{
    Backup, BackupCa, BackupCommand, Certs, CertsCommand, Restore, RestoreCommand, RestoreWhat, Secrets,
    SecretsCommand, SecretsOpen, SecretsSeal,
};
pub use lab::{Lab, LabCommand, LabDown, LabMachine, LabRaw, LabShell, LabUp, MachineCommand, MachinePart};
pub use learn::{Learn, LearnCheck, LearnCommand, LearnNamed, LearnStart, LearnStop};

const EXAMPLES: &str = "Examples:
  phoenix-cli init --site my-workshop          write a first site
  phoenix-cli lab up --site my-workshop        a Proxmox node to try it on, on this machine
  phoenix-cli plan --site my-workshop          what would be done
  phoenix-cli up --site my-workshop            plan, confirm, apply
  phoenix-cli explain containers.memory        what a key of a blueprint means
  phoenix-cli help topics                      the pages of the book

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
        after_help = "Examples:\n  phoenix-cli init --site my-workshop\n  phoenix-cli init --site my-workshop --name garage\n  phoenix-cli init --site home --template family"
    )]
    Init(Init),
    /// Check the blueprints; nothing is contacted
    #[command(after_help = "Examples:\n  phoenix-cli validate\n  phoenix-cli validate --json")]
    Validate,
    /// Show what would be done, and why; nothing is changed
    #[command(
        after_help = "Examples:\n  phoenix-cli plan\n  phoenix-cli plan --target container.notes\n  phoenix-cli plan --out change.plan && phoenix-cli apply change.plan\n  phoenix-cli plan --full                   every step with all its changes\n  phoenix-cli plan --json --detailed-exitcode\n\nSigns: + create or run   ~ change in place   ^ restart   ± replace   - destroy   ✗ refused"
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
    /// Ask registries for newer images of stacks, and write down which are meant
    #[command(
        after_help = "Examples:\n  phoenix-cli update\n  phoenix-cli update notes\n  phoenix-cli update --write && phoenix-cli plan\n\nThe guests' own Docker asks. Nothing that runs is changed; with --write it is the next plan that moves stacks to those images, and what ran before runs again where one does not work."
    )]
    Update(Update),
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
        after_help = "Examples:\n  phoenix-cli explain containers.memory\n  phoenix-cli explain container.notes\n  phoenix-cli explain features\n  phoenix-cli explain feature.static-site\n  phoenix-cli explain stack-catalog\n  phoenix-cli explain stack-catalog.paperless\n  phoenix-cli explain lock::taken\n  phoenix-cli explain feature.static-site@container.notes --script"
    )]
    Explain(Explain),
    /// Print the JSON Schema of blueprints, so that an editor completes and explains
    #[command(
        after_help = "Examples:\n  phoenix-cli schema > blueprint.schema.json\n  phoenix-cli schema --feature > feature.schema.json\n  phoenix-cli schema --stack > stack.schema.json\n  phoenix-cli schema --exercise > exercise.schema.json"
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
    /// Make a fresh Proxmox VE node the one that the site is built on: key, token, target
    #[command(
        after_help = "Examples:\n  phoenix-cli bootstrap 10.0.0.13                     asks for root's password on it\n  phoenix-cli bootstrap 10.0.0.13 --identity ~/.ssh/id_ed25519\n  phoenix-cli bootstrap 10.0.0.13 --yes --password-file pw --host-key SHA256:... --fingerprint AA:BB:...\n\nWhat the node shows is compared with what its console shows before anything is believed. Cut off, the same command goes on."
    )]
    Bootstrap(Bootstrap),
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
    /// Learn while you build: exercises in a lab of their own, which say when they are done
    #[command(
        after_help = "Examples:\n  phoenix-cli learn                      the exercises, and where you are\n  phoenix-cli learn start second-guest\n  phoenix-cli learn check\n  phoenix-cli learn hint\n  phoenix-cli learn stop --remove\n\nEach belongs to a page of the book's learning centre, which explains what it is about."
    )]
    Learn(Learn),
    /// Show how a command is used, or a page of the book
    #[command(
        after_help = "Examples:\n  phoenix-cli help                  what --help shows\n  phoenix-cli help plan             a command\n  phoenix-cli help topics           the pages of the book\n  phoenix-cli help stacks           a page\n  phoenix-cli help topics secrets   a page whose name is a command's, too\n\nOn a terminal a page is shown in the program that $PAGER names, `less` where it names none."
    )]
    Help(Help),
    /// Print the version
    #[command(after_help = "Examples:\n  phoenix-cli version\n  phoenix-cli version --json")]
    Version,
    /// Print completions for a shell, names of the site among them
    #[command(
        after_help = "Examples:\n  phoenix-cli completions bash > /etc/bash_completion.d/phoenix-cli\n  source <(phoenix-cli completions bash)\n\nNames (in bash, zsh and fish) are those of the blueprint; the node is not asked."
    )]
    Completions(Completions),
    /// Write the manual pages, one for each command
    #[command(
        hide = true,
        after_help = "Examples:\n  phoenix-cli man --to man1 && man -l man1/phoenix-cli.1"
    )]
    Man(ManPages),
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
    /// What it begins with
    #[arg(long, default_value = "first", value_name = "TEMPLATE", value_parser = templates())]
    pub template: String,
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
    /// Restart no guest: what takes that is written and waits, and `status` shows it
    #[arg(long)]
    pub no_restart: bool,
    /// Restart the node where something counts only from its next start: its guests are shut down and started again
    #[arg(long)]
    pub restart_node: bool,
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

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Only print the commands that make, on the node, a token of exactly what this blueprint needs; nothing is asked
    #[arg(long)]
    pub print_role: bool,
}

/// Options of `bootstrap`.
#[derive(Debug, Args)]
pub struct Bootstrap {
    /// The node's name or address
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// The node's port for ssh
    #[arg(long, value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// The node's port for the API
    #[arg(long, value_name = "PORT", default_value_t = 8006, value_parser = clap::value_parser!(u16).range(1..))]
    pub api_port: u16,
    /// A private key by which root gets in; where absent, by root's password, which is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub identity: Option<Utf8PathBuf>,
    /// A file with root's password as its only line
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<Utf8PathBuf>,
    /// The node's ssh key, as its console shows it: SHA256:… or the whole key
    #[arg(long, value_name = "KEY")]
    pub host_key: Option<String>,
    /// The SHA-256 fingerprint of its certificate, as its console shows it
    #[arg(long, value_name = "AA:BB:…")]
    pub fingerprint: Option<String>,
    /// Do not ask; what the node shows has to be named
    #[arg(long, short)]
    pub yes: bool,
    /// Put this node in the place of the target that a file declares
    #[arg(long)]
    pub replace_target: bool,
}

/// Options of `history`.
#[derive(Debug, Args)]
pub struct History {
    /// The run to show
    pub run: Option<String>,
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

/// What `init --template` takes.
fn templates() -> PossibleValuesParser {
    let value = |template: &Template| PossibleValue::new(template.name).help(template.about);
    TEMPLATES.iter().map(value).collect::<Vec<_>>().into()
}
