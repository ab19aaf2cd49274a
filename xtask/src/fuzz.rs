//! `cargo xtask fuzz-cni`: CNI plugins started with mutated environments and configurations.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use linkspan_lab::Fuzz;

use crate::failure::{Failure, Result};
use crate::flags::Flags;
use crate::inside;
use crate::run;

/// Tries for `--minutes`, decided by `--seed`; `--case` is the first.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let flags = Flags::parse(arguments, &["minutes", "seed", "case", "only", "linkspan", "state"], &[])?;
    run::need(&[("nft", "nftables"), ("sqlite3", "sqlite3")])?;
    inside::run("fuzz-cni", inside::Privileges::Dropped, arguments, &flags, |host| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (seed, first) = (flags.number("seed", now)?, flags.number("case", 0)?);
        let minutes: f64 = flags.number("minutes", 10.0)?;
        println!("{}\nseed {seed}, {minutes} minutes", host.describe());
        let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes.max(0.0));
        let count = Fuzz::new(host.program(), flags.text("only"))
            .try_until(end, seed, first)
            .map_err(Failure::new)?;
        println!("{} calls, of which {} succeeded: no panic, no hang, no leak", count.cases, count.succeeded);
        Ok(ExitCode::SUCCESS)
    })
}
