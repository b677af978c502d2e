//! `tools/setup` installs what the lab needs: its list is held against the lab's own.

use camino::Utf8Path;

/// Packages the lab needs and `tools/setup` does not name; one line each.
///
/// # Errors
/// When the script cannot be read.
pub fn missing(root: &Utf8Path) -> Result<Vec<String>, std::io::Error> {
    let script = fs_err::read_to_string(root.join("tools/setup"))?;
    let named = script
        .lines()
        .find_map(|line| line.strip_prefix("LAB=(")?.strip_suffix(')'))
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>();
    let missing = lab::up::PACKAGES.iter().filter(|p| !named.contains(p));
    Ok(missing.map(|p| format!("tools/setup does not install {p}, which the lab needs")).collect())
}
