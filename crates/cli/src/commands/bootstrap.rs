//! `bootstrap`: from an address and a way in to a node that the site is built on.

use blueprint::model::SshTarget;
use blueprint::retarget::{Declared, declared};
use camino::Utf8Path;
use foreign::line;
use managers::checkup::{Grade, Seen, judge};
use managers::privileges::granted::Granted;
use managers::privileges::{commands, required};
use secrecy::SecretString;
use serde_json::{Value, json};
use site::bootstrap::{Fingerprint, Fresh, Node, WayIn};

use crate::args::{Bootstrap, Global};
use crate::error::{CommandError, Outcome};
use crate::hostkey::{self, HostKey};
use crate::opening::{self, environment};
use crate::passphrase;
use crate::printer::Printer;

mod compare;
mod sketch;

/// The steps, each of which looks at what is there: cut off, the same command goes on.
pub async fn run(global: &Global, options: &Bootstrap, printer: Printer) -> Outcome {
    let root = site::folder(&global.site)?;
    let fresh =
        Fresh { root, address: options.address.clone(), port: options.port, api_port: options.api_port };
    let declared = declared(&fresh.root);
    // What is wrong with the blueprint is told before anything is asked, as far as that can be: without a target it is not whole.
    if declared.is_some() {
        opening::paper(global, printer)?;
    }
    let shown = Shown::of(&fresh).await?;
    compare::settle(options, &fresh, &shown, printer)?;
    let target = fresh.target(&shown.host_key.key, shown.certificate);
    replace(options, declared.as_ref(), &target, printer)?;

    let node = get_in(options, &fresh, &shown.host_key, printer).await?;
    let done = on_node(global, &fresh, &node, (declared.as_ref(), &target), &shown, printer).await;
    node.close().await;
    let (seen, file) = done?;

    let proof = prove(global, printer).await?;
    if printer.json {
        printer.data_json(&json!({
            "target": target, "file": file, "sketch": seen.as_ref().map(sketch::of),
            "steps": proof.steps, "problems": proof.problems,
        }));
    } else {
        if let Some(seen) = &seen {
            printer.data(sketch::of(seen));
        }
        printer.say(proof.words());
        if let Some(seen) = &seen {
            printer.say(troubles(seen));
        }
        printer.say("next: phoenix-cli doctor, then phoenix-cli plan");
    }
    Ok(0)
}

/// What the node shows before anybody is believed.
pub struct Shown {
    /// Its host key.
    pub host_key: HostKey,
    /// Its API's certificate.
    pub certificate: Fingerprint,
}

impl Shown {
    async fn of(fresh: &Fresh) -> Result<Self, CommandError> {
        let ssh = SshTarget {
            destination: format!("root@{}", fresh.address),
            port: fresh.port,
            identity: None,
            host_key: None,
        };
        let host_key = hostkey::shown(&ssh).await.ok_or_else(|| {
            CommandError::failed(
                "bootstrap::unreachable",
                format!("{} shows no ssh key on port {}", fresh.address, fresh.port),
            )
            .hint("is the address right, is the node up, does its sshd run? another port: --port N")
        })?;
        Ok(Self { host_key, certificate: fresh.shown_certificate().await? })
    }
}

/// Asks before a target that is declared gives way to another.
fn replace(
    options: &Bootstrap,
    declared: Option<&Declared>,
    target: &Value,
    printer: Printer,
) -> Result<(), CommandError> {
    let Some(old) = declared.filter(|old| old.value != *target && !options.replace_target) else {
        return Ok(());
    };
    let question = format!("{} declares another target: {}", old.file, line(&old.value.to_string()));
    let hint = "put this node in its place: --replace-target";
    if options.yes || !printer.can_ask() {
        return Err(CommandError::usage("bootstrap::target-declared", question).hint(hint));
    }
    if compare::agreed(&format!("{question}\nput this node in its place?"), printer)? {
        return Ok(());
    }
    Err(CommandError::usage("consent::declined", "nothing was done").hint(hint))
}

/// As root on the node: by the site's own key where it is there already, else by what the person has.
async fn get_in(
    options: &Bootstrap,
    fresh: &Fresh,
    host_key: &HostKey,
    printer: Printer,
) -> Result<Node, CommandError> {
    if let Some(node) = fresh.known(&host_key.key, &environment()).await {
        printer.say(format!("root@{} takes the site's key", fresh.address));
        return Ok(node);
    }
    let way = match (&options.identity, &options.password_file) {
        (Some(identity), _) => WayIn::Identity(identity.clone()),
        (None, Some(file)) => WayIn::Password(password_of(file)?),
        (None, None) if printer.can_ask() => {
            let text = passphrase::hidden(&format!("root's password on {}: ", fresh.address), printer)?;
            WayIn::Password(trimmed(&text))
        }
        (None, None) => {
            return Err(CommandError::usage(
                "consent::nobody-to-ask",
                "nobody can be asked for root's password here",
            )
            .hint("name where it is: --password-file FILE, or a key that gets in: --identity FILE"));
        }
    };
    let node = fresh.install(&host_key.key, &way, &environment()).await?;
    printer.say(format!("put the site's own key on {} ({})", fresh.address, site::bootstrap::IDENTITY));
    Ok(node)
}

