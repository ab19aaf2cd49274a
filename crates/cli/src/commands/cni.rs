//! `linkspan cni`: what makes this program the plugins of a container runtime.

use std::path::Path;
use std::process::ExitCode;

use linkspan_cni::{Done, install as install_links};

use crate::Outcome;
use crate::args::Format;
use crate::output::{self, Problem};

/// Makes the links in `directory`.
pub fn install(directory: &Path, force: bool, format: Format) -> Outcome {
    let program = std::env::current_exe().and_then(|program| program.canonicalize());
    let program =
        program.map_err(|error| Problem::new("cannot tell where this program is").because(error))?;
    let links = install_links(directory, &program, force)?;
    match format {
        Format::Json => output::json(&links)?,
        Format::Table => {
            let row = |link: &linkspan_cni::Link| {
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
