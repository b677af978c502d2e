//! The site itself, its target and how its certificates are made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::Context;
use super::features::{self, Contents};
use super::merge::FeatureDeclaration;
use crate::codes;
use crate::model::{
    Acme, Authority, CertificateSettings, Challenge, Credential, Expose, Guests, Hypervisor, LabPorts,
    LabTarget, Network, PVE, Protocol, ProxmoxTarget, Sealed, Service, Site, SshTarget, Target, Trust,
};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{
    AcmeSource, AuthoritySource, CertificatesSource, ChallengeSource, ProxmoxSource, RecipientForm,
    SealedSource, SecretSource, SiteSource, SshForm, TargetSource,
};
use crate::values;

/// How long certificates live where nothing is said: 90 days.
pub(crate) const LIFE: Duration = Duration::from_secs(90 * 86_400);

/// Where the sealed copy is where nothing is said.
const SEALED: &str = "secrets.age";
/// What can be sealed to.
const KEYS: &str =
    "what `age-keygen -y` or a file such as ~/.ssh/id_ed25519.pub prints: \"age1…\" or \"ssh-ed25519 …\"";

pub(super) fn site(context: &mut Context<'_, '_>) -> Option<Site> {
    let Some(entry) = &context.namespace.site else {
        if !context.namespace.blind {
            let hint =
                "add \"site\": {\"name\": \"workshop\", \"domain\": \"workshop.internal\"} to one file";
            let draft =
                Draft::error(codes::MISSING_SITE, context.nowhere(), "no file says which `site` this is");
            context.push(draft.hint(hint));
        }
        return None;
    };
    let source = entry.value.as_ref()?;
    Some(Site {
        name: source.name.clone(),
        domain: source.domain.clone(),
        timezone: source.timezone.as_ref().map(|t| t.0.clone()),
        ids: source.ids.map(|ids| (ids.first, ids.last)),
        sealed: source.sealed.as_ref().map(|source| sealed(context, entry, source)),
        declared: entry.location(context.report),
    })
}

fn sealed(context: &mut Context<'_, '_>, entry: &Entry<'_, SiteSource>, source: &SealedSource) -> Sealed {
    let file = source.file.as_ref().map_or(SEALED, |path| path.0.as_str());
    let file: Utf8PathBuf = Utf8Path::new(file).components().filter(|part| part.as_str() != ".").collect();
    let kept_out = file.starts_with(".phoenix");
    if kept_out || file.as_str().is_empty() || matches!(file.extension(), Some("json" | "jsonc")) {
        let message = match kept_out {
            true => format!("`{file}` is lost together with what is sealed in it: `.phoenix` is in no clone"),
            false => format!("`{file}` is no name for a sealed copy"),
        };
        let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["sealed", "file"]), message);
        context.push(draft.hint("such as \"secrets.age\""));
    }
    let mut to = Vec::new();
    for (at, form) in source.to.iter().enumerate() {
        let spot = entry.spot(&["sealed", "to", &at.to_string()]);
        let (text, name) = match form {
            RecipientForm::Key(text) => (text.0.clone(), &text.0),
            RecipientForm::File(source) => match context.files.file(&source.file.0) {
                Ok(file) => (String::from_utf8_lossy(&file.bytes).into_owned(), &source.file.0),
                Err(problem) => {
                    context.push(Draft::error(problem.code, spot, problem.message).maybe_hint(problem.hint));
                    continue;
                }
            },
        };
        match sealed::recipients(&text) {
            Ok(keys) if keys.is_empty() => {
                let draft = Draft::error(
                    codes::BAD_VALUE,
                    spot,
                    format!("`{}` holds no public key", name.escape_debug()),
                );
                context.push(draft.hint(KEYS));
            }
            Ok(keys) => to.extend(keys.iter().map(ToString::to_string)),
            Err(error) => {
                context.push(Draft::error(codes::BAD_VALUE, spot, error.to_string()).hint(KEYS));
            }
        }
    }
    to.sort();
    to.dedup();
    Sealed { file, to }
}

/// Whether the range of ids has one for every guest that declares none.
pub(super) fn check_ids(site: Option<&Site>, containers: &Guests, context: &mut Context<'_, '_>) {
    let Some((first, last)) = site.and_then(|site| site.ids) else { return };
    let Some(entry) = &context.namespace.site else { return };
    let wanted = containers.values().filter(|c| c.id.is_none()).count();
    let declared: BTreeSet<u32> =
        containers.values().filter_map(|c| c.id).filter(|id| (first..=last).contains(id)).collect();
    let free = (last - first + 1) as usize - declared.len();
    if free < wanted {
        let spot = entry.spot(&["ids"]);
        let message = format!("`{first}-{last}` has {free} free ids for {wanted} guests that declare none");
        context.push(Draft::error(codes::BAD_VALUE, spot, message).hint("make the range larger"));
    }
}

