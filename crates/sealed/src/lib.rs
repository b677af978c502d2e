//! Texts that only a passphrase or a private key opens, in the format of [age](https://age-encryption.org/v1), armored: so
//! that what Phoenix sealed can be opened by hand, too, and what is sealed by hand by Phoenix.
//!
//! What is sealed to a public key says nothing of who sealed it: everybody has that key.

use std::io::{self, Read, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use secrecy::{ExposeSecret as _, SecretString};

/// How a sealed text begins.
pub const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// The most bytes of a text, and of a sealed one.
pub const MOST: u64 = 16 << 20;

/// How much work a passphrase takes to be tried: 2^18, as the program `age` has it, which is 256 MiB and about a second.
const WORK: u8 = 18;
/// The most that is done for somebody else's: 2^20, four times as much.
const MOST_WORK: u8 = 20;

/// Why something could not be sealed or opened. None holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// It is nothing that was sealed.
    #[error("it is no sealed text: {reason}")]
    NotSealed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It was changed, or a part of it is missing.
    #[error("it was changed after it was sealed, or a part of it is missing")]
    Changed,
    /// The passphrase is another one.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
    /// None of the private keys belongs to a public key that it was sealed to.
    #[error("it was not sealed to any of these keys")]
    WrongIdentity,
    /// A private key has a passphrase, and that was not given, or is another one.
    #[error("the passphrase of the private key was not given, or does not open it")]
    LockedIdentity,
    /// It opens with a passphrase, and a key was given.
    #[error("it opens with a passphrase, and not with a key")]
    TakesPassphrase,
    /// It opens with a private key, and a passphrase was given.
    #[error("it opens with a private key, and not with a passphrase")]
    TakesIdentity,
    /// Whoever sealed it asked for more work than is done.
    #[error("to try a passphrase would take more than {} MiB of memory", 1_u32 << (MOST_WORK - 10))]
    TooMuchWork,
    /// There is far too much of it.
    #[error("it is larger than {} MiB", MOST >> 20)]
    TooLarge,
    /// Text is no public key that something can be sealed to.
    #[error("`{text}` is no public key that can be sealed to: {reason}")]
    BadRecipient {
        /// The text, its beginning where it is long.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Text is no private key that can be used.
    #[error("it holds no private key that can be used: {reason}")]
    BadIdentity {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Sealing failed.
    #[error("it cannot be sealed")]
    Failed {
        /// What the library said.
        #[source]
        source: io::Error,
    },
}

/// A public key that something is sealed to: one of age's own (`age1…`), or one of ssh (`ssh-ed25519 …`, `ssh-rsa …`).
#[derive(Clone)]
pub struct Recipient(Public);

#[derive(Clone)]
enum Public {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl std::fmt::Display for Recipient {
    /// The key, without what was said of its owner.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Public::Age(key) => key.fmt(f),
            Public::Ssh(key) => key.fmt(f),
        }
    }
}

impl FromStr for Recipient {
    type Err = SealedError;

    fn from_str(text: &str) -> Result<Self, SealedError> {
        let text = text.trim();
        let bad = |reason| {
            // Whoever confuses the two does not want the private one repeated.
            let shown = if text.contains("SECRET") { "…".to_owned() } else { beginning(text) };
            SealedError::BadRecipient { text: shown, reason }
        };
        if text.starts_with("ssh-") {
            return match text.parse() {
                Ok(key) => Ok(Self(Public::Ssh(key))),
                Err(age::ssh::ParseRecipientKeyError::RsaModulusTooSmall) => {
                    Err(bad("an RSA key of less than 2048 bits"))
                }
                Err(age::ssh::ParseRecipientKeyError::RsaModulusTooLarge) => {
                    Err(bad("an RSA key of more than 4096 bits"))
                }
                Err(_) => Err(bad("of ssh, ed25519 and RSA can be sealed to")),
            };
        }
        match text.parse() {
            Ok(key) => Ok(Self(Public::Age(key))),
            Err(_) if text.starts_with("AGE-SECRET-KEY-") => Err(bad("it is the private one")),
            Err(_) if text.starts_with("age1") => Err(bad("not of age's own kind, or mistyped")),
            Err(_) => Err(bad("it begins neither with age1 nor with ssh-")),
        }
    }
}

fn beginning(text: &str) -> String {
    const SHOWN: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// The public keys in a text: one a line, as in a file of age's recipients or of ssh's authorized keys without options. Empty
/// lines and those that begin with `#` are none.
///
/// # Errors
/// For the first line that is none.
pub fn recipients(text: &str) -> Result<Vec<Recipient>, SealedError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::parse).collect()
}

