//! `cargo xtask bench`: what creating and removing cost, side by side with their floors in one run.

mod cni;
mod containers;
mod create;
mod dns;
mod file;
mod growth;
mod netavark;
mod ports;
mod table;
pub mod traffic;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::failure::Result;
use crate::flags::Flags;
use crate::inside::{self, Host};
use table::Table;

/// Measures everything, or what `--only` names; with `--check` a missed goal is a failure.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let valued = ["count", "growth", "only", "linkspan", "state"];
    let flags = Flags::parse(arguments, &valued, &["check"])?;
    inside::run("bench", inside::Privileges::Kept, arguments, &flags, |host| measure(host, &flags))
}

fn measure(host: &Host, flags: &Flags) -> Result<ExitCode> {
    println!("{}", host.describe());
    println!("times in milliseconds, from starting the programs until they have ended");
    let mut table = Table::default();
    let wanted = |name: &str| flags.text("only").is_none_or(|only| only == name);
    // What is made once per host is not measured.
    host.timed(&mut host.linkspan("sandbox create --net bridge -p 18080:80 warm"))?;
    host.timed(&mut host.linkspan("sandbox rm warm"))?;
    settle();
    if wanted("create") {
        create::measure(host, flags.number("count", 50)?, &mut table)?;
    }
    if wanted("growth") {
        growth::measure(host, flags.number("growth", 300)?, &mut table)?;
    }
    if wanted("ports") {
        ports::measure(host, flags.number("count", 50_u32)?.div_ceil(2), &mut table)?;
    }
    if wanted("file") {
        file::measure(host, flags.number("count", 50_u32)?.div_ceil(10), &mut table)?;
    }
    if wanted("cni") {
        cni::measure(host, flags.number("count", 100)?, flags.number("growth", 1000)?, &mut table)?;
    }
    if wanted("netavark") {
        netavark::measure(host, flags.number("count", 100)?, flags.number("growth", 1000)?, &mut table)?;
    }
    if wanted("dns") {
        dns::measure(host, flags.number("count", 50_usize)?.div_ceil(10), &mut table)?;
    }
    println!("{}", table.text());
    let missed = table.missed();
    println!(
        "{}",
        if missed == 0 { "every goal is met".to_owned() } else { format!("{missed} goals are missed") }
    );
    Ok(if flags.has("check") && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lets the kernel finish what a command has left to it, some 20 ms, so that the next sample does not pay for it.
fn settle() {
    sleep(Duration::from_millis(60));
}

/// Does both `count` times in turn; who begins alternates, so that neither has the better place.
fn take_turns(
    count: u32,
    mut ours: impl FnMut() -> Result<()>,
    mut floor: impl FnMut() -> Result<()>,
) -> Result<()> {
    for turn in 0..count {
        if turn % 2 == 0 {
            ours()?;
            floor()?;
        } else {
            floor()?;
            ours()?;
        }
    }
    Ok(())
}

/// Waits until the host has no more than `count` veth devices, at most two seconds.
fn await_veths(count: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while inside::ip("-o link show type veth")?.lines().count() > count && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
    }
    settle();
    Ok(())
}
