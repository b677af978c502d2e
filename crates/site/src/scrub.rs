//! Masking secrets in what leaves the process for somebody to read: known values wherever they are, and whatever has the
//! form or the name of a secret.

use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// What stands in the place of a field that is secret as a whole.
const MASK: &str = "***";

/// What stands in the place of a piece of a text: as long as that, since texts from the node say how long their parts are.
fn mask(length: usize) -> String {
    "*".repeat(length)
}

/// Shorter ones are in ordinary words; they are masked where their name gives them away.
const SHORTEST: usize = 4;

static KNOWN: Mutex<Vec<SecretString>> = Mutex::new(Vec::new());

/// From now on this value is masked, as a whole and each line of it.
pub fn remember(secret: &SecretString) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = secret.expose_secret();
    // A token's name and its secret are one value in its file.
    let parts = text.lines().chain(text.trim().split_once('=').map(|(_, secret)| secret));
    for part in parts.map(str::trim).filter(|part| part.len() >= SHORTEST) {
        if !known.iter().any(|it| it.expose_secret() == part) {
            known.push(part.to_owned().into());
        }
    }
    // The longest first: one may be a part of another.
    known.sort_by_key(|it| std::cmp::Reverse(it.expose_secret().len()));
}

/// A text without secrets.
pub fn text(text: &str) -> String {
    let mut out = text.to_owned();
    for secret in KNOWN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if out.contains(secret.expose_secret()) {
            out = out.replace(secret.expose_secret(), &mask(secret.expose_secret().len()));
        }
    }
    // Keys in PEM; a cut one to the end of the text.
    out = between(&out, |rest| {
        let begin = rest.find("-----BEGIN ")?;
        let head = rest[begin..].find("PRIVATE KEY-----").filter(|at| *at < 40)? + begin;
        let end = rest[head..].find("-----END ").map_or(rest.len(), |at| {
            let at = head + at;
            rest[at + 9..].find("-----").map_or(rest.len(), |more| at + 9 + more + 5)
        });
        Some((begin, end))
    });
    // Tickets (`PVE:USER@REALM:TIME::SIGNATURE`), hashes of passwords (crypt(5)), and what an assignment names a secret.
    for start in ["PVE:", "PVEVNC:", "$5$", "$6$", "$y$", "$2b$", "$argon2"] {
        out = between(&out, |rest| {
            let all = rest.match_indices(start).map(|(begin, _)| (begin, begin + word(&rest[begin..])));
            // A node may be called PVE, and its tasks `UPID:PVE:…`; what is short is no secret.
            all.into_iter().find(|(begin, end)| end - begin >= 12 && !rest[..*begin].ends_with("UPID:"))
        });
    }
    assigned(&out)
}

/// Replaces what `find` finds, one after the other.
fn between(text: &str, find: impl Fn(&str) -> Option<(usize, usize)>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((begin, end)) = find(rest).filter(|(begin, end)| begin < end) {
        out.push_str(&rest[..begin]);
        out.push_str(&mask(end - begin));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Where a word without quotes and spaces ends.
fn word(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || "\"'\\,;<>()".contains(c)).unwrap_or(text.len())
}

/// `password=…`, `PVEAPIToken=…`, `secret: …`: the value goes.
fn assigned(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some(at) = rest.find(['=', ':']) {
            let (name, after) = (rest[..at].trim_end_matches([' ', '"', '\'', '\\']), &rest[at + 1..]);
            let start = name.rfind(|c: char| !(c.is_alphanumeric() || "_-".contains(c)));
            let name =
                &name[start.map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8))..];
            out.push_str(&rest[..=at]);
            rest = after;
            if is_secret(name) {
                let value = rest.trim_start_matches([' ', '"', '\'', '\\']);
                out.push_str(&rest[..rest.len() - value.len()]);
                let end = word(value);
                out.push_str(&mask(end));
                rest = &value[end..];
            }
        }
        out.push_str(rest);
    }
    out
}

/// Whether something of this name is a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    let exact = ["ticket", "token", "pveauthcookie", "pveapitoken", "authorization", "privatekey"];
    exact.contains(&name.as_str())
        || ["password", "passwd", "passphrase", "secret", "csrfpreventiontoken"]
            .iter()
            .any(|it| name.ends_with(it))
}

/// A document without secrets. Its form stays, so that it can be read as before.
pub fn value(value: &mut Value) {
    match value {
        Value::String(it) => *it = text(it),
        Value::Array(list) => list.iter_mut().for_each(self::value),
        Value::Object(map) => {
            // Making a token answers with its secret, under a name that says nothing.
            let made = map.contains_key("full-tokenid");
            for (name, held) in map.iter_mut() {
                if matches!(held, Value::String(_)) && (is_secret(name) || made && name == "value") {
                    *held = MASK.into();
                } else {
                    self::value(held);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_has_the_form_of_a_secret_goes_and_the_rest_stays() {
        for (given, expected) in [
            ("GET /cluster/resources", "GET /cluster/resources"),
            ("password=hunter2 x=1", "password=******* x=1"),
            ("set PVEAPIToken=root@pam!a=1-2-3", "set PVEAPIToken=****************"),
            ("\"db_password\": \"abc\", \"a\": 1", "\"db_password\": \"***\", \"a\": 1"),
            ("a PVE:root@pam:6A::sig+/= b", "a *********************** b"),
            ("web:$6$salt$hash:1", "web:**************"),
            ("memory: 512\nhostname: web", "memory: 512\nhostname: web"),
            ("ü=1 schlüssel=ä", "ü=1 schlüssel=ä"),
        ] {
            assert_eq!(text(given), expected, "{given}");
        }
        let key = "a\n-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----\nb\n-----BEGIN CERTIFICATE-----\nx\n";
        let masked = "*".repeat(64);
        assert_eq!(text(key), format!("a\n{masked}\nb\n-----BEGIN CERTIFICATE-----\nx\n"));
        let mut made =
            json!({ "data": { "full-tokenid": "a!b", "value": "1-2", "info": {} }, "value": "stays" });
        value(&mut made);
        assert_eq!(
            made,
            json!({ "data": { "full-tokenid": "a!b", "value": "***", "info": {} }, "value": "stays" })
        );
    }

    proptest! {
        #[test]
        fn a_known_one_is_nowhere_and_no_text_is_too_odd(
            before in "\\PC{0,40}", after in "[ -~\n]{0,40}", secret in "[A-Za-z0-9+/]{20,40}"
        ) {
            remember(&format!("user@pve!name={secret}\n").into());
            let seen = text(&format!("{before}{secret}{after}"));
            prop_assert!(!seen.contains(&secret));
            let mut document = json!({ "a": [format!("{before}{secret}")], "password": after });
            value(&mut document);
            prop_assert!(!document.to_string().contains(&secret));
        }
    }
}