/// Asks for the passphrase of a private key; none where nobody can be asked.
pub type Ask = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// Private keys.
pub struct Identities {
    keys: Vec<Box<dyn age::Identity>>,
    /// Whether a passphrase of one was asked for in vain.
    locked: Vec<Arc<AtomicBool>>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.keys.len())
    }
}

impl Identities {
    /// Those in the text of a file: a private key of ssh, or one of age's own in each line. `name` is what `ask` is told where a
    /// key has a passphrase, which it is asked for when the key is tried.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub fn parse(text: &SecretString, name: &str, ask: Ask) -> Result<Self, SealedError> {
        let bad = |reason| SealedError::BadIdentity { reason };
        let text = text.expose_secret();
        if text.trim_start().starts_with(BEGIN) || text.starts_with("age-encryption.org/") {
            return Err(bad("it is sealed itself; open it with age first"));
        }
        if text.contains("PRIVATE KEY-----") {
            let key = age::ssh::Identity::from_buffer(text.as_bytes(), Some(name.to_owned()))
                .map_err(|_| bad("the key of ssh cannot be read"))?;
            if matches!(key, age::ssh::Identity::Unsupported(_)) {
                return Err(bad("of ssh, ed25519 and RSA keys can be used"));
            }
            let locked = Arc::new(AtomicBool::new(false));
            let key = key.with_callbacks(Asking { ask, in_vain: locked.clone() });
            return Ok(Self { keys: vec![Box::new(key)], locked: vec![locked] });
        }
        let file = age::IdentityFile::from_buffer(text.as_bytes())
            .map_err(|_| bad("a line is neither AGE-SECRET-KEY-… nor begins with #"))?;
        let keys = file.into_identities().map_err(|_| bad("none of its lines can be used"))?;
        if keys.is_empty() {
            return Err(bad("it is empty"));
        }
        Ok(Self { keys, locked: Vec::new() })
    }

    /// These as well.
    pub fn extend(&mut self, others: Self) {
        self.keys.extend(others.keys);
        self.locked.extend(others.locked);
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self { keys: Vec::new(), locked: Vec::new() }
    }
}

#[derive(Clone)]
struct Asking {
    ask: Ask,
    in_vain: Arc<AtomicBool>,
}

impl age::Callbacks for Asking {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let said = (self.ask)(description);
        self.in_vain.fetch_or(said.is_none(), Ordering::Relaxed);
        said
    }
}

/// What opens something.
#[derive(Debug)]
pub enum Key {
    /// A passphrase.
    Passphrase(SecretString),
    /// Private keys, of which one is enough.
    Identities(Identities),
}

/// What opens a sealed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A passphrase.
    Passphrase,
    /// A private key.
    Identity,
}

/// Seals a text with a passphrase. Takes about a second, which whoever tries passphrases needs for each.
///
/// # Errors
/// When it is too large, or there are no random numbers.
pub fn with_passphrase(text: &SecretString, passphrase: &SecretString) -> Result<String, SealedError> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK);
    seal(text, &[&recipient])
}

