//! Who needs whom: the graph of resources, with typed edges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// What an edge means. One meaning each (P-38).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// The other one must be there and healthy first.
    Needs,
    /// The other one starts earlier when the node boots.
    BootsAfter,
}

/// The resources and their edges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: BTreeMap<Address, BTreeSet<(Address, EdgeKind)>>,
}

impl Graph {
    /// Adds a resource.
    pub fn add(&mut self, address: Address) {
        self.nodes.entry(address).or_default();
    }

    /// Adds an edge: `from` needs, or boots after, `to`.
    pub fn edge(&mut self, from: &Address, to: &Address, kind: EdgeKind) {
        self.add(to.clone());
        self.nodes.entry(from.clone()).or_default().insert((to.clone(), kind));
    }

    /// Whether there is such a resource.
    pub fn contains(&self, address: &Address) -> bool {
        self.nodes.contains_key(address)
    }

    /// All resources, sorted.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.nodes.keys()
    }

    /// What a resource needs directly.
    pub fn needs<'a>(&'a self, address: &Address) -> impl Iterator<Item = &'a Address> {
        self.nodes
            .get(address)
            .into_iter()
            .flatten()
            .filter(|(_, kind)| *kind == EdgeKind::Needs)
            .map(|(to, _)| to)
    }

    /// All edges of a resource.
    pub fn edges(&self, address: &Address) -> impl Iterator<Item = &(Address, EdgeKind)> {
        self.nodes.get(address).into_iter().flatten()
    }

    /// Every resource `address` needs, at any distance, without itself.
    pub fn needs_of_needs<'a>(&'a self, address: &'a Address) -> BTreeSet<&'a Address> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Address> = self.needs(address).collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(self.needs(next));
            }
        }
        seen
    }

    /// The first circle of needs, by the names in it, if there is one.
    pub fn circle(&self) -> Option<Vec<Address>> {
        self.circles().into_iter().next()
    }

    /// All circles of needs, each by the names in it.
    pub fn circles(&self) -> Vec<Vec<Address>> {
        let mut circles = Vec::new();
        let mut graph = DiGraph::<&Address, ()>::new();
        let index: BTreeMap<&Address, _> = self.nodes.keys().map(|a| (a, graph.add_node(a))).collect();
        for from in self.nodes.keys() {
            for to in self.needs(from) {
                if from == to {
                    circles.push(vec![from.clone()]);
                }
                graph.add_edge(index[from], index[to], ());
            }
        }
        let parts = tarjan_scc(&graph).into_iter().filter(|part| part.len() > 1);
        circles.extend(parts.map(|part| part.into_iter().rev().map(|n| graph[n].clone()).collect()));
        circles
    }

    /// As a Mermaid flowchart: arrows lead from a resource to what it needs; dotted ones to what boots before it.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let ids: BTreeMap<&Address, usize> = self.nodes.keys().enumerate().map(|(i, a)| (a, i)).collect();
        for (address, id) in &ids {
            let _ = writeln!(out, "    n{id}[\"{}\"]", address.as_str().replace('"', "#quot;"));
        }
        for (from, edges) in &self.nodes {
            for (to, kind) in edges {
                let arrow = if *kind == EdgeKind::Needs { "-->" } else { "-.->" };
                let _ = writeln!(out, "    n{} {arrow} n{}", ids[from], ids[to]);
            }
        }
        out
    }

    /// As a DOT graph for Graphviz.
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph site {\n    rankdir=LR;\n    node [shape=box];\n");
        for address in self.nodes.keys() {
            let _ = writeln!(out, "    {};", quote(address));
        }
        for (from, edges) in &self.nodes {
            for (to, kind) in edges {
                let style = if *kind == EdgeKind::Needs { "" } else { " [style=dotted]" };
                let _ = writeln!(out, "    {} -> {}{style};", quote(from), quote(to));
            }
        }
        out.push_str("}\n");
        out
    }

    /// As JSON: nodes, and edges with their kind.
    pub fn json(&self) -> serde_json::Value {
        let edges: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|(from, edges)| {
                edges
                    .iter()
                    .map(move |(to, kind)| serde_json::json!({ "from": from, "to": to, "kind": kind }))
            })
            .collect();
        serde_json::json!({ "nodes": self.nodes.keys().collect::<Vec<_>>(), "edges": edges })
    }
}

fn quote(address: &Address) -> String {
    format!("\"{}\"", address.as_str().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(name: &str) -> Address {
        Address::container(name)
    }

    #[test]
    fn circles_are_named() {
        let mut graph = Graph::default();
        graph.edge(&a("a"), &a("b"), EdgeKind::Needs);
        graph.edge(&a("b"), &a("c"), EdgeKind::Needs);
        assert_eq!(graph.circle(), None);
        graph.edge(&a("c"), &a("a"), EdgeKind::Needs);
        let mut circle = graph.circle().unwrap();
        circle.sort();
        assert_eq!(circle, vec![a("a"), a("b"), a("c")]);
    }

    // P-38: boot order is not a need, so a circle of it is no obstacle to making things.
    #[test]
    fn boot_order_is_no_need() {
        let mut graph = Graph::default();
        graph.edge(&a("a"), &a("b"), EdgeKind::BootsAfter);
        graph.edge(&a("b"), &a("a"), EdgeKind::BootsAfter);
        assert_eq!(graph.circle(), None);
        assert!(graph.needs_of_needs(&a("a")).is_empty());
    }

    #[test]
    fn drawings_hold_every_edge() {
        let mut graph = Graph::default();
        graph.edge(&a("x"), &a("y"), EdgeKind::Needs);
        graph.edge(&a("x"), &a("z"), EdgeKind::BootsAfter);
        assert!(graph.dot().contains("\"container.x\" -> \"container.y\";"));
        assert!(graph.dot().contains("\"container.x\" -> \"container.z\" [style=dotted];"));
        assert!(graph.mermaid().contains("n0 --> n1"));
        assert!(graph.mermaid().contains("n0 -.-> n2"));
    }
}
