//! `linkspan repair`.

use std::process::ExitCode;

use anstream::println;
use linkspan_engine::Engine;
use linkspan_kernel::Host;
use serde_json::json;

use crate::args::Format;
use crate::{Outcome, output};

/// Puts everything right and prints what that took, a line each.
pub fn repair(mut engine: Engine<Host>, dry_run: bool, format: Format) -> Outcome {
    let repair = engine.repair(dry_run)?;
    let steps: Vec<_> = repair.steps.iter().map(ToString::to_string).collect();
    let files: Vec<_> = repair.files.iter().map(|path| path.display().to_string()).collect();
    if format == Format::Json {
        output::json(
            &json!({ "dry_run": dry_run, "finished": repair.finished, "steps": steps, "files": files }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    repair.finished.iter().for_each(|line| println!("{line}: undone"));
    steps.iter().for_each(|line| println!("{line}"));
    files.iter().for_each(|path| println!("remove {path}"));
    Ok(ExitCode::SUCCESS)
}
