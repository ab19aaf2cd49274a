//! This host, as far as a plugin needs it.

use linkspan_agent::Door;
use linkspan_engine::{Engine, Event, FitRequest, Paths, RUN_DIR, STATE_DIR, random_mac};
use linkspan_kernel::{Host as Kernel, privilege};
use linkspan_model::{Guests, IfName, Mac, Name};

use crate::{CniError, CniResult};

/// The engine, opened when it is first asked for: a plugin that has nothing to do opens no database.
#[derive(Default)]
pub struct Host {
    engine: Option<Engine<Kernel>>,
    found: Option<Found>,
}

/// What another program made of an attachment that is to be taken over. Plugins plan as ever then, but with what is there,
/// and what they ask for is gathered and not made.
#[derive(Clone, Default, Debug)]
pub struct Found {
    /// The side of a veth pair on the host.
    pub host: Option<IfName>,
    /// The MAC inside.
    pub mac: Option<Mac>,
    /// Addresses, routes and name servers, without interfaces.
    pub addressed: CniResult,
    /// What plugins asked for.
    pub requests: Vec<FitRequest>,
    /// What they want to hold for the network besides.
    pub guests: Guests,
}

impl Host {
    /// A host that nothing was asked of yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host whose engine is open.
    pub const fn over(engine: Engine<Kernel>) -> Self {
        Self { engine: Some(engine), found: None }
    }

    /// Has plugins plan for what is `found`, until that is taken out again.
    pub fn expect(&mut self, found: Found) {
        self.found = Some(found);
    }

    /// What was found and asked for.
    pub fn take_found(&mut self) -> Option<Found> {
        self.found.take()
    }

    /// What was found, if an attachment is taken over.
    pub const fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// Gathers what a plugin asks for if an attachment is taken over; otherwise gives it back.
    pub(crate) fn gather(&mut self, request: FitRequest) -> Option<FitRequest> {
        match &mut self.found {
            Some(found) => {
                found.requests.push(request);
                None
            }
            None => Some(request),
        }
    }

    /// Has `guests` hold from now on for what the runtime calls `network`, or gathers them if an attachment is taken over.
    ///
    /// # Errors
    /// If the engine refuses.
    pub(crate) fn hold(&mut self, network: &Name, guests: &Guests) -> Result<(), CniError> {
        if let Some(found) = &mut self.found {
            found.guests.take_in(guests);
            return Ok(());
        }
        Ok(self.engine()?.hold(network, guests)?)
    }

    /// A MAC for a new device that is asked for none: by chance, or the one that was found.
    ///
    /// # Errors
    /// If the kernel gives no random numbers.
    pub fn mac(&self) -> Result<Mac, CniError> {
        match self.found.as_ref().and_then(|found| found.mac) {
            Some(mac) => Ok(mac),
            None => Ok(random_mac()?),
        }
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
    engine.answer_by(Door::new(&STATE_DIR.path(), &RUN_DIR.path()));
    engine.listen(|event| match event {
        Event::Step(_) => {}
        Event::Note(text) => eprintln!("note: {text}"),
    });
    Ok(engine)
}
