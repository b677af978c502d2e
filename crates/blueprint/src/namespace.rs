//! All files of a site as one namespace: what is defined where, and nothing twice.

use std::collections::BTreeMap;

use crate::codes;
use crate::model::{Location, Service};
use crate::read::Document;
use crate::report::{Draft, Report, Spot};
use crate::source::{
    CertificatesSource, FileSource, FirewallSource, FlowSource, GuestSource, HypervisorSource, ImageSource,
    NetworkSource, SiteSource, StackSource, StorageSource, TargetSource, TemplateSource, TypeSource,
};
use crate::tree::{Member, Node, Span};
use crate::values::ImageDigest;

/// Something that is defined in one of the files.
#[derive(Debug)]
pub(crate) struct Entry<'d, T> {
    pub document: &'d Document,
    pub member: &'d Member,
    /// What is right in it; `None` where too little is.
    pub value: Option<T>,
    /// Whether the structural check found errors in it: then nothing is said about what is missing.
    pub damaged: bool,
}

/// Where something is written, whatever it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'d> {
    pub document: &'d Document,
    member: &'d Member,
}

impl<'d> Written<'d> {
    /// Where the value a path of keys leads to stands, or the innermost one that exists.
    pub fn spot(self, path: &[&str]) -> Spot {
        self.document.spot(self.member.value.locate(path))
    }

    /// Where a key at the end of a path stands; else the name.
    pub fn key_spot(self, path: &[&str]) -> Spot {
        self.document.spot(self.key_span(path))
    }

    fn key_span(self, path: &[&str]) -> Span {
        let mut node = &self.member.value;
        let mut span = self.member.key;
        for key in path {
            let Some(member) = node.member(key) else { return self.member.key };
            span = member.key;
            node = &member.value;
        }
        span
    }

    pub fn node(self) -> &'d Node {
        &self.member.value
    }
}

impl<'d, T> Entry<'d, T> {
    /// Where it is written.
    pub fn written(&self) -> Written<'d> {
        Written { document: self.document, member: self.member }
    }

    /// Where the name stands.
    pub fn key(&self) -> Spot {
        self.document.spot(self.member.key)
    }

    /// Where the value a path of keys leads to stands, or the innermost one that exists.
    pub fn spot(&self, path: &[&str]) -> Spot {
        self.written().spot(path)
    }

    /// Where a key at the end of a path stands; else the entry's own.
    pub fn key_spot(&self, path: &[&str]) -> Spot {
        self.written().key_spot(path)
    }

    pub fn node(&self) -> &Node {
        &self.member.value
    }

    /// Where it is declared, for people.
    pub fn location(&self, report: &Report) -> Location {
        self.location_of(&[], report)
    }

    /// Where a key at the end of a path is, for people; else the entry's own.
    pub fn location_of(&self, path: &[&str], report: &Report) -> Location {
        location(self.document, self.written().key_span(path).start, report)
    }
}

/// File, line and column of a byte of a document.
pub(crate) fn location(document: &Document, offset: usize, report: &Report) -> Location {
    let (line, column) = document.text.line_column(offset);
    Location { file: report.path(document.file), line, column }
}

/// Everything that the files define.
#[derive(Debug, Default)]
pub(crate) struct Namespace<'d> {
    pub site: Option<Entry<'d, SiteSource>>,
    pub target: Option<Entry<'d, TargetSource>>,
    pub certificates: Option<Entry<'d, CertificatesSource>>,
    pub hypervisor: Option<Entry<'d, HypervisorSource>>,
    pub firewall: Option<Entry<'d, FirewallSource>>,
    pub networks: BTreeMap<String, Entry<'d, NetworkSource>>,
    pub storages: BTreeMap<String, Entry<'d, StorageSource>>,
    pub templates: BTreeMap<String, Entry<'d, TemplateSource>>,
    pub images: BTreeMap<String, Entry<'d, ImageSource>>,
    pub types: BTreeMap<String, Entry<'d, TypeSource>>,
    /// Guests of every kind: their names are one namespace, as host names are.
    pub guests: BTreeMap<String, Entry<'d, GuestSource>>,
    pub stacks: BTreeMap<String, Entry<'d, StackSource>>,
    pub image_digests: BTreeMap<String, Entry<'d, ImageDigest>>,
    pub flows: BTreeMap<String, Entry<'d, FlowSource>>,
    /// Whether a file could not be read as a whole: then what seems to be missing may be in it.
    pub blind: bool,
}

