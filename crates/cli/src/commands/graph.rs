//! `graph`: what depends on what, or who may talk to whom, as a picture.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plan::Host;
use plan::desired::{End, Flow};
use serde_json::{Value, json};

use crate::args::{Global, Graph, GraphFormat};
use crate::error::Outcome;
use crate::opening;
use crate::printer::Printer;

/// Draws the graph of resources, or the flows.
pub fn run(global: &Global, options: &Graph, printer: Printer) -> Outcome {
    let desired = opening::paper(global, printer)?.desired;
    if !options.flows {
        if printer.json {
            printer.data_json(&desired.graph.json());
            return Ok(0);
        }
        printer.data(match options.format {
            GraphFormat::Mermaid => desired.graph.mermaid(),
            GraphFormat::Dot => desired.graph.dot(),
        });
        return Ok(0);
    }
    if desired.firewall.is_none() {
        printer.warn("no firewall is declared: nothing holds anybody to these flows");
    }
    if printer.json {
        printer.data_json(&as_json(&desired.flows));
        return Ok(0);
    }
    printer.data(match options.format {
        GraphFormat::Mermaid => mermaid(&desired.flows),
        GraphFormat::Dot => dot(&desired.flows),
    });
    Ok(0)
}

/// Flows between the same two ends are one arrow: what is spoken on it, with the ids of the flows.
fn arrows(flows: &[Flow]) -> BTreeMap<(&End, &End), Vec<String>> {
    let mut arrows: BTreeMap<(&End, &End), Vec<String>> = BTreeMap::new();
    for flow in flows {
        arrows.entry((&flow.from, &flow.to)).or_default().push(format!("{}: {}", flow.id, spoken(flow)));
    }
    arrows
}

/// `tcp 80, 443`.
fn spoken(flow: &Flow) -> String {
    let ports: Vec<String> = flow.ports.iter().map(u16::to_string).collect();
    format!("{} {}", flow.protocol.as_str(), ports.join(", "))
}

/// All ends, numbered in a fixed order.
fn ends(flows: &[Flow]) -> BTreeMap<&End, usize> {
    let all: BTreeSet<&End> = flows.iter().flat_map(|flow| [&flow.from, &flow.to]).collect();
    all.into_iter().zip(0..).collect()
}

/// As a Mermaid flowchart: arrows lead from where a connection begins. What is no guest is drawn round.
fn mermaid(flows: &[Flow]) -> String {
    let mut out = String::from("flowchart LR\n");
    let ends = ends(flows);
    for (end, number) in &ends {
        // Writing to a String cannot fail.
        let _ = match end {
            End::Host(Host::Guest(..)) => writeln!(out, "    n{number}[\"{end}\"]"),
            _ => writeln!(out, "    n{number}([\"{end}\"])"),
        };
    }
    for ((from, to), labels) in arrows(flows) {
        let _ = writeln!(out, "    n{} -- \"{}\" --> n{}", ends[from], labels.join("<br>"), ends[to]);
    }
    out
}

/// As a DOT graph for Graphviz.
fn dot(flows: &[Flow]) -> String {
    let mut out = String::from("digraph flows {\n    rankdir=LR;\n    node [shape=box];\n");
    for end in ends(flows).keys() {
        let round = if end.guest().is_some() { "" } else { " [shape=ellipse]" };
        let _ = writeln!(out, "    \"{end}\"{round};");
    }
    for ((from, to), labels) in arrows(flows) {
        let _ = writeln!(out, "    \"{from}\" -> \"{to}\" [label=\"{}\"];", labels.join("\\n"));
    }
    out.push_str("}\n");
    out
}

/// As JSON: a list, each flow with its reason.
fn as_json(flows: &[Flow]) -> Value {
    let one = |flow: &Flow| {
        json!({
            "id": flow.id, "from": flow.from.to_string(), "to": flow.to.to_string(),
            "protocol": flow.protocol, "ports": flow.ports, "reason": flow.reason,
        })
    };
    json!({ "flows": flows.iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::desired::Transport;

    fn flow(id: &str, from: End, to: End, protocol: Transport, ports: &[u16]) -> Flow {
        Flow { id: id.into(), from, to, protocol, ports: ports.to_vec(), reason: "it is so".into() }
    }

    fn flows() -> Vec<Flow> {
        let (front, notes) = (End::Host(Host::container("front")), End::Host(Host::container("notes")));
        vec![
            flow("gateway.outside", End::Outside, front.clone(), Transport::Tcp, &[80, 443]),
            flow("dns.tcp", End::Inside, front.clone(), Transport::Tcp, &[53]),
            flow("dns.udp", End::Inside, front.clone(), Transport::Udp, &[53]),
            flow("service.notes", front, notes, Transport::Tcp, &[8080]),
        ]
    }

    #[test]
    fn pictures() {
        assert_eq!(
            mermaid(&flows()),
            "flowchart LR\n    n0([\"outside\"])\n    n1([\"inside\"])\n    n2[\"container.front\"]\n    \
             n3[\"container.notes\"]\n    n0 -- \"gateway.outside: tcp 80, 443\" --> n2\n    \
             n1 -- \"dns.tcp: tcp 53<br>dns.udp: udp 53\" --> n2\n    n2 -- \"service.notes: tcp 8080\" --> n3\n"
        );
        assert_eq!(
            dot(&flows()),
            "digraph flows {\n    rankdir=LR;\n    node [shape=box];\n    \"outside\" [shape=ellipse];\n    \
             \"inside\" [shape=ellipse];\n    \"container.front\";\n    \"container.notes\";\n    \
             \"outside\" -> \"container.front\" [label=\"gateway.outside: tcp 80, 443\"];\n    \
             \"inside\" -> \"container.front\" [label=\"dns.tcp: tcp 53\\ndns.udp: udp 53\"];\n    \
             \"container.front\" -> \"container.notes\" [label=\"service.notes: tcp 8080\"];\n}\n"
        );
        assert_eq!(as_json(&flows())["flows"][3]["from"], "container.front");
    }
}
