//! CNI plugins under calls that no runtime would make.

use std::path::Path;
use std::time::{Duration, Instant};

use linkspan_lab::{Fuzz, from_env, here};

use crate::host::has;

/// How long is tried; LINKSPAN_FUZZ_SECONDS says otherwise, and `cargo xtask fuzz-cni` tries for ten minutes.
const SECONDS: u64 = 20;

#[test]
fn plugins_bear_mutated_calls() {
    linkspan_lab::run(here!(), || {
        if !has("nft") || !has("sqlite3") {
            return;
        }
        let end = Instant::now() + Duration::from_secs(from_env("LINKSPAN_FUZZ_SECONDS").unwrap_or(SECONDS));
        let fuzz = Fuzz::new(Path::new(env!("CARGO_BIN_EXE_linkspan")), None);
        let seed = from_env("LINKSPAN_SEED").unwrap_or(1);
        let count = fuzz.try_until(end, seed, 0).unwrap_or_else(|what| panic!("{what}"));
        println!("{count:?}");
        assert!(count.succeeded > 0, "no mutated call is right any more: the seeds are wrong");
    });
}
