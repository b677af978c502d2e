//! Whether what the node shows is the node's: a person compares it, or named it before.

use site::bootstrap::{Fingerprint, Fresh};

use super::Shown;
use crate::args::Bootstrap;
use crate::error::CommandError;
use crate::printer::Printer;

/// Where on the node the same can be seen.
const BY_HAND: &str = "compare both on the node's console, or under Shell on its web page:\n  \
    ssh-keygen -lf /etc/ssh/ssh_host_KIND_key.pub\n  pvenode cert info   (the first SHA-256 fingerprint of pveproxy-ssl.pem, else of pve-ssl.pem)";

/// Goes on where both are known to be the node's.
///
/// # Errors
/// When one is another than was named, or nobody says that they are the same.
pub fn settle(
    options: &Bootstrap,
    fresh: &Fresh,
    shown: &Shown,
    printer: Printer,
) -> Result<(), CommandError> {
    let certificate = shown.certificate.to_string();
    if let Some(named) = &options.host_key
        && !same_key(named, shown)
    {
        return Err(CommandError::failed(
            "bootstrap::other-key",
            format!("{} shows the ssh key {}, and not {named}", fresh.address, shown.host_key.fingerprint),
        )
        .hint(
            "look at it once more on the node's console; if that is what it shows, somebody is in between",
        ));
    }
    if let Some(named) = &options.fingerprint
        && named.parse::<Fingerprint>() != Ok(shown.certificate)
    {
        return Err(CommandError::failed(
            "bootstrap::other-certificate",
            format!("{} shows the certificate {certificate}, and not {named}", fresh.endpoint()),
        )
        .hint("look at it once more on the node: pvenode cert info"));
    }
    if options.host_key.is_some() && options.fingerprint.is_some() {
        return Ok(());
    }
    let kind = kind(&shown.host_key.key);
    printer.say(format!(
        "{} shows these, read over the network just now, so whoever is in between may have shown them:\n  ssh key      {} ({kind})\n  \
         certificate  {certificate}\n{}",
        fresh.address,
        shown.host_key.fingerprint,
        BY_HAND.replace("KIND", kind)
    ));
    let hint = format!(
        "once you have compared them: --host-key {} --fingerprint {certificate}",
        shown.host_key.fingerprint
    );
    if options.yes || !printer.can_ask() {
        return Err(
            CommandError::usage("bootstrap::not-compared", "nobody said that they are the node's").hint(hint)
        );
    }
    if agreed("are both the same there?", printer)? {
        return Ok(());
    }
    Err(CommandError::usage("consent::declined", "nothing was done")
        .hint("if they differ, somebody is in between, or the address is another machine's"))
}

/// Named by its fingerprint, or as a whole.
fn same_key(named: &str, shown: &Shown) -> bool {
    named.trim() == shown.host_key.fingerprint || named.trim() == shown.host_key.key
}

/// As in the names of the files of host keys.
fn kind(key: &str) -> &'static str {
    match key.split(' ').next() {
        Some("ssh-ed25519") => "ed25519",
        Some("ssh-rsa") => "rsa",
        _ => "ecdsa",
    }
}

/// A person says yes, with the whole word: keys are compared rarely, and in a hurry.
///
/// # Errors
/// When nobody can be heard.
pub fn agreed(question: &str, printer: Printer) -> Result<bool, CommandError> {
    printer.ask(&format!("{question} (yes/no) "));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|e| CommandError::from_error("consent::unreadable", &e))?;
    Ok(answer.trim() == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostkey::HostKey;

    fn shown() -> Shown {
        Shown {
            host_key: HostKey { key: "ssh-ed25519 AAAA".into(), fingerprint: "SHA256:abc".into() },
            certificate: "ab".repeat(32).parse().unwrap(),
        }
    }

    fn options(host_key: Option<&str>, fingerprint: Option<&str>) -> Bootstrap {
        Bootstrap {
            address: "10.0.0.13".into(),
            port: 22,
            api_port: 8006,
            identity: None,
            password_file: None,
            host_key: host_key.map(str::to_owned),
            fingerprint: fingerprint.map(str::to_owned),
            yes: true,
            replace_target: false,
        }
    }

    #[test]
    fn only_what_was_named_goes_on_without_a_person() {
        let fresh = Fresh { root: "/site".into(), address: "10.0.0.13".into(), port: 22, api_port: 8006 };
        let (certificate, quiet) = ("AB:".repeat(32), Printer::plain().quiet());
        let certificate = certificate.trim_end_matches(':');
        let bare = "ab".repeat(32);
        let judge = |key, print| settle(&options(key, print), &fresh, &shown(), quiet).map_err(|e| e.code);
        assert_eq!(judge(Some("SHA256:abc"), Some(certificate)), Ok(()));
        assert_eq!(judge(Some("ssh-ed25519 AAAA"), Some(&bare)), Ok(()));
        assert_eq!(judge(Some("SHA256:abd"), Some(certificate)), Err("bootstrap::other-key".into()));
        assert_eq!(judge(Some("SHA256:abc"), Some("x")), Err("bootstrap::other-certificate".into()));
        for (key, print) in [(None, None), (Some("SHA256:abc"), None), (None, Some(certificate))] {
            assert_eq!(judge(key, print), Err("bootstrap::not-compared".into()));
        }
    }
}
