//! Random numbers that cost nanoseconds: fresh ones in a sequence, and ones that are derived,
//! so that requests which are made apart agree on the ids of a trace. Not for secrets.

use std::sync::LazyLock;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const DURATIONS: usize = 4096;
const MEDIAN_NANOS: f64 = 25e6;
/// Of the logarithm: one in a hundred takes ten times the median.
const SPREAD: f64 = 1.0;

/// A generator (splitmix64): quality beyond "never repeats" is not needed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts somewhere else each time.
    pub fn new() -> Self {
        Self(rand::random())
    }

    /// Starts where it is told, for what must be the same each time.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A position in something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// The number with this index in the sequence of `seed`, always the same.
pub fn derived(seed: u64, index: u64) -> u64 {
    mixed(mixed(seed).wrapping_add(index.wrapping_mul(STEP)))
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A log-normal duration in nanoseconds, as latencies are, from 64 random bits.
pub fn duration_nanos(bits: u64) -> u64 {
    static TABLE: LazyLock<Vec<u64>> = LazyLock::new(durations);
    let index = usize::try_from(bits % DURATIONS as u64).expect("below a length");
    let nanos = TABLE[index];
    // No two are alike: the table's steps are filled.
    nanos + (bits >> 32) % (nanos / 16 + 1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds of at most a few seconds"
)]
fn durations() -> Vec<u64> {
    let mut random = Random::seeded(1);
    let mut uniform = || (random.below(1 << 52) + 1) as f64 / (1_u64 << 52) as f64;
    let normal = |(a, b): (f64, f64)| (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    let pairs: Vec<(f64, f64)> = (0..DURATIONS).map(|_| (uniform(), uniform())).collect();
    let nanos = |pair| (MEDIAN_NANOS * (SPREAD * normal(pair)).exp()) as u64;
    pairs.into_iter().map(nanos).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_spread_like_latencies() {
        let mut random = Random::seeded(7);
        let mut nanos: Vec<u64> = (0..10_000).map(|_| duration_nanos(random.number())).collect();
        nanos.sort_unstable();
        let ratio = nanos[9_900] as f64 / nanos[5_000] as f64;
        assert!((5.0..20.0).contains(&ratio), "p99 is {ratio} medians");
        assert!(
            (10_000_000..50_000_000).contains(&nanos[5_000]),
            "{}",
            nanos[5_000]
        );
    }

    #[test]
    fn derived_numbers_are_the_same_again_and_differ_by_index() {
        assert_eq!(derived(3, 4), derived(3, 4));
        assert_ne!(derived(3, 4), derived(3, 5));
        assert_ne!(derived(3, 4), derived(4, 4));
    }
}
