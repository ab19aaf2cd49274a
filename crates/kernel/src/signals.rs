//! Signals that ask this process to end, held back while something is half-way.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Has this process carry out what it is at, whatever signal asks it to end, with the threads and programs that it starts from
/// now on.
pub fn refuse_to_end() {
    block();
}

/// While it lives, no signal ends the thread that made it or those that it starts. One that came meanwhile has its
/// effect at the drop.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

impl Held {
    /// Holds signals back, best before threads are started.
    pub fn new() -> Self {
        Self { before: block() }
    }

    /// Whether one has come.
    #[allow(unsafe_code)]
    pub fn has_come() -> bool {
        // SAFETY: all zero is a valid sigset_t.
        let mut pending: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: it points to a live set.
        let asked = Errno::result(unsafe { libc::sigpending(&raw mut pending) });
        // SAFETY: the set was filled by the kernel and the numbers are those of signals.
        asked.is_ok()
            && ENDING
                .iter()
                .any(|signal| unsafe { libc::sigismember(&raw const pending, *signal as i32) } == 1)
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Holds them back; gives what was held back before.
fn block() -> SigSet {
    let mut before = SigSet::empty();
    _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&ENDING.into_iter().collect()), Some(&mut before));
    before
}
