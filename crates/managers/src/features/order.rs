//! Which feature comes after which.

use std::collections::BTreeMap;

use super::error::OrderError;

/// Puts features in the order they are applied: what a feature requires comes before it, otherwise `base` first and
/// the rest as they were asked for. What is required and was not asked for is added.
///
/// `requires` tells what a feature requires, by name; `None` for a name that is no feature.
///
/// # Errors
/// A name that is no feature, and features that require each other.
pub fn order<'a>(
    wanted: &[&'a str],
    requires: impl Fn(&str) -> Option<&'a [String]>,
) -> Result<Vec<&'a str>, OrderError> {
    let mut walk = Walk { requires, done: BTreeMap::new(), path: Vec::new(), order: Vec::new() };
    let base = wanted.iter().filter(|&&name| name == "base");
    for name in base.chain(wanted.iter().filter(|&&name| name != "base")) {
        walk.visit(name)?;
    }
    Ok(walk.order)
}

struct Walk<'a, F> {
    requires: F,
    /// False while what a feature requires is being looked at.
    done: BTreeMap<&'a str, bool>,
    path: Vec<&'a str>,
    order: Vec<&'a str>,
}

impl<'a, F: Fn(&str) -> Option<&'a [String]>> Walk<'a, F> {
    fn visit(&mut self, name: &'a str) -> Result<(), OrderError> {
        match self.done.get(name) {
            Some(true) => return Ok(()),
            Some(false) => {
                let from = self.path.iter().position(|&n| n == name).unwrap_or(0);
                let names = self.path[from..].iter().chain([&name]).map(|&n| n.to_owned()).collect();
                return Err(OrderError::Cycle { names });
            }
            None => {}
        }
        let Some(required) = (self.requires)(name) else {
            let feature = self.path.last().map_or("the guest", |&n| n).to_owned();
            return Err(OrderError::Missing { feature, required: name.to_owned() });
        };
        self.done.insert(name, false);
        self.path.push(name);
        let base = required.iter().filter(|name| *name == "base");
        for name in base.chain(required.iter().filter(|name| *name != "base")) {
            self.visit(name)?;
        }
        self.path.pop();
        self.done.insert(name, true);
        self.order.push(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(wanted: &[&'static str]) -> Result<Vec<String>, OrderError> {
        let features: BTreeMap<&str, Vec<String>> = [
            ("base", vec![]),
            ("trusted-ca", vec!["base"]),
            ("gateway", vec!["trusted-ca", "base"]),
            ("alone", vec![]),
            ("a", vec!["b"]),
            ("b", vec!["c"]),
            ("c", vec!["a"]),
            ("broken", vec!["nowhere"]),
        ]
        .map(|(name, requires)| (name, requires.into_iter().map(str::to_owned).collect()))
        .into();
        let order = order(wanted, |name| features.get(name).map(Vec::as_slice))?;
        Ok(order.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn base_is_first_and_the_rest_as_required() {
        assert_eq!(sorted(&["gateway"]).unwrap(), ["base", "trusted-ca", "gateway"]);
        assert_eq!(
            sorted(&["alone", "gateway", "base"]).unwrap(),
            ["base", "alone", "trusted-ca", "gateway"]
        );
        assert_eq!(sorted(&["alone", "alone"]).unwrap(), ["alone"]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert_eq!(sorted(&["a"]).unwrap_err().to_string(), "features require each other: a → b → c → a");
        let error = sorted(&["broken"]).unwrap_err();
        assert_eq!(error, OrderError::Missing { feature: "broken".into(), required: "nowhere".into() });
    }
}
