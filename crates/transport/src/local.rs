//! This machine.

use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;

use crate::{Command, Error, Held, Output, Runner, Stream, process};

/// Runs commands on this machine, each in a process group of its own, which is killed when the command's time is up
/// or when the caller stops waiting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

const PLACE: &str = "this machine";

#[async_trait]
impl Runner for Local {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        process::run(&command.argv, command, PLACE, line).await
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let held = process::hold(&command.argv, command, PLACE).await?;
        Ok(held.map(|(first, guard)| (first, Box::new(guard) as Box<dyn Held>)))
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        let failed = |reason: String| Error::Connect {
            place: format!("{host}:{port}"),
            reason,
            hint: Some(format!("is the service up? see what listens: ss -ltn 'sport = :{port}'")),
        };
        match tokio::time::timeout(limit, TcpStream::connect((host, port))).await {
            Err(_) => Err(failed(format!("no answer within {limit:?}"))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Ok(Ok(stream)) => {
                // Small requests must not wait for the acknowledgement of the last one; failing to say so is harmless.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
        }
    }

    fn place(&self) -> String {
        PLACE.to_owned()
    }
}
