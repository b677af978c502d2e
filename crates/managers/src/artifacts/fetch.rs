//! Files of this machine, and what is fetched from an address.

use std::sync::Arc;
use std::time::Duration;

use transport::{Command, Local, Runner as _};

use super::cache::Key;
use super::error::Error;
use super::list::Sha256Sum;

/// The longest that fetching may take: a large program on a slow line.
const FETCH: Duration = Duration::from_mins(30);

/// How long nothing may arrive.
const SILENCE: Duration = Duration::from_secs(60);

/// The largest program that is taken, in bytes.
const LARGEST: u64 = 1 << 30;

/// A file of this machine.
pub(super) fn file(path: &str, sha256: &Sha256Sum) -> Result<Vec<u8>, Error> {
    let bytes = fs_err::read(path)?;
    checked(path, &bytes, sha256)?;
    Ok(bytes)
}

/// What is at an address, or a member of the archive that is there.
pub(super) async fn url(
    url: &str,
    sha256: &Sha256Sum,
    member: Option<&str>,
    key: &Key,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<Vec<u8>, Error> {
    tell(format!("fetching {} {}", key.name, key.version));
    let bytes = match tokio::time::timeout(FETCH, get(url)).await {
        Ok(got) => got,
        Err(_) => Err(format!("it took longer than {FETCH:?}")),
    };
    let bytes = bytes.map_err(|reason| Error::Fetch { url: url.to_owned(), reason })?;
    checked(url, &bytes, sha256)?;
    let Some(member) = member else { return Ok(bytes) };
    // What was checked is what is unpacked: it lies in no file that others could replace. tar finds out by itself how it is
    // compressed only in a file.
    let argv = ["tar", "-x", "-O", compression(&bytes), "-f", "-", "--", member];
    let argv = argv.into_iter().filter(|word| !word.is_empty());
    let command = Command::new("unpacking", argv).stdin(bytes).limit(Duration::from_mins(5));
    let output = Local.run(&command).await?;
    if !output.success() {
        let reason = format!("it holds no {member}: {}", output.tail(2).joined());
        return Err(Error::Fetch { url: url.to_owned(), reason });
    }
    Ok(output.stdout)
}

/// What tar is told of how an archive is compressed, by how it begins (the magic numbers of file(1)).
fn compression(archive: &[u8]) -> &'static str {
    let begins: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "--gzip"),
        (b"\xfd7zXZ\0", "--xz"),
        (b"\x28\xb5\x2f\xfd", "--zstd"),
        (b"BZh", "--bzip2"),
    ];
    begins.iter().find(|(magic, _)| archive.starts_with(magic)).map_or("", |(_, option)| option)
}

fn checked(what: &str, bytes: &[u8], wanted: &Sha256Sum) -> Result<(), Error> {
    let found = Sha256Sum::of(bytes);
    if found == *wanted {
        return Ok(());
    }
    Err(Error::OtherBytes { what: what.to_owned(), found: found.to_string(), wanted: wanted.to_string() })
}

fn chain(error: &dyn std::error::Error) -> String {
    apply::Failure::from_error("", error).to_string()
}

async fn get(url: &str) -> Result<Vec<u8>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let system = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|e| chain(&e))?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| chain(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(system))
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        // The list allows plain HTTP on loopback alone; nobody is led there from elsewhere.
        .https_only(url.starts_with("https:"))
        .user_agent(concat!("phoenix-cli/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .build()
        .map_err(|e| chain(&e))?;
    let mut response = client.get(url).send().await.map_err(|e| chain(&e.without_url()))?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e.without_url()))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes"));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn key() -> Key {
        Key { name: "x".into(), version: "1".into(), pin: "0".into(), arch: "amd64".into() }
    }

    /// An address that answers every request like this.
    async fn serve(status: &'static str, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            }
        });
        format!("http://{address}/x")
    }

    // P-75: what is fetched is what is pinned, or it is not used.
    #[tokio::test]
    async fn an_address_gives_what_is_pinned_or_nothing() {
        let body = b"a program".repeat(100_000);
        let address = serve("200 OK", body.clone()).await;
        let sum = Sha256Sum::of(&body);
        assert_eq!(url(&address, &sum, None, &key(), &|_| {}).await.expect("fetched"), body);
        let error =
            url(&address, &Sha256Sum::of(b"other"), None, &key(), &|_| {}).await.expect_err("other bytes");
        assert_eq!(error.code(), "artifacts::other-bytes");
        assert!(error.to_string().contains(sum.as_str()) && error.to_string().contains(&address), "{error}");
        let address = serve("404 Not Found", Vec::new()).await;
        let error = url(&address, &sum, None, &key(), &|_| {}).await.expect_err("not there");
        assert_eq!(error.to_string(), format!("failed to fetch {address}: it answers 404 Not Found"));
        let gone =
            url("http://127.0.0.1:9/x", &sum, None, &key(), &|_| {}).await.expect_err("nothing listens");
        assert!(gone.to_string().contains("Connection refused"), "{gone}");
    }

    #[tokio::test]
    async fn a_program_is_taken_out_of_an_archive() {
        let dir = tempfile::tempdir().expect("a folder");
        fs_err::create_dir(dir.path().join("x-1")).expect("a folder");
        fs_err::write(dir.path().join("x-1/x"), b"a program").expect("written");
        // Another user knows this process' number: what they put where everybody may write is neither read nor written to.
        let theirs = dir.path().join("theirs");
        fs_err::write(&theirs, "theirs").expect("written");
        let place = std::env::temp_dir().join(format!("phoenix-{}-{}.tar", std::process::id(), key()));
        let _ = fs_err::remove_file(&place);
        fs_err::os::unix::fs::symlink(&theirs, &place).expect("a link");
        let pack = |how: &str| {
            let mut tar = std::process::Command::new("tar");
            let packed = tar.args([how, "x.tar", "x-1"]).current_dir(dir.path()).status();
            assert!(packed.expect("tar").success());
            fs_err::read(dir.path().join("x.tar")).expect("an archive")
        };
        for how in ["-cf", "-czf", "-cJf"] {
            let archive = pack(how);
            let (sum, address) = (Sha256Sum::of(&archive), serve("200 OK", archive).await);
            let program = url(&address, &sum, Some("x-1/x"), &key(), &|_| {}).await.expect("unpacked");
            assert_eq!(program, b"a program", "{how}");
        }
        assert_eq!(fs_err::read_to_string(&theirs).expect("a file"), "theirs");
        fs_err::remove_file(&place).expect("still there");
        let archive = pack("-czf");
        let (sum, address) = (Sha256Sum::of(&archive), serve("200 OK", archive).await);
        let error = url(&address, &sum, Some("x-1/y"), &key(), &|_| {}).await.expect_err("no such member");
        assert!(error.to_string().contains("it holds no x-1/y: tar: x-1/y: Not found"), "{error}");
    }

    #[test]
    fn a_file_holds_what_is_pinned() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x").to_str().expect("UTF-8").to_owned();
        assert!(file(&path, &Sha256Sum::of(b"")).is_err());
        fs_err::write(&path, b"a program").expect("written");
        assert_eq!(file(&path, &Sha256Sum::of(b"a program")).expect("read"), b"a program");
        assert_eq!(file(&path, &Sha256Sum::of(b"")).expect_err("other").code(), "artifacts::other-bytes");
    }
}
