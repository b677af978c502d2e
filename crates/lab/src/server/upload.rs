//! A file that comes with a request, as `multipart/form-data` (RFC 7578), taken apart while it comes.

use std::io;

use camino::Utf8PathBuf;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use proxmox::exchange::Method;
use tokio::io::AsyncWriteExt as _;

use crate::node::{Uploaded, entropy};

/// The fields in the order in which they may come; the last is the file (PVE::APIServer::AnyEvent, `file_upload_multipart`).
const FIELDS: [&str; 4] = ["content", "checksum-algorithm", "checksum", "filename"];

/// The longest that a field, or the head of a part, may be.
const FIELD: usize = 4096;

/// Why it is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Its fields are not those that are wanted, or not in that order.
    Fields,
    /// It could not be read, or not be put aside.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What the parts of a request are told apart by, where it is one with a file.
pub(super) fn boundary(method: Method, path: &str, headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (kind, rest) = kind.split_once(';')?;
    if method != Method::Post || !path.ends_with("/upload") || kind.trim() != "multipart/form-data" {
        return None;
    }
    let value = rest.trim().strip_prefix("boundary=")?;
    Some(value.trim_matches('"').to_owned())
}

/// Reads the parameters, and puts the file aside.
pub(super) async fn receive(
    body: Incoming,
    boundary: &str,
) -> Result<(Vec<(String, String)>, Uploaded), Refused> {
    // The first boundary has no line before it.
    let mut body = Reading { body, bytes: b"\r\n".to_vec() };
    let line = format!("\r\n--{boundary}").into_bytes();
    body.until(&line).await?;
    let mut params: Vec<(String, String)> = Vec::new();
    let mut fields = FIELDS.iter();
    loop {
        let head = String::from_utf8(body.until(b"\r\n\r\n").await?).map_err(|_| Refused::Fields)?;
        let (name, file) = disposition(&head).ok_or(Refused::Fields)?;
        fields.find(|field| **field == name).ok_or(Refused::Fields)?;
        let Some(file) = file else {
            let value = String::from_utf8(body.until(&line).await?).map_err(|_| Refused::Fields)?;
            params.push((name, value));
            continue;
        };
        params.push((name, file));
        let name: String = entropy()?[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = Utf8PathBuf::from(format!("/var/tmp/pveupload-{name}"));
        let taken = Uploaded { path, passing: true };
        body.copy_until(&line, &taken).await?;
        return Ok((params, taken));
    }
}

/// The name of a part, and that of its file.
fn disposition(head: &str) -> Option<(String, Option<String>)> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let value = |key: &str| {
        let (_, rest) = line.split_once(&format!("; {key}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    Some((value("name")?, value("filename")))
}

/// A body as it comes.
struct Reading {
    body: Incoming,
    /// What came and was not taken yet.
    bytes: Vec<u8>,
}

impl Reading {
    async fn more(&mut self) -> Result<(), Refused> {
        loop {
            let frame = self.body.frame().await.ok_or(Refused::Fields)?;
            let frame = frame.map_err(|error| Refused::Io(io::Error::other(error)))?;
            if let Ok(data) = frame.into_data() {
                self.bytes.extend_from_slice(&data);
                return Ok(());
            }
        }
    }

    /// What is before `mark`, which is taken along.
    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Refused> {
        loop {
            if let Some(at) = find(&self.bytes, mark) {
                let before = self.bytes[..at].to_vec();
                self.bytes.drain(..at + mark.len());
                return Ok(before);
            }
            if self.bytes.len() > FIELD {
                return Err(Refused::Fields);
            }
            self.more().await?;
        }
    }

    /// The same into a file, however much it is.
    async fn copy_until(&mut self, mark: &[u8], into: &Uploaded) -> Result<(), Refused> {
        let mut file = fs_err::tokio::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&into.path).await?;
        loop {
            let end = find(&self.bytes, mark);
            // What may be the beginning of the mark waits for its rest.
            let ready = end.unwrap_or_else(|| (self.bytes.len() + 1).saturating_sub(mark.len()));
            file.write_all(&self.bytes[..ready]).await?;
            self.bytes.drain(..ready);
            if end.is_some() {
                return Ok(file.flush().await?);
            }
            self.more().await?;
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_part() {
        let file =
            "\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\nContent-Type: x/y";
        assert_eq!(disposition(file), Some(("filename".to_owned(), Some("a.iso".to_owned()))));
        let field = "Content-Disposition: form-data; name=\"content\"";
        assert_eq!(disposition(field), Some(("content".to_owned(), None)));
        assert_eq!(disposition("Content-Type: x/y"), None);
    }
}
