//! This host, as far as a command needs it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use linkspan_engine::{Engine, Event, Paths, Place, RUN_DIR, STATE_DIR};
use linkspan_kernel::{Host as Kernel, privilege};

use crate::firewall::Firewall;
use crate::{Error, Global};

/// The namespaces of this process, and of the first one.
const OWN: &str = "/proc/self/ns/net";
const FIRST: &str = "/proc/1/ns/net";

/// The engine over this host's kernel and store, and its firewall, each opened when it is first asked for.
pub struct Host<'a> {
    global: &'a Global,
    engine: Option<Engine<Kernel>>,
    firewall: Option<Firewall>,
}

impl<'a> Host<'a> {
    /// A host that nothing was asked of yet.
    pub const fn new(global: &'a Global) -> Self {
        Self { global, engine: None, firewall: None }
    }

    /// The firewall.
    ///
    /// # Errors
    /// If nobody is called as the flags say that its keeper is.
    pub fn firewall(&mut self) -> Result<&mut Firewall, Error> {
        match &mut self.firewall {
            Some(firewall) => Ok(firewall),
            none => Ok(none.insert(Firewall::named(self.global.firewall.as_deref())?)),
        }
    }

    /// The engine.
    ///
    /// # Errors
    /// If this process may not change the network, or the store cannot be opened.
    pub fn engine(&mut self) -> Result<&mut Engine<Kernel>, Error> {
        match &mut self.engine {
            Some(engine) => Ok(engine),
            none => Ok(none.insert(open(self.global)?)),
        }
    }
}

fn open(global: &Global) -> Result<Engine<Kernel>, Error> {
    privilege::check().map_err(linkspan_engine::Error::from)?;
    let kernel = Kernel::open().map_err(linkspan_engine::Error::from)?;
    let (state, run) = directories(global.config.as_deref());
    let mut engine = Engine::open(kernel, &state, Paths::of_host(run))?;
    if is_talkative() {
        engine.listen(|event| match event {
            Event::Step(step) => eprintln!("{step}"),
            Event::Note(text) => eprintln!("note: {text}"),
        });
    }
    Ok(engine)
}

/// Whether Podman is to be told more than results and warnings: its own level is in `RUST_LOG`, as in `netavark=debug`.
fn is_talkative() -> bool {
    let level = std::env::var("RUST_LOG").unwrap_or_default();
    ["info", "debug", "trace"].iter().any(|known| level.ends_with(known))
}

/// Where state and run files are. A store belongs to one host's namespace: in another one, as rootless Podman has it, they
/// are in the directory that Podman has for its network there.
pub fn directories(config: Option<&Path>) -> (PathBuf, PathBuf) {
    let given = |place: Place| std::env::var_os(place.variable).map(PathBuf::from);
    if let (Some(state), Some(run)) = (given(STATE_DIR), given(RUN_DIR)) {
        return (state, run);
    }
    let own = config.filter(|_| !is_first_namespace()).map(|config| config.join("linkspan"));
    let usual = |place: Place| given(place).unwrap_or_else(|| place.default.into());
    match own {
        Some(own) => (
            given(STATE_DIR).unwrap_or_else(|| own.join("state")),
            given(RUN_DIR).unwrap_or_else(|| own.join("run")),
        ),
        None => (usual(STATE_DIR), usual(RUN_DIR)),
    }
}

/// Whether this process is in the network namespace of the first one, with that one's rights.
fn is_first_namespace() -> bool {
    let of = |path: &str| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((of(OWN), of(FIRST)), (Ok(own), Ok(first)) if own == first)
}
