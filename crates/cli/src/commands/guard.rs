//! Guards of a network that is undone unless somebody confirms it: two processes, so that one that is killed is replaced.

use std::ffi::OsString;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use linkspan_kernel::guard::Line;
use linkspan_model::Name;

use crate::Outcome;
use crate::args::Global;
use crate::context::engine_to_change;
use crate::output::Problem;

/// Between two looks as long as the one that is guarded may still begin.
const GLANCE: Duration = Duration::from_millis(200);

/// Starts a guard of the network `name`, which is about to be made by this process: it undoes the network if this process
/// dies in the middle, and if nobody confirms it in time.
///
/// # Errors
/// If no process can be made.
pub fn start(global: &Global, name: &Name) -> Result<Line, Problem> {
    let path = |dir| {
        std::path::absolute(dir).map_err(|cause| Problem::new("there is no current directory").because(cause))
    };
    let mut arguments = vec![OsString::from("--state-dir"), path(&global.state_dir)?.into_os_string()];
    arguments.extend([OsString::from("--run-dir"), path(&global.run_dir)?.into_os_string()]);
    arguments.extend(["network", "guard", name.as_str()].map(OsString::from));
    Ok(Line::to_another(&arguments)?)
}

/// Guards the network `name`. The first guard has a line to the process that makes the network. When that has ended, two
/// guards have a line to each other, and whoever finds it broken replaces the other.
pub fn guard(global: &Global, name: &Name) -> Outcome {
    let mut line = Some(Line::inherited()?);
    let mut begun = false;
    loop {
        let look = engine_to_change(global).and_then(|mut engine| Ok(engine.guard_network(name)?));
        let pause = match look {
            Ok(None) if begun || line.is_none() => return Ok(ExitCode::SUCCESS),
            Ok(Some(pause)) => {
                begun = true;
                pause
            }
            // It is still to come, or cannot be looked at just now.
            Ok(None) | Err(_) => GLANCE,
        };
        match line.take().map_or_else(|| start(global, name), Ok) {
            Ok(other) => line = (!other.breaks_within(pause)).then_some(other),
            Err(_) => sleep(GLANCE),
        }
    }
}
