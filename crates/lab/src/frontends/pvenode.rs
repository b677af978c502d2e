//! `pvenode cert`: the certificate that the node's API is served with.

use serde_json::Value;

use super::Done;
use super::client::{Api, Failure, Parameters};
use super::options::{Format, format, split};
use super::others::{print, table};
use super::pct::shown;
use super::pct_files::reason;

const SET: &str = "pvenode cert set <certificates> [<key>] [OPTIONS] [FORMAT_OPTIONS]";
const DELETE: &str = "pvenode cert delete [<restart>] [OPTIONS]";

pub(crate) async fn run(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    let (words, mut parameters) = split(arguments);
    let format = format(&mut parameters);
    let custom = api.path("/certificates/custom");
    let told = |first: &str, parameters: &Parameters| {
        let restarts = parameters.get("restart").is_some_and(|value| value == "1");
        format!("{first} custom certificate files\n{}", if restarts { "Restarting pveproxy\n" } else { "" })
    };
    match words.as_slice() {
        ["cert", "info"] => {
            let mut all = match api.call("GET", &api.path("/certificates/info"), &parameters).await? {
                Value::Array(all) => all,
                _ => Vec::new(),
            };
            if format != Format::Text {
                return Ok(Done::text(print(&Value::Array(all), format)));
            }
            all.sort_by_key(|one| shown(&one["filename"]));
            Ok(Done::text(all.iter().map(certificate).collect::<String>()))
        }
        ["cert", "set", files @ ..] => {
            if let Some(refused) = name_words(&["certificates", "key"], files, &mut parameters, SET) {
                return Ok(refused);
            }
            if !parameters.contains_key("certificates") {
                return Ok(Done::failed(255, format!("400 not enough arguments\n{SET}\n")));
            }
            // What is named is a file: a key is no argument.
            for name in ["certificates", "key"] {
                let Some(value) = parameters.get_mut(name) else { continue };
                // Not by `fs_err`: the words below name the file.
                match std::fs::read_to_string(&*value) {
                    Ok(text) => *value = text,
                    Err(error) => {
                        // The number of the system's error, which Perl's `die` makes the exit status.
                        let status = error.raw_os_error().unwrap_or(255);
                        return Ok(Done::failed(
                            status,
                            format!("can't open '{value}' - {}\n", reason(&error)),
                        ));
                    }
                }
            }
            match api.call("POST", &custom, &parameters).await {
                Ok(data) => {
                    let one = if format == Format::Text { certificate(&data) } else { print(&data, format) };
                    Ok(Done::text(told("Setting", &parameters) + &one))
                }
                Err(failure) => Ok(failure.with_usage(SET)),
            }
        }
        ["cert", "delete", restart @ ..] => {
            if let Some(refused) = name_words(&["restart"], restart, &mut parameters, DELETE) {
                return Ok(refused);
            }
            match api.call("DELETE", &custom, &parameters).await {
                Ok(_) => Ok(Done::text(told("Deleting", &parameters))),
                Err(failure) => Ok(failure.with_usage(DELETE)),
            }
        }
        _ => Ok(Done::failed(255, "ERROR: no command specified\npvenode <COMMAND> [ARGS] [OPTIONS]\n")),
    }
}

/// Makes parameters of words by their order; `Some` is what is said of too many.
fn name_words(names: &[&str], words: &[&str], parameters: &mut Parameters, usage: &str) -> Option<Done> {
    for (name, word) in names.iter().zip(words) {
        parameters.insert((*name).to_owned(), (*word).to_owned());
    }
    (words.len() > names.len()).then(|| Done::failed(255, format!("400 too many arguments\n{usage}\n")))
}

