//! `linkspan agent`: the process that stays.

use std::path::absolute;
use std::process::ExitCode;

use linkspan_agent::serve;

use crate::Outcome;
use crate::args::Global;
use crate::context::engine_to_change;
use crate::output::Problem;

/// Answers for the names of sandboxes until the last one is gone.
pub fn agent(global: &Global, is_given: bool) -> Outcome {
    let engine = engine_to_change(global)?;
    let run = absolute(&global.run_dir)
        .map_err(|cause| Problem::new("there is no current directory").because(cause))?;
    serve(engine, &global.state_dir, run, is_given)
        .map_err(|failure| Problem::new(format!("cannot {}", failure.what)).because(failure.cause))?;
    Ok(ExitCode::SUCCESS)
}
