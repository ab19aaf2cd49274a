//! `linkspan cni install`, `linkspan netavark install`: the links by which runtimes find this program.

use std::path::Path;
use std::process::ExitCode;

use crate::Outcome;
use crate::args::Format;
use crate::links::{self, Done, Link};
use crate::output::{self, Problem};

/// Makes links to this program under `names` in `directory`.
pub fn install(
    directory: &Path,
    names: impl IntoIterator<Item = &'static str>,
    force: bool,
    format: Format,
) -> Outcome {
    let program = std::env::current_exe().and_then(|program| program.canonicalize());
    let program =
        program.map_err(|error| Problem::new("cannot tell where this program is").because(error))?;
    let links = links::install(directory, &program, names, force)?;
    match format {
        Format::Json => output::json(&links)?,
        Format::Table => {
            let row = |link: &Link| {
                let done = match link.done {
                    Done::Created => "created",
                    Done::Replaced => "replaced",
                    Done::Unchanged => "unchanged",
                };
                vec![link.path.display().to_string(), link.target.display().to_string(), done.to_owned()]
            };
            output::table(&["LINK", "TO", ""], links.iter().map(row).collect());
        }
    }
    Ok(ExitCode::SUCCESS)
}
