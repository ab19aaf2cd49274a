//! Small numbers that a seed decides.

use std::time::{SystemTime, UNIX_EPOCH};

/// splitmix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `LINKSPAN_SEED`, or by the clock; the seed is printed, and shown if the test fails.
    pub fn new() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let seed = from_env("LINKSPAN_SEED").unwrap_or_else(clock);
        println!("LINKSPAN_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A number that the environment gives.
pub fn from_env(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().expect("a number"))
}
