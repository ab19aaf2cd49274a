//! `cargo xtask churn`: names asked for while containers come and go on Podman's networks.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use linkspan_lab::{Backend, churn};

use crate::failure::{Doing as _, Failure, Result};
use crate::flags::Flags;
use crate::inside::{self, Host};

/// The goal of the issue: 99 of a hundred answers take no longer.
const SOON: Duration = Duration::from_millis(5);

/// Lets `--count` containers come and go in `--lanes` at a time, and asks `--rate` times a second.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let flags = Flags::parse(arguments, &["count", "rate", "lanes", "netavark", "linkspan", "state"], &[])?;
    inside::run("churn", inside::Privileges::Dropped, arguments, &flags, |host| measure(host, &flags))
}

fn measure(host: &Host, flags: &Flags) -> Result<ExitCode> {
    println!("{}", host.describe());
    let (count, rate, lanes) =
        (flags.number("count", 1000)?, flags.number("rate", 20_000)?, flags.number("lanes", 2)?);
    let churned = churn(&backend(host, flags)?, count, lanes, rate).doing("the backend failed")?;
    let (replies, (came, time)) = (churned.replies, churned.came);
    println!("{came} containers came and went in {:.1} s", time.as_secs_f64());
    let (asked, lost, wrong, overrun) = (replies.asked, replies.lost(), replies.wrong, replies.overrun);
    println!(
        "{asked} questions, {lost} lost, {wrong} answered wrong, {overrun} answered faster than could be heard"
    );
    let shown: Vec<_> = [50, 90, 99, 100].map(|part| format!("{part} % {:?}", replies.within(part))).into();
    println!("answers: {}", shown.join(", "));
    if lost > 0 || wrong > 0 {
        return Err(Failure::new("not every question was answered well"));
    }
    if replies.within(99) >= SOON {
        return Err(Failure::new(format!("99 of a hundred answers are to take less than {SOON:?}")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The program under the names that Podman calls it by, or another backend that calls it for names.
fn backend(host: &Host, flags: &Flags) -> Result<Backend> {
    let directory = PathBuf::from("/run/backend");
    fs::create_dir(&directory).doing("cannot make a run directory")?;
    let [program, names] = ["netavark", "aardvark-dns"].map(|name| host.state().with_file_name(name));
    for link in [&program, &names] {
        symlink(host.program(), link).doing("cannot make a link")?;
    }
    let backend = match flags.text("netavark") {
        Some(file) => Backend::new(Path::new(file), &names, &directory).foreign(),
        None => Backend::new(&program, &names, &directory),
    };
    Ok(backend.env("LINKSPAN_STATE_DIR", &host.state()).env("LINKSPAN_RUN_DIR", &host.run_directory()))
}
