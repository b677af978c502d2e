//! Hashes of passwords, for files that must not hold the passwords themselves: SHA-512 crypt (`$6$`), which every libc
//! and what is built on it (Nginx, PAM) can check.

use blueprint::model::SecretRef;
use ring::hmac;
use sha_crypt::{ROUNDS_DEFAULT, Sha512Params, sha512_crypt_b64};

/// What salts are made of, and how many of them: crypt(5).
const SIGNS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 16;

/// The secret that salts are made from: random, and made for the site when the first hash is.
pub(super) fn salts() -> SecretRef {
    SecretRef::Generate("password-salts".into())
}

/// The salt for what `place` names, by the site's secret of [`salts`], without which nobody can prepare for it. The same
/// password in the same place is the same hash, and a second run changes nothing; in two places it is two hashes.
pub(super) fn salt(place: &str, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let digest = hmac::sign(&key, place.as_bytes());
    let digest = digest.as_ref();
    digest.iter().take(LENGTH).map(|byte| char::from(SIGNS[usize::from(byte & 63)])).collect()
}

/// The hash of a password, as crypt(5) writes it.
pub(super) fn hash(password: &str, salt: &str) -> String {
    let made = Sha512Params::new(ROUNDS_DEFAULT)
        .and_then(|rounds| sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &rounds));
    // Only other numbers of rounds are refused. No password has this hash.
    made.map_or_else(|_| "*".to_owned(), |hash| format!("$6${salt}${hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // What `openssl passwd -6` makes of the same.
    #[test]
    fn hashes_are_those_of_others() {
        assert_eq!(
            hash("Hello world!", "saltstring"),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert_eq!(
            hash("pässword: x", "0123456789abcdef"),
            "$6$0123456789abcdef$qmZjBUFjJU4KjNbDqdoGRRckY9JM1p0TfYR1UcWjW4i/gpWRMleJU2Oi3wEjxfNmpcdN2nI/wJywxJ1oLQG3x."
        );
    }

    #[test]
    fn a_salt_follows_from_its_place() {
        assert_eq!(salt("workshop/notes/anna", "x"), salt("workshop/notes/anna", "x"));
        assert_ne!(salt("workshop/notes/anna", "x"), salt("workshop/wiki/anna", "x"));
        // Another site of the same name has other salts, and nobody knows them before.
        assert_ne!(salt("workshop/notes/anna", "x"), salt("workshop/notes/anna", "y"));
        let made = salt("", "");
        assert!(made.len() == LENGTH && made.bytes().all(|b| SIGNS.contains(&b)), "{made}");
    }
}
