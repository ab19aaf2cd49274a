//! What Linkspan does: networks and sandboxes come and go, and whatever interrupts that is put right.
//!
//! Every change takes the same way: lock what it is about, write the intent and its rows in one transaction,
//! look at what it touches in the kernel, plan the difference, apply it, commit. Removal is the same with the
//! object absent; so is recovery of a change whose process died.

mod addresses;
mod adopt;
mod answers;
mod attachments;
mod berth;
mod converge;
mod cores;
mod error;
mod expected;
mod flat;
mod foreign;
mod ground;
mod guests;
mod heirs;
mod machines;
mod names;
mod networks;
mod ovs;
mod parents;
mod place;
mod publish;
mod recover;
mod reload;
mod reservations;
mod revise;
mod sandboxes;
mod view;
mod wires;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use linkspan_model::{Id, Mac};
use linkspan_plan::{Kernel, Step};
use linkspan_store::Store;

pub use answers::Answerer;
pub use attachments::{AttachRequest, Attached, FitRequest, Footing};
pub use error::{Error, Kind};
pub use names::Files;
pub use networks::{DEFAULT, NetworkRequest};
pub use place::{Place, RUN_DIR, STATE_DIR};
pub use recover::Repair;
pub use reservations::Reserved;
pub use sandboxes::SandboxRequest;
pub use view::{NetworkView, SandboxView};

/// Which boot this is; rows of another one are gone.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How long a command waits for another that works on the same object.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the engine keeps what is a file by nature.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The run directory: hosts and resolv.conf of each sandbox.
    pub run: PathBuf,
    /// Where `ip netns exec` looks for them: /etc/netns.
    pub etc_netns: PathBuf,
    /// The host's resolv.conf, and what stands in for it where it names a local stub.
    pub resolv_conf: Vec<PathBuf>,
}

impl Paths {
    /// The paths of a host, with `run` as run directory.
    pub fn of_host(run: PathBuf) -> Self {
        Self {
            // Links lead into it.
            run: std::path::absolute(&run).unwrap_or(run),
            etc_netns: "/etc/netns".into(),
            resolv_conf: vec!["/etc/resolv.conf".into(), "/run/systemd/resolve/resolv.conf".into()],
        }
    }
}

/// What is told of the work as it goes on.
pub enum Event<'a> {
    /// A step is about to be applied.
    Step(&'a Step),
    /// Something that the user should know but did not ask for.
    Note(String),
}

/// One host's networks and sandboxes.
pub struct Engine<K: Kernel> {
    kernel: K,
    store: Store,
    files: Files,
    tell: Box<dyn FnMut(Event<'_>)>,
    asked: flat::Asked,
    answerer: Option<Box<dyn Answerer>>,
    /// Whether this command was the last to leave a network that goes then.
    has_left: bool,
}

impl<K: Kernel> Engine<K> {
    /// An engine over `kernel` that remembers in the directory `state`.
    ///
    /// # Errors
    /// If the store cannot be opened, or the boot not be told.
    pub fn open(kernel: K, state: &Path, paths: Paths) -> Result<Self, Error> {
        let boot = fs::read_to_string(BOOT_ID).map_err(Error::file("read", Path::new(BOOT_ID)))?;
        let store = Store::open(state, boot.trim())?;
        Self::new(kernel, store, paths)
    }

    /// An engine over `kernel` that remembers in `store`.
    ///
    /// # Errors
    /// If files that outlived their boot cannot be removed.
    pub fn new(kernel: K, store: Store, paths: Paths) -> Result<Self, Error> {
        let is_new_boot = store.is_new_boot();
        let mut engine = Self {
            kernel,
            store,
            files: Files::new(paths),
            tell: Box::new(|_| {}),
            asked: flat::Asked::default(),
            answerer: None,
            has_left: false,
        };
        if is_new_boot {
            engine.clear_former_boot()?;
        }
        Ok(engine)
    }

    /// Has every event told to `listener`.
    pub fn listen(&mut self, listener: impl FnMut(Event<'_>) + 'static) {
        self.tell = Box::new(listener);
    }

    /// The kernel, for what a frontend does to it by itself.
    pub const fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Where the files of sandboxes are.
    pub const fn files(&self) -> &Files {
        &self.files
    }

    fn note(&mut self, text: String) {
        (self.tell)(Event::Note(text));
    }
}

impl<K: Kernel> Drop for Engine<K> {
    fn drop(&mut self) {
        self.kernel.linger(self.store.deleted_lately());
    }
}

/// An identity by chance.
///
/// # Errors
/// If the kernel has no random bytes.
pub fn random_id() -> Result<Id, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|cause| Error::refused("no random identity can be made").because(cause.to_string()))?;
    Ok(Id::from_bytes(bytes))
}

/// A MAC by chance, of those that everybody may give out (IEEE 802: locally administered).
///
/// # Errors
/// If the kernel has no random bytes.
pub fn random_mac() -> Result<Mac, Error> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)
        .map_err(|cause| Error::refused("no random MAC can be made").because(cause.to_string()))?;
    bytes[0] = bytes[0] & 0xfe | 2;
    Ok(Mac::from_bytes(bytes))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
