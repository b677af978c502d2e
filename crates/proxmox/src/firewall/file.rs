//! A firewall file: its lines as they are, and what each of them means.

use std::collections::BTreeMap;
use std::fmt;

use super::rule::Rule;

/// A section of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `[OPTIONS]`.
    Options,
    /// `[RULES]`.
    Rules,
    /// `[ALIASES]`.
    Aliases,
    /// `[IPSET name]`; the name in small letters.
    IpSet(String),
    /// `[group name]`; the name in small letters.
    Group(String),
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// The begin of a section.
    Section(Section),
    /// `key: value` among the options; the key in small letters.
    Option(String, String),
    /// A rule, of the file or of a group.
    Rule(Box<Rule>),
    /// A name for an address; the name in small letters.
    Alias(String, String),
    /// A member of a set, as it is written: with a `!` before it, it is left out of the set.
    Member(String),
    /// Blank, a comment, or something that pve-firewall itself skips with a warning.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    meaning: Meaning,
}

impl Line {
    fn new(text: impl Into<String>, meaning: Meaning) -> Self {
        Self { text: text.into(), meaning }
    }

    fn blank() -> Self {
        Self::new("", Meaning::Nothing)
    }
}

/// A firewall file. It prints back what it was read from, byte for byte; an edit changes the lines it is about and no
/// others, so that what somebody else has written is never lost (T-14, P-73).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallFile {
    lines: Vec<Line>,
}

impl Default for FirewallFile {
    fn default() -> Self {
        Self::parse("")
    }
}

impl FirewallFile {
    /// Reads a file. It never fails: what pve-firewall skips has no meaning here, and is kept.
    pub fn parse(text: &str) -> Self {
        let mut section = None;
        let lines = text.split('\n').map(|line| {
            let meaning = meaning(line, section.as_ref());
            if let Meaning::Section(found) = &meaning {
                section = Some(found.clone());
            }
            Line::new(line, meaning)
        });
        Self { lines: lines.collect() }
    }

    /// Every line that means something, with the section it is in.
    fn meanings(&self) -> impl Iterator<Item = (&Section, &Meaning)> {
        self.lines
            .iter()
            .scan(None, |section, line| {
                if let Meaning::Section(found) = &line.meaning {
                    *section = Some(found);
                }
                Some(section.map(|section| (section, &line.meaning)))
            })
            .flatten()
    }

