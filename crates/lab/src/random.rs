//! Small numbers that a seed decides.

use std::time::{SystemTime, UNIX_EPOCH};

/// splitmix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded by `LINKSPAN_SEED`, or by the clock; the seed is printed, and shown if the test fails.
    pub fn from_environment() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seed = from_env("LINKSPAN_SEED").unwrap_or_else(clock);
        println!("LINKSPAN_SEED={seed}");
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below a limit, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// A place in something of this length, which is not 0.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// One of several.
    pub fn of<'a, T: ?Sized>(&mut self, several: &[&'a T]) -> &'a T {
        several[self.place(several.len())]
    }

    /// Whether it is the one case in so many.
    pub fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// A number that the environment gives.
pub fn from_env(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().expect("a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_numbers() {
        let numbers = |seed| {
            let mut random = Random::seeded(seed);
            (0..20).map(|_| random.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        assert!(numbers(3).iter().all(|&number| number < 100));
    }
}
