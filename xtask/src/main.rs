//! Developer commands: `cargo xtask vm`, `cargo xtask guest`, `cargo xtask bench`, `cargo xtask soak`,
//! `cargo xtask churn`, `cargo xtask fuzz-cni`.
#![allow(
    clippy::disallowed_methods,
    reason = "developer commands start programs: that is what they measure and compare with"
)]

mod bench;
mod churn;
mod failure;
mod flags;
mod fuzz;
mod inside;
mod run;
mod soak;
mod vm;

use std::env;
use std::process::ExitCode;

use failure::Failure;

const USAGE: &str = "\
usage: cargo xtask vm [--memory MIB] [--cpus N] [--timeout SECONDS] [--share DIR] [--append KERNEL-ARGUMENTS]
                      [--only WORD,...] [--if-possible] [-- COMMAND...]
           Run COMMAND, or the built tests (--only those with a WORD in their names), under Debian's stock
           kernel in a virtual machine. With --if-possible it is no error that there can be none.
       cargo xtask guest [--into DIR] [--if-possible]
           Make the kernel and first file system of the machine that a test boots on a network.
       cargo xtask bench [--check] [--count N] [--growth N] [--only create|growth|ports|file|cni|netavark|dns]
           Measure creating, removing, growth, port ranges and labs against their floors, CNI against the
           reference plugins, Podman's backend and its names against netavark, aardvark-dns and dnsmasq (looked
           for in PATH); --check fails if a goal is missed.
       cargo xtask soak [--count N] [--seed N]
           Kill linkspan at random instants, repair, look for what was left behind.
       cargo xtask churn [--count N] [--rate N] [--lanes N] [--netavark FILE]
           Let N containers come and go on Podman's networks while names are asked for at a rate a second: a question
           that is lost or answered wrong is a failure, and so is a late answer.
       cargo xtask fuzz-cni [--minutes N] [--seed N] [--case N] [--only PLUGIN,...]
           Start CNI plugins with mutated environments and configurations, look for panics, hangs and leaks.
       bench, soak, churn and fuzz-cni also take --linkspan FILE, instead of building it, and --state DIR, where their
       databases are (the target directory if not given).
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match command.as_str() {
        "vm" => vm::run(rest),
        "guest" => vm::guest(rest),
        "bench" => bench::run(rest),
        "soak" => soak::run(rest),
        "churn" => churn::run(rest),
        "fuzz-cni" => fuzz::run(rest),
        "serve" => bench::traffic::serve(rest),
        "connect" => bench::traffic::connect(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(Failure::usage(format!("no command `{other}`"))),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::from(failure.status())
    })
}
