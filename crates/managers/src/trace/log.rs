//! What the gateway's own log says of a request: the end of Nginx' error log.

use jiff::civil::DateTime;

use super::parts::{Parts, value};

/// How old a line may be to be about what was just asked, seconds.
const FRESH: i64 = 60;

/// What was read of a log: the guest's own time when it was read, and lines of the log in the same time zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyLog(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// What happened.
    said: String,
    /// The server block that was asked, by its first name, and the host that the client named.
    names: Vec<String>,
}

impl ProxyLog {
    /// Reads what [`SCRIPT`] prints; lines that are older than a minute are left out.
    pub fn parse(text: &str) -> Self {
        let parts = Parts::parse(text);
        let Some(now) = parts.get("now").and_then(|text| time(value(text, "now")?)) else {
            return Self::default();
        };
        let lines = parts.get("log").unwrap_or_default().lines();
        Self(lines.filter_map(|line| Line::parse(line, now)).collect())
    }

    /// The last that it says of a name.
    pub fn last_about(&self, name: &str) -> Option<&str> {
        let about = |line: &&Line| line.names.iter().any(|n| n.eq_ignore_ascii_case(name));
        self.0.iter().rev().find(about).map(|line| line.said.as_str())
    }
}

/// `2026/11/28 16:40:02`, as Nginx and `date` write it.
fn time(text: &str) -> Option<DateTime> {
    DateTime::strptime("%Y/%m/%d %H:%M:%S", text).ok()
}

impl Line {
    /// `2026/11/28 16:40:02 [error] 2410#2410: *7 upstream sent too big header while …, client: 10.0.0.1, server: NAME,
    /// request: "GET / HTTP/1.1", upstream: "http://10.0.0.120:80/", host: "NAME"` (`ngx_http_log_error_handler`).
    fn parse(line: &str, now: DateTime) -> Option<Self> {
        let at = time(line.get(..19)?)?;
        let age = now.duration_since(at).as_secs();
        let (_, rest) = line.split_once("] ").filter(|_| (-FRESH..=FRESH).contains(&age))?;
        let (_, rest) = rest.split_once(": *")?;
        let (_, rest) = rest.split_once(' ')?;
        let (said, about) = rest.split_once(", client: ")?;
        let named = |key: &str| {
            let (_, rest) = about.split_once(key)?;
            let name = rest.split([',', '"']).find(|part| !part.is_empty())?;
            Some(name.split(':').next().unwrap_or(name).to_owned())
        };
        Some(Self {
            said: said.to_owned(),
            names: [named(", server: "), named(", host: ")].into_iter().flatten().collect(),
        })
    }
}

/// Prints what [`ProxyLog::parse`] reads, of the file in its argument.
pub const SCRIPT: &str = r#"printf '\036now\nnow %s\n\036log\n' "$(date '+%Y/%m/%d %H:%M:%S')"
tail -c 40000 "$1" 2>/dev/null | tr -d '\036'
printf '\036end\n'"#;

/// Nginx' error log in the gateway, as `catalog/nginx-gateway/gateway.conf` says.
pub const NGINX: &str = "/var/log/nginx/error.log";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Recorded with Nginx 1.22.1 of Debian 12.
    const LOG: &str = "\u{1e}now\nnow 2026/11/28 16:40:05\n\u{1e}log\n\
        2026/11/28 16:38:58 [error] 2410#2410: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: notes.workshop.internal, request: \"GET / HTTP/2.0\", upstream: \"http://127.0.0.1:8080/\", host: \"notes.workshop.internal\"\n\
        2026/11/28 16:40:00 [notice] 2409#2409: signal process started\n\
        2026/11/28 16:40:02 [error] 2410#2410: *7 upstream sent too big header while reading response header from upstream, client: 127.0.0.1, server: chat.workshop.internal, request: \"GET /head?bytes=65537 HTTP/2.0\", upstream: \"http://127.0.0.1:8080/head?bytes=65537\", host: \"talk.workshop.internal:8443\"\n\
        \u{1e}end\n";

    #[test]
    fn the_last_of_a_name() {
        let log = ProxyLog::parse(LOG);
        let big = Some("upstream sent too big header while reading response header from upstream");
        assert_eq!(log.last_about("chat.workshop.internal"), big);
        assert_eq!(log.last_about("TALK.workshop.internal"), big);
        assert_eq!(log.last_about("notes.workshop.internal"), None, "that was more than a minute ago");
        assert_eq!(ProxyLog::parse(""), ProxyLog::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(lines in "(2026/11/28 16:40:02|\\[error\\] |1#1: |\\*7 |, client: |, server: |, host: |\"|\n|.{0,9}){0,20}") {
            let _ = ProxyLog::parse(&format!("\u{1e}now\nnow 2026/11/28 16:40:05\n\u{1e}log\n{lines}"));
        }
    }
}
