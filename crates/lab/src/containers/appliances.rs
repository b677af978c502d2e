//! Templates that the lab makes itself: which can be had, and making one from its distribution's packages.
//!
//! A real node downloads finished templates. The lab has a distribution's packages at best, so it offers what its machine's
//! archive has, and builds that when it is asked for. What is built is kept for all labs of the machine.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::MACHINE_APT;
use super::run::{explain, output};
use super::sources::{Source, for_release, parse};
use crate::runtime::{Appliance, TaskError, TaskLog};
use crate::up::NODE_STATE;
use crate::up::base;

/// Where the made ones are kept, in the node; `lab up` binds a folder of the machine there.
pub(crate) const MADE: &str = "/var/cache/phoenix-lab";

/// Debian's releases that guests can be made from: code name and major version.
const RELEASES: [(&str, &str, &str); 2] = [("bookworm", "12", "Bookworm"), ("trixie", "13", "Trixie")];

/// How long asking an archive for a release may take.
const ASK: Duration = Duration::from_secs(20);

fn index() -> Utf8PathBuf {
    Utf8Path::new(NODE_STATE).join("aplinfo.json")
}

/// The templates that can be had; the archive is asked when it never was.
pub(crate) async fn known() -> Vec<Appliance> {
    match fs::read(index()).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
        Some(list) => list,
        None => update().await.unwrap_or_default(),
    }
}

/// Asks the archive which releases it has.
///
/// # Errors
/// When it has none, or does not answer.
pub(crate) async fn update() -> Result<Vec<Appliance>, TaskError> {
    let (own, sources) = machine()?;
    let asked = RELEASES.map(|(codename, major, title)| {
        let sources = for_release(&sources, &own, codename);
        async move {
            let main = sources.into_iter().find(|source| source.suite == codename)?;
            let version = version(&release_file(&main).await?).unwrap_or_else(|| major.to_owned());
            Some(appliance(codename, major, title, &version, &main.uri))
        }
    });
    let found: Vec<Appliance> = futures::future::join_all(asked).await.into_iter().flatten().collect();
    if found.is_empty() {
        return Err(TaskError("no archive of this machine's apt answers for a known release".to_owned()));
    }
    let text = serde_json::to_vec_pretty(&found).map_err(|e| TaskError(e.to_string()))?;
    let new = index().with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, index()))
        .map_err(|e| TaskError(format!("writing the index of templates failed: {e}")))?;
    Ok(found)
}

/// This machine's release, and its sources.
fn machine() -> Result<(String, Vec<Source>), TaskError> {
    let release = fs::read_to_string("/etc/os-release").map_err(|e| TaskError(e.to_string()))?;
    let own = codename(&release).ok_or_else(|| TaskError("unable to tell this node's release".to_owned()))?;
    let entries = fs::read_dir(format!("{MACHINE_APT}/sources.list.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    Ok((own, texts.flat_map(|text| parse(&text)).collect()))
}

/// Sources of apt for a release, from the archives of this machine's.
pub(super) fn sources(release: &str) -> Result<String, TaskError> {
    let (own, sources) = machine()?;
    Ok(for_release(&sources, &own, release).iter().map(Source::line).collect())
}

/// `VERSION_CODENAME` of `/etc/os-release` (os-release(5)).
pub(crate) fn codename(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// `dists/NAME/InRelease` of an archive, by apt's own means, so that its settings hold.
async fn release_file(source: &Source) -> Option<String> {
    let url = format!("{}/dists/{}/InRelease", source.uri, source.suite);
    let file = format!("{MADE}/release-{}", source.suite);
    let settings = format!("{MACHINE_APT}/apt.conf.d/99machine");
    let argv =
        ["env", &format!("APT_CONFIG={settings}"), "/usr/lib/apt/apt-helper", "download-file", &url, &file];
    let done = output(&argv, ASK).await.ok()?;
    let text = done.success().then(|| fs::read_to_string(&file).ok()).flatten();
    let _ = fs::remove_file(&file);
    text
}

/// `Version` of a release file, where it is one of a point release.
fn version(release: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix("Version:"))?.trim();
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| value.to_owned())
}

fn appliance(codename: &str, major: &str, title: &str, version: &str, uri: &str) -> Appliance {
    let architecture = super::inside::architecture();
    let package = format!("debian-{major}-standard");
    Appliance {
        template: format!("{package}_{version}-1_{architecture}.tar.zst"),
        package,
        version: format!("{version}-1"),
        os: format!("debian-{major}"),
        architecture: architecture.to_owned(),
        headline: format!("Debian {major} {title} (standard)"),
        description: format!("A small Debian {title} system, made by the lab from Debian's packages."),
        location: format!("{uri}/dists/{codename}"),
        source: uri.to_owned(),
        release: codename.to_owned(),
        section: "system".to_owned(),
    }
}

/// Makes a template, or takes the one that was made, and puts it under `target`. Its size in bytes.
///
/// # Errors
/// With what failed and what the program said.
pub(crate) async fn make(appliance: &Appliance, target: &Utf8Path, log: &TaskLog) -> Result<u64, TaskError> {
    let failed = |error: crate::up::Error| TaskError(explain(&error));
    let io = |error: std::io::Error| TaskError(format!("unable to make '{}' - {error}", appliance.template));
    let made = Utf8Path::new(MADE);
    let file = made.join(&appliance.template);
    // Two labs that want it at once make it once; the second waits for the first.
    let _lock = crate::up::lock_file(&made.join("make.lock"), base::BUILD).await.map_err(failed)?;
    if file.exists() {
        log.line(format!("'{}' was made before", appliance.template));
    } else {
        log.line(format!("making '{}' from the packages of {}", appliance.template, appliance.source));
        let sources = sources(&appliance.release)?;
        let work = made.join("making");
        // What one that was cut off left.
        base::remove(&work).await.map_err(failed)?;
        let (tmp, root) = (work.join("tmp"), work.join("root"));
        fs::create_dir_all(&tmp).map_err(io)?;
        let settings = format!("{MACHINE_APT}/apt.conf.d/99machine");
        base::bootstrap(&appliance.release, &sources, settings.as_str().into(), &tmp, &root, base::GUEST)
            .await
            .map_err(failed)?;
        let packed = work.join(&appliance.template);
        base::pack(&root, &packed).await.map_err(failed)?;
        fs::rename(&packed, &file).map_err(io)?;
        base::remove(&work).await.map_err(failed)?;
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let part = Utf8PathBuf::from(format!("{target}.part"));
    let size = fs::copy(&file, &part).map_err(io)?;
    fs::rename(&part, target).map_err(io)?;
    log.line(format!("'{target}' is there"));
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_told_by_its_files() {
        assert_eq!(version("Origin: Debian\nSuite: stable\nVersion: 13.8\n").as_deref(), Some("13.8"));
        assert_eq!(version("Suite: testing\nCodename: trixie\n"), None);
        assert_eq!(version("Version: 13-updates\n"), None);
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=\"trixie\"\n").as_deref(), Some("trixie"));
        let one = appliance("trixie", "13", "Trixie", "13.8", "http://deb.debian.org/debian");
        assert!(one.template.starts_with("debian-13-standard_13.8-1_"), "{}", one.template);
    }
}
