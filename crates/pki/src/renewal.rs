//! When a certificate that renews itself is renewed, and how long is waited after a failure: the decision alone.
//!
//! A guest decides with a shell script, which needs no Phoenix (`catalog/certificates/certificates`: `renew_at`,
//! `patience`, and the interval of `phoenix-certificates.timer`). This is the same in Rust, for plans, lists and the
//! simulation; a test holds one against the other.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Who is asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The workshop's own authority, which takes any number of requests.
    Own,
    /// A public one, which counts failures and refuses whoever has too many (Let's Encrypt: five an hour for a name).
    Public,
}

/// When the certificate called `name` is renewed: when two thirds of its life have passed, and up to a twelfth of it
/// later, always the same for a name, so that not all ask at once. Never later than three quarters of the life.
#[must_use]
pub fn renew_at(name: &str, not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let (begin, end) = (not_before.as_second(), not_after.as_second());
    let life = i128::from(end.saturating_sub(begin).max(0));
    let hash = Sha256::digest(name);
    let hash = i128::from(u16::from_be_bytes([hash[0], hash[1]]));
    let later = life * 2 / 3 + life * hash / 786_432;
    i64::try_from(i128::from(begin) + later)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(not_before)
}

/// How long is waited after so many failures in a row: twice as long each time, up to a 48th of the life and an hour. A
/// public authority is asked less: five minutes at first, up to a 24th of the life and six hours.
#[must_use]
pub fn patience(asked: Asked, failures: u32, life: Duration) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let life = life.as_secs();
    let (least, most) = match asked {
        Asked::Own => (10, (life / 48).min(3600)),
        Asked::Public => (300, (life / 24).min(21_600)),
    };
    let wait = least << (failures - 1).min(20);
    Duration::from_secs(wait.min(most.max(least)))
}

/// How often a guest looks at its certificates, the shortest of whose lives is `life`: thirty times in that life, but no
/// more often than each ten seconds, and no more seldom than each quarter of an hour.
#[must_use]
pub fn interval(life: Duration) -> Duration {
    Duration::from_secs((life.as_secs() / 30).clamp(10, 900))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn ninety_days_are_renewed_after_sixty_and_before_sixty_eight() {
        let day = 24 * 60 * 60;
        for name in ["notes", "wiki", "gateway"] {
            let days = renew_at(name, at(0), at(90 * day)).as_second() / day;
            assert!((60..=67).contains(&days), "{name}: {days}");
        }
        assert_ne!(renew_at("notes", at(0), at(90 * day)), renew_at("wiki", at(0), at(90 * day)));
    }

    #[test]
    fn patience_grows_and_ends() {
        let hour = Duration::from_secs(3600);
        let own = |n| patience(Asked::Own, n, 24 * hour).as_secs();
        assert_eq!(
            [own(0), own(1), own(2), own(3), own(8), own(9), own(4_000_000)],
            [0, 10, 20, 40, 1280, 1800, 1800]
        );
        assert_eq!(patience(Asked::Own, 30, Duration::from_secs(600)).as_secs(), 12);
        assert_eq!(patience(Asked::Own, 30, 2160 * hour), hour);
        // S-14, and the limits of public authorities: not five failures within an hour.
        let tries: Vec<u64> = (1..=5).map(|n| patience(Asked::Public, n, 2160 * hour).as_secs()).collect();
        assert!(tries.iter().take(4).sum::<u64>() > 3600, "{tries:?}");
    }

    proptest! {
        // P-46: at two thirds of its life, not when it has expired, and never beyond three quarters.
        #[test]
        fn between_two_thirds_and_three_quarters(name in "[a-z0-9.-]{1,40}", begin in 0i64..4_000_000_000, life in 0i64..700_000_000) {
            let renew = renew_at(&name, at(begin), at(begin + life)).as_second() - begin;
            prop_assert!(renew >= life * 2 / 3 && renew * 4 <= life * 3);
        }
    }
}
