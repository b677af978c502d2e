//! `pveam`: the templates that can be had, and those that are there.

use std::fmt::Write as _;

use serde_json::Value;

use super::Done;
use super::client::{Api, Failure, Parameters, encode};
use super::options::split;
use super::pct::shown;

/// The sections of the real index (pveam(1)).
const SECTIONS: [&str; 3] = ["mail", "system", "turnkeylinux"];

/// `pveam available`, `list`, `update`, `download`, `remove`.
pub(crate) async fn run(api: &Api, arguments: &[&str]) -> Result<Done, Failure> {
    let (words, options) = split(arguments);
    match words.as_slice() {
        ["available"] => {
            let section = options.get("section").map(String::as_str);
            if let Some(bad) = section.filter(|section| !SECTIONS.contains(section)) {
                let message = format!(
                    "400 Parameter verification failed.\nsection: value '{bad}' does not have a value in the enumeration \
                     '{}'\npveam available [OPTIONS]\n",
                    SECTIONS.join(", ")
                );
                return Ok(Done::failed(255, message));
            }
            let all = api.call("GET", &api.path("/aplinfo"), &Parameters::new()).await?;
            Ok(Done::text(available(rows(&all), section)))
        }
        ["list", storage] => {
            let only = Parameters::from([("content".to_owned(), "vztmpl".to_owned())]);
            let path = api.path(&format!("/storage/{storage}/content"));
            let all = api.call("GET", &path, &only).await?;
            Ok(Done::text(list(rows(&all))))
        }
        ["update"] => match crate::containers::update_appliances().await {
            Ok(_) => Ok(Done::text("update successful\n")),
            // Its log is what there is to see.
            Err(_) => Ok(Done::failed(1, "update failed - see /var/log/pveam.log for details\n")),
        },
        ["download", storage, template] => {
            let parameters = [("storage", *storage), ("template", *template)];
            let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            match api.call_and_wait("POST", &api.path("/aplinfo"), &parameters).await {
                Ok(work) => Ok(work.into_done()),
                Err(failure) => Ok(failure.with_usage("pveam download <storage> <template>")),
            }
        }
        ["remove", volume] => {
            let storage = volume.split(':').next().unwrap_or_default();
            let mut encoded = String::new();
            encode(volume, &mut encoded);
            let path = api.path(&format!("/storage/{storage}/content/{encoded}"));
            api.call_and_wait("DELETE", &path, &Parameters::new()).await.map(|_| Done::text(""))
        }
        ["list"] => Ok(Done::failed(255, "400 not enough arguments\npveam list <storage>\n")),
        ["download", ..] => {
            Ok(Done::failed(255, "400 not enough arguments\npveam download <storage> <template>\n"))
        }
        _ => Ok(Done::failed(255, "ERROR: no command specified\npveam <COMMAND> [ARGS] [OPTIONS]\n")),
    }
}

fn rows(data: &Value) -> &[Value] {
    data.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn available(all: &[Value], section: Option<&str>) -> String {
    let wanted = |one: &&Value| section.is_none_or(|section| one["section"] == section);
    let mut lines: Vec<String> = all
        .iter()
        .filter(wanted)
        .map(|one| format!("{:<15} {}\n", shown(&one["section"]), shown(&one["template"])))
        .collect();
    lines.sort();
    lines.concat()
}

fn list(all: &[Value]) -> String {
    let mut out = format!("{:<60} {:<6}\n", "NAME", "SIZE");
    for one in all {
        let size = one["size"].as_f64().unwrap_or_default() / f64::from(1 << 20);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<60} {size:.2}MB", shown(&one["volid"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tables_are_the_real_ones() {
        let all = [
            json!({"section": "system", "template": "debian-13-standard_13.6-1_amd64.tar.zst"}),
            json!({"section": "system", "template": "debian-12-standard_12.12-1_amd64.tar.zst"}),
        ];
        assert_eq!(
            available(&all, None),
            "system          debian-12-standard_12.12-1_amd64.tar.zst\nsystem          debian-13-standard_13.6-1_amd64.tar.zst\n"
        );
        assert_eq!(available(&all, Some("mail")), "");
        let there =
            [json!({"volid": "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst", "size": 126_515_062})];
        assert_eq!(
            list(&there),
            "NAME                                                         SIZE  \n\
             local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst        120.65MB\n"
        );
    }
}
