//! `linkspan completion`, `man` and `version`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Outcome;
use crate::args::Args;
use crate::complete;
use crate::output::Problem;

/// Prints a completion script.
pub fn completion(shell: Shell) -> Outcome {
    let script =
        complete::script(shell).map_err(|cause| Problem::new("cannot write the script").because(cause))?;
    print(&script)
}

/// Prints the manual page, or writes one for each command into `directory`.
pub fn manual(directory: Option<&Path>) -> Outcome {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        Man::new(Args::command())
            .render(&mut page)
            .map_err(|cause| Problem::new("cannot render the page").because(cause))?;
        return print(&page);
    };
    let write =
        || fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Args::command(), directory));
    write()
        .map_err(|cause| Problem::new(format!("cannot write to {}", directory.display())).because(cause))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the version.
pub fn version() -> Outcome {
    print(format!("linkspan {}\n", env!("CARGO_PKG_VERSION")).as_bytes())
}

/// Prints bytes; a reader that has had enough is no error.
fn print(bytes: &[u8]) -> Outcome {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::new("cannot print").because(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
