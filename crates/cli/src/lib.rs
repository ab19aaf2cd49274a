//! The command line: flags in, tables and JSON out. It decides nothing about networks.

mod args;
mod commands;
mod complete;
mod context;
mod deferred;
mod demo;
mod help;
mod inspect;
mod links;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::output::Problem;

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    if let Some(code) = complete::answer() {
        return code;
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error),
    };
    output::use_colour(!args.global.no_color);
    match commands::run(args) {
        Ok(code) => code,
        Err(problem) => problem.report(),
    }
}

/// What a command comes to.
type Outcome = Result<ExitCode, Problem>;
