//! What one request met, hop by hop, as far as it came: from inside a guest, as `ask.sh` prints it, or from the node.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::neighbour::{self, Neighbour};
use super::parts::{Parts, value};
use super::question::{self, Reply};

/// What one request met. A hop that was not asked is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leg {
    /// What the name was resolved to.
    pub names: Option<Names>,
    /// The way the kernel would take, or why there is none: what `ip route get` says.
    pub route: Option<String>,
    /// The connection.
    pub tcp: Option<Tcp>,
    /// Who answers for the address on the network, where that is known and no router is between.
    pub neighbour: Option<Neighbour>,
    /// The handshake.
    pub tls: Option<Tls>,
    /// The answer.
    pub http: Option<Http>,
    /// Why nothing, or nothing more, could be asked.
    pub lost: Option<String>,
}

/// What a name was resolved to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// What programs are told; empty where the name is unknown.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether the time was up first.
    pub timed_out: bool,
    /// How long it took.
    pub took: Duration,
    /// The name server that was asked directly, and what it says.
    pub server: Option<(Ipv4Addr, Reply)>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tcp {
    /// It stands.
    Open(Duration),
    /// The far end refuses.
    Refused,
    /// Nobody answers.
    Silent(Duration),
    /// It cannot be reached, and after how long that was said.
    Unreachable(Duration),
    /// The reason, in the system's words.
    Failed(String),
}

