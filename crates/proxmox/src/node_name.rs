//! What a node can be called.

/// Whether a node can have this name: that of a host, which may be in a path or a command line as it is. Letters, digits
/// and, inside, hyphens (pve-common, `PVE::JSONSchema::pve_verify_node_name`); at most 63 of them (RFC 1123 2.1).
pub fn is_node_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let ends = name.starts_with('-') || name.ends_with('-');
    !name.is_empty() && name.len() <= 63 && !ends && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hosts() {
        for good in ["pve1", "PVE-01", "1", "a"] {
            assert!(is_node_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a/b", "../pve1", "a b", "a\n", "\u{fc}", &"a".repeat(64)] {
            assert!(!is_node_name(bad), "{bad}");
        }
    }
}
