//! Finding circles of references.

use std::collections::BTreeMap;

/// The circles in a graph, each as the names in order, beginning with the least; every name is in one circle at most.
pub(crate) fn find<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Open,
        Done,
    }
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    let mut circles = Vec::new();
    for start in edges.keys().copied() {
        if states.contains_key(start) {
            continue;
        }
        // A stack of its own: a chain may be as long as a file, the call stack may not.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        states.insert(start, State::Open);
        while let Some((name, next)) = path.last_mut() {
            let target = edges.get(*name).and_then(|all| all.get(*next)).copied();
            *next += 1;
            let Some(target) = target else {
                states.insert(*name, State::Done);
                path.pop();
                continue;
            };
            match states.get(target) {
                Some(State::Done) => {}
                Some(State::Open) => {
                    let from = path.iter().position(|(on, _)| *on == target).unwrap_or(0);
                    let mut circle: Vec<&str> = path.iter().skip(from).map(|(on, _)| *on).collect();
                    let least = circle.iter().enumerate().min_by_key(|(_, on)| **on).map_or(0, |(i, _)| i);
                    circle.rotate_left(least);
                    if !circles.contains(&circle) {
                        circles.push(circle);
                    }
                }
                None if edges.contains_key(target) => {
                    states.insert(target, State::Open);
                    path.push((target, 0));
                }
                None => {}
            }
        }
    }
    circles
}

/// A circle in words: `a → b → a`.
pub(crate) fn words(circle: &[&str]) -> String {
    let mut names: Vec<String> = circle.iter().map(|name| format!("`{name}`")).collect();
    names.extend(names.first().cloned());
    names.join(" → ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_named_in_order() {
        let edges =
            BTreeMap::from([("c", vec!["a"]), ("a", vec!["b"]), ("b", vec!["c", "d"]), ("d", vec![])]);
        let circles = find(&edges);
        assert_eq!(circles, [vec!["a", "b", "c"]]);
        assert_eq!(words(&circles[0]), "`a` → `b` → `c` → `a`");
        assert_eq!(find(&BTreeMap::from([("x", vec!["x"])])), [vec!["x"]]);
    }

    #[test]
    fn a_long_chain_is_no_problem() {
        let names: Vec<String> = (0..50_000).map(|n| format!("n{n:06}")).collect();
        let edges = names.windows(2).map(|pair| (pair[0].as_str(), vec![pair[1].as_str()])).collect();
        assert!(find(&edges).is_empty());
    }
}