/// The table of one certificate.
fn certificate(one: &Value) -> String {
    let row = |key: &str| {
        let value = match (key, &one[key]) {
            ("notbefore" | "notafter", value) => value
                .as_i64()
                .and_then(|second| jiff::Timestamp::from_second(second).ok())
                .map(|time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T").to_string())
                .unwrap_or_default(),
            (_, Value::Array(all)) => {
                all.iter().map(|item| format!("- {}", shown(item))).collect::<Vec<_>>().join("\n")
            }
            (_, value) => shown(value),
        };
        (key.to_owned(), value)
    };
    let keys = ["filename", "fingerprint", "subject", "issuer", "notbefore", "notafter", "san"];
    table(&keys.map(row), false)
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::node::self_signed;
    use crate::server::Server;
    use crate::sim::World;

    #[tokio::test]
    async fn a_certificate_is_shown_set_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let world = World::new(1).unwrap();
        let socket = folder.join("api.sock");
        let _server = Server::unix(world.node.clone(), &socket).await.unwrap();
        let api = Api::at(&socket, "pve1");
        let ask = async |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            run(&api, &words).await.unwrap_or_else(Failure::into_done)
        };
        let (pem, key) = self_signed("pve1", &["pve1.home.arpa".to_owned()]).unwrap();
        let (chain_file, key_file) = (folder.join("chain.pem"), folder.join("key.pem"));
        fs_err::write(&chain_file, pem).unwrap();
        fs_err::write(&key_file, key).unwrap();

        let shown = ask("cert info").await;
        assert_eq!(shown.status, 0);
        let lines: Vec<&str> = shown.out.lines().collect();
        assert!(lines[0].starts_with("┌─────────────┬──"), "{}", shown.out);
        assert!(lines[1].starts_with("│ filename    │ pve-ssl.pem "), "{}", shown.out);
        assert!(lines[5].starts_with("│ subject     │ /CN=pve1/O=Phoenix lab "), "{}", shown.out);
        assert!(lines[14].starts_with("│             │ - localhost "), "{}", shown.out);
        assert_eq!(lines.len(), 17);

        let set = format!("cert set {chain_file} {key_file}");
        let done = ask(&set).await;
        assert_eq!((done.status, done.err.as_str()), (0, ""));
        assert!(done.out.starts_with("Setting custom certificate files\n┌"), "{}", done.out);
        let again = ask(&set).await;
        let exists = "Custom certificate file exists but force flag is not set.\n";
        assert_eq!((again.status, again.err.as_str()), (255, exists));
        let forced = ask(&format!("cert set --force 1 --restart=1 {chain_file} --key {key_file}")).await;
        assert!(forced.out.starts_with("Setting custom certificate files\nRestarting pveproxy\n┌"));
        assert!(world.node.custom_certificate().is_some());
        let json = ask("cert info --output-format json").await;
        let all: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(all[1]["filename"], "pveproxy-ssl.pem");

        let gone = Done::text("Deleting custom certificate files\nRestarting pveproxy\n");
        assert_eq!(ask("cert delete 1").await, gone);
        assert!(world.node.custom_certificate().is_none());
        assert_eq!(ask("cert delete --restart 1").await, gone);
        assert_eq!(ask("cert delete").await, Done::text("Deleting custom certificate files\n"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_sent() {
        // Nothing listens there: it would be another error.
        let api = Api::at("/nowhere".into(), "pve1");
        let missing = run(&api, &["cert", "set", "/nowhere.pem"]).await.unwrap();
        assert_eq!(missing, Done::failed(2, "can't open '/nowhere.pem' - No such file or directory\n"));
        for (words, why) in
            [(&["cert", "set"][..], "not enough"), (&["cert", "delete", "1", "2"], "too many")]
        {
            let done = run(&api, words).await.unwrap();
            assert_eq!(done.status, 255);
            assert!(done.err.starts_with(&format!("400 {why} arguments\npvenode cert {} ", words[1])));
        }
        let unknown = run(&api, &["acme"]).await.unwrap();
        assert!(unknown.err.ends_with("pvenode <COMMAND> [ARGS] [OPTIONS]\n"));
    }
}
