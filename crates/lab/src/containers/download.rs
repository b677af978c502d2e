//! Files that come onto the node: from the web, by apt's own downloader, which goes the way that the machine's packages come;
//! and those that came with a request.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::run::output;
use crate::node::{Checksum, begin_of, verify_image};
use crate::runtime::{TaskError, TaskLog};

/// How long a download may take.
const DOWNLOAD: Duration = Duration::from_secs(2 * 60 * 60);

/// How often the log says how much there is of it.
const TOLD: Duration = Duration::from_secs(2);

/// An error as the task that it ends says it.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` calls it so")]
fn io(error: std::io::Error) -> TaskError {
    TaskError(error.to_string())
}

/// Fetches `url`, and puts it under `target` once it is whole and as it is to be; before that nothing is there. `settings` are
/// apt's. Its size in bytes.
///
/// # Errors
/// When it cannot be had, or has another sum than `checksum`.
pub(super) async fn download(
    settings: &str,
    url: &str,
    target: &Utf8Path,
    checksum: Option<&Checksum>,
    log: &TaskLog,
) -> Result<u64, TaskError> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let part = Part(format!("{target}.tmp_dwnl.{}", std::process::id()).into());
    let config = format!("APT_CONFIG={settings}");
    let argv =
        ["env", &config, "LC_ALL=C.UTF-8", "/usr/lib/apt/apt-helper", "download-file", url, part.0.as_str()];
    let fetched = output(&argv, DOWNLOAD);
    let grows = async {
        loop {
            tokio::time::sleep(TOLD).await;
            // apt-helper writes beside it first.
            let seen = [part.0.clone(), format!("{}.tmp", part.0).into()];
            if let Some(size) =
                seen.iter().filter_map(|path| fs::metadata(path).ok()).map(|it| it.len()).max()
            {
                log.line(format!("{} MiB", size >> 20));
            }
        }
    };
    let done = tokio::select! {
        done = fetched => done?,
        () = grows => return Err(TaskError("the log ended before the download".to_owned())),
    };
    if !done.success() || !part.0.exists() {
        // What went wrong is its last line: `E: Failed to fetch URL  404  Not Found [IP: …]`.
        let said = done.tail(8).raw().to_owned();
        let line =
            said.lines().rev().find(|line| line.starts_with("E: ") && !line.contains("Download Failed"));
        let line =
            line.or_else(|| said.lines().last()).unwrap_or("no answer").trim_start_matches("E: ").trim();
        return Err(TaskError(format!("download failed: {line}")));
    }
    if let Some(checksum) = checksum {
        checksum.verify_file(&part.0, log)?;
    }
    let name = target.file_name().unwrap_or_default();
    verify_image(name, &begin_of(&part.0)?, &part.0)?;
    let size = fs::metadata(&part.0).map_err(io)?.len();
    fs::rename(&part.0, target).map_err(io)?;
    Ok(size)
}

/// Puts a file under `target`, whole or not at all.
///
/// # Errors
/// When it cannot be read or written.
pub(super) async fn put(file: &Utf8Path, target: &Utf8Path) -> Result<(), TaskError> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let part = Part(format!("{target}.tmp_copy.{}", std::process::id()).into());
    fs_err::tokio::copy(file, &part.0).await.map_err(io)?;
    fs::rename(&part.0, target).map_err(io)
}

/// A file that is not whole yet: it goes unless it was renamed.
struct Part(Utf8PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        for path in [self.0.clone(), format!("{}.tmp", self.0).into()] {
            // Mostly it is gone.
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod programs {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A web server on loopback with one file, for as many requests as come.
    fn serve(content: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut asked = [0; 2048];
                let read = stream.read(&mut asked).unwrap_or(0);
                let found = String::from_utf8_lossy(&asked[..read]).starts_with("GET /x.iso ");
                let (status, body) = if found { ("200 OK", content) } else { ("404 Not Found", &b""[..]) };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        format!("http://{address}")
    }

    fn sha256(sum: &str) -> Checksum {
        Checksum { algorithm: "sha256".to_owned(), sum: sum.to_owned() }
    }

    #[tokio::test]
    async fn a_file_from_the_web_is_whole_and_right_or_not_there() {
        if !Utf8Path::new("/usr/lib/apt/apt-helper").exists() {
            println!("skipped: there is no apt-helper here");
            return;
        }
        let base = serve(b"hello");
        let url = format!("{base}/x.iso");
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap().join("template/iso");
        // Loopback is not asked for through a proxy.
        let settings = folder.parent().unwrap().parent().unwrap().join("apt.conf");
        fs::write(&settings, "Acquire::http::Proxy \"DIRECT\";\nAPT::Sandbox::User \"root\";\n").unwrap();
        let log = TaskLog::default();
        let get = async |url: &str, name: &str, sum: Option<Checksum>| {
            download(settings.as_str(), url, &folder.join(name), sum.as_ref(), &log).await
        };
        let right = sha256("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(get(&url, "a.iso", Some(right)).await, Ok(5));
        assert_eq!(fs::read(folder.join("a.iso")).unwrap(), b"hello");
        assert!(log.lines().contains(&"calculating checksum...OK, checksum verified".to_owned()));

        let wrong = get(&url, "b.iso", Some(sha256(&"0".repeat(64)))).await.unwrap_err();
        assert!(wrong.0.starts_with("checksum mismatch: got '2cf24dba"), "{wrong}");
        let none = get(&format!("{base}/y.iso"), "c.iso", None).await.unwrap_err();
        assert!(none.0.starts_with("download failed: ") && none.0.contains("404"), "{none}");
        let refused = get("http://127.0.0.1:9/x.iso", "d.iso", None).await.unwrap_err();
        assert!(refused.0.starts_with("download failed: "), "{refused}");
        let image = get(&url, "e.qcow2", None).await.unwrap_err();
        assert!(image.0.contains("Image is not in qcow2 format"), "{image}");
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["a.iso"], "nothing half is left");
    }
}
