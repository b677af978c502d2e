//! A TCP connection as seen from the far side: `ssh -W` over the shared connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout};

use super::{Ssh, failure};
use crate::process::{Group, Pipes};
use crate::{Error, Stream};

/// The end of a tunnel on this side. Dropping it ends the ssh process that carries it.
#[derive(Debug)]
struct Tunnel {
    input: Option<ChildStdin>,
    output: ChildStdout,
    _group: Group,
}

/// Opens a tunnel to `host:port`. Not bounded by itself: the caller has the limit.
pub(super) async fn tunnel(ssh: &Ssh, host: &str, port: u16) -> Result<Box<dyn Stream>, Error> {
    let mut argv = ssh.client();
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    // Nothing is printed when a tunnel stands, except at this level: "master session id: N", once the far side has
    // confirmed the connection (mux.c of OpenSSH).
    argv.extend(["-o", "LogLevel=DEBUG1", "-W", &target, "--"].map(str::to_owned));
    argv.push(ssh.options.destination.clone());
    let place = failure::place(&ssh.options);
    let (group, Pipes { stdin, stdout, stderr }) = Group::spawn(&argv, &place)?;
    let mut said = BufReader::new(stderr).lines();
    let mut tail = Vec::new();
    while let Some(line) = said.next_line().await.map_err(|source| Error::Io {
        place: place.clone(),
        purpose: format!("connecting to {target}"),
        source,
    })? {
        if line.contains("master session id") {
            let mut rest = said.into_inner();
            // Read on, so that the process never blocks on what it says; it ends with the tunnel.
            tokio::spawn(async move {
                let mut sink = [0; 1024];
                while rest.read(&mut sink).await.is_ok_and(|read| read > 0) {}
            });
            return Ok(Box::new(Tunnel { input: Some(stdin), output: stdout, _group: group }));
        }
        if !line.starts_with("debug1:") && !line.starts_with("OpenSSH_") {
            tail.push(line.trim().to_owned());
        }
    }
    Err(Error::Connect {
        place: format!("{target} through {place}"),
        reason: tail.join("; "),
        hint: Some(format!("on {}: ss -ltn 'sport = :{port}'", ssh.options.destination)),
    })
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().output).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().input {
            Some(input) => Pin::new(input).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Closes the sending half, as a TCP connection does; the answer can still be read.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().input = None;
        Poll::Ready(Ok(()))
    }
}