    /// The value of an option. Where it is there twice the last one counts.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.meanings().fold(None, |found, (_, meaning)| match meaning {
            Meaning::Option(known, value) if known == key => Some(value.as_str()),
            _ => found,
        })
    }

    /// All options.
    pub fn options(&self) -> BTreeMap<&str, &str> {
        self.meanings()
            .filter_map(|(_, meaning)| match meaning {
                Meaning::Option(key, value) => Some((key.as_str(), value.as_str())),
                _ => None,
            })
            .collect()
    }

    /// The rules in their order, those that are switched off among them.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.meanings().filter_map(|(section, meaning)| match (section, meaning) {
            (Section::Rules, Meaning::Rule(rule)) => Some(&**rule),
            _ => None,
        })
    }

    /// The rules of a security group; `None` where there is no such group.
    pub fn group(&self, name: &str) -> Option<Vec<&Rule>> {
        let name = name.to_ascii_lowercase();
        let mut lines = self
            .meanings()
            .filter(|(section, _)| matches!(section, Section::Group(group) if *group == name))
            .peekable();
        lines.peek()?;
        Some(
            lines
                .filter_map(|(_, meaning)| match meaning {
                    Meaning::Rule(rule) => Some(&**rule),
                    _ => None,
                })
                .collect(),
        )
    }

    /// The address behind an alias.
    pub fn alias(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.meanings().find_map(|(_, meaning)| match meaning {
            Meaning::Alias(known, address) if *known == name => Some(address.as_str()),
            _ => None,
        })
    }

    /// The members of a set, as they are written; `None` where there is no such set.
    pub fn ip_set(&self, name: &str) -> Option<Vec<&str>> {
        let name = name.to_ascii_lowercase();
        let mut lines = self
            .meanings()
            .filter(|(section, _)| matches!(section, Section::IpSet(set) if *set == name))
            .peekable();
        lines.peek()?;
        Some(
            lines
                .filter_map(|(_, meaning)| match meaning {
                    Meaning::Member(member) => Some(member.as_str()),
                    _ => None,
                })
                .collect(),
        )
    }

    /// The sets whose head has a comment that begins with `prefix`, with their members as they are written.
    pub fn ip_sets_of(&self, prefix: &str) -> BTreeMap<String, Vec<String>> {
        let members = |block: std::ops::Range<usize>| {
            self.lines[block].iter().filter_map(|line| match &line.meaning {
                Meaning::Member(member) => Some(member.clone()),
                _ => None,
            })
        };
        let sets = self.set_blocks(prefix).into_iter();
        sets.map(|(name, block)| (name, members(block).collect())).collect()
    }

    /// Whether nothing is in it but blank lines and heads of sections: it can be removed as well.
    pub fn says_nothing(&self) -> bool {
        self.lines.iter().all(|line| match &line.meaning {
            Meaning::Section(Section::IpSet(_) | Section::Group(_)) => false,
            Meaning::Section(_) => !line.text.contains('#'),
            Meaning::Nothing => line.text.trim().is_empty(),
            _ => false,
        })
    }

    /// Sets an option, or takes it away. Nothing changes when it is so already.
    pub fn set_option(&mut self, key: &str, value: Option<&str>) {
        if self.option(key) == value {
            return;
        }
        let is_it = |line: &Line| matches!(&line.meaning, Meaning::Option(known, _) if known == key);
        let Some(value) = value else {
            self.lines.retain(|line| !is_it(line));
            return;
        };
        let new = Line::new(format!("{key}: {value}"), Meaning::Option(key.to_owned(), value.to_owned()));
        match self.lines.iter().rposition(is_it) {
            Some(at) => self.lines[at] = new,
            None => {
                let at = self.place_in(&Section::Options, true);
                self.lines.insert(at, new);
            }
        }
    }

    /// Replaces all rules whose comment begins with `prefix` by `rules`, as one set in their order: where the first of the
    /// old ones is, or else before all others, since what comes first decides. Nothing changes when it is so already.
    pub fn replace_rules(&mut self, prefix: &str, rules: &[Rule]) {
        let old = self.owned(prefix);
        let first = old.first().copied();
        let together = old.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if together && old.iter().filter_map(|at| self.rule_at(*at)).eq(rules) {
            return;
        }
        for at in old.iter().rev() {
            self.lines.remove(*at);
        }
        if rules.is_empty() {
            return;
        }
        let at = first.unwrap_or_else(|| self.place_in(&Section::Rules, false));
        let new = rules.iter().map(|rule| Line::new(rule.to_string(), Meaning::Rule(Box::new(rule.clone()))));
        self.lines.splice(at..at, new);
    }

    /// Replaces all sets whose head has a comment that begins with `prefix` by these, before the rules. A set of one of
    /// the names that is somebody else's stays, and is not doubled. Nothing changes when it is so already; the order of
    /// members says nothing.
    pub fn replace_ip_sets(&mut self, prefix: &str, sets: &BTreeMap<String, Vec<String>>) {
        let sorted = |members: &[String]| members.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let blocks = self.set_blocks(prefix);
        let is_theirs = |name: &str| {
            let all = self.meanings().filter(
                |(_, meaning)| matches!(meaning, Meaning::Section(Section::IpSet(set)) if set == name),
            );
            all.count() > blocks.iter().filter(|(own, _)| own == name).count()
        };
        let wanted: Vec<(&String, &Vec<String>)> = sets.iter().filter(|(name, _)| !is_theirs(name)).collect();
        let there = self.ip_sets_of(prefix);
        let same = blocks.len() == wanted.len()
            && wanted
                .iter()
                .all(|(name, members)| there.get(*name).is_some_and(|own| sorted(own) == sorted(members)));
        if same {
            return;
        }
        for (_, block) in blocks.into_iter().rev() {
            self.lines.drain(block);
        }
        if self.lines.is_empty() {
            self.lines.push(Line::blank());
        }
        for (name, members) in wanted {
            let head = Line::new(
                format!("[IPSET {name}] # {prefix}"),
                Meaning::Section(Section::IpSet(name.clone())),
            );
            let members = members.iter().map(|it| Line::new(it.clone(), Meaning::Member(it.clone())));
            let block: Vec<Line> =
                [head, Line::blank()].into_iter().chain(members).chain([Line::blank()]).collect();
            let at = self.place_of_sets();
            self.lines.splice(at..at, block);
        }
    }

    /// Where a set is put in: before the rules and groups, or at the end, where the last line stays the empty one.
    fn place_of_sets(&mut self) -> usize {
        let later =
            |line: &Line| matches!(line.meaning, Meaning::Section(Section::Rules | Section::Group(_)));
        if let Some(at) = self.lines.iter().position(later) {
            return at;
        }
        if self.lines.last().is_some_and(|line| !line.text.is_empty()) {
            self.lines.push(Line::blank());
        }
        let end = self.lines.len() - 1;
        if end > 0 && !self.lines[end - 1].text.is_empty() {
            self.lines.insert(end, Line::blank());
            return end + 1;
        }
        end
    }

    /// The lines of each set whose head has a comment that begins with `prefix`, with its name.
    fn set_blocks(&self, prefix: &str) -> Vec<(String, std::ops::Range<usize>)> {
        let is_head = |line: &Line| matches!(line.meaning, Meaning::Section(_));
        // The last line is the empty one behind the last newline, and stays.
        let end = self.lines.len() - usize::from(self.lines.last().is_some_and(|line| line.text.is_empty()));
        let block = |(at, line): (usize, &Line)| {
            let Meaning::Section(Section::IpSet(name)) = &line.meaning else { return None };
            let comment = line.text.split_once('#')?.1.trim();
            let after = at + 1;
            let next = self.lines[after..].iter().position(is_head).map_or(end, |next| after + next);
            comment.starts_with(prefix).then(|| (name.clone(), at..next.max(after)))
        };
        self.lines.iter().enumerate().filter_map(block).collect()
    }

    fn rule_at(&self, at: usize) -> Option<&Rule> {
        match &self.lines.get(at)?.meaning {
            Meaning::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// The numbers of the lines with the rules of that prefix; those of groups are somebody's own.
    fn owned(&self, prefix: &str) -> Vec<usize> {
        let mut in_rules = false;
        let mut found = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            match &line.meaning {
                Meaning::Section(section) => in_rules = *section == Section::Rules,
                Meaning::Rule(rule) if in_rules && rule.is_of(prefix) => found.push(at),
                _ => {}
            }
        }
        found
    }

    /// Where a line of a section is put in: after the last that is there, or before the first. The section is made where
    /// it is missing: the options before all others, as Proxmox VE has them, others at the end of the file.
    fn place_in(&mut self, section: &Section, last: bool) -> usize {
        let is_head = |line: &Line| matches!(&line.meaning, Meaning::Section(found) if found == section);
        let Some(head) = self.lines.iter().position(is_head) else { return self.make(section) };
        let after = head + 1;
        let length =
            self.lines[after..].iter().take_while(|line| !matches!(line.meaning, Meaning::Section(_)));
        let end = after + length.count();
        let body = &self.lines[after..end];
        let full = |line: &Line| !line.text.trim().is_empty();
        let found =
            if last { body.iter().rposition(full).map(|at| at + 1) } else { body.iter().position(full) };
        let missing = 2_usize.saturating_sub(body.len());
        match found {
            Some(at) => after + at,
            // An empty section: between two blank lines, as Proxmox VE writes it.
            None => {
                self.lines.splice(after..after, std::iter::repeat_n(Line::blank(), missing));
                after + 1
            }
        }
    }

    fn make(&mut self, section: &Section) -> usize {
        let options = *section == Section::Options;
        let text = if options { "[OPTIONS]" } else { "[RULES]" };
        let head = Line::new(text, Meaning::Section(section.clone()));
        // What is before the first section means nothing, and must not begin to.
        let first = self.lines.iter().position(|line| matches!(line.meaning, Meaning::Section(_)));
        if let Some(first) = first.filter(|_| options) {
            self.lines.splice(first..first, [head, Line::blank(), Line::blank()]);
            return first + 2;
        }
        if self.lines.last().is_some_and(|line| !line.text.is_empty()) {
            self.lines.push(Line::blank());
        }
        // The last line is the empty one behind the last newline, and stays the last.
        let end = self.lines.len() - 1;
        let gap = (end > 0 && !self.lines[end - 1].text.is_empty()).then(Line::blank);
        let at = end + usize::from(gap.is_some()) + 2;
        self.lines.splice(end..end, gap.into_iter().chain([head, Line::blank()]));
        at
    }
}