/// A handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// The chain that is shown, the leaf first, PEM.
    Shown(String),
    /// The far end refuses the name: it serves no site of that name.
    NoSuchSite,
    /// What answers there speaks no TLS.
    Plain,
    /// Nothing was said within its time.
    Silent,
    /// The reason, in the words of the library.
    Failed(String),
    /// The place has no program to ask with.
    Lacking(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Http {
    /// Its status, and after how long.
    Status(u16, Duration),
    /// The place does not trust who signed the certificate that is shown.
    Untrusted,
    /// The far end wants a certificate to be shown.
    WantsCertificate(String),
    /// The connection stands, and nothing was said within its time.
    Silent,
    /// It broke off.
    Broken(String),
    /// The place has no program to ask with.
    Lacking(String),
}

impl Leg {
    /// Reads what `ask.sh` prints.
    pub fn parse(text: &str) -> Self {
        let parts = Parts::parse(text);
        Self {
            names: parts.get("names").map(|text| names(text, parts.get("server"))),
            route: parts.get("route").map(|text| text.trim().to_owned()),
            tcp: parts.get("tcp").map(tcp),
            neighbour: parts
                .get("neighbour")
                .and_then(|text| neighbour::table(text).pop())
                .map(|found| found.1),
            tls: parts.get("tls").map(tls),
            http: parts.get("http").map(http),
            lost: None,
        }
    }

    /// Who answers for the address: whom the place has, or else `known`. One that is only remembered counts where somebody did
    /// answer, since it was asked.
    pub fn answering<'a>(&'a self, known: Option<&'a Neighbour>) -> Option<&'a Neighbour> {
        let answered = matches!(self.tcp, Some(Tcp::Open(_) | Tcp::Refused));
        let counts = |found: &&Neighbour| answered || !matches!(found, Neighbour::Remembered(_));
        self.neighbour.as_ref().or(known).filter(counts)
    }

    /// Nothing could be asked, for this reason.
    pub fn lost(reason: impl Into<String>) -> Self {
        Self { lost: Some(reason.into()), ..Self::default() }
    }
}

fn took(text: &str) -> Duration {
    Duration::from_micros(value(text, "took").and_then(|t| t.parse().ok()).unwrap_or_default())
}

/// What follows the lines about how it went.
fn without_report(text: &str) -> String {
    let told = |line: &&str| !line.starts_with("status ") && !line.starts_with("took ");
    text.lines().filter(told).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The status of `timeout` when the time was up.
const TIME_UP: &str = "124";

fn names(text: &str, server: Option<&str>) -> Names {
    let addresses = text.lines().filter_map(|line| line.strip_prefix("address ")?.trim().parse().ok());
    let server = server.and_then(|text| {
        let address = value(text, "server")?.parse().ok()?;
        let dump: String = text.lines().filter(|line| line.starts_with(' ')).collect();
        let reply = question::unhex(&dump).map_or(Reply::Garbled, |bytes| question::reply(&bytes));
        Some((address, reply))
    });
    Names {
        addresses: addresses.collect(),
        timed_out: value(text, "status") == Some(TIME_UP),
        took: took(text),
        server,
    }
}

fn tcp(text: &str) -> Tcp {
    match value(text, "status") {
        Some("0") => Tcp::Open(took(text)),
        Some(TIME_UP) => Tcp::Silent(took(text)),
        _ => connect_error(&without_report(text), took(text)),
    }
}

/// Sorts the system's words for a connection that does not come about: `bash`, OpenSSH and Rust all pass on `strerror`.
pub fn connect_error(said: &str, took: Duration) -> Tcp {
    if said.contains("Connection refused") {
        Tcp::Refused
    } else if said.contains("No route to host") || said.contains("Network is unreachable") {
        Tcp::Unreachable(took)
    } else if said.contains("timed out") || said.contains("no answer within") {
        Tcp::Silent(took)
    } else {
        Tcp::Failed(said.lines().next().unwrap_or("the connection does not come about").to_owned())
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// All certificates in a text, and nothing else of it.
pub fn certificates(text: &str) -> String {
    let mut all = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let Some(end) = rest[begin..].find(END) else { break };
        all.push_str(&rest[begin..begin + end + END.len()]);
        all.push('\n');
        rest = &rest[begin + end + END.len()..];
    }
    all
}

fn tls(text: &str) -> Tls {
    if let Some(program) = value(text, "lacks") {
        return Tls::Lacking(program.to_owned());
    }
    let chain = certificates(text);
    if !chain.is_empty() {
        return Tls::Shown(chain);
    }
    let said = without_report(text);
    if said.is_empty() {
        return Tls::Silent;
    }
    handshake_error(said.lines().find(|l| l.contains(":error:") || l.contains("errno")).unwrap_or(&said))
}

/// Sorts the words of OpenSSL and of rustls for a handshake that fails.
pub fn handshake_error(said: &str) -> Tls {
    if said.contains("unrecognized name")
        || said.contains("UnrecognizedName")
        || said.contains("UnrecognisedName")
    {
        Tls::NoSuchSite
    } else if said.contains("wrong version number") || said.contains("InvalidContentType") {
        Tls::Plain
    } else {
        Tls::Failed(openssl_words(said).to_owned())
    }
}

/// Of OpenSSL's `803B…:error:0A000126:SSL routines:ssl3_read_n:unexpected eof while reading:../ssl/…` the words.
fn openssl_words(said: &str) -> &str {
    let words = said.split(':').find(|part| part.contains(' ') && !part.starts_with("SSL routines"));
    let words = if said.contains(":error:") { words.unwrap_or(said) } else { said };
    words.lines().next().unwrap_or_default().trim()
}

fn http(text: &str) -> Http {
    if let Some(program) = value(text, "lacks") {
        return Http::Lacking(program.to_owned());
    }
    if let Some(code) = value(text, "code").and_then(|code| code.parse().ok()) {
        return Http::Status(code, took(text));
    }
    let report = without_report(text);
    // How OpenSSL went through a chain that is good is no answer.
    let said: Vec<&str> =
        report.lines().filter(|l| !l.starts_with("depth=") && !l.starts_with("verify return:")).collect();
    let error = said.iter().find(|l| l.starts_with("verify error:"));
    let error = error.or_else(|| said.iter().find(|l| l.contains(":error:") || l.contains("errno")));
    match error {
        Some(line) if line.starts_with("verify error:") => Http::Untrusted,
        Some(line) if line.contains("certificate required") || line.contains("bad certificate") => {
            Http::WantsCertificate(openssl_words(line).to_owned())
        }
        Some(line) => Http::Broken(openssl_words(line).to_owned()),
        None if said.contains(&"time up") => Http::Silent,
        None => match said.iter().find(|line| !line.trim().is_empty()) {
            None => Http::Broken("nothing was answered".into()),
            // Of bash and of cat, which read a plain answer, the words.
            Some(line) if line.starts_with("bash: ") || line.starts_with("cat: ") => {
                Http::Broken(line.rsplit(": ").next().unwrap_or(line).to_owned())
            }
            Some(_) => Http::Broken("what was answered is no HTTP".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // All texts below were recorded in containers with Debian 12 (bash 5.2, OpenSSL 3.0).

    #[test]
    fn a_request_that_arrives() {
        let leg = Leg::parse(
            "\u{1e}names\nstatus 0\ntook 4654\naddress 10.0.0.153\n\u{1e}route\n10.0.0.153 dev eth0 src 10.0.0.121 uid 0 \n\
             \u{1e}tcp\nstatus 0\ntook 6273\n\n\u{1e}tls\nstatus 0\ntook 122960\ndepth=2 CN = Phoenix workshop Root CA\n\
             CONNECTED(00000003)\n---\n 0 s:CN = notes\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n 1 s:CN\n\
             -----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n---\nDONE\n\u{1e}http\nstatus 0\ntook 151009\ncode 200\n\
             \u{1e}end\n",
        );
        let names = leg.names.unwrap();
        assert_eq!(names.addresses, [Ipv4Addr::new(10, 0, 0, 153)]);
        assert_eq!((names.took.as_micros(), names.server), (4654, None));
        assert_eq!(leg.route.unwrap(), "10.0.0.153 dev eth0 src 10.0.0.121 uid 0");
        assert_eq!(leg.tcp, Some(Tcp::Open(Duration::from_micros(6273))));
        let Some(Tls::Shown(chain)) = leg.tls else { panic!("no chain") };
        assert_eq!(chain.matches(BEGIN).count(), 2);
        assert!(chain.starts_with(BEGIN) && chain.ends_with("-----END CERTIFICATE-----\n"));
        assert_eq!(leg.http, Some(Http::Status(200, Duration::from_micros(151_009))));
    }

    #[test]
    fn a_name_that_nobody_knows() {
        let leg = Leg::parse(
            "\u{1e}names\nstatus 2\ntook 3243\n\u{1e}server\nserver 10.255.255.53\n 50 48 81 83 00 01 00 00 00 00 00 00 04 6e 6f 70\n \
             65 00 00 01 00 01\n",
        );
        let names = leg.names.unwrap();
        assert!(names.addresses.is_empty() && !names.timed_out);
        assert_eq!(names.server, Some((Ipv4Addr::new(10, 255, 255, 53), Reply::NoSuchName)));
        assert_eq!((leg.tcp, leg.tls, leg.http), (None, None, None));
        let silent = Leg::parse("\u{1e}names\nstatus 124\ntook 4003243\n\u{1e}server\nserver 10.0.0.2\n")
            .names
            .unwrap();
        assert!(silent.timed_out);
        assert_eq!(silent.server.unwrap().1, Reply::Silent);
    }

    #[test]
    fn connections() {
        let tcp = |text: &str| Leg::parse(&format!("\u{1e}tcp\n{text}")).tcp.unwrap();
        let refused = "status 1\ntook 4658\n10.0.0.120: connect: Connection refused\n\
                       10.0.0.120: line 1: /dev/tcp/10.0.0.120/81: Connection refused\n";
        assert_eq!(tcp(refused), Tcp::Refused);
        let nobody = "status 1\ntook 3075799\n10.0.0.77: connect: No route to host\n";
        assert_eq!(tcp(nobody), Tcp::Unreachable(Duration::from_micros(3_075_799)));
        assert_eq!(tcp("status 124\ntook 4003000\n\n"), Tcp::Silent(Duration::from_micros(4_003_000)));
        // OpenSSH's words for a tunnel that its far end cannot make, and tokio's.
        let tunnel = "channel 0: open failed: connect failed: Connection refused; stdio forwarding failed";
        assert_eq!(connect_error(tunnel, Duration::ZERO), Tcp::Refused);
        assert_eq!(connect_error("Connection refused (os error 111)", Duration::ZERO), Tcp::Refused);
        assert_eq!(
            connect_error("channel 0: open failed: administratively prohibited: open failed", Duration::ZERO),
            Tcp::Failed("channel 0: open failed: administratively prohibited: open failed".into())
        );
    }

    #[test]
    fn handshakes() {
        let tls = |text: &str| Leg::parse(&format!("\u{1e}tls\nstatus 0\ntook 1\n{text}")).tls.unwrap();
        let name = "803B1DC47C7F0000:error:0A000458:SSL routines:ssl3_read_bytes:tlsv1 unrecognized name:\
                    ../ssl/record/rec_layer_s3.c:1602:SSL alert number 112\nCONNECTED(00000003)\n---\nno peer certificate available\n";
        assert_eq!(tls(name), Tls::NoSuchSite);
        let plain = "80FBD0CD9C7F0000:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:\
                     ../ssl/record/ssl3_record.c:350:\nCONNECTED(00000003)\n---\n";
        assert_eq!(tls(plain), Tls::Plain);
        let gone = "803BC984C17F0000:error:0A000126:SSL routines:ssl3_read_n:unexpected eof while reading:\
                    ../ssl/record/rec_layer_s3.c:318:\nCONNECTED(00000003)\n---\n";
        assert_eq!(tls(gone), Tls::Failed("unexpected eof while reading".into()));
        assert_eq!(tls(""), Tls::Silent);
        assert_eq!(Leg::parse("\u{1e}tls\nlacks openssl\n").tls, Some(Tls::Lacking("openssl".into())));
        // rustls.
        assert_eq!(handshake_error("received fatal alert: UnrecognizedName"), Tls::NoSuchSite);
        assert_eq!(handshake_error("received corrupt message of type InvalidContentType"), Tls::Plain);
    }

    #[test]
    fn answers() {
        let http = |text: &str| Leg::parse(&format!("\u{1e}http\nstatus 0\ntook 1\n{text}")).http.unwrap();
        assert_eq!(http("code 502\n"), Http::Status(502, Duration::from_micros(1)));
        assert_eq!(
            http("cat: -: Connection reset by peer\n"),
            Http::Broken("Connection reset by peer".into())
        );
        assert_eq!(http("SSH-2.0-x\r\n"), Http::Broken("what was answered is no HTTP".into()));
        let good = "depth=1 CN = Workshop\nverify return:1\ndepth=0 CN = a.test\nverify return:1\n";
        for (told, after) in [("", ""), (good, ""), (good, "\n")] {
            assert_eq!(http(&format!("{told}{after}")), Http::Broken("nothing was answered".into()));
            assert_eq!(http(&format!("{told}{after}\ntime up\n")), Http::Silent);
        }
        let failed = "801B0E00B57F0000:error:0A000086:SSL routines:tls_post_process_server_certificate:\
                      certificate verify failed:../ssl/statem/statem_clnt.c:1889:\n";
        for why in [
            "18:self-signed certificate",
            "62:hostname mismatch",
            "20:unable to get local issuer certificate",
        ] {
            let untrusted = format!("depth=0 CN = a.test\nverify error:num={why}\n{failed}");
            assert_eq!(http(&untrusted), Http::Untrusted);
        }
        let wants = format!(
            "{good}80AB08BFE67F0000:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:\
             ../ssl/record/rec_layer_s3.c:1601:SSL alert number 116\n"
        );
        assert_eq!(http(&wants), Http::WantsCertificate("tlsv13 alert certificate required".into()));
        let gone = format!(
            "{good}80FBC984C17F0000:error:0A000126:SSL routines:ssl3_read_n:unexpected eof while reading:\
             ../ssl/record/rec_layer_s3.c:318:\n"
        );
        assert_eq!(http(&gone), Http::Broken("unexpected eof while reading".into()));
        assert_eq!(http("lacks openssl\n"), Http::Lacking("openssl".into()));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(\u{1e}(names|server|route|tcp|tls|http)\n|status 0\n|address 1.2.3.4\n|.{0,20}\n){0,12}") {
            let _ = Leg::parse(&text);
        }
    }
}
