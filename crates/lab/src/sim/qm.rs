//! `pct` and `qm` on a simulated node, as far as they are the API as root.

use proxmox::exchange::{Method, Request};
use serde_json::Value;
use transport::Output;

use super::shell::{SimShell, failed};
use crate::node::Auth;

impl SimShell {
    /// `pct VERB ID --key value …`, or `qm` likewise.
    pub(super) async fn guest_command(&self, program: &str, verb: &str, id: &str, rest: &[&str]) -> Output {
        let folder = if program == "qm" { "qemu" } else { "lxc" };
        let base = format!("/nodes/{}/{folder}/{id}", self.node().name());
        let mut params = Vec::new();
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let Some(key) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                return failed(255, &format!("400 too many arguments\n{program} {verb} <vmid> [OPTIONS]\n"));
            };
            match key.split_once('=') {
                Some((key, value)) => params.push((key.to_owned(), value.to_owned())),
                None => params.push((key.to_owned(), words.next().map_or("1", |value| value).to_owned())),
            }
        }
        let (method, path) = match (program, verb) {
            (_, "set") => (Method::Put, format!("{base}/config")),
            (_, "start" | "stop" | "shutdown" | "reboot") | ("qm", "reset" | "suspend" | "resume") => {
                (Method::Post, format!("{base}/status/{verb}"))
            }
            (_, "destroy") => (Method::Delete, base.clone()),
            (_, "status") => (Method::Get, format!("{base}/status/current")),
            (_, "config" | "unlock") => (Method::Get, format!("{base}/config")),
            _ => return failed(255, &format!("ERROR: unknown command '{program} {verb}'\n")),
        };
        let response = self.node().handle(&Auth::root(), &Request { method, path, params }).await;
        if response.status != 200 {
            let mut text = match response.status {
                400 => "400 Parameter verification failed.\n".to_owned(),
                _ => format!("{}\n", response.reason),
            };
            for (key, error) in response.body["errors"].as_object().into_iter().flatten() {
                text.push_str(&format!("{key}: {}\n", error.as_str().unwrap_or_default().trim_end()));
            }
            return failed(if response.reason.starts_with("Configuration file '") { 2 } else { 255 }, &text);
        }
        let data = &response.body["data"];
        let said = |text: String| Output { stdout: text.into_bytes(), ..Output::default() };
        match verb {
            "status" => {
                return said(format!("status: {}\n", data["status"].as_str().unwrap_or("unknown")));
            }
            "config" => {
                let lines = data.as_object().into_iter().flatten().filter(|(key, _)| *key != "digest");
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                return said(lines.map(|(key, value)| format!("{key}: {}\n", text(value))).collect());
            }
            "unlock" => {
                self.node().set_guest_lock(id.parse().unwrap_or_default(), None);
                return Output::default();
            }
            _ => {}
        }
        // The command comes back when the task has ended.
        let Some(upid) = data.as_str() else { return Output::default() };
        match self.node().task_end(upid).await {
            Some(error) if error != "OK" && !error.starts_with("WARNINGS") => {
                failed(255, &format!("{error}\n"))
            }
            _ => Output::default(),
        }
    }
}