pub(super) fn certificates(context: &mut Context<'_, '_>) -> CertificateSettings {
    let entry = context.namespace.certificates.as_ref();
    let source = entry.and_then(|entry| entry.value.as_ref());
    let acme = entry.zip(source).and_then(|(entry, source)| acme(context, entry, source.acme.as_ref()?));
    let authority = match source.and_then(|s| s.authority) {
        Some(AuthoritySource::StepCa) => Authority::StepCa,
        Some(AuthoritySource::Embedded) | None => Authority::Embedded,
    };
    let acme_names = source.and_then(|s| s.acme_names.clone()).unwrap_or_default();
    if let (Some(entry), Authority::Embedded, false) = (entry, authority, acme_names.is_empty()) {
        let message = "`acme-names` has no effect with the authority `embedded`, which nobody can ask";
        let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["acme-names"]), message);
        context.push(draft.hint("add \"authority\": \"step-ca\", or remove it"));
    }
    CertificateSettings {
        life: source.and_then(|s| s.life).map_or(LIFE, |life| life.0),
        authority,
        acme,
        acme_names,
    }
}

fn acme(
    context: &mut Context<'_, '_>,
    entry: &Entry<'_, CertificatesSource>,
    source: &AcmeSource,
) -> Option<Acme> {
    let challenge = match source.challenge {
        Some(ChallengeSource::Dns01) => Challenge::Dns01,
        Some(ChallengeSource::Http01) | None => Challenge::Http01,
    };
    let spot = |key: &str| entry.spot(&["acme", key]);
    if !source.directory.0.starts_with("https://") || source.directory.0.contains(char::is_whitespace) {
        let message = format!("`{}` is not an https address", source.directory);
        context.push(
            Draft::error(codes::BAD_VALUE, spot("directory"), message)
                .hint("such as \"https://acme-v02.api.letsencrypt.org/directory\""),
        );
    }
    match (challenge, &source.hook) {
        (Challenge::Dns01, None) => {
            let message = "the challenge `dns-01` needs the key `hook`";
            let draft = Draft::error(codes::MISSING_KEY, spot("challenge"), message);
            context.push(draft.hint("a program of the site that sets and removes the record"));
        }
        (Challenge::Http01, Some(_)) => {
            let message = "`hook` has no effect with the challenge `http-01`";
            let draft = Draft::error(codes::BAD_VALUE, spot("hook"), message);
            context.push(draft.hint("add \"challenge\": \"dns-01\", or remove it"));
        }
        _ => {}
    }
    let mut file = |key: &str, path: &values::SitePath| match context.files.file(&path.0) {
        Ok(file) => Some(file),
        Err(problem) => {
            context.push(Draft::error(problem.code, spot(key), problem.message).maybe_hint(problem.hint));
            None
        }
    };
    let hook = source.hook.as_ref().and_then(|path| file("hook", path));
    let root = source.root.as_ref().and_then(|path| file("root", path));
    Some(Acme {
        directory: source.directory.0.clone(),
        email: source.email.as_ref().map(|text| text.0.clone()),
        challenge,
        hook,
        root: root.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()),
    })
}

pub(super) fn hypervisor(
    target: Option<&Target>,
    networks: &BTreeMap<String, Network>,
    contents: &Contents,
    context: &mut Context<'_, '_>,
) -> Option<Hypervisor> {
    let namespace = context.namespace;
    let entry = namespace.hypervisor.as_ref()?;
    let source = entry.value.as_ref()?;
    let certificate = source.certificate.unwrap_or(false);
    // The lab's node is the gateway of its networks.
    let follows = || match target? {
        Target::Proxmox(target) => url_host(&target.endpoint)?.parse().ok(),
        Target::Lab(_) => networks.values().find_map(|network| network.gateway),
    };
    let declared = FeatureDeclaration::all(entry, context.report);
    let features = features::of_host("the node", entry, &declared, contents, context);
    let network = super::links::links(entry, source, context);
    let no_commands = matches!(target, Some(Target::Proxmox(ProxmoxTarget { ssh: None, .. })));
    let zfs = super::zfs::pools(entry, source, context);
    let hypervisor = Hypervisor {
        certificate,
        features,
        gpus: super::gpus::gpus(entry, source, context),
        kernel: super::kernel::kernel(entry, source, context),
        shares: super::shares::shares(entry, source, &zfs, networks, context),
        zfs,
        hostname: source.hostname.clone().unwrap_or_else(|| values::Label(PVE.to_owned())),
        address: source.address.map(|address| address.0).or_else(follows),
        network,
        declared: entry.location(context.report),
    };
    let wanted = [
        ("certificate", certificate, "the node's certificate cannot be put in place"),
        ("features", !hypervisor.features.is_empty(), "nothing can be installed on the node"),
        ("zfs", !hypervisor.zfs.is_empty(), "nothing can be done with the node's disks"),
        ("gpus", !hypervisor.gpus.is_empty(), "nothing is known of the node's graphics cards"),
        ("kernel", !hypervisor.kernel.is_empty(), "nothing can be done with the node's kernel"),
        (
            "shares",
            source.shares.as_ref().is_some_and(|all| !all.is_empty()),
            "nothing can be shared on the node",
        ),
        ("network", !hypervisor.network.is_empty(), "the node's network cannot be changed"),
    ];
    for (key, _, what) in wanted.into_iter().filter(|(_, wanted, _)| *wanted && no_commands) {
        let message = format!("{what}: there is no way to run commands on it");
        let draft = Draft::error(codes::MISSING_KEY, entry.spot(&[key]), message);
        context.push(draft.hint("declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\""));
    }
    Some(hypervisor)
}

