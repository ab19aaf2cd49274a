//! What commands work with: the engine over this host's kernel and store.

use linkspan_engine::{Engine, Event, Paths};
use linkspan_kernel::{Host, privilege};
use linkspan_store::Store;

use crate::args::Global;
use crate::output::{self, Problem};

/// Opens the engine for a command that changes something: what that needs is checked first.
pub fn engine_to_change(global: &Global) -> Result<Engine<Host>, Problem> {
    privilege::check()?;
    engine(global)
}

/// Opens the engine.
pub fn engine(global: &Global) -> Result<Engine<Host>, Problem> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(|cause| Problem::new("cannot read /proc/sys/kernel/random/boot_id").because(cause))?;
    let store = Store::open(&global.state_dir, boot.trim())?;
    let mut engine = Engine::new(Host::open()?, store, Paths::of_host(global.run_dir.clone()));
    let verbose = global.verbose;
    engine.listen(move |event| match event {
        Event::Step(step) if verbose => output::step(step),
        Event::Step(_) => {}
        Event::Note(text) => output::note(&text),
    });
    Ok(engine)
}
