//! A request with a file, as `multipart/form-data` (RFC 7578). The node takes its fields in one order alone (recorded: "upload
//! …"), and wants the length first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::exchange::Attached;

/// How much of a file is read at once.
const PIECE: usize = 256 << 10;

/// What parts are told apart by. No parameter of an upload holds a line of it: they are a word, a sum and a file's name.
const BOUNDARY: &str = "----phoenix-6f2d5c1b9ae84f07";

/// A body that is about to be sent.
pub(super) struct Body {
    head: String,
    file: File,
    size: u64,
    sent: Arc<AtomicU64>,
}

impl Body {
    pub(super) async fn new(params: &[(String, String)], file: &Attached) -> io::Result<Self> {
        let opened = File::open(&file.path).await?;
        let size = opened.metadata().await?.len();
        let mut head = String::new();
        for (key, value) in params {
            head.push_str(&format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n"
            ));
        }
        head.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            file.name
        ));
        Ok(Self { head, file: opened, size, sent: file.sent.clone() })
    }

    pub(super) fn kind(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    fn tail() -> String {
        format!("\r\n--{BOUNDARY}--\r\n")
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        (self.head.len() + Self::tail().len()) as u64 + self.size
    }

    /// The file is read while it is sent. One that shrinks meanwhile ends the request before its length.
    pub(super) fn sent(self) -> reqwest::Body {
        let text = |text: String| stream::once(async move { Ok::<_, io::Error>(text.into_bytes()) });
        let all = text(self.head).chain(pieces(self.file, self.size, self.sent)).chain(text(Self::tail()));
        reqwest::Body::wrap_stream(all)
    }
}

/// What a file holds, as much of it as there was when it was opened.
fn pieces(file: File, size: u64, sent: Arc<AtomicU64>) -> impl Stream<Item = io::Result<Vec<u8>>> {
    let read = stream::try_unfold((file.take(size), sent), |(mut file, sent)| async move {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
        if piece.is_empty() {
            return Ok::<_, io::Error>(None);
        }
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(Some((piece, (file, sent))))
    });
    read.into_stream()
}
