//! Something that nobody can guess.

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::Error;

/// 32 hexadecimal digits, for one command that `program` carries to `place`.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn nonce(program: &str, place: &dyn Fn() -> String) -> Result<String, Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Start {
        program: program.to_owned(),
        place: place(),
        source: std::io::Error::other("the system gives no random numbers"),
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
