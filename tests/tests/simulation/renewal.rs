//! Two years of renewals on a virtual clock, with outages from a seed: of the authority, of the guest, of both. What is
//! decided is what guests decide ([`pki::renewal`]; a test of `managers` holds their script against it).

use std::time::Duration;

use jiff::Timestamp;
use pki::renewal::{Asked, interval, patience, renew_at};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const YEAR: i64 = 365 * 86_400;
/// How far before its issue a certificate of step-ca begins.
const BACKDATE: i64 = 60;
/// How long issuing takes at most before a guest gives up.
const ANSWER: i64 = 60;
/// The timer's first look after a start, and how far a look may be late (its accuracy).
const FIRST_LOOK: i64 = 5;

/// Times without something, in order and apart from each other.
#[derive(Debug, Clone)]
struct Outages(Vec<(i64, i64)>);

impl Outages {
    fn random(rng: &mut ChaCha8Rng, until: i64, life: i64) -> Self {
        let mut all = Vec::new();
        let mut at = 0;
        loop {
            // Mostly short; now and then longer than a life, which is a guest that was switched off for the holidays.
            at += rng.random_range(life / 2..life * 12);
            let length = match rng.random_range(0..10) {
                0 => rng.random_range(life..life * 3),
                1..=3 => rng.random_range(life / 10..life),
                _ => rng.random_range(1..life / 10),
            };
            if at + length >= until {
                return Self(all);
            }
            all.push((at, at + length));
            at += length;
        }
    }

    fn covers(&self, at: i64) -> bool {
        let next = self.0.partition_point(|(_, end)| *end <= at);
        self.0.get(next).is_some_and(|(begin, _)| *begin <= at)
    }

    /// When what begins at `at` or later is there again.
    fn over(&self, at: i64) -> i64 {
        let next = self.0.partition_point(|(_, end)| *end <= at);
        match self.0.get(next) {
            Some((begin, end)) if *begin <= at => *end,
            _ => at,
        }
    }
}

/// A guest with one certificate.
#[derive(Debug)]
struct Guest {
    name: String,
    life: i64,
    asked: Asked,
    /// Begin, end, and when it is renewed.
    certificate: Option<(i64, i64, i64)>,
    failures: u32,
    tried: i64,
    requests: u64,
    issued: u64,
}

impl Guest {
    fn new(name: &str, life: i64, asked: Asked) -> Self {
        let name = name.to_owned();
        Self { name, life, asked, certificate: None, failures: 0, tried: 0, requests: 0, issued: 0 }
    }

    fn wait(&self) -> i64 {
        let life = Duration::from_secs(self.life.unsigned_abs());
        i64::try_from(patience(self.asked, self.failures, life).as_secs()).unwrap()
    }

    /// One look of the timer. What it took.
    fn look(&mut self, now: i64, authority: bool) -> i64 {
        let due = self.certificate.is_none_or(|(_, end, renew)| now >= end || now >= renew);
        if !due || now < self.tried + self.wait() {
            return 0;
        }
        self.tried = now;
        self.requests += 1;
        if !authority {
            self.failures += 1;
            return ANSWER.min(self.life / 60);
        }
        let time = |second: i64| Timestamp::from_second(second).unwrap();
        let (begin, end) = (now - BACKDATE, now + self.life);
        self.certificate = Some((begin, end, renew_at(&self.name, time(begin), time(end)).as_second()));
        (self.failures, self.issued) = (0, self.issued + 1);
        1
    }

    fn valid(&self, now: i64) -> bool {
        self.certificate.is_some_and(|(_, end, _)| now < end)
    }
}

/// The longest that is waited for a certificate once everything is there: what is left of the patience, and one look.
fn bound(life: i64, asked: Asked) -> i64 {
    let life_ = Duration::from_secs(life.unsigned_abs());
    let look = i64::try_from(interval(life_).as_secs()).unwrap();
    i64::try_from(patience(asked, u32::MAX, life_).as_secs()).unwrap() + 2 * look + ANSWER + FIRST_LOOK
}