impl<'d> Namespace<'d> {
    /// Where a service of a guest is written: at the guest, or at the stack whose it is.
    pub fn of_service(&self, guest: &str, service: &Service) -> Option<Written<'d>> {
        match &service.stack {
            Some(stack) => self.stacks.get(stack).map(Entry::written),
            None => self.guests.get(guest).map(Entry::written),
        }
    }

    pub fn merge(documents: &'d [Document], typed: Vec<Option<FileSource>>, report: &mut Report) -> Self {
        let errors = report.error_spots();
        let mut all = Self::default();
        for (document, typed) in documents.iter().zip(typed) {
            let Some(root) = &document.root else {
                all.blind = true;
                continue;
            };
            all.blind |= root.members().is_none();
            let typed = typed.unwrap_or_default();
            let mut merger = Merger { document, root, errors: &errors, report };
            merger.single("site", typed.site, &mut all.site);
            merger.single("target", typed.target, &mut all.target);
            merger.single("certificates", typed.certificates, &mut all.certificates);
            merger.single("hypervisor", typed.hypervisor, &mut all.hypervisor);
            merger.single("firewall", typed.firewall, &mut all.firewall);
            merger.several("stacks", "stack", typed.stacks, &mut all.stacks);
            merger.several("image-digests", "image digest", typed.image_digests, &mut all.image_digests);
            merger.several("flows", "flow", typed.flows, &mut all.flows);
            merger.several("networks", "network", typed.networks, &mut all.networks);
            merger.several("storages", "storage", typed.storages, &mut all.storages);
            merger.several("templates", "template", typed.templates, &mut all.templates);
            merger.several("images", "image", typed.images, &mut all.images);
            merger.several("types", "type", typed.types, &mut all.types);
            let containers = typed.containers.map(guests);
            merger.several("containers", "container", containers, &mut all.guests);
            let vms = typed.vms.map(guests);
            merger.several("vms", "vm", vms, &mut all.guests);
        }
        all
    }
}

/// Guests of one kind as guests.
fn guests<T: Into<GuestSource>>(of_a_kind: BTreeMap<String, T>) -> BTreeMap<String, GuestSource> {
    of_a_kind.into_iter().map(|(name, source)| (name, source.into())).collect()
}

struct Merger<'d, 'a> {
    document: &'d Document,
    root: &'d Node,
    errors: &'a [Spot],
    report: &'a mut Report,
}

impl<'d> Merger<'d, '_> {
    fn entry<T>(&self, member: &'d Member, value: Option<T>) -> Entry<'d, T> {
        let spot = self.document.spot(member.key);
        let from = self.errors.partition_point(|e| *e < spot);
        let inside = |e: &&Spot| e.file == spot.file && e.span.start <= member.value.span.end;
        let mut near = self.errors.get(from..).unwrap_or_default().iter().take_while(inside);
        let damaged = near.any(|e| member.value.span.contains(e.span) || e.span == member.key);
        Entry { document: self.document, member, value, damaged }
    }

    fn single<T>(&mut self, key: &str, value: Option<T>, slot: &mut Option<Entry<'d, T>>) {
        let Some(member) = self.root.member(key) else { return };
        let entry = self.entry(member, value);
        match slot {
            None => *slot = Some(entry),
            Some(first) => twice(&format!("`{key}`"), first, &entry, self.report),
        }
    }

    fn several<T>(
        &mut self,
        key: &str,
        what: &str,
        values: Option<BTreeMap<String, T>>,
        into: &mut BTreeMap<String, Entry<'d, T>>,
    ) {
        let Some(members) = self.root.get(key).and_then(Node::members) else { return };
        let mut values = values.unwrap_or_default();
        for (name, member) in members {
            let entry = self.entry(member, values.remove(name));
            match into.get(name) {
                None => {
                    into.insert(name.clone(), entry);
                }
                Some(first) => twice(&format!("the {what} `{name}`"), first, &entry, self.report),
            }
        }
    }
}

fn twice<T>(what: &str, first: &Entry<'_, T>, second: &Entry<'_, T>, report: &mut Report) {
    let draft = Draft::error(codes::DEFINED_TWICE, second.key(), format!("{what} is defined twice"))
        .label("again here")
        .related(first.key(), "first here")
        .hint("all files of a site are one namespace: remove or rename one of the two");
    report.push(draft);
}
