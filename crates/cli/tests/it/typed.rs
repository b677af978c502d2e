//! The commands that a page of the book names.

/// The commands of a page: lines of its blocks, and those between backquotes that name nothing in capitals.
pub fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            let line = line.trim_start();
            let line = line.strip_prefix("$ ").unwrap_or(line);
            found.extend(line.starts_with("phoenix-cli ").then(|| line.to_owned()));
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            let typed = quoted.filter(|text| text.starts_with("phoenix-cli "));
            let placeholder = |word: &str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase());
            let whole = |text: &&str| !text.split(|c: char| !c.is_alphanumeric()).any(placeholder);
            found.extend(typed.filter(whole).map(str::to_owned));
        }
    }
    found
}