/// The address that the target is asked at, where it is one.
pub(super) fn address(target: &Target) -> Option<Ipv4Addr> {
    match target {
        Target::Proxmox(target) => url_host(&target.endpoint)?.parse().ok(),
        Target::Lab(_) => None,
    }
}

/// The host of an endpoint: `https://10.0.0.13:8006` leads to 10.0.0.13.
pub(super) fn url_host(endpoint: &str) -> Option<&str> {
    let rest = endpoint.split_once("://")?.1;
    rest.split(['/', ':']).next()
}

pub(super) fn target(context: &mut Context<'_, '_>) -> Option<Target> {
    let Some(entry) = &context.namespace.target else {
        if !context.namespace.blind {
            let draft = Draft::error(
                codes::MISSING_TARGET,
                context.nowhere(),
                "no file says on which `target` to build",
            );
            context.push(draft.hint("add \"target\": {\"lab\": {}} to one file, or a `proxmox` target"));
        }
        return None;
    };
    match entry.value.as_ref()? {
        TargetSource { proxmox: Some(source), .. } => proxmox(context, entry, source).map(Target::Proxmox),
        TargetSource { lab: Some(source), .. } => {
            let ports = source.ports.as_ref();
            Some(Target::Lab(LabTarget {
                folder: source.folder.as_ref().map(|f| f.0.clone().into()),
                ports: LabPorts {
                    api: ports.and_then(|p| p.api),
                    ssh: ports.and_then(|p| p.ssh),
                    https: ports.and_then(|p| p.https),
                    services: ports.and_then(|p| p.services.clone()).unwrap_or_default(),
                },
                nodes: source.nodes,
                machine: source.machine,
            }))
        }
        TargetSource { .. } => None,
    }
}

/// What a lab's ports are for is there, speaks TCP, and no two want one port.
pub(super) fn check_ports(target: Option<&Target>, containers: &Guests, context: &mut Context<'_, '_>) {
    let Some(Target::Lab(LabTarget { ports, .. })) = target else { return };
    let Some(entry) = &context.namespace.target else { return };
    let services: BTreeMap<&str, &Service> =
        containers.values().flat_map(|c| c.services.values()).map(|s| (s.name.as_str(), s)).collect();
    let names: Vec<&str> = services.keys().copied().collect();
    let named = [("api", ports.api), ("ssh", ports.ssh), ("https", ports.https)];
    let mut wanted: BTreeMap<u16, (&str, Spot)> = named
        .into_iter()
        .filter_map(|(what, port)| Some((port?, (what, entry.spot(&["lab", "ports", what])))))
        .collect();
    for (name, port) in &ports.services {
        let key = entry.key_spot(&["lab", "ports", "services", name]);
        match services.get(name.as_str()) {
            None => context.dangling(key, "service", name, &names),
            Some(service) if !published(service) => {
                let message = format!("the service `{name}` is not published by a port of its own");
                let hint = "only what speaks `tcp` and is exposed by the gateway or `direct` is; HTTPS is published by `https`";
                context.push(Draft::error(codes::BAD_VALUE, key, message).hint(hint));
            }
            Some(_) => {}
        }
        let spot = entry.spot(&["lab", "ports", "services", name]);
        if let Some((other, there)) = wanted.get(port) {
            let message = format!("`{other}` and `{name}` both want port {port} of this machine");
            let draft = Draft::error(codes::DUPLICATE_PORT, spot, message).related(*there, "the other");
            context.push(draft.hint("say another port"));
        } else {
            wanted.insert(*port, (name, spot));
        }
    }
}

