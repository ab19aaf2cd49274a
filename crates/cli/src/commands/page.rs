//! `linkspan completion`, `man` and `version`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
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
        let (_, page) =
            page(Args::command()).map_err(|cause| Problem::new("cannot render the page").because(cause))?;
        return print(&page);
    };
    let mut program = Args::command();
    program.build();
    let written = fs::create_dir_all(directory).and_then(|()| write_pages(&program, directory));
    written
        .map_err(|cause| Problem::new(format!("cannot write to {}", directory.display())).because(cause))?;
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    let (name, page) = page(command.clone())?;
    fs::write(directory.join(name), page)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|c| write_pages(c, directory))
}

/// The page of a command, with the name of its file. Below the flags every line stays a line: they are there to be
/// copied.
fn page(command: Command) -> io::Result<(String, Vec<u8>)> {
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    let page = match page.split_once("\n.SH EXTRA\n") {
        Some((above, extra)) => {
            let (examples, rest) = extra.split_once("\n.SH ").unwrap_or((extra, ""));
            format!("{above}\n.SH EXAMPLES\n.nf\n{examples}\n.fi\n.SH {rest}")
        }
        None => page.into_owned(),
    };
    Ok((man.get_filename(), page.into_bytes()))
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
