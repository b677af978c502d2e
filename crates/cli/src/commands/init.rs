//! `init`: a small, commented site.

use blueprint::init::Template;
use camino::Utf8Path;

use crate::args::{Global, Init};
use crate::error::{CommandError, Outcome};
use crate::printer::Printer;

/// Writes a first site into the site's folder; never over something.
pub fn run(global: &Global, options: &Init, printer: Printer) -> Outcome {
    let fine = !options.name.is_empty()
        && options.name.len() <= 40
        && options.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !options.name.starts_with('-')
        && !options.name.ends_with('-');
    if !fine {
        return Err(CommandError::usage("init::name", format!("`{}` cannot be a site's name", options.name))
            .hint("use small letters, digits and hyphens, e.g. my-workshop"));
    }
    let root = site::folder(&global.site)?;
    // Another one cannot be typed.
    let template = Template::named(&options.template).unwrap_or(&blueprint::init::FIRST);
    let mut files = template.files(&options.name);
    let schema = serde_json::to_string_pretty(&blueprint::schema()).unwrap_or_default();
    files.push((".phoenix/blueprint.schema.json".into(), format!("{schema}\n")));
    let there: Vec<&str> = files
        .iter()
        .map(|(path, _)| path.as_str())
        .filter(|p| !p.starts_with('.') && root.join(p).exists())
        .collect();
    if !there.is_empty() {
        return Err(CommandError::usage("init::exists", format!("{root} has {} already", there.join(", ")))
            .hint("choose an empty folder: phoenix-cli init --site my-workshop"));
    }
    site::made_state(&root)?;
    for (path, text) in &files {
        write(&root.join(path), text).map_err(|e| CommandError::from_error("init::write", &e))?;
    }
    if printer.json {
        let paths: Vec<&str> = files.iter().map(|(p, _)| p.as_str()).collect();
        printer.data_json(&serde_json::json!({ "site": options.name, "folder": root, "files": paths }));
        return Ok(0);
    }
    let shown = &global.site;
    printer.say(format!("wrote the site `{}` into {root}: {}", options.name, template.about));
    printer.say(format!(
        "next:\n  phoenix-cli validate --site {shown}\n  phoenix-cli lab up --site {shown}    a Proxmox node to try it on, on this machine (as root)\n  phoenix-cli up --site {shown}"
    ));
    Ok(0)
}

fn write(path: &Utf8Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if path.exists() && path.file_name() == Some(".gitignore") {
        return Ok(());
    }
    fs_err::write(path, text)
}
