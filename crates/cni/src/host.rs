//! This host, as far as a plugin needs it.

use linkspan_engine::{Engine, Event, Paths, RUN_DIR, STATE_DIR};
use linkspan_kernel::{Host as Kernel, privilege};

use crate::CniError;

/// The engine, opened when it is first asked for: a plugin that has nothing to do opens no database.
#[derive(Default)]
pub struct Host {
    engine: Option<Engine<Kernel>>,
}

impl Host {
    /// A host that nothing was asked of yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The engine over this host's kernel and store.
    ///
    /// # Errors
    /// If this process may not change the network, or the store cannot be opened.
    pub fn engine(&mut self) -> Result<&mut Engine<Kernel>, CniError> {
        match &mut self.engine {
            Some(engine) => Ok(engine),
            none => Ok(none.insert(open()?)),
        }
    }
}

fn open() -> Result<Engine<Kernel>, CniError> {
    privilege::check()?;
    let mut engine = Engine::open(Kernel::open()?, &STATE_DIR.path(), Paths::of_host(RUN_DIR.path()))?;
    engine.listen(|event| match event {
        Event::Step(_) => {}
        Event::Note(text) => eprintln!("note: {text}"),
    });
    Ok(engine)
}