/// Whether a lab publishes the service by a port of its own.
fn published(service: &Service) -> bool {
    service.protocol == Protocol::Tcp && matches!(service.expose, Expose::Gateway | Expose::Direct)
}

fn proxmox(
    context: &mut Context<'_, '_>,
    entry: &Entry<'_, TargetSource>,
    source: &ProxmoxSource,
) -> Option<ProxmoxTarget> {
    let credential = credential(context, entry, source);
    let trust = match (&source.fingerprint, &source.ca_file) {
        (Some(_), Some(_)) => {
            let spot = entry.key_spot(&["proxmox", "ca-file"]);
            let message = "`fingerprint` and `ca-file` exclude each other";
            let draft = Draft::error(codes::NOT_ONE, spot, message)
                .related(entry.key_spot(&["proxmox", "fingerprint"]), "the other")
                .hint("keep `ca-file` where an authority signed the node's certificate, else `fingerprint`");
            context.push(draft);
            Trust::System
        }
        (Some(fingerprint), None) => Trust::Fingerprint(fingerprint.0.to_uppercase()),
        (None, Some(file)) => {
            if let Err(problem) = context.files.file(&file.0) {
                let spot = entry.spot(&["proxmox", "ca-file"]);
                context.push(Draft::error(problem.code, spot, problem.message).maybe_hint(problem.hint));
            }
            Trust::CaFile(file.0.clone().into())
        }
        (None, None) => Trust::System,
    };
    let ssh = match &source.ssh {
        None => None,
        // The structural check has read it, so this cannot fail.
        Some(SshForm::Short(text)) => values::ssh_destination(&text.0)
            .ok()
            .map(|(destination, port)| SshTarget { destination, port, identity: None, host_key: None }),
        Some(SshForm::Long(long)) => {
            let user = long.user.as_ref().map_or("root", |u| u.0.as_str());
            let destination = format!("{user}@{}", long.host.0);
            if let Err(error) = values::ssh_destination(&destination) {
                let spot = entry.spot(&["proxmox", "ssh", "host"]);
                context.push(Draft::error(codes::BAD_VALUE, spot, error.message));
            }
            Some(SshTarget {
                destination,
                port: long.port.unwrap_or(22),
                identity: long.identity.as_ref().map(|i| i.0.clone().into()),
                host_key: long.host_key.as_ref().map(|k| k.0.clone()),
            })
        }
    };
    Some(ProxmoxTarget {
        endpoint: source.endpoint.0.trim_end_matches('/').to_owned(),
        node: source.node.as_ref().map(|n| n.0.clone().into()),
        credential: credential?,
        trust,
        ssh,
    })
}

fn credential(
    context: &mut Context<'_, '_>,
    entry: &Entry<'_, TargetSource>,
    source: &ProxmoxSource,
) -> Option<Credential> {
    // Whether a key is written, not whether its value is right: a wrong one has its own error.
    let written = |key: &str| entry.node().get("proxmox").is_some_and(|p| p.get(key).is_some());
    let reference = |s: &Option<SecretSource>| s.as_ref().and_then(SecretSource::reference);
    let spot = |key: &str| entry.key_spot(&["proxmox", key]);
    match (written("token"), written("user"), written("password")) {
        (true, false, false) => reference(&source.token).map(Credential::Token),
        (false, true, true) => {
            let password = reference(&source.password)?;
            Some(Credential::Ticket { user: source.user.as_ref()?.0.clone(), password })
        }
        (true, _, _) => {
            let other = if written("user") { "user" } else { "password" };
            let message = format!("`token` and `{other}` exclude each other");
            let draft =
                Draft::error(codes::NOT_ONE, spot(other), message).related(spot("token"), "the token");
            context.push(draft.hint("keep the token: it can have fewer rights than its user"));
            None
        }
        (false, true, false) => {
            context.push(Draft::error(codes::MISSING_KEY, spot("user"), "`user` needs the key `password`"));
            None
        }
        (false, false, true) => {
            let draft = Draft::error(codes::MISSING_KEY, spot("password"), "`password` needs the key `user`");
            context.push(draft.hint("such as \"user\": \"root@pam\""));
            None
        }
        (false, false, false) => {
            let message = "`target.proxmox` needs the key `token`, or `user` and `password`";
            let draft = Draft::error(codes::MISSING_KEY, entry.key_spot(&["proxmox"]), message);
            context.push(draft.hint("such as \"token\": {\"env\": \"PHOENIX_PVE_TOKEN\"}"));
            None
        }
    }
}
