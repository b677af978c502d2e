//! From what is written to what is meant: types merged, defaults filled in, references followed, everything checked.

mod around;
mod features;
mod flows;
mod gpus;
mod guests;
mod images;
mod kernel;
mod links;
mod machines;
mod made;
mod merge;
mod mounts;
mod names;
mod networks;
mod off;
mod parts;
mod renames;
mod services;
mod shares;
mod site;
mod stacks;
mod storages;
mod zfs;

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::codes;
use crate::feature_files::Known;
use crate::files::SiteFiles;
use crate::model::{
    Authority, Blueprint, GPU_NODES, Guests, KERNEL, KEYS, NVIDIA_DRIVER, RENEWS, SCHEDULE, SHARE_MOUNTS,
    STACK, VFIO, shared,
};
use crate::namespace::Namespace;
use crate::report::{Draft, Report, Spot};
use crate::suggest;
use crate::tree::Span;

/// What the steps have in common.
pub(crate) struct Context<'a, 'd> {
    pub namespace: &'a Namespace<'d>,
    pub features: &'a Known<'a>,
    pub files: &'a dyn SiteFiles,
    pub site_wide: usize,
    pub report: &'a mut Report,
}

impl Context<'_, '_> {
    pub fn push(&mut self, draft: Draft) {
        self.report.push(draft);
    }

    /// For what is missing in the site as a whole.
    pub fn nowhere(&self) -> Spot {
        Spot { file: self.site_wide, span: Span::default() }
    }

    /// Whether the node has something of this name in a list of its, which was not understood: then that is what is wrong.
    pub fn is_damaged(&self, list: &str, name: &str) -> bool {
        let entry = self.namespace.hypervisor.as_ref().filter(|entry| entry.damaged);
        entry.is_some_and(|entry| entry.spot(&[list, name]).span != entry.spot(&[list]).span)
    }

    /// Reports a reference to something that no file defines; says nothing while a file could not be read.
    pub fn dangling(&mut self, spot: Spot, what: &str, name: &str, names: &[&str]) {
        if self.namespace.blind {
            return;
        }
        let hint = suggest::hint(name, "there are", names.iter().copied());
        let hint =
            hint.or_else(|| names.is_empty().then(|| format!("the blueprint defines no {what} at all")));
        let message = format!("there is no {what} `{}`", name.escape_debug());
        self.push(Draft::error(codes::DANGLING, spot, message).maybe_hint(hint));
    }
}