/// Seals a text to public keys: each of their private ones opens it.
///
/// # Errors
/// When it is too large, there is no key, or there are no random numbers.
pub fn to_recipients(text: &SecretString, keys: &[Recipient]) -> Result<String, SealedError> {
    let keys: Vec<&dyn age::Recipient> = keys
        .iter()
        .map(|key| match &key.0 {
            Public::Age(key) => key as &dyn age::Recipient,
            Public::Ssh(key) => key,
        })
        .collect();
    seal(text, &keys)
}

fn seal(text: &SecretString, keys: &[&dyn age::Recipient]) -> Result<String, SealedError> {
    let text = text.expose_secret().as_bytes();
    // Armor makes a third more of it.
    if text.len() as u64 > MOST / 2 {
        return Err(SealedError::TooLarge);
    }
    let failed = |source| SealedError::Failed { source };
    let encryptor = Encryptor::with_recipients(keys.iter().copied())
        .map_err(|e| failed(io::Error::other(e.to_string())))?;
    let sealed = || -> io::Result<Vec<u8>> {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(text)?;
        writer.finish()?.finish()
    };
    String::from_utf8(sealed().map_err(failed)?).map_err(|e| failed(io::Error::other(e)))
}

/// What a sealed text opens with.
///
/// # Errors
/// When it is none.
pub fn takes(sealed: &[u8]) -> Result<Takes, SealedError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(refused)?;
    Ok(if decryptor.is_scrypt() { Takes::Passphrase } else { Takes::Identity })
}

/// Opens what was sealed, by Phoenix or by age.
///
/// # Errors
/// When the key is another one, it was changed or cut, it is no text, or it was never sealed.
pub fn open(sealed: &[u8], key: &Key) -> Result<SecretString, SealedError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed)).map_err(refused)?;
    let reader = match (key, decryptor.is_scrypt()) {
        (Key::Passphrase(passphrase), true) => {
            let mut identity = age::scrypt::Identity::new(passphrase.clone());
            identity.set_max_work_factor(MOST_WORK);
            // Its own code is checked with the key that the passphrase gives: whoever has another one gets no key.
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|e| match e {
                DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys => SealedError::WrongPassphrase,
                other => refused(other),
            })
        }
        (Key::Passphrase(_), false) => Err(SealedError::TakesIdentity),
        (Key::Identities(_), true) => Err(SealedError::TakesPassphrase),
        (Key::Identities(keys), false) => {
            decryptor.decrypt(keys.keys.iter().map(|key| &**key)).map_err(|e| match e {
                DecryptError::NoMatchingKeys if keys.locked.iter().any(|one| one.load(Ordering::Relaxed)) => {
                    SealedError::LockedIdentity
                }
                other => refused(other),
            })
        }
    }?;
    let mut bytes = Vec::new();
    reader.take(MOST + 1).read_to_end(&mut bytes).map_err(|_| SealedError::Changed)?;
    if bytes.len() as u64 > MOST {
        return Err(SealedError::TooLarge);
    }
    String::from_utf8(bytes)
        .map(SecretString::from)
        .map_err(|_| SealedError::NotSealed { reason: "what is in it is no text" })
}

fn refused(error: DecryptError) -> SealedError {
    match error {
        DecryptError::DecryptionFailed | DecryptError::InvalidMac => SealedError::Changed,
        DecryptError::ExcessiveWork { .. } => SealedError::TooMuchWork,
        DecryptError::KeyDecryptionFailed => SealedError::LockedIdentity,
        DecryptError::NoMatchingKeys => SealedError::WrongIdentity,
        DecryptError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => SealedError::Changed,
        DecryptError::InvalidHeader | DecryptError::Io(_) => {
            SealedError::NotSealed { reason: "it does not begin as age's files do" }
        }
        DecryptError::UnknownFormat => {
            SealedError::NotSealed { reason: "it is of a version of age's that is not known" }
        }
    }
}

#[cfg(test)]
mod tests;
