//! Building a Go module, from exactly the modules that its `go.sum` pins.

use std::time::Duration;

use camino::Utf8Path;
use transport::{Command, Local, Runner as _};

use super::cache::Key;
use super::error::Error;
use super::versions::Version;

/// The longest a build may take: Traefik takes five minutes on two cores, and its modules have to be fetched first.
const BUILD: Duration = Duration::from_mins(45);

/// What is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Module<'a> {
    pub package: &'a str,
    pub module: &'a str,
    pub version: &'a str,
    pub sum: &'a str,
    pub variables: &'a std::collections::BTreeMap<String, String>,
}

/// A Go toolchain of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Toolchain {
    program: String,
    version: Version,
}

/// Builds it in `folder`, which is empty, and returns the program.
pub(super) async fn build(
    module: Module<'_>,
    files: &[(&str, &[u8])],
    folder: &Utf8Path,
    key: &Key,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<Vec<u8>, Error> {
    let file = |name: &str| {
        let bytes = files.iter().find(|(n, _)| *n == name).map(|(_, bytes)| *bytes).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let (go_mod, go_sum) = (file("go.mod"), file("go.sum"));
    let pinned = format!("{} {} {}", module.module, module.version, module.sum);
    if !go_sum.lines().any(|line| line == pinned) {
        return Err(Error::OtherSum(key.name.clone()));
    }
    let toolchain = find(&candidates(), &wanted(&go_mod), &key.name).await?;
    for (name, text) in [("go.mod", go_mod), ("go.sum", go_sum)] {
        fs_err::write(folder.join(name), text)?;
    }
    // What takes minutes is said before it begins.
    tell(format!(
        "building {} {} from its sources with Go {}: some minutes, once; it is kept for later",
        key.name, key.version, toolchain.version
    ));
    let command = Command::new(
        format!("building {} {}", key.name, key.version),
        arguments(module, &toolchain, folder, &key.arch),
    );
    let output = Local.run(&command.limit(BUILD)).await?;
    if !output.success() {
        let module = format!("{}@{}", module.module, module.version);
        return Err(Error::Build { name: key.name.clone(), module, said: output.tail(8).into() });
    }
    Ok(fs_err::read(folder.join("program"))?)
}

/// The least version that a `go.mod` asks for.
fn wanted(go_mod: &str) -> Version {
    let line = go_mod.lines().find_map(|line| line.strip_prefix("go "));
    // Without the line it is 1.16 by Go's own rules.
    line.and_then(|v| v.trim().parse().ok()).unwrap_or_else(least)
}

/// The first version that fetches the toolchain a module asks for by itself.
fn least() -> Version {
    Version::of(&[1, 21])
}

/// The whole command line. What a person has set for their own work (`go env -w`) has no part in it, but for where modules
/// are fetched from and kept.
fn arguments(module: Module<'_>, toolchain: &Toolchain, folder: &Utf8Path, arch: &str) -> Vec<String> {
    let mut link = "-s -w".to_owned();
    for (name, value) in module.variables {
        link.push_str(&format!(" -X {name}={value}"));
    }
    let mut all: Vec<String> =
        ["env", "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOAMD64=v1"]
            .map(str::to_owned)
            .into();
    all.push(format!("GOARCH={arch}"));
    // Where the one that is here is too old it fetches the one that is asked for; Debian has that switched off. No `go.sum`
    // pins a toolchain, so whoever it comes from, Go's own list of checksums has to vouch for it.
    all.push("GOTOOLCHAIN=auto".to_owned());
    all.extend(["GOSUMDB=sum.golang.org", "GONOSUMDB=none"].map(str::to_owned));
    all.extend([toolchain.program.clone(), "build".into(), "-C".into(), folder.to_string()]);
    all.extend(["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"].map(str::to_owned));
    all.extend([link, "-o".into(), "program".into(), module.package.to_owned()]);
    all
}

/// Where toolchains are: the path, where Go's makers put it, where Debian puts several beside each other.
fn candidates() -> Vec<String> {
    let mut all = vec!["go".to_owned(), "/usr/local/go/bin/go".to_owned()];
    if let Ok(entries) = fs_err::read_dir("/usr/lib") {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        all.extend(names.filter(|n| n.starts_with("go-")).map(|n| format!("/usr/lib/{n}/bin/go")));
    }
    all
}

/// The first toolchain that is new enough, or else the newest that can fetch a newer one.
async fn find(candidates: &[String], wanted: &Version, name: &str) -> Result<Toolchain, Error> {
    let mut found: Vec<Toolchain> = Vec::new();
    for program in candidates {
        let asked = Command::new("asking for Go's version", [program.as_str(), "env", "GOVERSION"]);
        // What cannot be started is not there.
        let Ok(output) = Local.run(&asked).await else { continue };
        let Some(version) = output.text().trim().strip_prefix("go").and_then(|v| v.parse().ok()) else {
            continue;
        };
        if version >= *wanted {
            return Ok(Toolchain { program: program.clone(), version });
        }
        found.push(Toolchain { program: program.clone(), version });
    }
    let newest = found.into_iter().max_by(|a, b| a.version.cmp(&b.version));
    match newest {
        None => Err(Error::NoGo(name.to_owned())),
        Some(newest) if newest.version >= least() => Ok(newest),
        Some(old) => Err(Error::GoTooOld {
            name: name.to_owned(),
            wanted: wanted.to_string(),
            found: format!("{} is {}", old.program, old.version),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn toolchain(folder: &std::path::Path, version: &str) -> String {
        let path = folder.join(version);
        fs_err::write(&path, format!("#!/bin/sh\n[ \"$1 $2\" = 'env GOVERSION' ] && echo go{version}\n"))
            .expect("written");
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        path.to_str().expect("UTF-8").to_owned()
    }

    #[tokio::test]
    async fn a_toolchain_that_is_new_enough_or_can_fetch_one_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let made: BTreeMap<&str, String> =
            ["1.19.8", "1.21.0", "1.24.4", "1.26.8"].map(|v| (v, toolchain(dir.path(), v))).into();
        let wanted = wanted("module x\n\ngo 1.25.0\n");
        let find = |versions: &[&str]| {
            let mut all: Vec<String> = versions.iter().map(|v| made[v].clone()).collect();
            all.insert(0, "/nowhere/go".to_owned());
            let wanted = wanted.clone();
            async move { super::find(&all, &wanted, "x").await }
        };
        assert_eq!(find(&["1.19.8", "1.26.8"]).await.expect("found").program, made["1.26.8"]);
        assert_eq!(find(&["1.24.4", "1.21.0", "1.19.8"]).await.expect("found").program, made["1.24.4"]);
        let error = find(&["1.19.8"]).await.expect_err("too old");
        let words = format!("`x` is built with Go 1.25 or later, and {} is 1.19.8", made["1.19.8"]);
        assert_eq!((error.code(), error.to_string()), ("artifacts::go-too-old", words));
        let error = find(&[]).await.expect_err("none");
        assert_eq!(error.to_string(), "`x` is built with Go, and there is no Go toolchain on this machine");
        assert!(error.hint().starts_with("tools/setup installs one"));
    }

    #[test]
    fn the_command_line_leaves_nothing_to_the_machine() {
        let variables = BTreeMap::from([("main.Version".to_owned(), "1.2.3".to_owned())]);
        let module = Module {
            package: "example.org/x/cmd",
            module: "example.org/x",
            version: "v1.2.3",
            sum: "h1:",
            variables: &variables,
        };
        let go = Toolchain { program: "/go".into(), version: "1.26.8".parse().expect("a version") };
        let line = arguments(module, &go, Utf8Path::new("/b"), "amd64").join("|");
        assert_eq!(
            line,
            "env|CGO_ENABLED=0|GOOS=linux|GOFLAGS=|GOWORK=off|GOEXPERIMENT=|GOAMD64=v1|GOARCH=amd64|GOTOOLCHAIN=auto|\
             GOSUMDB=sum.golang.org|GONOSUMDB=none|/go|build|-C|/b|-mod=readonly|-trimpath|-buildvcs=false|-ldflags|-s -w -X main.Version=1.2.3|-o|program|\
             example.org/x/cmd"
        );
    }
}