/// Runs a guest for two years. How long it was without a valid certificate although everything had been there for
/// longer than the bound allows: never.
fn live(seed: u64, life: i64, asked: Asked, span: i64) -> (Guest, Outages) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let authority = Outages::random(&mut rng, span, life);
    let power = Outages::random(&mut rng, span, life);
    let tick = i64::try_from(interval(Duration::from_secs(life.unsigned_abs())).as_secs()).unwrap();
    let bound = bound(life, asked);
    let mut guest = Guest::new(&format!("guest-{seed}"), life, asked);
    let mut now = FIRST_LOOK;
    // Since when everything has been there.
    let mut whole_since = 0;
    while now < span {
        if power.covers(now) {
            now = power.over(now) + FIRST_LOOK;
            whole_since = now;
        }
        let there = !authority.covers(now);
        if !there {
            whole_since = authority.over(now);
        }
        let took = guest.look(now, there);
        if there && now - whole_since > bound {
            assert!(
                guest.valid(now),
                "seed {seed}, life {life}: nothing valid at {now}, and everything is there since {whole_since}: {guest:?}"
            );
        }
        now += took + tick;
    }
    (guest, authority)
}

// P-46, S-12, S-14: after every outage, however long, there is a valid certificate within a bound, and whoever renews does
// not wear out who it asks.
#[test]
fn two_years_of_outages() {
    let span = 2 * YEAR;
    for (life, seeds) in [(600, 1..3_u64), (86_400, 3..40), (30 * 86_400, 40..90), (90 * 86_400, 90..150)] {
        for seed in seeds {
            let (guest, outages) = live(seed, life, Asked::Own, span);
            check(seed, &guest, &outages, span);
        }
    }
}

#[test]
fn two_years_with_a_public_authority() {
    for (life, seeds) in [(6 * 86_400, 200..230_u64), (90 * 86_400, 230..280)] {
        for seed in seeds {
            let (guest, outages) = live(seed, life, Asked::Public, 2 * YEAR);
            check(seed, &guest, &outages, 2 * YEAR);
        }
    }
}

fn check(seed: u64, guest: &Guest, outages: &Outages, span: i64) {
    // No more certificates than lives need: each is kept for two thirds of its life.
    let lives = (span / (guest.life * 2 / 3)).unsigned_abs() + 2;
    assert!(
        guest.issued > 3 && guest.issued <= lives,
        "seed {seed}: {} issued in {lives} lives",
        guest.issued
    );
    // And no more requests than patience allows: in each outage the doubling, and then one each time it has run out.
    let most = patience(guest.asked, u32::MAX, Duration::from_secs(guest.life.unsigned_abs())).as_secs();
    let away: i64 = outages.0.iter().map(|(begin, end)| end - begin).sum();
    let allowed = guest.issued + away.unsigned_abs() / most + outages.0.len() as u64 * 12;
    assert!(
        guest.requests <= allowed,
        "seed {seed}: {} requests, {allowed} allowed: {guest:?}",
        guest.requests
    );
}

// An outage that is shorter than what is left after three quarters of a life is not noticed at all.
#[test]
fn a_quarter_of_a_life_without_the_authority_is_not_noticed() {
    for life in [600, 86_400, 90 * 86_400] {
        let tick =
            i64::try_from(interval(Duration::from_secs(u64::try_from(life).unwrap())).as_secs()).unwrap();
        let longest = life / 4 - bound(life, Asked::Own) - tick;
        if longest <= 0 {
            continue;
        }
        for begin in (0..20).map(|n| life / 2 + n * life / 20) {
            let authority = Outages(vec![(begin, begin + longest)]);
            let mut guest = Guest::new("guest", life, Asked::Own);
            let mut now = FIRST_LOOK;
            while now < life * 4 {
                now += guest.look(now, !authority.covers(now)) + tick;
                assert!(
                    guest.valid(now - tick),
                    "life {life}, away from {begin} to {}: {guest:?}",
                    begin + longest
                );
            }
        }
    }
}

// Certificates that were all made in one apply are not all renewed in one hour.
#[test]
fn thirty_guests_do_not_ask_at_once() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let life = 90 * 86_400;
    let mut times: Vec<i64> =
        (0..30).map(|n| renew_at(&format!("service-{n}"), at(0), at(life)).as_second()).collect();
    times.sort_unstable();
    let hour = times.windows(6).filter(|w| w[5] - w[0] < 3600).count();
    assert_eq!(hour, 0, "more than five of thirty within an hour: {times:?}");
}