/// Makes the model; `None` where too much is wrong, which the report then says.
pub(crate) fn resolve(
    mut namespace: Namespace<'_>,
    features: &Known<'_>,
    files: &dyn SiteFiles,
    root: Utf8PathBuf,
    site_wide: usize,
    report: &mut Report,
) -> Option<Blueprint> {
    let merged = merge::Merged::take_all(&mut namespace, report);
    let mut context = Context { namespace: &namespace, features, files, site_wide, report };
    let site = site::site(&mut context);
    let target = site::target(&mut context);
    let certificates = site::certificates(&mut context);
    let flows = flows::flows(&mut context);
    let networks = networks::networks(&mut context);
    let storages = storages::storages(&mut context);
    let templates = images::templates(&mut context);
    let images = images::images(&mut context);
    let guests = merge::merge(merged, &mut context);
    let mut contents = features::Contents::default();
    features::check_declared(&mut context, &mut contents);
    let hypervisor = site::hypervisor(target.as_ref(), &networks, &contents, &mut context);
    let mut guests: Guests = guests
        .into_iter()
        .filter_map(|(name, merged)| {
            let around = guests::Around {
                networks: &networks,
                contents: &contents,
                acme: certificates.acme.as_ref(),
                target: target.as_ref(),
                node: hypervisor.as_ref(),
            };
            let guest = guests::guest(&name, merged, around, &mut context)?;
            Some((guest.name.clone(), Arc::new(guest)))
        })
        .collect();
    let stacks = stacks::stacks(site.as_ref(), &mut guests, certificates.acme.as_ref(), &mut context);
    if let Some(node) = &hypervisor {
        links::check_used(&node.network, &networks, &guests, &mut context);
        shares::check_storages(&node.shares, &node.zfs, &storages, &mut context);
    }
    let firewall = flows::firewall(&guests, &mut context);
    images::check_used(&guests, &images, &mut context);
    storages::check_used(&storages, &guests, &templates, &images, &mut context);
    made::check(&guests, &templates, &images, &mut context);
    let endpoint = target.as_ref().and_then(site::address);
    guests::check_together(&guests, &networks, endpoint, &mut context);
    site::check_ids(site.as_ref(), &guests, &mut context);
    guests::check_needs(&mut context, &guests);
    renames::check(&guests, &mut context);
    off::check(&guests, hypervisor.as_ref(), &mut context);
    gpus::check(hypervisor.as_ref(), &guests, &mut context);
    if let Some(firewall) = firewall.as_ref().filter(|firewall| firewall.zero_trust) {
        flows::check_needs(&guests, &flows, &mut context);
        flows::check_packages(firewall, &guests, &mut context);
    }
    let domain = site.as_ref().map(|s| s.domain.clone());
    services::check_together(&guests, &mut context);
    around::check(&guests, firewall.as_ref(), &flows, &mut context);
    site::check_ports(target.as_ref(), &guests, &mut context);
    names::check(domain.as_deref(), hypervisor.as_ref(), target.as_ref(), &guests, &mut context);
    parts::check(&guests, &certificates, &mut context);
    let on_node = hypervisor.iter().flat_map(|node| &node.features);
    let mut used: BTreeSet<String> =
        guests.values().flat_map(|c| &c.features).chain(on_node).map(|f| f.name.clone()).collect();
    let of_the_node = hypervisor.as_ref().is_some_and(|node| node.certificate);
    if certificates.authority == Authority::StepCa || certificates.acme.is_some() || of_the_node {
        used.extend(features.closure(RENEWS));
    }
    if hypervisor.as_ref().is_some_and(|node| node.zfs.values().any(|pool| pool.is_scheduled())) {
        used.extend(features.closure(SCHEDULE));
    }
    if hypervisor.as_ref().is_some_and(|node| node.zfs.values().any(|pool| pool.has_keys())) {
        used.extend(features.closure(KEYS));
    }
    if hypervisor.as_ref().is_some_and(|node| node.gpus.values().any(|gpu| gpu.pass)) {
        used.extend(features.closure(VFIO));
    }
    if hypervisor.as_ref().is_some_and(|node| node.gpus.values().any(|gpu| gpu.installer.is_some())) {
        used.extend(features.closure(NVIDIA_DRIVER));
    }
    if hypervisor.as_ref().is_some_and(|node| !node.kernel.is_empty()) {
        used.extend(features.closure(KERNEL));
    }
    let cards = hypervisor.iter().flat_map(|node| node.gpus.values());
    if shared(cards.map(AsRef::as_ref), &guests).next().is_some() {
        used.extend(features.closure(GPU_NODES));
    }
    let shares = hypervisor.iter().flat_map(|node| node.shares.values());
    used.extend(shares.flat_map(|share| share.features()).flat_map(|name| features.closure(name)));
    if !stacks.is_empty() {
        used.extend(features.closure(STACK));
    }
    if guests.values().any(|guest| !guest.shares.is_empty()) {
        used.extend(features.closure(SHARE_MOUNTS));
    }
    let features =
        used.into_iter().filter_map(|name| features.get(&name).map(|f| (name, Arc::clone(f)))).collect();
    Some(Blueprint {
        root,
        site: site?,
        target: target?,
        certificates,
        hypervisor,
        firewall,
        flows,
        networks,
        storages,
        templates,
        images,
        guests,
        stacks,
        image_digests: stacks::digests(&namespace),
        features,
    })
}