fn trimmed(text: &SecretString) -> SecretString {
    use secrecy::ExposeSecret as _;
    text.expose_secret().trim_end_matches(['\n', '\r']).to_owned().into()
}

fn password_of(file: &Utf8Path) -> Result<SecretString, CommandError> {
    let text = fs_err::read_to_string(file).map_err(|e| {
        CommandError::from_error("secrets::unavailable", &e).hint("a file with the password as its only line")
    })?;
    Ok(trimmed(&text.into()))
}

/// What is done on the node, and what it is made of.
async fn on_node(
    global: &Global,
    fresh: &Fresh,
    node: &Node,
    (declared, target): (Option<&Declared>, &Value),
    shown: &Shown,
    printer: Printer,
) -> Result<(Option<Seen>, String), CommandError> {
    match node.vouches(shown.certificate).await? {
        Some(true) => printer.say("the node itself has the certificate that its API shows"),
        Some(false) => {
            return Err(CommandError::failed(
                "bootstrap::other-certificate",
                format!(
                    "{} shows a certificate that the node behind {} does not have",
                    fresh.endpoint(),
                    fresh.address
                ),
            )
            .hint(
                "somebody is in between, or the two ports belong to different machines: --port, --api-port",
            ));
        }
        None => printer.say("note: the node shows no certificate of its own, so only you have compared it"),
    }
    let nodes = node.nodes().await?;
    // A node that cannot tell what it is made of is a target all the same.
    let seen = Seen::look(&fresh.address, &*node.runner).await.ok();
    let sketch = seen.as_ref().map(sketch::of).unwrap_or_default();
    let file = fresh.write_target(declared, target, &sketch)?;
    printer.say(format!("the target is in {file}"));

    let paper = opening::paper(global, printer)?;
    let kept = match fresh.kept_token() {
        Some(token) => fresh.takes(&token, shown.certificate).await?,
        None => false,
    };
    let made = node.grant(&paper.desired, nodes, !kept).await?;
    let name = commands::token(&paper.desired.site);
    match made {
        Some(token) => {
            fresh.keep_token(&token)?;
            printer.say(format!(
                "made the token {name}, with what this blueprint needs and no more; one of that name, and its secret, holds no longer ({})",
                site::bootstrap::TOKEN
            ));
        }
        None => printer.say(format!("the token {name} is there, and has what this blueprint needs")),
    }
    Ok((seen, file.to_string()))
}

struct Proof {
    version: String,
    steps: usize,
    problems: Vec<String>,
}

impl Proof {
    fn words(&self) -> String {
        let plan = match (self.problems.as_slice(), self.steps) {
            ([], 0) => "the plan is empty: all is as the blueprint wants it".to_owned(),
            ([], n) => format!("a plan works: {n} steps wait"),
            (problems, _) => format!("a plan works, and finds in the way: {}", line(&problems.join("; "))),
        };
        format!("Proxmox VE {} takes the token; {plan}", self.version)
    }
}

/// The site as it is now declared: opened, looked at, planned, all by the token.
async fn prove(global: &Global, printer: Printer) -> Result<Proof, CommandError> {
    let site = opening::glance(global, printer).await?;
    let proof = async {
        let reader = site.connection.reader();
        let version =
            reader.version().await.map_err(|e| managers::settle::failure("asking the node's version", &e))?;
        let needs = required(&site.desired, site.inventory.nodes.len() > 1);
        let granted = Granted::ask(&reader, &needs).await?;
        if let Some(lacks) = granted.lacking(&needs).first() {
            return Err(CommandError::failed(
                "proxmox::permission-denied",
                format!("the new token lacks {} on {}", lacks.privilege, lacks.place.path()),
            )
            .hint("the same command makes it once more; by hand: phoenix-cli doctor --print-role"));
        }
        let plan = site.plan(&[], false)?;
        let problems =
            plan.problems.iter().map(|it| format!("{}: {}", it.address.as_str(), it.message)).collect();
        Ok(Proof { version: version.version, steps: plan.steps.len(), problems })
    };
    let proof = proof.await;
    site.close().await;
    proof
}

/// What is wrong with the node itself, in a line.
fn troubles(seen: &Seen) -> String {
    let found = judge(std::slice::from_ref(seen));
    let of = |grade| found.iter().filter(|it| it.finding.grade == grade).count();
    match (of(Grade::Bad), of(Grade::Warn)) {
        (0, 0) => format!("the node is well ({} checks)", found.len()),
        (bad, warn) => format!(
            "of {} checks of the node, {bad} are bad and {warn} want to be looked after: phoenix-cli doctor says which",
            found.len()
        ),
    }
}
