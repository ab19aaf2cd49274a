//! `linkspan run` and `linkspan exec`: programs in a sandbox.
use crate::Outcome;
use crate::args::{ExecArgs, RunArgs};
use crate::output::Problem;
use linkspan_engine::Engine;
use linkspan_kernel::Host;
pub fn exec(_e: Engine<Host>, _r: &ExecArgs) -> Outcome {
    Err(Problem::new("wip"))
}
pub fn run(_e: Engine<Host>, _r: RunArgs) -> Outcome {
    Err(Problem::new("wip"))
}
