//! The trees of disks that `zpool status` and `zpool import` print. Pure.

use std::collections::BTreeMap;

use plan::inventory::zfs::{Class, Group, Member};

/// What is said of one pool: texts by their heading, and the lines of its tree.
#[derive(Debug, Default)]
pub(super) struct Block {
    texts: BTreeMap<String, String>,
    /// The lines below `config:`, without the tab that each begins with.
    pub config: Vec<String>,
}

impl Block {
    /// The text under a heading; empty where there is none.
    pub(super) fn text(&self, heading: &str) -> &str {
        self.texts.get(heading).map_or("", String::as_str)
    }
}

/// The headings there are; a line that begins otherwise goes on with the one before.
const HEADINGS: [&str; 12] = [
    "pool",
    "id",
    "state",
    "status",
    "action",
    "see",
    "scan",
    "remove",
    "checkpoint",
    "config",
    "errors",
    "comment",
];

/// The pools that are told of.
pub(super) fn blocks<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut heading = "";
    for line in lines {
        let begins = line.trim_start().split_once(':').filter(|_| !line.starts_with('\t'));
        let known =
            begins.and_then(|(word, text)| Some((*HEADINGS.iter().find(|known| **known == word)?, text)));
        match known {
            Some((word, text)) => {
                if word == "pool" {
                    all.push(Block::default());
                }
                heading = word;
                if let Some(block) = all.last_mut() {
                    block.texts.insert(word.to_owned(), text.trim().to_owned());
                }
            }
            None => {
                let Some(block) = all.last_mut() else { continue };
                if heading == "config" {
                    block.config.extend(line.strip_prefix('\t').map(str::to_owned));
                } else if let Some(text) = block.texts.get_mut(heading) {
                    let more = line.trim();
                    if !text.is_empty() && !more.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(more);
                }
            }
        }
    }
    all
}

/// A line of the tree with what is below it.
#[derive(Debug, Default)]
struct Node {
    name: String,
    state: String,
    errors: u64,
    was: Option<String>,
    below: Vec<Self>,
}

impl Node {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let count = |at: usize| word(at).parse::<u64>().unwrap_or(0);
        let was = words.iter().position(|word| *word == "was").and_then(|at| words.get(at + 1));
        Self {
            name: word(0).to_owned(),
            state: word(1).to_owned(),
            errors: count(2) + count(3) + count(4),
            was: was.map(|path| (*path).to_owned()),
            below: Vec::new(),
        }
    }

    /// Whether disks are below it: `mirror-0`, `raidz2-1`, `replacing-0`.
    fn is_group(&self) -> bool {
        let kinds = ["mirror-", "raidz1-", "raidz2-", "raidz3-", "draid", "replacing-", "spare-"];
        !self.below.is_empty() || kinds.iter().any(|kind| self.name.starts_with(kind))
    }

    /// The disk that stands in this place, with the one whose place it takes.
    fn member(&self) -> Option<Member> {
        if !self.is_group() {
            let path = self.was.clone().unwrap_or_else(|| self.name.clone());
            let (name, state) = (self.name.clone(), self.state.clone());
            return Some(Member { name, path, state, errors: self.errors, replaces: None });
        }
        // Of a replacement the new one stands last; of a spare that stepped in, it is the first one's place still.
        match self.name.starts_with("spare-") {
            true => self.below.first()?.member(),
            false => {
                let member = self.below.last()?.member()?;
                Some(Member { replaces: self.below.first().map(|old| old.name.clone()), ..member })
            }
        }
    }
}

/// The groups of disks of a pool, from the lines of its tree.
pub(super) fn groups(pool: &str, lines: &[String]) -> Vec<Group> {
    let mut class = None;
    let mut groups = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let depth = depth_of(line);
        let node = tree(lines, &mut at);
        let below = match depth {
            // A heading, or the pool itself.
            0 => {
                class = match node.name.as_str() {
                    name if name == pool && groups.is_empty() => Some(Class::Data),
                    "special" | "dedup" => Some(Class::Special),
                    "logs" | "log" => Some(Class::Log),
                    "cache" => Some(Class::Cache),
                    "spares" => Some(Class::Spare),
                    _ => None,
                };
                node.below
            }
            _ => vec![node],
        };
        groups.extend(below.iter().filter_map(|node| group(class?, node)));
    }
    groups
}

fn depth_of(line: &str) -> usize {
    (line.len() - line.trim_start_matches(' ').len()) / 2
}

/// The node at a line, with all that is deeper.
fn tree(lines: &[String], at: &mut usize) -> Node {
    let Some(line) = lines.get(*at) else { return Node::default() };
    let mut node = Node::read(line);
    let depth = depth_of(line);
    *at += 1;
    while lines.get(*at).is_some_and(|line| !line.trim().is_empty() && depth_of(line) > depth) {
        node.below.push(tree(lines, at));
    }
    node
}

fn group(class: Class, node: &Node) -> Option<Group> {
    // What is left of a group that was taken away is no disk.
    if node.name.is_empty() || node.name.starts_with("indirect-") || node.name.starts_with("missing-") {
        return None;
    }
    let kind = node.name.split('-').next().unwrap_or_default();
    let layout = ["mirror", "raidz1", "raidz2", "raidz3"].into_iter().find(|layout| *layout == kind);
    let layout = layout.or_else(|| kind.starts_with("draid").then_some("draid"));
    let members: Vec<Member> = match layout {
        Some(_) => node.below.iter().filter_map(Node::member).collect(),
        None => node.member().into_iter().collect(),
    };
    let name = match layout {
        Some(_) => node.name.clone(),
        None => members.first().map_or_else(|| node.name.clone(), |member| member.name.clone()),
    };
    Some(Group { class, name, layout: layout.map(str::to_owned), state: node.state.clone(), members })
}