/// Reads one line. Sections are known whatever their case, and with a comment where pve-firewall allows one.
fn meaning(line: &str, section: Option<&Section>) -> Meaning {
    if line.starts_with('#') || line.trim().is_empty() {
        return Meaning::Nothing;
    }
    if let Some(section) = head(line) {
        return Meaning::Section(section);
    }
    match section {
        Some(Section::Options) => option(line),
        Some(Section::Rules | Section::Group(_)) => {
            line.parse().map_or(Meaning::Nothing, |rule| Meaning::Rule(Box::new(rule)))
        }
        Some(Section::Aliases) => {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(name), Some(address), None) => {
                    Meaning::Alias(name.to_ascii_lowercase(), address.to_owned())
                }
                _ => Meaning::Nothing,
            }
        }
        Some(Section::IpSet(_)) => {
            let member: String = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            if member.is_empty() { Meaning::Nothing } else { Meaning::Member(member) }
        }
        None => Meaning::Nothing,
    }
}

fn head(line: &str) -> Option<Section> {
    let (name, after) = line.strip_prefix('[')?.split_once(']')?;
    let name = name.to_ascii_lowercase();
    let after = after.trim();
    match name.as_str() {
        "options" if after.is_empty() => return Some(Section::Options),
        "rules" if after.is_empty() => return Some(Section::Rules),
        "aliases" if after.is_empty() => return Some(Section::Aliases),
        _ => {}
    }
    let mut words = name.split_whitespace();
    let (Some(kind), Some(name), None) = (words.next(), words.next(), words.next()) else { return None };
    match kind {
        _ if !(after.is_empty() || after.starts_with('#')) => None,
        "ipset" => Some(Section::IpSet(name.to_owned())),
        "group" => Some(Section::Group(name.to_owned())),
        _ => None,
    }
}

fn option(line: &str) -> Meaning {
    let Some((key, value)) = line.split_once(':') else { return Meaning::Nothing };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if key.is_empty() || !key.bytes().all(fits) {
        return Meaning::Nothing;
    }
    Meaning::Option(key.to_ascii_lowercase(), value.trim().to_owned())
}

impl fmt::Display for FirewallFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
