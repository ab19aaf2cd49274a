//! What commands work with: the engine over this host's kernel and store.

use linkspan_agent::Door;
use linkspan_engine::{Engine, Error, Event, Paths};
use linkspan_kernel::{Host, privilege};

use crate::args::Global;
use crate::output::{self, Problem};

/// Opens the engine for a command that changes something: what that needs is checked first.
pub fn engine_to_change(global: &Global) -> Result<Engine<Host>, Problem> {
    privilege::check()?;
    Ok(engine(global)?)
}

/// Opens the engine.
pub fn engine(global: &Global) -> Result<Engine<Host>, Error> {
    let paths = Paths::of_host(global.run_dir.clone());
    let mut engine = Engine::open(Host::open()?, &global.state_dir, paths)?;
    engine.answer_by(Door::new(&global.state_dir, &global.run_dir));
    let verbose = global.verbose;
    engine.listen(move |event| match event {
        Event::Step(step) if verbose => output::step(step),
        Event::Step(_) => {}
        Event::Note(text) => output::note(&text),
    });
    Ok(engine)
}
