//! The guest agent of a virtual machine: commands run inside it, by the node's API.
//!
//! Facts: qemu-server (`PVE/API2/Qemu/Agent.pm`), and what a real node of Proxmox VE 9.2 answered: at most 65,536 bytes of input,
//! at most 61,440 of a file; a command's number first, and its end when it is asked for.

use std::sync::Arc;

use serde::Deserialize;

use super::{GuestRef, call};
use crate::error::{Error, described};
use crate::exchange::{Exchange, Method, Request};
use crate::lenient;

/// The most that a command is given on standard input, in bytes.
pub const INPUT: usize = 65_536;

/// The most of a file that one call writes, in characters: base64, so three quarters of it in bytes.
pub const FILE: usize = 61_440;

/// Runs commands in virtual machines. It is apart from a [`super::Reader`], since a command may change whatever it likes.
#[derive(Debug, Clone)]
pub struct Agent {
    exchange: Arc<dyn Exchange>,
}

/// How a command is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ended {
    /// Whether it has ended.
    #[serde(deserialize_with = "lenient::flag")]
    pub exited: bool,
    /// Its exit status.
    #[serde(default)]
    pub exitcode: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Its standard output, as far as it is text.
    #[serde(default)]
    pub out_data: String,
    /// Its standard error.
    #[serde(default)]
    pub err_data: String,
    /// Whether it said more than the agent kept.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub out_truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Begun {
    pid: u64,
}

impl Agent {
    /// Over `exchange`.
    pub fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self { exchange }
    }

    /// Starts a command, with `input` on its standard input. Its number.
    ///
    /// # Errors
    /// When there is no answer, or a refusal: of a guest that does not run, or whose agent does not.
    pub async fn exec(&self, guest: &GuestRef, argv: &[String], input: &str) -> Result<u64, Error> {
        let mut params: Vec<(String, String)> =
            argv.iter().map(|word| ("command".to_owned(), word.clone())).collect();
        if !input.is_empty() {
            params.push(("input-data".to_owned(), input.to_owned()));
        }
        let begun: Begun = self.ask(Method::Post, guest.path(&["agent", "exec"]), params).await?;
        Ok(begun.pid)
    }

    /// How a command is. What it said is told once, with its end.
    ///
    /// # Errors
    /// As [`Agent::exec`].
    pub async fn ended(&self, guest: &GuestRef, pid: u64) -> Result<Ended, Error> {
        let params = vec![("pid".to_owned(), pid.to_string())];
        self.ask(Method::Get, guest.path(&["agent", "exec-status"]), params).await
    }

    /// Writes a file: what was there is gone. `content` is base64, at most [`FILE`] characters of it.
    ///
    /// # Errors
    /// As [`Agent::exec`].
    pub async fn write(&self, guest: &GuestRef, file: &str, content: &str) -> Result<(), Error> {
        let params = vec![
            ("file".to_owned(), file.to_owned()),
            ("content".to_owned(), content.to_owned()),
            ("encode".to_owned(), "0".to_owned()),
        ];
        let request = Request { method: Method::Post, path: guest.path(&["agent", "file-write"]), params };
        call(&*self.exchange, &request).await.map(drop)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        params: Vec<(String, String)>,
    ) -> Result<T, Error> {
        let request = Request { method, path, params };
        let data = call(&*self.exchange, &request).await?;
        serde_json::from_value(data)
            .map_err(|error| Error::Answer { request: described(&request), reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As a real node of Proxmox VE 9.2 answered.
    #[test]
    fn how_a_command_ended() {
        let ended: Ended =
            serde_json::from_value(json!({ "exited": 1, "exitcode": 5, "out-data": "a\n" })).unwrap();
        assert_eq!((ended.exited, ended.exitcode, ended.out_data.as_str()), (true, Some(5), "a\n"));
        let runs: Ended = serde_json::from_value(json!({ "exited": 0 })).unwrap();
        assert!(!runs.exited && !runs.out_truncated);
    }
}
