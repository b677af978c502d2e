//! Key pairs of ssh: Ed25519, without a passphrase, in the format of OpenSSH (PROTOCOL.key of its sources).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::{ExposeSecret as _, SecretString};

/// What all such keys are called.
const KIND: &[u8] = b"ssh-ed25519";
/// What a private key begins with.
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
const END: &str = "-----END OPENSSH PRIVATE KEY-----\n";

/// A key pair.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// As in a file of a private key.
    pub private: SecretString,
    /// As in a file of a public key, without a comment: `ssh-ed25519 AAAA…`.
    pub public: String,
}

impl KeyPair {
    /// A key pair that nobody has had before. `None` where the system has no randomness.
    pub fn generate() -> Option<Self> {
        let random = SystemRandom::new();
        let (mut seed, mut check) = ([0; 32], [0; 4]);
        random.fill(&mut seed).ok()?;
        random.fill(&mut check).ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let public = pair.public_key().as_ref();
        let blob = [string(KIND), string(public)].concat();
        // The check shows, twice the same, that it was decrypted rightly.
        let secret = string(&[&seed[..], public].concat());
        let inner = [&check[..], &check, &string(KIND), &string(public), &secret, &string(b"")].concat();
        let padding: Vec<u8> = (1..).take((8 - inner.len() % 8) % 8).collect();
        let outer = [
            MAGIC,
            &string(b"none"),
            &string(b"none"),
            &string(b""),
            &1_u32.to_be_bytes(),
            &string(&blob),
            &string(&[inner, padding].concat()),
        ];
        let text = STANDARD.encode(outer.concat());
        let mut private = BEGIN.to_owned();
        for line in text.as_bytes().chunks(70) {
            private.push_str(&String::from_utf8_lossy(line));
            private.push('\n');
        }
        private.push_str(END);
        Some(Self { private: private.into(), public: public_line(&blob) })
    }

    /// Of a private key as [`KeyPair::generate`] writes it; `None` for another text.
    pub fn of(private: &SecretString) -> Option<Self> {
        let text = private.expose_secret().trim();
        let inside = text.strip_prefix(BEGIN.trim_end())?.strip_suffix(END.trim_end())?;
        let inside: String = inside.split_whitespace().collect();
        let bytes = STANDARD.decode(inside).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (cipher, rest) = read(rest)?;
        let (_, rest) = read(rest)?;
        let (_, rest) = read(rest)?;
        let (blob, _) = read(rest.strip_prefix(&1_u32.to_be_bytes())?)?;
        let (kind, _) = read(blob)?;
        (cipher == b"none" && kind == KIND)
            .then(|| Self { private: format!("{text}\n").into(), public: public_line(blob) })
    }
}

fn public_line(blob: &[u8]) -> String {
    format!("{} {}", String::from_utf8_lossy(KIND), STANDARD.encode(blob))
}

/// Bytes with their number before them.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The first such bytes, and what is after them.
fn read(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_reads_the_same() {
        let made = KeyPair::generate().unwrap();
        let again = KeyPair::of(&made.private).unwrap();
        assert_eq!(again.public, made.public);
        assert_eq!(again.private.expose_secret(), made.private.expose_secret());
        assert!(made.public.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"), "{}", made.public);
        assert_ne!(KeyPair::generate().unwrap().public, made.public);
        // A file that lost its last line end, or has others, is the same key.
        let text = made.private.expose_secret().trim_end().replace('\n', "\r\n");
        assert_eq!(KeyPair::of(&text.into()).unwrap().public, made.public);
        let text = made.private.expose_secret().to_owned();
        for bad in [String::new(), "x".into(), BEGIN.into(), format!("{BEGIN}{END}"), text[..200].to_owned()]
        {
            assert!(KeyPair::of(&bad.into()).is_none());
        }
    }
}
