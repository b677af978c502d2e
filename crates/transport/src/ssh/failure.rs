//! What ssh's own words mean. ssh ends with 255 whatever goes wrong; only its standard error tells what, and only where
//! nobody else can have spoken there (`carried`).

use super::SshOptions;
use crate::{Error, Output};

pub(super) fn place(options: &SshOptions) -> String {
    match options.port {
        22 => options.destination.clone(),
        port => format!("{} port {port}", options.destination),
    }
}

/// The words that count: the last lines that say something, without the banner of a changed host key.
pub(crate) fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@')).collect();
    // Where another connection carries it, it tells why, and these only that nobody is there.
    let empty =
        |line: &&str| line.starts_with("kex_exchange_identification") || line.contains("UNKNOWN port 65535");
    if lines.iter().any(|line| !empty(line)) {
        lines.retain(|line| !empty(line));
    }
    match lines[lines.len().saturating_sub(2)..].join("; ") {
        none if none.is_empty() => format!("ssh ended with status {} and said nothing", output.status),
        some => some,
    }
}

/// The shared connection could not be made. No command was sent.
pub(super) fn connecting(options: &SshOptions, output: &Output) -> Error {
    let text = String::from_utf8_lossy(&output.stderr);
    let said = |needle: &str| text.contains(needle);
    let (place, reason) = (place(options), words(output));
    let destination = &options.destination;
    let by_hand = format!("ssh -p {} {destination} true", options.port);
    let key_refused = said("Host key verification failed") || said("REMOTE HOST IDENTIFICATION HAS CHANGED");
    if key_refused && (options.host_key.is_some() || said("HAS CHANGED")) {
        return Error::HostKey { place, reason };
    }
    // The connection that carries it says no more than this.
    if said("Stdio forwarding request failed") {
        let reason = format!("it refused a connection to port {}, or is not there", options.port);
        return Error::Connect { place, reason, hint: None };
    }
    let hint = if key_refused {
        format!("declare the host's key in the site, or accept it once by hand: {by_hand}")
    } else if said("Permission denied") {
        format!("put the public key on the host: ssh-copy-id -p {} {destination}", options.port)
    } else if said("Connection refused") {
        format!("is sshd running there, on port {}?", options.port)
    } else if said("Could not resolve") {
        "is the host's name right? an address works without a name server".to_owned()
    } else if said("UNPROTECTED PRIVATE KEY") || said("bad permissions") {
        "the private key must be readable by its owner only: chmod 600".to_owned()
    } else {
        format!("try it by hand: {by_hand}")
    };
    Error::Connect { place, reason, hint: Some(hint) }
}

/// A client of the shared connection failed, and nothing was heard of its command. `Ok` says that the connection was not
/// there, so that nothing was sent.
pub(super) fn unheard(options: &SshOptions, output: &Output, purpose: &str) -> Result<(), Error> {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("Session open refused by peer") {
        return Err(Error::Connect {
            place: place(options),
            reason: words(output),
            hint: Some(
                "sshd allows fewer sessions than usual: raise MaxSessions in its sshd_config".to_owned(),
            ),
        });
    }
    // Without the shared connection a client falls back to `ProxyCommand=false`, which fails with these words. Had the
    // master died while it opened the session, "read from master failed" comes first, and the command may have left.
    let fell_back = text.contains("UNKNOWN port 65535") || text.contains("kex_exchange_identification");
    if fell_back && !text.contains("from master failed") {
        return Ok(());
    }
    Err(broken(options, output, purpose))
}

/// The connection broke while a command ran, or may have.
pub(super) fn broken(options: &SshOptions, output: &Output, purpose: &str) -> Error {
    Error::Broken { place: place(options), purpose: purpose.to_owned(), reason: words(output) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sent;

    fn options(host_key: Option<&str>) -> SshOptions {
        SshOptions {
            destination: "root@10.0.0.13".to_owned(),
            port: 22,
            identity: None,
            host_key: host_key.map(str::to_owned),
            control_dir: "/tmp/x".into(),
            keep: None,
        }
    }

    fn output(stderr: &str) -> Output {
        Output { status: 255, stdout: Vec::new(), stderr: stderr.into() }
    }

    #[test]
    fn a_connection_that_was_not_made_sent_nothing() {
        for (said, hint) in [
            ("ssh: connect to host 10.0.0.13 port 22: Connection refused\r\n", "is sshd running"),
            ("root@10.0.0.13: Permission denied (publickey).\r\n", "ssh-copy-id"),
            ("ssh: Could not resolve hostname pve1: Name or service not known\r\n", "name server"),
            ("", "by hand"),
        ] {
            match connecting(&options(None), &output(said)) {
                error @ Error::Connect { .. } => {
                    assert_eq!(error.sent(), Sent::Never);
                    assert!(format!("{error:?}").contains(hint), "{error:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_key_is_not_a_changed_one() {
        let unknown = "No ED25519 host key is known for 10.0.0.13 and you have requested strict checking.\n\
                       Host key verification failed.\n";
        assert!(matches!(connecting(&options(None), &output(unknown)), Error::Connect { .. }));
        assert!(matches!(
            connecting(&options(Some("ssh-ed25519 A")), &output(unknown)),
            Error::HostKey { .. }
        ));
        let changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n";
        assert!(matches!(connecting(&options(None), &output(changed)), Error::HostKey { .. }));
    }

    #[test]
    fn a_break_in_the_middle_may_have_had_an_effect() {
        for said in [
            "client_loop: send disconnect: Broken pipe\r\n",
            "mux_client_request_session: read from master failed: Broken pipe\r\n\
             kex_exchange_identification: Connection closed by remote host\r\n\
             Connection closed by UNKNOWN port 65535\r\n",
            "",
        ] {
            let error = unheard(&options(None), &output(said), "starting it").expect_err("an error");
            assert_eq!(error.sent(), Sent::Maybe);
        }
        assert!(unheard(&options(None), &output("Connection closed by UNKNOWN port 65535\r\n"), "x").is_ok());
    }
}
